//! What can be odd in DNS: each has a name in SQL, and is a row of `warnings` and an entry of the
//! message's own list.

/// Something odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// What a server sent or was sent is no message.
    NotDns,
    /// A name goes on at a place that is not before it, or at too many.
    NameLoop,
    /// A name is too long, or has a label of a kind that nobody uses.
    NameMalformed,
    /// The data of a record is not what its type says.
    DataMalformed,
    /// The message ends before all that its header counts, and does not say that it was cut.
    CountsWrong,
    /// Bytes follow the last record.
    TrailingBytes,
    /// More than one question.
    SeveralQuestions,
    /// A query without a question.
    NoQuestion,
    /// More than one record of EDNS.
    SeveralOpts,
    /// The bit that must be zero is not.
    ReservedBit,
    /// Names and data take more than [`MAX_TEXT`](super::MAX_TEXT), and the rest of the message is left.
    TextCut,
    /// A response to no query in the log.
    UnexpectedResponse,
    /// A response to another question than its query's.
    QuestionMismatch,
    /// A response to a question that was asked under another number.
    IdMismatch,
    /// A second response to a query.
    RepeatedResponse,
    /// A query that was sent again before it was answered.
    RepeatedQuery,
    /// The stream ended within a message.
    StreamCut,
    /// There was no room for a message that came in pieces, and the rest of the direction is not followed;
    /// or for a query that a response may belong to.
    NotFollowed,
}

impl Oddity {
    /// All, in the order of their bits.
    const ALL: [Oddity; 18] = [
        Oddity::NotDns,
        Oddity::NameLoop,
        Oddity::NameMalformed,
        Oddity::DataMalformed,
        Oddity::CountsWrong,
        Oddity::TrailingBytes,
        Oddity::SeveralQuestions,
        Oddity::NoQuestion,
        Oddity::SeveralOpts,
        Oddity::ReservedBit,
        Oddity::TextCut,
        Oddity::UnexpectedResponse,
        Oddity::QuestionMismatch,
        Oddity::IdMismatch,
        Oddity::RepeatedResponse,
        Oddity::RepeatedQuery,
        Oddity::StreamCut,
        Oddity::NotFollowed,
    ];

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Oddity::NotDns => "dns_malformed",
            Oddity::NameLoop => "dns_name_loop",
            Oddity::NameMalformed => "dns_name_malformed",
            Oddity::DataMalformed => "dns_data_malformed",
            Oddity::CountsWrong => "dns_counts_wrong",
            Oddity::TrailingBytes => "dns_trailing_bytes",
            Oddity::SeveralQuestions => "dns_several_questions",
            Oddity::NoQuestion => "dns_no_question",
            Oddity::SeveralOpts => "dns_several_opts",
            Oddity::ReservedBit => "dns_reserved_bit",
            Oddity::TextCut => "dns_text_cut",
            Oddity::UnexpectedResponse => "dns_unexpected_response",
            Oddity::QuestionMismatch => "dns_question_mismatch",
            Oddity::IdMismatch => "dns_id_mismatch",
            Oddity::RepeatedResponse => "dns_repeated_response",
            Oddity::RepeatedQuery => "dns_repeated_query",
            Oddity::StreamCut => "dns_stream_cut",
            Oddity::NotFollowed => "dns_not_followed",
        }
    }
}

/// What is odd in a message, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities(u32);

impl Oddities {
    /// Adds one.
    pub(super) fn add(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u32;
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    #[must_use]
    pub fn has(self, oddity: Oddity) -> bool {
        self.0 & 1 << oddity as u32 != 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Oddity> {
        Oddity::ALL.into_iter().filter(move |&one| self.has(one))
    }
}

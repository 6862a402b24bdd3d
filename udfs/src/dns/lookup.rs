//! What a message says of a name's addresses, for [`name_lookups`](crate::connections::Lookup).

use std::net::IpAddr;

use super::message::{Message, Section};
use super::numbers::{class, kind};

/// A question about one name's addresses, or the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressQuestion {
    /// The number by which a response finds its query.
    pub id: u16,
    /// Whether it answers.
    pub response: bool,
    /// Why there is no answer: the name of the response code, as `NXDOMAIN`, or that the message was
    /// `truncated`.
    pub error: Option<String>,
    /// The name that was asked for, in lower case and without the dot at its end.
    pub name: String,
    /// The type of what was asked for, which tells a query for IPv4 from one for IPv6.
    pub kind: u16,
    /// The addresses in the answers, those of a name that the asked one is another name of included.
    pub addresses: Vec<IpAddr>,
}

impl AddressQuestion {
    /// The question of a message. None where it asks for something else, or for several things, or part
    /// of it cannot be read.
    #[must_use]
    pub fn of(message: &Message) -> Option<AddressQuestion> {
        const QUERY: u8 = 0;
        let header = message.header;
        let mut questions = message.section(Section::Question);
        let (question, None) = (questions.next()?, questions.next()) else {
            return None;
        };
        let asks = header.opcode() == QUERY
            && question.class == class::IN
            && matches!(question.kind, kind::A | kind::AAAA);
        if !asks || message.error().is_some() {
            return None;
        }
        let response = header.response();
        let error = match message.rcode() {
            _ if !response => None,
            0 if header.truncated() => Some("truncated".to_owned()),
            0 => None,
            _ => Some(message.rcode_name().into_owned()),
        };
        let addresses = message.addresses().filter(|_| response);
        Some(AddressQuestion {
            id: header.id,
            response,
            error,
            name: question.name.to_ascii_lowercase(),
            kind: question.kind,
            addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
        })
    }
}

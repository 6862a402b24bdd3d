//! The little of DNS that policy needs: the question of a query, and the addresses that an answer gives
//! for it (RFC 1035 section 4).
//!
//! What the guest's peers send is read here, so nothing may panic, nothing takes longer than the message
//! is long, and what is odd is no answer. Names are those of hosts: a label with a dot or a control
//! character in it could pass for another name and makes its name unreadable.

use std::net::IpAddr;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
/// Response, opcode 0 and response code 0: what these bits of the flags are in an answer that counts.
const ANSWER_MASK: u16 = 0xf80f;
const ANSWER: u16 = 0x8000;
/// Response and opcode, which are 0 in a query.
const QUERY_MASK: u16 = 0xf800;
/// The longest name in bytes, RFC 1035 section 2.3.4.
const MAX_NAME: usize = 255;
/// As many aliases are followed as resolvers commonly do.
const MAX_ALIASES: usize = 16;

/// What a query asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The number that its answer repeats.
    pub id: u16,
    /// The name, in lower case and without a dot at its end.
    pub name: String,
    /// The type of record, by number.
    pub record_type: u16,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it answers.
    pub question: Question,
    /// The name that was asked for, then the names that it is an alias of, one after the other.
    pub names: Vec<String>,
    /// The addresses of the last of these.
    pub addresses: Vec<IpAddr>,
    /// How long all this holds, in seconds.
    pub ttl: u32,
}

/// Reads a query that asks one thing and carries nothing else, but for the options of EDNS (RFC 6891).
#[must_use]
pub fn query(message: &[u8]) -> Option<Question> {
    let mut reader = Reader { message, at: 0 };
    let header = Header::read(&mut reader)?;
    let question = reader.question(header.id)?;
    let plain = header.flags & QUERY_MASK == 0 && header.counts[..3] == [1, 0, 0];
    match header.counts[3] {
        _ if !plain => None,
        0 => reader.is_done().then_some(question),
        1 => {
            let options = reader.record()?;
            (options.record_type == TYPE_OPT && reader.is_done()).then_some(question)
        }
        _ => None,
    }
}

/// Reads an answer to one question, without an error.
#[must_use]
pub fn answer(message: &[u8]) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let header = Header::read(&mut reader)?;
    if header.flags & ANSWER_MASK != ANSWER || header.counts[0] != 1 {
        return None;
    }
    let question = reader.question(header.id)?;
    let mut records = Vec::new();
    for _ in 0..header.counts[1] {
        records.push(reader.record()?);
    }
    let mut names = vec![question.name.clone()];
    let mut name = question.name.as_str();
    let mut ttl = u32::MAX;
    while let Some((target, alias)) = records.iter().find_map(|r| Some((r.alias(name)?, r))) {
        if names.len() > MAX_ALIASES {
            return None;
        }
        names.push(target.to_owned());
        name = target;
        ttl = ttl.min(alias.ttl);
    }
    let mut addresses = Vec::new();
    for record in records.iter().filter(|r| r.name.as_deref() == Some(name)) {
        if let Data::Address(address) = record.data {
            addresses.push(address);
            ttl = ttl.min(record.ttl);
        }
    }
    Some(Answer {
        question,
        names,
        addresses,
        ttl,
    })
}

struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities, additional records.
    counts: [u16; 4],
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Option<Header> {
        let mut field = || reader.u16();
        Some(Header {
            id: field()?,
            flags: field()?,
            counts: [field()?, field()?, field()?, field()?],
        })
    }
}

struct Record {
    /// Where it is the name of a host.
    name: Option<String>,
    record_type: u16,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(String),
    Other,
}

impl Record {
    /// What the name is an alias of, by this record.
    fn alias(&self, name: &str) -> Option<&str> {
        match &self.data {
            Data::Alias(target) if self.name.as_deref() == Some(name) => Some(target),
            _ => None,
        }
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn is_done(&self) -> bool {
        self.at == self.message.len()
    }

    fn question(&mut self, id: u16) -> Option<Question> {
        let name = self.name()?;
        let record_type = self.u16()?;
        (self.u16()? == CLASS_IN).then_some(())?;
        Some(Question {
            id,
            name: name?,
            record_type,
        })
    }

    fn record(&mut self) -> Option<Record> {
        let name = self.name()?;
        let (record_type, class) = (self.u16()?, self.u16()?);
        // RFC 2181 section 8: with the first bit set it counts as 0.
        let ttl = u32::try_from(self.u32()?.cast_signed()).unwrap_or(0);
        let length = self.u16()?.into();
        let data = self.take(length)?;
        let data = match (class, record_type) {
            (CLASS_IN, TYPE_A) => Data::Address(<[u8; 4]>::try_from(data).ok()?.into()),
            (CLASS_IN, TYPE_AAAA) => Data::Address(<[u8; 16]>::try_from(data).ok()?.into()),
            (CLASS_IN, TYPE_CNAME) => {
                // Its name may point back into the message.
                let mut target = Reader {
                    message: self.message.get(..self.at)?,
                    at: self.at - length,
                };
                let name = target.name()?;
                target.is_done().then_some(())?;
                name.map_or(Data::Other, Data::Alias)
            }
            _ => Data::Other,
        };
        Some(Record {
            name,
            record_type,
            ttl,
            data,
        })
    }

    /// A name; none within where it is well-formed and no host's.
    fn name(&mut self) -> Option<Option<String>> {
        let mut name = String::new();
        let mut is_host = true;
        let mut size = 0;
        // Pointers go back, RFC 1035 section 4.1.4, each before the one that led there.
        let mut limit = self.at;
        let mut after = None;
        loop {
            let length = usize::from(*self.take(1)?.first()?);
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    let label = self.take(length)?;
                    size += length + 1;
                    if size >= MAX_NAME {
                        return None;
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    is_host &= label.iter().all(|b| b.is_ascii_graphic() && *b != b'.');
                    name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
                }
                3 => {
                    let low = usize::from(*self.take(1)?.first()?);
                    let to = (length & 0x3f) << 8 | low;
                    after.get_or_insert(self.at);
                    if to >= limit || to < HEADER {
                        return None;
                    }
                    limit = to;
                    self.at = to;
                }
                _ => return None,
            }
        }
        self.at = after.unwrap_or(self.at);
        Some(is_host.then_some(name))
    }
}

/// Splits a stream into the messages of DNS over TCP: each has its length in front, in 2 bytes,
/// RFC 1035 section 4.2.2.
#[derive(Debug, Default)]
pub struct Stream {
    buffer: Vec<u8>,
}

impl Stream {
    /// Whether nothing of a message waits for the rest of it.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes what was sent or received next, and gives each message that it completes.
    pub fn feed(&mut self, mut bytes: &[u8], mut message: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let wanted = match self.buffer.first_chunk::<2>() {
                Some(length) => 2 + usize::from(u16::from_be_bytes(*length)),
                None => 2,
            };
            let (now, later) = bytes.split_at(bytes.len().min(wanted - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if let Some((length, body)) = self.buffer.split_first_chunk::<2>()
                && body.len() == usize::from(u16::from_be_bytes(*length))
            {
                message(body);
                self.buffer.clear();
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn put_name(out: &mut Vec<u8>, name: &str) {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
    }

    fn put(out: &mut Vec<u8>, numbers: &[u16]) {
        numbers.iter().for_each(|n| out.extend(n.to_be_bytes()));
    }

    /// A query, as a resolver's library makes it.
    pub fn a_query(id: u16, name: &str, record_type: u16) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &[id, 0x0100, 1, 0, 0, 0]);
        put_name(&mut out, name);
        put(&mut out, &[record_type, CLASS_IN]);
        out
    }

    /// An answer to it. A record is owner, seconds, and an address or the name that it is an alias of.
    pub fn an_answer(query: &[u8], records: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut out = query.to_vec();
        out[2] |= 0x80;
        out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (owner, ttl, data) in records {
            put_name(&mut out, owner);
            let mut bytes = Vec::new();
            let record_type = match data.parse::<IpAddr>() {
                Ok(IpAddr::V4(v4)) => {
                    bytes.extend(v4.octets());
                    TYPE_A
                }
                Ok(IpAddr::V6(v6)) => {
                    bytes.extend(v6.octets());
                    TYPE_AAAA
                }
                Err(_) => {
                    put_name(&mut bytes, data);
                    TYPE_CNAME
                }
            };
            put(&mut out, &[record_type, CLASS_IN]);
            out.extend(ttl.to_be_bytes());
            put(&mut out, &[bytes.len() as u16]);
            out.extend(bytes);
        }
        out
    }

    #[test]
    fn a_query_is_read() {
        let message = a_query(7, "Www.Example.com.", TYPE_AAAA);
        let question = Question {
            id: 7,
            name: "www.example.com".to_owned(),
            record_type: TYPE_AAAA,
        };
        assert_eq!(query(&message), Some(question.clone()));
        let mut with_options = message.clone();
        with_options[11] = 1;
        with_options.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        assert_eq!(query(&with_options), Some(question));
        let trailing = [&message[..], b"secret"].concat();
        assert_eq!(query(&trailing), None, "nothing else is carried");
        assert_eq!(query(&an_answer(&message, &[])), None);
    }

    #[test]
    fn aliases_are_followed() {
        let message = an_answer(
            &a_query(7, "www.example.com", TYPE_A),
            &[
                ("cdn.example.net", 60, "192.0.2.2"),
                ("www.example.com", 300, "CDN.example.net"),
                ("cdn.example.net", 90, "192.0.2.3"),
                ("other.example", 1, "192.0.2.9"),
            ],
        );
        let answer = answer(&message).unwrap();
        assert_eq!(answer.names, ["www.example.com", "cdn.example.net"]);
        let expected: [IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "192.0.2.3".parse().unwrap()];
        assert_eq!(answer.addresses, expected);
        assert_eq!(answer.ttl, 60);
    }

    #[test]
    fn aliases_that_go_in_a_circle_are_no_answer() {
        let message = an_answer(
            &a_query(7, "a", TYPE_A),
            &[("a", 1, "b"), ("b", 1, "a"), ("a", 1, "192.0.2.1")],
        );
        assert_eq!(answer(&message), None);
    }

    #[test]
    fn an_error_is_no_answer() {
        let mut message = an_answer(&a_query(7, "a", TYPE_A), &[("a", 1, "192.0.2.1")]);
        assert!(answer(&message).is_some());
        message[3] |= 3;
        assert_eq!(answer(&message), None);
    }

    #[test]
    fn a_dot_within_a_label_makes_no_other_name() {
        let mut message = a_query(7, "evil-example.com", TYPE_A);
        let at = message.windows(4).position(|w| w == b"evil").unwrap() + 4;
        message[at] = b'.';
        assert_eq!(query(&message), None);
    }

    #[test]
    fn compressed_names_are_read_and_pointers_only_go_back() {
        let mut message = a_query(7, "example.com", TYPE_A);
        message[2] |= 0x80;
        message[7] = 1;
        let owner = message.len();
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        assert_eq!(answer(&message).unwrap().addresses.len(), 1);
        for to in [owner as u8, owner as u8 + 2, 0] {
            message[owner + 1] = to;
            assert_eq!(answer(&message), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(bytes: Vec<u8>) {
            let _ = (query(&bytes), answer(&bytes));
        }

        #[test]
        fn damaged_answers_are_read_or_not(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let question = a_query(7, "www.example.com", TYPE_A);
            let records = [("www.example.com", 9, "a.example"), ("a.example", 9, "192.0.2.1")];
            let mut message = an_answer(&question, &records);
            let length = message.len();
            message[at % length] = byte;
            let _ = answer(&message[..length - cut % length]);
        }

        #[test]
        fn a_stream_gives_its_messages_however_it_is_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..5),
            piece in 1usize..9,
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                put(&mut bytes, &[message.len() as u16]);
                bytes.extend(message);
            }
            let mut stream = Stream::default();
            let mut got = Vec::new();
            bytes.chunks(piece).for_each(|b| stream.feed(b, |m| got.push(m.to_vec())));
            prop_assert_eq!(got, messages);
        }
    }
}

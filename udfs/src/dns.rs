//! The parts of a DNS message that name lookups are made of: its question, and the addresses in its
//! answers. RFC 1035, section 4. It takes one message and keeps nothing; a message of any bytes gives
//! none or what it says, in a time that its length bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use timecraft_segment::text;

use crate::bytes::Bytes;

/// The port of DNS servers.
pub const PORT: u16 = 53;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// The longest name, in bytes as it is sent (RFC 1035, section 3.1).
const MAX_NAME: usize = 255;
/// The most pointers in one name: as many as it can have labels.
const MAX_JUMPS: usize = 127;
/// The most answers that are looked at.
const MAX_ANSWERS: u16 = 256;
const RESPONSE: u16 = 1 << 15;
const TRUNCATED: u16 = 1 << 9;
const RCODE: u16 = 15;
/// The bits of a length that say that a name goes on elsewhere.
const POINTER: u8 = 0xc0;

/// A message about one name's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
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

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It asks for addresses, or answers such a question.
    Addresses(Message),
    /// It is about something else.
    Other,
    /// It is no DNS message.
    Malformed,
}

/// Reads a message as it is sent over UDP.
#[must_use]
pub fn parse(message: &[u8]) -> Parsed {
    read(message).unwrap_or(Parsed::Malformed)
}

fn read(message: &[u8]) -> Option<Parsed> {
    let mut bytes = Bytes::new(message);
    let id = bytes.u16()?;
    let flags = bytes.u16()?;
    let questions = bytes.u16()?;
    let answers = bytes.u16()?;
    let _authorities_and_additionals = bytes.take(4)?;
    if questions != 1 {
        return Some(Parsed::Other);
    }
    let name = name(message, &mut bytes)?;
    let kind = bytes.u16()?;
    let class = bytes.u16()?;
    if class != CLASS_IN || ![TYPE_A, TYPE_AAAA].contains(&kind) {
        return Some(Parsed::Other);
    }
    let response = flags & RESPONSE != 0;
    let mut addresses = Vec::new();
    if response {
        for _ in 0..answers.min(MAX_ANSWERS) {
            let Some(answer) = answer(message, &mut bytes) else {
                // What is cut off was said to be.
                if flags & TRUNCATED != 0 {
                    break;
                }
                return None;
            };
            addresses.extend(answer);
        }
    }
    let error = response.then(|| error(flags)).flatten();
    Some(Parsed::Addresses(Message {
        id,
        response,
        error,
        name,
        kind,
        addresses,
    }))
}

/// The address in a resource record, where it has one.
fn answer<'a>(message: &'a [u8], bytes: &mut Bytes<'a>) -> Option<Option<IpAddr>> {
    name(message, bytes)?;
    let kind = bytes.u16()?;
    let class = bytes.u16()?;
    let _time_to_live = bytes.take(4)?;
    let data = bytes.vector16()?.rest();
    if class != CLASS_IN {
        return Some(None);
    }
    Some(match kind {
        TYPE_A => Some(<[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)?.into()),
        TYPE_AAAA => Some(<[u8; 16]>::try_from(data).ok().map(Ipv6Addr::from)?.into()),
        _ => None,
    })
}

/// A name, its labels joined with dots. A dot within a label is escaped, as in zone files.
fn name<'a>(message: &'a [u8], bytes: &mut Bytes<'a>) -> Option<String> {
    let mut labels: Vec<String> = Vec::new();
    let (mut length, mut jumps) = (0, 0);
    let start = message.len() - bytes.rest().len();
    // Where the rest of the name is, once it is elsewhere: always nearer to the beginning, so that
    // there is an end.
    let mut elsewhere: Option<(usize, Bytes<'a>)> = None;
    loop {
        let (limit, from) = match &mut elsewhere {
            Some((at, from)) => (*at, from),
            None => (start, &mut *bytes),
        };
        let first = from.u8()?;
        if first & POINTER == POINTER {
            let target = usize::from(first & !POINTER) << 8 | usize::from(from.u8()?);
            jumps += 1;
            if target >= limit || jumps > MAX_JUMPS {
                return None;
            }
            elsewhere = Some((target, Bytes::new(message.get(target..)?)));
            continue;
        }
        if first & POINTER != 0 {
            return None;
        }
        if first == 0 {
            break;
        }
        let label = from.take(first.into())?;
        length += label.len() + 1;
        if length >= MAX_NAME {
            return None;
        }
        let label = text::lossless(label).to_ascii_lowercase();
        labels.push(label.replace('.', "\\."));
    }
    Some(labels.join("."))
}

/// RFC 1035, section 4.1.1.
fn error(flags: u16) -> Option<String> {
    let code = flags & RCODE;
    let name = match code {
        0 if flags & TRUNCATED != 0 => "truncated",
        0 => return None,
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return Some(format!("RCODE{other}")),
    };
    Some(name.to_owned())
}

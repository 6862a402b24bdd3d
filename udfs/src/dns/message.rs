//! A message with all that is in it: RFC 1035, section 4, and of EDNS RFC 6891, section 6.
//!
//! Whatever its bytes are, there is a [`Message`]: with what could be read before a problem, and after it
//! where it is known how to go on. All names and data are one text with its cuts, since there are many of
//! them. That is why this is no library's parser: those that were looked at give each record its own
//! types and leave out the message, or the record, in which something is wrong, without the byte.

use std::borrow::Cow;
use std::ops::Range;

use super::data;
use super::numbers::{class, class_name, kind, opcode, opcode_name, rcode_name, type_name};
use super::oddity::{Oddities, Oddity};
use super::reader::{Problem, Reader, write_hex, write_number, write_quoted, write_text};

/// The most bytes of names and data of a message as text. Names that are sent once can be meant
/// thousands of times, and a byte can take four: a message of 64 KiB could say several megabytes.
pub const MAX_TEXT: usize = 256 << 10;

/// The bytes before the first question.
pub(super) const HEADER: usize = 12;

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its first twelve bytes.
    pub header: Header,
    /// How many bytes it is.
    pub size: usize,
    /// What EDNS adds; none without it.
    pub edns: Option<Edns>,
    /// What is odd in it.
    pub oddities: Oddities,
    /// The first thing that cannot be read.
    pub(super) problem: Option<Problem>,
    /// Questions and records, in the order of the message.
    entries: Vec<Entry>,
    /// Where the entries of each section end.
    ends: [usize; 4],
    options: Vec<(u16, Cut)>,
    text: String,
}

/// The first twelve bytes of a message: RFC 1035, section 4.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The number by which a response finds its query.
    pub id: u16,
    /// The flags, with the operation and the response code.
    pub flags: u16,
    /// How many entries each section has, by what the message says.
    pub counts: [u16; 4],
}

impl Header {
    /// Whether it is a response.
    #[must_use]
    pub fn response(self) -> bool {
        self.flag(15)
    }

    /// Its operation.
    #[must_use]
    pub fn opcode(self) -> u8 {
        (self.flags >> 11) as u8 & 15
    }

    /// AA: the server has authority over the name.
    #[must_use]
    pub fn authoritative(self) -> bool {
        self.flag(10)
    }

    /// TC: more was to be said than fits.
    #[must_use]
    pub fn truncated(self) -> bool {
        self.flag(9)
    }

    /// RD: the server is to ask others.
    #[must_use]
    pub fn recursion_desired(self) -> bool {
        self.flag(8)
    }

    /// RA: the server does ask others.
    #[must_use]
    pub fn recursion_available(self) -> bool {
        self.flag(7)
    }

    /// The bit that must be zero.
    #[must_use]
    pub fn reserved(self) -> bool {
        self.flag(6)
    }

    /// AD: the server has checked signatures (RFC 4035, section 3.2.3).
    #[must_use]
    pub fn authentic_data(self) -> bool {
        self.flag(5)
    }

    /// CD: the server is not to check signatures (RFC 4035, section 3.2.2).
    #[must_use]
    pub fn checking_disabled(self) -> bool {
        self.flag(4)
    }

    fn flag(self, bit: u16) -> bool {
        self.flags >> bit & 1 != 0
    }
}

/// What EDNS adds: RFC 6891, section 6.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The size of the largest datagram that the sender takes, in bytes.
    pub udp_size: u16,
    /// The version.
    pub version: u8,
    /// DO: signatures are wanted.
    pub dnssec_ok: bool,
    /// The upper eight bits of the response code.
    extended_rcode: u8,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The questions; in an update the zone.
    Question,
    /// The answers; in an update what must be so.
    Answer,
    /// The authorities; in an update what is to change.
    Authority,
    /// All else.
    Additional,
}

/// A resource record, or a question, which has neither time to live nor data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The name as zone files have it, but without the dot at its end; `.` for the root.
    pub name: &'a str,
    /// The type; its name is that of [`type_name`].
    pub kind: u16,
    /// The class.
    pub class: u16,
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// The data as zone files have it.
    pub data: &'a str,
}

/// A part of the text.
type Cut = (u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    name: Cut,
    kind: u16,
    class: u16,
    ttl: u32,
    data: Cut,
}

impl Message {
    /// Reads a message as it is sent over UDP.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Message {
        Parser::new(bytes).read()
    }

    /// The questions, or records, of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = Record<'_>> {
        let end = |section: usize| self.ends.get(section).copied().unwrap_or(0);
        let range = match section {
            Section::Question => 0..end(0),
            Section::Answer => end(0)..end(1),
            Section::Authority => end(1)..end(2),
            Section::Additional => end(2)..end(3),
        };
        let entries = self.entries.get(range).unwrap_or_default();
        entries.iter().map(|entry| Record {
            name: self.cut(entry.name),
            kind: entry.kind,
            class: entry.class,
            ttl: entry.ttl,
            data: self.cut(entry.data),
        })
    }

    /// The first question.
    #[must_use]
    pub fn question(&self) -> Option<Record<'_>> {
        self.section(Section::Question).next()
    }

    /// The addresses in the answers.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let answers = self.section(Section::Answer);
        let addresses = answers.filter(|record| {
            matches!(record.kind, kind::A | kind::AAAA)
                && record.class & !class::MULTICAST == class::IN
                && !record.data.starts_with('\\')
        });
        addresses.map(|record| record.data)
    }

    /// The options of EDNS: their names, and what they say.
    pub fn options(&self) -> impl Iterator<Item = (u16, &str)> {
        let options = self.options.iter();
        options.map(|&(code, cut)| (code, self.cut(cut)))
    }

    /// The response code, with what EDNS adds to it.
    #[must_use]
    pub fn rcode(&self) -> u16 {
        let extended = self.edns.map_or(0, |edns| u16::from(edns.extended_rcode));
        extended << 4 | self.header.flags & 15
    }

    /// Whether the header is there; else it is of zeros.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.size >= HEADER
    }

    /// What cannot be read: at which byte, and why.
    #[must_use]
    pub fn error(&self) -> Option<(usize, &'static str)> {
        self.problem.map(|problem| (problem.at, problem.what))
    }

    /// How many bytes of memory its parts take.
    pub(super) fn memory(&self) -> usize {
        let parts = size_of::<Entry>() * self.entries.len();
        self.text.len() + parts + size_of::<(u16, Cut)>() * self.options.len()
    }

    /// Whether all of it was read, and it has nothing that a message cannot have.
    pub(super) fn is_whole(&self) -> bool {
        self.problem.is_none() && !self.oddities.has(Oddity::TrailingBytes)
    }

    fn cut(&self, (start, end): Cut) -> &str {
        self.text
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }
}

impl Header {
    /// The name of its operation.
    #[must_use]
    pub fn opcode_name(self) -> Cow<'static, str> {
        opcode_name(self.opcode())
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let mut from = Reader::new(bytes);
        Some(Header {
            id: from.u16()?,
            flags: from.u16()?,
            counts: [from.u16()?, from.u16()?, from.u16()?, from.u16()?],
        })
    }
}

impl Message {
    /// The name of the response code.
    #[must_use]
    pub fn rcode_name(&self) -> Cow<'static, str> {
        rcode_name(self.rcode())
    }
}

impl Record<'_> {
    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> Cow<'static, str> {
        type_name(self.kind)
    }

    /// The name of its class.
    #[must_use]
    pub fn class_name(&self) -> Cow<'static, str> {
        class_name(self.class)
    }
}

struct Parser<'a> {
    from: Reader<'a>,
    message: Message,
    text: Vec<u8>,
}

/// What stops the reading of a message.
struct Stop;

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8]) -> Parser<'a> {
        let message = Message {
            size: bytes.len(),
            ..Message::default()
        };
        Parser {
            from: Reader::new(bytes),
            message,
            // Most of what is in a message is in its text, with dots for lengths.
            text: Vec::with_capacity(2 * bytes.len().min(512)),
        }
    }

    fn read(mut self) -> Message {
        match Header::read(self.from.rest()) {
            Some(header) => {
                self.message.header = header;
                // It is there.
                let _ = self.from.take(HEADER);
                self.sections();
            }
            None => self.note(Problem {
                at: self.from.rest().len(),
                what: "the message ends within its header",
                oddity: Oddity::CountsWrong,
                goes_on: false,
            }),
        }
        let none = self.message.entries.is_empty();
        if none && self.message.problem.is_some() {
            self.message.oddities.add(Oddity::NotDns);
        }
        // All that is written is ASCII.
        self.message.text = String::from_utf8(self.text).unwrap_or_default();
        self.message
    }

    fn sections(&mut self) {
        let header = self.message.header;
        if header.reserved() {
            self.message.oddities.add(Oddity::ReservedBit);
        }
        match header.counts[0] {
            0 if !header.response() && header.opcode() != opcode::STATEFUL => {
                self.message.oddities.add(Oddity::NoQuestion);
            }
            2.. => self.message.oddities.add(Oddity::SeveralQuestions),
            _ => {}
        }
        let expected: usize = header.counts.iter().map(|&n| usize::from(n)).sum();
        // The smallest question takes five bytes.
        let possible = self.from.rest().len() / 5;
        self.message.entries.reserve_exact(expected.min(possible));
        for (section, count) in header.counts.into_iter().enumerate() {
            let read = (0..count).try_for_each(|_| match section {
                0 => self.question(),
                _ => self.record(section),
            });
            let end = self.message.entries.len();
            self.message
                .ends
                .iter_mut()
                .skip(section)
                .for_each(|e| *e = end);
            if let Err(Stop) = read {
                return;
            }
        }
        if !self.from.is_empty() && header.opcode() != opcode::STATEFUL {
            self.message.oddities.add(Oddity::TrailingBytes);
        }
    }

    /// Notes a problem, of which the first counts.
    fn note(&mut self, problem: Problem) {
        // A message that does not fit is cut where it may be: RFC 2181, section 9.
        if problem.oddity == Oddity::CountsWrong && self.message.header.truncated() {
            return;
        }
        self.message.oddities.add(problem.oddity);
        self.message.problem.get_or_insert(problem);
    }

    fn ended(&mut self, what: &'static str) -> Stop {
        let at = self.from.at() + self.from.rest().len();
        self.note(Problem {
            at,
            what,
            oddity: Oddity::CountsWrong,
            goes_on: false,
        });
        Stop
    }

    fn question(&mut self) -> Result<(), Stop> {
        let Range { start, end } = self.name()?;
        let Some([k0, k1, c0, c1]) = self.from.bytes::<4>() else {
            return Err(self.ended("the message ends within its questions"));
        };
        self.message.entries.push(Entry {
            name: (start, end),
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: 0,
            data: (0, 0),
        });
        Ok(())
    }

    fn record(&mut self, section: usize) -> Result<(), Stop> {
        let Range { start, end } = self.name()?;
        let fixed = self.from.bytes::<10>();
        let Some([k0, k1, c0, c1, t0, t1, t2, t3, l0, l1]) = fixed else {
            return Err(self.ended("the message ends within a record"));
        };
        let mut entry = Entry {
            name: (start, end),
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            data: (0, 0),
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(data) = self.from.part(length) else {
            return Err(self.ended("the message ends within the data of a record"));
        };
        entry.data = self.data(&entry, data)?;
        self.message.entries.push(entry);
        // RFC 6891, section 6.1.1.
        if entry.kind == kind::OPT && section == Section::Additional as usize {
            match self.message.edns {
                Some(_) => self.message.oddities.add(Oddity::SeveralOpts),
                None => self.options(&entry, data)?,
            }
        }
        Ok(())
    }

    /// Writes the name that comes next, or finds it written.
    fn name(&mut self) -> Result<Range<u32>, Stop> {
        // Most records are about the name of the first question, and say so.
        const FIRST: [u8; 2] = [0xc0, HEADER as u8];
        if let (true, Some(&Entry { name, .. })) = (
            self.from.rest().starts_with(&FIRST),
            self.message.entries.first(),
        ) {
            // It is there.
            let _ = self.from.take(FIRST.len());
            return Ok(name.0..name.1);
        }
        let start = self.text.len();
        if let Err(problem) = self.from.name(&mut self.text) {
            self.note(problem);
            if !problem.goes_on {
                return Err(Stop);
            }
        }
        self.bound()?;
        let end = self.text.len();
        let end = if end > start + 1 { end - 1 } else { end };
        Ok(start as u32..end as u32)
    }

    fn data(&mut self, entry: &Entry, data: Reader<'_>) -> Result<Cut, Stop> {
        let start = self.text.len();
        let mut from = data;
        if data::write(entry.kind, entry.class, &mut from, &mut self.text).is_none() {
            let at = from.at();
            self.text.truncate(start);
            // What could not be read is there in full.
            let _ = data::generic(&mut data.clone(), &mut self.text);
            self.note(Problem {
                at,
                what: "the data of a record is not what its type says",
                oddity: Oddity::DataMalformed,
                goes_on: true,
            });
        }
        self.bound()?;
        Ok((start as u32, self.text.len() as u32))
    }

    /// Stops where there is too much text; the last thing is then left out.
    fn bound(&mut self) -> Result<(), Stop> {
        if self.text.len() <= MAX_TEXT {
            return Ok(());
        }
        self.note(Problem {
            at: self.from.at(),
            what: "more names and data than are kept of a message",
            oddity: Oddity::TextCut,
            goes_on: false,
        });
        Err(Stop)
    }

    fn options(&mut self, opt: &Entry, mut data: Reader<'_>) -> Result<(), Stop> {
        self.message.edns = Some(Edns {
            udp_size: opt.class,
            version: (opt.ttl >> 16) as u8,
            dnssec_ok: opt.ttl >> 15 & 1 != 0,
            extended_rcode: (opt.ttl >> 24) as u8,
        });
        while !data.is_empty() {
            let at = data.at();
            let option = data.u16().zip(data.u16());
            let option = option.and_then(|(code, n)| Some((code, data.part(n.into())?)));
            let Some((code, mut value)) = option else {
                self.note(Problem {
                    at,
                    what: "an option of EDNS is longer than its record",
                    oddity: Oddity::DataMalformed,
                    goes_on: true,
                });
                return Ok(());
            };
            let start = self.text.len();
            if write_option(code, &mut value.clone(), &mut self.text).is_none() {
                self.text.truncate(start);
                write_hex(
                    &mut self.text,
                    value.take(value.rest().len()).unwrap_or_default(),
                );
            }
            self.bound()?;
            let cut = (start as u32, self.text.len() as u32);
            self.message.options.push((code, cut));
        }
        Ok(())
    }
}

/// Writes what an option says. None where it is to be written as digits.
fn write_option(code: u16, value: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    match code {
        // RFC 7871, section 6: a network, and how much of it the answer is for.
        8 => {
            let family = value.u16()?;
            let (source, scope) = (value.u8()?, value.u8()?);
            let bytes = value.take(value.rest().len())?;
            let mut address = [0; 16];
            address.get_mut(..bytes.len())?.copy_from_slice(bytes);
            match family {
                1 if bytes.len() <= 4 => {
                    let [a, b, c, d, ..] = address;
                    write_text(out, std::net::Ipv4Addr::new(a, b, c, d));
                }
                2 => write_text(out, std::net::Ipv6Addr::from(address)),
                _ => return None,
            }
            write_text(out, format_args!("/{source}/{scope}"));
        }
        // RFC 7828, section 3.1: in tenths of a second.
        11 if !value.is_empty() => {
            write_number(out, value.u16()?);
        }
        // RFC 8914, section 2: a number, and why in words.
        15 => {
            write_number(out, value.u16()?);
            let text = value.take(value.rest().len())?;
            if !text.is_empty() {
                out.push(b' ');
                write_quoted(out, text);
            }
        }
        _ => return None,
    }
    value.is_empty().then_some(())
}

//! The decoder of a connection that may carry DNS: datagrams of a message each, or streams in which two
//! bytes of length stand before each (RFC 7766, section 8).
//!
//! What goes from or to a port of DNS is taken for it; anything else has to begin with a message that
//! reads whole. Responses find their queries by number and question, in whatever order they come.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use timecraft_segment::socket::{Address, Transport};

use super::message::{HEADER, Header, Message, Section};
use super::numbers::{class, kind, opcode};
use super::oddity::Oddity;
use super::reader::Problem;
use crate::protocol::{At, Decoder, Direction, Found, Odd, Opening, Piece, Room};

/// The most queries of a connection that a response may belong to; of more the oldest is forgotten.
pub const MAX_ASKED: usize = 1024;
/// The most bytes of a direction that wait for the rest of their message.
pub const MAX_WAITING: usize = LENGTH + u16::MAX as usize;

/// What a query that waits takes of the room that there is for all connections, in bytes.
const ASKED_BYTES: usize = 128;

/// The port of DNS servers.
const PORT: u16 = 53;
/// The port of multicast DNS (RFC 6762).
const MULTICAST_PORT: u16 = 5353;
/// The bytes before a message in a stream.
const LENGTH: usize = 2;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The record with its first byte.
    pub at: At,
    /// The record with its last byte.
    pub end: At,
    /// Which way it went.
    pub direction: Direction,
    /// What it says.
    pub message: Message,
    /// Of a response, the record with the first byte of its query.
    pub query: Option<u64>,
    /// How long it took from the query to the response, as the guest sees it, in nanoseconds.
    pub rtt_ns: Option<u64>,
    /// What could not be read: which way, the byte of the stream or of the datagram, and why.
    pub error: Option<String>,
}

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    direction: Direction,
    /// A number for the question: see [`question`].
    question: u64,
    offset: u64,
    /// When the guest sent it, or had it.
    moment_ns: u64,
    answered: bool,
}

/// What of a direction's stream is not a whole message yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    /// Nothing more is wanted of it.
    done: bool,
    /// The byte of the stream that comes first in what waits, or else next.
    position: u64,
    #[serde(with = "crate::state::hexadecimal")]
    waiting: Vec<u8>,
    /// The record with the first byte of what waits.
    first: At,
}

/// What is known of what is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Spoken {
    /// Nothing yet.
    Unknown,
    /// A port says DNS, and nothing else does yet.
    ByPort,
    /// It is DNS.
    Dns,
}

/// The decoder. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    datagrams: bool,
    multicast: bool,
    midstream: bool,
    spoken: Spoken,
    sent: Way,
    received: Way,
    /// The queries, by their numbers in the upper 16 bits and their order in the others.
    asked: BTreeMap<u64, Asked>,
    /// Their keys, in their order.
    order: VecDeque<u64>,
    /// How many there were.
    count: u64,
}

impl Dns {
    /// Whether it has turned out to be DNS.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.spoken == Spoken::Dns
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// It is something else: nothing more is wanted.
    fn give_up(&mut self, room: &mut Room) {
        for way in [&mut self.sent, &mut self.received] {
            way.done = true;
            room.give(std::mem::take(&mut way.waiting).len());
        }
        self.forget(room);
    }

    fn forget(&mut self, room: &mut Room) {
        room.give(ASKED_BYTES * self.order.len());
        self.asked.clear();
        self.order.clear();
    }

    /// Whether a message can begin like this, while nothing is known. `length` is what it will be.
    fn may_begin(&self, bytes: &[u8], length: usize) -> bool {
        if self.datagrams && self.spoken == Spoken::ByPort {
            return true;
        }
        let Some(header) = Header::read(bytes) else {
            // It is still to come.
            return length >= HEADER;
        };
        let [questions, records @ ..] = header.counts.map(usize::from);
        let records: usize = records.iter().sum();
        let at_least = HEADER + 5 * questions + 11 * records;
        let usual = match header.opcode() {
            // RFC 1035, 1996, 2136.
            0 | 2 | 4 | opcode::UPDATE => true,
            opcode::STATEFUL => self.spoken == Spoken::ByPort,
            _ => false,
        };
        usual && !header.reserved() && at_least <= length
    }

    /// Whether a first message shows that it is DNS.
    fn shows(&self, message: &Message) -> bool {
        if self.spoken == Spoken::ByPort {
            return true;
        }
        let asks = message.question().is_some_and(|question| {
            let class = question.class & !class::MULTICAST;
            let known = matches!(class, class::IN | 3 | 4 | class::NONE | class::ANY);
            known && question.kind != 0
        });
        message.header.counts[0] == 1 && asks && message.is_whole()
    }

    /// Takes a message of which all is there. `position` is its first byte in the stream.
    fn message(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        position: u64,
        (first, last): (At, At),
        room: &mut Room,
        out: &mut Vec<Found<Row>>,
    ) -> Result<(), NotDns> {
        if self.spoken != Spoken::Dns && !self.may_begin(bytes, bytes.len()) {
            return Err(NotDns);
        }
        let message = Message::read(bytes);
        if self.spoken != Spoken::Dns {
            if !self.shows(&message) {
                return Err(NotDns);
            }
            self.spoken = Spoken::Dns;
        }
        self.give(message, direction, position, (first, last), room, out);
        Ok(())
    }

    fn give(
        &mut self,
        message: Message,
        direction: Direction,
        position: u64,
        (first, last): (At, At),
        room: &mut Room,
        out: &mut Vec<Found<Row>>,
    ) {
        let mut row = Row {
            at: first,
            end: last,
            direction,
            error: message.error().map(|(at, what)| {
                let byte = position.saturating_add(at as u64);
                format!("{} byte {byte}: {what}", direction.name())
            }),
            message,
            query: None,
            rtt_ns: None,
        };
        if row.message.has_header() {
            match row.message.header.response() {
                true => self.answer(&mut row),
                false => self.ask(&mut row, room),
            }
        }
        let oddities = row.message.oddities;
        if oddities.is_empty() {
            return out.push(Found::Row(row));
        }
        let question = row.message.question();
        let detail = question.map_or_else(String::new, |question| {
            format!("{} {}", question.name, question.type_name())
        });
        out.push(Found::Row(row));
        out.extend(oddities.iter().map(|oddity| {
            Found::Odd(Odd {
                at: first,
                protocol: "dns",
                name: oddity.name(),
                detail: detail.clone(),
            })
        }));
    }

    /// The queries of that number, the newest first.
    fn of_number(&mut self, id: u16) -> impl Iterator<Item = &mut Asked> {
        let first = u64::from(id) << 48;
        let last = first | (u64::MAX >> 16);
        self.asked
            .range_mut(first..=last)
            .rev()
            .map(|(_, asked)| asked)
    }

    fn ask(&mut self, row: &mut Row, room: &mut Room) {
        let id = row.message.header.id;
        let asked = Asked {
            direction: row.direction,
            question: question(&row.message).unwrap_or(0),
            offset: row.at.offset,
            moment_ns: match row.direction {
                Direction::Sent => row.at.time_ns,
                Direction::Received => row.end.end_ns,
            },
            answered: false,
        };
        let again = |known: &&mut Asked| {
            !known.answered
                && known.question == asked.question
                && known.direction == asked.direction
        };
        if self.of_number(id).any(|known| again(&known)) {
            if !self.multicast {
                row.message.oddities.add(Oddity::RepeatedQuery);
            }
            return;
        }
        let taken = room.take(ASKED_BYTES);
        if taken < ASKED_BYTES || self.order.len() >= MAX_ASKED {
            room.give(taken);
            // The new one takes the place of the oldest, where there is one.
            let Some(oldest) = self.order.pop_front() else {
                return row.message.oddities.add(Oddity::NotFollowed);
            };
            self.asked.remove(&oldest);
        }
        let key = u64::from(id) << 48 | self.count & (u64::MAX >> 16);
        self.count += 1;
        self.asked.insert(key, asked);
        self.order.push_back(key);
    }

    fn answer(&mut self, row: &mut Row) {
        let (direction, multicast) = (row.direction, self.multicast);
        let asked_for = question(&row.message);
        let kind = row.message.question().map(|question| question.kind);
        let is_it = |asked: &&mut Asked| {
            asked.direction != direction
                && match asked_for {
                    Some(question) => asked.question == question,
                    None => !multicast,
                }
        };
        let id = row.message.header.id;
        let unanswered = self
            .of_number(id)
            .find(|asked| !asked.answered && is_it(asked));
        let (found, again) = match unanswered {
            Some(asked) => (Some(asked), false),
            None => (self.of_number(id).find(is_it), true),
        };
        if let Some(asked) = found {
            asked.answered = true;
            row.query = Some(asked.offset);
            let moment = match direction {
                Direction::Sent => row.end.time_ns,
                Direction::Received => row.end.end_ns,
            };
            row.rtt_ns = Some(moment.saturating_sub(asked.moment_ns));
            // A zone comes in many messages, all but the first of which may have no question: RFC 5936,
            // section 2.2.
            let zone = matches!(kind, None | Some(kind::AXFR | kind::IXFR));
            if again && !multicast && !zone {
                row.message.oddities.add(Oddity::RepeatedResponse);
            }
            return;
        }
        if multicast {
            return;
        }
        let of_number = self.of_number(id).any(|asked| asked.direction != direction);
        let of_question = || {
            let mut all = self.asked.values();
            all.any(|asked| asked.direction != direction && Some(asked.question) == asked_for)
        };
        if of_number {
            row.message.oddities.add(Oddity::QuestionMismatch);
        } else if of_question() {
            row.message.oddities.add(Oddity::IdMismatch);
        } else if !self.midstream {
            row.message.oddities.add(Oddity::UnexpectedResponse);
        }
    }

    fn datagram(&mut self, piece: Piece<'_>, room: &mut Room, out: &mut Vec<Found<Row>>) {
        let ends = (piece.at, piece.at);
        if let Err(NotDns) = self.message(piece.bytes, piece.direction, 0, ends, room, out) {
            self.give_up(room);
        }
    }

    fn stream(
        &mut self,
        piece: Piece<'_>,
        room: &mut Room,
        out: &mut Vec<Found<Row>>,
    ) -> Result<(), NotDns> {
        let mut bytes = piece.bytes;
        let direction = piece.direction;
        loop {
            let way = self.way(direction);
            let position = way.position.saturating_add(LENGTH as u64);
            if way.waiting.is_empty() {
                if let Some((message, rest)) = whole(bytes) {
                    way.position = position.saturating_add(message.len() as u64);
                    bytes = rest;
                    self.message(
                        message,
                        direction,
                        position,
                        (piece.at, piece.at),
                        room,
                        out,
                    )?;
                    continue;
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                way.first = piece.at;
            }
            let wanted = match expected(&way.waiting) {
                Some(length) => LENGTH + length,
                None => LENGTH,
            };
            let missing = wanted.saturating_sub(way.waiting.len());
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            let taken = room.take(more.len());
            if taken < more.len() {
                room.give(taken + std::mem::take(&mut way.waiting).len());
                way.done = true;
                out.push(Found::Odd(Odd {
                    at: piece.at,
                    protocol: "dns",
                    name: Oddity::NotFollowed.name(),
                    detail: direction.name().to_owned(),
                }));
                return Ok(());
            }
            way.waiting.extend_from_slice(more);
            bytes = rest;
            if way.waiting.len() < LENGTH {
                return Ok(());
            }
            let waiting = std::mem::take(&mut way.waiting);
            let length = expected(&waiting).unwrap_or(0);
            let first = way.first;
            let message = waiting.get(LENGTH..).unwrap_or_default();
            if message.len() < length {
                let may_be = self.spoken == Spoken::Dns || self.may_begin(message, length);
                // Also where it is given up, since that gives back what waits.
                self.way(direction).waiting = waiting;
                if !may_be {
                    return Err(NotDns);
                }
                if bytes.is_empty() {
                    return Ok(());
                }
                continue;
            }
            way.position = position.saturating_add(length as u64);
            room.give(waiting.len());
            self.message(message, direction, position, (first, piece.at), room, out)?;
        }
    }
}

/// It is not DNS.
struct NotDns;

/// The first message of a stream, with what comes after it; none where not all of it is there.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// How long the first message of a stream is.
fn expected(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH>()?;
    Some(u16::from_be_bytes(*length).into())
}

/// A number that the same question has, whatever its case: FNV-1a of 64 bits. None for a message without
/// one. It need not withstand who looks for two questions with the same number: all that they get is a
/// response that is said to belong to a query of theirs.
fn question(message: &Message) -> Option<u64> {
    let mut any = false;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for question in message.section(Section::Question) {
        any = true;
        question
            .name
            .bytes()
            .for_each(|byte| take(byte.to_ascii_lowercase()));
        let class = question.class & !class::MULTICAST;
        let [a, b] = question.kind.to_be_bytes();
        let [c, d] = class.to_be_bytes();
        [0, a, b, c, d].into_iter().for_each(&mut take);
    }
    any.then_some(hash)
}

fn has_port(end: Option<&Address>, port: u16) -> bool {
    matches!(end, Some(Address::Ip(address)) if address.port() == port)
}

impl Decoder for Dns {
    const VERSION: u32 = 1;
    type Row = Row;

    fn begin(opening: Opening<'_>) -> Option<Dns> {
        let datagrams = match opening.transport? {
            Transport::Udp | Transport::UnixDatagram => true,
            Transport::Tcp | Transport::UnixStream => false,
        };
        let of = |port| {
            [opening.local, opening.peer]
                .into_iter()
                .any(|end| has_port(end, port))
        };
        let multicast = of(MULTICAST_PORT);
        // Of a stream whose beginning is not there, no place is known where a message begins.
        let by_port = (multicast || of(PORT)) && (datagrams || !opening.midstream);
        Some(Dns {
            datagrams,
            multicast,
            midstream: opening.midstream,
            spoken: if by_port {
                Spoken::ByPort
            } else {
                Spoken::Unknown
            },
            sent: Way::default(),
            received: Way::default(),
            asked: BTreeMap::new(),
            order: VecDeque::new(),
            count: 0,
        })
    }

    fn wants(&self, direction: Direction) -> bool {
        match direction {
            Direction::Sent => !self.sent.done,
            Direction::Received => !self.received.done,
        }
    }

    fn data(&mut self, piece: Piece<'_>, room: &mut Room, out: &mut Vec<Found<Row>>) {
        if !self.wants(piece.direction) {
            return;
        }
        if self.datagrams {
            return self.datagram(piece, room, out);
        }
        if let Err(NotDns) = self.stream(piece, room, out) {
            if self.spoken == Spoken::ByPort {
                out.push(Found::Odd(Odd {
                    at: piece.at,
                    protocol: "dns",
                    name: Oddity::NotDns.name(),
                    detail: piece.direction.name().to_owned(),
                }));
            }
            self.give_up(room);
        }
    }

    fn end(&mut self, direction: Direction, at: At, room: &mut Room, out: &mut Vec<Found<Row>>) {
        let way = self.way(direction);
        way.done = true;
        let waiting = std::mem::take(&mut way.waiting);
        let (position, first) = (way.position, way.first);
        room.give(waiting.len());
        if waiting.is_empty() || self.spoken == Spoken::Unknown {
            return;
        }
        let bytes = waiting.get(LENGTH..).unwrap_or_default();
        let mut message = Message::read(bytes);
        message.oddities.add(Oddity::StreamCut);
        message.problem = Some(Problem {
            at: bytes.len(),
            what: "the stream ended within a message",
            oddity: Oddity::StreamCut,
            goes_on: false,
        });
        let position = position.saturating_add(LENGTH.min(waiting.len()) as u64);
        self.give(message, direction, position, (first, at), room, out);
    }

    fn close(mut self, at: At, room: &mut Room, out: &mut Vec<Found<Row>>) {
        self.end(Direction::Sent, at, room, out);
        self.end(Direction::Received, at, room, out);
        self.forget(room);
    }

    fn size(row: &Row) -> usize {
        row.message.memory()
    }

    /// Each message is a row of itself, and nothing of a query depends on its response.
    fn in_flight(&self) -> Vec<Row> {
        Vec::new()
    }
}

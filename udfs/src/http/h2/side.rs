//! One direction: its bytes cut into frames, and what was said for it by SETTINGS.
//!
//! A frame that lies whole in a piece is copied nowhere else than to where it is kept; DATA is taken as
//! it comes; all others are held until they are whole.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Place;
use super::blocks::Block;
use super::frame::{self, HEADER, Header};
use crate::connections::Direction;
use crate::http::Oddity;
use crate::http::hpack::{DEFAULT_TABLE, Hpack};
use crate::protocol::At;

/// The longest frame that is read, other than DATA; also the longest header block.
pub const MAX_FRAME: usize = 256 << 10;
/// How many SETTINGS may wait to be acknowledged; of more the oldest are taken to be.
const MAX_SETTINGS: usize = 16;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    direction: Direction,
    /// How much of the preface has come; all of it for a server, which has none.
    preface: usize,
    /// The position of the frame.
    position: u64,
    /// The record of its first byte.
    start: At,
    /// The beginning of a frame that is not whole.
    #[serde(with = "crate::state::hexadecimal")]
    held: Vec<u8>,
    payload: Option<Payload>,
    /// How long that frame is with its header.
    length: u64,
    /// Whether no frame came yet.
    first: bool,
    /// Whether what comes is nothing that is read here.
    deaf: bool,
    pub(super) block: Option<Block>,
    pub(super) hpack: Hpack,
    /// Whether a header block was lost, so that later ones mean nothing.
    pub(super) lost: bool,
    /// The sizes of HPACK's table that this side allows, and that are not acknowledged.
    waiting: VecDeque<u32>,
    /// The size that it said last.
    table: u32,
    /// The longest frame that it takes.
    max_frame: usize,
}

/// A payload that is taken as it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    /// The stream of DATA; 0 where it is skipped.
    pub(super) stream: u32,
    /// Whether its first byte says how much is padding.
    padded: bool,
    data: usize,
    padding: usize,
    bad_padding: bool,
    last: bool,
}

/// What came.
pub(super) enum Step {
    Nothing,
    Odd(Place, Oddity, &'static str),
    /// A frame whose payload is taken as it comes.
    Begun(Header, Place),
    /// The same, without any payload.
    Empty(Header, Payload, Place),
    /// Bytes of it, where they are among those that were taken.
    Payload(Payload, Place, Range<usize>),
    /// A frame that lies whole in the piece, with where its payload is.
    Whole(Header, Place, Range<usize>),
    /// A frame that lies in several pieces, with its payload.
    Held(Header, Place, Vec<u8>),
}

impl Payload {
    fn new(header: &Header) -> Payload {
        let of_data = header.kind == frame::DATA;
        Payload {
            stream: if of_data { header.stream } else { 0 },
            padded: of_data && header.has(frame::PADDED),
            data: header.length,
            padding: 0,
            bad_padding: false,
            last: of_data && header.has(frame::END_STREAM),
        }
    }

    fn done(&self) -> bool {
        !self.padded && self.data == 0 && self.padding == 0
    }

    pub(super) fn bad_padding(&self) -> bool {
        self.bad_padding
    }

    /// Whether it has come whole and ends its stream.
    pub(super) fn ends_stream(&self) -> bool {
        self.last && self.done()
    }

    /// Takes what it can, and says how much, and where the data among it is.
    fn take(&mut self, bytes: &[u8]) -> (usize, Range<usize>) {
        let mut taken = 0;
        self.bad_padding = false;
        if self.padded
            && let Some(&padding) = bytes.first()
        {
            taken = 1;
            self.padded = false;
            let rest = self.data.saturating_sub(1);
            // More than there is: RFC 9113, section 6.1. None of it is data then.
            self.bad_padding = self.data == 0 || usize::from(padding) > rest;
            self.padding = rest.min(padding.into());
            self.data = rest - self.padding;
        }
        let left = bytes.len().saturating_sub(taken);
        let data = left.min(self.data);
        let padding = (left - data).min(self.padding);
        self.data -= data;
        self.padding -= padding;
        (taken + data + padding, taken..taken + data)
    }
}

impl Side {
    pub(super) fn new(direction: Direction, client: Direction) -> Side {
        Side {
            direction,
            preface: if direction == client {
                0
            } else {
                PREFACE.len()
            },
            position: 0,
            start: At::default(),
            held: Vec::new(),
            payload: None,
            length: 0,
            first: true,
            deaf: false,
            block: None,
            hpack: Hpack::default(),
            lost: false,
            waiting: VecDeque::new(),
            table: DEFAULT_TABLE as u32,
            max_frame: 16 << 10,
        }
    }

    /// Its first byte is at this position.
    pub(super) fn begin_at(&mut self, position: u64) {
        self.position = position;
    }

    pub(super) fn listens(&self) -> bool {
        !self.deaf
    }

    /// The longest frame that it takes.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// Whether this is its first frame.
    pub(super) fn first_frame(&mut self) -> bool {
        std::mem::take(&mut self.first)
    }

    /// Takes what SETTINGS say; returns the most that HPACK's table may be until this is acknowledged.
    pub(super) fn settings(&mut self, payload: &[u8]) -> u32 {
        let mut allowed = self.table;
        let (settings, _) = payload.as_chunks::<6>();
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                1 => self.table = value,
                5 => self.max_frame = value.clamp(16 << 10, (1 << 24) - 1) as usize,
                _ => {}
            }
        }
        if self.waiting.len() == MAX_SETTINGS {
            self.waiting.pop_front();
        }
        self.waiting.push_back(self.table);
        allowed = self.waiting.iter().copied().fold(allowed, u32::max);
        allowed
    }

    /// The oldest of its SETTINGS is acknowledged: the most that the table may be now.
    pub(super) fn acknowledged(&mut self) -> Option<u32> {
        let now = self.waiting.pop_front()?;
        Some(self.waiting.iter().copied().fold(now, u32::max))
    }

    /// Its stream has ended; returns the position of the frame that is cut by that.
    pub(super) fn end(&mut self) -> Option<u64> {
        let cut = !self.held.is_empty() || self.payload.is_some() || self.block.is_some();
        let deaf = std::mem::replace(&mut self.deaf, true);
        (cut && !deaf).then_some(self.position)
    }

    fn place(&self, at: At) -> Place {
        Place {
            direction: self.direction,
            position: self.position,
            start: self.start,
            at,
        }
    }

    /// Takes as many bytes as one thing needs, and says how many those were and what it is.
    pub(super) fn step(&mut self, bytes: &[u8], at: At) -> (usize, Step) {
        if self.deaf {
            return (bytes.len(), Step::Nothing);
        }
        if let Some(wanted) = PREFACE.get(self.preface..).filter(|w| !w.is_empty()) {
            return self.preface(wanted, bytes, at);
        }
        if let Some(mut payload) = self.payload.take() {
            let (taken, data) = payload.take(bytes);
            let place = self.place(at);
            if payload.done() {
                self.position += self.length;
            } else {
                self.payload = Some(payload.clone());
            }
            return (taken, Step::Payload(payload, place, data));
        }
        if self.held.is_empty() {
            self.start = at;
            if let Some((header, rest)) = Header::read(bytes) {
                if let Some(step) = self.begin(header, bytes, at) {
                    return (HEADER, step);
                }
                if rest.len() >= header.length {
                    let end = HEADER + header.length;
                    let place = self.place(at);
                    self.position += end as u64;
                    return (end, Step::Whole(header, place, HEADER..end));
                }
            }
        }
        self.hold(bytes, at)
    }

    fn preface(&mut self, wanted: &[u8], bytes: &[u8], at: At) -> (usize, Step) {
        let same = wanted.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        if same < wanted.len().min(bytes.len()) {
            self.deaf = true;
            self.start = at;
            let why = "nothing more is read this way";
            let odd = Step::Odd(self.place(at), Oddity::H2BadPreface, why);
            return (bytes.len(), odd);
        }
        self.preface += same;
        self.position += same as u64;
        (same, Step::Nothing)
    }

    /// What the header of a frame says by itself; none where its payload is needed.
    fn begin(&mut self, header: Header, bytes: &[u8], at: At) -> Option<Step> {
        let place = self.place(at);
        if self.first && bytes.starts_with(b"HTTP/1.") {
            self.deaf = true;
            let why = "nothing more is read this way";
            return Some(Step::Odd(place, Oddity::H2AnsweredInHttp1, why));
        }
        let held = matches!(header.kind, frame::HEADERS..=frame::CONTINUATION);
        if held && header.length <= MAX_FRAME {
            return None;
        }
        let payload = Payload::new(&header);
        self.held.clear();
        self.length = (HEADER + header.length) as u64;
        if payload.done() {
            self.position += self.length;
            // Of DATA with nothing in it only the end matters.
            return Some(Step::Empty(header, payload, place));
        }
        self.payload = Some(payload);
        Some(Step::Begun(header, place))
    }

    /// Holds what is there of a frame until it is whole.
    fn hold(&mut self, bytes: &[u8], at: At) -> (usize, Step) {
        let had = self.held.len();
        let wanted = match Header::read(&self.held) {
            Some((header, _)) => HEADER + header.length,
            None => HEADER,
        };
        let taken = bytes.len().min(wanted.saturating_sub(had));
        self.held.extend(bytes.iter().take(taken));
        let Some((header, _)) = Header::read(&self.held) else {
            return (taken, Step::Nothing);
        };
        if had < HEADER {
            let head = self.held.clone();
            if let Some(step) = self.begin(header, &head, at) {
                return (taken, step);
            }
        }
        if payload_length(&self.held) < header.length {
            return (taken, Step::Nothing);
        }
        let mut payload = std::mem::take(&mut self.held);
        payload.drain(..HEADER);
        let place = self.place(at);
        self.position += (HEADER + header.length) as u64;
        (taken, Step::Held(header, place, payload))
    }
}

fn payload_length(held: &[u8]) -> usize {
    held.len().saturating_sub(HEADER)
}

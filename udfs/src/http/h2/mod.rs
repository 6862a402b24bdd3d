//! HTTP/2: both directions of one connection, RFC 9113. [`H2`] gives an [`Exchange`] for each stream.
//!
//! It follows what two others say and never enforces: what is against the rules is odd, and what can be
//! read after it is read. It must not keep more than the bounds below allow.

mod blocks;
mod fields;
mod frame;
mod grpc;
mod side;
mod stream;
mod upgrade;
mod within;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use side::MAX_FRAME;
pub use stream::MAX_INFORMATIONAL;

use self::frame::Header;
use self::side::{Payload, Side, Step};
use self::stream::{Part, Stream};
use super::{Exchange, Oddity};
use crate::protocol::{At, Direction, Found, Odd, Piece, Room};

/// How many streams are followed at once. When more are open, the oldest is given as it is.
pub const MAX_STREAMS: usize = 1024;
/// The most bytes of fields that are kept of all open streams.
pub const MAX_OPEN_FIELDS: usize = 4 << 20;
/// How many streams are remembered that were reset or given up, so that what was on its way then is
/// not held to be wrong.
pub const MAX_RESET: usize = 256;
/// How many bytes of the debug data of GOAWAY are told.
const MAX_DEBUG: usize = 256;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct H2 {
    client: Direction,
    sides: [Side; 2],
    streams: BTreeMap<u32, Box<Stream>>,
    /// The newest stream that the client began, and the newest that was promised.
    newest: [u32; 2],
    reset: VecDeque<u32>,
    /// The number of the next exchange.
    number: u64,
    /// How many bytes of fields the open streams keep.
    fields: usize,
}

/// Where something is: a frame, the record that brought its first byte and the one of its last.
#[derive(Clone, Copy, Debug)]
struct Place {
    direction: Direction,
    position: u64,
    start: At,
    at: At,
}

/// Where rows go.
struct Out<'a> {
    room: &'a mut Room,
    found: &'a mut Vec<Found<Exchange>>,
}

impl H2 {
    /// Before the preface of the client.
    #[must_use]
    pub fn new(client: Direction) -> H2 {
        H2 {
            client,
            sides: [Direction::Sent, Direction::Received].map(|way| Side::new(way, client)),
            streams: BTreeMap::new(),
            newest: [0, 0],
            reset: VecDeque::new(),
            number: 0,
            fields: 0,
        }
    }

    /// Whether bytes that go this way can still matter.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> bool {
        self.side(direction).listens()
    }

    /// Takes the next bytes.
    pub fn data(&mut self, piece: Piece<'_>, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let mut out = Out { room, found: out };
        let mut bytes = piece.bytes;
        while !bytes.is_empty() {
            let (taken, step) = self.side_mut(piece.direction).step(bytes, piece.at);
            match step {
                Step::Nothing => {}
                Step::Odd(place, odd, why) => self.odd(place, odd, None, why, &mut out),
                Step::Begun(header, place) => self.begun(&header, place, &mut out),
                Step::Empty(header, payload, place) => {
                    self.begun(&header, place, &mut out);
                    self.payload(&payload, place, &[], &mut out);
                }
                Step::Whole(header, place, payload) => {
                    let payload = bytes.get(payload).unwrap_or_default();
                    self.frame(&header, place, payload, &mut out);
                }
                Step::Held(header, place, payload) => {
                    self.frame(&header, place, &payload, &mut out);
                }
                Step::Payload(payload, place, data) => {
                    let data = bytes.get(data).unwrap_or_default();
                    self.payload(&payload, place, data, &mut out);
                }
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// A direction has come to its end.
    pub fn end(
        &mut self,
        direction: Direction,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let mut out = Out { room, found: out };
        if let Some(position) = self.side_mut(direction).end() {
            let place = Place {
                direction,
                position,
                start: at,
                at,
            };
            let why = "the stream ends within a frame";
            self.odd(place, Oddity::H2CutFrame, None, why, &mut out);
        }
    }

    /// The connection is not followed any further.
    pub fn close(mut self, _at: At, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let mut out = Out { room, found: out };
        while let Some((&id, _)) = self.streams.first_key_value() {
            self.give(id, &mut out);
        }
    }

    /// The exchanges that are in flight.
    #[must_use]
    pub fn in_flight(&self) -> Vec<Exchange> {
        let open = self.streams.iter();
        open.map(|(&id, stream)| stream.as_ref().clone().exchange(id, self.client))
            .collect()
    }

    fn side(&self, direction: Direction) -> &Side {
        let [sent, received] = &self.sides;
        match direction {
            Direction::Sent => sent,
            Direction::Received => received,
        }
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        let [sent, received] = &mut self.sides;
        match direction {
            Direction::Sent => sent,
            Direction::Received => received,
        }
    }

    fn part(&self, direction: Direction) -> Part {
        if direction == self.client {
            Part::Request
        } else {
            Part::Response
        }
    }

    /// Says that something is odd: once for a stream, and every time for a connection.
    fn odd(&mut self, place: Place, odd: Oddity, id: Option<u32>, why: &str, out: &mut Out<'_>) {
        let stream = id.and_then(|id| self.streams.get_mut(&id));
        if stream.is_some_and(|stream| !stream.warn(odd)) {
            return;
        }
        let on = id.map(|id| format!(", stream {id}")).unwrap_or_default();
        let colon = if why.is_empty() { "" } else { ": " };
        out.found.push(Found::Odd(Odd {
            at: place.at,
            protocol: "http2",
            name: odd.name(),
            detail: format!("{}{on}{colon}{why}", place.text()),
        }));
    }

    /// Before anything of a frame but its header is looked at. False where it means nothing.
    fn frame_fits(&mut self, header: &Header, place: Place, out: &mut Out<'_>) -> bool {
        let allowed = self.side(place.direction.opposite()).max_frame();
        let side = self.side_mut(place.direction);
        if side.first_frame() && header.kind != frame::SETTINGS {
            self.odd(place, Oddity::H2NoSettings, None, "", out);
        }
        if header.length > allowed {
            let why = format!("{} bytes where {allowed} are allowed", header.length);
            self.odd(place, Oddity::H2OversizeFrame, None, &why, out);
        }
        self.block_goes_on(header, place, out);
        let on_connection = matches!(header.kind, frame::SETTINGS | frame::PING | frame::GOAWAY);
        let on_stream = header.kind <= frame::CONTINUATION && header.kind != frame::WINDOW_UPDATE;
        if on_connection && header.stream != 0 || on_stream && !on_connection && header.stream == 0
        {
            let why = format!("type {} on stream {}", header.kind, header.stream);
            self.odd(place, Oddity::H2WrongStream, None, &why, out);
            return on_connection;
        }
        if !header.fits() {
            let why = format!("type {} of {} bytes", header.kind, header.length);
            self.odd(place, Oddity::H2BadFrame, None, &why, out);
            return false;
        }
        true
    }

    /// A frame whose payload is taken as it comes begins: DATA, one that is too long, or unknown.
    fn begun(&mut self, header: &Header, place: Place, out: &mut Out<'_>) {
        let fits = self.frame_fits(header, place, out);
        if header.kind == frame::DATA {
            if fits && !self.streams.contains_key(&header.stream) {
                self.unknown_stream(header, place, out);
            }
        } else if header.kind <= frame::CONTINUATION {
            let why = format!("a frame of {} bytes is not read", header.length);
            self.odd(place, Oddity::H2OversizeFrame, None, &why, out);
            self.unread_block(header, place, out);
        }
    }

    /// A frame on a stream that is not open: late, or wrong.
    fn unknown_stream(&mut self, header: &Header, place: Place, out: &mut Out<'_>) {
        if !self.reset.contains(&header.stream) {
            let why = format!("type {} on a stream that is not open", header.kind);
            self.odd(place, Oddity::H2WrongStream, Some(header.stream), &why, out);
        }
    }

    fn payload(&mut self, payload: &Payload, place: Place, data: &[u8], out: &mut Out<'_>) {
        let part = self.part(place.direction);
        let Some(stream) = self.streams.get_mut(&payload.stream) else {
            return;
        };
        stream.touch(place.at);
        if !data.is_empty()
            && let Err((odd, why)) = stream.body(part, data, place, out.room)
        {
            self.odd(place, odd, Some(payload.stream), why, out);
        }
        if payload.bad_padding() {
            let why = "more padding than there is frame";
            self.odd(place, Oddity::H2BadFrame, Some(payload.stream), why, out);
        }
        if payload.ends_stream() {
            self.finish(payload.stream, place, out);
        }
    }

    fn frame(&mut self, header: &Header, place: Place, payload: &[u8], out: &mut Out<'_>) {
        if !self.frame_fits(header, place, out) {
            return self.unread_block(header, place, out);
        }
        match header.kind {
            frame::HEADERS | frame::PUSH_PROMISE => self.headers(header, place, payload, out),
            frame::CONTINUATION => self.continuation(header, place, payload, out),
            frame::RST_STREAM => {
                let code = payload
                    .first_chunk()
                    .map_or(0, |code| u32::from_be_bytes(*code));
                self.rst_stream(header, place, code, out);
            }
            frame::SETTINGS if header.has(frame::ACK) => {
                // It is about what the other endpoint said.
                if let Some(table) = self.side_mut(place.direction.opposite()).acknowledged() {
                    self.side_mut(place.direction).hpack.allow(table);
                }
            }
            frame::SETTINGS => {
                let table = self.side_mut(place.direction).settings(payload);
                // It may be used from when it is known, which is before it is acknowledged.
                self.side_mut(place.direction.opposite()).hpack.allow(table);
            }
            frame::GOAWAY => self.goaway(place, payload, out),
            _ => {}
        }
    }

    fn rst_stream(&mut self, header: &Header, place: Place, code: u32, out: &mut Out<'_>) {
        let id = header.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.touch(place.at);
        // A server that has answered needs no more of the request: RFC 9113, section 8.1.
        if code != 0 || !stream.ended(Part::Response) {
            let why = format!("RST_STREAM, {}", frame::error_name(code));
            self.odd(place, Oddity::H2Reset, Some(id), &why, out);
        }
        self.forget(id);
        self.give(id, out);
    }

    fn goaway(&mut self, place: Place, payload: &[u8], out: &mut Out<'_>) {
        let Some((code, debug)) = payload.get(4..).and_then(|p| p.split_first_chunk::<4>()) else {
            return;
        };
        let code = u32::from_be_bytes(*code);
        if code != 0 {
            let debug = debug.get(..MAX_DEBUG).unwrap_or(debug);
            let debug = timecraft_segment::text::lossless(debug);
            let why = format!("GOAWAY, {} {debug}", frame::error_name(code));
            self.odd(place, Oddity::H2GoAway, None, why.trim_end(), out);
        }
    }

    /// What comes late on this stream is not wrong.
    fn forget(&mut self, id: u32) {
        if self.reset.len() == MAX_RESET {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    /// A stream ends one way.
    fn finish(&mut self, id: u32, place: Place, out: &mut Out<'_>) {
        let part = self.part(place.direction);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.ended(part) {
            return;
        }
        let odd = stream.finish(part, place.at);
        let done = stream.done();
        for odd in odd {
            self.odd(place, odd, Some(id), "", out);
        }
        if done {
            self.give(id, out);
        }
    }

    /// Opens a stream, and gives up the oldest where there are too many.
    fn open(&mut self, id: u32, stream: Stream, place: Place, out: &mut Out<'_>) {
        if self.streams.len() == MAX_STREAMS
            && let Some((&oldest, _)) = self.streams.first_key_value()
        {
            let why = "given up for the sake of newer ones";
            self.odd(place, Oddity::H2TooManyStreams, Some(oldest), why, out);
            self.forget(oldest);
            self.give(oldest, out);
        }
        self.number += 1;
        self.streams.insert(id, Box::new(stream));
    }

    /// Gives a row, and what it took of the room.
    fn give(&mut self, id: u32, out: &mut Out<'_>) {
        if let Some(stream) = self.streams.remove(&id) {
            self.fields = self.fields.saturating_sub(stream.fields);
            out.room.give(stream.kept());
            let exchange = stream.exchange(id, self.client);
            out.found.push(Found::Row(exchange));
        }
    }
}

impl Place {
    /// In words, as errors begin.
    fn text(&self) -> String {
        format!("{} byte {}", self.direction.name(), self.position)
    }
}

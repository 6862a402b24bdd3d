//! HTTP/1.0 and HTTP/1.1: both directions of one connection, as exchanges.
//!
//! [`Http1`] reads each direction message by message ([`head`], [`body`]) and puts responses to their
//! requests ([`pipeline`]). It finds out by the first line that it can read which direction is the
//! client's. It never believes a length: nothing is kept that has not come.

mod body;
mod events;
mod head;
mod line;
mod messages;
mod pipeline;
mod switched;
mod websocket;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use self::body::{Reader, Rest, Step};
use self::head::Odds;
use self::line::{Guess, guess};
use self::pipeline::{Open, Part, Pipeline};
use self::websocket::Frames;
use super::{Exchange, Oddity, Version};
use crate::protocol::{At, Direction, Found, Room};

/// The longest head, or fields after a body, in bytes.
pub const MAX_HEAD: usize = 64 << 10;
/// The longest line with a chunk's size, in bytes.
pub const MAX_CHUNK_LINE: usize = 16 << 10;
/// How many requests are kept that wait for their responses.
pub const MAX_WAITING: usize = 1024;
/// How many responses of status 1xx are kept of one exchange.
pub const MAX_INFORMATIONAL: usize = 64;
/// How many bytes are looked through for the first message, where the beginning is not in the log.
pub const MAX_SKIPPED: u64 = 1 << 20;

/// A connection that speaks HTTP/1, or of which that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Http1 {
    /// The direction of requests.
    client: Option<Direction>,
    sent: Side,
    received: Side,
    pipeline: Pipeline,
    /// The exchange that became a conversation of WebSocket.
    switched: Option<Box<Open>>,
    midstream: bool,
    last: At,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Side {
    /// How many bytes were read. Those that are held are not.
    position: u64,
    /// The beginning of what is not whole.
    #[serde(with = "crate::state::hexadecimal")]
    held: Vec<u8>,
    /// Where the first byte came of what is being read.
    began: At,
    /// How many bytes were skipped.
    skipped: u64,
    mode: Mode,
    ended: bool,
}

/// What a direction is in the middle of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    /// Before a start line, or in it.
    Start,
    /// In a head whose start line is read.
    Head,
    /// Looking for a start line.
    Skip { in_line: bool },
    /// In a body.
    Body(Reader),
    /// Behind a request for a tunnel: whether these are bytes of it, its response says.
    Waiting,
    /// In frames of WebSocket.
    Frames(Frames),
    /// In something that is not read.
    Opaque,
}

/// What a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// HTTP/1, as far as is known.
    Http1,
    /// HTTP/2, by a client that knew.
    H2,
    /// Something else.
    Other,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

impl Side {
    fn new(mode: Mode) -> Side {
        Side {
            position: 0,
            held: Vec::new(),
            began: At::default(),
            skipped: 0,
            mode,
            ended: false,
        }
    }
}

impl Http1 {
    pub(super) fn new(midstream: bool) -> Http1 {
        let mode = || match midstream {
            true => Mode::Skip { in_line: false },
            false => Mode::Start,
        };
        Http1 {
            client: None,
            sent: Side::new(mode()),
            received: Side::new(mode()),
            pipeline: Pipeline::default(),
            switched: None,
            midstream,
            last: At::default(),
        }
    }

    pub(super) fn wants(&self, direction: Direction) -> bool {
        self.side(direction).mode != Mode::Opaque
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    fn role(&self, direction: Direction) -> Option<Role> {
        self.client.map(|client| match client == direction {
            true => Role::Client,
            false => Role::Server,
        })
    }

    /// Takes the next bytes, unless it turns out that they are not HTTP/1: then `bytes` are what was
    /// not read.
    pub(super) fn data(
        &mut self,
        direction: Direction,
        at: At,
        bytes: &mut &[u8],
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) -> Verdict {
        self.last = at;
        while !bytes.is_empty() {
            let verdict = match &mut self.side_mut(direction).mode {
                Mode::Start | Mode::Head => self.head(direction, at, bytes, room, out),
                Mode::Skip { in_line } => {
                    if *in_line {
                        self.skip_line(direction, bytes);
                    }
                    self.skip(direction, at, bytes)
                }
                Mode::Body(_) => {
                    self.body(direction, at, bytes, room, out);
                    Verdict::Http1
                }
                Mode::Waiting => {
                    self.wait(direction, at, bytes);
                    Verdict::Http1
                }
                Mode::Frames(_) => {
                    self.frames(direction, at, bytes, room, out);
                    Verdict::Http1
                }
                Mode::Opaque => {
                    self.side_mut(direction).position += bytes.len() as u64;
                    *bytes = &[];
                    Verdict::Http1
                }
            };
            if verdict != Verdict::Http1 {
                return verdict;
            }
        }
        Verdict::Http1
    }

    /// Reads on in a head.
    fn head(
        &mut self,
        direction: Direction,
        at: At,
        bytes: &mut &[u8],
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) -> Verdict {
        let role = self.role(direction);
        let side = self.side_mut(direction);
        if side.held.is_empty() {
            // Empty lines before a message are not of it: RFC 9112, section 2.2.
            let blank = bytes
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'))
                .count();
            side.position += blank as u64;
            *bytes = bytes.get(blank..).unwrap_or_default();
            if bytes.is_empty() {
                return Verdict::Http1;
            }
            side.began = at;
        }
        let before = side.held.len();
        let mut held = std::mem::take(&mut side.held);
        let now = bytes
            .get(..MAX_HEAD.saturating_sub(before))
            .unwrap_or(bytes);
        let window = match before {
            0 => now,
            _ => {
                held.extend_from_slice(now);
                &held
            }
        };
        if side.mode == Mode::Start {
            let found = guess(window);
            let client = match (role, found) {
                (_, Guess::More) => None,
                (None | Some(Role::Client), Guess::Request) => Some(direction),
                (None | Some(Role::Server), Guess::Response) => Some(opposite(direction)),
                (None, Guess::Preface) => {
                    held.truncate(before);
                    side.held = held;
                    return Verdict::H2;
                }
                _ => {
                    held.truncate(before);
                    side.held = held;
                    side.mode = Mode::Skip { in_line: false };
                    if role.is_none() {
                        return Verdict::Other;
                    }
                    self.no_start_line(direction, at, "no start line", room, out);
                    return Verdict::Http1;
                }
            };
            if client.is_some() {
                side.mode = Mode::Head;
                self.client = client;
            }
        }
        let side = self.side_mut(direction);
        let found = match side.mode {
            Mode::Head => head::end(window, before.saturating_sub(2)),
            _ => None,
        };
        let (end, cut) = match found {
            Some(end) => (end, None),
            None if window.len() == MAX_HEAD => (MAX_HEAD, Some("the head is too long")),
            None => {
                if before == 0 {
                    held.extend_from_slice(now);
                }
                *bytes = &[];
                side.held = held;
                return Verdict::Http1;
            }
        };
        self.message(
            direction,
            at,
            window.get(..end).unwrap_or_default(),
            cut,
            room,
            out,
        );
        *bytes = bytes.get(end.saturating_sub(before)..).unwrap_or_default();
        held.clear();
        self.side_mut(direction).held = held;
        Verdict::Http1
    }

    /// Says that there is something else where a message should begin.
    fn no_start_line(
        &mut self,
        direction: Direction,
        at: At,
        why: &str,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let error = self.error(direction, 0, why);
        let Some(client) = self.client else { return };
        if client == direction {
            // The server will answer it.
            let open = self.pipeline.ask(client, Version::Http11, None, at);
            open.odd(Oddity::BadStartLine, at, out);
            open.fail(error);
            self.pipeline.bound(room, out);
            self.pipeline.settle(room, out);
        } else {
            let asked = self.pipeline.answering().is_some();
            let open = self.pipeline.answer(client, Version::Http11, at, true, out);
            if let Some(open) = open {
                open.odd(Oddity::BadStartLine, at, out);
                open.fail(error);
                open.exchange.end = at;
            }
            if !asked {
                self.pipeline.answered(Part::Cut, room, out);
            }
        }
    }

    fn error(&self, direction: Direction, ahead: usize, why: &str) -> String {
        let position = self.side(direction).position + ahead as u64;
        format!("{} byte {position}: {why}", direction.name())
    }

    fn skip_line(&mut self, direction: Direction, bytes: &mut &[u8]) {
        let end = memchr(b'\n', bytes);
        let side = self.side_mut(direction);
        let dropped = end.map_or(bytes.len(), |end| end + 1);
        side.position += dropped as u64;
        side.skipped += dropped as u64;
        side.mode = Mode::Skip {
            in_line: end.is_none(),
        };
        *bytes = bytes.get(dropped..).unwrap_or_default();
    }

    /// Looks whether the line that begins here is a start line.
    fn skip(&mut self, direction: Direction, at: At, bytes: &mut &[u8]) -> Verdict {
        let role = self.role(direction);
        let side = self.side_mut(direction);
        if bytes.is_empty() {
            return Verdict::Http1;
        }
        if side.held.is_empty() {
            side.began = at;
        }
        let before = side.held.len();
        let now = bytes
            .get(..MAX_HEAD.saturating_sub(before))
            .unwrap_or(bytes);
        let window = match before {
            0 => now,
            _ => {
                side.held.extend_from_slice(now);
                &side.held
            }
        };
        let dropped = match (role, guess(window)) {
            (_, Guess::More) => {
                if before == 0 {
                    side.held.extend_from_slice(now);
                }
                *bytes = &[];
                return Verdict::Http1;
            }
            (None | Some(Role::Client), Guess::Request)
            | (None | Some(Role::Server), Guess::Response) => {
                side.held.truncate(before);
                side.mode = Mode::Start;
                return Verdict::Http1;
            }
            _ => memchr(b'\n', window).map(|end| end + 1),
        };
        let length = dropped.unwrap_or(window.len());
        side.position += length as u64;
        side.skipped += length as u64;
        side.mode = Mode::Skip {
            in_line: dropped.is_none(),
        };
        side.held.truncate(before);
        side.held.drain(..length.min(before));
        *bytes = bytes
            .get(length.saturating_sub(before)..)
            .unwrap_or_default();
        match role.is_none() && side.skipped > MAX_SKIPPED {
            true => Verdict::Other,
            false => Verdict::Http1,
        }
    }

    /// Reads on in a body.
    fn body(
        &mut self,
        direction: Direction,
        at: At,
        bytes: &mut &[u8],
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let role = self.role(direction);
        let side = self.side_mut(direction);
        let Mode::Body(reader) = &mut side.mode else {
            return;
        };
        let before = bytes.len();
        let mut odd = Odds::default();
        let step = reader.step(&mut side.held, bytes, &mut odd);
        let spent = reader.is_spent();
        side.position += (before - bytes.len()) as u64;
        let error = match step {
            Step::Broken(why, _) => Some(self.error(direction, 0, why)),
            _ => None,
        };
        let open = match role {
            Some(Role::Client) => self.pipeline.asking(),
            _ => self.pipeline.answering(),
        };
        if let Some(open) = open {
            open.exchange.end = at;
            open.odds(&odd, at, out);
            match (&step, role) {
                (Step::Content(content), Some(Role::Client)) => open.request_content(content, room),
                (Step::Content(content), _) => open.response_content(content, room),
                (Step::Done(Some(trailers)), role) => {
                    open.odds(&trailers.odd, at, out);
                    let fields = match role {
                        Some(Role::Client) => {
                            open.exchange.request.as_mut().map(|r| &mut r.trailers)
                        }
                        _ => open.exchange.response.as_mut().map(|r| &mut r.trailers),
                    };
                    if let Some(fields) = fields {
                        fields.clone_from(&trailers.headers);
                    }
                }
                _ => {}
            }
            if let Some(error) = error {
                open.fail(error);
            }
        }
        match step {
            Step::Content(_) if spent => self.finish(direction, Part::Done, room, out),
            Step::Content(_) | Step::On => {}
            Step::Done(_) => self.finish(direction, Part::Done, room, out),
            Step::Broken(_, rest) => {
                self.finish(direction, Part::Cut, room, out);
                self.side_mut(direction).mode = Mode::Skip {
                    in_line: rest == Rest::InLine,
                };
            }
        }
    }

    /// A message is at its end.
    fn finish(
        &mut self,
        direction: Direction,
        part: Part,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let side = self.side_mut(direction);
        if matches!(side.mode, Mode::Body(_) | Mode::Head) {
            side.mode = Mode::Start;
        }
        match self.role(direction) {
            Some(Role::Client) => self.pipeline.asked(part, room, out),
            _ => self.pipeline.answered(part, room, out),
        }
    }

    /// A direction is at its end.
    pub(super) fn end(
        &mut self,
        direction: Direction,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        if std::mem::replace(&mut self.side_mut(direction).ended, true) {
            return;
        }
        self.last = at;
        match &self.side(direction).mode {
            Mode::Body(Reader::Eof) => {
                if let Some(open) = self.pipeline.answering() {
                    open.exchange.end = at;
                }
                self.finish(direction, Part::Done, room, out);
            }
            _ => self.cut(direction, at, "the stream ended", room, out),
        }
        let side = self.side_mut(direction);
        // What waits for the answer to a tunnel may still be requests.
        if side.mode != Mode::Waiting {
            side.mode = Mode::Opaque;
            side.held = Vec::new();
        }
        if self.role(direction) == Some(Role::Server) {
            self.pipeline.over = true;
            self.pipeline.settle(room, out);
        }
        self.both_closed(at, room, out);
    }

    /// Says what a direction was in the middle of.
    fn cut(
        &mut self,
        direction: Direction,
        at: At,
        why: &'static str,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let Some(role) = self.role(direction) else {
            return;
        };
        match &self.side(direction).mode {
            Mode::Head => {
                let head = std::mem::take(&mut self.side_mut(direction).held);
                self.message(direction, at, &head, Some(why), room, out);
            }
            Mode::Start if !self.side(direction).held.is_empty() => {
                self.no_start_line(direction, at, why, room, out);
                let side = self.side_mut(direction);
                side.position += side.held.len() as u64;
                side.held.clear();
            }
            Mode::Body(_) => {
                let error = self.error(direction, 0, why);
                let open = match role {
                    Role::Client => self.pipeline.asking(),
                    Role::Server => self.pipeline.answering(),
                };
                if let Some(open) = open {
                    open.exchange.end = at;
                    open.fail(error);
                }
                self.finish(direction, Part::Cut, room, out);
            }
            _ => {}
        }
    }

    /// Gives what is in flight, as it is.
    pub(super) fn close(mut self, at: At, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        for direction in [Direction::Sent, Direction::Received] {
            // What is in a body says so by being incomplete: that it ends here need not be an error.
            if !matches!(self.side(direction).mode, Mode::Body(_)) {
                self.cut(direction, at, "the connection ended", room, out);
            }
        }
        if let Some(open) = self.switched {
            open.give(room, out);
        }
        self.pipeline.close(room, out);
    }

    pub(super) fn in_flight(&self) -> Vec<Exchange> {
        let mut out = Vec::new();
        // Nothing is taken from it here, so that none of it matters.
        let mut room = Room::new(0, 0);
        self.clone().close(self.last, &mut room, &mut out);
        let rows = out.into_iter().filter_map(|found| match found {
            Found::Row(row) => Some(row),
            Found::Odd(_) => None,
        });
        rows.collect()
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Sent => Direction::Received,
        Direction::Received => Direction::Sent,
    }
}

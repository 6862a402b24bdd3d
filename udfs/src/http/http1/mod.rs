//! HTTP/1.0 and HTTP/1.1: both directions of one connection, as exchanges.
//!
//! [`Http1`] reads each direction message by message ([`head`], [`body`]) and puts responses to their
//! requests ([`pipeline`]). It finds out by the first line that it can read which direction is the
//! client's. It never believes a length: nothing is kept that has not come.

mod body;
mod ending;
mod head;
mod line;
mod messages;
mod pipeline;
mod start;
mod switched;

use serde::{Deserialize, Serialize};

use self::body::{Reader, Rest, Step};
use self::head::Odds;
use self::pipeline::{Open, Part, Pipeline};
use super::Exchange;
use super::websocket::Frames;
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
    /// The exchange that made the connection one of HTTP/2.
    upgraded: Option<Box<Exchange>>,
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
    /// HTTP/2 from here on, by Upgrade.
    Upgraded,
    /// Something else.
    Other,
}

/// What was held of a direction.
#[derive(Debug)]
pub(super) struct Held {
    /// The position of its first byte.
    pub(super) position: u64,
    /// What brought that byte.
    pub(super) began: At,
    pub(super) bytes: Vec<u8>,
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
            upgraded: None,
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

    /// What is held of a direction that turned out to speak something else.
    pub(super) fn hand_over(&mut self, direction: Direction) -> Held {
        let side = self.side_mut(direction);
        Held {
            position: side.position,
            began: side.began,
            bytes: std::mem::take(&mut side.held),
        }
    }

    /// The exchange after which the connection is one of HTTP/2.
    pub(super) fn upgraded(&mut self) -> Option<Exchange> {
        self.upgraded.take().map(|exchange| *exchange)
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
            if self.upgraded.is_some() {
                return Verdict::Upgraded;
            }
        }
        Verdict::Http1
    }

    fn error(&self, direction: Direction, ahead: usize, why: &str) -> String {
        let position = self.side(direction).position + ahead as u64;
        format!("{} byte {position}: {why}", direction.name())
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
}

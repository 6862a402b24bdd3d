//! A TCP connection as the segments that could have carried it: RFC 9293.
//!
//! Pure: the caller says what happened and takes the packets. Each segment with bytes is acknowledged
//! at once, and no window is ever full.

use std::io;
use std::net::SocketAddr;

use timecraft_udfs::connections::{Connection, Direction, Role, State};

use super::packet::{self, ACK, FIN, MAX_SEGMENT, PSH, RST, SYN, Segment, Way};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

impl Pair {
    pub fn reversed(self) -> Pair {
        Pair {
            local: self.peer,
            peer: self.local,
        }
    }

    /// The way that what `side` sends goes.
    pub fn seen_from(self, side: Side) -> Way {
        let (from, to) = match side {
            Side::Guest => (self.local, self.peer),
            Side::Peer => (self.peer, self.local),
        };
        Way { from, to }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Guest,
    Peer,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Guest => Side::Peer,
            Side::Peer => Side::Guest,
        }
    }
}

impl From<Direction> for Side {
    fn from(direction: Direction) -> Side {
        match direction {
            Direction::Sent => Side::Guest,
            Direction::Received => Side::Peer,
        }
    }
}

/// How far a connection is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    established: bool,
    refused: bool,
    /// Whether the guest has ended its direction.
    guest_ended: bool,
    peer_ended: bool,
}

impl Stage {
    /// Both sides know of it, and neither has ended.
    pub const ESTABLISHED: Stage = Stage {
        established: true,
        refused: false,
        guest_ended: false,
        peer_ended: false,
    };

    /// What the decoder's state says.
    pub fn of(connection: &Connection) -> Stage {
        let state = connection.state();
        let open = connection.closed_ns.is_none();
        let client = connection.role == Role::Client;
        let guest = if client { State::S2 } else { State::S3 };
        let peer = if client { State::S3 } else { State::S2 };
        // Of one that is closed, who ended first is not known: that is for `close`.
        let both = state == State::Sf && open;
        Stage {
            established: matches!(
                state,
                State::S1 | State::S2 | State::S3 | State::Sf | State::Rsto | State::Rstr
            ),
            refused: state == State::Rej,
            guest_ended: state == guest || both,
            peer_ended: state == peer || both,
        }
    }
}

/// A connection.
pub struct Conversation {
    pair: Pair,
    client: Side,
    /// The next sequence number of each side.
    next: [u32; 2],
    established: bool,
    ended: [bool; 2],
    over: bool,
}

impl Conversation {
    /// One of which nothing is written. `id` tells it from others between the same ends.
    pub fn new(pair: Pair, role: Role, id: u64) -> Conversation {
        // Far apart for connections that follow one another, or they would be taken for one.
        let first = (id as u32).wrapping_mul(0x9E37_79B1);
        Conversation {
            pair,
            client: match role {
                Role::Client => Side::Guest,
                Role::Server => Side::Peer,
            },
            next: [first, first ^ 0x5555_5555],
            established: false,
            ended: [false; 2],
            over: false,
        }
    }

    pub fn pair(&self) -> Pair {
        self.pair
    }

    /// The client asks for a connection. Returns how many packets were given, as all do here.
    ///
    /// # Errors
    /// Those of `give`, here and below.
    pub fn begin(&mut self, mut give: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
        self.send(self.client, SYN, &[], &mut give)
    }

    /// Its beginning is not known.
    pub fn begin_midstream(&mut self) {
        self.established = true;
    }

    /// It has come so far.
    pub fn reach(
        &mut self,
        stage: Stage,
        mut give: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut written = 0;
        if stage.established {
            written += self.establish(&mut give)?;
        }
        if stage.refused && !self.established && !self.over {
            written += self.send(self.client.other(), RST | ACK, &[], &mut give)?;
            self.over = true;
        }
        if stage.guest_ended {
            written += self.end(Side::Guest, &mut give)?;
        }
        if stage.peer_ended {
            written += self.end(Side::Peer, &mut give)?;
        }
        Ok(written)
    }

    /// Bytes go, in segments.
    pub fn data(
        &mut self,
        side: Side,
        bytes: &[u8],
        mut give: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut written = self.establish(&mut give)?;
        let mut pieces = bytes.chunks(MAX_SEGMENT).peekable();
        while let Some(piece) = pieces.next() {
            let flags = match pieces.peek() {
                Some(_) => ACK,
                None => ACK | PSH,
            };
            written += self.send(side, flags, piece, &mut give)?;
            written += self.send(side.other(), ACK, &[], &mut give)?;
        }
        Ok(written)
    }

    /// It is closed.
    pub fn close(
        &mut self,
        state: State,
        mut give: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        if self.over || !self.established {
            return Ok(0);
        }
        match state {
            // Of its own resets the guest learns nothing: it is the peer's.
            State::Rsto | State::Rstr => {
                self.over = true;
                self.send(Side::Peer, RST | ACK, &[], &mut give)
            }
            State::Oth => Ok(0),
            _ => {
                let guest = self.end(Side::Guest, &mut give)?;
                Ok(guest + self.end(Side::Peer, &mut give)?)
            }
        }
    }

    fn establish(&mut self, give: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
        if std::mem::replace(&mut self.established, true) {
            return Ok(0);
        }
        let answer = self.send(self.client.other(), SYN | ACK, &[], give)?;
        Ok(answer + self.send(self.client, ACK, &[], give)?)
    }

    fn end(
        &mut self,
        side: Side,
        give: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        if self.over || std::mem::replace(&mut self.ended[side as usize], true) {
            return Ok(0);
        }
        let end = self.send(side, FIN | ACK, &[], give)?;
        Ok(end + self.send(side.other(), ACK, &[], give)?)
    }

    fn send(
        &mut self,
        side: Side,
        flags: u8,
        bytes: &[u8],
        give: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let acknowledges = flags & ACK != 0;
        let segment = Segment {
            sequence: self.next[side as usize],
            acknowledgement: match acknowledges {
                true => self.next[side.other() as usize],
                false => 0,
            },
            flags,
            bytes,
        };
        give(&packet::tcp(self.pair.seen_from(side), segment))?;
        // The beginning and the end of a stream count as a byte each.
        let marks = u32::from(flags & (SYN | FIN) != 0);
        let length = (bytes.len() as u32).wrapping_add(marks);
        let next = &mut self.next[side as usize];
        *next = next.wrapping_add(length);
        Ok(1)
    }
}

//! What a decoder of a protocol is: a state machine that is fed the two streams of one connection, or
//! its datagrams, in the order in which the guest sent and received them.
//!
//! It knows nothing of records, descriptors and other connections;
//! [`Conversations`](crate::conversations::Conversations) keeps one for each connection and tells it
//! what happened. It must never panic, whatever it is fed, nor keep more than [`Room`] and its own
//! bounds allow, and what it says must not depend on how the bytes are split.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timecraft_segment::socket::{Address, Transport};

pub use crate::connections::Direction;

/// A record, and when the guest made that call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// The record's number.
    pub offset: u64,
    /// When it began, in nanoseconds since the process started.
    pub time_ns: u64,
    /// When it ended, in the same way. What was received had come by then: a guest may have waited for it
    /// since long before.
    pub end_ns: u64,
}

/// What is known of a connection before its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What carries it; none where calls are missing.
    pub transport: Option<Transport>,
    /// The guest's end.
    pub local: Option<&'a Address>,
    /// The other end.
    pub peer: Option<&'a Address>,
    /// Whether bytes went before that are not in the log, so that nothing need be at its beginning.
    pub midstream: bool,
}

/// Bytes that went over a connection: of a stream any piece of it, of datagrams one of them.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The call that sent or received them.
    pub at: At,
    /// Which way they went.
    pub direction: Direction,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// A row, of which nothing more will be known.
    Row(R),
    /// Something odd.
    Odd(Odd),
}

/// Something odd, as Zeek's weirds: a row of `warnings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The record that shows it.
    pub at: At,
    /// The protocol in which it is odd.
    pub protocol: &'static str,
    /// What, by its name in SQL.
    pub name: &'static str,
    /// More about it; empty where there is no more.
    pub detail: String,
}

/// How much of what was said may be kept: of each body, and of everything that is open together. What
/// a decoder keeps of bodies and of other unbounded things it takes from here, and gives back when its
/// row is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The most bytes of one body.
    pub body: usize,
    /// How many bytes are left for everything.
    left: usize,
}

impl Room {
    /// For so many bytes of each body, and of all together.
    #[must_use]
    pub fn new(body: usize, together: usize) -> Room {
        Room {
            body,
            left: together,
        }
    }

    /// Takes as many of so many bytes as there are left, and returns how many.
    #[must_use]
    pub fn take(&mut self, wanted: usize) -> usize {
        let taken = wanted.min(self.left);
        self.left -= taken;
        taken
    }

    /// Gives bytes back that were taken.
    pub fn give(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// A decoder of one connection. See the module's rules.
pub trait Decoder: Clone + Serialize + DeserializeOwned {
    /// The version. It changes where the same bytes give other rows, or the state means something else.
    const VERSION: u32;
    /// A row.
    type Row;

    /// Before the first byte of a connection. None where it cannot be this protocol.
    fn begin(opening: Opening<'_>) -> Option<Self>;

    /// Whether bytes that go this way can still matter. Once false for both ways it stays so.
    fn wants(&self, direction: Direction) -> bool;

    /// Takes the next bytes.
    fn data(&mut self, piece: Piece<'_>, room: &mut Room, out: &mut Vec<Found<Self::Row>>);

    /// A direction has come to its end; the other may go on. It may be said again, which means nothing.
    fn end(
        &mut self,
        direction: Direction,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Self::Row>>,
    );

    /// The connection is not followed any further: it was closed or reset, or records are missing. What
    /// is in flight is given as it is.
    fn close(self, at: At, room: &mut Room, out: &mut Vec<Found<Self::Row>>);

    /// About how many bytes a row takes, or will take when its bodies are decoded.
    fn size(_row: &Self::Row) -> usize {
        size_of::<Self::Row>()
    }

    /// The rows of what is in flight.
    fn in_flight(&self) -> Vec<Self::Row>;
}

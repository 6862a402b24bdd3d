//! HTTP: what went over a connection as exchanges of a request with its response.
//!
//! [`Http`] is the [`Decoder`]. It finds out from the first bytes of either direction what is spoken,
//! and hands them to the decoder of that version; what is not HTTP it lets be. [`content`] takes the
//! coding off bodies.

pub mod content;
mod events;
mod exchange;
mod facts;
pub mod h2;
pub mod hpack;
mod http1;
mod oddity;
mod websocket;

use serde::{Deserialize, Serialize};
use timecraft_segment::socket::Transport;

pub use exchange::{
    Body, Exchange, Framing, Headers, Informational, Messages, Request, Response, Version,
};
pub use http1::{MAX_CHUNK_LINE, MAX_HEAD, MAX_INFORMATIONAL, MAX_SKIPPED, MAX_WAITING};
pub use oddity::Oddity;

use self::h2::H2;
use self::http1::{Http1, Verdict};
use crate::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

/// The decoder of HTTP on one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    spoken: Spoken,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Spoken {
    /// HTTP/1, or not known yet.
    Http1(Box<Http1>),
    /// HTTP/2.
    H2(Box<H2>),
    /// Nothing that is read here.
    Other,
}

impl Decoder for Http {
    const VERSION: u32 = 4;
    type Row = Exchange;

    fn begin(opening: Opening<'_>) -> Option<Http> {
        let stream = !matches!(
            opening.transport,
            Some(Transport::Udp | Transport::UnixDatagram)
        );
        stream.then(|| Http {
            spoken: Spoken::Http1(Box::new(Http1::new(opening.midstream))),
        })
    }

    fn wants(&self, direction: Direction) -> bool {
        match &self.spoken {
            Spoken::Http1(http1) => http1.wants(direction),
            Spoken::H2(h2) => h2.wants(direction),
            Spoken::Other => false,
        }
    }

    fn data(&mut self, piece: Piece<'_>, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let http1 = match &mut self.spoken {
            Spoken::Http1(http1) => http1,
            Spoken::H2(h2) => return h2.data(piece, room, out),
            Spoken::Other => return,
        };
        let mut bytes = piece.bytes;
        match http1.data(piece.direction, piece.at, &mut bytes, room, out) {
            Verdict::Http1 => {}
            Verdict::H2 | Verdict::Upgraded => {
                let mut h2 = match http1.upgraded() {
                    Some(exchange) => H2::upgraded(exchange),
                    None => H2::new(piece.direction),
                };
                // What the other direction said is older than what tells what it is.
                for direction in [piece.direction.opposite(), piece.direction] {
                    let held = http1.hand_over(direction);
                    h2.begin(direction, held.position);
                    h2.data(
                        Piece {
                            at: held.began,
                            direction,
                            bytes: &held.bytes,
                        },
                        room,
                        out,
                    );
                }
                h2.data(Piece { bytes, ..piece }, room, out);
                self.spoken = Spoken::H2(Box::new(h2));
            }
            Verdict::Other => self.spoken = Spoken::Other,
        }
    }

    fn end(
        &mut self,
        direction: Direction,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        match &mut self.spoken {
            Spoken::Http1(http1) => http1.end(direction, at, room, out),
            Spoken::H2(h2) => h2.end(direction, at, room, out),
            Spoken::Other => {}
        }
    }

    fn close(self, at: At, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        match self.spoken {
            Spoken::Http1(http1) => http1.close(at, room, out),
            Spoken::H2(h2) => h2.close(at, room, out),
            Spoken::Other => {}
        }
    }

    fn size(row: &Exchange) -> usize {
        row.size()
    }

    fn in_flight(&self) -> Vec<Exchange> {
        match &self.spoken {
            Spoken::Http1(http1) => http1.in_flight(),
            Spoken::H2(h2) => h2.in_flight(),
            Spoken::Other => Vec::new(),
        }
    }
}

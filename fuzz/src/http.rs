//! A conversation of HTTP, decoded.

use timecraft_udfs::http::{Exchange, Http};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

/// What is said by one call.
pub struct Said<'a> {
    pub direction: Direction,
    pub bytes: &'a [u8],
    /// Whether the direction ends with it.
    pub end: bool,
}

/// Decodes a conversation, fed in pieces of at most so many bytes. When they are single ones, the state is
/// saved and restored after each.
///
/// # Panics
/// When the decoder does, or keeps room that it took.
pub fn decode<'a>(
    said: impl Iterator<Item = Said<'a>>,
    midstream: bool,
    largest: usize,
) -> Option<Vec<Found<Exchange>>> {
    let (mut room, mut out) = (Room::new(1 << 10, 1 << 12), Vec::new());
    let all = room;
    let mut decoder = Http::begin(Opening {
        transport: None,
        local: None,
        peer: None,
        midstream,
    })?;
    let mut at = At::default();
    for said in said {
        at.offset += 1;
        let direction = said.direction;
        for bytes in said.bytes.chunks(largest) {
            decoder.data(
                Piece {
                    at,
                    direction,
                    bytes,
                },
                &mut room,
                &mut out,
            );
            if largest == 1 {
                let saved = serde_json::to_vec(&decoder).expect("a state is saved");
                decoder = serde_json::from_slice(&saved).expect("what was saved is restored");
            }
        }
        if said.end {
            decoder.end(direction, at, &mut room, &mut out);
        }
    }
    decoder.close(at, &mut room, &mut out);
    assert_eq!(room, all, "what was taken is given back");
    Some(out)
}

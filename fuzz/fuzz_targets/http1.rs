//! The bytes are what went over a connection: pieces, each with a byte of flags and its length before
//! it. The rows must be the same when each byte comes alone and the state is saved and restored between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_udfs::http::{Exchange, Http};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

/// Flags of a piece.
const RECEIVED: u8 = 1;
const END: u8 = 2;

fn decode(bytes: &[u8], midstream: bool, largest: usize) -> Option<Vec<Found<Exchange>>> {
    let (mut room, mut out) = (Room::new(1 << 10, 1 << 12), Vec::new());
    let mut decoder = Http::begin(Opening {
        transport: None,
        local: None,
        peer: None,
        midstream,
    })?;
    let (mut at, mut rest) = (At::default(), bytes);
    while let [flags, length, after @ ..] = rest {
        at.offset += 1;
        let direction = match flags & RECEIVED {
            0 => Direction::Sent,
            _ => Direction::Received,
        };
        let (now, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        for bytes in now.chunks(largest) {
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
        if flags & END != 0 {
            decoder.end(direction, at, &mut room, &mut out);
        }
    }
    decoder.close(at, &mut room, &mut out);
    assert_eq!(
        room,
        Room::new(1 << 10, 1 << 12),
        "what was taken is given back"
    );
    Some(out)
}

fuzz_target!(|bytes: &[u8]| {
    let midstream = bytes.len() % 2 == 1;
    let whole = decode(bytes, midstream, usize::MAX);
    assert_eq!(decode(bytes, midstream, 1), whole);
});

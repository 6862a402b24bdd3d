//! The bytes are what went over a connection: pieces, each with a byte of flags and its length before
//! it. The rows must be the same when each byte comes alone and the state is saved and restored between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_fuzz::http::{Said, decode};
use timecraft_udfs::protocol::Direction;

/// Flags of a piece.
const RECEIVED: u8 = 1;
const END: u8 = 2;

/// The conversation that bytes stand for.
fn said(mut rest: &[u8]) -> impl Iterator<Item = Said<'_>> {
    std::iter::from_fn(move || {
        let [flags, length, after @ ..] = rest else {
            return None;
        };
        let (bytes, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        Some(Said {
            direction: match flags & RECEIVED {
                0 => Direction::Sent,
                _ => Direction::Received,
            },
            bytes,
            end: flags & END != 0,
        })
    })
}

fuzz_target!(|bytes: &[u8]| {
    let midstream = bytes.len() % 2 == 1;
    let whole = decode(said(bytes), midstream, usize::MAX);
    assert_eq!(decode(said(bytes), midstream, 1), whole);
});

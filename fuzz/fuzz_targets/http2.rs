//! The bytes are frames of HTTP/2, without the lengths that they have on the wire: a byte of flags here,
//! the length, and then the type, the flags and the stream of a frame with its payload, or raw bytes. The
//! rows must be the same when each byte comes alone and the state is saved and restored between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_fuzz::http::{Said, decode};
use timecraft_udfs::protocol::Direction;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";

/// Flags of a piece.
const RECEIVED: u8 = 1;
const END: u8 = 2;
const RAW: u8 = 4;

/// One call: its direction, its bytes, and whether the direction ends with it.
type Call = (Direction, Vec<u8>, bool);

fn calls(mut rest: &[u8]) -> Vec<Call> {
    let mut calls = Vec::new();
    while let [here, length, kind, flags, stream, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let direction = match here & RECEIVED {
            0 => Direction::Sent,
            _ => Direction::Received,
        };
        let header = [0, 0, payload.len() as u8, *kind, *flags, 0, 0, 0, *stream];
        let bytes = match here & RAW {
            0 => [&header, payload].concat(),
            _ => payload.to_vec(),
        };
        calls.push((direction, bytes, here & END != 0));
    }
    calls
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else {
        return;
    };
    let begin = |direction, bytes: &[u8]| (direction, bytes.to_vec(), false);
    let mut conversation = match how % 3 {
        0 => vec![begin(Direction::Sent, PREFACE)],
        1 => vec![
            begin(Direction::Sent, UPGRADE),
            begin(Direction::Received, SWITCH),
            begin(Direction::Sent, PREFACE),
        ],
        // As it comes: the server first, or in the middle.
        _ => Vec::new(),
    };
    conversation.extend(calls(rest));
    let said = || {
        conversation.iter().map(|(direction, bytes, end)| Said {
            direction: *direction,
            bytes,
            end: *end,
        })
    };
    let midstream = how & 0x80 != 0;
    let whole = decode(said(), midstream, usize::MAX);
    assert_eq!(decode(said(), midstream, 1), whole);
});

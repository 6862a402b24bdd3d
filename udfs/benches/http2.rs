//! What the decoder of HTTP/2 does in a second, on one core, with its rows built: the decoder is fed
//! directly. `cargo bench -p timecraft-udfs --bench http2`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod shared;

use timecraft_udfs::protocol::Direction;

use shared::{EXCHANGES, begin, measure};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// The fields of the benchmark of HTTP/1, but for Content-Length, as the encoder of Python's hpack writes
// them: with the code of Huffman, and out of the table but for the path, the number of the request and
// the ETag, which it was told not to keep.
const FIRST_REQUEST: &str = "\
    82149062d416c4301133fe4a62d12220a8749786418b1d665cbe474d7415721e9f7a8dc475a74a6b589418b5\
    25812e0f538b1d75d0620d263d4c7441ea50839bd9ab5791ba51d85b140044cb4db8ebcf8e3248597f1089f2\
    b585ed6950958d278c6a395f14acb6ebb1b2d48373";
const REQUEST: &str = "\
    82149062d416c4301133fe4a62d12220a8749786c2c1c0bfbe1089f2b585ed6950958d278c6a395f14acb6eb\
    b1b2d48373";
const FIRST_RESPONSE: &str = "\
    887684aa6355e76196df697e94134a693f75040138a0817000b800298b46ff5f8b1d75d0620d263d4c7441ea\
    1f1386fe5b9592ff3f";
const RESPONSE: &str = "\
    88c0bfbe1f1386fe5b9592ff3f";

/// What goes over the connection in one call.
type Said = (Direction, Vec<u8>);

struct Case {
    name: &'static str,
    body: usize,
    /// How many streams are open at once.
    streams: usize,
    piece: usize,
}

const CASES: [Case; 5] = [
    Case {
        name: "no bodies",
        body: 0,
        streams: 1,
        piece: usize::MAX,
    },
    Case {
        name: "no bodies, 100 streams at once",
        body: 0,
        streams: 100,
        piece: usize::MAX,
    },
    Case {
        name: "bodies of 10 KB",
        body: 10_000,
        streams: 1,
        piece: usize::MAX,
    },
    Case {
        name: "bodies of 10 KB, in pieces of 1 KB",
        body: 10_000,
        streams: 1,
        piece: 1024,
    },
    Case {
        name: "no bodies, in pieces of 64 bytes",
        body: 0,
        streams: 1,
        piece: 64,
    },
];

fn hexadecimal(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The conversation: what is said in one call is what the streams say that are open at once.
fn conversation(case: &Case) -> Vec<Said> {
    let settings = frame(4, 0, 0, &[]);
    let mut said = vec![
        (Direction::Sent, [PREFACE, &settings].concat()),
        (Direction::Received, settings),
    ];
    let content = vec![b'a'; case.body];
    let mut blocks = [FIRST_REQUEST, FIRST_RESPONSE].map(hexadecimal);
    let later = [REQUEST, RESPONSE].map(hexadecimal);
    let exchanges: Vec<u32> = (0..EXCHANGES as u32).map(|n| 2 * n + 1).collect();
    for streams in exchanges.chunks(case.streams) {
        let [mut requests, mut responses] = [Vec::new(), Vec::new()];
        for &stream in streams {
            let [request, response] = std::mem::replace(&mut blocks, later.clone());
            requests.extend(frame(1, 5, stream, &request));
            if content.is_empty() {
                responses.extend(frame(1, 5, stream, &response));
            } else {
                responses.extend(frame(1, 4, stream, &response));
                responses.extend(frame(0, 1, stream, &content));
            }
        }
        said.push((Direction::Sent, requests));
        said.push((Direction::Received, responses));
    }
    said
}

fn main() {
    begin();
    for case in &CASES {
        let said = conversation(case);
        let said: Vec<_> = said.iter().map(|(way, bytes)| (*way, &bytes[..])).collect();
        measure(case.name, &said, case.piece);
    }
}

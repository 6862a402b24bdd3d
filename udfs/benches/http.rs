//! What the decoder of HTTP/1 does in a second, on one core, with its rows built: the decoder is fed
//! directly, a message in each piece. `cargo bench -p timecraft-udfs --bench http`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use timecraft_udfs::http::Http;
use timecraft_udfs::protocol::{At, Decoder, Direction, Opening, Piece, Room};

/// Many and short, so that most are not interrupted where the machine has more to do.
const ROUNDS: usize = 601;
const EXCHANGES: usize = 500;

const REQUEST: &str = "GET /users/123?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
    User-Agent: Go-http-client/1.1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\
    Authorization: Bearer 0123456789abcdef\r\nX-Request-Id: 4bf92f3577b34da6\r\n\r\n";

fn response(body: usize, chunk: Option<usize>) -> Vec<u8> {
    let framing = match chunk {
        None => format!("Content-Length: {body}"),
        Some(_) => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 20:00:00 GMT\r\n\
         Content-Type: application/json\r\n{framing}\r\nConnection: keep-alive\r\n\
         ETag: \"5f3e\"\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    let content = vec![b'a'; body];
    match chunk {
        None => bytes.extend(content),
        Some(size) => {
            for chunk in content.chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
    }
    bytes
}

fn decode(response: &[u8], piece: usize) -> Duration {
    let mut decoder = Http::begin(Opening {
        transport: None,
        local: None,
        peer: None,
        midstream: false,
    })
    .unwrap();
    let (mut room, mut out) = (Room::new(1 << 20, 1 << 28), Vec::new());
    let began = Instant::now();
    let mut rows = 0;
    let mut at = At::default();
    for _ in 0..EXCHANGES {
        let messages = [
            (Direction::Sent, REQUEST.as_bytes()),
            (Direction::Received, response),
        ];
        for (direction, message) in messages {
            for bytes in message.chunks(piece) {
                at.offset += 1;
                decoder.data(
                    Piece {
                        at,
                        direction,
                        bytes,
                    },
                    &mut room,
                    &mut out,
                );
            }
        }
        rows += out.len();
        black_box(&out);
        out.clear();
    }
    let took = began.elapsed();
    assert_eq!(rows, EXCHANGES);
    took
}

fn main() {
    println!("| conversation | MB/s | rows/s |");
    println!("|---|---|---|");
    let cases = [
        ("no bodies", response(0, None), usize::MAX),
        ("bodies of 10 KB", response(10_000, None), usize::MAX),
        (
            "bodies of 10 KB, in chunks of 4 KB",
            response(10_000, Some(4096)),
            usize::MAX,
        ),
        (
            "bodies of 10 KB, in pieces of 1 KB",
            response(10_000, None),
            1024,
        ),
        ("no bodies, in pieces of 64 bytes", response(0, None), 64),
    ];
    for (name, response, piece) in cases {
        let mut took: Vec<_> = (0..ROUNDS).map(|_| decode(&response, piece)).collect();
        took.sort();
        let seconds = took[ROUNDS / 2].as_secs_f64();
        let bytes = EXCHANGES * (REQUEST.len() + response.len());
        println!(
            "| {name} | {:.0} | {:.0} |",
            bytes as f64 / seconds / 1e6,
            EXCHANGES as f64 / seconds
        );
    }
}

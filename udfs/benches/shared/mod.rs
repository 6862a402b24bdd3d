//! What the benchmarks of HTTP share: conversations that are fed to the decoder, and how they are timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use timecraft_udfs::http::Http;
use timecraft_udfs::protocol::{At, Decoder, Direction, Opening, Piece, Room};

/// Many and short, so that most are not interrupted where the machine has more to do.
const ROUNDS: usize = 601;
/// How many exchanges a conversation has.
pub const EXCHANGES: usize = 500;

/// Prints the head of the table of results.
pub fn begin() {
    println!("| conversation | MB/s | rows/s |");
    println!("|---|---|---|");
}

/// Decodes a conversation in pieces of at most so many bytes, many times over, and prints its line.
pub fn measure(name: &str, said: &[(Direction, &[u8])], piece: usize) {
    let mut took: Vec<_> = (0..ROUNDS).map(|_| decode(said, piece)).collect();
    took.sort();
    let seconds = took[ROUNDS / 2].as_secs_f64();
    let bytes: usize = said.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "| {name} | {:.0} | {:.0} |",
        bytes as f64 / seconds / 1e6,
        EXCHANGES as f64 / seconds
    );
}

fn decode(said: &[(Direction, &[u8])], piece: usize) -> Duration {
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
    for &(direction, message) in said {
        for bytes in message.chunks(piece) {
            at.offset += 1;
            let piece = Piece {
                at,
                direction,
                bytes,
            };
            decoder.data(piece, &mut room, &mut out);
        }
        rows += out.len();
        black_box(&out);
        out.clear();
    }
    let took = began.elapsed();
    assert_eq!(rows, EXCHANGES, "a row for each, and nothing odd");
    took
}

//! How many DNS messages are decoded in a second, on one core, rows built: queries with their responses
//! over datagrams, and over a stream in which a message may lie in two pieces.
//! `cargo bench -p timecraft-udfs --bench dns` prints a line for each workload.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use timecraft_segment::socket::{Address, Transport};
use timecraft_udfs::dns::Dns;
use timecraft_udfs::protocol::{At, Decoder, Direction, Opening, Piece, Room};

const ROUNDS: usize = 15;
const PAIRS: u16 = 20_000;
/// What a receive from a stream gives.
const PIECE: usize = 16 << 10;

fn query(id: u16) -> Vec<u8> {
    let header = [id, 0x100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    [&header[..], b"\x03www\x07example\x03com\0\0\x01\0\x01"].concat()
}

/// A name that is another's, with that one's addresses.
fn response(id: u16) -> Vec<u8> {
    let mut bytes = query(id);
    bytes[2..4].copy_from_slice(&0x8180_u16.to_be_bytes());
    bytes[7] = 3;
    bytes.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03cdn\xc0\x10");
    bytes.extend(b"\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\x5d\xb8\xd8\x22");
    bytes.extend(b"\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\x5d\xb8\xd8\x23");
    bytes
}

/// Decodes it all once: how many rows there are, and the seconds that it took.
fn decode(transport: Transport, pieces: &[(Direction, Vec<u8>)]) -> (usize, f64) {
    let peer: Address = "192.0.2.53:53".parse().unwrap();
    let opening = Opening {
        transport: Some(transport),
        local: None,
        peer: Some(&peer),
        midstream: false,
    };
    let mut dns = Dns::begin(opening).unwrap();
    let mut room = Room::new(0, 1 << 20);
    let mut out = Vec::new();
    let mut rows = 0;
    let since = Instant::now();
    for (at, (direction, bytes)) in pieces.iter().enumerate() {
        let at = At {
            offset: at as u64,
            time_ns: at as u64,
            end_ns: at as u64,
        };
        let piece = Piece {
            at,
            direction: *direction,
            bytes,
        };
        dns.data(piece, &mut room, &mut out);
        rows += out.len();
        black_box(&out);
        out.clear();
    }
    (rows, since.elapsed().as_secs_f64())
}

fn main() {
    let framed = |message: Vec<u8>| [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
    let stream = |direction, message: fn(u16) -> Vec<u8>| {
        let all: Vec<u8> = (0..PAIRS).flat_map(|id| framed(message(id))).collect();
        let pieces: Vec<_> = all
            .chunks(PIECE)
            .map(|piece| (direction, piece.to_vec()))
            .collect();
        pieces
    };
    let datagrams = (0..PAIRS).flat_map(|id| {
        [
            (Direction::Sent, query(id)),
            (Direction::Received, response(id)),
        ]
    });
    let workloads = [
        ("datagrams", Transport::Udp, datagrams.collect::<Vec<_>>()),
        (
            "queries in a stream",
            Transport::Tcp,
            stream(Direction::Sent, query),
        ),
        (
            "responses in a stream",
            Transport::Tcp,
            stream(Direction::Received, response),
        ),
    ];
    println!("{:<24} {:>12} {:>9}", "DNS", "messages/s", "MB/s");
    for (name, transport, pieces) in workloads {
        let bytes: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| decode(transport, &pieces)).collect();
        rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (rows, seconds) = rounds[ROUNDS / 2];
        println!(
            "{name:<24} {:>12.0} {:>9.0}",
            rows as f64 / seconds,
            bytes as f64 / seconds / 1e6
        );
    }
}

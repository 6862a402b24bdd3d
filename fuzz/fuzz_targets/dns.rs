//! The bytes are what goes both ways over a connection, as a script: a byte says which way and, of
//! streams, how the next bytes are cut. Every cut gives the same rows, and so does a state that was
//! saved in between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_segment::socket::{Address, Transport};
use timecraft_udfs::dns::{Dns, Message, Row};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

const PEERS: [&str; 3] = ["192.0.2.1:53", "192.0.2.1:5353", "192.0.2.1:80"];

/// What is said: which way, the bytes, and where these are cut.
type Said<'a> = (Direction, &'a [u8], usize);

fn script(mut bytes: &[u8]) -> Vec<Said<'_>> {
    let mut said = Vec::new();
    while let [way, length, cut, rest @ ..] = bytes {
        let direction = match way & 1 {
            0 => Direction::Sent,
            _ => Direction::Received,
        };
        let (now, after) = rest.split_at(usize::from(*length).min(rest.len()));
        said.push((direction, now, usize::from(*cut)));
        bytes = after;
    }
    said
}

fn found(transport: Transport, peer: &str, said: &[Said<'_>], cuts: bool) -> Vec<Found<Row>> {
    let peer: Address = peer.parse().expect("an address");
    let opening = Opening {
        transport: Some(transport),
        local: None,
        peer: Some(&peer),
        midstream: false,
    };
    let mut dns = Dns::begin(opening).expect("any transport");
    let whole = Room::new(0, 1 << 20);
    let (mut room, mut out) = (whole, Vec::new());
    for (offset, &(direction, bytes, cut)) in said.iter().enumerate() {
        let at = At {
            offset: offset as u64,
            time_ns: offset as u64,
            end_ns: offset as u64,
        };
        let streams = matches!(transport, Transport::Tcp | Transport::UnixStream);
        let size = match cuts && streams {
            true => cut.max(1),
            false => bytes.len().max(1),
        };
        for bytes in bytes.chunks(size) {
            let piece = Piece {
                at,
                direction,
                bytes,
            };
            dns.data(piece, &mut room, &mut out);
            if cuts {
                let saved = serde_json::to_vec(&dns).expect("a state");
                dns = serde_json::from_slice(&saved).expect("the state");
            }
        }
    }
    dns.close(At::default(), &mut room, &mut out);
    assert_eq!(room, whole, "what was taken is given back");
    out
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else {
        return;
    };
    let text = Message::read(rest).to_string();
    assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    let transport = match kind & 1 {
        0 => Transport::Tcp,
        _ => Transport::Udp,
    };
    let peer = PEERS[usize::from(kind >> 1) % PEERS.len()];
    let said = script(rest);
    let whole = found(transport, peer, &said, false);
    assert_eq!(whole, found(transport, peer, &said, true));
});

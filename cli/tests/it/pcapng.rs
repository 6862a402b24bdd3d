//! `timecraft export pcapng`: what is in the file, read by another's reader of the format.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::name_resolution::Record;
use pcap_file::pcapng::{Block, PcapNgReader};
use proptest::prelude::*;

use crate::calls::{Call, close};
use crate::recording::{conversation, record, talker};
use crate::snapshot;
use crate::socket_calls::*;
use crate::support::Dir;

/// Who sent to whom.
type Way = (SocketAddr, SocketAddr);

/// What a file holds.
#[derive(Default)]
struct Read {
    /// Flags, sequence number, acknowledgement and bytes of segments.
    segments: Vec<(Way, Segment)>,
    datagrams: Vec<(Way, Vec<u8>)>,
    names: Vec<(Vec<u8>, Vec<String>)>,
    options: Vec<String>,
    times: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Segment {
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    bytes: Vec<u8>,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The sum of all words, which is all ones where a checksum among them is right.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}

impl Read {
    fn of(bytes: &[u8]) -> Read {
        let mut read = Read::default();
        let mut reader = PcapNgReader::new(bytes).unwrap();
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(interface) => {
                    for option in interface.options {
                        read.options.push(match option {
                            InterfaceDescriptionOption::IfTsResol(n) => format!("resolution {n}"),
                            option => format!("{option:?}"),
                        });
                    }
                }
                Block::NameResolution(block) => {
                    for record in block.records {
                        let text = |names: Vec<std::borrow::Cow<'_, str>>| {
                            names.into_iter().map(|n| n.into_owned()).collect()
                        };
                        read.names.push(match record {
                            Record::Ipv4(r) => (r.ip_addr.to_vec(), text(r.names)),
                            Record::Ipv6(r) => (r.ip_addr.to_vec(), text(r.names)),
                            _ => panic!("an unknown record"),
                        });
                    }
                }
                Block::EnhancedPacket(packet) => {
                    assert_eq!(packet.original_len as usize, packet.data.len());
                    read.times.push(packet.timestamp.as_nanos() as u64);
                    read.packet(&packet.data);
                }
                other => panic!("{other:?}"),
            }
        }
        read
    }

    fn packet(&mut self, packet: &[u8]) {
        let (from, to, protocol, carried): (IpAddr, IpAddr, u8, &[u8]) = match packet[0] >> 4 {
            4 => {
                assert_eq!(sum(&[&packet[..20]]), 0xffff);
                assert_eq!(usize::from(word(packet, 2)), packet.len());
                let ip = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap().into();
                (ip(12), ip(16), packet[9], &packet[20..])
            }
            6 => {
                assert_eq!(usize::from(word(packet, 4)), packet.len() - 40);
                let ip = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into();
                (ip(8), ip(24), packet[6], &packet[40..])
            }
            version => panic!("version {version}"),
        };
        let pseudo = match packet[0] >> 4 {
            4 => &packet[12..20],
            _ => &packet[8..40],
        };
        let length = (carried.len() as u32).to_be_bytes();
        assert_eq!(sum(&[pseudo, &length, &[0, protocol], carried]), 0xffff);
        let way = (
            SocketAddr::new(from, word(carried, 0)),
            SocketAddr::new(to, word(carried, 2)),
        );
        match protocol {
            6 => {
                let header = usize::from(carried[12] >> 4) * 4;
                let segment = Segment {
                    flags: carried[13],
                    sequence: long(carried, 4),
                    acknowledgement: long(carried, 8),
                    bytes: carried[header..].to_vec(),
                };
                self.segments.push((way, segment));
            }
            17 => {
                assert_eq!(usize::from(word(carried, 4)), carried.len());
                self.datagrams.push((way, carried[8..].to_vec()));
            }
            other => panic!("protocol {other}"),
        }
    }

    /// The bytes of each direction, put together as a receiver does: each segment where the last one
    /// ended, and none acknowledged that was not sent.
    fn streams(&self) -> BTreeMap<Way, Vec<u8>> {
        let mut next: BTreeMap<Way, u32> = BTreeMap::new();
        let mut streams: BTreeMap<Way, Vec<u8>> = BTreeMap::new();
        for (way, segment) in &self.segments {
            let (syn, fin) = (segment.flags & 2 != 0, segment.flags & 1 != 0);
            let expected = next.entry(*way).or_insert(segment.sequence);
            if syn {
                *expected = segment.sequence;
            }
            assert_eq!(segment.sequence, *expected, "{way:?} {segment:?}");
            let length = segment.bytes.len() as u32 + u32::from(syn) + u32::from(fin);
            *expected = expected.wrapping_add(length);
            if segment.flags & 16 != 0 {
                let theirs = next.get(&(way.1, way.0)).copied().unwrap_or_default();
                assert_eq!(segment.acknowledgement, theirs, "{way:?} {segment:?}");
            }
            streams.entry(*way).or_default().extend(&segment.bytes);
        }
        streams
    }

    /// The flags of the segments between these ends, in order, as letters: what came from the first
    /// in capitals.
    fn flags(&self, first: &str, second: &str) -> String {
        let (first, second) = (first.parse().unwrap(), second.parse().unwrap());
        let letters = self.segments.iter().filter_map(|(way, segment)| {
            let letter = match segment.flags {
                0x02 => "s",
                0x12 => "sa",
                0x11 => "f",
                0x14 => "r",
                0x18 => "d",
                0x10 => "a",
                other => panic!("{other:x}"),
            };
            match *way {
                way if way == (first, second) => Some(letter.to_uppercase()),
                way if way == (second, first) => Some(letter.to_owned()),
                _ => None,
            }
        });
        letters.collect::<Vec<_>>().join(" ")
    }
}

fn export(calls: &[Call]) -> (Read, String) {
    let dir = Dir::new();
    record(&dir, &talker(), calls);
    let said = dir.cmd(["export", "pcapng", "talker", "-"]).assert(0);
    (Read::of(&said.stdout), said.stderr)
}

#[test]
fn every_kind_of_ending_has_its_packets() {
    let (read, report) = export(&conversation());
    read.streams();
    assert_eq!(
        read.flags("10.0.0.1:49152", "192.0.2.1:443"),
        "S sa A D a d A f A F a"
    );
    assert_eq!(
        read.flags("[2001:db8::9]:49153", "[2001:db8::1]:443"),
        "S sa A D a r"
    );
    assert_eq!(read.flags("10.0.0.1:49154", "192.0.2.2:80"), "S r");
    assert_eq!(
        read.flags("198.51.100.7:50000", "10.0.0.1:8080"),
        "S sa A D a d A f A F a"
    );
    let datagrams: Vec<&[u8]> = read.datagrams.iter().map(|(_, b)| b.as_slice()).collect();
    assert_eq!(datagrams, [&b"ping"[..], b"", b"pong"]);
    let name = vec!["example.com".to_owned()];
    let sixteen: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert_eq!(
        read.names,
        [
            (vec![192, 0, 2, 1], name.clone()),
            (sixteen.octets().to_vec(), name)
        ]
    );
    assert!(read.times.is_sorted(), "{:?}", read.times);
    assert!(
        read.options.contains(&"resolution 9".to_owned()),
        "{:?}",
        read.options
    );
    assert_eq!(
        report,
        "33 packets of 6 connections\n\
         left out: 1 connection of a Unix socket: no packet carries them\n\
         left out: 1 connection: refused by policy, so that nothing was sent\n"
    );
}

#[test]
fn a_guest_that_talks_with_itself_is_there_once() {
    let (server, client) = ("127.0.0.1:8080", "127.0.0.1:50000");
    let (read, report) = export(&[
        open_socket(TCP, 3),
        bind(3, server).noted(tcp(server, "-")),
        listen(3).noted(tcp(server, "-")),
        open_socket(TCP, 4),
        connect(4, server).noted(tcp(client, server)),
        accept(3, 5).noted(tcp(server, client)),
        send(4, b"to myself", 9),
        receive(5, b"to myself"),
        close(4),
        receive(5, b""),
        close(5),
    ]);
    assert_eq!(
        read.streams()[&(client.parse().unwrap(), server.parse().unwrap())],
        b"to myself"
    );
    assert_eq!(
        report,
        "9 packets of 1 connection\nleft out: 1 connection: of the guest with itself, and the \
         packets of the other end are there\n"
    );
}

#[test]
fn the_file_appears_when_it_is_whole() {
    let dir = Dir::new();
    record(&dir, &talker(), &conversation());
    dir.create("f.pcapng", "before");
    snapshot!(
        "export_pcapng",
        dir.cmd(["export", "pcapng", "talker", "f.pcapng"])
            .assert(0)
    );
    Read::of(&std::fs::read(dir.path("f.pcapng")).unwrap());
    snapshot!(
        "export_pcapng_absent",
        dir.cmd(["export", "pcapng", "nobody", "g"]).assert(1)
    );
    snapshot!(
        "export_pcapng_folder",
        dir.cmd(["export", "pcapng", "talker", "home"]).assert(1)
    );
    snapshot!(
        "export_help",
        dir.cmd(["export", "pcapng", "--help"]).assert(0)
    );
    let names = std::fs::read_dir(dir.path("")).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f.pcapng", "home"]);
}

/// What goes over one of several connections.
#[derive(Clone, Debug)]
struct Piece {
    connection: usize,
    sent: bool,
    bytes: Vec<u8>,
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let bytes = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..200),
        // More than a segment holds.
        1 => (any::<u8>(), 63_990..150_000_usize).prop_map(|(b, n)| vec![b; n]),
    ];
    let piece = (0..4_usize, any::<bool>(), bytes);
    let piece = piece.prop_map(|(connection, sent, bytes)| Piece {
        connection,
        sent,
        bytes,
    });
    prop::collection::vec(piece, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Streams of some connections, over both families, one of them accepted, come back whatever the
    /// order in which they went; so do datagrams.
    #[test]
    fn all_that_went_comes_back(pieces in pieces(), closed in 0..4_u32) {
        let ends = [
            ("10.0.0.1:50000", "192.0.2.1:40000"),
            ("[2001:db8::9]:50000", "[2001:db8::1]:40000"),
            ("10.0.0.1:40001", "192.0.2.1:50001"),
            ("10.0.0.1:50002", "192.0.2.1:40002"),
        ];
        let mut calls = vec![
            open_socket(TCP, 10),
            connect(10, ends[0].1).fails(26).noted(tcp(ends[0].0, ends[0].1)),
            open_socket((2, 2), 11),
            connect(11, ends[1].1).noted(tcp(ends[1].0, ends[1].1)),
            open_socket(TCP, 9),
            listen(9).noted(tcp("10.0.0.1:40001", "-")),
            accept(9, 12).noted(tcp(ends[2].0, ends[2].1)),
            open_socket(UDP, 13),
            bind(13, ends[3].0).noted(udp(ends[3].0, "-")),
        ];
        let mut streams: BTreeMap<Way, Vec<u8>> = BTreeMap::new();
        let mut datagrams = Vec::new();
        for Piece { connection, sent, bytes } in pieces {
            let fd = 10 + connection as u32;
            let (local, peer) = ends[connection];
            let way: Way = match sent {
                true => (local.parse().unwrap(), peer.parse().unwrap()),
                false => (peer.parse().unwrap(), local.parse().unwrap()),
            };
            if connection == 3 {
                let bytes = &bytes[..bytes.len().min(60_000)];
                calls.push(match sent {
                    true => send_to(fd, bytes, peer),
                    false => receive_from(fd, bytes, peer),
                });
                datagrams.push((way, bytes.to_vec()));
            } else {
                calls.push(match sent {
                    true => send(fd, &bytes, bytes.len()),
                    false => receive(fd, &bytes),
                });
                streams.entry(way).or_default().extend(bytes);
            }
        }
        calls.extend((0..closed).map(|fd| close(10 + fd)));
        let (read, _) = export(&calls);
        let mut found = read.streams();
        found.retain(|_, bytes| !bytes.is_empty());
        prop_assert!(found == streams);
        prop_assert!(read.datagrams == datagrams);
    }
}

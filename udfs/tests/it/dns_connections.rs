//! Connections that carry DNS: what belongs together, and that it is the same however the bytes come.

use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;
use timecraft_segment::socket::{Address, Transport};
use timecraft_udfs::dns::{Dns, MAX_ASKED, MAX_WAITING, Row};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

use crate::dns::corpus;

use Direction::{Received, Sent};

/// A decoder, and the bytes and times that it is given.
struct Talk {
    dns: Dns,
    room: Room,
    out: Vec<Found<Row>>,
    offset: u64,
}

fn begin(transport: Transport, peer: &str, midstream: bool) -> Dns {
    let peer: Address = peer.parse().unwrap();
    let opening = Opening {
        transport: Some(transport),
        local: None,
        peer: Some(&peer),
        midstream,
    };
    Dns::begin(opening).unwrap()
}

impl Talk {
    fn new(transport: Transport, peer: &str) -> Talk {
        Talk {
            dns: begin(transport, peer, false),
            room: Room::new(0, 1 << 20),
            out: Vec::new(),
            offset: 0,
        }
    }

    fn at(&self) -> At {
        At {
            offset: self.offset,
            time_ns: 100 * self.offset,
            end_ns: 100 * self.offset + 10,
        }
    }

    fn say(&mut self, direction: Direction, bytes: &[u8]) {
        self.offset += 1;
        let piece = Piece {
            at: self.at(),
            direction,
            bytes,
        };
        self.dns.data(piece, &mut self.room, &mut self.out);
    }

    /// Ends it, and has it said what was found.
    fn end(mut self) -> String {
        let at = self.at();
        self.dns.close(at, &mut self.room, &mut self.out);
        assert_eq!(
            self.room,
            Room::new(0, 1 << 20),
            "what was taken is given back"
        );
        let lines = self.out.iter().map(|found| match found {
            Found::Row(row) => {
                let question = row
                    .message
                    .question()
                    .map_or("-".to_owned(), |q| q.to_string());
                let kind = if row.message.header.response() {
                    "response"
                } else {
                    "query"
                };
                let number = row.message.header.id;
                let query = row
                    .query
                    .map_or(String::new(), |query| format!(" to {query}"));
                let rtt = row
                    .rtt_ns
                    .map_or(String::new(), |ns| format!(" after {ns}"));
                let error = row
                    .error
                    .as_ref()
                    .map_or(String::new(), |e| format!(" ({e})"));
                let at = row.at.offset;
                format!("{at} {kind} {number} {question}{query}{rtt}{error}\n")
            }
            Found::Odd(odd) => format!("{} {} {}\n", odd.at.offset, odd.name, odd.detail),
        });
        lines.collect()
    }
}

fn message(id: u16, flags: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = [id, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend([kind, 1].map(u16::to_be_bytes).concat());
    bytes
}

fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    message(id, 0x100, name, kind)
}

fn response(id: u16, name: &str, kind: u16) -> Vec<u8> {
    message(id, 0x8180, name, kind)
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = messages.iter().map(|message| {
        let length = (message.len() as u16).to_be_bytes();
        [&length[..], message].concat()
    });
    framed.collect::<Vec<_>>().concat()
}

#[test]
fn responses_find_their_queries_in_whatever_order_they_come() {
    let mut talk = Talk::new(Transport::Tcp, "10.0.0.2:53");
    let queries = [query(1, "a.b", 1), query(2, "a.b", 28), query(1, "c.d", 1)];
    talk.say(Sent, &framed(&queries));
    let responses = [
        response(1, "C.d", 1),
        response(2, "a.B", 28),
        response(1, "a.b", 1),
    ];
    talk.say(Received, &framed(&responses[..2]));
    talk.say(Received, &framed(&responses[2..]));
    assert_eq!(
        talk.end(),
        "1 query 1 a.b. IN A\n\
         1 query 2 a.b. IN AAAA\n\
         1 query 1 c.d. IN A\n\
         2 response 1 C.d. IN A to 1 after 110\n\
         2 response 2 a.B. IN AAAA to 1 after 110\n\
         3 response 1 a.b. IN A to 1 after 210\n"
    );
}

#[test]
fn a_guest_that_serves_took_as_long_as_it_had_the_query() {
    let mut talk = Talk::new(Transport::Udp, "10.0.0.2:40000");
    talk.say(Received, &query(7, "a.b", 1));
    talk.say(Sent, &response(7, "a.b", 1));
    assert_eq!(
        talk.end(),
        "1 query 7 a.b. IN A\n2 response 7 a.b. IN A to 1 after 90\n"
    );
}

#[test]
fn what_does_not_belong_together_is_odd() {
    let mut talk = Talk::new(Transport::Udp, "10.0.0.2:53");
    talk.say(Received, &response(9, "x.y", 1));
    talk.say(Sent, &query(1, "a.b", 1));
    talk.say(Sent, &query(1, "a.b", 1));
    talk.say(Received, &response(1, "evil.b", 1));
    talk.say(Received, &response(2, "a.b", 1));
    talk.say(Received, &response(1, "a.b", 1));
    talk.say(Received, &response(1, "a.b", 1));
    // It refuses without saying what.
    talk.say(Sent, &query(3, "a.b", 1));
    talk.say(Received, b"\0\x03\x81\x85\0\0\0\0\0\0\0\0");
    talk.say(Received, b"no message");
    assert_eq!(
        talk.end(),
        "1 response 9 x.y. IN A\n\
         1 dns_unexpected_response x.y A\n\
         2 query 1 a.b. IN A\n\
         3 query 1 a.b. IN A\n\
         3 dns_repeated_query a.b A\n\
         4 response 1 evil.b. IN A\n\
         4 dns_question_mismatch evil.b A\n\
         5 response 2 a.b. IN A\n\
         5 dns_id_mismatch a.b A\n\
         6 response 1 a.b. IN A to 2 after 410\n\
         7 response 1 a.b. IN A to 2 after 510\n\
         7 dns_repeated_response a.b A\n\
         8 query 3 a.b. IN A\n\
         9 response 3 - to 8 after 110\n\
         10 query 0 - (received byte 10: the message ends within its header)\n\
         10 dns_malformed \n\
         10 dns_counts_wrong \n"
    );
}

#[test]
fn multicast_answers_without_questions_and_whoever_asked() {
    let mut talk = Talk::new(Transport::Udp, "224.0.0.251:5353");
    talk.say(Sent, &message(0, 0, "x.local", 12));
    talk.say(Sent, &message(0, 0, "x.local", 12));
    talk.say(Received, b"\0\0\x84\0\0\0\0\0\0\0\0\0");
    assert_eq!(
        talk.end(),
        "1 query 0 x.local. IN PTR\n2 query 0 x.local. IN PTR\n3 response 0 -\n"
    );
}

#[test]
fn what_is_dns_is_seen_on_any_port() {
    for (transport, peer) in [
        (Transport::Udp, "10.0.0.2:5300"),
        (Transport::UnixDatagram, "unix:/dns"),
    ] {
        let mut talk = Talk::new(transport, peer);
        talk.say(Sent, &query(1, "a.b", 1));
        talk.say(Received, b"no message");
        assert_eq!(talk.end().matches('\n').count(), 4);
    }
    for begins in [
        &b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaa",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut talk = Talk::new(transport, "10.0.0.2:5300");
            talk.say(Sent, begins);
            assert!(
                !talk.dns.wants(Sent) && !talk.dns.wants(Received),
                "{begins:?}"
            );
            assert_eq!(talk.end(), "");
        }
    }
}

#[test]
fn what_is_no_dns_at_the_port_of_dns_is_odd() {
    let mut talk = Talk::new(Transport::Tcp, "10.0.0.2:53");
    talk.say(Sent, b"GET / HTTP/1.1\r\n\r\n");
    talk.say(Received, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(talk.end(), "1 dns_malformed sent\n");
}

#[test]
fn a_stream_whose_beginning_is_missing_is_followed_where_a_message_begins() {
    for (bytes, rows) in [(framed(&[query(1, "a.b", 1)]), 1), (query(1, "a.b", 1), 0)] {
        let mut talk = Talk::new(Transport::Tcp, "10.0.0.2:53");
        talk.dns = begin(Transport::Tcp, "10.0.0.2:53", true);
        talk.say(Sent, &bytes);
        assert_eq!(talk.end().matches('\n').count(), rows);
    }
}

#[test]
fn a_message_that_the_end_cuts_says_so() {
    let mut talk = Talk::new(Transport::Tcp, "10.0.0.2:53");
    let messages = framed(&[query(1, "a.b", 1), query(2, "c.d", 1)]);
    talk.say(Sent, &messages[..messages.len() - 4]);
    talk.say(Sent, &messages[messages.len() - 4..messages.len() - 1]);
    assert_eq!(
        talk.end(),
        "1 query 1 a.b. IN A\n\
         1 query 2 - (sent byte 45: the stream ended within a message)\n\
         1 dns_malformed \n\
         1 dns_counts_wrong \n\
         1 dns_stream_cut \n"
    );
}

#[test]
fn only_so_many_queries_wait() {
    let mut talk = Talk::new(Transport::Udp, "10.0.0.2:53");
    for id in 0..=MAX_ASKED as u16 {
        talk.say(Sent, &query(id, "a.b", 1));
    }
    let before = talk.out.len();
    talk.say(Received, &response(0, "a.b", 1));
    talk.say(Received, &response(1, "a.b", 1));
    let query = |found: &Found<Row>| match found {
        Found::Row(row) => row.query,
        Found::Odd(_) => None,
    };
    let queries: Vec<_> = talk.out[before..].iter().filter_map(query).collect();
    assert_eq!(queries, [2], "the first is forgotten, the second is not");
}

#[test]
fn where_there_is_no_room_it_is_said() {
    let mut talk = Talk::new(Transport::Tcp, "10.0.0.2:53");
    talk.room = Room::new(0, 20);
    talk.say(Sent, &framed(&[query(1, "a.b", 1)])[..15]);
    talk.say(Sent, &framed(&[query(1, "example.com", 1)])[15..]);
    assert!(!talk.dns.wants(Sent) && talk.dns.wants(Received));
    let [Found::Odd(odd)] = &talk.out[..] else {
        panic!("{:?}", talk.out);
    };
    assert_eq!(
        (odd.name, odd.detail.as_str()),
        ("dns_not_followed", "sent")
    );
    assert_eq!(talk.room, Room::new(0, 20));
}

/// The state as it would be read again.
fn restored<T: Serialize + DeserializeOwned>(state: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(state).unwrap()).unwrap()
}

/// A stream of each direction, cut at these places, which take turns.
fn run(sent: &[u8], received: &[u8], cuts: &[Index], peer: &str, save: bool) -> String {
    let mut talk = Talk::new(Transport::Tcp, peer);
    for (offset, direction, bytes) in [(0, Sent, sent), (1, Received, received)] {
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        for place in places.windows(2) {
            // The same call, of whose bytes each piece is some: what is found must not differ at all.
            talk.offset = offset;
            talk.say(direction, &bytes[place[0]..place[1]]);
            if save {
                talk.dns = restored(&talk.dns);
            }
            let waiting = serde_json::to_value(&talk.dns).unwrap();
            let digits = waiting["sent"]["waiting"].as_str().unwrap().len();
            assert!(digits / 2 <= MAX_WAITING);
        }
    }
    talk.end()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_rows(
        sent in prop::collection::vec(any::<Index>(), 0..6),
        received in prop::collection::vec(any::<Index>(), 0..6),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        port in prop::sample::select(vec!["1.2.3.4:53", "1.2.3.4:5353", "1.2.3.4:80"]),
    ) {
        let corpus = corpus();
        let of = |which: &[Index]| {
            let messages = which.iter().map(|which| which.get(&corpus).message.clone());
            framed(&messages.collect::<Vec<_>>())
        };
        let (sent, received) = (of(&sent), [of(&received), noise].concat());
        let whole = run(&sent, &received, &[], port, false);
        prop_assert_eq!(&whole, &run(&sent, &received, &cuts, port, false));
        prop_assert_eq!(&whole, &run(&sent, &received, &cuts, port, true));
    }

    #[test]
    fn nothing_makes_it_panic(
        said in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)),
            0..20,
        ),
        transport in prop::sample::select(vec![Transport::Tcp, Transport::Udp]),
        port in prop::sample::select(vec!["1.2.3.4:53", "1.2.3.4:5353", "1.2.3.4:80"]),
    ) {
        let mut talk = Talk::new(transport, port);
        for (sent, bytes) in said {
            talk.say(if sent { Sent } else { Received }, &bytes);
        }
        let _ = talk.end();
    }
}

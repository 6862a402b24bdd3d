//! What was recorded of a guest's conversations, and that it is what went over the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::wire::{Datagram, Stream, Wire, unhex};
use crate::support::Dir;

/// A row of `connections` with its rows of `socket_data`.
#[derive(Debug)]
pub struct Conversation {
    pub transport: String,
    pub role: String,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// What the guest sent, a piece a call.
    pub sent: Vec<Vec<u8>>,
    /// What the guest received, a piece a call.
    pub received: Vec<Vec<u8>>,
}

/// The conversations of all processes of a folder, in the order in which they began.
#[track_caller]
pub fn conversations(dir: &Dir) -> Vec<Conversation> {
    let mut pieces = BTreeMap::<_, [Vec<Vec<u8>>; 2]>::new();
    for row in dir.query(
        "select process_id, connection, direction, position, encode(payload, 'hex') \
         from socket_data order by process_id, record_offset",
    ) {
        let [process, connection, direction, position, payload] =
            <[String; 5]>::try_from(row).unwrap();
        let half = match direction.as_str() {
            "sent" => 0,
            "received" => 1,
            other => panic!("no direction: {other}"),
        };
        let half = &mut pieces.entry((process, connection)).or_default()[half];
        let before: usize = half.iter().map(Vec::len).sum();
        assert_eq!(
            position,
            before.to_string(),
            "a piece is where the last ended"
        );
        half.push(unhex(&payload));
    }
    let rows = dir.query(
        "select process_id, connection, transport, role, local_address, local_port, \
         peer_address, peer_port, bytes_sent, bytes_received, sends, receives \
         from connections where peer_address is not null order by process_id, connection",
    );
    let conversations = rows.into_iter().map(|row| {
        let mut row = row.into_iter();
        let mut next = || row.next().unwrap();
        let [sent, received] = pieces.remove(&(next(), next())).unwrap_or_default();
        let (transport, role) = (next(), next());
        let mut address = || SocketAddr::new(next().parse().unwrap(), next().parse().unwrap());
        let (local, peer) = (address(), address());
        let bytes = |half: &[Vec<u8>]| half.iter().map(Vec::len).sum::<usize>().to_string();
        let counts = [
            bytes(&sent),
            bytes(&received),
            sent.len().to_string(),
            received.len().to_string(),
        ];
        assert_eq!(row.collect::<Vec<_>>(), counts, "{local} > {peer}");
        Conversation {
            transport,
            role,
            local,
            peer,
            sent,
            received,
        }
    });
    let conversations = conversations.collect();
    assert!(
        pieces.is_empty(),
        "data of no connection: {:?}",
        pieces.keys()
    );
    conversations
}

/// Holds that what was recorded is what was captured: every connection, every byte and datagram, and
/// nothing else.
#[track_caller]
pub fn assert_same(recorded: &[Conversation], wire: &Wire) {
    let mut streams: Vec<_> = recorded.iter().filter_map(Conversation::stream).collect();
    let mut captured: Vec<_> = wire.streams.iter().collect();
    streams.sort();
    captured.sort();
    assert_eq!(streams.iter().collect::<Vec<_>>(), captured);
    let mut datagrams: Vec<_> = recorded.iter().flat_map(Conversation::datagrams).collect();
    let mut captured = wire.datagrams.clone();
    datagrams.sort();
    captured.sort();
    assert_eq!(datagrams, captured);
}

/// The same where either side may have gone without reading: the wire has no more than the guest sent,
/// and the guest received no more than the wire has. Where neither reset the connection, both are equal.
#[track_caller]
pub fn assert_same_as_far_as_read(recorded: &[Conversation], wire: &Wire) {
    let ends = |s: &Stream| (s.client, s.server);
    let captured: BTreeMap<_, _> = wire.streams.iter().map(|s| (ends(s), s)).collect();
    assert_eq!(recorded.len(), captured.len(), "connections");
    for conversation in recorded {
        let stream = conversation.stream().unwrap();
        let ends = ends(&stream);
        let captured = captured
            .get(&ends)
            .unwrap_or_else(|| panic!("{ends:?} was not captured"));
        let (sent, received) = match conversation.role.as_str() {
            "client" => (&captured.up, &captured.down),
            _ => (&captured.down, &captured.up),
        };
        assert!(conversation.sent.concat().starts_with(sent), "{ends:?}");
        assert!(
            received.starts_with(&conversation.received.concat()),
            "{ends:?}"
        );
        assert!(
            wire.reset.contains(&ends) || stream == **captured,
            "neither reset it: {stream:?}\n{captured:?}"
        );
    }
}

/// The rows of some queries, for a snapshot.
pub fn rows(dir: &Dir, queries: &[&str]) -> String {
    let row = |query: &&str| {
        let said = dir.cmd(["sql", "--format", "ndjson", query]).assert(0);
        format!("{query}\n{}\n", said.out())
    };
    queries.iter().map(row).collect()
}

impl Conversation {
    fn stream(&self) -> Option<Stream> {
        let (sent, received) = (self.sent.concat(), self.received.concat());
        match (self.transport.as_str(), self.role.as_str()) {
            ("tcp", "client") => Some(Stream {
                client: self.local,
                server: self.peer,
                up: sent,
                down: received,
            }),
            ("tcp", "server") => Some(Stream {
                client: self.peer,
                server: self.local,
                up: received,
                down: sent,
            }),
            _ => None,
        }
    }

    fn datagrams(&self) -> Vec<Datagram> {
        if self.transport != "udp" {
            return Vec::new();
        }
        let datagram = |from, to| {
            move |payload: &Vec<u8>| Datagram {
                from,
                to,
                payload: payload.clone(),
            }
        };
        let sent = self.sent.iter().map(datagram(self.local, self.peer));
        let received = self.received.iter().map(datagram(self.peer, self.local));
        sent.chain(received).collect()
    }
}

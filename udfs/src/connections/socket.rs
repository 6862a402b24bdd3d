//! A socket, as far as it is known, with its connections.
//!
//! Nothing here gives events.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use timecraft_segment::Record;
use timecraft_segment::socket::{Address, Ends, Preopened, Transport};

use super::asks::Asks;
use super::connection::{Connection, Role};
use super::event::Tls;
use super::streams::Streams;

/// How long a peer of datagrams has to be silent to begin a new connection where it is not known whether
/// it had one, in nanoseconds: after one minute Zeek, too, takes datagrams for another connection.
const SILENCE_NS: u64 = 60_000_000_000;

/// A connection and what is seen in its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flow {
    pub(super) connection: Connection,
    pub(super) streams: Streams,
    pub(super) asks: Asks,
}

impl Flow {
    /// A connection that this record makes known.
    pub(super) fn new(socket: &Socket, fd: u32, record: &Record<'_>, role: Role) -> Flow {
        let mut connection = Connection::new(record.offset.0, fd, role, record.start.0);
        connection.transport = socket.transport;
        connection.local.clone_from(&socket.local);
        Flow {
            connection,
            streams: Streams::default(),
            asks: Asks::default(),
        }
    }

    /// Its beginning is not in the log.
    pub(super) fn begin_midstream(&mut self) {
        self.connection.begin_midstream();
        self.streams = Streams::midstream();
    }
}

/// A socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Socket {
    pub(super) transport: Option<Transport>,
    pub(super) local: Option<Address>,
    /// The peer that it was connected to before the guest began: no call made it known yet.
    pub(super) began_with: Option<Address>,
    /// Whether its beginning is not in the log.
    pub(super) midstream: bool,
    /// When the first call on it began after the records that are missing.
    pub(super) followed_from_ns: Option<u64>,
    /// Whether it is still what the process started with under its number.
    pub(super) initial: bool,
    /// What it is connected to, or was.
    pub(super) connected: Option<Box<Flow>>,
    /// The others that datagrams went to or came from.
    pub(super) peers: BTreeMap<Address, Flow>,
}

impl Socket {
    pub(super) fn at_start(start: &Preopened) -> Socket {
        Socket {
            transport: Some(start.ends.transport),
            local: start.ends.local.clone(),
            began_with: start.ends.peer.clone().filter(|_| !start.listening),
            initial: true,
            ..Socket::default()
        }
    }

    /// One whose beginning is not in the log.
    pub(super) fn unknown() -> Socket {
        Socket {
            midstream: true,
            ..Socket::default()
        }
    }

    /// The same after records are missing.
    pub(super) fn after_loss(&self) -> Socket {
        Socket {
            midstream: true,
            ..self.clone()
        }
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.flows().map(|flow| &flow.connection)
    }

    pub(super) fn unanswered_tls(&self) -> impl Iterator<Item = Tls> {
        let unanswered = |flow: &Flow| flow.streams.unanswered(flow.connection.id);
        self.flows().filter_map(unanswered)
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        let connected = self.connected.as_deref();
        connected.into_iter().chain(self.peers.values())
    }

    pub(super) fn into_flows(self) -> impl Iterator<Item = Flow> {
        let connected = self.connected.map(|flow| *flow);
        connected.into_iter().chain(self.peers.into_values())
    }

    pub(super) fn is_datagram(&self) -> bool {
        self.transport.is_some_and(Transport::is_datagram)
    }

    /// Notes a call on it, at that time.
    pub(super) fn follow(&mut self, now_ns: u64) {
        self.followed_from_ns.get_or_insert(now_ns);
    }

    /// Whether what is first heard of now may have begun in records that are missing. A stream has; a
    /// peer of datagrams that has been silent for long begins anew, whatever it sent before.
    pub(super) fn is_midstream(&self, peer: Option<&Address>, now_ns: u64) -> bool {
        let since = self.followed_from_ns.unwrap_or(now_ns);
        let silent = now_ns.saturating_sub(since) >= SILENCE_NS;
        let begins = silent && self.is_datagram() && peer.is_some();
        self.midstream && !begins
    }

    /// Takes what a note says of it.
    pub(super) fn learn(&mut self, ends: &Ends) {
        self.transport = Some(ends.transport);
        if ends.local.is_some() {
            self.local.clone_from(&ends.local);
        }
        if let Some(flow) = self.connected.as_deref_mut() {
            flow.connection.transport = Some(ends.transport);
            flow.connection.local.clone_from(&self.local);
            if ends.peer.is_some() {
                flow.connection.peer.clone_from(&ends.peer);
            }
        }
    }

    /// The connection with that peer, or where none is named the one that it is connected to.
    pub(super) fn flow(&mut self, peer: Option<&Address>) -> Option<&mut Flow> {
        let others = self.is_datagram();
        let is_it = |flow: &Flow| !others || flow.connection.peer.as_ref() == peer;
        match (self.connected.as_deref_mut(), peer) {
            (Some(flow), None) => Some(flow),
            (Some(flow), Some(_)) if is_it(flow) => Some(flow),
            (_, Some(peer)) if others => self.peers.get_mut(peer),
            _ => None,
        }
    }

    /// The peer of that address whose port version 1 of `sock_recv_from` does not return: the one that
    /// was heard of last.
    pub(super) fn with_port(&self, peer: Address) -> Address {
        let Address::Ip(ip) = &peer else {
            return peer;
        };
        if ip.port() != 0 {
            return peer;
        }
        let with = |port| Address::Ip(SocketAddr::new(ip.ip(), port));
        let same = |flow: &&Flow| matches!(&flow.connection.peer, Some(Address::Ip(known)) if known.ip() == ip.ip());
        let connected = self.connected.as_deref().filter(same);
        let others = self.peers.range(with(0)..=with(u16::MAX));
        let known = connected.into_iter().chain(others.map(|(_, flow)| flow));
        let last = known.max_by_key(|flow| flow.connection.end_offset);
        last.and_then(|flow| flow.connection.peer.clone())
            .unwrap_or(peer)
    }
}

//! Packet captures: what a guest sent and received as a file for Wireshark and its kin.
//!
//! [`Capture`] takes what the decoder of connections says, record by record, and writes a pcapng file
//! of packets that could have carried it: [`conversation`] makes the segments of a TCP connection,
//! [`packet`] their bytes, [`block`] the file. The host's kernel kept the real packets to itself, so
//! handshakes, acknowledgements and the cut into segments are made up; ends, bytes, their order and
//! their times are recorded. Nothing here may read a log or choose where the file goes.

mod block;
mod conversation;
mod packet;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use timecraft_segment::socket::Address;
use timecraft_segment::{ProcessStart, Record};
use timecraft_udfs::connections::{Connection, Data, Event, Role, State, payload};

use self::block::Blocks;
use self::conversation::{Conversation, Pair, Side, Stage};

/// The most pairs of an address and a name that are remembered as written; beyond, they are repeated.
const MAX_NAMES: usize = 65_536;

/// What is in the file, and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Connections of which there are packets.
    pub connections: u64,
    /// Connections of Unix sockets, which no packet carries.
    pub unix: u64,
    /// Connections that policy refused: nothing was sent.
    pub denied: u64,
    /// Connections whose peer is not recorded.
    pub unknown: u64,
    /// Connections between two sockets of the guest, of which the other one's packets are there.
    pub mirrored: u64,
    /// Datagrams that are larger than a packet can be.
    pub oversized: u64,
}

/// A file being written.
pub struct Capture<W> {
    blocks: Blocks<W>,
    start_ns: i64,
    flows: HashMap<u64, Flow>,
    /// Whose packets are between two ends, of datagrams or of a stream, while they are open.
    pairs: HashMap<(Pair, bool), u64>,
    names: HashSet<(IpAddr, String)>,
    /// Ports that stand for those that are not recorded.
    made_up: u16,
    counts: Counts,
}

/// What becomes of a connection.
enum Flow {
    Tcp(Conversation),
    Udp(Pair),
    /// It has no packets.
    Left,
}

impl<W: Write> Capture<W> {
    /// Begins the file with what is known of the process.
    ///
    /// # Errors
    /// Those of the write.
    pub fn begin(out: W, start: &ProcessStart) -> io::Result<Capture<W>> {
        Ok(Capture {
            blocks: Blocks::begin(out, start)?,
            start_ns: start.start_time.0,
            flows: HashMap::new(),
            pairs: HashMap::new(),
            names: HashSet::new(),
            made_up: 0,
            counts: Counts::default(),
        })
    }

    /// Writes what a record meant; `connections` are those that it was about, as they are after it.
    ///
    /// # Errors
    /// Those of the write.
    pub fn record(
        &mut self,
        record: Option<&Record<'_>>,
        events: &[Event],
        connections: &[Connection],
    ) -> io::Result<()> {
        for event in events {
            match (event, record) {
                (Event::Lookup(lookup), _) => self.name(&lookup.name, &lookup.addresses)?,
                (Event::Data(data), Some(record)) => {
                    let bytes = payload(record, data.size);
                    let known = connections.iter().find(|c| c.id == data.connection);
                    self.data(record, data, known, &bytes)?;
                }
                (Event::Closed(connection), _) => {
                    let ended = connection.closed_ns.unwrap_or(0);
                    let now = record.map_or(ended, |record| record.start.0);
                    self.close(connection, now)?;
                }
                _ => {}
            }
        }
        let Some(record) = record else {
            return Ok(());
        };
        for connection in connections {
            self.advance(connection, record)?;
        }
        Ok(())
    }

    /// Writes what is left, and says what is in the file.
    ///
    /// # Errors
    /// Those of the write.
    pub fn finish(mut self) -> io::Result<Counts> {
        self.blocks.flush()?;
        Ok(self.counts)
    }

    fn data(
        &mut self,
        record: &Record<'_>,
        data: &Data,
        connection: Option<&Connection>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let side = Side::from(data.direction);
        // What came was there when the call returned, what went when it began.
        let elapsed = match side {
            Side::Guest => record.start.0,
            Side::Peer => record.start.0.saturating_add(record.duration_ns),
        };
        if let Some(connection) = connection {
            self.open(connection, elapsed)?;
        }
        let time = self.time(elapsed);
        let Some(flow) = self.flows.get_mut(&data.connection) else {
            return Ok(());
        };
        match flow {
            Flow::Tcp(conversation) => {
                let blocks = &mut self.blocks;
                let written = conversation.data(side, bytes, |p| blocks.packet(time, p))?;
                self.counts.packets += written;
            }
            Flow::Udp(pair) => match packet::udp(pair.seen_from(side), bytes) {
                Some(packet) => {
                    self.blocks.packet(time, &packet)?;
                    self.counts.packets += 1;
                }
                None => self.counts.oversized += 1,
            },
            Flow::Left => {}
        }
        Ok(())
    }

    /// Brings a connection as far as it is known to have come.
    fn advance(&mut self, connection: &Connection, record: &Record<'_>) -> io::Result<()> {
        let returned = record.start.0.saturating_add(record.duration_ns);
        // Whom the guest accepts has come while it waited for that.
        let began = match connection.role {
            Role::Client => record.start.0,
            Role::Server => returned,
        };
        self.open(connection, began)?;
        let time = self.time(returned);
        let Some(Flow::Tcp(conversation)) = self.flows.get_mut(&connection.id) else {
            return Ok(());
        };
        let stage = Stage::of(connection);
        let blocks = &mut self.blocks;
        self.counts.packets += conversation.reach(stage, |p| blocks.packet(time, p))?;
        Ok(())
    }

    /// Begins a connection, unless that has been done.
    fn open(&mut self, connection: &Connection, now: u64) -> io::Result<()> {
        if self.flows.contains_key(&connection.id) {
            return Ok(());
        }
        let pair = match self.pair_of(connection) {
            Ok(pair) => pair,
            Err(count) => {
                *count += 1;
                self.flows.insert(connection.id, Flow::Left);
                return Ok(());
            }
        };
        let datagrams = connection.is_datagram();
        if self.pairs.contains_key(&(pair.reversed(), datagrams)) {
            self.counts.mirrored += 1;
            self.flows.insert(connection.id, Flow::Left);
            return Ok(());
        }
        self.pairs.insert((pair, datagrams), connection.id);
        self.counts.connections += 1;
        if datagrams {
            self.flows.insert(connection.id, Flow::Udp(pair));
            return Ok(());
        }
        // Those that the guest started with were there before.
        let before = connection.opened_ns == 0;
        let time = self.time(if before { 0 } else { now });
        let mut conversation = Conversation::new(pair, connection.role, connection.id);
        let blocks = &mut self.blocks;
        let mut write = |p: &[u8]| blocks.packet(time, p);
        if connection.state() == State::Oth {
            conversation.begin_midstream();
        } else {
            self.counts.packets += conversation.begin(&mut write)?;
            if before {
                self.counts.packets += conversation.reach(Stage::ESTABLISHED, write)?;
            }
        }
        self.flows.insert(connection.id, Flow::Tcp(conversation));
        Ok(())
    }

    fn close(&mut self, connection: &Connection, now: u64) -> io::Result<()> {
        self.open(connection, now)?;
        let time = self.time(now);
        let Some(flow) = self.flows.remove(&connection.id) else {
            return Ok(());
        };
        let pair = match flow {
            Flow::Tcp(mut conversation) => {
                let stage = Stage::of(connection);
                let blocks = &mut self.blocks;
                let mut write = |p: &[u8]| blocks.packet(time, p);
                self.counts.packets += conversation.reach(stage, &mut write)?;
                if connection.closed_ns.is_some() {
                    self.counts.packets += conversation.close(connection.state(), write)?;
                }
                conversation.pair()
            }
            Flow::Udp(pair) => pair,
            Flow::Left => return Ok(()),
        };
        let key = (pair, connection.is_datagram());
        if self.pairs.get(&key) == Some(&connection.id) {
            self.pairs.remove(&key);
        }
        Ok(())
    }

    /// The ends of a connection, or what is counted because it has no packets.
    fn pair_of(&mut self, connection: &Connection) -> Result<Pair, &mut u64> {
        let (local, peer) = (&connection.local, &connection.peer);
        if connection.state() == State::Denied {
            return Err(&mut self.counts.denied);
        }
        if [local, peer]
            .into_iter()
            .any(|end| matches!(end, Some(Address::Unix(_))))
        {
            return Err(&mut self.counts.unix);
        }
        let Some(Address::Ip(peer)) = peer else {
            return Err(&mut self.counts.unknown);
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = match local {
            Some(Address::Ip(local)) => SocketAddr::new(local.ip().to_canonical(), local.port()),
            _ => {
                self.made_up = self.made_up.checked_add(1).unwrap_or(1);
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.made_up)
            }
        };
        // A packet has both ends in one family; a socket that is bound to no address has none.
        let local = match (local.ip(), peer.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => local,
            (ip, IpAddr::V4(_)) if ip.is_unspecified() => {
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local.port())
            }
            (ip, IpAddr::V6(_)) if ip.is_unspecified() => {
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), local.port())
            }
            _ => return Err(&mut self.counts.unknown),
        };
        Ok(Pair { local, peer })
    }

    /// A name that the guest has learned the addresses of.
    fn name(&mut self, name: &str, addresses: &[IpAddr]) -> io::Result<()> {
        // The format ends a name with a zero.
        let name = name.trim_end_matches('.');
        if name.is_empty() || name.contains('\0') {
            return Ok(());
        }
        let mut fresh = BTreeMap::new();
        for address in addresses {
            let known = (address.to_canonical(), name.to_owned());
            if self.names.contains(&known) {
                continue;
            }
            fresh.insert(known.0, name);
            if self.names.len() < MAX_NAMES {
                self.names.insert(known);
            }
        }
        match fresh.is_empty() {
            true => Ok(()),
            false => self.blocks.names(&fresh),
        }
    }

    /// Nanoseconds since 1970, of nanoseconds since the process started.
    fn time(&self, elapsed: u64) -> u64 {
        let time = self.start_ns.saturating_add_unsigned(elapsed);
        u64::try_from(time).unwrap_or(0)
    }
}

//! What a guest did with sockets: each connection with its two streams of bytes, each name that was
//! resolved, each TLS session.
//!
//! [`Connections`] is fed the records of a process in the order of their offsets, all of them or only
//! those of functions that [`matters`] names, and gives [`Event`]s. It follows descriptors by number
//! through `sock_open`, `sock_accept`, `fd_close` and `fd_renumber`; of a stream's socket it makes one
//! connection, and of a socket for datagrams one for each peer. Only what the host took and what the
//! guest was given counts: what a write offered beyond that, and what was only peeked at, does not.
//!
//! ```
//! use timecraft_segment::{Projection, Snapshot};
//! use timecraft_udfs::connections::{Connections, Direction, Event, payload};
//!
//! /// What a guest sent, to all peers together, and how many connections have ended.
//! fn sent(process: &Snapshot) -> timecraft_segment::Result<(Vec<u8>, usize)> {
//!     let mut connections = Connections::at_start(process.start());
//!     let (mut bytes, mut ended) = (Vec::new(), 0);
//!     for chunk in process.chunks() {
//!         for record in chunk.read(Projection::ALL)?.iter() {
//!             connections.apply(&record, |event| {
//!                 match event {
//!                     Event::Data(data) if data.direction == Direction::Sent => {
//!                         bytes.extend_from_slice(&payload(&record, data.size));
//!                     }
//!                     Event::Closed(_) => ended += 1,
//!                     _ => {}
//!                 }
//!                 Ok::<(), timecraft_segment::Error>(())
//!             })?;
//!         }
//!     }
//!     Ok((bytes, ended))
//! }
//! ```
//!
//! A record whose call is in flight says only that it began. Whoever carries state on feeds it once it
//! has returned; whoever reads a process that runs feeds it last.
//!
//! Records may be read without their payloads where [`payload_wanted`] says so; then protocols,
//! names and TLS are not known, and all else is the same.

mod asks;
mod connecting;
mod connection;
mod event;
mod facts;
mod follow;
mod names;
mod socket;
mod sockets;
mod streams;
mod transfers;
mod uid;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timecraft_segment::descriptors::Descriptor;
use timecraft_segment::{Ended, FunctionId, ProcessEnd, ProcessStart, Record};

pub use connection::{Connection, Role, State};
pub use event::{Action, Call, Data, Direction, End, Event, Lookup, Oddity, Source, Tls, Warning};
pub use facts::{Matters, Payload, matters, payload_wanted};
pub use streams::Protocol;

pub use crate::files::payload;

use self::names::Names;
use self::socket::Socket;
use self::streams::Budget;
use crate::protocol::Room;
use crate::state::{self, StateError};

/// The version of this decoder. It changes where the same records give other events, or the state
/// means something else.
pub const VERSION: u32 = 4;

/// The most sockets that are followed: as many as the runtime lets a guest have open.
pub const MAX_SOCKETS: usize = 65_536;
/// The most peers of sockets for datagrams that are followed at once, all sockets together. Of more,
/// the half that has been silent longest is given as it is.
pub const MAX_PEERS: usize = 16_384;

/// The most bytes that are kept of DNS on all connections together.
const MAX_DNS: usize = 8 << 20;

/// The decoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    sockets: BTreeMap<u32, Socket>,
    /// What the process started with.
    initial: BTreeMap<u32, Socket>,
    names: Names,
    budget: Budget,
    /// What is left for DNS.
    room: Room,
    /// How many peers are followed; counted when a state is restored.
    #[serde(skip)]
    peers: usize,
    /// Whether there may be sockets that are not known, which the next segment tells.
    lost: bool,
    /// Events on their way out; empty between two calls.
    #[serde(skip)]
    out: Vec<Event>,
}

impl Connections {
    /// Before the first record of a process.
    #[must_use]
    pub fn at_start(start: &ProcessStart) -> Connections {
        let initial = start.sockets.iter().take(MAX_SOCKETS);
        let initial: BTreeMap<u32, Socket> = initial
            .map(|socket| (socket.fd, Socket::at_start(socket)))
            .collect();
        Connections {
            sockets: initial.clone(),
            initial,
            names: Names::default(),
            budget: Budget::default(),
            room: Room::new(0, MAX_DNS),
            peers: 0,
            lost: false,
            out: Vec::new(),
        }
    }

    /// The state as JSON, with the version of the decoder.
    ///
    /// # Errors
    /// None that a state of this type can cause; the encoder has them.
    pub fn save(&self) -> Result<Vec<u8>, StateError> {
        state::save(VERSION, self)
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// When it is of another version or is none.
    pub fn restore(saved: &[u8]) -> Result<Connections, StateError> {
        let mut restored: Connections = state::restore(VERSION, saved)?;
        restored.peers = restored.sockets.values().map(|s| s.peers.len()).sum();
        Ok(restored)
    }

    /// Whether there are sockets, so that records of functions that are not theirs alone can matter.
    #[must_use]
    pub fn knows_sockets(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// The descriptors of the sockets, ascending.
    pub fn descriptors(&self) -> impl Iterator<Item = u32> {
        self.sockets.keys().copied()
    }

    /// The connections that are open, by descriptor.
    pub fn open(&self) -> impl Iterator<Item = &Connection> {
        self.sockets.values().flat_map(Socket::connections)
    }

    /// The connections that are open on a descriptor: several where it is of datagrams.
    pub fn of_descriptor(&self, fd: u32) -> impl Iterator<Item = &Connection> {
        self.sockets
            .get(&fd)
            .into_iter()
            .flat_map(Socket::connections)
    }

    /// The TLS sessions of open connections that no server has answered yet.
    pub fn unanswered_tls(&self) -> impl Iterator<Item = Tls> {
        self.sockets.values().flat_map(Socket::unanswered_tls)
    }

    /// Follows one record, in the order of offsets, and gives what it meant.
    ///
    /// # Errors
    /// What `give` returned. What else the record meant is not given then.
    pub fn apply<E>(
        &mut self,
        record: &Record<'_>,
        give: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        match (facts::step(record.function), record.function) {
            (Some(step), _) => {
                self.follow(record, step);
                // What the call ended is known before what it made.
                let is_call = |event: &Event| matches!(event, Event::Call(_));
                if let Some(at) = self.out.iter().position(is_call) {
                    self.out[..=at].rotate_right(1);
                }
            }
            (None, FunctionId::GAP) => self.forget(),
            (None, FunctionId::END) => self.end(record),
            _ => {}
        }
        self.hand_out(give)
    }

    /// Says that records are missing here. Open connections are given as they are, and what follows on
    /// their descriptors, where these are sockets still, is others.
    ///
    /// # Errors
    /// What `give` returned.
    pub fn lose<E>(&mut self, give: impl FnMut(Event) -> Result<(), E>) -> Result<(), E> {
        self.forget();
        self.hand_out(give)
    }

    /// Says what is open at the beginning of a segment. Changes something only after [`Self::lose`]:
    /// connections of what was taken for a socket and is none are given as they are.
    ///
    /// # Errors
    /// What `give` returned.
    pub fn found<E>(
        &mut self,
        table: &[Descriptor],
        give: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        if !std::mem::take(&mut self.lost) {
            return Ok(());
        }
        for socket in table {
            if !socket.socket {
                // Its number was another's before the records that are missing.
                self.vanish(socket.fd);
            } else if self.sockets.len() < MAX_SOCKETS {
                // What was opened since is known better.
                self.sockets
                    .entry(socket.fd)
                    .or_insert_with(Socket::unknown);
            }
        }
        self.hand_out(give)
    }

    fn hand_out<E>(&mut self, give: impl FnMut(Event) -> Result<(), E>) -> Result<(), E> {
        let mut out = std::mem::take(&mut self.out);
        let given = out.drain(..).try_for_each(give);
        self.out = out;
        given
    }

    /// What the process started with and had not closed is taken to be open still: guests hardly ever
    /// close it.
    fn forget(&mut self) {
        self.lost = true;
        let mut kept = BTreeMap::new();
        for (fd, socket) in std::mem::take(&mut self.sockets) {
            if let Some(initial) = self.initial.get(&fd).filter(|_| socket.initial) {
                kept.insert(fd, initial.after_loss());
            }
            for flow in socket.into_flows() {
                self.give_lost(flow);
            }
        }
        self.sockets = kept;
        self.peers = 0;
    }

    /// The process ended, and with it all that was open; where its writer died nobody knows.
    fn end(&mut self, record: &Record<'_>) {
        let end = serde_json::from_slice::<ProcessEnd>(record.input);
        let lost = end.is_ok_and(|end| end.status == Ended::Lost);
        let closed = (!lost).then_some(record.start.0);
        for (_, socket) in std::mem::take(&mut self.sockets) {
            for mut flow in socket.into_flows() {
                if lost {
                    flow.connection.lose();
                }
                self.give_flow(flow, closed);
            }
        }
        self.peers = 0;
    }
}

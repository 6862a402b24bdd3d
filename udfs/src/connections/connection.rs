//! One connection: its ends, what went over it, and the state that follows from what calls returned.

use serde::{Deserialize, Serialize};
use timecraft_segment::ProcessId;
use timecraft_segment::socket::{Address, Transport};

use super::event::{Direction, Oddity};
use super::streams::Protocol;

/// Who began a connection, as the guest sees itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The guest connected, or sent the first datagram.
    Client,
    /// The guest accepted, or received the first datagram.
    Server,
}

impl Role {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Server => "server",
        }
    }
}

/// How far a connection came. The names are those of Zeek's `conn_state` where it has one for what a
/// socket can see: the host's kernel keeps packets to itself, so that a reset by the guest and who
/// closed first of two that both did are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// An attempt without an answer. Of datagrams: only one side sent any.
    S0,
    /// Established, and not ended.
    S1,
    /// The client has ended its direction, the server has not.
    S2,
    /// The server has ended its direction, the client has not.
    S3,
    /// Established and ended. Of datagrams: both sides sent some.
    Sf,
    /// The attempt was rejected.
    Rej,
    /// The client reset it.
    Rsto,
    /// The server reset it.
    Rstr,
    /// Its beginning or its end is not in the log: calls are missing there, or who wrote the log died.
    Oth,
    /// Policy refused it; nothing was sent. Zeek has no name for it.
    Denied,
}

impl State {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::S0 => "S0",
            State::S1 => "S1",
            State::S2 => "S2",
            State::S3 => "S3",
            State::Sf => "SF",
            State::Rej => "REJ",
            State::Rsto => "RSTO",
            State::Rstr => "RSTR",
            State::Oth => "OTH",
            State::Denied => "DENIED",
        }
    }
}

/// The errors of WASI that say something of a connection.
pub(super) mod errno {
    pub const EAGAIN: u64 = 6;
    pub const EALREADY: u64 = 7;
    pub const EBADF: u64 = 8;
    pub const ECONNABORTED: u64 = 13;
    pub const ECONNREFUSED: u64 = 14;
    pub const ECONNRESET: u64 = 15;
    pub const EINPROGRESS: u64 = 26;
    pub const EINTR: u64 = 27;
    pub const EISCONN: u64 = 30;
    pub const ENETRESET: u64 = 39;
    pub const ENOTSOCK: u64 = 57;
    pub const EPIPE: u64 = 64;
}

/// How it stands, by what calls returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    established: bool,
    refused: bool,
    reset: bool,
    denied: bool,
    sent_end: bool,
    received_end: bool,
    /// The guest has said that it will not receive any more: what reads say then is not of the peer.
    stopped_receiving: bool,
    /// The beginning is not in the log.
    midstream: bool,
    /// The end is not in the log.
    lost: bool,
}

/// A connection: of a stream from the call that made it, of datagrams all that went between a socket
/// and one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The record that made it known: `sock_connect`, `sock_accept`, or the first call on a socket that
    /// the guest started with, or to or from a peer. It names the connection within its process.
    pub id: u64,
    /// The last record of a call on it.
    pub end_offset: u64,
    /// The descriptor that it had then.
    pub fd: u32,
    /// What it carries; none where calls are missing.
    pub transport: Option<Transport>,
    /// Who began it.
    pub role: Role,
    /// The guest's end.
    pub local: Option<Address>,
    /// The other end.
    pub peer: Option<Address>,
    /// The name that the guest gave to the server: in TLS, or else in the last lookup that resolved to
    /// the peer's address.
    pub server_name: Option<String>,
    /// What is spoken over it.
    pub protocol: Option<Protocol>,
    /// Whether the host does its TLS, so that what the guest sends and receives is clear text.
    pub offloaded: bool,
    /// When that call began, in nanoseconds since the process started; 0 where the guest started with
    /// the socket.
    pub opened_ns: u64,
    /// When the call began that closed it, or the process ended; none while it is open.
    pub closed_ns: Option<u64>,
    /// How many bytes the host took.
    pub bytes_sent: u64,
    /// How many bytes the guest was given.
    pub bytes_received: u64,
    /// How many calls sent something: of datagrams, how many were sent.
    pub sends: u64,
    /// How many calls received something: of datagrams, how many were received.
    pub receives: u64,
    /// What was odd, each once.
    pub oddities: Vec<Oddity>,
    /// The first error that connecting, sending or receiving gave, other than that the guest would have
    /// to wait.
    pub errno: Option<u64>,
    seen: Seen,
}

impl Connection {
    pub(super) fn new(id: u64, fd: u32, role: Role, opened_ns: u64) -> Connection {
        Connection {
            id,
            end_offset: id,
            fd,
            transport: None,
            role,
            local: None,
            peer: None,
            server_name: None,
            protocol: None,
            offloaded: false,
            opened_ns,
            closed_ns: None,
            bytes_sent: 0,
            bytes_received: 0,
            sends: 0,
            receives: 0,
            oddities: Vec::new(),
            errno: None,
            seen: Seen::default(),
        }
    }

    /// How far it came.
    #[must_use]
    pub fn state(&self) -> State {
        let seen = self.seen;
        let by_client = |client: State, server: State| match self.role {
            Role::Client => client,
            Role::Server => server,
        };
        if seen.denied && self.sends + self.receives == 0 {
            return State::Denied;
        }
        if seen.lost || seen.midstream {
            return State::Oth;
        }
        if seen.refused {
            return State::Rej;
        }
        if self.is_datagram() {
            return match self.sends > 0 && self.receives > 0 {
                true => State::Sf,
                false => State::S0,
            };
        }
        if seen.reset {
            // Of its own resets the guest learns nothing: this is the peer's.
            return by_client(State::Rstr, State::Rsto);
        }
        if !seen.established {
            return State::S0;
        }
        match (seen.sent_end, seen.received_end) {
            _ if self.closed_ns.is_some() => State::Sf,
            (true, true) => State::Sf,
            (true, false) => by_client(State::S2, State::S3),
            (false, true) => by_client(State::S3, State::S2),
            (false, false) => State::S1,
        }
    }

    /// Zeek's form of a name for it, unique among all processes: `C` and a hash of the process and
    /// [`Connection::id`].
    #[must_use]
    pub fn uid(&self, process: ProcessId) -> String {
        super::uid::of(process, self.id)
    }

    /// Whether it carries datagrams.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        self.transport.is_some_and(Transport::is_datagram)
    }

    /// Whether its beginning is not in the log, so that its first bytes may be in the middle of
    /// something.
    #[must_use]
    pub fn is_midstream(&self) -> bool {
        self.seen.midstream
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.seen.established && self.errno.is_none()
    }

    pub(super) fn is_established(&self) -> bool {
        self.seen.established
    }

    pub(super) fn establish(&mut self) {
        self.seen.established = true;
    }

    pub(super) fn deny(&mut self) {
        self.seen.denied = true;
    }

    pub(super) fn begin_midstream(&mut self) {
        self.seen.midstream = true;
        self.seen.established = true;
    }

    pub(super) fn lose(&mut self) {
        self.seen.lost = true;
    }

    pub(super) fn stop_receiving(&mut self) {
        self.seen.stopped_receiving = true;
    }

    /// A direction of it is at its end, which only an established one comes to. Returns whether that
    /// is new.
    pub(super) fn end(&mut self, direction: Direction) -> bool {
        self.seen.established = true;
        if direction == Direction::Received && self.seen.stopped_receiving {
            return false;
        }
        let ended = match direction {
            Direction::Sent => &mut self.seen.sent_end,
            Direction::Received => &mut self.seen.received_end,
        };
        !std::mem::replace(ended, true)
    }

    /// Takes what a call on it returned that did not succeed.
    pub(super) fn fail(&mut self, error: u64) {
        use errno::*;
        match error {
            // The guest is to wait, or has connected already.
            EAGAIN | EALREADY | EINPROGRESS | EINTR | EISCONN => return,
            // Datagrams that were answered had somebody to go to.
            ECONNREFUSED if self.is_datagram() => self.seen.refused |= self.receives == 0,
            ECONNREFUSED => self.seen.refused |= !self.seen.established,
            ECONNRESET | ECONNABORTED | ENETRESET => self.seen.reset = true,
            // It is also what the guest gets after it has ended its own direction.
            EPIPE => self.seen.reset |= !self.seen.sent_end,
            _ => {}
        }
        self.errno.get_or_insert(error);
    }

    /// Counts bytes, and returns how many went before them the same way.
    pub(super) fn count(&mut self, direction: Direction, size: u64) -> u64 {
        self.seen.established = true;
        let (bytes, calls) = match direction {
            Direction::Sent => (&mut self.bytes_sent, &mut self.sends),
            Direction::Received => (&mut self.bytes_received, &mut self.receives),
        };
        let position = *bytes;
        *bytes = bytes.saturating_add(size);
        *calls += 1;
        position
    }

    pub(super) fn note(&mut self, oddity: Oddity) {
        if !self.oddities.contains(&oddity) {
            self.oddities.push(oddity);
        }
    }
}

//! What the decoder of connections says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use timecraft_segment::Outcome;
use timecraft_segment::socket::{Address, Certificate, Transport};

use super::Connection;

/// What a record meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call on a socket, whatever it returned. It comes before all else that the record means.
    Call(Call),
    /// Bytes or a datagram that went over a connection.
    Data(Data),
    /// A direction of a stream came to its end.
    End(End),
    /// A name that was resolved, or was not.
    Lookup(Lookup),
    /// A TLS session, once as much is known of it as will be.
    Tls(Tls),
    /// Something odd.
    Warning(Warning),
    /// A connection that is not followed any further.
    Closed(Connection),
}

/// What a call on a socket was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A socket was made.
    Open,
    /// It was given an address.
    Bind,
    /// It was to be connected.
    Connect,
    /// It was to listen.
    Listen,
    /// A connection was taken from it: the descriptor and the addresses are those of the new socket.
    Accept,
    /// Bytes were to be sent.
    Send,
    /// Bytes were to be received.
    Receive,
    /// Bytes were looked at, and stay to be received.
    Peek,
    /// One or both directions were ended.
    Shutdown,
    /// The descriptor was closed.
    Close,
    /// The descriptor was given another number, the second argument of the call.
    Renumber,
    /// An option was asked for: of a connection in progress, how it ended.
    GetOption,
    /// An option was set: to hand TLS to the host is one.
    SetOption,
    /// The guest asked for its own address.
    LocalAddress,
    /// The guest asked for the peer's address.
    PeerAddress,
}

impl Action {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::Open => "open",
            Action::Bind => "bind",
            Action::Connect => "connect",
            Action::Listen => "listen",
            Action::Accept => "accept",
            Action::Send => "send",
            Action::Receive => "receive",
            Action::Peek => "peek",
            Action::Shutdown => "shutdown",
            Action::Close => "close",
            Action::Renumber => "renumber",
            Action::GetOption => "get_option",
            Action::SetOption => "set_option",
            Action::LocalAddress => "local_address",
            Action::PeerAddress => "peer_address",
        }
    }
}

/// A call on a socket. Its time, its bytes ([`payload`](super::payload)) and its note are in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it was for.
    pub action: Action,
    /// The descriptor: its first argument, or what it opened.
    pub fd: u32,
    /// The connection, where there is one by now.
    pub connection: Option<u64>,
    /// What the socket carries, where that is known.
    pub transport: Option<Transport>,
    /// The guest's end, as far as it is known after the call.
    pub local: Option<Address>,
    /// The other end: of a datagram, whom it went to or came from.
    pub peer: Option<Address>,
    /// How the call ended.
    pub outcome: Outcome,
    /// What it returned, 0 for success; none where it did not return.
    pub errno: Option<u64>,
    /// How many bytes it moved, where it moved some or succeeded.
    pub size: Option<u64>,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// From the guest.
    Sent,
    /// To the guest.
    Received,
}

impl Direction {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Sent => "sent",
            Direction::Received => "received",
        }
    }

    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
        }
    }
}

/// Bytes or a datagram that went over a connection. [`payload`](super::payload) gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The connection.
    pub connection: u64,
    /// The descriptor.
    pub fd: u32,
    /// Which way.
    pub direction: Direction,
    /// How many bytes went before them the same way.
    pub position: u64,
    /// How many they are. Only a datagram can be empty.
    pub size: u64,
    /// What carries them.
    pub transport: Option<Transport>,
    /// The guest's end.
    pub local: Option<Address>,
    /// The other end.
    pub peer: Option<Address>,
}

/// A direction of a stream came to its end: nothing more goes that way. It is said once, and not where
/// the whole connection is [closed](Event::Closed) before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The connection.
    pub connection: u64,
    /// The descriptor.
    pub fd: u32,
    /// Which way.
    pub direction: Direction,
}

/// Who was asked for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host.
    GetAddrInfo,
    /// A DNS server, by the guest itself.
    Dns,
}

impl Source {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::GetAddrInfo => "getaddrinfo",
            Source::Dns => "dns",
        }
    }
}

/// A name that was resolved, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The record of the question.
    pub offset: u64,
    /// The record of the answer; the same for the host's.
    pub end_offset: u64,
    /// When the question was asked, in nanoseconds since the process started.
    pub time_ns: u64,
    /// The name.
    pub name: String,
    /// The service, where the host was asked for one.
    pub service: Option<String>,
    /// Who was asked.
    pub source: Source,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Why there are none: an error of WASI by its name, a response code of DNS, or `unanswered`.
    pub error: Option<String>,
    /// How long the answer took, in nanoseconds; none where none came.
    pub duration_ns: Option<u64>,
}

/// A TLS session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The connection.
    pub connection: u64,
    /// The record of the client's first message; of an offloaded session, of the call that saw the
    /// handshake end.
    pub offset: u64,
    /// When that was, in nanoseconds since the process started.
    pub time_ns: u64,
    /// Whether the host did it for the guest; else it was seen in what the guest sent and received.
    pub offloaded: bool,
    /// `1.3`.
    pub version: Option<String>,
    /// The IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// The protocol that the server chose, where that can be seen.
    pub alpn: Option<String>,
    /// The name of the server that the client gave.
    pub server_name: Option<String>,
    /// The server's certificate, of an offloaded session.
    pub certificate: Option<Certificate>,
    /// The fingerprint of the client, of a session that was seen.
    pub ja4: Option<String>,
    /// Why it failed, in words.
    pub error: Option<String>,
}

/// Something odd, as Zeek's weirds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The connection.
    pub connection: u64,
    /// What.
    pub oddity: Oddity,
    /// More about it; empty where there is no more.
    pub detail: String,
}

/// What can be odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Oddity {
    /// Calls are missing from the log, and what they did to the connection is not known.
    RecordsMissing,
    /// The guest's buffer was too small for a datagram, and the rest is gone.
    DatagramTruncated,
    /// There were more peers than are followed, and the rest of the connection is another.
    PeersDropped,
    /// What should be the first message of a TLS handshake is none, or too long.
    TlsMalformed,
    /// There were more handshakes at once than are followed.
    TlsNotFollowed,
}

impl Oddity {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Oddity::RecordsMissing => "records_missing",
            Oddity::DatagramTruncated => "datagram_truncated",
            Oddity::PeersDropped => "peers_dropped",
            Oddity::TlsMalformed => "tls_malformed",
            Oddity::TlsNotFollowed => "tls_not_followed",
        }
    }

    /// The protocol in which it is odd; none for the socket itself.
    #[must_use]
    pub fn protocol(self) -> Option<&'static str> {
        match self {
            Oddity::TlsMalformed | Oddity::TlsNotFollowed => Some("tls"),
            Oddity::RecordsMissing | Oddity::DatagramTruncated | Oddity::PeersDropped => None,
        }
    }
}

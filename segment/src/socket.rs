//! Sockets in the log: addresses, the note that says what a socket is bound and connected to, and the
//! note that says what became of TLS.
//!
//! The runtime writes the notes and the decoders read them; both come here. What a call passed and what
//! the host wrote is read from the record itself, in [`passed`], [`returned`] and [`resolved`]. Nothing
//! here may look up a name or touch a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::describe::{self, Inputs};
use crate::function::{Kind, Scalar};
use crate::record::Record;
use crate::text;
use crate::wasmedge::{ADDRESS_BYTES, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX};

/// What a note that says the ends of a socket begins with.
const ENDS: &str = "socket: ";
/// What a note that says what became of TLS begins with.
const TLS: &str = "tls: ";
/// What stands between the local address and the peer's.
const ARROW: &str = " > ";

/// Where a socket is bound, or what it talks to.
///
/// As text it is `127.0.0.1:80`, `[::1]:80` or `unix:PATH`, where bytes of the path that are not
/// printable ASCII stand as `\xNN`, and spaces too. A socket without a name is `unix:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4 or IPv6, and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(Vec<u8>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => {
                f.write_str("unix:")?;
                for &byte in path {
                    match byte {
                        b'\\' => f.write_str("\\\\")?,
                        b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                        _ => write!(f, "\\x{byte:02x}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// The text is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a socket address: use IPV4:PORT, [IPV6]:PORT or unix:PATH")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(s: &str) -> Result<Address, NotAnAddress> {
        let Some(path) = s.strip_prefix("unix:") else {
            return s.parse().map(Address::Ip).map_err(|_| NotAnAddress);
        };
        let mut bytes = Vec::with_capacity(path.len());
        let mut rest = path.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            bytes.push(match (first, after) {
                (b'\\', [b'\\', after @ ..]) => {
                    rest = after;
                    b'\\'
                }
                (b'\\', [b'x', high, low, after @ ..]) => {
                    rest = after;
                    let digit = |d: u8| char::from(d).to_digit(16).ok_or(NotAnAddress);
                    (digit(*high)? << 4 | digit(*low)?) as u8
                }
                (&byte, _) => byte,
            });
        }
        Ok(Address::Unix(bytes))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A stream over IPv4 or IPv6.
    Tcp,
    /// Datagrams over IPv4 or IPv6.
    Udp,
    /// A stream between processes of the host.
    UnixStream,
    /// Datagrams between processes of the host.
    UnixDatagram,
}

impl Transport {
    const ALL: [Transport; 4] = [
        Transport::Tcp,
        Transport::Udp,
        Transport::UnixStream,
        Transport::UnixDatagram,
    ];

    /// `tcp`, `udp`, `unix_stream`, `unix_datagram`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::UnixStream => "unix_stream",
            Transport::UnixDatagram => "unix_datagram",
        }
    }

    /// Whether what is sent arrives in pieces of their own.
    #[must_use]
    pub fn is_datagram(self) -> bool {
        matches!(self, Transport::Udp | Transport::UnixDatagram)
    }
}

/// What the host knows of a socket after a call that changed it: the note of `sock_bind`,
/// `sock_connect`, `sock_listen` and `sock_accept` (there of the new socket), and of the first
/// `sock_send_to` of a socket that was not bound. The guest need not ask for any of it.
///
/// As text it is `socket: TRANSPORT LOCAL > PEER`; what is not known is `-`.
///
/// ```
/// use timecraft_segment::socket::Ends;
///
/// let note = "socket: tcp 127.0.0.1:49152 > 127.0.0.1:80";
/// let ends = Ends::parse(note).unwrap();
/// assert_eq!(ends.to_string(), note);
/// assert_eq!(Ends::parse("tls: {}"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// What it carries.
    pub transport: Transport,
    /// Where it is bound.
    #[serde(default)]
    pub local: Option<Address>,
    /// What it is connected to.
    #[serde(default)]
    pub peer: Option<Address>,
}

impl Ends {
    /// What a note says; none where it says something else.
    #[must_use]
    pub fn parse(note: &str) -> Option<Ends> {
        let (transport, rest) = note.strip_prefix(ENDS)?.split_once(' ')?;
        let (local, peer) = rest.split_once(ARROW)?;
        let address = |text: &str| match text {
            "-" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(Ends {
            transport: Transport::ALL.into_iter().find(|t| t.name() == transport)?,
            local: address(local)?,
            peer: address(peer)?,
        })
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |a: &Option<Address>| a.as_ref().map_or("-".to_owned(), Address::to_string);
        let (local, peer) = (text(&self.local), text(&self.peer));
        write!(f, "{ENDS}{} {local}{ARROW}{peer}", self.transport.name())
    }
}

/// A socket that the guest starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopened {
    /// Its descriptor.
    pub fd: u32,
    /// Whether it listens; else it is connected.
    pub listening: bool,
    /// What it is.
    #[serde(flatten)]
    pub ends: Ends,
}

/// What became of the TLS session that the host does for a guest: the note of the call on the
/// socket that saw the handshake end.
///
/// As text it is `tls: ` and this as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsNote {
    /// The name that the guest gave, which is verified and sent as SNI.
    pub server_name: String,
    /// `1.2` or `1.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The IANA name of the cipher suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// The protocol that the server chose, RFC 7301.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// The server's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Why it failed, in words; none where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is kept of an X.509 certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// Its issuer, as RFC 4514 writes it.
    pub issuer: String,
    /// SHA-256 of its DER form, in hexadecimal.
    pub sha256: String,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

impl TlsNote {
    /// What a note says; none where it says something else.
    #[must_use]
    pub fn parse(note: &str) -> Option<TlsNote> {
        serde_json::from_str(note.strip_prefix(TLS)?).ok()
    }
}

impl fmt::Display for TlsNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{TLS}{json}")
    }
}

/// The address that the guest passed to `sock_bind`, `sock_connect` or `sock_send_to`; none where it
/// passed none, or nothing that is one.
#[must_use]
pub fn passed(record: &Record<'_>) -> Option<Address> {
    let row = record.row()?;
    let at = row.position(|k| k == Kind::Address)?;
    let port = row.params.iter().position(|p| p.name == "port")?;
    let port = u16::try_from(*record.args.get(port)?).ok()?;
    address(Inputs::of(record).bytes(at), port)
}

/// The address that the host returned from `sock_recv_from`, `sock_getlocaladdr` or
/// `sock_getpeeraddr`. Version 1 of `sock_recv_from` returns no port, which is 0 then.
#[must_use]
pub fn returned(record: &Record<'_>) -> Option<Address> {
    let row = record.row()?;
    let at = row.position(|k| k == Kind::OutAddress)?;
    let inputs = Inputs::of(record);
    let (pointer, length) = inputs.array(at).split_first_chunk::<4>()?;
    let pointer = u64::from(u32::from_le_bytes(*pointer));
    let length = length.first_chunk::<4>().map(|n| u32::from_le_bytes(*n))?;
    let number = |scalar: fn(Kind) -> bool| {
        let i = row.outs.iter().position(|&p| scalar(row.params[p].kind))?;
        record.out(i)
    };
    let port = number(|k| k == Kind::Out(Scalar::Port)).unwrap_or(0) as u16;
    // The last write there: an address is written after what was received, as far as there is room. What
    // was received may lie there too.
    let written = describe::writes_at(record, pointer).last()?;
    let is_address = written.len() <= length as usize;
    address(written, port).filter(|_| is_address)
}

/// The addresses that `sock_getaddrinfo` returned, in its order.
#[must_use]
pub fn resolved(record: &Record<'_>) -> Vec<SocketAddr> {
    // The host writes each as one range of its own, and no other range of these sizes.
    let data = record.writes().filter_map(|write| {
        let (port, address) = write.bytes.as_slice().split_first_chunk::<2>()?;
        Some(SocketAddr::new(ip(address)?, u16::from_be_bytes(*port)))
    });
    match record.row() {
        Some(row) if row.name == "sock_getaddrinfo" => data.collect(),
        _ => Vec::new(),
    }
}

/// The host name and the service that `sock_getaddrinfo` was asked for, without zeros that end them.
#[must_use]
pub fn asked(record: &Record<'_>) -> Option<(String, String)> {
    let row = record.row()?;
    let inputs = Inputs::of(record);
    let mut texts = row.params.iter().enumerate().filter_map(|(i, p)| {
        let bytes = inputs.bytes(i);
        let text = text::lossless(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned();
        matches!(p.kind, Kind::Text { .. }).then_some(text)
    });
    Some((texts.next()?, texts.next()?))
}

/// The level, the name and the value of `sock_setsockopt`.
#[must_use]
pub fn option<'a>(record: &Record<'a>) -> Option<(u64, u64, &'a [u8])> {
    let row = record.row()?;
    let at = row.position(|k| matches!(k, Kind::InBytes { .. }))?;
    match *record.args {
        [_, level, name, ..] => Some((level, name, Inputs::of(record).bytes(at))),
        _ => None,
    }
}

/// An address as it lies in memory, of either version.
#[must_use]
pub fn address(bytes: &[u8], port: u16) -> Option<Address> {
    if bytes.len() < ADDRESS_BYTES {
        return Some(Address::Ip(SocketAddr::new(ip(bytes)?, port)));
    }
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let length = match u16::from_le_bytes(*family) {
        FAMILY_INET => 4,
        FAMILY_INET6 => 16,
        FAMILY_UNIX => {
            let end = rest.iter().position(|&b| b == 0)?;
            return Some(Address::Unix(rest.get(..end)?.to_vec()));
        }
        _ => return None,
    };
    Some(Address::Ip(SocketAddr::new(ip(rest.get(..length)?)?, port)))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|a| IpAddr::V4(Ipv4Addr::from(a)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|a| IpAddr::V6(Ipv6Addr::from(a)));
    v4.or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn any_address() -> impl Strategy<Value = Address> {
        prop_oneof![
            any::<(u32, u16)>()
                .prop_map(|(ip, port)| Address::Ip((Ipv4Addr::from(ip), port).into())),
            any::<(u128, u16)>()
                .prop_map(|(ip, port)| Address::Ip((Ipv6Addr::from(ip), port).into())),
            any::<Vec<u8>>().prop_map(Address::Unix),
        ]
    }

    proptest! {
        #[test]
        fn what_was_noted_is_read(
            transport in 0..Transport::ALL.len(),
            local in proptest::option::of(any_address()),
            peer in proptest::option::of(any_address()),
        ) {
            let ends = Ends { transport: Transport::ALL[transport], local, peer };
            prop_assert_eq!(Ends::parse(&ends.to_string()), Some(ends.clone()));
            let json = serde_json::to_string(&ends).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ends>(&json).unwrap(), ends);
        }
    }

    #[test]
    fn tls_notes_are_read() {
        let note = TlsNote {
            server_name: "example.com".to_owned(),
            version: Some("1.3".to_owned()),
            certificate: Some(Certificate {
                subject: "CN=\"a\"\n".to_owned(),
                ..Certificate::default()
            }),
            ..TlsNote::default()
        };
        assert_eq!(TlsNote::parse(&note.to_string()), Some(note));
        assert_eq!(TlsNote::parse("tls: {"), None);
    }

    #[test]
    fn addresses_of_both_versions_are_read() {
        let ip = |text: &str| Some(Address::Ip(text.parse().unwrap()));
        let wide = |family: u16, rest: &[u8]| {
            let mut bytes = [0; ADDRESS_BYTES];
            bytes[..2].copy_from_slice(&family.to_le_bytes());
            bytes[2..2 + rest.len()].copy_from_slice(rest);
            bytes
        };
        let loopback6 = Ipv6Addr::LOCALHOST.octets();
        assert_eq!(address(&[10, 0, 0, 1], 80), ip("10.0.0.1:80"));
        assert_eq!(address(&loopback6, 80), ip("[::1]:80"));
        assert_eq!(address(&wide(1, &[10, 0, 0, 1]), 80), ip("10.0.0.1:80"));
        assert_eq!(address(&wide(2, &loopback6), 80), ip("[::1]:80"));
        assert_eq!(
            address(&wide(3, b"/run/x\0y"), 0),
            Some(Address::Unix(b"/run/x".to_vec()))
        );
        assert_eq!(address(&wide(3, &[1; 126]), 0), None, "nothing ends it");
        assert_eq!(address(&wide(9, &[]), 0), None);
        assert_eq!(address(&[1, 2, 3], 0), None);
    }
}

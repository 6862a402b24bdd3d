//! What TLS says in the clear: the first message of each side, and alerts instead of one.
//!
//! [`first`] looks at the beginning of a stream; it keeps nothing and decrypts nothing. Structures are
//! those of RFC 8446, sections 4 and 5, and of RFC 5246 before it; what is not known is passed over.

mod ciphers;
mod ja4;

use serde::{Deserialize, Serialize};
use timecraft_segment::text;

pub use ciphers::cipher_name;

use crate::bytes::Bytes;

/// The longest first message that is looked at, in bytes, with the headers of its records.
pub const MAX_HELLO_BYTES: usize = 32 << 10;

/// What a stream of TLS begins with (RFC 8446, section 5.1).
const ALERT: u8 = 21;
/// The level of an alert that ends nothing.
const WARNING: u8 = 1;
/// The alert that is an end all the same.
const CLOSE_NOTIFY: u8 = 0;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// The longest name of a host (RFC 1035, section 2.3.4).
const MAX_SERVER_NAME: usize = 255;
/// The most that a record may hold (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;

/// Extensions, by their IANA numbers.
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The beginning of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// It is no TLS.
    Other,
    /// It can be TLS; once it is so many bytes long, look again.
    Incomplete(usize),
    /// It is TLS up to a message that makes no sense or is longer than [`MAX_HELLO_BYTES`].
    Malformed,
    /// A client's first message.
    Client(ClientHello),
    /// A server's first message.
    Server(ServerHello),
    /// An alert comes first; its number (RFC 8446, section 6).
    Alert(u8),
}

/// What a client offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// The version in the message itself, which TLS 1.3 leaves at 1.2.
    pub version: u16,
    /// The cipher suites, in the client's order.
    pub ciphers: Vec<u16>,
    /// The extensions, in the client's order.
    pub extensions: Vec<u16>,
    /// The name of the server, which RFC 6066 calls SNI.
    pub server_name: Option<String>,
    /// The protocols, RFC 7301.
    pub alpn: Vec<Vec<u8>>,
    /// The versions, where they are an extension.
    pub versions: Vec<u16>,
    /// The signature algorithms.
    pub signature_algorithms: Vec<u16>,
}

/// What a server chose. A request to try again (RFC 8446, section 4.1.4) says the same two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version.
    pub version: u16,
    /// The cipher suite.
    pub cipher: u16,
    /// The protocol, RFC 7301; TLS 1.3 says it where nobody sees it.
    pub alpn: Option<String>,
}

/// Looks at the first bytes of one direction of a stream.
#[must_use]
pub fn first(stream: &[u8]) -> First {
    let mut message = Vec::new();
    let mut rest = stream;
    loop {
        let at = stream.len() - rest.len();
        if at > MAX_HELLO_BYTES {
            return First::Malformed;
        }
        let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER>() else {
            return if is_begun(rest, message.is_empty()) {
                First::Incomplete(at + RECORD_HEADER)
            } else {
                First::Other
            };
        };
        let [kind, _, _, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !is_begun(header, message.is_empty()) || length == 0 || length > MAX_RECORD {
            return if at == 0 {
                First::Other
            } else {
                First::Malformed
            };
        }
        let Some((fragment, after)) = body.split_at_checked(length) else {
            return First::Incomplete(at + RECORD_HEADER + length);
        };
        if kind == ALERT {
            match fragment {
                // A warning, other than that this is the end: the answer is still to come.
                [WARNING, description] if *description != CLOSE_NOTIFY => {
                    rest = after;
                    continue;
                }
                [_, description] => return First::Alert(*description),
                _ => return First::Other,
            }
        }
        message.extend_from_slice(fragment);
        if let Some(first) = hello(&message) {
            return first;
        }
        rest = after;
    }
}

/// Whether these bytes can be the header of a record. No alert comes between pieces of a message.
fn is_begun(header: &[u8], alone: bool) -> bool {
    let kind = header.first();
    let is_kind = |kind: &u8| *kind == HANDSHAKE || *kind == ALERT && alone;
    kind.is_none_or(is_kind) && header.get(1).is_none_or(|major| *major == 3)
}

/// What the message is; none where it goes on.
fn hello(message: &[u8]) -> Option<First> {
    let mut bytes = Bytes::new(message);
    let kind = bytes.u8()?;
    if kind != CLIENT_HELLO && kind != SERVER_HELLO {
        return Some(First::Malformed);
    }
    let length = bytes.u24()?;
    if length + HANDSHAKE_HEADER > MAX_HELLO_BYTES {
        return Some(First::Malformed);
    }
    let body = Bytes::new(bytes.take(length)?);
    let parsed = match kind {
        CLIENT_HELLO => client(body).map(First::Client),
        _ => server(body).map(First::Server),
    };
    Some(parsed.unwrap_or(First::Malformed))
}

/// RFC 8446, section 4.1.2.
fn client(mut body: Bytes<'_>) -> Option<ClientHello> {
    let mut hello = ClientHello {
        version: body.u16()?,
        ..ClientHello::default()
    };
    let _random = body.take(32)?;
    let _session = body.vector8()?;
    hello.ciphers = body.vector16()?.numbers();
    let _compression = body.vector8()?;
    let mut extensions = extensions(body)?;
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut value = extensions.vector16()?;
        hello.extensions.push(kind);
        match kind {
            SERVER_NAME => {
                let mut names = value.vector16()?;
                // The one kind of name that there is.
                if names.u8()? == 0 {
                    let name = names.vector16()?.rest();
                    // No name of a host is longer, and it is kept for as long as the connection is.
                    if name.len() <= MAX_SERVER_NAME {
                        hello.server_name = Some(text::lossless(name).into_owned());
                    }
                }
            }
            ALPN => hello.alpn = protocols(value)?,
            SIGNATURE_ALGORITHMS => hello.signature_algorithms = value.vector16()?.numbers(),
            SUPPORTED_VERSIONS => hello.versions = value.vector8()?.numbers(),
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 8446, section 4.1.3.
fn server(mut body: Bytes<'_>) -> Option<ServerHello> {
    let mut hello = ServerHello {
        version: body.u16()?,
        ..ServerHello::default()
    };
    let _random = body.take(32)?;
    let _session = body.vector8()?;
    hello.cipher = body.u16()?;
    let _compression = body.u8()?;
    let mut extensions = extensions(body)?;
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut value = extensions.vector16()?;
        match kind {
            SUPPORTED_VERSIONS => hello.version = value.u16()?,
            ALPN => {
                let chosen = protocols(value)?.into_iter().next();
                hello.alpn = chosen.map(|name| text::lossless(&name).into_owned());
            }
            _ => {}
        }
    }
    Some(hello)
}

/// Before TLS 1.2 they may be absent.
fn extensions(mut body: Bytes<'_>) -> Option<Bytes<'_>> {
    if body.is_empty() {
        return Some(body);
    }
    body.vector16()
}

fn protocols(mut value: Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let mut names = value.vector16()?;
    let mut all = Vec::new();
    while !names.is_empty() {
        all.push(names.vector8()?.rest().to_vec());
    }
    Some(all)
}

/// The name of a version, as `1.3`; in hexadecimal where it has none.
#[must_use]
pub fn version_name(version: u16) -> String {
    match version {
        0x0300 => "ssl3".to_owned(),
        0x0301..=0x0304 => format!("1.{}", version - 0x0301),
        other => format!("{other:#06x}"),
    }
}

/// The name of an alert (RFC 8446, section 6, and RFC 5246, section 7.2), as `handshake_failure`.
#[must_use]
pub fn alert_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}

//! Rows of a trace as JSON objects. Bytes are hexadecimal digits, as wherever a format is text.

use std::fmt::Write;

use jiff::Timestamp;
use serde::Serialize;
use timecraft_segment::socket::{Address, Transport};

use super::row::{Ending, Row};
use crate::escape;

/// A row. Names are those of the tables, where these have one.
#[derive(Serialize)]
struct Object<'a> {
    record_offset: Option<u64>,
    time: String,
    elapsed_ns: u64,
    duration_ns: Option<u64>,
    event: &'a str,
    transport: Option<&'static str>,
    fd: Option<u32>,
    connection: Option<u64>,
    local_address: Option<String>,
    local_port: Option<u16>,
    peer_address: Option<String>,
    peer_port: Option<u16>,
    name: Option<&'a str>,
    error: Option<&'a str>,
    size: Option<u64>,
    addresses: &'a [std::net::IpAddr],
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

/// The row on one line, with its bytes where they are wanted.
///
/// # Errors
/// None that a row can cause; the encoder has them.
pub fn object(row: &Row<'_>, with_payload: bool) -> serde_json::Result<String> {
    let time = Timestamp::from_nanosecond(row.time.0.into()).unwrap_or_default();
    let (local_address, local_port) = parts(row.local.as_ref());
    let (peer_address, peer_port) = parts(row.peer.as_ref());
    let object = Object {
        record_offset: row.offset,
        time: format!("{time:.9}"),
        elapsed_ns: row.elapsed_ns,
        duration_ns: row.duration_ns,
        event: row.event,
        transport: row.transport.map(Transport::name),
        fd: row.fd,
        connection: row.connection,
        local_address,
        local_port,
        peer_address,
        peer_port,
        name: row.name.as_deref(),
        error: match &row.ending {
            Ending::Well => None,
            Ending::Otherwise(how) => Some(how),
        },
        size: row.size,
        addresses: &row.addresses,
        detail: row.detail.as_deref(),
        payload: (with_payload && row.size.is_some()).then(|| digits(&row.payload)),
    };
    let text = serde_json::to_string(&object)?;
    Ok(escape::json(&text).into_owned())
}

/// The address and the port of an end.
pub fn parts(end: Option<&Address>) -> (Option<String>, Option<u16>) {
    match end {
        Some(Address::Ip(ip)) => (Some(ip.ip().to_string()), Some(ip.port())),
        Some(unix @ Address::Unix(_)) => (Some(unix.to_string()), None),
        None => (None, None),
    }
}

/// Bytes as hexadecimal digits.
pub fn digits(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

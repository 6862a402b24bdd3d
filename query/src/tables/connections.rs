//! The table `connections`: one row for each connection of a guest, from the call that made it known to
//! its end.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, StringBuilder, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::{Address, Transport};
use timecraft_segment::wasi;
use timecraft_udfs::connections::{Connection, Event, Oddity, Protocol};

use super::call_columns::{longs, shared};
use super::sockets::{self, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table, list_of};

/// The table.
#[derive(Debug)]
pub(crate) struct Connections;

impl Table for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn description(&self) -> &'static str {
        "A connection: of a stream its life, of datagrams all that went between a socket and a peer"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process whose connection it is."),
            Column::long(
                "connection",
                "What names it in the process: the record that made it known.",
            ),
            Column::text(
                "connection_uid",
                "What names it among all processes, in Zeek's form.",
            ),
            Column::long(
                "record_offset",
                "The record that made it known: of sock_connect, of sock_accept, or of the first \
                 call that used it.",
            ),
            Column::long("end_record_offset", "The last record of a call on it."),
            Column::int("fd", "The descriptor that it had first."),
            Column::text(
                "transport",
                "tcp, udp, unix_stream or unix_datagram; null where calls are missing.",
            )
            .nullable(),
            Column::text(
                "role",
                "client where the guest connected or sent the first datagram, else server.",
            ),
            Column::text(
                "local_address",
                "The guest's address; of a Unix socket unix: and its path.",
            )
            .nullable(),
            Column::int("local_port", "The guest's port.").nullable(),
            Column::text("peer_address", "The other side's address.").nullable(),
            Column::int("peer_port", "The other side's port.").nullable(),
            Column::text(
                "server_name",
                "The server's name: the client's in TLS, else the last one that was resolved to \
                 the peer's address.",
            )
            .nullable(),
            Column::text(
                "protocol",
                "http, h2, tls or dns, by the first bytes, of dns also by the port; null for others.",
            )
            .nullable(),
            Column::time(
                "open_time",
                "When the call began that made it known; the process's start where it began with it.",
            ),
            Column::time(
                "close_time",
                "When the call began that closed it, or the process ended; null while it is open and \
                 where its end is not in the log.",
            )
            .nullable(),
            Column::long("duration_ns", "The time in between, in nanoseconds.").nullable(),
            Column::long("bytes_sent", "How many bytes the host took."),
            Column::long("bytes_received", "How many bytes the guest was given."),
            Column::long("sends", "How many calls sent something, or datagrams were sent."),
            Column::long(
                "receives",
                "How many calls received something, or datagrams were received.",
            ),
            Column::text(
                "state",
                "How far it came, as Zeek's conn_state: S0, S1, S2, S3, SF, REJ, RSTO, RSTR, OTH; \
                 DENIED where policy refused it.",
            ),
            Column::new(
                "warnings",
                list_of(DataType::Utf8),
                "What was odd, by the names of the table warnings.",
            ),
            Column::text(
                "error",
                "The first error that connecting, sending or receiving gave, as ECONNRESET; EAGAIN \
                 and EINPROGRESS are none.",
            )
            .nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        1_000
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let content = ["server_name", "protocol", "warnings"];
        let began_with_any = process.start().sockets.iter().any(|s| !s.listening);
        let wants = Wants {
            content: content.iter().any(|column| scan.wants(column)),
            late: true,
            name: if began_with_any {
                making_or_older
            } else {
                making
            },
        };
        let row = |_, event| match event {
            Event::Closed(connection) => Some(connection),
            _ => None,
        };
        sockets::rows(process, scan, out, wants, columns, row, |end| {
            end.open().cloned().collect()
        })
    }
}

/// What is known of a connection from the chunk alone in which it was made known.
fn making(column: &str) -> &str {
    match column {
        "open_time" => "time",
        _ => making_or_older(column),
    }
}

/// The same where the guest began with connections, which are older than the first call on them.
fn making_or_older(column: &str) -> &str {
    match column {
        "connection" | "record_offset" => "record_offset",
        "process_id" | "fd" => column,
        _ => "",
    }
}

fn columns(process: &Snapshot, rows: &[Connection]) -> Step<Vec<ArrayRef>> {
    let id = process.process_id();
    let numbers = |value: fn(&Connection) -> u64| longs(rows.iter().map(|c| long(value(c))));
    let closed = rows
        .iter()
        .map(|c| c.closed_ns.map(|ns| moment(process, ns)));
    let closed: TimestampMicrosecondArray = closed.collect();
    let durations = rows
        .iter()
        .map(|c| Some(long(c.closed_ns?.saturating_sub(c.opened_ns))));
    let oddities = rows
        .iter()
        .map(|c| c.oddities.iter().map(|&o| Oddity::name(o)));
    Ok(vec![
        process_ids(process, rows.len())?,
        numbers(|c| c.id),
        Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|c| c.uid(id)),
        )),
        numbers(|c| c.id),
        numbers(|c| c.end_offset),
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|c| c.fd.cast_signed()),
        )),
        texts(rows.iter().map(|c| c.transport.map(Transport::name))),
        texts(rows.iter().map(|c| Some(c.role.name()))),
        addresses(rows.iter().map(|c| c.local.as_ref())),
        ports(rows.iter().map(|c| c.local.as_ref())),
        addresses(rows.iter().map(|c| c.peer.as_ref())),
        ports(rows.iter().map(|c| c.peer.as_ref())),
        texts(rows.iter().map(|c| c.server_name.as_deref())),
        texts(rows.iter().map(|c| c.protocol.map(Protocol::name))),
        times(rows.iter().map(|c| moment(process, c.opened_ns))),
        Arc::new(closed.with_timezone("UTC")),
        Arc::new(durations.collect::<Int64Array>()),
        numbers(|c| c.bytes_sent),
        numbers(|c| c.bytes_received),
        numbers(|c| c.sends),
        numbers(|c| c.receives),
        texts(rows.iter().map(|c| Some(c.state().name()))),
        lists(oddities),
        texts(rows.iter().map(|c| wasi::errno_name(c.errno?))),
    ])
}

pub(super) fn process_ids(process: &Snapshot, rows: usize) -> Step<ArrayRef> {
    let id = process.process_id().to_string();
    let id = StringViewArray::from_iter_values([id]);
    Ok(shared(&id, (0..rows).map(|_| 0))?)
}

pub(super) fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values))
}

/// Addresses without their ports.
pub(super) fn addresses<'a>(values: impl Iterator<Item = Option<&'a Address>>) -> ArrayRef {
    texts(values.map(|address| {
        address.map(|address| match address {
            Address::Ip(ip) => ip.ip().to_string(),
            Address::Unix(_) => address.to_string(),
        })
    }))
}

pub(super) fn ports<'a>(values: impl Iterator<Item = Option<&'a Address>>) -> ArrayRef {
    let port = |address: Option<&Address>| match address? {
        Address::Ip(ip) => Some(i32::from(ip.port())),
        Address::Unix(_) => None,
    };
    Arc::new(values.map(port).collect::<Int32Array>())
}

pub(super) fn lists<T: AsRef<str>>(
    values: impl Iterator<Item = impl Iterator<Item = T>>,
) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in values {
        list.for_each(|text| builder.values().append_value(text));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

//! Rows of a trace: calls on sockets, names that were resolved, TLS, and what was odd.
//!
//! A row holds what was recorded, as it is; how it looks is said elsewhere.

use std::borrow::Cow;
use std::net::IpAddr;

use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{Address, Transport};
use timecraft_segment::{Outcome, Record, UnixNs, wasi};
use timecraft_udfs::connections::{Action, Call, Connection, Event, Lookup, Tls, Warning, payload};

use super::walk::Meant;

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row<'a> {
    /// The record; none where records are missing.
    pub offset: Option<u64>,
    /// When it began.
    pub time: UnixNs,
    /// The same in nanoseconds since the process started.
    pub elapsed_ns: u64,
    /// How long it took, in nanoseconds; none where it did not end.
    pub duration_ns: Option<u64>,
    /// What happened: the name of the decoder's action, or `lookup`, `tls`, `warning`.
    pub event: &'static str,
    /// Who speaks: of what was received, the peer.
    pub by_peer: bool,
    pub transport: Option<Transport>,
    pub fd: Option<u32>,
    pub connection: Option<u64>,
    pub local: Option<Address>,
    pub peer: Option<Address>,
    /// The name of the server, or the name that was looked up.
    pub name: Option<String>,
    /// How it ended.
    pub ending: Ending,
    /// How many bytes were moved.
    pub size: Option<u64>,
    /// Those bytes.
    pub payload: Cow<'a, [u8]>,
    /// What a name was resolved to.
    pub addresses: Vec<IpAddr>,
    /// More in words: the directions of a shutdown, what of TLS was agreed, what policy refused.
    pub detail: Option<String>,
    /// Whether it tells little: it moved nothing, connected nothing and ended nothing.
    pub minor: bool,
}

/// How something ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    #[default]
    Well,
    /// With that error, or not at all: in flight, interrupted.
    Otherwise(String),
}

/// The rows of what a record meant.
pub fn rows<'a>(start: UnixNs, meant: &Meant<'a>) -> Vec<Row<'a>> {
    let at = |elapsed_ns| Row {
        offset: meant.record.map(|record| record.offset.0),
        time: start.plus(timecraft_segment::ElapsedNs(elapsed_ns)),
        elapsed_ns,
        ..Row::default()
    };
    let now = meant.record.map_or(0, |record| record.start.0);
    let of = |id| {
        let open = meant.connections.iter().find(|c| c.id == id);
        open.or_else(|| {
            meant.events.iter().find_map(|event| match event {
                Event::Closed(connection) if connection.id == id => Some(connection),
                _ => None,
            })
        })
    };
    let mut rows = Vec::new();
    for event in meant.events {
        rows.extend(match event {
            Event::Call(call) => meant.record.map(|record| {
                let connection = call.connection.and_then(of);
                of_call(at(now), record, call, connection)
            }),
            Event::Lookup(lookup) => Some(of_lookup(at(lookup.time_ns), lookup)),
            Event::Tls(tls) => Some(of_tls(with(at(tls.time_ns), of(tls.connection)), tls)),
            Event::Warning(warning) => {
                let connection = of(warning.connection);
                Some(of_warning(with(at(now), connection), warning))
            }
            // What they say, the calls before them have said.
            Event::Data(_) | Event::End(_) | Event::Closed(_) => None,
        });
    }
    rows
}

/// The row with what is known of its connection.
fn with<'a>(row: Row<'a>, connection: Option<&Connection>) -> Row<'a> {
    match connection {
        Some(connection) => Row {
            transport: connection.transport,
            fd: Some(connection.fd),
            connection: Some(connection.id),
            local: connection.local.clone(),
            peer: connection.peer.clone(),
            name: connection.server_name.clone(),
            ..row
        },
        None => row,
    }
}

fn of_call<'a>(
    row: Row<'a>,
    record: &Record<'a>,
    call: &Call,
    connection: Option<&Connection>,
) -> Row<'a> {
    /// The guest would have had to wait.
    const EAGAIN: u64 = 6;
    let moves = matches!(call.action, Action::Send | Action::Receive | Action::Peek);
    let ending = match (call.outcome, call.errno) {
        (Outcome::Returned, None | Some(0)) => Ending::Well,
        (Outcome::Returned, Some(errno)) => Ending::Otherwise(
            wasi::errno_name(errno).map_or_else(|| format!("errno {errno}"), str::to_owned),
        ),
        (outcome, _) => Ending::Otherwise(outcome.name().to_owned()),
    };
    let denial = record.note.and_then(Denial::parse);
    let detail = match (call.action, denial) {
        (_, Some(denial)) => Some(format!(
            "not granted: {}; {} grants it",
            denial.resource, denial.would_need
        )),
        (Action::Shutdown, None) => match record.args.get(1) {
            Some(1) => Some("receiving".to_owned()),
            Some(2) => Some("sending".to_owned()),
            _ => Some("both".to_owned()),
        },
        (Action::Renumber, None) => record.args.get(1).map(|to| format!("to {to}")),
        _ => None,
    };
    Row {
        duration_ns: (call.outcome != Outcome::InFlight).then_some(record.duration_ns),
        event: call.action.name(),
        by_peer: matches!(call.action, Action::Receive | Action::Peek | Action::Accept),
        transport: call.transport,
        fd: Some(call.fd),
        connection: call.connection,
        local: call.local.clone(),
        peer: call.peer.clone(),
        name: connection.and_then(|c| c.server_name.clone()),
        ending,
        size: call.size.filter(|_| moves),
        payload: match call.size {
            Some(size) if moves => payload(record, size),
            _ => Cow::Borrowed(&[]),
        },
        detail,
        minor: call.errno == Some(EAGAIN) && call.action != Action::Connect
            || matches!(
                call.action,
                Action::Open
                    | Action::GetOption
                    | Action::SetOption
                    | Action::LocalAddress
                    | Action::PeerAddress
                    | Action::Renumber
                    | Action::Peek
            ),
        ..row
    }
}

fn of_lookup<'a>(row: Row<'a>, lookup: &Lookup) -> Row<'a> {
    Row {
        offset: Some(lookup.offset),
        duration_ns: lookup.duration_ns,
        event: "lookup",
        name: Some(lookup.name.clone()),
        ending: match &lookup.error {
            None => Ending::Well,
            Some(error) => Ending::Otherwise(error.clone()),
        },
        addresses: lookup.addresses.clone(),
        detail: Some(lookup.source.name().to_owned()),
        ..row
    }
}

fn of_tls<'a>(row: Row<'a>, tls: &Tls) -> Row<'a> {
    let parts = [
        tls.version.as_deref(),
        tls.cipher.as_deref(),
        tls.alpn.as_deref(),
    ];
    let mut parts: Vec<&str> = parts.into_iter().flatten().collect();
    parts.push(if tls.offloaded {
        "by the host"
    } else {
        "by the guest"
    });
    Row {
        offset: Some(tls.offset),
        event: "tls",
        connection: Some(tls.connection),
        name: tls.server_name.clone().or(row.name),
        ending: match &tls.error {
            None => Ending::Well,
            Some(error) => Ending::Otherwise(error.clone()),
        },
        detail: Some(parts.join(" ")),
        ..row
    }
}

fn of_warning<'a>(row: Row<'a>, warning: &Warning) -> Row<'a> {
    Row {
        event: "warning",
        connection: Some(warning.connection),
        ending: Ending::Otherwise(warning.oddity.name().to_owned()),
        detail: Some(warning.detail.clone()).filter(|detail| !detail.is_empty()),
        ..row
    }
}

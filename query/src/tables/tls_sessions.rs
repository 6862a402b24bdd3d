//! The table `tls_sessions`: one row for each TLS session, of those that the host does for a guest all
//! that it noted, of a guest's own what both sides say in the clear.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::Certificate;
use timecraft_udfs::connections::{Event, Tls};

use super::call_columns::longs;
use super::connections::{process_ids, texts};
use super::sockets::{self, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table, time_type};

/// The table.
#[derive(Debug)]
pub(crate) struct TlsSessions;

impl Table for TlsSessions {
    fn name(&self) -> &'static str {
        "tls_sessions"
    }

    fn description(&self) -> &'static str {
        "A TLS session, offloaded or seen in the clear parts"
    }

    fn columns(&self) -> Vec<Column> {
        let of_offloaded = |name, description| Column::text(name, description).nullable();
        vec![
            Column::text("process_id", "The process whose session it is."),
            Column::long("connection", "The connection, as in connections."),
            Column::long(
                "record_offset",
                "The record with the client's first message; of an offloaded session, of the call \
                 that saw the handshake end.",
            ),
            Column::time("time", "When the guest entered the host with that call."),
            Column::new(
                "offloaded",
                DataType::Boolean,
                "Whether the host did TLS for the guest, which sent and received clear text.",
            ),
            Column::text(
                "version",
                "1.3, 1.2 and so on; null where no server answered.",
            )
            .nullable(),
            Column::text("cipher", "The IANA name of the cipher suite.").nullable(),
            Column::text(
                "alpn",
                "The protocol that the server chose; TLS 1.3 says it where only its ends see it.",
            )
            .nullable(),
            Column::text("server_name", "The name that the client asked for.").nullable(),
            of_offloaded(
                "certificate_subject",
                "The subject of the server's certificate; of offloaded sessions.",
            ),
            of_offloaded(
                "certificate_issuer",
                "Who issued it; of offloaded sessions.",
            ),
            of_offloaded(
                "certificate_sha256",
                "SHA-256 of its DER form, in hexadecimal; of offloaded sessions.",
            ),
            Column::new(
                "not_after",
                time_type(),
                "When it ends; of offloaded sessions.",
            )
            .nullable(),
            Column::text(
                "ja4",
                "JA4, the fingerprint of the client; of a guest's own sessions.",
            )
            .nullable(),
            Column::text("error", "Why the handshake failed, in words.").nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        100
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let wants = Wants {
            content: true,
            late: true,
            name: sockets::call,
        };
        let row = |_, event| match event {
            Event::Tls(tls) => Some(tls),
            _ => None,
        };
        sockets::rows(process, scan, out, wants, columns, row, |end| {
            end.unanswered_tls().collect()
        })
    }
}

fn columns(process: &Snapshot, rows: &[Tls]) -> Step<Vec<ArrayRef>> {
    let text =
        |value: fn(&Tls) -> &Option<String>| texts(rows.iter().map(|tls| value(tls).as_deref()));
    let certificate = |value: fn(&Certificate) -> &str| {
        texts(rows.iter().map(|tls| tls.certificate.as_ref().map(value)))
    };
    let ends = rows.iter().map(|tls| {
        let seconds = tls.certificate.as_ref()?.not_after;
        Some(seconds.saturating_mul(1_000_000))
    });
    let ends: TimestampMicrosecondArray = ends.collect();
    let offloaded = rows.iter().map(|tls| Some(tls.offloaded));
    Ok(vec![
        process_ids(process, rows.len())?,
        longs(rows.iter().map(|tls| long(tls.connection))),
        longs(rows.iter().map(|tls| long(tls.offset))),
        times(rows.iter().map(|tls| moment(process, tls.time_ns))),
        Arc::new(offloaded.collect::<BooleanArray>()),
        text(|tls| &tls.version),
        text(|tls| &tls.cipher),
        text(|tls| &tls.alpn),
        text(|tls| &tls.server_name),
        certificate(|c| &c.subject),
        certificate(|c| &c.issuer),
        certificate(|c| &c.sha256),
        Arc::new(ends.with_timezone("UTC")),
        text(|tls| &tls.ja4),
        text(|tls| &tls.error),
    ])
}

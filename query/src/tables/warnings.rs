//! The table `warnings`: one row for each oddity that decoding met, by a name of its own, as Zeek's
//! weirds.

use arrow::array::ArrayRef;
use timecraft_segment::snapshot::Snapshot;
use timecraft_udfs::connections::{Event, Warning};

use super::call_columns::longs;
use super::connections::{process_ids, texts};
use super::sockets::{self, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Warnings;

impl Table for Warnings {
    fn name(&self) -> &'static str {
        "warnings"
    }

    fn description(&self) -> &'static str {
        "An oddity, named, as Zeek's weirds"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process in whose calls it was."),
            Column::long("connection", "The connection, as in connections."),
            Column::long(
                "record_offset",
                "The record that shows it; where records are missing the one after them.",
            ),
            Column::time("time", "When the guest entered the host with it."),
            Column::text(
                "protocol",
                "The protocol in which it is odd; null for the socket itself.",
            )
            .nullable(),
            Column::text(
                "name",
                "What: records_missing, datagram_truncated, peers_dropped, tls_malformed, \
                 tls_not_followed, dns_malformed.",
            ),
            Column::text("detail", "More about it.").nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        10
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let wants = Wants {
            content: true,
            late: false,
            name: sockets::call,
        };
        let row = |from: sockets::From, event| match event {
            Event::Warning(warning) => Some(Row {
                offset: from.offset,
                time_ns: from.start,
                warning,
            }),
            _ => None,
        };
        sockets::rows(process, scan, out, wants, columns, row, |_| Vec::new())
    }
}

struct Row {
    offset: u64,
    time_ns: u64,
    warning: Warning,
}

fn columns(process: &Snapshot, rows: &[Row]) -> Step<Vec<ArrayRef>> {
    let details = rows.iter().map(|row| row.warning.detail.as_str());
    Ok(vec![
        process_ids(process, rows.len())?,
        longs(rows.iter().map(|row| long(row.warning.connection))),
        longs(rows.iter().map(|row| long(row.offset))),
        times(rows.iter().map(|row| moment(process, row.time_ns))),
        texts(rows.iter().map(|row| row.warning.oddity.protocol())),
        texts(rows.iter().map(|row| Some(row.warning.oddity.name()))),
        texts(details.map(|detail| Some(detail).filter(|text| !text.is_empty()))),
    ])
}

//! The table `name_lookups`: one row for each name that a guest had resolved by its host, or asked a
//! DNS server for itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use timecraft_segment::snapshot::Snapshot;
use timecraft_udfs::connections::{Event, Lookup};

use super::call_columns::longs;
use super::connections::{lists, process_ids, texts};
use super::sockets::{self, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct NameLookups;

impl Table for NameLookups {
    fn name(&self) -> &'static str {
        "name_lookups"
    }

    fn description(&self) -> &'static str {
        "A name resolved, by the host or by the guest's own DNS"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that asked."),
            Column::long(
                "record_offset",
                "The record of sock_getaddrinfo, or of the send of the query.",
            ),
            Column::time("time", "When the guest entered the host to ask."),
            Column::text(
                "name",
                "The name; as the guest gave it to the host, in lower case to a DNS server.",
            ),
            Column::text("service", "The service, where the host was asked for one.").nullable(),
            Column::text(
                "source",
                "getaddrinfo where the host was asked, dns where the guest asked a server.",
            ),
            Column::texts("addresses", "The addresses, in the order of the answer."),
            Column::text(
                "error",
                "Why there are none: the errno's name, the DNS response code as NXDOMAIN, truncated \
                 or unanswered.",
            )
            .nullable(),
            Column::long(
                "duration_ns",
                "How long the answer took, in nanoseconds; null where none came.",
            )
            .nullable(),
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
            Event::Lookup(lookup) => Some(lookup),
            _ => None,
        };
        sockets::rows(process, scan, out, wants, columns, row, |_| Vec::new())
    }
}

fn columns(process: &Snapshot, rows: &[Lookup]) -> Step<Vec<ArrayRef>> {
    let durations = rows.iter().map(|lookup| lookup.duration_ns.map(long));
    let lists_of = |lookup: &Lookup| {
        let texts: Vec<_> = lookup.addresses.iter().map(ToString::to_string).collect();
        texts.into_iter()
    };
    Ok(vec![
        process_ids(process, rows.len())?,
        longs(rows.iter().map(|lookup| long(lookup.offset))),
        times(rows.iter().map(|lookup| moment(process, lookup.time_ns))),
        texts(rows.iter().map(|lookup| Some(&lookup.name))),
        texts(rows.iter().map(|lookup| lookup.service.as_deref())),
        texts(rows.iter().map(|lookup| Some(lookup.source.name()))),
        lists(rows.iter().map(lists_of)),
        texts(rows.iter().map(|lookup| lookup.error.as_deref())),
        Arc::new(durations.collect::<Int64Array>()),
    ])
}

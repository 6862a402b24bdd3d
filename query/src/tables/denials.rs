//! The table `denials`: one row for each call that was refused because what it asked for had not been
//! granted. What the host's own system refused is none.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use timecraft_segment::denial::Denial;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{Outcome, Projection, Record};

use super::call_columns::{longs, shared};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Denials;

impl Table for Denials {
    fn name(&self) -> &'static str {
        "denials"
    }

    fn description(&self) -> &'static str {
        "A thing refused by policy"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that was refused it."),
            Column::long("record_offset", "The record of the call."),
            Column::time("time", "When the guest entered the host."),
            Column::text("function", "The function that it called."),
            Column::text(
                "resource",
                "What it asked for, as write access to \"/data/a\".",
            ),
            Column::text(
                "rule",
                "What forbade it: the flag that granted less, or default where nothing was granted.",
            ),
            Column::text("would_need", "The flag that would grant it."),
        ]
    }

    fn rows_guessed(&self) -> usize {
        10
    }

    fn splits(&self, _scan: &Scan) -> bool {
        true
    }

    fn split(&self, process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
        let mut keep = scan.pruner.keep(&Chunks::of(process));
        for (keep, chunk) in keep.iter_mut().zip(process.chunks()) {
            *keep &= chunk.summary().any_failed;
        }
        out.metrics.count_chunks(process, &keep);
        let kept = (0..keep.len()).filter(|&at| keep[at]);
        kept.map(|at| at..at + 1).collect()
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Chunks(process, part) = item else {
            return Ok(());
        };
        let Some(chunk) = process.chunks().get(part.start) else {
            return Ok(());
        };
        // A note is in the payload, and only a call that failed has one of a denial.
        let Some(calls) = scan.pin.read(process, chunk, Projection::RESULTS)? else {
            return Ok(());
        };
        out.metrics.count_bytes(chunk, Projection::RESULTS);
        let mut outcomes = calls.outcomes.iter().zip(&calls.results);
        if !outcomes.any(|(outcome, result)| *outcome == Outcome::Returned && *result != 0) {
            return Ok(());
        }
        let Some(calls) = scan.pin.read(process, chunk, Projection::ALL)? else {
            return Ok(());
        };
        out.metrics.count_bytes(chunk, Projection::ALL);
        let mut denied = Vec::new();
        for record in calls.iter() {
            if record.outcome == Outcome::Returned
                && record.result != 0
                && let Some(denial) = record.note.and_then(Denial::parse)
            {
                denied.push((record, denial));
                if denied.len() >= out.batch_rows() {
                    flush(process, &mut denied, out)?;
                }
            }
        }
        flush(process, &mut denied, out)
    }
}

fn flush(process: &Snapshot, denied: &mut Vec<(Record<'_>, Denial)>, out: &mut Output<'_>) -> Step {
    let start = process.start().start_time;
    let id = process.process_id().to_string();
    let texts = |value: fn(&Denial) -> &str| -> ArrayRef {
        let values = denied.iter().map(|(_, denial)| value(denial));
        Arc::new(StringViewArray::from_iter_values(values))
    };
    let functions = denied.iter().map(|(record, _)| record.row());
    let functions = functions.map(|row| row.map_or("", |row| row.name));
    let arrays: Vec<ArrayRef> = vec![
        shared(
            &StringViewArray::from_iter_values([id]),
            denied.iter().map(|_| 0),
        )?,
        longs(denied.iter().map(|(record, _)| long(record.offset.0))),
        times(
            denied
                .iter()
                .map(|(record, _)| micros(start.plus(record.start))),
        ),
        Arc::new(StringViewArray::from_iter_values(functions)),
        texts(|denial| &denial.resource),
        texts(|denial| &denial.rule),
        texts(|denial| &denial.would_need),
    ];
    let rows = denied.len();
    denied.clear();
    out.emit(rows, &arrays)
}

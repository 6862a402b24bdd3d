//! The table `system.gaps`: one row for each time that a guest went on while its calls could not be
//! recorded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{ElapsedNs, FunctionId, Gap, Projection};

use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Gaps;

impl Table for Gaps {
    fn name(&self) -> &'static str {
        "gaps"
    }

    fn description(&self) -> &'static str {
        "A time in which a guest's calls could not be recorded"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process whose log has the gap."),
            Column::long("record_offset", "The record that says so, after the gap."),
            Column::time("time", "When recording failed."),
            Column::long(
                "elapsed_ns",
                "The same, in nanoseconds since the process started.",
            ),
            Column::long(
                "duration_ns",
                "How long it took until recording could go on, or the process ended, in nanoseconds.",
            ),
            Column::long("calls", "How many calls are missing."),
            Column::text("reason", "Why recording failed."),
        ]
    }

    fn splits(&self, _scan: &Scan) -> bool {
        true
    }

    fn split(&self, process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
        let mut keep = scan.pruner.keep(&Chunks::of(process).named(record));
        for (keep, chunk) in keep.iter_mut().zip(process.chunks()) {
            *keep &= chunk.summary().may_have_function(FunctionId::GAP);
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
        let Some(calls) = scan.pin.read(process, chunk, Projection::ALL)? else {
            return Ok(());
        };
        out.metrics.count_bytes(chunk, Projection::ALL);
        for record in calls.iter().filter(|r| r.function == FunctionId::GAP) {
            // One that does not parse was written by a later version, and is a gap all the same.
            let gap: Gap = serde_json::from_slice(record.input).unwrap_or_else(|_| Gap {
                calls: 0,
                from_ns: record.start.0,
                to_ns: record.start.0,
                reason: String::from_utf8_lossy(record.input).into_owned(),
            });
            let start = process.start().start_time;
            let longs = |value| -> ArrayRef { Arc::new(Int64Array::from(vec![long(value)])) };
            let text = |value| -> ArrayRef { Arc::new(StringViewArray::from_iter_values([value])) };
            let arrays = [
                text(process.process_id().to_string()),
                longs(record.offset.0),
                times(std::iter::once(micros(start.plus(ElapsedNs(gap.from_ns))))),
                longs(gap.from_ns),
                longs(gap.to_ns.saturating_sub(gap.from_ns)),
                longs(gap.calls),
                text(gap.reason),
            ];
            out.emit(1, &arrays)?;
        }
        Ok(())
    }
}

/// Of a gap, a chunk knows where its record is, and not when it was.
fn record(column: &str) -> &str {
    match column {
        "process_id" | "record_offset" => column,
        _ => "",
    }
}

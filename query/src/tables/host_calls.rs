//! The table `host_calls`: one row for each call that a guest made. Events of the process have
//! offsets too and are no rows.
//!
//! A chunk's rows are made in stages. The predicates that need no payload are evaluated first, on
//! columns made of the call section alone; then those that do; and only for the rows that are left
//! are the columns made that were asked for. What a stage does not need is not decompressed.

use std::ops::Range;

use timecraft_segment::{Projection, Snapshot};

use super::call_columns::{Call, Reader, needs};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::Chunks;
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct HostCalls;

impl Table for HostCalls {
    fn name(&self) -> &'static str {
        "host_calls"
    }

    fn description(&self) -> &'static str {
        "A host call"
    }

    fn columns(&self) -> Vec<Column> {
        Call::ALL.iter().map(|column| column.column()).collect()
    }

    fn rows_guessed(&self) -> usize {
        100_000
    }

    fn splits(&self, _scan: &Scan) -> bool {
        true
    }

    fn is_costly(&self, column: usize) -> bool {
        needs(&[column]).has(Projection::PAYLOAD)
    }

    fn split(&self, process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
        let keep = scan.pruner.keep(&Chunks::of(process));
        out.metrics.count_chunks(process, &keep);
        let kept = (0..keep.len()).filter(|&at| keep[at]);
        kept.map(|at| at..at + 1).collect()
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Chunks(process, chunks) = item else {
            return Ok(());
        };
        let Some(chunk) = process.chunks().get(chunks.start) else {
            return Ok(());
        };
        // A join may have learned since the process was opened which rows it wants.
        let alone = Chunks::some(process, std::slice::from_ref(chunk));
        if scan.pruner.learns() && scan.pruner.keep(&alone) == [false] {
            out.metrics.chunks.subtract_matched(1);
            out.metrics.chunks.add_pruned(1);
            return Ok(());
        }
        let mut reader = Reader::new(process, chunk, &scan.pin);
        let stages = out.stages();
        if stages.is_empty() && !reader.need(needs(&scan.projection), out)? {
            return Ok(());
        }
        let mut rows = None;
        for stage in stages.iter() {
            if !reader.need(needs(&stage.columns), out)? {
                return Ok(());
            }
            let before = rows.take().unwrap_or_else(|| reader.rows());
            let passed = rows.insert(Vec::with_capacity(before.len()));
            for window in reader.windows(&before, scan.batch_size) {
                let batch = reader.batch(&stage.columns, &stage.schema, window)?;
                match stage.mask(&batch)? {
                    None => passed.extend_from_slice(window),
                    Some(mask) => {
                        passed.extend(mask.values().set_indices().map(|at| window[at]));
                    }
                }
                out.check()?;
            }
            if passed.is_empty() {
                return Ok(());
            }
        }
        if !reader.need(needs(&scan.projection), out)? {
            return Ok(());
        }
        let rows = rows.unwrap_or_else(|| reader.rows());
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            // Asked anew each time: a limit may leave less to make than there was.
            let Some(window) = reader.windows(rest, out.batch_rows()).next() else {
                break;
            };
            rest = &rest[window.len()..];
            out.send(reader.batch(&scan.projection, &scan.output, window)?)?;
        }
        Ok(())
    }
}

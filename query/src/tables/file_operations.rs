//! The table `file_operations`: one row for each operation of a guest on a path or on an open file
//! other than reading and writing, failed ones too.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringViewArray};
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::wasi;
use timecraft_udfs::files::{Operation, Row};

use super::call_columns::{longs, shared};
use super::follow::{self, Follow, Wants};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct FileOperations;

impl Table for FileOperations {
    fn name(&self) -> &'static str {
        "file_operations"
    }

    fn description(&self) -> &'static str {
        "An operation on a path, failed ones too"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that asked for it."),
            Column::long("record_offset", "The record of the call."),
            Column::time("time", "When the guest entered the host."),
            Column::text(
                "operation",
                "open, stat, readdir, readlink, mkdir, rmdir, unlink, rename, link, symlink, \
                 truncate, allocate, set_times, sync, datasync.",
            ),
            Column::text(
                "path",
                "What it was about, resolved beneath the directories that the guest was given: . is \
                 dropped, .. and symbolic links stand as they are; of symlink the link's text as \
                 given. Null where the descriptor was not open.",
            )
            .nullable(),
            Column::text("path2", "The new path, of rename, link and symlink.").nullable(),
            Column::int(
                "errno",
                "What the call returned, 0 for success; null where it did not return.",
            )
            .nullable(),
            Column::text("error", "The name of errno where the call failed, as ENOENT.").nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        1_000
    }

    fn splits(&self, _scan: &Scan) -> bool {
        true
    }

    fn split(&self, process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
        follow::split(process, scan, out)
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Chunks(process, part) = item else {
            return Ok(());
        };
        let paths = scan.wants("path") || scan.wants("path2");
        let wants = Wants {
            paths,
            positions: false,
            rows: |m| m.operates,
            payload: paths,
        };
        let chunks = &process.chunks()[part.clone()];
        let keep = scan.pruner.keep(&Chunks::some(process, chunks));
        let mut follow = Follow::new(scan, process, out.metrics, part.start, wants);
        let mut batch = Batch::new(process, paths);
        for (at, keep) in part.clone().zip(keep) {
            out.check()?;
            follow.chunk(at, keep, |record, row| {
                let (Some((record, _)), Row::Operation(operation)) = (record, row) else {
                    return Ok(());
                };
                batch.push(record.offset.0, record.start.0, &operation);
                if batch.offsets.len() >= out.batch_rows() {
                    batch.flush(out)
                } else {
                    Ok(())
                }
            })?;
        }
        batch.flush(out)
    }
}

/// Rows that wait to be handed out.
struct Batch<'a> {
    process: &'a Snapshot,
    /// Whether anybody wants paths: making them is most of the work.
    paths_wanted: bool,
    offsets: Vec<u64>,
    starts: Vec<u64>,
    operations: Vec<&'static str>,
    paths: Vec<Option<String>>,
    paths2: Vec<Option<String>>,
    errnos: Vec<Option<u64>>,
}

impl<'a> Batch<'a> {
    fn new(process: &'a Snapshot, paths_wanted: bool) -> Self {
        Batch {
            process,
            paths_wanted,
            offsets: Vec::new(),
            starts: Vec::new(),
            operations: Vec::new(),
            paths: Vec::new(),
            paths2: Vec::new(),
            errnos: Vec::new(),
        }
    }

    fn push(&mut self, offset: u64, start: u64, operation: &Operation<'_>) {
        self.offsets.push(offset);
        self.starts.push(start);
        self.operations.push(operation.name);
        self.errnos.push(operation.errno);
        let wanted = Some(operation).filter(|_| self.paths_wanted);
        self.paths.push(wanted.and_then(Operation::path));
        self.paths2.push(wanted.and_then(Operation::path2));
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Step {
        let rows = self.offsets.len();
        let start = self.process.start().start_time;
        let id = self.process.process_id().to_string();
        let errors = self.errnos.iter();
        let errors = errors.map(|errno| wasi::errno_name(errno.filter(|&n| n != 0)?));
        let arrays: Vec<ArrayRef> = vec![
            shared(
                &StringViewArray::from_iter_values([id]),
                std::iter::repeat_n(0, rows),
            )?,
            longs(self.offsets.iter().map(|&n| long(n))),
            times(
                self.starts
                    .iter()
                    .map(|&ns| micros(start.plus(timecraft_segment::ElapsedNs(ns)))),
            ),
            Arc::new(StringViewArray::from_iter_values(&self.operations)),
            Arc::new(StringViewArray::from_iter(self.paths.drain(..))),
            Arc::new(StringViewArray::from_iter(self.paths2.drain(..))),
            Arc::new(
                self.errnos
                    .iter()
                    .map(|errno| i32::try_from((*errno)?).ok())
                    .collect::<Int32Array>(),
            ),
            Arc::new(StringViewArray::from_iter(errors)),
        ];
        self.offsets.clear();
        self.starts.clear();
        self.operations.clear();
        self.errnos.clear();
        out.emit(rows, &arrays)
    }
}

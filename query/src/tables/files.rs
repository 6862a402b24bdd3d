//! The table `files`: one row for each file or directory that a guest opened, from its opening to its
//! closing.
//!
//! A file may be open for as long as the process runs, so one partition goes through a whole process.
//! It begins with the segment in which the first opening is that is asked for, and past the last one
//! goes on for as long as a file is open.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{ElapsedNs, wasi};
use timecraft_udfs::files::{File, Row};

use super::follow::{self, Follow, Wants};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Files;

impl Table for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn description(&self) -> &'static str {
        "A file's open-to-close"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that opened it."),
            Column::long("record_offset", "The record of its opening."),
            Column::long(
                "end_record_offset",
                "The last record of a call on it; of one that is closed, that of its closing.",
            ),
            Column::int("fd", "The descriptor that it was opened as."),
            Column::text(
                "path",
                "Its path, resolved as in file_operations.",
            ),
            Column::text(
                "flags",
                "RDONLY, WRONLY or RDWR as the guest asked, and how it was opened, as CREAT|TRUNC.",
            ),
            Column::time("open_time", "When the call began that opened it."),
            Column::time(
                "close_time",
                "When the call began that closed it; null while it is open, where it was open at \
                 the end, and where the closing is not in the log.",
            )
            .nullable(),
            Column::long("bytes_read", "How many bytes were read."),
            Column::long("bytes_written", "How many bytes were written."),
            Column::long("reads", "How many reads succeeded, those at its end included."),
            Column::long("writes", "How many writes succeeded."),
            Column::text(
                "error",
                "The first error that a call on its descriptor returned, as ENOSPC; EAGAIN is none.",
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
        let keep = scan.pruner.keep(&Chunks::of(process).named(opening));
        let parts = follow::by_segment(process);
        let first = parts
            .iter()
            .position(|part| keep[part.clone()].contains(&true));
        let (Some(first), Some(last)) = (first, keep.iter().rposition(|keep| *keep)) else {
            out.metrics.count_chunks(process, &vec![false; keep.len()]);
            return Ok(());
        };
        let from = parts[first].start;
        out.metrics.chunks.add_pruned(from);
        out.metrics.count_segments(process, |at| at >= from);

        let wants = Wants {
            paths: scan.wants("path"),
            positions: false,
            rows: |m| m.names,
            payload: false,
        };
        let mut follow = Follow::new(scan, process, out.metrics, from, wants);
        let mut batch = Batch::new(process);
        for at in from..keep.len() {
            out.check()?;
            if at > last && follow.files().open().next().is_none() {
                out.metrics.chunks.add_pruned(keep.len() - at);
                break;
            }
            follow.chunk(at, true, |_, row| match row {
                Row::File(file) => batch.push(file, out),
                _ => Ok(()),
            })?;
        }
        for file in follow.files().open() {
            batch.push(file.clone(), out)?;
        }
        batch.flush(out)
    }
}

/// What is known of a file from the chunk of its opening alone.
fn opening(column: &str) -> &str {
    match column {
        "process_id" | "record_offset" | "fd" => column,
        "open_time" => "time",
        _ => "",
    }
}

/// Rows that wait to be handed out.
struct Batch<'a> {
    process: &'a Snapshot,
    files: Vec<File>,
}

impl<'a> Batch<'a> {
    fn new(process: &'a Snapshot) -> Self {
        Batch {
            process,
            files: Vec::new(),
        }
    }

    fn push(&mut self, file: File, out: &mut Output<'_>) -> Step {
        self.files.push(file);
        if self.files.len() >= out.batch_rows() {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Step {
        let files = std::mem::take(&mut self.files);
        let start = self.process.start().start_time;
        let id = self.process.process_id().to_string();
        let moment = |ns: u64| micros(start.plus(ElapsedNs(ns)));
        let longs = |value: fn(&File) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                files.iter().map(|file| long(value(file))),
            ))
        };
        let texts = |value: fn(&File) -> &str| -> ArrayRef {
            Arc::new(StringViewArray::from_iter_values(files.iter().map(value)))
        };
        let closed = files.iter().map(|file| file.closed_ns.map(moment));
        let closed: TimestampMicrosecondArray = closed.collect();
        let errors = files.iter().map(|file| wasi::errno_name(file.errno?));
        let fds = files.iter().map(|file| file.fd.cast_signed());
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values(files.iter().map(|_| &id))),
            longs(|file| file.offset),
            longs(|file| file.end_offset),
            Arc::new(arrow::array::Int32Array::from_iter_values(fds)),
            texts(|file| &file.path),
            texts(|file| &file.flags),
            times(files.iter().map(|file| moment(file.opened_ns))),
            Arc::new(closed.with_timezone("UTC")),
            longs(|file| file.bytes_read),
            longs(|file| file.bytes_written),
            longs(|file| file.reads),
            longs(|file| file.writes),
            Arc::new(StringViewArray::from_iter(errors)),
        ];
        out.emit(files.len(), &arrays)
    }
}

//! The table `file_data`: one row for each read or write of a file or of a standard stream, with its
//! bytes.
//!
//! Where a read or write was in its file depends on all before it: a query that asks for positions has
//! each process read by one partition, from its first call on, and any other has it read segment by
//! segment. Bytes are read last, of chunks that have rows which passed all else.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{Calls, ElapsedNs, Projection};
use timecraft_udfs::files::{Direction, Row, Transfer, payload};

use super::call_columns::{longs, shared};
use super::follow::{self, Follow, Wants};
use super::late::{Late, LateRows};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct FileData;

/// The columns, by their places.
const PROCESS_ID: usize = 0;
const RECORD_OFFSET: usize = 1;
const TIME: usize = 2;
const FD: usize = 3;
const PATH: usize = 4;
const DIRECTION: usize = 5;
const POSITION: usize = 6;
const SIZE: usize = 7;
const PAYLOAD: usize = 8;

impl Table for FileData {
    fn name(&self) -> &'static str {
        "file_data"
    }

    fn description(&self) -> &'static str {
        "A read or write of a file or of a standard stream"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that read or wrote."),
            Column::long("record_offset", "The record of the call."),
            Column::time("time", "When the guest entered the host."),
            Column::int("fd", "The descriptor."),
            Column::text(
                "path",
                "The path of the file, resolved as in file_operations; stdin, stdout or stderr.",
            )
            .nullable(),
            Column::text("direction", "read or write."),
            Column::long(
                "position",
                "Where in the file the first byte is; of stdin, stdout and stderr, how many bytes \
                 went before it. Null where it is not known: of a write that appends, and after it \
                 until the guest seeks or asks where it is.",
            )
            .nullable(),
            Column::long("size", "How many bytes were read or written."),
            Column::new("payload", DataType::Binary, "The bytes."),
        ]
    }

    fn rows_guessed(&self) -> usize {
        10_000
    }

    fn is_costly(&self, column: usize) -> bool {
        column == PAYLOAD
    }

    fn splits(&self, scan: &Scan) -> bool {
        !scan.wants("position")
    }

    fn split(&self, process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
        follow::split(process, scan, out)
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let (process, part) = match item {
            Item::Chunks(process, part) => (process, part.clone()),
            Item::Process(process) => (process, 0..process.chunks().len()),
            _ => return Ok(()),
        };
        let wants = Wants {
            paths: scan.wants("path"),
            positions: scan.wants("position"),
            rows: |m| m.transfers,
            payload: false,
        };
        let chunks = &process.chunks()[part.clone()];
        let keep = scan.pruner.keep(&Chunks::some(process, chunks));
        let last = keep.iter().rposition(|keep| *keep).map_or(0, |at| at + 1);
        out.metrics.chunks.add_pruned(keep.len() - last);
        if matches!(item, Item::Process(_)) {
            out.metrics.count_segments(process, |at| at < last);
        }
        let mut follow = Follow::new(scan, process, out.metrics, part.start, wants);
        for (at, keep) in part.zip(keep).take(last) {
            out.check()?;
            let mut rows = Rows::default();
            let read = follow.chunk(at, keep, |record, row| {
                if let (Some((record, at)), Row::Transfer(transfer)) = (record, row) {
                    rows.push(at, record.offset.0, record.start, &transfer);
                }
                Ok(())
            })?;
            if let Some((calls, columns)) = read
                && !rows.rows.is_empty()
            {
                let late = Late {
                    process,
                    chunk: &process.chunks()[at],
                    rows: Transfers { process, rows },
                    calls: columns.has(Projection::PAYLOAD).then_some(calls),
                };
                late.hand_out(scan, out)?;
            }
        }
        Ok(())
    }
}

/// A row without its bytes.
struct Place {
    /// The record's index in the chunk.
    at: usize,
    offset: u64,
    start: ElapsedNs,
    fd: u32,
    /// Its path's place among the texts, from 1; 0 is none.
    path: u32,
    direction: Direction,
    position: Option<u64>,
    size: u64,
}

/// The rows of a chunk.
#[derive(Default)]
struct Rows {
    rows: Vec<Place>,
    paths: Vec<String>,
    places: HashMap<String, u32>,
}

impl Rows {
    fn push(&mut self, at: usize, offset: u64, start: ElapsedNs, transfer: &Transfer<'_>) {
        let path = transfer.path.map_or(0, |path| self.place(path));
        self.rows.push(Place {
            at,
            offset,
            start,
            fd: transfer.fd,
            path,
            direction: transfer.direction,
            position: transfer.position,
            size: transfer.size,
        });
    }

    fn place(&mut self, path: &str) -> u32 {
        if let Some(&place) = self.places.get(path) {
            return place;
        }
        self.paths.push(path.to_owned());
        // A chunk has no 2^32 records.
        let place = u32::try_from(self.paths.len()).unwrap_or(0);
        self.places.insert(path.to_owned(), place);
        place
    }
}

/// The reads and writes of a chunk.
struct Transfers<'a> {
    process: &'a Snapshot,
    rows: Rows,
}

impl LateRows for Transfers<'_> {
    const PAYLOAD: usize = PAYLOAD;

    fn count(&self) -> usize {
        self.rows.rows.len()
    }

    fn size(&self, row: usize) -> u64 {
        self.rows.rows[row].size
    }

    fn column(&self, column: usize, rows: &[usize], calls: Option<&Calls>) -> Step<ArrayRef> {
        let rows: Vec<&Place> = rows.iter().map(|&row| &self.rows.rows[row]).collect();
        let start = self.process.start().start_time;
        Ok(match column {
            PROCESS_ID => {
                let id = self.process.process_id().to_string();
                shared(
                    &StringViewArray::from_iter_values([id]),
                    rows.iter().map(|_| 0),
                )?
            }
            RECORD_OFFSET => longs(rows.iter().map(|row| long(row.offset))),
            TIME => times(rows.iter().map(|row| micros(start.plus(row.start)))),
            FD => Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.fd.cast_signed()),
            )),
            PATH => {
                let mut paths = StringViewBuilder::new();
                paths.append_null();
                self.rows
                    .paths
                    .iter()
                    .for_each(|path| paths.append_value(path));
                shared(&paths.finish(), rows.iter().map(|row| row.path))?
            }
            DIRECTION => Arc::new(StringViewArray::from_iter_values(
                rows.iter().map(|row| row.direction.name()),
            )),
            POSITION => Arc::new(
                rows.iter()
                    .map(|row| row.position.map(long))
                    .collect::<Int64Array>(),
            ),
            SIZE => longs(rows.iter().map(|row| long(row.size))),
            PAYLOAD => match calls {
                Some(calls) => {
                    let mut bytes = BinaryBuilder::new();
                    for row in &rows {
                        let record = calls.get(row.at);
                        let content = record.map(|record| payload(&record, row.size));
                        bytes.append_value(content.unwrap_or_default());
                    }
                    Arc::new(bytes.finish())
                }
                None => return Ok(internal_err!("a chunk's payloads were not read")?),
            },
            _ => return Ok(internal_err!("file_data has no column {column}")?),
        })
    }
}

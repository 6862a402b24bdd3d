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
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::internal_err;
use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{Calls, ElapsedNs, Projection};
use timecraft_udfs::files::{Direction, Row, Transfer, payload};

use super::call_columns::{longs, shared};
use super::follow::{self, Follow, Wants};
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
                let chunk = Transfers {
                    process,
                    chunk: &process.chunks()[at],
                    rows,
                    calls: columns.has(Projection::PAYLOAD).then_some(calls),
                };
                chunk.hand_out(&follow, scan, out)?;
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

/// The reads and writes of a chunk, and its records where their payloads were read.
struct Transfers<'a> {
    process: &'a Snapshot,
    chunk: &'a Chunk,
    rows: Rows,
    calls: Option<Arc<Calls>>,
}

impl Transfers<'_> {
    /// Hands out what passes, in stages: bytes are read only for rows that passed all else.
    fn hand_out(mut self, follow: &Follow<'_>, scan: &Scan, out: &mut Output<'_>) -> Step {
        let mut passed: Vec<usize> = (0..self.rows.rows.len()).collect();
        for stage in out.stages().iter() {
            if !self.need(&stage.columns, follow)? {
                return Ok(());
            }
            let mut next = Vec::with_capacity(passed.len());
            let mut rest = passed.as_slice();
            while !rest.is_empty() {
                let window = self.window(rest, scan.batch_size, &stage.columns);
                rest = &rest[window.len()..];
                let batch = self.batch(&stage.columns, &stage.schema, window)?;
                match stage.mask(&batch)? {
                    None => next.extend_from_slice(window),
                    Some(mask) => next.extend(mask.values().set_indices().map(|at| window[at])),
                }
                out.check()?;
            }
            passed = next;
            if passed.is_empty() {
                return Ok(());
            }
        }
        if !self.need(&scan.projection, follow)? {
            return Ok(());
        }
        let mut rest = passed.as_slice();
        while !rest.is_empty() {
            let window = self.window(rest, out.batch_rows(), &scan.projection);
            rest = &rest[window.len()..];
            out.send(self.batch(&scan.projection, &scan.output, window)?)?;
        }
        Ok(())
    }

    /// Reads the payloads, where these columns need them and they are not there yet. False where they
    /// are damaged and to be skipped.
    fn need(&mut self, columns: &[usize], follow: &Follow<'_>) -> Step<bool> {
        if columns.contains(&PAYLOAD) && self.calls.is_none() {
            self.calls = follow.read(self.chunk, Projection::ALL)?;
            return Ok(self.calls.is_some());
        }
        Ok(true)
    }

    /// The first of these rows: at most so many, and of a bounded size where bytes are made.
    fn window<'r>(&self, rows: &'r [usize], most: usize, columns: &[usize]) -> &'r [usize] {
        const BYTES: u64 = 1 << 20;
        let mut bytes = 0;
        let fits = |row: &&usize| {
            let fits = bytes < BYTES || !columns.contains(&PAYLOAD);
            bytes += self.rows.rows[**row].size;
            fits
        };
        let fitting = rows.iter().take(most).take_while(fits).count();
        &rows[..fitting.max(1)]
    }

    fn batch(&self, columns: &[usize], schema: &SchemaRef, rows: &[usize]) -> Step<RecordBatch> {
        let places: Vec<&Place> = rows.iter().map(|&row| &self.rows.rows[row]).collect();
        let arrays = columns
            .iter()
            .map(|&column| self.column(column, &places))
            .collect::<Step<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options);
        Ok(batch?)
    }

    fn column(&self, column: usize, rows: &[&Place]) -> Step<ArrayRef> {
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
            PAYLOAD => match &self.calls {
                Some(calls) => {
                    let mut bytes = BinaryBuilder::new();
                    for row in rows {
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

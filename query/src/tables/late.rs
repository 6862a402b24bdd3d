//! Rows of a chunk whose bytes are read last: only where a row has passed every predicate on its other
//! columns is the payload section of its chunk decompressed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{Calls, Projection};

use crate::scan::Scan;
use crate::scan::output::{Output, Step};

/// Rows without their bytes, and how columns are made of them.
pub(super) trait LateRows {
    /// The column of the bytes.
    const PAYLOAD: usize;

    /// How many rows.
    fn count(&self) -> usize;

    /// How many bytes a row has.
    fn size(&self, row: usize) -> u64;

    /// Makes a column of these rows. The records are there where the column is [`Self::PAYLOAD`].
    fn column(&self, column: usize, rows: &[usize], calls: Option<&Calls>) -> Step<ArrayRef>;
}

/// The rows of a chunk, on their way out.
pub(super) struct Late<'a, R> {
    pub(super) process: &'a Snapshot,
    pub(super) chunk: &'a Chunk,
    pub(super) rows: R,
    /// The chunk's records, where their payloads were read.
    pub(super) calls: Option<Arc<Calls>>,
}

impl<R: LateRows> Late<'_, R> {
    /// Hands out what passes, in stages.
    pub(super) fn hand_out(mut self, scan: &Scan, out: &mut Output<'_>) -> Step {
        let mut passed: Vec<usize> = (0..self.rows.count()).collect();
        for stage in out.stages().iter() {
            if !self.need(&stage.columns, scan, out)? {
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
        if !self.need(&scan.projection, scan, out)? {
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
    fn need(&mut self, columns: &[usize], scan: &Scan, out: &Output<'_>) -> Step<bool> {
        if columns.contains(&R::PAYLOAD) && self.calls.is_none() {
            self.calls = scan.pin.read(self.process, self.chunk, Projection::ALL)?;
            if self.calls.is_some() {
                out.metrics.count_bytes(self.chunk, Projection::ALL);
            }
            return Ok(self.calls.is_some());
        }
        Ok(true)
    }

    /// The first of these rows: at most so many, and of a bounded size where bytes are made.
    fn window<'r>(&self, rows: &'r [usize], most: usize, columns: &[usize]) -> &'r [usize] {
        const BYTES: u64 = 1 << 20;
        let mut bytes = 0;
        let fits = |row: &&usize| {
            let fits = bytes < BYTES || !columns.contains(&R::PAYLOAD);
            bytes += self.rows.size(**row);
            fits
        };
        let fitting = rows.iter().take(most).take_while(fits).count();
        &rows[..fitting.max(1)]
    }

    fn batch(&self, columns: &[usize], schema: &SchemaRef, rows: &[usize]) -> Step<RecordBatch> {
        let arrays = columns
            .iter()
            .map(|&column| self.rows.column(column, rows, self.calls.as_deref()))
            .collect::<Step<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options);
        Ok(batch?)
    }
}

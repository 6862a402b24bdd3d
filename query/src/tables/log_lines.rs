//! The table `log_lines`: what a guest wrote to its standard output and error, line by line.
//!
//! Line numbers and lines that span writes make this sequential: one partition goes through a whole
//! process, in order. Chunks that cannot write to a stream are skipped; and past the last chunk that
//! can hold the beginning of a line that is asked for, only the lines that have begun are read on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringViewBuilder};
use timecraft_segment::calls::Projection;
use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{FunctionId, Outcome, Record, describe, text, wasi};

use super::lines::{Line, Lines, Place};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct LogLines;

/// A batch is handed out when its text has so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The names of the streams; a stream is known by its place here.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

impl Table for LogLines {
    fn name(&self) -> &'static str {
        "log_lines"
    }

    fn description(&self) -> &'static str {
        "A line of stdout or stderr"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that wrote it."),
            Column::long(
                "record_offset",
                "The record of the write that its first byte came with.",
            ),
            Column::text("stream", "stdout or stderr."),
            Column::long("line", "Its number in the stream, from 1."),
            Column::time("time", "When its first byte was written."),
            Column::long(
                "elapsed_ns",
                "The same, in nanoseconds since the process started.",
            ),
            Column::text(
                "text",
                "The line without its newline; bytes that are not UTF-8 as \\xNN.",
            ),
            Column::new(
                "truncated",
                arrow::datatypes::DataType::Boolean,
                "Whether the line is longer than the 64 KiB that text has of it.",
            ),
        ]
    }

    fn rows_guessed(&self) -> usize {
        1_000
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let chunks = process.chunks();
        let keep = scan.pruner.keep(&Chunks::of(process));
        let Some(last) = keep.iter().rposition(|keep| *keep) else {
            out.metrics.chunks.add_pruned(chunks.len());
            out.metrics.segments.add_pruned(process.segments().len());
            return Ok(());
        };
        out.metrics.segments.add_matched(process.segments().len());

        let mut streams = Streams::default();
        let mut batch = Batch::new(process);
        let mut next = None;
        for (at, chunk) in chunks.iter().enumerate() {
            out.check()?;
            let first = chunk.summary().first_offset;
            if next.is_some_and(|next| next != first) {
                streams.finish(|stream, line| batch.give(stream, line, out))?;
            }
            next = Some(chunk.summary().end_offset());
            let over = at > last && !streams.lines.iter().any(Lines::has_begun);
            if over || !streams.may_change(chunk) {
                out.metrics.chunks.add_pruned(1);
                continue;
            }
            out.metrics.chunks.add_matched(1);
            let columns = Projection::ARGS.and(Projection::RESULTS);
            let Some(calls) = scan.pin.read(process, chunk, columns)? else {
                streams.finish(|stream, line| batch.give(stream, line, out))?;
                continue;
            };
            out.metrics.count_bytes(chunk, columns);
            // Payloads are worth reading only where one of them is a line's.
            let concerns = (0..calls.len()).any(|row| {
                let fd = calls.args(row).first().copied().unwrap_or(0);
                calls
                    .functions
                    .get(row)
                    .is_some_and(|&id| streams.concerns(id, fd as u32))
            });
            if concerns {
                let Some(calls) = scan.pin.read(process, chunk, Projection::ALL)? else {
                    streams.finish(|stream, line| batch.give(stream, line, out))?;
                    continue;
                };
                out.metrics.count_bytes(chunk, Projection::ALL);
                for record in calls.iter() {
                    streams.apply(&record, |stream, line| batch.give(stream, line, out))?;
                }
            }
        }
        streams.finish(|stream, line| batch.give(stream, line, out))?;
        batch.flush(out)
    }
}

/// The functions that write to a stream or change which descriptor is one.
struct Functions {
    write: FunctionId,
    close: FunctionId,
    renumber: FunctionId,
}

impl Functions {
    fn new() -> Functions {
        let id = |name: &str| {
            let row = wasi::FUNCTIONS.iter().find(|row| row.name == name);
            // A test holds that they are all there; 0 is no function.
            row.map_or(FunctionId(0), |row| row.id)
        };
        Functions {
            write: id("fd_write"),
            close: id("fd_close"),
            renumber: id("fd_renumber"),
        }
    }
}

/// The streams of a process, and the descriptors that write to them now.
struct Streams {
    functions: Functions,
    of_fd: BTreeMap<u32, usize>,
    lines: [Lines; STREAMS.len()],
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            functions: Functions::new(),
            of_fd: BTreeMap::from([(1, 0), (2, 1)]),
            lines: Default::default(),
        }
    }
}

impl Streams {
    /// False where the chunk surely has nothing that matters here.
    fn may_change(&self, chunk: &Chunk) -> bool {
        let summary = chunk.summary();
        let Functions {
            write,
            close,
            renumber,
        } = self.functions;
        if summary.may_have_function(FunctionId::GAP) {
            return true;
        }
        if !self.of_fd.keys().any(|&fd| summary.may_have_fd(fd)) {
            return false;
        }
        [write, close, renumber]
            .iter()
            .any(|&id| summary.may_have_function(id))
    }

    /// Whether a call of that function with that first argument may matter.
    fn concerns(&self, function: FunctionId, fd: u32) -> bool {
        // A descriptor that becomes a stream's number is the second argument of a renumbering.
        function == self.functions.renumber
            || function == FunctionId::GAP
            || (function == self.functions.write || function == self.functions.close)
                && self.of_fd.contains_key(&fd)
    }

    /// Ends the lines that have begun: what comes next need not be theirs.
    fn finish(&mut self, mut give: impl FnMut(usize, Line<'_>) -> Step) -> Step {
        let mut lines = self.lines.iter_mut().enumerate();
        lines.try_for_each(|(stream, lines)| lines.finish(|line| give(stream, line)))
    }

    /// Follows one record, in the order of offsets.
    fn apply(
        &mut self,
        record: &Record<'_>,
        mut give: impl FnMut(usize, Line<'_>) -> Step,
    ) -> Step {
        let arg = |i: usize| record.args.get(i).map_or(0, |&arg| arg as u32);
        if record.outcome != Outcome::Returned
            || record.result != 0
            || !self.concerns(record.function, arg(0))
        {
            return Ok(());
        }
        if record.function == FunctionId::GAP {
            return self.finish(give);
        }
        if record.function == self.functions.renumber {
            // The target is closed, and what it was is gone.
            let moved = self.of_fd.remove(&arg(0));
            self.of_fd.remove(&arg(1));
            self.of_fd.extend(moved.map(|stream| (arg(1), stream)));
        } else if record.function == self.functions.close {
            self.of_fd.remove(&arg(0));
        } else if let Some(&stream) = self.of_fd.get(&arg(0)) {
            let sent = describe::sent(record).unwrap_or_default();
            let written = describe::bytes(record).unwrap_or(0);
            let written = usize::try_from(written).map_or(sent.len(), |n| n.min(sent.len()));
            let place = Place {
                offset: record.offset,
                elapsed: record.start,
            };
            let bytes = &sent[..written];
            return self.lines[stream].push(place, bytes, |line| give(stream, line));
        }
        Ok(())
    }
}

/// Lines that wait to be handed out.
struct Batch<'a> {
    process: &'a Snapshot,
    streams: Vec<usize>,
    numbers: Vec<i64>,
    places: Vec<Place>,
    truncated: Vec<bool>,
    texts: StringViewBuilder,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(process: &'a Snapshot) -> Self {
        Batch {
            process,
            streams: Vec::new(),
            numbers: Vec::new(),
            places: Vec::new(),
            truncated: Vec::new(),
            texts: StringViewBuilder::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, stream: usize, line: Line<'_>) {
        self.streams.push(stream);
        self.numbers.push(line.number);
        self.places.push(line.place);
        self.truncated.push(line.truncated);
        self.texts.append_value(text::lossless(line.bytes));
        self.bytes += line.bytes.len();
    }

    /// Takes a line, and hands out what there is where that is enough.
    fn give(&mut self, stream: usize, line: Line<'_>, out: &mut Output<'_>) -> Step {
        self.push(stream, line);
        if self.is_full(out.batch_rows()) {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    fn is_full(&self, rows: usize) -> bool {
        self.places.len() >= rows || self.bytes >= BATCH_BYTES
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Step {
        let rows = self.places.len();
        let start = self.process.start().start_time;
        let id = self.process.process_id().to_string();
        let places = self.places.iter();
        let longs = |value: &dyn Fn(&Place) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                self.places.iter().map(|p| long(value(p))),
            ))
        };
        let mut ids = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
        let mut streams = StringViewBuilder::with_capacity(rows);
        for &stream in &self.streams {
            ids.append_value(&id);
            streams.append_value(STREAMS[stream]);
        }
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(ids.finish()),
            longs(&|place| place.offset.0),
            Arc::new(streams.finish()),
            Arc::new(Int64Array::from(std::mem::take(&mut self.numbers))),
            times(places.map(|place| micros(start.plus(place.elapsed)))),
            longs(&|place| place.elapsed.0),
            Arc::new(self.texts.finish()),
            Arc::new(BooleanArray::from(std::mem::take(&mut self.truncated))),
        ];
        self.places.clear();
        self.streams.clear();
        self.bytes = 0;
        out.emit(rows, &arrays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_that_matter_are_in_the_table() {
        let Functions {
            write,
            close,
            renumber,
        } = Functions::new();
        assert!([write, close, renumber].iter().all(|id| id.0 != 0));
    }
}

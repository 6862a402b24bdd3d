//! A way through the chunks of a process with the decoder of connections, for the tables that are made
//! of its events.
//!
//! What a descriptor is depends on all calls before, so a process is read from its beginning by one
//! partition, up to the last chunk that may have rows. Chunks without a call that can matter are left
//! out: as long as a guest has no socket, only calls on sockets can, and later those that name one of
//! its sockets. Payloads stay compressed where nothing in them is wanted.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::scalar::ScalarValue;
use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{
    Calls, ElapsedNs, FunctionId, Offset, Outcome, Projection, Record, function,
};
use timecraft_udfs::connections::{Connections, Event, Matters, Payload, matters, payload_wanted};

use super::follow::{COLUMNS, begins_segment};
use crate::scan::Scan;
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{Chunks, long, micros};

/// What a table wants of the decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    /// Whether rows depend on the bytes that were sent and received.
    pub(super) content: bool,
    /// Whether an event may come of a chunk long after the one that its row begins in.
    pub(super) late: bool,
    /// What a column of the table is in the summary of the chunk that a row begins in.
    pub(super) name: fn(&str) -> &str,
}

/// Where an event comes from: a record; where records are missing, the first one after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    /// The record's number.
    pub(super) offset: u64,
    /// When it began, in nanoseconds since the process started.
    pub(super) start: u64,
    /// Its index in its chunk.
    pub(super) at: usize,
}

impl From {
    fn record(record: &Record<'_>, at: usize) -> From {
        From {
            offset: record.offset.0,
            start: record.start.0,
            at,
        }
    }

    fn loss_before(chunk: &Chunk) -> From {
        From {
            offset: chunk.summary().first_offset.0,
            start: chunk.summary().first_time.0,
            at: 0,
        }
    }
}

/// What a record meant, or what follows from records that are missing.
pub(super) struct Meant<'a> {
    pub(super) from: From,
    /// None where records are missing.
    pub(super) record: Option<&'a Record<'a>>,
    pub(super) events: &'a mut Vec<Event>,
    /// The decoder, after the record.
    pub(super) connections: &'a Connections,
}

/// What was read of a chunk.
pub(super) struct Seen<'a> {
    pub(super) chunk: &'a Chunk,
    pub(super) calls: Arc<Calls>,
    pub(super) columns: Projection,
}

/// The decoder, on its way.
struct Way<'a> {
    scan: &'a Scan,
    process: &'a Snapshot,
    content: bool,
    decoder: Connections,
    /// What the last record meant.
    events: Vec<Event>,
    /// The offset that comes next, and the chunk that was before.
    next: Offset,
    before: Option<usize>,
}

/// Goes through a process and gives what each record meant, and after each chunk what was read of it.
/// Returns the decoder as it is at the end, with what is open.
pub(super) fn follow(
    process: &Snapshot,
    scan: &Scan,
    out: &mut Output<'_>,
    wants: Wants,
    mut give: impl FnMut(Meant<'_>, &mut Output<'_>) -> Step,
    mut chunk_done: impl FnMut(Seen<'_>, &mut Output<'_>) -> Step,
) -> Step<Connections> {
    let chunks = process.chunks();
    let keep = scan.pruner.keep(&Chunks::of(process).named(wants.name));
    let mut way = Way {
        scan,
        process,
        content: wants.content,
        decoder: Connections::at_start(process.start()),
        events: Vec::new(),
        next: Offset(0),
        before: None,
    };
    let mut read = vec![false; chunks.len()];
    if let Some(last) = keep.iter().rposition(|keep| *keep) {
        let end = chunks[last].summary().end_offset();
        for (at, read) in read.iter_mut().enumerate() {
            out.check()?;
            // Past the last chunk in which a row begins, what has begun goes on.
            let goes_on = wants.late && way.decoder.open().any(|c| c.id < end.0);
            if at > last && !goes_on || !way.may_have_more() {
                break;
            }
            if let Some(seen) = way.chunk(at, out, &mut give)? {
                *read = true;
                chunk_done(seen, out)?;
            }
        }
    }
    out.metrics.count_chunks(process, &read);
    Ok(way.decoder)
}

/// Takes events where they cannot be given on while the decoder is at work.
fn collect(events: &mut Vec<Event>) -> impl FnMut(Event) -> Result<(), Infallible> {
    |event| {
        events.push(event);
        Ok(())
    }
}

impl<'a> Way<'a> {
    /// Follows the next chunk, by its index. None where nothing in it can matter, or it is damaged and
    /// that is to be skipped.
    fn chunk(
        &mut self,
        at: usize,
        out: &mut Output<'_>,
        give: &mut impl FnMut(Meant<'_>, &mut Output<'_>) -> Step,
    ) -> Step<Option<Seen<'a>>> {
        let chunk = &self.process.chunks()[at];
        self.arrive(at, chunk, out, give)?;
        if !self.can_matter(chunk) {
            return Ok(None);
        }
        let Some(mut calls) = self.read(chunk, COLUMNS, out)? else {
            self.lose_before(chunk, out, give)?;
            return Ok(None);
        };
        let functions = calls.functions.iter().enumerate();
        let rows: Vec<usize> = functions
            .filter(|&(_, &id)| matters(id) != Matters::Never)
            .map(|(row, _)| row)
            .collect();
        let mut columns = COLUMNS;
        if self.needs_payload(&calls, &rows) {
            columns = Projection::ALL;
            let Some(all) = self.read(chunk, columns, out)? else {
                self.lose_before(chunk, out, give)?;
                return Ok(None);
            };
            calls = all;
        }
        for row in rows {
            if let Some(record) = calls.get(row) {
                let from = From::record(&record, row);
                let collected = self.decoder.apply(&record, collect(&mut self.events));
                collected.unwrap_or_else(|never: Infallible| match never {});
                self.hand_out(from, Some(&record), out, give)?;
            }
        }
        Ok(Some(Seen {
            chunk,
            calls,
            columns,
        }))
    }

    /// Says that records are missing before a chunk, or that it cannot be read.
    fn lose_before(
        &mut self,
        chunk: &Chunk,
        out: &mut Output<'_>,
        give: &mut impl FnMut(Meant<'_>, &mut Output<'_>) -> Step,
    ) -> Step {
        let collected = self.decoder.lose(collect(&mut self.events));
        collected.unwrap_or_else(|never: Infallible| match never {});
        self.hand_out(From::loss_before(chunk), None, out, give)
    }

    fn hand_out(
        &mut self,
        from: From,
        record: Option<&Record<'_>>,
        out: &mut Output<'_>,
        give: &mut impl FnMut(Meant<'_>, &mut Output<'_>) -> Step,
    ) -> Step {
        if self.events.is_empty() {
            return Ok(());
        }
        let meant = Meant {
            from,
            record,
            events: &mut self.events,
            connections: &self.decoder,
        };
        give(meant, out)?;
        self.events.clear();
        Ok(())
    }

    fn read(
        &self,
        chunk: &Chunk,
        columns: Projection,
        out: &Output<'_>,
    ) -> Step<Option<Arc<Calls>>> {
        let calls = self.scan.pin.read(self.process, chunk, columns)?;
        if calls.is_some() {
            out.metrics.count_bytes(chunk, columns);
        }
        Ok(calls)
    }

    /// Notices what is missing between the chunk before and this one, and what a segment says anew.
    fn arrive(
        &mut self,
        at: usize,
        chunk: &Chunk,
        out: &mut Output<'_>,
        give: &mut impl FnMut(Meant<'_>, &mut Output<'_>) -> Step,
    ) -> Step {
        let summary = chunk.summary();
        if self.next != summary.first_offset {
            self.lose_before(chunk, out, give)?;
        }
        self.next = summary.end_offset();
        let before = self.before.and_then(|at| self.process.chunks().get(at));
        let same = before.is_some_and(|before| before.segment() == chunk.segment());
        self.before = Some(at);
        if !same
            && begins_segment(self.process, chunk)
            && let Some(table) = chunk.descriptors_of_segment()
        {
            let collected = self.decoder.found(table, collect(&mut self.events));
            collected.unwrap_or_else(|never: Infallible| match never {});
            self.hand_out(From::loss_before(chunk), None, out, give)?;
        }
        Ok(())
    }

    fn can_matter(&self, chunk: &Chunk) -> bool {
        let summary = chunk.summary();
        let has = |when: Matters| {
            let ids = function::functions().map(|row| row.id);
            ids.chain([FunctionId::GAP])
                .filter(|&id| matters(id) == when)
                .any(|id| summary.may_have_function(id))
        };
        let ends = summary.may_have_function(FunctionId::END);
        let names_one = || {
            has(Matters::WithSockets)
                && self.decoder.descriptors().any(|fd| summary.may_have_fd(fd))
        };
        has(Matters::Always) || self.decoder.knows_sockets() && (ends || names_one())
    }

    /// Whether rows of these, or what is wanted of them, stand in the payloads.
    fn needs_payload(&self, calls: &Calls, rows: &[usize]) -> bool {
        let sockets: BTreeSet<u32> = self.decoder.descriptors().collect();
        // What is a socket here may have become one in this chunk.
        let changes = |&row: &usize| {
            let name = function::by_id(calls.functions[row]).map_or("", |f| f.name);
            matches!(name, "sock_open" | "sock_accept" | "fd_renumber")
        };
        let changes = rows.iter().any(changes);
        rows.iter().any(|&row| {
            let id = calls.functions[row];
            let is_socket = || {
                let fd = calls.args(row).first().map(|&fd| fd as u32);
                changes || fd.is_none_or(|fd| sockets.contains(&fd))
            };
            let outcome = calls.outcomes.get(row).copied();
            let result = calls.results.get(row).copied().unwrap_or(0);
            let moved = function::by_id(id).and_then(|f| calls.outs(row).get(f.bytes?).copied());
            match payload_wanted(id, outcome.unwrap_or(Outcome::Returned), result, moved) {
                Payload::Nothing => false,
                Payload::Content if !self.content => false,
                Payload::Content | Payload::Needed => {
                    matters(id) == Matters::Always || id.is_event() || is_socket()
                }
            }
        })
    }

    /// Whether a row can come of what is open or of what comes next, as far as predicates are about
    /// connections.
    fn may_have_more(&self) -> bool {
        let asks = self.scan.predicates.iter().any(|predicate| {
            let columns = datafusion::physical_expr::utils::collect_columns(predicate);
            columns.iter().any(|column| column.name() == CONNECTION)
        });
        if !asks {
            return true;
        }
        let open = self.decoder.open().map(|c| (long(c.id), long(c.id)));
        let ranges = open.chain([(long(self.next.0), i64::MAX)]).collect();
        let ahead = Ahead(ranges);
        self.scan.pruner.keep(&ahead).contains(&true)
    }
}

/// The column that names a connection.
const CONNECTION: &str = "connection";

/// The connections that rows can still be of, as ranges.
struct Ahead(Vec<(i64, i64)>);

impl Ahead {
    fn ends(&self, column: &Column, end: fn(&(i64, i64)) -> i64) -> Option<ArrayRef> {
        let ends = self.0.iter().map(end);
        (column.name == CONNECTION)
            .then(|| Arc::new(Int64Array::from_iter_values(ends)) as ArrayRef)
    }
}

impl PruningStatistics for Ahead {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |range| range.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |range| range.1)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// What makes columns of rows.
pub(super) type Columns<T> = fn(&Snapshot, &[T]) -> Step<Vec<ArrayRef>>;

/// The rows of a table that is made of events alone: those that `row` makes of them, and those of what is
/// open at the end.
pub(super) fn rows<T>(
    process: &Snapshot,
    scan: &Scan,
    out: &mut Output<'_>,
    wants: Wants,
    columns: Columns<T>,
    row: impl Fn(From, Event) -> Option<T>,
    open: impl FnOnce(&Connections) -> Vec<T>,
) -> Step {
    let mut rows = Waiting::new(process, columns);
    let give = |meant: Meant<'_>, out: &mut Output<'_>| {
        let made = meant
            .events
            .drain(..)
            .filter_map(|event| row(meant.from, event));
        made.into_iter().try_for_each(|row| rows.push(row, 0, out))
    };
    let end = follow(process, scan, out, wants, give, |_, _| Ok(()))?;
    for row in open(&end) {
        rows.push(row, 0, out)?;
    }
    rows.flush(out)
}

/// Rows that wait to be handed out.
pub(super) struct Waiting<'a, T, F> {
    process: &'a Snapshot,
    rows: Vec<T>,
    /// How many bytes they are, as far as they were counted.
    bytes: usize,
    columns: F,
}

impl<'a, T, F: Fn(&Snapshot, &[T]) -> Step<Vec<ArrayRef>>> Waiting<'a, T, F> {
    pub(super) fn new(process: &'a Snapshot, columns: F) -> Self {
        Waiting {
            process,
            rows: Vec::new(),
            bytes: 0,
            columns,
        }
    }

    /// Adds a row of so many bytes, where rows may be large.
    pub(super) fn push(&mut self, row: T, bytes: usize, out: &mut Output<'_>) -> Step {
        /// When rows are handed out although more would fit into a batch.
        const BYTES: usize = 4 << 20;
        self.rows.push(row);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.rows.len() >= out.batch_rows() || self.bytes >= BYTES {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    pub(super) fn flush(&mut self, out: &mut Output<'_>) -> Step {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        out.emit(rows.len(), &(self.columns)(self.process, &rows)?)
    }
}

/// What is known of a row from the chunk that its call is in.
pub(super) fn call(column: &str) -> &str {
    match column {
        "process_id" | "connection" | "record_offset" | "time" | "elapsed_ns" => column,
        _ => "",
    }
}

/// A moment of a process, in microseconds since the Unix epoch.
pub(super) fn moment(process: &Snapshot, ns: u64) -> i64 {
    micros(process.start().start_time.plus(ElapsedNs(ns)))
}

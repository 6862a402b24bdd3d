//! A way through the chunks of a process with the decoder of files, for the tables that are made of
//! its rows. No more is read of a chunk than these rows need: chunks that can change nothing are left
//! out, and payloads are left compressed where no path and no row is wanted of them.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{Calls, FunctionId, Offset, Outcome, Projection, Record, function};
use timecraft_udfs::files::{self, Files, Meaning, Row};

use crate::scan::Scan;
use crate::scan::output::{Metrics, Output, Step};
use crate::scan::pruning::Chunks;

/// What a table wants of the decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    /// Whether paths are asked for.
    pub(super) paths: bool,
    /// Whether positions are asked for.
    pub(super) positions: bool,
    /// Which records give rows.
    pub(super) rows: fn(Meaning) -> bool,
    /// Whether it takes a record's payload to give its rows.
    pub(super) payload: bool,
}

/// What decoding needs of a chunk where it needs no payload.
pub(super) const COLUMNS: Projection = Projection::STARTS
    .and(Projection::RESULTS)
    .and(Projection::ARGS)
    .and(Projection::OUTS);

/// The chunks of a process by segment; what is in the tail goes with the last. A segment knows what
/// was open when it began, so each part can be read alone.
pub(super) fn by_segment(process: &Snapshot) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut segment = None;
    for (at, chunk) in process.chunks().iter().enumerate() {
        match parts.last_mut() {
            Some(part) if chunk.segment().is_none() || chunk.segment() == segment => part.end += 1,
            _ => parts.push(at..at + 1),
        }
        segment = chunk.segment().or(segment);
    }
    parts
}

/// The parts that may have rows that are asked for, each as far as these come.
pub(super) fn split(process: &Snapshot, scan: &Scan, out: &Output<'_>) -> Vec<Range<usize>> {
    let keep = scan.pruner.keep(&Chunks::of(process));
    let mut parts = by_segment(process);
    parts.retain_mut(|part| {
        let last = keep[part.clone()].iter().rposition(|keep| *keep);
        let end = last.map_or(part.start, |last| part.start + last + 1);
        out.metrics.chunks.add_pruned(part.end - end);
        part.end = end;
        last.is_some()
    });
    let part_of = |at| parts.partition_point(|part| part.end <= at);
    let is_read = |at| {
        parts
            .get(part_of(at))
            .is_some_and(|part| part.contains(&at))
    };
    out.metrics.count_segments(process, is_read);
    parts
}

/// Functions that matter to somebody.
struct Functions {
    ids: Vec<FunctionId>,
    /// By number, so that rows are looked at fast.
    calls: Vec<bool>,
}

impl Functions {
    fn which(keep: impl Fn(Meaning) -> bool) -> Functions {
        let all = function::functions().map(|row| row.id);
        let all = all.chain([FunctionId::GAP]);
        let ids: Vec<_> = all.filter(|&id| keep(files::meaning(id))).collect();
        let mut calls = Vec::new();
        for id in ids.iter().filter(|id| !id.is_event()) {
            let at = usize::from(id.0);
            calls.resize(calls.len().max(at + 1), false);
            calls[at] = true;
        }
        Functions { ids, calls }
    }

    fn has(&self, id: FunctionId) -> bool {
        match self.calls.get(usize::from(id.0)) {
            Some(known) => *known,
            None => id.is_event() && self.ids.contains(&id),
        }
    }
}

/// The decoder, on its way.
pub(super) struct Follow<'a> {
    scan: &'a Scan,
    process: &'a Snapshot,
    metrics: &'a Metrics,
    wants: Wants,
    files: Files,
    /// The functions that matter where no rows are wanted of a chunk, and where some are.
    following: Functions,
    giving: Functions,
    /// The offset that comes next, and the segment that it is in.
    next: Option<Offset>,
    at: Option<usize>,
}

impl<'a> Follow<'a> {
    /// Ready for the chunk of that index, the first of its segment.
    pub(super) fn new(
        scan: &'a Scan,
        process: &'a Snapshot,
        metrics: &'a Metrics,
        first: usize,
        wants: Wants,
    ) -> Self {
        let follows = |m: Meaning| m.follows || wants.positions && m.moves;
        let mut follow = Follow {
            scan,
            process,
            metrics,
            wants,
            files: Files::at_start(process.start()),
            following: Functions::which(follows),
            giving: Functions::which(|m| follows(m) || (wants.rows)(m)),
            next: Some(Offset(0)),
            at: None,
        };
        if let Some(chunk) = process.chunks().get(first)
            && chunk.summary().first_offset != Offset(0)
        {
            let table = chunk.descriptors_of_segment();
            match table.filter(|_| begins_segment(process, chunk)) {
                Some(table) => follow.files = Files::at_segment(process.start(), table),
                // Nothing is followed yet, so nothing is given.
                None => {
                    let Ok(()) = follow.files.lose(|_| Ok::<(), Infallible>(()));
                }
            }
            follow.at = first.checked_sub(1);
            follow.next = None;
        }
        follow
    }

    /// What is open.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Follows the next chunk, by its index, and gives its rows where they are wanted, each with its
    /// record and that one's index in the chunk; a file that is lost sight of has none. Returns what
    /// was read.
    pub(super) fn chunk(
        &mut self,
        at: usize,
        rows_wanted: bool,
        mut give: impl FnMut(Option<(&Record<'_>, usize)>, Row<'_>) -> Step,
    ) -> Step<Option<(Arc<Calls>, Projection)>> {
        let Some(chunk) = self.process.chunks().get(at) else {
            return Ok(None);
        };
        let summary = chunk.summary();
        self.arrive(at, chunk, &mut give)?;
        let functions = if rows_wanted {
            &self.giving
        } else {
            &self.following
        };
        if !functions
            .ids
            .iter()
            .any(|&id| summary.may_have_function(id))
        {
            self.metrics.chunks.add_pruned(1);
            return Ok(None);
        }
        self.metrics.chunks.add_matched(1);
        let Some(calls) = self.read(chunk, COLUMNS)? else {
            self.files.lose(|row| give(None, row))?;
            return Ok(None);
        };
        let numbered = calls.functions.iter().enumerate();
        let rows: Vec<usize> = numbered
            .filter(|&(_, &id)| functions.has(id))
            .map(|(row, _)| row)
            .collect();
        let payload = rows
            .iter()
            .any(|&row| self.needs_payload(&calls, row, rows_wanted));
        let (calls, read) = if payload {
            match self.read(chunk, Projection::ALL)? {
                Some(calls) => (calls, Projection::ALL),
                None => {
                    self.files.lose(|row| give(None, row))?;
                    return Ok(None);
                }
            }
        } else {
            (calls, COLUMNS)
        };
        for row in rows {
            if let Some(record) = calls.get(row) {
                self.files.apply(&record, |given| {
                    if rows_wanted {
                        give(Some((&record, row)), given)
                    } else {
                        Ok(())
                    }
                })?;
            }
        }
        Ok(Some((calls, read)))
    }

    /// None where the chunk is damaged and that is to be skipped.
    fn read(&self, chunk: &Chunk, columns: Projection) -> Step<Option<Arc<Calls>>> {
        let calls = self.scan.pin.read(self.process, chunk, columns)?;
        if calls.is_some() {
            self.metrics.count_bytes(chunk, columns);
        }
        Ok(calls)
    }

    fn needs_payload(&self, calls: &Calls, row: usize, rows_wanted: bool) -> bool {
        let Some(&id) = calls.functions.get(row) else {
            return false;
        };
        let outcome = calls.outcomes.get(row).copied();
        let outcome = outcome.unwrap_or(Outcome::Returned);
        let succeeded = outcome == Outcome::Returned && calls.results.get(row) == Some(&0);
        let meaning = files::meaning(id);
        meaning.opens && self.wants.paths && succeeded
            || rows_wanted && self.wants.payload && (self.wants.rows)(meaning)
            || files::needs_payload(id, outcome)
    }

    /// Notices what is missing between the chunk before and this one, and what a segment says anew.
    fn arrive(
        &mut self,
        at: usize,
        chunk: &Chunk,
        mut give: impl FnMut(Option<(&Record<'_>, usize)>, Row<'_>) -> Step,
    ) -> Step {
        let summary = chunk.summary();
        if self.next.is_some_and(|next| next != summary.first_offset) {
            self.files.lose(|row| give(None, row))?;
        }
        self.next = Some(summary.end_offset());
        let before = self.at.and_then(|at| self.process.chunks().get(at));
        let same = before.is_some_and(|before| before.segment() == chunk.segment());
        self.at = Some(at);
        if !same
            && begins_segment(self.process, chunk)
            && let Some(table) = chunk.descriptors_of_segment()
        {
            self.files.found(table);
        }
        Ok(())
    }
}

/// Whether the first chunk that is there of a segment is the first that was written of it.
pub(super) fn begins_segment(process: &Snapshot, chunk: &Chunk) -> bool {
    let first = chunk.summary().first_offset;
    let damage = process.damage();
    let Some(gap) = damage.iter().find(|d| d.after == Some(first)) else {
        return true;
    };
    // The gap is where this file goes on; more damage in the same file may be what made it.
    !damage
        .iter()
        .any(|d| d.path == gap.path && d.after.is_none())
}

//! Dropping processes, modules and chunks by what is known of them before their rows are made.
//!
//! DataFusion's [`PruningPredicate`] asks for bounds; the types here answer. An answer may be wider
//! than the truth and must never be narrower: what is dropped is never looked at.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringViewArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::physical_expr::conjunction_opt;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::{PruningPredicate, build_pruning_predicate};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::metrics::Count;
use datafusion::scalar::ScalarValue;
use timecraft_segment::snapshot::{Chunk, Snapshot};
use timecraft_segment::{ElapsedNs, ProcessId, UnixNs, function};
use timecraft_udfs::files;

use super::time_type;

/// A scan's predicates, made ready for pruning; made ready anew when one of them, a join's or a top-k
/// sort's, has learned more.
#[derive(Debug)]
pub(crate) struct Pruner {
    schema: SchemaRef,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    ready: Mutex<Option<Ready>>,
}

#[derive(Clone, Debug)]
struct Ready {
    generation: u64,
    /// None where nothing can be pruned.
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruner {
    pub(crate) fn new(predicates: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Pruner {
        Pruner {
            schema: Arc::clone(schema),
            predicate: conjunction_opt(predicates.iter().cloned()),
            ready: Mutex::new(None),
        }
    }

    /// Whether a predicate may learn more while the query runs.
    pub(crate) fn learns(&self) -> bool {
        self.predicate
            .as_ref()
            .is_some_and(|p| snapshot_generation(p) != 0)
    }

    /// For each container whether it may have rows that pass.
    pub(crate) fn keep(&self, containers: &dyn PruningStatistics) -> Vec<bool> {
        let all = || vec![true; containers.num_containers()];
        if containers.num_containers() == 0 {
            return Vec::new();
        }
        // A predicate that cannot be evaluated on bounds prunes nothing; it is evaluated on rows,
        // where its error, if it is one, is told.
        self.ready()
            .and_then(|predicate| predicate.prune(containers).ok())
            .unwrap_or_else(all)
    }

    fn ready(&self) -> Option<Arc<PruningPredicate>> {
        let predicate = self.predicate.as_ref()?;
        let generation = snapshot_generation(predicate);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.as_ref() {
            Some(ready) if ready.generation == generation => ready.predicate.clone(),
            _ => {
                let predicate =
                    build_pruning_predicate(Arc::clone(predicate), &self.schema, &Count::new());
                *ready = Some(Ready {
                    generation,
                    predicate: predicate.clone(),
                });
                predicate
            }
        }
    }
}

/// Processes or modules of which only the id is known.
pub(crate) struct Keys<'a> {
    schema: &'a SchemaRef,
    column: &'static str,
    keys: StringViewArray,
    /// The earliest moment of any row, in microseconds since the Unix epoch; empty for modules.
    earliest: Vec<i64>,
}

impl<'a> Keys<'a> {
    pub(crate) fn processes(schema: &'a SchemaRef, ids: &[ProcessId]) -> Keys<'a> {
        // An id is made a moment before its process starts. A day allows for a clock that was set
        // back in between.
        const SLACK_US: i64 = 86_400_000_000;
        Keys {
            schema,
            column: "process_id",
            keys: ids.iter().map(|id| Some(id.to_string())).collect(),
            earliest: ids.iter().map(|id| micros(id.time()) - SLACK_US).collect(),
        }
    }

    pub(crate) fn modules(schema: &'a SchemaRef, ids: &[String]) -> Keys<'a> {
        Keys {
            schema,
            column: "module_id",
            keys: ids.iter().map(Some).collect(),
            earliest: Vec::new(),
        }
    }

    fn ids(&self, column: &Column) -> Option<ArrayRef> {
        (column.name == self.column).then(|| Arc::new(self.keys.clone()) as ArrayRef)
    }
}

impl PruningStatistics for Keys<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let is_time = self.schema.field_with_name(&column.name).ok()?.data_type() == &time_type();
        if is_time && !self.earliest.is_empty() {
            return Some(times(self.earliest.iter().copied()));
        }
        self.ids(column)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ids(column)
    }

    fn num_containers(&self) -> usize {
        self.keys.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name != self.column {
            return None;
        }
        let wanted = strings(values)?;
        // A key is the only value of its rows, so here both answers are certain.
        Some(
            self.keys
                .iter()
                .map(|key| key.map(|key| wanted.contains(key)))
                .collect(),
        )
    }
}

/// The chunks of a process, and what their summaries say of the rows of `host_calls` and, as far as
/// columns have the same names, of the other tables that are made of records.
pub(crate) struct Chunks<'a> {
    process_id: String,
    start: UnixNs,
    chunks: &'a [Chunk],
    /// What a column of the table is in the summary of the chunk that a row begins in.
    name: fn(&str) -> &str,
}

impl<'a> Chunks<'a> {
    pub(crate) fn of(process: &'a Snapshot) -> Chunks<'a> {
        Chunks::some(process, process.chunks())
    }

    /// The same for a table whose columns have other names; what a summary does not know of is empty.
    pub(crate) fn named(self, name: fn(&str) -> &str) -> Chunks<'a> {
        Chunks { name, ..self }
    }

    /// Some chunks of the process alone.
    pub(crate) fn some(process: &Snapshot, chunks: &'a [Chunk]) -> Chunks<'a> {
        Chunks {
            process_id: process.process_id().to_string(),
            start: process.start().start_time,
            chunks,
            name: |name| name,
        }
    }

    fn longs(&self, value: impl Fn(&Chunk) -> u64) -> Option<ArrayRef> {
        let values = self.chunks.iter().map(|chunk| long(value(chunk)));
        Some(Arc::new(Int64Array::from_iter_values(values)))
    }

    fn moments(&self, value: impl Fn(&Chunk) -> ElapsedNs) -> Option<ArrayRef> {
        let values = self
            .chunks
            .iter()
            .map(|chunk| micros(self.start.plus(value(chunk))));
        Some(times(values))
    }

    /// Null where the range is not one of 32-bit signed numbers: a guest may pass any descriptor.
    fn fds(&self, end: impl Fn((u32, u32)) -> u32) -> Option<ArrayRef> {
        let fd = |chunk: &Chunk| {
            let range = chunk.summary().fds?;
            i32::try_from(range.1).ok()?;
            i32::try_from(end(range)).ok()
        };
        Some(Arc::new(self.chunks.iter().map(fd).collect::<Int32Array>()))
    }

    /// Zero where no call failed, else unknown.
    fn errnos(&self) -> Option<ArrayRef> {
        let errno = |chunk: &Chunk| (!chunk.summary().any_failed).then_some(0);
        Some(Arc::new(
            self.chunks.iter().map(errno).collect::<Int32Array>(),
        ))
    }

    fn same_text(&self, text: &str) -> Option<ArrayRef> {
        Some(Arc::new(
            self.chunks
                .iter()
                .map(|_| Some(text))
                .collect::<StringViewArray>(),
        ))
    }

    /// False for the chunks that surely have no row for which `may` holds.
    fn unless(&self, may: impl Fn(&Chunk) -> bool) -> Option<BooleanArray> {
        Some(
            self.chunks
                .iter()
                .map(|chunk| if may(chunk) { None } else { Some(false) })
                .collect(),
        )
    }
}

impl PruningStatistics for Chunks<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match (self.name)(&column.name) {
            "process_id" => self.same_text(&self.process_id),
            // A connection is named by a record that is not after any of its rows.
            "connection" => self.longs(|_| 0),
            "record_offset" => self.longs(|c| c.summary().first_offset.0),
            "elapsed_ns" => self.longs(|c| c.summary().first_time.0),
            "time" => self.moments(|c| c.summary().first_time),
            "fd" => self.fds(|range| range.0),
            "errno" => self.errnos(),
            _ => None,
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match (self.name)(&column.name) {
            "process_id" => self.same_text(&self.process_id),
            "connection" | "record_offset" => {
                self.longs(|c| c.summary().end_offset().0.saturating_sub(1))
            }
            "elapsed_ns" => self.longs(|c| c.summary().last_time.0),
            "time" => self.moments(|c| c.summary().last_time),
            "fd" => self.fds(|range| range.1),
            "errno" => self.errnos(),
            _ => None,
        }
    }

    fn num_containers(&self) -> usize {
        self.chunks.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let all_null = |chunk: &Chunk| match (self.name)(&column.name) {
            "fd" => chunk.summary().fds.is_none(),
            "error" => !chunk.summary().any_failed,
            _ => false,
        };
        let nulls = self
            .chunks
            .iter()
            .map(|c| all_null(c).then(|| u64::from(c.summary().count)));
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.chunks.iter().map(|c| u64::from(c.summary().count));
        Some(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        match (self.name)(&column.name) {
            "process_id" => {
                let is = strings(values)?.contains(self.process_id.as_str());
                Some(self.chunks.iter().map(|_| Some(is)).collect())
            }
            "function" => {
                let wanted = strings(values)?;
                let ids: Vec<_> = function::functions()
                    .filter(|row| wanted.contains(row.name))
                    .map(|row| row.id)
                    .collect();
                self.unless(|c| ids.iter().any(|&id| c.summary().may_have_function(id)))
            }
            "operation" => {
                let wanted = strings(values)?;
                let operations = files::operations().filter(|(_, name)| wanted.contains(name));
                let ids: Vec<_> = operations.map(|(id, _)| id).collect();
                self.unless(|c| ids.iter().any(|&id| c.summary().may_have_function(id)))
            }
            "direction" => {
                let wanted = strings(values)?;
                let transfers = files::transfers().filter(|(_, way)| wanted.contains(way.name()));
                let ids: Vec<_> = transfers.map(|(id, _)| id).collect();
                self.unless(|c| ids.iter().any(|&id| c.summary().may_have_function(id)))
            }
            "fd" => {
                let wanted: Option<Vec<u32>> = values
                    .iter()
                    .map(|value| match value {
                        ScalarValue::Int32(Some(fd)) => Some(fd.cast_unsigned()),
                        _ => None,
                    })
                    .collect();
                let wanted = wanted?;
                self.unless(|c| wanted.iter().any(|&fd| c.summary().may_have_fd(fd)))
            }
            _ => None,
        }
    }
}

/// The values as strings; none where one is no string or null, of which nothing is known.
fn strings(values: &HashSet<ScalarValue>) -> Option<HashSet<&str>> {
    values
        .iter()
        .map(|value| value.try_as_str().flatten())
        .collect()
}

/// Microseconds since the Unix epoch, rounded down, as all points in time in SQL.
pub(crate) fn micros(time: UnixNs) -> i64 {
    time.0.div_euclid(1000)
}

/// A count as SQL has it. No log has 2^63 of anything.
pub(crate) fn long(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Points in time, from microseconds since the Unix epoch.
pub(crate) fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// A point in time that may be missing.
pub(crate) fn optional_time(value: Option<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![value]).with_timezone("UTC"))
}

//! The columns of `host_calls`, and how they are made of the calls of a chunk.
//!
//! Columns are made whole, for many rows at once, and rows share what text they can: this is what
//! the speed of counting and summing calls depends on.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use timecraft_segment::function::{self, Kind, Returns};
use timecraft_segment::{
    Calls, Chunk, ElapsedNs, Outcome, Projection, Record, Snapshot, UnixNs, describe, text, wasi,
};

use crate::pin::Pin;
use crate::scan::Column;
use crate::scan::output::Output;
use crate::scan::pruning::{long, micros, times};

/// The columns, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    ProcessId,
    RecordOffset,
    Time,
    ElapsedNs,
    DurationNs,
    Module,
    Function,
    Outcome,
    Errno,
    Error,
    Fd,
    Path,
    Path2,
    Bytes,
    Args,
    Note,
}

impl Call {
    /// All, in order.
    pub(super) const ALL: [Call; 16] = [
        Call::ProcessId,
        Call::RecordOffset,
        Call::Time,
        Call::ElapsedNs,
        Call::DurationNs,
        Call::Module,
        Call::Function,
        Call::Outcome,
        Call::Errno,
        Call::Error,
        Call::Fd,
        Call::Path,
        Call::Path2,
        Call::Bytes,
        Call::Args,
        Call::Note,
    ];

    pub(super) fn column(self) -> Column {
        match self {
            Call::ProcessId => Column::text("process_id", "The process that made the call."),
            Call::RecordOffset => {
                Column::long("record_offset", "The number of the record in the process.")
            }
            Call::Time => Column::time("time", "When the guest entered the host."),
            Call::ElapsedNs => Column::long(
                "elapsed_ns",
                "The same, in nanoseconds since the process started.",
            ),
            Call::DurationNs => Column::long(
                "duration_ns",
                "How long the guest was in the host, in nanoseconds; null while it is.",
            )
            .nullable(),
            Call::Module => Column::text(
                "module",
                "The module that the guest imports the function from.",
            )
            .nullable(),
            Call::Function => Column::text(
                "function",
                "The function; null where it was recorded by a later version that has more.",
            )
            .nullable(),
            Call::Outcome => Column::text(
                "outcome",
                "How the call ended: returned, trapped, exited, interrupted, in flight.",
            ),
            Call::Errno => Column::int(
                "errno",
                "What the function returned, 0 for success; null where it did not return.",
            )
            .nullable(),
            Call::Error => Column::text(
                "error",
                "The name of errno where the call failed, as ENOENT.",
            )
            .nullable(),
            Call::Fd => Column::int("fd", "The first descriptor among the arguments.").nullable(),
            Call::Path => Column::text(
                "path",
                "The path as the guest passed it; bytes that are not UTF-8 as \\xNN.",
            )
            .nullable(),
            Call::Path2 => {
                Column::text("path2", "The second path, of a link or a rename.").nullable()
            }
            Call::Bytes => {
                Column::long("bytes", "How many bytes the call read or wrote.").nullable()
            }
            Call::Args => Column::text("args", "The arguments and outputs by name, as JSON."),
            Call::Note => {
                Column::text("note", "What the guest never sees: why the host refused.").nullable()
            }
        }
    }

    /// What must be read of a chunk to make the column.
    fn needs(self) -> Projection {
        match self {
            Call::ProcessId | Call::RecordOffset | Call::Module | Call::Function => {
                Projection::FUNCTIONS
            }
            Call::Time | Call::ElapsedNs => Projection::STARTS,
            Call::DurationNs => Projection::DURATIONS.and(Projection::RESULTS),
            Call::Outcome | Call::Errno | Call::Error => Projection::RESULTS,
            Call::Fd => Projection::ARGS,
            Call::Bytes => Projection::OUTS.and(Projection::RESULTS),
            Call::Path | Call::Path2 | Call::Args | Call::Note => Projection::ALL,
        }
    }
}

/// What must be read of a chunk to make these columns.
pub(super) fn needs(columns: &[usize]) -> Projection {
    columns
        .iter()
        .filter_map(|&at| Call::ALL.get(at))
        .fold(Projection::FUNCTIONS, |all, column| all.and(column.needs()))
}

/// What is known of a function by its number, so that no row has to look it up.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Its place in [`NAMES`]; 0 where it is not known.
    known: u32,
    returns_errno: bool,
    fd: Option<usize>,
    bytes: Option<usize>,
}

static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let mut facts = Vec::new();
    for (i, row) in function::functions().enumerate() {
        let at = usize::from(row.id.0);
        if facts.len() <= at {
            facts.resize(at + 1, Facts::default());
        }
        facts[at] = Facts {
            known: u32::try_from(i).map_or(0, |i| i + 1),
            returns_errno: row.returns == Returns::Errno,
            fd: row.position(|kind| kind == Kind::Fd),
            bytes: row.bytes,
        };
    }
    facts
});

/// Texts that many rows share: a row takes a view of one, and no bytes are copied.
struct Names {
    modules: StringViewArray,
    functions: StringViewArray,
    outcomes: StringViewArray,
    errors: StringViewArray,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let unknown = std::iter::once(None);
    Names {
        modules: unknown
            .clone()
            .chain(function::functions().map(|f| Some(f.module)))
            .collect(),
        functions: unknown
            .clone()
            .chain(function::functions().map(|f| Some(f.name)))
            .collect(),
        outcomes: Outcome::ALL
            .iter()
            .map(|outcome| Some(outcome.name()))
            .collect(),
        // Success has no error.
        errors: unknown
            .chain(wasi::ERRNO_NAMES.iter().skip(1).map(|name| Some(*name)))
            .collect(),
    }
});

fn facts(calls: &Calls, row: u32) -> Facts {
    calls
        .functions
        .get(row as usize)
        .and_then(|id| FACTS.get(usize::from(id.0)))
        .copied()
        .unwrap_or_default()
}

/// The calls of a chunk, as far as they have been read, and the columns made of them.
pub(super) struct Reader<'a> {
    process: &'a Snapshot,
    chunk: &'a Chunk,
    pin: &'a Pin,
    start: UnixNs,
    calls: Arc<Calls>,
    read: Option<Projection>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(process: &'a Snapshot, chunk: &'a Chunk, pin: &'a Pin) -> Self {
        let start = process.start().start_time;
        Reader {
            process,
            chunk,
            pin,
            start,
            calls: Arc::default(),
            read: None,
        }
    }

    /// Reads what is needed and not there yet. False where that is damaged and to be skipped.
    pub(super) fn need(
        &mut self,
        needs: Projection,
        out: &Output<'_>,
    ) -> Result<bool, DataFusionError> {
        if self.read.is_some_and(|read| read.has(needs)) {
            return Ok(true);
        }
        let needs = self.read.map_or(needs, |read| read.and(needs));
        let Some(calls) = self.pin.read(self.process, self.chunk, needs)? else {
            return Ok(false);
        };
        self.calls = calls;
        self.read = Some(needs);
        out.metrics.count_bytes(self.chunk, needs);
        Ok(true)
    }

    /// The rows that are calls of the guest.
    pub(super) fn rows(&self) -> Vec<u32> {
        let rows = self.calls.functions.iter().zip(0_u32..);
        rows.filter(|(id, _)| !id.is_event())
            .map(|(_, row)| row)
            .collect()
    }

    /// Cuts rows into windows of at most so many, and of a bounded size where payloads were read.
    pub(super) fn windows<'r>(
        &'r self,
        rows: &'r [u32],
        most: usize,
    ) -> impl Iterator<Item = &'r [u32]> {
        const PAYLOAD_BYTES: usize = 1 << 20;
        let mut rest = rows;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut bytes = 0;
            let fitting = rest.iter().take(most).take_while(|&&row| {
                let fits = bytes < PAYLOAD_BYTES;
                bytes += self.payload_bytes(row);
                fits
            });
            let (window, after) = rest.split_at(fitting.count().max(1));
            rest = after;
            Some(window)
        })
    }

    fn payload_bytes(&self, row: u32) -> usize {
        let end = |row: u32| at(&self.calls.payload_ends, row);
        let before = row.checked_sub(1).map_or(0, end);
        end(row).saturating_sub(before) as usize
    }

    pub(super) fn batch(
        &self,
        columns: &[usize],
        schema: &SchemaRef,
        rows: &[u32],
    ) -> Result<RecordBatch> {
        let arrays = columns
            .iter()
            .filter_map(|&at| Call::ALL.get(at))
            .map(|&column| self.column(column, rows))
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            arrays,
            &options,
        )?)
    }

    fn column(&self, column: Call, rows: &[u32]) -> Result<ArrayRef> {
        let calls = &self.calls;
        let outcome = |row: u32| calls.outcomes.get(row as usize).copied();
        let returned = |row: u32| outcome(row) == Some(Outcome::Returned);
        let errno = |row: u32| {
            let result = at(&calls.results, row);
            (facts(calls, row).returns_errno && returned(row)).then_some(result)
        };
        Ok(match column {
            Call::ProcessId => {
                let id = self.process.process_id().to_string();
                shared(
                    &StringViewArray::from_iter_values([id]),
                    rows.iter().map(|_| 0),
                )?
            }
            Call::RecordOffset => longs(rows.iter().map(|&row| long(calls.offset(row as usize).0))),
            Call::Time => {
                let elapsed = rows.iter().map(|&row| at(&calls.starts, row));
                times(elapsed.map(|ns| micros(self.start.plus(ElapsedNs(ns)))))
            }
            Call::ElapsedNs => longs(rows.iter().map(|&row| long(at(&calls.starts, row)))),
            Call::DurationNs => Arc::new(
                rows.iter()
                    .map(|&row| {
                        let over = outcome(row) != Some(Outcome::InFlight);
                        over.then(|| long(at(&calls.durations, row)))
                    })
                    .collect::<Int64Array>(),
            ),
            Call::Module => shared(
                &NAMES.modules,
                rows.iter().map(|&row| facts(calls, row).known),
            )?,
            Call::Function => shared(
                &NAMES.functions,
                rows.iter().map(|&row| facts(calls, row).known),
            )?,
            Call::Outcome => {
                let number = |&row| outcome(row).map_or(0, |outcome| outcome as u32);
                shared(&NAMES.outcomes, rows.iter().map(number))?
            }
            Call::Errno => Arc::new(
                rows.iter()
                    .map(|&row| errno(row).and_then(|n| i32::try_from(n).ok()))
                    .collect::<Int32Array>(),
            ),
            Call::Error => {
                let place = |&row| match errno(row) {
                    Some(n) if (n as usize) < NAMES.errors.len() => n as u32,
                    _ => 0,
                };
                shared(&NAMES.errors, rows.iter().map(place))?
            }
            Call::Fd => Arc::new(
                rows.iter()
                    .map(|&row| {
                        let fd = *calls.args(row as usize).get(facts(calls, row).fd?)?;
                        // As the guest sees it: an i32.
                        Some((fd as u32).cast_signed())
                    })
                    .collect::<Int32Array>(),
            ),
            Call::Bytes => Arc::new(
                rows.iter()
                    .map(|&row| {
                        let bytes = facts(calls, row).bytes?;
                        // What was moved before an error is no success: see describe::bytes.
                        if at(&calls.results, row) != 0 {
                            return None;
                        }
                        calls.outs(row as usize).get(bytes).map(|&n| long(n))
                    })
                    .collect::<Int64Array>(),
            ),
            Call::Path => self.texts(rows, |r, b| {
                b.append_option(describe::path(r).map(text::lossless))
            }),
            Call::Path2 => self.texts(rows, |r, b| {
                b.append_option(describe::path2(r).map(text::lossless))
            }),
            Call::Args => self.texts(rows, |r, b| b.append_value(describe::args_json(r))),
            Call::Note => self.texts(rows, |r, b| b.append_option(r.note)),
        })
    }

    fn texts(&self, rows: &[u32], put: impl Fn(&Record<'_>, &mut StringViewBuilder)) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(rows.len());
        for &row in rows {
            match self.calls.get(row as usize) {
                Some(record) => put(&record, &mut builder),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }
}

fn at<T: Copy + Default>(values: &[T], row: u32) -> T {
    values.get(row as usize).copied().unwrap_or_default()
}

pub(super) fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// An array that takes views of `texts`, which all rows share.
pub(super) fn shared(
    texts: &StringViewArray,
    places: impl Iterator<Item = u32>,
) -> Result<ArrayRef> {
    Ok(take(texts, &UInt32Array::from_iter_values(places), None)?)
}

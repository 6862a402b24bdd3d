//! The table `processes`: one row for each execution, running ones included.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
    StringViewArray,
};
use datafusion::error::Result;
use timecraft_segment::snapshot::{LogState, SegmentInfo, Snapshot};
use timecraft_segment::{ElapsedNs, Ended};

use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, micros, optional_time, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Processes;

impl Table for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn description(&self) -> &'static str {
        "An execution"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The id, a UUIDv7: ordered by time."),
            Column::text("parent_process_id", "The process that started it.").nullable(),
            Column::text("name", "What its user named it.").nullable(),
            Column::map("labels", "What its user labelled it with."),
            Column::text("host", "The machine that it ran on."),
            Column::text("user", "The user that ran it."),
            Column::text(
                "module_id",
                "The SHA-256 of the module, in hexadecimal digits.",
            ),
            Column::text("module_name", "The file name of the module."),
            Column::texts("args", "The arguments, the program's own name first."),
            Column::map(
                "environment",
                "The names of the environment that the guest saw. Values may be secrets and are \
                 null here; environment_value(process_id, name) gives one by name.",
            ),
            Column::texts(
                "grants",
                "What the guest could use, as the flags that gave it.",
            ),
            Column::time("start_time", "When it started."),
            Column::time("end_time", "When it ended; null while it runs.").nullable(),
            Column::long(
                "duration_ns",
                "How long it ran, in nanoseconds; null while it runs.",
            )
            .nullable(),
            Column::text(
                "status",
                "running, exited, trapped, killed, or lost: its host died.",
            ),
            Column::int("exit_code", "What it exited with.").nullable(),
            Column::int("signal", "The signal that ended it.").nullable(),
            Column::text("trap", "Why it trapped, with the backtrace.").nullable(),
            Column::text("runtime_version", "The version of timecraft that ran it."),
            Column::long("records", "How many records its log has."),
            Column::long(
                "raw_bytes",
                "How many bytes the records took before compression.",
            ),
            Column::long("stored_bytes", "How many bytes its log takes."),
            Column::long(
                "stall_ns",
                "How long it waited for its log, in nanoseconds.",
            ),
        ]
    }

    fn read(&self, item: &Item, _scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let arrays = row(process)?;
        out.emit(1, &arrays)
    }
}

/// All columns of the one row of a process.
fn row(process: &Snapshot) -> Result<Vec<ArrayRef>> {
    let start = process.start();
    let end = process.end();
    let last = process
        .chunks()
        .last()
        .map_or(ElapsedNs(0), |chunk| chunk.summary().last_time);
    // The last record of a log that goes no further tells when it ended.
    let ended = (process.state() != LogState::Live).then_some(last);
    let status = match (process.state(), end.map(|end| end.status)) {
        (_, Some(Ended::Exited)) => "exited",
        (_, Some(Ended::Trapped)) => "trapped",
        (_, Some(Ended::Killed)) => "killed",
        (_, Some(Ended::Lost)) | (LogState::Ended | LogState::Lost, None) => "lost",
        (LogState::Live, None) => "running",
    };
    let sum = |bytes: fn(&SegmentInfo) -> u64| process.segments().iter().map(bytes).sum();
    Ok(vec![
        text(Some(process.process_id().to_string())),
        text(start.parent_process_id.map(|id| id.to_string())),
        text(start.name.as_ref()),
        map(start.labels.iter().map(|(name, value)| (name, Some(value))))?,
        text(Some(&start.host)),
        text(Some(&start.user)),
        text(Some(start.module_id.to_string())),
        text(Some(&start.module_name)),
        list(&start.args),
        map(start.environment.iter().map(|(name, _)| (name, None)))?,
        list(&start.grants),
        times(std::iter::once(micros(start.start_time))),
        optional_time(ended.map(|elapsed| micros(start.start_time.plus(elapsed)))),
        longs(ended.map(|elapsed| elapsed.0)),
        text(Some(status)),
        int(end.and_then(|end| end.exit_code)),
        int(end.and_then(|end| end.signal)),
        text(end.and_then(|end| end.trap.as_ref())),
        text(Some(&start.runtime_version)),
        longs(Some(process.end_offset().0)),
        longs(Some(sum(|segment| segment.raw_bytes))),
        longs(Some(sum(|segment| segment.stored_bytes))),
        longs(Some(process.stall_ns())),
    ])
}

fn text(value: Option<impl AsRef<str>>) -> ArrayRef {
    Arc::new(std::iter::once(value).collect::<StringViewArray>())
}

fn longs(value: Option<u64>) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value.map(long)]))
}

fn int(value: Option<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value]))
}

fn list(values: &[String]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value(values.iter().map(Some));
    Arc::new(builder.finish())
}

/// One map. The guest may see a name twice in its environment; as in `getenv`, the first counts.
fn map<'a>(pairs: impl Iterator<Item = (&'a String, Option<&'a String>)>) -> Result<ArrayRef> {
    let names = MapFieldNames {
        entry: "entries".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    let mut seen = HashSet::new();
    for (key, value) in pairs.filter(|(key, _)| seen.insert(key.as_str())) {
        builder.keys().append_value(key);
        builder.values().append_option(value);
    }
    builder.append(true)?;
    Ok(Arc::new(builder.finish()))
}

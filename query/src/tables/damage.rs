//! The table `system.damage`: one row for each place in a log that is not as it was written.
//!
//! Scanning it verifies: it reads every record of the processes that are asked for, whatever
//! `timecraft.on_damage` says, and a log of which nothing can be read is a row too.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use timecraft_segment::snapshot::Damage as Place;
use timecraft_segment::{Error as SegmentError, ProcessId, Projection};

use crate::damage::unreadable;
use crate::error::ReadError;
use crate::scan::output::{Output, Step};
use crate::scan::pruning::long;
use crate::scan::work::{Item, RowsOf};
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Damage;

impl Table for Damage {
    fn name(&self) -> &'static str {
        "damage"
    }

    fn description(&self) -> &'static str {
        "A place in a log that is damaged; scanning this reads all that is asked for"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process whose log is damaged."),
            Column::text("path", "The file."),
            Column::long("position", "Where in it the damage begins, in bytes."),
            Column::text("what", "What does not hold."),
            Column::long(
                "first_missing_offset",
                "The first record that is missing, where that is known.",
            )
            .nullable(),
            Column::long(
                "last_missing_offset",
                "The last record that is missing, where that is known.",
            )
            .nullable(),
        ]
    }

    fn rows_of(&self) -> RowsOf {
        RowsOf::Logs
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Log(id) = item else {
            return Ok(());
        };
        let process = match scan.pin.registry().snapshot_past_damage(*id) {
            Ok(process) => process,
            Err(SegmentError::NoLog { .. }) => {
                return match unreadable(scan.pin.registry(), *id) {
                    Some(damage) => emit(*id, &damage, between(&damage), out),
                    None => Ok(()),
                };
            }
            Err(source) => {
                let damage = found(*id, source)?;
                return emit(*id, &damage, between(&damage), out);
            }
        };
        for damage in process.damage() {
            emit(*id, damage, between(damage), out)?;
        }
        for chunk in process.chunks() {
            out.check()?;
            match chunk.read(Projection::ALL) {
                Ok(_) => {
                    out.metrics.chunks.add_matched(1);
                    out.metrics.count_bytes(chunk, Projection::ALL);
                }
                Err(source) => {
                    let summary = chunk.summary();
                    let last = summary.end_offset().0.saturating_sub(1);
                    let missing = (Some(summary.first_offset.0), Some(last));
                    emit(*id, &found(*id, source)?, missing, out)?;
                }
            }
        }
        Ok(())
    }
}

/// The damage that an error is about; another error is one here too.
fn found(process: ProcessId, error: SegmentError) -> Result<Place, ReadError> {
    Place::of(&error).ok_or_else(|| ReadError::process(process)(error))
}

/// The first and the last record that is missing, as far as that is known.
type Missing = (Option<u64>, Option<u64>);

/// What lies between the records that are known to be there.
fn between(damage: &Place) -> Missing {
    let first = damage.before.map(|before| before.0.saturating_add(1));
    let last = damage.after.map(|after| after.0.saturating_sub(1));
    (first, last)
}

fn emit(process: ProcessId, damage: &Place, missing: Missing, out: &mut Output<'_>) -> Step {
    let longs =
        |value: Option<u64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value.map(long)])) };
    let text = |value: &str| -> ArrayRef { Arc::new(StringViewArray::from_iter_values([value])) };
    let arrays = [
        text(&process.to_string()),
        text(&damage.path.display().to_string()),
        longs(Some(damage.position)),
        text(&damage.what),
        longs(missing.0),
        longs(missing.1),
    ];
    out.emit(1, &arrays)
}

//! The table `segments`: one row for each file of a log, and one for the records that are in a
//! running process's tail alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use timecraft_segment::UnixNs;
use timecraft_segment::snapshot::SegmentInfo;

use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, micros, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Segments;

impl Table for Segments {
    fn name(&self) -> &'static str {
        "segments"
    }

    fn description(&self) -> &'static str {
        "A segment of a log"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process whose log it is."),
            Column::long("segment", "Its number in the process, from 0."),
            Column::text("location", "The path of its file."),
            Column::long("first_offset", "The offset of its first record."),
            Column::long("last_offset", "The offset of its last record."),
            Column::time("first_time", "When the call of its first record began."),
            Column::time("last_time", "When the call of its last record began."),
            Column::long("records", "How many records it holds."),
            Column::long(
                "raw_bytes",
                "How many bytes the records took before compression.",
            ),
            Column::long("stored_bytes", "How many bytes the file has."),
            Column::text(
                "state",
                "live while it may grow or lacks its footer, then sealed.",
            ),
        ]
    }

    fn rows_guessed(&self) -> usize {
        4
    }

    fn read(&self, item: &Item, _scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let id = process.process_id().to_string();
        for segments in process.segments().chunks(out.batch_rows()) {
            let arrays = rows(&id, process.start().start_time, segments);
            out.emit(segments.len(), &arrays)?;
        }
        Ok(())
    }
}

fn rows(process_id: &str, start: UnixNs, segments: &[SegmentInfo]) -> Vec<ArrayRef> {
    let longs = |value: fn(&SegmentInfo) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            segments.iter().map(|s| long(value(s))),
        ))
    };
    let moments =
        |value: fn(&SegmentInfo) -> _| times(segments.iter().map(|s| micros(start.plus(value(s)))));
    let texts = |value: &dyn Fn(&SegmentInfo) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(
            segments.iter().map(value),
        ))
    };
    vec![
        texts(&|_| process_id.to_owned()),
        longs(|s| u64::from(s.number.0)),
        texts(&|s| s.path.display().to_string()),
        longs(|s| s.first_offset.0),
        longs(|s| s.last_offset.0),
        moments(|s| s.first_time),
        moments(|s| s.last_time),
        longs(|s| s.records),
        longs(|s| s.raw_bytes),
        longs(|s| s.stored_bytes),
        texts(&|s| if s.sealed { "sealed" } else { "live" }.to_owned()),
    ]
}

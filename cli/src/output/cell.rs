//! Values as text: what stands in one cell.

use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::tz::TimeZone;

/// Calls `row` with the text of each row's cells; NULL is `None`.
///
/// # Errors
/// Of a value that cannot be shown, and of `row`.
pub fn rows(
    batch: &RecordBatch,
    local_times: bool,
    mut row: impl FnMut(&[Option<String>]) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    let options = FormatOptions::default();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        columns.push(match local_instants(column, local_times) {
            Some(instants) => Column::Local(instants, TimeZone::system()),
            None => Column::Any(
                column.as_ref(),
                ArrayFormatter::try_new(column.as_ref(), &options)?,
            ),
        });
    }
    let mut cells = Vec::with_capacity(columns.len());
    for i in 0..batch.num_rows() {
        cells.clear();
        for column in &columns {
            cells.push(column.text(i)?);
        }
        row(&cells)?;
    }
    Ok(())
}

enum Column<'a> {
    Any(&'a dyn Array, ArrayFormatter<'a>),
    Local(&'a TimestampMicrosecondArray, TimeZone),
}

impl Column<'_> {
    fn text(&self, i: usize) -> Result<Option<String>, ArrowError> {
        match self {
            Column::Any(array, _) if array.is_null(i) => Ok(None),
            Column::Any(_, format) => Ok(Some(format.value(i).try_to_string()?)),
            Column::Local(instants, _) if instants.is_null(i) => Ok(None),
            Column::Local(instants, zone) => {
                let instant = jiff::Timestamp::from_microsecond(instants.value(i))
                    .map_err(|e| ArrowError::CastError(e.to_string()))?;
                let local = instant.to_zoned_datetime(zone.clone());
                Ok(Some(local.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()))
            }
        }
    }
}

/// The column's instants, where it has such and they are to be shown in local time.
fn local_instants(column: &dyn Array, local_times: bool) -> Option<&TimestampMicrosecondArray> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) if local_times => {
            column.as_any().downcast_ref()
        }
        _ => None,
    }
}

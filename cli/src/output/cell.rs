//! Values as text: what stands in one cell. Lists, maps and structures are JSON.

use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::{
    EncoderOptions,
    writer::{NullableEncoder, make_encoder},
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::tz::TimeZone;

use crate::escape;

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
    let nested = EncoderOptions::default().with_explicit_nulls(true);
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        columns.push(match local_instants(column, local_times) {
            Some(instants) => Column::Local(instants, TimeZone::system()),
            None if column.data_type().is_nested() => {
                Column::Nested(make_encoder(field, column.as_ref(), &nested)?)
            }
            None => Column::Any(
                column.as_ref(),
                ArrayFormatter::try_new(column.as_ref(), &options)?,
            ),
        });
    }
    let mut cells = Vec::with_capacity(columns.len());
    for i in 0..batch.num_rows() {
        cells.clear();
        for column in &mut columns {
            cells.push(column.text(i)?);
        }
        row(&cells)?;
    }
    Ok(())
}

enum Column<'a> {
    Any(&'a dyn Array, ArrayFormatter<'a>),
    Local(&'a TimestampMicrosecondArray, TimeZone),
    Nested(NullableEncoder<'a>),
}

impl Column<'_> {
    fn text(&mut self, i: usize) -> Result<Option<String>, ArrowError> {
        match self {
            Column::Any(array, _) if array.is_null(i) => Ok(None),
            Column::Any(_, format) => Ok(Some(format.value(i).try_to_string()?)),
            Column::Nested(encoder) if encoder.is_null(i) => Ok(None),
            Column::Nested(encoder) => {
                let mut text = Vec::new();
                encoder.encode(i, &mut text);
                // What is active in its strings is escaped as JSON has it, so that it stays JSON.
                Ok(Some(
                    escape::json(&String::from_utf8_lossy(&text)).into_owned(),
                ))
            }
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

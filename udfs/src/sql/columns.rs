//! Columns of text and of lists inside the structs that functions give.
//!
//! They count bytes in 32 bits. What a call gives can be more, and is then an error with a way out, never a
//! panic.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, ListArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;

use super::arguments::field_fields;
use crate::http::Headers;

/// Appends a text.
pub(super) fn append(to: &mut StringBuilder, text: &str) -> Result<()> {
    room(to.values_slice().len(), text.len())?;
    to.append_value(text);
    Ok(())
}

/// Appends bytes.
pub(super) fn append_bytes(to: &mut BinaryBuilder, bytes: &[u8]) -> Result<()> {
    room(to.values_slice().len(), bytes.len())?;
    to.append_value(bytes);
    Ok(())
}

fn room(before: usize, more: usize) -> Result<()> {
    let together = before.checked_add(more);
    if together.is_none_or(|bytes| i32::try_from(bytes).is_err()) {
        return Err(resources_datafusion_err!(
            "the values of one batch have more than 2 GiB; set datafusion.execution.batch_size to less"
        ));
    }
    Ok(())
}

/// Appends a text, or null.
pub(super) fn append_option(to: &mut StringBuilder, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) => append(to, text),
        None => {
            to.append_null();
            Ok(())
        }
    }
}

/// The type of lists of texts.
pub(super) fn texts_type() -> DataType {
    list_of(DataType::Utf8)
}

/// The type of a list of values that may be null.
#[must_use]
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Lists of structs, from the columns of all of them, and how many each list has.
pub(super) fn lists(
    fields: Fields,
    columns: Vec<ArrayRef>,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<ArrayRef> {
    let items = StructArray::try_new(fields.clone(), columns, None)?;
    let field = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        field,
        offsets,
        Arc::new(items),
        None,
    )?))
}

/// Lists of the fields of HTTP messages.
#[derive(Default)]
pub struct FieldColumn {
    lengths: Vec<usize>,
    names: StringBuilder,
    values: StringBuilder,
}

impl FieldColumn {
    /// Adds a list; an empty one for no fields.
    ///
    /// # Errors
    /// When texts of one batch have more than 2 GiB.
    pub fn push(&mut self, headers: Option<&Headers>) -> Result<()> {
        for (name, value) in headers.into_iter().flat_map(Headers::iter) {
            append(&mut self.names, name)?;
            append(&mut self.values, value)?;
        }
        self.lengths.push(headers.map_or(0, Headers::len));
        Ok(())
    }

    /// The lists.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.names.finish()),
            Arc::new(self.values.finish()),
        ];
        lists(field_fields(), columns, self.lengths)
    }
}

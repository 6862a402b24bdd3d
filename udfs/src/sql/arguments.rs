//! Arguments of a call, in the few types that functions read: whatever a query has, text is read as
//! `Utf8View` and bytes as `BinaryView`, which most can be made without a copy.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, ListArray, StringViewArray, StructArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields as ArrowFields};
use datafusion::common::{exec_datafusion_err, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::columns::list_of;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Bytes; text stands for its own.
    Bytes,
    /// A list of structs of a name and a value, as headers are.
    Fields,
}

/// The names of the columns of [`Kind::Fields`].
const NAME: &str = "name";
const VALUE: &str = "value";

impl Kind {
    /// What it is called in errors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Bytes => "bytes or text",
            Kind::Fields => "a list of structs with name and value",
        }
    }

    /// The type that it is read as.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8View,
            Kind::Bytes => DataType::BinaryView,
            Kind::Fields => fields_type(),
        }
    }

    pub(super) fn accepts(self, given: &DataType) -> bool {
        match given {
            DataType::Null => true,
            DataType::Dictionary(_, value) => self != Kind::Fields && self.accepts(value),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => self != Kind::Fields,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => self == Kind::Bytes,
            DataType::List(item) | DataType::LargeList(item) => {
                self == Kind::Fields && is_field(item.data_type())
            }
            _ => false,
        }
    }
}

/// The type of lists of fields: text inside lists is `Utf8`, as in all tables.
#[must_use]
pub fn fields_type() -> DataType {
    list_of(DataType::Struct(field_fields()))
}

/// What a field is.
pub(super) fn field_fields() -> ArrowFields {
    ArrowFields::from(vec![
        Field::new(NAME, DataType::Utf8, false),
        Field::new(VALUE, DataType::Utf8, false),
    ])
}

fn is_field(item: &DataType) -> bool {
    let DataType::Struct(columns) = item else {
        // An empty list.
        return item.is_null();
    };
    let is_text = |column: &str| {
        let column = columns.find(column);
        column.is_some_and(|(_, column)| Kind::Text.accepts(column.data_type()))
    };
    is_text(NAME) && is_text(VALUE)
}

/// The arguments of one call.
pub(super) struct Arguments {
    columns: Vec<Column>,
    rows: usize,
}

struct Column {
    values: ArrayRef,
    /// Whether there is one value, for all rows.
    constant: bool,
}

impl Arguments {
    pub(super) fn new(
        kinds: impl Iterator<Item = Kind>,
        values: &[ColumnarValue],
        rows: usize,
    ) -> Result<Arguments> {
        let mut columns = Vec::with_capacity(values.len());
        for (kind, value) in kinds.zip(values) {
            let (values, constant) = match value {
                ColumnarValue::Array(array) => (Arc::clone(array), false),
                ColumnarValue::Scalar(scalar) => (scalar.to_array_of_size(1)?, true),
            };
            columns.push(Column {
                values: read_as(kind, &values)?,
                constant,
            });
        }
        let constant = columns.iter().all(|column| column.constant);
        let rows = if constant { 1 } else { rows };
        Ok(Arguments { columns, rows })
    }

    /// Whether all of them are the same for all rows, so that there is one row.
    pub(super) fn are_constant(&self) -> bool {
        self.columns.iter().all(|column| column.constant)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// An argument of [`Kind::Text`].
    pub(super) fn text(&self, argument: usize) -> Result<Values<&StringViewArray>> {
        let column = self.column(argument)?;
        let values = column.values.as_string_view_opt();
        column.typed(values)
    }

    /// An argument of [`Kind::Bytes`].
    pub(super) fn bytes(&self, argument: usize) -> Result<Values<&BinaryViewArray>> {
        let column = self.column(argument)?;
        let values = column.values.as_binary_view_opt();
        column.typed(values)
    }

    /// An argument of [`Kind::Fields`].
    pub(super) fn fields(&self, argument: usize) -> Result<Values<FieldLists<'_>>> {
        let column = self.column(argument)?;
        let lists = column.values.as_list_opt::<i32>();
        column.typed(lists.map(FieldLists::new).transpose()?)
    }

    fn column(&self, argument: usize) -> Result<&Column> {
        let column = self.columns.get(argument);
        column.ok_or_else(|| internal_datafusion_err!("a function has no argument {argument}"))
    }
}

impl Column {
    fn typed<T>(&self, values: Option<T>) -> Result<Values<T>> {
        let wrong = || internal_datafusion_err!("an argument is {}", self.values.data_type());
        Ok(Values {
            values: values.ok_or_else(wrong)?,
            constant: self.constant,
        })
    }
}

fn read_as(kind: Kind, values: &ArrayRef) -> Result<ArrayRef> {
    let given = values.data_type();
    let wanted = kind.data_type();
    if given.is_null() {
        return Ok(new_null_array(&wanted, values.len()));
    }
    Ok(match (kind, given) {
        (Kind::Fields, DataType::List(_)) => Arc::clone(values),
        // Offsets alone change.
        (Kind::Fields, DataType::LargeList(item)) => {
            cast(values, &DataType::List(Arc::clone(item)))?
        }
        (Kind::Bytes, DataType::Dictionary(_, value)) => {
            return read_as(kind, &cast(values, value)?);
        }
        // From text to bytes there is a way by way of views.
        (Kind::Bytes, DataType::Utf8 | DataType::LargeUtf8) => {
            cast(&cast(values, &DataType::Utf8View)?, &wanted)?
        }
        _ if *given == wanted => Arc::clone(values),
        _ => cast(values, &wanted)?,
    })
}

/// The values of an argument.
pub(super) struct Values<T> {
    values: T,
    constant: bool,
}

impl<T> Values<T> {
    fn row(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

impl<'a> Values<&'a StringViewArray> {
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        let row = self.row(row);
        (!self.values.is_null(row)).then(|| self.values.value(row))
    }

    /// The value where it is the same for all rows: none where it is not, or null.
    pub(super) fn constant(&self) -> Option<&'a str> {
        self.constant.then(|| self.get(0)).flatten()
    }
}

impl<'a> Values<&'a BinaryViewArray> {
    pub(super) fn get(&self, row: usize) -> Option<&'a [u8]> {
        let row = self.row(row);
        (!self.values.is_null(row)).then(|| self.values.value(row))
    }
}

impl Values<FieldLists<'_>> {
    /// The names and values of a row.
    pub(super) fn get(&self, row: usize) -> Option<impl Iterator<Item = (&str, &str)>> {
        self.values.get(self.row(row))
    }
}

/// Lists of fields, with their text found.
pub(super) struct FieldLists<'a> {
    lists: &'a ListArray,
    /// None where all lists are empty, and of no type.
    text: Option<[StringViewArray; 2]>,
}

impl<'a> FieldLists<'a> {
    fn new(lists: &'a ListArray) -> Result<FieldLists<'a>> {
        let text = |fields: &StructArray, column: &str| -> Result<StringViewArray> {
            let missing = || exec_datafusion_err!("a list of fields has no {column}");
            let column = fields.column_by_name(column).ok_or_else(missing)?;
            let text = read_as(Kind::Text, column)?;
            Ok(text.as_string_view().clone())
        };
        let text = match lists.values().as_struct_opt() {
            Some(fields) => Some([text(fields, NAME)?, text(fields, VALUE)?]),
            None => None,
        };
        Ok(FieldLists { lists, text })
    }

    fn get(&self, row: usize) -> Option<impl Iterator<Item = (&str, &str)>> {
        if self.lists.is_null(row) {
            return None;
        }
        let offsets = self.lists.value_offsets();
        let place = |row: usize| {
            offsets
                .get(row)
                .map_or(0, |&at| usize::try_from(at).unwrap_or(0))
        };
        let range = if self.text.is_some() {
            place(row)..place(row + 1)
        } else {
            0..0
        };
        // A field that is null, or has a null in it, is none.
        Some(range.filter_map(move |at| {
            let [names, values] = self.text.as_ref()?;
            let is_there = !names.is_null(at) && !values.is_null(at);
            is_there.then(|| (names.value(at), values.value(at)))
        }))
    }
}

//! Columns of exchanges, by their types.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Int32Array, Int32Builder, Int64Array, ListBuilder,
    StructBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::Address;
use timecraft_udfs::http::content::{self, Decoded};
use timecraft_udfs::http::{Body, Exchange, Headers, Oddity};
use timecraft_udfs::protocol::At;
use timecraft_udfs::sql::columns::FieldColumn;
use timecraft_udfs::sql::fields_type;

use super::BODY;
use crate::scan::output::Step;
use crate::scan::{Column, list_of, time_type};
use crate::tables::connections;
use crate::tables::conversations::Said;
use crate::tables::sockets::moment;

/// Rows of a process, and what was made of them for several columns.
pub(super) struct Rows<'a> {
    pub(super) process: &'a Snapshot,
    rows: &'a [Said<Exchange>],
    bodies: OnceCell<Vec<Bodies<'a>>>,
}

/// The bodies of an exchange, decoded.
pub(super) struct Bodies<'a> {
    pub(super) request: Option<Decoded<'a>>,
    pub(super) response: Option<Decoded<'a>>,
}

/// A column of fields.
pub(super) fn headers(name: &'static str, description: &'static str) -> Column {
    Column::new(name, fields_type(), description)
}

/// A column of informational responses.
pub(super) fn informational(name: &'static str, description: &'static str) -> Column {
    let item = DataType::Struct(informational_fields());
    Column::new(name, list_of(item), description)
}

/// A column of bytes.
pub(super) fn body(name: &'static str, description: &'static str) -> Column {
    Column::new(name, DataType::Binary, description)
}

fn informational_fields() -> Fields {
    Fields::from(vec![
        Field::new("status", DataType::Int32, false),
        Field::new("time", time_type(), false),
    ])
}

impl<'a> Rows<'a> {
    pub(super) fn new(process: &'a Snapshot, rows: &'a [Said<Exchange>]) -> Rows<'a> {
        Rows {
            process,
            rows,
            bodies: OnceCell::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn texts<T: AsRef<str>>(
        &self,
        value: impl Fn(&'a Said<Exchange>) -> Option<T>,
    ) -> Step<ArrayRef> {
        Ok(connections::texts(self.rows.iter().map(value)))
    }

    pub(super) fn longs(&self, value: fn(&Said<Exchange>) -> Option<i64>) -> Step<ArrayRef> {
        let values = self.rows.iter().map(value);
        Ok(Arc::new(values.collect::<Int64Array>()))
    }

    pub(super) fn ints(&self, value: fn(&Said<Exchange>) -> Option<i32>) -> Step<ArrayRef> {
        let values = self.rows.iter().map(value);
        Ok(Arc::new(values.collect::<Int32Array>()))
    }

    pub(super) fn bools(&self, value: fn(&Said<Exchange>) -> bool) -> Step<ArrayRef> {
        let values = self.rows.iter().map(|said| Some(value(said)));
        Ok(Arc::new(values.collect::<BooleanArray>()))
    }

    pub(super) fn times(&self, value: fn(&Said<Exchange>) -> Option<At>) -> Step<ArrayRef> {
        let values = self.rows.iter();
        let moments = values.map(|said| value(said).map(|at| moment(self.process, at.time_ns)));
        let moments: TimestampMicrosecondArray = moments.collect();
        Ok(Arc::new(moments.with_timezone("UTC")))
    }

    pub(super) fn addresses(
        &self,
        value: fn(&Said<Exchange>) -> Option<&Address>,
    ) -> Step<ArrayRef> {
        Ok(connections::addresses(self.rows.iter().map(value)))
    }

    pub(super) fn ports(&self, value: fn(&Said<Exchange>) -> Option<&Address>) -> Step<ArrayRef> {
        Ok(connections::ports(self.rows.iter().map(value)))
    }

    pub(super) fn oddities(&self) -> Step<ArrayRef> {
        let values = self.rows.iter();
        let names = values.map(|said| said.row.warnings.iter().map(|&odd| Oddity::name(odd)));
        Ok(connections::lists(names))
    }

    /// Fields; none is an empty list.
    pub(super) fn fields(&self, of: fn(&Said<Exchange>) -> Option<&Headers>) -> Step<ArrayRef> {
        let mut column = FieldColumn::default();
        for said in self.rows {
            column.push(of(said))?;
        }
        Ok(column.finish()?)
    }

    pub(super) fn informational(&self) -> Step<ArrayRef> {
        let statuses = Box::new(Int32Builder::new());
        let times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let item = StructBuilder::new(informational_fields(), vec![statuses, Box::new(times)]);
        let mut list = ListBuilder::new(item);
        for said in self.rows {
            for response in &said.row.informational {
                let item = list.values();
                if let Some(statuses) = item.field_builder::<Int32Builder>(0) {
                    statuses.append_value(response.status.into());
                }
                if let Some(times) = item.field_builder::<TimestampMicrosecondBuilder>(1) {
                    times.append_value(moment(self.process, response.at.time_ns));
                }
                item.append(true);
            }
            list.append(true);
        }
        Ok(Arc::new(list.finish()))
    }

    pub(super) fn bodies(
        &self,
        of: for<'b> fn(&'b Bodies<'a>) -> Option<&'b Decoded<'a>>,
    ) -> Step<ArrayRef> {
        let mut column = BinaryBuilder::new();
        for bodies in self.decoded() {
            column.append_option(of(bodies).map(|decoded| &decoded.bytes));
        }
        Ok(Arc::new(column.finish()))
    }

    pub(super) fn decoded_sizes(
        &self,
        of: for<'b> fn(&'b Bodies<'a>) -> Option<&'b Decoded<'a>>,
    ) -> Step<ArrayRef> {
        let sizes = self.decoded().iter();
        let sizes = sizes.map(|bodies| i64::try_from(of(bodies)?.size?).ok());
        Ok(Arc::new(sizes.collect::<Int64Array>()))
    }

    pub(super) fn truncated(
        &self,
        of: for<'b> fn(&'b Bodies<'a>) -> Option<&'b Decoded<'a>>,
    ) -> Step<ArrayRef> {
        let bodies = self.decoded().iter();
        let truncated = bodies.map(|bodies| of(bodies).map(|decoded| decoded.truncated));
        Ok(Arc::new(truncated.collect::<BooleanArray>()))
    }

    fn decoded(&self) -> &[Bodies<'a>] {
        self.bodies.get_or_init(|| {
            let decode =
                |headers: &'a Headers, body: &'a Body| content::decode_body(headers, body, BODY);
            let rows = self.rows.iter().map(|said| &said.row);
            let bodies = rows.map(|exchange| Bodies {
                request: exchange
                    .request
                    .as_ref()
                    .map(|r| decode(&r.headers, &r.body)),
                response: exchange
                    .response
                    .as_ref()
                    .map(|r| decode(&r.headers, &r.body)),
            });
            bodies.collect()
        })
    }
}

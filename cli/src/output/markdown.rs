//! A table as GitHub Flavored Markdown has it (section 4.10 of its specification).

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{Rows, cell};
use crate::escape;

pub struct Markdown<W: Write> {
    out: W,
}

impl<W: Write> Markdown<W> {
    pub fn new(mut out: W, schema: &SchemaRef) -> Result<Markdown<W>, ArrowError> {
        for field in schema.fields() {
            write!(out, "| {} ", text(field.name()))?;
        }
        writeln!(out, "|")?;
        for field in schema.fields() {
            out.write_all(if field.data_type().is_numeric() {
                b"|---:"
            } else {
                b"|---"
            })?;
        }
        writeln!(out, "|")?;
        Ok(Markdown { out })
    }
}

impl<W: Write> Rows for Markdown<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        cell::rows(batch, false, |cells| {
            for cell in cells {
                write!(self.out, "| {} ", text(cell.as_deref().unwrap_or_default()))?;
            }
            Ok(writeln!(self.out, "|")?)
        })?;
        Ok(self.out.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        Ok(self.out.flush()?)
    }
}

/// Nothing in a cell is markup: neither what ends it nor what a page would act on.
fn text(cell: &str) -> String {
    let mut out = String::with_capacity(cell.len());
    for c in escape::line(cell).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

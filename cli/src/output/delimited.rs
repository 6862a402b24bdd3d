//! Cells with a delimiter between them, and a header: CSV (RFC 4180) and TSV.
//!
//! RFC 4180 ends lines with CRLF; everything that reads it takes a line feed, and the tools of a
//! pipe want one.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{Rows, cell};
use crate::escape;

pub struct Delimited<W: Write> {
    out: W,
    delimiter: char,
    numbers: Vec<bool>,
}

impl<W: Write> Delimited<W> {
    pub fn csv(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Delimited::new(out, ',', schema)
    }

    pub fn tsv(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Delimited::new(out, '\t', schema)
    }

    fn new(out: W, delimiter: char, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let fields = schema.fields();
        let numbers = fields.iter().map(|f| f.data_type().is_numeric()).collect();
        let mut this = Delimited {
            out,
            delimiter,
            numbers,
        };
        let names: Vec<String> = fields.iter().map(|f| this.text(f.name(), false)).collect();
        this.line(&names)?;
        Ok(this)
    }

    fn line(&mut self, cells: &[String]) -> Result<(), ArrowError> {
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                write!(self.out, "{}", self.delimiter)?;
            }
            self.out.write_all(cell.as_bytes())?;
        }
        Ok(writeln!(self.out)?)
    }

    /// Control characters are escaped, and text that a spreadsheet would take for a formula is
    /// marked as text. In TSV nothing needs quotes after that, since tabs are escaped.
    fn text(&self, cell: &str, number: bool) -> String {
        let mut text = escape::line(cell);
        if !number && text.starts_with(['=', '+', '-', '@']) {
            text.insert(0, '\'');
        }
        let quoted = self.delimiter == ',' && (text.is_empty() || text.contains([',', '"']));
        if quoted {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    }
}

impl<W: Write> Rows for Delimited<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        cell::rows(batch, false, |cells| {
            let texts: Vec<String> = cells
                .iter()
                .zip(&self.numbers)
                .map(|(cell, &number)| {
                    cell.as_ref()
                        .map_or(String::new(), |c| self.text(c, number))
                })
                .collect();
            self.line(&texts)
        })?;
        Ok(self.out.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        Ok(self.out.flush()?)
    }
}

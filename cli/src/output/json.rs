//! JSON: an array of objects, or an object a line.
//!
//! Rows become text one batch at a time, so that what a terminal would act on can be escaped in it.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use super::Rows;
use crate::escape;

pub struct Json<W: Write> {
    out: W,
    array: bool,
    any: bool,
}

impl<W: Write> Json<W> {
    pub fn array(out: W) -> Json<W> {
        Json {
            out,
            array: true,
            any: false,
        }
    }

    pub fn lines(out: W) -> Json<W> {
        Json {
            out,
            array: false,
            any: false,
        }
    }
}

impl<W: Write> Rows for Json<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut lines = Vec::new();
        let mut writer: LineDelimitedWriter<_> = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, LineDelimited>(&mut lines);
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        let text = String::from_utf8_lossy(&lines);
        let text = escape::json(&text);
        if !self.array {
            self.out.write_all(text.as_bytes())?;
            return Ok(self.out.flush()?);
        }
        for line in text.lines() {
            let before = if std::mem::replace(&mut self.any, true) {
                ",\n"
            } else {
                "[\n"
            };
            write!(self.out, "{before}{line}")?;
        }
        Ok(self.out.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        if self.array {
            self.out
                .write_all(if self.any { b"\n]\n" } else { b"[]\n" })?;
        }
        Ok(self.out.flush()?)
    }
}

//! A table for people.
//!
//! Columns take their width from the first rows, so that memory stays bounded; a later cell that is
//! wider pushes its line out of shape, and loses nothing.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use unicode_width::UnicodeWidthStr;

use super::{Rows, cell};
use crate::escape;

/// How many rows the widths are taken from.
const MEASURED_ROWS: usize = 1000;

/// The lines of a cell.
type Cell = Vec<String>;

pub struct Table<W: Write> {
    out: W,
    local_times: bool,
    names: Vec<String>,
    numbers: Vec<bool>,
    /// The first rows, until the widths are known.
    first: Vec<Vec<Cell>>,
    widths: Option<Vec<usize>>,
}

impl<W: Write> Table<W> {
    pub fn new(out: W, schema: &SchemaRef, local_times: bool) -> Table<W> {
        Table {
            out,
            local_times,
            names: schema
                .fields()
                .iter()
                .map(|f| escape::line(f.name()))
                .collect(),
            numbers: schema
                .fields()
                .iter()
                .map(|f| f.data_type().is_numeric())
                .collect(),
            first: Vec::new(),
            widths: None,
        }
    }

    /// Fixes the widths, and writes the head and the rows so far.
    fn begin(&mut self) -> Result<(), ArrowError> {
        if self.widths.is_some() {
            return Ok(());
        }
        let mut widths: Vec<usize> = self.names.iter().map(|n| n.width()).collect();
        for row in &self.first {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell
                    .iter()
                    .map(|line| line.width())
                    .fold(*width, usize::max);
            }
        }
        write_rule(&mut self.out, &widths)?;
        let names: Vec<Cell> = self.names.iter().map(|n| vec![n.clone()]).collect();
        write_row(&mut self.out, &widths, &self.numbers, &names)?;
        write_rule(&mut self.out, &widths)?;
        for row in std::mem::take(&mut self.first) {
            write_row(&mut self.out, &widths, &self.numbers, &row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

impl<W: Write> Rows for Table<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        cell::rows(batch, self.local_times, |cells| {
            let row: Vec<Cell> = cells
                .iter()
                .map(|c| {
                    let text = escape::lines(c.as_deref().unwrap_or_default());
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    text.split('\n').map(str::to_owned).collect()
                })
                .collect();
            match &self.widths {
                Some(widths) => write_row(&mut self.out, widths, &self.numbers, &row),
                None => {
                    self.first.push(row);
                    Ok(())
                }
            }
        })?;
        if self.first.len() >= MEASURED_ROWS {
            self.begin()?;
        }
        Ok(self.out.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        self.begin()?;
        if let Some(widths) = &self.widths {
            write_rule(&mut self.out, widths)?;
        }
        Ok(self.out.flush()?)
    }
}

fn write_rule(out: &mut impl Write, widths: &[usize]) -> Result<(), ArrowError> {
    for width in widths {
        write!(out, "+{:-<1$}", "", width + 2)?;
    }
    Ok(writeln!(out, "+")?)
}

fn write_row(
    out: &mut impl Write,
    widths: &[usize],
    numbers: &[bool],
    row: &[Cell],
) -> Result<(), ArrowError> {
    let height = row.iter().map(Vec::len).max().unwrap_or(0);
    for i in 0..height {
        for ((cell, width), &number) in row.iter().zip(widths).zip(numbers) {
            let line = cell.get(i).map_or("", String::as_str);
            let space = width.saturating_sub(line.width());
            match number {
                true => write!(out, "| {:space$}{line} ", "")?,
                false => write!(out, "| {line}{:space$} ", "")?,
            }
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

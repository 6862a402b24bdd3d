//! How rows leave: one file a format, all behind [`Rows`].
//!
//! Batches are written as they arrive, so that a result larger than memory passes through. Nothing
//! here knows SQL.

mod binary;
mod cell;
mod delimited;
mod json;
mod markdown;
mod table;

use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::args::Format;
use crate::destination::Destination;
use crate::error::Error;
use crate::printer::Printer;

/// Takes the rows of one result.
pub trait Rows {
    /// Some rows, all of the result's schema. Where the format is text they are out when this
    /// returns, so that somebody can watch a long query.
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;
    /// There are no more.
    fn finish(self: Box<Self>) -> Result<(), ArrowError>;
}

/// Where results go, and in which format.
pub struct Output {
    format: Format,
    /// Times in tables are for people: local, with their offset.
    local_times: bool,
    to: Destination,
}

impl Output {
    /// To standard output, or to a file whose extension says the format unless that is given.
    ///
    /// # Errors
    /// When the file cannot be created, or a binary format would go to a terminal.
    pub fn open(
        printer: &Printer,
        format: Option<Format>,
        to: Option<&Path>,
    ) -> Result<Output, Error> {
        let by_name = || Format::of_extension(to?.extension()?.to_str()?);
        let format = format.or_else(by_name).unwrap_or(Format::Table);
        let Some(path) = to else {
            if format.is_binary() && printer.stdout_is_terminal() {
                return Err(Error::Usage(
                    "this format is not text, and standard output is a terminal".to_owned(),
                    Some("write it with --to FILE, or pipe it on".to_owned()),
                ));
            }
            let local_times = printer.stdout_is_terminal();
            return Ok(Output {
                format,
                local_times,
                to: Destination::Stdout,
            });
        };
        let to = Destination::at(path)?;
        Ok(Output {
            format,
            local_times: false,
            to,
        })
    }

    /// Standard output, as the shell writes it.
    pub fn shell(printer: &Printer) -> Output {
        Output {
            format: Format::Table,
            local_times: printer.stdout_is_terminal(),
            to: Destination::Stdout,
        }
    }

    /// Whether there can be one result only.
    pub fn takes_one_result(&self) -> bool {
        self.format.is_binary()
    }

    /// Begins a result.
    ///
    /// # Errors
    /// When its first bytes cannot be written, or the format cannot hold the schema.
    pub fn rows(&self, schema: &SchemaRef) -> Result<Box<dyn Rows>, ArrowError> {
        let out = BufWriter::new(self.to.writer()?);
        let seekable = self.to.is_seekable();
        Ok(match self.format {
            Format::Table => Box::new(table::Table::new(out, schema, self.local_times)),
            Format::Markdown => Box::new(markdown::Markdown::new(out, schema)?),
            Format::Csv => Box::new(delimited::Delimited::csv(out, schema)?),
            Format::Tsv => Box::new(delimited::Delimited::tsv(out, schema)?),
            Format::Json => Box::new(json::Json::array(out)),
            Format::Ndjson => Box::new(json::Json::lines(out)),
            Format::Parquet => Box::new(binary::Parquet::new(out, schema)?),
            Format::Arrow if seekable => Box::new(binary::ArrowFile::new(out, schema)?),
            Format::Arrow => Box::new(binary::ArrowStream::new(out, schema)?),
        })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When that fails; the place is as it was then.
    pub fn keep(self) -> Result<(), Error> {
        self.to.keep()
    }
}

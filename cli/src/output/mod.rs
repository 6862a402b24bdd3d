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

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::args::Format;
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

enum Destination {
    Stdout,
    /// Written beside its place and put there when all is well.
    File {
        path: PathBuf,
        temporary: PathBuf,
        file: File,
    },
    /// A pipe or a device: nothing can be put in its place.
    Special(File),
}

impl Destination {
    fn at(path: &Path) -> io::Result<Destination> {
        // A link stays, and what it leads to is replaced.
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(e) => return Err(e),
        };
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                return Ok(Destination::Special(
                    File::options().write(true).open(&path)?,
                ));
            }
            _ => {}
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary)?;
        Ok(Destination::File {
            path,
            temporary,
            file,
        })
    }
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
        let to = Destination::at(path).map_err(|source| Error::File {
            doing: "create",
            path: path.to_owned(),
            source,
        })?;
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
        let (out, seekable): (Box<dyn Write + Send>, bool) = match &self.to {
            Destination::Stdout => (Box::new(BufWriter::new(io::stdout())), false),
            Destination::File { file, .. } => (Box::new(BufWriter::new(file.try_clone()?)), true),
            Destination::Special(file) => (Box::new(BufWriter::new(file.try_clone()?)), false),
        };
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
    pub fn keep(mut self) -> Result<(), Error> {
        let to = std::mem::replace(&mut self.to, Destination::Stdout);
        let Destination::File {
            path, temporary, ..
        } = to
        else {
            return Ok(());
        };
        std::fs::rename(&temporary, &path).map_err(|source| {
            let _ = std::fs::remove_file(&temporary);
            Error::File {
                doing: "write",
                path,
                source,
            }
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Destination::File { temporary, .. } = &self.to {
            // Only where the query failed: half a result helps nobody.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

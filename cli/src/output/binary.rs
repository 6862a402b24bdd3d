//! Parquet, and Arrow IPC as a file and as a stream.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::Rows;

pub struct Parquet<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> Parquet<W> {
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer =
            ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(unwrapped)?;
        Ok(Parquet { writer })
    }
}

impl<W: Write + Send> Rows for Parquet<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch).map_err(unwrapped)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        self.writer.finish().map_err(unwrapped)?;
        Ok(self.writer.inner_mut().flush()?)
    }
}

/// What the system said, where it was the system: a closed pipe must be known as one.
fn unwrapped(error: ParquetError) -> ArrowError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => ArrowError::from(*io),
            Err(other) => ArrowError::ExternalError(other),
        },
        other => ArrowError::ParquetError(other.to_string()),
    }
}

pub struct ArrowFile<W: Write> {
    writer: FileWriter<W>,
}

impl<W: Write> ArrowFile<W> {
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(ArrowFile {
            writer: FileWriter::try_new(out, schema)?,
        })
    }
}

impl<W: Write> Rows for ArrowFile<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        self.writer.finish()?;
        Ok(self.writer.get_mut().flush()?)
    }
}

pub struct ArrowStream<W: Write> {
    writer: StreamWriter<W>,
}

impl<W: Write> ArrowStream<W> {
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(ArrowStream {
            writer: StreamWriter::try_new(out, schema)?,
        })
    }
}

impl<W: Write> Rows for ArrowStream<W> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ArrowError> {
        self.writer.finish()?;
        Ok(self.writer.get_mut().flush()?)
    }
}

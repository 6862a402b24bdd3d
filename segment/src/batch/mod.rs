//! A batch: records as columns on disk. `FORMAT.md` has the grammar.
//!
//! Pure: bytes in, bytes out. Damage is an error with a reason, never a panic and never a wrong
//! record: each section is checked against its CRC32C before anything of it is believed. A file can
//! be crafted, and then its checksums are right: so whatever is read is bounded by what the header
//! says, before memory is taken for it, and what the writer makes is within the same bounds.

mod columns;
mod decode;
mod effort;
mod encode;
mod header;
mod references;
#[cfg(test)]
mod tests;

pub(crate) use decode::{check_open, check_open_and_end, decode};
pub(crate) use effort::Pressure;
pub use effort::{Compression, Effort};
pub(crate) use encode::{Encoder, Open};
pub use header::{HEADER_BYTES, Summary};
pub(crate) use header::{Header, MAGIC};

use crate::function;
use crate::options::LogOptions;

/// No section is larger, in bytes, neither as stored nor as read.
const MAX_SECTION: usize = 1 << 30;
/// No batch has more records.
const MAX_RECORDS: usize = 1 << 23;
/// No batch has more ranges of written memory.
const MAX_RANGES: usize = 1 << 25;
/// No record has more arguments, or more outputs.
const MAX_WIDTH: usize = 16;

// A batch is made of one buffer, in which a record takes 80 bytes and a range at least 12.
const _: () = assert!(LogOptions::MAX_BATCH_BYTES / 32 <= MAX_RECORDS);
const _: () = assert!(LogOptions::MAX_BATCH_BYTES / 12 <= MAX_RANGES);
const _: () = assert!(function::MAX_PARAMS <= MAX_WIDTH);

/// What a batch does not fulfil, for [`crate::Error::Damaged`].
pub(crate) type Damage = &'static str;

//! How a log is written: sizes, compression, when the disk has it.

use std::time::Duration;

use crate::batch::Compression;
use crate::error::{Error, Result};
use crate::tail::MAX_BUFFERS;

/// How often `--sync interval` writes to the disk: at most so much is lost with the power.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// When the log is surely on the disk. A process that is killed loses nothing in any case; this is
/// about the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Whenever the system writes it.
    None,
    /// Every [`SYNC_INTERVAL`].
    #[default]
    Interval,
    /// After each batch, before its buffer is used again; and every [`SYNC_INTERVAL`].
    Batch,
}

/// How a log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// How batches are stored.
    pub compression: Compression,
    /// The size of a buffer of the tail, and so about of what one batch holds, in bytes.
    pub batch_bytes: usize,
    /// How many buffers the tail has.
    pub buffers: usize,
    /// When the log is on the disk.
    pub sync: Sync,
    /// A segment that has reached this size, in bytes, is sealed and another begun.
    pub segment_bytes: u64,
    /// A segment this old is sealed and another begun.
    pub segment_age: Duration,
}

impl LogOptions {
    /// The smallest buffer, in bytes.
    pub const MIN_BATCH_BYTES: usize = 4 << 10;
    /// The largest buffer, in bytes.
    pub const MAX_BATCH_BYTES: usize = 256 << 20;
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            compression: Compression::default(),
            batch_bytes: 1 << 20,
            buffers: 4,
            sync: Sync::default(),
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(300),
        }
    }
}

pub(crate) fn check(options: &LogOptions) -> Result<()> {
    let bad = |option, value: String, allowed| Error::BadOption {
        option,
        value,
        allowed,
    };
    let sizes = LogOptions::MIN_BATCH_BYTES..=LogOptions::MAX_BATCH_BYTES;
    if !sizes.contains(&options.batch_bytes) {
        let value = options.batch_bytes.to_string();
        return Err(bad("the batch size", value, "between 4 KiB and 256 MiB"));
    }
    if !(2..=MAX_BUFFERS).contains(&options.buffers) {
        let value = options.buffers.to_string();
        return Err(bad("the number of buffers", value, "between 2 and 64"));
    }
    Ok(())
}

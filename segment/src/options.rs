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

/// What becomes of the guest when its log cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It ends; what was recorded stays readable.
    #[default]
    Stop,
    /// It goes on. When the log can be written again, a [`Gap`](crate::Gap) says what is missing.
    Continue,
}

/// How what is recorded reaches the tail's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailStorage {
    /// Through a mapping, where the file system can bind space for it; else by writing.
    #[default]
    Auto,
    /// By writing: two system calls for each record, on any file system.
    Written,
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
    /// What becomes of the guest when its log cannot be written.
    pub on_failure: OnFailure,
    /// How many bytes the log may take on the disk, about; then it fails. Buffers are made smaller
    /// where they would take more than a quarter of it.
    pub max_bytes: Option<u64>,
    /// How the tail is written.
    pub tail: TailStorage,
}

impl LogOptions {
    /// The smallest buffer, in bytes.
    pub const MIN_BATCH_BYTES: usize = 4 << 10;
    /// The largest buffer, in bytes.
    pub const MAX_BATCH_BYTES: usize = 256 << 20;
    /// The least that a log may be limited to, in bytes.
    pub const LEAST_MAX_BYTES: u64 = 256 << 10;

    /// The size of a buffer of the tail, in bytes. Buffers begin on pages, so that one is written
    /// back without its neighbour.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let most = self
            .max_bytes
            .map_or(u64::MAX, |max| max / 4 / self.buffers as u64);
        let most = usize::try_from(most).unwrap_or(usize::MAX) / 4096 * 4096;
        self.batch_bytes.next_multiple_of(4096).min(most)
    }
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
            on_failure: OnFailure::default(),
            max_bytes: None,
            tail: TailStorage::default(),
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
    // What the buffers hold is stored in the end, while they are still there.
    let least = LogOptions::LEAST_MAX_BYTES.max(4 * 4096 * options.buffers as u64);
    if let Some(max) = options.max_bytes.filter(|&max| max < least) {
        let value = max.to_string();
        return Err(bad(
            "the most bytes of the log",
            value,
            "at least 256 KiB, and 16 KiB for each buffer",
        ));
    }
    Ok(())
}

//! Reads the tail of a process from outside, while it runs or after its writer died.
//!
//! Copies with `pread` and never maps: what a buffer held is believed only if its number is the same
//! after the copy as before. What was given back meanwhile stands in a segment by then.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::decode::Decoder;
use super::{
    BEGIN, BUFFER_HEADER, COUNTERS_AT, DATA_AT, ENTRY_HEADER, FILE_NAME, FIXED_BYTES, HEADERS_AT,
    MAGIC, MAX_BUFFERS, MORE, VERSION,
};
use crate::calls::Calls;
use crate::codec::Cursor;
use crate::error::{Error, Result};
use crate::ids::{Offset, ProcessId};

/// What the tail of a process held at one moment.
pub(crate) struct TailCopy {
    /// Whether the writer holds its lock.
    pub(crate) live: bool,
    /// The bytes of the buffers, ascending by sequence.
    buffers: Vec<(u64, Vec<u8>)>,
    layout: Layout,
}

impl TailCopy {
    /// Copies the tail; none where there is no such file, as after a clean end.
    pub(crate) fn take(folder: &Path) -> Result<Option<TailCopy>> {
        let path = folder.join(FILE_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let layout = Layout::read(&file, &path)?;
        // The order matters: a writer that is dead here has published all that it ever will.
        let live = !lock_is_free(&file);
        let header = |i: usize| -> Result<(u64, u64)> {
            let mut bytes = [0; 16];
            let at = HEADERS_AT + i as u64 * BUFFER_HEADER;
            file.read_exact_at(&mut bytes, at)
                .map_err(Error::io("read", &path))?;
            let mut c = Cursor::new(&bytes);
            Ok((c.u64().unwrap_or(0), c.u64().unwrap_or(0)))
        };
        // Buffers are taken in turn, so the newest sequence that any header says tells which those
        // before it are. One whose header says another was given back, and a buffer is given back
        // only after all before it: what was copied so far is in a segment too.
        let mut newest = 0;
        for i in 0..layout.buffers {
            newest = newest.max(header(i)?.0);
        }
        let oldest = newest.saturating_sub(layout.buffers as u64 - 1).max(1);
        let mut buffers = Vec::new();
        for sequence in oldest..=newest {
            let i = (sequence % layout.buffers as u64) as usize;
            let (before, committed) = header(i)?;
            if before != sequence {
                buffers.clear();
                continue;
            }
            let committed = usize::try_from(committed).unwrap_or(usize::MAX);
            if committed > layout.buffer_bytes {
                let at = HEADERS_AT + i as u64 * BUFFER_HEADER;
                return Err(Error::damaged(
                    &path,
                    at,
                    "a buffer holds more than its size",
                ));
            }
            let mut bytes = vec![0; committed.min(layout.trusted(sequence))];
            let at = DATA_AT + (i * layout.buffer_bytes) as u64;
            file.read_exact_at(&mut bytes, at)
                .map_err(Error::io("read", &path))?;
            if header(i)?.0 == sequence {
                buffers.push((sequence, bytes));
            } else {
                buffers.clear();
            }
        }
        Ok(Some(TailCopy {
            live,
            buffers,
            layout,
        }))
    }

    /// The records from `next` on, which is the offset after the last batch of the segments;
    /// `open` are the pieces of the record that was open when that batch was written.
    pub(crate) fn records(
        &self,
        process: ProcessId,
        next: Offset,
        open: &[u8],
        path: &Path,
    ) -> Result<Calls> {
        let path = path.join(FILE_NAME);
        let mut calls = Calls::new(next);
        // A whole buffer may lie before `next`: its batch is in the segment already.
        let mut decoder = Decoder::new(None);
        for (i, (sequence, bytes)) in self.buffers.iter().enumerate() {
            let mut piece = Calls::new(next);
            if let Some(at) = decoder.next_offset() {
                piece.first_offset = at;
            } else if i == 0 && first_offset(bytes).is_some_and(|first| first > next) {
                // The segments that were listed do not reach the copy yet, or not any more.
                return Err(Error::Gap {
                    process,
                    before: Offset(next.0.saturating_sub(1)),
                    after: first_offset(bytes).unwrap_or(next),
                });
            } else if i == 0 && continues(bytes, next) {
                decoder = Decoder::new(Some(next));
                decoder
                    .feed_open(open, *sequence)
                    .map_err(|what| Error::damaged(&path, 0, what))?;
            }
            decoder.feed(bytes, *sequence, &mut piece).map_err(|bad| {
                Error::damaged(&path, self.position(*sequence, bad.position), bad.what)
            })?;
            append_from(&mut calls, &piece, next);
        }
        let mut last = Calls::new(decoder.next_offset().unwrap_or(next));
        decoder
            .push_in_flight(&mut last)
            .map_err(|what| Error::damaged(&path, 0, what))?;
        append_from(&mut calls, &last, next);
        Ok(calls)
    }

    /// How long the guest has waited for the log, in nanoseconds.
    pub(crate) fn stall_ns(&self) -> u64 {
        self.layout.stall_ns
    }

    /// Where in the file a buffer's byte stands.
    fn position(&self, sequence: u64, in_buffer: usize) -> u64 {
        let i = sequence % self.layout.buffers as u64;
        DATA_AT + i * self.layout.buffer_bytes as u64 + in_buffer as u64
    }
}

/// Appends those records of `piece` that are at `next` or later.
fn append_from(calls: &mut Calls, piece: &Calls, next: Offset) {
    for record in piece.iter().filter(|r| r.offset >= next) {
        if calls.is_empty() {
            calls.first_offset = record.offset;
        }
        calls.append(&record);
    }
}

/// The offset of the record that a buffer begins with, or in.
fn first_offset(buffer: &[u8]) -> Option<Offset> {
    let header = buffer.first_chunk::<ENTRY_HEADER>()?;
    Cursor::new(&header[8..]).u64().map(Offset)
}

/// Whether a buffer begins inside the record `next`, and not with its beginning.
fn continues(buffer: &[u8], next: Offset) -> bool {
    buffer
        .first_chunk::<ENTRY_HEADER>()
        .is_some_and(|header| header[4] & !MORE != BEGIN && first_offset(buffer) == Some(next))
}

struct Layout {
    buffers: usize,
    buffer_bytes: usize,
    stall_ns: u64,
    /// After a restart of the machine, what the disk surely has: a sequence and bytes of it.
    synced: Option<(u64, u64)>,
}

impl Layout {
    fn read(file: &File, path: &Path) -> Result<Layout> {
        let mut bytes = [0; COUNTERS_AT + 24];
        let not_ours = || Error::NotOurs {
            path: path.to_owned(),
            expected: "tail",
        };
        file.read_exact_at(&mut bytes, 0).map_err(|_| not_ours())?;
        let mut c = Cursor::new(&bytes);
        if c.array() != Some(MAGIC) {
            return Err(not_ours());
        }
        let version = c.u32().ok_or_else(not_ours)?;
        if version > VERSION {
            return Err(Error::NewerVersion {
                path: path.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        let buffers = c.u32().ok_or_else(not_ours)? as usize;
        let buffer_bytes = c.u64().ok_or_else(not_ours)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let fits = u64::try_from(buffers)
            .ok()
            .and_then(|n| n.checked_mul(buffer_bytes))
            .and_then(|n| n.checked_add(DATA_AT));
        if buffers == 0 || buffers > MAX_BUFFERS || fits != Some(length) {
            return Err(Error::damaged(
                path,
                0,
                "the tail does not have the length it says",
            ));
        }
        let _process: Option<[u8; 16]> = c.array();
        let boot: [u8; 16] = c.array().ok_or_else(not_ours)?;
        let mut c = Cursor::new(&bytes[COUNTERS_AT..]);
        let mut counter = || c.u64().ok_or_else(not_ours);
        let (stall_ns, sequence, committed) = (counter()?, counter()?, counter()?);
        let synced = (boot != boot_id()).then_some((sequence, committed));
        // It fits a file that is there, so it fits an address space.
        Ok(Layout {
            buffers,
            buffer_bytes: buffer_bytes as usize,
            stall_ns,
            synced,
        })
    }

    /// How many bytes of a buffer can be believed. A process whose machine went down left pages
    /// that were written and pages that were not.
    fn trusted(&self, sequence: u64) -> usize {
        match self.synced {
            None => self.buffer_bytes,
            Some((synced, committed)) => match sequence.cmp(&synced) {
                // Its segment was synced first; its pages may be of a later use.
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => committed as usize,
                std::cmp::Ordering::Greater => 0,
            },
        }
    }
}

/// Whether nobody writes the tail any more.
fn lock_is_free(file: &File) -> bool {
    let free = rustix::fs::flock(file, FlockOperation::NonBlockingLockShared).is_ok();
    if free {
        // Closing the file gives it back too; sooner is kinder to whoever asks next.
        let _ = rustix::fs::flock(file, FlockOperation::Unlock);
    }
    free
}

/// Which start of the machine this is; zeros where the system does not say.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim()
        .parse::<ProcessId>()
        .map_or([0; 16], |id| *id.as_bytes())
}

const _: () = assert!(FIXED_BYTES == 8 + 4 + 4 + 8 + 16 + 16 + 8);

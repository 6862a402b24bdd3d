//! Seals what a dead writer left behind: completes its last segment from the tail, appends an end
//! with the status `lost`, writes the footer, and removes the tail.
//!
//! It may die anywhere and be done again, and two that try at once do no harm: who seals holds the
//! lock of the process's folder, and the writer's lock on the tail is looked at under it. It must never
//! touch a log that is damaged: what is there is all that is known.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use crate::batch::{Compression, Effort, Encoder, Open};
use crate::calls::{Calls, Projection};
use crate::descriptors::Descriptors;
use crate::disk;
use crate::error::{Error, Result};
use crate::event::{self, Ended, ProcessEnd};
use crate::file::{SegmentHeader, SegmentReader, SegmentWriter, file_name};
use crate::ids::{ProcessId, SegmentNumber};
use crate::options::Sync;
use crate::registry::{Registry, names};
use crate::snapshot::{Problems, follow_one_another, open_segments};
use crate::tail;
use crate::tail::last_words::LastWords;
use crate::tail::reader::{TailCopy, Tip};

/// How long the folder of a process that never got as far as a log is left alone: its writer may be
/// about to write it.
const STARTING: Duration = Duration::from_secs(60);

/// What was made of a log that looked left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// It was sealed.
    Sealed,
    /// It is being written, or being sealed by somebody else.
    Busy,
    /// There was nothing left to do.
    Done,
}

impl Registry {
    /// Seals the logs whose writers died. Every command that opens a registry does this first; it
    /// looks only at processes that have not ended.
    ///
    /// Returns what could not be sealed, by process: a log that is damaged is left as it is, and so
    /// is one in a registry that cannot be written.
    ///
    /// # Errors
    /// When the registry cannot be listed.
    pub fn seal_orphans(&self) -> Result<Vec<(ProcessId, Error)>> {
        let mut failed = Vec::new();
        for name in names(&self.running())? {
            let Ok(id) = name.parse::<ProcessId>() else {
                continue;
            };
            if let Err(error) = self.seal_orphan(id) {
                failed.push((id, error));
            }
        }
        Ok(failed)
    }

    /// Seals the log of a process if its writer died.
    ///
    /// # Errors
    /// When the log is damaged, or cannot be written. It stays as it is, and readable as it was.
    pub fn seal_orphan(&self, id: ProcessId) -> Result<Sealing> {
        self.seal(id, None)
    }

    /// As [`Registry::seal_orphan`], for the writer itself, whose lock is free by now: it knows its
    /// last words, should the tail not have taken them.
    pub(crate) fn seal_own(&self, id: ProcessId, words: Option<LastWords>) -> Result<Sealing> {
        self.seal(id, words)
    }

    fn seal(&self, id: ProcessId, words: Option<LastWords>) -> Result<Sealing> {
        let folder = self.process_folder(id);
        let marker = self.marker(id);
        if !folder.exists() && is_young(&marker)? {
            return Ok(Sealing::Busy);
        }
        let sealing = seal(id, &folder, words)?;
        if sealing != Sealing::Busy {
            disk::remove(&marker).map_err(Error::io("remove", &marker))?;
        }
        Ok(sealing)
    }
}

/// The lock of a process's folder: who seals has it.
struct FolderLock(File);

impl FolderLock {
    /// None where somebody has it, or there is no such folder.
    fn take(folder: &Path) -> Result<Option<FolderLock>> {
        let file = match File::open(folder) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", folder)(e)),
        };
        let locked = disk::lock(&file).map_err(Error::io("lock", folder))?;
        Ok(locked.then_some(FolderLock(file)))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing is not enough where a process is being forked, which has the file open for a
        // moment too. If this fails, that moment is waited for.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn seal(process: ProcessId, folder: &Path, words: Option<LastWords>) -> Result<Sealing> {
    // Whatever is done below is done under this lock.
    let Some(_lock) = FolderLock::take(folder)? else {
        return Ok(if folder.exists() {
            Sealing::Busy
        } else {
            Sealing::Done
        });
    };
    if !folder.join(tail::FILE_NAME).exists() {
        return without_tail(folder);
    }
    match TailCopy::take(folder, &mut Problems::fail())? {
        Some(tail) if tail.live => Ok(Sealing::Busy),
        Some(mut tail) => {
            tail.last_words = words.or(tail.last_words);
            finish(process, folder, &tail).map(|()| Sealing::Sealed)
        }
        None => Ok(Sealing::Done),
    }
}

/// Whether it was made or changed so lately that a writer may be about to go on.
fn is_young(path: &Path) -> Result<bool> {
    let changed = match std::fs::metadata(path).and_then(|m| m.modified()) {
        Ok(changed) => changed,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let age = SystemTime::now().duration_since(changed);
    Ok(age.unwrap_or_default() < STARTING)
}

/// A process without a tail has ended, or has not begun, or never will.
fn without_tail(folder: &Path) -> Result<Sealing> {
    let there = names(folder)?;
    if there.iter().any(|name| name.ends_with(".seg")) {
        return Ok(Sealing::Done);
    }
    let changed = std::fs::metadata(folder).and_then(|m| m.modified());
    let changed = changed.map_err(Error::io("read", folder))?;
    let age = SystemTime::now()
        .duration_since(changed)
        .unwrap_or_default();
    if age < STARTING {
        return Ok(Sealing::Busy);
    }
    remove_unbegun(folder).map(|()| Sealing::Done)
}

/// Removes what a writer makes before it begins, and nothing that somebody else has put there.
fn remove_unbegun(folder: &Path) -> Result<()> {
    for name in names(folder)?.iter().filter(|name| name.ends_with(".new")) {
        let path = folder.join(name);
        disk::remove(&path).map_err(Error::io("remove", &path))?;
    }
    match std::fs::remove_dir(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
            Err(Error::io("remove", folder)(e))
        }
        _ => Ok(()),
    }
}

/// Seals a log that nobody writes. The caller holds the folder's lock.
fn finish(process: ProcessId, folder: &Path, tail: &TailCopy) -> Result<()> {
    let mut problems = Problems::fail();
    problems.torn_end = tail.after_power_loss();
    let readers = open_segments(process, folder, &mut problems)?;
    follow_one_another(process, &readers)?;
    let tail_path = folder.join(tail::FILE_NAME);
    if tail.process() != process {
        return Err(Error::damaged(
            &tail_path,
            24,
            "it is the tail of another process",
        ));
    }
    if let Some(last) = readers.last() {
        if last.end().is_none() {
            complete(folder, tail, &readers, last, &mut problems)?;
        } else {
            // Who sealed it died, and perhaps before the disk had it.
            let file = File::open(last.path()).map_err(Error::io("open", last.path()))?;
            disk::sync(&file).map_err(Error::io("sync", last.path()))?;
        }
    }
    if readers.is_empty() {
        if tail.holds_something() {
            let first = folder.join(file_name(SegmentNumber(0)));
            return Err(Error::EndMissing {
                path: first,
                position: 0,
            });
        }
        // It died before its first segment, and has recorded nothing.
        disk::remove(&tail_path).map_err(Error::io("remove", &tail_path))?;
        return remove_unbegun(folder);
    }
    disk::sync_folder(folder).map_err(Error::io("sync", folder))?;
    disk::remove(&tail_path).map_err(Error::io("remove", &tail_path))
}

fn complete(
    folder: &Path,
    tail: &TailCopy,
    readers: &[SegmentReader],
    last: &SegmentReader,
    problems: &mut Problems,
) -> Result<()> {
    let tip = Tip::of(readers)?;
    let mut beyond = tail.records(&tip, problems)?;
    let end = tip.end.or_else(|| event::end_of(beyond.parts.last()?));
    let end = match end {
        Some(end) => end,
        None => {
            let lost = ProcessEnd {
                status: Ended::Lost,
                exit_code: None,
                signal: None,
                trap: None,
                stall_ns: tail.stall_ns(),
            };
            let mut calls = Calls::new(beyond.next);
            let at = beyond.last_start().unwrap_or(tip.last_time);
            event::append(&mut calls, at, &lost);
            beyond.parts.push(calls);
            lost
        }
    };

    let mut writer = if last.is_sealed() {
        let header = SegmentHeader {
            segment: last.number().0 + 1,
            process: last.header().process.clone(),
            descriptors: descriptors_after(last)?.table(),
        };
        SegmentWriter::create(folder, &header)?
    } else {
        SegmentWriter::reopen(last)?
    };
    let mut encoder = Encoder::new(Compression::Zstd)
        .map_err(Error::io("start the compressor for", writer.path()))?;
    let none_open = Open {
        bytes: &[],
        back: 0,
    };
    for calls in &beyond.parts {
        let mut batch = Vec::new();
        let raw_bytes = calls.payload.len() as u64;
        let header = encoder
            .encode(calls, raw_bytes, none_open, Effort::Normal, &mut batch)
            .map_err(Error::io("compress a batch of", writer.path()))?;
        writer.append_batch(header, &batch)?;
    }
    writer.seal(Some(&end), Sync::Batch)
}

/// The descriptors that are open after a segment's last record.
fn descriptors_after(segment: &SegmentReader) -> Result<Descriptors> {
    let header = segment.header();
    let mut descriptors = Descriptors::at_segment(&header.process, &header.descriptors);
    for i in 0..segment.len() {
        let calls = segment.read(i, Projection::ALL)?;
        calls.iter().for_each(|record| descriptors.apply(&record));
    }
    Ok(descriptors)
}

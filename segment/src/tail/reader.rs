//! Reads the tail of a process from outside, while it runs or after its writer died.
//!
//! Copies with `pread` and never maps. Of a process that runs, what is published is copied as
//! [`super::protocol`] has it. Of one that died, whatever matches its checksum counts: after a power
//! loss some pages of the file are older than others, and what a header says is not to be trusted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::decode::{self, Decoder};
use super::last_words::{self, LastWords};
use super::map::COUNTERS_BYTES;
use super::protocol::{self, Source};
use super::{
    BEGIN, BUFFER_HEADER, COUNTERS_AT, DATA_AT, ENTRY_HEADER, FILE_NAME, FIXED_BYTES, HEADERS_AT,
    LAST_WORDS_AT, MAGIC, MAX_BUFFERS, MORE, VERSION,
};
use crate::calls::{Calls, Projection};
use crate::codec::Cursor;
use crate::disk;
use crate::error::{Error, Result};
use crate::event::{self, Gap, ProcessEnd};
use crate::file::SegmentReader;
use crate::ids::{ElapsedNs, FunctionId, Offset, ProcessId};
use crate::options::LogOptions;
use crate::snapshot::Problems;

/// What the tail of a process held at one moment.
pub(crate) struct TailCopy {
    /// Whether the writer holds its lock.
    pub(crate) live: bool,
    path: PathBuf,
    /// Whose tail it is.
    process: ProcessId,
    /// The entries of the buffers, ascending by sequence, none missing between two.
    buffers: Vec<(u64, Vec<u8>)>,
    layout: Layout,
    /// What its writer had no buffer for.
    pub(crate) last_words: Option<LastWords>,
}

/// Where the segments of a log end, and what the tail goes on from.
#[derive(Debug, Default)]
pub(crate) struct Tip {
    /// The offset after the last record.
    pub(crate) next: Offset,
    /// When the last record started.
    pub(crate) last_time: ElapsedNs,
    /// Pieces of the record that was open when the last batch was made.
    pub(crate) open: Vec<u8>,
    /// How the process ended, where the last record says so.
    pub(crate) end: Option<ProcessEnd>,
}

impl Tip {
    /// The tip of these segments, in order.
    pub(crate) fn of(readers: &[SegmentReader]) -> Result<Tip> {
        let mut tip = Tip::default();
        // Of a segment that was just begun there is no batch.
        let Some(last) = readers.iter().rev().find(|r| !r.is_empty()) else {
            return Ok(tip);
        };
        tip.open = last.open_pieces()?;
        // And a batch may have no record, but pieces alone.
        let batches = readers
            .iter()
            .rev()
            .flat_map(|r| (0..r.len()).rev().map(move |i| (r, i)));
        for (reader, i) in batches {
            let Some(summary) = reader.summary(i).filter(|s| s.count > 0) else {
                continue;
            };
            tip.next = summary.end_offset();
            tip.last_time = summary.last_time;
            if summary.may_have_function(FunctionId::END) {
                tip.end = event::end_of(&reader.read(i, Projection::ALL)?);
            }
            break;
        }
        Ok(tip)
    }
}

/// What the tail holds beyond the segments.
pub(crate) struct Beyond {
    /// Records, in order, a part for each buffer.
    pub(crate) parts: Vec<Calls>,
    /// The offset after them.
    pub(crate) next: Offset,
}

impl TailCopy {
    /// Copies the tail; none where there is no such file, as after a clean end.
    pub(crate) fn take(folder: &Path, problems: &mut Problems) -> Result<Option<TailCopy>> {
        let path = folder.join(FILE_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        // The order matters: a writer that is dead here has published all that it ever will.
        let live = !lock_is_free(&file).map_err(Error::io("lock", &path))?;
        let layout = match Layout::read(&file, &path) {
            Ok(layout) => layout,
            Err(error) => {
                problems.meet(error)?;
                return Ok(None);
            }
        };
        let mut copy = TailCopy {
            live,
            path,
            process: layout.process,
            buffers: Vec::new(),
            layout,
            last_words: None,
        };
        // Before the buffers: what they say comes after records that were published by then.
        let mut words = vec![0; last_words::SLOTS * last_words::ROOM];
        file.read_exact_at(&mut words, LAST_WORDS_AT as u64)
            .map_err(Error::io("read", &copy.path))?;
        let (words, wrong) = LastWords::last_of(&words);
        copy.last_words = words;
        // Half of a place may be there while it is being written.
        if let Some(what) = wrong.filter(|_| !live) {
            problems.meet(Error::damaged(&copy.path, LAST_WORDS_AT as u64, what))?;
        }
        if live {
            copy.copy_running(&file)?;
        } else {
            copy.copy_dead(&file, problems)?;
        }
        Ok(Some(copy))
    }

    fn copy_running(&mut self, file: &File) -> Result<()> {
        let source = Copies {
            file,
            path: &self.path,
            layout: &self.layout,
        };
        self.buffers = protocol::copy(&source, self.layout.buffers)?;
        for (sequence, bytes) in &self.buffers {
            if let (at, Some(what)) = decode::check(bytes, *sequence) {
                let at = self.layout.position(*sequence, at);
                return Err(Error::damaged(&self.path, at, what));
            }
        }
        Ok(())
    }

    fn copy_dead(&mut self, file: &File, problems: &mut Problems) -> Result<()> {
        let layout = &self.layout;
        let source = Copies {
            file,
            path: &self.path,
            layout,
        };
        let headers = (0..layout.buffers).map(|i| source.header(i));
        let headers = headers.collect::<Result<Vec<_>>>()?;
        let damaged = |i: usize, what| {
            Error::damaged(&self.path, HEADERS_AT + i as u64 * BUFFER_HEADER, what)
        };
        let newest = headers.iter().map(|h| h.0).max().unwrap_or(0);
        let mut buffers = Vec::new();
        for (i, &(sequence, committed)) in headers.iter().enumerate() {
            // A writer that died between two stores has left 0, and no bytes of that use.
            if !layout.other_boot && sequence != 0 {
                let turn = sequence % layout.buffers as u64 == i as u64;
                if !turn || sequence.saturating_add(layout.buffers as u64) <= newest {
                    problems.meet(damaged(i, "a buffer has a number that cannot be"))?;
                }
                if committed > layout.buffer_bytes as u64 {
                    problems.meet(damaged(i, "a buffer holds more than its size"))?;
                }
            }
            let mut bytes = source.bytes(i, layout.buffer_bytes as u64)?;
            // The number as its entries have it: a header may be older than they are.
            let of_entries = decode::generation(&bytes).map(|generation| {
                let ahead = generation.wrapping_sub(newest as u16) as i16;
                newest.wrapping_add_signed(i64::from(ahead))
            });
            let number = match of_entries {
                Some(number) if layout.other_boot || number == sequence => number,
                // What the buffer held before it was taken for this use.
                Some(_) | None if committed == 0 || sequence == 0 || layout.other_boot => continue,
                _ => sequence,
            };
            let (valid, what) = decode::check(&bytes, number);
            if !layout.other_boot && (valid as u64) < committed {
                let at = layout.position(number, valid);
                let what = what.unwrap_or("a buffer ends before what it has published");
                problems.meet(Error::damaged(&self.path, at, what))?;
            }
            bytes.truncate(valid);
            let in_gap = self.last_words.as_ref().is_some_and(|w| w.gap.is_some());
            if in_gap && !layout.other_boot {
                // The gap counts the call that could not be published.
                bytes.truncate(usize::try_from(committed).unwrap_or(usize::MAX));
            }
            bytes.shrink_to_fit();
            buffers.push((number, bytes));
        }
        buffers.sort_unstable_by_key(|b| b.0);
        self.buffers = buffers;
        Ok(())
    }

    /// Whether there is a record in it, or a piece of one.
    pub(crate) fn holds_something(&self) -> bool {
        self.buffers.iter().any(|(_, bytes)| !bytes.is_empty())
    }

    /// Whether the machine was started again since it was written.
    pub(crate) fn after_power_loss(&self) -> bool {
        self.layout.other_boot
    }

    /// Whose tail it is.
    pub(crate) fn process(&self) -> ProcessId {
        self.process
    }

    /// The records beyond the segments.
    pub(crate) fn records(&self, tip: &Tip, problems: &mut Problems) -> Result<Beyond> {
        let mut beyond = Beyond {
            parts: Vec::new(),
            next: tip.next,
        };
        // A whole buffer may lie before `next`: its batch is in the segment already.
        let mut decoder = Decoder::new(None);
        let mut before = None;
        for (sequence, bytes) in &self.buffers {
            let in_turn = before.is_none_or(|before: u64| before.checked_add(1) == Some(*sequence));
            before = Some(*sequence);
            let first = first_offset(bytes);
            if decoder.next_offset().is_none() && first.is_some_and(|first| first > beyond.next)
                || !in_turn
            {
                if self.layout.other_boot {
                    // The power went before these were in order on the disk, or those before them.
                    break;
                }
                // The segments that were listed do not reach the copy yet, or not any more.
                let after = first.unwrap_or(beyond.next);
                problems.meet(self.gap(beyond.next, after))?;
                decoder = Decoder::new(None);
            } else if decoder.next_offset().is_none() && continues(bytes, tip.next) {
                decoder = Decoder::new(Some(tip.next));
                if let Err(what) = decoder.feed_open(&tip.open, *sequence) {
                    problems.meet(Error::damaged(&self.path, 0, what))?;
                    decoder = Decoder::new(None);
                }
            }
            let mut part = Calls::new(decoder.next_offset().unwrap_or(beyond.next));
            if let Err(bad) = decoder.feed(bytes, *sequence, &mut part) {
                if self.layout.other_boot {
                    beyond.add(&part);
                    break;
                }
                let at = self.layout.position(*sequence, bad.position);
                problems.meet(Error::damaged(&self.path, at, bad.what))?;
                decoder = Decoder::new(None);
            }
            beyond.add(&part);
        }
        let mut last = Calls::new(decoder.next_offset().unwrap_or(beyond.next));
        // A gap that was closed is a record by now, and that is later than what was said of it.
        let start = beyond.last_start().unwrap_or(tip.last_time);
        let unsaid = self.unsaid_gap(start);
        let words = self.last_words.as_ref().or(unsaid.as_ref());
        let words = words.filter(|_| tip.end.is_none());
        let gap = words.and_then(|w| Some((w.at_ns, w.gap.as_ref()?)));
        let gap = gap.filter(|(at, _)| start.0 <= *at);
        // And while it is being recorded, the record of it is in flight.
        let recording = decoder.open_start().filter(|_| self.live);
        let gap = gap.filter(|(at, _)| recording.is_none_or(|start| start.0 <= *at));
        // Behind damage nobody knows whether the record had ended.
        let unfinished = match gap {
            None if !problems.any() => decoder.push_in_flight(&mut last),
            _ => decoder.push_given_up(&mut last),
        };
        if let Err(what) = unfinished {
            problems.meet(Error::damaged(&self.path, 0, what))?;
        }
        beyond.add_to_last(&last);
        let end = words.and_then(|w| w.end.as_ref());
        self.add_last_words(&mut beyond, start, gap, end);
        Ok(beyond)
    }

    /// A gap whose words could not be written either.
    fn unsaid_gap(&self, start: ElapsedNs) -> Option<LastWords> {
        (!self.live && self.layout.lost_calls > 0).then(|| LastWords {
            at_ns: start.0,
            gap: Some(Gap {
                calls: self.layout.lost_calls,
                from_ns: start.0,
                to_ns: start.0.saturating_add(1),
                reason: "why was not recorded either".to_owned(),
            }),
            end: None,
        })
    }

    /// Adds a gap that is still open, and the end of the process where there was no buffer for it.
    fn add_last_words(
        &self,
        beyond: &mut Beyond,
        start: ElapsedNs,
        gap: Option<(u64, &Gap)>,
        end: Option<&ProcessEnd>,
    ) {
        let mut last = Calls::new(beyond.next);
        let mut at = start;
        if let Some((said, gap)) = gap {
            let gap = Gap {
                calls: gap.calls.max(self.layout.lost_calls),
                ..gap.clone()
            };
            // Later than the words, so that they are not taken for news again.
            at = ElapsedNs(gap.to_ns.max(said.saturating_add(1)));
            event::append(&mut last, at, &gap);
        }
        if let Some(end) = end {
            event::append(&mut last, at, end);
        }
        beyond.add_to_last(&last);
    }

    fn gap(&self, next: Offset, after: Offset) -> Error {
        Error::Gap {
            process: self.process,
            path: self.path.clone(),
            before: Offset(next.0.saturating_sub(1)),
            after,
        }
    }

    /// How long the guest has waited for the log, in nanoseconds.
    pub(crate) fn stall_ns(&self) -> u64 {
        self.layout.stall_ns
    }
}

impl Beyond {
    /// Adds those records that come next or later, as a part.
    fn add(&mut self, records: &Calls) {
        self.parts.push(Calls::new(self.next));
        self.add_to_last(records);
        self.parts.pop_if(|part| part.is_empty());
    }

    /// Adds those records that come next or later to the last part.
    fn add_to_last(&mut self, records: &Calls) {
        let Some(part) = self.parts.last_mut() else {
            if !records.is_empty() {
                self.add(records);
            }
            return;
        };
        for record in records.iter().filter(|r| r.offset >= self.next) {
            if part.is_empty() {
                part.first_offset = record.offset;
            }
            part.append(&record);
        }
        if !part.is_empty() {
            self.next = part.end_offset();
        }
    }

    /// When the last record started.
    pub(crate) fn last_start(&self) -> Option<ElapsedNs> {
        let last = self.parts.iter().rev().find_map(|p| p.starts.last());
        last.copied().map(ElapsedNs)
    }
}

/// The offset of the record that a buffer begins with, or in.
fn first_offset(buffer: &[u8]) -> Option<Offset> {
    let header = buffer.first_chunk::<ENTRY_HEADER>()?;
    Cursor::new(&header[12..]).u64().map(Offset)
}

/// Whether a buffer begins inside the record `next`, and not with its beginning.
fn continues(buffer: &[u8], next: Offset) -> bool {
    buffer
        .first_chunk::<ENTRY_HEADER>()
        .is_some_and(|header| header[4] & !MORE != BEGIN && first_offset(buffer) == Some(next))
}

/// Copies out of the file.
struct Copies<'a> {
    file: &'a File,
    path: &'a Path,
    layout: &'a Layout,
}

impl Copies<'_> {
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, at)
            .map_err(Error::io("read", self.path))?;
        Ok(bytes)
    }
}

impl Source for Copies<'_> {
    type Error = Error;

    fn header(&self, i: usize) -> Result<(u64, u64)> {
        let bytes = self.read(HEADERS_AT + i as u64 * BUFFER_HEADER, 16)?;
        let mut c = Cursor::new(&bytes);
        Ok((c.u64().unwrap_or(0), c.u64().unwrap_or(0)))
    }

    fn bytes(&self, i: usize, length: u64) -> Result<Vec<u8>> {
        let room = self.layout.buffer_bytes;
        if length > room as u64 {
            let at = HEADERS_AT + i as u64 * BUFFER_HEADER;
            let what = "a buffer holds more than its size";
            return Err(Error::damaged(self.path, at, what));
        }
        self.read(DATA_AT + (i * room) as u64, length as usize)
    }
}

struct Layout {
    process: ProcessId,
    buffers: usize,
    buffer_bytes: usize,
    stall_ns: u64,
    /// How many calls the gap that is open has.
    lost_calls: u64,
    /// The machine was started again since.
    other_boot: bool,
}

impl Layout {
    fn read(file: &File, path: &Path) -> Result<Layout> {
        let mut bytes = [0; COUNTERS_AT + COUNTERS_BYTES];
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
        let process: [u8; 16] = c.array().ok_or_else(not_ours)?;
        let boot: [u8; 16] = c.array().ok_or_else(not_ours)?;
        let crc = c.u32().ok_or_else(not_ours)?;
        if crc32c::crc32c(&bytes[..FIXED_BYTES - 4]) != crc {
            let what = "the beginning of the tail does not match its checksum";
            return Err(Error::damaged(path, 8, what));
        }
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let fits = u64::try_from(buffers)
            .ok()
            .and_then(|n| n.checked_mul(buffer_bytes))
            .and_then(|n| n.checked_add(DATA_AT));
        let sizes = LogOptions::MIN_BATCH_BYTES as u64..=LogOptions::MAX_BATCH_BYTES as u64;
        if !(1..=MAX_BUFFERS).contains(&buffers)
            || !sizes.contains(&buffer_bytes)
            || fits != Some(length)
        {
            let what = "the tail does not have the length it says";
            return Err(Error::damaged(path, length, what));
        }
        let mut c = Cursor::new(&bytes[COUNTERS_AT..]);
        let mut counter = || c.u64().ok_or_else(not_ours);
        let (stall_ns, lost_calls, lost_check) = (counter()?, counter()?, counter()?);
        Ok(Layout {
            process: ProcessId::from_bytes(process),
            buffers,
            // It fits a file that is there, so it fits an address space.
            buffer_bytes: buffer_bytes as usize,
            stall_ns,
            // Neither where none was said, nor where a bit of it is another.
            lost_calls: if lost_check == !lost_calls {
                lost_calls
            } else {
                0
            },
            other_boot: boot != boot_id(),
        })
    }

    /// Where in the file a buffer's byte stands.
    fn position(&self, sequence: u64, in_buffer: usize) -> u64 {
        let i = sequence % self.buffers as u64;
        DATA_AT + i * self.buffer_bytes as u64 + in_buffer as u64
    }
}

/// Whether somebody writes the log in that folder.
pub(crate) fn is_live(folder: &Path) -> Result<bool> {
    let path = folder.join(FILE_NAME);
    match File::open(&path) {
        Ok(file) => lock_is_free(&file)
            .map(|free| !free)
            .map_err(Error::io("lock", &path)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("open", &path)(e)),
    }
}

/// Whether nobody writes the tail any more.
fn lock_is_free(file: &File) -> std::io::Result<bool> {
    let free = disk::lock_shared(file)?;
    if free {
        // Closing the file gives it back too; sooner is kinder to whoever asks next.
        let _ = rustix::fs::flock(file, rustix::fs::FlockOperation::Unlock);
    }
    Ok(free)
}

/// Which start of the machine this is; zeros where the system does not say.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim()
        .parse::<ProcessId>()
        .map_or([0; 16], |id| *id.as_bytes())
}

const _: () = assert!(FIXED_BYTES == 8 + 4 + 4 + 8 + 16 + 16 + 4);

//! What the log of one process holds at one moment: the same for a log that ended, that is being
//! written, and that its writer left behind.
//!
//! The tail is copied first and the segments are listed after. A buffer is given back only when its
//! batch can be read from a segment, so whatever the copy misses is in a segment by then: every
//! offset is seen, and none twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::Summary;
use crate::calls::{Calls, Projection};
use crate::error::{Error, Result};
use crate::event::{ProcessEnd, ProcessStart};
use crate::file::{self, SegmentReader};
use crate::ids::{ElapsedNs, FunctionId, Offset, ProcessId, SegmentNumber};
use crate::registry;
use crate::tail::reader::TailCopy;

/// Who has written a log, and whether more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogState {
    /// Its writer holds the lock.
    Live,
    /// It has its last record.
    Ended,
    /// Its writer is gone and left no last record.
    Lost,
}

/// A segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number in the process.
    pub number: SegmentNumber,
    /// Its file; for records that no segment holds yet, the tail.
    pub path: PathBuf,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The start time of its first record.
    pub first_time: ElapsedNs,
    /// The start time of its last record.
    pub last_time: ElapsedNs,
    /// How many records it holds.
    pub records: u64,
    /// How many bytes they took in the tail.
    pub raw_bytes: u64,
    /// How many bytes the file has.
    pub stored_bytes: u64,
    /// Whether it has its footer.
    pub sealed: bool,
}

/// Some records of a log that are read at once: a batch of a segment, or a part of the tail.
#[derive(Clone, Debug)]
pub struct Chunk {
    summary: Summary,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Batch(Arc<SegmentReader>, usize),
    Tail(Arc<Calls>),
}

impl Chunk {
    /// What it holds, known without reading it.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The segment that it is in; none for what is in the tail.
    #[must_use]
    pub fn segment(&self) -> Option<SegmentNumber> {
        match &self.source {
            Source::Batch(segment, _) => Some(segment.number()),
            Source::Tail(_) => None,
        }
    }

    /// Reads the columns that are asked for. Blocks on the file, and decompresses nothing else.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn read(&self, projection: Projection) -> Result<Arc<Calls>> {
        match &self.source {
            Source::Batch(segment, i) => segment.read(*i, projection).map(Arc::new),
            // What was copied out of the tail is in memory with all its columns.
            Source::Tail(calls) => Ok(Arc::clone(calls)),
        }
    }
}

/// What the log of one process holds at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    process: ProcessId,
    start: Arc<ProcessStart>,
    end: Option<ProcessEnd>,
    state: LogState,
    segments: Vec<SegmentInfo>,
    chunks: Vec<Chunk>,
    end_offset: Offset,
    stall_ns: u64,
}

impl Snapshot {
    pub(crate) fn take(process: ProcessId, folder: &Path) -> Result<Snapshot> {
        // A log may end between the look at its tail and the look at its segments, and its last
        // segment may be sealed and another begun; then what was seen does not fit together, and
        // looking again does.
        let mut attempts = 0;
        loop {
            match Snapshot::attempt(process, folder) {
                Err(Error::Gap { .. }) if attempts < 8 => attempts += 1,
                done => return done,
            }
        }
    }

    fn attempt(process: ProcessId, folder: &Path) -> Result<Snapshot> {
        let tail = TailCopy::take(folder)?;
        let readers = open_segments(folder)?;
        let Some(first) = readers.first() else {
            return Err(Error::NoLog {
                process,
                path: folder.to_owned(),
            });
        };
        let start = Arc::new(first.header().process.clone());

        let mut chunks = Vec::new();
        let mut segments = Vec::new();
        let mut next = Offset(0);
        for reader in &readers {
            let reader = Arc::new(reader.clone());
            let in_segment = chunks.len();
            for i in 0..reader.len() {
                let Some(summary) = reader.summary(i).cloned() else {
                    break;
                };
                // A batch of a record's pieces alone has no record.
                if summary.count == 0 {
                    continue;
                }
                contiguous(process, next, summary.first_offset)?;
                next = summary.end_offset();
                chunks.push(Chunk {
                    summary,
                    source: Source::Batch(Arc::clone(&reader), i),
                });
            }
            segments.extend(info(&reader, &chunks[in_segment..]));
        }

        let mut end = readers.last().and_then(|r| r.end().cloned());
        let mut state = LogState::Lost;
        let mut stall_ns = 0;
        if let Some(tail) = &tail {
            stall_ns = tail.stall_ns();
            if tail.live {
                state = LogState::Live;
            }
            let last = readers.iter().rev().find(|r| !r.is_empty());
            let open = last.map_or(Ok(Vec::new()), SegmentReader::open_pieces)?;
            let calls = tail.records(process, next, &open, folder)?;
            if !calls.is_empty() {
                contiguous(process, next, calls.first_offset)?;
                next = calls.end_offset();
                let summary = Summary::of(&calls);
                segments.push(tail_info(folder, readers.len(), &calls));
                chunks.push(Chunk {
                    summary,
                    source: Source::Tail(Arc::new(calls)),
                });
            }
        }
        // The last record is there before the footer that holds it too, and without it where the
        // writer died while it sealed.
        if end.is_none() {
            end = last_record(chunks.last())?;
        }
        if let Some(end) = &end {
            state = LogState::Ended;
            stall_ns = end.stall_ns;
        }
        Ok(Snapshot {
            process,
            start,
            end,
            state,
            segments,
            chunks,
            end_offset: next,
            stall_ns,
        })
    }

    /// The first record of the log in that folder, without the rest.
    pub(crate) fn read_start(folder: &Path) -> Result<ProcessStart> {
        let path = folder.join(file::file_name(SegmentNumber(0)));
        SegmentReader::open(&path).map(|r| r.header().process.clone())
    }

    /// Whose log it is.
    #[must_use]
    pub fn process_id(&self) -> ProcessId {
        self.process
    }

    /// How the process began.
    #[must_use]
    pub fn start(&self) -> &ProcessStart {
        &self.start
    }

    /// How the process ended; none while it runs, and where its writer left no last record.
    #[must_use]
    pub fn end(&self) -> Option<&ProcessEnd> {
        self.end.as_ref()
    }

    /// Whether more will come.
    #[must_use]
    pub fn state(&self) -> LogState {
        self.state
    }

    /// The segments, in order. Records that are in the tail alone stand as one more, unsealed.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// All records, in order of offset, none twice.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// How long the guest has waited for the log, in nanoseconds.
    #[must_use]
    pub fn stall_ns(&self) -> u64 {
        self.stall_ns
    }

    /// The chunks from the one that holds `offset` on.
    #[must_use]
    pub fn chunks_from(&self, offset: Offset) -> &[Chunk] {
        let first = self
            .chunks
            .partition_point(|c| c.summary.end_offset() <= offset);
        &self.chunks[first..]
    }

    /// The chunks from the first on that holds a record started at `time` or later.
    #[must_use]
    pub fn chunks_since(&self, time: ElapsedNs) -> &[Chunk] {
        let first = self.chunks.partition_point(|c| c.summary.last_time < time);
        &self.chunks[first..]
    }
}

/// The segments of a process, by number. One that another process is sealing away is not missed:
/// the folder is listed after the tail was copied.
fn open_segments(folder: &Path) -> Result<Vec<SegmentReader>> {
    let suffix = format!(".{}", file::EXTENSION);
    let names = registry::names(folder)?;
    let segments = names.iter().filter(|name| name.ends_with(&suffix));
    let mut readers = Vec::new();
    for name in segments {
        readers.push(SegmentReader::open(&folder.join(name))?);
    }
    Ok(readers)
}

fn contiguous(process: ProcessId, next: Offset, found: Offset) -> Result<()> {
    if next == found {
        return Ok(());
    }
    Err(Error::Gap {
        process,
        before: Offset(next.0.saturating_sub(1)),
        after: found,
    })
}

fn info(reader: &SegmentReader, chunks: &[Chunk]) -> Option<SegmentInfo> {
    let (first, last) = (chunks.first()?, chunks.last()?);
    Some(SegmentInfo {
        number: reader.number(),
        path: reader.path().to_owned(),
        first_offset: first.summary.first_offset,
        last_offset: Offset(last.summary.end_offset().0 - 1),
        first_time: first.summary.first_time,
        last_time: last.summary.last_time,
        records: chunks.iter().map(|c| u64::from(c.summary.count)).sum(),
        raw_bytes: chunks.iter().map(|c| c.summary.raw_bytes).sum(),
        stored_bytes: reader.bytes(),
        sealed: reader.is_sealed(),
    })
}

fn tail_info(folder: &Path, number: usize, calls: &Calls) -> SegmentInfo {
    let bytes = calls.payload.len() + 8 * (calls.args.len() + calls.outs.len());
    SegmentInfo {
        number: SegmentNumber(u32::try_from(number).unwrap_or(u32::MAX)),
        path: folder.join(crate::tail::FILE_NAME),
        first_offset: calls.first_offset,
        last_offset: Offset(calls.end_offset().0 - 1),
        first_time: ElapsedNs(calls.starts.first().copied().unwrap_or(0)),
        last_time: ElapsedNs(calls.starts.last().copied().unwrap_or(0)),
        records: calls.len() as u64,
        raw_bytes: bytes as u64,
        stored_bytes: bytes as u64,
        sealed: false,
    }
}

fn last_record(chunk: Option<&Chunk>) -> Result<Option<ProcessEnd>> {
    let Some(chunk) = chunk.filter(|c| c.summary.may_have_function(FunctionId::END)) else {
        return Ok(None);
    };
    let calls = chunk.read(Projection::ALL)?;
    let last = calls.get(calls.len().saturating_sub(1));
    Ok(last
        .filter(|r| r.function == FunctionId::END)
        .and_then(|r| {
            // An end that does not parse was written by a later version; the log is readable without.
            serde_json::from_slice(r.input).ok()
        }))
}

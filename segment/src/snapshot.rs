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
use crate::descriptors::Descriptor;
use crate::error::{Error, Result};
use crate::event::{self, ProcessEnd, ProcessStart};
use crate::file::{self, SegmentReader};
use crate::ids::{ElapsedNs, FunctionId, Offset, ProcessId, SegmentNumber};
use crate::registry;
use crate::tail;
use crate::tail::reader::{TailCopy, Tip};

/// A place in a log that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it the damaged part begins, in bytes.
    pub position: u64,
    /// What does not hold.
    pub what: String,
    /// The last record before what is missing, where records are.
    pub before: Option<Offset>,
    /// The first record after it.
    pub after: Option<Offset>,
}

impl Damage {
    /// What an error says of damage; none where it is about something else.
    #[must_use]
    pub fn of(error: &Error) -> Option<Damage> {
        let damage = |path: &PathBuf, position, what: String| Damage {
            path: path.clone(),
            position,
            what,
            before: None,
            after: None,
        };
        Some(match error {
            Error::Damaged {
                path,
                position,
                what,
            } => damage(path, *position, what.clone()),
            Error::NotOurs { path, .. } => damage(path, 0, "it is not one of ours".to_owned()),
            Error::NewerVersion { path, .. } => damage(path, 8, error.to_string()),
            Error::EndMissing { path, position } => {
                damage(path, *position, "the end of the log is missing".to_owned())
            }
            Error::Gap {
                path,
                before,
                after,
                ..
            } => Damage {
                before: Some(*before),
                after: Some(*after),
                ..damage(path, 0, "records before this are missing".to_owned())
            },
            // The disk has the file, and cannot give it; or the file is shorter than it was.
            Error::Io { path, source, .. }
                if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
                    || source.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                damage(path, 0, source.to_string())
            }
            _ => return None,
        })
    }
}

/// What is done about damage, and what was met.
pub(crate) struct Problems {
    skip: bool,
    met: Vec<Damage>,
    /// The machine went down while the log was written, so that its last segment may end anywhere.
    pub(crate) torn_end: bool,
}

impl Problems {
    /// The first is an error.
    pub(crate) fn fail() -> Problems {
        Problems {
            skip: false,
            met: Vec::new(),
            torn_end: false,
        }
    }

    /// They are remembered, and reading goes on behind them.
    pub(crate) fn skip() -> Problems {
        Problems {
            skip: true,
            met: Vec::new(),
            torn_end: false,
        }
    }

    /// Whether any was met.
    pub(crate) fn any(&self) -> bool {
        !self.met.is_empty()
    }

    /// # Errors
    /// With `error`, unless it is damage that is to be skipped.
    pub(crate) fn meet(&mut self, error: Error) -> Result<()> {
        match Damage::of(&error) {
            Some(damage) if self.skip => {
                self.met.push(damage);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

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

    /// The descriptors that were open at the first record of its segment; none for what is in the
    /// tail, and where damage hides them.
    #[must_use]
    pub fn descriptors_of_segment(&self) -> Option<&[Descriptor]> {
        match &self.source {
            Source::Batch(segment, _) => segment.descriptors(),
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
    damage: Vec<Damage>,
}

impl Snapshot {
    pub(crate) fn take(
        process: ProcessId,
        folder: &Path,
        problems: fn() -> Problems,
    ) -> Result<Snapshot> {
        // A log may end between the look at its tail and the look at its segments, and its last
        // segment may be sealed and another begun; then what was seen does not fit together, and
        // looking again does. Of a log that nobody changes a second look shows the same.
        for _ in 0..8 {
            let before = Files::of(folder)?;
            match Snapshot::attempt(process, folder, &mut Problems::fail()) {
                Err(error) if Damage::of(&error).is_some() => {
                    if !before.live && before == Files::of(folder)? {
                        break;
                    }
                }
                done => return done,
            }
        }
        Snapshot::attempt(process, folder, &mut problems())
    }

    fn attempt(process: ProcessId, folder: &Path, problems: &mut Problems) -> Result<Snapshot> {
        let tail = TailCopy::take(folder, problems)?;
        problems.torn_end = tail.as_ref().is_some_and(TailCopy::after_power_loss);
        let readers = open_segments(process, folder, problems)?;
        let Some(first) = readers.first() else {
            return Err(Error::NoLog {
                process,
                path: folder.to_owned(),
            });
        };
        let start = Arc::new(first.header().process.clone());
        let mut log = Log::of_segments(process, &readers, problems)?;
        let last = readers.len() - 1;
        // The last segment is sealed before the tail goes.
        if tail.is_none() && !readers[last].is_sealed() {
            problems.meet(end_missing(&readers[last]))?;
        }

        let mut end = readers.last().and_then(|r| r.end().cloned());
        let mut state = LogState::Lost;
        let mut stall_ns = 0;
        if let Some(tail) = &tail {
            stall_ns = tail.stall_ns();
            if tail.live {
                state = LogState::Live;
            }
            log.add_tail(tail, &readers, folder, problems)?;
        }
        // The last record is there before the footer that holds it too, and without it where the
        // writer died while it sealed.
        if end.is_none() {
            end = match last_record(log.chunks.last()) {
                Ok(end) => end,
                Err(error) => {
                    problems.meet(error)?;
                    None
                }
            };
        }
        if let Some(end) = &end {
            state = LogState::Ended;
            stall_ns = end.stall_ns;
        } else if tail.is_none() && readers[last].is_sealed() {
            problems.meet(end_missing(&readers[last]))?;
        }
        Ok(Snapshot {
            process,
            start,
            end,
            state,
            segments: log.segments,
            chunks: log.chunks,
            end_offset: log.next,
            stall_ns,
            damage: std::mem::take(&mut problems.met),
        })
    }

    /// The first record of the log in that folder, without the rest.
    pub(crate) fn read_start(folder: &Path) -> Result<ProcessStart> {
        let path = folder.join(file::file_name(SegmentNumber(0)));
        SegmentReader::open(&path).map(|r| r.header().process.clone())
    }

    /// What was skipped because it is damaged. What only reading a chunk can find is not here.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
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

fn end_missing(reader: &SegmentReader) -> Error {
    Error::EndMissing {
        path: reader.path().to_owned(),
        position: reader.bytes(),
    }
}

/// The files of a log, as far as their change shows.
#[derive(PartialEq)]
struct Files {
    live: bool,
    lengths: Vec<(String, Option<u64>)>,
}

impl Files {
    fn of(folder: &Path) -> Result<Files> {
        let length = |name: &String| std::fs::metadata(folder.join(name)).map(|m| m.len()).ok();
        let names = registry::names(folder)?.into_iter();
        Ok(Files {
            live: tail::reader::is_live(folder)?,
            lengths: names.map(|name| (name.clone(), length(&name))).collect(),
        })
    }
}

/// A log as it is put together.
struct Log {
    process: ProcessId,
    next: Offset,
    chunks: Vec<Chunk>,
    segments: Vec<SegmentInfo>,
}

impl Log {
    fn of_segments(
        process: ProcessId,
        readers: &[SegmentReader],
        problems: &mut Problems,
    ) -> Result<Log> {
        let mut log = Log {
            process,
            next: Offset(0),
            chunks: Vec::new(),
            segments: Vec::new(),
        };
        for (i, reader) in readers.iter().enumerate() {
            log.add_segment(reader, problems)?;
            // A segment is sealed before the next is begun.
            if !reader.is_sealed() && i + 1 < readers.len() {
                problems.meet(end_missing(reader))?;
            }
        }
        Ok(log)
    }

    fn add_segment(&mut self, reader: &SegmentReader, problems: &mut Problems) -> Result<()> {
        let reader = Arc::new(reader.clone());
        let in_segment = self.chunks.len();
        for i in 0..reader.len() {
            let Some(summary) = reader.summary(i).cloned() else {
                break;
            };
            // A batch of a record's pieces alone has no record.
            if summary.count == 0 {
                continue;
            }
            self.continues(summary.first_offset, reader.path(), problems)?;
            self.next = summary.end_offset();
            self.chunks.push(Chunk {
                summary,
                source: Source::Batch(Arc::clone(&reader), i),
            });
        }
        self.segments
            .extend(info(&reader, &self.chunks[in_segment..]));
        Ok(())
    }

    fn add_tail(
        &mut self,
        tail: &TailCopy,
        readers: &[SegmentReader],
        folder: &Path,
        problems: &mut Problems,
    ) -> Result<()> {
        if tail.process() != self.process {
            let path = folder.join(tail::FILE_NAME);
            return problems.meet(Error::damaged(
                &path,
                24,
                "it is the tail of another process",
            ));
        }
        let mut tip = match Tip::of(readers) {
            Ok(tip) => tip,
            Err(error) => {
                problems.meet(error)?;
                Tip::default()
            }
        };
        tip.next = self.next;
        let beyond = tail.records(&tip, problems)?;
        let first = self.chunks.len();
        for calls in beyond.parts {
            let summary = Summary::of(&calls);
            self.chunks.push(Chunk {
                summary,
                source: Source::Tail(Arc::new(calls)),
            });
        }
        self.next = beyond.next;
        self.segments
            .extend(tail_info(folder, readers.len(), &self.chunks[first..]));
        Ok(())
    }

    fn continues(&self, found: Offset, path: &Path, problems: &mut Problems) -> Result<()> {
        if self.next == found {
            return Ok(());
        }
        problems.meet(Error::Gap {
            process: self.process,
            path: path.to_owned(),
            before: Offset(self.next.0.saturating_sub(1)),
            after: found,
        })
    }
}

/// The segments of a process, by number. One that another process is sealing away is not missed:
/// the folder is listed after the tail was copied.
pub(crate) fn open_segments(
    process: ProcessId,
    folder: &Path,
    problems: &mut Problems,
) -> Result<Vec<SegmentReader>> {
    let suffix = format!(".{}", file::EXTENSION);
    let mut names = registry::names(folder)?;
    names.retain(|name| name.ends_with(&suffix));
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    // Any segment says how its process began, should one of them not be able to.
    let header = paths
        .iter()
        .find_map(|path| SegmentReader::header_of(path).ok());
    let mut readers = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let opened = SegmentReader::open_past(path, header.as_ref(), problems);
        match opened.and_then(|reader| in_its_place(process, reader)) {
            Ok(reader) => readers.push(reader),
            // The disk had its name, and not its bytes.
            Err(_) if problems.torn_end && i > 0 && i + 1 == paths.len() => {}
            Err(error) => problems.meet(error)?,
        }
    }
    if problems.torn_end
        && let Some(last) = readers.last_mut()
    {
        last.drop_torn_end()?;
    }
    Ok(readers)
}

/// Whether segments follow one another, without a hole between their records.
///
/// # Errors
/// When they do not: that is damage.
pub(crate) fn follow_one_another(process: ProcessId, readers: &[SegmentReader]) -> Result<()> {
    Log::of_segments(process, readers, &mut Problems::fail()).map(drop)
}

/// A segment that is of that process, and whose name is its own.
fn in_its_place(process: ProcessId, reader: SegmentReader) -> Result<SegmentReader> {
    let name = file::file_name(reader.number());
    let what = if reader.header().process.process_id != process {
        "it is a segment of another process"
    } else if !reader.path().ends_with(name) {
        "it is not the segment that its name says"
    } else {
        return Ok(reader);
    };
    Err(Error::damaged(reader.path(), 0, what))
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

fn tail_info(folder: &Path, number: usize, chunks: &[Chunk]) -> Option<SegmentInfo> {
    let (first, last) = (chunks.first()?, chunks.last()?);
    let bytes = |chunk: &Chunk| match &chunk.source {
        Source::Tail(calls) => calls.payload.len() + 8 * (calls.args.len() + calls.outs.len()),
        Source::Batch(..) => 0,
    };
    let bytes = chunks.iter().map(|c| bytes(c) as u64).sum();
    Some(SegmentInfo {
        number: SegmentNumber(u32::try_from(number).unwrap_or(u32::MAX)),
        path: folder.join(tail::FILE_NAME),
        first_offset: first.summary.first_offset,
        last_offset: Offset(last.summary.end_offset().0 - 1),
        first_time: first.summary.first_time,
        last_time: last.summary.last_time,
        records: chunks.iter().map(|c| u64::from(c.summary.count)).sum(),
        raw_bytes: bytes,
        stored_bytes: bytes,
        sealed: false,
    })
}

fn last_record(chunk: Option<&Chunk>) -> Result<Option<ProcessEnd>> {
    let Some(chunk) = chunk.filter(|c| c.summary.may_have_function(FunctionId::END)) else {
        return Ok(None);
    };
    Ok(event::end_of(&*chunk.read(Projection::ALL)?))
}

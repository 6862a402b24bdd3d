//! The write side of a log: the guest's thread records, a background thread packs.
//!
//! [`Recorder`] appends to the tail; it makes no system call and takes no lock on the way of a
//! call, but waits where every buffer of the tail is full: nothing is ever dropped. The *packer*
//! turns full buffers into batches of a segment, gives the buffers back once their batches can be
//! read from the segment, rotates segments by size and age, and seals the last.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::batch::{Compression, Encoder, Open};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::descriptors::Descriptors;
use crate::error::{Error, Result};
use crate::event::{Ended, Event, ProcessEnd, ProcessStart};
use crate::file::{SegmentHeader, SegmentWriter};
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::Outcome;
use crate::registry::{Registry, private_folder};
use crate::tail::decode::Decoder;
use crate::tail::map::{Owner, TailMap, file_bytes};
use crate::tail::reader::boot_id;
use crate::tail::writer::{Buffers, TailWriter};
use crate::tail::{self, FIXED_BYTES, MAX_BUFFERS};

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

/// Records the calls of one process. It belongs to the guest's thread.
///
/// A call is `begin`, any `input`, `publish`, the effect with any `write`, and `finish`. An effect
/// that reached the world is never missing from the log, since its record is published before.
pub struct Recorder {
    writer: TailWriter<Shared>,
    shared: Arc<Shared>,
    packer: Option<JoinHandle<()>>,
    clock: Clock,
    start: u64,
    consumed: Option<usize>,
    note: String,
}

/// What the guest's thread and the packer tell each other: a lock a buffer, none a call.
struct Shared {
    map: Arc<TailMap>,
    state: Mutex<State>,
    to_packer: Condvar,
    to_guest: Condvar,
}

#[derive(Default)]
struct State {
    /// Every buffer before this sequence is full.
    full: u64,
    /// Every buffer up to this sequence was given back.
    recycled: u64,
    /// No buffer will follow, and this is how the process ended.
    closing: Option<ProcessEnd>,
    /// Why the log cannot be written any more.
    failed: Option<Error>,
    /// The packer is gone.
    gone: bool,
}

impl Shared {
    /// A thread that panicked under this lock left no half of a change: each is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffers for Shared {
    fn next(&self, sequence: u64) -> bool {
        let mut state = self.lock();
        state.full = sequence;
        self.to_packer.notify_one();
        let needed = sequence.saturating_sub(self.map.buffers() as u64);
        if state.recycled < needed {
            let since = Instant::now();
            while state.recycled < needed && !state.gone {
                state = self
                    .to_guest
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let waited = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.map
                .counters()
                .stall_ns
                .fetch_add(waited, Ordering::Relaxed);
        }
        !state.gone
    }
}

impl Recorder {
    /// Begins the log of a process, and records its start. The clock of the log starts here.
    ///
    /// # Errors
    /// When an option is out of range, or the log cannot be created in the registry.
    pub fn create(registry: &Registry, start: &ProcessStart, options: &LogOptions) -> Result<Self> {
        check(options)?;
        let clock = Clock::start();
        let folder = registry.process_folder(start.process_id);
        private_folder(&folder)?;
        let (file, map) = create_tail(&folder, start, options)?;
        let map = Arc::new(map);
        let segment = SegmentWriter::create(
            &folder,
            &SegmentHeader {
                segment: 0,
                process: start.clone(),
                descriptors: Descriptors::at_start(start).table(),
            },
        )?;
        let shared = Arc::new(Shared {
            map: Arc::clone(&map),
            state: Mutex::default(),
            to_packer: Condvar::new(),
            to_guest: Condvar::new(),
        });
        let encoder = Encoder::new(options.compression)
            .map_err(Error::io("start the compressor for", &folder))?;
        let packer = Packer {
            shared: Arc::clone(&shared),
            tail: file,
            folder: folder.clone(),
            start: start.clone(),
            options: options.clone(),
            encoder,
            segment: Some(segment),
            segments: 1,
            opened: Instant::now(),
            decoder: Decoder::new(Some(Offset(0))),
            descriptors: Descriptors::at_start(start),
            calls: Calls::default(),
            pieces: Vec::new(),
            batch: Vec::new(),
            sequence: 1,
            position: 0,
        };
        let packer = std::thread::Builder::new()
            .name("timecraft-log".to_owned())
            .spawn(move || packer.run())
            .map_err(Error::io("start the thread that writes", &folder))?;
        // SAFETY: the map was made here, and this is the only owner made of it.
        let owner = unsafe { Owner::new(map) };
        let mut recorder = Recorder {
            writer: TailWriter::new(owner, Arc::clone(&shared)),
            shared,
            packer: Some(packer),
            clock,
            start: 0,
            consumed: None,
            note: String::new(),
        };
        recorder.event(start)?;
        Ok(recorder)
    }

    /// Opens a record, at the time now.
    ///
    /// # Errors
    /// When the log cannot be written any more. The effect must not happen then.
    #[inline]
    pub fn begin(&mut self, function: FunctionId, args: &[u64]) -> Result<()> {
        self.start = self.clock.elapsed_ns();
        self.writer.begin(self.start, function, args);
        if self.writer.failed() {
            Err(self.failure())
        } else {
            Ok(())
        }
    }

    /// Appends bytes that the guest passes in.
    #[inline]
    pub fn input(&mut self, bytes: &[u8]) {
        self.writer.put(bytes);
    }

    /// Publishes the record as in flight. To be called before the effect.
    ///
    /// # Errors
    /// When the log cannot be written any more. The effect must not happen then.
    #[inline]
    pub fn publish(&mut self) -> Result<()> {
        self.writer.publish_begin();
        if self.writer.failed() {
            Err(self.failure())
        } else {
            Ok(())
        }
    }

    /// The host wrote `bytes` to the guest's memory at `address`.
    #[inline]
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        self.writer.write(address, bytes);
    }

    /// The host took only so many bytes of the input, from its beginning.
    #[inline]
    pub fn consumed(&mut self, input_bytes: usize) {
        self.consumed = Some(input_bytes);
    }

    /// Says what the guest never sees.
    pub fn note(&mut self, text: &str) {
        text.clone_into(&mut self.note);
    }

    /// Ends the record and publishes it, before the guest goes on.
    ///
    /// # Errors
    /// When the log cannot be written any more.
    #[inline]
    pub fn finish(&mut self, outcome: Outcome, result: u64) -> Result<Offset> {
        let offset = self.writer.offset();
        let duration = self.clock.elapsed_ns() - self.start;
        self.writer
            .finish(duration, outcome, result, self.consumed.take(), &self.note);
        if !self.note.is_empty() {
            self.note.clear();
        }
        if self.writer.failed() {
            Err(self.failure())
        } else {
            Ok(offset)
        }
    }

    /// Records an event.
    ///
    /// # Errors
    /// When the log cannot be written any more.
    pub fn event<E: Event>(&mut self, event: &E) -> Result<Offset> {
        let json = serde_json::to_vec(event).map_err(|e| Error::RecordingFailed {
            source: Box::new(Error::Io {
                action: "describe an event for",
                path: PathBuf::from("the log"),
                source: e.into(),
            }),
        })?;
        self.begin(E::FUNCTION, &[])?;
        self.input(&json);
        self.publish()?;
        self.finish(Outcome::Returned, 0)
    }

    /// The offset of the record that is open, or of the next.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.writer.offset()
    }

    /// The time since the process started.
    #[inline]
    pub fn elapsed(&mut self) -> ElapsedNs {
        ElapsedNs(self.clock.elapsed_ns())
    }

    /// How long the guest has waited for the log, in nanoseconds.
    #[must_use]
    pub fn stall_ns(&self) -> u64 {
        self.shared.map.counters().stall_ns.load(Ordering::Relaxed)
    }

    /// Records the end of the process, writes out what the tail holds, and seals the log.
    ///
    /// # Errors
    /// When the log cannot be written; what was recorded stays readable.
    pub fn close(mut self, end: &ProcessEnd) -> Result<()> {
        self.shut(end)
    }

    fn shut(&mut self, end: &ProcessEnd) -> Result<()> {
        let Some(packer) = self.packer.take() else {
            return Ok(());
        };
        let recorded = self.event(end).map(drop);
        {
            let mut state = self.shared.lock();
            state.full = self.writer.sequence() + 1;
            state.closing = Some(end.clone());
            self.shared.to_packer.notify_one();
        }
        packer.join().map_err(|_| Error::WriterDied)?;
        recorded?;
        match self.shared.lock().failed.take() {
            Some(source) => Err(Error::RecordingFailed {
                source: Box::new(source),
            }),
            None => Ok(()),
        }
    }

    #[cold]
    fn failure(&self) -> Error {
        match self.shared.lock().failed.take() {
            Some(source) => Error::RecordingFailed {
                source: Box::new(source),
            },
            None => Error::WriterDied,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Only where the host gave up on the guest without a word, as in a panic.
        let end = ProcessEnd {
            status: Ended::Lost,
            exit_code: None,
            signal: None,
            trap: None,
            stall_ns: self.stall_ns(),
        };
        // There is nobody left to tell; what was recorded stays readable.
        let _ = self.shut(&end);
    }
}

fn check(options: &LogOptions) -> Result<()> {
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

/// Creates the tail, locked, with all its space, and gives it its name when it is whole: who finds
/// it finds it locked.
fn create_tail(
    folder: &Path,
    start: &ProcessStart,
    options: &LogOptions,
) -> Result<(File, TailMap)> {
    // Buffers begin on pages, so that one is written back without its neighbour.
    let buffer_bytes = options.batch_bytes.next_multiple_of(4096);
    let path = folder.join(tail::FILE_NAME);
    let new = folder.join("tail.new");
    let failed = |action| Error::io(action, &path);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("create"))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| failed("lock")(e.into()))?;
    let length = file_bytes(options.buffers, buffer_bytes);
    allocate(&file, length).map_err(failed("allocate the space of"))?;

    let mut fixed = Vec::with_capacity(FIXED_BYTES);
    fixed.extend(tail::MAGIC);
    fixed.extend(tail::VERSION.to_le_bytes());
    fixed.extend((options.buffers as u32).to_le_bytes());
    fixed.extend((buffer_bytes as u64).to_le_bytes());
    fixed.extend(start.process_id.as_bytes());
    fixed.extend(boot_id());
    std::os::unix::fs::FileExt::write_all_at(&file, &fixed, 0).map_err(failed("write"))?;
    let map = TailMap::new(&file, options.buffers, buffer_bytes).map_err(failed("map"))?;
    std::fs::rename(&new, &path).map_err(failed("create"))?;
    Ok((file, map))
}

/// Binds the space of the tail, so that a full disk is an error here and not a signal later.
fn allocate(file: &File, length: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            // Zeros that are written are space that is there.
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < length {
                let n = zeros.len().min((length - at) as usize);
                std::os::unix::fs::FileExt::write_all_at(file, &zeros[..n], at)?;
                at += n as u64;
            }
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// The background thread of a log.
struct Packer {
    shared: Arc<Shared>,
    tail: File,
    folder: PathBuf,
    start: ProcessStart,
    options: LogOptions,
    encoder: Encoder,
    segment: Option<SegmentWriter>,
    /// How many segments were begun.
    segments: u32,
    /// When the segment was begun.
    opened: Instant,
    decoder: Decoder,
    descriptors: Descriptors,
    calls: Calls,
    /// The pieces of the record that is open, over all the buffers that it began in.
    pieces: Vec<u8>,
    batch: Vec<u8>,
    /// The buffer that is packed next.
    sequence: u64,
    /// Up to where that buffer was packed already.
    position: usize,
}

enum Work {
    /// The buffer is full.
    Full,
    /// Some time has passed.
    Tick,
    /// Nothing will come any more.
    End(ProcessEnd),
}

/// Tells the guest's thread that the packer is gone, also where it panicked.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.to_guest.notify_one();
    }
}

impl Packer {
    fn run(mut self) {
        let gone = Gone(Arc::clone(&self.shared));
        if let Err(error) = self.work() {
            gone.0.lock().failed = Some(error);
        }
    }

    fn work(&mut self) -> Result<()> {
        self.touch();
        loop {
            match self.wait() {
                Work::Full => {
                    self.pack(true)?;
                    if self.options.sync == Sync::Batch {
                        self.sync()?;
                    }
                    self.rotate()?;
                    self.shared.lock().recycled = self.sequence;
                    self.shared.to_guest.notify_one();
                    self.sequence += 1;
                    self.position = 0;
                }
                Work::Tick => {
                    if self.opened.elapsed() >= self.options.segment_age && !self.decoder.is_open()
                    {
                        self.pack(false)?;
                        self.rotate()?;
                    }
                    if self.options.sync != Sync::None {
                        self.sync()?;
                    }
                }
                Work::End(end) => return self.end(&end),
            }
        }
    }

    /// Touches the pages of the tail before the guest does, as far as it has no other work: the
    /// first use of a page costs more than the records on it.
    fn touch(&self) {
        const STEP: usize = 256 << 10;
        let mut at = 0;
        loop {
            {
                let state = self.shared.lock();
                if state.full > self.sequence || state.closing.is_some() {
                    return;
                }
            }
            if !self.shared.map.touch(at, STEP) {
                return;
            }
            at += STEP;
        }
    }

    fn wait(&self) -> Work {
        let tick = match self.options.sync {
            Sync::None => self
                .options
                .segment_age
                .saturating_sub(self.opened.elapsed()),
            Sync::Interval | Sync::Batch => SYNC_INTERVAL,
        };
        let until = Instant::now() + tick.max(Duration::from_millis(10));
        let mut state = self.shared.lock();
        loop {
            if state.full > self.sequence {
                return Work::Full;
            }
            if let Some(end) = &state.closing {
                return Work::End(end.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Tick;
            }
            let waited = self.shared.to_packer.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes a batch of what the buffer holds beyond what was packed. Of a full buffer the pieces
    /// of an open record are kept too, since the buffer will be used again.
    fn pack(&mut self, full: bool) -> Result<()> {
        // SAFETY: this thread gives the buffer back, in `work`, after the last use of `buffer`.
        let buffer = unsafe { self.shared.map.published(self.sequence) };
        let buffer = buffer.get(self.position..).unwrap_or_default();
        let next = self.decoder.next_offset().unwrap_or_default();
        let mut calls = std::mem::take(&mut self.calls);
        calls.clear(next);
        let complete = self
            .decoder
            .feed(buffer, self.sequence, &mut calls)
            .map_err(|bad| {
                Error::damaged(
                    &self.folder.join(tail::FILE_NAME),
                    bad.position as u64,
                    bad.what,
                )
            })?;
        // Pieces go on from those of the buffers before as long as no record has ended.
        if !calls.is_empty() || !self.decoder.is_open() {
            self.pieces.clear();
        }
        let continued = !self.pieces.is_empty();
        let pieces = if full && self.decoder.is_open() {
            &buffer[complete..]
        } else {
            &[]
        };
        self.pieces.extend_from_slice(pieces);
        if !full {
            self.decoder.forget_open();
        }
        let raw_bytes = if full { buffer.len() } else { complete };
        if !calls.is_empty() || !pieces.is_empty() {
            self.batch.clear();
            let segment = segment(
                &mut self.segment,
                &mut self.segments,
                &mut self.opened,
                || (&self.folder, &self.start, &self.descriptors),
            )?;
            // Earlier pieces stand in the batches before, unless a segment was begun since.
            let back = if continued { segment.open_batches() } else { 0 };
            let bytes = if back == 0 { &self.pieces } else { pieces };
            let header = self
                .encoder
                .encode(
                    &calls,
                    raw_bytes as u64,
                    Open { bytes, back },
                    &mut self.batch,
                )
                .map_err(Error::io("compress a batch of", segment.path()))?;
            segment.append_batch(header, &self.batch)?;
        }
        self.follow_descriptors(&calls);
        self.calls = calls;
        if !full {
            self.position += complete;
        }
        Ok(())
    }

    fn follow_descriptors(&mut self, calls: &Calls) {
        let mut last = (FunctionId(0), false);
        for (i, &id) in calls.functions.iter().enumerate() {
            if last.0 != id {
                last = (id, Descriptors::may_change(id));
            }
            if last.1
                && let Some(record) = calls.get(i)
            {
                self.descriptors.apply(&record);
            }
        }
    }

    /// Seals a segment that is large or old.
    fn rotate(&mut self) -> Result<()> {
        let Some(segment) = self.segment.take() else {
            return Ok(());
        };
        let due = segment.bytes() >= self.options.segment_bytes
            || self.opened.elapsed() >= self.options.segment_age;
        if !due || segment.is_empty() {
            self.segment = Some(segment);
            return Ok(());
        }
        if self.options.sync != Sync::None {
            segment.sync()?;
        }
        segment.seal(None)
    }

    fn sync(&self) -> Result<()> {
        if let Some(segment) = &self.segment {
            segment.sync()?;
        }
        // What is published now is on the disk after the next line.
        let map = &self.shared.map;
        let committed = map.header(self.sequence).committed.load(Ordering::Acquire);
        self.tail
            .sync_data()
            .map_err(Error::io("sync", &self.folder.join(tail::FILE_NAME)))?;
        map.counters()
            .synced_committed
            .store(committed, Ordering::Release);
        map.counters()
            .synced_sequence
            .store(self.sequence, Ordering::Release);
        Ok(())
    }

    /// Seals the last segment, then removes the tail: there is no moment without either.
    fn end(&mut self, end: &ProcessEnd) -> Result<()> {
        if let Some(segment) = self.segment.take() {
            segment.seal(Some(end))?;
        }
        let path = self.folder.join(tail::FILE_NAME);
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))
    }
}

/// The segment that batches go to; begun where there is none.
fn segment<'a>(
    current: &'a mut Option<SegmentWriter>,
    count: &mut u32,
    opened: &mut Instant,
    about: impl Fn() -> (&'a Path, &'a ProcessStart, &'a Descriptors),
) -> Result<&'a mut SegmentWriter> {
    if current.is_none() {
        let (folder, start, descriptors) = about();
        let header = SegmentHeader {
            segment: *count,
            process: start.clone(),
            descriptors: descriptors.table(),
        };
        *current = Some(SegmentWriter::create(folder, &header)?);
        *count += 1;
        *opened = Instant::now();
    }
    current.as_mut().ok_or(Error::WriterDied)
}

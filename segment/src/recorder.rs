//! The write side of a log, on the guest's thread.
//!
//! A [`Recorder`] appends to the tail; it makes no system call and takes no lock on the way of a
//! call, but waits where every buffer of the tail is full: nothing is ever dropped. What becomes of
//! full buffers is the packer's business (`packer.rs`).

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::{Ended, Event, ProcessEnd, ProcessStart};
use crate::handover::Shared;
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::options::{LogOptions, check};
use crate::packer::Packer;
use crate::record::Outcome;
use crate::registry::{Registry, private_folder};
use crate::tail::map::{Owner, TailMap, file_bytes};
use crate::tail::reader::boot_id;
use crate::tail::writer::{Published, TailWriter};
use crate::tail::{self, FIXED_BYTES};

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
        let shared = Arc::new(Shared::new(Arc::clone(&map)));
        let packer = Packer::new(Arc::clone(&shared), file, &folder, start, options)?;
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
        // The host gave up inside a call: what it had come to is kept.
        if let Some(published) = self.writer.open_record() {
            if published == Published::No {
                self.writer.publish_begin();
            }
            // A log that cannot be written says so below.
            let _ = self.finish(Outcome::Interrupted, 0);
        }
        let recorded = self.event(end).map(drop);
        self.shared.close(self.writer.sequence(), end);
        packer.join().map_err(|_| Error::WriterDied)?;
        recorded?;
        match self.shared.take_failure() {
            Some(source) => Err(Error::RecordingFailed {
                source: Box::new(source),
            }),
            None => Ok(()),
        }
    }

    #[cold]
    fn failure(&self) -> Error {
        match self.shared.take_failure() {
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

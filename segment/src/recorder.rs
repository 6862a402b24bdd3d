//! The write side of a log, on the guest's thread.
//!
//! A [`Recorder`] appends to the tail; it makes no system call and takes no lock on the way of a
//! call, but waits where every buffer of the tail is full: nothing is ever dropped in silence. What
//! becomes of full buffers is the packer's business (`packer.rs`).
//!
//! When the log cannot be written, the guest is stopped or goes on without it ([`OnFailure`]). Then
//! what is missing is a [`Gap`]: said in the tail's first page while it is open, and a record after.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rustix::fs::FlockOperation;

use crate::clock::Clock;
use crate::error::{Error, Result, chain};
use crate::event::{self, Ended, Event, Gap, ProcessEnd, ProcessStart};
use crate::handover::{Closing, Shared};
use crate::ids::{ElapsedNs, FunctionId, Offset, ProcessId};
use crate::options::{LogOptions, OnFailure, TailStorage, check};
use crate::packer::{Left, Packer, RETRY};
use crate::record::Outcome;
use crate::registry::{Registry, private_folder};
use crate::tail::last_words::LastWords;
use crate::tail::map::{Owner, Storage, TailMap, file_bytes};
use crate::tail::reader::boot_id;
use crate::tail::writer::{Buffers, Failed, Published, TailWriter};
use crate::tail::{self, FIXED_BYTES};
use crate::{disk, fault};

pub use crate::handover::StopWaiting;

/// How often a log is tried to be sealed whose disk has failed, at its end.
const SEALING_ATTEMPTS: usize = 3;

/// Records the calls of one process. It belongs to the guest's thread.
///
/// A call is `begin`, any `input`, `publish`, the effect with any `write`, and `finish`. An effect
/// that reached the world is never missing from the log, since its record is published before.
pub struct Recorder {
    registry: Registry,
    process: ProcessId,
    writer: TailWriter<Shared>,
    shared: Arc<Shared>,
    packer: Option<JoinHandle<Left>>,
    on_failure: OnFailure,
    clock: Clock,
    start: u64,
    consumed: Option<usize>,
    note: String,
    /// The gap that is open.
    gap: Option<Gap>,
    /// When its words were said last.
    said_ns: u64,
    /// Those that are closed, together.
    closed_gaps: Option<Gap>,
    /// The call that is open is counted in the gap, or is not to be.
    counted: bool,
}

/// What the log has of a call that cannot be recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    None,
    Some,
}

impl Recorder {
    /// Begins the log of a process, and records its start. The clock of the log starts here.
    ///
    /// # Errors
    /// When an option is out of range, or the log cannot be created in the registry.
    pub fn create(registry: &Registry, start: &ProcessStart, options: &LogOptions) -> Result<Self> {
        check(options)?;
        let process = start.process_id;
        registry.create()?;
        let folder = registry.process_folder(process);
        let marker = registry.marker(process);
        let recorder = disk::create(&marker)
            .map_err(Error::io("create", &marker))
            .and_then(|_| private_folder(&folder))
            .and_then(|()| Recorder::create_in(registry, &folder, start, options));
        if recorder.is_err() {
            // Nothing was recorded, and nothing is left of it, as far as that can be.
            let _ = std::fs::remove_dir_all(&folder);
            let _ = std::fs::remove_file(&marker);
        }
        recorder
    }

    fn create_in(
        registry: &Registry,
        folder: &Path,
        start: &ProcessStart,
        options: &LogOptions,
    ) -> Result<Self> {
        let clock = Clock::start();
        let (file, map) = create_tail(folder, start, options)?;
        let map = Arc::new(map);
        let shared = Arc::new(Shared::new(Arc::clone(&map), options.on_failure));
        let tail_path = folder.join(tail::FILE_NAME);
        // SAFETY: the map was made here, and this is the only owner made of it.
        let owner = unsafe { Owner::new(map) };
        let writer =
            TailWriter::new(owner, Arc::clone(&shared)).map_err(Error::io("write", &tail_path))?;
        let packer = Packer::new(Arc::clone(&shared), file, folder, start, options)?;
        let packer = std::thread::Builder::new()
            .name("timecraft-log".to_owned())
            .spawn(move || packer.run())
            .map_err(Error::io("start the thread that writes", folder))?;
        let mut recorder = Recorder {
            registry: registry.clone(),
            process: start.process_id,
            writer,
            shared,
            packer: Some(packer),
            on_failure: options.on_failure,
            clock,
            start: 0,
            consumed: None,
            note: String::new(),
            gap: None,
            said_ns: 0,
            closed_gaps: None,
            counted: false,
        };
        recorder.event(start)?;
        if recorder.writer.failed().is_some() {
            // The guest has not begun, so it need not go on.
            return Err(recorder.failure());
        }
        Ok(recorder)
    }

    /// Opens a record, at the time now.
    ///
    /// # Errors
    /// When the log cannot be written any more. The effect must not happen then.
    #[inline]
    pub fn begin(&mut self, function: FunctionId, args: &[u64]) -> Result<()> {
        self.start = self.clock.elapsed_ns();
        // Events are no calls.
        self.counted = function.is_event();
        if self.writer.failed().is_none() || self.resume() {
            self.writer.begin(self.start, function, args);
        }
        if self.writer.failed().is_some() {
            return self.not_recorded(Piece::None);
        }
        Ok(())
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
        if self.writer.failed().is_some() {
            return self.not_recorded(self.piece());
        }
        Ok(())
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
        if self.writer.failed().is_some() {
            self.not_recorded(self.piece())?;
        }
        Ok(offset)
    }

    /// Records an event.
    ///
    /// # Errors
    /// When the log cannot be written any more.
    pub fn event<E: Event>(&mut self, event: &E) -> Result<Offset> {
        self.begin(E::FUNCTION, &[])?;
        self.input(&event::to_json(event));
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

    /// The guest has ended: from here on its log is waited for again, as long as the disk takes. False
    /// where the log cannot be written.
    pub fn settle(&mut self) -> bool {
        self.shared.wait_again();
        if let Some(Failed::NoBuffer) = self.writer.failed() {
            // Unless the disk is to blame there is one soon.
            self.shared.next(self.writer.sequence() + 1);
        }
        self.writer.failed().is_none() || self.resume()
    }

    /// What was not recorded so far, all gaps together.
    pub fn unrecorded(&mut self) -> Option<Gap> {
        let open = self.gap_until_now();
        match (self.closed_gaps.clone(), open) {
            (Some(closed), Some(open)) => Some(closed.and(&open)),
            (closed, open) => closed.or(open),
        }
    }

    /// A handle by which another thread ends the guest's wait for its log.
    #[must_use]
    pub fn stop_waiting(&self) -> StopWaiting {
        self.shared.stop_waiting()
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
        self.settle();
        // The host gave up inside a call: what it had come to is kept.
        if let (None, Some(published)) = (self.writer.failed(), self.writer.open_record()) {
            if published == Published::No {
                self.writer.publish_begin();
            }
            // A log that cannot be written says so below.
            let _ = self.finish(Outcome::Interrupted, 0);
        }
        let recorded = self.resume() && self.event(end).is_ok() && self.writer.failed().is_none();
        let mut words = None;
        let closing = if recorded {
            Closing::Seal(Box::new(end.clone()))
        } else {
            words = Some(self.say_last(Some(end)));
            Closing::Leave
        };
        self.shared.close(self.writer.sequence(), closing);
        let left = packer.join().map_err(|_| Error::WriterDied)?;
        if left.sealed {
            let marker = self.registry.marker(self.process);
            return disk::remove(&marker).map_err(Error::io("remove", &marker));
        }
        // What the packer could not do is what is done for a writer that died, and perhaps the disk
        // is well by now. If not, it waits in the tail for whoever opens the registry next.
        let failing = self.shared.failing();
        let unlocked = rustix::fs::flock(&left.tail, FlockOperation::Unlock);
        let path = self.registry.process_folder(self.process);
        unlocked.map_err(|e| Error::io("unlock the tail in", &path)(e.into()))?;
        let mut attempts = 1;
        let sealed = loop {
            match self.registry.seal_own(self.process, words.clone()) {
                Err(_) if attempts < SEALING_ATTEMPTS => attempts += 1,
                sealed => break sealed,
            }
            std::thread::sleep(RETRY);
        };
        let source = match (sealed, failing) {
            (Err(error), None) => Arc::new(error),
            (Err(_), Some(first)) => first,
            (Ok(_), Some(first)) if matches!(&*first, Error::Io { action: "sync", .. }) => first,
            (Ok(_), _) => return Ok(()),
        };
        Err(Error::RecordingFailed { source })
    }

    fn piece(&self) -> Piece {
        if self.writer.has_begun() {
            Piece::Some
        } else {
            Piece::None
        }
    }

    /// A call cannot be recorded: the reason, or where the guest goes on, what will be said of it
    /// later.
    #[cold]
    fn not_recorded(&mut self, in_log: Piece) -> Result<()> {
        let reason = self.failure();
        if self.on_failure == OnFailure::Stop || matches!(reason, Error::StoppedWaiting) {
            return Err(reason);
        }
        if self.gap.is_none() {
            let now = self.clock.elapsed_ns();
            self.gap = Some(Gap {
                calls: 0,
                from_ns: now,
                to_ns: now,
                reason: chain(&reason),
            });
            self.say_last(None);
        }
        if !self.counted {
            self.counted = true;
            if in_log == Piece::Some {
                // Its record will say that its end is not known.
                return Ok(());
            }
            let counters = self.shared.map.counters();
            counters.set_lost_calls(counters.lost_calls() + 1);
            self.writer.save_counters();
        }
        Ok(())
    }

    /// Whether recording can go on after a failure; then what was not recorded is.
    #[cold]
    fn resume(&mut self) -> bool {
        if !self.writer.resume() {
            return false;
        }
        // Of the call that was given up.
        self.consumed = None;
        self.note.clear();
        if self.gap.is_some() {
            let Some(gap) = self.gap_until_now() else {
                return true;
            };
            let (writer, now) = (&mut self.writer, gap.to_ns);
            writer.begin(now, Gap::FUNCTION, &[]);
            writer.put(&event::to_json(&gap));
            writer.publish_begin();
            writer.finish(0, Outcome::Returned, 0, None, "");
            if self.writer.failed().is_some() {
                self.say_last(None);
                return false;
            }
            self.gap = None;
            self.closed_gaps = Some(match self.closed_gaps.take() {
                Some(before) => before.and(&gap),
                None => gap,
            });
            // Nobody is left to tell if this fails; readers see that the record is later.
            self.said_ns += 1;
            let _ = self.writer.say_last(&LastWords {
                at_ns: self.said_ns,
                ..LastWords::default()
            });
            self.shared.map.counters().set_lost_calls(0);
            self.start = self.clock.elapsed_ns();
        }
        true
    }

    fn gap_until_now(&mut self) -> Option<Gap> {
        let calls = self.shared.map.counters().lost_calls();
        let now = self.clock.elapsed_ns();
        let gap = self.gap.as_mut()?;
        gap.calls = calls;
        // Later than what was said of it last, so that the record of it is seen to be.
        gap.to_ns = now.max(gap.from_ns + 1).max(self.said_ns + 1);
        Some(gap.clone())
    }

    /// Says in the tail's first page what there is no buffer for. The reason why there is none is
    /// what the user hears of, not that this failed too.
    fn say_last(&mut self, end: Option<&ProcessEnd>) -> LastWords {
        self.said_ns = self.clock.elapsed_ns().max(self.said_ns + 1);
        let words = LastWords {
            at_ns: self.said_ns,
            gap: self.gap_until_now(),
            end: end.cloned(),
        };
        let _ = self.writer.say_last(&words);
        words
    }

    #[cold]
    fn failure(&self) -> Error {
        let source = match (self.writer.failed(), self.shared.failing()) {
            (Some(Failed::Write(error)), _) => {
                let folder = self.registry.process_folder(self.process);
                // An error of the system cannot be copied, but its number can.
                let errno = error.raw_os_error().unwrap_or(0);
                let error = std::io::Error::from_raw_os_error(errno);
                Arc::new(Error::io("write", &folder.join(tail::FILE_NAME))(error))
            }
            (_, Some(source)) => source,
            _ if self.shared.is_interrupted() => return Error::StoppedWaiting,
            _ => return Error::WriterDied,
        };
        Error::RecordingFailed { source }
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
    let buffer_bytes = options.buffer_bytes();
    let path = folder.join(tail::FILE_NAME);
    let new = folder.join("tail.new");
    let failed = |action| Error::io(action, &path);
    let file = disk::create(&new).map_err(failed("create"))?;
    if !disk::lock(&file).map_err(failed("lock"))? {
        return Err(failed("lock")(std::io::ErrorKind::WouldBlock.into()));
    }
    let length = file_bytes(options.buffers, buffer_bytes);
    let bound = disk::allocate(&file, length).map_err(failed("allocate the space of"))?;
    let storage = if bound && options.tail == TailStorage::Auto {
        Storage::Mapped
    } else {
        Storage::Written
    };

    let mut fixed = Vec::with_capacity(FIXED_BYTES);
    fixed.extend(tail::MAGIC);
    fixed.extend(tail::VERSION.to_le_bytes());
    fixed.extend((options.buffers as u32).to_le_bytes());
    fixed.extend((buffer_bytes as u64).to_le_bytes());
    fixed.extend(start.process_id.as_bytes());
    fixed.extend(boot_id());
    fixed.extend(crc32c::crc32c(&fixed).to_le_bytes());
    disk::write(&file, &fixed, 0).map_err(failed("write"))?;
    let map = TailMap::new(&file, storage, options.buffers, buffer_bytes).map_err(failed("map"))?;
    disk::rename(&new, &path).map_err(failed("create"))?;
    fault::point("tail named");
    Ok((file, map))
}

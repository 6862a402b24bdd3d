//! The background thread of a log: it makes batches of full buffers, gives the buffers back once
//! their batches can be read from the segment, rotates segments by size and age, and seals the last.
//!
//! Each of its steps can be tried again after it failed, since a disk that is full may have room
//! later. A buffer is never given back before its batch stands in a segment.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::batch::{Effort, Encoder, Open, Pressure};
use crate::calls::Calls;
use crate::descriptors::Descriptors;
use crate::error::{Error, Result};
use crate::event::{ProcessEnd, ProcessStart};
use crate::file::{SegmentHeader, SegmentWriter};
use crate::handover::{Closing, Shared, Work};
use crate::ids::{FunctionId, Offset};
use crate::options::{LogOptions, OnFailure, SYNC_INTERVAL, Sync};
use crate::tail;
use crate::tail::decode::Decoder;
use crate::tail::map::file_bytes;
use crate::{disk, fault};

/// How long is waited before what failed is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

/// The background thread of a log.
pub(crate) struct Packer {
    shared: Arc<Shared>,
    tail: File,
    folder: PathBuf,
    start: ProcessStart,
    options: LogOptions,
    encoder: Encoder,
    segment: Option<SegmentWriter>,
    /// How many segments were begun.
    segments: u32,
    /// How many bytes those have that were sealed.
    sealed_bytes: u64,
    /// When the segment was begun.
    opened: Instant,
    decoder: Decoder,
    descriptors: Descriptors,
    calls: Calls,
    /// What is left open at the end of the buffer.
    pieces: Pieces,
    /// How many bytes of the buffer the records and pieces took that are to be stored.
    raw_bytes: usize,
    batch: Vec<u8>,
    pressure: Pressure,
    /// The buffer that is packed next.
    sequence: u64,
    /// Up to where that buffer was packed already.
    position: usize,
    /// When the disk had everything.
    synced: Instant,
    /// The last buffer of which the disk has something in the tail.
    synced_sequence: u64,
    /// The disk did not take something once.
    sync_failed: Option<rustix::io::Errno>,
}

/// Pieces of the record that is open.
#[derive(Default)]
struct Pieces {
    /// Over all the buffers that it began in.
    all: Vec<u8>,
    /// Where in `all` those of the last buffer begin.
    last: usize,
}

/// What a log was left as.
pub(crate) struct Left {
    /// Whether it was sealed, and its tail removed.
    pub(crate) sealed: bool,
    /// The tail, whose lock says that somebody writes it.
    pub(crate) tail: File,
}

/// Tells the guest's thread that the packer is gone, also where it panicked.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.packer_is_gone();
    }
}

impl Packer {
    /// Begins the first segment.
    pub(crate) fn new(
        shared: Arc<Shared>,
        tail: File,
        folder: &Path,
        start: &ProcessStart,
        options: &LogOptions,
    ) -> Result<Packer> {
        let descriptors = Descriptors::at_start(start);
        let segment = begin_segment(folder, 0, start, &descriptors)?;
        Ok(Packer {
            shared,
            tail,
            folder: folder.to_owned(),
            start: start.clone(),
            options: options.clone(),
            encoder: Encoder::new(options.compression)
                .map_err(Error::io("start the compressor for", folder))?,
            segment: Some(segment),
            segments: 1,
            sealed_bytes: 0,
            opened: Instant::now(),
            decoder: Decoder::new(Some(Offset(0))),
            descriptors,
            calls: Calls::default(),
            pieces: Pieces::default(),
            raw_bytes: 0,
            batch: Vec::new(),
            sequence: 1,
            position: 0,
            synced: Instant::now(),
            pressure: Pressure::none(Instant::now()),
            synced_sequence: 0,
            sync_failed: None,
        })
    }

    /// Works until the log is closed. Where it cannot be written it is left as it is then.
    pub(crate) fn run(mut self) -> Left {
        let gone = Gone(Arc::clone(&self.shared));
        let sealed = self.work().unwrap_or_else(|error| {
            gone.0.fail(error);
            false
        });
        Left {
            sealed,
            tail: self.tail,
        }
    }

    /// Returns whether the log was sealed.
    fn work(&mut self) -> Result<bool> {
        self.touch();
        loop {
            match self.wait() {
                Work::Full => {
                    self.unpack(Part::Full)?;
                    if !self.insist(Packer::store_full) {
                        return Ok(false);
                    }
                    self.shared.give_back(self.sequence);
                    self.sequence += 1;
                    self.position = 0;
                }
                Work::Tick => {
                    let old = self.opened.elapsed() >= self.options.segment_age;
                    if old && !self.decoder.is_open() {
                        self.unpack(Part::Complete)?;
                    }
                    if !self.insist(Packer::store_some) {
                        return Ok(false);
                    }
                }
                Work::End(Closing::Leave) => return Ok(false),
                Work::End(Closing::Seal(end)) => {
                    return Ok(self.insist(|packer| packer.end(&end)));
                }
            }
        }
    }

    /// Tries a step until it succeeds; false where the log was closed before it did.
    fn insist(&mut self, mut step: impl FnMut(&mut Packer) -> Result<()>) -> bool {
        let mut failed = false;
        loop {
            let Err(error) = step(self) else {
                if failed {
                    self.shared.recover();
                }
                return true;
            };
            failed = true;
            self.shared.fail(error);
            let retry = match self.options.on_failure {
                // The guest ends as soon as it hears of this.
                OnFailure::Stop => Duration::MAX,
                OnFailure::Continue => RETRY,
            };
            if !self.shared.wait_to_retry(retry) {
                return false;
            }
        }
    }

    /// Stores what was unpacked of a full buffer, so that it can be given back.
    fn store_full(&mut self) -> Result<()> {
        self.store()?;
        if self.sync_is_due() {
            self.sync()?;
        }
        self.rotate()
    }

    fn store_some(&mut self) -> Result<()> {
        self.store()?;
        self.rotate()?;
        if self.options.sync != Sync::None {
            self.sync()?;
        }
        Ok(())
    }

    /// Whether a buffer may not be given back before the disk has what was packed.
    fn sync_is_due(&self) -> bool {
        match self.options.sync {
            Sync::None => false,
            // What the disk has in the tail is about to be written over, and stays on the disk.
            Sync::Interval => {
                self.synced.elapsed() >= SYNC_INTERVAL || self.sequence <= self.synced_sequence
            }
            Sync::Batch => true,
        }
    }

    /// Touches the pages of the tail before the guest does, as far as it has no other work: the
    /// first use of a page costs more than the records on it.
    fn touch(&self) {
        const STEP: usize = 256 << 10;
        let mut at = 0;
        loop {
            if self.shared.has_work(self.sequence) {
                return;
            }
            if !self.shared.map.touch(at, STEP) {
                return;
            }
            at += STEP;
        }
    }

    fn wait(&self) -> Work {
        let age = self.options.segment_age;
        let tick = match self.options.sync {
            Sync::None => age.saturating_sub(self.opened.elapsed()),
            Sync::Interval | Sync::Batch => SYNC_INTERVAL.saturating_sub(self.synced.elapsed()),
        };
        // A segment that is old and cannot be sealed yet is not looked at all the time.
        let least = age.clamp(Duration::from_millis(1), Duration::from_secs(1));
        let tick = tick.clamp(least, Duration::from_secs(3600));
        self.shared.wait(self.sequence, tick)
    }

    /// Takes records out of the buffer, from where it was unpacked already: to be stored.
    fn unpack(&mut self, part: Part) -> Result<()> {
        // SAFETY: this thread gives the buffer back, in `work`, after the last use of `buffer`.
        let buffer = unsafe { self.shared.map.published(self.sequence) };
        let buffer = buffer.get(self.position..).unwrap_or_default();
        self.calls
            .clear(self.decoder.next_offset().unwrap_or_default());
        let complete = self
            .decoder
            .feed(buffer, self.sequence, &mut self.calls)
            .map_err(|bad| {
                let path = self.folder.join(tail::FILE_NAME);
                Error::damaged(&path, bad.position as u64, bad.what)
            })?;
        // Pieces go on from those of the buffers before as long as no record has ended.
        if !self.calls.is_empty() || !self.decoder.is_open() {
            self.pieces.all.clear();
        }
        self.pieces.last = self.pieces.all.len();
        match part {
            // The buffer will be used again, so the pieces of an open record are kept too.
            Part::Full => {
                if self.decoder.is_open() {
                    self.pieces.all.extend_from_slice(&buffer[complete..]);
                }
                self.raw_bytes = buffer.len();
            }
            Part::Complete => {
                self.decoder.forget_open();
                self.raw_bytes = complete;
                self.position += complete;
            }
        }
        Ok(())
    }

    /// Makes a batch of what was unpacked and is not stored yet.
    fn store(&mut self) -> Result<()> {
        let new_pieces = self.pieces.all.len() > self.pieces.last;
        if self.calls.is_empty() && !new_pieces {
            return Ok(());
        }
        self.begin_segment()?;
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        // Earlier pieces stand in the batches before, unless a segment was begun since.
        let continued = self.pieces.last > 0 && new_pieces;
        let back = if continued { segment.open_batches() } else { 0 };
        let first = if back == 0 { 0 } else { self.pieces.last };
        let bytes = if new_pieces {
            &self.pieces.all[first..]
        } else {
            &[]
        };
        self.batch.clear();
        let waited = self.shared.map.counters().stall_ns.load(Ordering::Relaxed);
        let waited = Duration::from_nanos(waited);
        let effort = Effort::for_waiting(self.pressure.share(Instant::now(), waited));
        let header = self
            .encoder
            .encode(
                &self.calls,
                self.raw_bytes as u64,
                Open { bytes, back },
                effort,
                &mut self.batch,
            )
            .map_err(Error::io("compress a batch of", segment.path()))?;
        if let Some(limit) = self.options.max_bytes {
            // What the tail holds will be stored as well in the end, and the tail removed after that.
            let map = &self.shared.map;
            let tail = file_bytes(map.buffers(), map.buffer_bytes());
            let segment = segment.bytes_sealed(1 + map.buffers());
            let stored = self.sealed_bytes + segment + self.batch.len() as u64;
            if stored + 2 * tail > limit {
                return Err(Error::LogFull {
                    path: self.folder.clone(),
                    limit,
                });
            }
        }
        segment.append_batch(header, &self.batch)?;
        // A sync of all that was packed in a second would stop the packer, and soon the guest, for as
        // long as the disk takes for it: `scripts/bench-sustained.py` waited a fifth longer.
        if self.options.sync == Sync::Interval {
            segment.write_soon();
        }
        fault::point("batch stored");
        self.pieces.last = self.pieces.all.len();
        self.follow_descriptors();
        self.calls
            .clear(self.decoder.next_offset().unwrap_or_default());
        Ok(())
    }

    fn follow_descriptors(&mut self) {
        let mut last = (FunctionId(0), false);
        for (i, &id) in self.calls.functions.iter().enumerate() {
            if last.0 != id {
                last = (id, Descriptors::may_change(id));
            }
            if last.1
                && let Some(record) = self.calls.get(i)
            {
                self.descriptors.apply(&record);
            }
        }
    }

    /// Seals a segment that is large or old.
    fn rotate(&mut self) -> Result<()> {
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let old = self.opened.elapsed() >= self.options.segment_age;
        if segment.bytes() < self.options.segment_bytes && !old {
            return Ok(());
        }
        // A new segment begins with all pieces of an open record: one that is larger than a segment
        // is not worth that.
        if self.pieces.all.len() as u64 >= self.options.segment_bytes {
            return Ok(());
        }
        if segment.is_empty() {
            self.opened = Instant::now();
            return Ok(());
        }
        if let Err(error) = segment.seal(None, self.options.sync) {
            if matches!(error, Error::Io { action: "sync", .. }) {
                self.sync_failed = Some(rustix::io::Errno::IO);
            }
            return Err(error);
        }
        self.sealed_bytes += segment.bytes_sealed(0);
        self.segment = None;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let path = self.folder.join(tail::FILE_NAME);
        if let Some(error) = self.sync_failed {
            return Err(Error::io("sync", &path)(error.into()));
        }
        let synced = match &mut self.segment {
            Some(segment) => segment.sync(),
            None => Ok(()),
        };
        let synced = synced.and_then(|()| disk::sync(&self.tail).map_err(Error::io("sync", &path)));
        if let Err(error) = synced {
            // The system has forgotten which bytes did not reach the disk: that a second try
            // succeeds would say nothing of them.
            self.sync_failed = Some(rustix::io::Errno::IO);
            return Err(error);
        }
        self.synced_sequence = self.sequence;
        self.synced = Instant::now();
        Ok(())
    }

    /// Seals the last segment, then removes the tail: there is no moment without either.
    fn end(&mut self, end: &ProcessEnd) -> Result<()> {
        // Where the last segment was sealed for its size already, its last record says as much.
        if let Some(segment) = &mut self.segment {
            segment.seal(Some(end), self.options.sync)?;
        }
        let path = self.folder.join(tail::FILE_NAME);
        disk::remove(&path).map_err(Error::io("remove", &path))
    }

    /// Begins a segment where there is none.
    fn begin_segment(&mut self) -> Result<()> {
        if self.segment.is_none() {
            self.segment = Some(begin_segment(
                &self.folder,
                self.segments,
                &self.start,
                &self.descriptors,
            )?);
            self.segments += 1;
            self.opened = Instant::now();
        }
        Ok(())
    }
}

/// How much of a buffer is unpacked.
enum Part {
    /// All of it: it is full.
    Full,
    /// The records that are complete: it will be filled further.
    Complete,
}

fn begin_segment(
    folder: &Path,
    number: u32,
    start: &ProcessStart,
    descriptors: &Descriptors,
) -> Result<SegmentWriter> {
    let header = SegmentHeader {
        segment: number,
        process: start.clone(),
        descriptors: descriptors.table(),
    };
    SegmentWriter::create(folder, &header)
}

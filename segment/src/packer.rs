//! The background thread of a log: it makes batches of full buffers, gives the buffers back once
//! their batches can be read from the segment, rotates segments by size and age, and seals the last.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::batch::{Encoder, Open};
use crate::calls::Calls;
use crate::descriptors::Descriptors;
use crate::error::{Error, Result};
use crate::event::{ProcessEnd, ProcessStart};
use crate::file::{SegmentHeader, SegmentWriter};
use crate::handover::{Shared, Work};
use crate::ids::{FunctionId, Offset};
use crate::options::{LogOptions, SYNC_INTERVAL, Sync};
use crate::tail;
use crate::tail::decode::Decoder;

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
    /// When the disk had everything.
    synced: Instant,
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
            opened: Instant::now(),
            decoder: Decoder::new(Some(Offset(0))),
            descriptors,
            calls: Calls::default(),
            pieces: Vec::new(),
            batch: Vec::new(),
            sequence: 1,
            position: 0,
            synced: Instant::now(),
        })
    }

    /// Works until the log is closed, or cannot be written any more.
    pub(crate) fn run(mut self) {
        let gone = Gone(Arc::clone(&self.shared));
        if let Err(error) = self.work() {
            gone.0.fail(error);
        }
    }

    fn work(&mut self) -> Result<()> {
        self.touch();
        loop {
            match self.wait() {
                Work::Full => {
                    self.pack(true)?;
                    if self.sync_is_due() {
                        self.sync()?;
                    }
                    self.rotate()?;
                    self.shared.give_back(self.sequence);
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

    /// Whether a buffer may not be given back before the disk has what was packed.
    fn sync_is_due(&self) -> bool {
        match self.options.sync {
            Sync::None => false,
            Sync::Interval => self.synced.elapsed() >= SYNC_INTERVAL,
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
        let tick = match self.options.sync {
            Sync::None => self
                .options
                .segment_age
                .saturating_sub(self.opened.elapsed()),
            Sync::Interval | Sync::Batch => SYNC_INTERVAL.saturating_sub(self.synced.elapsed()),
        };
        let tick = tick.clamp(Duration::from_millis(10), Duration::from_secs(3600));
        self.shared.wait(self.sequence, tick)
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
        // A new segment begins with all pieces of an open record: one that is larger than a segment
        // is not worth that.
        let large = self.pieces.len() as u64 >= self.options.segment_bytes;
        if !due || segment.is_empty() || large {
            self.segment = Some(segment);
            return Ok(());
        }
        segment.seal(None, self.options.sync)
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(segment) = &self.segment {
            segment.sync()?;
        }
        // What is published now is on the disk after the next line.
        let map = &self.shared.map;
        let committed = map.committed(self.sequence) as u64;
        self.tail
            .sync_data()
            .map_err(Error::io("sync", &self.folder.join(tail::FILE_NAME)))?;
        map.counters()
            .synced_committed
            .store(committed, Ordering::Release);
        map.counters()
            .synced_sequence
            .store(self.sequence, Ordering::Release);
        self.synced = Instant::now();
        Ok(())
    }

    /// Seals the last segment, then removes the tail: there is no moment without either.
    fn end(&mut self, end: &ProcessEnd) -> Result<()> {
        if let Some(segment) = self.segment.take() {
            segment.seal(Some(end), self.options.sync)?;
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
        *current = Some(begin_segment(folder, *count, start, descriptors)?);
        *count += 1;
        *opened = Instant::now();
    }
    current.as_mut().ok_or(Error::WriterDied)
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

//! The mapped file behind the tail: the only `unsafe` code of this crate.
//!
//! The invariant that everything here rests on: **a byte of a buffer is written only while it is
//! unpublished, by the one [`Owner`], and read only once it is published, until the buffer is given
//! back.** A byte is published when it lies below the buffer's `committed`, which only the owner
//! stores (release) and readers load (acquire). A buffer is given back by its reader through
//! [`crate::handover`], and only then does the owner take it again ([`super::protocol`]).
//!
//! The file is preallocated and locked by its owner, so a page that is touched is a page that the
//! disk has; nobody else truncates it. Where that cannot be had the memory is no file's, and what is
//! published is written ([`Storage::Written`]).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::last_words::{self, LastWords};
use super::protocol::BufferHeader;
use super::{BUFFER_HEADER, COUNTERS_AT, DATA_AT, HEADERS_AT, LAST_WORDS_AT};
use crate::{disk, fault};

/// Numbers that change while the process runs, as they stand in the file.
#[repr(C)]
pub(crate) struct Counters {
    /// Nanoseconds that the guest has waited for a free buffer.
    pub(crate) stall_ns: AtomicU64,
    /// Calls of the gap that is open which were not recorded.
    lost_calls: AtomicU64,
    /// The same, each bit turned over: by itself a number has no checksum.
    lost_check: AtomicU64,
}

impl Counters {
    pub(crate) fn lost_calls(&self) -> u64 {
        self.lost_calls.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lost_calls(&self, calls: u64) {
        self.lost_calls.store(calls, Ordering::Relaxed);
        self.lost_check.store(!calls, Ordering::Relaxed);
    }
}

/// The length of [`Counters`] in bytes.
pub(super) const COUNTERS_BYTES: usize = 24;

/// How what is published reaches the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// The memory is the file's own.
    Mapped,
    /// It is written, at the price of two system calls for each time: for file systems that take new
    /// space where old bytes are replaced, and so would answer a full disk with a signal.
    Written,
}

/// The mapping, shared by the owner and the thread that makes batches.
pub(crate) struct TailMap {
    map: MmapRaw,
    buffers: usize,
    buffer_bytes: usize,
    /// Where to write what is published, if it is written.
    written: Option<File>,
}

impl TailMap {
    /// Maps a file that has the tail's full length, or memory beside it.
    pub(crate) fn new(
        file: &File,
        storage: Storage,
        buffers: usize,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let length = file_bytes(buffers, buffer_bytes);
        let (map, written) = match storage {
            Storage::Mapped => {
                fault::disk("map")?;
                (MmapRaw::map_raw(file)?, None)
            }
            Storage::Written => {
                let length = usize::try_from(length).map_err(io::Error::other)?;
                let memory = MmapOptions::new().len(length).map_anon()?;
                (MmapRaw::from(memory), Some(file.try_clone()?))
            }
        };
        if map.len() as u64 != length || file.metadata()?.len() != length {
            return Err(io::Error::other("the tail does not have its length"));
        }
        Ok(TailMap {
            map,
            buffers,
            buffer_bytes,
            written,
        })
    }

    pub(crate) fn buffers(&self) -> usize {
        self.buffers
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Which buffer a sequence number uses.
    #[inline]
    fn index(&self, sequence: u64) -> usize {
        (sequence % self.buffers as u64) as usize
    }

    /// Where in the file a buffer's header stands.
    #[inline]
    fn header_at(&self, sequence: u64) -> u64 {
        HEADERS_AT + self.index(sequence) as u64 * BUFFER_HEADER
    }

    /// Where in the file a buffer begins.
    #[inline]
    fn data_at(&self, sequence: u64) -> u64 {
        DATA_AT + (self.index(sequence) * self.buffer_bytes) as u64
    }

    #[inline]
    fn header(&self, sequence: u64) -> &BufferHeader {
        // SAFETY: `new` checked that the mapping holds all headers; the place is a multiple of 64 in
        // a mapping that begins on a page; the header is atomics alone, which may be shared, and
        // lives as long as the mapping that `self` owns.
        unsafe {
            &*self
                .map
                .as_ptr()
                .add(self.header_at(sequence) as usize)
                .cast::<BufferHeader>()
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        // SAFETY: as in `header`; the counters lie in the first page, at a multiple of 64.
        unsafe { &*self.map.as_ptr().add(COUNTERS_AT).cast::<Counters>() }
    }

    #[inline]
    fn data(&self, sequence: u64) -> *mut u8 {
        // SAFETY: `new` checked that the mapping holds all buffers.
        unsafe { self.map.as_mut_ptr().add(self.data_at(sequence) as usize) }
    }

    /// How many bytes of a buffer are published; none before the owner has taken it for this use.
    pub(crate) fn committed(&self, sequence: u64) -> usize {
        self.header(sequence).committed(sequence) as usize
    }

    /// Makes a part of the buffers resident and writable without changing it. False at the end, and
    /// where the system cannot (before Linux 5.14): then each page is made when it is first used.
    pub(crate) fn touch(&self, at: usize, length: usize) -> bool {
        if self.written.is_some() {
            return false;
        }
        let left = (self.buffers * self.buffer_bytes).saturating_sub(at);
        let from = DATA_AT as usize + at;
        left > 0
            && self
                .map
                .advise_range(memmap2::Advice::PopulateWrite, from, length.min(left))
                .is_ok()
    }

    /// The published bytes of a buffer that has not been given back.
    ///
    /// # Safety
    /// The caller is the thread that gives buffers back, and gives this one back only after the
    /// last use of the slice.
    pub(crate) unsafe fn published(&self, sequence: u64) -> &[u8] {
        let committed = self.committed(sequence);
        // SAFETY: bytes below `committed` were written before the release store that this load saw,
        // and are not written again before the buffer is given back, which the caller rules out.
        unsafe { std::slice::from_raw_parts(self.data(sequence), committed.min(self.buffer_bytes)) }
    }
}

/// The right to write: there is one of a tail, and the guest's thread has it.
pub(crate) struct Owner {
    map: Arc<TailMap>,
    /// Where the next last words go.
    slot: usize,
}

impl Owner {
    /// # Safety
    /// At most one owner is ever made of a map.
    pub(crate) unsafe fn new(map: Arc<TailMap>) -> Self {
        Owner { map, slot: 0 }
    }

    pub(crate) fn map(&self) -> &TailMap {
        &self.map
    }

    /// Takes a buffer that was never used or was given back, and empties it.
    ///
    /// # Errors
    /// When it has to be written, and cannot.
    pub(crate) fn take(&mut self, sequence: u64) -> io::Result<()> {
        fault::point("take");
        let header = self.map.header(sequence);
        if let Some(file) = &self.map.written {
            // In the file as in memory: 0 first, the number last.
            let at = self.map.header_at(sequence);
            disk::write(file, &[0; 16], at)?;
            disk::write(file, &sequence.to_le_bytes(), at)?;
        }
        header.take(sequence);
        fault::point("taken");
        Ok(())
    }

    /// The bytes of a buffer from `from` on, which must not be below what was published.
    #[inline]
    pub(crate) fn unpublished(&mut self, sequence: u64, from: usize) -> &mut [u8] {
        debug_assert!(from >= self.map.committed(sequence) || from >= self.map.buffer_bytes);
        // Past the end, where a failed writer stands, there is room for nothing.
        let from = from.min(self.map.buffer_bytes);
        let length = self.map.buffer_bytes - from;
        // SAFETY: `self` is the only owner and is borrowed for as long as the slice lives, so there
        // is no other writer; readers stay below `committed`, which is at most `from`: the writer
        // only ever publishes up to a position that it then continues from.
        unsafe { std::slice::from_raw_parts_mut(self.map.data(sequence).add(from), length) }
    }

    /// Publishes everything below `to`; what is below `from` was.
    ///
    /// # Errors
    /// When it has to be written, and cannot. It is not published then, and may be again.
    #[inline]
    pub(crate) fn publish(&mut self, sequence: u64, from: usize, to: usize) -> io::Result<()> {
        fault::point("publish");
        if let Some(file) = &self.map.written {
            self.write_out(file, sequence, from, to)?;
        }
        self.map.header(sequence).publish(to as u64);
        fault::point("published");
        Ok(())
    }

    #[cold]
    fn write_out(&self, file: &File, sequence: u64, from: usize, to: usize) -> io::Result<()> {
        let from = from.min(self.map.buffer_bytes);
        let length = to.min(self.map.buffer_bytes).saturating_sub(from);
        // SAFETY: the bytes lie in the buffer, and only this owner writes them, which is borrowed.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.map.data(sequence).add(from), length) };
        disk::write(file, bytes, self.map.data_at(sequence) + from as u64)?;
        let committed_at = self.map.header_at(sequence) + 8;
        disk::write(file, &(to as u64).to_le_bytes(), committed_at)
    }

    /// Writes what there is no buffer for, over the words before the last. Readers check it, so it may
    /// be seen half done.
    ///
    /// # Errors
    /// When it has to be written, and cannot.
    pub(crate) fn say_last(&mut self, words: &LastWords) -> io::Result<()> {
        fault::point("last words");
        let bytes = words.to_bytes();
        let slot = LAST_WORDS_AT + self.slot * last_words::ROOM;
        self.slot = (self.slot + 1) % last_words::SLOTS;
        // The length, which says that there are some, comes after all else.
        let (length, rest) = bytes.split_at(4);
        let place = |at: usize| self.map.map.as_mut_ptr().wrapping_add(slot + at);
        for (at, part) in [(0, &[0; 4][..]), (4, rest), (0, length)] {
            if let Some(file) = &self.map.written {
                disk::write(file, part, (slot + at) as u64)?;
                continue;
            }
            // SAFETY: the first page holds `last_words::ROOM` bytes from each slot on, which is the most
            // that `to_bytes` gives; this owner alone writes them, and no reference to them is made.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), place(at), part.len()) };
            std::sync::atomic::fence(Ordering::SeqCst);
        }
        Ok(())
    }

    /// Puts the counters into the file, where they are not there by themselves. Best effort: they
    /// only tell how much was waited for and lost.
    pub(crate) fn save_counters(&self) {
        if let Some(file) = &self.map.written {
            let counters = self.map.counters();
            let mut bytes = [0; COUNTERS_BYTES];
            let words = [
                &counters.stall_ns,
                &counters.lost_calls,
                &counters.lost_check,
            ];
            for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
            let _ = disk::write(file, &bytes, COUNTERS_AT as u64);
        }
    }
}

/// The length of the whole file.
pub(crate) fn file_bytes(buffers: usize, buffer_bytes: usize) -> u64 {
    DATA_AT + (buffers * buffer_bytes) as u64
}

//! The mapped file behind the tail: the only `unsafe` code of this crate.
//!
//! The invariant that everything here rests on: **a byte of a buffer is written only while it is
//! unpublished, by the one [`Owner`], and read only once it is published, until the buffer is given
//! back.** A byte is published when it lies below the buffer's `committed`, which only the owner
//! stores (release) and readers load (acquire). A buffer is given back by its reader through
//! `recycled` in [`crate::recorder`], and only then does the owner set `committed` to 0 again.
//!
//! The file is preallocated and locked by its owner, so a page that is touched is a page that the
//! disk has; nobody else truncates it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;

use super::{BUFFER_HEADER, COUNTERS_AT, DATA_AT, HEADERS_AT};

/// The header of a buffer as it stands in the file.
#[repr(C, align(64))]
pub(crate) struct BufferHeader {
    /// Which use of the buffer this is, counted over the whole tail from 1; 0 while it changes.
    pub(crate) sequence: AtomicU64,
    /// How many bytes of the buffer are published.
    pub(crate) committed: AtomicU64,
}

/// Numbers that change while the process runs, as they stand in the file.
#[repr(C)]
pub(crate) struct Counters {
    /// Nanoseconds that the guest has waited for a free buffer.
    pub(crate) stall_ns: AtomicU64,
    /// The buffer, by its sequence, up to which the tail is surely on the disk.
    pub(crate) synced_sequence: AtomicU64,
    /// How many bytes of that buffer are.
    pub(crate) synced_committed: AtomicU64,
}

/// The mapping, shared by the owner and the thread that makes batches.
pub(crate) struct TailMap {
    map: MmapRaw,
    buffers: usize,
    buffer_bytes: usize,
}

impl TailMap {
    /// Maps a file that has the tail's full length.
    pub(crate) fn new(file: &File, buffers: usize, buffer_bytes: usize) -> std::io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        if map.len() as u64 != file_bytes(buffers, buffer_bytes) {
            return Err(std::io::Error::other("the tail does not have its length"));
        }
        Ok(TailMap {
            map,
            buffers,
            buffer_bytes,
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

    #[inline]
    pub(crate) fn header(&self, sequence: u64) -> &BufferHeader {
        let at = HEADERS_AT as usize + self.index(sequence) * BUFFER_HEADER as usize;
        // SAFETY: `new` checked that the mapping holds all headers; `at` is a multiple of 64 in a
        // mapping that begins on a page; the header is atomics alone, which may be shared, and
        // lives as long as the mapping that `self` owns.
        unsafe { &*self.map.as_ptr().add(at).cast::<BufferHeader>() }
    }

    pub(crate) fn counters(&self) -> &Counters {
        // SAFETY: as in `header`; the counters lie in the first page, at a multiple of 64.
        unsafe { &*self.map.as_ptr().add(COUNTERS_AT).cast::<Counters>() }
    }

    #[inline]
    fn data(&self, sequence: u64) -> *mut u8 {
        let at = DATA_AT as usize + self.index(sequence) * self.buffer_bytes;
        // SAFETY: `new` checked that the mapping holds all buffers.
        unsafe { self.map.as_mut_ptr().add(at) }
    }

    /// How many bytes of a buffer are published; none before the owner has taken it for this use.
    pub(crate) fn committed(&self, sequence: u64) -> usize {
        let header = self.header(sequence);
        if header.sequence.load(Ordering::Acquire) != sequence {
            return 0;
        }
        header.committed.load(Ordering::Acquire) as usize
    }

    /// Makes a part of the buffers resident and writable without changing it. False at the end, and
    /// where the system cannot (before Linux 5.14): then each page is made when it is first used.
    pub(crate) fn touch(&self, at: usize, length: usize) -> bool {
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
}

impl Owner {
    /// # Safety
    /// At most one owner is ever made of a map.
    pub(crate) unsafe fn new(map: Arc<TailMap>) -> Self {
        Owner { map }
    }

    pub(crate) fn map(&self) -> &TailMap {
        &self.map
    }

    /// Takes a buffer that was never used or was given back, and empties it.
    pub(crate) fn take(&mut self, sequence: u64) {
        let header = self.map.header(sequence);
        // Readers look at the sequence before and after they copy: it is 0 while the rest changes.
        header.sequence.store(0, Ordering::Release);
        std::sync::atomic::fence(Ordering::Release);
        header.committed.store(0, Ordering::Release);
        header.sequence.store(sequence, Ordering::Release);
    }

    /// The bytes of a buffer from `from` on, which must not be below what was published.
    #[inline]
    pub(crate) fn unpublished(&mut self, sequence: u64, from: usize) -> &mut [u8] {
        debug_assert!(from as u64 >= self.map.header(sequence).committed.load(Ordering::Relaxed));
        // Past the end, where a failed writer stands, there is room for nothing.
        let from = from.min(self.map.buffer_bytes);
        let length = self.map.buffer_bytes - from;
        // SAFETY: `self` is the only owner and is borrowed for as long as the slice lives, so there
        // is no other writer; readers stay below `committed`, which is at most `from`: the writer
        // only ever publishes up to a position that it then continues from.
        unsafe { std::slice::from_raw_parts_mut(self.map.data(sequence).add(from), length) }
    }

    /// Publishes everything below `to`.
    #[inline]
    pub(crate) fn publish(&mut self, sequence: u64, to: usize) {
        self.map
            .header(sequence)
            .committed
            .store(to as u64, Ordering::Release);
    }
}

/// The length of the whole file.
pub(crate) fn file_bytes(buffers: usize, buffer_bytes: usize) -> u64 {
    DATA_AT + (buffers * buffer_bytes) as u64
}

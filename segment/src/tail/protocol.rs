//! How the writer of a buffer and those who read it agree, without a lock: the only places that touch
//! a buffer's header.
//!
//! The writer takes a buffer, appends, publishes, and appends again; only after the buffer was given
//! back to it does it take it anew. A reader looks at the number, copies what is published, and looks
//! at the number again: where it is another, what was copied is worth nothing, and what the buffer
//! held stands in a segment.
//!
//! Generic over the words and the source of copies, so that `loom` walks through this very code.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A number that one thread writes and others read.
pub(crate) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
}

/// The header of a buffer as it stands in the file.
#[repr(C, align(64))]
pub(crate) struct BufferHeader<W = AtomicU64> {
    /// Which use of the buffer this is, counted over the whole tail from 1; 0 while it changes.
    pub(crate) sequence: W,
    /// How many bytes of the buffer are published.
    pub(crate) committed: W,
}

impl<W: Word> BufferHeader<W> {
    /// The writer takes a buffer that was never used or was given back, and empties it.
    pub(crate) fn take(&self, sequence: u64) {
        // The number is 0 before anything else changes: neither this store nor those to the
        // buffer's bytes, which come after, may be seen before it. And whoever sees it finds in a
        // segment what the buffer held.
        self.sequence.store(0, Ordering::Release);
        W::fence(Ordering::Release);
        self.committed.store(0, Ordering::Relaxed);
        self.sequence.store(sequence, Ordering::Release);
    }

    /// The writer publishes everything below `to`.
    #[inline(always)]
    pub(crate) fn publish(&self, to: u64) {
        self.committed.store(to, Ordering::Release);
    }

    /// How many bytes are published; none before the writer has taken the buffer for this use.
    pub(crate) fn committed(&self, sequence: u64) -> u64 {
        if self.sequence.load(Ordering::Acquire) != sequence {
            return 0;
        }
        self.committed.load(Ordering::Acquire)
    }
}

/// Where a reader copies from.
pub(crate) trait Source {
    type Error;

    /// The number of the `i`th buffer and how much of it is published, in this order.
    fn header(&self, i: usize) -> Result<(u64, u64), Self::Error>;

    /// A copy of the first bytes of the `i`th buffer.
    fn bytes(&self, i: usize, length: u64) -> Result<Vec<u8>, Self::Error>;
}

/// What the buffers held, ascending by number: all that was published and not given back when this
/// began, and perhaps some that came meanwhile.
pub(crate) fn copy<S: Source>(source: &S, buffers: usize) -> Result<Vec<(u64, Vec<u8>)>, S::Error> {
    // Buffers are taken in turn, so the newest number that any header has tells which are those
    // before it. One whose header has another was given back, and a buffer is given back only after
    // all before it: what was copied so far is in a segment too.
    let mut newest = 0;
    for i in 0..buffers {
        newest = newest.max(source.header(i)?.0);
    }
    let oldest = newest.saturating_sub(buffers as u64 - 1).max(1);
    let mut copies = Vec::new();
    for sequence in oldest..=newest {
        let i = (sequence % buffers as u64) as usize;
        let (before, committed) = source.header(i)?;
        if before != sequence {
            copies.clear();
            continue;
        }
        let bytes = source.bytes(i, committed)?;
        if source.header(i)?.0 == sequence {
            copies.push((sequence, bytes));
        } else {
            copies.clear();
        }
    }
    Ok(copies)
}

//! Models of [`super::protocol`]: `loom` runs them in every order in which the steps of two threads can
//! meet, with every value that a load may see.
//!
//! They assume of `pread` what a processor gives to a system call: what a read finds is not older than
//! what the read before it found. A buffer's bytes are otherwise in no order.

use std::convert::Infallible;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use loom::thread;

use super::protocol::{self, BufferHeader, Source, Word};

/// As few as show everything: the third use of a buffer is the second of the first.
const BUFFERS: usize = 2;
/// The size of a buffer, each byte of which is published alone.
const BYTES: usize = 2;

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    fn fence(order: Ordering) {
        fence(order);
    }
}

struct Tail {
    headers: [BufferHeader<AtomicU64>; BUFFERS],
    bytes: [[AtomicU8; BYTES]; BUFFERS],
    /// Of which calls the guest has heard that they returned: the last use and how much of it.
    returned: AtomicU64,
    /// The last use whose records stand in a segment.
    stored: AtomicU64,
}

/// What the writer puts at a place: no other use and no other place has it.
fn byte(sequence: u64, at: usize) -> u8 {
    16 * sequence as u8 + at as u8 + 1
}

impl Tail {
    fn new() -> Arc<Tail> {
        Arc::new(Tail {
            headers: std::array::from_fn(|_| BufferHeader {
                sequence: AtomicU64::new(0),
                committed: AtomicU64::new(0),
            }),
            bytes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU8::new(0))),
            returned: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        })
    }

    /// The writer fills the next bytes of a buffer and publishes each.
    fn fill(&self, sequence: u64, places: std::ops::Range<usize>) {
        let i = sequence as usize % BUFFERS;
        for at in places {
            self.bytes[i][at].store(byte(sequence, at), Ordering::Relaxed);
            self.headers[i].publish(at as u64 + 1);
            let returned = sequence << 8 | (at as u64 + 1);
            self.returned.store(returned, Ordering::Release);
        }
    }

    fn take(&self, sequence: u64) {
        self.headers[sequence as usize % BUFFERS].take(sequence);
    }

    /// The packer's word, before the writer takes the buffer again.
    fn give_back(&self, sequence: u64) {
        self.stored.store(sequence, Ordering::Relaxed);
    }

    /// Copies the tail as another process does, and holds it to all that is promised.
    fn copy_and_check(&self) {
        let returned = self.returned.load(Ordering::Acquire);
        let (sequence, length) = (returned >> 8, returned & 0xff);
        let Ok(copies) = protocol::copy(self, BUFFERS);
        let stored = self.stored.load(Ordering::Relaxed);

        for (sequence, bytes) in &copies {
            for (at, found) in bytes.iter().enumerate() {
                assert_eq!(*found, byte(*sequence, at), "byte {at} of use {sequence}");
            }
        }
        let in_turn = copies.windows(2).all(|two| two[0].0 + 1 == two[1].0);
        assert!(in_turn, "a buffer is missing between two: {copies:?}");
        for wanted in stored + 1..=sequence {
            let least = if wanted == sequence {
                length as usize
            } else {
                BYTES
            };
            let found = copies.iter().find(|copy| copy.0 == wanted);
            assert!(
                found.is_some_and(|(_, bytes)| bytes.len() >= least),
                "{least} bytes of use {wanted} are neither in {copies:?} nor in a segment"
            );
        }
    }
}

impl Source for Tail {
    type Error = Infallible;

    fn header(&self, i: usize) -> Result<(u64, u64), Infallible> {
        fence(Ordering::Acquire);
        let header = &self.headers[i];
        let sequence = header.sequence.load(Ordering::Acquire);
        Ok((sequence, header.committed.load(Ordering::Acquire)))
    }

    fn bytes(&self, i: usize, length: u64) -> Result<Vec<u8>, Infallible> {
        let bytes = self.bytes[i].iter().take(length as usize);
        Ok(bytes.map(|byte| byte.load(Ordering::Relaxed)).collect())
    }
}

/// `before` is done and known to all; then the writer goes on while the tail is copied.
fn write_and_copy(before: fn(&Tail), writer: fn(&Tail)) {
    loom::model(move || {
        let tail = Tail::new();
        before(&tail);
        let written = thread::spawn({
            let tail = Arc::clone(&tail);
            move || writer(&tail)
        });
        tail.copy_and_check();
        written.join().unwrap();
        // And at rest.
        tail.copy_and_check();
    });
}

#[test]
fn what_is_published_is_copied() {
    write_and_copy(
        |tail| tail.take(1),
        |tail| {
            tail.fill(1, 0..BYTES);
            tail.take(2);
            tail.fill(2, 0..1);
        },
    );
}

#[test]
fn a_buffer_that_is_taken_again_is_not_copied_as_what_it_was() {
    write_and_copy(
        |tail| {
            tail.take(1);
            tail.fill(1, 0..BYTES);
            tail.take(2);
            tail.fill(2, 0..BYTES);
        },
        |tail| {
            tail.give_back(1);
            tail.take(3);
            tail.fill(3, 0..1);
        },
    );
}

/// The packer is another thread, which reads a buffer that the guest still fills.
#[test]
fn the_packer_sees_what_is_published() {
    loom::model(|| {
        let tail = Tail::new();
        let written = thread::spawn({
            let tail = Arc::clone(&tail);
            move || {
                tail.take(1);
                tail.fill(1, 0..BYTES);
            }
        });
        for (sequence, most) in [(1, BYTES as u64), (3, 0)] {
            let committed = tail.headers[1].committed(sequence);
            assert!(committed <= most);
            let Ok(bytes) = tail.bytes(1, committed);
            for (at, found) in bytes.iter().enumerate() {
                assert_eq!(*found, byte(sequence, at));
            }
        }
        written.join().unwrap();
    });
}

//! Models of the handover: `loom` runs them in every order in which the threads can meet, and finds
//! one in which all of them wait.
//!
//! Its condition variables never time out, so nothing here is saved by a wait that ends by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::{Closing, Shared, Work};
use crate::error::Error;
use crate::options::OnFailure;
use crate::tail::map::{Storage, TailMap, file_bytes};
use crate::tail::writer::Buffers;

const BUFFERS: usize = 2;
const LONG: Duration = Duration::from_secs(3600);

/// Runs a guest, a packer and another thread in every order.
fn model(
    on_failure: OnFailure,
    guest: impl Fn(&Shared, &Contents) + Copy + Send + Sync + 'static,
    packer: impl Fn(&Shared, &Contents) + Copy + Send + Sync + 'static,
    other: Option<fn(&Arc<Shared>)>,
) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(file_bytes(BUFFERS, 4096)).unwrap();
    let map = TailMap::new(&file, Storage::Written, BUFFERS, 4096).unwrap();
    let map = Arc::new(map);
    loom::model(move || {
        let shared = Arc::new(Shared::new(Arc::clone(&map), on_failure));
        let contents = Arc::new(Contents::new());
        let threads = [
            thread::spawn({
                let (shared, contents) = (Arc::clone(&shared), Arc::clone(&contents));
                move || packer(&shared, &contents)
            }),
            thread::spawn({
                let shared = Arc::clone(&shared);
                move || other.into_iter().for_each(|other| other(&shared))
            }),
        ];
        guest(&shared, &contents);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// What the guest has put into each buffer.
struct Contents([AtomicU64; BUFFERS]);

impl Contents {
    fn new() -> Contents {
        Contents(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn of(&self, sequence: u64) -> &AtomicU64 {
        &self.0[sequence as usize % BUFFERS]
    }

    fn fill(&self, sequence: u64) {
        self.of(sequence).store(sequence, Ordering::Relaxed);
    }

    /// The packer finds in a full buffer what the guest has put there, until it gives it back.
    fn check(&self, sequence: u64) {
        assert_eq!(self.of(sequence).load(Ordering::Relaxed), sequence);
    }
}

/// Packs what is full, from `sequence` on, until the log is closed; returns what comes next.
fn pack(shared: &Shared, contents: &Contents, mut sequence: u64) -> u64 {
    loop {
        match shared.wait(sequence, LONG) {
            Work::Full => {
                contents.check(sequence);
                shared.give_back(sequence);
                sequence += 1;
            }
            Work::Tick => {}
            Work::End(_) => return sequence,
        }
    }
}

fn fail(shared: &Shared) {
    shared.fail(Error::WriterDied);
}

#[test]
fn every_buffer_is_packed_and_given_back() {
    const LAST: u64 = 4;
    model(
        OnFailure::Stop,
        |shared, contents| {
            contents.fill(1);
            for sequence in 2..=LAST {
                assert!(shared.next(sequence));
                contents.fill(sequence);
            }
            shared.close(LAST, Closing::Leave);
        },
        |shared, contents| assert_eq!(pack(shared, contents, 1), LAST + 1),
        None,
    );
}

/// The guest hears of a failure while it waits, and the packer of the end while it would try again.
#[test]
fn a_failure_ends_the_guests_wait_and_the_end_the_packers() {
    model(
        OnFailure::Stop,
        |shared, contents| {
            contents.fill(1);
            let heard = !shared.next(2) || {
                contents.fill(2);
                !shared.next(3)
            };
            assert!(heard && shared.failing().is_some());
            shared.close(2, Closing::Leave);
        },
        |shared, _| {
            assert!(matches!(shared.wait(1, LONG), Work::Full));
            fail(shared);
            assert!(!shared.wait_to_retry(LONG));
            shared.packer_is_gone();
        },
        None,
    );
}

/// A guest that goes on without its log has buffers again when the disk is well.
#[test]
fn after_a_failure_buffers_are_given_back_again() {
    model(
        OnFailure::Continue,
        |shared, contents| {
            contents.fill(1);
            assert!(shared.next(2));
            contents.fill(2);
            let mut last = 2;
            if shared.next(3) || shared.is_free(3) {
                contents.fill(3);
                last = 3;
            }
            shared.close(last, Closing::Leave);
        },
        |shared, contents| {
            assert!(matches!(shared.wait(1, LONG), Work::Full));
            fail(shared);
            if shared.wait_to_retry(Duration::ZERO) {
                shared.recover();
            }
            contents.check(1);
            assert!(pack(shared, contents, 1) >= 3);
            shared.packer_is_gone();
        },
        None,
    );
}

/// The packer is at a disk that does not answer, and a signal is to end the guest.
#[test]
fn whoever_stops_the_guest_ends_its_wait() {
    model(
        OnFailure::Stop,
        |shared, contents| {
            contents.fill(1);
            assert!(shared.next(2));
            contents.fill(2);
            assert!(!shared.next(3) && shared.is_interrupted());
            shared.wait_again();
            shared.close(2, Closing::Leave);
        },
        |shared, _| assert!(!shared.wait_to_retry(LONG)),
        Some(|shared| shared.stop_waiting().stop()),
    );
}

#[test]
fn a_packer_that_is_gone_is_not_waited_for() {
    model(
        OnFailure::Continue,
        |shared, contents| {
            contents.fill(1);
            assert!(shared.next(2));
            contents.fill(2);
            assert!(!shared.next(3));
        },
        |shared, _| shared.packer_is_gone(),
        None,
    );
}

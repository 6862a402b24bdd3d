//! How buffers go from the guest's thread to the packer and back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::ProcessEnd;
use crate::tail::map::TailMap;
use crate::tail::writer::Buffers;

/// What the guest's thread and the packer tell each other: a lock a buffer, none a call.
pub(crate) struct Shared {
    pub(crate) map: Arc<TailMap>,
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

/// What the packer is woken for.
pub(crate) enum Work {
    /// The buffer is full.
    Full,
    /// Some time has passed.
    Tick,
    /// Nothing will come any more.
    End(ProcessEnd),
}

impl Shared {
    pub(crate) fn new(map: Arc<TailMap>) -> Shared {
        Shared {
            map,
            state: Mutex::default(),
            to_packer: Condvar::new(),
            to_guest: Condvar::new(),
        }
    }

    /// A thread that panicked under this lock left no half of a change: each is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's word: `last` is the last buffer, and this is how the process ended.
    pub(crate) fn close(&self, last: u64, end: &ProcessEnd) {
        let mut state = self.lock();
        state.full = last + 1;
        state.closing = Some(end.clone());
        self.to_packer.notify_one();
    }

    /// Why the log cannot be written any more, where the packer has said so.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    /// Whether buffer `sequence` is full, or none will be.
    pub(crate) fn has_work(&self, sequence: u64) -> bool {
        let state = self.lock();
        state.full > sequence || state.closing.is_some()
    }

    /// Waits until buffer `sequence` is full, nothing will come any more, or the time is over.
    pub(crate) fn wait(&self, sequence: u64, at_most: Duration) -> Work {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        loop {
            if state.full > sequence {
                return Work::Full;
            }
            if let Some(end) = &state.closing {
                return Work::End(end.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Tick;
            }
            let waited = self.to_packer.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The packer's word: the batch of buffer `sequence` can be read from the segment.
    pub(crate) fn give_back(&self, sequence: u64) {
        self.lock().recycled = sequence;
        self.to_guest.notify_one();
    }

    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
    }

    pub(crate) fn packer_is_gone(&self) {
        self.lock().gone = true;
        self.to_guest.notify_one();
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

//! How buffers go from the guest's thread to the packer and back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::ProcessEnd;
use crate::fault;
use crate::options::OnFailure;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::tail::map::TailMap;
use crate::tail::writer::Buffers;

#[cfg(all(loom, test))]
#[allow(clippy::unwrap_used)]
mod models;

/// What the guest's thread and the packer tell each other: a lock a buffer, none a call.
pub(crate) struct Shared {
    pub(crate) map: Arc<TailMap>,
    on_failure: OnFailure,
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
    /// No buffer will follow.
    closing: Option<Closing>,
    /// Why the log cannot be written now.
    failing: Option<Arc<Error>>,
    /// The guest is to end, and not to wait for a buffer.
    interrupted: bool,
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
    End(Closing),
}

/// What is to become of a log that has its last record.
#[derive(Clone, Debug)]
pub(crate) enum Closing {
    /// It is sealed: this is how the process ended.
    Seal(Box<ProcessEnd>),
    /// It is left as it is.
    Leave,
}

/// Ends the guest's wait for a buffer, from another thread.
#[derive(Clone)]
pub struct StopWaiting(Arc<Shared>);

impl StopWaiting {
    /// The guest does not wait for its log any more, now or later: what needs a buffer that is not
    /// free fails.
    pub fn stop(&self) {
        self.0.lock().interrupted = true;
        self.0.to_guest.notify_one();
    }
}

impl Shared {
    pub(crate) fn new(map: Arc<TailMap>, on_failure: OnFailure) -> Shared {
        Shared {
            map,
            on_failure,
            state: Mutex::new(State::default()),
            to_packer: Condvar::new(),
            to_guest: Condvar::new(),
        }
    }

    /// A thread that panicked under this lock left no half of a change: each is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's word: `last` is the last buffer.
    pub(crate) fn close(&self, last: u64, closing: Closing) {
        let mut state = self.lock();
        state.full = last + 1;
        state.closing = Some(closing);
        self.to_packer.notify_one();
    }

    /// Why the log cannot be written now.
    pub(crate) fn failing(&self) -> Option<Arc<Error>> {
        self.lock().failing.clone()
    }

    /// Whether the guest was told not to wait.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.lock().interrupted
    }

    /// From here on the guest waits for buffers again, to have its end recorded.
    pub(crate) fn wait_again(&self) {
        self.lock().interrupted = false;
    }

    pub(crate) fn stop_waiting(self: &Arc<Self>) -> StopWaiting {
        StopWaiting(Arc::clone(self))
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
            if let Some(closing) = &state.closing {
                return Work::End(closing.clone());
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
        fault::point("give back");
        self.lock().recycled = sequence;
        self.to_guest.notify_one();
    }

    /// The packer's word: the log cannot be written now.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failing = Some(Arc::new(error));
        self.to_guest.notify_one();
    }

    /// The packer's word: the log can be written again.
    pub(crate) fn recover(&self) {
        self.lock().failing = None;
    }

    /// The packer waits to try again; false where the log was closed meanwhile.
    pub(crate) fn wait_to_retry(&self, at_most: Duration) -> bool {
        let since = Instant::now();
        let mut state = self.lock();
        loop {
            let left = at_most.saturating_sub(since.elapsed());
            if state.closing.is_some() || left.is_zero() {
                return state.closing.is_none();
            }
            let waited = self.to_packer.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
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
            while state.recycled < needed && state.may_come() {
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
        // A guest that is to end with its log ends as soon as it can be told.
        let end = state.failing.is_some() && self.on_failure == OnFailure::Stop;
        state.recycled >= needed && !end
    }

    fn is_free(&self, sequence: u64) -> bool {
        self.lock().recycled >= sequence.saturating_sub(self.map.buffers() as u64)
    }
}

impl State {
    /// Whether a buffer will be given back without anybody doing anything about it.
    fn may_come(&self) -> bool {
        !self.gone && !self.interrupted && self.failing.is_none()
    }
}

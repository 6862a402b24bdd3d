//! The work of a scan, shared by its partitions: a queue from which each takes the next unit.
//!
//! A process is one unit until somebody opens it; a table that splits then puts parts of the process
//! into the queue, so that one long recording keeps every partition busy.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{ModuleId, ProcessId};

/// What the rows of a table are rows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowsOf {
    Processes,
    /// Processes whose logs the table opens itself, whatever their state.
    Logs,
    Modules,
}

/// A piece of work.
#[derive(Clone)]
pub(crate) enum Unit {
    /// A process that nobody has opened yet.
    Process(ProcessId),
    /// Something whose rows can be made.
    Item(Item),
}

/// Something that a table makes rows of.
#[derive(Clone)]
pub(crate) enum Item {
    Process(Arc<Snapshot>),
    Log(ProcessId),
    /// Some of a process's chunks, by their indices.
    Chunks(Arc<Snapshot>, Range<usize>),
    Module(ModuleId),
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    units: VecDeque<Unit>,
    /// How many have been taken that may still add to the queue.
    open: usize,
}

impl Queue {
    pub(crate) fn new(units: impl IntoIterator<Item = Unit>) -> Queue {
        let state = State {
            units: units.into_iter().collect(),
            open: 0,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The next unit. Waits while there is none and another partition may yet add some: it is
    /// reading a process's index then, and waits for nobody itself.
    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if let Some(unit) = state.units.pop_front() {
                state.open += 1;
                return Some(Taken {
                    unit,
                    queue: self,
                    open: true,
                });
            }
            if state.open == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A unit that was taken.
pub(crate) struct Taken<'a> {
    pub(crate) unit: Unit,
    queue: &'a Queue,
    open: bool,
}

impl Taken<'_> {
    /// Puts what the unit was split into before all else: what is open is done first, so that few
    /// processes are open at a time.
    pub(crate) fn split(&mut self, parts: impl DoubleEndedIterator<Item = Unit>) {
        let mut state = self.queue.lock();
        for part in parts.rev() {
            state.units.push_front(part);
        }
        drop(state);
        self.close();
    }

    /// Says that nothing will be added.
    pub(crate) fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.queue.lock().open -= 1;
            self.queue.changed.notify_all();
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn unit() -> Unit {
        Unit::Process(ProcessId::new())
    }

    #[test]
    fn a_queue_ends_once_nobody_can_add() {
        let queue = Queue::new([unit(), unit()]);
        let mut first = queue.take().unwrap();
        first.split([unit(), unit()].into_iter());
        let taken = std::iter::from_fn(|| {
            let mut taken = queue.take()?;
            taken.close();
            Some(())
        });
        assert_eq!(taken.count(), 3);
    }

    #[test]
    fn others_wait_for_what_one_may_add() {
        let queue = Queue::new([unit()]);
        let mut first = queue.take().unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| queue.take().is_some());
            std::thread::sleep(std::time::Duration::from_millis(20));
            first.split([unit()].into_iter());
            assert!(other.join().unwrap());
        });
        drop(first);
        assert!(queue.take().is_none());
    }
}

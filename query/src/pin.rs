//! One statement sees one point: what is recorded at the moment at which the statement is planned.
//!
//! All scans of a statement are planned with one session state, and that state carries the time at
//! which the statement began, the same that `now()` returns. So that time names the statement, and
//! the scans of a statement find each other's [`Pin`] by it. A pin lists the processes once, and
//! takes a snapshot of each process that may still grow while the first scan that needs it is
//! planned, before any row is read. A process that has ended cannot change, so its snapshot is taken
//! when a scan comes to it and dropped when the last scan is done with it: ten thousand of them are
//! never in memory at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use datafusion::catalog::Session;
use timecraft_segment::registry::Registry;
use timecraft_segment::snapshot::{Chunk, Damage, Snapshot};
use timecraft_segment::{Calls, Error as SegmentError, ProcessId, Projection};

use crate::damage::{Met, OnDamage, unreadable};
use crate::error::ReadError;

/// The pins of the statements that are under way, by the time at which they began.
#[derive(Debug)]
pub(crate) struct Pins {
    registry: Registry,
    met: Arc<Met>,
    by_start: Mutex<HashMap<i64, Weak<Pin>>>,
}

impl Pins {
    pub(crate) fn new(registry: Registry) -> Pins {
        Pins {
            registry,
            met: Arc::default(),
            by_start: Mutex::default(),
        }
    }

    /// The damage that statements went past.
    pub(crate) fn met(&self) -> &Arc<Met> {
        &self.met
    }

    fn pin(&self, state: &dyn Session) -> Arc<Pin> {
        Arc::new(Pin {
            registry: self.registry.clone(),
            on_damage: OnDamage::of(state.config_options()),
            met: Arc::clone(&self.met),
            processes: OnceLock::new(),
            held: Mutex::default(),
        })
    }

    /// The pin of the statement that this state plans.
    pub(crate) fn of(&self, state: &dyn Session) -> Arc<Pin> {
        let began = state
            .execution_props()
            .query_execution_start_time
            .and_then(|time| time.timestamp_nanos_opt());
        // A state that no statement began with is asked once.
        let Some(began) = began else {
            return self.pin(state);
        };
        let mut pins = lock(&self.by_start);
        if let Some(pin) = pins.get(&began).and_then(Weak::upgrade) {
            return pin;
        }
        pins.retain(|_, pin| pin.strong_count() > 0);
        let pin = self.pin(state);
        pins.insert(began, Arc::downgrade(&pin));
        pin
    }
}

/// What a statement sees.
pub(crate) struct Pin {
    registry: Registry,
    on_damage: OnDamage,
    met: Arc<Met>,
    processes: OnceLock<Vec<ProcessId>>,
    held: Mutex<HashMap<ProcessId, Held>>,
}

/// How a pin remembers a process.
enum Held {
    /// It could still grow at the moment of the pin; `None` where it had no log yet.
    Growing(Option<Arc<Snapshot>>),
    /// It had ended.
    Ended(Weak<Snapshot>),
}

impl Pin {
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The processes that there are, ascending. Blocks on files the first time.
    pub(crate) fn process_ids(&self) -> Result<&[ProcessId], ReadError> {
        if let Some(ids) = self.processes.get() {
            return Ok(ids);
        }
        let ids = self.registry.process_ids().map_err(ReadError::registry)?;
        Ok(self.processes.get_or_init(|| ids))
    }

    /// Takes snapshots now of those of `ids` that may still grow. Blocks on files.
    pub(crate) fn hold(&self, ids: &[ProcessId]) -> Result<(), ReadError> {
        for &id in ids {
            if self.registry.may_grow(id) {
                self.snapshot(id, Held::growing)?;
            }
        }
        Ok(())
    }

    /// What the process's log held; none where it had not written one yet. Blocks on files.
    pub(crate) fn open(&self, id: ProcessId) -> Result<Option<Arc<Snapshot>>, ReadError> {
        self.snapshot(id, Held::ended)
    }

    /// Reads a chunk of a process; none where it is damaged and damage is to be skipped. Blocks.
    pub(crate) fn read(
        &self,
        process: &Snapshot,
        chunk: &Chunk,
        projection: Projection,
    ) -> Result<Option<Arc<Calls>>, ReadError> {
        let id = process.process_id();
        match chunk.read(projection) {
            Ok(calls) => Ok(Some(calls)),
            Err(source) => {
                self.skip(Some(id), &source)
                    .map_err(|()| ReadError::process(id)(source))?;
                Ok(None)
            }
        }
    }

    /// Remembers what an error says of damage, where that is to be skipped; the error counts else.
    pub(crate) fn skip(&self, process: Option<ProcessId>, error: &SegmentError) -> Result<(), ()> {
        match Damage::of(error) {
            Some(damage) if self.on_damage == OnDamage::Skip => {
                self.met.add(process, damage);
                Ok(())
            }
            _ => Err(()),
        }
    }

    fn snapshot(
        &self,
        id: ProcessId,
        hold: fn(Option<&Arc<Snapshot>>) -> Held,
    ) -> Result<Option<Arc<Snapshot>>, ReadError> {
        match lock(&self.held).get(&id) {
            Some(Held::Growing(snapshot)) => return Ok(snapshot.clone()),
            Some(Held::Ended(snapshot)) => {
                if let Some(snapshot) = snapshot.upgrade() {
                    return Ok(Some(snapshot));
                }
            }
            None => {}
        }
        // Two that come here at once both read: better than one waiting under the lock for files.
        let snapshot = match self.on_damage {
            OnDamage::Fail => self.registry.snapshot(id),
            OnDamage::Skip => self.registry.snapshot_past_damage(id),
        };
        let snapshot = match snapshot {
            Ok(snapshot) => Some(Arc::new(snapshot)),
            Err(SegmentError::NoLog { .. }) => {
                if self.on_damage == OnDamage::Skip
                    && let Some(damage) = unreadable(&self.registry, id)
                {
                    self.met.add(Some(id), damage);
                }
                None
            }
            Err(source) => {
                self.skip(Some(id), &source)
                    .map_err(|()| ReadError::process(id)(source))?;
                None
            }
        };
        for damage in snapshot.iter().flat_map(|snapshot| snapshot.damage()) {
            self.met.add(Some(id), damage.clone());
        }
        let mut held = lock(&self.held);
        if let Some(Held::Growing(first)) = held.get(&id) {
            return Ok(first.clone());
        }
        held.insert(id, hold(snapshot.as_ref()));
        Ok(snapshot)
    }
}

impl Held {
    fn growing(snapshot: Option<&Arc<Snapshot>>) -> Held {
        Held::Growing(snapshot.cloned())
    }

    fn ended(snapshot: Option<&Arc<Snapshot>>) -> Held {
        Held::Ended(snapshot.map(Arc::downgrade).unwrap_or_default())
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// No code panics while it holds one of these locks; if it did, the maps would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

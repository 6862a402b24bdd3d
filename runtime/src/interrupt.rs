//! Ending a guest from outside: a signal or a timeout, while it computes or while it waits.
//!
//! [`Interrupter::interrupt`] takes a lock that nobody holds for long, so it is for threads, and not for
//! a signal's handler.

use std::sync::atomic::{AtomicI32, Ordering, fence};
use std::sync::{Arc, OnceLock};

use timecraft_segment::recorder::StopWaiting;
use wasmtime::Engine;

use crate::error::{Error, Result};
use crate::wakeup::Wakeup;

/// Why a guest is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal of this number, which is positive.
    Signal(i32),
    /// It ran for longer than it may.
    Timeout,
}

/// A handle that ends one run of a guest. Clones are handles of the same run; another run needs
/// another handle.
#[derive(Clone, Debug)]
pub struct Interrupter {
    shared: Arc<Shared>,
    wakeup: Wakeup,
}

#[derive(Default)]
struct Shared {
    /// 0 is none, a signal is its number, a timeout is -1. The first cause stays.
    cause: AtomicI32,
    /// The engine of the running guest; its epoch ends computing code.
    engine: OnceLock<Engine>,
    /// Ends the guest's wait for its log, where it has one.
    log: OnceLock<StopWaiting>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

const NONE: i32 = 0;
const TIMEOUT: i32 = -1;

impl Interrupter {
    /// A handle for a run that is still to come.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] when the system has no descriptor left.
    pub fn new() -> Result<Interrupter> {
        let wakeup = Wakeup::new().map_err(|source| Error::Host {
            what: "an event descriptor",
            source,
        })?;
        Ok(Interrupter {
            shared: Arc::default(),
            wakeup,
        })
    }

    /// Ends the guest: code that computes at its next function or loop, a host call that waits at
    /// once. The first cause is the one that counts.
    ///
    /// Returns whether a guest has started. Before it has (its module is being compiled) the run
    /// ends only when compilation is done; nothing needs to be tidied up then, so a program may end
    /// itself at once.
    pub fn interrupt(&self, cause: Cause) -> bool {
        let number = match cause {
            Cause::Signal(number) => number.max(1),
            Cause::Timeout => TIMEOUT,
        };
        // The fences here and in `start` order cause and engine: either the run sees the cause, or
        // this sees the engine that `start` has set.
        let _ =
            self.shared
                .cause
                .compare_exchange(NONE, number, Ordering::SeqCst, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let engine = self.shared.engine.get();
        if let Some(engine) = engine {
            engine.increment_epoch();
        }
        self.wakeup.wake();
        if let Some(log) = self.shared.log.get() {
            log.stop();
        }
        engine.is_some()
    }

    /// Why the guest was interrupted, if it was.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.shared.cause.load(Ordering::SeqCst) {
            NONE => None,
            TIMEOUT => Some(Cause::Timeout),
            number => Some(Cause::Signal(number)),
        }
    }

    /// Names the engine whose epoch ends the guest. Call it before the store's deadline is set, and
    /// ask for the cause after.
    pub(crate) fn start(&self, engine: &Engine) {
        // A handle is for one run, so the engine is set once.
        let _ = self.shared.engine.set(engine.clone());
        fence(Ordering::SeqCst);
    }

    /// Names the wait for the log. To be called before the guest starts, and the cause looked at after.
    pub(crate) fn watch_log(&self, log: StopWaiting) {
        // A handle is for one run, so this is set once.
        let _ = self.shared.log.set(log);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn wakeup(&self) -> &Wakeup {
        &self.wakeup
    }
}

//! How much a guest may use, how far its memories and tables grow, and the record of each growth
//! that failed.
//!
//! A failed growth is something the guest sees and that need not happen again on another machine,
//! so a replay must know of it. The guest sees -1 and goes on; nothing here may trap it, unless the
//! log cannot be written.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use timecraft_segment::GrowFailed;
use timecraft_segment::error::Result;

use crate::capture::Capture;
use crate::error::Error;

/// The limits on one guest. The default is 4 GiB of memory, 10 million elements of tables, 8 MiB of
/// wasm stack, and 1024 open descriptors, or fewer where this process may not have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory and the heap of garbage-collected objects, in bytes, all together.
    pub memory_bytes: u64,
    /// Elements of tables, all together.
    pub table_elements: u64,
    /// The wasm stack, in bytes.
    pub stack_bytes: u64,
    /// Open descriptors, the standard streams and the directories it starts with among them.
    pub open_files: Option<u32>,
}

/// As many descriptors as a process has on Linux, unless somebody says otherwise.
const DEFAULT_OPEN_FILES: u32 = 1024;

/// How many descriptors the host opens for one of the guest's: a directory takes another to be
/// listed.
const DESCRIPTORS_EACH: u64 = 2;

/// How many descriptors the host needs for itself: the log's files, the module, the system's own.
const DESCRIPTORS_OF_HOST: u64 = 64;

/// A limit that the guest came up against, and the flag that raises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// How much of what: `1024 open descriptors`.
    pub limit: String,
    /// `--max-open-files`.
    pub flag: &'static str,
}

impl LimitReached {
    pub(crate) fn memory(bytes: u64) -> LimitReached {
        LimitReached {
            limit: format!("{bytes} bytes of memory"),
            flag: "--max-memory",
        }
    }

    pub(crate) fn tables(elements: u64) -> LimitReached {
        LimitReached {
            limit: format!("{elements} elements of tables"),
            flag: "--max-table-elements",
        }
    }

    pub(crate) fn stack(bytes: u64) -> LimitReached {
        LimitReached {
            limit: format!("{bytes} bytes of stack"),
            flag: "--max-stack",
        }
    }

    pub(crate) fn open_files(count: usize) -> LimitReached {
        LimitReached {
            limit: format!("{count} open descriptors"),
            flag: "--max-open-files",
        }
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit of {} ({})", self.limit, self.flag)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 4 << 30,
            table_elements: 10_000_000,
            stack_bytes: 8 << 20,
            open_files: None,
        }
    }
}

impl Limits {
    /// Makes room for the descriptors that the guest may open, beside those of its host: a guest
    /// that opens all it can must not keep its log from being written. Raises this process's soft
    /// limit if need be, and returns how many the guest may have.
    ///
    /// # Errors
    ///
    /// [`Error::OpenFiles`] where the hard limit is too low for what was asked for.
    pub(crate) fn make_room(&self) -> std::result::Result<u32, Error> {
        let wanted = self.open_files.unwrap_or(DEFAULT_OPEN_FILES);
        let needed = u64::from(wanted) * DESCRIPTORS_EACH + DESCRIPTORS_OF_HOST;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let has = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
        if has(current) {
            return Ok(wanted);
        }
        let raised = Rlimit {
            current: Some(maximum.map_or(needed, |maximum| maximum.min(needed))),
            maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() && has(maximum) {
            return Ok(wanted);
        }
        let now = getrlimit(Resource::Nofile).current.unwrap_or(needed);
        let possible = now.saturating_sub(DESCRIPTORS_OF_HOST) / DESCRIPTORS_EACH;
        let possible = u32::try_from(possible).unwrap_or(wanted).min(wanted);
        match self.open_files {
            Some(wanted) => Err(Error::OpenFiles { wanted, possible }),
            None => Ok(possible),
        }
    }
}

/// Keeps one guest within its limits.
pub(crate) struct Limiter {
    limits: Limits,
    /// All memories together, in bytes.
    memory: u64,
    /// All tables together, in elements.
    table: u64,
    /// What the guest came up against.
    reached: Vec<LimitReached>,
    /// The growth of a memory that was allowed last: before and after, in bytes.
    allowed: (u64, u64),
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        Limiter {
            limits,
            memory: 0,
            table: 0,
            reached: Vec::new(),
            allowed: (0, 0),
        }
    }

    /// Each limit that refused something, once.
    pub fn reached(&self) -> &[LimitReached] {
        &self.reached
    }

    fn reach(&mut self, limit: LimitReached) -> String {
        let reason = limit.to_string();
        if !self.reached.contains(&limit) {
            self.reached.push(limit);
        }
        reason
    }

    /// Whether a memory may grow; a refusal is recorded.
    pub fn memory(
        &mut self,
        capture: &mut Capture,
        current: u64,
        desired: u64,
        maximum: Option<u64>,
    ) -> Result<bool> {
        capture.grows();
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        let reason = if maximum.is_some_and(|m| desired > m) {
            "the memory's own maximum".to_owned()
        } else if total > self.limits.memory_bytes {
            self.reach(LimitReached::memory(self.limits.memory_bytes))
        } else {
            self.memory = total;
            self.allowed = (current, desired);
            return Ok(true);
        };
        failed(capture, "memory", (current, desired), &reason)?;
        Ok(false)
    }

    /// The host could not give the memory that was allowed last.
    pub fn memory_failed(&mut self, capture: &mut Capture, reason: &str) -> Result<()> {
        let (current, desired) = self.allowed;
        self.memory = self.memory.saturating_sub(desired.saturating_sub(current));
        failed(capture, "memory", (current, desired), reason)
    }

    /// Whether a table may grow; a refusal is recorded.
    pub fn table(
        &mut self,
        capture: &mut Capture,
        current: u64,
        desired: u64,
        maximum: Option<u64>,
    ) -> Result<bool> {
        capture.grows();
        let total = self.table.saturating_add(desired.saturating_sub(current));
        let reason = if maximum.is_some_and(|m| desired > m) {
            "the table's own maximum".to_owned()
        } else if total > self.limits.table_elements {
            self.reach(LimitReached::tables(self.limits.table_elements))
        } else {
            self.table = total;
            return Ok(true);
        };
        failed(capture, "table", (current, desired), &reason)?;
        Ok(false)
    }
}

fn failed(
    capture: &mut Capture,
    what: &str,
    (current, desired): (u64, u64),
    reason: &str,
) -> Result<()> {
    let ordinal = capture.growths();
    capture.event(&GrowFailed {
        what: what.to_owned(),
        ordinal,
        current,
        desired,
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn memories_and_tables_are_limited_together() {
        let limits = Limits {
            memory_bytes: 100,
            table_elements: 10,
            ..Limits::default()
        };
        let (mut limiter, mut capture) = (Limiter::new(limits), Capture::off());
        assert!(limiter.memory(&mut capture, 0, 60, None).unwrap());
        assert!(!limiter.memory(&mut capture, 0, 41, None).unwrap());
        assert!(limiter.memory(&mut capture, 0, 40, None).unwrap());
        // What the host could not give is free again.
        limiter.memory_failed(&mut capture, "no memory").unwrap();
        assert!(!limiter.memory(&mut capture, 60, 70, Some(69)).unwrap());
        assert!(limiter.memory(&mut capture, 60, 100, Some(100)).unwrap());
        assert!(limiter.table(&mut capture, 0, 6, None).unwrap());
        assert!(!limiter.table(&mut capture, 0, 4, Some(3)).unwrap());
        assert_eq!(
            limiter.reached().len(),
            1,
            "a table's own maximum is no limit"
        );
        assert!(!limiter.table(&mut capture, 0, 5, None).unwrap());
        assert!(limiter.table(&mut capture, 0, 4, None).unwrap());
        assert!(!limiter.table(&mut capture, 6, 7, None).unwrap());
        let reached: Vec<String> = limiter.reached().iter().map(ToString::to_string).collect();
        assert_eq!(
            reached,
            [
                "the limit of 100 bytes of memory (--max-memory)",
                "the limit of 10 elements of tables (--max-table-elements)"
            ]
        );
    }
}

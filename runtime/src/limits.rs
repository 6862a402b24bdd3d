//! How far a guest's memories and tables may grow, and the record of each growth that failed.
//!
//! A failed growth is something the guest sees and that need not happen again on another machine,
//! so a replay must know of it. The guest sees -1 and goes on; nothing here may trap it, unless the
//! log cannot be written.

use timecraft_segment::GrowFailed;
use timecraft_segment::error::Result;

use crate::capture::Capture;

/// The limits on one guest. The default is 4 GiB of memory, 10 million elements a table, 8 MiB of
/// wasm stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes, all memories together.
    pub memory_bytes: u64,
    /// Elements of each table.
    pub table_elements: u64,
    /// The wasm stack, in bytes.
    pub stack_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 4 << 30,
            table_elements: 10_000_000,
            stack_bytes: 8 << 20,
        }
    }
}

/// Keeps one guest within its limits.
pub(crate) struct Limiter {
    limits: Limits,
    /// All memories together, in bytes.
    memory: u64,
    /// The growth of a memory that was allowed last: before and after, in bytes.
    allowed: (u64, u64),
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        Limiter {
            limits,
            memory: 0,
            allowed: (0, 0),
        }
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
            "the memory's own maximum"
        } else if total > self.limits.memory_bytes {
            "the limit"
        } else {
            self.memory = total;
            self.allowed = (current, desired);
            return Ok(true);
        };
        failed(capture, "memory", (current, desired), reason)?;
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
        let reason = if maximum.is_some_and(|m| desired > m) {
            "the table's own maximum"
        } else if desired > self.limits.table_elements {
            "the limit"
        } else {
            return Ok(true);
        };
        failed(capture, "table", (current, desired), reason)?;
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
    fn memories_are_limited_together_and_tables_each() {
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
        assert!(limiter.table(&mut capture, 0, 10, None).unwrap());
        assert!(limiter.table(&mut capture, 0, 10, None).unwrap());
        assert!(!limiter.table(&mut capture, 10, 11, None).unwrap());
    }
}

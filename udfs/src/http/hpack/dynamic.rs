//! The dynamic table: RFC 7541, sections 2.3.2 and 4. Its entries are cuts of one run of bytes, for
//! fields come and go by the million.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What an entry costs besides its bytes: RFC 7541, section 4.1.
const OVERHEAD: usize = 32;
/// How many bytes of entries that are gone may stay before the others are moved over them.
const SLACK: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dynamic {
    #[serde(with = "crate::state::hexadecimal")]
    bytes: Vec<u8>,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// What the entries cost.
    size: usize,
    /// What they may.
    max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    start: usize,
    /// None where the name was one of an entry that is not known.
    name: Option<usize>,
    value: usize,
}

impl Entry {
    fn size(&self) -> usize {
        OVERHEAD + self.name.unwrap_or_default() + self.value
    }

    fn cuts(&self) -> (Option<Range<usize>>, Range<usize>) {
        let name = self.name.unwrap_or_default();
        let value = self.start + name;
        (
            self.name.map(|_| self.start..value),
            value..value + self.value,
        )
    }
}

impl Dynamic {
    pub(super) fn new(max: usize) -> Dynamic {
        Dynamic {
            max,
            ..Dynamic::default()
        }
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict();
    }

    /// The cuts of an entry; the newest is 0.
    pub(super) fn get(&self, index: usize) -> Option<(Option<Range<usize>>, Range<usize>)> {
        let last = self.entries.len().checked_sub(1)?;
        let entry = self.entries.get(last.checked_sub(index)?)?;
        Some(entry.cuts())
    }

    /// The bytes of a cut.
    pub(super) fn bytes(&self, cut: Range<usize>) -> &[u8] {
        self.bytes.get(cut).unwrap_or_default()
    }

    /// Where what is appended next begins.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// For who appends the bytes of a field that is being read, and then keeps or drops them.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends what an entry holds.
    pub(super) fn append(&mut self, cut: Range<usize>) {
        if self.bytes.get(cut.clone()).is_some() {
            self.bytes.extend_from_within(cut);
        }
    }

    /// Makes an entry of what was appended from `start` on: a name up to `value`, none where that is not
    /// known, and a value.
    pub(super) fn keep(&mut self, start: usize, value: usize, named: bool) {
        let entry = Entry {
            start,
            name: named.then_some(value - start),
            value: self.bytes.len() - value,
        };
        self.size += entry.size();
        self.entries.push_back(entry);
        self.evict();
    }

    /// Forgets what was appended from `start` on.
    pub(super) fn drop_tail(&mut self, start: usize) {
        self.bytes.truncate(start);
    }

    fn evict(&mut self) {
        while self.size > self.max {
            let Some(gone) = self.entries.pop_front() else {
                break;
            };
            self.size -= gone.size();
        }
        let live = self.entries.front().map_or(self.bytes.len(), |e| e.start);
        if live > SLACK.max(self.bytes.len() - live) {
            self.bytes.drain(..live);
            for entry in &mut self.entries {
                entry.start -= live;
            }
        }
    }
}

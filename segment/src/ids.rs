//! The numbers and names of the log, each a type of its own so that one is never taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The number of a record in its process, from 0, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `n` records later.
    #[must_use]
    pub fn plus(self, n: u64) -> Offset {
        Offset(self.0.saturating_add(n))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Nanoseconds since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElapsedNs(pub u64);

/// Nanoseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixNs(pub i64);

impl UnixNs {
    /// The wall clock now.
    #[must_use]
    pub fn now() -> UnixNs {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        UnixNs(t.tv_sec * 1_000_000_000 + t.tv_nsec)
    }

    /// This time plus time that has passed since, saturating.
    #[must_use]
    pub fn plus(self, elapsed: ElapsedNs) -> UnixNs {
        UnixNs(self.0.saturating_add_unsigned(elapsed.0))
    }

    /// The UTC date, as `2026-11-24`: the partition that a process which started then lies in.
    #[must_use]
    pub fn date(self) -> String {
        let seconds = self.0.div_euclid(1_000_000_000);
        jiff::Timestamp::from_second(seconds)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .strftime("%Y-%m-%d")
            .to_string()
    }
}

/// The number of a segment in its process, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u32);

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a host function in the table of [`crate::function`]. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u16);

/// An execution. A UUIDv7, so that listing by id is listing by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(Uuid);

impl ProcessId {
    /// A new id for a process that starts now.
    #[must_use]
    pub fn new() -> ProcessId {
        ProcessId(Uuid::now_v7())
    }

    /// When the process was named, to the millisecond.
    #[must_use]
    pub fn time(self) -> UnixNs {
        let (s, ns) = self.0.get_timestamp().map_or((0, 0), |t| t.to_unix());
        UnixNs(
            i64::try_from(s)
                .unwrap_or(0)
                .saturating_mul(1_000_000_000)
                .saturating_add(i64::from(ns)),
        )
    }

    /// The id's sixteen bytes, in network order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id made of sixteen bytes in network order.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> ProcessId {
        ProcessId(Uuid::from_bytes(bytes))
    }
}

impl Default for ProcessId {
    fn default() -> Self {
        ProcessId::new()
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ProcessId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(s).map(ProcessId)
    }
}

/// A module, by the SHA-256 of its binary form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub [u8; 32]);

impl ModuleId {
    /// The id of a module's bytes.
    #[must_use]
    pub fn of(wasm: &[u8]) -> ModuleId {
        ModuleId(Sha256::digest(wasm).into())
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleId({self})")
    }
}

/// What [`ModuleId::from_str`] says of a text that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("a module id is 64 hexadecimal digits, not {0:?}")]
pub struct NotAModuleId(String);

impl FromStr for ModuleId {
    type Err = NotAModuleId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAModuleId(s.to_owned());
        if s.len() != 64 || !s.is_ascii() {
            return Err(wrong());
        }
        let mut id = [0; 32];
        for (byte, digits) in id.iter_mut().zip(s.as_bytes().chunks_exact(2)) {
            let digits = str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(ModuleId(id))
    }
}

/// Ids stand in JSON as people write them.
macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(ProcessId, ModuleId);

//! What the log holds beside host calls: how the process began and ended, and whatever else came
//! from outside and that replay needs. Each is a record like any other, with an offset and a time;
//! its input bytes are the event as JSON, so that a log explains itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calls::{Calls, Parts};
use crate::ids::{ElapsedNs, FunctionId, ModuleId, ProcessId, UnixNs};
use crate::record::Outcome;
use crate::socket::Preopened;

/// Function numbers from here on are events, and no guest can import them.
pub const FIRST_EVENT: u16 = 0xF000;

impl FunctionId {
    /// The first record of a process.
    pub const START: FunctionId = FunctionId(FIRST_EVENT);
    /// The last record of a process that ended.
    pub const END: FunctionId = FunctionId(FIRST_EVENT + 1);
    /// The host calls an export of the guest.
    pub const INVOKE: FunctionId = FunctionId(FIRST_EVENT + 2);
    /// A memory or a table could not grow.
    pub const GROW_FAILED: FunctionId = FunctionId(FIRST_EVENT + 3);
    /// The guest was interrupted from outside.
    pub const INTERRUPT: FunctionId = FunctionId(FIRST_EVENT + 4);
    /// Reserved: a copy of guest memory from which a replay can start.
    pub const CHECKPOINT: FunctionId = FunctionId(FIRST_EVENT + 5);
    /// Calls were made that could not be recorded.
    pub const GAP: FunctionId = FunctionId(FIRST_EVENT + 6);

    /// Whether records of this number are events of the process and not calls of the guest.
    #[must_use]
    pub fn is_event(self) -> bool {
        self.0 >= FIRST_EVENT
    }
}

/// The first record of a process: all that must be known to run it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStart {
    /// Its id.
    pub process_id: ProcessId,
    /// The process that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_process_id: Option<ProcessId>,
    /// What the user named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user labelled it with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The name of the machine.
    pub host: String,
    /// The user, by name where it has one.
    pub user: String,
    /// The module, in the registry under this id.
    pub module_id: ModuleId,
    /// The module's file name.
    pub module_name: String,
    /// The arguments, the program's own name first.
    pub args: Vec<String>,
    /// The environment that the guest sees.
    pub environment: Vec<(String, String)>,
    /// What the guest may use, as the flags that gave it: `--dir .::/data:ro`.
    pub grants: Vec<String>,
    /// The directories that the guest starts with, by descriptor.
    #[serde(default)]
    pub preopens: Vec<Preopen>,
    /// The sockets that the guest starts with, by descriptor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<Preopened>,
    /// The wall clock at elapsed time 0.
    pub start_time: UnixNs,
    /// The version of timecraft.
    pub runtime_version: String,
    /// The engine, its version and what must be equal for a replay.
    pub engine: Engine,
    /// The limits in force.
    pub limits: Limits,
    /// The export that is called, `_start` unless the user said otherwise.
    pub entry: String,
}

/// A descriptor that the guest starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopen {
    /// Its number.
    pub fd: u32,
    /// Its path as the guest sees it.
    pub path: String,
}

/// The engine that ran the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// `wasmtime`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Settings that change what a guest computes, such as `nan_canonicalization=true`.
    pub settings: BTreeMap<String, String>,
    /// The processor's instruction set and features.
    pub cpu: String,
}

/// Limits on a guest. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, in bytes, all memories together.
    pub memory_bytes: Option<u64>,
    /// Elements of tables, all together.
    pub table_elements: Option<u64>,
    /// The wasm stack, in bytes.
    pub stack_bytes: Option<u64>,
    /// Open descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Wall-clock time, in nanoseconds.
    pub timeout_ns: Option<u64>,
}

/// The last record of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// How it ended.
    pub status: Ended,
    /// The exit code, where the guest gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, where one did; a timeout is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The trap's message and backtrace, where it trapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
    /// How long the guest waited for the log, in nanoseconds.
    pub stall_ns: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The guest returned or called `proc_exit`.
    Exited,
    /// The guest trapped.
    Trapped,
    /// A signal or a timeout ended it.
    Killed,
    /// Its writer died; sealed by whoever found it.
    Lost,
}

/// The host calls an export: `_initialize`, `_start`, or what the user named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoke {
    /// The export's name; empty while the module is instantiated (its start section runs then).
    pub export: String,
}

/// A memory or a table could not grow, and the guest saw -1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowFailed {
    /// `memory` or `table`.
    pub what: String,
    /// How many attempts to grow, failed or not, the guest made since the record before, this included.
    pub ordinal: u64,
    /// Bytes of a memory, elements of a table, before.
    pub current: u64,
    /// What was asked for.
    pub desired: u64,
    /// Why: a limit or the host's memory.
    pub reason: String,
}

/// The guest was interrupted, after the record before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// `signal` or `timeout`.
    pub cause: String,
    /// The signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// Calls were made that could not be recorded: the log begins again after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many.
    pub calls: u64,
    /// When recording failed, in nanoseconds since the process started.
    pub from_ns: u64,
    /// When it could go on, or the process ended, in nanoseconds since the process started.
    pub to_ns: u64,
    /// Why.
    pub reason: String,
}

impl Gap {
    /// This gap and a later one as one.
    #[must_use]
    pub(crate) fn and(self, later: &Gap) -> Gap {
        Gap {
            calls: self.calls + later.calls,
            to_ns: later.to_ns,
            ..self
        }
    }
}

/// An event that the recorder can append: it knows its function number.
pub trait Event: Serialize {
    /// The number its records carry.
    const FUNCTION: FunctionId;
}

impl Event for ProcessStart {
    const FUNCTION: FunctionId = FunctionId::START;
}

impl Event for ProcessEnd {
    const FUNCTION: FunctionId = FunctionId::END;
}

impl Event for Invoke {
    const FUNCTION: FunctionId = FunctionId::INVOKE;
}

impl Event for GrowFailed {
    const FUNCTION: FunctionId = FunctionId::GROW_FAILED;
}

impl Event for Interrupt {
    const FUNCTION: FunctionId = FunctionId::INTERRUPT;
}

impl Event for Gap {
    const FUNCTION: FunctionId = FunctionId::GAP;
}

/// An event as a record's input.
pub(crate) fn to_json<E: Event>(event: &E) -> Vec<u8> {
    // Events are structures of numbers, texts, and lists and maps of these with texts as keys, which
    // JSON has: there is nothing to refuse.
    serde_json::to_vec(event).unwrap_or_default()
}

/// Appends an event as a record, where there is no recorder.
pub(crate) fn append<E: Event>(calls: &mut Calls, at: ElapsedNs, event: &E) {
    calls.push(&Parts {
        start: at,
        duration_ns: 0,
        function: E::FUNCTION,
        outcome: Outcome::Returned,
        result: 0,
        args: &[],
        input: &to_json(event),
        consumed: usize::MAX,
        writes: &[],
        note: None,
    });
}

/// How the process ended, where the last of these records says so.
pub(crate) fn end_of(calls: &Calls) -> Option<ProcessEnd> {
    let last = calls.get(calls.len().checked_sub(1)?)?;
    if last.function != FunctionId::END {
        return None;
    }
    // An end that does not parse was written by a later version; the log is readable without.
    serde_json::from_slice(last.input).ok()
}

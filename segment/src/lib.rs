//! The raw log of timecraft: every call of a WebAssembly guest to its host, written as it happens.
//!
//! Three types carry most of the weight. A [`Recorder`] belongs to the thread that runs a guest and
//! writes its calls down; a [`Registry`] is where logs and modules are kept; a [`Snapshot`] is what
//! the log of one process holds at one moment, whether the process ended, runs, or was killed. A
//! snapshot is a list of [`Chunk`]s, each of which says what it holds before it is read, and reads
//! as columns ([`Calls`]) whose rows are [`Record`]s.
//!
//! The path of a call is the reading order of the modules: [`mod@function`] says what it is,
//! [`recorder`] appends it to the `tail`, whose buffers become a [`batch`] of a segment [`mod@file`],
//! which a [`snapshot`] finds in the [`registry`], and [`describe`] says what it meant.
//!
//! ```
//! use timecraft_segment::{function, Projection, LogOptions, Outcome, Recorder, Registry};
//! # use timecraft_segment::testing::process_start;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let registry = Registry::at(folder.path());
//! let start = process_start();
//! let mut log = Recorder::create(&registry, &start, &LogOptions::default())?;
//! let sched_yield = function::by_name("wasi_snapshot_preview1", "sched_yield").unwrap().id;
//! log.begin(sched_yield, &[])?;
//! log.publish()?; // a call that the process dies in is in the log as in flight
//! log.finish(Outcome::Returned, 0)?;
//!
//! // Seen at once, by this and any other process, while the guest still runs.
//! let snapshot = registry.snapshot(start.process_id)?;
//! let calls = snapshot.chunks()[0].read(Projection::ALL)?;
//! assert_eq!(calls.iter().last().unwrap().function, sched_yield);
//! # Ok(())
//! # }
//! ```
//!
//! This crate knows no wasm, no Arrow and no async runtime, and no other crate of timecraft.

pub mod batch;
pub mod calls;
mod clock;
mod codec;
pub mod denial;
pub mod describe;
pub mod descriptors;
mod disk;
pub mod error;
pub mod event;
mod fault;
pub mod file;
pub mod function;
mod handover;
pub mod ids;
pub mod options;
mod packer;
pub mod record;
pub mod recorder;
pub mod recovery;
pub mod registry;
pub mod snapshot;
pub mod socket;
mod sync;
mod tail;
#[doc(hidden)]
pub mod testing;
pub mod text;
pub mod wasi;
pub mod wasmedge;

pub use batch::{Compression, Summary};
pub use calls::{Calls, Parts, Projection};
pub use error::{Error, Result};
pub use event::{
    Ended, Engine, Event, Gap, GrowFailed, Interrupt, Invoke, Limits, Preopen, ProcessEnd,
    ProcessStart,
};
pub use ids::{ElapsedNs, FunctionId, ModuleId, Offset, ProcessId, SegmentNumber, UnixNs};
pub use options::{LogOptions, OnFailure, Sync, TailStorage};
pub use record::{Outcome, Record};
pub use recorder::Recorder;
pub use registry::Registry;
pub use snapshot::{Chunk, Damage, LogState, SegmentInfo, Snapshot};

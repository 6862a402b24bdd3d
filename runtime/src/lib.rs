//! The WebAssembly host of timecraft: it runs a guest that uses WASI preview 1, and records every
//! call between guest and host.
//!
//! [`process::run`] takes [`process::Options`] and gives a [`process::Report`]. On the way a module
//! ([`Source`]) is checked, compiled or taken from the [`cache`], and linked to one path for all host
//! functions; a call goes from there through [`capture`] to [`wasi`], which reaches the guest's
//! memory through [`memory::GuestMemory`] alone, so that whatever the host writes is recorded. An
//! [`Interrupter`] ends the guest from outside.
//!
//! ```no_run
//! use std::path::Path;
//! use timecraft_runtime::{Interrupter, Options, Source, run};
//!
//! let source = Source::read(Path::new("hello.wasm"))?;
//! let report = run(Options::new(&source, Interrupter::new()?))?;
//! println!("{:?}", report.end);
//! # Ok::<(), timecraft_runtime::Error>(())
//! ```

mod binary;
pub mod cache;
pub mod capture;
mod dispatch;
pub mod engine;
pub mod error;
mod host;
pub mod interrupt;
pub mod limits;
pub mod memory;
pub mod network;
pub mod process;
pub mod trace;
pub mod wakeup;
pub mod wasi;

pub use binary::Source;
pub use error::{Error, Result};
pub use interrupt::{Cause, Interrupter};
pub use limits::{LimitReached, Limits};
pub use process::{End, Options, Recording, Report, Trap, run};

//! Decoders: the records of a process in, rows out.
//!
//! A decoder is one module here and one type, a state machine that is fed the records of one process in
//! the order of their offsets and gives rows as it goes. [`files::Files`] follows descriptors and gives
//! what was done with files; [`connections::Connections`] follows sockets and gives what went over
//! them, with [`dns`] and [`tls`] to read what is said in the clear. All decoders keep to these rules,
//! so that a query, an ingestion run and a tool can drive them in the same way:
//!
//! - *Any split is the same.* Rows depend on the records alone, not on how many are handed over at once.
//! - *The state is a value.* It can be cloned, saved as versioned JSON and restored ([`state`]), and
//!   what is decoded then is what would have been decoded without the break. State of another version
//!   is refused; the process is then decoded again from its first record.
//! - *Memory is bounded*, whatever the guest did: rows are given away at once, and of what is open only
//!   a bounded number of bounded things is kept.
//! - *Nothing is believed.* A record may hold anything. What does not make sense gives no row or one
//!   with less in it, never a panic.
//! - *What is missing is said.* Where records are missing, a decoder is told so and forgets what it can
//!   no longer know.
//!
//! ```
//! use timecraft_segment::{Projection, Snapshot};
//! use timecraft_udfs::files::{Files, Row};
//!
//! /// The paths of all files that a guest has opened and closed.
//! fn closed(process: &Snapshot) -> timecraft_segment::Result<Vec<String>> {
//!     let mut files = Files::at_start(process.start());
//!     let mut paths = Vec::new();
//!     for chunk in process.chunks() {
//!         for record in chunk.read(Projection::ALL)?.iter() {
//!             files.apply(&record, |row| {
//!                 if let Row::File(file) = row {
//!                     paths.push(file.path);
//!                 }
//!                 Ok::<(), timecraft_segment::Error>(())
//!             })?;
//!         }
//!     }
//!     Ok(paths)
//! }
//! ```
//!
//! This crate knows the raw log (`timecraft-segment`) and nothing else: no Arrow, no files, no clock.
//! Its feature `sql` brings the module `sql`, the SQL functions that are made of decoders, and with them Arrow
//! and DataFusion; whoever only decodes leaves it out.

mod bytes;
pub mod connections;
pub mod conversations;
pub mod dns;
pub mod files;
pub mod hexdump;
pub mod http;
pub mod path_template;
pub mod protocol;
#[cfg(feature = "sql")]
pub mod sql;
pub mod state;
pub mod tls;

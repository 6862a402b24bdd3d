//! SQL over what timecraft recorded, read in place.
//!
//! A [`Session`] is a DataFusion session whose catalog `timecraft` holds one table for each way to
//! look at the raw log: in the schema `public` what guests did, and in `system` what happened to the
//! logs themselves; `zeek` holds views with the columns of Zeek's logs. Each is a file in `tables`, and says three things: its columns, how its rows can be read apart, and how to
//! make them. All else is common to them and lives in `scan`: filters are kept by the scan, where
//! they drop processes and batches of records by what these say of themselves, and then rows, before
//! anything expensive is made of them. A statement reads every process at one moment (`pin`).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use timecraft_query::{Session, SessionOptions};
//! use timecraft_segment::registry::Registry;
//!
//! let session = Session::new(SessionOptions::new(Registry::at("/var/lib/timecraft")))?;
//! let frame = session.context().sql("select function, count(*) from host_calls group by function");
//! frame.await?.show().await?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate only reads: it must never change a registry, and never print.

mod blocking;
mod damage;
mod environment;
mod error;
mod pin;
mod scan;
mod session;
mod tables;
mod views;

pub use damage::{DamageMet, OnDamage};
pub use error::{Error, ReadError, Result};
pub use session::{DEFAULT_MEMORY_LIMIT, Session, SessionOptions};
pub use tables::{ColumnInfo, TableInfo, tables};

//! The binary, as people and scripts use it: each test runs the real one, in a folder and with a
//! home of its own. What it says is held by snapshots, with what varies taken out.

#![allow(clippy::unwrap_used)]

mod config;
mod endings;
#[cfg(feature = "sql")]
mod faults;
#[cfg(feature = "sql")]
mod files;
#[cfg(feature = "sql")]
mod live;
#[cfg(feature = "sql")]
mod network;
#[cfg(all(feature = "sql", feature = "real-guests"))]
mod offload;
#[cfg(all(feature = "sql", feature = "real-guests"))]
mod peers;
#[cfg(feature = "sql")]
mod readme;
#[cfg(all(feature = "sql", feature = "real-guests"))]
mod real_guests;
mod run;
mod sandbox;
#[cfg(feature = "sql")]
mod shell;
mod signals;
mod sockets;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "sql")]
mod strace;
mod support;

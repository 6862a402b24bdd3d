//! The binary, as people and scripts use it: each test runs the real one, in a folder and with a
//! home of its own. What it says is held by snapshots, with what varies taken out.

#![allow(clippy::unwrap_used)]

mod config;
mod run;
#[cfg(feature = "sql")]
mod shell;
mod signals;
#[cfg(feature = "sql")]
mod sql;
mod support;

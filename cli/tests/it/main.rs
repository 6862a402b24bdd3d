//! The binary, as people and scripts use it: each test runs the real one, in a folder and with a
//! home of its own. What it says is held by snapshots, with what varies taken out.

#![allow(clippy::unwrap_used)]

/// Calls as the log would have them, which the tests of the decoders share.
#[allow(dead_code)]
#[path = "../../../udfs/tests/it/calls.rs"]
mod calls;
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
mod pcapng;
#[cfg(all(feature = "sql", feature = "real-guests"))]
mod peers;
#[cfg(feature = "sql")]
mod readme;
#[cfg(all(feature = "sql", feature = "real-guests"))]
mod real_guests;
mod recording;
mod run;
mod sandbox;
#[cfg(feature = "sql")]
mod shell;
mod signals;
#[allow(dead_code)]
#[path = "../../../udfs/tests/it/socket_calls.rs"]
mod socket_calls;
mod sockets;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "sql")]
mod strace;
mod support;
mod terminal;
mod trace;
mod trace_dns;
mod trace_request;
#[cfg(feature = "real-guests")]
mod tshark;

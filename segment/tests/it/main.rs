//! The log through its public face: what a recorder wrote is what a snapshot reads.
#![allow(clippy::unwrap_used)]

mod damage;
mod faults;
mod formats;
mod live;
mod regressions;
mod support;
mod written;

//! Guests that talk with programs that nobody here wrote: what was recorded is what the peer's own log
//! says and what was captured on loopback, byte for byte.
//!
//! `scripts/setup-tests.sh` installs the peers. Each test starts its own, on a port of its own, with
//! their files in the folder of the test. Nothing leaves loopback.

mod dns;
mod grpc;
mod nginx;
mod part;
mod recorded;
mod redis;
mod serve;
mod server;
mod wire;

use std::path::Path;

use crate::real_guests::built;
use crate::support::{Cmd, Dir};

/// Runs a guest that `make testdata` builds. What it is compiled to is kept from test to test, since
/// compiling takes longer than most of them.
fn run<'a>(dir: &'a Dir, guest: &str, options: &[&str]) -> Cmd<'a> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    dir.cmd(["run"])
        .env("XDG_CACHE_HOME", cache)
        .args(options)
        .arg(built(guest))
}

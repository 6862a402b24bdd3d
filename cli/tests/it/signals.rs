//! Signals end a guest, and its log is sealed.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Dir, guest, signal, wait_for};

fn start(dir: &Dir, name: &str, said: &str) -> Child {
    let guest = guest(name);
    let mut child = dir
        .cmd(["run", "--name", "it", guest.to_str().unwrap()])
        .spawn();
    wait_for(child.stdout.as_mut().unwrap(), said);
    child
}

/// Fails, rather than hang, where the signal had no effect.
fn status(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_busy_loop_ends() {
    let dir = Dir::new();
    let child = start(&dir, "spin.wasm", "spinning\n");
    signal(&child, Signal::INT);
    assert_eq!(status(child), Some(130));
    sealed(&dir, 2);
}

#[test]
fn a_wait_ends() {
    let dir = Dir::new();
    let child = start(&dir, "sleep.wasm", "sleeping\n");
    signal(&child, Signal::TERM);
    assert_eq!(status(child), Some(143));
    sealed(&dir, 15);
}

#[cfg(not(feature = "sql"))]
fn sealed(_: &Dir, _: i32) {}

/// What the recording says of it.
#[cfg(feature = "sql")]
fn sealed(dir: &Dir, number: i32) {
    let query = "select status, signal from processes where name = 'it'";
    let said = dir.cmd(["sql", "--format", "tsv", query]).assert(0);
    assert_eq!(said.out(), format!("status\tsignal\nkilled\t{number}\n"));
}

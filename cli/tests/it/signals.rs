//! Signals end a guest, and its log is sealed.

use std::io::Write;
use std::process::Child;

use rustix::process::Signal;

use crate::support::{Dir, ended, guest, signal, wait_for};

fn start(dir: &Dir, name: &str, said: &str) -> Child {
    let guest = guest(name);
    let mut child = dir
        .cmd(["run", "--name", "it", guest.to_str().unwrap()])
        .spawn();
    wait_for(child.stdout.as_mut().unwrap(), said);
    child
}

#[test]
fn a_busy_loop_ends() {
    for (sent, number) in [(Signal::INT, 2), (Signal::TERM, 15)] {
        let dir = Dir::new();
        let child = start(&dir, "spin.wasm", "spinning\n");
        signal(&child, sent);
        assert_eq!(ended(child), Some(128 + number));
        sealed(&dir, number);
    }
}

#[test]
fn a_wait_ends() {
    let dir = Dir::new();
    let child = start(&dir, "sleep.wasm", "sleeping\n");
    signal(&child, Signal::TERM);
    assert_eq!(ended(child), Some(143));
    sealed(&dir, 15);
}

/// The guest waits in `fd_read` for input that does not come.
#[test]
fn a_wait_for_input_ends() {
    let dir = Dir::new();
    let mut child = dir
        .cmd(["run", "--name", "it"])
        .arg(guest("cat.wasm"))
        .open_stdin()
        .spawn();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"so far\n").unwrap();
    wait_for(child.stdout.as_mut().unwrap(), "so far\n");
    signal(&child, Signal::INT);
    assert_eq!(ended(child), Some(130));
    drop(input);
    sealed(&dir, 2);
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

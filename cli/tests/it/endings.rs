//! Wherever a guest waits or works, SIGINT, SIGTERM and `--timeout` end it, and its log says so.
//!
//! Each test brings a guest to one such place, three times, and ends it there. No test measures
//! time, but each fails where nothing ends; how long an end took is printed, with `--nocapture`.

mod files;
mod harness;
mod network;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::pipe;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use timecraft_segment::function;

use self::harness::{Held, Place, await_end, ends, nothing};
use crate::support::{Cmd, Dir, HELLO, ended, signal};

/// A program that imports functions of WASI, with a page of memory and this in it.
fn program(imports: &[&str], body: &str) -> String {
    let mut wat = String::from("(module\n");
    for name in imports {
        let row = function::by_name("wasi_snapshot_preview1", name).unwrap();
        let params = row.params.iter().map(|p| match p.ty {
            function::WasmType::I32 => " i32",
            function::WasmType::I64 => " i64",
        });
        let params: String = params.collect();
        wat.push_str(&format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{params}) (result i32)))\n"
        ));
    }
    format!("{wat}{body})")
}

/// Reads from a descriptor once; the vector is at 0, its bytes follow at 64.
fn reads(fd: u32) -> String {
    let body = format!(
        "(memory (export \"memory\") 1)
        (data (i32.const 0) \"\\40\\00\\00\\00\\00\\10\\00\\00\")
        (func (export \"_start\")
          (drop (call $fd_read (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8))))"
    );
    program(&["fd_read"], &body)
}

/// Writes 64 KiB to a descriptor, for ever.
fn writes(fd: u32) -> String {
    let body = format!(
        "(memory (export \"memory\") 2)
        (data (i32.const 0) \"\\40\\00\\00\\00\\00\\00\\01\\00\")
        (func (export \"_start\")
          (loop
            (drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br 0)))"
    );
    program(&["fd_write"], &body)
}

/// A terminal: the side that people sit at, and the one that programs use.
fn terminal() -> (OwnedFd, OwnedFd) {
    let people = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&people).unwrap();
    unlockpt(&people).unwrap();
    let name = ptsname(&people, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let programs = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (people, programs)
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
}

/// Starts the guest with this as standard input, and holds the other side.
fn with_stdin(cmd: Cmd<'_>, (ours, its): (OwnedFd, OwnedFd)) -> (Child, Held) {
    let child = cmd.arg("guest.wat").stdin_from(its).spawn();
    (child, Box::new(ours))
}

/// Starts the guest with this as standard output, and holds the other side without reading it.
fn with_stdout(cmd: Cmd<'_>, (ours, its): (OwnedFd, OwnedFd)) -> (Child, Held) {
    let child = cmd.arg("guest.wat").stdout(Stdio::from(its)).spawn();
    (child, Box::new(ours))
}

/// The reading side first, as the side that is held.
fn pipe_to_fill() -> (OwnedFd, OwnedFd) {
    pipe().unwrap()
}

fn pipe_without_data() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe().unwrap();
    (write, read)
}

#[test]
fn in_a_read_of_a_pipe() {
    ends(
        "fd_read of a pipe",
        Place::Waiting("fd_read"),
        &reads(0),
        |_, cmd| with_stdin(cmd, pipe_without_data()),
    );
}

#[test]
fn in_a_read_of_a_terminal() {
    ends(
        "fd_read of a terminal",
        Place::Waiting("fd_read"),
        &reads(0),
        |_, cmd| with_stdin(cmd, terminal()),
    );
}

/// A socket cannot be opened again by its name, as a pipe can.
#[test]
fn in_a_read_of_a_socket() {
    ends(
        "fd_read of a socket",
        Place::Waiting("fd_read"),
        &reads(0),
        |_, cmd| with_stdin(cmd, sockets()),
    );
}

#[test]
fn in_a_write_to_a_full_pipe() {
    ends(
        "fd_write to a pipe",
        Place::Waiting("fd_write"),
        &writes(1),
        |_, cmd| with_stdout(cmd, pipe_to_fill()),
    );
}

#[test]
fn in_a_write_to_a_terminal_that_nobody_reads() {
    ends(
        "fd_write to a terminal",
        Place::Waiting("fd_write"),
        &writes(1),
        |_, cmd| with_stdout(cmd, terminal()),
    );
}

#[test]
fn in_a_write_to_a_full_socket() {
    ends(
        "fd_write to a socket",
        Place::Waiting("fd_write"),
        &writes(1),
        |_, cmd| with_stdout(cmd, sockets()),
    );
}

/// Where the guest fills standard error, what timecraft itself says there at the end must not wait.
#[test]
fn in_a_write_to_standard_error_that_nobody_reads() {
    ends(
        "fd_write to standard error",
        Place::Waiting("fd_write"),
        &writes(2),
        |_, cmd| (cmd.arg("guest.wat").spawn(), nothing()),
    );
}

/// The trace waits for who reads it, and not the guest.
#[test]
fn in_a_trace_that_nobody_reads() {
    let wat = program(
        &["sched_yield"],
        "(memory (export \"memory\") 1)
        (func (export \"_start\") (loop (drop (call $sched_yield)) (br 0)))",
    );
    let wat = wat.replace("(param)", "");
    ends("the trace", Place::After("sched_yield"), &wat, |_, cmd| {
        (cmd.args(["--trace", "guest.wat"]).spawn(), nothing())
    });
}

#[test]
fn in_a_poll_of_a_clock() {
    let wat = program(
        &["poll_oneoff"],
        "(memory (export \"memory\") 1)
        (data (i32.const 16) \"\\01\")
        (func (export \"_start\")
          (i64.store (i32.const 24) (i64.const 3600000000000))
          (drop (call $poll_oneoff (i32.const 0) (i32.const 104) (i32.const 1) (i32.const 200))))",
    );
    ends(
        "poll_oneoff of a clock",
        Place::Waiting("poll_oneoff"),
        &wat,
        |_, cmd| (cmd.arg("guest.wat").spawn(), nothing()),
    );
}

#[test]
fn in_a_poll_of_descriptors() {
    let wat = program(
        &["poll_oneoff"],
        "(memory (export \"memory\") 1)
        (data (i32.const 8) \"\\01\")
        (func (export \"_start\")
          (drop (call $poll_oneoff (i32.const 0) (i32.const 104) (i32.const 1) (i32.const 200))))",
    );
    ends(
        "poll_oneoff of a pipe",
        Place::Waiting("poll_oneoff"),
        &wat,
        |_, cmd| with_stdin(cmd, pipe_without_data()),
    );
}

#[test]
fn in_a_busy_loop() {
    let wat = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))";
    ends("a busy loop", Place::Start, wat, |_, cmd| {
        (cmd.arg("guest.wat").spawn(), nothing())
    });
}

#[test]
fn in_endless_recursion_of_little_depth() {
    let wat = "(module (memory (export \"memory\") 1)
        (func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))))))
        (func (export \"_start\") (loop (call $f (i32.const 10000)) (br 0))))";
    ends("recursion", Place::Start, wat, |_, cmd| {
        (cmd.arg("guest.wat").spawn(), nothing())
    });
}

#[test]
fn in_the_start_section() {
    let wat = "(module (memory (export \"memory\") 1) (func $s (loop (br 0))) (start $s)
        (func (export \"_start\")))";
    ends("the start section", Place::Start, wat, |_, cmd| {
        (cmd.arg("guest.wat").spawn(), nothing())
    });
}

#[test]
fn in_the_initialization_of_a_library() {
    let wat = "(module (memory (export \"memory\") 1)
        (func (export \"_initialize\") (loop (br 0))) (func (export \"_start\")))";
    ends("_initialize", Place::Start, wat, |_, cmd| {
        (cmd.arg("guest.wat").spawn(), nothing())
    });
}

/// Each instruction touches 64 MiB.
#[test]
fn in_a_loop_of_instructions_that_move_much_memory() {
    let wat = "(module (memory (export \"memory\") 2048) (func (export \"_start\")
        (loop
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))
          (memory.copy (i32.const 0x4000000) (i32.const 0) (i32.const 0x4000000))
          (br 0))))";
    ends(
        "memory.fill and memory.copy",
        Place::Start,
        wat,
        |_, cmd| (cmd.arg("guest.wat").spawn(), nothing()),
    );
}

/// Each call is for as much as a call gives.
#[test]
fn in_a_call_for_much_randomness() {
    let wat = program(
        &["random_get"],
        "(memory (export \"memory\") 256)
        (func (export \"_start\") (loop (drop (call $random_get (i32.const 0) (i32.const 0x1000000))) (br 0)))",
    );
    ends("random_get", Place::After("random_get"), &wat, |_, cmd| {
        (cmd.arg("guest.wat").spawn(), nothing())
    });
}

/// The log is what the guest waits for when it makes more of it than can be packed.
#[test]
fn in_more_calls_than_the_log_can_take_at_once() {
    let wat = program(
        &["fd_write"],
        "(memory (export \"memory\") 257)
        (data (i32.const 0) \"\\40\\00\\00\\00\\00\\00\\00\\01\")
        (func (export \"_start\")
          (loop
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br 0)))",
    );
    ends("the log", Place::After("fd_write"), &wat, |_, cmd| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        (cmd.arg("guest.wat").stdout(null).spawn(), nothing())
    });
}

#[test]
fn a_guest_that_has_ended_is_not_waited_for() {
    let dir = Dir::new();
    dir.create("guest.wat", HELLO);
    let said = dir.cmd(["run", "--timeout", "1h", "guest.wat"]).assert(0);
    assert_eq!(said.out(), "hello\n");
}

/// A guest that fills standard error and traps leaves timecraft with something to say, and nobody to
/// say it to. That is waited for, until a signal says that nobody will come.
#[test]
fn what_is_said_at_the_end_is_not_waited_for_after_a_signal() {
    let dir = Dir::new();
    let wat = program(
        &["fd_fdstat_set_flags", "fd_write"],
        "(memory (export \"memory\") 1)
        (data (i32.const 0) \"\\40\\00\\00\\00\\01\\00\\00\\00\")
        (func (export \"_start\")
          (drop (call $fd_fdstat_set_flags (i32.const 2) (i32.const 4)))
          (loop
            (br_if 0 (i32.eqz
              (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))
          unreachable)",
    );
    dir.create("guest.wat", wat);
    let child = dir.cmd(["run", "guest.wat"]).spawn();
    await_end(&dir);
    signal(&child, Signal::TERM);
    assert_eq!(ended(child), Some(134), "the guest had trapped before");
}

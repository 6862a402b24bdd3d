//! In calls on files, and on what else stands in a directory: FIFOs and devices.

use std::fs::File;
use std::path::Path;

use rustix::fs::{CWD, FileType, FlockOperation, OFlags, flock, mknodat};
use rustix::io::Errno;
use rustix::pty::ptsname;

use super::harness::{Place, ends, nothing};
use super::{program, terminal};
use crate::support::Dir;

/// Opens `file` in the first directory with these rights (2 reads, 64 writes), and then does
/// something with the descriptor, which is 4.
fn opens(import: &str, rights: u32, then: &str) -> String {
    let body = format!(
        "(memory (export \"memory\") 2)
        (data (i32.const 0) \"\\40\\00\\00\\00\\00\\10\\00\\00\")
        (data (i32.const 16) \"file\")
        (func (export \"_start\")
          (drop (call $path_open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 4)
            (i32.const 0) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 24)))
          {then})"
    );
    program(&["path_open", import], &body)
}

/// One call of a function that reads or writes the descriptor 4, for ever.
fn moves(function: &str) -> String {
    format!(
        "(loop
          (drop (call ${function} (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8)))
          (br 0))"
    )
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
}

/// `open` of a FIFO for writing waits for a reader.
#[test]
fn in_the_opening_of_a_fifo() {
    let wat = opens("fd_write", 64, "");
    ends(
        "path_open of a FIFO",
        Place::Waiting("path_open"),
        &wat,
        |dir, cmd| {
            fifo(&dir.path("file"));
            (cmd.args(["--dir", ".", "guest.wat"]).spawn(), nothing())
        },
    );
}

#[test]
fn in_a_read_of_a_fifo() {
    let wat = opens("fd_read", 2, &moves("fd_read"));
    ends(
        "fd_read of a FIFO",
        Place::Waiting("fd_read"),
        &wat,
        |dir, cmd| {
            fifo(&dir.path("file"));
            (cmd.args(["--dir", ".", "guest.wat"]).spawn(), nothing())
        },
    );
}

#[test]
fn in_a_write_to_a_full_fifo() {
    let wat = opens("fd_write", 64, &moves("fd_write"));
    ends(
        "fd_write to a FIFO",
        Place::Waiting("fd_write"),
        &wat,
        |dir, cmd| {
            let path = dir.path("file");
            fifo(&path);
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let reader = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
            let child = cmd.args(["--dir", ".", "guest.wat"]).spawn();
            (child, Box::new(reader))
        },
    );
}

/// A device that was granted by its directory.
#[test]
fn in_a_read_of_a_device() {
    let (people, _programs) = terminal();
    let name = ptsname(&people, Vec::new()).unwrap().into_string().unwrap();
    let (folder, number) = name.rsplit_once('/').unwrap();
    let wat = opens("fd_read", 2, &moves("fd_read"));
    let path = format!("(data (i32.const 16) \"{number}\")");
    let wat = wat
        .replace("(data (i32.const 16) \"file\")", &path)
        .replace(
            "(i32.const 16) (i32.const 4)",
            &format!("(i32.const 16) (i32.const {})", number.len()),
        );
    ends(
        "fd_read of a device",
        Place::Waiting("fd_read"),
        &wat,
        |_, cmd| (cmd.args(["--dir", folder, "guest.wat"]).spawn(), nothing()),
    );
}

/// Another process's advisory lock is no obstacle: nothing in WASI waits for one.
#[test]
fn a_file_that_another_process_has_locked_is_not_waited_for() {
    let dir = Dir::new();
    let file = dir.create("file", "");
    let lock = File::open(&file).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    dir.create("guest.wat", opens("fd_write", 64 + 2, "
        (if (call $fd_write (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))"));
    dir.cmd(["run", "--dir", ".", "guest.wat"]).assert(0);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 4096);
    let ours = File::open(&file).unwrap();
    assert_eq!(
        flock(&ours, FlockOperation::NonBlockingLockExclusive),
        Err(Errno::WOULDBLOCK),
        "it was locked all along"
    );
}

#[test]
fn in_a_listing_of_many_files() {
    let wat = program(
        &["fd_readdir"],
        "(memory (export \"memory\") 200)
        (func (export \"_start\")
          (loop
            (drop (call $fd_readdir (i32.const 3) (i32.const 64) (i32.const 0xc00000) (i64.const 0) (i32.const 0)))
            (br 0)))",
    );
    ends(
        "fd_readdir",
        Place::After("fd_readdir"),
        &wat,
        |dir, cmd| {
            let files = dir.path("files");
            std::fs::create_dir(&files).unwrap();
            for i in 0..2000 {
                File::create(files.join(format!("a file of a long name, number {i:0>200}")))
                    .unwrap();
            }
            (cmd.args(["--dir", "files", "guest.wat"]).spawn(), nothing())
        },
    );
}

/// Writes that the disk takes are work and no wait.
#[test]
fn in_writes_of_a_file_that_are_forced_to_the_disk() {
    let then = "(loop
        (drop (call $fd_write (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $fd_sync (i32.const 4)))
        (br 0))";
    let wat = opens("fd_sync", 64, then).replacen(
        "(module\n",
        "(module\n(import \"wasi_snapshot_preview1\" \"fd_write\" (func $fd_write (param i32 i32 i32 i32) (result i32)))\n",
        1,
    );
    ends("fd_sync", Place::After("fd_sync"), &wat, |dir, cmd| {
        dir.create("file", "");
        (cmd.args(["--dir", ".", "guest.wat"]).spawn(), nothing())
    });
}

//! Tests of paths that change while they are resolved: somebody swaps what a name stands for, as
//! fast as the system lets them, between a directory inside and a way out. Nothing outside may be
//! read or changed, whichever of the two a call meets.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::Flow;
use super::abi::{fstflags, oflags, rights};
use super::errno::Errno;
use super::function::*;
use super::testing::{Guest, RW};

const R: u64 = rights::FD_READ;

/// What nobody in the sandbox may see.
const CANARY: &[u8] = b"the canary's song";

/// How often each call is made while names are swapped. With `openat` alone in the place of what
/// resolves paths, each test fails long before.
const ROUNDS: usize = 1500;

/// Everything in a directory: type, content or target, and when it was changed.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>, i64, i64)> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let content = if about.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if about.is_symlink() {
                std::fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                std::fs::read(&path).unwrap()
            };
            tree.insert(
                path,
                (about.mode(), content, about.mtime(), about.mtime_nsec()),
            );
        }
    }
    tree
}

/// Calls `guest_calls` again and again while another thread calls `swap`.
fn while_swapping(swap: impl Fn() + Sync, mut guest_calls: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                swap();
            }
        });
        // A call that fails an assertion must not leave the other thread running.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ROUNDS).for_each(|_| guest_calls());
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A guest, a directory beside its own with the canary in it, and how a link in its own leads there.
fn with_canary() -> (Guest, PathBuf, String) {
    let guest = Guest::new();
    let outside = guest.read_only.path().to_owned();
    std::fs::write(outside.join("file"), CANARY).unwrap();
    std::fs::write(outside.join("other"), CANARY).unwrap();
    std::fs::create_dir(outside.join("folder")).unwrap();
    symlink("canary", outside.join("link")).unwrap();
    let name = outside.file_name().unwrap().to_str().unwrap();
    let way_out = format!("../{name}");
    (guest, outside, way_out)
}

/// What calls met: what is inside, and what would have led out.
#[derive(Debug, Default)]
struct Met {
    inside: usize,
    refused: usize,
}

impl Met {
    fn count<T>(&mut self, result: &Result<T, Errno>) {
        match result {
            Ok(_) => self.inside += 1,
            Err(Errno::PERM) => self.refused += 1,
            Err(_) => {}
        }
    }

    /// A race in which only one side was ever met shows nothing.
    fn both(&self) {
        assert!(self.inside > 0 && self.refused > 0, "{self:?}");
    }
}

fn errno(flow: Flow) -> Result<(), Errno> {
    match flow {
        Flow::Return(0) => Ok(()),
        Flow::Return(number) => Err(Errno::from_number(number as u16)),
        other => panic!("{other:?}"),
    }
}

/// A directory is swapped with a link that leads out, while every function that takes a path goes
/// through the name.
#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let (mut guest, outside, way_out) = with_canary();
    let root = guest.root.path().to_owned();
    std::fs::create_dir(root.join("way")).unwrap();
    symlink(way_out, root.join("swapped")).unwrap();
    let before = tree(&outside);
    let mut met = Met::default();
    let swap = || {
        let (a, b) = (root.join("way"), root.join("swapped"));
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
    };
    while_swapping(swap, || {
        let opened = guest.open("way/file", oflags::CREAT | oflags::TRUNC, RW, 0);
        met.count(&opened);
        if let Ok(fd) = opened {
            guest.write(fd, &[b"inside"]).unwrap();
            guest.ok(FD_CLOSE, &[fd]);
        }
        if let Ok(fd) = guest.open("way/file", 0, R, 0) {
            assert_ne!(guest.read(fd, &[CANARY.len()]), Ok(CANARY.to_vec()));
            guest.ok(FD_CLOSE, &[fd]);
        }
        let [
            [file, file_n],
            [other, other_n],
            [mine, mine_n],
            [link, link_n],
        ] = guest.paths(["way/file", "way/other", "mine", "way/link"]);
        for follow in [0, 1] {
            let flow = guest.call(PATH_FILESTAT_GET, &[3, follow, file, file_n, 64]);
            if errno(flow).is_ok() {
                assert_ne!(guest.u64(96), CANARY.len() as u64);
            }
            let times = u64::from(fstflags::ATIM | fstflags::MTIM);
            let _ = errno(guest.call(
                PATH_FILESTAT_SET_TIMES,
                &[3, follow, file, file_n, 1, 1, times],
            ));
        }
        // Out to where it could be read, and in to where it would be planted.
        let _ = errno(guest.call(PATH_LINK, &[3, 0, other, other_n, 3, mine, mine_n]));
        let _ = errno(guest.call(PATH_RENAME, &[3, file, file_n, 3, mine, mine_n]));
        if let Ok(fd) = guest.open("mine", 0, R, 0) {
            assert_ne!(guest.read(fd, &[CANARY.len()]), Ok(CANARY.to_vec()));
            guest.ok(FD_CLOSE, &[fd]);
        }
        let _ = errno(guest.call(PATH_LINK, &[3, 0, mine, mine_n, 3, other, other_n]));
        let _ = errno(guest.call(PATH_RENAME, &[3, mine, mine_n, 3, file, file_n]));
        let _ = errno(guest.call(PATH_SYMLINK, &[mine, mine_n, 3, link, link_n]));
        if errno(guest.call(PATH_READLINK, &[3, link, link_n, 128, 6, 0])).is_ok() {
            assert_ne!(guest.bytes(128, 6), b"canary");
        }
        if let Ok(fd) = guest.open("way", oflags::DIRECTORY, R, 0) {
            let flow = guest.call(FD_READDIR, &[fd, 8192, 4096, 0, 0]);
            errno(flow).unwrap();
            let listed = guest.bytes(8192, guest.u32(0) as usize);
            assert!(!listed.windows(6).any(|w| w == b"folder" || w == b"canary"));
            guest.ok(FD_CLOSE, &[fd]);
        }
        for (function, path) in [
            (PATH_CREATE_DIRECTORY, "way/new"),
            (PATH_REMOVE_DIRECTORY, "way/new"),
            (PATH_REMOVE_DIRECTORY, "way/folder"),
            (PATH_UNLINK_FILE, "way/link"),
            (PATH_UNLINK_FILE, "way/other"),
            (PATH_UNLINK_FILE, "way/file"),
        ] {
            met.count(&guest.at(function, 3, path));
        }
    });
    met.both();
    assert_eq!(tree(&outside), before);
}

/// The last name of a path is swapped: a file with a link to a file outside.
#[test]
fn a_file_that_becomes_a_link_leads_nowhere() {
    let (mut guest, outside, way_out) = with_canary();
    let root = guest.root.path().to_owned();
    guest.host_write("way", b"inside");
    symlink(format!("{way_out}/file"), root.join("swapped")).unwrap();
    let before = tree(&outside);
    let mut met = Met::default();
    let swap = || {
        let (a, b) = (root.join("way"), root.join("swapped"));
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
    };
    while_swapping(swap, || {
        for (oflags, rights) in [(0, R), (oflags::TRUNC, RW), (oflags::CREAT, RW)] {
            let opened = guest.open("way", oflags, rights, 0);
            met.count(&opened);
            let Ok(fd) = opened else { continue };
            assert_ne!(guest.read(fd, &[CANARY.len()]), Ok(CANARY.to_vec()));
            if rights == RW {
                guest.write(fd, &[b"inside"]).unwrap();
            }
            guest.ok(FD_CLOSE, &[fd]);
        }
        let [[way, way_n]] = guest.paths(["way"]);
        let _ = errno(guest.call(PATH_FILESTAT_SET_TIMES, &[3, 1, way, way_n, 1, 1, 5]));
        if errno(guest.call(PATH_FILESTAT_GET, &[3, 1, way, way_n, 64])).is_ok() {
            assert_ne!(guest.u64(96), CANARY.len() as u64);
        }
    });
    met.both();
    assert_eq!(tree(&outside), before);
}

/// A directory is moved out while a path goes through it and back up: its `..` is then outside.
#[test]
fn a_directory_that_moves_out_takes_no_path_with_it() {
    let (mut guest, outside, _) = with_canary();
    let root = guest.root.path().to_owned();
    // The way down and up again is long, so that the move is often made on it.
    let (down, up) = ("/n".repeat(40), "/..".repeat(40));
    std::fs::create_dir_all(root.join(format!("a/moving{down}"))).unwrap();
    guest.host_write("a/file", b"inside");
    let path = format!("a/moving{down}{up}/../file");
    let mut met = Met::default();
    let before = tree(&outside);
    let (here, there) = (root.join("a/moving"), outside.join("moving"));
    let swap = || {
        std::fs::rename(&here, &there).unwrap();
        std::fs::rename(&there, &here).unwrap();
        // Long enough inside for paths to begin there.
        (0..2000).for_each(|_| std::hint::spin_loop());
    };
    while_swapping(swap, || {
        for path in [&path; 20] {
            let opened = guest.open(path, 0, RW, 0);
            met.count(&opened);
            let Ok(fd) = opened else { continue };
            assert_ne!(
                guest.read(fd, &[CANARY.len()]),
                Ok(CANARY.to_vec()),
                "{path}"
            );
            guest.ok(FD_CLOSE, &[fd]);
        }
        for (function, name) in [
            (PATH_CREATE_DIRECTORY, "new"),
            (PATH_REMOVE_DIRECTORY, "new"),
            (PATH_REMOVE_DIRECTORY, "folder"),
            (PATH_UNLINK_FILE, "other"),
        ] {
            let path = format!("a/moving{down}{up}/../{name}");
            let _ = guest.at(function, 3, &path);
        }
    });
    assert!(met.inside > 0, "{met:?}");
    assert_eq!(tree(&outside), before);
}

//! The registry that the `.slt` files of the tables about files query.

use tempfile::TempDir;
use timecraft_segment::denial::Denial;
use timecraft_segment::{Ended, LogOptions, ProcessEnd, ProcessStart, Registry};

use crate::guest::{Guest, small_batches, start};

pub struct FileRecordings {
    pub registry: Registry,
    /// The guest that is still running.
    pub live: Guest,
    pub folder: TempDir,
}

impl FileRecordings {
    pub fn new() -> FileRecordings {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path());
        editor(&registry);
        lost(&registry);
        let live = live(&registry);
        FileRecordings {
            registry,
            live,
            folder,
        }
    }
}

fn named(n: u64, name: &str) -> ProcessStart {
    ProcessStart {
        name: Some(name.to_owned()),
        ..start(n)
    }
}

/// All that can be done with files, with segments in between.
fn editor(registry: &Registry) {
    let mut guest = Guest::new(registry, &named(0, "editor"), &small_batches());
    guest.open_at(3, "./sub//", 2, 0, 4);
    guest.open_at(4, "a.txt", 1 | 8, 0, 5);
    guest.write(5, b"hello");
    guest.pass_the_time();
    // In another segment the position goes on, and the path is the same.
    guest.write(5, b", world");
    guest.seek(5, 1);
    guest.read_apart(5, b"ell", b"o, ");
    guest.open_at(4, "log", 1, 1, 6);
    guest.write(6, b"appended");
    guest.pass_the_time();
    // The log takes the place of a.txt, which is closed.
    guest.renumber(6, 5);
    guest.write_partly(5, b"half of it", 4);
    guest.write_fails(5, b"no space", 51);
    guest.on("fd_filestat_set_size", 5, &[100], 0);
    guest.on("fd_filestat_get", 1, &[0x1000], 0);
    guest.on("fd_sync", 9, &[], 8);
    guest.pass_the_time();
    guest.rename("sub/a.txt", "b/../c");
    guest.at("path_unlink_file", 4, "gone", 44);
    guest.at("path_create_directory", 3, "/etc", 63);
    guest.at("path_filestat_get", 3, "", 0);
    guest.close(5);
    guest.refused(
        "path_unlink_file",
        "x|y",
        63,
        &denial("\"/data/x|y\"").to_string(),
    );
    guest.refused("path_remove_directory", "d", 2, "the disk says no");
    guest.write(1, b"done\n");
    guest.write(1, b"bye\n");
    guest.end(&ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(0),
        signal: None,
        trap: None,
        stall_ns: 0,
    });
}

pub fn denial(path: &str) -> Denial {
    Denial {
        resource: format!("write access to {path}"),
        rule: "--dir ./data::/data:ro".to_owned(),
        would_need: "--dir ./data::/data".to_owned(),
    }
}

/// Its writer dies with a file open.
fn lost(registry: &Registry) {
    let mut guest = Guest::new(registry, &named(1, "lost"), &LogOptions::default());
    guest.open_at(3, "unfinished", 1, 0, 4);
    guest.write(4, b"some");
}

/// It is reading.
fn live(registry: &Registry) -> Guest {
    let mut guest = Guest::new(registry, &named(2, "live"), &LogOptions::default());
    guest.read(0, b"typed\n");
    guest.open_at(3, "fifo", 0, 0, 4);
    guest.read(4, b"first");
    guest.write_hangs(4, b"waits");
    guest
}

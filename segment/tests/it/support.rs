//! A registry in a temporary folder, and the few words that the tests are written in.

use std::path::Path;

use tempfile::TempDir;
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Calls, Ended, FunctionId, LogOptions, Outcome, ProcessEnd, ProcessId, Projection, Recorder,
    Registry, Snapshot, Sync, function, wasi,
};

pub struct Log {
    pub folder: TempDir,
    pub registry: Registry,
}

impl Log {
    pub fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("registry"));
        Log { folder, registry }
    }

    pub fn record(&self, options: &LogOptions) -> (ProcessId, Recorder) {
        let start = process_start();
        let recorder = Recorder::create(&self.registry, &start, options).unwrap();
        (start.process_id, recorder)
    }

    /// All records of a process, after the snapshot's own promises were checked.
    pub fn read(&self, id: ProcessId) -> (Snapshot, Vec<Calls>) {
        let snapshot = self.registry.snapshot(id).unwrap();
        let mut next = 0;
        let mut all = Vec::new();
        for chunk in snapshot.chunks() {
            let calls = chunk.read(Projection::ALL).unwrap();
            let summary = chunk.summary();
            assert_eq!(
                calls.first_offset.0, next,
                "offsets have no gap and none comes twice"
            );
            assert_eq!(summary.first_offset, calls.first_offset);
            assert_eq!(summary.count as usize, calls.len());
            next = calls.end_offset().0;
            all.push(std::sync::Arc::unwrap_or_clone(calls));
        }
        assert_eq!(snapshot.end_offset().0, next);
        (snapshot, all)
    }
}

/// Small buffers and segments, so that little data crosses every border.
pub fn small() -> LogOptions {
    LogOptions {
        batch_bytes: 4096,
        buffers: 3,
        segment_bytes: 32 << 10,
        sync: Sync::None,
        ..LogOptions::default()
    }
}

pub fn id(name: &str) -> FunctionId {
    function::by_name(wasi::MODULE, name).unwrap().id
}

pub fn exited(code: i32) -> ProcessEnd {
    ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(code),
        signal: None,
        trap: None,
        stall_ns: 0,
    }
}

/// `fd_write` of some bytes as the runtime records it, of which the host takes `taken`.
pub fn fd_write(log: &mut Recorder, fd: u64, bytes: &[u8], taken: usize) {
    log.begin(id("fd_write"), &[fd, 1024, 1, 512]).unwrap();
    let mut iovec = [0; 8];
    iovec[..4].copy_from_slice(&2048_u32.to_le_bytes());
    iovec[4..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    log.input(&iovec);
    log.input(bytes);
    log.publish().unwrap();
    log.write(512, &(taken as u32).to_le_bytes());
    log.consumed(8 + taken);
    log.finish(Outcome::Returned, 0).unwrap();
}

pub fn clock_time_get(log: &mut Recorder, now: u64) {
    log.begin(id("clock_time_get"), &[1, 1, 256]).unwrap();
    log.publish().unwrap();
    log.write(256, &now.to_le_bytes());
    log.finish(Outcome::Returned, 0).unwrap();
}

/// Copies a folder and what is in it, but no locks. A log that is being written renames its files
/// meanwhile: where one is gone before it was copied, the copy begins anew.
pub fn copy_folder(from: &Path, to: &Path) {
    assert!(from.is_dir(), "{} is no folder", from.display());
    while let Err(error) = copy(from, to) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        std::fs::remove_dir_all(to).unwrap();
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &there)?;
        } else {
            std::fs::copy(entry.path(), there)?;
        }
    }
    Ok(())
}

//! A guest that makes calls without being one: what the recorder is told of each.

use std::time::Duration;

use timecraft_segment::testing::process_start;
use timecraft_segment::{
    FunctionId, LogOptions, Outcome, ProcessEnd, ProcessId, ProcessStart, Recorder, Registry,
    UnixNs, function,
};

/// 2026-01-02T03:04:05Z, in milliseconds.
const EPOCH_MS: u64 = 1_767_323_045_000;

/// The `n`th process: it started `n` hours after the first.
pub fn start(n: u64) -> ProcessStart {
    let ms = EPOCH_MS + n * 3_600_000;
    let id: ProcessId = format!("{:08x}-{:04x}-7000-8000-{n:012x}", ms >> 16, ms & 0xffff)
        .parse()
        .unwrap();
    ProcessStart {
        process_id: id,
        start_time: UnixNs(i64::try_from(ms).unwrap() * 1_000_000),
        ..process_start()
    }
}

/// Small batches, so that little is many of them.
pub fn small_batches() -> LogOptions {
    LogOptions {
        batch_bytes: 64 << 10,
        segment_bytes: 8 << 10,
        ..LogOptions::default()
    }
}

pub struct Guest {
    log: Recorder,
}

/// Where the guest has its numbers.
const OUT: u64 = 0x1000;
/// Where the guest has its bytes.
const BUFFER: u64 = 0x2000;

pub fn id(name: &str) -> FunctionId {
    function::by_name("wasi_snapshot_preview1", name)
        .unwrap()
        .id
}

impl Guest {
    pub fn new(registry: &Registry, start: &ProcessStart, options: &LogOptions) -> Guest {
        registry.create().unwrap();
        Guest {
            log: Recorder::create(registry, start, options).unwrap(),
        }
    }

    fn call(&mut self, name: &str, args: &[u64], input: &[u8], outs: &[(u64, &[u8])], result: u64) {
        self.log.begin(id(name), args).unwrap();
        self.log.input(input);
        self.log.publish().unwrap();
        for (address, bytes) in outs {
            self.log.write(*address, bytes);
        }
        self.log.finish(Outcome::Returned, result).unwrap();
    }

    pub fn clock(&mut self) {
        let now = self.log.elapsed().0.to_le_bytes();
        self.call("clock_time_get", &[1, 1, OUT], &[], &[(OUT, &now)], 0);
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8]) {
        let (args, input) = write_input(fd, bytes);
        let n = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        self.call("fd_write", &args, &input, &[(OUT, &n)], 0);
    }

    /// The host takes fewer bytes than it was offered.
    pub fn write_partly(&mut self, fd: u32, bytes: &[u8], taken: usize) {
        let (args, input) = write_input(fd, bytes);
        self.log.begin(id("fd_write"), &args).unwrap();
        self.log.input(&input);
        self.log.publish().unwrap();
        self.log.consumed(input.len() - bytes.len() + taken);
        self.log
            .write(OUT, &u32::try_from(taken).unwrap().to_le_bytes());
        self.log.finish(Outcome::Returned, 0).unwrap();
    }

    pub fn write_fails(&mut self, fd: u32, bytes: &[u8], errno: u64) {
        let (args, input) = write_input(fd, bytes);
        self.call("fd_write", &args, &input, &[], errno);
    }

    /// A call that does not return while the test looks.
    pub fn write_hangs(&mut self, fd: u32, bytes: &[u8]) {
        let (args, input) = write_input(fd, bytes);
        self.log.begin(id("fd_write"), &args).unwrap();
        self.log.input(&input);
        self.log.publish().unwrap();
    }

    pub fn read(&mut self, fd: u32, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let iovec = [&u32::try_from(BUFFER).unwrap().to_le_bytes()[..], &length].concat();
        let args = [u64::from(fd), 0x100, 1, OUT];
        self.call(
            "fd_read",
            &args,
            &iovec,
            &[(BUFFER, bytes), (OUT, &length)],
            0,
        );
    }

    pub fn open(&mut self, path: &[u8], result: Result<u32, (u64, &str)>) {
        let args = [3, 1, 0x200, path.len() as u64, 1, 0x40, 0, 0, OUT];
        self.log.begin(id("path_open"), &args).unwrap();
        self.log.input(path);
        self.log.publish().unwrap();
        match result {
            Ok(fd) => {
                self.log.write(OUT, &fd.to_le_bytes());
                self.log.finish(Outcome::Returned, 0).unwrap();
            }
            Err((errno, note)) => {
                self.log.note(note);
                self.log.finish(Outcome::Returned, errno).unwrap();
            }
        }
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let args = [3, 0x200, from.len() as u64, 3, 0x300, to.len() as u64];
        self.call(
            "path_rename",
            &args,
            format!("{from}{to}").as_bytes(),
            &[],
            0,
        );
    }

    pub fn close(&mut self, fd: u32) {
        self.call("fd_close", &[fd.into()], &[], &[], 0);
    }

    pub fn renumber(&mut self, from: u32, to: u32) {
        self.call("fd_renumber", &[from.into(), to.into()], &[], &[], 0);
    }

    pub fn exit(&mut self, code: u32) {
        self.log.begin(id("proc_exit"), &[code.into()]).unwrap();
        self.log.publish().unwrap();
        self.log.finish(Outcome::Exited, 0).unwrap();
    }

    pub fn end(self, end: &ProcessEnd) {
        self.log.close(end).unwrap();
    }

    /// Until the clock of the log has moved on.
    pub fn rest(&self) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn write_input(fd: u32, bytes: &[u8]) -> ([u64; 4], Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let ciovec = [
        &u32::try_from(BUFFER).unwrap().to_le_bytes()[..],
        &length,
        bytes,
    ]
    .concat();
    ([fd.into(), 0x100, 1, OUT], ciovec)
}

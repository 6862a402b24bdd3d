//! A guest that makes calls without being one: what the recorder is told of each.

use std::time::Duration;

use timecraft_segment::testing::process_start;
use timecraft_segment::{
    FunctionId, Gap, LogOptions, Outcome, ProcessEnd, ProcessId, ProcessStart, Recorder, Registry,
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
    /// The note of the next call.
    note: String,
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
            note: String::new(),
        }
    }

    pub fn call(
        &mut self,
        name: &str,
        args: &[u64],
        input: &[u8],
        outs: &[(u64, &[u8])],
        result: u64,
    ) {
        self.log.begin(id(name), args).unwrap();
        self.log.input(input);
        self.log.publish().unwrap();
        for (address, bytes) in outs {
            self.log.write(*address, bytes);
        }
        let note = std::mem::take(&mut self.note);
        if !note.is_empty() {
            self.log.note(&note);
        }
        self.log.finish(Outcome::Returned, result).unwrap();
    }

    /// Gives the next call a note.
    pub fn note(&mut self, note: &str) {
        self.note = note.to_owned();
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

    /// Opens a file beneath a directory, for reading and writing.
    pub fn open_at(&mut self, directory: u32, path: &str, oflags: u64, fdflags: u64, fd: u32) {
        const READ_WRITE: u64 = 1 << 1 | 1 << 6;
        let length = path.len() as u64;
        let directory = u64::from(directory);
        let args = [
            directory, 1, 0x200, length, oflags, READ_WRITE, 0, fdflags, OUT,
        ];
        self.call(
            "path_open",
            &args,
            path.as_bytes(),
            &[(OUT, &fd.to_le_bytes())],
            0,
        );
    }

    /// An operation on a path beneath a directory.
    pub fn at(&mut self, name: &str, directory: u32, path: &str, errno: u64) {
        let length = path.len() as u64;
        let args = match name {
            "path_filestat_get" => vec![directory.into(), 0, 0x200, length, OUT],
            _ => vec![directory.into(), 0x200, length],
        };
        self.call(name, &args, path.as_bytes(), &[], errno);
    }

    /// A call that is refused, with the note that says why.
    pub fn refused(&mut self, name: &str, path: &str, errno: u64, note: &str) {
        let args = [3, 0x200, path.len() as u64];
        self.log.begin(id(name), &args).unwrap();
        self.log.input(path.as_bytes());
        self.log.publish().unwrap();
        self.log.note(note);
        self.log.finish(Outcome::Returned, errno).unwrap();
    }

    /// Reads into two vectors.
    pub fn read_apart(&mut self, fd: u32, first: &[u8], second: &[u8]) {
        let vector = |at: u64, bytes: &[u8]| {
            [
                u32::try_from(at).unwrap(),
                u32::try_from(bytes.len()).unwrap(),
            ]
            .map(u32::to_le_bytes)
            .concat()
        };
        let iovecs = [vector(BUFFER, first), vector(BUFFER + 0x800, second)].concat();
        let n = u32::try_from(first.len() + second.len())
            .unwrap()
            .to_le_bytes();
        self.call(
            "fd_read",
            &[u64::from(fd), 0x100, 2, OUT],
            &iovecs,
            &[(BUFFER, first), (BUFFER + 0x800, second), (OUT, &n)],
            0,
        );
    }

    pub fn seek(&mut self, fd: u32, position: u64) {
        let args = [fd.into(), position, 0, OUT];
        self.call("fd_seek", &args, &[], &[(OUT, &position.to_le_bytes())], 0);
    }

    /// A call on a descriptor that has no other arguments.
    pub fn on(&mut self, name: &str, fd: u32, rest: &[u64], errno: u64) {
        let args: Vec<u64> = [u64::from(fd)].iter().chain(rest).copied().collect();
        self.call(name, &args, &[], &[], errno);
    }

    /// Calls were not recorded.
    pub fn gap(&mut self, gap: &Gap) {
        self.log.event(gap).unwrap();
    }

    /// Enough calls for several segments.
    pub fn pass_the_time(&mut self) {
        (0..10_000).for_each(|_| self.clock());
        self.rest();
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

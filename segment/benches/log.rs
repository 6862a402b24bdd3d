//! What the log costs the guest's thread: nanoseconds a record in a burst that fits the tail, against
//! a copy of the same bytes; how many bytes a call takes in the segment; how long a log takes to
//! begin and to end; what a copy of a file costs. `cargo bench -p timecraft-segment --bench log` prints
//! a line for each.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod data;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use data::median;
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Ended, FunctionId, LogOptions, Outcome, ProcessEnd, Recorder, Registry, Sync, function, wasi,
};

const ROUNDS: usize = 9;
/// The length of the file that is copied, in bytes.
const COPY: usize = 64 << 20;

struct Burst {
    name: &'static str,
    calls: usize,
    /// Whether the guest passes the bytes in (`fd_write`) or the host writes them (all else).
    input: usize,
    written: usize,
    function: &'static str,
    args: &'static [u64],
}

const BURSTS: &[Burst] = &[
    Burst {
        name: "clock_time_get",
        calls: 200_000,
        input: 0,
        written: 8,
        function: "clock_time_get",
        args: &[1, 1, 64],
    },
    Burst {
        name: "fd_write of 64 bytes",
        calls: 200_000,
        input: 64,
        written: 4,
        function: "fd_write",
        args: &[1, 0, 1, 64],
    },
    Burst {
        name: "fd_write of 4 KiB",
        calls: 20_000,
        input: 4096,
        written: 4,
        function: "fd_write",
        args: &[1, 0, 1, 64],
    },
];

fn id(name: &str) -> FunctionId {
    function::by_name(wasi::MODULE, name).unwrap().id
}

fn end() -> ProcessEnd {
    ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(0),
        signal: None,
        trap: None,
        stall_ns: 0,
    }
}

fn options() -> LogOptions {
    LogOptions {
        batch_bytes: 64 << 20,
        sync: Sync::None,
        ..LogOptions::default()
    }
}

/// Records the burst; returns nanoseconds a call, and stored bytes a call.
fn record(burst: &Burst) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let start = process_start();
    let mut log = Recorder::create(&registry, &start, &options()).unwrap();
    let input = vec![b'x'; burst.input];
    let function = id(burst.function);
    let pass = |log: &mut Recorder| {
        for i in 0..burst.calls as u64 {
            log.begin(function, burst.args).unwrap();
            if !input.is_empty() {
                log.input(&[0; 8]);
                log.input(&input);
            }
            log.publish().unwrap();
            log.write(64, &(i * 977).to_le_bytes()[..burst.written]);
            log.finish(Outcome::Returned, 0).unwrap();
        }
    };
    // The log touches its pages in the background; a guest that lives longer finds them so.
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    pass(&mut log);
    let elapsed = since.elapsed();
    log.close(&end()).unwrap();
    let stored: u64 = registry
        .snapshot(start.process_id)
        .unwrap()
        .segments()
        .iter()
        .map(|s| s.stored_bytes)
        .sum();
    (
        elapsed.as_nanos() as f64 / burst.calls as f64,
        stored as f64 / burst.calls as f64,
    )
}

/// Copies as many bytes as a record of the burst has into memory that was touched.
fn copy(burst: &Burst) -> f64 {
    let source = vec![1_u8; 112 + burst.input + burst.written];
    let mut target = vec![0_u8; source.len() * burst.calls];
    target.fill(1);
    let since = Instant::now();
    for room in target.chunks_exact_mut(source.len()) {
        room.copy_from_slice(std::hint::black_box(&source));
    }
    std::hint::black_box(&target);
    since.elapsed().as_nanos() as f64 / burst.calls as f64
}

/// The time to begin and to end a log of one call.
fn begin_and_end() -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let since = Instant::now();
    let mut log = Recorder::create(&registry, &process_start(), &LogOptions::default()).unwrap();
    let begun = since.elapsed();
    log.begin(id("sched_yield"), &[]).unwrap();
    log.publish().unwrap();
    log.finish(Outcome::Returned, 0).unwrap();
    let since = Instant::now();
    log.close(&end()).unwrap();
    (begun, since.elapsed())
}

/// Copies a file by 4 KiB, and writes down each read and write where there is a log.
fn copy_file(source: &Path, target: &Path, mut log: Option<Recorder>) -> Duration {
    const PIECE: usize = 4096;
    let (read, write) = (id("fd_read"), id("fd_write"));
    let mut source = File::open(source).unwrap();
    let mut target = File::create(target).unwrap();
    let mut piece = vec![0; PIECE];
    let mut vector = [0; 8];
    vector[4..].copy_from_slice(&(PIECE as u32).to_le_bytes());
    let since = Instant::now();
    loop {
        if let Some(log) = &mut log {
            log.begin(read, &[4, 64, 1, 32]).unwrap();
            log.input(&vector);
            log.publish().unwrap();
        }
        let n = source.read(&mut piece).unwrap();
        let moved = (n as u32).to_le_bytes();
        if let Some(log) = &mut log {
            log.write(4096, &piece[..n]);
            log.write(32, &moved);
            log.finish(Outcome::Returned, 0).unwrap();
        }
        if n == 0 {
            break;
        }
        if let Some(log) = &mut log {
            log.begin(write, &[5, 64, 1, 32]).unwrap();
            log.input(&vector);
            log.input(&piece[..n]);
            log.publish().unwrap();
        }
        target.write_all(&piece[..n]).unwrap();
        if let Some(log) = &mut log {
            log.write(32, &moved);
            log.finish(Outcome::Returned, 0).unwrap();
        }
    }
    if let Some(log) = log {
        log.close(&end()).unwrap();
    }
    since.elapsed()
}

/// A copy that is recorded to the same disk against one that is not, in turn: the ratio of times,
/// and that of the log to what zstd at level 1 makes of the file.
fn copies(name: &str, data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::write(&source, data).unwrap();
    let zstd = zstd::bulk::compress(data, 1).unwrap().len();
    let (mut blind, mut ratios, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = copy_file(&source, &target, None).as_secs_f64();
        let registry = Registry::at(folder.path().join("registry"));
        let start = process_start();
        let log = Recorder::create(&registry, &start, &LogOptions::default()).unwrap();
        let recorded = copy_file(&source, &target, Some(log)).as_secs_f64();
        blind.push(1e3 * alone);
        ratios.push(recorded / alone);
        let snapshot = registry.snapshot(start.process_id).unwrap();
        let bytes: u64 = snapshot.segments().iter().map(|s| s.stored_bytes).sum();
        stored.push(bytes as f64 / zstd as f64);
        std::fs::remove_dir_all(folder.path().join("registry")).unwrap();
    }
    println!(
        "a copy of {} MiB of {name} takes {:.0} ms, recorded {:.2} times that; its log is {:.3} of zstd -1",
        data.len() >> 20,
        median(blind),
        median(ratios),
        median(stored),
    );
}

fn main() {
    println!(
        "{:<24} {:>10} {:>10} {:>14}",
        "burst", "ns a call", "ns to copy", "bytes stored"
    );
    for burst in BURSTS {
        let rounds: Vec<((f64, f64), f64)> =
            (0..ROUNDS).map(|_| (record(burst), copy(burst))).collect();
        println!(
            "{:<24} {:>10.1} {:>10.1} {:>14.2}",
            burst.name,
            median(rounds.iter().map(|r| r.0.0).collect()),
            median(rounds.iter().map(|r| r.1).collect()),
            median(rounds.iter().map(|r| r.0.1).collect()),
        );
    }
    let rounds: Vec<(Duration, Duration)> = (0..ROUNDS).map(|_| begin_and_end()).collect();
    println!(
        "a log begins in {:.0} us and ends in {:.0} us",
        median(rounds.iter().map(|r| r.0.as_secs_f64() * 1e6).collect()),
        median(rounds.iter().map(|r| r.1.as_secs_f64() * 1e6).collect()),
    );
    copies("source code", &data::text(COPY));
    copies("noise", &data::noise(COPY));
    let clock = {
        let since = Instant::now();
        for _ in 0..1_000_000 {
            std::hint::black_box(Instant::now());
        }
        since.elapsed().as_nanos() as f64 / 1e6
    };
    println!("reading the clock takes {clock:.1} ns; a record reads it twice");
}

//! How fast SQL reads a log in place, on one core: records a second of queries over ten million calls,
//! and the memory that takes. `cargo bench -p timecraft-query`; `CALLS=...` changes how many.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::num::NonZeroUsize;
use std::time::Instant;

use futures::StreamExt;
use timecraft_query::{Session, SessionOptions};
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Ended, LogOptions, Outcome, ProcessEnd, Recorder, Registry, Sync, function, wasi,
};

const ROUNDS: usize = 5;

const QUERIES: &[&str] = &[
    "select function, count(*), sum(bytes) from host_calls group by function",
    "select count(*) from host_calls where function = 'fd_write' and fd = 1",
    "select max(duration_ns), sum(elapsed_ns) from host_calls where errno = 0",
    "select count(args) from host_calls where record_offset < 100000",
];

/// A log like a busy program's: clock readings, reads and small writes.
fn record(registry: &Registry, calls: u64) -> u64 {
    let id = |name| function::by_name(wasi::MODULE, name).unwrap().id;
    let (clock, read, write) = (id("clock_time_get"), id("fd_read"), id("fd_write"));
    let start = process_start();
    let options = LogOptions {
        sync: Sync::None,
        ..LogOptions::default()
    };
    let mut log = Recorder::create(registry, &start, &options).unwrap();
    let line = b"GET /index.html 200 1.2ms and some more text of a log\n";
    for i in 0..calls {
        match i % 4 {
            0 | 1 => {
                log.begin(clock, &[1, 1, 64]).unwrap();
                log.publish().unwrap();
                log.write(64, &(i * 131).to_le_bytes());
            }
            2 => {
                log.begin(read, &[4, 128, 1, 64]).unwrap();
                log.input(&[0; 8]);
                log.publish().unwrap();
                log.write(4096, &line[..32]);
                log.write(64, &32_u32.to_le_bytes());
            }
            _ => {
                log.begin(write, &[1, 128, 1, 64]).unwrap();
                log.input(&[0; 8]);
                log.input(line);
                log.publish().unwrap();
                log.write(64, &(line.len() as u32).to_le_bytes());
            }
        }
        log.finish(Outcome::Returned, 0).unwrap();
    }
    let end = ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(0),
        signal: None,
        trap: None,
        stall_ns: 0,
    };
    log.close(&end).unwrap();
    let snapshot = registry.snapshot(start.process_id).unwrap();
    snapshot.segments().iter().map(|s| s.stored_bytes).sum()
}

async fn run(session: &Session, query: &str) -> f64 {
    let since = Instant::now();
    let mut rows = session
        .context()
        .sql(query)
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    while let Some(batch) = rows.next().await {
        std::hint::black_box(batch.unwrap());
    }
    since.elapsed().as_secs_f64()
}

/// The most memory this process has held, in MiB (`VmHWM` of proc(5)).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn main() {
    let calls: u64 = std::env::var("CALLS").map_or(10_000_000, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let stored = record(&registry, calls);
    println!("a log of {calls} calls in {} MiB", stored >> 20);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let mut options = SessionOptions::new(registry);
    options.target_partitions = Some(NonZeroUsize::MIN);
    println!("| query | million records a second a core |");
    println!("|---|---|");
    for query in QUERIES {
        let session = Session::new(options.clone()).unwrap();
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| runtime.block_on(run(&session, query)))
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "| `{query}` | {:.1} |",
            calls as f64 / times[ROUNDS / 2] / 1e6
        );
    }
    println!("peak memory: {} MiB", peak_memory());
}

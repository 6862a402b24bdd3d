//! What recording adds to a host call, in nanoseconds: the guest `calls` in bursts that fit the tail,
//! recorded and blind in turn, and the median of the pairs. `cargo bench -p timecraft-runtime`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;

use timecraft_runtime::wasi::Directory;
use timecraft_runtime::{Interrupter, Options, Recording, Source, run};
use timecraft_segment::options::LogOptions;
use timecraft_segment::registry::Registry;

const ROUNDS: usize = 41;

/// A kind of call, how many make a burst that fits a buffer of the tail, and the goal for what recording adds, in nanoseconds.
const BURSTS: [(&str, u64, f64); 3] = [
    ("clock", 60_000, 50.0),
    ("write64", 35_000, 80.0),
    ("write4k", 1_800, 500.0),
];

struct Run {
    ns_a_call: f64,
    stored_a_call: f64,
}

fn burst(source: &Source, kind: &str, calls: u64, recorded: bool) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path().join("registry"));
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let guest_time = |calls: u64| {
        let mut options = Options::new(source, Interrupter::new().unwrap());
        let count = calls.to_string();
        options.args = ["calls", kind, &count, "/data/out"]
            .map(|a| a.as_bytes().to_vec())
            .to_vec();
        options.directories = vec![Directory {
            host: data.clone(),
            guest: "/data".to_owned(),
            read_only: false,
        }];
        options.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"));
        options.recording = recorded.then(|| Recording {
            registry: &registry,
            // A burst fits one buffer, so that the packer does not work beside it.
            log: LogOptions {
                batch_bytes: 8 << 20,
                ..LogOptions::default()
            },
            name: None,
            labels: Default::default(),
            // The log touches its pages in the background, which a guest of this bench would outrun.
            on_start: Some(Box::new(|_| {
                std::thread::sleep(std::time::Duration::from_millis(100))
            })),
        });
        let report = run(options).unwrap();
        let stored: u64 = report.process_id.map_or(0, |id| {
            registry
                .snapshot(id)
                .unwrap()
                .segments()
                .iter()
                .map(|s| s.stored_bytes)
                .sum()
        });
        (report.guest_time.as_nanos() as f64, stored as f64)
    };
    let (time, stored) = guest_time(calls);
    let (time_0, stored_0) = guest_time(0);
    let calls = calls as f64;
    Run {
        ns_a_call: (time - time_0) / calls,
        stored_a_call: (stored - stored_0) / calls,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/guests");
    let source = Source::read(&guests.join("calls.wasm")).unwrap();
    println!("| call | blind, ns | recorded, ns | added, ns | goal, ns | stored bytes a call |");
    println!("|---|---|---|---|---|---|");
    for (kind, calls, goal) in BURSTS {
        let pairs: Vec<(Run, Run)> = (0..ROUNDS)
            .map(|_| {
                (
                    burst(&source, kind, calls, false),
                    burst(&source, kind, calls, true),
                )
            })
            .collect();
        println!(
            "| {kind} | {:.0} | {:.0} | {:.0} | {goal:.0} | {:.2} |",
            median(pairs.iter().map(|p| p.0.ns_a_call).collect()),
            median(pairs.iter().map(|p| p.1.ns_a_call).collect()),
            median(
                pairs
                    .iter()
                    .map(|p| p.1.ns_a_call - p.0.ns_a_call)
                    .collect()
            ),
            median(pairs.iter().map(|p| p.1.stored_a_call).collect()),
        );
    }
}

//! What a `poll_oneoff` over many connections costs when one of them has something to say, in nanoseconds
//! a call: blind and recorded in turn, and the median. `cargo bench -p timecraft-runtime --bench poll`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use timecraft_runtime::network::{Network, Rules};
use timecraft_runtime::{End, Interrupter, Options, Recording, Source, run};
use timecraft_segment::options::LogOptions;
use timecraft_segment::registry::Registry;

const ROUNDS: usize = 11;
const CALLS: u64 = 2_000;

/// A guest that connects `connections` times, and then polls all of them `calls` times for something to
/// read. The subscriptions, 48 bytes each, begin in its second page, and the events in its fourth.
fn guest(connections: u64, calls: u64, port: u16) -> Source {
    let wat = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_connect" (func $connect (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (data (i32.const 16) "\7f\00\00\01")
  (data (i32.const 24) "\10\00\00\00\04\00\00\00")
  (func $ok (param i32) (if (local.get 0) (then unreachable)))
  (func (export "_start") (local $i i32) (local $at i32)
    (local.set $at (i32.const 65536))
    (loop $more
      (call $ok (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
      (call $ok (call $connect (i32.load (i32.const 0)) (i32.const 24) (i32.const {port})))
      (i32.store8 (i32.add (local.get $at) (i32.const 8)) (i32.const 1))
      (i32.store (i32.add (local.get $at) (i32.const 16)) (i32.load (i32.const 0)))
      (local.set $at (i32.add (local.get $at) (i32.const 48)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const {connections}))))
    (local.set $i (i32.const {calls}))
    (loop $again
      (if (i32.eqz (local.get $i)) (then (return)))
      (call $ok (call $poll (i32.const 65536) (i32.const 196608) (i32.const {connections}) (i32.const 8)))
      (call $ok (i32.ne (i32.load (i32.const 8)) (i32.const 1)))
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (br $again))))"#
    );
    Source {
        name: "poll.wat".to_owned(),
        bytes: wat.into_bytes(),
    }
}

fn guest_time(connections: u64, calls: u64, recorded: bool) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = thread::spawn(move || {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(listener.accept().unwrap().0);
            if let [first] = &mut streams[..] {
                // It stays readable, since the guest never reads it.
                first.write_all(b"x").unwrap();
            }
        }
        streams
    });
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path().join("registry"));
    let source = guest(connections, calls, port);
    let mut options = Options::new(&source, Interrupter::new().unwrap());
    options.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"));
    options.limits.open_files = Some(2_000);
    options.network = Network {
        rules: Rules::default(),
        ..Network::default()
    };
    options.recording = recorded.then(|| Recording {
        registry: &registry,
        log: LogOptions::default(),
        name: None,
        labels: Default::default(),
        on_start: None,
    });
    let report = run(options).unwrap();
    assert_eq!(report.end, End::Exit(0));
    drop(accepting.join().unwrap());
    report.guest_time
}

fn ns_a_call(connections: u64, recorded: bool) -> f64 {
    let with = guest_time(connections, CALLS, recorded);
    let without = guest_time(connections, 0, recorded);
    (with.as_nanos() as f64 - without.as_nanos() as f64) / CALLS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!("| connections | blind, ns a call | recorded, ns a call |");
    println!("|---|---|---|");
    for connections in [1, 10, 100, 1_000] {
        let pairs: Vec<_> = (0..ROUNDS)
            .map(|_| (ns_a_call(connections, false), ns_a_call(connections, true)))
            .collect();
        println!(
            "| {connections} | {:.0} | {:.0} |",
            median(pairs.iter().map(|p| p.0).collect()),
            median(pairs.iter().map(|p| p.1).collect()),
        );
    }
}

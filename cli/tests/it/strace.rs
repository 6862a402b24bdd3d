//! What SQL says a guest did, against what the guest says, what a trace shows, and what came out.

use std::collections::BTreeMap;

use crate::support::{Dir, guest};

/// Counts of functions, as CSV says them.
fn counts(csv: &str) -> BTreeMap<String, u64> {
    csv.lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .map(|(function, count)| (function.to_owned(), count.parse().unwrap()))
        .collect()
}

const COUNTS: &str = "select function, count(*) from host_calls group by function";

#[test]
fn sql_counts_what_the_guest_and_the_trace_count() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    let calls = guest("calls.wasm");
    let said = dir
        .cmd(["run", "--trace", "--dir", "data::/data"])
        .arg(&calls)
        .args(["mixed", "999", "/data/out"])
        .assert(0);
    let csv = dir.cmd(["sql", "--format", "csv", COUNTS]).assert(0);
    let counted = counts(csv.out());

    // The guest's own count is the last line it wrote: NAME=COUNT for each kind of call.
    let summary = said
        .stderr
        .lines()
        .find(|l| l.starts_with("clock_time_get="))
        .unwrap();
    for part in summary.split(' ') {
        let (name, count) = part.split_once('=').unwrap();
        // Writing that line is one more.
        let own = u64::from(name == "fd_write");
        match name {
            "bytes_written" => {
                let bytes =
                    "select sum(bytes) from host_calls where function = 'fd_write' and fd > 2";
                let said = dir.cmd(["sql", "--format", "csv", bytes]).assert(0);
                assert_eq!(said.out().lines().nth(1), Some(count));
            }
            _ => assert_eq!(counted[name], count.parse::<u64>().unwrap() + own, "{name}"),
        }
    }

    // The trace has a line for each call: time, the call, its result, its duration.
    let mut traced: BTreeMap<String, u64> = BTreeMap::new();
    for line in said
        .stderr
        .lines()
        .filter(|l| l.starts_with(' ') && l.ends_with('>'))
    {
        let call = line.split_whitespace().nth(1).unwrap();
        let (name, _) = call.split_once('(').unwrap();
        *traced.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(traced, counted);
}

#[test]
fn log_lines_are_the_lines_that_came_out() {
    let dir = Dir::new();
    for i in 0..300 {
        dir.create(&format!("data/{i:03}/file.txt"), "x".repeat(i));
    }
    let said = dir
        .cmd([
            "run",
            "--record-batch-size",
            "4KiB",
            "--dir",
            "data::/data:ro",
        ])
        .arg(guest("tree.wasm"))
        .arg("/data")
        .assert(0);
    let query = "select text from log_lines where stream = 'stdout' order by line";
    let lines = dir.cmd(["sql", "--format", "tsv", query]).assert(0);
    let recorded: Vec<&str> = lines.out().lines().skip(1).collect();
    let printed: Vec<&str> = said.out().lines().collect();
    assert!(printed.len() > 600);
    assert_eq!(recorded, printed);
}

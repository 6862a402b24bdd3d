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

/// What a run makes beside the calls that it was asked for stands in the guest's source, and the
/// records that are no calls are three: the start, the call of the entry function, the end.
#[test]
fn every_call_of_a_guest_is_accounted_for() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    dir.cmd(["run", "--dir", "data::/data"])
        .arg(guest("calls.wasm"))
        .args(["mixed", "999", "/data/out"])
        .assert(0);
    let csv = dir.cmd(["sql", "--format", "csv", COUNTS]).assert(0);
    let expected = [
        ("args_get", 1),
        ("args_sizes_get", 1),
        ("clock_time_get", 333),
        ("fd_fdstat_get", 1),
        ("fd_prestat_dir_name", 1),
        ("fd_prestat_get", 2),
        ("fd_write", 333 + 1),
        ("path_open", 1),
        ("random_get", 333),
    ];
    let expected = BTreeMap::from(expected.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!(counts(csv.out()), expected);
    let records: u64 = expected.values().sum::<u64>() + 3;
    let recorded = dir.query("select records from processes");
    assert_eq!(recorded, [[records.to_string()]]);
}

/// A call as a trace has it: its function, and its error.
fn traced(line: &str) -> (String, String) {
    let call = line.trim_start().split_once(' ').unwrap().1;
    let (function, rest) = call.split_once('(').unwrap();
    // The result stands after the arguments, in which a text may hold anything.
    let (_, result) = rest.rsplit_once(") = ").unwrap_or_default();
    let mut words = result.split(' ');
    let error = match words.next() {
        Some("0") | None => "",
        Some(_) => words.next().unwrap_or_default(),
    };
    (function.to_owned(), error.to_owned())
}

/// Of a guest that makes calls of all kinds, and many that fail: each call, in order, with its error.
#[test]
fn the_trace_and_the_table_have_the_same_calls() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("d")).unwrap();
    let said = dir
        .cmd(["run", "-T", "--dir", "d::/d"])
        .arg(guest("paths.wasm"))
        .arg("/d")
        .assert(0);
    let lines = said.stderr.lines().filter(|l| l.starts_with(' '));
    let traced: Vec<_> = lines.map(traced).collect();
    let recorded = dir.query("select function, error from host_calls order by record_offset");
    let recorded: Vec<_> = recorded
        .into_iter()
        .map(|row| <[String; 2]>::try_from(row).unwrap().into())
        .collect();
    assert!(recorded.len() > 150, "{}", recorded.len());
    assert_eq!(traced, recorded);
}

/// Both streams, and a last line without its end.
#[test]
fn streams_are_told_apart() {
    let dir = Dir::new();
    dir.create("d/f", "one\ntwo");
    dir.cmd(["run", "--dir", "d"])
        .arg(guest("cat.wasm"))
        .args(["d/f", "d/absent"])
        .assert(1);
    assert_eq!(
        dir.query("select stream, line, text from log_lines order by stream desc, line"),
        [
            ["stdout", "1", "one"],
            ["stdout", "2", "two"],
            ["stderr", "1", "cat: d/absent: No such file or directory"],
        ]
    );
}

//! Guests that still run, and guests whose host was killed.

use std::io::BufReader;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Dir, guest, signal, wait_for};

fn sql(dir: &Dir, query: &str) -> String {
    let said = dir.cmd(["sql", "--format", "csv", query]).assert(0);
    said.out().lines().nth(1).unwrap_or_default().to_owned()
}

/// Offsets are those of host calls and of three events: start, invocation, end.
const LOOK: &str = "select count(*), count(distinct record_offset), min(record_offset), \
    max(record_offset) - count(*) + 1 from host_calls";

/// Queries the calls of a guest over and over while it makes them, in a tail of 64 KiB buffers that is
/// recycled under the readers. No answer may have a gap or an offset twice.
fn every_answer_is_whole(calls: u64) {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    let mut child = dir
        .cmd([
            "run",
            "--record-batch-size",
            "64KiB",
            "--dir",
            "data::/data",
        ])
        .arg(guest("calls.wasm"))
        .args(["mixed", &calls.to_string(), "/data/out"])
        .spawn();
    wait_for(child.stderr.as_mut().unwrap(), "\n");
    let (mut answers, mut last) = (0, 0);
    let mut running = true;
    while running || answers == 0 {
        running = child.try_wait().unwrap().is_none();
        let answer = sql(&dir, LOOK);
        let [count, distinct, first, events]: [u64; 4] = answer
            .split(',')
            .map(|n| n.parse().unwrap())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert_eq!(count, distinct, "an offset twice: {answer}");
        // Start and invocation come before the first call, and nothing else between calls.
        assert_eq!((first, events), (2, 2), "a gap: {answer}");
        assert!(count >= last, "{count} after {last}");
        (answers, last) = (answers + 1, count);
    }
    assert!(child.wait().unwrap().success());
    assert!(answers >= 2, "{answers} answers");
    assert!(last > calls);
}

#[test]
fn every_answer_about_a_running_guest_is_whole() {
    every_answer_is_whole(200_000);
}

#[test]
#[ignore = "soak: a million calls"]
fn soak_every_answer_about_a_million_calls_is_whole() {
    every_answer_is_whole(1_000_000);
}

#[test]
fn a_guest_that_waits_is_seen_in_its_call() {
    let dir = Dir::new();
    let mut child = dir.cmd(["run"]).arg(guest("sleep.wasm")).spawn();
    wait_for(
        &mut BufReader::new(child.stdout.take().unwrap()),
        "sleeping\n",
    );
    assert_eq!(sql(&dir, "select status from processes"), "running");
    // The guest says so before it sleeps.
    let last = "select function, outcome from host_calls order by record_offset desc limit 1";
    while sql(&dir, last) != "poll_oneoff,in flight" {
        std::thread::yield_now();
    }
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(
        sql(&dir, "select status, signal from processes"),
        "killed,15"
    );
    assert_eq!(sql(&dir, last), "poll_oneoff,interrupted");
}

#[test]
fn a_killed_host_leaves_every_call_that_was_seen() {
    let dir = Dir::new();
    let numbers = dir.path("numbers");
    let out = std::fs::File::create(&numbers).unwrap();
    let mut child = dir
        .cmd(["run", "--record-batch-size", "64KiB"])
        .arg(guest("witness.wasm"))
        .arg("100000000")
        .stdout(out)
        .spawn();
    // The guest numbers its calls into a file, and is killed in the middle of that.
    while std::fs::metadata(&numbers).map_or(0, |m| m.len()) < 300_000 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sql(&dir, "select status from processes"), "lost");
    let witnessed = lines(&numbers);
    let calls = "select count(*) from host_calls where function = 'fd_write'";
    let recorded: u64 = sql(&dir, calls).parse().unwrap();
    assert!(
        recorded >= witnessed,
        "{witnessed} calls were seen, {recorded} recorded"
    );
    // At most the one that was in flight is beyond what was seen.
    assert!(
        recorded <= witnessed + 1,
        "{witnessed} calls were seen, {recorded} recorded"
    );
}

fn lines(path: &Path) -> u64 {
    let text = std::fs::read(path).unwrap();
    text.iter().filter(|&&b| b == b'\n').count() as u64
}

//! Recordings that cannot go on: a host that is killed at its steps, a disk that fails, a limit. Debug
//! builds meet the fault that `TIMECRAFT_FAULT` names (`segment/src/fault.rs`); the walk through every
//! step, with readers, is segment's own.

use crate::snapshot_text;
use crate::support::{Dir, Said, guest};

const COUNT: u64 = 2000;

/// Runs a guest that numbers its calls, with small buffers, its output into a pipe.
fn witness(dir: &Dir, fault: &str, args: &[&str]) -> Said {
    let script = "\"$0\" \"$@\" | cat > numbers; exit 0";
    dir.shell(script)
        .args(["run", "--record-batch-size", "16KiB"])
        .args(args)
        .arg(guest("witness.wasm"))
        .arg(COUNT.to_string())
        .env("TIMECRAFT_FAULT", fault)
        .assert(0)
}

/// What was said on standard error, by the binary itself.
fn without_faults(said: &Said) -> String {
    let transcript = said.transcript();
    let (_, stderr) = transcript.split_once("-- stderr\n").unwrap();
    let lines = stderr.lines().filter(|line| !line.starts_with("fault: "));
    lines.map(|line| format!("{line}\n")).collect()
}

fn numbers(dir: &Dir) -> u64 {
    dir.read("numbers").lines().count() as u64
}

fn one(dir: &Dir, query: &str) -> Vec<String> {
    let mut rows = dir.query(query);
    assert_eq!(rows.len(), 1, "{query}");
    rows.remove(0)
}

/// What of the calls is recorded: how many returned, how many are in flight, and how many numbers
/// stand in a line that is not theirs.
const CALLS: &str = "select count(*) filter (where outcome = 'returned'), \
    count(*) filter (where outcome = 'in flight') from host_calls where function = 'fd_write'";

#[test]
fn a_host_killed_at_its_steps_has_every_call_that_was_seen() {
    let mut step = 1;
    let mut died = 0;
    loop {
        let dir = Dir::new();
        let said = witness(&dir, &format!("kill:{step}"), &[]);
        if !said.stderr.contains("fault: killed") {
            break;
        }
        died += 1;
        let seen = numbers(&dir);
        let rows = dir.query("select status, exit_code from processes");
        // Before its first segment there is no log, and no call.
        if rows.is_empty() {
            assert_eq!(seen, 0, "step {step}");
        } else {
            let status = rows[0][0].as_str();
            assert!(
                status == "lost" || seen == COUNT && status == "exited",
                "step {step}: {rows:?}"
            );
            let calls = one(&dir, CALLS);
            let (returned, in_flight): (u64, u64) =
                (calls[0].parse().unwrap(), calls[1].parse().unwrap());
            assert!(in_flight <= 1, "step {step}");
            assert!(
                (returned..=returned + in_flight).contains(&seen),
                "step {step}: {seen} of {returned} and {in_flight}"
            );
            let misplaced = "select count(*) from log_lines where text <> (line - 1)::text";
            assert_eq!(one(&dir, misplaced), ["0"], "step {step}");
            // The first query has sealed it.
            let sealed = "select count(*) from segments where state <> 'sealed'";
            assert_eq!(one(&dir, sealed), ["0"], "step {step}");
        }
        step += step / 2 + 1;
    }
    assert!(died > 15, "{died}");
}

/// All that the guest printed is recorded. The call at which it was stopped may be in flight: it was
/// written down, and then not made.
fn check_stopped(dir: &Dir, said: &Said) {
    let calls = one(dir, CALLS);
    assert_eq!(calls[0], said.out().lines().count().to_string());
    assert!(["0", "1"].contains(&calls[1].as_str()), "{calls:?}");
}

#[test]
fn a_full_disk_ends_the_guest_and_what_was_recorded_stays() {
    let dir = Dir::new();
    let said = dir
        .cmd(["run", "--record-batch-size", "16KiB"])
        .arg(guest("witness.wasm"))
        .arg("100000")
        .env("TIMECRAFT_FAULT", "enospc:20..")
        .assert(125);
    snapshot_text!("full-disk", without_faults(&said));
    check_stopped(&dir, &said);
    let end = one(&dir, "select status, exit_code, trap from processes");
    assert_eq!(end[..2], ["killed", ""]);
    assert!(end[2].starts_with("stopped: "), "{end:?}");
}

#[test]
fn a_guest_may_go_on_without_its_recording_and_the_gap_is_a_row() {
    let dir = Dir::new();
    let said = witness(&dir, "enospc:12..60", &["--on-record-failure", "continue"]);
    assert!(said.stderr.contains("warning: "), "{}", said.stderr);
    assert!(
        said.stderr
            .contains(" calls of the guest were not recorded: ")
    );
    assert_eq!(numbers(&dir), COUNT);
    let gaps = "select count(*) > 0, sum(calls)::bigint, bool_and(duration_ns > 0), \
        bool_and(reason like '%No space left on device%') from system.gaps";
    let gaps = one(&dir, gaps);
    assert_eq!(
        (gaps[0].as_str(), gaps[2].as_str(), gaps[3].as_str()),
        ("true", "true", "true")
    );
    let calls = "select count(*) from host_calls where function = 'fd_write'";
    let recorded: u64 = one(&dir, calls)[0].parse().unwrap();
    let lost: u64 = gaps[1].parse().unwrap();
    // The guest has two more calls than lines at most: it looks at what its output is.
    assert!(
        (COUNT..COUNT + 3).contains(&(recorded + lost)),
        "{recorded} and {lost}"
    );
    let end = one(&dir, "select status, exit_code from processes");
    assert_eq!(end, ["exited", "0"]);
}

#[test]
fn a_recording_has_a_limit() {
    let dir = Dir::new();
    dir.cmd(["run", "--max-log-bytes", "100KiB", "m.wasm"])
        .assert(2);
    let said = dir
        .cmd(["run", "--max-log-bytes", "256KiB"])
        .args(["--record-compression", "none"])
        .arg(guest("witness.wasm"))
        .arg("1000000")
        .assert(125);
    snapshot_text!("full-log", without_faults(&said));
    let stored = "select sum(stored_bytes) <= 262144, count(*) filter (where state <> 'sealed') from segments";
    assert_eq!(one(&dir, stored), ["true", "0"]);
    check_stopped(&dir, &said);

    let said = dir
        .cmd([
            "run",
            "--max-log-bytes",
            "256KiB",
            "--on-record-failure",
            "continue",
        ])
        .args(["--record-compression", "none", "--name", "on"])
        .arg(guest("witness.wasm"))
        .arg("100000")
        .assert(0);
    assert_eq!(said.out().lines().count(), 100_000);
    let gap = "select reason from system.gaps join processes using (process_id) where name = 'on'";
    let gap = one(&dir, gap);
    assert!(
        gap[0].ends_with("has reached its limit of 262144 bytes"),
        "{gap:?}"
    );
}

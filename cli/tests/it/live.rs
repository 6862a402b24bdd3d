//! Guests that still run, and guests whose host was killed.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Dir, ended, guest, signal, wait_for};

fn sql(dir: &Dir, query: &str) -> String {
    let said = dir.cmd(["sql", "--format", "csv", query]).assert(0);
    said.out().lines().nth(1).unwrap_or_default().to_owned()
}

/// One answer to [`every_answer_is_whole`].
#[derive(Debug)]
struct Answer {
    count: u64,
    distinct: u64,
    first: u64,
    last: u64,
    writes: u64,
    records: u64,
    status: String,
}

fn ask(dir: &Dir, process_id: &str) -> Answer {
    let rows = dir.query(&format!(
        "select count(*), count(distinct record_offset), min(record_offset), max(record_offset), \
         count(*) filter (where function = 'fd_write'), max(p.records), max(p.status) \
         from host_calls join processes p using (process_id) where p.process_id = '{process_id}'"
    ));
    let number = |column: usize| rows[0][column].parse().unwrap();
    Answer {
        count: number(0),
        distinct: number(1),
        first: number(2),
        last: number(3),
        writes: number(4),
        records: number(5),
        status: rows[0][6].clone(),
    }
}

/// Queries that run while the guest fills and refills the tail: each sees every call exactly once.
///
/// The process's start and the call of its entry function are records 0 and 1 and no calls, and
/// nothing that is no call comes before its end. So the calls are 2, 3, 4 and so on: an answer
/// without gaps and duplicates counts as many offsets as there are from its first to its last.
///
/// The output is read a piece for each answer. So the guest runs on while a query does, and still
/// there are `PIECES` answers or nearly, however fast it is.
fn every_answer_is_whole(count: u64) {
    const PIECES: u64 = 16;
    const AHEAD: u64 = 3;
    /// What `calls` writes at once.
    const WRITE: u64 = 64;
    let dir = Dir::new();
    let mut child = dir
        .cmd(["run", "--record-batch-size", "64KiB", "--id-file", "id"])
        .arg(guest("calls.wasm"))
        .args(["mixed", &count.to_string()])
        .spawn();
    let piece = usize::try_from(count / 3 * WRITE / PIECES).unwrap();
    let mut out = child.stdout.take().unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let (answered, next) = mpsc::channel();
    (0..AHEAD).for_each(|_| answered.send(()).unwrap());
    let reader = {
        let read = Arc::clone(&read);
        thread::spawn(move || {
            let mut bytes = vec![0; 16 << 10];
            let mut allowed = 0;
            loop {
                if allowed == 0 {
                    // When there are no more answers, the rest is read at once.
                    allowed = next.recv().map_or(usize::MAX, |()| piece);
                }
                let most = allowed.min(bytes.len());
                match out.read(&mut bytes[..most]).unwrap() {
                    0 => break,
                    got => {
                        allowed -= got;
                        read.fetch_add(u64::try_from(got).unwrap(), Ordering::SeqCst);
                    }
                }
            }
        })
    };
    // Once a byte has come, the id has been written.
    while read.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let id = dir.read("id").trim().to_owned();
    let mut before = 0;
    let mut answers = 0;
    loop {
        let writes = read.load(Ordering::SeqCst) / WRITE;
        let answer = ask(&dir, &id);
        assert_eq!(answer.first, 2, "{answer:?}");
        assert_eq!(answer.distinct, answer.count, "{answer:?}");
        assert_eq!(answer.count, answer.last - answer.first + 1, "{answer:?}");
        assert!(answer.count >= before, "{before} calls, then {answer:?}");
        assert!(answer.writes >= writes, "{writes} were seen: {answer:?}");
        before = answer.count;
        if answer.status != "running" {
            assert_eq!(answer.status, "exited");
            assert_eq!(answer.records, answer.count + 3, "{answer:?}");
            // Libc's three, and the summary.
            assert_eq!(answer.count, count + 4, "{answer:?}");
            break;
        }
        // Both tables are of one moment. The end is a record before the log is sealed.
        let all = answer.count == count + 4;
        let events = answer.records - answer.count;
        assert!(events == 2 || all && events == 3, "{answer:?}");
        answers += 1;
        let _ = answered.send(());
    }
    assert!(answers >= 10, "only {answers} answers while it ran");
    drop(answered);
    reader.join().unwrap();
    assert_eq!(ended(child), Some(0));
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
    let deadline = Instant::now() + Duration::from_secs(60);
    while sql(&dir, last) != "poll_oneoff,in flight" {
        assert!(Instant::now() < deadline, "{}", sql(&dir, last));
    }
    signal(&child, Signal::TERM);
    assert_eq!(ended(child), Some(143));
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
        thread::yield_now();
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
    // Line N says N - 1: none is missing, and none stands in the place of another. Of a call in
    // flight nobody knows whether it printed.
    let numbered = "select bool_and(text::bigint = line - 1), max(line) - count(*), count(*) + \
         (select count(*) from host_calls where outcome = 'in flight') from log_lines";
    assert_eq!(sql(&dir, numbered), format!("true,0,{recorded}"));
}

/// A guest that makes no calls when its host is killed.
#[test]
fn a_killed_host_of_a_busy_loop_is_lost() {
    let dir = Dir::new();
    let mut child = dir.cmd(["run"]).arg(guest("spin.wasm")).spawn();
    wait_for(child.stdout.as_mut().unwrap(), "spinning\n");
    signal(&child, Signal::KILL);
    assert_eq!(ended(child), None);
    // Its host may have been killed before it had written down that the call was over.
    let query = "select status, exit_code, signal, bytes from processes \
                 join host_calls using (process_id) where function = 'fd_write'";
    let end = sql(&dir, query);
    assert!(matches!(end.as_str(), "lost,,,9" | "lost,,,"), "{end}");
}

fn lines(path: &Path) -> u64 {
    let text = std::fs::read(path).unwrap();
    text.iter().filter(|&&b| b == b'\n').count() as u64
}

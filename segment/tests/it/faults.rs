//! Logs whose writer is killed, and logs whose disk fails, at each step in turn.
//!
//! A child writes a log of calls that carry their numbers, and says each number outside the log too,
//! in the *witness*: `e 7` when call 7 has had its effect, `r 7` when it has returned to the guest.
//! `TIMECRAFT_FAULT` has the child meet a fault at its Nth step (`src/fault.rs`); N goes up until a
//! child ends without having met it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timecraft_segment::recovery::Sealing;
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Ended, Error, FunctionId, Gap, LogOptions, LogState, OnFailure, Outcome, ProcessEnd, ProcessId,
    Projection, Recorder, Registry, Snapshot, Sync, TailStorage, describe,
};

use crate::support::{copy_folder, exited, id, small};

const CALLS: u64 = 40;
/// The child's log failed, and it stopped.
const STOPPED: i32 = 3;
/// The child could not begin its log.
const NOT_BEGUN: i32 = 4;

/// What a child is to do.
#[derive(Clone, Copy)]
struct Plan<'a> {
    /// How many calls it makes.
    calls: u64,
    on_failure: OnFailure,
    tail: TailStorage,
    sync: Sync,
    /// The size of a buffer.
    batch_bytes: usize,
    fault: Option<&'a str>,
}

const PLAN: Plan<'_> = Plan {
    calls: CALLS,
    on_failure: OnFailure::Stop,
    tail: TailStorage::Auto,
    sync: Sync::None,
    batch_bytes: 4096,
    fault: None,
};

struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Run {
        Run {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn registry(&self) -> Registry {
        Registry::at(self.folder.path().join("registry"))
    }

    /// What the child said on standard error.
    fn said_path(&self) -> PathBuf {
        self.folder.path().join("said")
    }

    /// Whether the child met the fault that it was to meet.
    fn met_fault(&self) -> bool {
        std::fs::read_to_string(self.said_path())
            .unwrap()
            .contains("fault: ")
    }

    fn witness_path(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    fn command(&self, test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env("CHILD_FOLDER", self.folder.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.said_path()).unwrap());
        command
    }

    fn start(&self, plan: Plan<'_>) -> Child {
        let mut command = self.command("faults::child_writes_a_log");
        command
            .env("CHILD_CALLS", plan.calls.to_string())
            .env("CHILD_CONTINUES", (plan.on_failure as u8).to_string())
            .env("CHILD_WRITES_TAIL", (plan.tail as u8).to_string())
            .env("CHILD_SYNC", (plan.sync as u8).to_string())
            .env("CHILD_BATCH_BYTES", plan.batch_bytes.to_string());
        if let Some(fault) = plan.fault {
            command.env("TIMECRAFT_FAULT", fault);
        }
        command.spawn().unwrap()
    }

    /// Waits for the child while a reader reads; returns its exit code, none if it was killed.
    fn watch(&self, mut child: Child) -> Option<i32> {
        let done = AtomicBool::new(false);
        let registry = self.registry();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for id in registry.process_ids().unwrap() {
                        let seen = registry.snapshot(id).and_then(|s| try_numbers(&s));
                        // A log that could not be begun goes away.
                        if let Err(error) = seen
                            && registry.process_folder(id).exists()
                        {
                            assert!(matches!(error, Error::NoLog { .. }), "{error}");
                        }
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let status = child.wait().unwrap();
            done.store(true, Ordering::Relaxed);
            let said = std::fs::read_to_string(self.said_path()).unwrap();
            assert!(!said.contains("panicked"), "{said}");
            assert!(
                status.code().is_some() || status.signal() == Some(9),
                "{status}"
            );
            status.code()
        })
    }

    fn witnessed(&self) -> Witness {
        let text = std::fs::read_to_string(self.witness_path()).unwrap_or_default();
        let of = |kind: &str| {
            let lines = text.lines().filter_map(|l| l.strip_prefix(kind));
            lines.map(|n| n.trim().parse().unwrap()).collect()
        };
        Witness {
            effects: of("e"),
            returned: of("r"),
        }
    }

    fn only_process(&self) -> Option<ProcessId> {
        let ids = self.registry().process_ids().unwrap();
        assert!(ids.len() <= 1);
        ids.first().copied()
    }
}

struct Witness {
    effects: Vec<u64>,
    returned: Vec<u64>,
}

/// The child: not a test by itself.
#[test]
#[ignore = "the child of the tests of faults"]
fn child_writes_a_log() {
    let Ok(folder) = std::env::var("CHILD_FOLDER") else {
        return;
    };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let folder = PathBuf::from(folder);
    let options = LogOptions {
        on_failure: [OnFailure::Stop, OnFailure::Continue][number("CHILD_CONTINUES") as usize],
        tail: [TailStorage::Auto, TailStorage::Written][number("CHILD_WRITES_TAIL") as usize],
        sync: [Sync::None, Sync::Interval, Sync::Batch][number("CHILD_SYNC") as usize],
        batch_bytes: number("CHILD_BATCH_BYTES") as usize,
        segment_bytes: 12 << 10,
        ..small()
    };
    let registry = Registry::at(folder.join("registry"));
    let Ok(mut recorder) = Recorder::create(&registry, &process_start(), &options) else {
        exit(NOT_BEGUN);
    };
    let mut witness = std::fs::File::create(folder.join("witness")).unwrap();
    let mut say = |what: &str, n: u64| {
        witness
            .write_all(format!("{what} {n}\n").as_bytes())
            .unwrap()
    };
    for n in 0..number("CHILD_CALLS") {
        if write_call(&mut recorder, n, &mut say).is_err() {
            let killed = ProcessEnd {
                status: Ended::Killed,
                ..exited(0)
            };
            let _ = recorder.close(&killed);
            exit(STOPPED);
        }
    }
    let _ = recorder.close(&exited(0));
    exit(0);
}

#[allow(clippy::exit, reason = "libtest would add its own word to a status")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// The `i`th byte of what call `n` writes: nothing that would compress.
fn pattern(n: u64, i: usize) -> u8 {
    ((i as u64 * (n + 1) * 2_654_435_761) >> 17) as u8
}

/// A write of a number, and of bytes that make some records larger than a buffer or than the tail.
fn write_call(
    log: &mut Recorder,
    n: u64,
    say: &mut impl FnMut(&str, u64),
) -> timecraft_segment::Result<()> {
    let mut bytes = n.to_le_bytes().to_vec();
    let size = match n % 10 {
        3 => 6_000,
        7 => 20_000,
        _ => 100,
    };
    bytes.extend((0..size).map(|i| pattern(n, i)));
    log.begin(id("fd_write"), &[1, 1024, 1, 512])?;
    let mut iovec = [0; 8];
    iovec[4..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    log.input(&iovec);
    log.input(&bytes);
    log.publish()?;
    say("e", n);
    log.write(512, &(bytes.len() as u32).to_le_bytes());
    log.finish(Outcome::Returned, 0)?;
    say("r", n);
    Ok(())
}

/// One entry of what a log says happened.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Call(u64, Outcome),
    Gap(u64),
}

/// The calls and gaps of a log, in order, after the snapshot's own promises were checked.
fn numbers(snapshot: &Snapshot) -> Vec<Seen> {
    try_numbers(snapshot).unwrap()
}

fn try_numbers(snapshot: &Snapshot) -> timecraft_segment::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    let mut next = 0;
    for chunk in snapshot.chunks() {
        let calls = chunk.read(Projection::ALL)?;
        assert_eq!(
            calls.first_offset.0, next,
            "offsets have no gap and none comes twice"
        );
        next = calls.end_offset().0;
        for record in calls.iter() {
            if record.function == FunctionId::GAP && record.outcome == Outcome::Returned {
                let gap: Gap = serde_json::from_slice(record.input).unwrap();
                assert!(gap.from_ns < gap.to_ns && !gap.reason.is_empty(), "{gap:?}");
                seen.push(Seen::Gap(gap.calls));
            }
            if record.function != id("fd_write") {
                continue;
            }
            // Of one that was cut off even the number may be missing.
            let number = record
                .input
                .get(8..16)
                .map(|n| u64::from_le_bytes(n.try_into().unwrap()));
            if record.outcome == Outcome::Returned {
                let n = number.unwrap();
                let bytes = describe::sent(&record).unwrap();
                assert!(
                    bytes[8..]
                        .iter()
                        .enumerate()
                        .all(|(i, &b)| b == pattern(n, i))
                );
            }
            seen.push(Seen::Call(number.unwrap_or(u64::MAX), record.outcome));
        }
    }
    Ok(seen)
}

fn snapshot(registry: &Registry, id: ProcessId) -> Snapshot {
    registry.snapshot(id).unwrap()
}

/// What must hold of the log of a killed child: no call that was seen outside is missing.
fn check_killed(run: &Run) {
    let witness = run.witnessed();
    let registry = run.registry();
    let Some(process) = run.only_process() else {
        assert!(witness.effects.is_empty());
        return;
    };
    let before = match registry.snapshot(process) {
        Ok(snapshot) => snapshot,
        Err(Error::NoLog { .. }) => {
            assert!(witness.effects.is_empty());
            registry.seal_orphans().unwrap();
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_ne!(before.state(), LogState::Live, "nobody holds its lock");
    let seen = numbers(&before);
    for (i, seen) in seen.iter().enumerate() {
        let Seen::Call(n, outcome) = seen else {
            panic!("a gap in a log that never failed")
        };
        assert_eq!(*n, i as u64);
        let last = i + 1 == numbers(&before).len();
        assert!(*outcome == Outcome::Returned || *outcome == Outcome::InFlight && last);
    }
    let effects = witness.effects.len();
    assert!(seen.len() >= effects, "{} of {effects} effects", seen.len());
    for &n in &witness.returned {
        assert_eq!(seen[n as usize], Seen::Call(n, Outcome::Returned));
    }

    check_sealed(run, process, &seen);
    let end = snapshot(&registry, process).end().cloned().unwrap();
    let whole = witness.returned.len() as u64 == CALLS;
    assert!(
        end.status == Ended::Lost || whole && end.status == Ended::Exited,
        "{end:?}"
    );
}

/// Seals the log, and checks that it says the same after as before.
fn check_sealed(run: &Run, process: ProcessId, seen: &[Seen]) {
    let registry = run.registry();
    assert!(registry.seal_orphans().unwrap().is_empty());
    assert_eq!(registry.seal_orphan(process).unwrap(), Sealing::Done);
    let after = snapshot(&registry, process);
    assert_eq!(numbers(&after), seen);
    assert_eq!(after.state(), LogState::Ended);
    assert!(after.segments().iter().all(|s| s.sealed));
    assert!(!registry.may_grow(process));
    let left = |name: &str| {
        run.folder
            .path()
            .join("registry")
            .join(name)
            .read_dir()
            .unwrap()
            .count()
    };
    assert_eq!(left("running"), 0);
}

#[test]
fn a_writer_may_be_killed_at_every_step() {
    let mut steps = 0;
    for n in 1.. {
        let run = Run::new();
        let fault = format!("kill:{n}");
        let child = run.start(Plan {
            fault: Some(&fault),
            sync: [Sync::None, Sync::Batch][n % 2],
            ..PLAN
        });
        let killed = run.watch(child).is_none();
        check_killed(&run);
        if !killed {
            break;
        }
        steps = n;
    }
    assert!(steps > 300, "{steps} steps");
}

#[test]
fn a_writer_of_a_tail_that_is_not_mapped_may_be_killed_at_every_step() {
    for n in (1..).step_by(5) {
        let run = Run::new();
        let fault = format!("kill:{n}");
        let child = run.start(Plan {
            fault: Some(&fault),
            tail: TailStorage::Written,
            ..PLAN
        });
        let killed = run.watch(child).is_none();
        check_killed(&run);
        if !killed {
            break;
        }
    }
}

#[test]
fn a_writer_may_be_killed_at_any_moment() {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for i in 0..200 {
        let run = Run::new();
        let mut child = run.start(Plan {
            calls: u64::MAX,
            batch_bytes: 16 << 10,
            ..PLAN
        });
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(seed % 20_000));
        // Some readers are there when it dies, some come after.
        if i % 4 == 0 {
            let pid = rustix::process::Pid::from_child(&child);
            std::thread::scope(|scope| {
                scope.spawn(|| run.watch(child));
                std::thread::sleep(Duration::from_millis(2));
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            });
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        check_killed(&run);
    }
}

/// The child of the test below.
#[test]
#[ignore = "the child of the tests of faults"]
fn child_seals_orphans() {
    let Ok(folder) = std::env::var("CHILD_FOLDER") else {
        return;
    };
    let registry = Registry::at(PathBuf::from(folder).join("registry"));
    let failed = registry.seal_orphans().map_or(1, |failed| failed.len());
    exit(i32::from(failed > 0));
}

/// A log that its writer left behind in the middle of a large record.
fn orphan() -> Run {
    for n in 200.. {
        let run = Run::new();
        let fault = format!("kill:{n}");
        let child = run.start(Plan {
            fault: Some(&fault),
            ..PLAN
        });
        run.watch(child);
        let log = snapshot(&run.registry(), run.only_process().unwrap());
        let in_flight = matches!(numbers(&log).last(), Some(Seen::Call(_, Outcome::InFlight)));
        if in_flight && log.segments().len() > 2 {
            return run;
        }
    }
    unreachable!()
}

fn copy_of(run: &Run) -> Run {
    let copy = Run::new();
    copy_folder(run.folder.path(), copy.folder.path());
    copy
}

#[test]
fn who_seals_may_be_killed_or_fail_at_every_step_and_another_goes_on() {
    let orphan = orphan();
    let process = orphan.only_process().unwrap();
    let seen = numbers(&snapshot(&orphan.registry(), process));
    for kind in ["kill", "enospc", "eio", "short"] {
        for n in 1.. {
            let run = copy_of(&orphan);
            let mut command = run.command("faults::child_seals_orphans");
            command.env("TIMECRAFT_FAULT", format!("{kind}:{n}"));
            let code = run.watch(command.spawn().unwrap());
            assert_eq!(
                numbers(&snapshot(&run.registry(), process)),
                seen,
                "{kind}:{n}"
            );
            check_sealed(&run, process, &seen);
            if code == Some(0) {
                // A short write is none where nothing is written any more.
                assert!(n > 3, "{kind}: {n} steps");
                break;
            }
        }
    }
}

#[test]
fn many_may_seal_at_once() {
    let orphan = orphan();
    let process = orphan.only_process().unwrap();
    let seen = numbers(&snapshot(&orphan.registry(), process));
    for _ in 0..20 {
        let run = copy_of(&orphan);
        let spawn = |_| run.command("faults::child_seals_orphans").spawn().unwrap();
        let children: Vec<Child> = (0..4).map(spawn).collect();
        for child in children {
            assert_eq!(run.watch(child), Some(0));
        }
        check_sealed(&run, process, &seen);
    }
}

/// What must hold of a log whose guest went on: what is missing is said where it is missing.
fn check_gaps(seen: &[Seen], fault: &str) {
    let mut next = 0;
    let mut gap = 0;
    for (i, entry) in seen.iter().enumerate() {
        match *entry {
            Seen::Gap(calls) => gap += calls,
            Seen::Call(n, outcome) => {
                let cut = n == u64::MAX && outcome == Outcome::Unrecorded;
                assert!(
                    cut || n == next + gap,
                    "{n} after {next} and {gap}: {seen:?}"
                );
                next = if cut { next + gap } else { n } + 1;
                gap = 0;
                let known = outcome == Outcome::Returned;
                let explained =
                    outcome == Outcome::Unrecorded && matches!(seen.get(i + 1), Some(Seen::Gap(_)));
                assert!(known || explained, "{fault}: {entry:?} in {seen:?}");
            }
        }
    }
    assert_eq!(next + gap, CALLS, "{seen:?}");
}

/// A child for each disk step, or each `step`th: where the disk stays bad, the end of the log is tried
/// again for a while, and there the walk is a coarse one.
fn walk_disk_faults(plan: Plan<'_>, kind: &str, range: &str, step: usize) {
    for n in (1_u64..).step_by(step) {
        let run = Run::new();
        let range = match range {
            "while" => format!("..{}", n + 4),
            // Well for a moment, in which the log goes on, and then not.
            "twice" => format!(",{}..{}", n + 2 + n % 4, n + 3 + n % 6),
            other => other.to_owned(),
        };
        let fault = format!("{kind}:{n}{range}");
        let child = run.start(Plan {
            fault: Some(&fault),
            ..plan
        });
        let code = run.watch(child).unwrap();
        let registry = run.registry();
        if code == NOT_BEGUN {
            assert_eq!(run.only_process(), None, "{fault}: nothing is left");
            assert!(registry.seal_orphans().unwrap().is_empty());
            continue;
        }
        let process = run.only_process().unwrap();
        let log = snapshot(&registry, process);
        let seen = numbers(&log);
        if plan.on_failure == OnFailure::Continue {
            assert_eq!(code, 0, "{fault}");
            check_gaps(&seen, &fault);
        } else {
            let witness = run.witnessed();
            let effects = witness.effects.len();
            assert!(
                seen.len() >= effects,
                "{fault}: {seen:?} of {effects} effects"
            );
            let calls = witness
                .returned
                .iter()
                .map(|&n| Seen::Call(n, Outcome::Returned));
            assert_eq!(calls.collect::<Vec<_>>(), seen[..witness.returned.len()]);
            assert!(
                code == STOPPED || code == 0 && effects as u64 == CALLS,
                "{fault}"
            );
        }
        check_sealed(&run, process, &seen);
        let end = snapshot(&registry, process).end().cloned().unwrap();
        let expected = if code == 0 {
            Ended::Exited
        } else {
            Ended::Killed
        };
        // Only a disk that takes nothing at all, not even over what it has, leaves no word of it.
        let lost = plan.tail == TailStorage::Written && end.status == Ended::Lost;
        assert!(end.status == expected || lost, "{fault}: {end:?}");
        if !run.met_fault() {
            assert!(n > 20, "{n} steps");
            break;
        }
    }
}

#[test]
fn a_guest_stops_when_the_disk_fails_at_any_step_and_what_was_recorded_stays() {
    for kind in ["enospc", "eio", "short"] {
        walk_disk_faults(PLAN, kind, "", 1);
        walk_disk_faults(PLAN, kind, "..", 6);
    }
    let synced = Plan {
        sync: Sync::Batch,
        ..PLAN
    };
    walk_disk_faults(synced, "eio", "", 1);
}

#[test]
fn a_guest_goes_on_when_the_disk_fails_at_any_step_and_the_gap_is_recorded() {
    let plan = Plan {
        on_failure: OnFailure::Continue,
        ..PLAN
    };
    for kind in ["enospc", "eio", "short"] {
        walk_disk_faults(plan, kind, "", 1);
        walk_disk_faults(plan, kind, "..", 6);
        walk_disk_faults(plan, kind, "while", 3);
    }
}

#[test]
fn a_tail_that_is_not_mapped_fails_in_the_same_way() {
    for on_failure in [OnFailure::Stop, OnFailure::Continue] {
        let plan = Plan {
            on_failure,
            tail: TailStorage::Written,
            ..PLAN
        };
        walk_disk_faults(plan, "enospc", "", 7);
        walk_disk_faults(plan, "short", "while", 9);
        walk_disk_faults(plan, "eio", "twice", 2);
    }
}

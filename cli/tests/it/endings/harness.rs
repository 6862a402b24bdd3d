//! Bringing a guest to a place, ending it there, and looking at what its log says.

use std::any::Any;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use timecraft_segment::{
    Ended, FunctionId, LogState, Outcome, Projection, Registry, Snapshot, UnixNs, function,
};

use crate::support::{Cmd, Dir, signal};

/// Long enough for a busy machine; what takes longer hangs.
const HANGS: Duration = Duration::from_secs(20);

/// How long a guest runs that its timeout ends: long enough for it to come to where it waits.
const TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Clone, Copy, Debug)]
enum Cause {
    Signal(Signal),
    Timeout,
}

const CAUSES: [Cause; 3] = [
    Cause::Signal(Signal::INT),
    Cause::Signal(Signal::TERM),
    Cause::Timeout,
];

/// Where the guest is when it is ended.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In a call that waits for something that never comes. The log says that it was interrupted.
    Waiting(&'static str),
    /// In its own code after a call of this function, or in a loop of such calls.
    After(&'static str),
    /// Before its first call.
    Start,
}

/// What a guest was given, to be held until it has ended.
pub type Held = Box<dyn Any>;

pub fn nothing() -> Held {
    Box::new(())
}

/// Ends a guest at a place, by each cause. `prepare` gives it what it waits for.
#[track_caller]
#[allow(
    clippy::print_stdout,
    reason = "for who wants to know how long it takes"
)]
pub fn ends(name: &str, place: Place, wat: &str, prepare: impl Fn(&Dir, Cmd<'_>) -> (Child, Held)) {
    for cause in CAUSES {
        let dir = Dir::new();
        dir.create("guest.wat", wat);
        let mut cmd = dir.cmd(["run"]);
        if let Cause::Timeout = cause {
            cmd = cmd.args(["--timeout".to_owned(), format!("{}ms", TIMEOUT.as_millis())]);
        }
        let (child, held) = prepare(&dir, cmd);
        let (status, took) = end(&dir, child, place, cause);
        drop(held);
        println!(
            "ending {name}, {cause:?}: {:.1} ms",
            took.as_secs_f64() * 1e3
        );
        let expected = match cause {
            Cause::Signal(signal) => 128 + signal.as_raw(),
            Cause::Timeout => 124,
        };
        assert_eq!(status, Some(expected), "{name}, {cause:?}");
        sealed(&dir, place, cause);
    }
}

/// Ends the child when it is there. Returns its status, and how long after the cause it had ended.
#[track_caller]
fn end(dir: &Dir, mut child: Child, place: Place, cause: Cause) -> (Option<i32>, Duration) {
    let pid = child.id();
    if let Cause::Signal(sent) = cause {
        await_place(dir, place);
        // Not in the call's first instructions alone.
        thread::sleep(Duration::from_millis(20));
        signal(&child, sent);
    }
    let since = Instant::now();
    let (over, is_over) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let status = child.wait().unwrap();
        let _ = over.send((Instant::now(), UnixNs::now()));
        status.code()
    });
    let Ok((at, now)) = is_over.recv_timeout(TIMEOUT + HANGS) else {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        panic!("it goes on: {place:?}, {cause:?}");
    };
    let took = match cause {
        Cause::Signal(_) => at - since,
        Cause::Timeout => {
            let started = snapshot(dir).unwrap().start().start_time;
            let ran = u64::try_from(now.0 - started.0).unwrap();
            Duration::from_nanos(ran).saturating_sub(TIMEOUT)
        }
    };
    (waiter.join().unwrap(), took)
}

fn registry(dir: &Dir) -> Registry {
    Registry::at(dir.path("home/.timecraft/registry"))
}

/// The log of the one process there is, if it is there yet.
fn snapshot(dir: &Dir) -> Option<Snapshot> {
    let registry = registry(dir);
    let id = *registry.process_ids().ok()?.first()?;
    registry.snapshot(id).ok()
}

/// Function and outcome of each call, the last one last; and whether an event says that the guest
/// was interrupted.
fn calls(snapshot: &Snapshot) -> (Vec<(&'static str, Outcome)>, bool) {
    let (mut calls, mut interrupted) = (Vec::new(), false);
    for chunk in snapshot.chunks() {
        let Ok(read) = chunk.read(Projection::ALL) else {
            continue;
        };
        for record in read.iter() {
            interrupted |= record.function == FunctionId::INTERRUPT;
            if let Some(row) = function::by_id(record.function) {
                calls.push((row.name, record.outcome));
            }
        }
    }
    (calls, interrupted)
}

fn await_place(dir: &Dir, place: Place) {
    let there = || {
        let snapshot = snapshot(dir)?;
        let (calls, _) = calls(&snapshot);
        Some(match (place, calls.last()) {
            (Place::Waiting(function), Some(last)) => *last == (function, Outcome::InFlight),
            (Place::After(function), Some((last, _))) => *last == function,
            (Place::Start, _) => true,
            (_, None) => false,
        })
    };
    let deadline = Instant::now() + HANGS;
    while there() != Some(true) {
        assert!(
            Instant::now() < deadline,
            "the guest never came to {place:?}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the log says that the guest has ended.
#[track_caller]
pub fn await_end(dir: &Dir) {
    let deadline = Instant::now() + HANGS;
    while snapshot(dir).is_none_or(|s| s.end().is_none()) {
        assert!(Instant::now() < deadline, "the guest never ended");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The log is complete and says what happened.
#[track_caller]
fn sealed(dir: &Dir, place: Place, cause: Cause) {
    let snapshot = snapshot(dir).unwrap();
    assert_eq!(snapshot.state(), LogState::Ended);
    let end = snapshot.end().unwrap();
    let number = match cause {
        Cause::Signal(signal) => Some(signal.as_raw()),
        Cause::Timeout => None,
    };
    assert_eq!((end.status, end.signal), (Ended::Killed, number));
    let (calls, interrupted) = calls(&snapshot);
    assert!(interrupted);
    if let Place::Waiting(function) = place {
        assert_eq!(calls.last(), Some(&(function, Outcome::Interrupted)));
    }
}

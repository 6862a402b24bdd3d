//! Faults on demand: the write side of a log says each step that it takes, and a test may have any of
//! them fail.
//!
//! Debug builds read `TIMECRAFT_FAULT` once, and count the steps of the process from 1:
//!
//! ```text
//! kill:N            the process is killed at step N
//! enospc:N eio:N    disk step N fails so; only steps that touch the disk are counted
//! short:N           disk step N writes half of its bytes, then the disk is full
//! ...:N..           and so does each one after it
//! ...:N..M          up to, not including, step M: then the disk is well again
//! ...:N,M..         and more of these, one after another
//! ```
//!
//! A test raises N until a run ends without having met the fault, and so has been through every step.
//! Release builds have none of this: [`point`] is nothing, and [`disk`] a constant.

#[cfg(debug_assertions)]
pub(crate) use enabled::{disk, half, point};

/// A step that can only be the last: the process may die here.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn point(_step: &'static str) {}

/// A step that touches the disk, and may fail.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn disk(_step: &'static str) -> std::io::Result<()> {
    Ok(())
}

/// Whether the disk step that was just counted is to write half of its bytes, and then fail.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn half() -> bool {
    false
}

#[cfg(debug_assertions)]
mod enabled {
    use std::io::{self, Write};
    use std::ops::Range;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::io::Errno;
    use rustix::process::Signal;

    struct Plan {
        kind: Kind,
        /// The steps that fail.
        steps: Vec<Range<u64>>,
    }

    #[derive(PartialEq)]
    enum Kind {
        Kill,
        Fail(Errno),
        Short,
    }

    static STEPS: AtomicU64 = AtomicU64::new(0);
    static DISK_STEPS: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        static HALF: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    fn plan() -> Option<&'static Plan> {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        PLAN.get_or_init(|| parse(&std::env::var("TIMECRAFT_FAULT").ok()?))
            .as_ref()
    }

    fn parse(text: &str) -> Option<Plan> {
        let (kind, steps) = text.split_once(':')?;
        let kind = match kind {
            "kill" => Kind::Kill,
            "enospc" => Kind::Fail(Errno::NOSPC),
            "eio" => Kind::Fail(Errno::IO),
            "short" => Kind::Short,
            _ => return None,
        };
        let range = |steps: &str| {
            Some(match steps.split_once("..") {
                None => {
                    let first = steps.parse().ok()?;
                    first..first + 1
                }
                Some((first, "")) => first.parse().ok()?..u64::MAX,
                Some((first, end)) => first.parse().ok()?..end.parse().ok()?,
            })
        };
        let steps = steps.split(',').map(range).collect::<Option<_>>()?;
        Some(Plan { kind, steps })
    }

    pub(crate) fn point(step: &'static str) {
        let Some(plan) = plan() else { return };
        let number = STEPS.fetch_add(1, Ordering::SeqCst) + 1;
        if plan.kind == Kind::Kill && plan.steps.iter().any(|steps| number >= steps.start) {
            say("killed", number, step);
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            // The signal may reach another thread first: nothing more happens on this one.
            loop {
                std::thread::park();
            }
        }
    }

    pub(crate) fn disk(step: &'static str) -> io::Result<()> {
        point(step);
        let Some(plan) = plan() else { return Ok(()) };
        let number = DISK_STEPS.fetch_add(1, Ordering::SeqCst) + 1;
        if !plan.steps.iter().any(|steps| steps.contains(&number)) {
            return Ok(());
        }
        match plan.kind {
            Kind::Kill => Ok(()),
            Kind::Fail(errno) => {
                say("failed", number, step);
                Err(errno.into())
            }
            Kind::Short => {
                say("short", number, step);
                HALF.set(true);
                Ok(())
            }
        }
    }

    pub(crate) fn half() -> bool {
        HALF.take()
    }

    fn say(what: &str, number: u64, step: &str) {
        let line = format!("fault: {what} at step {number}, {step}\n");
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

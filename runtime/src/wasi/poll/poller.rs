//! The host's epoll set of one guest. It outlives a call, since most calls wait for what the call before
//! waited for: they pay for what has happened, and not for all that might.
//!
//! An entry is told once and then sleeps until it is asked for again (`EPOLLONESHOT`), so that what the
//! guest has stopped asking for, or has closed, ends one wait at most and never all of them. The set must
//! never tell of one descriptor what happened to another, though the host gives their numbers out again.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;

use crate::wakeup::Wakeup;

/// What stands for the wakeup in the set.
const WAKEUP: u64 = u64::MAX;

/// How many events the host tells at once.
const AT_ONCE: usize = 256;

/// A descriptor's place in the set. It belongs to what owns the host's descriptor, and is gone with it.
#[derive(Default)]
pub(in crate::wasi) struct Interest(Cell<Serial>);

/// Which of all descriptors that were ever in the set; the first is 1.
type Serial = u32;

/// What can be watched.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub fd: BorrowedFd<'a>,
    pub interest: &'a Interest,
}

/// The set.
pub(in crate::wasi) struct Poller {
    set: OwnedFd,
    /// By the host's numbers.
    entries: Vec<Entry>,
    round: u64,
    last: Serial,
}

/// What the set knows of the descriptor that has or had a number of the host.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// Whose it is.
    serial: Serial,
    /// What the host will tell.
    armed: EventFlags,
    /// The round that `wanted` and `told` are of.
    round: u64,
    wanted: EventFlags,
    told: EventFlags,
}

impl Poller {
    /// A set that watches the wakeup.
    pub(in crate::wasi) fn new(wakeup: &Wakeup) -> Result<Poller, Errno> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        // A wakeup is for ever, so that it may be told again and again.
        epoll::add(&set, wakeup, EventData::new_u64(WAKEUP), EventFlags::IN)?;
        Ok(Poller {
            set,
            entries: Vec::new(),
            round: 0,
            last: 0,
        })
    }

    /// Begins a round: what was watched until now no longer is.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Has this round watch the descriptor for these events, beside those it already watches it for.
    ///
    /// # Errors
    /// `EPERM` for a file that is always ready; what the system lacks otherwise.
    pub(super) fn watch(&mut self, watched: Watched<'_>, events: PollFlags) -> Result<(), Errno> {
        let at = index(watched.fd);
        if at >= self.entries.len() {
            self.entries.resize(at + 1, Entry::default());
        }
        let entry = &mut self.entries[at];
        let serial = watched.interest.0.get();
        let known = serial != 0 && serial == entry.serial;
        if !known {
            self.last = self.last.checked_add(1).unwrap_or(1);
            *entry = Entry {
                serial: self.last,
                ..Entry::default()
            };
        }
        if entry.round != self.round {
            entry.round = self.round;
            entry.wanted = EventFlags::empty();
            entry.told = EventFlags::empty();
        }
        entry.wanted |= flags(events);
        if entry.armed.contains(entry.wanted) {
            return Ok(());
        }
        let armed = entry.wanted | EventFlags::ONESHOT;
        let data = EventData::new_u64(u64::from(entry.serial) << 32 | at as u64);
        let modify = || epoll::modify(&self.set, watched.fd, data, armed);
        let result = match known {
            true => modify(),
            false => match epoll::add(&self.set, watched.fd, data, armed) {
                // The number was that of the same open file before.
                Err(Errno::EXIST) => modify(),
                result => result,
            },
        };
        match result {
            Ok(()) => {
                entry.armed = entry.wanted;
                watched.interest.0.set(entry.serial);
            }
            Err(_) => watched.interest.0.set(0),
        }
        result
    }

    /// Waits until something is told, or for so long. What this round watches may all the same have
    /// nothing to tell.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Errno> {
        let mut timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut room = [MaybeUninit::uninit(); AT_ONCE];
        loop {
            let events = match epoll::wait(&self.set, &mut room, timeout.as_ref()) {
                // Before Linux 5.11 the host counts milliseconds, and in some sandboxes still.
                Err(Errno::NOSYS | Errno::PERM) => {
                    let timeout = timeout.map(whole_milliseconds);
                    epoll::wait(&self.set, &mut room, timeout.as_ref())?.0
                }
                events => events?.0,
            };
            let full = events.len() == AT_ONCE;
            if !self.take(events) || !full {
                return Ok(());
            }
            timeout = Some(Timespec::default());
        }
    }

    /// Takes what happened. Returns whether the wakeup was not in it.
    fn take(&mut self, events: &[Event]) -> bool {
        let mut go_on = true;
        for event in events {
            let (data, events) = (event.data.u64(), event.flags);
            if data == WAKEUP {
                go_on = false;
                continue;
            }
            let (serial, at) = (data >> 32, data & u64::from(u32::MAX));
            match self.entries.get_mut(at as usize) {
                Some(entry) if u64::from(entry.serial) == serial => {
                    entry.armed = EventFlags::empty();
                    entry.told = events;
                }
                // It was closed, and something else keeps the file open.
                _ => {}
            }
        }
        go_on
    }

    /// What was told of a descriptor that this round watches.
    pub(super) fn told(&self, watched: Watched<'_>) -> PollFlags {
        match self.entries.get(index(watched.fd)) {
            Some(entry) if entry.serial == watched.interest.0.get() => {
                PollFlags::from_bits_retain(entry.told.bits() as u16)
            }
            _ => PollFlags::empty(),
        }
    }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd().cast_unsigned() as usize
}

/// The two have the same bits.
fn flags(events: PollFlags) -> EventFlags {
    EventFlags::from_bits_retain(events.bits().into())
}

/// Not less than that in whole milliseconds, or as long as an `int` of them says.
fn whole_milliseconds(timeout: Timespec) -> Timespec {
    const NS: i64 = 1_000_000;
    const LONGEST: i64 = i32::MAX as i64 / 1000;
    let ms = (timeout.tv_nsec + NS - 1) / NS;
    let (tv_sec, ms) = match ms {
        1000 => (timeout.tv_sec.saturating_add(1), 0),
        ms => (timeout.tv_sec, ms),
    };
    match tv_sec < LONGEST {
        true => Timespec {
            tv_sec,
            tv_nsec: ms * NS,
        },
        false => Timespec {
            tv_sec: LONGEST,
            tv_nsec: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_milliseconds_are_never_less_but_for_the_longest() {
        let timespec = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        for (exact, rounded) in [
            (timespec(0, 0), timespec(0, 0)),
            (timespec(0, 1), timespec(0, 1_000_000)),
            (timespec(3, 2_000_000), timespec(3, 2_000_000)),
            (timespec(3, 2_000_001), timespec(3, 3_000_000)),
            (timespec(3, 999_000_001), timespec(4, 0)),
            (timespec(i64::MAX, 999_999_999), timespec(2_147_483, 0)),
        ] {
            assert_eq!(whole_milliseconds(exact), rounded);
        }
    }
}

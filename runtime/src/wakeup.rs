//! The way to end a host call that waits: an event that every wait watches beside its own
//! descriptor.
//!
//! A wakeup is for ever: once it is set, every wait of the process ends at once. It must never be
//! drained.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// Ends waits, from any thread or signal handler.
#[derive(Clone, Debug)]
pub struct Wakeup(Arc<Event>);

#[derive(Debug)]
struct Event {
    set: AtomicBool,
    fd: OwnedFd,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The descriptor has these events.
    Ready(PollFlags),
    /// The wakeup came first.
    Woken,
    /// The time was over.
    Late,
}

impl Wakeup {
    /// A wakeup that is not set.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left.
    pub fn new() -> std::io::Result<Wakeup> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wakeup(Arc::new(Event {
            set: AtomicBool::new(false),
            fd,
        })))
    }

    /// Sets it. Async-signal-safe: an atomic store and one system call.
    pub fn wake(&self) {
        self.0.set.store(true, Ordering::Release);
        // The write fails only when the counter is full, and then the descriptor is readable.
        let _ = rustix::io::write(&self.0.fd, &1u64.to_ne_bytes());
    }

    /// Whether it was set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Waits until `fd` has one of `events` or fails; none if the wakeup came first.
    ///
    /// # Errors
    ///
    /// Those of `poll`, except an interruption by a signal.
    pub fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<Option<PollFlags>, Errno> {
        match self.wait_until(fd, events, None)? {
            Waited::Ready(events) => Ok(Some(events)),
            Waited::Woken | Waited::Late => Ok(None),
        }
    }

    /// The same, and not for longer than until a moment, if there is one.
    ///
    /// # Errors
    ///
    /// Those of `poll`, except an interruption by a signal.
    pub fn wait_until(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        deadline: Option<Instant>,
    ) -> Result<Waited, Errno> {
        let mut fds = [
            PollFd::from_borrowed_fd(fd, events),
            PollFd::new(self, PollFlags::IN),
        ];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) if self.is_set() => return Ok(Waited::Woken),
                Ok(_) if !fds[0].revents().is_empty() => {
                    return Ok(Waited::Ready(fds[0].revents()));
                }
                Ok(_) | Err(Errno::INTR) if left.is_some_and(|left| left.is_zero()) => {
                    return Ok(Waited::Late);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wait_ends_when_another_thread_wakes_it() {
        let wakeup = Wakeup::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(
            wakeup.wait(read.as_fd(), PollFlags::IN).unwrap(),
            Some(PollFlags::IN)
        );
        rustix::io::read(&read, &mut [0; 1]).unwrap();
        assert!(!wakeup.is_set());
        std::thread::scope(|scope| {
            scope.spawn(|| wakeup.clone().wake());
            assert_eq!(wakeup.wait(read.as_fd(), PollFlags::IN).unwrap(), None);
        });
        assert!(wakeup.is_set());
        assert_eq!(
            wakeup.wait(read.as_fd(), PollFlags::IN).unwrap(),
            None,
            "it stays set"
        );
    }
}

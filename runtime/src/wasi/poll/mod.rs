//! `poll_oneoff`: waiting for time to pass and for descriptors.
//!
//! Regular files are always ready; of all else the host tells, by one [`Poller`] for the guest's life. Every
//! wait watches the wakeup too.

mod poller;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use smallvec::SmallVec;

pub(super) use self::poller::{Interest, Poller};

use self::poller::Watched;
use super::channel::Channel;
use super::clock::{self, MONOTONIC, REALTIME};
use super::descriptors::{Descriptor, Descriptors, Direction};
use super::errno::Errno;
use super::sockets::socket::Socket;
use super::{Outcome, Stop, Wasi, low};
use crate::memory::{GuestMemory, aligned, u16_at, u32_at, u64_at};
use crate::wakeup::Wakeup;

/// The size of a `subscription` in bytes.
const SUBSCRIPTION_SIZE: usize = 48;
/// The size of an `event` in bytes.
const EVENT_SIZE: usize = 32;

/// The most subscriptions that one call looks at. More than there can be descriptors help nobody,
/// and the host holds all of them while it waits.
const MAX_SUBSCRIPTIONS: u64 = 65_536;

/// `subclockflags`: the timeout is a time and not a duration.
const ABSTIME: u16 = 1 << 0;

/// `eventrwflags`: the other side is gone, or the file is at its end.
const HANGUP: u16 = 1 << 0;

/// What the host tells whether it was asked for or not.
const OVER: PollFlags = PollFlags::HUP.union(PollFlags::ERR);

/// `eventtype`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum EventType {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

/// What one subscription waits for.
enum Pending<'a> {
    /// A time of the host's monotonic clock, in nanoseconds.
    Clock(u64),
    /// Something that has happened, or that never waits.
    Ready(Source<'a>, EventType),
    /// These events of a descriptor.
    Poll(Source<'a>, EventType),
    /// The same of a socket whose TLS the host does, which for now needs these: what comes is not yet the
    /// guest's.
    Secured(&'a Socket, EventType, PollFlags),
    /// It cannot be waited for.
    Failed(Errno, EventType),
}

/// Where bytes come from or go to.
#[derive(Clone, Copy)]
enum Source<'a> {
    Channel(&'a Channel),
    Socket(&'a Socket),
}

impl EventType {
    fn flags(self) -> PollFlags {
        match self {
            EventType::FdWrite => PollFlags::OUT,
            EventType::FdRead | EventType::Clock => PollFlags::IN,
        }
    }
}

impl<'a> Source<'a> {
    fn fd(self) -> BorrowedFd<'a> {
        match self {
            Source::Channel(channel) => channel.fd(),
            Source::Socket(socket) => socket.as_fd(),
        }
    }

    fn watched(self) -> Watched<'a> {
        Watched {
            fd: self.fd(),
            interest: match self {
                Source::Channel(channel) => channel.interest(),
                Source::Socket(socket) => &socket.interest,
            },
        }
    }

    fn never_waits(self) -> bool {
        matches!(self, Source::Channel(channel) if channel.never_waits())
    }
}

impl Wasi {
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u64,
        events: u64,
        count: u64,
        out: u64,
    ) -> Outcome {
        if count == 0 {
            return Err(Errno::INVAL.into());
        }
        aligned(subscriptions, 8)?;
        aligned(events, 8)?;
        let asked = memory.slice(subscriptions, count * SUBSCRIPTION_SIZE as u64)?;
        if count > MAX_SUBSCRIPTIONS {
            let why = format!("{count} subscriptions, and the limit is {MAX_SUBSCRIPTIONS} a call");
            return Err(Stop::Because(Errno::INVAL, why));
        }
        let asked = || asked.chunks_exact(SUBSCRIPTION_SIZE);

        let now = clock::monotonic();
        let mut pending: SmallVec<[Pending<'_>; 4]> = SmallVec::with_capacity(asked().len());
        for subscription in asked() {
            pending.push(match subscription[8] {
                0 => Pending::Clock(deadline(subscription, now, self.started)?),
                1 => pend(&self.descriptors, subscription, EventType::FdRead),
                2 => pend(&self.descriptors, subscription, EventType::FdWrite),
                _ => return Err(Errno::INVAL.into()),
            });
        }
        let now = happen(&mut pending, &mut self.poller, &self.wakeup)?;

        let mut happened: SmallVec<[u8; 4 * EVENT_SIZE]> = SmallVec::new();
        for (subscription, pending) in asked().zip(&pending) {
            let (error, event_type, bytes, flags) = match *pending {
                Pending::Clock(at) if at <= now => (0, EventType::Clock, 0, 0),
                Pending::Clock(_) | Pending::Secured(..) => continue,
                Pending::Failed(errno, event_type) => (errno.into(), event_type, 0, 0),
                Pending::Ready(source, event_type) => {
                    let bytes = ready_bytes(source, event_type);
                    (0, event_type, bytes, if bytes == 0 { HANGUP } else { 0 })
                }
                Pending::Poll(source, event_type) => {
                    let told = self.poller.told(source.watched());
                    let over = told.intersects(OVER);
                    if !over && !told.intersects(event_type.flags()) {
                        continue;
                    }
                    let bytes = ready_bytes(source, event_type);
                    (0, event_type, bytes, if over { HANGUP } else { 0 })
                }
            };
            let mut event = [0; EVENT_SIZE];
            event[0..8].copy_from_slice(&subscription[0..8]);
            event[8..10].copy_from_slice(&u16::to_le_bytes(error));
            event[10] = event_type as u8;
            event[16..24].copy_from_slice(&u64::to_le_bytes(bytes));
            event[24..26].copy_from_slice(&u16::to_le_bytes(flags));
            happened.extend_from_slice(&event);
        }
        memory.write(events, &happened)?;
        Ok(memory.write_u32(out, low((happened.len() / EVENT_SIZE) as u64))?)
    }
}

/// When a clock subscription is due, on the host's monotonic clock.
fn deadline(subscription: &[u8], now: u64, started: u64) -> Result<u64, Errno> {
    let (clock, timeout) = (u32_at(subscription, 16), u64_at(subscription, 24));
    let absolute = match u16_at(subscription, 40) {
        0 => false,
        ABSTIME => true,
        _ => return Err(Errno::INVAL),
    };
    match (clock, absolute) {
        (MONOTONIC | REALTIME, false) => Ok(now.saturating_add(timeout)),
        (MONOTONIC, true) => Ok(started.saturating_add(timeout)),
        (REALTIME, true) => Ok(now.saturating_add(timeout.saturating_sub(clock::realtime()))),
        _ => Err(Errno::INVAL),
    }
}

/// What the subscription waits for.
fn pend<'a>(
    descriptors: &'a Descriptors,
    subscription: &[u8],
    event_type: EventType,
) -> Pending<'a> {
    let direction = match event_type {
        EventType::FdWrite => Direction::Out,
        _ => Direction::In,
    };
    let fd = u32_at(subscription, 16);
    let source = match descriptors.get(fd) {
        Ok(Descriptor::Socket(socket)) => Ok(Source::Socket(socket)),
        _ => descriptors
            .channel(fd, direction)
            .map(|(channel, _)| Source::Channel(channel)),
    };
    match source {
        Err(errno) => Pending::Failed(errno, event_type),
        Ok(Source::Socket(socket)) if socket.tls.is_some() => secured(socket, event_type),
        Ok(source) if source.never_waits() => Pending::Ready(source, event_type),
        Ok(source) => Pending::Poll(source, event_type),
    }
}

/// Goes on with a socket's TLS as far as it goes.
fn secured(socket: &Socket, event_type: EventType) -> Pending<'_> {
    match socket.poll_tls(event_type.flags()) {
        wanted if wanted.is_empty() => Pending::Ready(Source::Socket(socket), event_type),
        wanted => Pending::Secured(socket, event_type, wanted),
    }
}

/// Waits until something has happened that the guest waits for; returns the time then.
fn happen(pending: &mut [Pending<'_>], poller: &mut Poller, wakeup: &Wakeup) -> Result<u64, Stop> {
    loop {
        let mut due = None;
        poller.begin();
        for one in &mut *pending {
            let (source, event_type, wanted) = match *one {
                Pending::Clock(at) => {
                    due = due.min(Some(at)).or(Some(at));
                    continue;
                }
                Pending::Ready(..) | Pending::Failed(..) => {
                    due = Some(0);
                    continue;
                }
                Pending::Poll(source, event_type) => (source, event_type, event_type.flags()),
                Pending::Secured(socket, event_type, wanted) => {
                    (Source::Socket(socket), event_type, wanted)
                }
            };
            match poller.watch(source.watched(), wanted) {
                Ok(()) => continue,
                Err(rustix::io::Errno::PERM) => *one = Pending::Ready(source, event_type),
                Err(error) => *one = Pending::Failed(error.into(), event_type),
            }
            due = Some(0);
        }
        let timeout = due.map(|due| Duration::from_nanos(due.saturating_sub(clock::monotonic())));
        match poller.wait(timeout) {
            Ok(()) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if wakeup.is_set() {
            return Err(Stop::Interrupted);
        }
        let now = clock::monotonic();
        let mut over = due.is_some_and(|due| due <= now);
        for one in &mut *pending {
            match *one {
                Pending::Poll(source, event_type) => {
                    let told = poller.told(source.watched());
                    over |= told.intersects(event_type.flags() | OVER);
                }
                Pending::Secured(socket, event_type, _) => {
                    if !poller.told(Source::Socket(socket).watched()).is_empty() {
                        *one = secured(socket, event_type);
                        over |= matches!(one, Pending::Ready(..));
                    }
                }
                Pending::Clock(_) | Pending::Ready(..) | Pending::Failed(..) => {}
            }
        }
        if over {
            return Ok(now);
        }
    }
}

/// How many bytes can surely be read or written: exactly for reading, where the host tells.
fn ready_bytes(source: Source<'_>, event_type: EventType) -> u64 {
    if event_type == EventType::FdWrite {
        return 1;
    }
    if let Source::Socket(socket) = source
        && let Some(tls) = &socket.tls
    {
        return tls.borrow().clear_text() as u64;
    }
    if source.never_waits() {
        let size = rustix::fs::fstat(source.fd()).map_or(0, |stat| stat.st_size.cast_unsigned());
        let position = rustix::fs::tell(source.fd()).unwrap_or(0);
        return size.saturating_sub(position);
    }
    // Some devices cannot say it, and neither can a socket that listens.
    rustix::io::ioctl_fionread(source.fd()).unwrap_or(1)
}

#[cfg(test)]
mod tests;

//! `poll_oneoff`: waiting for time to pass and for descriptors.
//!
//! Regular files are always ready; of a socket the host tells. The wait itself is one `poll` of the host, which watches the
//! wakeup too.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use smallvec::SmallVec;

use super::channel::Channel;
use super::clock::{self, MONOTONIC, REALTIME};
use super::descriptors::{Descriptor, Descriptors, Direction};
use super::errno::Errno;
use super::sockets::socket::Socket;
use super::{Outcome, Stop, Wasi, low};
use crate::memory::{GuestMemory, aligned, u16_at, u32_at, u64_at};

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
    /// Something that never waits.
    Ready(Source<'a>, EventType),
    /// An entry of the poll.
    Poll(usize, Source<'a>, EventType),
    /// The same, of a socket whose TLS the host does: its bytes are not yet the guest's.
    Secured(usize, &'a Socket, EventType),
    /// It cannot be waited for.
    Failed(Errno, EventType),
}

/// Where bytes come from or go to.
#[derive(Clone, Copy)]
enum Source<'a> {
    Channel(&'a Channel),
    Socket(&'a Socket),
}

impl<'a> Source<'a> {
    fn fd(self) -> BorrowedFd<'a> {
        match self {
            Source::Channel(channel) => channel.fd(),
            Source::Socket(socket) => socket.as_fd(),
        }
    }

    fn never_waits(self) -> bool {
        matches!(self, Source::Channel(channel) if channel.never_waits())
    }
}

impl Wasi {
    pub(super) fn poll_oneoff(
        &self,
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
        let mut fds: SmallVec<[PollFd<'_>; 4]> = SmallVec::new();
        fds.push(PollFd::new(&self.wakeup, PollFlags::IN));
        let mut pending: SmallVec<[Pending<'_>; 4]> = SmallVec::new();
        for subscription in asked() {
            pending.push(match subscription[8] {
                0 => Pending::Clock(self.deadline(subscription, now)?),
                1 => pend(&self.descriptors, &mut fds, subscription, EventType::FdRead),
                2 => pend(
                    &self.descriptors,
                    &mut fds,
                    subscription,
                    EventType::FdWrite,
                ),
                _ => return Err(Errno::INVAL.into()),
            });
        }
        // The earliest moment at which something happens that no descriptor tells.
        let deadline = pending.iter().filter_map(|p| match p {
            Pending::Clock(at) => Some(*at),
            Pending::Ready(..) | Pending::Failed(..) => Some(0),
            Pending::Poll(..) | Pending::Secured(..) => None,
        });
        let deadline = deadline.min();
        let now = loop {
            let now = self.wait_until(&mut fds, deadline)?;
            if !go_on_with_tls(&mut pending, &mut fds) || deadline.is_some_and(|at| at <= now) {
                break now;
            }
        };

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
                Pending::Poll(i, source, event_type) => {
                    let events = fds[i].revents();
                    if events.is_empty() {
                        continue;
                    }
                    let over = events.intersects(PollFlags::HUP | PollFlags::ERR);
                    (
                        0,
                        event_type,
                        ready_bytes(source, event_type),
                        if over { HANGUP } else { 0 },
                    )
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

    /// When a clock subscription is due, on the host's monotonic clock.
    fn deadline(&self, subscription: &[u8], now: u64) -> Result<u64, Errno> {
        let (clock, timeout) = (u32_at(subscription, 16), u64_at(subscription, 24));
        let absolute = match u16_at(subscription, 40) {
            0 => false,
            ABSTIME => true,
            _ => return Err(Errno::INVAL),
        };
        match (clock, absolute) {
            (MONOTONIC | REALTIME, false) => Ok(now.saturating_add(timeout)),
            (MONOTONIC, true) => Ok(self.started.saturating_add(timeout)),
            (REALTIME, true) => Ok(now.saturating_add(timeout.saturating_sub(clock::realtime()))),
            _ => Err(Errno::INVAL),
        }
    }

    /// Waits until one of `fds` is ready or the deadline has come; returns the time then. The
    /// first of `fds` is the wakeup.
    fn wait_until(&self, fds: &mut [PollFd<'_>], deadline: Option<u64>) -> Result<u64, Stop> {
        loop {
            let now = clock::monotonic();
            let timeout = deadline.map(|deadline| {
                let left = deadline.saturating_sub(now);
                Timespec {
                    tv_sec: (left / 1_000_000_000).cast_signed(),
                    tv_nsec: (left % 1_000_000_000).cast_signed(),
                }
            });
            let ready = match rustix::event::poll(fds, timeout.as_ref()) {
                Ok(n) => n,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            if self.wakeup.is_set() {
                return Err(Stop::Interrupted);
            }
            let now = clock::monotonic();
            if ready > 0 || deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(now);
            }
        }
    }
}

/// Adds what the subscription waits for to the poll, if it needs one.
fn pend<'a>(
    descriptors: &'a Descriptors,
    fds: &mut SmallVec<[PollFd<'a>; 4]>,
    subscription: &[u8],
    event_type: EventType,
) -> Pending<'a> {
    let (direction, events) = match event_type {
        EventType::FdWrite => (Direction::Out, PollFlags::OUT),
        _ => (Direction::In, PollFlags::IN),
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
        Ok(Source::Socket(socket)) if socket.tls.is_some() => match socket.poll_tls(events) {
            wanted if wanted.is_empty() => Pending::Ready(Source::Socket(socket), event_type),
            wanted => {
                fds.push(PollFd::from_borrowed_fd(socket.as_fd(), wanted));
                Pending::Secured(fds.len() - 1, socket, event_type)
            }
        },
        Ok(source) if source.never_waits() => Pending::Ready(source, event_type),
        Ok(source) => {
            fds.push(PollFd::from_borrowed_fd(source.fd(), events));
            Pending::Poll(fds.len() - 1, source, event_type)
        }
    }
}

/// Goes on with TLS where the poll says that it can. Returns whether nothing has happened that the
/// guest waits for, so that the poll has to go on too.
fn go_on_with_tls<'a>(pending: &mut [Pending<'a>], fds: &mut [PollFd<'a>]) -> bool {
    let mut nothing = true;
    let mut secured = false;
    for one in pending {
        match *one {
            Pending::Secured(i, socket, event_type) => {
                secured = true;
                if fds[i].revents().is_empty() {
                    continue;
                }
                let events = match event_type {
                    EventType::FdWrite => PollFlags::OUT,
                    _ => PollFlags::IN,
                };
                match socket.poll_tls(events) {
                    wanted if wanted.is_empty() => {
                        *one = Pending::Ready(Source::Socket(socket), event_type);
                        nothing = false;
                    }
                    wanted => fds[i] = PollFd::from_borrowed_fd(socket.as_fd(), wanted),
                }
            }
            Pending::Poll(i, ..) => nothing &= fds[i].revents().is_empty(),
            Pending::Ready(..) | Pending::Failed(..) => nothing = false,
            Pending::Clock(_) => {}
        }
    }
    secured && nothing
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::Flow;
    use crate::wasi::abi::oflags;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW, trapped};

    const SUBSCRIPTIONS: usize = 1024;
    const EVENTS: usize = 8192;
    const MS: u64 = 1_000_000;

    fn clock(id: u32, timeout: u64, flags: u16) -> [u8; SUBSCRIPTION_SIZE] {
        let mut s = [0; SUBSCRIPTION_SIZE];
        s[16..20].copy_from_slice(&id.to_le_bytes());
        s[24..32].copy_from_slice(&timeout.to_le_bytes());
        s[40..42].copy_from_slice(&flags.to_le_bytes());
        s
    }

    fn stream(event_type: EventType, fd: u64) -> [u8; SUBSCRIPTION_SIZE] {
        let mut s = [0; SUBSCRIPTION_SIZE];
        s[8] = event_type as u8;
        s[16..20].copy_from_slice(&low(fd).to_le_bytes());
        s
    }

    fn call(guest: &mut Guest, subscriptions: &[[u8; SUBSCRIPTION_SIZE]]) -> Flow {
        for (i, subscription) in subscriptions.iter().enumerate() {
            let at = SUBSCRIPTIONS + i * SUBSCRIPTION_SIZE;
            guest.memory[at..at + SUBSCRIPTION_SIZE].copy_from_slice(subscription);
            guest.memory[at] = 100 + i as u8;
        }
        guest.call(
            POLL_ONEOFF,
            &[
                SUBSCRIPTIONS as u64,
                EVENTS as u64,
                subscriptions.len() as u64,
                0,
            ],
        )
    }

    /// Which subscription, errno, type, bytes and flags of each event.
    fn poll(
        guest: &mut Guest,
        subscriptions: &[[u8; SUBSCRIPTION_SIZE]],
    ) -> Vec<(u64, u16, u8, u64, u16)> {
        assert_eq!(call(guest, subscriptions), Flow::Return(0));
        let events = guest
            .bytes(EVENTS, guest.u32(0) as usize * EVENT_SIZE)
            .chunks(EVENT_SIZE);
        events
            .map(|e| {
                (
                    u64_at(e, 0) - 100,
                    u16_at(e, 8),
                    e[10],
                    u64_at(e, 16),
                    u16_at(e, 24),
                )
            })
            .collect()
    }

    #[test]
    fn the_earliest_clock_ends_the_wait() {
        let mut guest = Guest::new();
        let begin = clock::monotonic();
        let (since_start, now) = (begin - guest.wasi.started, clock::realtime());
        for first in [
            clock(MONOTONIC, 20 * MS, 0),
            clock(REALTIME, 20 * MS, 0),
            clock(MONOTONIC, since_start + 60 * MS, ABSTIME),
            clock(REALTIME, now + 80 * MS, ABSTIME),
        ] {
            let events = poll(&mut guest, &[clock(MONOTONIC, u64::MAX, 0), first]);
            assert_eq!(events, [(1, 0, 0, 0, 0)]);
        }
        let passed = clock::monotonic() - begin;
        assert!((80 * MS..10_000 * MS).contains(&passed), "{passed}");
        let due = [
            clock(MONOTONIC, 0, 0),
            clock(REALTIME, 5, ABSTIME),
            clock(MONOTONIC, 1, ABSTIME),
        ];
        assert_eq!(poll(&mut guest, &due).len(), 3, "all that are due are told");
    }

    #[test]
    fn files_are_ready_at_once() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        guest.write(fd, &[b"12345"]).unwrap();
        guest.ok(FD_SEEK, &[fd, 2, 0, 0]);
        let asked = [
            clock(MONOTONIC, u64::MAX, 0),
            stream(EventType::FdRead, fd),
            stream(EventType::FdWrite, fd),
        ];
        assert_eq!(poll(&mut guest, &asked), [(1, 0, 1, 3, 0), (2, 0, 2, 1, 0)]);
        guest.ok(FD_SEEK, &[fd, 9, 0, 0]);
        assert_eq!(poll(&mut guest, &asked[1..2]), [(0, 0, 1, 0, HANGUP)]);
    }

    #[test]
    fn standard_streams_are_really_polled() {
        let mut guest = Guest::new();
        let (input, output) = (stream(EventType::FdRead, 0), stream(EventType::FdWrite, 1));
        assert_eq!(poll(&mut guest, &[input, output]), [(1, 0, 2, 1, 0)]);
        assert_eq!(
            poll(&mut guest, &[input, clock(MONOTONIC, MS, 0)]),
            [(1, 0, 0, 0, 0)]
        );
        guest.stdin(b"1234");
        assert_eq!(
            poll(&mut guest, &[input, clock(MONOTONIC, u64::MAX, 0)]),
            [(0, 0, 1, 4, 0)]
        );
        guest.close_stdout_reader();
        assert_eq!(poll(&mut guest, &[output]), [(0, 0, 2, 1, HANGUP)]);
    }

    #[test]
    fn a_descriptor_that_cannot_be_polled_is_an_event() {
        let mut guest = Guest::new();
        let badf = u16::from(Errno::BADF);
        let asked = [
            stream(EventType::FdRead, 99),
            stream(EventType::FdWrite, 0),
            stream(EventType::FdRead, 3),
            clock(MONOTONIC, u64::MAX, 0),
        ];
        assert_eq!(
            poll(&mut guest, &asked),
            [(0, badf, 1, 0, 0), (1, badf, 2, 0, 0), (2, badf, 1, 0, 0)]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let mut guest = Guest::new();
        guest.fails(Errno::INVAL, POLL_ONEOFF, &[1024, 8192, 0, 0]);
        for (clock_id, flags) in [(2, 0), (9, 0), (1, 2)] {
            assert_eq!(
                call(&mut guest, &[clock(clock_id, 0, flags)]),
                Flow::Return(28)
            );
        }
        let mut unknown = clock(1, 0, 0);
        unknown[8] = 3;
        assert_eq!(call(&mut guest, &[unknown]), Flow::Return(28));
        assert_eq!(call(&mut guest, &[clock(1, 0, 0)]), Flow::Return(0));
        trapped(guest.call(POLL_ONEOFF, &[1028, 8192, 1, 0]));
        trapped(guest.call(POLL_ONEOFF, &[1024, 8192, 1 << 30, 0]));
        trapped(guest.call(POLL_ONEOFF, &[1024, 65_536, 1, 0]));
    }

    #[test]
    fn subscriptions_are_limited() {
        let mut guest = Guest::with_memory(8 << 20);
        // Each is a clock that is due.
        let (out, events) = (4, 4 << 20);
        guest.ok(POLL_ONEOFF, &[4096, events, 65_536, out]);
        assert_eq!(guest.u32(4), 65_536);
        guest.fails(Errno::INVAL, POLL_ONEOFF, &[4096, events, 65_537, out]);
    }

    #[test]
    fn a_sleep_ends_with_the_wakeup() {
        let mut guest = Guest::new();
        let wakeup = guest.wakeup.clone();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            wakeup.wake();
        });
        assert_eq!(
            call(&mut guest, &[clock(MONOTONIC, u64::MAX, 0)]),
            Flow::Interrupted
        );
        waker.join().unwrap();
    }
}

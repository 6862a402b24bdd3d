//! What bytes flow through: a host descriptor, and how to use it without ever being stuck in it.
//!
//! Regular files are read and written directly. Everything else (pipes, terminals, devices) is used
//! so that a wait always watches the process's [`Wakeup`] too. A channel must never change the
//! flags of a descriptor that other processes share, and never closes the host's 0, 1 and 2.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs};
use rustix::io::{Errno as HostErrno, ReadWriteFlags};

use super::Stop;
use super::errno::Errno;
use super::poll::Interest;
use crate::wakeup::Wakeup;

/// As much as a pipe takes without waiting once it says that it is writable: POSIX's `PIPE_BUF`
/// on Linux, in bytes.
const PIPE_BUF: usize = 4096;

/// For `preadv2` and `pwritev2`: at the current position, as a stream has none.
const CURRENT_POSITION: u64 = u64::MAX;

/// A stream of bytes or a file.
pub(super) struct Channel {
    handle: Handle,
    readiness: Readiness,
    interest: Interest,
}

/// Whose descriptor it is.
pub(super) enum Handle {
    /// Ours, closed with the channel.
    Own(OwnedFd),
    /// One of the host's standard streams.
    Inherited(BorrowedFd<'static>),
}

/// How to know that an operation will not wait.
enum Readiness {
    /// It never waits: a regular file.
    Always,
    /// The descriptor is in non-blocking mode.
    NonBlocking {
        /// End of file before the first writer came is not the end: a FIFO that we opened without
        /// waiting for one.
        fifo: bool,
    },
    /// The descriptor is shared and in blocking mode, and this is the same file, opened again in
    /// non-blocking mode. It is for reading and writing only: a pipe tells only those who had it
    /// open that its writers are gone.
    Reopened(OwnedFd),
    /// The descriptor is shared, in blocking mode, and cannot be opened again: ask the kernel for
    /// an operation that does not wait. Where it has none for the file, ask before each operation,
    /// and do not offer more than surely fits.
    Ask,
}

/// Whether the guest wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until something can be read or written.
    Wait,
    /// Not at all: `EAGAIN`.
    None,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Handle::Own(fd) => fd.as_fd(),
            Handle::Inherited(fd) => *fd,
        }
    }
}

impl Channel {
    /// A file of that type that we opened with `O_NONBLOCK`.
    pub(super) fn opened(fd: OwnedFd, file_type: FileType) -> Channel {
        let readiness = match file_type {
            FileType::RegularFile | FileType::BlockDevice => Readiness::Always,
            other => Readiness::NonBlocking {
                fifo: other == FileType::Fifo,
            },
        };
        Channel {
            handle: Handle::Own(fd),
            readiness,
            interest: Interest::default(),
        }
    }

    /// A standard stream, whose flags belong to others too. `access` is `O_RDONLY` or `O_WRONLY`.
    pub(super) fn shared(handle: Handle, access: OFlags) -> Channel {
        let fd = handle.as_fd();
        let file_type = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let readiness = match file_type {
            // Some of /proc call themselves regular and wait all the same, such as `/proc/kmsg`.
            // They are not opened again, since the position is shared.
            Ok(FileType::RegularFile) if is_of_proc(fd) => Readiness::Ask,
            Ok(FileType::RegularFile | FileType::BlockDevice | FileType::Directory) => {
                Readiness::Always
            }
            _ => {
                let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                match rustix::fs::open(path, flags, Mode::empty()) {
                    Ok(fd) => Readiness::Reopened(fd),
                    Err(_) => Readiness::Ask,
                }
            }
        };
        Channel {
            handle,
            readiness,
            interest: Interest::default(),
        }
    }

    /// The descriptor to ask about the file and to poll.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Its place among what the guest waits for.
    pub(super) fn interest(&self) -> &Interest {
        &self.interest
    }

    /// Whether reading and writing never wait.
    pub(super) fn never_waits(&self) -> bool {
        matches!(self.readiness, Readiness::Always)
    }

    /// Reads at the current position. Zero is the end of the file.
    pub(super) fn read(
        &self,
        slices: &mut [IoSliceMut<'_>],
        patience: Patience,
        wakeup: &Wakeup,
    ) -> Result<usize, Stop> {
        if slices.is_empty() && !self.never_waits() {
            return Ok(0);
        }
        loop {
            let result = match self.readiness {
                Readiness::Ask => match read_without_waiting(self.io(), slices) {
                    Err(HostErrno::OPNOTSUPP | HostErrno::NOSYS) => {
                        self.wait(PollFlags::IN, patience, wakeup)?;
                        rustix::io::readv(self.io(), slices)
                    }
                    result => result,
                },
                _ => rustix::io::readv(self.io(), slices),
            };
            match result {
                Ok(0) if patience == Patience::Wait && self.awaits_writer()? => {}
                Ok(n) => return Ok(n),
                Err(HostErrno::INTR) if wakeup.is_set() => return Err(Stop::Interrupted),
                Err(HostErrno::INTR) => continue,
                Err(HostErrno::AGAIN) if !self.never_waits() => {}
                Err(error) => return Err(error.into()),
            }
            self.wait(PollFlags::IN, patience, wakeup)?;
        }
    }

    /// Writes at the current position: all of `slices` if the guest is patient and the file takes
    /// it. Returns how many bytes were taken, whatever ended it.
    pub(super) fn write(
        &self,
        slices: &mut [IoSlice<'_>],
        patience: Patience,
        wakeup: &Wakeup,
    ) -> (usize, Result<(), Stop>) {
        if self.never_waits() {
            return match rustix::io::writev(self.io(), slices) {
                Ok(n) => (n, Ok(())),
                Err(error) => (0, Err(error.into())),
            };
        }
        let mut rest = slices;
        let mut written = 0;
        while !rest.is_empty() {
            match self.write_some(rest, patience, wakeup) {
                Ok(n) => {
                    written += n;
                    IoSlice::advance_slices(&mut rest, n);
                }
                // What was written before the error counts; the error comes again.
                Err(Stop::Errno(_)) if written > 0 => break,
                Err(stop) => return (written, Err(stop)),
            }
        }
        (written, Ok(()))
    }

    /// Writes once, waiting for room if need be.
    fn write_some(
        &self,
        slices: &[IoSlice<'_>],
        patience: Patience,
        wakeup: &Wakeup,
    ) -> Result<usize, Stop> {
        loop {
            let result = match self.readiness {
                Readiness::Ask => match write_without_waiting(self.io(), slices) {
                    Err(HostErrno::OPNOTSUPP | HostErrno::NOSYS) => {
                        self.wait(PollFlags::OUT, patience, wakeup)?;
                        let first = slices.first().map_or(&[][..], |slice| slice);
                        rustix::io::write(self.io(), &first[..first.len().min(PIPE_BUF)])
                    }
                    result => result,
                },
                _ => rustix::io::writev(self.io(), slices),
            };
            match result {
                Ok(n) => return Ok(n),
                Err(HostErrno::INTR) if wakeup.is_set() => return Err(Stop::Interrupted),
                Err(HostErrno::INTR) => {}
                Err(HostErrno::AGAIN) => self.wait(PollFlags::OUT, patience, wakeup)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The descriptor to read and write.
    fn io(&self) -> BorrowedFd<'_> {
        match &self.readiness {
            Readiness::Reopened(fd) => fd.as_fd(),
            _ => self.handle.as_fd(),
        }
    }

    /// Waits until an operation may succeed.
    fn wait(&self, events: PollFlags, patience: Patience, wakeup: &Wakeup) -> Result<(), Stop> {
        if patience == Patience::None {
            return match self.poll_now(events)?.is_empty() {
                true => Err(Errno::AGAIN.into()),
                false => Ok(()),
            };
        }
        match wakeup.wait(self.fd(), events)? {
            Some(_) => Ok(()),
            None => Err(Stop::Interrupted),
        }
    }

    /// Whether an end of file only means that no writer has come yet.
    fn awaits_writer(&self) -> Result<bool, Stop> {
        match self.readiness {
            // The kernel reports a hang-up only to those who saw a writer.
            Readiness::NonBlocking { fifo: true } => Ok(self.poll_now(PollFlags::IN)?.is_empty()),
            _ => Ok(false),
        }
    }

    fn poll_now(&self, events: PollFlags) -> Result<PollFlags, Stop> {
        let mut fds = [PollFd::from_borrowed_fd(self.fd(), events)];
        let no_time = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut fds, Some(&no_time))?;
        Ok(fds[0].revents())
    }
}

/// Reads what is there, whatever the descriptor's mode: `EAGAIN` where nothing is. Not every kind
/// of file can do it.
fn read_without_waiting(
    fd: BorrowedFd<'_>,
    slices: &mut [IoSliceMut<'_>],
) -> Result<usize, HostErrno> {
    rustix::io::preadv2(fd, slices, CURRENT_POSITION, ReadWriteFlags::NOWAIT)
}

/// Writes what fits, whatever the descriptor's mode: `EAGAIN` where nothing does. Not every kind of
/// file can do it.
fn write_without_waiting(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, HostErrno> {
    rustix::io::pwritev2(fd, slices, CURRENT_POSITION, ReadWriteFlags::NOWAIT)
}

/// Whether the file is one of `/proc`, which are made when they are read and have no size.
pub(super) fn is_of_proc(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A pipe of which one end is the channel, in the mode that standard streams have.
    fn channel(fd: OwnedFd, access: OFlags, readiness: Option<Readiness>) -> Channel {
        let shared = Channel::shared(Handle::Own(fd), access);
        assert!(matches!(shared.readiness, Readiness::Reopened(_)));
        Channel {
            readiness: readiness.unwrap_or(shared.readiness),
            ..shared
        }
    }

    #[test]
    fn a_write_to_a_full_pipe_waits_for_room_or_the_wakeup() {
        for ask in [false, true] {
            let wakeup = Wakeup::new().unwrap();
            let (read, write) = rustix::pipe::pipe().unwrap();
            let channel = channel(write, OFlags::WRONLY, ask.then_some(Readiness::Ask));
            let data = vec![7; 1 << 20];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut left = data.len();
                    while left > 0 {
                        left -= rustix::io::read(&read, &mut [0; 9999]).unwrap();
                    }
                });
                let slices = &mut [IoSlice::new(&data[..10]), IoSlice::new(&data[10..])];
                let (n, end) = channel.write(slices, Patience::Wait, &wakeup);
                assert!(end.is_ok());
                assert_eq!(n, data.len());
            });
            // Nobody reads any more: a guest that does not wait gets what fits, then EAGAIN.
            let (n, end) = channel.write(&mut [IoSlice::new(&data)], Patience::None, &wakeup);
            assert!(end.is_ok() && n > 0 && n < data.len());
            let (n, end) = channel.write(&mut [IoSlice::new(&data)], Patience::None, &wakeup);
            assert!(matches!((n, end), (0, Err(Stop::Errno(Errno::AGAIN)))));
            std::thread::scope(|scope| {
                scope.spawn(|| wakeup.wake());
                let (_, end) = channel.write(&mut [IoSlice::new(&data)], Patience::Wait, &wakeup);
                assert!(matches!(end, Err(Stop::Interrupted)));
            });
            drop(read);
            let (n, end) = channel.write(&mut [IoSlice::new(&data)], Patience::None, &wakeup);
            assert!(matches!((n, end), (0, Err(Stop::Errno(Errno::PIPE)))));
        }
    }

    #[test]
    fn a_read_waits_for_data_the_end_or_the_wakeup() {
        for ask in [false, true] {
            let wakeup = Wakeup::new().unwrap();
            let (read, write) = rustix::pipe::pipe().unwrap();
            let channel = channel(read, OFlags::RDONLY, ask.then_some(Readiness::Ask));
            let mut buffer = [0; 8];
            let mut read =
                |patience| channel.read(&mut [IoSliceMut::new(&mut buffer)], patience, &wakeup);
            assert!(matches!(
                read(Patience::None),
                Err(Stop::Errno(Errno::AGAIN))
            ));
            rustix::io::write(&write, b"abc").unwrap();
            assert!(matches!(read(Patience::Wait), Ok(3)));
            std::thread::scope(|scope| {
                scope.spawn(|| wakeup.wake());
                assert!(matches!(read(Patience::Wait), Err(Stop::Interrupted)));
            });
            drop(write);
            assert!(matches!(read(Patience::None), Ok(0)));
        }
    }

    #[test]
    fn a_pipe_whose_writer_left_before_we_came_is_at_its_end() {
        let wakeup = Wakeup::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"abc").unwrap();
        drop(write);
        let channel = channel(read, OFlags::RDONLY, None);
        let mut buffer = [0; 8];
        for expected in [3, 0, 0] {
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            let n = channel.read(slices, Patience::Wait, &wakeup).unwrap();
            assert_eq!(n, expected);
        }
        let events = channel.poll_now(PollFlags::IN).unwrap();
        assert!(events.contains(PollFlags::HUP), "{events:?}");
    }

    /// Others write to the pipe as well, and each time that it says it has room they may be first.
    #[test]
    fn a_shared_pipe_that_others_fill_holds_nobody() {
        let wakeup = Wakeup::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let rival = write.try_clone().unwrap();
        let channel = channel(write, OFlags::WRONLY, Some(Readiness::Ask));
        let data = vec![7; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Until the reader is gone.
                while rustix::io::write(&rival, &[1; 4096]).is_ok() {}
            });
            let waker = wakeup.clone();
            let reading = scope.spawn(move || {
                for _ in 0..2000 {
                    rustix::io::read(&read, &mut [0; 4096]).unwrap();
                }
                waker.wake();
                read
            });
            let end = loop {
                let (_, end) = channel.write(&mut [IoSlice::new(&data)], Patience::Wait, &wakeup);
                if end.is_err() {
                    break end;
                }
            };
            assert!(matches!(end, Err(Stop::Interrupted)));
            drop(reading.join().unwrap());
        });
    }

    #[test]
    fn what_cannot_be_opened_again_is_asked() {
        let wakeup = Wakeup::new().unwrap();
        let (here, there) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::empty(),
            None,
        )
        .unwrap();
        let channel = Channel::shared(Handle::Own(here), OFlags::WRONLY);
        assert!(matches!(channel.readiness, Readiness::Ask));
        let data = vec![7; 1 << 20];
        let (n, end) = channel.write(&mut [IoSlice::new(&data)], Patience::None, &wakeup);
        assert!(end.is_ok() && n > 0 && n < data.len());
        std::thread::scope(|scope| {
            scope.spawn(|| wakeup.wake());
            let (_, end) = channel.write(&mut [IoSlice::new(&data)], Patience::Wait, &wakeup);
            assert!(matches!(end, Err(Stop::Interrupted)));
        });
        drop(there);
    }

    /// A file that says it is regular, and may wait all the same.
    #[test]
    fn a_file_of_proc_is_asked_and_read_to_its_end() {
        let wakeup = Wakeup::new().unwrap();
        let file = std::fs::File::open("/proc/self/mounts").unwrap();
        let channel = Channel::shared(Handle::Own(file.into()), OFlags::RDONLY);
        assert!(matches!(channel.readiness, Readiness::Ask));
        let mut read = Vec::new();
        let mut buffer = [0; 100];
        loop {
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            match channel.read(slices, Patience::Wait, &wakeup).unwrap() {
                0 => break,
                n => read.extend_from_slice(&buffer[..n]),
            }
        }
        assert_eq!(read, std::fs::read("/proc/self/mounts").unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(Channel::shared(Handle::Own(file.into()), OFlags::RDONLY).never_waits());
    }
}

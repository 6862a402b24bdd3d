//! What a descriptor is: `fd_fdstat_get`, `fd_fdstat_set_flags`, `fd_fdstat_set_rights`,
//! `fd_filestat_get`, `fd_filestat_set_size`, `fd_filestat_set_times`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use super::abi::{self, Filetype, fdflags, fstflags, rights};
use super::descriptors::{Descriptor, Direction};
use super::errno::Errno;
use super::{Outcome, Wasi};
use crate::memory::GuestMemory;

/// Which times to set to what, from the arguments of a call.
pub(super) fn timestamps(atim: u64, mtim: u64, flags: u32) -> Result<Timestamps, Errno> {
    let flags = abi::known(flags, fstflags::ALL)?;
    let time = |value: u64, set: u16, now: u16| {
        let (tv_sec, tv_nsec) = match (flags & set != 0, flags & now != 0) {
            (true, true) => return Err(Errno::INVAL),
            (true, false) => {
                let (seconds, nanoseconds) = (value / 1_000_000_000, value % 1_000_000_000);
                (seconds.cast_signed(), nanoseconds.cast_signed())
            }
            (false, true) => (0, UTIME_NOW),
            (false, false) => (0, UTIME_OMIT),
        };
        Ok(Timespec { tv_sec, tv_nsec })
    };
    Ok(Timestamps {
        last_access: time(atim, fstflags::ATIM, fstflags::ATIM_NOW)?,
        last_modification: time(mtim, fstflags::MTIM, fstflags::MTIM_NOW)?,
    })
}

/// Sets the times of the very file that `fd` is open on, even if only its path is open.
pub(super) fn set_times(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<(), rustix::io::Errno> {
    match utimensat(fd, "", times, AtFlags::EMPTY_PATH) {
        // Linux before 5.8.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => utimensat(
            CWD,
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            times,
            AtFlags::empty(),
        ),
        result => result,
    }
}

impl Wasi {
    pub(super) fn fd_fdstat_get(&self, memory: &mut GuestMemory<'_>, fd: u32, out: u64) -> Outcome {
        let stat = match self.descriptors.get(fd)? {
            Descriptor::Stdio(stdio) => {
                let rights = rights::STREAM
                    | match stdio.direction {
                        Direction::In => rights::FD_READ,
                        Direction::Out => rights::FD_WRITE,
                    };
                abi::fdstat(stdio.filetype, stdio.flags, rights, rights)
            }
            Descriptor::File(file) => {
                let mut all = rights::FILE & !(rights::FD_READ | rights::FD_WRITE) | file.rights;
                // C libraries take a character device without a position for a terminal.
                if file.filetype == Filetype::CharacterDevice
                    && rustix::termios::isatty(file.channel.fd())
                {
                    all &= !(rights::FD_SEEK | rights::FD_TELL);
                }
                abi::fdstat(file.filetype, file.flags, all, all)
            }
            Descriptor::Socket(socket) => abi::fdstat(
                socket.filetype(),
                socket.flags,
                rights::SOCKET,
                rights::SOCKET,
            ),
            Descriptor::ResolverFiles(files) => abi::fdstat(
                Filetype::Directory,
                files.flags,
                rights::DIRECTORY,
                rights::DIRECTORY | rights::FILE,
            ),
            Descriptor::Directory(directory) => {
                let inheriting = rights::DIRECTORY | rights::FILE;
                abi::fdstat(
                    Filetype::Directory,
                    directory.flags,
                    rights::DIRECTORY,
                    inheriting,
                )
            }
        };
        Ok(memory.write_struct(out, &stat)?)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Outcome {
        let flags = abi::known(flags, fdflags::ALL)?;
        let current = match self.descriptors.get_mut(fd)? {
            Descriptor::Stdio(stdio) => {
                // The mode of the host's own descriptor belongs to others too.
                if flags & fdflags::APPEND != 0 {
                    return Err(Errno::NOTSUP.into());
                }
                &mut stdio.flags
            }
            Descriptor::Socket(socket) => {
                if flags & !fdflags::NONBLOCK != 0 {
                    return Err(Errno::INVAL.into());
                }
                &mut socket.flags
            }
            Descriptor::File(file) => &mut file.flags,
            Descriptor::Directory(_) | Descriptor::ResolverFiles(_) => {
                return Err(Errno::BADF.into());
            }
        };
        // How durable writes are is decided when a file is opened, as on Linux.
        let durability = *current & fdflags::DURABILITY;
        if flags & fdflags::DURABILITY & !durability != 0 {
            return Err(Errno::INVAL.into());
        }
        *current = flags | durability;
        if let Descriptor::File(file) = self.descriptors.get(fd)? {
            let append = if flags & fdflags::APPEND == 0 {
                OFlags::empty()
            } else {
                OFlags::APPEND
            };
            rustix::fs::fcntl_setfl(file.channel.fd(), append | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    /// Not supported, as in wasmtime: rights are no longer part of WASI.
    pub(super) fn fd_fdstat_set_rights(&self, fd: u32) -> Outcome {
        match self.descriptors.get(fd)? {
            Descriptor::Stdio(_) | Descriptor::Socket(_) => Err(Errno::BADF.into()),
            Descriptor::File(_) | Descriptor::Directory(_) | Descriptor::ResolverFiles(_) => {
                Err(Errno::NOTSUP.into())
            }
        }
    }

    pub(super) fn fd_filestat_get(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u64,
    ) -> Outcome {
        let stat = match self.descriptors.get(fd)? {
            Descriptor::Stdio(stdio) => abi::filestat_of_stream(stdio.filetype),
            Descriptor::Socket(socket) => abi::filestat_of_stream(socket.filetype()),
            Descriptor::ResolverFiles(files) => files.stat_itself(),
            Descriptor::File(file) => abi::filestat(&rustix::fs::fstat(file.channel.fd())?),
            Descriptor::Directory(directory) => abi::filestat(&rustix::fs::fstat(&directory.dir)?),
        };
        Ok(memory.write_struct(out, &stat)?)
    }

    pub(super) fn fd_filestat_set_size(&self, fd: u32, size: u64) -> Outcome {
        let file = self.descriptors.file(fd)?;
        file.grant.writable("")?;
        Ok(rustix::fs::ftruncate(file.channel.fd(), size)?)
    }

    pub(super) fn fd_filestat_set_times(
        &self,
        fd: u32,
        atim: u64,
        mtim: u64,
        flags: u32,
    ) -> Outcome {
        let times = timestamps(atim, mtim, flags)?;
        match self.descriptors.get(fd)? {
            Descriptor::Stdio(_) | Descriptor::Socket(_) => return Err(Errno::BADF.into()),
            Descriptor::ResolverFiles(_) => return Err(Errno::PERM.into()),
            Descriptor::File(file) => {
                file.grant.writable("")?;
                set_times(file.channel.fd(), &times)?;
            }
            Descriptor::Directory(directory) => {
                directory.grant.writable("")?;
                set_times(std::os::fd::AsFd::as_fd(&directory.dir), &times)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::abi::oflags;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW, trapped};

    #[test]
    fn fdstat_says_what_can_be_done() {
        let mut guest = Guest::new();
        guest.host_write("f", b"");
        let read = guest
            .open("f", 0, rights::FD_READ, fdflags::NONBLOCK)
            .unwrap();
        let write = guest
            .open("f", 0, rights::FD_WRITE, fdflags::APPEND | fdflags::SYNC)
            .unwrap();
        for (fd, filetype, flags, has, lacks) in [
            (0, 0, 0, rights::FD_READ, rights::FD_WRITE | rights::FD_SEEK),
            (1, 0, 0, rights::FD_WRITE, rights::FD_READ),
            (
                3,
                3,
                0,
                rights::PATH_OPEN | rights::FD_READDIR,
                rights::FD_READ | rights::FD_SEEK,
            ),
            (
                read,
                4,
                4,
                rights::FD_READ | rights::FD_SEEK | rights::FD_TELL,
                rights::FD_WRITE,
            ),
            (
                write,
                4,
                17,
                rights::FD_WRITE,
                rights::FD_READ | rights::PATH_OPEN,
            ),
        ] {
            guest.ok(FD_FDSTAT_GET, &[fd, 8]);
            assert_eq!(
                (guest.memory[8], guest.memory[10]),
                (filetype, flags),
                "{fd}"
            );
            let rights = guest.u64(16);
            assert_eq!((rights & has, rights & lacks), (has, 0), "{fd}");
        }
        guest.fails(Errno::BADF, FD_FDSTAT_GET, &[99, 8]);
        trapped(guest.call(FD_FDSTAT_GET, &[0, 4]));
    }

    #[test]
    fn flags_change_except_durability() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, fdflags::DSYNC).unwrap();
        guest.ok(
            FD_FDSTAT_SET_FLAGS,
            &[fd, u64::from(fdflags::NONBLOCK | fdflags::APPEND)],
        );
        guest.ok(FD_FDSTAT_GET, &[fd, 8]);
        assert_eq!(
            u16::from(guest.memory[10]),
            fdflags::NONBLOCK | fdflags::APPEND | fdflags::DSYNC
        );
        guest.fails(
            Errno::INVAL,
            FD_FDSTAT_SET_FLAGS,
            &[fd, fdflags::SYNC.into()],
        );
        guest.fails(Errno::INVAL, FD_FDSTAT_SET_FLAGS, &[fd, 32]);
        guest.fails(
            Errno::NOTSUP,
            FD_FDSTAT_SET_FLAGS,
            &[1, fdflags::APPEND.into()],
        );
        guest.fails(Errno::BADF, FD_FDSTAT_SET_FLAGS, &[3, 0]);
        guest.fails(Errno::BADF, FD_FDSTAT_SET_FLAGS, &[99, 0]);
        guest.fails(Errno::NOTSUP, FD_FDSTAT_SET_RIGHTS, &[fd, 0, 0]);
        guest.fails(Errno::BADF, FD_FDSTAT_SET_RIGHTS, &[0, 0, 0]);
    }

    #[test]
    fn filestat_is_the_hosts() {
        let mut guest = Guest::new();
        guest.host_write("f", b"12345");
        let fd = guest.open("f", 0, RW, 0).unwrap();
        guest.ok(
            FD_FILESTAT_SET_TIMES,
            &[
                fd,
                1_500_000_001,
                2_000_000_002,
                u64::from(fstflags::ATIM | fstflags::MTIM),
            ],
        );
        guest.ok(FD_FILESTAT_GET, &[fd, 64]);
        assert_eq!((guest.memory[80], guest.u64(88), guest.u64(96)), (4, 1, 5));
        assert_eq!(
            (guest.u64(104), guest.u64(112)),
            (1_500_000_001, 2_000_000_002)
        );
        let inode = guest.u64(72);
        guest.ok(
            FD_FILESTAT_SET_TIMES,
            &[fd, 9, 9, fstflags::MTIM_NOW.into()],
        );
        guest.ok(FD_FILESTAT_GET, &[fd, 64]);
        assert_eq!((guest.u64(72), guest.u64(104)), (inode, 1_500_000_001));
        assert!(crate::wasi::clock::realtime().abs_diff(guest.u64(112)) < 60_000_000_000);
        guest.ok(
            FD_FILESTAT_SET_TIMES,
            &[3, 1, 2, u64::from(fstflags::ATIM | fstflags::MTIM)],
        );
        guest.ok(FD_FILESTAT_GET, &[3, 64]);
        assert_eq!((guest.memory[80], guest.u64(112)), (3, 2));
        guest.ok(FD_FILESTAT_GET, &[1, 64]);
        assert_eq!(guest.bytes(64, 64), [0; 64]);
        for flags in [3, 12, 16] {
            guest.fails(Errno::INVAL, FD_FILESTAT_SET_TIMES, &[fd, 0, 0, flags]);
        }
        guest.fails(Errno::BADF, FD_FILESTAT_SET_TIMES, &[0, 0, 0, 0]);
        guest.fails(Errno::BADF, FD_FILESTAT_GET, &[99, 64]);
        trapped(guest.call(FD_FILESTAT_GET, &[fd, 60]));
    }

    #[test]
    fn size_can_be_set_up_and_down() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        guest.write(fd, &[b"abc"]).unwrap();
        guest.ok(FD_FILESTAT_SET_SIZE, &[fd, 5]);
        assert_eq!(guest.host_read("f"), b"abc\0\0");
        guest.ok(FD_FILESTAT_SET_SIZE, &[fd, 1]);
        assert_eq!(guest.host_read("f"), b"a");
        guest.fails(Errno::INVAL, FD_FILESTAT_SET_SIZE, &[fd, u64::MAX]);
        guest.fails(Errno::BADF, FD_FILESTAT_SET_SIZE, &[3, 0]);
        guest.fails(Errno::BADF, FD_FILESTAT_SET_SIZE, &[0, 0]);
    }
}

//! `path_open`: what opens, how, and what it becomes.
//!
//! The host opens everything in non-blocking mode, so that no FIFO or device holds the guest where
//! the wakeup does not reach it; whether the guest waits is the channel's business.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, OFlags, Stat, readlink};

use super::abi::{self, fdflags, oflags, rights};
use super::channel::{Channel, is_of_proc};
use super::descriptors::{Descriptor, Directory, File};
use super::errno::Errno;
use super::path::{follow, text};
use super::{Outcome, Stop, Wasi};
use crate::memory::GuestMemory;

/// How often a FIFO is tried that nobody has open for reading.
const FIFO_RETRY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// What `path_open` was asked for.
pub(super) struct Opening {
    pub oflags: u16,
    pub rights: u64,
    pub fdflags: u16,
    follow: FollowSymlinks,
}

impl Opening {
    fn parse(lookup: u32, oflags: u32, rights: u64, fdflags: u32) -> Result<Opening, Errno> {
        let oflags = abi::known(oflags, oflags::ALL)?;
        if oflags & oflags::DIRECTORY != 0 && oflags != oflags::DIRECTORY {
            return Err(Errno::INVAL);
        }
        let mut wanted = rights & (rights::FD_READ | rights::FD_WRITE);
        if wanted & rights::FD_WRITE == 0 {
            // The host opens for something; this is the least.
            wanted |= rights::FD_READ;
        }
        if oflags & (oflags::CREAT | oflags::TRUNC) != 0 {
            // As in wasmtime, so that a read-only directory refuses these too.
            wanted |= rights::FD_WRITE;
        }
        let fdflags = abi::known(fdflags, fdflags::ALL)?;
        Ok(Opening {
            oflags,
            rights: wanted,
            fdflags,
            follow: follow(lookup)?,
        })
    }

    pub fn writes(&self) -> bool {
        self.rights & rights::FD_WRITE != 0
    }

    /// For the host: never waiting, never becoming the process's terminal.
    fn options(&self) -> OpenOptions {
        let has = |flag| self.oflags & flag != 0;
        let mut custom = OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.fdflags & fdflags::APPEND != 0 {
            custom |= OFlags::APPEND;
        }
        let mut options = OpenOptions::new();
        options
            .read(self.rights & rights::FD_READ != 0)
            .write(self.writes())
            .create(has(oflags::CREAT))
            .create_new(has(oflags::CREAT) && has(oflags::EXCL))
            .truncate(has(oflags::TRUNC))
            .custom_flags(custom.bits().cast_signed())
            .follow(self.follow)
            .sync(self.fdflags & fdflags::SYNC != 0)
            .dsync(self.fdflags & fdflags::DSYNC != 0)
            .rsync(self.fdflags & fdflags::RSYNC != 0);
        options
    }
}

impl Wasi {
    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(super) fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        lookup: u32,
        name: u64,
        length: u64,
        oflags: u32,
        base: u64,
        fdflags: u32,
        out: u64,
    ) -> Outcome {
        let opening = Opening::parse(lookup, oflags, base, fdflags)?;
        let directory = match self.base(fd)? {
            Descriptor::Directory(directory) => directory,
            Descriptor::ResolverFiles(files) => {
                let path = text(memory, name, length)?;
                self.descriptors.room()?;
                let opened = files.open(path, &opening)?;
                let fd = self.descriptors.push(opened)?;
                return Ok(memory.write_u32(out, fd)?);
            }
            Descriptor::File(_) | Descriptor::Socket(_) => return Err(Errno::NOTDIR.into()),
            Descriptor::Stdio(_) => return Err(Errno::BADF.into()),
        };
        let path = text(memory, name, length)?;
        if opening.writes() {
            directory.grant.writable(path)?;
        }
        self.descriptors.room()?;
        let opened = self.open(directory, path, &opening)?;
        let fd = self.descriptors.push(opened)?;
        Ok(memory.write_u32(out, fd)?)
    }

    fn open(
        &self,
        directory: &Directory,
        path: &str,
        opening: &Opening,
    ) -> Result<Descriptor, Stop> {
        let options = opening.options();
        let file = loop {
            match directory.dir.open_with(path, &options) {
                Err(error)
                    if rustix::io::Errno::from_io_error(&error)
                        == Some(rustix::io::Errno::NXIO)
                        && opening.fdflags & fdflags::NONBLOCK == 0
                        && is_fifo(directory, path, opening.follow) =>
                {
                    self.pause()?;
                }
                result => break directory.beneath(path, result)?.into_std(),
            }
        };
        let grant = Arc::clone(&directory.grant);
        let stat = rustix::fs::fstat(&file)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if file_type == FileType::RegularFile && is_of_this_process(file.as_fd(), &stat) {
            let why = "a file of the host's own process, which no directory grants".to_owned();
            return Err(Stop::Because(Errno::PERM, why));
        }
        if file_type == FileType::Directory {
            let dir = Dir::from_std_file(file);
            let flags = opening.fdflags;
            return Ok(Descriptor::Directory(Directory {
                dir,
                grant,
                preopened: None,
                flags,
                listing: OnceLock::new(),
            }));
        }
        if opening.oflags & oflags::DIRECTORY != 0 {
            return Err(Errno::NOTDIR.into());
        }
        Ok(Descriptor::File(File {
            channel: Channel::opened(file.into(), file_type),
            filetype: file_type.into(),
            grant,
            rights: opening.rights,
            flags: opening.fdflags,
        }))
    }

    /// Waits a little. There is no event for "somebody opened the FIFO".
    pub(super) fn pause(&self) -> Outcome {
        let mut fds = [PollFd::new(&self.wakeup, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&FIFO_RETRY)) {
            _ if self.wakeup.is_set() => Err(Stop::Interrupted),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether that is a FIFO, now.
fn is_fifo(directory: &Directory, path: &str, follow: FollowSymlinks) -> bool {
    let stat = directory.locate(path, follow).map(rustix::fs::fstat);
    matches!(stat, Ok(Ok(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// Whether that is a file of `/proc` about this very process: its memory and its environment are the
/// host's, also where `/proc` was granted or lies beneath what was.
fn is_of_this_process(file: BorrowedFd<'_>, stat: &Stat) -> bool {
    // Files of /proc have no size, so others cost no call.
    if stat.st_size != 0 || !is_of_proc(file) {
        return false;
    }
    let Ok(path) = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()) else {
        // Nobody can tell which process it is about.
        return true;
    };
    // A process is known by the number of each of its threads.
    let threads = Path::new("/proc/self/task");
    path.to_bytes()
        .split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_digit))
        .any(|name| threads.join(OsStr::from_bytes(name)).exists())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::Flow;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW, trapped};

    const R: u64 = rights::FD_READ;

    #[test]
    fn open_creates_truncates_and_excludes() {
        let mut guest = Guest::new();
        assert_eq!(guest.open("f", 0, RW, 0), Err(Errno::NOENT));
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        guest.write(fd, &[b"content"]).unwrap();
        assert_eq!(
            guest.open("f", oflags::CREAT | oflags::EXCL, RW, 0),
            Err(Errno::EXIST)
        );
        let fd = guest.open("f", oflags::CREAT, R, 0).unwrap();
        assert_eq!(guest.read(fd, &[9]), Ok(b"content".to_vec()));
        guest.open("f", oflags::TRUNC, RW, 0).unwrap();
        assert_eq!(guest.host_read("f"), b"");
        assert_eq!(guest.open("", 0, R, 0), Err(Errno::NOENT));
        assert_eq!(guest.open("a\0b", 0, R, 0), Err(Errno::INVAL));
        assert_eq!(
            guest.open(&"x".repeat(300), 0, R, 0),
            Err(Errno::NAMETOOLONG)
        );
        assert_eq!(
            guest.open(&"x/".repeat(3000), 0, R, 0),
            Err(Errno::NAMETOOLONG)
        );
        assert_eq!(guest.open("f", 16, R, 0), Err(Errno::INVAL));
        assert_eq!(guest.open("f", 0, R, 32), Err(Errno::INVAL));
        assert_eq!(guest.open_at(3, 2, "f", 0, R, 0), Err(Errno::INVAL));
        assert_eq!(guest.open_at(fd, 0, "f", 0, R, 0), Err(Errno::NOTDIR));
        assert_eq!(guest.open_at(0, 0, "f", 0, R, 0), Err(Errno::BADF));
        assert_eq!(guest.open_at(99, 0, "f", 0, R, 0), Err(Errno::BADF));
        guest.memory[2000] = 0xff;
        guest.fails(Errno::ILSEQ, PATH_OPEN, &[3, 0, 2000, 1, 0, R, 0, 0, 0]);
        trapped(guest.call(PATH_OPEN, &[3, 0, 1 << 30, 1, 0, R, 0, 0, 0]));
    }

    #[test]
    fn directories_are_opened_and_resolved_from() {
        let mut guest = Guest::new();
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, 3, "d"), Ok(()));
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, 3, "d"), Err(Errno::EXIST));
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, 3, "d/e/"), Ok(()));
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, 3, "x/y"), Err(Errno::NOENT));
        let d = guest.open("d/", oflags::DIRECTORY, 0, 0).unwrap();
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, d, "f"), Ok(()));
        let file = guest.open_at(d, 0, "file", oflags::CREAT, RW, 0).unwrap();
        guest.write(file, &[b"deep"]).unwrap();
        assert_eq!(guest.host_read("d/file"), b"deep");
        assert_eq!(
            guest.open_at(d, 0, "../d/file", 0, R, 0),
            Err(Errno::PERM),
            "not above where it starts"
        );
        assert!(guest.open("d/../d/e/../file", 0, R, 0).is_ok());
        assert_eq!(guest.open("d", 0, RW, 0), Err(Errno::ISDIR));
        assert_eq!(
            guest.open("d/file", oflags::DIRECTORY, R, 0),
            Err(Errno::NOTDIR)
        );
        assert_eq!(guest.open("d/file/", 0, R, 0), Err(Errno::NOTDIR));
        assert_eq!(guest.open("d/file/x", 0, R, 0), Err(Errno::NOTDIR));
        for flag in [oflags::CREAT, oflags::EXCL, oflags::TRUNC] {
            assert_eq!(
                guest.open("d", oflags::DIRECTORY | flag, R, 0),
                Err(Errno::INVAL)
            );
        }
        assert_eq!(
            guest.at(PATH_REMOVE_DIRECTORY, 3, "d"),
            Err(Errno::NOTEMPTY)
        );
        assert_eq!(
            guest.at(PATH_REMOVE_DIRECTORY, 3, "d/file"),
            Err(Errno::NOTDIR)
        );
        assert_eq!(guest.at(PATH_REMOVE_DIRECTORY, 3, "d/e"), Ok(()));
        assert_eq!(guest.at(PATH_REMOVE_DIRECTORY, 3, "d/e"), Err(Errno::NOENT));
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "d/f"), Err(Errno::ISDIR));
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "d/file/"), Err(Errno::NOTDIR));
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "d/file"), Ok(()));
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "d/file"), Err(Errno::NOENT));
        for function in [
            PATH_CREATE_DIRECTORY,
            PATH_REMOVE_DIRECTORY,
            PATH_UNLINK_FILE,
        ] {
            assert_eq!(guest.at(function, 0, "d"), Err(Errno::BADF));
            assert_eq!(guest.at(function, file, "d"), Err(Errno::BADF));
            trapped(guest.call(function, &[3, 1 << 30, 1]));
        }
    }

    #[test]
    fn a_fifo_waits_for_its_other_side_or_the_wakeup() {
        let mut guest = Guest::new();
        let fifo = guest.root.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(
            guest.open("fifo", 0, rights::FD_WRITE, fdflags::NONBLOCK),
            Err(Errno::NXIO)
        );
        let read = guest.open("fifo", 0, R, 0).unwrap();
        let host = std::thread::spawn({
            let fifo = fifo.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_millis(30));
                std::fs::write(fifo, b"through").unwrap();
            }
        });
        assert_eq!(
            guest.read(read, &[20]),
            Ok(b"through".to_vec()),
            "no end before the first writer"
        );
        host.join().unwrap();
        assert_eq!(guest.read(read, &[20]), Ok(vec![]));
        guest.ok(FD_CLOSE, &[read]);
        let host = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read(fifo).unwrap()
        });
        let write = guest.open("fifo", 0, rights::FD_WRITE, 0).unwrap();
        guest.write(write, &[b"back"]).unwrap();
        guest.ok(FD_CLOSE, &[write]);
        assert_eq!(host.join().unwrap(), b"back");
        let wakeup = guest.wakeup.clone();
        let waker = std::thread::spawn(move || wakeup.wake());
        let [[p, n]] = guest.paths(["fifo"]);
        let flow = guest.call(PATH_OPEN, &[3, 0, p, n, 0, rights::FD_WRITE, 0, 0, 0]);
        assert_eq!(flow, Flow::Interrupted);
        waker.join().unwrap();
    }
}

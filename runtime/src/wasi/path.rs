//! Paths: how they are resolved, and every `path_*` function but `path_open`.
//!
//! A path is resolved beneath a directory that the guest has open, by cap-std: one that leads out
//! of it (an absolute path, too many `..`, a symbolic link) is `EPERM`. Nothing here may resolve a
//! path in another way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{OpenOptions, OpenOptionsExt};
use rustix::fs::{OFlags, Stat};

use super::abi;
use super::descriptors::{Descriptor, Directory};
use super::errno::Errno;
use super::grants::Refusal;
use super::stat::{set_times, timestamps};
use super::{Outcome, Stop, Wasi, low};
use crate::memory::{GuestMemory, MAX_PATH};

/// The text at an address.
pub(super) fn text<'m>(
    memory: &'m GuestMemory<'_>,
    address: u64,
    length: u64,
) -> Result<&'m str, Stop> {
    let bytes = memory.slice(address, length)?;
    if bytes.len() > MAX_PATH {
        let why = format!("a path of {length} bytes, and the limit is {MAX_PATH}");
        return Err(Stop::Because(Errno::NAMETOOLONG, why));
    }
    Ok(std::str::from_utf8(bytes).map_err(|_| Errno::ILSEQ)?)
}

/// What `lookupflags` say of a symbolic link at the end of a path.
pub(super) fn follow(flags: u32) -> Result<FollowSymlinks, Errno> {
    match flags {
        0 => Ok(FollowSymlinks::No),
        abi::SYMLINK_FOLLOW => Ok(FollowSymlinks::Yes),
        _ => Err(Errno::INVAL),
    }
}

impl Directory {
    /// The result of an operation on a path beneath this directory.
    pub(super) fn beneath<T>(&self, path: &str, result: io::Result<T>) -> Result<T, Stop> {
        result.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            // The one error that cap-std makes itself.
            None if error.kind() == io::ErrorKind::PermissionDenied => {
                self.grant.escaped(path).into()
            }
            _ => Errno::from(&error).into(),
        })
    }

    /// The result of an operation on a path here and another in `to`.
    fn beneath_both<T>(
        &self,
        old: &str,
        to: &Directory,
        new: &str,
        result: io::Result<T>,
    ) -> Result<T, Stop> {
        to.beneath(new, result).map_err(|stop| match stop {
            // Which of the two it was only a second look tells.
            Stop::Refused(refusal) => match self.locate(old, FollowSymlinks::No) {
                Err(Stop::Refused(refusal)) => Stop::Refused(refusal),
                _ => Stop::Refused(refusal),
            },
            other => other,
        })
    }

    /// A handle of what the path names, which neither reads nor waits.
    pub(super) fn locate(&self, path: &str, follow: FollowSymlinks) -> Result<OwnedFd, Stop> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .follow(follow)
            .custom_flags(OFlags::PATH.bits().cast_signed());
        let file = self.beneath(path, self.dir.open_with(path, &options))?;
        Ok(file.into_std().into())
    }
}

/// What Go says instead of a descriptor for a path that lies in no directory that it was given.
const NO_DIRECTORY: u32 = u32::MAX;

impl Wasi {
    /// What a path that is opened or looked at is relative to.
    pub(super) fn base(&self, fd: u32) -> Result<&Descriptor, Stop> {
        self.descriptors.get(fd).map_err(|errno| match fd {
            NO_DIRECTORY if !self.has_directories => Refusal::no_directories().into(),
            _ => errno.into(),
        })
    }

    pub(super) fn path_create_directory(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        name: u64,
        length: u64,
    ) -> Outcome {
        let directory = self.descriptors.directory(fd)?;
        let path = text(memory, name, length)?;
        directory.grant.writable(path)?;
        directory.beneath(path, directory.dir.create_dir(path))
    }

    pub(super) fn path_filestat_get(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        name: u64,
        length: u64,
        out: u64,
    ) -> Outcome {
        let follow = follow(flags)?;
        if let Descriptor::ResolverFiles(files) = self.base(fd)? {
            let stat = files.stat(text(memory, name, length)?)?;
            return Ok(memory.write_struct(out, &stat)?);
        }
        let directory = self.descriptors.directory(fd)?;
        let located = directory.locate(text(memory, name, length)?, follow)?;
        let stat: Stat = rustix::fs::fstat(&located)?;
        Ok(memory.write_struct(out, &abi::filestat(&stat))?)
    }

    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(super) fn path_filestat_set_times(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        name: u64,
        length: u64,
        atim: u64,
        mtim: u64,
        fstflags: u32,
    ) -> Outcome {
        let follow = follow(flags)?;
        let times = timestamps(atim, mtim, fstflags)?;
        let directory = self.descriptors.directory(fd)?;
        let path = text(memory, name, length)?;
        directory.grant.writable(path)?;
        let located = directory.locate(path, follow)?;
        Ok(set_times(located.as_fd(), &times)?)
    }

    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(super) fn path_link(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        name: u64,
        length: u64,
        to: u32,
        new: u64,
        new_length: u64,
    ) -> Outcome {
        let follow = follow(flags)?;
        let (from, to) = (
            self.descriptors.directory(fd)?,
            self.descriptors.directory(to)?,
        );
        let (old, new) = (text(memory, name, length)?, text(memory, new, new_length)?);
        // A link out of a read-only directory would open a way to write what is in it.
        from.grant.writable(old)?;
        to.grant.writable(new)?;
        if follow == FollowSymlinks::Yes {
            return Err(Errno::INVAL.into());
        }
        from.beneath_both(old, to, new, from.dir.hard_link(old, &to.dir, new))
    }

    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(super) fn path_readlink(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        name: u64,
        length: u64,
        buffer: u64,
        size: u64,
        out: u64,
    ) -> Outcome {
        if let Descriptor::ResolverFiles(files) = self.descriptors.get(fd)? {
            return Err(files.read_link(text(memory, name, length)?));
        }
        let directory = self.descriptors.directory(fd)?;
        let path = text(memory, name, length)?;
        let target = directory.beneath(path, directory.dir.read_link(path))?;
        let target =
            std::str::from_utf8(target.as_os_str().as_bytes()).map_err(|_| Errno::ILSEQ)?;
        let fits = target
            .len()
            .min(usize::try_from(size).unwrap_or(usize::MAX));
        memory.write(buffer, &target.as_bytes()[..fits])?;
        Ok(memory.write_u32(out, low(fits as u64))?)
    }

    pub(super) fn path_remove_directory(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        name: u64,
        length: u64,
    ) -> Outcome {
        let directory = self.descriptors.directory(fd)?;
        let path = text(memory, name, length)?;
        directory.grant.writable(path)?;
        directory.beneath(path, directory.dir.remove_dir(path))
    }

    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(super) fn path_rename(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        name: u64,
        length: u64,
        to: u32,
        new: u64,
        new_length: u64,
    ) -> Outcome {
        let (from, to) = (
            self.descriptors.directory(fd)?,
            self.descriptors.directory(to)?,
        );
        let (old, new) = (text(memory, name, length)?, text(memory, new, new_length)?);
        from.grant.writable(old)?;
        to.grant.writable(new)?;
        from.beneath_both(old, to, new, from.dir.rename(old, &to.dir, new))
    }

    pub(super) fn path_symlink(
        &self,
        memory: &mut GuestMemory<'_>,
        target: u64,
        target_length: u64,
        fd: u32,
        name: u64,
        length: u64,
    ) -> Outcome {
        let directory = self.descriptors.directory(fd)?;
        let (target, path) = (
            text(memory, target, target_length)?,
            text(memory, name, length)?,
        );
        directory.grant.writable(path)?;
        // Of targets, only absolute ones are refused.
        let culprit = if target.starts_with('/') {
            target
        } else {
            path
        };
        directory.beneath(culprit, directory.dir.symlink(target, path))
    }

    pub(super) fn path_unlink_file(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        name: u64,
        length: u64,
    ) -> Outcome {
        let directory = self.descriptors.directory(fd)?;
        let path = text(memory, name, length)?;
        directory.grant.writable(path)?;
        directory.beneath(path, directory.dir.remove_file(path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::wasi::abi::{fstflags, oflags, rights};
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW, trapped};

    const R: u64 = rights::FD_READ;

    #[test]
    fn symbolic_links_are_followed_only_if_asked_for() {
        let mut guest = Guest::new();
        guest.host_write("f", b"content");
        let [[target, target_n], [link, link_n]] = guest.paths(["f", "link"]);
        guest.ok(PATH_SYMLINK, &[target, target_n, 3, link, link_n]);
        guest.fails(
            Errno::EXIST,
            PATH_SYMLINK,
            &[target, target_n, 3, link, link_n],
        );
        let fd = guest.open_at(3, 1, "link", 0, R, 0).unwrap();
        assert_eq!(guest.read(fd, &[9]), Ok(b"content".to_vec()));
        assert_eq!(guest.open_at(3, 0, "link", 0, R, 0), Err(Errno::LOOP));
        let [[link, link_n]] = guest.paths(["link"]);
        guest.ok(PATH_FILESTAT_GET, &[3, 0, link, link_n, 64]);
        assert_eq!((guest.memory[80], guest.u64(96)), (7, 1));
        guest.ok(PATH_FILESTAT_GET, &[3, 1, link, link_n, 64]);
        assert_eq!((guest.memory[80], guest.u64(96)), (4, 7));
        let mtim = fstflags::MTIM.into();
        guest.ok(PATH_FILESTAT_SET_TIMES, &[3, 0, link, link_n, 0, 5, mtim]);
        guest.ok(PATH_FILESTAT_SET_TIMES, &[3, 1, link, link_n, 0, 6, mtim]);
        guest.ok(PATH_FILESTAT_GET, &[3, 0, link, link_n, 64]);
        assert_eq!(guest.u64(112), 5);
        guest.ok(PATH_FILESTAT_GET, &[3, 1, link, link_n, 64]);
        assert_eq!(guest.u64(112), 6);
        guest.fails(
            Errno::INVAL,
            PATH_FILESTAT_SET_TIMES,
            &[3, 1, link, link_n, 0, 6, 15],
        );
        trapped(guest.call(PATH_FILESTAT_GET, &[3, 1, link, link_n, 4]));
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "link"), Ok(()));
        assert_eq!(guest.host_read("f"), b"content");
        symlink("loop", guest.root.path().join("loop")).unwrap();
        assert_eq!(guest.open("loop", 0, R, 0), Err(Errno::LOOP));
        symlink("later", guest.root.path().join("dangling")).unwrap();
        assert_eq!(guest.open("dangling", 0, R, 0), Err(Errno::NOENT));
        guest.open("dangling", oflags::CREAT, RW, 0).unwrap();
        assert_eq!(guest.host_read("later"), b"");
    }

    #[test]
    fn links_are_read_as_far_as_they_fit() {
        let mut guest = Guest::new();
        symlink("the target", guest.root.path().join("link")).unwrap();
        guest.host_write("f", b"");
        let [[link, n], [f, one]] = guest.paths(["link", "f"]);
        guest.ok(PATH_READLINK, &[3, link, n, 3001, 100, 0]);
        assert_eq!(
            (guest.u32(0), guest.bytes(3001, 11)),
            (10, &b"the target\0"[..])
        );
        guest.ok(PATH_READLINK, &[3, link, n, 4000, 3, 0]);
        assert_eq!((guest.u32(0), guest.bytes(4000, 4)), (3, &b"the\0"[..]));
        guest.fails(Errno::INVAL, PATH_READLINK, &[3, f, one, 4000, 3, 0]);
        guest.fails(Errno::BADF, PATH_READLINK, &[0, f, one, 4000, 3, 0]);
        let [[absolute, n], [new, new_n]] = guest.paths(["/etc/passwd", "new"]);
        guest.fails(Errno::PERM, PATH_SYMLINK, &[absolute, n, 3, new, new_n]);
    }

    #[test]
    fn hard_links_and_renames() {
        let mut guest = Guest::new();
        guest.host_write("f", b"content");
        let [[f, f_n], [g, g_n], [d, d_n]] = guest.paths(["f", "g", "d/"]);
        guest.ok(PATH_LINK, &[3, 0, f, f_n, 3, g, g_n]);
        guest.ok(PATH_FILESTAT_GET, &[3, 0, g, g_n, 64]);
        assert_eq!(guest.u64(88), 2);
        guest.fails(Errno::EXIST, PATH_LINK, &[3, 0, f, f_n, 3, g, g_n]);
        guest.fails(Errno::INVAL, PATH_LINK, &[3, 1, f, f_n, 3, g, g_n]);
        guest.fails(Errno::BADF, PATH_LINK, &[3, 0, f, f_n, 0, g, g_n]);
        guest.ok(PATH_CREATE_DIRECTORY, &[3, d, d_n]);
        guest.fails(Errno::ISDIR, PATH_RENAME, &[3, f, f_n, 3, d, d_n - 1]);
        guest.fails(Errno::NOTDIR, PATH_RENAME, &[3, d, d_n, 3, f, f_n]);
        let [[f, f_n], [to, to_n]] = guest.paths(["f", "d/moved"]);
        guest.ok(PATH_RENAME, &[3, f, f_n, 3, to, to_n]);
        guest.fails(Errno::NOENT, PATH_RENAME, &[3, f, f_n, 3, to, to_n]);
        guest.fails(Errno::BADF, PATH_RENAME, &[0, f, f_n, 3, to, to_n]);
        assert_eq!(guest.host_read("d/moved"), b"content");
    }
}

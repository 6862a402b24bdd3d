//! Directories as descriptors: `fd_prestat_get`, `fd_prestat_dir_name`, `fd_readdir`.
//!
//! Cookies are the host's positions in a directory, which stay good while entries come and go, so
//! nothing has to be remembered between calls, however large the directory is.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};

use super::abi::{self, Filetype};
use super::descriptors::{Descriptor, Directory};
use super::errno::Errno;
use super::grants::Refusal;
use super::{Outcome, Stop, Wasi, low, resolver};
use crate::memory::{GuestMemory, MAX_WHOLE};

/// How many bytes of entries are asked of the host at once. It must hold the longest name.
const LISTING_SIZE: usize = 8192;

/// The first descriptor that a directory can be preopened as.
const FIRST_PREOPEN: u32 = 3;

impl Wasi {
    fn preopened(&self, fd: u32) -> Result<Option<&str>, Errno> {
        match self.descriptors.get(fd)? {
            Descriptor::Directory(directory) => Ok(directory.preopened.as_deref()),
            Descriptor::ResolverFiles(files) if files.preopened => Ok(Some(resolver::NAME)),
            _ => Ok(None),
        }
    }

    pub(super) fn fd_prestat_get(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u64,
    ) -> Outcome {
        let Ok(Some(name)) = self.preopened(fd) else {
            // Every C library looks for directories at its start. One that has found `/etc` went on to
            // look for more, which does not say that it wants any.
            if fd == FIRST_PREOPEN && self.preopens.is_empty() {
                return Err(Refusal::no_directories().into());
            }
            return Err(Errno::BADF.into());
        };
        // The tag of a directory is 0.
        let mut prestat = [0; 8];
        prestat[4..].copy_from_slice(&low(name.len() as u64).to_le_bytes());
        crate::memory::aligned(out, 4)?;
        Ok(memory.write(out, &prestat)?)
    }

    pub(super) fn fd_prestat_dir_name(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u64,
        length: u64,
    ) -> Outcome {
        let name = self.preopened(fd)?.ok_or(Errno::NOTDIR)?;
        if name.len() as u64 > length {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(memory.write(path, name.as_bytes())?)
    }

    pub(super) fn fd_readdir(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        buffer: u64,
        length: u64,
        cookie: u64,
        out: u64,
    ) -> Outcome {
        if let Descriptor::ResolverFiles(files) = self.descriptors.get(fd)? {
            let mut entries = files.list(cookie);
            entries.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            memory.write(buffer, &entries)?;
            return Ok(memory.write_u32(out, low(entries.len() as u64))?);
        }
        let directory = self.descriptors.directory(fd)?;
        let listing = directory.listing()?;
        let itself = rustix::fs::fstat(listing)?.st_ino;
        rustix::fs::seek(listing, SeekFrom::Start(cookie))?;
        let mut storage = [MaybeUninit::uninit(); LISTING_SIZE];
        let mut entries = RawDir::new(listing, &mut storage);
        let mut batch = Vec::with_capacity(LISTING_SIZE);
        let mut used = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // What is above a directory is none of the guest's business.
            let inode = if name == b".." { itself } else { entry.ino() };
            let filetype = match entry.file_type() {
                FileType::Unknown => filetype_of(listing, entry.file_name()),
                known => known.into(),
            };
            batch.extend_from_slice(&abi::dirent(
                entry.next_entry_cookie(),
                inode,
                low(name.len() as u64),
                filetype,
            ));
            batch.extend_from_slice(name);
            let room = usize::try_from(length - used).unwrap_or(usize::MAX);
            // Guest memory is written a batch at a time: few ranges to log, little to hold here.
            if batch.len() >= room.min(LISTING_SIZE) {
                // The entry that the buffer ends in is cut, which tells the guest to come back.
                batch.truncate(room);
                if used + batch.len() as u64 > MAX_WHOLE {
                    return Err(Errno::OVERFLOW.into());
                }
                memory.write(buffer + used, &batch)?;
                used += batch.len() as u64;
                batch.clear();
                if used == length {
                    break;
                }
                if self.wakeup.is_set() {
                    return Err(Stop::Interrupted);
                }
            }
        }
        memory.write(buffer + used, &batch)?;
        used += batch.len() as u64;
        Ok(memory.write_u32(out, low(used))?)
    }
}

impl Directory {
    /// The directory opened for listing.
    fn listing(&self) -> Result<&OwnedFd, rustix::io::Errno> {
        if let Some(listing) = self.listing.get() {
            return Ok(listing);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&self.dir, ".", flags, Mode::empty())?;
        Ok(self.listing.get_or_init(|| listing))
    }
}

/// The type of an entry, for file systems that do not say it when they list.
fn filetype_of(listing: &OwnedFd, name: &CStr) -> Filetype {
    match rustix::fs::statat(listing, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode).into(),
        Err(_) => Filetype::Unknown,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::{u32_at, u64_at};
    use crate::wasi::MissingGrant;
    use crate::wasi::abi::DIRENT_SIZE;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, trapped};

    /// Name, inode, type and cookie of each whole entry, and whether that was the end.
    fn list(
        guest: &mut Guest,
        fd: u64,
        length: usize,
        cookie: u64,
    ) -> (Vec<(String, u64, u8, u64)>, bool) {
        guest.ok(FD_READDIR, &[fd, 1001, length as u64, cookie, 0]);
        let used = guest.u32(0) as usize;
        let mut rest = guest.bytes(1001, used);
        let mut entries = Vec::new();
        while rest.len() >= DIRENT_SIZE {
            let end = DIRENT_SIZE + u32_at(rest, 16) as usize;
            let Some(name) = rest.get(DIRENT_SIZE..end) else {
                break;
            };
            let name = String::from_utf8(name.to_vec()).unwrap();
            entries.push((name, u64_at(rest, 8), rest[20], u64_at(rest, 0)));
            rest = &rest[end..];
        }
        (entries, used < length)
    }

    #[test]
    fn preopens_have_names() {
        let mut guest = Guest::new();
        guest.ok(FD_PRESTAT_GET, &[3, 8]);
        assert_eq!((guest.u32(8), guest.u32(12)), (0, 5));
        guest.ok(FD_PRESTAT_DIR_NAME, &[3, 101, 5]);
        assert_eq!(guest.bytes(101, 5), b"/data");
        guest.fails(Errno::NAMETOOLONG, FD_PRESTAT_DIR_NAME, &[3, 101, 4]);
        guest.fails(Errno::NOTDIR, FD_PRESTAT_DIR_NAME, &[0, 101, 5]);
        guest.fails(Errno::BADF, FD_PRESTAT_DIR_NAME, &[99, 101, 5]);
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[0, 8]);
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[5, 8]);
        trapped(guest.call(FD_PRESTAT_GET, &[3, 2]));
        assert_eq!(
            guest.wasi.preopens(),
            [(3, "/data".to_owned()), (4, "/ro".to_owned())]
        );
        assert_eq!(guest.wasi.missing_grants(), []);
    }

    #[test]
    fn a_guest_that_looks_for_directories_and_has_none_is_remembered() {
        let mut guest = Guest::without_directories();
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[3, 8]);
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[3, 8]);
        let resource = "a directory (it was given none)".to_owned();
        assert_eq!(
            guest.wasi.missing_grants(),
            [MissingGrant {
                resource,
                flag: "--dir HOST::GUEST".to_owned()
            }]
        );
    }

    #[test]
    fn an_empty_directory_lists_itself_and_its_parent() {
        let mut guest = Guest::new();
        guest.ok(FD_FILESTAT_GET, &[3, 8]);
        let inode = guest.u64(16);
        let (mut entries, end) = list(&mut guest, 3, 4096, 0);
        entries.sort();
        let seen: Vec<_> = entries
            .iter()
            .map(|(name, inode, filetype, _)| (name.as_str(), *inode, *filetype))
            .collect();
        assert_eq!(seen, [(".", inode, 3), ("..", inode, 3)]);
        assert!(end);
    }

    #[test]
    fn cookies_go_on_where_they_came_from() {
        let mut guest = Guest::new();
        guest.host_write("a file", b"");
        std::fs::create_dir(guest.root.path().join("a directory")).unwrap();
        std::os::unix::fs::symlink("nowhere", guest.root.path().join("a link")).unwrap();
        let (all, end) = list(&mut guest, 3, 4096, 0);
        assert!(end);
        let mut types: Vec<_> = all.iter().map(|e| (e.0.as_str(), e.2)).collect();
        types.sort_unstable();
        assert_eq!(
            types,
            [
                (".", 3),
                ("..", 3),
                ("a directory", 3),
                ("a file", 4),
                ("a link", 7)
            ]
        );
        for (i, entry) in all.iter().enumerate() {
            assert_eq!(list(&mut guest, 3, 4096, entry.3).0, all[i + 1..]);
        }
        guest.fails(Errno::INVAL, FD_READDIR, &[3, 1001, 100, u64::MAX, 0]);
        guest.fails(Errno::BADF, FD_READDIR, &[0, 1001, 100, 0, 0]);
        guest.ok(FD_READDIR, &[3, 1001, 0, 0, 0]);
        assert_eq!(guest.u32(0), 0);
    }

    #[test]
    fn a_large_directory_is_listed_whole_whatever_the_buffer() {
        let mut guest = Guest::with_memory(1 << 20);
        for i in 0..1000 {
            guest.host_write(&format!("file number {i}"), b"");
        }
        for length in [64, 100, 4096, 20_000, 500_000] {
            let (mut names, mut cookie) = (std::collections::BTreeSet::new(), 0);
            loop {
                let (entries, end) = list(&mut guest, 3, length, cookie);
                cookie = entries.last().map_or(cookie, |entry| entry.3);
                for entry in entries {
                    assert!(names.insert(entry.0), "no entry comes twice");
                }
                if end {
                    break;
                }
            }
            assert_eq!(names.len(), 1002, "{length}");
        }
    }

    #[test]
    #[ignore = "a directory of 245,000 files"]
    fn soak_a_listing_is_cut_before_its_record_is_too_large() {
        let mut guest = Guest::with_memory(80 << 20);
        for i in 0..245_000 {
            guest.host_write(&format!("{i:0255}"), b"");
        }
        guest.fails(Errno::OVERFLOW, FD_READDIR, &[3, 1024, 79 << 20, 0, 0]);
        guest.ok(FD_READDIR, &[3, 1024, 60 << 20, 0, 0]);
        assert_eq!(guest.u32(0), 60 << 20);
    }

    #[test]
    fn entries_that_are_removed_while_listing_hide_no_others() {
        let mut guest = Guest::new();
        for i in 0..300 {
            guest.host_write(&format!("file number {i}"), b"");
        }
        let mut cookie = 0;
        loop {
            let (entries, end) = list(&mut guest, 3, 512, cookie);
            for (name, _, filetype, next) in entries {
                cookie = next;
                if filetype == 4 {
                    std::fs::remove_file(guest.root.path().join(name)).unwrap();
                }
            }
            if end {
                break;
            }
        }
        assert_eq!(std::fs::read_dir(guest.root.path()).unwrap().count(), 0);
    }
}

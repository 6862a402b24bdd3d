//! All that the write side of a log does to files, each a step at which a test may have it fail
//! ([`crate::fault`]). Says nothing of paths: the caller knows what it was about.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::fault;

/// Creates a file that only its user can read, empty; what has its name is gone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    fault::disk("create")?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Writes all bytes at that position; some of them may be there when it fails.
pub(crate) fn write(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    fault::disk("write")?;
    if fault::half() {
        file.write_all_at(&bytes[..bytes.len() / 2], position)?;
        return Err(rustix::io::Errno::NOSPC.into());
    }
    file.write_all_at(bytes, position)
}

/// Cuts a file off.
pub(crate) fn truncate(file: &File, length: u64) -> io::Result<()> {
    fault::disk("truncate")?;
    file.set_len(length)
}

/// Waits until the disk has a file's bytes.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    fault::disk("sync")?;
    file.sync_data()
}

/// Has the system begin to write bytes to the disk that it would hold back for a while; that is all that
/// this advice means for bytes which the disk does not have yet. A system that does not take it loses
/// nothing but time.
pub(crate) fn write_soon(file: &File, position: u64, length: u64) {
    let length = std::num::NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, position, length, rustix::fs::Advice::DontNeed);
}

/// Waits until the disk has the names in a folder.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    fault::disk("sync folder")?;
    File::open(path)?.sync_all()
}

/// Gives a file another name, over what had it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::disk("rename")?;
    std::fs::rename(from, to)
}

/// Removes a file. One that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fault::disk("remove")?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Takes the exclusive lock of a file or folder; false where somebody has one.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    fault::point("lock");
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Takes a shared lock, which says that nobody has the exclusive one.
pub(crate) fn lock_shared(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Binds space for a file from its beginning, so that a full disk is an error here and not later.
/// False where the file system does not promise that later writes through a mapping will find it.
pub(crate) fn allocate(file: &File, length: u64) -> io::Result<bool> {
    fault::disk("allocate")?;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(!is_copy_on_write(file)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            file.set_len(length)?;
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

/// Whether a write takes new space though the old was bound.
fn is_copy_on_write(file: &File) -> bool {
    // linux/magic.h has the first; bcachefs and ZFS are built outside of it.
    const BTRFS: i64 = 0x9123_683E;
    const BCACHEFS: i64 = 0xCA45_1A4E;
    const ZFS: i64 = 0x2FC1_2FC1;
    // Where the system does not say, the file system is none of the known ones.
    rustix::fs::fstatfs(file).is_ok_and(|fs| [BTRFS, BCACHEFS, ZFS].contains(&fs.f_type))
}

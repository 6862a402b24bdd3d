//! The numbers and structures of WASI preview 1, as they lie in guest memory.
//!
//! Source: `typenames.witx` of the WASI repository. Structures are little-endian. Nothing here
//! makes a system call.

use rustix::fs::{FileType, Stat};

use super::errno::Errno;

/// Flags of an open descriptor.
pub mod fdflags {
    pub const APPEND: u16 = 1 << 0;
    pub const DSYNC: u16 = 1 << 1;
    pub const NONBLOCK: u16 = 1 << 2;
    pub const RSYNC: u16 = 1 << 3;
    pub const SYNC: u16 = 1 << 4;
    /// What decides when a write is durable.
    pub const DURABILITY: u16 = DSYNC | RSYNC | SYNC;
    pub const ALL: u16 = APPEND | NONBLOCK | DURABILITY;
}

/// How `path_open` opens.
pub mod oflags {
    pub const CREAT: u16 = 1 << 0;
    pub const DIRECTORY: u16 = 1 << 1;
    pub const EXCL: u16 = 1 << 2;
    pub const TRUNC: u16 = 1 << 3;
    pub const ALL: u16 = CREAT | DIRECTORY | EXCL | TRUNC;
}

/// Which timestamps to set, and to what.
pub mod fstflags {
    pub const ATIM: u16 = 1 << 0;
    pub const ATIM_NOW: u16 = 1 << 1;
    pub const MTIM: u16 = 1 << 2;
    pub const MTIM_NOW: u16 = 1 << 3;
    pub const ALL: u16 = ATIM | ATIM_NOW | MTIM | MTIM_NOW;
}

/// What a descriptor may be used for.
pub mod rights {
    pub const FD_DATASYNC: u64 = 1 << 0;
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_SEEK: u64 = 1 << 2;
    pub const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub const FD_SYNC: u64 = 1 << 4;
    pub const FD_TELL: u64 = 1 << 5;
    pub const FD_WRITE: u64 = 1 << 6;
    pub const FD_ADVISE: u64 = 1 << 7;
    pub const FD_ALLOCATE: u64 = 1 << 8;
    pub const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub const PATH_CREATE_FILE: u64 = 1 << 10;
    pub const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub const PATH_LINK_TARGET: u64 = 1 << 12;
    pub const PATH_OPEN: u64 = 1 << 13;
    pub const FD_READDIR: u64 = 1 << 14;
    pub const PATH_READLINK: u64 = 1 << 15;
    pub const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub const FD_FILESTAT_GET: u64 = 1 << 21;
    pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub const PATH_SYMLINK: u64 = 1 << 24;
    pub const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub const POLL_FD_READWRITE: u64 = 1 << 27;
    pub const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub const SOCK_ACCEPT: u64 = 1 << 29;

    /// What can be done with any stream of bytes, beside reading or writing it.
    pub const STREAM: u64 = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
    /// What can be done with a socket.
    pub const SOCKET: u64 = STREAM | FD_READ | FD_WRITE | SOCK_SHUTDOWN | SOCK_ACCEPT;
    /// What can be done with a file.
    pub const FILE: u64 = STREAM
        | FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES;
    /// What can be done with a directory. A read-only one has the same: older C libraries refuse
    /// by these before they ask the host, and then the guest sees another error.
    pub const DIRECTORY: u64 = PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | FD_READDIR
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_TIMES
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE;
}

/// `lookupflags`: follow the last component of a path if it is a symbolic link.
pub const SYMLINK_FOLLOW: u32 = 1 << 0;

/// The type of a file, `filetype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Filetype {
    /// None of the others. FIFOs have no number, and neither have the sockets of a directory, as in
    /// wasmtime.
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketDatagram = 5,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<FileType> for Filetype {
    fn from(file_type: FileType) -> Filetype {
        match file_type {
            FileType::BlockDevice => Filetype::BlockDevice,
            FileType::CharacterDevice => Filetype::CharacterDevice,
            FileType::Directory => Filetype::Directory,
            FileType::RegularFile => Filetype::RegularFile,
            FileType::Symlink => Filetype::SymbolicLink,
            _ => Filetype::Unknown,
        }
    }
}

/// Refuses flags that the specification does not have.
pub fn known(flags: u32, all: u16) -> Result<u16, Errno> {
    u16::try_from(flags)
        .ok()
        .filter(|flags| flags & !all == 0)
        .ok_or(Errno::INVAL)
}

/// `fdstat`: what a descriptor is.
pub fn fdstat(filetype: Filetype, flags: u16, base: u64, inheriting: u64) -> [u8; 24] {
    let mut out = [0; 24];
    out[0] = filetype as u8;
    out[2..4].copy_from_slice(&flags.to_le_bytes());
    out[8..16].copy_from_slice(&base.to_le_bytes());
    out[16..24].copy_from_slice(&inheriting.to_le_bytes());
    out
}

/// `filestat` of a file. The change time is the host's, where wasmtime has the time of birth. Times before 1970 and after 2554 are the nearest that fit.
#[allow(
    clippy::useless_conversion,
    reason = "the width of a link count depends on the processor"
)]
pub fn filestat(stat: &Stat) -> [u8; 64] {
    let ns = |s: i64, ns: u64| {
        u64::try_from(i128::from(s) * 1_000_000_000 + i128::from(ns)).unwrap_or(if s < 0 {
            0
        } else {
            u64::MAX
        })
    };
    let mut out = filestat_of_stream(FileType::from_raw_mode(stat.st_mode).into());
    let mut put = |at: usize, value: u64| out[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, stat.st_dev);
    put(8, stat.st_ino);
    put(24, stat.st_nlink.into());
    put(32, stat.st_size.cast_unsigned());
    put(40, ns(stat.st_atime, stat.st_atime_nsec));
    put(48, ns(stat.st_mtime, stat.st_mtime_nsec));
    put(56, ns(stat.st_ctime, stat.st_ctime_nsec));
    out
}

/// `filestat` of something that is known by its type only.
pub fn filestat_of_stream(filetype: Filetype) -> [u8; 64] {
    let mut out = [0; 64];
    out[16] = filetype as u8;
    out
}

/// The size in bytes of the fixed part of a `dirent`.
pub const DIRENT_SIZE: usize = 24;

/// The fixed part of a `dirent`; the name follows it.
pub fn dirent(next: u64, inode: u64, name_length: u32, filetype: Filetype) -> [u8; DIRENT_SIZE] {
    let mut out = [0; DIRENT_SIZE];
    out[0..8].copy_from_slice(&next.to_le_bytes());
    out[8..16].copy_from_slice(&inode.to_le_bytes());
    out[16..20].copy_from_slice(&name_length.to_le_bytes());
    out[20] = filetype as u8;
    out
}

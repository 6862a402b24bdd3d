//! The guest's descriptors: numbers, and what they stand for.
//!
//! A new descriptor gets the lowest free number. The table must never give a guest a host
//! descriptor's number.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;

use super::Stop;
use super::abi::{Filetype, fdflags};
use super::channel::{Channel, Patience};
use super::errno::Errno;
use super::grants::Grant;
use super::resolver::ResolverFiles;
use super::sockets::socket::Socket;
use crate::limits::LimitReached;

/// What a descriptor stands for.
pub(super) enum Descriptor {
    /// One of the host's standard streams.
    Stdio(Stdio),
    /// A file of any type but a directory.
    File(File),
    /// A directory.
    Directory(Directory),
    /// A socket.
    Socket(Socket),
    /// `/etc`, as far as resolving names takes it.
    ResolverFiles(ResolverFiles),
}

/// One of the host's standard streams.
pub(super) struct Stdio {
    pub channel: Channel,
    pub direction: Direction,
    /// A terminal's is `CharacterDevice`, all others are `Unknown`.
    pub filetype: Filetype,
    pub flags: u16,
}

/// Which way bytes flow, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// An open file.
pub(super) struct File {
    pub channel: Channel,
    pub filetype: Filetype,
    pub grant: Arc<Grant>,
    /// Which of `FD_READ` and `FD_WRITE` it was opened for.
    pub rights: u64,
    pub flags: u16,
}

/// An open directory.
pub(super) struct Directory {
    pub dir: Dir,
    pub grant: Arc<Grant>,
    /// The name that it was preopened as.
    pub preopened: Option<String>,
    pub flags: u16,
    /// The directory opened for listing, once the guest lists it: what paths are resolved from
    /// may be a handle that cannot be read.
    pub listing: OnceLock<OwnedFd>,
}

/// The table.
pub(super) struct Descriptors {
    /// The most that may be open.
    limit: usize,
    table: Vec<Option<Descriptor>>,
    free: BTreeSet<u32>,
}

fn patience(flags: u16) -> Patience {
    if flags & fdflags::NONBLOCK == 0 {
        Patience::Wait
    } else {
        Patience::None
    }
}

impl Descriptors {
    /// An empty table for so many.
    pub fn new(limit: usize) -> Descriptors {
        Descriptors {
            limit,
            table: Vec::new(),
            free: BTreeSet::new(),
        }
    }

    #[inline]
    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.table
            .get(fd as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::BADF)
    }

    pub fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.table
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)
    }

    /// A file; `EBADF` for everything else, as in wasmtime.
    pub fn file(&self, fd: u32) -> Result<&File, Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok(file),
            _ => Err(Errno::BADF),
        }
    }

    /// A file with a position; `ESPIPE` for the standard streams.
    pub fn seekable(&self, fd: u32) -> Result<&File, Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Stdio(_) | Descriptor::Socket(_) => Err(Errno::SPIPE),
            Descriptor::Directory(_) | Descriptor::ResolverFiles(_) => Err(Errno::BADF),
        }
    }

    /// A directory of the host; `EBADF` for everything else, as in wasmtime. What reads takes the
    /// resolver's files before it asks for one, so `EPERM` for these is for what writes.
    pub fn directory(&self, fd: u32) -> Result<&Directory, Errno> {
        match self.get(fd)? {
            Descriptor::Directory(directory) => Ok(directory),
            Descriptor::ResolverFiles(_) => Err(Errno::PERM),
            _ => Err(Errno::BADF),
        }
    }

    /// A socket; `ENOTSOCK` for everything else.
    pub fn socket(&self, fd: u32) -> Result<&Socket, Errno> {
        match self.get(fd)? {
            Descriptor::Socket(socket) => Ok(socket),
            _ => Err(Errno::NOTSOCK),
        }
    }

    /// The same, to change it.
    pub fn socket_mut(&mut self, fd: u32) -> Result<&mut Socket, Errno> {
        match self.get_mut(fd)? {
            Descriptor::Socket(socket) => Ok(socket),
            _ => Err(Errno::NOTSOCK),
        }
    }

    /// What flows in the direction through a descriptor that is no socket.
    #[inline]
    pub fn channel(&self, fd: u32, direction: Direction) -> Result<(&Channel, Patience), Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok((&file.channel, patience(file.flags))),
            Descriptor::Stdio(stdio) if stdio.direction == direction => {
                Ok((&stdio.channel, patience(stdio.flags)))
            }
            _ => Err(Errno::BADF),
        }
    }

    /// Gives a descriptor the lowest free number.
    pub fn push(&mut self, descriptor: Descriptor) -> Result<u32, Stop> {
        self.room()?;
        if let Some(fd) = self.free.pop_first() {
            self.table[fd as usize] = Some(descriptor);
            return Ok(fd);
        }
        let fd = u32::try_from(self.table.len()).map_err(|_| Errno::MFILE)?;
        self.table.push(Some(descriptor));
        Ok(fd)
    }

    /// Refuses where [`Descriptors::push`] would find no number.
    pub fn room(&self) -> Result<(), Stop> {
        if self.free.is_empty() && self.table.len() >= self.limit {
            let limit = LimitReached::open_files(self.limit);
            return Err(Stop::Limit(Errno::MFILE, Box::new(limit)));
        }
        Ok(())
    }

    /// Takes a descriptor out; dropping it closes it.
    pub fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let slot = self.table.get_mut(fd as usize).ok_or(Errno::BADF)?;
        let descriptor = slot.take().ok_or(Errno::BADF)?;
        self.free.insert(fd);
        Ok(descriptor)
    }

    /// Moves a descriptor to another number in use, and returns what that stood for.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(to)?;
        self.get(from)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        Ok(self.table[to as usize].replace(moved))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd;

    use rustix::fs::OFlags;

    use super::*;
    use crate::wasi::channel::Handle;

    #[test]
    fn there_are_only_so_many_numbers() {
        // One host descriptor stands behind all, which the host allows more easily.
        let file: &'static std::fs::File = Box::leak(Box::new(tempfile::tempfile().unwrap()));
        let descriptor = || {
            Descriptor::Stdio(Stdio {
                channel: Channel::shared(Handle::Inherited(file.as_fd()), OFlags::RDONLY),
                direction: Direction::In,
                filetype: Filetype::Unknown,
                flags: 0,
            })
        };
        let mut table = Descriptors::new(100);
        for fd in 0..100 {
            assert_eq!(table.push(descriptor()).unwrap(), fd);
        }
        let Err(Stop::Limit(Errno::MFILE, limit)) = table.push(descriptor()) else {
            panic!("the limit is {:?}", table.limit)
        };
        assert_eq!(
            limit.to_string(),
            "the limit of 100 open descriptors (--max-open-files)"
        );
        for fd in [40, 7] {
            table.remove(fd).unwrap();
        }
        assert_eq!(table.push(descriptor()).unwrap(), 7);
        assert_eq!(table.push(descriptor()).unwrap(), 40);
        assert!(table.room().is_err());
    }
}

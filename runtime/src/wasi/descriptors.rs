//! The guest's descriptors: numbers, and what they stand for.
//!
//! A new descriptor gets the lowest free number. The table must never give a guest a host
//! descriptor's number.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;
use rustix::process::{Resource, getrlimit};

use super::abi::{Filetype, fdflags};
use super::channel::{Channel, Patience};
use super::errno::Errno;
use super::grants::Grant;

/// The most descriptors that a guest may have open.
const MAX_DESCRIPTORS: usize = 65_536;
/// How many of the host's descriptors are not for the guest: the log needs some, to the end.
const RESERVED: u64 = 64;

/// What a descriptor stands for.
pub(super) enum Descriptor {
    /// One of the host's standard streams.
    Stdio(Stdio),
    /// A file of any type but a directory.
    File(File),
    /// A directory.
    Directory(Directory),
    // A socket will be the fourth kind.
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
    table: Vec<Option<Descriptor>>,
    free: BTreeSet<u32>,
    /// How many of the host's descriptors stand behind it, at most.
    taken: usize,
    /// How many may.
    most: usize,
}

impl Descriptor {
    /// How many of the host's descriptors it takes, at most.
    fn cost(&self) -> usize {
        match self {
            Descriptor::Stdio(_) | Descriptor::File(_) => 1,
            // Another one once it is listed.
            Descriptor::Directory(_) => MOST_COST,
        }
    }
}

/// The most that a descriptor costs.
const MOST_COST: usize = 2;

/// How many of the host's descriptors may stand behind the guest's, in a process that may have
/// `limit`.
fn most(limit: Option<u64>) -> usize {
    let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED));
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn patience(flags: u16) -> Patience {
    if flags & fdflags::NONBLOCK == 0 {
        Patience::Wait
    } else {
        Patience::None
    }
}

impl Descriptors {
    /// An empty table, as large as the limits of this process allow.
    pub fn new() -> Descriptors {
        Descriptors {
            table: Vec::new(),
            free: BTreeSet::new(),
            taken: 0,
            most: most(getrlimit(Resource::Nofile).current),
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
            Descriptor::Stdio(_) => Err(Errno::SPIPE),
            Descriptor::Directory(_) => Err(Errno::BADF),
        }
    }

    /// A directory; `EBADF` for everything else, as in wasmtime.
    pub fn directory(&self, fd: u32) -> Result<&Directory, Errno> {
        match self.get(fd)? {
            Descriptor::Directory(directory) => Ok(directory),
            _ => Err(Errno::BADF),
        }
    }

    /// What flows in the direction through the descriptor.
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
    pub fn push(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let cost = descriptor.cost();
        if self.taken + cost > self.most {
            return Err(Errno::MFILE);
        }
        if let Some(fd) = self.free.pop_first() {
            self.table[fd as usize] = Some(descriptor);
            self.taken += cost;
            return Ok(fd);
        }
        if self.table.len() >= MAX_DESCRIPTORS {
            return Err(Errno::MFILE);
        }
        let fd = u32::try_from(self.table.len()).map_err(|_| Errno::MFILE)?;
        self.table.push(Some(descriptor));
        self.taken += cost;
        Ok(fd)
    }

    /// Whether [`Descriptors::push`] might refuse one.
    pub fn full(&self) -> bool {
        let no_number = self.free.is_empty() && self.table.len() >= MAX_DESCRIPTORS;
        no_number || self.taken + MOST_COST > self.most
    }

    /// Takes a descriptor out; dropping it closes it.
    pub fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let slot = self.table.get_mut(fd as usize).ok_or(Errno::BADF)?;
        let descriptor = slot.take().ok_or(Errno::BADF)?;
        self.free.insert(fd);
        self.taken -= descriptor.cost();
        Ok(descriptor)
    }

    /// Moves a descriptor to another number in use, which is closed.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        self.get(from)?;
        if from != to {
            drop(self.remove(to)?);
            let moved = self.remove(from)?;
            self.taken += moved.cost();
            self.free.remove(&to);
            self.table[to as usize] = Some(moved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd;

    use rustix::fs::OFlags;

    use super::*;
    use crate::wasi::channel::Handle;

    /// Descriptors behind which one of the host stands, so that there can be many.
    fn stdio() -> impl Fn() -> Descriptor {
        let file: &'static std::fs::File = Box::leak(Box::new(tempfile::tempfile().unwrap()));
        || {
            Descriptor::Stdio(Stdio {
                channel: Channel::shared(Handle::Inherited(file.as_fd()), OFlags::RDONLY),
                direction: Direction::In,
                filetype: Filetype::Unknown,
                flags: 0,
            })
        }
    }

    fn table(limit: Option<u64>) -> Descriptors {
        Descriptors {
            most: most(limit),
            ..Descriptors::new()
        }
    }

    #[test]
    fn there_are_only_so_many_numbers() {
        let (descriptor, mut table) = (stdio(), table(None));
        for fd in 0..65_536 {
            assert!(!table.full());
            assert_eq!(table.push(descriptor()), Ok(fd));
        }
        assert!(table.full());
        assert_eq!(table.push(descriptor()), Err(Errno::MFILE));
        for fd in [40_000, 7] {
            table.remove(fd).unwrap();
        }
        assert_eq!(table.push(descriptor()), Ok(7));
        assert_eq!(table.push(descriptor()), Ok(40_000));
    }

    #[test]
    fn a_guest_does_not_take_the_hosts_last_descriptors() {
        let (descriptor, mut table) = (stdio(), table(Some(70)));
        for fd in 0..5 {
            assert!(!table.full());
            assert_eq!(table.push(descriptor()), Ok(fd));
        }
        assert!(table.full(), "a directory would not fit");
        table.renumber(4, 0).unwrap();
        assert!(!table.full());
        assert_eq!(table.push(descriptor()), Ok(4));
        assert_eq!(table.push(descriptor()), Ok(5));
        assert_eq!(table.push(descriptor()), Err(Errno::MFILE));
        table.remove(0).unwrap();
        assert_eq!(table.push(descriptor()), Ok(0));
        assert_eq!(most(Some(10)), 0);
    }
}

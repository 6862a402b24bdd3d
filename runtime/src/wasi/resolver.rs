//! The host's `/etc/resolv.conf` and `/etc/hosts`, for guests that resolve names themselves: a directory
//! `/etc` in memory that has these two and nothing else, and cannot be changed.
//!
//! A guest finds it as any directory that it was given. It never leads to the host's own `/etc`.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno as HostErrno;

use super::abi::{self, DIRENT_SIZE, Filetype, oflags};
use super::channel::Channel;
use super::descriptors::{Descriptor, File};
use super::errno::Errno;
use super::grants::{Access, Grant};
use super::open::Opening;
use super::{Stop, low};

/// What the guest knows the directory as.
pub const NAME: &str = "/etc";

/// The files, in the order in which they are listed.
const FILES: [&str; 2] = ["hosts", "resolv.conf"];

/// The largest file that a guest gets, in bytes; one that is larger is not there.
const MAX_FILE: usize = 1 << 20;

/// The host's files, for its guest and for the policy about its network.
#[derive(Default)]
pub(super) struct HostFiles(Vec<(&'static str, Vec<u8>)>);

impl HostFiles {
    /// As they are now; one that cannot be read is not there.
    pub fn read() -> HostFiles {
        let read = |name| {
            let path = Path::new(NAME).join(name);
            // Anything else might be waited for.
            let regular = std::fs::metadata(&path).is_ok_and(|m| m.is_file());
            let content = regular.then(|| std::fs::read(&path).ok())??;
            Some((name, content))
        };
        HostFiles(FILES.into_iter().filter_map(read).collect())
    }

    /// The text of a file, empty where there is none. What is not UTF-8 is a character that no name has.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        let file = self.0.iter().find(|f| f.0 == name);
        file.map_or_else(Cow::default, |f| String::from_utf8_lossy(&f.1))
    }
}

/// The directory. Clones are the same.
#[derive(Clone)]
pub(super) struct ResolverFiles {
    files: Arc<Vec<(&'static str, Vec<u8>)>>,
    grant: Arc<Grant>,
    /// Whether the guest started with this descriptor.
    pub preopened: bool,
    pub flags: u16,
}

/// What a path in the directory names.
enum Found<'a> {
    Itself,
    File(usize, &'a [u8]),
}

impl ResolverFiles {
    /// Those of the host.
    pub fn of(host: &HostFiles) -> ResolverFiles {
        let small = host.0.iter().filter(|f| f.1.len() <= MAX_FILE);
        ResolverFiles {
            files: Arc::new(small.cloned().collect()),
            grant: Arc::new(Grant {
                host: NAME.into(),
                guest: NAME.to_owned(),
                access: Access::ReadOnly,
            }),
            preopened: true,
            flags: 0,
        }
    }

    fn find(&self, path: &str) -> Result<Found<'_>, Stop> {
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(self.grant.escaped(path).into());
        }
        let (Some(name), rest) = (parts.next(), parts.next()) else {
            return match path {
                "" => Err(Errno::NOENT.into()),
                _ => Ok(Found::Itself),
            };
        };
        let found = self.files.iter().enumerate().find(|(_, f)| f.0 == name);
        match found {
            Some(_) if rest.is_some() || path.ends_with('/') => Err(Errno::NOTDIR.into()),
            Some((i, (_, content))) => Ok(Found::File(i, content)),
            None => {
                let why = "of /etc a guest gets what resolving names takes; --dir /etc gives all"
                    .to_owned();
                Err(Stop::Because(Errno::NOENT, why))
            }
        }
    }

    /// Opens a path in it.
    pub fn open(&self, path: &str, opening: &Opening) -> Result<Descriptor, Stop> {
        if opening.writes() {
            self.grant.writable(path)?;
        }
        let content = match self.find(path)? {
            Found::Itself => {
                return Ok(Descriptor::ResolverFiles(ResolverFiles {
                    preopened: false,
                    flags: opening.fdflags,
                    ..self.clone()
                }));
            }
            Found::File(_, content) => content,
        };
        if opening.oflags & oflags::DIRECTORY != 0 {
            return Err(Errno::NOTDIR.into());
        }
        let fd = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut rest = content;
        let mut at = 0;
        while !rest.is_empty() {
            match rustix::io::pwrite(&fd, rest, at) {
                Ok(n) => {
                    rest = &rest[n..];
                    at += n as u64;
                }
                Err(HostErrno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals)?;
        Ok(Descriptor::File(File {
            channel: Channel::opened(fd, rustix::fs::FileType::RegularFile),
            filetype: Filetype::RegularFile,
            grant: Arc::clone(&self.grant),
            rights: opening.rights,
            flags: opening.fdflags,
        }))
    }

    /// `filestat` of a path in it.
    pub fn stat(&self, path: &str) -> Result<[u8; 64], Stop> {
        Ok(match self.find(path)? {
            Found::Itself => self.stat_itself(),
            Found::File(i, content) => {
                let mut stat = abi::filestat_of_stream(Filetype::RegularFile);
                stat[8..16].copy_from_slice(&inode(i + 1).to_le_bytes());
                stat[24..32].copy_from_slice(&1u64.to_le_bytes());
                stat[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
                stat
            }
        })
    }

    /// `filestat` of the directory.
    pub fn stat_itself(&self) -> [u8; 64] {
        let mut stat = abi::filestat_of_stream(Filetype::Directory);
        stat[8..16].copy_from_slice(&inode(0).to_le_bytes());
        stat[24..32].copy_from_slice(&2u64.to_le_bytes());
        stat
    }

    /// Nothing in it is a link: `EINVAL` for what there is.
    pub fn read_link(&self, path: &str) -> Stop {
        match self.find(path) {
            Ok(_) => Errno::INVAL.into(),
            Err(stop) => stop,
        }
    }

    /// Its entries from one on, as `fd_readdir` gives them.
    pub fn list(&self, from: u64) -> Vec<u8> {
        let dots = [(".", Filetype::Directory), ("..", Filetype::Directory)];
        let files = self.files.iter().map(|f| (f.0, Filetype::RegularFile));
        let mut entries = Vec::with_capacity(4 * (DIRENT_SIZE + 12));
        for (i, (name, filetype)) in (0..).zip(dots.into_iter().chain(files)) {
            if i < from {
                continue;
            }
            let inode = inode(usize::try_from(i).unwrap_or(0).saturating_sub(1));
            let length = low(name.len() as u64);
            entries.extend_from_slice(&abi::dirent(i + 1, inode, length, filetype));
            entries.extend_from_slice(name.as_bytes());
        }
        entries
    }
}

/// Numbers that are not 0, which some libraries take for a deleted file.
fn inode(i: usize) -> u64 {
    i as u64 + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::{u32_at, u64_at};
    use crate::wasi::abi::rights;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW};

    const R: u64 = rights::FD_READ;

    #[test]
    fn the_policy_sees_all_of_a_file_and_a_guest_one_that_is_not_too_large() {
        let mut hosts = b"127.0.0.1 first # gr\xfc\xdfe\n".to_vec();
        hosts.resize(MAX_FILE, b' ');
        let host = HostFiles(vec![("hosts", [&hosts[..], b"\n::1 last"].concat())]);
        let text = host.text("hosts");
        assert!(text.starts_with("127.0.0.1 first") && text.ends_with("::1 last"));
        assert_eq!(host.text("resolv.conf"), "");
        assert!(ResolverFiles::of(&host).files.is_empty());
        let host = HostFiles(vec![("hosts", hosts)]);
        assert_eq!(*ResolverFiles::of(&host).files, host.0);
    }

    #[test]
    fn a_guest_reads_what_the_host_resolves_with() {
        let mut guest = Guest::with_resolver_files();
        guest.ok(FD_PRESTAT_GET, &[3, 8]);
        assert_eq!((guest.u32(8), guest.u32(12)), (0, 4));
        guest.ok(FD_PRESTAT_DIR_NAME, &[3, 100, 4]);
        assert_eq!(guest.bytes(100, 4), b"/etc");
        for name in ["hosts", "./resolv.conf"] {
            let host = std::fs::read(Path::new("/etc").join(name)).unwrap();
            let fd = guest.open_at(3, 1, name, 0, R, 0).unwrap();
            assert_eq!(guest.read(fd, &[8000]).unwrap(), host);
            guest.write(fd, &[b"x"]).unwrap_err();
            let [[path, n]] = guest.paths([name]);
            guest.ok(PATH_FILESTAT_GET, &[3, 0, path, n, 64]);
            assert_eq!((guest.memory[80], guest.u64(96)), (4, host.len() as u64));
            guest.fails(Errno::INVAL, PATH_READLINK, &[3, path, n, 64, 9, 0]);
            guest.ok(FD_CLOSE, &[fd]);
        }
    }

    #[test]
    fn there_is_nothing_else_and_it_cannot_be_changed() {
        let mut guest = Guest::with_resolver_files();
        for (path, oflags, rights, errno) in [
            ("passwd", 0, R, Errno::NOENT),
            ("../etc/passwd", 0, R, Errno::PERM),
            ("/etc/passwd", 0, R, Errno::PERM),
            ("hosts/x", 0, R, Errno::NOTDIR),
            ("hosts/", 0, R, Errno::NOTDIR),
            ("", 0, R, Errno::NOENT),
            ("hosts", oflags::DIRECTORY, R, Errno::NOTDIR),
            ("hosts", 0, RW, Errno::PERM),
            ("new", oflags::CREAT, RW, Errno::PERM),
        ] {
            assert_eq!(
                guest.open_at(3, 1, path, oflags, rights, 0),
                Err(errno),
                "{path}"
            );
        }
        for function in [
            PATH_CREATE_DIRECTORY,
            PATH_UNLINK_FILE,
            PATH_REMOVE_DIRECTORY,
        ] {
            assert_eq!(guest.at(function, 3, "hosts"), Err(Errno::PERM));
        }
        let [[a, n], [b, m]] = guest.paths(["hosts", "b"]);
        guest.fails(Errno::PERM, PATH_RENAME, &[3, a, n, 3, b, m]);
        guest.fails(Errno::PERM, PATH_LINK, &[3, 0, a, n, 3, b, m]);
        guest.fails(Errno::PERM, PATH_SYMLINK, &[a, n, 3, b, m]);
        guest.fails(Errno::PERM, FD_FILESTAT_SET_TIMES, &[3, 0, 0, 0]);
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[4, 8]);
    }

    #[test]
    fn it_is_listed_in_pieces() {
        let mut guest = Guest::with_resolver_files();
        let (mut names, mut cookie) = (Vec::new(), 0);
        let inner = guest.open_at(3, 1, ".", oflags::DIRECTORY, R, 0).unwrap();
        loop {
            guest.ok(FD_READDIR, &[inner, 1000, 40, cookie, 0]);
            let used = guest.u32(0) as usize;
            if used == 0 {
                break;
            }
            let entry = guest.bytes(1000, used);
            let end = DIRENT_SIZE + u32_at(entry, 16) as usize;
            names.push(String::from_utf8(entry[DIRENT_SIZE..end].to_vec()).unwrap());
            cookie = u64_at(entry, 0);
        }
        assert_eq!(names, [".", "..", "hosts", "resolv.conf"]);
        guest.ok(FD_FILESTAT_GET, &[inner, 64]);
        assert_eq!(guest.memory[80], 3);
        guest.fails(Errno::BADF, FD_PRESTAT_GET, &[inner, 8]);
    }
}

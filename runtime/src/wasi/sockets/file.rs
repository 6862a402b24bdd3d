//! The file by which a Unix socket is found. One that the host made is removed when its guest is gone; one
//! that somebody left is replaced. What is no socket, or is somebody's, is never touched.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The longest path of a socket, in bytes: that of `sockaddr_un`, less the zero that ends it.
const MAX_PATH: usize = 107;

/// A socket's file, which is removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub(in crate::wasi) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|id| id == self.id) {
            // There is nobody left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Listens at a path. It is made absolute, as guests and recordings have it.
///
/// # Errors
///
/// `AddrInUse` where there is anything but a socket that nobody has any more; those of the system.
pub fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let absolute = std::path::absolute(path)?;
    // Deep in folders a path may have room as it was given alone.
    let path = match absolute.as_os_str().len() <= MAX_PATH {
        true => &absolute,
        false => path,
    };
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, error)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let id = identity(path)?;
    let file = SocketFile { path: absolute, id };
    Ok((listener, file))
}

/// Removes a socket that nobody has any more; where there is something else, the error stands.
fn remove_stale(path: &Path, in_use: io::Error) -> io::Result<()> {
    if !is_stale(path) {
        return Err(in_use);
    }
    // By now another may have taken its place. So what is removed is looked at once more, where nobody
    // else looks for it.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE)?;
    if is_stale(&aside) {
        return fs::remove_file(&aside);
    }
    renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE)?;
    Err(in_use)
}

/// Whether it is a socket that nobody has. A datagram is no way to reach a stream, so whoever has one is
/// not disturbed: the attempt is refused for what it is, and not because nobody is there.
fn is_stale(path: &Path) -> bool {
    let socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    socket
        && UnixDatagram::unbound()
            .and_then(|probe| probe.connect(path))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_goes_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, file) = listen(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
        // Unless it is another's by then.
        let (_listener, file) = listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _another = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_nobody_has_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let (listener, file) = listen(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        let names = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names(), 1, "nothing is left aside");

        listener.set_nonblocking(true).unwrap();
        let error = listen(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(listener.accept().is_err(), "and it was not disturbed");
        drop((listener, file));
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        assert!(listen(&path).is_err());

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let link = dir.path().join("link");
        let target = dir.path().join("target");
        drop(UnixListener::bind(&target).unwrap());
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(listen(&link).is_err());
        assert!(target.exists());
    }
}

//! Which descriptor is what, followed from record to record.
//!
//! A segment opens with this table, so that it can be decoded alone. Paths are resolved here, once for
//! all who read the log ([`resolve`]). Nothing here may look at the file system.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::ProcessStart;
use crate::function::{self, Function, Kind, Scalar};
use crate::ids::FunctionId;
use crate::record::{Outcome, Record};
use crate::text;

/// A descriptor that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: u32,
    /// Its path as the guest sees it, or `stdin`, `stdout`, `stderr`. Bytes that are not UTF-8
    /// stand as `\xNN`. [`SOCKET`] of a socket.
    pub path: String,
    /// Whether it is a socket, and so no file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socket: bool,
}

/// What stands for the path of a socket.
pub const SOCKET: &str = "socket";

/// The open descriptors of a process at some record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    open: BTreeMap<u32, What>,
    /// What the process started with.
    initial: BTreeMap<u32, What>,
}

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// A file, a directory or a standard stream, by its path.
    File(String),
    Socket,
}

impl Descriptors {
    /// The descriptors that a process starts with.
    #[must_use]
    pub fn at_start(start: &ProcessStart) -> Descriptors {
        let stdio = [(0, "stdin"), (1, "stdout"), (2, "stderr")].map(|(fd, s)| (fd, s.to_owned()));
        let preopens = start.preopens.iter().map(|p| (p.fd, resolve("", &p.path)));
        let files = stdio.into_iter().chain(preopens);
        let files = files.map(|(fd, path)| (fd, What::File(path)));
        let sockets = start.sockets.iter().map(|s| (s.fd, What::Socket));
        let initial: BTreeMap<u32, What> = files.chain(sockets).collect();
        Descriptors {
            open: initial.clone(),
            initial,
        }
    }

    /// The descriptors at the beginning of a segment, from the table that it opens with.
    #[must_use]
    pub fn at_segment(start: &ProcessStart, table: &[Descriptor]) -> Descriptors {
        let what = |d: &Descriptor| match d.socket {
            true => What::Socket,
            false => What::File(d.path.clone()),
        };
        Descriptors {
            open: table.iter().map(|d| (d.fd, what(d))).collect(),
            ..Descriptors::at_start(start)
        }
    }

    /// The table, by number.
    #[must_use]
    pub fn table(&self) -> Vec<Descriptor> {
        self.open
            .iter()
            .map(|(&fd, what)| match what {
                What::File(path) => Descriptor {
                    fd,
                    path: path.clone(),
                    socket: false,
                },
                What::Socket => Descriptor {
                    fd,
                    path: SOCKET.to_owned(),
                    socket: true,
                },
            })
            .collect()
    }

    /// The path of a descriptor; none where it is a socket or not known.
    #[must_use]
    pub fn path(&self, fd: u32) -> Option<&str> {
        match self.open.get(&fd)? {
            What::File(path) => Some(path),
            What::Socket => None,
        }
    }

    /// Follows one record, in the order of offsets.
    pub fn apply(&mut self, record: &Record<'_>) {
        if record.function == FunctionId::GAP {
            // Any descriptor may have been closed meanwhile and its number be another's. Guests keep
            // what they started with, and without it nothing later could be resolved.
            let initial = &self.initial;
            self.open.retain(|fd, what| initial.get(fd) == Some(what));
            return;
        }
        if record.outcome != Outcome::Returned || record.result != 0 {
            return;
        }
        let Some(row) = record.row() else { return };
        let arg = |i: usize| record.args.get(i).map(|&a| a as u32);
        if is(row, "fd_close") {
            if let Some(fd) = arg(0) {
                self.open.remove(&fd);
            }
        } else if is(row, "fd_renumber") {
            if let (Some(from), Some(to)) = (arg(0), arg(1))
                && from != to
            {
                match self.open.remove(&from) {
                    Some(what) => self.open.insert(to, what),
                    // What is not known takes the place of what is.
                    None => self.open.remove(&to),
                };
            }
        } else if let Some(opened) = opened_fd(row)
            && let Some(fd) = record.out(opened)
        {
            let what = if is_of_path(row) {
                let parent = arg(0).and_then(|directory| self.path(directory));
                let path = text::lossless(record.input);
                What::File(resolve(parent.unwrap_or("?"), &path))
            } else {
                What::Socket
            };
            self.open.insert(fd as u32, what);
        }
    }

    /// Whether a record of that function can change the table.
    #[must_use]
    pub fn may_change(id: FunctionId) -> bool {
        id == FunctionId::GAP
            || function::by_id(id).is_some_and(|row| {
                is(row, "fd_close") || is(row, "fd_renumber") || opened_fd(row).is_some()
            })
    }
}

/// The longest path that is kept, in bytes: longer than any that Linux takes in one call. Opening one
/// directory from another, again and again, makes paths of any length.
pub const MAX_PATH_BYTES: usize = 4096;
/// How much is kept of the beginning of a longer one; the rest is its end.
const HEAD_BYTES: usize = 1024;
/// What stands for the middle of a longer one.
const ELLIPSIS: &str = "/.../";

/// The path that a guest means by `path` relative to a directory, both as lossless text.
///
/// Empty and `.` components are dropped, so that `/data/./a` and `/data/a` are one. `..` is kept: what
/// is before it may be a symbolic link, and then only the host knew where it led; a resolved path
/// never names a file that the guest did not mean. For the same reason it names a link where the guest
/// went through one. An absolute path, which WASI refuses, stands for itself. Of a path longer than
/// [`MAX_PATH_BYTES`] the middle is cut out.
#[must_use]
pub fn resolve(directory: &str, path: &str) -> String {
    let directory = if path.starts_with('/') { "" } else { directory };
    let components = directory.split('/').chain(path.split('/'));
    let mut resolved = String::with_capacity(directory.len() + path.len() + 1);
    let absolute = directory.starts_with('/') || path.starts_with('/');
    for component in components.filter(|c| !matches!(*c, "" | ".")) {
        if absolute || !resolved.is_empty() {
            resolved.push('/');
        }
        resolved.push_str(component);
    }
    if resolved.is_empty() {
        resolved.push(if absolute { '/' } else { '.' });
    }
    match shortened(&resolved) {
        Cow::Borrowed(_) => resolved,
        Cow::Owned(short) => short,
    }
}

fn shortened(path: &str) -> Cow<'_, str> {
    if path.len() <= MAX_PATH_BYTES {
        return Cow::Borrowed(path);
    }
    let head = path.floor_char_boundary(HEAD_BYTES);
    let tail = MAX_PATH_BYTES - HEAD_BYTES - ELLIPSIS.len();
    let tail = path.ceil_char_boundary(path.len() - tail);
    Cow::Owned(format!("{}{ELLIPSIS}{}", &path[..head], &path[tail..]))
}

fn is(row: &Function, name: &str) -> bool {
    row.name == name
}

/// Which output of the function is a new descriptor.
fn opened_fd(row: &Function) -> Option<usize> {
    row.outs
        .iter()
        .position(|&p| row.params[p].kind == Kind::Out(Scalar::Fd))
}

/// Whether what the function opens is a file; what has no path is a socket.
fn is_of_path(row: &Function) -> bool {
    row.position(|k| matches!(k, Kind::Path { .. })).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_where_they_surely_are() {
        for (directory, path, resolved) in [
            ("/data", "a", "/data/a"),
            ("/data/", "./a", "/data/a"),
            ("/data", ".//b/./a/", "/data/b/a"),
            ("/data", "", "/data"),
            ("/data", ".", "/data"),
            ("/data", "b/../a", "/data/b/../a"),
            ("/data", "../etc", "/data/../etc"),
            ("/data", "/etc/passwd", "/etc/passwd"),
            ("/", "a", "/a"),
            ("/", "", "/"),
            (".", "a", "a"),
            (".", ".", "."),
            ("./sub", "a", "sub/a"),
            ("", "/data/", "/data"),
            ("?", "a", "?/a"),
        ] {
            assert_eq!(resolve(directory, path), resolved, "{directory} {path}");
        }
    }

    #[test]
    fn a_path_that_grows_for_ever_keeps_its_beginning_and_its_end() {
        let mut path = "/data".to_owned();
        for _ in 0..100 {
            path = resolve(&path, &"ü/".repeat(300));
            assert!(path.len() <= MAX_PATH_BYTES);
        }
        let path = resolve(&path, "name");
        assert!(path.starts_with("/data/ü/ü") && path.ends_with("/ü/name"));
        assert_eq!(path.matches(ELLIPSIS).count(), 1, "{path}");
    }
}

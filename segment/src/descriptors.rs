//! Which descriptor is what, followed from record to record.
//!
//! A segment opens with this table, so that it can be decoded alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::ProcessStart;
use crate::function::{self, Function, Kind, Scalar};
use crate::record::{Outcome, Record};
use crate::text;

/// A descriptor that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: u32,
    /// Its path as the guest sees it, or `stdin`, `stdout`, `stderr`. Bytes that are not UTF-8
    /// stand as `\xNN`.
    pub path: String,
}

/// The open descriptors of a process at some record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    paths: BTreeMap<u32, String>,
}

impl Descriptors {
    /// The descriptors that a process starts with.
    #[must_use]
    pub fn at_start(start: &ProcessStart) -> Descriptors {
        let stdio = [(0, "stdin"), (1, "stdout"), (2, "stderr")].map(|(fd, s)| (fd, s.to_owned()));
        let preopens = start.preopens.iter().map(|p| (p.fd, p.path.clone()));
        Descriptors {
            paths: stdio.into_iter().chain(preopens).collect(),
        }
    }

    /// The descriptors of a table as it stands in a segment.
    #[must_use]
    pub fn from_table(table: &[Descriptor]) -> Descriptors {
        Descriptors {
            paths: table.iter().map(|d| (d.fd, d.path.clone())).collect(),
        }
    }

    /// The table, by number.
    #[must_use]
    pub fn table(&self) -> Vec<Descriptor> {
        self.paths
            .iter()
            .map(|(&fd, path)| Descriptor {
                fd,
                path: path.clone(),
            })
            .collect()
    }

    /// The path of a descriptor.
    #[must_use]
    pub fn path(&self, fd: u32) -> Option<&str> {
        self.paths.get(&fd).map(String::as_str)
    }

    /// Follows one record, in the order of offsets.
    pub fn apply(&mut self, record: &Record<'_>) {
        if record.outcome != Outcome::Returned || record.result != 0 {
            return;
        }
        let Some(row) = record.row() else { return };
        let arg = |i: usize| record.args.get(i).map(|&a| a as u32);
        if is(row, "fd_close") {
            if let Some(fd) = arg(0) {
                self.paths.remove(&fd);
            }
        } else if is(row, "fd_renumber") {
            if let (Some(from), Some(to)) = (arg(0), arg(1))
                && from != to
            {
                match self.paths.remove(&from) {
                    Some(path) => self.paths.insert(to, path),
                    // A descriptor that is no file takes the place of one.
                    None => self.paths.remove(&to),
                };
            }
        } else if let Some(opened) = opened_fd(row)
            && let (Some(dir), Some(fd)) = (arg(0), record.out(opened))
        {
            let parent = self.path(dir).unwrap_or("?");
            let name = text::lossless(record.input);
            let path = match parent {
                "." => name.into_owned(),
                _ => format!("{}/{name}", parent.trim_end_matches('/')),
            };
            self.paths.insert(fd as u32, path);
        }
    }

    /// Whether a record of that function can change the table.
    #[must_use]
    pub fn may_change(id: crate::FunctionId) -> bool {
        function::by_id(id).is_some_and(|row| {
            is(row, "fd_close") || is(row, "fd_renumber") || opened_fd(row).is_some()
        })
    }
}

fn is(row: &Function, name: &str) -> bool {
    row.name == name
}

/// Which output of the function is a new descriptor of a file.
fn opened_fd(row: &Function) -> Option<usize> {
    row.position(|k| matches!(k, Kind::Path { .. }))?;
    row.outs
        .iter()
        .position(|&p| row.params[p].kind == Kind::Out(Scalar::Fd))
}

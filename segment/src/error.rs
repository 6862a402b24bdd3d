//! What can go wrong with a log, named after what it means for the user.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::{ModuleId, Offset, ProcessId};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a log or a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as in "cannot *open*".
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error("{} is not a timecraft {expected}", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// `segment` or `tail`.
        expected: &'static str,
    },
    /// The file was written by a later version.
    #[error("{} has format version {found}, and this timecraft reads versions up to {known}", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {position}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file the damaged part begins, in bytes.
        position: u64,
        /// What does not hold.
        what: String,
    },
    /// Records are missing between two that are there.
    #[error("records are missing in the log of process {process}: after offset {before} comes {after}, in {}", path.display())]
    Gap {
        /// Whose log.
        process: ProcessId,
        /// The file in which it goes on.
        path: PathBuf,
        /// The last offset before the gap.
        before: Offset,
        /// The first offset after it.
        after: Offset,
    },
    /// No process answers to the name.
    #[error("no process {selector:?} in the registry {}", registry.display())]
    NoSuchProcess {
        /// What was asked for.
        selector: String,
        /// Where.
        registry: PathBuf,
    },
    /// More than one process answers to the name.
    #[error("{selector:?} names {} processes: {}", matches.len(), list(matches))]
    AmbiguousProcess {
        /// What was asked for.
        selector: String,
        /// Those that match, by time.
        matches: Vec<ProcessId>,
    },
    /// The process left no log that could be read.
    #[error("process {process} has no log in {}", path.display())]
    NoLog {
        /// Which process.
        process: ProcessId,
        /// Its folder.
        path: PathBuf,
    },
    /// The registry does not have the module.
    #[error("no module {module} in the registry {}", registry.display())]
    NoSuchModule {
        /// Which module.
        module: ModuleId,
        /// Where.
        registry: PathBuf,
    },
    /// The log could not be written any more; the reason came from the thread that writes segments.
    #[error("the recording cannot go on")]
    RecordingFailed {
        /// Why.
        source: Arc<Error>,
    },
    /// The guest is to end, and did not wait for a buffer of its log.
    #[error("the guest was interrupted while it waited for its log")]
    StoppedWaiting,
    /// The log takes as much space as it may.
    #[error("the log in {} has reached its limit of {limit} bytes", path.display())]
    LogFull {
        /// Its folder.
        path: PathBuf,
        /// How large it may be, in bytes.
        limit: u64,
    },
    /// The end of a log is missing, though nobody writes it any more.
    #[error("the log ends at byte {position} of {}, and its end is missing", path.display())]
    EndMissing {
        /// The last file of it.
        path: PathBuf,
        /// Its length in bytes.
        position: u64,
    },
    /// The thread that writes segments ended without a word: a bug of timecraft.
    #[error("the thread that writes the log has died; this is a bug of timecraft")]
    WriterDied,
    /// An option of the log is out of its range.
    #[error("{option} is {value}, and must be {allowed}")]
    BadOption {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, position: u64, what: impl Into<String>) -> Error {
        Error::Damaged {
            path: path.to_owned(),
            position,
            what: what.into(),
        }
    }

    /// What the user can do about it, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Some(
                    "the registry belongs to another user; choose another with --registry PATH"
                        .to_owned(),
                ),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
                    "free some space, or choose a registry on another disk with --registry PATH"
                        .to_owned(),
                ),
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Some(
                    "a file stands where the registry needs a folder; choose another with --registry PATH"
                        .to_owned(),
                ),
                _ => None,
            },
            Error::NewerVersion { .. } => {
                Some("read it with the timecraft that wrote it, or with a later one".to_owned())
            }
            Error::NoSuchProcess { .. } => Some(
                "list what there is with: timecraft sql \"select process_id, name, start_time from processes\""
                    .to_owned(),
            ),
            Error::AmbiguousProcess { .. } => Some("give more of the id".to_owned()),
            Error::RecordingFailed { source } => source.hint(),
            Error::LogFull { .. } => Some(
                "raise --max-log-bytes, or let the guest go on without its log with --on-record-failure continue"
                    .to_owned(),
            ),
            Error::Damaged { .. } | Error::Gap { .. } | Error::EndMissing { .. } | Error::NotOurs { .. } => Some(
                "the rest can be queried after: SET timecraft.on_damage = 'skip'".to_owned(),
            ),
            _ => None,
        }
    }
}

/// An error and its causes, in a line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn list(ids: &[ProcessId]) -> String {
    const SHOWN: usize = 5;
    let mut text = ids
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if ids.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}

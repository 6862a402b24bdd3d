//! What can go wrong in the binary, with its causes and what to do about it.
//!
//! Each crate and module has an error type of its own; here they come together so that
//! [`Printer::report`](crate::printer::Printer::report) can say `error:`, `caused by:` and `hint:`
//! in one way. Nothing here must print.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Runtime(#[from] timecraft_runtime::Error),
    /// A log that is read.
    #[error(transparent)]
    Log(#[from] timecraft_segment::Error),
    #[cfg(feature = "sql")]
    #[error(transparent)]
    Query(#[from] timecraft_query::Error),
    #[cfg(feature = "sql")]
    #[error(transparent)]
    Sql(#[from] crate::sql::SqlError),
    /// A file that the user named.
    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Something of the operating system's that has no name.
    #[error("cannot {doing}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// What was asked for makes no sense; the second is what to do.
    #[error("{0}")]
    Usage(String, Option<String>),
}

impl Error {
    /// What lies behind it, the nearest first. A cause that only repeats what was said is left out.
    pub fn causes(&self) -> Vec<String> {
        let mut said = self.to_string();
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                said.push_str(&text);
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(e) => e.hint(),
            Error::Runtime(timecraft_runtime::Error::Read { source, .. }) => unreadable(source),
            Error::Runtime(e) => e.hint(),
            Error::Log(e) => e.hint(),
            #[cfg(feature = "sql")]
            Error::Sql(e) => e.hint(),
            Error::Usage(_, hint) => hint.clone(),
            #[cfg(feature = "sql")]
            Error::Query(_) => None,
            Error::File { .. } | Error::System { .. } | Error::Output(_) => None,
        }
    }

    /// Whether the reader of our output went away, which is their right.
    pub fn is_broken_pipe(&self) -> bool {
        let output = match self {
            Error::Output(e) => Some(e),
            #[cfg(feature = "sql")]
            Error::Sql(e) => e.io(),
            _ => None,
        };
        output.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What to do about a module that cannot be read.
fn unreadable(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::NotFound => {
            "MODULE is the path of a .wasm or .wat file; options of timecraft stand before it"
        }
        io::ErrorKind::IsADirectory => {
            "MODULE is the path of a .wasm or .wat file; a folder for the guest is given with --dir"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

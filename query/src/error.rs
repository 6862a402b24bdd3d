//! What can go wrong with a session, and with reading under a query.

use datafusion::error::DataFusionError;
use timecraft_segment::ProcessId;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong before any query ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The SQL engine could not be set up.
    #[error("cannot set up the SQL engine")]
    Engine(#[from] DataFusionError),
}

/// What went wrong with the registry while a query read it.
///
/// Queries return it as [`DataFusionError::External`]; look for it along the error's sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A process's log could not be read.
    #[error("cannot read the log of process {process}")]
    Process {
        /// Whose log.
        process: ProcessId,
        /// Why; names the file.
        source: timecraft_segment::Error,
    },
    /// The registry itself could not be read.
    #[error("cannot read the registry")]
    Registry {
        /// Why; names the file.
        source: timecraft_segment::Error,
    },
}

impl ReadError {
    /// What the user can do about it, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            ReadError::Process { source, .. } | ReadError::Registry { source } => source.hint(),
        }
    }

    pub(crate) fn process(process: ProcessId) -> impl Fn(timecraft_segment::Error) -> ReadError {
        move |source| ReadError::Process { process, source }
    }

    pub(crate) fn registry(source: timecraft_segment::Error) -> ReadError {
        ReadError::Registry { source }
    }
}

impl From<ReadError> for DataFusionError {
    fn from(error: ReadError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

//! Statements, from text to rows: [`exec`] runs them, [`shell`] asks for them, and what the engine
//! says of a mistake becomes what went wrong, where, and what to do ([`explain`]).

pub mod exec;
mod explain;
pub mod shell;

use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use explain::EngineError;

/// What went wrong with a statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The engine's word.
    #[error(transparent)]
    Engine(EngineError),
    /// There is no statement in the text.
    #[error("the query is empty")]
    Empty,
    /// A parameter has no value.
    #[error("the query has a parameter ${0}, and no value was given for it")]
    NoParameter(String),
    /// Rows could not be written.
    #[error("cannot write the result")]
    Write(#[source] arrow::error::ArrowError),
    /// The format holds one result, and there is another.
    #[error("more than one statement has a result, and this format holds one")]
    ManyResults,
    /// Ctrl-C.
    #[error("the query was cancelled")]
    Cancelled,
    /// Ctrl-C could not be watched for.
    #[error("cannot watch for signals")]
    Signals(#[source] std::io::Error),
    /// The engine panicked.
    #[error("the query engine has failed; this is a bug of timecraft or of its engine")]
    Died(#[source] tokio::task::JoinError),
    /// The shell's terminal.
    #[error("cannot read from the terminal")]
    Terminal(#[source] rustyline::error::ReadlineError),
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> SqlError {
        SqlError::Engine(EngineError::new(error))
    }
}

impl SqlError {
    /// The error with its place in the text of the query, and with what may be meant.
    fn explained(self, context: &SessionContext, sql: &str) -> SqlError {
        match self {
            SqlError::Engine(error) => SqlError::Engine(error.explained(context, sql)),
            other => other,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SqlError::Engine(error) => error.hint(),
            SqlError::NoParameter(name) => Some(format!("give it with --param {name}=VALUE")),
            SqlError::ManyResults => {
                Some("run them one by one, or choose a format of text".to_owned())
            }
            _ => None,
        }
    }

    /// What the system said, where standard output went away.
    pub fn io(&self) -> Option<&std::io::Error> {
        match self {
            SqlError::Write(arrow::error::ArrowError::IoError(_, error)) => Some(error),
            _ => None,
        }
    }
}

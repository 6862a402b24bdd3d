//! Statements, from text to rows: [`exec`] runs them, [`shell`] asks for them.

pub mod exec;
pub mod shell;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use timecraft_query::ReadError;

/// What went wrong with a statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The engine's word.
    #[error(transparent)]
    Engine(EngineError),
    /// Rows could not be written.
    #[error("cannot write the result")]
    Write(#[source] arrow::error::ArrowError),
    /// The format holds one result, and there is another.
    #[error("{0} statements have a result, and this format holds one")]
    ManyResults(usize),
    /// Ctrl-C.
    #[error("the query was cancelled")]
    Cancelled,
    /// The shell's terminal.
    #[error("cannot read from the terminal")]
    Terminal(#[source] rustyline::error::ReadlineError),
}

/// What the engine said, without its own decoration. Its causes are ours alone: the engine's own
/// only repeat it.
#[derive(Debug)]
pub struct EngineError(Box<DataFusionError>);

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&said(&self.0))
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match root(&self.0) {
            DataFusionError::External(inner) => inner.source(),
            _ => None,
        }
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> SqlError {
        SqlError::Engine(EngineError(Box::new(error)))
    }
}

impl SqlError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SqlError::Engine(EngineError(error)) => read_error(error)
                .and_then(ReadError::hint)
                .or_else(|| advice(error)),
            SqlError::ManyResults(_) => {
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

/// The error of ours below the engine's, if it is one.
fn read_error(error: &DataFusionError) -> Option<&ReadError> {
    match root(error) {
        DataFusionError::External(inner) => inner.downcast_ref(),
        _ => None,
    }
}

/// Behind contexts, shared errors and collections, what happened first.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) => root(inner),
        DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root),
        _ => error,
    }
}

/// The message, in one sentence where the engine has a sentence.
fn said(error: &DataFusionError) -> String {
    match root(error) {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::SQL(error, _) => {
            let text = error.to_string();
            let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
            format!("the SQL does not parse: {text}")
        }
        other => {
            let text = other.strip_backtrace();
            let text = [
                "Error during planning: ",
                "Schema error: ",
                "Execution error: ",
            ]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(&text);
            // The columns that there are stand in the hint, without their table's name.
            text.split("\nValid fields are ")
                .next()
                .unwrap_or(text)
                .trim_end()
                .to_owned()
        }
    }
}

fn advice(error: &DataFusionError) -> Option<String> {
    match root(error) {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { valid_fields, .. } if !valid_fields.is_empty() => {
                let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
                Some(format!("the columns are: {}", names.join(", ")))
            }
            _ => None,
        },
        DataFusionError::Plan(text) if text.contains("table '") && text.contains("not found") => {
            Some("list the tables with: timecraft sql \"show tables\"".to_owned())
        }
        DataFusionError::ResourcesExhausted(_) => {
            Some("ask for less at once: filter by process_id or time, or add a limit".to_owned())
        }
        _ => None,
    }
}

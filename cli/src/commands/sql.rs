//! `timecraft sql`: queries what was recorded.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use timecraft_query::{Session, SessionOptions};

use crate::args::Sql;
use crate::commands::{ExitStatus, open_registry};
use crate::config::Config;
use crate::error::Error;
use crate::output::Output;
use crate::printer::Printer;
use crate::sql::{SqlError, exec, shell};

/// SIGINT, of which a cancelled query has the status.
const INTERRUPT: i32 = 2;

/// Runs the query of the arguments, a file or standard input, or opens the shell.
pub fn sql(
    printer: &Printer,
    config: &Config,
    folder: Option<PathBuf>,
    args: Sql,
) -> Result<ExitStatus, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            doing: "start the threads of the query engine",
            source,
        })?;
    let session = Session::new(SessionOptions::new(open_registry(printer, config)))?;
    let context = session.context();
    // So that the engine can say where in the query a mistake is.
    let state = context.state_ref();
    state
        .write()
        .config_mut()
        .options_mut()
        .sql_parser
        .collect_spans = true;
    let Some(query) = query(&args)? else {
        if args.format.is_some() || args.to.is_some() {
            return Err(Error::Usage(
                "--format and --to are for a query, and there is none".to_owned(),
                Some(
                    "give the query as an argument, with -f FILE, or on standard input".to_owned(),
                ),
            ));
        }
        shell::shell(printer, &runtime, &session, folder.as_deref(), &args.param)?;
        return Ok(ExitStatus::Success);
    };
    let statements = match exec::parse(context, &query) {
        Err(SqlError::Empty) => return Err(Error::Usage("the query is empty".to_owned(), None)),
        statements => statements?,
    };
    let output = Output::open(printer, args.format, args.to.as_deref())?;
    let run = exec::run(printer, &session, &query, statements, &args.param, &output);
    match runtime.block_on(run) {
        Ok(_) => output.keep()?,
        Err(error) => {
            // What the engine still computes is of no use, and not waited for.
            runtime.shutdown_background();
            return match error {
                SqlError::Cancelled => Ok(ExitStatus::signal(INTERRUPT)),
                error => Err(error.into()),
            };
        }
    }
    Ok(ExitStatus::Success)
}

/// The text of the query; none where it is to be asked for.
fn query(args: &Sql) -> Result<Option<String>, Error> {
    if let Some(query) = &args.query {
        return Ok(Some(query.clone()));
    }
    match &args.file {
        Some(path) if path != Path::new("-") => {
            let failed = |source| Error::File {
                doing: "read",
                path: path.clone(),
                source,
            };
            Ok(Some(std::fs::read_to_string(path).map_err(failed)?))
        }
        None if std::io::stdin().is_terminal() => Ok(None),
        _ => {
            let mut text = String::new();
            let failed = |source| Error::System {
                doing: "read the query from standard input",
                source,
            };
            std::io::stdin().read_to_string(&mut text).map_err(failed)?;
            Ok(Some(text))
        }
    }
}

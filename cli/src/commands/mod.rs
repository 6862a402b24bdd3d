//! The commands, one file each, and how the binary ends.

mod config;
mod export;
mod run;
#[cfg(feature = "sql")]
mod sql;
mod trace;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use timecraft_segment::{Damage, Registry};

use crate::args::network::Export;
use crate::args::{Cli, Command};
use crate::config::{Config, Surroundings, load};
use crate::error::Error;
use crate::printer::Printer;

/// How the binary ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It did what was asked.
    Success,
    /// It could not.
    Failure,
    /// What was asked makes no sense.
    Usage,
    /// `run` ended as its guest did.
    Guest(u8),
    /// `run` itself failed: no status that a guest is likely to choose.
    Host,
}

impl ExitStatus {
    /// A trap.
    pub const TRAP: ExitStatus = ExitStatus::Guest(134);
    /// A timeout.
    pub const TIMEOUT: ExitStatus = ExitStatus::Guest(124);

    /// A signal ended the guest.
    pub fn signal(number: i32) -> ExitStatus {
        ExitStatus::Guest(u8::try_from(128 + number).unwrap_or(u8::MAX))
    }

    /// The guest's own status, of which the system keeps the lowest eight bits.
    pub fn guest(code: i32) -> ExitStatus {
        ExitStatus::Guest(code.to_le_bytes()[0])
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Guest(code) => code,
            ExitStatus::Host => 125,
        })
    }
}

/// Does what the command line asks for, and reports what went wrong.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitStatus {
    let printer = Printer::new();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let written = printer.usage(&error);
            return match (error.use_stderr(), written) {
                (true, _) => ExitStatus::Usage,
                (false, Ok(())) => ExitStatus::Success,
                (false, Err(e)) => finish(&printer, Err(Error::Output(e)), ExitStatus::Failure),
            };
        }
    };
    let failure = match cli.command {
        Command::Run(_) => ExitStatus::Host,
        _ => ExitStatus::Failure,
    };
    finish(&printer, dispatch(&printer, cli), failure)
}

fn dispatch(printer: &Printer, cli: Cli) -> Result<ExitStatus, Error> {
    let around = Surroundings::of_process();
    let config = |global| -> Result<Config, Error> { Ok(load(global, &around)?) };
    match cli.command {
        Command::Run(args) => run::run(printer, &config(&cli.global)?, *args),
        #[cfg(feature = "sql")]
        Command::Sql(args) => sql::sql(printer, &config(&cli.global)?, around.folder(), *args),
        Command::Trace(trace) => trace::run(printer, &config(&cli.global)?, trace),
        Command::Export(Export::Pcapng(args)) => {
            export::pcapng(printer, &config(&cli.global)?, &args)
        }
        Command::Export(Export::Har(args)) => export::har(printer, &config(&cli.global)?, &args),
        Command::Config => config::config(printer, &config(&cli.global)?),
        Command::Version => version::version(printer),
    }
}

/// The registry, in which the logs are sealed that dead writers left.
fn open_registry(printer: &Printer, config: &Config) -> Registry {
    let registry = Registry::at(&config.registry.value);
    // They can be read as they are, so that they cannot be sealed is worth no more than a word.
    // Where it cannot be listed, the command itself says so.
    let failed = registry.seal_orphans().unwrap_or_default();
    for (process, error) in failed.iter().filter(|(_, error)| !is_read_only(error)) {
        printer.warn(&format!(
            "the log of process {process}, whose writer died, is not sealed: {error}"
        ));
    }
    registry
}

/// Says what of a log is left out because it is damaged.
fn tell_damage(printer: &Printer, damage: &Damage) {
    printer.warn(&format!(
        "left out what is damaged in {} at byte {}: {}",
        damage.path.display(),
        damage.position,
        damage.what
    ));
}

/// Whether a registry is only there to be read.
fn is_read_only(error: &timecraft_segment::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error, timecraft_segment::Error::Io { source, .. }
        if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
}

fn finish(printer: &Printer, result: Result<ExitStatus, Error>, failure: ExitStatus) -> ExitStatus {
    match result {
        Ok(status) => status,
        Err(error) if error.is_broken_pipe() => ExitStatus::Success,
        Err(error) => {
            printer.report(&error);
            match error {
                Error::Usage(..) => ExitStatus::Usage,
                _ => failure,
            }
        }
    }
}

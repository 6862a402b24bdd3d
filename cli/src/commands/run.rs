//! `timecraft run`: runs a guest and records it.
//!
//! Standard output is the guest's alone. What this command says goes to standard error: the process
//! id first, and at the end why the guest failed, if it did.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use timecraft_runtime::network::tls::Trust;
use timecraft_runtime::network::{Extension, Network, Rules};
use timecraft_runtime::{
    Cause, End, Interrupter, Limits, Options, Recording, Report, Source, trace, wasi,
};
use timecraft_segment::{Compression, LogOptions, OnFailure, Record, Registry, Sync, describe};

use crate::args::{self, OnRecordFailure, Run};
use crate::commands::{ExitStatus, open_registry};
use crate::config::{self, Config};
use crate::error::Error;
use crate::escape;
use crate::printer::Printer;

/// Runs the guest to its end. The status is its own.
pub fn run(printer: &Printer, config: &Config, args: Run) -> Result<ExitStatus, Error> {
    let mut command = args.command.iter();
    // The parser does not let a command without a module through.
    let module = command.next().map(PathBuf::from).unwrap_or_default();
    let source = Source::read(&module)?;

    let interrupter = Interrupter::new()?;
    interrupt_on_signals(&interrupter)?;
    outlive_large_files()?;
    printer.never_hold(&interrupter);
    let registry = if args.fly_blind {
        Registry::at(&config.registry.value)
    } else {
        open_registry(printer, config)
    };
    let mut options = Options::new(&source, interrupter.clone());
    options.args = guest_args(&args.command);
    options.environment = environment(&args);
    options.directories = directories(&args);
    options.network = network(&config.network, &args)?;
    options.entry.clone_from(&args.function);
    options.cache = Some(config.cache.value.join("modules"));
    options.limits = limits(&args);
    options.timeout = args.timeout;
    options.trace = args.trace.then(|| trace_to_stderr(printer, &interrupter));
    let mut id_file = None;
    if !args.fly_blind {
        // Opened before anything happens: a file that cannot be written is said at once.
        if let Some(path) = &args.id_file {
            let failed = |source| Error::File {
                doing: "create",
                path: path.clone(),
                source,
            };
            id_file = Some(std::fs::File::create(path).map_err(failed)?);
        }
        options.recording = Some(Recording {
            registry: &registry,
            log: log_options(&args),
            name: args.name.clone(),
            labels: args.label.iter().cloned().collect(),
            on_start: Some(Box::new(move |id| {
                printer.note(&id.to_string());
                if let Some(mut file) = id_file {
                    // The id stands on standard error as well; a guest is not stopped for this.
                    let _ = writeln!(file, "{id}");
                }
            })),
        });
    }
    let report = timecraft_runtime::run(options)?;
    Ok(conclude(printer, &config.network, &report))
}

/// The guest's first argument is its module as it was typed, as a shell would have it.
fn guest_args(command: &[OsString]) -> Vec<Vec<u8>> {
    command.iter().map(|arg| arg.clone().into_vec()).collect()
}

fn environment(args: &Run) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut environment: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut set = |name: Vec<u8>, value: Vec<u8>| match environment
        .iter_mut()
        .find(|(known, _)| *known == name)
    {
        Some((_, old)) => *old = value,
        None => environment.push((name, value)),
    };
    if args.inherit_env {
        std::env::vars_os().for_each(|(name, value)| set(name.into_vec(), value.into_vec()));
    }
    for (name, value) in &args.env {
        set(name.clone().into_bytes(), value.clone().into_bytes());
    }
    environment
}

fn directories(args: &Run) -> Vec<wasi::Directory> {
    let granted = args.dir.iter().map(|d| wasi::Directory {
        host: d.host.clone(),
        guest: d.guest.clone(),
        read_only: d.read_only,
    });
    granted.collect()
}

fn network(config: &config::Network, args: &Run) -> Result<Network, Error> {
    let absolute = |path: &PathBuf| match std::path::absolute(path) {
        Ok(path) => Ok(path.into_os_string().into_vec()),
        Err(source) => Err(Error::File {
            doing: "find",
            path: path.clone(),
            source,
        }),
    };
    Ok(Network {
        extension: match config.sockets(args) {
            args::Sockets::Auto => Extension::Auto,
            args::Sockets::None => Extension::None,
            args::Sockets::WasmEdgeV1 => Extension::WasmEdgeV1,
            args::Sockets::WasmEdgeV2 => Extension::WasmEdgeV2,
        },
        listen: args.listen.clone(),
        dial: args.dial.clone(),
        rules: Rules {
            allow: config.allow_net(args),
            deny: config.deny_net(args),
            unix: config
                .allow_unix(args)
                .iter()
                .map(absolute)
                .collect::<Result<_, _>>()?,
            restrict: args.restrict,
            ..Rules::default()
        },
        trust: Arc::new(Trust::with(config.tls_ca(args)).map_err(timecraft_runtime::Error::from)?),
    })
}

fn limits(args: &Run) -> Limits {
    let defaults = Limits::default();
    Limits {
        memory_bytes: args.max_memory.map_or(defaults.memory_bytes, |m| m.0),
        table_elements: args.max_table_elements.unwrap_or(defaults.table_elements),
        stack_bytes: args.max_stack.map_or(defaults.stack_bytes, |s| s.0),
        open_files: args.max_open_files,
    }
}

fn log_options(args: &Run) -> LogOptions {
    LogOptions {
        compression: match args.record_compression {
            args::Compression::Zstd => Compression::Zstd,
            args::Compression::None => Compression::None,
        },
        batch_bytes: usize::try_from(args.record_batch_size.0).unwrap_or(usize::MAX),
        sync: match args.sync {
            args::Sync::None => Sync::None,
            args::Sync::Interval => Sync::Interval,
            args::Sync::Batch => Sync::Batch,
        },
        on_failure: match args.on_record_failure {
            OnRecordFailure::Stop => OnFailure::Stop,
            OnRecordFailure::Continue => OnFailure::Continue,
        },
        max_bytes: args.max_log_bytes.map(|size| size.0),
        ..LogOptions::default()
    }
}

/// The first signal ends the guest, and its log is sealed; the second ends this process, whatever
/// it is in, as does a first that comes before the guest has started. Signals are watched for until
/// this process is over: what it says at the end may wait for a reader, too.
fn interrupt_on_signals(interrupter: &Interrupter) -> Result<(), Error> {
    let failed = |source| Error::System {
        doing: "watch for signals",
        source,
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let interrupter = interrupter.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut first = true;
            for signal in &mut signals {
                let running = interrupter.interrupt(Cause::Signal(signal));
                if !std::mem::take(&mut first) || !running {
                    // Ends this process as the signal would have.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        })
        .map_err(failed)?;
    Ok(())
}

/// A guest that makes a file larger than this process may gets an error for it, as from a full disk. By
/// default the signal would end this process, and the recording with it.
fn outlive_large_files() -> Result<(), Error> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())
        .map(drop)
        .map_err(|source| Error::System {
            doing: "watch for signals",
            source,
        })
}

/// A line for each call, as strace has it: time since the start, the call, what it returned, how
/// long it took.
fn trace_to_stderr(printer: &Printer, interrupter: &Interrupter) -> trace::Sink {
    let (dim, plain) = if printer.colors() {
        ("\x1b[2m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut output = wasi::Output::stderr(interrupter);
    let mut line = Vec::new();
    Box::new(move |record: &Record<'_>| {
        let start = record.start.0;
        let (seconds, nanos) = (start / 1_000_000_000, start % 1_000_000_000);
        let micros = record.duration_ns / 1000;
        line.clear();
        // Neither writing to memory nor to a closed standard error is worth ending a guest for.
        let _ = writeln!(
            line,
            "{dim}{seconds:>4}.{:06}{plain} {} {dim}<{}.{:06}>{plain}",
            nanos / 1000,
            describe::strace(record),
            micros / 1_000_000,
            micros % 1_000_000,
        );
        let _ = output.write_all(&line);
    })
}

/// Says why the guest failed, if it did, and what it lacked.
fn conclude(printer: &Printer, network: &config::Network, report: &Report) -> ExitStatus {
    let status = match &report.end {
        End::Exit(code) => ExitStatus::guest(*code),
        End::Trap(trap) => {
            let trap = escape::lines(&trap.to_string());
            printer.note(&format!(
                "{} the guest trapped: {trap}",
                printer.paint("31;1", "error:")
            ));
            ExitStatus::TRAP
        }
        End::Signal(number) => ExitStatus::signal(*number),
        End::Timeout => {
            printer.note(&format!(
                "{} the guest ran out of time",
                printer.paint("31;1", "error:")
            ));
            ExitStatus::TIMEOUT
        }
    };
    if let Some(gap) = &report.unrecorded {
        let calls = match gap.calls {
            1 => "1 call of the guest was".to_owned(),
            n => format!("{n} calls of the guest were"),
        };
        printer.warn(&format!("{calls} not recorded: {}", gap.reason));
    }
    if let Some(error) = &report.log_failure {
        let text = format!(
            "the recording is not complete: {}",
            timecraft_segment::error::chain(error.as_ref())
        );
        printer.warn(&text);
    }
    if status != ExitStatus::Guest(0) {
        for missing in &report.missing_grants {
            printer.note(&printer.hint(&format!(
                "the guest was refused {}; {} grants it",
                missing.resource,
                network.located(&missing.flag)
            )));
        }
        for reached in &report.limits_reached {
            printer.note(&printer.hint(&format!(
                "the guest came up against the limit of {}; {} raises it",
                reached.limit, reached.flag
            )));
        }
    }
    status
}

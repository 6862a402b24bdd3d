//! Running a guest from its module's bytes to its end.
//!
//! [`run`] reads like the life of a process: the module is checked and compiled, the recording
//! opened, the guest instantiated and called, and the recording closed with how it ended. Nothing
//! here may print or end the host's process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use timecraft_segment::function::{Abi, Function};
use timecraft_segment::options::{LogOptions, OnFailure};
use timecraft_segment::recorder::Recorder;
use timecraft_segment::registry::Registry;
use timecraft_segment::{
    Ended, Gap, Interrupt, Invoke, ModuleId, Preopen, ProcessEnd, ProcessId, ProcessStart, UnixNs,
    event,
};
use wasmtime::{Engine, ExternType, Instance, Module, Store, Val, WasmBacktrace};

use crate::binary::{Binary, Source};
use crate::cache::Entry;
use crate::capture::Capture;
use crate::dispatch::{self, Guest, Stop};
use crate::error::{Error, Result};
use crate::interrupt::{Cause, Interrupter};
use crate::limits::{LimitReached, Limiter, Limits};
use crate::network::Network;
use crate::trace::{Sink, Trace};
use crate::wasi::{self, Directory, MissingGrant, Wasi};
use crate::{engine, host};

/// The function that is called unless the user names another.
pub const DEFAULT_ENTRY: &str = "_start";
/// The function by which a module that is no program initializes itself.
const INITIALIZE: &str = "_initialize";
/// What the host's own functions may take of the guest thread's stack, in bytes.
const HOST_STACK_BYTES: u64 = 1 << 20;

/// What to run, with what, and where to record it.
pub struct Options<'a> {
    /// The module.
    pub source: &'a Source,
    /// The guest's arguments, the program's own name first.
    pub args: Vec<Vec<u8>>,
    /// The environment that the guest sees.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The directories that the guest may use.
    pub directories: Vec<Directory>,
    /// The network that the guest may use.
    pub network: Network,
    /// The exported function to call.
    pub entry: String,
    /// Where and how to record. Without it the guest flies blind, at no cost.
    pub recording: Option<Recording<'a>>,
    /// Where compiled modules are kept; without it the module is compiled each time.
    pub cache: Option<PathBuf>,
    /// How much the guest may use.
    pub limits: Limits,
    /// How long the guest may run, from its first instruction on.
    pub timeout: Option<Duration>,
    /// The handle that ends the guest from outside.
    pub interrupter: Interrupter,
    /// Gets each host call when it is over, as a record.
    pub trace: Option<Sink>,
}

impl<'a> Options<'a> {
    /// To run a module with no arguments, grants or recording, within the default limits.
    #[must_use]
    pub fn new(source: &'a Source, interrupter: Interrupter) -> Options<'a> {
        Options {
            source,
            args: Vec::new(),
            environment: Vec::new(),
            directories: Vec::new(),
            network: Network::default(),
            entry: DEFAULT_ENTRY.to_owned(),
            recording: None,
            cache: None,
            limits: Limits::default(),
            timeout: None,
            interrupter,
            trace: None,
        }
    }
}

/// Where a guest is recorded, how, and under what name.
pub struct Recording<'a> {
    /// The registry.
    pub registry: &'a Registry,
    /// How the log is written.
    pub log: LogOptions,
    /// The process's name.
    pub name: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Called with the process's id before the guest runs, on the guest's thread.
    pub on_start: Option<Box<dyn FnOnce(ProcessId) + Send + 'a>>,
}

/// How a run of a guest went.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Its recording, if there is one.
    pub process_id: Option<ProcessId>,
    /// What was refused to it because a grant was missing.
    pub missing_grants: Vec<MissingGrant>,
    /// The limits that it came up against, each once.
    pub limits_reached: Vec<LimitReached>,
    /// Why the log is not complete, though the guest was to go on without it.
    pub log_failure: Option<Arc<timecraft_segment::Error>>,
    /// What was not recorded, where its log could not be written and it went on.
    pub unrecorded: Option<Gap>,
    /// How long it ran, without what came before and what its log took to close.
    pub guest_time: Duration,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned, with 0, or called `proc_exit` with this code.
    Exit(i32),
    /// It trapped.
    Trap(Trap),
    /// A signal ended it.
    Signal(i32),
    /// It ran for longer than it may.
    Timeout,
}

/// Why and where a guest trapped. Shown as text it is safe for a terminal: names that the guest
/// chose have their control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What happened.
    pub message: String,
    /// The guest's frames, innermost first, a line or more each; empty where it had none.
    pub backtrace: Vec<String>,
}

impl Trap {
    /// Whether the guest's stack was exhausted.
    fn is_of_stack(&self) -> bool {
        self.message == wasmtime::Trap::StackOverflow.to_string()
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        self.backtrace
            .iter()
            .try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// Runs a guest to its end, on a thread of its own whose stack is as large as its limits say.
///
/// # Errors
///
/// What timecraft refuses or fails at; see [`Error`]. Whatever the guest does wrong is in the
/// report.
pub fn run(options: Options<'_>) -> Result<Report> {
    let stack_bytes = options.limits.stack_bytes.saturating_add(HOST_STACK_BYTES);
    let failed = |source| Error::Thread {
        stack_bytes,
        source,
    };
    let stack = usize::try_from(stack_bytes).unwrap_or(usize::MAX);
    thread::scope(|scope| {
        let guest = thread::Builder::new()
            .name("guest".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, || run_here(options))
            .map_err(failed)?;
        guest
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run_here(mut options: Options<'_>) -> Result<Report> {
    let max_descriptors = options.limits.make_room()?;
    options.limits.open_files = Some(max_descriptors);
    let Options {
        limits,
        interrupter,
        timeout,
        ..
    } = &options;
    let (limits, interrupter, timeout) = (*limits, interrupter.clone(), *timeout);
    let on_failure = options.recording.as_ref().map(|r| r.log.on_failure);
    let on_failure = on_failure.unwrap_or_default();

    let engine = engine::engine(limits.stack_bytes)?;
    let binary = Binary::new(options.source)?;
    check_limits(&binary, &limits)?;
    let (module, module_id) = compile(&engine, &binary, &options)?;
    let plan = Plan {
        imports: dispatch::imports(&module, options.network.extension)?,
        has_start: binary.has_start,
        invocations: invocations(&module, &options.entry)?,
        module,
    };
    let wasi = Wasi::new(wasi::Config {
        args: options.args.clone(),
        environment: options.environment.clone(),
        directories: options.directories.clone(),
        network: options.network.clone(),
        resolver_files: plan.resolves() && !options.network.rules.reach_no_host(),
        max_descriptors,
        wakeup: interrupter.wakeup().clone(),
    })?;

    interrupter.start(&engine);
    let limiter = Limiter::new(limits);
    let (process_id, recorder) = record(
        &binary,
        module_id,
        &wasi,
        options.recording.as_ref(),
        &options,
    )?;
    let trace = options.trace.map(|sink| Box::new(Trace::new(sink)));
    let capture = Capture::new(recorder, trace);
    if let Some(log) = capture.stop_waiting() {
        interrupter.watch_log(log);
    }
    let mut store = Store::new(
        &engine,
        Guest {
            wasi,
            capture,
            limiter,
            memory: None,
        },
    );
    store.limiter(|guest| guest);

    store.set_epoch_deadline(1);
    if let (Some(id), Some(on_start)) = (process_id, options.recording.and_then(|r| r.on_start)) {
        on_start(id);
    }
    let since = Instant::now();
    let ended = match interrupter.cause() {
        Some(_) => Err(Stop::Interrupted.into()),
        None => with_timeout(timeout, &interrupter, || plan.execute(&mut store))?,
    };
    let guest_time = since.elapsed();
    let mut guest = store.into_data();
    let end = match end(ended, &interrupter) {
        Err(Error::Log(error)) => {
            stop(&mut guest, &error);
            return Err(Error::Log(error));
        }
        end => end?,
    };
    let (unrecorded, closed) = close(&mut guest, &end);
    let log_failure = match (closed, on_failure) {
        (Err(error), OnFailure::Stop) => return Err(error.into()),
        (closed, _) => closed.err().map(Arc::new),
    };
    let exhausted = matches!(&end, End::Trap(trap) if trap.is_of_stack());
    let limits_reached = guest
        .limiter
        .reached()
        .iter()
        .chain(guest.wasi.limit_reached())
        .cloned()
        .chain(exhausted.then(|| LimitReached::stack(limits.stack_bytes)));
    Ok(Report {
        end,
        process_id,
        limits_reached: limits_reached.collect(),
        missing_grants: guest.wasi.missing_grants().to_vec(),
        log_failure,
        unrecorded,
        guest_time,
    })
}

fn check_limits(binary: &Binary<'_>, limits: &Limits) -> Result<()> {
    if binary.memory_bytes > limits.memory_bytes {
        return Err(Error::InitialMemory {
            needed: binary.memory_bytes,
            limit: limits.memory_bytes,
        });
    }
    if binary.table_elements > limits.table_elements {
        return Err(Error::InitialTable {
            needed: binary.table_elements,
            limit: limits.table_elements,
        });
    }
    Ok(())
}

/// Compiles the module or takes it from the cache. Its digest is computed once, and not at all where
/// neither the cache nor a recording asks for it.
fn compile(
    engine: &Engine,
    binary: &Binary<'_>,
    options: &Options<'_>,
) -> Result<(Module, Option<ModuleId>)> {
    let wanted = options.cache.is_some() || options.recording.is_some();
    let id = wanted.then(|| ModuleId::of(&binary.bytes));
    let entry = options
        .cache
        .as_deref()
        .zip(id)
        .map(|(folder, id)| Entry::new(folder, engine, id));
    if let Some(module) = entry.as_ref().and_then(|e| e.load(engine)) {
        return Ok((module, id));
    }
    let module = Module::from_binary(engine, &binary.bytes).map_err(|e| Error::Invalid {
        module: options.source.name.clone(),
        reason: format!("{e:#}"),
    })?;
    if let Some(entry) = &entry {
        entry.store(&module);
    }
    Ok((module, id))
}

/// The exports to call, in order: `_initialize` where the module has it, then the entry.
fn invocations(module: &Module, entry: &str) -> Result<Vec<String>> {
    let mut calls = Vec::new();
    if entry != INITIALIZE && matches!(module.get_export(INITIALIZE), Some(ExternType::Func(_))) {
        calls.push(INITIALIZE.to_owned());
    }
    calls.push(entry.to_owned());
    for call in &calls {
        match module.get_export(call) {
            Some(ExternType::Func(ty)) if ty.params().len() == 0 => {}
            Some(ExternType::Func(ty)) => {
                return Err(Error::EntryParameters {
                    entry: call.clone(),
                    found: ty.to_string(),
                });
            }
            _ => {
                return Err(Error::NoEntry {
                    entry: call.clone(),
                    exports: callable(module),
                });
            }
        }
    }
    Ok(calls)
}

/// The exported functions without parameters.
fn callable(module: &Module) -> Vec<String> {
    module
        .exports()
        .filter(|e| matches!(e.ty(), ExternType::Func(ty) if ty.params().len() == 0))
        .map(|e| e.name().to_owned())
        .collect()
}

/// Opens the recording: the module in the registry, then the log with all that a replay must know.
fn record(
    binary: &Binary<'_>,
    module_id: Option<ModuleId>,
    wasi: &Wasi,
    recording: Option<&Recording<'_>>,
    options: &Options<'_>,
) -> Result<(Option<ProcessId>, Option<Recorder>)> {
    let (Some(recording), Some(module_id)) = (recording, module_id) else {
        return Ok((None, None));
    };
    recording.registry.create()?;
    recording.registry.put_module_as(module_id, &binary.bytes)?;
    let process_id = ProcessId::new();
    let start = ProcessStart {
        process_id,
        parent_process_id: None,
        name: recording.name.clone(),
        labels: recording.labels.clone(),
        host: host::name(),
        user: host::user(),
        module_id,
        module_name: options.source.name.clone(),
        args: options.args.iter().map(|a| host::text(a)).collect(),
        environment: options
            .environment
            .iter()
            .map(|(k, v)| (host::text(k), host::text(v)))
            .collect(),
        grants: host::grants(&options.directories, &options.network),
        preopens: wasi
            .preopens()
            .into_iter()
            .map(|(fd, path)| Preopen { fd, path })
            .collect(),
        sockets: wasi.sockets().to_vec(),
        start_time: UnixNs::now(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: engine::description(),
        limits: event::Limits {
            memory_bytes: Some(options.limits.memory_bytes),
            table_elements: Some(options.limits.table_elements),
            stack_bytes: Some(options.limits.stack_bytes),
            open_files: options.limits.open_files,
            timeout_ns: options
                .timeout
                .map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
        },
        entry: options.entry.clone(),
    };
    let recorder = Recorder::create(recording.registry, &start, &recording.log)?;
    Ok((Some(process_id), Some(recorder)))
}

/// Runs the guest, and interrupts it when the time is over.
fn with_timeout<T>(
    timeout: Option<Duration>,
    interrupter: &Interrupter,
    run: impl FnOnce() -> T,
) -> Result<T> {
    let Some(timeout) = timeout else {
        return Ok(run());
    };
    thread::scope(|scope| {
        let (over, guest_is_over) = mpsc::channel::<()>();
        thread::Builder::new()
            .name("timeout".to_owned())
            .spawn_scoped(scope, move || {
                if guest_is_over.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
                    interrupter.interrupt(Cause::Timeout);
                }
            })
            .map_err(|source| Error::Host {
                what: "the timeout's thread",
                source,
            })?;
        let result = run();
        drop(over);
        Ok(result)
    })
}

/// What of a module is to be run; all that could be refused was.
struct Plan {
    module: Module,
    /// The functions that it imports, in its order.
    imports: Vec<&'static Function>,
    /// Whether instantiation runs the guest.
    has_start: bool,
    /// The exports to call.
    invocations: Vec<String>,
}

impl Plan {
    /// Whether the guest has sockets of its own, and so may resolve names.
    fn resolves(&self) -> bool {
        self.imports.iter().any(|f| f.abi != Abi::Preview1)
    }

    /// Instantiates the module and calls its exports, until one ends the guest.
    fn execute(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        let imports = dispatch::link(store, &self.imports);
        if self.has_start {
            invoke_event(store, "")?;
        }
        let instance = Instance::new(&mut *store, &self.module, &imports)?;
        for export in &self.invocations {
            let Some(function) = instance.get_func(&mut *store, export) else {
                continue;
            };
            invoke_event(store, export)?;
            let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
            function.call(&mut *store, &[], &mut results)?;
        }
        Ok(())
    }
}

fn invoke_event(store: &mut Store<Guest>, export: &str) -> wasmtime::Result<()> {
    let event = Invoke {
        export: export.to_owned(),
    };
    Ok(store.data_mut().capture.event(&event).map_err(Stop::Log)?)
}

/// What the engine's word about the guest's end means.
fn end(ended: wasmtime::Result<()>, interrupter: &Interrupter) -> Result<End> {
    let Err(error) = ended else {
        return Ok(End::Exit(0));
    };
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(frames)
        .unwrap_or_default();
    let interrupted = match error.downcast::<Stop>() {
        Ok(Stop::Log(timecraft_segment::Error::StoppedWaiting))
            if interrupter.cause().is_some() =>
        {
            "interrupted".to_owned()
        }
        Ok(Stop::Log(error)) => return Err(Error::Log(error)),
        Ok(Stop::Exit(code)) => return Ok(End::Exit(code)),
        Ok(Stop::Trap(message)) => {
            return Ok(End::Trap(Trap {
                message: printable(&message),
                backtrace,
            }));
        }
        Ok(Stop::Interrupted) => "interrupted".to_owned(),
        Err(error) if error.is::<wasmtime::Trap>() => match error.downcast::<wasmtime::Trap>() {
            Ok(wasmtime::Trap::Interrupt) => wasmtime::Trap::Interrupt.to_string(),
            Ok(trap) => {
                return Ok(End::Trap(Trap {
                    message: trap.to_string(),
                    backtrace,
                }));
            }
            Err(error) => error.to_string(),
        },
        // Whatever else the engine refuses once the guest runs, such as an exception that nobody
        // catches, or memory that the host cannot give at the beginning.
        Err(error) => {
            let message = printable(&error.root_cause().to_string());
            return Ok(End::Trap(Trap { message, backtrace }));
        }
    };
    Ok(match interrupter.cause() {
        Some(Cause::Signal(number)) => End::Signal(number),
        Some(Cause::Timeout) => End::Timeout,
        None => End::Trap(Trap {
            message: interrupted,
            backtrace,
        }),
    })
}

/// The backtrace's lines, without its title.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    backtrace
        .to_string()
        .lines()
        .skip(1)
        .map(printable)
        .collect()
}

/// The text without control characters: a guest chooses the names of its functions and files.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            printable.extend(c.escape_default())
        } else {
            printable.push(c)
        }
    }
    printable
}

/// Records how the guest ended, and completes the log. Returns what it lacks, and whether it is whole.
fn close(guest: &mut Guest, end: &End) -> (Option<Gap>, timecraft_segment::error::Result<()>) {
    let (status, exit_code, signal, trap) = match end {
        End::Exit(code) => (Ended::Exited, Some(*code), None, None),
        End::Trap(trap) => (Ended::Trapped, None, None, Some(trap.to_string())),
        End::Signal(number) => (Ended::Killed, None, Some(*number), None),
        End::Timeout => (Ended::Killed, None, None, None),
    };
    // A log that cannot be written says so when it is closed.
    if guest.capture.settle() && status == Ended::Killed {
        let cause = if signal.is_some() {
            "signal"
        } else {
            "timeout"
        };
        // Should it fail, so does what follows.
        let _ = guest.capture.event(&Interrupt {
            cause: cause.to_owned(),
            signal,
        });
    }
    let Some(mut recorder) = std::mem::take(&mut guest.capture).into_recorder() else {
        return (None, Ok(()));
    };
    let unrecorded = recorder.unrecorded();
    let stall_ns = recorder.stall_ns();
    let closed = recorder.close(&ProcessEnd {
        status,
        exit_code,
        signal,
        trap,
        stall_ns,
    });
    (unrecorded, closed)
}

/// Says in the log that the guest was stopped because its log failed.
fn stop(guest: &mut Guest, error: &timecraft_segment::Error) {
    let Some(recorder) = std::mem::take(&mut guest.capture).into_recorder() else {
        return;
    };
    let stall_ns = recorder.stall_ns();
    // The error that matters is the first, which the caller reports.
    let _ = recorder.close(&ProcessEnd {
        status: Ended::Killed,
        exit_code: None,
        signal: None,
        trap: Some(format!("stopped: {error}")),
        stall_ns,
    });
}

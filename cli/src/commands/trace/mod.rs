//! `timecraft trace`: prints what a process did, from its log, also while that grows.
//!
//! What all traces share: the way through the log, the window of time, and how rows are written. Each
//! trace has a file of its own, which says what its rows are.

mod dns;
mod network;
mod request;

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use timecraft_segment::{ElapsedNs, ProcessStart, UnixNs};

use crate::args::network::{Trace, TraceFormat, TraceOptions};
use crate::commands::{ExitStatus, open_registry, tell_damage};
use crate::config::Config;
use crate::error::Error;
use crate::network::text::Style;
use crate::network::walk::{Meant, Reached, Walk};
use crate::printer::Printer;
use crate::units::Moment;

/// How often a log that grows is looked at: as seldom as people do not notice.
const INTERVAL: Duration = Duration::from_millis(100);

/// Prints a trace.
pub fn run(printer: &Printer, config: &Config, trace: Trace) -> Result<ExitStatus, Error> {
    match trace {
        Trace::Network(args) => network::run(printer, config, &args),
        Trace::Dns(args) => dns::run(printer, config, &args),
        Trace::Request(args) => request::run(printer, config, &args),
    }
}

/// What a trace shows of a log.
trait Tracer {
    /// Takes what a record meant, or what follows from records that are missing.
    fn take(&mut self, meant: &Meant<'_>, lines: &mut Lines) -> io::Result<()>;

    /// Writes what is in flight where the log ends.
    fn finish(&mut self, walk: &Walk, lines: &mut Lines) -> io::Result<()>;
}

/// Goes through the log of a process, to the end of the window or of the log, and with `--follow` for
/// as long as the process runs.
fn trace<T: Tracer>(
    printer: &Printer,
    config: &Config,
    options: &TraceOptions,
    begin: impl FnOnce(&ProcessStart, Window) -> T,
) -> Result<ExitStatus, Error> {
    let registry = open_registry(printer, config);
    let process = registry.find(&options.process)?;
    let (mut walk, start) = Walk::begin(registry, process)?;
    let window = Window::new(options, start.start_time);
    let mut tracer = begin(&start, window);
    let mut lines = Lines::new(printer, options);
    let start = start.start_time;
    loop {
        // Before the log is read: what began earlier is in it.
        let now = UnixNs::now();
        let damaged = |damage: &_| tell_damage(printer, damage);
        let reached = walk.advance(options.follow, damaged, |meant| {
            tracer.take(&meant, &mut lines).map_err(Error::Output)?;
            let elapsed = meant.record.map_or(ElapsedNs(0), |record| record.start);
            Ok::<_, Error>(match window.is_past(start.plus(elapsed)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        if reached != Reached::Now || window.is_past(now) || !options.follow {
            break;
        }
        lines.flush().map_err(Error::Output)?;
        thread::sleep(INTERVAL);
    }
    tracer.finish(&walk, &mut lines).map_err(Error::Output)?;
    lines.finish().map_err(Error::Output)?;
    Ok(ExitStatus::Success)
}

/// The time that is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The first moment.
    from: Option<UnixNs>,
    /// The moment after the last.
    until: Option<UnixNs>,
}

impl Window {
    fn new(options: &TraceOptions, start: UnixNs) -> Window {
        let nanoseconds = |d: Duration| ElapsedNs(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        let from = options.start_time.map(|moment| match moment {
            Moment::At(time) => time,
            Moment::After(elapsed) => start.plus(nanoseconds(elapsed)),
        });
        let until = options
            .duration
            .map(|d| from.unwrap_or(start).plus(nanoseconds(d)));
        Window { from, until }
    }

    /// Whether a moment is in it.
    fn holds(self, time: UnixNs) -> bool {
        self.from.is_none_or(|from| time >= from) && !self.is_past(time)
    }

    fn is_past(self, time: UnixNs) -> bool {
        self.until.is_some_and(|until| time >= until)
    }
}

/// Rows on their way to standard output.
struct Lines {
    out: BufWriter<io::StdoutLock<'static>>,
    format: TraceFormat,
    style: Style,
    any: bool,
}

impl Lines {
    fn new(printer: &Printer, options: &TraceOptions) -> Lines {
        Lines {
            out: BufWriter::new(io::stdout().lock()),
            format: options.output,
            style: Style {
                verbose: options.verbose,
                colors: printer.stdout_colors(),
            },
            any: false,
        }
    }

    /// Writes a row: as text, or as the object that it is in JSON.
    fn row(
        &mut self,
        text: impl FnOnce(&mut String, Style),
        object: impl FnOnce(Style) -> serde_json::Result<String>,
    ) -> io::Result<()> {
        let mut row = String::new();
        let first = !std::mem::replace(&mut self.any, true);
        match self.format {
            TraceFormat::Text => text(&mut row, self.style),
            TraceFormat::Ndjson => {
                row = object(self.style)?;
                row.push('\n');
            }
            TraceFormat::Json => {
                row.push_str(if first { "[\n" } else { ",\n" });
                row.push_str(&object(self.style)?);
            }
        }
        self.out.write_all(row.as_bytes())
    }

    /// All that is known is out when this returns, so that somebody can watch.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(mut self) -> io::Result<()> {
        let end: &[u8] = match (self.format, self.any) {
            (TraceFormat::Json, true) => b"\n]\n",
            (TraceFormat::Json, false) => b"[]\n",
            _ => b"",
        };
        self.out.write_all(end)?;
        self.out.flush()
    }
}

//! `timecraft trace`: prints what a process did, from its log, also while that grows.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use timecraft_segment::{ElapsedNs, UnixNs};

use crate::args::network::{TraceFormat, TraceNetwork};
use crate::commands::{ExitStatus, open_registry, tell_damage};
use crate::config::Config;
use crate::error::Error;
use crate::network::filter::Filter;
use crate::network::row::{self, Row};
use crate::network::walk::{Reached, Walk};
use crate::network::{json, text};
use crate::printer::Printer;
use crate::units::Moment;

/// How often a log that grows is looked at: as seldom as people do not notice.
const INTERVAL: Duration = Duration::from_millis(100);

/// Prints what went over the network.
pub fn network(
    printer: &Printer,
    config: &Config,
    args: TraceNetwork,
) -> Result<ExitStatus, Error> {
    let registry = open_registry(printer, config);
    let process = registry.find(&args.process)?;
    let (mut walk, start) = Walk::begin(registry, process)?;
    let start = start.start_time;
    let filter = filter(&args, start);
    let mut out = Rows::new(printer, &args);
    loop {
        // Before the log is read: what began earlier is in it.
        let now = UnixNs::now();
        let damaged = |damage: &_| tell_damage(printer, damage);
        let reached = walk.advance(args.follow, damaged, |meant| {
            for row in row::rows(start, &meant) {
                if filter.keeps(&row) {
                    out.row(&row).map_err(Error::Output)?;
                }
            }
            let elapsed = meant.record.map_or(ElapsedNs(0), |record| record.start);
            let enough = filter
                .until
                .is_some_and(|until| start.plus(elapsed) >= until);
            Ok::<_, Error>(match enough {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        let enough = filter.until.is_some_and(|until| now >= until);
        if reached != Reached::Now || enough || !args.follow {
            break;
        }
        out.flush().map_err(Error::Output)?;
        thread::sleep(INTERVAL);
    }
    out.finish().map_err(Error::Output)?;
    Ok(ExitStatus::Success)
}

fn filter(args: &TraceNetwork, start: UnixNs) -> Filter {
    let nanoseconds = |d: Duration| ElapsedNs(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    let from = args.start_time.map(|moment| match moment {
        Moment::At(time) => time,
        Moment::After(elapsed) => start.plus(nanoseconds(elapsed)),
    });
    let until = args
        .duration
        .map(|d| from.unwrap_or(start).plus(nanoseconds(d)));
    Filter {
        addresses: args.address.clone(),
        ports: args.port.clone(),
        names: args.name.clone(),
        protocols: args.protocol.clone(),
        from,
        until,
        minor: args.verbose,
    }
}

/// Rows on their way to standard output.
struct Rows {
    out: BufWriter<io::StdoutLock<'static>>,
    format: TraceFormat,
    style: text::Style,
    any: bool,
}

impl Rows {
    fn new(printer: &Printer, args: &TraceNetwork) -> Rows {
        Rows {
            out: BufWriter::new(io::stdout().lock()),
            format: args.output,
            style: text::Style {
                verbose: args.verbose,
                colors: printer.stdout_colors(),
            },
            any: false,
        }
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let mut text = String::new();
        let first = !std::mem::replace(&mut self.any, true);
        match self.format {
            TraceFormat::Text => text::write(&mut text, row, self.style),
            TraceFormat::Ndjson => {
                text = json::object(row, self.style.verbose)?;
                text.push('\n');
            }
            TraceFormat::Json => {
                text.push_str(if first { "[\n" } else { ",\n" });
                text.push_str(&json::object(row, self.style.verbose)?);
            }
        }
        self.out.write_all(text.as_bytes())
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

//! `timecraft trace network`: the calls on sockets, names and TLS.

use std::io;

use timecraft_segment::UnixNs;

use super::{Lines, Tracer, Window, trace};
use crate::args::network::TraceNetwork;
use crate::commands::ExitStatus;
use crate::config::Config;
use crate::error::Error;
use crate::network::filter::Filter;
use crate::network::walk::{Meant, Walk};
use crate::network::{json, row, text};
use crate::printer::Printer;

/// Prints what went over the network.
pub fn run(printer: &Printer, config: &Config, args: &TraceNetwork) -> Result<ExitStatus, Error> {
    let filter = Filter {
        addresses: args.address.clone(),
        ports: args.port.clone(),
        names: args.name.clone(),
        protocols: args.protocol.clone(),
        minor: args.options.verbose,
    };
    trace(printer, config, &args.options, |start, window| Network {
        start: start.start_time,
        window,
        filter,
    })
}

struct Network {
    start: UnixNs,
    window: Window,
    filter: Filter,
}

impl Tracer for Network {
    fn take(&mut self, meant: &Meant<'_>, lines: &mut Lines) -> io::Result<()> {
        let rows = row::rows(self.start, meant).into_iter();
        for row in rows.filter(|row| self.window.holds(row.time) && self.filter.keeps(row)) {
            lines.row(
                |out, style| text::write(out, &row, style),
                |style| json::object(&row, style.verbose),
            )?;
        }
        Ok(())
    }

    /// A call that the guest is in is a row already.
    fn finish(&mut self, _walk: &Walk, _lines: &mut Lines) -> io::Result<()> {
        Ok(())
    }
}

//! `timecraft trace dns`: queries of DNS, with their responses.

use std::io;

use timecraft_segment::{ElapsedNs, UnixNs};

use super::{Lines, Tracer, Window, trace};
use crate::args::network::TraceDns;
use crate::commands::ExitStatus;
use crate::config::Config;
use crate::error::Error;
use crate::network::dns::{Pair, Pairs, json, text};
use crate::network::filter::Filter;
use crate::network::row::Row;
use crate::network::walk::{Meant, Walk};
use crate::printer::Printer;

/// Prints what was asked and answered.
pub fn run(printer: &Printer, config: &Config, args: &TraceDns) -> Result<ExitStatus, Error> {
    let filter = Filter {
        addresses: args.address.clone(),
        ports: args.port.clone(),
        names: args.name.clone(),
        protocols: args.protocol.clone(),
        minor: true,
    };
    trace(printer, config, &args.options, |start, window| Queries {
        start: start.start_time,
        window,
        filter,
        types: args.kind.clone(),
        rcodes: args.rcode.clone(),
        pairs: Pairs::new(),
    })
}

struct Queries {
    start: UnixNs,
    window: Window,
    filter: Filter,
    types: Vec<String>,
    rcodes: Vec<String>,
    pairs: Pairs,
}

impl Queries {
    fn keeps(&self, pair: &Pair) -> bool {
        let question = pair.question();
        let answer = pair.response.iter().flat_map(|row| row.message.addresses());
        let row = Row {
            transport: pair.transport,
            local: pair.client.clone(),
            peer: pair.server.clone(),
            name: question.map(|question| question.name.to_owned()),
            addresses: answer.filter_map(|text| text.parse().ok()).collect(),
            ..Row::default()
        };
        let among = |wanted: &[String], found: Option<&str>| {
            let is_it = |one: &String| found.is_some_and(|found| found.eq_ignore_ascii_case(one));
            wanted.is_empty() || wanted.iter().any(is_it)
        };
        let kind = question.map(|question| question.type_name());
        self.window
            .holds(self.start.plus(ElapsedNs(pair.at().time_ns)))
            && self.filter.keeps(&row)
            && among(&self.types, kind.as_deref())
            && among(&self.rcodes, pair.rcode().as_deref())
    }

    fn show(&self, pairs: Vec<Pair>, lines: &mut Lines) -> io::Result<()> {
        for pair in pairs.iter().filter(|pair| self.keeps(pair)) {
            lines.row(
                |out, style| text::write(out, self.start, pair, style),
                |_| json::object(self.start, pair),
            )?;
        }
        Ok(())
    }
}

impl Tracer for Queries {
    fn take(&mut self, meant: &Meant<'_>, lines: &mut Lines) -> io::Result<()> {
        let pairs = self.pairs.apply(meant);
        self.show(pairs, lines)
    }

    fn finish(&mut self, _walk: &Walk, lines: &mut Lines) -> io::Result<()> {
        let pairs = self.pairs.finish().collect();
        self.show(pairs, lines)
    }
}

//! `timecraft trace request`: HTTP requests with their responses, whatever the version.

use std::io;

use timecraft_segment::{ElapsedNs, UnixNs};
use timecraft_udfs::connections::Connection;
use timecraft_udfs::conversations::Conversations;
use timecraft_udfs::http::{Exchange, Http};
use timecraft_udfs::protocol::{Found, Room};

use super::{Lines, Tracer, Window, trace};
use crate::args::network::TraceRequest;
use crate::commands::ExitStatus;
use crate::config::Config;
use crate::error::Error;
use crate::exchanges::filter::Filter;
use crate::exchanges::{Row, json, text};
use crate::network::walk::{Meant, Walk};
use crate::printer::Printer;

/// The most bytes that are kept of all bodies that are open at once.
const TOGETHER: usize = 64 << 20;

/// Prints requests with their responses.
pub fn run(printer: &Printer, config: &Config, args: &TraceRequest) -> Result<ExitStatus, Error> {
    let filter = Filter {
        hosts: args.host.clone(),
        methods: args.method.clone(),
        statuses: args.status.clone(),
        paths: args.path.clone(),
    };
    let body = if args.options.verbose { text::BODY } else { 0 };
    trace(printer, config, &args.options, |start, window| Requests {
        conversations: Conversations::new(Room::new(body, TOGETHER)),
        show: Show {
            start: start.start_time,
            window,
            filter,
        },
    })
}

struct Requests {
    conversations: Conversations<Http>,
    show: Show,
}

struct Show {
    start: UnixNs,
    window: Window,
    filter: Filter,
}

impl Show {
    fn exchange(
        &self,
        connection: &Connection,
        exchange: &Exchange,
        lines: &mut Lines,
    ) -> io::Result<()> {
        let row = Row {
            connection,
            exchange,
        };
        let time = self.start.plus(ElapsedNs(row.begin().time_ns));
        if !self.window.holds(time) || !self.filter.keeps(row) {
            return Ok(());
        }
        lines.row(
            |out, style| text::write(out, row, time, style),
            |style| json::object(row, time, style.verbose),
        )
    }
}

impl Tracer for Requests {
    fn take(&mut self, meant: &Meant<'_>, lines: &mut Lines) -> io::Result<()> {
        let show = &self.show;
        meant.apply(&mut self.conversations, |connection, found| match found {
            Found::Row(exchange) => show.exchange(connection, &exchange, lines),
            // It stands in its exchange too.
            Found::Odd(_) => Ok(()),
        })
    }

    fn finish(&mut self, walk: &Walk, lines: &mut Lines) -> io::Result<()> {
        for (connection, exchange) in self.conversations.in_flight(walk.decoder()) {
            self.show.exchange(connection, &exchange, lines)?;
        }
        Ok(())
    }
}

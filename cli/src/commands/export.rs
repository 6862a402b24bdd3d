//! `timecraft export`: what a process did, in the formats of other tools.

use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::path::Path;

use timecraft_udfs::conversations::Conversations;
use timecraft_udfs::http::Http;
use timecraft_udfs::protocol::{Found, Room};

use crate::args::network::{ExportHar, ExportPcapng};
use crate::commands::{ExitStatus, open_registry, tell_damage};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::exchanges::Row;
use crate::exchanges::har::{self, Archive};
use crate::network::walk::Walk;
use crate::pcapng::{Capture, Counts};
use crate::printer::Printer;

/// Writes a packet capture.
pub fn pcapng(
    printer: &Printer,
    config: &Config,
    args: &ExportPcapng,
) -> Result<ExitStatus, Error> {
    let registry = open_registry(printer, config);
    let process = registry.find(&args.process)?;
    let (mut walk, start) = Walk::begin(registry, process)?;
    if is_stdout(&args.file) && printer.stdout_is_terminal() {
        return Err(Error::Usage(
            "a packet capture is not text, and standard output is a terminal".to_owned(),
            Some(
                "name a file, or pipe it on: timecraft export pcapng PROCESS - | tshark -r -"
                    .to_owned(),
            ),
        ));
    }
    let destination = destination(&args.file)?;
    let failed = |source| failed(&args.file, source);
    let out = BufWriter::new(destination.writer().map_err(failed)?);
    let mut capture = Capture::begin(out, &start).map_err(failed)?;
    let damaged = |damage: &_| tell_damage(printer, damage);
    walk.advance(false, damaged, |meant| {
        capture
            .record(meant.record, meant.events, meant.connections)
            .map_err(failed)?;
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    let counts = capture.finish().map_err(failed)?;
    destination.keep()?;
    printer.note(&report(counts));
    Ok(ExitStatus::Success)
}

/// Writes an HTTP archive.
pub fn har(printer: &Printer, config: &Config, args: &ExportHar) -> Result<ExitStatus, Error> {
    /// The most bytes that are kept of all bodies that are open at once.
    const TOGETHER: usize = 256 << 20;
    let registry = open_registry(printer, config);
    let process = registry.find(&args.process)?;
    let (mut walk, start) = Walk::begin(registry, process)?;
    let destination = destination(&args.file)?;
    let failed = |source| failed(&args.file, source);
    let out = BufWriter::new(destination.writer().map_err(failed)?);
    let mut archive = Archive::begin(out, start.start_time).map_err(failed)?;
    let mut conversations = Conversations::<Http>::new(Room::new(har::BODY, TOGETHER));
    let damaged = |damage: &_| tell_damage(printer, damage);
    walk.advance(false, damaged, |meant| {
        let taken = meant.apply(&mut conversations, |connection, found| match found {
            Found::Row(exchange) => archive.exchange(Row {
                connection,
                exchange: &exchange,
            }),
            // It stands in its exchange too.
            Found::Odd(_) => Ok(()),
        });
        taken.map_err(failed)?;
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    for (connection, exchange) in conversations.in_flight(walk.decoder()) {
        let row = Row {
            connection,
            exchange: &exchange,
        };
        archive.exchange(row).map_err(failed)?;
    }
    let entries = archive.finish().map_err(failed)?;
    destination.keep()?;
    printer.note(&several(entries, "request", "requests"));
    Ok(ExitStatus::Success)
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

fn destination(file: &Path) -> Result<Destination, Error> {
    match is_stdout(file) {
        true => Ok(Destination::Stdout),
        false => Destination::at(file),
    }
}

fn failed(file: &Path, source: io::Error) -> Error {
    match is_stdout(file) {
        true => Error::Output(source),
        false => Error::File {
            doing: "write",
            path: file.to_owned(),
            source,
        },
    }
}

fn several(n: u64, one: &str, more: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {more}"),
    }
}

/// What was written, and on lines of their own what was not.
fn report(counts: Counts) -> String {
    let packets = several(counts.packets, "packet", "packets");
    let connections = several(counts.connections, "connection", "connections");
    let mut text = format!("{packets} of {connections}");
    for (count, one, more, why) in [
        (
            counts.unix,
            "connection of a Unix socket",
            "connections of Unix sockets",
            "no packet carries them",
        ),
        (
            counts.denied,
            "connection",
            "connections",
            "refused by policy, so that nothing was sent",
        ),
        (
            counts.mirrored,
            "connection",
            "connections",
            "of the guest with itself, and the packets of the other end are there",
        ),
        (
            counts.unknown,
            "connection",
            "connections",
            "whose addresses are not in the log",
        ),
        (
            counts.oversized,
            "datagram",
            "datagrams",
            "larger than a packet can be",
        ),
    ] {
        if count > 0 {
            let what = several(count, one, more);
            text.push_str(&format!("\nleft out: {what}: {why}"));
        }
    }
    text
}

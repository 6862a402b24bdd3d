//! Rows of a trace as lines for people, and bytes as a hexdump.
//!
//! Whatever a guest or its peer chose is escaped here.

use std::fmt::Write;

use jiff::Timestamp;
use timecraft_segment::socket::Transport;
use timecraft_udfs::hexdump;

use super::row::{Ending, Row};
use crate::escape;

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// With the number of the record, and the bytes.
    pub verbose: bool,
    pub colors: bool,
}

/// What an event is called: the first are the names of the tool that this one continues.
const NAMES: [(&str, &str); 6] = [
    ("connect", "CONN"),
    ("receive", "RECV"),
    ("shutdown", "SHUT"),
    ("get_option", "GETOPT"),
    ("set_option", "SETOPT"),
    ("warning", "WARN"),
];

/// Appends the row.
pub fn write(out: &mut String, row: &Row<'_>, style: Style) {
    let paint = |color: &str, text: &str| match style.colors {
        true => format!("\x1b[{color}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut line = String::new();
    // Writing to a string cannot fail, here and below.
    if style.verbose {
        let offset = row
            .offset
            .map_or("-".to_owned(), |offset| offset.to_string());
        let _ = write!(line, "[{offset}] ");
    }
    let time = Timestamp::from_nanosecond(row.time.0.into()).unwrap_or_default();
    let time = time.strftime("%Y/%m/%d %H:%M:%S%.6f").to_string();
    let _ = write!(line, "{} {}: ", paint("2", &time), subject(row));

    let known = NAMES.iter().find(|(event, _)| *event == row.event);
    let event = known.map_or_else(|| row.event.to_uppercase(), |(_, name)| (*name).to_owned());
    let color = match row.event {
        "send" => "32",
        "receive" | "peek" => "36",
        "warning" => "33",
        _ => "1",
    };
    line.push_str(&paint(color, &event));
    match &row.ending {
        Ending::Well => line.push_str(" OK"),
        // What is on its way has not gone wrong.
        Ending::Otherwise(how)
            if matches!(how.as_str(), "EINPROGRESS" | "EAGAIN" | "in flight") =>
        {
            let _ = write!(line, " {how}");
        }
        Ending::Otherwise(how) => {
            let _ = write!(line, " {}", paint("31", &escape::line(how)));
        }
    }
    if let Some(size) = row.size {
        let _ = write!(line, " {size}");
    }
    let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        let _ = write!(line, " {}", addresses.join(" "));
    }
    if let Some(detail) = &row.detail {
        let _ = write!(line, " ({})", escape::line(detail));
    }
    if let (Some(name), "tls") = (&row.name, row.event) {
        let _ = write!(line, " {}", escape::line(name));
    }
    out.push_str(&line);
    out.push('\n');
    if style.verbose && !row.payload.is_empty() {
        out.push('\n');
        hexdump::write(out, &row.payload);
        out.push('\n');
    }
}

/// What a row is about: `TCP 10.0.0.1:49152 > 192.0.2.1:80`.
fn subject(row: &Row<'_>) -> String {
    if row.event == "lookup" {
        return format!("NAME {}", escape::line(row.name.as_deref().unwrap_or("-")));
    }
    let transport = match row.transport {
        Some(Transport::Tcp) => "TCP",
        Some(Transport::Udp) => "UDP",
        Some(Transport::UnixStream | Transport::UnixDatagram) => "UNIX",
        None => "SOCK",
    };
    let end = |end: &Option<_>| end.as_ref().map_or("-".to_owned(), ToString::to_string);
    let (local, peer) = (end(&row.local), end(&row.peer));
    match (&row.local, &row.peer, row.by_peer) {
        (None, None, _) => format!("{transport} fd {}", row.fd.unwrap_or_default()),
        (Some(_), None, false) => format!("{transport} {local}"),
        (_, _, true) => format!("{transport} {peer} > {local}"),
        (_, _, false) => format!("{transport} {local} > {peer}"),
    }
}

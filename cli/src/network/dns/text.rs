//! A query with its response as a line for people, and the messages as dig prints them.
//!
//! Whatever a guest or its peer chose is escaped here.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use timecraft_segment::socket::Address;
use timecraft_segment::{ElapsedNs, UnixNs};
use timecraft_udfs::dns::{Message, Record, Row, Section};

use super::Pair;
use crate::escape;
use crate::network::text::Style;

/// Appends the pair.
pub fn write(out: &mut String, start: UnixNs, pair: &Pair, style: Style) {
    let paint = |color: &str, text: &str| match style.colors {
        true => format!("\x1b[{color}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let at = pair.at();
    let mut line = String::new();
    // Writing to a string cannot fail, here and below.
    if style.verbose {
        let _ = write!(line, "[{}] ", at.offset);
    }
    let time = start.plus(ElapsedNs(at.time_ns));
    let time = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let time = time.strftime("%Y/%m/%d %H:%M:%S%.6f").to_string();
    let end = |end: &Option<Address>| end.as_ref().map_or("-".to_owned(), ToString::to_string);
    let (client, server) = (end(&pair.client), end(&pair.server));
    let _ = write!(line, "{} DNS {client} > {server}: ", paint("2", &time));
    let first = pair.rows().next().map(|row| &row.message);
    let opcode = first.filter(|message| message.has_header());
    let opcode = opcode.map_or("-".into(), |message| message.header.opcode_name());
    let question = pair.question().map_or("-".to_owned(), |q| asked(&q));
    let _ = write!(
        line,
        "{} {} => ",
        paint("1", &opcode),
        escape::line(&question)
    );
    match &pair.response {
        Some(response) => {
            let answer = answer(&response.message);
            let color = if response.message.rcode() == 0 {
                "32"
            } else {
                "31"
            };
            let rcode = pair.rcode().unwrap_or("-".to_owned());
            let _ = write!(line, "{}{}", paint(color, &rcode), escape::line(&answer));
            if let Some(ns) = response.rtt_ns {
                let ns = i64::try_from(ns).unwrap_or(i64::MAX);
                let _ = write!(line, " ({})", duration(SignedDuration::from_nanos(ns)));
            }
        }
        None => line.push_str(&paint("33", "no response")),
    }
    for row in pair.rows() {
        let oddities = row.message.oddities.iter().map(|oddity| oddity.name());
        for odd in oddities.chain(row.error.as_deref()) {
            let _ = write!(line, " [{}]", paint("33", &escape::line(odd)));
        }
    }
    out.push_str(&line);
    out.push('\n');
    if style.verbose {
        out.push('\n');
        pair.rows().for_each(|row| whole(out, row));
    }
}

/// `A example.com.`
fn asked(question: &Record<'_>) -> String {
    let dot = if question.name == "." { "" } else { "." };
    let class = match question.class_name() {
        class if class == "IN" => String::new(),
        class => format!(" {class}"),
    };
    format!("{} {}{dot}{class}", question.type_name(), question.name)
}

/// The answers, with a blank before each.
fn answer(message: &Message) -> String {
    let answers = message.section(Section::Answer);
    let all = answers.map(|record| format!(" {} {}", record.type_name(), record.data));
    all.collect::<Vec<_>>().join(",")
}

/// With as many digits as tell something.
fn duration(taken: SignedDuration) -> String {
    let seconds = taken.as_secs_f64();
    match seconds {
        _ if seconds < 0.001 => format!("{:.1}us", 1e6 * seconds),
        _ if seconds < 1.0 => format!("{:.1}ms", 1e3 * seconds),
        _ => format!("{seconds:.1}s"),
    }
}

/// All sections of a message.
fn whole(out: &mut String, row: &Row) {
    let (offset, size) = (row.at.offset, row.message.size);
    let direction = row.direction.name();
    let _ = writeln!(out, ";; {direction} in record {offset}, {size} bytes");
    out.push_str(&escape::lines(&row.message.to_string()));
    out.push('\n');
}

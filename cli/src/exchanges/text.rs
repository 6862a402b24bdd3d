//! Exchanges as lines for people: a line each, and with `--verbose` the heads and bodies.
//!
//! Whatever a guest or its peer chose is escaped here.

use std::fmt::Write;

use jiff::Timestamp;
use timecraft_segment::UnixNs;
use timecraft_udfs::http::content::{self, Decoded};
use timecraft_udfs::http::{Body, Headers, Version};

use super::Row;
use crate::escape;
use crate::network::text::Style;

/// The most bytes of a body that are shown.
pub const BODY: usize = 16 << 10;

/// Appends an exchange that began at this moment.
pub fn write(out: &mut String, row: Row<'_>, time: UnixNs, style: Style) {
    let paint = |color: &str, text: &str| match style.colors {
        true => format!("\x1b[{color}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let exchange = row.exchange;
    // Writing to a string cannot fail, here and below.
    if style.verbose {
        let _ = write!(out, "[{}] ", row.begin().offset);
    }
    let time = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let time = time.strftime("%Y/%m/%d %H:%M:%S%.6f").to_string();
    let end = |end: Option<_>| end.map_or("-".to_owned(), ToString::to_string);
    let (client, server) = (end(row.client()), end(row.server()));
    let _ = write!(out, "{} HTTP {client} > {server}: ", paint("2", &time));
    match &exchange.request {
        Some(request) => {
            let (method, target) = (escape::line(&request.method), escape::line(&request.target));
            let _ = write!(out, "{} {target} => ", paint("1", &method));
        }
        None => out.push_str("- => "),
    }
    match &exchange.response {
        Some(response) => {
            let reason = response.reason.as_deref().unwrap_or_default();
            let status = format!("{} {}", response.status, escape::line(reason));
            let color = match response.status {
                ..400 => "32",
                400..500 => "33",
                _ => "31",
            };
            out.push_str(&paint(color, status.trim_end()));
        }
        None => out.push_str(&paint("2", "no response")),
    }
    if !exchange.complete {
        let _ = write!(out, " {}", paint("33", "(incomplete)"));
    }
    if let Some(error) = &exchange.error {
        let _ = write!(
            out,
            " {}",
            paint("31", &format!("({})", escape::line(error)))
        );
    }
    for odd in &exchange.warnings {
        let _ = write!(out, " {}", paint("33", &format!("[{}]", odd.name())));
    }
    out.push('\n');
    if style.verbose {
        messages(out, row);
    }
}

/// Both messages: what the client sent after `>`, what the server sent after `<`.
fn messages(out: &mut String, row: Row<'_>) {
    let exchange = row.exchange;
    let version = match exchange.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::H2 => "HTTP/2",
    };
    out.push('\n');
    if let Some(request) = &exchange.request {
        let (method, target) = (escape::line(&request.method), escape::line(&request.target));
        let _ = writeln!(out, "> {method} {target} {version}");
        // In HTTP/2 it is no field.
        if exchange.stream.is_some()
            && let Some(authority) = &request.authority
        {
            let _ = writeln!(out, "> :authority: {}", escape::line(authority));
        }
        message(out, '>', &request.headers, &request.body, &request.trailers);
    }
    for informational in &exchange.informational {
        let _ = writeln!(out, "< {version} {}\n<", informational.status);
    }
    if let Some(response) = &exchange.response {
        let reason = escape::line(response.reason.as_deref().unwrap_or_default());
        let line = format!("< {version} {} {reason}", response.status);
        let _ = writeln!(out, "{}", line.trim_end());
        message(
            out,
            '<',
            &response.headers,
            &response.body,
            &response.trailers,
        );
    }
}

fn message(out: &mut String, side: char, headers: &Headers, body: &Body, trailers: &Headers) {
    fields(out, side, headers);
    let _ = writeln!(out, "{side}");
    if body.size > 0 {
        show(out, &content::decode_body(headers, body, BODY), body);
    }
    if !trailers.is_empty() {
        fields(out, side, trailers);
    }
    out.push('\n');
}

fn fields(out: &mut String, side: char, headers: &Headers) {
    for (name, value) in headers.iter() {
        let (name, value) = (escape::line(name), escape::line(value));
        let _ = writeln!(out, "{side} {name}: {value}");
    }
}

/// A body: as text where it is text, else in a line that says what it is.
fn show(out: &mut String, decoded: &Decoded<'_>, body: &Body) {
    let shown = match str::from_utf8(&decoded.bytes) {
        Ok(text) => Some(text),
        // The cut may have gone through a character.
        Err(error) if decoded.truncated && error.error_len().is_none() => {
            str::from_utf8(&decoded.bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match shown.filter(|text| !text.contains('\0')) {
        Some(text) => {
            for line in text.lines() {
                let _ = writeln!(out, "{}", escape::line(line));
            }
            if decoded.truncated {
                let _ = writeln!(out, "({} bytes of {} were sent)", text.len(), body.size);
            }
        }
        None => {
            let _ = writeln!(out, "({} bytes that are no text)", body.size);
        }
    }
    if let Some(error) = &decoded.error {
        let _ = writeln!(out, "({})", escape::line(error));
    }
}

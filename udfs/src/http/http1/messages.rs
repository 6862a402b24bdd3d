//! What heads mean: a request or response begins, and how it goes on.

use memchr::{memchr, memrchr};
use timecraft_segment::text::lossless;

use super::body::{self, Bodiless, Reader};
use super::head::{self, Fields};
use super::line;
use super::pipeline::{Open, Part};
use super::{Http1, Mode, Role};
use crate::connections::Direction;
use crate::http::events::Events;
use crate::http::{Body, Exchange, Framing, Headers, Messages, Oddity, Request, Response, Version};
use crate::protocol::{At, Found, Room};

impl Http1 {
    /// A head is read; or so much of it as there is, and why it is not more.
    pub(super) fn message(
        &mut self,
        direction: Direction,
        at: At,
        head: &[u8],
        cut: Option<&'static str>,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let error = cut.map(|why| self.error(direction, head.len(), why));
        let end = memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        let (line, rest) = head.split_at_checked(end).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // Of a head that is cut, the last line may be too, and is none.
        let whole = match cut {
            Some(_) => memrchr(b'\n', rest).map_or(0, |end| end + 1),
            None => rest.len(),
        };
        let mut fields = head::fields(rest.get(..whole).unwrap_or_default());
        if !line.ends_with(b"\r") {
            fields.odd.add(Oddity::BareLf);
        }
        if cut == Some("the head is too long") {
            fields.odd.add(Oddity::HeadTooLong);
        }
        match self.role(direction) {
            Some(Role::Client) => self.request(direction, at, line, fields, error, room, out),
            _ => self.response(direction, at, line, fields, error, room, out),
        }
        self.side_mut(direction).position += head.len() as u64;
    }

    #[allow(clippy::too_many_arguments)]
    fn request(
        &mut self,
        direction: Direction,
        at: At,
        line: &[u8],
        mut fields: Fields,
        error: Option<String>,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let Some(line) = line::request(line) else {
            return;
        };
        let mut framing = body::of_request(&mut fields, line.version);
        if error.is_some() {
            framing = Framing::None;
        }
        let reader = Reader::new(framing, fields.length);
        let connects = line.method == b"CONNECT";
        let named = fields.host.is_some();
        let target = lossless(line.target).into_owned();
        let (scheme, authority) = match absolute(&target) {
            Some((scheme, authority)) => (Some(scheme), Some(authority)),
            None if connects => (None, Some(target.clone())),
            None => (None, fields.host.take()),
        };
        let request = Request {
            at: self.side(direction).began,
            end: None,
            method: lossless(line.method).into_owned(),
            target,
            scheme,
            authority,
            headers: std::mem::take(&mut fields.headers),
            trailers: Headers::default(),
            body: Body {
                framing,
                ..Body::default()
            },
        };
        let open = self
            .pipeline
            .ask(direction, line.version, Some(request), at);
        if line.loose {
            open.odd(Oddity::LooseStartLine, at, out);
        }
        open.odds(&fields.odd, at, out);
        if line.version == Version::Http11 && !named && error.is_none() {
            open.odd(Oddity::MissingHost, at, out);
        }
        let part = match error {
            Some(error) => {
                open.fail(error);
                Some(Part::Cut)
            }
            None if reader.is_none() => Some(Part::Done),
            None => None,
        };
        self.side_mut(direction).mode = match (part, reader) {
            (Some(Part::Cut), _) => Mode::Skip { in_line: true },
            (_, Some(reader)) => Mode::Body(reader),
            _ if connects => Mode::Waiting,
            _ => Mode::Start,
        };
        if let Some(part) = part {
            self.finish(direction, part, room, out);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn response(
        &mut self,
        direction: Direction,
        at: At,
        line: &[u8],
        mut fields: Fields,
        error: Option<String>,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let (Some(line), Some(client)) = (line::status(line), self.client) else {
            return;
        };
        let began = self.side(direction).began;
        let expected = self.midstream && !self.pipeline.heard();
        let Some(open) = self
            .pipeline
            .answer(client, line.version, at, expected, out)
        else {
            return;
        };
        open.exchange.end = at;
        if open.exchange.request.is_none() {
            open.exchange.version = line.version;
        }
        if line.loose {
            open.odd(Oddity::LooseStartLine, at, out);
        }
        let method = open
            .exchange
            .request
            .as_ref()
            .map(|request| request.method.as_str());
        let tunnel = method == Some("CONNECT") && (200..300).contains(&line.status);
        let informational = line.status < 200 && line.status != 101;
        let bodiless = match line.status {
            204 | 304 => Bodiless::Yes,
            status if status < 200 || tunnel || method == Some("HEAD") => Bodiless::Yes,
            _ => Bodiless::No,
        };
        let refused = method == Some("CONNECT") && !tunnel && !informational;
        let mut framing = body::of_response(&mut fields, line.version, bodiless);
        if error.is_some() {
            framing = Framing::None;
        }
        open.odds(&fields.odd, at, out);
        if informational {
            open.informational(began, line.status, out);
            let mode = match error {
                Some(error) => {
                    open.fail(error);
                    Mode::Skip { in_line: true }
                }
                None => Mode::Start,
            };
            self.side_mut(direction).mode = mode;
            return;
        }
        open.exchange.response = Some(Response {
            at: began,
            end: None,
            status: line.status,
            reason: Some(lossless(line.reason).into_owned()),
            headers: std::mem::take(&mut fields.headers),
            trailers: Headers::default(),
            body: Body {
                framing,
                ..Body::default()
            },
        });
        open.answered = Part::Begun;
        if let Some(error) = error {
            open.fail(error);
            self.side_mut(direction).mode = Mode::Skip { in_line: true };
            self.finish(direction, Part::Cut, room, out);
            return;
        }
        if tunnel || line.status == 101 {
            let protocol = match tunnel {
                true => Some("connect".to_owned()),
                false => fields.upgrade.map(|name| name.to_ascii_lowercase()),
            };
            self.switch(at, protocol, room, out);
            return;
        }
        if fields.events {
            open.events = Some(Events::default());
            open.exchange.messages = Some(Messages::default());
        }
        match Reader::new(framing, fields.length) {
            Some(reader) => self.side_mut(direction).mode = Mode::Body(reader),
            None => self.finish(direction, Part::Done, room, out),
        }
        if refused {
            self.resume(client, room, out);
        }
    }
}

impl Open {
    pub(super) fn request_content(&mut self, content: &[u8], room: &mut Room) {
        if let Some(request) = &mut self.exchange.request {
            keep(&mut request.body, content, room);
        }
    }

    pub(super) fn response_content(&mut self, content: &[u8], room: &mut Room) {
        if let Some(response) = &mut self.exchange.response {
            keep(&mut response.body, content, room);
        }
        if let (Some(events), Some(messages)) = (&mut self.events, &mut self.exchange.messages) {
            let (count, bytes) = events.take(content);
            messages.server_count += count;
            messages.server_bytes = messages.server_bytes.saturating_add(bytes);
        }
    }
}

/// Keeps the beginning of a body: once some of it was not kept, nothing after that is.
fn keep(body: &mut Body, content: &[u8], room: &mut Room) {
    if body.kept.len() as u64 == body.size {
        let wanted = room.body.saturating_sub(body.kept.len()).min(content.len());
        let kept = content.get(..room.take(wanted)).unwrap_or_default();
        body.kept.extend_from_slice(kept);
    }
    body.size = body.size.saturating_add(content.len() as u64);
}

/// The scheme and authority of an absolute target: RFC 9112, section 3.2.2.
fn absolute(target: &str) -> Option<(String, String)> {
    // The common form, which begins with a path.
    if target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = target.split_once("://")?;
    let named = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !named || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Some((scheme.to_ascii_lowercase(), authority.to_owned()))
}

//! One stream: what went each way on it, and the exchange that this is.

use serde::{Deserialize, Serialize};

use super::Place;
use super::fields::{Content, Fields};
use super::grpc::Grpc;
use super::within::{Within, Wrong};
use crate::http::events::Events;
use crate::http::websocket::Frames;
use crate::http::{
    Body, Exchange, Framing, Headers, Informational, Messages, Oddity, Request, Response, Version,
};
use crate::protocol::{At, Direction, Room};

/// A stream that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    number: u64,
    /// The version of the request: what was upgraded is HTTP/1.
    version: Version,
    request: Option<Request>,
    response: Option<Response>,
    ways: [Way; 2],
    informational: Vec<Informational>,
    protocol: Option<String>,
    messages: Option<Messages>,
    warnings: Vec<Oddity>,
    error: Option<String>,
    end: At,
    /// How many bytes of fields it keeps.
    pub(super) fields: usize,
}

/// Which way, by what is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Response,
}

/// What is known of one way besides the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    length: Option<u64>,
    within: Option<Within>,
    ended: bool,
}

/// The most responses of status 1xx that are kept of a stream.
pub const MAX_INFORMATIONAL: usize = 16;

impl Stream {
    pub(super) fn new(number: u64, at: At) -> Stream {
        Stream {
            number,
            version: Version::H2,
            request: None,
            response: None,
            ways: [Way::default(), Way::default()],
            informational: Vec::new(),
            protocol: None,
            messages: None,
            warnings: Vec::new(),
            error: None,
            end: at,
            fields: 0,
        }
    }

    /// That of a request that came by HTTP/1, whole.
    pub(super) fn upgraded(exchange: Exchange) -> Stream {
        let asked = Way {
            ended: true,
            ..Way::default()
        };
        let fields = exchange.request.as_ref().map_or(0, |r| r.headers.bytes());
        Stream {
            number: exchange.number,
            version: exchange.version,
            request: exchange.request,
            response: None,
            ways: [asked, Way::default()],
            informational: exchange.informational,
            protocol: exchange.upgrade,
            messages: None,
            warnings: exchange.warnings,
            error: exchange.error,
            end: exchange.end,
            fields,
        }
    }

    fn way(&mut self, part: Part) -> &mut Way {
        let [request, response] = &mut self.ways;
        match part {
            Part::Request => request,
            Part::Response => response,
        }
    }

    /// Whether it is the first time that this is odd here.
    pub(super) fn warn(&mut self, odd: Oddity) -> bool {
        let new = !self.warnings.contains(&odd);
        if new {
            self.warnings.push(odd);
        }
        new
    }

    /// The first error is kept.
    pub(super) fn fail(&mut self, error: impl FnOnce() -> String) {
        self.error.get_or_insert_with(error);
    }

    pub(super) fn touch(&mut self, at: At) {
        self.end = at;
    }

    pub(super) fn ended(&self, part: Part) -> bool {
        let [request, response] = &self.ways;
        match part {
            Part::Request => request.ended,
            Part::Response => response.ended,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.ways.iter().all(|way| way.ended)
    }

    /// Takes a header block; `last` where the stream ends with it.
    pub(super) fn head(
        &mut self,
        part: Part,
        mut fields: Fields,
        start: At,
        last: bool,
    ) -> Vec<Oddity> {
        self.fields += fields.size;
        let begun = match part {
            Part::Request => self.request.is_some(),
            Part::Response => self.response.is_some(),
        };
        if begun {
            self.trailers(part, &mut fields, last);
            return fields.odd;
        }
        match part {
            Part::Request => self.ask(&mut fields, start, last),
            Part::Response => {
                if let Some(status @ 100..=199) = fields.status {
                    if last {
                        fields.add(Oddity::H2BadTrailers);
                    }
                    if self.informational.len() < MAX_INFORMATIONAL {
                        self.informational.push(Informational { at: start, status });
                    } else {
                        fields.add(Oddity::H2FieldsLeftOut);
                    }
                    return fields.odd;
                }
                self.answer(&mut fields, start, last);
            }
        }
        let way = self.way(part);
        way.length = fields.length;
        self.look_within(part, &fields);
        fields.odd
    }

    /// Finds out what messages there are within.
    fn look_within(&mut self, part: Part, fields: &Fields) {
        let accepted = matches!(fields.status, Some(200..=299));
        if accepted && self.protocol.as_deref() == Some("websocket") {
            // A client says nothing before it is accepted.
            for way in &mut self.ways {
                way.within = Some(Within::Frames(Frames::default()));
            }
        } else {
            self.way(part).within = match (fields.content, part) {
                (Content::Grpc, _) => Some(Within::Grpc(Grpc::default())),
                (Content::Events, Part::Response) if !fields.coded => {
                    Some(Within::Events(Events::default()))
                }
                _ => None,
            };
        }
        if self.ways.iter().any(|way| way.within.is_some()) {
            self.messages.get_or_insert_default();
        }
    }

    /// Takes a header block that could not be read, or only its first fields.
    pub(super) fn unread(&mut self, part: Part, mut fields: Fields, start: At, last: bool) {
        let begun = match part {
            Part::Request => self.request.is_some(),
            Part::Response => self.response.is_some(),
        };
        if !begun {
            self.fields += fields.size;
            match part {
                Part::Request => self.ask(&mut fields, start, last),
                Part::Response => self.answer(&mut fields, start, last),
            }
        }
    }

    fn trailers(&mut self, part: Part, fields: &mut Fields, last: bool) {
        if !last {
            fields.add(Oddity::H2BadTrailers);
        }
        if fields.pseudo() {
            fields.add(Oddity::H2BadPseudoField);
        }
        let headers = std::mem::take(&mut fields.headers);
        let to = match part {
            Part::Request => self.request.as_mut().map(|r| &mut r.trailers),
            Part::Response => self.response.as_mut().map(|r| &mut r.trailers),
        };
        match to {
            Some(trailers) if trailers.is_empty() => *trailers = headers,
            // More than once there may be none of them.
            _ => fields.add(Oddity::H2FieldsLeftOut),
        }
    }

    fn ask(&mut self, fields: &mut Fields, start: At, last: bool) {
        let connect = fields.method.as_deref() == Some("CONNECT");
        let needed = if connect && fields.protocol.is_none() {
            fields.authority.is_some()
        } else {
            fields.path.is_some() && fields.scheme.is_some()
        };
        if fields.method.is_none() || !needed {
            fields.add(Oddity::H2MissingPseudoField);
        }
        if fields.status.is_some() || fields.protocol.is_some() && !connect {
            fields.add(Oddity::H2BadPseudoField);
        }
        let target = match fields.path.take() {
            Some(path) => path,
            None if connect => fields.authority.clone().unwrap_or_default(),
            None => String::new(),
        };
        let host = || fields.headers.get("host").map(str::to_owned);
        self.protocol = match fields.protocol.take() {
            Some(protocol) => Some(protocol.to_ascii_lowercase()),
            None => connect.then(|| "connect".to_owned()),
        };
        self.request = Some(Request {
            at: start,
            end: None,
            method: fields.method.take().unwrap_or_default(),
            target,
            scheme: fields.scheme.take(),
            authority: fields.authority.take().or_else(host),
            headers: std::mem::take(&mut fields.headers),
            trailers: Headers::default(),
            body: body(last),
        });
    }

    fn answer(&mut self, fields: &mut Fields, start: At, last: bool) {
        if fields.status.is_none() {
            fields.add(Oddity::H2MissingPseudoField);
        }
        let texts = [
            &fields.method,
            &fields.path,
            &fields.scheme,
            &fields.authority,
        ];
        if texts.into_iter().any(Option::is_some) {
            fields.add(Oddity::H2BadPseudoField);
        }
        self.response = Some(Response {
            at: start,
            end: None,
            status: fields.status.unwrap_or_default(),
            reason: None,
            headers: std::mem::take(&mut fields.headers),
            trailers: Headers::default(),
            body: body(last),
        });
    }

    /// Takes bytes of the body, or says what is odd.
    pub(super) fn body(
        &mut self,
        part: Part,
        bytes: &[u8],
        place: Place,
        room: &mut Room,
    ) -> Result<(), (Oddity, &'static str)> {
        const WRONG: &str = "DATA before HEADERS or after the end of the stream";
        if self.ended(part) {
            return Err((Oddity::H2WrongStream, WRONG));
        }
        let body = match part {
            Part::Request => self.request.as_mut().map(|r| &mut r.body),
            Part::Response => self.response.as_mut().map(|r| &mut r.body),
        };
        let Some(body) = body else {
            return Err((Oddity::H2WrongStream, WRONG));
        };
        // Once something was not kept, what follows is not either.
        if body.kept.len() as u64 == body.size {
            let wanted = room.body.saturating_sub(body.kept.len()).min(bytes.len());
            let taken = room.take(wanted);
            body.kept.extend(bytes.iter().take(taken));
        }
        body.size = body.size.saturating_add(bytes.len() as u64);
        let [request, response] = &mut self.ways;
        let way = match part {
            Part::Request => request,
            Part::Response => response,
        };
        let (Some(within), Some(messages)) = (&mut way.within, &mut self.messages) else {
            return Ok(());
        };
        within.take(part, bytes, messages).map_err(|wrong| {
            if wrong == Wrong::Broken {
                let error = || format!("{}: a frame of WebSocket has no length", place.text());
                self.error.get_or_insert_with(error);
            }
            (Oddity::BadWebSocketFrame, "")
        })
    }

    /// The stream ends this way.
    pub(super) fn finish(&mut self, part: Part, at: At) -> Vec<Oddity> {
        let mut odd = Vec::new();
        let way = self.way(part);
        way.ended = true;
        if way.within.as_ref().is_some_and(Within::cut) {
            odd.push(Oddity::GrpcMessageCut);
        }
        let length = way.length;
        let head = self.request.as_ref().is_some_and(|r| r.method == "HEAD");
        let size = match part {
            Part::Request => self.request.as_mut().map(|r| {
                r.end = Some(at);
                r.body.size
            }),
            Part::Response => self.response.as_mut().and_then(|r| {
                r.end = Some(at);
                // RFC 9110, section 8.6: the length of what is not sent.
                (!head && r.status != 304).then_some(r.body.size)
            }),
        };
        if let (Some(length), Some(size)) = (length, size)
            && length != size
        {
            odd.push(Oddity::H2LengthDisagrees);
        }
        odd
    }

    /// How many bytes of bodies it keeps.
    pub(super) fn kept(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |r| r.body.kept.len());
        request + self.response.as_ref().map_or(0, |r| r.body.kept.len())
    }

    /// The exchange as far as it went.
    pub(super) fn exchange(self, stream: u32, client: Direction) -> Exchange {
        let complete = self.done() && self.request.is_some() && self.response.is_some();
        let accepted = self.version != Version::H2
            || self
                .response
                .as_ref()
                .is_some_and(|r| (200..300).contains(&r.status));
        Exchange {
            number: self.number,
            stream: Some(stream),
            client,
            version: self.version,
            request: self.request,
            response: self.response,
            informational: self.informational,
            upgrade: self.protocol.filter(|_| accepted),
            messages: self.messages,
            complete,
            warnings: self.warnings,
            error: self.error,
            end: self.end,
        }
    }
}

fn body(last: bool) -> Body {
    Body {
        framing: if last { Framing::None } else { Framing::H2 },
        ..Body::default()
    }
}

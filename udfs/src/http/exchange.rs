//! What is known of an exchange: a request with its response, whatever version carried them. The words
//! are those of RFC 9110. Nothing here reads bytes of the wire.

use std::ops::Range;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use timecraft_segment::text;

use super::oddity::Oddity;
use crate::protocol::{At, Direction};

/// A request with its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Its number on the connection, from 0, in the order of the requests.
    pub number: u64,
    /// The stream of HTTP/2; none in HTTP/1.
    pub stream: Option<u32>,
    /// Which way the request went: [`Direction::Sent`] where the guest is the client.
    pub client: Direction,
    /// The version of the request, or else of the response.
    pub version: Version,
    /// The request; none where it is not in the log.
    pub request: Option<Request>,
    /// The final response; none where none came.
    pub response: Option<Response>,
    /// The responses before it, of status 1xx.
    pub informational: Vec<Informational>,
    /// The protocol that the connection or stream switched to: the value of Upgrade or `:protocol` in
    /// lower case, or `connect` for a tunnel.
    pub upgrade: Option<String>,
    /// The messages within: of WebSocket and of gRPC both ways, events of `text/event-stream` from the
    /// server.
    pub messages: Option<Messages>,
    /// Whether request and response both came to their ends.
    pub complete: bool,
    /// What was odd, each once.
    pub warnings: Vec<Oddity>,
    /// What could not be decoded, and where: the direction, the byte of the stream, and why.
    pub error: Option<String>,
    /// The last record of it so far.
    pub end: At,
}

/// The version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// HTTP/1.0, and what is older.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    H2,
}

impl Version {
    /// Its number, as `network.protocol.version` of OpenTelemetry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::H2 => "2",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its first byte.
    pub at: At,
    /// Its last byte; none while that has not come.
    pub end: Option<At>,
    /// The method, as it was sent.
    pub method: String,
    /// The target, as it was sent: in HTTP/2 `:path`, and `:authority` for CONNECT.
    pub target: String,
    /// `:scheme` of HTTP/2, or that of an absolute target.
    pub scheme: Option<String>,
    /// `:authority` of HTTP/2, that of an absolute target, the target of CONNECT, or else Host.
    pub authority: Option<String>,
    /// The fields, without those of HTTP/2 that begin with a colon.
    pub headers: Headers,
    /// The fields after the body.
    pub trailers: Headers,
    /// The body.
    pub body: Body,
}

/// A final response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Its first byte.
    pub at: At,
    /// Its last byte; none while that has not come.
    pub end: Option<At>,
    /// The status code.
    pub status: u16,
    /// The reason phrase; none in HTTP/2.
    pub reason: Option<String>,
    /// The fields.
    pub headers: Headers,
    /// The fields after the body.
    pub trailers: Headers,
    /// The body.
    pub body: Body,
}

/// A response of status 1xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Informational {
    /// Its first byte.
    pub at: At,
    /// The status code.
    pub status: u16,
}

/// A body as it was sent, without its framing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Its first bytes, as many as there was [`Room`](crate::protocol::Room) for; still encoded as
    /// Content-Encoding says.
    #[serde(with = "crate::state::hexadecimal")]
    pub kept: Vec<u8>,
    /// How many bytes it is.
    pub size: u64,
    /// How its end is told.
    pub framing: Framing,
}

/// How the end of a body is told: RFC 9112, section 6.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// By Content-Length.
    Length,
    /// By the last chunk.
    Chunked,
    /// By the end of the stream.
    Eof,
    /// By the frames of HTTP/2.
    H2,
}

impl Framing {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Framing::None => "none",
            Framing::Length => "length",
            Framing::Chunked => "chunked",
            Framing::Eof => "eof",
            Framing::H2 => "h2",
        }
    }
}

/// Messages within an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// How many the client sent.
    pub client_count: u64,
    /// How many bytes their contents were.
    pub client_bytes: u64,
    /// How many the server sent.
    pub server_count: u64,
    /// How many bytes their contents were.
    pub server_bytes: u64,
}

/// Fields in the order and the case in which they were sent, repeated ones too. What is no UTF-8 is
/// kept as `\xNN`.
///
/// They are one text with its cuts, for there are many of them.
#[derive(Clone, Default)]
pub struct Headers {
    /// The names and values, and what stood between them where it was taken as a whole.
    text: String,
    cuts: Vec<Cut>,
}

/// About how many bytes a field is.
const TYPICAL_FIELD: usize = 20;

/// Where in the text a field is.
#[derive(Clone, Copy)]
struct Cut {
    name: [u32; 2],
    value: [u32; 2],
}

impl Headers {
    /// The fields of a text, none of which is [added](Headers::within) yet.
    pub(crate) fn of(text: String) -> Headers {
        let cuts = Vec::with_capacity(text.len() / TYPICAL_FIELD);
        Headers { text, cuts }
    }

    /// Makes room for fields that are so many bytes together.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
        self.cuts.reserve(bytes / TYPICAL_FIELD);
    }

    /// Adds a field of the text that these were [made of](Headers::of).
    pub(crate) fn within(&mut self, name: Range<usize>, value: Range<usize>) {
        self.cuts.push(Cut {
            name: [place(name.start), place(name.end)],
            value: [place(value.start), place(value.end)],
        });
    }

    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.append(&text::lossless(name), &text::lossless(value));
    }

    fn append(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.within(start..middle, middle..self.text.len());
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.cuts.len() * size_of::<Cut>()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cuts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// The names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let part = |[start, end]: [u32; 2]| {
            let part = self.text.get(start as usize..end as usize);
            part.unwrap_or_default()
        };
        self.cuts
            .iter()
            .map(move |cut| (part(cut.name), part(cut.value)))
    }

    /// The value of the first field of a name, in whatever case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields of a name, in whatever case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A place in a text that those who read one bound far below what this can say.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.len()))?;
        for field in self.iter() {
            list.serialize_element(&field)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Headers, D::Error> {
        let fields = Vec::<(String, String)>::deserialize(from)?;
        let mut headers = Headers::default();
        for (name, value) in &fields {
            // It is text already: not made one again.
            headers.append(name, value);
        }
        Ok(headers)
    }
}

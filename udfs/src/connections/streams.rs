//! What the first bytes of a stream show: which protocol it is, and the first messages of TLS.
//!
//! Of each direction so much is kept as it takes to tell, at most [`MAX_HELLO_BYTES`], and of all
//! streams together at most [`Budget::MOST`]; then nothing more. It must never need bytes that are not
//! there: who decodes without payloads gets no protocol.

use serde::{Deserialize, Serialize};

use super::event::{Direction, Oddity, Tls};
use crate::tls::{self, First, MAX_HELLO_BYTES};

/// What is spoken over a connection, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.
    Http,
    /// HTTP/2 without TLS.
    H2,
    /// TLS that the guest does itself.
    Tls,
    /// DNS.
    Dns,
}

impl Protocol {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::H2 => "h2",
            Protocol::Tls => "tls",
            Protocol::Dns => "dns",
        }
    }
}

/// What a stream begins with that is no TLS: RFC 9110, section 9 and RFC 9113, section 3.4.
const BEGINNINGS: [(&[u8], Protocol); 11] = [
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::H2),
    (b"HTTP/1.", Protocol::Http),
    (b"GET ", Protocol::Http),
    (b"HEAD ", Protocol::Http),
    (b"POST ", Protocol::Http),
    (b"PUT ", Protocol::Http),
    (b"DELETE ", Protocol::Http),
    (b"OPTIONS ", Protocol::Http),
    (b"PATCH ", Protocol::Http),
    (b"CONNECT ", Protocol::Http),
    (b"TRACE ", Protocol::Http),
];

/// How many bytes may be kept of all streams together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget(usize);

impl Budget {
    /// The most, in bytes: enough for some thousand handshakes at once.
    const MOST: usize = 8 << 20;

    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.0 + bytes <= Budget::MOST;
        self.0 += if fits { bytes } else { 0 };
        fits
    }

    fn give(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }
}

/// The beginning of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Head {
    /// It is not known yet what it is; nothing can be said before so many bytes are there.
    Open {
        #[serde(with = "crate::state::hexadecimal")]
        bytes: Vec<u8>,
        needed: usize,
    },
    /// It is known, or will not be.
    Done,
}

impl Default for Head {
    fn default() -> Head {
        Head::Open {
            bytes: Vec::new(),
            needed: 1,
        }
    }
}

/// A client's first message, and where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Greeting {
    server_name: Option<String>,
    ja4: String,
    offset: u64,
    time_ns: u64,
}

/// Both directions of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Streams {
    sent: Head,
    received: Head,
    /// A client's first message that no server has answered yet.
    greeting: Option<Box<Greeting>>,
}

/// What has become known.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) protocol: Option<Protocol>,
    pub(super) server_name: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) oddity: Option<(Oddity, &'static str)>,
}

/// Where bytes were: the connection, the record and its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) connection: u64,
    pub(super) offset: u64,
    pub(super) time_ns: u64,
}

impl Streams {
    /// Of a stream whose beginning is not in the log: its next bytes begin nothing.
    pub(super) fn midstream() -> Streams {
        Streams {
            sent: Head::Done,
            received: Head::Done,
            greeting: None,
        }
    }

    /// Whether bytes that go this way can tell anything more.
    pub(super) fn wants(&self, direction: Direction) -> bool {
        let head = match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        };
        *head != Head::Done
    }

    /// Takes the next bytes.
    pub(super) fn push(
        &mut self,
        direction: Direction,
        next: &[u8],
        place: Place,
        budget: &mut Budget,
    ) -> Found {
        let head = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        let mut found = Found::default();
        let Head::Open { bytes, needed } = head else {
            return found;
        };
        let room = (MAX_HELLO_BYTES + 1).saturating_sub(bytes.len());
        let next = &next[..next.len().min(room)];
        let kept = bytes.len();
        // Most say at once what they are: nothing of those is kept.
        let stream: &[u8] = if kept == 0 {
            next
        } else {
            bytes.extend_from_slice(next);
            bytes
        };
        let first = if stream.len() < *needed {
            None
        } else {
            match tls::first(stream) {
                First::Incomplete(more) if stream.len() <= MAX_HELLO_BYTES => {
                    *needed = more.min(MAX_HELLO_BYTES + 1);
                    None
                }
                First::Other => match beginning(stream) {
                    Beginning::More => None,
                    Beginning::Is(protocol) => {
                        found.protocol = protocol;
                        Some(First::Other)
                    }
                },
                first => Some(first),
            }
        };
        let Some(first) = first else {
            if !budget.take(next.len()) {
                budget.give(kept);
                *head = Head::Done;
                found.oddity = Some((
                    Oddity::TlsNotFollowed,
                    "more handshakes at once than are kept",
                ));
            } else if kept == 0 {
                bytes.extend_from_slice(next);
            }
            return found;
        };
        budget.give(kept);
        *head = Head::Done;
        match first {
            First::Other => {}
            First::Client(hello) => {
                found.protocol = Some(Protocol::Tls);
                found.server_name.clone_from(&hello.server_name);
                self.greeting = Some(Box::new(Greeting {
                    ja4: hello.ja4(),
                    server_name: hello.server_name,
                    offset: place.offset,
                    time_ns: place.time_ns,
                }));
            }
            First::Server(hello) => {
                found.protocol = Some(Protocol::Tls);
                found.tls = Some(Tls {
                    version: Some(tls::version_name(hello.version)),
                    cipher: Some(tls::cipher_name(hello.cipher)),
                    alpn: hello.alpn,
                    ..self.session(place)
                });
            }
            First::Alert(description) => {
                found.protocol = Some(Protocol::Tls);
                let known = tls::alert_name(description).map(str::to_owned);
                let name = known.unwrap_or_else(|| description.to_string());
                found.tls = Some(Tls {
                    error: Some(format!("alert {name}")),
                    ..self.session(place)
                });
            }
            First::Malformed | First::Incomplete(_) => {
                found.protocol = Some(Protocol::Tls);
                found.oddity = Some((Oddity::TlsMalformed, direction.name()));
            }
        }
        found
    }

    /// Says that bytes are missing from here on: nothing more will be known.
    pub(super) fn give_up(&mut self, budget: &mut Budget) {
        for head in [&mut self.sent, &mut self.received] {
            if let Head::Open { bytes, .. } = head {
                budget.give(bytes.len());
            }
            *head = Head::Done;
        }
    }

    /// Ends the stream: a handshake that nobody answered is a session too.
    pub(super) fn end(&mut self, connection: u64, budget: &mut Budget) -> Option<Tls> {
        self.give_up(budget);
        let greeting = self.greeting.take()?;
        Some(greeting.session(connection))
    }

    /// The session of a handshake that nobody has answered yet.
    pub(super) fn unanswered(&self, connection: u64) -> Option<Tls> {
        self.greeting
            .as_ref()
            .map(|greeting| greeting.session(connection))
    }

    /// What the client has said, which is told once.
    fn session(&mut self, place: Place) -> Tls {
        match self.greeting.take() {
            Some(greeting) => greeting.session(place.connection),
            None => Tls {
                connection: place.connection,
                offset: place.offset,
                time_ns: place.time_ns,
                ..Tls::default()
            },
        }
    }
}

impl Greeting {
    fn session(&self, connection: u64) -> Tls {
        Tls {
            connection,
            offset: self.offset,
            time_ns: self.time_ns,
            server_name: self.server_name.clone(),
            ja4: Some(self.ja4.clone()),
            ..Tls::default()
        }
    }
}

enum Beginning {
    /// It can still be several.
    More,
    Is(Option<Protocol>),
}

fn beginning(stream: &[u8]) -> Beginning {
    let mut may_be = false;
    for (text, protocol) in BEGINNINGS {
        if stream.starts_with(text) {
            return Beginning::Is(Some(protocol));
        }
        may_be |= text.starts_with(stream);
    }
    match may_be {
        true => Beginning::More,
        false => Beginning::Is(None),
    }
}

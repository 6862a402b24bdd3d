//! What the fields of a header block say: RFC 9113, section 8.3.

use timecraft_segment::text::lossless;

use crate::http::hpack::Field;
use crate::http::{Headers, Oddity};

/// A header block, read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) headers: Headers,
    pub(super) length: Option<u64>,
    pub(super) content: Content,
    /// Whether it is in a coding, so that nothing within is read.
    pub(super) coded: bool,
    pub(super) odd: Vec<Oddity>,
    /// How many were not kept for want of room.
    pub(super) left_out: u32,
    /// How many bytes they are.
    pub(super) size: usize,
    /// How many they may be.
    room: usize,
}

/// What the content is, as far as it is looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    #[default]
    Other,
    Grpc,
    Events,
}

impl Content {
    /// That of a value of Content-Type.
    fn of(value: &[u8]) -> Content {
        const GRPC: &[u8] = b"application/grpc";
        let kind = value.split(|b| *b == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii();
        match kind.strip_prefix(GRPC) {
            Some([] | [b'+', ..]) => Content::Grpc,
            _ if kind.eq_ignore_ascii_case(b"text/event-stream") => Content::Events,
            _ => Content::Other,
        }
    }
}

impl Fields {
    pub(super) fn new(room: usize) -> Fields {
        Fields {
            room,
            ..Fields::default()
        }
    }

    pub(super) fn add(&mut self, odd: Oddity) {
        if !self.odd.contains(&odd) {
            self.odd.push(odd);
        }
    }

    /// Whether there is any with a colon.
    pub(super) fn pseudo(&self) -> bool {
        let texts = [&self.method, &self.path, &self.scheme, &self.authority];
        texts.into_iter().any(Option::is_some) || self.protocol.is_some() || self.status.is_some()
    }

    pub(super) fn take(&mut self, field: Field<'_>) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.left_out += 1;
            return;
        };
        let size = name.len() + value.len();
        if self.size + size > self.room {
            self.left_out += 1;
            return;
        }
        self.size += size;
        if name.first() == Some(&b':') {
            return self.take_pseudo(name, value);
        }
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => self.add(Oddity::H2ConnectionField),
            b"te" if value != b"trailers" => self.add(Oddity::H2ConnectionField),
            b"content-length" => {
                let text = str::from_utf8(value).ok();
                self.length = text.and_then(|text| text.parse().ok());
                if self.length.is_none() {
                    self.add(Oddity::H2LengthDisagrees);
                }
            }
            b"content-type" => self.content = Content::of(value),
            b"content-encoding" => self.coded |= !value.eq_ignore_ascii_case(b"identity"),
            _ if name.iter().any(u8::is_ascii_uppercase) => self.add(Oddity::H2UpperCaseName),
            _ => {}
        }
        self.headers.push(name, value);
    }

    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) {
        if !self.headers.is_empty() {
            self.add(Oddity::H2BadPseudoField);
        }
        let slot = match name {
            b":method" => &mut self.method,
            b":path" => &mut self.path,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":protocol" => &mut self.protocol,
            b":status" => {
                let text = str::from_utf8(value).ok().filter(|text| text.len() == 3);
                let status = text.and_then(|text| text.parse().ok());
                if self.status.is_some() || status.is_none() {
                    self.add(Oddity::H2BadPseudoField);
                }
                self.status = self.status.or(status);
                return;
            }
            _ => return self.add(Oddity::H2BadPseudoField),
        };
        if slot.is_some() {
            return self.add(Oddity::H2BadPseudoField);
        }
        *slot = Some(lossless(value).into_owned());
    }
}

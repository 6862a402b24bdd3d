//! The fields of a head, or those after a body, and what they say of the message.
//!
//! Read here and not by `httparse`: that one refuses what real servers take (fields over several lines
//! in requests, names that are no tokens), does not say what was odd, and needs its fields copied into
//! [`Headers`] after it has checked each byte. A line takes two searches of `memchr` and one look at its
//! name.

use memchr::{memchr, memchr2};

use super::line::{is_token, trim};
use crate::http::{Headers, Oddity};

/// What the fields say of the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) headers: Headers,
    /// The first valid Content-Length.
    pub(super) length: Option<u64>,
    /// Whether there is a Content-Length, valid or not.
    pub(super) has_length: bool,
    /// Whether any Content-Length is no number.
    pub(super) bad_length: bool,
    pub(super) transfer: Transfer,
    pub(super) odd: Odds,
    /// Whether there is a Host, and its first value.
    pub(super) host: Option<String>,
    /// The value of the first Upgrade.
    pub(super) upgrade: Option<String>,
    /// Whether the content is `text/event-stream`, in no further coding.
    pub(super) events: bool,
    coded: bool,
}

/// What Transfer-Encoding says: RFC 9112, section 6.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Transfer {
    /// There is none, or only `identity`.
    #[default]
    None,
    /// The last coding is chunked.
    Chunked,
    /// The last coding is another one.
    Other,
}

/// Oddities, each once and in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Odds(pub(super) Vec<Oddity>);

impl Odds {
    pub(super) fn add(&mut self, oddity: Oddity) {
        if !self.0.contains(&oddity) {
            self.0.push(oddity);
        }
    }
}

/// Where a head ends: behind its empty line. `from` is where no line feed was found before.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let feed = from + memchr(b'\n', bytes.get(from..)?)?;
        match bytes.get(feed + 1..) {
            Some([b'\n', ..]) => return Some(feed + 2),
            Some([b'\r', b'\n', ..]) => return Some(feed + 3),
            _ => from = feed + 1,
        }
    }
}

/// Reads fields, each line of which may go on in the next.
pub(super) fn fields(bytes: &[u8]) -> Fields {
    let mut fields = Fields::default();
    fields.headers.reserve(bytes.len());
    let mut rest = bytes;
    let mut folded = Vec::new();
    while !rest.is_empty() {
        let line = fields.line(&mut rest);
        if line.is_empty() {
            continue;
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            fields.odd.add(Oddity::ObsFold);
        }
        if matches!(rest.first(), Some(b' ' | b'\t')) {
            folded.clear();
            folded.extend_from_slice(line);
            while matches!(rest.first(), Some(b' ' | b'\t')) {
                let more = fields.line(&mut rest);
                while let Some(b' ' | b'\t') = folded.last() {
                    folded.pop();
                }
                folded.push(b' ');
                folded.extend_from_slice(trim(more));
            }
            fields.odd.add(Oddity::ObsFold);
            let line = std::mem::take(&mut folded);
            fields.field(&line);
            folded = line;
        } else {
            fields.field(line);
        }
    }
    fields
}

impl Fields {
    /// The next line, without its end.
    fn line<'a>(&mut self, rest: &mut &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', rest);
        let (line, after) = rest
            .split_at_checked(end.map_or(rest.len(), |end| end + 1))
            .unwrap_or_default();
        *rest = after;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = line.strip_suffix(b"\r");
        if text.is_none() && end.is_some() {
            self.odd.add(Oddity::BareLf);
        }
        let text = text.unwrap_or(line);
        if let Some(at) = memchr2(b'\r', 0, text) {
            if memchr(b'\r', text).is_some() {
                self.odd.add(Oddity::BareCr);
            }
            if memchr(0, text.get(at..).unwrap_or_default()).is_some() {
                self.odd.add(Oddity::NulInHeader);
            }
        }
        text
    }

    fn field(&mut self, line: &[u8]) {
        let stop = line.iter().position(|&b| !is_token(b));
        let (name, value) = match stop {
            Some(at) if at > 0 && line.get(at) == Some(&b':') => {
                (line.get(..at), line.get(at + 1..))
            }
            _ => match memchr(b':', line) {
                Some(colon) => {
                    let name = trim(line.get(..colon).unwrap_or_default());
                    if matches!(line.get(..colon), Some([.., b' ' | b'\t'])) {
                        self.odd.add(Oddity::SpaceBeforeColon);
                    }
                    if name.is_empty() || !name.iter().copied().all(is_token) {
                        self.odd.add(Oddity::BadHeader);
                    }
                    (Some(name), line.get(colon + 1..))
                }
                None => {
                    self.odd.add(Oddity::BadHeader);
                    (Some(trim(line)), None)
                }
            },
        };
        let name = name.unwrap_or_default();
        let value = trim(value.unwrap_or_default());
        self.headers.push(name, value);
        self.know(name, value);
    }

    fn know(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => match self.host {
                None => self.host = Some(text(value)),
                Some(_) => self.odd.add(Oddity::RepeatedHost),
            },
            7 if is(b"upgrade") => {
                self.upgrade.get_or_insert_with(|| text(value));
            }
            12 if is(b"content-type") => {
                let kind = value.split(|b| *b == b';').next().unwrap_or_default();
                self.events |= trim(kind).eq_ignore_ascii_case(b"text/event-stream");
                self.events &= !self.coded;
            }
            14 if is(b"content-length") => value.split(|b| *b == b',').for_each(|v| self.length(v)),
            16 if is(b"content-encoding") => {
                self.coded |= !value.eq_ignore_ascii_case(b"identity");
                self.events &= !self.coded;
            }
            17 if is(b"transfer-encoding") => {
                value.split(|b| *b == b',').for_each(|v| self.coding(v));
            }
            _ => {}
        }
    }

    fn length(&mut self, value: &[u8]) {
        self.has_length = true;
        match number(trim(value)) {
            None => {
                self.bad_length = true;
                self.odd.add(Oddity::BadLength);
            }
            Some(length) => match self.length {
                None => self.length = Some(length),
                Some(known) if known == length => self.odd.add(Oddity::RepeatedLength),
                Some(_) => self.odd.add(Oddity::ConflictingLength),
            },
        }
    }

    fn coding(&mut self, value: &[u8]) {
        let name = value.split(|b| *b == b';').next().unwrap_or_default();
        let name = trim(name);
        if name.is_empty() {
            return;
        }
        if name.eq_ignore_ascii_case(b"chunked") {
            match self.transfer {
                Transfer::Chunked => self.odd.add(Oddity::RepeatedChunked),
                _ => self.transfer = Transfer::Chunked,
            }
            return;
        }
        if self.transfer == Transfer::Chunked {
            self.odd.add(Oddity::ChunkedNotLast);
        }
        if name.eq_ignore_ascii_case(b"identity") && self.transfer == Transfer::None {
            return;
        }
        let known: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
        if !known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            self.odd.add(Oddity::UnknownTransferEncoding);
        }
        self.transfer = Transfer::Other;
    }
}

fn text(bytes: &[u8]) -> String {
    timecraft_segment::text::lossless(bytes).into_owned()
}

/// A number of digits alone.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

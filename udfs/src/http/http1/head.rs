//! The fields of a head, or those after a body, and what they say of the message.
//!
//! Read here and not by `httparse`: that one refuses what real servers take (fields over several lines
//! in requests, names that are no tokens), does not say what was odd, and needs its fields copied into
//! [`Headers`] after it has checked each byte. A line takes two searches of `memchr` and one look at its
//! name.

use std::ops::Range;

use memchr::{memchr, memchr2};
use timecraft_segment::text::lossless;

use super::line::{is_token, trim, trim_start};
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
    let mut reader = Reader {
        fields: Fields::default(),
        bytes,
        rest: bytes,
        plain: false,
    };
    // Checked and copied as a whole, for each field alone takes several times as long.
    if memchr2(b'\\', 0, bytes).is_none()
        && let Ok(text) = str::from_utf8(bytes)
    {
        reader.fields.headers = Headers::of(text.to_owned());
        reader.plain = true;
    }
    reader.read();
    reader.fields
}

/// Fields that are being read.
struct Reader<'a> {
    fields: Fields,
    bytes: &'a [u8],
    rest: &'a [u8],
    /// Whether the bytes are text without a NUL and without anything to escape, so that they are that
    /// of the headers, byte for byte.
    plain: bool,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        let mut folded = Vec::new();
        while !self.rest.is_empty() {
            let start = self.bytes.len() - self.rest.len();
            let line = self.line();
            if line.is_empty() {
                continue;
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                self.fields.odd.add(Oddity::ObsFold);
            }
            if matches!(self.rest.first(), Some(b' ' | b'\t')) {
                folded.clear();
                folded.extend_from_slice(line);
                while matches!(self.rest.first(), Some(b' ' | b'\t')) {
                    let more = self.line();
                    while let Some(b' ' | b'\t') = folded.last() {
                        folded.pop();
                    }
                    folded.push(b' ');
                    folded.extend_from_slice(trim(more));
                }
                self.fields.odd.add(Oddity::ObsFold);
                self.fields.field(&folded, None);
            } else {
                self.fields.field(line, self.plain.then_some(start));
            }
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> &'a [u8] {
        let rest = self.rest;
        // As nearly every line is.
        if self.plain
            && let Some(end) = memchr2(b'\r', b'\n', rest)
            && let Some((line, [b'\r', b'\n', after @ ..])) = rest.split_at_checked(end)
        {
            self.rest = after;
            return line;
        }
        let end = memchr(b'\n', rest);
        let (line, after) = rest
            .split_at_checked(end.map_or(rest.len(), |end| end + 1))
            .unwrap_or_default();
        self.rest = after;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = line.strip_suffix(b"\r");
        if text.is_none() && end.is_some() {
            self.fields.odd.add(Oddity::BareLf);
        }
        let text = text.unwrap_or(line);
        if memchr(b'\r', text).is_some() {
            self.fields.odd.add(Oddity::BareCr);
        }
        if memchr(0, text).is_some() {
            self.fields.odd.add(Oddity::NulInHeader);
        }
        text
    }
}

impl Fields {
    /// Reads a field. `start` is where its line begins in the text of the headers, if it is there.
    fn field(&mut self, line: &[u8], start: Option<usize>) {
        let part = |range: &Range<usize>| line.get(range.clone()).unwrap_or_default();
        let stop = line.iter().position(|&b| !is_token(b));
        let (name, value) = match stop {
            Some(at) if at > 0 && line.get(at) == Some(&b':') => (0..at, at + 1..line.len()),
            _ => match memchr(b':', line) {
                Some(colon) => {
                    let name = trimmed(line, 0..colon);
                    if matches!(line.get(..colon), Some([.., b' ' | b'\t'])) {
                        self.odd.add(Oddity::SpaceBeforeColon);
                    }
                    if name.is_empty() || !part(&name).iter().copied().all(is_token) {
                        self.odd.add(Oddity::BadHeader);
                    }
                    (name, colon + 1..line.len())
                }
                None => {
                    self.odd.add(Oddity::BadHeader);
                    (trimmed(line, 0..line.len()), 0..0)
                }
            },
        };
        let value = trimmed(line, value);
        self.know(part(&name), part(&value));
        match start {
            Some(start) => {
                let place = |range: Range<usize>| start + range.start..start + range.end;
                self.headers.within(place(name), place(value));
            }
            None => self.headers.push(part(&name), part(&value)),
        }
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

/// A part of a line without the spaces and tabs around it, as [`trim`] has it.
fn trimmed(line: &[u8], part: Range<usize>) -> Range<usize> {
    let text = trim_start(line.get(part.clone()).unwrap_or_default());
    let start = part.end - text.len();
    start..start + trim(text).len()
}

fn text(bytes: &[u8]) -> String {
    lossless(bytes).into_owned()
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

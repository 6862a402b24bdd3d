//! How long a body is, and its framing taken off: RFC 9112, sections 6.3 and 7.1.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::head::{self, Fields, Odds, Transfer};
use super::{MAX_CHUNK_LINE, MAX_HEAD};
use crate::http::{Framing, Oddity, Version};

/// A body that is being read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reader {
    /// So many bytes are to come.
    Length(u64),
    /// What there is until the stream ends.
    Eof,
    /// By chunks.
    Chunked(Chunk),
}

/// Where among chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Chunk {
    /// In the line with a size.
    Size,
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// At the end of the line that a chunk ends with.
    End,
    /// In the fields after the last one.
    Trailers,
}

/// What came next of a body.
pub(super) enum Step<'a> {
    /// Content.
    Content(&'a [u8]),
    /// Nothing to give; go on.
    On,
    /// The body is at its end, with these fields after it.
    Done(Option<Box<Fields>>),
    /// It cannot be read on, for this reason, and what follows is here.
    Broken(&'static str, Rest),
}

/// Where what follows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    AtLine,
    InLine,
}

/// How the body of a request is framed. One whose framing is not known has none.
pub(super) fn of_request(fields: &mut Fields, version: Version) -> Framing {
    known(fields, version).unwrap_or(Framing::None)
}

/// How the body of a response is framed. `bodiless` is one that has no body whatever its fields say.
pub(super) fn of_response(fields: &mut Fields, version: Version, bodiless: Bodiless) -> Framing {
    let framing = known(fields, version);
    match bodiless {
        Bodiless::Yes => Framing::None,
        Bodiless::No => framing.unwrap_or(Framing::Eof),
    }
}

/// Whether a response has no body: to HEAD, or of a status that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodiless {
    Yes,
    No,
}

fn known(fields: &mut Fields, version: Version) -> Option<Framing> {
    if fields.transfer != Transfer::None {
        if fields.has_length {
            fields.odd.add(Oddity::LengthAndTransferEncoding);
        }
        if version == Version::Http10 {
            fields.odd.add(Oddity::TransferEncodingInHttp10);
        }
    }
    match (fields.transfer, fields.length) {
        (Transfer::Chunked, _) => Some(Framing::Chunked),
        (Transfer::None, Some(_)) if !fields.bad_length => Some(Framing::Length),
        _ => None,
    }
}

impl Reader {
    /// The reader of a body that has any bytes or framing to read.
    pub(super) fn new(framing: Framing, length: Option<u64>) -> Option<Reader> {
        match (framing, length) {
            (Framing::Length, Some(length)) if length > 0 => Some(Reader::Length(length)),
            (Framing::Chunked, _) => Some(Reader::Chunked(Chunk::Size)),
            (Framing::Eof, _) => Some(Reader::Eof),
            _ => None,
        }
    }

    /// Takes what it can off the front of `bytes`, which are not empty. What is no whole line is kept in
    /// `held`.
    pub(super) fn step<'a>(
        &mut self,
        held: &mut Vec<u8>,
        bytes: &mut &'a [u8],
        odd: &mut Odds,
    ) -> Step<'a> {
        match self {
            Reader::Length(left) => {
                let content = take(left, bytes);
                match (content, *left) {
                    // The end is told with the next call, which takes nothing.
                    ([], 0) => Step::Done(None),
                    (content, _) => Step::Content(content),
                }
            }
            Reader::Eof => Step::Content(std::mem::take(bytes)),
            Reader::Chunked(chunk) => chunk.step(held, bytes, odd),
        }
    }

    /// Whether the next step ends it without any bytes.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self, Reader::Length(0))
    }
}

fn take<'a>(left: &mut u64, bytes: &mut &'a [u8]) -> &'a [u8] {
    let now = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    let (content, rest) = bytes.split_at_checked(now).unwrap_or_default();
    *left -= content.len() as u64;
    *bytes = rest;
    content
}

impl Chunk {
    fn step<'a>(&mut self, held: &mut Vec<u8>, bytes: &mut &'a [u8], odd: &mut Odds) -> Step<'a> {
        match self {
            Chunk::Data(left) => {
                let content = take(left, bytes);
                if *left == 0 {
                    *self = Chunk::End;
                }
                Step::Content(content)
            }
            Chunk::Size => {
                let line = match line(held, bytes) {
                    Line::More => return Step::On,
                    Line::TooLong => {
                        return Step::Broken("a chunk's size has no end", Rest::InLine);
                    }
                    Line::Here(line) => size(line, odd),
                    Line::Held => size(held, odd),
                };
                held.clear();
                match line {
                    None => {
                        odd.add(Oddity::BadChunkSize);
                        return Step::Broken("a chunk's size is no number", Rest::AtLine);
                    }
                    Some(0) => *self = Chunk::Trailers,
                    Some(size) => *self = Chunk::Data(size),
                }
                Step::On
            }
            Chunk::End => {
                // One line feed, with or without a carriage return before it.
                let Some((first, rest)) = bytes.split_first() else {
                    return Step::On;
                };
                match (held.is_empty(), first) {
                    (true, b'\r') => held.push(b'\r'),
                    (bare, b'\n') => {
                        if bare {
                            odd.add(Oddity::BareLf);
                        }
                        held.clear();
                        *self = Chunk::Size;
                    }
                    _ => {
                        held.clear();
                        odd.add(Oddity::BadChunkEnd);
                        return Step::Broken("a chunk does not end after its size", Rest::InLine);
                    }
                }
                *bytes = rest;
                Step::On
            }
            Chunk::Trailers => trailers(held, bytes, odd),
        }
    }
}

enum Line<'a> {
    More,
    TooLong,
    Here(&'a [u8]),
    /// It is in what is held.
    Held,
}

/// The next line with its end: in place where it is whole in the piece.
fn line<'a>(held: &mut Vec<u8>, bytes: &mut &'a [u8]) -> Line<'a> {
    let room = MAX_CHUNK_LINE.saturating_sub(held.len());
    let window = bytes.get(..room).unwrap_or(bytes);
    let Some(end) = memchr(b'\n', window) else {
        if window.len() == room {
            held.clear();
            *bytes = bytes.get(room..).unwrap_or_default();
            return Line::TooLong;
        }
        held.extend_from_slice(window);
        *bytes = &[];
        return Line::More;
    };
    let (line, rest) = bytes.split_at_checked(end + 1).unwrap_or_default();
    *bytes = rest;
    if held.is_empty() {
        return Line::Here(line);
    }
    held.extend_from_slice(line);
    Line::Held
}

/// The size in a line such as `1a;name=value`.
fn size(line: &[u8], odd: &mut Odds) -> Option<u64> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = line.strip_suffix(b"\r").unwrap_or_else(|| {
        odd.add(Oddity::BareLf);
        line
    });
    let digits = text
        .iter()
        .position(|b| !b.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let (number, after) = text.split_at_checked(digits)?;
    let spaces = after
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .unwrap_or(after.len());
    if spaces > 0 {
        odd.add(Oddity::SpaceAfterChunkSize);
    }
    if !matches!(after.get(spaces), None | Some(b';')) {
        return None;
    }
    // Zeros before it may be any number; more digits than these are no size.
    u64::from_str_radix(str::from_utf8(number).ok()?, 16).ok()
}

fn trailers<'a>(held: &mut Vec<u8>, bytes: &mut &'a [u8], odd: &mut Odds) -> Step<'a> {
    let before = held.len();
    let window = bytes
        .get(..MAX_HEAD.saturating_sub(before))
        .unwrap_or(bytes);
    let find = |text: &[u8]| match text {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => head::end(text, before.saturating_sub(2)),
    };
    let found = if before == 0 {
        find(window)
    } else {
        held.extend_from_slice(window);
        find(held)
    };
    let Some(end) = found else {
        if before + window.len() == MAX_HEAD {
            held.clear();
            *bytes = bytes.get(window.len()..).unwrap_or_default();
            odd.add(Oddity::HeadTooLong);
            return Step::Broken("the fields after the body are too long", Rest::InLine);
        }
        if before == 0 {
            held.extend_from_slice(window);
        }
        *bytes = &[];
        return Step::On;
    };
    let text = match before {
        0 => window.get(..end),
        _ => held.get(..end),
    };
    let text = text.unwrap_or_default();
    let fields = (text.len() > 2).then(|| Box::new(head::fields(text)));
    if text == b"\n" {
        odd.add(Oddity::BareLf);
    }
    held.clear();
    *bytes = bytes.get(end.saturating_sub(before)..).unwrap_or_default();
    Step::Done(fields)
}

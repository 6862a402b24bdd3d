//! The first lines of messages. What is read here is what real servers read: several spaces, a version
//! in lower case and targets with spaces are taken, and said to be odd.

use memchr::memchr;

use super::MAX_HEAD;
use crate::http::Version;

/// The beginning of HTTP/2: RFC 9113, section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest method. It only has to be longer than any in use.
const MAX_METHOD: usize = 64;

/// What bytes are the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// It takes more of them to say.
    More,
    Request,
    Response,
    /// HTTP/2, by a client that knew.
    Preface,
    /// SETTINGS, with which a server of HTTP/2 begins. It may do so before the preface is seen.
    Settings,
    /// Nothing of HTTP.
    No,
}

/// What bytes are the beginning of. More bytes after them change nothing once it is not
/// [`Guess::More`].
pub(crate) fn guess(bytes: &[u8]) -> Guess {
    let bytes = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let common = bytes.len().min(PREFACE.len());
    if bytes.get(..common) == PREFACE.get(..common) {
        return match common == PREFACE.len() {
            true => Guess::Preface,
            false => Guess::More,
        };
    }
    if bytes.first() == Some(&0) {
        return settings(bytes);
    }
    let response = begins_ignoring_case(bytes, b"HTTP/1.");
    if !response {
        match bytes
            .iter()
            .take(MAX_METHOD + 1)
            .position(|&b| !is_token(b))
        {
            None if bytes.len() > MAX_METHOD => return Guess::No,
            None => return Guess::More,
            Some(0) => return Guess::No,
            Some(end) if !matches!(bytes.get(end), Some(b' ' | b'\t')) => return Guess::No,
            Some(_) => {}
        }
    }
    let Some(end) = memchr(b'\n', bytes) else {
        return match bytes.len() < MAX_HEAD {
            true => Guess::More,
            false => Guess::No,
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    match response {
        true if status(line).is_some() => Guess::Response,
        false if request(line).is_some() => Guess::Request,
        _ => Guess::No,
    }
}

/// Whether bytes begin with the header of SETTINGS, RFC 9113, section 6.5: a length below 64 KiB, the
/// type, no flags, and stream 0.
fn settings(bytes: &[u8]) -> Guess {
    const HEADER: [Option<u8>; 9] = {
        let zero = Some(0);
        [zero, None, None, Some(4), zero, zero, zero, zero, zero]
    };
    let fits = |(byte, wanted): (&u8, &Option<u8>)| wanted.is_none_or(|wanted| wanted == *byte);
    match bytes.iter().zip(&HEADER).all(fits) {
        true if bytes.len() >= HEADER.len() => Guess::Settings,
        true => Guess::More,
        false => Guess::No,
    }
}

fn begins_ignoring_case(bytes: &[u8], word: &[u8]) -> bool {
    let common = bytes.len().min(word.len());
    match (bytes.get(..common), word.get(..common)) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

/// A byte of a token: RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    static TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let b = byte as u8;
            table[byte] = b.is_ascii_alphanumeric()
                || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// Without the spaces and tabs around, and a carriage return at the end.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., b' ' | b'\t' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without the spaces and tabs before it.
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// A request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: Version,
    /// Whether it is not exactly as RFC 9112 has it.
    pub(super) loose: bool,
}

/// Reads a request line, which has no line feed.
pub(super) fn request(line: &[u8]) -> Option<RequestLine<'_>> {
    let text = trim(line);
    let end = text.iter().position(|&b| b == b' ' || b == b'\t')?;
    let (method, rest) = text.split_at_checked(end)?;
    let last = memchr::memrchr2(b' ', b'\t', rest)?;
    let (target, word) = rest.split_at_checked(last)?;
    let word = word.get(1..)?;
    let trimmed = trim(target);
    if method.is_empty() || trimmed.is_empty() || !method.iter().copied().all(is_token) {
        return None;
    }
    let exact = method.len() + trimmed.len() + word.len() + 2;
    let whole = line.strip_suffix(b"\r").unwrap_or(line).len();
    Some(RequestLine {
        method,
        target: trimmed,
        version: version(word)?,
        loose: whole != exact
            || !word.starts_with(b"HTTP")
            || memchr::memchr2(b' ', b'\t', trimmed).is_some(),
    })
}

/// A status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLine<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
    /// Whether it is not exactly as RFC 9112 has it.
    pub(super) loose: bool,
}

/// Reads a status line, which has no line feed.
pub(super) fn status(line: &[u8]) -> Option<StatusLine<'_>> {
    let end = line.iter().position(|&b| b == b' ' || b == b'\t')?;
    let (word, rest) = line.split_at_checked(end)?;
    let spaced = trim(rest);
    let (digits, reason) = spaced.split_at_checked(3)?;
    let [a, b, c] = digits else { return None };
    if !matches!(a, b'1'..=b'9') || !b.is_ascii_digit() || !c.is_ascii_digit() {
        return None;
    }
    if !matches!(reason.first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    let number = |digit: &u8| u16::from(digit - b'0');
    let loose = !rest.starts_with(b" ") || rest.get(1) != Some(a) || !word.starts_with(b"HTTP");
    Some(StatusLine {
        version: version(word)?,
        status: 100 * number(a) + 10 * number(b) + number(c),
        reason: trim(reason),
        loose,
    })
}

fn version(word: &[u8]) -> Option<Version> {
    let (name, number) = word.split_at_checked(5)?;
    match number {
        _ if !name.eq_ignore_ascii_case(b"HTTP/") => None,
        b"1.0" | b"0.9" => Some(Version::Http10),
        [b'1', b'.', b'1'..=b'9'] => Some(Version::Http11),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_never_changes_with_more_bytes() {
        let beginnings: [&[u8]; 10] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
            b"PRI * HTTP/2.0\r\n\r\nno",
            b"SSH-2.0-OpenSSH\r\n",
            b"\x16\x03\x01\x02\0",
            b"EHLO mail\r\n",
            b"HTTP/1.1 2000 no\r\n",
            b"\0\0\x06\x04\0\0\0\0\0\0\x03",
            b"\0\0\x06\x04\x01\0\0\0\0\0\x03",
        ];
        let want = [
            Guess::Request,
            Guess::Response,
            Guess::Preface,
            Guess::No,
            Guess::No,
            Guess::No,
            Guess::No,
            Guess::No,
            Guess::Settings,
            Guess::No,
        ];
        for (bytes, want) in beginnings.into_iter().zip(want) {
            let guesses = (0..=bytes.len()).map(|n| guess(&bytes[..n]));
            let decided: Vec<_> = guesses.skip_while(|g| *g == Guess::More).collect();
            assert!(decided.iter().all(|g| *g == want), "{bytes:?}: {decided:?}");
            assert_eq!(guess(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn lines_are_read_as_servers_read_them() {
        let line = request(b"GET  /a b\tHTTP/1.1 \r").expect("a request line");
        assert_eq!((line.method, line.target), (&b"GET"[..], &b"/a b"[..]));
        assert!(line.loose);
        assert!(!request(b"GET / HTTP/1.1\r").expect("a request line").loose);
        assert_eq!(request(b"GET /"), None);
        assert_eq!(request(b"GET / HTTP/2.0"), None);
        let line = status(b"HTTP/1.0 404\r").expect("a status line");
        assert_eq!(
            (line.status, line.reason, line.loose),
            (404, &b""[..], false)
        );
        assert!(status(b"http/1.1  200 OK").expect("a status line").loose);
        assert_eq!(status(b"HTTP/1.1 20 OK"), None);
    }
}

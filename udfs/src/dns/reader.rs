//! Reading a message in place: numbers, names and strings, and writing them as zone files have them
//! (RFC 1035, section 5.1). What is written is ASCII.

use std::io::Write;

use super::oddity::Oddity;

/// The longest name without its last zero, in bytes as it is sent (RFC 1035, section 3.1).
const MAX_NAME: usize = 254;
/// The most pointers in one name: as many as it can have labels.
const MAX_JUMPS: usize = 127;

/// What cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The byte of the message.
    pub(super) at: usize,
    pub(super) what: &'static str,
    pub(super) oddity: Oddity,
    /// Whether it is known where the next thing begins, at which the reader then stands.
    pub(super) goes_on: bool,
}

/// A part of a message that is read from its beginning. A read that does not fit gives none and takes
/// nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Reader<'a> {
        Reader {
            message,
            at: 0,
            end: message.len(),
        }
    }

    /// The byte of the message that comes next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.message.get(self.at..self.end).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..n)?;
        self.at += n;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let chunk = *self.rest().first_chunk::<N>()?;
        self.at += N;
        Some(chunk)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.chunk()
    }

    /// The next bytes as a part of their own, whose names may still lead anywhere in the message.
    pub(super) fn part(&mut self, n: usize) -> Option<Reader<'a>> {
        let part = Reader {
            end: self.at + n,
            ..*self
        };
        self.take(n).map(|_| part)
    }

    /// Writes the name that comes next, with the dot at its end.
    pub(super) fn name(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        // Where this part of the name began: a pointer must lead before it, so that there is an end.
        let mut limit = self.at;
        let mut at = self.at;
        let mut end = self.end;
        let (mut length, mut jumps) = (0, 0);
        let mut problem = None;
        loop {
            let malformed = |what, oddity| Problem {
                at,
                what,
                oddity,
                goes_on: jumps > 0,
            };
            let ended = malformed("the message ends within a name", Oddity::CountsWrong);
            let first = match self.message.get(at) {
                Some(&first) if at < end => first,
                _ => return Err(ended),
            };
            match first {
                0 => {
                    if jumps == 0 {
                        self.at = at + 1;
                    }
                    if length == 0 {
                        out.push(b'.');
                    }
                    break;
                }
                1..=63 => {
                    let next = at + 1 + usize::from(first);
                    let label = self.message.get(at + 1..next).filter(|_| next <= end);
                    let label = label.ok_or(ended)?;
                    length += label.len() + 1;
                    if length <= MAX_NAME {
                        write_label(out, label);
                    } else {
                        let too_long =
                            malformed("a name of more than 255 bytes", Oddity::NameMalformed);
                        problem.get_or_insert(too_long);
                        if jumps > 0 {
                            break;
                        }
                    }
                    at = next;
                }
                0xc0.. => {
                    let Some(&second) = self.message.get(at + 1).filter(|_| at + 1 < end) else {
                        return Err(ended);
                    };
                    let target = usize::from(first & 0x3f) << 8 | usize::from(second);
                    let loops = malformed("a pointer that does not lead back", Oddity::NameLoop);
                    if jumps == 0 {
                        self.at = at + 2;
                    }
                    jumps += 1;
                    if target >= limit || jumps > MAX_JUMPS {
                        problem.get_or_insert(loops);
                        break;
                    }
                    if problem.is_some() {
                        break;
                    }
                    (limit, at, end) = (target, target, self.message.len());
                }
                _ => return Err(malformed("a label of no known kind", Oddity::NameMalformed)),
            }
        }
        match problem {
            None => Ok(()),
            Some(problem) => Err(Problem {
                goes_on: true,
                ..problem
            }),
        }
    }

    /// Writes a name where nothing is known to begin after it. None where it cannot be read.
    pub(super) fn name_in(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.name(out).ok()
    }

    /// Writes a string with its length before it, in quotes.
    pub(super) fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let length = self.u8()?;
        let Some(bytes) = self.take(length.into()) else {
            self.at -= 1;
            return None;
        };
        write_quoted(out, bytes);
        Some(())
    }
}

/// Which bytes stand for themselves in a name.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] =
            !matches!(byte, b'"' | b'$' | b'(' | b')' | b'.' | b';' | b'@' | b'\\');
        byte += 1;
    }
    plain
};

fn write_label(out: &mut Vec<u8>, label: &[u8]) {
    if label.iter().all(|&byte| PLAIN[usize::from(byte)]) {
        out.extend_from_slice(label);
    } else {
        for &byte in label {
            match byte {
                _ if PLAIN[usize::from(byte)] => out.push(byte),
                b'!'..=b'~' => out.extend_from_slice(&[b'\\', byte]),
                _ => write_escaped(out, byte),
            }
        }
    }
    out.push(b'.');
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    let digits = [byte / 100, byte / 10 % 10, byte % 10];
    out.push(b'\\');
    out.extend(digits.map(|digit| b'0' + digit));
}

/// Writes bytes as a quoted string.
pub(super) fn write_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => write_escaped(out, byte),
        }
    }
    out.push(b'"');
}

/// Writes a number.
pub(super) fn write_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    let mut number = number.into();
    // The longest of 64 bits has so many digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    while let Some(digit) = at.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *digit = b'0' + (number % 10) as u8;
        at -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Writes an address.
pub(super) fn write_ipv4(out: &mut Vec<u8>, [a, b, c, d]: [u8; 4]) {
    for (byte, after) in [(a, "."), (b, "."), (c, "."), (d, "")] {
        write_number(out, byte);
        out.extend_from_slice(after.as_bytes());
    }
}

/// Writes whatever can be formatted.
pub(super) fn write_text(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{text}");
}

/// Writes bytes as hexadecimal digits.
pub(super) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        let digits = [byte >> 4, byte & 15];
        out.extend(digits.map(|digit| DIGITS[usize::from(digit)]));
    }
}

/// Writes bytes in Base 64 (RFC 4648, section 4).
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    write_digits::<3, 4>(out, bytes, DIGITS, true);
}

/// Writes bytes in Base 32 with the extended hexadecimal alphabet, without padding (RFC 4648, section 7,
/// and RFC 5155, section 3.3).
pub(super) fn write_base32hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    write_digits::<5, 8>(out, bytes, DIGITS, false);
}

/// Writes groups of `BYTES` bytes as `CHARS` digits.
fn write_digits<const BYTES: usize, const CHARS: usize>(
    out: &mut Vec<u8>,
    bytes: &[u8],
    digits: &[u8],
    pads: bool,
) {
    let bits = 8 * BYTES / CHARS;
    for group in bytes.chunks(BYTES) {
        let mut value = 0_u64;
        for at in 0..BYTES {
            value = value << 8 | u64::from(group.get(at).copied().unwrap_or(0));
        }
        let used = (8 * group.len()).div_ceil(bits);
        for at in 0..CHARS {
            let digit = (value >> (bits * (CHARS - 1 - at))) as usize & (digits.len() - 1);
            match digits.get(digit) {
                Some(&digit) if at < used => out.push(digit),
                _ if pads => out.push(b'='),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn numbers_and_digits_are_as_their_formats_have_them() {
        for number in [0, 1, 9, 10, 255, 65535, u64::MAX] {
            assert_eq!(written(|out| write_number(out, number)), number.to_string());
        }
        // RFC 4648, section 10.
        for (bytes, base64, base32) in [
            ("", "", ""),
            ("f", "Zg==", "CO"),
            ("fo", "Zm8=", "CPNG"),
            ("foo", "Zm9v", "CPNMU"),
            ("foob", "Zm9vYg==", "CPNMUOG"),
            ("fooba", "Zm9vYmE=", "CPNMUOJ1"),
            ("foobar", "Zm9vYmFy", "CPNMUOJ1E8"),
        ] {
            assert_eq!(written(|out| write_base64(out, bytes.as_bytes())), base64);
            assert_eq!(
                written(|out| write_base32hex(out, bytes.as_bytes())),
                base32
            );
        }
    }
}

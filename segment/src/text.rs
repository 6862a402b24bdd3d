//! Text that a guest chose, as text that a person or a table can hold.

use std::borrow::Cow;
use std::fmt::Write;

/// Bytes as text: UTF-8 as it is, every other byte as `\xNN`, as Zeek does. A backslash that would
/// read as such an escape is escaped itself, so that no two byte strings give the same text.
#[must_use]
pub fn lossless(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        // Most text has no backslash at all, and looking for one byte is cheaper.
        Ok(text) if !bytes.contains(&b'\\') || !text.contains("\\x") => Cow::Borrowed(text),
        _ => {
            let mut out = String::with_capacity(bytes.len() + 16);
            for chunk in bytes.utf8_chunks() {
                out.push_str(&chunk.valid().replace("\\x", "\\x5cx"));
                for byte in chunk.invalid() {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\x{byte:02x}");
                }
            }
            Cow::Owned(out)
        }
    }
}

/// Bytes as a quoted string for a terminal, as strace prints them: printable ASCII as it is, the
/// usual escapes, and everything else as `\xNN`; at most `limit` bytes, then `...`.
#[must_use]
pub fn quoted(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut out = String::with_capacity(shown.len() + 2);
    out.push('"');
    for &byte in shown {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
    if shown.len() < bytes.len() {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_what_is_text_and_escapes_what_is_not() {
        assert_eq!(lossless("größe".as_bytes()), "größe");
        assert_eq!(lossless(b"a\xffb"), "a\\xffb");
        assert_eq!(lossless(b"a\\xffb"), "a\\x5cxffb");
        assert_eq!(lossless(b"C:\\temp"), "C:\\temp");
    }

    #[test]
    fn quoted_text_is_safe_on_a_terminal() {
        assert_eq!(quoted(b"\x1b[31mred\n\"", 32), r#""\x1b[31mred\n\"""#);
        assert_eq!(quoted("é".as_bytes(), 32), r#""\xc3\xa9""#);
        assert_eq!(quoted(b"abcdef", 3), r#""abc"..."#);
    }
}

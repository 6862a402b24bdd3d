//! Bytes as text for people: positions, digits, and what of them is printable ASCII. The text is safe
//! for a terminal whatever the bytes are.

use std::fmt::Write;

/// How many bytes stand in a line.
const WIDTH: usize = 16;

/// Appends the bytes as lines of sixteen.
///
/// ```
/// let mut text = String::new();
/// timecraft_udfs::hexdump::write(&mut text, b"GET / HTTP/1.1\r\n");
/// assert_eq!(text, "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n");
/// ```
pub fn write(out: &mut String, bytes: &[u8]) {
    for (line, bytes) in bytes.chunks(WIDTH).enumerate() {
        // Writing to a string cannot fail, here and below.
        let _ = write!(out, "{:08x} ", line * WIDTH);
        for at in 0..WIDTH {
            if at == WIDTH / 2 {
                out.push(' ');
            }
            match bytes.get(at) {
                Some(byte) => {
                    let _ = write!(out, " {byte:02x}");
                }
                None => out.push_str("   "),
            }
        }
        out.push_str("  |");
        out.extend(bytes.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        }));
        out.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_in_lines_of_sixteen() {
        let mut out = String::new();
        write(&mut out, b"GET / HTTP/1.1\r\n\x00\x7f|");
        assert_eq!(
            out,
            "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n\
             00000010  00 7f 7c                                          |..||\n"
        );
        out.clear();
        write(&mut out, b"");
        assert_eq!(out, "");
    }
}

//! The Huffman code of RFC 7541, appendix B, read ten bits at a time.
//!
//! The code is canonical: the codes of one length are consecutive and in the order of their symbols, so
//! the lengths alone say all of it, and the tables are made of them when this is compiled.

/// How many bits each symbol takes; the last one is the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

const END: u16 = 256;
const LONGEST: usize = 30;
/// How many bits are looked up at once: all codes of what is common in headers.
const STEP: u32 = 10;

struct Tables {
    /// For the next ten bits the symbol and, above it, the length of its code; 0 where that is longer.
    short: [u16; 1 << STEP],
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
    /// Of each length, the first code, of 32 bits with the code at the top.
    first: [u32; LONGEST + 1],
    /// Of each length, the first code that is longer, in the same form.
    limit: [u64; LONGEST + 1],
    /// Of each length, where its symbols begin.
    start: [usize; LONGEST + 1],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        short: [0; 1 << STEP],
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        limit: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
    };
    let mut code: u64 = 0;
    let mut placed = 0;
    let mut length = 1;
    while length <= LONGEST {
        tables.first[length] = code as u32;
        tables.start[length] = placed;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                tables.symbols[placed] = symbol as u16;
                placed += 1;
                if length <= STEP as usize {
                    let from = (code >> (32 - STEP)) as usize;
                    let mut i = 0;
                    while i < 1 << (STEP as usize - length) {
                        tables.short[from + i] = (length as u16) << 8 | symbol as u16;
                        i += 1;
                    }
                }
                code += 1 << (32 - length);
            }
            symbol += 1;
        }
        tables.limit[length] = code;
        length += 1;
    }
    // A complete code: no bits mean nothing.
    assert!(code == 1 << 32 && placed == LENGTHS.len());
    tables
}

/// Appends what was encoded. None where it holds the end of the string, or ends otherwise than by fewer
/// than eight bits of it (RFC 7541, section 5.2); what was appended then means nothing.
pub(super) fn decode(encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // The shortest code is of five bits.
    out.reserve(encoded.len() * 8 / 5 + 1);
    let mut rest = encoded;
    // The next bits, from the top, and how many there are.
    let mut bits: u64 = 0;
    let mut count: u32 = 0;
    loop {
        if count <= 32 {
            if let Some((four, after)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*four)) << (32 - count);
                count += 32;
                rest = after;
            } else {
                for byte in std::mem::take(&mut rest) {
                    bits |= u64::from(*byte) << (56 - count);
                    count += 8;
                }
            }
        }
        let short = TABLES.short.get((bits >> (64 - STEP)) as usize)?;
        let (symbol, length) = match short {
            0 => long((bits >> 32) as u32)?,
            short => (short & 0xff, u32::from(short >> 8)),
        };
        if length > count {
            // What is missing was read as zeros; the padding is ones.
            let padding = bits.leading_ones() == count && count < 8;
            return padding.then_some(());
        }
        out.push(u8::try_from(symbol).ok()?);
        bits <<= length;
        count -= length;
    }
}

/// The symbol of a long code at the top, and the length of that; none for the end of the string.
#[cold]
fn long(code: u32) -> Option<(u16, u32)> {
    let lengths = STEP as usize + 1..=LONGEST;
    let length = lengths
        .into_iter()
        .find(|&n| u64::from(code) < TABLES.limit[n])?;
    let ahead = (code - TABLES.first[length]) >> (32 - length);
    let symbol = *TABLES.symbols.get(TABLES.start[length] + ahead as usize)?;
    Some((symbol, length as u32)).filter(|_| symbol != END)
}

#[cfg(test)]
mod tests {
    use super::decode;

    fn text(encoded: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        decode(encoded, &mut out)?;
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn strings_of_rfc_7541_appendix_c() {
        let www = b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(text(www).as_deref(), Some("www.example.com"));
        assert_eq!(
            text(b"\xa8\xeb\x10\x64\x9c\xbf").as_deref(),
            Some("no-cache")
        );
        let date = b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff";
        assert_eq!(text(date).as_deref(), Some("Mon, 21 Oct 2013 20:13:21 GMT"));
        assert_eq!(text(b"").as_deref(), Some(""));
    }

    #[test]
    fn every_symbol_is_what_its_code_says() {
        // The codes anew, by counting: each is the one before plus one, moved to its length.
        let mut by_length: Vec<(u8, usize)> = super::LENGTHS.into_iter().zip(0..256).collect();
        by_length.sort_unstable();
        let (mut code, mut before) = (0_u64, 0_u8);
        for (length, symbol) in by_length {
            code <<= length - before;
            before = length;
            // The code, then ones to the end of a byte.
            let padding = (8 - length % 8) % 8;
            let padded = ((code + 1) << padding) - 1;
            let bytes = padded.to_be_bytes();
            let bytes = &bytes[8 - usize::from(length + padding) / 8..];
            let mut out = Vec::new();
            assert_eq!(decode(bytes, &mut out), Some(()), "{symbol}");
            assert_eq!(out, [symbol as u8]);
            code += 1;
        }
    }

    #[test]
    fn the_end_must_be_padded_with_few_ones() {
        // "0" is five zeros.
        assert_eq!(text(b"\x07").as_deref(), Some("0"));
        assert_eq!(text(b"\x06"), None, "a zero in the padding");
        assert_eq!(text(b"\x07\xff"), None, "eight bits too many");
        assert_eq!(
            text(b"\xff\xff\xff\xff"),
            None,
            "the end of the string itself"
        );
        assert_eq!(text(b"\xff\xff\xff\xfc"), None);
        assert_eq!(text(b"\xff"), None);
    }
}

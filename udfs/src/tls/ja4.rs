//! JA4, the fingerprint of a TLS client, as FoxIO published it (`technical_details/JA4.md` of
//! `FoxIO-LLC/ja4`, under the BSD 3-Clause licence). No other fingerprint of that family is here: they
//! have another licence.

use sha2::{Digest, Sha256};

use super::{ALPN, ClientHello, SERVER_NAME};

/// How much of a hash a fingerprint has, in hexadecimal digits.
const HASH_DIGITS: usize = 12;
/// The largest number that the two digits of a count say.
const MAX_COUNT: usize = 99;

impl ClientHello {
    /// The fingerprint of a client over TCP: three parts, joined with `_`.
    #[must_use]
    pub fn ja4(&self) -> String {
        let ciphers = without_grease(&self.ciphers);
        let extensions = without_grease(&self.extensions);
        let server_name = match extensions.contains(&SERVER_NAME) {
            true => 'd',
            false => 'i',
        };
        let count = |values: &[u16]| values.len().min(MAX_COUNT);
        let (ciphers_count, extensions_count) = (count(&ciphers), count(&extensions));
        let version = self.ja4_version();
        let [first, last] = self.ja4_alpn();

        let mut sorted = extensions;
        sorted.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
        sorted.sort_unstable();
        let mut listed = ciphers;
        listed.sort_unstable();
        let extensions = match sorted.is_empty() {
            true => String::new(),
            false => {
                let algorithms = without_grease(&self.signature_algorithms);
                let separator = if algorithms.is_empty() { "" } else { "_" };
                format!("{}{separator}{}", joined(&sorted), joined(&algorithms))
            }
        };
        format!(
            "t{version}{server_name}{ciphers_count:02}{extensions_count:02}{first}{last}_{}_{}",
            hash(&joined(&listed)),
            hash(&extensions),
        )
    }

    fn ja4_version(&self) -> &'static str {
        let offered = without_grease(&self.versions).into_iter().max();
        match offered.unwrap_or(self.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        }
    }

    /// The first and the last character of the first protocol; where one of them is neither a letter
    /// nor a digit, of its hexadecimal form.
    fn ja4_alpn(&self) -> [char; 2] {
        let Some([first, .., last] | [first @ last]) = self.alpn.first().map(Vec::as_slice) else {
            return ['0', '0'];
        };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            return [*first, *last].map(char::from);
        }
        let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
        [digit(first >> 4), digit(last & 15)]
    }
}

/// The values without those that clients send so that servers learn to pass over what they do not know
/// (RFC 8701).
fn without_grease(values: &[u16]) -> Vec<u16> {
    let is_grease = |value: u16| value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff;
    let all = values.iter().copied();
    all.filter(|&value| !is_grease(value)).collect()
}

fn joined(values: &[u16]) -> String {
    let all: Vec<String> = values.iter().map(|value| format!("{value:04x}")).collect();
    all.join(",")
}

fn hash(list: &str) -> String {
    if list.is_empty() {
        return "0".repeat(HASH_DIGITS);
    }
    let digest = Sha256::digest(list);
    let bytes = digest.iter().take(HASH_DIGITS / 2);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    fn example() -> ClientHello {
        ClientHello {
            version: 0x0303,
            ciphers: vec![
                0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x4a4a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x5a5a,
            ],
            server_name: Some("example.com".to_owned()),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x6a6a, 0x0304, 0x0303],
            signature_algorithms: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
        }
    }

    #[test]
    fn the_example_of_the_specification_has_its_fingerprint() {
        assert_eq!(example().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn what_is_absent_is_zeros() {
        let bare = ClientHello {
            version: 0x0301,
            ..ClientHello::default()
        };
        assert_eq!(bare.ja4(), "t10i000000_000000000000_000000000000");
        let without_algorithms = ClientHello {
            signature_algorithms: Vec::new(),
            ..example()
        };
        // The specification gives the list of extensions alone, without an underscore.
        assert_eq!(
            without_algorithms.ja4(),
            "t13d1516h2_8daaf6152771_6d807ffa2a79"
        );
    }

    #[test]
    fn a_protocol_that_is_no_text_stands_in_hexadecimal() {
        let alpn = |name: &[u8]| ClientHello {
            alpn: vec![name.to_vec()],
            ..ClientHello::default()
        };
        for (name, shown) in [
            (&b"http/1.1"[..], ['h', '1']),
            (b"h", ['h', 'h']),
            (b"\xab", ['a', 'b']),
            (b"\xab\xcd", ['a', 'd']),
            (b"\x30\xab", ['3', 'b']),
            (b"\x30\x31\xab\xcd", ['3', 'd']),
            (b"", ['0', '0']),
        ] {
            assert_eq!(alpn(name).ja4_alpn(), shown, "{name:?}");
        }
    }
}

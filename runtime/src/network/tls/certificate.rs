//! What a recording keeps of a server's certificate (RFC 5280 section 4.1).
//!
//! The certificate comes from whoever answered, and is read before anybody has verified it: nothing may
//! panic, and what is odd is kept by its digest alone. It must never decide whether one is trusted.

use std::fmt::Write;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use sha2::{Digest, Sha256};
use timecraft_segment::socket::Certificate;

// The tags of X.680 that certificates are made of.
/// The types of text that are UTF-8, or ASCII, which is.
const UTF8_STRINGS: [u8; 4] = [UTF8_STRING, NUMERIC_STRING, PRINTABLE_STRING, IA5_STRING];
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The attributes that have a short name, RFC 4514 section 3, by their identifier's bytes.
const ATTRIBUTES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
];

/// Describes a certificate in DER. Where it cannot be read, names are empty and the time is 0.
#[must_use]
pub fn describe(der: &[u8]) -> Certificate {
    let sha256 = Sha256::digest(der)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a text does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    Certificate {
        sha256,
        ..read(der).unwrap_or_default()
    }
}

fn read(der: &[u8]) -> Option<Certificate> {
    let mut certificate = Der(Der(der).value(SEQUENCE)?);
    let mut fields = Der(certificate.value(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.any()?;
    }
    let _serial_number = fields.value(INTEGER)?;
    let _signature = fields.value(SEQUENCE)?;
    let issuer = name(fields.value(SEQUENCE)?)?;
    let mut validity = Der(fields.value(SEQUENCE)?);
    let _not_before = validity.any()?;
    let (tag, not_after) = validity.any()?;
    let subject = name(fields.value(SEQUENCE)?)?;
    Some(Certificate {
        subject,
        issuer,
        sha256: String::new(),
        not_after: time(tag, not_after)?,
    })
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its value.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], mut rest) = self.0.split_first_chunk()?;
        let mut length = usize::from(length);
        if length >= 0x80 {
            let (digits, after) = rest.split_at_checked(length & 0x7f)?;
            // No certificate has 2^32 bytes, and 0 digits stand for an end that only BER knows.
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            length = digits
                .iter()
                .fold(0, |n, &digit| n << 8 | usize::from(digit));
            rest = after;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The value of the next element, which has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        match self.any()? {
            (found, value) if found == tag => Some(value),
            _ => None,
        }
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// A distinguished name as RFC 4514 writes it: the last part first.
fn name(value: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sequence = Der(value);
    while !sequence.is_done() {
        let mut set = Der(sequence.value(SET)?);
        let mut part = String::new();
        while !set.is_done() {
            if !part.is_empty() {
                part.push('+');
            }
            attribute(&mut part, set.value(SEQUENCE)?)?;
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(out: &mut String, pair: &[u8]) -> Option<()> {
    let mut pair = Der(pair);
    let identifier = pair.value(OBJECT_IDENTIFIER)?;
    let whole = pair.0;
    let (tag, value) = pair.any()?;
    let short = ATTRIBUTES.iter().find(|(known, _)| *known == identifier);
    match (short, text(tag, value)) {
        (Some((_, short)), Some(text)) => {
            out.push_str(short);
            out.push('=');
            escape(out, &text);
        }
        (short, _) => {
            match short {
                Some((_, short)) => out.push_str(short),
                None => dotted(out, identifier),
            }
            out.push_str("=#");
            for byte in whole {
                // Writing to a text does not fail.
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
    Some(())
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        _ if UTF8_STRINGS.contains(&tag) => String::from_utf8(value.to_vec()).ok(),
        // In practice Latin-1.
        TELETEX_STRING => Some(value.iter().map(|&byte| char::from(byte)).collect()),
        BMP_STRING => {
            let (units, rest) = value.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|u| u16::from_be_bytes(*u)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4; control characters too, since who made the certificate chose them.
fn escape(out: &mut String, text: &str) {
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // Writing to a text does not fail.
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            c => out.push(c),
        }
    }
}

/// An identifier as numbers with dots: X.690 section 8.19.
fn dotted(out: &mut String, identifier: &[u8]) {
    let mut number = 0u128;
    let mut first = true;
    for byte in identifier {
        number = number << 7 | u128::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let written = match std::mem::take(&mut first) {
                true => {
                    let root = (number / 40).min(2);
                    write!(out, "{root}.{}", number - 40 * root)
                }
                false => write!(out, ".{number}"),
            };
            // Writing to a text does not fail.
            let _ = written;
            number = 0;
        }
    }
}

/// Seconds since 1970 of a time of RFC 5280 section 4.1.2.5.
fn time(tag: u8, value: &[u8]) -> Option<i64> {
    let digits = value.strip_suffix(b"Z")?;
    let number = |at: usize, length: usize| {
        let digits = digits.get(at..at + length)?;
        let decimal = |n: i16, d: &u8| d.is_ascii_digit().then(|| n * 10 + i16::from(d - b'0'));
        digits.iter().try_fold(0, decimal)
    };
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(0, 2)? {
            year @ 50.. => (1900 + year, 2),
            year => (2000 + year, 2),
        },
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |i: usize| i8::try_from(number(at + 2 * i, 2)?).ok();
    let time = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some(Offset::UTC.to_timestamp(time).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(not_after: i32, subject: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.not_after = date_time_ymd(not_after, 1, 2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn names_and_times_are_read() {
        let der = certificate(
            2030,
            &[
                (
                    DnType::CountryName,
                    DnValue::PrintableString("CH".try_into().unwrap()),
                ),
                (DnType::OrganizationName, utf8("A, B + \"C\"")),
                (DnType::CommonName, utf8("#é\n ")),
                (
                    DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
                    utf8("a@b"),
                ),
            ],
        );
        let found = describe(&der);
        let expected = r#"1.2.840.113549.1.9.1=#0c03614062,CN=\#é\0A\ ,O=A\, B \+ \"C\",C=CH"#;
        assert_eq!(found.subject, expected);
        assert_eq!(found.issuer, expected);
        // date -u -d 2030-01-02 +%s
        assert_eq!(found.not_after, 1_893_542_400);
        assert_eq!(found.sha256.len(), 64);
        // date -u -d 2060-01-02 +%s: in the other form of time.
        assert_eq!(describe(&certificate(2060, &[])).not_after, 2_840_227_200);
    }

    #[test]
    fn what_is_no_certificate_has_its_digest() {
        let found = describe(b"");
        assert_eq!(
            found.sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!((found.subject.as_str(), found.not_after), ("", 0));
    }

    proptest! {
        #[test]
        fn damaged_certificates_are_described(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
            let mut der = certificate(2030, &[(DnType::CommonName, utf8("a"))]);
            let length = der.len();
            der[at % length] = byte;
            let _ = describe(&der[..length - cut % length]);
        }

        #[test]
        fn whatever_comes_is_described(bytes: Vec<u8>) {
            let _ = describe(&bytes);
        }
    }
}

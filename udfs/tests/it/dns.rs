//! DNS messages, as far as name lookups need them.

use proptest::prelude::*;
use timecraft_udfs::dns::{Message, Parsed, parse};

/// A message with one question for an IPv4 address.
fn message(flags: u16, answers: u16, name: &[u8], rest: &[u8]) -> Vec<u8> {
    let counts = [1, answers, 0, 0].map(u16::to_be_bytes).concat();
    let header = [&b"\x12\x34"[..], &flags.to_be_bytes(), &counts].concat();
    [&header, name, b"\0\x01\0\x01", rest].concat()
}

fn addresses(bytes: &[u8]) -> Message {
    match parse(bytes) {
        Parsed::Addresses(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_followed_and_answers_collected() {
    let answers = [
        &b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x10"[..],
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
        b"\x01a\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
    ]
    .concat();
    let found = addresses(&message(0x8180, 3, b"\x03Www\x02go\0", &answers));
    assert_eq!((found.name.as_str(), found.response), ("www.go", true));
    let texts: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["1.2.3.4", "2001:db8::1"]);
    assert_eq!(found.error, None);
}

#[test]
fn labels_may_hold_anything() {
    assert_eq!(
        addresses(&message(0, 0, b"\x03A.b\x01\xff\0", b"")).name,
        "a\\.b.\\xff"
    );
    assert_eq!(addresses(&message(0, 0, b"\0", b"")).name, "");
}

#[test]
fn errors_have_names() {
    for (flags, error) in [
        (0x8180, None),
        (0x8183, Some("NXDOMAIN")),
        (0x8182, Some("SERVFAIL")),
        (0x8189, Some("RCODE9")),
        (0x8380, Some("truncated")),
        // A question has none.
        (0x0103, None),
    ] {
        let found = addresses(&message(flags, 0, b"\x01a\0", b""));
        assert_eq!(found.error.as_deref(), error, "{flags:x}");
    }
}

#[test]
fn a_name_that_never_ends_and_a_message_that_is_cut_are_malformed() {
    for name in [
        // It names itself, what is after it, and each other.
        &b"\xc0\x0c"[..],
        b"\xc0\x0e\x01a\0",
        b"\x01a\xc0\x0c",
        b"\x40a\0",
        b"\x05ab",
        &[b'\x3f'; 300],
    ] {
        let mut bytes = message(0, 0, name, b"");
        if name == b"\x05ab" {
            bytes.truncate(14);
        }
        assert_eq!(parse(&bytes), Parsed::Malformed, "{name:?}");
    }
    let whole = message(
        0x8180,
        1,
        b"\x01a\0",
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
    );
    assert_eq!(addresses(&whole).addresses.len(), 1);
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), Parsed::Malformed, "{length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"\0\0\x80\0\0\x01\0\xff\0\0\0\0", &bytes[..]].concat());
    }
}

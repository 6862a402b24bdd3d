//! The examples of RFC 7541, appendix C, and what is malformed.
#![allow(clippy::unwrap_used)]

use super::{Error, Field, Hpack, Kind, MAX_FIELD, MAX_FIELDS, MAX_TABLE};

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<char> = hexadecimal.chars().filter(|c| !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    pairs.map(|p| u8::from_str_radix(&p, 16).unwrap()).collect()
}

fn shown(field: Field<'_>) -> String {
    let text = |part: Option<&[u8]>| {
        part.map_or_else(
            || "?".to_owned(),
            |p| String::from_utf8_lossy(p).into_owned(),
        )
    };
    format!("{}: {}", text(field.name), text(field.value))
}

fn read(hpack: &mut Hpack, block: &[u8]) -> Result<Vec<String>, Error> {
    let mut fields = Vec::new();
    hpack.read(block, |field| fields.push(shown(field)))?;
    Ok(fields)
}

#[track_caller]
fn check(hpack: &mut Hpack, block: &str, expected: &[&str]) {
    assert_eq!(read(hpack, &bytes(block)).unwrap(), expected);
}

#[test]
fn fields_of_rfc_7541_c_2() {
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(
        &mut Hpack::default(),
        custom,
        &["custom-key: custom-header"],
    );
    let path = "040c 2f73 616d 706c 652f 7061 7468";
    check(&mut Hpack::default(), path, &[":path: /sample/path"]);
    let secret = "1008 7061 7373 776f 7264 0673 6563 7265 74";
    check(&mut Hpack::default(), secret, &["password: secret"]);
    check(&mut Hpack::default(), "82", &[":method: GET"]);
}

const REQUESTS: [&[&str]; 3] = [
    &[
        ":method: GET",
        ":scheme: http",
        ":path: /",
        ":authority: www.example.com",
    ],
    &[
        ":method: GET",
        ":scheme: http",
        ":path: /",
        ":authority: www.example.com",
        "cache-control: no-cache",
    ],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

#[test]
fn requests_of_rfc_7541_c_3() {
    let mut hpack = Hpack::default();
    check(
        &mut hpack,
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        REQUESTS[0],
    );
    check(
        &mut hpack,
        "8286 84be 5808 6e6f 2d63 6163 6865",
        REQUESTS[1],
    );
    check(
        &mut hpack,
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        REQUESTS[2],
    );
}

#[test]
fn requests_of_rfc_7541_c_4() {
    let mut hpack = Hpack::default();
    check(
        &mut hpack,
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        REQUESTS[0],
    );
    check(&mut hpack, "8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1]);
    check(
        &mut hpack,
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        REQUESTS[2],
    );
}

#[test]
fn responses_of_rfc_7541_c_6_with_evictions() {
    let mut hpack = Hpack::default();
    // The table of 256 bytes that the example has.
    check(&mut hpack, "3fe1 01", &[]);
    let first = [
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    check(
        &mut hpack,
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        &first,
    );
    let second = [&[":status: 307"], &first[1..]].concat();
    check(&mut hpack, "4883 640e ffc1 c0bf", &second);
    check(
        &mut hpack,
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad \
         94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 \
         65c0 03ed 4ee5 b106 3d50 07",
        &[
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            "location: https://www.example.com",
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ],
    );
}

#[track_caller]
fn refused(hpack: &mut Hpack, block: &str, at: usize, kind: Kind) {
    assert_eq!(read(hpack, &bytes(block)), Err(Error { at, kind }));
}

#[test]
fn what_is_malformed_says_where() {
    let mut hpack = Hpack::default();
    refused(&mut hpack, "82 80", 1, Kind::Index(0));
    refused(&mut hpack, "82 be", 1, Kind::Index(62));
    refused(&mut hpack, "7f 00 01 61", 0, Kind::Index(63));
    refused(&mut hpack, "82 41 05 61", 1, Kind::Cut);
    refused(&mut hpack, "ff", 0, Kind::Cut);
    refused(&mut hpack, "ff ff ff ff ff ff 01", 0, Kind::Number);
    refused(&mut hpack, "ff ff ff ff ff 7f", 0, Kind::Number);
    refused(&mut hpack, "41 81 00", 0, Kind::Huffman);
    refused(&mut hpack, "82 20", 1, Kind::LateSize);
    refused(&mut hpack, "3f e2 1f", 0, Kind::TableSize(4097));
    assert_eq!(
        Error {
            at: 1,
            kind: Kind::Index(62)
        }
        .to_string(),
        "index 62, which no table has, at byte 1 of the header block"
    );
}

#[test]
fn a_name_outlives_the_entry_that_it_evicts() {
    let mut hpack = Hpack::default();
    // Room for one entry: "a: b" costs 34.
    check(&mut hpack, "3f 05", &[]);
    check(&mut hpack, "40 01 61 01 62", &["a: b"]);
    check(&mut hpack, "7e 02 63 64", &["a: cd"]);
    check(&mut hpack, "be", &["a: cd"]);
    // Too big for the table, which is empty then.
    check(&mut hpack, "7e 04 65 65 65 65", &["a: eeee"]);
    refused(&mut hpack, "be", 0, Kind::Index(62));
}

#[test]
fn fields_of_entries_from_before_are_said_to_be_unknown() {
    let mut hpack = Hpack::midstream();
    // One that is new, one from before it, and one whose name alone is from before.
    check(
        &mut hpack,
        "40 01 61 01 62 be bf 7f 00 01 63",
        &["a: b", "a: b", "?: ?", "?: c"],
    );
    check(&mut hpack, "be bf", &["?: c", "a: b"]);
    // With a table of nothing, nothing is from before.
    check(&mut hpack, "20", &[]);
    refused(&mut hpack, "be", 0, Kind::Index(62));
}

#[test]
fn what_is_too_long_is_left_out_and_counted() {
    let long = vec![b'x'; MAX_FIELD];
    let mut block = bytes("00 01 61 7f 81 ff 03");
    block.extend(&long);
    block.push(0x82);
    let mut hpack = Hpack::default();
    let mut fields = Vec::new();
    let said = hpack.read(&block, |f| fields.push(shown(f))).unwrap();
    assert_eq!(
        (said.left_out, fields),
        (1, vec![":method: GET".to_owned()])
    );

    // A small block of references to an entry of nearly 4 KiB.
    let mut bomb = bytes("40 01 61 7f c1 1d");
    bomb.extend(&long[..0x7f + (0x1d << 7) + 0x41]);
    bomb.extend([0xbe; 16 << 10]);
    let mut size = 0;
    let said = hpack
        .read(&bomb, |f| size += f.value.unwrap().len())
        .unwrap();
    assert!(
        size <= MAX_FIELDS && said.left_out > 16_000,
        "{size} {said:?}"
    );
}

#[test]
fn a_table_beyond_what_is_kept_has_unknown_entries() {
    let mut hpack = Hpack::default();
    hpack.allow(1 << 20);
    let said = hpack.read(&bytes("3f e1 ff 3f"), |_| ()).unwrap();
    assert!(said.beyond_table);
    let mut block = bytes("40 01 61 7f 80 7e");
    block.extend(vec![b'x'; 0x7f + (0x7e << 7)]);
    for _ in 0..MAX_TABLE / (16 << 10) + 1 {
        read(&mut hpack, &block).unwrap();
    }
    check(&mut hpack, "c2", &["?: ?"]);
}

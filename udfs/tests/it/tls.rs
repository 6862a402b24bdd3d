//! What TLS shows in the clear, alone and over connections.

use std::convert::Infallible;

use proptest::prelude::*;
use timecraft_segment::testing::process_start;
use timecraft_udfs::connections::{Connection, Connections, Event, Oddity, Protocol, Tls};
use timecraft_udfs::tls::{First, MAX_HELLO_BYTES, first, version_name};

use crate::calls::*;
use crate::socket_calls::*;

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(value)].concat()
}

/// A handshake message in records of so many bytes.
fn records_of(kind: u8, body: &[u8], size: usize) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[kind][..], &length[1..], body].concat();
    let pieces = message.chunks(size.max(1));
    let record = |piece: &[u8]| [&[22, 3, 1][..], &vector16(piece)].concat();
    pieces.flat_map(record).collect()
}

fn client_hello(size: usize) -> Vec<u8> {
    let name = [&[0][..], &vector16(b"example.com")].concat();
    let extensions = [
        extension(0, &vector16(&name)),
        extension(16, &vector16(b"\x02h2\x08http/1.1")),
        extension(13, &vector16(&[4, 3, 8, 4])),
        extension(43, &[4, 3, 4, 3, 3]),
    ]
    .concat();
    let body = [
        &b"\x03\x03"[..],
        &[7; 32],
        b"\x01s",
        &vector16(&[0x13, 1, 0xc0, 0x2b]),
        b"\x01\0",
        &vector16(&extensions),
    ]
    .concat();
    records_of(1, &body, size)
}

fn server_hello(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &b"\x03\x03"[..],
        &[9; 32],
        b"\0\x13\x01\0",
        &vector16(extensions),
    ]
    .concat();
    records_of(2, &body, 1 << 14)
}

const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";

/// The sessions and the oddities of one connection over which these bytes went.
fn sessions(parts: &[(bool, &[u8])]) -> (Vec<Tls>, Vec<Oddity>, Option<Protocol>) {
    let mut calls = vec![open_socket(TCP, 4), connect(4, "1.1.1.1:443")];
    for (sent, bytes) in parts {
        calls.push(match sent {
            true => send(4, bytes, bytes.len()),
            false => receive(4, bytes),
        });
    }
    calls.push(close(4));
    let (mut sessions, mut oddities, mut protocol) = (Vec::new(), Vec::new(), None);
    let mut connections = Connections::at_start(&process_start());
    for record in record(&calls).iter() {
        let Ok(()) = connections.apply(&record, |event| {
            match event {
                Event::Tls(tls) => sessions.push(tls),
                Event::Warning(warning) => oddities.push(warning.oddity),
                Event::Closed(closed) => protocol = closed.protocol,
                _ => {}
            }
            Ok::<(), Infallible>(())
        });
    }
    (sessions, oddities, protocol)
}

#[test]
fn a_handshake_shows_what_was_offered_and_chosen() {
    let server = server_hello(&extension(43, &[3, 4]));
    let hello = client_hello(100);
    let (sessions, oddities, protocol) = sessions(&[(true, &hello), (false, &server)]);
    let [tls] = &sessions[..] else {
        panic!("{sessions:?}");
    };
    assert_eq!((tls.connection, tls.offset, tls.offloaded), (2, 3, false));
    assert_eq!(tls.version.as_deref(), Some("1.3"));
    assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
    assert_eq!(tls.server_name.as_deref(), Some("example.com"));
    assert!(
        tls.ja4.as_ref().unwrap().starts_with("t13d0204h2_"),
        "{tls:?}"
    );
    assert_eq!((&tls.alpn, &tls.error), (&None, &None));
    assert_eq!((oddities, protocol), (vec![], Some(Protocol::Tls)));
}

#[test]
fn before_1_3_the_server_says_its_protocol_in_the_clear() {
    let server = server_hello(&extension(16, &vector16(b"\x02h2")));
    let (sessions, ..) = sessions(&[(true, &client_hello(1000)), (false, &server)]);
    assert_eq!(sessions[0].version.as_deref(), Some("1.2"));
    assert_eq!(sessions[0].alpn.as_deref(), Some("h2"));
}

#[test]
fn a_refusal_and_silence_are_sessions_too() {
    let (refused, ..) = sessions(&[(true, &client_hello(1000)), (false, ALERT)]);
    assert_eq!(refused[0].error.as_deref(), Some("alert handshake_failure"));
    assert!(refused[0].ja4.is_some() && refused[0].version.is_none());
    let (silent, ..) = sessions(&[(true, &client_hello(1000))]);
    assert_eq!(silent.len(), 1);
    assert_eq!((&silent[0].version, &silent[0].error), (&None, &None));
}

#[test]
fn what_is_no_handshake_is_odd_or_something_else() {
    // A record of a handshake with a message that is no hello.
    let odd = records_of(99, b"what", 100);
    let (sessions_, oddities, protocol) = sessions(&[(true, &odd)]);
    assert_eq!((sessions_.len(), oddities), (0, vec![Oddity::TlsMalformed]));
    assert_eq!(protocol, Some(Protocol::Tls));
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], Some(Protocol::Http)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::H2)),
        (b"*1\r\n$4\r\nPING\r\n", None),
        (b"\x16\x04", None),
    ] {
        let (sessions_, oddities, protocol) = sessions(&[(true, bytes)]);
        assert_eq!(
            (sessions_.len(), oddities.len(), protocol),
            (0, 0, expected)
        );
    }
    // One that says at once what it is needs no room, which unfinished handshakes have taken.
    let whole = records_of(1, &[0; 30_000], 1 << 14);
    let unfinished = &whole[..whole.len() - 1];
    let many = 300;
    let mut calls = Vec::new();
    for fd in 4..4 + many {
        calls.extend([
            open_socket(TCP, fd),
            connect(fd, "1.1.1.1:443"),
            send(fd, unfinished, unfinished.len()),
        ]);
    }
    // More than the room that is left behind the last that fitted.
    let plain = [&b"POST / HTTP/1.1\r\n\r\n"[..], &[0; 30_000]].concat();
    calls.extend([
        open_socket(TCP, 3),
        connect(3, "1.1.1.1:80"),
        send(3, &plain, plain.len()),
    ]);
    let mut connections = Connections::at_start(&process_start());
    for record in record(&calls).iter() {
        let Ok(()) = connections.apply(&record, |_| Ok::<(), Infallible>(()));
    }
    let not_followed = |c: &&Connection| c.oddities.contains(&Oddity::TlsNotFollowed);
    assert!(connections.open().filter(not_followed).count() > 0);
    let plain = connections.of_descriptor(3).next().unwrap();
    assert_eq!(
        (plain.protocol, plain.oddities.len()),
        (Some(Protocol::Http), 0)
    );
    // One that never ends is given up.
    let endless = records_of(1, &vec![0; MAX_HELLO_BYTES], 1 << 14);
    assert_eq!(first(&endless), First::Malformed);
}

#[test]
fn versions_have_names() {
    let names = [0x0300, 0x0301, 0x0304, 0x7f1c].map(version_name);
    assert_eq!(names, ["ssl3", "1.0", "1.3", "0x7f1c"]);
}

proptest! {
    /// However a hello is cut into records and sends, it is the same; each prefix says how far to go.
    #[test]
    fn any_split_is_the_same_session(size in 1..300_usize, cuts in prop::collection::vec(0..600_usize, 0..6)) {
        let hello = client_hello(size);
        let whole = first(&hello);
        prop_assert_eq!(&whole, &first(&client_hello(1000)));
        prop_assert!(matches!(whole, First::Client(_)));
        for length in 0..hello.len() {
            match first(&hello[..length]) {
                First::Incomplete(needed) => prop_assert!(length < needed && needed <= hello.len()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(hello.len())).collect();
        cuts.extend([0, hello.len()]);
        cuts.sort_unstable();
        let parts: Vec<(bool, &[u8])> = cuts.windows(2).map(|w| (true, &hello[w[0]..w[1]])).collect();
        let (sessions, ..) = sessions(&[&parts[..], &[(false, ALERT)]].concat());
        prop_assert_eq!(sessions.len(), 1);
        prop_assert!(sessions[0].ja4.is_some());
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), tls in any::<bool>()) {
        if tls {
            bytes.splice(0..0, [22, 3, 1, 0, 60, 1, 0, 0, 56]);
        }
        let _ = first(&bytes);
    }
}

//! HTTP/2, from bytes that are written here.

use proptest::collection::vec;
use proptest::prelude::*;
use timecraft_udfs::http::Http;
use timecraft_udfs::http::h2::MAX_STREAMS;
use timecraft_udfs::http::{Exchange, Framing, Headers, Messages, Oddity, Version};
use timecraft_udfs::protocol::Direction::{Received, Sent};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const BOTH: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields that are kept in no table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for part in [name, value] {
            assert!(part.len() < 127);
            block.push(part.len() as u8);
            block.extend(part.as_bytes());
        }
    }
    block
}

fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "example.com"),
    ])
}

fn status(status: &str) -> Vec<u8> {
    block(&[(":status", status)])
}

/// What goes each way, in turn.
type Talk = Vec<(Direction, Vec<u8>)>;

/// A connection whose guest is the client, after its beginning.
fn talk(more: &[(Direction, Vec<u8>)]) -> Talk {
    let mut talk = vec![
        (Sent, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Received, frame(SETTINGS, 0, 0, &[])),
        (Received, frame(SETTINGS, 1, 0, &[])),
        (Sent, frame(SETTINGS, 1, 0, &[])),
    ];
    talk.extend_from_slice(more);
    talk
}

/// What is found, with pieces of at most so many bytes, and the state saved after each one or never.
fn decoded(talk: &Talk, piece: usize, saved: bool) -> Vec<Found<Exchange>> {
    let opening = Opening {
        transport: None,
        local: None,
        peer: None,
        midstream: false,
    };
    let mut h2 = Http::begin(opening).unwrap();
    let mut room = Room::new(1 << 16, 1 << 20);
    let full = room;
    let mut out = Vec::new();
    for (i, (direction, bytes)) in talk.iter().enumerate() {
        let at = At {
            offset: i as u64,
            time_ns: i as u64 * 10,
            end_ns: i as u64 * 10 + 1,
        };
        for bytes in bytes.chunks(piece) {
            let piece = Piece {
                at,
                direction: *direction,
                bytes,
            };
            h2.data(piece, &mut room, &mut out);
            if saved {
                let state = serde_json::to_vec(&h2).unwrap();
                h2 = serde_json::from_slice(&state).unwrap();
            }
        }
    }
    let at = At::default();
    h2.end(Sent, at, &mut room, &mut out);
    h2.end(Received, at, &mut room, &mut out);
    let open = h2.in_flight();
    let before = out.len();
    h2.close(at, &mut room, &mut out);
    assert_eq!(
        rows(&out[before..]),
        open,
        "what is in flight is what is given"
    );
    assert_eq!(room, full, "all room is given back");
    out
}

fn rows(found: &[Found<Exchange>]) -> Vec<Exchange> {
    let row = |found: &Found<Exchange>| match found {
        Found::Row(row) => Some(row.clone()),
        Found::Odd(_) => None,
    };
    found.iter().filter_map(row).collect()
}

fn odd(found: &[Found<Exchange>]) -> Vec<String> {
    let odd = |found: &Found<Exchange>| match found {
        Found::Odd(odd) => Some(format!("{} {}", odd.name, odd.detail)),
        Found::Row(_) => None,
    };
    found.iter().filter_map(odd).collect()
}

/// What is found, which no split of the bytes may change.
#[track_caller]
fn decode(talk: &Talk) -> (Vec<Exchange>, Vec<String>) {
    let found = decoded(talk, usize::MAX, false);
    for piece in [1, 2, 3, 7, 10, 64] {
        assert_eq!(decoded(talk, piece, false), found, "pieces of {piece}");
    }
    assert_eq!(decoded(talk, 5, true), found, "saved");
    (rows(&found), odd(&found))
}

fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().collect()
}

#[test]
fn streams_interleave_and_each_is_an_exchange() {
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/b"),
        ("content-length", "5"),
    ]);
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, BOTH, 1, &get("/a"))),
        (Sent, frame(HEADERS, END_HEADERS, 3, &post)),
        (Sent, frame(DATA, PADDED, 3, b"\x02he\0\0")),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("103"))),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("200"))),
        (Sent, frame(DATA, END_STREAM, 3, b"llo")),
        (Received, frame(HEADERS, BOTH, 3, &status("204"))),
        (Received, frame(DATA, 0, 1, b"body")),
        (Received, frame(PING, 0, 0, &[0; 8])),
        (Received, frame(99, 0, 7, b"an extension")),
        (Received, frame(HEADERS, BOTH, 1, &block(&[("x-sum", "1")]))),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    let [b, a] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!((a.number, a.stream, a.version), (0, Some(1), Version::H2));
    assert_eq!((b.number, b.stream), (1, Some(3)));
    assert!(a.complete && b.complete);
    let request = a.request.as_ref().unwrap();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/a")
    );
    assert_eq!(request.authority.as_deref(), Some("example.com"));
    assert_eq!(request.at.offset, 4);
    let response = a.response.as_ref().unwrap();
    assert_eq!((response.status, response.body.size), (200, 4));
    assert_eq!(response.body.framing, Framing::H2);
    assert_eq!(response.body.kept, b"body");
    assert_eq!(pairs(&response.trailers), [("x-sum", "1")]);
    assert_eq!((response.at.offset, response.end.unwrap().offset), (8, 14));
    assert_eq!(a.informational[0].status, 103);
    let body = &b.request.as_ref().unwrap().body;
    assert_eq!((body.kept.as_slice(), body.size), (&b"hello"[..], 5));
    assert_eq!(b.response.as_ref().unwrap().body.framing, Framing::None);
}

#[test]
fn a_block_goes_on_in_continuations() {
    let get = get("/long");
    let (a, b) = get.split_at(9);
    let mut padded = vec![3, 0, 0, 0, 0, 7];
    padded.extend(a);
    padded.extend([0; 3]);
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, END_STREAM | PADDED | 0x20, 1, &padded)),
        (Sent, frame(CONTINUATION, 0, 1, b"")),
        (Sent, frame(CONTINUATION, END_HEADERS, 1, b)),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    assert_eq!(rows[0].request.as_ref().unwrap().target, "/long");
    assert!(rows[0].request.as_ref().unwrap().end.is_some() && !rows[0].complete);
}

#[test]
fn messages_of_grpc_are_counted() {
    let call = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/s/m"),
        ("content-type", "application/grpc"),
    ]);
    let answer = block(&[
        (":status", "200"),
        ("content-type", "application/grpc+proto"),
    ]);
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, END_HEADERS, 1, &call)),
        (Sent, frame(DATA, 0, 1, b"\0\0\0\0\x03abc\0\0\0\0\0\0\0")),
        (Sent, frame(DATA, END_STREAM, 1, b"\0\0\x02de")),
        (Received, frame(HEADERS, END_HEADERS, 1, &answer)),
        (Received, frame(DATA, 0, 1, b"\0\0\0\0\x04ab")),
        (
            Received,
            frame(HEADERS, BOTH, 1, &block(&[("grpc-status", "13")])),
        ),
    ]));
    let counted = Messages {
        client_count: 3,
        client_bytes: 5,
        server_count: 0,
        server_bytes: 0,
    };
    assert_eq!(rows[0].messages, Some(counted));
    assert_eq!(rows[0].warnings, [Oddity::GrpcMessageCut]);
    assert_eq!(odd.len(), 1);
    let response = rows[0].response.as_ref().unwrap();
    assert_eq!(response.trailers.get("grpc-status"), Some("13"));
}

fn websocket() -> Vec<u8> {
    block(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "example.com"),
    ])
}

#[test]
fn messages_of_websocket_are_counted() {
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, END_HEADERS, 1, &websocket())),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("200"))),
        (Sent, frame(DATA, 0, 1, b"\x81\x83mask")),
        (Sent, frame(DATA, 0, 1, b"abc\x82\x80mask")),
        (Received, frame(DATA, 0, 1, b"\x01\x02hi\x89\0\x80\x01!")),
        (Received, frame(DATA, END_STREAM, 1, b"\x88\0")),
        (Sent, frame(DATA, END_STREAM, 1, b"\x88\x80mask")),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    let counted = Messages {
        client_count: 2,
        client_bytes: 3,
        server_count: 1,
        server_bytes: 3,
    };
    assert_eq!(rows[0].messages, Some(counted));
    assert_eq!(rows[0].upgrade.as_deref(), Some("websocket"));
    assert!(rows[0].complete);
}

#[test]
fn frames_of_websocket_that_cannot_be_are_odd() {
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, END_HEADERS, 1, &websocket())),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("200"))),
        (Sent, frame(DATA, 0, 1, b"\x81\x01a")),
        (Received, frame(DATA, 0, 1, b"\x82\x7f\xff\0\0\0\0\0\0\0")),
        (Received, frame(DATA, 0, 1, b"more")),
    ]));
    assert_eq!(rows[0].warnings, [Oddity::BadWebSocketFrame]);
    assert_eq!(odd.len(), 1);
    let error = rows[0].error.as_deref().unwrap();
    assert!(error.starts_with("received byte "), "{error}");
    assert!(
        error.ends_with(": a frame of WebSocket has no length"),
        "{error}"
    );
    assert_eq!(rows[0].response.as_ref().unwrap().body.size, 14);
}

#[test]
fn a_websocket_that_is_refused_has_no_messages() {
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, END_HEADERS, 1, &websocket())),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("403"))),
        (Received, frame(DATA, END_STREAM, 1, b"no")),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    assert_eq!((rows[0].messages, rows[0].upgrade.as_deref()), (None, None));
}

#[test]
fn events_are_counted_unless_they_are_in_a_coding() {
    let answer = |more: &[(&'static str, &'static str)]| {
        let fields = [
            (":status", "200"),
            ("content-type", "text/event-stream; charset=utf-8"),
        ];
        block(&[&fields, more].concat())
    };
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, BOTH, 1, &get("/events"))),
        (Received, frame(HEADERS, END_HEADERS, 1, &answer(&[]))),
        (
            Received,
            frame(DATA, PADDED, 1, b"\x02data: one\n\ndata: t\0\0"),
        ),
        (Received, frame(DATA, 0, 1, b"wo\n\n")),
        (Received, frame(DATA, END_STREAM, 1, b"data: cut")),
        (Sent, frame(HEADERS, BOTH, 3, &get("/events"))),
        (
            Received,
            frame(
                HEADERS,
                END_HEADERS,
                3,
                &answer(&[("content-encoding", "gzip")]),
            ),
        ),
        (Received, frame(DATA, END_STREAM, 3, b"data: x\n\n")),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    let counted = Messages {
        server_count: 2,
        server_bytes: 6,
        ..Messages::default()
    };
    assert_eq!(rows[0].messages, Some(counted));
    assert_eq!(rows[1].messages, None);
}

#[test]
fn what_a_server_pushes_is_an_exchange() {
    let mut promise = 2_u32.to_be_bytes().to_vec();
    promise.extend(get("/style.css"));
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, BOTH, 1, &get("/"))),
        (Received, frame(PUSH, END_HEADERS, 1, &promise)),
        (Received, frame(HEADERS, BOTH, 1, &status("200"))),
        (Received, frame(HEADERS, END_HEADERS, 2, &status("200"))),
        (Received, frame(DATA, END_STREAM, 2, b"a {}")),
    ]));
    assert_eq!(odd, Vec::<String>::new());
    assert_eq!((rows[1].stream, rows[1].complete), (Some(2), true));
    assert_eq!(rows[1].request.as_ref().unwrap().target, "/style.css");
    assert_eq!(rows[1].response.as_ref().unwrap().body.size, 4);
}

#[test]
fn a_reset_ends_a_stream_and_what_comes_late_is_not_wrong() {
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, BOTH, 1, &get("/"))),
        (Sent, frame(RST, 0, 1, &8_u32.to_be_bytes())),
        (Received, frame(HEADERS, END_HEADERS, 1, &status("200"))),
        (Received, frame(DATA, END_STREAM, 1, b"late")),
        (Received, frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x02bad luck")),
    ]));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].warnings, [Oddity::H2Reset]);
    assert_eq!(
        odd,
        [
            "http2_reset sent byte 111, stream 1: RST_STREAM, CANCEL",
            "http2_goaway received byte 53: GOAWAY, INTERNAL_ERROR bad luck",
        ]
    );
}

#[test]
fn after_a_block_that_cannot_be_read_data_is_still_counted() {
    let (rows, odd) = decode(&talk(&[
        (Sent, frame(HEADERS, BOTH, 1, &get("/"))),
        (Sent, frame(HEADERS, BOTH, 3, &get("/two"))),
        (
            Received,
            frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        ),
        (Received, frame(DATA, END_STREAM, 1, b"12345")),
        (Received, frame(HEADERS, END_HEADERS, 3, &status("200"))),
        (Received, frame(DATA, END_STREAM, 3, b"123")),
    ]));
    assert_eq!(
        rows[0].error.as_deref(),
        Some("received byte 18: a number that is too big at byte 0 of the header block")
    );
    assert_eq!(
        rows[1].error.as_deref(),
        Some("received byte 48: an earlier header block was lost, and this one needs its table")
    );
    assert_eq!(rows[0].response.as_ref().unwrap().body.size, 5);
    assert_eq!(rows[1].response.as_ref().unwrap().body.size, 3);
    assert!(
        odd.iter()
            .all(|odd| odd.starts_with("http2_bad_header_block"))
    );
    assert_eq!(odd.len(), 2);
}

/// The names of what is odd in a request.
#[track_caller]
fn odd_request(fields: &[(&str, &str)]) -> Vec<&'static str> {
    let (rows, _) = decode(&talk(&[(Sent, frame(HEADERS, BOTH, 1, &block(fields)))]));
    rows[0].warnings.iter().map(|odd| odd.name()).collect()
}

#[test]
fn malformed_requests_are_odd() {
    let [method, scheme, path] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let fine = [method, scheme, path];
    let with = |more: &[(&'static str, &'static str)]| [&fine, more].concat();
    assert!(odd_request(&fine).is_empty());
    assert!(odd_request(&with(&[("te", "trailers")])).is_empty());
    assert_eq!(
        odd_request(&[method, scheme]),
        ["http2_missing_pseudo_field"]
    );
    assert_eq!(odd_request(&with(&[("X", "1")])), ["http2_upper_case_name"]);
    assert_eq!(
        odd_request(&with(&[("connection", "close"), ("te", "gzip")])),
        ["http2_connection_field"]
    );
    assert_eq!(
        odd_request(&[method, scheme, ("a", "b"), path]),
        ["http2_bad_pseudo_field"]
    );
    assert_eq!(odd_request(&with(&[path])), ["http2_bad_pseudo_field"]);
    assert_eq!(
        odd_request(&with(&[("content-length", "3")])),
        ["http2_content_length_disagrees"]
    );
}

#[test]
fn an_answer_in_http_1_leaves_the_request_without_one() {
    let (rows, odd) = decode(&vec![
        (Sent, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Sent, frame(HEADERS, BOTH, 1, &get("/"))),
        (Received, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ]);
    assert!(rows[0].response.is_none());
    assert!(odd[0].starts_with("http2_answered_in_http1"), "{odd:?}");
}

#[test]
fn the_oldest_of_too_many_streams_is_given_up() {
    let streams = (0..=MAX_STREAMS as u32).map(|i| i * 2 + 1);
    let requests: Vec<u8> = streams
        .flat_map(|id| frame(HEADERS, BOTH, id, &get("/")))
        .collect();
    let found = decoded(&talk(&[(Sent, requests)]), usize::MAX, false);
    let (rows, odd) = (rows(&found), odd(&found));
    assert_eq!(rows.len(), MAX_STREAMS + 1);
    assert_eq!(rows[0].warnings, [Oddity::H2TooManyStreams]);
    assert_eq!((odd.len(), rows[0].stream), (1, Some(1)));
}

#[test]
fn a_server_may_be_heard_before_the_preface() {
    let settings = frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64");
    let (rows, odd) = decode(&vec![
        (Received, settings),
        (Received, frame(PING, 0, 0, &[0; 8])),
        (Sent, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Sent, frame(HEADERS, BOTH, 1, &get("/"))),
        (Received, frame(HEADERS, BOTH, 1, &status("204"))),
    ]);
    assert_eq!(odd, Vec::<String>::new());
    assert!(rows[0].complete);
    assert_eq!(rows[0].response.as_ref().unwrap().status, 204);
}

#[test]
fn settings_that_answer_http_1_are_none() {
    let (rows, odd) = decode(&vec![
        (Received, frame(SETTINGS, 0, 0, &[])),
        (Sent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (Received, frame(GOAWAY, 0, 0, &[0; 8])),
    ]);
    assert_eq!(odd, ["http_bad_start_line "]);
    assert_eq!(
        rows[0].error.as_deref(),
        Some("received byte 0: no start line")
    );
}

const UPGRADE: &str = "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
    Upgrade: h2c\r\nHTTP2-Settings: AAEAACAA\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

#[test]
fn a_connection_that_is_upgraded_answers_on_stream_1() {
    // A table of 8,192 bytes is what HTTP2-Settings allow.
    let resize = b"\x3f\xe1\x3f";
    let answer = [resize, status("200").as_slice()].concat();
    let (rows, odd) = decode(&vec![
        (Sent, UPGRADE.into()),
        (
            Received,
            [SWITCH.as_bytes(), &frame(SETTINGS, 0, 0, &[])].concat(),
        ),
        (Received, frame(HEADERS, END_HEADERS, 1, &answer)),
        (Sent, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Sent, frame(HEADERS, BOTH, 3, &get("/next"))),
        (Received, frame(DATA, END_STREAM, 1, b"body")),
        (Received, frame(HEADERS, BOTH, 3, &status("404"))),
    ]);
    assert_eq!(odd, Vec::<String>::new());
    let [a, b] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!(
        (a.number, a.stream, a.version),
        (0, Some(1), Version::Http11)
    );
    assert_eq!(a.upgrade.as_deref(), Some("h2c"));
    assert_eq!(a.informational[0].status, 101);
    assert_eq!(a.request.as_ref().unwrap().target, "/up");
    let response = a.response.as_ref().unwrap();
    assert_eq!((response.status, response.body.size), (200, 4));
    assert_eq!((b.number, b.stream, b.version), (1, Some(3), Version::H2));
    assert!(a.complete && b.complete);
}

#[test]
fn positions_go_on_after_an_upgrade() {
    let (rows, odd) = decode(&vec![
        (Sent, UPGRADE.into()),
        (Received, SWITCH.into()),
        (Received, frame(SETTINGS, 0, 0, &[])),
        (
            Received,
            frame(HEADERS, BOTH, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        ),
    ]);
    let byte = SWITCH.len() + 9;
    let error =
        format!("received byte {byte}: a number that is too big at byte 0 of the header block");
    assert_eq!(rows[0].error.as_deref(), Some(error.as_str()));
    assert_eq!(odd.len(), 1);
}

fn any_frame() -> impl Strategy<Value = (Direction, Vec<u8>)> {
    let payload = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(get("/")),
        Just(status("200")),
        Just(status("100")),
    ];
    let parts = (0_u8..11, any::<u8>(), 0_u32..8, payload);
    let frame =
        parts.prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    let bytes = prop_oneof![20 => frame, 1 => vec(any::<u8>(), 0..30)];
    let direction = prop_oneof![Just(Sent), Just(Received)];
    (direction, bytes)
}

proptest! {
    #[test]
    fn no_split_of_any_frames_changes_what_is_found(
        frames in vec(any_frame(), 0..40),
        piece in 1_usize..40,
        saved: bool,
        beginning in 0..3,
    ) {
        let mut talk = talk(&frames);
        match beginning {
            0 => {}
            // The server's SETTINGS come first.
            1 => talk.swap(0, 1),
            _ => drop(talk.splice(..0, [(Sent, UPGRADE.into()), (Received, SWITCH.into())])),
        }
        let found = decoded(&talk, usize::MAX, false);
        prop_assert_eq!(decoded(&talk, piece, saved), found);
    }
}

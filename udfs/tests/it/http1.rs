//! HTTP/1, by conversations that are written down: see `udfs/tests/corpus/http1/README.md`.

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;
use timecraft_segment::text::quoted;
use timecraft_udfs::http::{Body, Exchange, Framing, Headers, Http, MAX_HEAD, MAX_WAITING};
use timecraft_udfs::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

/// What happens on a connection. The guest is the client.
#[derive(Clone, Debug)]
enum Event {
    Data(Direction, Vec<u8>),
    End(Direction),
}

#[derive(Clone, Debug)]
struct Case {
    name: String,
    events: Vec<Event>,
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&escape, after) = rest.split_first().unwrap();
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => panic!("no escape: {other}"),
        });
    }
    bytes
}

fn cases(name: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http1");
    let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_at(2);
        let event = match kind {
            "= " => {
                let (name, events) = (rest.to_owned(), Vec::new());
                cases.push(Case { name, events });
                continue;
            }
            "> " => Event::Data(Direction::Sent, unescaped(rest)),
            "< " => Event::Data(Direction::Received, unescaped(rest)),
            ">!" => Event::End(Direction::Sent),
            "<!" => Event::End(Direction::Received),
            _ => panic!("no line of a case: {line}"),
        };
        cases.last_mut().unwrap().events.push(event);
    }
    cases
}

const FILES: [&str; 5] = ["framing", "heads", "pairing", "smuggling", "switching"];

fn corpus() -> Vec<Case> {
    FILES.into_iter().flat_map(cases).collect()
}

fn begin(midstream: bool) -> Http {
    Http::begin(Opening {
        transport: None,
        local: None,
        peer: None,
        midstream,
    })
    .unwrap()
}

fn at(record: usize) -> At {
    At {
        offset: record as u64,
        time_ns: 10 * record as u64,
        end_ns: 10 * record as u64 + 1,
    }
}

/// What the decoder finds; `cut` says where to cut each piece, and what to do with the decoder between.
fn run(
    midstream: bool,
    events: &[Event],
    mut cut: impl FnMut(usize) -> usize,
    between: fn(Http) -> Http,
) -> Vec<Found<Exchange>> {
    let mut room = Room::new(1 << 20, 1 << 24);
    let (mut decoder, mut out) = (begin(midstream), Vec::new());
    for (record, event) in events.iter().enumerate() {
        match event {
            Event::End(direction) => decoder.end(*direction, at(record), &mut room, &mut out),
            Event::Data(direction, bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (bytes, after) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
                    rest = after;
                    let (at, direction) = (at(record), *direction);
                    let piece = Piece {
                        at,
                        direction,
                        bytes,
                    };
                    decoder.data(piece, &mut room, &mut out);
                    decoder = between(decoder);
                }
            }
        }
    }
    decoder.close(at(events.len()), &mut room, &mut out);
    assert_eq!(
        room,
        Room::new(1 << 20, 1 << 24),
        "what was taken is not given back"
    );
    out
}

fn saved(decoder: Http) -> Http {
    let restored = serde_json::from_slice(&serde_json::to_vec(&decoder).unwrap()).unwrap();
    assert_eq!(decoder, restored);
    restored
}

fn whole(events: &[Event]) -> Vec<Found<Exchange>> {
    run(false, events, |length| length, |decoder| decoder)
}

fn rows(found: Vec<Found<Exchange>>) -> Vec<Exchange> {
    let rows = found.into_iter().filter_map(|found| match found {
        Found::Row(row) => Some(row),
        Found::Odd(_) => None,
    });
    rows.collect()
}

fn show(exchange: &Exchange) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    let complete = if exchange.complete {
        "complete"
    } else {
        "incomplete"
    };
    line(format!(
        "  {} {} {complete}, to record {}",
        exchange.number,
        exchange.version.name(),
        exchange.end.offset
    ));
    let body = |body: &Body| {
        let kept = quoted(&body.kept, 100);
        (body.framing != Framing::None)
            .then(|| format!("{} {} {kept}", body.framing.name(), body.size))
    };
    let fields = |mark: &str, headers: &Headers| -> Vec<String> {
        let all = headers.iter();
        all.map(|(name, value)| format!("    {mark} {name}: {value}"))
            .collect()
    };
    if let Some(request) = &exchange.request {
        line(format!("    > {} {}", request.method, request.target));
        if let Some(url) = request.url(false) {
            line(format!("    > url {url}"));
        }
        fields("> -", &request.headers)
            .into_iter()
            .for_each(&mut line);
        body(&request.body)
            .into_iter()
            .for_each(|body| line(format!("    > body {body}")));
        fields("> +", &request.trailers)
            .into_iter()
            .for_each(&mut line);
    }
    for informational in &exchange.informational {
        line(format!("    < {}", informational.status));
    }
    if let Some(response) = &exchange.response {
        line(format!(
            "    < {} {}",
            response.status,
            response.reason.as_deref().unwrap_or("none")
        ));
        fields("< -", &response.headers)
            .into_iter()
            .for_each(&mut line);
        body(&response.body)
            .into_iter()
            .for_each(|body| line(format!("    < body {body}")));
        fields("< +", &response.trailers)
            .into_iter()
            .for_each(&mut line);
    }
    if let Some(upgrade) = &exchange.upgrade {
        line(format!("    upgrade {upgrade}"));
    }
    if let Some(m) = &exchange.messages {
        line(format!(
            "    messages > {} of {} bytes, < {} of {} bytes",
            m.client_count, m.client_bytes, m.server_count, m.server_bytes
        ));
    }
    for oddity in &exchange.warnings {
        line(format!("    odd {}", oddity.name()));
    }
    if let Some(error) = &exchange.error {
        line(format!("    error {error}"));
    }
    text
}

fn check(file: &str) {
    let mut text = String::new();
    for case in cases(file) {
        writeln!(text, "{}", case.name).unwrap();
        let rows = rows(whole(&case.events));
        rows.iter().for_each(|row| text.push_str(&show(row)));
    }
    insta::assert_snapshot!(file, text);
}

#[test]
fn bodies_end_where_they_end() {
    check("framing");
}

#[test]
fn responses_go_with_their_requests() {
    check("pairing");
}

#[test]
fn heads_are_read_as_servers_read_them() {
    check("heads");
}

#[test]
fn shapes_of_smuggling_have_names() {
    check("smuggling");
}

#[test]
fn connections_go_on_with_something_else() {
    check("switching");
}

#[test]
fn every_cut_of_the_corpus_gives_the_same() {
    for case in corpus() {
        let want = whole(&case.events);
        let bytewise = run(false, &case.events, |_| 1, saved);
        assert_eq!(bytewise, want, "{}", case.name);
        for size in [2, 3, 5, 17] {
            let found = run(false, &case.events, |_| size, |decoder| decoder);
            assert_eq!(found, want, "{} by {size}", case.name);
        }
    }
}

#[test]
fn what_is_in_flight_is_what_closing_would_give() {
    for case in corpus() {
        for n in 0..case.events.len() {
            let mut room = Room::new(1 << 20, 1 << 24);
            let (mut decoder, mut out) = (begin(false), Vec::new());
            for (record, event) in case.events[..n].iter().enumerate() {
                let at = at(record);
                match event {
                    Event::End(direction) => decoder.end(*direction, at, &mut room, &mut out),
                    Event::Data(direction, bytes) => {
                        let direction = *direction;
                        decoder.data(
                            Piece {
                                at,
                                direction,
                                bytes,
                            },
                            &mut room,
                            &mut out,
                        );
                    }
                }
            }
            out.clear();
            let flying = decoder.in_flight();
            assert!(flying.iter().all(|row| !row.complete), "{}", case.name);
            decoder.close(at(n.saturating_sub(1)), &mut room, &mut out);
            assert_eq!(rows(out), flying, "{}", case.name);
        }
    }
}

#[test]
fn a_connection_whose_beginning_is_missing_is_read_from_its_next_message() {
    let events = [
        Event::Data(
            Direction::Received,
            b"of a body\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(),
        ),
        Event::Data(
            Direction::Sent,
            b"\0\xff\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ),
        Event::Data(
            Direction::Received,
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        ),
    ];
    let found = run(true, &events, |length| length, |decoder| decoder);
    assert_eq!(found, run(true, &events, |_| 1, saved));
    let rows = rows(found);
    let statuses = rows.iter().map(|row| row.response.as_ref().unwrap().status);
    assert_eq!(statuses.collect::<Vec<_>>(), [200, 204]);
    assert!(rows[0].request.is_none() && rows[0].warnings.is_empty());
    assert_eq!(rows[1].request.as_ref().unwrap().target, "/2");
    assert!(rows[1].complete);
}

#[test]
fn heads_are_bounded() {
    let long = "a".repeat(MAX_HEAD);
    let text = format!(
        "GET /1 HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    let answers =
        "HTTP/1.1 431 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let events = [
        Event::Data(Direction::Sent, text.into_bytes()),
        Event::Data(Direction::Received, answers.into()),
    ];
    let found = whole(&events);
    assert_eq!(found, run(false, &events, |_| 1000, saved));
    let rows = rows(found);
    let said: Vec<_> = rows
        .iter()
        .map(|row| (row.complete, row.error.as_deref()))
        .collect();
    let error = format!("sent byte {MAX_HEAD}: the head is too long");
    assert_eq!(said, [(false, Some(error.as_str())), (true, None)]);
}

#[test]
fn requests_that_wait_are_bounded() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let events = [
        Event::Data(Direction::Sent, request.repeat(MAX_WAITING + 10)),
        Event::Data(Direction::Received, response.repeat(MAX_WAITING + 10)),
        Event::Data(Direction::Sent, request.to_vec()),
        Event::Data(Direction::Received, response.to_vec()),
    ];
    let found = whole(&events);
    assert_eq!(found, run(false, &events, |_| 7, |decoder| decoder));
    let rows = rows(found);
    let count = |keep: fn(&Exchange) -> bool| rows.iter().filter(|row| keep(row)).count();
    assert_eq!(count(|row| row.complete), MAX_WAITING + 1);
    assert_eq!(
        count(|row| row.response.is_none() && row.error.is_some()),
        10
    );
    assert_eq!(count(|row| row.request.is_none()), 10);
}

#[test]
fn bodies_are_kept_as_far_as_there_is_room() {
    let mut room = Room::new(4, 6);
    let (mut decoder, mut out) = (begin(false), Vec::new());
    let (at, bytes) = (
        at(0),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    );
    let direction = Direction::Sent;
    decoder.data(
        Piece {
            at,
            direction,
            bytes,
        },
        &mut room,
        &mut out,
    );
    let (direction, bytes) = (
        Direction::Received,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfghij",
    );
    decoder.data(
        Piece {
            at,
            direction,
            bytes,
        },
        &mut room,
        &mut out,
    );
    let rows = rows(out);
    let (request, response) = (
        rows[0].request.as_ref().unwrap(),
        rows[0].response.as_ref().unwrap(),
    );
    assert_eq!(
        (&request.body.kept[..], request.body.size),
        (&b"abcd"[..], 5)
    );
    assert_eq!(
        (&response.body.kept[..], response.body.size),
        (&b"fg"[..], 5)
    );
    assert_eq!(room, Room::new(4, 6));
}

/// Conversations of the corpus one after another, with some bytes changed, cut out or doubled.
fn awkward() -> impl Strategy<Value = Vec<Event>> {
    let corpus = corpus();
    let picks = prop::collection::vec(0..corpus.len(), 1..4);
    let changes = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            0..4_u8,
            any::<u8>(),
        ),
        0..4,
    );
    (picks, changes).prop_map(move |(picks, changes)| {
        let mut events: Vec<Event> = picks
            .iter()
            .flat_map(|&n| corpus[n].events.clone())
            .collect();
        for (event, byte, kind, value) in changes {
            let event = event.index(events.len());
            let Event::Data(_, bytes) = &mut events[event] else {
                continue;
            };
            if bytes.is_empty() {
                continue;
            }
            let at = byte.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.truncate(at),
                2 => {
                    bytes.remove(at);
                }
                _ => {
                    let tail = bytes.split_off(at);
                    bytes.extend(tail.repeat(2));
                }
            }
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_anything_gives_the_same(
        events in awkward(),
        sizes in prop::collection::vec(1..40_usize, 1..20),
        midstream: bool,
    ) {
        let want = run(midstream, &events, |length| length, |decoder| decoder);
        let mut sizes = sizes.into_iter().cycle();
        let found = run(midstream, &events, |_| sizes.next().unwrap_or(1), saved);
        prop_assert_eq!(found, want);
    }
}

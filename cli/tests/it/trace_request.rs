//! `timecraft trace request` and `timecraft export har`, of a recording whose every byte is known.

use timecraft_segment::socket::Transport;

use crate::calls::{Call, close};
use crate::recording::{record, talker};
use crate::snapshot;
use crate::socket_calls::{TCP, connect, ends, open_socket, receive, send};
use crate::support::{Dir, Said};

fn calls() -> Vec<Call> {
    let sent = |bytes: &[u8]| send(5, bytes, bytes.len());
    let one = ends(Transport::Tcp, "10.0.0.1:40000", "192.0.2.80:80");
    let two = ends(Transport::Tcp, "10.0.0.1:40001", "192.0.2.80:8080");
    vec![
        open_socket(TCP, 5),
        connect(5, "192.0.2.80:80").noted(&one),
        // Two at once, whose responses come in pieces.
        sent(
            b"GET /a?q=1&r=%20 HTTP/1.1\r\nHost: example.com\r\nCookie: a=b; c=d\r\n\r\n\
              POST /b HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\n\
              Content-Length: 9\r\n\r\n{\"a\":[1]}",
        ),
        receive(5, b"HTTP/1.1 200 OK\r\nContent-Type: text/pl"),
        receive(
            5,
            b"ain\r\nSet-Cookie: s=1; Path=/\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        receive(
            5,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n\0\xff\x01",
        ),
        // What a terminal would obey, and lengths that disagree.
        sent(b"GET /\x1b[2J HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        sent(b"GET /c HTTP/1.1\r\nHost: evil.example\r\nX: \x1b[2J\r\n\r\n"),
        receive(
            5,
            b"HTTP/1.1 500 \x1b]0;\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        ),
        close(5),
        open_socket(TCP, 5),
        connect(5, "192.0.2.80:8080").noted(&two),
        sent(b"GET /waits HTTP/1.1\r\nHost: waits.example:8080\r\n\r\n"),
    ]
}

fn on_record(command: &[&str], options: &[&str]) -> Said {
    let dir = Dir::new();
    record(&dir, &talker(), &calls());
    dir.cmd(command).args(options).assert(0)
}

fn trace(options: &[&str]) -> Said {
    on_record(&["trace", "request", "talker"], options)
}

#[test]
fn a_line_is_a_request_with_its_response() {
    snapshot!("trace_request", trace(&[]));
}

#[test]
fn heads_and_bodies_are_shown_on_request() {
    snapshot!("trace_request_verbose", trace(&["-v"]));
}

#[test]
fn exchanges_are_json_too() {
    snapshot!(
        "trace_request_ndjson",
        trace(&["-o", "ndjson", "-v", "--path", "/b"])
    );
    assert_eq!(trace(&["-o", "json", "--status", "3xx"]).out(), "[]\n");
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let kept = |options: &[&str]| trace(&[options, &["-o", "ndjson"]].concat()).field("url");
    assert_eq!(kept(&["--method", "post"]), "http://example.com/b");
    assert_eq!(
        kept(&["--status", "404", "--status", "5xx"]),
        "http://example.com/b http://evil.example/\u{1b}[2J"
    );
    assert_eq!(kept(&["--host", "*.example"]).split(' ').count(), 3);
    assert_eq!(
        kept(&["--host", "waits.example"]),
        "http://waits.example:8080/waits"
    );
    assert_eq!(kept(&["--path", "/a"]), "http://example.com/a?q=1&r=%20");
    assert_eq!(kept(&["-t", "1h"]), "");
}

#[test]
fn an_archive_has_an_entry_for_each() {
    let said = on_record(&["export", "har", "talker", "-"], &[]);
    let mut archive: serde_json::Value = serde_json::from_str(said.out()).unwrap();
    for entry in archive["log"]["entries"].as_array_mut().unwrap() {
        // They differ from run to run, but must add up.
        let timings = entry["timings"].take();
        let parts = ["send", "wait", "receive"].map(|part| timings[part].as_f64().unwrap());
        let time = entry["time"].take().as_f64().unwrap();
        assert!((parts.iter().sum::<f64>() - time).abs() < 1e-9);
    }
    let text = serde_json::to_string_pretty(&archive).unwrap();
    crate::snapshot_text!("export_har", text);
}

#[test]
fn a_status_that_is_none_is_refused() {
    let dir = Dir::new();
    let command = ["trace", "request", "talker", "--status", "ok"];
    snapshot!("trace_request_status", dir.cmd(command).assert(2));
}

#[test]
fn its_help_says_what_it_takes() {
    let dir = Dir::new();
    snapshot!(
        "trace_request_help",
        dir.cmd(["trace", "request", "--help"]).assert(0)
    );
}

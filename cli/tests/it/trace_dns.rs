//! `timecraft trace dns`, of a recording whose every message is known.

use timecraft_segment::socket::Transport;

use crate::calls::{Call, close};
use crate::recording::{record, talker};
use crate::snapshot;
use crate::socket_calls::{TCP, UDP, connect, ends, open_socket, receive, send};
use crate::support::{Dir, Said};

/// A message with one question, and records after it.
fn message(id: u16, flags: u16, name: &str, kind: u16, answers: &[&[u8]]) -> Vec<u8> {
    let counts = [1, answers.len() as u16, 0, 0];
    let mut bytes = [[id, flags].as_slice(), &counts].concat();
    let mut bytes: Vec<u8> = bytes.drain(..).flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend([kind, 1].map(u16::to_be_bytes).concat());
    bytes.extend(answers.concat());
    bytes
}

fn sent(bytes: &[u8]) -> Call {
    send(5, bytes, bytes.len())
}

fn calls() -> Vec<Call> {
    let framed = |message: Vec<u8>| [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
    let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x5d\xb8\xd8\x22";
    // What a terminal would obey.
    let text = b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x05\x04\x1b]0;";
    let udp = ends(Transport::Udp, "10.0.0.1:40000", "192.0.2.53:53");
    let tcp = ends(Transport::Tcp, "10.0.0.1:40001", "192.0.2.53:5300");
    vec![
        open_socket(UDP, 5),
        connect(5, "192.0.2.53:53").noted(&udp),
        sent(&message(1, 0x100, "example.com", 1, &[])),
        sent(&message(2, 0x100, "example.com", 28, &[])),
        receive(5, &message(2, 0x8183, "example.com", 28, &[])),
        receive(5, &message(1, 0x8180, "example.com", 1, &[a, a])),
        sent(&message(3, 0x100, "\u{1b}[2J.com", 1, &[])),
        receive(5, b"cut"),
        receive(5, &message(9, 0x8180, "spoofed.com", 1, &[a])),
        close(5),
        open_socket(TCP, 5),
        connect(5, "192.0.2.53:5300").noted(&tcp),
        sent(&framed(message(4, 0x100, "text.example.com", 16, &[]))),
        receive(
            5,
            &framed(message(4, 0x8580, "text.example.com", 16, &[text])),
        ),
        sent(&framed(message(5, 0x100, "last.example.com", 1, &[]))),
    ]
}

fn trace(options: &[&str]) -> Said {
    let dir = Dir::new();
    record(&dir, &talker(), &calls());
    dir.cmd(["trace", "dns", "talker"]).args(options).assert(0)
}

#[test]
fn a_line_is_a_query_with_its_response() {
    snapshot!("trace_dns", trace(&[]));
}

#[test]
fn all_sections_are_shown_on_request() {
    snapshot!("trace_dns_verbose", trace(&["-v", "--name", "example.com"]));
}

#[test]
fn pairs_are_json_too() {
    snapshot!(
        "trace_dns_ndjson",
        trace(&["-o", "ndjson", "--type", "txt"])
    );
    assert_eq!(trace(&["-o", "json", "--port", "1"]).out(), "[]\n");
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let kept =
        |options: &[&str]| trace(&[options, &["-o", "ndjson"]].concat()).field("question_name");
    assert_eq!(kept(&["--rcode", "nxdomain"]), "example.com");
    assert_eq!(
        kept(&["--type", "AAAA", "--type", "TXT"]),
        "example.com text.example.com"
    );
    assert_eq!(
        kept(&["--protocol", "tcp"]),
        "text.example.com last.example.com"
    );
    assert_eq!(
        kept(&["--name", "*.example.com"]),
        "text.example.com last.example.com"
    );
    assert_eq!(
        kept(&["--address", "93.184.216.0/24"]),
        "example.com spoofed.com"
    );
    assert_eq!(
        kept(&["--port", "5300"]),
        "text.example.com last.example.com"
    );
    assert_eq!(kept(&["-t", "1h"]), "");
}

#[test]
fn its_help_says_what_it_takes() {
    let dir = Dir::new();
    snapshot!(
        "trace_dns_help",
        dir.cmd(["trace", "dns", "--help"]).assert(0)
    );
}

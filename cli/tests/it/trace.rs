//! `timecraft trace network`, of a recording whose every call is known and of guests that really talk.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use crate::recording::{append, begin, conversation, record, talker};
use crate::socket_calls::{receive, send};
use crate::support::{Dir, corner, ended};
use crate::terminal::Terminal;
use crate::{calls, snapshot, snapshot_text};

/// What the talker did, by these options.
fn trace(options: &[&str]) -> crate::support::Said {
    let dir = Dir::new();
    record(&dir, &talker(), &conversation());
    dir.cmd(["trace", "network", "talker"])
        .args(options)
        .assert(0)
}

#[test]
fn a_line_is_a_call() {
    snapshot!("trace_network", trace(&[]));
}

#[test]
fn more_is_shown_on_request() {
    snapshot!("trace_network_verbose", trace(&["-v"]));
}

#[test]
fn rows_are_json_too() {
    snapshot!(
        "trace_network_ndjson",
        trace(&["-o", "ndjson", "-v", "--port", "443"])
    );
    snapshot!(
        "trace_network_json",
        trace(&["-o", "json", "--protocol", "unix"])
    );
    assert_eq!(trace(&["-o", "json", "--port", "1"]).out(), "[]\n");
}

/// The events of the rows that are kept, each with the port of its peer.
fn kept(options: &[&str]) -> String {
    let said = trace(&[options, &["-o", "ndjson"]].concat());
    let rows = said.out().lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let port = row["peer_port"].as_u64().unwrap_or(0);
        format!("{}:{port}", row["event"].as_str().unwrap())
    });
    rows.collect::<Vec<_>>().join(" ")
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let all = kept(&[]);
    assert_eq!(
        kept(&["--protocol", "udp"]),
        "send:5300 send:5300 receive:5300 close:0"
    );
    assert_eq!(kept(&["--address", "192.0.2.54"]), "send:5300");
    assert_eq!(
        kept(&["--address", "192.0.2.2", "--port", "80"]),
        "connect:80 close:80"
    );
    assert_eq!(
        kept(&["--port", "8080", "--address", "198.51.100.0/24"]),
        "accept:50000 receive:50000 send:50000 close:50000"
    );
    let by_name = kept(&["--name", "EXAMPLE.com"]);
    assert!(
        by_name.starts_with("lookup:0 connect:443 tls:443 send:443")
            || by_name.starts_with("lookup:0 connect:443 send:443 tls:443"),
        "{by_name}"
    );
    assert_eq!(kept(&["--name", "*.example.com"]), "");
    assert_eq!(kept(&["-t", "1h"]), "");
    assert_eq!(kept(&["-t", "2020-01-01T00:00:00Z"]), all);
    assert_eq!(kept(&["-t", "2020-01-01T00:00:00Z", "-d", "1h"]), "");
    assert_eq!(kept(&["-d", "1h"]), all);
    assert_eq!(kept(&["--follow"]), all);
}

#[test]
fn a_terminal_gets_colours_unless_it_wants_none() {
    let dir = Dir::new();
    record(&dir, &talker(), &conversation());
    let trace = ["trace", "network", "talker"];
    let colored = Terminal::colored(&dir, &trace).all();
    snapshot_text!("trace_network_colors", colored);
    let plain = Terminal::run(&dir, &trace).all();
    assert_eq!(plain, dir.cmd(trace).assert(0).out());
    let json = [&trace[..], &["-o", "ndjson"]].concat();
    let rows = Terminal::colored(&dir, &json).all();
    assert_eq!(rows, dir.cmd(json).assert(0).out());
}

#[test]
fn what_makes_no_sense_is_said() {
    let dir = Dir::new();
    snapshot!(
        "trace_process_absent",
        dir.cmd(["trace", "network", "nobody"]).assert(1)
    );
    snapshot!(
        "trace_time_malformed",
        dir.cmd(["trace", "network", "x", "-t", "noon"]).assert(2)
    );
    snapshot!(
        "trace_address_malformed",
        dir.cmd(["trace", "network", "x", "--address", "host"])
            .assert(2)
    );
    snapshot!(
        "trace_help",
        dir.cmd(["trace", "network", "--help"]).assert(0)
    );
}

/// The next line of a trace, without the time.
fn next(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.splitn(3, ' ')
        .nth(2)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

#[test]
fn a_process_is_followed_to_its_end() {
    let dir = Dir::new();
    let mut log = begin(&dir, &talker(), &conversation()[..4]);
    let mut child = dir
        .cmd(["trace", "net", "talker", "--follow", "--port", "443"])
        .spawn();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(
        next(&mut lines),
        "TCP 10.0.0.1:49152 > 192.0.2.1:443: CONN EINPROGRESS"
    );
    append(&mut log, &send(4, b"one", 3));
    assert_eq!(
        next(&mut lines),
        "TCP 10.0.0.1:49152 > 192.0.2.1:443: SEND OK 3"
    );
    // A call is shown when it has returned.
    let call = receive(4, b"two");
    log.begin(call.function, &call.args).unwrap();
    log.input(&call.input);
    log.publish().unwrap();
    call.writes
        .iter()
        .for_each(|(at, bytes)| log.write(*at, bytes));
    log.finish(call.outcome, call.result).unwrap();
    assert_eq!(
        next(&mut lines),
        "TCP 192.0.2.1:443 > 10.0.0.1:49152: RECV OK 3"
    );
    append(&mut log, &calls::close(4));
    // Its writer goes without a last word.
    drop(log);
    assert_eq!(
        next(&mut lines),
        "TCP 10.0.0.1:49152 > 192.0.2.1:443: CLOSE OK"
    );
    assert_eq!(next(&mut lines), "");
    assert_eq!(ended(child), Some(0));
}

#[test]
fn a_guest_that_talks_is_shown_with_the_addresses_it_used() {
    let dir = Dir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let child = dir
        .cmd(["run", "--name", "ping", "--dial", &server.to_string()])
        .arg(corner("ping.wat"))
        .spawn();
    let (mut stream, client) = listener.accept().unwrap();
    let mut asked = [0; 5];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"ping\n");
    stream.write_all(b"pong\n").unwrap();
    drop(stream);
    assert_eq!(ended(child), Some(0));
    let said = dir.cmd(["trace", "network", "ping"]).assert(0);
    let lines: Vec<String> = said
        .out()
        .lines()
        .map(|line| line[27..].to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            format!("TCP {client} > {server}: SEND OK 5"),
            format!("TCP {server} > {client}: RECV OK 5"),
            format!("TCP {server} > {client}: RECV OK 0"),
            format!("TCP {client} > {server}: CLOSE OK"),
        ]
    );
}

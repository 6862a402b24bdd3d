//! What each call means for connections.

use std::convert::Infallible;

use timecraft_segment::descriptors::Descriptor;
use timecraft_segment::socket::{Certificate, Preopened, TlsNote, Transport};
use timecraft_segment::testing::process_start;
use timecraft_segment::wasmedge::{LEVEL_TIMECRAFT, OPTION_TLS_SERVER_NAME};
use timecraft_segment::{ElapsedNs, Ended, FunctionId, Outcome, ProcessEnd, ProcessStart, Record};
use timecraft_udfs::connections::{Connection, Connections, Event, Protocol, Tls, payload};

use crate::calls::*;
use crate::socket_calls::*;

const EAGAIN: u64 = 6;
const ECONNREFUSED: u64 = 14;
const ECONNRESET: u64 = 15;
const EINPROGRESS: u64 = 26;
const EPIPE: u64 = 64;

/// An event as a line; calls are left out.
pub fn line(record: &Record<'_>, event: &Event) -> Option<String> {
    let text = |address: &Option<_>| address.as_ref().map_or("-".to_owned(), ToString::to_string);
    let offset = record.offset;
    Some(match event {
        Event::Call(_) => return None,
        Event::Data(data) => {
            let bytes = payload(record, data.size);
            let bytes = bytes.escape_ascii();
            let (way, peer) = (data.direction.name(), text(&data.peer));
            let (id, position) = (data.connection, data.position);
            format!(
                "{offset} {id} {way} {position}+{} {peer} {bytes}",
                data.size
            )
        }
        Event::End(end) => format!("{offset} {} {} ends", end.connection, end.direction.name()),
        Event::Lookup(found) => format!(
            "{offset} lookup {}..{} {} {} {:?} {} {:?}",
            found.offset,
            found.end_offset,
            found.source.name(),
            found.name,
            found.addresses,
            found.error.as_deref().unwrap_or("-"),
            found.duration_ns
        ),
        Event::Tls(tls) => format!("{offset} {}", tls_line(tls)),
        Event::Warning(warning) => {
            let name = warning.oddity.name();
            format!(
                "{offset} {} warning {name} {}",
                warning.connection, warning.detail
            )
        }
        Event::Closed(closed) => format!("{offset} {}", closed_line(closed)),
    })
}

fn tls_line(tls: &Tls) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let [version, cipher, alpn, name, ja4, error] = [
        &tls.version,
        &tls.cipher,
        &tls.alpn,
        &tls.server_name,
        &tls.ja4,
        &tls.error,
    ]
    .map(text);
    let (id, offset, offloaded) = (tls.connection, tls.offset, tls.offloaded);
    format!("{id} tls {offset} {offloaded} {version} {cipher} {alpn} {name} {ja4} {error}")
}

fn closed_line(c: &Connection) -> String {
    let text = |address: &Option<_>| address.as_ref().map_or("-".to_owned(), ToString::to_string);
    format!(
        "closed {}..{} {} {} {} {} > {} {} {}..{:?} {}/{} {}/{} {:?}",
        c.id,
        c.end_offset,
        c.fd,
        c.transport.map_or("-", Transport::name),
        c.role.name(),
        text(&c.local),
        text(&c.peer),
        c.state().name(),
        c.opened_ns,
        c.closed_ns,
        c.bytes_sent,
        c.sends,
        c.bytes_received,
        c.receives,
        c.errno
    )
}

/// What these records mean, as lines.
pub fn follow(connections: &mut Connections, records: &[Record<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for record in records {
        let Ok(()) = connections.apply(record, |event| {
            lines.extend(line(record, &event));
            Ok::<(), Infallible>(())
        });
    }
    lines
}

fn of(start: &ProcessStart, calls: &[Call]) -> Vec<String> {
    let calls = record(calls);
    let mut connections = Connections::at_start(start);
    let mut lines = follow(&mut connections, &records(&calls));
    lines.extend(
        connections
            .open()
            .map(|c| format!("end {}", closed_line(c))),
    );
    lines
}

fn rows(calls: &[Call]) -> Vec<String> {
    of(&process_start(), calls)
}

/// How the connections of these calls stand at the end, each as its id and its state.
fn states(calls: &[Call]) -> Vec<String> {
    let calls = record(calls);
    let mut connections = Connections::at_start(&process_start());
    let mut states = Vec::new();
    for record in calls.iter() {
        let Ok(()) = connections.apply(&record, |event| {
            if let Event::Closed(closed) = event {
                states.push(format!("{} {}", closed.id, closed.state().name()));
            }
            Ok::<(), Infallible>(())
        });
    }
    let open = connections.open();
    states.extend(open.map(|c| format!("{} {} open", c.id, c.state().name())));
    states
}

/// A connection that stands, as its first two calls.
fn connected(fd: u32, peer: &str) -> [Call; 2] {
    let note = tcp("10.0.0.1:5000", peer);
    [open_socket(TCP, fd), connect(fd, peer).noted(note)]
}

#[test]
fn a_connection_is_two_streams_of_what_was_taken_and_given() {
    let calls = [
        open_socket(TCP, 4),
        connect(4, "1.2.3.4:80")
            .noted(tcp("10.0.0.1:5000", "1.2.3.4:80"))
            .fails(EINPROGRESS),
        so_error(4, 0),
        send(4, b"hello", 3),
        write(4, b"lo", 2),
        receive(4, b"").fails(EAGAIN),
        receive_with(4, b"wor", 1, 0),
        read_socket(4, b"wor"),
        receive(4, b"ld"),
        send(4, b"interrupted", 5).ends(Outcome::Interrupted),
        send(4, b"asleep", 0).ends(Outcome::InFlight),
        send(4, b"", 0),
        read_socket(4, b""),
        shut_down(4, 2),
        close(4),
        close(4).fails(8),
    ];
    assert_eq!(
        rows(&calls),
        [
            "4 2 sent 0+3 1.2.3.4:80 hel",
            "5 2 sent 3+2 1.2.3.4:80 lo",
            "8 2 received 0+3 1.2.3.4:80 wor",
            "9 2 received 3+2 1.2.3.4:80 ld",
            "10 2 sent 5+5 1.2.3.4:80 inter",
            "13 2 received ends",
            "14 2 sent ends",
            "15 closed 2..15 4 tcp client 10.0.0.1:5000 > 1.2.3.4:80 SF 20..Some(150) 10/3 5/2 None",
        ]
    );
}

#[test]
fn a_number_that_is_another_socket_is_another_connection() {
    let calls: Vec<Call> = [
        &connected(4, "1.1.1.1:1")[..],
        &[send(4, b"a", 1), close(4)],
        &connected(4, "2.2.2.2:2"),
        &[send(4, b"b", 1)],
        &connected(5, "3.3.3.3:3"),
        // The second takes the place of the first, which is closed.
        &[
            renumber(5, 4),
            send(4, b"c", 1),
            send(5, b"nobody's", 8).fails(8),
        ],
        // A file takes the place of a socket, and a socket that of a file.
        &[renumber(1, 4), write(4, b"file", 4)],
        &connected(5, "4.4.4.4:4"),
        &[renumber(5, 1), write(1, b"d", 1), renumber(1, 1)],
        // What this number was closed by is not in the log.
        &[open(3, "f", 0, 0, 1), write(1, b"file", 4)],
    ]
    .concat();
    assert_eq!(
        rows(&calls),
        [
            "3 2 sent 0+1 1.1.1.1:1 a",
            "4 closed 2..4 4 tcp client 10.0.0.1:5000 > 1.1.1.1:1 SF 20..Some(40) 1/1 0/0 None",
            "7 6 sent 0+1 2.2.2.2:2 b",
            "10 closed 6..10 4 tcp client 10.0.0.1:5000 > 2.2.2.2:2 SF 60..Some(100) 1/1 0/0 None",
            "11 9 sent 0+1 3.3.3.3:3 c",
            "13 closed 9..13 5 tcp client 10.0.0.1:5000 > 3.3.3.3:3 SF 90..Some(130) 1/1 0/0 None",
            "18 16 sent 0+1 4.4.4.4:4 d",
            "20 16 warning records_missing ",
            "20 closed 16..19 5 tcp client 10.0.0.1:5000 > 4.4.4.4:4 OTH 160..None 1/1 0/0 None",
        ]
    );
}

#[test]
fn states_are_what_calls_returned() {
    let peer = "1.1.1.1:1";
    let note = || tcp("-", peer);
    let connecting = || {
        vec![
            open_socket(TCP, 4),
            connect(4, peer).noted(note()).fails(EINPROGRESS),
        ]
    };
    let standing = || connected(4, peer).to_vec();
    let accepted = || {
        let new = tcp("10.0.0.1:80", "1.1.1.1:9");
        vec![open_socket(TCP, 3), accept(3, 4).noted(new)]
    };
    let then = |mut calls: Vec<Call>, more: &[Call]| {
        calls.extend_from_slice(more);
        states(&calls)
    };
    let denied = "not granted: network | rule: default | needs: --allow-net 1.1.1.1:1";
    for (calls, state) in [
        (then(connecting(), &[]), "2 S0 open"),
        (then(connecting(), &[close(4)]), "2 S0"),
        (then(connecting(), &[so_error(4, 0)]), "2 S1 open"),
        (then(connecting(), &[peer_address(4, peer)]), "2 S1 open"),
        (
            then(connecting(), &[connect(4, peer).fails(30)]),
            "2 S1 open",
        ),
        (
            then(connecting(), &[so_error(4, ECONNREFUSED as u32)]),
            "2 REJ open",
        ),
        (then(connecting(), &[so_error(4, 73), close(4)]), "2 S0"),
        (then(standing(), &[]), "2 S1 open"),
        (then(standing(), &[shut_down(4, 1)]), "2 S1 open"),
        (then(standing(), &[shut_down(4, 2)]), "2 S2 open"),
        (then(standing(), &[receive(4, b"")]), "2 S3 open"),
        (
            then(standing(), &[shut_down(4, 2), read_socket(4, b"")]),
            "2 SF open",
        ),
        // What the guest does not want to receive the peer may still send.
        (
            then(standing(), &[shut_down(4, 1), receive(4, b"")]),
            "2 S1 open",
        ),
        (
            then(standing(), &[shut_down(4, 3), read_socket(4, b"")]),
            "2 S2 open",
        ),
        (
            then(standing(), &[receive(4, b"").fails(ECONNRESET)]),
            "2 RSTR open",
        ),
        (
            then(standing(), &[send(4, b"a", 0).fails(EPIPE)]),
            "2 RSTR open",
        ),
        (
            then(
                standing(),
                &[shut_down(4, 2), send(4, b"a", 0).fails(EPIPE)],
            ),
            "2 S2 open",
        ),
        (then(accepted(), &[]), "2 S1 open"),
        (then(accepted(), &[receive(4, b"")]), "2 S2 open"),
        (then(accepted(), &[shut_down(4, 2)]), "2 S3 open"),
        (
            then(accepted(), &[receive(4, b"").fails(ECONNRESET)]),
            "2 RSTO open",
        ),
        (then(accepted(), &[close(4)]), "2 SF"),
        (
            then(
                vec![open_socket(TCP, 4)],
                &[connect(4, peer).noted(denied).fails(2)],
            ),
            "2 DENIED open",
        ),
    ] {
        assert_eq!(calls, [state]);
    }
}

#[test]
fn each_attempt_to_connect_is_a_connection() {
    let calls = [
        open_socket(TCP, 4),
        connect(4, "1.1.1.1:1").fails(ECONNREFUSED),
        connect(4, "2.2.2.2:2").fails(EINPROGRESS),
        connect(4, "2.2.2.2:2").fails(7),
        connect(4, "2.2.2.2:2"),
        connect(4, "2.2.2.2:2").fails(30),
        connect(9, "3.3.3.3:3").fails(8),
    ];
    assert_eq!(
        rows(&calls),
        [
            "3 closed 2..2 4 tcp client - > 1.1.1.1:1 REJ 20..Some(30) 0/0 0/0 Some(14)",
            "end closed 3..6 4 tcp client - > 2.2.2.2:2 S1 30..None 0/0 0/0 None",
        ]
    );
}

#[test]
fn a_call_comes_before_what_it_ended() {
    let calls = record(&[
        open_socket(TCP, 4),
        connect(4, "1.1.1.1:1").fails(ECONNREFUSED),
        connect(4, "2.2.2.2:2"),
        open_socket(UDP, 4),
    ]);
    let mut connections = Connections::at_start(&process_start());
    let mut order = Vec::new();
    for record in calls.iter() {
        let Ok(()) = connections.apply(&record, |event| {
            order.push(match event {
                Event::Call(call) => format!("{} {}", record.offset, call.action.name()),
                Event::Closed(closed) => format!("{} closed {}", record.offset, closed.id),
                _ => format!("{} other", record.offset),
            });
            Ok::<(), Infallible>(())
        });
    }
    assert_eq!(
        order,
        [
            "1 open",
            "2 connect",
            "3 connect",
            "3 closed 2",
            "4 open",
            "4 other",
            "4 closed 3"
        ]
    );
}

/// The host did not read the address.
#[test]
fn an_attempt_that_trapped_is_none() {
    let calls = [
        open_socket(TCP, 4),
        connect(4, "1.1.1.1:1").fails(ECONNREFUSED),
        connect(4, "2.2.2.2:2").ends(Outcome::Trapped),
    ];
    assert_eq!(states(&calls), ["2 REJ open"]);
}

/// The middle of a message can begin as another protocol does.
#[test]
fn what_follows_missing_records_begins_no_protocol() {
    let start = ProcessStart {
        sockets: vec![preopened(7, false, "10.0.0.1:7", "1.1.1.1:7")],
        ..process_start()
    };
    let ticket = b"\x16\x03\x03\0\x04\x04\0\0\0";
    let calls = record(&[
        gap(),
        receive(7, ticket),
        send(8, b"GET / HTTP/1.1\r\n", 16),
        open_socket(TCP, 9),
        connect(9, "2.2.2.2:2"),
        send(9, b"GET / HTTP/1.1\r\n", 16),
    ]);
    let mut connections = Connections::at_start(&start);
    let lines = follow(&mut connections, &records(&calls));
    assert!(
        !lines.iter().any(|line| line.contains("warning")),
        "{lines:?}"
    );
    let open = connections.open();
    let known: Vec<_> = open.map(|c| (c.is_midstream(), c.protocol)).collect();
    assert_eq!(
        known,
        [(true, None), (true, None), (false, Some(Protocol::Http)),]
    );
}

#[test]
fn datagrams_are_a_connection_for_each_peer() {
    let calls = [
        open_socket(UDP, 4),
        bind(4, "10.0.0.1:53").noted(udp("10.0.0.1:53", "-")),
        receive_from(4, b"question", "1.1.1.1:1"),
        send_to(4, b"answer", "1.1.1.1:1"),
        send_to(4, b"", "2.2.2.2:2"),
        receive_from(4, b"", "1.1.1.1:1"),
        receive_from(4, b"", "3.3.3.3:3").fails(EAGAIN),
        close(4),
        open_socket(UDP, 4),
        connect(4, "5.5.5.5:5").noted(udp("10.0.0.1:6", "5.5.5.5:5")),
        write(4, b"a", 1),
        read_socket(4, b""),
        receive_from(4, b"b", "5.5.5.5:5"),
        receive_with(4, b"cut", 0, 1),
        receive(4, b"").fails(ECONNREFUSED),
        connect(4, "6.6.6.6:6"),
        send(4, b"c", 1),
    ];
    assert_eq!(
        rows(&calls),
        [
            "3 3 received 0+8 1.1.1.1:1 question",
            "4 3 sent 0+6 1.1.1.1:1 answer",
            "5 5 sent 0+0 2.2.2.2:2 ",
            "6 3 received 8+0 1.1.1.1:1 ",
            "8 closed 3..8 4 udp server 10.0.0.1:53 > 1.1.1.1:1 SF 30..Some(80) 6/1 8/2 None",
            "8 closed 5..8 4 udp client 10.0.0.1:53 > 2.2.2.2:2 S0 50..Some(80) 0/1 0/0 None",
            "11 10 sent 0+1 5.5.5.5:5 a",
            "12 10 received 0+0 5.5.5.5:5 ",
            "13 10 received 0+1 5.5.5.5:5 b",
            "14 10 received 1+3 5.5.5.5:5 cut",
            "14 10 warning datagram_truncated ",
            "16 closed 10..15 4 udp client 10.0.0.1:6 > 5.5.5.5:5 SF 100..Some(160) 1/1 4/3 Some(14)",
            "17 16 sent 0+1 6.6.6.6:6 c",
            "end closed 16..17 4 udp client 10.0.0.1:6 > 6.6.6.6:6 S0 160..None 1/1 0/0 None",
        ]
    );
}

/// Version 1 of `sock_recv_from` does not say the port.
#[test]
fn a_peer_without_a_port_is_the_one_that_was_heard_of_last() {
    let version1 = |mut call: Call| {
        let v1 = timecraft_segment::function::functions()
            .find(|f| f.name == "sock_recv_from" && f.params.len() == 7);
        call.function = v1.unwrap().id;
        call.args.remove(5);
        call.writes.remove(2);
        call
    };
    let calls = [
        open_socket(UDP, 4),
        send_to(4, b"a", "1.1.1.1:1"),
        send_to(4, b"b", "1.1.1.1:2"),
        version1(receive_from(4, b"c", "1.1.1.1:9")),
        version1(receive_from(4, b"d", "2.2.2.2:9")),
    ];
    assert_eq!(
        rows(&calls)[..4],
        [
            "2 2 sent 0+1 1.1.1.1:1 a",
            "3 3 sent 0+1 1.1.1.1:2 b",
            "4 3 received 0+1 1.1.1.1:2 c",
            "5 5 received 0+1 2.2.2.2:0 d",
        ]
    );
}

fn preopened(fd: u32, listening: bool, local: &str, peer: &str) -> Preopened {
    Preopened {
        fd,
        listening,
        ends: tcp(local, peer),
    }
}

/// The process ended so.
fn end(status: Ended) -> Call {
    let end = ProcessEnd {
        status,
        exit_code: None,
        signal: None,
        trap: None,
        stall_ns: 0,
    };
    Call {
        function: FunctionId::END,
        ..Call::new("sched_yield", &[]).input(&[&serde_json::to_vec(&end).unwrap()])
    }
}

#[test]
fn what_the_guest_starts_with_is_known_with_its_first_call() {
    let start = ProcessStart {
        sockets: vec![
            preopened(4, true, "10.0.0.1:80", "-"),
            preopened(5, false, "10.0.0.1:7", "1.1.1.1:1"),
            preopened(6, false, "10.0.0.1:8", "1.1.1.1:2"),
        ],
        ..process_start()
    };
    let calls = [
        accept(4, 9).noted(tcp("10.0.0.1:80", "2.2.2.2:2")),
        listen(4),
        accept(4, 10).fails(EAGAIN),
        read_socket(9, b"GET"),
        write(5, b"a", 1),
        end(Ended::Exited),
    ];
    assert_eq!(
        of(&start, &calls),
        [
            "4 1 received 0+3 2.2.2.2:2 GET",
            "5 5 sent 0+1 1.1.1.1:1 a",
            "6 closed 5..5 5 tcp client 10.0.0.1:7 > 1.1.1.1:1 SF 0..Some(60) 1/1 0/0 None",
            "6 closed 1..4 9 tcp server 10.0.0.1:80 > 2.2.2.2:2 SF 10..Some(60) 0/0 3/1 None",
        ]
    );
}

#[test]
fn what_a_dead_writer_left_is_not_closed() {
    let calls = [&connected(4, "1.1.1.1:1")[..], &[end(Ended::Lost)]].concat();
    assert_eq!(
        rows(&calls),
        ["3 closed 2..2 4 tcp client 10.0.0.1:5000 > 1.1.1.1:1 OTH 20..None 0/0 0/0 None"]
    );
}

#[test]
fn missing_records_end_what_is_known_and_begin_what_is_not() {
    let start = ProcessStart {
        sockets: vec![preopened(7, false, "10.0.0.1:7", "1.1.1.1:7")],
        ..process_start()
    };
    let calls = [
        &connected(4, "1.1.1.1:1")[..],
        &[
            write(4, b"a", 1),
            gap(),
            // It may be a file by now.
            write(4, b"?", 1),
            // Only a socket can do this.
            send(4, b"b", 1),
            write(4, b"c", 1),
            peer_address(4, "1.1.1.1:1"),
            write(7, b"d", 1),
            receive_from(8, b"e", "2.2.2.2:2"),
            send(9, b"failed", 0).fails(8),
        ],
    ]
    .concat();
    assert_eq!(
        of(&start, &calls),
        [
            "3 2 sent 0+1 1.1.1.1:1 a",
            "4 2 warning records_missing ",
            "4 closed 2..3 4 tcp client 10.0.0.1:5000 > 1.1.1.1:1 OTH 20..None 1/1 0/0 None",
            "6 6 sent 0+1 - b",
            "7 6 sent 1+1 - c",
            "9 9 sent 0+1 1.1.1.1:7 d",
            "10 10 received 0+1 2.2.2.2:2 e",
            "end closed 6..8 4 - client - > 1.1.1.1:1 OTH 60..None 2/2 0/0 None",
            "end closed 9..9 7 tcp client 10.0.0.1:7 > 1.1.1.1:7 OTH 90..None 1/1 0/0 None",
            "end closed 10..10 8 - server - > 2.2.2.2:2 OTH 100..None 0/0 1/1 None",
        ]
    );
}

/// Who is first heard of a minute after them had nothing to say in between, and begins anew.
#[test]
fn a_peer_that_comes_long_after_missing_records_is_a_new_one() {
    let calls = record(&[
        gap(),
        send_to(4, b"a", "1.1.1.1:1"),
        send_to(4, b"b", "2.2.2.2:2"),
        send_to(4, b"c", "3.3.3.3:3"),
        send_to(4, b"d", "1.1.1.1:1"),
    ]);
    let mut records = records(&calls);
    for (record, second) in records.iter_mut().zip([0, 5, 64, 65, 66]) {
        record.start = ElapsedNs(second * 1_000_000_000);
    }
    let mut connections = Connections::at_start(&process_start());
    follow(&mut connections, &records);
    let open = connections.open();
    let known: Vec<_> = open
        .map(|c| (c.id, c.is_midstream(), c.state().name()))
        .collect();
    assert_eq!(
        known,
        [(2, true, "OTH"), (3, true, "OTH"), (4, false, "S0")]
    );
}

/// A number that was closed before the records that are missing is a file's after them.
#[test]
fn what_the_process_started_with_and_closed_does_not_come_back() {
    let start = ProcessStart {
        sockets: vec![preopened(7, false, "10.0.0.1:7", "1.1.1.1:7")],
        ..process_start()
    };
    let calls = [close(7), gap(), write(7, b"a file's", 8)];
    assert_eq!(
        of(&start, &calls),
        ["1 closed 1..1 7 tcp client 10.0.0.1:7 > 1.1.1.1:7 SF 0..Some(10) 0/0 0/0 None"]
    );
}

/// What was taken for the socket that it was before the gap is given, once the next segment says what
/// it is.
#[test]
fn what_a_segment_says_is_a_file_is_no_connection_any_more() {
    let start = ProcessStart {
        sockets: vec![preopened(7, false, "10.0.0.1:7", "1.1.1.1:7")],
        ..process_start()
    };
    let calls = record(&[gap(), write(7, b"a file's", 8), write(7, b"more", 4)]);
    let records = records(&calls);
    let mut connections = Connections::at_start(&start);
    follow(&mut connections, &records[..2]);
    let table = [Descriptor {
        fd: 7,
        path: "/data/f".to_owned(),
        socket: false,
    }];
    let mut lines = Vec::new();
    let Ok(()) = connections.found(&table, |event| {
        lines.extend(line(&records[1], &event));
        Ok::<(), Infallible>(())
    });
    assert_eq!(
        lines,
        [
            "2 2 warning records_missing ",
            "2 closed 2..2 7 tcp client 10.0.0.1:7 > 1.1.1.1:7 OTH 20..None 8/1 0/0 None",
        ]
    );
    assert_eq!(follow(&mut connections, &records[2..]), [""; 0]);
}

/// What the host refuses leaves a socket as it was.
#[test]
fn an_attempt_that_fails_takes_nothing_from_the_connection_that_stands() {
    let calls = [
        open_socket(UDP, 4),
        connect(4, "1.1.1.1:1").noted(udp("10.0.0.1:6", "1.1.1.1:1")),
        connect(4, "2.2.2.2:2").fails(2),
        send(4, b"a", 1),
        send_to(4, b"b", "3.3.3.3:3"),
        connect(4, "3.3.3.3:3"),
        send(4, b"c", 1),
    ];
    assert_eq!(
        rows(&calls),
        [
            "3 closed 3..3 4 udp client 10.0.0.1:6 > 2.2.2.2:2 S0 30..Some(30) 0/0 0/0 Some(2)",
            "4 2 sent 0+1 1.1.1.1:1 a",
            "5 5 sent 0+1 3.3.3.3:3 b",
            "6 closed 2..4 4 udp client 10.0.0.1:6 > 1.1.1.1:1 S0 20..Some(60) 1/1 0/0 None",
            "7 5 sent 1+1 3.3.3.3:3 c",
            "end closed 5..7 4 udp client 10.0.0.1:6 > 3.3.3.3:3 S0 50..None 2/2 0/0 None",
        ]
    );
}

#[test]
fn names_are_what_the_host_and_dns_servers_answered() {
    let a = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07Example\x03com\0\0\x01\0\x01";
    let aaaa = b"\x12\x35\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x1c\0\x01";
    let answer = [
        &b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\x07example\x03com\0\0\x01\0\x01"[..],
        b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03www\xc0\x0c",
        b"\x03www\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x05\x06\x07\x08",
    ]
    .concat();
    let none = b"\x12\x35\x81\x83\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x1c\0\x01";
    let calls = [
        resolve(
            "one.example\0",
            "80",
            &["1.1.1.1:80", "1.1.1.1:80", "[::1]:80"],
        ),
        resolve("no.example", "", &[]).fails(44),
        open_socket(UDP, 4),
        connect(4, "9.9.9.9:53"),
        send(4, a, a.len()),
        send(4, a, a.len()),
        write(4, aaaa, aaaa.len()),
        receive(4, &answer),
        receive(4, &answer),
        receive(4, b"what?"),
        read_socket(4, none),
        send(4, aaaa, aaaa.len()),
        close(4),
        open_socket(TCP, 4),
        connect(4, "5.6.7.8:80"),
        open_socket(TCP, 5),
        connect(5, "[::ffff:1.1.1.1]:80"),
    ];
    let calls = record(&calls);
    let mut connections = Connections::at_start(&process_start());
    let lines = follow(&mut connections, &records(&calls));
    let lookups: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("lookup") || line.contains("warning"))
        .collect();
    assert_eq!(
        lookups,
        [
            "1 lookup 1..1 getaddrinfo one.example [1.1.1.1, ::1] - Some(1)",
            "2 lookup 2..2 getaddrinfo no.example [] ENOENT Some(1)",
            "8 lookup 5..8 dns example.com [5.6.7.8] - Some(31)",
            "11 lookup 7..11 dns example.com [] NXDOMAIN Some(41)",
            "13 lookup 12..12 dns example.com [] unanswered None",
        ]
    );
    let names: Vec<_> = connections.open().map(|c| c.server_name.clone()).collect();
    let names: Vec<_> = names.iter().map(Option::as_deref).collect();
    assert_eq!(names, [Some("example.com"), Some("one.example")]);
}

#[test]
fn names_are_learnt_from_dns_over_streams_and_on_any_port() {
    let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x01b\0\0\x01\0\x01";
    let answer = [
        &b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x01b\0\0\x01\0\x01"[..],
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x05\x06\x07\x08",
    ]
    .concat();
    let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes(), message].concat();
    let (asked, answered) = (framed(question), framed(&answer));
    let (first, rest) = answered.split_at(5);
    let calls = record(&[
        open_socket(TCP, 4),
        connect(4, "9.9.9.9:53"),
        send(4, &asked, asked.len()),
        receive(4, first),
        receive(4, rest),
        close(4),
        open_socket(UDP, 4),
        connect(4, "9.9.9.9:5300"),
        send(4, question, question.len()),
        receive(4, &answer),
        close(4),
    ]);
    let mut connections = Connections::at_start(&process_start());
    let before = connections.clone();
    let lines = follow(&mut connections, &records(&calls));
    let kept = |line: &&String| line.contains("lookup") || line.contains("closed");
    assert_eq!(
        lines.iter().filter(kept).collect::<Vec<_>>(),
        [
            "5 lookup 3..5 dns a.b [5.6.7.8] - Some(21)",
            "6 closed 2..6 4 tcp client - > 9.9.9.9:53 SF 20..Some(60) 23/1 39/2 None",
            "10 lookup 9..10 dns a.b [5.6.7.8] - Some(11)",
            "11 closed 8..11 4 udp client - > 9.9.9.9:5300 SF 80..Some(110) 21/1 37/1 None",
        ]
    );
    // Nothing is kept of what is closed, but the names.
    let room = |connections: &Connections| {
        let saved: serde_json::Value =
            serde_json::from_slice(&connections.save().unwrap()).unwrap();
        saved["state"]["room"].clone()
    };
    assert_eq!(room(&connections), room(&before));
}

#[test]
fn what_the_host_says_of_tls_is_a_session() {
    let note = TlsNote {
        server_name: "example.com".to_owned(),
        version: Some("1.3".to_owned()),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        certificate: Some(Certificate::default()),
        error: None,
    };
    let failed = TlsNote {
        server_name: "example.com".to_owned(),
        error: Some("the certificate has expired".to_owned()),
        ..TlsNote::default()
    };
    let offload = set_option(4, LEVEL_TIMECRAFT, OPTION_TLS_SERVER_NAME, b"example.com");
    let calls = [
        &connected(4, "1.1.1.1:443")[..],
        &[
            offload.clone(),
            write(4, b"GET / HTTP/1.1\r\n", 16).noted(note),
            close(4),
        ],
        &connected(4, "1.1.1.1:443"),
        &[offload, read_socket(4, b"").noted(failed).fails(65)],
    ]
    .concat();
    let calls = record(&calls);
    let mut connections = Connections::at_start(&process_start());
    let lines = follow(&mut connections, &records(&calls));
    let sessions: Vec<_> = lines.iter().filter(|line| line.contains(" tls ")).collect();
    assert_eq!(
        sessions,
        [
            "4 2 tls 4 true 1.3 TLS_AES_128_GCM_SHA256 http/1.1 example.com - -",
            "9 7 tls 9 true - - - example.com - the certificate has expired",
        ]
    );
    assert_eq!(
        connections.open().next().unwrap().server_name.as_deref(),
        Some("example.com")
    );
}

//! Recordings that no guest made: every call in them is known, and so is what follows from it.

use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{TlsNote, Transport};
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Ended, LogOptions, ProcessEnd, ProcessId, ProcessStart, Recorder, Registry,
};

use crate::calls::{Call, close, read};
use crate::socket_calls::*;
use crate::support::Dir;

/// Records these calls of a process that then exits, in the registry of that folder's home.
pub fn record(dir: &Dir, start: &ProcessStart, calls: &[Call]) -> ProcessId {
    let mut log = begin(dir, start, calls);
    log.settle();
    let end = ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(0),
        signal: None,
        trap: None,
        stall_ns: 0,
    };
    log.close(&end).unwrap();
    start.process_id
}

/// The same of a process that goes on.
pub fn begin(dir: &Dir, start: &ProcessStart, calls: &[Call]) -> Recorder {
    let registry = Registry::at(dir.path("home/.timecraft/registry"));
    let mut log = Recorder::create(&registry, start, &LogOptions::default()).unwrap();
    for call in calls {
        append(&mut log, call);
    }
    log
}

pub fn append(log: &mut Recorder, call: &Call) {
    log.begin(call.function, &call.args).unwrap();
    log.input(&call.input);
    log.publish().unwrap();
    for (address, bytes) in &call.writes {
        log.write(*address, bytes);
    }
    if let Some(consumed) = call.consumed {
        log.consumed(consumed);
    }
    if let Some(note) = &call.note {
        log.note(note);
    }
    log.finish(call.outcome, call.result).unwrap();
}

/// A process by the name of `talker`.
pub fn talker() -> ProcessStart {
    ProcessStart {
        name: Some("talker".to_owned()),
        args: ["talker.wasm", "--to", "\x1b[31mexample.com"]
            .map(str::to_owned)
            .into(),
        grants: vec!["--allow-net example.com".to_owned()],
        ..process_start()
    }
}

pub const EAGAIN: u64 = 6;
pub const EACCES: u64 = 2;
pub const ECONNREFUSED: u64 = 14;
pub const ECONNRESET: u64 = 15;
pub const EINPROGRESS: u64 = 26;

/// All that can become of a socket, in a few calls.
pub fn conversation() -> Vec<Call> {
    let unix = |local: &str| ends(Transport::UnixStream, local, "unix:/run/\\x1bdaemon");
    let denial = Denial {
        resource: "connecting to 169.254.169.254:80".to_owned(),
        rule: "default".to_owned(),
        would_need: "--allow-net 169.254.169.254".to_owned(),
    };
    let web = tcp("10.0.0.1:49152", "192.0.2.1:443");
    let tls = TlsNote {
        server_name: "example.com".to_owned(),
        version: Some("1.3".to_owned()),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        ..TlsNote::default()
    };
    vec![
        resolve(
            "example.com",
            "https",
            &["192.0.2.1:443", "[2001:db8::1]:443"],
        ),
        // A server that answers, and ends first.
        open_socket(TCP, 4),
        connect(4, "192.0.2.1:443").fails(EINPROGRESS).noted(&web),
        so_error(4, 0),
        send(4, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 37).noted(&tls),
        receive(4, b"").fails(EAGAIN),
        receive_with(4, b"HTTP", 1, 0),
        receive(4, b"HTTP/1.1 200 OK\r\n\r\n\x1b]0;title\x07"),
        receive(4, b""),
        shut_down(4, 2),
        close(4),
        // Over IPv6, and reset.
        open_socket((2, 2), 4),
        connect(4, "[2001:db8::1]:443").noted(tcp("[2001:db8::9]:49153", "[2001:db8::1]:443")),
        send(4, b"PRI * HTTP/2.0\r\n", 16),
        receive(4, b"").fails(ECONNRESET),
        close(4),
        // Datagrams, to two peers.
        open_socket(UDP, 5),
        send_to(5, b"ping", "192.0.2.53:5300").noted(udp("10.0.0.1:40000", "192.0.2.53:5300")),
        send_to(5, b"", "192.0.2.54:5300"),
        receive_from(5, b"pong", "192.0.2.53:5300"),
        close(5),
        // Nobody listens, and nobody may.
        open_socket(TCP, 4),
        connect(4, "192.0.2.2:80")
            .fails(ECONNREFUSED)
            .noted(tcp("10.0.0.1:49154", "192.0.2.2:80")),
        close(4),
        open_socket(TCP, 4),
        connect(4, "169.254.169.254:80")
            .fails(EACCES)
            .noted(&denial),
        close(4),
        // A Unix socket.
        open_socket((3, 2), 6),
        connect(6, "192.0.2.9:1").noted(unix("unix:")),
        send(6, b"hello", 5),
        close(6),
        // Somebody comes.
        open_socket(TCP, 7),
        bind(7, "0.0.0.0:8080").noted(tcp("0.0.0.0:8080", "-")),
        listen(7).noted(tcp("0.0.0.0:8080", "-")),
        accept(7, 8).noted(tcp("10.0.0.1:8080", "198.51.100.7:50000")),
        read(8, &[b"who", b"'s there"]),
        send(8, b"me", 2),
        close(8),
        close(7),
    ]
}

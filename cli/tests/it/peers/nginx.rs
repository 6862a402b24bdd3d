//! Go's HTTP client against nginx.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::part::{free_port, program};
use super::recorded::{Conversation, assert_same, conversations, rows};
use super::run;
use super::server::Server;
use super::wire::{Capture, Wire};
use crate::snapshot_text;
use crate::support::Dir;

/// Serves a folder: `/text` is compressed for who asks for it, the length of `/chunked/...` is not
/// known when an answer begins, and everything else is sent as it is.
fn nginx(dir: &Dir, http1: u16, http2: u16, more: &str) -> Server {
    let line = "a line of a text that is compressed, and that is less then than it was\n";
    dir.create("www/text", line.repeat(5000));
    dir.create("www/chunked/text", line.repeat(5000));
    let noise = |i: u32| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8;
    dir.create("www/noise", (0..3_000_000).map(noise).collect::<Vec<u8>>());
    dir.create("temp/.keep", "");
    let conf = format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log error.log;
        events {{}}
        http {{
            log_format sizes '$remote_port $request_length $bytes_sent $status $request_uri';
            access_log access.log sizes;
            client_body_temp_path temp;
            proxy_temp_path temp;
            fastcgi_temp_path temp;
            uwsgi_temp_path temp;
            scgi_temp_path temp;
            default_type text/plain;
            root www;
            gzip_types text/plain;
            server {{
                listen 127.0.0.1:{http1};
                location /text {{ gzip on; }}
                location /chunked/ {{ ssi on; ssi_types text/plain; }}
            }}
            server {{ listen 127.0.0.1:{http2} http2; }}
            {more}
        }}"
    );
    dir.create("nginx.conf", conf);
    let mut command = program("nginx");
    command
        .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
        .arg(dir.path(""));
    Server::start(dir, "nginx", http1, command)
}

/// What nginx logged of a connection: how many bytes it received and sent, by the client's port.
fn logged(dir: &Dir) -> BTreeMap<u16, (usize, usize)> {
    let mut connections = BTreeMap::<u16, (usize, usize)>::new();
    for line in dir.read("access.log").lines() {
        let mut numbers = line.split(' ');
        let mut next = || numbers.next().unwrap();
        let connection = connections.entry(next().parse().unwrap()).or_default();
        connection.0 += next().parse::<usize>().unwrap();
        connection.1 += next().parse::<usize>().unwrap();
    }
    connections
}

/// Runs `fetch` with some arguments, and gives what it said, what was recorded and what was captured.
fn fetch(dir: &Dir, args: &[&str]) -> (Vec<String>, Vec<Conversation>, Wire) {
    let (http1, http2) = (free_port(), free_port());
    let server = nginx(dir, http1, http2, "");
    let capture = Capture::start(dir, &[http1, http2]);
    let args = args.iter().map(|arg| {
        arg.replace("http1:", &format!("http://127.0.0.1:{http1}"))
            .replace("http2:", &format!("http://127.0.0.1:{http2}"))
    });
    let said = run(dir, "go-fetch.wasm", &[]).args(args).assert(0);
    let wire = capture.stop();
    // Then its log is complete.
    server.stop(Signal::QUIT);
    let lines = said.out().lines().map(str::to_owned).collect();
    (lines, conversations(dir), wire)
}

#[test]
fn what_http_moved_is_what_nginx_logged_and_what_was_captured() {
    let dir = Dir::new();
    let urls = [
        "http1:/noise",
        "http1:/text",
        "http1:/chunked/text",
        "http1:/nothing",
        "http1:/noise",
    ];
    let (said, recorded, wire) = fetch(&dir, &urls);
    let noise = crc32(&std::fs::read(dir.path("www/noise")).unwrap());
    let text = crc32(dir.read("www/text").as_bytes());
    assert_eq!(
        said[..3],
        [
            format!(
                "HTTP/1.1 200 bytes=3000000 crc32={noise:08x} length=3000000 gzip=false reused=false"
            ),
            format!("HTTP/1.1 200 bytes=355000 crc32={text:08x} length=-1 gzip=true reused=true"),
            format!("HTTP/1.1 200 bytes=355000 crc32={text:08x} length=-1 gzip=false reused=true"),
        ]
    );
    assert!(said[3].starts_with("HTTP/1.1 404 "), "{}", said[3]);
    assert!(said[4].ends_with(" reused=true"), "{}", said[4]);
    assert_eq!(said.len(), 5);
    assert_same(&recorded, &wire);
    let totals = recorded.iter().map(|c| {
        let bytes = (c.sent.concat().len(), c.received.concat().len());
        (c.local.port(), bytes)
    });
    assert_eq!(totals.collect::<BTreeMap<_, _>>(), logged(&dir));
    assert_eq!(recorded.len(), 1, "the connection was kept");
}

#[test]
fn a_part_of_a_file_is_what_was_asked_for() {
    let dir = Dir::new();
    let (said, recorded, wire) = fetch(&dir, &["-range", "1000000-1999999", "http1:/noise"]);
    let noise = std::fs::read(dir.path("www/noise")).unwrap();
    let part = &noise[1_000_000..2_000_000];
    let crc = crc32(part);
    assert_eq!(
        said,
        [format!(
            "HTTP/1.1 206 bytes=1000000 crc32={crc:08x} length=1000000 gzip=false reused=false"
        )]
    );
    assert_same(&recorded, &wire);
    assert!(recorded[0].received.concat().ends_with(part));
    let log = logged(&dir);
    let received = recorded[0].received.concat().len();
    assert_eq!(log[&recorded[0].local.port()].1, received);
}

#[test]
fn http2_without_tls_is_recorded_as_it_was_captured() {
    let dir = Dir::new();
    let (said, recorded, wire) = fetch(&dir, &["-http2", "http2:/noise", "http2:/chunked/text"]);
    let noise = crc32(&std::fs::read(dir.path("www/noise")).unwrap());
    let text = crc32(dir.read("www/text").as_bytes());
    assert_eq!(
        said,
        [
            format!(
                "HTTP/2.0 200 bytes=3000000 crc32={noise:08x} length=3000000 gzip=false reused=false"
            ),
            format!(
                "HTTP/2.0 200 bytes=355000 crc32={text:08x} length=355000 gzip=false reused=true"
            ),
        ]
    );
    assert_same(&recorded, &wire);
    assert!(recorded[0].sent.concat().starts_with(b"PRI * HTTP/2.0\r\n"));
    assert_eq!(dir.read("access.log").lines().count(), 2);
}

#[test]
fn what_the_host_said_over_tls_is_recorded_in_the_clear() {
    let dir = Dir::new();
    authority(&dir);
    let https = free_port();
    let more = format!(
        "server {{
            listen 127.0.0.1:{https} ssl;
            ssl_certificate server.pem;
            ssl_certificate_key key.pem;
            ssl_protocols TLSv1.3;
            server_tokens off;
        }}"
    );
    let server = nginx(&dir, free_port(), free_port(), &more);
    let capture = Capture::start(&dir, &[https]);
    let ca = dir.path("ca.pem");
    let said = run(&dir, "go-get.wasm", &["--tls-ca", ca.to_str().unwrap()])
        .arg(format!("https://localhost:{https}/noise"))
        .assert(0);
    let wire = capture.stop();
    server.stop(Signal::QUIT);
    let noise = std::fs::read(dir.path("www/noise")).unwrap();
    assert!(said.stdout == noise);
    let recorded = conversations(&dir);
    let recorded: Vec<_> = recorded
        .iter()
        .filter(|c| c.transport == "tcp" && c.peer.port() == https)
        .collect();
    let [recorded] = recorded.as_slice() else {
        panic!("{recorded:?}");
    };
    let (sent, received) = (recorded.sent.concat(), recorded.received.concat());
    assert!(sent.starts_with(b"GET /noise HTTP/1.1\r\n"));
    assert!(received.ends_with(&noise));
    // nginx counts what it has deciphered, and before it ciphers.
    let logged = logged(&dir);
    assert_eq!(logged[&recorded.local.port()], (sent.len(), received.len()));
    // Who looked at the wire saw none of it.
    let [stream] = wire.streams.as_slice() else {
        panic!("{wire:?}");
    };
    assert_eq!(
        (stream.client, stream.server),
        (recorded.local, recorded.peer)
    );
    assert_eq!(
        stream.up.first(),
        Some(&22),
        "a handshake, RFC 8446, section 5.1"
    );
    let piece = &noise[..1000];
    assert!(!stream.down.windows(piece.len()).any(|w| w == piece));
    // All of it but numbers of ports, times and how many calls it took.
    let queries = [
        "select transport, role, local_address, peer_address, server_name, protocol, bytes_sent, \
         bytes_received, state, warnings, error from connections",
        "select offloaded, version, cipher, alpn, server_name, certificate_subject, \
         certificate_issuer, ja4, error from tls_sessions",
        "select \"id.orig_h\", \"id.resp_h\", proto, service, \
         duration > 0 as took, orig_bytes, resp_bytes, conn_state from zeek.conn",
        "select * exclude (ts, uid, \"id.orig_p\", \"id.resp_p\", process_id) from zeek.ssl",
        "select name, detail from warnings",
    ];
    snapshot_text!("peers_tls", rows(&dir, &queries));
}

/// An authority in `ca.pem`, and a server that it vouches for in `server.pem` and `key.pem`.
fn authority(dir: &Dir) {
    let openssl = |args: &[&str]| {
        let mut command = program("openssl");
        let output = command
            .current_dir(dir.path(""))
            .args(args)
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl: {complaints}");
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let request = |rest: &[&str]| openssl(&[&["req", "-nodes"], &curve[..], rest].concat());
    dir.create("names", "subjectAltName=DNS:localhost");
    request(&[
        "-x509",
        "-subj",
        "/CN=Test CA",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ]);
    request(&[
        "-subj",
        "/CN=localhost",
        "-keyout",
        "key.pem",
        "-out",
        "server.csr",
    ]);
    let sign = ["x509", "-req", "-in", "server.csr", "-out", "server.pem"];
    let signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&sign[..], &signer, &["-extfile", "names"]].concat());
}

/// CRC-32 as zlib has it, RFC 1952, section 8.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

//! The registry that the `.slt` files of the tables about sockets query.

use tempfile::TempDir;
use timecraft_segment::socket::{Certificate, Ends, Preopened, TlsNote, Transport};
use timecraft_segment::wasmedge::{ADDRESS_BYTES, FAMILY_INET};
use timecraft_segment::{Ended, Gap, LogOptions, ProcessEnd, ProcessStart, Registry};

use crate::guest::{Guest, small_batches, start};

const EAGAIN: u64 = 6;
const ECONNREFUSED: u64 = 14;
const EINPROGRESS: u64 = 26;
const OUT: u64 = 0x1000;

pub struct SocketRecordings {
    pub registry: Registry,
    /// The guest that is still running.
    pub live: Guest,
    _folder: TempDir,
}

impl SocketRecordings {
    pub fn new() -> SocketRecordings {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path());
        client(&registry);
        server(&registry);
        gap(&registry);
        files(&registry);
        let live = live(&registry);
        SocketRecordings {
            registry,
            live,
            _folder: folder,
        }
    }
}

fn named(n: u64, name: &str) -> ProcessStart {
    ProcessStart {
        name: Some(name.to_owned()),
        ..start(n)
    }
}

const EXITED: ProcessEnd = ProcessEnd {
    status: Ended::Exited,
    exit_code: Some(0),
    signal: None,
    trap: None,
    stall_ns: 0,
};

fn ends(transport: Transport, local: &str, peer: &str) -> Ends {
    let end = |text: &str| (text != "-").then(|| text.parse().unwrap());
    Ends {
        transport,
        local: end(local),
        peer: end(peer),
    }
}

fn tcp(peer: &str) -> String {
    ends(Transport::Tcp, "10.0.0.1:5000", peer).to_string()
}

/// A pointer and a length, and the address of version 2 that they name.
fn address(peer: &str) -> (u64, Vec<u8>) {
    let peer: std::net::SocketAddrV4 = peer.parse().unwrap();
    let mut bytes = [&FAMILY_INET.to_le_bytes()[..], &peer.ip().octets()].concat();
    bytes.resize(ADDRESS_BYTES, 0);
    let pointer = [0x4000, ADDRESS_BYTES as u32]
        .map(u32::to_le_bytes)
        .concat();
    (peer.port().into(), [pointer, bytes].concat())
}

/// Calls on sockets.
impl Guest {
    fn open_socket(&mut self, kind: u64, fd: u32) {
        let out = fd.to_le_bytes();
        self.call("sock_open", &[1, kind, OUT], &[], &[(OUT, &out)], 0);
    }

    fn connect(&mut self, fd: u32, peer: &str, note: &str, errno: u64) {
        let (port, input) = address(peer);
        self.note(note);
        self.call(
            "sock_connect",
            &[fd.into(), 0x5000, port],
            &input,
            &[],
            errno,
        );
    }

    fn connected(&mut self, fd: u32, peer: &str) {
        self.open_socket(2, fd);
        self.connect(fd, peer, &tcp(peer), 0);
    }

    fn send_to(&mut self, fd: u32, bytes: &[u8], peer: &str) {
        let (port, address) = address(peer);
        let n = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let vector = [&0x2000_u32.to_le_bytes()[..], &n].concat();
        let input = [&vector[..], &address, bytes].concat();
        let args = [fd.into(), 0x100, 1, 0x5000, port, 0, OUT];
        self.call("sock_send_to", &args, &input, &[(OUT, &n)], 0);
    }

    /// Receives; `flags` are what the host says of it.
    fn receive(&mut self, fd: u32, bytes: &[u8], flags: u16, errno: u64) {
        let n = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let vector = [0x2000_u32, 64].map(u32::to_le_bytes).concat();
        let args = [fd.into(), 0x100, 1, 0, OUT, 0x1100];
        let flags = flags.to_le_bytes();
        let outs = [(0x2000, bytes), (OUT, &n), (0x1100, &flags)];
        let outs = match (errno, bytes) {
            (0, []) => &outs[1..],
            (0, _) => &outs[..],
            _ => &[],
        };
        self.call("sock_recv", &args, &vector, outs, errno);
    }

    fn accept(&mut self, fd: u32, new: u32, note: &str) {
        self.note(note);
        let out = new.to_le_bytes();
        self.call("sock_accept", &[fd.into(), 0, OUT], &[], &[(OUT, &out)], 0);
    }

    fn resolve(&mut self, name: &str, found: &[[u8; 4]], errno: u64) {
        let args = [0x7000, name.len() as u64, 0x7100, 2, 0x7200, 0x7300, 8, OUT];
        let input = [name.as_bytes(), b"80", &[0; 28]].concat();
        let data: Vec<_> = found
            .iter()
            .map(|ip| [&[0, 80], &ip[..]].concat())
            .collect();
        let n = (found.len() as u32).to_le_bytes();
        let mut outs: Vec<(u64, &[u8])> = Vec::new();
        for (at, data) in (0x8000..).step_by(0x40).zip(&data) {
            outs.push((at, data));
        }
        outs.push((OUT, &n));
        let outs = if errno == 0 { &outs[..] } else { &[] };
        self.call("sock_getaddrinfo", &args, &input, outs, errno);
    }
}

/// What clients do, with segments in between.
fn client(registry: &Registry) {
    let mut guest = Guest::new(registry, &named(0, "client"), &small_batches());
    guest.resolve("example.com", &[[1, 2, 3, 4], [5, 6, 7, 8]], 0);
    guest.resolve("nowhere.example", &[], 44);
    guest.open_socket(2, 4);
    guest.connect(4, "1.2.3.4:80", &tcp("1.2.3.4:80"), EINPROGRESS);
    guest.write_partly(4, b"GET / HTTP/1.1\r\n\r\n and more", 18);
    guest.pass_the_time();
    guest.receive(4, b"", 0, EAGAIN);
    guest.receive(4, b"HTTP/1.1 200 OK\r\n", 0, 0);
    guest.read(4, b"\r\n");
    guest.pass_the_time();
    guest.on("sock_shutdown", 4, &[2], 0);
    guest.receive(4, b"", 0, 0);
    guest.close(4);
    // The same number again: refused at once, and by policy.
    guest.open_socket(2, 4);
    guest.connect(4, "5.6.7.8:81", &tcp("5.6.7.8:81"), ECONNREFUSED);
    guest.close(4);
    guest.open_socket(2, 4);
    let denied =
        "not granted: 169.254.169.254:80 | rule: default | needs: --allow-net 169.254.0.0/16";
    guest.connect(4, "169.254.169.254:80", denied, 2);
    guest.close(4);
    guest.pass_the_time();
    // Its own DNS, over a number that a file had.
    guest.open_at(3, "resolv.conf", 0, 0, 5);
    guest.read(5, b"nameserver 9.9.9.9\n");
    guest.close(5);
    let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x02go\x03dev\0\0\x01\0\x01";
    let answer = [
        &b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x02go\x03dev\0\0\x01\0\x01"[..],
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x09\x08\x07\x06",
    ]
    .concat();
    guest.open_socket(1, 5);
    guest.connect(5, "9.9.9.9:53", "", 0);
    guest.write(5, question);
    guest.receive(5, &answer, 0, 0);
    guest.receive(5, b"cut short", 1, 0);
    guest.send_to(5, b"hello", "7.7.7.7:7");
    guest.close(5);
    // TLS that the host does, and TLS of its own that is refused.
    guest.connected(6, "9.8.7.6:443");
    let session = TlsNote {
        server_name: "go.dev".to_owned(),
        version: Some("1.3".to_owned()),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        certificate: Some(Certificate {
            subject: "CN=go.dev".to_owned(),
            issuer: "CN=Test CA".to_owned(),
            sha256: "00ff".to_owned(),
            not_after: 1_800_000_000,
        }),
        error: None,
    };
    guest.note(&session.to_string());
    guest.write(6, b"GET /dl HTTP/1.1\r\n\r\n");
    guest.connected(7, "1.2.3.4:443");
    guest.write(7, &client_hello());
    guest.receive(7, b"\x15\x03\x03\0\x02\x02\x28", 0, 0);
    guest.end(&EXITED);
}

/// The beginning of a TLS 1.2 handshake with two cipher suites and the name `example.com`.
pub fn client_hello() -> Vec<u8> {
    let name = b"\0\0\0\x10\0\x0e\0\0\x0bexample.com";
    let body = [
        &b"\x03\x03"[..],
        &[7; 32],
        b"\0\0\x04\xc0\x2b\xc0\x2f\x01\0",
        &(name.len() as u16).to_be_bytes(),
        name,
    ]
    .concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
}

/// A server that it began with, whose peers go in different ways.
fn server(registry: &Registry) {
    let start = ProcessStart {
        sockets: vec![Preopened {
            fd: 4,
            listening: true,
            ends: ends(Transport::Tcp, "127.0.0.1:8080", "-"),
        }],
        ..named(1, "server")
    };
    let mut guest = Guest::new(registry, &start, &small_batches());
    let from = |peer| ends(Transport::Tcp, "127.0.0.1:8080", peer).to_string();
    guest.accept(4, 5, &from("127.0.0.1:40001"));
    guest.accept(4, 6, &from("127.0.0.1:40002"));
    guest.read(5, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    guest.pass_the_time();
    guest.receive(6, b"", 0, 15);
    guest.write(5, b"\0\0\0\x04\0\0\0\0\0");
    guest.close(6);
    guest.end(&EXITED);
}

/// Calls are missing while a connection is open.
fn gap(registry: &Registry) {
    let mut guest = Guest::new(registry, &named(2, "gap"), &LogOptions::default());
    guest.connected(4, "1.1.1.1:1");
    guest.write(4, b"before");
    guest.gap(&Gap {
        calls: 3,
        from_ns: 0,
        to_ns: 1,
        reason: "disk full".to_owned(),
    });
    guest.receive(4, b"after", 0, 0);
    guest.end(&EXITED);
}

/// No sockets: nothing of it need be read.
fn files(registry: &Registry) {
    let mut guest = Guest::new(registry, &named(3, "files"), &small_batches());
    guest.open_at(3, "f", 1, 0, 4);
    guest.write(4, b"GET / HTTP/1.1\r\n");
    guest.pass_the_time();
    guest.close(4);
    guest.end(&EXITED);
}

/// It waits for an answer.
fn live(registry: &Registry) -> Guest {
    let mut guest = Guest::new(registry, &named(4, "live"), &LogOptions::default());
    guest.connected(4, "1.2.3.4:443");
    guest.write(4, &client_hello());
    guest.receive(4, b"", 0, EAGAIN);
    guest
}

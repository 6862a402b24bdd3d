//! What went over loopback, as tcpdump captured it and tshark dissects it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::part::{free_port, program};
use super::server::DEADLINE;
use crate::support::{Dir, signal};

/// The last packet of a capture. Packets are captured in their order, so all before it are in.
const MARKER: &[u8] = b"the end of what timecraft's tests look at";

/// A capture that runs.
pub struct Capture {
    tcpdump: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
    marker: UdpSocket,
}

impl Capture {
    /// Captures what goes over loopback from and to some ports, from now on.
    #[track_caller]
    pub fn start(dir: &Dir, ports: &[u16]) -> Capture {
        let file = dir.path("capture.pcap");
        let marker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = ports
            .iter()
            .chain([&marker.local_addr().unwrap().port()])
            .map(|port| format!("port {port}"))
            .collect::<Vec<_>>()
            .join(" or ");
        let mut tcpdump = program("tcpdump")
            .args(["-i", "lo", "-n", "-U", "--immediate-mode", "-s", "0"])
            .args(["-B", "65536", "-w", "-"])
            .arg(ports)
            .stdin(Stdio::null())
            .stdout(File::create(&file).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(tcpdump.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            assert!(
                stderr.read_line(&mut said).unwrap() > 0,
                "tcpdump cannot capture, which takes root, or once, as root: \
                 setcap cap_net_raw+ep $(command -v tcpdump). It said:\n{said}"
            );
        }
        Capture {
            tcpdump,
            stderr,
            file,
            marker,
        }
    }

    /// Ends the capture. All that was sent before is in it.
    #[track_caller]
    pub fn stop(mut self) -> Wire {
        self.marker
            .send_to(MARKER, self.marker.local_addr().unwrap())
            .unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !std::fs::read(&self.file).unwrap().ends_with(MARKER) {
            assert!(Instant::now() < deadline, "the marker was not captured");
            thread::sleep(Duration::from_millis(5));
        }
        signal(&self.tcpdump, Signal::INT);
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        self.tcpdump.wait().unwrap();
        assert!(said.contains("\n0 packets dropped by kernel"), "{said}");
        Wire::dissect(&self.file, self.marker.local_addr().unwrap().port())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It has ended where the test came so far.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// The bytes of a TCP connection. Who sent the first SYN is the client.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// What the client sent.
    pub up: Vec<u8>,
    /// What the server sent.
    pub down: Vec<u8>,
}

/// The beginning of it: a failed test must not print megabytes.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, server) = (self.client, self.server);
        let (up, down) = (self.up.len(), self.down.len());
        let first = |bytes: &[u8]| bytes[..bytes.len().min(400)].escape_ascii().to_string();
        writeln!(f, "{client} > {server}: {up} bytes, {down} back")?;
        write!(f, "{}\n{}", first(&self.up), first(&self.down))
    }
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: Vec<u8>,
}

/// What was captured, in order of the first packet of each.
#[derive(Debug)]
pub struct Wire {
    /// Connections that began while it was captured.
    pub streams: Vec<Stream>,
    pub datagrams: Vec<Datagram>,
    /// The client and the server of connections that one of them reset.
    pub reset: BTreeSet<(SocketAddr, SocketAddr)>,
}

const FIELDS: &[&str] = &[
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.stream",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq",
    "tcp.flags.syn",
    "tcp.flags.reset",
    "tcp.payload",
    "udp.srcport",
    "udp.dstport",
    "udp.payload",
];

impl Wire {
    fn dissect(file: &Path, marker: u16) -> Wire {
        let mut tshark = program("tshark");
        tshark
            .args(["-n", "-T", "fields", "-r"])
            .arg(file)
            // A payload is one field, whatever protocol its port stands for.
            .args(["-o", "tcp.desegment_tcp_streams:FALSE"])
            // Its configuration would be there.
            .env("HOME", file.parent().unwrap());
        for field in FIELDS {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tshark: {complaints}");
        let mut streams = BTreeMap::new();
        let mut datagrams = Vec::new();
        let mut resets = BTreeSet::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let &[
                src,
                dst,
                src6,
                dst6,
                stream,
                tcp_from,
                tcp_to,
                seq,
                syn,
                reset,
                segment,
                udp_from,
                udp_to,
                datagram,
            ] = fields.as_slice()
            else {
                panic!("tshark gave other fields than were asked for: {line}");
            };
            let from = |port: &str| address(src, src6, port);
            let to = |port: &str| address(dst, dst6, port);
            if let Ok(number) = stream.parse::<usize>() {
                let from = from(tcp_from);
                if set(syn) {
                    streams.entry(number).or_insert_with(|| Segments {
                        client: from,
                        server: to(tcp_to),
                        up: Vec::new(),
                        down: Vec::new(),
                    });
                }
                // It began before, as the test's own do.
                let Some(stream) = streams.get_mut(&number) else {
                    continue;
                };
                if set(reset) {
                    resets.insert((stream.client, stream.server));
                }
                if !segment.is_empty() {
                    let half = if from == stream.client {
                        &mut stream.up
                    } else {
                        &mut stream.down
                    };
                    half.push((seq.parse().unwrap(), unhex(segment)));
                }
            } else if !udp_from.is_empty() && udp_from.parse() != Ok(marker) {
                datagrams.push(Datagram {
                    from: from(udp_from),
                    to: to(udp_to),
                    payload: unhex(datagram),
                });
            }
        }
        Wire {
            streams: streams.into_values().map(Segments::joined).collect(),
            datagrams,
            reset: resets,
        }
    }
}

/// Whether a flag is.
fn set(flag: &str) -> bool {
    matches!(flag, "1" | "True")
}

fn address(v4: &str, v6: &str, port: &str) -> SocketAddr {
    let ip = if v4.is_empty() { v6 } else { v4 };
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

/// Bytes of one direction, with the sequence number of each piece; the first byte has number 1.
type Half = Vec<(usize, Vec<u8>)>;

struct Segments {
    client: SocketAddr,
    server: SocketAddr,
    up: Half,
    down: Half,
}

impl Segments {
    fn joined(self) -> Stream {
        Stream {
            client: self.client,
            server: self.server,
            up: joined(self.up),
            down: joined(self.down),
        }
    }
}

/// The bytes in their order, what was sent again only once.
fn joined(mut half: Half) -> Vec<u8> {
    half.sort();
    let mut bytes = Vec::new();
    for (seq, segment) in half {
        let again = (bytes.len() + 1)
            .checked_sub(seq)
            .unwrap_or_else(|| panic!("bytes {} to {seq} were not captured", bytes.len() + 1));
        let known = again.min(segment.len());
        assert_eq!(bytes[seq - 1..][..known], segment[..known], "sent again");
        bytes.extend_from_slice(&segment[known..]);
    }
    bytes
}

/// Bytes as hexadecimal digits, as tshark and SQL's `encode` write them.
pub fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    assert!(pairs.remainder().is_empty(), "{text}");
    let digit = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

/// What else these tests hold against a capture is worth what the capture is.
#[test]
fn a_capture_is_what_was_sent() {
    let dir = Dir::new();
    let port = free_port();
    let server = (Ipv4Addr::LOCALHOST, port);
    let listener = TcpListener::bind(server).unwrap();
    let socket = UdpSocket::bind(server).unwrap();
    let capture = Capture::start(&dir, &[port]);
    let large: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut client = TcpStream::connect(server).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            accepted.write_all(&large).unwrap();
            accepted.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        client.write_all(b"thanks").unwrap();
    });
    socket.send_to(b"datagram", server).unwrap();
    let client = client.local_addr().unwrap();
    let wire = capture.stop();
    let streams = [Stream {
        client,
        server: server.into(),
        up: b"thanks".to_vec(),
        down: large,
    }];
    assert_eq!(wire.streams, streams);
    let datagrams = [Datagram {
        from: server.into(),
        to: server.into(),
        payload: b"datagram".to_vec(),
    }];
    assert_eq!(wire.datagrams, datagrams);
    assert_eq!(wire.reset, BTreeSet::new());
}

//! Sockets over loopback, called as a guest calls them.
#![allow(clippy::unwrap_used)]

mod datagrams;
mod names;
mod options;
mod streams;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use timecraft_segment::socket::Address;
use timecraft_segment::wasmedge::ADDRESS_BYTES;

use crate::network::Rules;
use crate::network::policy::Policy;
use crate::wasi::Flow;
use crate::wasi::abi::fdflags;
use crate::wasi::errno::Errno;
use crate::wasi::function::*;
use crate::wasi::testing::{Guest, trapped};

/// Where a pointer and a length of an address lie.
const POINTER: u64 = 2048;
/// Where the address lies.
const ADDRESS: u64 = 2064;
/// Where other results go.
const OUT: u64 = 2304;
const INET: u64 = 1;
const INET6: u64 = 2;
const UNIX: u64 = 3;
const DGRAM: u64 = 1;
const STREAM: u64 = 2;
const NONBLOCK: u64 = fdflags::NONBLOCK as u64;

impl Guest {
    fn socket(&mut self, family: u64, kind: u64) -> u64 {
        self.ok(SOCK_OPEN, &[family, kind, OUT]);
        self.u32(OUT as usize).into()
    }

    /// A pointer to an address buffer of that length.
    fn buffer(&mut self, length: usize) -> u64 {
        self.put(POINTER, &(ADDRESS as u32).to_le_bytes());
        self.put(POINTER + 4, &(length as u32).to_le_bytes());
        POINTER
    }

    /// Lays out an address as version 1 has it; returns the pointer and the port.
    fn v1(&mut self, address: &str) -> [u64; 2] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let bytes = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        self.put(ADDRESS, &bytes);
        [self.buffer(bytes.len()), address.port().into()]
    }

    /// Lays out the path of a Unix socket, which the guest may use.
    fn unix(&mut self, path: &std::path::Path) -> u64 {
        let bytes = path.as_os_str().as_encoded_bytes().to_vec();
        let rules = self.wasi.policy.rules_mut();
        rules.unix.push(bytes.clone());
        rules.listen.push(Address::Unix(bytes));
        self.put(ADDRESS, &[0; ADDRESS_BYTES]);
        self.put(ADDRESS, &[3, 0]);
        self.put(ADDRESS + 2, path.as_os_str().as_encoded_bytes());
        self.buffer(ADDRESS_BYTES)
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// The address in the buffer, which is of version 2, with the port behind it.
    fn wide(&self) -> Address {
        let bytes = self.bytes(ADDRESS as usize, ADDRESS_BYTES);
        let port = self.u32(OUT as usize) as u16;
        timecraft_segment::socket::address(bytes, port).unwrap()
    }

    fn local(&mut self, fd: u64) -> Address {
        let at = self.buffer(ADDRESS_BYTES);
        self.ok(SOCK_GETLOCALADDR_V2, &[fd, at, OUT]);
        self.wide()
    }

    fn connect(&mut self, fd: u64, address: &str) -> Flow {
        let [at, port] = self.v1(address);
        self.call(SOCK_CONNECT, &[fd, at, port])
    }

    fn bound(&mut self, family: u64, kind: u64, address: &str) -> (u64, String) {
        let fd = self.socket(family, kind);
        let [at, port] = self.v1(address);
        self.ok(SOCK_BIND, &[fd, at, port]);
        (fd, self.local(fd).to_string())
    }

    fn option(&mut self, fd: u64, level: u64, name: u64) -> u32 {
        self.ok(SOCK_GETSOCKOPT, &[fd, level, name, OUT, 4]);
        self.u32(OUT as usize)
    }

    fn wake_soon(&self) -> std::thread::JoinHandle<()> {
        let wakeup = self.wakeup.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            wakeup.wake();
        })
    }
}

#[test]
fn nothing_holds_a_guest_that_is_to_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    type Waits = fn(&mut Guest, &str) -> Flow;
    let waits: [Waits; 4] = [
        |guest, _| {
            let (fd, _) = guest.bound(INET, STREAM, "127.0.0.1:0");
            guest.ok(SOCK_LISTEN, &[fd, 5]);
            guest.call(SOCK_ACCEPT, &[fd, 0, OUT])
        },
        |guest, address| {
            let fd = guest.socket(INET, STREAM);
            guest.connect(fd, address);
            let iovs = guest.vectors(&[9]);
            guest.call(SOCK_RECV, &[fd, iovs, 1, 0, OUT, OUT])
        },
        |guest, address| {
            let fd = guest.socket(INET, STREAM);
            guest.connect(fd, address);
            let iovs = guest.vectors(&[40_000]);
            loop {
                match guest.call(FD_WRITE, &[fd, iovs, 1, 0]) {
                    Flow::Return(0) => {}
                    other => break other,
                }
            }
        },
        |guest, _| {
            let (fd, _) = guest.bound(INET, DGRAM, "127.0.0.1:0");
            let iovs = guest.vectors(&[9]);
            let at = guest.buffer(ADDRESS_BYTES);
            guest.call(SOCK_RECV_FROM_V2, &[fd, iovs, 1, at, 0, OUT, OUT, OUT])
        },
    ];
    for wait in waits {
        let mut guest = Guest::new();
        let waker = guest.wake_soon();
        assert_eq!(wait(&mut guest, &address), Flow::Interrupted);
        waker.join().unwrap();
    }
}

#[test]
fn a_guest_without_the_network_is_refused_before_anything_is_done() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut guest = Guest::new();
    let rules = Rules {
        restrict: true,
        ..Rules::default()
    };
    guest.wasi.policy = Policy::new(rules, "", "");
    let acces = Flow::Return(u16::from(Errno::ACCES).into());
    let fd = guest.socket(INET, STREAM);
    assert_eq!(guest.connect(fd, &address), acces);
    let [at, port] = guest.v1("127.0.0.1:0");
    // A port that the host chooses is what a client has anyway.
    guest.ok(SOCK_BIND, &[fd, at, port]);
    assert_eq!(guest.call(SOCK_LISTEN, &[fd, 1]), acces);
    let fd = guest.socket(INET, DGRAM);
    let iovs = guest.vectors(&[3]);
    let [at, port] = guest.v1(&address);
    assert_eq!(
        guest.call(SOCK_SEND_TO, &[fd, iovs, 1, at, port, 0, OUT]),
        acces
    );
    guest.put(ADDRESS, b"example.com");
    let args = [ADDRESS, 11, ADDRESS, 0, 0, OUT, 1, OUT];
    assert_eq!(guest.call(SOCK_GETADDRINFO, &args), acces);
    assert!(listener.accept().is_err(), "nobody came");
    let missing = guest.wasi.missing_grants();
    let flags: Vec<_> = missing.iter().map(|m| m.flag.as_str()).collect();
    let net = format!("--allow-net {address}");
    assert_eq!(
        flags,
        [
            &net,
            "--listen 127.0.0.1:0",
            &net,
            "--allow-net example.com"
        ]
    );
}

#[test]
fn what_is_no_socket_and_no_address_is_said() {
    let mut guest = Guest::new();
    for (fd, errno) in [(0, Errno::NOTSOCK), (3, Errno::NOTSOCK), (99, Errno::BADF)] {
        guest.fails(errno, SOCK_ACCEPT, &[fd, 0, 0]);
        guest.fails(errno, SOCK_RECV, &[fd, 0, 0, 0, 0, 0]);
        guest.fails(errno, SOCK_SEND, &[fd, 0, 0, 0, 0]);
        guest.fails(errno, SOCK_SHUTDOWN, &[fd, 3]);
        let [at, port] = guest.v1("127.0.0.1:1");
        guest.fails(errno, SOCK_CONNECT, &[fd, at, port]);
    }
    guest.fails(Errno::INVAL, SOCK_OPEN, &[0, STREAM, OUT]);
    guest.fails(Errno::INVAL, SOCK_OPEN, &[INET, 0, OUT]);
    let fd = guest.socket(INET, STREAM);
    let [at, _] = guest.v1("127.0.0.1:1");
    guest.fails(Errno::INVAL, SOCK_CONNECT, &[fd, at, 65_536]);
    let [at, _] = guest.v1("[::1]:1");
    guest.fails(Errno::AFNOSUPPORT, SOCK_CONNECT, &[fd, at, 1]);
    let at = guest.buffer(5);
    guest.fails(Errno::INVAL, SOCK_CONNECT, &[fd, at, 1]);
    guest.fails(Errno::INVAL, FD_FDSTAT_SET_FLAGS, &[fd, 1]);
    guest.fails(Errno::SPIPE, FD_SEEK, &[fd, 0, 0, OUT]);
    guest.fails(Errno::BADF, FD_PRESTAT_GET, &[fd, OUT]);
    guest.fails(Errno::NOTCONN, SOCK_SHUTDOWN, &[fd, 3]);
    guest.fails(Errno::INVAL, SOCK_SHUTDOWN, &[fd, 4]);
    trapped(guest.call(SOCK_CONNECT, &[fd, 1 << 30, 1]));
    trapped(guest.call(SOCK_CONNECT, &[fd, POINTER + 1, 1]));
}

#[test]
fn a_poll_watches_sockets_files_clocks_and_standard_input_together() {
    const ASKED: usize = 16_384;
    const EVENTS: usize = 20_480;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut guest = Guest::new();
    let connected = guest.socket(INET, STREAM);
    assert_eq!(guest.connect(connected, &address), Flow::Return(0));
    let (mut peer, _) = listener.accept().unwrap();
    let (server, at) = guest.bound(INET, STREAM, "127.0.0.1:0");
    guest.ok(SOCK_LISTEN, &[server, 5]);
    let (datagrams, to) = guest.bound(INET, DGRAM, "127.0.0.1:0");
    let file = guest
        .open(
            "f",
            crate::wasi::abi::oflags::CREAT,
            crate::wasi::testing::RW,
            0,
        )
        .unwrap();
    // Kind (0 a clock, 1 to read, 2 to write) and what.
    let poll = |guest: &mut Guest, asked: &[(u8, u64)]| {
        for (i, &(kind, what)) in asked.iter().enumerate() {
            let at = ASKED + 48 * i;
            guest.memory[at..at + 48].fill(0);
            guest.memory[at] = i as u8;
            guest.memory[at + 8] = kind;
            guest.memory[at + 16] = if kind == 0 { 1 } else { what as u8 };
            if kind == 0 {
                guest.memory[at + 24..at + 32].copy_from_slice(&what.to_le_bytes());
            }
        }
        let (asked_at, events, count) = (ASKED as u64, EVENTS as u64, asked.len() as u64);
        guest.ok(POLL_ONEOFF, &[asked_at, events, count, OUT]);
        let happened = 0..guest.u32(OUT as usize) as usize;
        let event = |i| {
            let at = EVENTS + 32 * i;
            (guest.memory[at], guest.u64(at + 16), guest.memory[at + 24])
        };
        happened.map(event).collect::<Vec<_>>()
    };
    const NEVER: u64 = u64::MAX;
    let all = [
        (0, NEVER),
        (1, connected),
        (1, server),
        (1, datagrams),
        (1, 0),
    ];
    let mut soon = all;
    soon[0].1 = 5_000_000;
    assert_eq!(poll(&mut guest, &soon), [(0, 0, 0)], "only time has passed");
    assert_eq!(poll(&mut guest, &[(2, connected), (0, NEVER)]), [(0, 1, 0)]);
    assert_eq!(poll(&mut guest, &[all[0], all[1], (1, file)]), [(2, 0, 1)]);

    peer.write_all(b"abc").unwrap();
    let _client = TcpStream::connect(at).unwrap();
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    host.send_to(b"four", to).unwrap();
    guest.stdin(b"12");
    assert_eq!(
        poll(&mut guest, &all),
        [(1, 3, 0), (2, 1, 0), (3, 4, 0), (4, 2, 0)]
    );
    guest.read(connected, &[3]).unwrap();
    drop(peer);
    let [(0, 0, _)] = poll(&mut guest, &[(1, connected), (0, NEVER)])[..] else {
        panic!("its end is to be read")
    };
}

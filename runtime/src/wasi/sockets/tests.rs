//! Sockets over loopback, called as a guest calls them.
#![allow(clippy::unwrap_used)]

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
fn a_stream_flows_through_both_pairs_of_calls_and_ends() {
    for (family, at) in [(INET, "127.0.0.1:0"), (INET6, "[::1]:0")] {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let mut guest = Guest::new();
        let fd = guest.socket(family, STREAM);
        assert_eq!(guest.connect(fd, &address.to_string()), Flow::Return(0));
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(guest.write(fd, &[b"he", b"llo"]), Ok(5));
        let iovs = guest.vectors(&[3]);
        let data = guest.data() as u64;
        guest.put(data, b" wo");
        guest.ok(SOCK_SEND, &[fd, iovs, 1, 0, OUT]);
        guest.ok(SOCK_SHUTDOWN, &[fd, 2]);
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello wo");
        guest.fails(Errno::PIPE, SOCK_SEND, &[fd, iovs, 1, 0, OUT]);

        peer.write_all(b"abcdef").unwrap();
        guest.ok(SOCK_RECV, &[fd, iovs, 1, 1, OUT, OUT + 4]);
        assert_eq!(guest.bytes(data as usize, 3), b"abc", "and it stays");
        assert_eq!(guest.read(fd, &[2, 2]), Ok(b"abcd".to_vec()));
        drop(peer);
        assert_eq!(guest.read(fd, &[9]), Ok(b"ef".to_vec()));
        assert_eq!(guest.read(fd, &[9]), Ok(vec![]));
        guest.ok(FD_CLOSE, &[fd]);
        guest.fails(Errno::BADF, SOCK_SHUTDOWN, &[fd, 2]);
    }
}

#[test]
fn a_guest_waits_for_all_that_it_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(guest.connect(fd, &address), Flow::Return(0));
    let (mut peer, _) = listener.accept().unwrap();
    let writer = std::thread::spawn(move || {
        for piece in [&b"ab"[..], b"cd", b"ef"] {
            peer.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        peer
    });
    let iovs = guest.vectors(&[1, 4]);
    guest.ok(SOCK_RECV, &[fd, iovs, 2, 2, OUT, OUT + 4]);
    assert_eq!(guest.u32(OUT as usize), 5);
    assert_eq!(guest.bytes(guest.data(), 5), b"abcde");
    let peer = writer.join().unwrap();
    assert_eq!(guest.read(fd, &[5]), Ok(b"f".to_vec()));
    // A buffer that fills holds the guest until there is room.
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut peer = peer;
        std::thread::sleep(Duration::from_millis(20));
        peer.read_to_end(&mut all).unwrap();
        all.len()
    });
    let mut sent = 0;
    for _ in 0..400 {
        sent += guest.write(fd, &[&[7; 20_000]]).unwrap();
    }
    guest.ok(FD_CLOSE, &[fd]);
    assert_eq!((sent, reader.join().unwrap()), (8_000_000, 8_000_000));
}

#[test]
fn a_guest_listens_and_accepts() {
    let mut guest = Guest::new();
    let (fd, address) = guest.bound(INET, STREAM, "127.0.0.1:0");
    guest.fails(Errno::INVAL, SOCK_ACCEPT, &[fd, 0, OUT]);
    guest.ok(SOCK_LISTEN, &[fd, 5]);
    assert_eq!(guest.option(fd, 0, 13), 1);
    guest.fails(Errno::NOTCONN, SOCK_SHUTDOWN, &[fd, 3]);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    guest.fails(Errno::AGAIN, SOCK_ACCEPT, &[fd, 0, OUT]);
    let mut peer = TcpStream::connect(&address).unwrap();
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, 0]);
    guest.ok(SOCK_ACCEPT, &[fd, NONBLOCK, OUT]);
    let accepted = u64::from(guest.u32(OUT as usize));
    guest.ok(FD_FDSTAT_GET, &[accepted, 64]);
    assert_eq!((guest.memory[64], guest.memory[66]), (6, 4));
    assert_eq!(guest.read(accepted, &[3]), Err(Errno::AGAIN));
    peer.write_all(b"hi").unwrap();
    guest.ok(FD_FDSTAT_SET_FLAGS, &[accepted, 0]);
    assert_eq!(guest.read(accepted, &[3]), Ok(b"hi".to_vec()));
    // Version 1 has a call of its own, and tells the family apart.
    let peer = TcpStream::connect(&address).unwrap();
    guest.ok(SOCK_ACCEPT_V1, &[fd, OUT]);
    let accepted = u64::from(guest.u32(OUT as usize));
    let at = guest.buffer(16);
    guest.ok(SOCK_GETPEERADDR_V1, &[accepted, at, OUT, OUT + 4]);
    let port = guest.u32(OUT as usize + 4);
    assert_eq!(guest.u32(OUT as usize), 4);
    assert_eq!(port, u32::from(peer.local_addr().unwrap().port()));
    assert_eq!(guest.bytes(ADDRESS as usize, 4), [127, 0, 0, 1]);
    let at = guest.buffer(3);
    guest.fails(Errno::INVAL, SOCK_GETPEERADDR_V1, &[accepted, at, OUT, OUT]);
    guest.fails(Errno::INVAL, SOCK_GETPEERADDR_V2, &[accepted, at, OUT]);
    guest.fails(Errno::NOTCONN, SOCK_GETPEERADDR_V2, &[fd, at, OUT]);
    guest.fails(Errno::INVAL, SOCK_ACCEPT, &[fd, 1, OUT]);
}

#[test]
fn a_connection_that_is_refused_says_so_at_once_or_later() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let closed = closed.unwrap().to_string();
    let mut guest = Guest::new();
    let refused = u16::from(Errno::CONNREFUSED);
    let fd = guest.socket(INET, STREAM);
    assert_eq!(guest.connect(fd, &closed), Flow::Return(refused.into()));
    let fd = guest.socket(INET, STREAM);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    let in_progress = u16::from(Errno::INPROGRESS);
    assert_eq!(guest.connect(fd, &closed), Flow::Return(in_progress.into()));
    assert_eq!(guest.option(fd, 0, 2), u32::from(refused));
    assert_eq!(guest.option(fd, 0, 2), 0, "it is told once");
}

#[test]
fn datagrams_go_one_by_one() {
    for (family, any) in [(INET, "127.0.0.1:0"), (INET6, "[::1]:0")] {
        let host = UdpSocket::bind(any).unwrap();
        let to = host.local_addr().unwrap().to_string();
        let mut guest = Guest::new();
        let fd = guest.socket(family, DGRAM);
        let iovs = guest.vectors(&[2, 3]);
        let data = guest.data() as u64;
        guest.put(data, b"hello");
        let [at, port] = guest.v1(&to);
        guest.ok(SOCK_SEND_TO, &[fd, iovs, 2, at, port, 0, OUT]);
        assert_eq!(guest.u32(OUT as usize), 5);
        let mut bytes = [0; 9];
        let (n, from) = host.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"hello");
        assert_eq!(
            guest.local(fd).to_string().split(':').next_back().unwrap(),
            from.port().to_string()
        );

        host.send_to(b"answer", from).unwrap();
        let at = guest.buffer(ADDRESS_BYTES);
        let args = [fd, iovs, 2, at, 0, OUT, OUT + 4, OUT + 8];
        guest.ok(SOCK_RECV_FROM_V2, &args);
        assert_eq!(guest.bytes(data as usize, 5), b"answe");
        let words = [4, 8].map(|i| guest.u32(OUT as usize + i));
        assert_eq!(words, [5, 1], "and the rest is lost");
        assert_eq!(guest.wide().to_string(), to);

        host.send_to(b"", from).unwrap();
        let at = guest.buffer(16);
        let args = [fd, iovs, 2, at, 0, OUT + 4, OUT + 8];
        guest.ok(SOCK_RECV_FROM_V1, &args);
        assert_eq!([4, 8].map(|i| guest.u32(OUT as usize + i)), [0, 0]);

        // Connected, it takes no other address.
        assert_eq!(guest.connect(fd, &to), Flow::Return(0));
        assert_eq!(guest.write(fd, &[b"on"]), Ok(2));
        assert_eq!(host.recv_from(&mut bytes).unwrap().0, 2);
        let [at, port] = guest.v1(&to);
        guest.fails(
            Errno::ISCONN,
            SOCK_SEND_TO,
            &[fd, iovs, 2, at, port, 0, OUT],
        );
    }
}

#[test]
fn unix_sockets_have_paths() {
    let mut guest = Guest::new();
    let path = guest.root.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let fd = guest.socket(UNIX, STREAM);
    let at = guest.unix(&path);
    guest.ok(SOCK_CONNECT, &[fd, at, 0]);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hi").unwrap();
    assert_eq!(guest.read(fd, &[5]), Ok(b"hi".to_vec()));
    let at = guest.buffer(ADDRESS_BYTES);
    guest.ok(SOCK_GETPEERADDR_V2, &[fd, at, OUT]);
    let expected = Address::Unix(path.as_os_str().as_encoded_bytes().to_vec());
    assert_eq!(guest.wide(), expected);
    assert_eq!(guest.local(fd), Address::Unix(vec![]));
    let at = guest.buffer(16);
    guest.fails(Errno::AFNOSUPPORT, SOCK_GETPEERADDR_V1, &[fd, at, OUT, OUT]);

    let path = guest.root.path().join("datagram");
    let fd = guest.socket(UNIX, DGRAM);
    let at = guest.unix(&path);
    guest.ok(SOCK_BIND, &[fd, at, 0]);
    let host = UnixDatagram::unbound().unwrap();
    host.send_to(b"one", &path).unwrap();
    let iovs = guest.vectors(&[9]);
    let at = guest.buffer(ADDRESS_BYTES);
    guest.ok(
        SOCK_RECV_FROM_V2,
        &[fd, iovs, 1, at, 0, OUT, OUT + 4, OUT + 8],
    );
    assert_eq!(guest.u32(OUT as usize + 4), 3);
    assert_eq!(guest.wide(), Address::Unix(vec![]));
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
fn options_are_kept_by_the_host() {
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    for (level, name) in [(0, 0), (0, 4), (0, 7), (0, 8), (6, 15)] {
        assert_eq!(guest.option(fd, level, name), 0, "{name}");
        guest.put(ADDRESS, &[1, 0, 0, 0]);
        guest.ok(SOCK_SETSOCKOPT, &[fd, level, name, ADDRESS, 4]);
        assert_eq!(guest.option(fd, level, name), 1, "{name}");
        guest.fails(
            Errno::INVAL,
            SOCK_SETSOCKOPT,
            &[fd, level, name, ADDRESS, 3],
        );
        guest.fails(Errno::INVAL, SOCK_GETSOCKOPT, &[fd, level, name, OUT, 3]);
    }
    for name in [5, 6] {
        guest.put(ADDRESS, &40_000u32.to_le_bytes());
        guest.ok(SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 4]);
        assert_eq!(guest.option(fd, 0, name), 40_000);
    }
    assert_eq!(guest.option(fd, 0, 1), 2);
    assert_eq!(guest.option(fd, 0, 13), 0);
    for (name, errno) in [
        (1, Errno::NOPROTOOPT),
        (3, Errno::NOTSUP),
        (10, Errno::NOTSUP),
        (14, Errno::NOTSUP),
        (15, Errno::NOPROTOOPT),
    ] {
        guest.fails(errno, SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 4]);
    }
    guest.fails(Errno::INVAL, SOCK_GETSOCKOPT, &[fd, 9, 0, OUT, 4]);
    guest.fails(Errno::NOTSOCK, SOCK_GETSOCKOPT, &[0, 0, 0, OUT, 4]);
    trapped(guest.call(SOCK_GETSOCKOPT, &[fd, 0, 0, 1 << 30, 4]));
    // To linger in a close would hold the guest.
    guest.put(ADDRESS, &[1, 0, 0, 0, 9, 0, 0, 0]);
    guest.fails(Errno::NOTSUP, SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.put(ADDRESS, &[1, 0, 0, 0, 0, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.ok(SOCK_GETSOCKOPT, &[fd, 0, 9, OUT, 8]);
    assert_eq!(guest.bytes(OUT as usize, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_guest_that_waits_only_so_long_is_told_to_try_again() {
    let mut guest = Guest::new();
    let (fd, _) = guest.bound(INET, DGRAM, "127.0.0.1:0");
    let micros = 20_000u64.to_le_bytes();
    guest.put(ADDRESS, &[&[0; 8][..], &micros].concat());
    for name in [11, 12] {
        guest.ok(SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 16]);
        guest.ok(SOCK_GETSOCKOPT, &[fd, 0, name, OUT, 16]);
        assert_eq!(guest.bytes(OUT as usize + 8, 8), micros);
    }
    assert_eq!(guest.read(fd, &[9]), Err(Errno::AGAIN));
    guest.put(ADDRESS + 8, &1_000_000u64.to_le_bytes());
    guest.fails(Errno::DOM, SOCK_SETSOCKOPT, &[fd, 0, 11, ADDRESS, 16]);
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
fn names_are_resolved_into_the_structures_of_the_guest() {
    let mut guest = Guest::new();
    let lookup =
        |guest: &mut Guest, node: &str, service: &str, flags: u16, family: u8, most: u64| {
            let (hints, list, structures) = (OUT, OUT + 64, OUT + 128);
            guest.put(hints, &[0; 28]);
            guest.put(hints, &flags.to_le_bytes());
            guest.put(hints + 2, &[family, STREAM as u8]);
            guest.put(list, &(structures as u32).to_le_bytes());
            for i in 0..2 {
                let at = structures + 128 * i;
                let (sockaddr, data, next) = (at + 32, at + 64, if i == 0 { at + 128 } else { 0 });
                guest.put(at + 12, &(sockaddr as u32).to_le_bytes());
                guest.put(at + 24, &(next as u32).to_le_bytes());
                guest.put(sockaddr + 4, &14u32.to_le_bytes());
                guest.put(sockaddr + 8, &(data as u32).to_le_bytes());
                guest.put(data, &[0; 18]);
            }
            let [[n, n_len], [s, s_len]] = guest.paths([node, service]);
            let flow = guest.call(
                SOCK_GETADDRINFO,
                &[n, n_len, s, s_len, hints, list, most, OUT + 96],
            );
            let Flow::Return(0) = flow else {
                let Flow::Return(errno) = flow else {
                    panic!("{flow:?}")
                };
                return Err(Errno::from_number(errno as u16));
            };
            let found = (0..guest.u32(OUT as usize + 96) as usize).map(|i| {
                let at = (structures as usize) + 128 * i;
                let (family, data) = (guest.memory[at + 32], guest.bytes(at + 64, 18));
                assert_eq!(guest.memory[at + 2], family);
                let length = if family == 1 { 6 } else { 18 };
                let port = u16::from_be_bytes([data[0], data[1]]);
                timecraft_segment::socket::address(&data[2..length], port)
                    .unwrap()
                    .to_string()
            });
            Ok(found.collect::<Vec<_>>())
        };
    let found = lookup(&mut guest, "localhost\0", "80", 0, 1, 2).unwrap();
    assert_eq!(found, ["127.0.0.1:80"]);
    assert_eq!(
        lookup(&mut guest, "::1", "https", 4, 0, 2).unwrap(),
        ["[::1]:443"]
    );
    assert_eq!(lookup(&mut guest, "", "9", 1, 2, 2).unwrap(), ["[::]:9"]);
    assert_eq!(
        lookup(&mut guest, "", "9", 0, 0, 2).unwrap(),
        ["127.0.0.1:9"]
    );
    for (node, service, flags, family) in [
        ("localhost", "", 4, 0),
        ("127.0.0.1", "no-such", 0, 0),
        ("127.0.0.1", "http", 8, 0),
        ("127.0.0.1", "", 0, 2),
        ("", "", 0, 0),
        ("a\0b", "", 0, 0),
    ] {
        assert_eq!(
            lookup(&mut guest, node, service, flags, family, 2),
            Err(Errno::INVAL),
            "{node}"
        );
    }
    assert_eq!(lookup(&mut guest, "::1", "1", 0, 9, 2), Err(Errno::NOTSUP));
    assert_eq!(lookup(&mut guest, "::1", "1", 0, 0, 0), Err(Errno::INVAL));
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

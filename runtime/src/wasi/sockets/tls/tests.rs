//! As a guest sees it, with the library's own server at the other end of a connection over loopback.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::{ServerConnection, StreamOwned};

use crate::network::tls::tests::{ALL, Authority, VALID};
use crate::wasi::Flow;
use crate::wasi::abi::fdflags;
use crate::wasi::errno::Errno;
use crate::wasi::function::*;
use crate::wasi::testing::Guest;

const LEVEL: u64 = 0x7469_6d65;
const NAME: u64 = 3000;
const ADDRESS: u64 = 2048;
const SUBSCRIPTION: u64 = 1024;
const EVENTS: u64 = 4096;
const OUT: u64 = 2304;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

type Stream = StreamOwned<ServerConnection, std::net::TcpStream>;

/// A guest that trusts an authority, connected to a server whose certificate is for `a.example`.
fn connected(served: impl FnOnce(Stream) + Send + 'static) -> (Guest, u64, JoinHandle<()>) {
    let authority = Authority::new("A");
    let config = authority.server("a.example", VALID, ALL);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        served(StreamOwned::new(
            ServerConnection::new(config).unwrap(),
            stream,
        ));
    });
    let mut guest = Guest::new();
    guest.wasi.trust = Arc::new(authority.trust());
    guest.ok(SOCK_OPEN, &[1, 2, OUT]);
    let fd = u64::from(guest.u32(OUT as usize));
    let mut put = |at: u64, bytes: &[u8]| {
        guest.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    };
    put(
        ADDRESS,
        &[ADDRESS as u32 + 8, 4].map(u32::to_le_bytes).concat(),
    );
    put(ADDRESS + 8, &[127, 0, 0, 1]);
    put(NAME, b"a.example");
    guest.ok(SOCK_CONNECT, &[fd, ADDRESS, port.into()]);
    (guest, fd, server)
}

impl Guest {
    fn begin_tls(&mut self, fd: u64, length: u64) -> Flow {
        self.call(SOCK_SETSOCKOPT, &[fd, LEVEL, 1, NAME, length])
    }

    /// Polls for one event of a descriptor; returns the bytes that it tells of.
    fn waits(&mut self, fd: u64, event: u8) -> u64 {
        let at = SUBSCRIPTION as usize;
        self.memory[at..at + 48].fill(0);
        self.memory[at + 8] = event;
        self.memory[at + 16..at + 20].copy_from_slice(&(fd as u32).to_le_bytes());
        self.ok(POLL_ONEOFF, &[SUBSCRIPTION, EVENTS, 1, OUT]);
        assert_eq!(self.u32(OUT as usize), 1);
        assert_eq!(self.memory[EVENTS as usize + 10], event);
        self.u32(EVENTS as usize + 16).into()
    }
}

fn errno(errno: Errno) -> Flow {
    Flow::Return(u16::from(errno).into())
}

#[test]
fn a_guest_that_waits_talks_in_clear_text() {
    let (mut guest, fd, server) = connected(|mut stream| {
        let mut question = [0; 8];
        stream.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"question");
        stream.write_all(b"answer").unwrap();
        // The guest has said that it sends no more.
        assert_eq!(stream.read(&mut question).unwrap(), 0);
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    assert_eq!(guest.begin_tls(fd, 9), Flow::Return(0));
    assert_eq!(guest.begin_tls(fd, 9), errno(Errno::ALREADY));
    assert_eq!(guest.write(fd, &[b"ques", b"tion"]), Ok(8));
    assert_eq!(guest.read(fd, &[2, 2]), Ok(b"answ".to_vec()));
    assert_eq!(
        guest.waits(fd, FD_READ),
        2,
        "clear text that no poll of the host tells of"
    );
    assert_eq!(guest.read(fd, &[9]), Ok(b"er".to_vec()));
    guest.ok(SOCK_SHUTDOWN, &[fd, 2]);
    assert_eq!(guest.read(fd, &[9]), Ok(vec![]));
    server.join().unwrap();
}

#[test]
fn a_guest_that_does_not_wait_polls_until_the_handshake_is_done() {
    let (mut guest, fd, server) = connected(|mut stream| {
        let mut much = vec![0; 1 << 20];
        stream.read_exact(&mut much).unwrap();
        stream.write_all(&much).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, fdflags::NONBLOCK.into()]);
    assert_eq!(guest.begin_tls(fd, 9), Flow::Return(0));
    assert_eq!(guest.read(fd, &[9]), Err(Errno::AGAIN));
    loop {
        guest.waits(fd, FD_WRITE);
        match guest.call(SOCK_GETSOCKOPT, &[fd, LEVEL, 1, OUT, 4]) {
            Flow::Return(0) => break,
            flow => assert_eq!(flow, errno(Errno::AGAIN)),
        }
    }
    let piece = [7; 1 << 12];
    let mut sent = 0;
    while sent < 1 << 20 {
        match guest.write(fd, &[&piece]) {
            Ok(n) => sent += n,
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                guest.waits(fd, FD_WRITE);
            }
        }
    }
    let mut received = 0;
    loop {
        match guest.read(fd, &[1000]) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => received += bytes.len(),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                guest.waits(fd, FD_READ);
            }
        }
    }
    assert_eq!(received, 1 << 20);
    guest.ok(FD_CLOSE, &[fd]);
    server.join().unwrap();
}

#[test]
fn what_fails_is_a_protocol_error_and_a_cut_a_reset() {
    let (mut guest, fd, server) = connected(|mut stream| {
        assert!(stream.read(&mut [0; 9]).is_err(), "it is not trusted");
    });
    guest.memory[NAME as usize] = b'b';
    assert_eq!(guest.begin_tls(fd, 9), errno(Errno::PROTO));
    assert_eq!(guest.write(fd, &[b"secret"]), Err(Errno::PROTO));
    assert_eq!(guest.read(fd, &[9]), Err(Errno::PROTO));
    guest.waits(fd, FD_READ);
    guest.waits(fd, FD_WRITE);
    guest.ok(FD_CLOSE, &[fd]);
    server.join().unwrap();

    let (mut guest, fd, server) = connected(|mut stream| {
        stream.write_all(b"not all").unwrap();
        stream.flush().unwrap();
    });
    assert_eq!(guest.begin_tls(fd, 9), Flow::Return(0));
    server.join().unwrap();
    assert_eq!(guest.read(fd, &[9]), Ok(b"not all".to_vec()));
    assert_eq!(guest.read(fd, &[9]), Err(Errno::CONNRESET));
}

#[test]
fn tls_is_for_connections_to_names() {
    let (mut guest, fd, server) = connected(drop);
    assert_eq!(guest.begin_tls(fd, 0), errno(Errno::INVAL));
    server.join().unwrap();
    guest.ok(SOCK_OPEN, &[1, 2, OUT]);
    let stream = guest.u32(OUT as usize).into();
    assert_eq!(guest.begin_tls(stream, 9), errno(Errno::NOTCONN));
    guest.ok(SOCK_OPEN, &[1, 1, OUT]);
    let datagrams = guest.u32(OUT as usize).into();
    assert_eq!(guest.begin_tls(datagrams, 9), errno(Errno::NOPROTOOPT));
    guest.fails(Errno::NOTCONN, SOCK_GETSOCKOPT, &[stream, LEVEL, 1, OUT, 4]);
}

#[test]
fn a_handshake_ends_with_the_guest() {
    let (mut guest, fd, server) = connected(|stream| {
        let mut rest = stream.sock;
        // The server says nothing until the guest is gone.
        let mut hello = Vec::new();
        rest.read_to_end(&mut hello).unwrap();
        assert!(!hello.is_empty());
    });
    let wakeup = guest.wakeup.clone();
    let waker = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(20));
        wakeup.wake();
    });
    assert_eq!(guest.begin_tls(fd, 9), Flow::Interrupted);
    waker.join().unwrap();
    drop(guest);
    server.join().unwrap();
}

//! In calls that wait for the network, and for what the host does there for a guest.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::harness::{Place, ends, nothing};
use super::program;

/// Waits in a call on the socket that it starts with, descriptor 3, or on one that it makes.
fn on_a_socket(imports: &[&str], body: &str) -> String {
    let body = format!(
        "(memory (export \"memory\") 1)
        (data (i32.const 0) \"\\40\\00\\00\\00\\00\\10\\00\\00\")
        (func (export \"_start\")
          (drop (call $fd_fdstat_set_flags (i32.const 3) (i32.const 0)))
          {body})"
    );
    program(&[&["fd_fdstat_set_flags"], imports].concat(), &body)
}

#[test]
fn in_an_accept() {
    let accept = "(drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 24)))";
    ends(
        "sock_accept",
        Place::Waiting("sock_accept"),
        &on_a_socket(&["sock_accept"], accept),
        |_, cmd| {
            let cmd = cmd.args(["-L", "127.0.0.1:0", "guest.wat"]);
            (cmd.spawn(), nothing())
        },
    );
}

#[test]
fn in_a_receive() {
    let receive = "(drop (call $sock_recv (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0)
            (i32.const 24) (i32.const 28)))";
    ends(
        "sock_recv",
        Place::Waiting("sock_recv"),
        &on_a_socket(&["sock_recv"], receive),
        |_, cmd| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap().to_string();
            let cmd = cmd.args(["-D", &at, "guest.wat"]);
            (cmd.spawn(), Box::new(listener))
        },
    );
}

/// Connects to a port of this host, and does something with the descriptor, which is at 32.
fn connects(imports: &[&str], port: u16, then: &str) -> String {
    // The address 127.0.0.1 lies at 16, a pointer to it at 24, a name of it at 64.
    let body = format!(
        "(memory (export \"memory\") 1)
        (data (i32.const 16) \"\\7f\\00\\00\\01\")
        (data (i32.const 24) \"\\10\\00\\00\\00\\04\\00\\00\\00\")
        (data (i32.const 64) \"localhost\")
        (func (export \"_start\")
          (drop (call $sock_open (i32.const 1) (i32.const 2) (i32.const 32)))
          (drop (call $sock_connect (i32.load (i32.const 32)) (i32.const 24) (i32.const {port})))
          {then})"
    );
    program(&[&["sock_open", "sock_connect"], imports].concat(), &body)
}

/// A connection for which the other side has no room is tried again for minutes.
#[test]
fn in_a_connect() {
    let (listener, full, port) = full_listener();
    ends(
        "sock_connect",
        Place::Waiting("sock_connect"),
        &connects(&[], port, ""),
        |_, cmd| (cmd.arg("guest.wat").spawn(), nothing()),
    );
    drop((listener, full));
}

/// A listener with no room for another connection, what fills it, and its port.
fn full_listener() -> (OwnedFd, Vec<OwnedFd>, u16) {
    let make = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    };
    let listener = make();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    rustix::net::bind(&listener, &any).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
    let mut full = Vec::new();
    // One that is not there at once has found no room.
    loop {
        let socket = make();
        let _ = rustix::net::connect(&socket, &address);
        let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
        let a_while = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let ready = poll(&mut fds, Some(&a_while)).unwrap();
        full.push(socket);
        if ready == 0 {
            return (listener, full, address.port());
        }
        assert!(full.len() < 20, "it takes all");
    }
}

/// The server has the connection and says nothing.
#[test]
fn in_a_handshake_of_tls() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let handshake = "(drop (call $sock_setsockopt (i32.load (i32.const 32)) (i32.const 0x74696d65)
        (i32.const 1) (i32.const 64) (i32.const 9)))";
    ends(
        "a handshake of TLS",
        Place::Waiting("sock_setsockopt"),
        &connects(&["sock_setsockopt"], port, handshake),
        |_, cmd| (cmd.arg("guest.wat").spawn(), nothing()),
    );
    // So it was not refused.
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_ok());
}

/// A resolver that never answers. No file of the machine can be changed for a test, so it is put in the
/// place of the system's, built with what links Rust programs.
const RESOLVER: &str = "#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const void *hints, void *found) {
    for (;;) pause();
}
";

#[test]
fn in_a_lookup_of_a_name() {
    // The name lies at 64. This one would not leave the machine if the system were asked after all.
    let wat = program(
        &["sock_getaddrinfo"],
        "(memory (export \"memory\") 1)
        (data (i32.const 64) \"localhost\")
        (func (export \"_start\")
          (drop (call $sock_getaddrinfo (i32.const 64) (i32.const 9) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 20))))",
    );
    ends(
        "sock_getaddrinfo",
        Place::Waiting("sock_getaddrinfo"),
        &wat,
        |dir, cmd| {
            let source = dir.create("resolver.c", RESOLVER);
            let resolver = dir.path("resolver.so");
            let mut cc = Command::new("cc");
            cc.args(["-shared", "-fPIC", "-o"])
                .args([&resolver, &source]);
            assert!(cc.status().unwrap().success());
            let cmd = cmd.env("LD_PRELOAD", resolver).arg("guest.wat");
            (cmd.spawn(), nothing())
        },
    );
}

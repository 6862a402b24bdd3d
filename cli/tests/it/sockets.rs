//! Guests that talk: the socket functions that they may import, the sockets that they start with, and
//! what the log says of both. All of it over loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;
use std::time::{Duration, Instant};

use timecraft_segment::socket::{Address, Ends, Preopened, Transport};
use timecraft_segment::{ProcessStart, Projection, Registry, describe};

use crate::snapshot;
use crate::support::{Dir, ended, guest};

/// To run what listens on loopback, at ports that the system chooses.
const LISTENS: [&str; 5] = ["run", "-L", "127.0.0.1:0", "-L", "[::1]:0"];

fn registry(dir: &Dir) -> Registry {
    Registry::at(dir.path("home/.timecraft/registry"))
}

fn start(dir: &Dir) -> ProcessStart {
    let registry = registry(dir);
    let id = registry.find("latest").unwrap();
    registry.snapshot(id).unwrap().start().clone()
}

/// Each call of the last process as a trace has it, and its note.
fn calls(dir: &Dir) -> Vec<(String, Option<String>)> {
    let registry = registry(dir);
    let snapshot = registry.snapshot(registry.find("latest").unwrap()).unwrap();
    let mut calls = Vec::new();
    for chunk in snapshot.chunks() {
        let read = chunk.read(Projection::ALL).unwrap();
        for record in read.iter().filter(|r| r.row().is_some()) {
            calls.push((describe::strace(&record), record.note.map(str::to_owned)));
        }
    }
    calls
}

/// The calls of sockets, a line each.
fn talk(dir: &Dir) -> String {
    let calls = calls(dir).into_iter().map(|(line, _)| line + "\n");
    calls.filter(|line| line.starts_with("sock_")).collect()
}

/// The parts of a trace that differ: numbers of ports, as they stand in it.
const PORTS: &[(&str, &str)] = &[
    (r"(127\.0\.0\.1|\[::1\]):\d{4,5}\b", "$1:[PORT]"),
    (r"port=(\[?)\d{4,5}\b", "port=$1[PORT]"),
    (r"\b(3[2-9]|[456]\d)\d{3}\b", "[PORT]"),
];

#[track_caller]
fn talks(name: &str, dir: &Dir) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, with) in PORTS {
        settings.add_filter(pattern, *with);
    }
    let text = talk(dir).replace(dir.path("").to_str().unwrap(), "[DIR]/");
    settings.bind(|| crate::snapshot_text!(name, text));
}

#[test]
fn a_guest_talks_with_itself_by_version_1() {
    let dir = Dir::new();
    let said = dir.cmd(LISTENS).arg(guest("sockets1.wasm")).assert(0);
    assert_eq!(
        said.out().lines().filter(|l| l.ends_with(": ok")).count(),
        88
    );
    talks("sockets_v1", &dir);
    dir.cmd(LISTENS)
        .args(["-S", "wasmedgev1"])
        .arg(guest("sockets1.wasm"))
        .assert(0);
}

#[test]
fn a_guest_talks_with_itself_by_version_2() {
    let dir = Dir::new();
    let path = dir.path("socket");
    let allow = format!("--allow-unix={}", path.display());
    let listen = format!("--listen=unix:{}", path.display());
    let said = dir
        .cmd(LISTENS)
        .args([&allow, &listen])
        .arg(guest("sockets2.wasm"))
        .arg(&path)
        .assert(0);
    assert_eq!(
        said.out().lines().filter(|l| l.ends_with(": ok")).count(),
        100
    );
    talks("sockets_v2", &dir);
}

#[test]
fn versions_that_do_not_fit_are_told() {
    let dir = Dir::new();
    for (which, name) in [
        ("none", "sockets1"),
        ("wasmedgev2", "sockets1"),
        ("wasmedgev1", "sockets2"),
    ] {
        let cmd = dir.cmd(["run", "--fly-blind", "--sockets", which]);
        let said = cmd.arg(guest(&format!("{name}.wasm"))).assert(125);
        snapshot!(format!("sockets_{which}_{name}"), said);
    }
    let mix = "(module
        (import \"wasi_snapshot_preview1\" \"sock_accept\" (func (param i32 i32) (result i32)))
        (import \"wasi_snapshot_preview1\" \"sock_getlocaladdr\" (func (param i32 i32 i32) (result i32)))
        (func (export \"_start\")))";
    dir.create("mix.wat", mix);
    snapshot!(
        "sockets_mix",
        dir.cmd(["run", "--fly-blind", "mix.wat"]).assert(125)
    );
}

#[test]
fn a_restricted_guest_reaches_nothing() {
    let dir = Dir::new();
    let said = dir
        .cmd(["run", "--restrict"])
        .arg(guest("sockets1.wasm"))
        .assert(1);
    assert!(
        said.stderr
            .contains("hint: the guest was refused to listen at tcp 127.0.0.1:0"),
        "{}",
        said.stderr
    );
    let refused = calls(&dir)
        .iter()
        .filter(|(line, _)| line.contains("EACCES"))
        .count();
    assert!(refused > 5, "{refused}");
}

/// Accepts a connection at descriptor 3, and sends back what comes until it ends: only preview 1's own
/// functions, as a C or Rust program calls them.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $must (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func (export "_start") (local $fd i32)
    (call $must (call $flags (i32.const 3) (i32.const 0)))
    (call $must (call $accept (i32.const 3) (i32.const 0) (i32.const 0)))
    (local.set $fd (i32.load (i32.const 0)))
    (loop $again
      (i32.store (i32.const 8) (i32.const 64))
      (i32.store (i32.const 12) (i32.const 1000))
      (call $must (call $recv (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 16) (i32.const 20)))
      (i32.store (i32.const 12) (i32.load (i32.const 16)))
      (call $must (call $send (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 24)))
      (br_if $again (i32.load (i32.const 16))))
    (call $must (call $shutdown (local.get $fd) (i32.const 2)))))"#;

/// The socket that the guest starts with, as soon as its log says it.
fn preopened(dir: &Dir, child: &mut Child) -> Preopened {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let registry = registry(dir);
        let id = registry
            .process_ids()
            .ok()
            .and_then(|ids| ids.first().copied());
        if let Some(snapshot) = id.and_then(|id| registry.snapshot(id).ok()) {
            return snapshot.start().sockets[0].clone();
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        assert!(Instant::now() < deadline, "it never started");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_guest_serves_on_a_socket_that_it_starts_with() {
    let dir = Dir::new();
    dir.create("echo.wat", ECHO);
    let mut child = dir.cmd(["run", "-L", "127.0.0.1:0", "echo.wat"]).spawn();
    let socket = preopened(&dir, &mut child);
    assert_eq!((socket.fd, socket.listening), (3, true));
    let Some(Address::Ip(address)) = socket.ends.local else {
        panic!("{socket:?}")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"there and back").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    assert_eq!(back, "there and back");
    assert_eq!(ended(child), Some(0));
    assert_eq!(start(&dir).grants, ["--listen 127.0.0.1:0"]);
    // The accepted socket's ends are in the log, though the guest asked for neither.
    let ours = stream.local_addr().unwrap();
    let noted = Ends {
        transport: Transport::Tcp,
        local: Some(Address::Ip(address)),
        peer: Some(Address::Ip(ours)),
    };
    let calls = calls(&dir);
    let accept = calls
        .iter()
        .find(|(line, _)| line.starts_with("sock_accept"))
        .unwrap();
    assert_eq!(accept.1, Some(noted.to_string()));
}

/// Reads from its descriptor 3 once and writes it to standard output.
const READ: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 100))
    (drop (call $flags (i32.const 3) (i32.const 0)))
    (drop (call $read (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn a_guest_starts_with_a_connection() {
    let dir = Dir::new();
    dir.create("read.wat", READ);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || tcp.accept().unwrap().0.write_all(b"by tcp").unwrap());
    let said = dir.cmd(["run", "--dial", &at, "read.wat"]).assert(0);
    server.join().unwrap();
    assert_eq!(said.out(), "by tcp");
    let sockets = start(&dir).sockets;
    assert_eq!(sockets[0].ends.peer, Some(at.parse().unwrap()));
    assert_eq!((sockets[0].fd, sockets[0].listening), (3, false));

    let unix = UnixListener::bind(dir.path("s")).unwrap();
    let server =
        std::thread::spawn(move || unix.accept().unwrap().0.write_all(b"by path").unwrap());
    let said = dir.cmd(["run", "-D", "unix:s", "read.wat"]).assert(0);
    server.join().unwrap();
    assert_eq!(said.out(), "by path");
}

#[test]
fn sockets_that_cannot_be_made_are_told() {
    let dir = Dir::new();
    dir.create("read.wat", READ);
    let taken = UnixListener::bind(dir.path("s")).unwrap();
    snapshot!(
        "sockets_listen_taken",
        dir.cmd(["run", "-L", "unix:s", "read.wat"]).assert(125)
    );
    drop(taken);
    snapshot!(
        "sockets_dial_nobody",
        dir.cmd(["run", "-D", "unix:s", "read.wat"]).assert(125)
    );
    snapshot!(
        "sockets_listen_malformed",
        dir.cmd(["run", "-L", "80", "read.wat"]).assert(2)
    );
}

/// Prints how many bytes of `/etc/resolv.conf` it can read; exits with what opening `/etc/passwd` gives.
/// It looks for directories as C libraries do, and it can open sockets.
const RESOLVES: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "resolv.conf")
  (data (i32.const 48) "passwd")
  (func (export "_start") (local $errno i32)
    (local.set $errno (call $open (i32.const 3) (i32.const 1) (i32.const 32) (i32.const 11)
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (if (local.get $errno) (then (call $exit (i32.add (i32.const 100) (local.get $errno)))))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 60000))
    (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (call $open (i32.const 3) (i32.const 1) (i32.const 48) (i32.const 6)
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))))"#;

#[test]
fn a_guest_with_sockets_finds_how_the_host_resolves_names_and_no_more() {
    const NOENT: i32 = 44;
    const BADF: i32 = 108;
    let dir = Dir::new();
    dir.create("resolves.wat", RESOLVES);
    let said = dir.cmd(["run", "resolves.wat"]).assert(NOENT);
    assert_eq!(said.stdout, std::fs::read("/etc/resolv.conf").unwrap());
    let preopens: Vec<_> = start(&dir)
        .preopens
        .iter()
        .map(|p| (p.fd, p.path.clone()))
        .collect();
    assert_eq!(preopens, [(3, "/etc".to_owned())]);
    assert_eq!(start(&dir).grants, [""; 0]);
    // Without sockets, or without the network, nobody asks; and what was granted stands.
    let offline = RESOLVES.replace(
        "\"sock_open\" (func (param i32 i32 i32) (result i32))",
        "\"sched_yield\" (func (result i32))",
    );
    dir.create("offline.wat", offline);
    dir.cmd(["run", "offline.wat"]).assert(BADF);
    dir.cmd(["run", "--restrict", "resolves.wat"]).assert(BADF);
    dir.create("mine/resolv.conf", "nameserver 192.0.2.1\n");
    dir.create("mine/passwd", "");
    for guest in ["/etc", "/etc/", "/"] {
        let grant = format!("mine::{guest}");
        let said = dir.cmd(["run", "--dir", &grant, "resolves.wat"]).assert(0);
        assert_eq!(said.out(), "nameserver 192.0.2.1\n");
    }
}

/// Can open sockets, looks for directories as C libraries do, and for a file in none of them as Go does
/// where `DIRECTORY` is -1; then it fails.
const LOOKS: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "hosts")
  (func (export "_start") (local $fd i32)
    (local.set $fd (i32.const 3))
    (loop $more
      (call $prestat (local.get $fd) (i32.const 0))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.eqz)))
    (drop (call $open (i32.const DIRECTORY) (i32.const 1) (i32.const 32) (i32.const 5)
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (call $exit (i32.const 1))))"#;

#[test]
fn a_guest_with_sockets_that_fails_is_not_said_to_lack_directories() {
    let dir = Dir::new();
    dir.create("looks.wat", LOOKS.replace("DIRECTORY", "3"));
    snapshot!("sockets_failed", dir.cmd(["run", "looks.wat"]).assert(1));
    dir.create("looks.wat", LOOKS.replace("DIRECTORY", "-1"));
    snapshot!(
        "sockets_failed_without_directory",
        dir.cmd(["run", "looks.wat"]).assert(1)
    );
}

#[test]
fn the_file_of_a_socket_comes_and_goes_with_its_guest() {
    let dir = Dir::new();
    dir.create("echo.wat", ECHO);
    let serve = || dir.cmd(["run", "-L", "unix:s", "echo.wat"]).spawn();
    let echoes = || {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stream = loop {
            match UnixStream::connect(dir.path("s")) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.write_all(b"there and back").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, "there and back");
    };
    let child = serve();
    echoes();
    assert_eq!(ended(child), Some(0));
    assert!(!dir.path("s").exists());

    // What a host that was killed leaves is no obstacle to the next.
    let mut child = serve();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !dir.path("s").exists() {
        assert!(Instant::now() < deadline, "it never listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path("s").exists());
    let child = serve();
    echoes();
    assert_eq!(ended(child), Some(0));
    assert!(!dir.path("s").exists());
}

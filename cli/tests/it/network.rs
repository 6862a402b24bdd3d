//! What a guest may not reach: each attempt is refused before anything leaves, and is a row of
//! `denials` with the flag that would grant it.

use std::fmt::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use crate::support::Dir;

const EACCES: i32 = 2;

/// Calls of a guest with constant arguments. Each but the last has to succeed; the last one's errno is
/// the guest's exit status.
#[derive(Default)]
struct Attempt {
    data: String,
    calls: String,
    /// Where the next constant goes.
    at: usize,
}

impl Attempt {
    /// A socket of a family (1, 2: IPv4, IPv6; 3: Unix) and a type (1: datagrams, 2: a stream). It has
    /// descriptor 3 and those from there on, since the files of the resolver are closed first.
    fn socket(mut self, family: u8, kind: u8) -> Attempt {
        self.at = self.at.max(4096);
        self.call(
            "sock_open",
            &format!("(i32.const {family}) (i32.const {kind}) (i32.const 16)"),
        )
    }

    fn connect(mut self, fd: u8, address: &str) -> Attempt {
        let arguments = self.address(address);
        self.call("sock_connect", &format!("(i32.const {fd}) {arguments}"))
    }

    fn bind(mut self, fd: u8, address: &str) -> Attempt {
        let arguments = self.address(address);
        self.call("sock_bind", &format!("(i32.const {fd}) {arguments}"))
    }

    fn listen(self, fd: u8) -> Attempt {
        self.call("sock_listen", &format!("(i32.const {fd}) (i32.const 1)"))
    }

    fn send_to(mut self, fd: u8, address: &str, bytes: &[u8]) -> Attempt {
        let data = self.constant(bytes);
        let vector = self.constant(&[data, bytes.len() as u32].map(u32::to_le_bytes).concat());
        let address = self.address(address);
        let rest = "(i32.const 0) (i32.const 16)";
        let arguments =
            format!("(i32.const {fd}) (i32.const {vector}) (i32.const 1) {address} {rest}");
        self.call("sock_send_to", &arguments)
    }

    /// Sends to whom the socket is connected.
    fn send(mut self, fd: u8, bytes: &[u8]) -> Attempt {
        let data = self.constant(bytes);
        let vector = self.constant(&[data, bytes.len() as u32].map(u32::to_le_bytes).concat());
        let rest = "(i32.const 1) (i32.const 0) (i32.const 16)";
        self.call(
            "sock_send",
            &format!("(i32.const {fd}) (i32.const {vector}) {rest}"),
        )
    }

    /// Receives a datagram that nobody looks at.
    fn receive(mut self, fd: u8) -> Attempt {
        let vector = self.constant(&[32u32, 512].map(u32::to_le_bytes).concat());
        let rest = "(i32.const 0) (i32.const 16) (i32.const 20)";
        let arguments = format!("(i32.const {fd}) (i32.const {vector}) (i32.const 1) {rest}");
        self.call("sock_recv", &arguments)
    }

    fn look_up(mut self, name: &str) -> Attempt {
        let node = self.constant(name.as_bytes());
        let arguments = format!(
            "(i32.const {node}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0) \
             (i32.const 16) (i32.const 1) (i32.const 20)",
            name.len()
        );
        self.call("sock_getaddrinfo", &arguments)
    }

    /// A pointer to a pointer to the address, and the port.
    fn address(&mut self, text: &str) -> String {
        let (bytes, port) = match text.parse() {
            Ok(std::net::SocketAddr::V4(a)) => (a.ip().octets().to_vec(), a.port()),
            Ok(std::net::SocketAddr::V6(a)) => (a.ip().octets().to_vec(), a.port()),
            Err(_) => {
                let mut unix = [&[3, 0], text.as_bytes()].concat();
                unix.resize(128, 0);
                (unix, 0)
            }
        };
        let lies = self.constant(&bytes);
        let buffer = self.constant(&[lies, bytes.len() as u32].map(u32::to_le_bytes).concat());
        format!("(i32.const {buffer}) (i32.const {port})")
    }

    fn constant(&mut self, bytes: &[u8]) -> u32 {
        let at = self.at;
        let mut text = String::new();
        for byte in bytes {
            write!(text, "\\{byte:02x}").unwrap();
        }
        writeln!(self.data, "(data (i32.const {at}) \"{text}\")").unwrap();
        self.at = (at + bytes.len()).next_multiple_of(8);
        at as u32
    }

    fn call(mut self, function: &str, arguments: &str) -> Attempt {
        writeln!(self.calls, "(call $ok (local.get $errno))").unwrap();
        writeln!(
            self.calls,
            "(local.set $errno (call ${function} {arguments}))"
        )
        .unwrap();
        self
    }

    fn module(&self) -> String {
        let functions = [
            ("sock_open", 3),
            ("sock_bind", 3),
            ("sock_connect", 3),
            ("sock_listen", 2),
            ("sock_send_to", 7),
            ("sock_send", 5),
            ("sock_recv", 6),
            ("sock_getaddrinfo", 8),
        ];
        let mut imports = String::new();
        for (name, params) in functions {
            let params = "i32 ".repeat(params);
            let import = format!("(import \"wasi_snapshot_preview1\" \"{name}\"");
            writeln!(
                imports,
                "{import} (func ${name} (param {params}) (result i32)))"
            )
            .unwrap();
        }
        format!(
            "(module
             {imports}
             (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
             (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))
             (memory (export \"memory\") 1)
             {}
             (func $ok (param i32) (if (local.get 0) (then (call $exit (i32.const 99)))))
             (func (export \"_start\") (local $errno i32)
               (drop (call $close (i32.const 3)))
               {}
               (call $exit (local.get $errno))))",
            self.data, self.calls
        )
    }
}

/// Runs it with these flags, and gives the row of `denials`.
#[track_caller]
fn denied(dir: &Dir, flags: &[&str], attempt: &Attempt) -> String {
    dir.create("attempt.wat", attempt.module());
    let said = dir
        .cmd(["run", "--timeout", "30s"])
        .args(flags)
        .arg("attempt.wat")
        .assert(EACCES);
    let query = "select concat_ws('; ', function, resource, rule, would_need) from denials \
                 where process_id = (select max(process_id) from processes)";
    let rows = dir.query(query).concat();
    let [row] = &rows[..] else {
        panic!("{rows:?}\n{}", said.stderr);
    };
    let needs = row.rsplit("; ").next().unwrap();
    assert!(said.stderr.contains(needs), "{needs}\n{}", said.stderr);
    row.clone()
}

fn tcp(address: &str) -> Attempt {
    let family = if address.starts_with('[') { 2 } else { 1 };
    Attempt::default().socket(family, 2).connect(3, address)
}

fn udp(address: &str) -> Attempt {
    let family = if address.starts_with('[') { 2 } else { 1 };
    Attempt::default()
        .socket(family, 1)
        .send_to(3, address, b"x")
}

#[test]
fn what_was_not_granted_is_refused_and_recorded() {
    let dir = Dir::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let here = server.local_addr().unwrap().to_string();
    let port = server.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let there = datagrams.local_addr().unwrap().to_string();
    let socket = dir.path("unix.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    unix.set_nonblocking(true).unwrap();
    let socket = socket.display();

    let cases: &[(&[&str], Attempt, String)] = &[
        (
            &[],
            tcp("169.254.169.254:80"),
            "sock_connect; tcp 169.254.169.254:80; default; --allow-net 169.254.169.254:80".into(),
        ),
        (
            &[],
            tcp("[fd00:ec2::254]:80"),
            "sock_connect; tcp [fd00:ec2::254]:80; default; --allow-net [fd00:ec2::254]:80".into(),
        ),
        (
            &[],
            tcp("[::ffff:169.254.169.254]:80"),
            "sock_connect; tcp [::ffff:169.254.169.254]:80; default; \
             --allow-net 169.254.169.254:80"
                .into(),
        ),
        (
            &[],
            tcp("[64:ff9b::a9fe:a9fe]:80"),
            "sock_connect; tcp [64:ff9b::a9fe:a9fe]:80; default; --allow-net 169.254.169.254:80"
                .into(),
        ),
        (
            &["--allow-net", "0.0.0.0/0"],
            udp("169.254.169.254:80"),
            "sock_send_to; udp 169.254.169.254:80; --allow-net 0.0.0.0/0; \
             --allow-net 169.254.169.254:80"
                .into(),
        ),
        (
            &["--deny-net", "127.0.0.0/8"],
            udp(&there),
            format!(
                "sock_send_to; udp {there}; --deny-net 127.0.0.0/8; \
                 leaving out --deny-net 127.0.0.0/8"
            ),
        ),
        (
            &["--deny-net", "127.0.0.1"],
            tcp(&format!("0.0.0.0:{port}")),
            format!(
                "sock_connect; tcp 0.0.0.0:{port}; --deny-net 127.0.0.1; \
                 leaving out --deny-net 127.0.0.1"
            ),
        ),
        (
            &["--deny-net", "localhost"],
            tcp(&here),
            format!(
                "sock_connect; tcp {here}; --deny-net localhost; leaving out --deny-net localhost"
            ),
        ),
        (
            &["--restrict"],
            tcp(&here),
            format!("sock_connect; tcp {here}; --restrict; --allow-net {here}"),
        ),
        (
            &["--allow-net", "127.0.0.1:1"],
            tcp(&here),
            format!("sock_connect; tcp {here}; --allow-net 127.0.0.1:1; --allow-net {here}"),
        ),
        (
            &[],
            Attempt::default()
                .socket(3, 2)
                .connect(3, &socket.to_string()),
            format!("sock_connect; unix:{socket}; default; --allow-unix {socket}"),
        ),
        (
            &[],
            Attempt::default().socket(1, 2).bind(3, "0.0.0.0:8080"),
            "sock_bind; to listen at tcp 0.0.0.0:8080; default; --listen 0.0.0.0:8080".into(),
        ),
        (
            &["--listen", "127.0.0.1:0"],
            Attempt::default()
                .socket(1, 2)
                .bind(3, "0.0.0.0:0")
                .listen(3),
            "sock_listen; to listen at tcp 0.0.0.0:0; default; --listen 0.0.0.0:0".into(),
        ),
        (
            &["--allow-net", "a.example"],
            Attempt::default().look_up("secret.attacker.test"),
            "sock_getaddrinfo; the look-up of \"secret.attacker.test\"; --allow-net a.example; \
             --allow-net secret.attacker.test"
                .into(),
        ),
    ];
    for (flags, attempt, expected) in cases {
        assert_eq!(denied(&dir, flags, attempt), *expected);
    }
    assert!(server.accept().is_err(), "nobody came");
    assert!(datagrams.recv(&mut [0; 9]).is_err(), "nothing came");
    assert!(unix.accept().is_err(), "nobody came");
}

#[test]
fn a_guest_that_can_listen_by_itself_may_where_it_is_let() {
    let dir = Dir::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let attempt = Attempt::default().socket(1, 2).bind(3, &free).listen(3);
    dir.create("attempt.wat", attempt.module());
    dir.cmd(["run", "--listen", &free, "attempt.wat"]).assert(0);
}

#[test]
fn where_a_redirect_leads_is_a_new_connection() {
    let dir = Dir::new();
    let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = servers
        .each_ref()
        .map(|s| s.local_addr().unwrap().to_string());
    let attempt = Attempt::default()
        .socket(1, 2)
        .connect(3, &first)
        .socket(1, 2)
        .connect(4, &second);
    let expected = format!("sock_connect; tcp {second}; --allow-net {first}; --allow-net {second}");
    assert_eq!(denied(&dir, &["--allow-net", &first], &attempt), expected);
    servers[1].set_nonblocking(true).unwrap();
    assert!(servers[0].accept().is_ok() && servers[1].accept().is_err());
}

/// A question for the address of a name, and its answer: RFC 1035 section 4.
fn dns(name: &str, answer: Option<[u8; 4]>) -> Vec<u8> {
    let flags = if answer.is_some() {
        [0x81, 0x80]
    } else {
        [0x01, 0x00]
    };
    let mut message = [
        &[0, 7][..],
        &flags,
        &[0, 1, 0, answer.is_some().into(), 0, 0, 0, 0],
    ]
    .concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if let Some(address) = answer {
        // The name is the question's; the answer holds for 60 seconds.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address);
    }
    message
}

/// Answers count from port 53 alone.
#[cfg_attr(
    not(feature = "real-guests"),
    ignore = "port 53 takes root: `make test` has it"
)]
#[test]
fn a_name_is_what_dns_said_but_for_what_is_denied() {
    let dir = Dir::new();
    let resolver = UdpSocket::bind("127.0.0.53:53")
        .or_else(|_| UdpSocket::bind("127.0.0.77:53"))
        .expect("port 53 of the loopback network: run as root, or grant cap_net_bind_service");
    resolver
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let resolver_address = resolver.local_addr().unwrap().to_string();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();

    let asks = |name: &str| {
        let attempt = Attempt::default().socket(1, 1).bind(3, "0.0.0.0:0");
        attempt
            .send_to(3, &resolver_address, &dns(name, None))
            .receive(3)
            .socket(1, 2)
    };
    let answers = |to: [u8; 4]| {
        let resolver = resolver.try_clone().unwrap();
        thread::spawn(move || {
            let (n, from) = resolver.recv_from(&mut [0; 512]).unwrap();
            assert!(n > 12);
            resolver
                .send_to(&dns("rebound.example", Some(to)), from)
                .unwrap();
        })
    };
    let flags = [
        "--allow-net",
        &resolver_address,
        "--allow-net",
        "rebound.example",
    ];

    // What it was told, it may reach, whether its socket is connected to the server or not.
    let here = format!("127.0.0.1:{port}");
    let connected = Attempt::default()
        .socket(1, 1)
        .connect(3, &resolver_address);
    let connected = connected
        .send(3, &dns("rebound.example", None))
        .receive(3)
        .socket(1, 2);
    for asked in [asks("rebound.example"), connected] {
        let answered = answers([127, 0, 0, 1]);
        dir.create("attempt.wat", asked.connect(4, &here).module());
        dir.cmd(["run", "--timeout", "30s"])
            .args(flags)
            .arg("attempt.wat")
            .assert(0);
        answered.join().unwrap();
        server.accept().unwrap();
    }
    server.set_nonblocking(true).unwrap();

    let link = "169.254.169.254";
    let cases = [
        (
            [127, 0, 0, 1],
            &["--deny-net", "127.0.0.1"][..],
            here.as_str(),
            "--deny-net 127.0.0.1",
            "leaving out --deny-net 127.0.0.1".to_owned(),
        ),
        (
            [169, 254, 169, 254],
            &[],
            &format!("{link}:80"),
            &format!("--allow-net {resolver_address} --allow-net rebound.example"),
            format!("--allow-net {link}:80"),
        ),
    ];
    for (told, more, to, rule, needs) in cases {
        let answered = answers(told);
        let attempt = asks("rebound.example").connect(4, to);
        let expected = format!("sock_connect; tcp {to}; {rule}; {needs}");
        assert_eq!(denied(&dir, &[&flags, more].concat(), &attempt), expected);
        answered.join().unwrap();
    }
    assert!(server.accept().is_err(), "nobody came");
}

#[test]
fn grants_say_the_rules_of_the_network() {
    let dir = Dir::new();
    dir.create("nothing.wat", Attempt::default().module());
    let flags = [
        ["--allow-net", "*.Example.com:443"],
        ["--deny-net", "10.0.0.0/8"],
        ["--allow-unix", "/run/x"],
    ];
    dir.cmd(["run"])
        .args(flags.concat())
        .arg("nothing.wat")
        .assert(0);
    assert_eq!(
        dir.query("select 'given ' || array_to_string(grants, ' ') from processes"),
        [["given --allow-net *.example.com:443 --deny-net 10.0.0.0/8 --allow-unix /run/x"]]
    );
}

#[test]
fn rules_that_are_none_are_said() {
    let dir = Dir::new();
    for (flag, value, message) in [
        ("--allow-net", "10.0.0.1/8", "write 10.0.0.0/8"),
        ("--deny-net", "https://a.example/", "expected"),
        (
            "--tls-ca",
            "absent.pem",
            "cannot read certificates from absent.pem",
        ),
    ] {
        dir.create("nothing.wat", Attempt::default().module());
        let said = dir.cmd(["run", flag, value, "nothing.wat"]);
        let status = if flag == "--tls-ca" { 125 } else { 2 };
        let said = said.assert(status);
        assert!(said.stderr.contains(message), "{}", said.stderr);
    }
}

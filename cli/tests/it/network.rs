//! What a guest may not reach: each attempt is refused before anything leaves, and is a row of
//! `denials` with the flag that would grant it.

mod attempt;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use self::attempt::{Attempt, tcp, udp};
use crate::support::Dir;

/// `errno`.
const EACCES: i32 = 2;

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
    // It says a path in full, whatever the command line says.
    let path = dir.path("s").display().to_string();
    let attempt = Attempt::default().socket(3, 2).bind(3, &path).listen(3);
    dir.create("attempt.wat", attempt.module());
    dir.cmd(["run", "--listen", "unix:s", "attempt.wat"])
        .assert(0);
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

#[test]
fn the_configuration_says_what_every_guest_may_reach() {
    let dir = Dir::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = server.local_addr().unwrap().to_string();
    let file = |text: String| dir.create("c.toml", format!("[network]\n{text}\n"));
    let refused = |flags: &[&str]| denied(&dir, &[&["-c", "c.toml"], flags].concat(), &tcp(&here));
    let reaches = |flags: &[&str]| {
        dir.create("attempt.wat", tcp(&here).module());
        let cmd = dir.cmd(["run", "-c", "c.toml"]).args(flags);
        cmd.arg("attempt.wat").assert(0);
        server.accept().unwrap();
    };

    file("deny_net = ['127.0.0.1']".into());
    let by_deny =
        format!("sock_connect; tcp {here}; --deny-net 127.0.0.1; leaving out --deny-net 127.0.0.1");
    assert_eq!(refused(&[]), by_deny);
    // What the file denies, no option gives back.
    assert_eq!(refused(&["--deny-net", "10.0.0.0/8"]), by_deny);
    assert_eq!(refused(&["--allow-net", &here]), by_deny);
    let said = dir.cmd(["run", "-c", "c.toml", "attempt.wat"]);
    let hint = "leaving out --deny-net 127.0.0.1 (c.toml:2) grants it";
    let said = said.assert(EACCES).stderr;
    assert!(said.contains(hint), "{said}");

    file("allow_net = ['127.0.0.1:1']".into());
    let by_allow = format!("sock_connect; tcp {here}; --allow-net 127.0.0.1:1; --allow-net {here}");
    assert_eq!(refused(&[]), by_allow);
    reaches(&["--allow-net", &here]);
    file(format!("allow_net = ['{here}']"));
    reaches(&[]);
    let by_restrict = format!("sock_connect; tcp {here}; --restrict; --allow-net {here}");
    assert_eq!(refused(&["--restrict"]), by_restrict);

    let unix = UnixListener::bind(dir.path("s")).unwrap();
    file("allow_unix = ['s']".into());
    let to_unix = |flags: &[&str]| {
        let path = dir.path("s").display().to_string();
        let attempt = Attempt::default().socket(3, 2).connect(3, &path);
        dir.create("attempt.wat", attempt.module());
        let cmd = dir.cmd(["run", "-c", "c.toml"]).args(flags);
        cmd.arg("attempt.wat")
    };
    to_unix(&[]).assert(0);
    unix.accept().unwrap();
    to_unix(&["--restrict"]).assert(EACCES);

    file("sockets = 'none'".into());
    let said = to_unix(&[]).assert(125);
    assert!(said.stderr.contains("sock_open"), "{}", said.stderr);
    reaches(&["--sockets", "auto"]);

    file("tls_ca = ['absent.pem']".into());
    let said = to_unix(&[]).assert(125);
    let named = "cannot read certificates from absent.pem";
    assert!(said.stderr.contains(named), "{}", said.stderr);
}

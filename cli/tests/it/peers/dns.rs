//! Go's own resolver against dnsmasq.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::part::{free_port, program};
use super::recorded::{assert_same, conversations, rows};
use super::run;
use super::server::Server;
use super::wire::Capture;
use crate::snapshot_text;
use crate::support::Dir;

/// Knows names that end in `test`, and asks nobody about others.
fn dnsmasq(dir: &Dir, at: SocketAddr) -> Server {
    // More than fits a datagram.
    let large: String = (0..20)
        .map(|i| format!("txt-record=large.test,{i:02}{}\n", "x".repeat(198)))
        .collect();
    let conf = format!(
        "port={}
        listen-address={}
        bind-interfaces
        no-resolv
        no-hosts
        local=/test/
        host-record=store.test,10.1.2.3,fd00::1:2
        cname=shop.test,store.test
        txt-record=text.test,\"two words\"
        mx-host=store.test,mail.test,10
        srv-host=_http._tcp.store.test,store.test,8080,1,2
        log-queries=extra
        {large}",
        at.port(),
        at.ip(),
    );
    dir.create("dnsmasq.conf", conf);
    let mut command = program("dnsmasq");
    command
        .current_dir(dir.path(""))
        .args(["--no-daemon", "--conf-file=dnsmasq.conf"]);
    Server::start_at(dir, "dnsmasq", at, command)
}

#[test]
fn what_a_resolver_asked_is_what_the_name_server_logged() {
    let dir = Dir::new();
    let port = free_port();
    let server = dnsmasq(&dir, SocketAddr::from(([127, 0, 0, 1], port)));
    let capture = Capture::start(&dir, &[port]);
    let said = run(&dir, "go-dns.wasm", &[])
        .arg(format!("127.0.0.1:{port}"))
        .args([
            "A:store.test",
            "AAAA:store.test",
            "HOST:store.test",
            "CNAME:shop.test",
            "TXT:text.test",
            "MX:store.test",
            "SRV:_http._tcp.store.test",
            "PTR:10.1.2.3",
            "A:nothing.test",
            "TXT:large.test",
        ])
        .assert(0);
    let lines: Vec<_> = said.out().lines().collect();
    assert_eq!(
        lines[..9],
        [
            "A:store.test 10.1.2.3",
            "AAAA:store.test fd00::1:2",
            "HOST:store.test 10.1.2.3 fd00::1:2",
            "CNAME:shop.test store.test.",
            "TXT:text.test \"two words\"",
            "MX:store.test 10=mail.test.",
            "SRV:_http._tcp.store.test 1/2=store.test.:8080",
            "PTR:10.1.2.3 store.test.",
            "A:nothing.test not found",
        ]
    );
    assert_eq!(lines[9].matches('x').count(), 20 * 198, "{}", lines[9]);
    let wire = capture.stop();
    let log = server.stop(Signal::TERM);
    let recorded = conversations(&dir);
    assert_same(&recorded, &wire);

    let mut asked = Vec::new();
    for conversation in &recorded {
        let (message, transport) = match conversation.transport.as_str() {
            // RFC 1035, section 4.2.2: over TCP, two bytes of length come first.
            "tcp" => (conversation.sent.concat()[2..].to_vec(), "tcp"),
            _ => (conversation.sent.concat(), "udp"),
        };
        asked.push((conversation.local.port(), name(&message)));
        if transport == "udp" {
            let pieces = (conversation.sent.len(), conversation.received.len());
            assert_eq!(pieces, (1, 1), "a question and its answer");
        }
    }
    let mut logged: Vec<_> = log.lines().filter_map(query).collect();
    asked.sort();
    logged.sort();
    assert_eq!(asked, logged);
    let over_tcp = recorded.iter().filter(|c| c.transport == "tcp").count();
    assert_eq!(over_tcp, 1, "the large answer alone");
}

/// What a guest asks is known for a question about a name by the port that it is sent to.
#[test]
fn names_that_a_guest_asked_for_are_rows() {
    let dir = Dir::new();
    let at = SocketAddr::from(([127, 0, 0, 78], 53));
    let server = dnsmasq(&dir, at);
    run(&dir, "go-dns.wasm", &[])
        .arg(at.to_string())
        .args(["HOST:store.test", "CNAME:shop.test", "A:nothing.test"])
        .assert(0);
    server.stop(Signal::TERM);
    // The resolver asks for both families at once.
    let queries = [
        "select name, service, source, addresses, error, duration_ns > 0 as took \
         from name_lookups order by name, addresses",
        "select proto, service, \"id.resp_h\", \"id.resp_p\", conn_state, count(*) as connections \
         from zeek.conn group by 1, 2, 3, 4, 5",
        "select name, detail from warnings",
    ];
    snapshot_text!("peers_dns", rows(&dir, &queries));
}

/// The port and the name of a question, from a line of dnsmasq's log that tells of one.
fn query(line: &str) -> Option<(u16, String)> {
    let mut words = line.split(' ').skip_while(|w| !w.starts_with("127.0.0.1/"));
    let port = words.next()?.strip_prefix("127.0.0.1/")?.parse().ok()?;
    let kind = words.next()?;
    let name = words.next()?.to_owned();
    kind.starts_with("query[").then_some((port, name))
}

/// The name of the first question of a message, RFC 1035, section 4.1.2.
fn name(message: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = &message[12..];
    while let Some((length @ 1.., after)) = rest.split_first() {
        let (label, after) = after.split_at(usize::from(*length));
        labels.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    labels.join(".")
}

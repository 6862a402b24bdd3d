#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::network::address::tests::forms;
use crate::network::dns;
use crate::network::dns::tests::{a_query, an_answer};
use crate::network::names::LOOKUP_TTL;

const TCP: Transport = Transport::Tcp;
const UDP: Transport = Transport::Udp;
const RESOLVER: &str = "192.0.2.53:53";

/// Rules as they are typed: `allow a.example`, `deny 10.0.0.0/8`, `unix /run/x`, `listen 0.0.0.0:80`,
/// `restrict`.
fn policy(lines: &[&str]) -> Policy {
    let mut rules = Rules::default();
    for line in lines {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("allow", value) => rules.allow.push(value.parse().unwrap()),
            ("deny", value) => rules.deny.push(value.parse().unwrap()),
            ("unix", path) => rules.unix.push(path.into()),
            ("listen", value) => rules.listen.push(value.parse().unwrap()),
            ("restrict", "") => rules.restrict = true,
            _ => panic!("{line}"),
        }
    }
    Policy::new(rules, "nameserver 192.0.2.53\n", "192.0.2.80 in-hosts\n")
}

fn ip(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// What a connection meets: `+`, `?` where only questions may be asked, or the refusal.
fn connect(policy: &Policy, to: &str, now: Instant) -> String {
    said(policy.outbound(TCP, &address(to), now))
}

fn said(decision: Decision<Reach>) -> String {
    match decision {
        Ok(Reach::Whole) => "+".to_owned(),
        Ok(Reach::Questions) => "?".to_owned(),
        Err(denial) => {
            // As a table reads it back.
            let d = Denial::parse(&denial.to_string()).unwrap();
            [d.resource, d.rule, d.would_need].join("; ")
        }
    }
}

fn done(decision: Decision) -> String {
    said(decision.map(|()| Reach::Whole))
}

#[test]
fn connections_are_decided() {
    let link = |a: &str, needs: &str| format!("tcp {a}; default; --allow-net {needs}");
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "198.51.100.1:80", "+"),
        (&[], "127.0.0.1:80", "+"),
        (
            &[],
            "169.254.169.254:80",
            &link("169.254.169.254:80", "169.254.169.254:80"),
        ),
        (&[], "[fe80::1]:80", &link("[fe80::1]:80", "[fe80::1]:80")),
        (
            &[],
            "[fd00:ec2::254]:80",
            &link("[fd00:ec2::254]:80", "[fd00:ec2::254]:80"),
        ),
        (
            &[],
            "[64:ff9b::169.254.169.254]:80",
            &link("[64:ff9b::a9fe:a9fe]:80", "169.254.169.254:80"),
        ),
        (&["allow 169.254.0.0/16"], "169.254.169.254:80", "+"),
        (
            &["allow 169.254.169.254:80"],
            "[::ffff:169.254.169.254]:80",
            "+",
        ),
        (
            &["allow 0.0.0.0/0"],
            "169.254.169.254:80",
            "tcp 169.254.169.254:80; --allow-net 0.0.0.0/0; --allow-net 169.254.169.254:80",
        ),
        (
            &["allow 10.0.0.0/8:443"],
            "10.0.0.1:80",
            "tcp 10.0.0.1:80; --allow-net 10.0.0.0/8:443; --allow-net 10.0.0.1:80",
        ),
        (&["allow 10.0.0.0/8:443"], "10.0.0.1:443", "+"),
        (&["allow ::/0"], "[2001:db8::1]:1", "+"),
        (
            &["allow ::/0"],
            "[64:ff9b::10.0.0.1]:1",
            "tcp [64:ff9b::a00:1]:1; --allow-net ::/0; --allow-net 10.0.0.1:1",
        ),
        (&["allow 64:ff9b::/96"], "[64:ff9b::10.0.0.1]:1", "+"),
        (
            &["allow 64:ff9b::/96"],
            "10.0.0.1:1",
            "tcp 10.0.0.1:1; --allow-net 64:ff9b::/96; --allow-net 10.0.0.1:1",
        ),
        (
            &["deny 10.0.0.0/8"],
            "10.0.0.1:80",
            "tcp 10.0.0.1:80; --deny-net 10.0.0.0/8; leaving out --deny-net 10.0.0.0/8",
        ),
        (
            &["deny 10.0.0.0/8", "deny 10.0.0.1:80", "allow 10.0.0.2"],
            "10.0.0.1:80",
            "tcp 10.0.0.1:80; --deny-net 10.0.0.0/8; leaving out --deny-net 10.0.0.0/8 and \
             leaving out --deny-net 10.0.0.1:80 and --allow-net 10.0.0.1:80",
        ),
        (&["deny 10.0.0.0/8:25"], "10.0.0.1:80", "+"),
        (
            &["deny 127.0.0.1"],
            "0.0.0.0:80",
            "tcp 0.0.0.0:80; --deny-net 127.0.0.1; leaving out --deny-net 127.0.0.1",
        ),
        (
            &["restrict"],
            "10.0.0.1:80",
            "tcp 10.0.0.1:80; --restrict; --allow-net 10.0.0.1:80",
        ),
        (&["restrict", "allow 10.0.0.1"], "10.0.0.1:80", "+"),
        (&["allow localhost:80"], "127.0.0.1:80", "+"),
        (&["allow in-hosts"], "192.0.2.80:1", "+"),
        (&["allow a.example"], RESOLVER, "?"),
        (&["restrict", "allow a.example"], RESOLVER, "?"),
        (&[], RESOLVER, "+"),
        (
            &["allow 10.0.0.1"],
            RESOLVER,
            "tcp 192.0.2.53:53; --allow-net 10.0.0.1; --allow-net 192.0.2.53:53",
        ),
        (
            &[],
            "unix:/run/docker.sock",
            "unix:/run/docker.sock; default; --allow-unix /run/docker.sock",
        ),
        (&["unix /run/./a"], "unix:/run//a", "+"),
        (
            &["unix /run/a"],
            "unix:/run/../a",
            "unix:/run/../a; default; --allow-unix /run/../a",
        ),
        (
            &["unix /run/a"],
            "unix:run/a",
            "unix:run/a; default; --allow-unix PATH",
        ),
        (
            &["unix /run/a"],
            "unix:",
            "unix:; default; --allow-unix PATH",
        ),
    ];
    for (rules, to, expected) in cases {
        let got = connect(&policy(rules), to, Instant::now());
        assert_eq!(got, *expected, "{to} with {rules:?}");
    }
}

#[test]
fn listening_is_decided() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &[],
            "127.0.0.1:80",
            "to listen at tcp 127.0.0.1:80; default; --listen 127.0.0.1:80",
        ),
        (
            &[],
            "[::]:0",
            "to listen at tcp [::]:0; default; --listen [::]:0",
        ),
        (&["listen 127.0.0.1:80"], "127.0.0.1:80", "+"),
        (&["listen 127.0.0.1:80"], "[::ffff:127.0.0.1]:80", "+"),
        (
            &["listen 127.0.0.1:80"],
            "0.0.0.0:80",
            "to listen at tcp 0.0.0.0:80; default; --listen 0.0.0.0:80",
        ),
        (&["listen 0.0.0.0:80"], "127.0.0.1:80", "+"),
        (&["listen [::]:80"], "0.0.0.0:80", "+"),
        (
            &["listen 0.0.0.0:80"],
            "[::]:80",
            "to listen at tcp [::]:80; default; --listen [::]:80",
        ),
        (&["listen 127.0.0.1:0"], "127.0.0.1:0", "+"),
        (&["listen unix:/run/a"], "unix:/run/a", "+"),
    ];
    for (rules, at, expected) in cases {
        let got = done(policy(rules).listen(TCP, &address(at)));
        assert_eq!(got, *expected, "{at} with {rules:?}");
    }
    let none = policy(&[]);
    assert!(
        none.bind_to(UDP, &address("0.0.0.0:0")).is_ok(),
        "as a client has anyway"
    );
    assert!(none.bind_to(UDP, &address("0.0.0.0:5353")).is_err());
    assert!(none.bind_to(TCP, &address("unix:/run/a")).is_err());
}

#[test]
fn peers_that_come_are_decided() {
    let now = Instant::now();
    let policy = policy(&["deny 10.0.0.0/8", "listen 0.0.0.0:80"]);
    let denied = "what comes from tcp [::ffff:10.0.0.1]:9; --deny-net 10.0.0.0/8; \
                  leaving out --deny-net 10.0.0.0/8";
    let accept = |peer: &str| done(policy.accepted(TCP, &address(peer), now));
    assert_eq!(accept("[::ffff:10.0.0.1]:9"), denied);
    assert_eq!(
        accept("169.254.1.1:9"),
        "+",
        "listening is granted, to the link too"
    );
    let receive = |bound: &str, peer: &str| {
        policy
            .received(UDP, Some(&address(bound)), &address(peer), now)
            .is_ok()
    };
    assert!(receive("0.0.0.0:80", "169.254.1.1:9"));
    assert!(!receive("0.0.0.0:80", "10.0.0.1:9"));
    assert!(!receive("0.0.0.0:0", "169.254.1.1:9"));
    assert!(receive("0.0.0.0:0", "198.51.100.1:9"));
}

#[test]
fn look_ups_are_decided() {
    let lookup = |rules: &[&str], name: &str| done(policy(rules).look_up(name));
    assert_eq!(lookup(&[], "a.example"), "+");
    assert_eq!(lookup(&["allow *.example"], "A.Example."), "+");
    assert_eq!(
        lookup(&["allow a.example:80"], "b.example"),
        "the look-up of \"b.example\"; --allow-net a.example:80; --allow-net b.example"
    );
    assert_eq!(
        lookup(&["deny *.example"], "b.example"),
        "the look-up of \"b.example\"; --deny-net *.example; leaving out --deny-net *.example"
    );
    assert_eq!(lookup(&["deny b.example:25"], "b.example"), "+");
    assert_eq!(
        lookup(&["restrict"], "a b\n"),
        "the look-up of \"a b\\n\"; --restrict; --allow-net HOST"
    );
    for name in ["", "localhost", "LOCALHOST.", "::1", "127.1", "0x7f000001"] {
        assert_eq!(lookup(&["restrict"], name), "+", "{name}");
    }
}

/// Asks and is answered, over UDP.
fn resolve(
    policy: &mut Policy,
    server: &str,
    name: &str,
    records: &[(&str, u32, &str)],
    now: Instant,
) {
    let query = a_query(9, name, 1);
    policy.asks(UDP, ip(server), &query, now).unwrap();
    policy.answered(ip(server), &an_answer(&query, records), now);
}

#[test]
fn a_name_is_what_the_guest_was_told_for_as_long_as_it_holds() {
    let now = Instant::now();
    let mut policy = policy(&["allow www.example:443"]);
    assert_ne!(connect(&policy, "198.51.100.1:443", now), "+");
    let records = [
        ("WWW.example", 60, "cdn.example"),
        ("cdn.example", 300, "198.51.100.1"),
    ];
    resolve(&mut policy, RESOLVER, "www.Example.", &records, now);
    assert_eq!(connect(&policy, "198.51.100.1:443", now), "+");
    assert_eq!(connect(&policy, "[::ffff:198.51.100.1]:443", now), "+");
    assert_ne!(connect(&policy, "198.51.100.1:80", now), "+");
    let after = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(connect(&policy, "198.51.100.1:443", after(59)), "+");
    assert_ne!(connect(&policy, "198.51.100.1:443", after(60)), "+");

    policy.looked_up("www.example", &[ip("198.51.100.2:0").ip()], now);
    assert_eq!(connect(&policy, "198.51.100.2:443", now), "+");
    assert_ne!(connect(&policy, "198.51.100.2:443", now + LOOKUP_TTL), "+");
}

#[test]
fn a_name_that_is_bound_anew_grants_nothing_that_is_denied() {
    let now = Instant::now();
    let mut policy = policy(&["allow www.example", "deny 10.0.0.0/8"]);
    let records = [
        ("www.example", 9, "10.0.0.1"),
        ("www.example", 9, "169.254.169.254"),
        ("www.example", 9, "0.0.0.0"),
    ];
    resolve(&mut policy, RESOLVER, "www.example", &records, now);
    policy.looked_up("www.example", &[ip("[64:ff9b::10.0.0.2]:0").ip()], now);
    for denied in [
        "10.0.0.1:80",
        "169.254.169.254:80",
        "10.0.0.2:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        assert_ne!(connect(&policy, denied, now), "+", "{denied}");
    }
    assert_eq!(
        connect(&policy, "127.0.0.1:80", now),
        "+",
        "nothing denies this host"
    );
}

#[test]
fn an_alias_of_a_denied_name_is_denied() {
    let now = Instant::now();
    let mut policy = policy(&["deny evil.example"]);
    assert!(
        policy
            .asks(UDP, ip(RESOLVER), &a_query(1, "evil.example", 1), now)
            .is_err()
    );
    let records = [
        ("x.example", 1, "evil.example"),
        ("evil.example", 1, "198.51.100.1"),
    ];
    // Any server's word will do to deny.
    resolve(&mut policy, "203.0.113.5:53", "x.example", &records, now);
    let much_later = now + Duration::from_secs(1_000_000);
    assert_eq!(
        connect(&policy, "198.51.100.1:80", much_later),
        "tcp 198.51.100.1:80; --deny-net evil.example; leaving out --deny-net evil.example"
    );
}

#[test]
fn answers_count_only_where_they_were_asked_for_and_from_whom_they_may_come() {
    let now = Instant::now();
    let records = [("www.example", 60, "198.51.100.1")];
    let query = a_query(9, "www.example", 1);
    let granted = |policy: &Policy| connect(policy, "198.51.100.1:80", now) == "+";

    let mut unasked = policy(&["allow www.example"]);
    unasked.answered(ip(RESOLVER), &an_answer(&query, &records), now);
    assert!(!granted(&unasked));

    let mut other = policy(&["allow www.example"]);
    other.asks(UDP, ip(RESOLVER), &query, now).unwrap();
    for wrong in [a_query(8, "www.example", 1), a_query(9, "www.example", 28)] {
        other.answered(ip(RESOLVER), &an_answer(&wrong, &records), now);
    }
    other.answered(ip("192.0.2.54:53"), &an_answer(&query, &records), now);
    assert!(!granted(&other));
    other.answered(ip(RESOLVER), &an_answer(&query, &records), now);
    assert!(granted(&other));

    let mut friend = policy(&["allow www.example", "allow 203.0.113.0/24"]);
    resolve(&mut friend, "203.0.113.5:53", "www.example", &records, now);
    assert!(
        !granted(&friend),
        "a server that was not given as one of DNS"
    );

    let mut named = policy(&["allow www.example", "allow 203.0.113.5:53"]);
    resolve(&mut named, "203.0.113.5:53", "www.example", &records, now);
    assert!(granted(&named));

    let mut borrowed = policy(&["allow *.example", "allow victim.test"]);
    let records = [
        ("x.example", 60, "victim.test"),
        ("victim.test", 60, "198.51.100.1"),
    ];
    resolve(&mut borrowed, RESOLVER, "x.example", &records, now);
    borrowed.rules.allow.truncate(0);
    assert_eq!(
        borrowed.allowed.of(ip("198.51.100.1:1"), now).count(),
        1,
        "not victim.test"
    );
}

#[test]
fn a_resolver_is_only_asked_about_names_of_rules() {
    let now = Instant::now();
    let mut policy = policy(&["allow www.example"]);
    let ask =
        |policy: &mut Policy, message: &[u8]| done(policy.asks(UDP, ip(RESOLVER), message, now));
    assert_eq!(ask(&mut policy, &a_query(1, "www.example", 28)), "+");
    assert_eq!(
        ask(&mut policy, &a_query(1, "secret.attacker.test", 1)),
        "the look-up of \"secret.attacker.test\"; --allow-net www.example; \
         --allow-net secret.attacker.test"
    );
    let other = "udp 192.0.2.53:53, but for questions about the names of rules; \
                 --allow-net www.example; --allow-net 192.0.2.53:53";
    assert_eq!(ask(&mut policy, b"secret"), other);
    let trailing = [a_query(1, "www.example", 1), b"secret".to_vec()].concat();
    assert_eq!(ask(&mut policy, &trailing), other);

    let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes(), message].concat();
    let good = framed(&a_query(1, "www.example", 1));
    let bad = framed(&a_query(1, "secret.attacker.test", 1));
    let mut stream = |bytes: &[u8]| {
        let mut stream = dns::Stream::default();
        policy
            .asks_by_stream(ip(RESOLVER), &mut stream, bytes, now)
            .is_ok()
    };
    assert!(stream(&good));
    assert!(stream(&[&good[..], &good].concat()));
    assert!(!stream(&bad));
    assert!(!stream(&[&good[..], &bad].concat()));
    assert!(
        !stream(&good[..good.len() - 1]),
        "in pieces it could carry anything"
    );
}

fn any_range() -> impl Strategy<Value = String> {
    let v4 = (any::<u32>(), 0u32..=32).prop_map(|(bits, prefix)| {
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        format!("{}/{prefix}", Ipv4Addr::from_bits(bits & mask))
    });
    let v6 = (any::<u128>(), 0u32..=128).prop_map(|(bits, prefix)| {
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        format!("{}/{prefix}", std::net::Ipv6Addr::from_bits(bits & mask))
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_a_range_denies_stays_denied_in_every_form(
        bits: u32,
        prefix in 0u32..=32,
        port in 1u16..,
        allow in proptest::collection::vec(any_range(), 0..4),
    ) {
        let v4 = Ipv4Addr::from_bits(bits);
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let range = format!("{}/{prefix}", Ipv4Addr::from_bits(bits & mask));
        let mut lines = vec![format!("deny {range}")];
        lines.extend(allow.iter().map(|range| format!("allow {range}")));
        lines.extend([format!("allow {v4}:{port}"), "allow www.example".to_owned()]);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut policy = policy(&lines);
        let now = Instant::now();
        for form in forms(v4) {
            policy.looked_up("www.example", &[form], now);
        }
        for form in forms(v4) {
            let address = Address::Ip(SocketAddr::new(form, port));
            // No address is this host, which the range may not be about.
            if !v4.is_unspecified() {
                prop_assert!(policy.outbound(TCP, &address, now).is_err(), "{}", form);
                prop_assert!(policy.accepted(TCP, &address, now).is_err(), "{}", form);
            }
        }
    }

    #[test]
    fn denying_wins_over_whatever_allows(
        deny in any_range(),
        allow in proptest::collection::vec(any_range(), 0..4),
        bits: u128,
        port: u16,
    ) {
        let lines: Vec<String> = allow.iter().map(|range| format!("allow {range}")).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let without = policy(&lines);
        let deny = format!("deny {deny}");
        lines.push(&deny);
        let with = policy(&lines);
        let now = Instant::now();
        let address = Address::Ip((std::net::Ipv6Addr::from_bits(bits), port).into());
        if without.outbound(TCP, &address, now).is_err() {
            prop_assert!(with.outbound(TCP, &address, now).is_err());
        }
        let range: super::super::address::Cidr = deny.trim_start_matches("deny ").parse().unwrap();
        if range.contains(std::net::Ipv6Addr::from_bits(bits).into()) {
            prop_assert!(with.outbound(TCP, &address, now).is_err());
        }
    }

    #[test]
    fn what_dns_says_grants_only_what_was_asked_for(bytes: Vec<u8>, name in "[a-z]{1,8}") {
        let mut policy = policy(&["allow www.example"]);
        let now = Instant::now();
        policy.answered(ip(RESOLVER), &bytes, now);
        let _ = policy.asks_by_stream(ip(RESOLVER), &mut dns::Stream::default(), &bytes, now);
        let asked = policy.asks(UDP, ip(RESOLVER), &a_query(1, &name, 1), now);
        prop_assert!(asked.is_err());
    }
}

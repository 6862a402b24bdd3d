//! What a guest may reach and where it may listen, decided before a packet leaves.
//!
//! Outbound is open but for the addresses of the link and the host's Unix sockets; `--allow-net` closes
//! it but for what it names, `--deny-net` wins over that, and `--restrict` closes what nothing names.
//! Addresses are compared as what they reach ([`reached`]), so that no way to write one gets around a
//! rule. Names stand for the addresses that the guest was given for them (the module `names`).
//!
//! Rules by name need the resolvers of the host to be asked, so these may be, at port 53; where only
//! names are granted, each question must be about one of them, and must carry nothing else. A refusal
//! says what forbade it and which flag would grant it. Nothing here may touch a socket or look at a clock.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use timecraft_segment::denial::{self, Denial};
use timecraft_segment::socket::{Address, Transport};

use super::address::{LINK_LOCAL, reached, translation};
use super::names::{self, Bindings, Questions};
use super::rules::{Host, Rules, Target, allow_unix};

mod resolving;

/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// What is decided about a guest's network.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Rules,
    allowed: NamedTargets,
    denied: NamedTargets,
    /// The resolvers of the host.
    resolvers: Vec<IpAddr>,
    questions: Questions,
}

/// What may be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anything.
    Whole,
    /// Questions about the names of rules, of the host's resolvers alone.
    Questions,
}

/// The outcome of a question to the policy.
pub type Decision<T = ()> = Result<T, Denial>;

/// The rules by name, and the addresses that they stand for now.
#[derive(Debug, Default)]
struct NamedTargets {
    targets: Vec<Target>,
    bindings: Bindings,
}

impl NamedTargets {
    fn new(targets: &[Target]) -> NamedTargets {
        let named = |t: &Target| match &t.host {
            Host::Name(pattern) => Some((t.clone(), pattern.clone())),
            Host::Range(_) => None,
        };
        let (targets, patterns) = targets.iter().filter_map(named).unzip();
        NamedTargets {
            targets,
            bindings: Bindings::new(patterns),
        }
    }

    /// The rules that this name matches.
    fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Target> {
        self.bindings
            .matching(name)
            .filter_map(|i| self.targets.get(i))
    }

    /// The rules whose address this is.
    fn of(&self, address: SocketAddr, now: Instant) -> impl Iterator<Item = &Target> {
        let targets = self
            .bindings
            .of(address.ip(), now)
            .filter_map(|i| self.targets.get(i));
        targets.filter(move |target| target.at(address.port()))
    }
}

impl Policy {
    /// The policy of these rules on a host with these files: the text of its `/etc/resolv.conf` and
    /// `/etc/hosts`, empty where it has none.
    #[must_use]
    pub fn new(rules: Rules, resolv_conf: &str, hosts: &str) -> Policy {
        let mut policy = Policy {
            allowed: NamedTargets::new(&rules.allow),
            denied: NamedTargets::new(&rules.deny),
            resolvers: names::resolvers(resolv_conf),
            questions: Questions::default(),
            rules,
        };
        for loopback in ["127.0.0.1", "::1"].iter().flat_map(|a| a.parse()) {
            policy.bind("localhost", loopback, None);
        }
        for (name, address) in names::hosts(hosts) {
            policy.bind(name, address, None);
        }
        policy
    }

    /// What was decided by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// To grant more in the middle of a test.
    #[cfg(test)]
    pub(crate) fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// Whether the guest's own DNS has to be shown to [`Policy::asks`] and [`Policy::answered`].
    #[must_use]
    pub fn reads_dns(&self) -> bool {
        !self.allowed.bindings.is_empty() || !self.denied.bindings.is_empty()
    }

    /// Whether a socket may connect to the address, or send a datagram there, and what.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn outbound(
        &self,
        transport: Transport,
        address: &Address,
        now: Instant,
    ) -> Decision<Reach> {
        match address {
            Address::Ip(ip) => self.reach(transport, *ip, now),
            Address::Unix(path) => match self.rules.unix.iter().any(|p| same_path(p, path)) {
                true => Ok(Reach::Whole),
                false => Err(refusal(
                    resource(transport, address),
                    self.default_rule(),
                    if path.starts_with(b"/") {
                        allow_unix(path)
                    } else {
                        "--allow-unix PATH".to_owned()
                    },
                )),
            },
        }
    }

    fn reach(&self, transport: Transport, address: SocketAddr, now: Instant) -> Decision<Reach> {
        let granted = self.granted(address, now);
        let denying: Vec<&Target> = self.denying(address, now).collect();
        let refused = |rule: String, would_need: String| {
            Err(refusal(
                resource(transport, &Address::Ip(address)),
                rule,
                would_need,
            ))
        };
        let grant = format!(
            "--allow-net {}",
            Target::of(reached(address.ip()), address.port())
        );
        match (denying.first(), granted) {
            (None, Ok(reach)) => Ok(reach),
            (None, Err(rule)) => refused(rule, grant),
            (Some(first), granted) => {
                let mut needs: Vec<String> = denying.iter().map(|t| left_out(t)).collect();
                needs.extend(granted.is_err().then_some(grant));
                refused(format!("--deny-net {first}"), needs.join(" and "))
            }
        }
    }

    /// What would be granted without `--deny-net`, or the rule that forbids it.
    fn granted(&self, address: SocketAddr, now: Instant) -> Result<Reach, String> {
        let ip = reached(address.ip());
        let of_link = LINK_LOCAL.iter().any(|range| range.contains(ip));
        // A name, or a range wider than the link, does not mean the link.
        let by_address = self.rules.allow.iter().any(|target| {
            let Host::Range(range) = &target.host else {
                return false;
            };
            let names_it = !of_link || LINK_LOCAL.iter().any(|link| link.covers(range));
            target.at(address.port()) && allows(range, address.ip()) && names_it
        });
        if by_address {
            return Ok(Reach::Whole);
        }
        let open = self.is_open();
        let by_name = !open && self.allowed.of(address, now).next().is_some();
        if !of_link && (open || by_name) {
            return Ok(Reach::Whole);
        }
        if address.port() == DNS_PORT && self.resolvers.contains(&ip) {
            match (open, self.allowed.bindings.is_empty()) {
                (true, _) => return Ok(Reach::Whole),
                (false, false) => return Ok(Reach::Questions),
                (false, true) => {}
            }
        }
        Err(self.default_rule())
    }

    /// The rules of `--deny-net` that the address falls under.
    fn denying(&self, address: SocketAddr, now: Instant) -> impl Iterator<Item = &Target> {
        let ip = address.ip();
        let by_address = self
            .rules
            .deny
            .iter()
            .filter(move |target| match &target.host {
                Host::Range(range) => {
                    let hit = range.contains(ip) || range.contains(reached(ip));
                    hit && target.at(address.port())
                }
                Host::Name(_) => false,
            });
        by_address.chain(self.denied.of(address, now))
    }

    /// Whether what nothing names may be reached.
    fn is_open(&self) -> bool {
        self.rules.allow.is_empty() && !self.rules.restrict
    }

    /// What forbids that which nothing grants.
    fn default_rule(&self) -> String {
        match (self.rules.restrict, self.rules.allow.is_empty()) {
            (true, _) => "--restrict".to_owned(),
            (false, true) => denial::DEFAULT_RULE.to_owned(),
            (false, false) => {
                let named = self.rules.allow.iter().map(|t| format!("--allow-net {t}"));
                // As many as a line has room for: the others are in the process's grants.
                let first: Vec<String> = named.take(3).collect();
                let more = if self.rules.allow.len() > 3 {
                    " ..."
                } else {
                    ""
                };
                format!("{}{more}", first.join(" "))
            }
        }
    }

    /// Whether a socket may be bound to the address. A port that the system chooses is what a client
    /// has anyway.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn bind_to(&self, transport: Transport, address: &Address) -> Decision {
        match address {
            Address::Ip(ip) if ip.port() == 0 => Ok(()),
            _ => self.listen(transport, address),
        }
    }

    /// Whether a socket that was bound to the address may wait for peers there. It is the address as
    /// the guest gave it, with port 0 where the system was to choose.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn listen(&self, transport: Transport, address: &Address) -> Decision {
        if self
            .rules
            .listen
            .iter()
            .any(|granted| listens(granted, address))
        {
            return Ok(());
        }
        Err(refusal(
            format!("to listen at {}", resource(transport, address)),
            denial::DEFAULT_RULE.to_owned(),
            format!("--listen {address}"),
        ))
    }

    /// Whether the guest may have a connection that it accepts from this peer.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn accepted(&self, transport: Transport, peer: &Address, now: Instant) -> Decision {
        let Address::Ip(address) = peer else {
            return Ok(());
        };
        let denying: Vec<&Target> = self.denying(*address, now).collect();
        match denying.first() {
            None => Ok(()),
            Some(first) => Err(refusal(
                format!("what comes from {}", resource(transport, peer)),
                format!("--deny-net {first}"),
                denying
                    .iter()
                    .map(|t| left_out(t))
                    .collect::<Vec<_>>()
                    .join(" and "),
            )),
        }
    }

    /// Whether the guest may have a datagram from this peer, on a socket that it bound to the address:
    /// where it may listen, of all that is not denied; else of those that it could send one to.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn received(
        &self,
        transport: Transport,
        bound: Option<&Address>,
        peer: &Address,
        now: Instant,
    ) -> Decision {
        match bound {
            Some(bound) if self.listen(transport, bound).is_ok() => {
                self.accepted(transport, peer, now)
            }
            _ => self.outbound(transport, peer, now).map(drop),
        }
    }

    fn bind(&mut self, name: &str, address: IpAddr, until: Option<Instant>) {
        self.allowed.bindings.bind(name, address, until);
        self.denied.bindings.bind(name, address, None);
    }
}

/// Whether a range that was granted means the address. IPv6 that leads to IPv4 is meant by a range of
/// what it reaches, or by one within its prefix, but not by a wider one, which nobody gave for that.
fn allows(range: &super::address::Cidr, address: IpAddr) -> bool {
    match translation(address) {
        Some(prefix) if prefix.covers(range) && range.contains(address) => true,
        _ => range.contains(reached(address)),
    }
}

/// Whether listening at one address is granted by another.
fn listens(granted: &Address, asked: &Address) -> bool {
    match (granted, asked) {
        (Address::Ip(granted), Address::Ip(asked)) => {
            let (wide, narrow) = (granted.ip().to_canonical(), asked.ip().to_canonical());
            let all = wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
            granted.port() == asked.port() && (wide == narrow || all)
        }
        (Address::Unix(granted), Address::Unix(asked)) => same_path(granted, asked),
        _ => false,
    }
}

/// Whether two absolute paths are the same but for `.` and slashes in excess. `..` may lead elsewhere
/// than it seems to, and is a part like others.
fn same_path(granted: &[u8], asked: &[u8]) -> bool {
    fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
        path.split(|b| *b == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
    }
    granted.starts_with(b"/") && asked.starts_with(b"/") && parts(granted).eq(parts(asked))
}

/// What is asked for, as a noun: `tcp 192.0.2.1:80`, `unix:/run/x`.
fn resource(transport: Transport, address: &Address) -> String {
    match address {
        Address::Ip(ip) => format!("{} {ip}", transport.name()),
        Address::Unix(_) => address.to_string(),
    }
}

fn left_out(target: &Target) -> String {
    format!("leaving out --deny-net {target}")
}

fn refusal(resource: String, rule: String, would_need: String) -> Denial {
    Denial {
        resource,
        rule,
        would_need,
    }
}

#[cfg(test)]
mod tests;

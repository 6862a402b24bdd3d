//! Names: which may be looked up, by the host or by the guest itself, and what an answer then grants.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use timecraft_segment::socket::{Address, Transport};

use super::{DNS_PORT, Decision, Policy, Reach, allows, left_out, refusal, resource};
use crate::network::address::reached;
use crate::network::dns;
use crate::network::names::{self, LOOKUP_TTL};
use crate::network::rules::{Host, Pattern, Target, is_number};

impl Policy {
    /// Whether the host may look up a name for the guest. What needs no look-up always may be:
    /// addresses, and names of this host (RFC 6761 section 6.3).
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn look_up(&self, name: &str) -> Decision {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let local = bare.eq_ignore_ascii_case("localhost");
        if bare.is_empty() || local || bare.parse::<IpAddr>().is_ok() || is_number(bare) {
            return Ok(());
        }
        self.name_denied(bare)?;
        if self.is_open() || self.allowed.matching(bare).next().is_some() {
            return Ok(());
        }
        Err(refusal(
            lookup_of(bare),
            self.default_rule(),
            match bare.parse::<Pattern>() {
                Ok(pattern) => format!("--allow-net {pattern}"),
                Err(_) => "--allow-net HOST".to_owned(),
            },
        ))
    }

    /// Refuses a name that may not be reached at any port.
    fn name_denied(&self, name: &str) -> Decision {
        match self
            .denied
            .matching(name)
            .find(|target| target.port.is_none())
        {
            None => Ok(()),
            Some(target) => Err(refusal(
                lookup_of(name),
                format!("--deny-net {target}"),
                left_out(target),
            )),
        }
    }

    /// Takes what the host found for a name.
    pub fn looked_up(&mut self, name: &str, addresses: &[IpAddr], now: Instant) {
        for address in addresses {
            self.bind(name, *address, Some(now + LOOKUP_TTL));
        }
    }

    /// Whether the guest may send this message to a server of DNS, which [`Policy::outbound`] lets it
    /// reach. Its answer is expected then.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn asks(
        &mut self,
        transport: Transport,
        server: SocketAddr,
        message: &[u8],
        now: Instant,
    ) -> Decision {
        let reach = self.reach(transport, server, now)?;
        match (dns::query(message), reach) {
            (Some(question), Reach::Questions) => {
                self.look_up(&question.name)?;
                self.questions.ask(server, question, now);
            }
            (Some(question), Reach::Whole) => {
                self.name_denied(&question.name)?;
                self.questions.ask(server, question, now);
            }
            (None, Reach::Questions) => {
                let grant = Target::of(reached(server.ip()), server.port());
                return Err(refusal(
                    format!(
                        "{}, but for questions about the names of rules",
                        resource(transport, &Address::Ip(server))
                    ),
                    self.default_rule(),
                    format!("--allow-net {grant}"),
                ));
            }
            (None, Reach::Whole) => {}
        }
        Ok(())
    }

    /// The same for what is sent next over TCP. Where a server may only be asked, these must be whole
    /// messages: what is in pieces cannot be judged before it leaves.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn asks_by_stream(
        &mut self,
        server: SocketAddr,
        stream: &mut dns::Stream,
        sent: &[u8],
        now: Instant,
    ) -> Decision {
        let mut decision = Ok(());
        stream.feed(sent, |message| {
            if decision.is_ok() {
                decision = self.asks(Transport::Tcp, server, message, now);
            }
        });
        decision?;
        if stream.is_between_messages() {
            return Ok(());
        }
        // No message of DNS, and so refused where only these may be sent.
        self.asks(Transport::Tcp, server, &[], now)
    }

    /// Takes a message that a server of DNS sent to the guest.
    ///
    /// It counts where the guest asked for it. Names then have these addresses for as long as the
    /// answer says, within limits; a name that is denied has them for good, since the guest chooses when
    /// to use them. For what is allowed, the server must be one of the host's, or one that a rule names
    /// with port 53: the guest may have a friend in another.
    pub fn answered(&mut self, server: SocketAddr, message: &[u8], now: Instant) {
        let Some(answer) = dns::answer(message) else {
            return;
        };
        if !self.questions.answered(server, &answer, now) {
            return;
        }
        for &address in &answer.addresses {
            for name in &answer.names {
                self.denied.bindings.bind(name, address, None);
            }
            if self.trusts(server) {
                let until = now + names::lifetime(answer.ttl);
                let name = &answer.question.name;
                self.allowed.bindings.bind(name, address, Some(until));
            }
        }
    }

    fn trusts(&self, server: SocketAddr) -> bool {
        let of_host = self.resolvers.contains(&reached(server.ip()));
        let named = || {
            self.rules.allow.iter().any(|target| match &target.host {
                Host::Range(range) => target.port == Some(DNS_PORT) && allows(range, server.ip()),
                Host::Name(_) => false,
            })
        };
        server.port() == DNS_PORT && (of_host || named())
    }
}

fn lookup_of(name: &str) -> String {
    format!("the look-up of {name:?}")
}

//! Names that were resolved: by the host, or by the guest's own DNS.

use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use timecraft_segment::socket::{self, Address};
use timecraft_segment::{Outcome, Record, wasi};

use super::event::{Event, Lookup, Source};
use crate::dns::AddressQuestion;
use crate::protocol::At;

/// The most questions that wait for an answer; of more the oldest is given up.
const MAX_ASKED: usize = 1024;
/// The most addresses whose names are remembered; of more the oldest is forgotten.
const MAX_KNOWN: usize = 1024;
/// The most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 256;
/// The error of a question that no answer came to.
const UNANSWERED: &str = "unanswered";

/// A question to a DNS server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    connection: u64,
    id: u16,
    kind: u16,
    name: String,
    offset: u64,
    time_ns: u64,
}

/// What was asked for, and what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    asked: VecDeque<Asked>,
    known: VecDeque<(IpAddr, String)>,
}

impl Names {
    /// The name that was last resolved to that address.
    pub(super) fn of(&self, peer: Option<&Address>) -> Option<String> {
        let Some(Address::Ip(peer)) = peer else {
            return None;
        };
        let ip = peer.ip().to_canonical();
        let known = self.known.iter().rev().find(|(known, _)| *known == ip);
        known.map(|(_, name)| name.clone())
    }

    fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        for ip in addresses.iter().map(IpAddr::to_canonical) {
            self.known.retain(|(known, _)| *known != ip);
            if self.known.len() >= MAX_KNOWN {
                self.known.pop_front();
            }
            self.known.push_back((ip, name.to_owned()));
        }
    }

    /// A call of `sock_getaddrinfo`.
    pub(super) fn resolved(&mut self, record: &Record<'_>, out: &mut Vec<Event>) {
        // Without its payload the question is not there.
        if record.outcome != Outcome::Returned || record.input.is_empty() {
            return;
        }
        let Some((name, service)) = socket::asked(record) else {
            return;
        };
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in socket::resolved(record).iter().map(|found| found.ip()) {
            if addresses.len() == MAX_ADDRESSES {
                break;
            }
            // One comes for each kind of socket.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let failed = record.result != 0;
        let error = wasi::errno_name(record.result)
            .map_or_else(|| record.result.to_string(), str::to_owned);
        self.learn(&name, &addresses);
        out.push(Event::Lookup(Lookup {
            offset: record.offset.0,
            end_offset: record.offset.0,
            time_ns: record.start.0,
            name,
            service: Some(service).filter(|service| !service.is_empty()),
            source: Source::GetAddrInfo,
            addresses,
            error: failed.then_some(error),
            duration_ns: Some(record.duration_ns),
        }));
    }

    /// A question that the guest sent.
    pub(super) fn ask(
        &mut self,
        message: AddressQuestion,
        connection: u64,
        at: At,
        out: &mut Vec<Event>,
    ) {
        let same = |asked: &Asked| asked.connection == connection && asked.answers(&message);
        // It was sent again: the first one counts.
        if message.response || self.asked.iter().any(same) {
            return;
        }
        if self.asked.len() >= MAX_ASKED
            && let Some(oldest) = self.asked.pop_front()
        {
            out.push(oldest.unanswered());
        }
        self.asked.push_back(Asked {
            connection,
            id: message.id,
            kind: message.kind,
            name: message.name,
            offset: at.offset,
            time_ns: at.time_ns,
        });
    }

    /// An answer that the guest received. One to no question is none.
    pub(super) fn answer(
        &mut self,
        message: AddressQuestion,
        connection: u64,
        at: At,
        out: &mut Vec<Event>,
    ) {
        let is_it = |asked: &Asked| asked.connection == connection && asked.answers(&message);
        let found = self
            .asked
            .iter()
            .position(is_it)
            .filter(|_| message.response);
        let Some(asked) = found.and_then(|found| self.asked.remove(found)) else {
            return;
        };
        self.learn(&asked.name, &message.addresses);
        out.push(Event::Lookup(Lookup {
            end_offset: at.offset,
            addresses: message.addresses,
            error: message.error,
            // The answer is there when the call returns.
            duration_ns: Some(at.end_ns.saturating_sub(asked.time_ns)),
            ..asked.lookup()
        }));
    }

    /// A connection ended: no answer will come over it.
    pub(super) fn end(&mut self, connection: u64, out: &mut Vec<Event>) {
        let ended = |asked: &Asked| asked.connection == connection;
        if self.asked.iter().any(ended) {
            let given = self.asked.iter().filter(|asked| ended(asked));
            out.extend(given.map(Asked::unanswered));
            self.asked.retain(|asked| !ended(asked));
        }
    }
}

impl Asked {
    fn answers(&self, message: &AddressQuestion) -> bool {
        self.id == message.id && self.kind == message.kind && self.name == message.name
    }

    fn lookup(&self) -> Lookup {
        Lookup {
            offset: self.offset,
            end_offset: self.offset,
            time_ns: self.time_ns,
            name: self.name.clone(),
            service: None,
            source: Source::Dns,
            addresses: Vec::new(),
            error: None,
            duration_ns: None,
        }
    }

    fn unanswered(&self) -> Event {
        Event::Lookup(Lookup {
            error: Some(UNANSWERED.to_owned()),
            ..self.lookup()
        })
    }
}

//! The guest's own DNS, as far as the rules of the network need to know of it: what it asks is judged
//! before it leaves, and what it is told is what names in rules stand for. So is the sender of each
//! datagram, before the guest gets it.

use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno as HostErrno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{Address, Transport};

use super::address;
use super::socket::{Socket, Stage, deadline};
use crate::network::dns;
use crate::network::policy::{DNS_PORT, Decision, Policy};
use crate::wakeup::Wakeup;
use crate::wasi::Stop;

/// A connection to a server of DNS.
pub(in crate::wasi) struct Conversation {
    server: SocketAddr,
    sent: dns::Stream,
    received: dns::Stream,
}

impl Socket {
    /// Notices that the socket is connected to a server of DNS, where policy wants to know.
    pub(super) fn watch(&mut self, peer: &Address, policy: &Policy) {
        self.dns = match (server(peer), self.transport) {
            (Some(server), Transport::Tcp | Transport::Udp) if policy.reads_dns() => {
                Some(Box::new(Conversation {
                    server,
                    sent: dns::Stream::default(),
                    received: dns::Stream::default(),
                }))
            }
            _ => None,
        };
    }

    /// Whether what goes to that address, or to whom the socket is connected, is to be judged.
    pub(super) fn is_asking(&self, to: Option<&Address>, policy: &Policy) -> bool {
        match to {
            Some(to) => server(to).is_some() && policy.reads_dns(),
            None => self.dns.is_some(),
        }
    }

    /// Judges what is about to be sent.
    pub(super) fn asks(
        &mut self,
        to: Option<&Address>,
        bytes: &[u8],
        policy: &mut Policy,
    ) -> Decision {
        let now = Instant::now();
        match (to.and_then(server), &mut self.dns) {
            (Some(server), _) => policy.asks(self.transport, server, bytes, now),
            (None, Some(dns)) if self.transport == Transport::Tcp => {
                policy.asks_by_stream(dns.server, &mut dns.sent, bytes, now)
            }
            (None, Some(dns)) => policy.asks(self.transport, dns.server, bytes, now),
            (None, None) => Ok(()),
        }
    }

    /// The server of DNS that something came from, where policy wants to know.
    pub(super) fn answering(&self, from: Option<&Address>, policy: &Policy) -> Option<SocketAddr> {
        match &self.dns {
            Some(dns) => Some(dns.server),
            None => from.and_then(server).filter(|_| policy.reads_dns()),
        }
    }

    /// Takes what a server of DNS said.
    pub(super) fn is_answered(&mut self, server: SocketAddr, bytes: &[u8], policy: &mut Policy) {
        let now = Instant::now();
        match &mut self.dns {
            Some(dns) if self.transport == Transport::Tcp => {
                let answered = |message: &[u8]| policy.answered(server, message, now);
                dns.received.feed(bytes, answered);
            }
            _ => policy.answered(server, bytes, now),
        }
    }

    /// Waits for a datagram that the guest may have, and drops those before it. Returns the last
    /// refusal, whatever ended the wait.
    pub(super) fn drop_refused(
        &self,
        policy: &Policy,
        wakeup: &Wakeup,
    ) -> (Option<Denial>, Result<(), Stop>) {
        let mut refused = None;
        if !self.transport.is_datagram() || self.stage == Stage::Connected {
            // The kernel takes from the peer alone, and the guest may reach that.
            return (refused, Ok(()));
        }
        let deadline = deadline(self.kept.receive_timeout);
        let look = |flags| {
            let flags = flags | RecvFlags::CMSG_CLOEXEC;
            recvmsg(self, &mut [], &mut RecvAncillaryBuffer::default(), flags)
        };
        loop {
            let denial = match look(RecvFlags::PEEK) {
                // A Unix socket without a name: only who may reach this one's path can send to it.
                Ok(message) => match message.address.and_then(address::of_host) {
                    None => return (refused, Ok(())),
                    Some(Address::Unix(_)) => return (refused, Ok(())),
                    Some(from) => {
                        let bound = self.asked.as_ref();
                        match policy.received(self.transport, bound, &from, Instant::now()) {
                            Ok(()) => return (refused, Ok(())),
                            Err(denial) => denial,
                        }
                    }
                },
                Err(error) => match self.again(error, PollFlags::IN, deadline, wakeup) {
                    Ok(()) => continue,
                    Err(stop) => return (refused, Err(stop)),
                },
            };
            refused = Some(denial);
            match look(RecvFlags::empty()) {
                Ok(_) | Err(HostErrno::AGAIN | HostErrno::INTR) => {}
                Err(error) => return (refused, Err(error.into())),
            }
        }
    }
}

/// The address as a server of DNS.
fn server(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Ip(ip) if ip.port() == DNS_PORT => Some(*ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::network::Rules;
    use crate::wasi::abi::fdflags;
    use crate::wasi::errno::Errno;
    use crate::wasi::function::*;
    use crate::wasi::testing::Guest;

    const ADDRESS: usize = 2048;
    const OUT: u64 = 2304;

    /// A guest that denies all but one address of this host, and a socket of it at any port there.
    fn guest(kind: u64) -> (Guest, u64, SocketAddr) {
        let mut guest = Guest::new();
        let rules = Rules {
            deny: vec!["127.0.0.2".parse().unwrap()],
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..Rules::default()
        };
        guest.wasi.policy = Policy::new(rules, "", "");
        guest.ok(SOCK_OPEN, &[1, kind, OUT]);
        let fd = u64::from(guest.u32(OUT as usize));
        let buffer = [ADDRESS as u32 + 8, 4].map(u32::to_le_bytes).concat();
        guest.memory[ADDRESS..ADDRESS + 8].copy_from_slice(&buffer);
        guest.memory[ADDRESS + 8..ADDRESS + 12].copy_from_slice(&[127, 0, 0, 1]);
        guest.ok(SOCK_BIND, &[fd, ADDRESS as u64, 0]);
        guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, fdflags::NONBLOCK.into()]);
        let local = guest.wasi.descriptors.socket(fd as u32).unwrap().local();
        let Ok(Some(Address::Ip(local))) = local else {
            panic!("it is bound");
        };
        (guest, fd, local)
    }

    fn missing(guest: &Guest) -> Vec<String> {
        let missing = guest.wasi.missing_grants().iter();
        missing
            .map(|m| format!("{}; {}", m.resource, m.flag))
            .collect()
    }

    #[test]
    fn datagrams_of_whom_is_denied_are_dropped() {
        let (mut guest, fd, local) = guest(1);
        let denied = UdpSocket::bind("127.0.0.2:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        denied.send_to(b"denied", local).unwrap();
        assert_eq!(guest.read(fd, &[9]), Err(Errno::AGAIN));
        let from = denied.local_addr().unwrap();
        let expected = format!("what comes from udp {from}; leaving out --deny-net 127.0.0.2");
        assert_eq!(missing(&guest), [expected]);
        denied.send_to(b"denied", local).unwrap();
        other.send_to(b"other", local).unwrap();
        assert_eq!(guest.read(fd, &[9]), Ok(b"other".to_vec()));
    }

    #[test]
    fn connections_of_whom_is_denied_are_not_accepted() {
        let (mut guest, fd, local) = guest(2);
        guest.ok(SOCK_LISTEN, &[fd, 9]);
        // A connection from the address that is denied.
        let from = TcpListener::bind("127.0.0.2:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        rustix::net::connect(&socket, &local).unwrap();
        guest.fails(Errno::CONNABORTED, SOCK_ACCEPT, &[fd, 0, OUT]);
        let expected = format!("what comes from tcp {from}; leaving out --deny-net 127.0.0.2");
        assert_eq!(missing(&guest), [expected]);
        let _other = TcpStream::connect(local).unwrap();
        guest.ok(SOCK_ACCEPT, &[fd, 0, OUT]);
    }
}

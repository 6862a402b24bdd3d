//! `sock_getaddrinfo`: names of hosts and services, by the host's own resolver.
//!
//! The resolver cannot be interrupted, so it is asked on a thread of its own, which is left behind
//! when the guest must end. There are only so many of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use std::{fs, io, thread};

use rustix::event::PollFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use timecraft_segment::wasmedge::{ADDRINFO, FAMILY_INET, FAMILY_INET6};

use super::address::word;
use super::{SOCK_DGRAM, SOCK_STREAM};
use crate::memory::{GuestMemory, u16_at, u32_at};
use crate::wakeup::Wakeup;
use crate::wasi::errno::Errno;
use crate::wasi::{Outcome, Stop, Wasi};

/// `ai_flags`: an empty node is any address and not this host.
const AI_PASSIVE: u16 = 1 << 0;
/// `ai_flags`: the node is an address and not a name.
const AI_NUMERICHOST: u16 = 1 << 2;
/// `ai_flags`: the service is a number.
const AI_NUMERICSERV: u16 = 1 << 3;

/// The longest name, in bytes: RFC 1035, section 2.3.4, and the zero that ends it.
const MAX_NAME: u64 = 256;
/// The most addresses that a guest gets.
const MAX_RESULTS: usize = 64;
/// The most threads that wait for the resolver, of all guests of this process together.
const MAX_LOOKUPS: usize = 16;

/// Where the host keeps the numbers of services.
const SERVICES_FILE: &str = "/etc/services";
/// Those that are known without that file.
const SERVICES: [(&str, u16); 4] = [("domain", 53), ("http", 80), ("https", 443), ("ssh", 22)];

/// How many lookups are under way.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// What a guest asks for.
struct Hints {
    flags: u16,
    /// `address_family`; 0 is any.
    family: u16,
    kind: u8,
    protocol: u32,
}

impl Hints {
    fn parse(bytes: &[u8]) -> Result<Hints, Errno> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let hints = Hints {
            flags: u16_at(bytes, 0),
            family: byte(2).into(),
            kind: byte(3),
            protocol: u32_at(bytes, 4),
        };
        let kinds = [0, SOCK_DGRAM, SOCK_STREAM];
        match hints.family <= FAMILY_INET6 && kinds.contains(&hints.kind.into()) {
            true => Ok(hints),
            false => Err(Errno::NOTSUP),
        }
    }

    fn wants(&self, ip: IpAddr) -> bool {
        match self.family {
            FAMILY_INET => ip.is_ipv4(),
            FAMILY_INET6 => ip.is_ipv6(),
            _ => true,
        }
    }

    /// The address of an empty node.
    fn itself(&self) -> Vec<IpAddr> {
        let all: [IpAddr; 2] = match self.flags & AI_PASSIVE {
            0 => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            _ => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        all.into_iter()
            .find(|&ip| self.wants(ip))
            .into_iter()
            .collect()
    }

    /// The port of a service.
    fn port(&self, service: &str) -> Result<u16, Stop> {
        if service.is_empty() {
            return Ok(0);
        }
        if let Ok(port) = service.parse() {
            return Ok(port);
        }
        let unknown = || {
            let why = format!("the service {service:?} is not known to the host");
            Stop::Because(Errno::INVAL, why)
        };
        if self.flags & AI_NUMERICSERV != 0 {
            return Err(unknown());
        }
        let protocol = match u32::from(self.kind) {
            SOCK_DGRAM => "udp",
            _ => "tcp",
        };
        let file = fs::read_to_string(SERVICES_FILE).unwrap_or_default();
        let known = SERVICES.iter().find(|(name, _)| *name == service);
        port_of(service, protocol, &file)
            .or(known.map(|(_, port)| *port))
            .ok_or_else(unknown)
    }
}

/// Finds a service in a file of `services(5)`: lines of `NAME PORT/PROTOCOL ALIASES... # comment`.
fn port_of(service: &str, protocol: &str, file: &str) -> Option<u16> {
    file.lines().find_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let (name, number) = (words.next()?, words.next()?);
        let (port, its) = number.split_once('/')?;
        let named = name == service || words.any(|alias| alias == service);
        (named && its == protocol).then(|| port.parse().ok())?
    })
}

/// A text of the guest, without the zero that may end it.
fn text<'m>(memory: &'m GuestMemory<'_>, pointer: u64, length: u64) -> Result<&'m str, Stop> {
    let bytes = memory.slice(pointer, length)?;
    if length > MAX_NAME {
        return Err(Errno::NAMETOOLONG.into());
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Errno::INVAL.into()),
    }
}

impl Wasi {
    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(in crate::wasi) fn sock_getaddrinfo(
        &mut self,
        memory: &mut GuestMemory<'_>,
        node: u64,
        node_length: u64,
        service: u64,
        service_length: u64,
        hints: u64,
        results: u64,
        most: u64,
        out: u64,
    ) -> Outcome {
        let node = text(memory, node, node_length)?;
        let service = text(memory, service, service_length)?;
        let hints = match hints {
            0 => Hints::parse(&[])?,
            hints => Hints::parse(memory.slice(hints, ADDRINFO.size as u64)?)?,
        };
        if node.is_empty() && service.is_empty() || most == 0 {
            return Err(Errno::INVAL.into());
        }
        let port = hints.port(service)?;
        let mut found = match node.parse::<IpAddr>() {
            _ if node.is_empty() => hints.itself(),
            Ok(ip) => vec![ip],
            Err(_) if hints.flags & AI_NUMERICHOST != 0 => {
                let why = format!("{node:?} is no address");
                return Err(Stop::Because(Errno::INVAL, why));
            }
            Err(_) => {
                self.policy.look_up(node).map_err(super::refusal)?;
                let found = resolve(node, &self.wakeup)?;
                self.policy.looked_up(node, &found, Instant::now());
                found
            }
        };
        found.retain(|&ip| hints.wants(ip));
        if found.is_empty() {
            let why = format!("{node:?} has no address of the family that was asked for");
            return Err(Stop::Because(Errno::INVAL, why));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(MAX_RESULTS);
        let mut next = memory.read_u32(results)?.into();
        let mut count = 0;
        for ip in found.into_iter().take(most) {
            if next == 0 {
                break;
            }
            next = put(memory, next, &hints, SocketAddr::new(ip, port))?;
            count += 1;
        }
        Ok(memory.write_u32(out, count)?)
    }
}

/// Writes a result into the structures that the guest has laid out; returns the address of the next
/// one, 0 where there is none.
///
/// The fields of `addrinfo`, by offset: family and type in 2 and 3, protocol in 4, `ai_addrlen` in 8,
/// `ai_addr` in 12, `ai_canonnamelen` in 20, `ai_next` in 24. Those of what `ai_addr` points to: family
/// in 0, `sa_data_len` in 4, `sa_data` in 8. A range for the address and the port alone, and no other of
/// its size, is what tells them in the log.
fn put(
    memory: &mut GuestMemory<'_>,
    at: u64,
    hints: &Hints,
    address: SocketAddr,
) -> Result<u64, Stop> {
    /// The size of what `ai_addr` points to.
    const SOCKADDR: u64 = 16;
    /// What the library of WasmEdge for Rust says of a buffer of [`ROOM`] bytes.
    const SAID_ROOM: u32 = 14;
    const ROOM: u32 = 26;

    let structure = memory.slice(at, ADDRINFO.size as u64)?;
    let (sockaddr, next) = (u32_at(structure, 12).into(), u32_at(structure, 24).into());
    if sockaddr == 0 {
        return Err(Errno::FAULT.into());
    }
    let fields = memory.slice(sockaddr, SOCKADDR)?;
    let (room, data) = (u32_at(fields, 4), u32_at(fields, 8).into());
    let room = if room == SAID_ROOM { ROOM } else { room };
    let (family, mut bytes) = match address {
        SocketAddr::V4(a) => (FAMILY_INET as u8, a.ip().octets().to_vec()),
        SocketAddr::V6(a) => (FAMILY_INET6 as u8, a.ip().octets().to_vec()),
    };
    bytes.splice(0..0, address.port().to_be_bytes());
    if word(bytes.len()) > room {
        return Err(Errno::OVERFLOW.into());
    }
    let mut head = [0; 12];
    head[..2].copy_from_slice(&hints.flags.to_le_bytes());
    head[2] = family;
    head[3] = hints.kind;
    head[4..8].copy_from_slice(&hints.protocol.to_le_bytes());
    head[8..].copy_from_slice(&(SOCKADDR as u32).to_le_bytes());
    memory.write(at, &head)?;
    // There are no canonical names.
    memory.write(at + 20, &[0; 4])?;
    memory.write(sockaddr, &[family])?;
    memory.write(data, &bytes)?;
    Ok(next)
}

/// Asks the host's resolver; ends with the wakeup.
fn resolve(name: &str, wakeup: &Wakeup) -> Result<Vec<IpAddr>, Stop> {
    let slot = Slot::take(&LOOKUPS)?;
    let (done, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let (answer, answered) = mpsc::sync_channel(1);
    let asked = name.to_owned();
    thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            let found = (asked.as_str(), 0).to_socket_addrs();
            // The guest may be gone.
            let _ = answer.send(found.map(|all| all.map(|a| a.ip()).collect::<Vec<_>>()));
            drop(slot);
            // Closing it is what the guest waits for.
            drop(ours);
        })
        .map_err(|error| Errno::from(&error))?;
    if wakeup.wait(done.as_fd(), PollFlags::IN)?.is_none() {
        return Err(Stop::Interrupted);
    }
    let failed = |error: io::Error| Stop::Because(Errno::INVAL, error.to_string());
    let found = answered.recv().map_err(|_| Errno::IO)?.map_err(failed)?;
    let mut each = Vec::with_capacity(found.len());
    for ip in found {
        if !each.contains(&ip) {
            each.push(ip);
        }
    }
    Ok(each)
}

/// One of the lookups that may be under way, and how many are.
struct Slot(&'static AtomicUsize);

impl Slot {
    fn take(under_way: &'static AtomicUsize) -> Result<Slot, Stop> {
        let more = |n| (n < MAX_LOOKUPS).then_some(n + 1);
        match under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Slot(under_way)),
            Err(_) => {
                let why = format!("{MAX_LOOKUPS} lookups are still under way");
                Err(Stop::Because(Errno::AGAIN, why))
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_name_alias_and_protocol() {
        let file = "# comment\nsmtp 25/tcp mail # x\nntp\t123/udp\nbad\n";
        assert_eq!(port_of("smtp", "tcp", file), Some(25));
        assert_eq!(port_of("mail", "tcp", file), Some(25));
        assert_eq!(port_of("mail", "udp", file), None);
        assert_eq!(port_of("ntp", "udp", file), Some(123));
        assert_eq!(port_of("x", "tcp", file), None);
    }

    #[test]
    fn lookups_are_counted() {
        // Its own: other tests look names up meanwhile.
        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        let take = || Slot::take(&UNDER_WAY);
        let all: Vec<_> = (0..MAX_LOOKUPS).map_while(|_| take().ok()).collect();
        assert_eq!(all.len(), MAX_LOOKUPS);
        assert!(matches!(take(), Err(Stop::Because(Errno::AGAIN, _))));
        drop(all);
        assert!(take().is_ok());
    }
}

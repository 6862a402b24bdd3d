//! Which rows of a trace are asked for.
//!
//! What is given several times means any of them; different things mean all of them.

use std::net::IpAddr;
use std::str::FromStr;

use timecraft_segment::socket::{Address, Transport};

use super::row::Row;

/// What is asked for; what is empty asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub addresses: Vec<Block>,
    pub ports: Vec<u16>,
    pub names: Vec<NamePattern>,
    pub protocols: Vec<Protocol>,
    /// Whether rows are wanted that tell little.
    pub minor: bool,
}

impl Filter {
    /// Whether a row is asked for.
    pub fn keeps(&self, row: &Row<'_>) -> bool {
        let any = |ends: &dyn Fn(&Address) -> bool| {
            [&row.local, &row.peer].into_iter().flatten().any(ends)
        };
        let address = |block: &Block| {
            row.addresses.iter().any(|&ip| block.holds(ip))
                || any(&|end| matches!(end, Address::Ip(ip) if block.holds(ip.ip())))
        };
        let port = |port: &u16| any(&|end| matches!(end, Address::Ip(ip) if ip.port() == *port));
        let name = |pattern: &NamePattern| row.name.as_ref().is_some_and(|n| pattern.matches(n));
        let protocol = |p: &Protocol| row.transport.is_some_and(|t| p.is(t));
        (self.minor || !row.minor)
            && (self.addresses.is_empty() || self.addresses.iter().any(address))
            && (self.ports.is_empty() || self.ports.iter().any(port))
            && (self.names.is_empty() || self.names.iter().any(name))
            && (self.protocols.is_empty() || self.protocols.iter().any(protocol))
    }
}

/// An address, or all that begin with the same bits: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    bits: u32,
}

impl Block {
    fn holds(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differs = ours.to_bits() ^ theirs.to_bits();
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differs = ours.to_bits() ^ theirs.to_bits();
                differs.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Block, String> {
        let malformed =
            || "expected an IP address, or a block such as 10.0.0.0/8 or fd00::/8".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| malformed())?,
        };
        match address.to_canonical() {
            _ if bits > most => Err(malformed()),
            // An IPv4 address in the form of an IPv6 one.
            canonical if canonical != address => Ok(Block {
                address: canonical,
                bits: bits.checked_sub(96).ok_or_else(malformed)?,
            }),
            address => Ok(Block { address, bits }),
        }
    }
}

/// A name, or with `*.` before it all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    name: String,
    below: bool,
}

impl NamePattern {
    pub fn matches(&self, name: &str) -> bool {
        let name = normalized(name);
        match self.below {
            false => name == self.name,
            true => name
                .strip_suffix(&self.name)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<NamePattern, String> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = normalized(name);
        if name.is_empty() || name.contains('*') {
            return Err("expected a name such as example.com or *.example.com".to_owned());
        }
        Ok(NamePattern { name, below })
    }
}

/// Names of DNS do not differ by case, nor by the dot of the root.
fn normalized(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    Tcp,
    Udp,
    /// Unix sockets
    Unix,
}

impl Protocol {
    fn is(self, transport: Transport) -> bool {
        self == match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::UnixStream | Transport::UnixDatagram => Protocol::Unix,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn holds(block: &str, address: &str) -> bool {
        let block: Block = block.parse().unwrap();
        block.holds(address.parse().unwrap())
    }

    #[test]
    fn blocks_hold_what_begins_alike() {
        for (block, address) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.0.0.0/8", "10.255.0.1"),
            ("0.0.0.0/0", "192.0.2.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1"),
            ("fd00::/8", "fdff::1"),
            ("::/0", "2001:db8::1"),
        ] {
            assert!(holds(block, address), "{block} {address}");
        }
        for (block, address) in [
            ("10.1.2.3", "10.1.2.4"),
            ("10.0.0.0/8", "11.0.0.0"),
            ("0.0.0.0/0", "::1"),
            ("fd00::/9", "fdff::1"),
        ] {
            assert!(!holds(block, address), "{block} {address}");
        }
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "::ffff:1.2.3.4/95",
        ] {
            assert!(text.parse::<Block>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_match_whatever_their_case() {
        let matches = |pattern: &str, name| pattern.parse::<NamePattern>().unwrap().matches(name);
        assert!(matches("Example.com", "example.COM."));
        assert!(!matches("example.com", "www.example.com"));
        assert!(matches("*.example.com", "www.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        for name in ["example.com", "badexample.com", ".example.com"] {
            assert!(!matches("*.example.com", name), "{name}");
        }
        for text in ["", ".", "*.", "a.*.com", "*"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
    }
}

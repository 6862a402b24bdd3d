//! What the user says of the network: the values of `--allow-net`, `--deny-net`, `--allow-unix` and
//! `--listen`, parsed and written back. Pure; what rules mean together is in
//! [`policy`](super::policy).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use timecraft_segment::socket::Address;

use super::address::{Cidr, NotACidr};

/// The longest name of DNS as text, RFC 1035 section 2.3.4.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// What the user says of the network.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What may be reached; where there is any, nothing else may be.
    pub allow: Vec<Target>,
    /// What may not be reached, whatever else says so.
    pub deny: Vec<Target>,
    /// The Unix sockets that may be reached, by absolute path.
    pub unix: Vec<Vec<u8>>,
    /// Where the guest may listen. Port 0 is a port that the system chooses.
    pub listen: Vec<Address>,
    /// Whether nothing may be reached that is not in `allow`, also where that is empty.
    pub restrict: bool,
}

impl Rules {
    /// Whether no host may be reached, whatever its address.
    #[must_use]
    pub fn reach_no_host(&self) -> bool {
        self.restrict && self.allow.is_empty()
    }

    /// As flags: what a recording says that was granted, and what was taken from that.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let allow = self
            .allow
            .iter()
            .map(|target| format!("--allow-net {target}"));
        let deny = self
            .deny
            .iter()
            .map(|target| format!("--deny-net {target}"));
        let unix = self.unix.iter().map(|path| allow_unix(path));
        allow.chain(deny).chain(unix).collect()
    }
}

/// The flag that grants a Unix socket.
pub(super) fn allow_unix(path: &[u8]) -> String {
    let text = Address::Unix(path.to_vec()).to_string();
    format!(
        "--allow-unix {}",
        text.strip_prefix("unix:").unwrap_or(&text)
    )
}

/// What a rule is about: hosts by name or by address, at one port or at all.
///
/// ```
/// use timecraft_runtime::network::rules::Target;
///
/// for text in ["example.com:443", "*.example.com", "10.0.0.0/8", "[::1]:80", "fd00::/8"] {
///     assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which hosts.
    pub host: Host,
    /// Which port; all where there is none.
    pub port: Option<u16>,
}

/// Hosts by name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Those whose name it is, or matches it.
    Name(Pattern),
    /// Those whose address is in it.
    Range(Cidr),
}

impl Target {
    /// A rule for one address.
    #[must_use]
    pub fn of(address: IpAddr, port: u16) -> Target {
        Target {
            host: Host::Range(Cidr::of(address)),
            port: Some(port),
        }
    }

    /// Whether the rule is about this port.
    #[must_use]
    pub fn at(&self, port: u16) -> bool {
        self.port.is_none_or(|p| p == port)
    }
}

/// A name, or all names beneath one: `*.example.com`. In lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    name: String,
    beneath: bool,
}

impl Pattern {
    /// Whether a name is meant, whatever its case and with a dot at its end or without.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        if !self.beneath {
            return name.eq_ignore_ascii_case(&self.name);
        }
        let split = name.len().checked_sub(self.name.len());
        let Some((labels, parent)) = split.and_then(|at| name.split_at_checked(at)) else {
            return false;
        };
        parent.eq_ignore_ascii_case(&self.name) && labels.len() > 1 && labels.ends_with('.')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.beneath { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Name(pattern), None) => write!(f, "{pattern}"),
            (Host::Name(pattern), Some(port)) => write!(f, "{pattern}:{port}"),
            (Host::Range(range), None) => write!(f, "{range}"),
            (Host::Range(range), Some(port)) if range.is_ipv6() => write!(f, "[{range}]:{port}"),
            (Host::Range(range), Some(port)) => write!(f, "{range}:{port}"),
        }
    }
}

/// The text is not a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    /// There is neither a name nor an address.
    #[error(
        "expected HOST[:PORT] or CIDR[:PORT], such as example.com:443, *.example.com, 10.0.0.0/8 or [::1]:80"
    )]
    Malformed,
    /// What follows the last colon is no port.
    #[error("expected a port from 1 to 65535 after the last colon")]
    Port,
    /// The range is none.
    #[error(transparent)]
    Range(#[from] NotACidr),
    /// It could be taken for an address by some programs, and is none by the usual rules.
    #[error("{0} is not an IPv4 address: write four numbers from 0 to 255, without zeros in front")]
    Number(String),
    /// The name has what names of DNS have not.
    #[error(
        "{0} is not a host name: it has letters, digits, `-`, `_` and dots; others as Punycode (xn--...)"
    )]
    Name(String),
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Target, NotATarget> {
        let (host, port) = split_port(text)?;
        let port = match port {
            Some(digits) => Some(parse_port(digits)?),
            None => None,
        };
        let host = if host.contains(':') || host.contains('/') || host.parse::<IpAddr>().is_ok() {
            Host::Range(host.parse()?)
        } else {
            Host::Name(host.parse()?)
        };
        Ok(Target { host, port })
    }
}

/// The host, without brackets, and what follows the colon after it.
fn split_port(text: &str) -> Result<(&str, Option<&str>), NotATarget> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(NotATarget::Malformed)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(NotATarget::Malformed),
        };
    }
    match text.split_once(':') {
        // More than one colon: an IPv6 address without brackets, and so without a port.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(digits: &str) -> Result<u16, NotATarget> {
    match digits.parse() {
        Ok(port) if port != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(NotATarget::Port),
    }
}

impl FromStr for Pattern {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Pattern, NotATarget> {
        let (name, beneath) = match text.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return Err(NotATarget::Malformed);
        }
        let label = |label: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(good)
        };
        if name.len() > MAX_NAME || !name.split('.').all(label) {
            return Err(NotATarget::Name(text.to_owned()));
        }
        if is_number(name) {
            return Err(NotATarget::Number(text.to_owned()));
        }
        Ok(Pattern {
            name: name.to_ascii_lowercase(),
            beneath,
        })
    }
}

/// Whether resolvers take the name for an IPv4 address in one of its old forms: its last label is a
/// number (the rule of the URL standard, section 3.5).
pub(super) fn is_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn targets_are_read_and_written() {
        for (text, written) in [
            ("Example.COM.:443", "example.com:443"),
            ("_srv.xn--bcher-kva.example", "_srv.xn--bcher-kva.example"),
            ("10.0.0.0/8:443", "10.0.0.0/8:443"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::/10", "fe80::/10"),
            ("[fe80::/10]:65535", "[fe80::/10]:65535"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
        ] {
            assert_eq!(target(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_target_is_said() {
        let malformed = NotATarget::Malformed.to_string();
        let port = NotATarget::Port.to_string();
        for (text, message) in [
            ("", malformed.as_str()),
            (":80", &malformed),
            ("*.", &malformed),
            ("[::1", &malformed),
            ("[::1]80", &malformed),
            ("a:0", &port),
            ("a:65536", &port),
            ("a:+80", &port),
            ("a:https", &port),
            (
                "10.0.0.1/8",
                "the address has bits beyond the prefix: write 10.0.0.0/8",
            ),
            (
                "0x7f.1",
                "0x7f.1 is not an IPv4 address: write four numbers from 0 to 255, without zeros in front",
            ),
            (
                "127.0.0.01",
                "127.0.0.01 is not an IPv4 address: write four numbers from 0 to 255, without zeros in front",
            ),
            (
                "a..b",
                "a..b is not a host name: it has letters, digits, `-`, `_` and dots; others as Punycode (xn--...)",
            ),
            (
                "a.*.b",
                "a.*.b is not a host name: it has letters, digits, `-`, `_` and dots; others as Punycode (xn--...)",
            ),
        ] {
            assert_eq!(
                text.parse::<Target>().unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
        assert!("bücher.example".parse::<Target>().is_err());
    }

    #[test]
    fn names_match_whatever_their_case_and_a_last_dot() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        let exact = pattern("Example.com");
        for name in ["example.com", "EXAMPLE.COM", "example.com."] {
            assert!(exact.matches(name), "{name}");
        }
        for name in [
            "",
            ".",
            "example.com..",
            "www.example.com",
            "example.co",
            "xexample.com",
        ] {
            assert!(!exact.matches(name), "{name}");
        }
        let beneath = pattern("*.example.com.");
        for name in ["www.example.com", "A.B.Example.Com."] {
            assert!(beneath.matches(name), "{name}");
        }
        for name in [
            "example.com",
            ".example.com",
            "xexample.com",
            "é.com",
            "www.example.com.x",
        ] {
            assert!(!beneath.matches(name), "{name}");
        }
    }

    #[test]
    fn rules_are_written_as_flags() {
        let rules = Rules {
            allow: vec![target("a.example"), target("10.0.0.0/8:1")],
            deny: vec![target("::1")],
            unix: vec![b"/run/a b".to_vec()],
            ..Rules::default()
        };
        assert_eq!(
            rules.flags(),
            [
                "--allow-net a.example",
                "--allow-net 10.0.0.0/8:1",
                "--deny-net ::1",
                "--allow-unix /run/a\\x20b",
            ]
        );
    }
}

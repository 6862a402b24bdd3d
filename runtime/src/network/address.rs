//! What an IP address reaches, and ranges of addresses.
//!
//! Several IPv6 addresses lead to one IPv4 address, and the unspecified address to this host. Policy
//! compares what is reached, so that no other way to write an address gets around a rule. Pure; it must
//! never look up a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3), or a single one.
///
/// IPv4-mapped ranges are the IPv4 ranges that they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not a [`Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACidr {
    /// It does not begin with an address.
    #[error("expected an address such as 10.0.0.0/8 or fd00::/8")]
    Address,
    /// What follows the slash is not a number of bits.
    #[error("expected at most {0} bits after the slash")]
    Prefix(u8),
    /// The address has bits beyond the prefix.
    #[error("the address has bits beyond the prefix: write {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// The range of the addresses that share the first `prefix` bits of `network`.
    const fn v4(network: [u8; 4], prefix: u8) -> Cidr {
        let [a, b, c, d] = network;
        Cidr {
            network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(network: [u16; 8], prefix: u8) -> Cidr {
        let [a, b, c, d, e, f, g, h] = network;
        Cidr {
            network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            prefix,
        }
    }

    /// The range of this address alone.
    #[must_use]
    pub fn of(address: IpAddr) -> Cidr {
        let address = address.to_canonical();
        Cidr {
            network: address,
            prefix: bits(address),
        }
    }

    /// Whether it is one of IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.network.is_ipv6()
    }

    /// Whether the address is in the range, as it is written and not as what it reaches.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.network.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.network
    }

    /// Whether all of `other` is in the range.
    #[must_use]
    pub fn covers(&self, other: &Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.network)
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Cidr, NotACidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotACidr::Address)?;
        let most = bits(address);
        let prefix = match prefix {
            None => most,
            // `parse` takes a sign, which is no number of bits.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or(NotACidr::Prefix(most))?,
            Some(_) => return Err(NotACidr::Prefix(most)),
        };
        let range = Cidr {
            network: masked(address, prefix),
            prefix,
        };
        if range.network != address {
            return Err(NotACidr::HostBits(range));
        }
        match range.network.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= MAPPED_BITS => Ok(Cidr {
                network: v4,
                prefix: prefix - MAPPED_BITS,
            }),
            _ => Ok(range),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)?;
        if self.prefix < bits(self.network) {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// The bits before the IPv4 address in an IPv4-mapped one, RFC 4291 section 2.5.5.2.
const MAPPED_BITS: u8 = 96;

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// A prefix under which IPv6 addresses lead to IPv4 addresses, and the bit where these begin.
struct Translation {
    prefix: Cidr,
    at: u32,
}

const TRANSLATIONS: [Translation; 5] = [
    // IPv4-compatible, RFC 4291 section 2.5.5.1.
    Translation {
        prefix: Cidr::v6([0; 8], 96),
        at: 96,
    },
    // IPv4-translated, RFC 2765 section 2.1.
    Translation {
        prefix: Cidr::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
        at: 96,
    },
    // NAT64's own prefix, RFC 6052 section 2.1.
    Translation {
        prefix: Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
        at: 96,
    },
    // NAT64 of a site, RFC 8215, in the form that fills the last 32 bits.
    Translation {
        prefix: Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
        at: 96,
    },
    // 6to4, RFC 3056 section 2.
    Translation {
        prefix: Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        at: 16,
    },
];

/// The address that is reached: IPv4 for the forms of IPv6 that lead to it (mapped, compatible,
/// translated, NAT64, 6to4), and this host for the unspecified address.
///
/// ```
/// use timecraft_runtime::network::address::reached;
///
/// let reaches = |text: &str| reached(text.parse().unwrap()).to_string();
/// assert_eq!(reaches("::ffff:169.254.169.254"), "169.254.169.254");
/// assert_eq!(reaches("64:ff9b::169.254.169.254"), "169.254.169.254");
/// assert_eq!(reaches("2002:a9fe:a9fe::1"), "169.254.169.254");
/// assert_eq!(reaches("0.0.0.0"), "127.0.0.1");
/// ```
#[must_use]
pub fn reached(address: IpAddr) -> IpAddr {
    match embedded(address).map_or(address.to_canonical(), |(_, v4)| v4.into()) {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// The prefix that makes an IPv6 address lead to IPv4, if one does. IPv4-mapped addresses are IPv4 to
/// the kernel itself and are not meant here.
#[must_use]
pub fn translation(address: IpAddr) -> Option<Cidr> {
    embedded(address).map(|(prefix, _)| prefix)
}

fn embedded(address: IpAddr) -> Option<(Cidr, Ipv4Addr)> {
    let IpAddr::V6(v6) = address else {
        return None;
    };
    // Both lie under the prefix of IPv4-compatible addresses, and are none.
    if v6.is_unspecified() || v6.is_loopback() {
        return None;
    }
    let found = TRANSLATIONS.iter().find(|t| t.prefix.contains(address))?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the 32 bits that are meant"
    )]
    let v4 = (v6.to_bits() >> (96 - found.at)) as u32;
    Some((found.prefix, Ipv4Addr::from_bits(v4)))
}

/// What nothing grants that does not name it: addresses of the link, through which clouds also hand
/// out credentials, and the addresses outside of that range at which they do the same.
pub const LINK_LOCAL: [Cidr; 9] = [
    // RFC 3927, and RFC 4291 section 2.5.6.
    Cidr::v4([169, 254, 0, 0], 16),
    Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // Multicast and broadcast that do not leave the link: RFC 5771 section 4, RFC 4291 section 2.7,
    // RFC 919 section 7.
    Cidr::v4([224, 0, 0, 0], 24),
    Cidr::v6([0xff02, 0, 0, 0, 0, 0, 0, 0], 16),
    Cidr::v4([255, 255, 255, 255], 32),
    // Amazon's and Google's metadata over IPv6, Alibaba's and Azure's over IPv4.
    Cidr::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    Cidr::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    Cidr::v4([100, 100, 100, 200], 32),
    Cidr::v4([168, 63, 129, 16], 32),
];

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Every form of IPv6 that leads to an IPv4 address.
    pub fn forms(v4: Ipv4Addr) -> Vec<IpAddr> {
        let [a, b, c, d] = v4.octets();
        let hex = format!("{a:02x}{b:02x}:{c:02x}{d:02x}");
        let mut forms = vec![
            ip(&v4.to_string()),
            ip(&format!("::ffff:{v4}")),
            ip(&format!("::ffff:0:{v4}")),
            ip(&format!("64:ff9b::{v4}")),
            ip(&format!("64:ff9b:1::{v4}")),
            ip(&format!("2002:{hex}::")),
            ip(&format!("2002:{hex}:1:2:3:4:5")),
        ];
        // Two addresses of that form are the unspecified one and loopback of IPv6.
        if v4.to_bits() > 1 {
            forms.push(ip(&format!("::{v4}")));
        }
        forms
    }

    #[test]
    fn ranges_are_read_and_written() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "fe80::/10",
            "10.1.2.3",
            "::1",
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        let text = |text: &str| text.parse::<Cidr>().unwrap().to_string();
        assert_eq!(text("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(text("::ffff:0:0/96"), "0.0.0.0/0");
        assert_eq!(text("10.1.2.3/32"), "10.1.2.3");
    }

    #[test]
    fn what_is_no_range_is_said() {
        for (text, message) in [
            (
                "example.com",
                "expected an address such as 10.0.0.0/8 or fd00::/8",
            ),
            ("10.0.0.0/33", "expected at most 32 bits after the slash"),
            ("10.0.0.0/+8", "expected at most 32 bits after the slash"),
            ("::/129", "expected at most 128 bits after the slash"),
            ("::/", "expected at most 128 bits after the slash"),
            (
                "10.0.0.1/8",
                "the address has bits beyond the prefix: write 10.0.0.0/8",
            ),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn this_host_is_meant_by_no_address() {
        assert_eq!(reached(ip("::")), ip("::1"));
        for form in forms(Ipv4Addr::UNSPECIFIED) {
            assert_eq!(reached(form), ip("127.0.0.1"), "{form}");
        }
        assert_eq!(reached(ip("::1")), ip("::1"));
    }

    proptest! {
        #[test]
        fn what_is_reached_reaches_itself(bits: u128, v4: u32) {
            let mut all = forms(Ipv4Addr::from_bits(v4));
            all.push(Ipv6Addr::from_bits(bits).into());
            for address in all {
                prop_assert_eq!(reached(reached(address)), reached(address));
            }
        }

        #[test]
        fn every_form_reaches_the_same(v4 in 1u32..) {
            let v4 = Ipv4Addr::from_bits(v4);
            for form in forms(v4) {
                prop_assert_eq!(reached(form), IpAddr::V4(v4));
            }
        }

        #[test]
        fn a_range_covers_what_it_contains(bits: u128, prefix in 0u8..=128, narrower in 0u8..=128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            let text = format!("{}/{prefix}", masked(address, prefix));
            let wide: Cidr = text.parse().unwrap();
            prop_assert!(wide.contains(address) || address.to_canonical().is_ipv4());
            let text = format!("{}/{}", masked(address, prefix.max(narrower)), prefix.max(narrower));
            let narrow: Cidr = text.parse().unwrap();
            prop_assert!(wide.covers(&narrow) || wide.network.is_ipv4() != narrow.network.is_ipv4());
            prop_assert!(wide == narrow || !narrow.covers(&wide));
        }
    }
}

//! Functions over addresses.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::BooleanBuilder;
use arrow::datatypes::DataType;
use ipnet::{IpNet, Ipv4Net};

use super::arguments::Kind;
use super::function::{Argument, Function};

/// How many bits of an IPv6 address that stands for one of IPv4 are the same for all (RFC 4291, section
/// 2.5.5.2).
const MAPPED: u8 = 96;

pub(super) const CIDR_CONTAINS: Function = Function {
    name: "cidr_contains",
    arguments: &[
        Argument::new(
            "cidr",
            Kind::Text,
            "A range of addresses, as 10.0.0.0/8 or fe80::/10; an address alone is a range of one.",
        ),
        Argument::new("ip", Kind::Text, "An address of IPv4 or IPv6."),
    ],
    returns: || DataType::Boolean,
    description: "Whether a range has an address. An address of IPv4 that is written as one of IPv6, \
                  ::ffff:10.0.0.1, is the same address. Null where either is none.",
    examples: &[
        "cidr_contains('10.0.0.0/8', '10.1.2.3')",
        "cidr_contains('10.0.0.0/8', '::ffff:10.1.2.3')",
        "cidr_contains('fe80::/10', '2001:db8::1')",
    ],
    call: |arguments| {
        let (ranges, addresses) = (arguments.text(0)?, arguments.text(1)?);
        let constant = ranges.constant().map(range);
        let mut contained = BooleanBuilder::with_capacity(arguments.rows());
        for row in 0..arguments.rows() {
            let range = constant.unwrap_or_else(|| ranges.get(row).and_then(range));
            let address = addresses
                .get(row)
                .and_then(|text| text.parse::<IpAddr>().ok());
            let both = range.zip(address);
            contained.append_option(
                both.map(|(range, address)| range.contains(&address.to_canonical())),
            );
        }
        Ok(Arc::new(contained.finish()))
    },
};

fn range(text: &str) -> Option<IpNet> {
    let net = match text.contains('/') {
        true => text.parse().ok()?,
        false => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let IpNet::V6(six) = net else {
        return Some(net);
    };
    let four = six.addr().to_ipv4_mapped();
    let four = four.zip(six.prefix_len().checked_sub(MAPPED));
    let four = four.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    Some(four.map_or(net, IpNet::V4))
}

//! IP packets with TCP and UDP in them, checksums and all: RFC 791, RFC 8200, RFC 9293, RFC 768.
//!
//! Pure functions from ends and bytes to a packet. Which packets there are is not decided here.

use std::net::{IpAddr, SocketAddr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;

/// Ends that a segment has no more to say: RFC 9293, section 3.1.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// The most bytes that a segment carries here: with its headers it is a packet of either family.
pub const MAX_SEGMENT: usize = 64_000;

/// By how many bits windows are shifted (RFC 7323, section 2.2): so far that none is ever full.
const WINDOW_SHIFT: u8 = 14;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub from: SocketAddr,
    pub to: SocketAddr,
}

/// A segment of TCP without its ports.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub sequence: u32,
    /// What is acknowledged; 0 without [`ACK`].
    pub acknowledgement: u32,
    pub flags: u8,
    pub bytes: &'a [u8],
}

/// A packet with a segment. Its bytes are at most [`MAX_SEGMENT`].
pub fn tcp(way: Way, segment: Segment<'_>) -> Vec<u8> {
    let mut options = Vec::new();
    if segment.flags & SYN != 0 {
        // The largest segment, nothing, the window's scale.
        options.extend([2, 4]);
        options.extend((MAX_SEGMENT as u16).to_be_bytes());
        options.extend([1, 3, 3, WINDOW_SHIFT]);
    }
    let words = (20 + options.len()) / 4;
    let mut out = Vec::with_capacity(20 + options.len() + segment.bytes.len());
    out.extend(way.from.port().to_be_bytes());
    out.extend(way.to.port().to_be_bytes());
    out.extend(segment.sequence.to_be_bytes());
    out.extend(segment.acknowledgement.to_be_bytes());
    out.extend([(words as u8) << 4, segment.flags]);
    let window = if segment.flags & RST == 0 {
        u16::MAX
    } else {
        0
    };
    out.extend(window.to_be_bytes());
    out.extend([0; 4]);
    out.extend(&options);
    out.extend(segment.bytes);
    let sum = checksum(way, TCP, &out);
    out[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(way, TCP, &out)
}

/// A packet with a datagram; none where that is larger than a packet can be.
pub fn udp(way: Way, bytes: &[u8]) -> Option<Vec<u8>> {
    let header = match way.from {
        SocketAddr::V4(_) => 20,
        SocketAddr::V6(_) => 0,
    };
    let length = u16::try_from(UDP_HEADER + bytes.len()).ok()?;
    length.checked_add(header)?;
    let mut out = Vec::with_capacity(usize::from(length));
    out.extend(way.from.port().to_be_bytes());
    out.extend(way.to.port().to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend([0; 2]);
    out.extend(bytes);
    // A sum of 0 would say that there is none.
    let sum = match checksum(way, UDP, &out) {
        0 => 0xffff,
        sum => sum,
    };
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    Some(ip(way, UDP, &out))
}

/// Both ends are of one family, and what is carried fits: [`tcp`] and [`udp`] see to it.
fn ip(way: Way, protocol: u8, carried: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + carried.len());
    match (way.from.ip(), way.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = (20 + carried.len()) as u16;
            out.extend([0x45, 0]);
            out.extend(length.to_be_bytes());
            // No identification: not to be cut into fragments.
            out.extend([0, 0, 0x40, 0, HOP_LIMIT, protocol, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
            let sum = fold(add(0, &out));
            out[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            out.extend([0x60, 0, 0, 0]);
            out.extend((carried.len() as u16).to_be_bytes());
            out.extend([protocol, HOP_LIMIT]);
            out.extend(octets(from));
            out.extend(octets(to));
        }
    }
    out.extend(carried);
    out
}

/// The checksum of what is carried, over the pseudo-header too: RFC 9293, section 3.1, and RFC 8200,
/// section 8.1.
fn checksum(way: Way, protocol: u8, carried: &[u8]) -> u16 {
    let mut sum = u64::from(protocol) + carried.len() as u64;
    for end in [way.from.ip(), way.to.ip()] {
        sum = match end {
            IpAddr::V4(ip) => add(sum, &ip.octets()),
            IpAddr::V6(ip) => add(sum, &ip.octets()),
        };
    }
    fold(add(sum, carried))
}

/// Adds bytes as 16-bit words: RFC 1071.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    sum + words.sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

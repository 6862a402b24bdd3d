//! The names of DNS's numbers, from IANA's registry of DNS parameters. A number without a name has the
//! generic one of RFC 3597, section 5, or one made in its way.

use std::borrow::Cow;

/// The types that are looked at elsewhere.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
}

/// The classes that are looked at elsewhere.
pub(crate) mod class {
    pub(crate) const IN: u16 = 1;
    /// Of RFC 2136, section 2.5: what is to be deleted from a zone.
    pub(crate) const NONE: u16 = 254;
    pub(crate) const ANY: u16 = 255;
    /// The bit that multicast DNS takes for itself: RFC 6762, sections 5.4 and 10.2.
    pub(crate) const MULTICAST: u16 = 1 << 15;
}

/// The operations that are looked at elsewhere.
pub(crate) mod opcode {
    pub(crate) const UPDATE: u8 = 5;
    pub(crate) const STATEFUL: u8 = 6;
}

/// The name of a type.
#[must_use]
pub fn type_name(kind: u16) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        1 => "A",
        2 => "NS",
        3 => "MD",
        4 => "MF",
        5 => "CNAME",
        6 => "SOA",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        19 => "X25",
        20 => "ISDN",
        21 => "RT",
        24 => "SIG",
        25 => "KEY",
        26 => "PX",
        28 => "AAAA",
        29 => "LOC",
        30 => "NXT",
        33 => "SRV",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        55 => "HIP",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        other => return Cow::Owned(format!("TYPE{other}")),
    })
}

/// The name of a class.
#[must_use]
pub fn class_name(class: u16) -> Cow<'static, str> {
    Cow::Borrowed(match class {
        class::IN => "IN",
        3 => "CH",
        4 => "HS",
        class::NONE => "NONE",
        class::ANY => "ANY",
        other => return Cow::Owned(format!("CLASS{other}")),
    })
}

/// The name of an operation.
#[must_use]
pub fn opcode_name(opcode: u8) -> Cow<'static, str> {
    Cow::Borrowed(match opcode {
        0 => "QUERY",
        1 => "IQUERY",
        2 => "STATUS",
        4 => "NOTIFY",
        opcode::UPDATE => "UPDATE",
        opcode::STATEFUL => "DSO",
        other => return Cow::Owned(format!("OPCODE{other}")),
    })
}

/// The name of a response code, which EDNS may have extended.
#[must_use]
pub fn rcode_name(rcode: u16) -> Cow<'static, str> {
    Cow::Borrowed(match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        other => return Cow::Owned(format!("RCODE{other}")),
    })
}

/// The name of an option of EDNS.
#[must_use]
pub fn option_name(code: u16) -> Cow<'static, str> {
    Cow::Borrowed(match code {
        1 => "LLQ",
        2 => "UL",
        3 => "NSID",
        5 => "DAU",
        6 => "DHU",
        7 => "N3U",
        8 => "ECS",
        9 => "EXPIRE",
        10 => "COOKIE",
        11 => "KEEPALIVE",
        12 => "PADDING",
        13 => "CHAIN",
        14 => "KEYTAG",
        15 => "EDE",
        18 => "REPORTCHANNEL",
        19 => "ZONEVERSION",
        other => return Cow::Owned(format!("OPT{other}")),
    })
}

/// The name of a parameter of SVCB and HTTPS: RFC 9460, section 14.3.2, and RFC 9461, section 5.
pub(crate) fn parameter_name(key: u16) -> Cow<'static, str> {
    Cow::Borrowed(match key {
        0 => "mandatory",
        1 => "alpn",
        2 => "no-default-alpn",
        3 => "port",
        4 => "ipv4hint",
        5 => "ech",
        6 => "ipv6hint",
        7 => "dohpath",
        8 => "ohttp",
        other => return Cow::Owned(format!("key{other}")),
    })
}

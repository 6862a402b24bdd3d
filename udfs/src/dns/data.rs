//! The data of records in the form that zone files have for their type; of a type without one, and of
//! what is not as its type says, in the generic form `\# 3 0a0b0c` of RFC 3597, section 5.

use std::net::Ipv6Addr;

use super::dnssec;
use super::numbers::{class, parameter_name};
use super::reader::{
    Reader, write_base64, write_hex, write_ipv4, write_number, write_quoted, write_text,
};

/// Writes the data. None where it is not what the type says; then what is written is of no use.
pub(super) fn write(kind: u16, class: u16, from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let of_internet = matches!(
        class & !class::MULTICAST,
        class::IN | class::NONE | class::ANY
    );
    // RFC 2136, section 2.4: what an update asks for or deletes has no data.
    if matches!(class, class::NONE | class::ANY) && from.is_empty() {
        return generic(from, out);
    }
    match (kind, of_internet) {
        (1, true) => write_ipv4(out, from.bytes()?),
        (28, true) => write_text(out, Ipv6Addr::from(from.bytes::<16>()?)),
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        (2..=5 | 7..=9 | 12 | 39, _) => from.name_in(out)?,
        (6, _) => start_of_authority(from, out)?,
        // HINFO
        (13, _) => fields(from, out, &[Field::String, Field::String])?,
        // MINFO, RP
        (14 | 17, _) => fields(from, out, &[Field::Name, Field::Name])?,
        // MX, AFSDB, RT, KX
        (15 | 18 | 21 | 36, _) => fields(from, out, &[Field::U16, Field::Name])?,
        // TXT, SPF
        (16 | 99, _) => strings(from, out)?,
        // SRV: RFC 2782.
        (33, true) => fields(
            from,
            out,
            &[Field::U16, Field::U16, Field::U16, Field::Name],
        )?,
        // NAPTR: RFC 3403, section 4.1.
        (35, true) => fields(
            from,
            out,
            &[
                Field::U16,
                Field::U16,
                Field::String,
                Field::String,
                Field::String,
                Field::Name,
            ],
        )?,
        // SSHFP: RFC 4255, section 3.
        (44, _) => fields(from, out, &[Field::U8, Field::U8, Field::Hex])?,
        // DS and CDS: RFC 4034, section 5.
        (43 | 59, _) => fields(from, out, &[Field::U16, Field::U8, Field::U8, Field::Hex])?,
        // DNSKEY, CDNSKEY, KEY: RFC 4034, section 2.
        (25 | 48 | 60, _) => {
            fields(
                from,
                out,
                &[Field::U16, Field::U8, Field::U8, Field::Base64],
            )?;
        }
        // TLSA and SMIMEA: RFC 6698, section 2.
        (52 | 53, _) => fields(from, out, &[Field::U8, Field::U8, Field::U8, Field::Hex])?,
        // SIG and RRSIG
        (24 | 46, _) => dnssec::signature(from, out)?,
        (47, _) => dnssec::next(from, out)?,
        (50, _) => dnssec::next_hashed(from, out)?,
        (51, _) => dnssec::hash_parameters(from, out)?,
        // SVCB and HTTPS
        (64 | 65, true) => service(from, out)?,
        (256, _) => {
            // URI: RFC 7553, section 4.5.
            fields(from, out, &[Field::U16, Field::U16])?;
            out.push(b' ');
            rest_quoted(from, out);
        }
        (257, _) => {
            // CAA: RFC 8659, section 4.1.1.
            write_number(out, from.u8()?);
            out.push(b' ');
            let tag = from.u8()?;
            let tag = from.take(tag.into())?;
            if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
                return None;
            }
            out.extend_from_slice(tag);
            out.push(b' ');
            rest_quoted(from, out);
        }
        _ => generic(from, out)?,
    }
    from.is_empty().then_some(())
}

/// Writes all that is left, of whatever kind.
pub(super) fn generic(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let bytes = from.take(from.rest().len())?;
    out.extend_from_slice(br"\# ");
    write_number(out, bytes.len() as u64);
    if !bytes.is_empty() {
        out.push(b' ');
        write_hex(out, bytes);
    }
    Some(())
}

/// A part of the data of a simple type.
#[derive(Clone, Copy)]
enum Field {
    U8,
    U16,
    Name,
    String,
    /// All that is left.
    Hex,
    /// All that is left.
    Base64,
}

/// Writes fields with a blank between them.
fn fields(from: &mut Reader<'_>, out: &mut Vec<u8>, fields: &[Field]) -> Option<()> {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        match field {
            Field::U8 => write_number(out, from.u8()?),
            Field::U16 => write_number(out, from.u16()?),
            Field::Name => from.name_in(out)?,
            Field::String => from.string(out)?,
            Field::Hex => write_hex(out, some(from)?),
            Field::Base64 => write_base64(out, some(from)?),
        }
    }
    Some(())
}

/// What is left, of which there must be something.
pub(super) fn some<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    let rest = from.take(from.rest().len())?;
    (!rest.is_empty()).then_some(rest)
}

fn rest_quoted(from: &mut Reader<'_>, out: &mut Vec<u8>) {
    let rest = from.take(from.rest().len()).unwrap_or_default();
    write_quoted(out, rest);
}

fn strings(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    from.string(out)?;
    while !from.is_empty() {
        out.push(b' ');
        from.string(out)?;
    }
    Some(())
}

fn start_of_authority(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    fields(from, out, &[Field::Name, Field::Name])?;
    for _ in 0..5 {
        out.push(b' ');
        write_number(out, from.u32()?);
    }
    Some(())
}

/// RFC 9460, section 2.2. Keys that do not ascend make the record malformed.
fn service(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    fields(from, out, &[Field::U16, Field::Name])?;
    let mut before = None;
    while !from.is_empty() {
        let key = from.u16()?;
        if before.is_some_and(|before| before >= key) {
            return None;
        }
        before = Some(key);
        let length = from.u16()?;
        let mut value = from.part(length.into())?;
        out.push(b' ');
        out.extend_from_slice(parameter_name(key).as_bytes());
        if !value.is_empty() {
            out.push(b'=');
            parameter(key, &mut value, out)?;
        } else if matches!(key, 0 | 1 | 3 | 4 | 6) {
            return None;
        }
    }
    Some(())
}

fn parameter(key: u16, value: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let comma = |out: &mut Vec<u8>, value: &Reader<'_>| {
        if !value.is_empty() {
            out.push(b',');
        }
    };
    match key {
        0 => {
            while !value.is_empty() {
                out.extend_from_slice(parameter_name(value.u16()?).as_bytes());
                comma(out, value);
            }
        }
        1 => {
            // RFC 9460, section 7.1.1: a comma within an item is escaped, and so is what escapes.
            let mut list = Vec::new();
            while !value.is_empty() {
                let length = value.u8()?;
                for &byte in value.take(length.into())? {
                    if matches!(byte, b',' | b'\\') {
                        list.push(b'\\');
                    }
                    list.push(byte);
                }
                comma(&mut list, value);
            }
            write_quoted(out, &list);
        }
        2 => return None,
        3 => write_number(out, value.u16()?),
        4 => {
            while !value.is_empty() {
                write_ipv4(out, value.bytes()?);
                comma(out, value);
            }
        }
        5 => write_base64(out, some(value)?),
        6 => {
            while !value.is_empty() {
                write_text(out, Ipv6Addr::from(value.bytes::<16>()?));
                comma(out, value);
            }
        }
        _ => rest_quoted(value, out),
    }
    value.is_empty().then_some(())
}

//! The data of the records of DNSSEC that take more than fields one after the other: RFC 4034 and
//! RFC 5155.

use super::data::some;
use super::numbers::type_name;
use super::reader::{Reader, write_base32hex, write_base64, write_hex, write_number, write_text};

/// RRSIG: RFC 4034, section 3.
pub(super) fn signature(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(type_name(from.u16()?).as_bytes());
    for number in [from.u8()?, from.u8()?] {
        out.push(b' ');
        write_number(out, number);
    }
    out.push(b' ');
    write_number(out, from.u32()?);
    for moment in [from.u32()?, from.u32()?] {
        out.push(b' ');
        write_moment(out, moment);
    }
    out.push(b' ');
    write_number(out, from.u16()?);
    out.push(b' ');
    from.name_in(out)?;
    out.push(b' ');
    write_base64(out, some(from)?);
    Some(())
}

/// NSEC: RFC 4034, section 4.
pub(super) fn next(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    from.name_in(out)?;
    types(from, out)
}

/// NSEC3: RFC 5155, section 3.
pub(super) fn next_hashed(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    hash_parameters(from, out)?;
    out.push(b' ');
    let length = from.u8()?;
    write_base32hex(out, from.take(length.into())?);
    types(from, out)
}

/// NSEC3PARAM: RFC 5155, section 4.
pub(super) fn hash_parameters(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    for number in [from.u8()?, from.u8()?] {
        write_number(out, number);
        out.push(b' ');
    }
    write_number(out, from.u16()?);
    out.push(b' ');
    let length = from.u8()?;
    match from.take(length.into())? {
        [] => out.push(b'-'),
        salt => write_hex(out, salt),
    }
    Some(())
}

/// Which types there are: RFC 4034, section 4.1.2.
fn types(from: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut before = None;
    while !from.is_empty() {
        let window = from.u8()?;
        if before.is_some_and(|before| before >= window) {
            return None;
        }
        before = Some(window);
        let length = from.u8()?;
        if !(1..=32).contains(&length) {
            return None;
        }
        let bits = from.take(length.into())?;
        for (at, byte) in bits.iter().enumerate() {
            for bit in (0..8_u16).filter(|bit| byte & (0x80 >> bit) != 0) {
                out.push(b' ');
                let kind = u16::from(window) << 8 | (8 * at as u16 + bit);
                out.extend_from_slice(type_name(kind).as_bytes());
            }
        }
    }
    Some(())
}

/// A moment as `YYYYMMDDHHmmSS`: RFC 4034, section 3.2. Of the two moments that a number can mean, the
/// one before 2106, as everybody who prints them does.
fn write_moment(out: &mut Vec<u8>, seconds: u32) {
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Years that begin in March put the leap day at their ends. Day 0 is 1970-01-01, which is 719,468
    // days after 0000-03-01; an era is 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = 400 * era + year + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write_text(
        out,
        format_args!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101000000"),
            (951_782_400, "20000229000000"),
            (951_868_799, "20000229235959"),
            (951_868_800, "20000301000000"),
            (1_071_608_580, "20031216210300"),
            (u32::MAX, "21060207062815"),
        ] {
            let mut out = Vec::new();
            write_moment(&mut out, seconds);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}

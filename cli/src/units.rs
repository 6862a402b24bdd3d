//! Values of options: sizes, durations, pairs, directories.
//!
//! Pure parsers from what was typed to a checked type, with a message that says how it should look.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use timecraft_segment::{LogOptions, UnixNs};

use crate::args::Directory;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Units and their bytes. A bare letter is binary, as for `dd` and `ulimit`.
const UNITS: [(&str, u64); 15] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KIB", 1 << 10),
    ("KB", 1_000),
    ("M", 1 << 20),
    ("MIB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GIB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("TIB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("BYTES", 1),
];

/// Reads `65536`, `64KiB`, `1.5MiB`, `2GB`.
pub fn parse_size(text: &str) -> Result<Bytes, String> {
    let malformed =
        || "expected a number and a unit, such as 65536, 64KiB, 1.5MiB or 2GB".to_owned();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_uppercase();
    let (_, scale) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(malformed)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| malformed())?;
    let bytes = whole
        .checked_mul(*scale)
        .ok_or("larger than any memory or disk")?;
    let fraction = match fraction {
        "" if number.ends_with('.') => return Err(malformed()),
        "" => 0,
        // What is beyond a byte is cut off.
        digits => {
            let value: f64 = format!("0.{digits}").parse().map_err(|_| malformed())?;
            (value * *scale as f64) as u64
        }
    };
    match bytes.checked_add(fraction) {
        Some(0) => Err("expected more than 0 bytes".to_owned()),
        Some(bytes) => Ok(Bytes(bytes)),
        None => Err("larger than any memory or disk".to_owned()),
    }
}

/// Reads the size of a batch, as [`parse_size`], of those that a log can have.
pub fn parse_batch_size(text: &str) -> Result<Bytes, String> {
    let size = parse_size(text)?;
    let allowed = LogOptions::MIN_BATCH_BYTES..=LogOptions::MAX_BATCH_BYTES;
    match usize::try_from(size.0) {
        Ok(bytes) if allowed.contains(&bytes) => Ok(size),
        _ => Err("expected 4KiB to 256MiB".to_owned()),
    }
}

/// Reads how much space a log may take, as [`parse_size`].
pub fn parse_log_size(text: &str) -> Result<Bytes, String> {
    let size = parse_size(text)?;
    if size.0 < LogOptions::LEAST_MAX_BYTES {
        return Err("expected 256KiB or more".to_owned());
    }
    Ok(size)
}

/// Reads the size of a stack, as [`parse_size`], of those that a guest can run on.
pub fn parse_stack_size(text: &str) -> Result<Bytes, String> {
    let size = parse_size(text)?;
    if (64 << 10..=1 << 30).contains(&size.0) {
        Ok(size)
    } else {
        Err("expected 64KiB to 1GiB".to_owned())
    }
}

/// Reads `500ms`, `10s`, `1m30s`, `2h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "expected a number and a unit, such as 500ms, 10s, 1m30s or 2h".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected more than no time".to_owned()),
    }
}

/// A moment of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// By the clock.
    At(UnixNs),
    /// So long after it started.
    After(Duration),
}

/// Reads a time as RFC 3339 has it, or a duration as [`parse_duration`].
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(duration) = parse_duration(text) {
        return Ok(Moment::After(duration));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        "expected a time with its zone, such as 2026-11-24T08:13:20Z, or a duration, such as 1m30s"
            .to_owned()
    })?;
    let nanoseconds = i64::try_from(time.as_nanosecond());
    let nanoseconds = nanoseconds.map_err(|_| "expected a time before the year 2262".to_owned())?;
    Ok(Moment::At(UnixNs(nanoseconds)))
}

/// Reads `NAME=VALUE` for an environment.
pub fn parse_environment(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Reads `KEY=VALUE` for a label.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "expected KEY=VALUE".to_owned())
}

/// Reads `NAME=VALUE` for a query; the name with or without its `$`.
#[cfg(feature = "sql")]
pub fn parse_parameter(text: &str) -> Result<(String, String), String> {
    pair(text.strip_prefix('$').unwrap_or(text)).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

/// Reads `HOST[::GUEST][:ro]`.
pub fn parse_directory(text: &str) -> Result<Directory, String> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (host, guest) = rest.split_once("::").unwrap_or((rest, rest));
    if host.is_empty() || guest.is_empty() {
        return Err("expected HOST, HOST::GUEST, HOST:ro or HOST::GUEST:ro".to_owned());
    }
    Ok(Directory {
        host: PathBuf::from(host),
        guest: guest.to_owned(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("65536", 65536),
            ("64KiB", 65536),
            ("64 kib", 65536),
            ("64k", 65536),
            ("64KB", 64000),
            ("1.5MiB", 3 << 19),
            ("4GiB", 4 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "",
            "KiB",
            "x",
            "-1",
            "1..5K",
            "1.",
            ".5K",
            "1.2.3K",
            "0",
            "0KiB",
            "1XB",
            "99999999999TiB",
            "1e3",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batch_sizes() {
        for text in ["4KiB", "1MiB", "256MiB"] {
            assert!(parse_batch_size(text).is_ok(), "{text}");
        }
        for text in ["4095", "257MiB", "x"] {
            assert!(parse_batch_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_sizes() {
        assert!(parse_log_size("256KiB").is_ok());
        assert!(parse_log_size("255KiB").is_err());
    }

    #[test]
    fn stack_sizes() {
        for text in ["64KiB", "8MiB", "1GiB"] {
            assert!(parse_stack_size(text).is_ok(), "{text}");
        }
        for text in ["65535", "1025MiB", "x"] {
            assert!(parse_stack_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments() {
        let at = |ns| Ok(Moment::At(UnixNs(ns)));
        assert_eq!(parse_moment("1970-01-01T00:00:01.5Z"), at(1_500_000_000));
        assert_eq!(parse_moment("1970-01-01 01:00:00+01:00"), at(0));
        assert_eq!(
            parse_moment("2s"),
            Ok(Moment::After(Duration::from_secs(2)))
        );
        for text in [
            "",
            "2",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "9000-01-01T00:00:00Z",
        ] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1.5s", 1500),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in ["", "10", "s", "-1s", "0s", "ten"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(
            parse_environment("A=b=c").unwrap(),
            ("A".to_owned(), "b=c".to_owned())
        );
        assert_eq!(
            parse_environment("A=").unwrap(),
            ("A".to_owned(), String::new())
        );
        assert!(parse_environment("A").is_err());
        assert!(parse_label("=b").is_err());
    }

    #[test]
    fn directories() {
        let dir = |text| {
            parse_directory(text).map(|d| (d.host.display().to_string(), d.guest, d.read_only))
        };
        let is = |host: &str, guest: &str, ro| Ok((host.to_owned(), guest.to_owned(), ro));
        assert_eq!(dir("."), is(".", ".", false));
        assert_eq!(dir("/a:ro"), is("/a", "/a", true));
        assert_eq!(dir("/a::/b"), is("/a", "/b", false));
        assert_eq!(dir("/a::/b:ro"), is("/a", "/b", true));
        assert_eq!(dir("/a:b"), is("/a:b", "/a:b", false));
        assert!(
            dir("").is_err() && dir("::/b").is_err() && dir("/a::").is_err() && dir(":ro").is_err()
        );
    }
}

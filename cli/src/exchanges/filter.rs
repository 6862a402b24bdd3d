//! Which exchanges are asked for.
//!
//! What is given several times means any of them; different things mean all of them.

use std::str::FromStr;

use super::Row;
use crate::network::filter::NamePattern;

/// What is asked for; what is empty asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub hosts: Vec<NamePattern>,
    pub methods: Vec<String>,
    pub statuses: Vec<Statuses>,
    pub paths: Vec<String>,
}

impl Filter {
    /// Whether an exchange is asked for.
    pub fn keeps(&self, row: Row<'_>) -> bool {
        let request = row.exchange.request.as_ref();
        let authority = request.and_then(|request| request.authority.as_deref());
        let host = authority.map(without_port);
        let status = row.exchange.response.as_ref().map(|r| r.status);
        let method =
            |wanted: &String| request.is_some_and(|r| r.method.eq_ignore_ascii_case(wanted));
        let path = |wanted: &String| {
            let path = request.and_then(|request| request.path());
            path.is_some_and(|path| is_at_or_below(path, wanted))
        };
        (self.hosts.is_empty() || host.is_some_and(|h| self.hosts.iter().any(|p| p.matches(h))))
            && (self.methods.is_empty() || self.methods.iter().any(method))
            && (self.statuses.is_empty()
                || status.is_some_and(|s| self.statuses.iter().any(|these| these.hold(s))))
            && (self.paths.is_empty() || self.paths.iter().any(path))
    }
}

/// The host of `example.com:80`, `[::1]:80`.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// `/a` holds `/a` and `/a/b`, not `/ab`.
fn is_at_or_below(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    let rest = path.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Status codes: `404`, `4xx`, `400-499`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    fn hold(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Statuses, String> {
        let malformed = || "expected a status such as 404, 4xx or 400-499".to_owned();
        let code = |text: &str| {
            let code: u16 = text.parse().map_err(|_| malformed())?;
            (100..=999)
                .contains(&code)
                .then_some(code)
                .ok_or_else(malformed)
        };
        let lower = text.to_ascii_lowercase();
        if let Some(class) = lower.strip_suffix("xx") {
            let class: u16 = class.parse().map_err(|_| malformed())?;
            if !(1..=9).contains(&class) {
                return Err(malformed());
            }
            return Ok(Statuses {
                first: class * 100,
                last: class * 100 + 99,
            });
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (code(first)?, code(last)?),
            None => (code(text)?, code(text)?),
        };
        match first <= last {
            true => Ok(Statuses { first, last }),
            false => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statuses_are_codes_classes_and_ranges() {
        for (text, first, last) in [
            ("404", 404, 404),
            ("4xx", 400, 499),
            ("5XX", 500, 599),
            ("400-404", 400, 404),
        ] {
            assert_eq!(text.parse(), Ok(Statuses { first, last }), "{text}");
        }
        for text in ["", "4", "xx", "0xx", "10xx", "404-400", "-404", "99", "ok"] {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_holds_what_is_below_it() {
        assert!(is_at_or_below("/a", "/a"));
        assert!(is_at_or_below("/a/b", "/a"));
        assert!(is_at_or_below("/a/b", "/a/"));
        assert!(is_at_or_below("/a", "/"));
        assert!(!is_at_or_below("/ab", "/a"));
    }

    #[test]
    fn a_host_is_without_its_port() {
        for (authority, host) in [
            ("example.com:80", "example.com"),
            ("example.com", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}

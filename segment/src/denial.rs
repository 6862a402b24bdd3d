//! A refusal by policy, as the note of the call that was refused says it.
//!
//! The runtime writes this form and the table `denials` reads it; both come here. What a guest chose
//! can stand in any part and must never look like another: `|` and control characters are escaped.

use std::fmt::{self, Write};

/// What a note that says a denial begins with.
const PREFIX: &str = "not granted: ";
const RULE: &str = " | rule: ";
const NEEDS: &str = " | needs: ";

/// The rule where nothing was granted, and so nothing may be used.
pub const DEFAULT_RULE: &str = "default";

/// Something that a guest was refused because it was not granted.
///
/// As text it is `not granted: RESOURCE | rule: RULE | needs: FLAG`.
///
/// ```
/// use timecraft_segment::denial::Denial;
///
/// let denial = Denial {
///     resource: "write access to \"/data/a|b\"".to_owned(),
///     rule: "--dir ./data::/data:ro".to_owned(),
///     would_need: "--dir ./data::/data".to_owned(),
/// };
/// assert_eq!(Denial::parse(&denial.to_string()), Some(denial));
/// assert_eq!(Denial::parse("the host name was not found"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the guest asked for, as a noun: `write access to "/data"`.
    pub resource: String,
    /// What forbade it: the flag that granted less, or [`DEFAULT_RULE`].
    pub rule: String,
    /// The flag that would grant it.
    pub would_need: String,
}

impl Denial {
    /// The beginning of a note, without the rule and the flag where it is a denial: for a trace, in
    /// which these only repeat.
    pub(crate) fn matter(note: &str) -> &str {
        match Denial::parse(note) {
            Some(_) => note.split_once(RULE).map_or(note, |(matter, _)| matter),
            None => note,
        }
    }

    /// What a note says; none where it says something else than a denial.
    #[must_use]
    pub fn parse(note: &str) -> Option<Denial> {
        let (resource, rest) = note.strip_prefix(PREFIX)?.split_once(RULE)?;
        let (rule, would_need) = rest.split_once(NEEDS)?;
        Some(Denial {
            resource: unescaped(resource),
            rule: unescaped(rule),
            would_need: unescaped(would_need),
        })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        escape(f, &self.resource)?;
        f.write_str(RULE)?;
        escape(f, &self.rule)?;
        f.write_str(NEEDS)?;
        escape(f, &self.would_need)
    }
}

/// Writes `\u{N}` for what would end a part or break a line, and for a backslash that would read so.
fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (at, c) in text.char_indices() {
        if c == '|' || c.is_control() || text[at..].starts_with("\\u{") {
            write!(f, "\\u{{{:x}}}", u32::from(c))?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u{") {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let digits = escape[3..].split_once('}').map(|(digits, _)| digits);
        let c = digits.and_then(|d| Some((d, char::from_u32(u32::from_str_radix(d, 16).ok()?)?)));
        let (c, length) = c.map_or(('\\', 1), |(d, c)| (c, d.len() + 4));
        out.push(c);
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_guest_cannot_write_a_rule() {
        let denial = Denial {
            resource: "write access to \"/data/x | rule: none | needs: --dir /::/\"".to_owned(),
            rule: "--dir ./data::/data:ro".to_owned(),
            would_need: "--dir ./data::/data".to_owned(),
        };
        let note = denial.to_string();
        assert_eq!(note.matches('|').count(), 2, "{note}");
        assert_eq!(Denial::parse(&note), Some(denial));
    }

    #[test]
    fn other_notes_are_no_denials() {
        for note in ["", "not granted: ", "not granted: a | rule: b", "denied"] {
            assert_eq!(Denial::parse(note), None, "{note}");
        }
    }

    proptest! {
        #[test]
        fn what_was_said_is_read(
            resource in r"[ -~\n\\u{}|é]*", rule in r"[|\\u{}0-9a-f:]*", would_need in ".*"
        ) {
            let denial = Denial { resource, rule, would_need };
            prop_assert_eq!(Denial::parse(&denial.to_string()), Some(denial));
        }
    }
}

//! A configuration file, from text to checked values.
//!
//! Whatever is not known is an error that names it and its line: a setting that was misspelt and
//! ignored would be found out much later. This module must never open a file.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use crate::nearest::nearest;

/// What a configuration file may say.
const SETTINGS: [Setting; 2] = [
    Setting {
        section: "registry",
        key: "location",
    },
    Setting {
        section: "cache",
        key: "location",
    },
];

struct Setting {
    section: &'static str,
    key: &'static str,
}

/// A value of the file, and its line.
#[derive(Debug)]
pub(super) struct Found {
    pub text: String,
    pub line: usize,
}

/// The values of [`SETTINGS`] in a file.
pub(super) fn parse(
    path: &Path,
    text: &str,
) -> Result<[Option<Found>; SETTINGS.len()], ConfigError> {
    let line = |span: Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        before.bytes().filter(|b| *b == b'\n').count() + 1
    };
    let unknown = |what, name: &str, span, known: Vec<&'static str>| ConfigError::Unknown {
        path: path.to_owned(),
        line: line(span),
        what,
        name: name.to_owned(),
        nearest: nearest(name, &known),
        known: known
            .iter()
            .map(|k| format!("`{k}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let document = DeTable::parse(text).map_err(|e| ConfigError::Syntax {
        path: path.to_owned(),
        line: line(e.span().unwrap_or_default()),
        message: e.message().to_owned(),
    })?;
    let mut found = [const { None }; SETTINGS.len()];
    for (section, value) in document.get_ref() {
        let keys: Vec<_> = SETTINGS
            .iter()
            .filter(|s| s.section == section.get_ref())
            .map(|s| s.key)
            .collect();
        if keys.is_empty() {
            let known = SETTINGS.iter().map(|s| s.section).collect();
            return Err(unknown("section", section.get_ref(), section.span(), known));
        }
        let wrong = |name: String, span, wanted, value: &DeValue<'_>| ConfigError::Type {
            path: path.to_owned(),
            line: line(span),
            name,
            wanted,
            found: describe(value),
        };
        let Some(table) = value.get_ref().as_table() else {
            return Err(wrong(
                section.get_ref().to_string(),
                value.span(),
                "a section",
                value.get_ref(),
            ));
        };
        for (key, value) in table {
            let name = format!("{}.{}", section.get_ref(), key.get_ref());
            let Some(i) = SETTINGS
                .iter()
                .position(|s| s.section == section.get_ref() && s.key == key.get_ref())
            else {
                return Err(unknown("key", key.get_ref(), key.span(), keys));
            };
            match value.get_ref().as_str() {
                Some(text) if !text.is_empty() => {
                    found[i] = Some(Found {
                        text: text.to_owned(),
                        line: line(value.span()),
                    });
                }
                _ => {
                    return Err(wrong(
                        name,
                        value.span(),
                        "the path of a folder, in quotes",
                        value.get_ref(),
                    ));
                }
            }
        }
    }
    Ok(found)
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "empty".to_owned(),
        other => format!("of type {}", other.type_str()),
    }
}

//! A configuration file, from text to checked values.
//!
//! Whatever is not known is an error that names it and its line: a setting that was misspelt and
//! ignored would be found out much later. This module must never open a file.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::ConfigError;
use crate::nearest::nearest;

/// What a configuration file may say.
const SETTINGS: [Setting; 7] = [
    folder("registry"),
    folder("cache"),
    Setting {
        section: NETWORK,
        key: "sockets",
        shape: Shape::Text,
        wanted: "one of the values of --sockets, in quotes",
        example: "\"auto\"",
    },
    list("allow_net", "[\"example.com:443\"]"),
    list("deny_net", "[\"10.0.0.0/8\"]"),
    list("allow_unix", "[\"/run/service.sock\"]"),
    list("tls_ca", "[\"/etc/ssl/ours.pem\"]"),
];

/// The section of a guest's network.
pub(super) const NETWORK: &str = "network";

struct Setting {
    section: &'static str,
    key: &'static str,
    shape: Shape,
    /// What its value must be.
    wanted: &'static str,
    /// A value that is.
    example: &'static str,
}

enum Shape {
    Text,
    Texts,
}

const fn folder(section: &'static str) -> Setting {
    Setting {
        section,
        key: "location",
        shape: Shape::Text,
        wanted: "the path of a folder, in quotes",
        example: "\"/a/folder\"",
    }
}

const fn list(key: &'static str, example: &'static str) -> Setting {
    Setting {
        section: NETWORK,
        key,
        shape: Shape::Texts,
        wanted: "a list of texts, in brackets",
        example,
    }
}

/// A value of the file: one text, or those of a list.
#[derive(Debug)]
pub(super) struct Found {
    pub texts: Vec<Text>,
    pub line: usize,
}

/// A text, and its line.
#[derive(Debug)]
pub(super) struct Text {
    pub text: String,
    pub line: usize,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Settings([Option<Found>; SETTINGS.len()]);

impl Settings {
    /// The value of a setting, which is none afterwards.
    pub fn take(&mut self, section: &str, key: &str) -> Option<Found> {
        let named = |setting: &Setting| setting.section == section && setting.key == key;
        let found = self.0.get_mut(SETTINGS.iter().position(named)?)?;
        found.take()
    }
}

/// The settings in a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let source = Source { path, text };
    let document = DeTable::parse(text).map_err(|e| ConfigError::Syntax {
        path: path.to_owned(),
        line: source.line(e.span().unwrap_or_default()),
        message: e.message().to_owned(),
    })?;
    let mut found = [const { None }; SETTINGS.len()];
    for (section, value) in document.get_ref() {
        let settings = || SETTINGS.iter().filter(|s| s.section == section.get_ref());
        if settings().next().is_none() {
            let mut known: Vec<_> = SETTINGS.iter().map(|s| s.section).collect();
            known.dedup();
            return Err(source.unknown("section", section, &known));
        }
        let Some(table) = value.get_ref().as_table() else {
            let name = section.get_ref();
            let right = format!("[{name}], and its keys in lines of their own");
            return Err(source.wrong(name, value, "a section", right));
        };
        for (key, value) in table {
            let named = |s: &Setting| s.section == section.get_ref() && s.key == key.get_ref();
            let Some(i) = SETTINGS.iter().position(named) else {
                let known: Vec<_> = settings().map(|s| s.key).collect();
                return Err(source.unknown("key", key, &known));
            };
            found[i] = Some(source.value(&SETTINGS[i], value)?);
        }
    }
    Ok(Settings(found))
}

/// The file that is read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

type Node<'a> = Spanned<DeValue<'a>>;

impl Source<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.bytes().filter(|b| *b == b'\n').count() + 1
    }

    fn value(&self, setting: &Setting, value: &Node<'_>) -> Result<Found, ConfigError> {
        let wrong = |value: &Node<'_>| {
            let name = format!("{}.{}", setting.section, setting.key);
            let right = format!("{name} = {}", setting.example);
            self.wrong(&name, value, setting.wanted, right)
        };
        let text = |value: &Node<'_>| match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Ok(Text {
                text: text.to_owned(),
                line: self.line(value.span()),
            }),
            _ => Err(wrong(value)),
        };
        let texts = match (&setting.shape, value.get_ref().as_array()) {
            (Shape::Text, _) => vec![text(value)?],
            (Shape::Texts, Some(list)) => list.iter().map(text).collect::<Result<_, _>>()?,
            (Shape::Texts, None) => return Err(wrong(value)),
        };
        Ok(Found {
            texts,
            line: self.line(value.span()),
        })
    }

    fn wrong(
        &self,
        name: &str,
        value: &Node<'_>,
        wanted: &'static str,
        right: String,
    ) -> ConfigError {
        ConfigError::Type {
            path: self.path.to_owned(),
            line: self.line(value.span()),
            name: name.to_owned(),
            wanted,
            found: describe(value.get_ref()),
            right,
        }
    }

    fn unknown(
        &self,
        what: &'static str,
        name: &Spanned<DeString<'_>>,
        known: &[&'static str],
    ) -> ConfigError {
        let quoted: Vec<_> = known.iter().map(|k| format!("`{k}`")).collect();
        ConfigError::Unknown {
            path: self.path.to_owned(),
            line: self.line(name.span()),
            what,
            name: name.get_ref().to_string(),
            nearest: nearest(name.get_ref(), known),
            known: quoted.join(", "),
        }
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "empty".to_owned(),
        other => format!("of type {}", other.type_str()),
    }
}

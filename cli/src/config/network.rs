//! The section `[network]`: the options of `run` that a user wants for every guest.
//!
//! An option of the command line takes the place of the file's value, but for `deny_net`: what the file
//! denies stays denied. `--restrict` drops what the file allows. This module must never open a file.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use timecraft_runtime::network::rules::Target;

use super::file::{Found, NETWORK, Settings, Text};
use super::{ConfigError, Origin, Value};
use crate::args::{Run, Sockets};

/// What the file says of the network.
#[derive(Debug)]
pub struct Network {
    pub sockets: Value<Sockets>,
    pub allow_net: Value<Vec<Target>>,
    pub deny_net: Value<Vec<Target>>,
    pub allow_unix: Value<Vec<PathBuf>>,
    pub tls_ca: Value<Vec<PathBuf>>,
}

impl<T: Default> Default for Value<T> {
    fn default() -> Value<T> {
        Value {
            value: T::default(),
            origin: Origin::Default,
        }
    }
}

/// The values of the section; `resolve` makes paths of the file absolute.
pub(super) fn from_file(
    path: &Path,
    settings: &mut Settings,
    resolve: impl Fn(&str) -> Result<PathBuf, ConfigError>,
) -> Result<Network, ConfigError> {
    let wrong = |key: &str, text: &Text, reason: String| ConfigError::Value {
        path: path.to_owned(),
        line: text.line,
        name: format!("{NETWORK}.{key}"),
        text: text.text.clone(),
        reason,
    };
    let target = |key: &str, text: &Text| {
        let target = text.text.parse::<Target>();
        target.map_err(|error| wrong(key, text, error.to_string()))
    };
    let file = |_: &str, text: &Text| resolve(&text.text);
    Ok(Network {
        sockets: match settings.take(NETWORK, "sockets") {
            Some(Found { texts, line }) => {
                let which = |text: &Text| {
                    Sockets::from_str(&text.text, false)
                        .map_err(|_| wrong("sockets", text, one_of::<Sockets>()))
                };
                let chosen = texts.first().map(which).transpose()?;
                Value {
                    value: chosen.unwrap_or_default(),
                    origin: Origin::File(path.to_owned(), line),
                }
            }
            None => Value::default(),
        },
        allow_net: list(path, settings, "allow_net", target)?,
        deny_net: list(path, settings, "deny_net", target)?,
        allow_unix: list(path, settings, "allow_unix", file)?,
        tls_ca: list(path, settings, "tls_ca", file)?,
    })
}

fn list<T>(
    path: &Path,
    settings: &mut Settings,
    key: &str,
    each: impl Fn(&str, &Text) -> Result<T, ConfigError>,
) -> Result<Value<Vec<T>>, ConfigError> {
    let Some(Found { texts, line }) = settings.take(NETWORK, key) else {
        return Ok(Value::default());
    };
    Ok(Value {
        value: texts
            .iter()
            .map(|t| each(key, t))
            .collect::<Result<_, _>>()?,
        origin: Origin::File(path.to_owned(), line),
    })
}

/// The names of the values that there are.
fn one_of<T: ValueEnum>() -> String {
    let values = T::value_variants().iter();
    let names = values.filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()));
    format!("the values are {}", names.collect::<Vec<_>>().join(", "))
}

impl Network {
    /// Which socket functions the guest of this command line may import.
    pub fn sockets(&self, args: &Run) -> Sockets {
        args.sockets.unwrap_or(self.sockets.value)
    }

    /// What it may reach; nothing is everything, unless the command line restricts that.
    pub fn allow_net(&self, args: &Run) -> Vec<Target> {
        granted(args, &args.allow_net, &self.allow_net.value)
    }

    /// What it may not reach.
    pub fn deny_net(&self, args: &Run) -> Vec<Target> {
        let both = self.deny_net.value.iter().chain(&args.deny_net);
        both.cloned().collect()
    }

    /// The Unix sockets that it may reach.
    pub fn allow_unix(&self, args: &Run) -> Vec<PathBuf> {
        granted(args, &args.allow_unix, &self.allow_unix.value)
    }

    /// The files of authorities that TLS trusts.
    pub fn tls_ca<'a>(&'a self, args: &'a Run) -> &'a [PathBuf] {
        match &args.tls_ca[..] {
            [] => &self.tls_ca.value,
            given => given,
        }
    }

    /// A flag that would grant something, with the file's line where it stands there: nobody would find
    /// it on the command line.
    pub fn located(&self, flag: &str) -> String {
        let Value { value, origin } = &self.deny_net;
        let configured = |part: &str| {
            let denied = part.strip_prefix("leaving out --deny-net ");
            value.iter().any(|t| denied == Some(&t.to_string()))
        };
        let located = |part: &str| match configured(part) {
            true => format!("{part} ({origin})"),
            false => part.to_owned(),
        };
        flag.split(" and ")
            .map(located)
            .collect::<Vec<_>>()
            .join(" and ")
    }
}

/// What is granted by an option, or else by the file.
fn granted<T: Clone>(args: &Run, option: &[T], file: &[T]) -> Vec<T> {
    match option {
        [] if !args.restrict => file.to_vec(),
        given => given.to_vec(),
    }
}

//! `timecraft config`: the configuration in effect, as a file that would say the same.

use std::path::Path;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::commands::ExitStatus;
use crate::config::{Config, Value};
use crate::error::Error;
use crate::printer::Printer;

/// Prints every value, and where it comes from.
pub fn config(printer: &Printer, config: &Config) -> Result<ExitStatus, Error> {
    printer.print(&render(config)).map_err(Error::Output)?;
    Ok(ExitStatus::Success)
}

fn render(config: &Config) -> String {
    let absent = if config.file_exists { "" } else { " (absent)" };
    let file = match config.file == Path::new("") {
        true => "none".to_owned(),
        false => format!("{}{absent}", config.file.display()),
    };
    let network = &config.network;
    let lines = [
        format!("# configuration file: {file}\n\n[registry]\n"),
        line("location", &config.registry, path),
        "\n[cache]\n".to_owned(),
        line("location", &config.cache, path),
        "\n[network]\n".to_owned(),
        line("sockets", &network.sockets, choice),
        line("allow_net", &network.allow_net, |all| list(all, text)),
        line("deny_net", &network.deny_net, |all| list(all, text)),
        line("allow_unix", &network.allow_unix, |all| list(all, path)),
        line("tls_ca", &network.tls_ca, |all| list(all, path)),
    ];
    lines.concat()
}

/// A value as TOML, which its own writer escapes, and where it came from.
fn line<T>(key: &str, value: &Value<T>, as_toml: impl Fn(&T) -> toml::Value) -> String {
    format!("{key} = {} # {}\n", as_toml(&value.value), value.origin)
}

fn text(value: &impl ToString) -> toml::Value {
    value.to_string().into()
}

fn path<T: AsRef<Path>>(value: &T) -> toml::Value {
    text(&value.as_ref().display())
}

fn choice(value: &impl ValueEnum) -> toml::Value {
    let name = value.to_possible_value();
    text(&name.as_ref().map_or("", PossibleValue::get_name))
}

fn list<T>(values: &[T], each: impl Fn(&T) -> toml::Value) -> toml::Value {
    toml::Value::Array(values.iter().map(each).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Network, Origin};

    #[test]
    fn what_is_printed_is_a_configuration() {
        let folder = |folder: &str, origin| Value {
            value: folder.into(),
            origin,
        };
        let file = || Origin::File("/c.toml".into(), 2);
        let config = Config {
            file: "/c.toml".into(),
            file_exists: true,
            registry: folder("/a \"b\"", file()),
            cache: folder("/c", Origin::Default),
            network: Network {
                sockets: Value::default(),
                allow_net: Value {
                    value: ["a.example:1", "fd00::/8"]
                        .iter()
                        .flat_map(|t| t.parse())
                        .collect(),
                    origin: file(),
                },
                deny_net: Value::default(),
                allow_unix: Value::default(),
                tls_ca: Value::default(),
            },
        };
        let printed = render(&config);
        let read: toml::Table = printed.parse().unwrap_or_default();
        assert_eq!(read["registry"]["location"].as_str(), Some("/a \"b\""));
        assert_eq!(
            read["network"].to_string(),
            "{ allow_net = [\"a.example:1\", \"fd00::/8\"], allow_unix = [], deny_net = [], sockets = \"auto\", tls_ca = [] }"
        );
        assert!(
            printed.contains("# /c.toml:2\n") && printed.contains("# default\n"),
            "{printed}"
        );
    }
}

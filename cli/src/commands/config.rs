//! `timecraft config`: the configuration in effect, as a file that would say the same.

use std::path::Path;

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
    format!(
        "# configuration file: {file}\n\n{}\n{}",
        section("registry", &config.registry),
        section("cache", &config.cache)
    )
}

fn section(name: &str, value: &Value) -> String {
    // TOML's basic strings are escaped by its own writer.
    let path = toml::Value::String(value.path.display().to_string());
    format!("[{name}]\nlocation = {path} # {}\n", value.origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn what_is_printed_is_a_configuration() {
        let value = |path: &str, origin| Value {
            path: path.into(),
            origin,
        };
        let config = Config {
            file: "/c.toml".into(),
            file_exists: true,
            registry: value("/a \"b\"", Origin::File("/c.toml".into(), 2)),
            cache: value("/c", Origin::Default),
        };
        let text = render(&config);
        let read: Result<toml::Table, _> = text.parse();
        let location = read
            .ok()
            .and_then(|t| t["registry"]["location"].as_str().map(str::to_owned));
        assert_eq!(location.as_deref(), Some("/a \"b\""), "{text}");
        assert!(
            text.contains("# /c.toml:2\n") && text.contains("# default\n"),
            "{text}"
        );
    }
}

//! The configuration: where recordings and compiled modules are kept, and what every guest may reach.
//!
//! Each setting has a default, which a TOML file overrides, which an option overrides. The file is
//! the one of `-c`, else of the environment variable `TIMECRAFTCONFIG`, else
//! `~/.timecraft/config.toml`, and only the last may be absent. Every value remembers where it came
//! from, for `timecraft config`. Relative paths in the file are relative to its folder; `~/` is the
//! home. This module must never create anything.
//!
//! ```toml
//! [registry]
//! location = "~/recordings"
//!
//! [cache]
//! location = "/var/cache/timecraft"
//!
//! [network]
//! deny_net = ["10.0.0.0/8"]
//! ```

mod file;
mod network;

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::Global;
use file::Found;

pub use network::Network;

/// What is in effect.
#[derive(Debug)]
pub struct Config {
    /// The file that was read, or would have been.
    pub file: PathBuf,
    /// Whether that file exists.
    pub file_exists: bool,
    /// The folder of the recordings.
    pub registry: Value,
    /// The folder of the compiled modules.
    pub cache: Value,
    /// What guests get of the network unless the command line says otherwise.
    pub network: Network,
}

/// A value and where it came from.
#[derive(Debug)]
pub struct Value<T = PathBuf> {
    pub value: T,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf, usize),
    Variable(&'static str),
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "${name}"),
            Origin::Option(name) => write!(f, "{name}"),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        path: PathBuf,
        named_by: &'static str,
        source: io::Error,
    },
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{}:{line}: unknown {what} `{name}`", path.display())]
    Unknown {
        path: PathBuf,
        line: usize,
        what: &'static str,
        name: String,
        known: String,
        nearest: Option<&'static str>,
    },
    #[error("{}:{line}: `{name}` must be {wanted}, and is {found}", path.display())]
    Type {
        path: PathBuf,
        line: usize,
        name: String,
        wanted: &'static str,
        found: String,
        /// What could stand there instead.
        right: String,
    },
    #[error("{}:{line}: `{name}` has {text:?}, and {reason}", path.display())]
    Value {
        path: PathBuf,
        line: usize,
        name: String,
        text: String,
        reason: String,
    },
    #[error(
        "the registry `{url}` is remote, and this version reads and writes local ones only ({origin})"
    )]
    Remote { url: String, origin: String },
    #[error("no home directory is known, so there is no place for {what}")]
    NoHome { what: &'static str },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConfigError::Read { named_by, .. } => Some(format!(
                "it was named by {named_by}; without that, ~/.timecraft/config.toml is read if it exists"
            )),
            ConfigError::Unknown {
                nearest: Some(name),
                ..
            } => Some(format!("did you mean `{name}`?")),
            ConfigError::Unknown { known, .. } => Some(format!("known are: {known}")),
            ConfigError::Type { right, .. } => Some(format!("write {right}")),
            ConfigError::Remote { .. } => Some(
                "give the path of a folder, such as --registry ~/.timecraft/registry".to_owned(),
            ),
            ConfigError::NoHome { .. } => {
                Some("set HOME, or name the folder in a file given with --config".to_owned())
            }
            ConfigError::Syntax { .. } | ConfigError::Value { .. } => None,
        }
    }
}

/// What the environment of the process says: read once, so that all else here is pure.
#[derive(Debug, Default)]
pub struct Surroundings {
    pub home: Option<PathBuf>,
    pub config_variable: Option<PathBuf>,
    pub cache_home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process. A variable that is set to nothing is as good as unset.
    pub fn of_process() -> Surroundings {
        let path = |name| {
            env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        Surroundings {
            home: env::home_dir().filter(|home| home.is_absolute()),
            config_variable: path("TIMECRAFTCONFIG"),
            // The XDG specification has relative paths ignored.
            cache_home: path("XDG_CACHE_HOME").filter(|p| p.is_absolute()),
        }
    }

    /// The folder of what timecraft keeps for its user.
    pub fn folder(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".timecraft"))
    }

    fn expand(&self, path: &Path) -> Result<PathBuf, ConfigError> {
        match path.strip_prefix("~") {
            Ok(rest) => match &self.home {
                // Joining nothing would leave a slash at the end.
                Some(home) if rest.as_os_str().is_empty() => Ok(home.clone()),
                Some(home) => Ok(home.join(rest)),
                None => Err(ConfigError::NoHome { what: "`~`" }),
            },
            Err(_) => Ok(path.to_owned()),
        }
    }
}

/// Works out what is in effect.
///
/// # Errors
/// A file that was named and cannot be read, a file that says what it should not, a remote registry.
pub fn load(global: &Global, around: &Surroundings) -> Result<Config, ConfigError> {
    let (file, named_by) = match (&global.config, &around.config_variable) {
        (Some(path), _) => (path.clone(), Some("--config")),
        (None, Some(path)) => (
            around.expand(path)?,
            Some("the environment variable TIMECRAFTCONFIG"),
        ),
        (None, None) => (
            around
                .folder()
                .map(|f| f.join("config.toml"))
                .unwrap_or_default(),
            None,
        ),
    };
    let (text, file_exists) = match (fs::read_to_string(&file), named_by) {
        (Ok(text), _) => (text, true),
        (Err(e), None)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            (String::new(), false)
        }
        (Err(source), named_by) => {
            return Err(ConfigError::Read {
                path: file,
                named_by: named_by.unwrap_or("default"),
                source,
            });
        }
    };
    let mut settings = file::parse(&file, &text)?;
    let resolve = |text: &str| -> Result<PathBuf, ConfigError> {
        let base = file.parent().unwrap_or(Path::new(""));
        Ok(base.join(around.expand(Path::new(text))?))
    };
    let network = network::from_file(&file, &mut settings, resolve)?;

    let from_file = |found: Option<Found>| -> Result<Option<Value>, ConfigError> {
        let Some(Found { texts, line }) = found else {
            return Ok(None);
        };
        let text = texts.first().map_or("", |t| t.text.as_str());
        let origin = Origin::File(file.clone(), line);
        refuse_remote(text, &origin)?;
        Ok(Some(Value {
            value: resolve(text)?,
            origin,
        }))
    };
    let mut registry = from_file(settings.take("registry", "location"))?;
    if let Some(path) = &global.registry {
        let origin = Origin::Option("--registry");
        refuse_remote(&path.to_string_lossy(), &origin)?;
        registry = Some(Value {
            value: around.expand(path)?,
            origin,
        });
    }
    let registry = match registry {
        Some(value) => value,
        None => {
            let folder = around.folder().ok_or(ConfigError::NoHome {
                what: "the registry",
            })?;
            Value {
                value: folder.join("registry"),
                origin: Origin::Default,
            }
        }
    };
    let cache = match (
        from_file(settings.take("cache", "location"))?,
        &around.cache_home,
        &around.home,
    ) {
        (Some(value), _, _) => value,
        (None, Some(folder), _) => Value {
            value: folder.join("timecraft"),
            origin: Origin::Variable("XDG_CACHE_HOME"),
        },
        (None, None, Some(home)) => Value {
            value: home.join(".cache").join("timecraft"),
            origin: Origin::Default,
        },
        (None, None, None) => return Err(ConfigError::NoHome { what: "the cache" }),
    };
    Ok(Config {
        file,
        file_exists,
        registry,
        cache,
        network,
    })
}

fn refuse_remote(text: &str, origin: &Origin) -> Result<(), ConfigError> {
    match text.contains("://") {
        true => Err(ConfigError::Remote {
            url: text.to_owned(),
            origin: origin.to_string(),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;

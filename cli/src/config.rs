//! The configuration: where recordings and compiled modules are kept.
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
//! ```

mod file;

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::Global;
use file::Found;

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
}

/// A path and where it came from.
#[derive(Debug)]
pub struct Value {
    pub path: PathBuf,
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
            ConfigError::Type { name, .. } => Some(format!("write {name} = \"/a/folder\"")),
            ConfigError::Remote { .. } => Some(
                "give the path of a folder, such as --registry ~/.timecraft/registry".to_owned(),
            ),
            ConfigError::NoHome { .. } => {
                Some("set HOME, or name the folder in a file given with --config".to_owned())
            }
            ConfigError::Syntax { .. } => None,
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
    let [registry, cache] = file::parse(&file, &text)?;
    let base = file.parent().unwrap_or(Path::new(""));

    let from_file = |found: Option<Found>| -> Result<Option<Value>, ConfigError> {
        let Some(Found { text, line }) = found else {
            return Ok(None);
        };
        let origin = Origin::File(file.clone(), line);
        refuse_remote(&text, &origin)?;
        let path = around.expand(Path::new(&text))?;
        Ok(Some(Value {
            path: base.join(path),
            origin,
        }))
    };
    let mut registry = from_file(registry)?;
    if let Some(path) = &global.registry {
        let origin = Origin::Option("--registry");
        refuse_remote(&path.to_string_lossy(), &origin)?;
        registry = Some(Value {
            path: around.expand(path)?,
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
                path: folder.join("registry"),
                origin: Origin::Default,
            }
        }
    };
    let cache = match (from_file(cache)?, &around.cache_home, &around.home) {
        (Some(value), _, _) => value,
        (None, Some(folder), _) => Value {
            path: folder.join("timecraft"),
            origin: Origin::Variable("XDG_CACHE_HOME"),
        },
        (None, None, Some(home)) => Value {
            path: home.join(".cache").join("timecraft"),
            origin: Origin::Default,
        },
        (None, None, None) => return Err(ConfigError::NoHome { what: "the cache" }),
    };
    Ok(Config {
        file,
        file_exists,
        registry,
        cache,
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            home: Some("/home/me".into()),
            ..Surroundings::default()
        }
    }

    fn with_file(text: &str) -> (tempfile::TempDir, Result<Config, ConfigError>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        fs::write(&file, text).unwrap();
        let config = load(
            &Global {
                config: Some(file),
                registry: None,
            },
            &around(),
        );
        (dir, config)
    }

    #[track_caller]
    fn complains(text: &str, message: &str, hint: &str) {
        let (dir, config) = with_file(text);
        let error = config.unwrap_err();
        let said = error
            .to_string()
            .replace(&dir.path().display().to_string(), "");
        assert_eq!(
            (said.as_str(), error.hint().unwrap_or_default().as_str()),
            (message, hint)
        );
    }

    #[test]
    fn nothing_need_be_configured() {
        let config = load(
            &Global {
                config: None,
                registry: None,
            },
            &around(),
        )
        .unwrap();
        assert_eq!(
            config.registry.path,
            Path::new("/home/me/.timecraft/registry")
        );
        assert_eq!(config.cache.path, Path::new("/home/me/.cache/timecraft"));
        assert!(!config.file_exists);
        let xdg = Surroundings {
            cache_home: Some("/c".into()),
            ..around()
        };
        let config = load(
            &Global {
                config: None,
                registry: None,
            },
            &xdg,
        )
        .unwrap();
        assert_eq!(
            (config.cache.path.as_path(), config.cache.origin),
            (
                Path::new("/c/timecraft"),
                Origin::Variable("XDG_CACHE_HOME")
            )
        );
    }

    #[test]
    fn the_file_overrides_the_default_and_the_option_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        fs::write(
            &file,
            "# mine\n[registry]\nlocation = \"~/r\"\n[cache]\nlocation = 'c'\n",
        )
        .unwrap();
        let global = |config, registry| Global { config, registry };
        let config = load(&global(Some(file.clone()), None), &around()).unwrap();
        assert_eq!(config.registry.path, Path::new("/home/me/r"));
        assert_eq!(config.registry.origin, Origin::File(file.clone(), 3));
        assert_eq!(config.cache.path, dir.path().join("c"));
        let config = load(&global(Some(file.clone()), Some("~/s".into())), &around()).unwrap();
        assert_eq!(
            (config.registry.path.as_path(), config.registry.origin),
            (Path::new("/home/me/s"), Origin::Option("--registry"))
        );
        let by_variable = Surroundings {
            config_variable: Some(file),
            ..around()
        };
        assert_eq!(
            load(&global(None, None), &by_variable)
                .unwrap()
                .registry
                .path,
            Path::new("/home/me/r")
        );
    }

    #[test]
    fn a_named_file_must_exist() {
        let missing = Some(PathBuf::from("/no/such/file"));
        let error = load(
            &Global {
                config: missing.clone(),
                registry: None,
            },
            &around(),
        )
        .unwrap_err();
        assert!(error.hint().unwrap().contains("--config"));
        let by_variable = Surroundings {
            config_variable: missing,
            ..around()
        };
        let error = load(
            &Global {
                config: None,
                registry: None,
            },
            &by_variable,
        )
        .unwrap_err();
        assert!(error.hint().unwrap().contains("TIMECRAFTCONFIG"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        complains(
            "\n[regsitry]\n",
            "/c.toml:2: unknown section `regsitry`",
            "did you mean `registry`?",
        );
        complains(
            "[registry]\nlocatoin = 'x'",
            "/c.toml:2: unknown key `locatoin`",
            "did you mean `location`?",
        );
        complains(
            "[registry]\nzzz = 'x'",
            "/c.toml:2: unknown key `zzz`",
            "known are: `location`",
        );
        complains(
            "[registry]\n\nlocation = 5",
            "/c.toml:3: `registry.location` must be the path of a folder, in quotes, and is of type integer",
            "write registry.location = \"/a/folder\"",
        );
        complains(
            "[cache]\nlocation = ''",
            "/c.toml:2: `cache.location` must be the path of a folder, in quotes, and is empty",
            "write cache.location = \"/a/folder\"",
        );
        complains(
            "registry = 1",
            "/c.toml:1: `registry` must be a section, and is of type integer",
            "write registry = \"/a/folder\"",
        );
        complains(
            "[registry]\nlocation = \n",
            "/c.toml:2: string values must be quoted, expected literal string",
            "",
        );
    }

    #[test]
    fn a_remote_registry_is_refused() {
        let (_dir, config) = with_file("[registry]\nlocation = 's3://bucket/x'");
        assert!(matches!(config.unwrap_err(), ConfigError::Remote { .. }));
        let global = Global {
            config: None,
            registry: Some("s3://bucket".into()),
        };
        assert!(matches!(
            load(&global, &around()).unwrap_err(),
            ConfigError::Remote { .. }
        ));
    }
}

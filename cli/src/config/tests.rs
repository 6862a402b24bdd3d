#![allow(clippy::unwrap_used)]

use super::*;
use crate::args::Sockets;

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
        config.registry.value,
        Path::new("/home/me/.timecraft/registry")
    );
    assert_eq!(config.cache.value, Path::new("/home/me/.cache/timecraft"));
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
        (config.cache.value.as_path(), config.cache.origin),
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
    assert_eq!(config.registry.value, Path::new("/home/me/r"));
    assert_eq!(config.registry.origin, Origin::File(file.clone(), 3));
    assert_eq!(config.cache.value, dir.path().join("c"));
    let config = load(&global(Some(file.clone()), Some("~/s".into())), &around()).unwrap();
    assert_eq!(
        (config.registry.value.as_path(), config.registry.origin),
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
            .value,
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
        "write [registry], and its keys in lines of their own",
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

#[test]
fn the_network_is_read_with_paths_from_where_the_file_is() {
    let (dir, config) = with_file(
        "[network]\nsockets = 'wasmedgev2'\nallow_net = ['A.example:443', '10.0.0.0/8']\n\
         allow_unix = ['s', '~/t', '/u']\ntls_ca = []\n",
    );
    let network = config.unwrap().network;
    assert_eq!(network.sockets.value, Sockets::WasmEdgeV2);
    let allowed: Vec<_> = network
        .allow_net
        .value
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(allowed, ["a.example:443", "10.0.0.0/8"]);
    assert_eq!(
        network.allow_net.origin,
        Origin::File(dir.path().join("c.toml"), 3)
    );
    assert_eq!(network.deny_net.origin, Origin::Default);
    assert_eq!(
        network.allow_unix.value,
        [dir.path().join("s"), "/home/me/t".into(), "/u".into()]
    );
    assert_eq!(
        network.tls_ca.origin,
        Origin::File(dir.path().join("c.toml"), 5)
    );
}

#[test]
fn what_is_wrong_with_the_network_is_named_with_its_line() {
    complains(
        "[network]\nallow_net = [\n  'a.example',\n  '10.0.0.1/8',\n]",
        "/c.toml:4: `network.allow_net` has \"10.0.0.1/8\", and the address has bits beyond the prefix: write 10.0.0.0/8",
        "",
    );
    complains(
        "[network]\nallow_net = 'a.example'",
        "/c.toml:2: `network.allow_net` must be a list of texts, in brackets, and is of type string",
        "write network.allow_net = [\"example.com:443\"]",
    );
    complains(
        "[network]\ntls_ca = ['']",
        "/c.toml:2: `network.tls_ca` must be a list of texts, in brackets, and is empty",
        "write network.tls_ca = [\"/etc/ssl/ours.pem\"]",
    );
    complains(
        "[network]\nsockets = 'wasmedge'",
        "/c.toml:2: `network.sockets` has \"wasmedge\", and the values are auto, none, wasmedgev1, wasmedgev2",
        "",
    );
    complains(
        "[network]\nlisten = ['127.0.0.1:80']",
        "/c.toml:2: unknown key `listen`",
        "known are: `sockets`, `allow_net`, `deny_net`, `allow_unix`, `tls_ca`",
    );
    complains(
        "[nettwork]",
        "/c.toml:1: unknown section `nettwork`",
        "did you mean `network`?",
    );
}

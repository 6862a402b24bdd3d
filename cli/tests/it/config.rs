//! Where the configuration comes from, and what is said of a wrong one.

use crate::snapshot;
use crate::support::{Dir, HELLO};

#[test]
fn the_defaults() {
    let dir = Dir::new();
    snapshot!("config_defaults", dir.cmd(["config"]).assert(0));
}

#[test]
fn each_source_overrides_the_one_before() {
    let dir = Dir::new();
    let file = |name: &str| format!("[registry]\nlocation = \"~/{name}\"\n");
    dir.create("home/.timecraft/config.toml", file("default"));
    let variable = dir.create("variable.toml", file("variable"));
    dir.create("option.toml", file("option"));
    snapshot!("config_file", dir.cmd(["config"]).assert(0));
    let by_variable = dir.cmd(["config"]).env("TIMECRAFTCONFIG", &variable);
    snapshot!("config_variable", by_variable.assert(0));
    let by_option = dir
        .cmd(["-c", "option.toml", "config"])
        .env("TIMECRAFTCONFIG", &variable);
    snapshot!("config_option", by_option.assert(0));
    let by_registry = dir.cmd(["config", "-c", "option.toml", "--registry", "here"]);
    snapshot!("config_registry", by_registry.assert(0));
}

#[test]
fn the_network_is_shown_with_where_it_comes_from() {
    let dir = Dir::new();
    let text = "[network]\nallow_net = [\"*.Example.com:443\"]\nallow_unix = [\"~/s\"]\n";
    dir.create("home/.timecraft/config.toml", text);
    snapshot!("config_network", dir.cmd(["config"]).assert(0));
}

#[test]
fn the_registry_is_where_it_says() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    dir.create(
        "c.toml",
        "[registry]\nlocation = \"recordings\"\n[cache]\nlocation = \"cache\"\n",
    );
    dir.cmd(["-c", "c.toml", "run", "hello.wat"]).assert(0);
    assert!(dir.path("recordings/processes").exists());
    assert!(dir.path("cache/modules").exists());
    dir.cmd(["-c", "c.toml", "--registry", "other", "run", "hello.wat"])
        .assert(0);
    assert!(dir.path("other/processes").exists());
    assert!(!dir.path("home/.timecraft").exists());
}

#[test]
fn what_is_wrong_is_named() {
    let dir = Dir::new();
    for (name, text) in [
        ("section", "[regsitry]\nlocation = \"x\"\n"),
        ("key", "[registry]\nlocaton = \"x\"\n"),
        ("type", "[registry]\n\nlocation = 7\n"),
        ("syntax", "[registry\n"),
        ("section_value", "registry = 1\n"),
        ("target", "[network]\ndeny_net = [\"10.0.0.1/8\"]\n"),
        ("list", "[network]\ntls_ca = \"ca.pem\"\n"),
        (
            "remote",
            "[registry]\nlocation = \"s3://bucket/recordings\"\n",
        ),
    ] {
        dir.create("c.toml", text);
        snapshot!(
            format!("config_wrong_{name}"),
            dir.cmd(["-c", "c.toml", "config"]).assert(1)
        );
    }
    snapshot!(
        "config_wrong_absent",
        dir.cmd(["-c", "absent.toml", "config"]).assert(1)
    );
    // `run` has a status of its own for what is not the guest's.
    dir.cmd(["-c", "absent.toml", "run", "m.wasm"]).assert(125);
}

#[test]
fn the_versions_are_said() {
    let dir = Dir::new();
    snapshot!("version", dir.cmd(["version"]).assert(0));
}

#[test]
fn the_commands_are_listed() {
    let dir = Dir::new();
    let said = dir.cmd(["help"]).assert(0);
    for command in ["run", "trace", "export", "config", "version"] {
        assert!(
            said.out().contains(&format!("\n  {command} ")),
            "{}",
            said.out()
        );
    }
    assert!(said.stderr.is_empty());
    for command in ["run", "trace", "export", "config", "version"] {
        assert!(!dir.cmd(["help", command]).assert(0).out().is_empty());
    }
}

/// What can be typed is an interface, and how it is explained is read by people.
#[cfg(feature = "sql")]
#[test]
fn the_help() {
    let dir = Dir::new();
    snapshot!("help", dir.cmd(["--help"]).assert(0));
    snapshot!("help_run", dir.cmd(["run", "--help"]).assert(0));
    snapshot!("help_sql", dir.cmd(["sql", "--help"]).assert(0));
}

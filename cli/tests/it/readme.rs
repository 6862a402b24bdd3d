//! The tour of README.md, as a newcomer would type it, and what it says.

use std::path::Path;
use std::process::Command;

use crate::support::{Dir, Said};

#[test]
fn every_command_of_the_tour_does_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    // Not in the checkout itself: the tour writes a file, which several runs would share.
    let home = Dir::new();
    std::os::unix::fs::symlink(
        root.canonicalize().unwrap().join("testdata"),
        home.path("testdata"),
    )
    .unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_timecraft")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", binary.display());

    let mut transcript = String::new();
    let mut in_tour = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            in_tour = line == "```console";
        }
        let Some(command) = line.strip_prefix("$ ").filter(|_| in_tour) else {
            continue;
        };
        let expected = command
            .split_once("# exits with ")
            .map_or(0, |(_, status)| status.parse::<i32>().unwrap());
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(home.path(""))
            .env_clear()
            .env("HOME", home.path("home"))
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = Said::of(home.path(""), output);
        transcript.push_str(&format!("$ {command}\n{}\n", said.transcript()));
        assert_eq!(said.status(), Some(expected), "{transcript}");
    }
    assert!(
        transcript.matches("$ timecraft").count() >= 10,
        "README.md has lost its tour: {transcript}"
    );
    crate::snapshot_text!("readme_tour", transcript);
}

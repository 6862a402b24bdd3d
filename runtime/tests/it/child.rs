//! Tests in processes of their own: with standard streams that are theirs, limits that they may set,
//! and a memory that can be measured.

use std::env;
use std::fs::File;
use std::process::{Command, Stdio};

/// Set in a process that does the work of a test: the file to create when it is done.
const CHILD: &str = "TIMECRAFT_TEST_CHILD";

/// Runs a test in a process of its own, whose standard input is empty.
pub fn in_child(test: &str, work: impl FnOnce()) {
    if let Some(done) = env::var_os(CHILD) {
        work();
        File::create(done).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, done) = (folder.path().join("stderr"), folder.path().join("done"));
    let status = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(CHILD, &done)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&path).unwrap())
        .status()
        .unwrap();
    // The guests write there too.
    let said = std::fs::read(&path).unwrap();
    let said: Vec<_> = String::from_utf8_lossy(&said)
        .lines()
        .filter(|line| line.chars().any(char::is_alphabetic))
        .map(str::to_owned)
        .collect();
    let (said, done) = (said.join("\n"), done.exists());
    assert!(status.success() && done, "{test}: {status}\n{said}");
}

/// The most memory that this process ever had, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

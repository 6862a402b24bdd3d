//! Programs that are large, or that nobody here wrote: Go's runtime and CPython.

use std::path::{Path, PathBuf};

use crate::support::{Dir, guest};

/// What `make testdata` builds.
pub fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata/build")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing; run: make testdata",
        path.display()
    );
    path
}

fn sql(dir: &Dir, query: &str) -> String {
    let said = dir.cmd(["sql", "--format", "csv", query]).assert(0);
    said.out().lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[test]
fn go_says_hello() {
    let dir = Dir::new();
    let said = dir.cmd(["run"]).arg(built("go-hello.wasm")).assert(0);
    assert_eq!(said.out(), "hello, world\n");
    assert_eq!(sql(&dir, "select text from log_lines"), "\"hello, world\"");
}

#[test]
fn go_with_goroutines_timers_and_files_is_recorded() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    let said = dir
        .cmd(["run", "--dir", "data::/data"])
        .arg(built("go-busy.wasm"))
        .arg("/data")
        .assert(0);
    let lines = "select count(*) from log_lines where stream = 'stdout'";
    assert_eq!(sql(&dir, lines), said.out().lines().count().to_string());
    let waits = "select count(*) > 0 from host_calls where function = 'poll_oneoff'";
    assert_eq!(sql(&dir, waits), "true", "goroutines sleep on timers");
    // What the guest read of its files it had written to them.
    let moved = |function| {
        let query =
            format!("select sum(bytes) from host_calls where function = '{function}' and fd > 2");
        sql(&dir, &query)
    };
    let written = moved("fd_write");
    assert_eq!(written, moved("fd_read"));
    // Each worker says how much that was.
    let bytes = |line: &str| -> Option<u64> {
        line.split(", ")
            .nth(1)?
            .strip_suffix(" bytes")?
            .parse()
            .ok()
    };
    let said: u64 = said.out().lines().filter_map(bytes).sum();
    assert_eq!(written, said.to_string());
    let paths = "select distinct path from host_calls where function = 'path_open' order by path";
    let files: Vec<_> = (0..8).map(|worker| format!("busy-{worker}.txt")).collect();
    assert_eq!(sql(&dir, paths), files.join("\n"));
}

#[test]
fn cpython_runs_a_script() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    std::fs::create_dir(dir.path("native")).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/python");
    let said = dir
        .cmd(["run", "--dir", "data::/data", "--dir"])
        .arg(format!("{}::/script:ro", scripts.display()))
        .arg(built("python/python.wasm"))
        .args(["/script/script.py", "/data"])
        .assert(0);
    let native = std::process::Command::new("python3")
        .arg(scripts.join("script.py"))
        .arg(dir.path("native"))
        .output()
        .unwrap();
    assert!(
        native.status.success(),
        "{}",
        String::from_utf8_lossy(&native.stderr)
    );
    assert_eq!(said.out(), String::from_utf8(native.stdout).unwrap());
    let lines = "select text from log_lines where stream = 'stdout' order by line";
    let recorded = dir.cmd(["sql", "--format", "tsv", lines]).assert(0);
    assert_eq!(
        recorded.out().lines().skip(1).collect::<Vec<_>>(),
        said.out().lines().collect::<Vec<_>>()
    );
}

#[test]
fn a_guest_that_allocates_without_bound_meets_its_limit() {
    let dir = Dir::new();
    dir.cmd(["run", "--max-memory", "64MiB"])
        .arg(guest("grow.wasm"))
        .assert(1);
    let end = "select status, exit_code from processes";
    assert_eq!(sql(&dir, end), "exited,1");
}

#[test]
fn a_large_file_read_in_small_pieces_is_counted_to_the_byte() {
    reads_add_up(64 << 20, "4096");
}

#[test]
#[ignore = "soak: a gibibyte"]
fn soak_a_gibibyte_read_in_small_pieces_is_counted_to_the_byte() {
    reads_add_up(1 << 30, "512");
}

fn reads_add_up(size: usize, piece: &str) {
    let dir = Dir::new();
    let line = b"a line of a file that is read in small pieces, again and again and again\n";
    let contents: Vec<u8> = line.iter().copied().cycle().take(size).collect();
    dir.create("data/in", contents);
    dir.cmd(["run", "--dir", "data::/data:ro"])
        .arg(guest("reader.wasm"))
        .args(["/data/in", piece])
        .assert(0);
    let read = "select sum(bytes), max(bytes) from host_calls where function = 'fd_read'";
    assert_eq!(sql(&dir, read), format!("{size},{piece}"));
}

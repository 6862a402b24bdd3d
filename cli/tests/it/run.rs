//! `timecraft run`: guests, what they are given, and how they end.

use std::os::unix::fs::PermissionsExt;

use crate::snapshot;
use crate::support::{Dir, ENVIRONMENT, HELLO, corner, guest};

#[test]
fn hello() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    let said = dir.cmd(["run", "hello.wat"]).assert(0);
    snapshot!("run_hello", said);
    let date = dir.path("home/.timecraft/registry/processes");
    let found = walk(&date)
        .into_iter()
        .any(|path| path.contains(said.process_id()));
    assert!(found, "{:?}", walk(&date));
}

/// Recordings are private to their user, whatever the mask says.
#[test]
fn a_recording_is_private() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    dir.cmd(["run", "hello.wat"]).assert(0);
    let root = dir.path("home/.timecraft/registry");
    for path in walk(&root) {
        let metadata = std::fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(
            mode,
            if metadata.is_dir() { 0o700 } else { 0o600 },
            "{path}"
        );
    }
}

fn walk(root: &std::path::Path) -> Vec<String> {
    let mut found = vec![root.display().to_string()];
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn all_after_the_module_is_the_guests() {
    let dir = Dir::new();
    let hello = guest("hello.wasm");
    let said = dir.cmd([hello.to_str().unwrap(), "--name", "-x", "--"].iter().fold(
        vec!["run", "--name", "mine"],
        |mut all, arg| {
            all.push(arg);
            all
        },
    ));
    assert_eq!(
        said.assert(0).out(),
        "hello, --name\nhello, -x\nhello, --\n"
    );
}

#[test]
fn the_status_is_the_guests() {
    let dir = Dir::new();
    let said = dir
        .cmd(["run".as_ref(), guest("exit3.wasm").as_os_str()])
        .assert(3);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
}

/// The signal that the system sends for it ends nobody.
#[test]
fn a_file_larger_than_the_process_may_make_is_an_error_of_the_guest() {
    let dir = Dir::new();
    dir.create("data/f", "");
    // Exits with what setting a size of 16 TiB returns.
    dir.create(
        "large.wat",
        r#"(module
        (import "wasi_snapshot_preview1" "path_open" (func $open
          (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $size
          (param i32 i64) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "f")
        (func (export "_start")
          (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
            (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 8)))
          (call $exit (call $size (i32.const 4) (i64.const 0x100000000000)))))"#,
    );
    const FBIG: i32 = 22;
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 40000; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_timecraft"), "run"])
        .args(["--dir", "data", "large.wat"])
        .current_dir(dir.path(""))
        .env("HOME", dir.path("home"))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(FBIG), "{status}");
}

#[test]
fn a_trap_names_its_functions() {
    let dir = Dir::new();
    dir.create(
        "t.wat",
        r#"(module (memory (export "memory") 1)
          (func $inner unreachable) (func $outer (call $inner)) (func (export "_start") (call $outer)))"#,
    );
    snapshot!("run_trap", dir.cmd(["run", "t.wat"]).assert(134));
}

/// The name of a function is the guest's, and a terminal would have acted on it.
#[test]
fn a_traps_names_are_escaped() {
    let dir = Dir::new();
    dir.create(
        "t.wat",
        "(module (memory (export \"memory\") 1)
          (func $\"\\1b]0;pwned\\07\\u{202e}\" unreachable)
          (func (export \"_start\") (call 0)))",
    );
    let said = dir.cmd(["run", "t.wat"]).assert(134);
    assert!(said.stderr.contains("pwned"), "{}", said.stderr);
    let active = |c: char| matches!(c, '\u{1b}' | '\u{7}' | '\u{202e}');
    assert!(!said.stderr.contains(active), "{:?}", said.stderr);
}

#[test]
fn a_guest_that_takes_too_long_is_ended() {
    let dir = Dir::new();
    for name in ["spin.wasm", "sleep.wasm"] {
        let guest = guest(name);
        let said = dir
            .cmd(["run", "--timeout", "300ms", guest.to_str().unwrap()])
            .assert(124);
        assert!(
            said.stderr.ends_with("error: the guest ran out of time\n"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn memory_has_a_limit() {
    let dir = Dir::new();
    let grow = guest("grow.wasm");
    let said = dir
        .cmd(["run", "--max-memory", "32MiB", grow.to_str().unwrap()])
        .assert(1);
    assert!(said.out().starts_with("growing\n"), "{}", said.out());
    let said = dir
        .cmd(["run", "--max-memory", "1KiB", grow.to_str().unwrap()])
        .assert(125);
    assert!(
        said.stderr
            .contains("hint: raise the limit with --max-memory"),
        "{}",
        said.stderr
    );
}

/// A guest that was refused memory ends as it likes, and its log is whole.
#[cfg(feature = "sql")]
#[test]
fn a_guest_without_memory_is_recorded() {
    let dir = Dir::new();
    for (args, status) in [(&[][..], 1), (&["abort"], 134)] {
        dir.cmd(["run", "--max-memory", "32MiB"])
            .arg(guest("grow.wasm"))
            .args(args)
            .assert(status);
    }
    assert_eq!(
        dir.query("select status, exit_code from processes order by start_time"),
        [["exited", "1"], ["trapped", ""]]
    );
    // Its stack takes 16 MiB of the 32.
    let lines = dir.query("select text from log_lines order by time, line");
    assert_eq!(lines, [["growing"], ["got 15 MiB"], ["growing"]]);
}

/// The corners of `testdata/wat`: each file says itself what must happen.
#[test]
fn corners() {
    let dir = Dir::new();
    let run = |name: &str, args: &[&str], status: i32| {
        std::fs::copy(corner(name), dir.path(name)).unwrap();
        dir.cmd(["run"]).args(args).arg(name).assert(status)
    };
    assert_eq!(run("start.wat", &[], 0).out(), "start section\n_start\n");
    let reactor = run("reactor.wat", &["-f", "run"], 0);
    assert_eq!(reactor.out(), "initialized\nrun\n");
    let grown = run("table-grow.wat", &[], 0);
    assert_eq!(grown.out(), "table 1\ntable -1\nmemory 1\nmemory -1\n");
    let nans = run("float-nan.wat", &[], 0);
    let canonical = |nan| matches!(nan, "7fc00000" | "7ff8000000000000");
    assert!(nans.out().lines().all(canonical), "{}", nans.out());
    assert_eq!(run("many-imports.wat", &[], 0).out(), "");

    let overflow = run("stack-overflow.wat", &[], 134).stderr;
    assert!(overflow.contains("call stack exhausted"), "{overflow}");
    assert!(overflow.lines().count() < 50, "{overflow}");
    for (name, status) in [
        ("bad-pointer.wat", 134),
        ("no-memory.wat", 134),
        ("reactor.wat", 125),
    ] {
        let said = run(name, &[], status);
        snapshot!(
            format!("run_corner_{}", name.trim_end_matches(".wat")),
            said
        );
    }
}

/// The calls of a start section and of `_initialize` are records like all others.
#[cfg(feature = "sql")]
#[test]
fn what_runs_before_the_entry_is_recorded() {
    let dir = Dir::new();
    dir.cmd(["run"]).arg(corner("start.wat")).assert(0);
    dir.cmd(["run", "-f", "run"])
        .arg(corner("reactor.wat"))
        .assert(0);
    assert_eq!(
        dir.query("select text from log_lines order by time, line"),
        [["start section"], ["_start"], ["initialized"], ["run"]]
    );
}

/// Nearly all of the file system's API, over a directory with a link that leads out of it. The
/// guest itself knows what must work and what must fail; which error it gets is held here.
#[test]
fn files_behave_and_nothing_gets_out() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("d")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.path("d/outside")).unwrap();
    let run = dir.cmd(["run", "--dir", "d::/d"]);
    let said = run.arg(guest("paths.wasm")).arg("/d").assert(0);
    snapshot!("run_paths", said);
    assert!(!said.out().contains("mismatch"), "{}", said.out());
    let left = std::fs::read_dir(dir.path("d")).unwrap().count();
    assert_eq!(left, 1, "only the link is left");
    assert!(!std::path::Path::new("/paths-escaped").exists());
}

#[test]
fn what_cannot_run_is_refused() {
    let dir = Dir::new();
    dir.create("text.txt", "not a module\n");
    dir.create("empty.wasm", "");
    dir.create("future.wasm", b"\0asm\x09\0\0\0");
    dir.create("folder/x", "");
    dir.create("broken.wat", "(module (func $f (call $g)))");
    for name in [
        "missing-import.wat",
        "component.wat",
        "shared-memory.wat",
        "noexport.wat",
    ] {
        std::fs::copy(corner(name), dir.path(name)).unwrap();
    }
    for (name, module) in [
        ("absent", "absent.wasm"),
        ("folder", "folder"),
        ("text", "text.txt"),
        ("empty", "empty.wasm"),
        ("future", "future.wasm"),
        ("broken", "broken.wat"),
        ("missing_import", "missing-import.wat"),
        ("component", "component.wat"),
        ("shared_memory", "shared-memory.wat"),
        ("no_export", "noexport.wat"),
    ] {
        snapshot!(
            format!("run_refuses_{name}"),
            dir.cmd(["run", module]).assert(125)
        );
    }
}

#[test]
fn another_function_can_be_called() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO.replace("_start", "greet"));
    let said = dir.cmd(["run", "-f", "greet", "hello.wat"]).assert(0);
    assert_eq!(said.out(), "hello\n");
    snapshot!(
        "run_function_unknown",
        dir.cmd(["run", "-f", "gret", "hello.wat"]).assert(125)
    );
}

#[test]
fn the_id_can_be_written_to_a_file() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    let said = dir.cmd(["run", "--id-file", "id", "hello.wat"]).assert(0);
    assert_eq!(dir.read("id"), format!("{}\n", said.process_id()));
    let said = dir
        .cmd(["run", "--id-file", "no/such/folder/id", "hello.wat"])
        .assert(125);
    assert_eq!(said.out(), "");
    snapshot!("run_id_file_fails", said);
}

#[test]
fn flying_blind_leaves_nothing() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    let said = dir.cmd(["run", "--fly-blind", "hello.wat"]).assert(0);
    assert_eq!((said.out(), said.stderr.as_str()), ("hello\n", ""));
    assert!(!dir.path("home/.timecraft").exists());
    dir.cmd(["run", "--fly-blind", "--id-file", "id", "hello.wat"])
        .assert(2);
}

#[test]
fn directories_are_given_by_name() {
    let dir = Dir::new();
    dir.create("data/a.txt", "contents\n");
    let (cat, copy) = (guest("cat.wasm"), guest("copy.wasm"));
    let (cat, copy) = (cat.to_str().unwrap(), copy.to_str().unwrap());

    let said = dir
        .cmd(["run", "--dir", "data", cat, "data/a.txt"])
        .assert(0);
    assert_eq!(said.out(), "contents\n");
    let said = dir
        .cmd(["run", "--dir", "data::/d:ro", cat, "/d/a.txt"])
        .assert(0);
    assert_eq!(said.out(), "contents\n");
    dir.cmd(["run", "--dir", "data::/d", copy, "/d/a.txt", "/d/b.txt"])
        .assert(0);
    assert_eq!(dir.read("data/b.txt"), "contents\n");

    let said = dir
        .cmd(["run", "--dir", "data::/d:ro", copy, "/d/a.txt", "/d/c.txt"])
        .assert(1);
    assert!(!dir.path("data/c.txt").exists());
    snapshot!("run_dir_read_only", said);
    snapshot!(
        "run_dir_missing",
        dir.cmd(["run", cat, "/d/a.txt"]).assert(1)
    );
    snapshot!(
        "run_dir_absent",
        dir.cmd(["run", "--dir", "nowhere", cat]).assert(125)
    );
}

#[test]
fn the_environment_is_given_by_name() {
    let dir = Dir::new();
    dir.create("env.wat", ENVIRONMENT);
    let variables = |args: &[&str]| {
        let all = ["run"].iter().chain(args).chain(&["env.wat"]);
        let said = dir.cmd(all).env("SECRET", "s").env("A", "outer").assert(0);
        let mut found: Vec<String> = said
            .out()
            .split_terminator('\0')
            .map(str::to_owned)
            .collect();
        found.retain(|v| !v.starts_with("HOME="));
        found.sort();
        found.join(" ")
    };
    assert_eq!(variables(&[]), "");
    assert_eq!(variables(&["-e", "A=b=c", "--env", "E="]), "A=b=c E=");
    assert_eq!(variables(&["--inherit-env"]), "A=outer SECRET=s");
    assert_eq!(
        variables(&["--inherit-env", "-e", "A=inner"]),
        "A=inner SECRET=s"
    );
    assert_eq!(variables(&["--restrict", "-e", "A=b"]), "A=b");
    dir.cmd(["run", "--restrict", "--inherit-env", "env.wat"])
        .assert(2);
    snapshot!(
        "run_env_malformed",
        dir.cmd(["run", "-e", "A", "env.wat"]).assert(2)
    );
}

#[test]
fn calls_can_be_traced() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    snapshot!("run_trace", dir.cmd(["run", "-T", "hello.wat"]).assert(0));
    let blind = dir.cmd(["run", "-T", "--fly-blind", "hello.wat"]).assert(0);
    assert!(blind.stderr.contains("fd_write(1, "), "{}", blind.stderr);
}

/// As root, permission bits hold nobody off: a file where the folder should be does.
#[test]
fn a_registry_that_cannot_be_written_is_an_error() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    dir.create("file", "");
    let said = dir
        .cmd(["run", "--registry", "file/registry", "hello.wat"])
        .assert(125);
    assert_eq!(said.out(), "");
    snapshot!("run_registry_unwritable", said);
    let remote = dir.cmd(["run", "--registry", "s3://bucket", "hello.wat"]);
    snapshot!("run_registry_remote", remote.assert(125));
}

#[test]
fn the_recording_has_options() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    for args in [
        &["--record-compression", "none"][..],
        &["--record-batch-size", "64KiB", "--sync", "batch"],
        &["--sync", "none"],
    ] {
        let all = ["run"].iter().chain(args).chain(&["hello.wat"]);
        dir.cmd(all).assert(0);
    }
    let said = dir
        .cmd(["run", "--record-batch-size", "1KiB", "hello.wat"])
        .assert(2);
    snapshot!("run_batch_size_too_small", said);
    snapshot!(
        "run_size_malformed",
        dir.cmd(["run", "--max-memory", "x", "hello.wat"]).assert(2)
    );
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let dir = Dir::new();
    snapshot!(
        "run_option_misspelt",
        dir.cmd(["run", "--tiemout", "1s", "m.wasm"]).assert(2)
    );
    for (option, value) in [
        ("--dir", "::/guest"),
        ("--dir", "/host::"),
        ("--timeout", "10"),
        ("--timeout", "0s"),
        ("--max-memory", "0"),
        ("--record-batch-size", "lots"),
        ("--record-batch-size", "1GiB"),
        ("--record-compression", "lz4"),
        ("--sync", "never"),
        ("--label", "k"),
    ] {
        let said = dir.cmd(["run", option, value, "m.wasm"]).assert(2);
        let names = format!("error: invalid value '{value}' for '{option} <");
        assert!(said.stderr.starts_with(&names), "{}", said.stderr);
    }
    snapshot!("run_without_module", dir.cmd(["run"]).assert(2));
    snapshot!("command_misspelt", dir.cmd(["rnu", "m.wasm"]).assert(2));
}

/// A reader of the guest's output that goes away is the guest's matter: it gets EPIPE.
#[test]
fn a_closed_pipe_is_the_guests_error() {
    let dir = Dir::new();
    let witness = guest("witness.wasm");
    let mut child = dir
        .cmd(["run", witness.to_str().unwrap(), "100000"])
        .spawn();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("witness: line "), "{stderr}");
}

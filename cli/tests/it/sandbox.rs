//! What a guest gets and what is kept from others: limits, private files, text that cannot act.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use timecraft_segment::Registry;

use crate::support::{Dir, HELLO, Said};

const MFILE: i32 = 33;

/// Opens the file `f` of its first directory until that fails, and exits with the errno.
const OPENS: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "f")
  (func (export "_start") (local $errno i32)
    (loop
      (local.set $errno (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 1)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
      (br_if 0 (i32.eqz (local.get $errno))))
    (call $exit (local.get $errno))))"#;

fn start(dir: &Dir) -> timecraft_segment::ProcessStart {
    let registry = Registry::at(dir.path("home/.timecraft/registry"));
    let id = registry.find("latest").unwrap();
    registry.snapshot(id).unwrap().start().clone()
}

#[track_caller]
fn hints(said: &Said, hint: &str) {
    assert!(
        said.stderr.contains(&format!("hint: {hint}")),
        "{}",
        said.stderr
    );
}

#[test]
fn a_limit_that_is_reached_is_named_with_its_flag() {
    let dir = Dir::new();
    dir.create(
        "stack.wat",
        "(module (func $f (export \"_start\") (call $f)))",
    );
    let said = dir
        .cmd(["run", "--max-stack", "64KiB", "stack.wat"])
        .assert(134);
    hints(
        &said,
        "the guest came up against the limit of 65536 bytes of stack; --max-stack raises it\n",
    );
    assert_eq!(start(&dir).limits.stack_bytes, Some(65536));

    let grows = "(module (memory (export \"memory\") 1) (table 5 funcref) (func (export \"_start\")
        (if (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)) (then unreachable))
        (if (i32.lt_s (table.grow (ref.null func) (i32.const 1)) (i32.const 0)) (then unreachable))))";
    dir.create("grows.wat", grows);
    let run = |memory: &str, elements: &str| {
        dir.cmd([
            "run",
            "--max-memory",
            memory,
            "--max-table-elements",
            elements,
            "grows.wat",
        ])
    };
    run("128KiB", "6").assert(0);
    let said = run("131071", "6").assert(134);
    hints(
        &said,
        "the guest came up against the limit of 131071 bytes of memory; --max-memory raises it\n",
    );
    let said = run("128KiB", "5").assert(134);
    hints(
        &said,
        "the guest came up against the limit of 5 elements of tables; --max-table-elements raises it\n",
    );
    let said = run("128KiB", "4").assert(125);
    hints(&said, "raise the limit with --max-table-elements\n");

    dir.create("opens.wat", OPENS);
    dir.create("f", "");
    let said = dir
        .cmd(["run", "--dir", ".", "--max-open-files", "10", "opens.wat"])
        .assert(MFILE);
    hints(
        &said,
        "the guest came up against the limit of 10 open descriptors; --max-open-files raises it\n",
    );
    assert_eq!(start(&dir).limits.open_files, Some(10));
    // What the guest never sees stands in the trace, too.
    let said = dir
        .cmd([
            "run",
            "-T",
            "--dir",
            ".",
            "--max-open-files",
            "10",
            "opens.wat",
        ])
        .assert(MFILE);
    let note = "EMFILE # the limit of 10 open descriptors (--max-open-files)";
    assert!(said.stderr.contains(note), "{}", said.stderr);
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let dir = Dir::new();
    for (flag, value, says) in [
        ("--max-stack", "1KiB", "expected 64KiB to 1GiB"),
        ("--max-open-files", "2", "2 is not in 3..=65536"),
        (
            "--max-table-elements",
            "many",
            "invalid digit found in string",
        ),
    ] {
        let said = dir.cmd(["run", flag, value, "m.wat"]).assert(2);
        assert!(said.stderr.contains(says), "{}", said.stderr);
    }
}

/// Runs the binary by way of a shell, which sets up what is to be inherited.
fn by_shell(dir: &Dir, before: &str, args: &[&str], status: i32) -> Said {
    let script = format!("{before} && exec \"$0\" \"$@\"");
    dir.shell(&script).args(args).assert(status)
}

/// A guest that opens all that it can leaves its host what the log needs.
#[test]
fn a_guest_never_uses_up_the_descriptors_of_its_host() {
    let dir = Dir::new();
    dir.create("opens.wat", OPENS);
    dir.create("f", "");
    // Small batches, so that the log needs a new file now and then.
    let args = [
        "run",
        "--dir",
        ".",
        "--record-batch-size",
        "4KiB",
        "opens.wat",
    ];
    let said = by_shell(&dir, "ulimit -n 100", &args, MFILE);
    hints(
        &said,
        "the guest came up against the limit of 18 open descriptors; --max-open-files raises it\n",
    );
    assert_eq!(start(&dir).limits.open_files, Some(18));
    // A soft limit is raised.
    by_shell(&dir, "ulimit -Sn 100", &args, MFILE);
    assert!(start(&dir).limits.open_files > Some(18));
    let args = ["run", "--max-open-files", "19", "opens.wat"];
    let said = by_shell(&dir, "ulimit -n 100", &args, 125);
    assert!(
        said.stderr.contains(
            "error: the guest cannot have 19 open descriptors: this process has room for 18"
        ),
        "{}",
        said.stderr
    );
    hints(
        &said,
        "give --max-open-files 18 or fewer, or raise the hard limit",
    );
}

/// Mode of everything in and under a folder that is not as private as it should be.
fn open_to_others(path: &Path) -> Vec<String> {
    let about = path.symlink_metadata().unwrap();
    let mode = about.permissions().mode() & 0o7777;
    let mut found = Vec::new();
    if mode != if about.is_dir() { 0o700 } else { 0o600 } {
        found.push(format!("{mode:o} {}", path.display()));
    }
    if about.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            found.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn recordings_are_private_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let dir = Dir::new();
        dir.create("hello.wat", HELLO);
        by_shell(&dir, &format!("umask {umask}"), &["run", "hello.wat"], 0);
        for folder in ["home/.timecraft", "home/.cache/timecraft"] {
            assert_eq!(open_to_others(&dir.path(folder)), [""; 0], "umask {umask}");
        }
    }
}

#[test]
fn recordings_are_private_in_a_registry_that_is_not() {
    let dir = Dir::new();
    dir.create("hello.wat", HELLO);
    let registry = dir.path("registry");
    for folder in ["registry", "registry/processes", "registry/modules"] {
        std::fs::create_dir(dir.path(folder)).unwrap();
        std::fs::set_permissions(dir.path(folder), PermissionsExt::from_mode(0o755)).unwrap();
    }
    by_shell(
        &dir,
        "umask 000",
        &["run", "--registry", "registry", "hello.wat"],
        0,
    );
    let mut open = open_to_others(&registry);
    open.sort();
    let wide = |name: &str| format!("755 {}", dir.path(name).display());
    assert_eq!(
        open,
        ["registry", "registry/modules", "registry/processes"].map(wide)
    );
}

/// Text by which a guest could take over a terminal: colour, title, clipboard, a sequence of one
/// byte, direction, lines and what cannot be seen.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]0;title\u{7}\u{1b}]52;c;eA==\u{1b}\\\u{9b}2J\r\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{200b}\u{e0041}";

/// The text as a string of the text format.
fn wat(text: &str) -> String {
    text.bytes().map(|b| format!("\\{b:02x}")).collect()
}

/// Nothing in it that a terminal could act on, but the end of a line.
#[track_caller]
fn harmless(text: &str) {
    let acts = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
    };
    assert!(!text.contains(acts), "{text:?}");
}

/// A trap, its frames, a refusal and a trace, all with names that a guest chose.
#[test]
fn what_run_says_of_a_guest_cannot_act_on_a_terminal() {
    let dir = Dir::new();
    let (hostile, length) = (wat(HOSTILE), HOSTILE.len());
    dir.create("guest.wat", format!(
        "(module
          (import \"wasi_snapshot_preview1\" \"path_unlink_file\" (func $unlink (param i32 i32 i32) (result i32)))
          (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export \"memory\") 1)
          (data (i32.const 16) \"{hostile}\")
          (data (i32.const 0) \"\\10\\00\\00\\00\\10\\00\\00\\00\")
          (func $f (@name \"{hostile}\")
            (drop (call $unlink (i32.const 3) (i32.const 16) (i32.const {length})))
            (drop (call $write (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 8)))
            unreachable)
          (export \"_start\" (func $f)))"
    ));
    let said = dir
        .cmd(["run", "--trace", "--dir", ".:ro", "guest.wat"])
        .assert(134);
    for expected in [
        "path_unlink_file(",
        "the guest trapped",
        "the guest was refused write access",
        "title",
    ] {
        assert!(said.stderr.contains(expected), "{}", said.stderr);
    }
    harmless(&said.stderr);
}

/// What is wrong with a module is said in its own names.
#[test]
fn what_run_says_of_a_module_cannot_act_on_a_terminal() {
    let dir = Dir::new();
    let hostile = wat(HOSTILE);
    for (name, module) in [
        (
            "import",
            format!(
                "(module (import \"{hostile}\" \"{hostile}\" (func)) (func (export \"_start\")))"
            ),
        ),
        (
            "global",
            format!(
                "(module (import \"{hostile}\" \"{hostile}\" (global i32)) (func (export \"_start\")))"
            ),
        ),
        ("export", format!("(module (func (export \"{hostile}\")))")),
        (
            "text",
            format!("(module (func $\"{hostile}\" (call $\"{hostile}x\")))"),
        ),
        (
            "invalid",
            format!("(module (func $f (@name \"{hostile}\") (result i32)))"),
        ),
    ] {
        let file = format!("{name}{HOSTILE}.wat").replace('/', "");
        dir.create(&file, module);
        let said = dir.cmd(["run", &file]).assert(125);
        assert!(said.stderr.contains("title"), "{name}: {}", said.stderr);
        harmless(&said.stderr);
    }
}

/// The same text as a line, a path and an argument, in every format that is text, and in an error.
#[cfg(feature = "sql")]
#[test]
fn what_sql_shows_of_a_guest_cannot_act_on_a_terminal() {
    let dir = Dir::new();
    let (hostile, length) = (wat(HOSTILE), HOSTILE.len());
    dir.create(
        "guest.wat",
        format!(
            "(module
              (import \"wasi_snapshot_preview1\" \"path_unlink_file\" (func $unlink (param i32 i32 i32) (result i32)))
              (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
              (memory (export \"memory\") 1)
              (data (i32.const 16) \"{hostile}\")
              (data (i32.const 0) \"\\10\\00\\00\\00\\{length:02x}\\00\\00\\00\")
              (func $f (@name \"{hostile}\")
                (drop (call $unlink (i32.const 3) (i32.const 16) (i32.const {length})))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                unreachable)
              (export \"_start\" (func $f)))"
        ),
    );
    let args = ["run", "--dir", ".:ro", "--name", HOSTILE, "--label"];
    dir.cmd(args)
        .args([format!("k={HOSTILE}").as_str(), "guest.wat", HOSTILE])
        .assert(134);
    let queries = [
        "select p.name, labels, args, trap, exports, m.name from processes p join modules m on p.module_id = m.module_id",
        "select path, args, note from host_calls where path is not null",
        "select text from log_lines",
    ];
    for format in ["table", "csv", "tsv", "markdown", "json", "ndjson"] {
        for query in queries {
            let said = dir.cmd(["sql", "--format", format, query]).assert(0);
            assert!(said.out().contains("title"), "{format}: {}", said.out());
            // The tabs of TSV are the format's.
            harmless(&said.out().replace('\t', " "));
        }
    }
    let said = dir
        .cmd(["sql", "select cast(name as bigint) from processes"])
        .assert(1);
    assert!(said.stderr.contains("title"), "{}", said.stderr);
    harmless(&said.stderr);
}

/// A value that was given to a guest is shown where it is asked for by its name, and nowhere else.
#[cfg(feature = "sql")]
#[test]
fn a_secret_is_shown_only_where_it_is_asked_for() {
    let dir = Dir::new();
    dir.create("guest.wat", crate::support::ENVIRONMENT);
    let secret = "correct-horse-battery-staple";
    let grant = format!("TOKEN={secret}");
    let said = dir
        .cmd(["run", "--trace", "--env", &grant, "guest.wat"])
        .assert(0);
    assert!(said.out().contains(secret), "the guest itself has it");
    let trace: Vec<&str> = said
        .stderr
        .lines()
        .filter(|l| l.contains("environ_"))
        .collect();
    assert_eq!(trace.len(), 2);
    assert!(!trace.concat().contains(secret), "{trace:?}");
    for table in ["processes", "modules", "segments"] {
        let query = format!("select * from {table}");
        let said = dir.cmd(["sql", "--format", "json", &query]).assert(0);
        assert!(!said.out().contains(secret), "{table}: {}", said.out());
    }
    let query = "select * from host_calls where function like 'environ%'";
    let said = dir.cmd(["sql", "--format", "json", query]).assert(0);
    assert!(said.out().contains("environ_get") && !said.out().contains(secret));
    let query = "select environment_value(process_id, 'TOKEN') from processes";
    assert_eq!(dir.query(query), [[secret]]);
}

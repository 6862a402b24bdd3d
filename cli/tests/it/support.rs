//! A small language for the tests: a [`Dir`] to work in, a [`Cmd`] to run there, what it [`Said`].

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder with a home in it; what runs in it sees nothing of the machine's own configuration.
pub struct Dir {
    root: TempDir,
}

impl Dir {
    pub fn new() -> Dir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("home")).unwrap();
        Dir { root }
    }

    /// One in which `hello` has been recorded, twice, by the names `first` and `second`.
    #[cfg(feature = "sql")]
    pub fn recorded() -> Dir {
        let dir = Dir::new();
        dir.create("hello.wat", HELLO);
        dir.cmd(["run", "--name", "first", "hello.wat"]).assert(0);
        dir.cmd([
            "run",
            "--name",
            "second",
            "--label",
            "k=v",
            "hello.wat",
            "a",
            "b c",
        ])
        .assert(0);
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn create(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The rows that a query gives, as cells of text.
    #[cfg(feature = "sql")]
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<Vec<String>> {
        let said = self.cmd(["sql", "--format", "tsv", query]).assert(0);
        let rows = said.out().lines().skip(1);
        rows.map(|row| row.split('\t').map(str::to_owned).collect())
            .collect()
    }

    pub fn cmd<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Cmd<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_timecraft"));
        command.args(args);
        self.here(command)
    }

    /// A script of the shell in which `"$0" "$@"` is the binary with the arguments to come.
    pub fn shell(&self, script: &str) -> Cmd<'_> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_timecraft")]);
        self.here(command)
    }

    fn here(&self, mut command: Command) -> Cmd<'_> {
        command
            .current_dir(self.root.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .stdin(Stdio::null());
        Cmd {
            dir: self,
            command,
            stdin: None,
            stdout: None,
        }
    }
}

/// A command line, and what it gets.
pub struct Cmd<'a> {
    dir: &'a Dir,
    command: Command,
    stdin: Option<Vec<u8>>,
    stdout: Option<Stdio>,
}

impl Cmd<'_> {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Standard output goes here when it is spawned.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The text is on standard input; without this there is nothing.
    #[cfg(feature = "sql")]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Standard input is this.
    pub fn stdin_from(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Standard input is a pipe that stays open.
    pub fn open_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts it, with pipes for all that it says.
    pub fn spawn(mut self) -> Child {
        let stdout = self.stdout.take().unwrap_or_else(Stdio::piped);
        self.command.stdout(stdout).stderr(Stdio::piped());
        self.command.spawn().unwrap()
    }

    /// Runs it to its end, which must have this status.
    #[track_caller]
    pub fn assert(mut self, status: i32) -> Said {
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let (root, stdin) = (self.dir.path(""), self.stdin.take());
        let mut child = self.spawn();
        let feeder = stdin.map(|text| {
            let mut pipe = child.stdin.take().unwrap();
            // A command that fails before it has read everything is one of the cases.
            thread::spawn(move || drop(pipe.write_all(&text)))
        });
        let output = child.wait_with_output().unwrap();
        if let Some(feeder) = feeder {
            feeder.join().unwrap();
        }
        let said = Said::of(root, output);
        assert_eq!(said.status, Some(status), "{}", said.transcript());
        said
    }
}

/// What a command said.
pub struct Said {
    root: PathBuf,
    status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Said {
    pub fn of(root: PathBuf, output: Output) -> Said {
        Said {
            root,
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[cfg(feature = "sql")]
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    pub fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// A field of all objects in it that stand on lines of their own, with spaces between; `-` for none.
    pub fn field(&self, name: &str) -> String {
        let values = self.out().lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row[name].as_str().unwrap_or("-").to_owned()
        });
        values.collect::<Vec<_>>().join(" ")
    }

    /// The process id, which is the first line of standard error and alone there.
    pub fn process_id(&self) -> &str {
        let id = self.stderr.lines().next().unwrap();
        assert_eq!(id.len(), 36, "{id}");
        id
    }

    /// All of it, for a snapshot. The folder's own name is taken out here: it is no pattern.
    pub fn transcript(&self) -> String {
        let status = self.status.map_or("killed".to_owned(), |s| s.to_string());
        let mut text = format!("status: {status}\n");
        for (name, said) in [
            ("stdout", String::from_utf8_lossy(&self.stdout)),
            ("stderr", self.stderr.as_str().into()),
        ] {
            if !said.is_empty() {
                text.push_str(&format!("-- {name}\n{said}"));
            }
        }
        let root = self.root.to_str().unwrap();
        text.replace(root.trim_end_matches('/'), "[DIR]")
    }
}

/// Holds what a command said against a snapshot in `snapshots`, without what varies.
#[macro_export]
macro_rules! snapshot {
    ($name:expr, $said:expr) => {
        $crate::snapshot_text!($name, $said.transcript())
    };
}

/// The same of a text.
#[macro_export]
macro_rules! snapshot_text {
    ($name:expr, $said:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, replacement) in $crate::support::VARIES {
            settings.add_filter(pattern, *replacement);
        }
        settings.bind(|| insta::assert_snapshot!($name, $said));
    }};
}

/// Patterns of what differs from run to run.
pub const VARIES: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[ID]",
    ),
    (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
        "[TIME]",
    ),
    // The folder of the day on which the process started.
    (r"/processes/\d{4}-\d\d-\d\d/", "/processes/[DAY]/"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6}", "[TIME]"),
    (r#""(elapsed|duration|rtt)_ns":\d+"#, "\"${1}_ns\":[NS]"),
    (r"(?m)^ +\d+\.\d{6} ", "[ELAPSED] "),
    (r"<\d+\.\d{6}>", "<[DURATION]>"),
    (r"\(\d+\.\d(us|ms|s)\)", "([DURATION])"),
    (r"timecraft \d+\.\d+\.\d+", "timecraft [VERSION]"),
    (r"wasmtime \d+\.\d+\.\d+", "wasmtime [VERSION]"),
];

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Reads from a child until it has said so much.
pub fn wait_for(from: &mut impl Read, text: &str) {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(text.as_bytes()) {
        let count = from.read(&mut byte).unwrap();
        assert!(
            count > 0,
            "ended after {:?}",
            String::from_utf8_lossy(&said)
        );
        said.push(byte[0]);
    }
}

/// The status of a child that is to end by itself now. Fails, rather than hang, where it does not.
#[track_caller]
pub fn ended(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A guest of the repository, compiled from C.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata/guests")
        .join(name)
}

/// A module of the repository that exercises a corner.
pub fn corner(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata/wat")
        .join(name)
}

/// Writes "hello" to standard output.
pub const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\n")
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Prints its environment: what `environ_get` gives, NULs and all.
pub const ENVIRONMENT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 8192)))
    (i32.store (i32.const 0) (i32.const 8192))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

//! The shell of `timecraft sql`, typed at on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Dir, signal};

const PROMPT: &str = "timecraft> ";

/// A terminal with the shell on its other side.
struct Terminal {
    ours: File,
    shell: Child,
    shown: Receiver<Vec<u8>>,
    /// What was shown, and not waited for yet.
    pending: String,
}

impl Drop for Terminal {
    /// A test that fails leaves no shell behind.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Terminal {
    fn open(dir: &Dir) -> Terminal {
        let mut terminal = Terminal::run(dir, &["sql"]);
        terminal.sees(PROMPT);
        terminal
    }

    fn run(dir: &Dir, args: &[&str]) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = || File::options().read(true).write(true).open(&name).unwrap();
        // What it says stands on standard error, so that is where it is waited for as well.
        let mut command = Command::new(env!("CARGO_BIN_EXE_timecraft"));
        command
            .args(args)
            .current_dir(dir.path(""))
            .env_clear()
            .env("HOME", dir.path("home"))
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            // Three hours east of Greenwich, in the notation of POSIX.
            .env("TZ", "XYZ-3")
            .stdin(Stdio::from(theirs()))
            .stdout(Stdio::from(theirs()))
            .stderr(Stdio::from(theirs()));
        let shell = command.spawn().unwrap();
        let ours = File::from(ours);
        let (send, shown) = mpsc::channel();
        let mut from = ours.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal whose other side is closed is an error on Linux.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal {
            ours,
            shell,
            shown,
            pending: String::new(),
        }
    }

    fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows it.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        while !self.pending.contains(text) {
            match self.shown.recv_timeout(Duration::from_secs(30)) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.pending),
            }
        }
        let end = self.pending.find(text).unwrap() + text.len();
        self.pending.drain(..end);
    }

    fn leaves(mut self) {
        self.types("\\q\r");
        assert!(self.shell.wait().unwrap().success());
    }
}

#[test]
fn a_session() {
    let dir = Dir::recorded();
    let mut terminal = Terminal::open(&dir);
    terminal.types("select name from\r");
    terminal.types("processes order by name;\r");
    terminal.sees("| first  |");
    terminal.sees("| second |");
    terminal.sees("2 rows, ");
    terminal.sees(PROMPT);

    // A mistake is said, and the shell goes on.
    terminal.types("select nme from processes;\r");
    terminal.sees("error: no column named `nme`");
    terminal.sees("hint: did you mean `name`?");
    terminal.sees(PROMPT);

    terminal.types("\\d\r");
    terminal.sees("host_calls");
    terminal.sees(PROMPT);
    terminal.types("\\d log_lines\r");
    terminal.sees("truncated");
    terminal.sees(PROMPT);
    terminal.types("\\zzz\r");
    terminal.sees("unknown command; \\? lists them");
    terminal.sees(PROMPT);

    // Ctrl-C empties the line.
    terminal.types("select \u{3}");
    terminal.sees(PROMPT);
    terminal.leaves();
    let history = dir.path("home/.timecraft/history");
    let mode = std::fs::metadata(&history).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        dir.read("home/.timecraft/history")
            .contains("select nme from processes;")
    );
}

#[test]
fn words_are_completed() {
    let dir = Dir::new();
    let mut terminal = Terminal::open(&dir);
    terminal.types("select parent_pr\t");
    terminal.sees("parent_process_id");
    terminal.types(" from processe\t;\r");
    terminal.sees("0 rows, ");
    terminal.leaves();
}

#[test]
fn times_are_local_on_a_terminal() {
    let dir = Dir::recorded();
    let mut terminal = Terminal::open(&dir);
    terminal.types("select start_time from processes;\r");
    terminal.sees("+03:00 |");
    terminal.leaves();
}

#[test]
fn a_query_can_be_cancelled_and_the_shell_goes_on() {
    let dir = Dir::new();
    let mut terminal = Terminal::open(&dir);
    terminal.types("select 41 + 1 as n; select sum(a.value * b.value) ");
    terminal.types("from range(10000000) a, range(10000000) b;\r");
    terminal.sees("| 42 |");
    signal(&terminal.shell, Signal::INT);
    terminal.sees("error: the query was cancelled");
    terminal.sees(PROMPT);
    terminal.types("select 43 + 1 as n;\r");
    terminal.sees("| 44 |");
    terminal.leaves();
}

#[test]
fn a_terminal_is_no_place_for_bytes() {
    let dir = Dir::new();
    for format in ["parquet", "arrow"] {
        let mut terminal = Terminal::run(&dir, &["sql", "--format", format, "select 1"]);
        terminal.sees("error: ");
        terminal.sees("hint: ");
        assert_eq!(terminal.shell.wait().unwrap().code(), Some(2), "{format}");
    }
}

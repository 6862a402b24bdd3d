//! A terminal with the binary on its other side.

use std::fs::File;
use std::io::Read;
#[cfg(feature = "sql")]
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::Dir;

/// How long to wait before a test fails rather than hang.
const DEADLINE: Duration = Duration::from_secs(30);

/// A terminal, and what runs on it.
pub struct Terminal {
    #[cfg_attr(
        not(feature = "sql"),
        allow(dead_code, reason = "it holds the terminal")
    )]
    ours: File,
    pub child: Child,
    shown: Receiver<Vec<u8>>,
    /// What was shown, and not waited for yet.
    pending: String,
}

impl Drop for Terminal {
    /// A test that fails leaves nothing behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    /// Runs a command that may show colours.
    pub fn colored(dir: &Dir, args: &[&str]) -> Terminal {
        Terminal::with(dir, args, &[])
    }

    /// Runs a command that may not.
    pub fn run(dir: &Dir, args: &[&str]) -> Terminal {
        Terminal::with(dir, args, &[("NO_COLOR", "1")])
    }

    fn with(dir: &Dir, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
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
            // Three hours east of Greenwich, in the notation of POSIX.
            .env("TZ", "XYZ-3")
            .envs(environment.iter().copied())
            .stdin(Stdio::from(theirs()))
            .stdout(Stdio::from(theirs()))
            .stderr(Stdio::from(theirs()));
        let child = command.spawn().unwrap();
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
            child,
            shown,
            pending: String::new(),
        }
    }

    #[cfg(feature = "sql")]
    pub fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows it.
    #[cfg(feature = "sql")]
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        while !self.pending.contains(text) {
            match self.shown.recv_timeout(DEADLINE) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.pending),
            }
        }
        let end = self.pending.find(text).unwrap() + text.len();
        self.pending.drain(..end);
    }

    /// All that is shown until the command has ended, with `ESC` for what begins a colour.
    #[track_caller]
    pub fn all(mut self) -> String {
        loop {
            match self.shown.recv_timeout(DEADLINE) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on after {:?}", self.pending),
            }
        }
        self.pending.replace("\r\n", "\n").replace('\x1b', "ESC")
    }
}

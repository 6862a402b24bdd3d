//! The one owner of standard output and standard error.
//!
//! Standard output carries data that can be piped; everything for people beside it goes to
//! standard error. A reader that went away (`| head`) is no failure: see [`Error::is_broken_pipe`].

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use timecraft_runtime::Interrupter;
use timecraft_runtime::wasi::Output;

use crate::error::Error;
use crate::escape;

/// Writes to the terminal, or to whatever stands in its place.
pub struct Printer {
    stdout_is_terminal: bool,
    colors: bool,
    colors_wanted: bool,
    /// Standard error, once a guest runs whose end may not wait for who reads it.
    interruptible: OnceLock<Mutex<Output>>,
}

impl Printer {
    /// Looks at what the process was given. Colours are for terminals, unless `NO_COLOR` is set.
    pub fn new() -> Printer {
        let stderr_is_terminal = io::stderr().is_terminal();
        let wanted = env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Printer {
            stdout_is_terminal: io::stdout().is_terminal(),
            colors: stderr_is_terminal && wanted,
            colors_wanted: wanted,
            interruptible: OnceLock::new(),
        }
    }

    /// From here on nothing that is said on standard error waits for its reader once the guest is
    /// interrupted. What does not fit then is lost.
    pub fn never_hold(&self, interrupter: &Interrupter) {
        self.interruptible
            .get_or_init(|| Mutex::new(Output::stderr(interrupter)));
    }

    /// Whether people read standard output.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether standard output takes colours.
    pub fn stdout_colors(&self) -> bool {
        self.stdout_is_terminal && self.colors_wanted
    }

    /// Whether standard error takes colours.
    pub fn colors(&self) -> bool {
        self.colors
    }

    /// Writes text to standard output, as it is.
    ///
    /// # Errors
    /// Those of the write.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes a line to standard error, as it is. Where that fails there is nobody to tell.
    pub fn note(&self, line: &str) {
        let line = format!("{line}\n");
        let _ = match self.interruptible.get() {
            Some(output) => output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(line.as_bytes()),
            None => io::stderr().lock().write_all(line.as_bytes()),
        };
    }

    /// What a parser of the command line says: help and version to standard output, complaints to
    /// standard error.
    ///
    /// # Errors
    /// Those of the write.
    pub fn usage(&self, error: &clap::Error) -> io::Result<()> {
        let text = error.render();
        let (colors, bytes) = match error.use_stderr() {
            true => (self.colors, text.ansi().to_string()),
            false => (
                self.stdout_is_terminal && self.colors,
                text.ansi().to_string(),
            ),
        };
        let bytes = if colors { bytes } else { text.to_string() };
        match error.use_stderr() {
            true => io::stderr().lock().write_all(bytes.as_bytes()),
            false => self.print(&bytes),
        }
    }

    /// Reports what went wrong: `error:`, its causes, and what to do, each on lines of its own.
    pub fn report(&self, error: &Error) {
        let mut text = self.paint("31;1", "error:");
        text.push(' ');
        text.push_str(&escape::lines(&error.to_string()));
        for cause in error.causes() {
            text.push_str(&format!("\n  caused by: {}", escape::lines(&cause)));
        }
        if let Some(hint) = error.hint() {
            text.push('\n');
            text.push_str(&self.hint(&hint));
        }
        self.note(&text);
    }

    /// Says what did not go as it should, though what was asked for was done.
    pub fn warn(&self, text: &str) {
        let warning = self.paint("33;1", "warning:");
        self.note(&format!("{warning} {}", escape::lines(text)));
    }

    /// A line that says what to do.
    pub fn hint(&self, text: &str) -> String {
        format!("{} {}", self.paint("36;1", "hint:"), escape::lines(text))
    }

    /// The text in a colour, given as the numbers of its escape sequence.
    pub fn paint(&self, color: &str, text: &str) -> String {
        match self.colors {
            true => format!("\x1b[{color}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

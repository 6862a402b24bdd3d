//! The shell of `timecraft sql`, typed at on a terminal.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::{Dir, signal};
use crate::terminal::Terminal;

const PROMPT: &str = "timecraft> ";

fn open(dir: &Dir) -> Terminal {
    let mut terminal = Terminal::run(dir, &["sql"]);
    terminal.sees(PROMPT);
    terminal
}

fn leaves(mut terminal: Terminal) {
    terminal.types("\\q\r");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn a_session() {
    let dir = Dir::recorded();
    let mut terminal = open(&dir);
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
    leaves(terminal);
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
    let mut terminal = open(&dir);
    terminal.types("select parent_pr\t");
    terminal.sees("parent_process_id");
    terminal.types(" from processe\t;\r");
    terminal.sees("0 rows, ");
    leaves(terminal);
}

#[test]
fn times_are_local_on_a_terminal() {
    let dir = Dir::recorded();
    let mut terminal = open(&dir);
    terminal.types("select start_time from processes;\r");
    terminal.sees("+03:00 |");
    leaves(terminal);
}

#[test]
fn a_query_can_be_cancelled_and_the_shell_goes_on() {
    let dir = Dir::new();
    let mut terminal = open(&dir);
    terminal.types("select 41 + 1 as n; select sum(a.value * b.value) ");
    terminal.types("from range(10000000) a, range(10000000) b;\r");
    terminal.sees("| 42 |");
    signal(&terminal.child, Signal::INT);
    terminal.sees("error: the query was cancelled");
    terminal.sees(PROMPT);
    terminal.types("select 43 + 1 as n;\r");
    terminal.sees("| 44 |");
    leaves(terminal);
}

#[test]
fn a_terminal_is_no_place_for_bytes() {
    let dir = Dir::new();
    for format in ["parquet", "arrow"] {
        let mut terminal = Terminal::run(&dir, &["sql", "--format", format, "select 1"]);
        terminal.sees("error: ");
        terminal.sees("hint: ");
        assert_eq!(terminal.child.wait().unwrap().code(), Some(2), "{format}");
    }
}

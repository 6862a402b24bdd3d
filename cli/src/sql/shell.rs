//! The interactive shell: a prompt, history, completion of keywords, tables and columns.
//!
//! Reading a line is rustyline's, highlighting and the check whether a statement is whole are
//! datafusion-cli's. Ctrl-C cancels what runs or empties the line; Ctrl-D leaves.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Instant;

use datafusion::config::Dialect;
use datafusion::prelude::SessionContext;
use datafusion_cli::helper::CliHelper;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Editor, Helper};
use timecraft_query::Session;
use tokio::runtime::Runtime;

use super::{SqlError, exec};
use crate::error::Error;
use crate::output::Output;
use crate::printer::Printer;

const HELP: &str = "\
A statement ends with `;`. Commands:
  \\d          list the tables
  \\d TABLE    describe a table
  \\?          this help
  \\q          leave, as does Ctrl-D";

/// Asks for statements until the user leaves. `folder` keeps the history.
///
/// # Errors
/// When the terminal cannot be read; a statement that fails is reported, and the shell goes on.
pub fn shell(
    printer: &Printer,
    runtime: &Runtime,
    session: &Session,
    folder: Option<&Path>,
    parameters: &[(String, String)],
) -> Result<(), SqlError> {
    // As in other shells: what is common to the candidates is filled in, and then they are listed.
    let config = rustyline::Config::builder()
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<ShellHelper, DefaultHistory> =
        Editor::with_config(config).map_err(SqlError::Terminal)?;
    editor.set_helper(Some(ShellHelper {
        inner: CliHelper::new(&Dialect::Generic, printer.colors()),
        words: words(runtime, session.context()),
    }));
    let history = folder.map(|f| f.join("history"));
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    let output = Output::shell(printer);
    loop {
        match editor.readline("timecraft> ") {
            Ok(line) => {
                let line = line.trim();
                if line.is_empty() {
                    continue;
                }
                // A history that cannot grow is no reason to stop.
                let _ = editor.add_history_entry(line);
                let sql = match command(line) {
                    Command::Leave => break,
                    Command::Help => {
                        printer.note(HELP);
                        continue;
                    }
                    Command::Unknown => {
                        printer.note("unknown command; \\? lists them");
                        continue;
                    }
                    Command::Sql(sql) => sql,
                };
                let since = Instant::now();
                let result = exec::parse(session.context(), &sql).and_then(|statements| {
                    let run = exec::run(printer, session, &sql, statements, parameters, &output);
                    runtime.block_on(run)
                });
                match result {
                    Ok(rows) => printer.note(&format!(
                        "{rows} {}, {:.3} s",
                        if rows == 1 { "row" } else { "rows" },
                        since.elapsed().as_secs_f64()
                    )),
                    Err(error) => printer.report(&Error::Sql(error)),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(SqlError::Terminal(error)),
        }
    }
    if let (Some(path), Some(folder)) = (&history, folder) {
        // Losing a history is no failure of what was asked.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let _ = editor.save_history(path);
    }
    Ok(())
}

enum Command {
    Sql(String),
    Help,
    Leave,
    Unknown,
}

fn command(line: &str) -> Command {
    let Some(command) = line.strip_prefix('\\') else {
        return match line.trim_end_matches(';').trim() {
            "quit" | "exit" => Command::Leave,
            _ => Command::Sql(line.to_owned()),
        };
    };
    let mut words = command.split_whitespace();
    match (words.next(), words.next()) {
        (Some("q"), None) => Command::Leave,
        (Some("?"), None) => Command::Help,
        (Some("d"), None) => Command::Sql("show tables".to_owned()),
        (Some("d"), Some(table)) => {
            Command::Sql(format!("describe {}", table.trim_end_matches(';')))
        }
        _ => Command::Unknown,
    }
}

/// What can be completed: keywords, and the names of tables, columns and functions.
fn words(runtime: &Runtime, context: &SessionContext) -> Vec<String> {
    const KEYWORDS: [&str; 24] = [
        "select",
        "from",
        "where",
        "group by",
        "order by",
        "limit",
        "join",
        "on",
        "and",
        "or",
        "not",
        "in",
        "is null",
        "like",
        "between",
        "as",
        "distinct",
        "having",
        "union all",
        "with",
        "case",
        "explain",
        "explain analyze",
        "describe",
    ];
    let mut words: Vec<String> = KEYWORDS.iter().map(|&w| w.to_owned()).collect();
    let state = context.state();
    words.extend(state.scalar_functions().keys().cloned());
    words.extend(state.aggregate_functions().keys().cloned());
    for catalog in context
        .catalog_names()
        .iter()
        .filter_map(|n| context.catalog(n))
    {
        for schema in catalog
            .schema_names()
            .iter()
            .filter_map(|n| catalog.schema(n))
        {
            for name in schema.table_names() {
                if let Ok(Some(table)) = runtime.block_on(schema.table(&name)) {
                    words.extend(table.schema().fields().iter().map(|f| f.name().clone()));
                }
                words.push(name);
            }
        }
    }
    words.sort_unstable();
    words.dedup();
    words
}

struct ShellHelper {
    inner: CliHelper,
    words: Vec<String>,
}

impl Helper for ShellHelper {}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..at).unwrap_or(line);
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let start = before.rfind(|c| !word(c)).map_or(0, |i| {
            i + before[i..].chars().next().map_or(1, char::len_utf8)
        });
        let typed = before[start..].to_lowercase();
        if typed.is_empty() {
            return Ok((at, Vec::new()));
        }
        let found = self.words.iter().filter(|w| w.starts_with(&typed));
        let pairs = found.map(|w| Pair {
            display: w.clone(),
            replacement: w.clone(),
        });
        Ok((start, pairs.collect()))
    }
}

impl Highlighter for ShellHelper {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> std::borrow::Cow<'l, str> {
        self.inner.highlight(line, at)
    }

    fn highlight_char(&self, line: &str, at: usize, kind: CmdKind) -> bool {
        self.inner.highlight_char(line, at, kind)
    }
}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input().trim();
        match command(line) {
            Command::Sql(_) if !line.is_empty() => self.inner.validate(context),
            _ => Ok(ValidationResult::Valid(None)),
        }
    }
}

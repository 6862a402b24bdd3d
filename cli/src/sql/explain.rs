//! What the engine says of a mistake, said to a person: the matter without the engine's own
//! decoration, the place in the query, and what may be meant.

use std::error::Error;
use std::fmt;

use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use timecraft_query::ReadError;

use crate::nearest::nearest;

/// What the engine said. Its causes are ours alone: the engine's own only repeat it.
#[derive(Debug)]
pub struct EngineError {
    error: Box<DataFusionError>,
    /// The line of the query, and a mark under it.
    excerpt: Option<String>,
    /// The table that may be meant.
    table: Option<String>,
}

/// A place in a text: line and column in characters from 1, and how many characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    width: usize,
}

impl EngineError {
    pub(super) fn new(error: DataFusionError) -> EngineError {
        EngineError {
            error: Box::new(error),
            excerpt: None,
            table: None,
        }
    }

    pub(super) fn explained(mut self, context: &SessionContext, sql: &str) -> EngineError {
        self.excerpt = place(&self.error, sql).and_then(|place| excerpt(sql, place));
        self.table = missing_table(&self.error).and_then(|name| {
            let tables = tables(context);
            let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
            nearest(name, &tables).map(str::to_owned)
        });
        self
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let root = root(&self.error);
        if let DataFusionError::External(inner) = root {
            return inner.downcast_ref().and_then(ReadError::hint);
        }
        if let DataFusionError::SchemaError(inner, _) = root
            && let SchemaError::FieldNotFound {
                field,
                valid_fields,
            } = inner.as_ref()
        {
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            return match nearest(&field.name, &names) {
                Some(name) => Some(format!("did you mean `{name}`?")),
                None if names.is_empty() => None,
                None => Some(format!("the columns are: {}", names.join(", "))),
            };
        }
        if let Some(name) = ambiguous(root) {
            let qualified = self.error.diagnostic().map_or_else(Vec::new, candidates);
            return Some(match qualified.as_slice() {
                [] => format!("name its table, as in TABLE.{name}"),
                names => format!("name its table: {}", names.join(" or ")),
            });
        }
        if missing_table(&self.error).is_some() {
            return Some(match &self.table {
                Some(table) => format!("did you mean `{table}`?"),
                None => "`show tables` lists what there is".to_owned(),
            });
        }
        match root {
            DataFusionError::ResourcesExhausted(_) => Some(
                "ask for less at once: filter by process_id or time, or add a limit".to_owned(),
            ),
            _ => asked(&root.strip_backtrace()).map(|text| text.replacen('D', "d", 1)),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&said(&self.error))?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match root(&self.error) {
            DataFusionError::External(inner) => inner.source(),
            _ => None,
        }
    }
}

/// Behind contexts, shared errors and collections, what happened first.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root),
        _ => error,
    }
}

/// The message, without the kind of error before it and without what the hint says.
fn said(error: &DataFusionError) -> String {
    match root(error) {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::SQL(error, _) => {
            let text = error.to_string();
            let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
            format!("the SQL does not parse: {}", split_location(text).0)
        }
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                format!("no column named `{}`", field.flat_name())
            }
            other => match ambiguous(root(error)) {
                Some(name) => format!("more than one table has a column `{name}`"),
                None => other.to_string(),
            },
        },
        other => {
            if let Some(name) = missing_table(other) {
                return format!("no table named `{name}`");
            }
            let text = other.strip_backtrace();
            let text = undecorated(&text);
            let end = asked(text).and_then(|asked| text.find(asked));
            text[..end.unwrap_or(text.len())].trim_end().to_owned()
        }
    }
}

/// The engine puts the kind of error before each, and kinds into each other.
fn undecorated(mut text: &str) -> &str {
    const KINDS: [&str; 7] = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "Invalid argument error: ",
    ];
    while let Some(rest) = KINDS.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest;
    }
    text
}

/// The engine's own proposal, at the end of some messages.
fn asked(text: &str) -> Option<&str> {
    let (_, proposal) = text.split_once("\nDid you mean ")?;
    text.get(text.len() - proposal.len() - "Did you mean ".len()..)
}

/// The name of a table that there is not, without the names that it has by default.
fn missing_table(error: &DataFusionError) -> Option<&str> {
    let DataFusionError::Plan(text) = root(error) else {
        return None;
    };
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    Some(name.strip_prefix("timecraft.public.").unwrap_or(name))
}

/// The column that stands without its table, and that several have.
///
/// The engine knows no better than that of a column of `join ... using`, in its `where` only.
fn ambiguous(root: &DataFusionError) -> Option<&str> {
    match root {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::AmbiguousReference { field } => Some(&field.name),
            _ => None,
        },
        _ => None,
    }
}

/// The columns that the engine would have taken, each with its table.
fn candidates(diagnostic: &Diagnostic) -> Vec<String> {
    let notes = diagnostic.notes.iter();
    let names = notes.filter_map(|note| note.message.strip_prefix("possible column "));
    names.map(|name| format!("`{name}`")).collect()
}

fn tables(context: &SessionContext) -> Vec<String> {
    let names = context.catalog_names();
    let catalogs = names.iter().filter_map(|name| context.catalog(name));
    let of_catalog = catalogs.flat_map(|catalog| {
        let schemas: Vec<_> = catalog
            .schema_names()
            .iter()
            .filter_map(|name| catalog.schema(name))
            .collect();
        schemas
    });
    of_catalog.flat_map(|schema| schema.table_names()).collect()
}

/// Where in the query it went wrong, as far as the engine knows.
fn place(error: &DataFusionError, sql: &str) -> Option<Place> {
    if let DataFusionError::SQL(error, _) = root(error) {
        let text = error.to_string();
        return split_location(&text)
            .1
            .or_else(|| text.ends_with("found: EOF").then(|| end(sql))?);
    }
    let span = error.diagnostic()?.span?;
    let (line, column) = (span.start.line as usize, span.start.column as usize);
    let width = match span.end.line == span.start.line {
        true => (span.end.column as usize).saturating_sub(column),
        false => 1,
    };
    Some(Place {
        line,
        column,
        width: width.max(1),
    })
}

/// Behind the last character that means something.
fn end(text: &str) -> Option<Place> {
    let (number, line) = text.trim_end().lines().enumerate().last()?;
    Some(Place {
        line: number + 1,
        column: line.chars().count() + 1,
        width: 1,
    })
}

/// A message of the parser, and the place that stands at its end.
fn split_location(text: &str) -> (&str, Option<Place>) {
    let parts = || {
        let (message, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let place = Place {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
            width: 1,
        };
        Some((message, Some(place)))
    };
    parts().unwrap_or((text, None))
}

/// The line of the text with a mark under the place, as compilers have it; none where the place is
/// not in the text.
fn excerpt(text: &str, place: Place) -> Option<String> {
    /// Characters that are shown before and after the place, where a line is long.
    const BEFORE: usize = 60;
    const AFTER: usize = 40;
    let line: Vec<char> = text
        .lines()
        .nth(place.line.checked_sub(1)?)?
        .chars()
        .collect();
    let at = place.column.checked_sub(1).filter(|at| *at <= line.len())?;
    let end = (at + place.width).min(line.len()).max(at + 1);
    let (from, to) = (
        at.saturating_sub(BEFORE),
        (end.saturating_add(AFTER)).min(line.len()),
    );
    let shown: String = line[from..to]
        .iter()
        .map(|c| if *c == '\t' { ' ' } else { *c })
        .collect();
    let before = if from > 0 { "... " } else { "" };
    let after = if to < line.len() { " ..." } else { "" };
    let number = place.line.to_string();
    let margin = number.len();
    let indent = before.len() + at - from;
    let marks = "^".repeat(end - at);
    Some(format!(
        "{0:margin$} |\n{number} | {before}{shown}{after}\n{0:margin$} | {0:indent$}{marks}",
        "",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_excerpt_marks_the_place() {
        let place = Place {
            line: 2,
            column: 8,
            width: 3,
        };
        let text = excerpt("-- one\nselect foo\nfrom x", place).unwrap();
        assert_eq!(text, "  |\n2 | select foo\n  |        ^^^");
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        let place = Place {
            line: 1,
            column: 7,
            width: 5,
        };
        assert_eq!(
            excerpt("select", place).unwrap(),
            "  |\n1 | select\n  |       ^"
        );
        for place in [
            Place { line: 0, ..place },
            Place { line: 2, ..place },
            Place { column: 9, ..place },
            Place { column: 0, ..place },
        ] {
            assert_eq!(excerpt("select", place), None);
        }
    }

    #[test]
    fn a_text_may_end_too_early() {
        let place = end("select\n  (1\n\n").unwrap();
        assert_eq!((place.line, place.column), (2, 5));
        assert_eq!(end(" \n"), None);
    }

    #[test]
    fn of_a_long_line_a_part_is_shown() {
        let line = "x".repeat(500);
        let place = Place {
            line: 1,
            column: 251,
            width: 2,
        };
        let text = excerpt(&line, place).unwrap();
        let mut lines = text.lines().skip(1);
        let (shown, mark) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(shown.starts_with("1 | ... xxx") && shown.ends_with("xxx ..."));
        assert_eq!(mark.find('^'), Some(4 + 4 + 60));
    }

    #[test]
    fn the_parser_says_where() {
        let place = Place {
            line: 3,
            column: 14,
            width: 1,
        };
        let text = "Expected: end of statement, found: m at Line: 3, Column: 14";
        assert_eq!(
            split_location(text),
            ("Expected: end of statement, found: m", Some(place))
        );
        assert_eq!(split_location("found: EOF"), ("found: EOF", None));
    }

    #[test]
    fn the_engines_proposal_becomes_the_hint() {
        let error = EngineError::new(DataFusionError::Plan(
            "Invalid function 'foo'.\nDid you mean 'floor'?".to_owned(),
        ));
        assert_eq!(error.to_string(), "Invalid function 'foo'.");
        assert_eq!(error.hint().as_deref(), Some("did you mean 'floor'?"));
    }
}

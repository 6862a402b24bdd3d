//! SQL over recordings that the tests make: the files in `slt`, and what SQL text cannot say.
//!
//! `TIMECRAFT_BLESS=1 cargo test -p timecraft-query` writes the results of the `.slt` files anew.
#![allow(clippy::unwrap_used)]

mod damage;
mod file_recordings;
mod functions_any;
mod guest;
mod parameters;
mod point;
mod pruning;
mod recordings;
mod reference;
mod slt;
mod socket_recordings;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use timecraft_query::{Session, SessionOptions};
use timecraft_segment::Registry;

/// A session that works in four partitions, whatever the machine.
fn session(registry: &Registry) -> Session {
    let mut options = SessionOptions::new(registry.clone());
    options.target_partitions = std::num::NonZeroUsize::new(4);
    Session::new(options).unwrap()
}

async fn query(session: &Session, sql: &str) -> Vec<RecordBatch> {
    session
        .context()
        .sql(sql)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap()
}

/// The result as text, one line a row, columns separated by `|`.
async fn text(session: &Session, sql: &str) -> Vec<String> {
    let table = pretty_format_batches(&query(session, sql).await)
        .unwrap()
        .to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("|")
    })
    .collect()
}

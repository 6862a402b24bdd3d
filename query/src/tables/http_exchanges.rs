//! The table `http_exchanges`: one row for each HTTP request with its response, of any version, those
//! in flight included.

mod columns;
mod values;

use timecraft_udfs::http::Http;

use super::conversations;
use super::sockets;
use crate::scan::output::{Output, Step};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The most bytes of a body that a row has, decoded.
pub(super) const BODY: usize = 1 << 20;

/// The table.
#[derive(Debug)]
pub(crate) struct HttpExchanges;

impl Table for HttpExchanges {
    fn name(&self) -> &'static str {
        "http_exchanges"
    }

    fn description(&self) -> &'static str {
        "An HTTP request with its response"
    }

    fn columns(&self) -> Vec<Column> {
        columns::all().map(|(column, _)| column).collect()
    }

    fn rows_guessed(&self) -> usize {
        1_000
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let body = if columns::all()
            .any(|(column, _)| columns::is_of_bodies(column.name) && scan.wants(column.name))
        {
            BODY
        } else {
            0
        };
        let columns = |process: &_, rows: &_| columns::make(process, scan, rows);
        conversations::rows::<Http>(process, scan, out, body, first, columns)
    }
}

/// What is known of an exchange from the chunk in which it begins.
fn first(column: &str) -> &str {
    match column {
        "request_time" => "time",
        _ => sockets::call(column),
    }
}

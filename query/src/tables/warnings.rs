//! The table `warnings`: one row for each oddity that decoding met, by a name of its own, as Zeek's
//! weirds.

use arrow::array::ArrayRef;
use timecraft_segment::snapshot::Snapshot;
use timecraft_udfs::connections::{Connection, Event};
use timecraft_udfs::dns::Dns;
use timecraft_udfs::http::Http;
use timecraft_udfs::protocol::Odd;

use super::call_columns::longs;
use super::connections::{process_ids, texts};
use super::conversations::Oddities;
use super::sockets::{self, Meant, Waiting, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct Warnings;

impl Table for Warnings {
    fn name(&self) -> &'static str {
        "warnings"
    }

    fn description(&self) -> &'static str {
        "An oddity, named, as Zeek's weirds"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process in whose calls it was."),
            Column::long("connection", "The connection, as in connections."),
            Column::long(
                "record_offset",
                "The record that shows it; where records are missing the one after them.",
            ),
            Column::time("time", "When the guest entered the host with it."),
            Column::text(
                "protocol",
                "The protocol in which it is odd; null for the socket itself.",
            )
            .nullable(),
            Column::text(
                "name",
                "What: records_missing, datagram_truncated, peers_dropped, tls_malformed, \
                 tls_not_followed; of dns_messages dns_malformed, dns_name_loop, dns_name_malformed, \
                 dns_data_malformed, dns_counts_wrong, dns_trailing_bytes, dns_several_questions, \
                 dns_no_question, dns_several_opts, dns_reserved_bit, dns_text_cut, \
                 dns_unexpected_response, dns_question_mismatch, dns_id_mismatch, \
                 dns_repeated_response, dns_repeated_query, dns_stream_cut, dns_not_followed; of \
                 http_exchanges those that begin with http_ and http2_.",
            ),
            Column::text("detail", "More about it.").nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        10
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let wants = Wants {
            content: true,
            late: true,
            name: sockets::call,
        };
        let mut dns = Oddities::<Dns>::new();
        let mut http = Oddities::<Http>::new();
        let mut rows = Waiting::new(process, columns);
        let give = |meant: Meant<'_>, out: &mut Output<'_>| {
            for event in meant.events.iter() {
                if let Event::Warning(warning) = event {
                    let bytes = warning.detail.len();
                    let row = Row {
                        connection: warning.connection,
                        offset: meant.from.offset,
                        time_ns: meant.from.start,
                        protocol: warning.oddity.protocol(),
                        name: warning.oddity.name(),
                        detail: warning.detail.clone(),
                    };
                    rows.push(row, bytes, out)?;
                }
            }
            let mut give = |connection: &Connection, odd: Odd| {
                let bytes = odd.detail.len();
                rows.push(of(connection, odd), bytes, out)
            };
            dns.apply(&meant, &mut give)?;
            http.apply(&meant, give)
        };
        sockets::follow(process, scan, out, wants, give, |_, _| Ok(()))?;
        rows.flush(out)
    }
}

struct Row {
    connection: u64,
    offset: u64,
    time_ns: u64,
    protocol: Option<&'static str>,
    name: &'static str,
    detail: String,
}

/// The row of what the decoder of a protocol found.
fn of(connection: &Connection, odd: Odd) -> Row {
    Row {
        connection: connection.id,
        offset: odd.at.offset,
        time_ns: odd.at.time_ns,
        protocol: Some(odd.protocol),
        name: odd.name,
        detail: odd.detail,
    }
}

fn columns(process: &Snapshot, rows: &[Row]) -> Step<Vec<ArrayRef>> {
    let details = rows.iter().map(|row| row.detail.as_str());
    Ok(vec![
        process_ids(process, rows.len())?,
        longs(rows.iter().map(|row| long(row.connection))),
        longs(rows.iter().map(|row| long(row.offset))),
        times(rows.iter().map(|row| moment(process, row.time_ns))),
        texts(rows.iter().map(|row| row.protocol)),
        texts(rows.iter().map(|row| Some(row.name))),
        texts(details.map(|detail| Some(detail).filter(|text| !text.is_empty()))),
    ])
}

//! The table `socket_data`: one row for each call that sent or received something over a socket, with
//! its bytes. They are read last, of chunks that have rows which passed all else.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::{Calls, Projection};
use timecraft_udfs::connections::{Data, Event, payload};

use super::call_columns::longs;
use super::connections::{addresses, ports, process_ids, texts};
use super::late::{Late, LateRows};
use super::sockets::{self, Wants, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table};

/// The table.
#[derive(Debug)]
pub(crate) struct SocketData;

/// The columns, by their places.
const PROCESS_ID: usize = 0;
const CONNECTION: usize = 1;
const RECORD_OFFSET: usize = 2;
const TIME: usize = 3;
const ELAPSED_NS: usize = 4;
const DIRECTION: usize = 5;
const POSITION: usize = 6;
const SIZE: usize = 7;
const PAYLOAD: usize = 8;
const PEER_ADDRESS: usize = 9;
const PEER_PORT: usize = 10;

impl Table for SocketData {
    fn name(&self) -> &'static str {
        "socket_data"
    }

    fn description(&self) -> &'static str {
        "One send or receive over a socket"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text("process_id", "The process that sent or received."),
            Column::long("connection", "The connection, as in connections."),
            Column::long("record_offset", "The record of the call."),
            Column::time("time", "When the guest entered the host."),
            Column::long(
                "elapsed_ns",
                "The same, in nanoseconds since the process started.",
            ),
            Column::text("direction", "sent or received, as the guest sees it."),
            Column::long(
                "position",
                "How many bytes went before the first one over the connection the same way.",
            ),
            Column::long(
                "size",
                "How many bytes the host took or the guest was given.",
            ),
            Column::new(
                "payload",
                DataType::Binary,
                "The bytes: of TLS that the host does the clear text.",
            ),
            Column::text(
                "peer_address",
                "The other side's address; of a Unix socket unix: and its path.",
            )
            .nullable(),
            Column::int("peer_port", "The other side's port.").nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        10_000
    }

    fn is_costly(&self, column: usize) -> bool {
        column == PAYLOAD
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        let wants = Wants {
            content: false,
            late: false,
            name: sockets::call,
        };
        let rows = RefCell::new(Vec::new());
        let give = |meant: sockets::Meant<'_>, _: &mut Output<'_>| {
            let from = meant.from;
            let data = meant.events.drain(..).filter_map(|event| match event {
                Event::Data(data) => Some(Place { from, data }),
                _ => None,
            });
            rows.borrow_mut().extend(data);
            Ok(())
        };
        let done = |seen: sockets::Seen<'_>, out: &mut Output<'_>| {
            let rows = rows.take();
            if rows.is_empty() {
                return Ok(());
            }
            let late = Late {
                process,
                chunk: seen.chunk,
                rows: Transfers { process, rows },
                calls: seen.columns.has(Projection::PAYLOAD).then_some(seen.calls),
            };
            late.hand_out(scan, out)
        };
        sockets::follow(process, scan, out, wants, give, done)?;
        Ok(())
    }
}

/// A row without its bytes.
struct Place {
    from: sockets::From,
    data: Data,
}

/// The sends and receives of a chunk.
struct Transfers<'a> {
    process: &'a Snapshot,
    rows: Vec<Place>,
}

impl LateRows for Transfers<'_> {
    const PAYLOAD: usize = PAYLOAD;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn size(&self, row: usize) -> u64 {
        self.rows[row].data.size
    }

    fn column(&self, column: usize, rows: &[usize], calls: Option<&Calls>) -> Step<ArrayRef> {
        let rows = rows.iter().map(|&row| &self.rows[row]);
        Ok(match column {
            PROCESS_ID => process_ids(self.process, rows.len())?,
            CONNECTION => longs(rows.map(|row| long(row.data.connection))),
            RECORD_OFFSET => longs(rows.map(|row| long(row.from.offset))),
            TIME => times(rows.map(|row| moment(self.process, row.from.start))),
            ELAPSED_NS => longs(rows.map(|row| long(row.from.start))),
            DIRECTION => texts(rows.map(|row| Some(row.data.direction.name()))),
            POSITION => longs(rows.map(|row| long(row.data.position))),
            SIZE => longs(rows.map(|row| long(row.data.size))),
            PAYLOAD => match calls {
                Some(calls) => {
                    let mut bytes = BinaryBuilder::new();
                    for row in rows {
                        let record = calls.get(row.from.at);
                        let content = record.map(|record| payload(&record, row.data.size));
                        bytes.append_value(content.unwrap_or_default());
                    }
                    Arc::new(bytes.finish())
                }
                None => return Ok(internal_err!("a chunk's payloads were not read")?),
            },
            PEER_ADDRESS => addresses(rows.map(|row| row.data.peer.as_ref())),
            PEER_PORT => ports(rows.map(|row| row.data.peer.as_ref())),
            _ => return Ok(internal_err!("socket_data has no column {column}")?),
        })
    }
}

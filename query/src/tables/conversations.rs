//! The rows of the tables that are made of what a protocol's decoder found.
//!
//! Each connection has a decoder of its own; what they find is rows, in the order in which nothing more
//! is known of them, and at the end what is in flight. It must not know any protocol.

use arrow::array::ArrayRef;
use timecraft_segment::snapshot::Snapshot;
use timecraft_udfs::connections::Connection;
use timecraft_udfs::conversations::Conversations;
use timecraft_udfs::protocol::{At, Decoder, Found, Odd, Room};

use super::sockets::{self, Meant, Waiting, Wants};
use crate::scan::Scan;
use crate::scan::output::{Output, Step};

/// The most bytes that are kept of all bodies of a process that are open at once.
const TOGETHER: usize = 256 << 20;

/// What a decoder found, and on which connection.
pub(super) struct Said<R> {
    /// The connection as it was then.
    pub(super) connection: Connection,
    pub(super) row: R,
}

/// The rows of a process. Of a body at most `body` bytes are kept. `name` is as in [`Wants`].
pub(super) fn rows<D: Decoder>(
    process: &Snapshot,
    scan: &Scan,
    out: &mut Output<'_>,
    body: usize,
    name: fn(&str) -> &str,
    columns: impl Fn(&Snapshot, &[Said<D::Row>]) -> Step<Vec<ArrayRef>>,
) -> Step {
    let wants = Wants {
        content: true,
        late: true,
        name,
    };
    let mut conversations = Conversations::<D>::new(Room::new(body, TOGETHER));
    let mut rows = Waiting::new(process, columns);
    let give = |meant: Meant<'_>, out: &mut Output<'_>| {
        conversations.apply(
            at(&meant),
            meant.record,
            meant.events,
            meant.connections,
            |connection, found| match found {
                Found::Row(row) => {
                    let bytes = D::size(&row);
                    rows.push(said(connection, row), bytes, out)
                }
                Found::Odd(_) => Ok(()),
            },
        )
    };
    let end = sockets::follow(process, scan, out, wants, give, |_, _| Ok(()))?;
    for (connection, row) in conversations.in_flight(&end) {
        let bytes = D::size(&row);
        rows.push(said(connection, row), bytes, out)?;
    }
    rows.flush(out)
}

/// What a decoder finds odd.
pub(super) struct Oddities<D>(Conversations<D>);

impl<D: Decoder> Oddities<D> {
    /// Bodies say nothing of what is odd, so none is kept.
    pub(super) fn new() -> Oddities<D> {
        Oddities(Conversations::new(Room::new(0, TOGETHER)))
    }

    /// Takes what a record meant.
    pub(super) fn apply(
        &mut self,
        meant: &Meant<'_>,
        mut give: impl FnMut(&Connection, Odd) -> Step,
    ) -> Step {
        self.0.apply(
            at(meant),
            meant.record,
            meant.events,
            meant.connections,
            |connection, found| match found {
                Found::Odd(odd) => give(connection, odd),
                Found::Row(_) => Ok(()),
            },
        )
    }
}

fn at(meant: &Meant<'_>) -> At {
    let took = meant.record.map_or(0, |record| record.duration_ns);
    At {
        offset: meant.from.offset,
        time_ns: meant.from.start,
        end_ns: meant.from.start.saturating_add(took),
    }
}

fn said<R>(connection: &Connection, row: R) -> Said<R> {
    Said {
        connection: connection.clone(),
        row,
    }
}

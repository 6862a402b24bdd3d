//! Queries of DNS with their responses, for the command that shows them.
//!
//! [`Pairs`] is told what records meant and gives each query once its response is there, or cannot come
//! any more; [`text`] and [`json`] write them.

pub mod json;
pub mod text;

use std::collections::BTreeMap;
use std::convert::Infallible;

use timecraft_segment::socket::{Address, Transport};
use timecraft_udfs::connections::{Connection, Event};
use timecraft_udfs::conversations::Conversations;
use timecraft_udfs::dns::{Dns, Record, Row};
use timecraft_udfs::protocol::{At, Direction, Found, Room};

use super::walk::Meant;

/// The most queries that wait for their responses; of more the oldest is given without one.
const MAX_WAITING: usize = 65_536;
/// The most bytes that are kept of messages that came in part.
const ROOM: usize = 64 << 20;

/// A query with its response, or one of them alone.
#[derive(Debug, Default)]
pub struct Pair {
    pub connection: u64,
    pub transport: Option<Transport>,
    /// Who asks.
    pub client: Option<Address>,
    /// Who answers.
    pub server: Option<Address>,
    pub query: Option<Row>,
    pub response: Option<Row>,
}

impl Pair {
    fn new(connection: &Connection, row: &Row) -> Pair {
        let asks = match answers(row) {
            true => row.direction == Direction::Received,
            false => row.direction == Direction::Sent,
        };
        let (guest, peer) = (connection.local.clone(), connection.peer.clone());
        let (client, server) = if asks { (guest, peer) } else { (peer, guest) };
        Pair {
            connection: connection.id,
            transport: connection.transport,
            client,
            server,
            ..Pair::default()
        }
    }

    /// The messages, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.query.iter().chain(&self.response)
    }

    /// The record that the first of them begins in.
    pub fn at(&self) -> At {
        self.rows().next().map_or(At::default(), |row| row.at)
    }

    /// What was asked for.
    pub fn question(&self) -> Option<Record<'_>> {
        self.rows().find_map(|row| row.message.question())
    }

    /// The name of the response code; none where there is no response that says it.
    pub fn rcode(&self) -> Option<String> {
        let response = &self.response.as_ref()?.message;
        response
            .has_header()
            .then(|| response.rcode_name().into_owned())
    }
}

/// Whether it is a response. Of what does not say so, what the guest received is taken for one.
fn answers(row: &Row) -> bool {
    match row.message.has_header() {
        true => row.message.header.response(),
        false => row.direction == Direction::Received,
    }
}

/// The queries that wait, by the order in which they came.
pub struct Pairs {
    conversations: Conversations<Dns>,
    waiting: BTreeMap<u64, Pair>,
    count: u64,
    last: At,
}

impl Pairs {
    pub fn new() -> Pairs {
        Pairs {
            conversations: Conversations::new(Room::new(0, ROOM)),
            waiting: BTreeMap::new(),
            count: 0,
            last: At::default(),
        }
    }

    /// Takes what a record meant, and returns what is complete with it.
    pub fn apply(&mut self, meant: &Meant<'_>) -> Vec<Pair> {
        if let Some(record) = meant.record {
            self.last = At {
                offset: record.offset.0,
                time_ns: record.start.0,
                end_ns: record.start.0.saturating_add(record.duration_ns),
            };
        }
        let mut rows = Vec::new();
        let Ok(()) = self.conversations.apply(
            self.last,
            meant.record,
            meant.events,
            meant.decoder,
            |connection, found| {
                // What is odd stands in the rows too.
                if let Found::Row(row) = found {
                    rows.push((Pair::new(connection, &row), row));
                }
                Ok::<(), Infallible>(())
            },
        );
        let mut out = Vec::new();
        for (pair, row) in rows {
            out.extend(match answers(&row) {
                true => self.answer(pair, row),
                false => self.ask(pair, row),
            });
        }
        for event in meant.events {
            if let Event::Closed(connection) = event {
                let ended = |_: &u64, pair: &mut Pair| pair.connection == connection.id;
                out.extend(self.waiting.extract_if(.., ended).map(|(_, pair)| pair));
            }
        }
        out
    }

    fn ask(&mut self, pair: Pair, row: Row) -> Option<Pair> {
        let query = Some(row);
        self.waiting.insert(self.count, Pair { query, ..pair });
        self.count += 1;
        match self.waiting.len() > MAX_WAITING {
            true => self.waiting.pop_first().map(|(_, oldest)| oldest),
            false => None,
        }
    }

    fn answer(&mut self, pair: Pair, row: Row) -> Option<Pair> {
        let is_it = |asked: &Pair| {
            asked.connection == pair.connection
                && asked.query.as_ref().is_some_and(|query| {
                    Some(query.at.offset) == row.query
                        && query.message.header.id == row.message.header.id
                })
        };
        let of = row.query.and_then(|_| {
            let mut waiting = self.waiting.iter();
            waiting.find(|(_, asked)| is_it(asked)).map(|(&key, _)| key)
        });
        let asked = of.and_then(|key| self.waiting.remove(&key));
        Some(Pair {
            response: Some(row),
            ..asked.unwrap_or(pair)
        })
    }

    /// The queries that nobody has answered.
    pub fn finish(&mut self) -> impl Iterator<Item = Pair> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

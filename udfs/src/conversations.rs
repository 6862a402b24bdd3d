//! The decoders of a protocol on all connections of a process, one each.
//!
//! [`Conversations`] takes what [`Connections`] said of a record and hands each decoder its bytes. It
//! must not know any protocol.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timecraft_segment::Record;

use crate::connections::{Connection, Connections, Direction, Event, State, payload};
use crate::protocol::{At, Decoder, Found, Opening, Piece, Room};
use crate::state::{self, StateError};

/// The decoders of the connections that are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "D: DeserializeOwned"))]
pub struct Conversations<D> {
    /// None for a connection that speaks something else.
    open: BTreeMap<u64, Option<D>>,
    room: Room,
}

impl<D: Decoder> Conversations<D> {
    /// Before the first record of a process.
    #[must_use]
    pub fn new(room: Room) -> Conversations<D> {
        Conversations {
            open: BTreeMap::new(),
            room,
        }
    }

    /// The state as JSON, with the version of the decoder.
    ///
    /// # Errors
    /// None that a state of this type can cause; the encoder has them.
    pub fn save(&self) -> Result<Vec<u8>, StateError> {
        state::save(D::VERSION, self)
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// When it is of another version or is none.
    pub fn restore(saved: &[u8]) -> Result<Conversations<D>, StateError> {
        state::restore(D::VERSION, saved)
    }

    /// Takes what a record meant, in the order of the offsets, and gives what was found with its
    /// connection. `connections` is the decoder that gave the events, after it gave them. Where records
    /// are missing there is no record, and `at` is the first one after them.
    ///
    /// # Errors
    /// What `give` returned. What else the record meant is not given then.
    pub fn apply<E>(
        &mut self,
        at: At,
        record: Option<&Record<'_>>,
        events: &[Event],
        connections: &Connections,
        mut give: impl FnMut(&Connection, Found<D::Row>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = Vec::new();
        for event in events {
            match event {
                Event::Data(data) => {
                    let Some(connection) = find(data.connection, data.fd, events, connections)
                    else {
                        continue;
                    };
                    let decoder = self
                        .open
                        .entry(connection.id)
                        .or_insert_with(|| D::begin(opening(connection)));
                    if let (Some(record), Some(decoder)) = (record, decoder)
                        && decoder.wants(data.direction)
                    {
                        let bytes = payload(record, data.size);
                        let piece = Piece {
                            at,
                            direction: data.direction,
                            bytes: &bytes,
                        };
                        decoder.data(piece, &mut self.room, &mut out);
                    }
                    out.drain(..)
                        .try_for_each(|found| give(connection, found))?;
                }
                Event::End(end) => {
                    let known = self.open.get_mut(&end.connection).and_then(Option::as_mut);
                    if let Some(decoder) = known
                        && let Some(connection) = find(end.connection, end.fd, events, connections)
                    {
                        decoder.end(end.direction, at, &mut self.room, &mut out);
                        out.drain(..)
                            .try_for_each(|found| give(connection, found))?;
                    }
                }
                Event::Closed(connection) => {
                    if let Some(mut decoder) = self.open.remove(&connection.id).flatten() {
                        if connection.state() == State::Sf {
                            // The guest closed it, and with that ended what it sent.
                            decoder.end(Direction::Sent, at, &mut self.room, &mut out);
                        }
                        decoder.close(at, &mut self.room, &mut out);
                        out.drain(..)
                            .try_for_each(|found| give(connection, found))?;
                    }
                }
                Event::Call(_) | Event::Lookup(_) | Event::Tls(_) | Event::Warning(_) => {}
            }
        }
        Ok(())
    }

    /// The rows of what is in flight, with their connections.
    pub fn in_flight<'a>(
        &'a self,
        connections: &'a Connections,
    ) -> impl Iterator<Item = (&'a Connection, D::Row)> {
        connections.open().flat_map(|connection| {
            let decoder = self.open.get(&connection.id).and_then(Option::as_ref);
            let rows = decoder.map(D::in_flight).unwrap_or_default();
            rows.into_iter().map(move |row| (connection, row))
        })
    }
}

/// A connection that one of the events is about: open still, or closed by them.
fn find<'a>(
    id: u64,
    fd: u32,
    events: &'a [Event],
    connections: &'a Connections,
) -> Option<&'a Connection> {
    let open = connections.of_descriptor(fd).find(|c| c.id == id);
    open.or_else(|| {
        events.iter().find_map(|event| match event {
            Event::Closed(connection) if connection.id == id => Some(connection),
            _ => None,
        })
    })
}

fn opening(connection: &Connection) -> Opening<'_> {
    Opening {
        transport: connection.transport,
        local: connection.local.as_ref(),
        peer: connection.peer.as_ref(),
        midstream: connection.is_midstream(),
    }
}

//! What a connection says of names: the decoder of DNS, as long as it can still be DNS.

use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::event::{Direction, Event};
use super::names::Names;
use super::streams::Protocol;
use crate::dns::{AddressQuestion, Dns};
use crate::protocol::{At, Decoder, Found, Opening, Piece, Room};

/// Whether it is DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asks {
    /// No byte has gone yet.
    #[default]
    Unknown,
    /// It may be.
    Maybe(Box<Dns>),
    /// It is not, or is not followed.
    No,
}

impl Asks {
    /// Whether the bytes that go next can matter.
    pub(super) fn wants(&mut self, connection: &Connection, direction: Direction) -> bool {
        if *self == Asks::Unknown {
            let opening = Opening {
                transport: connection.transport,
                local: connection.local.as_ref(),
                peer: connection.peer.as_ref(),
                midstream: connection.is_midstream(),
            };
            *self = Dns::begin(opening).map_or(Asks::No, |dns| Asks::Maybe(Box::new(dns)));
        }
        matches!(self, Asks::Maybe(dns) if dns.wants(direction))
    }

    /// Takes the next bytes.
    pub(super) fn data(
        &mut self,
        piece: Piece<'_>,
        connection: &mut Connection,
        room: &mut Room,
        names: &mut Names,
        out: &mut Vec<Event>,
    ) {
        let Asks::Maybe(dns) = self else {
            return;
        };
        let mut found = Vec::new();
        dns.data(piece, room, &mut found);
        if dns.is_known() {
            connection.protocol.get_or_insert(Protocol::Dns);
        }
        if !dns.wants(Direction::Sent) && !dns.wants(Direction::Received) {
            self.give_up(room);
        }
        for found in found {
            let Found::Row(row) = found else {
                continue;
            };
            match (AddressQuestion::of(&row.message), row.direction) {
                (Some(asked), Direction::Sent) => names.ask(asked, connection.id, row.at, out),
                (Some(asked), Direction::Received) => {
                    names.answer(asked, connection.id, row.end, out);
                }
                (None, _) => {}
            }
        }
    }

    /// Nothing more of it is wanted.
    pub(super) fn give_up(&mut self, room: &mut Room) {
        if let Asks::Maybe(dns) = std::mem::replace(self, Asks::No) {
            // What it may still find is a message that is cut, which says nothing of names.
            dns.close(At::default(), room, &mut Vec::new());
        }
    }
}

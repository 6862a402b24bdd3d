//! Messages within one direction of a stream.

use serde::{Deserialize, Serialize};

use super::grpc::Grpc;
use super::stream::Part;
use crate::http::Messages;
use crate::http::events::Events;
use crate::http::websocket::{Frames, Masked};

/// What the content is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Within {
    Grpc(Grpc),
    /// WebSocket: RFC 8441.
    Frames(Frames),
    /// `text/event-stream`.
    Events(Events),
    /// WebSocket, of which nothing more can be read.
    Broken,
}

/// What was wrong with frames of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// They are read all the same.
    Odd,
    /// Where the next one begins is not known.
    Broken,
}

impl Within {
    /// Takes the next bytes, and counts what they end.
    pub(super) fn take(
        &mut self,
        part: Part,
        bytes: &[u8],
        messages: &mut Messages,
    ) -> Result<(), Wrong> {
        let mut wrong = Ok(());
        let (count, size) = match self {
            Within::Grpc(grpc) => grpc.take(bytes),
            Within::Events(events) => events.take(bytes),
            Within::Frames(frames) => {
                let masked = match part {
                    Part::Request => Masked::Yes,
                    Part::Response => Masked::No,
                };
                let said = frames.take(bytes, masked);
                if said.odd {
                    wrong = Err(Wrong::Odd);
                }
                if said.broken.is_some() {
                    wrong = Err(Wrong::Broken);
                    *self = Within::Broken;
                }
                (said.messages, said.bytes)
            }
            Within::Broken => (0, 0),
        };
        let (counted, sized) = match part {
            Part::Request => (&mut messages.client_count, &mut messages.client_bytes),
            Part::Response => (&mut messages.server_count, &mut messages.server_bytes),
        };
        *counted += count;
        *sized = sized.saturating_add(size);
        wrong
    }

    /// Whether a message of gRPC has begun and not ended.
    pub(super) fn cut(&self) -> bool {
        matches!(self, Within::Grpc(grpc) if grpc.open())
    }
}

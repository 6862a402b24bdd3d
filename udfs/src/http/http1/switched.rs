//! Connections that go on with something else: tunnels, and Upgrade (RFC 9110, section 7.8).

use super::pipeline::Part;
use super::{Http1, MAX_HEAD, Mode, Role};
use crate::connections::Direction;
use crate::http::websocket::{Frames, Masked};
use crate::http::{Exchange, Informational, Messages, Oddity};
use crate::protocol::{At, Found, Room};

impl Http1 {
    /// The response is read that switches to a protocol.
    pub(super) fn switch(
        &mut self,
        at: At,
        protocol: Option<String>,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let (Some(client), Some(mut open)) = (self.client, self.pipeline.switch()) else {
            return;
        };
        if open.asked == Part::Begun {
            open.asked = Part::Cut;
        }
        if let Some(response) = &mut open.exchange.response {
            response.end = Some(at);
        }
        let names = protocol.as_deref().unwrap_or_default();
        let named = |wanted| names.split(',').any(|name| name.trim() == wanted);
        let (websocket, h2) = (named("websocket"), named("h2c"));
        open.exchange.upgrade = protocol;
        if h2 {
            // The response is still to come, on stream 1: RFC 7540, section 3.2.
            let begun = open.exchange.response.take();
            open.exchange
                .informational
                .extend(begun.map(|response| Informational {
                    at: response.at,
                    status: response.status,
                }));
            self.upgraded = Some(Box::new(open.exchange));
            return;
        }
        let mode = || match websocket {
            true => Mode::Frames(Frames::default()),
            false => Mode::Opaque,
        };
        let fresh = matches!(
            self.side(client).mode,
            Mode::Start | Mode::Skip { .. } | Mode::Waiting
        );
        self.side_mut(client).mode = mode();
        self.side_mut(client.opposite()).mode = mode();
        if websocket {
            open.exchange.messages = Some(Messages::default());
            self.switched = Some(open);
        } else {
            open.answered = Part::Done;
            open.give(room, out);
        }
        match fresh {
            true => self.again(client, room, out),
            false => self.side_mut(client).held.clear(),
        }
    }

    /// The tunnel was refused: what the client said meanwhile are more requests.
    pub(super) fn resume(
        &mut self,
        client: Direction,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let side = self.side_mut(client);
        if side.mode == Mode::Waiting {
            side.mode = Mode::Start;
            self.again(client, room, out);
        }
    }

    /// Reads what was held, now that it is known what it is.
    fn again(&mut self, direction: Direction, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let side = self.side_mut(direction);
        let (held, at) = (std::mem::take(&mut side.held), side.began);
        let last = self.last;
        // The roles are known, so that there is no other verdict.
        self.data(direction, at, &mut held.as_slice(), room, out);
        self.last = last;
    }

    /// Holds what follows a request for a tunnel.
    pub(super) fn wait(&mut self, direction: Direction, at: At, bytes: &mut &[u8]) {
        let side = self.side_mut(direction);
        if side.held.is_empty() {
            side.began = at;
        }
        if side.held.len() + bytes.len() > MAX_HEAD {
            // Nobody says so much before a tunnel is there, but to it.
            side.position += side.held.len() as u64;
            side.held = Vec::new();
            side.mode = Mode::Opaque;
            return;
        }
        side.held.extend_from_slice(bytes);
        *bytes = &[];
    }

    /// Reads on in frames of WebSocket.
    pub(super) fn frames(
        &mut self,
        direction: Direction,
        at: At,
        bytes: &mut &[u8],
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let client = self.role(direction) == Some(Role::Client);
        let masked = match client {
            true => Masked::Yes,
            false => Masked::No,
        };
        let side = self.side_mut(direction);
        let Mode::Frames(frames) = &mut side.mode else {
            return;
        };
        let said = frames.take(bytes, masked);
        let read = said.broken.unwrap_or(bytes.len());
        side.position += read as u64;
        *bytes = bytes.get(read..).unwrap_or_default();
        if said.broken.is_some() {
            side.mode = Mode::Opaque;
        }
        let error = self.error(direction, 0, "a frame of WebSocket has no length");
        if let Some(open) = &mut self.switched {
            open.exchange.end = at;
            if let Some(messages) = &mut open.exchange.messages {
                let (count, size) = match client {
                    true => (&mut messages.client_count, &mut messages.client_bytes),
                    false => (&mut messages.server_count, &mut messages.server_bytes),
                };
                *count += said.messages;
                *size += said.bytes;
            }
            if said.odd {
                open.odd(Oddity::BadWebSocketFrame, at, out);
            }
            if said.broken.is_some() {
                open.fail(error);
                open.asked = Part::Cut;
            }
        }
        self.both_closed(at, room, out);
    }

    /// Gives the conversation of WebSocket once neither side will say more.
    pub(super) fn both_closed(&mut self, at: At, room: &mut Room, out: &mut Vec<Found<Exchange>>) {
        let over = |direction| {
            let side = self.side(direction);
            side.ended
                || match &side.mode {
                    Mode::Frames(frames) => frames.is_over(),
                    _ => true,
                }
        };
        if over(Direction::Sent)
            && over(Direction::Received)
            && let Some(mut open) = self.switched.take()
        {
            open.exchange.end = at;
            open.answered = Part::Done;
            open.give(room, out);
            self.sent.mode = Mode::Opaque;
            self.received.mode = Mode::Opaque;
        }
    }
}

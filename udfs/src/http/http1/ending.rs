//! What the end of a direction or of the connection means for what is in flight.

use super::body::Reader;
use super::pipeline::Part;
use super::{Http1, Mode, Role};
use crate::connections::Direction;
use crate::http::Exchange;
use crate::protocol::{At, Found, Room};

impl Http1 {
    /// A direction is at its end.
    pub(in crate::http) fn end(
        &mut self,
        direction: Direction,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        if std::mem::replace(&mut self.side_mut(direction).ended, true) {
            return;
        }
        self.last = at;
        match &self.side(direction).mode {
            Mode::Body(Reader::Eof) => {
                if let Some(open) = self.pipeline.answering() {
                    open.exchange.end = at;
                }
                self.finish(direction, Part::Done, room, out);
            }
            _ => self.cut(direction, at, "the stream ended", room, out),
        }
        let side = self.side_mut(direction);
        // What waits for the answer to a tunnel may still be requests.
        if side.mode != Mode::Waiting {
            side.mode = Mode::Opaque;
            side.held = Vec::new();
        }
        if self.role(direction) == Some(Role::Server) {
            self.pipeline.over = true;
            self.pipeline.settle(room, out);
        }
        self.both_closed(at, room, out);
    }

    /// Says what a direction was in the middle of.
    fn cut(
        &mut self,
        direction: Direction,
        at: At,
        why: &'static str,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let Some(role) = self.role(direction) else {
            return;
        };
        match &self.side(direction).mode {
            Mode::Head => {
                let head = std::mem::take(&mut self.side_mut(direction).held);
                self.message(direction, at, &head, Some(why), room, out);
            }
            Mode::Start if !self.side(direction).held.is_empty() => {
                self.no_start_line(direction, at, why, room, out);
                let side = self.side_mut(direction);
                side.position += side.held.len() as u64;
                side.held.clear();
            }
            Mode::Body(_) => {
                let error = self.error(direction, 0, why);
                let open = match role {
                    Role::Client => self.pipeline.asking(),
                    Role::Server => self.pipeline.answering(),
                };
                if let Some(open) = open {
                    open.exchange.end = at;
                    open.fail(error);
                }
                self.finish(direction, Part::Cut, room, out);
            }
            _ => {}
        }
    }

    /// Gives what is in flight, as it is.
    pub(in crate::http) fn close(
        mut self,
        at: At,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        for direction in [Direction::Sent, Direction::Received] {
            // What is in a body says so by being incomplete: that it ends here need not be an error.
            if !matches!(self.side(direction).mode, Mode::Body(_)) {
                self.cut(direction, at, "the connection ended", room, out);
            }
        }
        if let Some(open) = self.switched {
            open.give(room, out);
        }
        self.pipeline.close(room, out);
    }

    pub(in crate::http) fn in_flight(&self) -> Vec<Exchange> {
        let mut out = Vec::new();
        // Nothing is taken from it here, so that none of it matters.
        let mut room = Room::new(0, 0);
        self.clone().close(self.last, &mut room, &mut out);
        let rows = out.into_iter().filter_map(|found| match found {
            Found::Row(row) => Some(row),
            Found::Odd(_) => None,
        });
        rows.collect()
    }
}

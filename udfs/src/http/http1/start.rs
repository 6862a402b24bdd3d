//! Where a message begins, and what to do where none does.

use memchr::memchr;

use super::line::{Guess, guess};
use super::pipeline::Part;
use super::{Http1, MAX_HEAD, MAX_SKIPPED, Mode, Role, Verdict, head};
use crate::connections::Direction;
use crate::http::{Exchange, Oddity, Version};
use crate::protocol::{At, Found, Room};

impl Http1 {
    /// Reads on in a head.
    pub(super) fn head(
        &mut self,
        direction: Direction,
        at: At,
        bytes: &mut &[u8],
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) -> Verdict {
        let role = self.role(direction);
        let side = self.side_mut(direction);
        if side.held.is_empty() {
            // Empty lines before a message are not of it: RFC 9112, section 2.2.
            let blank = bytes
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'))
                .count();
            side.position += blank as u64;
            *bytes = bytes.get(blank..).unwrap_or_default();
            if bytes.is_empty() {
                return Verdict::Http1;
            }
            side.began = at;
        }
        let before = side.held.len();
        let mut held = std::mem::take(&mut side.held);
        let now = bytes
            .get(..MAX_HEAD.saturating_sub(before))
            .unwrap_or(bytes);
        let window = match before {
            0 => now,
            _ => {
                held.extend_from_slice(now);
                &held
            }
        };
        if side.mode == Mode::Start {
            let found = guess(window);
            let client = match (role, found) {
                (_, Guess::More) => None,
                // The other direction tells whether it is.
                (None, Guess::Settings) if window.len() < MAX_HEAD => None,
                (None | Some(Role::Client), Guess::Request) => Some(direction),
                (None | Some(Role::Server), Guess::Response) => Some(direction.opposite()),
                (None, Guess::Preface) => {
                    held.truncate(before);
                    side.held = held;
                    return Verdict::H2;
                }
                _ => {
                    held.truncate(before);
                    side.held = held;
                    side.mode = Mode::Skip { in_line: false };
                    if role.is_none() {
                        return Verdict::Other;
                    }
                    self.no_start_line(direction, at, "no start line", room, out);
                    return Verdict::Http1;
                }
            };
            if client.is_some() {
                side.mode = Mode::Head;
                self.client = client;
            }
        }
        let side = self.side_mut(direction);
        let found = match side.mode {
            Mode::Head => head::end(window, before.saturating_sub(2)),
            _ => None,
        };
        let (end, cut) = match found {
            Some(end) => (end, None),
            None if window.len() == MAX_HEAD => (MAX_HEAD, Some("the head is too long")),
            None => {
                if before == 0 {
                    held.extend_from_slice(now);
                }
                *bytes = &[];
                side.held = held;
                return Verdict::Http1;
            }
        };
        self.message(
            direction,
            at,
            window.get(..end).unwrap_or_default(),
            cut,
            room,
            out,
        );
        *bytes = bytes.get(end.saturating_sub(before)..).unwrap_or_default();
        held.clear();
        self.side_mut(direction).held = held;
        Verdict::Http1
    }

    /// Says that there is something else where a message should begin.
    pub(super) fn no_start_line(
        &mut self,
        direction: Direction,
        at: At,
        why: &str,
        room: &mut Room,
        out: &mut Vec<Found<Exchange>>,
    ) {
        let error = self.error(direction, 0, why);
        let Some(client) = self.client else { return };
        if client == direction {
            // The server will answer it.
            let open = self.pipeline.ask(client, Version::Http11, None, at);
            open.odd(Oddity::BadStartLine, at, out);
            open.fail(error);
            self.pipeline.bound(room, out);
            self.pipeline.settle(room, out);
        } else {
            let asked = self.pipeline.answering().is_some();
            let open = self.pipeline.answer(client, Version::Http11, at, true, out);
            if let Some(open) = open {
                open.odd(Oddity::BadStartLine, at, out);
                open.fail(error);
                open.exchange.end = at;
            }
            if !asked {
                self.pipeline.answered(Part::Cut, room, out);
            }
        }
    }

    pub(super) fn skip_line(&mut self, direction: Direction, bytes: &mut &[u8]) {
        let end = memchr(b'\n', bytes);
        let side = self.side_mut(direction);
        let dropped = end.map_or(bytes.len(), |end| end + 1);
        side.position += dropped as u64;
        side.skipped += dropped as u64;
        side.mode = Mode::Skip {
            in_line: end.is_none(),
        };
        *bytes = bytes.get(dropped..).unwrap_or_default();
    }

    /// Looks whether the line that begins here is a start line.
    pub(super) fn skip(&mut self, direction: Direction, at: At, bytes: &mut &[u8]) -> Verdict {
        let role = self.role(direction);
        let side = self.side_mut(direction);
        if bytes.is_empty() {
            return Verdict::Http1;
        }
        if side.held.is_empty() {
            side.began = at;
        }
        let before = side.held.len();
        let now = bytes
            .get(..MAX_HEAD.saturating_sub(before))
            .unwrap_or(bytes);
        let window = match before {
            0 => now,
            _ => {
                side.held.extend_from_slice(now);
                &side.held
            }
        };
        let dropped = match (role, guess(window)) {
            (_, Guess::More) => {
                if before == 0 {
                    side.held.extend_from_slice(now);
                }
                *bytes = &[];
                return Verdict::Http1;
            }
            (None | Some(Role::Client), Guess::Request)
            | (None | Some(Role::Server), Guess::Response) => {
                side.held.truncate(before);
                side.mode = Mode::Start;
                return Verdict::Http1;
            }
            _ => memchr(b'\n', window).map(|end| end + 1),
        };
        let length = dropped.unwrap_or(window.len());
        side.position += length as u64;
        side.skipped += length as u64;
        side.mode = Mode::Skip {
            in_line: dropped.is_none(),
        };
        side.held.truncate(before);
        side.held.drain(..length.min(before));
        *bytes = bytes
            .get(length.saturating_sub(before)..)
            .unwrap_or_default();
        match role.is_none() && side.skipped > MAX_SKIPPED {
            true => Verdict::Other,
            false => Verdict::Http1,
        }
    }
}

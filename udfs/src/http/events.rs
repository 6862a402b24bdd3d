//! Events of `text/event-stream`, counted and sized: HTML, section 9.2.6. An event is what would be
//! dispatched: lines up to an empty one, of which one is data.

use memchr::memchr2;
use serde::{Deserialize, Serialize};

const DATA: &[u8] = b"data";

/// Between one part of a stream of events and the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::http) struct Events {
    /// The beginning of the line, as much as tells its name and whether its value begins with a space.
    begun: Vec<u8>,
    /// How many bytes the line is so far.
    length: u64,
    /// Whether the last byte was a carriage return, so that a line feed belongs to it.
    returned: bool,
    /// How many lines of data the event has.
    lines: u64,
    /// How many bytes they are, with a line feed between two.
    bytes: u64,
}

impl Events {
    /// Takes the next bytes; returns how many events they ended, and of how many bytes of data.
    pub(in crate::http) fn take(&mut self, mut bytes: &[u8]) -> (u64, u64) {
        let mut ended = (0, 0);
        while let [first, after @ ..] = bytes {
            if std::mem::take(&mut self.returned) && *first == b'\n' {
                bytes = after;
                continue;
            }
            let end = memchr2(b'\r', b'\n', bytes);
            let (line, rest) = bytes
                .split_at_checked(end.unwrap_or(bytes.len()))
                .unwrap_or_default();
            let room = (DATA.len() + 2).saturating_sub(self.begun.len());
            self.begun.extend(line.iter().take(room));
            self.length = self.length.saturating_add(line.len() as u64);
            if let [terminator, rest @ ..] = rest {
                self.returned = *terminator == b'\r';
                self.line(&mut ended);
                bytes = rest;
            } else {
                bytes = rest;
            }
        }
        ended
    }

    fn line(&mut self, ended: &mut (u64, u64)) {
        if self.length == 0 {
            if self.lines > 0 {
                ended.0 += 1;
                ended.1 += self.bytes;
            }
            (self.lines, self.bytes) = (0, 0);
        } else if let Some(after) = self.begun.strip_prefix(DATA) {
            let before = match after {
                [] => Some(DATA.len()),
                [b':', b' ', ..] => Some(DATA.len() + 2),
                [b':', ..] => Some(DATA.len() + 1),
                _ => None,
            };
            if let Some(before) = before {
                let between = u64::from(self.lines > 0);
                let value = self.length.saturating_sub(before as u64);
                self.lines += 1;
                self.bytes = self.bytes.saturating_add(value + between);
            }
        }
        self.begun.clear();
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_at_empty_lines_of_any_kind() {
        let stream = b"data: one\n\n: note\n\nid: 1\ndata:two\r\ndata\r\n\r\ndata: three\r\rdatum: x\n\ndata: cut";
        for split in 0..stream.len() {
            let mut events = Events::default();
            let (a, b) = stream.split_at(split);
            let (x, y) = (events.take(a), events.take(b));
            assert_eq!((x.0 + y.0, x.1 + y.1), (3, 3 + 4 + 5), "split at {split}");
        }
    }
}

//! Frames of WebSocket, counted and sized: RFC 6455, section 5.2. Their contents are not looked at.

use serde::{Deserialize, Serialize};

/// One direction, between two pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::http) struct Frames {
    /// The beginning of a frame's header.
    header: Vec<u8>,
    /// How many bytes of the frame's payload are to come.
    left: u64,
    /// Whether these are of a message, and not of a control frame.
    of_message: bool,
    /// Whether a Close frame went this way.
    closed: bool,
}

/// What frames said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Said {
    /// How many messages ended.
    pub(in crate::http) messages: u64,
    /// How many bytes of messages there were.
    pub(in crate::http) bytes: u64,
    /// Whether a frame was not as it must be.
    pub(in crate::http) odd: bool,
    /// How many of the bytes were taken: all, but for a length that cannot be.
    pub(in crate::http) broken: Option<usize>,
}

impl Frames {
    /// Whether nothing more is said this way: what follows a Close frame is discarded, section 5.5.1.
    pub(in crate::http) fn is_over(&self) -> bool {
        self.closed && self.left == 0
    }

    /// Takes the next bytes. Frames of the client are masked, and those of the server are not.
    pub(in crate::http) fn take(&mut self, bytes: &[u8], masked: Masked) -> Said {
        let mut said = Said::default();
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if self.left > 0 {
                let now = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                self.left -= now as u64;
                said.bytes += if self.of_message { now as u64 } else { 0 };
                rest = rest.get(now..).unwrap_or_default();
                continue;
            }
            if self.is_over() {
                break;
            }
            self.header.push(*first);
            rest = after;
            let [start, second, more @ ..] = self.header.as_slice() else {
                continue;
            };
            let (start, second) = (*start, *second);
            let extended = match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mask = if second & 0x80 != 0 { 4 } else { 0 };
            if more.len() < extended + mask {
                continue;
            }
            let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
            let length = match extended {
                0 => u64::from(second & 0x7f),
                _ => number(more.get(..extended).unwrap_or_default()),
            };
            self.header.clear();
            if length >> 63 != 0 {
                said.odd = true;
                said.broken = Some(bytes.len() - rest.len());
                return said;
            }
            let (last, opcode) = (start & 0x80 != 0, start & 0x0f);
            let control = opcode >= 8;
            self.left = length;
            self.of_message = !control;
            said.odd |= (mask != 0) != (masked == Masked::Yes)
                || matches!(opcode, 3..=7 | 11..=15)
                || control && (length > 125 || !last);
            said.messages += u64::from(!control && last);
            self.closed |= opcode == 8;
        }
        said
    }
}

/// Whether frames must be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Masked {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_their_last_frames() {
        let mut stream = b"\x01\x03abc\x89\x00\x80\x02de\x82\x7e\x01\x00".to_vec();
        stream.extend([0; 256]);
        stream.extend(b"\x88\x00\x81\x01x");
        for split in 0..stream.len() {
            let mut frames = Frames::default();
            let (a, b) = stream.split_at(split);
            let (x, y) = (frames.take(a, Masked::No), frames.take(b, Masked::No));
            assert_eq!(x.messages + y.messages, 2, "split at {split}");
            assert_eq!(x.bytes + y.bytes, 5 + 256, "split at {split}");
            assert!(frames.is_over() && !x.odd && !y.odd, "split at {split}");
        }
        let mut frames = Frames::default();
        assert!(frames.take(b"\x81\x01a", Masked::Yes).odd);
        let broken = frames
            .take(b"\x82\x7f\xff\0\0\0\0\0\0\0more", Masked::No)
            .broken;
        assert_eq!(broken, Some(10));
    }
}

//! Messages of gRPC: five bytes before each say whether it is compressed, and its length (gRPC over
//! HTTP2, "Length-Prefixed-Message").

use serde::{Deserialize, Serialize};

const PREFIX: usize = 5;

/// One direction of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grpc {
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix there are.
    had: usize,
    /// How many bytes of the message are to come.
    left: u32,
}

impl Grpc {
    /// Takes the next bytes; returns how many messages they ended, and of how many bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> (u64, u64) {
        let mut ended = (0, 0);
        while !bytes.is_empty() {
            if self.had < PREFIX {
                for (to, from) in self.prefix.iter_mut().skip(self.had).zip(bytes) {
                    *to = *from;
                }
                let now = bytes.len().min(PREFIX - self.had);
                self.had += now;
                bytes = bytes.get(now..).unwrap_or_default();
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length);
            } else {
                let now = u32::try_from(bytes.len()).map_or(self.left, |n| n.min(self.left));
                self.left -= now;
                bytes = bytes.get(now as usize..).unwrap_or_default();
            }
            if self.had == PREFIX && self.left == 0 {
                let [_, length @ ..] = self.prefix;
                ended.0 += 1;
                ended.1 += u64::from(u32::from_be_bytes(length));
                self.had = 0;
            }
        }
        ended
    }

    /// Whether a message has begun and not ended.
    pub(super) fn open(&self) -> bool {
        self.had > 0
    }
}

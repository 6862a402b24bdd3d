//! What a log has to say when there is no buffer to say it in: a gap that is still open, and how the
//! process ended. It stands in the first page of the tail, whose space is bound from the beginning,
//! twice: what is said replaces the words before the last, so that a process that dies in it leaves
//! the last.

use serde::{Deserialize, Serialize};

use super::{HEADERS_AT, LAST_WORDS_AT};
use crate::codec::Cursor;
use crate::event::{Gap, ProcessEnd};

/// How many places there are for them.
pub(crate) const SLOTS: usize = 2;
/// The size of a place, and so the most that they take, length and checksum included, in bytes.
pub(crate) const ROOM: usize = (HEADERS_AT as usize - LAST_WORDS_AT) / SLOTS;
/// Length and checksum.
const FIXED: usize = 8;

/// Records that follow those of the buffers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastWords {
    /// When they were said, in nanoseconds since the process started, each later than those before:
    /// where a record started later, the log went on and says itself what they say.
    #[serde(default)]
    pub(crate) at_ns: u64,
    /// Calls that were not recorded. Their number grows in the tail's counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
    /// How the process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<ProcessEnd>,
}

impl LastWords {
    /// As bytes of at most [`ROOM`]: texts that are too long are cut.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut words = self.clone();
        loop {
            // Numbers, texts and options of these: nothing that JSON could refuse.
            let json = serde_json::to_vec(&words).unwrap_or_default();
            if FIXED + json.len() <= ROOM {
                let mut bytes = Vec::with_capacity(FIXED + json.len());
                bytes.extend((json.len() as u32).to_le_bytes());
                bytes.extend(crc32c::crc32c(&json).to_le_bytes());
                bytes.extend(json);
                return bytes;
            }
            let trap = words.end.as_mut().and_then(|end| end.trap.as_mut());
            let reason = words.gap.as_mut().map(|gap| &mut gap.reason);
            let longest = trap.into_iter().chain(reason).max_by_key(|text| text.len());
            let Some(text) = longest else {
                return vec![0; FIXED];
            };
            let half = (0..=text.len() / 2)
                .rev()
                .find(|&i| text.is_char_boundary(i));
            text.truncate(half.unwrap_or(0));
        }
    }

    /// The last of those in the places; none where nothing was said. With them, what is wrong with
    /// a place that is not what was written.
    pub(crate) fn last_of(places: &[u8]) -> (Option<LastWords>, Option<&'static str>) {
        let (mut last, mut wrong) = (None::<LastWords>, None);
        for place in places.chunks_exact(ROOM) {
            match LastWords::from_bytes(place) {
                Ok(Some(words)) if last.as_ref().is_none_or(|l| l.at_ns < words.at_ns) => {
                    last = Some(words);
                }
                Ok(_) => {}
                Err(what) => wrong = Some(what),
            }
        }
        (last, wrong)
    }

    /// None where nothing was said.
    ///
    /// # Errors
    /// When the bytes are not what was written.
    fn from_bytes(bytes: &[u8]) -> Result<Option<LastWords>, &'static str> {
        const DAMAGED: &str = "the last words do not match their checksum";
        let mut c = Cursor::new(bytes);
        let (length, crc) = (c.u32().ok_or(DAMAGED)?, c.u32().ok_or(DAMAGED)?);
        if length == 0 {
            return Ok(None);
        }
        let json = c.bytes(length as usize).ok_or(DAMAGED)?;
        if crc32c::crc32c(json) != crc {
            return Err(DAMAGED);
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|_| "the last words are not ours")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::Ended;

    #[test]
    fn words_that_are_too_long_are_cut_and_come_back() {
        let words = LastWords {
            at_ns: 3,
            gap: Some(Gap {
                calls: 7,
                from_ns: 1,
                to_ns: 2,
                reason: "why".to_owned(),
            }),
            end: Some(ProcessEnd {
                status: Ended::Trapped,
                exit_code: None,
                signal: None,
                trap: Some("ä".repeat(10_000)),
                stall_ns: 0,
            }),
        };
        let bytes = words.to_bytes();
        assert!(bytes.len() <= ROOM);
        let back = LastWords::from_bytes(&bytes).unwrap().unwrap();
        assert_eq!(back.gap, words.gap);
        assert!(back.end.unwrap().trap.unwrap().len() > 1000);
        assert_eq!(LastWords::from_bytes(&[0; 8]).unwrap(), None);

        let mut places = vec![0; SLOTS * ROOM];
        places[ROOM..ROOM + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(LastWords::last_of(&places).0.map(|w| w.at_ns), Some(3));
        let later = LastWords { at_ns: 4, ..words };
        let later = later.to_bytes();
        places[..later.len()].copy_from_slice(&later);
        assert_eq!(LastWords::last_of(&places).0.map(|w| w.at_ns), Some(4));
        places[9] ^= 1;
        let (words, wrong) = LastWords::last_of(&places);
        assert_eq!(words.map(|w| w.at_ns), Some(3));
        assert!(wrong.is_some());
        // The process died while it wrote there.
        places[..4].fill(0);
        let (words, wrong) = LastWords::last_of(&places);
        assert_eq!((words.map(|w| w.at_ns), wrong), (Some(3), None));
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 1;
            assert!(LastWords::from_bytes(&bytes).is_err(), "byte {i}");
        }
    }
}

//! Lines out of the pieces in which a guest wrote them. Pure: bytes in, lines out.

use timecraft_segment::{ElapsedNs, Offset};

/// The longest line that is kept, in bytes; of a longer one its beginning.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;

/// Where and when something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) elapsed: ElapsedNs,
}

/// A line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The write that its first byte came with.
    pub(crate) place: Place,
    /// Its number in the stream, from 1.
    pub(crate) number: i64,
    pub(crate) bytes: &'a [u8],
    /// Whether it was longer than [`MAX_LINE_BYTES`].
    pub(crate) truncated: bool,
}

/// The lines of one stream.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    complete: i64,
    /// Where the line began that has no end yet.
    begun: Option<Place>,
    partial: Vec<u8>,
    truncated: bool,
}

impl Lines {
    /// Whether a line has begun and not ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes what one write wrote, and gives the lines that it completes.
    pub(crate) fn push<E>(
        &mut self,
        place: Place,
        bytes: &[u8],
        mut give: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let begun = *self.begun.get_or_insert(place);
            let (content, ends) = match piece.split_last() {
                Some((b'\n', content)) => (content, true),
                _ => (piece, false),
            };
            // Most lines come whole, and are given as they stand.
            if ends && self.partial.is_empty() && content.len() <= MAX_LINE_BYTES {
                self.complete += 1;
                self.begun = None;
                let number = self.complete;
                give(Line {
                    place: begun,
                    number,
                    bytes: content,
                    truncated: false,
                })?;
                continue;
            }
            let room = MAX_LINE_BYTES - self.partial.len();
            self.partial
                .extend_from_slice(&content[..content.len().min(room)]);
            self.truncated |= content.len() > room;
            if ends {
                self.finish(&mut give)?;
            }
        }
        Ok(())
    }

    /// Gives the line that has begun, if one has: the stream goes no further.
    pub(crate) fn finish<E>(
        &mut self,
        mut give: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(place) = self.begun.take() else {
            return Ok(());
        };
        self.complete += 1;
        let truncated = std::mem::take(&mut self.truncated);
        let bytes = if truncated {
            whole_characters(&self.partial)
        } else {
            &self.partial
        };
        let given = give(Line {
            place,
            number: self.complete,
            bytes,
            truncated,
        });
        self.partial.clear();
        given
    }
}

/// The bytes without a character that the cut went through.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match bytes.utf8_chunks().last() {
        // Only an incomplete character is at the end with nothing after it.
        Some(last) if !last.invalid().is_empty() && is_begun(last.invalid()) => {
            &bytes[..bytes.len() - last.invalid().len()]
        }
        _ => bytes,
    }
}

/// Whether more bytes could make a character of these.
fn is_begun(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn place(n: u64) -> Place {
        Place {
            offset: Offset(n),
            elapsed: ElapsedNs(n * 10),
        }
    }

    /// What comes out: where each line began, its number, its bytes, whether it was cut.
    type Seen = Vec<(u64, i64, Vec<u8>, bool)>;

    fn lines<'a>(writes: impl IntoIterator<Item = (u64, &'a [u8])>) -> Seen {
        let mut seen = Vec::new();
        let mut see = |line: Line<'_>| -> Result<(), Infallible> {
            let Place { offset, elapsed } = line.place;
            assert_eq!(elapsed.0, offset.0 * 10);
            seen.push((offset.0, line.number, line.bytes.to_vec(), line.truncated));
            Ok(())
        };
        let mut lines = Lines::default();
        for (n, bytes) in writes {
            lines.push(place(n), bytes, &mut see).unwrap();
        }
        lines.finish(&mut see).unwrap();
        seen
    }

    #[test]
    fn lines_span_writes_and_begin_where_their_first_byte_is() {
        let seen = lines([(1, &b"one\ntw"[..]), (2, b"o"), (3, b"\n\nla"), (4, b"st")]);
        let expected = [(1, "one"), (1, "two"), (3, ""), (3, "last")];
        assert_eq!(seen.len(), expected.len());
        for (i, ((offset, number, bytes, truncated), (at, text))) in
            seen.iter().zip(expected).enumerate()
        {
            assert_eq!((*offset, bytes.as_slice()), (at, text.as_bytes()));
            assert_eq!(*number, i64::try_from(i).unwrap() + 1);
            assert!(!truncated);
        }
    }

    #[test]
    fn a_long_line_keeps_its_beginning_and_says_so() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        let seen = lines([(1, &long[..]), (2, b"yy\nnext\n")]);
        assert_eq!(seen[0], (1, 1, long[..MAX_LINE_BYTES].to_vec(), true));
        assert_eq!(seen[1], (2, 2, b"next".to_vec(), false));

        let exact = [&long[..MAX_LINE_BYTES], b"\n"].concat();
        assert!(!lines([(1, &exact[..])])[0].3);
    }

    #[test]
    fn a_cut_goes_through_no_character() {
        let mut long = vec![b'x'; MAX_LINE_BYTES - 1];
        long.extend("é\n".as_bytes());
        let seen = lines([(1, &long[..])]);
        assert_eq!((seen[0].2.len(), seen[0].3), (MAX_LINE_BYTES - 1, true));

        // A byte that is no text is not a character that was cut.
        let mut long = vec![b'x'; MAX_LINE_BYTES - 1];
        long.extend(b"\xff\xff\n");
        assert_eq!(lines([(1, &long[..])])[0].2.len(), MAX_LINE_BYTES);
    }

    proptest! {
        #[test]
        fn any_split_into_writes_gives_the_same_lines(
            text in "[ab\n]{0,60}",
            cuts in prop::collection::vec(0_usize..61, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]);
            // A write's number is where it begins, so where a line began can be told.
            let starts = cuts.iter().map(|&cut| cut as u64);
            let seen = lines(starts.zip(pieces));

            let mut expected: Vec<&str> = text.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            let texts: Vec<String> =
                seen.iter().map(|l| String::from_utf8(l.2.clone()).unwrap()).collect();
            prop_assert_eq!(texts, expected);
            let mut at = 0;
            for (offset, _, bytes, _) in seen {
                let begun = cuts.iter().rfind(|&&cut| cut <= at).copied().unwrap();
                prop_assert_eq!(offset, begun as u64);
                at += bytes.len() + 1;
            }
        }
    }
}

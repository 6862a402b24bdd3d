//! Entries of the tail, put together to records.
//!
//! Pure: buffers in, [`Calls`] out. The thread that makes batches and the readers of live logs both
//! use it. What does not hold is an error with its position, never a wrong record.

use super::{
    ALL_CONSUMED, BEGIN, BEGIN_FIXED, CONTINUED, END, ENTRY_HEADER, GIVEN_UP, MORE, TRAILER,
    entry_check,
};
use crate::calls::{Calls, Parts};
use crate::codec::Cursor;
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::Outcome;

/// Entries that cannot be, and where in the buffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadEntry {
    pub(crate) position: usize,
    pub(crate) what: &'static str,
}

/// Puts entries together; keeps the record that is open at the end of a buffer.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The offset that the next beginning must have; none before the first was seen.
    next: Option<Offset>,
    /// The contents of the open record's entries so far, where it is open.
    open: Option<OpenRecord>,
    /// Room for the writes of a record, kept from one to the next.
    writes: Vec<(usize, usize, u64)>,
}

#[derive(Debug, Default)]
struct OpenRecord {
    begin: Vec<u8>,
    begun: bool,
    end: Vec<u8>,
    /// Which use of a buffer the last piece stood in, its low bits.
    last: u16,
}

struct Entry<'a> {
    kind: u8,
    more: bool,
    continued: bool,
    sequence: u16,
    check: u32,
    offset: Offset,
    content: &'a [u8],
}

impl Entry<'_> {
    /// Whether the entry, which stands at the beginning of `bytes`, is what was written.
    fn matches(&self, bytes: &[u8]) -> bool {
        bytes
            .first_chunk()
            .is_some_and(|&first| entry_check(first, self.offset.0, self.content) == self.check)
    }
}

impl Decoder {
    pub(crate) fn new(next: Option<Offset>) -> Decoder {
        Decoder {
            next,
            ..Decoder::default()
        }
    }

    /// Whether a record is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Forgets the pieces of the record that is open: they will be fed again.
    pub(crate) fn forget_open(&mut self) {
        self.open = None;
    }

    /// The offset of the next record to be completed, once known.
    pub(crate) fn next_offset(&self) -> Option<Offset> {
        self.next
    }

    /// Appends the records that end in `buffer` to `calls`, which must be at the next offset (or
    /// empty, and then takes its first offset from the buffer). Returns the position after the last
    /// record that ended, from where the open record's entries begin.
    pub(crate) fn feed(
        &mut self,
        buffer: &[u8],
        sequence: u64,
        calls: &mut Calls,
    ) -> Result<usize, BadEntry> {
        let mut position = 0;
        let mut complete = 0;
        while position < buffer.len() {
            let begins = position;
            let bad = move |what| BadEntry {
                position: begins,
                what,
            };
            let entry = entry(&buffer[position..], sequence).map_err(bad)?;
            position += ENTRY_HEADER + entry.content.len();
            if self.next.is_none() {
                // A reader that begins in the middle of a record waits for the next beginning.
                if entry.kind != BEGIN || entry.continued {
                    continue;
                }
                self.next = Some(entry.offset);
                calls.first_offset = entry.offset;
            }
            if self.next != Some(entry.offset) {
                return Err(bad("an entry is not of the record that comes next"));
            }
            // The common case, a record whose two entries lie side by side, is decoded in place.
            if self.open.is_none()
                && entry.kind == BEGIN
                && !entry.more
                && !entry.continued
                && let Ok(end) = self::entry(&buffer[position..], sequence)
                && end.kind == END
                && !end.more
                && !end.continued
                && end.offset == entry.offset
            {
                position += ENTRY_HEADER + end.content.len();
                self.push(entry.content, end.content, calls).map_err(bad)?;
                complete = position;
                continue;
            }
            if entry.kind == GIVEN_UP {
                let open = self
                    .open
                    .take()
                    .ok_or(bad("a record is given up that had not begun"))?;
                push_unfinished(&open.begin, Outcome::Unrecorded, calls).map_err(bad)?;
                self.next = Some(entry.offset.plus(1));
                complete = position;
                continue;
            }
            self.extend(&entry).map_err(bad)?;
            if entry.kind == END && !entry.more {
                let open = self.open.take().unwrap_or_default();
                self.push(&open.begin, &open.end, calls).map_err(bad)?;
                complete = position;
            }
        }
        Ok(complete)
    }

    /// Continues the open record with pieces of it that stand in batches, entry headers included,
    /// up to those that stand in the buffer `until`, which is at hand itself.
    pub(crate) fn feed_open(&mut self, mut pieces: &[u8], until: u64) -> Result<(), &'static str> {
        while !pieces.is_empty() {
            let entry = entry_of_any(pieces).ok_or("an open record is cut")?;
            if entry.sequence == until as u16 {
                break;
            }
            if self.next.is_some_and(|next| next != entry.offset) {
                return Err("an open record has another offset than the next record");
            }
            self.next = Some(entry.offset);
            self.extend(&entry)?;
            pieces = &pieces[ENTRY_HEADER + entry.content.len()..];
        }
        Ok(())
    }

    /// When the record that is open started, as far as it is there.
    pub(crate) fn open_start(&self) -> Option<ElapsedNs> {
        begin(&self.open.as_ref()?.begin).map(|(start, ..)| start)
    }

    /// Appends the open record as in flight, if its beginning is there.
    pub(crate) fn push_in_flight(&mut self, calls: &mut Calls) -> Result<bool, &'static str> {
        let Some(open) = &self.open else {
            return Ok(false);
        };
        if !open.begun {
            return Ok(false);
        }
        push_unfinished(&open.begin, Outcome::InFlight, calls)?;
        Ok(true)
    }

    /// Appends the open record as one whose end was not recorded, however little of it is there.
    pub(crate) fn push_given_up(&mut self, calls: &mut Calls) -> Result<bool, &'static str> {
        let Some(open) = self.open.take() else {
            return Ok(false);
        };
        push_unfinished(&open.begin, Outcome::Unrecorded, calls)?;
        self.next = self.next.map(|next| next.plus(1));
        Ok(true)
    }

    fn extend(&mut self, entry: &Entry<'_>) -> Result<(), &'static str> {
        let open = self.open.get_or_insert_default();
        if entry.continued && entry.sequence != open.last.wrapping_add(1) {
            return Err("a piece of a record is missing");
        }
        open.last = entry.sequence;
        match entry.kind {
            BEGIN if !open.begun && entry.continued != open.begin.is_empty() => {
                open.begin.extend_from_slice(entry.content);
                open.begun = !entry.more;
                Ok(())
            }
            END if open.begun && entry.continued != open.end.is_empty() => {
                open.end.extend_from_slice(entry.content);
                Ok(())
            }
            _ => Err("the end of a record comes before its beginning"),
        }
    }

    fn push(&mut self, begin_: &[u8], end: &[u8], calls: &mut Calls) -> Result<(), &'static str> {
        let (start, function, args, input) = begin(begin_).ok_or(BAD_BEGIN)?;
        let (writes, trailer) = end.split_last_chunk::<TRAILER>().ok_or(BAD_END)?;
        let mut c = Cursor::new(trailer);
        let mut number = || c.u64().ok_or(BAD_END);
        let (duration_ns, result, consumed) = (number()?, number()?, number()?);
        let note_length = c.u32().ok_or(BAD_END)? as usize;
        let outcome = c.u8().and_then(Outcome::from_number).ok_or(BAD_END)?;
        let note_at = writes.len().checked_sub(note_length).ok_or(BAD_END)?;
        let (writes, note) = writes.split_at(note_at);

        self.writes.clear();
        let mut c = Cursor::new(writes);
        while !c.is_empty() {
            let address = c.u64().ok_or(BAD_END)?;
            let length = c.u32().ok_or(BAD_END)? as usize;
            let at = writes.len() - c.rest().len();
            c.bytes(length).ok_or(BAD_END)?;
            self.writes.push((at, length, address));
        }
        // Most calls write one or two ranges: no allocation for those.
        let mut few = [(0_u64, &writes[..0]); 4];
        let many: Vec<(u64, &[u8])>;
        let ranges = self
            .writes
            .iter()
            .map(|&(at, n, address)| (address, &writes[at..at + n]));
        let ranges: &[(u64, &[u8])] = if self.writes.len() <= few.len() {
            few.iter_mut()
                .zip(ranges)
                .for_each(|(slot, range)| *slot = range);
            &few[..self.writes.len()]
        } else {
            many = ranges.collect();
            &many
        };
        let consumed = if consumed == ALL_CONSUMED {
            input.len()
        } else {
            usize::try_from(consumed).unwrap_or(usize::MAX)
        };
        calls.push(&Parts {
            start,
            duration_ns,
            function,
            outcome,
            result,
            args: &args,
            input,
            consumed,
            writes: ranges,
            note: if note.is_empty() {
                None
            } else {
                str::from_utf8(note).ok()
            },
        });
        self.next = Some(self.next.unwrap_or_default().plus(1));
        Ok(())
    }
}

/// Appends what is known of a record that has no end.
fn push_unfinished(
    content: &[u8],
    outcome: Outcome,
    calls: &mut Calls,
) -> Result<(), &'static str> {
    let (start, function, args, input) = begin(content).ok_or(BAD_BEGIN)?;
    calls.push(&Parts {
        start,
        duration_ns: 0,
        function,
        outcome,
        result: 0,
        args: &args,
        input,
        consumed: input.len(),
        writes: &[],
        note: None,
    });
    Ok(())
}

/// How many bytes from the beginning of a buffer are entries of its use `sequence` that match their
/// checksums, and what is wrong with the next, where something is.
pub(crate) fn check(buffer: &[u8], sequence: u64) -> (usize, Option<&'static str>) {
    let mut position = 0;
    while position < buffer.len() {
        match entry(&buffer[position..], sequence) {
            Ok(entry) if !entry.matches(&buffer[position..]) => {
                return (position, Some("an entry does not match its checksum"));
            }
            Ok(entry) => position += ENTRY_HEADER + entry.content.len(),
            Err(what) => return (position, Some(what)),
        }
    }
    (position, None)
}

/// The low bits of the number of the buffer's use that its first entry was written in, where that
/// matches its checksum.
pub(crate) fn generation(buffer: &[u8]) -> Option<u16> {
    let entry = entry_of_any(buffer)?;
    entry.matches(buffer).then_some(entry.sequence)
}

const BAD_BEGIN: &str = "the beginning of a record does not parse";
const BAD_END: &str = "the end of a record does not parse";

/// The entry at the beginning of `bytes`, which must be of that use of the buffer.
fn entry(bytes: &[u8], sequence: u64) -> Result<Entry<'_>, &'static str> {
    let entry = entry_of_any(bytes).ok_or("an entry does not parse")?;
    if entry.sequence != sequence as u16 {
        return Err("an entry is of another use of its buffer");
    }
    Ok(entry)
}

fn entry_of_any(bytes: &[u8]) -> Option<Entry<'_>> {
    let mut c = Cursor::new(bytes);
    let length = c.u32()? as usize;
    let flags = c.u8()?;
    c.u8()?;
    let sequence = c.u16()?;
    let check = c.u32()?;
    let offset = Offset(c.u64()?);
    let content = c.bytes(length)?;
    let kind = flags & !(MORE | CONTINUED);
    matches!(kind, BEGIN | END | GIVEN_UP).then_some(Entry {
        check,
        kind,
        more: flags & MORE != 0,
        continued: flags & CONTINUED != 0,
        sequence,
        offset,
        content,
    })
}

/// Arguments without an allocation for each record.
struct Args {
    values: [u64; crate::function::MAX_PARAMS],
    count: usize,
}

impl std::ops::Deref for Args {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.values[..self.count]
    }
}

fn begin(content: &[u8]) -> Option<(ElapsedNs, FunctionId, Args, &[u8])> {
    let mut c = Cursor::new(content);
    let mut fixed = Cursor::new(c.bytes(BEGIN_FIXED)?);
    let start = ElapsedNs(fixed.u64()?);
    let function = FunctionId(fixed.u16()?);
    let count = usize::from(fixed.u8()?);
    let mut args = Args {
        values: [0; crate::function::MAX_PARAMS],
        count,
    };
    for value in args.values.get_mut(..count)? {
        *value = c.u64()?;
    }
    Some((start, function, args, c.rest()))
}

const _: () =
    assert!(ENTRY_HEADER + BEGIN_FIXED + 8 * crate::function::MAX_PARAMS <= super::ENTRY_ROOM);

//! From a batch to records.

use std::borrow::Cow;
use std::cell::RefCell;

use super::columns::{
    self, ARGS, DURATIONS, FUNCTIONS, Groups, LAYOUT, OUTS, RESULTS, STARTS, STREAMS,
};
use super::{Damage, Header, references};
use crate::calls::{Calls, Projection};
use crate::codec::Cursor;

/// Checks and decodes the call section, and with [`Projection::PAYLOAD`] the payload section.
pub(crate) fn decode(
    header: &Header,
    calls_section: &[u8],
    payload_section: Option<&[u8]>,
    projection: Projection,
) -> Result<Calls, Damage> {
    if crc32c::crc32c(calls_section) != header.calls_crc {
        return Err("the call columns do not match their checksum");
    }
    let summary = &header.summary;
    let count = summary.count as usize;
    let expanded = header.expanded_bytes as usize;
    let directory = Directory::of(header, calls_section)?;
    let mut calls = Calls::new(summary.first_offset);
    let stream = |wanted| directory.stream(wanted);

    calls.functions = columns::read_functions(&stream(FUNCTIONS)?, count)?;
    // Clock readings are coded as differences from start times.
    if projection.has(Projection::STARTS) || projection.has(Projection::OUTS) {
        let (first, last) = (summary.first_time.0, summary.last_time.0);
        calls.starts = columns::read_starts(&stream(STARTS)?, count, first, last)?;
    }
    if projection.has(Projection::DURATIONS) {
        calls.durations = columns::read_durations(&stream(DURATIONS)?, count)?;
    }
    if projection.has(Projection::RESULTS) {
        columns::read_results(&stream(RESULTS)?, &mut calls)?;
    }
    if projection.has(Projection::ARGS) || projection.has(Projection::OUTS) {
        let groups = Groups::of(&calls.functions);
        if projection.has(Projection::ARGS) {
            columns::read_args(&stream(ARGS)?, &groups, &mut calls)?;
        }
        if projection.has(Projection::OUTS) {
            columns::read_outs(&stream(OUTS)?, &groups, &mut calls)?;
        }
    }
    if !projection.has(Projection::STARTS) {
        calls.starts = Vec::new();
    }
    if let Some(section) = payload_section {
        let layout = stream(LAYOUT)?;
        let ranges = header.ranges as usize;
        let references = columns::read_layout(&layout, ranges, expanded, &mut calls)?;
        if crc32c::crc32c(section) != header.payload_crc {
            return Err("the payload does not match its checksum");
        }
        let referred: usize = references.iter().map(|r| r.length as usize).sum();
        if header.literal_bytes as usize + referred != expanded {
            return Err("the payload does not have the length that the records add up to");
        }
        let literals = decompress(section, header.literal_bytes as usize)?;
        calls.payload = references::resolve(literals.into_owned(), &references, expanded)
            .ok_or("a reference of the payload points past it")?;
    }
    Ok(calls)
}

/// Checks what follows the payload in a batch's body, whose call section is cut off, and returns the
/// payload section.
pub(crate) fn check_open_and_end<'a>(header: &Header, rest: &'a [u8]) -> Result<&'a [u8], Damage> {
    const SHORT: Damage = "the batch ends too early";
    let payload = header.summary.payload_bytes as usize;
    let (payload, rest) = rest.split_at_checked(payload).ok_or(SHORT)?;
    let (end, open) = rest.split_last().ok_or(SHORT)?;
    check_open(header, open)?;
    if *end != 0 {
        return Err("the batch does not end in a zero");
    }
    Ok(payload)
}

/// Checks the piece of an open record that a batch holds.
pub(crate) fn check_open(header: &Header, bytes: &[u8]) -> Result<(), Damage> {
    if crc32c::crc32c(bytes) == header.open_crc {
        Ok(())
    } else {
        Err("the open record does not match its checksum")
    }
}

/// The streams of the call section, each with its length when it is read.
struct Directory<'a> {
    streams: [(&'a [u8], usize); STREAMS],
}

impl<'a> Directory<'a> {
    fn of(header: &Header, section: &'a [u8]) -> Result<Directory<'a>, Damage> {
        Directory::parse(header, section)
            .ok_or("the directory of the call columns does not fit them")
    }

    fn parse(header: &Header, section: &'a [u8]) -> Option<Directory<'a>> {
        let (directory, mut data) = section.split_at_checked(STREAMS * 8)?;
        let mut directory = Cursor::new(directory);
        let mut streams = [(&[][..], 0); STREAMS];
        for (i, stream) in streams.iter_mut().enumerate() {
            let most = columns::most_bytes(
                i,
                header.summary.count as usize,
                header.ranges as usize,
                header.expanded_bytes as usize,
            );
            let raw = directory.u32().filter(|&n| u64::from(n) <= most)?;
            let stored = data.split_off(..directory.u32()? as usize)?;
            *stream = (stored, raw as usize);
        }
        data.is_empty().then_some(Directory { streams })
    }

    fn stream(&self, wanted: usize) -> Result<Cow<'a, [u8]>, Damage> {
        let (stored, raw) = self.streams[wanted];
        decompress(stored, raw)
    }
}

thread_local! {
    /// zstd's memory: making it takes longer than reading the columns of a batch of large records.
    static ZSTD: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
}

/// What was stored: compressed unless it has the length that it is read with.
fn decompress(stored: &[u8], raw: usize) -> Result<Cow<'_, [u8]>, Damage> {
    if stored.len() == raw {
        return Ok(stored.into());
    }
    // A header can say much more than there is memory: that must not end the reader.
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(raw).is_err() {
        return Err("a section says that it is larger than there is memory");
    }
    let done = ZSTD.with_borrow_mut(|zstd| zstd.decompress_to_buffer(stored, &mut bytes));
    match done {
        Ok(length) if length == raw => Ok(bytes.into()),
        _ => Err("a section cannot be decompressed"),
    }
}

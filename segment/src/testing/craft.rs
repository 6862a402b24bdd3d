//! Crafted files: checksums that are right whatever was done to the bytes, so that what fuzzing makes
//! up gets past them and is read.
//!
//! It takes any bytes and says nothing about them: whether they are a log is for the readers to find.

use crate::batch::HEADER_BYTES;
use crate::tail::{
    BUFFER_HEADER, COUNTERS_AT, DATA_AT, ENTRY_HEADER, FIXED_BYTES, HEADERS_AT, LAST_WORDS_AT,
    MAX_BUFFERS, entry_check, last_words, reader,
};
use crate::{codec::Cursor, file, tail};

/// Where the fields of a batch header stand that say where its sections are: `FORMAT.md`.
const CRC: usize = 4;
const CALLS_BYTES: usize = 80;
const CALLS_CRC: usize = 84;
const PAYLOAD_BYTES: usize = 88;
const PAYLOAD_CRC: usize = 92;
const LITERAL_BYTES: usize = 96;
const OPEN_BYTES: usize = 108;
const OPEN_CRC: usize = 112;
/// The streams of a batch's call section, before which stand two lengths for each.
const STREAMS: usize = 7;

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Makes all checksums of a segment right: of its header, of each batch that begins where the one
/// before it ends or with the magic number of batches, and of its footer.
pub fn fix_segment(bytes: &mut [u8]) {
    if let Some(json) = number(bytes, 12).and_then(|n| bytes.get(file::FIXED..)?.get(..n)) {
        put(bytes, 16, crc32c::crc32c(json));
    }
    let mut at = 0;
    while at + HEADER_BYTES <= bytes.len() {
        if !bytes[at..].starts_with(&crate::batch::MAGIC) {
            at += 1;
            continue;
        }
        let length = fix_batch_at(bytes, at, at);
        // Only where the batch is whole does the next one begin behind it.
        let next = at + HEADER_BYTES + length;
        at = if next <= bytes.len() { next } else { at + 4 };
    }
    fix_footer(bytes);
}

/// Makes the checksums of the batch header at `header` right, whose sections follow the header that
/// stands at `batch`. Returns how long the sections are.
fn fix_batch_at(bytes: &mut [u8], header: usize, batch: usize) -> usize {
    let mut at = batch.saturating_add(HEADER_BYTES);
    let sections = [
        (CALLS_BYTES, CALLS_CRC),
        (PAYLOAD_BYTES, PAYLOAD_CRC),
        (OPEN_BYTES, OPEN_CRC),
    ];
    for (length, crc) in sections {
        let length = number(bytes, header + length).unwrap_or(0);
        let section = bytes.get(at..).and_then(|rest| rest.get(..length));
        if let Some(section) = section {
            let right = crc32c::crc32c(section);
            put(bytes, header + crc, right);
        }
        at = at.saturating_add(length);
    }
    let right = crc32c::crc32c(&bytes[header + 8..header + HEADER_BYTES]);
    put(bytes, header + CRC, right);
    at.saturating_sub(batch.saturating_add(HEADER_BYTES)) + 1
}

fn fix_footer(bytes: &mut [u8]) {
    let Some(trailer) = bytes.len().checked_sub(file::TRAILER) else {
        return;
    };
    let Some(start) = number(bytes, trailer).and_then(|n| trailer.checked_sub(n)) else {
        return;
    };
    if !bytes.ends_with(&file::END_MAGIC) {
        return;
    }
    let mut entry = start + file::FOOTER_MAGIC.len() + 4;
    for _ in 0..number(bytes, entry - 4).unwrap_or(0) {
        if entry + file::INDEX_ENTRY > trailer {
            break;
        }
        let position = Cursor::new(&bytes[entry..]).u64().unwrap_or(0);
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let own = bytes.get(position..).and_then(<[u8]>::first_chunk);
        match own.copied() {
            // The index has to say what the batch does.
            Some::<[u8; HEADER_BYTES]>(own) if own.starts_with(&crate::batch::MAGIC) => {
                bytes[entry + 8..][..HEADER_BYTES].copy_from_slice(&own);
            }
            _ => {
                fix_batch_at(bytes, entry + 8, position);
            }
        }
        entry += file::INDEX_ENTRY;
    }
    let right = crc32c::crc32c(&bytes[start..trailer]);
    put(bytes, trailer + 4, right);
}

/// Makes all checksums of a tail right: of its beginning, of the last words, and of the entries of
/// each buffer as far as their lengths lead.
pub fn fix_tail(bytes: &mut [u8]) {
    let checked = FIXED_BYTES - 4;
    if let Some(fixed) = bytes.get(..checked) {
        let right = crc32c::crc32c(fixed);
        put(bytes, checked, right);
    }
    for slot in 0..last_words::SLOTS {
        let at = LAST_WORDS_AT + slot * last_words::ROOM;
        let length = number(bytes, at).unwrap_or(0);
        if let Some(words) = bytes.get(at + 8..).and_then(|w| w.get(..length)) {
            let right = crc32c::crc32c(words);
            put(bytes, at + 4, right);
        }
    }
    let buffer = Cursor::new(bytes.get(16..).unwrap_or_default()).u64();
    let Some(buffer) = buffer.and_then(|n| usize::try_from(n).ok()) else {
        return;
    };
    let data = bytes.get_mut(DATA_AT as usize..).unwrap_or_default();
    for mut rest in data.chunks_mut(buffer.max(ENTRY_HEADER)) {
        while let Some((header, behind)) = rest.split_first_chunk_mut::<ENTRY_HEADER>() {
            let length = number(header, 0).unwrap_or(usize::MAX);
            let Some((content, next)) = behind.split_at_mut_checked(length) else {
                break;
            };
            let mut first = [0; 8];
            first.copy_from_slice(&header[..8]);
            let offset = Cursor::new(&header[12..]).u64().unwrap_or(0);
            put(header, 8, entry_check(first, offset, content));
            rest = next;
        }
    }
}

/// A tail in few bytes, without what is zero: one byte that says whether the machine was started
/// again since, the number of buffers, their size; for each its number, how much is published, and
/// how many bytes it has; the counters, and how long the last words are, both of them. Then these and
/// the bytes.
pub fn fold_tail(tail: &[u8]) -> Option<Vec<u8>> {
    let mut c = Cursor::new(tail.get(12..)?);
    let (buffers, size) = (c.u32()?, c.u64()?);
    let size = usize::try_from(size).ok()?;
    let mut out = vec![0, buffers as u8];
    out.extend((size as u32).to_le_bytes());
    let mut contents: Vec<u8> = Vec::new();
    let mut words = Vec::new();
    for slot in 0..last_words::SLOTS {
        let said = tail.get(LAST_WORDS_AT + slot * last_words::ROOM..)?;
        let said = said.get(..8 + number(said, 0)?)?;
        words.push(said.len() as u16);
        contents.extend(said);
    }
    for i in 0..buffers as usize {
        let header = tail.get(HEADERS_AT as usize + i * BUFFER_HEADER as usize..)?;
        out.extend(header.get(..16)?);
        let bytes = tail.get(DATA_AT as usize + i * size..)?.get(..size)?;
        let length = bytes
            .iter()
            .rposition(|&b| b != 0)
            .map_or(0, |last| last + 1);
        out.extend((length as u32).to_le_bytes());
        contents.extend(&bytes[..length]);
    }
    out.extend(tail.get(COUNTERS_AT..COUNTERS_AT + 16)?);
    out.extend(words.into_iter().flat_map(u16::to_le_bytes));
    out.extend(contents);
    Some(out)
}

/// The tail that [`fold_tail`] would make these bytes of, for the process of that id, with right
/// checksums; and what follows in the bytes. None where they end too early, or the tail would be
/// larger than a mebibyte.
pub fn unfold_tail(bytes: &[u8], process: [u8; 16]) -> Option<(Vec<u8>, &[u8])> {
    const MOST: usize = 1 << 20;
    let mut c = Cursor::new(bytes);
    let (other_boot, buffers) = (c.u8()? & 1 != 0, usize::from(c.u8()?));
    let size = c.u32()? as usize;
    if buffers > MAX_BUFFERS || buffers.checked_mul(size)? > MOST {
        return None;
    }
    let mut out = vec![0; DATA_AT as usize + buffers * size];
    let mut lengths = Vec::new();
    for i in 0..buffers {
        let at = HEADERS_AT as usize + i * BUFFER_HEADER as usize;
        out[at..at + 16].copy_from_slice(c.bytes(16)?);
        lengths.push(c.u32()? as usize);
    }
    out[COUNTERS_AT..COUNTERS_AT + 16].copy_from_slice(c.bytes(16)?);
    let words = [usize::from(c.u16()?), usize::from(c.u16()?)];
    let places = out[LAST_WORDS_AT..HEADERS_AT as usize].chunks_exact_mut(last_words::ROOM);
    for (place, length) in places.zip(words) {
        place.get_mut(..length)?.copy_from_slice(c.bytes(length)?);
    }
    for (i, length) in lengths.into_iter().enumerate() {
        let place = out[DATA_AT as usize + i * size..][..size].get_mut(..length)?;
        place.copy_from_slice(c.bytes(length)?);
    }
    let boot = if other_boot {
        [0; 16]
    } else {
        reader::boot_id()
    };
    let fixed = [
        &tail::MAGIC[..],
        &tail::VERSION.to_le_bytes(),
        &(buffers as u32).to_le_bytes(),
        &(size as u64).to_le_bytes(),
        &process,
        &boot,
    ];
    let fixed = fixed.concat();
    out[..fixed.len()].copy_from_slice(&fixed);
    fix_tail(&mut out);
    Some((out, c.rest()))
}

/// A batch whose sections are stored as they are, apart: its header, and each stream and the payload
/// after its length.
pub fn split_batch(batch: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = batch.split_at_checked(HEADER_BYTES)?;
    let mut c = Cursor::new(body);
    let directory = c.bytes(STREAMS * 8)?;
    let mut out = header.to_vec();
    for i in 0..STREAMS {
        let stored = number(directory, 8 * i + 4)?;
        if number(directory, 8 * i) != Some(stored) {
            return None;
        }
        out.extend((stored as u32).to_le_bytes());
        out.extend(c.bytes(stored)?);
    }
    out.extend(c.bytes(number(header, PAYLOAD_BYTES)?)?);
    Some(out)
}

/// The batch that [`split_batch`] would make these bytes of, with right lengths and checksums.
pub fn join_batch(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut c = Cursor::new(bytes);
    let mut out = c.bytes(HEADER_BYTES)?.to_vec();
    let mut streams: Vec<u8> = Vec::new();
    for _ in 0..STREAMS {
        let length = c.u32()?;
        streams.extend(c.bytes(length as usize)?);
        out.extend(length.to_le_bytes());
        out.extend(length.to_le_bytes());
    }
    let (payload, calls) = (c.rest(), STREAMS * 8 + streams.len());
    out.extend(streams);
    out.extend(payload);
    out[..4].copy_from_slice(&crate::batch::MAGIC);
    put(&mut out, CALLS_BYTES, calls as u32);
    put(&mut out, PAYLOAD_BYTES, payload.len() as u32);
    put(&mut out, LITERAL_BYTES, payload.len() as u32);
    put(&mut out, OPEN_BYTES, 0);
    fix_batch_at(&mut out, 0, 0);
    out.push(0);
    Some(out)
}

//! The tail: the newest records of a running process, in a preallocated, memory-mapped file.
//!
//! The guest's thread appends to it ([`writer`]), one copy and one release store a record, no system
//! call. A background thread turns full buffers into batches ([`crate::recorder`]) and gives them
//! back. Other processes read it with `pread`, never by mapping ([`reader`]): they copy, look at the
//! buffer's number again, and what was given back meanwhile stands in a segment.
//!
//! A record is two entries: its beginning, published before the effect, and its end, published
//! before the guest goes on. An entry that does not fit goes on in the next buffer. `FORMAT.md` has
//! the layout.

pub(crate) mod decode;
pub(crate) mod last_words;
pub(crate) mod map;
#[cfg(all(loom, test))]
#[allow(clippy::unwrap_used)]
mod models;
pub(crate) mod protocol;
pub(crate) mod reader;
pub(crate) mod writer;

/// The name of the file in the process's folder.
pub(crate) const FILE_NAME: &str = "tail";

pub(crate) const MAGIC: [u8; 8] = *b"TCTAIL\r\n";
pub(crate) const VERSION: u32 = 1;

/// The most buffers that a tail has: their headers fill one page.
pub(crate) const MAX_BUFFERS: usize = 64;
/// Where buffer headers begin in the file.
pub(crate) const HEADERS_AT: u64 = 4096;
/// The length of a buffer header, a cache line.
pub(crate) const BUFFER_HEADER: u64 = 64;
/// Where buffers begin in the file.
pub(crate) const DATA_AT: u64 = 8192;

/// The fixed part of the file, before the counters: magic, version, number and size of buffers,
/// process id, boot id, and a checksum of these.
pub(crate) const FIXED_BYTES: usize = 60;
/// Where the counters begin that change while the process runs.
pub(crate) const COUNTERS_AT: usize = 64;
/// Where the last words begin: what there was no buffer for.
pub(crate) const LAST_WORDS_AT: usize = 128;

/// The header of an entry: length of its content, kind, low bits of the buffer's number, checksum,
/// offset.
pub(crate) const ENTRY_HEADER: usize = 20;
/// An entry is begun only where so much room is left, so that its header and fixed part never split.
pub(crate) const ENTRY_ROOM: usize = 160;

/// A record begins: start time, function, arguments, input.
pub(crate) const BEGIN: u8 = 1;
/// A record ends: what the host wrote, the note, and a trailer of [`TRAILER`] bytes.
pub(crate) const END: u8 = 2;
/// A record is given up: how it ended was not recorded.
pub(crate) const GIVEN_UP: u8 = 3;
/// The entry goes on in the next buffer.
pub(crate) const MORE: u8 = 0x80;
/// The entry goes on from the buffer before.
pub(crate) const CONTINUED: u8 = 0x40;

/// The fixed part of a beginning: start time, function, number of arguments.
pub(crate) const BEGIN_FIXED: usize = 16;
/// The end of an end: duration, result, consumed input, outcome, length of the note.
pub(crate) const TRAILER: usize = 32;
/// What stands before the bytes of a write: address and length.
pub(crate) const WRITE_HEADER: usize = 12;
/// All input was taken.
pub(crate) const ALL_CONSUMED: u64 = u64::MAX;

/// The checksum of an entry: of its content, and of the header's first eight bytes and offset.
#[inline]
pub(crate) fn entry_check(first: [u8; 8], offset: u64, content: &[u8]) -> u32 {
    // Odd numbers without a pattern: no change of one byte is taken back by another part.
    const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
    const OFFSET: u64 = 0xC2B2_AE3D_27D4_EB4F;
    let header =
        u64::from_le_bytes(first).wrapping_mul(FIRST) ^ offset.wrapping_mul(OFFSET).rotate_left(32);
    let check = xxhash_rust::xxh3::xxh3_64(content) ^ header;
    (check ^ (check >> 32)) as u32
}

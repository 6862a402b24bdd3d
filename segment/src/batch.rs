//! A batch: records as columns on disk. `FORMAT.md` has the grammar.
//!
//! Pure: bytes in, bytes out. Damage is an error with a reason, never a panic and never a wrong
//! record: each section is checked against its CRC32C before anything of it is believed.

use crate::calls::{Calls, Projection};
use crate::codec::{Cursor, put_varint, unzigzag, zigzag};
use crate::function::{self, Kind, Scalar};
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::{Dropped, Outcome, Range};

/// The length of a batch header in bytes.
pub const HEADER_BYTES: usize = 128;
/// `TCB1`.
const MAGIC: u32 = u32::from_le_bytes(*b"TCB1");
/// No section is larger, in bytes: what says that it is, is damaged.
const MAX_SECTION: u32 = 1 << 30;

/// A failed call, a trap, an interrupt or a call in flight is in the batch.
const FLAG_ANY_FAILED: u32 = 1;
/// The payload section is compressed with zstd.
const FLAG_PAYLOAD_ZSTD: u32 = 2;

/// What a batch says of itself before anything is decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The offset of the first record.
    pub first_offset: Offset,
    /// How many records.
    pub count: u32,
    /// The start time of the first record.
    pub first_time: ElapsedNs,
    /// The start time of the last record.
    pub last_time: ElapsedNs,
    /// Whether any call did not return success.
    pub any_failed: bool,
    /// The range of descriptors that stand in arguments and outputs, both ends included.
    pub fds: Option<(u32, u32)>,
    /// The stored size of the call columns, in bytes.
    pub calls_bytes: u64,
    /// The stored size of the payloads, in bytes.
    pub payload_bytes: u64,
    /// How many bytes the records took in the tail.
    pub raw_bytes: u64,
    /// Bit `id % 256` is set for each function in the batch.
    pub functions: [u64; 4],
}

impl Summary {
    /// The offset after the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.first_offset.plus(u64::from(self.count))
    }

    /// False where the batch surely has no record of that function.
    #[must_use]
    pub fn may_have_function(&self, id: FunctionId) -> bool {
        let bit = usize::from(id.0) % 256;
        self.functions[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// False where the batch surely has no record of that descriptor.
    #[must_use]
    pub fn may_have_fd(&self, fd: u32) -> bool {
        self.fds.is_some_and(|(low, high)| low <= fd && fd <= high)
    }

    /// The summary of records that are not in a batch yet.
    #[must_use]
    pub fn of(calls: &Calls) -> Summary {
        let mut summary = Summary {
            first_offset: calls.first_offset,
            count: u32::try_from(calls.len()).unwrap_or(u32::MAX),
            first_time: ElapsedNs(calls.starts.first().copied().unwrap_or(0)),
            last_time: ElapsedNs(calls.starts.last().copied().unwrap_or(0)),
            any_failed: false,
            fds: None,
            calls_bytes: 0,
            payload_bytes: 0,
            raw_bytes: 0,
            functions: [0; 4],
        };
        let columns = calls
            .outcomes
            .iter()
            .zip(&calls.results)
            .zip(&calls.functions);
        for (i, ((outcome, &result), &id)) in columns.enumerate() {
            let bit = usize::from(id.0) % 256;
            summary.functions[bit / 64] |= 1 << (bit % 64);
            summary.any_failed |= *outcome != Outcome::Returned || result != 0;
            let Some(row) = function::by_id(id) else {
                continue;
            };
            let args = row.params.iter().zip(calls.args(i));
            let fds = args.filter(|(p, _)| p.kind == Kind::Fd).map(|(_, &fd)| fd);
            let outs = row.outs.iter().zip(calls.outs(i));
            let opened = outs
                .filter(|&(&p, _)| row.params[p].kind == Kind::Out(Scalar::Fd))
                .map(|(_, &fd)| fd);
            for fd in fds.chain(opened) {
                let fd = fd as u32;
                let (low, high) = summary.fds.unwrap_or((fd, fd));
                summary.fds = Some((low.min(fd), high.max(fd)));
            }
        }
        summary
    }
}

/// The header of a batch: its summary, and what is needed to read its sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) summary: Summary,
    calls_crc: u32,
    payload_raw: u32,
    payload_crc: u32,
    payload_zstd: bool,
    pub(crate) open_bytes: u32,
    open_crc: u32,
    /// How many batches before this one hold earlier pieces of the record left open at the end.
    pub(crate) open_back: u32,
}

impl Header {
    /// How many bytes follow the header.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.summary.calls_bytes + self.summary.payload_bytes + u64::from(self.open_bytes) + 1
    }

    /// Whether a record began in the buffer that this batch is made of, and did not end there.
    pub(crate) fn has_open(&self) -> bool {
        self.open_bytes > 0
    }

    pub(crate) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let s = &self.summary;
        let mut out = Vec::with_capacity(HEADER_BYTES);
        let mut flags = 0;
        if s.any_failed {
            flags |= FLAG_ANY_FAILED;
        }
        if self.payload_zstd {
            flags |= FLAG_PAYLOAD_ZSTD;
        }
        let (fd_low, fd_high) = s.fds.unwrap_or((1, 0));
        out.extend(s.first_offset.0.to_le_bytes());
        out.extend(s.count.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(s.first_time.0.to_le_bytes());
        out.extend(s.last_time.0.to_le_bytes());
        out.extend(s.functions.iter().flat_map(|word| word.to_le_bytes()));
        for n in [
            fd_low,
            fd_high,
            s.calls_bytes as u32,
            self.calls_crc,
            s.payload_bytes as u32,
            self.payload_raw,
            self.payload_crc,
            self.open_bytes,
            self.open_crc,
            self.open_back,
        ] {
            out.extend(n.to_le_bytes());
        }
        out.extend(s.raw_bytes.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header[8..8 + out.len()].copy_from_slice(&out);
        let crc = crc32c::crc32c(&header[8..]);
        header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Reads a header; says what does not hold where it is not one.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Header, &'static str> {
        let mut c = Cursor::new(bytes);
        if c.u32() != Some(MAGIC) {
            return Err("no batch begins here");
        }
        if c.u32() != Some(crc32c::crc32c(&bytes[8..])) {
            return Err("the batch header does not match its checksum");
        }
        Header::fields(&mut c)
            .filter(|h| {
                [
                    h.summary.calls_bytes as u32,
                    h.summary.payload_bytes as u32,
                    h.payload_raw,
                    h.open_bytes,
                ]
                .iter()
                .all(|&n| n <= MAX_SECTION)
                    && h.summary
                        .first_offset
                        .0
                        .checked_add(u64::from(h.summary.count))
                        .is_some()
            })
            .ok_or("the batch header has sizes that cannot be")
    }

    fn fields(c: &mut Cursor<'_>) -> Option<Header> {
        let first_offset = Offset(c.u64()?);
        let count = c.u32()?;
        let flags = c.u32()?;
        let first_time = ElapsedNs(c.u64()?);
        let last_time = ElapsedNs(c.u64()?);
        let functions = [c.u64()?, c.u64()?, c.u64()?, c.u64()?];
        let (low, high) = (c.u32()?, c.u32()?);
        let calls_bytes = u64::from(c.u32()?);
        let calls_crc = c.u32()?;
        let payload_bytes = u64::from(c.u32()?);
        let (payload_raw, payload_crc) = (c.u32()?, c.u32()?);
        let (open_bytes, open_crc, open_back) = (c.u32()?, c.u32()?, c.u32()?);
        Some(Header {
            summary: Summary {
                first_offset,
                count,
                first_time,
                last_time,
                any_failed: flags & FLAG_ANY_FAILED != 0,
                fds: (low <= high).then_some((low, high)),
                calls_bytes,
                payload_bytes,
                raw_bytes: c.u64()?,
                functions,
            },
            calls_crc,
            payload_raw,
            payload_crc,
            payload_zstd: flags & FLAG_PAYLOAD_ZSTD != 0,
            open_bytes,
            open_crc,
            open_back,
        })
    }
}

/// How sections are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// zstd at level 1; what does not shrink is stored as it is.
    #[default]
    Zstd,
    /// As it is.
    None,
}

/// The streams of the call section, in their order.
const STREAMS: usize = 7;
const FUNCTIONS: usize = 0;
const STARTS: usize = 1;
const DURATIONS: usize = 2;
const RESULTS: usize = 3;
const ARGS: usize = 4;
const OUTS: usize = 5;
const LAYOUT: usize = 6;

/// What is left open at the end of a buffer: see [`crate::tail`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open<'a> {
    /// Pieces of the open record, entry headers included; empty where none is open.
    pub(crate) bytes: &'a [u8],
    /// How many batches before hold earlier pieces.
    pub(crate) back: u32,
}

/// Makes batches; keeps the compressor's memory from one to the next.
pub(crate) struct Encoder {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    streams: [Vec<u8>; STREAMS],
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> std::io::Result<Encoder> {
        let zstd = match compression {
            Compression::Zstd => Some(zstd::bulk::Compressor::new(1)?),
            Compression::None => None,
        };
        Ok(Encoder {
            zstd,
            streams: Default::default(),
        })
    }

    /// Appends a batch to `out`, header first, and returns the header.
    pub(crate) fn encode(
        &mut self,
        calls: &Calls,
        raw_bytes: u64,
        open: Open<'_>,
        out: &mut Vec<u8>,
    ) -> std::io::Result<Header> {
        self.streams.iter_mut().for_each(Vec::clear);
        write_columns(calls, &mut self.streams);

        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let calls_at = out.len();
        out.resize(calls_at + STREAMS * 8, 0);
        for i in 0..STREAMS {
            let raw = self.streams[i].len();
            let at = out.len();
            compress(self.zstd.as_mut(), &self.streams[i], out)?;
            let stored = out.len() - at;
            let entry = calls_at + i * 8;
            out[entry..entry + 4].copy_from_slice(&(raw as u32).to_le_bytes());
            out[entry + 4..entry + 8].copy_from_slice(&(stored as u32).to_le_bytes());
        }
        let payload_at = out.len();
        let payload_zstd = compress(self.zstd.as_mut(), &calls.payload, out)?;
        let open_at = out.len();
        out.extend_from_slice(open.bytes);
        let end = out.len();
        // What a guest wrote must not end a file: it could be the end of a footer.
        out.push(0);

        let mut summary = Summary::of(calls);
        summary.calls_bytes = (payload_at - calls_at) as u64;
        summary.payload_bytes = (open_at - payload_at) as u64;
        summary.raw_bytes = raw_bytes;
        let header = Header {
            summary,
            calls_crc: crc32c::crc32c(&out[calls_at..payload_at]),
            payload_raw: calls.payload.len() as u32,
            payload_crc: crc32c::crc32c(&out[payload_at..open_at]),
            payload_zstd,
            open_bytes: (end - open_at) as u32,
            open_crc: crc32c::crc32c(&out[open_at..end]),
            open_back: open.back,
        };
        out[start..start + HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(header)
    }
}

/// Appends `raw` to `out`, compressed where that makes it smaller; returns whether it did.
fn compress(
    zstd: Option<&mut zstd::bulk::Compressor<'static>>,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> std::io::Result<bool> {
    // Below this a zstd frame's own header eats what it saves.
    const WORTH_IT: usize = 32;
    let at = out.len();
    if let Some(zstd) = zstd
        && raw.len() >= WORTH_IT
    {
        out.resize(at + zstd::zstd_safe::compress_bound(raw.len()), 0);
        let stored = zstd.compress_to_buffer(raw, &mut out[at..])?;
        if stored < raw.len() {
            out.truncate(at + stored);
            return Ok(true);
        }
        out.truncate(at);
    }
    out.extend_from_slice(raw);
    Ok(false)
}

/// The rows of each function that is there, in the order of function numbers: columns are kept by
/// function, since the arguments of one function are alike.
fn by_function(functions: &[FunctionId]) -> Vec<(FunctionId, Vec<u32>)> {
    let mut groups: Vec<(FunctionId, Vec<u32>)> = Vec::new();
    let mut last = 0;
    for (row, &id) in functions.iter().enumerate() {
        if groups.get(last).is_none_or(|g| g.0 != id) {
            last = groups.iter().position(|g| g.0 == id).unwrap_or_else(|| {
                groups.push((id, Vec::new()));
                groups.len() - 1
            });
        }
        groups[last].1.push(row as u32);
    }
    groups.sort_unstable_by_key(|g| g.0);
    groups
}

/// Whether the `i`th output of a function is a clock's reading: it moves with the start times.
fn is_clock(id: FunctionId, i: usize) -> bool {
    function::by_id(id)
        .and_then(|row| row.outs.get(i).map(|&p| row.params[p].kind))
        .is_some_and(|kind| kind == Kind::Out(Scalar::Timestamp))
}

fn write_columns(calls: &Calls, streams: &mut [Vec<u8>; STREAMS]) {
    let groups = by_function(&calls.functions);
    streams[FUNCTIONS].extend(calls.functions.iter().flat_map(|id| id.0.to_le_bytes()));

    let mut last = calls.starts.first().copied().unwrap_or(0);
    for &start in &calls.starts {
        put_varint(&mut streams[STARTS], zigzag(start.wrapping_sub(last)));
        last = start;
    }
    for &duration in &calls.durations {
        put_varint(&mut streams[DURATIONS], duration);
    }
    streams[RESULTS].extend(calls.outcomes.iter().map(|&o| o as u8));
    for &result in &calls.results {
        put_varint(&mut streams[RESULTS], result);
    }

    for (id, rows) in &groups {
        let width = rows
            .iter()
            .map(|&r| calls.args(r as usize).len())
            .max()
            .unwrap_or(0);
        let out = &mut streams[ARGS];
        put_varint(out, width as u64);
        for p in 0..width {
            let mut last = 0;
            for &row in rows {
                let value = calls.args(row as usize).get(p).copied().unwrap_or(0);
                put_varint(out, zigzag(value.wrapping_sub(last)));
                last = value;
            }
        }

        let width = rows
            .iter()
            .map(|&r| calls.outs(r as usize).len())
            .max()
            .unwrap_or(0);
        let out = &mut streams[OUTS];
        put_varint(out, width as u64);
        if width == 0 {
            continue;
        }
        for eight in rows.chunks(8) {
            let bits = eight
                .iter()
                .enumerate()
                .map(|(bit, &row)| u8::from(!calls.outs(row as usize).is_empty()) << bit);
            out.push(bits.sum());
        }
        for i in 0..width {
            let clock = is_clock(*id, i);
            let (mut last, mut last_start) = (0_u64, 0_u64);
            for &row in rows {
                let Some(&value) = calls.outs(row as usize).get(i) else {
                    continue;
                };
                let mut expected = last;
                if clock {
                    let start = calls.starts[row as usize];
                    expected = expected.wrapping_add(start.wrapping_sub(last_start));
                    last_start = start;
                }
                put_varint(out, zigzag(value.wrapping_sub(expected)));
                last = value;
            }
        }
    }

    let out = &mut streams[LAYOUT];
    for &n in calls.input_lengths.iter().chain(&calls.note_lengths) {
        put_varint(out, u64::from(n));
    }
    let mut before = 0;
    for &end in &calls.range_ends {
        put_varint(out, u64::from(end - before));
        before = end;
    }
    let mut last = 0;
    for range in &calls.ranges {
        put_varint(out, zigzag(range.address.wrapping_sub(last)));
        last = range.address;
    }
    for range in &calls.ranges {
        put_varint(out, u64::from(range.length));
    }
    put_varint(out, calls.dropped.len() as u64);
    for (row, dropped) in &calls.dropped {
        put_varint(out, u64::from(*row));
        put_varint(out, dropped.length);
        out.extend(dropped.hash.to_le_bytes());
    }
}

/// What the sections of a batch do not fulfil, for [`crate::Error::Damaged`].
pub(crate) type Damage = &'static str;

const SHORT: Damage = "a column of the batch ends too early";

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
    let streams = Streams {
        section: calls_section,
    };
    let mut calls = Calls::new(header.summary.first_offset);
    let count = header.summary.count as usize;

    let functions = streams.get(FUNCTIONS)?;
    if functions.len() != count * 2 {
        return Err("the function column does not have the batch's number of records");
    }
    let pairs = functions.chunks_exact(2);
    calls
        .functions
        .extend(pairs.map(|b| FunctionId(u16::from_le_bytes([b[0], b[1]]))));

    // Clock readings are coded as differences from start times.
    if projection.has(Projection::STARTS) || projection.has(Projection::OUTS) {
        let raw = streams.get(STARTS)?;
        let mut c = Cursor::new(&raw);
        let mut last = header.summary.first_time.0;
        calls.starts.reserve(count);
        for _ in 0..count {
            last = last.wrapping_add(unzigzag(c.varint().ok_or(SHORT)?));
            calls.starts.push(last);
        }
    }
    if projection.has(Projection::DURATIONS) {
        let raw = streams.get(DURATIONS)?;
        let mut c = Cursor::new(&raw);
        calls.durations.reserve(count);
        for _ in 0..count {
            calls.durations.push(c.varint().ok_or(SHORT)?);
        }
    }
    if projection.has(Projection::RESULTS) {
        let raw = streams.get(RESULTS)?;
        let mut c = Cursor::new(&raw);
        for &n in c.bytes(count).ok_or(SHORT)? {
            let outcome = Outcome::from_number(n).ok_or("an outcome that does not exist")?;
            calls.outcomes.push(outcome);
        }
        calls.results.reserve(count);
        for _ in 0..count {
            calls.results.push(c.varint().ok_or(SHORT)?);
        }
    }
    if projection.has(Projection::ARGS) || projection.has(Projection::OUTS) {
        let groups = by_function(&calls.functions);
        if projection.has(Projection::ARGS) {
            read_args(&streams.get(ARGS)?, &groups, &mut calls).ok_or(SHORT)?;
        }
        if projection.has(Projection::OUTS) {
            read_outs(&streams.get(OUTS)?, &groups, &mut calls).ok_or(SHORT)?;
        }
    }
    if !projection.has(Projection::STARTS) {
        calls.starts = Vec::new();
    }
    if let Some(section) = payload_section {
        read_layout(&streams.get(LAYOUT)?, &mut calls).ok_or(SHORT)?;
        calls.payload = read_payload(header, section)?;
        if calls.payload_ends.last().copied().unwrap_or(0) as usize != calls.payload.len() {
            return Err("the payload does not have the length that the records add up to");
        }
    }
    Ok(calls)
}

fn read_payload(header: &Header, section: &[u8]) -> Result<Vec<u8>, Damage> {
    if crc32c::crc32c(section) != header.payload_crc {
        return Err("the payload does not match its checksum");
    }
    if !header.payload_zstd {
        return Ok(section.to_vec());
    }
    decompress(section, header.payload_raw as usize)
}

/// Checks what follows the payload in a batch's body, whose call section is cut off, and returns the
/// payload section.
pub(crate) fn check_open_and_end<'a>(header: &Header, rest: &'a [u8]) -> Result<&'a [u8], Damage> {
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

fn decompress(stored: &[u8], raw: usize) -> Result<Vec<u8>, Damage> {
    match zstd::bulk::decompress(stored, raw) {
        Ok(bytes) if bytes.len() == raw => Ok(bytes),
        _ => Err("a section cannot be decompressed"),
    }
}

/// The directory of the call section, and its streams.
struct Streams<'a> {
    section: &'a [u8],
}

impl<'a> Streams<'a> {
    fn get(&self, wanted: usize) -> Result<std::borrow::Cow<'a, [u8]>, Damage> {
        self.find(wanted)
            .ok_or("the directory of the call columns points past them")
            .and_then(|(stored, raw)| {
                if stored.len() == raw {
                    return Ok(stored.into());
                }
                decompress(stored, raw).map(Into::into)
            })
    }

    fn find(&self, wanted: usize) -> Option<(&'a [u8], usize)> {
        let (directory, mut data) = self.section.split_at_checked(STREAMS * 8)?;
        let mut directory = Cursor::new(directory);
        for i in 0..STREAMS {
            let raw = directory.u32().filter(|&n| n <= MAX_SECTION)? as usize;
            let (stored, rest) = data.split_at_checked(directory.u32()? as usize)?;
            if i == wanted {
                return Some((stored, raw));
            }
            data = rest;
        }
        None
    }
}

fn read_args(raw: &[u8], groups: &[(FunctionId, Vec<u32>)], calls: &mut Calls) -> Option<()> {
    let mut c = Cursor::new(raw);
    // Widths stand before each function's columns, so one pass over the rows needs them first:
    // columns are read into place by function, and a row's place is known from its function's width.
    let widths = peek_widths(c, groups)?;
    let mut end = 0_u32;
    let mut starts = Vec::with_capacity(calls.len());
    let mut ids = IdWidths::new(groups, &widths);
    for &id in &calls.functions {
        starts.push(end);
        end = end.checked_add(ids.of(id))?;
        calls.arg_ends.push(end);
    }
    calls.args.resize(end as usize, 0);
    for (_, rows) in groups {
        let width = usize::try_from(c.varint()?).ok()?;
        for p in 0..width {
            let mut last = 0_u64;
            for &row in rows {
                last = last.wrapping_add(unzigzag(c.varint()?));
                *calls.args.get_mut(starts[row as usize] as usize + p)? = last;
            }
        }
    }
    Some(())
}

/// The number of arguments of each function, found by walking over the columns.
fn peek_widths(mut c: Cursor<'_>, groups: &[(FunctionId, Vec<u32>)]) -> Option<Vec<u32>> {
    let mut widths = Vec::with_capacity(groups.len());
    for (_, rows) in groups {
        let width = u32::try_from(c.varint()?).ok().filter(|&w| w <= 1024)?;
        for _ in 0..width as usize * rows.len() {
            c.varint()?;
        }
        widths.push(width);
    }
    Some(widths)
}

/// Widths by function number; neighbours are mostly of one function.
struct IdWidths<'a> {
    groups: &'a [(FunctionId, Vec<u32>)],
    widths: &'a [u32],
    last: usize,
}

impl<'a> IdWidths<'a> {
    fn new(groups: &'a [(FunctionId, Vec<u32>)], widths: &'a [u32]) -> Self {
        IdWidths {
            groups,
            widths,
            last: 0,
        }
    }

    fn of(&mut self, id: FunctionId) -> u32 {
        if self.groups.get(self.last).is_none_or(|g| g.0 != id) {
            self.last = self.groups.binary_search_by_key(&id, |g| g.0).unwrap_or(0);
        }
        self.widths.get(self.last).copied().unwrap_or(0)
    }
}

fn read_outs(raw: &[u8], groups: &[(FunctionId, Vec<u32>)], calls: &mut Calls) -> Option<()> {
    let mut c = Cursor::new(raw);
    // Which rows have outputs, and how many, comes with each function, so values are gathered by
    // row first and laid out after.
    let mut widths = vec![0_u32; calls.len()];
    let mut columns: Vec<(usize, Vec<u32>, Vec<u64>)> = Vec::new();
    for (id, rows) in groups {
        let width = usize::try_from(c.varint()?).ok().filter(|&w| w <= 1024)?;
        if width == 0 {
            continue;
        }
        let bits = c.bytes(rows.len().div_ceil(8))?;
        let present: Vec<u32> = rows
            .iter()
            .enumerate()
            .filter(|&(i, _)| bits[i / 8] & (1 << (i % 8)) != 0)
            .map(|(_, &row)| row)
            .collect();
        for i in 0..width {
            let clock = is_clock(*id, i);
            let (mut last, mut last_start) = (0_u64, 0_u64);
            let mut values = Vec::with_capacity(present.len());
            for &row in &present {
                let mut expected = last;
                if clock {
                    let start = calls.starts[row as usize];
                    expected = expected.wrapping_add(start.wrapping_sub(last_start));
                    last_start = start;
                }
                last = expected.wrapping_add(unzigzag(c.varint()?));
                values.push(last);
            }
            columns.push((i, present.clone(), values));
        }
        for &row in &present {
            widths[row as usize] = width as u32;
        }
    }
    let mut end = 0_u32;
    for width in &mut widths {
        let start = end;
        end = end.checked_add(*width)?;
        calls.out_ends.push(end);
        *width = start;
    }
    let starts = widths;
    calls.outs.resize(end as usize, 0);
    for (i, rows, values) in columns {
        for (row, value) in rows.into_iter().zip(values) {
            *calls.outs.get_mut(starts[row as usize] as usize + i)? = value;
        }
    }
    Some(())
}

fn read_layout(raw: &[u8], calls: &mut Calls) -> Option<()> {
    let count = calls.len();
    let mut c = Cursor::new(raw);
    calls.input_lengths = read_lengths(&mut c, count)?;
    calls.note_lengths = read_lengths(&mut c, count)?;
    let mut end = 0_u32;
    for n in read_lengths(&mut c, count)? {
        end = end.checked_add(n)?;
        calls.range_ends.push(end);
    }
    // Each range takes at least two bytes here, so damaged counts cannot ask for much memory.
    if end as usize > c.rest().len() {
        return None;
    }
    let mut address = 0_u64;
    for _ in 0..end {
        address = address.wrapping_add(unzigzag(c.varint()?));
        calls.ranges.push(Range { address, length: 0 });
    }
    for range in &mut calls.ranges {
        range.length = u32::try_from(c.varint()?).ok()?;
    }
    for _ in 0..c.varint()? {
        let row = u32::try_from(c.varint()?).ok()?;
        let length = c.varint()?;
        calls.dropped.push((
            row,
            Dropped {
                length,
                hash: c.u64()?,
            },
        ));
    }
    let mut end = 0_u32;
    let mut first = 0;
    for i in 0..count {
        end = end
            .checked_add(calls.input_lengths[i])?
            .checked_add(calls.note_lengths[i])?;
        let last = calls.range_ends[i] as usize;
        for range in &calls.ranges[first..last] {
            end = end.checked_add(range.length)?;
        }
        first = last;
        calls.payload_ends.push(end);
    }
    Some(())
}

fn read_lengths(c: &mut Cursor<'_>, count: usize) -> Option<Vec<u32>> {
    (0..count)
        .map(|_| c.varint().and_then(|n| u32::try_from(n).ok()))
        .collect()
}

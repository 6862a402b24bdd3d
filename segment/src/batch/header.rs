//! What a batch says of itself before anything of it is decompressed.

use super::columns::Groups;
use super::{Damage, MAX_RANGES, MAX_RECORDS, MAX_SECTION};
use crate::calls::Calls;
use crate::codec::Cursor;
use crate::function::{self, Kind, Scalar};
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::Outcome;

/// The length of a batch header in bytes.
pub const HEADER_BYTES: usize = 128;
pub(crate) const MAGIC: [u8; 4] = *b"TCB1";

/// A failed call, a trap, an interrupt or a call in flight is in the batch.
const FLAG_ANY_FAILED: u32 = 1;
/// The range of descriptors of a batch that has none.
const NO_FDS: (u32, u32) = (1, 0);

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
    /// A bit is set for each function in the batch: see [`Summary::may_have_function`].
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
        let bit = function_bit(id);
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
        Summary::of_groups(calls, &Groups::of(&calls.functions))
    }

    pub(super) fn of_groups(calls: &Calls, groups: &Groups) -> Summary {
        let failed = calls.outcomes.iter().any(|&o| o != Outcome::Returned)
            || calls.results.iter().any(|&r| r != 0);
        let mut summary = Summary {
            first_offset: calls.first_offset,
            count: u32::try_from(calls.len()).unwrap_or(u32::MAX),
            first_time: ElapsedNs(calls.starts.first().copied().unwrap_or(0)),
            last_time: ElapsedNs(calls.starts.last().copied().unwrap_or(0)),
            any_failed: failed,
            fds: None,
            calls_bytes: 0,
            payload_bytes: 0,
            raw_bytes: 0,
            functions: [0; 4],
        };
        for (id, rows) in groups.iter() {
            let bit = function_bit(id);
            summary.functions[bit / 64] |= 1 << (bit % 64);
            let Some(function) = function::by_id(id) else {
                continue;
            };
            for (p, param) in function.params.iter().enumerate() {
                if param.kind == Kind::Fd {
                    summary.add_fds(rows.iter().map(|&row| calls.args(row as usize).get(p)));
                }
            }
            for (i, &p) in function.outs.iter().enumerate() {
                if function.params[p].kind == Kind::Out(Scalar::Fd) {
                    summary.add_fds(rows.iter().map(|&row| calls.outs(row as usize).get(i)));
                }
            }
        }
        summary
    }

    fn add_fds<'a>(&mut self, fds: impl Iterator<Item = Option<&'a u64>>) {
        self.fds = fds.flatten().fold(self.fds, |range, &fd| {
            let fd = fd as u32;
            let (low, high) = range.unwrap_or((fd, fd));
            Some((low.min(fd), high.max(fd)))
        });
    }
}

/// The bit that stands for a function. Events have bits of their own, so that who looks for one does
/// not read each batch with a call whose number ends alike.
fn function_bit(id: FunctionId) -> usize {
    let number = usize::from(id.0);
    if id.is_event() {
        240 + number % 16
    } else {
        number % 240
    }
}

/// The header of a batch: its summary, and what is needed to read its sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) summary: Summary,
    pub(super) calls_crc: u32,
    pub(super) payload_crc: u32,
    /// The length of the payload without what is stored as references, in bytes.
    pub(super) literal_bytes: u32,
    /// The length of the payload as records have it, in bytes.
    pub(super) expanded_bytes: u32,
    /// How many ranges the records have.
    pub(super) ranges: u32,
    pub(crate) open_bytes: u32,
    pub(super) open_crc: u32,
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
        let flags = if s.any_failed { FLAG_ANY_FAILED } else { 0 };
        let (fd_low, fd_high) = s.fds.unwrap_or(NO_FDS);
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
            self.payload_crc,
            self.literal_bytes,
            self.expanded_bytes,
            self.ranges,
            self.open_bytes,
            self.open_crc,
            self.open_back,
        ] {
            out.extend(n.to_le_bytes());
        }
        out.extend(s.raw_bytes.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header[8..].copy_from_slice(&out);
        let crc = crc32c::crc32c(&header[8..]);
        header[0..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Reads a header; says what does not hold where it is not one.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Damage> {
        let mut c = Cursor::new(bytes);
        if c.array() != Some(MAGIC) {
            return Err("no batch begins here");
        }
        if c.u32() != Some(crc32c::crc32c(&bytes[8..])) {
            return Err("the batch header does not match its checksum");
        }
        Header::fields(&mut c)
            .filter(Header::can_be)
            .ok_or("the batch header has sizes that cannot be")
    }

    fn can_be(&self) -> bool {
        let s = &self.summary;
        let sections = [
            s.calls_bytes,
            s.payload_bytes,
            u64::from(self.expanded_bytes),
            u64::from(self.open_bytes),
            s.raw_bytes,
        ];
        sections.iter().all(|&n| n <= MAX_SECTION as u64)
            && s.payload_bytes <= u64::from(self.literal_bytes)
            && self.literal_bytes <= self.expanded_bytes
            && s.count as usize <= MAX_RECORDS
            && self.ranges as usize <= MAX_RANGES
            && s.first_offset.0.checked_add(u64::from(s.count)).is_some()
    }

    fn fields(c: &mut Cursor<'_>) -> Option<Header> {
        let first_offset = Offset(c.u64()?);
        let count = c.u32()?;
        let any_failed = match c.u32()? {
            0 => false,
            FLAG_ANY_FAILED => true,
            _ => return None,
        };
        let first_time = ElapsedNs(c.u64()?);
        let last_time = ElapsedNs(c.u64()?);
        let functions = [c.u64()?, c.u64()?, c.u64()?, c.u64()?];
        let fds = match (c.u32()?, c.u32()?) {
            NO_FDS => None,
            (low, high) if low <= high => Some((low, high)),
            _ => return None,
        };
        let calls_bytes = u64::from(c.u32()?);
        let calls_crc = c.u32()?;
        let payload_bytes = u64::from(c.u32()?);
        let payload_crc = c.u32()?;
        let (literal_bytes, expanded_bytes, ranges) = (c.u32()?, c.u32()?, c.u32()?);
        let (open_bytes, open_crc, open_back) = (c.u32()?, c.u32()?, c.u32()?);
        Some(Header {
            summary: Summary {
                first_offset,
                count,
                first_time,
                last_time,
                any_failed,
                fds,
                calls_bytes,
                payload_bytes,
                raw_bytes: c.u64()?,
                functions,
            },
            calls_crc,
            payload_crc,
            literal_bytes,
            expanded_bytes,
            ranges,
            open_bytes,
            open_crc,
            open_back,
        })
    }
}

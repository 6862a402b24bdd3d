//! From records to a batch.

use std::io;

use super::columns::{self, Groups, STREAMS};
use super::references::{self, Finder};
use super::{
    Compression, Effort, HEADER_BYTES, Header, MAX_RANGES, MAX_RECORDS, MAX_SECTION, MAX_WIDTH,
    Summary,
};
use crate::calls::Calls;

/// What is left open at the end of a buffer: see [`crate::tail`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open<'a> {
    /// Pieces of the open record, entry headers included; empty where none is open.
    pub(crate) bytes: &'a [u8],
    /// How many batches before hold earlier pieces.
    pub(crate) back: u32,
}

/// Why records cannot be a batch: no reader would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "a call and those recorded with it moved {0} bytes, and a batch of the log holds at most \
         {MAX_SECTION}"
    )]
    Payload(usize),
    #[error(
        "a call that has not ended takes {0} bytes, and a batch of the log holds at most {MAX_SECTION}"
    )]
    Open(usize),
    #[error(
        "the columns of the calls take {0} bytes, and a batch of the log holds at most {MAX_SECTION}"
    )]
    Columns(usize),
    #[error("{0} calls are too many for a batch of the log, which holds at most {MAX_RECORDS}")]
    Records(usize),
    #[error("the host wrote {0} ranges, and a batch of the log holds at most {MAX_RANGES}")]
    Ranges(usize),
    #[error(
        "a call has {0} arguments or outputs, and a record of the log holds at most {MAX_WIDTH}"
    )]
    Width(usize),
    #[error("a call has a part of its function's outputs, and must have all or none")]
    Outputs,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        let kind = match refused {
            Refused::Width(_) | Refused::Outputs => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::FileTooLarge,
        };
        io::Error::new(kind, refused)
    }
}

/// Makes batches; keeps the compressor's memory from one to the next.
pub(crate) struct Encoder {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    level: i32,
    finder: Finder,
    streams: [Vec<u8>; STREAMS],
    literals: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> io::Result<Encoder> {
        let level = Effort::Normal.level();
        let zstd = match compression {
            Compression::Zstd => Some(zstd::bulk::Compressor::new(level)?),
            Compression::None => None,
        };
        Ok(Encoder {
            zstd,
            level,
            finder: Finder::default(),
            streams: Default::default(),
            literals: Vec::new(),
        })
    }

    /// Appends a batch to `out`, header first, and returns the header.
    ///
    /// # Errors
    /// When the records are beyond what a batch can hold, or zstd has no memory.
    pub(crate) fn encode(
        &mut self,
        calls: &Calls,
        raw_bytes: u64,
        open: Open<'_>,
        effort: Effort,
        out: &mut Vec<u8>,
    ) -> io::Result<Header> {
        if open.bytes.len() > MAX_SECTION {
            return Err(Refused::Open(open.bytes.len()).into());
        }
        let groups = Groups::of(&calls.functions);
        check(calls, &groups)?;
        self.set_level(effort.level())?;
        let references = self.finder.find(calls);

        self.streams.iter_mut().for_each(Vec::clear);
        let [functions, starts, durations, results, args, outs, layout] = &mut self.streams;
        columns::write_functions(calls, functions);
        columns::write_starts(calls, starts);
        columns::write_durations(calls, durations);
        columns::write_results(calls, results);
        columns::write_args(calls, &groups, args);
        columns::write_outs(calls, &groups, outs);
        columns::write_layout(calls, references, layout);

        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let calls_at = out.len();
        out.resize(calls_at + STREAMS * 8, 0);
        for (i, raw) in self.streams.iter().enumerate() {
            let at = out.len();
            compress(self.zstd.as_mut(), raw, out)?;
            let stored = out.len() - at;
            let entry = calls_at + i * 8;
            out[entry..entry + 4].copy_from_slice(&(raw.len() as u32).to_le_bytes());
            out[entry + 4..entry + 8].copy_from_slice(&(stored as u32).to_le_bytes());
        }
        let payload_at = out.len();
        let columns: usize = self.streams.iter().map(Vec::len).sum();
        if columns.max(payload_at - calls_at) > MAX_SECTION {
            return Err(Refused::Columns(columns).into());
        }

        let literals = if references.is_empty() {
            &calls.payload
        } else {
            self.literals.clear();
            references::literals(&calls.payload, references, &mut self.literals);
            &self.literals
        };
        match effort {
            Effort::Normal | Effort::Fast => compress(self.zstd.as_mut(), literals, out)?,
            Effort::Raw => out.extend_from_slice(literals),
        }
        let open_at = out.len();
        out.extend_from_slice(open.bytes);
        let end = out.len();
        // What a guest wrote must not end a file: it could be the end of a footer.
        out.push(0);

        let mut summary = Summary::of_groups(calls, &groups);
        summary.calls_bytes = (payload_at - calls_at) as u64;
        summary.payload_bytes = (open_at - payload_at) as u64;
        summary.raw_bytes = raw_bytes;
        let header = Header {
            summary,
            calls_crc: crc32c::crc32c(&out[calls_at..payload_at]),
            payload_crc: crc32c::crc32c(&out[payload_at..open_at]),
            literal_bytes: literals.len() as u32,
            expanded_bytes: calls.payload.len() as u32,
            ranges: calls.ranges.len() as u32,
            open_bytes: (end - open_at) as u32,
            open_crc: crc32c::crc32c(&out[open_at..end]),
            open_back: open.back,
        };
        out[start..start + HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(header)
    }

    fn set_level(&mut self, level: i32) -> io::Result<()> {
        if let Some(zstd) = &mut self.zstd
            && self.level != level
        {
            zstd.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }
}

/// Whether a reader would take these records.
fn check(calls: &Calls, groups: &Groups) -> Result<(), Refused> {
    if calls.len() > MAX_RECORDS {
        return Err(Refused::Records(calls.len()));
    }
    if calls.ranges.len() > MAX_RANGES {
        return Err(Refused::Ranges(calls.ranges.len()));
    }
    if calls.payload.len() > MAX_SECTION {
        return Err(Refused::Payload(calls.payload.len()));
    }
    for (_, rows) in groups.iter() {
        let mut width = 0;
        for &row in rows {
            let (args, outs) = (calls.args(row as usize), calls.outs(row as usize));
            if args.len().max(outs.len()) > MAX_WIDTH {
                return Err(Refused::Width(args.len().max(outs.len())));
            }
            if !outs.is_empty() {
                if width != 0 && outs.len() != width {
                    return Err(Refused::Outputs);
                }
                width = outs.len();
            }
        }
    }
    Ok(())
}

/// Appends `raw` to `out`, compressed where that makes it smaller.
fn compress(
    zstd: Option<&mut zstd::bulk::Compressor<'static>>,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    // Below this a zstd frame's own header eats what it saves.
    const WORTH_IT: usize = 32;
    if let Some(zstd) = zstd
        && raw.len() >= WORTH_IT
    {
        let at = out.len();
        out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let mut room = io::Cursor::new(&mut *out);
        room.set_position(at as u64);
        let stored = zstd.compress_to_buffer(raw, &mut room)?;
        if stored < raw.len() {
            return Ok(());
        }
        out.truncate(at);
    }
    out.extend_from_slice(raw);
    Ok(())
}

//! Segment files: a header, batches, a footer that indexes them. `FORMAT.md` has the grammar.
//!
//! One process writes a segment once, from its beginning to its footer. A segment without a footer
//! is read by scanning; a batch that is cut at its end is not there yet, or will never be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::{self, HEADER_BYTES, Header, Summary};
use crate::calls::{Calls, Projection};
use crate::codec::Cursor;
use crate::descriptors::Descriptor;
use crate::disk;
use crate::error::{Error, Result};
use crate::event::{ProcessEnd, ProcessStart};
use crate::ids::SegmentNumber;
use crate::options::Sync;
use crate::snapshot::Problems;

/// The ending of a segment's file name, after its number in eight digits.
pub const EXTENSION: &str = "seg";

const MAGIC: [u8; 8] = *b"TCSEG\r\n\x1a";
/// The newest format version, and the one that is written.
pub const VERSION: u32 = 1;
/// Magic, version, length and checksum of the JSON that follows.
pub(crate) const FIXED: usize = 20;
/// Where the footer begins, so that a scan knows a footer that was cut from a damaged batch.
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"TCFOOT\r\n";
/// What ends a sealed file: length of the footer, its checksum, this.
pub(crate) const END_MAGIC: [u8; 8] = *b"TCSEAL\r\n";
pub(crate) const TRAILER: usize = 16;
/// An entry of the index: position, then the batch's header.
pub(crate) const INDEX_ENTRY: usize = 8 + HEADER_BYTES;

/// What a segment says of itself, as JSON at its beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentHeader {
    /// Its number in the process.
    pub segment: u32,
    /// The process that wrote it. It stands in its first record too; here it lets every segment
    /// explain itself.
    pub process: ProcessStart,
    /// The descriptors that are open at its first record.
    pub descriptors: Vec<Descriptor>,
}

/// What stands in the footer beside the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FooterJson {
    /// The process's last record, where this segment holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<ProcessEnd>,
}

/// The name of a segment's file.
#[must_use]
pub fn file_name(number: SegmentNumber) -> String {
    format!("{:08}.{EXTENSION}", number.0)
}

/// The number in the name of a segment's file.
fn number_of(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Writes a segment. A step that fails leaves the file as it was before, as far as that can be, and
/// may be tried again.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: File,
    /// Where the next batch goes.
    position: u64,
    index: Vec<(u64, Header)>,
    /// A step failed, and what it left behind `position` is still there.
    torn: bool,
    /// The disk has its name.
    named: bool,
}

impl SegmentWriter {
    /// Creates the file, readable by its user alone.
    pub(crate) fn create(folder: &Path, header: &SegmentHeader) -> Result<Self> {
        let path = folder.join(file_name(SegmentNumber(header.segment)));
        // It gets its name when it has its header, so that no reader finds half of one.
        let new = path.with_extension("new");
        let json = to_json(header, &path)?;
        let mut bytes = Vec::with_capacity(FIXED + json.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((json.len() as u32).to_le_bytes());
        bytes.extend(crc32c::crc32c(&json).to_le_bytes());
        bytes.extend(json);
        let create = || {
            let file = disk::create(&new)?;
            disk::write(&file, &bytes, 0)?;
            disk::rename(&new, &path)?;
            Ok(file)
        };
        let file = create().map_err(|e| {
            // Where the name was given already, it is given again the next time.
            let _ = std::fs::remove_file(&new);
            Error::io("create", &path)(e)
        })?;
        Ok(SegmentWriter {
            path,
            file,
            position: bytes.len() as u64,
            index: Vec::new(),
            torn: false,
            named: false,
        })
    }

    /// Goes on with a segment that its writer left without a footer: what stands behind its last
    /// whole batch is cut off.
    pub(crate) fn reopen(reader: &SegmentReader) -> Result<SegmentWriter> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&reader.path)
            .map_err(Error::io("open", &reader.path))?;
        let mut writer = SegmentWriter {
            path: reader.path.to_path_buf(),
            file,
            position: reader.batches_end,
            index: reader.batches.clone(),
            torn: true,
            named: true,
        };
        writer.mend()?;
        Ok(writer)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes the file has.
    pub(crate) fn bytes(&self) -> u64 {
        self.position
    }

    /// How many bytes it will have with its footer and `more` batches, about, beside those batches
    /// themselves.
    pub(crate) fn bytes_sealed(&self, more: usize) -> u64 {
        // Magic, lengths, trailer, and the JSON of an end without a trap.
        const REST: usize = 256;
        self.position + ((self.index.len() + more) * INDEX_ENTRY + REST) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many batches at the end hold pieces of a record that is still open.
    pub(crate) fn open_batches(&self) -> u32 {
        self.index
            .last()
            .map_or(0, |(_, h)| if h.has_open() { h.open_back + 1 } else { 0 })
    }

    /// Appends a batch: the header and what follows it.
    pub(crate) fn append_batch(&mut self, header: Header, bytes: &[u8]) -> Result<()> {
        self.append(bytes)?;
        self.index.push((self.position, header));
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Has the last batch be written to the disk from now on, without waiting for it: so that the next
    /// [`SegmentWriter::sync`] finds most of its work done.
    pub(crate) fn write_soon(&self) {
        if let Some(&(position, _)) = self.index.last() {
            disk::write_soon(&self.file, position, self.position - position);
        }
    }

    /// Waits until the disk has everything.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let failed = |e| Error::io("sync", &self.path)(e);
        disk::sync(&self.file).map_err(failed)?;
        if let (false, Some(folder)) = (self.named, self.path.parent()) {
            disk::sync_folder(folder).map_err(failed)?;
            self.named = true;
        }
        Ok(())
    }

    /// Writes the footer, and waits until the disk has it where that is asked for.
    pub(crate) fn seal(&mut self, end: Option<&ProcessEnd>, sync: Sync) -> Result<()> {
        let json = to_json(&FooterJson { end: end.cloned() }, &self.path)?;
        let mut footer = Vec::with_capacity(self.index.len() * INDEX_ENTRY + json.len() + 32);
        footer.extend(FOOTER_MAGIC);
        footer.extend((self.index.len() as u32).to_le_bytes());
        for (position, header) in &self.index {
            footer.extend(position.to_le_bytes());
            footer.extend(header.to_bytes());
        }
        footer.extend((json.len() as u32).to_le_bytes());
        footer.extend(json);
        let length = footer.len() as u32;
        let crc = crc32c::crc32c(&footer);
        footer.extend(length.to_le_bytes());
        footer.extend(crc.to_le_bytes());
        footer.extend(END_MAGIC);
        self.append(&footer)?;
        if sync == Sync::None {
            Ok(())
        } else {
            self.sync()
        }
    }

    /// Writes at the end. In one piece from its beginning on, so that whoever scans the file finds
    /// it whole or cut.
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.mend()?;
        disk::write(&self.file, bytes, self.position).map_err(|e| {
            self.torn = true;
            // At once if it can be, so that nobody who scans the file meets a piece.
            let _ = self.mend();
            Error::io("write", &self.path)(e)
        })
    }

    fn mend(&mut self) -> Result<()> {
        if self.torn {
            disk::truncate(&self.file, self.position).map_err(Error::io("cut", &self.path))?;
            self.torn = false;
        }
        Ok(())
    }
}

fn to_json<T: Serialize>(value: &T, path: &Path) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Io {
        action: "write",
        path: path.to_owned(),
        source: e.into(),
    })
}

/// A segment for reading: its header and the index of its batches.
///
/// It holds no descriptor: a query over thousands of segments has thousands of these. The file is
/// opened for each batch, and only ever grows.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    path: Arc<Path>,
    header: Arc<SegmentHeader>,
    /// False where the header was damaged, and says of the process what another segment does.
    says_descriptors: bool,
    batches: Vec<(u64, Header)>,
    /// Where the last whole batch ends.
    batches_end: u64,
    end: Option<ProcessEnd>,
    sealed: bool,
    bytes: u64,
}

impl SegmentReader {
    /// Opens a segment; without a footer its batches are found by scanning.
    ///
    /// # Errors
    /// When the file cannot be read, is not a segment, is of a later version, or is damaged.
    pub fn open(path: &Path) -> Result<SegmentReader> {
        SegmentReader::open_past(path, None, &mut Problems::fail())
    }

    /// Opens a segment as far as `problems` lets it. Where its header is damaged, `other` says what
    /// it said of the process, if another segment of it is known.
    pub(crate) fn open_past(
        path: &Path,
        other: Option<&SegmentHeader>,
        problems: &mut Problems,
    ) -> Result<SegmentReader> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let read = Read {
            file: &file,
            path,
            length,
        };
        let footer = match read.footer() {
            Ok(footer) => footer,
            Err(error) => {
                problems.meet(error)?;
                None
            }
        };
        let mut says_descriptors = true;
        let (header, first) = match read.header() {
            Ok(header) => header,
            Err(error) => {
                let (Some(other), Some(segment)) = (other, number_of(path)) else {
                    return Err(error);
                };
                problems.meet(error)?;
                says_descriptors = false;
                let header = SegmentHeader {
                    segment,
                    process: other.process.clone(),
                    descriptors: Vec::new(),
                };
                (header, FIXED as u64)
            }
        };
        let (batches, batches_end, end, sealed) = match footer {
            Some((batches, end)) => {
                let batches_end = batches.last().map_or(first, batch_end);
                (batches, batches_end, end, true)
            }
            None => {
                let batches = read.scan(first, problems)?;
                let batches_end = batches.last().map_or(first, batch_end);
                (batches, batches_end, None, false)
            }
        };
        Ok(SegmentReader {
            path: path.into(),
            header: Arc::new(header),
            says_descriptors,
            batches,
            batches_end,
            end,
            sealed,
            bytes: length,
        })
    }

    /// Forgets the batches from the first on that did not reach the disk whole, in a segment without a
    /// footer.
    pub(crate) fn drop_torn_end(&mut self) -> Result<()> {
        if self.sealed {
            return Ok(());
        }
        for i in 0..self.len() {
            match self.read(i, Projection::ALL) {
                Err(Error::Damaged { position, .. }) => {
                    self.batches.truncate(i);
                    self.batches_end = position;
                    break;
                }
                read => drop(read?),
            }
        }
        Ok(())
    }

    /// What a segment says of itself, without the rest.
    pub(crate) fn header_of(path: &Path) -> Result<SegmentHeader> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let read = Read {
            file: &file,
            path,
            length,
        };
        read.header().map(|(header, _)| header)
    }

    fn file(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::io("open", &self.path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The descriptors that are open at its first record; none where its header was damaged.
    #[must_use]
    pub fn descriptors(&self) -> Option<&[Descriptor]> {
        self.says_descriptors.then_some(&self.header.descriptors)
    }

    /// Its number in the process.
    #[must_use]
    pub fn number(&self) -> SegmentNumber {
        SegmentNumber(self.header.segment)
    }

    /// Whether it has its footer.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The process's last record, where this segment is sealed and holds it.
    #[must_use]
    pub fn end(&self) -> Option<&ProcessEnd> {
        self.end.as_ref()
    }

    /// The file's length when it was opened, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many batches it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether it has no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// What the `i`th batch says of itself.
    #[must_use]
    pub fn summary(&self, i: usize) -> Option<&Summary> {
        self.batches.get(i).map(|(_, h)| &h.summary)
    }

    /// Reads the columns of the `i`th batch that are asked for; none beyond the end.
    ///
    /// # Errors
    /// When the file cannot be read or the batch is damaged.
    pub fn read(&self, i: usize, projection: Projection) -> Result<Calls> {
        let Some((position, header)) = self.batches.get(i) else {
            return Ok(Calls::default());
        };
        let file = self.file()?;
        let read = Read {
            file: &file,
            path: &self.path,
            length: self.bytes,
        };
        let calls_length = header.summary.calls_bytes as usize;
        let payload = projection.has(Projection::PAYLOAD);
        // With the payload comes all that follows it, so that reading everything checks every byte.
        let body_length = if payload {
            header.body_bytes() as usize
        } else {
            calls_length
        };
        let batch = read.section(*position, HEADER_BYTES + body_length)?;
        let damaged = |what| Error::damaged(&self.path, *position, what);
        let (own, body) = batch.split_at(HEADER_BYTES);
        if own != header.to_bytes() {
            return Err(damaged("the batch header is not the one of the index"));
        }
        let (columns, rest) = body.split_at(calls_length);
        let rest = payload
            .then(|| batch::check_open_and_end(header, rest))
            .transpose();
        rest.and_then(|payload| batch::decode(header, columns, payload, projection))
            .map_err(damaged)
    }

    /// The pieces of the record that was open when the last batch was written, over all batches
    /// that hold some.
    pub(crate) fn open_pieces(&self) -> Result<Vec<u8>> {
        let mut pieces = Vec::new();
        let Some((_, last)) = self.batches.last() else {
            return Ok(pieces);
        };
        if !last.has_open() {
            return Ok(pieces);
        }
        let first = self
            .batches
            .len()
            .saturating_sub(1 + last.open_back as usize);
        let file = self.file()?;
        let read = Read {
            file: &file,
            path: &self.path,
            length: self.bytes,
        };
        for (position, header) in &self.batches[first..] {
            let at = position
                + HEADER_BYTES as u64
                + header.summary.calls_bytes
                + header.summary.payload_bytes;
            let piece = read.section(at, header.open_bytes as usize)?;
            batch::check_open(header, &piece)
                .map_err(|what| Error::damaged(&self.path, at, what))?;
            pieces.extend(piece);
        }
        Ok(pieces)
    }
}

/// Reads that say where they failed.
struct Read<'a> {
    file: &'a File,
    path: &'a Path,
    length: u64,
}

impl Read<'_> {
    fn exact(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.file
            .read_exact_at(buffer, at)
            .map_err(Error::io("read", self.path))
    }

    fn section(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let end = at.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(Error::damaged(self.path, at, "the file ends too early"));
        }
        let mut bytes = vec![0; length];
        self.exact(&mut bytes, at)?;
        Ok(bytes)
    }

    /// What the segment says of itself, and where its batches begin.
    fn header(&self) -> Result<(SegmentHeader, u64)> {
        let not_ours = || Error::NotOurs {
            path: self.path.to_owned(),
            expected: "segment",
        };
        if self.length < FIXED as u64 {
            return Err(not_ours());
        }
        let mut fixed = [0; FIXED];
        self.exact(&mut fixed, 0)?;
        let mut c = Cursor::new(&fixed);
        if c.array() != Some(MAGIC) {
            return Err(not_ours());
        }
        let version = c.u32().ok_or_else(not_ours)?;
        if version > VERSION {
            return Err(Error::NewerVersion {
                path: self.path.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        let json_length = c.u32().ok_or_else(not_ours)? as usize;
        let crc = c.u32().ok_or_else(not_ours)?;
        let json = self.section(FIXED as u64, json_length)?;
        if version != VERSION || crc32c::crc32c(&json) != crc {
            let what = "the header does not match its checksum";
            return Err(Error::damaged(self.path, 8, what));
        }
        let header = serde_json::from_slice(&json).map_err(|e| {
            let what = format!("the header is not ours: {e}");
            Error::damaged(self.path, FIXED as u64, what)
        })?;
        Ok((header, (FIXED + json_length) as u64))
    }

    /// The index from the footer; none where the file does not end in one.
    #[allow(clippy::type_complexity)]
    fn footer(&self) -> Result<Option<(Vec<(u64, Header)>, Option<ProcessEnd>)>> {
        if self.length < (FIXED + TRAILER) as u64 {
            return Ok(None);
        }
        let at = self.length - TRAILER as u64;
        let mut trailer = [0; TRAILER];
        self.exact(&mut trailer, at)?;
        let mut c = Cursor::new(&trailer);
        let (Some(length), Some(crc)) = (c.u32(), c.u32()) else {
            return Ok(None);
        };
        if c.array() != Some(END_MAGIC) {
            return Ok(None);
        }
        let length = length as usize;
        if (FIXED + length) as u64 > at {
            return Err(Error::damaged(
                self.path,
                at,
                "the footer has a length that cannot be",
            ));
        }
        let start = at - length as u64;
        let bytes = self.section(start, length)?;
        if crc32c::crc32c(&bytes) != crc {
            return Err(Error::damaged(
                self.path,
                start,
                "the footer does not match its checksum",
            ));
        }
        let damaged = || Error::damaged(self.path, start, "the footer does not parse");
        let mut c = Cursor::new(&bytes);
        c.array()
            .filter(|magic| *magic == FOOTER_MAGIC)
            .ok_or_else(damaged)?;
        let count = c.u32().ok_or_else(damaged)?;
        let mut batches = Vec::new();
        for _ in 0..count {
            let position = c.u64().ok_or_else(damaged)?;
            let header = c.array().ok_or_else(damaged)?;
            let header = Header::from_bytes(&header)
                .map_err(|what| Error::damaged(self.path, start, what))?;
            batches.push((position, header));
        }
        let json = c
            .u32()
            .and_then(|n| c.bytes(n as usize))
            .ok_or_else(damaged)?;
        let json: FooterJson = serde_json::from_slice(json).map_err(|_| damaged())?;
        Ok(Some((batches, json.end)))
    }

    /// The index by scanning. A batch that the file does not hold whole ends it; anything else that
    /// is not a batch is damage, behind which the next batch is looked for.
    fn scan(&self, first: u64, problems: &mut Problems) -> Result<Vec<(u64, Header)>> {
        let mut batches: Vec<(u64, Header)> = Vec::new();
        let mut at = first;
        while at + HEADER_BYTES as u64 <= self.length {
            let mut bytes = [0; HEADER_BYTES];
            self.exact(&mut bytes, at)?;
            if bytes.starts_with(&FOOTER_MAGIC) {
                break;
            }
            let header = match Header::from_bytes(&bytes) {
                Ok(header) => header,
                Err(_) if problems.torn_end => break,
                Err(what) => {
                    problems.meet(Error::damaged(self.path, at, what))?;
                    match self.next_batch(at + 1)? {
                        Some(next) => at = next,
                        None => break,
                    }
                    continue;
                }
            };
            let next = batch_end(&(at, header.clone()));
            if next > self.length {
                break;
            }
            batches.push((at, header));
            at = next;
        }
        Ok(batches)
    }

    /// Where from `from` on a batch header stands that matches its checksum.
    fn next_batch(&self, from: u64) -> Result<Option<u64>> {
        const PIECE: usize = 1 << 20;
        let mut at = from;
        while at + HEADER_BYTES as u64 <= self.length {
            let length = PIECE.min((self.length - at) as usize);
            let mut bytes = vec![0; length];
            self.exact(&mut bytes, at)?;
            let found = bytes.windows(HEADER_BYTES).position(|w| {
                w.first_chunk()
                    .is_some_and(|w| Header::from_bytes(w).is_ok())
            });
            if let Some(found) = found {
                return Ok(Some(at + found as u64));
            }
            // Pieces overlap, so that no header is cut by their borders.
            at += (length - HEADER_BYTES + 1) as u64;
        }
        Ok(None)
    }
}

/// Where in the file a batch ends.
fn batch_end((position, header): &(u64, Header)) -> u64 {
    position
        .saturating_add(HEADER_BYTES as u64)
        .saturating_add(header.body_bytes())
}

//! Records side by side: the columns that a batch is made of, in memory.
//!
//! The tail is decoded into [`Calls`], a batch is encoded from and decoded into [`Calls`], and SQL
//! reads its columns. Offsets are consecutive, so a row's offset is `first_offset` and its index.

use crate::function::{self, Kind};
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::{Dropped, Outcome, Range, Record};

/// Which columns a reader wants. What is not asked for is not decompressed, and is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projection(u8);

impl Projection {
    /// Functions alone, which are always there.
    pub const FUNCTIONS: Projection = Projection(0);
    /// Start times.
    pub const STARTS: Projection = Projection(1);
    /// Durations.
    pub const DURATIONS: Projection = Projection(2);
    /// Outcomes and results.
    pub const RESULTS: Projection = Projection(4);
    /// Scalar arguments.
    pub const ARGS: Projection = Projection(8);
    /// Numbers that the host wrote behind output pointers.
    pub const OUTS: Projection = Projection(16);
    /// Input, written ranges and notes; whole [`Record`]s need this and all others.
    pub const PAYLOAD: Projection = Projection(32);
    /// Everything.
    pub const ALL: Projection = Projection(63);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Projection) -> Projection {
        Projection(self.0 | other.0)
    }

    /// Whether all of `other` is in this.
    #[must_use]
    pub const fn has(self, other: Projection) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Records of consecutive offsets, as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    /// The offset of row 0.
    pub first_offset: Offset,
    /// Function numbers, one a row.
    pub functions: Vec<FunctionId>,
    /// Start times, nanoseconds since process start, one a row.
    pub starts: Vec<u64>,
    /// Durations in nanoseconds, one a row.
    pub durations: Vec<u64>,
    /// Outcomes, one a row.
    pub outcomes: Vec<Outcome>,
    /// Results, one a row.
    pub results: Vec<u64>,
    /// Where each row's arguments end in `args`.
    pub arg_ends: Vec<u32>,
    /// Arguments of all rows.
    pub args: Vec<u64>,
    /// Where each row's output numbers end in `outs`.
    pub out_ends: Vec<u32>,
    /// Output numbers of all rows. A row has all of its function's, or none.
    pub outs: Vec<u64>,
    /// Input lengths in bytes, one a row.
    pub input_lengths: Vec<u32>,
    /// Note lengths in bytes, one a row.
    pub note_lengths: Vec<u32>,
    /// Where each row's ranges end in `ranges`.
    pub range_ends: Vec<u32>,
    /// Written ranges of all rows, without output numbers.
    pub ranges: Vec<Range>,
    /// Rows whose input was not taken whole, ascending.
    pub dropped: Vec<(u32, Dropped)>,
    /// Where each row's payload ends in `payload`: input, bytes of ranges, note.
    pub payload_ends: Vec<u32>,
    /// The payload of all rows.
    pub payload: Vec<u8>,
}

/// The parts of a record, on the way into [`Calls`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// When the guest entered the host.
    pub start: ElapsedNs,
    /// How long it was there, in nanoseconds.
    pub duration_ns: u64,
    /// Which function.
    pub function: FunctionId,
    /// How it ended.
    pub outcome: Outcome,
    /// What it returned.
    pub result: u64,
    /// Scalar arguments.
    pub args: &'a [u64],
    /// All input that was offered.
    pub input: &'a [u8],
    /// How much of `input` the host took, in bytes from its beginning.
    pub consumed: usize,
    /// What the host wrote, in order.
    pub writes: &'a [(u64, &'a [u8])],
    /// The note, if any.
    pub note: Option<&'a str>,
}

impl Calls {
    /// No records yet; the first will have this offset.
    #[must_use]
    pub fn new(first_offset: Offset) -> Calls {
        Calls {
            first_offset,
            ..Calls::default()
        }
    }

    /// Drops all records and keeps the memory; the next will have this offset.
    pub fn clear(&mut self, first_offset: Offset) {
        let Calls {
            first_offset: first,
            functions,
            starts,
            durations,
            outcomes,
            results,
            arg_ends,
            args,
            out_ends,
            outs,
            input_lengths,
            note_lengths,
            range_ends,
            ranges,
            dropped,
            payload_ends,
            payload,
        } = self;
        *first = first_offset;
        functions.clear();
        outcomes.clear();
        ranges.clear();
        dropped.clear();
        payload.clear();
        [starts, durations, results, args, outs]
            .into_iter()
            .for_each(Vec::clear);
        [
            arg_ends,
            out_ends,
            input_lengths,
            note_lengths,
            range_ends,
            payload_ends,
        ]
        .into_iter()
        .for_each(Vec::clear);
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The offset of row `i`.
    #[must_use]
    pub fn offset(&self, i: usize) -> Offset {
        self.first_offset.plus(i as u64)
    }

    /// The offset after the last row.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.offset(self.len())
    }

    /// The arguments of row `i`; empty where they were not projected.
    #[must_use]
    pub fn args(&self, i: usize) -> &[u64] {
        span(&self.args, &self.arg_ends, i)
    }

    /// The output numbers of row `i`; empty where there are none or they were not projected.
    #[must_use]
    pub fn outs(&self, i: usize) -> &[u64] {
        span(&self.outs, &self.out_ends, i)
    }

    /// Row `i` as a record, or none beyond the end. Needs [`Projection::ALL`]: what was not
    /// projected is zero or empty.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<Record<'_>> {
        let function = *self.functions.get(i)?;
        let payload = span(&self.payload, &self.payload_ends, i);
        let input_length = self.input_lengths.get(i).map_or(0, |&n| n as usize);
        let note_length = self.note_lengths.get(i).map_or(0, |&n| n as usize);
        let (input, rest) = payload
            .split_at_checked(input_length)
            .unwrap_or((payload, &[]));
        let (range_bytes, note) = rest
            .split_at_checked(rest.len().saturating_sub(note_length))
            .unwrap_or((rest, &[]));
        let row = u32::try_from(i).ok()?;
        Some(Record {
            offset: self.offset(i),
            start: ElapsedNs(self.starts.get(i).copied().unwrap_or(0)),
            duration_ns: self.durations.get(i).copied().unwrap_or(0),
            function,
            outcome: self.outcomes.get(i).copied().unwrap_or(Outcome::Returned),
            result: self.results.get(i).copied().unwrap_or(0),
            args: self.args(i),
            input,
            dropped: self
                .dropped
                .binary_search_by_key(&row, |d| d.0)
                .ok()
                .and_then(|at| self.dropped.get(at))
                .map(|d| d.1),
            note: if note.is_empty() {
                None
            } else {
                str::from_utf8(note).ok()
            },
            ranges: span(&self.ranges, &self.range_ends, i),
            range_bytes,
            outs: self.outs(i),
        })
    }

    /// All rows as records.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Appends a record.
    ///
    /// Writes of output numbers become columns when they are the last writes, in the order of the
    /// function's parameters, each at its argument's address and of its type's size: then the log
    /// need not say where. Anything else, overlapping pointers for instance, stays a range.
    pub fn push(&mut self, parts: &Parts<'_>) {
        let row = self.functions.len();
        self.functions.push(parts.function);
        self.starts.push(parts.start.0);
        self.durations.push(parts.duration_ns);
        self.outcomes.push(parts.outcome);
        self.results.push(parts.result);
        self.args.extend_from_slice(parts.args);
        self.arg_ends.push(length32(self.args.len()));

        let (input, rest) = parts.input.split_at(parts.consumed.min(parts.input.len()));
        self.payload.extend_from_slice(input);
        self.input_lengths.push(length32(input.len()));
        if !rest.is_empty() {
            let dropped = Dropped {
                length: rest.len() as u64,
                hash: xxhash_rust::xxh3::xxh3_64(rest),
            };
            self.dropped.push((length32(row), dropped));
        }

        let outs = output_numbers(parts);
        let ranges = parts.writes.len() - outs.len();
        for (address, bytes) in &parts.writes[..ranges] {
            self.payload.extend_from_slice(bytes);
            self.ranges.push(Range {
                address: *address,
                length: length32(bytes.len()),
            });
        }
        self.range_ends.push(length32(self.ranges.len()));
        for (_, bytes) in outs {
            let mut number = [0; 8];
            number[..bytes.len()].copy_from_slice(bytes);
            self.outs.push(u64::from_le_bytes(number));
        }
        self.out_ends.push(length32(self.outs.len()));

        let note = parts.note.unwrap_or_default();
        self.payload.extend_from_slice(note.as_bytes());
        self.note_lengths.push(length32(note.len()));
        self.payload_ends.push(length32(self.payload.len()));
    }

    /// Appends a copy of a record of other calls; its offset becomes this one's next.
    pub fn append(&mut self, record: &Record<'_>) {
        let row = length32(self.functions.len());
        self.functions.push(record.function);
        self.starts.push(record.start.0);
        self.durations.push(record.duration_ns);
        self.outcomes.push(record.outcome);
        self.results.push(record.result);
        self.args.extend_from_slice(record.args);
        self.arg_ends.push(length32(self.args.len()));
        self.outs.extend_from_slice(record.outs);
        self.out_ends.push(length32(self.outs.len()));
        self.ranges.extend_from_slice(record.ranges);
        self.range_ends.push(length32(self.ranges.len()));
        self.dropped.extend(record.dropped.map(|d| (row, d)));
        let note = record.note.unwrap_or_default();
        for part in [record.input, record.range_bytes, note.as_bytes()] {
            self.payload.extend_from_slice(part);
        }
        self.input_lengths.push(length32(record.input.len()));
        self.note_lengths.push(length32(note.len()));
        self.payload_ends.push(length32(self.payload.len()));
    }
}

/// The writes of a record, from the end, that are its function's output numbers; none or all.
fn output_numbers<'a, 'b>(parts: &'b Parts<'a>) -> &'b [(u64, &'a [u8])] {
    let Some(row) = function::by_id(parts.function) else {
        return &[];
    };
    let Some(first) = parts.writes.len().checked_sub(row.outs.len()) else {
        return &[];
    };
    let last = &parts.writes[first..];
    let predicted = row.outs.iter().zip(last).all(|(&param, (address, bytes))| {
        matches!(row.params[param].kind, Kind::Out(scalar) if scalar.size() == bytes.len())
            && parts.args.get(param) == Some(address)
    });
    if predicted { last } else { &[] }
}

fn span<'a, T>(all: &'a [T], ends: &[u32], i: usize) -> &'a [T] {
    let Some(&end) = ends.get(i) else { return &[] };
    let start = if i == 0 { 0 } else { ends[i - 1] };
    all.get(start as usize..end as usize).unwrap_or(&[])
}

/// A length as the format keeps it. A batch holds one buffer of the tail and at most one record
/// that is larger, and records are bounded, so lengths fit; were one larger it would saturate and
/// the decoder would report damage, never a wrong record.
fn length32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

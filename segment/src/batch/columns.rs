//! The streams of the call section: how each is written stands beside how it is read.
//!
//! Readers take memory only for what the header admits or the stream has bytes for, and leave
//! nothing of a stream unread: bytes that mean nothing are damage too.

use super::references::Reference;
use super::{Damage, MAX_WIDTH, references};
use crate::calls::Calls;
use crate::codec::{Cursor, put_varint, unzigzag, zigzag};
use crate::function::{self, Kind, Scalar};
use crate::ids::FunctionId;
use crate::record::{Dropped, Outcome, Range};

/// The streams of the call section, in their order.
pub(super) const STREAMS: usize = 7;
pub(super) const FUNCTIONS: usize = 0;
pub(super) const STARTS: usize = 1;
pub(super) const DURATIONS: usize = 2;
pub(super) const RESULTS: usize = 3;
pub(super) const ARGS: usize = 4;
pub(super) const OUTS: usize = 5;
pub(super) const LAYOUT: usize = 6;

const SHORT: Damage = "a column of the batch ends too early";
const LONG: Damage = "a column of the batch goes on after its last record";

/// The longest varint in bytes.
const VARINT: u64 = 10;

/// The most bytes that a stream can have, given what the header says.
pub(super) fn most_bytes(stream: usize, count: usize, ranges: usize, payload: usize) -> u64 {
    let (count, ranges) = (count as u64, ranges as u64);
    match stream {
        FUNCTIONS => 2 * count,
        STARTS | DURATIONS => VARINT * count,
        RESULTS => (1 + VARINT) * count,
        // A width and a count for each group and record, and then numbers.
        ARGS | OUTS => (2 + MAX_WIDTH as u64) * VARINT * count,
        _ => {
            let records = 3 * VARINT * count + 2 * VARINT * ranges;
            let dropped = (2 * VARINT + 8) * count;
            let references = 3 * VARINT * (payload / references::SHORTEST) as u64;
            records + dropped + references + 2 * VARINT
        }
    }
}

/// The rows of each function that is there, in the order of function numbers: columns are kept by
/// function, since the arguments of one function are alike.
pub(super) struct Groups(Vec<(FunctionId, Vec<u32>)>);

impl Groups {
    pub(super) fn of(functions: &[FunctionId]) -> Groups {
        let mut groups: Vec<(FunctionId, Vec<u32>)> = Vec::new();
        // One more than the index of each function's group, by the halves of its number: a damaged
        // batch may have all numbers.
        let mut pages: [Option<Box<[u32; 256]>>; 256] = [const { None }; 256];
        let mut last = 0;
        for (row, &id) in functions.iter().enumerate() {
            if groups.get(last).is_none_or(|g| g.0 != id) {
                let [low, high] = id.0.to_le_bytes();
                let page = pages[usize::from(high)].get_or_insert_with(|| Box::new([0; 256]));
                let slot = &mut page[usize::from(low)];
                if *slot == 0 {
                    groups.push((id, Vec::new()));
                    *slot = groups.len() as u32;
                }
                last = *slot as usize - 1;
            }
            groups[last].1.push(row as u32);
        }
        groups.sort_unstable_by_key(|g| g.0);
        Groups(groups)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FunctionId, &[u32])> {
        self.0.iter().map(|(id, rows)| (*id, &rows[..]))
    }
}

pub(super) fn write_functions(calls: &Calls, out: &mut Vec<u8>) {
    out.extend(calls.functions.iter().flat_map(|id| id.0.to_le_bytes()));
}

pub(super) fn read_functions(raw: &[u8], count: usize) -> Result<Vec<FunctionId>, Damage> {
    let (numbers, rest) = raw.as_chunks();
    if numbers.len() != count || !rest.is_empty() {
        return Err("the function column does not have the batch's number of records");
    }
    let ids = numbers.iter().map(|&n| FunctionId(u16::from_le_bytes(n)));
    Ok(ids.collect())
}

pub(super) fn write_starts(calls: &Calls, out: &mut Vec<u8>) {
    let mut last = calls.starts.first().copied().unwrap_or(0);
    for &start in &calls.starts {
        put_varint(out, zigzag(start.wrapping_sub(last)));
        last = start;
    }
}

pub(super) fn read_starts(
    raw: &[u8],
    count: usize,
    first: u64,
    last: u64,
) -> Result<Vec<u64>, Damage> {
    let mut now = first;
    let starts = read_all(raw, |c| {
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            now = now.wrapping_add(unzigzag(c.varint()?));
            starts.push(now);
        }
        Some(starts)
    })?;
    let ends = (starts.first(), starts.last());
    if count > 0 && ends != (Some(&first), Some(&last)) {
        return Err("the start times are not those of the header");
    }
    Ok(starts)
}

pub(super) fn write_durations(calls: &Calls, out: &mut Vec<u8>) {
    for &duration in &calls.durations {
        put_varint(out, duration);
    }
}

pub(super) fn read_durations(raw: &[u8], count: usize) -> Result<Vec<u64>, Damage> {
    read_all(raw, |c| numbers(c, count))
}

pub(super) fn write_results(calls: &Calls, out: &mut Vec<u8>) {
    out.extend(calls.outcomes.iter().map(|&o| o as u8));
    for &result in &calls.results {
        put_varint(out, result);
    }
}

pub(super) fn read_results(raw: &[u8], calls: &mut Calls) -> Result<(), Damage> {
    let count = calls.len();
    let (outcomes, results) = raw.split_at_checked(count).ok_or(SHORT)?;
    calls.outcomes = outcomes
        .iter()
        .map(|&n| Outcome::from_number(n).ok_or("an outcome that does not exist"))
        .collect::<Result<_, _>>()?;
    calls.results = read_all(results, |c| numbers(c, count))?;
    Ok(())
}

/// The widths of all groups come first, so that a reader knows where each row's arguments go. A
/// function's records have one number of arguments; where they do not, the group is ragged.
pub(super) fn write_args(calls: &Calls, groups: &Groups, out: &mut Vec<u8>) {
    let width = |row: u32| calls.args(row as usize).len();
    let mut widths = Vec::new();
    for (_, rows) in groups.iter() {
        let all = rows.iter().map(|&row| width(row));
        let (least, most) = all.fold((usize::MAX, 0), |(l, m), n| (l.min(n), m.max(n)));
        let ragged = least != most;
        put_varint(out, (most as u64) << 1 | u64::from(ragged));
        if ragged {
            for &row in rows {
                put_varint(out, width(row) as u64);
            }
        }
        widths.push(most);
    }
    let mut parts = Vec::new();
    for ((_, rows), width) in groups.iter().zip(widths) {
        parts_of(rows, &calls.arg_ends, &mut parts);
        for p in 0..width {
            let mut last = 0;
            for part in &parts {
                if let Some(at) = part.at(p) {
                    let value = calls.args[at];
                    put_varint(out, zigzag(value.wrapping_sub(last)));
                    last = value;
                }
            }
        }
    }
}

pub(super) fn read_args(raw: &[u8], groups: &Groups, calls: &mut Calls) -> Result<(), Damage> {
    let mut ends = vec![0_u32; calls.len()];
    read_all(raw, |c| {
        let mut widths = Vec::new();
        for (_, rows) in groups.iter() {
            let head = c.varint()?;
            let (width, ragged) = (width(head >> 1)?, head & 1 != 0);
            for &row in rows {
                ends[row as usize] = if ragged {
                    self::width(c.varint()?)?
                } else {
                    width
                };
                if ends[row as usize] > width {
                    return None;
                }
            }
            widths.push(width);
        }
        let total = add_up(&mut ends)?;
        // Each number takes a byte at least.
        calls.args = vec![0; Some(total).filter(|&n| n <= c.rest().len())?];
        let mut parts = Vec::new();
        for ((_, rows), width) in groups.iter().zip(widths) {
            parts_of(rows, &ends, &mut parts);
            for p in 0..width as usize {
                let mut last = 0_u64;
                for part in &parts {
                    if let Some(at) = part.at(p) {
                        last = last.wrapping_add(unzigzag(c.varint()?));
                        calls.args[at] = last;
                    }
                }
            }
        }
        Some(())
    })?;
    calls.arg_ends = ends;
    Ok(())
}

/// A record has all outputs of its group or none.
pub(super) fn write_outs(calls: &Calls, groups: &Groups, out: &mut Vec<u8>) {
    let outs = |row: u32| calls.outs(row as usize);
    let mut widths = Vec::new();
    for (_, rows) in groups.iter() {
        let width = rows.iter().map(|&row| outs(row).len()).max().unwrap_or(0);
        put_varint(out, width as u64);
        if width > 0 {
            for eight in rows.chunks(8) {
                let bits = eight.iter().enumerate();
                out.push(
                    bits.map(|(bit, &row)| u8::from(!outs(row).is_empty()) << bit)
                        .sum(),
                );
            }
        }
        widths.push(width);
    }
    let mut parts = Vec::new();
    for ((id, rows), width) in groups.iter().zip(widths) {
        parts_of(rows, &calls.out_ends, &mut parts);
        for i in 0..width {
            let mut expected = Expected::new(id, i);
            for (&row, part) in rows.iter().zip(&parts) {
                if let Some(at) = part.at(i) {
                    let value = calls.outs[at];
                    let start = calls.starts[row as usize];
                    put_varint(out, zigzag(value.wrapping_sub(expected.next(start))));
                    expected.was(value);
                }
            }
        }
    }
}

/// Needs the start times.
pub(super) fn read_outs(raw: &[u8], groups: &Groups, calls: &mut Calls) -> Result<(), Damage> {
    let mut ends = vec![0_u32; calls.len()];
    read_all(raw, |c| {
        let mut widths = Vec::new();
        for (_, rows) in groups.iter() {
            let width = width(c.varint()?)?;
            if width > 0 {
                for eight in rows.chunks(8) {
                    let bits = c.u8()?;
                    // No bits beyond the last record.
                    if u32::from(bits) >> eight.len() != 0 {
                        return None;
                    }
                    for (bit, &row) in eight.iter().enumerate() {
                        ends[row as usize] = width * u32::from(bits >> bit & 1);
                    }
                }
            }
            widths.push(width);
        }
        let total = add_up(&mut ends)?;
        calls.outs = vec![0; Some(total).filter(|&n| n <= c.rest().len())?];
        let mut parts = Vec::new();
        for ((id, rows), width) in groups.iter().zip(widths) {
            parts_of(rows, &ends, &mut parts);
            for i in 0..width as usize {
                let mut expected = Expected::new(id, i);
                for (&row, part) in rows.iter().zip(&parts) {
                    if let Some(at) = part.at(i) {
                        let start = calls.starts[row as usize];
                        let value = expected.next(start).wrapping_add(unzigzag(c.varint()?));
                        calls.outs[at] = value;
                        expected.was(value);
                    }
                }
            }
        }
        Some(())
    })?;
    calls.out_ends = ends;
    Ok(())
}

/// What an output is coded against: the value before, and where it is a clock's reading also the
/// time that has passed since.
struct Expected {
    clock: bool,
    value: u64,
    start: u64,
}

impl Expected {
    /// For the `i`th output of a function.
    fn new(id: FunctionId, i: usize) -> Expected {
        let clock = function::by_id(id)
            .and_then(|row| row.outs.get(i).map(|&p| row.params[p].kind))
            .is_some_and(|kind| kind == Kind::Out(Scalar::Timestamp));
        Expected {
            clock,
            value: 0,
            start: 0,
        }
    }

    #[inline]
    fn next(&mut self, start: u64) -> u64 {
        if !self.clock {
            return self.value;
        }
        let passed = start.wrapping_sub(self.start);
        self.start = start;
        self.value.wrapping_add(passed)
    }

    #[inline]
    fn was(&mut self, value: u64) {
        self.value = value;
    }
}

pub(super) fn write_layout(calls: &Calls, references: &[Reference], out: &mut Vec<u8>) {
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
    references::write(references, out);
}

/// Reads the layout of the payload, and how much of it is stored as references.
pub(super) fn read_layout(
    raw: &[u8],
    ranges: usize,
    payload: usize,
    calls: &mut Calls,
) -> Result<Vec<Reference>, Damage> {
    let count = calls.len();
    read_all(raw, |c| {
        calls.input_lengths = lengths(c, count)?;
        calls.note_lengths = lengths(c, count)?;
        calls.range_ends = lengths(c, count)?;
        if add_up(&mut calls.range_ends)? != ranges {
            return None;
        }
        let mut address = 0_u64;
        calls.ranges.reserve_exact(ranges);
        for _ in 0..ranges {
            address = address.wrapping_add(unzigzag(c.varint()?));
            calls.ranges.push(Range { address, length: 0 });
        }
        for range in &mut calls.ranges {
            range.length = u32::try_from(c.varint()?).ok()?;
        }
        for _ in 0..c.varint()? {
            let row = u32::try_from(c.varint()?).ok()?;
            // They are looked up by row.
            let last = calls.dropped.last();
            if row as usize >= count || last.is_some_and(|(last, _)| *last >= row) {
                return None;
            }
            let length = c.varint()?;
            let hash = c.u64()?;
            calls.dropped.push((row, Dropped { length, hash }));
        }
        calls.payload_ends = payload_ends(calls)?;
        if calls.payload_ends.last().copied().unwrap_or(0) as usize != payload {
            return None;
        }
        references::read(c, payload)
    })
}

fn payload_ends(calls: &Calls) -> Option<Vec<u32>> {
    let mut end = 0_u32;
    let mut first = 0;
    let lengths = calls.input_lengths.iter().zip(&calls.note_lengths);
    lengths
        .zip(&calls.range_ends)
        .map(|((&input, &note), &last)| {
            end = end.checked_add(input)?.checked_add(note)?;
            for range in &calls.ranges[first..last as usize] {
                end = end.checked_add(range.length)?;
            }
            first = last as usize;
            Some(end)
        })
        .collect()
}

/// Reads a stream to its end.
fn read_all<T>(raw: &[u8], read: impl FnOnce(&mut Cursor<'_>) -> Option<T>) -> Result<T, Damage> {
    let mut c = Cursor::new(raw);
    let value = read(&mut c).ok_or(SHORT)?;
    if c.is_empty() { Ok(value) } else { Err(LONG) }
}

fn numbers(c: &mut Cursor<'_>, count: usize) -> Option<Vec<u64>> {
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        numbers.push(c.varint()?);
    }
    Some(numbers)
}

fn lengths(c: &mut Cursor<'_>, count: usize) -> Option<Vec<u32>> {
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(u32::try_from(c.varint()?).ok()?);
    }
    Some(lengths)
}

fn width(n: u64) -> Option<u32> {
    u32::try_from(n).ok().filter(|&n| n as usize <= MAX_WIDTH)
}

/// Makes lengths into ends, in place; returns the last end.
fn add_up(lengths: &mut [u32]) -> Option<usize> {
    let mut end = 0_u32;
    for n in lengths {
        end = end.checked_add(*n)?;
        *n = end;
    }
    Some(end as usize)
}

/// Where a row's numbers stand among those of all rows.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// The place of the row's `i`th number, where it has so many.
    #[inline]
    fn at(self, i: usize) -> Option<usize> {
        let at = self.start as usize + i;
        (at < self.end as usize).then_some(at)
    }
}

/// The parts of a group's rows, found once for all its columns.
fn parts_of(rows: &[u32], ends: &[u32], parts: &mut Vec<Part>) {
    parts.clear();
    parts.extend(rows.iter().map(|&row| {
        let row = row as usize;
        let start = if row == 0 { 0 } else { ends[row - 1] };
        let end = ends[row];
        Part { start, end }
    }));
}

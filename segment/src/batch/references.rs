//! Payload bytes that stand in the batch already: a copy writes what it has just read. They are
//! stored as a reference to where they stand, and are neither compressed nor written again.
//!
//! zstd finds most of them too, within 512 KiB and at a price; this finds them before it, whole.
//! A reference points into the *literals*, which are what is left of the payload without
//! references: so none refers to another, and a batch to no other batch.

use crate::calls::Calls;
use crate::codec::{Cursor, put_varint, unzigzag, zigzag};
use crate::describe::{IOVEC, MAX_IOVECS};
use crate::function::{self, Kind};

/// What is looked for, in bytes: blocks of this size from the beginning of a piece on. Smaller ones
/// cost more to look up than zstd takes for them.
const BLOCK: usize = 512;
/// A reference is no shorter, in bytes: so a batch has no more of them than its length allows.
pub(super) const SHORTEST: usize = 64;

const _: () = assert!(SHORTEST <= BLOCK);

/// Some bytes of the payload that stand among the literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where in the payload they begin.
    pub(super) at: u32,
    /// How many they are.
    pub(super) length: u32,
    /// Where they stand among the literals.
    pub(super) source: u32,
}

/// Finds references; keeps its memory from one batch to the next.
#[derive(Default)]
pub(super) struct Finder {
    /// Where a block begins in the payload, by its hash; one that came later takes its place.
    blocks: Vec<u32>,
    references: Vec<Reference>,
    /// For each reference, how many bytes of the payload before it are references.
    before: Vec<u32>,
    /// How many bytes of the payload are references.
    referred: u32,
}

/// No block has the hash.
const NONE: u32 = u32::MAX;

impl Finder {
    /// Finds what of the payload can be stored as references, in order.
    pub(super) fn find(&mut self, calls: &Calls) -> &[Reference] {
        self.references.clear();
        self.before.clear();
        self.referred = 0;
        self.blocks.clear();
        for row in 0..calls.len() {
            pieces(calls, row, |start, end| {
                if end - start >= BLOCK {
                    self.piece(&calls.payload, start, end);
                }
            });
        }
        &self.references
    }

    fn piece(&mut self, payload: &[u8], start: usize, end: usize) {
        if self.blocks.is_empty() {
            // Twice as many as there can be blocks, but no more than the processor's cache holds.
            let slots = (2 * payload.len() / BLOCK).next_power_of_two();
            self.blocks.resize(slots.clamp(64, 1 << 18), NONE);
        }
        let mut at = start;
        while at + BLOCK <= end {
            let slot = hash(&payload[at..at + BLOCK]) as usize & (self.blocks.len() - 1);
            let length = self.equal(payload, self.blocks[slot], at, end);
            if length >= BLOCK {
                self.refer(self.blocks[slot], at, length);
                at += length;
            } else {
                self.blocks[slot] = at as u32;
                at += BLOCK;
            }
        }
    }

    /// How many bytes from `at` on, up to `end`, stand at `source` too, and are literals there.
    fn equal(&self, payload: &[u8], source: u32, at: usize, end: usize) -> usize {
        if source == NONE {
            return 0;
        }
        let next = self.references.partition_point(|r| r.at < source);
        let literal = self.references.get(next).map_or(at, |r| r.at as usize);
        let source = &payload[source as usize..literal];
        equal_bytes(source, &payload[at..end])
    }

    fn refer(&mut self, source: u32, at: usize, length: usize) {
        let next = self.references.partition_point(|r| r.at < source);
        let before = self.before.get(next).copied().unwrap_or(self.referred);
        self.references.push(Reference {
            at: at as u32,
            length: length as u32,
            source: source - before,
        });
        self.before.push(self.referred);
        self.referred += length as u32;
    }
}

/// The hash of a few words of a block: nothing is believed of it, and all of the bytes would take
/// three times as long.
fn hash(block: &[u8]) -> u64 {
    const WORD: usize = 8;
    let mut sample = [0; 4 * WORD];
    let apart = block.len() / 4;
    for (to, from) in sample.chunks_exact_mut(WORD).zip(block.chunks(apart)) {
        to.copy_from_slice(&from[..WORD]);
    }
    xxhash_rust::xxh3::xxh3_64(&sample)
}

/// How many bytes from the beginning on are equal.
fn equal_bytes(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let whole = STEP * steps.take_while(|(a, b)| a == b).count();
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// Calls `piece` with the beginning and end, in the payload, of whatever of a row was one stretch of
/// the guest's memory: what a vector pointed to, what was written at one address.
fn pieces(calls: &Calls, row: usize, mut piece: impl FnMut(usize, usize)) {
    let before = |ends: &[u32]| if row == 0 { 0 } else { ends[row - 1] as usize };
    let start = before(&calls.payload_ends);
    // Most records are small, and then there is nothing to find.
    if (calls.payload_ends[row] as usize) < start + BLOCK {
        return;
    }
    let input = start + calls.input_lengths[row] as usize;
    let mut at = start;
    for length in vectors(calls, row, &calls.payload[start..input]) {
        let end = input.min(at.saturating_add(length));
        piece(at, end);
        at = end;
    }
    piece(at, input);
    at = input;
    for range in &calls.ranges[before(&calls.range_ends)..calls.range_ends[row] as usize] {
        let end = at + range.length as usize;
        piece(at, end);
        at = end;
    }
}

/// The lengths of the pieces of an input that has a vector of bytes: of the array itself, and of
/// what each element points to.
fn vectors<'a>(
    calls: &Calls,
    row: usize,
    input: &'a [u8],
) -> impl Iterator<Item = usize> + use<'a> {
    let count = function::by_id(calls.functions[row])
        .and_then(|function| {
            function.params.iter().find_map(|p| match p.kind {
                Kind::ConstIovecs { count } => calls.args(row).get(count),
                _ => None,
            })
        })
        .map_or(0, |&n| n.min(MAX_IOVECS as u64) as usize);
    let array = &input[..input.len().min(count * IOVEC)];
    let elements = array
        .as_chunks::<IOVEC>()
        .0
        .iter()
        .map(|v| u32::from_le_bytes([v[4], v[5], v[6], v[7]]) as usize);
    std::iter::once(array.len()).chain(elements)
}

/// Appends the payload without what is stored as references.
pub(super) fn literals(payload: &[u8], references: &[Reference], out: &mut Vec<u8>) {
    let mut at = 0;
    for r in references {
        out.extend_from_slice(&payload[at..r.at as usize]);
        at = (r.at + r.length) as usize;
    }
    out.extend_from_slice(&payload[at..]);
}

/// Puts the payload together again; none where a reference points past the literals.
pub(super) fn resolve(
    literals: Vec<u8>,
    references: &[Reference],
    length: usize,
) -> Option<Vec<u8>> {
    if references.is_empty() {
        return Some(literals);
    }
    let mut payload = Vec::new();
    payload.try_reserve_exact(length).ok()?;
    let mut rest = &literals[..];
    for r in references {
        let before = rest.split_off(..(r.at as usize).checked_sub(payload.len())?)?;
        payload.extend_from_slice(before);
        let source = literals.get(r.source as usize..)?;
        payload.extend_from_slice(source.get(..r.length as usize)?);
    }
    payload.extend_from_slice(rest);
    Some(payload)
}

/// Appends references, field by field.
pub(super) fn write(references: &[Reference], out: &mut Vec<u8>) {
    put_varint(out, references.len() as u64);
    let mut end = 0;
    for r in references {
        put_varint(out, u64::from(r.at - end));
        end = r.at + r.length;
    }
    for r in references {
        put_varint(out, u64::from(r.length));
    }
    let mut end = 0_u64;
    for r in references {
        put_varint(out, zigzag(u64::from(r.source).wrapping_sub(end)));
        end = u64::from(r.source + r.length);
    }
}

/// Reads references; none where they do not stand in a payload of that length one after another.
pub(super) fn read(c: &mut Cursor<'_>, payload: usize) -> Option<Vec<Reference>> {
    let count = usize::try_from(c.varint()?).ok()?;
    if count > payload / SHORTEST {
        return None;
    }
    let mut gaps = Vec::with_capacity(count);
    for _ in 0..count {
        gaps.push(u32::try_from(c.varint()?).ok()?);
    }
    let mut references = Vec::with_capacity(count);
    let mut end = 0_u32;
    for gap in gaps {
        let length = u32::try_from(c.varint()?).ok()?;
        let at = end.checked_add(gap)?;
        end = at.checked_add(length)?;
        if (length as usize) < SHORTEST || end as usize > payload {
            return None;
        }
        references.push(Reference {
            at,
            length,
            source: 0,
        });
    }
    let mut end = 0_u64;
    for r in &mut references {
        r.source = u32::try_from(end.wrapping_add(unzigzag(c.varint()?))).ok()?;
        end = u64::from(r.source) + u64::from(r.length);
    }
    Some(references)
}

//! HPACK, the compression of header fields in HTTP/2: RFC 7541. One [`Hpack`] reads what one endpoint
//! wrote, block by block.
//!
//! It is our own because those of libraries panic on damaged blocks, or are slow, and none can begin in
//! the middle: where earlier blocks are missing ([`Hpack::midstream`]), entries of the table may be
//! referred to that nobody saw, and that is no error.

mod dynamic;
mod fixed;
mod huffman;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use dynamic::Dynamic;

/// The size of the dynamic table before SETTINGS say otherwise: RFC 9113, section 6.5.2.
pub const DEFAULT_TABLE: usize = 4096;
/// The most bytes of a dynamic table that are kept, whatever SETTINGS allow.
pub const MAX_TABLE: usize = 64 << 10;
/// The most bytes of one field that is given, name and value.
pub const MAX_FIELD: usize = 64 << 10;
/// The most bytes of all fields that are given of one block.
pub const MAX_FIELDS: usize = 256 << 10;

/// Reads what one endpoint wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hpack {
    dynamic: Dynamic,
    /// What the other endpoint allows the table to be.
    allowed: usize,
    /// Whether the table has entries older than those that are known: blocks are missing, or it is
    /// bigger than what is kept.
    older: bool,
}

/// A field as it was sent. What is none refers to an entry that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// What a block held that [`Field`]s do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// How many fields were too long, or too many, to be given.
    pub left_out: u32,
    /// Whether the table became bigger than [`MAX_TABLE`].
    pub beyond_table: bool,
}

/// Why a block cannot be read, and at which of its bytes. What comes after it in the same direction
/// cannot be read either: the table is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at} of the header block")]
pub struct Error {
    /// Where in the block the field begins.
    pub at: usize,
    /// Why.
    pub kind: Kind,
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// It ends within a field.
    #[error("the end")]
    Cut,
    /// A number above 32 bits.
    #[error("a number that is too big")]
    Number,
    /// An index that neither table has.
    #[error("index {0}, which no table has,")]
    Index(u32),
    /// A string that is none of the Huffman code.
    #[error("a broken Huffman code")]
    Huffman,
    /// A size of the table that SETTINGS do not allow.
    #[error("a table of {0} bytes, more than SETTINGS allow,")]
    TableSize(u32),
    /// A size of the table that is not at the beginning.
    #[error("a size of the table after a field")]
    LateSize,
}

/// The name and the value of an entry.
enum Entry {
    Static(&'static [u8], &'static [u8]),
    Dynamic(Option<Range<usize>>, Range<usize>),
    Unknown,
}

/// What is left of the block.
struct Input<'a> {
    bytes: &'a [u8],
}

impl Default for Hpack {
    fn default() -> Hpack {
        Hpack {
            dynamic: Dynamic::new(DEFAULT_TABLE),
            allowed: DEFAULT_TABLE,
            older: false,
        }
    }
}

impl Hpack {
    /// For who did not see the first blocks, nor the SETTINGS.
    #[must_use]
    pub fn midstream() -> Hpack {
        Hpack {
            dynamic: Dynamic::new(MAX_TABLE),
            allowed: u32::MAX as usize,
            older: true,
        }
    }

    /// The other endpoint allows the table so many bytes from now on.
    pub fn allow(&mut self, bytes: u32) {
        self.allowed = bytes as usize;
    }

    /// Reads a block and gives its fields in their order.
    ///
    /// # Errors
    /// When it is malformed; the fields before that were given.
    pub fn read(&mut self, block: &[u8], mut give: impl FnMut(Field<'_>)) -> Result<Block, Error> {
        let mut input = Input { bytes: block };
        let mut said = Block::default();
        let mut given = 0_usize;
        let mut fields = false;
        let mut give = |field: Field<'_>, said: &mut Block| {
            let size = field.name.map_or(0, <[u8]>::len) + field.value.map_or(0, <[u8]>::len);
            if size > MAX_FIELD || given + size > MAX_FIELDS {
                said.left_out += 1;
            } else {
                given += size;
                give(field);
            }
        };
        while let Some(&first) = input.bytes.first() {
            let at = block.len() - input.bytes.len();
            let fail = |kind| Error { at, kind };
            if first & 0x80 != 0 {
                let index = input.number(7).map_err(fail)?;
                match self.entry(index).map_err(fail)? {
                    Entry::Static(name, value) => {
                        let [name, value] = [Some(name), Some(value)];
                        give(Field { name, value }, &mut said);
                    }
                    Entry::Dynamic(name, value) => {
                        let name = name.map(|cut| self.dynamic.bytes(cut));
                        let value = Some(self.dynamic.bytes(value));
                        give(Field { name, value }, &mut said);
                    }
                    Entry::Unknown => give(
                        Field {
                            name: None,
                            value: None,
                        },
                        &mut said,
                    ),
                }
                fields = true;
            } else if first & 0xe0 == 0x20 {
                let size = input.number(5).map_err(fail)?;
                self.resize(size, fields, &mut said).map_err(fail)?;
            } else {
                let indexed = first & 0x40 != 0;
                let start = self.dynamic.end();
                let prefix = if indexed { 6 } else { 4 };
                let read = self.literal(&mut input, prefix);
                let (value, named) = match read {
                    Ok(read) => read,
                    Err(kind) => {
                        self.dynamic.drop_tail(start);
                        return Err(fail(kind));
                    }
                };
                let name = named.then(|| self.dynamic.bytes(start..value));
                let end = self.dynamic.end();
                let field = Field {
                    name,
                    value: Some(self.dynamic.bytes(value..end)),
                };
                give(field, &mut said);
                if indexed {
                    self.dynamic.keep(start, value, named);
                } else {
                    self.dynamic.drop_tail(start);
                }
                fields = true;
            }
        }
        Ok(said)
    }

    fn resize(&mut self, size: u32, fields: bool, said: &mut Block) -> Result<(), Kind> {
        if fields {
            return Err(Kind::LateSize);
        }
        if size as usize > self.allowed {
            return Err(Kind::TableSize(size));
        }
        let kept = MAX_TABLE.min(size as usize);
        said.beyond_table |= kept < size as usize;
        self.older |= kept < size as usize;
        if size == 0 {
            // Whatever there was is gone.
            self.older = false;
        }
        self.dynamic.resize(kept);
        Ok(())
    }

    fn entry(&self, index: u32) -> Result<Entry, Kind> {
        if index <= fixed::LENGTH {
            let (name, value) = fixed::entry(index).ok_or(Kind::Index(index))?;
            return Ok(Entry::Static(name, value));
        }
        match self.dynamic.get((index - fixed::LENGTH - 1) as usize) {
            Some((name, value)) => Ok(Entry::Dynamic(name, value)),
            None if self.older => Ok(Entry::Unknown),
            None => Err(Kind::Index(index)),
        }
    }

    /// Appends a literal field to the table's bytes, and says where its value begins and whether its
    /// name is known.
    fn literal(&mut self, input: &mut Input<'_>, prefix: u32) -> Result<(usize, bool), Kind> {
        let index = input.number(prefix)?;
        let mut named = true;
        if index == 0 {
            input.string(self.dynamic.tail())?;
        } else {
            match self.entry(index)? {
                Entry::Static(name, _) => self.dynamic.tail().extend_from_slice(name),
                Entry::Dynamic(Some(name), _) => self.dynamic.append(name),
                Entry::Dynamic(None, _) | Entry::Unknown => named = false,
            }
        }
        let value = self.dynamic.end();
        input.string(self.dynamic.tail())?;
        Ok((value, named))
    }
}

impl Input<'_> {
    /// A number that begins in the low bits of the next byte: RFC 7541, section 5.1.
    fn number(&mut self, prefix: u32) -> Result<u32, Kind> {
        let mask = (1_u8 << prefix) - 1;
        let (first, mut rest) = self.bytes.split_first().ok_or(Kind::Cut)?;
        let mut number = u64::from(first & mask);
        if first & mask == mask {
            // Five more bytes are more than 32 bits.
            for shift in [0, 7, 14, 21, 28, 35] {
                let (byte, after) = rest.split_first().ok_or(Kind::Cut)?;
                if shift > 28 {
                    return Err(Kind::Number);
                }
                rest = after;
                number += u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        self.bytes = rest;
        u32::try_from(number).map_err(|_| Kind::Number)
    }

    /// Appends a string: RFC 7541, section 5.2.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Kind> {
        let huffman = self.bytes.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.number(7)? as usize;
        let (string, rest) = self.bytes.split_at_checked(length).ok_or(Kind::Cut)?;
        self.bytes = rest;
        if huffman {
            huffman::decode(string, out).ok_or(Kind::Huffman)
        } else {
            out.extend_from_slice(string);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;

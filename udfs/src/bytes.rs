//! Big-endian numbers and length-prefixed vectors, read from bytes that may be anything.

/// What is left to read. A read that does not fit gives none and takes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (now, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(now)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    pub(crate) fn u24(&mut self) -> Option<usize> {
        let (number, rest) = self.0.split_first_chunk::<3>()?;
        self.0 = rest;
        let [a, b, c] = number.map(usize::from);
        Some(a << 16 | b << 8 | c)
    }

    /// A vector with its length before it, in one byte.
    pub(crate) fn vector8(&mut self) -> Option<Bytes<'a>> {
        let length = self.u8()?;
        self.take(length.into()).map(Bytes)
    }

    /// A vector with its length before it, in two bytes.
    pub(crate) fn vector16(&mut self) -> Option<Bytes<'a>> {
        let length = self.u16()?;
        self.take(length.into()).map(Bytes)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// All that is left, as 16-bit numbers; an odd byte at the end is none.
    pub(crate) fn numbers(self) -> Vec<u16> {
        let pairs = self.0.chunks_exact(2);
        pairs.map(|b| u16::from_be_bytes([b[0], b[1]])).collect()
    }
}

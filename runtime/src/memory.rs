//! Guest memory as host functions see it: the one type through which the host reads and writes it.
//!
//! Every write is given to the [`Capture`], whatever becomes of the call, because replay applies
//! exactly those ranges. Nothing else in this crate may hold a guest's bytes mutably during a
//! call, and nothing here may know what a host function does.

use std::io::{IoSlice, IoSliceMut};

use smallvec::SmallVec;
use timecraft_segment::describe;

use crate::capture::Capture;

/// Bytes of guest memory, as indices that were checked against its size.
pub type Range = std::ops::Range<usize>;

/// A few ranges, on the stack as long as they are few.
pub type Ranges = SmallVec<[Range; 8]>;

/// The most bytes that one call reads or writes. Guests cope with short counts; the host's memory
/// stays bounded.
pub const MAX_TRANSFER: usize = 16 << 20;

/// The most bytes that one call writes where a short count would mean that there are no more. Who
/// wants more gets an error: a call is one record, and a record is held whole in the host's memory.
/// As many as wasmtime gives out at random at once.
pub const MAX_WHOLE: u64 = 64 << 20;

/// As long as a path may be, in bytes, as the guest passes it: Linux's `PATH_MAX` counts the zero
/// that ends it. Longer ones are refused without a look at them.
pub const MAX_PATH: usize = 4095;

/// The most elements of a vector that one call looks at, as many as a record has: Linux's `IOV_MAX`.
pub const MAX_IOVECS: u64 = describe::MAX_IOVECS as u64;

/// A pointer that the guest may not use. It becomes a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Some of the bytes lie outside of memory.
    #[error("pointer out of bounds: {length} bytes at {address:#x} in a memory of {size} bytes")]
    OutOfBounds {
        /// Where the access starts.
        address: u64,
        /// How many bytes it wants.
        length: u64,
        /// The size of memory in bytes.
        size: u64,
    },
    /// The address is not a multiple of the alignment of what should be there.
    #[error("pointer not aligned: {address:#x} is not a multiple of {alignment}")]
    Misaligned {
        /// The address.
        address: u64,
        /// The alignment in bytes.
        alignment: u64,
    },
}

/// The memory of a guest during one host call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    capture: &'a mut Capture,
}

impl<'a> GuestMemory<'a> {
    /// The memory `bytes`; writes go to `capture` too.
    #[inline]
    pub fn new(bytes: &'a mut [u8], capture: &'a mut Capture) -> Self {
        GuestMemory { bytes, capture }
    }

    /// The bytes at `address`.
    ///
    /// # Errors
    ///
    /// Some of them lie outside of memory.
    #[inline]
    pub fn slice(&self, address: u64, length: u64) -> Result<&[u8], Fault> {
        let range = self.range(address, length)?;
        self.bytes
            .get(range)
            .ok_or_else(|| self.out_of_bounds(address, length))
    }

    /// The little-endian 32-bit number at `address`.
    ///
    /// # Errors
    ///
    /// It lies outside of memory or is not aligned.
    #[inline]
    pub fn read_u32(&self, address: u64) -> Result<u32, Fault> {
        aligned(address, 4)?;
        self.slice(address, 4).map(|bytes| u32_at(bytes, 0))
    }

    /// The little-endian 64-bit number at `address`.
    ///
    /// # Errors
    ///
    /// It lies outside of memory or is not aligned.
    #[inline]
    pub fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        aligned(address, 8)?;
        self.slice(address, 8).map(|bytes| u64_at(bytes, 0))
    }

    /// The ranges that `count` vectors at `address` describe, without the empty ones.
    ///
    /// Only the first [`MAX_IOVECS`] are looked at, and only as many as it takes to describe
    /// [`MAX_TRANSFER`] bytes; the last range is cut to that sum.
    ///
    /// # Errors
    ///
    /// The vectors, or bytes that they describe, lie outside of memory or are not aligned.
    #[inline]
    pub fn iovecs(&self, address: u64, count: u64) -> Result<Ranges, Fault> {
        aligned(address, 4)?;
        let vectors = self.slice(address, count.min(MAX_IOVECS) * describe::IOVEC as u64)?;
        let mut ranges = Ranges::new();
        let mut room = MAX_TRANSFER;
        for vector in vectors.chunks_exact(describe::IOVEC) {
            let (start, length) = (u32_at(vector, 0), u32_at(vector, 4));
            if length == 0 {
                continue;
            }
            let mut range = self.range(start.into(), length.into())?;
            range.end = range.end.min(range.start + room);
            room -= range.len();
            ranges.push(range);
            if room == 0 {
                break;
            }
        }
        Ok(ranges)
    }

    /// The bytes of `ranges`, for a vectored write.
    ///
    /// # Errors
    ///
    /// Some of them lie outside of memory.
    #[inline]
    pub fn slices(&self, ranges: &[Range]) -> Result<SmallVec<[IoSlice<'_>; 8]>, Fault> {
        let mut slices = SmallVec::new();
        for range in ranges {
            slices.push(IoSlice::new(
                self.slice(range.start as u64, range.len() as u64)?,
            ));
        }
        Ok(slices)
    }

    /// Copies `bytes` to `address`.
    ///
    /// # Errors
    ///
    /// They do not fit into memory; nothing is written then.
    #[inline]
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let range = self.range(address, length)?;
        let Some(target) = self.bytes.get_mut(range) else {
            return Err(self.out_of_bounds(address, length));
        };
        target.copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.capture.write(address, bytes);
        }
        Ok(())
    }

    /// Writes a 16-bit number.
    ///
    /// # Errors
    ///
    /// It does not fit into memory or is not aligned.
    #[inline]
    pub fn write_u16(&mut self, address: u64, value: u16) -> Result<(), Fault> {
        aligned(address, 2)?;
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a 32-bit number.
    ///
    /// # Errors
    ///
    /// It does not fit into memory or is not aligned.
    #[inline]
    pub fn write_u32(&mut self, address: u64, value: u32) -> Result<(), Fault> {
        aligned(address, 4)?;
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a 64-bit number.
    ///
    /// # Errors
    ///
    /// It does not fit into memory or is not aligned.
    #[inline]
    pub fn write_u64(&mut self, address: u64, value: u64) -> Result<(), Fault> {
        aligned(address, 8)?;
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a structure whose alignment is 8 bytes.
    ///
    /// # Errors
    ///
    /// It does not fit into memory or is not aligned.
    pub fn write_struct(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        aligned(address, 8)?;
        self.write(address, bytes)
    }

    /// Lets `read` write straight into `ranges`; it says how many bytes it put there.
    ///
    /// Ranges that overlap cannot be handed out together: then only the first is, which the guest
    /// sees as a short count.
    ///
    /// # Errors
    ///
    /// The ranges lie outside of memory. The inner result is that of `read`.
    #[inline]
    pub fn fill<E>(
        &mut self,
        ranges: &[Range],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<usize, E>,
    ) -> Result<Result<usize, E>, Fault> {
        let ranges = if disjoint(ranges) {
            ranges
        } else {
            &ranges[..1]
        };
        let result = match ranges {
            [] => read(&mut []),
            [range] => match self.bytes.get_mut(range.clone()) {
                Some(bytes) => read(&mut [IoSliceMut::new(bytes)]),
                None => return Err(self.out_of_bounds(range.start as u64, range.len() as u64)),
            },
            many => read(&mut self.split(many)?),
        };
        let mut left = *result.as_ref().unwrap_or(&0);
        for range in ranges {
            let filled = range.len().min(left);
            if filled == 0 {
                break;
            }
            self.capture.write(
                range.start as u64,
                &self.bytes[range.start..range.start + filled],
            );
            left -= filled;
        }
        Ok(result)
    }

    /// Says that the host took only so many of the bytes that were recorded as the call's input.
    #[inline]
    pub fn consumed(&mut self, input_bytes: usize) {
        self.capture.consumed(input_bytes);
    }

    /// Adds to the record what the guest never sees.
    pub fn note(&mut self, text: &str) {
        self.capture.note(text);
    }

    /// The indices of bytes in memory.
    #[inline]
    fn range(&self, address: u64, length: u64) -> Result<Range, Fault> {
        match address.checked_add(length) {
            // Both fit a usize, because the size of memory does.
            Some(end) if end <= self.bytes.len() as u64 => Ok(address as usize..end as usize),
            _ => Err(self.out_of_bounds(address, length)),
        }
    }

    #[cold]
    fn out_of_bounds(&self, address: u64, length: u64) -> Fault {
        Fault::OutOfBounds {
            address,
            length,
            size: self.bytes.len() as u64,
        }
    }

    /// Ranges that do not overlap, as slices in the order given.
    fn split(&mut self, ranges: &[Range]) -> Result<Vec<IoSliceMut<'_>>, Fault> {
        let size = self.bytes.len() as u64;
        let mut by_address: Vec<usize> = (0..ranges.len()).collect();
        by_address.sort_unstable_by_key(|&i| ranges[i].start);
        let mut slices = Vec::with_capacity(ranges.len());
        let mut rest = &mut *self.bytes;
        let mut at = 0;
        for i in by_address {
            let range = &ranges[i];
            let slice = range
                .start
                .checked_sub(at)
                .and_then(|gap| rest.split_at_mut_checked(gap))
                .and_then(|(_, from)| from.split_at_mut_checked(range.len()));
            let Some((slice, after)) = slice else {
                let (address, length) = (range.start as u64, range.len() as u64);
                return Err(Fault::OutOfBounds {
                    address,
                    length,
                    size,
                });
            };
            slices.push((i, slice));
            (rest, at) = (after, range.end);
        }
        slices.sort_unstable_by_key(|(i, _)| *i);
        Ok(slices
            .into_iter()
            .map(|(_, slice)| IoSliceMut::new(slice))
            .collect())
    }
}

/// Whether no two ranges share a byte.
fn disjoint(ranges: &[Range]) -> bool {
    if ranges.len() < 2 {
        return true;
    }
    let mut sorted: SmallVec<[(usize, usize); 8]> =
        ranges.iter().map(|r| (r.start, r.end)).collect();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// Refuses an address that is not a multiple of `alignment`.
///
/// # Errors
///
/// As said.
#[inline]
pub fn aligned(address: u64, alignment: u64) -> Result<(), Fault> {
    if address.is_multiple_of(alignment) {
        Ok(())
    } else {
        Err(Fault::Misaligned { address, alignment })
    }
}

/// The little-endian 16-bit number at an offset in a structure; missing bytes count as zero.
#[inline]
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, offset))
}

/// The little-endian 32-bit number at an offset in a structure; missing bytes count as zero.
#[inline]
#[must_use]
pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, offset))
}

/// The little-endian 64-bit number at an offset in a structure; missing bytes count as zero.
#[inline]
#[must_use]
pub fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, offset))
}

#[inline]
fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes
        .get(offset..)
        .and_then(|b| b.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with_memory<T>(size: usize, test: impl FnOnce(&mut GuestMemory<'_>) -> T) -> T {
        let mut bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let mut capture = Capture::off();
        test(&mut GuestMemory::new(&mut bytes, &mut capture))
    }

    #[test]
    fn accesses_end_at_the_end_of_memory() {
        with_memory(64, |m| {
            assert_eq!(m.slice(60, 4).unwrap(), [60, 61, 62, 63]);
            assert!(m.slice(64, 0).unwrap().is_empty());
            for (address, length) in [(61, 4), (65, 0), (u64::MAX, 2), (0, u64::MAX)] {
                assert!(matches!(
                    m.slice(address, length),
                    Err(Fault::OutOfBounds { .. })
                ));
            }
            assert!(m.write(62, &[1, 2, 3]).is_err());
            assert_eq!(
                m.slice(62, 2).unwrap(),
                [62, 63],
                "a write that does not fit writes nothing"
            );
        });
    }

    #[test]
    fn numbers_must_be_aligned() {
        with_memory(64, |m| {
            m.write_u64(8, 0x0102_0304_0506_0708).unwrap();
            assert_eq!(m.read_u64(8).unwrap(), 0x0102_0304_0506_0708);
            assert_eq!(m.read_u32(8).unwrap(), 0x0506_0708);
            assert_eq!(
                m.write_u64(4, 0),
                Err(Fault::Misaligned {
                    address: 4,
                    alignment: 8
                })
            );
            assert_eq!(
                m.read_u32(2),
                Err(Fault::Misaligned {
                    address: 2,
                    alignment: 4
                })
            );
            assert_eq!(
                m.write_u16(1, 0),
                Err(Fault::Misaligned {
                    address: 1,
                    alignment: 2
                })
            );
        });
    }

    #[test]
    fn vectors_are_bounded_by_count_and_sum() {
        with_memory(64 << 10, |m| {
            for i in 0..2000 {
                m.write_u32(i * 8, 0).unwrap();
                m.write_u32(i * 8 + 4, u32::from(i % 2 == 0)).unwrap();
            }
            assert_eq!(
                m.iovecs(0, 2000).unwrap().len(),
                512,
                "empty ones are left out"
            );
            assert!(
                m.iovecs(0, u64::from(u32::MAX)).is_ok(),
                "only the first 1024 are looked at"
            );
            m.write_u32(4, 1 << 20).unwrap();
            assert!(m.iovecs(0, 1).is_err());
        });
        with_memory(MAX_TRANSFER + 64, |m| {
            for (i, n) in [(0, MAX_TRANSFER as u32 - 1), (1, 50), (2, 50)] {
                m.write_u32(i * 8, 0).unwrap();
                m.write_u32(i * 8 + 4, n).unwrap();
            }
            let lengths: Vec<usize> = m.iovecs(0, 3).unwrap().iter().map(Range::len).collect();
            assert_eq!(lengths, [MAX_TRANSFER - 1, 1]);
        });
    }

    #[test]
    fn ranges_are_filled_in_their_order_wherever_they_lie() {
        with_memory(16, |m| {
            let n = m.fill(&[8..10, 0..2, 4..6], |slices| {
                for (i, slice) in slices.iter_mut().enumerate() {
                    slice.fill(100 + i as u8);
                }
                Ok::<_, ()>(6)
            });
            assert_eq!(n, Ok(Ok(6)));
            assert_eq!(
                m.slice(0, 10).unwrap(),
                [101, 101, 2, 3, 102, 102, 6, 7, 100, 100]
            );
            let n = m.fill(&[0..4, 2..6], |slices| Ok::<_, ()>(slices.len()));
            assert_eq!(n, Ok(Ok(1)), "of ranges that overlap, the first is filled");
            assert!(m.fill(&[0..4, 12..20], |_| Ok::<_, ()>(0)).is_err());
        });
    }
}

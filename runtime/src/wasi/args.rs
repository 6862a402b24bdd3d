//! Arguments and environment: `args_get`, `args_sizes_get`, `environ_get`, `environ_sizes_get`.

use super::Outcome;
use crate::memory::{GuestMemory, aligned};

/// The most bytes that the arguments may take, and the environment: more than a process gets on
/// Linux. The guest copies them, and so does the log.
pub(super) const MAX_STRINGS: usize = 8 << 20;

/// Strings that the guest reads as an array of pointers into one block.
pub(super) struct Strings {
    /// Where each string starts in the block.
    starts: Vec<u32>,
    /// The strings, each with a zero byte after it.
    block: Vec<u8>,
}

impl Strings {
    /// Lays the strings out.
    ///
    /// # Errors
    /// How many bytes they take, if that is more than [`MAX_STRINGS`].
    pub fn new(strings: impl IntoIterator<Item = Vec<u8>>) -> Result<Strings, usize> {
        let (mut starts, mut block) = (Vec::new(), Vec::new());
        for string in strings {
            starts.push(super::low(block.len() as u64));
            block.extend(string);
            block.push(0);
        }
        if block.len() > MAX_STRINGS {
            return Err(block.len());
        }
        Ok(Strings { starts, block })
    }

    /// Writes the pointers and the block.
    pub fn get(&self, memory: &mut GuestMemory<'_>, pointers: u64, block: u64) -> Outcome {
        if self.starts.is_empty() {
            return Ok(());
        }
        aligned(pointers, 4)?;
        // The block is written first: a guest that can hold it can hold the addresses in it too.
        memory.write(block, &self.block)?;
        let addresses = self
            .starts
            .iter()
            .map(|start| super::low(block + u64::from(*start)));
        let addresses: Vec<u8> = addresses.flat_map(u32::to_le_bytes).collect();
        memory.write(pointers, &addresses)?;
        Ok(())
    }

    /// Writes how many strings there are, and the size of the block in bytes.
    pub fn sizes_get(&self, memory: &mut GuestMemory<'_>, count: u64, size: u64) -> Outcome {
        memory.write_u32(count, super::low(self.starts.len() as u64))?;
        memory.write_u32(size, super::low(self.block.len() as u64))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, trapped};

    #[test]
    fn arguments_and_environment_are_laid_out_as_c_expects() {
        let mut guest = Guest::new();
        guest.ok(ARGS_SIZES_GET, &[0, 4]);
        assert_eq!((guest.u32(0), guest.u32(4)), (2, 11));
        guest.ok(ARGS_GET, &[8, 101]);
        assert_eq!((guest.u32(8), guest.u32(12)), (101, 107));
        assert_eq!(guest.bytes(101, 11), b"guest\0-v v\0");
        guest.ok(ENVIRON_SIZES_GET, &[0, 4]);
        assert_eq!((guest.u32(0), guest.u32(4)), (1, 7));
        guest.ok(ENVIRON_GET, &[8, 200]);
        assert_eq!(guest.bytes(200, 7), b"HOME=/\0");
    }

    #[test]
    fn strings_are_limited() {
        let strings = |n| Strings::new([vec![b'x'; n], vec![]]).map(drop);
        assert_eq!(strings(MAX_STRINGS - 2), Ok(()));
        assert_eq!(strings(MAX_STRINGS - 1), Err(MAX_STRINGS + 1));
    }

    #[test]
    fn pointers_must_be_good() {
        let mut guest = Guest::new();
        let end = guest.memory.len() as u64;
        trapped(guest.call(ARGS_SIZES_GET, &[2, 4]));
        trapped(guest.call(ARGS_SIZES_GET, &[0, end]));
        trapped(guest.call(ARGS_GET, &[6, 100]));
        trapped(guest.call(ARGS_GET, &[8, end - 3]));
        trapped(guest.call(ARGS_GET, &[end - 4, 100]));
    }
}

//! Names of connections in Zeek's form: `C` and 96 bits in base 62.

use sha2::{Digest, Sha256};
use timecraft_segment::ProcessId;

/// Zeek's digits, in its order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How many of them 96 bits take.
const LENGTH: usize = 17;

/// The name of the connection that this record made known. The same two always give the same.
#[must_use]
pub fn of(process: ProcessId, connection: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(process.as_bytes());
    hash.update(connection.to_be_bytes());
    let hash = hash.finalize();
    let bits = hash.iter().take(12);
    let mut rest = bits.fold(0_u128, |n, &byte| n << 8 | u128::from(byte));
    let mut digits = [b'0'; LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    let digits = digits.iter().map(|&digit| char::from(digit));
    std::iter::once('C').chain(digits).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_stable_and_differ() {
        let process: ProcessId = "019b7ca9-8c88-7000-8000-000000000000".parse().unwrap();
        let other: ProcessId = "019b7ca9-8c88-7000-8000-000000000001".parse().unwrap();
        let name = of(process, 5);
        assert_eq!(name, "C145TeeJpxGstkCIAA");
        assert_eq!(name.len(), 1 + LENGTH);
        assert_ne!(name, of(process, 6));
        assert_ne!(name, of(other, 5));
    }
}

//! The state of a decoder, between one part of a log and the next: JSON with the decoder's version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It was saved by another version of the decoder, which may mean something else by it.
    #[error("the state was saved by version {found} of the decoder, and this is version {known}")]
    OtherVersion {
        /// The version that saved it.
        found: u32,
        /// The version of this decoder.
        known: u32,
    },
    /// It is not a state, or none of this decoder.
    #[error("the state of the decoder does not parse")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Saved<T> {
    version: u32,
    state: T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

pub(crate) fn save<T: Serialize>(version: u32, state: &T) -> Result<Vec<u8>, StateError> {
    Ok(serde_json::to_vec(&Saved { version, state })?)
}

pub(crate) fn restore<T: DeserializeOwned>(version: u32, saved: &[u8]) -> Result<T, StateError> {
    // The version first: what another one saved need not parse.
    let found = serde_json::from_slice::<Version>(saved)?.version;
    if found != version {
        return Err(StateError::OtherVersion {
            found,
            known: version,
        });
    }
    Ok(serde_json::from_slice::<Saved<T>>(saved)?.state)
}

/// Bytes in JSON: two digits each.
pub(crate) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        to.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.map(byte).collect();
        bytes.ok_or_else(|| D::Error::custom("not bytes in hexadecimal"))
    }
}

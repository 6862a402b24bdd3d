//! What can be odd in HTTP: each has a name in SQL, and is a row of `warnings` and an entry of the
//! exchange's own list.

use serde::{Deserialize, Serialize};

/// Something odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Oddity {
    /// A response that no request in the log asked for.
    UnexpectedResponse,
}

impl Oddity {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Oddity::UnexpectedResponse => "http_unexpected_response",
        }
    }
}

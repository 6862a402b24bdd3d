//! HTTP: what went over a connection as exchanges of a request with its response.

mod exchange;
pub mod hpack;
mod oddity;

pub use exchange::{
    Body, Exchange, Framing, Headers, Informational, Messages, Request, Response, Version,
};
pub use oddity::Oddity;

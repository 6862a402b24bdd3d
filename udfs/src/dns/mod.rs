//! DNS: messages with all that is in them ([`Message`]), and the decoder of a connection that carries
//! some ([`Dns`]).
//!
//! Everything is text as in zone files: names with `\.` and `\255` for what they may not have, data in
//! the form of its type. Nothing here may know what a message is asked for.

mod data;
mod decoder;
mod dnssec;
mod lookup;
mod message;
mod numbers;
mod oddity;
mod print;
mod reader;

pub use decoder::{Dns, MAX_ASKED, MAX_WAITING, Row};
pub use lookup::AddressQuestion;
pub use message::{Edns, Header, MAX_TEXT, Message, Record, Section};
pub use numbers::{class_name, opcode_name, option_name, rcode_name, type_name};
pub use oddity::{Oddities, Oddity};

//! HTTP exchanges, for the commands that show them.
//!
//! [`filter`] keeps those that were asked for, [`text`] and [`json`] write them, [`har`] makes an
//! archive of them. Nothing here may know of options or of where its output goes.

pub mod filter;
pub mod har;
pub mod json;
pub mod text;

use timecraft_segment::socket::Address;
use timecraft_udfs::connections::Connection;
use timecraft_udfs::http::Exchange;
use timecraft_udfs::protocol::At;

/// An exchange, and the connection that it went over.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub connection: &'a Connection,
    pub exchange: &'a Exchange,
}

impl<'a> Row<'a> {
    /// The end that sent the request.
    pub fn client(self) -> Option<&'a Address> {
        self.exchange.ends(self.connection).0
    }

    /// The end that it was sent to.
    pub fn server(self) -> Option<&'a Address> {
        self.exchange.ends(self.connection).1
    }

    /// Where it begins: with the request, or else with what there is of the response.
    pub fn begin(self) -> At {
        self.exchange.begin()
    }
}

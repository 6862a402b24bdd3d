//! The SQL functions: what decoders and this project's own texts are made of, over values.
//!
//! A function is one `Function`: its name, what it takes and gives, words and
//! examples for people, and the Rust that does it. From that come the types that a query is checked
//! with, `show functions`, and the reference page, whose examples are run by the tests.
//!
//! Rules of all: a null argument gives null. Bytes and text may be anything and never fail a query;
//! what cannot be read gives null, or a struct that says so in its field `error`. An argument that is
//! the same for all rows is looked at once.

mod arguments;
mod bytes;
pub mod columns;
mod dns;
pub mod dns_columns;
mod fields;
mod function;
mod http;
mod json;
mod network;
mod path;
mod tls;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{DocSection, ScalarUDF};

pub use arguments::fields_type;
use function::Function;
pub use function::documentation;

/// The section of the documentation of our functions, which tells them from DataFusion's own.
pub const SECTION: DocSection = DocSection {
    include: true,
    label: "timecraft",
    description: None,
};

const FUNCTIONS: [&Function; 12] = [
    &fields::HEADER,
    &fields::HEADERS_ALL,
    &http::HTTP_REQUEST,
    &http::HTTP_RESPONSE,
    &http::DECODE_BODY,
    &bytes::BODY_TEXT,
    &bytes::HEXDUMP,
    &path::PATH_TEMPLATE,
    &path::URL_PARTS,
    &network::CIDR_CONTAINS,
    &tls::TLS_CLIENT_HELLO,
    &dns::DNS_MESSAGE,
];

/// Registers the functions, those over JSON and its operators `->`, `->>` and `?` included.
///
/// # Errors
/// When the session refuses a function.
pub fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    for function in FUNCTIONS {
        session.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    json::register(session)
}

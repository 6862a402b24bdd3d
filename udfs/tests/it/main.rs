//! Decoders, fed with calls that no guest made.
#![allow(clippy::unwrap_used)]

mod calls;
mod connections;
mod connections_any;
mod dns;
mod dns_connections;
mod files;
mod files_any;
mod h2;
mod hpack;
mod http1;
mod socket_calls;
mod tls;

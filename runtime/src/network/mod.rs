//! The network that a guest is given: which socket functions it may import, which sockets it starts
//! with, what it may reach and where it may listen, and TLS that the host does for it.
//!
//! [`rules`] are what the user says and [`policy`] decides by them, from nothing but addresses and the
//! bytes of DNS: every connect, bind, listen, datagram and look-up of a name passes through it before
//! anything is done. [`tls`] stands between a guest and its connection. Nothing here knows WASI, guest
//! memory or records, opens a socket or looks up a name.

pub mod address;
pub mod dns;
mod endpoint;
mod names;
pub mod policy;
pub mod rules;
pub mod tls;

use std::sync::Arc;

pub use self::endpoint::{Endpoint, NotAnEndpoint};
pub use self::rules::Rules;

use self::tls::Trust;

/// Which functions for sockets a guest may import, beside those of WASI preview 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extension {
    /// WasmEdge's, of the version whose signatures the module imports.
    #[default]
    Auto,
    /// None.
    None,
    /// WasmEdge's of version 1.
    WasmEdgeV1,
    /// WasmEdge's of version 2.
    WasmEdgeV2,
}

/// The network as a guest has it. The default is a guest that reaches nothing.
#[derive(Clone, Debug)]
pub struct Network {
    /// Which socket functions it may import.
    pub extension: Extension,
    /// Where it may listen. A module that cannot bind sockets itself starts with these.
    pub listen: Vec<Endpoint>,
    /// The connections that it starts with.
    pub dial: Vec<Endpoint>,
    /// What its own sockets may reach. Where they may listen is taken from `listen`.
    pub rules: Rules,
    /// Whom the TLS that the host does for it trusts.
    pub trust: Arc<Trust>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            extension: Extension::default(),
            listen: Vec::new(),
            dial: Vec::new(),
            rules: Rules {
                restrict: true,
                ..Rules::default()
            },
            trust: Arc::default(),
        }
    }
}

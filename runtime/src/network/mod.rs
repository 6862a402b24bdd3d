//! What a guest has of the network: which socket functions it may import, which sockets it starts
//! with, and what it may reach.
//!
//! Every connect, bind, listen, send of a datagram and lookup of a name passes through
//! [`Network::check`] or [`Network::check_name`] before anything is done. Nothing here may open a
//! socket or send a packet.

pub mod address;
pub mod dns;
mod endpoint;
mod names;
pub mod policy;
pub mod rules;
pub mod tls;

pub use self::endpoint::{Endpoint, NotAnEndpoint};

use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{Address, Transport};

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

/// How far a guest's own sockets reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere.
    #[default]
    Nothing,
    /// Wherever the host's do.
    Everything,
}

/// The network as a guest has it. The default is a guest that reaches nothing.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Which socket functions it may import.
    pub extension: Extension,
    /// Where it listens.
    pub listen: Vec<Endpoint>,
    /// The connections that it starts with.
    pub dial: Vec<Endpoint>,
    /// What its own sockets may reach.
    pub reach: Reach,
}

/// What a guest wants to do with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To connect a socket to it.
    Connect,
    /// To bind a socket to it.
    Bind,
    /// To listen there.
    Listen,
    /// To send it a datagram.
    Send,
}

/// What a guest is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What.
    pub action: Action,
    /// With which kind of socket.
    pub transport: Transport,
    /// At which address.
    pub address: &'a Address,
}

impl Network {
    /// Whether the guest may do this.
    ///
    /// # Errors
    ///
    /// The refusal, with the rule and the flag that would grant it.
    pub fn check(&self, attempt: &Attempt<'_>) -> Result<(), Denial> {
        match self.reach {
            Reach::Everything => Ok(()),
            Reach::Nothing => {
                let Attempt {
                    action,
                    transport,
                    address,
                } = attempt;
                let flag = match (action, address) {
                    (_, Address::Unix(_)) => "--allow-unix PATH".to_owned(),
                    (Action::Bind | Action::Listen, _) => format!("--listen {address}"),
                    _ => format!("--allow-net {address}"),
                };
                Err(refused(format!("{} {address}", transport.name()), flag))
            }
        }
    }

    /// Whether the guest may ask the host's resolver for a name.
    ///
    /// # Errors
    ///
    /// The refusal, with the rule and the flag that would grant it.
    pub fn check_name(&self, name: &str) -> Result<(), Denial> {
        match self.reach {
            Reach::Everything => Ok(()),
            Reach::Nothing => Err(refused(
                format!("the address of {name:?}"),
                format!("--allow-net {name}"),
            )),
        }
    }
}

fn refused(resource: String, would_need: String) -> Denial {
    Denial {
        resource,
        rule: "--restrict".to_owned(),
        would_need,
    }
}

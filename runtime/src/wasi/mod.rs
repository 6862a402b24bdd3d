//! WASI preview 1, synchronous, on the guest's thread.
//!
//! [`Wasi`] holds what the guest was given: arguments, environment, descriptors; `setup` makes it from a
//! [`Config`]. [`Wasi::call`] is one `match` on the number of the function, in `calls`, to one method
//! each; the methods are in files by subject. Where the specification leaves something open or engines differ, this is wasmtime's
//! behaviour.
//!
//! A method reads and writes guest memory through [`GuestMemory`] only, resolves paths beneath
//! preopened directories only (cap-std does that), reaches the network only where
//! its [`Policy`] permits it, and never waits without watching the
//! [`Wakeup`]. It knows nothing of records.

mod abi;
mod args;
mod calls;
mod channel;
mod clock;
#[cfg(test)]
mod containment;
mod descriptors;
mod directory;
mod errno;
mod file;
mod function;
mod grants;
mod open;
mod output;
mod path;
mod poll;
#[cfg(test)]
mod races;
mod resolver;
mod setup;
mod sockets;
mod stat;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use timecraft_segment::ids::FunctionId;
use timecraft_segment::socket::Preopened;

pub use self::errno::Errno;
pub use self::grants::MissingGrant;
pub use self::output::Output;
pub use self::setup::{Config, Directory, SetupError};

use self::args::Strings;
use self::descriptors::Descriptors;
use self::grants::{MissingGrants, Refusal};
use self::poll::Poller;
use self::sockets::file::SocketFile;
use crate::limits::LimitReached;
use crate::memory::{Fault, GuestMemory};
use crate::network::policy::Policy;
use crate::network::tls::Trust;
use crate::wakeup::Wakeup;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It returned this to the guest: an `errno`, zero-extended.
    Return(u64),
    /// The guest exits with this status.
    Exit(i32),
    /// The guest traps; why.
    Trap(String),
    /// The wakeup ended it while it waited. What it did until then is in memory and in the log.
    Interrupted,
}

/// What ends a call early.
#[derive(Debug)]
enum Stop {
    Errno(Errno),
    Refused(Box<Refusal>),
    /// A limit refuses the call.
    Limit(Errno, Box<LimitReached>),
    /// An errno, and why, which the guest never sees.
    Because(Errno, String),
    Fault(Fault),
    Interrupted,
    Exit(i32),
    NoSuchFunction,
}

/// What a method returns: nothing is `SUCCESS`.
type Outcome = Result<(), Stop>;

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(errno: rustix::io::Errno) -> Stop {
        Stop::Errno(errno.into())
    }
}

impl From<Box<Refusal>> for Stop {
    fn from(refusal: Box<Refusal>) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// The WASI preview 1 side of one guest.
pub struct Wasi {
    args: Strings,
    environment: Strings,
    descriptors: Descriptors,
    poller: Poller,
    preopens: Vec<(u32, String)>,
    /// Whether it was given a directory.
    has_directories: bool,
    sockets: Vec<Preopened>,
    /// Held, so that these are gone when the guest is.
    _socket_files: Vec<SocketFile>,
    policy: Policy,
    trust: Arc<Trust>,
    missing: MissingGrants,
    limit_reached: Option<LimitReached>,
    wakeup: Wakeup,
    /// The host's monotonic clock when the process started, in nanoseconds.
    started: u64,
}

impl Wasi {
    /// The descriptors that the guest starts with beside the standard streams, and their names.
    #[must_use]
    pub fn preopens(&self) -> Vec<(u32, String)> {
        self.preopens.clone()
    }

    /// The sockets that the guest starts with.
    #[must_use]
    pub fn sockets(&self) -> &[Preopened] {
        &self.sockets
    }

    /// What the guest was refused because it was not granted: the first few, each once.
    #[must_use]
    pub fn missing_grants(&self) -> &[MissingGrant] {
        self.missing.as_slice()
    }

    /// The limit that refused it a descriptor, if one did.
    #[must_use]
    pub fn limit_reached(&self) -> Option<&LimitReached> {
        self.limit_reached.as_ref()
    }

    /// Does what the function does. `args` are the guest's, 32-bit ones zero-extended.
    #[inline]
    pub fn call(
        &mut self,
        function: FunctionId,
        args: &[u64],
        memory: &mut GuestMemory<'_>,
    ) -> Flow {
        match self.dispatch(function, args, memory) {
            Ok(()) => Flow::Return(0),
            Err(stop) => self.stopped(stop, function, memory),
        }
    }

    fn stopped(&mut self, stop: Stop, function: FunctionId, memory: &mut GuestMemory<'_>) -> Flow {
        match stop {
            Stop::Errno(errno) => Flow::Return(u16::from(errno).into()),
            Stop::Refused(refusal) => {
                memory.note(&refusal.denial().to_string());
                self.missing.add(refusal.missing);
                Flow::Return(u16::from(refusal.errno).into())
            }
            Stop::Limit(errno, limit) => {
                memory.note(&limit.to_string());
                self.limit_reached = Some(*limit);
                Flow::Return(u16::from(errno).into())
            }
            Stop::Because(errno, why) => {
                memory.note(&why);
                Flow::Return(u16::from(errno).into())
            }
            Stop::Fault(fault) => Flow::Trap(fault.to_string()),
            Stop::Interrupted => Flow::Interrupted,
            Stop::Exit(status) => Flow::Exit(status),
            Stop::NoSuchFunction => Flow::Trap(format!(
                "host function {} is not of WASI preview 1, or its arguments are not",
                function.0
            )),
        }
    }
}

/// The value of a 32-bit argument.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the guest passed 32 bits")]
fn low(arg: u64) -> u32 {
    arg as u32
}

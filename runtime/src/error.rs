//! What can go wrong with running a guest, named after what it means for the user.
//!
//! Only what timecraft fails at, or refuses before the guest starts, is an error. What the guest
//! does wrong once it runs is its end, and stands in [`Report`](crate::process::Report).

use std::io;
use std::path::PathBuf;

use crate::network::tls::TrustError;
use crate::wasi::SetupError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a guest could not be run, or its recording not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of certificate authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The module's file could not be read.
    #[error("cannot read the module {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is neither a binary nor a text module.
    #[error("{module} is not a WebAssembly module: it is {found}")]
    NotWasm {
        /// The module's name.
        module: String,
        /// What it looks like.
        found: &'static str,
    },
    /// The text format has a mistake.
    #[error("{module} is not valid WebAssembly text: {reason}")]
    Text {
        /// The module's name.
        module: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The file is a component (WASI 0.2), not a module.
    #[error(
        "{module} is a WebAssembly component, and timecraft runs core modules that use WASI preview 1"
    )]
    Component {
        /// The module's name.
        module: String,
    },
    /// The binary format has a version that the engine does not know.
    #[error(
        "{module} has version {version} of the WebAssembly binary format, and timecraft runs version 1"
    )]
    BinaryVersion {
        /// The module's name.
        module: String,
        /// Its version.
        version: u32,
    },
    /// The module shares its memory between threads.
    #[error("{module} uses shared memory, and a guest with threads cannot be replayed")]
    SharedMemory {
        /// The module's name.
        module: String,
    },
    /// The engine refuses the module: it is malformed, or uses a feature that is not on.
    #[error("{module} is not a valid WebAssembly module: {reason}")]
    Invalid {
        /// The module's name.
        module: String,
        /// What the engine says, with the place.
        reason: String,
    },
    /// The module imports a function that timecraft does not have.
    #[error("the module imports the function {name:?} of {module:?}, which timecraft does not have{}", and_more(*others))]
    UnknownImport {
        /// The module it is imported from.
        module: String,
        /// The function.
        name: String,
        /// How many more imports are unknown.
        others: usize,
        /// A function that timecraft has and that may be meant, as `module.name`.
        nearest: Option<String>,
    },
    /// The module imports something that is not a function.
    #[error(
        "the module imports the {kind} {name:?} of {module:?}, and timecraft provides functions only"
    )]
    ImportKind {
        /// The module it is imported from.
        module: String,
        /// Its name.
        name: String,
        /// `memory`, `table`, `global` or `tag`.
        kind: &'static str,
    },
    /// The module imports a function by another type than it has.
    #[error("the module imports {module}.{name} as {found}, and it is {expected}")]
    ImportSignature {
        /// The module it is imported from.
        module: String,
        /// The function.
        name: String,
        /// Its type.
        expected: String,
        /// The type that the module gives it.
        found: String,
    },
    /// The module imports an extension that it is not given.
    #[error("the module imports the socket function {name:?}, which this run does not provide")]
    NoSockets {
        /// The function.
        name: String,
    },
    /// The module imports from both versions of an extension.
    #[error(
        "the module imports the socket functions of two versions of WasmEdge: {v1:?} is of version 1, and {v2:?} of version 2"
    )]
    SocketVersions {
        /// A function as version 1 has it.
        v1: String,
        /// A function as version 2 has it.
        v2: String,
    },
    /// The module does not export the function to call.
    #[error("the module exports no function {entry:?}")]
    NoEntry {
        /// The function that was asked for.
        entry: String,
        /// The functions that it does export and that can be called.
        exports: Vec<String>,
    },
    /// The function to call takes parameters.
    #[error("the exported function {entry:?} takes parameters: it is {found}")]
    EntryParameters {
        /// The function.
        entry: String,
        /// Its type.
        found: String,
    },
    /// The module's memories begin larger than they may become.
    #[error("the module's memory begins with {needed} bytes, and the limit is {limit}")]
    InitialMemory {
        /// All memories together, in bytes.
        needed: u64,
        /// In bytes.
        limit: u64,
    },
    /// The module's tables begin larger than they may become.
    #[error("the module's tables begin with {needed} elements, and the limit is {limit}")]
    InitialTable {
        /// All tables together, in elements.
        needed: u64,
        /// In elements.
        limit: u64,
    },
    /// The guest may open more files than this process.
    #[error(
        "the guest cannot have {wanted} open descriptors: this process has room for {possible}"
    )]
    OpenFiles {
        /// How many were asked for.
        wanted: u32,
        /// How many there could be.
        possible: u32,
    },
    /// The engine could not be set up.
    #[error("the WebAssembly engine cannot be set up: {reason}")]
    Engine {
        /// What the engine says.
        reason: String,
    },
    /// The guest's thread could not be started; its stack is what it takes.
    #[error("cannot start the guest's thread with a stack of {stack_bytes} bytes")]
    Thread {
        /// What its stack takes, the host's share included.
        stack_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The host could not give what a run needs: a thread, an event descriptor.
    #[error("cannot create {what}")]
    Host {
        /// What.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What the guest was granted could not be set up.
    #[error(transparent)]
    Wasi(#[from] SetupError),
    /// The recording could not be written.
    #[error(transparent)]
    Log(#[from] timecraft_segment::Error),
}

impl Error {
    /// What the user can do about it, as a sentence, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotWasm { .. } => {
                Some("give a file that a compiler made for the target wasm32-wasip1 (.wasm), or text (.wat)".to_owned())
            }
            Error::Component { .. } => {
                Some("build it for the target wasm32-wasip1 instead of wasm32-wasip2".to_owned())
            }
            Error::BinaryVersion { .. } => {
                Some("the file may be damaged, or made by a newer toolchain: build it again as a core module".to_owned())
            }
            Error::SharedMemory { .. } => Some(
                "build it without threads: for the target wasm32-wasip1, not wasm32-wasip1-threads, and without -pthread"
                    .to_owned(),
            ),
            Error::UnknownImport { module, nearest, .. } => Some(import_hint(module, nearest.as_deref())),
            Error::ImportKind { .. } => {
                Some("build it as a program of its own, with its own memory, not as a library to be linked".to_owned())
            }
            Error::ImportSignature { name, .. } if name.starts_with("sock_") => Some(
                "the module may be built for the other version of WasmEdge's sockets: run it with --sockets auto"
                    .to_owned(),
            ),
            Error::ImportSignature { .. } => {
                Some("the module may be built for another version of WASI: build it for wasm32-wasip1".to_owned())
            }
            Error::NoSockets { .. } => {
                Some("run it with --sockets auto, which gives a module the socket functions that it imports".to_owned())
            }
            Error::SocketVersions { .. } => {
                Some("link it with one library for sockets, or with versions of them that agree".to_owned())
            }
            Error::NoEntry { exports, .. } if exports.is_empty() => {
                Some("it exports no function that could be called; build it as a program and not as a library".to_owned())
            }
            Error::NoEntry { exports, .. } => {
                Some(format!("name one of its exports with --function: {}", list(exports)))
            }
            Error::EntryParameters { .. } => {
                Some("timecraft calls functions without parameters; arguments go through the command line".to_owned())
            }
            Error::InitialMemory { .. } => Some("raise the limit with --max-memory".to_owned()),
            Error::InitialTable { .. } => {
                Some("raise the limit with --max-table-elements".to_owned())
            }
            Error::OpenFiles { possible, .. } => Some(format!(
                "give --max-open-files {possible} or fewer, or raise the hard limit of the system (ulimit -Hn)"
            )),
            Error::Trust(_) => Some("give --tls-ca a file of certificates in PEM".to_owned()),
            Error::Thread { .. } => Some("give a smaller --max-stack".to_owned()),
            Error::Wasi(SetupError::TooManyDirectories { .. }) => {
                Some("raise the limit with --max-open-files".to_owned())
            }
            Error::Wasi(SetupError::Socket { doing, .. }) => Some(match *doing {
                "listen at" => "give --listen an address of this machine that nobody else listens at".to_owned(),
                _ => "give --dial an address at which a server listens".to_owned(),
            }),
            Error::Wasi(SetupError::TooLarge { .. }) => {
                Some("pass what is large by standard input, or in a file of a --dir".to_owned())
            }
            Error::Wasi(SetupError::Directory { .. }) => {
                Some("give --dir a directory that exists and that you may read, as HOST or HOST::GUEST".to_owned())
            }
            Error::Log(error) => error.hint(),
            _ => None,
        }
    }
}

fn import_hint(module: &str, nearest: Option<&str>) -> String {
    match (module, nearest) {
        ("wasi_unstable", _) => {
            "the module was built for a preview of WASI older than preview 1: build it with a current toolchain".to_owned()
        }
        (m, _) if m.starts_with("wasi:") => {
            "the module was built for WASI 0.2 or later: build it for the target wasm32-wasip1".to_owned()
        }
        (m, _) if m.starts_with("wasix") => {
            "the module was built for WASIX: build it for the target wasm32-wasip1".to_owned()
        }
        (_, Some(nearest)) => format!("timecraft has {nearest}; build the module for the target wasm32-wasip1"),
        (_, None) => {
            "a guest can import the functions of wasi_snapshot_preview1; an unresolved symbol of the program ends up \
             as an import, too: link what defines it"
                .to_owned()
        }
    }
}

fn and_more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (nor one more that it imports)".to_owned(),
        n => format!(" (nor {n} more that it imports)"),
    }
}

/// The first few names, quoted, so that a module with a thousand exports does not fill the screen.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|n| format!("{n:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

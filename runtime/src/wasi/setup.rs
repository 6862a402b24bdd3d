//! What a guest is given, and how its descriptors come to be before it runs.
//!
//! All that can be refused is refused here, with an error that names it. Nothing here may be called once
//! the guest runs.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;
use rustix::fs::OFlags;
use timecraft_segment::socket::Preopened;

use super::Wasi;
use super::abi::Filetype;
use super::args::{self, Strings};
use super::channel::{Channel, Handle};
use super::clock;
use super::descriptors::{Descriptor, Descriptors, Direction, Directory as OpenDirectory, Stdio};
use super::grants::{Access, Grant, MissingGrants};
use super::poll::Poller;
use super::resolver::{self, HostFiles, ResolverFiles};
use super::sockets::preopen;
use super::sockets::socket::{Socket, Stage};
use crate::network::policy::Policy;
use crate::network::{Endpoint, Network};
use crate::wakeup::Wakeup;

/// What a guest is given. The standard streams are the host's.
pub struct Config {
    /// The arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// Names and values of the environment.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The directories, preopened from descriptor 3 on.
    pub directories: Vec<Directory>,
    /// The network; its sockets are preopened after the directories.
    pub network: Network,
    /// Whether it finds the host's `/etc/resolv.conf` and `/etc/hosts`, where none of its directories
    /// covers `/etc`.
    pub resolver_files: bool,
    /// The most descriptors that it may have open.
    pub max_descriptors: u32,
    /// What ends every call that waits.
    pub wakeup: Wakeup,
}

/// A directory to preopen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is on the host.
    pub host: PathBuf,
    /// What the guest knows it as.
    pub guest: String,
    /// Whether everything that changes it or what is in it is refused.
    pub read_only: bool,
}

/// Why a guest cannot be given what its configuration says.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The directory does not exist, is not one, or must not be opened.
    #[error("cannot open the directory {}, to be given to the guest as {guest:?}", host.display())]
    Directory {
        /// Where it should be on the host.
        host: PathBuf,
        /// What the guest would know it as.
        guest: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are more directories and sockets than descriptors.
    #[error(
        "the standard streams and {directories} directories{} are more than the limit of {limit} open descriptors",
        and_sockets(*sockets)
    )]
    TooManyDirectories {
        /// How many the guest should start with.
        directories: usize,
        /// How many sockets it should start with.
        sockets: usize,
        /// How many descriptors it may have.
        limit: u32,
    },
    /// A socket that the guest should start with could not be made.
    #[error("cannot {doing} {endpoint} for the guest")]
    Socket {
        /// `listen at` or `connect to`.
        doing: &'static str,
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system has no room for another epoll set.
    #[error("cannot make the epoll set that the guest waits with")]
    Poller(#[source] std::io::Error),
    /// The arguments or the environment are too large.
    #[error(
        "the guest's {what} takes {bytes} bytes, and the limit is {}",
        args::MAX_STRINGS
    )]
    TooLarge {
        /// `command line` or `environment`.
        what: &'static str,
        /// How many bytes it takes.
        bytes: usize,
    },
}

fn and_sockets(sockets: usize) -> String {
    match sockets {
        0 => String::new(),
        n => format!(" and {n} sockets"),
    }
}

impl Wasi {
    /// Opens what the guest is given.
    ///
    /// # Errors
    /// If a directory cannot be opened; the error names it.
    pub fn new(config: Config) -> Result<Wasi, SetupError> {
        let inherited = |fd: BorrowedFd<'static>| Handle::Inherited(fd);
        let stdio = [
            inherited(rustix::stdio::stdin()),
            inherited(rustix::stdio::stdout()),
            inherited(rustix::stdio::stderr()),
        ];
        Wasi::with_stdio(config, stdio)
    }

    pub(super) fn with_stdio(
        config: Config,
        [stdin, stdout, stderr]: [Handle; 3],
    ) -> Result<Wasi, SetupError> {
        let limit = config.max_descriptors;
        let directories = config.directories.len();
        let Network {
            listen,
            dial,
            mut rules,
            trust,
            ..
        } = config.network;
        let given = listen.len() + dial.len();
        let mut descriptors = Descriptors::new(limit as usize);
        let mut push = |d| {
            descriptors
                .push(d)
                .map_err(|_| SetupError::TooManyDirectories {
                    directories,
                    sockets: given,
                    limit,
                })
        };
        push(standard_stream(stdin, Direction::In))?;
        push(standard_stream(stdout, Direction::Out))?;
        push(standard_stream(stderr, Direction::Out))?;
        let mut preopens = Vec::new();
        for Directory {
            host,
            guest,
            read_only,
        } in config.directories
        {
            let dir = match Dir::open_ambient_dir(&host, cap_std::ambient_authority()) {
                Ok(dir) => dir,
                Err(source) => {
                    return Err(SetupError::Directory {
                        host,
                        guest,
                        source,
                    });
                }
            };
            let access = if read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            };
            let fd = push(Descriptor::Directory(OpenDirectory {
                dir,
                grant: Arc::new(Grant {
                    host,
                    guest: guest.clone(),
                    access,
                }),
                preopened: Some(guest.clone()),
                flags: 0,
                listing: OnceLock::new(),
            }))?;
            preopens.push((fd, guest));
        }
        let has_directories = !preopens.is_empty();
        let has_sockets = !listen.is_empty() || !dial.is_empty();
        let host = match config.resolver_files || has_sockets {
            true => HostFiles::read(),
            false => HostFiles::default(),
        };
        let covered = |(_, guest): &(u32, String)| Path::new(resolver::NAME).starts_with(guest);
        if config.resolver_files && !preopens.iter().any(covered) {
            let fd = push(Descriptor::ResolverFiles(ResolverFiles::of(&host)))?;
            preopens.push((fd, resolver::NAME.to_owned()));
        }
        let mut sockets = Vec::new();
        let mut socket_files = Vec::new();
        let mut start_with = |socket: Socket| {
            let (listening, ends) = (socket.stage == Stage::Listening, socket.ends());
            let fd = push(Descriptor::Socket(socket))?;
            sockets.push(Preopened {
                fd,
                listening,
                ends,
            });
            Ok(())
        };
        for at in &listen {
            let listener = preopen::listen(at).map_err(cannot("listen at", at))?;
            rules.listen.extend(listener.addresses);
            socket_files.extend(listener.file);
            start_with(listener.socket)?;
        }
        for to in &dial {
            start_with(preopen::dial(to).map_err(cannot("connect to", to))?)?;
        }
        let policy = Policy::new(rules, &host.text("resolv.conf"), &host.text("hosts"));
        let too_large = |what| move |bytes| SetupError::TooLarge { what, bytes };
        let variables = config
            .environment
            .into_iter()
            .map(|(name, value)| [name, value].join(&b'='));
        Ok(Wasi {
            args: Strings::new(config.args).map_err(too_large("command line"))?,
            environment: Strings::new(variables).map_err(too_large("environment"))?,
            descriptors,
            poller: Poller::new(&config.wakeup).map_err(|e| SetupError::Poller(e.into()))?,
            preopens,
            has_directories,
            sockets,
            _socket_files: socket_files,
            policy,
            trust,
            missing: MissingGrants::default(),
            limit_reached: None,
            wakeup: config.wakeup,
            started: clock::monotonic(),
        })
    }
}

fn cannot(doing: &'static str, endpoint: &Endpoint) -> impl FnOnce(std::io::Error) -> SetupError {
    let endpoint = endpoint.clone();
    move |source| SetupError::Socket {
        doing,
        endpoint,
        source,
    }
}

fn standard_stream(handle: Handle, direction: Direction) -> Descriptor {
    let access = match direction {
        Direction::In => OFlags::RDONLY,
        Direction::Out => OFlags::WRONLY,
    };
    let channel = Channel::shared(handle, access);
    let filetype = match rustix::termios::isatty(channel.fd()) {
        true => Filetype::CharacterDevice,
        false => Filetype::Unknown,
    };
    Descriptor::Stdio(Stdio {
        channel,
        direction,
        filetype,
        flags: 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn too_many_directories_are_told_with_the_limit() {
        let directory = Directory {
            host: "/".into(),
            guest: "/".to_owned(),
            read_only: true,
        };
        let start = |directories| {
            Wasi::new(Config {
                args: vec![],
                environment: vec![],
                directories: vec![directory.clone(); directories],
                network: Network::default(),
                resolver_files: false,
                max_descriptors: 10,
                wakeup: Wakeup::new().unwrap(),
            })
        };
        assert!(start(7).is_ok());
        assert_eq!(
            start(8).err().unwrap().to_string(),
            "the standard streams and 8 directories are more than the limit of 10 open descriptors"
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let directory = Directory {
            host: "/no/such".into(),
            guest: "/x".to_owned(),
            read_only: false,
        };
        let wakeup = Wakeup::new().unwrap();
        let config = Config {
            args: vec![],
            environment: vec![],
            directories: vec![directory],
            network: Network::default(),
            resolver_files: false,
            max_descriptors: 10,
            wakeup,
        };
        let error = Wasi::new(config).err().unwrap();
        assert_eq!(
            error.to_string(),
            "cannot open the directory /no/such, to be given to the guest as \"/x\""
        );
    }
}

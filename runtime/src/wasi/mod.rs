//! WASI preview 1, synchronous, on the guest's thread.
//!
//! [`Wasi`] holds what the guest was given: arguments, environment, descriptors. [`Wasi::call`]
//! is one `match` on the number of the function, to one method each; the methods are in files by
//! subject. Where the specification leaves something open or engines differ, this is wasmtime's
//! behaviour.
//!
//! A method reads and writes guest memory through [`GuestMemory`] only, resolves paths beneath
//! preopened directories only (cap-std does that), reaches the network only where
//! its [`Policy`] permits it, and never waits without watching the
//! [`Wakeup`]. It knows nothing of records.

mod abi;
mod args;
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
mod sockets;
mod stat;
#[cfg(test)]
mod testing;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;
use rustix::fs::OFlags;
use timecraft_segment::ids::FunctionId;
use timecraft_segment::socket::Preopened;

pub use self::errno::Errno;
pub use self::grants::MissingGrant;
pub use self::output::Output;

use self::abi::Filetype;
use self::args::Strings;
use self::channel::{Channel, Handle};
use self::descriptors::{Descriptor, Descriptors, Direction, Directory as OpenDirectory, Stdio};
use self::grants::{Access, Grant, MissingGrants, Refusal};
use self::resolver::ResolverFiles;
use self::sockets::socket::Stage;
use self::sockets::{End, preopen};
use crate::limits::LimitReached;
use crate::memory::{Fault, GuestMemory};
use crate::network::policy::Policy;
use crate::network::tls::Trust;
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
    preopens: Vec<(u32, String)>,
    /// Whether it was given a directory.
    has_directories: bool,
    sockets: Vec<Preopened>,
    policy: Policy,
    trust: Arc<Trust>,
    missing: MissingGrants,
    limit_reached: Option<LimitReached>,
    wakeup: Wakeup,
    /// The host's monotonic clock when the process started, in nanoseconds.
    started: u64,
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

    fn with_stdio(
        config: Config,
        [stdin, stdout, stderr]: [Handle; 3],
    ) -> Result<Wasi, SetupError> {
        let limit = config.max_descriptors;
        let directories = config.directories.len();
        let Network {
            listen,
            dial,
            rules,
            trust,
            ..
        } = config.network;
        let sockets = listen.len() + dial.len();
        let mut descriptors = Descriptors::new(limit as usize);
        let mut push = |d| {
            descriptors
                .push(d)
                .map_err(|_| SetupError::TooManyDirectories {
                    directories,
                    sockets,
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
        let covered = |(_, guest): &(u32, String)| Path::new(resolver::NAME).starts_with(guest);
        let has_directories = !preopens.is_empty();
        if config.resolver_files && !preopens.iter().any(covered) {
            let fd = push(Descriptor::ResolverFiles(ResolverFiles::of_host()))?;
            preopens.push((fd, resolver::NAME.to_owned()));
        }
        let listeners = listen
            .iter()
            .map(|at| ("listen at", at, preopen::listen(at)));
        let connections = dial.iter().map(|to| ("connect to", to, preopen::dial(to)));
        let mut sockets = Vec::new();
        for (doing, endpoint, made) in listeners.chain(connections) {
            let socket = made.map_err(|source| SetupError::Socket {
                doing,
                endpoint: endpoint.clone(),
                source,
            })?;
            let (listening, ends) = (socket.stage == Stage::Listening, socket.ends());
            let fd = push(Descriptor::Socket(socket))?;
            sockets.push(Preopened {
                fd,
                listening,
                ends,
            });
        }
        let policy = preopen::policy(rules, &listen)?;
        let too_large = |what| move |bytes| SetupError::TooLarge { what, bytes };
        let variables = config
            .environment
            .into_iter()
            .map(|(name, value)| [name, value].join(&b'='));
        Ok(Wasi {
            args: Strings::new(config.args).map_err(too_large("command line"))?,
            environment: Strings::new(variables).map_err(too_large("environment"))?,
            descriptors,
            preopens,
            has_directories,
            sockets,
            policy,
            trust,
            missing: MissingGrants::default(),
            limit_reached: None,
            wakeup: config.wakeup,
            started: clock::monotonic(),
        })
    }

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

    #[rustfmt::skip] // one function a line
    fn dispatch(&mut self, function: FunctionId, args: &[u64], m: &mut GuestMemory<'_>) -> Outcome {
        use self::function::*;
        match (function, args) {
            (CLOCK_TIME_GET, &[id, _precision, out]) => self.clock_time_get(m, low(id), out),
            (FD_READ, &[fd, iovs, count, out]) => self.fd_read(m, low(fd), iovs, count, out),
            (FD_WRITE, &[fd, iovs, count, out]) => self.fd_write(m, low(fd), iovs, count, out),
            (ARGS_GET, &[argv, buf]) => self.args.get(m, argv, buf),
            (ARGS_SIZES_GET, &[count, size]) => self.args.sizes_get(m, count, size),
            (ENVIRON_GET, &[environ, buf]) => self.environment.get(m, environ, buf),
            (ENVIRON_SIZES_GET, &[count, size]) => self.environment.sizes_get(m, count, size),
            (CLOCK_RES_GET, &[id, out]) => self.clock_res_get(m, low(id), out),
            (FD_ADVISE, &[fd, offset, len, advice]) => self.fd_advise(low(fd), offset, len, low(advice)),
            (FD_ALLOCATE, &[fd, _offset, _len]) => self.fd_allocate(low(fd)),
            (FD_CLOSE, &[fd]) => self.fd_close(low(fd)),
            (FD_DATASYNC, &[fd]) => self.fd_datasync(low(fd)),
            (FD_FDSTAT_GET, &[fd, out]) => self.fd_fdstat_get(m, low(fd), out),
            (FD_FDSTAT_SET_FLAGS, &[fd, flags]) => self.fd_fdstat_set_flags(low(fd), low(flags)),
            (FD_FDSTAT_SET_RIGHTS, &[fd, _base, _inheriting]) => self.fd_fdstat_set_rights(low(fd)),
            (FD_FILESTAT_GET, &[fd, out]) => self.fd_filestat_get(m, low(fd), out),
            (FD_FILESTAT_SET_SIZE, &[fd, size]) => self.fd_filestat_set_size(low(fd), size),
            (FD_FILESTAT_SET_TIMES, &[fd, atim, mtim, flags]) => self.fd_filestat_set_times(low(fd), atim, mtim, low(flags)),
            (FD_PREAD, &[fd, iovs, count, offset, out]) => self.fd_pread(m, low(fd), iovs, count, offset, out),
            (FD_PRESTAT_GET, &[fd, out]) => self.fd_prestat_get(m, low(fd), out),
            (FD_PRESTAT_DIR_NAME, &[fd, path, len]) => self.fd_prestat_dir_name(m, low(fd), path, len),
            (FD_PWRITE, &[fd, iovs, count, offset, out]) => self.fd_pwrite(m, low(fd), iovs, count, offset, out),
            (FD_READDIR, &[fd, buf, len, cookie, out]) => self.fd_readdir(m, low(fd), buf, len, cookie, out),
            (FD_RENUMBER, &[fd, to]) => self.fd_renumber(low(fd), low(to)),
            (FD_SEEK, &[fd, offset, whence, out]) => self.fd_seek(m, low(fd), offset.cast_signed(), low(whence), out),
            (FD_SYNC, &[fd]) => self.fd_sync(low(fd)),
            (FD_TELL, &[fd, out]) => self.fd_tell(m, low(fd), out),
            (PATH_CREATE_DIRECTORY, &[fd, path, len]) => self.path_create_directory(m, low(fd), path, len),
            (PATH_FILESTAT_GET, &[fd, flags, path, len, out]) => self.path_filestat_get(m, low(fd), low(flags), path, len, out),
            (PATH_FILESTAT_SET_TIMES, &[fd, flags, path, len, atim, mtim, fst]) => self.path_filestat_set_times(m, low(fd), low(flags), path, len, atim, mtim, low(fst)),
            (PATH_LINK, &[fd, flags, path, len, to, new, new_len]) => self.path_link(m, low(fd), low(flags), path, len, low(to), new, new_len),
            (PATH_OPEN, &[fd, lookup, path, len, oflags, base, _inheriting, fdflags, out]) => self.path_open(m, low(fd), low(lookup), path, len, low(oflags), base, low(fdflags), out),
            (PATH_READLINK, &[fd, path, len, buf, buf_len, out]) => self.path_readlink(m, low(fd), path, len, buf, buf_len, out),
            (PATH_REMOVE_DIRECTORY, &[fd, path, len]) => self.path_remove_directory(m, low(fd), path, len),
            (PATH_RENAME, &[fd, path, len, to, new, new_len]) => self.path_rename(m, low(fd), path, len, low(to), new, new_len),
            (PATH_SYMLINK, &[target, target_len, fd, path, len]) => self.path_symlink(m, target, target_len, low(fd), path, len),
            (PATH_UNLINK_FILE, &[fd, path, len]) => self.path_unlink_file(m, low(fd), path, len),
            (POLL_ONEOFF, &[subscriptions, events, count, out]) => self.poll_oneoff(m, subscriptions, events, count, out),
            (PROC_EXIT, &[status]) => Err(Stop::Exit(low(status).cast_signed())),
            (PROC_RAISE, &[_signal]) => Err(Errno::NOTSUP.into()),
            (RANDOM_GET, &[buf, len]) => self.random_get(m, buf, len),
            (SCHED_YIELD, &[]) => { std::thread::yield_now(); Ok(()) }
            (SOCK_ACCEPT, &[fd, flags, out]) => self.sock_accept(m, low(fd), low(flags), out),
            (SOCK_RECV, &[fd, iovs, count, flags, size, out_flags]) => self.sock_recv(m, low(fd), iovs, count, low(flags), size, out_flags),
            (SOCK_SEND, &[fd, iovs, count, flags, out]) => self.sock_send(m, low(fd), iovs, count, low(flags), out),
            (SOCK_SHUTDOWN, &[fd, how]) => self.sock_shutdown(low(fd), low(how)),
            (SOCK_OPEN, &[family, kind, out]) => self.sock_open(m, low(family), low(kind), out),
            (SOCK_BIND, &[fd, at, port]) => self.sock_bind(m, low(fd), at, port),
            (SOCK_CONNECT, &[fd, at, port]) => self.sock_connect(m, low(fd), at, port),
            (SOCK_LISTEN, &[fd, backlog]) => self.sock_listen(m, low(fd), low(backlog)),
            (SOCK_SEND_TO, &[fd, iovs, count, at, port, flags, out]) => self.sock_send_to(m, low(fd), iovs, count, at, port, low(flags), out),
            (SOCK_GETSOCKOPT, &[fd, level, name, value, len]) => self.sock_getsockopt(m, low(fd), low(level), low(name), value, len),
            (SOCK_SETSOCKOPT, &[fd, level, name, value, len]) => self.sock_setsockopt(m, low(fd), low(level), low(name), value, len),
            (SOCK_GETADDRINFO, &[node, node_len, service, service_len, hints, res, most, out]) => self.sock_getaddrinfo(m, node, node_len, service, service_len, hints, res, most, out),
            (SOCK_ACCEPT_V1, &[fd, out]) => self.sock_accept(m, low(fd), 0, out),
            (SOCK_RECV_FROM_V1, &[fd, iovs, count, at, flags, size, out_flags]) => self.sock_recv_from(m, low(fd), iovs, count, at, low(flags), None, size, out_flags),
            (SOCK_RECV_FROM_V2, &[fd, iovs, count, at, flags, port, size, out_flags]) => self.sock_recv_from(m, low(fd), iovs, count, at, low(flags), Some(port), size, out_flags),
            (SOCK_GETLOCALADDR_V1, &[fd, at, kind, port]) => self.sock_address_v1(m, low(fd), End::Local, at, kind, port),
            (SOCK_GETPEERADDR_V1, &[fd, at, kind, port]) => self.sock_address_v1(m, low(fd), End::Peer, at, kind, port),
            (SOCK_GETLOCALADDR_V2, &[fd, at, port]) => self.sock_address_v2(m, low(fd), End::Local, at, port),
            (SOCK_GETPEERADDR_V2, &[fd, at, port]) => self.sock_address_v2(m, low(fd), End::Peer, at, port),
            _ => Err(Stop::NoSuchFunction),
        }
    }
}

/// The value of a 32-bit argument.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the guest passed 32 bits")]
fn low(arg: u64) -> u32 {
    arg as u32
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
    use super::testing::{Guest, trapped};
    use super::*;
    use crate::wasi::function::*;

    #[test]
    fn processes_exit_yield_and_do_not_signal() {
        let mut guest = Guest::new();
        assert_eq!(guest.call(PROC_EXIT, &[3]), Flow::Exit(3));
        assert_eq!(
            guest.call(PROC_EXIT, &[u64::from(u32::MAX)]),
            Flow::Exit(-1)
        );
        guest.ok(SCHED_YIELD, &[]);
        guest.fails(Errno::NOTSUP, PROC_RAISE, &[9]);
    }

    #[test]
    fn what_is_not_a_function_traps() {
        let mut guest = Guest::new();
        trapped(guest.call(FunctionId(999), &[]));
        trapped(guest.call(FD_CLOSE, &[]));
    }

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

//! The sockets that a guest starts with: where `--listen` has it listen, and where `--dial` has it
//! connected. They are made before it runs.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use timecraft_segment::socket::{Address, Transport};

use super::socket::{Socket, Stage};
use crate::network::policy::Policy;
use crate::network::{Endpoint, Rules};
use crate::wasi::SetupError;
use crate::wasi::abi::fdflags;

/// A socket that listens.
pub fn listen(endpoint: &Endpoint) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Ip { host, port } => {
            let listener = TcpListener::bind((host.as_str(), *port))?;
            listener.set_nonblocking(true)?;
            preopened(listener.into(), Transport::Tcp, Stage::Listening)
        }
        Endpoint::Unix(path) => {
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            preopened(listener.into(), Transport::UnixStream, Stage::Listening)
        }
    }
}

/// A socket that is connected.
pub fn dial(endpoint: &Endpoint) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Ip { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))?;
            stream.set_nonblocking(true)?;
            preopened(stream.into(), Transport::Tcp, Stage::Connected)
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            preopened(stream.into(), Transport::UnixStream, Stage::Connected)
        }
    }
}

/// The addresses that an endpoint stands for, where names have several.
fn addresses(endpoint: &Endpoint) -> io::Result<Vec<Address>> {
    match endpoint {
        Endpoint::Ip { host, port } => {
            let found = (host.as_str(), *port).to_socket_addrs()?;
            Ok(found.map(Address::Ip).collect())
        }
        Endpoint::Unix(path) => {
            let path = std::path::absolute(path)?;
            Ok(vec![Address::Unix(path.into_os_string().into_vec())])
        }
    }
}

/// What is decided by, with the addresses that `--listen` names.
pub fn policy(mut rules: Rules, listen: &[Endpoint]) -> Result<Policy, SetupError> {
    for endpoint in listen {
        let found = addresses(endpoint).map_err(|source| SetupError::Socket {
            doing: "listen at",
            endpoint: endpoint.clone(),
            source,
        })?;
        rules.listen.extend(found);
    }
    // A host without such a file has no resolvers and no names of its own.
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    Ok(Policy::new(
        rules,
        &text("/etc/resolv.conf"),
        &text("/etc/hosts"),
    ))
}

/// As other hosts do it, the guest finds these non-blocking: Go polls only what is.
fn preopened(fd: OwnedFd, transport: Transport, stage: Stage) -> io::Result<Socket> {
    let family = match transport {
        Transport::UnixStream | Transport::UnixDatagram => AddressFamily::UNIX,
        Transport::Tcp | Transport::Udp => socket_domain(&fd)?,
    };
    let mut socket = Socket::from_host(fd, transport, family, stage);
    socket.flags = fdflags::NONBLOCK;
    Ok(socket)
}

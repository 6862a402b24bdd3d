//! The sockets that a guest starts with: where `--listen` has it listen, and where `--dial` has it
//! connected. They are made before it runs.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use timecraft_segment::socket::{Address, Transport};

use super::file::{self, SocketFile};
use super::socket::{Socket, Stage};
use crate::network::Endpoint;
use crate::wasi::abi::fdflags;

/// A socket that listens.
pub struct Listener {
    pub socket: Socket,
    /// What the endpoint stands for: names have several addresses, one of which it listens at.
    pub addresses: Vec<Address>,
    /// The file of a Unix socket.
    pub file: Option<SocketFile>,
}

/// A socket that listens.
pub fn listen(endpoint: &Endpoint) -> io::Result<Listener> {
    match endpoint {
        Endpoint::Ip { host, port } => {
            let found: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
            let listener = TcpListener::bind(&found[..])?;
            listener.set_nonblocking(true)?;
            Ok(Listener {
                socket: preopened(listener.into(), Transport::Tcp, Stage::Listening)?,
                addresses: found.into_iter().map(Address::Ip).collect(),
                file: None,
            })
        }
        Endpoint::Unix(path) => {
            let address = std::path::absolute(path)?.into_os_string().into_vec();
            let (listener, file) = file::listen(path)?;
            listener.set_nonblocking(true)?;
            Ok(Listener {
                socket: preopened(listener.into(), Transport::UnixStream, Stage::Listening)?,
                addresses: vec![Address::Unix(address)],
                file: Some(file),
            })
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

//! Sockets: `sock_accept` and `sock_shutdown` of WASI preview 1, and of WasmEdge's extension what makes,
//! connects and names sockets. What moves bytes is in [`transfer`], options in [`options`], names of hosts
//! in [`lookup`].
//!
//! Whatever reaches beyond the guest passes through [`Wasi::permit`] first.

pub(super) mod address;
pub(super) mod file;
mod lookup;
mod options;
pub(super) mod preopen;
pub(super) mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod watch;

use std::time::Instant;

use rustix::io::Errno as HostErrno;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrAny, SocketType, bind, connect, listen, shutdown,
};
use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{Address, Ends, Transport};
use timecraft_segment::wasmedge::{FAMILY_INET, FAMILY_INET6, FAMILY_UNIX};

use self::address::{Buffer, Layout};
use self::socket::{Socket, Stage};
use super::abi::{self, fdflags};
use super::channel::Patience;
use super::descriptors::Descriptor;
use super::errno::Errno;
use super::grants::{MissingGrant, Refusal};
use super::{Outcome, Stop, Wasi};
use crate::memory::GuestMemory;

/// `socktype` of datagrams.
const SOCK_DGRAM: u32 = 1;
/// `socktype` of streams.
const SOCK_STREAM: u32 = 2;

/// The most connections that the host keeps for a guest that has not accepted them yet.
const MAX_BACKLOG: i32 = 4096;

/// Which end of a socket a guest asks for.
#[derive(Clone, Copy)]
pub(super) enum End {
    Local,
    Peer,
}

impl Wasi {
    /// Refuses to reach what the guest may not.
    fn permit(&self, transport: Transport, address: &Address) -> Result<(), Box<Refusal>> {
        let permitted = self.policy.outbound(transport, address, Instant::now());
        permitted.map(drop).map_err(refusal)
    }

    pub(super) fn sock_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        family: u32,
        kind: u32,
        out: u64,
    ) -> Outcome {
        let family = match u16::try_from(family) {
            Ok(FAMILY_INET) => AddressFamily::INET,
            Ok(FAMILY_INET6) => AddressFamily::INET6,
            Ok(FAMILY_UNIX) => AddressFamily::UNIX,
            _ => return Err(Errno::INVAL.into()),
        };
        let kind = match kind {
            SOCK_DGRAM => SocketType::DGRAM,
            SOCK_STREAM => SocketType::STREAM,
            _ => return Err(Errno::INVAL.into()),
        };
        self.descriptors.room()?;
        let socket = Socket::open(family, kind)?;
        let fd = self.descriptors.push(Descriptor::Socket(socket))?;
        Ok(memory.write_u32(out, fd)?)
    }

    pub(super) fn sock_bind(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u64,
        port: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket(fd)?;
        let (address, host) = socket.named(memory, at, port)?;
        self.policy
            .bind_to(socket.transport, &address)
            .map_err(refusal)?;
        let bound = match bind(socket, &host) {
            Err(HostErrno::ADDRINUSE) => self.take_over(fd, &address),
            bound => bound,
        };
        let socket = self.descriptors.socket_mut(fd)?;
        if bound.is_ok() {
            socket.stage = Stage::Bound;
            socket.asked = Some(address);
        }
        memory.note(&socket.ends().to_string());
        Ok(bound?)
    }

    /// Has a socket be the one that the guest was started with, which listens where it would bind this
    /// one: `--listen` is for guests that can listen by themselves as for those that cannot.
    fn take_over(&mut self, fd: u32, address: &Address) -> Result<(), HostErrno> {
        let taken = HostErrno::ADDRINUSE;
        let socket = self.descriptors.socket(fd).map_err(|_| taken)?;
        let given = self.sockets.iter().filter(|given| given.listening);
        let given = given.filter_map(|given| self.descriptors.socket(given.fd).ok());
        let same = |given: &&Socket| given.listens_for(socket, address);
        let own = given.filter(same).find_map(|given| given.duplicate().ok());
        let own = own.ok_or(taken)?;
        let socket = self.descriptors.socket_mut(fd).map_err(|_| taken)?;
        socket.replace(own);
        Ok(())
    }

    pub(super) fn sock_connect(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u64,
        port: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket(fd)?;
        let (address, host) = socket.named(memory, at, port)?;
        self.permit(socket.transport, &address)?;
        let result = loop {
            match connect(socket, &host) {
                Err(HostErrno::INPROGRESS) if socket.patience() == Patience::Wait => {
                    break socket.connected(&self.wakeup);
                }
                // Of a Unix socket: as many as may wait to be accepted do, and nothing tells when not.
                Err(HostErrno::AGAIN) if socket.patience() == Patience::Wait => {
                    if let Err(stop) = self.pause() {
                        break Err(stop);
                    }
                }
                Err(HostErrno::INTR) if !self.wakeup.is_set() => {}
                result => break result.map_err(Stop::from),
            }
        };
        let socket = self.descriptors.socket_mut(fd)?;
        if matches!(result, Ok(()) | Err(Stop::Errno(Errno::INPROGRESS))) {
            socket.stage = Stage::Connected;
            socket.watch(&address, &self.policy);
        }
        let ends = Ends {
            peer: Some(address),
            ..socket.ends()
        };
        memory.note(&ends.to_string());
        result
    }

    pub(super) fn sock_listen(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        backlog: u32,
    ) -> Outcome {
        let socket = self.descriptors.socket(fd)?;
        self.policy
            .listen(socket.transport, &socket.asked())
            .map_err(refusal)?;
        let listening = listen(socket, backlog.cast_signed().clamp(0, MAX_BACKLOG));
        let socket = self.descriptors.socket_mut(fd)?;
        if listening.is_ok() {
            socket.stage = Stage::Listening;
        }
        memory.note(&socket.ends().to_string());
        Ok(listening?)
    }

    pub(super) fn sock_accept(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        out: u64,
    ) -> Outcome {
        let flags = abi::known(flags, fdflags::NONBLOCK)?;
        let socket = self.descriptors.socket(fd)?;
        self.descriptors.room()?;
        let mut accepted = socket.accept(&self.wakeup)?;
        if let Some(peer) = accepted.peer().ok().flatten() {
            let permitted = self
                .policy
                .accepted(accepted.transport, &peer, Instant::now());
            // As if it had ended before it was accepted: servers go on to the next.
            permitted.map_err(|denial| {
                Box::new(Refusal {
                    errno: Errno::CONNABORTED,
                    ..*refusal(denial)
                })
            })?;
        }
        accepted.flags = flags;
        memory.note(&accepted.ends().to_string());
        let fd = self.descriptors.push(Descriptor::Socket(accepted))?;
        Ok(memory.write_u32(out, fd)?)
    }

    pub(super) fn sock_shutdown(&mut self, fd: u32, how: u32) -> Outcome {
        let socket = self.descriptors.socket_mut(fd)?;
        let how = match how {
            1 => Shutdown::Read,
            2 => Shutdown::Write,
            3 => Shutdown::Both,
            _ => return Err(Errno::INVAL.into()),
        };
        // Linux would end its waits for connections; POSIX has it refused.
        if socket.stage == Stage::Listening {
            return Err(Errno::NOTCONN.into());
        }
        if how != Shutdown::Read {
            socket.end_tls(&self.wakeup)?;
        }
        Ok(shutdown(socket, how)?)
    }

    /// `sock_getlocaladdr` and `sock_getpeeraddr` of version 1.
    pub(super) fn sock_address_v1(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        end: End,
        at: u64,
        kind: u64,
        port: u64,
    ) -> Outcome {
        let (address, buffer) = self.end(memory, fd, end, at)?;
        let (a, p) = buffer.put(memory, Layout::Version1, &address)?;
        memory.write_u32(kind, a)?;
        Ok(memory.write_u32(port, p)?)
    }

    /// `sock_getlocaladdr` and `sock_getpeeraddr` of version 2.
    pub(super) fn sock_address_v2(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        end: End,
        at: u64,
        port: u64,
    ) -> Outcome {
        let (address, buffer) = self.end(memory, fd, end, at)?;
        let (_, p) = buffer.put(memory, Layout::Version2, &address)?;
        Ok(memory.write_u32(port, p)?)
    }

    fn end(
        &self,
        memory: &GuestMemory<'_>,
        fd: u32,
        end: End,
        at: u64,
    ) -> Result<(Address, Buffer), Stop> {
        let socket = self.descriptors.socket(fd)?;
        let address = match end {
            End::Local => socket.local()?,
            End::Peer => socket.peer()?,
        };
        let address = address.ok_or(Errno::NOTSUP)?;
        Ok((address, Buffer::at(memory, at)?))
    }
}

impl Socket {
    /// The address that a guest passes for this socket, as the host takes it too. Where it is none,
    /// the record says what the socket is all the same.
    fn named(
        &self,
        memory: &mut GuestMemory<'_>,
        at: u64,
        port: u64,
    ) -> Result<(Address, SocketAddrAny), Stop> {
        let address = Buffer::at(memory, at)?.address(memory, port);
        let named = address.and_then(|address| {
            let host = self.suits(&address)?;
            Ok((address, host))
        });
        if let Err(Stop::Errno(_)) = &named {
            memory.note(&self.ends().to_string());
        }
        named
    }
}

/// A refusal of the network's rules, as the guest's user learns of it.
fn refusal(denial: Denial) -> Box<Refusal> {
    let Denial {
        resource,
        rule,
        would_need,
    } = denial;
    Box::new(Refusal {
        errno: Errno::ACCES,
        rule,
        missing: MissingGrant {
            resource,
            flag: would_need,
        },
    })
}

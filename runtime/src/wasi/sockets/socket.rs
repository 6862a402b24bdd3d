//! One socket of a guest: the host's, always non-blocking, and whether the guest waits.
//!
//! All bytes of a socket flow through [`Socket::receive`] and [`Socket::send`]. Every wait watches the
//! [`Wakeup`] too; a peer that is gone is `EPIPE` and never a signal.

use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::{Errno as HostErrno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags,
    SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, getpeername, getsockname, recvmsg,
    sendmsg, sendmsg_addr, socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, pipe_with};
use timecraft_segment::socket::{Address, Ends, Transport};

use super::address;
use super::watch::Conversation;
use crate::network::tls::Session;
use crate::wakeup::{Waited, Wakeup};
use crate::wasi::Stop;
use crate::wasi::abi::{Filetype, fdflags};
use crate::wasi::channel::Patience;
use crate::wasi::errno::Errno;
use crate::wasi::poll::Interest;

/// How the host's socket is made.
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A socket.
pub(in crate::wasi) struct Socket {
    fd: OwnedFd,
    pub transport: Transport,
    family: AddressFamily,
    /// `fdflags`.
    pub flags: u16,
    pub stage: Stage,
    /// What the guest set that is kept here.
    pub kept: Kept,
    /// Where the guest bound it, in its own words: with port 0 where the host was to choose.
    pub asked: Option<Address>,
    /// The conversation, where it is one with a server of DNS that policy listens to.
    pub dns: Option<Box<Conversation>>,
    /// TLS that the host does between the guest and the connection.
    pub tls: Option<Box<RefCell<Session>>>,
    /// Its place among what the guest waits for.
    pub interest: Interest,
}

/// Options that the host's socket is not told of, since it never waits. A socket that is accepted has
/// those of the one that listens, as on Linux.
#[derive(Clone, Copy, Default)]
pub(in crate::wasi) struct Kept {
    /// How long a call waits to receive, where the guest said so.
    pub receive_timeout: Option<Duration>,
    /// How long a call waits to send or to connect, where the guest said so.
    pub send_timeout: Option<Duration>,
    /// How many bytes of a stream a call waits for, where that is more than one.
    pub receive_least: u32,
    /// How long its closing waits until what was sent has arrived; 0 is to reset the connection.
    pub linger: Option<Duration>,
    /// Whether datagrams go to hosts of the same network only.
    pub dont_route: bool,
}

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wasi) enum Stage {
    /// It has no address yet.
    Open,
    /// It has an address.
    Bound,
    /// It listens.
    Listening,
    /// It is connected, or on the way.
    Connected,
}

/// What came.
#[derive(Default)]
pub(in crate::wasi) struct Received {
    /// How many bytes.
    pub bytes: usize,
    /// Whether the rest of a datagram did not fit.
    pub truncated: bool,
    /// From whom, where the host says it.
    pub from: Option<SocketAddrAny>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Makes a socket of a family and a type.
    pub fn open(family: AddressFamily, kind: SocketType) -> Result<Socket, Stop> {
        let transport = match (family, kind) {
            (AddressFamily::UNIX, SocketType::DGRAM) => Transport::UnixDatagram,
            (AddressFamily::UNIX, _) => Transport::UnixStream,
            (_, SocketType::DGRAM) => Transport::Udp,
            _ => Transport::Tcp,
        };
        let fd = socket_with(family, kind, FLAGS, None)?;
        Ok(Socket::from_host(fd, transport, family, Stage::Open))
    }

    /// A socket of the host, which is non-blocking.
    pub fn from_host(
        fd: OwnedFd,
        transport: Transport,
        family: AddressFamily,
        stage: Stage,
    ) -> Socket {
        Socket {
            fd,
            transport,
            family,
            flags: 0,
            stage,
            kept: Kept::default(),
            asked: None,
            dns: None,
            tls: None,
            interest: Interest::default(),
        }
    }

    /// `filetype`.
    pub fn filetype(&self) -> Filetype {
        match self.transport.is_datagram() {
            true => Filetype::SocketDatagram,
            false => Filetype::SocketStream,
        }
    }

    /// Whether the guest waits in calls on this socket.
    pub fn patience(&self) -> Patience {
        match self.flags & fdflags::NONBLOCK {
            0 => Patience::Wait,
            _ => Patience::None,
        }
    }

    /// Where it is bound.
    pub fn local(&self) -> Result<Option<Address>, Errno> {
        Ok(address::of_host(getsockname(&self.fd)?))
    }

    /// What it is connected to. `ENOTCONN` where it is not.
    pub fn peer(&self) -> Result<Option<Address>, Errno> {
        Ok(getpeername(&self.fd)?.and_then(address::of_host))
    }

    /// Where the guest bound it, in its own words. A socket that was not gets any address.
    pub fn asked(&self) -> Address {
        self.asked.clone().unwrap_or(match self.family {
            AddressFamily::INET6 => Address::Ip((Ipv6Addr::UNSPECIFIED, 0).into()),
            AddressFamily::UNIX => Address::Unix(Vec::new()),
            _ => Address::Ip((Ipv4Addr::UNSPECIFIED, 0).into()),
        })
    }

    /// Whether it listens at the address, and another could stand for it.
    pub fn listens_for(&self, other: &Socket, address: &Address) -> bool {
        self.stage == Stage::Listening
            && (self.transport, self.family) == (other.transport, other.family)
            && self.local().ok().flatten().as_ref() == Some(address)
    }

    /// The host's socket, once more.
    pub fn duplicate(&self) -> Result<OwnedFd, HostErrno> {
        fcntl_dupfd_cloexec(&self.fd, 0)
    }

    /// Has it be another socket of the host.
    pub fn replace(&mut self, fd: OwnedFd) {
        self.fd = fd;
        self.interest = Interest::default();
    }

    /// What the host knows of its ends.
    pub fn ends(&self) -> Ends {
        Ends {
            transport: self.transport,
            local: self.local().ok().flatten(),
            peer: self.peer().ok().flatten(),
        }
    }

    /// The address as the host takes it, if the socket is of its family.
    pub fn suits(&self, address: &Address) -> Result<SocketAddrAny, Errno> {
        let host = address::to_host(address)?;
        match host.address_family() == self.family {
            true => Ok(host),
            false => Err(Errno::AFNOSUPPORT),
        }
    }

    /// Takes a connection that came.
    pub fn accept(&self, wakeup: &Wakeup) -> Result<Socket, Stop> {
        let deadline = deadline(self.kept.receive_timeout);
        loop {
            match acceptfrom_with(&self.fd, FLAGS) {
                Ok((fd, _)) => {
                    let stage = Stage::Connected;
                    return Ok(Socket {
                        kept: self.kept,
                        ..Socket::from_host(fd, self.transport, self.family, stage)
                    });
                }
                Err(error) => self.again(error, PollFlags::IN, deadline, wakeup)?,
            }
        }
    }

    /// Waits until a connection that is being made is there, or has failed.
    pub fn connected(&self, wakeup: &Wakeup) -> Result<(), Stop> {
        let deadline = deadline(self.kept.send_timeout);
        match self.wait(PollFlags::OUT, deadline, wakeup) {
            Err(Stop::Errno(Errno::AGAIN)) => Err(Errno::INPROGRESS.into()),
            Err(stop) => Err(stop),
            Ok(()) => Ok(sockopt::socket_error(&self.fd)??),
        }
    }

    /// Receives what has come: of a stream some bytes, and none at its end; or a datagram.
    pub fn receive(
        &mut self,
        slices: &mut [IoSliceMut<'_>],
        flags: RecvFlags,
        wakeup: &Wakeup,
    ) -> Result<Received, Stop> {
        if let Some(tls) = &self.tls {
            return self.receive_clear(tls, slices, flags, wakeup);
        }
        let deadline = deadline(self.kept.receive_timeout);
        let least = self.least(flags);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let mut received = Received::default();
        let mut rest = slices;
        loop {
            match recvmsg(&self.fd, rest, &mut RecvAncillaryBuffer::default(), flags) {
                Ok(message) => {
                    received.bytes += message.bytes;
                    received.truncated = message.flags.contains(ReturnFlags::TRUNC);
                    received.from = message.address;
                    IoSliceMut::advance_slices(&mut rest, message.bytes);
                    if received.bytes >= least || message.bytes == 0 || rest.is_empty() {
                        return Ok(received);
                    }
                }
                Err(error) => match self.again(error, PollFlags::IN, deadline, wakeup) {
                    Ok(()) => {}
                    // What came before counts; what ended the wait comes again.
                    Err(_) if received.bytes > 0 => return Ok(received),
                    Err(stop) => return Err(stop),
                },
            }
        }
    }

    /// How many bytes end a call that receives, if there is room for more.
    pub fn least(&self, flags: RecvFlags) -> usize {
        let waits = self.patience() == Patience::Wait && !self.transport.is_datagram();
        // What was only looked at comes again, so more of it cannot be collected.
        if !waits || flags.contains(RecvFlags::PEEK) {
            return 0;
        }
        match flags.contains(RecvFlags::WAITALL) {
            true => usize::MAX,
            false => self.kept.receive_least as usize,
        }
    }

    /// Sends: of a stream all bytes if the guest is patient, else as many as fit; or a datagram, to
    /// that address if one is given. Returns how many bytes were taken, whatever ended it.
    pub fn send(
        &mut self,
        slices: &mut [IoSlice<'_>],
        to: Option<&SocketAddrAny>,
        wakeup: &Wakeup,
    ) -> (usize, Result<(), Stop>) {
        if let Some(tls) = &self.tls {
            return self.send_clear(tls, slices, wakeup);
        }
        let deadline = deadline(self.kept.send_timeout);
        let datagram = self.transport.is_datagram();
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTROUTE, self.kept.dont_route);
        let mut rest = slices;
        let mut sent = 0;
        while datagram || !rest.is_empty() {
            let mut control = SendAncillaryBuffer::default();
            let result = match to {
                Some(to) => sendmsg_addr(&self.fd, to, rest, &mut control, flags),
                None => sendmsg(&self.fd, rest, &mut control, flags),
            };
            match result {
                Ok(n) => {
                    sent += n;
                    IoSlice::advance_slices(&mut rest, n);
                    if datagram || self.patience() == Patience::None {
                        break;
                    }
                }
                Err(error) => match self.again(error, PollFlags::OUT, deadline, wakeup) {
                    Ok(()) => {}
                    // What was sent before the error counts; the error comes again.
                    Err(Stop::Errno(_)) if sent > 0 => break,
                    Err(stop) => return (sent, Err(stop)),
                },
            }
        }
        (sent, Ok(()))
    }

    /// Closes it. What was sent and has not arrived is waited for if the guest asked for that and waits in
    /// calls on this socket; what has not arrived then is sent all the same.
    ///
    /// # Errors
    ///
    /// The wakeup ended the wait, or the host has no thread. The socket is closed whatever comes of this.
    pub fn close(self, wakeup: &Wakeup) -> Result<(), Stop> {
        // The descriptor is gone, so nobody can try again.
        let _ = self.end_tls(wakeup);
        let Some(time) = self.kept.linger.filter(|time| !time.is_zero()) else {
            return Ok(());
        };
        if self.patience() == Patience::None || self.transport != Transport::Tcp {
            return Ok(());
        }
        // The system waits while it closes, and nothing would end that. So it is done on a thread that
        // can be left behind, and closing the pipe says that it is over.
        let (over, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let fd = self.fd;
        thread::Builder::new()
            .name("lingering".to_owned())
            .spawn(move || {
                // Without it this closes as always.
                let _ = sockopt::set_socket_linger(&fd, Some(time));
                drop(fd);
                drop(theirs);
            })
            .map_err(|error| Errno::from(&error))?;
        match wakeup.wait(over.as_fd(), PollFlags::IN)? {
            Some(_) => Ok(()),
            None => Err(Stop::Interrupted),
        }
    }

    /// After an error: waits if it is one that passes and the guest is patient.
    pub fn again(
        &self,
        error: HostErrno,
        events: PollFlags,
        deadline: Option<Instant>,
        wakeup: &Wakeup,
    ) -> Result<(), Stop> {
        match error {
            HostErrno::INTR if wakeup.is_set() => Err(Stop::Interrupted),
            HostErrno::INTR => Ok(()),
            HostErrno::AGAIN if self.patience() == Patience::Wait => {
                self.wait(events, deadline, wakeup)
            }
            error => Err(error.into()),
        }
    }

    /// Waits until the socket may have one of these events; `EAGAIN` when the time is over.
    pub fn wait(
        &self,
        events: PollFlags,
        deadline: Option<Instant>,
        wakeup: &Wakeup,
    ) -> Result<(), Stop> {
        match wakeup.wait_until(self.fd.as_fd(), events, deadline)? {
            Waited::Ready(_) => Ok(()),
            Waited::Woken => Err(Stop::Interrupted),
            Waited::Late => Err(Errno::AGAIN.into()),
        }
    }
}

/// When a wait that begins now is over, where the guest said how long it may take.
pub fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

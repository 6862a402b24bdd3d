//! Bytes through sockets: `sock_recv`, `sock_send`, `sock_recv_from`, `sock_send_to`, and what `fd_read`
//! and `fd_write` do with a socket.

use rustix::net::{RecvFlags, SocketAddrAny};
use timecraft_segment::socket::Address;

use super::address::{self, Buffer, Layout, word};
use super::socket::{Received, Socket, Stage};
use crate::memory::{GuestMemory, MAX_IOVECS, Ranges};
use crate::network::Action;
use crate::wakeup::Wakeup;
use crate::wasi::errno::Errno;
use crate::wasi::file::vectors_size;
use crate::wasi::{Outcome, Stop, Wasi};

/// `riflags`: what is received stays to be received again.
const RECV_PEEK: u32 = 1 << 0;
/// `riflags`: wait until the vectors are full.
const RECV_WAITALL: u32 = 1 << 1;

/// `roflags`: the rest of a datagram is lost.
const RECV_DATA_TRUNCATED: u16 = 1 << 0;

/// What `riflags` ask for.
fn receive_flags(flags: u32) -> Result<RecvFlags, Errno> {
    if flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
        return Err(Errno::INVAL);
    }
    let mut wanted = RecvFlags::empty();
    wanted.set(RecvFlags::PEEK, flags & RECV_PEEK != 0);
    wanted.set(RecvFlags::WAITALL, flags & RECV_WAITALL != 0);
    Ok(wanted)
}

/// The vectors of a call on a socket. A datagram is received and sent as one, so none of its vectors
/// may be left out.
fn vectors(
    memory: &GuestMemory<'_>,
    socket: &Socket,
    iovs: u64,
    count: u64,
) -> Result<Ranges, Stop> {
    if socket.transport.is_datagram() && count > MAX_IOVECS {
        return Err(Errno::MSGSIZE.into());
    }
    Ok(memory.iovecs(iovs, count)?)
}

impl Socket {
    /// Receives into guest memory.
    pub(in crate::wasi) fn receive_into(
        &mut self,
        memory: &mut GuestMemory<'_>,
        iovs: u64,
        count: u64,
        flags: RecvFlags,
        wakeup: &Wakeup,
    ) -> Result<Received, Stop> {
        let ranges = vectors(memory, self, iovs, count)?;
        let mut received = Received::default();
        memory.fill(&ranges, |slices| {
            received = self.receive(slices, flags, wakeup)?;
            Ok::<_, Stop>(received.bytes)
        })??;
        Ok(received)
    }

    /// Sends from guest memory. Returns how many bytes were taken, whatever ended it.
    pub(in crate::wasi) fn send_from(
        &mut self,
        memory: &GuestMemory<'_>,
        iovs: u64,
        count: u64,
        to: Option<&SocketAddrAny>,
        wakeup: &Wakeup,
    ) -> (usize, Result<(), Stop>) {
        let ranges = match vectors(memory, self, iovs, count) {
            Ok(ranges) => ranges,
            Err(stop) => return (0, Err(stop)),
        };
        match memory.slices(&ranges) {
            Ok(mut slices) => self.send(&mut slices, to, wakeup),
            Err(fault) => (0, Err(fault.into())),
        }
    }
}

impl Wasi {
    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(in crate::wasi) fn sock_recv(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        flags: u32,
        size: u64,
        out_flags: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket_mut(fd)?;
        let flags = receive_flags(flags)?;
        let received = socket.receive_into(memory, iovs, count, flags, &self.wakeup)?;
        memory.write_u32(size, word(received.bytes))?;
        Ok(memory.write_u16(out_flags, truncation(&received))?)
    }

    pub(in crate::wasi) fn sock_send(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        flags: u32,
        out: u64,
    ) -> Outcome {
        let (sent, end) = match self.descriptors.socket_mut(fd) {
            Ok(_) if flags != 0 => (0, Err(Errno::INVAL.into())),
            Ok(socket) => socket.send_from(memory, iovs, count, None, &self.wakeup),
            Err(errno) => (0, Err(errno.into())),
        };
        memory.consumed(vectors_size(count) + sent);
        end?;
        Ok(memory.write_u32(out, word(sent))?)
    }

    /// `sock_recv_from` of both versions; the first has no `port`.
    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(in crate::wasi) fn sock_recv_from(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        at: u64,
        flags: u32,
        port: Option<u64>,
        size: u64,
        out_flags: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket_mut(fd)?;
        let flags = receive_flags(flags)?;
        let layout = match port {
            None => Layout::Version1,
            Some(_) => Layout::Version2,
        };
        let buffer = Buffer::at(memory, at)?;
        if buffer.is_wanted() {
            buffer.roomy(memory, layout)?;
        }
        let received = socket.receive_into(memory, iovs, count, flags, &self.wakeup)?;
        let truncated = truncation(&received);
        let from = match received.from {
            Some(from) => address::of_host(from),
            // Of a connection the host does not say it; a Unix socket without a name has none.
            None if socket.transport.is_datagram() => Some(Address::Unix(Vec::new())),
            None => socket.peer().ok().flatten(),
        };
        let mut from_port = 0;
        if let (true, Some(from)) = (buffer.is_wanted(), &from) {
            match buffer.put(memory, layout, from) {
                Ok((_, port)) => from_port = port,
                // What was received is gone from the socket: the guest gets it without its sender.
                Err(Stop::Errno(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        if let Some(port) = port {
            memory.write_u32(port, from_port)?;
        }
        memory.write_u32(size, word(received.bytes))?;
        Ok(memory.write_u32(out_flags, truncated.into())?)
    }

    #[allow(clippy::too_many_arguments, reason = "they are the function's")]
    pub(in crate::wasi) fn sock_send_to(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        at: u64,
        port: u64,
        flags: u32,
        out: u64,
    ) -> Outcome {
        let buffer = Buffer::at(memory, at)?;
        let to = self.destination(memory, fd, buffer, port, flags);
        let (sent, end) = match to {
            Ok(to) => {
                let socket = self.descriptors.socket_mut(fd)?;
                let (sent, end) = socket.send_from(memory, iovs, count, Some(&to), &self.wakeup);
                if end.is_ok() && socket.stage == Stage::Open {
                    socket.stage = Stage::Bound;
                    memory.note(&socket.ends().to_string());
                }
                (sent, end)
            }
            Err(stop) => (0, Err(stop)),
        };
        memory.consumed(vectors_size(count) + buffer.recorded() + sent);
        end?;
        Ok(memory.write_u32(out, word(sent))?)
    }

    /// Where a datagram may go.
    fn destination(
        &self,
        memory: &GuestMemory<'_>,
        fd: u32,
        buffer: Buffer,
        port: u64,
        flags: u32,
    ) -> Result<SocketAddrAny, Stop> {
        let socket = self.descriptors.socket(fd)?;
        if flags != 0 {
            return Err(Errno::INVAL.into());
        }
        let address = buffer.address(memory, port)?;
        if socket.stage == Stage::Connected {
            return Err(Errno::ISCONN.into());
        }
        if !socket.transport.is_datagram() {
            return Err(Errno::NOTCONN.into());
        }
        let host = socket.suits(&address)?;
        self.permit(Action::Send, socket.transport, &address)?;
        Ok(host)
    }
}

fn truncation(received: &Received) -> u16 {
    match received.truncated {
        true => RECV_DATA_TRUNCATED,
        false => 0,
    }
}

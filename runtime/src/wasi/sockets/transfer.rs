//! Bytes through sockets: `sock_recv`, `sock_send`, `sock_recv_from`, `sock_send_to`, and what `fd_read`
//! and `fd_write` do with a socket.

use rustix::net::{RecvFlags, SocketAddrAny};
use timecraft_segment::socket::Address;

use super::address::{self, Buffer, Layout, word};
use super::socket::{Received, Socket, Stage};
use crate::memory::{GuestMemory, MAX_IOVECS, Ranges};
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

/// The first so many bytes of what lies in the vectors.
fn gathered(memory: &GuestMemory<'_>, ranges: &Ranges, most: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    for slice in memory.slices(ranges)?.iter() {
        let rest = most.saturating_sub(bytes.len());
        bytes.extend_from_slice(slice.get(..rest).unwrap_or(slice));
    }
    Ok(bytes)
}

impl Wasi {
    /// Receives into guest memory, from a socket.
    pub(in crate::wasi) fn receive_into(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        flags: RecvFlags,
    ) -> Result<Received, Stop> {
        let socket = self.descriptors.socket_mut(fd)?;
        let ranges = vectors(memory, socket, iovs, count)?;
        let (refused, permitted) = socket.drop_refused(&self.policy, &self.wakeup);
        if let Some(denial) = refused {
            memory.note(&denial.to_string());
            self.missing.add(super::refusal(denial).missing);
        }
        permitted?;
        let mut received = Received::default();
        let result = memory.fill(&ranges, |slices| {
            received = socket.receive(slices, flags, &self.wakeup)?;
            Ok::<_, Stop>(received.bytes)
        })?;
        socket.note_tls(memory);
        result?;
        let from = received.from.clone().and_then(address::of_host);
        if !flags.contains(RecvFlags::PEEK)
            && let Some(server) = socket.answering(from.as_ref(), &self.policy)
        {
            let bytes = gathered(memory, &ranges, received.bytes)?;
            socket.is_answered(server, &bytes, &mut self.policy);
        }
        Ok(received)
    }

    /// Sends from guest memory, through a socket. Returns how many bytes were taken, whatever ended it.
    pub(in crate::wasi) fn send_from(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        to: Option<&(Address, SocketAddrAny)>,
    ) -> (usize, Result<(), Stop>) {
        match self.try_to_send(memory, fd, iovs, count, to) {
            Ok(sent) => sent,
            Err(stop) => (0, Err(stop)),
        }
    }

    fn try_to_send(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u64,
        count: u64,
        to: Option<&(Address, SocketAddrAny)>,
    ) -> Result<(usize, Result<(), Stop>), Stop> {
        let socket = self.descriptors.socket_mut(fd)?;
        let ranges = vectors(memory, socket, iovs, count)?;
        let (address, host) = to.map(|(address, host)| (address, host)).unzip();
        if socket.is_asking(address, &self.policy) {
            let bytes = gathered(memory, &ranges, usize::MAX)?;
            let permitted = socket.asks(address, &bytes, &mut self.policy);
            permitted.map_err(super::refusal)?;
        }
        let sent = socket.send(&mut memory.slices(&ranges)?, host, &self.wakeup);
        socket.note_tls(memory);
        Ok(sent)
    }

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
        self.descriptors.socket(fd)?;
        let flags = receive_flags(flags)?;
        let received = self.receive_into(memory, fd, iovs, count, flags)?;
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
            Ok(_) => self.send_from(memory, fd, iovs, count, None),
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
        self.descriptors.socket(fd)?;
        let flags = receive_flags(flags)?;
        let layout = match port {
            None => Layout::Version1,
            Some(_) => Layout::Version2,
        };
        let buffer = Buffer::at(memory, at)?;
        if buffer.is_wanted() {
            buffer.roomy(memory, layout)?;
        }
        let received = self.receive_into(memory, fd, iovs, count, flags)?;
        let socket = self.descriptors.socket(fd)?;
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
                let (sent, end) = self.send_from(memory, fd, iovs, count, Some(&to));
                let socket = self.descriptors.socket_mut(fd)?;
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
    ) -> Result<(Address, SocketAddrAny), Stop> {
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
        self.permit(socket.transport, &address)?;
        Ok((address, host))
    }
}

fn truncation(received: &Received) -> u16 {
    match received.truncated {
        true => RECV_DATA_TRUNCATED,
        false => 0,
    }
}

//! Options of sockets: `sock_getsockopt`, `sock_setsockopt`.
//!
//! Numbers are WasmEdge's (`WasmEdge/thirdparty/wasi/api.hpp`), and so are the structures: a duration is
//! seconds and microseconds, 64 bits each; `linger` is a switch and seconds, 32 bits each. How long a call
//! waits, and for how much, is kept here and never given to the host, whose sockets do not wait. So a poll
//! tells of the first byte, whatever `SO_RCVLOWAT` says.
//!
//! `SO_BINDTODEVICE` is refused: it goes around the host's routes, by which its user decides where a
//! guest's packets leave. No flag grants it.

use std::time::Duration;

use rustix::net::sockopt;
use timecraft_segment::socket::Transport;

use super::socket::Socket;
use super::tls;
use super::{SOCK_DGRAM, SOCK_STREAM, address::word};
use crate::memory::{GuestMemory, u32_at, u64_at};
use crate::wasi::errno::Errno;
use crate::wasi::{Outcome, Stop, Wasi};

/// The level of what all sockets have.
const SOL_SOCKET: u32 = 0;
/// The level of TCP.
const IPPROTO_TCP: u32 = 6;

const SO_REUSEADDR: u32 = 0;
const SO_TYPE: u32 = 1;
const SO_ERROR: u32 = 2;
const SO_DONTROUTE: u32 = 3;
const SO_BROADCAST: u32 = 4;
const SO_SNDBUF: u32 = 5;
const SO_RCVBUF: u32 = 6;
const SO_KEEPALIVE: u32 = 7;
const SO_OOBINLINE: u32 = 8;
const SO_LINGER: u32 = 9;
const SO_RCVLOWAT: u32 = 10;
const SO_RCVTIMEO: u32 = 11;
const SO_SNDTIMEO: u32 = 12;
const SO_ACCEPTCONN: u32 = 13;
const SO_BINDTODEVICE: u32 = 14;
/// Of [`IPPROTO_TCP`].
const TCP_NODELAY: u32 = 15;

/// The most bytes of a buffer that a guest may ask for; the host has limits of its own below.
const MAX_BUFFER: u32 = 64 << 20;

/// A value as it lies in memory.
enum Value {
    Number(u32),
    Linger(Option<Duration>),
    Timeout(Option<Duration>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Number(value.into())
    }
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Value::Number(number) => number.to_le_bytes().to_vec(),
            Value::Linger(time) => {
                let seconds = time.map_or(0, |t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX));
                [
                    u32::from(time.is_some()).to_le_bytes(),
                    seconds.to_le_bytes(),
                ]
                .concat()
            }
            Value::Timeout(time) => {
                let time = time.unwrap_or_default();
                let micros = u64::from(time.subsec_micros());
                [time.as_secs().to_le_bytes(), micros.to_le_bytes()].concat()
            }
        }
    }
}

/// A duration as a guest passes it; 0 is none.
fn timeout(value: &[u8]) -> Result<Option<Duration>, Errno> {
    if value.len() != 16 {
        return Err(Errno::INVAL);
    }
    let (seconds, micros) = (u64_at(value, 0), u64_at(value, 8));
    // Both are signed, and negative ones are no durations.
    if seconds > i64::MAX.cast_unsigned() || micros >= 1_000_000 {
        return Err(Errno::DOM);
    }
    let time = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Ok((!time.is_zero()).then_some(time))
}

/// For how long to linger, where that is switched on; the host counts to [`i32::MAX`].
fn linger(value: &[u8]) -> Result<Option<Duration>, Errno> {
    if value.len() != 8 {
        return Err(Errno::INVAL);
    }
    let (on, seconds) = (u32_at(value, 0) != 0, u32_at(value, 4));
    let seconds = seconds.min(i32::MAX.cast_unsigned());
    Ok(on.then(|| Duration::from_secs(seconds.into())))
}

impl Wasi {
    pub(in crate::wasi) fn sock_getsockopt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        level: u32,
        name: u32,
        out: u64,
        length: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket(fd)?;
        let value = if tls::is_option(level, name) {
            let done = socket.handshake(&self.wakeup);
            socket.note_tls(memory);
            done.map(|()| Value::Number(1))?
        } else {
            get(socket, level, name)?
        };
        let bytes = value.bytes();
        if bytes.len() as u64 > length {
            return Err(Errno::INVAL.into());
        }
        Ok(memory.write(out, &bytes)?)
    }

    pub(in crate::wasi) fn sock_setsockopt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        level: u32,
        name: u32,
        value: u64,
        length: u64,
    ) -> Outcome {
        let socket = self.descriptors.socket_mut(fd)?;
        let value = memory.slice(value, length)?;
        if tls::is_option(level, name) {
            let begun = socket.begin_tls(&self.trust, value, &self.wakeup);
            socket.note_tls(memory);
            return begun;
        }
        set(socket, level, name, value)
    }
}

fn get(socket: &Socket, level: u32, name: u32) -> Result<Value, Stop> {
    Ok(match (level, name) {
        (SOL_SOCKET, SO_REUSEADDR) => sockopt::socket_reuseaddr(socket)?.into(),
        (SOL_SOCKET, SO_TYPE) => Value::Number(match socket.transport.is_datagram() {
            true => SOCK_DGRAM,
            false => SOCK_STREAM,
        }),
        (SOL_SOCKET, SO_ERROR) => match sockopt::socket_error(socket)? {
            Ok(()) => Value::Number(0),
            Err(error) => Value::Number(u16::from(Errno::from(error)).into()),
        },
        (SOL_SOCKET, SO_BROADCAST) => sockopt::socket_broadcast(socket)?.into(),
        // Linux says twice what was asked for, which is its own business.
        (SOL_SOCKET, SO_SNDBUF) => {
            Value::Number(word(sockopt::socket_send_buffer_size(socket)? / 2))
        }
        (SOL_SOCKET, SO_RCVBUF) => {
            Value::Number(word(sockopt::socket_recv_buffer_size(socket)? / 2))
        }
        (SOL_SOCKET, SO_KEEPALIVE) => sockopt::socket_keepalive(socket)?.into(),
        (SOL_SOCKET, SO_OOBINLINE) => sockopt::socket_oobinline(socket)?.into(),
        (SOL_SOCKET, SO_DONTROUTE) => socket.kept.dont_route.into(),
        (SOL_SOCKET, SO_LINGER) => Value::Linger(socket.kept.linger),
        (SOL_SOCKET, SO_RCVLOWAT) => Value::Number(socket.kept.receive_least.max(1)),
        (SOL_SOCKET, SO_RCVTIMEO) => Value::Timeout(socket.kept.receive_timeout),
        (SOL_SOCKET, SO_SNDTIMEO) => Value::Timeout(socket.kept.send_timeout),
        (SOL_SOCKET, SO_ACCEPTCONN) => sockopt::socket_acceptconn(socket)?.into(),
        (IPPROTO_TCP, TCP_NODELAY) if socket.transport == Transport::Tcp => {
            sockopt::tcp_nodelay(socket)?.into()
        }
        (level, name) => return Err(unknown(level, name)),
    })
}

fn set(socket: &mut Socket, level: u32, name: u32, value: &[u8]) -> Outcome {
    let number = || match value.len() {
        4 => Ok(u32_at(value, 0)),
        _ => Err(Errno::INVAL),
    };
    let on = || number().map(|n| n != 0);
    let size = || number().map(|n| n.min(MAX_BUFFER) as usize);
    match (level, name) {
        (SOL_SOCKET, SO_REUSEADDR) => sockopt::set_socket_reuseaddr(socket, on()?)?,
        (SOL_SOCKET, SO_BROADCAST) => sockopt::set_socket_broadcast(socket, on()?)?,
        (SOL_SOCKET, SO_SNDBUF) => sockopt::set_socket_send_buffer_size(socket, size()?)?,
        (SOL_SOCKET, SO_RCVBUF) => sockopt::set_socket_recv_buffer_size(socket, size()?)?,
        (SOL_SOCKET, SO_KEEPALIVE) => sockopt::set_socket_keepalive(socket, on()?)?,
        (SOL_SOCKET, SO_OOBINLINE) => sockopt::set_socket_oobinline(socket, on()?)?,
        (SOL_SOCKET, SO_DONTROUTE) if socket.transport == Transport::Udp => {
            socket.kept.dont_route = on()?;
        }
        (SOL_SOCKET, SO_DONTROUTE) => {
            let why = "the host says how connections are routed";
            return Err(Stop::Because(Errno::NOTSUP, why.to_owned()));
        }
        (SOL_SOCKET, SO_LINGER) => {
            let linger = linger(value)?;
            // To reset holds nobody. A wait in the host's `close` is for where it can be ended alone.
            let reset = linger.filter(Duration::is_zero);
            sockopt::set_socket_linger(&*socket, reset)?;
            socket.kept.linger = linger;
        }
        (SOL_SOCKET, SO_RCVLOWAT) => socket.kept.receive_least = number()?.min(MAX_BUFFER),
        (SOL_SOCKET, SO_RCVTIMEO) => socket.kept.receive_timeout = timeout(value)?,
        (SOL_SOCKET, SO_SNDTIMEO) => socket.kept.send_timeout = timeout(value)?,
        (SOL_SOCKET, SO_TYPE | SO_ERROR | SO_ACCEPTCONN) => return Err(Errno::NOPROTOOPT.into()),
        (IPPROTO_TCP, TCP_NODELAY) if socket.transport == Transport::Tcp => {
            sockopt::set_tcp_nodelay(socket, on()?)?;
        }
        (level, name) => return Err(unknown(level, name)),
    }
    Ok(())
}

/// `ENOTSUP` for the one that exists and that the host does not give; `ENOPROTOOPT` for one that does not
/// exist; `EINVAL` for a level that does not.
fn unknown(level: u32, name: u32) -> Stop {
    match (level, name) {
        (SOL_SOCKET, SO_BINDTODEVICE) => {
            let why = "the host says by which device packets leave";
            Stop::Because(Errno::NOTSUP, why.to_owned())
        }
        (SOL_SOCKET | IPPROTO_TCP, _) => Errno::NOPROTOOPT.into(),
        _ => Errno::INVAL.into(),
    }
}

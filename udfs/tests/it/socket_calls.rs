//! Calls on sockets as the log would have them, of version 2 of WasmEdge's where versions differ.

use timecraft_segment::socket::{Address, Ends, Transport};
use timecraft_segment::wasmedge::{ADDRESS_BYTES, FAMILY_INET, FAMILY_INET6};

use crate::calls::*;

/// The family and the type of a socket.
pub type Type = (u64, u64);
pub const TCP: Type = (1, 2);
pub const UDP: Type = (1, 1);

/// Where the guest has addresses, and where their pointers and lengths.
const ADDRESS: u32 = 0x4000;
const POINTER: u64 = 0x5000;
const PORT_OUT: u64 = 0x5100;
const FLAGS_OUT: u64 = 0x5200;
const VALUE: u64 = 0x6000;

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub fn ends(transport: Transport, local: &str, peer: &str) -> Ends {
    let end = |text: &str| (text != "-").then(|| address(text));
    Ends {
        transport,
        local: end(local),
        peer: end(peer),
    }
}

pub fn tcp(local: &str, peer: &str) -> Ends {
    ends(Transport::Tcp, local, peer)
}

pub fn udp(local: &str, peer: &str) -> Ends {
    ends(Transport::Udp, local, peer)
}

/// The port of an address, and how it lies in memory.
fn in_memory(address: &Address) -> (u16, Vec<u8>) {
    let Address::Ip(ip) = address else {
        panic!("{address}");
    };
    let mut bytes = match ip.ip() {
        std::net::IpAddr::V4(ip) => [&FAMILY_INET.to_le_bytes()[..], &ip.octets()].concat(),
        std::net::IpAddr::V6(ip) => [&FAMILY_INET6.to_le_bytes()[..], &ip.octets()].concat(),
    };
    bytes.resize(ADDRESS_BYTES, 0);
    (ip.port(), bytes)
}

fn pointer() -> Vec<u8> {
    [ADDRESS, ADDRESS_BYTES as u32]
        .map(u32::to_le_bytes)
        .concat()
}

pub fn open_socket((family, kind): Type, fd: u32) -> Call {
    Call::new("sock_open", &[family, kind, OUT]).write(OUT, &fd.to_le_bytes())
}

fn to(name: &str, fd: u32, peer: &str) -> Call {
    let (port, bytes) = in_memory(&address(peer));
    Call::new(name, &[fd.into(), POINTER, port.into()]).input(&[&pointer(), &bytes])
}

pub fn connect(fd: u32, peer: &str) -> Call {
    to("sock_connect", fd, peer)
}

pub fn bind(fd: u32, local: &str) -> Call {
    to("sock_bind", fd, local)
}

pub fn listen(fd: u32) -> Call {
    Call::new("sock_listen", &[fd.into(), 128])
}

pub fn accept(fd: u32, new: u32) -> Call {
    Call::new("sock_accept", &[fd.into(), 0, OUT]).write(OUT, &new.to_le_bytes())
}

/// Sends, of which the host takes `taken`.
pub fn send(fd: u32, bytes: &[u8], taken: usize) -> Call {
    let vectors = vectors(&[bytes.len()]);
    Call::new("sock_send", &[fd.into(), 0x100, 1, 0, OUT])
        .input(&[&vectors, bytes])
        .takes(vectors.len() + taken)
        .write(OUT, &(taken as u32).to_le_bytes())
}

pub fn send_to(fd: u32, bytes: &[u8], peer: &str) -> Call {
    let (port, address) = in_memory(&address(peer));
    let args = [fd.into(), 0x100, 1, POINTER, port.into(), 0, OUT];
    Call::new("sock_send_to", &args)
        .input(&[&vectors(&[bytes.len()]), &pointer(), &address, bytes])
        .write(OUT, &(bytes.len() as u32).to_le_bytes())
}

fn receiving(call: Call, room: usize, bytes: &[u8], more: &[u8]) -> Call {
    let call = call.input(&[&vectors(&[room]), more]);
    match bytes {
        [] => call,
        bytes => call.write(BUFFER, bytes),
    }
}

/// Receives with these flags; `truncated` is what the host says of it.
pub fn receive_with(fd: u32, bytes: &[u8], flags: u64, truncated: u16) -> Call {
    let args = [fd.into(), 0x100, 1, flags, OUT, FLAGS_OUT];
    receiving(
        Call::new("sock_recv", &args),
        bytes.len().max(64),
        bytes,
        &[],
    )
    .write(OUT, &(bytes.len() as u32).to_le_bytes())
    .write(FLAGS_OUT, &truncated.to_le_bytes())
}

pub fn receive(fd: u32, bytes: &[u8]) -> Call {
    receive_with(fd, bytes, 0, 0)
}

/// Reads one vector from any descriptor, which has room for more than these bytes.
pub fn read_socket(fd: u32, bytes: &[u8]) -> Call {
    let args = [fd.into(), 0x100, 1, OUT];
    receiving(Call::new("fd_read", &args), 64, bytes, &[])
        .write(OUT, &(bytes.len() as u32).to_le_bytes())
}

pub fn receive_from(fd: u32, bytes: &[u8], peer: &str) -> Call {
    let (port, address) = in_memory(&address(peer));
    let args = [fd.into(), 0x100, 1, POINTER, 0, PORT_OUT, OUT, FLAGS_OUT];
    receiving(Call::new("sock_recv_from", &args), 64, bytes, &pointer())
        .write(ADDRESS.into(), &address)
        .write(PORT_OUT, &u32::from(port).to_le_bytes())
        .write(OUT, &(bytes.len() as u32).to_le_bytes())
        .write(FLAGS_OUT, &0_u32.to_le_bytes())
}

pub fn shut_down(fd: u32, how: u64) -> Call {
    Call::new("sock_shutdown", &[fd.into(), how])
}

/// The guest asks how connecting ended.
pub fn so_error(fd: u32, errno: u32) -> Call {
    Call::new("sock_getsockopt", &[fd.into(), 0, 2, VALUE, 4]).write(VALUE, &errno.to_le_bytes())
}

pub fn set_option(fd: u32, level: u64, name: u64, value: &[u8]) -> Call {
    let args = [fd.into(), level, name, VALUE, value.len() as u64];
    Call::new("sock_setsockopt", &args).input(&[value])
}

pub fn peer_address(fd: u32, peer: &str) -> Call {
    let (port, address) = in_memory(&address(peer));
    Call::new("sock_getpeeraddr", &[fd.into(), POINTER, PORT_OUT])
        .input(&[&pointer()])
        .write(ADDRESS.into(), &address)
        .write(PORT_OUT, &u32::from(port).to_le_bytes())
}

/// A name that the host resolves to these addresses.
pub fn resolve(name: &str, service: &str, addresses: &[&str]) -> Call {
    let lengths = [name, service].map(|text| text.len() as u64);
    let args = [
        0x7000, lengths[0], 0x7100, lengths[1], 0x7200, 0x7300, 8, OUT,
    ];
    let mut call = Call::new("sock_getaddrinfo", &args).input(&[
        name.as_bytes(),
        service.as_bytes(),
        &[0; 28],
    ]);
    for (at, text) in (0x8000..).step_by(0x100).zip(addresses) {
        let found = address(text);
        let (port, bytes) = in_memory(&found);
        let length = match found {
            Address::Ip(ip) if ip.is_ipv4() => 4,
            _ => 16,
        };
        let data = [&port.to_be_bytes()[..], &bytes[2..2 + length]].concat();
        call = call.write(at, &[0; 28]).write(at + 0x40, &data);
    }
    call.write(OUT, &(addresses.len() as u32).to_le_bytes())
}

//! Socket addresses: as they lie in guest memory, in both versions of WasmEdge's sockets, and as the
//! host has them. Nothing here uses a socket.

use std::net::SocketAddr;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketAddrV4, SocketAddrV6};
use timecraft_segment::socket::{self, Address};
use timecraft_segment::wasmedge::{ADDRESS_BYTES, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX};

use crate::memory::{Fault, GuestMemory};
use crate::wasi::errno::Errno;
use crate::wasi::{Stop, low};

/// The pointer and the length by which a guest passes a buffer for an address.
#[derive(Clone, Copy)]
pub struct Buffer {
    pointer: u64,
    length: u64,
}

/// How an address lies in a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 4 or 16 bytes; the family is told apart.
    Version1,
    /// [`ADDRESS_BYTES`] that begin with the family.
    Version2,
}

impl Buffer {
    /// The buffer that lies at that address.
    ///
    /// # Errors
    ///
    /// The pointer and the length lie outside of memory or are not aligned.
    pub fn at(memory: &GuestMemory<'_>, address: u64) -> Result<Buffer, Fault> {
        Ok(Buffer {
            pointer: memory.read_u32(address)?.into(),
            length: memory.read_u32(address.saturating_add(4))?.into(),
        })
    }

    /// How many bytes of a passed address are in the record, those of this structure included.
    pub fn recorded(self) -> usize {
        8 + (self.length as usize).min(ADDRESS_BYTES)
    }

    /// The address in it, and a port.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is none; a pointer out of bounds.
    pub fn address(self, memory: &GuestMemory<'_>, port: u64) -> Result<Address, Stop> {
        if !matches!(self.length, 4 | 16) && self.length != ADDRESS_BYTES as u64 {
            return Err(Errno::INVAL.into());
        }
        let bytes = memory.slice(self.pointer, self.length)?;
        let port = u16::try_from(port).map_err(|_| Errno::INVAL)?;
        match socket::address(bytes, port) {
            Some(Address::Unix(path)) if path.is_empty() => Err(Errno::INVAL.into()),
            Some(address) => Ok(address),
            None => Err(Errno::INVAL.into()),
        }
    }

    /// Whether the guest wants an address at all.
    pub fn is_wanted(self) -> bool {
        self.length > 0
    }

    /// Refuses a buffer in which not every address fits, before anything is done.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is too small; a pointer out of bounds.
    pub fn roomy(self, memory: &GuestMemory<'_>, layout: Layout) -> Result<(), Stop> {
        let least = match layout {
            Layout::Version1 => 16,
            Layout::Version2 => ADDRESS_BYTES as u64,
        };
        memory.slice(self.pointer, self.length)?;
        match self.length < least {
            true => Err(Errno::INVAL.into()),
            false => Ok(()),
        }
    }

    /// Writes an address; returns its type in version 1 (4 or 6), and the port.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it does not fit, `EAFNOSUPPORT` for a Unix socket in version 1.
    pub fn put(
        self,
        memory: &mut GuestMemory<'_>,
        layout: Layout,
        address: &Address,
    ) -> Result<(u32, u32), Stop> {
        let (kind, port, bytes) = match address {
            Address::Ip(SocketAddr::V4(a)) => (4, a.port(), a.ip().octets().to_vec()),
            Address::Ip(SocketAddr::V6(a)) => (6, a.port(), a.ip().octets().to_vec()),
            Address::Unix(path) => (0, 0, path.clone()),
        };
        let bytes = match (layout, kind) {
            (Layout::Version1, 0) => return Err(Errno::AFNOSUPPORT.into()),
            (Layout::Version1, _) => bytes,
            (Layout::Version2, kind) => {
                let family = match kind {
                    4 => FAMILY_INET,
                    6 => FAMILY_INET6,
                    _ => FAMILY_UNIX,
                };
                let mut wide = family.to_le_bytes().to_vec();
                wide.extend(bytes);
                wide.resize(ADDRESS_BYTES, 0);
                wide
            }
        };
        if bytes.len() as u64 > self.length {
            return Err(Errno::INVAL.into());
        }
        memory.write(self.pointer, &bytes)?;
        Ok((kind, port.into()))
    }
}

/// The address as the host takes it.
///
/// # Errors
///
/// `ENAMETOOLONG` for the path of a Unix socket.
pub fn to_host(address: &Address) -> Result<SocketAddrAny, Errno> {
    match address {
        Address::Ip(address) => Ok(address.as_any()),
        Address::Unix(path) => Ok(SocketAddrUnix::new(path.as_slice())?.as_any()),
    }
}

/// The address as the host gave it. The name of an abstract Unix socket begins with a zero, and that
/// of one without a name is empty.
pub fn of_host(address: SocketAddrAny) -> Option<Address> {
    Some(match address.address_family() {
        AddressFamily::INET => Address::Ip(SocketAddrV4::try_from(address).ok()?.into()),
        AddressFamily::INET6 => Address::Ip(SocketAddrV6::try_from(address).ok()?.into()),
        AddressFamily::UNIX => {
            let unix = SocketAddrUnix::try_from(address).ok()?;
            let hidden = unix.abstract_name().filter(|name| !name.is_empty());
            let hidden = hidden.map(|name| [&[0], name].concat());
            let path = unix.path_bytes().map(<[u8]>::to_vec).or(hidden);
            Address::Unix(path.unwrap_or_default())
        }
        _ => return None,
    })
}

/// A number as the guest's 32 bits.
pub fn word(value: usize) -> u32 {
    low(value as u64)
}

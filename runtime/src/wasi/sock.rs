//! Sockets: `sock_accept`, `sock_recv`, `sock_send`, `sock_shutdown`.
//!
//! No descriptor is a socket yet, so each of these says so of a descriptor that is open.

use super::errno::Errno;
use super::{Outcome, Wasi};
use crate::memory::GuestMemory;

impl Wasi {
    pub(super) fn sock_accept(&self, fd: u32) -> Outcome {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_recv(&self, fd: u32) -> Outcome {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_send(&self, memory: &mut GuestMemory<'_>, fd: u32, count: u64) -> Outcome {
        memory.consumed(super::file::vectors_size(count));
        self.not_a_socket(fd)
    }

    pub(super) fn sock_shutdown(&self, fd: u32) -> Outcome {
        self.not_a_socket(fd)
    }

    fn not_a_socket(&self, fd: u32) -> Outcome {
        self.descriptors.get(fd)?;
        Err(Errno::NOTSOCK.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::wasi::errno::Errno;
    use crate::wasi::function::*;
    use crate::wasi::testing::Guest;

    #[test]
    fn nothing_is_a_socket() {
        let mut guest = Guest::new();
        for (fd, errno) in [(0, Errno::NOTSOCK), (3, Errno::NOTSOCK), (99, Errno::BADF)] {
            guest.fails(errno, SOCK_ACCEPT, &[fd, 0, 0]);
            guest.fails(errno, SOCK_RECV, &[fd, 0, 0, 0, 0, 0]);
            guest.fails(errno, SOCK_SEND, &[fd, 0, 0, 0, 0]);
            guest.fails(errno, SOCK_SHUTDOWN, &[fd, 3]);
        }
    }
}

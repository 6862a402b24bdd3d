//! Reading, writing and moving about: `fd_read`, `fd_pread`, `fd_write`, `fd_pwrite`, `fd_seek`,
//! `fd_tell`, `fd_advise`, `fd_allocate`, `fd_sync`, `fd_datasync`, `fd_close`, `fd_renumber`.
//!
//! The position of a file is the host's. One call moves at most
//! [`MAX_TRANSFER`](crate::memory::MAX_TRANSFER) bytes.

use std::num::NonZeroU64;

use rustix::fs::{Advice, SeekFrom};
use rustix::net::RecvFlags;
use smallvec::SmallVec;
use timecraft_segment::describe;

use super::descriptors::{Descriptor, Direction};
use super::errno::Errno;
use super::{Outcome, Stop, Wasi, low};
use crate::memory::{GuestMemory, MAX_IOVECS};
use crate::wakeup::Wakeup;

/// The size in bytes of the vectors that precede a call's data in its input: of those that one
/// call looks at.
pub(super) fn vectors_size(count: u64) -> usize {
    count.min(MAX_IOVECS) as usize * describe::IOVEC
}

impl Wasi {
    #[inline]
    pub(super) fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        vectors: u64,
        count: u64,
        out: u64,
    ) -> Outcome {
        if let Descriptor::Socket(_) = self.descriptors.get(fd)? {
            let flags = RecvFlags::empty();
            let received = self.receive_into(memory, fd, vectors, count, flags)?;
            return Ok(memory.write_u32(out, low(received.bytes as u64))?);
        }
        let (channel, patience) = self.descriptors.channel(fd, Direction::In)?;
        let ranges = memory.iovecs(vectors, count)?;
        let n = memory.fill(&ranges, |slices| {
            channel.read(slices, patience, &self.wakeup)
        })??;
        Ok(memory.write_u32(out, low(n as u64))?)
    }

    #[inline]
    pub(super) fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        vectors: u64,
        count: u64,
        out: u64,
    ) -> Outcome {
        let (written, end) = match self.descriptors.get(fd) {
            Ok(Descriptor::Socket(_)) => self.send_from(memory, fd, vectors, count, None),
            _ => match self.descriptors.channel(fd, Direction::Out) {
                Ok((channel, patience)) => {
                    let ranges = memory.iovecs(vectors, count)?;
                    let mut slices = memory.slices(&ranges)?;
                    channel.write(&mut slices, patience, &self.wakeup)
                }
                Err(errno) => (0, Err(errno.into())),
            },
        };
        memory.consumed(vectors_size(count) + written);
        end?;
        Ok(memory.write_u32(out, low(written as u64))?)
    }

    pub(super) fn fd_pread(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        vectors: u64,
        count: u64,
        offset: u64,
        out: u64,
    ) -> Outcome {
        let file = self.descriptors.seekable(fd)?;
        let ranges = memory.iovecs(vectors, count)?;
        let n = memory.fill(&ranges, |slices| {
            rustix::io::preadv(file.channel.fd(), slices, offset)
        })??;
        Ok(memory.write_u32(out, low(n as u64))?)
    }

    pub(super) fn fd_pwrite(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        vectors: u64,
        count: u64,
        offset: u64,
        out: u64,
    ) -> Outcome {
        let result = match self.descriptors.seekable(fd) {
            Ok(file) => {
                let ranges = memory.iovecs(vectors, count)?;
                let slices: SmallVec<_> = memory.slices(&ranges)?;
                // A file in append mode takes it at its end, as on Linux.
                rustix::io::pwritev(file.channel.fd(), &slices, offset).map_err(Stop::from)
            }
            Err(errno) => Err(errno.into()),
        };
        memory.consumed(vectors_size(count) + result.as_ref().map_or(0, |n| *n));
        Ok(memory.write_u32(out, low(result? as u64))?)
    }

    pub(super) fn fd_seek(
        &self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: i64,
        whence: u32,
        out: u64,
    ) -> Outcome {
        let file = self.descriptors.seekable(fd)?;
        let target = match whence {
            0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
            1 => SeekFrom::Current(offset),
            2 => SeekFrom::End(offset),
            _ => return Err(Errno::INVAL.into()),
        };
        let position = rustix::fs::seek(file.channel.fd(), target)?;
        Ok(memory.write_u64(out, position)?)
    }

    pub(super) fn fd_tell(&self, memory: &mut GuestMemory<'_>, fd: u32, out: u64) -> Outcome {
        let file = self.descriptors.seekable(fd)?;
        let position = rustix::fs::tell(file.channel.fd())?;
        Ok(memory.write_u64(out, position)?)
    }

    pub(super) fn fd_advise(&self, fd: u32, offset: u64, length: u64, advice: u32) -> Outcome {
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::INVAL.into()),
        };
        let file = self.descriptors.file(fd)?;
        Ok(rustix::fs::fadvise(
            file.channel.fd(),
            offset,
            NonZeroU64::new(length),
            advice,
        )?)
    }

    /// Not supported, as in wasmtime: not every file system can do it.
    pub(super) fn fd_allocate(&self, fd: u32) -> Outcome {
        self.descriptors.file(fd)?;
        Err(Errno::NOTSUP.into())
    }

    pub(super) fn fd_sync(&self, fd: u32) -> Outcome {
        Ok(rustix::fs::fsync(self.descriptors.file(fd)?.channel.fd())?)
    }

    pub(super) fn fd_datasync(&self, fd: u32) -> Outcome {
        Ok(rustix::fs::fdatasync(
            self.descriptors.file(fd)?.channel.fd(),
        )?)
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Outcome {
        let closed = self.descriptors.remove(fd)?;
        closed.close(&self.wakeup)
    }

    pub(super) fn fd_renumber(&mut self, fd: u32, to: u32) -> Outcome {
        match self.descriptors.renumber(fd, to)? {
            Some(replaced) => replaced.close(&self.wakeup),
            None => Ok(()),
        }
    }
}

impl Descriptor {
    fn close(self, wakeup: &Wakeup) -> Outcome {
        match self {
            Descriptor::Socket(socket) => socket.close(wakeup),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wasi::Flow;
    use crate::wasi::abi::{fdflags, oflags};
    use crate::wasi::function::*;
    use crate::wasi::testing::{Guest, RW, trapped};

    const SEEK_SET: u64 = 0;
    const SEEK_CUR: u64 = 1;
    const SEEK_END: u64 = 2;

    #[test]
    fn what_is_written_can_be_read_in_any_pieces() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        assert_eq!(guest.write(fd, &[b"hello", b"", b", world"]), Ok(12));
        assert_eq!(guest.host_read("f"), b"hello, world");
        guest.ok(FD_TELL, &[fd, 0]);
        assert_eq!(guest.u64(0), 12);
        guest.ok(FD_SEEK, &[fd, 7, SEEK_SET, 0]);
        assert_eq!(guest.read(fd, &[2, 0, 100]), Ok(b"world".to_vec()));
        assert_eq!(guest.read(fd, &[10]), Ok(vec![]));
        assert_eq!(guest.read(fd, &[]), Ok(vec![]));
        guest.ok(FD_SEEK, &[fd, (-5i64).cast_unsigned(), SEEK_END, 0]);
        guest.ok(FD_SEEK, &[fd, 1, SEEK_CUR, 0]);
        assert_eq!(guest.u64(0), 8);
        guest.fails(
            Errno::INVAL,
            FD_SEEK,
            &[fd, (-1i64).cast_unsigned(), SEEK_SET, 0],
        );
        guest.fails(
            Errno::INVAL,
            FD_SEEK,
            &[fd, (-99i64).cast_unsigned(), SEEK_CUR, 0],
        );
        guest.fails(Errno::INVAL, FD_SEEK, &[fd, 0, 3, 0]);
    }

    #[test]
    fn positioned_calls_leave_the_position_alone() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        let (iovs, data) = (guest.vectors(&[3, 3]), guest.data());
        guest.memory[data..data + 6].copy_from_slice(b"abcdef");
        guest.ok(FD_PWRITE, &[fd, iovs, 2, 4, 0]);
        assert_eq!(guest.u32(0), 6);
        assert_eq!(guest.host_read("f"), b"\0\0\0\0abcdef");
        guest.ok(FD_PREAD, &[fd, iovs, 1, 5, 0]);
        assert_eq!((guest.u32(0), guest.bytes(data, 3)), (3, &b"bcd"[..]));
        guest.ok(FD_PREAD, &[fd, iovs, 1, 99, 0]);
        assert_eq!(guest.u32(0), 0);
        guest.ok(FD_TELL, &[fd, 0]);
        assert_eq!(guest.u64(0), 0);
        guest.fails(Errno::INVAL, FD_PREAD, &[fd, iovs, 1, u64::MAX, 0]);
        guest.fails(Errno::SPIPE, FD_PREAD, &[0, iovs, 1, 0, 0]);
        guest.fails(Errno::SPIPE, FD_PWRITE, &[1, iovs, 1, 0, 0]);
        guest.fails(Errno::BADF, FD_PREAD, &[3, iovs, 1, 0, 0]);
        guest.fails(Errno::BADF, FD_PWRITE, &[99, iovs, 1, 0, 0]);
    }

    #[test]
    fn append_mode_writes_at_the_end_and_can_be_left() {
        let mut guest = Guest::new();
        guest.host_write("f", b"0123");
        let fd = guest.open("f", 0, RW, fdflags::APPEND).unwrap();
        assert_eq!(guest.write(fd, &[b"45"]), Ok(2));
        guest.ok(FD_SEEK, &[fd, 0, SEEK_SET, 0]);
        assert_eq!(guest.write(fd, &[b"67"]), Ok(2));
        guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, 0]);
        guest.ok(FD_SEEK, &[fd, 0, SEEK_SET, 0]);
        assert_eq!(guest.write(fd, &[b"x"]), Ok(1));
        assert_eq!(guest.host_read("f"), b"x1234567");
    }

    #[test]
    fn a_file_does_only_what_it_was_opened_for() {
        let mut guest = Guest::new();
        guest.host_write("f", b"0123");
        let fd = guest
            .open("f", 0, crate::wasi::abi::rights::FD_READ, 0)
            .unwrap();
        assert_eq!(guest.write(fd, &[b"x"]), Err(Errno::BADF));
        let fd = guest
            .open("f", 0, crate::wasi::abi::rights::FD_WRITE, 0)
            .unwrap();
        assert_eq!(guest.read(fd, &[1]), Err(Errno::BADF));
    }

    #[test]
    fn vectors_are_checked_before_anything_moves() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        let end = guest.memory.len() as u64;
        for function in [FD_READ, FD_WRITE] {
            trapped(guest.call(function, &[fd, 2, 1, 0]));
            trapped(guest.call(function, &[fd, end - 4, 1, 0]));
            let iovs = guest.vectors(&[4, 1 << 30]);
            trapped(guest.call(function, &[fd, iovs, 2, 0]));
            let iovs = guest.vectors(&[4]);
            trapped(guest.call(function, &[fd, iovs, 1, 2]));
        }
    }

    #[test]
    fn a_thousand_vectors_are_read_and_the_rest_is_left() {
        let mut guest = Guest::with_memory(1 << 20);
        let content: Vec<u8> = (0..2000u32).map(|i| i as u8).collect();
        guest.host_write("f", &content);
        let fd = guest.open("f", 0, RW, 0).unwrap();
        assert_eq!(guest.read(fd, &[1; 1500]), Ok(content[..1024].to_vec()));
    }

    #[test]
    fn one_call_moves_at_most_16_mib() {
        let mut guest = Guest::with_memory(40 << 20);
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        let iovs = guest.vectors(&[10 << 20, 10 << 20]);
        guest.ok(FD_WRITE, &[fd, iovs, 2, 0]);
        assert_eq!(guest.u32(0), 16 << 20);
        guest.ok(FD_SEEK, &[fd, 0, SEEK_SET, 0]);
        guest.ok(FD_READ, &[fd, iovs, 2, 0]);
        assert_eq!(guest.u32(0), 16 << 20);
    }

    #[test]
    fn durability_advice_and_allocation() {
        let mut guest = Guest::new();
        let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
        guest.ok(FD_SYNC, &[fd]);
        guest.ok(FD_DATASYNC, &[fd]);
        for advice in 0..6 {
            guest.ok(FD_ADVISE, &[fd, 10, 50, advice]);
        }
        guest.fails(Errno::INVAL, FD_ADVISE, &[fd, 0, 0, 6]);
        guest.fails(Errno::NOTSUP, FD_ALLOCATE, &[fd, 0, 10]);
        for fd in [0, 3, 99] {
            guest.fails(Errno::BADF, FD_SYNC, &[fd]);
            guest.fails(Errno::BADF, FD_DATASYNC, &[fd]);
            guest.fails(Errno::BADF, FD_ADVISE, &[fd, 0, 0, 0]);
            guest.fails(Errno::BADF, FD_ALLOCATE, &[fd, 0, 10]);
        }
    }

    #[test]
    fn numbers_are_the_lowest_free_ones() {
        let mut guest = Guest::new();
        let open = |guest: &mut Guest| guest.open("f", oflags::CREAT, RW, 0);
        assert_eq!(open(&mut guest), Ok(5));
        assert_eq!(open(&mut guest), Ok(6));
        assert_eq!(open(&mut guest), Ok(7));
        guest.ok(FD_CLOSE, &[6]);
        guest.ok(FD_CLOSE, &[5]);
        guest.fails(Errno::BADF, FD_CLOSE, &[5]);
        assert_eq!(open(&mut guest), Ok(5));
        assert_eq!(open(&mut guest), Ok(6));
        guest.write(7, &[b"seven"]).unwrap();
        guest.ok(FD_RENUMBER, &[7, 5]);
        guest.fails(Errno::BADF, FD_TELL, &[7, 0]);
        guest.ok(FD_TELL, &[5, 0]);
        assert_eq!(guest.u64(0), 5);
        guest.ok(FD_RENUMBER, &[5, 5]);
        guest.fails(Errno::BADF, FD_RENUMBER, &[5, 70]);
        guest.fails(Errno::BADF, FD_RENUMBER, &[70, 5]);
        assert_eq!(open(&mut guest), Ok(7));
    }

    #[test]
    fn standard_streams_flow_one_way_and_have_no_position() {
        let mut guest = Guest::new();
        guest.stdin(b"input");
        assert_eq!(guest.read(0, &[3, 10]), Ok(b"input".to_vec()));
        assert_eq!(guest.write(1, &[b"out", b"put"]), Ok(6));
        assert_eq!(guest.write(2, &[b"err"]), Ok(3));
        assert_eq!(guest.stdout(), b"output");
        assert_eq!(guest.write(0, &[b"x"]), Err(Errno::BADF));
        assert_eq!(guest.read(1, &[1]), Err(Errno::BADF));
        for fd in 0..3 {
            guest.fails(Errno::SPIPE, FD_SEEK, &[fd, 0, SEEK_CUR, 0]);
            guest.fails(Errno::SPIPE, FD_TELL, &[fd, 0]);
        }
        guest.fails(Errno::BADF, FD_SEEK, &[3, 0, SEEK_CUR, 0]);
        guest.fails(Errno::BADF, FD_TELL, &[3, 0]);
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_an_empty_one_is_waited_for() {
        let mut guest = Guest::new();
        guest.close_stdout_reader();
        assert_eq!(guest.write(1, &[b"x"]), Err(Errno::PIPE));
        guest.ok(FD_FDSTAT_SET_FLAGS, &[0, fdflags::NONBLOCK.into()]);
        assert_eq!(guest.read(0, &[1]), Err(Errno::AGAIN));
        guest.ok(FD_FDSTAT_SET_FLAGS, &[0, 0]);
        let iovs = guest.vectors(&[1]);
        let wakeup = guest.wakeup.clone();
        let waker = std::thread::spawn(move || wakeup.wake());
        assert_eq!(guest.call(FD_READ, &[0, iovs, 1, 0]), Flow::Interrupted);
        waker.join().unwrap();
    }

    #[test]
    fn a_guest_may_close_its_standard_streams() {
        let mut guest = Guest::new();
        guest.ok(FD_CLOSE, &[1]);
        assert_eq!(guest.write(1, &[b"x"]), Err(Errno::BADF));
        assert_eq!(guest.open("f", oflags::CREAT, RW, 0), Ok(1));
        assert_eq!(guest.write(1, &[b"to the file"]), Ok(11));
    }
}

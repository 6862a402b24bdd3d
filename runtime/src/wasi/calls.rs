//! Which method does what which function says: one line a function.
//!
//! Whatever has a row in the host-function table and is not here traps.

use timecraft_segment::ids::FunctionId;

use super::errno::Errno;
use super::function::*;
use super::sockets::End;
use super::{Outcome, Stop, Wasi, low};
use crate::memory::GuestMemory;

impl Wasi {
    #[rustfmt::skip] // one function a line
    pub(super) fn dispatch(&mut self, function: FunctionId, args: &[u64], m: &mut GuestMemory<'_>) -> Outcome {
        match (function, args) {
            (CLOCK_TIME_GET, &[id, _precision, out]) => self.clock_time_get(m, low(id), out),
            (FD_READ, &[fd, iovs, count, out]) => self.fd_read(m, low(fd), iovs, count, out),
            (FD_WRITE, &[fd, iovs, count, out]) => self.fd_write(m, low(fd), iovs, count, out),
            (ARGS_GET, &[argv, buf]) => self.args.get(m, argv, buf),
            (ARGS_SIZES_GET, &[count, size]) => self.args.sizes_get(m, count, size),
            (ENVIRON_GET, &[environ, buf]) => self.environment.get(m, environ, buf),
            (ENVIRON_SIZES_GET, &[count, size]) => self.environment.sizes_get(m, count, size),
            (CLOCK_RES_GET, &[id, out]) => self.clock_res_get(m, low(id), out),
            (FD_ADVISE, &[fd, offset, len, advice]) => self.fd_advise(low(fd), offset, len, low(advice)),
            (FD_ALLOCATE, &[fd, _offset, _len]) => self.fd_allocate(low(fd)),
            (FD_CLOSE, &[fd]) => self.fd_close(low(fd)),
            (FD_DATASYNC, &[fd]) => self.fd_datasync(low(fd)),
            (FD_FDSTAT_GET, &[fd, out]) => self.fd_fdstat_get(m, low(fd), out),
            (FD_FDSTAT_SET_FLAGS, &[fd, flags]) => self.fd_fdstat_set_flags(low(fd), low(flags)),
            (FD_FDSTAT_SET_RIGHTS, &[fd, _base, _inheriting]) => self.fd_fdstat_set_rights(low(fd)),
            (FD_FILESTAT_GET, &[fd, out]) => self.fd_filestat_get(m, low(fd), out),
            (FD_FILESTAT_SET_SIZE, &[fd, size]) => self.fd_filestat_set_size(low(fd), size),
            (FD_FILESTAT_SET_TIMES, &[fd, atim, mtim, flags]) => self.fd_filestat_set_times(low(fd), atim, mtim, low(flags)),
            (FD_PREAD, &[fd, iovs, count, offset, out]) => self.fd_pread(m, low(fd), iovs, count, offset, out),
            (FD_PRESTAT_GET, &[fd, out]) => self.fd_prestat_get(m, low(fd), out),
            (FD_PRESTAT_DIR_NAME, &[fd, path, len]) => self.fd_prestat_dir_name(m, low(fd), path, len),
            (FD_PWRITE, &[fd, iovs, count, offset, out]) => self.fd_pwrite(m, low(fd), iovs, count, offset, out),
            (FD_READDIR, &[fd, buf, len, cookie, out]) => self.fd_readdir(m, low(fd), buf, len, cookie, out),
            (FD_RENUMBER, &[fd, to]) => self.fd_renumber(low(fd), low(to)),
            (FD_SEEK, &[fd, offset, whence, out]) => self.fd_seek(m, low(fd), offset.cast_signed(), low(whence), out),
            (FD_SYNC, &[fd]) => self.fd_sync(low(fd)),
            (FD_TELL, &[fd, out]) => self.fd_tell(m, low(fd), out),
            (PATH_CREATE_DIRECTORY, &[fd, path, len]) => self.path_create_directory(m, low(fd), path, len),
            (PATH_FILESTAT_GET, &[fd, flags, path, len, out]) => self.path_filestat_get(m, low(fd), low(flags), path, len, out),
            (PATH_FILESTAT_SET_TIMES, &[fd, flags, path, len, atim, mtim, fst]) => self.path_filestat_set_times(m, low(fd), low(flags), path, len, atim, mtim, low(fst)),
            (PATH_LINK, &[fd, flags, path, len, to, new, new_len]) => self.path_link(m, low(fd), low(flags), path, len, low(to), new, new_len),
            (PATH_OPEN, &[fd, lookup, path, len, oflags, base, _inheriting, fdflags, out]) => self.path_open(m, low(fd), low(lookup), path, len, low(oflags), base, low(fdflags), out),
            (PATH_READLINK, &[fd, path, len, buf, buf_len, out]) => self.path_readlink(m, low(fd), path, len, buf, buf_len, out),
            (PATH_REMOVE_DIRECTORY, &[fd, path, len]) => self.path_remove_directory(m, low(fd), path, len),
            (PATH_RENAME, &[fd, path, len, to, new, new_len]) => self.path_rename(m, low(fd), path, len, low(to), new, new_len),
            (PATH_SYMLINK, &[target, target_len, fd, path, len]) => self.path_symlink(m, target, target_len, low(fd), path, len),
            (PATH_UNLINK_FILE, &[fd, path, len]) => self.path_unlink_file(m, low(fd), path, len),
            (POLL_ONEOFF, &[subscriptions, events, count, out]) => self.poll_oneoff(m, subscriptions, events, count, out),
            (PROC_EXIT, &[status]) => Err(Stop::Exit(low(status).cast_signed())),
            (PROC_RAISE, &[_signal]) => Err(Errno::NOTSUP.into()),
            (RANDOM_GET, &[buf, len]) => self.random_get(m, buf, len),
            (SCHED_YIELD, &[]) => { std::thread::yield_now(); Ok(()) }
            (SOCK_ACCEPT, &[fd, flags, out]) => self.sock_accept(m, low(fd), low(flags), out),
            (SOCK_RECV, &[fd, iovs, count, flags, size, out_flags]) => self.sock_recv(m, low(fd), iovs, count, low(flags), size, out_flags),
            (SOCK_SEND, &[fd, iovs, count, flags, out]) => self.sock_send(m, low(fd), iovs, count, low(flags), out),
            (SOCK_SHUTDOWN, &[fd, how]) => self.sock_shutdown(low(fd), low(how)),
            (SOCK_OPEN, &[family, kind, out]) => self.sock_open(m, low(family), low(kind), out),
            (SOCK_BIND, &[fd, at, port]) => self.sock_bind(m, low(fd), at, port),
            (SOCK_CONNECT, &[fd, at, port]) => self.sock_connect(m, low(fd), at, port),
            (SOCK_LISTEN, &[fd, backlog]) => self.sock_listen(m, low(fd), low(backlog)),
            (SOCK_SEND_TO, &[fd, iovs, count, at, port, flags, out]) => self.sock_send_to(m, low(fd), iovs, count, at, port, low(flags), out),
            (SOCK_GETSOCKOPT, &[fd, level, name, value, len]) => self.sock_getsockopt(m, low(fd), low(level), low(name), value, len),
            (SOCK_SETSOCKOPT, &[fd, level, name, value, len]) => self.sock_setsockopt(m, low(fd), low(level), low(name), value, len),
            (SOCK_GETADDRINFO, &[node, node_len, service, service_len, hints, res, most, out]) => self.sock_getaddrinfo(m, node, node_len, service, service_len, hints, res, most, out),
            (SOCK_ACCEPT_V1, &[fd, out]) => self.sock_accept(m, low(fd), 0, out),
            (SOCK_RECV_FROM_V1, &[fd, iovs, count, at, flags, size, out_flags]) => self.sock_recv_from(m, low(fd), iovs, count, at, low(flags), None, size, out_flags),
            (SOCK_RECV_FROM_V2, &[fd, iovs, count, at, flags, port, size, out_flags]) => self.sock_recv_from(m, low(fd), iovs, count, at, low(flags), Some(port), size, out_flags),
            (SOCK_GETLOCALADDR_V1, &[fd, at, kind, port]) => self.sock_address_v1(m, low(fd), End::Local, at, kind, port),
            (SOCK_GETPEERADDR_V1, &[fd, at, kind, port]) => self.sock_address_v1(m, low(fd), End::Peer, at, kind, port),
            (SOCK_GETLOCALADDR_V2, &[fd, at, port]) => self.sock_address_v2(m, low(fd), End::Local, at, port),
            (SOCK_GETPEERADDR_V2, &[fd, at, port]) => self.sock_address_v2(m, low(fd), End::Peer, at, port),
            _ => Err(Stop::NoSuchFunction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::Flow;
    use crate::wasi::testing::{Guest, trapped};

    #[test]
    fn processes_exit_yield_and_do_not_signal() {
        let mut guest = Guest::new();
        assert_eq!(guest.call(PROC_EXIT, &[3]), Flow::Exit(3));
        assert_eq!(
            guest.call(PROC_EXIT, &[u64::from(u32::MAX)]),
            Flow::Exit(-1)
        );
        guest.ok(SCHED_YIELD, &[]);
        guest.fails(Errno::NOTSUP, PROC_RAISE, &[9]);
    }

    #[test]
    fn what_is_not_a_function_traps() {
        let mut guest = Guest::new();
        trapped(guest.call(FunctionId(999), &[]));
        trapped(guest.call(FD_CLOSE, &[]));
    }
}

//! The numbers of the functions in the host-function table, by name.
//!
//! They are written out so that dispatch is one `match`; a test holds them to the table.

use timecraft_segment::ids::FunctionId;

macro_rules! functions {
    ($($constant:ident = $number:literal),* $(,)?) => {
        $(pub const $constant: FunctionId = FunctionId($number);)*

        #[cfg(test)]
        const ALL: &[(&str, FunctionId)] = &[$((stringify!($constant), $constant)),*];
    };
}

functions! {
    ARGS_GET = 1,
    ARGS_SIZES_GET = 2,
    ENVIRON_GET = 3,
    ENVIRON_SIZES_GET = 4,
    CLOCK_RES_GET = 5,
    CLOCK_TIME_GET = 6,
    FD_ADVISE = 7,
    FD_ALLOCATE = 8,
    FD_CLOSE = 9,
    FD_DATASYNC = 10,
    FD_FDSTAT_GET = 11,
    FD_FDSTAT_SET_FLAGS = 12,
    FD_FDSTAT_SET_RIGHTS = 13,
    FD_FILESTAT_GET = 14,
    FD_FILESTAT_SET_SIZE = 15,
    FD_FILESTAT_SET_TIMES = 16,
    FD_PREAD = 17,
    FD_PRESTAT_GET = 18,
    FD_PRESTAT_DIR_NAME = 19,
    FD_PWRITE = 20,
    FD_READ = 21,
    FD_READDIR = 22,
    FD_RENUMBER = 23,
    FD_SEEK = 24,
    FD_SYNC = 25,
    FD_TELL = 26,
    FD_WRITE = 27,
    PATH_CREATE_DIRECTORY = 28,
    PATH_FILESTAT_GET = 29,
    PATH_FILESTAT_SET_TIMES = 30,
    PATH_LINK = 31,
    PATH_OPEN = 32,
    PATH_READLINK = 33,
    PATH_REMOVE_DIRECTORY = 34,
    PATH_RENAME = 35,
    PATH_SYMLINK = 36,
    PATH_UNLINK_FILE = 37,
    POLL_ONEOFF = 38,
    PROC_EXIT = 39,
    PROC_RAISE = 40,
    RANDOM_GET = 41,
    SCHED_YIELD = 42,
    SOCK_ACCEPT = 43,
    SOCK_RECV = 44,
    SOCK_SEND = 45,
    SOCK_SHUTDOWN = 46,
    SOCK_OPEN = 47,
    SOCK_BIND = 48,
    SOCK_CONNECT = 49,
    SOCK_LISTEN = 50,
    SOCK_SEND_TO = 51,
    SOCK_GETSOCKOPT = 52,
    SOCK_SETSOCKOPT = 53,
    SOCK_GETADDRINFO = 54,
    SOCK_ACCEPT_V1 = 55,
    SOCK_RECV_FROM_V1 = 56,
    SOCK_GETLOCALADDR_V1 = 57,
    SOCK_GETPEERADDR_V1 = 58,
    SOCK_RECV_FROM_V2 = 59,
    SOCK_GETLOCALADDR_V2 = 60,
    SOCK_GETPEERADDR_V2 = 61,
}

#[cfg(test)]
mod tests {
    use super::*;
    use timecraft_segment::function::{Abi, functions};

    #[test]
    fn numbers_are_those_of_the_table() {
        let rows: Vec<_> = functions()
            .map(|f| match f.abi {
                Abi::Preview1 | Abi::WasmEdge => (f.name.to_uppercase(), f.id),
                Abi::WasmEdgeV1 => (f.name.to_uppercase() + "_V1", f.id),
                Abi::WasmEdgeV2 => (f.name.to_uppercase() + "_V2", f.id),
            })
            .collect();
        let names: Vec<_> = ALL.iter().map(|(n, id)| (n.to_string(), *id)).collect();
        assert_eq!(names, rows);
    }
}

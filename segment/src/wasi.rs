//! WASI preview 1: the rows of the host-function table, and the names of its values.
//!
//! Source: `wasi_snapshot_preview1.witx` and `typenames.witx` of the WASI repository; names of
//! values are POSIX's where POSIX has them, as in the output of strace.

use crate::function::Kind::*;
use crate::function::WasmType::{I32, I64};
use crate::function::{Abi, Field, Function, Kind, Names, Param, Returns, Scalar, Structure};
use crate::ids::FunctionId;

/// The module that a guest imports WASI preview 1 from.
pub const MODULE: &str = "wasi_snapshot_preview1";

pub(crate) const fn int(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        ty: I32,
        kind,
    }
}

const fn long(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        ty: I64,
        kind,
    }
}

pub(crate) const fn flags(names: &'static [(u64, &'static str)]) -> Names {
    Names { names, flags: true }
}

pub(crate) const fn values(names: &'static [(u64, &'static str)]) -> Names {
    Names {
        names,
        flags: false,
    }
}

const fn row(
    id: u16,
    name: &'static str,
    params: &'static [Param],
    returns: Returns,
    outs: &'static [usize],
    bytes: Option<usize>,
) -> Function {
    Function {
        id: FunctionId(id),
        abi: Abi::Preview1,
        module: MODULE,
        name,
        params,
        returns,
        outs,
        bytes,
    }
}

pub(crate) static CLOCKID: Names = values(&[
    (0, "REALTIME"),
    (1, "MONOTONIC"),
    (2, "PROCESS_CPUTIME_ID"),
    (3, "THREAD_CPUTIME_ID"),
]);
static ADVICE: Names = values(&[
    (0, "NORMAL"),
    (1, "SEQUENTIAL"),
    (2, "RANDOM"),
    (3, "WILLNEED"),
    (4, "DONTNEED"),
    (5, "NOREUSE"),
]);
static FDFLAGS: Names = flags(&[
    (1 << 0, "APPEND"),
    (1 << 1, "DSYNC"),
    (1 << 2, "NONBLOCK"),
    (1 << 3, "RSYNC"),
    (1 << 4, "SYNC"),
]);
static FSTFLAGS: Names = flags(&[
    (1 << 0, "ATIM"),
    (1 << 1, "ATIM_NOW"),
    (1 << 2, "MTIM"),
    (1 << 3, "MTIM_NOW"),
]);
static WHENCE: Names = values(&[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END")]);
static LOOKUPFLAGS: Names = flags(&[(1 << 0, "SYMLINK_FOLLOW")]);
static OFLAGS: Names = flags(&[
    (1 << 0, "CREAT"),
    (1 << 1, "DIRECTORY"),
    (1 << 2, "EXCL"),
    (1 << 3, "TRUNC"),
]);
pub(crate) static RIFLAGS: Names = flags(&[(1 << 0, "RECV_PEEK"), (1 << 1, "RECV_WAITALL")]);
pub(crate) static ROFLAGS: Names = flags(&[(1 << 0, "RECV_DATA_TRUNCATED")]);
static SDFLAGS: Names = flags(&[(1 << 0, "RD"), (1 << 1, "WR")]);
static SIGNAL: Names = values(&[
    (0, "NONE"),
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (10, "USR1"),
    (11, "SEGV"),
    (12, "USR2"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "CHLD"),
    (17, "CONT"),
    (18, "STOP"),
    (19, "TSTP"),
    (20, "TTIN"),
    (21, "TTOU"),
    (22, "URG"),
    (23, "XCPU"),
    (24, "XFSZ"),
    (25, "VTALRM"),
    (26, "PROF"),
    (27, "WINCH"),
    (28, "POLL"),
    (29, "PWR"),
    (30, "SYS"),
]);
static RIGHTS: Names = flags(&[
    (1 << 0, "FD_DATASYNC"),
    (1 << 1, "FD_READ"),
    (1 << 2, "FD_SEEK"),
    (1 << 3, "FD_FDSTAT_SET_FLAGS"),
    (1 << 4, "FD_SYNC"),
    (1 << 5, "FD_TELL"),
    (1 << 6, "FD_WRITE"),
    (1 << 7, "FD_ADVISE"),
    (1 << 8, "FD_ALLOCATE"),
    (1 << 9, "PATH_CREATE_DIRECTORY"),
    (1 << 10, "PATH_CREATE_FILE"),
    (1 << 11, "PATH_LINK_SOURCE"),
    (1 << 12, "PATH_LINK_TARGET"),
    (1 << 13, "PATH_OPEN"),
    (1 << 14, "FD_READDIR"),
    (1 << 15, "PATH_READLINK"),
    (1 << 16, "PATH_RENAME_SOURCE"),
    (1 << 17, "PATH_RENAME_TARGET"),
    (1 << 18, "PATH_FILESTAT_GET"),
    (1 << 19, "PATH_FILESTAT_SET_SIZE"),
    (1 << 20, "PATH_FILESTAT_SET_TIMES"),
    (1 << 21, "FD_FILESTAT_GET"),
    (1 << 22, "FD_FILESTAT_SET_SIZE"),
    (1 << 23, "FD_FILESTAT_SET_TIMES"),
    (1 << 24, "PATH_SYMLINK"),
    (1 << 25, "PATH_REMOVE_DIRECTORY"),
    (1 << 26, "PATH_UNLINK_FILE"),
    (1 << 27, "POLL_FD_READWRITE"),
    (1 << 28, "SOCK_SHUTDOWN"),
    (1 << 29, "SOCK_ACCEPT"),
]);
static FILETYPE: Names = values(&[
    (0, "UNKNOWN"),
    (1, "BLOCK_DEVICE"),
    (2, "CHARACTER_DEVICE"),
    (3, "DIRECTORY"),
    (4, "REGULAR_FILE"),
    (5, "SOCKET_DGRAM"),
    (6, "SOCKET_STREAM"),
    (7, "SYMBOLIC_LINK"),
]);
static PREOPENTYPE: Names = values(&[(0, "DIR")]);

const fn field(name: &'static str, offset: usize, size: usize) -> Field {
    Field {
        name,
        offset,
        size,
        names: None,
    }
}

const fn named(name: &'static str, offset: usize, size: usize, names: &'static Names) -> Field {
    Field {
        name,
        offset,
        size,
        names: Some(names),
    }
}

static FDSTAT: Structure = Structure {
    size: 24,
    fields: &[
        named("filetype", 0, 1, &FILETYPE),
        named("flags", 2, 2, &FDFLAGS),
        field("rights_base", 8, 8),
        field("rights_inheriting", 16, 8),
    ],
};

static FILESTAT: Structure = Structure {
    size: 64,
    fields: &[
        field("dev", 0, 8),
        field("ino", 8, 8),
        named("filetype", 16, 1, &FILETYPE),
        field("nlink", 24, 8),
        field("size", 32, 8),
        field("atim", 40, 8),
        field("mtim", 48, 8),
        field("ctim", 56, 8),
    ],
};

static PRESTAT: Structure = Structure {
    size: 8,
    fields: &[named("tag", 0, 1, &PREOPENTYPE), field("name_len", 4, 4)],
};

/// The 46 functions of `wasi_snapshot_preview1`.
pub static FUNCTIONS: &[Function] = &[
    row(
        1,
        "args_get",
        &[int("argv", OutVariable), int("argv_buf", OutVariable)],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        2,
        "args_sizes_get",
        &[
            int("argc", Out(Scalar::Size)),
            int("argv_buf_size", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[0, 1],
        None,
    ),
    row(
        3,
        "environ_get",
        &[int("environ", OutVariable), int("environ_buf", OutVariable)],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        4,
        "environ_sizes_get",
        &[
            int("environc", Out(Scalar::Size)),
            int("environ_buf_size", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[0, 1],
        None,
    ),
    row(
        5,
        "clock_res_get",
        &[
            int("id", Named(&CLOCKID)),
            int("resolution", Out(Scalar::Timestamp)),
        ],
        Returns::Errno,
        &[1],
        None,
    ),
    row(
        6,
        "clock_time_get",
        &[
            int("id", Named(&CLOCKID)),
            long("precision", Timestamp),
            int("time", Out(Scalar::Timestamp)),
        ],
        Returns::Errno,
        &[2],
        None,
    ),
    row(
        7,
        "fd_advise",
        &[
            int("fd", Fd),
            long("offset", FileSize),
            long("len", FileSize),
            int("advice", Named(&ADVICE)),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        8,
        "fd_allocate",
        &[
            int("fd", Fd),
            long("offset", FileSize),
            long("len", FileSize),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(9, "fd_close", &[int("fd", Fd)], Returns::Errno, &[], None),
    row(
        10,
        "fd_datasync",
        &[int("fd", Fd)],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        11,
        "fd_fdstat_get",
        &[int("fd", Fd), int("stat", OutStruct(&FDSTAT))],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        12,
        "fd_fdstat_set_flags",
        &[int("fd", Fd), int("flags", Named(&FDFLAGS))],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        13,
        "fd_fdstat_set_rights",
        &[
            int("fd", Fd),
            long("fs_rights_base", Named(&RIGHTS)),
            long("fs_rights_inheriting", Named(&RIGHTS)),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        14,
        "fd_filestat_get",
        &[int("fd", Fd), int("buf", OutStruct(&FILESTAT))],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        15,
        "fd_filestat_set_size",
        &[int("fd", Fd), long("size", FileSize)],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        16,
        "fd_filestat_set_times",
        &[
            int("fd", Fd),
            long("atim", Timestamp),
            long("mtim", Timestamp),
            int("fst_flags", Named(&FSTFLAGS)),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        17,
        "fd_pread",
        &[
            int("fd", Fd),
            int("iovs", Iovecs { count: 2 }),
            int("iovs_len", Size),
            long("offset", FileSize),
            int("nread", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[4],
        Some(0),
    ),
    row(
        18,
        "fd_prestat_get",
        &[int("fd", Fd), int("buf", OutStruct(&PRESTAT))],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        19,
        "fd_prestat_dir_name",
        &[
            int("fd", Fd),
            int("path", OutBytes { count: 2 }),
            int("path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        20,
        "fd_pwrite",
        &[
            int("fd", Fd),
            int("iovs", ConstIovecs { count: 2 }),
            int("iovs_len", Size),
            long("offset", FileSize),
            int("nwritten", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[4],
        Some(0),
    ),
    row(
        21,
        "fd_read",
        &[
            int("fd", Fd),
            int("iovs", Iovecs { count: 2 }),
            int("iovs_len", Size),
            int("nread", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[3],
        Some(0),
    ),
    row(
        22,
        "fd_readdir",
        &[
            int("fd", Fd),
            int("buf", OutBytes { count: 2 }),
            int("buf_len", Size),
            long("cookie", Number),
            int("bufused", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[4],
        Some(0),
    ),
    row(
        23,
        "fd_renumber",
        &[int("fd", Fd), int("to", Fd)],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        24,
        "fd_seek",
        &[
            int("fd", Fd),
            long("offset", FileDelta),
            int("whence", Named(&WHENCE)),
            int("newoffset", Out(Scalar::FileSize)),
        ],
        Returns::Errno,
        &[3],
        None,
    ),
    row(25, "fd_sync", &[int("fd", Fd)], Returns::Errno, &[], None),
    row(
        26,
        "fd_tell",
        &[int("fd", Fd), int("offset", Out(Scalar::FileSize))],
        Returns::Errno,
        &[1],
        None,
    ),
    row(
        27,
        "fd_write",
        &[
            int("fd", Fd),
            int("iovs", ConstIovecs { count: 2 }),
            int("iovs_len", Size),
            int("nwritten", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[3],
        Some(0),
    ),
    row(
        28,
        "path_create_directory",
        &[
            int("fd", Fd),
            int("path", Path { count: 2 }),
            int("path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        29,
        "path_filestat_get",
        &[
            int("fd", Fd),
            int("flags", Named(&LOOKUPFLAGS)),
            int("path", Path { count: 3 }),
            int("path_len", Size),
            int("buf", OutStruct(&FILESTAT)),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        30,
        "path_filestat_set_times",
        &[
            int("fd", Fd),
            int("flags", Named(&LOOKUPFLAGS)),
            int("path", Path { count: 3 }),
            int("path_len", Size),
            long("atim", Timestamp),
            long("mtim", Timestamp),
            int("fst_flags", Named(&FSTFLAGS)),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        31,
        "path_link",
        &[
            int("old_fd", Fd),
            int("old_flags", Named(&LOOKUPFLAGS)),
            int("old_path", Path { count: 3 }),
            int("old_path_len", Size),
            int("new_fd", Fd),
            int("new_path", Path { count: 6 }),
            int("new_path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        32,
        "path_open",
        &[
            int("fd", Fd),
            int("dirflags", Named(&LOOKUPFLAGS)),
            int("path", Path { count: 3 }),
            int("path_len", Size),
            int("oflags", Named(&OFLAGS)),
            long("fs_rights_base", Named(&RIGHTS)),
            long("fs_rights_inheriting", Named(&RIGHTS)),
            int("fdflags", Named(&FDFLAGS)),
            int("opened_fd", Out(Scalar::Fd)),
        ],
        Returns::Errno,
        &[8],
        None,
    ),
    row(
        33,
        "path_readlink",
        &[
            int("fd", Fd),
            int("path", Path { count: 2 }),
            int("path_len", Size),
            int("buf", OutBytes { count: 4 }),
            int("buf_len", Size),
            int("bufused", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[5],
        None,
    ),
    row(
        34,
        "path_remove_directory",
        &[
            int("fd", Fd),
            int("path", Path { count: 2 }),
            int("path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        35,
        "path_rename",
        &[
            int("fd", Fd),
            int("old_path", Path { count: 2 }),
            int("old_path_len", Size),
            int("new_fd", Fd),
            int("new_path", Path { count: 5 }),
            int("new_path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        36,
        "path_symlink",
        &[
            int("old_path", Path { count: 1 }),
            int("old_path_len", Size),
            int("fd", Fd),
            int("new_path", Path { count: 4 }),
            int("new_path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        37,
        "path_unlink_file",
        &[
            int("fd", Fd),
            int("path", Path { count: 2 }),
            int("path_len", Size),
        ],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        38,
        "poll_oneoff",
        &[
            int("in", Subscriptions { count: 2 }),
            int("out", OutBytes { count: 2 }),
            int("nsubscriptions", Size),
            int("nevents", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[3],
        None,
    ),
    row(
        39,
        "proc_exit",
        &[int("rval", Number)],
        Returns::Nothing,
        &[],
        None,
    ),
    row(
        40,
        "proc_raise",
        &[int("sig", Named(&SIGNAL))],
        Returns::Errno,
        &[],
        None,
    ),
    row(
        41,
        "random_get",
        &[int("buf", OutBytes { count: 1 }), int("buf_len", Size)],
        Returns::Errno,
        &[],
        None,
    ),
    row(42, "sched_yield", &[], Returns::Errno, &[], None),
    row(
        43,
        "sock_accept",
        &[
            int("fd", Fd),
            int("flags", Named(&FDFLAGS)),
            int("opened_fd", Out(Scalar::Fd)),
        ],
        Returns::Errno,
        &[2],
        None,
    ),
    row(
        44,
        "sock_recv",
        &[
            int("fd", Fd),
            int("ri_data", Iovecs { count: 2 }),
            int("ri_data_len", Size),
            int("ri_flags", Named(&RIFLAGS)),
            int("ro_datalen", Out(Scalar::Size)),
            int("ro_flags", Out(Scalar::Flags16(&ROFLAGS))),
        ],
        Returns::Errno,
        &[4, 5],
        Some(0),
    ),
    row(
        45,
        "sock_send",
        &[
            int("fd", Fd),
            int("si_data", ConstIovecs { count: 2 }),
            int("si_data_len", Size),
            int("si_flags", Number),
            int("so_datalen", Out(Scalar::Size)),
        ],
        Returns::Errno,
        &[4],
        Some(0),
    ),
    row(
        46,
        "sock_shutdown",
        &[int("fd", Fd), int("how", Named(&SDFLAGS))],
        Returns::Errno,
        &[],
        None,
    ),
];

/// The names of `errno`, by value; `SUCCESS` is 0.
pub static ERRNO_NAMES: &[&str] = &[
    "SUCCESS",
    "E2BIG",
    "EACCES",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "EAFNOSUPPORT",
    "EAGAIN",
    "EALREADY",
    "EBADF",
    "EBADMSG",
    "EBUSY",
    "ECANCELED",
    "ECHILD",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EDEADLK",
    "EDESTADDRREQ",
    "EDOM",
    "EDQUOT",
    "EEXIST",
    "EFAULT",
    "EFBIG",
    "EHOSTUNREACH",
    "EIDRM",
    "EILSEQ",
    "EINPROGRESS",
    "EINTR",
    "EINVAL",
    "EIO",
    "EISCONN",
    "EISDIR",
    "ELOOP",
    "EMFILE",
    "EMLINK",
    "EMSGSIZE",
    "EMULTIHOP",
    "ENAMETOOLONG",
    "ENETDOWN",
    "ENETRESET",
    "ENETUNREACH",
    "ENFILE",
    "ENOBUFS",
    "ENODEV",
    "ENOENT",
    "ENOEXEC",
    "ENOLCK",
    "ENOLINK",
    "ENOMEM",
    "ENOMSG",
    "ENOPROTOOPT",
    "ENOSPC",
    "ENOSYS",
    "ENOTCONN",
    "ENOTDIR",
    "ENOTEMPTY",
    "ENOTRECOVERABLE",
    "ENOTSOCK",
    "ENOTSUP",
    "ENOTTY",
    "ENXIO",
    "EOVERFLOW",
    "EOWNERDEAD",
    "EPERM",
    "EPIPE",
    "EPROTO",
    "EPROTONOSUPPORT",
    "EPROTOTYPE",
    "ERANGE",
    "EROFS",
    "ESPIPE",
    "ESRCH",
    "ESTALE",
    "ETIMEDOUT",
    "ETXTBSY",
    "EXDEV",
    "ENOTCAPABLE",
];

/// The name of an `errno`, or none for a number that the specification does not have.
#[must_use]
pub fn errno_name(errno: u64) -> Option<&'static str> {
    ERRNO_NAMES.get(usize::try_from(errno).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_without_gaps_and_describe_themselves() {
        assert_eq!(FUNCTIONS.len(), 46);
        for (i, f) in crate::function::functions().enumerate() {
            assert_eq!(crate::function::by_id(f.id).map(|f| f.id), Some(f.id));
            assert_eq!(usize::from(f.id.0), i + 1, "{}", f.name);
            let outs: Vec<usize> = (0..f.params.len())
                .filter(|&p| matches!(f.params[p].kind, Out(_)))
                .collect();
            assert_eq!(outs, f.outs, "{}", f.name);
            for p in f.params {
                if let Some(count) = p.kind.count() {
                    assert_eq!(f.params[count].kind, Size, "{}: {}", f.name, p.name);
                }
            }
            assert!(f.params.len() <= crate::function::MAX_PARAMS, "{}", f.name);
            assert!(f.bytes.is_none_or(|b| b < f.outs.len()), "{}", f.name);
        }
    }

    #[test]
    fn errno_names_stand_at_the_numbers_of_the_specification() {
        for (number, name) in [
            (0, "SUCCESS"),
            (8, "EBADF"),
            (28, "EINVAL"),
            (44, "ENOENT"),
            (63, "EPERM"),
            (76, "ENOTCAPABLE"),
        ] {
            assert_eq!(errno_name(number), Some(name));
        }
        assert_eq!(errno_name(77), None);
    }
}

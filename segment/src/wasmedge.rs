//! WasmEdge's sockets, both versions: rows of the host-function table beside [`crate::wasi`]'s, the
//! names of their values, and how their addresses lie in memory.
//!
//! Guests import them from the module of WASI preview 1. Source: `WasmEdge/thirdparty/wasi/api.hpp` for
//! the values, and the declarations of the Go module `github.com/stealthrocket/net` (`wasip1`) for the
//! signatures, in which an option's length is a value where WasmEdge has a pointer.
//!
//! An address is passed as a pointer to `{pointer: u32, length: u32}`, its port apart. Of version 1 it is
//! 4 or 16 bytes. Of version 2 it is 128 bytes that begin with the family, 16 bits; then come 4 or 16
//! bytes, or the path of a Unix socket that a zero ends. Ports and numbers are little-endian; in what
//! `sock_getaddrinfo` writes (`sa_data`) the port is big-endian.

use crate::function::Kind::*;
use crate::function::{Abi, Field, Function, Names, Param, Returns, Scalar, Structure};
use crate::ids::FunctionId;
use crate::wasi::{self, MODULE, RIFLAGS, ROFLAGS, int, values};

/// The family of an address of version 2: IPv4.
pub const FAMILY_INET: u16 = 1;
/// The family of an address of version 2: IPv6.
pub const FAMILY_INET6: u16 = 2;
/// The family of an address of version 2: a Unix socket.
pub const FAMILY_UNIX: u16 = 3;
/// The size of an address of version 2 in bytes, and the most that is recorded of any.
pub const ADDRESS_BYTES: usize = 128;

/// The level of the options that timecraft itself understands: `time` in ASCII.
pub const LEVEL_TIMECRAFT: u64 = 0x7469_6d65;
/// The option of [`LEVEL_TIMECRAFT`] that hands TLS to the host; its value is the server's name.
pub const OPTION_TLS_SERVER_NAME: u64 = 1;

static FAMILY: Names = values(&[
    (0, "AF_UNSPEC"),
    (FAMILY_INET as u64, "AF_INET"),
    (FAMILY_INET6 as u64, "AF_INET6"),
    (FAMILY_UNIX as u64, "AF_UNIX"),
]);
static SOCKET_TYPE: Names = values(&[(0, "SOCK_ANY"), (1, "SOCK_DGRAM"), (2, "SOCK_STREAM")]);
static LEVEL: Names = values(&[
    (0, "SOL_SOCKET"),
    (6, "IPPROTO_TCP"),
    (LEVEL_TIMECRAFT, "SOL_TIMECRAFT"),
]);
static ADDRESS_TYPE: Names = values(&[(4, "IPV4"), (6, "IPV6")]);
static AI_FLAGS: Names = wasi::flags(&[
    (1 << 0, "AI_PASSIVE"),
    (1 << 1, "AI_CANONNAME"),
    (1 << 2, "AI_NUMERICHOST"),
    (1 << 3, "AI_NUMERICSERV"),
    (1 << 4, "AI_V4MAPPED"),
    (1 << 5, "AI_ALL"),
    (1 << 6, "AI_ADDRCONFIG"),
]);
static PROTOCOL: Names = values(&[(0, "IPPROTO_IP"), (1, "IPPROTO_TCP"), (2, "IPPROTO_UDP")]);

/// What `sock_getaddrinfo` takes as hints and fills as results.
pub static ADDRINFO: Structure = Structure {
    size: 28,
    fields: &[
        field("ai_flags", 0, 2, Some(&AI_FLAGS)),
        field("ai_family", 2, 1, Some(&FAMILY)),
        field("ai_socktype", 3, 1, Some(&SOCKET_TYPE)),
        field("ai_protocol", 4, 4, Some(&PROTOCOL)),
    ],
};

const fn field(
    name: &'static str,
    offset: usize,
    size: usize,
    names: Option<&'static Names>,
) -> Field {
    Field {
        name,
        offset,
        size,
        names,
    }
}

const fn row(
    id: u16,
    abi: Abi,
    name: &'static str,
    params: &'static [Param],
    outs: &'static [usize],
    bytes: Option<usize>,
) -> Function {
    Function {
        id: FunctionId(id),
        abi,
        module: MODULE,
        name,
        params,
        returns: Returns::Errno,
        outs,
        bytes,
    }
}

/// What is done with an address.
static TO_ADDRESS: [Param; 3] = [int("fd", Fd), int("addr", Address), int("port", Number)];
/// One end of a socket, in version 1.
static END_V1: [Param; 4] = [
    int("fd", Fd),
    int("addr", OutAddress),
    int("addr_type", Out(Scalar::Named32(&ADDRESS_TYPE))),
    int("port", Out(Scalar::Port)),
];
/// One end of a socket, in version 2.
static END_V2: [Param; 3] = [
    int("fd", Fd),
    int("addr", OutAddress),
    int("port", Out(Scalar::Port)),
];

/// The rows, numbered after [`crate::wasi::FUNCTIONS`].
pub static FUNCTIONS: &[Function] = &[
    row(
        47,
        Abi::WasmEdge,
        "sock_open",
        &[
            int("af", Named(&FAMILY)),
            int("socktype", Named(&SOCKET_TYPE)),
            int("fd", Out(Scalar::Fd)),
        ],
        &[2],
        None,
    ),
    row(48, Abi::WasmEdge, "sock_bind", &TO_ADDRESS, &[], None),
    row(49, Abi::WasmEdge, "sock_connect", &TO_ADDRESS, &[], None),
    row(
        50,
        Abi::WasmEdge,
        "sock_listen",
        &[int("fd", Fd), int("backlog", Number)],
        &[],
        None,
    ),
    row(
        51,
        Abi::WasmEdge,
        "sock_send_to",
        &[
            int("fd", Fd),
            int("iovs", ConstIovecs { count: 2 }),
            int("iovs_len", Size),
            int("addr", Address),
            int("port", Number),
            int("flags", Number),
            int("nwritten", Out(Scalar::Size)),
        ],
        &[6],
        Some(0),
    ),
    row(
        52,
        Abi::WasmEdge,
        "sock_getsockopt",
        &[
            int("fd", Fd),
            int("level", Named(&LEVEL)),
            int("name", Number),
            int("value", OutBytes { count: 4 }),
            int("value_len", Size),
        ],
        &[],
        None,
    ),
    row(
        53,
        Abi::WasmEdge,
        "sock_setsockopt",
        &[
            int("fd", Fd),
            int("level", Named(&LEVEL)),
            int("name", Number),
            int("value", InBytes { count: 4 }),
            int("value_len", Size),
        ],
        &[],
        None,
    ),
    row(
        54,
        Abi::WasmEdge,
        "sock_getaddrinfo",
        &[
            int("node", Text { count: 1 }),
            int("node_len", Size),
            int("service", Text { count: 3 }),
            int("service_len", Size),
            int("hints", InStruct(&ADDRINFO)),
            int("res", OutVariable),
            int("max_res_len", Number),
            int("res_len", Out(Scalar::Size)),
        ],
        &[7],
        None,
    ),
    row(
        55,
        Abi::WasmEdgeV1,
        "sock_accept",
        &[int("fd", Fd), int("opened_fd", Out(Scalar::Fd))],
        &[1],
        None,
    ),
    row(
        56,
        Abi::WasmEdgeV1,
        "sock_recv_from",
        &[
            int("fd", Fd),
            int("iovs", Iovecs { count: 2 }),
            int("iovs_len", Size),
            int("addr", OutAddress),
            int("flags", Named(&RIFLAGS)),
            int("nread", Out(Scalar::Size)),
            int("oflags", Out(Scalar::Named32(&ROFLAGS))),
        ],
        &[5, 6],
        Some(0),
    ),
    row(
        57,
        Abi::WasmEdgeV1,
        "sock_getlocaladdr",
        &END_V1,
        &[2, 3],
        None,
    ),
    row(
        58,
        Abi::WasmEdgeV1,
        "sock_getpeeraddr",
        &END_V1,
        &[2, 3],
        None,
    ),
    row(
        59,
        Abi::WasmEdgeV2,
        "sock_recv_from",
        &[
            int("fd", Fd),
            int("iovs", Iovecs { count: 2 }),
            int("iovs_len", Size),
            int("addr", OutAddress),
            int("flags", Named(&RIFLAGS)),
            int("port", Out(Scalar::Port)),
            int("nread", Out(Scalar::Size)),
            int("oflags", Out(Scalar::Named32(&ROFLAGS))),
        ],
        &[5, 6, 7],
        Some(1),
    ),
    row(
        60,
        Abi::WasmEdgeV2,
        "sock_getlocaladdr",
        &END_V2,
        &[2],
        None,
    ),
    row(61, Abi::WasmEdgeV2, "sock_getpeeraddr", &END_V2, &[2], None),
];

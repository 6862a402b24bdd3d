//! The error numbers of WASI preview 1, and what the host's errors are among them.
//!
//! Source: `errno` in `typenames.witx`; the names and numbers are also in
//! [`timecraft_segment::wasi::ERRNO_NAMES`], and a test holds the two together.

use std::io;

/// An error number other than `SUCCESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(u16);

impl From<Errno> for u16 {
    fn from(errno: Errno) -> u16 {
        errno.0
    }
}

#[cfg(test)]
impl Errno {
    pub(super) fn from_number(number: u16) -> Errno {
        Errno(number)
    }
}

/// Constants, the mapping from the host's errors, and the list for the test, from one table.
macro_rules! errnos {
    ($($name:ident = $number:literal $(: $host:ident)?),* $(,)?) => {
        #[allow(missing_docs, reason = "the names are POSIX's")]
        impl Errno {
            $(pub const $name: Errno = Errno($number);)*
        }

        impl From<rustix::io::Errno> for Errno {
            fn from(error: rustix::io::Errno) -> Errno {
                match error {
                    $($(rustix::io::Errno::$host => Errno::$name,)?)*
                    _ => Errno::IO,
                }
            }
        }

        #[cfg(test)]
        const ALL: &[(&str, Errno)] = &[$((stringify!($name), Errno::$name)),*];
    };
}

errnos! {
    TOOBIG = 1: TOOBIG,
    ACCES = 2: ACCESS,
    ADDRINUSE = 3: ADDRINUSE,
    ADDRNOTAVAIL = 4: ADDRNOTAVAIL,
    AFNOSUPPORT = 5: AFNOSUPPORT,
    AGAIN = 6: AGAIN,
    ALREADY = 7: ALREADY,
    BADF = 8: BADF,
    BADMSG = 9: BADMSG,
    BUSY = 10: BUSY,
    CANCELED = 11: CANCELED,
    CHILD = 12: CHILD,
    CONNABORTED = 13: CONNABORTED,
    CONNREFUSED = 14: CONNREFUSED,
    CONNRESET = 15: CONNRESET,
    DEADLK = 16: DEADLK,
    DESTADDRREQ = 17: DESTADDRREQ,
    DOM = 18: DOM,
    DQUOT = 19: DQUOT,
    EXIST = 20: EXIST,
    FAULT = 21: FAULT,
    FBIG = 22: FBIG,
    HOSTUNREACH = 23: HOSTUNREACH,
    IDRM = 24: IDRM,
    ILSEQ = 25: ILSEQ,
    INPROGRESS = 26: INPROGRESS,
    INTR = 27: INTR,
    INVAL = 28: INVAL,
    IO = 29: IO,
    ISCONN = 30: ISCONN,
    ISDIR = 31: ISDIR,
    LOOP = 32: LOOP,
    MFILE = 33: MFILE,
    MLINK = 34: MLINK,
    MSGSIZE = 35: MSGSIZE,
    MULTIHOP = 36: MULTIHOP,
    NAMETOOLONG = 37: NAMETOOLONG,
    NETDOWN = 38: NETDOWN,
    NETRESET = 39: NETRESET,
    NETUNREACH = 40: NETUNREACH,
    NFILE = 41: NFILE,
    NOBUFS = 42: NOBUFS,
    NODEV = 43: NODEV,
    NOENT = 44: NOENT,
    NOEXEC = 45: NOEXEC,
    NOLCK = 46: NOLCK,
    NOLINK = 47: NOLINK,
    NOMEM = 48: NOMEM,
    NOMSG = 49: NOMSG,
    NOPROTOOPT = 50: NOPROTOOPT,
    NOSPC = 51: NOSPC,
    NOSYS = 52: NOSYS,
    NOTCONN = 53: NOTCONN,
    NOTDIR = 54: NOTDIR,
    NOTEMPTY = 55: NOTEMPTY,
    NOTRECOVERABLE = 56: NOTRECOVERABLE,
    NOTSOCK = 57: NOTSOCK,
    NOTSUP = 58: OPNOTSUPP,
    NOTTY = 59: NOTTY,
    NXIO = 60: NXIO,
    OVERFLOW = 61: OVERFLOW,
    OWNERDEAD = 62: OWNERDEAD,
    PERM = 63: PERM,
    PIPE = 64: PIPE,
    PROTO = 65: PROTO,
    PROTONOSUPPORT = 66: PROTONOSUPPORT,
    PROTOTYPE = 67: PROTOTYPE,
    RANGE = 68: RANGE,
    ROFS = 69: ROFS,
    SPIPE = 70: SPIPE,
    SRCH = 71: SRCH,
    STALE = 72: STALE,
    TIMEDOUT = 73: TIMEDOUT,
    TXTBSY = 74: TXTBSY,
    XDEV = 75: XDEV,
    NOTCAPABLE = 76,
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Errno {
        match rustix::io::Errno::from_io_error(error) {
            Some(errno) => errno.into(),
            None => match error.kind() {
                io::ErrorKind::NotFound => Errno::NOENT,
                // How cap-std says that a path leads out of its directory.
                io::ErrorKind::PermissionDenied => Errno::PERM,
                io::ErrorKind::AlreadyExists => Errno::EXIST,
                io::ErrorKind::InvalidInput => Errno::INVAL,
                _ => Errno::IO,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timecraft_segment::wasi::{ERRNO_NAMES, errno_name};

    #[test]
    fn numbers_are_those_of_the_host_function_table() {
        assert_eq!(ALL.len() + 1, ERRNO_NAMES.len());
        for (name, errno) in ALL {
            let name = if *name == "TOOBIG" {
                "E2BIG".to_owned()
            } else {
                format!("E{name}")
            };
            assert_eq!(errno_name(errno.0.into()), Some(name.as_str()));
        }
    }

    #[test]
    fn unknown_errors_are_input_output_errors() {
        assert_eq!(Errno::from(rustix::io::Errno::UCLEAN), Errno::IO);
        assert_eq!(Errno::from(&io::Error::other("?")), Errno::IO);
        assert_eq!(Errno::from(&io::Error::from_raw_os_error(2)), Errno::NOENT);
    }
}

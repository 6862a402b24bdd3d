//! The host-function table: every function that a guest can import, and what each parameter means.
//!
//! The linker's signatures, the recorder's copies of inputs, the strace text and the decoded
//! columns of `host_calls` all come from here; a new ABI is new rows in [`crate::wasi`] or a file
//! beside it, not new code paths. This module must never know what a function does.

use crate::ids::FunctionId;

/// The type of a parameter on the wasm side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasmType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
}

/// Named values of an argument: an enumeration, or flags that combine.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// The values and their names, in the order of the specification.
    pub names: &'static [(u64, &'static str)],
    /// Whether values combine bitwise.
    pub flags: bool,
}

/// A structure that the host writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Structure {
    /// Its size in bytes.
    pub size: usize,
    /// Its fields that mean something.
    pub fields: &'static [Field],
}

/// A field of a [`Structure`]: a little-endian number.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the specification.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// Its size in bytes, at most 8.
    pub size: usize,
    /// The names of its values, where they have some.
    pub names: Option<&'static Names>,
}

/// Which interface a function is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// WASI preview 1.
    Preview1,
    /// WasmEdge's sockets, what both versions have alike.
    WasmEdge,
    /// WasmEdge's sockets, version 1 alone.
    WasmEdgeV1,
    /// WasmEdge's sockets, version 2 alone.
    WasmEdgeV2,
}

/// What an argument means. Where a kind is a pointer, `count` is the index of the parameter that
/// holds its length, in bytes or elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A number of bytes or elements.
    Size,
    /// A position in a file, in bytes.
    FileSize,
    /// A signed distance in a file, in bytes.
    FileDelta,
    /// A time or a duration in nanoseconds.
    Timestamp,
    /// An opaque number: a cookie, a precision, an exit code.
    Number,
    /// An enumeration or flags.
    Named(&'static Names),
    /// A pointer to text that names a file.
    Path {
        /// Which parameter holds its length in bytes.
        count: usize,
    },
    /// A pointer to text that is no path: a host name, a service.
    Text {
        /// Which parameter holds its length in bytes.
        count: usize,
    },
    /// A pointer to bytes that go into the call: the value of an option.
    InBytes {
        /// Which parameter holds their length.
        count: usize,
    },
    /// A pointer to a structure that the host reads.
    InStruct(&'static Structure),
    /// A pointer to a pointer and a length, 32 bits each, of a socket address. The address is input.
    Address,
    /// The same, of where the host puts an address. The pointer and the length are input.
    OutAddress,
    /// A pointer to an array of `ciovec`: the guest's bytes, input of the call.
    ConstIovecs {
        /// Which parameter holds the number of elements.
        count: usize,
    },
    /// A pointer to an array of `iovec`: where the host puts bytes.
    Iovecs {
        /// Which parameter holds the number of elements.
        count: usize,
    },
    /// A pointer to an array of `subscription`, 48 bytes each.
    Subscriptions {
        /// Which parameter holds the number of elements.
        count: usize,
    },
    /// A pointer to memory of a length that the guest gives, which the host fills.
    OutBytes {
        /// Which parameter holds its length in bytes or elements.
        count: usize,
    },
    /// A pointer to memory of a length that the host decides.
    OutVariable,
    /// A pointer to a structure, which the host fills.
    OutStruct(&'static Structure),
    /// A pointer to a number that the host writes.
    Out(Scalar),
}

impl Kind {
    /// Which parameter holds the length of what this one points to.
    #[must_use]
    pub const fn count(self) -> Option<usize> {
        match self {
            Kind::Path { count }
            | Kind::Text { count }
            | Kind::InBytes { count }
            | Kind::ConstIovecs { count }
            | Kind::Iovecs { count }
            | Kind::Subscriptions { count }
            | Kind::OutBytes { count } => Some(count),
            _ => None,
        }
    }
}

/// A number that the host writes behind a pointer. The log keeps these as columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number of bytes or elements, 32 bits.
    Size,
    /// A new descriptor, 32 bits.
    Fd,
    /// A position in a file, 64 bits.
    FileSize,
    /// A time in nanoseconds, 64 bits.
    Timestamp,
    /// A port, 32 bits.
    Port,
    /// Flags, 16 bits.
    Flags16(&'static Names),
    /// Flags or an enumeration, 32 bits.
    Named32(&'static Names),
}

impl Scalar {
    /// How many bytes the host writes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Scalar::Size | Scalar::Fd | Scalar::Port | Scalar::Named32(_) => 4,
            Scalar::FileSize | Scalar::Timestamp => 8,
            Scalar::Flags16(_) => 2,
        }
    }
}

/// A parameter of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the specification.
    pub name: &'static str,
    /// Its type on the wasm side.
    pub ty: WasmType,
    /// What it means.
    pub kind: Kind,
}

/// What a host function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Nothing: `proc_exit`.
    Nothing,
    /// An `errno`, an i32.
    Errno,
}

/// A row of the table.
#[derive(Debug)]
pub struct Function {
    /// Its number, never reused.
    pub id: FunctionId,
    /// Which interface it is of.
    pub abi: Abi,
    /// The module that a guest imports it from.
    pub module: &'static str,
    /// Its name in that module.
    pub name: &'static str,
    /// Its parameters, one for each wasm parameter.
    pub params: &'static [Param],
    /// What it returns.
    pub returns: Returns,
    /// Which parameters are [`Kind::Out`], in order.
    pub outs: &'static [usize],
    /// Which output counts the bytes that the call moved, as an index into `outs`.
    pub bytes: Option<usize>,
}

/// The most parameters that a function of the table has.
pub const MAX_PARAMS: usize = 9;

/// All functions, in the order of their numbers.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    crate::wasi::FUNCTIONS
        .iter()
        .chain(crate::wasmedge::FUNCTIONS)
}

/// The function of that number, or none if this version does not know it.
#[must_use]
#[inline]
pub fn by_id(id: FunctionId) -> Option<&'static Function> {
    // Rows are numbered from 1 without gaps, file by file; a test holds that.
    let at = usize::from(id.0).wrapping_sub(1);
    crate::wasi::FUNCTIONS
        .get(at)
        .or_else(|| crate::wasmedge::FUNCTIONS.get(at.wrapping_sub(crate::wasi::FUNCTIONS.len())))
}

/// The function of an interface that a guest imports as `module` and `name`.
#[must_use]
pub fn of_abi(abi: Abi, module: &str, name: &str) -> Option<&'static Function> {
    functions().find(|f| f.abi == abi && f.module == module && f.name == name)
}

/// The function of WASI preview 1, or else of its extensions' latest versions, that a guest imports as
/// `module` and `name`.
#[must_use]
pub fn by_name(module: &str, name: &str) -> Option<&'static Function> {
    [
        Abi::Preview1,
        Abi::WasmEdge,
        Abi::WasmEdgeV2,
        Abi::WasmEdgeV1,
    ]
    .into_iter()
    .find_map(|abi| of_abi(abi, module, name))
}

impl Function {
    /// The index of the first parameter of that kind.
    #[must_use]
    pub fn position(&self, wanted: impl Fn(Kind) -> bool) -> Option<usize> {
        self.params.iter().position(|p| wanted(p.kind))
    }
}

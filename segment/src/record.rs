//! A record: one host call or event, as a reader sees it.
//!
//! A [`Record`] borrows from the [`Calls`](crate::calls::Calls) that it stands in. It knows bytes and
//! numbers; what they mean is said by [`crate::describe`] with the host-function table.

use crate::function::{self, Function, Kind, Scalar};
use crate::ids::{ElapsedNs, FunctionId, Offset};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// It returned to the guest.
    Returned = 0,
    /// The host refused it with a trap: a pointer out of bounds.
    Trapped = 1,
    /// It ended the guest: `proc_exit`.
    Exited = 2,
    /// A signal or a timeout ended the guest inside it.
    Interrupted = 3,
    /// It has not returned: the guest is in it, or its writer died in it.
    InFlight = 4,
    /// Nobody knows: recording failed while the guest was in it, and a gap follows; or the log is
    /// damaged behind it.
    Unrecorded = 5,
}

impl Outcome {
    /// All outcomes, in the order of their numbers.
    pub const ALL: [Outcome; 6] = [
        Outcome::Returned,
        Outcome::Trapped,
        Outcome::Exited,
        Outcome::Interrupted,
        Outcome::InFlight,
        Outcome::Unrecorded,
    ];

    /// The outcome of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Outcome> {
        Outcome::ALL.get(usize::from(number)).copied()
    }

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Returned => "returned",
            Outcome::Trapped => "trapped",
            Outcome::Exited => "exited",
            Outcome::Interrupted => "interrupted",
            Outcome::InFlight => "in flight",
            Outcome::Unrecorded => "unrecorded",
        }
    }
}

/// Input that the guest offered and the host did not take: it is kept as length and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// In bytes.
    pub length: u64,
    /// XXH3-64 of the bytes.
    pub hash: u64,
}

/// A range of guest memory that the host wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its address in the guest's memory.
    pub address: u64,
    /// Its length in bytes.
    pub length: u32,
}

/// One host call or event.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number in the process.
    pub offset: Offset,
    /// When the guest entered the host.
    pub start: ElapsedNs,
    /// How long the guest was in the host, in nanoseconds; 0 in flight.
    pub duration_ns: u64,
    /// Which function.
    pub function: FunctionId,
    /// How it ended.
    pub outcome: Outcome,
    /// What it returned, zero-extended; an `errno` for WASI. 0 where it returned nothing.
    pub result: u64,
    /// The scalar arguments, zero-extended, one for each wasm parameter.
    pub args: &'a [u64],
    /// The guest's bytes that went into the call, parameter by parameter. For a
    /// [`Kind::ConstIovecs`] or [`Kind::Iovecs`] these are the array; for a [`Kind::Address`] the
    /// pointer and length and then the address, for a [`Kind::OutAddress`] these two alone. What the
    /// `ciovec`s point to comes last, as far as the host took it. For an event its JSON.
    pub input: &'a [u8],
    /// What was offered beyond `input`.
    pub dropped: Option<Dropped>,
    /// What the guest never sees: why the host refused, which rule denied.
    pub note: Option<&'a str>,
    pub(crate) ranges: &'a [Range],
    pub(crate) range_bytes: &'a [u8],
    pub(crate) outs: &'a [u64],
}

impl<'a> Record<'a> {
    /// The function's row in the table; none for events and for functions of a later version.
    #[must_use]
    pub fn row(&self) -> Option<&'static Function> {
        function::by_id(self.function)
    }

    /// What the host wrote into guest memory, in the order in which it did: address and bytes.
    pub fn writes(&self) -> impl Iterator<Item = Write<'a>> {
        let mut bytes = self.range_bytes;
        let ranges = self.ranges.iter().map(move |r| {
            let (now, rest) = bytes.split_at(bytes.len().min(r.length as usize));
            bytes = rest;
            Write {
                address: r.address,
                bytes: WriteBytes::Range(now),
            }
        });
        let args = self.args;
        let outs = self.outs.iter().enumerate().filter_map({
            let row = self.row();
            move |(i, &value)| {
                let row = row?;
                let param = *row.outs.get(i)?;
                let Kind::Out(scalar) = row.params[param].kind else {
                    return None;
                };
                Some(Write {
                    address: *args.get(param)?,
                    bytes: WriteBytes::scalar(value, scalar),
                })
            }
        });
        ranges.chain(outs)
    }

    /// The number that the host wrote behind the `i`th output pointer ([`Function::outs`]).
    #[must_use]
    pub fn out(&self, i: usize) -> Option<u64> {
        self.outs.get(i).copied()
    }
}

/// One write of the host into guest memory.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Where, in the guest's memory.
    pub address: u64,
    /// What.
    pub bytes: WriteBytes<'a>,
}

/// The bytes of a [`Write`].
#[derive(Clone, Copy, Debug)]
pub enum WriteBytes<'a> {
    /// Bytes as they stand in the payload.
    Range(&'a [u8]),
    /// A number that the log keeps as a column, little-endian, with its size.
    Scalar([u8; 8], usize),
}

impl WriteBytes<'_> {
    fn scalar(value: u64, scalar: Scalar) -> Self {
        WriteBytes::Scalar(value.to_le_bytes(), scalar.size())
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            WriteBytes::Range(bytes) => bytes,
            WriteBytes::Scalar(bytes, size) => &bytes[..*size],
        }
    }
}

//! Calls as the log would have them.

use timecraft_segment::{Calls, ElapsedNs, FunctionId, Offset, Outcome, Parts, Record, function};

pub fn id(name: &str) -> FunctionId {
    let row = function::by_name("wasi_snapshot_preview1", name);
    row.unwrap_or_else(|| panic!("{name}")).id
}

/// Where the guest has its numbers, and where its bytes.
pub const OUT: u64 = 0x1000;
pub const BUFFER: u64 = 0x2000;

/// A call, to be recorded.
#[derive(Clone, Debug)]
pub struct Call {
    pub function: FunctionId,
    pub args: Vec<u64>,
    pub input: Vec<u8>,
    /// How much of the input the host took; all where there is none.
    pub consumed: Option<usize>,
    pub writes: Vec<(u64, Vec<u8>)>,
    pub outcome: Outcome,
    pub result: u64,
    pub note: Option<String>,
}

impl Call {
    pub fn new(name: &str, args: &[u64]) -> Call {
        Call {
            function: id(name),
            args: args.to_vec(),
            input: Vec::new(),
            consumed: None,
            writes: Vec::new(),
            outcome: Outcome::Returned,
            result: 0,
            note: None,
        }
    }

    pub fn input(mut self, input: &[&[u8]]) -> Call {
        self.input = input.concat();
        self
    }

    pub fn write(mut self, address: u64, bytes: &[u8]) -> Call {
        self.writes.push((address, bytes.to_vec()));
        self
    }

    /// It failed, and wrote nothing.
    pub fn fails(mut self, errno: u64) -> Call {
        self.writes.clear();
        self.result = errno;
        self
    }

    pub fn ends(mut self, outcome: Outcome) -> Call {
        self.writes.clear();
        self.outcome = outcome;
        self
    }

    pub fn noted(mut self, note: impl std::fmt::Display) -> Call {
        self.note = Some(note.to_string());
        self
    }

    pub fn takes(mut self, consumed: usize) -> Call {
        self.consumed = Some(consumed);
        self
    }
}

/// An event that says that calls could not be recorded.
pub fn gap() -> Call {
    Call {
        function: FunctionId::GAP,
        ..Call::new("sched_yield", &[])
    }
}

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;

/// Opens for reading and writing.
pub fn open(directory: u32, path: &str, oflags: u64, fdflags: u64, fd: u32) -> Call {
    let length = path.len() as u64;
    let args = [
        u64::from(directory),
        1,
        0x200,
        length,
        oflags,
        READ | WRITE,
        0,
        fdflags,
        OUT,
    ];
    Call::new("path_open", &args)
        .input(&[path.as_bytes()])
        .write(OUT, &fd.to_le_bytes())
}

pub fn close(fd: u32) -> Call {
    Call::new("fd_close", &[fd.into()])
}

pub fn renumber(from: u32, to: u32) -> Call {
    Call::new("fd_renumber", &[from.into(), to.into()])
}

pub fn vectors(lengths: &[usize]) -> Vec<u8> {
    let vector = |n: &usize| [BUFFER as u32, *n as u32].map(u32::to_le_bytes).concat();
    lengths.iter().flat_map(vector).collect()
}

/// Reads into as many vectors as there are pieces.
pub fn read(fd: u32, pieces: &[&[u8]]) -> Call {
    reading(
        Call::new("fd_read", &[fd.into(), 0x100, pieces.len() as u64, OUT]),
        pieces,
    )
}

pub fn pread(fd: u32, at: u64, pieces: &[&[u8]]) -> Call {
    let args = [fd.into(), 0x100, pieces.len() as u64, at, OUT];
    reading(Call::new("fd_pread", &args), pieces)
}

fn reading(mut call: Call, pieces: &[&[u8]]) -> Call {
    let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
    call = call.input(&[&vectors(&lengths)]);
    for (i, piece) in pieces.iter().enumerate() {
        call = call.write(BUFFER + 0x1000 * i as u64, piece);
    }
    let n = lengths.iter().sum::<usize>() as u32;
    call.write(OUT, &n.to_le_bytes())
}

/// Writes, of which the host takes `taken`.
pub fn write(fd: u32, bytes: &[u8], taken: usize) -> Call {
    let call = Call::new("fd_write", &[fd.into(), 0x100, 1, OUT]);
    writing(call, bytes, taken)
}

pub fn pwrite(fd: u32, at: u64, bytes: &[u8]) -> Call {
    let call = Call::new("fd_pwrite", &[fd.into(), 0x100, 1, at, OUT]);
    writing(call, bytes, bytes.len())
}

fn writing(call: Call, bytes: &[u8], taken: usize) -> Call {
    let vectors = vectors(&[bytes.len()]);
    let consumed = vectors.len() + taken;
    call.input(&[&vectors, bytes])
        .takes(consumed)
        .write(OUT, &(taken as u32).to_le_bytes())
}

pub fn seek(fd: u32, position: u64) -> Call {
    let args = [fd.into(), position, 0, OUT];
    Call::new("fd_seek", &args).write(OUT, &position.to_le_bytes())
}

pub fn tell(fd: u32, position: u64) -> Call {
    Call::new("fd_tell", &[fd.into(), OUT]).write(OUT, &position.to_le_bytes())
}

pub fn set_flags(fd: u32, flags: u64) -> Call {
    Call::new("fd_fdstat_set_flags", &[fd.into(), flags])
}

/// An operation on a path.
pub fn at(name: &str, directory: u32, path: &str) -> Call {
    let length = path.len() as u64;
    let args = match name {
        "path_filestat_get" => vec![directory.into(), 0, 0x200, length, OUT],
        _ => vec![directory.into(), 0x200, length],
    };
    Call::new(name, &args).input(&[path.as_bytes()])
}

pub fn rename(from: u32, old: &str, to: u32, new: &str) -> Call {
    let lengths = [old, new].map(|path| path.len() as u64);
    let args = [from.into(), 0x200, lengths[0], to.into(), 0x300, lengths[1]];
    Call::new("path_rename", &args).input(&[old.as_bytes(), new.as_bytes()])
}

pub fn symlink(text: &str, directory: u32, path: &str) -> Call {
    let lengths = [text, path].map(|path| path.len() as u64);
    let args = [0x200, lengths[0], directory.into(), 0x300, lengths[1]];
    Call::new("path_symlink", &args).input(&[text.as_bytes(), path.as_bytes()])
}

/// The records of these calls. The first has offset 1, and each begins 10 ns after the one before.
pub fn record(calls: &[Call]) -> Calls {
    let mut all = Calls::new(Offset(1));
    for (call, start) in calls.iter().zip((10..).step_by(10)) {
        let writes: Vec<_> = call
            .writes
            .iter()
            .map(|(at, b)| (*at, b.as_slice()))
            .collect();
        all.push(&Parts {
            start: ElapsedNs(start),
            duration_ns: 1,
            function: call.function,
            outcome: call.outcome,
            result: call.result,
            args: &call.args,
            input: &call.input,
            consumed: call.consumed.unwrap_or(call.input.len()),
            writes: &writes,
            note: call.note.as_deref(),
        });
    }
    all
}

pub fn records(calls: &Calls) -> Vec<Record<'_>> {
    calls.iter().collect()
}

//! What a guest did with files: each operation on a path, each read and write, each file from its
//! opening to its closing.
//!
//! [`Files`] follows descriptors by number, through `path_open` relative to a directory, `fd_close` and
//! `fd_renumber`, and the position of each through reads, writes and seeks. Paths are what the guest
//! meant, resolved by [`resolve`] beneath the directories that it was given.
//!
//! Bytes are not handed out with the rows: who wants them asks [`payload`] of the record, and who does
//! not can decode records that were read without. Only three things stand in payloads that rows
//! depend on: the path of an opening, the paths of operations, and how far a write came that was
//! interrupted ([`needs_payload`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use timecraft_segment::descriptors::{Descriptor, resolve};
use timecraft_segment::function::{self, Function, Kind, Scalar};
use timecraft_segment::{FunctionId, Outcome, ProcessStart, Record, describe, text, wasi};

use crate::state::{self, StateError};

/// The version of this decoder. It changes where the same records give other rows, or the state
/// means something else.
pub const VERSION: u32 = 2;

/// The most descriptors that are followed: as many as the runtime lets a guest have open.
pub const MAX_DESCRIPTORS: usize = 65_536;

/// The `errno` of a call that would have had to wait: no failure of the file.
const EAGAIN: u64 = 6;
/// The bit of `fdflags` that makes each write go to the end of the file.
const APPEND: u64 = 1;

/// A row.
#[derive(Debug)]
pub enum Row<'a> {
    /// An operation on a path or on an open file, failed ones too.
    Operation(Operation<'a>),
    /// Bytes that went from or to a file or a standard stream.
    Transfer(Transfer<'a>),
    /// A file that is not followed any further: it was closed, or records are missing from here on.
    File(File),
}

/// An operation on a path or on an open file.
#[derive(Debug)]
pub struct Operation<'a> {
    /// `open`, `rename`, `stat` and so on.
    pub name: &'static str,
    /// What it returned, 0 for success; none where it did not return.
    pub errno: Option<u64>,
    record: Record<'a>,
    files: &'a Files,
}

impl Operation<'_> {
    /// The path, resolved; of a symbolic link its text, as the guest gave it. None where the
    /// descriptor is not known.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        if self.record.row()?.position(is_path).is_none() {
            return self.files.path(fd(&self.record, 0)?).map(str::to_owned);
        }
        self.resolved(0)
    }

    /// The second path of a rename or a link, resolved: what there is after it.
    #[must_use]
    pub fn path2(&self) -> Option<String> {
        self.resolved(1)
    }

    fn resolved(&self, at: usize) -> Option<String> {
        let (directory, path) = describe::paths_at(&self.record).nth(at)?;
        let path = text::lossless(path);
        match directory {
            Some(fd) => Some(resolve(self.files.path(fd)?, &path)),
            None => Some(path.into_owned()),
        }
    }
}

/// Which way bytes went, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the guest.
    Read,
    /// From the guest.
    Write,
}

impl Direction {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Read => "read",
            Direction::Write => "write",
        }
    }
}

/// Bytes that went from or to a file or a standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The number of the descriptor, in this call.
    pub fd: u32,
    /// Its path; none where it is not known what it is: records are missing.
    pub path: Option<&'a str>,
    /// Which way.
    pub direction: Direction,
    /// Where in the file the first byte is; in a stream, how many bytes went before it since the
    /// descriptor was opened. None where it is not known: of a write that appends, and after it or
    /// after missing records until the guest seeks or asks where it is.
    pub position: Option<u64>,
    /// How many bytes.
    pub size: u64,
}

/// A file, from its opening on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The record of its opening.
    pub offset: u64,
    /// The last record of a call on it.
    pub end_offset: u64,
    /// The number that it was opened as.
    pub fd: u32,
    /// Its path, resolved.
    pub path: String,
    /// What it was opened for and how: `RDWR|CREAT|TRUNC`.
    pub flags: String,
    /// When the call began that opened it, in nanoseconds since the process started.
    pub opened_ns: u64,
    /// When the call began that closed it; none while it is open.
    pub closed_ns: Option<u64>,
    /// How many bytes were read.
    pub bytes_read: u64,
    /// How many bytes were written.
    pub bytes_written: u64,
    /// How many reads succeeded.
    pub reads: u64,
    /// How many writes took something or succeeded.
    pub writes: u64,
    /// The first `errno` that a call on its descriptor returned, other than that it would wait.
    pub errno: Option<u64>,
}

/// A descriptor that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    /// None for what is no file: a socket.
    path: Option<String>,
    /// Where the next read or write goes.
    position: Option<u64>,
    /// Whether writes go to the end, where that is known.
    append: Option<bool>,
    /// Absent where the opening was not seen: of what the process started with.
    file: Option<File>,
}

/// The decoder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    open: BTreeMap<u32, Open>,
    /// What the process started with; none for a socket.
    initial: BTreeMap<u32, Option<String>>,
    /// Whether there may be open descriptors that are not known, which the next segment tells.
    lost: bool,
}

impl Files {
    /// Before the first record of a process.
    #[must_use]
    pub fn at_start(start: &ProcessStart) -> Files {
        let initial = initial(start);
        let stream = |path: &Option<String>| Open {
            path: path.clone(),
            position: Some(0),
            append: Some(false),
            file: None,
        };
        Files {
            open: initial.iter().map(|(fd, p)| (*fd, stream(p))).collect(),
            initial,
            lost: false,
        }
    }

    /// At the beginning of a segment, from the descriptors that it opens with. Paths are known from
    /// here on, and positions once the guest seeks; a file that is open already gives no [`File`].
    #[must_use]
    pub fn at_segment(start: &ProcessStart, table: &[Descriptor]) -> Files {
        let mut files = Files {
            initial: initial(start),
            lost: true,
            ..Files::default()
        };
        files.found(table);
        files
    }

    /// The state as JSON, with the version of the decoder.
    ///
    /// # Errors
    /// None that a state of this type can cause; the encoder has them.
    pub fn save(&self) -> Result<Vec<u8>, StateError> {
        state::save(VERSION, self)
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// When it is of another version or is none.
    pub fn restore(saved: &[u8]) -> Result<Files, StateError> {
        state::restore(VERSION, saved)
    }

    /// The path of an open descriptor; none where it is no file or not known.
    #[must_use]
    pub fn path(&self, fd: u32) -> Option<&str> {
        self.open.get(&fd)?.path.as_deref()
    }

    /// The files that are open.
    pub fn open(&self) -> impl Iterator<Item = &File> {
        self.open.values().filter_map(|open| open.file.as_ref())
    }

    /// Follows one record, in the order of offsets, and gives its rows.
    ///
    /// # Errors
    /// What `give` returned. The record is not followed to its end then.
    pub fn apply<E>(
        &mut self,
        record: &Record<'_>,
        mut give: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(facts) = facts(record.function) else {
            return match record.function {
                FunctionId::GAP => self.lose(give),
                _ => Ok(()),
            };
        };
        if let Some(name) = facts.operation
            && self.is_file_operation(record, facts)
        {
            give(Row::Operation(Operation {
                name,
                errno: errno(record),
                record: *record,
                files: self,
            }))?;
        }
        self.touch(record, facts);
        match facts.step {
            Step::Read | Step::Write => self.transfer(record, facts, give),
            _ if errno(record) != Some(0) => Ok(()),
            Step::Open => self.opened(record, give),
            Step::OpenOther => {
                let other = Open {
                    path: None,
                    position: None,
                    append: None,
                    file: None,
                };
                match new_fd(record) {
                    Some(fd) => self.put(fd, other, give),
                    None => Ok(()),
                }
            }
            Step::Close => {
                let closed = fd(record, 0).and_then(|fd| self.open.remove(&fd));
                give_closed(closed, record, give)
            }
            Step::Renumber => {
                let (Some(from), Some(to)) = (fd(record, 0), fd(record, 1)) else {
                    return Ok(());
                };
                if from == to {
                    return Ok(());
                }
                let closed = self.open.remove(&to);
                // Where what is moved is not known, what it replaced is gone all the same.
                if let Some(moved) = self.open.remove(&from) {
                    self.open.insert(to, moved);
                }
                give_closed(closed, record, give)
            }
            Step::Position => {
                if let Some(open) = self.of(record) {
                    open.position = record.out(0);
                }
                Ok(())
            }
            Step::SetFlags => {
                if let Some(open) = self.of(record) {
                    open.append = record.args.get(1).map(|flags| flags & APPEND != 0);
                }
                Ok(())
            }
            Step::None => Ok(()),
        }
    }

    /// Says that records are missing here. What the process started with is taken to be open still:
    /// guests hardly ever close it, and without it nothing later could be resolved. All else is given
    /// as it is, and forgotten.
    ///
    /// # Errors
    /// What `give` returned.
    pub fn lose<E>(&mut self, mut give: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        self.lost = true;
        let initial = &self.initial;
        let mut given = Vec::new();
        self.open.retain(|fd, open| {
            given.extend(open.file.take());
            open.position = None;
            open.append = None;
            initial.get(fd) == Some(&open.path)
        });
        given.into_iter().try_for_each(|file| give(Row::File(file)))
    }

    /// Says what is open at the beginning of a segment. Changes something only after [`Self::lose`].
    pub fn found(&mut self, table: &[Descriptor]) {
        if !std::mem::take(&mut self.lost) {
            return;
        }
        let mut known = std::mem::take(&mut self.open);
        let table = table.iter().take(MAX_DESCRIPTORS).map(|d| {
            let path = path_of(d);
            // What was opened since is known better.
            let open = known.remove(&d.fd).filter(|open| open.path == path);
            let open = open.unwrap_or(Open {
                path,
                position: None,
                append: None,
                file: None,
            });
            (d.fd, open)
        });
        self.open = table.collect();
    }

    fn of(&mut self, record: &Record<'_>) -> Option<&mut Open> {
        self.open.get_mut(&fd(record, 0)?)
    }

    /// False for an operation on a socket.
    fn is_file_operation(&self, record: &Record<'_>, facts: &Facts) -> bool {
        if facts.takes_path {
            return true;
        }
        let open = fd(record, 0).and_then(|fd| self.open.get(&fd));
        open.is_none_or(|open| open.path.is_some())
    }

    /// Notes that a call has named these descriptors, and how it failed.
    fn touch(&mut self, record: &Record<'_>, facts: &Facts) {
        let errno = errno(record).filter(|&n| n != 0 && n != EAGAIN);
        for &at in &facts.fds {
            let Some(file) = fd(record, at)
                .and_then(|fd| self.open.get_mut(&fd))
                .and_then(|open| open.file.as_mut())
            else {
                continue;
            };
            file.end_offset = record.offset.0;
            // What fails on a path beneath a directory is no error of the directory.
            if !facts.takes_path && file.errno.is_none() {
                file.errno = errno;
            }
        }
    }

    fn opened<E>(
        &mut self,
        record: &Record<'_>,
        give: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (Some(directory), Some(new)) = (fd(record, 0), new_fd(record)) else {
            return Ok(());
        };
        let parent = self.path(directory).unwrap_or("?");
        let path = resolve(parent, &text::lossless(record.input));
        let fdflags = record.args.get(7).copied().unwrap_or(0);
        let file = File {
            offset: record.offset.0,
            end_offset: record.offset.0,
            fd: new,
            path: path.clone(),
            flags: flags(record),
            opened_ns: record.start.0,
            closed_ns: None,
            bytes_read: 0,
            bytes_written: 0,
            reads: 0,
            writes: 0,
            errno: None,
        };
        let open = Open {
            path: Some(path),
            position: Some(0),
            append: Some(fdflags & APPEND != 0),
            file: Some(file),
        };
        self.put(new, open, give)
    }

    /// Follows a new descriptor, as far as there is room.
    fn put<E>(
        &mut self,
        fd: u32,
        open: Open,
        mut give: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let given = if self.open.len() >= MAX_DESCRIPTORS && !self.open.contains_key(&fd) {
            self.lost = true;
            Some(open)
        } else {
            // A number that is in use was closed in records that are missing.
            self.open.insert(fd, open)
        };
        match given.and_then(|open| open.file) {
            Some(file) => give(Row::File(file)),
            None => Ok(()),
        }
    }

    fn transfer<E>(
        &mut self,
        record: &Record<'_>,
        facts: &Facts,
        mut give: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(fd) = fd(record, 0) else {
            return Ok(());
        };
        let Some(size) = moved(record) else {
            return Ok(());
        };
        let direction = match facts.step {
            Step::Read => Direction::Read,
            _ => Direction::Write,
        };
        let Some(open) = self.open.get_mut(&fd) else {
            // It is open, or the call would have failed.
            let position = facts.at.and_then(|at| record.args.get(at).copied());
            return give(Row::Transfer(Transfer {
                fd,
                path: None,
                direction,
                position: position.filter(|_| direction == Direction::Read),
                size,
            }));
        };
        let Some(path) = &open.path else {
            return Ok(());
        };
        // Linux appends where a position is given, too.
        let appends = direction == Direction::Write && open.append != Some(false);
        let position = match facts.at {
            _ if appends => None,
            Some(at) => record.args.get(at).copied(),
            None => open.position,
        };
        if facts.at.is_none() {
            open.position = position.and_then(|at| at.checked_add(size));
        }
        if let Some(file) = &mut open.file {
            let (bytes, count) = match direction {
                Direction::Read => (&mut file.bytes_read, &mut file.reads),
                Direction::Write => (&mut file.bytes_written, &mut file.writes),
            };
            *bytes = bytes.saturating_add(size);
            *count += 1;
        }
        give(Row::Transfer(Transfer {
            fd,
            path: Some(path),
            direction,
            position,
            size,
        }))
    }
}

/// The bytes of the read or write that gave a [`Transfer`] of that size.
#[must_use]
pub fn payload<'a>(record: &Record<'a>, size: u64) -> Cow<'a, [u8]> {
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    let mut take = |bytes: &'a [u8]| {
        let (now, _) = bytes.split_at(left.min(bytes.len()));
        left -= now.len();
        now
    };
    if let Some(sent) = describe::sent(record) {
        return Cow::Borrowed(take(sent));
    }
    let mut pieces = describe::received(record).map(take);
    let first = pieces.next().unwrap_or_default();
    let mut bytes = Cow::Borrowed(first);
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        bytes.to_mut().extend_from_slice(piece);
    }
    bytes
}

/// The functions that give an [`Operation`], each with the operation's name.
pub fn operations() -> impl Iterator<Item = (FunctionId, &'static str)> {
    function::functions().filter_map(|row| Some((row.id, facts(row.id)?.operation?)))
}

/// The functions that give a [`Transfer`], each with its direction.
pub fn transfers() -> impl Iterator<Item = (FunctionId, Direction)> {
    function::functions().filter_map(|row| match facts(row.id)?.step {
        Step::Read => Some((row.id, Direction::Read)),
        Step::Write => Some((row.id, Direction::Write)),
        _ => None,
    })
}

/// What a record of a function can mean here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// It changes which descriptor is what.
    pub follows: bool,
    /// Its path is that of a descriptor from then on.
    pub opens: bool,
    /// It changes positions.
    pub moves: bool,
    /// It can give a [`Transfer`].
    pub transfers: bool,
    /// It can give an [`Operation`].
    pub operates: bool,
    /// It names a descriptor, so that it can be the last call on a file or the one that failed.
    pub names: bool,
}

/// What records of that function can mean: who wants some rows only can leave out what does not
/// matter to them. Rows of one kind need the records that `follow`, those that give them, and, where
/// their positions are wanted, those that move; for [`File`]s all that name a descriptor.
#[must_use]
pub fn meaning(id: FunctionId) -> Meaning {
    let Some(facts) = facts(id) else {
        return Meaning {
            follows: id == FunctionId::GAP,
            ..Meaning::default()
        };
    };
    let transfers = matches!(facts.step, Step::Read | Step::Write);
    let opens = matches!(facts.step, Step::Open);
    Meaning {
        follows: opens || matches!(facts.step, Step::OpenOther | Step::Close | Step::Renumber),
        opens,
        moves: transfers && facts.at.is_none()
            || matches!(facts.step, Step::Position | Step::SetFlags),
        transfers,
        operates: facts.operation.is_some(),
        names: !facts.fds.is_empty(),
    }
}

/// Whether a call can have moved bytes that only its payload counts: a write that was interrupted.
#[must_use]
pub fn needs_payload(id: FunctionId, outcome: Outcome) -> bool {
    outcome == Outcome::Interrupted && facts(id).is_some_and(|facts| facts.step == Step::Write)
}

/// What a function does to descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    None,
    Open,
    /// Opens something that is no file.
    OpenOther,
    Close,
    Renumber,
    Read,
    Write,
    /// Its output is the position.
    Position,
    SetFlags,
}

/// What is known of a function.
#[derive(Clone, Debug, Default)]
struct Facts {
    step: Step,
    operation: Option<&'static str>,
    /// Which arguments are descriptors.
    fds: Vec<usize>,
    takes_path: bool,
    /// Which argument is the position, where it is given.
    at: Option<usize>,
}

static FACTS: LazyLock<Vec<Option<Facts>>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for row in function::functions() {
        let at = usize::from(row.id.0);
        if all.len() <= at {
            all.resize(at + 1, None);
        }
        all[at] = Some(facts_of(row));
    }
    all
});

fn facts(id: FunctionId) -> Option<&'static Facts> {
    FACTS.get(usize::from(id.0))?.as_ref()
}

fn facts_of(row: &Function) -> Facts {
    let fds = (0..row.params.len()).filter(|&i| row.params[i].kind == Kind::Fd);
    let takes_path = row.position(is_path).is_some();
    let (step, operation) = if row.module == wasi::MODULE {
        wasi_facts(row.name)
    } else {
        (Step::None, None)
    };
    let opens = row.position(|k| k == Kind::Out(Scalar::Fd)).is_some();
    let transfers = matches!(step, Step::Read | Step::Write);
    Facts {
        step: match step {
            Step::None if opens => Step::OpenOther,
            step => step,
        },
        operation,
        fds: fds.collect(),
        takes_path,
        at: row.position(|k| transfers && k == Kind::FileSize),
    }
}

fn wasi_facts(name: &str) -> (Step, Option<&'static str>) {
    match name {
        "path_open" => (Step::Open, Some("open")),
        "fd_close" => (Step::Close, None),
        "fd_renumber" => (Step::Renumber, None),
        "fd_read" | "fd_pread" => (Step::Read, None),
        "fd_write" | "fd_pwrite" => (Step::Write, None),
        "fd_seek" | "fd_tell" => (Step::Position, None),
        "fd_fdstat_set_flags" => (Step::SetFlags, None),
        "path_create_directory" => (Step::None, Some("mkdir")),
        "path_remove_directory" => (Step::None, Some("rmdir")),
        "path_unlink_file" => (Step::None, Some("unlink")),
        "path_rename" => (Step::None, Some("rename")),
        "path_link" => (Step::None, Some("link")),
        "path_symlink" => (Step::None, Some("symlink")),
        "path_readlink" => (Step::None, Some("readlink")),
        "path_filestat_get" | "fd_filestat_get" => (Step::None, Some("stat")),
        "path_filestat_set_times" | "fd_filestat_set_times" => (Step::None, Some("set_times")),
        "fd_filestat_set_size" => (Step::None, Some("truncate")),
        "fd_allocate" => (Step::None, Some("allocate")),
        "fd_readdir" => (Step::None, Some("readdir")),
        "fd_sync" => (Step::None, Some("sync")),
        "fd_datasync" => (Step::None, Some("datasync")),
        _ => (Step::None, None),
    }
}

fn is_path(kind: Kind) -> bool {
    matches!(kind, Kind::Path { .. })
}

fn initial(start: &ProcessStart) -> BTreeMap<u32, Option<String>> {
    let table = timecraft_segment::descriptors::Descriptors::at_start(start).table();
    table.iter().map(|d| (d.fd, path_of(d))).collect()
}

fn path_of(descriptor: &Descriptor) -> Option<String> {
    (!descriptor.socket).then(|| descriptor.path.clone())
}

fn errno(record: &Record<'_>) -> Option<u64> {
    (record.outcome == Outcome::Returned).then_some(record.result)
}

/// The argument that is a descriptor: an i32 on the wasm side.
fn fd(record: &Record<'_>, at: usize) -> Option<u32> {
    record.args.get(at).map(|&fd| fd as u32)
}

/// The descriptor that a call opened.
fn new_fd(record: &Record<'_>) -> Option<u32> {
    let row = record.row()?;
    let at = row
        .outs
        .iter()
        .position(|&p| row.params[p].kind == Kind::Out(Scalar::Fd))?;
    record.out(at).map(|fd| fd as u32)
}

/// How many bytes a call moved; none where it moved none that are known of. What a call in flight will
/// move is not known, and neither is whether one that trapped did.
fn moved(record: &Record<'_>) -> Option<u64> {
    if errno(record) == Some(0) {
        return record.out(0);
    }
    // The host says how much it took before the guest was interrupted.
    let taken = describe::sent(record).filter(|_| needs_payload(record.function, record.outcome));
    taken.map(|bytes| bytes.len() as u64).filter(|&n| n > 0)
}

fn give_closed<E>(
    closed: Option<Open>,
    record: &Record<'_>,
    mut give: impl FnMut(Row<'_>) -> Result<(), E>,
) -> Result<(), E> {
    match closed.and_then(|open| open.file) {
        Some(mut file) => {
            file.closed_ns = Some(record.start.0);
            give(Row::File(file))
        }
        None => Ok(()),
    }
}

/// What a file was opened for and how, as text: the access, then `oflags`, then `fdflags`.
fn flags(record: &Record<'_>) -> String {
    /// The bits of `rights` that say what a descriptor is for.
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    let rights = record.args.get(5).copied().unwrap_or(0);
    let access = match (rights & READ != 0, rights & WRITE != 0) {
        (true, true) => Some("RDWR"),
        (true, false) => Some("RDONLY"),
        (false, true) => Some("WRONLY"),
        (false, false) => None,
    };
    let named = ["oflags", "fdflags"].map(|name| describe::named_argument(record, name));
    let named = named.into_iter().flatten().filter(|names| names != "0");
    let all: Vec<String> = access.map(str::to_owned).into_iter().chain(named).collect();
    match all.is_empty() {
        true => "0".to_owned(),
        false => all.join("|"),
    }
}

//! What all targets do with what they read: everything that a query would do, and see that it is the
//! same each time.

pub mod http;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;
use timecraft_segment::descriptors::Descriptors;
use timecraft_segment::{
    Calls, ProcessId, Projection, Record, Registry, Snapshot, denial, describe,
};

/// Columns that a reader may ask for alone.
const PROJECTIONS: [Projection; 7] = [
    Projection::FUNCTIONS,
    Projection::STARTS,
    Projection::DURATIONS,
    Projection::RESULTS,
    Projection::ARGS,
    Projection::OUTS,
    Projection::PAYLOAD,
];

/// Reads columns in every way, and looks at each record. None where they cannot be read whole.
///
/// # Panics
/// When two ways of reading do not agree.
pub fn examine<E>(read: impl Fn(Projection) -> Result<Calls, E>) -> Option<Calls> {
    let all = read(Projection::ALL).ok();
    assert_eq!(all, read(Projection::ALL).ok(), "read twice");
    for one in PROJECTIONS {
        let part = read(one);
        if let (Some(all), Ok(part)) = (&all, &part) {
            agree(all, part, one);
        }
        // With all columns every byte is checked, so a part may be well where the whole is not.
        assert!(
            all.is_none() || part.is_ok(),
            "all columns, but not {one:?}"
        );
    }
    let all = all?;
    all.iter().for_each(|record| look_at(&record));
    let mut copy = Calls::new(all.first_offset);
    all.iter().for_each(|record| copy.append(&record));
    assert_eq!(copy.len(), all.len());
    Some(all)
}

fn agree(all: &Calls, part: &Calls, projection: Projection) {
    assert_eq!(all.functions, part.functions);
    let has = |columns| projection.has(columns);
    assert!(!has(Projection::STARTS) || all.starts == part.starts);
    assert!(!has(Projection::DURATIONS) || all.durations == part.durations);
    assert!(!has(Projection::RESULTS) || all.outcomes == part.outcomes);
    assert!(!has(Projection::RESULTS) || all.results == part.results);
    assert!(!has(Projection::ARGS) || all.args == part.args);
    assert!(!has(Projection::OUTS) || all.outs == part.outs);
    assert!(!has(Projection::PAYLOAD) || all.payload == part.payload);
}

/// Has the record described as a query and a trace would.
fn look_at(record: &Record<'_>) {
    let line = describe::strace(record);
    assert!(!line.contains('\n'), "a record is a line: {line:?}");
    let paths = (describe::path(record), describe::path2(record));
    black_box((describe::args_json(record), paths));
    black_box((describe::error_name(record), describe::fd(record)));
    black_box((describe::bytes(record), describe::sent(record)));
    describe::paths_at(record).for_each(|(fd, path)| drop(black_box((fd, path.to_vec()))));
    describe::received(record).for_each(|bytes| drop(black_box(bytes.to_vec())));
    record
        .writes()
        .for_each(|write| drop(black_box(write.bytes.as_slice().to_vec())));
    black_box(record.note.and_then(denial::Denial::parse));
}

/// All records of a snapshot; what cannot be read is left out. Each chunk is examined.
///
/// # Panics
/// When the snapshot does not hold what it promises.
pub fn read_all(snapshot: &Snapshot) -> Vec<Option<Calls>> {
    let mut descriptors = Descriptors::at_start(snapshot.start());
    let chunks = snapshot.chunks().iter().map(|chunk| {
        if let Some(table) = chunk.descriptors_of_segment() {
            descriptors = Descriptors::at_segment(snapshot.start(), table);
        }
        let calls =
            examine(|projection| chunk.read(projection).map(std::sync::Arc::unwrap_or_clone))?;
        assert_eq!(calls.first_offset, chunk.summary().first_offset);
        assert_eq!(calls.len(), chunk.summary().count as usize);
        calls.iter().for_each(|record| descriptors.apply(&record));
        black_box(descriptors.table());
        Some(calls)
    });
    chunks.collect()
}

/// A registry in memory, with one process.
pub struct Log {
    pub registry: Registry,
    pub process: ProcessId,
    folder: PathBuf,
}

static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder for the registry")
});

impl Log {
    /// The log of a process, of which nothing is there.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn empty(process: ProcessId) -> Log {
        let registry = Registry::at(ROOT.path());
        let folder = registry.process_folder(process);
        // What is left of the input before, whose process may have been another.
        let _ = fs::remove_dir_all(ROOT.path().join("processes"));
        fs::create_dir_all(&folder).expect("a folder for the process");
        Log {
            registry,
            process,
            folder,
        }
    }

    /// The path of a file in the process's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts a file into the process's folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file of the log");
    }
}

/// The process that a segment says it is of; any, where it does not say.
#[must_use]
pub fn process_of(segment: &[u8]) -> ProcessId {
    let named = segment
        .windows(16)
        .position(|w| w == b"\"process_id\":\"01".as_slice())
        .and_then(|at| segment.get(at + 14..at + 50))
        .and_then(|id| str::from_utf8(id).ok()?.parse().ok());
    named.unwrap_or(ProcessId::from_bytes([1; 16]))
}

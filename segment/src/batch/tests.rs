//! What a batch promises: records come back, and nothing else is believed.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::columns::{
    self, ARGS, DURATIONS, FUNCTIONS, Groups, LAYOUT, OUTS, RESULTS, STARTS, STREAMS,
};
use super::references::{self, Finder, Reference};
use super::*;
use crate::calls::{Parts, Projection};
use crate::codec::put_varint;
use crate::ids::{ElapsedNs, FunctionId, Offset};
use crate::record::{Dropped, Outcome, Range};
use crate::{Calls, wasi};

const CLOCK: &str = "clock_time_get";
const WRITE: &str = "fd_write";
const READ: &str = "fd_read";

fn id(name: &str) -> FunctionId {
    function::by_name(wasi::MODULE, name).unwrap().id
}

/// Appends a call as the runtime records it: `outs` where its output pointers point.
fn push(calls: &mut Calls, name: &str, args: &[u64], input: &[u8], writes: &[(u64, &[u8])]) {
    calls.push(&Parts {
        start: ElapsedNs(1000 + 77 * calls.len() as u64),
        duration_ns: 40 + calls.len() as u64 % 3,
        function: id(name),
        outcome: Outcome::Returned,
        result: 0,
        args,
        input,
        consumed: input.len(),
        writes,
        note: None,
    });
}

fn vector(length: usize) -> [u8; 8] {
    let mut vector = [0; 8];
    vector[4..].copy_from_slice(&(length as u32).to_le_bytes());
    vector
}

/// Reads a piece and writes it again.
fn copy(calls: &mut Calls, piece: &[u8]) {
    let moved = (piece.len() as u32).to_le_bytes();
    let vector = vector(piece.len());
    push(
        calls,
        READ,
        &[3, 64, 1, 32],
        &vector,
        &[(4096, piece), (32, &moved)],
    );
    let input = [&vector[..], piece].concat();
    push(calls, WRITE, &[4, 64, 1, 32], &input, &[(32, &moved)]);
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let words = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Calls of each kind that the streams know.
fn sample() -> Calls {
    let mut calls = Calls::new(Offset(900));
    for i in 0..20_u64 {
        let now = (5_000_000 + 1000 * i).to_le_bytes();
        push(&mut calls, CLOCK, &[1, 1, 256], &[], &[(256, &now)]);
        copy(&mut calls, &noise(600, i / 2));
    }
    calls.push(&Parts {
        start: ElapsedNs(9000),
        duration_ns: 0,
        function: id(WRITE),
        outcome: Outcome::InFlight,
        result: 0,
        args: &[4, 64, 1, 32],
        input: b"some of it was not taken",
        consumed: 10,
        writes: &[],
        note: Some("no grant holds it"),
    });
    calls
}

fn encode(calls: &Calls) -> Vec<u8> {
    let open = Open {
        bytes: b"the beginning of a record",
        back: 2,
    };
    let mut out = Vec::new();
    Encoder::new(Compression::Zstd)
        .unwrap()
        .encode(calls, 12_345, open, Effort::Normal, &mut out)
        .unwrap();
    out
}

/// Reads all of a batch, as segments do piece by piece.
fn read(bytes: &[u8]) -> Result<(Calls, Vec<u8>), Damage> {
    let (header, body) = bytes.split_first_chunk().ok_or("the header is cut")?;
    let header = Header::from_bytes(header)?;
    if body.len() as u64 != header.body_bytes() {
        return Err("the batch is cut");
    }
    let (columns, rest) = body.split_at(header.summary.calls_bytes as usize);
    let payload = check_open_and_end(&header, rest)?;
    let calls = decode(&header, columns, Some(payload), Projection::ALL)?;
    let open = &rest[payload.len()..rest.len() - 1];
    Ok((calls, open.to_vec()))
}

/// A batch in parts, to be put together with right checksums whatever was done to it.
struct Crafted {
    header: Header,
    streams: [Vec<u8>; STREAMS],
    /// The lengths that streams say they are read with, where those are not their own.
    lengths: [Option<u32>; STREAMS],
    payload: Vec<u8>,
}

impl Crafted {
    fn of(calls: &Calls) -> Crafted {
        let header = Header::from_bytes(encode(calls).first_chunk().unwrap()).unwrap();
        let groups = Groups::of(&calls.functions);
        let mut finder = Finder::default();
        let references = finder.find(calls);
        let mut streams: [Vec<u8>; STREAMS] = Default::default();
        columns::write_functions(calls, &mut streams[FUNCTIONS]);
        columns::write_starts(calls, &mut streams[STARTS]);
        columns::write_durations(calls, &mut streams[DURATIONS]);
        columns::write_results(calls, &mut streams[RESULTS]);
        columns::write_args(calls, &groups, &mut streams[ARGS]);
        columns::write_outs(calls, &groups, &mut streams[OUTS]);
        columns::write_layout(calls, references, &mut streams[LAYOUT]);
        let mut payload = Vec::new();
        references::literals(&calls.payload, references, &mut payload);
        Crafted {
            header,
            streams,
            lengths: [None; STREAMS],
            payload,
        }
    }

    fn read(&self) -> Result<Calls, Damage> {
        let mut columns = Vec::new();
        for (stream, length) in self.streams.iter().zip(self.lengths) {
            let stored = stream.len() as u32;
            columns.extend(length.unwrap_or(stored).to_le_bytes());
            columns.extend(stored.to_le_bytes());
        }
        self.streams.iter().for_each(|s| columns.extend(s));
        let mut header = self.header.clone();
        header.summary.calls_bytes = columns.len() as u64;
        header.calls_crc = crc32c::crc32c(&columns);
        header.summary.payload_bytes = self.payload.len() as u64;
        header.payload_crc = crc32c::crc32c(&self.payload);
        let header = Header::from_bytes(&header.to_bytes())?;
        decode(&header, &columns, Some(&self.payload), Projection::ALL)
    }

    /// What is wrong after a change to a batch in which nothing was.
    fn damage(change: impl FnOnce(&mut Crafted)) -> Damage {
        let mut crafted = Crafted::of(&sample());
        assert_eq!(crafted.read().as_ref(), Ok(&sample()));
        change(&mut crafted);
        crafted.read().unwrap_err()
    }
}

fn varints(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|&n| put_varint(&mut out, n));
    out
}

#[test]
fn records_come_back_at_every_effort() {
    let calls = sample();
    for compression in [Compression::Zstd, Compression::None] {
        let mut encoder = Encoder::new(compression).unwrap();
        for effort in [Effort::Raw, Effort::Normal, Effort::Fast, Effort::Normal] {
            let mut out = b"what stands before".to_vec();
            let open = Open {
                bytes: b"open",
                back: 0,
            };
            let header = encoder.encode(&calls, 7, open, effort, &mut out).unwrap();
            let (found, pieces) = read(&out[18..]).unwrap();
            assert_eq!(found, calls);
            assert_eq!(pieces, b"open");
            assert_eq!(header.summary.fds, Some((3, 4)));
            assert!(header.summary.any_failed);
        }
    }
}

#[test]
fn less_effort_makes_larger_batches() {
    let mut calls = Calls::new(Offset(0));
    for i in 0..2000 {
        let text = format!(
            "{i}: a line that a guest has written, and its number {}",
            i * 7
        );
        push(&mut calls, WRITE, &[1, 64, 1, 32], text.as_bytes(), &[]);
    }
    let mut encoder = Encoder::new(Compression::Zstd).unwrap();
    let sizes = [Effort::Normal, Effort::Fast, Effort::Raw].map(|effort| {
        let mut out = Vec::new();
        let open = Open {
            bytes: &[],
            back: 0,
        };
        encoder.encode(&calls, 0, open, effort, &mut out).unwrap();
        out.len()
    });
    assert!(sizes.is_sorted() && sizes[0] < sizes[2], "{sizes:?}");
    assert!(
        sizes[2] > calls.payload.len(),
        "raw payload is stored as it is"
    );
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let bytes = encode(&sample());
    assert_eq!(read(&bytes).unwrap().0, sample());
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }
}

#[test]
fn no_batch_that_was_cut_is_read() {
    let bytes = encode(&sample());
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    let refused = |change: fn(&mut Header)| {
        let damage = Crafted::damage(|c| change(&mut c.header));
        assert_eq!(damage, "the batch header has sizes that cannot be");
    };
    refused(|h| h.summary.count = MAX_RECORDS as u32 + 1);
    refused(|h| h.ranges = MAX_RANGES as u32 + 1);
    refused(|h| h.expanded_bytes = MAX_SECTION as u32 + 1);
    refused(|h| h.open_bytes = MAX_SECTION as u32 + 1);
    refused(|h| h.summary.raw_bytes = MAX_SECTION as u64 + 1);
    refused(|h| h.literal_bytes = h.expanded_bytes + 1);
    refused(|h| h.literal_bytes = h.summary.payload_bytes as u32 / 9);
    refused(|h| h.summary.first_offset = Offset(u64::MAX));
    refused(|h| h.summary.fds = Some((9, 3)));
    let mut bytes: [u8; HEADER_BYTES] = *encode(&sample()).first_chunk().unwrap();
    bytes[20] |= 4;
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    assert!(Header::from_bytes(&bytes).is_err(), "a flag of no meaning");
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let damage = |change: fn(&mut Crafted)| Crafted::damage(change);
    assert_eq!(
        damage(|c| c.streams[RESULTS][0] = Outcome::ALL.len() as u8),
        "an outcome that does not exist"
    );
    assert_eq!(
        damage(|c| c.header.summary.count += 1),
        "the function column does not have the batch's number of records"
    );
    assert_eq!(
        damage(|c| c.header.summary.last_time = ElapsedNs(3)),
        "the start times are not those of the header"
    );
    for stream in [STARTS, DURATIONS, RESULTS, ARGS, OUTS, LAYOUT] {
        let mut crafted = Crafted::of(&sample());
        crafted.streams[stream].push(0);
        assert_eq!(
            crafted.read().unwrap_err(),
            "a column of the batch goes on after its last record"
        );
        crafted.streams[stream].truncate(3);
        assert_eq!(
            crafted.read().unwrap_err(),
            "a column of the batch ends too early"
        );
    }
}

#[test]
fn widths_beyond_any_function_are_refused() {
    let wide = MAX_WIDTH as u64 + 1;
    for head in [wide << 1, u64::from(u32::MAX) << 1, u64::MAX] {
        Crafted::damage(|c| c.streams[ARGS] = varints(&[head]));
        Crafted::damage(|c| c.streams[OUTS] = varints(&[head >> 1]));
    }
    // As many as may be, and no bytes for them.
    Crafted::damage(|c| c.streams[ARGS] = varints(&[32, 32, 32]));
    Crafted::damage(|c| c.streams[OUTS] = [&[16], &[0xff; 3][..], &[0, 0]].concat());
    // A ragged row wider than its group.
    Crafted::damage(|c| c.streams[ARGS] = varints(&[3, 2]));
    // A bit for a record that is not there: groups are fd_read, fd_write and clock_time_get.
    Crafted::damage(|c| {
        let bits = c.streams[OUTS].iter().position(|&b| b == 0x0f).unwrap();
        c.streams[OUTS][bits] = 0x1f;
    });
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    let layout = |input: u64, note: u64, ranges: &[u64], rest: &[u64]| {
        let mut calls = Calls::new(Offset(0));
        push(
            &mut calls,
            WRITE,
            &[1, 2, 3, 4],
            b"0123456789",
            &[(8, b"abc")],
        );
        let mut crafted = Crafted::of(&calls);
        let numbers = [&[input, note][..], ranges, rest].concat();
        crafted.streams[LAYOUT] = varints(&numbers);
        crafted.read()
    };
    // One range at 8 of 3 bytes, nothing dropped, no references.
    assert!(layout(10, 0, &[1, 16, 3], &[0, 0]).is_ok());
    assert!(layout(9, 1, &[1, 16, 3], &[0, 0]).is_ok());
    assert!(layout(11, 0, &[1, 16, 3], &[0, 0]).is_err());
    assert!(layout(10, 1, &[1, 16, 3], &[0, 0]).is_err());
    assert!(layout(10, 0, &[1, 16, 2], &[0, 0]).is_err());
    assert!(layout(10, 0, &[0], &[0, 0]).is_err());
    assert!(layout(10, 0, &[2, 16, 3, 16, 0], &[0, 0]).is_err());
    assert!(layout(u64::from(u32::MAX), 14, &[1, 16, 3], &[0, 0]).is_err());
    assert!(layout(u64::MAX, 0, &[1, 16, 3], &[0, 0]).is_err());
    // A dropped input of a record that is not there, and two of one.
    let hash = &[0; 8][..];
    assert!(layout(10, 0, &[1, 16, 3], &[&[1, 0, 5], hash, &[0]].concat()).is_ok());
    assert!(layout(10, 0, &[1, 16, 3], &[&[1, 1, 5], hash, &[0]].concat()).is_err());
    let twice = [&[2, 0, 5], hash, &[0, 5], hash, &[0]].concat();
    assert!(layout(10, 0, &[1, 16, 3], &twice).is_err());
    assert!(layout(10, 0, &[1, 16, 3], &[u64::MAX]).is_err());
}

/// One record whose input is `literals` and then what the references add.
fn referring(literals: &[u8], length: usize, references: &[u64]) -> Result<Calls, Damage> {
    let mut calls = Calls::new(Offset(0));
    push(&mut calls, WRITE, &[1, 2, 3, 4], &[], &[]);
    let mut crafted = Crafted::of(&calls);
    let layout = [length as u64, 0, 0, 0];
    crafted.streams[LAYOUT] = varints(&[&layout[..], references].concat());
    crafted.header.expanded_bytes = length as u32;
    crafted.header.literal_bytes = literals.len() as u32;
    crafted.payload = literals.to_vec();
    crafted.read()
}

#[test]
fn references_that_cannot_be_are_refused() {
    let literals = noise(200, 1);
    // Gap, length, and where it stands: zigzag, so twice as much.
    let calls = referring(&literals, 264, &[1, 200, 64, 2 * 136]).unwrap();
    assert_eq!(calls.payload[200..], literals[136..]);
    let past = referring(&literals, 264, &[1, 200, 64, 2 * 137]);
    assert_eq!(past, Err("a reference of the payload points past it"));
    for (length, references) in [
        (264, &[1, 201, 64, 0][..]),
        (264, &[1, 200, 65, 0]),
        (263, &[1, 200, 63, 0]),
        (264, &[1, 200, 64, 1]),
        (264, &[1, 200, 64, u64::MAX]),
        (264, &[1, u64::from(u32::MAX), 64, 0]),
        (264, &[1, 200, u64::from(u32::MAX), 0]),
        (264, &[5, 0, 0, 0]),
        (264, &[u64::MAX]),
        (265, &[1, 200, 64, 0]),
    ] {
        assert!(
            referring(&literals, length, references).is_err(),
            "{references:?}"
        );
    }
}

#[test]
fn few_literals_that_are_repeated_stay_within_a_section() {
    let literals = noise(64, 1);
    let repeat = |n: usize| {
        let mut references = vec![n as u64, 64];
        references.extend(vec![0; n - 1]);
        references.extend(vec![64; n]);
        references.push(0);
        // Each begins where the one before did, 64 bytes before that one's end.
        references.extend(vec![2 * 64 - 1; n - 1]);
        references
    };
    let calls = referring(&literals, 64 * 1001, &repeat(1000)).unwrap();
    assert!(calls.payload.chunks(64).all(|c| c == literals));
    let too_long = referring(&literals, MAX_SECTION + 1, &repeat(1000));
    assert_eq!(too_long, Err("the batch header has sizes that cannot be"));
}

#[test]
fn what_a_reader_refuses_is_not_written() {
    let refused = |calls: &Calls| {
        let open = Open {
            bytes: &[],
            back: 0,
        };
        let mut encoder = Encoder::new(Compression::Zstd).unwrap();
        let done = encoder.encode(calls, 0, open, Effort::Normal, &mut Vec::new());
        done.unwrap_err()
    };
    let mut large = Calls::new(Offset(0));
    push(
        &mut large,
        WRITE,
        &[1, 2, 3, 4],
        &vec![0; MAX_SECTION + 1],
        &[],
    );
    let error = refused(&large);
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(
        error.to_string(),
        "a call and those recorded with it moved 1073741825 bytes, and a batch of the log holds \
         at most 1073741824"
    );
    drop(large);

    let mut wide = Calls::new(Offset(0));
    push(&mut wide, WRITE, &[0; MAX_WIDTH + 1], &[], &[]);
    assert_eq!(refused(&wide).kind(), std::io::ErrorKind::InvalidInput);

    let mut parts = Calls::new(Offset(0));
    for _ in 0..2 {
        let writes: [(u64, &[u8]); 2] = [(64, &[1, 0, 0, 0]), (68, &[9, 0, 0, 0])];
        push(&mut parts, "args_sizes_get", &[64, 68], &[], &writes);
    }
    assert_eq!(parts.outs, [1, 9, 1, 9]);
    parts.outs.pop();
    parts.out_ends[1] -= 1;
    assert_eq!(refused(&parts).kind(), std::io::ErrorKind::InvalidInput);
}

/// A function's records have one number of arguments, unless the caller is wrong.
#[test]
fn records_of_one_function_may_differ_in_their_arguments() {
    let mut calls = Calls::new(Offset(0));
    for n in [4, 0, 2, 4, 9, 16, 1] {
        let args: Vec<u64> = (0..n).map(|i| 10 * i + n).collect();
        push(&mut calls, WRITE, &args, &[], &[]);
        push(&mut calls, CLOCK, &args[..args.len().min(3)], &[], &[]);
    }
    assert_eq!(read(&encode(&calls)).unwrap().0, calls);
}

#[test]
fn a_copy_is_stored_once() {
    for (pieces, size) in [(50, 4096), (3, 70_000), (40, 512), (11, 777)] {
        let mut calls = Calls::new(Offset(0));
        for i in 0..pieces {
            copy(&mut calls, &noise(size, i));
        }
        let bytes = encode(&calls);
        let once = pieces as usize * size;
        assert!(
            bytes.len() < once + once / 10 + 600,
            "{} of {once}",
            bytes.len()
        );
        assert_eq!(read(&bytes).unwrap().0, calls);
    }
}

#[test]
fn pieces_are_found_in_larger_and_in_smaller_ones() {
    let data = noise(1 << 16, 9);
    let mut calls = Calls::new(Offset(0));
    // Read whole, written in pieces of two vectors each; then read in pieces and written whole.
    push(
        &mut calls,
        READ,
        &[3, 64, 1, 32],
        &vector(1 << 16),
        &[(4096, &data)],
    );
    for piece in data.chunks(4096) {
        let vectors = [vector(1024), vector(3072)].concat();
        push(
            &mut calls,
            WRITE,
            &[4, 64, 2, 32],
            &[&vectors, piece].concat(),
            &[],
        );
    }
    let data = noise(1 << 16, 10);
    for piece in data.chunks(4096) {
        push(
            &mut calls,
            READ,
            &[3, 64, 1, 32],
            &vector(4096),
            &[(4096, piece)],
        );
    }
    let input = [&vector(1 << 16)[..], &data].concat();
    push(&mut calls, WRITE, &[4, 64, 1, 32], &input, &[]);
    let bytes = encode(&calls);
    assert!(bytes.len() < (2 << 16) + 1500, "{} bytes", bytes.len());
    assert_eq!(read(&bytes).unwrap().0, calls);
}

#[test]
fn a_reference_is_believed_only_where_bytes_are_equal() {
    // Two pieces that differ in one byte, wherever it is.
    for at in (0..2048).step_by(61) {
        let mut calls = Calls::new(Offset(0));
        let first = noise(2048, 4);
        let mut second = first.clone();
        second[at] ^= 1;
        push(&mut calls, READ, &[3, 64, 1, 32], &[], &[(0, &first)]);
        push(&mut calls, READ, &[3, 64, 1, 32], &[], &[(0, &second)]);
        push(&mut calls, READ, &[3, 64, 1, 32], &[], &[(0, &second)]);
        assert_eq!(read(&encode(&calls)).unwrap().0, calls);
    }
}

#[test]
fn references_point_into_literals_alone() {
    let mut calls = Calls::new(Offset(0));
    let (a, b) = (noise(1024, 1), noise(1024, 2));
    let both = [&a[..], &b].concat();
    for piece in [&a, &b, &both, &both, &a, &b] {
        push(&mut calls, READ, &[3, 64, 1, 32], &[], &[(0, piece)]);
    }
    let mut finder = Finder::default();
    let expected = |at, length, source| Reference { at, length, source };
    assert_eq!(
        finder.find(&calls),
        [
            expected(2048, 2048, 0),
            expected(4096, 2048, 0),
            expected(6144, 1024, 0),
            expected(7168, 1024, 1024),
        ]
    );
    assert_eq!(finder.find(&Calls::new(Offset(0))), []);
}

/// The same in a process that has little memory: what is not there cannot be taken.
#[test]
fn crafted_batches_take_little_memory() {
    const HERE: &str = "batch::tests::crafted_batches_take_little_memory";
    if std::env::var_os("TIMECRAFT_LITTLE_MEMORY").is_some() {
        return crafted_batches();
    }
    let child = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -v 300000; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", HERE, "--test-threads=1"])
        .env("TIMECRAFT_LITTLE_MEMORY", "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("1 passed"), "{child:?}");
}

/// zstd makes 1 GiB of zeros so small.
fn zeros() -> Vec<u8> {
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..1024 {
        std::io::Write::write_all(&mut zstd, &vec![0; 1 << 20]).unwrap();
    }
    zstd.finish().unwrap()
}

fn crafted_batches() {
    let zeros = zeros();
    assert!(zeros.len() < 100_000);
    for stream in 0..STREAMS {
        // As long as it says, and far longer than its records can need.
        Crafted::damage(|c| {
            c.streams[stream] = zeros.clone();
            c.lengths[stream] = Some(1 << 30);
        });
        // Longer than it says.
        Crafted::damage(|c| {
            c.streams[stream] = zeros.clone();
            c.lengths[stream] = Some(40);
        });
    }
    Crafted::damage(|c| c.header.summary.count = MAX_RECORDS as u32);
    Crafted::damage(|c| c.header.ranges = MAX_RANGES as u32);
    Crafted::damage(|c| {
        c.header.literal_bytes = MAX_SECTION as u32;
        c.header.expanded_bytes = MAX_SECTION as u32;
        c.payload = zeros.clone();
    });
    // All agree on what there is no memory for.
    let mut calls = Calls::new(Offset(0));
    push(&mut calls, WRITE, &[1, 2, 3, 4], &[], &[]);
    let mut crafted = Crafted::of(&calls);
    crafted.streams[LAYOUT] = varints(&[MAX_SECTION as u64, 0, 0, 0, 0]);
    crafted.header.literal_bytes = MAX_SECTION as u32;
    crafted.header.expanded_bytes = MAX_SECTION as u32;
    crafted.payload = zeros.clone();
    assert_eq!(
        crafted.read(),
        Err("a section says that it is larger than there is memory")
    );
}

/// Any columns, also such as no recorder makes.
fn any_calls() -> impl Strategy<Value = Calls> {
    let name = prop::sample::select(vec![CLOCK, READ, WRITE, "path_open", "sched_yield"]);
    let bytes = (0_u64..4, 0_usize..1500).prop_map(|(seed, n)| noise(n, seed));
    let writes = prop::collection::vec((any::<u32>(), bytes.clone()), 0..4);
    let call = (
        (name, prop::option::of(any::<u16>())),
        prop::collection::vec(any::<u64>(), 0..10),
        (bytes, 0_usize..3000),
        writes,
        (any::<u64>(), any::<u32>(), any::<u8>(), 0_usize..5),
        any::<bool>(),
    );
    prop::collection::vec(call, 0..40).prop_map(|all| {
        let mut calls = Calls::new(Offset(7));
        for ((name, other), args, (input, consumed), writes, numbers, outs) in all {
            let (start, duration, result, outcome) = numbers;
            let function = id(name);
            let mut writes: Vec<(u64, &[u8])> = writes
                .iter()
                .map(|(at, b)| (u64::from(*at), &b[..]))
                .collect();
            let row = function::by_id(function).unwrap();
            if outs && args.len() >= row.params.len() {
                for &p in row.outs {
                    let function::Kind::Out(scalar) = row.params[p].kind else {
                        unreachable!()
                    };
                    writes.push((args[p], &[0xfe; 8][..scalar.size()]));
                }
            }
            let known = !outs || other.is_none();
            calls.push(&Parts {
                start: ElapsedNs(start),
                duration_ns: u64::from(duration),
                function: if known {
                    function
                } else {
                    FunctionId(other.unwrap())
                },
                outcome: Outcome::ALL[outcome],
                result: u64::from(result),
                args: &args,
                input: &input,
                consumed,
                writes: &writes,
                note: (outcome == 2).then_some("a note"),
            });
        }
        calls
    })
}

/// A change to a batch that keeps its checksums right.
#[derive(Clone, Debug)]
enum Change {
    Byte(usize, usize, u8),
    Insert(usize, usize, u64),
    Cut(usize, usize),
    Length(usize, u32),
    Payload(usize, u8),
    Header(usize, u32),
}

impl Change {
    fn any() -> impl Strategy<Value = Change> {
        use Change::*;
        let at = any::<prop::sample::Index>().prop_map(|i| i.index(1 << 20));
        let number = prop_oneof![any::<u64>(), 0_u64..70, Just(u64::from(u32::MAX))];
        prop_oneof![
            4 => (0..STREAMS, at.clone(), any::<u8>()).prop_map(|(s, at, b)| Byte(s, at, b)),
            2 => (0..STREAMS, at.clone(), number).prop_map(|(s, at, n)| Insert(s, at, n)),
            1 => (0..STREAMS, at.clone()).prop_map(|(s, at)| Cut(s, at)),
            1 => (0..STREAMS, any::<u32>()).prop_map(|(s, n)| Length(s, n)),
            1 => (at, any::<u8>()).prop_map(|(at, b)| Payload(at, b)),
            1 => (0_usize..6, prop_oneof![any::<u32>(), 0_u32..2000]).prop_map(|(f, n)| Header(f, n)),
        ]
    }

    fn apply(&self, c: &mut Crafted) {
        let bounded = |at: usize, length: usize| at % length.max(1);
        match *self {
            Change::Byte(s, at, byte) => {
                let at = bounded(at, c.streams[s].len());
                if let Some(place) = c.streams[s].get_mut(at) {
                    *place = byte;
                }
            }
            Change::Insert(s, at, n) => {
                let at = bounded(at, c.streams[s].len());
                c.streams[s].splice(at..at, varints(&[n]));
            }
            Change::Cut(s, at) => {
                let at = bounded(at, c.streams[s].len());
                c.streams[s].truncate(at);
            }
            Change::Length(s, n) => c.lengths[s] = Some(n),
            Change::Payload(at, byte) => {
                let at = bounded(at, c.payload.len());
                c.payload.insert(at, byte);
            }
            Change::Header(field, n) => {
                let h = &mut c.header;
                match field {
                    0 => h.summary.count = n,
                    1 => h.literal_bytes = n,
                    2 => h.expanded_bytes = n,
                    3 => h.ranges = n,
                    4 => h.summary.last_time = ElapsedNs(u64::from(n)),
                    _ => h.summary.first_time = ElapsedNs(u64::from(n)),
                }
            }
        }
    }
}

/// What reading leaves behind is in proportion to what the header says.
fn is_bounded(calls: &Calls, header: &Header) -> bool {
    let records = header.summary.count as usize;
    calls.args.capacity().max(calls.outs.capacity()) <= MAX_WIDTH * records
        && calls.ranges.capacity() <= header.ranges as usize
        && calls.payload.capacity() <= header.expanded_bytes as usize
        && calls.dropped.len() <= records
}

proptest! {
    #[test]
    fn any_records_come_back(calls in any_calls(), effort in 0_usize..3) {
        let effort = [Effort::Normal, Effort::Fast, Effort::Raw][effort];
        let mut out = Vec::new();
        let open = Open { bytes: &[], back: 0 };
        let mut encoder = Encoder::new(Compression::Zstd).unwrap();
        let header = encoder.encode(&calls, 0, open, effort, &mut out).unwrap();
        let (found, _) = read(&out).unwrap();
        prop_assert_eq!(&found, &calls);
        let summary = Summary {
            calls_bytes: header.summary.calls_bytes,
            payload_bytes: header.summary.payload_bytes,
            ..Summary::of(&calls)
        };
        prop_assert_eq!(header.summary, summary);
    }

    #[test]
    fn crafted_batches_are_read_within_bounds_or_refused(
        calls in any_calls(),
        changes in prop::collection::vec(Change::any(), 1..6),
    ) {
        let mut crafted = Crafted::of(&calls);
        changes.iter().for_each(|change| change.apply(&mut crafted));
        if let Ok(calls) = crafted.read() {
            prop_assert!(is_bounded(&calls, &crafted.header));
            // Whatever was made of it can be looked at.
            for record in calls.iter() {
                let _ = crate::describe::strace(&record);
                let _ = crate::describe::args_json(&record);
            }
        }
    }
}

#[test]
fn layout_keeps_ranges_and_dropped_inputs() {
    let calls = sample();
    let (found, _) = read(&encode(&calls)).unwrap();
    let last = found.get(found.len() - 1).unwrap();
    assert_eq!(last.input, b"some of it");
    let rest = b" was not taken";
    let hash = xxhash_rust::xxh3::xxh3_64(rest);
    let length = rest.len() as u64;
    assert_eq!(last.dropped, Some(Dropped { length, hash }));
    assert_eq!(last.note, Some("no grant holds it"));
    let address = 4096;
    assert_eq!(
        found.ranges[0],
        Range {
            address,
            length: 600
        }
    );
}

//! What a batch costs the packer and readers, against zstd at level 1 on the same payload alone, in
//! turn: so above 1.00 is what columns, checksums and looking for copies cost.
//! `cargo bench -p timecraft-segment --bench batch` prints a line for each workload and effort.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod data;

use std::hint::black_box;
use std::time::Instant;

use data::{median, noise, text};
use timecraft_segment::batch::Effort;
use timecraft_segment::testing::Batches;
use timecraft_segment::{
    Calls, Compression, ElapsedNs, FunctionId, Offset, Outcome, Parts, Projection, function, wasi,
};

const ROUNDS: usize = 31;
/// What a batch holds by default.
const BATCH: usize = 1 << 20;

fn id(name: &str) -> FunctionId {
    function::by_name(wasi::MODULE, name).unwrap().id
}

fn push(calls: &mut Calls, name: &str, args: &[u64], input: &[&[u8]], writes: &[(u64, &[u8])]) {
    let input = input.concat();
    let n = calls.len() as u64;
    calls.push(&Parts {
        start: ElapsedNs(100 * n + n * n % 37),
        duration_ns: 40 + n % 13,
        function: id(name),
        outcome: Outcome::Returned,
        result: 0,
        args,
        input: &input,
        consumed: input.len(),
        writes,
        note: None,
    });
}

fn read(calls: &mut Calls, piece: &[u8]) {
    let size = (piece.len() as u32).to_le_bytes();
    let vector = [[0, 16, 0, 0], size].concat();
    let writes = [(4096, piece), (32, &size[..])];
    push(calls, "fd_read", &[4, 64, 1, 32], &[&vector], &writes);
}

fn write(calls: &mut Calls, piece: &[u8]) {
    let size = (piece.len() as u32).to_le_bytes();
    let vector = [[0, 16, 0, 0], size].concat();
    let input = [&vector[..], piece];
    push(calls, "fd_write", &[5, 64, 1, 32], &input, &[(32, &size)]);
}

fn clock(calls: &mut Calls) {
    let now = 1_000_000_000 + 101 * calls.len() as u64;
    let write: (u64, &[u8]) = (64, &now.to_le_bytes());
    push(calls, "clock_time_get", &[1, 1, 64], &[], &[write]);
}

/// A batch of calls, `each` made of pieces of `size` bytes until it is full.
fn fill(data: &[u8], size: usize, twice: bool, each: impl Fn(&mut Calls, &[u8])) -> Calls {
    let mut calls = Calls::new(Offset(0));
    let data = if twice { &data[..BATCH / 2] } else { data };
    data.chunks_exact(size)
        .for_each(|piece| each(&mut calls, piece));
    calls
}

fn workloads() -> Vec<(&'static str, Calls)> {
    let (noise, text) = (noise(BATCH), text(BATCH));
    let copy = |calls: &mut Calls, piece: &[u8]| {
        read(calls, piece);
        write(calls, piece);
    };
    let mut small = Calls::new(Offset(0));
    for _ in 0..8000 {
        clock(&mut small);
    }
    let mixed = fill(&text[..BATCH / 3], 64, false, |calls, piece| {
        clock(calls);
        write(calls, piece);
    });
    vec![
        ("clock readings", small),
        ("clock, write of 64", mixed),
        ("write of 4 KiB, text", fill(&text, 4096, false, write)),
        ("write of 4 KiB, noise", fill(&noise, 4096, false, write)),
        ("copy by 4 KiB, text", fill(&text, 4096, true, copy)),
        ("copy by 4 KiB, noise", fill(&noise, 4096, true, copy)),
        ("copy by 64 KiB, text", fill(&text, 65536, true, copy)),
        ("copy by 512, text", fill(&text, 512, true, copy)),
    ]
}

/// Seconds that it took.
fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let since = Instant::now();
    black_box(work());
    since.elapsed().as_secs_f64()
}

fn main() {
    println!(
        "{:<22} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "batch", "effort", "us", "/ zstd", "stored", "/ zstd", "decode us", "/ zstd", "columns us"
    );
    let mut alone = zstd::bulk::Compressor::new(1).unwrap();
    // `-- copy` after the command keeps the workloads of that name.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    for (name, calls) in workloads() {
        if !wanted.is_empty() && !wanted.iter().any(|w| name.contains(w)) {
            continue;
        }
        let mut zstd = Vec::with_capacity(2 * calls.payload.len() + 1000);
        for effort in [Effort::Normal, Effort::Fast, Effort::Raw] {
            let mut batches = Batches::new(Compression::Zstd).unwrap();
            let mut out = Vec::new();
            let (mut packed, mut alone_packed) = (Vec::new(), Vec::new());
            let (mut read, mut alone_read, mut columns) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                out.clear();
                packed.push(time(|| batches.encode(&calls, effort, &mut out).unwrap()));
                let payload = &calls.payload[..];
                alone_packed.push(time(|| {
                    alone.compress_to_buffer(payload, &mut zstd).unwrap()
                }));
                read.push(time(|| Batches::decode(&out, Projection::ALL).unwrap()));
                alone_read.push(time(|| {
                    zstd::bulk::decompress(&zstd, payload.len()).unwrap()
                }));
                let wanted = Projection::STARTS
                    .and(Projection::ARGS)
                    .and(Projection::OUTS);
                columns.push(time(|| Batches::decode(&out, wanted).unwrap()));
            }
            let ratio =
                |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
            println!(
                "{name:<22} {:>6} {:>9.0} {:>9.2} {:>9} {:>9.3} {:>9.0} {:>9.2} {:>9.0}",
                format!("{effort:?}"),
                1e6 * median(packed.clone()),
                ratio(&packed, &alone_packed),
                out.len(),
                out.len() as f64 / zstd.len() as f64,
                1e6 * median(read.clone()),
                ratio(&read, &alone_read),
                1e6 * median(columns.clone()),
            );
        }
    }
}

//! Guests that pass what no honest one would: each parameter of each host function at and around its
//! limits, pointers at each other, counts beyond all memory.
//!
//! Whatever a call is given, it returns an `errno` or the guest traps, it is in the log with its
//! arguments, and the log can be read and described. The host neither panics nor waits, and its
//! memory stays bounded. The tests run in processes of their own, with standard streams that are
//! theirs and a memory that can be measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use timecraft_runtime::wasi::Directory;
use timecraft_runtime::{End, Options};
use timecraft_segment::function::{Abi, Kind, WasmType};
use timecraft_segment::{LogOptions, Outcome, Record, Sync, describe, function};

use crate::Machine;
use crate::child::{in_child, peak_memory};
use crate::script::{Call, PAGE, Script};

/// So long may one guest run. It tells a hang from a busy machine, and nothing else.
const HANG: Duration = Duration::from_secs(120);

/// Where valid things lie in the guest's first page; all else is zero. Subscriptions of zeros are
/// to a clock that is due, so that no poll waits wherever it looks.
mod at {
    pub const PATH: u64 = 4096;
    pub const PATH2: u64 = 4112;
    /// Two vectors of 16 bytes each, of memory that is free.
    pub const VECTORS: u64 = 4160;
    /// Vectors that describe themselves, twice.
    pub const VECTORS_OF_THEMSELVES: u64 = 4192;
    /// Vectors that share bytes with each other and with the results.
    pub const VECTORS_OF_RESULTS: u64 = 4208;
    /// Empty vectors at the end of memory and beyond.
    pub const VECTORS_OF_NOTHING: u64 = 4224;
    /// Vectors that are out of bounds.
    pub const VECTORS_TOO_LONG: u64 = 4240;
    pub const VECTORS_TOO_FAR: u64 = 4256;
    /// Vectors of all memory, twice.
    pub const VECTORS_OF_ALL: u64 = 4272;
    pub const SUBSCRIPTIONS: u64 = 4352;
    /// Results, 64 bytes for each parameter.
    pub const RESULTS: u64 = 5120;
    pub const BUFFER: u64 = 12_288;
    /// A pointer to an address of version 1, which is 127.0.0.1.
    pub const ADDRESS: u64 = 4304;
    /// A pointer to a buffer for an address of either version.
    pub const OUT_ADDRESS: u64 = 4312;
}

/// The descriptors that a guest has: its standard streams, its directory, and a file that it
/// opened.
const DIRECTORY: u64 = 3;
const FILE: u64 = 4;
/// Of a module that has sockets.
const SOCKET: u64 = 5;

fn data(memory: u64) -> Vec<u8> {
    let mut data = vec![0; 8192];
    let mut put = |address: u64, bytes: &[u8]| {
        data[address as usize..][..bytes.len()].copy_from_slice(bytes);
    };
    put(at::PATH, b"file");
    put(at::PATH2, b"other");
    for (pointer, address, length) in [(at::ADDRESS, 4320, 4), (at::OUT_ADDRESS, 10_000, 128)] {
        put(pointer, &u32::to_le_bytes(address));
        put(pointer + 4, &u32::to_le_bytes(length));
    }
    put(4320, &[127, 0, 0, 1]);
    let memory = memory as u32;
    let results = at::RESULTS as u32;
    for (address, vectors) in [
        (at::VECTORS, [(8192, 16), (8208, 16)]),
        (at::VECTORS_OF_THEMSELVES, [(4192, 16), (4192, 16)]),
        (
            at::VECTORS_OF_RESULTS,
            [(results, 256), (results + 128, 256)],
        ),
        (at::VECTORS_OF_NOTHING, [(memory, 0), (u32::MAX, 0)]),
        (at::VECTORS_TOO_LONG, [(8192, 16), (0, u32::MAX)]),
        (at::VECTORS_TOO_FAR, [(u32::MAX, 1), (u32::MAX, u32::MAX)]),
        (at::VECTORS_OF_ALL, [(0, memory), (0, memory)]),
    ] {
        for (i, (start, length)) in vectors.into_iter().enumerate() {
            put(address + 8 * i as u64, &u32::to_le_bytes(start));
            put(address + 8 * i as u64 + 4, &u32::to_le_bytes(length));
        }
    }
    data
}

/// Opens the file, and for a function of sockets one that does not wait, since nobody talks to it. The
/// network is refused: nothing here may leave this machine.
fn prelude(f: &function::Function) -> Vec<Call> {
    let mut calls = files();
    if f.abi != Abi::Preview1 {
        calls.push(Call::new("sock_open", &[1, 1, at::RESULTS]));
        calls.push(Call::new("fd_fdstat_set_flags", &[SOCKET, 4]));
    }
    calls
}

fn files() -> Vec<Call> {
    let rights = 0b100_0010;
    let open = |oflags: u64| {
        let args = [
            DIRECTORY,
            0,
            at::PATH,
            4,
            oflags,
            rights,
            rights,
            0,
            at::RESULTS,
        ];
        Call::new("path_open", &args)
    };
    vec![open(1), Call::new("fd_close", &[FILE]), open(1)]
}

/// Arguments with which the function may well succeed.
fn defaults(f: &function::Function) -> Vec<u64> {
    let on_directory = f.name.starts_with("path_")
        || matches!(
            f.name,
            "fd_readdir" | "fd_prestat_get" | "fd_prestat_dir_name"
        );
    let mut args = vec![0; f.params.len()];
    let mut paths = [(at::PATH, 4), (at::PATH2, 5)].into_iter();
    for (i, p) in f.params.iter().enumerate() {
        match p.kind {
            Kind::Fd if on_directory => args[i] = DIRECTORY,
            Kind::Fd if f.abi != Abi::Preview1 => args[i] = SOCKET,
            Kind::Fd => args[i] = FILE,
            Kind::Path { count } | Kind::Text { count } | Kind::InBytes { count } => {
                (args[i], args[count]) = paths.next().unwrap_or((at::PATH, 4));
            }
            Kind::Address => args[i] = at::ADDRESS,
            Kind::OutAddress => args[i] = at::OUT_ADDRESS,
            Kind::InStruct(_) => args[i] = at::BUFFER,
            Kind::ConstIovecs { count } | Kind::Iovecs { count } => {
                (args[i], args[count]) = (at::VECTORS, 2);
            }
            Kind::Subscriptions { count } => (args[i], args[count]) = (at::SUBSCRIPTIONS, 1),
            Kind::OutBytes { count } => {
                args[i] = at::BUFFER;
                if args[count] == 0 {
                    args[count] = 64;
                }
            }
            Kind::OutVariable => args[i] = at::BUFFER + 4096 * i as u64,
            Kind::OutStruct(_) | Kind::Out(_) => args[i] = at::RESULTS + 64 * i as u64,
            // To read and to write.
            Kind::Named(_) if p.ty == WasmType::I64 => args[i] = 0b100_0010,
            Kind::Size
            | Kind::FileSize
            | Kind::FileDelta
            | Kind::Timestamp
            | Kind::Number
            | Kind::Named(_) => {}
        }
    }
    args
}

fn is_pointer(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Fd
            | Kind::Size
            | Kind::FileSize
            | Kind::FileDelta
            | Kind::Timestamp
            | Kind::Number
            | Kind::Named(_)
    )
}

const TOP: u64 = u32::MAX as u64;

/// What a pointer may be in a memory of that size.
fn pointers(memory: u64) -> Vec<u64> {
    let mut all = vec![0, 1, 2, 3, 4, 7, 8, at::PATH, at::VECTORS, at::RESULTS];
    all.extend([16, 8, 4, 2, 1].map(|n| memory - n));
    all.extend([memory, memory + 1, 1 << 31, TOP - 7, TOP]);
    all
}

fn vectors() -> Vec<u64> {
    vec![
        at::VECTORS_OF_THEMSELVES,
        at::VECTORS_OF_RESULTS,
        at::VECTORS_OF_NOTHING,
        at::VECTORS_TOO_LONG,
        at::VECTORS_TOO_FAR,
        at::VECTORS_OF_ALL,
    ]
}

fn counts() -> Vec<u64> {
    let mut all = vec![0, 1, 2, 3, 1024, 1025];
    all.extend([PAGE, PAGE + 1, 1 << 31, TOP - 7, TOP]);
    all
}

/// The values to try of a parameter.
fn values(kind: Kind, ty: WasmType, memory: u64) -> Vec<u64> {
    match kind {
        Kind::Fd => vec![0, 1, 2, DIRECTORY, FILE, 5, 6, 1 << 31, TOP],
        Kind::Size => counts(),
        Kind::ConstIovecs { .. } | Kind::Iovecs { .. } => {
            let mut all = pointers(memory);
            all.extend(vectors());
            all
        }
        kind if is_pointer(kind) => pointers(memory),
        _ => {
            let mut all = vec![0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 0xffff, 0x1_0000];
            all.extend([1 << 31, TOP]);
            if ty == WasmType::I64 {
                all.extend([31, 32, 53, 62].map(|n| (1 << n) + 999_999_999));
                all.extend([i64::MAX as u64, 1 << 63, u64::MAX - 7, u64::MAX]);
            }
            all
        }
    }
}

/// Each parameter in turn at all of its values.
fn one_at_a_time(f: &'static function::Function, memory: u64) -> Vec<Call> {
    let defaults = defaults(f);
    let mut calls = vec![Call {
        function: f,
        args: defaults.clone(),
    }];
    for (i, p) in f.params.iter().enumerate() {
        for value in values(p.kind, p.ty, memory) {
            let mut args = defaults.clone();
            args[i] = value;
            calls.push(Call { function: f, args });
        }
    }
    calls
}

/// Pointers with their lengths, each pair of values.
fn pairs(f: &'static function::Function, pointers: &[u64], counts: &[u64]) -> Vec<Call> {
    let defaults = defaults(f);
    let mut calls = Vec::new();
    for (i, p) in f.params.iter().enumerate() {
        let Some(count) = p.kind.count() else {
            continue;
        };
        for &pointer in pointers {
            for &length in counts {
                let mut args = defaults.clone();
                (args[i], args[count]) = (pointer, length);
                calls.push(Call { function: f, args });
            }
        }
    }
    calls
}

/// Runs all calls, guest after guest, since one that traps ends its guest. Returns how many calls
/// trapped.
fn run_all(machine: &Machine, calls: Vec<Call>) -> usize {
    let directory = machine.directory();
    let script = Script {
        pages: 1,
        data: data(PAGE),
        prelude: prelude(calls[0].function),
        calls,
    };
    let source = script.source();
    let (mut next, mut traps) = (0, 0);
    while next < script.calls.len() {
        let report = machine
            .run_from(&source, next, |o| hostile(o, &directory))
            .unwrap();
        let began = next;
        let mut seen = 0;
        let mut last = Outcome::Returned;
        machine.each_call(&report, |record| {
            assert_eq!(last, Outcome::Returned, "nothing comes after an end");
            last = record.outcome;
            seen += 1;
            if seen > script.prelude.len() {
                check(&script.calls[next], record, PAGE);
                next += 1;
            }
        });
        assert!(next > began, "{:?} was not made", script.calls[began]);
        match &report.end {
            End::Exit(0) if last == Outcome::Returned => assert_eq!(next, script.calls.len()),
            End::Exit(_) => assert_eq!(last, Outcome::Exited),
            End::Trap(_) => {
                assert_eq!(last, Outcome::Trapped, "{:?}", report.end);
                traps += 1;
            }
            other => panic!("{other:?} in {:?}", script.calls[next - 1]),
        }
    }
    traps
}

impl Machine {
    /// The directory that guests get, made if it is not there.
    fn directory(&self) -> PathBuf {
        let directory = self.folder.path().join("data");
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }
}

fn hostile<'a>(options: &mut Options<'a>, directory: &Path) {
    options.args = vec![b"guest".to_vec(), b"argument".to_vec()];
    options.environment = vec![(b"NAME".to_vec(), b"value".to_vec())];
    options.directories = vec![Directory {
        host: directory.to_owned(),
        guest: "/data".to_owned(),
        read_only: false,
    }];
    options.timeout = Some(HANG);
    if let Some(recording) = &mut options.recording {
        recording.log = small_log();
    }
}

fn small_log() -> LogOptions {
    LogOptions {
        batch_bytes: 64 << 10,
        buffers: 2,
        sync: Sync::None,
        ..LogOptions::default()
    }
}

/// What must be true of every call.
fn check(call: &Call, record: &Record<'_>, memory: u64) {
    let f = call.function;
    let line = describe::strace(record);
    assert_eq!(
        (record.function, record.args),
        (f.id, &call.args[..]),
        "{line}"
    );
    assert!(
        line.starts_with(&format!("{}(", f.name)) && line.lines().count() == 1,
        "{line}"
    );
    let json = describe::args_json(record);
    assert!(
        serde_json::from_str::<serde_json::Value>(&json).is_ok_and(|v| v.is_object()),
        "{line}: {json}"
    );
    for write in record.writes() {
        let end = write.address + write.bytes.as_slice().len() as u64;
        assert!(end <= memory, "{line} wrote up to {end:#x}");
    }
    match record.outcome {
        Outcome::Returned => {
            let said = |n: &&str| {
                let resolver = ["is not known to the host", "no address"];
                n.starts_with("not granted")
                    || n.contains("the limit is")
                    || f.abi != Abi::Preview1 && n.starts_with("socket: udp ")
                    || f.name == "sock_getaddrinfo" && resolver.iter().any(|why| n.contains(why))
            };
            assert_eq!(record.note.filter(|n| !said(n)), None);
            assert!(
                record.result == 0 || describe::error_name(record).is_some(),
                "{line}"
            );
            let wrote = (0..f.outs.len()).all(|i| record.out(i).is_some());
            assert!(wrote || record.result != 0, "{line}: a result is missing");
        }
        Outcome::Trapped => {
            let note = record.note.unwrap_or_default();
            assert!(note.starts_with("pointer "), "{line}");
            let defaults = defaults(f);
            let guilty = |(i, p): (usize, &function::Param)| {
                (is_pointer(p.kind) || p.kind == Kind::Size) && call.args[i] != defaults[i]
            };
            assert!(f.params.iter().enumerate().any(guilty), "{line}");
        }
        Outcome::Exited => assert_eq!(f.name, "proc_exit"),
        _ => panic!("{line}"),
    }
}

#[test]
fn every_parameter_at_its_limits() {
    in_child("hostile::every_parameter_at_its_limits", || {
        let machine = Machine::new();
        let (mut before, mut calls, mut traps) = (None, 0, 0);
        for f in function::functions() {
            let mut all = one_at_a_time(f, PAGE);
            all.extend(pairs(f, &[0, PAGE - 8, PAGE, TOP], &[0, 8, PAGE, TOP]));
            calls += all.len();
            traps += run_all(&machine, all);
            before.get_or_insert_with(peak_memory);
        }
        assert!(traps > 300 && calls - traps > 1000, "{traps} of {calls}");
        let grown = peak_memory() - before.unwrap();
        assert!(grown < 64 << 20, "{grown} bytes for guests of 64 KiB");
    });
}

#[test]
fn what_a_call_takes_of_the_host_does_not_grow_with_the_guest() {
    const SIZE: u64 = 1 << 30;
    const HALF: u64 = SIZE / 2;
    /// 1024 vectors of the 512 MiB from the second page on.
    const VECTORS: u64 = 8192;
    const OUT: u64 = at::RESULTS;
    const MIB: usize = 1 << 20;
    let mut data = data(SIZE);
    data.extend([0, 0, 1, 0, 0, 0, 0, 32].repeat(1024));
    // The call, what it returns, and how much of guest memory may be in its record.
    let cases = [
        ("random_get", vec![PAGE, SIZE - PAGE], "EINVAL", 0),
        ("random_get", vec![HALF, 64 << 20], "", 64 * MIB),
        ("fd_write", vec![FILE, VECTORS, TOP, OUT], "", 17 * MIB),
        ("fd_pread", vec![FILE, VECTORS, TOP, 0, OUT], "", 17 * MIB),
        (
            "fd_pwrite",
            vec![FILE, VECTORS, 1024, 1 << 40, OUT],
            "",
            17 * MIB,
        ),
        ("fd_readdir", vec![DIRECTORY, HALF, HALF, 0, OUT], "", MIB),
        (
            "poll_oneoff",
            vec![PAGE, PAGE, 65_537, OUT],
            "EINVAL",
            16 * MIB,
        ),
        ("poll_oneoff", vec![PAGE, HALF, 65_536, OUT], "", 32 * MIB),
        (
            "path_unlink_file",
            vec![DIRECTORY, 0, SIZE],
            "ENAMETOOLONG",
            4096,
        ),
        (
            "path_rename",
            vec![DIRECTORY, 0, SIZE, DIRECTORY, at::PATH, 4],
            "ENAMETOOLONG",
            4096,
        ),
        (
            "path_link",
            vec![DIRECTORY, 0, at::PATH, 4, DIRECTORY, 0, SIZE],
            "ENAMETOOLONG",
            4100,
        ),
        (
            "path_symlink",
            vec![0, SIZE, DIRECTORY, 0, SIZE],
            "ENAMETOOLONG",
            4096,
        ),
    ];
    in_child(
        "hostile::what_a_call_takes_of_the_host_does_not_grow_with_the_guest",
        || {
            let machine = Machine::new();
            let directory = machine.directory();
            let script = Script {
                pages: SIZE / PAGE,
                data,
                prelude: files(),
                calls: cases.iter().map(|c| Call::new(c.0, &c.1)).collect(),
            };
            let source = script.source();
            let report = machine.run_from(&source, 0, |o| hostile(o, &directory));
            let report = report.unwrap();
            assert_eq!(report.end, End::Exit(0));
            let mut seen = 0;
            machine.each_call(&report, |record| {
                seen += 1;
                let Some(i) = usize::checked_sub(seen, script.prelude.len() + 1) else {
                    return;
                };
                check(&script.calls[i], record, SIZE);
                let (_, _, error, most) = &cases[i];
                let line = describe::strace(record);
                assert_eq!(describe::error_name(record).unwrap_or(""), *error, "{line}");
                let written: usize = record.writes().map(|w| w.bytes.as_slice().len()).sum();
                let recorded = record.input.len() + written;
                assert!(recorded <= *most, "{recorded} bytes for {line}");
            });
            assert_eq!(seen, script.prelude.len() + cases.len());
            let peak = peak_memory();
            assert!(peak < HALF, "{peak} bytes for a guest of 1 GiB");
        },
    );
}

#[test]
fn a_guest_that_opens_all_it_can_leaves_enough_to_record_it() {
    in_child(
        "hostile::a_guest_that_opens_all_it_can_leaves_enough_to_record_it",
        || {
            let most = rustix::process::Rlimit {
                current: Some(160),
                maximum: Some(160),
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
            let machine = Machine::new();
            let directory = machine.directory();
            let open = |path, oflags, rights| {
                let args = [
                    DIRECTORY,
                    0,
                    path,
                    1,
                    oflags,
                    rights,
                    rights,
                    0,
                    at::RESULTS,
                ];
                Call::new("path_open", &args)
            };
            // Directories, then files in what is left, then the directories are listed, which takes
            // another descriptor of the host for each.
            let list = |fd| Call::new("fd_readdir", &[fd, at::BUFFER, 64, 0, at::RESULTS]);
            let mut calls = vec![open(at::BUFFER, 0, 0); 20];
            calls.extend(vec![open(at::BUFFER + 1, 1, 2); 200]);
            calls.extend((DIRECTORY..DIRECTORY + 21).map(list));
            // Many segments more: between two of them the log has a descriptor less.
            for _ in 0..200 {
                calls.push(Call::new("random_get", &[0, PAGE]));
                calls.push(open(at::BUFFER + 1, 1, 2));
            }
            let mut data = vec![0; 16_384];
            data[at::BUFFER as usize..][..2].copy_from_slice(b".f");
            let script = Script {
                pages: 1,
                data,
                prelude: Vec::new(),
                calls,
            };
            let source = script.source();
            let report = machine.run_from(&source, 0, |o| {
                hostile(o, &directory);
                let recording = o.recording.as_mut().unwrap();
                recording.log.segment_bytes = 256 << 10;
            });
            let report = report.unwrap();
            assert_eq!(report.end, End::Exit(0));
            assert!(machine.snapshot(&report).segments().len() > 10);
            let (mut opened, mut refused) = (0, 0);
            machine.each_call(&report, |record| {
                match (record.row().unwrap().name, describe::error_name(record)) {
                    ("path_open", None) => opened += 1,
                    ("path_open", Some("EMFILE")) => refused += 1,
                    ("fd_readdir", None | Some("EBADF")) | ("random_get", None) => {}
                    _ => panic!("{}", describe::strace(record)),
                }
            });
            assert_eq!((opened, refused), (44, 376));
        },
    );
}

#[test]
#[ignore = "minutes: each pair of a pointer and a length, on each descriptor"]
fn soak_every_pair_at_its_limits() {
    in_child("hostile::soak_every_pair_at_its_limits", || {
        let machine = Machine::new();
        for f in function::functions() {
            let mut locations = pointers(PAGE);
            locations.extend(vectors());
            let all = pairs(f, &locations, &counts());
            let fd = f.position(|k| k == Kind::Fd);
            let mut calls = Vec::new();
            for number in [0, 1, 2, DIRECTORY, FILE, 5] {
                for call in &all {
                    let mut call = call.clone();
                    if let Some(i) = fd {
                        call.args[i] = number;
                    }
                    calls.push(call);
                }
                if fd.is_none() {
                    break;
                }
            }
            for some in calls.chunks(500) {
                run_all(&machine, some.to_vec());
            }
        }
    });
}

//! Calls at random, made and recorded without an engine: whatever the arguments, the record says all
//! that the host did to guest memory, and can be described.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;
use timecraft_segment::{Record, wasi::errno_name};

use super::*;
use crate::limits::Limits;
use crate::memory::u32_at;
use crate::network::Network;
use crate::trace::Trace;
use crate::wakeup::Wakeup;
use crate::wasi::{Config, Directory};

/// The size of the guest's memory in bytes.
const SIZE: u64 = 65_536;
/// Paths, [`PATH_ROOM`] bytes apart.
const PATHS: u64 = 1024;
const PATH_ROOM: u64 = 16;
/// Vectors of small pieces of memory.
const VECTORS: u64 = 2048;
const VECTOR_COUNT: u64 = 64;

/// The descriptors of directories. Those before are files.
const DIRECTORIES: std::ops::Range<u64> = 2..4;

/// Of a descriptor that does not wait, `fdflags`.
const NONBLOCK: u64 = 1 << 2;

/// Names of a few files, and of what is none.
const NAMES: [&str; 12] = [
    "a", "b", "c", "d", "d/a", "d/", "a/", ".", "..", "../a", "/a", "d/../b",
];

/// A function, what its arguments are made of, and which of them are sound.
type Seed = (usize, [u64; MAX_PARAMS], u16);

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let sound = prop_oneof![2 => Just(u16::MAX), 1 => any::<u16>()];
    let one = (
        0..function::functions().count(),
        any::<[u64; MAX_PARAMS]>(),
        sound,
    );
    prop::collection::vec(one, 1..60)
}

fn call_of(&(number, raw, sound): &Seed) -> (&'static Function, Vec<u64>) {
    let f = function::functions().nth(number).unwrap();
    let mut args: Vec<u64> = vec![0; f.params.len()];
    for (i, p) in f.params.iter().enumerate() {
        args[i] = match p.ty {
            WasmType::I32 => wild(raw[i]),
            WasmType::I64 => raw[i] >> (raw[i] % 64),
        };
    }
    for (i, p) in f.params.iter().enumerate() {
        if sound & 1 << i == 0 {
            continue;
        }
        let pick = |n: u64| raw[i] % n;
        match p.kind {
            Kind::Fd if f.name.starts_with("path_") => args[i] = DIRECTORIES.start + pick(2),
            Kind::Fd => args[i] = pick(DIRECTORIES.end),
            Kind::Address | Kind::OutAddress | Kind::InStruct(_) => args[i] = VECTORS,
            Kind::Path { count } | Kind::Text { count } | Kind::InBytes { count } => {
                let name = pick(NAMES.len() as u64);
                args[i] = PATHS + name * PATH_ROOM;
                args[count] = NAMES[name as usize].len() as u64;
            }
            Kind::Iovecs { count } | Kind::ConstIovecs { count } => {
                args[i] = VECTORS + 8 * pick(VECTOR_COUNT);
                args[count] = pick(8);
            }
            Kind::Subscriptions { count } => (args[i], args[count]) = (8 * pick(8192), pick(5)),
            Kind::OutBytes { count } => (args[i], args[count]) = (pick(SIZE), pick(40)),
            Kind::OutVariable | Kind::OutStruct(_) | Kind::Out(_) => args[i] = 8 * pick(8192),
            Kind::Size => {}
            // To read and to write, where it is rights.
            Kind::Named(_) if p.ty == WasmType::I64 => args[i] = 0b100_0010,
            Kind::Named(names) => {
                let named = names.names.get(pick(2 * names.names.len() as u64) as usize);
                args[i] = named.map_or(0, |(value, _)| *value);
            }
            Kind::Number | Kind::FileSize | Kind::FileDelta | Kind::Timestamp => {
                args[i] = pick(8);
            }
        }
    }
    (f, args)
}

/// Anywhere, but more often in memory and around its end.
fn wild(raw: u64) -> u64 {
    match raw % 4 {
        0 => raw >> 32,
        1 => SIZE - 16 + (raw >> 2) % 32,
        _ => (raw >> 2) % SIZE,
    }
}

fn memory() -> Vec<u8> {
    let mut memory = vec![0; SIZE as usize];
    let mut put = |address: u64, bytes: &[u8]| {
        memory[address as usize..][..bytes.len()].copy_from_slice(bytes);
    };
    for (i, name) in (0..).zip(NAMES) {
        put(PATHS + i * PATH_ROOM, name.as_bytes());
    }
    for i in 0..VECTOR_COUNT {
        // Some share bytes, and some lie where the vectors are.
        put(VECTORS + 8 * i, &(2000 + 37 * i as u32).to_le_bytes());
        put(VECTORS + 8 * i + 4, &(i as u32 % 50).to_le_bytes());
    }
    memory
}

/// What a record says: the writes in order, and the call as text.
#[derive(Clone, Debug, Default)]
struct Said {
    writes: Vec<(u64, Vec<u8>)>,
    strace: String,
    args: String,
}

fn guest(folder: &TempDir, said: &Arc<Mutex<Said>>) -> Guest {
    let wasi = Wasi::new(Config {
        args: vec![b"guest".to_vec()],
        environment: vec![],
        directories: vec![Directory {
            host: folder.path().to_owned(),
            guest: "/data".to_owned(),
            read_only: false,
        }],
        wakeup: Wakeup::new().unwrap(),
        // Nothing is reached: what is random must not leave this machine.
        network: Network::default(),
        resolver_files: true,
        max_descriptors: 1024,
    });
    let said = Arc::clone(said);
    let sink = move |r: &Record<'_>| {
        *said.lock().unwrap() = Said {
            writes: r
                .writes()
                .map(|w| (w.address, w.bytes.as_slice().to_vec()))
                .collect(),
            strace: describe::strace(r),
            args: describe::args_json(r),
        };
    };
    let mut guest = Guest {
        wasi: wasi.unwrap(),
        capture: Capture::new(None, Some(Box::new(Trace::new(Box::new(sink))))),
        limiter: Limiter::new(Limits::default()),
        memory: None,
    };
    // The standard streams are the tests' own; what is opened takes their numbers.
    let mut ok = |name, args: &[u64], memory: &mut [u8]| {
        let f = function::by_name("wasi_snapshot_preview1", name).unwrap();
        assert!(matches!(guest.call(f, &[], args, memory), Ok(0)), "{name}");
    };
    for fd in 0..3 {
        ok("fd_close", &[fd], &mut []);
    }
    for (name, rights) in [(0, 0b100_0010), (1, 0b100_0010), (3, 0)] {
        let path = PATHS + name * PATH_ROOM;
        let args = [3, 0, path, 1, 0, rights, rights, 0, 0];
        ok("path_open", &args, &mut memory());
    }
    guest
}

proptest! {
    #[test]
    fn a_record_says_all_that_a_call_did_to_memory(seeds in seeds()) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), [7; 1000]).unwrap();
        }
        std::os::unix::fs::symlink("a", folder.path().join("c")).unwrap();
        let said = Arc::default();
        let mut guest = guest(&folder, &said);
        let mut memory = memory();
        for (f, mut args) in seeds.iter().map(call_of) {
            if f.name == "fd_fdstat_set_flags" {
                // A socket to which nobody talks would hold who waits.
                args[1] |= NONBLOCK;
            }
            if f.name == "poll_oneoff" {
                // Zeros are clocks that are due: nothing waits.
                let length = args[2].saturating_mul(48);
                if let Some(asked) = memory.get_mut(args[0] as usize..(args[0] + length) as usize) {
                    asked.fill(0);
                }
            }
            let mut expected = memory.clone();
            let inputs: Vec<Input> = Input::of(f).collect();
            let result = guest.call(f, &inputs, &args, &mut memory);
            let said = said.lock().unwrap().clone();
            if let (Ok(0), "sock_open", [.., (_, fd)]) = (&result, f.name, &said.writes[..]) {
                let fd = u64::from(u32_at(fd, 0));
                let f = function::by_name("wasi_snapshot_preview1", "fd_fdstat_set_flags").unwrap();
                prop_assert!(matches!(guest.call(f, &[], &[fd, NONBLOCK], &mut memory), Ok(0)));
            }
            for (address, bytes) in &said.writes {
                expected[*address as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            prop_assert!(expected == memory, "{} did more", said.strace);
            prop_assert!(said.strace.starts_with(f.name), "{}", said.strace);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&said.args).is_ok());
            match result {
                Ok(errno) => prop_assert!(errno_name(errno).is_some(), "{}", said.strace),
                Err(Stop::Trap(why)) => prop_assert!(why.starts_with("pointer "), "{why}"),
                Err(Stop::Exit(_)) => prop_assert_eq!(f.name, "proc_exit"),
                Err(other) => prop_assert!(false, "{}: {other}", said.strace),
            }
        }
    }
}

//! The registry that the `.slt` files query: four processes and two modules.

use std::collections::BTreeMap;

use tempfile::TempDir;
use timecraft_segment::{Ended, LogOptions, ModuleId, ProcessEnd, ProcessStart, Registry};

use crate::guest::{Guest, small_batches, start};

/// The worker's calls, many and in several segments.
pub const CLOCKS: usize = 20_000;
pub const READS: usize = 5_000;
pub const WRITES: usize = 5_000;

pub struct Recordings {
    pub registry: Registry,
    /// The guest that is still running.
    pub live: Guest,
    _folder: TempDir,
}

impl Recordings {
    pub fn new() -> Recordings {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path());
        let module = registry.put_module(&wasm()).unwrap();
        registry.put_module(b"not a module").unwrap();
        worker(&registry, module);
        chat(&registry);
        killed(&registry);
        let live = live(&registry);
        Recordings {
            registry,
            live,
            _folder: folder,
        }
    }
}

/// A module with an import, an export, a name and a producer.
fn wasm() -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in [
        (1, &b"\x01\x60\x00\x00"[..]),
        (2, b"\x01\x16wasi_snapshot_preview1\x0bsched_yield\x00\x00"),
        (5, b"\x01\x00\x01"),
        (7, b"\x01\x06memory\x02\x00"),
        (0, b"\x04name\x00\x06\x05guest"),
        (0, b"\x09producers\x01\x08language\x01\x01C\x0211"),
    ] {
        wasm.push(id);
        wasm.push(u8::try_from(content.len()).unwrap());
        wasm.extend(content);
    }
    wasm
}

fn exited(code: i32) -> ProcessEnd {
    ProcessEnd {
        status: Ended::Exited,
        exit_code: Some(code),
        signal: None,
        trap: None,
        stall_ns: 7,
    }
}

fn worker(registry: &Registry, module_id: ModuleId) {
    let labels = [("env", "prod"), ("team", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let start = ProcessStart {
        name: Some("worker".to_owned()),
        labels: BTreeMap::from(labels),
        args: ["worker.wasm", "--fast"].map(str::to_owned).to_vec(),
        environment: [("HOME", "/"), ("TOKEN", "hunter2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .to_vec(),
        grants: vec!["--dir .::/data".to_owned()],
        module_id,
        ..start(0)
    };
    let mut guest = Guest::new(registry, &start, &small_batches());
    for _ in 0..CLOCKS {
        guest.clock();
    }
    guest.rest();
    guest.open(b"missing.txt", Err((44, "no such file under /data")));
    guest.open(b"caf\xe9", Ok(4));
    for n in 0..READS {
        guest.read(4, &[u8::try_from(n % 251).unwrap(); 100]);
    }
    guest.rename("old", "new");
    for _ in 0..WRITES {
        guest.write(9, b"0123456789");
    }
    guest.close(4);
    guest.exit(3);
    guest.end(&exited(3));
}

fn chat(registry: &Registry) {
    let mut guest = Guest::new(
        registry,
        &ProcessStart {
            name: Some("chat".to_owned()),
            ..start(1)
        },
        &LogOptions::default(),
    );
    guest.write(1, b"hello\nwor");
    guest.write(2, b"oops\n");
    guest.write(1, b"ld\n\nbad \xff byte\n");
    guest.write_fails(1, b"lost\n", 29);
    guest.write_partly(1, b"half\nnot this\n", 5);
    guest.write(1, &[&[b'x'; 70_000][..], b"\n"].concat());
    // Its standard output goes on under another number, and 1 becomes a file.
    guest.renumber(1, 7);
    guest.write(7, b"moved\n");
    guest.open(b"file.txt", Ok(1));
    guest.write(1, b"into a file\n");
    guest.close(2);
    guest.write(2, b"closed\n");
    guest.write(7, b"no newline");
    let trap = Some("wasm trap: unreachable".to_owned());
    guest.end(&ProcessEnd {
        status: Ended::Trapped,
        exit_code: None,
        signal: None,
        trap,
        stall_ns: 0,
    });
}

fn killed(registry: &Registry) {
    let start = ProcessStart {
        parent_process_id: Some(start(0).process_id),
        ..start(2)
    };
    let mut guest = Guest::new(registry, &start, &LogOptions::default());
    guest.clock();
    guest.end(&ProcessEnd {
        status: Ended::Killed,
        exit_code: None,
        signal: Some(15),
        trap: None,
        stall_ns: 0,
    });
}

fn live(registry: &Registry) -> Guest {
    let start = ProcessStart {
        name: Some("live".to_owned()),
        ..start(3)
    };
    let mut guest = Guest::new(registry, &start, &LogOptions::default());
    guest.write(1, b"still\nhere");
    guest.write_hangs(1, b" and waiting\n");
    guest
}

//! What modules are refused and why, what is called in those that are not, and the cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use timecraft_runtime::{End, Error, Source};
use timecraft_segment::FunctionId;

use crate::{Machine, program, text};

const EMPTY: &str = "(module (func (export \"_start\")))";

/// Why a module is refused; nothing of it is in the registry then.
fn refused(wat: &str) -> Error {
    let machine = Machine::new();
    let error = machine.run(wat).unwrap_err();
    assert_eq!(machine.registry.process_ids().unwrap(), []);
    error
}

#[test]
fn a_missing_import_is_named_with_the_nearest_function() {
    let error = refused(
        "(module (import \"wasi_snapshot_preview1\" \"fd_wirte\" (func))
                 (import \"env\" \"main\\1b\" (func)) (func (export \"_start\")))",
    );
    let message = error.to_string();
    assert!(
        message.contains("\"fd_wirte\"") && message.contains("one more"),
        "{message}"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("wasi_snapshot_preview1.fd_write")
    );

    let error = refused("(module (import \"env\" \"\\1b\" (func)) (func (export \"_start\")))");
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
    let error = refused(
        "(module (import \"wasi:cli/stdout@0.2.0\" \"get\" (func)) (func (export \"_start\")))",
    );
    assert!(error.hint().unwrap().contains("WASI 0.2"));
}

#[test]
fn a_wrong_signature_is_told_with_the_right_one() {
    let error = refused(
        "(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func (param i64) (result i32)))
                 (func (export \"_start\")))",
    );
    let Error::ImportSignature {
        expected, found, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(expected.contains("i32") && found.contains("i64"), "{error}");
}

#[test]
fn an_imported_memory_is_refused() {
    let error =
        refused("(module (import \"env\" \"memory\" (memory 1)) (func (export \"_start\")))");
    assert!(
        matches!(error, Error::ImportKind { kind: "memory", .. }),
        "{error}"
    );
}

#[test]
fn components_threads_and_newer_versions_are_refused_with_a_hint() {
    let machine = Machine::new();
    let run = |bytes: &[u8]| {
        let source = Source {
            name: "guest.wasm".to_owned(),
            bytes: bytes.to_vec(),
        };
        machine.run_with(&source, |_| {}).unwrap_err()
    };
    let errors = [
        run(b"\0asm\x0d\0\x01\0"),
        run(b"\0asm\x02\0\0\0"),
        run(b"#!/bin/sh\n"),
        refused("(module (memory (export \"memory\") 1 2 shared) (func (export \"_start\")))"),
    ];
    assert!(matches!(errors[0], Error::Component { .. }));
    assert!(matches!(errors[1], Error::BinaryVersion { version: 2, .. }));
    assert!(matches!(errors[2], Error::NotWasm { .. }));
    assert!(matches!(errors[3], Error::SharedMemory { .. }));
    for error in errors {
        assert!(error.hint().is_some(), "{error}");
        assert!(error.to_string().contains("guest.w"), "{error}");
    }
    assert!(matches!(
        run(b"\0asm\x01\0\0\0\x01\x02\xff\xff"),
        Error::Invalid { .. }
    ));
}

#[test]
fn an_unknown_entry_is_answered_with_the_exports() {
    let error = refused("(module (func (export \"main\")) (func (export \"add\") (param i32)))");
    assert!(
        matches!(&error, Error::NoEntry { exports, .. } if exports[..] == ["main"]),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("--function: \"main\""));
    let error = refused("(module (func (export \"_start\") (param i32)))");
    assert!(matches!(error, Error::EntryParameters { .. }), "{error}");
}

#[test]
fn an_entry_may_have_another_name_and_results() {
    let machine = Machine::new();
    let wat = "(module (func (export \"answer\") (result i32 f64) (i32.const 42) (f64.const 1)))";
    let report = machine
        .run_with(&text(wat), |o| o.entry = "answer".to_owned())
        .unwrap();
    assert_eq!(report.end, End::Exit(0));
    assert_eq!(machine.snapshot(&report).start().entry, "answer");
}

#[test]
fn a_start_section_and_a_reactor_are_invocations_of_their_own() {
    let machine = Machine::new();
    let body = "(func $yield (drop (call $sched_yield)))
        (start $yield)
        (export \"_initialize\" (func $yield)) (export \"_start\" (func $yield))";
    let report = machine.run(&program(&["sched_yield"], body)).unwrap();
    assert_eq!(report.end, End::Exit(0));
    let order: Vec<String> = machine
        .records(&report)
        .iter()
        .map(|r| match r.function {
            FunctionId::START => "start".to_owned(),
            FunctionId::END => "end".to_owned(),
            FunctionId::INVOKE => format!("invoke {}", r.json()["export"].as_str().unwrap()),
            _ => r.name.to_owned(),
        })
        .collect();
    assert_eq!(
        order,
        [
            "start",
            "invoke ",
            "sched_yield",
            "invoke _initialize",
            "sched_yield",
            "invoke _start",
            "sched_yield",
            "end"
        ]
    );

    // Without a start section instantiation is no invocation, and `_initialize` is not called twice.
    let wat = "(module (func (export \"_initialize\")))";
    let report = machine
        .run_with(&text(wat), |o| o.entry = "_initialize".to_owned())
        .unwrap();
    assert_eq!(machine.events(&report, FunctionId::INVOKE).len(), 1);
}

#[test]
fn a_trap_in_the_start_section_is_the_guests() {
    let machine = Machine::new();
    let report = machine
        .run("(module (func $f unreachable) (start $f) (func (export \"_start\")))")
        .unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    assert!(trap.message.contains("unreachable"), "{trap}");
}

#[test]
fn memory_that_begins_beyond_the_limit_is_refused_with_the_flag() {
    let machine = Machine::new();
    let wat = "(module (memory 1) (memory 2) (func (export \"_start\")))";
    let run = |limit| machine.run_with(&text(wat), |o| o.limits.memory_bytes = limit);
    let error = run(3 * 65536 - 1).unwrap_err();
    assert!(
        matches!(
            error,
            Error::InitialMemory {
                needed: 196_608,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--max-memory"));
    assert_eq!(run(3 * 65536).unwrap().end, End::Exit(0));

    let wat = "(module (table 11 funcref) (func (export \"_start\")))";
    let error = machine
        .run_with(&text(wat), |o| o.limits.table_elements = 10)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::InitialTable {
                needed: 11,
                limit: 10
            }
        ),
        "{error}"
    );
}

fn entries(machine: &Machine) -> Vec<PathBuf> {
    fs::read_dir(machine.folder.path().join("cache"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect()
}

#[test]
fn a_damaged_entry_of_the_cache_is_compiled_again_and_replaced() {
    let machine = Machine::new();
    assert_eq!(machine.run(EMPTY).unwrap().end, End::Exit(0));
    let [path] = &entries(&machine)[..] else {
        panic!("one entry")
    };
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let folder = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);

    let good = fs::read(path).unwrap();
    for i in (0..32).chain([good.len() / 2, good.len() - 1]) {
        let mut bad = good.clone();
        bad[i] ^= 1;
        fs::write(path, bad).unwrap();
        assert_eq!(machine.run(EMPTY).unwrap().end, End::Exit(0));
        assert_ne!(
            fs::read(path).unwrap()[i],
            good[i] ^ 1,
            "byte {i} is still damaged"
        );
    }
    assert_eq!(entries(&machine).len(), 1);
}

#[test]
fn text_and_binary_of_a_module_are_one_module() {
    let machine = Machine::new();
    let binary = Source {
        name: "guest.wasm".to_owned(),
        bytes: wat::parse_str(EMPTY).unwrap(),
    };
    let of_text = machine.run(EMPTY).unwrap();
    let of_binary = machine.run_with(&binary, |_| {}).unwrap();
    let id = |report| machine.snapshot(report).start().module_id;
    assert_eq!(id(&of_text), id(&of_binary));
    assert_eq!(machine.registry.module_ids().unwrap(), [id(&of_text)]);
    assert_eq!(machine.registry.module(id(&of_text)).unwrap(), binary.bytes);
    assert_eq!(entries(&machine).len(), 1);
}

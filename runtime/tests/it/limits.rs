//! Each limit on a guest: what is within it works, one more does not, and who looks learns which
//! limit it was and what raises it.

use timecraft_runtime::wasi::Directory;
use timecraft_runtime::{End, Error, LimitReached, Options, Report};
use timecraft_segment::FunctionId;

use crate::{Machine, program, text};

const MFILE: i32 = 33;
const NAMETOOLONG: i32 = 37;

#[track_caller]
fn run<'a>(machine: &'a Machine, wat: &str, change: impl FnOnce(&mut Options<'a>)) -> Report {
    // Lives as long as the options that borrow it.
    let source = Box::leak(Box::new(text(wat)));
    machine.run_with(source, change).unwrap()
}

fn reached(report: &Report) -> Vec<String> {
    report
        .limits_reached
        .iter()
        .map(LimitReached::to_string)
        .collect()
}

/// Exits with 7 if the expression gives -1.
fn exits_if_refused(declarations: &str, grow: &str) -> String {
    let body = format!(
        "{declarations} (func (export \"_start\")
          (if (i32.eq {grow} (i32.const -1)) (then (call $proc_exit (i32.const 7)))))"
    );
    program(&["proc_exit"], &body)
}

#[test]
fn memory() {
    let machine = Machine::new();
    // One page is there already, and so is that of a second memory.
    let wat = exits_if_refused("(memory $m 1)", "(memory.grow $m (i32.const 3))");
    let limited = |bytes| run(&machine, &wat, |o| o.limits.memory_bytes = bytes);
    let report = limited(5 * 65536);
    assert_eq!((&report.end, reached(&report)), (&End::Exit(0), vec![]));
    let report = limited(5 * 65536 - 1);
    assert_eq!(report.end, End::Exit(7));
    let limit = "the limit of 327679 bytes of memory (--max-memory)";
    assert_eq!(reached(&report), [limit]);
    let events = machine.events(&report, FunctionId::GROW_FAILED);
    assert_eq!(events[0]["reason"], limit);
}

/// Objects that the engine collects are memory as well.
#[test]
fn objects() {
    let machine = Machine::new();
    let wat = "(module (memory (export \"memory\") 1) (type $a (array i8))
        (func (export \"_start\") (drop (array.new $a (i32.const 7) (i32.const 10000000)))))";
    let limited = |bytes| run(&machine, wat, |o| o.limits.memory_bytes = bytes);
    assert_eq!(limited(64 << 20).end, End::Exit(0));
    let report = limited(5 << 20);
    assert!(matches!(&report.end, End::Trap(t) if t.message.contains("out of memory")));
    assert_eq!(
        reached(&report),
        ["the limit of 5242880 bytes of memory (--max-memory)"]
    );
}

#[test]
fn tables() {
    let machine = Machine::new();
    let wat = exits_if_refused(
        "(table $t 2 funcref) (table 3 externref)",
        "(table.grow $t (ref.null func) (i32.const 5))",
    );
    let limited = |elements| run(&machine, &wat, |o| o.limits.table_elements = elements);
    assert_eq!(limited(10).end, End::Exit(0));
    let report = limited(9);
    assert_eq!(report.end, End::Exit(7));
    assert_eq!(
        reached(&report),
        ["the limit of 9 elements of tables (--max-table-elements)"]
    );
}

#[test]
fn tables_that_a_module_begins_with_are_counted_together() {
    let machine = Machine::new();
    let source = text("(module (table 6 funcref) (table 5 externref) (func (export \"_start\")))");
    let limited = |elements| machine.run_with(&source, |o| o.limits.table_elements = elements);
    assert_eq!(limited(11).unwrap().end, End::Exit(0));
    let error = limited(10).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the module's tables begin with 11 elements, and the limit is 10"
    );
    assert!(error.hint().unwrap().contains("--max-table-elements"));
}

#[test]
fn the_stack() {
    let machine = Machine::new();
    let wat = "(module (memory (export \"memory\") 1)
        (func $f (param i32) (result i32)
          (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0))))
        (func (export \"_start\") (drop (call $f (i32.const 20000)))))";
    let limited = |bytes| run(&machine, wat, |o| o.limits.stack_bytes = bytes);
    let report = limited(8 << 20);
    assert_eq!((&report.end, reached(&report)), (&End::Exit(0), vec![]));
    let report = limited(64 << 10);
    assert!(matches!(&report.end, End::Trap(t) if t.message.contains("stack exhausted")));
    assert_eq!(
        reached(&report),
        ["the limit of 65536 bytes of stack (--max-stack)"]
    );
    let snapshot = machine.snapshot(&report);
    assert_eq!(snapshot.start().limits.stack_bytes, Some(65536));
}

#[test]
fn a_stack_that_no_thread_can_have_is_refused_with_the_flag() {
    let machine = Machine::new();
    let source = text("(module (func (export \"_start\")))");
    let error = machine
        .run_with(&source, |o| o.limits.stack_bytes = 1 << 60)
        .unwrap_err();
    assert!(matches!(error, Error::Thread { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--max-stack"));
}

/// Opens a path of this length, `file` after many `./`, in the directory 3, and exits with what the
/// last of so many calls returned.
fn opens(length: usize, times: usize) -> String {
    let path = format!("{}file", "./".repeat((length - 4) / 2));
    let path = match length % 2 {
        0 => path,
        _ => path.replacen("./", ".//", 1),
    };
    assert_eq!(path.len(), length);
    let open = format!(
        "(local.set $errno (call $path_open (i32.const 3) (i32.const 0) (i32.const 16)
          (i32.const {length}) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))"
    );
    let body = format!(
        "(data (i32.const 16) \"{path}\")
        (func (export \"_start\") (local $errno i32)
          {}
          (call $proc_exit (local.get $errno)))",
        open.repeat(times)
    );
    program(&["path_open", "proc_exit"], &body)
}

fn with_file(machine: &Machine) -> Directory {
    let host = machine.folder.path().join("files");
    std::fs::create_dir_all(&host).unwrap();
    std::fs::write(host.join("file"), "content").unwrap();
    Directory {
        host,
        guest: "/".to_owned(),
        read_only: true,
    }
}

#[test]
fn open_descriptors() {
    let machine = Machine::new();
    let limited = |opened, limit| {
        run(&machine, &opens(4, opened), |o| {
            o.directories = vec![with_file(&machine)];
            o.limits.open_files = Some(limit);
        })
    };
    // The standard streams and the directory are among them.
    let report = limited(6, 10);
    assert_eq!((&report.end, reached(&report)), (&End::Exit(0), vec![]));
    let report = limited(7, 10);
    assert_eq!(report.end, End::Exit(MFILE));
    let limit = "the limit of 10 open descriptors (--max-open-files)";
    assert_eq!(reached(&report), [limit]);
    let calls = machine.calls(&report);
    assert_eq!(calls[6].note.as_deref(), Some(limit));
    assert_eq!(
        machine.snapshot(&report).start().limits.open_files,
        Some(10)
    );
}

#[test]
fn more_descriptors_than_the_system_has_are_refused_with_the_flag() {
    let machine = Machine::new();
    let source = text("(module (func (export \"_start\")))");
    let error = machine
        .run_with(&source, |o| o.limits.open_files = Some(u32::MAX))
        .unwrap_err();
    assert!(matches!(error, Error::OpenFiles { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--max-open-files"));
}

#[test]
fn paths() {
    let machine = Machine::new();
    let open = |length| {
        run(&machine, &opens(length, 1), |o| {
            o.directories = vec![with_file(&machine)];
        })
    };
    assert_eq!(open(4095).end, End::Exit(0));
    let report = open(4096);
    assert_eq!(report.end, End::Exit(NAMETOOLONG));
    let calls = machine.calls(&report);
    assert_eq!(
        calls[0].note.as_deref(),
        Some("a path of 4096 bytes, and the limit is 4095")
    );
}

#[test]
fn arguments_and_environment() {
    const LIMIT: usize = 8 << 20;
    let machine = Machine::new();
    let source = text("(module (func (export \"_start\")))");
    // The zero byte at the end counts.
    let args = |bytes| machine.run_with(&source, |o| o.args = vec![vec![b'x'; bytes - 1]]);
    assert_eq!(args(LIMIT).unwrap().end, End::Exit(0));
    let error = args(LIMIT + 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the guest's command line takes 8388609 bytes, and the limit is 8388608"
    );
    assert!(error.hint().unwrap().contains("standard input"));
    // So does the sign between name and value.
    let environment = |bytes| {
        machine.run_with(&source, |o| {
            o.environment = vec![(b"A".to_vec(), vec![b'x'; bytes - 3])];
        })
    };
    assert_eq!(environment(LIMIT).unwrap().end, End::Exit(0));
    assert!(environment(LIMIT + 1).is_err());
}

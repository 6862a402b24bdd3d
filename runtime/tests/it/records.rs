//! That what a guest did, and what happened to it, is what the log says.

use std::sync::{Arc, Mutex};

use timecraft_runtime::End;
use timecraft_segment::{FunctionId, Outcome, describe};

use crate::{Machine, program, text};

/// Writes `hello` and a newline to descriptor 1, from two pieces.
const HELLO: &str =
    "(data (i32.const 0) \"\\40\\00\\00\\00\\03\\00\\00\\00\\50\\00\\00\\00\\03\\00\\00\\00\")
    (data (i32.const 64) \"hel\") (data (i32.const 80) \"lo\\0a\")
    (func (export \"_start\")
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 128))))";

#[test]
fn a_write_is_recorded_with_its_bytes_and_its_result() {
    let machine = Machine::new();
    let report = machine.run(&program(&["fd_write"], HELLO)).unwrap();
    assert_eq!(report.end, End::Exit(0));
    let calls = machine.calls(&report);
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(
        (call.name, call.outcome, call.result),
        ("fd_write", Outcome::Returned, 0)
    );
    assert_eq!(call.args, [1, 0, 2, 128]);
    let vectors = b"\x40\0\0\0\x03\0\0\0\x50\0\0\0\x03\0\0\0";
    assert_eq!(call.input, [&vectors[..], b"hello\n"].concat());
    assert_eq!(call.writes, [(128, 6u32.to_le_bytes().to_vec())]);
}

#[test]
fn the_log_has_the_calls_that_were_made_and_no_others() {
    let machine = Machine::new();
    let body = "(func (export \"_start\") (local i32)
        (loop
          (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 8)))
          (drop (call $sched_yield))
          (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 20000)))))";
    let source = text(&program(&["clock_time_get", "sched_yield"], body));
    let report = machine
        .run_with(&source, |o| {
            // Small buffers, so that they fill and are recycled under the guest.
            o.recording.as_mut().unwrap().log.batch_bytes = 64 << 10;
        })
        .unwrap();
    let calls = machine.calls(&report);
    assert_eq!(calls.len(), 40_000);
    assert!(
        calls
            .chunks(2)
            .all(|c| c[0].name == "clock_time_get" && c[1].name == "sched_yield")
    );
    assert!(
        calls
            .iter()
            .all(|c| c.outcome == Outcome::Returned && c.result == 0)
    );
    let time = |i: usize| u64::from_le_bytes(calls[i].writes[0].1[..].try_into().unwrap());
    assert!((2..40_000).step_by(2).all(|i| time(i - 2) <= time(i)));
}

#[test]
fn the_start_says_all_that_a_replay_needs() {
    let machine = Machine::new();
    let data = machine.folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let source = text("(module (func (export \"_start\")))");
    let report = machine
        .run_with(&source, |o| {
            o.args = vec![b"guest".to_vec(), b"\xff".to_vec()];
            o.environment = vec![(b"KEY".to_vec(), b"value".to_vec())];
            o.directories = vec![timecraft_runtime::wasi::Directory {
                host: data.clone(),
                guest: "/data".to_owned(),
                read_only: true,
            }];
            o.limits.memory_bytes = 1 << 20;
            let recording = o.recording.as_mut().unwrap();
            recording.name = Some("name".to_owned());
            recording.labels.insert("k".to_owned(), "v".to_owned());
            let seen = Arc::clone(&seen);
            recording.on_start = Some(Box::new(move |id| *seen.lock().unwrap() = Some(id)));
        })
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), report.process_id);
    let snapshot = machine.snapshot(&report);
    let start = snapshot.start();
    assert_eq!(start.process_id, report.process_id.unwrap());
    assert_eq!(start.args, ["guest", "\\xff"]);
    assert_eq!(start.environment, [("KEY".to_owned(), "value".to_owned())]);
    assert_eq!(
        start.grants,
        [format!("--dir {}::/data:ro", data.display())]
    );
    assert_eq!((start.preopens.len(), start.preopens[0].fd), (1, 3));
    assert_eq!(start.name.as_deref(), Some("name"));
    assert_eq!(start.labels["k"], "v");
    assert_eq!(start.module_name, "guest.wat");
    assert_eq!(start.limits.memory_bytes, Some(1 << 20));
    assert_eq!(start.engine.settings["nan_canonicalization"], "true");
}

#[test]
fn a_growth_beyond_the_limit_fails_in_the_guest_and_is_an_event() {
    let machine = Machine::new();
    // Two growths that succeed, then one that does not; the guest exits with 7 if it saw -1.
    let body = "(func (export \"_start\")
        (drop (memory.grow (i32.const 1)))
        (drop (memory.grow (i32.const 1)))
        (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1))
          (then (call $proc_exit (i32.const 7)))))";
    let source = text(&program(&["proc_exit"], body));
    let report = machine
        .run_with(&source, |o| o.limits.memory_bytes = 4 * 65536)
        .unwrap();
    assert_eq!(report.end, End::Exit(7));
    let events = machine.events(&report, FunctionId::GROW_FAILED);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["what"], "memory");
    assert_eq!(events[0]["ordinal"], 3);
    assert_eq!(events[0]["current"], 3 * 65536);
    assert_eq!(events[0]["desired"], 103 * 65536);
}

#[test]
fn a_tables_growth_is_limited_like_a_memorys() {
    let machine = Machine::new();
    let body = "(table 1 funcref)
        (func (export \"_start\")
          (if (i32.eq (table.grow (ref.null func) (i32.const 10)) (i32.const -1))
            (then (call $proc_exit (i32.const 7)))))";
    let source = text(&program(&["proc_exit"], body));
    let report = machine
        .run_with(&source, |o| o.limits.table_elements = 10)
        .unwrap();
    assert_eq!(report.end, End::Exit(7));
    let events = machine.events(&report, FunctionId::GROW_FAILED);
    assert_eq!(
        (&events[0]["what"], &events[0]["ordinal"]),
        (&"table".into(), &1.into())
    );
}

#[test]
fn a_trace_shows_the_calls_that_the_log_has() {
    let machine = Machine::new();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let source = text(&program(&["fd_write"], HELLO));
    let trace = |lines: &Arc<Mutex<Vec<(u64, String)>>>| {
        let lines = Arc::clone(lines);
        Some(Box::new(move |r: &timecraft_segment::Record<'_>| {
            lines
                .lock()
                .unwrap()
                .push((r.offset.0, describe::strace(r)));
        }) as timecraft_runtime::trace::Sink)
    };
    let report = machine
        .run_with(&source, |o| o.trace = trace(&lines))
        .unwrap();
    let recorded = std::mem::take(&mut *lines.lock().unwrap());
    assert_eq!(recorded.len(), 1);
    assert!(recorded[0].1.starts_with("fd_write(1, "), "{recorded:?}");
    assert_eq!(recorded[0].0, machine.calls(&report)[0].offset);

    // Flying blind the trace is the same, numbered from 0.
    let report = machine
        .run_with(&source, |o| {
            o.recording = None;
            o.trace = trace(&lines);
        })
        .unwrap();
    assert_eq!((&report.end, report.process_id), (&End::Exit(0), None));
    assert_eq!(*lines.lock().unwrap(), [(0, recorded[0].1.clone())]);
}

#[test]
fn a_blind_guest_behaves_the_same_and_leaves_nothing() {
    let machine = Machine::new();
    let body = "(func (export \"_start\")
        (drop (call $fd_write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 0))))";
    let source = text(&program(&["fd_write"], body));
    let blind = machine.run_with(&source, |o| o.recording = None).unwrap();
    assert_eq!(machine.registry.process_ids().unwrap(), []);
    assert!(!machine.registry.root().exists());
    let recorded = machine.run_with(&source, |_| {}).unwrap();
    assert_eq!(blind.end, recorded.end);
}

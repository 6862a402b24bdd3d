//! How guests end, and that the log says the same.

use std::thread;
use std::time::{Duration, Instant};

use timecraft_runtime::{Cause, End, Interrupter};
use timecraft_segment::{Ended, FunctionId, LogState, Outcome};

use crate::{Machine, program, text};

const LOOP: &str =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))";

/// Long enough for a busy machine, short enough to see that nothing waits for it.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn returning_is_exit_0() {
    let machine = Machine::new();
    let report = machine
        .run(&program(&[], "(func (export \"_start\"))"))
        .unwrap();
    assert_eq!(report.end, End::Exit(0));
    let snapshot = machine.snapshot(&report);
    assert_eq!(snapshot.state(), LogState::Ended);
    let end = snapshot.end().unwrap();
    assert_eq!((end.status, end.exit_code), (Ended::Exited, Some(0)));
}

#[test]
fn an_exit_code_is_the_guests() {
    let machine = Machine::new();
    let body = "(func (export \"_start\") (call $proc_exit (i32.const 3)) unreachable)";
    let report = machine.run(&program(&["proc_exit"], body)).unwrap();
    assert_eq!(report.end, End::Exit(3));
    let calls = machine.calls(&report);
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].name, calls[0].outcome, &calls[0].args[..]),
        ("proc_exit", Outcome::Exited, &[3][..])
    );
    assert_eq!(machine.snapshot(&report).end().unwrap().exit_code, Some(3));
}

#[test]
fn a_trap_names_its_functions() {
    let machine = Machine::new();
    let body = "(func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
                (func (export \"_start\") (drop (call $divide (i32.const 0))))";
    let report = machine.run(&program(&[], body)).unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    assert_eq!(trap.message, "wasm trap: integer divide by zero");
    assert!(trap.backtrace[0].contains("divide"), "{trap}");
    assert_eq!(trap.backtrace.len(), 2, "{trap}");
    let snapshot = machine.snapshot(&report);
    let end = snapshot.end().unwrap();
    assert_eq!(end.status, Ended::Trapped);
    assert_eq!(end.trap.as_deref(), Some(trap.to_string().as_str()));
}

#[test]
fn what_a_guest_calls_its_functions_is_shown_escaped() {
    let machine = Machine::new();
    // The name section is given in the text format as an annotation of the identifier.
    let wat =
        "(module (func $f (@name \"\\1b[31mred\") unreachable) (export \"_start\" (func $f)))";
    let report = machine.run(wat).unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    assert!(!trap.to_string().contains('\u{1b}'), "{trap:?}");
    assert!(trap.to_string().contains("u{1b}[31mred"), "{trap:?}");
}

#[test]
fn endless_recursion_is_a_trap_of_the_guest() {
    let machine = Machine::new();
    let report = machine
        .run("(module (func $f (export \"_start\") (call $f)))")
        .unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    assert_eq!(trap.message, "wasm trap: call stack exhausted");
}

#[test]
fn a_bad_pointer_traps_in_the_call_and_the_call_is_recorded() {
    let machine = Machine::new();
    let body = "(func (export \"_start\")
        (drop (call $fd_write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 0))))";
    let report = machine.run(&program(&["fd_write"], body)).unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    let calls = machine.calls(&report);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].outcome, Outcome::Trapped);
    assert_eq!(calls[0].input, b"", "nothing of the array could be read");
    assert_eq!(calls[0].note.as_deref(), Some(trap.message.as_str()));
}

#[test]
fn a_call_without_a_memory_traps_and_is_recorded() {
    let machine = Machine::new();
    let wat = "(module
        (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))
        (func (export \"_start\") (drop (call $yield))))";
    let report = machine.run(wat).unwrap();
    let End::Trap(trap) = &report.end else {
        panic!("{:?}", report.end)
    };
    assert_eq!(trap.message, "missing required memory export");
    assert_eq!(machine.calls(&report)[0].outcome, Outcome::Trapped);
}

/// Interrupts a guest from another thread once it has started.
fn interrupted(machine: &Machine, wat: &str, cause: Cause) -> timecraft_runtime::Report {
    let (started, has_started) = std::sync::mpsc::channel();
    let interrupter = Interrupter::new().unwrap();
    let source = text(wat);
    thread::scope(|scope| {
        let handle = interrupter.clone();
        scope.spawn(move || {
            has_started.recv().unwrap();
            thread::sleep(Duration::from_millis(50));
            assert!(handle.interrupt(cause));
            // Only the first cause counts.
            handle.interrupt(Cause::Signal(9));
        });
        machine
            .run_with(&source, |options| {
                options.interrupter = interrupter.clone();
                options.recording.as_mut().unwrap().on_start =
                    Some(Box::new(move |_| started.send(()).unwrap()));
            })
            .unwrap()
    })
}

#[test]
fn a_busy_loop_is_interrupted_from_another_thread() {
    let machine = Machine::new();
    let report = interrupted(&machine, LOOP, Cause::Signal(15));
    assert_eq!(report.end, End::Signal(15));
    let events = machine.events(&report, FunctionId::INTERRUPT);
    assert_eq!(
        events,
        [serde_json::json!({"cause": "signal", "signal": 15})]
    );
    let snapshot = machine.snapshot(&report);
    let end = snapshot.end().unwrap();
    assert_eq!((end.status, end.signal), (Ended::Killed, Some(15)));
}

#[test]
fn a_call_that_waits_is_interrupted_from_another_thread() {
    let machine = Machine::new();
    // A subscription to the monotonic clock in an hour.
    let body = "(data (i32.const 16) \"\\01\")
        (func (export \"_start\")
          (i64.store (i32.const 24) (i64.const 3600000000000))
          (drop (call $poll_oneoff (i32.const 0) (i32.const 104) (i32.const 1) (i32.const 200))))";
    let began = Instant::now();
    let report = interrupted(&machine, &program(&["poll_oneoff"], body), Cause::Signal(2));
    assert_eq!(report.end, End::Signal(2));
    assert!(began.elapsed() < LONG);
    let calls = machine.calls(&report);
    assert_eq!((calls.len(), calls[0].outcome), (1, Outcome::Interrupted));
    assert_eq!(calls[0].input.len(), 48);
}

#[test]
fn a_timeout_ends_a_guest() {
    let machine = Machine::new();
    let began = Instant::now();
    let report = machine
        .run_with(&text(LOOP), |o| o.timeout = Some(Duration::from_millis(50)))
        .unwrap();
    assert_eq!(report.end, End::Timeout);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        machine.events(&report, FunctionId::INTERRUPT),
        [serde_json::json!({"cause": "timeout"})]
    );
    let snapshot = machine.snapshot(&report);
    let end = snapshot.end().unwrap();
    assert_eq!((end.status, end.signal), (Ended::Killed, None));
}

#[test]
fn a_guest_that_is_faster_than_its_timeout_does_not_wait_for_it() {
    let machine = Machine::new();
    let began = Instant::now();
    let source = text("(module (func (export \"_start\")))");
    let report = machine
        .run_with(&source, |o| o.timeout = Some(Duration::from_secs(3600)))
        .unwrap();
    assert_eq!(report.end, End::Exit(0));
    assert!(began.elapsed() < LONG);
}

#[test]
fn an_interrupt_before_the_start_ends_the_guest_at_once() {
    let machine = Machine::new();
    let interrupter = Interrupter::new().unwrap();
    assert!(
        !interrupter.interrupt(Cause::Signal(2)),
        "no guest has started"
    );
    let report = machine
        .run_with(&text(LOOP), |o| o.interrupter = interrupter)
        .unwrap();
    assert_eq!(report.end, End::Signal(2));
    assert!(machine.calls(&report).is_empty());
}

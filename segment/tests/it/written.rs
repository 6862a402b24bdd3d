//! Logs that ended.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use timecraft_segment::testing::process_start;
use timecraft_segment::{
    Compression, Error, FunctionId, LogOptions, LogState, Outcome, Projection, Recorder, describe,
    text,
};

use crate::support::{Log, clock_time_get, exited, fd_write, id, small};

#[test]
fn a_log_begins_with_its_start_and_ends_with_its_end() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions::default());
    fd_write(&mut recorder, 1, b"hello", 5);
    recorder.close(&exited(3)).unwrap();

    let (snapshot, all) = log.read(process);
    assert_eq!(snapshot.state(), LogState::Ended);
    assert_eq!(snapshot.end().unwrap().exit_code, Some(3));
    assert_eq!(snapshot.start().process_id, process);
    let functions: Vec<FunctionId> = all.iter().flat_map(|c| c.functions.clone()).collect();
    assert_eq!(
        functions,
        [FunctionId::START, id("fd_write"), FunctionId::END]
    );
    let record = all[0].get(1).unwrap();
    assert_eq!(describe::sent(&record), Some(&b"hello"[..]));
    assert_eq!(describe::bytes(&record), Some(5));
    assert_eq!(
        describe::strace(&record),
        r#"fd_write(1, [{"hello", 5}]) = 0 {nwritten: 5}"#
    );
    assert_eq!(
        describe::args_json(&record),
        r#"{"fd":1,"iovs":[5],"nwritten":5}"#
    );
    let tail = log.registry.process_folder(process).join("tail");
    assert!(!tail.exists(), "a sealed log has no tail");
}

#[test]
fn input_that_the_host_did_not_take_is_kept_as_length_and_hash() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    let offered = vec![7; 100_000];
    fd_write(&mut recorder, 1, &offered, 10);
    recorder.close(&exited(0)).unwrap();
    let (_, all) = log.read(process);
    let record = all
        .iter()
        .flat_map(|c| c.iter())
        .find(|r| r.function == id("fd_write"))
        .unwrap();
    assert_eq!(record.input.len(), 8 + 10);
    assert_eq!(record.dropped.unwrap().length, 99_990);
    assert!(
        describe::strace(&record).contains("100000}]"),
        "the guest offered it"
    );
}

#[test]
fn a_record_larger_than_the_whole_tail_comes_back_whole() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    let large: Vec<u8> = (0..300_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for _ in 0..3 {
        clock_time_get(&mut recorder, 1);
        fd_write(&mut recorder, 4, &large, large.len());
        recorder.begin(id("fd_read"), &[4, 0, 1, 16]).unwrap();
        recorder.publish().unwrap();
        recorder.write(4096, &large);
        recorder.note("why not");
        recorder.finish(Outcome::Returned, 0).unwrap();
    }
    recorder.close(&exited(0)).unwrap();
    let (snapshot, all) = log.read(process);
    assert!(snapshot.segments().len() > 1);
    let records: Vec<_> = all.iter().flat_map(|c| c.iter()).collect();
    assert_eq!(records.len(), 2 + 9);
    for r in records.iter().filter(|r| r.function == id("fd_write")) {
        assert_eq!(describe::sent(r).unwrap(), large);
    }
    for r in records.iter().filter(|r| r.function == id("fd_read")) {
        let writes: Vec<_> = r.writes().collect();
        assert_eq!((writes.len(), writes[0].address), (1, 4096));
        assert_eq!(writes[0].bytes.as_slice(), large);
        assert_eq!(r.note, Some("why not"));
    }
}

#[test]
fn segments_rotate_and_each_knows_its_descriptors() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    recorder
        .begin(id("path_open"), &[3, 0, 64, 5, 0, 0, 0, 0, 32])
        .unwrap();
    recorder.input(b"a.txt");
    recorder.publish().unwrap();
    recorder.write(32, &7_u32.to_le_bytes());
    recorder.finish(Outcome::Returned, 0).unwrap();
    for i in 0..400 {
        fd_write(
            &mut recorder,
            7,
            format!("{i}: {}", "x".repeat(i % 50)).as_bytes(),
            3,
        );
        recorder.begin(id("random_get"), &[0, 200]).unwrap();
        recorder.publish().unwrap();
        let noise: Vec<u8> = (0..200_u64)
            .map(|b| ((b * i as u64 * 2_654_435_761) >> 13) as u8)
            .collect();
        recorder.write(0, &noise);
        recorder.finish(Outcome::Returned, 0).unwrap();
    }
    recorder.close(&exited(0)).unwrap();
    let (snapshot, _) = log.read(process);
    assert!(
        snapshot.segments().len() >= 3,
        "{} segments",
        snapshot.segments().len()
    );
    let last = timecraft_segment::file::SegmentReader::open(&snapshot.segments()[2].path).unwrap();
    let open = &last.header().descriptors;
    assert!(
        open.iter().any(|d| d.fd == 7 && d.path == "/data/a.txt"),
        "{open:?}"
    );
    assert!(snapshot.segments().iter().all(|s| s.sealed));

    let middle = snapshot.segments()[1].first_offset;
    let from = snapshot.chunks_from(middle.plus(1));
    assert_eq!(from[0].summary().first_offset, middle);
    let time = from[0].summary().last_time;
    assert!(snapshot.chunks_since(time)[0].summary().last_time >= time);
}

#[test]
fn summaries_let_a_reader_skip() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions::default());
    fd_write(&mut recorder, 5, b"x", 1);
    recorder.begin(id("fd_close"), &[9]).unwrap();
    recorder.publish().unwrap();
    recorder.finish(Outcome::Returned, 8).unwrap();
    recorder.close(&exited(0)).unwrap();
    let (snapshot, _) = log.read(process);
    let summary = snapshot.chunks()[0].summary();
    assert_eq!(summary.fds, Some((5, 9)));
    assert!(summary.any_failed);
    assert!(summary.may_have_function(id("fd_close")));
    assert!(!summary.may_have_function(id("path_open")));
    assert!(!summary.may_have_fd(4) && summary.may_have_fd(9));
    let calls = snapshot.chunks()[0].read(Projection::RESULTS).unwrap();
    assert_eq!(calls.results, [0, 0, 8, 0]);
    assert!(calls.payload.is_empty() && calls.starts.is_empty());
}

#[test]
fn files_are_private_and_a_registry_that_does_not_exist_is_empty() {
    let log = Log::new();
    assert!(log.registry.process_ids().unwrap().is_empty());
    assert!(log.registry.module_ids().unwrap().is_empty());
    let (process, recorder) = log.record(&LogOptions::default());
    let folder = log.registry.process_folder(process);
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("tail")), 0o600);
    assert_eq!(mode(&folder.join("00000000.seg")), 0o600);
    let module = log.registry.put_module(b"\0asm\x01\0\0\0").unwrap();
    assert_eq!(log.registry.module(module).unwrap(), b"\0asm\x01\0\0\0");
    assert_eq!(log.registry.module_ids().unwrap(), [module]);
    drop(recorder);
    assert_eq!(
        log.read(process).0.end().unwrap().status,
        timecraft_segment::Ended::Lost
    );
}

#[test]
fn processes_are_found_by_what_people_call_them() {
    let log = Log::new();
    let mut ids = Vec::new();
    for name in [None, Some("web"), Some("web")] {
        let start = timecraft_segment::ProcessStart {
            name: name.map(str::to_owned),
            ..process_start()
        };
        let recorder = Recorder::create(&log.registry, &start, &small()).unwrap();
        recorder.close(&exited(0)).unwrap();
        ids.push(start.process_id);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let find = |s: &str| log.registry.find(s);
    assert_eq!(log.registry.process_ids().unwrap(), ids);
    assert_eq!(find("latest").unwrap(), ids[2]);
    assert_eq!(find("web").unwrap(), ids[2], "the latest of that name");
    let text = ids[0].to_string();
    assert_eq!(find(&text).unwrap(), ids[0]);
    assert_eq!(find(&text[24..]).unwrap(), ids[0]);
    assert!(matches!(find("nobody"), Err(Error::NoSuchProcess { .. })));
    assert!(matches!(
        find("0"),
        Err(Error::AmbiguousProcess { .. } | Error::NoSuchProcess { .. })
    ));
    let between = |from, to| log.registry.process_ids_between(from, to).unwrap();
    assert_eq!(between(Some(ids[1].time()), None), ids[1..]);
    assert_eq!(between(None, Some(ids[1].time())), ids[..2]);
}

#[test]
fn options_out_of_range_say_what_they_may_be() {
    let log = Log::new();
    let options = LogOptions {
        batch_bytes: 10,
        ..LogOptions::default()
    };
    let error = Recorder::create(&log.registry, &process_start(), &options)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the batch size is 10, and must be between 4 KiB and 256 MiB"
    );
}

/// A call of the generated recordings below.
#[derive(Clone, Debug)]
struct Call {
    function: usize,
    args: [u32; 9],
    input: Vec<u8>,
    writes: Vec<(u32, Vec<u8>)>,
    outs: bool,
    result: u8,
    consumed: Option<usize>,
    note: String,
}

fn call() -> impl Strategy<Value = Call> {
    (
        1_usize..47,
        any::<[u32; 9]>(),
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(
            (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..200)),
            0..6,
        ),
        any::<bool>(),
        0_u8..77,
        proptest::option::of(0_usize..300),
        "[a-z]{0,8}",
    )
        .prop_map(
            |(function, args, input, writes, outs, result, consumed, note)| Call {
                function,
                args,
                input,
                writes,
                outs,
                result,
                consumed,
                note,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_calls_come_back_as_they_were_recorded(
        calls in proptest::collection::vec(call(), 1..120),
        zstd: bool,
    ) {
        let log = Log::new();
        let compression = if zstd { Compression::Zstd } else { Compression::None };
        let (process, mut recorder) = log.record(&LogOptions { compression, ..small() });
        let mut expected = Vec::new();
        for call in &calls {
            let row = timecraft_segment::function::by_id(FunctionId(call.function as u16)).unwrap();
            let args: Vec<u64> = call.args[..row.params.len()].iter().map(|&a| u64::from(a)).collect();
            recorder.begin(row.id, &args).unwrap();
            recorder.input(&call.input);
            recorder.publish().unwrap();
            let mut writes: Vec<(u64, Vec<u8>)> =
                call.writes.iter().map(|(a, b)| (u64::from(*a), b.clone())).collect();
            if call.outs {
                for &p in row.outs {
                    let timecraft_segment::function::Kind::Out(scalar) = row.params[p].kind else {
                        unreachable!()
                    };
                    writes.push((args[p], args[p].to_le_bytes()[..scalar.size()].to_vec()));
                }
            }
            for (address, bytes) in &writes {
                recorder.write(*address, bytes);
            }
            if let Some(n) = call.consumed {
                recorder.consumed(n);
            }
            recorder.note(&call.note);
            recorder.finish(Outcome::Returned, u64::from(call.result)).unwrap();
            expected.push((row.id, args, writes));
        }
        recorder.close(&exited(0)).unwrap();

        let (snapshot, all) = log.read(process);
        let records: Vec<_> = all
            .iter()
            .flat_map(|c| c.iter())
            .filter(|r| !r.function.is_event())
            .collect();
        prop_assert_eq!(records.len(), calls.len());
        let mut last = 0;
        for ((record, call), (function, args, writes)) in records.iter().zip(&calls).zip(&expected) {
            prop_assert_eq!(record.function, *function);
            prop_assert_eq!(record.args, &args[..]);
            prop_assert_eq!(record.result, u64::from(call.result));
            let kept = call.consumed.unwrap_or(usize::MAX).min(call.input.len());
            prop_assert_eq!(record.input, &call.input[..kept]);
            let dropped = record.dropped.map_or(0, |d| d.length as usize);
            prop_assert_eq!(dropped, call.input.len() - kept);
            let found: Vec<(u64, Vec<u8>)> =
                record.writes().map(|w| (w.address, w.bytes.as_slice().to_vec())).collect();
            prop_assert_eq!(&found, writes);
            prop_assert_eq!(record.note.unwrap_or_default(), &call.note);
            prop_assert!(record.start.0 >= last);
            last = record.start.0;
            // Whatever the bytes are, what is said of them is text on one line.
            prop_assert!(!describe::strace(record).contains('\n'));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&describe::args_json(record)).is_ok());
            let _ = text::lossless(record.input);
        }

        // Every projection gives the same columns as reading all.
        for chunk in snapshot.chunks() {
            let all = chunk.read(Projection::ALL).unwrap();
            prop_assert_eq!(&chunk.read(Projection::OUTS).unwrap().outs, &all.outs);
            prop_assert_eq!(&chunk.read(Projection::ARGS).unwrap().args, &all.args);
            prop_assert_eq!(&chunk.read(Projection::STARTS).unwrap().starts, &all.starts);
            prop_assert_eq!(&chunk.read(Projection::DURATIONS).unwrap().durations, &all.durations);
        }
    }
}

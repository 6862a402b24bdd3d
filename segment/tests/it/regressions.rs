//! What once went wrong, each with its reason.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use timecraft_segment::recovery::Sealing;
use timecraft_segment::testing::{craft, process_start};
use timecraft_segment::{
    Error, Gap, LogOptions, LogState, Offset, OnFailure, Outcome, ProcessId, Projection, Recorder,
    Registry, TailStorage, describe,
};

use crate::support::{Log, clock_time_get, copy_folder, exited, fd_write, id, small};

/// The record that was open was published without its header, and no reader could get past it.
#[test]
fn a_log_that_is_dropped_or_closed_inside_a_call_stays_readable() {
    for published in [false, true] {
        let log = Log::new();
        let (process, mut recorder) = log.record(&small());
        clock_time_get(&mut recorder, 1);
        recorder.begin(id("fd_read"), &[0, 0, 1, 0]).unwrap();
        if published {
            recorder.publish().unwrap();
            recorder.close(&exited(0)).unwrap();
        } else {
            drop(recorder);
        }
        let (snapshot, all) = log.read(process);
        assert_eq!(snapshot.state(), LogState::Ended);
        let record = all[0].get(2).unwrap();
        assert_eq!(record.outcome, Outcome::Interrupted);
    }
}

/// The packer's deadline overflowed, it panicked, and the guest waited for ever.
#[test]
fn a_segment_may_have_any_age() {
    let log = Log::new();
    let options = LogOptions {
        segment_age: Duration::MAX,
        ..small()
    };
    let (process, mut recorder) = log.record(&options);
    for _ in 0..1000 {
        fd_write(&mut recorder, 1, &[1; 100], 100);
    }
    recorder.close(&exited(0)).unwrap();
    assert_eq!(log.read(process).0.end_offset(), Offset(1002));
}

/// A buffer taken between the looks at two headers left a hole in the copy, over which the pieces of
/// a large record were joined.
#[test]
fn large_records_are_whole_or_in_flight_while_many_buffers_turn() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions {
        buffers: 64,
        segment_bytes: 64 << 20,
        ..small()
    });
    let pattern = |i: u64| -> Vec<u8> {
        (0..37_500_u32)
            .flat_map(|w| (w ^ ((i as u32) << 20)).to_le_bytes())
            .collect()
    };
    let (done, returned) = (AtomicBool::new(false), AtomicU64::new(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..150 {
                let data = pattern(i);
                fd_write(&mut recorder, 1, &data, data.len());
                returned.store(i + 2, Ordering::SeqCst);
                // The packer runs dry, so that buffers are free and the writer is fast.
                std::thread::sleep(Duration::from_millis(3));
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let before = returned.load(Ordering::SeqCst);
            let snapshot = log.registry.snapshot(process).unwrap();
            assert!(
                snapshot.end_offset().0 >= before,
                "a returned record is missing"
            );
            for chunk in snapshot.chunks_from(Offset(before.saturating_sub(2))) {
                for r in chunk.read(Projection::ALL).unwrap().iter() {
                    if r.function == id("fd_write") {
                        assert!(
                            describe::sent(&r) == Some(&pattern(r.offset.0 - 1)),
                            "{r:?}"
                        );
                    }
                }
            }
        }
    });
    recorder.close(&exited(0)).unwrap();
}

/// A segment that was being written ended in the guest's bytes, and those in what ends a footer.
#[test]
fn a_guest_cannot_write_the_end_of_a_file() {
    for shift in 0..8 {
        let log = Log::new();
        let (process, mut recorder) = log.record(&small());
        let mut data = vec![b'x'; shift];
        while data.len() < 6000 {
            data.extend(b"TCSEAL\r\n");
        }
        fd_write(&mut recorder, 1, &data, data.len());
        while log.read(process).0.segments()[0].path.ends_with("tail") {
            std::thread::yield_now();
        }
        assert_eq!(log.read(process).0.state(), LogState::Live);
        recorder.close(&exited(0)).unwrap();
    }
}

/// A descriptor that the table does not know took the place of one that it does.
#[test]
fn renumbering_an_unknown_descriptor_forgets_the_path_of_its_target() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    recorder.begin(id("fd_renumber"), &[9, 3]).unwrap();
    recorder.publish().unwrap();
    recorder.finish(Outcome::Returned, 0).unwrap();
    recorder.close(&exited(0)).unwrap();
    let (_, all) = log.read(process);
    let mut table = timecraft_segment::descriptors::Descriptors::at_start(&process_start());
    assert_eq!(table.path(3), Some("/data"));
    table.apply(&all[0].get(1).unwrap());
    assert_eq!(table.path(3), None);
}

/// Two threads wrote to one temporary file.
#[test]
fn threads_may_put_one_module_at_once() {
    let log = Log::new();
    let modules: Vec<Vec<u8>> = (0..40_u8)
        .map(|i| [b"\0asm\x01\0\0\0", &[i; 5000][..]].concat())
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for module in &modules {
                    log.registry.put_module(module).unwrap();
                }
            });
        }
    });
    assert_eq!(log.registry.module_ids().unwrap().len(), modules.len());
}

/// The time of the largest id overflowed.
#[test]
fn any_id_can_be_asked_for() {
    let log = Log::new();
    assert!(
        log.registry
            .find("ffffffff-ffff-7fff-bfff-ffffffffffff")
            .is_err()
    );
}

/// Each batch of such a record began a segment of its own, with all pieces so far.
#[test]
fn a_record_larger_than_a_segment_does_not_multiply() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions {
        segment_bytes: 8192,
        ..small()
    });
    let noise: Vec<u8> = (0..1_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fd_write(&mut recorder, 1, &noise, noise.len());
    recorder.close(&exited(0)).unwrap();
    let stored: u64 = log
        .read(process)
        .0
        .segments()
        .iter()
        .map(|s| s.stored_bytes)
        .sum();
    assert!(stored < 4_000_000, "{stored} bytes");
}

/// The log of a process whose writer died after a few batches, and the path of its segment, in which
/// something was changed that its checksums do not tell.
fn left_behind(change: impl FnOnce(&mut [u8])) -> (Log, ProcessId, std::path::PathBuf) {
    let running = Log::new();
    let (process, mut recorder) = running.record(&small());
    let segment = running.registry.process_folder(process);
    let segment = segment.join("00000000.seg");
    let header = std::fs::metadata(&segment).unwrap().len();
    while std::fs::metadata(&segment).unwrap().len() == header {
        fd_write(&mut recorder, 1, &[b'x'; 500], 500);
    }
    // A copy of its files is what is left of it where nobody has them locked.
    let log = Log::new();
    let folder = log.registry.process_folder(process);
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["tail", "00000000.seg"] {
        std::fs::copy(segment.with_file_name(name), folder.join(name)).unwrap();
    }
    let segment = folder.join("00000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    change(&mut bytes);
    craft::fix_segment(&mut bytes);
    std::fs::write(&segment, bytes).unwrap();
    (log, process, segment)
}

/// Where the first batch of a segment begins.
fn first_batch(segment: &[u8]) -> usize {
    segment.windows(4).position(|w| w == b"TCB1").unwrap()
}

/// Found by fuzzing: the sum over the batches of a segment overflowed.
#[test]
fn a_batch_does_not_say_that_it_took_more_bytes_than_there_can_be() {
    let (log, process, _) = left_behind(|segment| {
        let raw_bytes = first_batch(segment) + 120;
        segment[raw_bytes..raw_bytes + 8].fill(0xff);
    });
    let error = log.registry.snapshot(process).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

/// Found by fuzzing: a log with a hole between its batches got an end and a footer, as if it were
/// whole.
#[test]
fn a_log_with_a_hole_is_not_sealed() {
    let (log, process, segment) = left_behind(|segment| {
        let first_offset = first_batch(segment) + 8;
        segment[first_offset] = 1;
    });
    let before = std::fs::read(&segment).unwrap();
    let error = log.registry.snapshot(process).unwrap_err();
    assert!(matches!(error, Error::Gap { .. }), "{error}");
    let error = log.registry.seal_orphan(process).unwrap_err();
    assert!(matches!(error, Error::Gap { .. }), "{error}");
    assert_eq!(std::fs::read(&segment).unwrap(), before);
    assert!(segment.with_file_name("tail").exists());
}

/// What a killed process leaves: its files, and no lock.
fn dead(log: &Log) -> Registry {
    let copy = log.folder.path().join("dead");
    copy_folder(log.registry.root(), &copy);
    Registry::at(copy)
}

/// A log of several segments, left behind.
fn dead_of_many_segments(log: &Log) -> (ProcessId, Registry) {
    let (process, mut recorder) = log.record(&LogOptions {
        segment_bytes: 2000,
        ..small()
    });
    for n in 0..40_u32 {
        let noise: Vec<u8> = (0..400_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761 + n) >> 13) as u8)
            .collect();
        fd_write(&mut recorder, 1, &noise, 390);
    }
    let third = log.registry.process_folder(process).join("00000002.seg");
    while !third.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    (process, dead(log))
}

/// A log with a hole, or with a segment that was cut, was sealed, and its tail removed.
#[test]
fn a_damaged_log_is_left_as_it_is() {
    for cut in [false, true] {
        let log = Log::new();
        let (process, dead) = dead_of_many_segments(&log);
        let folder = dead.process_folder(process);
        let middle = folder.join("00000001.seg");
        if cut {
            let file = std::fs::File::options().write(true).open(&middle).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        } else {
            std::fs::remove_file(&middle).unwrap();
        }
        assert!(dead.snapshot(process).is_err());
        assert!(dead.seal_orphan(process).is_err());
        assert!(folder.join("tail").exists());
    }
}

/// A tail beside no segment was removed with the records in it.
#[test]
fn records_whose_first_segment_is_missing_stay() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    clock_time_get(&mut recorder, 1);
    let dead = dead(&log);
    let folder = dead.process_folder(process);
    std::fs::remove_file(folder.join("00000000.seg")).unwrap();
    let error = dead.seal_orphan(process).unwrap_err();
    assert!(matches!(error, Error::EndMissing { .. }), "{error}");
    assert!(folder.join("tail").exists());
}

/// What somebody had put beside a log was removed with what looked like one that never began.
#[test]
fn files_of_others_stay() {
    let log = Log::new();
    let (process, recorder) = log.record(&small());
    recorder.close(&exited(0)).unwrap();
    let folder = log.registry.process_folder(process);
    let saved = folder.join("00000000.seg.bak");
    std::fs::rename(folder.join("00000000.seg"), &saved).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(100);
    std::fs::File::open(&folder)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    log.registry.seal_orphan(process).unwrap();
    assert!(saved.exists());
}

/// A segment whose name the disk had before its bytes, when the power went, kept its log from being
/// read and sealed.
#[test]
fn a_segment_that_the_disk_has_no_bytes_of_is_none() {
    let log = Log::new();
    let (process, dead) = dead_of_many_segments(&log);
    let folder = dead.process_folder(process);
    let names = folder.read_dir().unwrap().map(|e| e.unwrap().path());
    let last = names.filter(|p| p.extension().is_some()).max().unwrap();
    std::fs::write(&last, b"").unwrap();
    // Another start of the machine.
    let mut tail = std::fs::read(folder.join("tail")).unwrap();
    tail[40] ^= 1;
    let check = crc32c::crc32c(&tail[..56]);
    tail[56..60].copy_from_slice(&check.to_le_bytes());
    std::fs::write(folder.join("tail"), tail).unwrap();
    let before = dead.snapshot(process).unwrap().end_offset();
    assert_eq!(dead.seal_orphan(process).unwrap(), Sealing::Sealed);
    let after = dead.snapshot(process).unwrap();
    assert_eq!(after.end_offset(), before.plus(1));
    assert_eq!(after.state(), LogState::Ended);
}

/// Footers were not counted, and small batches took more of them than of themselves.
#[test]
fn a_limited_log_stays_within_its_limit() {
    let log = Log::new();
    let limit = 1_u64 << 20;
    let (process, mut recorder) = log.record(&LogOptions {
        max_bytes: Some(limit),
        on_failure: OnFailure::Continue,
        ..small()
    });
    let mut n = 0;
    while recorder.unrecorded().is_none() {
        clock_time_get(&mut recorder, n);
        n += 1;
    }
    recorder.close(&exited(0)).unwrap();
    let folder = log.registry.process_folder(process).read_dir().unwrap();
    let total: u64 = folder.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!((limit / 2..=limit).contains(&total), "{total} bytes");
    let many = LogOptions {
        buffers: 64,
        max_bytes: Some(limit / 4),
        ..small()
    };
    let refused = Recorder::create(&log.registry, &process_start(), &many);
    assert!(matches!(refused, Err(Error::BadOption { .. })));
}

/// The calls that a gap has so far were not in a tail that is written, and a killed writer took them.
#[test]
fn an_open_gap_counts_its_calls_as_they_are_made() {
    for tail in [TailStorage::Auto, TailStorage::Written] {
        let log = Log::new();
        let (process, mut recorder) = log.record(&LogOptions {
            tail,
            on_failure: OnFailure::Continue,
            max_bytes: Some(256 << 10),
            ..small()
        });
        for n in 0..30_000 {
            clock_time_get(&mut recorder, n * n);
        }
        let lost = recorder.unrecorded().unwrap().calls;
        assert!(lost > 0);
        let snapshot = dead(&log).snapshot(process).unwrap();
        let last = snapshot.chunks().last().unwrap();
        let calls = last.read(Projection::ALL).unwrap();
        let record = calls.iter().last().unwrap();
        let gap: Gap = serde_json::from_slice(record.input).unwrap();
        assert_eq!(gap.calls, lost, "{tail:?}");
    }
}

/// Numbers of a crafted tail overflowed, or asked for terabytes.
#[test]
fn a_crafted_tail_is_damage() {
    use std::os::unix::fs::FileExt;
    let log = Log::new();
    let (process, _recorder) = log.record(&small());
    let dead = dead(&log);
    let path = dead.process_folder(process).join("tail");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.write_all_at(&u64::MAX.to_le_bytes(), 4096).unwrap();
    assert!(dead.snapshot(process).is_err());

    let size = 1_u64 << 40;
    file.write_all_at(&size.to_le_bytes(), 16).unwrap();
    let mut fixed = [0; 56];
    file.read_exact_at(&mut fixed, 0).unwrap();
    file.write_all_at(&crc32c::crc32c(&fixed).to_le_bytes(), 56)
        .unwrap();
    file.set_len(8192 + 3 * size).unwrap();
    assert!(dead.snapshot(process).is_err());
}

/// The pieces of a record that crosses the end of a buffer are stored beside it, for readers of a
/// process that died in it. A copy by 64 KiB had a log 13% larger than its file so.
#[test]
fn a_record_that_fits_a_small_part_of_a_buffer_is_stored_once() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions {
        batch_bytes: 64 << 10,
        ..small()
    });
    let mut x = 1_u32;
    let mut payload = 0;
    for i in 0..200 {
        // Of every size up to an eighth of a buffer, less what the record takes itself.
        let noise: Vec<u8> = (0..2000 + i * 30)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        payload += noise.len() as u64;
        if i % 2 == 0 {
            fd_write(&mut recorder, 1, &noise, noise.len());
        } else {
            recorder
                .begin(id("random_get"), &[0, noise.len() as u64])
                .unwrap();
            recorder.publish().unwrap();
            recorder.write(0, &noise);
            recorder.finish(Outcome::Returned, 0).unwrap();
        }
    }
    recorder.close(&exited(0)).unwrap();
    let (snapshot, _) = log.read(process);
    let stored: u64 = snapshot.segments().iter().map(|s| s.stored_bytes).sum();
    assert!(
        stored < payload + payload / 40,
        "{stored} bytes for {payload}"
    );
}

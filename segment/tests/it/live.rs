//! Logs that are being written, and logs that their writer left behind.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use timecraft_segment::{LogOptions, LogState, Outcome, Projection, describe};

use crate::support::{Log, clock_time_get, exited, fd_write, id, small};

#[test]
fn a_call_is_seen_as_soon_as_it_returned_and_in_flight_before() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&LogOptions::default());
    fd_write(&mut recorder, 1, b"hello", 5);
    recorder.begin(id("poll_oneoff"), &[0, 0, 0, 0]).unwrap();
    let (snapshot, all) = log.read(process);
    assert_eq!(snapshot.state(), LogState::Live);
    assert_eq!(
        all[0].len(),
        2,
        "a call that is not published has had no effect"
    );

    recorder.publish().unwrap();
    let (_, all) = log.read(process);
    let last = all[0].get(2).unwrap();
    assert_eq!(
        (last.function, last.outcome),
        (id("poll_oneoff"), Outcome::InFlight)
    );

    recorder.finish(Outcome::Returned, 0).unwrap();
    let (_, all) = log.read(process);
    assert_eq!(all[0].get(2).unwrap().outcome, Outcome::Returned);
    recorder.close(&exited(0)).unwrap();
    assert_eq!(log.read(process).0.state(), LogState::Ended);
}

#[test]
fn a_large_record_in_flight_is_seen_across_batches() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    clock_time_get(&mut recorder, 1);
    let large = vec![1; 50_000];
    recorder.begin(id("fd_write"), &[1, 0, 1, 0]).unwrap();
    recorder.input(&50_000_u64.to_le_bytes());
    recorder.input(&large);
    recorder.publish().unwrap();
    let (_, all) = log.read(process);
    let last = all.last().unwrap();
    let record = last.get(last.len() - 1).unwrap();
    assert_eq!((record.outcome, record.offset.0), (Outcome::InFlight, 2));
    assert_eq!(record.input.len(), 50_008);
    recorder.finish(Outcome::Returned, 0).unwrap();
    clock_time_get(&mut recorder, 2);
    let (_, all) = log.read(process);
    assert_eq!(all.iter().map(|c| c.len()).sum::<usize>(), 4);
    recorder.close(&exited(0)).unwrap();
}

#[test]
fn readers_see_every_offset_once_while_buffers_are_recycled_under_them() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    let done = AtomicBool::new(false);
    let returned = AtomicU64::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..60_000_u64 {
                // Some records span several buffers.
                let size = if i % 1000 == 0 {
                    20_000
                } else {
                    (i % 40) as usize
                };
                fd_write(&mut recorder, 1, &vec![i as u8; size], size);
                returned.store(i + 2, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut looks = 0;
        while !done.load(Ordering::SeqCst) || looks == 0 {
            let before = returned.load(Ordering::SeqCst);
            let (snapshot, all) = log.read(process);
            assert!(
                snapshot.end_offset().0 >= before,
                "what had returned is seen"
            );
            for record in all
                .iter()
                .flat_map(|c| c.iter())
                .filter(|r| r.function == id("fd_write"))
            {
                let i = record.offset.0 - 1;
                assert!(
                    describe::sent(&record)
                        .unwrap()
                        .iter()
                        .all(|&b| b == i as u8)
                );
            }
            looks += 1;
        }
    });
    recorder.close(&exited(0)).unwrap();
    let (snapshot, _) = log.read(process);
    assert_eq!(snapshot.end_offset().0, 60_002);
}

#[test]
fn a_log_whose_writer_died_is_read_to_its_last_call() {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    for i in 0..200 {
        fd_write(&mut recorder, 1, format!("{i}\n").as_bytes(), 3);
    }
    recorder.begin(id("fd_read"), &[0, 0, 1, 0]).unwrap();
    recorder.publish().unwrap();
    // What a killed process leaves is its files and no lock: a copy of them has just that.
    let copy = log.folder.path().join("copy");
    let folder = log.registry.process_folder(process);
    let there = copy.join(folder.strip_prefix(log.registry.root()).unwrap());
    std::fs::create_dir_all(&there).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, there.join(path.file_name().unwrap())).unwrap();
    }
    let copy = Log {
        folder: tempfile::tempdir().unwrap(),
        registry: timecraft_segment::Registry::at(copy),
    };
    let (snapshot, all) = copy.read(process);
    assert_eq!(snapshot.state(), LogState::Lost);
    assert_eq!(snapshot.end_offset().0, 202);
    let last = all.last().unwrap();
    assert_eq!(last.get(last.len() - 1).unwrap().outcome, Outcome::InFlight);
    recorder.finish(Outcome::Returned, 0).unwrap();
}

#[test]
fn an_old_segment_is_sealed_though_its_buffer_is_not_full() {
    let log = Log::new();
    let options = LogOptions {
        segment_age: std::time::Duration::from_millis(20),
        ..LogOptions::default()
    };
    let (process, mut recorder) = log.record(&LogOptions {
        sync: timecraft_segment::Sync::None,
        ..options
    });
    clock_time_get(&mut recorder, 1);
    while !log.read(process).0.segments()[0].sealed {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    clock_time_get(&mut recorder, 2);
    let (snapshot, all) = log.read(process);
    assert_eq!(snapshot.state(), LogState::Live);
    assert_eq!(all.iter().map(|c| c.len()).sum::<usize>(), 3);
    recorder.close(&exited(0)).unwrap();
    let (snapshot, _) = log.read(process);
    assert_eq!((snapshot.segments().len(), snapshot.end_offset().0), (2, 4));
    assert!(snapshot.chunks()[0].read(Projection::ALL).is_ok());
}

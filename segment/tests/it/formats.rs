//! The format stands still: a golden segment that was written once is read for ever, and what is
//! not ours is refused with a reason.

use std::path::{Path, PathBuf};

use timecraft_segment::file::SegmentReader;
use timecraft_segment::{Error, LogOptions, Projection, describe};

use crate::support::{Log, clock_time_get, exited, fd_write, id, small};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.seg")
}

#[test]
fn the_golden_segment_reads_as_it_was_written() {
    let segment = SegmentReader::open(&golden()).unwrap();
    assert!(segment.is_sealed());
    assert_eq!(segment.end().unwrap().exit_code, Some(0));
    let expected = std::fs::read_to_string(golden().with_extension("txt")).unwrap();
    assert_eq!(text_of(&golden()), expected);
}

fn text_of(path: &Path) -> String {
    let segment = SegmentReader::open(path).unwrap();
    let mut text = String::new();
    for i in 0..segment.len() {
        for r in segment.read(i, Projection::ALL).unwrap().iter() {
            text.push_str(&format!("{} {} ", r.offset, r.start.0));
            text.push_str(&describe::strace(&r));
            // The text has the beginning of long bytes alone; this stands for all of them.
            let mut bytes = r.input.to_vec();
            r.writes()
                .for_each(|w| bytes.extend_from_slice(w.bytes.as_slice()));
            let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
            text.push_str(&format!(" | {} {hash:016x}\n", bytes.len()));
        }
    }
    text
}

/// Writes a golden segment of the current version: run by hand when a version is released.
#[test]
#[ignore = "writes the golden segment of a new version"]
fn write_golden() {
    let log = Log::new();
    let start = timecraft_segment::ProcessStart {
        process_id: "01980000-0000-7000-8000-000000000001".parse().unwrap(),
        start_time: timecraft_segment::UnixNs(1_790_000_000_000_000_000),
        runtime_version: "0.1.0".to_owned(),
        ..timecraft_segment::testing::process_start()
    };
    let mut recorder =
        timecraft_segment::Recorder::create(&log.registry, &start, &LogOptions::default()).unwrap();
    for i in 0..40 {
        clock_time_get(&mut recorder, 1_000_000_000 + i * 1000);
        fd_write(&mut recorder, 1, format!("line {i}\n").as_bytes(), 6);
    }
    recorder
        .begin(id("path_open"), &[3, 1, 64, 8, 9, 0x3fff, 0, 1, 32])
        .unwrap();
    recorder.input(b"\xffne\nfile");
    recorder.publish().unwrap();
    recorder.note("no grant holds it");
    recorder
        .finish(timecraft_segment::Outcome::Returned, 76)
        .unwrap();
    recorder.begin(id("fd_filestat_get"), &[1, 256]).unwrap();
    recorder.publish().unwrap();
    recorder.write(256, &[2; 64]);
    recorder
        .finish(timecraft_segment::Outcome::Returned, 0)
        .unwrap();
    // A copy: what is written stands in the batch already.
    let piece: Vec<u8> = (0..600_u32).flat_map(|i| (i * i).to_le_bytes()).collect();
    recorder.begin(id("fd_read"), &[4, 1024, 1, 512]).unwrap();
    recorder.input(&[0, 8, 0, 0, 96, 9, 0, 0]);
    recorder.publish().unwrap();
    recorder.write(2048, &piece);
    recorder.write(512, &2400_u32.to_le_bytes());
    recorder
        .finish(timecraft_segment::Outcome::Returned, 0)
        .unwrap();
    fd_write(&mut recorder, 5, &piece, piece.len());
    recorder.close(&exited(0)).unwrap();
    let folder = log.registry.process_folder(start.process_id);
    std::fs::copy(folder.join("00000000.seg"), golden()).unwrap();
    std::fs::write(golden().with_extension("txt"), text_of(&golden())).unwrap();
}

/// A segment of this build, with something changed in it.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Error {
    let log = Log::new();
    let (process, mut recorder) = log.record(&small());
    fd_write(&mut recorder, 1, &[b'x'; 500], 500);
    recorder.close(&exited(0)).unwrap();
    let path = log.registry.process_folder(process).join("00000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let read = || {
        let segment = SegmentReader::open(&path)?;
        (0..segment.len()).try_for_each(|i| segment.read(i, Projection::ALL).map(drop))
    };
    read().unwrap_err()
}

#[test]
fn a_later_version_is_refused_by_its_number() {
    let error = changed(|bytes| bytes[8] = 2);
    assert!(
        matches!(
            error,
            Error::NewerVersion {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("later one"));
}

#[test]
fn what_is_not_a_segment_is_said_to_be_none() {
    assert!(matches!(
        changed(|bytes| bytes[0] = b'X'),
        Error::NotOurs { .. }
    ));
    assert!(matches!(
        changed(|bytes| bytes.truncate(3)),
        Error::NotOurs { .. }
    ));
}

#[test]
fn a_flipped_bit_is_damage_with_its_place() {
    let error = changed(|bytes| {
        let at = bytes.windows(4).position(|w| w == b"TCB1").unwrap();
        bytes[at + 140] ^= 1;
    });
    assert!(
        matches!(error, Error::Damaged { position, .. } if position > 0),
        "{error}"
    );
}

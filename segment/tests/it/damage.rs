//! Logs that are not as they were written: cut at every byte, and with every byte changed. What is
//! read is what was recorded or is reported, with its file and place.

use std::path::{Path, PathBuf};

use timecraft_segment::{
    Damage, Error, LogState, Offset, Outcome, ProcessId, Projection, Registry, Snapshot,
};

use crate::support::{Log, clock_time_get, copy_folder, exited, fd_write, id, small};

/// A record as far as it can be compared.
type Row = (u64, u16, u8, u64, Vec<u64>, Vec<u8>, Vec<(u64, Vec<u8>)>);

fn rows(calls: &timecraft_segment::Calls) -> impl Iterator<Item = Row> {
    calls.iter().map(|r| {
        let writes = r.writes().map(|w| (w.address, w.bytes.as_slice().to_vec()));
        (
            r.offset.0,
            r.function.0,
            r.outcome as u8,
            r.start.0 ^ (r.duration_ns << 20) ^ r.result,
            r.args.to_vec(),
            [r.input, r.note.unwrap_or("").as_bytes()].concat(),
            writes.collect(),
        )
    })
}

/// Whether a row is one of those whose end was not read, and else is what was recorded.
fn is_beginning_of(row: &Row, whole: &Row) -> bool {
    let unfinished = [Outcome::InFlight as u8, Outcome::Unrecorded as u8].contains(&row.2);
    // Of a record that has an end, only what the host took is kept.
    let input = row.5.starts_with(&whole.5) || whole.5.starts_with(&row.5);
    unfinished && (row.0, row.1, &row.4) == (whole.0, whole.1, &whole.4) && input
}

/// All rows that can be read, and what is reported.
fn read(snapshot: &Snapshot) -> (Vec<Row>, Vec<Damage>) {
    let mut found = snapshot.damage().to_vec();
    let mut all = Vec::new();
    for chunk in snapshot.chunks() {
        match chunk.read(Projection::ALL) {
            Ok(calls) => all.extend(rows(&calls)),
            Err(error) => found.push(Damage::of(&error).unwrap()),
        }
    }
    (all, found)
}

/// A log with two small segments, one of which ends in the middle of a record, and a tail where it
/// is not to be sealed.
fn record(log: &Log, sealed: bool) -> ProcessId {
    let (process, mut recorder) = log.record(&timecraft_segment::LogOptions {
        segment_bytes: 2000,
        ..small()
    });
    for n in 0..20_u8 {
        clock_time_get(&mut recorder, u64::from(n));
        let noise: Vec<u8> = (0..400_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761 + u32::from(n)) >> 13) as u8)
            .collect();
        fd_write(&mut recorder, 1, &noise, 390);
    }
    if sealed {
        recorder.close(&exited(0)).unwrap();
    } else {
        recorder.begin(id("fd_read"), &[0, 0, 1, 0]).unwrap();
        recorder.publish().unwrap();
        // What a killed process leaves is its files and no lock: copies of them have just that.
        let copy = log.folder.path().join("registry-of-the-dead");
        copy_folder(log.registry.root(), &copy);
        recorder.finish(Outcome::Returned, 0).unwrap();
    }
    process
}

struct Sweep {
    registry: Registry,
    process: ProcessId,
    whole: Vec<Row>,
}

impl Sweep {
    fn of(registry: Registry, process: ProcessId) -> Sweep {
        let (whole, damage) = read(&registry.snapshot(process).unwrap());
        assert_eq!(damage, []);
        Sweep {
            registry,
            process,
            whole,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.registry.process_folder(self.process).join(name)
    }

    /// Checks what is read of a damaged log; returns whether damage was reported.
    fn check(&self, file: &Path, about: &str) -> bool {
        let reported = match self.registry.snapshot_past_damage(self.process) {
            Ok(snapshot) => {
                let (rows, damage) = read(&snapshot);
                for row in &rows {
                    let unknown = row.2 == Outcome::Unrecorded as u8;
                    let whole = &self.whole[row.0 as usize];
                    assert!(
                        row == whole || unknown && is_beginning_of(row, whole),
                        "{about}: a wrong record: {row:?}"
                    );
                }
                let lost = rows.len() < self.whole.len();
                assert!(
                    !lost || !damage.is_empty(),
                    "{about}: records are missing in silence"
                );
                damage
            }
            // Without any segment that says how the process began.
            Err(error) => vec![Damage::of(&error).unwrap_or_else(|| panic!("{about}: {error:?}"))],
        };
        for damage in &reported {
            let folder = damage.path == file.parent().unwrap();
            assert!(
                folder || damage.path.parent() == file.parent(),
                "{about}: {damage:?}"
            );
        }
        // The first of it is what a reader is told that does not go past damage.
        let strict = self.registry.snapshot(self.process).and_then(|s| {
            for chunk in s.chunks() {
                chunk.read(Projection::ALL)?;
            }
            Ok(())
        });
        assert_eq!(
            strict.is_err(),
            !reported.is_empty(),
            "{about}: {strict:?} {reported:?}"
        );
        if !reported.is_empty() {
            let said = reported.iter().any(|d| d.path == file);
            assert!(said, "{about}: {reported:?} does not name the file");
        }
        !reported.is_empty()
    }
}

#[test]
fn a_segment_may_be_cut_at_every_byte() {
    let log = Log::new();
    let process = record(&log, true);
    let sweep = Sweep::of(log.registry.clone(), process);
    for name in ["00000000.seg", "00000001.seg"] {
        let file = sweep.file(name);
        let bytes = std::fs::read(&file).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&file, &bytes[..length]).unwrap();
            assert!(sweep.check(&file, &format!("{name} cut at {length}")));
        }
        std::fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn every_byte_of_a_segment_may_change() {
    let log = Log::new();
    let process = record(&log, true);
    let sweep = Sweep::of(log.registry.clone(), process);
    for name in ["00000000.seg", "00000001.seg"] {
        let file = sweep.file(name);
        let bytes = std::fs::read(&file).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << (i % 8);
            std::fs::write(&file, &changed).unwrap();
            let about = format!("{name} changed at {i} of {}", bytes.len());
            assert!(sweep.check(&file, &about), "{about} is not reported");
        }
        std::fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn a_segment_may_be_missing() {
    let log = Log::new();
    let process = record(&log, true);
    let sweep = Sweep::of(log.registry.clone(), process);
    let last = sweep.registry.snapshot(process).unwrap().segments().len() - 1;
    assert!(last > 1);
    for n in 0..=last {
        let file = sweep.file(&format!("{n:08}.seg"));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let error = sweep.registry.snapshot(process).unwrap_err();
        let expected = match n {
            n if n == last => matches!(error, Error::EndMissing { .. }),
            _ => matches!(error, Error::Gap { .. }),
        };
        assert!(expected, "{error}");
        let past = sweep.registry.snapshot_past_damage(process).unwrap();
        assert!(!read(&past).0.is_empty() && !past.damage().is_empty());
        if n > 0 && n < last {
            let missing = &past.damage()[0];
            let (before, after) = (missing.before.unwrap(), missing.after.unwrap());
            assert!(before < after && after.0 - before.0 > 1, "{missing:?}");
        }
        std::fs::write(&file, &bytes).unwrap();
    }
}

fn dead(log: &Log) -> Sweep {
    let process = record(log, false);
    let registry = Registry::at(log.folder.path().join("registry-of-the-dead"));
    let sweep = Sweep::of(registry, process);
    let snapshot = sweep.registry.snapshot(process).unwrap();
    assert_eq!(snapshot.state(), LogState::Lost);
    assert!(snapshot.segments().last().unwrap().path.ends_with("tail"));
    sweep
}

#[test]
fn a_tail_may_be_cut_at_every_byte() {
    let log = Log::new();
    let sweep = dead(&log);
    let file = sweep.file("tail");
    let bytes = std::fs::read(&file).unwrap();
    // A tail has the length that it says from its beginning on, so one cut is as another beyond it.
    for length in (0..8192).chain((8192..bytes.len()).step_by(7)) {
        std::fs::write(&file, &bytes[..length]).unwrap();
        assert!(sweep.check(&file, &format!("cut at {length}")));
    }
}

#[test]
fn every_byte_of_a_tail_may_change() {
    let log = Log::new();
    let sweep = dead(&log);
    let file = sweep.file("tail");
    let bytes = std::fs::read(&file).unwrap();
    let mut reported = 0;
    for i in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[i] ^= 1 << (i % 8);
        std::fs::write(&file, &changed).unwrap();
        // A byte that holds nothing may be any: no record of it is missing or other, which is checked.
        reported += usize::from(sweep.check(&file, &format!("changed at {i}")));
        // Who seals does not make the damage the truth.
        if i % 97 == 0 {
            let before = read(&sweep.registry.snapshot_past_damage(sweep.process).unwrap());
            if !before.1.is_empty() {
                assert!(sweep.registry.seal_orphan(sweep.process).is_err());
                assert_eq!(std::fs::read(&file).unwrap(), changed);
            }
        }
    }
    assert!(reported > 3000, "{reported}");
}

/// After the power went, pages of the tail are of other times. What is read is a beginning of what was
/// recorded, and all of what the disk had before.
#[test]
fn pages_of_a_tail_that_did_not_reach_the_disk_take_only_what_is_behind_them() {
    let log = Log::new();
    let sweep = dead(&log);
    let file = sweep.file("tail");
    let mut bytes = std::fs::read(&file).unwrap();
    // Another start of the machine, with a checksum that fits.
    bytes[40] ^= 0xFF;
    let check = crc32c::crc32c(&bytes[..56]);
    bytes[56..60].copy_from_slice(&check.to_le_bytes());
    let segments: usize = {
        let folder = sweep.registry.snapshot(sweep.process).unwrap();
        let sealed = folder
            .segments()
            .iter()
            .filter(|s| !s.path.ends_with("tail"));
        sealed.map(|s| s.records as usize).sum()
    };
    for pages in 0..1_u32 << (bytes.len() / 4096) {
        let mut torn = bytes.clone();
        for (i, page) in torn.chunks_mut(4096).enumerate() {
            // The first page is written once, and synced by whoever creates it.
            if i > 0 && pages & 1 << i != 0 {
                page.fill(0);
            }
        }
        std::fs::write(&file, &torn).unwrap();
        let snapshot = sweep.registry.snapshot(sweep.process).unwrap();
        let (rows, damage) = read(&snapshot);
        assert_eq!(damage, []);
        for (row, whole) in rows.iter().zip(&sweep.whole) {
            let last = row.0 + 1 == rows.len() as u64;
            assert!(
                row == whole || last && is_beginning_of(row, whole),
                "pages {pages:b}: {row:?}"
            );
        }
        assert!(rows.len() >= segments, "what stands in segments is there");
        assert_eq!(snapshot.end_offset(), Offset(rows.len() as u64));
        if pages & !1 == 0 {
            assert_eq!(rows.len(), sweep.whole.len());
        }
    }
}

//! The bytes are a tail, folded, and the segment beside it: the log is read, sealed as that of a
//! writer that died, and read again.
#![no_main]

use std::fs::File;

use libfuzzer_sys::fuzz_target;
use timecraft_fuzz::{Log, process_of, read_all};
use timecraft_segment::recovery::Sealing;
use timecraft_segment::testing::craft;
use timecraft_segment::{Calls, LogState, Record};

/// The bit of the first byte that has the tail locked, as that of a process that runs.
const RUNNING: u8 = 2;

fuzz_target!(|bytes: &[u8]| {
    let process = process_of(bytes);
    let Some((tail, segment)) = craft::unfold_tail(bytes, *process.as_bytes()) else {
        return;
    };
    let mut segment = segment.to_vec();
    craft::fix_segment(&mut segment);
    let log = Log::empty(process);
    log.put("tail", &tail);
    log.put("00000000.seg", &segment);

    if bytes[0] & RUNNING != 0 {
        let file = File::open(log.path("tail")).expect("the tail");
        file.lock().expect("its lock");
        if let Ok(snapshot) = log.registry.snapshot(process) {
            assert_ne!(snapshot.state(), LogState::Lost);
            read_all(&snapshot);
        }
    }

    let before = log.registry.snapshot(process);
    let past_damage = log.registry.snapshot_past_damage(process);
    if let Ok(past_damage) = &past_damage {
        assert_eq!(before.is_ok(), past_damage.damage().is_empty());
        read_all(past_damage);
    }
    let records = before.as_ref().ok().map(read_all);
    let sealed = log.registry.seal_orphan(process);
    let after = log.registry.snapshot(process);
    match (sealed, records) {
        (Ok(Sealing::Sealed), Some(records)) => {
            let after = after.expect("what was read before it was sealed is read again");
            assert_eq!(after.state(), LogState::Ended);
            continues(&records, &read_all(&after));
        }
        (Ok(Sealing::Sealed), None) => panic!("a damaged log was sealed: {:?}", before.err()),
        (Ok(other), _) => panic!("{other:?}, though nobody writes the log"),
        (Err(_), records) => assert_eq!(records, after.as_ref().ok().map(read_all)),
    }
});

/// Sealing adds the end where there was none, and changes nothing.
fn continues(before: &[Option<Calls>], after: &[Option<Calls>]) {
    let (Some(before), Some(after)) = (all(before), all(after)) else {
        return;
    };
    let same = before.iter().zip(&after).all(|(a, b)| same(a, b));
    assert!(same, "{before:#?}\n{after:#?}");
    let more = after.len().checked_sub(before.len());
    assert!(
        more.is_some_and(|more| more <= 1),
        "{before:#?}\n{after:#?}"
    );
}

fn all(chunks: &[Option<Calls>]) -> Option<Vec<Record<'_>>> {
    let chunks = chunks.iter().map(Option::as_ref);
    Some(
        chunks
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .flat_map(Calls::iter)
            .collect(),
    )
}

fn same(a: &Record<'_>, b: &Record<'_>) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

//! The bytes are a segment: it is opened, and read as the log of its process.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use timecraft_fuzz::{Log, examine, process_of, read_all};
use timecraft_segment::file::SegmentReader;
use timecraft_segment::testing::craft;

fuzz_target!(|bytes: &[u8]| {
    let log = Log::empty(process_of(bytes));
    log.put("00000000.seg", bytes);
    if let Ok(reader) = SegmentReader::open(&log.path("00000000.seg")) {
        for i in 0..reader.len() {
            examine(|projection| reader.read(i, projection));
        }
    }
    // A damaged log is looked at many times, should it only be changing: once is enough here.
    let Ok(lenient) = log.registry.snapshot_past_damage(log.process) else {
        return;
    };
    let records = read_all(&lenient);
    if lenient.damage().is_empty() {
        let strict = log.registry.snapshot(log.process);
        let strict = strict.expect("what is not damaged can be read");
        assert_eq!(records, read_all(&strict));
    }
});

// One input in eight keeps its checksums as they come.
fuzz_mutator!(
    |bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
        let size = fuzzer_mutate(bytes, size, max_size);
        if seed % 8 != 0 {
            craft::fix_segment(&mut bytes[..size]);
        }
        size
    }
);

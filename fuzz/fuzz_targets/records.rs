//! The bytes are the streams of a batch, apart: no checksum and no compression stands between them
//! and the decoders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_fuzz::examine;
use timecraft_segment::batch::Effort;
use timecraft_segment::testing::{Batches, craft};
use timecraft_segment::{Compression, Projection};

fuzz_target!(|bytes: &[u8]| {
    let Some(batch) = craft::join_batch(bytes) else {
        return;
    };
    let Some(calls) = examine(|projection| Batches::decode(&batch, projection).ok_or(())) else {
        return;
    };
    let mut again = Vec::new();
    let mut batches = Batches::new(Compression::Zstd).expect("a compressor");
    batches
        .encode(&calls, Effort::Normal, &mut again)
        .expect("what was read can be written");
    assert_eq!(Batches::decode(&again, Projection::ALL), Some(calls));
});

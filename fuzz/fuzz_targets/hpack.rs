//! The bytes are header blocks, each with its length before it. Reading them must give the same when the
//! state is saved and restored between, and who began in the middle must read what another can, the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timecraft_udfs::http::hpack::{Error, Hpack, MAX_FIELD, MAX_FIELDS};

type Field = (Option<Vec<u8>>, Option<Vec<u8>>);

fn read(hpack: &mut Hpack, block: &[u8]) -> (Vec<Field>, Result<(), Error>) {
    let (mut fields, mut together) = (Vec::new(), 0);
    let said = hpack.read(block, |field| {
        let size = field.name.map_or(0, <[u8]>::len) + field.value.map_or(0, <[u8]>::len);
        assert!(size <= MAX_FIELD);
        together += size;
        fields.push((
            field.name.map(<[u8]>::to_vec),
            field.value.map(<[u8]>::to_vec),
        ));
    });
    assert!(together <= MAX_FIELDS);
    (fields, said.map(|_| ()))
}

fuzz_target!(|bytes: &[u8]| {
    let (mut whole, mut saved) = (Hpack::default(), Hpack::default());
    let mut midstream = Hpack::midstream();
    let mut rest = bytes;
    while let [length, after @ ..] = rest {
        let (block, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let found = read(&mut whole, block);
        assert_eq!(read(&mut saved, block), found, "saved and restored");
        let state = serde_json::to_vec(&saved).expect("a state is saved");
        saved = serde_json::from_slice(&state).expect("what was saved is restored");
        let guessed = read(&mut midstream, block);
        if found.1.is_err() {
            // The table is lost.
            break;
        }
        assert_eq!(guessed, found, "begun in the middle");
        assert!(
            found
                .0
                .iter()
                .all(|(name, value)| name.is_some() && value.is_some()),
            "every field is known"
        );
    }
});

//! What benchmarks move: bytes that do not compress, and source code.

use std::path::Path;

pub fn noise(length: usize) -> Vec<u8> {
    let mut x = 88_172_645_463_325_252_u64;
    let words = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// The source code of this workspace, again and again.
pub fn text(length: usize) -> Vec<u8> {
    fn gather(folder: &Path, text: &mut Vec<u8>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries.iter().map(std::fs::DirEntry::path) {
            if entry.is_dir() && !entry.ends_with("target") && !entry.ends_with("build") {
                gather(&entry, text);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                text.extend(std::fs::read(entry).unwrap());
            }
        }
    }
    let mut text = Vec::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    gather(here.parent().unwrap(), &mut text);
    while text.len() < length {
        text.extend_from_within(..);
    }
    text.truncate(length);
    text
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! How fast zstd at level 1 is on a file's bytes, alone and on one thread, with the library and in
//! pieces of the size that the packer gives it: what `scripts/bench-sustained.py` compares with.
//! `zstd_rate FILE SECONDS` prints how many bytes it makes of the file, and bytes a second.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use timecraft_segment::LogOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(seconds)) = (args.next(), args.next()) else {
        return Err("usage: zstd_rate FILE SECONDS".into());
    };
    let data = std::fs::read(path)?;
    let at_least = Duration::from_secs_f64(seconds.to_string_lossy().parse()?);
    let piece = LogOptions::default().batch_bytes;
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    let mut room = vec![0; zstd::zstd_safe::compress_bound(piece)];
    let since = Instant::now();
    let mut rounds = 0;
    let made = loop {
        let mut made = 0;
        for piece in data.chunks(piece) {
            made += zstd.compress_to_buffer(piece, &mut room)?;
        }
        rounds += 1;
        if since.elapsed() >= at_least {
            break made;
        }
    };
    let rate = (rounds * data.len()) as f64 / since.elapsed().as_secs_f64();
    println!("{made} {rate:.0}");
    Ok(())
}

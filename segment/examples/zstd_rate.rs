//! How fast zstd at level 1 is on a file's bytes, alone and on one thread, with the library and in
//! pieces of the size that the packer gives it: what `scripts/bench-sustained.py` compares with.
//! With TARGET it also writes what it makes there, and has the disk have it every second, as a log does.
//! `zstd_rate FILE SECONDS [TARGET]` prints how many bytes it makes of the file, and bytes a second.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use timecraft_segment::{LogOptions, options::SYNC_INTERVAL};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(seconds)) = (args.next(), args.next()) else {
        return Err("usage: zstd_rate FILE SECONDS [TARGET]".into());
    };
    let data = std::fs::read(path)?;
    let at_least = Duration::from_secs_f64(seconds.to_string_lossy().parse()?);
    let mut target = args.next().map(File::create).transpose()?;
    let piece = LogOptions::default().batch_bytes;
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    let mut room = vec![0; zstd::zstd_safe::compress_bound(piece)];
    let since = Instant::now();
    let mut synced = since;
    let mut rounds = 0;
    let made = loop {
        let mut made = 0;
        for piece in data.chunks(piece) {
            let length = zstd.compress_to_buffer(piece, &mut room)?;
            made += length;
            if let Some(target) = &mut target {
                target.write_all(&room[..length])?;
                if synced.elapsed() >= SYNC_INTERVAL {
                    target.sync_data()?;
                    synced = Instant::now();
                }
            }
        }
        rounds += 1;
        if since.elapsed() >= at_least {
            break made;
        }
    };
    if let Some(target) = target {
        target.sync_data()?;
    }
    let rate = (rounds * data.len()) as f64 / since.elapsed().as_secs_f64();
    println!("{made} {rate:.0}");
    Ok(())
}

//! Writes a few small logs as the first inputs of each target, into the folder that is named.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use timecraft_segment::batch::Effort;
use timecraft_segment::testing::{Batches, craft, process_start};
use timecraft_segment::{
    Compression, Ended, LogOptions, Outcome, ProcessEnd, ProcessId, Projection, Recorder, Registry,
    Sync, TailStorage, function, wasi,
};

type Done<T> = Result<T, Box<dyn Error>>;

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const RESPONSES: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a\x88\x00",
];
/// A request and a response, with a field that is kept in the table.
const BLOCKS: [&[u8]; 2] = [
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x88\x40\x01a\x01b",
];

struct Seeds {
    corpus: PathBuf,
    registry: Registry,
    count: usize,
}

fn main() -> Done<()> {
    let corpus = std::env::args()
        .nth(1)
        .ok_or("name the folder of the inputs")?;
    let folder = tempfile::tempdir()?;
    let mut seeds = Seeds {
        corpus: corpus.into(),
        registry: Registry::at(folder.path()),
        count: 0,
    };
    for target in [
        "segment", "tail", "records", "dns", "http1", "hpack", "http2",
    ] {
        fs::create_dir_all(seeds.corpus.join(target))?;
    }
    for response in RESPONSES {
        let sides = [(0, REQUEST), (1, response)];
        let pieces = sides.map(|(side, bytes)| [&[side, bytes.len() as u8], bytes].concat());
        seeds.put("http1", &pieces.concat())?;
    }
    for block in BLOCKS {
        seeds.put("hpack", &[&[block.len() as u8], block, &[1, 0xbe]].concat())?;
    }
    let [request, response] = BLOCKS;
    for how in 0..3 {
        let mut frames = vec![how];
        let talk: [(u8, u8, u8, u8, &[u8]); 5] = [
            (0, 4, 0, 0, b""),
            (1, 4, 0, 0, b""),
            (0, 1, 5, 3, request),
            (1, 1, 4, 3, response),
            (1, 0, 1, 3, b"hi"),
        ];
        for (side, kind, flags, stream, payload) in talk {
            frames.extend([side, payload.len() as u8, kind, flags, stream]);
            frames.extend(payload);
        }
        seeds.put("http2", &frames)?;
    }
    for compression in [Compression::None, Compression::Zstd] {
        for calls in [0, 6, 12] {
            seeds.log(compression, calls, 20)?;
            // Records that are larger than a buffer.
            seeds.log(compression, calls / 3, 4200)?;
        }
    }
    seeds.dns()
}

impl Seeds {
    /// The messages of the decoder's corpus, one in a script each.
    fn dns(&mut self) -> Done<()> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs/tests/corpus/dns");
        for entry in fs::read_dir(corpus)? {
            let text = fs::read_to_string(entry?.path())?;
            let digits = text.split("----").next().unwrap_or_default();
            let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
            let mut message = Vec::new();
            for pair in digits.chunks_exact(2) {
                message.push(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
            }
            let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
            self.put("dns", &[&[1, 0, length, 1], &message[..]].concat())?;
            let framed = [&[0, length], &message[..]].concat();
            let length = length.saturating_add(2);
            self.put("dns", &[&[0, 0, length, 3], &framed[..]].concat())?;
        }
        Ok(())
    }

    fn put(&mut self, target: &str, bytes: &[u8]) -> Done<()> {
        let name = format!("seed-{:03}", self.count);
        self.count += 1;
        Ok(fs::write(self.corpus.join(target).join(name), bytes)?)
    }

    fn log(&mut self, compression: Compression, calls: u64, bytes: usize) -> Done<()> {
        let options = LogOptions {
            compression,
            batch_bytes: 4096,
            buffers: 3,
            segment_bytes: 1 << 20,
            sync: Sync::None,
            tail: TailStorage::Written,
            ..LogOptions::default()
        };
        let start = process_start();
        let mut log = Recorder::create(&self.registry, &start, &options)?;
        let folder = self.registry.process_folder(start.process_id);
        for i in 0..calls {
            record(&mut log, i, bytes)?;
            self.tail(&folder)?;
        }
        log.begin(id("fd_read"), &[0, 64, 1, 32])?;
        log.publish()?;
        self.tail(&folder)?;
        log.finish(Outcome::Returned, 8)?;
        log.close(&ProcessEnd {
            status: Ended::Exited,
            exit_code: Some(0),
            signal: None,
            trap: None,
            stall_ns: 0,
        })?;
        self.segment(&folder, start.process_id)
    }

    fn tail(&mut self, folder: &Path) -> Done<()> {
        let tail = fs::read(folder.join("tail"))?;
        let mut input = craft::fold_tail(&tail).ok_or("a tail does not fold")?;
        input.extend(fs::read(folder.join("00000000.seg"))?);
        self.put("tail", &input)
    }

    /// The segment, the same without its footer, and its batches.
    fn segment(&mut self, folder: &Path, process: ProcessId) -> Done<()> {
        let bytes = fs::read(folder.join("00000000.seg"))?;
        self.put("segment", &bytes)?;
        let footer = bytes.windows(8).rposition(|w| w == b"TCFOOT\r\n");
        self.put(
            "segment",
            &bytes[..footer.ok_or("a segment has no footer")?],
        )?;
        let snapshot = self.registry.snapshot(process)?;
        let mut batches = Batches::new(Compression::None)?;
        for chunk in snapshot.chunks() {
            let mut batch = Vec::new();
            let calls = chunk.read(Projection::ALL)?;
            batches.encode(&calls, Effort::Normal, &mut batch)?;
            let input = craft::split_batch(&batch).ok_or("a batch is compressed")?;
            self.put("records", &input)?;
        }
        Ok(())
    }
}

fn id(name: &str) -> timecraft_segment::FunctionId {
    function::by_name(wasi::MODULE, name)
        .expect("a function of WASI")
        .id
}

/// One of a few calls, of each shape that records have.
fn record(log: &mut Recorder, i: u64, bytes: usize) -> Done<()> {
    let data = vec![b'a' + i as u8; bytes];
    let mut vector = [0; 8];
    vector[4..].copy_from_slice(&(bytes as u32).to_le_bytes());
    match i % 6 {
        0 => {
            log.begin(id("clock_time_get"), &[1, 1, 256])?;
            log.publish()?;
            log.write(256, &(1000 + i).to_le_bytes());
        }
        1 => {
            log.begin(id("fd_write"), &[1, 64, 1, 32])?;
            log.input(&vector);
            log.input(&data);
            log.publish()?;
            log.write(32, &(bytes as u32 / 2).to_le_bytes());
            log.consumed(8 + bytes / 2);
        }
        2 => {
            log.begin(id("fd_read"), &[3, 64, 1, 32])?;
            log.input(&vector);
            log.publish()?;
            log.write(4096, &data);
            log.write(32, &(bytes as u32).to_le_bytes());
        }
        3 => {
            log.begin(id("path_open"), &[3, 0, 128, 4, 0, 0, 0, 0, 200])?;
            log.input(b"file");
            log.publish()?;
            log.note("no grant holds it");
            log.finish(Outcome::Returned, 76)?;
            return Ok(());
        }
        4 => {
            log.begin(id("poll_oneoff"), &[64, 512, 1, 32])?;
            log.input(&[0; 48]);
            log.publish()?;
            log.write(512, &[0; 32]);
            log.write(32, &1_u32.to_le_bytes());
        }
        _ => {
            log.begin(id("fd_close"), &[3])?;
            log.publish()?;
        }
    }
    log.finish(Outcome::Returned, 0)?;
    Ok(())
}

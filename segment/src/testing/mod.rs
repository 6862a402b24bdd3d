//! What tests of this and other crates start from.

pub mod craft;

use std::collections::BTreeMap;

use crate::batch::{Effort, Encoder, Header, Open, decode};
use crate::{Calls, Compression, Projection};
use crate::{Engine, Limits, ModuleId, Preopen, ProcessId, ProcessStart, UnixNs};

/// The start of a process that never was.
#[must_use]
pub fn process_start() -> ProcessStart {
    ProcessStart {
        process_id: ProcessId::new(),
        parent_process_id: None,
        name: None,
        labels: BTreeMap::new(),
        host: "host".to_owned(),
        user: "user".to_owned(),
        module_id: ModuleId::of(b"\0asm\x01\0\0\0"),
        module_name: "guest.wasm".to_owned(),
        args: vec!["guest.wasm".to_owned()],
        environment: Vec::new(),
        grants: Vec::new(),
        preopens: vec![Preopen {
            fd: 3,
            path: "/data".to_owned(),
        }],
        sockets: Vec::new(),
        start_time: UnixNs::now(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: Engine {
            name: "wasmtime".to_owned(),
            version: "48".to_owned(),
            settings: BTreeMap::new(),
            cpu: "x86_64".to_owned(),
        },
        limits: Limits::default(),
        entry: "_start".to_owned(),
    }
}

/// Makes and reads batches apart from files, for benchmarks.
pub struct Batches(Encoder);

impl Batches {
    /// The compressor is made once, as the packer does.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(compression: Compression) -> std::io::Result<Batches> {
        Encoder::new(compression).map(Batches)
    }

    /// Appends a batch to `out`.
    ///
    /// # Errors
    /// When the records are more than a batch can hold.
    pub fn encode(
        &mut self,
        calls: &Calls,
        effort: Effort,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let open = Open {
            bytes: &[],
            back: 0,
        };
        self.0.encode(calls, 0, open, effort, out).map(drop)
    }

    /// Reads some columns of a batch; none where it is damaged.
    #[must_use]
    pub fn decode(batch: &[u8], projection: Projection) -> Option<Calls> {
        let (header, body) = batch.split_first_chunk()?;
        let header = Header::from_bytes(header).ok()?;
        let (columns, rest) = body.split_at_checked(header.summary.calls_bytes as usize)?;
        let payload = rest.get(..header.summary.payload_bytes as usize)?;
        let payload = projection.has(Projection::PAYLOAD).then_some(payload);
        decode(&header, columns, payload, projection).ok()
    }
}

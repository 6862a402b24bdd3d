//! What tests of this and other crates start from.

use std::collections::BTreeMap;

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

//! Guests in the text format, run and recorded, and what the log says of them.

#![allow(clippy::unwrap_used)]

mod child;
mod conformance;
mod ends;
mod hostile;
mod limits;
mod modules;
mod records;
mod script;

use std::collections::BTreeMap;

use tempfile::TempDir;
use timecraft_runtime::{Error, Interrupter, Options, Recording, Report, Source, run};
use timecraft_segment::{
    FunctionId, LogOptions, Outcome, Projection, Registry, Snapshot, function,
};

/// A machine with a registry and a cache, both empty at first.
struct Machine {
    folder: TempDir,
    registry: Registry,
}

/// A record of a log, on its own.
#[derive(Clone, Debug)]
struct Owned {
    offset: u64,
    function: FunctionId,
    name: &'static str,
    outcome: Outcome,
    result: u64,
    args: Vec<u64>,
    input: Vec<u8>,
    note: Option<String>,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Owned {
    /// The event as JSON.
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.input).unwrap()
    }
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("registry"));
        Machine { folder, registry }
    }

    /// Runs a guest, recorded, with what `change` makes of the options.
    fn run_with<'a>(
        &'a self,
        source: &'a Source,
        change: impl FnOnce(&mut Options<'a>),
    ) -> Result<Report, Error> {
        let mut options = Options::new(source, Interrupter::new().unwrap());
        options.args = vec![b"guest".to_vec()];
        options.cache = Some(self.folder.path().join("cache"));
        options.recording = Some(self.recording());
        change(&mut options);
        run(options)
    }

    fn run(&self, wat: &str) -> Result<Report, Error> {
        self.run_with(&text(wat), |_| {})
    }

    fn recording(&self) -> Recording<'_> {
        Recording {
            registry: &self.registry,
            log: LogOptions::default(),
            name: None,
            labels: BTreeMap::new(),
            on_start: None,
        }
    }

    fn snapshot(&self, report: &Report) -> Snapshot {
        self.registry.snapshot(report.process_id.unwrap()).unwrap()
    }

    /// All records of a process, in order.
    fn records(&self, report: &Report) -> Vec<Owned> {
        let snapshot = self.snapshot(report);
        let mut records = Vec::new();
        for chunk in snapshot.chunks() {
            let calls = chunk.read(Projection::ALL).unwrap();
            records.extend(calls.iter().map(|r| {
                Owned {
                    offset: r.offset.0,
                    function: r.function,
                    name: function::by_id(r.function).map_or("", |f| f.name),
                    outcome: r.outcome,
                    result: r.result,
                    args: r.args.to_vec(),
                    input: r.input.to_vec(),
                    note: r.note.map(str::to_owned),
                    writes: r
                        .writes()
                        .map(|w| (w.address, w.bytes.as_slice().to_vec()))
                        .collect(),
                }
            }));
        }
        assert!(
            records
                .iter()
                .enumerate()
                .all(|(i, r)| r.offset == i as u64),
            "every offset once"
        );
        records
    }

    /// The host calls of a process, without its events.
    fn calls(&self, report: &Report) -> Vec<Owned> {
        self.records(report)
            .into_iter()
            .filter(|r| !r.function.is_event())
            .collect()
    }

    /// The events of one kind.
    fn events(&self, report: &Report, kind: FunctionId) -> Vec<serde_json::Value> {
        self.records(report)
            .iter()
            .filter(|r| r.function == kind)
            .map(Owned::json)
            .collect()
    }
}

/// A module in the text format.
fn text(wat: &str) -> Source {
    Source {
        name: "guest.wat".to_owned(),
        bytes: wat.as_bytes().to_vec(),
    }
}

/// A program with one page of memory, that imports functions of WASI with these types.
fn program(imports: &[&str], body: &str) -> String {
    let mut wat = String::from("(module\n");
    for name in imports {
        let row = function::by_name("wasi_snapshot_preview1", name).unwrap();
        let params: Vec<_> = row
            .params
            .iter()
            .map(|p| match p.ty {
                function::WasmType::I32 => "i32",
                function::WasmType::I64 => "i64",
            })
            .collect();
        let result = match row.returns {
            function::Returns::Errno => "(result i32)",
            function::Returns::Nothing => "",
        };
        wat.push_str(&format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {}) {result}))\n",
            params.join(" ")
        ));
    }
    wat.push_str("(memory (export \"memory\") 1)\n");
    wat.push_str(body);
    wat.push(')');
    wat
}

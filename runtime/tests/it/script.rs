//! Guests that make a list of host calls, one after the other, whatever each returns.
//!
//! A call that traps ends its guest, so a script can be run from any of its calls on. What came of
//! the calls is in the records.

use std::fmt::Write as _;

use timecraft_runtime::{Error, Options, Report, Source};
use timecraft_segment::function::{Function, Returns, WasmType};
use timecraft_segment::{Projection, Record, function};

use crate::Machine;

/// The size of a page of memory in bytes.
pub const PAGE: u64 = 65_536;

/// A call of a host function.
#[derive(Clone, Debug)]
pub struct Call {
    pub function: &'static Function,
    /// Zero-extended, one for each parameter.
    pub args: Vec<u64>,
}

impl Call {
    pub fn new(name: &str, args: &[u64]) -> Call {
        let function = function::by_name("wasi_snapshot_preview1", name).unwrap();
        assert_eq!(function.params.len(), args.len(), "{name}");
        Call {
            function,
            args: args.to_vec(),
        }
    }

    fn wat(&self) -> String {
        let args = self.function.params.iter().zip(&self.args);
        let consts: String = args
            .map(|(p, arg)| match p.ty {
                WasmType::I32 => format!(" (i32.const {arg})"),
                WasmType::I64 => format!(" (i64.const {arg})"),
            })
            .collect();
        let call = format!("(call $f{}{consts})", self.function.id.0);
        match self.function.returns {
            Returns::Errno => format!("(drop {call})"),
            Returns::Nothing => call,
        }
    }
}

/// A guest that makes calls.
pub struct Script {
    /// The size of its memory in pages.
    pub pages: u64,
    /// What lies in the first page, from address 0 on, before each call; the rest of it is zero.
    pub data: Vec<u8>,
    /// Made first, wherever the script begins.
    pub prelude: Vec<Call>,
    pub calls: Vec<Call>,
}

impl Script {
    /// The module. It exports the entry function `from_N` for each call.
    pub fn source(&self) -> Source {
        let mut wat = String::from("(module (type $call (func))\n");
        let mut used: Vec<&Function> = Vec::new();
        for call in self.prelude.iter().chain(&self.calls) {
            if used.iter().all(|f| f.id != call.function.id) {
                used.push(call.function);
            }
        }
        for f in used {
            import(&mut wat, f);
        }
        let data: String = self.data.iter().map(|b| format!("\\{b:02x}")).collect();
        let prelude: String = self.prelude.iter().map(Call::wat).collect();
        let functions: String = (0..self.calls.len()).map(|i| format!(" $c{i}")).collect();
        write!(
            wat,
            "(memory (export \"memory\") {pages})
             (data $data \"{data}\")
             (table funcref (elem{functions}))
             (func $reset
               (memory.fill (i32.const 0) (i32.const 0) (i32.const {PAGE}))
               (memory.init $data (i32.const 0) (i32.const 0) (i32.const {size})))
             (func $run (param $i i32)
               (call $reset) {prelude}
               (loop $next
                 (call $reset)
                 (call_indirect (type $call) (local.get $i))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br_if $next (i32.lt_u (local.get $i) (i32.const {count})))))",
            pages = self.pages,
            size = self.data.len(),
            count = self.calls.len(),
        )
        .unwrap();
        for (i, call) in self.calls.iter().enumerate() {
            let call = call.wat();
            write!(
                wat,
                "(func $c{i} {call})\n(func (export \"from_{i}\") (call $run (i32.const {i})))\n"
            )
            .unwrap();
        }
        wat.push(')');
        // Not as text: a script may be run many times.
        Source {
            name: "script.wasm".to_owned(),
            bytes: wat::parse_str(&wat).unwrap(),
        }
    }
}

/// Imports a function of the table, by its name.
fn import(wat: &mut String, f: &Function) {
    let params = f.params.iter().map(|p| match p.ty {
        WasmType::I32 => " i32",
        WasmType::I64 => " i64",
    });
    let params: String = params.collect();
    let result = match f.returns {
        Returns::Errno => "(result i32)",
        Returns::Nothing => "",
    };
    let (module, name, id) = (f.module, f.name, f.id.0);
    writeln!(
        wat,
        "(import \"{module}\" \"{name}\" (func $f{id} (param{params}) {result}))"
    )
    .unwrap();
}

impl Machine {
    /// Runs a script's module from a call on.
    pub fn run_from<'a>(
        &'a self,
        source: &'a Source,
        from: usize,
        change: impl FnOnce(&mut Options<'a>),
    ) -> Result<Report, Error> {
        self.run_with(source, |o| {
            o.entry = format!("from_{from}");
            change(o);
        })
    }

    /// Hands the records of a process's host calls to `each`, in order.
    pub fn each_call(&self, report: &Report, mut each: impl FnMut(&Record<'_>)) {
        for chunk in self.snapshot(report).chunks() {
            let calls = chunk.read(Projection::ALL).unwrap();
            calls
                .iter()
                .filter(|r| !r.function.is_event())
                .for_each(|r| each(&r));
        }
    }
}

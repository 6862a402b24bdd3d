//! The way of a call from the guest to WASI and back: one for all functions, made from the rows of
//! the host-function table.
//!
//! A call's record is begun and its inputs copied, it is published, then WASI has its effect, then
//! the record is finished and the guest resumes. Whether a call is allowed, and whether a pointer is
//! good, is WASI's word alone, so that a guest behaves the same whether it is recorded or not. This
//! path must never allocate, lock or make a system call of its own.

use std::mem::MaybeUninit;

use timecraft_segment::function::{Abi, Function, Kind, MAX_PARAMS, Param, Returns, WasmType};
use timecraft_segment::wasmedge::ADDRESS_BYTES;
use timecraft_segment::{Outcome, describe, function};
use wasmtime::{
    Caller, Engine, Extern, ExternType, Func, FuncType, ImportType, Memory, Module,
    ResourceLimiter, Store, ValRaw, ValType,
};

use crate::capture::Capture;
use crate::error::{Error, Result};
use crate::limits::Limiter;
use crate::memory::{GuestMemory, MAX_IOVECS, MAX_PATH, MAX_TRANSFER};
use crate::network::Extension;
use crate::wasi::{Flow, Wasi};

#[cfg(test)]
mod random;

/// A running guest: the data of its store.
pub(crate) struct Guest {
    pub wasi: Wasi,
    pub capture: Capture,
    pub limiter: Limiter,
    /// The guest's memory, from its first call on: looking the export up costs more than a call.
    pub memory: Option<Memory>,
}

/// Why the host ends the guest in a call. The engine carries it through the guest's frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the guest exits with {0}")]
    Exit(i32),
    #[error("{0}")]
    Trap(String),
    #[error("interrupted")]
    Interrupted,
    #[error("the call cannot be recorded")]
    Log(#[source] timecraft_segment::Error),
}

impl From<timecraft_segment::Error> for Stop {
    fn from(error: timecraft_segment::Error) -> Stop {
        Stop::Log(error)
    }
}

/// Finds the functions that the module imports, in the order in which it imports them.
///
/// # Errors
///
/// [`Error::UnknownImport`], [`Error::ImportKind`], [`Error::ImportSignature`], [`Error::NoSockets`],
/// [`Error::SocketVersions`].
pub(crate) fn imports(module: &Module, extension: Extension) -> Result<Vec<&'static Function>> {
    let abis = abis(module, extension)?;
    module
        .imports()
        .map(|import| resolve(module, &import, abis))
        .collect()
}

/// The interfaces that a guest can import from, the ones that go before others first.
fn abis(module: &Module, extension: Extension) -> Result<&'static [Abi]> {
    match extension {
        Extension::None => Ok(&[Abi::Preview1]),
        Extension::WasmEdgeV1 => Ok(VERSION_1),
        Extension::WasmEdgeV2 => Ok(VERSION_2),
        Extension::Auto => match (
            told_by(module, Abi::WasmEdgeV1),
            told_by(module, Abi::WasmEdgeV2),
        ) {
            (Some(v1), Some(v2)) => Err(Error::SocketVersions { v1, v2 }),
            (Some(_), None) => Ok(VERSION_1),
            // What both versions have alike works with both.
            (None, _) => Ok(VERSION_2),
        },
    }
}

/// Version 1 has a `sock_accept` of its own.
const VERSION_1: &[Abi] = &[Abi::WasmEdgeV1, Abi::WasmEdge, Abi::Preview1];
const VERSION_2: &[Abi] = &[Abi::WasmEdgeV2, Abi::WasmEdge, Abi::Preview1];

/// The first import by whose name and signature the module can only mean that interface.
fn told_by(module: &Module, abi: Abi) -> Option<String> {
    let imports = |import: &ImportType<'_>, abi| {
        let row = function::of_abi(abi, import.module(), import.name());
        row.is_some_and(|row| match import.ty() {
            ExternType::Func(ty) => FuncType::eq(&ty, &signature(module.engine(), row)),
            _ => false,
        })
    };
    module
        .imports()
        .find(|import| imports(import, abi))
        .map(|import| import.name().to_owned())
}

fn resolve(module: &Module, import: &ImportType<'_>, abis: &[Abi]) -> Result<&'static Function> {
    let row = |module: &str, name: &str| {
        let mut all = abis.iter();
        all.find_map(|&abi| function::of_abi(abi, module, name))
    };
    let (from, name) = (import.module().to_owned(), import.name().to_owned());
    let found = match import.ty() {
        ExternType::Func(ty) => ty,
        other => {
            return Err(Error::ImportKind {
                module: from,
                name,
                kind: kind(&other),
            });
        }
    };
    let Some(row) = row(&from, &name) else {
        if function::by_name(&from, &name).is_some() {
            return Err(Error::NoSockets { name });
        }
        let unknown = module
            .imports()
            .filter(|i| row(i.module(), i.name()).is_none())
            .count();
        let nearest = nearest(&name);
        return Err(Error::UnknownImport {
            module: from,
            name,
            others: unknown.saturating_sub(1),
            nearest,
        });
    };
    let expected = signature(module.engine(), row);
    if !FuncType::eq(&found, &expected) {
        let (expected, found) = (expected.to_string(), found.to_string());
        return Err(Error::ImportSignature {
            module: from,
            name,
            expected,
            found,
        });
    }
    Ok(row)
}

/// Makes those functions for a store, as an instance of the module takes them.
pub(crate) fn link(store: &mut Store<Guest>, functions: &[&'static Function]) -> Vec<Extern> {
    functions
        .iter()
        .map(|f| Extern::Func(host_function(store, f)))
        .collect()
}

fn kind(ty: &ExternType) -> &'static str {
    match ty {
        ExternType::Func(_) => "function",
        ExternType::Global(_) => "global",
        ExternType::Table(_) => "table",
        ExternType::Memory(_) => "memory",
        ExternType::Tag(_) => "tag",
    }
}

/// The function whose name is most like this one, if one is like it at all.
fn nearest(name: &str) -> Option<String> {
    let allowed = (name.len() / 3).max(1);
    function::functions()
        .map(|f| (distance(name.as_bytes(), f.name.as_bytes()), f))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|(_, f)| format!("{}.{}", f.module, f.name))
}

/// How many insertions, deletions and replacements make one name of the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn signature(engine: &Engine, function: &Function) -> FuncType {
    let value = |p: &Param| match p.ty {
        WasmType::I32 => ValType::I32,
        WasmType::I64 => ValType::I64,
    };
    let results = match function.returns {
        Returns::Nothing => None,
        Returns::Errno => Some(ValType::I32),
    };
    FuncType::new(engine, function.params.iter().map(value), results)
}

fn host_function(store: &mut Store<Guest>, function: &'static Function) -> Func {
    let ty = signature(store.engine(), function);
    let inputs: Vec<Input> = Input::of(function).collect();
    // SAFETY: `call` reads as many values, of the types, and writes as many results as `ty` has:
    // both come from the same row of the table.
    unsafe {
        Func::new_unchecked(store, ty, move |caller, values| {
            call(function, &inputs, caller, values)
        })
    }
}

/// One call, from the guest's values to the result among them.
fn call(
    function: &'static Function,
    inputs: &[Input],
    mut caller: Caller<'_, Guest>,
    values: &mut [MaybeUninit<ValRaw>],
) -> wasmtime::Result<()> {
    let mut args = [0; MAX_PARAMS];
    let args = args.get_mut(..function.params.len()).unwrap_or_default();
    for ((arg, param), value) in args.iter_mut().zip(function.params).zip(&*values) {
        // SAFETY: the engine has put a value for each parameter there, of the type of the signature,
        // which is the row's.
        let value = unsafe { value.assume_init_ref() };
        *arg = match param.ty {
            WasmType::I32 => u64::from(value.get_u32()),
            WasmType::I64 => value.get_u64(),
        };
    }
    let result = match memory(&mut caller) {
        Some(memory) => {
            let (bytes, guest) = memory.data_and_store_mut(&mut caller);
            guest.call(function, inputs, args, bytes)?
        }
        None => caller.data_mut().call_without_memory(function, args)?,
    };
    if let (Returns::Errno, Some(value)) = (function.returns, values.first_mut()) {
        // An errno has 16 bits.
        value.write(ValRaw::u32(result as u32));
    }
    Ok(())
}

#[inline]
fn memory(caller: &mut Caller<'_, Guest>) -> Option<Memory> {
    if let Some(memory) = caller.data().memory {
        return Some(memory);
    }
    let memory = caller.get_export("memory")?.into_memory()?;
    caller.data_mut().memory = Some(memory);
    Some(memory)
}

impl Guest {
    #[inline]
    fn call(
        &mut self,
        function: &'static Function,
        inputs: &[Input],
        args: &[u64],
        memory: &mut [u8],
    ) -> std::result::Result<u64, Stop> {
        let Guest { wasi, capture, .. } = self;
        capture.begin(function.id, args)?;
        if capture.is_on() {
            copy_inputs(inputs, args, memory, capture);
        }
        capture.publish()?;
        let flow = wasi.call(function.id, args, &mut GuestMemory::new(memory, capture));
        finish(capture, flow)
    }

    /// A module may import functions and export no memory; a call of one then traps, whatever it is.
    #[cold]
    fn call_without_memory(
        &mut self,
        function: &'static Function,
        args: &[u64],
    ) -> std::result::Result<u64, Stop> {
        self.capture.begin(function.id, args)?;
        self.capture.publish()?;
        finish(
            &mut self.capture,
            Flow::Trap("missing required memory export".to_owned()),
        )
    }
}

#[inline]
fn finish(capture: &mut Capture, flow: Flow) -> std::result::Result<u64, Stop> {
    match flow {
        Flow::Return(result) => {
            capture.finish(Outcome::Returned, result)?;
            Ok(result)
        }
        Flow::Exit(code) => {
            capture.finish(Outcome::Exited, 0)?;
            Err(Stop::Exit(code))
        }
        Flow::Trap(message) => {
            capture.note(&message);
            capture.finish(Outcome::Trapped, 0)?;
            Err(Stop::Trap(message))
        }
        Flow::Interrupted => {
            capture.finish(Outcome::Interrupted, 0)?;
            Err(Stop::Interrupted)
        }
    }
}

/// A parameter that points to input: the guest's bytes that go into the call.
#[derive(Clone, Copy, Debug)]
struct Input {
    shape: Shape,
    /// Which argument is the pointer.
    pointer: usize,
    /// Which argument counts the elements; of one that needs no count, the pointer again.
    count: usize,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Bytes: of a path, of a name, of an option.
    Bytes,
    /// An array of subscriptions.
    Subscriptions,
    /// A structure of that size.
    Structure(u64),
    /// The address and length of a socket address.
    Pointer,
    /// The same, and what they point to.
    PointerAndBytes,
    /// An array of addresses and lengths.
    Vectors,
    /// The same, and what they point to.
    VectorsAndBytes,
}

impl Input {
    fn of(function: &'static Function) -> impl Iterator<Item = Input> {
        function
            .params
            .iter()
            .enumerate()
            .filter_map(|(pointer, param)| {
                let (shape, count) = match param.kind {
                    Kind::Path { count } | Kind::Text { count } | Kind::InBytes { count } => {
                        (Shape::Bytes, count)
                    }
                    Kind::InStruct(structure) => (Shape::Structure(structure.size as u64), pointer),
                    Kind::Address => (Shape::PointerAndBytes, pointer),
                    Kind::OutAddress => (Shape::Pointer, pointer),
                    Kind::Subscriptions { count } => (Shape::Subscriptions, count),
                    Kind::Iovecs { count } => (Shape::Vectors, count),
                    Kind::ConstIovecs { count } => (Shape::VectorsAndBytes, count),
                    _ => return None,
                };
                Some(Input {
                    shape,
                    pointer,
                    count,
                })
            })
    }
}

/// Copies the call's input to the log, up to the first pointer that is out of bounds, and of an array
/// that is longer than one call may be as much as that: a reader knows from the arguments what should
/// be there, so what is missing can only be at the end.
#[inline]
fn copy_inputs(inputs: &[Input], args: &[u64], memory: &[u8], capture: &mut Capture) {
    // What vectors point to comes last: the host may take less of it.
    let mut vectors = None;
    for input in inputs {
        let (Some(&pointer), Some(&count)) = (args.get(input.pointer), args.get(input.count))
        else {
            return;
        };
        let (elements, size, most) = match input.shape {
            Shape::Bytes => (count, 1, MAX_PATH),
            Shape::Structure(size) => (1, size, MAX_PATH),
            Shape::Pointer | Shape::PointerAndBytes => (1, describe::IOVEC as u64, MAX_PATH),
            Shape::Subscriptions => (count, describe::SUBSCRIPTION as u64, MAX_TRANSFER),
            Shape::Vectors | Shape::VectorsAndBytes => {
                (count.min(MAX_IOVECS), describe::IOVEC as u64, MAX_TRANSFER)
            }
        };
        let Some(whole) = slice(memory, pointer, elements.saturating_mul(size)) else {
            return;
        };
        let Some(array) = whole.get(..whole.len().min(most)) else {
            return;
        };
        capture.input(array);
        if array.len() < whole.len() {
            return;
        }
        match input.shape {
            Shape::VectorsAndBytes => vectors = Some(array),
            Shape::PointerAndBytes => {
                let Some(address) = pointed(array, memory) else {
                    return;
                };
                capture.input(address);
            }
            _ => {}
        }
    }
    if let Some(array) = vectors {
        copy_vectors(array, memory, capture);
    }
}

/// The socket address that a pointer and a length mean, as much of it as is recorded.
fn pointed<'a>(pointer: &[u8], memory: &'a [u8]) -> Option<&'a [u8]> {
    let &[a0, a1, a2, a3, l0, l1, l2, l3] = pointer.first_chunk()?;
    let address = u32::from_le_bytes([a0, a1, a2, a3]);
    let length = u32::from_le_bytes([l0, l1, l2, l3]).min(ADDRESS_BYTES as u32);
    slice(memory, u64::from(address), u64::from(length))
}

#[inline]
fn copy_vectors(array: &[u8], memory: &[u8], capture: &mut Capture) {
    let mut left = MAX_TRANSFER;
    let (vectors, _) = array.as_chunks::<8>();
    for &[a0, a1, a2, a3, l0, l1, l2, l3] in vectors {
        let address = u32::from_le_bytes([a0, a1, a2, a3]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        // What is empty may lie anywhere, for WASI too.
        if length == 0 {
            continue;
        }
        let Some(bytes) = slice(memory, u64::from(address), u64::from(length)) else {
            return;
        };
        let Some(bytes) = bytes.get(..bytes.len().min(left)) else {
            return;
        };
        left -= bytes.len();
        capture.input(bytes);
        if left == 0 {
            return;
        }
    }
}

#[inline]
fn slice(memory: &[u8], address: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(address).ok()?;
    memory.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// The engine asks before a memory or a table is made or grows. A failure here would be the log's.
impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let maximum = maximum.map(|m| m as u64);
        Ok(self
            .limiter
            .memory(&mut self.capture, current as u64, desired as u64, maximum)
            .map_err(Stop::Log)?)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Growth beyond the memory's own maximum was refused before, so this is the host's failure.
        Ok(self
            .limiter
            .memory_failed(&mut self.capture, &format!("{error:#}"))
            .map_err(Stop::Log)?)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let maximum = maximum.map(|m| m as u64);
        Ok(self
            .limiter
            .table(&mut self.capture, current as u64, desired as u64, maximum)
            .map_err(Stop::Log)?)
    }

    // A table's growth fails beside `table_growing` only where its size cannot be a number of this
    // machine. That follows from the module alone, so a replay need not be told.

    fn instances(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_function_has_a_nearest_one() {
        assert_eq!(
            nearest("fd_wirte").as_deref(),
            Some("wasi_snapshot_preview1.fd_write")
        );
        assert_eq!(
            nearest("fd_write").as_deref(),
            Some("wasi_snapshot_preview1.fd_write")
        );
        assert_eq!(nearest("sock_gethostbyname"), None);
        assert_eq!(nearest("emscripten_resize_heap"), None);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
    }

    #[test]
    fn inputs_are_those_of_the_table() {
        let inputs = |name: &str| {
            let row = function::by_name("wasi_snapshot_preview1", name);
            row.map_or(0, |f| Input::of(f).count())
        };
        assert_eq!(inputs("clock_time_get"), 0);
        assert_eq!(inputs("fd_write"), 1);
        assert_eq!(inputs("fd_read"), 1);
        assert_eq!(inputs("poll_oneoff"), 1);
        assert_eq!(inputs("path_rename"), 2);
    }
}

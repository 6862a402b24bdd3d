//! A module's bytes on the way in: read, converted from text, and what its sections say before it
//! is compiled.
//!
//! This module must never run or compile anything; whether a module is valid is the engine's word.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use wasmparser::{MemoryType, Parser, Payload, TypeRef};

use crate::error::{Error, Result};

/// A module as the user gave it: a name, and bytes in the binary or the text format.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that messages and the recording call it by: its file's name.
    pub name: String,
    /// The bytes of `.wasm` or `.wat`.
    pub bytes: Vec<u8>,
}

impl Source {
    /// Reads a module from a file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] when the file cannot be read.
    pub fn read(path: &Path) -> Result<Source> {
        let bytes = fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        Ok(Source { name, bytes })
    }
}

/// A module in the binary format, and what must be known of it before it is compiled.
#[derive(Debug)]
pub(crate) struct Binary<'a> {
    /// The module, a `.wasm` file. This is what is digested, recorded and compiled.
    pub bytes: Cow<'a, [u8]>,
    /// Whether it has a start section, so that instantiation runs the guest.
    pub has_start: bool,
    /// What all its memories begin with, in bytes.
    pub memory_bytes: u64,
    /// What all its tables begin with, in elements.
    pub table_elements: u64,
}

impl<'a> Binary<'a> {
    /// Takes the binary form of a module, converting text, and looks at its sections.
    ///
    /// # Errors
    ///
    /// [`Error::NotWasm`], [`Error::Text`], [`Error::Component`], [`Error::BinaryVersion`],
    /// [`Error::SharedMemory`], and [`Error::Invalid`] where sections cannot be told apart.
    pub fn new(source: &'a Source) -> Result<Binary<'a>> {
        let module = &source.name;
        let bytes = match wat::Detect::from_bytes(&source.bytes) {
            wat::Detect::WasmBinary => Cow::Borrowed(&source.bytes[..]),
            wat::Detect::WasmText => wat::parse_bytes(&source.bytes).map_err(|e| Error::Text {
                module: module.clone(),
                reason: e.to_string(),
            })?,
            wat::Detect::Unknown => {
                return Err(Error::NotWasm {
                    module: module.clone(),
                    found: appearance(&source.bytes),
                });
            }
        };
        check_header(module, &bytes)?;
        let invalid = |e: wasmparser::BinaryReaderError| Error::Invalid {
            module: module.clone(),
            reason: e.to_string(),
        };
        let mut binary = Binary {
            bytes: Cow::Borrowed(&[]),
            has_start: false,
            memory_bytes: 0,
            table_elements: 0,
        };
        for payload in headers(&bytes) {
            match payload.map_err(invalid)? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if let TypeRef::Memory(MemoryType { shared: true, .. }) =
                            import.map_err(invalid)?.ty
                        {
                            return Err(Error::SharedMemory {
                                module: module.clone(),
                            });
                        }
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let memory = memory.map_err(invalid)?;
                        if memory.shared {
                            return Err(Error::SharedMemory {
                                module: module.clone(),
                            });
                        }
                        let page = 1u64
                            .checked_shl(memory.page_size_log2.unwrap_or(16))
                            .unwrap_or(u64::MAX);
                        let initial = memory.initial.saturating_mul(page);
                        binary.memory_bytes = binary.memory_bytes.saturating_add(initial);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        let table = table.map_err(invalid)?;
                        binary.table_elements =
                            binary.table_elements.saturating_add(table.ty.initial);
                    }
                }
                Payload::StartSection { .. } => binary.has_start = true,
                _ => {}
            }
        }
        binary.bytes = bytes;
        Ok(binary)
    }
}

/// The sections of a module without the bodies of its functions, which are most of it.
fn headers(bytes: &[u8]) -> impl Iterator<Item = wasmparser::Result<Payload<'_>>> {
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        match parser.parse(rest, true) {
            Ok(wasmparser::Chunk::Parsed { consumed, payload }) => {
                rest = rest.get(consumed..).unwrap_or(&[]);
                match &payload {
                    Payload::CodeSectionStart { size, .. } => {
                        rest = rest.get(*size as usize..).unwrap_or(&[]);
                        parser.skip_section();
                    }
                    Payload::End(_) => ended = true,
                    _ => {}
                }
                Some(Ok(payload))
            }
            // All bytes are there, so the parser never asks for more; were it to, nothing follows.
            Ok(wasmparser::Chunk::NeedMoreData(_)) => None,
            Err(e) => {
                ended = true;
                Some(Err(e))
            }
        }
    })
}

/// Tells a core module of version 1 from everything else that begins with `\0asm`.
///
/// The bytes after the magic are a version and a layer, 16 bits each, little-endian; layer 1 is
/// that of components.
fn check_header(module: &str, bytes: &[u8]) -> Result<()> {
    let module = module.to_owned();
    let Some(&[v0, v1, l0, l1]) = bytes.get(4..8).and_then(|b| b.first_chunk::<4>()) else {
        return Err(Error::Invalid {
            module,
            reason: "the file ends in its header".to_owned(),
        });
    };
    if Parser::is_component(bytes) || [l0, l1] == [1, 0] {
        return Err(Error::Component { module });
    }
    match u32::from_le_bytes([v0, v1, l0, l1]) {
        1 => Ok(()),
        version => Err(Error::BinaryVersion { module, version }),
    }
}

/// What a file that is not WebAssembly looks like, for a message.
fn appearance(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "an ELF file: a native program, or a module compiled ahead of time"
        }
        [b'#', b'!', ..] => "a script",
        [0x1f, 0x8b, ..] => "compressed by gzip",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed by zstd",
        _ if str::from_utf8(bytes).is_ok() => "text that does not begin with `(module`",
        _ => "of no format that timecraft knows",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn source(bytes: impl Into<Vec<u8>>) -> Source {
        Source {
            name: "guest".to_owned(),
            bytes: bytes.into(),
        }
    }

    fn refused(bytes: impl Into<Vec<u8>>) -> Error {
        Binary::new(&source(bytes)).unwrap_err()
    }

    #[test]
    fn sections_say_what_must_be_known_before_compilation() {
        let text = r"(module
            (memory 2) (memory 3 4) (table 7 funcref) (table 5 funcref)
            (func $start) (func $body (drop (i32.const 1))) (start $start)
            (data (i32.const 0) (i32.const 0) ))";
        // A mistake in the text is reported with its place.
        assert!(matches!(refused(text), Error::Text { reason, .. } if reason.contains("4:")));

        let text = r#"(module
            (memory 2) (memory 3 4) (table 7 funcref) (table 5 funcref)
            (func $start) (func $body (drop (i32.const 1))) (start $start)
            (data (memory 0) (i32.const 0) "x"))"#;
        let source = source(text);
        let binary = Binary::new(&source).unwrap();
        assert!(binary.bytes.starts_with(b"\0asm\x01\0\0\0"));
        assert!(binary.has_start);
        assert_eq!(binary.memory_bytes, 5 * 65536);
        assert_eq!(binary.table_elements, 12);
    }

    #[test]
    fn what_is_no_core_module_is_told_apart() {
        assert!(matches!(refused(""), Error::NotWasm { found: "empty", .. }));
        assert!(matches!(
            refused("#!/bin/sh\n"),
            Error::NotWasm {
                found: "a script",
                ..
            }
        ));
        assert!(matches!(refused(b"\x7fELF\x02\x01"), Error::NotWasm { .. }));
        assert!(matches!(refused(b"\0asm\x01"), Error::Invalid { .. }));
        assert!(matches!(
            refused(b"\0asm\x0d\0\x01\0"),
            Error::Component { .. }
        ));
        assert!(matches!(
            refused(b"\0asm\x02\0\0\0"),
            Error::BinaryVersion { version: 2, .. }
        ));
        assert!(matches!(
            refused(b"\0asm\x01\0\0\0\x01\xff"),
            Error::Invalid { .. }
        ));
        assert!(matches!(
            refused("(module (memory 1 2 shared))"),
            Error::SharedMemory { .. }
        ));
        let import = r#"(module (import "env" "memory" (memory 1 2 shared)))"#;
        assert!(matches!(refused(import), Error::SharedMemory { .. }));
    }
}

//! The table `modules`: one row for each module of the registry, with what it says of itself.
//!
//! A module that cannot be parsed is a row all the same: what could not be found out is null.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, MapBuilder, MapFieldNames, StringBuilder, StringViewArray,
    StructBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use timecraft_segment::Error as SegmentError;
use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload, TypeRef};

use crate::error::ReadError;
use crate::scan::output::{Output, Step};
use crate::scan::pruning::long;
use crate::scan::work::{Item, RowsOf};
use crate::scan::{Column, Scan, Table, list_of};

/// The table.
#[derive(Debug)]
pub(crate) struct Modules;

impl Table for Modules {
    fn name(&self) -> &'static str {
        "modules"
    }

    fn description(&self) -> &'static str {
        "A module"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text(
                "module_id",
                "The SHA-256 of its binary form, in hexadecimal digits.",
            ),
            Column::text("name", "What it calls itself in its name section.").nullable(),
            Column::long("size", "Its size in bytes."),
            Column::new(
                "imports",
                list_of(texts_of(&IMPORT)),
                "What it needs of the host.",
            )
            .nullable(),
            Column::new(
                "exports",
                list_of(texts_of(&EXPORT)),
                "What it offers to the host.",
            )
            .nullable(),
            Column::new(
                "producers",
                producers_type(),
                "What made it: language, processed-by and sdk, each with names and versions.",
            )
            .nullable(),
        ]
    }

    fn rows_of(&self) -> RowsOf {
        RowsOf::Modules
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Module(id) = item else {
            return Ok(());
        };
        let wasm = match scan.pin.registry().module(*id) {
            Ok(wasm) => wasm,
            // It was removed since the statement began.
            Err(SegmentError::NoSuchModule { .. }) => return Ok(()),
            Err(source) => {
                return match scan.pin.skip(None, &source) {
                    Ok(()) => Ok(()),
                    Err(()) => Err(ReadError::registry(source).into()),
                };
            }
        };
        let about = About::of(&wasm);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values([id.to_string()])),
            Arc::new(StringViewArray::from_iter([about.name.as_deref()])),
            Arc::new(Int64Array::from_iter_values([long(wasm.len() as u64)])),
            structs(&IMPORT, about.imports.as_deref()),
            structs(&EXPORT, about.exports.as_deref()),
            producers(about.producers.as_deref())?,
        ];
        out.emit(1, &arrays)
    }
}

/// The fields of an import.
const IMPORT: [&str; 3] = ["module", "name", "kind"];
/// The fields of an export.
const EXPORT: [&str; 2] = ["name", "kind"];

/// What a module says of itself; none where its bytes do not say.
#[derive(Debug, Default)]
struct About {
    name: Option<String>,
    imports: Option<Vec<[String; 3]>>,
    exports: Option<Vec<[String; 2]>>,
    producers: Option<Vec<(String, Vec<String>)>>,
}

impl About {
    fn of(wasm: &[u8]) -> About {
        let mut about = About::default();
        // What was found before the damage is true; what may be missing is not told.
        if about.parse(wasm).is_err() {
            return About::default();
        }
        about.imports.get_or_insert_default();
        about.exports.get_or_insert_default();
        about
    }

    fn parse(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    let mut imports = Vec::new();
                    for import in section.into_imports() {
                        let import = import?;
                        let kind = import_kind(import.ty);
                        imports.push([import.module, import.name, kind].map(str::to_owned));
                    }
                    self.imports = Some(imports);
                }
                Payload::ExportSection(section) => {
                    let mut exports = Vec::new();
                    for export in section {
                        let export = export?;
                        exports.push([export.name, export_kind(export.kind)].map(str::to_owned));
                    }
                    self.exports = Some(exports);
                }
                // Custom sections may be anything: one that cannot be read damages nothing else.
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::Name(names) => {
                        self.name = names.into_iter().find_map(|name| match name {
                            Ok(Name::Module { name, .. }) => Some(name.to_owned()),
                            _ => None,
                        });
                    }
                    KnownCustom::Producers(fields) => self.producers = read_producers(fields).ok(),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_producers(
    section: wasmparser::ProducersSectionReader<'_>,
) -> wasmparser::Result<Vec<(String, Vec<String>)>> {
    let mut producers = Vec::new();
    for field in section {
        let field = field?;
        let mut values = Vec::new();
        for value in field.values {
            let value = value?;
            values.push(
                format!("{} {}", value.name, value.version)
                    .trim_end()
                    .to_owned(),
            );
        }
        producers.push((field.name.to_owned(), values));
    }
    Ok(producers)
}

fn import_kind(ty: TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}

fn export_kind(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "function",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}

fn fields_of(names: &[&'static str]) -> Fields {
    names
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, false))
        .collect()
}

fn texts_of(names: &[&'static str]) -> DataType {
    DataType::Struct(fields_of(names))
}

/// One list of structures of texts, or null.
fn structs<const N: usize>(names: &[&'static str; N], rows: Option<&[[String; N]]>) -> ArrayRef {
    let mut list = ListBuilder::new(StructBuilder::from_fields(fields_of(names), 0));
    for row in rows.into_iter().flatten() {
        for (at, value) in row.iter().enumerate() {
            if let Some(builder) = list.values().field_builder::<StringBuilder>(at) {
                builder.append_value(value);
            }
        }
        list.values().append(true);
    }
    list.append(rows.is_some());
    Arc::new(list.finish())
}

fn producers_type() -> DataType {
    let key = Field::new("key", DataType::Utf8, false);
    let value = Field::new("value", list_of(DataType::Utf8), true);
    let entries = DataType::Struct(Fields::from(vec![key, value]));
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

fn producers(fields: Option<&[(String, Vec<String>)]>) -> Result<ArrayRef> {
    let names = MapFieldNames {
        entry: "entries".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let values = ListBuilder::new(StringBuilder::new());
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), values);
    for (key, values) in fields.into_iter().flatten() {
        map.keys().append_value(key);
        map.values().append_value(values.iter().map(Some));
    }
    map.append(fields.is_some())?;
    Ok(Arc::new(map.finish()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::About;

    /// A section: its id, its length, its bytes.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    fn module() -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend(section(1, b"\x01\x60\x00\x00"));
        wasm.extend(section(2, b"\x01\x03env\x01f\x00\x00"));
        wasm.extend(section(5, b"\x01\x00\x01"));
        wasm.extend(section(7, b"\x01\x06memory\x02\x00"));
        wasm.extend(section(0, b"\x04name\x00\x06\x05guest"));
        wasm.extend(section(0, b"\x09producers\x01\x08language\x01\x01C\x0211"));
        wasm
    }

    #[test]
    fn a_module_says_what_it_needs_and_offers() {
        let about = About::of(&module());
        assert_eq!(about.name.unwrap(), "guest");
        assert_eq!(about.imports.unwrap(), [["env", "f", "function"]]);
        assert_eq!(about.exports.unwrap(), [["memory", "memory"]]);
        assert_eq!(
            about.producers.unwrap(),
            [("language".to_owned(), vec!["C 11".to_owned()])]
        );
    }

    #[test]
    fn an_empty_module_needs_nothing() {
        let about = About::of(b"\0asm\x01\0\0\0");
        assert!(about.imports.unwrap().is_empty());
        assert!(about.producers.is_none());
    }

    #[test]
    fn damage_is_nulls_wherever_it_is() {
        let whole = module();
        for cut in 0..whole.len() {
            About::of(&whole[..cut]);
        }
        assert!(About::of(b"MZ").imports.is_none());
        assert!(About::of(&whole[..29]).imports.is_none());
    }
}

//! Every SQL function of ours, over any bytes and text: it never fails, and gives the same for a value
//! that stands alone as for one in a column.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryViewArray, ListBuilder, StringBuilder, StringViewArray, StructBuilder,
};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use timecraft_segment::Registry;
use timecraft_udfs::sql::SECTION;

use crate::session;

const ROWS: usize = 4;

/// What arguments are made of: each function takes of it what it can.
#[derive(Clone, Debug)]
struct Row {
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    fields: Option<Vec<(String, String)>>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // What functions look for comes often.
    let text = prop_oneof![
        ".{0,20}",
        "(/|[0-9a-fA-F]{1,40}|[a-z]|-|\\{|\\})*",
        "(::ffff:|fe80::)?[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,3})?",
        "(https?|file|mailto):(//)?[a-z0-9.:@\\[\\]]{0,12}[/?#%a-z]{0,8}",
        "\\{\"a\": (1|\"b\"|\\[1, 2\\]|\\{\\}|nul)\\}?",
    ];
    let hello = prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(any::<u8>(), 0..200).prop_map(|rest| {
            let length = u8::try_from(rest.len()).unwrap();
            let inner = length.saturating_sub(4);
            [&[22, 3, 1, 0, length, 1, 0, 0, inner, 3, 3], rest.as_slice()].concat()
        }),
        "(GET|HTTP/1\\.1) (/|200) (HTTP/1\\.1|OK)(\r\n[A-Za-z-]{1,8}: ?[a-z0-9]{0,4}){0,4}\r\n\r\n.{0,8}"
            .prop_map(String::into_bytes),
    ];
    let fields = vec(("[Aa]?b?", ".{0,4}"), 0..4);
    let row = (option::of(text), option::of(hello), option::of(fields));
    let row = row.prop_map(|(text, bytes, fields)| Row {
        text,
        bytes,
        fields,
    });
    vec(row, ROWS)
}

fn column(kind: &DataType, rows: &[Row]) -> ArrayRef {
    match kind {
        DataType::Utf8View => Arc::new(StringViewArray::from_iter(
            rows.iter().map(|row| row.text.as_deref()),
        )),
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter(
            rows.iter().map(|row| row.bytes.as_deref()),
        )),
        DataType::List(item) => {
            let DataType::Struct(columns) = item.data_type() else {
                panic!("a list of {item}");
            };
            let mut lists = ListBuilder::new(StructBuilder::from_fields(columns.clone(), 0));
            for row in rows {
                for (name, value) in row.fields.iter().flatten() {
                    let field = lists.values();
                    for (at, text) in [name, value].into_iter().enumerate() {
                        field
                            .field_builder::<StringBuilder>(at)
                            .unwrap()
                            .append_value(text);
                    }
                    field.append(true);
                }
                lists.append(row.fields.is_some());
            }
            Arc::new(lists.finish())
        }
        other => panic!("an argument of type {other}"),
    }
}

fn call(function: &ScalarUDF, args: Vec<ColumnarValue>, rows: usize) -> ArrayRef {
    let kinds: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
    let field = |kind: &DataType| Arc::new(Field::new("argument", kind.clone(), true));
    let called = function.invoke_with_args(ScalarFunctionArgs {
        args,
        arg_fields: kinds.iter().map(field).collect(),
        number_rows: rows,
        return_field: field(&function.return_type(&kinds).unwrap()),
        config_options: Arc::new(ConfigOptions::default()),
    });
    called.unwrap().into_array(rows).unwrap()
}

fn check(function: &ScalarUDF, rows: &[Row]) {
    let kinds = function
        .signature()
        .type_signature
        .get_example_types()
        .remove(0);
    let columns: Vec<ArrayRef> = kinds.iter().map(|kind| column(kind, rows)).collect();
    let arrays = columns.iter().cloned().map(ColumnarValue::Array);
    let together = call(function, arrays.collect(), rows.len());
    assert_eq!(together.len(), rows.len(), "{}", function.name());
    for row in 0..rows.len() {
        let alone = columns
            .iter()
            .map(|column| ScalarValue::try_from_array(column, row).unwrap());
        let alone: Vec<ColumnarValue> = alone.map(ColumnarValue::Scalar).collect();
        let expected = ScalarValue::try_from_array(&together, row).unwrap();
        // One that is the same for all, beside columns, and all of them.
        for constant in 0..=alone.len() {
            let mut args = alone.clone();
            if let (Some(arg), Some(column)) = (args.get_mut(constant), columns.get(constant)) {
                *arg = ColumnarValue::Array(column.slice(row, 1));
            }
            let value = call(function, args, 1);
            let value = ScalarValue::try_from_array(&value, 0).unwrap();
            assert_eq!(value, expected, "{}, row {row}", function.name());
        }
    }
}

/// Without those that wait for something.
static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&Registry::at(folder.path()));
    let all = session.context().state().scalar_functions().clone();
    let is_ours = |function: &Arc<ScalarUDF>| {
        let words = function.documentation();
        words.is_some_and(|words| words.doc_section == SECTION) && function.as_async().is_none()
    };
    all.into_values().filter(is_ours).collect()
});

proptest! {
    #[test]
    fn functions_take_anything(rows in rows()) {
        prop_assert!(!FUNCTIONS.is_empty());
        for function in FUNCTIONS.iter() {
            check(function, &rows);
        }
    }
}

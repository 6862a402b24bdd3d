//! Functions over headers.

use std::sync::Arc;

use arrow::array::{ListBuilder, StringBuilder, StringViewBuilder};
use arrow::datatypes::DataType;

use super::arguments::Kind;
use super::columns::{append, texts_type};
use super::function::{Argument, Function};

const HEADERS: Argument = Argument::new(
    "headers",
    Kind::Fields,
    "Headers or trailers: a list of structs with name and value.",
);
const NAME: Argument = Argument::new(
    "name",
    Kind::Text,
    "The name of a header, in whatever case.",
);

pub(super) const HEADER: Function = Function {
    name: "header",
    arguments: &[HEADERS, NAME],
    returns: || DataType::Utf8View,
    description: "The value of the first header of a name, in whatever case; null where there is none.",
    examples: &["header([{name: 'Host', value: 'example.com'}], 'host')"],
    call: |arguments| {
        let (headers, names) = (arguments.fields(0)?, arguments.text(1)?);
        let mut values = StringViewBuilder::with_capacity(arguments.rows());
        for row in 0..arguments.rows() {
            let value = headers.get(row).zip(names.get(row));
            let value = value.and_then(|(mut headers, wanted)| {
                headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            });
            values.append_option(value.map(|(_, value)| value));
        }
        Ok(Arc::new(values.finish()))
    },
};

pub(super) const HEADERS_ALL: Function = Function {
    name: "headers_all",
    arguments: &[HEADERS, NAME],
    returns: texts_type,
    description: "The values of all headers of a name, in whatever case, in their order; empty where \
                  there is none.",
    examples: &[
        "headers_all([{name: 'Set-Cookie', value: 'a=1'}, {name: 'set-cookie', value: 'b=2'}], \
         'Set-Cookie')",
    ],
    call: |arguments| {
        let (headers, names) = (arguments.fields(0)?, arguments.text(1)?);
        let mut values = ListBuilder::new(StringBuilder::new());
        for row in 0..arguments.rows() {
            let found = headers.get(row).zip(names.get(row));
            let is_null = found.is_none();
            if let Some((headers, wanted)) = found {
                for (_, value) in headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)) {
                    append(values.values(), value)?;
                }
            }
            values.append(!is_null);
        }
        Ok(Arc::new(values.finish()))
    },
};

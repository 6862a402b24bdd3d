//! Functions over bytes of any kind.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use timecraft_segment::text;

use super::arguments::{Arguments, Kind};
use super::function::{Argument, Function};
use crate::hexdump;

pub(super) const BODY_TEXT: Function = Function {
    name: "body_text",
    arguments: &[Argument::new("body", Kind::Bytes, "A body, or any bytes.")],
    returns: || DataType::Utf8View,
    description: "Bytes as text: what is UTF-8 as it is, every other byte as \\xNN, so that no two byte \
                  strings give the same text.",
    examples: &["body_text(x'68c3b621ff')"],
    call: |arguments| {
        texts(arguments, |bytes, text| {
            text.push_str(&text::lossless(bytes));
        })
    },
};

pub(super) const HEXDUMP: Function = Function {
    name: "hexdump",
    arguments: &[Argument::new("bytes", Kind::Bytes, "Any bytes.")],
    returns: || DataType::Utf8View,
    description: "Bytes as lines of sixteen: position, hexadecimal digits, and what of them is printable \
                  ASCII, as trace network -v shows them.",
    examples: &["hexdump('GET / HTTP/1.1')"],
    call: |arguments| texts(arguments, |bytes, text| hexdump::write(text, bytes)),
};

/// The text that is written for each value.
fn texts(arguments: &Arguments, write: impl Fn(&[u8], &mut String)) -> Result<ArrayRef> {
    let bytes = arguments.bytes(0)?;
    let mut texts = StringViewBuilder::with_capacity(arguments.rows());
    let mut text = String::new();
    for row in 0..arguments.rows() {
        match bytes.get(row) {
            Some(bytes) => {
                text.clear();
                write(bytes, &mut text);
                // Of gigabytes the text can be longer than a view can be.
                texts.try_append_value(&text)?;
            }
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

//! Sections and EDNS of DNS messages as columns, for the function `dns_message` and for the table
//! `dns_messages`, which so have the same types.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;

use super::columns::{append, list_of, lists};
use crate::dns::{Message, Section, option_name};

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

/// The fields of a question.
#[must_use]
pub fn question_fields() -> Fields {
    Fields::from(["name", "type", "class"].map(text).to_vec())
}

/// The fields of a record.
#[must_use]
pub fn record_fields() -> Fields {
    let ttl = Field::new("ttl", DataType::Int64, false);
    Fields::from(vec![
        text("name"),
        text("type"),
        text("class"),
        ttl,
        text("data"),
    ])
}

fn option_fields() -> Fields {
    let code = Field::new("code", DataType::Int32, false);
    Fields::from(vec![code, text("name"), text("data")])
}

/// The fields of what EDNS adds.
#[must_use]
pub fn edns_fields() -> Fields {
    let int = |name| Field::new(name, DataType::Int32, false);
    let wants = Field::new("do", DataType::Boolean, false);
    let options = list_of(DataType::Struct(option_fields()));
    let options = Field::new("options", options, false);
    Fields::from(vec![int("udp_size"), int("version"), wants, options])
}

/// The records of a section, of all messages.
#[derive(Default)]
pub struct Records {
    lengths: Vec<usize>,
    names: StringBuilder,
    kinds: StringBuilder,
    classes: StringBuilder,
    ttls: Int64Builder,
    data: StringBuilder,
}

impl Records {
    /// Adds the list of a section's records; an empty one for no message.
    ///
    /// # Errors
    /// When texts of one batch have more than 2 GiB.
    pub fn push(&mut self, message: Option<&Message>, section: Section) -> Result<()> {
        let mut length = 0;
        for record in message
            .into_iter()
            .flat_map(|message| message.section(section))
        {
            append(&mut self.names, record.name)?;
            append(&mut self.kinds, &record.type_name())?;
            append(&mut self.classes, &record.class_name())?;
            self.ttls.append_value(record.ttl.into());
            append(&mut self.data, record.data)?;
            length += 1;
        }
        self.lengths.push(length);
        Ok(())
    }

    /// The lists.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.names.finish()),
            Arc::new(self.kinds.finish()),
            Arc::new(self.classes.finish()),
            Arc::new(self.ttls.finish()),
            Arc::new(self.data.finish()),
        ];
        lists(record_fields(), columns, self.lengths)
    }

    /// The lists as those of questions, which have neither time to live nor data.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn finish_questions(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.names.finish()),
            Arc::new(self.kinds.finish()),
            Arc::new(self.classes.finish()),
        ];
        lists(question_fields(), columns, self.lengths)
    }
}

/// What EDNS adds to messages.
#[derive(Default)]
pub struct EdnsColumn {
    valid: Vec<bool>,
    sizes: Int32Builder,
    versions: Int32Builder,
    wants: BooleanBuilder,
    lengths: Vec<usize>,
    codes: Int32Builder,
    names: StringBuilder,
    data: StringBuilder,
}

impl EdnsColumn {
    /// Adds what a message has; null where it has none.
    ///
    /// # Errors
    /// When texts of one batch have more than 2 GiB.
    pub fn push(&mut self, message: Option<&Message>) -> Result<()> {
        let edns = message.and_then(|message| message.edns);
        self.valid.push(edns.is_some());
        let edns = edns.unwrap_or_default();
        self.sizes.append_value(edns.udp_size.into());
        self.versions.append_value(edns.version.into());
        self.wants.append_value(edns.dnssec_ok);
        let mut length = 0;
        for (code, data) in message.into_iter().flat_map(Message::options) {
            self.codes.append_value(code.into());
            append(&mut self.names, &option_name(code))?;
            append(&mut self.data, data)?;
            length += 1;
        }
        self.lengths.push(length);
        Ok(())
    }

    /// The structs.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let options: Vec<ArrayRef> = vec![
            Arc::new(self.codes.finish()),
            Arc::new(self.names.finish()),
            Arc::new(self.data.finish()),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.sizes.finish()),
            Arc::new(self.versions.finish()),
            Arc::new(self.wants.finish()),
            lists(option_fields(), options, self.lengths)?,
        ];
        let nulls = Some(NullBuffer::from(self.valid));
        Ok(Arc::new(StructArray::try_new(
            edns_fields(),
            columns,
            nulls,
        )?))
    }
}

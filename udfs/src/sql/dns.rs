//! Functions over DNS.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, ListBuilder, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;

use super::arguments::Kind;
use super::columns::{append, append_option, list_of, texts_type};
use super::dns_columns::{EdnsColumn, Records, edns_fields, question_fields, record_fields};
use super::function::{Argument, Function};
use crate::dns::{Header, Message, Record, Section};

pub(super) const DNS_MESSAGE: Function = Function {
    name: "dns_message",
    arguments: &[Argument::new(
        "bytes",
        Kind::Bytes,
        "A DNS message as it is sent over UDP; over TCP two bytes with its length come before it.",
    )],
    returns: || DataType::Struct(message_fields()),
    description: "What a DNS message says, with the columns of dns_messages. error says what cannot be \
                  read of it, and at which byte; what comes before is there all the same.",
    examples: &[
        "dns_message(x'123481800001000100000000076578616d706c6503636f6d0000010001c00c000100010000003c000\
         4c0000201')['resolved_addresses']",
        "dns_message(x'12348180')['error']",
    ],
    call: |arguments| {
        let messages = arguments.bytes(0)?;
        let mut columns = Columns::default();
        for row in 0..arguments.rows() {
            columns.push(messages.get(row).map(Message::read).as_ref())?;
        }
        columns.finish()
    },
};

type Flag = (&'static str, fn(Header) -> bool);

/// The bits of a header that are columns, with their names.
const FLAGS: [Flag; 6] = [
    ("aa", Header::authoritative),
    ("tc", Header::truncated),
    ("rd", Header::recursion_desired),
    ("ra", Header::recursion_available),
    ("ad", Header::authentic_data),
    ("cd", Header::checking_disabled),
];

const SECTIONS: [(&str, Section); 3] = [
    ("answers", Section::Answer),
    ("authorities", Section::Authority),
    ("additionals", Section::Additional),
];

fn message_fields() -> Fields {
    let field = |name, data_type| Field::new(name, data_type, true);
    let text = |name| field(name, DataType::Utf8);
    let mut fields = vec![
        field("id", DataType::Int32),
        field("response", DataType::Boolean),
        text("opcode"),
        text("rcode"),
    ];
    fields.extend(FLAGS.map(|(name, _)| field(name, DataType::Boolean)));
    fields.extend(["question_name", "question_type", "question_class"].map(text));
    fields.push(field(
        "questions",
        list_of(DataType::Struct(question_fields())),
    ));
    let records = || list_of(DataType::Struct(record_fields()));
    fields.extend(SECTIONS.map(|(name, _)| field(name, records())));
    fields.push(field("resolved_addresses", texts_type()));
    fields.push(field("edns", DataType::Struct(edns_fields())));
    fields.push(field("warnings", texts_type()));
    fields.push(text("error"));
    Fields::from(fields)
}

/// The columns of messages.
#[derive(Default)]
struct Columns {
    valid: Vec<bool>,
    ids: Int32Builder,
    responses: BooleanBuilder,
    opcodes: StringBuilder,
    rcodes: StringBuilder,
    flags: [BooleanBuilder; FLAGS.len()],
    question: [StringBuilder; 3],
    questions: Records,
    sections: [Records; SECTIONS.len()],
    addresses: ListBuilder<StringBuilder>,
    edns: EdnsColumn,
    warnings: ListBuilder<StringBuilder>,
    errors: StringBuilder,
}

impl Columns {
    fn push(&mut self, message: Option<&Message>) -> Result<()> {
        self.valid.push(message.is_some());
        // Of a header that is cut nothing is known.
        let header = message.filter(|message| message.has_header());
        let header = header.map(|message| message.header);
        self.ids
            .append_option(header.map(|header| header.id.into()));
        self.responses.append_option(header.map(Header::response));
        append_option(
            &mut self.opcodes,
            header.map(Header::opcode_name).as_deref(),
        )?;
        let answered = message.filter(|message| message.header.response());
        append_option(
            &mut self.rcodes,
            answered.map(Message::rcode_name).as_deref(),
        )?;
        for (column, (_, flag)) in self.flags.iter_mut().zip(FLAGS) {
            column.append_option(header.map(flag));
        }
        let question = message.and_then(Message::question);
        let [name, kind, class] = &mut self.question;
        append_option(name, question.map(|question| question.name))?;
        append_option(kind, question.as_ref().map(Record::type_name).as_deref())?;
        append_option(class, question.as_ref().map(Record::class_name).as_deref())?;
        self.questions.push(message, Section::Question)?;
        for (column, (_, section)) in self.sections.iter_mut().zip(SECTIONS) {
            column.push(message, section)?;
        }
        for address in message.into_iter().flat_map(Message::addresses) {
            append(self.addresses.values(), address)?;
        }
        self.addresses.append(true);
        self.edns.push(message)?;
        let oddities = message
            .into_iter()
            .flat_map(|message| message.oddities.iter());
        for oddity in oddities {
            append(self.warnings.values(), oddity.name())?;
        }
        self.warnings.append(true);
        let error = message.and_then(Message::error);
        let error = error.map(|(at, what)| format!("byte {at}: {what}"));
        append_option(&mut self.errors, error.as_deref())
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.responses.finish()),
            Arc::new(self.opcodes.finish()),
            Arc::new(self.rcodes.finish()),
        ];
        for mut flag in self.flags {
            columns.push(Arc::new(flag.finish()));
        }
        for mut text in self.question {
            columns.push(Arc::new(text.finish()));
        }
        columns.push(self.questions.finish_questions()?);
        for section in self.sections {
            columns.push(section.finish()?);
        }
        columns.push(Arc::new(self.addresses.finish()));
        columns.push(self.edns.finish()?);
        columns.push(Arc::new(self.warnings.finish()));
        columns.push(Arc::new(self.errors.finish()));
        let nulls = Some(NullBuffer::from(self.valid));
        Ok(Arc::new(StructArray::try_new(
            message_fields(),
            columns,
            nulls,
        )?))
    }
}

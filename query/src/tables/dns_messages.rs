//! The table `dns_messages`: one row for each DNS message that a guest sent or received, over whatever
//! socket.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int32Builder, Int64Array, Int64Builder, ListArray,
    ListBuilder, StringBuilder, StructArray, StructBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::Transport;
use timecraft_udfs::dns::{Dns, Message, Record, Row, Section, option_name};

use super::call_columns::longs;
use super::connections::{lists, process_ids, texts};
use super::conversations::{self, Said};
use super::sockets::{self, moment};
use crate::scan::output::{Output, Step};
use crate::scan::pruning::{long, times};
use crate::scan::work::Item;
use crate::scan::{Column, Scan, Table, list_of};

/// The table.
#[derive(Debug)]
pub(crate) struct DnsMessages;

impl Table for DnsMessages {
    fn name(&self) -> &'static str {
        "dns_messages"
    }

    fn description(&self) -> &'static str {
        "A DNS message"
    }

    fn columns(&self) -> Vec<Column> {
        let of_header =
            |name, data_type, description| Column::new(name, data_type, description).nullable();
        let flag = |name, description| of_header(name, DataType::Boolean, description);
        let records = |name, description| {
            Column::new(
                name,
                list_of(DataType::Struct(record_fields())),
                description,
            )
        };
        vec![
            Column::text("process_id", "The process that sent or received it."),
            Column::long("connection", "The connection, as in connections."),
            Column::long("record_offset", "The record with its first byte."),
            Column::time("time", "When the guest entered the host with that call."),
            Column::text("transport", "tcp, udp, unix_stream or unix_datagram."),
            Column::text("direction", "sent or received."),
            of_header(
                "id",
                DataType::Int32,
                "The number by which a response finds its query; null, as all of the header, where \
                 that is cut.",
            ),
            flag("response", "Whether it is a response."),
            of_header("opcode", DataType::Utf8View, "The operation, as QUERY."),
            of_header(
                "rcode",
                DataType::Utf8View,
                "The response code, as NXDOMAIN, with what EDNS adds to it; null in queries.",
            ),
            flag("aa", "The server has authority over the name."),
            flag("tc", "More was to be said than fits."),
            flag("rd", "The server is to ask others."),
            flag("ra", "The server does ask others."),
            flag("ad", "The server has checked signatures."),
            flag("cd", "The server is not to check signatures."),
            Column::text(
                "question_name",
                "The name in the first question, as sent, without the dot at its end; . for the root.",
            )
            .nullable(),
            Column::text("question_type", "Its type, as AAAA.").nullable(),
            Column::text("question_class", "Its class, as IN.").nullable(),
            Column::new(
                "questions",
                list_of(DataType::Struct(question_fields())),
                "All questions.",
            ),
            records("answers", "The answers; data as in zone files, ttl in seconds."),
            records("authorities", "The authorities."),
            records("additionals", "The additional records, that of EDNS included."),
            Column::texts(
                "resolved_addresses",
                "The addresses in the answers, in their order.",
            ),
            Column::new(
                "edns",
                DataType::Struct(edns_fields()),
                "What EDNS adds: udp_size, in bytes, version, do and options.",
            )
            .nullable(),
            Column::long(
                "query_record_offset",
                "Of a response, the record with the first byte of its query.",
            )
            .nullable(),
            Column::long(
                "rtt_ns",
                "How long it took from the query to the response, as the guest sees it, in \
                 nanoseconds.",
            )
            .nullable(),
            Column::long("size", "How many bytes it is."),
            Column::texts("warnings", "What was odd in it, each once, as in warnings."),
            Column::text(
                "error",
                "What could not be read: sent or received, the byte of the stream or of the datagram, \
                 and why.",
            )
            .nullable(),
        ]
    }

    fn rows_guessed(&self) -> usize {
        100
    }

    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step {
        let Item::Process(process) = item else {
            return Ok(());
        };
        conversations::rows::<Dns>(process, scan, out, 0, sockets::call, columns)
    }
}

fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn question_fields() -> Fields {
    ["name", "type", "class"].map(text_field).to_vec().into()
}

fn record_fields() -> Fields {
    let [name, kind, class, data] = ["name", "type", "class", "data"].map(text_field);
    let ttl = Field::new("ttl", DataType::Int64, false);
    vec![name, kind, class, ttl, data].into()
}

fn option_fields() -> Fields {
    let code = Field::new("code", DataType::Int32, false);
    vec![code, text_field("name"), text_field("data")].into()
}

fn edns_fields() -> Fields {
    let int = |name: &str| Field::new(name, DataType::Int32, false);
    let wants = Field::new("do", DataType::Boolean, false);
    let options = list_of(DataType::Struct(option_fields()));
    let options = Field::new("options", options, false);
    vec![int("udp_size"), int("version"), wants, options].into()
}

fn columns(process: &Snapshot, rows: &[Said<Row>]) -> Step<Vec<ArrayRef>> {
    let messages = || rows.iter().map(|said| &said.row.message);
    let flag = |value: fn(&Message) -> bool| -> ArrayRef {
        let flags = messages().map(|message| message.has_header().then(|| value(message)));
        Arc::new(flags.collect::<BooleanArray>())
    };
    let ids = messages().map(|m| m.has_header().then_some(i32::from(m.header.id)));
    let opcodes = messages().map(|m| m.has_header().then(|| m.header.opcode_name()));
    let rcodes = messages().map(|m| m.header.response().then(|| m.rcode_name()));
    let section = |section| records(messages().map(move |m| m.section(section)), rows.len());
    let queries = rows.iter().map(|said| said.row.query.map(long));
    let times_taken = rows.iter().map(|said| said.row.rtt_ns.map(long));
    let transports = rows
        .iter()
        .map(|said| said.connection.transport.map(Transport::name));
    let oddities = messages().map(|m| m.oddities.iter().map(|oddity| oddity.name()));
    Ok(vec![
        process_ids(process, rows.len())?,
        longs(rows.iter().map(|said| long(said.connection.id))),
        longs(rows.iter().map(|said| long(said.row.at.offset))),
        times(rows.iter().map(|said| moment(process, said.row.at.time_ns))),
        texts(transports),
        texts(rows.iter().map(|said| Some(said.row.direction.name()))),
        Arc::new(ids.collect::<Int32Array>()),
        flag(|m| m.header.response()),
        texts(opcodes),
        texts(rcodes),
        flag(|m| m.header.authoritative()),
        flag(|m| m.header.truncated()),
        flag(|m| m.header.recursion_desired()),
        flag(|m| m.header.recursion_available()),
        flag(|m| m.header.authentic_data()),
        flag(|m| m.header.checking_disabled()),
        texts(messages().map(|m| m.question().map(|question| question.name))),
        texts(messages().map(|m| m.question().map(|question| question.type_name()))),
        texts(messages().map(|m| m.question().map(|question| question.class_name()))),
        questions(messages()),
        section(Section::Answer),
        section(Section::Authority),
        section(Section::Additional),
        lists(messages().map(Message::addresses)),
        edns(&messages().collect::<Vec<_>>()),
        Arc::new(queries.collect::<Int64Array>()),
        Arc::new(times_taken.collect::<Int64Array>()),
        longs(messages().map(|m| long(m.size as u64))),
        lists(oddities),
        texts(rows.iter().map(|said| said.row.error.as_deref())),
    ])
}

/// Appends to a column of a struct, by its index.
fn push_text(to: &mut StructBuilder, column: usize, text: impl AsRef<str>) {
    if let Some(texts) = to.field_builder::<StringBuilder>(column) {
        texts.append_value(text);
    }
}

fn questions<'a>(messages: impl Iterator<Item = &'a Message>) -> ArrayRef {
    let mut list = ListBuilder::new(StructBuilder::from_fields(question_fields(), 0));
    for message in messages {
        let to = list.values();
        for question in message.section(Section::Question) {
            push_text(to, 0, question.name);
            push_text(to, 1, question.type_name());
            push_text(to, 2, question.class_name());
            to.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn records<'a>(
    sections: impl Iterator<Item = impl Iterator<Item = Record<'a>>>,
    rows: usize,
) -> ArrayRef {
    let mut list = ListBuilder::new(StructBuilder::from_fields(record_fields(), rows));
    for section in sections {
        let to = list.values();
        for record in section {
            push_text(to, 0, record.name);
            push_text(to, 1, record.type_name());
            push_text(to, 2, record.class_name());
            if let Some(ttls) = to.field_builder::<Int64Builder>(3) {
                ttls.append_value(record.ttl.into());
            }
            push_text(to, 4, record.data);
            to.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn options(messages: &[&Message]) -> ListArray {
    let mut list = ListBuilder::new(StructBuilder::from_fields(option_fields(), 0));
    for message in messages {
        let to = list.values();
        for (code, data) in message.options() {
            if let Some(codes) = to.field_builder::<Int32Builder>(0) {
                codes.append_value(code.into());
            }
            push_text(to, 1, option_name(code));
            push_text(to, 2, data);
            to.append(true);
        }
        list.append(true);
    }
    list.finish()
}

fn edns(messages: &[&Message]) -> ArrayRef {
    let all = || {
        messages
            .iter()
            .map(|message| message.edns.unwrap_or_default())
    };
    let valid: NullBuffer = messages
        .iter()
        .map(|message| message.edns.is_some())
        .collect::<Vec<_>>()
        .into();
    let sizes: Int32Array = all().map(|edns| Some(i32::from(edns.udp_size))).collect();
    let versions: Int32Array = all().map(|edns| Some(i32::from(edns.version))).collect();
    let wants: BooleanArray = all().map(|edns| Some(edns.dnssec_ok)).collect();
    Arc::new(StructArray::new(
        edns_fields(),
        vec![
            Arc::new(sizes),
            Arc::new(versions),
            Arc::new(wants),
            Arc::new(options(messages)),
        ],
        Some(valid),
    ))
}

//! The table `dns_messages`: one row for each DNS message that a guest sent or received, over whatever
//! socket.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array};
use arrow::datatypes::DataType;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::Transport;
use timecraft_udfs::dns::{Dns, Message, Row, Section};
use timecraft_udfs::sql::dns_columns::{
    EdnsColumn, Records, edns_fields, question_fields, record_fields,
};

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

fn columns(process: &Snapshot, rows: &[Said<Row>]) -> Step<Vec<ArrayRef>> {
    let messages = || rows.iter().map(|said| &said.row.message);
    let flag = |value: fn(&Message) -> bool| -> ArrayRef {
        let flags = messages().map(|message| message.has_header().then(|| value(message)));
        Arc::new(flags.collect::<BooleanArray>())
    };
    let ids = messages().map(|m| m.has_header().then_some(i32::from(m.header.id)));
    let opcodes = messages().map(|m| m.has_header().then(|| m.header.opcode_name()));
    let rcodes = messages().map(|m| m.header.response().then(|| m.rcode_name()));
    let section = |section| -> Step<Records> {
        let mut column = Records::default();
        for message in messages() {
            column.push(Some(message), section)?;
        }
        Ok(column)
    };
    let mut edns = EdnsColumn::default();
    for message in messages() {
        edns.push(Some(message))?;
    }
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
        section(Section::Question)?.finish_questions()?,
        section(Section::Answer)?.finish()?,
        section(Section::Authority)?.finish()?,
        section(Section::Additional)?.finish()?,
        lists(messages().map(Message::addresses)),
        edns.finish()?,
        Arc::new(queries.collect::<Int64Array>()),
        Arc::new(times_taken.collect::<Int64Array>()),
        longs(messages().map(|m| long(m.size as u64))),
        lists(oddities),
        texts(rows.iter().map(|said| said.row.error.as_deref())),
    ])
}

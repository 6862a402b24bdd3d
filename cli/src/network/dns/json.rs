//! A query with its response as a JSON object. Names are those of the table `dns_messages`.

use jiff::Timestamp;
use serde::Serialize;
use timecraft_segment::socket::Transport;
use timecraft_segment::{ElapsedNs, UnixNs};
use timecraft_udfs::dns::{self, Message, Row, Section};

use super::Pair;
use crate::escape;
use crate::network::json::parts;

#[derive(Serialize)]
struct Object<'a> {
    time: String,
    connection: u64,
    transport: Option<&'static str>,
    client_address: Option<String>,
    client_port: Option<u16>,
    server_address: Option<String>,
    server_port: Option<u16>,
    question_name: Option<&'a str>,
    question_type: Option<String>,
    rcode: Option<String>,
    resolved_addresses: Vec<&'a str>,
    rtt_ns: Option<u64>,
    query: Option<OneMessage<'a>>,
    response: Option<OneMessage<'a>>,
}

#[derive(Serialize)]
struct OneMessage<'a> {
    record_offset: u64,
    id: Option<u16>,
    opcode: Option<String>,
    rcode: Option<String>,
    aa: bool,
    tc: bool,
    rd: bool,
    ra: bool,
    ad: bool,
    cd: bool,
    questions: Vec<Question<'a>>,
    answers: Vec<Record<'a>>,
    authorities: Vec<Record<'a>>,
    additionals: Vec<Record<'a>>,
    edns: Option<Edns<'a>>,
    size: usize,
    warnings: Vec<&'static str>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Question<'a> {
    name: &'a str,
    r#type: String,
    class: String,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    r#type: String,
    class: String,
    ttl: u32,
    data: &'a str,
}

#[derive(Serialize)]
struct Edns<'a> {
    udp_size: u16,
    version: u8,
    r#do: bool,
    options: Vec<EdnsOption<'a>>,
}

#[derive(Serialize)]
struct EdnsOption<'a> {
    code: u16,
    name: String,
    data: &'a str,
}

/// The pair on one line.
///
/// # Errors
/// None that a pair can cause; the encoder has them.
pub fn object(start: UnixNs, pair: &Pair) -> serde_json::Result<String> {
    let time = start.plus(ElapsedNs(pair.at().time_ns));
    let time = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let (client_address, client_port) = parts(pair.client.as_ref());
    let (server_address, server_port) = parts(pair.server.as_ref());
    let question = pair.question();
    let response = pair.response.as_ref();
    let object = Object {
        time: format!("{time:.9}"),
        connection: pair.connection,
        transport: pair.transport.map(Transport::name),
        client_address,
        client_port,
        server_address,
        server_port,
        question_name: question.map(|question| question.name),
        question_type: question.map(|question| question.type_name().into_owned()),
        rcode: pair.rcode(),
        resolved_addresses: response.map_or(Vec::new(), |row| row.message.addresses().collect()),
        rtt_ns: response.and_then(|row| row.rtt_ns),
        query: pair.query.as_ref().map(message),
        response: response.map(message),
    };
    let text = serde_json::to_string(&object)?;
    Ok(escape::json(&text).into_owned())
}

fn message(row: &Row) -> OneMessage<'_> {
    let message = &row.message;
    let (header, has_header) = (message.header, message.has_header());
    let questions = message.section(Section::Question).map(|question| Question {
        name: question.name,
        r#type: question.type_name().into_owned(),
        class: question.class_name().into_owned(),
    });
    let options = || {
        message.options().map(|(code, data)| EdnsOption {
            code,
            name: dns::option_name(code).into_owned(),
            data,
        })
    };
    OneMessage {
        record_offset: row.at.offset,
        id: has_header.then_some(header.id),
        opcode: has_header.then(|| header.opcode_name().into_owned()),
        rcode: header.response().then(|| message.rcode_name().into_owned()),
        aa: header.authoritative(),
        tc: header.truncated(),
        rd: header.recursion_desired(),
        ra: header.recursion_available(),
        ad: header.authentic_data(),
        cd: header.checking_disabled(),
        questions: questions.collect(),
        answers: records(message, Section::Answer),
        authorities: records(message, Section::Authority),
        additionals: records(message, Section::Additional),
        edns: message.edns.map(|edns| Edns {
            udp_size: edns.udp_size,
            version: edns.version,
            r#do: edns.dnssec_ok,
            options: options().collect(),
        }),
        size: message.size,
        warnings: message
            .oddities
            .iter()
            .map(|oddity| oddity.name())
            .collect(),
        error: row.error.as_deref(),
    }
}

fn records(message: &Message, section: Section) -> Vec<Record<'_>> {
    let records = message.section(section).map(|record| Record {
        name: record.name,
        r#type: record.type_name().into_owned(),
        class: record.class_name().into_owned(),
        ttl: record.ttl,
        data: record.data,
    });
    records.collect()
}

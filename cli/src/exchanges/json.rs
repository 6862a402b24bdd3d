//! Exchanges as JSON objects, with the names of the table `http_exchanges`. Bodies are text where they
//! are UTF-8, else hexadecimal digits.

use jiff::Timestamp;
use serde::Serialize;
use timecraft_segment::UnixNs;
use timecraft_udfs::http::content;
use timecraft_udfs::http::{Body, Headers};

use super::Row;
use super::text::BODY;
use crate::escape;
use crate::network::json::{digits, parts};

#[derive(Serialize)]
struct Object<'a> {
    connection: u64,
    stream: Option<u32>,
    exchange: u64,
    record_offset: u64,
    end_record_offset: u64,
    role: &'static str,
    client_address: Option<String>,
    client_port: Option<u16>,
    server_address: Option<String>,
    server_port: Option<u16>,
    time: String,
    version: &'static str,
    #[serde(flatten)]
    request: Option<Request<'a>>,
    #[serde(flatten)]
    response: Option<Response<'a>>,
    complete: bool,
    warnings: Vec<&'static str>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    url: Option<String>,
    request_headers: Vec<Field<'a>>,
    request_body_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    reason: Option<&'a str>,
    response_headers: Vec<Field<'a>>,
    response_body_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    value: &'a str,
}

/// The exchange on one line, with its bodies where they are wanted.
///
/// # Errors
/// None that an exchange can cause; the encoder has them.
pub fn object(row: Row<'_>, time: UnixNs, with_bodies: bool) -> serde_json::Result<String> {
    let exchange = row.exchange;
    let time = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let body = |headers: &Headers, body: &Body| {
        let shown = with_bodies && body.size > 0;
        shown.then(|| {
            match String::from_utf8(content::decode_body(headers, body, BODY).bytes.into_owned()) {
                Ok(text) => text,
                Err(bytes) => digits(bytes.as_bytes()),
            }
        })
    };
    let (client_address, client_port) = parts(row.client());
    let (server_address, server_port) = parts(row.server());
    let object = Object {
        connection: row.connection.id,
        stream: exchange.stream,
        exchange: exchange.number,
        record_offset: row.begin().offset,
        end_record_offset: exchange.end.offset,
        role: exchange.role().name(),
        client_address,
        client_port,
        server_address,
        server_port,
        time: format!("{time:.9}"),
        version: exchange.version.name(),
        request: exchange.request.as_ref().map(|request| Request {
            method: &request.method,
            url: request.url(row.connection.offloaded),
            request_headers: fields(&request.headers),
            request_body_size: request.body.size,
            request_body: body(&request.headers, &request.body),
        }),
        response: exchange.response.as_ref().map(|response| Response {
            status_code: response.status,
            reason: response.reason.as_deref(),
            response_headers: fields(&response.headers),
            response_body_size: response.body.size,
            response_body: body(&response.headers, &response.body),
        }),
        complete: exchange.complete,
        warnings: exchange.warnings.iter().map(|odd| odd.name()).collect(),
        error: exchange.error.as_deref(),
    };
    let text = serde_json::to_string(&object)?;
    Ok(escape::json(&text).into_owned())
}

fn fields(headers: &Headers) -> Vec<Field<'_>> {
    headers
        .iter()
        .map(|(name, value)| Field { name, value })
        .collect()
}

//! The columns of `http_exchanges`, each with how it is made. A column that nobody asked for is not
//! made: bodies are decoded, and lists built, only for who wants them.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray};
use arrow::datatypes::DataType;
use timecraft_segment::snapshot::Snapshot;
use timecraft_segment::socket::Address;
use timecraft_udfs::http::{Exchange, Framing, Messages, Request, Response};
use timecraft_udfs::protocol::At;

use super::values::{Rows, body, headers, informational};
use crate::scan::output::Step;
use crate::scan::pruning::long;
use crate::scan::{Column, Scan};
use crate::tables::connections::process_ids;
use crate::tables::conversations::Said;

type Make = fn(&Rows<'_>) -> Step<ArrayRef>;

/// All columns, in order.
pub(super) fn all() -> impl Iterator<Item = (Column, Make)> {
    let parts = [about(), times(), requests(), responses(), whole()];
    parts.into_iter().flatten()
}

/// Whether a column is made of bodies.
pub(super) fn is_of_bodies(column: &str) -> bool {
    let of = |message| column.strip_prefix(message);
    let rest = of("request_body").or_else(|| of("response_body"));
    rest.is_some_and(|rest| rest != "_size")
}

/// Makes the columns that are wanted.
pub(super) fn make(
    process: &Snapshot,
    scan: &Scan,
    rows: &[Said<Exchange>],
) -> Step<Vec<ArrayRef>> {
    let rows = Rows::new(process, rows);
    let made = all().map(|(column, make)| match scan.wants(column.name) {
        true => make(&rows),
        // Nothing looks at it.
        false => Ok(Arc::new(NullArray::new(rows.count())) as ArrayRef),
    });
    made.collect()
}

type Row = Said<Exchange>;

fn request(said: &Row) -> Option<&Request> {
    said.row.request.as_ref()
}

fn response(said: &Row) -> Option<&Response> {
    said.row.response.as_ref()
}

fn client(said: &Row) -> Option<&Address> {
    said.row.ends(&said.connection).0
}

fn server(said: &Row) -> Option<&Address> {
    said.row.ends(&said.connection).1
}

/// From the first byte of the request to a moment.
fn since_request(said: &Row, until: Option<At>) -> Option<i64> {
    let from = request(said)?.at.time_ns;
    Some(long(until?.time_ns.saturating_sub(from)))
}

fn messages(said: &Row, of: fn(&Messages) -> u64) -> Option<i64> {
    said.row
        .messages
        .as_ref()
        .map(|messages| long(of(messages)))
}

fn about() -> Vec<(Column, Make)> {
    vec![
        (
            Column::text("process_id", "The process that sent and received it."),
            |rows| process_ids(rows.process, rows.count()),
        ),
        (
            Column::long("connection", "The connection, as in connections."),
            |rows| rows.longs(|said| Some(long(said.connection.id))),
        ),
        (
            Column::int("stream", "The stream of HTTP/2; null in HTTP/1.").nullable(),
            |rows| rows.ints(|said| Some(said.row.stream?.cast_signed())),
        ),
        (
            Column::long(
                "exchange",
                "Its number on the connection, from 0, in the order of the requests.",
            ),
            |rows| rows.longs(|said| Some(long(said.row.number))),
        ),
        (
            Column::long(
                "record_offset",
                "The record with the first byte of the request; of the response where no request is in the log.",
            ),
            |rows| rows.longs(|said| Some(long(said.row.begin().offset))),
        ),
        (
            Column::long("end_record_offset", "The last record of it so far."),
            |rows| rows.longs(|said| Some(long(said.row.end.offset))),
        ),
        (
            Column::text(
                "role",
                "client where the guest sent the request, else server.",
            ),
            |rows| rows.texts(|said| Some(said.row.role().name())),
        ),
        (
            Column::text(
                "client_address",
                "The address that the request came from; of a Unix socket unix: and its path.",
            )
            .nullable(),
            |rows| rows.addresses(client),
        ),
        (Column::int("client_port", "Its port.").nullable(), |rows| {
            rows.ports(client)
        }),
        (
            Column::text("server_address", "The address that the request went to.").nullable(),
            |rows| rows.addresses(server),
        ),
        (Column::int("server_port", "Its port.").nullable(), |rows| {
            rows.ports(server)
        }),
    ]
}

fn times() -> Vec<(Column, Make)> {
    vec![
        (Column::time("request_time", "When the guest entered the host with the first byte of the request.").nullable(), |rows| rows.times(|said| Some(request(said)?.at))),
        (Column::time("request_end_time", "The same of its last byte; null where that is not in the log.").nullable(), |rows| rows.times(|said| request(said)?.end)),
        (Column::time("response_time", "The same of the first byte of the final response.").nullable(), |rows| rows.times(|said| Some(response(said)?.at))),
        (Column::time("end_time", "The same of the last byte of the exchange; null while it is in flight.").nullable(), |rows| rows.times(|said| said.row.complete.then_some(said.row.end))),
        (Column::long("duration_ns", "From the first byte of the request to the last of the exchange, in nanoseconds.").nullable(), |rows| rows.longs(|said| since_request(said, said.row.complete.then_some(said.row.end)))),
        (Column::long("ttfb_ns", "From the first byte of the request to the first of the final response, in nanoseconds.").nullable(), |rows| rows.longs(|said| since_request(said, Some(response(said)?.at)))),
        (Column::text("version", "The version: 1.0, 1.1 or 2."), |rows| rows.texts(|said| Some(said.row.version.name()))),
    ]
}

fn requests() -> Vec<(Column, Make)> {
    vec![
        (Column::text("method", "The method, as it was sent.").nullable(), |rows| rows.texts(|said| Some(&request(said)?.method))),
        (Column::text("scheme", "http or https: as the request says, or else by whether the host does the TLS.").nullable(), |rows| rows.texts(|said| Some(request(said)?.scheme(said.connection.offloaded)))),
        (Column::text("authority", "The host, with the port where one is named: of the target, :authority, or else Host.").nullable(), |rows| rows.texts(|said| request(said)?.authority.as_deref())),
        (Column::text("path", "The path of the target.").nullable(), |rows| rows.texts(|said| request(said)?.path())),
        (Column::text("query", "What follows the question mark of the target.").nullable(), |rows| rows.texts(|said| request(said)?.query())),
        (Column::text("url", "The target as a URL.").nullable(), |rows| rows.texts(|said| request(said)?.url(said.connection.offloaded))),
        (Column::text("user_agent", "User-Agent.").nullable(), |rows| rows.texts(|said| request(said)?.headers.get("user-agent"))),
        (headers("request_headers", "The fields of the request: name and value in the order and case in which they were sent, repeated ones too."), |rows| rows.fields(|said| Some(&request(said)?.headers))),
        (headers("request_trailers", "The fields after its body."), |rows| rows.fields(|said| Some(&request(said)?.trailers))),
        (body("request_body", "Its body, decoded as Content-Encoding says, at most the first MiB.").nullable(), |rows| rows.bodies(|bodies| bodies.request.as_ref())),
        (Column::long("request_body_size", "How many bytes of it were sent, without their framing.").nullable(), |rows| rows.longs(|said| Some(long(request(said)?.body.size)))),
        (Column::long("request_body_decoded_size", "How many bytes it is when decoded; null where that is not known.").nullable(), |rows| rows.decoded_sizes(|bodies| bodies.request.as_ref())),
        (Column::new("request_body_truncated", DataType::Boolean, "Whether request_body is not all of it.").nullable(), |rows| rows.truncated(|bodies| bodies.request.as_ref())),
        (Column::long("request_messages", "How many messages the client sent in it, of WebSocket or gRPC.").nullable(), |rows| rows.longs(|said| messages(said, |m| m.client_count))),
        (Column::long("request_message_bytes", "How many bytes their contents were.").nullable(), |rows| rows.longs(|said| messages(said, |m| m.client_bytes))),
    ]
}

fn responses() -> Vec<(Column, Make)> {
    vec![
        (
            Column::int("status_code", "The status code of the final response.").nullable(),
            |rows| rows.ints(|said| Some(response(said)?.status.into())),
        ),
        (
            Column::text("reason", "The reason phrase; null in HTTP/2.").nullable(),
            |rows| rows.texts(|said| response(said)?.reason.as_deref()),
        ),
        (
            informational("informational", "The responses before it, of status 1xx."),
            |rows| rows.informational(),
        ),
        (
            headers("response_headers", "The fields of the response."),
            |rows| rows.fields(|said| Some(&response(said)?.headers)),
        ),
        (
            headers("response_trailers", "The fields after its body."),
            |rows| rows.fields(|said| Some(&response(said)?.trailers)),
        ),
        (
            body(
                "response_body",
                "Its body, decoded as Content-Encoding says, at most the first MiB.",
            )
            .nullable(),
            |rows| rows.bodies(|bodies| bodies.response.as_ref()),
        ),
        (
            Column::long(
                "response_body_size",
                "How many bytes of it were sent, without their framing.",
            )
            .nullable(),
            |rows| rows.longs(|said| Some(long(response(said)?.body.size))),
        ),
        (
            Column::long(
                "response_body_decoded_size",
                "How many bytes it is when decoded; null where that is not known.",
            )
            .nullable(),
            |rows| rows.decoded_sizes(|bodies| bodies.response.as_ref()),
        ),
        (
            Column::new(
                "response_body_truncated",
                DataType::Boolean,
                "Whether response_body is not all of it.",
            )
            .nullable(),
            |rows| rows.truncated(|bodies| bodies.response.as_ref()),
        ),
        (
            Column::long(
                "response_messages",
                "How many messages the server sent in it, of WebSocket or gRPC, or events.",
            )
            .nullable(),
            |rows| rows.longs(|said| messages(said, |m| m.server_count)),
        ),
        (
            Column::long(
                "response_message_bytes",
                "How many bytes their contents were.",
            )
            .nullable(),
            |rows| rows.longs(|said| messages(said, |m| m.server_bytes)),
        ),
    ]
}

fn whole() -> Vec<(Column, Make)> {
    vec![
        (
            Column::text("content_type", "Content-Type of the response.").nullable(),
            |rows| rows.texts(|said| response(said)?.headers.get("content-type")),
        ),
        (
            Column::text("content_encoding", "Content-Encoding of the response.").nullable(),
            |rows| rows.texts(|said| response(said)?.headers.get("content-encoding")),
        ),
        (
            Column::text(
                "framing",
                "How the end of the response is told: length, chunked, eof, none or h2.",
            )
            .nullable(),
            |rows| rows.texts(|said| Some(Framing::name(response(said)?.body.framing))),
        ),
        (
            Column::text(
                "upgrade",
                "The protocol that it switched to, in lower case; connect for a tunnel.",
            )
            .nullable(),
            |rows| rows.texts(|said| said.row.upgrade.as_deref()),
        ),
        (
            Column::text(
                "rpc_method",
                "The method of gRPC, as package.Service/Method.",
            )
            .nullable(),
            |rows| rows.texts(|said| said.row.rpc_method()),
        ),
        (
            Column::int("grpc_status", "The status of gRPC.").nullable(),
            |rows| rows.ints(|said| said.row.grpc_status()),
        ),
        (
            Column::text("trace_id", "The trace of the request, of its traceparent.").nullable(),
            |rows| rows.texts(|said| request(said)?.trace_id()),
        ),
        (
            Column::text(
                "span_id",
                "The span that sent the request, of its traceparent.",
            )
            .nullable(),
            |rows| rows.texts(|said| request(said)?.span_id()),
        ),
        (
            Column::new(
                "complete",
                DataType::Boolean,
                "Whether request and response came to their ends.",
            ),
            |rows| rows.bools(|said| said.row.complete),
        ),
        (
            Column::texts("warnings", "What was odd, by its names in warnings."),
            |rows| rows.oddities(),
        ),
        (
            Column::text("error", "What could not be decoded, and where.").nullable(),
            |rows| rows.texts(|said| said.row.error.as_deref()),
        ),
    ]
}

//! Functions over HTTP.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder,
    StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use timecraft_segment::socket::Transport;

use super::arguments::{Kind, fields_type};
use super::columns::{FieldColumn, append, append_bytes, append_option, texts_type};
use super::function::{Argument, Function};
use crate::http::{Body, Exchange, Headers, Http, Request, content};
use crate::protocol::{At, Decoder, Direction, Found, Opening, Piece, Room};

/// The most bytes of a body, decoded, as in `http_exchanges`.
const MAX_BODY: usize = 1 << 20;
/// The most bytes that [`DECODE_BODY`] gives.
const MAX_DECODED: usize = 16 << 20;

pub(super) const HTTP_REQUEST: Function = Function {
    name: "http_request",
    arguments: &[Argument::new(
        "bytes",
        Kind::Bytes,
        "What a client sent over a connection, from the beginning of a request.",
    )],
    returns: || DataType::Struct(request_fields()),
    description: "The first HTTP request in bytes, with the columns of http_exchanges: its body without \
                  framing, decoded as Content-Encoding says, at most the first MiB. error says what \
                  cannot be decoded, and complete whether its end is there.",
    examples: &[
        "http_request(E'POST /users?id=7 HTTP/1.1\\r\\nHost: a.example\\r\\nContent-Length: 2\\r\\n\\r\\nhi')",
        "header(http_request(E'GET / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n')['headers'], 'host')",
    ],
    call: |arguments| {
        let bytes = arguments.bytes(0)?;
        let mut columns = Requests::default();
        for row in 0..arguments.rows() {
            let exchange = bytes.get(row).map(|bytes| exchange(bytes, Direction::Sent));
            columns.push(exchange.as_ref())?;
        }
        columns.finish()
    },
};

pub(super) const HTTP_RESPONSE: Function = Function {
    name: "http_response",
    arguments: &[Argument::new(
        "bytes",
        Kind::Bytes,
        "What a server sent over a connection, from the beginning of a response.",
    )],
    returns: || DataType::Struct(response_fields()),
    description: "The first final HTTP response in bytes, as http_request. What it answers is not known: \
                  one to HEAD has no body, and is taken for one whose body is cut.",
    examples: &[
        "http_response(E'HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n')['status_code']",
    ],
    call: |arguments| {
        let bytes = arguments.bytes(0)?;
        let mut columns = Responses::default();
        for row in 0..arguments.rows() {
            let exchange = bytes
                .get(row)
                .map(|bytes| exchange(bytes, Direction::Received));
            columns.push(exchange.as_ref())?;
        }
        columns.finish()
    },
};

/// What the bytes are of: the first exchange of a connection in which nothing else was said. None where
/// they are no HTTP.
fn exchange(bytes: &[u8], direction: Direction) -> Option<Exchange> {
    let mut http = Http::begin(Opening {
        transport: Some(Transport::Tcp),
        local: None,
        peer: None,
        midstream: false,
    })?;
    let mut room = Room::new(bytes.len(), bytes.len());
    let mut found = Vec::new();
    let at = At::default();
    let piece = Piece {
        at,
        direction,
        bytes,
    };
    http.data(piece, &mut room, &mut found);
    http.end(direction, at, &mut room, &mut found);
    http.close(at, &mut room, &mut found);
    found.into_iter().find_map(|found| match found {
        Found::Row(exchange) => Some(exchange),
        Found::Odd(_) => None,
    })
}

pub(super) const DECODE_BODY: Function = Function {
    name: "decode_body",
    arguments: &[
        Argument::new("bytes", Kind::Bytes, "A body as it was sent."),
        Argument::new(
            "encoding",
            Kind::Text,
            "Its Content-Encoding, as gzip, deflate, br or zstd, or several.",
        ),
    ],
    returns: || DataType::Binary,
    description: "A body decoded as its Content-Encoding says, at most the first 16 MiB. Of what is cut or \
                  damaged, what comes before; what has a coding that is not known stays as it is.",
    examples: &[
        "body_text(decode_body(x'1f8b08000000000002034b4c4a0600c241243503000000', 'gzip'))",
    ],
    call: |arguments| {
        let (bodies, encodings) = (arguments.bytes(0)?, arguments.text(1)?);
        let mut decoded = BinaryBuilder::new();
        for row in 0..arguments.rows() {
            match bodies.get(row).zip(encodings.get(row)) {
                Some((body, encoding)) => {
                    append_bytes(
                        &mut decoded,
                        &content::decode(encoding, body, MAX_DECODED).bytes,
                    )?;
                }
                None => decoded.append_null(),
            }
        }
        Ok(Arc::new(decoded.finish()))
    },
};

fn message_fields(own: &[Field]) -> Fields {
    let mut fields = own.to_vec();
    fields.extend([
        Field::new("headers", fields_type(), true),
        Field::new("trailers", fields_type(), true),
        Field::new("body", DataType::Binary, true),
        Field::new("body_size", DataType::Int64, true),
        Field::new("body_truncated", DataType::Boolean, true),
        Field::new("complete", DataType::Boolean, true),
        Field::new("warnings", texts_type(), true),
        Field::new("error", DataType::Utf8, true),
    ]);
    Fields::from(fields)
}

/// The texts of a request.
const REQUEST: [&str; 6] = ["version", "method", "scheme", "authority", "path", "query"];

fn request_fields() -> Fields {
    message_fields(&REQUEST.map(|name| Field::new(name, DataType::Utf8, true)))
}

fn response_fields() -> Fields {
    message_fields(&[
        Field::new("version", DataType::Utf8, true),
        Field::new("status_code", DataType::Int32, true),
        Field::new("reason", DataType::Utf8, true),
    ])
}

#[derive(Default)]
struct Requests {
    texts: [StringBuilder; REQUEST.len()],
    messages: Messages,
}

impl Requests {
    fn push(&mut self, exchange: Option<&Option<Exchange>>) -> Result<()> {
        let found = exchange.and_then(Option::as_ref);
        let request = found.and_then(|exchange| exchange.request.as_ref());
        let said = found.zip(request);
        let [version, method, scheme, authority, path, query] = &mut self.texts;
        append_option(version, said.map(|(exchange, _)| exchange.version.name()))?;
        append_option(method, request.map(|request| request.method.as_str()))?;
        append_option(
            scheme,
            request.and_then(|request| request.scheme.as_deref()),
        )?;
        append_option(
            authority,
            request.and_then(|request| request.authority.as_deref()),
        )?;
        append_option(path, request.and_then(Request::path))?;
        append_option(query, request.and_then(Request::query))?;
        let message = said.map(|(exchange, request)| Message {
            exchange,
            headers: &request.headers,
            trailers: &request.trailers,
            body: &request.body,
            complete: request.end.is_some(),
        });
        self.messages
            .push(exchange.is_some(), message, "it is no HTTP request")
    }

    fn finish(self) -> Result<ArrayRef> {
        let texts = self.texts.into_iter();
        let own = texts.map(|mut text| Arc::new(text.finish()) as ArrayRef);
        self.messages.finish(request_fields(), own.collect())
    }
}

#[derive(Default)]
struct Responses {
    versions: StringBuilder,
    statuses: Int32Builder,
    reasons: StringBuilder,
    messages: Messages,
}

impl Responses {
    fn push(&mut self, exchange: Option<&Option<Exchange>>) -> Result<()> {
        let found = exchange.and_then(Option::as_ref);
        let response = found.and_then(|exchange| exchange.response.as_ref());
        let said = found.zip(response);
        append_option(
            &mut self.versions,
            said.map(|(exchange, _)| exchange.version.name()),
        )?;
        self.statuses
            .append_option(response.map(|response| response.status.into()));
        append_option(
            &mut self.reasons,
            response.and_then(|response| response.reason.as_deref()),
        )?;
        let message = said.map(|(exchange, response)| Message {
            exchange,
            headers: &response.headers,
            trailers: &response.trailers,
            body: &response.body,
            complete: response.end.is_some(),
        });
        self.messages
            .push(exchange.is_some(), message, "it is no HTTP response")
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let own: Vec<ArrayRef> = vec![
            Arc::new(self.versions.finish()),
            Arc::new(self.statuses.finish()),
            Arc::new(self.reasons.finish()),
        ];
        self.messages.finish(response_fields(), own)
    }
}

/// What requests and responses have alike.
struct Message<'a> {
    exchange: &'a Exchange,
    headers: &'a Headers,
    trailers: &'a Headers,
    body: &'a Body,
    complete: bool,
}

#[derive(Default)]
struct Messages {
    valid: Vec<bool>,
    headers: FieldColumn,
    trailers: FieldColumn,
    bodies: BinaryBuilder,
    sizes: Int64Builder,
    truncated: BooleanBuilder,
    complete: BooleanBuilder,
    warnings: ListBuilder<StringBuilder>,
    errors: StringBuilder,
}

impl Messages {
    fn push(&mut self, valid: bool, message: Option<Message<'_>>, otherwise: &str) -> Result<()> {
        self.valid.push(valid);
        let decoded = message
            .as_ref()
            .map(|m| content::decode_body(m.headers, m.body, MAX_BODY));
        self.headers
            .push(message.as_ref().map(|message| message.headers))?;
        self.trailers
            .push(message.as_ref().map(|message| message.trailers))?;
        match &decoded {
            Some(decoded) => append_bytes(&mut self.bodies, &decoded.bytes)?,
            None => self.bodies.append_null(),
        }
        let size = message.as_ref().map(|message| message.body.size);
        self.sizes
            .append_option(size.and_then(|size| i64::try_from(size).ok()));
        self.truncated
            .append_option(decoded.as_ref().map(|decoded| decoded.truncated));
        self.complete
            .append_option(message.as_ref().map(|message| message.complete));
        for oddity in message
            .iter()
            .flat_map(|message| &message.exchange.warnings)
        {
            append(self.warnings.values(), oddity.name())?;
        }
        self.warnings.append(true);
        let error = match (&message, &decoded) {
            (None, _) => valid.then_some(otherwise),
            (Some(message), decoded) => {
                let of_body = decoded
                    .as_ref()
                    .and_then(|decoded| decoded.error.as_deref());
                message.exchange.error.as_deref().or(of_body)
            }
        };
        append_option(&mut self.errors, error)
    }

    fn finish(mut self, fields: Fields, mut columns: Vec<ArrayRef>) -> Result<ArrayRef> {
        columns.extend([
            self.headers.finish()?,
            self.trailers.finish()?,
            Arc::new(self.bodies.finish()),
            Arc::new(self.sizes.finish()),
            Arc::new(self.truncated.finish()),
            Arc::new(self.complete.finish()),
            Arc::new(self.warnings.finish()),
            Arc::new(self.errors.finish()),
        ]);
        let nulls = Some(NullBuffer::from(self.valid));
        Ok(Arc::new(StructArray::try_new(fields, columns, nulls)?))
    }
}

//! Functions over TLS.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use timecraft_segment::text;

use super::arguments::{Arguments, Kind};
use super::columns::{append, append_option, texts_type};
use super::function::{Argument, Function};
use crate::tls::{First, cipher_name, first, version_name};

pub(super) const TLS_CLIENT_HELLO: Function = Function {
    name: "tls_client_hello",
    arguments: &[Argument::new(
        "bytes",
        Kind::Bytes,
        "The first bytes that a client sent over a connection.",
    )],
    returns: || DataType::Struct(hello_fields()),
    description: "What a client of TLS says in the clear: the versions, cipher suites and protocols that it \
                  offers, the server that it asks for, and its JA4 fingerprint. error says why there is \
                  none.",
    examples: &[
        "tls_client_hello(x'16030100680100006403030000000000000000000000000000000000000000000000000000000000\
         0000000000041301c02b0100003700000010000e00000b6578616d706c652e636f6d0010000e000c\
         02683208687474702f312e31002b00050403040303000d000400020403')['server_name']",
        "tls_client_hello('GET / HTTP/1.1')['error']",
    ],
    call: client_hello,
};

fn hello_fields() -> Fields {
    Fields::from(vec![
        Field::new("versions", texts_type(), true),
        Field::new("server_name", DataType::Utf8, true),
        Field::new("alpn", texts_type(), true),
        Field::new("ciphers", texts_type(), true),
        Field::new("ja4", DataType::Utf8, true),
        Field::new("error", DataType::Utf8, true),
    ])
}

fn client_hello(arguments: &Arguments) -> Result<ArrayRef> {
    let streams = arguments.bytes(0)?;
    let mut valid = Vec::with_capacity(arguments.rows());
    let [mut versions, mut alpn, mut ciphers] =
        std::array::from_fn(|_| ListBuilder::new(StringBuilder::new()));
    let [mut names, mut ja4, mut errors] = std::array::from_fn(|_| StringBuilder::new());
    for row in 0..arguments.rows() {
        let first = streams.get(row).map(first);
        valid.push(first.is_some());
        append_option(&mut errors, first.as_ref().and_then(error))?;
        let hello = match &first {
            Some(First::Client(hello)) => Some(hello),
            _ => None,
        };
        append_option(
            &mut names,
            hello.and_then(|hello| hello.server_name.as_deref()),
        )?;
        append_option(&mut ja4, hello.map(|hello| hello.ja4()).as_deref())?;
        if let Some(hello) = hello {
            let offered = match hello.versions.as_slice() {
                [] => std::slice::from_ref(&hello.version),
                versions => versions,
            };
            for &version in offered {
                append(versions.values(), &version_name(version))?;
            }
            for protocol in &hello.alpn {
                append(alpn.values(), &text::lossless(protocol))?;
            }
            for &cipher in &hello.ciphers {
                append(ciphers.values(), &cipher_name(cipher))?;
            }
        }
        for list in [&mut versions, &mut alpn, &mut ciphers] {
            list.append(hello.is_some());
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(versions.finish()),
        Arc::new(names.finish()),
        Arc::new(alpn.finish()),
        Arc::new(ciphers.finish()),
        Arc::new(ja4.finish()),
        Arc::new(errors.finish()),
    ];
    let nulls = Some(NullBuffer::from(valid));
    Ok(Arc::new(StructArray::try_new(
        hello_fields(),
        columns,
        nulls,
    )?))
}

fn error(first: &First) -> Option<&'static str> {
    Some(match first {
        First::Client(_) => return None,
        First::Other => "it is no TLS",
        First::Incomplete(_) => "the message is cut off",
        First::Malformed => "the message makes no sense",
        First::Server(_) => "it is a server's message",
        First::Alert(_) => "it is an alert",
    })
}

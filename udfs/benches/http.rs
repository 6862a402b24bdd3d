//! What the decoder of HTTP/1 does in a second, on one core, with its rows built: the decoder is fed
//! directly, a message in each piece. `cargo bench -p timecraft-udfs --bench http`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod shared;

use timecraft_udfs::protocol::Direction;

use shared::{EXCHANGES, begin, measure};

const REQUEST: &str = "GET /users/123?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
    User-Agent: Go-http-client/1.1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\
    Authorization: Bearer 0123456789abcdef\r\nX-Request-Id: 4bf92f3577b34da6\r\n\r\n";

fn response(body: usize, chunk: Option<usize>) -> Vec<u8> {
    let framing = match chunk {
        None => format!("Content-Length: {body}"),
        Some(_) => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 20:00:00 GMT\r\n\
         Content-Type: application/json\r\n{framing}\r\nConnection: keep-alive\r\n\
         ETag: \"5f3e\"\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    let content = vec![b'a'; body];
    match chunk {
        None => bytes.extend(content),
        Some(size) => {
            for chunk in content.chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
    }
    bytes
}

fn main() {
    let cases = [
        ("no bodies", response(0, None), usize::MAX),
        ("bodies of 10 KB", response(10_000, None), usize::MAX),
        (
            "bodies of 10 KB, in chunks of 4 KB",
            response(10_000, Some(4096)),
            usize::MAX,
        ),
        (
            "bodies of 10 KB, in pieces of 1 KB",
            response(10_000, None),
            1024,
        ),
        ("no bodies, in pieces of 64 bytes", response(0, None), 64),
    ];
    begin();
    for (name, response, piece) in cases {
        let exchange = [
            (Direction::Sent, REQUEST.as_bytes()),
            (Direction::Received, &response),
        ];
        measure(name, &exchange.repeat(EXCHANGES), piece);
    }
}

//! HTTP/2 that began as HTTP/1: RFC 7540, section 3.2. The request that asked for it is that of stream 1,
//! and its response comes there.

use super::H2;
use super::stream::Stream;
use crate::http::Exchange;
use crate::protocol::Direction;

/// The field of the request that has the client's SETTINGS.
const SETTINGS_FIELD: &str = "http2-settings";

impl H2 {
    /// After the response that switched to it; the exchange has its request.
    #[must_use]
    pub fn upgraded(exchange: Exchange) -> H2 {
        let mut h2 = H2 {
            number: exchange.number + 1,
            newest: [1, 0],
            ..H2::new(exchange.client)
        };
        let client = exchange.client;
        let settings = exchange.request.as_ref().and_then(|request| {
            let payload = request.headers.get(SETTINGS_FIELD)?;
            base64url(payload.as_bytes())
        });
        if let Some(payload) = settings {
            // The response that switched acknowledged them.
            h2.side_mut(client).settings(&payload);
            if let Some(table) = h2.side_mut(client).acknowledged() {
                h2.side_mut(client.opposite()).hpack.allow(table);
            }
        }
        let stream = Stream::upgraded(exchange);
        h2.fields = stream.fields;
        h2.streams.insert(1, Box::new(stream));
        h2
    }

    /// A direction goes on with HTTP/2 at this position of its bytes.
    pub(in crate::http) fn begin(&mut self, direction: Direction, position: u64) {
        self.side_mut(direction).begin_at(position);
    }
}

/// Reads base64 of the alphabet for URLs, with or without padding: RFC 4648, section 5.
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0);
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    for &letter in text.get(..end)? {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_base64() {
        let vectors: [(&str, &[u8]); 5] = [
            ("", b""),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9vYmFy", b"foobar"),
            ("-_8", b"\xfb\xff"),
        ];
        for (text, bytes) in vectors {
            assert_eq!(base64url(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64url(b"a+b"), None);
    }
}

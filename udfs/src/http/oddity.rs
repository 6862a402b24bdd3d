//! What can be odd in HTTP: each has a name in SQL, and is a row of `warnings` and an entry of the
//! exchange's own list. What lets two readers disagree on where a message ends, which is how requests
//! are smuggled, is odd even where it is read without doubt here.

use serde::{Deserialize, Serialize};

macro_rules! oddities {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Something odd.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Oddity {
            $($(#[$doc])+ $variant,)+
        }

        impl Oddity {
            /// All of them.
            pub const ALL: &'static [Oddity] = &[$(Oddity::$variant),+];

            /// Its name in SQL.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Oddity::$variant => $name,)+
                }
            }
        }
    };
}

oddities! {
    /// A response that no request in the log asked for.
    UnexpectedResponse = "http_unexpected_response",
    /// More requests wait for their responses than are kept.
    TooManyRequests = "http_too_many_requests",
    /// More responses of status 1xx than are kept.
    TooManyInformational = "http_too_many_informational",
    /// A start line with more than single spaces between its parts, spaces around it, or a lower-case
    /// version.
    LooseStartLine = "http_loose_start_line",
    /// Bytes where a start line should be.
    BadStartLine = "http_bad_start_line",
    /// A head, or the fields after a body, that is longer than is read.
    HeadTooLong = "http_head_too_long",
    /// A line of the head that ends without a carriage return: RFC 9112, section 2.2.
    BareLf = "http_bare_lf",
    /// A carriage return within a line: RFC 9112, section 2.2.
    BareCr = "http_bare_cr",
    /// A NUL in a field.
    NulInHeader = "http_nul_in_header",
    /// A field that goes on in the next line: RFC 9112, section 5.2.
    ObsFold = "http_obs_fold",
    /// Whitespace between the name of a field and its colon: RFC 9112, section 5.1.
    SpaceBeforeColon = "http_space_before_colon",
    /// A field whose name is no token, or that has no colon.
    BadHeader = "http_bad_header",
    /// No Host in a request of HTTP/1.1: RFC 9112, section 3.2.
    MissingHost = "http_missing_host",
    /// More than one Host: RFC 9112, section 3.2.
    RepeatedHost = "http_repeated_host",
    /// A Content-Length that is no number of bytes.
    BadLength = "http_bad_content_length",
    /// Several values of Content-Length that are the same.
    RepeatedLength = "http_repeated_content_length",
    /// Several values of Content-Length that are not the same; the first is believed.
    ConflictingLength = "http_conflicting_content_length",
    /// Content-Length with Transfer-Encoding, which overrides it: RFC 9112, section 6.3.
    LengthAndTransferEncoding = "http_length_and_transfer_encoding",
    /// The coding chunked named more than once: RFC 9112, section 6.1.
    RepeatedChunked = "http_repeated_chunked",
    /// The coding chunked with another one after it: RFC 9112, section 6.1.
    ChunkedNotLast = "http_chunked_not_last",
    /// A transfer coding that is not known.
    UnknownTransferEncoding = "http_unknown_transfer_encoding",
    /// Transfer-Encoding in HTTP/1.0: RFC 9112, section 6.1.
    TransferEncodingInHttp10 = "http_transfer_encoding_in_http10",
    /// A chunk's size that is none, or has something else with it.
    BadChunkSize = "http_bad_chunk_size",
    /// Whitespace after a chunk's size.
    SpaceAfterChunkSize = "http_space_after_chunk_size",
    /// A chunk that goes on after its size.
    BadChunkEnd = "http_bad_chunk_end",
    /// A frame of WebSocket that RFC 6455 forbids: masked by the server or not by the client, a control
    /// frame that is long or in parts, a reserved opcode.
    BadWebSocketFrame = "http_bad_websocket_frame",
}

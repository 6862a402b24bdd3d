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
    /// A client that does not begin as one of HTTP/2: RFC 9113, section 3.4.
    H2BadPreface = "http2_bad_preface",
    /// HTTP/1 in answer to HTTP/2.
    H2AnsweredInHttp1 = "http2_answered_in_http1",
    /// A first frame that is not SETTINGS: RFC 9113, section 3.4.
    H2NoSettings = "http2_no_settings",
    /// A frame longer than its receiver allows, or than is read: RFC 9113, section 4.2.
    H2OversizeFrame = "http2_oversize_frame",
    /// A frame of a length that its type cannot have.
    H2BadFrame = "http2_bad_frame",
    /// A frame on a stream where it cannot be: RFC 9113, section 5.1.
    H2WrongStream = "http2_wrong_stream",
    /// A header block that another frame interrupts: RFC 9113, section 6.10.
    H2InterruptedBlock = "http2_interrupted_header_block",
    /// A header block that cannot be read; later ones of that direction cannot be either.
    H2BadBlock = "http2_bad_header_block",
    /// Fields that were too long, or too many, to be kept.
    H2FieldsLeftOut = "http2_fields_left_out",
    /// A table of HPACK that is bigger than what is kept of it.
    H2BigTable = "http2_big_header_table",
    /// A field whose name begins with a colon, unknown, repeated, out of place or after others.
    H2BadPseudoField = "http2_bad_pseudo_field",
    /// A request or response without a field that it must have: RFC 9113, section 8.3.
    H2MissingPseudoField = "http2_missing_pseudo_field",
    /// An upper-case letter in the name of a field: RFC 9113, section 8.2.1.
    H2UpperCaseName = "http2_upper_case_name",
    /// A field that is about a connection: RFC 9113, section 8.2.2.
    H2ConnectionField = "http2_connection_field",
    /// Fields after the body with which the stream does not end, or a status 1xx with which it does.
    H2BadTrailers = "http2_bad_trailers",
    /// A body that is not as long as Content-Length says: RFC 9113, section 8.1.1.
    H2LengthDisagrees = "http2_content_length_disagrees",
    /// A message of gRPC that is cut by the end of its stream.
    GrpcMessageCut = "grpc_message_cut",
    /// A stream that was reset before it was complete.
    H2Reset = "http2_reset",
    /// A connection that was given up for an error.
    H2GoAway = "http2_goaway",
    /// More open streams than are followed; the oldest is given up.
    H2TooManyStreams = "http2_too_many_streams",
    /// A direction that ends within a frame.
    H2CutFrame = "http2_cut_frame",
}

//! Takes the coding off content: `gzip`, `deflate`, `br` and `zstd`, one on another too, RFC 9110,
//! section 8.4.1. It must stay within its bounds whatever is in the bytes, and keeps what could be
//! decoded of those that are damaged.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Body, Headers};

/// How many bytes are decoded of one content at the most, to count those that are not kept. Each
/// coding of several is bound by it.
pub const MAX_DECODED: u64 = 64 << 20;
/// How many codings are taken off.
pub const MAX_CODINGS: usize = 4;
/// The largest window of `zstd`, as its binary logarithm: RFC 9659 lets a decoder refuse more.
const ZSTD_WINDOW_LOG: u32 = 23;
/// How many bytes a decoder reads of another one at once.
const BUFFER: usize = 8 << 10;

/// Content without its coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Its first bytes.
    pub bytes: Cow<'a, [u8]>,
    /// How many bytes it is; none where that was not found out.
    pub size: Option<u64>,
    /// Whether `bytes` are not all of it.
    pub truncated: bool,
    /// What could not be decoded.
    pub error: Option<String>,
}

/// Decodes a body as the Content-Encoding of its fields says, and gives at most `cap` bytes.
#[must_use]
pub fn decode_body<'a>(headers: &Headers, body: &'a Body, cap: usize) -> Decoded<'a> {
    let mut codings = headers.all("content-encoding");
    let first = codings.next().unwrap_or_default();
    let mut decoded = match codings.next() {
        None => decode(first, &body.kept, cap),
        Some(second) => {
            let list: Vec<&str> = [first, second].into_iter().chain(codings).collect();
            decode(&list.join(","), &body.kept, cap)
        }
    };
    if body.kept.len() as u64 != body.size {
        decoded.truncated = true;
        // What was not kept is no error of the sender's.
        decoded.error = None;
        decoded.size = None;
        if is_identity(first) && headers.all("content-encoding").nth(1).is_none() {
            decoded.size = Some(body.size);
        }
    }
    decoded
}

fn is_identity(coding: &str) -> bool {
    let coding = coding.trim();
    coding.is_empty() || coding.eq_ignore_ascii_case("identity")
}

/// Decodes bytes that are coded as the list `encoding` says, in the order in which the codings were
/// applied, and gives at most `cap` bytes. A coding that is not known leaves them as they are.
#[must_use]
pub fn decode<'a>(encoding: &str, bytes: &'a [u8], cap: usize) -> Decoded<'a> {
    let mut source = bytes;
    let names = encoding.split(',').map(str::trim);
    let names: Vec<&str> = names.filter(|name| !is_identity(name)).collect();
    let mut reader = match chain(&names, &mut source) {
        Ok(Some(reader)) => reader,
        Ok(None) => return plain(bytes, cap, None),
        Err(error) => return plain(bytes, cap, Some(error)),
    };
    let mut decoded = Vec::new();
    let mut size = 0_u64;
    let mut buffer = [0; BUFFER];
    let ended = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => {
                size += read as u64;
                let room = cap.saturating_sub(decoded.len()).min(read);
                decoded.extend_from_slice(buffer.get(..room).unwrap_or_default());
                if size >= MAX_DECODED {
                    break Some(format!("it is {MAX_DECODED} bytes or more when decoded"));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Some(format!("after {size} bytes: {error}")),
        }
    };
    drop(reader);
    let error = ended.or_else(|| {
        let after = source.len();
        (after > 0).then(|| format!("{after} bytes follow the end of what is coded"))
    });
    // Bytes behind the end do not make the size unknown.
    let known = error.is_none() || !source.is_empty() && size < MAX_DECODED;
    Decoded {
        truncated: decoded.len() as u64 != size || !known,
        bytes: Cow::Owned(decoded),
        size: known.then_some(size),
        error,
    }
}

fn plain(bytes: &[u8], cap: usize, error: Option<String>) -> Decoded<'_> {
    Decoded {
        bytes: Cow::Borrowed(bytes.get(..cap).unwrap_or(bytes)),
        size: error.is_none().then_some(bytes.len() as u64),
        truncated: bytes.len() > cap,
        error,
    }
}

type Chain<'s> = Result<Option<Box<dyn Read + 's>>, String>;

/// The readers of the codings, the last of them first.
fn chain<'s, 'b: 's>(names: &[&str], source: &'s mut &'b [u8]) -> Chain<'s> {
    let Some((last, before)) = names.split_last() else {
        return Ok(None);
    };
    if names.len() > MAX_CODINGS {
        return Err(format!("more than {MAX_CODINGS} codings: {}", names.len()));
    }
    let mut reader = one(last, source)?;
    for name in before.iter().rev() {
        let buffered = BufReader::with_capacity(BUFFER, reader.take(MAX_DECODED));
        reader = one(name, buffered)?;
    }
    Ok(Some(reader))
}

fn one<'s>(name: &str, mut source: impl BufRead + 's) -> Result<Box<dyn Read + 's>, String> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("gzip") || is("x-gzip") {
        Ok(Box::new(MultiGzDecoder::new(source)))
    } else if is("deflate") {
        // Many send it without the header of zlib that RFC 9110 asks for.
        let start = source.fill_buf().map_err(|error| error.to_string())?;
        match start {
            [cmf, flags, ..]
                if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0 =>
            {
                Ok(Box::new(ZlibDecoder::new(source)))
            }
            _ => Ok(Box::new(DeflateDecoder::new(source))),
        }
    } else if is("br") {
        Ok(Box::new(brotli_decompressor::Decompressor::new(
            source, BUFFER,
        )))
    } else if is("zstd") {
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(source).map_err(|error| error.to_string())?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG)
            .map_err(|error| error.to_string())?;
        Ok(Box::new(decoder))
    } else {
        Err(format!("the coding {name:?} is not known"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = b"so much of it, so much of it, so much of it, and no more";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[test]
    fn every_coding_is_taken_off() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(TEXT).expect("memory takes it");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(TEXT).expect("memory takes it");
        let zstd = zstd::encode_all(TEXT, 1).expect("memory takes it");
        // One meta-block without compression, then an empty last one: RFC 7932, section 9.2.
        let length = TEXT.len() as u32 - 1;
        let head = length << 4 | 1 << 20;
        let mut br = head.to_le_bytes()[..3].to_vec();
        br.extend(TEXT);
        br.push(3);
        let cases = [
            ("gzip", gzip(TEXT)),
            ("X-GZIP", gzip(TEXT)),
            ("deflate", zlib.finish().expect("memory takes it")),
            ("deflate", raw.finish().expect("memory takes it")),
            ("zstd, gzip", gzip(&zstd)),
            ("zstd", zstd),
            ("br", br),
            ("identity", TEXT.to_vec()),
        ];
        for (name, bytes) in cases {
            let decoded = decode(name, &bytes, 1 << 20);
            assert_eq!(decoded.error, None, "{name}");
            assert_eq!(
                (&*decoded.bytes, decoded.truncated),
                (TEXT, false),
                "{name}"
            );
            assert_eq!(decoded.size, Some(TEXT.len() as u64), "{name}");
        }
    }

    #[test]
    fn what_is_damaged_gives_what_it_can() {
        let mut bytes = gzip(TEXT);
        bytes.extend(b"behind");
        let decoded = decode("gzip", &bytes, 1 << 20);
        assert_eq!(&*decoded.bytes, TEXT);
        assert!(decoded.error.is_some());
        let half = gzip(&[TEXT, TEXT].concat());
        let decoded = decode("gzip", &half[..half.len() - 4], 1 << 20);
        assert!(decoded.truncated && decoded.error.is_some() && decoded.size.is_none());
        assert!(decoded.bytes.starts_with(TEXT));
        let decoded = decode("rot13", TEXT, 4);
        assert_eq!((&*decoded.bytes, decoded.truncated), (&TEXT[..4], true));
        assert!(decoded.error.is_some());
        let names = ["gzip"; MAX_CODINGS + 1].join(",");
        assert!(decode(&names, TEXT, 4).error.is_some());
    }

    #[test]
    fn bombs_are_bounded() {
        let zeros = vec![0; (MAX_DECODED + 4096) as usize];
        let bomb = zstd::encode_all(zeros.as_slice(), 1).expect("memory takes it");
        let decoded = decode("zstd", &bomb, 100);
        assert_eq!((decoded.bytes.len(), decoded.truncated), (100, true));
        assert_eq!(decoded.size, None);
        let decoded = decode("gzip, zstd", &bomb, 100);
        assert!(decoded.error.is_some());
    }
}

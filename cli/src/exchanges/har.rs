//! HTTP Archives, version 1.2: exchanges as a browser's network panel opens them.
//!
//! An entry is written as its exchange ends, so that not all of them are kept. What the format wants
//! and a socket cannot tell is -1, as it says.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use timecraft_segment::socket::Address;
use timecraft_segment::{ElapsedNs, UnixNs};
use timecraft_udfs::http::content::{self, Decoded};
use timecraft_udfs::http::{Body, Headers, Version};
use timecraft_udfs::protocol::At;

use super::Row;

/// The most bytes of a body that an entry has.
pub const BODY: usize = 1 << 20;

/// An archive being written.
pub struct Archive<W> {
    out: W,
    start: UnixNs,
    entries: u64,
}

impl<W: Write> Archive<W> {
    /// Begins the archive of a process that started then.
    ///
    /// # Errors
    /// Those of the write.
    pub fn begin(mut out: W, start: UnixNs) -> io::Result<Archive<W>> {
        let creator = serde_json::json!({
            "name": "timecraft",
            "version": env!("CARGO_PKG_VERSION"),
        });
        write!(
            out,
            "{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":["
        )?;
        Ok(Archive {
            out,
            start,
            entries: 0,
        })
    }

    /// Writes an exchange.
    ///
    /// # Errors
    /// Those of the write.
    pub fn exchange(&mut self, row: Row<'_>) -> io::Result<()> {
        self.out
            .write_all(if self.entries == 0 { b"\n" } else { b",\n" })?;
        self.entries += 1;
        serde_json::to_writer(&mut self.out, &entry(row, self.start))?;
        Ok(())
    }

    /// Ends the archive, and returns how many exchanges are in it.
    ///
    /// # Errors
    /// Those of the write.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()?;
        Ok(self.entries)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    started_date_time: String,
    /// In milliseconds, as all of its times.
    time: f64,
    request: Request<'a>,
    response: Response<'a>,
    cache: serde_json::Map<String, serde_json::Value>,
    timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_ip_address: Option<String>,
    connection: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    method: &'a str,
    url: String,
    http_version: &'static str,
    cookies: Vec<Pair<'a>>,
    headers: Vec<Pair<'a>>,
    query_string: Vec<OwnedPair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData<'a>>,
    headers_size: i64,
    body_size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    status: u16,
    status_text: &'a str,
    http_version: &'static str,
    cookies: Vec<Pair<'a>>,
    headers: Vec<Pair<'a>>,
    content: Content<'a>,
    #[serde(rename = "redirectURL")]
    redirect_url: &'a str,
    headers_size: i64,
    body_size: i64,
}

#[derive(Serialize)]
struct Pair<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct OwnedPair {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData<'a> {
    mime_type: &'a str,
    params: [(); 0],
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
struct Timings {
    blocked: f64,
    dns: f64,
    connect: f64,
    send: f64,
    wait: f64,
    receive: f64,
    ssl: f64,
}

const NOT_KNOWN: f64 = -1.0;

fn entry(row: Row<'_>, start: UnixNs) -> Entry<'_> {
    let exchange = row.exchange;
    let begin = row.begin();
    let time = start.plus(ElapsedNs(begin.time_ns));
    let time = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let sent = exchange.request.as_ref().and_then(|request| request.end);
    let first = exchange.response.as_ref().map(|response| response.at);
    let last = exchange.response.as_ref().and_then(|response| response.end);
    let timings = Timings {
        blocked: NOT_KNOWN,
        dns: NOT_KNOWN,
        connect: NOT_KNOWN,
        send: sent.map_or(0.0, |sent| milliseconds(begin, sent)),
        wait: sent
            .zip(first)
            .map_or(0.0, |(from, to)| milliseconds(from, to)),
        receive: first
            .zip(last)
            .map_or(0.0, |(from, to)| milliseconds(from, to)),
        ssl: NOT_KNOWN,
    };
    let said = exchange.error.iter().cloned();
    let odd = exchange.warnings.iter().map(|odd| odd.name().to_owned());
    let in_flight = (!exchange.complete).then(|| "incomplete".to_owned());
    let comments: Vec<String> = in_flight.into_iter().chain(said).chain(odd).collect();
    Entry {
        started_date_time: format!("{time:.9}"),
        // The format wants this to be the sum.
        time: timings.send + timings.wait + timings.receive,
        request: request(row),
        response: response(row),
        cache: serde_json::Map::new(),
        timings,
        server_ip_address: match row.server() {
            Some(Address::Ip(ip)) => Some(ip.ip().to_string()),
            _ => None,
        },
        connection: row.connection.id.to_string(),
        comment: (!comments.is_empty()).then(|| comments.join(", ")),
    }
}

fn milliseconds(from: At, to: At) -> f64 {
    // Nothing that a person looks at is lost: a day has 47 bits of nanoseconds.
    to.time_ns.saturating_sub(from.time_ns) as f64 / 1e6
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::H2 => "HTTP/2.0",
    }
}

fn request(row: Row<'_>) -> Request<'_> {
    let version = version(row.exchange.version);
    let Some(request) = &row.exchange.request else {
        return Request {
            method: "",
            url: String::new(),
            http_version: version,
            cookies: Vec::new(),
            headers: Vec::new(),
            query_string: Vec::new(),
            post_data: None,
            headers_size: -1,
            body_size: 0,
        };
    };
    let query = request.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes());
    let cookies = request
        .headers
        .all("cookie")
        .flat_map(|line| line.split(';'));
    Request {
        method: &request.method,
        url: request.url(row.connection.offloaded).unwrap_or_default(),
        http_version: version,
        cookies: cookies.filter_map(cookie).collect(),
        headers: pairs(&request.headers),
        query_string: query
            .map(|(name, value)| OwnedPair {
                name: name.into_owned(),
                value: value.into_owned(),
            })
            .collect(),
        post_data: (request.body.size > 0).then(|| {
            let decoded = content::decode_body(&request.headers, &request.body, BODY);
            let (text, encoding) = text(&decoded);
            let base64 = encoding.map(|_| "base64, since it is no text".to_owned());
            PostData {
                mime_type: request.headers.get("content-type").unwrap_or_default(),
                params: [],
                text,
                comment: base64.or_else(|| missing(&request.body, &decoded)),
            }
        }),
        headers_size: -1,
        body_size: request.body.size,
    }
}

fn response(row: Row<'_>) -> Response<'_> {
    let version = version(row.exchange.version);
    let Some(response) = &row.exchange.response else {
        return Response {
            status: 0,
            status_text: "",
            http_version: version,
            cookies: Vec::new(),
            headers: Vec::new(),
            content: Content {
                size: 0,
                compression: None,
                mime_type: "x-unknown",
                text: None,
                encoding: None,
                comment: None,
            },
            redirect_url: "",
            headers_size: -1,
            body_size: -1,
        };
    };
    let decoded = content::decode_body(&response.headers, &response.body, BODY);
    let size = decoded.size.unwrap_or(decoded.bytes.len() as u64);
    let saved = i64::try_from(size)
        .ok()
        .zip(i64::try_from(response.body.size).ok());
    let (text, encoding) = text(&decoded);
    // What follows a semicolon is not of the cookie.
    let set = response.headers.all("set-cookie");
    let set = set.filter_map(|line| line.split(';').next());
    Response {
        status: response.status,
        status_text: response.reason.as_deref().unwrap_or_default(),
        http_version: version,
        cookies: set.filter_map(cookie).collect(),
        headers: pairs(&response.headers),
        content: Content {
            size,
            compression: saved
                .map(|(size, sent)| size - sent)
                .filter(|&saved| saved != 0),
            mime_type: response.headers.get("content-type").unwrap_or("x-unknown"),
            text: (response.body.size > 0).then_some(text),
            encoding,
            comment: missing(&response.body, &decoded),
        },
        redirect_url: response.headers.get("location").unwrap_or_default(),
        headers_size: -1,
        body_size: i64::try_from(response.body.size).unwrap_or(i64::MAX),
    }
}

/// A body as text, and how that is encoded.
fn text(decoded: &Decoded<'_>) -> (String, Option<&'static str>) {
    match str::from_utf8(&decoded.bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (BASE64_STANDARD.encode(&decoded.bytes), Some("base64")),
    }
}

/// What of a body is not there.
fn missing(body: &Body, decoded: &Decoded<'_>) -> Option<String> {
    let cut = || {
        format!(
            "the first {} bytes; {} were sent",
            decoded.bytes.len(),
            body.size
        )
    };
    decoded
        .error
        .clone()
        .or_else(|| decoded.truncated.then(cut))
}

fn pairs(headers: &Headers) -> Vec<Pair<'_>> {
    headers
        .iter()
        .map(|(name, value)| Pair { name, value })
        .collect()
}

/// `name=value`.
fn cookie(text: &str) -> Option<Pair<'_>> {
    let (name, value) = text.split_once('=')?;
    Some(Pair {
        name: name.trim(),
        value: value.trim(),
    })
}

//! What follows from the fields of an exchange, under the names by which it is asked for.

use timecraft_segment::socket::Address;

use super::{Exchange, Request};
use crate::connections::{Connection, Role};
use crate::protocol::{At, Direction};

impl Request {
    /// The scheme, as the request says or else as the connection does: `offloaded` where the host does
    /// the TLS, so that the guest's bytes are in the clear.
    #[must_use]
    pub fn scheme(&self, offloaded: bool) -> &str {
        self.scheme.as_deref().unwrap_or(match offloaded {
            true => "https",
            false => "http",
        })
    }

    /// The target from its path on; none where it is an authority alone.
    fn origin(&self) -> Option<&str> {
        if self.target.starts_with('/') || self.target == "*" {
            return Some(&self.target);
        }
        if self.method == "CONNECT" {
            return None;
        }
        let (_, rest) = self.target.split_once("://")?;
        let path = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest.get(path..)
    }

    /// The path of the target, as it was sent; none where it has none, as for CONNECT.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self.origin()?.split(['?', '#']).next() {
            // An absolute target may leave it out: RFC 9112, section 3.2.1.
            None | Some("") => Some("/"),
            path => path,
        }
    }

    /// What follows the first question mark of the target.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let (_, query) = self.origin()?.split_once('?')?;
        query.split('#').next()
    }

    /// The target as a URL; none where it has no path or no host. `offloaded` as in
    /// [`scheme`](Request::scheme).
    #[must_use]
    pub fn url(&self, offloaded: bool) -> Option<String> {
        let (origin, authority) = (self.origin()?, self.authority.as_deref()?);
        let scheme = self.scheme(offloaded);
        // That of the server as a whole has no path: RFC 9112, section 3.2.4.
        let origin = if origin == "*" { "" } else { origin };
        Some(format!("{scheme}://{authority}{origin}"))
    }

    /// User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.headers.get("user-agent")
    }

    /// The trace that the request belongs to, in lower-case hexadecimal: the trace-id of a valid
    /// `traceparent` (W3C Trace Context, section 3.2.2.3).
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent().map(|(trace, _)| trace)
    }

    /// The span that sent the request: the parent-id of a valid `traceparent`.
    #[must_use]
    pub fn span_id(&self) -> Option<&str> {
        self.traceparent().map(|(_, span)| span)
    }

    fn traceparent(&self) -> Option<(&str, &str)> {
        let mut all = self.headers.all("traceparent");
        let value = all.next()?;
        if all.next().is_some() {
            return None;
        }
        let mut parts = value.split('-');
        let mut part = |digits: usize| {
            let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            parts
                .next()
                .filter(|part| part.len() == digits && part.bytes().all(is_digit))
        };
        let (version, trace, span, _) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_zero = |id: &str| id.bytes().all(|b| b == b'0');
        // Later versions may have more parts.
        let whole = version != "00" || parts.next().is_none();
        (version != "ff" && !is_zero(trace) && !is_zero(span) && whole).then_some((trace, span))
    }
}

impl Exchange {
    /// Content-Type of the response.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.response.as_ref()?.headers.get("content-type")
    }

    /// Content-Encoding of the response.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.response.as_ref()?.headers.get("content-encoding")
    }

    /// The method of gRPC, as `package.Service/Method`.
    #[must_use]
    pub fn rpc_method(&self) -> Option<&str> {
        let request = self.request.as_ref()?;
        let kind = request.headers.get("content-type")?;
        let method = request.path()?.strip_prefix('/')?;
        let named = method
            .split_once('/')
            .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        (kind.starts_with("application/grpc") && named).then_some(method)
    }

    /// The status of gRPC: in the fields after the body, or in the head where there is no body.
    #[must_use]
    pub fn grpc_status(&self) -> Option<i32> {
        let response = self.response.as_ref()?;
        let status = response.trailers.get("grpc-status");
        status
            .or_else(|| response.headers.get("grpc-status"))?
            .trim()
            .parse()
            .ok()
    }

    /// Whether the guest sent the request or answered it.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.client {
            Direction::Sent => Role::Client,
            Direction::Received => Role::Server,
        }
    }

    /// The ends of its connection: the one that sent the request, and the one that it was sent to.
    #[must_use]
    pub fn ends<'a>(
        &self,
        connection: &'a Connection,
    ) -> (Option<&'a Address>, Option<&'a Address>) {
        let (local, peer) = (connection.local.as_ref(), connection.peer.as_ref());
        match self.role() {
            Role::Client => (local, peer),
            Role::Server => (peer, local),
        }
    }

    /// Where it begins: with the request, or else with what there is of the responses.
    #[must_use]
    pub fn begin(&self) -> At {
        let request = self.request.as_ref().map(|request| request.at);
        let informational = self.informational.first().map(|response| response.at);
        let response = self.response.as_ref().map(|response| response.at);
        request.or(informational).or(response).unwrap_or(self.end)
    }

    /// About how many bytes the exchange takes, and its bodies when they are decoded.
    pub(super) fn size(&self) -> usize {
        let request = self
            .request
            .as_ref()
            .map(|r| r.headers.bytes() + r.body.kept.len());
        let response = self
            .response
            .as_ref()
            .map(|r| r.headers.bytes() + r.body.kept.len());
        size_of::<Exchange>() + request.unwrap_or(0) + response.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Headers};
    use super::*;
    use crate::protocol::At;

    fn request(
        method: &str,
        target: &str,
        authority: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Request {
        let mut fields = Headers::default();
        for (name, value) in headers {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        Request {
            at: At::default(),
            end: None,
            method: method.into(),
            target: target.into(),
            scheme: target.starts_with("ftp:").then(|| "ftp".into()),
            authority: authority.map(Into::into),
            headers: fields,
            trailers: Headers::default(),
            body: Body::default(),
        }
    }

    #[test]
    fn targets_have_paths_queries_and_urls() {
        let cases = [
            (
                "GET",
                "/a?b=c#d",
                Some("/a"),
                Some("b=c"),
                Some("https://h/a?b=c#d"),
            ),
            ("GET", "/a", Some("/a"), None, Some("https://h/a")),
            ("OPTIONS", "*", Some("*"), None, Some("https://h")),
            ("CONNECT", "h:443", None, None, None),
            (
                "GET",
                "ftp://h/x?",
                Some("/x"),
                Some(""),
                Some("ftp://h/x?"),
            ),
            ("GET", "ftp://h?y", Some("/"), Some("y"), Some("ftp://h?y")),
        ];
        for (method, target, path, query, url) in cases {
            let request = request(method, target, Some("h"), &[]);
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.query(), query, "{target}");
            assert_eq!(request.url(true).as_deref(), url, "{target}");
        }
        assert_eq!(request("GET", "/", None, &[]).url(false), None);
    }

    #[test]
    fn only_a_valid_traceparent_names_a_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let valid = format!("00-{trace}-00f067aa0ba902b7-01");
        let of = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("Traceparent", *value)).collect();
            let request = request("GET", "/", None, &headers);
            request
                .trace_id()
                .map(|id| (id.to_owned(), request.span_id().map(str::to_owned)))
        };
        let want = Some((trace.to_owned(), Some("00f067aa0ba902b7".to_owned())));
        assert_eq!(of(&[&valid]), want);
        assert_eq!(of(&[&valid.replacen("00", "01", 1),]), want);
        assert_eq!(of(&[&format!("cc-{trace}-00f067aa0ba902b7-01-more")]), want);
        for broken in [
            format!("{valid}-more"),
            valid.replacen("00", "ff", 1),
            valid.to_uppercase(),
            valid.replace(trace, &"0".repeat(32)),
            valid.replace("00f067aa0ba902b7", "0000000000000000"),
            valid.replace('-', "_"),
        ] {
            assert_eq!(of(&[&broken]), None, "{broken}");
        }
        assert_eq!(of(&[&valid, &valid]), None);
    }
}

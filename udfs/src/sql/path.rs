//! Functions over URLs and their paths.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, StringBuilder, StringViewBuilder, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use url::{Host, Url};

use super::arguments::{Arguments, Kind};
use super::columns::append_option;
use super::function::{Argument, Function};
use crate::path_template::path_template;

pub(super) const PATH_TEMPLATE: Function = Function {
    name: "path_template",
    arguments: &[Argument::new("path", Kind::Text, "The path of a URL.")],
    returns: || DataType::Utf8View,
    description: "The path with {id} for each segment that is an identifier: decimal numbers, also \
                  several with -, _ or , between; UUIDs; hexadecimal digits, at least 8 with a decimal one \
                  among them, or any after 0x; tokens, of at least 20 characters of base64url, with upper \
                  case, lower case and a digit, or without - and _ and a fifth of it digits; and each of \
                  these with the extension of a file. What follows ? or # is left out.",
    examples: &[
        "path_template('/users/123/posts?page=2')",
        "path_template('/images/9f86d081884c7d65.png')",
    ],
    call: |arguments| {
        let paths = arguments.text(0)?;
        let mut templates = StringViewBuilder::with_capacity(arguments.rows());
        for row in 0..arguments.rows() {
            templates.append_option(paths.get(row).map(path_template));
        }
        Ok(Arc::new(templates.finish()))
    },
};

pub(super) const URL_PARTS: Function = Function {
    name: "url_parts",
    arguments: &[Argument::new(
        "url",
        Kind::Text,
        "A URL with its scheme, or the target of a request, which begins with a slash.",
    )],
    returns: || DataType::Struct(url_fields()),
    description: "The parts of a URL, as browsers read it (the URL Standard): scheme and host in lower \
                  case, dots in the path resolved, the port of the scheme where it says none. Parts that \
                  are not there are null; error says why it is no URL.",
    examples: &[
        "url_parts('https://user@Example.com/a/../b?q=1#top')",
        "url_parts('/search?q=1')['query']",
    ],
    call: url_parts,
};

fn url_fields() -> Fields {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Fields::from(vec![
        text("scheme"),
        text("username"),
        text("password"),
        text("host"),
        Field::new("port", DataType::Int32, true),
        text("path"),
        text("query"),
        text("fragment"),
        text("error"),
    ])
}

/// What a URL says; the default says nothing.
#[derive(Default)]
struct Parts<'a> {
    url: Option<&'a Url>,
    /// Whether scheme and host are the URL's own.
    absolute: bool,
    error: Option<String>,
}

fn url_parts(arguments: &Arguments) -> Result<ArrayRef> {
    let urls = arguments.text(0)?;
    let mut texts: [StringBuilder; 8] = std::array::from_fn(|_| StringBuilder::new());
    let mut ports = Int32Builder::new();
    let mut valid = Vec::with_capacity(arguments.rows());
    for row in 0..arguments.rows() {
        let text = urls.get(row);
        valid.push(text.is_some());
        let parsed = text.map(|text| match text.starts_with('/') {
            // As a request has it: of a host that is named elsewhere, and for which another stands here.
            true => (Url::parse(&format!("http://localhost{text}")), false),
            false => (Url::parse(text), true),
        });
        let parts = match &parsed {
            None => Parts::default(),
            Some((Ok(url), absolute)) => Parts {
                url: Some(url),
                absolute: *absolute,
                error: None,
            },
            Some((Err(error), _)) => Parts {
                error: Some(error.to_string()),
                ..Parts::default()
            },
        };
        let whole = parts.url.filter(|_| parts.absolute);
        let [
            scheme,
            username,
            password,
            host,
            path,
            query,
            fragment,
            error,
        ] = &mut texts;
        append_option(scheme, whole.map(Url::scheme))?;
        let user = whole.map(Url::username).filter(|name| !name.is_empty());
        append_option(username, user)?;
        append_option(password, whole.and_then(Url::password))?;
        append_option(host, whole.and_then(host_of).as_deref())?;
        ports.append_option(whole.and_then(Url::port_or_known_default).map(i32::from));
        append_option(path, parts.url.map(Url::path))?;
        append_option(query, parts.url.and_then(Url::query))?;
        append_option(fragment, parts.url.and_then(Url::fragment))?;
        append_option(error, parts.error.as_deref())?;
    }
    let mut columns: Vec<ArrayRef> = texts
        .into_iter()
        .map(|mut column| Arc::new(column.finish()) as ArrayRef)
        .collect();
    columns.insert(4, Arc::new(ports.finish()));
    let nulls = Some(NullBuffer::from(valid));
    Ok(Arc::new(StructArray::try_new(
        url_fields(),
        columns,
        nulls,
    )?))
}

/// Without the brackets that an address of IPv6 has in a URL.
fn host_of(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

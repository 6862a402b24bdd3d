//! The addresses that `--listen` and `--dial` take.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address as a user names it: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
///
/// ```
/// use timecraft_runtime::network::Endpoint;
///
/// for text in ["localhost:80", "[::1]:0", "unix:/run/x.sock"] {
///     assert_eq!(text.parse::<Endpoint>()?.to_string(), text);
/// }
/// assert!("localhost".parse::<Endpoint>().is_err());
/// # Ok::<(), timecraft_runtime::network::NotAnEndpoint>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A port of a host, which is a name or an address.
    Ip {
        /// The name, or the address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The text is not an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, [IPV6]:PORT or unix:PATH")]
pub struct NotAnEndpoint;

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Endpoint, NotAnEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(NotAnEndpoint),
                path => Ok(Endpoint::Unix(PathBuf::from(path))),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAnEndpoint)?;
        let port = port.parse().map_err(|_| NotAnEndpoint)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bracketed {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
            // An IPv6 address without brackets would swallow its port.
            None if !host.is_empty() && !host.contains([':', '[', ']']) => host,
            _ => return Err(NotAnEndpoint),
        };
        Ok(Endpoint::Ip {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Ip { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Ip { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "", ":", ":80", "a", "a:", "a:65536", "a:-1", "::1:80", "[::1]", "[a]:1", "[::1:80",
            "unix:",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(NotAnEndpoint), "{text}");
        }
    }
}

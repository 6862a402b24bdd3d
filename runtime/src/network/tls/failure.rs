//! Why a session failed, in words that say what to do.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};

/// Why a session failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The two do not understand or do not trust each other.
    #[error("{0}")]
    Protocol(String),
    /// The connection ended where TLS had not.
    #[error("{0}")]
    Cut(&'static str),
    /// The connection itself failed.
    #[error("the connection failed: {0}")]
    System(Arc<io::Error>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(Arc::new(error))
    }
}

impl Failure {
    /// The connection ended, before or after the handshake did.
    pub(super) fn cut(established: bool) -> Failure {
        Failure::Cut(if established {
            "the connection ended without the server's word for it (close_notify): \
             what came before may be cut short"
        } else {
            "the server ended the connection during the handshake"
        })
    }

    /// What the library says, with the server that was meant.
    pub(super) fn of(error: &Error, server_name: &str) -> Failure {
        Failure::Protocol(match error {
            Error::InvalidCertificate(error) => certificate(error, server_name),
            Error::AlertReceived(alert) => {
                format!("the server refuses: it sent the alert {alert:?}")
            }
            Error::InvalidMessage(_) => {
                format!("what the server sent is not TLS, or was changed on the way ({error})")
            }
            Error::DecryptError => "what the server sent was changed on the way".to_owned(),
            Error::PeerIncompatible(why) => {
                format!("the server has no version or cipher of TLS in common with us ({why:?})")
            }
            error => error.to_string(),
        })
    }
}

fn certificate(error: &CertificateError, server_name: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => "the certificate was issued by nobody who is trusted: \
             neither by the system's authorities nor by one that --tls-ca names"
            .to_owned(),
        CertificateError::NotValidForName => format!("the certificate is not for {server_name}"),
        CertificateError::NotValidForNameContext { presented, .. } => match presented.as_slice() {
            [] => format!("the certificate is not for {server_name}, nor for any other name"),
            names => {
                let names: Vec<&str> = names.iter().map(|name| bare(name)).collect();
                format!(
                    "the certificate is not for {server_name} but for {}",
                    names.join(", ")
                )
            }
        },
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", time(*not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", time(*not_before))
        }
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        CertificateError::BadSignature => "the certificate has a wrong signature".to_owned(),
        error => format!("the certificate is not valid: {error}"),
    }
}

/// A name that the library shows as `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inner = name
        .strip_prefix("DnsName(\"")
        .and_then(|name| name.strip_suffix("\")"));
    inner.unwrap_or(name)
}

/// RFC 3339, in UTC; seconds since 1970 where that has no place for them.
fn time(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let timestamp = i64::try_from(seconds)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok());
    timestamp.map_or(format!("{seconds} seconds after 1970"), |t| t.to_string())
}

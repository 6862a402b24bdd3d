//! Whom TLS trusts: the system's certificate authorities and those that the user adds, and what is
//! remembered of the certificate that a server showed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The only protocol that is offered (RFC 7301): what is decoded from clear text is HTTP/1.
const ALPN: &[u8] = b"http/1.1";

/// Whom sessions trust. The system's authorities are read when the first session is made:
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are, or else the places where systems keep them.
#[derive(Debug, Default)]
pub struct Trust {
    files: Vec<PathBuf>,
    added: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

/// A file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read, or is not PEM.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It has none.
    #[error("{} has no certificates: it should have PEM, with lines such as -----BEGIN CERTIFICATE-----", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of them cannot be an authority.
    #[error("certificate {number} of {} cannot be used as an authority: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        number: usize,
        /// What is wrong.
        source: rustls::Error,
    },
}

impl Trust {
    /// Trusts the authorities of these files of PEM, too.
    ///
    /// # Errors
    ///
    /// A file cannot be used; see [`TrustError`].
    pub fn with(files: &[PathBuf]) -> Result<Trust, TrustError> {
        let mut added = Vec::new();
        for path in files {
            added.extend(certificates(path)?);
        }
        Ok(Trust {
            files: files.to_vec(),
            added,
            verifier: OnceLock::new(),
        })
    }

    /// The files of authorities that were added.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What verifies certificates; or why nothing can be verified.
    fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        let make = || {
            let mut roots = RootCertStore::empty();
            // Stores of systems have certificates that are of no use, which is no reason to use none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(self.added.iter().cloned());
            if roots.is_empty() {
                return Err(
                    "the system has no certificate authorities, and --tls-ca names none".to_owned(),
                );
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| error.to_string())
        };
        self.verifier.get_or_init(make).clone()
    }

    /// The configuration of one session, and what will have seen the server's certificate.
    pub(super) fn session(&self) -> Result<(Arc<ClientConfig>, Arc<Witness>), String> {
        let witness = Arc::new(Witness {
            verifier: self.verifier()?,
            seen: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each session shows its certificate, so that each can be recorded.
        config.resumption = Resumption::disabled();
        Ok((Arc::new(config), witness))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |error: rustls::pki_types::pem::Error| TrustError::Read {
        path: path.to_owned(),
        reason: match error {
            rustls::pki_types::pem::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        },
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect();
    let all = all.map_err(failed)?;
    if all.is_empty() {
        return Err(TrustError::Empty {
            path: path.to_owned(),
        });
    }
    for (i, certificate) in all.iter().enumerate() {
        let added = RootCertStore::empty().add(certificate.clone());
        added.map_err(|source| TrustError::Unusable {
            path: path.to_owned(),
            number: i + 1,
            source,
        })?;
    }
    Ok(all)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}

/// Verifies as the library does, and remembers the certificate whatever comes of it.
#[derive(Debug)]
pub(super) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Witness {
    /// The server's own certificate, in DER.
    pub fn seen(&self) -> Option<Vec<u8>> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = end_entity.to_vec();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

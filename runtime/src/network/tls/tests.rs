//! Against the library's own server, over pairs of sockets that do not block.

#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;

/// Who certifies, and the file that says so.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    _folder: tempfile::TempDir,
    file: std::path::PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        Authority {
            issuer,
            _folder: folder,
            file,
        }
    }

    pub fn trust(&self) -> Trust {
        Trust::with(std::slice::from_ref(&self.file)).unwrap()
    }

    /// A server for a name, valid from and until the beginnings of these years.
    pub fn server(
        &self,
        name: &str,
        (from, until): (i32, i32),
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

pub const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
pub const VALID: (i32, i32) = (2020, 4000);

/// A session, its server, and what lies between.
struct Pair {
    session: Session,
    ours: UnixStream,
    server: ServerConnection,
    theirs: UnixStream,
}

impl Pair {
    fn new(trust: &Trust, name: &str, config: &Arc<ServerConfig>) -> Pair {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        Pair {
            session: Session::new(trust, name).unwrap(),
            ours,
            server: ServerConnection::new(config.clone()).unwrap(),
            theirs,
        }
    }

    /// One that trusts the server, with the handshake done.
    fn established() -> Pair {
        let authority = Authority::new("A");
        let config = authority.server("a.example", VALID, ALL);
        let mut pair = Pair::new(&authority.trust(), "a.example", &config);
        pair.settle();
        assert!(pair.session.is_established());
        pair.session.take_note().unwrap();
        pair
    }

    /// Has both sides go on until neither can.
    fn settle(&mut self) {
        for _ in 0..10 {
            self.session.advance(&mut self.ours);
            self.serve();
        }
        self.session.advance(&mut self.ours);
    }

    fn serve(&mut self) {
        let _ = self.server.read_tls(&mut self.theirs);
        let _ = self.server.process_new_packets();
        while self.server.wants_write() && self.server.write_tls(&mut self.theirs).is_ok() {}
    }

    fn server_sends(&mut self, bytes: &[u8]) {
        self.server.writer().write_all(bytes).unwrap();
        self.serve();
    }

    /// What the server has received since.
    fn server_receives(&mut self) -> Vec<u8> {
        self.serve();
        let mut received = Vec::new();
        let _ = self.server.reader().read_to_end(&mut received);
        received
    }

    fn send(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        self.session.send(&mut self.ours, &[IoSlice::new(bytes)])
    }

    /// Receives as with two vectors of 3 bytes each.
    fn receive(&mut self, keep: Keep) -> Result<Option<Vec<u8>>, Failure> {
        let (mut a, mut b) = ([0; 3], [0; 3]);
        let mut slices = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        let n = self.session.receive(&mut self.ours, &mut slices, keep)?;
        Ok(n.map(|n| [a, b].concat()[..n].to_vec()))
    }

    fn receives(&mut self) -> Option<Vec<u8>> {
        self.receive(Keep::Nothing).unwrap()
    }
}

#[test]
fn clear_text_goes_both_ways_and_the_session_is_described() {
    for (version, text, cipher) in [
        (&TLS13, "1.3", "TLS_AES_256_GCM_SHA384"),
        (&TLS12, "1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let authority = Authority::new("Its Authority");
        let config = authority.server("a.example", VALID, &[version]);
        let mut pair = Pair::new(&authority.trust(), "A.example.", &config);
        assert!(!pair.session.can_send() && !pair.session.can_receive());
        assert_eq!(pair.send(b"early").unwrap(), None);
        assert_eq!(pair.receives(), None);
        pair.settle();
        let note = pair.session.take_note().unwrap();
        assert_eq!(note.server_name, "A.example");
        assert_eq!(note.version.as_deref(), Some(text));
        assert_eq!(note.cipher.as_deref(), Some(cipher));
        assert_eq!(note.alpn.as_deref(), Some("http/1.1"));
        let certificate = note.certificate.unwrap();
        assert_eq!(certificate.subject, "CN=a.example");
        assert_eq!(certificate.issuer, "CN=Its Authority");
        assert_eq!(note.error, None);
        assert_eq!(pair.session.take_note(), None, "it is said once");

        assert!(pair.session.can_send() && !pair.session.can_receive());
        assert_eq!(pair.send(b"question").unwrap(), Some(8));
        assert_eq!(pair.server_receives(), b"question");
        pair.server_sends(b"an answer");
        pair.session.advance(&mut pair.ours);
        assert_eq!(pair.session.clear_text(), 9);
        assert_eq!(pair.receive(Keep::All).unwrap().unwrap(), b"an ans");
        assert_eq!(pair.receives().unwrap(), b"an ans");
        assert_eq!(pair.receives().unwrap(), b"wer");
        assert_eq!(pair.receives(), None);
    }
}

#[test]
fn a_server_that_is_not_to_be_trusted_gets_nothing_and_the_note_says_why() {
    let authority = Authority::new("A");
    let other = Authority::new("B");
    let unknown = "the certificate was issued by nobody who is trusted: neither by the system's \
                   authorities nor by one that --tls-ca names";
    let cases: &[(&Authority, &str, (i32, i32), &str)] = &[
        (&other, "a.example", VALID, unknown),
        (
            &authority,
            "b.example",
            VALID,
            "the certificate is not for a.example but for b.example",
        ),
        (
            &authority,
            "a.example",
            (2001, 2002),
            "the certificate expired at 2002-01-01T00:00:00Z",
        ),
        (
            &authority,
            "a.example",
            (3000, 3001),
            "the certificate is not valid before 3000-01-01T00:00:00Z",
        ),
    ];
    for (issuer, name, valid, expected) in cases {
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let config = issuer.server(name, *valid, versions);
            let mut pair = Pair::new(&authority.trust(), "a.example", &config);
            pair.settle();
            let note = pair.session.take_note().unwrap();
            assert_eq!(note.error.as_deref(), Some(*expected));
            let subject = format!("CN={name}");
            assert_eq!(
                note.certificate.unwrap().subject,
                subject,
                "what it showed is kept"
            );
            assert!(!pair.session.is_established());
            assert!(
                pair.session.can_send() && pair.session.can_receive(),
                "nobody waits for it"
            );
            let failure = pair.send(b"secret").unwrap_err();
            assert!(matches!(&failure, Failure::Protocol(why) if why == expected));
            assert!(pair.receive(Keep::Nothing).is_err());
            assert_eq!(pair.server_receives(), b"");
        }
    }
}

#[test]
fn addresses_are_names_too_and_other_text_is_none() {
    let authority = Authority::new("A");
    let config = authority.server("127.0.0.1", VALID, ALL);
    let mut pair = Pair::new(&authority.trust(), "127.0.0.1", &config);
    pair.settle();
    assert!(pair.session.is_established());
    for name in ["", "a b", "*.example", "a\0"] {
        let error = Session::new(&authority.trust(), name)
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("it should be a host name or an IP address"),
            "{error}"
        );
    }
}

#[test]
fn the_end_is_the_servers_word_and_a_cut_is_an_error() {
    let mut pair = Pair::established();
    pair.server_sends(b"all");
    pair.server.send_close_notify();
    pair.serve();
    drop(pair.theirs);
    let mut ended = Pair {
        theirs: UnixStream::pair().unwrap().0,
        ..pair
    };
    assert_eq!(ended.receives().unwrap(), b"all");
    assert_eq!(ended.receives().unwrap(), b"");
    assert_eq!(ended.receives().unwrap(), b"", "again and again");

    let mut pair = Pair::established();
    pair.server_sends(b"not all");
    pair.theirs.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(pair.receives().unwrap(), b"not al");
    assert_eq!(pair.receives().unwrap(), b"l");
    for _ in 0..2 {
        let failure = pair.receive(Keep::Nothing).unwrap_err();
        assert!(matches!(&failure, Failure::Cut(why) if why.contains("close_notify")));
    }
    assert_eq!(pair.session.take_note(), None, "the handshake was well");
}

#[test]
fn a_handshake_that_is_cut_says_so() {
    let authority = Authority::new("A");
    let config = authority.server("a.example", VALID, ALL);
    let mut pair = Pair::new(&authority.trust(), "a.example", &config);
    pair.session.advance(&mut pair.ours);
    pair.theirs.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(matches!(pair.send(b"x").unwrap_err(), Failure::Cut(_)));
    let error = pair.session.take_note().unwrap().error.unwrap();
    assert_eq!(
        error,
        "the server ended the connection during the handshake"
    );
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_from_one_that_does() {
    let authority = Authority::new("A");
    let config = authority.server("a.example", VALID, ALL);
    let mut pair = Pair::new(&authority.trust(), "a.example", &config);
    pair.session.advance(&mut pair.ours);
    pair.theirs
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap();
    assert!(matches!(
        pair.receive(Keep::Nothing).unwrap_err(),
        Failure::Protocol(_)
    ));
    let error = pair.session.take_note().unwrap().error.unwrap();
    assert!(
        error.starts_with("what the server sent is not TLS"),
        "{error}"
    );
}

#[test]
fn what_was_changed_on_the_way_is_not_received() {
    let mut pair = Pair::established();
    pair.server.writer().write_all(b"genuine").unwrap();
    let mut sealed = Vec::new();
    pair.server.write_tls(&mut sealed).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    pair.theirs.write_all(&sealed).unwrap();
    assert!(matches!(
        pair.receive(Keep::Nothing).unwrap_err(),
        Failure::Protocol(_)
    ));
}

#[test]
fn closing_says_so_and_ends_sending_alone() {
    let mut pair = Pair::established();
    assert_eq!(pair.send(b"last").unwrap(), Some(4));
    assert!(pair.session.close(&mut pair.ours));
    assert_eq!(pair.server_receives(), b"last");
    assert_eq!(
        pair.server.reader().read(&mut [0; 9]).unwrap(),
        0,
        "it was told"
    );
    assert!(pair.send(b"more").is_err());
    pair.server_sends(b"answer");
    assert_eq!(pair.receives().unwrap(), b"answer");
}

#[test]
fn what_does_not_fit_is_not_taken() {
    let mut pair = Pair::established();
    let much = vec![7; 1 << 16];
    let mut taken = 0;
    while let Some(n) = pair.send(&much).unwrap() {
        taken += n;
        assert!(taken < 1 << 24, "the stream takes everything");
    }
    assert!(pair.session.wants_write() && !pair.session.can_send());
    let mut arrived = 0;
    for _ in 0..10_000 {
        arrived += pair.server_receives().len();
        pair.session.advance(&mut pair.ours);
        if arrived == taken && pair.session.can_send() {
            break;
        }
    }
    assert_eq!(
        arrived, taken,
        "what was taken arrives without being sent again"
    );
    assert!(pair.session.can_send());
}

/// Gives and takes so many bytes at a time, and lets whoever asks wait in between.
struct Trickle<'a> {
    stream: &'a UnixStream,
    bytes: usize,
    ready: bool,
}

impl Trickle<'_> {
    fn turn(&mut self) -> io::Result<()> {
        self.ready = !self.ready;
        match self.ready {
            true => Ok(()),
            false => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn()?;
        let most = buffer.len().min(self.bytes);
        self.stream.read(&mut buffer[..most])
    }
}

impl Write for Trickle<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.turn()?;
        self.stream.write(&buffer[..buffer.len().min(self.bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_arrive_however_the_stream_cuts_them(
        bytes in 1usize..40,
        question in proptest::collection::vec(any::<u8>(), 1..40_000),
        answer in proptest::collection::vec(any::<u8>(), 1..2_000),
    ) {
        let authority = Authority::new("A");
        let config = authority.server("a.example", VALID, ALL);
        let mut pair = Pair::new(&authority.trust(), "a.example", &config);
        let (mut sent, mut asked, mut answered) = (0, Vec::new(), Vec::new());
        for _ in 0..200_000 {
            let mut stream = Trickle { stream: &pair.ours, bytes, ready: false };
            if sent < question.len() {
                let rest = [IoSlice::new(&question[sent..])];
                sent += pair.session.send(&mut stream, &rest).unwrap().unwrap_or(0);
            }
            let mut buffer = [0; 100];
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let received = pair.session.receive(&mut stream, &mut slices, Keep::Nothing).unwrap();
            match received {
                Some(0) => break,
                Some(n) => answered.extend_from_slice(&buffer[..n]),
                None => {}
            }
            let before = asked.len();
            asked.extend(pair.server_receives());
            if before < question.len() && asked.len() == question.len() {
                pair.server.writer().write_all(&answer).unwrap();
                pair.server.send_close_notify();
            }
        }
        prop_assert!(asked == question);
        prop_assert!(answered == answer);
    }
}

#[test]
fn files_of_authorities_that_are_no_use_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = Trust::with(&[path]).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(
        said("empty", "nothing"),
        "empty has no certificates: it should have PEM, with lines such as \
         -----BEGIN CERTIFICATE-----"
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(said("broken", broken).starts_with("certificate 1 of broken cannot be used"));
    let error = Trust::with(&["/no/such".into()]).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read certificates from /no/such: "),
        "{error}"
    );
}

//! `get URL`, in Go: of https the host does the TLS, and what was said is recorded in the clear.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::real_guests::built;
use crate::support::Dir;

/// A body that is larger than a record of TLS.
const BODY: usize = 100_000;

/// Writes the authority's certificate to `ca.pem`, and makes a server for this host.
fn server(dir: &Dir) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    dir.create("ca.pem", authority.pem());
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "the server");
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.unwrap())
}

/// Answers one request.
fn answer(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    assert!(request.starts_with(b"GET /path HTTP/1.1\r\n"));
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n")?;
    stream.write_all(&[b'x'; BODY])?;
    stream.flush()
}

/// Serves one connection; returns the port.
fn serve(answer: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || answer(listener.accept().unwrap().0));
    port
}

fn get() -> PathBuf {
    built("go-get.wasm")
}

#[test]
fn a_page_is_got_in_the_clear_and_by_tls() {
    let dir = Dir::new();
    let config = server(&dir);
    let port = serve(|stream| answer(stream).unwrap());
    let url = format!("http://127.0.0.1:{port}/path");
    let said = dir.cmd(["run"]).arg(get()).arg(url).assert(0);
    assert_eq!(said.stdout.len(), BODY);

    let port = serve(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        answer(&mut stream).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let url = format!("https://127.0.0.1:{port}/path");
    let said = dir
        .cmd(["run", "--name", "tls", "--tls-ca", "ca.pem"])
        .arg(get())
        .arg(url)
        .assert(0);
    assert_eq!(said.stdout.len(), BODY);
    let of = "from host_calls join processes using (process_id) where name = 'tls'";
    let notes = dir.query(&format!(
        "select function, note {of} and note like 'tls: %'"
    ));
    assert_eq!(notes.len(), 1, "{notes:?}");
    let (function, note) = (&notes[0][0], &notes[0][1]);
    assert!(
        ["sock_getsockopt", "sock_setsockopt"].contains(&function.as_str()),
        "{function}"
    );
    for part in [
        "\"server_name\":\"127.0.0.1\"",
        "\"version\":\"1.3\"",
        "CN=the server",
    ] {
        // A cell of tsv that has quotes doubles them.
        assert!(note.replace("\"\"", "\"").contains(part), "{note}");
    }
    let grants = dir
        .query("select 'given ' || array_to_string(grants, ' ') from processes where name = 'tls'");
    assert_eq!(grants, [["given --tls-ca ca.pem"]]);
    // The request as it was written, and no more: TLS is not in it.
    let request = dir.query(&format!(
        "select max(bytes) {of} and function in ('fd_write', 'sock_send') and fd > 2"
    ));
    let request: usize = request[0][0].parse().unwrap();
    assert!(request > 50 && request < 200, "{request}");
}

#[test]
fn a_server_that_nobody_vouches_for_is_an_error_with_a_reason() {
    let dir = Dir::new();
    let config = server(&dir);
    let port = serve(move |stream| {
        let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        assert!(answer(stream).is_err(), "nothing is asked of it");
    });
    let url = format!("https://127.0.0.1:{port}/path");
    let said = dir.cmd(["run"]).arg(get()).arg(url).assert(1);
    // Whether the handshake fails in the call that begins it is a matter of time.
    for part in ["TLS with 127.0.0.1: ", "Protocol error"] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
    // That is all that it lacked.
    assert!(!said.stderr.contains("hint:"), "{}", said.stderr);
    let reasons = dir.query("select note from host_calls where note like '%issued by nobody%'");
    assert_eq!(reasons.len(), 1);
}

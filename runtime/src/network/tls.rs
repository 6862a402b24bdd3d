//! TLS that the host does for a guest: the guest's bytes are clear text, and so is what is recorded.
//!
//! A [`Session`] stands between a guest and a stream of bytes that never blocks. Whatever is called, it
//! goes on with the handshake and with what is still to be sent as far as the stream lets it, so whoever
//! waits only has to ask what for. It must never wait itself, and never hand out a byte of a server
//! that was not verified.
//!
//! The end of a stream is the server's word (`close_notify`, RFC 8446 section 6.1). Where the connection
//! ends without it, somebody may have cut it, and that is an error.

mod certificate;
mod failure;
mod trust;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use timecraft_segment::socket::TlsNote;

pub use self::failure::Failure;
pub use self::trust::{Trust, TrustError};

use self::trust::Witness;

/// The most clear text in a record, in bytes: RFC 8446 section 5.1.
const RECORD_BYTES: usize = 1 << 14;

/// A session that cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum CannotBegin {
    /// The name is neither one of DNS nor an address.
    #[error("{0:?} is not the name of a server: it should be a host name or an IP address")]
    Name(String),
    /// Nothing can be verified.
    #[error("{0}")]
    Trust(String),
}

/// A client's side of TLS over some stream, which is passed to each call.
pub struct Session {
    connection: ClientConnection,
    witness: Arc<Witness>,
    server_name: String,
    /// What is said of the handshake when it has ended, once.
    note: Option<TlsNote>,
    /// Whether the handshake has ended well.
    established: bool,
    /// Clear text that can be received now, in bytes, or some of it.
    clear_text: usize,
    /// Whether the server has said that it sends no more.
    peer_closed: bool,
    /// Whether this side has said so.
    closing: bool,
    /// Why nothing can be sent any more, while the server's reason is still looked for.
    broken: Option<io::Error>,
    failure: Option<Failure>,
}

impl Session {
    /// A session with the server of this name, whose certificate has to be for it. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The name is none, or there is nobody to trust.
    pub fn new(trust: &Trust, name: &str) -> Result<Session, CannotBegin> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let no_name = || CannotBegin::Name(name.to_owned());
        let server = ServerName::try_from(bare.to_owned()).map_err(|_| no_name())?;
        let (config, witness) = trust.session().map_err(CannotBegin::Trust)?;
        let connection = ClientConnection::new(config, server)
            .map_err(|error| CannotBegin::Trust(error.to_string()))?;
        Ok(Session {
            connection,
            witness,
            server_name: bare.to_owned(),
            note: None,
            established: false,
            clear_text: 0,
            peer_closed: false,
            closing: false,
            broken: None,
            failure: None,
        })
    }

    /// Goes on as far as the stream lets it: with the handshake, with what is to be sent, and with what
    /// is to be received until there is clear text.
    pub fn advance(&mut self, stream: &mut (impl Read + Write)) {
        while self.failure.is_none() {
            self.flush(stream);
            if self.clear_text > 0 || self.peer_closed {
                return;
            }
            match self.connection.read_tls(stream) {
                Ok(0) => {
                    let cut = Failure::cut(self.established);
                    let failure = self.broken.take().map_or(cut, Failure::from);
                    self.fail(failure);
                }
                Ok(_) => self.process(stream),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.broken.take() {
                    Some(broken) => self.fail(broken.into()),
                    None => return,
                },
                Err(error) => self.fail(error.into()),
            }
        }
    }

    fn process(&mut self, stream: &mut impl Write) {
        let processed = self.connection.process_new_packets();
        self.look_for_clear_text();
        match processed {
            Ok(state) => {
                self.peer_closed = state.peer_has_closed();
                if !self.established && !self.connection.is_handshaking() {
                    self.established = true;
                    self.note = Some(self.describe());
                }
            }
            Err(error) => {
                // The server is told why, if it still listens.
                self.flush(stream);
                self.fail(Failure::of(&error, &self.server_name));
            }
        }
    }

    fn look_for_clear_text(&mut self) {
        let first = self.connection.reader().into_first_chunk();
        self.clear_text = first.map_or(0, <[u8]>::len);
    }

    /// Has the stream take what it can of what is to be sent.
    pub fn flush(&mut self, stream: &mut impl Write) {
        while self.broken.is_none() && self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A server that closes says why before: that may still be there to be received.
                Err(error) => self.broken = Some(error),
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        if !self.established {
            self.note = Some(TlsNote {
                error: Some(failure.to_string()),
                ..self.describe()
            });
        }
        self.failure = Some(failure);
    }

    /// What is known of the session.
    fn describe(&self) -> TlsNote {
        let version = self
            .connection
            .protocol_version()
            .map(|version| match version {
                rustls::ProtocolVersion::TLSv1_2 => "1.2".to_owned(),
                rustls::ProtocolVersion::TLSv1_3 => "1.3".to_owned(),
                other => format!("{other:?}"),
            });
        let cipher = self.connection.negotiated_cipher_suite().map(|suite| {
            // The library tells the suites of TLS 1.3 apart by a name that is not IANA's.
            format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
        });
        let alpn = self.connection.alpn_protocol();
        TlsNote {
            server_name: self.server_name.clone(),
            version,
            cipher,
            alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()),
            certificate: self.witness.seen().map(|der| certificate::describe(&der)),
            error: None,
        }
    }

    /// What became of the handshake: once, when it has ended.
    pub fn take_note(&mut self) -> Option<TlsNote> {
        self.note.take()
    }

    /// Whether there is something to say of the handshake.
    #[must_use]
    pub fn has_note(&self) -> bool {
        self.note.is_some()
    }

    /// Why the session failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the handshake has ended well.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// How many bytes of clear text can surely be received now.
    #[must_use]
    pub fn clear_text(&self) -> usize {
        self.clear_text
    }

    /// Whether receiving would return now: with clear text, the end, or the failure.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        self.clear_text > 0 || self.peer_closed || self.failure.is_some()
    }

    /// Whether sending would return now: all before has left, or it fails.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.failure.is_some() || (self.established && !self.wants_write())
    }

    /// Whether something waits for the stream to take it.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.broken.is_none() && self.connection.wants_write()
    }

    /// Receives clear text: none is the end, and nothing at all means that it has yet to come. With
    /// `keep` it stays to be received again.
    ///
    /// # Errors
    ///
    /// The session failed, and all clear text before that was received.
    pub fn receive(
        &mut self,
        stream: &mut (impl Read + Write),
        slices: &mut [IoSliceMut<'_>],
        keep: Keep,
    ) -> Result<Option<usize>, Failure> {
        self.advance(stream);
        let mut received = 0;
        if keep == Keep::All {
            let mut rest = self
                .connection
                .reader()
                .into_first_chunk()
                .unwrap_or_default();
            for slice in slices.iter_mut() {
                received += rest.read(slice).unwrap_or(0);
            }
        } else {
            for slice in slices.iter_mut() {
                // The error is that there is no more.
                received += self.connection.reader().read(slice).unwrap_or(0);
            }
            self.look_for_clear_text();
        }
        match &self.failure {
            _ if received > 0 => Ok(Some(received)),
            Some(failure) if self.clear_text == 0 => Err(failure.clone()),
            _ if self.can_receive() => Ok(Some(0)),
            _ => Ok(None),
        }
    }

    /// Sends clear text. Returns how much was taken, which is on its way; nothing at all means that
    /// there is no room yet. What was taken and does not fit the stream is at most one record, and
    /// leaves with the next call of any kind.
    ///
    /// # Errors
    ///
    /// The session failed, or this side of it is closed.
    pub fn send(
        &mut self,
        stream: &mut (impl Read + Write),
        slices: &[IoSlice<'_>],
    ) -> Result<Option<usize>, Failure> {
        self.advance(stream);
        if self.closing {
            return Err(Failure::from(io::Error::from(ErrorKind::BrokenPipe)));
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.can_send() {
            return Ok(None);
        }
        let mut taken = 0;
        for piece in slices.iter().flat_map(|slice| slice.chunks(RECORD_BYTES)) {
            if self.connection.wants_write() {
                break;
            }
            // A piece is less than the library's buffer takes.
            taken += self.connection.writer().write(piece).unwrap_or(0);
            self.flush(stream);
        }
        Ok(Some(taken))
    }

    /// Says that nothing more will be sent, after all that was. Returns whether that has left.
    pub fn close(&mut self, stream: &mut impl Write) -> bool {
        if self.established && self.failure.is_none() && !self.closing {
            self.connection.send_close_notify();
        }
        self.closing = true;
        self.flush(stream);
        !self.wants_write()
    }
}

/// What becomes of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is gone.
    Nothing,
    /// It can be received again.
    All,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server_name", &self.server_name)
            .field("established", &self.established)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;

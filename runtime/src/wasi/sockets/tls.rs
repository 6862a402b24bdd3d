//! TLS that the host does for a guest, on a socket that it connected: the handshake, waiting, and what
//! the guest learns of a failure. The protocol itself is in [`crate::network::tls`].

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use timecraft_segment::wasmedge::{LEVEL_TIMECRAFT, OPTION_TLS_SERVER_NAME};

use super::socket::{Received, Socket, Stage, deadline};
use crate::memory::GuestMemory;
use crate::network::tls::{CannotBegin, Failure, Keep, Session, Trust};
use crate::wakeup::Wakeup;
use crate::wasi::Stop;
use crate::wasi::channel::Patience;
use crate::wasi::errno::Errno;

/// How long what is still to be sent may take to leave when a guest closes a socket: what the kernel
/// does for other sockets, after their process has gone on.
const LINGER: Duration = Duration::from_secs(1);

/// Whether an option is the one that hands TLS to the host.
pub(super) fn is_option(level: u32, name: u32) -> bool {
    (level.into(), name.into()) == (LEVEL_TIMECRAFT, OPTION_TLS_SERVER_NAME)
}

/// The connection, as TLS sees it.
struct Wire<'a>(BorrowedFd<'a>);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(send(self.0, buffer, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a session waits for.
fn interest(session: &Session) -> PollFlags {
    match session.wants_write() {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    }
}

/// A failure as the guest gets it, and the record's note beside it. What became of the handshake is a
/// note of its own.
fn stop(session: &Session, failure: &Failure) -> Stop {
    let errno = match failure {
        Failure::Protocol(_) => Errno::PROTO,
        Failure::Cut(_) => Errno::CONNRESET,
        Failure::System(error) => Errno::from(&**error),
    };
    match session.has_note() {
        true => errno.into(),
        false => Stop::Because(errno, failure.to_string()),
    }
}

impl Socket {
    /// Begins TLS with the server of this name. A guest that waits gets the session; for another the
    /// handshake goes on with its next calls.
    pub(super) fn begin_tls(
        &mut self,
        trust: &Trust,
        name: &[u8],
        wakeup: &Wakeup,
    ) -> Result<(), Stop> {
        if self.transport.is_datagram() {
            return Err(Errno::NOPROTOOPT.into());
        }
        if self.stage != Stage::Connected {
            return Err(Errno::NOTCONN.into());
        }
        if self.tls.is_some() {
            return Err(Errno::ALREADY.into());
        }
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        let session = match std::str::from_utf8(name) {
            Ok(name) => Session::new(trust, name),
            Err(_) => Err(CannotBegin::Name(
                String::from_utf8_lossy(name).into_owned(),
            )),
        };
        let session = session.map_err(|error| Stop::Because(Errno::INVAL, error.to_string()))?;
        self.tls = Some(Box::new(RefCell::new(session)));
        match self.handshake(wakeup) {
            Err(Stop::Errno(Errno::AGAIN)) => Ok(()),
            result => result,
        }
    }

    /// Goes on with the handshake; `EAGAIN` where it has not ended and the guest does not wait.
    pub(super) fn handshake(&self, wakeup: &Wakeup) -> Result<(), Stop> {
        let tls = self.tls.as_ref().ok_or(Errno::NOTCONN)?;
        self.until(deadline(self.kept.receive_timeout), wakeup, || {
            let mut session = tls.borrow_mut();
            session.advance(&mut Wire(self.as_fd()));
            match session.failure() {
                Some(failure) => Err(stop(&session, failure)),
                None => Ok(session.is_established().then_some(())),
            }
        })
    }

    /// Receives clear text.
    pub(super) fn receive_clear(
        &self,
        tls: &RefCell<Session>,
        slices: &mut [IoSliceMut<'_>],
        flags: RecvFlags,
        wakeup: &Wakeup,
    ) -> Result<Received, Stop> {
        let keep = match flags.contains(RecvFlags::PEEK) {
            true => Keep::All,
            false => Keep::Nothing,
        };
        let least = self.least(flags);
        let deadline = deadline(self.kept.receive_timeout);
        let mut received = Received::default();
        let mut rest = slices;
        loop {
            let result = self.until(deadline, wakeup, || {
                let mut session = tls.borrow_mut();
                let received = session.receive(&mut Wire(self.as_fd()), rest, keep);
                received.map_err(|failure| stop(&session, &failure))
            });
            match result {
                Ok(n) => {
                    received.bytes += n;
                    IoSliceMut::advance_slices(&mut rest, n);
                    if received.bytes >= least || n == 0 || rest.is_empty() {
                        return Ok(received);
                    }
                }
                // What came before counts; what ended the wait comes again.
                Err(_) if received.bytes > 0 => return Ok(received),
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Sends clear text: all of it, and until it has left, if the guest is patient. Returns how many
    /// bytes were taken, whatever ended it.
    pub(super) fn send_clear(
        &self,
        tls: &RefCell<Session>,
        slices: &mut [IoSlice<'_>],
        wakeup: &Wakeup,
    ) -> (usize, Result<(), Stop>) {
        let deadline = deadline(self.kept.send_timeout);
        let mut rest = slices;
        let mut sent = 0;
        let end = loop {
            let result = self.until(deadline, wakeup, || {
                let mut session = tls.borrow_mut();
                let taken = session.send(&mut Wire(self.as_fd()), rest);
                taken.map_err(|failure| stop(&session, &failure))
            });
            match result {
                Ok(n) => {
                    sent += n;
                    IoSlice::advance_slices(&mut rest, n);
                    if rest.is_empty() || self.patience() == Patience::None {
                        break self.flush_if_patient(tls, deadline, wakeup);
                    }
                }
                Err(stop) => break Err(stop),
            }
        };
        match end {
            // What was taken before the error counts; the error comes again.
            Err(Stop::Errno(_) | Stop::Because(..)) if sent > 0 => (sent, Ok(())),
            end => (sent, end),
        }
    }

    fn flush_if_patient(
        &self,
        tls: &RefCell<Session>,
        deadline: Option<Instant>,
        wakeup: &Wakeup,
    ) -> Result<(), Stop> {
        if self.patience() == Patience::None {
            return Ok(());
        }
        self.until(deadline, wakeup, || {
            let mut session = tls.borrow_mut();
            session.flush(&mut Wire(self.as_fd()));
            Ok((!session.wants_write()).then_some(()))
        })
    }

    /// Tells the server that nothing more comes, and waits a moment until all has left.
    pub(in crate::wasi) fn end_tls(&self, wakeup: &Wakeup) -> Result<(), Stop> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        let deadline = Instant::now() + LINGER;
        loop {
            if tls.borrow_mut().close(&mut Wire(self.as_fd())) {
                return Ok(());
            }
            self.wait(PollFlags::OUT, Some(deadline), wakeup)?;
        }
    }

    /// Tries until there is a result, and waits in between if the guest is patient.
    fn until<T>(
        &self,
        deadline: Option<Instant>,
        wakeup: &Wakeup,
        mut attempt: impl FnMut() -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        loop {
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            if self.patience() == Patience::None {
                return Err(Errno::AGAIN.into());
            }
            let events = self
                .tls
                .as_ref()
                .map_or(PollFlags::IN, |tls| interest(&tls.borrow()));
            self.wait(events, deadline, wakeup)?;
        }
    }

    /// Has the record say what became of the handshake, if this call saw it end.
    pub(super) fn note_tls(&self, memory: &mut GuestMemory<'_>) {
        let note = self
            .tls
            .as_ref()
            .and_then(|tls| tls.borrow_mut().take_note());
        if let Some(note) = note {
            memory.note(&note.to_string());
        }
    }

    /// Goes on with TLS for a guest that waits for these events, and says what to poll for until it may
    /// have them: nothing where it has.
    pub(in crate::wasi) fn poll_tls(&self, events: PollFlags) -> PollFlags {
        let Some(tls) = &self.tls else {
            return PollFlags::empty();
        };
        let mut session = tls.borrow_mut();
        session.advance(&mut Wire(self.as_fd()));
        let ready = match events.contains(PollFlags::OUT) {
            true => session.can_send(),
            false => session.can_receive(),
        };
        match ready {
            true => PollFlags::empty(),
            false => interest(&session),
        }
    }
}

#[cfg(test)]
mod tests;

//! Calls that say how a connection stands: connecting, asking how that ended, ending a direction.

use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{self, Ends};
use timecraft_segment::{Outcome, Record};

use super::Connections;
use super::connection::{Role, errno};
use super::event::{Action, Direction, End, Event};
use super::follow::returned;
use super::socket::Flow;

impl Connections {
    pub(super) fn connect(&mut self, record: &Record<'_>, fd: u32) {
        let ends = record.note.and_then(Ends::parse);
        let denied = record.note.and_then(Denial::parse).is_some();
        let result = returned(record);
        let named = ends.as_ref().and_then(|ends| ends.peer.clone());
        let peer = named.or_else(|| socket::passed(record));
        if record.outcome == Outcome::Trapped {
            // The host went to no address.
            return self.call_on(record, Action::Connect, fd);
        }
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let goes_on = socket.connected.as_ref().is_some_and(|flow| {
            let connection = &flow.connection;
            let stands = connection.is_pending() || connection.is_established();
            let same = peer.is_none() || connection.peer == peer;
            stands && (same || !socket.is_datagram())
        });
        // Of these nothing comes: the descriptor is none, or the call is about an earlier one.
        let nothing = matches!(
            result,
            Some(errno::EBADF | errno::ENOTSOCK | errno::EISCONN | errno::EALREADY)
        );
        let fails = result.is_some_and(|r| !matches!(r, 0 | errno::EINPROGRESS | errno::EINTR));
        let stands = socket.connected.as_ref();
        if fails && !nothing && stands.is_some_and(|flow| flow.connection.is_established()) {
            // What stands goes on as it was.
            if !goes_on {
                let mut attempt = Flow::new(socket, fd, record, Role::Client);
                attempt.connection.peer = peer;
                if denied {
                    attempt.connection.deny();
                }
                result.into_iter().for_each(|e| attempt.connection.fail(e));
                self.give_flow(attempt, Some(record.start.0));
            }
            return self.call_on(record, Action::Connect, fd);
        }
        if !goes_on && !nothing {
            let before = socket.connected.take();
            let known = peer.as_ref().and_then(|peer| socket.peers.remove(peer));
            self.peers -= usize::from(known.is_some());
            let mut flow = known.unwrap_or_else(|| Flow::new(socket, fd, record, Role::Client));
            flow.connection.peer.clone_from(&peer);
            flow.connection.server_name = self.names.of(peer.as_ref());
            socket.connected = Some(Box::new(flow));
            if let Some(before) = before {
                self.give_flow(*before, Some(record.start.0));
            }
        }
        if let Some(socket) = self.sockets.get_mut(&fd) {
            if let Some(ends) = &ends {
                socket.learn(ends);
            }
            if let Some(flow) = socket.connected.as_deref_mut() {
                match result {
                    Some(0 | errno::EISCONN) => flow.connection.establish(),
                    Some(_) if denied => {
                        flow.connection.deny();
                        result.into_iter().for_each(|e| flow.connection.fail(e));
                    }
                    Some(error) => flow.connection.fail(error),
                    None => {}
                }
            }
        }
        self.call_on(record, Action::Connect, fd);
    }

    pub(super) fn shut_down(&mut self, record: &Record<'_>, fd: u32) {
        /// The bits of `sdflags`. That the guest will not receive any more is nothing that the peer sees.
        const READ: u64 = 1;
        const WRITE: u64 = 2;
        let how = record.args.get(1).copied().unwrap_or(0);
        self.call_on(record, Action::Shutdown, fd);
        if returned(record) == Some(0)
            && how & READ != 0
            && let Some(flow) = self.sockets.get_mut(&fd).and_then(|s| s.flow(None))
        {
            flow.connection.stop_receiving();
        }
        if returned(record) == Some(0)
            && how & WRITE != 0
            && let Some(flow) = self.sockets.get_mut(&fd).and_then(|s| s.flow(None))
            && flow.connection.end(Direction::Sent)
        {
            self.out.push(Event::End(End {
                connection: flow.connection.id,
                fd,
                direction: Direction::Sent,
            }));
        }
    }

    /// The option that says how a connection in progress ended.
    pub(super) fn option(&mut self, record: &Record<'_>, fd: u32) {
        /// `SOL_SOCKET` and `SO_ERROR` in WasmEdge's numbers.
        const ERROR: [u64; 2] = [0, 2];
        if returned(record) == Some(0)
            && let [_, level, name, pointer, ..] = *record.args
            && [level, name] == ERROR
            && let Some(flow) = self.sockets.get_mut(&fd).and_then(|s| s.flow(None))
            && let Some(value) = record.writes().find(|write| write.address == pointer)
            && let Some(value) = value.bytes.as_slice().first_chunk::<4>()
        {
            match u32::from_le_bytes(*value) {
                // Guests ask once poll_oneoff says that it is decided. After an error it says only that
                // the error was asked for already.
                0 if flow.connection.is_pending() => flow.connection.establish(),
                0 => {}
                error => flow.connection.fail(error.into()),
            }
        }
        self.call_on(record, Action::GetOption, fd);
    }

    /// The guest asks for an address, which may be all that is known of it.
    pub(super) fn address(&mut self, record: &Record<'_>, fd: u32, action: Action) {
        let address = socket::returned(record).filter(|_| returned(record) == Some(0));
        if let Some(address) = address
            && let Some(socket) = self.sockets.get_mut(&fd)
        {
            if action == Action::LocalAddress {
                socket.local = Some(address.clone());
            }
            if let Some(flow) = socket.flow(None) {
                if action == Action::PeerAddress {
                    flow.connection.establish();
                    flow.connection.peer.get_or_insert(address);
                } else {
                    flow.connection.local = Some(address);
                }
            }
        }
        self.call_on(record, action, fd);
    }
}

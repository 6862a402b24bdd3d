//! Which number is which socket: what opens, moves and closes them, and what becomes of their
//! connections then.

use timecraft_segment::socket::{Ends, Transport};
use timecraft_segment::{Record, wasmedge};

use super::connection::{Connection, Role};
use super::event::{Action, Event, Oddity, Warning};
use super::follow::{descriptor, new_descriptor, returned};
use super::socket::{Flow, Socket};
use super::{Connections, MAX_PEERS, MAX_SOCKETS};

impl Connections {
    pub(super) fn opened(&mut self, record: &Record<'_>) {
        let Some(fd) = new_descriptor(record) else {
            return;
        };
        let [family, kind] = [0, 1].map(|at| record.args.get(at).copied().unwrap_or(0));
        let unix = family == u64::from(wasmedge::FAMILY_UNIX);
        let transport = match kind {
            1 if unix => Some(Transport::UnixDatagram),
            1 => Some(Transport::Udp),
            2 if unix => Some(Transport::UnixStream),
            2 => Some(Transport::Tcp),
            _ => None,
        };
        let socket = Socket {
            transport,
            ..Socket::default()
        };
        self.put(fd, socket);
        self.call_on(record, Action::Open, fd);
    }

    pub(super) fn accepted(&mut self, record: &Record<'_>) {
        let Some(fd) = new_descriptor(record) else {
            return;
        };
        let listener = descriptor(record, 0).and_then(|fd| self.sockets.get(&fd));
        let ends = record.note.and_then(Ends::parse);
        let local = ends.as_ref().and_then(|ends| ends.local.clone());
        let transport = ends.as_ref().map(|ends| ends.transport);
        let mut socket = Socket {
            transport: transport.or_else(|| listener?.transport),
            local: local.or_else(|| listener?.local.clone()),
            ..Socket::default()
        };
        let mut flow = Flow::new(&socket, fd, record, Role::Server);
        flow.connection.establish();
        flow.connection.peer = ends.and_then(|ends| ends.peer);
        socket.connected = Some(Box::new(flow));
        self.put(fd, socket);
        self.call_on(record, Action::Accept, fd);
    }

    /// Follows a new socket, as far as there is room.
    fn put(&mut self, fd: u32, socket: Socket) {
        self.vanish(fd);
        if self.sockets.len() < MAX_SOCKETS {
            self.sockets.insert(fd, socket);
        } else {
            for flow in socket.into_flows() {
                self.give_flow(flow, None);
            }
        }
    }

    /// A number is in use again that was closed in records that are missing.
    pub(super) fn vanish(&mut self, fd: u32) {
        if let Some(socket) = self.sockets.remove(&fd) {
            self.peers -= socket.peers.len();
            for flow in socket.into_flows() {
                self.give_lost(flow);
            }
        }
    }

    /// Gives a connection whose end is in records that are missing.
    pub(super) fn give_lost(&mut self, mut flow: Flow) {
        let connection = &mut flow.connection;
        connection.lose();
        warn(connection, Oddity::RecordsMissing, "", &mut self.out);
        self.give_flow(flow, None);
    }

    /// A socket is closed.
    pub(super) fn remove(&mut self, fd: u32, record: &Record<'_>) {
        if let Some(socket) = self.sockets.remove(&fd) {
            self.peers -= socket.peers.len();
            for mut flow in socket.into_flows() {
                flow.connection.end_offset = record.offset.0;
                self.give_flow(flow, Some(record.start.0));
            }
        }
    }

    pub(super) fn give_flow(&mut self, mut flow: Flow, closed_ns: Option<u64>) {
        let id = flow.connection.id;
        self.names.end(id, &mut self.out);
        flow.asks.give_up(&mut self.room);
        let session = flow.streams.end(id, &mut self.budget);
        self.out.extend(session.map(Event::Tls));
        flow.connection.closed_ns = closed_ns;
        self.out.push(Event::Closed(flow.connection));
    }

    pub(super) fn renumber(&mut self, record: &Record<'_>, from: u32) {
        self.call_on(record, Action::Renumber, from);
        if returned(record) != Some(0) {
            return;
        }
        let Some(to) = descriptor(record, 1).filter(|&to| to != from) else {
            return;
        };
        self.remove(to, record);
        if let Some(socket) = self.sockets.remove(&from) {
            let moved = Socket {
                initial: false,
                ..socket
            };
            self.sockets.insert(to, moved);
        }
    }

    /// A connected socket that the guest started with becomes a connection with the first call on it.
    pub(super) fn begin_initial(&mut self, fd: u32, record: &Record<'_>) {
        let names = &self.names;
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let Some(peer) = socket.began_with.take() else {
            return;
        };
        let mut flow = Flow::new(socket, fd, record, Role::Client);
        if socket.is_midstream(None, record.start.0) {
            flow.begin_midstream();
        } else {
            flow.connection.establish();
            flow.connection.opened_ns = 0;
        }
        flow.connection.server_name = names.of(Some(&peer));
        flow.connection.peer = Some(peer);
        socket.connected = Some(Box::new(flow));
    }

    /// Makes room for another peer.
    pub(super) fn make_room(&mut self) {
        if self.peers < MAX_PEERS {
            return;
        }
        let all = self.sockets.values().flat_map(|s| s.peers.values());
        let mut ends: Vec<u64> = all.map(|flow| flow.connection.end_offset).collect();
        let half = ends.len() / 2;
        let (_, &mut last, _) = ends.select_nth_unstable(half);
        let mut silent = Vec::new();
        for socket in self.sockets.values_mut() {
            let gone = socket
                .peers
                .extract_if(.., |_, flow| flow.connection.end_offset <= last);
            silent.extend(gone.map(|(_, flow)| flow));
        }
        self.peers -= silent.len();
        for mut flow in silent {
            warn(
                &mut flow.connection,
                Oddity::PeersDropped,
                "",
                &mut self.out,
            );
            self.give_flow(flow, None);
        }
    }
}

/// Says that something is odd.
pub(super) fn warn(
    connection: &mut Connection,
    oddity: Oddity,
    detail: &str,
    out: &mut Vec<Event>,
) {
    connection.note(oddity);
    out.push(Event::Warning(Warning {
        connection: connection.id,
        oddity,
        detail: detail.to_owned(),
    }));
}

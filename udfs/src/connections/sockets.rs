//! The life of a descriptor that is a socket: what each call makes of it and of its connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use timecraft_segment::function::{Kind, Scalar};
use timecraft_segment::socket::{self, Address, Ends, Preopened, Transport};
use timecraft_segment::{Outcome, Record, wasmedge};

use super::asks::Asks;
use super::connection::{Connection, Role};
use super::event::{Action, Call, Direction, Event, Oddity, Tls, Warning};
use super::facts::Step;
use super::streams::Streams;
use super::{Connections, MAX_PEERS, MAX_SOCKETS};

/// A connection and what is seen in its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flow {
    pub(super) connection: Connection,
    pub(super) streams: Streams,
    pub(super) asks: Asks,
}

impl Flow {
    /// Its beginning is not in the log.
    pub(super) fn begin_midstream(&mut self) {
        self.connection.begin_midstream();
        self.streams = Streams::midstream();
    }
}

/// A socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Socket {
    pub(super) transport: Option<Transport>,
    pub(super) local: Option<Address>,
    /// The peer that it was connected to before the guest began: no call made it known yet.
    began_with: Option<Address>,
    /// Whether its beginning is not in the log.
    pub(super) midstream: bool,
    /// Whether it is still what the process started with under its number.
    pub(super) initial: bool,
    /// What it is connected to, or was.
    pub(super) connected: Option<Box<Flow>>,
    /// The others that datagrams went to or came from.
    pub(super) peers: BTreeMap<Address, Flow>,
}

impl Socket {
    pub(super) fn at_start(start: &Preopened) -> Socket {
        Socket {
            transport: Some(start.ends.transport),
            local: start.ends.local.clone(),
            began_with: start.ends.peer.clone().filter(|_| !start.listening),
            initial: true,
            ..Socket::default()
        }
    }

    /// One whose beginning is not in the log.
    pub(super) fn unknown() -> Socket {
        Socket {
            midstream: true,
            ..Socket::default()
        }
    }

    /// The same after records are missing.
    pub(super) fn after_loss(&self) -> Socket {
        Socket {
            midstream: true,
            ..self.clone()
        }
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.flows().map(|flow| &flow.connection)
    }

    pub(super) fn unanswered_tls(&self) -> impl Iterator<Item = Tls> {
        let unanswered = |flow: &Flow| flow.streams.unanswered(flow.connection.id);
        self.flows().filter_map(unanswered)
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        let connected = self.connected.as_deref();
        connected.into_iter().chain(self.peers.values())
    }

    pub(super) fn into_flows(self) -> impl Iterator<Item = Flow> {
        let connected = self.connected.map(|flow| *flow);
        connected.into_iter().chain(self.peers.into_values())
    }

    pub(super) fn is_datagram(&self) -> bool {
        self.transport.is_some_and(Transport::is_datagram)
    }

    /// Takes what a note says of it.
    pub(super) fn learn(&mut self, ends: &Ends) {
        self.transport = Some(ends.transport);
        if ends.local.is_some() {
            self.local.clone_from(&ends.local);
        }
        if let Some(flow) = self.connected.as_deref_mut() {
            flow.connection.transport = Some(ends.transport);
            flow.connection.local.clone_from(&self.local);
            if ends.peer.is_some() {
                flow.connection.peer.clone_from(&ends.peer);
            }
        }
    }

    /// The connection with that peer, or where none is named the one that it is connected to.
    pub(super) fn flow(&mut self, peer: Option<&Address>) -> Option<&mut Flow> {
        let others = self.is_datagram();
        let is_it = |flow: &Flow| !others || flow.connection.peer.as_ref() == peer;
        match (self.connected.as_deref_mut(), peer) {
            (Some(flow), None) => Some(flow),
            (Some(flow), Some(_)) if is_it(flow) => Some(flow),
            (_, Some(peer)) if others => self.peers.get_mut(peer),
            _ => None,
        }
    }

    /// The peer of that address whose port version 1 of `sock_recv_from` does not return: the one that
    /// was heard of last.
    pub(super) fn with_port(&self, peer: Address) -> Address {
        let Address::Ip(ip) = &peer else {
            return peer;
        };
        if ip.port() != 0 {
            return peer;
        }
        let with = |port| Address::Ip(SocketAddr::new(ip.ip(), port));
        let same = |flow: &&Flow| matches!(&flow.connection.peer, Some(Address::Ip(known)) if known.ip() == ip.ip());
        let connected = self.connected.as_deref().filter(same);
        let others = self.peers.range(with(0)..=with(u16::MAX));
        let known = connected.into_iter().chain(others.map(|(_, flow)| flow));
        let last = known.max_by_key(|flow| flow.connection.end_offset);
        last.and_then(|flow| flow.connection.peer.clone())
            .unwrap_or(peer)
    }
}

/// What a call returned; none where it did not.
pub(super) fn returned(record: &Record<'_>) -> Option<u64> {
    (record.outcome == Outcome::Returned).then_some(record.result)
}

/// The argument that is a descriptor: an i32 on the wasm side.
fn descriptor(record: &Record<'_>, at: usize) -> Option<u32> {
    record.args.get(at).map(|&fd| fd as u32)
}

fn new_descriptor(record: &Record<'_>) -> Option<u32> {
    let row = record.row()?;
    let is_fd = |&p: &usize| row.params[p].kind == Kind::Out(Scalar::Fd);
    record
        .out(row.outs.iter().position(is_fd)?)
        .map(|fd| fd as u32)
}

impl Connections {
    pub(super) fn follow(&mut self, record: &Record<'_>, step: Step) {
        if step == Step::Resolve {
            return self.names.resolved(record, &mut self.out);
        }
        let ok = returned(record) == Some(0);
        match step {
            Step::Open if ok => return self.opened(record),
            Step::Accept if ok => return self.accepted(record),
            Step::OpenOther if ok => {
                if let Some(fd) = new_descriptor(record) {
                    self.vanish(fd);
                }
                return;
            }
            Step::Open => {
                return self.out.push(Event::Call(call(record, Action::Open, 0)));
            }
            Step::OpenOther => return,
            _ => {}
        }
        let Some(fd) = descriptor(record, 0) else {
            return;
        };
        if !self.sockets.contains_key(&fd) {
            match step {
                Step::Renumber if ok => {
                    let to = descriptor(record, 1);
                    return to.into_iter().for_each(|to| self.remove(to, record));
                }
                Step::Write | Step::Read | Step::Close | Step::Renumber => return,
                // Only a socket lets this succeed: its beginning is not in the log.
                _ if ok && self.sockets.len() < MAX_SOCKETS => {
                    self.sockets.insert(fd, Socket::unknown());
                }
                _ => return self.unknown(record, step, fd),
            }
        }
        self.begin_initial(fd, record);
        if let Some(ends) = record.note.and_then(Ends::parse)
            && !matches!(step, Step::Accept | Step::Connect)
            && let Some(socket) = self.sockets.get_mut(&fd)
        {
            socket.learn(&ends);
        }
        match step {
            Step::Connect => self.connect(record, fd),
            Step::Send | Step::Write => self.transfer(record, fd, Direction::Sent),
            Step::Receive | Step::Read => self.transfer(record, fd, Direction::Received),
            Step::Close => {
                self.call_on(record, Action::Close, fd);
                if ok {
                    self.remove(fd, record);
                }
            }
            Step::Renumber => self.renumber(record, fd),
            Step::Shutdown => self.shut_down(record, fd),
            Step::GetOption => self.option(record, fd),
            Step::LocalAddress | Step::PeerAddress => self.address(record, fd, step),
            Step::Bind => self.call_on(record, Action::Bind, fd),
            Step::Listen => self.call_on(record, Action::Listen, fd),
            Step::Accept => self.call_on(record, Action::Accept, fd),
            Step::SetOption => self.call_on(record, Action::SetOption, fd),
            Step::Open | Step::OpenOther | Step::Resolve => {}
        }
        self.tls_note(record, fd);
    }

    /// A call on a descriptor that is no socket, or none that is open.
    fn unknown(&mut self, record: &Record<'_>, step: Step, fd: u32) {
        let action = match step {
            Step::Bind => Action::Bind,
            Step::Connect => Action::Connect,
            Step::Listen => Action::Listen,
            Step::Accept => Action::Accept,
            Step::Send => Action::Send,
            Step::Receive => Action::Receive,
            Step::Shutdown => Action::Shutdown,
            Step::GetOption => Action::GetOption,
            Step::SetOption => Action::SetOption,
            Step::LocalAddress => Action::LocalAddress,
            Step::PeerAddress => Action::PeerAddress,
            _ => return,
        };
        let call = call(record, action, fd);
        self.out.push(Event::Call(Call {
            peer: socket::passed(record),
            ..call
        }));
    }

    /// Tells a call on a socket that moves nothing.
    pub(super) fn call_on(&mut self, record: &Record<'_>, action: Action, fd: u32) {
        let mut call = call(record, action, fd);
        if let Some(socket) = self.sockets.get_mut(&fd) {
            call.transport = socket.transport;
            call.local.clone_from(&socket.local);
            if let Some(flow) = socket.flow(None) {
                flow.connection.end_offset = record.offset.0;
                call.connection = Some(flow.connection.id);
                call.peer.clone_from(&flow.connection.peer);
            }
        }
        self.out.push(Event::Call(call));
    }

    fn opened(&mut self, record: &Record<'_>) {
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

    fn accepted(&mut self, record: &Record<'_>) {
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
        let mut flow = new_flow(&socket, fd, record, Role::Server);
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
    fn remove(&mut self, fd: u32, record: &Record<'_>) {
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

    fn renumber(&mut self, record: &Record<'_>, from: u32) {
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

    /// A socket that the guest started with becomes a connection with the first call on it, and so does
    /// one whose beginning is not in the log.
    fn begin_initial(&mut self, fd: u32, record: &Record<'_>) {
        let names = &self.names;
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let Some(peer) = socket.began_with.take() else {
            return;
        };
        let mut flow = new_flow(socket, fd, record, Role::Client);
        if socket.midstream {
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

/// A call as it is told, of a socket that is not known or not there yet.
pub(super) fn call(record: &Record<'_>, action: Action, fd: u32) -> Call {
    Call {
        action,
        fd,
        connection: None,
        transport: None,
        local: None,
        peer: None,
        outcome: record.outcome,
        errno: returned(record),
        size: None,
    }
}

/// A connection that this record makes known.
pub(super) fn new_flow(socket: &Socket, fd: u32, record: &Record<'_>, role: Role) -> Flow {
    let mut connection = Connection::new(record.offset.0, fd, role, record.start.0);
    connection.transport = socket.transport;
    connection.local.clone_from(&socket.local);
    Flow {
        connection,
        streams: Streams::default(),
        asks: Asks::default(),
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

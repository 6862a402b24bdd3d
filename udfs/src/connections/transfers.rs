//! Calls that move bytes: which connection they are of, and what is seen in them.

use std::borrow::Cow;

use timecraft_segment::denial::Denial;
use timecraft_segment::socket::{self, Address, TlsNote, Transport};
use timecraft_segment::{Outcome, Record, describe};

use super::connection::Role;
use super::event::{Action, Call, Data, Direction, End, Event, Oddity, Tls};
use super::follow::{call, returned};
use super::socket::Flow;
use super::sockets::warn;
use super::streams::Place;
use super::{Connections, payload};
use crate::protocol::{At, Piece};

impl Connections {
    /// Bytes go, or do not.
    pub(super) fn transfer(&mut self, record: &Record<'_>, fd: u32, direction: Direction) {
        let size = moved(record, direction);
        let Flags { peeks, truncated } = match direction {
            Direction::Received => Flags::of_receive(record),
            Direction::Sent => Flags::default(),
        };
        let action = match direction {
            Direction::Sent => Action::Send,
            Direction::Received if peeks => Action::Peek,
            Direction::Received => Action::Receive,
        };
        // What is refused of a receive is a datagram that the guest does not get: nothing of its own.
        let denied = direction == Direction::Sent && record.note.and_then(Denial::parse).is_some();
        let peer = match direction {
            Direction::Sent => socket::passed(record),
            Direction::Received if size.is_some() => socket::returned(record),
            Direction::Received => None,
        };
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let peer = peer.map(|peer| socket.with_port(peer));
        if let (None, Some(peer), Direction::Sent, Some(0)) =
            (socket.transport, &peer, direction, returned(record))
        {
            // Only datagrams are sent to an address. What is received from a stream has one too.
            socket.transport = Some(match peer {
                Address::Ip(_) => Transport::Udp,
                Address::Unix(_) => Transport::UnixDatagram,
            });
        }
        let counts = size.is_some() && !peeks;
        if (counts || denied) && socket.flow(peer.as_ref()).is_none() {
            self.make_room();
            self.begin(fd, record, peer.clone(), direction);
        }
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let mut call = Call {
            transport: socket.transport,
            local: socket.local.clone(),
            peer: peer.clone(),
            size,
            ..call(record, action, fd)
        };
        let is_datagram = socket.is_datagram();
        let Some(flow) = socket.flow(peer.as_ref()) else {
            return self.out.push(Event::Call(call));
        };
        let connection = &mut flow.connection;
        connection.end_offset = record.offset.0;
        call.connection = Some(connection.id);
        call.local.clone_from(&connection.local);
        call.peer.clone_from(&connection.peer);
        self.out.push(Event::Call(call));
        if denied {
            connection.deny();
        }
        match (returned(record), size) {
            (_, Some(0)) if !is_datagram && direction == Direction::Sent => {}
            (_, Some(0)) if !is_datagram && !peeks && has_room(record) => {
                let first = connection.end(direction);
                let end = End {
                    connection: connection.id,
                    fd,
                    direction,
                };
                self.out.extend(first.then_some(Event::End(end)));
            }
            (_, Some(size)) if !peeks && (size > 0 || is_datagram) => {
                let position = connection.count(direction, size);
                self.out.push(Event::Data(Data {
                    connection: connection.id,
                    fd,
                    direction,
                    position,
                    size,
                    transport: connection.transport,
                    local: connection.local.clone(),
                    peer: connection.peer.clone(),
                }));
                if truncated && is_datagram {
                    warn(connection, Oddity::DatagramTruncated, "", &mut self.out);
                }
                self.look(record, fd, peer.as_ref(), direction, size);
            }
            (Some(error), _) if error != 0 => connection.fail(error),
            _ => {}
        }
    }

    /// A connection that bytes make known: to or from a peer, or one whose beginning is not in the log.
    fn begin(&mut self, fd: u32, record: &Record<'_>, peer: Option<Address>, way: Direction) {
        let role = match way {
            Direction::Sent => Role::Client,
            Direction::Received => Role::Server,
        };
        let Some(socket) = self.sockets.get_mut(&fd) else {
            return;
        };
        let mut flow = Flow::new(socket, fd, record, role);
        if socket.is_midstream(peer.as_ref(), record.start.0) {
            flow.begin_midstream();
        }
        if role == Role::Client {
            flow.connection.server_name = self.names.of(peer.as_ref());
        }
        flow.connection.peer.clone_from(&peer);
        match peer {
            Some(peer) if socket.is_datagram() => {
                socket.peers.insert(peer, flow);
                self.peers += 1;
            }
            _ => {
                if let Some(before) = socket.connected.replace(Box::new(flow)) {
                    self.give_flow(*before, None);
                }
            }
        }
    }

    /// Looks at the bytes of a transfer, where they are there.
    fn look(
        &mut self,
        record: &Record<'_>,
        fd: u32,
        peer: Option<&Address>,
        direction: Direction,
        size: u64,
    ) {
        let Some(flow) = self.sockets.get_mut(&fd).and_then(|s| s.flow(peer)) else {
            return;
        };
        let connection = &mut flow.connection;
        let asks = flow.asks.wants(connection, direction);
        let streams = !connection.is_datagram() && flow.streams.wants(direction);
        if !asks && !streams {
            return;
        }
        let bytes: Cow<'_, [u8]> = payload(record, size);
        if bytes.len() as u64 != size {
            flow.asks.give_up(&mut self.room);
            return flow.streams.give_up(&mut self.budget);
        }
        if asks {
            let piece = Piece {
                at: at(record),
                direction,
                bytes: &bytes,
            };
            let (names, out) = (&mut self.names, &mut self.out);
            flow.asks
                .data(piece, connection, &mut self.room, names, out);
        }
        if !streams {
            return;
        }
        let place = Place {
            connection: connection.id,
            offset: record.offset.0,
            time_ns: record.start.0,
        };
        let found = flow
            .streams
            .push(direction, &bytes, place, &mut self.budget);
        if let Some(protocol) = found.protocol {
            connection.protocol.get_or_insert(protocol);
        }
        if found.server_name.is_some() {
            connection.server_name = found.server_name;
        }
        if let Some((oddity, detail)) = found.oddity {
            warn(connection, oddity, detail, &mut self.out);
        }
        self.out.extend(found.tls.map(Event::Tls));
    }

    /// What became of the TLS that the host does.
    pub(super) fn tls_note(&mut self, record: &Record<'_>, fd: u32) {
        let Some(note) = record.note.and_then(TlsNote::parse) else {
            return;
        };
        let Some(flow) = self.sockets.get_mut(&fd).and_then(|s| s.flow(None)) else {
            return;
        };
        flow.connection.server_name = Some(note.server_name.clone());
        flow.connection.offloaded = true;
        self.out.push(Event::Tls(Tls {
            connection: flow.connection.id,
            offset: record.offset.0,
            time_ns: record.start.0,
            offloaded: true,
            version: note.version,
            cipher: note.cipher,
            alpn: note.alpn,
            server_name: Some(note.server_name),
            certificate: note.certificate,
            ja4: None,
            error: note.error,
        }));
    }
}

fn at(record: &Record<'_>) -> At {
    At {
        offset: record.offset.0,
        time_ns: record.start.0,
        end_ns: record.start.0.saturating_add(record.duration_ns),
    }
}

/// How many bytes a call moved; none where it failed or is not known to have moved any.
fn moved(record: &Record<'_>, direction: Direction) -> Option<u64> {
    if returned(record) == Some(0) {
        return describe::bytes(record);
    }
    // The host says how much it took before the guest was interrupted.
    let interrupted = record.outcome == Outcome::Interrupted && direction == Direction::Sent;
    let taken = describe::sent(record).filter(|_| interrupted);
    taken.map(|bytes| bytes.len() as u64).filter(|&n| n > 0)
}

/// Whether the guest gave room for something to receive; where that is not known it is taken to have.
fn has_room(record: &Record<'_>) -> bool {
    let lengths = record.input.chunks_exact(describe::IOVEC);
    let count = record.args.get(2).map_or(0, |&n| n as usize);
    let vectors = count.min(describe::MAX_IOVECS);
    count > 0 && (record.input.is_empty() || lengths.take(vectors).any(|v| v[4..8] != [0; 4]))
}

/// What the guest said of a receive, and the host of what was received.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// What is received stays to be received again.
    peeks: bool,
    /// There was more of the datagram than the guest had room for.
    truncated: bool,
}

impl Flags {
    fn of_receive(record: &Record<'_>) -> Flags {
        let Some(row) = record.row() else {
            return Flags::default();
        };
        let named = |name: &str| row.params.iter().position(|p| p.name == name);
        let flags = named("ri_flags").or_else(|| named("flags"));
        let flags = flags.and_then(|at| record.args.get(at).copied());
        let is_output = |&p: &usize| matches!(row.params[p].name, "ro_flags" | "oflags");
        let output = row.outs.iter().position(is_output);
        let returned = output.and_then(|at| record.out(at));
        let first_bit = |flags: Option<u64>| flags.unwrap_or(0) & 1 != 0;
        Flags {
            peeks: first_bit(flags),
            truncated: first_bit(returned),
        }
    }
}

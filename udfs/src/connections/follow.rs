//! From a record to what it does: which socket a call is on, and which part of the decoder follows it.

use timecraft_segment::function::{Kind, Scalar};
use timecraft_segment::socket::{self, Ends};
use timecraft_segment::{Outcome, Record};

use super::event::{Action, Call, Direction, Event};
use super::facts::Step;
use super::socket::Socket;
use super::{Connections, MAX_SOCKETS};

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
        if let Some(socket) = self.sockets.get_mut(&fd) {
            socket.follow(record.start.0);
        }
        self.begin_initial(fd, record);
        if let Some(ends) = record.note.and_then(Ends::parse)
            && !matches!(step, Step::Accept | Step::Connect)
            && let Some(socket) = self.sockets.get_mut(&fd)
        {
            socket.learn(&ends);
        }
        let Some(action) = step.action() else {
            return;
        };
        match step {
            Step::Connect => self.connect(record, fd),
            Step::Send | Step::Write => self.transfer(record, fd, Direction::Sent),
            Step::Receive | Step::Read => self.transfer(record, fd, Direction::Received),
            Step::Close => {
                self.call_on(record, action, fd);
                if ok {
                    self.remove(fd, record);
                }
            }
            Step::Renumber => self.renumber(record, fd),
            Step::Shutdown => self.shut_down(record, fd),
            Step::GetOption => self.option(record, fd),
            Step::LocalAddress | Step::PeerAddress => self.address(record, fd, action),
            Step::Bind | Step::Listen | Step::Accept | Step::SetOption => {
                self.call_on(record, action, fd);
            }
            Step::Open | Step::OpenOther | Step::Resolve => {}
        }
        self.tls_note(record, fd);
    }

    /// A call on a descriptor that is no socket, or none that is open.
    fn unknown(&mut self, record: &Record<'_>, step: Step, fd: u32) {
        self.out.extend(step.action().map(|action| {
            Event::Call(Call {
                peer: socket::passed(record),
                ..call(record, action, fd)
            })
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

/// What a call returned; none where it did not.
pub(super) fn returned(record: &Record<'_>) -> Option<u64> {
    (record.outcome == Outcome::Returned).then_some(record.result)
}

/// The argument that is a descriptor: an i32 on the wasm side.
pub(super) fn descriptor(record: &Record<'_>, at: usize) -> Option<u32> {
    record.args.get(at).map(|&fd| fd as u32)
}

pub(super) fn new_descriptor(record: &Record<'_>) -> Option<u32> {
    let row = record.row()?;
    let is_fd = |&p: &usize| row.params[p].kind == Kind::Out(Scalar::Fd);
    record
        .out(row.outs.iter().position(is_fd)?)
        .map(|fd| fd as u32)
}

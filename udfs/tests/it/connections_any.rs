//! What holds of any calls on sockets, sensible or not.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use timecraft_segment::testing::process_start;
use timecraft_segment::{FunctionId, Outcome};
use timecraft_udfs::connections::{
    Connections, Direction, Event, Matters, Payload, matters, payload, payload_wanted,
};

use crate::calls::*;
use crate::connections::follow;
use crate::socket_calls::*;

const PEERS: [&str; 3] = ["1.1.1.1:1", "2.2.2.2:53", "[::1]:3"];

/// What a guest does.
#[derive(Clone, Debug)]
enum Step {
    Open {
        udp: bool,
        fd: u32,
    },
    Connect {
        fd: u32,
        peer: usize,
        errno: u64,
    },
    Accept {
        fd: u32,
        new: u32,
    },
    /// Sends, by `sock_send` or `fd_write`, of which so much is taken.
    Send {
        fd: u32,
        bytes: Vec<u8>,
        taken: usize,
        write: bool,
    },
    Receive {
        fd: u32,
        bytes: Vec<u8>,
        read: bool,
        peek: bool,
    },
    SendTo {
        fd: u32,
        bytes: Vec<u8>,
        peer: usize,
    },
    ReceiveFrom {
        fd: u32,
        bytes: Vec<u8>,
        peer: usize,
    },
    ShutDown {
        fd: u32,
        how: u64,
    },
    Close {
        fd: u32,
    },
    Renumber {
        from: u32,
        to: u32,
    },
    OpenFile {
        fd: u32,
    },
    Waits {
        fd: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fd = || 4..8_u32;
    let bytes = || {
        let beginnings = vec![&b"GET / HTTP/1.1"[..], b"\x16\x03\x01\0\x05", b"", b"abc"];
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6),
            prop::sample::select(beginnings).prop_map(<[u8]>::to_vec),
        ]
    };
    let errno = prop_oneof![4 => Just(0_u64), 2 => Just(26), 1 => Just(14)];
    prop_oneof![
        3 => (any::<bool>(), fd()).prop_map(|(udp, fd)| Step::Open { udp, fd }),
        3 => (fd(), 0..3_usize, errno)
            .prop_map(|(fd, peer, errno)| Step::Connect { fd, peer, errno }),
        1 => (fd(), fd()).prop_map(|(fd, new)| Step::Accept { fd, new }),
        4 => (fd(), bytes(), 0..9_usize, any::<bool>())
            .prop_map(|(fd, bytes, taken, write)| Step::Send { fd, bytes, taken, write }),
        4 => (fd(), bytes(), any::<bool>(), any::<bool>())
            .prop_map(|(fd, bytes, read, peek)| Step::Receive { fd, bytes, read, peek }),
        2 => (fd(), bytes(), 0..3_usize)
            .prop_map(|(fd, bytes, peer)| Step::SendTo { fd, bytes, peer }),
        2 => (fd(), bytes(), 0..3_usize)
            .prop_map(|(fd, bytes, peer)| Step::ReceiveFrom { fd, bytes, peer }),
        1 => (fd(), 1..4_u64).prop_map(|(fd, how)| Step::ShutDown { fd, how }),
        1 => fd().prop_map(|fd| Step::Close { fd }),
        1 => (fd(), fd()).prop_map(|(from, to)| Step::Renumber { from, to }),
        1 => fd().prop_map(|fd| Step::OpenFile { fd }),
        1 => fd().prop_map(|fd| Step::Waits { fd }),
    ]
}

/// Something with a number: none where it is a file.
type Thing = Option<Socket>;

#[derive(Clone, Debug, Default)]
struct Socket {
    udp: bool,
    /// The connection that it has, and its peer.
    connected: Option<(u64, usize)>,
    /// What it has come to know of each peer.
    peers: BTreeMap<usize, u64>,
}

/// What went over connections, by their ids and whether it was sent.
type Streams = BTreeMap<(u64, bool), Vec<u8>>;

/// A host: what its calls return, and what has gone over each connection.
#[derive(Default)]
struct Host {
    open: BTreeMap<u32, Thing>,
    calls: Vec<Call>,
    streams: Streams,
}

const BAD: u64 = 8;
const NOT_CONNECTED: u64 = 53;

impl Host {
    /// The record that comes next.
    fn next(&self) -> u64 {
        self.calls.len() as u64 + 1
    }

    fn moves(&mut self, connection: u64, sent: bool, bytes: &[u8]) {
        let stream = self.streams.entry((connection, sent)).or_default();
        stream.extend_from_slice(bytes);
    }

    fn socket(&mut self, fd: u32) -> Option<&mut Socket> {
        self.open.get_mut(&fd)?.as_mut()
    }

    fn take(&mut self, step: Step) {
        let next = self.next();
        let call = match step {
            Step::Open { udp, fd } if !self.open.contains_key(&fd) => {
                let socket = Socket {
                    udp,
                    ..Socket::default()
                };
                self.open.insert(fd, Some(socket));
                open_socket(if udp { UDP } else { TCP }, fd)
            }
            Step::OpenFile { fd } if !self.open.contains_key(&fd) => {
                self.open.insert(fd, None);
                open(3, "f", 0, 0, fd)
            }
            Step::Open { .. } | Step::OpenFile { .. } => return,
            Step::Connect { fd, peer, errno } => match self.socket(fd) {
                // Each socket connects once here, and a refusal is its end.
                Some(socket) if socket.connected.is_none() && socket.peers.is_empty() => {
                    socket.connected = Some((next, peer));
                    connect(fd, PEERS[peer]).fails_if(errno)
                }
                _ => connect(fd, PEERS[peer]).fails(BAD),
            },
            Step::Accept { fd, new } => match self.open.get(&fd) {
                Some(Some(socket)) if !socket.udp && !self.open.contains_key(&new) => {
                    let accepted = Socket {
                        connected: Some((next, 0)),
                        ..Socket::default()
                    };
                    self.open.insert(new, Some(accepted));
                    accept(fd, new).noted(tcp("10.0.0.1:80", PEERS[0]))
                }
                _ => accept(fd, new).fails(BAD),
            },
            Step::Send {
                fd,
                bytes,
                taken,
                write: by_write,
            } => {
                let connected = self.socket(fd).map(|s| (s.connected, s.udp));
                let make = if by_write { write } else { send };
                match connected {
                    Some((Some((id, _)), udp)) => {
                        let taken = if udp {
                            bytes.len()
                        } else {
                            taken.min(bytes.len())
                        };
                        self.moves(id, true, &bytes[..taken]);
                        make(fd, &bytes, taken)
                    }
                    None if by_write && self.open.contains_key(&fd) => {
                        write(fd, &bytes, bytes.len())
                    }
                    _ => make(fd, &bytes, 0).fails(NOT_CONNECTED),
                }
            }
            Step::Receive {
                fd,
                bytes,
                read: by_read,
                peek,
            } => {
                let connected = self.socket(fd).map(|s| s.connected);
                let make = |bytes: &[u8]| match by_read {
                    true => read_socket(fd, bytes),
                    false => receive_with(fd, bytes, u64::from(peek), 0),
                };
                match connected {
                    Some(Some((id, _))) => {
                        if by_read || !peek {
                            self.moves(id, false, &bytes);
                        }
                        make(&bytes)
                    }
                    None if by_read && self.open.contains_key(&fd) => make(&bytes),
                    _ => make(&bytes).fails(NOT_CONNECTED),
                }
            }
            Step::SendTo { fd, bytes, peer } => match self.datagrams(fd, peer, next) {
                Some(id) => {
                    self.moves(id, true, &bytes);
                    send_to(fd, &bytes, PEERS[peer])
                }
                None => send_to(fd, &bytes, PEERS[peer]).fails(NOT_CONNECTED),
            },
            Step::ReceiveFrom { fd, bytes, peer } => match self.datagrams(fd, peer, next) {
                Some(id) => {
                    self.moves(id, false, &bytes);
                    receive_from(fd, &bytes, PEERS[peer])
                }
                None => receive_from(fd, &bytes, PEERS[peer]).fails(NOT_CONNECTED),
            },
            Step::ShutDown { fd, how } => match self.socket(fd).and_then(|s| s.connected) {
                Some(_) => shut_down(fd, how),
                None => shut_down(fd, how).fails(NOT_CONNECTED),
            },
            Step::Close { fd } => match self.open.remove(&fd) {
                Some(_) => close(fd),
                None => close(fd).fails(BAD),
            },
            Step::Renumber { from, to } => match self.open.remove(&from) {
                Some(thing) => {
                    self.open.insert(to, thing);
                    renumber(from, to)
                }
                None => renumber(from, to).fails(BAD),
            },
            Step::Waits { fd } => receive(fd, b"").fails(6),
        };
        self.calls.push(call);
    }

    /// The connection that a datagram to or from a peer belongs to.
    fn datagrams(&mut self, fd: u32, peer: usize, next: u64) -> Option<u64> {
        let socket = self.socket(fd).filter(|socket| socket.udp)?;
        match socket.connected {
            Some((id, to)) if to == peer => Some(id),
            _ => Some(*socket.peers.entry(peer).or_insert(next)),
        }
    }
}

impl Call {
    fn fails_if(self, errno: u64) -> Call {
        if errno == 0 { self } else { self.fails(errno) }
    }
}

/// The calls of a guest, and what went over its connections.
fn guest() -> impl Strategy<Value = (Vec<Call>, Streams)> {
    prop::collection::vec(step(), 0..80).prop_map(|steps| {
        let mut host = Host::default();
        steps.into_iter().for_each(|step| host.take(step));
        (host.calls, host.streams)
    })
}

/// Anything that can stand in a log, and more.
fn senseless() -> impl Strategy<Value = Call> {
    let function = prop_oneof![
        20 => 0..70_u16,
        1 => prop::sample::select(vec![FunctionId::START.0, FunctionId::END.0, FunctionId::GAP.0]),
    ];
    let args = prop::collection::vec(prop_oneof![0..9_u64, any::<u64>()], 0..10);
    let bytes = prop::collection::vec(any::<u8>(), 0..160);
    let writes = prop::collection::vec((0..9_u64, prop::collection::vec(any::<u8>(), 0..20)), 0..4);
    let outcome = prop::sample::select(&Outcome::ALL[..]);
    let note = prop::option::of(prop::sample::select(vec![
        "socket: udp 1.1.1.1:1 > -",
        "socket: tcp - > -",
        "tls: {\"server_name\":\"a\"}",
        "not granted: a | rule: b | needs: c",
        "what?",
    ]));
    (function, args, bytes, writes, outcome, 0..3_u64, note).prop_map(
        |(function, args, input, writes, outcome, result, note)| Call {
            function: FunctionId(function),
            args,
            input,
            consumed: None,
            writes,
            outcome,
            result,
            note: note.map(str::to_owned),
        },
    )
}

fn new() -> Connections {
    Connections::at_start(&process_start())
}

fn carried(connections: &Connections) -> Connections {
    Connections::restore(&connections.save().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn streams_are_what_a_model_of_sockets_says((calls, expected) in guest()) {
        let calls = record(&calls);
        let mut connections = new();
        let mut streams = Streams::new();
        for record in calls.iter() {
            let Ok(()) = connections.apply(&record, |event| {
                if let Event::Data(data) = event {
                    let sent = data.direction == Direction::Sent;
                    let stream = streams.entry((data.connection, sent)).or_default();
                    assert_eq!(data.position, stream.len() as u64);
                    stream.extend_from_slice(&payload(&record, data.size));
                }
                Ok::<(), Infallible>(())
            });
        }
        // A datagram of no bytes is one, and a stream of none is not.
        streams.retain(|_, bytes| !bytes.is_empty());
        let expected: Streams =
            expected.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        prop_assert_eq!(streams, expected);
    }

    #[test]
    fn any_split_gives_the_same_rows(
        (calls, _) in guest(),
        more in prop::collection::vec(senseless(), 0..20),
        cuts in prop::collection::vec(0..100_usize, 0..4),
    ) {
        let calls = record(&[calls, more].concat());
        let records = records(&calls);
        let mut whole = new();
        let expected = follow(&mut whole, &records);

        let mut connections = new();
        let mut lines = Vec::new();
        for (i, record) in records.iter().enumerate() {
            if cuts.contains(&i) {
                connections = carried(&connections);
            }
            lines.extend(follow(&mut connections, std::slice::from_ref(record)));
        }
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(connections, whole);
    }

    /// Who shows events beside the call that they come of needs not look ahead.
    #[test]
    fn a_call_comes_before_all_else_that_it_means(
        (calls, _) in guest(),
        more in prop::collection::vec(senseless(), 0..20),
    ) {
        let calls = record(&[calls, more].concat());
        let mut connections = new();
        for record in calls.iter() {
            let mut is_call = Vec::new();
            let Ok(()) = connections.apply(&record, |event| {
                is_call.push(matches!(event, Event::Call(_)));
                Ok::<(), Infallible>(())
            });
            let others = is_call.iter().skip(1);
            prop_assert!(others.copied().all(|is_call| !is_call), "{record:?}");
        }
    }

    /// Leaving out what does not matter changes nothing, and without the content of what was sent and
    /// received connections are the same.
    #[test]
    fn what_a_record_can_mean_is_all_it_means((calls, _) in guest()) {
        let calls = record(&calls);
        let expected = follow(&mut new(), &records(&calls));
        let mut some = new();
        let mut lines = Vec::new();
        let mut bare = new();
        let mut states = Vec::new();
        let mut known = Vec::new();
        let mut whole = new();
        for record in calls.iter() {
            let counts = match matters(record.function) {
                Matters::Never => false,
                Matters::WithSockets => some.knows_sockets(),
                Matters::Always => true,
            };
            if counts {
                lines.extend(follow(&mut some, &[record]));
            }
            let moved = timecraft_segment::describe::bytes(&record);
            let wanted = payload_wanted(record.function, record.outcome, record.result, moved);
            let mut without = record;
            if wanted != Payload::Needed {
                without.input = &[];
            }
            let see = |connections: &mut Connections, record, seen: &mut Vec<String>| {
                let Ok(()) = connections.apply(record, |event| {
                    if let Event::Closed(closed) = event {
                        seen.push(format!("{} {:?} {}", closed.id, closed.state(), closed.bytes_sent));
                    }
                    Ok::<(), Infallible>(())
                });
            };
            see(&mut bare, &without, &mut states);
            see(&mut whole, &record, &mut known);
        }
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(states, known);
    }

    #[test]
    fn nothing_makes_it_panic_or_grow(
        calls in prop::collection::vec(senseless(), 0..120),
    ) {
        let calls = record(&calls);
        let mut connections = new();
        for record in calls.iter() {
            follow(&mut connections, &[record]);
        }
        prop_assert_eq!(carried(&connections), connections);
    }
}

//! `poll_oneoff`, called as a guest calls it.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rustix::event::PollFd;
use rustix::net::AddressFamily;
use timecraft_segment::socket::Transport;

use super::*;
use crate::wasi::Flow;
use crate::wasi::abi::oflags;
use crate::wasi::function::*;
use crate::wasi::sockets::socket::Stage;
use crate::wasi::testing::{Guest, RW, trapped};

const SUBSCRIPTIONS: usize = 1024;
const EVENTS: usize = 32 * 1024;
const MS: u64 = 1_000_000;

fn clock(id: u32, timeout: u64, flags: u16) -> [u8; SUBSCRIPTION_SIZE] {
    let mut s = [0; SUBSCRIPTION_SIZE];
    s[16..20].copy_from_slice(&id.to_le_bytes());
    s[24..32].copy_from_slice(&timeout.to_le_bytes());
    s[40..42].copy_from_slice(&flags.to_le_bytes());
    s
}

fn stream(event_type: EventType, fd: u64) -> [u8; SUBSCRIPTION_SIZE] {
    let mut s = [0; SUBSCRIPTION_SIZE];
    s[8] = event_type as u8;
    s[16..20].copy_from_slice(&low(fd).to_le_bytes());
    s
}

fn call(guest: &mut Guest, subscriptions: &[[u8; SUBSCRIPTION_SIZE]]) -> Flow {
    for (i, subscription) in subscriptions.iter().enumerate() {
        let at = SUBSCRIPTIONS + i * SUBSCRIPTION_SIZE;
        guest.memory[at..at + SUBSCRIPTION_SIZE].copy_from_slice(subscription);
        guest.memory[at..at + 8].copy_from_slice(&(100 + i as u64).to_le_bytes());
    }
    guest.call(
        POLL_ONEOFF,
        &[
            SUBSCRIPTIONS as u64,
            EVENTS as u64,
            subscriptions.len() as u64,
            0,
        ],
    )
}

/// Which subscription, errno, type, bytes and flags of each event.
fn poll(
    guest: &mut Guest,
    subscriptions: &[[u8; SUBSCRIPTION_SIZE]],
) -> Vec<(u64, u16, u8, u64, u16)> {
    assert_eq!(call(guest, subscriptions), Flow::Return(0));
    let events = guest
        .bytes(EVENTS, guest.u32(0) as usize * EVENT_SIZE)
        .chunks(EVENT_SIZE);
    events
        .map(|e| {
            (
                u64_at(e, 0) - 100,
                u16_at(e, 8),
                e[10],
                u64_at(e, 16),
                u16_at(e, 24),
            )
        })
        .collect()
}

#[test]
fn the_earliest_clock_ends_the_wait() {
    let mut guest = Guest::new();
    let begin = clock::monotonic();
    let (since_start, now) = (begin - guest.wasi.started, clock::realtime());
    for first in [
        clock(MONOTONIC, 20 * MS, 0),
        clock(REALTIME, 20 * MS, 0),
        clock(MONOTONIC, since_start + 60 * MS, ABSTIME),
        clock(REALTIME, now + 80 * MS, ABSTIME),
    ] {
        let events = poll(&mut guest, &[clock(MONOTONIC, u64::MAX, 0), first]);
        assert_eq!(events, [(1, 0, 0, 0, 0)]);
    }
    let passed = clock::monotonic() - begin;
    assert!((80 * MS..10_000 * MS).contains(&passed), "{passed}");
    let due = [
        clock(MONOTONIC, 0, 0),
        clock(REALTIME, 5, ABSTIME),
        clock(MONOTONIC, 1, ABSTIME),
    ];
    assert_eq!(poll(&mut guest, &due).len(), 3, "all that are due are told");
}

#[test]
fn files_are_ready_at_once() {
    let mut guest = Guest::new();
    let fd = guest.open("f", oflags::CREAT, RW, 0).unwrap();
    guest.write(fd, &[b"12345"]).unwrap();
    guest.ok(FD_SEEK, &[fd, 2, 0, 0]);
    let asked = [
        clock(MONOTONIC, u64::MAX, 0),
        stream(EventType::FdRead, fd),
        stream(EventType::FdWrite, fd),
    ];
    assert_eq!(poll(&mut guest, &asked), [(1, 0, 1, 3, 0), (2, 0, 2, 1, 0)]);
    guest.ok(FD_SEEK, &[fd, 9, 0, 0]);
    assert_eq!(poll(&mut guest, &asked[1..2]), [(0, 0, 1, 0, HANGUP)]);
}

#[test]
fn standard_streams_are_really_polled() {
    let mut guest = Guest::new();
    let (input, output) = (stream(EventType::FdRead, 0), stream(EventType::FdWrite, 1));
    assert_eq!(poll(&mut guest, &[input, output]), [(1, 0, 2, 1, 0)]);
    assert_eq!(
        poll(&mut guest, &[input, clock(MONOTONIC, MS, 0)]),
        [(1, 0, 0, 0, 0)]
    );
    guest.stdin(b"1234");
    assert_eq!(
        poll(&mut guest, &[input, clock(MONOTONIC, u64::MAX, 0)]),
        [(0, 0, 1, 4, 0)]
    );
    guest.close_stdout_reader();
    assert_eq!(poll(&mut guest, &[output]), [(0, 0, 2, 1, HANGUP)]);
}

#[test]
fn a_descriptor_that_cannot_be_polled_is_an_event() {
    let mut guest = Guest::new();
    let badf = u16::from(Errno::BADF);
    let asked = [
        stream(EventType::FdRead, 99),
        stream(EventType::FdWrite, 0),
        stream(EventType::FdRead, 3),
        clock(MONOTONIC, u64::MAX, 0),
    ];
    assert_eq!(
        poll(&mut guest, &asked),
        [(0, badf, 1, 0, 0), (1, badf, 2, 0, 0), (2, badf, 1, 0, 0)]
    );
}

#[test]
fn nonsense_is_refused() {
    let mut guest = Guest::new();
    guest.fails(Errno::INVAL, POLL_ONEOFF, &[1024, 8192, 0, 0]);
    for (clock_id, flags) in [(2, 0), (9, 0), (1, 2)] {
        assert_eq!(
            call(&mut guest, &[clock(clock_id, 0, flags)]),
            Flow::Return(28)
        );
    }
    let mut unknown = clock(1, 0, 0);
    unknown[8] = 3;
    assert_eq!(call(&mut guest, &[unknown]), Flow::Return(28));
    assert_eq!(call(&mut guest, &[clock(1, 0, 0)]), Flow::Return(0));
    trapped(guest.call(POLL_ONEOFF, &[1028, 8192, 1, 0]));
    trapped(guest.call(POLL_ONEOFF, &[1024, 8192, 1 << 30, 0]));
    trapped(guest.call(POLL_ONEOFF, &[1024, 65_536, 1, 0]));
}

#[test]
fn subscriptions_are_limited() {
    let mut guest = Guest::with_memory(8 << 20);
    // Each is a clock that is due.
    let (out, events) = (4, 4 << 20);
    guest.ok(POLL_ONEOFF, &[4096, events, 65_536, out]);
    assert_eq!(guest.u32(4), 65_536);
    guest.fails(Errno::INVAL, POLL_ONEOFF, &[4096, events, 65_537, out]);
}

#[test]
fn a_sleep_ends_with_the_wakeup() {
    let mut guest = Guest::new();
    let wakeup = guest.wakeup.clone();
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        wakeup.wake();
    });
    assert_eq!(
        call(&mut guest, &[clock(MONOTONIC, u64::MAX, 0)]),
        Flow::Interrupted
    );
    waker.join().unwrap();
}

/// A socket of the guest, and the other end.
fn pair(guest: &mut Guest) -> (u64, UnixStream) {
    let (own, other) = UnixStream::pair().unwrap();
    for end in [&own, &other] {
        end.set_nonblocking(true).unwrap();
    }
    let family = AddressFamily::UNIX;
    let socket = Socket::from_host(own.into(), Transport::UnixStream, family, Stage::Connected);
    (push(guest, socket), other)
}

fn push(guest: &mut Guest, socket: Socket) -> u64 {
    guest
        .wasi
        .descriptors
        .push(Descriptor::Socket(socket))
        .unwrap()
        .into()
}

/// The same open socket under another number, as when a guest binds where it was given a listener.
fn duplicate(guest: &mut Guest, fd: u64) -> u64 {
    let socket = guest.wasi.descriptors.socket(low(fd)).unwrap();
    let (own, transport) = (socket.duplicate().unwrap(), socket.transport);
    let socket = Socket::from_host(own, transport, AddressFamily::UNIX, Stage::Connected);
    push(guest, socket)
}

#[test]
fn what_the_host_cannot_wait_for_is_always_ready() {
    let mut guest = Guest::new();
    // It is `/dev/null`.
    let asked = [clock(MONOTONIC, u64::MAX, 0), stream(EventType::FdWrite, 2)];
    for _ in 0..2 {
        assert_eq!(poll(&mut guest, &asked), [(1, 0, 2, 1, 0)]);
    }
}

#[test]
fn what_is_no_longer_asked_for_is_not_told() {
    let mut guest = Guest::new();
    let (quiet, _other) = pair(&mut guest);
    let (loud, mut other) = pair(&mut guest);
    let soon = clock(MONOTONIC, MS, 0);
    let both = [quiet, loud].map(|fd| stream(EventType::FdRead, fd));
    assert_eq!(
        poll(&mut guest, &[both[0], both[1], soon]),
        [(2, 0, 0, 0, 0)]
    );
    other.write_all(b"x").unwrap();
    assert_eq!(poll(&mut guest, &[both[0], soon]), [(1, 0, 0, 0, 0)]);
    // It was writable, and that is no longer asked for.
    let write = stream(EventType::FdWrite, quiet);
    assert_eq!(poll(&mut guest, &[both[0], write]), [(1, 0, 2, 1, 0)]);
    assert_eq!(poll(&mut guest, &[both[0], soon]), [(1, 0, 0, 0, 0)]);
    assert_eq!(poll(&mut guest, &both), [(1, 0, 1, 1, 0)]);
}

#[test]
fn standard_input_may_be_closed_while_it_is_watched() {
    let mut guest = Guest::new();
    let (fd, _other) = pair(&mut guest);
    let soon = clock(MONOTONIC, MS, 0);
    let input = stream(EventType::FdRead, 0);
    assert_eq!(poll(&mut guest, &[input, soon]), [(1, 0, 0, 0, 0)]);
    guest.stdin(b"x");
    guest.ok(FD_CLOSE, &[0]);
    let asked = [input, stream(EventType::FdRead, fd), soon];
    let badf = u16::from(Errno::BADF);
    assert_eq!(poll(&mut guest, &asked), [(0, badf, 1, 0, 0)]);
    assert_eq!(poll(&mut guest, &asked[1..]), [(1, 0, 0, 0, 0)]);
}

#[test]
fn more_may_happen_than_the_host_tells_at_once() {
    let mut guest = Guest::new();
    let (fd, mut other) = pair(&mut guest);
    other.write_all(b"12").unwrap();
    let asked: Vec<_> = (0..300)
        .map(|_| stream(EventType::FdRead, duplicate(&mut guest, fd)))
        .collect();
    for _ in 0..2 {
        let told = poll(&mut guest, &asked);
        assert!(told.into_iter().eq((0..300).map(|i| (i, 0, 1, 2, 0))));
    }
}

/// What a guest and its peers do between polls. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Duplicate(usize),
    Close(usize),
    Renumber(usize, usize),
    PeerWrites(usize),
    PeerCloses(usize),
    GuestReads(usize),
    Poll(Vec<(usize, bool)>),
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<usize>;
    prop_oneof![
        2 => Just(Step::Open),
        1 => n().prop_map(Step::Duplicate),
        2 => n().prop_map(Step::Close),
        1 => (n(), n()).prop_map(|(from, to)| Step::Renumber(from, to)),
        3 => n().prop_map(Step::PeerWrites),
        1 => n().prop_map(Step::PeerCloses),
        2 => n().prop_map(Step::GuestReads),
        6 => prop::collection::vec((n(), any::<bool>()), 1..6).prop_map(Step::Poll),
    ]
}

/// What `poll` of the host says of the same, one by one.
fn expected(guest: &Guest, asked: &[(u64, EventType)]) -> Vec<(u64, u8, bool)> {
    let mut told = Vec::new();
    for (i, (fd, event_type)) in asked.iter().enumerate() {
        let socket = guest.wasi.descriptors.socket(low(*fd)).unwrap();
        let mut fds = [PollFd::new(socket, event_type.flags())];
        if rustix::event::poll(&mut fds, Some(&Default::default())).unwrap() == 1 {
            told.push((
                i as u64,
                *event_type as u8,
                fds[0].revents().intersects(OVER),
            ));
        }
    }
    told
}

fn tells_what_poll_tells(steps: Vec<Step>) {
    let mut guest = Guest::new();
    let mut peers = Vec::new();
    let mut open = Vec::new();
    for step in steps {
        let pick = |n: usize, open: &Vec<u64>| open[n % open.len()];
        match step {
            Step::Open => {
                let (fd, peer) = pair(&mut guest);
                open.push(fd);
                peers.push(peer);
            }
            Step::PeerWrites(n) if !peers.is_empty() => {
                let n = n % peers.len();
                // Nobody may be there to read it.
                let _ = peers[n].write(b"x");
            }
            Step::PeerCloses(n) if !peers.is_empty() => {
                // With what it has not read the other end would learn of a reset.
                let mut peer = peers.swap_remove(n % peers.len());
                let _ = peer.read(&mut [0; 64]);
            }
            _ if open.is_empty() => {}
            Step::Duplicate(n) => {
                let fd = pick(n, &open);
                open.push(duplicate(&mut guest, fd));
            }
            Step::Close(n) => {
                let fd = open.swap_remove(n % open.len());
                guest.ok(FD_CLOSE, &[fd]);
            }
            Step::Renumber(from, to) => {
                let (from, to) = (pick(from, &open), pick(to, &open));
                guest.ok(FD_RENUMBER, &[from, to]);
                if from != to {
                    open.retain(|fd| *fd != from);
                }
            }
            Step::GuestReads(n) => {
                let fd = pick(n, &open);
                let socket = guest.wasi.descriptors.socket_mut(low(fd)).unwrap();
                let _ = rustix::io::read(&*socket, &mut [0; 64]);
            }
            Step::Poll(asked) => {
                let asked: Vec<_> = asked
                    .into_iter()
                    .map(|(n, write)| match write {
                        true => (pick(n, &open), EventType::FdWrite),
                        false => (pick(n, &open), EventType::FdRead),
                    })
                    .collect();
                let mut subscriptions: Vec<_> = asked
                    .iter()
                    .map(|(fd, event_type)| stream(*event_type, *fd))
                    .collect();
                subscriptions.push(clock(MONOTONIC, 0, 0));
                let mut told = poll(&mut guest, &subscriptions);
                let clock = told.pop().unwrap();
                assert_eq!((clock.0, clock.2), (asked.len() as u64, 0));
                let told: Vec<_> = told
                    .into_iter()
                    .map(|(i, _, event_type, _, flags)| (i, event_type, flags == HANGUP))
                    .collect();
                assert_eq!(told, expected(&guest, &asked));
            }
            Step::PeerWrites(_) | Step::PeerCloses(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_poll_tells_what_poll_of_the_host_tells(steps in prop::collection::vec(step(), 1..60)) {
        tells_what_poll_tells(steps);
    }
}

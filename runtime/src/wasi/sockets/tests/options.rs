//! Options.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn options_are_kept_by_the_host() {
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    for (level, name) in [(0, 0), (0, 4), (0, 7), (0, 8), (6, 15)] {
        assert_eq!(guest.option(fd, level, name), 0, "{name}");
        guest.put(ADDRESS, &[1, 0, 0, 0]);
        guest.ok(SOCK_SETSOCKOPT, &[fd, level, name, ADDRESS, 4]);
        assert_eq!(guest.option(fd, level, name), 1, "{name}");
        guest.fails(
            Errno::INVAL,
            SOCK_SETSOCKOPT,
            &[fd, level, name, ADDRESS, 3],
        );
        guest.fails(Errno::INVAL, SOCK_GETSOCKOPT, &[fd, level, name, OUT, 3]);
    }
    for name in [5, 6] {
        guest.put(ADDRESS, &40_000u32.to_le_bytes());
        guest.ok(SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 4]);
        assert_eq!(guest.option(fd, 0, name), 40_000);
    }
    assert_eq!(guest.option(fd, 0, 1), 2);
    assert_eq!(guest.option(fd, 0, 13), 0);
    for (name, errno) in [
        (1, Errno::NOPROTOOPT),
        (3, Errno::NOTSUP),
        (14, Errno::NOTSUP),
        (15, Errno::NOPROTOOPT),
    ] {
        guest.fails(errno, SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 4]);
    }
    guest.fails(Errno::INVAL, SOCK_GETSOCKOPT, &[fd, 9, 0, OUT, 4]);
    guest.fails(Errno::NOTSOCK, SOCK_GETSOCKOPT, &[0, 0, 0, OUT, 4]);
    trapped(guest.call(SOCK_GETSOCKOPT, &[fd, 0, 0, 1 << 30, 4]));
    for (linger, kept) in [
        ([0, 0, 0, 0, 9, 0, 0, 0], [0; 8]),
        ([1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]),
        ([2, 0, 0, 0, 9, 0, 0, 0], [1, 0, 0, 0, 9, 0, 0, 0]),
        (
            [1, 0, 0, 0, 255, 255, 255, 255],
            [1, 0, 0, 0, 255, 255, 255, 127],
        ),
    ] {
        guest.put(ADDRESS, &linger);
        guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
        guest.ok(SOCK_GETSOCKOPT, &[fd, 0, 9, OUT, 8]);
        assert_eq!(guest.bytes(OUT as usize, 8), kept);
    }
    guest.fails(Errno::INVAL, SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 4]);
    // How connections are routed is the host's business; datagrams may be told to stay near.
    let fd = guest.socket(INET, DGRAM);
    guest.put(ADDRESS, &[1, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 3, ADDRESS, 4]);
    assert_eq!(guest.option(fd, 0, 3), 1);
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [at, port] = guest.v1(&host.local_addr().unwrap().to_string());
    let iovs = guest.vectors(&[3]);
    guest.ok(SOCK_SEND_TO, &[fd, iovs, 1, at, port, 0, OUT]);
    assert_eq!(host.recv(&mut [0; 9]).unwrap(), 3);
}

/// A guest and its peer, of which the guest has sent as much as there is room for.
fn full() -> (Guest, u64, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(guest.connect(fd, &address), Flow::Return(0));
    let (peer, _) = listener.accept().unwrap();
    guest.put(ADDRESS, &[1, 0, 0, 0, 60, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    while guest.write(fd, &[&[7; 20_000]]).is_ok() {}
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, 0]);
    (guest, fd, peer)
}

#[test]
fn a_guest_lingers_until_what_it_sent_has_arrived() {
    let (mut guest, fd, mut peer) = full();
    let reading = Arc::new(AtomicBool::new(false));
    let reads = Arc::clone(&reading);
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        reads.store(true, Ordering::SeqCst);
        std::io::copy(&mut peer, &mut std::io::sink()).unwrap()
    });
    guest.ok(FD_CLOSE, &[fd]);
    assert!(reading.load(Ordering::SeqCst), "there was no room before");
    assert!(reader.join().unwrap() > 0);
    guest.fails(Errno::BADF, FD_CLOSE, &[fd]);

    // Nor is one held that does not wait in calls on this socket.
    let (mut guest, fd, _peer) = full();
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    guest.ok(FD_CLOSE, &[fd]);
}

#[test]
fn a_guest_that_is_to_end_does_not_linger() {
    let (mut guest, fd, peer) = full();
    let waker = guest.wake_soon();
    assert_eq!(guest.call(FD_CLOSE, &[fd]), Flow::Interrupted);
    waker.join().unwrap();
    drop(peer);
}

#[test]
fn a_guest_waits_for_as_many_bytes_as_it_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(guest.connect(fd, &address), Flow::Return(0));
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(guest.option(fd, 0, 10), 1);
    guest.put(ADDRESS, &[4, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 10, ADDRESS, 4]);
    assert_eq!(guest.option(fd, 0, 10), 4);
    let writer = std::thread::spawn(move || {
        peer.write_all(b"ab").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        peer.write_all(b"cd").unwrap();
        peer
    });
    assert_eq!(guest.read(fd, &[100]), Ok(b"abcd".to_vec()));
    let mut peer = writer.join().unwrap();
    // Room for fewer is filled, and one that does not wait gets what there is.
    peer.write_all(b"efg").unwrap();
    assert_eq!(guest.read(fd, &[1]), Ok(b"e".to_vec()));
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    assert_eq!(guest.read(fd, &[100]), Ok(b"fg".to_vec()));
    drop(peer);
}

#[test]
fn a_guest_that_waits_only_so_long_is_told_to_try_again() {
    let mut guest = Guest::new();
    let (fd, _) = guest.bound(INET, DGRAM, "127.0.0.1:0");
    let micros = 20_000u64.to_le_bytes();
    guest.put(ADDRESS, &[&[0; 8][..], &micros].concat());
    for name in [11, 12] {
        guest.ok(SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 16]);
        guest.ok(SOCK_GETSOCKOPT, &[fd, 0, name, OUT, 16]);
        assert_eq!(guest.bytes(OUT as usize + 8, 8), micros);
    }
    assert_eq!(guest.read(fd, &[9]), Err(Errno::AGAIN));
    guest.put(ADDRESS + 8, &1_000_000u64.to_le_bytes());
    guest.fails(Errno::DOM, SOCK_SETSOCKOPT, &[fd, 0, 11, ADDRESS, 16]);
}

#[test]
fn what_is_accepted_has_the_options_of_what_listens() {
    let mut guest = Guest::new();
    let (fd, address) = guest.bound(INET, STREAM, "127.0.0.1:0");
    guest.ok(SOCK_LISTEN, &[fd, 5]);
    guest.put(ADDRESS, &[1, 0, 0, 0, 9, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 7, ADDRESS, 4]);
    let _peer = TcpStream::connect(address).unwrap();
    guest.ok(SOCK_ACCEPT, &[fd, 0, OUT]);
    let accepted = u64::from(guest.u32(OUT as usize));
    guest.ok(SOCK_GETSOCKOPT, &[accepted, 0, 9, OUT, 8]);
    assert_eq!(guest.bytes(OUT as usize, 8), [1, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(guest.option(accepted, 0, 7), 1);
}

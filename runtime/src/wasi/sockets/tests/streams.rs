//! Streams: TCP and Unix sockets, what is sent and received over them, and how they come about.

use super::*;

#[test]
fn a_stream_flows_through_both_pairs_of_calls_and_ends() {
    for (family, at) in [(INET, "127.0.0.1:0"), (INET6, "[::1]:0")] {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let mut guest = Guest::new();
        let fd = guest.socket(family, STREAM);
        assert_eq!(guest.connect(fd, &address.to_string()), Flow::Return(0));
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(guest.write(fd, &[b"he", b"llo"]), Ok(5));
        let iovs = guest.vectors(&[3]);
        let data = guest.data() as u64;
        guest.put(data, b" wo");
        guest.ok(SOCK_SEND, &[fd, iovs, 1, 0, OUT]);
        guest.ok(SOCK_SHUTDOWN, &[fd, 2]);
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello wo");
        guest.fails(Errno::PIPE, SOCK_SEND, &[fd, iovs, 1, 0, OUT]);

        peer.write_all(b"abcdef").unwrap();
        guest.ok(SOCK_RECV, &[fd, iovs, 1, 1, OUT, OUT + 4]);
        assert_eq!(guest.bytes(data as usize, 3), b"abc", "and it stays");
        assert_eq!(guest.read(fd, &[2, 2]), Ok(b"abcd".to_vec()));
        drop(peer);
        assert_eq!(guest.read(fd, &[9]), Ok(b"ef".to_vec()));
        assert_eq!(guest.read(fd, &[9]), Ok(vec![]));
        guest.ok(FD_CLOSE, &[fd]);
        guest.fails(Errno::BADF, SOCK_SHUTDOWN, &[fd, 2]);
    }
}

#[test]
fn a_guest_waits_for_all_that_it_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::new();
    let fd = guest.socket(INET, STREAM);
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(guest.connect(fd, &address), Flow::Return(0));
    let (mut peer, _) = listener.accept().unwrap();
    let writer = std::thread::spawn(move || {
        for piece in [&b"ab"[..], b"cd", b"ef"] {
            peer.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        peer
    });
    let iovs = guest.vectors(&[1, 4]);
    guest.ok(SOCK_RECV, &[fd, iovs, 2, 2, OUT, OUT + 4]);
    assert_eq!(guest.u32(OUT as usize), 5);
    assert_eq!(guest.bytes(guest.data(), 5), b"abcde");
    let peer = writer.join().unwrap();
    assert_eq!(guest.read(fd, &[5]), Ok(b"f".to_vec()));
    // A buffer that fills holds the guest until there is room.
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut peer = peer;
        std::thread::sleep(Duration::from_millis(20));
        peer.read_to_end(&mut all).unwrap();
        all.len()
    });
    let mut sent = 0;
    for _ in 0..400 {
        sent += guest.write(fd, &[&[7; 20_000]]).unwrap();
    }
    guest.ok(FD_CLOSE, &[fd]);
    assert_eq!((sent, reader.join().unwrap()), (8_000_000, 8_000_000));
}

#[test]
fn a_guest_listens_and_accepts() {
    let mut guest = Guest::new();
    let (fd, address) = guest.bound(INET, STREAM, "127.0.0.1:0");
    guest.fails(Errno::INVAL, SOCK_ACCEPT, &[fd, 0, OUT]);
    guest.ok(SOCK_LISTEN, &[fd, 5]);
    assert_eq!(guest.option(fd, 0, 13), 1);
    guest.fails(Errno::NOTCONN, SOCK_SHUTDOWN, &[fd, 3]);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    guest.fails(Errno::AGAIN, SOCK_ACCEPT, &[fd, 0, OUT]);
    let mut peer = TcpStream::connect(&address).unwrap();
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, 0]);
    guest.ok(SOCK_ACCEPT, &[fd, NONBLOCK, OUT]);
    let accepted = u64::from(guest.u32(OUT as usize));
    guest.ok(FD_FDSTAT_GET, &[accepted, 64]);
    assert_eq!((guest.memory[64], guest.memory[66]), (6, 4));
    assert_eq!(guest.read(accepted, &[3]), Err(Errno::AGAIN));
    peer.write_all(b"hi").unwrap();
    guest.ok(FD_FDSTAT_SET_FLAGS, &[accepted, 0]);
    assert_eq!(guest.read(accepted, &[3]), Ok(b"hi".to_vec()));
    // Version 1 has a call of its own, and tells the family apart.
    let peer = TcpStream::connect(&address).unwrap();
    guest.ok(SOCK_ACCEPT_V1, &[fd, OUT]);
    let accepted = u64::from(guest.u32(OUT as usize));
    let at = guest.buffer(16);
    guest.ok(SOCK_GETPEERADDR_V1, &[accepted, at, OUT, OUT + 4]);
    let port = guest.u32(OUT as usize + 4);
    assert_eq!(guest.u32(OUT as usize), 4);
    assert_eq!(port, u32::from(peer.local_addr().unwrap().port()));
    assert_eq!(guest.bytes(ADDRESS as usize, 4), [127, 0, 0, 1]);
    let at = guest.buffer(3);
    guest.fails(Errno::INVAL, SOCK_GETPEERADDR_V1, &[accepted, at, OUT, OUT]);
    guest.fails(Errno::INVAL, SOCK_GETPEERADDR_V2, &[accepted, at, OUT]);
    guest.fails(Errno::NOTCONN, SOCK_GETPEERADDR_V2, &[fd, at, OUT]);
    guest.fails(Errno::INVAL, SOCK_ACCEPT, &[fd, 1, OUT]);
}

#[test]
fn a_connection_that_is_refused_says_so_at_once_or_later() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let closed = closed.unwrap().to_string();
    let mut guest = Guest::new();
    let refused = u16::from(Errno::CONNREFUSED);
    let fd = guest.socket(INET, STREAM);
    assert_eq!(guest.connect(fd, &closed), Flow::Return(refused.into()));
    let fd = guest.socket(INET, STREAM);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[fd, NONBLOCK]);
    let in_progress = u16::from(Errno::INPROGRESS);
    assert_eq!(guest.connect(fd, &closed), Flow::Return(in_progress.into()));
    assert_eq!(guest.option(fd, 0, 2), u32::from(refused));
    assert_eq!(guest.option(fd, 0, 2), 0, "it is told once");
}

#[test]
fn unix_sockets_have_paths() {
    let mut guest = Guest::new();
    let path = guest.root.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let fd = guest.socket(UNIX, STREAM);
    let at = guest.unix(&path);
    guest.ok(SOCK_CONNECT, &[fd, at, 0]);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hi").unwrap();
    assert_eq!(guest.read(fd, &[5]), Ok(b"hi".to_vec()));
    let at = guest.buffer(ADDRESS_BYTES);
    guest.ok(SOCK_GETPEERADDR_V2, &[fd, at, OUT]);
    let expected = Address::Unix(path.as_os_str().as_encoded_bytes().to_vec());
    assert_eq!(guest.wide(), expected);
    assert_eq!(guest.local(fd), Address::Unix(vec![]));
    let at = guest.buffer(16);
    guest.fails(Errno::AFNOSUPPORT, SOCK_GETPEERADDR_V1, &[fd, at, OUT, OUT]);

    let path = guest.root.path().join("datagram");
    let fd = guest.socket(UNIX, DGRAM);
    let at = guest.unix(&path);
    guest.ok(SOCK_BIND, &[fd, at, 0]);
    let host = UnixDatagram::unbound().unwrap();
    host.send_to(b"one", &path).unwrap();
    let iovs = guest.vectors(&[9]);
    let at = guest.buffer(ADDRESS_BYTES);
    guest.ok(
        SOCK_RECV_FROM_V2,
        &[fd, iovs, 1, at, 0, OUT, OUT + 4, OUT + 8],
    );
    assert_eq!(guest.u32(OUT as usize + 4), 3);
    assert_eq!(guest.wide(), Address::Unix(vec![]));
}

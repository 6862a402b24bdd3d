//! Datagrams.

use super::*;

#[test]
fn datagrams_go_one_by_one() {
    for (family, any) in [(INET, "127.0.0.1:0"), (INET6, "[::1]:0")] {
        let host = UdpSocket::bind(any).unwrap();
        let to = host.local_addr().unwrap().to_string();
        let mut guest = Guest::new();
        let fd = guest.socket(family, DGRAM);
        let iovs = guest.vectors(&[2, 3]);
        let data = guest.data() as u64;
        guest.put(data, b"hello");
        let [at, port] = guest.v1(&to);
        guest.ok(SOCK_SEND_TO, &[fd, iovs, 2, at, port, 0, OUT]);
        assert_eq!(guest.u32(OUT as usize), 5);
        let mut bytes = [0; 9];
        let (n, from) = host.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"hello");
        assert_eq!(
            guest.local(fd).to_string().split(':').next_back().unwrap(),
            from.port().to_string()
        );

        host.send_to(b"answer", from).unwrap();
        let at = guest.buffer(ADDRESS_BYTES);
        let args = [fd, iovs, 2, at, 0, OUT, OUT + 4, OUT + 8];
        guest.ok(SOCK_RECV_FROM_V2, &args);
        assert_eq!(guest.bytes(data as usize, 5), b"answe");
        let words = [4, 8].map(|i| guest.u32(OUT as usize + i));
        assert_eq!(words, [5, 1], "and the rest is lost");
        assert_eq!(guest.wide().to_string(), to);

        host.send_to(b"", from).unwrap();
        let at = guest.buffer(16);
        let args = [fd, iovs, 2, at, 0, OUT + 4, OUT + 8];
        guest.ok(SOCK_RECV_FROM_V1, &args);
        assert_eq!([4, 8].map(|i| guest.u32(OUT as usize + i)), [0, 0]);

        // Connected, it takes no other address.
        assert_eq!(guest.connect(fd, &to), Flow::Return(0));
        assert_eq!(guest.write(fd, &[b"on"]), Ok(2));
        assert_eq!(host.recv_from(&mut bytes).unwrap().0, 2);
        let [at, port] = guest.v1(&to);
        guest.fails(
            Errno::ISCONN,
            SOCK_SEND_TO,
            &[fd, iovs, 2, at, port, 0, OUT],
        );
    }
}

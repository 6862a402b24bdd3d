//! Names of hosts and services.

use super::*;

#[test]
fn names_are_resolved_into_the_structures_of_the_guest() {
    let mut guest = Guest::new();
    let lookup =
        |guest: &mut Guest, node: &str, service: &str, flags: u16, family: u8, most: u64| {
            let (hints, list, structures) = (OUT, OUT + 64, OUT + 128);
            guest.put(hints, &[0; 28]);
            guest.put(hints, &flags.to_le_bytes());
            guest.put(hints + 2, &[family, STREAM as u8]);
            guest.put(list, &(structures as u32).to_le_bytes());
            for i in 0..2 {
                let at = structures + 128 * i;
                let (sockaddr, data, next) = (at + 32, at + 64, if i == 0 { at + 128 } else { 0 });
                guest.put(at + 12, &(sockaddr as u32).to_le_bytes());
                guest.put(at + 24, &(next as u32).to_le_bytes());
                guest.put(sockaddr + 4, &14u32.to_le_bytes());
                guest.put(sockaddr + 8, &(data as u32).to_le_bytes());
                guest.put(data, &[0; 18]);
            }
            let [[n, n_len], [s, s_len]] = guest.paths([node, service]);
            let flow = guest.call(
                SOCK_GETADDRINFO,
                &[n, n_len, s, s_len, hints, list, most, OUT + 96],
            );
            let Flow::Return(0) = flow else {
                let Flow::Return(errno) = flow else {
                    panic!("{flow:?}")
                };
                return Err(Errno::from_number(errno as u16));
            };
            let found = (0..guest.u32(OUT as usize + 96) as usize).map(|i| {
                let at = (structures as usize) + 128 * i;
                let (family, data) = (guest.memory[at + 32], guest.bytes(at + 64, 18));
                assert_eq!(guest.memory[at + 2], family);
                let length = if family == 1 { 6 } else { 18 };
                let port = u16::from_be_bytes([data[0], data[1]]);
                timecraft_segment::socket::address(&data[2..length], port)
                    .unwrap()
                    .to_string()
            });
            Ok(found.collect::<Vec<_>>())
        };
    let found = lookup(&mut guest, "localhost\0", "80", 0, 1, 2).unwrap();
    assert_eq!(found, ["127.0.0.1:80"]);
    assert_eq!(
        lookup(&mut guest, "::1", "https", 4, 0, 2).unwrap(),
        ["[::1]:443"]
    );
    assert_eq!(lookup(&mut guest, "", "9", 1, 2, 2).unwrap(), ["[::]:9"]);
    assert_eq!(
        lookup(&mut guest, "", "9", 0, 0, 2).unwrap(),
        ["127.0.0.1:9"]
    );
    for (node, service, flags, family) in [
        ("localhost", "", 4, 0),
        ("127.0.0.1", "no-such", 0, 0),
        ("127.0.0.1", "http", 8, 0),
        ("127.0.0.1", "", 0, 2),
        ("", "", 0, 0),
        ("a\0b", "", 0, 0),
    ] {
        assert_eq!(
            lookup(&mut guest, node, service, flags, family, 2),
            Err(Errno::INVAL),
            "{node}"
        );
    }
    assert_eq!(lookup(&mut guest, "::1", "1", 0, 9, 2), Err(Errno::NOTSUP));
    assert_eq!(lookup(&mut guest, "::1", "1", 0, 0, 0), Err(Errno::INVAL));
}

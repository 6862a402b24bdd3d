//! Options.

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
        (10, Errno::NOTSUP),
        (14, Errno::NOTSUP),
        (15, Errno::NOPROTOOPT),
    ] {
        guest.fails(errno, SOCK_SETSOCKOPT, &[fd, 0, name, ADDRESS, 4]);
    }
    guest.fails(Errno::INVAL, SOCK_GETSOCKOPT, &[fd, 9, 0, OUT, 4]);
    guest.fails(Errno::NOTSOCK, SOCK_GETSOCKOPT, &[0, 0, 0, OUT, 4]);
    trapped(guest.call(SOCK_GETSOCKOPT, &[fd, 0, 0, 1 << 30, 4]));
    // To linger in a close would hold the guest.
    guest.put(ADDRESS, &[1, 0, 0, 0, 9, 0, 0, 0]);
    guest.fails(Errno::NOTSUP, SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.put(ADDRESS, &[1, 0, 0, 0, 0, 0, 0, 0]);
    guest.ok(SOCK_SETSOCKOPT, &[fd, 0, 9, ADDRESS, 8]);
    guest.ok(SOCK_GETSOCKOPT, &[fd, 0, 9, OUT, 8]);
    assert_eq!(guest.bytes(OUT as usize, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
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

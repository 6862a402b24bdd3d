//! Tests of what a guest must never reach: files outside of its directories, and changes of what
//! is read-only.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::MissingGrant;
use super::abi::{fdflags, fstflags, oflags, rights};
use super::errno::Errno;
use super::function::*;
use super::testing::{Guest, RW};

const R: u64 = rights::FD_READ;

#[test]
fn no_path_leads_out() {
    let mut guest = Guest::new();
    let outside = guest.read_only.path().join("secret");
    std::fs::write(&outside, b"secret").unwrap();
    let secret = outside.to_str().unwrap().to_owned();
    let name = guest
        .read_only
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    symlink(&outside, guest.root.path().join("absolute")).unwrap();
    symlink(
        format!("../{name}/secret"),
        guest.root.path().join("relative"),
    )
    .unwrap();
    symlink(format!("../{name}"), guest.root.path().join("dir")).unwrap();
    symlink("/proc/self", guest.root.path().join("proc")).unwrap();
    let relative = format!("../{name}/secret");
    for path in [
        &secret,
        &relative,
        "..",
        "/",
        "absolute",
        "relative",
        "dir/secret",
        "proc/root",
    ] {
        assert_eq!(guest.open(path, 0, R, 0), Err(Errno::PERM), "{path}");
        assert_eq!(
            guest.open(path, oflags::CREAT, RW, 0),
            Err(Errno::PERM),
            "{path}"
        );
        let [[p, n]] = guest.paths([path]);
        guest.fails(Errno::PERM, PATH_FILESTAT_GET, &[3, 1, p, n, 0]);
        guest.fails(
            Errno::PERM,
            PATH_FILESTAT_SET_TIMES,
            &[3, 1, p, n, 0, 0, fstflags::ATIM.into()],
        );
    }
    for path in [secret.as_str(), relative.as_str(), "dir/secret"] {
        assert_eq!(guest.at(PATH_UNLINK_FILE, 3, path), Err(Errno::PERM));
        assert_eq!(guest.at(PATH_REMOVE_DIRECTORY, 3, path), Err(Errno::PERM));
        assert_eq!(guest.at(PATH_CREATE_DIRECTORY, 3, path), Err(Errno::PERM));
        guest.host_write("f", b"");
        let [[p, n], [f, one]] = guest.paths([path, "f"]);
        guest.fails(Errno::PERM, PATH_RENAME, &[3, f, one, 3, p, n]);
        guest.fails(Errno::PERM, PATH_RENAME, &[3, p, n, 3, f, one]);
        guest.fails(Errno::PERM, PATH_LINK, &[3, 0, p, n, 3, f, one]);
        guest.fails(Errno::PERM, PATH_SYMLINK, &[f, one, 3, p, n]);
        guest.fails(Errno::PERM, PATH_READLINK, &[3, p, n, 3000, 10, 0]);
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
    let missing = guest.wasi.missing_grants();
    assert_eq!(missing.len(), 8, "each path once");
    assert_eq!(missing[0].flag, "--dir HOST::GUEST");
    assert!(missing[1].resource.contains(&relative) && missing[1].resource.contains("/data"));
}

#[test]
fn nothing_is_changed_in_a_read_only_directory() {
    let mut guest = Guest::new();
    std::fs::write(guest.read_only.path().join("f"), b"content").unwrap();
    std::fs::create_dir(guest.read_only.path().join("d")).unwrap();
    guest.host_write("mine", b"");
    for (oflags, rights) in [
        (0, RW),
        (oflags::CREAT, R),
        (oflags::TRUNC, R),
        (oflags::CREAT | oflags::EXCL, R),
    ] {
        assert_eq!(
            guest.open_at(4, 1, "f", oflags, rights, 0),
            Err(Errno::PERM)
        );
    }
    let d = guest.open_at(4, 1, "d", 0, R, 0).unwrap();
    assert_eq!(
        guest.open_at(d, 1, "new", oflags::CREAT, RW, 0),
        Err(Errno::PERM),
        "nor below it"
    );
    let f = guest.open_at(4, 1, "f", 0, R, fdflags::APPEND).unwrap();
    assert_eq!(guest.read(f, &[9]), Ok(b"content".to_vec()));
    assert_eq!(guest.write(f, &[b"x"]), Err(Errno::BADF));
    guest.fails(Errno::PERM, FD_FILESTAT_SET_SIZE, &[f, 0]);
    guest.fails(Errno::PERM, FD_FILESTAT_SET_TIMES, &[f, 0, 0, 1]);
    guest.fails(Errno::PERM, FD_FILESTAT_SET_TIMES, &[4, 0, 0, 1]);
    for (function, path) in [
        (PATH_CREATE_DIRECTORY, "new"),
        (PATH_REMOVE_DIRECTORY, "d"),
        (PATH_UNLINK_FILE, "f"),
    ] {
        assert_eq!(guest.at(function, 4, path), Err(Errno::PERM));
    }
    let [[f, f_n], [mine, mine_n]] = guest.paths(["f", "mine"]);
    guest.fails(
        Errno::PERM,
        PATH_FILESTAT_SET_TIMES,
        &[4, 0, f, f_n, 0, 0, 1],
    );
    guest.fails(Errno::PERM, PATH_LINK, &[4, 0, f, f_n, 3, f, f_n]);
    guest.fails(
        Errno::PERM,
        PATH_LINK,
        &[3, 0, mine, mine_n, 4, mine, mine_n],
    );
    guest.fails(Errno::PERM, PATH_RENAME, &[4, f, f_n, 3, f, f_n]);
    guest.fails(
        Errno::PERM,
        PATH_RENAME,
        &[3, mine, mine_n, 4, mine, mine_n],
    );
    guest.fails(Errno::PERM, PATH_SYMLINK, &[f, f_n, 4, mine, mine_n]);
    guest.ok(PATH_FILESTAT_GET, &[4, 0, f, f_n, 64]);
    assert_eq!(
        std::fs::read(guest.read_only.path().join("f")).unwrap(),
        b"content"
    );
    assert_eq!(
        std::fs::read_dir(guest.read_only.path()).unwrap().count(),
        2
    );
    let expected = MissingGrant {
        resource: "write access to \"/ro/f\"".to_owned(),
        flag: format!("--dir {}::/ro", guest.read_only.path().display()),
    };
    assert_eq!(guest.wasi.missing_grants()[0], expected);
}

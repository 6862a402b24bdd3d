//! Tests of what a guest must never reach: files outside of its directories, and changes of what
//! is read-only.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::abi::{fdflags, fstflags, oflags, rights};
use super::errno::Errno;
use super::function::*;
use super::testing::{Guest, RW};
use super::{Flow, MissingGrant};

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

/// What leads where, by every way to write it.
#[test]
fn no_spelling_of_a_path_leads_out() {
    let mut guest = Guest::new();
    let root = guest.root.path().to_owned();
    std::fs::create_dir_all(root.join("d/e")).unwrap();
    guest.host_write("d/file", b"inside");
    std::fs::write(guest.read_only.path().join("secret"), b"secret").unwrap();
    let outside = guest.read_only.path().to_str().unwrap().to_owned();
    let name = outside.rsplit('/').next().unwrap();
    symlink(format!("../{name}"), root.join("out")).unwrap();
    symlink(format!("../../{name}/secret"), root.join("d/secret")).unwrap();
    symlink("d/../../", root.join("above")).unwrap();
    symlink(".", root.join("here")).unwrap();
    symlink("e/../file", root.join("d/again")).unwrap();
    // A chain of links that only the last leads out of, and one that ends inside.
    for i in 0..8 {
        symlink(format!("chain{}", i + 1), root.join(format!("chain{i}"))).unwrap();
    }
    symlink("out/secret", root.join("chain8")).unwrap();
    for i in 0..50 {
        symlink(format!("long{}", i + 1), root.join(format!("long{i}"))).unwrap();
    }
    symlink("a", root.join("b")).unwrap();
    symlink("b", root.join("a")).unwrap();
    let expected = [
        ("d/file", Ok(())),
        ("./d//file", Ok(())),
        ("d/./e/../file", Ok(())),
        ("here/here/d/again", Ok(())),
        ("d/e/../../d/file", Ok(())),
        ("out/secret", Err(Errno::PERM)),
        ("out//secret", Err(Errno::PERM)),
        ("./out/./secret", Err(Errno::PERM)),
        ("out/", Err(Errno::PERM)),
        ("out/.", Err(Errno::PERM)),
        ("d/secret", Err(Errno::PERM)),
        ("above", Err(Errno::PERM)),
        ("above/", Err(Errno::PERM)),
        ("here/../d/file", Err(Errno::PERM)),
        ("d/../../d/file", Err(Errno::PERM)),
        ("./..", Err(Errno::PERM)),
        ("..//", Err(Errno::PERM)),
        ("//d/file", Err(Errno::PERM)),
        ("chain0", Err(Errno::PERM)),
        ("long0", Err(Errno::LOOP)),
        ("a", Err(Errno::LOOP)),
        ("a/b", Err(Errno::LOOP)),
        ("d/file/", Err(Errno::NOTDIR)),
        ("d/file/..", Err(Errno::NOTDIR)),
        ("d/file/../file", Err(Errno::NOTDIR)),
    ];
    for (path, expected) in expected {
        assert_eq!(guest.open(path, 0, R, 0).map(drop), expected, "{path}");
        if expected.is_err() {
            // Nor is anything made there.
            assert!(
                guest
                    .open(path, oflags::CREAT | oflags::TRUNC, RW, 0)
                    .is_err(),
                "{path}"
            );
        }
    }
    // To change what a link is called is to change the link, and not what it leads to.
    let [[out, out_n], [renamed, renamed_n]] = guest.paths(["out", "renamed"]);
    guest.ok(PATH_RENAME, &[3, out, out_n, 3, renamed, renamed_n]);
    assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "renamed"), Ok(()));
    assert_eq!(
        std::fs::read_dir(guest.read_only.path()).unwrap().count(),
        1
    );
}

/// The links of `/proc` that lead out by magic and not by a path.
#[test]
fn no_link_of_proc_leads_out() {
    let mut guest = Guest::with_directory("/proc");
    let secret = guest.root.path().join("secret");
    std::fs::write(&secret, b"secret").unwrap();
    let open = std::fs::File::open(&secret).unwrap();
    let folder = std::fs::File::open(guest.root.path()).unwrap();
    let me = std::process::id();
    for path in [
        format!("self/root{}", secret.display()),
        "self/root".to_owned(),
        "self/cwd".to_owned(),
        "self/exe".to_owned(),
        format!("{me}/root"),
        "thread-self/root".to_owned(),
        format!("self/task/{me}/root"),
        format!("self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)),
        format!(
            "self/fd/{}/secret",
            std::os::fd::AsRawFd::as_raw_fd(&folder)
        ),
        format!(
            "self/task/{me}/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&open)
        ),
    ] {
        for rights in [R, RW] {
            let opened = guest.open_at(5, 1, &path, 0, rights, 0);
            assert!(
                matches!(opened, Err(Errno::PERM | Errno::LOOP)),
                "{path}: {opened:?}"
            );
        }
        let [[p, n]] = guest.paths([&*path]);
        let flow = guest.call(PATH_FILESTAT_GET, &[5, 1, p, n, 64]);
        assert_ne!(flow, Flow::Return(0), "{path}");
        guest.memory[2048..2348].fill(0);
        guest.call(PATH_READLINK, &[5, p, n, 2048, 300, 0]);
        assert!(!guest.bytes(2048, 300).contains(&b'/'), "{path}");
    }
}

/// What `/proc` says of the host's own process are its memory and its environment: no grant of a
/// directory is meant to give them.
#[test]
fn proc_does_not_show_the_hosts_own_process() {
    let mut guest = Guest::with_directory("/proc");
    let me = std::process::id();
    let tid = rustix::thread::gettid().as_raw_nonzero();
    for folder in [
        "self".to_owned(),
        "thread-self".to_owned(),
        me.to_string(),
        tid.to_string(),
        format!("self/task/{tid}"),
        format!("{tid}/task/{me}"),
    ] {
        for file in ["mem", "environ", "maps", "status"] {
            let path = format!("{folder}/{file}");
            assert_eq!(
                guest.open_at(5, 1, &path, 0, R, 0),
                Err(Errno::PERM),
                "{path}"
            );
            assert!(guest.open_at(5, 1, &path, 0, RW, 0).is_err(), "{path}");
        }
        let opened = guest
            .open_at(5, 1, &folder, oflags::DIRECTORY, R, 0)
            .unwrap();
        assert_eq!(guest.open_at(opened, 1, "mem", 0, R, 0), Err(Errno::PERM));
        guest.ok(FD_CLOSE, &[opened]);
    }
    // What is granted is there.
    let version = guest.open_at(5, 1, "version", 0, R, 0).unwrap();
    assert!(guest.read(version, &[5]).unwrap().starts_with(b"Linux"));
    assert!(guest.open_at(5, 1, "1/comm", 0, R, 0).is_ok());
}

/// A device in a granted directory is granted, as in wasmtime; the links among them are links.
#[test]
fn devices_are_granted_with_their_directory() {
    let mut guest = Guest::with_directory("/dev");
    let zero = guest.open_at(5, 1, "zero", 0, R, 0).unwrap();
    assert_eq!(guest.read(zero, &[4]), Ok(vec![0; 4]));
    let null = guest.open_at(5, 1, "null", 0, RW, 0).unwrap();
    assert_eq!(guest.write(null, &[b"gone"]), Ok(4));
    for link in ["fd", "stdin", "stdout", "fd/0"] {
        assert_eq!(
            guest.open_at(5, 1, link, 0, R, 0),
            Err(Errno::PERM),
            "{link}"
        );
    }
}

/// What is opened under a read-only grant stays read-only, whatever number it gets.
#[test]
fn a_read_only_descriptor_is_read_only_under_any_number() {
    let mut guest = Guest::new();
    let file = guest.read_only.path().join("f");
    std::fs::write(&file, b"content").unwrap();
    let mine = guest.open("mine", oflags::CREAT, RW, 0).unwrap();
    let f = guest.open_at(4, 1, "f", 0, R, 0).unwrap();
    guest.ok(FD_RENUMBER, &[f, mine]);
    let vectors = guest.vectors(&[1]);
    guest.fails(Errno::BADF, FD_PWRITE, &[mine, vectors, 1, 0, 0]);
    assert_eq!(guest.write(mine, &[b"x"]), Err(Errno::BADF));
    guest.fails(Errno::PERM, FD_FILESTAT_SET_SIZE, &[mine, 0]);
    guest.fails(Errno::PERM, FD_FILESTAT_SET_TIMES, &[mine, 0, 0, 1]);
    guest.fails(Errno::NOTSUP, FD_ALLOCATE, &[mine, 0, 100]);
    guest.ok(FD_FDSTAT_SET_FLAGS, &[mine, fdflags::APPEND.into()]);
    assert_eq!(guest.write(mine, &[b"x"]), Err(Errno::BADF));
    // The directory under the number of another.
    guest.ok(FD_RENUMBER, &[4, 3]);
    for (path, oflags, rights) in [
        ("f", 0, RW),
        ("f", oflags::TRUNC, R),
        ("new", oflags::CREAT, R),
    ] {
        assert_eq!(
            guest.open_at(3, 1, path, oflags, rights, 0),
            Err(Errno::PERM)
        );
    }
    assert_eq!(guest.at(PATH_UNLINK_FILE, 3, "f"), Err(Errno::PERM));
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
}

//! What a real guest did with files, and what it was refused: ended, in many segments, running, and
//! killed.

use std::collections::BTreeMap;

use rustix::process::Signal;
use timecraft_runtime::{Interrupter, Options, Recording, Source};
use timecraft_segment::{LogOptions, Registry};

use crate::support::{Dir, corner, ended, signal, wait_for};

/// How many writes the guest makes into its first file.
const WRITES: usize = 20_000;

fn prepared() -> Dir {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    std::fs::create_dir(dir.path("ro")).unwrap();
    dir
}

const GRANTS: [&str; 5] = ["run", "--dir", "data::/data", "--dir", "ro::/ro:ro"];

/// Records the guest in small segments, which no option of the command line makes.
fn in_segments(dir: &Dir) {
    let registry = Registry::at(dir.path("home/.timecraft/registry"));
    registry.create().unwrap();
    let source = Source::read(&corner("files.wat")).unwrap();
    let mut options = Options::new(&source, Interrupter::new().unwrap());
    options.args = vec![b"files.wat".to_vec()];
    options.directories = [("data", "/data", false), ("ro", "/ro", true)]
        .map(
            |(host, guest, read_only)| timecraft_runtime::wasi::Directory {
                host: dir.path(host),
                guest: guest.to_owned(),
                read_only,
            },
        )
        .to_vec();
    options.recording = Some(Recording {
        registry: &registry,
        log: LogOptions {
            batch_bytes: 64 << 10,
            segment_bytes: 2 << 10,
            ..LogOptions::default()
        },
        name: None,
        labels: BTreeMap::new(),
        on_start: None,
    });
    let report = timecraft_runtime::run(options).unwrap();
    assert_eq!(report.end, timecraft_runtime::End::Exit(0), "{report:?}");
}

#[track_caller]
fn rows(dir: &Dir, query: &str) -> Vec<String> {
    dir.query(query)
        .into_iter()
        .map(|row| row.join("|"))
        .collect()
}

/// What must be in the tables, however the guest was recorded.
fn check(dir: &Dir) {
    assert_eq!(
        rows(
            dir,
            "select operation, path, path2, error from file_operations \
             where error is distinct from 'EBADF' order by record_offset"
        ),
        [
            "mkdir|/data/sub||",
            "open|/data/sub||",
            "open|/data/sub/a||",
            "open|/data/log||",
            "truncate|/data/log||",
            "rename|/data/sub/a|/data/b|",
            "symlink|b|/data/link|",
            "unlink|/data/sub/nothing||ENOENT",
            "stat|/data/nothing||ENOENT",
            "open|/ro/a||EPERM",
            "mkdir|/ro/sub||EPERM",
            "open|/data/../etc||EPERM",
            "unlink|/data/b||",
            "rmdir|/data/sub||",
        ]
    );
    assert_eq!(
        rows(
            dir,
            "select path, flags, bytes_read, reads, bytes_written, writes, close_time is null, error \
             from files order by record_offset"
        ),
        [
            "/data/sub|RDONLY|DIRECTORY|0|0|0|0|false|",
            "/data/sub/a|RDWR|CREAT|TRUNC|10|2|120000|20000|false|",
            // Its end is the process's.
            "/data/log|RDWR|CREAT|APPEND|0|0|12|2|true|",
        ]
    );
    // Each write is where the one before ended, across all segments.
    let positions = "select count(*), bool_and(position = (n - 1) * 6), bool_and(path = '/data/sub/a') \
         from (select position, path, row_number() over (order by record_offset) as n from file_data \
         where direction = 'write' and path = '/data/sub/a')";
    assert_eq!(rows(dir, positions), [format!("{WRITES}|true|true")]);
    assert_eq!(
        rows(
            dir,
            "select path, direction, position, size, arrow_cast(payload, 'Utf8') from file_data \
             where (direction = 'read' or path like '%log') and path like '/data%' order by record_offset"
        ),
        [
            "/data/sub/a|read|6|5|hello",
            "/data/sub/a|read|11|5| hell",
            "/data/log|write||6|hello ",
            "/data/log|write||6|hello ",
        ]
    );
    let denials = rows(
        dir,
        "select function, resource, split_part(rule, '::', 2), split_part(would_need, '::', 2) \
         from denials order by record_offset",
    );
    assert_eq!(
        denials,
        [
            "path_open|write access to \"/ro/a\"|/ro:ro|/ro",
            "path_create_directory|write access to \"/ro/sub\"|/ro:ro|/ro",
            "path_open|\"../etc\", which leads out of the directory \"/data\"|/data|GUEST",
        ]
    );
    assert_eq!(rows(dir, "select count(*) from system.damage"), ["0"]);
}

#[test]
fn what_a_guest_did_with_files_is_there() {
    let dir = prepared();
    dir.cmd(GRANTS).arg(corner("files.wat")).assert(0);
    check(&dir);
}

#[test]
fn segments_make_no_difference() {
    let dir = prepared();
    in_segments(&dir);
    let segments: usize = rows(&dir, "select count(*) from segments")[0]
        .parse()
        .unwrap();
    assert!(segments > 5, "{segments}");
    check(&dir);
}

#[test]
fn a_running_guest_and_a_killed_one_have_what_they_did() {
    let dir = prepared();
    let mut child = dir
        .cmd(GRANTS)
        .open_stdin()
        .arg(corner("files.wat"))
        .arg("wait")
        .spawn();
    wait_for(child.stdout.as_mut().unwrap(), "hello ");
    check(&dir);
    let stdout = "select position, size from file_data where path = 'stdout'";
    assert_eq!(rows(&dir, stdout), ["0|6"]);
    signal(&child, Signal::KILL);
    assert_eq!(ended(child), None);
    assert_eq!(rows(&dir, "select status from processes"), ["lost"]);
    check(&dir);
}

/// Damage is an error, then a warning, and always in the table.
#[test]
fn damage_is_said() {
    let dir = prepared();
    dir.cmd(GRANTS).arg(corner("files.wat")).assert(0);
    let path = rows(&dir, "select location from segments").remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|four| four == b"TCB1").unwrap();
    bytes[at + 200] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let query = "select count(outcome) from host_calls";
    let said = dir.cmd(["sql", query]).assert(1);
    assert!(
        said.stderr.contains(&format!("{path} is damaged at byte")),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("SET timecraft.on_damage = 'skip'"),
        "{}",
        said.stderr
    );

    let query = format!("SET timecraft.on_damage = 'skip'; {query}");
    let said = dir.cmd(["sql", &query]).assert(0);
    let warning = format!("warning: left out what is damaged in {path} at byte {at}");
    assert!(said.stderr.contains(&warning), "{}", said.stderr);
    assert!(
        said.stderr.contains("select * from system.damage"),
        "{}",
        said.stderr
    );

    let damage = "select path, position, first_missing_offset from system.damage";
    assert_eq!(rows(&dir, damage), [format!("{path}|{at}|0")]);
}

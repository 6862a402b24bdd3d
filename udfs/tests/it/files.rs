//! What each call means for files.

use std::convert::Infallible;

use timecraft_segment::descriptors::Descriptors;
use timecraft_segment::testing::process_start;
use timecraft_segment::{Outcome, ProcessStart, Record};
use timecraft_udfs::files::{self, Files, MAX_DESCRIPTORS, Row};
use timecraft_udfs::state::StateError;

use crate::calls::*;
use crate::socket_calls::{TCP, open_socket, tcp};

/// A row as a line.
pub fn line(record: &Record<'_>, row: &Row<'_>) -> String {
    let offset = record.offset;
    match row {
        Row::Operation(op) => {
            let text = |path: Option<String>| path.unwrap_or_else(|| "-".to_owned());
            let (path, path2) = (text(op.path()), text(op.path2()));
            format!("{offset} {} {path} {path2} {:?}", op.name, op.errno)
        }
        Row::Transfer(t) => {
            let bytes = files::payload(record, t.size);
            let bytes = String::from_utf8_lossy(&bytes).into_owned();
            let (path, position) = (t.path.unwrap_or("-"), t.position);
            format!(
                "{offset} {:?} {} {path} {position:?} {} {bytes}",
                t.direction, t.fd, t.size
            )
        }
        Row::File(file) => format!("{offset} {}", file_line(file)),
    }
}

fn file_line(f: &files::File) -> String {
    format!(
        "file {}..{} {} {} {} {}..{:?} {}/{} {}/{} {:?}",
        f.offset,
        f.end_offset,
        f.fd,
        f.path,
        f.flags,
        f.opened_ns,
        f.closed_ns,
        f.bytes_read,
        f.reads,
        f.bytes_written,
        f.writes,
        f.errno
    )
}

/// All rows of these records, as lines.
pub fn follow(files: &mut Files, records: &[Record<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for record in records {
        let Ok(()) = files.apply(record, |row| {
            lines.push(line(record, &row));
            Ok::<(), Infallible>(())
        });
    }
    lines
}

/// All rows of the calls of a process, with what is open at its end.
fn rows(calls: &[Call]) -> Vec<String> {
    let calls = record(calls);
    let mut files = Files::at_start(&process_start());
    let mut lines = follow(&mut files, &records(&calls));
    lines.extend(files.open().map(|file| format!("end {}", file_line(file))));
    lines
}

fn without_operations(calls: &[Call]) -> Vec<String> {
    let is_operation = |line: &String| line.contains(" open ") || line.contains(" stat ");
    rows(calls)
        .into_iter()
        .filter(|line| !is_operation(line))
        .collect()
}

#[test]
fn paths_are_relative_to_what_a_descriptor_is_then() {
    let calls = [
        open(3, "./sub/", 2, 0, 4),
        open(4, "a", 0, 0, 5),
        renumber(4, 5),
        at("path_filestat_get", 5, "b/../c"),
        at("path_unlink_file", 4, "x").fails(8),
        close(5),
        open(3, "f", 0, 0, 4),
        rename(3, "old", 4, "new").fails(54),
        symlink("../target", 3, "link"),
        Call::new("fd_filestat_get", &[4, 0]),
        Call::new("fd_filestat_get", &[1, 0]),
        Call::new("fd_filestat_set_size", &[9, 0]).fails(8),
        at("path_create_directory", 3, "/etc").fails(63),
    ];
    assert_eq!(
        rows(&calls),
        [
            "1 open /data/sub - Some(0)",
            "2 open /data/sub/a - Some(0)",
            // The file gives way to the directory.
            "3 file 2..3 5 /data/sub/a RDWR 20..Some(30) 0/0 0/0 None",
            "4 stat /data/sub/b/../c - Some(0)",
            "5 unlink - - Some(8)",
            "6 file 1..6 4 /data/sub RDWR|DIRECTORY 10..Some(60) 0/0 0/0 None",
            "7 open /data/f - Some(0)",
            "8 rename /data/old /data/f/new Some(54)",
            "9 symlink ../target /data/link Some(0)",
            "10 stat /data/f - Some(0)",
            "11 stat stdout - Some(0)",
            "12 truncate - - Some(8)",
            "13 mkdir /etc - Some(63)",
            "end file 7..10 4 /data/f RDWR 70..None 0/0 0/0 None",
        ]
    );
}

#[test]
fn positions_move_with_reads_writes_and_seeks() {
    let calls = [
        open(3, "f", 1, 0, 4),
        write(4, b"hello", 5),
        write(4, b"partly", 4),
        seek(4, 2),
        read(4, &[b"ll", b"op"]),
        pread(4, 7, &[b"x"]),
        pwrite(4, 100, b"far"),
        read(4, &[b"a"]),
        seek(4, 0).fails(28),
        read(4, &[b""]),
        tell(4, 50),
        read(4, &[b"z"]),
        seek(4, u64::MAX),
        read(4, &[b"end"]),
        read(4, &[b"?"]),
    ];
    assert_eq!(
        without_operations(&calls),
        [
            "2 Write 4 /data/f Some(0) 5 hello",
            "3 Write 4 /data/f Some(5) 4 part",
            "5 Read 4 /data/f Some(2) 4 llop",
            "6 Read 4 /data/f Some(7) 1 x",
            "7 Write 4 /data/f Some(100) 3 far",
            "8 Read 4 /data/f Some(6) 1 a",
            "10 Read 4 /data/f Some(7) 0 ",
            "12 Read 4 /data/f Some(50) 1 z",
            // The guest asks the host for a position; what overflows is none.
            "14 Read 4 /data/f Some(18446744073709551615) 3 end",
            "15 Read 4 /data/f None 1 ?",
            "end file 1..15 4 /data/f RDWR|CREAT 10..None 11/7 12/3 Some(28)",
        ]
    );
}

#[test]
fn where_an_append_goes_is_not_known() {
    let calls = [
        open(3, "f", 0, 1, 4),
        read(4, &[b"ab"]),
        write(4, b"c", 1),
        read(4, &[b""]),
        seek(4, 0),
        pwrite(4, 0, b"d"),
        read(4, &[b"a"]),
        set_flags(4, 0),
        write(4, b"e", 1),
        set_flags(4, 1),
        write(4, b"f", 1),
    ];
    assert_eq!(
        without_operations(&calls)[..7],
        [
            "2 Read 4 /data/f Some(0) 2 ab",
            "3 Write 4 /data/f None 1 c",
            "4 Read 4 /data/f None 0 ",
            "6 Write 4 /data/f None 1 d",
            "7 Read 4 /data/f Some(0) 1 a",
            "9 Write 4 /data/f Some(1) 1 e",
            "11 Write 4 /data/f None 1 f",
        ]
    );
}

#[test]
fn only_what_moved_is_a_transfer() {
    let calls = [
        write(1, b"out", 3),
        write(1, b"put", 3),
        read(0, &[b"in"]),
        write(2, b"failed", 0).fails(29),
        write(2, b"would wait", 0).fails(6),
        open(3, "f", 0, 0, 4),
        read(4, &[b"waits"]).fails(6),
        read(4, &[b"breaks"]).fails(29),
        write(4, b"again", 0).fails(51),
        write(9, b"nobody's", 0).fails(8),
        write(9, b"whose?", 6),
        write(4, b"trapped", 7).ends(Outcome::Trapped),
        read(4, &[b"asleep"]).ends(Outcome::InFlight),
        write(4, b"interrupted", 5).ends(Outcome::Interrupted),
        write(4, b"interrupted", 0).ends(Outcome::Interrupted),
    ];
    assert_eq!(
        without_operations(&calls),
        [
            "1 Write 1 stdout Some(0) 3 out",
            "2 Write 1 stdout Some(3) 3 put",
            "3 Read 0 stdin Some(0) 2 in",
            "11 Write 9 - None 6 whose?",
            "14 Write 4 /data/f Some(0) 5 inter",
            "end file 6..15 4 /data/f RDWR 60..None 0/0 5/1 Some(29)",
        ]
    );
}

#[test]
fn a_socket_is_no_file() {
    let accept = Call::new("sock_accept", &[3, 0, 0x1000]).write(0x1000, &7_u32.to_le_bytes());
    let calls = [
        accept,
        read(7, &[b"hello"]),
        Call::new("fd_filestat_get", &[7, 0]),
        renumber(7, 1),
        write(1, b"hello", 5),
    ];
    assert_eq!(rows(&calls), [""; 0]);
}

#[test]
fn a_socket_that_the_guest_starts_with_or_a_segment_names_is_no_file() {
    let socket = timecraft_segment::socket::Preopened {
        fd: 7,
        listening: false,
        ends: tcp("127.0.0.1:1", "127.0.0.1:2"),
    };
    let start = ProcessStart {
        sockets: vec![socket],
        ..process_start()
    };
    let calls = record(&[
        read(7, &[b"hello"]),
        open_socket(TCP, 8),
        read(8, &[b"hello"]),
    ]);
    let records = records(&calls);
    assert_eq!(follow(&mut Files::at_start(&start), &records), [""; 0]);

    let mut table = Descriptors::at_start(&start);
    records.iter().for_each(|record| table.apply(record));
    let later = record(&[write(7, b"a", 1), write(8, b"b", 1)]);
    let mut files = Files::at_segment(&start, &table.table());
    assert_eq!(
        follow(&mut files, &later.iter().collect::<Vec<_>>()),
        [""; 0]
    );
}

#[test]
fn after_missing_records_only_what_is_sure_is_said() {
    let calls = [
        open(3, "f", 0, 0, 4),
        write(1, b"a", 1),
        gap(),
        read(4, &[b"what is 4?"]),
        write(1, b"b", 1),
        at("path_filestat_get", 3, "g"),
        seek(1, 0).fails(70),
        open(3, "h", 0, 0, 4),
        read(4, &[b"h"]),
    ];
    assert_eq!(
        rows(&calls),
        [
            "1 open /data/f - Some(0)",
            "2 Write 1 stdout Some(0) 1 a",
            "3 file 1..1 4 /data/f RDWR 10..None 0/0 0/0 None",
            "4 Read 4 - None 10 what is 4?",
            "5 Write 1 stdout None 1 b",
            "6 stat /data/g - Some(0)",
            "8 open /data/h - Some(0)",
            "9 Read 4 /data/h Some(0) 1 h",
            "end file 8..9 4 /data/h RDWR 80..None 1/1 0/0 None",
        ]
    );
}

/// A file that was opened after the gap and before the segment ended was forgotten.
#[test]
fn a_segment_takes_nothing_from_what_was_opened_since() {
    let calls = record(&[gap(), open(3, "f", 0, 0, 4), write(4, b"a", 1), close(4)]);
    let records = records(&calls);
    let mut files = Files::at_start(&process_start());
    let mut table = Descriptors::at_start(&process_start());
    follow(&mut files, &records[..2]);
    records[..2].iter().for_each(|record| table.apply(record));
    files.found(&table.table());
    assert_eq!(
        follow(&mut files, &records[2..]),
        [
            "3 Write 4 /data/f Some(0) 1 a",
            "4 file 2..4 4 /data/f RDWR 20..Some(40) 0/0 1/1 None",
        ]
    );
}

#[test]
fn a_segment_says_what_missing_records_hid() {
    let calls = record(&[
        read(4, &[b"f"]),
        seek(4, 9),
        write(4, b"g", 1),
        read(8, &[b"?"]),
    ]);
    let records = records(&calls);
    let table = [timecraft_segment::descriptors::Descriptor {
        fd: 4,
        path: "/data/f".to_owned(),
        socket: false,
    }];
    let mut files = Files::at_start(&process_start());
    let mut lost = Vec::new();
    let Ok(()) = files.lose(|row| {
        lost.push(matches!(row, Row::File(_)));
        Ok::<(), Infallible>(())
    });
    assert!(lost.is_empty());
    files.found(&table);
    // Whether it appends is not known, so neither is where its writes go.
    let expected = [
        "1 Read 4 /data/f None 1 f",
        "3 Write 4 /data/f None 1 g",
        "4 Read 8 - None 1 ?",
    ];
    assert_eq!(follow(&mut files, &records), expected);
    // What is known is not overwritten.
    let before = files.clone();
    files.found(&[]);
    assert_eq!(files, before);
    assert_eq!(
        follow(&mut Files::at_segment(&process_start(), &table), &records),
        expected
    );
}

#[test]
fn opening_and_closing_leaves_nothing_behind() {
    let mut files = Files::at_start(&process_start());
    let before = files.save().unwrap();
    for _ in 0..1000 {
        let calls = record(&[open(3, "f", 0, 0, 4), write(4, b"x", 1), close(4)]);
        assert_eq!(follow(&mut files, &records(&calls)).len(), 3);
    }
    assert_eq!(files.save().unwrap(), before);
}

#[test]
fn only_so_many_descriptors_are_followed() {
    let most = u32::try_from(MAX_DESCRIPTORS).unwrap();
    let opens: Vec<Call> = (4..most).map(|fd| open(3, "f", 0, 0, fd)).collect();
    let calls = record(&opens);
    let mut files = Files::at_start(&process_start());
    assert_eq!(follow(&mut files, &records(&calls)).len(), opens.len());
    let calls = record(&[open(3, "g", 0, 0, most), read(most, &[b"?"]), close(4)]);
    let lines = follow(&mut files, &records(&calls));
    assert_eq!(
        lines,
        [
            "1 open /data/g - Some(0)",
            "1 file 1..1 65536 /data/g RDWR 10..None 0/0 0/0 None",
            "2 Read 65536 - None 1 ?",
            "3 file 1..3 4 /data/f RDWR 10..Some(30) 0/0 0/0 None",
        ]
    );
    assert_eq!(files.open().count(), MAX_DESCRIPTORS - 5);
}

#[test]
fn state_of_another_version_is_refused() {
    let saved = String::from_utf8(Files::default().save().unwrap()).unwrap();
    assert_eq!(Files::restore(saved.as_bytes()).unwrap(), Files::default());
    let later = r#"{"version":1000,"state":"as it pleases"}"#;
    assert!(matches!(
        Files::restore(later.as_bytes()),
        Err(StateError::OtherVersion {
            found: 1000,
            known: files::VERSION
        })
    ));
    for broken in ["", "{}", r#"{"version":2}"#, &saved[..saved.len() - 1]] {
        assert!(matches!(
            Files::restore(broken.as_bytes()),
            Err(StateError::Malformed(_))
        ));
    }
}

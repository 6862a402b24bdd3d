//! Logs that are not as they were written, and calls that were not recorded.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use timecraft_query::{ReadError, Session};
use timecraft_segment::{Gap, LogOptions, Registry, UnixNs};

use crate::file_recordings::FileRecordings;
use crate::guest::{Guest, start};
use crate::{session, text};

const EDITOR: &str = "process_id = '019b7ca9-8c88-7000-8000-000000000000'";

/// The segments of the editor, by number.
fn segments(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("processes/2026-01-02/019b7ca9-8c88-7000-8000-000000000000");
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    names.sort();
    names
}

/// Flips a bit of a file.
fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The position of the first batch: its magic number.
fn first_batch(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.windows(4).position(|four| four == b"TCB1").unwrap()
}

async fn skip(session: &Session) {
    let set = "SET timecraft.on_damage = 'skip'";
    session
        .context()
        .sql(set)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
}

/// What a statement that must fail says, and what to do about it.
async fn fails(session: &Session, sql: &str) -> (String, Option<String>) {
    let frame = session.context().sql(sql).await;
    let error = match frame {
        Ok(frame) => frame.collect().await.unwrap_err(),
        Err(error) => error,
    };
    let mut said = error.to_string();
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    let mut hint = None;
    while let Some(error) = source {
        said.push_str(&error.to_string());
        hint = hint.or(error.downcast_ref::<ReadError>().and_then(ReadError::hint));
        source = error.source();
    }
    (said, hint)
}

/// Statements over every table that is made of records.
const STATEMENTS: [&str; 8] = [
    "select count(*) from host_calls",
    "select count(args) from host_calls",
    "select count(path) from files",
    "select count(path) from file_operations",
    "select count(position) from file_data",
    "select count(payload) from file_data",
    "select count(*) from denials",
    "select count(*) from log_lines",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_an_error_or_skipped_and_remembered() {
    let recordings = FileRecordings::new();
    let session = session(&recordings.registry);
    let mut before = Vec::new();
    for sql in STATEMENTS {
        before.push(text(&session, sql).await[0].parse::<i64>().unwrap());
    }
    let damaged = &segments(recordings.folder.path())[1];
    // In the columns of the second segment's first batch.
    let at = first_batch(damaged);
    flip(damaged, at + 128 + 60);

    let (said, hint) = fails(&session, "select count(outcome) from host_calls").await;
    assert!(said.contains("00000001.seg is damaged at byte"), "{said}");
    assert!(hint.unwrap().contains("SET timecraft.on_damage = 'skip'"));
    assert_eq!(session.take_damage_met(), []);

    skip(&session).await;
    for (sql, before) in STATEMENTS.into_iter().zip(before) {
        let after: i64 = text(&session, sql).await[0].parse().unwrap();
        // Of what is made of records, those of one batch may be missing.
        assert!(
            after <= before && (after > 0 || before == 0),
            "{sql}: {after} of {before}"
        );
    }
    let met = session.take_damage_met();
    assert_eq!(met.len(), 1, "{met:?}");
    assert_eq!(
        (&met[0].damage.path, met[0].damage.position),
        (damaged, at as u64)
    );
    assert_eq!(session.take_damage_met(), []);
    drop(recordings.live);
}

/// What comes after damage is followed from the descriptors of the next segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_damage_has_its_path() {
    let recordings = FileRecordings::new();
    let session = session(&recordings.registry);
    // All of the second segment is gone.
    let lost = &segments(recordings.folder.path())[1];
    fs::remove_file(lost).unwrap();
    let (said, _) = fails(&session, "select count(*) from files").await;
    assert!(said.contains("records are missing"), "{said}");

    skip(&session).await;
    let sql = format!(
        "select record_offset, path, position, size from file_data where {EDITOR} order by record_offset"
    );
    let rows = text(&session, &sql).await;
    assert_eq!(rows[0], "3|/data/sub/a.txt|0|5");
    // Its position is not known any more, its path is.
    assert!(
        rows.contains(&"10004|/data/sub/a.txt||7".to_owned()),
        "{rows:#?}"
    );
    assert!(
        rows.contains(&"10006|/data/sub/a.txt|1|6".to_owned()),
        "{rows:#?}"
    );
    let files = format!("select path, close_time is null from files where {EDITOR} order by 1");
    let expected = [
        "/data/sub|true",
        "/data/sub/a.txt|true",
        "/data/sub/log|false",
    ];
    assert_eq!(text(&session, &files).await, expected);
    assert_eq!(session.take_damage_met().len(), 1);
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_by_reading_all_that_is_asked_for() {
    let recordings = FileRecordings::new();
    let session = session(&recordings.registry);
    let all = "select count(*) from system.damage";
    assert_eq!(text(&session, all).await, ["0"]);
    let segments = segments(recordings.folder.path());
    let at = first_batch(&segments[1]);
    flip(&segments[1], at + 128 + 60);
    let sql = "select path like '%00000001.seg', position, what, first_missing_offset > 0, \
               last_missing_offset > first_missing_offset from system.damage";
    for _ in 0..2 {
        let rows = text(&session, sql).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(rows[0].starts_with(&format!("true|{at}|")), "{rows:?}");
        assert!(rows[0].ends_with("|true|true"), "{rows:?}");
        // The setting makes no difference, and to look is not to skip.
        skip(&session).await;
        assert_eq!(session.take_damage_met(), []);
    }
    // Others are not read.
    let others = format!("select count(*) from system.damage where not {EDITOR}");
    assert_eq!(text(&session, &others).await, ["0"]);
    let by_id = format!("explain analyze select * from system.damage where {EDITOR}");
    let plan = text(&session, &by_id).await.join("\n");
    assert!(
        plan.contains("processes=3 total \u{2192} 1 matched"),
        "{plan}"
    );

    // Nothing of it can be read.
    for path in &segments {
        fs::write(path, "no segment").unwrap();
    }
    let rows = text(&session, "select path, what from system.damage").await;
    assert!(!rows.is_empty());
    assert_eq!(
        text(&session, "select count(*) from processes").await,
        ["2"]
    );
    assert!(!session.take_damage_met().is_empty());
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_a_row_and_ends_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let process = start(0);
    let mut guest = Guest::new(&registry, &process, &LogOptions::default());
    guest.open_at(3, "f", 0, 0, 4);
    guest.write(1, b"before the ");
    guest.gap(&Gap {
        calls: 7,
        from_ns: 2_000_000,
        to_ns: 5_000_000,
        reason: "no space left on device".to_owned(),
    });
    guest.write(1, b"gap\n");
    guest.read(4, b"whose?");
    let session = session(&registry);
    assert_eq!(
        text(
            &session,
            "select record_offset, elapsed_ns, duration_ns, calls, reason, time from system.gaps"
        )
        .await,
        [format!(
            "3|2000000|3000000|7|no space left on device|{}",
            moment(process.start_time, 2_000_000)
        )]
    );
    assert_eq!(
        text(
            &session,
            "select record_offset, path, position from file_data order by 1"
        )
        .await,
        ["2|stdout|0", "4|stdout|", "5||"]
    );
    assert_eq!(
        text(
            &session,
            "select path, close_time is null, end_record_offset from files"
        )
        .await,
        ["/data/f|true|1"]
    );
    assert_eq!(
        text(&session, "select line, text from log_lines order by line").await,
        ["1|before the", "2|gap"]
    );
    let sql = "explain analyze select * from system.gaps where record_offset < 3";
    assert!(
        text(&session, sql)
            .await
            .join("\n")
            .contains("output_rows=0")
    );
    assert_eq!(
        text(&session, "select count(*) from system.gaps where calls > 7").await,
        ["0"]
    );
}

fn moment(start: UnixNs, ns: u64) -> String {
    assert_eq!(start.0 % 1_000_000_000, 0);
    format!("2026-01-02T03:04:05.{:03}Z", ns / 1_000_000)
}

/// A bit of a header costs no record, and of what is open only what the segments before tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_without_its_header_has_its_records() {
    let recordings = FileRecordings::new();
    let session = session(&recordings.registry);
    let calls = "select count(*), max(record_offset) from host_calls";
    let before = text(&session, calls).await;
    flip(&segments(recordings.folder.path())[3], 40);
    skip(&session).await;
    assert_eq!(text(&session, calls).await, before);
    let of = |columns: &str| {
        format!(
            "select {columns} from file_data where {EDITOR} and record_offset between 10000 and 10010 \
             order by record_offset"
        )
    };
    // From the beginning on all is known; from the segment on its paths are not.
    assert_eq!(
        text(&session, &of("path, position")).await,
        ["/data/sub/a.txt|5", "/data/sub/a.txt|1", "/data/sub/log|"]
    );
    assert_eq!(text(&session, &of("path")).await.len(), 3);
    let place = "select position, what, first_missing_offset is null from system.damage";
    assert_eq!(
        text(&session, place).await,
        ["8|the header does not match its checksum|true"]
    );
    drop(recordings.live);
}

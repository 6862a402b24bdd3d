//! What filters spare, as `EXPLAIN ANALYZE` shows it.

use crate::file_recordings::FileRecordings;
use crate::recordings::{READS, Recordings};
use crate::socket_recordings::SocketRecordings;
use crate::{session, text};

/// What a scan says of itself.
#[derive(Debug)]
struct Shown {
    plan: String,
}

impl Shown {
    async fn of(session: &timecraft_query::Session, sql: &str) -> Shown {
        Shown {
            plan: text(session, &format!("explain analyze {sql}"))
                .await
                .join("\n"),
        }
    }

    fn bytes_read(&self) -> f64 {
        let at = self.plan.find("bytes_read=").unwrap();
        let words: Vec<&str> = self.plan[at + 11..]
            .split([',', ']', ' '])
            .take(2)
            .collect();
        let number: f64 = words[0].parse().unwrap();
        match words[1] {
            "K" => number * 1e3,
            "M" => number * 1e6,
            _ => number,
        }
    }

    /// `name=12 total → 3 matched`, as total and matched.
    fn pruned(&self, name: &str) -> (usize, usize) {
        let name = format!(" {name}=");
        let shown = self.plan.match_indices(&name).find_map(|(at, _)| {
            let (shown, _) = self.plan[at + name.len()..].split_once(" matched")?;
            // The plan itself has fields of the same names.
            shown
                .split(' ')
                .nth(1)
                .filter(|word| *word == "total")
                .map(|_| shown)
        });
        let shown = shown.unwrap_or_else(|| panic!("{}", self.plan));
        let mut numbers = shown.split(' ').filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_reach_processes_segments_and_batches() {
    let recordings = Recordings::new();
    let session = session(&recordings.registry);
    let worker = "019b7ca9-8c88-7000-8000-000000000000";
    let all = Shown::of(&session, "select count(*) from host_calls").await;
    let (batches, read) = all.pruned("batches");
    assert!(batches > 20 && batches == read, "{all:?}");
    let (segments, _) = all.pruned("segments");
    assert!(segments > 5);

    // A process by its id: no other is opened.
    let by_id = format!("select count(*) from host_calls where process_id = '{worker}'");
    let shown = Shown::of(&session, &by_id).await;
    assert_eq!(shown.pruned("processes"), (4, 1), "{shown:?}");

    // A process by time: those that started later are not opened.
    for moment in ["'2025-12-31T00:00:00Z'", "now() - interval '100 years'"] {
        for table in [
            "host_calls where time",
            "log_lines where time",
            "processes where start_time",
        ] {
            let shown = Shown::of(&session, &format!("select 1 from {table} < {moment}")).await;
            assert_eq!(shown.pruned("processes"), (4, 0), "{shown:?}");
        }
    }

    // What only some batches have.
    for (predicate, most) in [
        ("function = 'path_rename'", 1),
        ("function in ('path_open', 'path_rename')", 4),
        ("errno <> 0", 5),
        ("errno = 44", 5),
        ("error is not null", 5),
        ("record_offset between 1000 and 1010", 2),
        ("record_offset < 10", 4),
        ("fd = 3", 9),
    ] {
        let shown = Shown::of(
            &session,
            &format!("select count(*) from host_calls where {predicate}"),
        )
        .await;
        let (total, read) = shown.pruned("batches");
        assert_eq!(total, batches);
        assert!(read > 0 && read <= most, "{predicate}: {shown:?}");
        assert!(
            shown.pruned("segments").1 < segments,
            "{predicate}: {shown:?}"
        );
        assert!(shown.plan.contains("predicate="), "{shown:?}");
    }

    // Time within a process: the reads come milliseconds after the clocks.
    let times = format!(
        "select min(elapsed_ns), min(time) from host_calls where process_id = '{worker}' and function = 'path_open'"
    );
    let row = text(&session, &times).await.remove(0);
    let (elapsed, time) = row.split_once('|').unwrap();
    for predicate in [
        format!("elapsed_ns >= {elapsed}"),
        format!("time >= '{time}'"),
    ] {
        let shown = Shown::of(&session, &format!("{by_id} and {predicate}")).await;
        let (total, read) = shown.pruned("batches");
        assert!(read < total && read > 0, "{predicate}: {shown:?}");
        let calls = text(
            &session,
            &format!("{by_id} and {predicate} and function = 'fd_read'"),
        )
        .await;
        assert_eq!(calls, [READS.to_string()]);
    }
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_are_not_asked_for_are_not_read() {
    let recordings = Recordings::new();
    let session = session(&recordings.registry);
    let bytes = async |sql: &str| Shown::of(&session, sql).await.bytes_read();
    let columns =
        bytes("select sum(bytes), min(fd) from host_calls where function = 'fd_read'").await;
    let payloads = bytes("select max(args) from host_calls where function = 'fd_read'").await;
    assert!(columns > 0.0 && payloads > columns, "{columns} {payloads}");
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_about_files_read_what_their_rows_are_made_of() {
    let recordings = FileRecordings::new();
    let session = session(&recordings.registry);
    let all = Shown::of(&session, "select count(*) from host_calls").await;
    let (batches, _) = all.pruned("batches");
    let (segments, _) = all.pruned("segments");
    assert!(batches > 20 && segments > 10, "{all:?}");
    for (sql, most_batches, most_segments) in [
        // Batches of nothing but clock readings are in no table.
        ("select * from files", 10, segments),
        ("select * from file_operations", 10, segments),
        ("select path, size from file_data", 10, segments),
        // Where positions are wanted, what moves them is.
        ("select position from file_data", 10, segments),
        // A failure in each of two segments, and a call in flight.
        ("select * from denials", 3, 3),
        ("select * from system.gaps", 0, 0),
        // By what a call did, and which it was.
        (
            "select path from file_operations where operation = 'rename'",
            3,
            2,
        ),
        (
            "select path from file_operations where error = 'ENOENT'",
            5,
            4,
        ),
        ("select path from file_data where fd = 6", 4, 4),
        (
            "select path from file_data where direction = 'read' and fd = 5",
            4,
            4,
        ),
        ("select path from file_data where record_offset < 10", 6, 4),
        (
            "select path from files where record_offset between 10000 and 10010",
            8,
            segments - 2,
        ),
        (
            "select path from files where open_time < '2020-01-01'",
            0,
            0,
        ),
    ] {
        let shown = Shown::of(&session, sql).await;
        let (total, read) = shown.pruned("batches");
        assert!(read <= most_batches, "{sql}: {read} batches; {shown:?}");
        if !sql.contains("open_time") {
            assert_eq!(total, batches, "{sql}: {shown:?}");
            let (total, read) = shown.pruned("segments");
            assert_eq!(total, segments, "{sql}: {shown:?}");
            assert!(read <= most_segments, "{sql}: {read} segments; {shown:?}");
        }
    }
    drop(recordings.live);
}

/// Bytes are read of the batches that have a row which passed all else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_files_are_read_last() {
    let recordings = Recordings::new();
    let session = session(&recordings.registry);
    let read = async |sql: &str| Shown::of(&session, sql).await.bytes_read();
    let sizes = read("select sum(size) from file_data where direction = 'read'").await;
    let some = "select max(payload) from file_data where direction = 'read' and size > 100";
    let all = "select max(payload) from file_data where direction = 'read'";
    // No read is as large.
    assert!((read(some).await - sizes).abs() < 1.0);
    assert!(read(all).await > sizes);
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_and_a_top_k_prune_what_they_have_learned() {
    let recordings = Recordings::new();
    let session = session(&recordings.registry);
    // The hash table is made of the processes, and then says which of them has calls to look for.
    for sql in [
        "select count(*) from host_calls h join processes p using (process_id) where p.name = 'chat'",
        "select count(*) from processes p join host_calls h using (process_id) where p.name = 'chat'",
    ] {
        let shown = Shown::of(&session, sql).await;
        let of_calls = shown.plan.split("host_calls, ").nth(1).unwrap().to_owned();
        assert!(of_calls.contains("DynamicFilter"), "{shown:?}");
        assert_eq!(
            Shown { plan: of_calls }.pruned("processes"),
            (4, 1),
            "{shown:?}"
        );
        assert_eq!(text(&session, sql).await, ["13"]);
    }

    let sql = "select record_offset from host_calls order by record_offset desc limit 1";
    let shown = Shown::of(&session, sql).await;
    assert!(shown.plan.contains("DynamicFilter"), "{shown:?}");
    assert_eq!(text(&session, sql).await, ["30005"]);
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_about_sockets_read_what_can_matter_to_them() {
    let recordings = SocketRecordings::new();
    let session = session(&recordings.registry);
    let all = Shown::of(&session, "select count(*) from host_calls").await;
    let (batches, _) = all.pruned("batches");
    let (segments, _) = all.pruned("segments");
    assert!(batches > 20 && segments > 10, "{all:?}");
    for (sql, most_batches, most_processes) in [
        // Batches of clock readings say nothing of sockets, and files alone have none.
        ("select * from connections", 10, 5),
        ("select * from socket_data", 10, 5),
        ("select * from tls_sessions", 10, 5),
        ("select * from name_lookups", 10, 5),
        ("select * from warnings", 10, 5),
        ("select * from zeek.conn", 10, 5),
        // Past the last connection that is asked for, and past its end.
        ("select * from connections where connection = 4", 8, 5),
        ("select * from socket_data where connection = 4", 8, 5),
        ("select * from tls_sessions where connection = 4", 8, 5),
        (
            "select size from socket_data where record_offset < 10",
            5,
            5,
        ),
        (
            "select state from connections where open_time < '2020-01-01'",
            0,
            0,
        ),
        (
            "select size from socket_data where time < '2020-01-01'",
            0,
            0,
        ),
    ] {
        let shown = Shown::of(&session, sql).await;
        let (_, read) = shown.pruned("processes");
        assert!(read <= most_processes, "{sql}: {read} processes; {shown:?}");
        let (total, read) = shown.pruned("batches");
        assert!(read <= most_batches, "{sql}: {read} batches; {shown:?}");
        if most_processes > 0 {
            assert_eq!(total, batches, "{sql}: {shown:?}");
            assert_eq!(shown.pruned("segments").0, segments, "{sql}: {shown:?}");
        }
    }
    // Bytes are read of the batches that have a row which passed all else.
    let read = async |sql: &str| Shown::of(&session, sql).await.bytes_read();
    let none = read("select payload from socket_data where size > 100000").await;
    let sizes = read("select size from socket_data").await;
    assert!((none - sizes).abs() < 1.0, "{none} {sizes}");
    drop(recordings.live);
}

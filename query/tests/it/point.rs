//! One statement sees one point, and every point since.

use std::time::Duration;

use timecraft_segment::{LogOptions, Registry};

use crate::guest::{Guest, small_batches, start};
use crate::{session, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_sees_what_returned_before_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let mut guest = Guest::new(&registry, &start(0), &small_batches());
    for n in 1..=30 {
        for _ in 0..97 {
            guest.clock();
        }
        let counted = text(
            &session,
            "select count(*), max(record_offset) from host_calls",
        )
        .await;
        assert_eq!(counted, [format!("{}|{}", n * 97, n * 97)]);
    }
}

/// While the guest writes, with buffers that are filled and recycled all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_of_a_statement_see_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let mut guest = Guest::new(&registry, &start(0), &small_batches());
    // Of nothing there is no last.
    guest.write(1, b"line\n");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sql = "select (select count(*) from host_calls) as a, \
               (select max(record_offset) from host_calls) as b, \
               (select count(*) from log_lines) \
               + (select count(*) from host_calls where outcome = 'in flight') as c, \
               (select count(distinct record_offset) from host_calls) as d, \
               (select records - 1 from processes) as e, \
               (select sum(records) - 1 from segments) as f";
    let runtime = tokio::runtime::Handle::current();
    let mut last = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // In bursts that fill a buffer; without a rest the log would grow faster than it is read.
                for _ in 0..1000 {
                    guest.write(1, b"line\n");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // The guest must stop even where a query fails.
        let _stop = OnDrop(&stop);
        for _ in 0..15 {
            let row = runtime.block_on_in_place(&session, sql);
            let numbers: Vec<u64> = row.split('|').map(|n| n.parse().unwrap()).collect();
            assert!(numbers.iter().all(|n| *n == numbers[0]), "{row}");
            assert!(numbers[0] >= last);
            last = numbers[0];
        }
    });
    assert!(last > 0);
}

struct OnDrop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

trait BlockOn {
    fn block_on_in_place(&self, session: &timecraft_query::Session, sql: &str) -> String;
}

impl BlockOn for tokio::runtime::Handle {
    fn block_on_in_place(&self, session: &timecraft_query::Session, sql: &str) -> String {
        tokio::task::block_in_place(|| self.block_on(text(session, sql))).remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_runs_twice_gives_its_rows_twice() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let mut guest = Guest::new(&registry, &start(0), &LogOptions::default());
    guest.clock();
    let frame = session
        .context()
        .sql("select 1 from host_calls")
        .await
        .unwrap();
    assert_eq!(frame.clone().count().await.unwrap(), 1);
    guest.clock();
    // The same data frame is another statement when it is run again.
    assert_eq!(frame.count().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_an_end_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let mut guest = Guest::new(&registry, &start(0), &LogOptions::default());
    guest.clock();
    drop(guest);
    let row = text(
        &session,
        "select status, exit_code is null, end_time >= start_time from processes",
    );
    assert_eq!(row.await, ["lost|true|true"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_names_the_process_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let process = start(0);
    let mut guest = Guest::new(&registry, &process, &LogOptions::default());
    guest.clock();
    drop(guest);
    let file = registry
        .process_folder(process.process_id)
        .join("00000000.seg");
    std::fs::write(&file, b"garbage").unwrap();
    let frame = session
        .context()
        .sql("select * from host_calls")
        .await
        .unwrap();
    let error = frame.collect().await.unwrap_err();
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(text.contains(&process.process_id.to_string()), "{text}");
    assert!(
        text.contains("00000000.seg is not a timecraft segment"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_dropped_ends() {
    use futures::StreamExt;
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::at(folder.path());
    let session = session(&registry);
    let mut guest = Guest::new(&registry, &start(0), &small_batches());
    for _ in 0..50_000 {
        guest.clock();
    }
    let frame = session
        .context()
        .sql("select args from host_calls")
        .await
        .unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    // The runtime waits for its threads when the test ends: a thread that did not would hang it.
    drop(stream);
}

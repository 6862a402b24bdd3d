//! Statements with parameters, as the command line gives them: as text.

use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;

use crate::recordings::{READS, Recordings};
use crate::session;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_becomes_the_type_of_the_column() {
    let recordings = Recordings::new();
    let session = session(&recordings.registry);
    for (predicate, value, expected) in [
        ("function = $p", "fd_read", READS),
        ("fd = $p and function = 'fd_read'", "4", READS),
        ("errno = $p", "44", 1),
        (
            "$p < time and function = 'fd_read'",
            "2026-01-02T03:04:05Z",
            READS,
        ),
        ("time < $p", "2026-01-02", 0),
        (
            "process_id = $p and function = 'fd_read'",
            "019b7ca9-8c88-7000-8000-000000000000",
            READS,
        ),
        ("record_offset < $p and process_id like '%000'", "11", 10),
        (
            "function = 'fd_read' and bytes between $p and 1000",
            "100",
            READS,
        ),
    ] {
        let sql = format!("select 1 from host_calls where {predicate}");
        let parameters: ParamValues = vec![("p", ScalarValue::from(value))].into();
        let frame = session.context().sql(&sql).await.unwrap();
        let frame = frame.with_param_values(parameters).unwrap();
        let rows = frame.count().await.unwrap();
        assert_eq!(rows, expected, "{predicate} with {value}");
    }
}

//! Runs the `.slt` files.

use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer,
    default_validator,
};
use timecraft_query::Session;
use timecraft_segment::Registry;

use crate::file_recordings::FileRecordings;
use crate::recordings::Recordings;
use crate::session;
use crate::socket_recordings::SocketRecordings;

struct Database {
    session: Session,
}

/// An error as one line, with what is behind it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl From<DataFusionError> for Failed {
    fn from(error: DataFusionError) -> Self {
        Failed(error.strip_backtrace().replace('\n', " "))
    }
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let frame = self.session.context().sql(sql).await?;
        let width = frame.schema().fields().len();
        let batches = frame.collect().await?;
        let format = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &format).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let cell = |column: &ArrayFormatter<'_>| match column.value(row).to_string() {
                    text if text.is_empty() => "(empty)".to_owned(),
                    text => text,
                };
                rows.push(columns.iter().map(cell).collect());
            }
        }
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; width],
            rows,
        })
    }

    async fn shutdown(&mut self) {}
}

async fn run(file: &str, registry: &Registry) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/slt")
        .join(file);
    let mut runner = Runner::new(|| async {
        Ok(Database {
            session: session(registry),
        })
    });
    if std::env::var_os("TIMECRAFT_BLESS").is_some() {
        let (columns, normal) = (default_column_validator, default_normalizer);
        runner
            .update_test_file(&path, " ", default_validator, normal, columns)
            .await
            .unwrap();
    } else if let Err(error) = runner.run_file_async(&path).await {
        panic!("{}", error.display(false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded() {
    let recordings = Recordings::new();
    for file in [
        "processes.slt",
        "modules.slt",
        "segments.slt",
        "host_calls.slt",
        "log_lines.slt",
    ] {
        run(file, &recordings.registry).await;
    }
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files() {
    let recordings = FileRecordings::new();
    for file in [
        "files.slt",
        "file_operations.slt",
        "file_data.slt",
        "denials.slt",
        "system.slt",
    ] {
        run(file, &recordings.registry).await;
    }
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets() {
    let recordings = SocketRecordings::new();
    for file in [
        "connections.slt",
        "socket_data.slt",
        "name_lookups.slt",
        "dns_messages.slt",
        "http_exchanges.slt",
        "tls_sessions.slt",
        "warnings.slt",
        "zeek.slt",
        "otel.slt",
        "ecs.slt",
    ] {
        run(file, &recordings.registry).await;
    }
    drop(recordings.live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions() {
    let folder = tempfile::tempdir().unwrap();
    run("functions.slt", &Registry::at(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_there_is_anything() {
    let folder = tempfile::tempdir().unwrap();
    run("empty.slt", &Registry::at(folder.path().join("not there"))).await;
}

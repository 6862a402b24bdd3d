//! Where rows go: to the stream of a partition, until nobody wants more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, PruningMetrics, RecordOutput,
};
use timecraft_segment::{Chunk, Projection, Snapshot};
use tokio::sync::mpsc::Sender;

use super::Scan;
use super::filter::Stage;

/// Whether to go on.
pub(crate) type Step<T = ()> = Result<T, Stop>;

/// Why to stop.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The limit is reached, or the query was cancelled.
    Enough,
    /// Something went wrong.
    Failed(Box<DataFusionError>),
}

impl<E: Into<DataFusionError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(Box::new(error.into()))
    }
}

/// What a partition counts; `EXPLAIN ANALYZE` shows it.
pub(crate) struct Metrics {
    pub(crate) baseline: BaselineMetrics,
    /// Processes, or modules, considered.
    pub(crate) units: PruningMetrics,
    pub(crate) segments: PruningMetrics,
    /// Chunks: batches of records in segments, and what was read from a tail.
    pub(crate) chunks: PruningMetrics,
    /// Stored bytes of the sections that were read.
    pub(crate) bytes_read: Count,
}

impl Metrics {
    pub(crate) fn new(
        set: &ExecutionPlanMetricsSet,
        partition: usize,
        units: &'static str,
    ) -> Self {
        let pruning = |name: &'static str| MetricBuilder::new(set).pruning_metrics(name, partition);
        Metrics {
            baseline: BaselineMetrics::new(set, partition),
            units: pruning(units),
            segments: pruning("segments"),
            chunks: pruning("batches"),
            bytes_read: MetricBuilder::new(set).counter("bytes_read", partition),
        }
    }

    /// Counts the chunks of a process that are kept, and the segments that they are in.
    pub(crate) fn count_chunks(&self, process: &Snapshot, keep: &[bool]) {
        let kept = keep.iter().filter(|keep| **keep).count();
        self.chunks.add_matched(kept);
        self.chunks.add_pruned(keep.len() - kept);
        self.count_segments(process, |at| keep.get(at) == Some(&true));
    }

    /// Counts the segments of a process, by whether a chunk in them is kept.
    pub(crate) fn count_segments(&self, process: &Snapshot, is_kept: impl Fn(usize) -> bool) {
        let chunks = process.chunks();
        for segment in process.segments() {
            let from = chunks.partition_point(|c| c.summary().first_offset < segment.first_offset);
            let to = chunks.partition_point(|c| c.summary().first_offset <= segment.last_offset);
            if (from..to).any(&is_kept) {
                self.segments.add_matched(1);
            } else {
                self.segments.add_pruned(1);
            }
        }
    }

    /// Counts what was read of a chunk.
    pub(crate) fn count_bytes(&self, chunk: &Chunk, projection: Projection) {
        let summary = chunk.summary();
        let payload = if projection.has(Projection::PAYLOAD) {
            summary.payload_bytes
        } else {
            0
        };
        let bytes = summary.calls_bytes + payload;
        self.bytes_read
            .add(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

/// The rows of one partition, on their way out.
pub(crate) struct Output<'a> {
    scan: &'a Scan,
    whole: Stage,
    stages: Arc<[Stage]>,
    rows: Sender<Result<RecordBatch, DataFusionError>>,
    /// How many rows are still wanted of all partitions together, where there is a limit.
    wanted: Option<Arc<AtomicUsize>>,
    pub(crate) metrics: &'a Metrics,
    /// How long the reader kept this partition waiting.
    pub(crate) blocked: Duration,
}

impl<'a> Output<'a> {
    pub(crate) fn new(
        scan: &'a Scan,
        rows: Sender<Result<RecordBatch, DataFusionError>>,
        wanted: Option<Arc<AtomicUsize>>,
        metrics: &'a Metrics,
    ) -> Step<Self> {
        let whole = Stage::new(scan, &scan.predicates)?;
        let (costly, cheap): (Vec<_>, Vec<_>) = scan.predicates.iter().cloned().partition(|p| {
            collect_columns(p)
                .iter()
                .any(|column| scan.table.is_costly(column.index()))
        });
        let stages = [Stage::new(scan, &cheap)?, Stage::new(scan, &costly)?];
        let stages = stages
            .into_iter()
            .filter(|stage| !stage.is_trivial())
            .collect();
        Ok(Output {
            scan,
            whole,
            stages,
            rows,
            wanted,
            metrics,
            blocked: Duration::ZERO,
        })
    }

    /// The predicates in the order in which to evaluate them, for a table that does so itself and
    /// hands out what passed with [`Self::send`].
    pub(crate) fn stages(&self) -> Arc<[Stage]> {
        Arc::clone(&self.stages)
    }

    /// How many rows a batch should have at most.
    pub(crate) fn batch_rows(&self) -> usize {
        let wanted = self
            .wanted
            .as_ref()
            .map_or(usize::MAX, |n| n.load(Ordering::Relaxed));
        // A batch must have room for a row even while another partition takes the last ones.
        self.scan.batch_size.min(wanted).max(1)
    }

    /// Goes on only while somebody wants rows. Whoever makes none for long must ask.
    pub(crate) fn check(&self) -> Step {
        let enough = self
            .wanted
            .as_ref()
            .is_some_and(|n| n.load(Ordering::Relaxed) == 0);
        if enough || self.rows.is_closed() {
            Err(Stop::Enough)
        } else {
            Ok(())
        }
    }

    /// Hands out those of so many rows, given in all columns of the table, that pass all predicates.
    pub(crate) fn emit(&mut self, rows: usize, columns: &[ArrayRef]) -> Step {
        let passed = self.whole.apply(rows, columns, self.scan)?;
        self.send(passed)
    }

    /// Hands out a batch in the columns of the scan's output, all of whose rows have passed.
    pub(crate) fn send(&mut self, mut batch: RecordBatch) -> Step {
        if batch.num_rows() == 0 {
            return self.check();
        }
        if let Some(wanted) = &self.wanted {
            let rows = batch.num_rows();
            let before = wanted
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                    Some(n.saturating_sub(rows))
                })
                .unwrap_or_else(|n| n);
            match before.min(rows) {
                0 => return Err(Stop::Enough),
                rest => batch = batch.slice(0, rest),
            }
        }
        let batch = batch.record_output(&self.metrics.baseline);
        let since = Instant::now();
        let sent = self.rows.blocking_send(Ok(batch));
        self.blocked += since.elapsed();
        sent.map_err(|_| Stop::Enough)?;
        self.check()
    }
}

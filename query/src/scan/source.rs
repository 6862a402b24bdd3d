//! A scan that runs: a DataFusion data source whose partitions share one queue.
//!
//! Reading and decompressing blocks, so each partition works on a thread for blocking work and hands
//! its batches through a short channel: memory is bounded by a few batches a partition, and a stream
//! that is dropped ends its thread at the next batch or chunk.

use std::any::Any;
use std::fmt::{self, Formatter};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use futures::TryStreamExt;

use super::output::{Metrics, Output, Step, Stop};
use super::pruning::Keys;
use super::work::{Item, Queue, RowsOf, Unit};
use super::{Scan, Table};

/// How many batches a partition is ahead of its reader.
const BATCHES_AHEAD: usize = 2;

/// A scan and the units that it is made of.
#[derive(Clone)]
pub(crate) struct LogSource {
    scan: Arc<Scan>,
    units: Arc<[Unit]>,
    /// How many units were left out when the scan was planned.
    pruned: usize,
    partitions: usize,
    fetch: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

/// What the partitions of one run share.
struct Run {
    queue: Queue,
    wanted: Option<Arc<AtomicUsize>>,
}

impl LogSource {
    pub(crate) fn new(
        scan: Scan,
        units: Vec<Unit>,
        pruned: usize,
        target_partitions: usize,
        fetch: Option<usize>,
    ) -> LogSource {
        let most = if scan.table.splits(&scan) {
            target_partitions
        } else {
            units.len()
        };
        LogSource {
            scan: Arc::new(scan),
            partitions: if units.is_empty() {
                1
            } else {
                target_partitions.min(most).max(1)
            },
            units: units.into(),
            pruned,
            fetch,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn run(&self) -> Run {
        let wanted = self.fetch.map(|n| Arc::new(AtomicUsize::new(n)));
        Run {
            queue: Queue::new(self.units.iter().cloned()),
            wanted,
        }
    }

    /// For a partition that shares nothing with the others: the first does all the work.
    fn run_apart(&self, partition: usize) -> Run {
        if partition == 0 {
            self.run()
        } else {
            Run {
                queue: Queue::new([]),
                wanted: None,
            }
        }
    }

    fn unit_name(&self) -> &'static str {
        match self.scan.table.rows_of() {
            RowsOf::Processes | RowsOf::Logs => "processes",
            RowsOf::Modules => "modules",
        }
    }
}

/// Works until the queue is empty or nobody wants more.
fn work(run: &Run, scan: &Scan, out: &mut Output<'_>) -> Step {
    let table: &dyn Table = scan.table.as_ref();
    while let Some(mut taken) = run.queue.take() {
        out.check()?;
        let item = match taken.unit.clone() {
            Unit::Item(item) => {
                taken.close();
                if matches!(item, Item::Module(_)) {
                    out.metrics.units.add_matched(1);
                }
                item
            }
            Unit::Process(id) => {
                // A join may have learned since planning which processes it wants.
                if scan.pruner.keep(&Keys::processes(&scan.schema, &[id])) == [false] {
                    out.metrics.units.add_pruned(1);
                    continue;
                }
                if table.rows_of() == RowsOf::Logs {
                    taken.close();
                    out.metrics.units.add_matched(1);
                    table.read(&Item::Log(id), scan, out)?;
                    continue;
                }
                let Some(process) = scan.pin.open(id)? else {
                    continue;
                };
                out.metrics.units.add_matched(1);
                if table.splits(scan) {
                    let parts = table.split(&process, scan, out).into_iter();
                    let item = |chunks| Item::Chunks(Arc::clone(&process), chunks);
                    taken.split(parts.map(|chunks| Unit::Item(item(chunks))));
                    continue;
                }
                taken.close();
                Item::Process(process)
            }
        };
        table.read(&item, scan, out)?;
    }
    Ok(())
}

impl DataSource for LogSource {
    fn open(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn create_sibling_state(&self, _config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(self.run()))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let metrics = Metrics::new(&self.metrics, args.partition, self.unit_name());
        if args.partition == 0 {
            metrics.units.add_pruned(self.pruned);
        }
        let scan = Arc::clone(&self.scan);
        let run = args
            .sibling_state
            .and_then(|state| state.downcast::<Run>().ok())
            .unwrap_or_else(|| Arc::new(self.run_apart(args.partition)));
        // The thread is started when the first batch is asked for: a partition that waits for
        // another side of a join holds none.
        let stream = futures::stream::once(async move {
            let mut builder =
                RecordBatchReceiverStream::builder(Arc::clone(&scan.output), BATCHES_AHEAD);
            let rows = builder.tx();
            builder.spawn_blocking(move || {
                let since = Instant::now();
                let mut blocked = std::time::Duration::ZERO;
                let result =
                    Output::new(&scan, rows, run.wanted.clone(), &metrics).and_then(|mut out| {
                        let result = work(&run, &scan, &mut out);
                        blocked = out.blocked;
                        result
                    });
                let busy = since.elapsed().saturating_sub(blocked);
                metrics.baseline.elapsed_compute().add_duration(busy);
                match result {
                    Ok(()) | Err(Stop::Enough) => Ok(()),
                    Err(Stop::Failed(error)) => Err(*error),
                }
            });
            Ok::<_, DataFusionError>(builder.build())
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.scan.output),
            stream,
        )))
    }

    fn fmt_as(&self, t: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        let scan = &self.scan;
        let all = self.units.len() + self.pruned;
        let columns: Vec<_> = scan
            .output
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        let predicates: Vec<_> = scan.predicates.iter().map(ToString::to_string).collect();
        let units = self.unit_name();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(
                    f,
                    "{}, {units}={}/{all}",
                    scan.table.name(),
                    self.units.len()
                )?;
                write!(f, ", projection=[{}]", columns.join(", "))?;
                if !predicates.is_empty() {
                    write!(f, ", predicate={}", predicates.join(" AND "))?;
                }
                if let Some(fetch) = self.fetch {
                    write!(f, ", fetch={fetch}")?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "table={}", scan.table.name())?;
                writeln!(f, "{units}={}/{all}", self.units.len())?;
                if !predicates.is_empty() {
                    writeln!(f, "predicate={}", predicates.join(" AND "))?;
                }
                if let Some(fetch) = self.fetch {
                    writeln!(f, "fetch={fetch}")?;
                }
                Ok(())
            }
        }
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions)
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.scan.output))
    }

    fn scheduling_type(&self) -> SchedulingType {
        // Its channel takes part in tokio's budget.
        SchedulingType::Cooperative
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = self
            .units
            .len()
            .saturating_mul(self.scan.table.rows_guessed());
        let rows = rows.min(self.fetch.unwrap_or(usize::MAX));
        let mut statistics = Statistics::new_unknown(&self.scan.output);
        statistics.num_rows = Precision::Inexact(rows);
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(LogSource {
            fetch: limit,
            ..self.clone()
        }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.metrics.clone()
    }

    fn try_swapping_with_projection(
        &self,
        _projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    /// Takes what a join or a top-k sort learns while the query runs. They check their rows
    /// themselves, so what is taken here only spares work.
    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let unsupported = vec![PushedDown::No; filters.len()];
        let result = FilterPushdownPropagation::with_parent_pushdown_result(unsupported);
        let schema = &self.scan.schema;
        let known = |filter: &Arc<dyn PhysicalExpr>| {
            collect_columns(filter)
                .iter()
                .all(|c| schema.index_of(c.name()).is_ok())
        };
        let mut more = Vec::new();
        for filter in filters.into_iter().filter(known) {
            let filter = reassign_expr_columns(filter, schema)?;
            if !self.scan.predicates.contains(&filter) {
                more.push(filter);
            }
        }
        // A limit counts rows after these filters, so it cannot be kept where they are added.
        if more.is_empty() || self.fetch.is_some() {
            return Ok(result);
        }
        let scan = Arc::new(self.scan.with_predicates(&more));
        Ok(result.with_updated_node(Arc::new(LogSource {
            scan,
            ..self.clone()
        })))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for predicate in &self.scan.predicates {
            recursion = f(predicate)?;
            if recursion == TreeNodeRecursion::Stop {
                break;
            }
        }
        Ok(recursion)
    }
}

impl fmt::Debug for LogSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource")
            .field("scan", &self.scan)
            .field("units", &self.units.len())
            .field("partitions", &self.partitions)
            .field("fetch", &self.fetch)
            .finish_non_exhaustive()
    }
}

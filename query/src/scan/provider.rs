//! A table as DataFusion sees it, and the planning of its scans.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::pruning::{Keys, Pruner};
use super::source::LogSource;
use super::work::{Item, RowsOf, Unit};
use super::{Scan, Table, schema_of};
use crate::blocking::blocking;
use crate::error::ReadError;
use crate::pin::Pins;

/// A table of the registry.
#[derive(Debug)]
pub(crate) struct LogTable {
    table: Arc<dyn Table>,
    schema: SchemaRef,
    pins: Arc<Pins>,
}

impl LogTable {
    pub(crate) fn new(table: Arc<dyn Table>, pins: Arc<Pins>) -> LogTable {
        LogTable {
            schema: schema_of(table.as_ref()),
            table,
            pins,
        }
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Scans evaluate DataFusion's own expressions on every row that they hand out, so all that
        // can be evaluated at all is exact. DataFusion keeps subqueries and volatile functions back.
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        let predicates = filters
            .iter()
            .map(|filter| state.create_physical_expr(filter.clone(), &columns))
            .collect::<Result<Vec<_>>>()?;
        let projection = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let scan = Scan {
            table: Arc::clone(&self.table),
            schema: Arc::clone(&self.schema),
            output: Arc::new(self.schema.project(&projection)?),
            projection,
            pruner: Pruner::new(&predicates, &self.schema),
            predicates,
            pin: self.pins.of(state),
            batch_size: state.config().batch_size(),
        };
        let partitions = state.config().target_partitions();
        let source = blocking(move || {
            let (units, pruned) = units(&scan)?;
            Ok(LogSource::new(scan, units, pruned, partitions, limit))
        });
        Ok(DataSourceExec::from_data_source(source.await?))
    }
}

/// The units of a scan, and how many others there are that cannot have rows.
fn units(scan: &Scan) -> Result<(Vec<Unit>, usize), ReadError> {
    match scan.table.rows_of() {
        rows_of @ (RowsOf::Processes | RowsOf::Logs) => {
            let all = scan.pin.process_ids()?;
            let kept = kept(all, &scan.pruner.keep(&Keys::processes(&scan.schema, all)));
            if rows_of == RowsOf::Processes {
                scan.pin.hold(&kept)?;
            }
            let pruned = all.len() - kept.len();
            Ok((kept.into_iter().map(Unit::Process).collect(), pruned))
        }
        RowsOf::Modules => {
            let all = scan
                .pin
                .registry()
                .module_ids()
                .map_err(ReadError::registry)?;
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            let kept = kept(
                &all,
                &scan.pruner.keep(&Keys::modules(&scan.schema, &names)),
            );
            let pruned = all.len() - kept.len();
            Ok((
                kept.into_iter()
                    .map(|id| Unit::Item(Item::Module(id)))
                    .collect(),
                pruned,
            ))
        }
    }
}

fn kept<T: Copy>(all: &[T], keep: &[bool]) -> Vec<T> {
    all.iter()
        .zip(keep)
        .filter(|(_, keep)| **keep)
        .map(|(unit, _)| *unit)
        .collect()
}

//! Predicates on rows that are being made: evaluated on few columns, before the others exist.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::conjunction_opt;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;

use super::Scan;

/// Predicates that are evaluated together, and the columns that must be made for them.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// The columns, as indices into the table's schema, ascending.
    pub(crate) columns: Vec<usize>,
    /// Their schema.
    pub(crate) schema: SchemaRef,
    /// All predicates in one, in terms of `schema`; none where every row passes.
    predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl Stage {
    /// A stage of these predicates.
    pub(crate) fn new(scan: &Scan, predicates: &[Arc<dyn PhysicalExpr>]) -> Result<Stage> {
        let needed = predicates.iter().flat_map(collect_columns);
        let mut columns: Vec<usize> = needed.map(|column| column.index()).collect();
        columns.sort_unstable();
        columns.dedup();
        let schema = Arc::new(scan.schema.project(&columns)?);
        let predicate = conjunction_opt(predicates.iter().cloned())
            .map(|all| reassign_expr_columns(all, &schema))
            .transpose()?;
        Ok(Stage {
            columns,
            schema,
            predicate,
        })
    }

    /// Whether there is nothing to evaluate.
    pub(crate) fn is_trivial(&self) -> bool {
        self.predicate.is_none()
    }

    /// Which rows pass; none where all do. Null does not pass.
    pub(crate) fn mask(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(predicate) = &self.predicate else {
            return Ok(None);
        };
        let value = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
        let mask = datafusion::common::cast::as_boolean_array(&value)?;
        // True counts only where it is not null; a bit under a null may be anything.
        let mask = match mask.nulls() {
            Some(nulls) => BooleanArray::new(mask.values() & nulls.inner(), None),
            None => mask.clone(),
        };
        Ok((mask.true_count() < mask.len()).then_some(mask))
    }

    /// The rows that pass, in the columns of `scan`'s output, of rows in all columns of the table.
    pub(crate) fn apply(&self, rows: usize, all: &[ArrayRef], scan: &Scan) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = |columns: &[usize], schema: &SchemaRef| {
            let arrays = columns
                .iter()
                .filter_map(|&at| all.get(at).cloned())
                .collect();
            RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        };
        let mask = self.mask(&batch(&self.columns, &self.schema)?)?;
        let output = batch(&scan.projection, &scan.output)?;
        Ok(match mask {
            Some(mask) => filter_record_batch(&output, &mask)?,
            None => output,
        })
    }
}

//! What all tables have in common: planning, pruning, spreading the work, filtering, handing out.
//!
//! [`Table`] is what a table has to say. [`provider::LogTable`] shows it to DataFusion and plans a
//! [`Scan`] of it; [`source::LogSource`] runs the scan as the source of a `DataSourceExec`; its
//! partitions take [`work::Unit`]s from one queue, on threads that may block, and give rows to an
//! [`output::Output`]. Filters are evaluated by DataFusion's own expressions, never by ours.

pub(crate) mod filter;
pub(crate) mod output;
pub(crate) mod provider;
pub(crate) mod pruning;
pub(crate) mod source;
pub(crate) mod work;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use timecraft_segment::snapshot::Snapshot;
pub(crate) use timecraft_udfs::sql::columns::list_of;

use crate::pin::Pin;
use output::{Output, Step};
use pruning::Pruner;
use work::{Item, RowsOf};

/// A table: what it is called, what its columns are, and how its rows are made.
pub(crate) trait Table: Debug + Send + Sync + 'static {
    /// Its name in SQL.
    fn name(&self) -> &'static str;

    /// What one row is, for people.
    fn description(&self) -> &'static str;

    /// Its columns, in order.
    fn columns(&self) -> Vec<Column>;

    /// What its rows are rows of.
    fn rows_of(&self) -> RowsOf {
        RowsOf::Processes
    }

    /// About how many rows a process or module has. Only to tell small tables from large ones: a join
    /// makes its hash table of the smaller.
    fn rows_guessed(&self) -> usize {
        1
    }

    /// Whether the rows of one process that this scan asks for can be made apart, from some of its
    /// chunks each.
    fn splits(&self, _scan: &Scan) -> bool {
        false
    }

    /// Chunks of the process that are read together and may have rows that are asked for, where the
    /// table splits.
    fn split(&self, _process: &Snapshot, _scan: &Scan, _out: &Output<'_>) -> Vec<Range<usize>> {
        Vec::new()
    }

    /// Whether a column is so costly to make that predicates on others should be evaluated first.
    fn is_costly(&self, _column: usize) -> bool {
        false
    }

    /// Makes the rows of an item.
    fn read(&self, item: &Item, scan: &Scan, out: &mut Output<'_>) -> Step;
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    pub(crate) description: &'static str,
}

impl Column {
    pub(crate) fn new(name: &'static str, data_type: DataType, description: &'static str) -> Self {
        Column {
            name,
            data_type,
            nullable: false,
            description,
        }
    }

    /// Text. `Utf8View` is what DataFusion compares, groups and hands on fastest.
    pub(crate) fn text(name: &'static str, description: &'static str) -> Self {
        Column::new(name, DataType::Utf8View, description)
    }

    /// A 64-bit number.
    pub(crate) fn long(name: &'static str, description: &'static str) -> Self {
        Column::new(name, DataType::Int64, description)
    }

    /// A 32-bit number.
    pub(crate) fn int(name: &'static str, description: &'static str) -> Self {
        Column::new(name, DataType::Int32, description)
    }

    /// A point in time.
    pub(crate) fn time(name: &'static str, description: &'static str) -> Self {
        Column::new(name, time_type(), description)
    }

    /// A list of texts. Text inside lists and maps is `Utf8`, which every reader of Parquet and
    /// Arrow files knows.
    pub(crate) fn texts(name: &'static str, description: &'static str) -> Self {
        Column::new(name, list_of(DataType::Utf8), description)
    }

    /// A map from text to text.
    pub(crate) fn map(name: &'static str, description: &'static str) -> Self {
        let key = Field::new("key", DataType::Utf8, false);
        let value = Field::new("value", DataType::Utf8, true);
        let entries = DataType::Struct(Fields::from(vec![key, value]));
        let entries = Arc::new(Field::new("entries", entries, false));
        Column::new(name, DataType::Map(entries, false), description)
    }

    pub(crate) fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }
}

/// The type of all points in time: Delta tables know no finer one.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema of a table. A column's description is its field's metadata `description`.
pub(crate) fn schema_of(table: &dyn Table) -> SchemaRef {
    let field = |c: Column| {
        Field::new(c.name, c.data_type, c.nullable)
            .with_metadata([("description".to_owned(), c.description.to_owned())].into())
    };
    Arc::new(Schema::new(
        table.columns().into_iter().map(field).collect::<Fields>(),
    ))
}

/// One scan of a table in a statement: what is asked for, of what moment.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) table: Arc<dyn Table>,
    /// All columns of the table.
    pub(crate) schema: SchemaRef,
    /// The columns that are asked for, as indices into `schema`, in order.
    pub(crate) projection: Vec<usize>,
    /// Their schema.
    pub(crate) output: SchemaRef,
    /// What must hold of a row: all of these, in terms of `schema`.
    pub(crate) predicates: Vec<Arc<dyn PhysicalExpr>>,
    /// The predicates, evaluated against what processes and chunks say of themselves.
    pub(crate) pruner: Pruner,
    pub(crate) pin: Arc<Pin>,
    pub(crate) batch_size: usize,
}

impl Scan {
    /// Whether a column is asked for, or must be made to know which rows are.
    pub(crate) fn wants(&self, column: &str) -> bool {
        let Ok(index) = self.schema.index_of(column) else {
            return false;
        };
        let needs =
            |p: &Arc<dyn PhysicalExpr>| collect_columns(p).iter().any(|c| c.index() == index);
        self.projection.contains(&index) || self.predicates.iter().any(needs)
    }

    /// The same scan with further predicates.
    pub(crate) fn with_predicates(&self, more: &[Arc<dyn PhysicalExpr>]) -> Scan {
        let predicates: Vec<_> = self.predicates.iter().chain(more).cloned().collect();
        Scan {
            table: Arc::clone(&self.table),
            schema: Arc::clone(&self.schema),
            projection: self.projection.clone(),
            output: Arc::clone(&self.output),
            pruner: Pruner::new(&predicates, &self.schema),
            predicates,
            pin: Arc::clone(&self.pin),
            batch_size: self.batch_size,
        }
    }
}

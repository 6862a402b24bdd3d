//! The tables, one a file.

mod call_columns;
mod host_calls;
mod lines;
mod log_lines;
mod modules;
mod processes;
mod segments;

use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::scan::Table;

/// A table, for help and documentation.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// What one row is.
    pub description: &'static str,
    /// Its columns, in order.
    pub columns: Vec<ColumnInfo>,
}

/// A column of a table, for help and documentation.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// Its Arrow type.
    pub data_type: DataType,
    /// Whether it can be null.
    pub nullable: bool,
    /// What it means, and its unit.
    pub description: &'static str,
}

/// All tables of the schema `public`.
#[must_use]
pub fn tables() -> Vec<TableInfo> {
    let info = |table: Arc<dyn Table>| TableInfo {
        name: table.name(),
        description: table.description(),
        columns: table
            .columns()
            .into_iter()
            .map(|c| ColumnInfo {
                name: c.name,
                data_type: c.data_type,
                nullable: c.nullable,
                description: c.description,
            })
            .collect(),
    };
    all().into_iter().map(info).collect()
}

pub(crate) fn all() -> Vec<Arc<dyn Table>> {
    vec![
        Arc::new(processes::Processes),
        Arc::new(modules::Modules),
        Arc::new(segments::Segments),
        Arc::new(host_calls::HostCalls),
        Arc::new(log_lines::LogLines),
    ]
}

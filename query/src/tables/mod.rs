//! The tables, one a file.

mod call_columns;
mod connections;
mod conversations;
mod damage;
mod denials;
mod dns_messages;
mod file_data;
mod file_operations;
mod files;
mod follow;
mod gaps;
mod host_calls;
mod http_exchanges;
mod late;
mod lines;
mod log_lines;
mod modules;
mod name_lookups;
mod processes;
mod segments;
mod socket_data;
mod sockets;
mod tls_sessions;
mod warnings;

use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::scan::Table;

/// A table, for help and documentation.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its schema: `public`, whose tables need no prefix, or `system`.
    pub schema: &'static str,
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

/// The schema of what guests did.
pub(crate) const PUBLIC: &str = "public";
/// The schema of what happened to the logs.
const SYSTEM: &str = "system";

/// All tables, by schema.
#[must_use]
pub fn tables() -> Vec<TableInfo> {
    let info = |schema, table: Arc<dyn Table>| TableInfo {
        schema,
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
    all()
        .into_iter()
        .flat_map(|(schema, tables)| tables.into_iter().map(move |table| info(schema, table)))
        .collect()
}

pub(crate) fn all() -> Vec<(&'static str, Vec<Arc<dyn Table>>)> {
    let public: Vec<Arc<dyn Table>> = vec![
        Arc::new(processes::Processes),
        Arc::new(modules::Modules),
        Arc::new(segments::Segments),
        Arc::new(host_calls::HostCalls),
        Arc::new(files::Files),
        Arc::new(file_operations::FileOperations),
        Arc::new(file_data::FileData),
        Arc::new(connections::Connections),
        Arc::new(socket_data::SocketData),
        Arc::new(name_lookups::NameLookups),
        Arc::new(dns_messages::DnsMessages),
        Arc::new(http_exchanges::HttpExchanges),
        Arc::new(tls_sessions::TlsSessions),
        Arc::new(warnings::Warnings),
        Arc::new(denials::Denials),
        Arc::new(log_lines::LogLines),
    ];
    let system: Vec<Arc<dyn Table>> = vec![Arc::new(gaps::Gaps), Arc::new(damage::Damage)];
    vec![(PUBLIC, public), (SYSTEM, system)]
}

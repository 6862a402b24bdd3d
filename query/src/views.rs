//! Views that ship with the binary: each is a `.sql` file in `views`, in which people can read how it
//! is made. They must name tables with their schemas, since a user may have changed the default.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::config::Dialect;
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use futures::FutureExt;

/// A view: its schema, its name, and its statement.
const VIEWS: [(&str, &str, &str); 10] = [
    ("zeek", "conn", include_str!("views/zeek_conn.sql")),
    ("zeek", "dns", include_str!("views/zeek_dns.sql")),
    ("zeek", "http", include_str!("views/zeek_http.sql")),
    ("zeek", "ssl", include_str!("views/zeek_ssl.sql")),
    (
        "otel",
        "connections",
        include_str!("views/otel_connections.sql"),
    ),
    (
        "otel",
        "dns_messages",
        include_str!("views/otel_dns_messages.sql"),
    ),
    (
        "otel",
        "http_exchanges",
        include_str!("views/otel_http_exchanges.sql"),
    ),
    (
        "ecs",
        "connections",
        include_str!("views/ecs_connections.sql"),
    ),
    (
        "ecs",
        "dns_messages",
        include_str!("views/ecs_dns_messages.sql"),
    ),
    (
        "ecs",
        "http_exchanges",
        include_str!("views/ecs_http_exchanges.sql"),
    ),
];

/// Adds the views to a catalog whose tables the context knows.
pub(crate) fn register(context: &SessionContext, catalog: &dyn CatalogProvider) -> Result<()> {
    for (schema, name, sql) in VIEWS {
        let state = context.state();
        // The dialect in which there are functions of one argument: `item -> item['name']`.
        let statement = state.sql_to_statement(sql, &Dialect::DuckDB)?;
        let planned = state.statement_to_plan(statement).now_or_never();
        let waited = || DataFusionError::Internal(format!("the view {schema}.{name} waited"));
        // The tables are in memory: there is nothing to wait for.
        let plan = planned.ok_or_else(waited)??;
        let views = match catalog.schema(schema) {
            Some(views) => views,
            None => {
                let views = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(schema, Arc::clone(&views) as Arc<dyn SchemaProvider>)?;
                views
            }
        };
        let view = ViewTable::new(plan, Some(sql.to_owned()));
        views.register_table(name.to_owned(), Arc::new(view))?;
    }
    Ok(())
}

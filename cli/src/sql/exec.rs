//! Runs statements and writes their rows.

use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParser, Statement};
use futures::StreamExt;

use super::SqlError;
use crate::output::Output;

/// The statements of a text, separated by `;`.
///
/// # Errors
/// When it does not parse.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    Ok(DFParser::parse_sql(sql)?.into_iter().collect())
}

/// Runs statements in turn, and writes the rows of each that has some.
///
/// # Errors
/// The first that fails ends it; so does Ctrl-C.
pub async fn run(
    context: &SessionContext,
    statements: Vec<Statement>,
    parameters: &[(String, String)],
    output: &Output,
) -> Result<usize, SqlError> {
    let many = statements.len();
    let mut rows = 0;
    for statement in statements {
        tokio::select! {
            result = run_one(context, statement, parameters, output, many) => rows += result?,
            _ = tokio::signal::ctrl_c() => return Err(SqlError::Cancelled),
        }
    }
    Ok(rows)
}

async fn run_one(
    context: &SessionContext,
    statement: Statement,
    parameters: &[(String, String)],
    output: &Output,
    many: usize,
) -> Result<usize, SqlError> {
    let plan = context.state().statement_to_plan(statement).await?;
    // A statement that changes the session is carried out here, and has no rows.
    let has_rows = !matches!(plan, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_));
    let mut frame: DataFrame = context.execute_logical_plan(plan).await?;
    if !has_rows {
        return Ok(0);
    }
    if many > 1 && output.takes_one_result() {
        return Err(SqlError::ManyResults(many));
    }
    if !parameters.is_empty() {
        let values: Vec<(String, ScalarValue)> = parameters
            .iter()
            .map(|(name, value)| (name.clone(), ScalarValue::from(value.as_str())))
            .collect();
        frame = frame.with_param_values(values)?;
    }
    let mut stream = frame.execute_stream().await?;
    let mut rows = output.rows(&stream.schema()).map_err(SqlError::Write)?;
    let mut count = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        count += batch.num_rows();
        rows.batch(&batch).map_err(SqlError::Write)?;
    }
    rows.finish().map_err(SqlError::Write)?;
    Ok(count)
}

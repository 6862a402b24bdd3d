//! Runs statements and writes their rows.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use futures::StreamExt;
use timecraft_query::Session;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::SqlError;
use crate::escape;
use crate::output::Output;
use crate::printer::Printer;

/// How many batches may wait for the writer.
const BATCHES_AHEAD: usize = 2;

/// The statements of a text, separated by `;`.
///
/// # Errors
/// When it does not parse, or has no statement.
pub fn parse(context: &SessionContext, sql: &str) -> Result<Vec<Statement>, SqlError> {
    let state = context.state();
    let limit = state.config_options().sql_parser.recursion_limit.into();
    let parser = DFParserBuilder::new(sql)
        .with_recursion_limit(limit)
        .build();
    let statements = parser
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| SqlError::from(e).explained(context, sql))?;
    match statements.is_empty() {
        true => Err(SqlError::Empty),
        false => Ok(statements.into()),
    }
}

/// Runs the statements of `sql`, as [`parse`] gave them, in turn, and writes the rows of each that
/// has some. Returns how many those were. What a statement left out because it is damaged is said
/// after it.
///
/// # Errors
/// The first that fails ends it; so does Ctrl-C.
pub async fn run(
    printer: &Printer,
    session: &Session,
    sql: &str,
    statements: Vec<Statement>,
    parameters: &[(String, String)],
    output: &Output,
) -> Result<usize, SqlError> {
    // Watched for before anything is shown: whoever sees a row can end the query.
    let context = session.context();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SqlError::Signals)?;
    let all = async {
        let mut rows = 0;
        let mut results = 0;
        for statement in statements {
            let Some(frame) = plan(context, statement, parameters).await? else {
                continue;
            };
            results += 1;
            if results > 1 && output.takes_one_result() {
                return Err(SqlError::ManyResults);
            }
            let written = write(frame, output).await;
            warn(printer, session);
            rows += written?;
        }
        Ok(rows)
    };
    let result = tokio::select! {
        biased;
        _ = interrupt.recv() => Err(SqlError::Cancelled),
        result = all => result,
    };
    result.map_err(|e: SqlError| e.explained(context, sql))
}

/// Says what was left out because it is damaged.
fn warn(printer: &Printer, session: &Session) {
    /// More do not help: there is a table of all.
    const SHOWN: usize = 3;
    let met = session.take_damage_met();
    if met.is_empty() {
        return;
    }
    for met in met.iter().take(SHOWN) {
        let damage = &met.damage;
        let text = format!(
            "left out what is damaged in {} at byte {}: {}",
            damage.path.display(),
            damage.position,
            damage.what
        );
        printer.note(&format!(
            "{} {}",
            printer.paint("33;1", "warning:"),
            escape::lines(&text)
        ));
    }
    let all = match met.len().saturating_sub(SHOWN) {
        0 => "what is missing is listed by: select * from system.damage".to_owned(),
        more => format!("{more} more places are listed by: select * from system.damage"),
    };
    printer.note(&printer.hint(&all));
}

/// The statement, ready to run; none where it has no rows: what changes the session is carried out
/// here.
async fn plan(
    context: &SessionContext,
    statement: Statement,
    parameters: &[(String, String)],
) -> Result<Option<DataFrame>, SqlError> {
    let plan = context.state().statement_to_plan(statement).await?;
    let has_rows = !matches!(plan, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_));
    let plan = bind(plan, parameters)?;
    let frame = context.execute_logical_plan(plan).await?;
    Ok(has_rows.then_some(frame))
}

/// Puts the parameters in. They come as text, and become what the statement has in their place,
/// where the engine can tell and the text says such a value; else the engine will compare text.
fn bind(plan: LogicalPlan, parameters: &[(String, String)]) -> Result<LogicalPlan, SqlError> {
    let wanted = plan.get_parameter_types()?;
    if wanted.is_empty() {
        return Ok(plan);
    }
    let counts = counts(&plan)?;
    let mut values = Vec::with_capacity(wanted.len());
    for (placeholder, ty) in wanted {
        let name = placeholder.trim_start_matches('$').to_owned();
        // Of two values for one name the last counts, as with other options.
        let Some((_, text)) = parameters.iter().rfind(|(known, _)| *known == name) else {
            return Err(SqlError::NoParameter(name));
        };
        let text = ScalarValue::from(text.as_str());
        let ty = ty.or_else(|| counts.contains(&placeholder).then_some(DataType::Int64));
        let typed = ty.and_then(|ty| text.cast_to(&ty).ok());
        values.push((name, typed.unwrap_or(text)));
    }
    Ok(plan.with_param_values(ParamValues::from(values))?)
}

/// The parameters that stand for a number of rows: the engine gives these no type.
fn counts(plan: &LogicalPlan) -> Result<HashSet<String>, SqlError> {
    let mut counts = HashSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = count.as_ref() {
                    counts.insert(placeholder.id.clone());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(counts)
}

/// Runs a statement, and writes batches as they come.
async fn write(frame: DataFrame, output: &Output) -> Result<usize, SqlError> {
    let mut stream = frame.execute_stream().await?;
    let mut rows = output.rows(&stream.schema()).map_err(SqlError::Write)?;
    // The engine computes on other threads, so that Ctrl-C is seen on this one whatever it does.
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let engine = SpawnedTask::spawn(async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    });
    let mut count = 0;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        count += batch.num_rows();
        rows.batch(&batch).map_err(SqlError::Write)?;
    }
    engine.join().await.map_err(SqlError::Died)?;
    rows.finish().map_err(SqlError::Write)?;
    Ok(count)
}

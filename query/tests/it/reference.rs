//! The page `docs/reference.md`: tables, views and functions as the code describes them, with every
//! example and what it gives. It is held to the code; `make reference` writes it anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::Dialect;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use timecraft_query::{Session, tables};
use timecraft_segment::Registry;
use timecraft_udfs::sql::SECTION;

use crate::{query, session};

const INTRODUCTION: &str = "\
# Reference

The tables, views and functions of `timecraft sql`. This page is made from the code by `make reference`;
the tests hold it to the code, and run every example.

Times are UTC to the microsecond. Where order or duration matters there are nanoseconds. A column that is
not nullable always has a value.
";

/// The schemas of views, and what their names are names of.
const CONVENTIONS: [(&str, &str); 3] =
    [("otel", "OpenTelemetry"), ("ecs", "ECS"), ("zeek", "Zeek")];

#[tokio::test]
async fn the_reference_is_what_the_code_says() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&Registry::at(folder.path()));
    let page = page(&session).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    if std::env::var_os("TIMECRAFT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let lines = page.lines().zip(kept.lines());
    let differs = lines.enumerate().find(|(_, (said, kept))| said != kept);
    if let Some((at, (said, kept))) = differs {
        panic!(
            "docs/reference.md has in line {}\n  {kept}\nand the code says\n  {said}\n`make reference` writes it anew",
            at + 1
        );
    }
    assert_eq!(page.len(), kept.len(), "`make reference` writes it anew");
}

async fn page(session: &Session) -> String {
    let views = views(session).await;
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Tables\n");
    for table in tables() {
        let name = match table.schema {
            "public" => table.name.to_owned(),
            schema => format!("{schema}.{}", table.name),
        };
        let _ = writeln!(page, "\n### {name}\n\n{}.\n", table.description);
        // Only those of which a view has a name for some column.
        let named = |schema| {
            let mut columns = table.columns.iter();
            columns.any(|column| !names(&views, schema, table.name, column.name).is_empty())
        };
        let known: Vec<_> = CONVENTIONS
            .iter()
            .filter(|(schema, _)| named(schema))
            .collect();
        let titles = ["column", "type", "meaning"].into_iter();
        row(
            &mut page,
            titles.chain(known.iter().map(|(_, title)| *title)),
        );
        row(&mut page, std::iter::repeat_n("---", 3 + known.len()));
        for column in &table.columns {
            let mut cells = vec![
                format!("`{}`", column.name),
                type_name(&column.data_type, column.nullable),
                column.description.to_owned(),
            ];
            cells.extend(
                known
                    .iter()
                    .map(|(schema, _)| names(&views, schema, table.name, column.name)),
            );
            row(&mut page, cells);
        }
    }
    page.push_str(
        "\n## Views\n\nEach is a file in `query/src/views/`, in which its statement can be read.\n",
    );
    for view in &views {
        let _ = writeln!(
            page,
            "\n### {}.{}\n\n{}\n",
            view.schema, view.name, view.description
        );
        row(&mut page, ["column", "type", "of"]);
        row(&mut page, ["---"; 3]);
        for column in &view.columns {
            let of = column
                .of
                .iter()
                .map(|(table, column)| format!("`{table}.{column}`"));
            let of: Vec<String> = of.collect();
            let (name, kind) = (
                format!("`{}`", column.name),
                type_name(&column.data_type, false),
            );
            row(&mut page, [name, kind, of.join(", ")]);
        }
    }
    page.push_str("\n## Functions\n\nBeside those of DataFusion. A null argument gives null; what cannot be read never fails a query.\n");
    for function in functions(session).values() {
        describe(&mut page, session, function).await;
    }
    page
}

fn row<T: AsRef<str>>(page: &mut String, cells: impl IntoIterator<Item = T>) {
    for cell in cells {
        let _ = write!(page, "| {} ", cell.as_ref().replace('|', "\\|"));
    }
    page.push_str("|\n");
}

/// The type as people say it.
fn type_name(data_type: &DataType, nullable: bool) -> String {
    let name = match data_type {
        DataType::Utf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::BinaryView => "bytes".to_owned(),
        DataType::UInt64 => "unsigned bigint".to_owned(),
        // What JSON can hold.
        DataType::Union(..) => "a value of JSON".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::List(item) => format!("list of {}", type_name(item.data_type(), false)),
        DataType::Struct(fields) => {
            let field = |field: &Arc<arrow::datatypes::Field>| {
                format!("{} {}", field.name(), type_name(field.data_type(), false))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("struct({})", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let kinds = fields
                    .iter()
                    .map(|field| type_name(field.data_type(), false));
                format!("map of {}", kinds.collect::<Vec<_>>().join(" to "))
            }
            other => panic!("a map of {other}"),
        },
        other => other.to_string().to_lowercase(),
    };
    if nullable {
        format!("{name}, nullable")
    } else {
        name
    }
}

struct View {
    schema: String,
    name: String,
    description: String,
    columns: Vec<ViewColumn>,
}

struct ViewColumn {
    name: String,
    data_type: DataType,
    /// The columns that it is made of, with their tables.
    of: BTreeSet<(String, String)>,
}

async fn views(session: &Session) -> Vec<View> {
    let sql = "select table_schema, table_name, definition from information_schema.views \
               where definition is not null order by table_schema, table_name";
    let mut views = Vec::new();
    for batch in query(session, sql).await {
        let [schemas, names, definitions] = [0, 1, 2].map(|at| batch.column(at).as_string::<i32>());
        for at in 0..batch.num_rows() {
            let definition = definitions.value(at);
            let comment = definition
                .lines()
                .map_while(|line| line.strip_prefix("-- "));
            let state = session.context().state();
            let statement = state.sql_to_statement(definition, &Dialect::DuckDB);
            let plan = state.statement_to_plan(statement.unwrap()).await.unwrap();
            views.push(View {
                schema: schemas.value(at).to_owned(),
                name: names.value(at).to_owned(),
                description: comment.collect::<Vec<_>>().join(" "),
                columns: columns(&plan),
            });
        }
    }
    views
}

/// The columns of a view, and those of tables that each is made of.
fn columns(plan: &LogicalPlan) -> Vec<ViewColumn> {
    let mut tables = HashMap::new();
    plan.apply(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table().to_owned();
                tables.entry(name.clone()).or_insert(name);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                if let LogicalPlan::TableScan(scan) = alias.input.as_ref() {
                    let table = scan.table_name.table().to_owned();
                    tables.insert(alias.alias.table().to_owned(), table);
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    let LogicalPlan::Projection(projection) = plan else {
        panic!("a view that is no plain select: {plan}");
    };
    let fields = projection.schema.fields().iter();
    let made = projection.expr.iter().zip(fields).map(|(expr, field)| {
        let of = expr.column_refs().into_iter().filter_map(|column| {
            let table = tables.get(column.relation.as_ref()?.table())?;
            Some((table.clone(), column.name.clone()))
        });
        ViewColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            of: of.collect(),
        }
    });
    made.collect()
}

/// What a convention calls a column: what its views make of it alone.
fn names(views: &[View], schema: &str, table: &str, column: &str) -> String {
    let columns = views
        .iter()
        .filter(|view| view.schema == schema)
        .flat_map(|view| &view.columns);
    let alone = columns.filter(|made| {
        let mut of = made.of.iter();
        matches!((of.next(), of.next()), (Some(only), None) if only.0 == table && only.1 == column)
    });
    // What keeps its name has none there.
    let names: BTreeSet<&str> = alone
        .map(|made| made.name.as_str())
        .filter(|&name| name != column)
        .collect();
    let names = names.into_iter().map(|name| format!("`{name}`"));
    names.collect::<Vec<_>>().join(", ")
}

fn functions(session: &Session) -> BTreeMap<String, Arc<ScalarUDF>> {
    let all = session.context().state().scalar_functions().clone();
    let is_ours = |function: &Arc<ScalarUDF>| {
        let documentation = function.documentation();
        documentation.is_some_and(|words| words.doc_section == SECTION)
    };
    all.into_iter()
        .filter(|(name, function)| is_ours(function) && name == function.name())
        .collect()
}

async fn describe(page: &mut String, session: &Session, function: &ScalarUDF) {
    let words = function.documentation().unwrap();
    let types = function.signature().type_signature.get_example_types();
    let returns = function.return_type(&types[0]).unwrap();
    // The example is below.
    let description = words.description.split(" For example: ").next().unwrap();
    let _ = writeln!(page, "\n### {}\n", function.name());
    let _ = writeln!(
        page,
        "`{}` gives {}.\n\n{description}\n",
        words.syntax_example,
        type_name(&returns, false)
    );
    for (name, description) in words.arguments.iter().flatten() {
        let _ = writeln!(page, "- `{name}`: {description}");
    }
    for example in words.sql_example.as_deref().unwrap().lines() {
        let result = shown(&query(session, example).await);
        let _ = writeln!(page, "\n```sql\n{example}\n```\n\n```text\n{result}\n```");
    }
}

/// The values, a line each row.
fn shown(batches: &[RecordBatch]) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut values = Vec::new();
    for batch in batches {
        let column = ArrayFormatter::try_new(batch.column(0), &options).unwrap();
        values.extend((0..batch.num_rows()).map(|row| column.value(row).to_string()));
    }
    values.join("\n").trim_end().to_owned()
}

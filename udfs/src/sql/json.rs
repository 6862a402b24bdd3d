//! JSON: the functions and operators of datafusion-functions-json, over bodies too, which are bytes.
//!
//! Bytes that are no UTF-8 are no JSON either, and give null. [`body_text`](super::bytes::BODY_TEXT) is
//! no way to JSON: it escapes what looks like one of its own escapes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExprSchemable, ExpressionPlacement, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, expr::TryCast,
};
use datafusion_functions_json::udfs;

use super::function::documentation;

/// A function of the other crate, with words of ours.
struct Described {
    udf: fn() -> Arc<ScalarUDF>,
    name: &'static str,
    path: bool,
    description: &'static str,
    example: &'static str,
}

const fn over_path(
    udf: fn() -> Arc<ScalarUDF>,
    name: &'static str,
    description: &'static str,
    example: &'static str,
) -> Described {
    Described {
        udf,
        name,
        path: true,
        description,
        example,
    }
}

const DESCRIBED: [Described; 11] = [
    over_path(
        udfs::json_get_udf,
        "json_get",
        "What is at a path in JSON, to be cast; null where there is nothing; also ->.",
        "cast(json_get('{\"ids\": [7, 8]}', 'ids', 0) as bigint)",
    ),
    over_path(
        udfs::json_get_str_udf,
        "json_get_str",
        "The text at a path in JSON; null where there is none.",
        "json_get_str('{\"user\": {\"name\": \"Ada\"}}', 'user', 'name')",
    ),
    over_path(
        udfs::json_get_int_udf,
        "json_get_int",
        "The whole number at a path in JSON; null where there is none.",
        "json_get_int('{\"ids\": [7, 8]}', 'ids', 1)",
    ),
    over_path(
        udfs::json_get_float_udf,
        "json_get_float",
        "The number at a path in JSON; null where there is none.",
        "json_get_float('{\"price\": 9.5}', 'price')",
    ),
    over_path(
        udfs::json_get_bool_udf,
        "json_get_bool",
        "The truth value at a path in JSON; null where there is none.",
        "json_get_bool('{\"ok\": true}', 'ok')",
    ),
    over_path(
        udfs::json_get_json_udf,
        "json_get_json",
        "What is at a path in JSON, as JSON text; null where there is nothing.",
        "json_get_json('{\"user\": {\"name\": \"Ada\"}}', 'user')",
    ),
    over_path(
        udfs::json_get_array_udf,
        "json_get_array",
        "The array at a path in JSON, as a list of JSON texts; null where there is none.",
        "json_get_array('{\"ids\": [7, 8]}', 'ids')",
    ),
    over_path(
        udfs::json_as_text_udf,
        "json_as_text",
        "What is at a path in JSON, as text: that of a text itself, of all else its JSON; also ->>.",
        "json_as_text('{\"id\": 7}', 'id')",
    ),
    over_path(
        udfs::json_contains_udf,
        "json_contains",
        "Whether there is something at a path in JSON.",
        "json_contains('{\"id\": 7}', 'name')",
    ),
    Described {
        path: false,
        ..over_path(
            udfs::json_length_udf,
            "json_length",
            "How many entries an array or object of JSON has.",
            "json_length('[7, 8]')",
        )
    },
    Described {
        path: false,
        ..over_path(
            udfs::json_object_keys_udf,
            "json_object_keys",
            "The keys of an object of JSON.",
            "json_object_keys('{\"id\": 7, \"name\": \"Ada\"}')",
        )
    },
];

pub(super) fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    // Before those of the other crate, which know text alone.
    session.register_expr_planner(Arc::new(OverBytes))?;
    session.register_function_rewrite(Arc::new(OverBytes))?;
    datafusion_functions_json::register_all(session)?;
    for function in &DESCRIBED {
        session.register_udf(Arc::new(ScalarUDF::new_from_impl(Json::new(function))))?;
    }
    Ok(())
}

/// Whether the other crate refuses an argument that we take: bytes of JSON, and what is null for want of
/// a type.
fn is_cast(position: usize, given: &DataType) -> bool {
    match given {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => position == 0,
        DataType::Null => true,
        _ => false,
    }
}

#[derive(Debug)]
struct Json {
    inner: Arc<ScalarUDF>,
    signature: Signature,
    documentation: Documentation,
}

impl Json {
    fn new(function: &Described) -> Json {
        let mut arguments = vec![("json", "JSON, as text or bytes.")];
        let mut types = vec![DataType::Utf8View];
        if function.path {
            arguments.push((
                "path",
                "Keys of objects and positions in arrays, one or more.",
            ));
            types.push(DataType::Utf8View);
        }
        // The first is what `show functions` tells; the types are checked by the function itself.
        let either = TypeSignature::OneOf(vec![
            TypeSignature::Exact(types),
            TypeSignature::VariadicAny,
        ]);
        Json {
            inner: (function.udf)(),
            signature: Signature::new(either, Volatility::Immutable),
            documentation: documentation(
                function.name,
                function.description,
                arguments.into_iter(),
                &[function.example],
            ),
        }
    }
}

// A function is told from another by its name.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let given = types.iter().enumerate();
        let types = given.map(|(at, given)| match is_cast(at, given) {
            true => DataType::Utf8View,
            false => given.clone(),
        });
        self.inner.return_type(&types.collect::<Vec<_>>())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (given, rows) = (args.args.clone(), args.number_rows);
        let answer = self.inner.invoke_with_args(args)?;
        // Whether there is something in a null: of one value the other crate says no.
        if answer.data_type() != DataType::Boolean {
            return Ok(answer);
        }
        let is_scalar = matches!(answer, ColumnarValue::Scalar(_));
        let answers = answer.into_array(rows)?;
        let mut nulls = answers.logical_nulls();
        for argument in given {
            let argument = argument.into_array(rows)?;
            nulls = NullBuffer::union(nulls.as_ref(), argument.logical_nulls().as_ref());
        }
        let answers = BooleanArray::new(answers.as_boolean().values().clone(), nulls);
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?),
            false => ColumnarValue::Array(Arc::new(answers)),
        })
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// Puts a cast between bytes and what takes text: at operators, whose functions are the other crate's,
/// when they are planned; at functions before the other crate makes others of them.
#[derive(Debug)]
struct OverBytes;

/// Null where the bytes are no text.
fn text(bytes: Expr) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(bytes), DataType::Utf8View))
}

impl FunctionRewrite for OverBytes {
    fn name(&self) -> &str {
        "json_over_bytes"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(mut function) = expr else {
            return Ok(Transformed::no(expr));
        };
        let mut is_changed = false;
        if function.func.inner().is::<Json>() {
            for (at, argument) in function.args.iter_mut().enumerate() {
                if is_cast(at, &argument.get_type(schema)?) {
                    *argument = text(std::mem::take(argument));
                    is_changed = true;
                }
            }
        }
        let function = Expr::ScalarFunction(function);
        Ok(Transformed::new_transformed(function, is_changed))
    }
}

impl ExprPlanner for OverBytes {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_ours = matches!(
            expr.op,
            BinaryOperator::Arrow | BinaryOperator::LongArrow | BinaryOperator::Question
        );
        if is_ours && is_cast(0, &expr.left.get_type(schema)?) {
            expr.left = text(expr.left);
        }
        Ok(PlannerResult::Original(expr))
    }
}

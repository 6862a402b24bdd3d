//! What a function says of itself, and DataFusion's view of that.

use std::hash::{Hash, Hasher};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::SECTION;
use super::arguments::{Arguments, Kind};

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [Argument],
    pub(super) returns: fn() -> DataType,
    /// What it gives, for people.
    pub(super) description: &'static str,
    /// Expressions that call it.
    pub(super) examples: &'static [&'static str],
    /// As many values as the arguments have rows.
    pub(super) call: fn(&Arguments) -> Result<ArrayRef>,
}

/// An argument of a function.
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

impl Argument {
    pub(super) const fn new(name: &'static str, kind: Kind, description: &'static str) -> Argument {
        Argument {
            name,
            kind,
            description,
        }
    }
}

/// Words about a function: what it gives, its arguments with what they are, and expressions that call it,
/// the first of which `show functions` shows. For a function that is made elsewhere, too.
pub fn documentation<'a>(
    name: &str,
    description: &str,
    arguments: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    examples: &[&str],
) -> Documentation {
    let syntax: Vec<&str> = arguments.clone().map(|(name, _)| name).collect();
    let syntax = format!("{name}({})", syntax.join(", "));
    // `show functions` shows the description alone, and shall have an example.
    let description = match examples.first() {
        Some(example) => format!("{description} For example: {example}"),
        None => description.to_owned(),
    };
    let mut built = Documentation::builder(SECTION, description, syntax);
    for (name, description) in arguments {
        built = built.with_argument(name, description);
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("select {e};")).collect();
    built.with_sql_example(examples.join("\n")).build()
}

#[derive(Debug)]
struct Scalar {
    function: &'static Function,
    signature: Signature,
    documentation: Documentation,
}

impl From<&'static Function> for ScalarUDF {
    fn from(function: &'static Function) -> ScalarUDF {
        let arguments = function.arguments;
        let types = arguments.iter().map(|a| a.kind.data_type()).collect();
        // The first is what `show functions` tells; with the second, types are checked by
        // `return_type`, which says what is wrong in our words, and nothing is copied to be cast.
        let either = TypeSignature::OneOf(vec![
            TypeSignature::Exact(types),
            TypeSignature::Any(arguments.len()),
        ]);
        ScalarUDF::new_from_impl(Scalar {
            function,
            signature: Signature::new(either, Volatility::Immutable),
            documentation: documentation(
                function.name,
                function.description,
                arguments.iter().map(|a| (a.name, a.description)),
                function.examples,
            ),
        })
    }
}

// A function is told from another by its name.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Function").field(&self.name).finish()
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        for (argument, given) in self.function.arguments.iter().zip(types) {
            if !argument.kind.accepts(given) {
                return plan_err!(
                    "{} takes {} as {}, and not {given}",
                    self.function.name,
                    argument.kind.name(),
                    argument.name
                );
            }
        }
        Ok((self.function.returns)())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kinds = self.function.arguments.iter().map(|a| a.kind);
        let arguments = Arguments::new(kinds, &args.args, args.number_rows)?;
        let values = (self.function.call)(&arguments)?;
        if arguments.are_constant() {
            let value = ScalarValue::try_from_array(&values, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(values))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

//! The function `environment_value(process_id, name)`: a value of a process's environment, which may
//! be a secret and is therefore shown only where it is asked for by name.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::cast::as_string_view_array;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use timecraft_segment::registry::Registry;
use timecraft_segment::{Error as SegmentError, ProcessId};
use timecraft_udfs::sql;

use crate::blocking::blocking;
use crate::damage::OnDamage;
use crate::error::ReadError;

/// The function. It reads logs, which blocks, so it is asynchronous and hands that to a thread.
#[derive(Debug)]
struct EnvironmentValue {
    registry: Registry,
    signature: Signature,
    documentation: Documentation,
}

/// Words about it, for people.
fn documentation() -> Documentation {
    sql::documentation(
        "environment_value",
        "The value of a variable of a process's environment, which may be a secret and is shown nowhere \
         else; null where there is no such process or variable.",
        [
            ("process_id", "The process."),
            ("name", "The name of the variable."),
        ]
        .into_iter(),
        &["environment_value('018f5d4e-7a2b-7c3d-8e4f-0123456789ab', 'HOME')"],
    )
}

/// The function over this registry.
pub(crate) fn environment_value(registry: Registry) -> ScalarUDF {
    // Volatile keeps it out of scans and of constant folding, which cannot wait for it.
    let texts = vec![DataType::Utf8View, DataType::Utf8View];
    let signature = Signature::exact(texts, Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(EnvironmentValue {
        registry,
        signature,
        documentation: documentation(),
    }))
    .into_scalar_udf()
}

// A registry is told from another by its folder.
impl PartialEq for EnvironmentValue {
    fn eq(&self, other: &Self) -> bool {
        self.registry.root() == other.registry.root()
    }
}

impl Eq for EnvironmentValue {}

impl Hash for EnvironmentValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.registry.root().hash(state);
    }
}

impl ScalarUDFImpl for EnvironmentValue {
    fn name(&self) -> &str {
        "environment_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("environment_value was called as if it were not asynchronous")
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for EnvironmentValue {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let registry = self.registry.clone();
        let on_damage = OnDamage::of(&args.config_options);
        let values = blocking(move || match arrays.as_slice() {
            [processes, names] => values(&registry, on_damage, processes, names),
            _ => internal_err!("environment_value takes two arguments"),
        });
        Ok(ColumnarValue::Array(values.await?))
    }
}

/// Null where there is no such process or no such name.
fn values(
    registry: &Registry,
    on_damage: OnDamage,
    processes: &ArrayRef,
    names: &ArrayRef,
) -> Result<ArrayRef> {
    let processes = as_string_view_array(processes)?;
    let names = as_string_view_array(names)?;
    let mut environments: HashMap<&str, Vec<(String, String)>> = HashMap::new();
    let mut builder = StringViewBuilder::with_capacity(processes.len());
    for pair in processes.iter().zip(names.iter()) {
        let (Some(process), Some(name)) = pair else {
            builder.append_null();
            continue;
        };
        if !environments.contains_key(process) {
            environments.insert(process, environment(registry, on_damage, process)?);
        }
        let value = environments[process].iter().find(|(key, _)| key == name);
        builder.append_option(value.map(|(_, value)| value));
    }
    Ok(Arc::new(builder.finish()))
}

fn environment(
    registry: &Registry,
    on_damage: OnDamage,
    process: &str,
) -> Result<Vec<(String, String)>> {
    let Ok(id) = process.parse::<ProcessId>() else {
        return Ok(Vec::new());
    };
    let snapshot = match on_damage {
        OnDamage::Fail => registry.snapshot(id),
        OnDamage::Skip => registry.snapshot_past_damage(id),
    };
    match snapshot {
        Ok(snapshot) => Ok(snapshot.start().environment.clone()),
        Err(SegmentError::NoLog { .. }) => Ok(Vec::new()),
        Err(source) => Err(ReadError::process(id)(source).into()),
    }
}

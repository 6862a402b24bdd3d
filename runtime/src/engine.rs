//! The engine's configuration, and what the recording says of it.
//!
//! A replay needs an engine that computes the same, so whatever changes what a guest computes is
//! set here and nowhere else, and stands in [`description`]. Nothing here may read the environment.

use std::collections::BTreeMap;

use timecraft_segment::event;
use wasmtime::{Config, Engine, Strategy, WasmBacktraceDetails};

use crate::error::{Error, Result};

/// An engine as timecraft sets it up, for guests whose wasm stack may take so many bytes.
///
/// What differs from the engine's defaults, and what it costs:
/// - *Epoch interruption* ends a busy loop: a load and a compare at every function's entry and
///   every loop's head, 5 to 10% on code that does little else.
/// - *NaN canonicalization* makes floating-point results the same bits on every machine: a compare
///   and a select after operations that can make a NaN, up to some 10% on numeric code.
/// - *Deterministic relaxed SIMD* gives each relaxed instruction one meaning: instructions that the
///   processor has in another meaning become two or three.
/// - *Backtrace details* keep the debugging sections of a module in its compiled form, so that a
///   trap names file and line: a larger cache entry, nothing while the guest runs.
/// - *No threads and no shared memory*: their feature is not compiled in.
///
/// # Errors
///
/// [`Error::Engine`] when the engine does not support this processor.
pub(crate) fn engine(stack_bytes: u64) -> Result<Engine> {
    let failed = |reason: String| Error::Engine { reason };
    let stack = usize::try_from(stack_bytes).map_err(|e| failed(e.to_string()))?;
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // Guests do not run on stacks of the engine's making, but it wants theirs to be the larger.
        .async_stack_size(stack.saturating_mul(2))
        .max_wasm_stack(stack);
    Engine::new(&config).map_err(|e| failed(format!("{e:#}")))
}

/// The engine as it stands in the recording of a process.
#[must_use]
pub fn description() -> event::Engine {
    let settings = [
        ("compiler", "cranelift"),
        ("epoch_interruption", "true"),
        ("nan_canonicalization", "true"),
        ("relaxed_simd_deterministic", "true"),
        ("threads", "false"),
    ];
    event::Engine {
        name: "wasmtime".to_owned(),
        version: wasmtime_environ::VERSION.to_owned(),
        settings: settings
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        cpu: cpu(),
    }
}

/// The instruction set, and those of its extensions that the compiler makes use of.
fn cpu() -> String {
    let mut text = std::env::consts::ARCH.to_owned();
    for (feature, present) in features() {
        if present {
            text.push(' ');
            text.push_str(feature);
        }
    }
    text
}

macro_rules! detect {
    ($detect:ident: $($feature:tt)*) => {
        vec![$(($feature, std::arch::$detect!($feature))),*]
    };
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    detect!(is_x86_feature_detected:
        "cmpxchg16b" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "avxvnni" "bmi1" "bmi2" "lzcnt"
        "avx512bitalg" "avx512dq" "avx512f" "avx512vl" "avx512vbmi" "avx512vnni")
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    detect!(is_aarch64_feature_detected: "lse" "paca" "fp16" "dotprod" "i8mm")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_says_which_engine_made_it() {
        let engine = description();
        assert!(engine.version.split('.').count() >= 3, "{}", engine.version);
        assert!(engine.cpu.starts_with(std::env::consts::ARCH));
    }
}

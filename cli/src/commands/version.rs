//! `timecraft version`: what is running.

use timecraft_runtime::engine;

use crate::commands::ExitStatus;
use crate::error::Error;
use crate::printer::Printer;

/// Prints the version of timecraft, of its engine, and of the log it writes.
pub fn version(printer: &Printer) -> Result<ExitStatus, Error> {
    let engine = engine::description();
    let text = format!(
        "timecraft {}\n{} {}\nlog format {}\n",
        env!("CARGO_PKG_VERSION"),
        engine.name,
        engine.version,
        timecraft_segment::file::VERSION,
    );
    printer.print(&text).map_err(Error::Output)?;
    Ok(ExitStatus::Success)
}

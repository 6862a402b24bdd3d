//! `timecraft`: the time machine for WebAssembly whose recordings are a data lake.
//!
//! The thin binary: [`args`] says what can be typed, [`config`] what is configured, and each file
//! of [`commands`] joins the crates that do the work for one command. What went wrong comes back
//! as an [`error::Error`] and is reported in one place; only [`printer::Printer`] writes to the
//! terminal, and whatever a guest chose goes through [`escape`] first.

mod args;
mod commands;
mod config;
mod destination;
mod error;
mod escape;
mod exchanges;
mod nearest;
mod network;
#[cfg(feature = "sql")]
mod output;
mod pcapng;
mod printer;
#[cfg(feature = "sql")]
mod sql;
mod units;

fn main() -> std::process::ExitCode {
    commands::main(std::env::args_os()).into()
}

//! What can be typed: the command line, declared.
//!
//! Values are parsed here, once, into checked types. This module must never open a file or look
//! at the environment: what an option means is the business of [`crate::commands`].

pub mod network;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use timecraft_runtime::network::Endpoint;
use timecraft_runtime::network::rules::Target;

use crate::units::{self, Bytes};

/// Run WebAssembly, record everything that crosses the line between guest and host, query it with SQL.
#[derive(Debug, Parser)]
#[command(
    name = "timecraft",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Read the configuration from FILE [default: $TIMECRAFTCONFIG or ~/.timecraft/config.toml]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub config: Option<PathBuf>,
    /// Keep recordings in the folder PATH [default: `location` of `[registry]`, or ~/.timecraft/registry]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    pub registry: Option<PathBuf>,
}

/// What stands over the options of the network.
const NETWORK: &str = "Network";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a WebAssembly module and record it
    Run(Box<Run>),
    /// Query what was recorded
    #[cfg(feature = "sql")]
    Sql(Box<Sql>),
    /// Print what a process did, line by line, also while it runs
    #[command(subcommand)]
    Trace(network::Trace),
    /// Write what a process did for other tools
    #[command(subcommand)]
    Export(network::Export),
    /// Print the configuration in effect, and where each value comes from
    Config,
    /// Print the versions of timecraft and of its engine
    Version,
}

/// Run a WebAssembly module and record it.
///
/// The process id is the first line on standard error. The exit status is the guest's own; 134 if
/// it trapped, 124 if --timeout ended it, 128 + n if signal n did, 125 if timecraft itself failed.
///
/// A guest gets its arguments, the clocks, randomness and standard input, output and error. An
/// environment and directories it gets only if they are given here. A module that imports WasmEdge's
/// socket functions may use the network.
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "these are the texts of the help, where addresses have brackets"
)]
#[derive(Debug, Args)]
#[command(override_usage = "timecraft run [OPTIONS] [--] MODULE [ARGS...]")]
pub struct Run {
    /// Give the guest an environment variable (may be repeated)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = units::parse_environment)]
    pub env: Vec<(String, String)>,
    /// Give the guest the whole environment of this process; --env overrides it
    #[arg(long)]
    pub inherit_env: bool,
    /// Give the guest a directory, under its own name or as GUEST, read-only with :ro (may be repeated)
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = units::parse_directory)]
    pub dir: Vec<Directory>,
    /// The socket functions that the guest may import beside those of WASI preview 1
    /// [default: `sockets` of `[network]`, or auto]
    #[arg(short = 'S', long, value_name = "WHICH", value_enum, help_heading = NETWORK)]
    pub sockets: Option<Sockets>,
    /// Let the guest listen at HOST:PORT, [IPV6]:PORT or unix:PATH: it starts with the socket, as a
    /// descriptor after those of directories (may be repeated)
    #[arg(short = 'L', long, value_name = "ADDR", help_heading = NETWORK)]
    pub listen: Vec<Endpoint>,
    /// Connect the guest to HOST:PORT, [IPV6]:PORT or unix:PATH: it starts with the connection, as a
    /// descriptor after those of --listen (may be repeated)
    #[arg(short = 'D', long, value_name = "ADDR", help_heading = NETWORK)]
    pub dial: Vec<Endpoint>,
    /// Let the guest reach HOST, which is an address, a range of addresses in CIDR notation, a name or
    /// *.NAME, and nothing else that is not given so (may be repeated)
    ///
    /// Without it a guest reaches everything but addresses of the link, at which clouds hand out
    /// credentials, and the host's Unix sockets. A name stands for the addresses that the guest is told
    /// for it, as long as these hold. The resolvers of /etc/resolv.conf may be asked for names that are
    /// given, and for no others.
    #[arg(long, value_name = "HOST[:PORT]", help_heading = NETWORK)]
    pub allow_net: Vec<Target>,
    /// Do not let the guest reach HOST, given as for --allow-net, whatever else says so (may be repeated)
    #[arg(long, value_name = "HOST[:PORT]", help_heading = NETWORK)]
    pub deny_net: Vec<Target>,
    /// Let the guest connect to the host's Unix socket at PATH (may be repeated)
    #[arg(long, value_name = "PATH", help_heading = NETWORK)]
    pub allow_unix: Vec<PathBuf>,
    /// Trust the certificate authorities in FILE, which is PEM, in TLS that the host does for the guest
    /// (may be repeated)
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    pub tls_ca: Vec<PathBuf>,
    /// Call this exported function
    #[arg(short, long, value_name = "NAME", default_value = "_start")]
    pub function: String,
    /// Give the process a name by which it can be found
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Label the process (may be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = units::parse_label)]
    pub label: Vec<(String, String)>,
    /// Record nothing
    #[arg(long)]
    pub fly_blind: bool,
    /// Grant nothing that this command line does not name one by one
    ///
    /// Grants that come in bulk, such as --inherit-env, are refused together with it, and grants
    /// that a configuration or a later version gives by default are dropped. Arguments, clocks,
    /// randomness and standard input, output and error remain, and so does what --env, --dir and
    /// the options of the network name.
    #[arg(long, conflicts_with = "inherit_env")]
    pub restrict: bool,
    /// Print each host call to standard error as it returns
    #[arg(short = 'T', long)]
    pub trace: bool,
    /// Compress the recording
    #[arg(long, value_name = "METHOD", value_enum, default_value_t = Compression::Zstd)]
    pub record_compression: Compression,
    /// Write the recording in batches of about this size, 4KiB to 256MiB
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::parse_batch_size)]
    pub record_batch_size: Bytes,
    /// When the recording is forced to the disk: what a power loss can take.
    /// A crash of the process takes nothing in any case
    #[arg(long, value_enum, default_value_t = Sync::Interval)]
    pub sync: Sync,
    /// What becomes of the guest when its recording cannot be written
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnRecordFailure::Stop)]
    pub on_record_failure: OnRecordFailure,
    /// The most space that the recording may take, about; then it fails: 256KiB, 10GiB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_log_size)]
    pub max_log_bytes: Option<Bytes>,
    /// End the guest after this long: 500ms, 10s, 1m30s
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub timeout: Option<Duration>,
    /// The most linear memory the guest may have: 64MiB, 1GiB [default: 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub max_memory: Option<Bytes>,
    /// The most elements the guest's tables may have [default: 10000000]
    #[arg(long, value_name = "COUNT")]
    pub max_table_elements: Option<u64>,
    /// The most stack the guest may use, 64KiB to 1GiB [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_stack_size)]
    pub max_stack: Option<Bytes>,
    /// The most files and directories the guest may have open, standard streams included, 3 to
    /// 65536 [default: 1024, or what the system allows]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(3..=65_536))]
    pub max_open_files: Option<u32>,
    /// Write the process id to FILE, too
    #[arg(long, value_name = "FILE", conflicts_with = "fly_blind")]
    pub id_file: Option<PathBuf>,
    // One argument and not two: clap then leaves everything after the module to the guest, also
    // what looks like an option of ours.
    /// The module, .wasm or .wat, and the guest's arguments: all that follows is the guest's
    #[arg(required = true, trailing_var_arg = true, value_name = "MODULE")]
    pub command: Vec<OsString>,
}

/// A directory that the guest gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub host: PathBuf,
    pub guest: String,
    pub read_only: bool,
}

/// Which socket functions a guest may import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sockets {
    /// WasmEdge's, of the version whose signatures the module imports
    #[default]
    Auto,
    /// None
    None,
    /// WasmEdge's of version 1
    #[value(name = "wasmedgev1")]
    WasmEdgeV1,
    /// WasmEdge's of version 2
    #[value(name = "wasmedgev2")]
    WasmEdgeV2,
}

/// How a recording is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Zstandard
    Zstd,
    /// Not at all
    None,
}

/// What becomes of a guest that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnRecordFailure {
    /// It ends, and what was recorded stays
    Stop,
    /// It goes on, and its recording says what is missing
    Continue,
}

/// When a recording is forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sync {
    /// When the system likes to
    None,
    /// Every second or so
    Interval,
    /// Each batch, before its buffer is used again
    Batch,
}

/// Query what was recorded, with SQL.
///
/// The query is QUERY, or is read from -f FILE, or from standard input where that is no terminal;
/// with none of them, a shell opens. Statements separated by `;` run in turn.
///
/// Text that a guest chose may hold control characters. In table, markdown, csv and tsv they are
/// shown as \n, \t, \xNN or \u{NNNN} (tables keep line breaks inside a cell); in csv and tsv a
/// text cell that begins with = + - @ gets a ' in front, so that no spreadsheet takes it for a
/// formula. NULL is an empty cell; in csv empty text is "". json, ndjson, parquet and arrow hold
/// exactly what was recorded. Bytes are hexadecimal digits wherever a format is text.
///
/// Times are UTC, RFC 3339; in a table on a terminal, local time with its offset.
#[cfg(feature = "sql")]
#[derive(Debug, Args)]
pub struct Sql {
    /// The query
    #[arg(
        value_name = "QUERY",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub query: Option<String>,
    /// Read the query from FILE; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How rows are written [default: by the extension of --to FILE, or table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write to FILE instead of standard output; it appears when the query is done
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// The value of $NAME in the query (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = units::parse_parameter)]
    pub param: Vec<(String, String)>,
}

/// How rows are written.
#[cfg(feature = "sql")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: columns take their width from the first 1,000 rows
    Table,
    /// RFC 4180, with a header
    Csv,
    /// Tabs between cells, with a header
    Tsv,
    /// One array of objects for each query
    Json,
    /// One object a line
    Ndjson,
    /// Apache Parquet
    Parquet,
    /// Arrow IPC: a file with --to, else a stream
    Arrow,
    /// A table as GitHub shows it
    Markdown,
}

#[cfg(feature = "sql")]
impl Format {
    /// The format that a file's extension stands for.
    pub fn of_extension(extension: &str) -> Option<Format> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv,
            "tsv" | "tab" => Format::Tsv,
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "parquet" => Format::Parquet,
            "arrow" | "feather" | "ipc" => Format::Arrow,
            "md" => Format::Markdown,
            _ => return None,
        })
    }

    /// Whether it is not text: it has no place on a terminal, and two results have none in one file.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    fn run(args: &[&str]) -> Run {
        let all = ["timecraft", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_after_the_module_is_the_guests() {
        for args in [
            &["m.wasm", "-e", "A=b", "--dir", "--", "-x"][..],
            &["--", "m.wasm", "-e", "A=b", "--dir", "--", "-x"],
        ] {
            let run = run(args);
            assert_eq!(run.command, ["m.wasm", "-e", "A=b", "--dir", "--", "-x"]);
            assert!(run.env.is_empty());
        }
        assert_eq!(
            run(&["-e", "A=b", "--name", "n", "m.wasm", "--help"]).command,
            ["m.wasm", "--help"]
        );
    }

    #[test]
    fn restrict_refuses_what_comes_in_bulk() {
        assert!(
            Cli::try_parse_from(["timecraft", "run", "--restrict", "--inherit-env", "m"]).is_err()
        );
        assert!(run(&["--restrict", "-e", "A=b", "m"]).restrict);
    }

    #[cfg(feature = "sql")]
    #[test]
    fn a_query_may_begin_with_a_comment() {
        let Command::Sql(sql) = Cli::try_parse_from(["timecraft", "sql", "-- one\nselect 1"])
            .unwrap()
            .command
        else {
            panic!()
        };
        assert_eq!(sql.query.as_deref(), Some("-- one\nselect 1"));
    }
}

//! The commands that show what went over the network.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::exchanges::filter::Statuses;
use crate::network::filter::{Block, NamePattern, Protocol};
use crate::units::{self, Moment};

/// What can be traced.
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Print what a process did with sockets, names and TLS
    #[command(visible_alias = "net")]
    Network(Box<TraceNetwork>),
    /// Print what names a process asked DNS servers for, and what they answered
    Dns(Box<TraceDns>),
    /// Print the HTTP requests of a process with their responses
    #[command(visible_alias = "req")]
    Request(Box<TraceRequest>),
}

/// Print what a process did with sockets, names and TLS.
///
/// A line is a call on a socket: when (UTC), who to whom, what, how it ended, how many bytes. Of what
/// was received and accepted the peer stands first. Names that were looked up and TLS sessions have
/// lines of their own. A process that runs is shown up to now, or with --follow to its end. With
/// --verbose also the calls that moved nothing: options, addresses, attempts that would have waited.
#[derive(Debug, Args)]
pub struct TraceNetwork {
    #[command(flatten)]
    pub options: TraceOptions,
    /// Only what is from, to or resolved to this IP address or block, such as 10.0.0.0/8 (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub address: Vec<Block>,
    /// Only what is from or to this port (may be repeated)
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Only what is with a server of this name, once it is known, or of *.NAME (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub name: Vec<NamePattern>,
    /// Only what this carries (may be repeated)
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    pub protocol: Vec<Protocol>,
}

/// Print what names a process asked DNS servers for, and what they answered.
///
/// A line is a query with its response, over UDP or TCP and at any port: when (UTC), who asked whom, for
/// what, the answer, and how long it took. It stands where the response came; a query without one where
/// its connection or the log ends. With --verbose also all sections of both messages, as dig has them.
#[derive(Debug, Args)]
pub struct TraceDns {
    #[command(flatten)]
    pub options: TraceOptions,
    /// Only what is from, to or resolved to this IP address or block, such as 10.0.0.0/8 (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub address: Vec<Block>,
    /// Only what is from or to this port (may be repeated)
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Only questions about this name, or names below *.NAME (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub name: Vec<NamePattern>,
    /// Only questions of this type, such as AAAA (may be repeated)
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Vec<String>,
    /// Only responses with this code, such as NXDOMAIN (may be repeated)
    #[arg(long, value_name = "RCODE")]
    pub rcode: Vec<String>,
    /// Only what this carries (may be repeated)
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    pub protocol: Vec<Protocol>,
}

/// Print the HTTP requests of a process with their responses.
///
/// A line is a request with its response: when it began (UTC), client and server, method and target,
/// status. It is written when it has ended, and at the end what is in flight. With --verbose the heads
/// and bodies follow, what the client sent after `>`, what the server sent after `<`; bodies are decoded
/// and at most 16 KiB of each are shown. HTTP is known by its bytes, at any port, HTTP/2 too; of TLS that
/// the guest does itself nothing is seen.
#[derive(Debug, Args)]
pub struct TraceRequest {
    #[command(flatten)]
    pub options: TraceOptions,
    /// Only requests to this host, or below *.HOST (may be repeated)
    #[arg(long, value_name = "HOST")]
    pub host: Vec<NamePattern>,
    /// Only requests of this method (may be repeated)
    #[arg(long, value_name = "METHOD")]
    pub method: Vec<String>,
    /// Only responses of this status: 404, 4xx or 400-499 (may be repeated)
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Statuses>,
    /// Only requests for this path or one below it (may be repeated)
    #[arg(long, value_name = "PATH")]
    pub path: Vec<String>,
}

/// What all traces take.
#[derive(Debug, Args)]
pub struct TraceOptions {
    /// The process: its id or the end of it, its name, or `latest`
    #[arg(value_name = "PROCESS")]
    pub process: String,
    /// Show more of it: the bytes of what was sent and received
    #[arg(short, long)]
    pub verbose: bool,
    /// How it is written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = TraceFormat::Text)]
    pub output: TraceFormat,
    /// Begin here: at a time such as 2026-11-24T08:13:20Z, or so long after the process started: 1m30s
    #[arg(short = 't', long, value_name = "TIME", value_parser = units::parse_moment)]
    pub start_time: Option<Moment>,
    /// End this long after the beginning
    #[arg(short, long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub duration: Option<Duration>,
    /// Go on for as long as the process runs
    #[arg(short, long)]
    pub follow: bool,
}

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// For people
    Text,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
}

/// What can be exported.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// Write what went over the network as packets, for Wireshark
    Pcapng(ExportPcapng),
    /// Write the HTTP requests with their responses as an archive, for a browser's network panel
    Har(ExportHar),
}

/// Write what went over the network as packets, for Wireshark.
///
/// Ends, bytes, their order and times are those that were recorded. Handshakes, acknowledgements and
/// the cut into segments are made up, since the host's kernel keeps the real ones to itself. Where the
/// host does TLS for the guest, the packets carry clear text.
///
/// Unix sockets have no packets; what is left out is counted on standard error.
#[derive(Debug, Args)]
pub struct ExportPcapng {
    /// The process: its id or the end of it, its name, or `latest`
    #[arg(value_name = "PROCESS")]
    pub process: String,
    /// The file, which appears when all of it is written; `-` is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Write the HTTP requests with their responses as an archive (HAR 1.2), for a browser's network panel.
///
/// Bodies are decoded, and at most 1 MiB of each is written, in base64 where it is no text. Requests in
/// flight have the status 0. What a socket cannot tell, as the time that a connection waited in a queue,
/// is -1, as the format has it.
#[derive(Debug, Args)]
pub struct ExportHar {
    /// The process: its id or the end of it, its name, or `latest`
    #[arg(value_name = "PROCESS")]
    pub process: String,
    /// The file, which appears when all of it is written; `-` is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

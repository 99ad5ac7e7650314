//! The arguments of `history`, `drift` and `pins`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::values::parse_age;

/// `history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: HistoryCmd,
}

/// Which calls of the history a command is about.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only calls that pass this filter, such as server:db outcome:failed.
    pub filter: Vec<String>,
    /// Only calls of this long ago at most: 30m, 24h, 7d.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub since: Option<Duration>,
    /// Only calls of this session: its id or a part of it, or last for the one that began last.
    #[arg(long, value_name = "ID", value_parser = parse_session)]
    pub session: Option<String>,
    /// Only calls before this one: the last one of the page before.
    #[arg(long, value_name = "CALL")]
    pub before: Option<String>,
}

/// The subcommands of `history`.
#[derive(Clone, Debug, Subcommand)]
pub enum HistoryCmd {
    /// List calls, newest first.
    List {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Search names, arguments, results and errors for a text.
    Search {
        /// The text.
        text: String,
        /// Which calls.
        #[command(flatten)]
        selection: Selection,
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// List sessions, newest first: runs of the program, with their calls.
    Sessions {
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show a call with its arguments and its result.
    Show {
        /// The id of the call.
        call: String,
    },
    /// Print rates, errors and durations over time.
    Stats {
        /// The length of the period that ends now: 1h, 24h, 7d [default: 24h].
        #[arg(long, value_name = "AGE", value_parser = parse_age)]
        since: Option<Duration>,
        /// What has a row.
        #[arg(long, value_enum, default_value_t)]
        by: RowsBy,
        /// Compare with the period of the same length before.
        #[arg(long)]
        compare: bool,
    },
    /// Write calls with arguments and results to a file, secrets masked.
    Export {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// Export at most this many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        last: usize,
        /// The format of the file: jsonl is a session file for `mock`.
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
        /// Write to this file [default: stdout].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete old calls.
    Prune {
        /// Delete calls of longer ago than this: 24h, 30d.
        #[arg(long, value_name = "AGE", value_parser = parse_age)]
        older_than: Duration,
    },
}

/// `check`.
#[derive(Clone, Debug, Args)]
pub struct ResultCheckArgs {
    /// The session file, from `history export`.
    pub file: PathBuf,
    /// Ignore the members at this path, such as structuredContent.time; repeatable.
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// Write a JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// `open`.
#[derive(Clone, Debug, Args)]
pub struct OpenArgs {
    /// The session file.
    pub file: PathBuf,
}

/// `mock`.
#[derive(Clone, Debug, Args)]
pub struct MockArgs {
    /// The session file.
    pub file: PathBuf,
    /// Answer as this server only [default: all servers of the file].
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Scale the recorded latency: 1 as recorded, 0 without delay.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_factor)]
    pub speed: f64,
    /// Answer over HTTP at this address in place of stdin and stdout: an IP address with a port, such as 127.0.0.1:7421.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
}

fn parse_session(text: &str) -> Result<String, String> {
    let valid = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '|');
    if valid {
        Ok(text.to_lowercase())
    } else {
        Err("expected the id of a session, or last; list them with: switchboard history sessions".into())
    }
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (0.0..=1000.0).contains(factor));
    factor.ok_or_else(|| "expected a number from 0 to 1000".to_owned())
}

/// What `history stats` prints a row for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RowsBy {
    /// Each tool.
    #[default]
    Tool,
    /// Each server.
    Server,
    /// Each hour.
    Hour,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A session file: one JSON document per line, for `mock`.
    #[default]
    Jsonl,
    /// HTTP archive (HAR 1.2), for tools that show HTTP traffic.
    Har,
    /// Markdown, for a report.
    Markdown,
    /// One self-contained HTML page with a waterfall.
    Html,
}

/// `drift`.
#[derive(Clone, Debug, Default, Args)]
pub struct DriftArgs {
    /// Show all recorded changes, including accepted ones.
    #[arg(long)]
    pub all: bool,
    /// Compare two servers: show what changes for callers if OTHER replaces SERVER.
    #[arg(long, num_args = 2, value_names = ["SERVER", "OTHER"], conflicts_with = "all")]
    pub between: Option<Vec<String>>,
    /// Exit with code 12 if there is such a change.
    #[arg(long, value_enum, value_name = "IMPACT")]
    pub fail_on: Option<FailOn>,
}

/// The changes that make `drift` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Changes that break callers.
    Breaking,
    /// All changes.
    Any,
}

/// `pins`.
#[derive(Clone, Debug, Args)]
pub struct PinsArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: PinsCmd,
}

/// The subcommands of `pins`.
#[derive(Clone, Debug, Subcommand)]
pub enum PinsCmd {
    /// List the definitions of servers, and whether they are accepted.
    List {
        /// Only this server.
        name: Option<String>,
    },
    /// Accept the current definitions of a server.
    Accept {
        /// The server.
        name: String,
        /// Only definitions with this name.
        definition: Option<String>,
    },
}

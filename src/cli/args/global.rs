//! The global options: flags of every command.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::values::{parse_duration, parse_elicit, parse_fault, parse_input, parse_override, parse_sample, parse_secret};
use crate::{
    cli::style::ColorChoice,
    domain::{
        policy::{breaker::BreakerOverride, fault::Fault},
        secret::{MASK, Secret},
    },
};

/// Flags of every command, before or after it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Read this configuration file instead of the default ones; repeatable.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,
    /// Use the built-in demo servers.
    #[arg(long, global = true)]
    pub demo: bool,
    /// Connect only to this server; repeatable.
    #[arg(long = "server", value_name = "NAME", global = true)]
    pub servers: Vec<String>,
    /// Use this environment of the configuration: its variables and its servers [env: SWITCHBOARD_ENVIRONMENT].
    #[arg(long, value_name = "NAME", global = true, env = "SWITCHBOARD_ENVIRONMENT", hide_env = true, hide_short_help = true)]
    pub environment: Option<String>,
    /// Do not read the project's configuration file.
    #[arg(long, global = true, hide_short_help = true)]
    pub no_project_config: bool,
    /// Approve the project for this command if it has this hash (see `approve`).
    #[arg(long, value_name = "HASH", global = true, hide_short_help = true)]
    pub trust: Option<String>,
    /// Send this header to the server given as a URL; repeatable. The value is never printed.
    #[arg(long, value_name = "NAME: VALUE", global = true, value_parser = parse_secret, hide_short_help = true)]
    pub header: Vec<Secret>,
    /// Set this variable for the server command given after --; without =VALUE pass on the variable of this environment;
    /// repeatable. The value is never printed.
    #[arg(long, value_name = "NAME[=VALUE]", global = true, value_parser = parse_secret, hide_short_help = true)]
    pub env: Vec<Secret>,
    /// Give the value of an input that a configuration file asks for, or with `run` of the workflow; repeatable.
    #[arg(long = "input", value_name = "ID=VALUE", global = true, value_parser = parse_input, hide_short_help = true)]
    pub inputs: Vec<InputValue>,
    /// Start servers without the sandbox that their client would put them into.
    #[arg(long, global = true, hide_short_help = true)]
    pub allow_unsandboxed: bool,
    /// Print results in this format [default: table].
    #[arg(short = 'o', long, value_name = "FORMAT", global = true, value_enum, conflicts_with_all = ["json", "jsonl"])]
    pub output_format: Option<OutputFormat>,
    /// Print one JSON document.
    #[arg(long, global = true, conflicts_with = "jsonl")]
    pub json: bool,
    /// Print one JSON document per line, as events occur.
    #[arg(long, global = true)]
    pub jsonl: bool,
    /// Print server text unchanged, including control characters and binary content.
    #[arg(long, global = true, hide_short_help = true)]
    pub raw: bool,
    /// Print progress and log messages of servers on stderr; with --jsonl also the frames.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print no warnings, notes and progress on stderr, only failures.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Use colours.
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t)]
    pub color: ColorChoice,
    /// Print long output without a pager.
    #[arg(long, global = true, hide_short_help = true)]
    pub no_pager: bool,
    /// Write the log to this file; SWITCHBOARD_LOG sets its level: off, error, warn, info, debug or trace, or a filter such
    /// as info,switchboard::call=debug [default: log/switchboard.log in the state folder, info].
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true)]
    pub log_file: Option<PathBuf>,
    /// Limit the duration of the whole command: 500ms, 5s, 2m; a plain number is seconds.
    #[arg(long, value_name = "TIME", global = true, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Allow calls to destructive tools; with `approve`, approve without a question.
    #[arg(long, global = true)]
    pub yes: bool,
    /// Send arguments and answers that violate their schema, with a warning.
    #[arg(long, global = true, hide_short_help = true)]
    pub no_check: bool,
    /// Fail with exit code 4 if a result violates its output schema, and refuse arguments that cannot be fully validated.
    #[arg(long, global = true, hide_short_help = true)]
    pub strict: bool,
    /// Override a circuit breaker first: trip, hold-open, hold-closed or reset; repeatable.
    #[arg(long, value_name = "SERVER[/TOOL]=OVERRIDE", global = true, value_parser = parse_override, hide_short_help = true)]
    pub breaker: Vec<ForTarget<BreakerOverride>>,
    /// Inject faults: latency=200ms, and rates of fail, drop, cut and corrupt, as in flaky=latency=1s,fail=0.3; repeatable.
    #[arg(long, value_name = "SERVER[/TOOL]=FAULTS", global = true, value_parser = parse_fault, hide_short_help = true)]
    pub inject: Vec<ForTarget<Fault>>,
    /// Log in to servers that require it: opens the browser and waits, at most five minutes for each [default: exit code 3].
    #[arg(long, global = true)]
    pub login: bool,
    /// Use a running engine (see `up`) in place of one of this process: its name, or auto for the one that has the same servers
    /// [env: SWITCHBOARD_VIA].
    #[arg(long, value_name = "NAME|auto", global = true, env = "SWITCHBOARD_VIA", hide_env = true, hide_short_help = true)]
    pub via: Option<String>,
    /// Respond to elicitation requests with decline, defaults, @FILE or JSON [default: decline].
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_elicit, hide_short_help = true)]
    pub elicit: Option<ReplySource>,
    /// Respond to sampling requests with decline, @FILE or JSON [default: decline].
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_sample, hide_short_help = true)]
    pub sample: Option<ReplySource>,
}

/// The value of an input. It may be a secret, so it is not printed.
#[derive(Clone, PartialEq)]
pub struct InputValue {
    /// The id of the input.
    pub id: String,
    /// Its value.
    pub value: String,
}

impl InputValue {
    /// Returns the argument as given.
    pub fn assignment(&self) -> String {
        format!("{}={}", self.id, self.value)
    }
}

impl std::fmt::Debug for InputValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={MASK}", self.id)
    }
}

/// A value for a server or one of its tools.
#[derive(Clone, Debug, PartialEq)]
pub struct ForTarget<T> {
    /// `server` or `server/tool` as written; resolved once the servers are known.
    pub target: String,
    /// The value.
    pub value: T,
}

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Text for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line, as events occur.
    Jsonl,
    /// One YAML document.
    Yaml,
}

/// Source of the response to a server's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplySource {
    /// Decline it.
    Decline,
    /// The defaults of the form's schema.
    Defaults,
    /// This JSON object.
    Json(String),
    /// The JSON object in this file.
    File(PathBuf),
}

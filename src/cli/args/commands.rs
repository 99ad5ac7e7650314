//! The arguments of commands, in the order of the command list.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{CheckArgs, OnLine, ServeAccess, values::parse_server_name};
use crate::domain::{
    policy::{breaker::BreakerOverride, fault::Fault},
    secret::Secret,
};

/// `tools`.
#[derive(Clone, Debug, Default, Args)]
pub struct ToolsArgs {
    /// Show only tools that match: part of a name, title or description, or a pattern for names with * and ?.
    pub pattern: Option<String>,
    /// Also print the schemas.
    #[arg(long)]
    pub schema: bool,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `resources`, `templates` and `prompts`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListArgs {
    /// Show only entries that match: part of a name, URI, title or description, or a pattern for names and URIs with * and ?.
    pub pattern: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `call`.
#[derive(Clone, Debug, Default, Args)]
pub struct CallArgs {
    /// The tool: its exposed name (see `tools`), or server/tool.
    pub tool: String,
    /// Arguments: key=value by the tool's schema, key:=json as JSON; a repeated key is a list, a.b=value sets a nested key, \. is a
    /// literal dot.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Pass a JSON object of arguments: JSON, @FILE or - (stdin); KEY=VALUE overrides it.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub args: Option<String>,
    /// Add members to `_meta` of the request: a JSON object, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub meta: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `read`.
#[derive(Clone, Debug, Default, Args)]
pub struct ReadArgs {
    /// The URI of the resource; --server NAME selects the server.
    pub uri: String,
    /// Add members to `_meta` of the request: a JSON object, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub meta: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `prompt`.
#[derive(Clone, Debug, Default, Args)]
pub struct PromptArgs {
    /// The prompt: its name, or server/name.
    pub name: String,
    /// Arguments; all are text.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Add members to `_meta` of the request: a JSON object, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub meta: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `complete`.
#[derive(Clone, Debug, Default, Args)]
pub struct CompleteArgs {
    /// The prompt (its name, or server/name) or the URI template, as listed.
    #[arg(value_name = "PROMPT|TEMPLATE")]
    pub subject: String,
    /// The argument with the beginning of its value.
    #[arg(value_name = "ARGUMENT=VALUE")]
    pub argument: String,
    /// Values of other arguments, on which the suggestions may depend.
    #[arg(value_name = "KEY=VALUE")]
    pub others: Vec<String>,
    /// Add members to `_meta` of the request: a JSON object, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub meta: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `watch`.
#[derive(Clone, Debug, Default, Args)]
pub struct WatchArgs {
    /// The URI of the resource; --server NAME selects the server.
    pub uri: String,
    /// End after this number of updates.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `request`.
#[derive(Clone, Debug, Default, Args)]
pub struct RequestArgs {
    /// The server, which can be left out if there is only one, and the method.
    #[arg(value_name = "[SERVER] METHOD", num_args = 1..=2, required = true)]
    pub target: Vec<String>,
    /// Pass these params: a JSON object or array, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub params: Option<String>,
    /// Add members to `_meta` of the request: a JSON object, @FILE or - (stdin).
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub meta: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `route`.
#[derive(Clone, Debug, Default, Args)]
pub struct RouteArgs {
    /// The tool: its exposed name (see `tools`), or server/tool.
    pub tool: String,
    /// Pass a JSON object of arguments, for groups with the sticky strategy: JSON or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    pub args: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `breaker`.
#[derive(Clone, Debug, Default, Args)]
pub struct BreakerArgs {
    /// The server, or one of its tools: SERVER or SERVER/TOOL [default: all].
    pub target: Option<String>,
    /// What to do [default: print the state].
    #[arg(requires = "target")]
    pub action: Option<BreakerAction>,
}

/// What `breaker` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BreakerAction {
    /// Open it; probes close it again.
    #[value(alias = "trip")]
    Open,
    /// Open it, without probes, until a reset.
    HoldOpen,
    /// Close it, whatever fails, until a reset.
    HoldClosed,
    /// Close it and clear its counts.
    #[value(alias = "close")]
    Reset,
}

impl From<BreakerAction> for BreakerOverride {
    fn from(action: BreakerAction) -> BreakerOverride {
        match action {
            BreakerAction::Open => BreakerOverride::Trip,
            BreakerAction::HoldOpen => BreakerOverride::HoldOpen,
            BreakerAction::HoldClosed => BreakerOverride::HoldClosed,
            BreakerAction::Reset => BreakerOverride::Reset,
        }
    }
}

/// `fault`.
#[derive(Clone, Debug, Default, Args)]
pub struct FaultArgs {
    /// The server, or one of its tools: SERVER or SERVER/TOOL [default: all].
    pub target: Option<String>,
    /// The faults to inject: latency=200ms, and rates of fail, drop, cut and corrupt, as in latency=1s,fail=0.3.
    #[arg(requires = "target", value_parser = Fault::parse)]
    pub fault: Option<Fault>,
    /// Stop the injection.
    #[arg(long, requires = "target", conflicts_with = "fault")]
    pub off: bool,
}

/// `serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Serve one client over stdin and stdout, whatever the configuration says [default without a listener].
    #[arg(long, conflicts_with_all = ["http", "socket"])]
    pub stdio: bool,
    /// Listen on this address: an IP address with a port, such as 127.0.0.1:7420. Port 0 selects a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
    /// Listen on this Unix socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Require the bearer token in this file.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Offer this profile to the client on stdin and stdout. Over HTTP, clients choose a profile by the path /mcp/NAME.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["http", "socket"])]
    pub profile: Option<String>,
    /// Accept this host in addition to the address and loopback names; repeatable.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Accept requests of web pages of this origin in addition to those of this machine; repeatable.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// What `attach` and --via may do with the engine of the gateway.
    #[arg(long, value_name = "ACCESS", default_value = "full")]
    pub control: ServeAccess,
    /// The name of the engine for `attach` and --via [default: serve-PID].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `cache`.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub action: CacheAction,
}

/// The subcommands of `cache`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CacheAction {
    /// Purge the cached responses of matching tools or of a server.
    ///
    /// Only responses in Redis outlive the process; those in memory end with it.
    Purge {
        /// An exposed name, server/tool or a server; with * and ?, or /a regular expression/.
        pattern: String,
    },
    /// Show the store of the response cache and its state.
    Stats,
}

/// `servers`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServersArgs {
    /// The servers; all by default.
    #[arg(value_name = "NAME", value_parser = parse_server_name)]
    pub names: Vec<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorArgs {
    /// The servers; all by default.
    #[arg(value_name = "NAME", value_parser = parse_server_name)]
    pub names: Vec<String>,
    /// How findings are printed.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Write a report for a bug report to this file: versions, configuration, log and failures, with secrets masked; - is stdout.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `install`.
#[derive(Clone, Debug, Default, Args)]
pub struct InstallArgs {
    /// The client: claude-code, claude-desktop, cursor, vscode, zed, codex, gemini, opencode, windsurf, kiro, junie and others.
    #[arg(value_name = "CLIENT")]
    pub client: String,
    /// Take the installation back.
    #[arg(long)]
    pub undo: bool,
    /// Print the entry and write nothing.
    #[arg(long, conflicts_with = "undo")]
    pub print: bool,
    /// Use the client's file in this project instead of the user's.
    #[arg(long)]
    pub project: bool,
    /// Move the client's own servers into your configuration file.
    ///
    /// Values of secrets become variables there, and stay in the client's file as the environment of the gateway. --undo takes both
    /// changes back.
    #[arg(long = "move", conflicts_with_all = ["undo", "print", "project"])]
    pub move_servers: bool,
    /// Offer this profile.
    #[arg(long, value_name = "NAME", conflicts_with = "undo")]
    pub profile: Option<String>,
}

/// `import`.
#[derive(Clone, Debug, Default, Args)]
pub struct ImportArgs {
    /// Import these files instead of searching for the files of other programs.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write to the configuration file instead of printing.
    #[arg(long)]
    pub write: bool,
    /// Also import the servers of this project's files.
    #[arg(long)]
    pub project: bool,
    /// Print secret values instead of •••.
    #[arg(long)]
    pub show_secrets: bool,
    /// Write secret values into the file or the keyring of the desktop, or ${VARIABLES} in their place together with the lines that
    /// set them [default: ask on a terminal, else file].
    #[arg(long, value_name = "WHERE")]
    pub secrets: Option<SecretPlace>,
}

/// Where `import` puts secret values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretPlace {
    /// In the configuration file.
    File,
    /// In the environment: the file has variables.
    Env,
    /// In the keyring of the desktop: the file has ${keyring:NAME} (with the cargo feature `keyring`).
    Keyring,
}

/// `approve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ApproveArgs {
    /// Approve without a question if the project has this hash.
    #[arg(long, value_name = "HASH")]
    pub hash: Option<String>,
}

/// `demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoArgs {
    /// Make calls in the background.
    #[arg(long)]
    pub traffic: bool,
    /// Show a tour of two minutes; any key ends it.
    #[arg(long)]
    pub tour: bool,
}

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `__complete`, which completion scripts run.
#[derive(Clone, Debug, Default, Args)]
pub struct CompleteWordsArgs {
    /// The place of the word to complete, from 0.
    pub index: usize,
    /// The words of the command line, from the name of the program.
    #[arg(last = true)]
    pub words: Vec<String>,
}

/// `man`.
#[derive(Clone, Debug, Default, Args)]
pub struct ManArgs {
    /// The command, such as `call` or `workflow check`.
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// `demo-server`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoServerArgs {
    /// The name of the server.
    pub name: String,
    /// Set the folder of its state.
    #[arg(long)]
    pub dir: PathBuf,
}

/// `reaper`.
#[derive(Clone, Debug, Default, Args)]
pub struct ReaperArgs {
    /// The marker of the processes that it ends.
    pub mark: String,
}

/// `login`.
#[derive(Clone, Debug, Default, Args)]
pub struct LoginArgs {
    /// The server; can be left out if there is only one with a url.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Ask for this scope too; repeatable.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Log in for this client of the gateway, by the name of its profile, if the server has per_principal = true.
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Do not open a browser.
    #[arg(long)]
    pub no_browser: bool,
    /// Print the address to open, and end; --finish continues within ten minutes.
    #[arg(long, conflicts_with = "finish")]
    pub start: bool,
    /// Finish the login that --start began: the address to which the browser was sent, or its query.
    #[arg(long, value_name = "ADDRESS", value_parser = super::values::parse_secret)]
    pub finish: Option<Secret>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `logout`.
#[derive(Clone, Debug, Default, Args)]
pub struct LogoutArgs {
    /// The server; can be left out if there is only one with a url.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Delete the login of this client of the gateway.
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Let the authorization server revoke the tokens first.
    #[arg(long)]
    pub revoke: bool,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

//! Command line: defines and parses it. The composition root chooses the face by it.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::{exit, names::similar};
use crate::domain::{
    policy::{breaker::BreakerOverride, fault::Fault},
    run::{Change, Setting},
};

/// A terminal console for many MCP servers.
///
/// Without a command, opens the console on the configured servers, or on the server given after `--` or as a URL.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100, after_long_help = after_help(), subcommand_negates_reqs = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command; `None` opens the console.
    #[command(subcommand)]
    pub command: Option<Cmd>,
    /// Use the server at this URL instead of the configured ones: http://, https:// or unix:///path/to.sock#/mcp.
    #[arg(value_name = "URL", value_parser = parse_url)]
    pub url: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

fn after_help() -> String {
    format!(
        "Examples:\n  switchboard\n  switchboard demo --traffic\n  switchboard -- npx -y @modelcontextprotocol/server-everything\n  \
         switchboard https://example.com/mcp\n  switchboard tools --demo 'database_*'\n  \
         switchboard call --demo database_query_users role=admin limit=5\n  \
         switchboard call --demo database/query_users --args '{{\"role\":\"admin\"}}' --json\n  \
         switchboard run --demo onboard_new_user email=ann@example.com name=Ann --yes\n\n{}",
        exit::help()
    )
}

/// Flags of every command, before or after it.
#[derive(Clone, Debug, Default, Args)]
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
    /// Do not read the project's configuration file.
    #[arg(long, global = true)]
    pub no_project_config: bool,
    /// Approve the project for this command if it has this hash (see `approve`).
    #[arg(long, value_name = "HASH", global = true)]
    pub trust: Option<String>,
    /// Print one JSON document.
    #[arg(long, global = true, conflicts_with = "jsonl")]
    pub json: bool,
    /// Print one JSON document per line, as events occur.
    #[arg(long, global = true)]
    pub jsonl: bool,
    /// Print server text unchanged, including control characters and binary content.
    #[arg(long, global = true)]
    pub raw: bool,
    /// Print progress and log messages of servers on stderr; with --jsonl also the frames.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Limit the duration of the whole command: 500ms, 5s, 2m; a plain number is seconds.
    #[arg(long, value_name = "TIME", global = true, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Allow calls to destructive tools; with `approve`, approve without a question.
    #[arg(long, global = true)]
    pub yes: bool,
    /// Override a circuit breaker first: trip, hold-open, hold-closed or reset; repeatable.
    #[arg(long, value_name = "SERVER[/TOOL]=OVERRIDE", global = true, value_parser = parse_override)]
    pub breaker: Vec<ForTarget<BreakerOverride>>,
    /// Inject faults: latency=200ms, and rates of fail, drop, cut and corrupt, as in flaky=latency=1s,fail=0.3; repeatable.
    #[arg(long, value_name = "SERVER[/TOOL]=FAULTS", global = true, value_parser = parse_fault)]
    pub inject: Vec<ForTarget<Fault>>,
    /// Respond to elicitation requests with decline, defaults, @FILE or JSON [default: decline].
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_elicit)]
    pub elicit: Option<ReplySource>,
    /// Respond to sampling requests with decline, @FILE or JSON [default: decline].
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_sample)]
    pub sample: Option<ReplySource>,
}

/// A value for a server or one of its tools.
#[derive(Clone, Debug, PartialEq)]
pub struct ForTarget<T> {
    /// `server` or `server/tool` as written; resolved once the servers are known.
    pub target: String,
    /// The value.
    pub value: T,
}

/// A server given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct OnLine {
    /// Use this server instead of the configured ones: a command with its arguments, or a URL.
    #[arg(last = true, value_name = "SERVER COMMAND")]
    pub words: Vec<String>,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Cmd {
    /// List the tools of all servers.
    Tools(ToolsArgs),
    /// Call a tool and print its result.
    ///
    /// A tool is called without a question if its annotations say that it is read-only (`readOnlyHint: true`) or not
    /// destructive (`destructiveHint: false`). Any other tool needs --yes, or your confirmation if stdin and stderr are a
    /// terminal. For this, annotations are used even if the server is not trusted.
    ///
    /// Arguments are validated against the tool's schema before the call is sent.
    Call(CallArgs),
    /// Read a resource and print it.
    Read(ReadArgs),
    /// Get a prompt and print its messages.
    Prompt(PromptArgs),
    /// Explain the route of a call without making it.
    Route(RouteArgs),
    /// Purge cached responses, or show the state of the response cache.
    Cache(CacheArgs),
    /// List the servers and their state.
    Servers(ServersArgs),
    /// Check every server and suggest fixes.
    Doctor(ServersArgs),
    /// Run a workflow: progress on stderr, its outputs on stdout as JSON.
    ///
    /// Workflows are in the `workflows` folder next to the configuration; --demo has four. Each step is written to a
    /// journal before it runs, so an interrupted run can be resumed with --resume. Ctrl-C cancels the run and starts its
    /// compensation, if the workflow defines one; a second Ctrl-C stops the compensation. Destructive tools need --yes, or
    /// your confirmation at a terminal, as with `call`.
    Run(Box<RunArgs>),
    /// Check, list, draw, create and test workflows.
    Workflow(WorkflowArgs),
    /// Import the servers that editors and agents have configured.
    ///
    /// Prints a configuration for Switchboard. Files of the project (.mcp.json, .vscode/mcp.json and the like) are shown
    /// with everything that they would start, but imported only with --project, because the project's authors chose them.
    Import(ImportArgs),
    /// Open the console on the built-in demo servers.
    Demo(DemoArgs),
    /// Show what the project would start and run, and approve exactly that.
    ///
    /// Asks on a terminal. Elsewhere, --hash approves the project with that hash, which the refusal of another command
    /// prints, and --yes approves what is shown. Nothing is started.
    Approve(ApproveArgs),
    /// Print a completion script.
    Completions(CompletionsArgs),
    /// Print the manual page.
    Man,
    /// Run a demo server.
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    /// End the processes that a crashed console left behind.
    #[command(hide = true)]
    Reaper(ReaperArgs),
}

/// `tools`.
#[derive(Clone, Debug, Default, Args)]
pub struct ToolsArgs {
    /// Show only tools that match: part of a name, or a pattern with * and ?.
    pub pattern: Option<String>,
    /// Also print the schemas.
    #[arg(long)]
    pub schema: bool,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `call`.
#[derive(Clone, Debug, Default, Args)]
pub struct CallArgs {
    /// The tool: its exposed name (see `tools`), or server/tool.
    pub tool: String,
    /// Arguments: key=value by the tool's schema, key:=json as JSON; a.b=value sets a nested key, \. is a literal dot.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Pass a JSON object of arguments: JSON, @FILE or - (stdin); KEY=VALUE overrides it.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub args: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `read`.
#[derive(Clone, Debug, Default, Args)]
pub struct ReadArgs {
    /// The URI of the resource; --server NAME selects the server.
    pub uri: String,
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

/// `servers` and `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServersArgs {
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// The workflow: its name, or the path of its file.
    #[arg(required_unless_present = "resume")]
    pub workflow: Option<String>,
    /// Input: key=value by the workflow's schema, key:=json as JSON.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Set an input, as with the positional KEY=VALUE; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub input: Vec<String>,
    /// Read the input, a JSON object, from this file; KEY=VALUE overrides it.
    #[arg(long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Write the steps as a JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Override a setting of a step for this run: STEP.timeout=20s, STEP.retry=3.
    #[arg(long, value_name = "STEP.KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<Setting>,
    /// Print the calls of the run without making them.
    #[arg(long)]
    pub dry_run: bool,
    /// Resume the interrupted run with this id; finished steps are not repeated.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["workflow", "assignments", "input", "input_file", "set", "dry_run"])]
    pub resume: Option<String>,
    /// Approve this step in advance.
    #[arg(long, value_name = "STEP")]
    pub approve: Vec<String>,
    /// Answer the form of this step in advance with a JSON object.
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
    pub answer: Vec<(String, String)>,
    /// Repeat this in-doubt step, although it may have run (of a for_each: each in-doubt item); needs --resume.
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub repeat: Vec<String>,
    /// Skip this in-doubt step and use this result (of a for_each: each in-doubt item); needs --resume.
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer, requires = "resume")]
    pub skip: Vec<(String, String)>,
}

/// `workflow`.
#[derive(Clone, Debug, Args)]
pub struct WorkflowArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: WorkflowCmd,
}

/// The subcommands of `workflow`.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkflowCmd {
    /// Check workflow files and print the errors with their positions.
    Check(WorkflowCheckArgs),
    /// List the workflows.
    List,
    /// Draw the graph of a workflow.
    Graph {
        /// The workflow: its name, or the path of its file.
        workflow: String,
        /// Set the output format.
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// Create a workflow file from a template or from a call in the history.
    New {
        /// The workflow's name.
        name: String,
        /// Create it from the call with this id in the history.
        #[arg(long, value_name = "CALL")]
        from_call: Option<String>,
        /// Print it instead of writing a file.
        #[arg(long)]
        print: bool,
    },
    /// Print the JSON Schema of workflow files, for editors.
    Schema,
    /// Test workflows without servers, by test files (NAME.test.toml) [default: all in the workflow folders].
    Test {
        /// The test files.
        files: Vec<PathBuf>,
        /// Write the cases as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Create a test case from a finished run, with its recorded responses.
    TestFromRun {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
        /// Set the name of the case.
        #[arg(long, value_name = "NAME")]
        case: Option<String>,
        /// Append it to the test file next to the workflow instead of printing it.
        #[arg(long)]
        write: bool,
    },
    /// Create a workflow from past calls, linking results to the arguments that use them.
    FromHistory {
        /// The workflow's name.
        #[arg(long, default_value = "from_history")]
        name: String,
        /// Use this many of the most recent tool calls.
        #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "ids")]
        last: usize,
        /// Use the calls with these ids, in this order.
        #[arg(long, value_name = "CALL", value_delimiter = ',')]
        ids: Vec<String>,
        /// Write it to the workflow folder instead of printing it.
        #[arg(long)]
        write: bool,
    },
}

/// `workflow check`.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkflowCheckArgs {
    /// The workflows: names or paths of files [default: all].
    pub workflows: Vec<String>,
    /// Start the servers and check the calls against their tools.
    #[arg(long)]
    pub live: bool,
}

/// Output format of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Boxes and lines.
    #[default]
    Text,
    /// Mermaid, which GitHub displays.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
}

/// `import`.
#[derive(Clone, Debug, Default, Args)]
pub struct ImportArgs {
    /// Write to the configuration file instead of printing.
    #[arg(long)]
    pub write: bool,
    /// Also import the servers of this project's files.
    #[arg(long)]
    pub project: bool,
    /// Print secret values instead of •••.
    #[arg(long)]
    pub show_secrets: bool,
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
}

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
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

/// A command that needs the engine and no terminal.
#[derive(Clone, Debug)]
pub enum Headless {
    /// `tools`
    Tools(ToolsArgs),
    /// `call`
    Call(CallArgs),
    /// `read`
    Read(ReadArgs),
    /// `prompt`
    Prompt(PromptArgs),
    /// `route`
    Route(RouteArgs),
    /// `servers`
    Servers,
    /// `doctor`
    Doctor,
    /// `run`
    Run(Box<RunArgs>),
    /// `workflow check --live`
    CheckLive(WorkflowCheckArgs),
}

impl Headless {
    /// Returns whether it makes calls that the history stores.
    pub fn calls(&self) -> bool {
        matches!(self, Headless::Call(_) | Headless::Read(_) | Headless::Prompt(_) | Headless::Run(_))
    }
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

/// A server given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A program with its arguments; never empty.
    Command(Vec<String>),
    /// An endpoint.
    Url(String),
}

impl Cli {
    /// Returns the server given on the command line; `Err` if there are several.
    pub fn target(&self) -> Result<Option<Target>, String> {
        let after = match &self.command {
            Some(Cmd::Tools(a)) => Some(&a.server),
            Some(Cmd::Call(a)) => Some(&a.server),
            Some(Cmd::Read(a)) => Some(&a.server),
            Some(Cmd::Prompt(a)) => Some(&a.server),
            Some(Cmd::Route(a)) => Some(&a.server),
            Some(Cmd::Servers(a) | Cmd::Doctor(a)) => Some(&a.server),
            _ => None,
        };
        let lines = [Some(&self.server), after].into_iter().flatten().filter(|l| !l.words.is_empty());
        let mut targets: Vec<Target> = self.url.iter().cloned().map(Target::Url).collect();
        targets.extend(lines.map(|line| match line.words.as_slice() {
            [url] if is_url(url) => Target::Url(url.clone()),
            words => Target::Command(words.to_vec()),
        }));
        if targets.len() > 1 {
            return Err("the command line has more than one server: give one, or use a configuration file".into());
        }
        Ok(targets.pop())
    }
}

impl Cmd {
    /// Returns the command if it needs the engine but no terminal.
    pub fn headless(&self) -> Option<Headless> {
        Some(match self {
            Cmd::Tools(a) => Headless::Tools(a.clone()),
            Cmd::Call(a) => Headless::Call(a.clone()),
            Cmd::Read(a) => Headless::Read(a.clone()),
            Cmd::Prompt(a) => Headless::Prompt(a.clone()),
            Cmd::Route(a) => Headless::Route(a.clone()),
            Cmd::Servers(_) => Headless::Servers,
            Cmd::Doctor(_) => Headless::Doctor,
            Cmd::Run(a) => Headless::Run(a.clone()),
            Cmd::Workflow(WorkflowArgs { command: WorkflowCmd::Check(a) }) if a.live => Headless::CheckLive(a.clone()),
            _ => return None,
        })
    }
}

fn is_url(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["http://", "https://", "unix://"].iter().any(|scheme| word.starts_with(scheme))
}

fn parse_url(word: &str) -> Result<String, String> {
    if is_url(word) {
        return Ok(word.to_owned());
    }
    let commands = <Cli as clap::CommandFactory>::command();
    let known: Vec<String> = commands.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
    Err(match similar(word, known.iter().map(String::as_str), 1).first() {
        Some(close) => format!("unknown command, did you mean {close:?}?"),
        None => "this is neither a command nor a URL; write a program after --".into(),
    })
}

/// Parses `500ms`, `5s`, `2m`, `1h`; a plain number is seconds. Never zero.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a number with ms, s, m or h, as in 5s".into()),
    };
    let seconds = number.parse::<f64>().map_err(|_| "expected a number with ms, s, m or h, as in 5s".to_owned())? * scale;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be more than zero and not too large".into()),
    }
}

/// Parses `STEP.timeout=20s` and `STEP.retry=3`.
fn parse_setting(text: &str) -> Result<Setting, String> {
    let wrong = || "expected STEP.timeout=20s or STEP.retry=3".to_owned();
    let (left, value) = text.split_once('=').ok_or_else(wrong)?;
    let (step, key) = left.rsplit_once('.').filter(|(step, _)| !step.is_empty()).ok_or_else(wrong)?;
    let change = match key {
        "timeout" => Change::Timeout { limit: parse_duration(value)? },
        "retry" => match value.parse() {
            Ok(attempts @ 1..=100) => Change::Attempts { attempts },
            _ => return Err("retry is the number of attempts, from 1 to 100".into()),
        },
        _ => return Err(wrong()),
    };
    Ok(Setting { step: step.to_owned(), change })
}

/// Parses `STEP=JSON`.
fn parse_answer(text: &str) -> Result<(String, String), String> {
    let (step, json) = text.split_once('=').ok_or("expected STEP=JSON")?;
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => Ok((step.to_owned(), json.to_owned())),
        Err(error) => Err(format!("the value after = is not JSON: {error}")),
    }
}

/// Parses `server=…` or `server/tool=…`.
fn parse_for_target<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<ForTarget<T>, String> {
    match text.split_once('=') {
        Some((target, value)) if !target.trim().is_empty() => {
            Ok(ForTarget { target: target.trim().to_owned(), value: read(value.trim())? })
        }
        _ => Err("expected SERVER=VALUE or SERVER/TOOL=VALUE".into()),
    }
}

fn parse_override(text: &str) -> Result<ForTarget<BreakerOverride>, String> {
    parse_for_target(text, |order| match order {
        "trip" => Ok(BreakerOverride::Trip),
        "hold-open" => Ok(BreakerOverride::HoldOpen),
        "hold-closed" => Ok(BreakerOverride::HoldClosed),
        "reset" => Ok(BreakerOverride::Reset),
        other => Err(format!("unknown override {other:?}; expected trip, hold-open, hold-closed or reset")),
    })
}

fn parse_fault(text: &str) -> Result<ForTarget<Fault>, String> {
    parse_for_target(text, Fault::parse)
}

fn parse_elicit(text: &str) -> Result<ReplySource, String> {
    if text == "defaults" { Ok(ReplySource::Defaults) } else { parse_reply(text, "decline, defaults") }
}

fn parse_sample(text: &str) -> Result<ReplySource, String> {
    parse_reply(text, "decline")
}

/// Parses a reply. `words` are the accepted words besides a file and JSON, for the error message.
fn parse_reply(text: &str, words: &str) -> Result<ReplySource, String> {
    match text {
        "decline" => Ok(ReplySource::Decline),
        _ if text.starts_with('@') && text.len() > 1 => Ok(ReplySource::File(PathBuf::from(&text[1..]))),
        _ => match super::json::fields(text) {
            Ok(_) => Ok(ReplySource::Json(text.to_owned())),
            Err(error) => Err(format!("expected {words}, @FILE or a JSON object: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("switchboard").chain(words.split_whitespace()))
    }

    #[test]
    fn definition_is_valid() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit codes:") && help.contains("130  cancelled by Ctrl-C"), "{help}");
        assert!(!help.contains("demo-server"));
    }

    #[test]
    fn parses_a_server_after_two_dashes_or_as_url() {
        let npx = Some(Target::Command(["npx", "-y", "some-server"].map(String::from).to_vec()));
        for line in [
            "-- npx -y some-server",
            "tools -- npx -y some-server",
            "call t k=v -- npx -y some-server",
            "--demo read u -- npx -y some-server",
        ] {
            assert_eq!(parse(line).unwrap().target().unwrap(), npx, "{line}");
        }
        let url = Some(Target::Url("https://host/mcp".into()));
        for line in ["https://host/mcp", "-- https://host/mcp", "doctor -- https://host/mcp", "https://host/mcp tools"] {
            assert_eq!(parse(line).unwrap().target().unwrap(), url, "{line}");
        }
        assert!(parse("https://host/mcp tools -- npx x").unwrap().target().is_err());
        assert_eq!(parse("tools").unwrap().target().unwrap(), None);
    }

    #[test]
    fn accepts_flags_before_and_after_the_command() {
        for line in ["--json --server a --timeout 500ms call t a=1", "call t a=1 --json --server a --timeout 500ms"] {
            let cli = parse(line).unwrap();
            assert!(cli.global.json && cli.global.servers == ["a"] && cli.global.timeout == Some(Duration::from_millis(500)), "{line}");
            let Some(Headless::Call(call)) = cli.command.unwrap().headless() else { panic!() };
            assert_eq!((call.tool.as_str(), call.assignments.as_slice()), ("t", &["a=1".to_owned()][..]));
        }
        assert!(parse("--json --jsonl tools").is_err());
    }

    #[test]
    fn explains_invalid_words() {
        assert!(parse("toolz").unwrap_err().to_string().contains("did you mean \"tools\""));
        assert!(parse("--timeout 0 tools").is_err() && parse("--timeout x tools").is_err() && parse("--timeout 1e999 tools").is_err());
        assert!(parse("--elicit nonsense tools").unwrap_err().to_string().contains("decline, defaults, @FILE"));
        assert_eq!(parse("--elicit {\"a\":1} tools").unwrap().global.elicit, Some(ReplySource::Json("{\"a\":1}".into())));
        assert_eq!(parse("--sample @x.json tools").unwrap().global.sample, Some(ReplySource::File("x.json".into())));
    }
}

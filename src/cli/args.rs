//! The command line of the whole program. The composition root reads it and chooses the face.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::{exit, names::similar};
use crate::domain::{
    policy::{breaker::BreakerOverride, fault::Fault},
    run::{Change, Setting},
};

/// A terminal console for many MCP servers at once.
///
/// Without a command the console opens on the servers of the configuration, or on the one server that
/// is given after `--` or as a URL.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100, after_long_help = after_help(), subcommand_negates_reqs = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command; the console without one.
    #[command(subcommand)]
    pub command: Option<Cmd>,
    /// Endpoint of one server to use instead of the configured ones, http://, https:// or unix:///path/to.sock#/mcp.
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

/// Flags that hold for every command, before or after it.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Configuration file instead of the usual ones. May be given several times.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,
    /// Use the built-in demo servers.
    #[arg(long, global = true)]
    pub demo: bool,
    /// Connect only to this server. May be given several times.
    #[arg(long = "server", value_name = "NAME", global = true)]
    pub servers: Vec<String>,
    /// Do not read the project's configuration file.
    #[arg(long, global = true)]
    pub no_project_config: bool,
    /// Use the project's configuration file, for this command only, if it has this hash (see `approve`).
    #[arg(long, value_name = "HASH", global = true)]
    pub trust: Option<String>,
    /// Print one JSON document.
    #[arg(long, global = true, conflicts_with = "jsonl")]
    pub json: bool,
    /// Print a JSON document a line, as things happen.
    #[arg(long, global = true)]
    pub jsonl: bool,
    /// Print text exactly as the server sent it, control characters and binary contents included.
    #[arg(long, global = true)]
    pub raw: bool,
    /// Tell more on stderr: progress, log messages of servers; with --jsonl the frames too.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Longest time for the whole command: 500ms, 5s, 2m; a plain number is seconds.
    #[arg(long, value_name = "TIME", global = true, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Agree to calling a tool that may destroy something; with `approve`, to what it shows.
    #[arg(long, global = true)]
    pub yes: bool,
    /// Do something to a circuit breaker first: trip, hold-open, hold-closed or reset. May be given several times.
    #[arg(long, value_name = "SERVER[/TOOL]=ORDER", global = true, value_parser = parse_order)]
    pub breaker: Vec<Placed<BreakerOverride>>,
    /// Make faults on purpose: latency=200ms, and shares of fail, drop, cut and corrupt, as in flaky=latency=1s,fail=0.3.
    /// May be given several times.
    #[arg(long, value_name = "SERVER[/TOOL]=FAULTS", global = true, value_parser = parse_fault)]
    pub inject: Vec<Placed<Fault>>,
    /// What answers forms of servers (elicitation): decline, defaults, @FILE or JSON. Declined unless given.
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_elicit)]
    pub elicit: Option<AnswerFrom>,
    /// What answers sampling requests of servers: decline, @FILE or JSON. Declined unless given.
    #[arg(long, value_name = "ANSWER", global = true, value_parser = parse_sample)]
    pub sample: Option<AnswerFrom>,
}

/// Something for a server, or a tool of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed<T> {
    /// `server` or `server/tool`, as written: which it is, the servers that there are tell.
    pub place: String,
    /// What.
    pub what: T,
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
    /// A tool is called at once when it claims to be read-only (`readOnlyHint: true`) or to destroy
    /// nothing (`destructiveHint: false`). Any other tool needs --yes, or your answer to a question
    /// when stdin and stderr are a terminal. The claims are the server's, and are believed here
    /// whether or not the server is configured as trusted.
    ///
    /// Arguments are checked against the tool's schema before anything is sent.
    Call(CallArgs),
    /// Read a resource and print it.
    Read(ReadArgs),
    /// Get a prompt and print its messages.
    Prompt(PromptArgs),
    /// Explain where a call would go, and why, without making it.
    Route(RouteArgs),
    /// Kept answers: forget some, or show where they are kept.
    Cache(CacheArgs),
    /// List the servers and their state.
    Servers(ServersArgs),
    /// Check every server and say what is wrong and what to try.
    Doctor(ServersArgs),
    /// Run a workflow: progress on stderr, its outputs on stdout as JSON.
    ///
    /// Workflows are looked for in the `workflows` folder beside the configuration; with --demo there are four.
    /// What a run does is written down before it is done: a run that was interrupted goes on with --resume.
    /// Ctrl-C cancels the run, which undoes what it did if the workflow says so; a second one gives that up too.
    /// A run asks as a call does: tools that may destroy something need --yes, or your answer at a terminal.
    Run(Box<RunArgs>),
    /// Check, list, draw, make and test workflows.
    Workflow(WorkflowArgs),
    /// Show the servers that editors and agents have configured, as a configuration for Switchboard.
    ///
    /// Files that came with the project (.mcp.json, .vscode/mcp.json and the like) are shown with everything that they
    /// would start, but taken only with --project: whoever wrote the project chose it.
    Import(ImportArgs),
    /// Open the console on the built-in demo servers.
    Demo(DemoArgs),
    /// Show what the project would start and run, and approve exactly that.
    ///
    /// On a terminal you are asked. Elsewhere --hash says what is approved, with the hash that the refusal of another
    /// command prints, or --yes agrees to whatever is shown. Nothing is started by this.
    Approve(ApproveArgs),
    /// Print a completion script.
    Completions(CompletionsArgs),
    /// Print the manual page.
    Man,
    /// Run a demo server.
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    /// End what a crashed console left behind.
    #[command(hide = true)]
    Reaper(ReaperArgs),
}

/// `tools`.
#[derive(Clone, Debug, Default, Args)]
pub struct ToolsArgs {
    /// Part of a name, or a pattern with * and ?.
    pub pattern: Option<String>,
    /// Print the schemas too.
    #[arg(long)]
    pub schema: bool,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `call`.
#[derive(Clone, Debug, Default, Args)]
pub struct CallArgs {
    /// The tool: its name as `tools` shows it, or server/tool.
    pub tool: String,
    /// Arguments: key=value by the type in the tool's schema, key:=json as JSON; a.b=value reaches
    /// into an object, \. is a dot in a name.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// A JSON object of arguments; @FILE reads a file, - reads stdin. KEY=VALUE goes over it.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub args: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `read`.
#[derive(Clone, Debug, Default, Args)]
pub struct ReadArgs {
    /// The resource. Which server has it is looked up; --server NAME says it.
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
    /// Arguments, all of them text.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `route`.
#[derive(Clone, Debug, Default, Args)]
pub struct RouteArgs {
    /// The tool: its name as `tools` shows it, or server/tool.
    pub tool: String,
    /// A JSON object of arguments, for groups that choose by one of them; @FILE reads a file.
    #[arg(long, value_name = "JSON|@FILE")]
    pub args: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// `cache`.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: CacheAction,
}

/// What `cache` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CacheAction {
    /// Forget the answers of matching tools, or of a whole server.
    ///
    /// Only answers in Redis outlive the process that asked for them; those kept in a process end with it.
    Purge {
        /// A name as `tools` shows it, server/tool or a server; with * and ?, or /a regular expression/.
        pattern: String,
    },
    /// Say where answers are kept and whether that works.
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
    /// Input: key=value by the type in the workflow's schema, key:=json as JSON.
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// The same; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub input: Vec<String>,
    /// A file with the input, a JSON object. KEY=VALUE goes over it.
    #[arg(long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Write the steps as a JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Change a step for this run: STEP.timeout=20s, STEP.retry=3.
    #[arg(long, value_name = "STEP.KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<Setting>,
    /// Show every call as far as it is known, and make none.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with the run of this id, which was interrupted. Steps that ended are not repeated.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["workflow", "assignments", "input", "input_file", "set", "dry_run"])]
    pub resume: Option<String>,
    /// Approve this step beforehand.
    #[arg(long, value_name = "STEP")]
    pub approve: Vec<String>,
    /// Answer the form of this step beforehand, with a JSON object.
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
    pub answer: Vec<(String, String)>,
    /// With --resume: do this step, which is in doubt, again although it may have run (of a for_each: each item in doubt).
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub repeat: Vec<String>,
    /// With --resume: count this step, which is in doubt, as done with this result (of a for_each: each item in doubt).
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer, requires = "resume")]
    pub skip: Vec<(String, String)>,
}

/// `workflow`.
#[derive(Clone, Debug, Args)]
pub struct WorkflowArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WorkflowCmd,
}

/// The commands of `workflow`.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkflowCmd {
    /// Check workflow files and say what is wrong, with the place.
    Check(WorkflowCheckArgs),
    /// List the workflows.
    List,
    /// Draw the graph of a workflow.
    Graph {
        /// The workflow: its name, or the path of its file.
        workflow: String,
        /// As what.
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// Write a new workflow file to begin with, or one of a call in the history.
    New {
        /// The workflow's name.
        name: String,
        /// Make it of this call of the history, by its id.
        #[arg(long, value_name = "CALL")]
        from_call: Option<String>,
        /// Print it instead of writing a file.
        #[arg(long)]
        print: bool,
    },
    /// Print the JSON Schema of workflow files, for editors.
    Schema,
    /// Try workflows without servers, by test files (NAME.test.toml). All of the workflows' folders if none is named.
    Test {
        /// The test files.
        files: Vec<PathBuf>,
        /// Write the cases as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Make a case of a test file from a run that ended: the calls are answered in it as they were then.
    TestFromRun {
        /// The run: its id, or four digits or more of its beginning or end.
        run: String,
        /// What the case is called.
        #[arg(long, value_name = "NAME")]
        case: Option<String>,
        /// Write it to the test file beside the workflow, behind the cases that are there, instead of printing it.
        #[arg(long)]
        write: bool,
    },
    /// Make a workflow of past calls: what came of one and went into another is linked.
    FromHistory {
        /// The workflow's name.
        #[arg(long, default_value = "from_history")]
        name: String,
        /// The last calls of tools, so many.
        #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "ids")]
        last: usize,
        /// The calls of these ids, in this order.
        #[arg(long, value_name = "CALL", value_delimiter = ',')]
        ids: Vec<String>,
        /// Write it to the workflows' folder instead of printing it.
        #[arg(long)]
        write: bool,
    },
}

/// `workflow check`.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkflowCheckArgs {
    /// The workflows: names or paths of files; all if none is named.
    pub workflows: Vec<String>,
    /// Start the servers and hold the calls against the tools that they offer now.
    #[arg(long)]
    pub live: bool,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Boxes and lines.
    #[default]
    Text,
    /// Mermaid, as GitHub shows it.
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
    /// Take the servers of this project's files too.
    #[arg(long)]
    pub project: bool,
    /// Print secret values instead of •••.
    #[arg(long)]
    pub show_secrets: bool,
}

/// `approve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ApproveArgs {
    /// Approve without a question if the file still has this hash.
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
    /// For which shell.
    pub shell: clap_complete::Shell,
}

/// `demo-server`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoServerArgs {
    /// Which one.
    pub name: String,
    /// Folder of its state.
    #[arg(long)]
    pub dir: PathBuf,
}

/// `reaper`.
#[derive(Clone, Debug, Default, Args)]
pub struct ReaperArgs {
    /// What marks the processes that it looks after.
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
    /// Whether it makes calls that the history remembers.
    pub fn calls(&self) -> bool {
        matches!(self, Headless::Call(_) | Headless::Read(_) | Headless::Prompt(_) | Headless::Run(_))
    }
}

/// Where the answer to a server's question comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerFrom {
    /// Nobody: declined.
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
    /// The server given on the command line; `Err` when there are several.
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
            return Err("more than one server is given on the command line; give one, or put them into a configuration file".into());
        }
        Ok(targets.pop())
    }
}

impl Cmd {
    /// The command, when it is one that needs the engine and no terminal.
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
        Some(close) => format!("there is no such command, did you mean {close:?}?"),
        None => "this is no command and no URL; a program is given after --".into(),
    })
}

/// Reads `500ms`, `5s`, `2m`, `1h`; a plain number is seconds. Never zero.
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
        _ => Err("must be more than zero and less than an age".into()),
    }
}

/// Reads `STEP.timeout=20s` and `STEP.retry=3`.
fn parse_setting(text: &str) -> Result<Setting, String> {
    let wrong = || "expected STEP.timeout=20s or STEP.retry=3".to_owned();
    let (left, value) = text.split_once('=').ok_or_else(wrong)?;
    let (step, key) = left.rsplit_once('.').filter(|(step, _)| !step.is_empty()).ok_or_else(wrong)?;
    let change = match key {
        "timeout" => Change::Timeout { limit: parse_duration(value)? },
        "retry" => match value.parse() {
            Ok(attempts @ 1..=100) => Change::Attempts { attempts },
            _ => return Err("retry is how often a step is tried, from 1 to 100".into()),
        },
        _ => return Err(wrong()),
    };
    Ok(Setting { step: step.to_owned(), change })
}

/// Reads `STEP=JSON`.
fn parse_answer(text: &str) -> Result<(String, String), String> {
    let (step, json) = text.split_once('=').ok_or("expected STEP=JSON")?;
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => Ok((step.to_owned(), json.to_owned())),
        Err(error) => Err(format!("what stands after = is no JSON: {error}")),
    }
}

/// Reads `server=…` or `server/tool=…`.
fn placed<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Placed<T>, String> {
    match text.split_once('=') {
        Some((place, what)) if !place.trim().is_empty() => Ok(Placed { place: place.trim().to_owned(), what: read(what.trim())? }),
        _ => Err("begins with the server, or server/tool, and =".into()),
    }
}

fn parse_order(text: &str) -> Result<Placed<BreakerOverride>, String> {
    placed(text, |order| match order {
        "trip" => Ok(BreakerOverride::Trip),
        "hold-open" => Ok(BreakerOverride::HoldOpen),
        "hold-closed" => Ok(BreakerOverride::HoldClosed),
        "reset" => Ok(BreakerOverride::Reset),
        other => Err(format!("there is no order {other:?}; there are trip, hold-open, hold-closed and reset")),
    })
}

fn parse_fault(text: &str) -> Result<Placed<Fault>, String> {
    placed(text, Fault::parse)
}

fn parse_elicit(text: &str) -> Result<AnswerFrom, String> {
    if text == "defaults" { Ok(AnswerFrom::Defaults) } else { parse_sample(text).map_err(|e| e.replace("decline,", "decline, defaults,")) }
}

fn parse_sample(text: &str) -> Result<AnswerFrom, String> {
    match text {
        "decline" => Ok(AnswerFrom::Decline),
        _ if text.starts_with('@') && text.len() > 1 => Ok(AnswerFrom::File(PathBuf::from(&text[1..]))),
        _ => match super::json::fields(text) {
            Ok(_) => Ok(AnswerFrom::Json(text.to_owned())),
            Err(error) => Err(format!("expected decline, @FILE or a JSON object: {error}")),
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
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit codes:") && help.contains("130  cancelled by Ctrl-C"), "{help}");
        assert!(!help.contains("demo-server"));
    }

    #[test]
    fn a_server_is_given_after_two_dashes_or_as_url() {
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
    fn flags_stand_before_or_after_the_command() {
        for line in ["--json --server a --timeout 500ms call t a=1", "call t a=1 --json --server a --timeout 500ms"] {
            let cli = parse(line).unwrap();
            assert!(cli.global.json && cli.global.servers == ["a"] && cli.global.timeout == Some(Duration::from_millis(500)), "{line}");
            let Some(Headless::Call(call)) = cli.command.unwrap().headless() else { panic!() };
            assert_eq!((call.tool.as_str(), call.assignments.as_slice()), ("t", &["a=1".to_owned()][..]));
        }
        assert!(parse("--json --jsonl tools").is_err());
    }

    #[test]
    fn wrong_words_are_explained() {
        assert!(parse("toolz").unwrap_err().to_string().contains("did you mean \"tools\""));
        assert!(parse("--timeout 0 tools").is_err() && parse("--timeout x tools").is_err() && parse("--timeout 1e999 tools").is_err());
        assert!(parse("--elicit nonsense tools").unwrap_err().to_string().contains("decline, defaults, @FILE"));
        assert_eq!(parse("--elicit {\"a\":1} tools").unwrap().global.elicit, Some(AnswerFrom::Json("{\"a\":1}".into())));
        assert_eq!(parse("--sample @x.json tools").unwrap().global.sample, Some(AnswerFrom::File("x.json".into())));
    }
}

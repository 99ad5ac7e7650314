//! Command line: defines and parses it; `global` has the flags of every command, `commands` the arguments of commands, `workflow`
//! those of runs and workflows, and `values` parses values. The composition root chooses the face by it.

mod commands;
mod global;
mod history;
mod instances;
mod overview;
mod setup;
mod unknown_flag;
mod values;
mod workflow;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use self::values::{headers_after_url, is_url, parse_url};
pub use self::{
    commands::{
        ApproveArgs, BreakerAction, BreakerArgs, CacheAction, CacheArgs, CallArgs, CompleteArgs, CompleteWordsArgs, CompletionsArgs,
        DemoArgs, DemoServerArgs, DoctorArgs, FaultArgs, ImportArgs, InstallArgs, ListArgs, LoginArgs, LogoutArgs, ManArgs, PromptArgs,
        ReadArgs, ReaperArgs, RequestArgs, RouteArgs, SecretPlace, ServeArgs, ServersArgs, ToolsArgs, WatchArgs,
    },
    global::{ForTarget, Global, InputValue, OutputFormat, ReplySource},
    history::{
        DriftArgs, ExportFormat, FailOn, HistoryArgs, HistoryCmd, MockArgs, OpenArgs, PinsArgs, PinsCmd, ResultCheckArgs, RowsBy, Selection,
    },
    instances::{AttachArgs, DownArgs, ServeAccess, TapArgs, UpAccess, UpArgs},
    setup::{AddArgs, AddSource, CheckArgs, ConfigArgs, ConfigCmd, EditArgs, FindingFormat, TokenArgs, TokenCmd},
    workflow::{CallsArgs, CallsCmd, GraphFormat, RunArgs, RunsArgs, RunsCmd, WorkflowArgs, WorkflowCheckArgs, WorkflowCmd},
};
use super::{exit, reference::examples_help, servers::ListKind, version};
use crate::domain::secret::Secret;

/// A terminal console for many MCP servers.
///
/// Without a command, opens the console on the configured servers, or on the server given after `--` or as a URL.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, long_version = version::long(), help_template = overview::template(), max_term_width = 100, after_long_help = after_help(), subcommand_negates_reqs = true)]
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
    /// Offer the servers of the console to other programs at this address too, as `switchboard serve --http` does.
    #[arg(long, value_name = "ADDRESS")]
    pub serve: Option<SocketAddr>,
    /// What `attach` and --via may do with the engine of --serve [default: full].
    #[arg(long, value_name = "ACCESS", requires = "serve")]
    pub control: Option<ServeAccess>,
    /// The name of the engine of --serve for `attach` and --via [default: serve-PID].
    #[arg(long, value_name = "NAME", requires = "serve")]
    pub name: Option<String>,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

impl Cli {
    /// Parses the command line of the process; prints an error and exits if it is invalid.
    pub fn of_process() -> Cli {
        let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        Cli::try_parse().unwrap_or_else(|error| unknown_flag::explained(error, &words).exit()).with_named_servers()
    }

    /// Adds the servers that the command names to those of `--server`.
    fn with_named_servers(mut self) -> Cli {
        let names = match &mut self.command {
            Some(Cmd::Servers(args)) => std::mem::take(&mut args.names),
            Some(Cmd::Doctor(args)) => std::mem::take(&mut args.names),
            _ => vec![],
        };
        self.global.servers.extend(names);
        self
    }
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
    #[command(after_long_help = examples_help("tools"))]
    Tools(ToolsArgs),
    /// List the resources of all servers.
    #[command(after_long_help = examples_help("resources"))]
    Resources(ListArgs),
    /// List the resource templates of all servers.
    #[command(after_long_help = examples_help("templates"))]
    Templates(ListArgs),
    /// List the prompts of all servers with their arguments.
    #[command(after_long_help = examples_help("prompts"))]
    Prompts(ListArgs),
    /// Call a tool and print its result.
    ///
    /// A tool is called without a question if its annotations say that it is read-only (`readOnlyHint: true`) or not
    /// destructive (`destructiveHint: false`). Any other tool needs --yes, or your confirmation if stdin and stderr are a
    /// terminal. For this, annotations are used even if the server is not trusted.
    ///
    /// Arguments are validated against the tool's schema before the call is sent; --no-check sends them as they are.
    #[command(after_long_help = examples_help("call"))]
    Call(CallArgs),
    /// Read a resource and print it.
    #[command(after_long_help = examples_help("read"))]
    Read(ReadArgs),
    /// Get a prompt and print its messages.
    #[command(after_long_help = examples_help("prompt"))]
    Prompt(PromptArgs),
    /// Complete an argument of a prompt or a resource template.
    ///
    /// Prints the values that the server suggests, one on each line.
    Complete(CompleteArgs),
    /// Print the updates of a resource until interrupted.
    ///
    /// Subscribes to the resource. Ends after --count updates, or after --timeout (exit code 0 without --count, else 5).
    Watch(WatchArgs),
    /// Send a JSON-RPC request and print its result as received.
    ///
    /// For methods that Switchboard has no command for, and to test servers. The request is sent over the connection to the
    /// server, in its session and with its `_meta`. Nothing is known of what it changes, so it needs --yes, or your confirmation
    /// if stdin and stderr are a terminal.
    #[command(after_long_help = examples_help("request"))]
    Request(RequestArgs),
    /// Explain the route of a call without making it.
    #[command(after_long_help = examples_help("route"))]
    Route(RouteArgs),
    /// Purge cached responses, or show the state of the response cache.
    #[command(after_long_help = examples_help("cache"))]
    Cache(CacheArgs),
    /// List the servers and their state.
    #[command(after_long_help = examples_help("servers"))]
    Servers(ServersArgs),
    /// Check every server and suggest fixes.
    #[command(after_long_help = examples_help("doctor"))]
    Doctor(DoctorArgs),
    /// Log in to a server that uses OAuth.
    ///
    /// Opens the browser and waits for its redirect to this machine. Without a browser, open the address elsewhere and paste the
    /// one that it leads to. For scripts: --start prints the address, --finish takes the one that it led to, also in another
    /// process. The tokens are stored in the state folder and refreshed from then on.
    Login(LoginArgs),
    /// Delete the stored login of a server.
    Logout(LogoutArgs),
    /// List the stored logins.
    Auth,
    /// Issue, list and revoke the bearer tokens of the gateway's clients.
    ///
    /// `serve --http` accepts them in addition to its configured token. Only their digests are stored. From the first token on, requests
    /// need one.
    Token(TokenArgs),
    /// Run a workflow: progress on stderr, its outputs on stdout as JSON.
    ///
    /// Workflows are in the `workflows` folder next to the configuration; --demo has four. Each step is written to a
    /// journal before it runs, so an interrupted run can be resumed with --resume. Ctrl-C cancels the run and starts its
    /// compensation, if the workflow defines one; a second Ctrl-C stops the compensation. Destructive tools need --yes, or
    /// your confirmation at a terminal, as with `call`.
    #[command(after_long_help = examples_help("run"))]
    Run(Box<RunArgs>),
    /// List and show recorded runs, resume and undo them.
    #[command(after_long_help = examples_help("runs"))]
    Runs(RunsArgs),
    /// List and show the calls of the history.
    #[command(after_long_help = examples_help("calls"))]
    Calls(CallsArgs),
    /// Search, export and count the calls of earlier sessions.
    ///
    /// Filters are those of the console's traffic view: server:db outcome:failed tool:create* >500ms !origin:demo text.
    History(HistoryArgs),
    /// Show how servers changed since you accepted their definitions.
    ///
    /// Compares tools, prompts, templates and instructions. Switchboard records a version whenever it connects. Marks changes that
    /// break callers: arguments removed or required, types narrowed, annotations weakened. Names the workflows that use a changed
    /// tool.
    Drift(DriftArgs),
    /// List the accepted definitions of servers, and accept changed ones.
    Pins(PinsArgs),
    /// Check, list, draw, create and test workflows.
    #[command(after_long_help = examples_help("workflow"))]
    Workflow(WorkflowArgs),
    /// Import the servers that editors and agents have configured.
    ///
    /// Prints a configuration for Switchboard, with secret values masked. Files of the project (.mcp.json, .vscode/mcp.json and
    /// the like) are shown with everything that they would start, but imported only with --project, because the project's
    /// authors chose them. The exit code is 0 if everything that can be imported was; entries that cannot be are listed.
    #[command(after_long_help = examples_help("import"))]
    Import(ImportArgs),
    /// Add a server to the configuration file.
    ///
    /// Write a program after --, or name a URL, a file (a server.json, the manifest.json of a bundle, the file of another client) or
    /// a server of the registry. --env and --header set variables and headers: with `--env NAME`, or `${NAME}` in a value, the file
    /// refers to the variable of your environment. Comments and layout of the file stay. Nothing is started; a running console
    /// picks up the change.
    #[command(after_long_help = examples_help("add"))]
    Add(AddArgs),
    /// Remove servers from the configuration file.
    Remove(EditArgs),
    /// Enable servers that are disabled in the configuration file.
    Enable(EditArgs),
    /// Disable servers in the configuration file.
    ///
    /// Disabled servers are not started.
    Disable(EditArgs),
    /// List the configured servers without starting them.
    ///
    /// `servers` starts them and shows their state.
    #[command(after_long_help = examples_help("list"))]
    List,
    /// Show, edit and check the configuration.
    #[command(after_long_help = examples_help("config"))]
    Config(ConfigArgs),
    /// Write the gateway into the configuration of an editor or agent.
    ///
    /// Shows the entry and asks before it writes. Comments and layout of the file stay; --undo restores it byte by byte, or removes the
    /// entry if the file has changed since.
    Install(InstallArgs),
    /// Offer all servers as one MCP server.
    ///
    /// Serves one client over stdin and stdout, or many over HTTP and a Unix socket: name the command, or the address, in the
    /// configuration of an editor or agent in place of its servers. Calls go through the same policies as those of the console.
    ///
    /// A listener on an address other than loopback requires a token. Ctrl-C lets calls in progress finish; a second one ends them.
    #[command(after_long_help = examples_help("serve"))]
    Serve(ServeArgs),
    /// Make the calls of a session file again and compare the results.
    ///
    /// Reports each tool whose result differs from the recorded one, and exits with code 1 then. --ignore leaves out members that
    /// always differ, such as times. Destructive tools need --yes, as with `call`.
    Check(ResultCheckArgs),
    /// Show a session file in the console.
    ///
    /// No server runs, and nothing can be called: the calls, their arguments and results, and the definitions of the servers are
    /// shown as they were recorded by `history export`.
    Open(OpenArgs),
    /// Serve the recorded responses of a session file as an MCP server.
    ///
    /// Serves one client over stdin and stdout, or clients over HTTP with --http, from a session file of `history export`: name
    /// the command in the configuration of a client, or after `--`. A request gets the answer that was recorded for the same arguments; repeated requests get the
    /// recorded answers in their order.
    Mock(MockArgs),
    /// Start an engine that consoles and commands can connect to.
    ///
    /// Starts the engine without a console. `attach` opens a console on it, and commands use it with --via: breakers, caches,
    /// limits and sessions live as long as the engine. `ps` lists running engines, `down` ends one.
    Up(UpArgs),
    /// Stop a running engine.
    Down(DownArgs),
    /// List the running engines.
    Ps,
    /// Open the console on a running engine.
    ///
    /// Shows the same as the console of the engine's own process. Quitting leaves the engine running. If the engine ends, the
    /// console shows its last state and connects again when an engine with this name runs.
    Attach(AttachArgs),
    /// Observe one connection between a client and a server.
    ///
    /// In the configuration of the client, write `switchboard tap --` in front of the command of a server, or use the address that
    /// `tap --url` prints. Every byte passes unchanged, except the value of `Host` over HTTP. `attach` opens the console on the tap.
    ///
    /// The exit code, or the signal, is that of the command.
    Tap(TapArgs),
    /// Open the console on the built-in demo servers.
    Demo(DemoArgs),
    /// Show the circuit breakers of a running engine, or operate one.
    Breaker(BreakerArgs),
    /// Show the faults that a running engine injects, or change them.
    Fault(FaultArgs),
    /// Show what the project would start, and approve exactly that.
    ///
    /// Asks on a terminal. Elsewhere, --hash approves the project with that hash, which the refusal of another command
    /// prints, and --yes approves what is shown. Nothing is started.
    Approve(ApproveArgs),
    /// Print a completion script.
    #[command(after_long_help = examples_help("completions"))]
    Completions(CompletionsArgs),
    /// Print the values that a word of a command line can be.
    #[command(name = "__complete", hide = true)]
    CompleteWords(CompleteWordsArgs),
    /// Print a manual page.
    ///
    /// Without a command, that of the program.
    #[command(after_long_help = examples_help("man"))]
    Man(ManArgs),
    /// Run a demo server.
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    /// End the processes that a crashed console left behind.
    #[command(hide = true)]
    Reaper(ReaperArgs),
}

/// A command that needs the engine and no terminal.
#[derive(Clone, Debug)]
pub enum Headless {
    /// `tools`
    Tools(ToolsArgs),
    /// `resources`, `templates` or `prompts`
    List(ListKind, ListArgs),
    /// `call`
    Call(CallArgs),
    /// `check`
    Check(ResultCheckArgs),
    /// `read`
    Read(ReadArgs),
    /// `prompt`
    Prompt(PromptArgs),
    /// `complete`
    Complete(CompleteArgs),
    /// `watch`
    Watch(WatchArgs),
    /// `request`
    Request(RequestArgs),
    /// `route`
    Route(RouteArgs),
    /// `breaker`
    Breaker(BreakerArgs),
    /// `fault`
    Fault(FaultArgs),
    /// `servers`
    Servers,
    /// `doctor`
    Doctor(DoctorArgs),
    /// `run`
    Run(Box<RunArgs>),
    /// `workflow check --live`
    CheckLive(WorkflowCheckArgs),
}

impl Headless {
    /// Returns whether it lists every server with its state.
    pub fn lists_servers(&self) -> bool {
        matches!(self, Headless::Tools(_) | Headless::List(..) | Headless::Servers | Headless::Doctor(_))
    }

    /// Returns whether it makes calls that the history stores.
    pub fn calls(&self) -> bool {
        use Headless::{Call, Check, Complete, Prompt, Read, Request, Run};
        matches!(self, Call(_) | Check(_) | Read(_) | Prompt(_) | Complete(_) | Request(_) | Run(_))
    }
}

/// A server given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A program with its arguments; never empty.
    Command(Vec<String>),
    /// An endpoint, and the headers that are given after it (`-- URL --header 'NAME: VALUE'`).
    Url(String, Vec<Secret>),
}

impl Cli {
    /// Returns the server given on the command line; `Err` if there are several.
    pub fn target(&self) -> Result<Option<Target>, String> {
        let after = match &self.command {
            Some(Cmd::Tools(a)) => Some(&a.server),
            Some(Cmd::Resources(a) | Cmd::Templates(a) | Cmd::Prompts(a)) => Some(&a.server),
            Some(Cmd::Call(a)) => Some(&a.server),
            Some(Cmd::Read(a)) => Some(&a.server),
            Some(Cmd::Prompt(a)) => Some(&a.server),
            Some(Cmd::Complete(a)) => Some(&a.server),
            Some(Cmd::Watch(a)) => Some(&a.server),
            Some(Cmd::Request(a)) => Some(&a.server),
            Some(Cmd::Route(a)) => Some(&a.server),
            Some(Cmd::Servers(a)) => Some(&a.server),
            Some(Cmd::Doctor(a)) => Some(&a.server),
            Some(Cmd::Login(a)) => Some(&a.server),
            Some(Cmd::Logout(a)) => Some(&a.server),
            Some(Cmd::Serve(a)) => Some(&a.server),
            _ => None,
        };
        let lines = [Some(&self.server), after].into_iter().flatten().filter(|l| !l.words.is_empty());
        let mut targets: Vec<Target> = self.url.iter().map(|url| Target::Url(url.clone(), vec![])).collect();
        for line in lines {
            targets.push(match line.words.as_slice() {
                [url, rest @ ..] if is_url(url) => Target::Url(url.clone(), headers_after_url(rest)?),
                words => Target::Command(words.to_vec()),
            });
        }
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
            Cmd::Check(a) => Headless::Check(a.clone()),
            Cmd::Resources(a) => Headless::List(ListKind::Resources, a.clone()),
            Cmd::Templates(a) => Headless::List(ListKind::Templates, a.clone()),
            Cmd::Prompts(a) => Headless::List(ListKind::Prompts, a.clone()),
            Cmd::Call(a) => Headless::Call(a.clone()),
            Cmd::Read(a) => Headless::Read(a.clone()),
            Cmd::Prompt(a) => Headless::Prompt(a.clone()),
            Cmd::Complete(a) => Headless::Complete(a.clone()),
            Cmd::Watch(a) => Headless::Watch(a.clone()),
            Cmd::Request(a) => Headless::Request(a.clone()),
            Cmd::Route(a) => Headless::Route(a.clone()),
            Cmd::Breaker(a) => Headless::Breaker(a.clone()),
            Cmd::Fault(a) => Headless::Fault(a.clone()),
            Cmd::Servers(_) => Headless::Servers,
            Cmd::Doctor(a) => Headless::Doctor(a.clone()),
            Cmd::Run(a) => Headless::Run(a.clone()),
            Cmd::Runs(a) => Headless::Run(Box::new(a.command.as_ref()?.run_args()?)),
            Cmd::Workflow(WorkflowArgs { command: WorkflowCmd::Check(a) }) if a.live => Headless::CheckLive(a.clone()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let url = Some(Target::Url("https://host/mcp".into(), vec![]));
        for line in ["https://host/mcp", "-- https://host/mcp", "doctor -- https://host/mcp", "https://host/mcp tools"] {
            assert_eq!(parse(line).unwrap().target().unwrap(), url, "{line}");
        }
        assert!(parse("https://host/mcp tools -- npx x").unwrap().target().is_err());
        let with = Some(Target::Url("https://host/mcp".into(), ["A:b", "C:d", "E:f"].map(Secret::literal).to_vec()));
        assert_eq!(parse("tools -- https://host/mcp --header A:b --header=C:d -H E:f").unwrap().target().unwrap(), with);
        for line in ["-- https://host/mcp --header", "-- https://host/mcp s3cret", "-- https://host/mcp --timeout 5s"] {
            let why = parse(line).unwrap().target().unwrap_err();
            assert!(why.contains("--header") && !why.contains("s3cret"), "{line}: {why}");
        }
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
    fn servers_are_named_after_a_command_or_by_a_flag() {
        for line in ["doctor a b", "servers a b", "doctor --server a b", "--server a --server b servers"] {
            assert_eq!(parse(line).unwrap().with_named_servers().global.servers, ["a", "b"], "{line}");
        }
        assert!(parse("doctor https://host/mcp").unwrap_err().to_string().contains("after --"));
        let with_command = parse("doctor a -- npx b").unwrap();
        assert_eq!(with_command.target().unwrap(), Some(Target::Command(vec!["npx".into(), "b".into()])));
    }

    #[test]
    fn headers_and_variables_are_never_printed() {
        let line = ["switchboard", "https://h/mcp", "tools", "--header", "Authorization: s3cret-h", "--env", "A=s3cret-e"];
        let cli = Cli::try_parse_from(line).unwrap();
        assert_eq!((cli.global.header[0].expose(), cli.global.env[0].expose()), ("Authorization: s3cret-h", "A=s3cret-e"));
        assert!(!format!("{cli:?}").contains("s3cret"), "{cli:?}");
    }

    #[test]
    fn explains_invalid_words() {
        for line in ["example.com/mcp", "localhost:3000/mcp"] {
            assert!(parse(line).unwrap_err().to_string().contains("put https:// in front of it"), "{line}");
        }
        assert!(parse("toolz").unwrap_err().to_string().contains("did you mean \"tools\""));
        assert!(parse("--timeout 0 tools").is_err() && parse("--timeout x tools").is_err() && parse("--timeout 1e999 tools").is_err());
        assert!(parse("--elicit nonsense tools").unwrap_err().to_string().contains("decline, defaults, @FILE"));
        assert_eq!(parse("--elicit {\"a\":1} tools").unwrap().global.elicit, Some(ReplySource::Json("{\"a\":1}".into())));
        assert_eq!(parse("--sample @x.json tools").unwrap().global.sample, Some(ReplySource::File("x.json".into())));
    }
}

//! The vocabulary of the workspace: the state that faces show, their requests and the replies. Plain data: all of it can
//! cross a process boundary.
//!
//! The workspace is what surrounds the engine on this machine: the configuration, the approval of projects, other clients'
//! configurations, the workflow library, and what earlier sessions left.

mod import;

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    argument_history::{Recall, Recalled},
    call::{Failure, FailureKind},
    catalog::ConfirmPolicy,
    config_error::ConfigError,
    config_input::{ConfigInput, InputRetention, InputValue},
    console_layout::ConsoleLayout,
    drift::{Baseline, Change, DefinitionVersion},
    event::{Notice, NoticeLevel},
    history::{HistoryPage, HistoryStats, StatsBy},
    id::{CallId, ServerId},
    journal::{CallRecord, RunHeader, RunRecord},
    lossy_path,
    program_session::{SessionStart, SessionSummary},
    workflow::library::WorkflowLibrary,
};

pub use self::import::{
    Chosen, FoundConfig, ImportPlan, ImportProblem, ImportSource, ImportVariable, ImportedConfig, SecretDisplay, SecretTarget, WelcomeState,
};

/// The current state of a workspace. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceState {
    /// How the same servers are reached from a command line, and the name of the configuration.
    pub identity: Arc<Identity>,
    /// Theme, keys and confirmations.
    pub settings: Arc<ConsoleSettings>,
    /// The workflow files.
    pub library: Arc<WorkflowLibrary>,
    /// Runs of earlier sessions, newest first.
    pub past: Arc<Vec<RunHeader>>,
    /// The project that needs an approval.
    pub approval: Option<Arc<ApprovalPrompt>>,
    /// The inputs that servers of the configuration use.
    #[serde(default)]
    pub inputs: Arc<Vec<ConfigInput>>,
    /// The session of the engine, if its calls are recorded.
    #[serde(default)]
    pub session: Option<SessionStart>,
}

/// What a workspace is called, and how its servers are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The configuration's name.
    pub title: String,
    /// The command line that reaches the same servers.
    pub invocation: Invocation,
    /// Where the servers come from.
    pub source: ServerSource,
    /// The environments of the configuration.
    #[serde(default)]
    pub environments: Environments,
}

/// The environments of a configuration: sets of variables and servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environments {
    /// The one in use.
    pub current: Option<String>,
    /// The names of all.
    pub names: Vec<String>,
}

/// Where the servers of a workspace come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerSource {
    /// The configuration files, which define none.
    NoneConfigured,
    /// The configuration files.
    #[default]
    Configuration,
    /// The command line or the demo. Configuration files define no servers.
    CommandLine,
}

/// How a program was started, so that a command line can reach the same servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// Options: `--demo`, `--config FILE`.
    pub flags: Vec<String>,
    /// The command line of the server, as written after `--`.
    pub target: Option<String>,
}

impl Invocation {
    /// Sets or removes the option that selects an environment.
    pub fn set_environment(&mut self, name: Option<&str>) {
        const OPTION: &str = "--environment";
        if let Some(at) = self.flags.iter().position(|flag| flag == OPTION) {
            self.flags.drain(at..(at + 2).min(self.flags.len()));
        }
        self.flags.extend(name.into_iter().flat_map(|name| [OPTION.to_owned(), name.to_owned()]));
    }
}

/// The settings of the console.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsoleSettings {
    /// The theme.
    pub theme: ThemeSetting,
    /// The key bindings, in the order of the files.
    pub keys: Vec<KeySetting>,
    /// Which calls are confirmed first.
    pub confirm: ConfirmPolicy,
    /// Whether the mouse is used.
    pub mouse: bool,
}

/// A theme: by its name, or the text of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThemeSetting {
    /// The terminal's own palette.
    #[default]
    Ansi,
    /// No colours.
    Mono,
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
    /// White on black, strong colours.
    Contrast,
    /// A file in the format of those in `assets/themes`.
    File {
        /// The path.
        #[serde(with = "lossy_path")]
        path: PathBuf,
        /// The text, or why it could not be read.
        text: Result<String, String>,
    },
}

/// A key binding of `[keys.CONTEXT]`. The console interprets its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySetting {
    /// The context.
    pub context: String,
    /// The key or sequence, as written.
    pub keys: String,
    /// The action's name, or `none`.
    pub action: String,
    /// Its position, as an error without a message.
    pub place: ConfigError,
}

/// A project that needs an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalPrompt {
    /// The project's file.
    pub path: String,
    /// What would be started, contacted or run, one line each.
    pub lines: Vec<String>,
    /// The hash that an approval covers; the approval applies to this content only.
    pub hash: String,
}

impl ApprovalPrompt {
    /// Returns the lines as an indented block for a message.
    pub fn block(&self) -> String {
        self.lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Returns the command that approves exactly this without a terminal.
    pub fn command(&self) -> String {
        format!("switchboard approve --hash {}", self.hash)
    }

    /// Returns the hint for a command that needs the approval.
    pub fn hint(&self) -> String {
        format!("review these lines, then run `{}`, or use --trust {} once, or --no-project-config", self.command(), self.hash)
    }
}

/// Result of a test case of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseEnd {
    /// The test file.
    pub file: String,
    /// The workflow.
    pub workflow: String,
    /// The case's name.
    pub name: String,
    /// Failed expectations; empty if the case passed.
    pub failures: Vec<String>,
    /// Duration in milliseconds.
    pub duration_ms: f64,
}

/// A test case created from a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestMade {
    /// The text of a test file with the case.
    pub text: String,
    /// The file that the case was written to.
    #[serde(with = "lossy_path::optional")]
    pub written: Option<PathBuf>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// A change of a server in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerEdit {
    /// Disable it, so that it is not started.
    Disable,
    /// Enable it.
    Enable,
    /// Copy it under this name.
    Duplicate(String),
    /// Remove it.
    Remove,
}

impl ServerEdit {
    /// Returns what was done: `disabled`.
    pub fn done(&self) -> &'static str {
        match self {
            ServerEdit::Disable => "disabled",
            ServerEdit::Enable => "enabled",
            ServerEdit::Duplicate(_) => "duplicated",
            ServerEdit::Remove => "removed",
        }
    }
}

/// The folder of a new workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowPlace {
    /// The folder of the project in use, otherwise that of the user.
    #[default]
    Project,
    /// The folder of the user, for all projects.
    User,
}

/// A request of a face to the workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceRequest {
    /// Approve the project's file with this hash, and use it. Reply: `Done`.
    Approve(String),
    /// Do not use the project's file in this session. Reply: `Done`.
    Reject,
    /// Use this value for an input of a configuration file. Reply: `Done`.
    GiveInput {
        /// The file, as in [`ConfigInput::file`].
        #[serde(with = "lossy_path")]
        file: PathBuf,
        /// The id of the input.
        id: String,
        /// Its value.
        value: InputValue,
        /// How long the value is used.
        retention: InputRetention,
    },
    /// Use this environment of the configuration; `None` for none. Reply: `Done`.
    UseEnvironment(Option<String>),
    /// Search this machine for servers. Reply: `Welcome`.
    FindServers,
    /// Start these servers. Reply: `Done`.
    Start(Chosen),
    /// Change a server in the file that configures it. Reply: `Written`.
    EditServer {
        /// The server.
        server: ServerId,
        /// The change.
        edit: ServerEdit,
    },
    /// Start a login at a server. Reply: `Login`.
    Login {
        /// The server.
        server: ServerId,
        /// The scopes to ask for; empty if the server named none.
        scopes: Vec<String>,
    },
    /// Wait for the end of the login at a server that began last. Reply: `LoginEnded`.
    LoginEnd {
        /// The server.
        server: ServerId,
    },
    /// Pass on the address to which the browser was sent at the end of a login. Reply: `Done`.
    FinishLogin {
        /// The server.
        server: ServerId,
        /// The address, which contains the code.
        address: InputValue,
    },
    /// Write the file of a new workflow. Reply: `Written`.
    SaveWorkflow {
        /// Its name, which is unique.
        name: String,
        /// Its text.
        text: String,
        /// The folder.
        #[serde(default)]
        place: WorkflowPlace,
    },
    /// Read the workflow files again. Reply: `Done`.
    ReadWorkflows,
    /// Remember these arguments for other sessions; they contain no secret. Reply: `Done`.
    Remember(Recalled),
    /// Return the arguments of earlier sessions. Reply: `Recall`.
    Recall,
    /// Store the layout of the console for its next start. Reply: `Done`.
    SaveLayout(ConsoleLayout),
    /// Return the layout that was stored last. Reply: `Layout`.
    Layout,
    /// Read the configurations of other clients. Reply: `Import`.
    Import {
        /// The files to read; all known places when empty.
        files: Vec<PathBuf>,
        /// Whether servers of the project's files are imported too.
        project: bool,
        /// Whether the servers are added to the text of the user's file.
        into_file: bool,
        /// Which values the reply holds.
        secrets: SecretDisplay,
    },
    /// Write the servers of other clients into the user's configuration. Reply: `Written`.
    WriteImport {
        /// The files to read; all known places when empty.
        files: Vec<PathBuf>,
        /// Whether servers of the project's files are imported too.
        project: bool,
        /// Where secret values are written.
        secrets: SecretTarget,
    },
    /// Return recorded calls, without secrets. Reply: `Calls`.
    Calls {
        /// How many of the last ones at most.
        last: usize,
        /// Only these calls, by their numbers; all when empty.
        ids: Vec<u64>,
    },
    /// Return a page of the history, without secrets. Reply: `History`.
    History {
        /// A filter ([`super::filter`]); empty for all calls.
        filter: String,
        /// Only calls that began this recently.
        within: Option<Duration>,
        /// Only calls before this one.
        before: Option<CallId>,
        /// How many at most.
        limit: usize,
    },
    /// Return the last sessions of the history. Reply: `Sessions`.
    Sessions {
        /// How many at most.
        last: usize,
    },
    /// Return the statistics of the last `last`. Reply: `HistoryStats`.
    HistoryStats {
        /// The length of the period.
        last: Duration,
        /// What has a row.
        by: StatsBy,
        /// Whether the period before it is returned too.
        compare: bool,
    },
    /// Delete the calls of the history that began longer ago than this. Reply: `Deleted`.
    PruneHistory {
        /// The age.
        older_than: Duration,
    },
    /// Return what servers changed in their definitions. Reply: `Drift`.
    Drift {
        /// Only this server.
        server: Option<String>,
        /// What versions are compared with.
        baseline: Baseline,
    },
    /// Return the current definitions of servers. Reply: `Definitions`.
    Definitions {
        /// Only this server.
        server: Option<String>,
    },
    /// Accept the current definitions of a server. Reply: `Accepted`.
    AcceptDefinitions {
        /// The server.
        server: String,
        /// Only definitions with this name.
        name: Option<String>,
    },
    /// Return the last runs, newest first. Reply: `Runs`.
    Runs {
        /// How many at most.
        last: usize,
        /// Only runs of this workflow.
        workflow: Option<String>,
    },
    /// Return a recorded run by its id or a part of the id. Reply: `Run`.
    Run(String),
    /// Run test files of workflows: those named, otherwise all of the library. Reply: `Tested`.
    Test {
        /// The paths.
        files: Vec<PathBuf>,
    },
    /// Create a test case from a recorded run. Reply: `TestMade`.
    TestFromRun {
        /// The run, or a part of its id.
        run: String,
        /// The name of the case.
        case: Option<String>,
        /// Whether the case is added to the workflow's test file.
        write: bool,
    },
}

/// A recorded run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunListed {
    /// The run.
    pub header: RunHeader,
    /// Its state.
    pub state: RunState,
}

/// The state of a recorded run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process executes it.
    Active,
    /// It waits for the answer of a person.
    Waiting,
    /// It was interrupted and can be resumed.
    Interrupted,
    /// It has ended.
    Ended,
}

impl RunState {
    /// Returns the name for users and programs.
    pub fn word(self) -> &'static str {
        match self {
            RunState::Active => "active",
            RunState::Waiting => "waiting",
            RunState::Interrupted => "interrupted",
            RunState::Ended => "ended",
        }
    }
}

/// The reply to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceReply {
    /// Carried out; its effects are events and changes of the state.
    Done,
    /// The ways to add servers.
    Welcome(WelcomeState),
    /// A file was written.
    Written(#[serde(with = "lossy_path")] PathBuf),
    /// The arguments of earlier sessions.
    Recall(Recall),
    /// The layout of the console.
    Layout(ConsoleLayout),
    /// A login was started.
    Login(LoginStarted),
    /// How a login ended.
    LoginEnded(LoginEnd),
    /// The configurations of other clients.
    Import(Box<ImportPlan>),
    /// Recorded calls, oldest first.
    Calls(Vec<CallRecord>),
    /// A page of the history.
    History(HistoryPage),
    /// Sessions of the history, newest first.
    Sessions(Vec<SessionSummary>),
    /// Statistics of the history.
    HistoryStats(Box<HistoryStats>),
    /// How many calls were deleted.
    Deleted(u64),
    /// Changes of definitions, oldest first.
    Drift(Vec<Change>),
    /// Current versions of definitions.
    Definitions(Vec<DefinitionVersion>),
    /// How many definitions were accepted.
    Accepted(u64),
    /// Runs, newest first.
    Runs(Vec<RunListed>),
    /// A recorded run.
    Run {
        /// Its journal.
        record: Box<RunRecord>,
        /// Its state.
        state: RunState,
    },
    /// The results of test cases.
    Tested(Vec<CaseEnd>),
    /// A test case created from a run.
    TestMade(TestMade),
}

/// A login that waits for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginStarted {
    /// The server.
    pub server: ServerId,
    /// The address to open in a browser, whole.
    pub address: String,
    /// Whether a browser was opened at it.
    pub opened: bool,
}

/// How a login ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginEnd {
    /// The user is logged in.
    LoggedIn,
    /// It failed, for this reason.
    Failed(String),
    /// Another login at the server began.
    Replaced,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceError {
    /// The engine serves no workspace.
    #[error("this engine has no workspace")]
    Unavailable,
    /// Only an operator may make requests.
    #[error("this client may not make the request: only an operator may")]
    NotPermitted,
    /// The connection to the engine was lost before the reply. The request may have been carried out.
    #[error("the connection to the engine was lost before it replied; the request may have been carried out")]
    Disconnected,
    /// The workspace has ended.
    #[error("the workspace has ended")]
    Ended,
    /// The workspace has too many requests to carry out.
    #[error("Switchboard is busy and did not take the request; try again")]
    Busy,
    /// The configuration has errors; the previous one remains active.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<ConfigError>),
    /// The project differs from the one that was shown, or needs no approval.
    #[error("the project has changed, so nothing was approved")]
    ProjectChanged,
    /// The choice is not among the offered ones.
    #[error("the choice is outdated; open the list again")]
    UnknownChoice,
    /// A file could not be written.
    #[error("{why}")]
    NotWritten {
        /// The path or purpose, and the cause.
        why: String,
    },
    /// The request cannot be carried out as given, or a file or the history could not be read.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
}

impl WorkspaceError {
    /// Returns the error of a request that cannot be carried out as given.
    pub fn invalid(why: impl Into<String>) -> WorkspaceError {
        Failure::new(FailureKind::InvalidArguments, why).into()
    }
}

impl From<Failure> for WorkspaceError {
    fn from(failure: Failure) -> WorkspaceError {
        WorkspaceError::Failed(Box::new(failure))
    }
}

impl WorkspaceRequest {
    /// Returns whether the request changes what a running engine uses. Such requests are carried out in their order.
    pub fn changes_session(&self) -> bool {
        match self {
            WorkspaceRequest::Approve(_)
            | WorkspaceRequest::Reject
            | WorkspaceRequest::GiveInput { .. }
            | WorkspaceRequest::UseEnvironment(_)
            | WorkspaceRequest::Start(_)
            | WorkspaceRequest::EditServer { .. }
            | WorkspaceRequest::SaveWorkflow { .. }
            | WorkspaceRequest::ReadWorkflows
            | WorkspaceRequest::Remember(_)
            | WorkspaceRequest::SaveLayout(_) => true,
            WorkspaceRequest::FindServers
            | WorkspaceRequest::Login { .. }
            | WorkspaceRequest::LoginEnd { .. }
            | WorkspaceRequest::FinishLogin { .. }
            | WorkspaceRequest::Recall
            | WorkspaceRequest::Layout
            | WorkspaceRequest::Import { .. }
            | WorkspaceRequest::WriteImport { .. }
            | WorkspaceRequest::Calls { .. }
            | WorkspaceRequest::History { .. }
            | WorkspaceRequest::Sessions { .. }
            | WorkspaceRequest::HistoryStats { .. }
            | WorkspaceRequest::PruneHistory { .. }
            | WorkspaceRequest::Drift { .. }
            | WorkspaceRequest::Definitions { .. }
            | WorkspaceRequest::AcceptDefinitions { .. }
            | WorkspaceRequest::Runs { .. }
            | WorkspaceRequest::Run(_)
            | WorkspaceRequest::Test { .. }
            | WorkspaceRequest::TestFromRun { .. } => false,
        }
    }

    /// Returns what to tell the user who made the request.
    pub fn notices(&self, result: &Result<WorkspaceReply, WorkspaceError>) -> Vec<Notice> {
        match (self, result) {
            (WorkspaceRequest::SaveWorkflow { .. }, Ok(WorkspaceReply::Written(path))) => {
                vec![Notice::new(NoticeLevel::Info, format!("workflow written: {}", path.display()))]
            }
            (WorkspaceRequest::EditServer { server, edit }, Ok(WorkspaceReply::Written(path))) => {
                let text = format!("{server} {} in {}", edit.done(), path.display());
                vec![Notice::new(NoticeLevel::Info, text)]
            }
            (_, Ok(_)) => vec![],
            (_, Err(WorkspaceError::Configuration(errors))) => errors.iter().map(ConfigError::rejected).collect(),
            (WorkspaceRequest::SaveWorkflow { .. }, Err(why)) => {
                vec![Notice::new(NoticeLevel::Error, format!("the workflow could not be written: {why}"))]
            }
            (WorkspaceRequest::Remember(_), Err(why)) => {
                vec![Notice::new(NoticeLevel::Warn, format!("arguments could not be stored: {why}"))]
            }
            (WorkspaceRequest::Login { server, .. } | WorkspaceRequest::FinishLogin { server, .. }, Err(why)) => {
                vec![Notice::new(NoticeLevel::Warn, format!("login at {server}: {why}"))]
            }
            (_, Err(why)) => vec![Notice::new(NoticeLevel::Warn, why.to_string())],
        }
    }
}

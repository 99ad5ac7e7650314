//! The console: an operator's view of all servers, and a client to call their tools interactively.
//!
//! Uses the engine through [`Control`](crate::control::Control) only. The loop takes input, events and time, passes
//! them to the model (`model`, which never waits), performs its commands, and draws (`draw`) when the
//! `pacer` is due. Called by the composition root.

pub mod action;
pub mod activity;
pub mod background;
pub mod call_segments;
pub mod copying;
pub mod dialog;
pub mod draw;
mod files;
pub mod filter;
pub mod filter_index;
pub mod flows;
pub mod graphics;
pub mod hits;
pub mod input;
pub mod keymap;
pub mod layout;
pub mod model;
pub mod msg;
mod name_search;
pub mod overlay;
pub mod pacer;
pub mod pane;
mod preferences;
pub mod result_view;
pub mod rows;
mod run;
pub mod search_text;
pub mod state_mirror;
mod system;
pub mod terminal;
pub mod theme;
mod tour;
pub mod tree;
pub mod view;
pub mod widget;

#[cfg(test)]
mod pictures;
#[cfg(test)]
pub mod test_support;

use std::{path::PathBuf, sync::Arc};

pub use preferences::preferences;
pub use run::{Left, run};
pub use terminal::give_back as give_terminal_back;

use copying::Invocation;
use theme::Theme;

use crate::domain::{
    call::Operation,
    catalog::ConfirmPolicy,
    config_input::ConfigInput,
    drift::Change,
    history::{HistoryPage, HistoryStats},
    id::CallId,
    id::ServerId,
    journal::{CallRecord, RunHeader},
    program_session::{SessionStart, SessionSummary},
    time::Stamp,
    workflow::library::WorkflowLibrary,
    workspace::{Environments, LoginEnd, LoginStarted},
};
pub use crate::{control::WorkspaceRequest, domain::workspace::ApprovalPrompt};

/// How the console starts.
pub struct ConsoleOptions {
    /// Theme, keys and confirmations.
    pub preferences: Preferences,
    /// The folder of files that are opened in other programs.
    pub exports: PathBuf,
    /// Called on its own thread when the console becomes idle, half a second after the last activity.
    pub rest: fn(),
    /// Called when a signal was received.
    pub heard: Arc<dyn Fn() + Send + Sync>,
    /// Whether the tour of the demo is shown.
    pub tour: bool,
    /// A call of a tool to open with: its tool is selected, its result shown.
    pub opening: Option<Operation>,
    /// Where the clock of the console begins, for a session that is over [default: now].
    pub begin: Option<Stamp>,
    /// Restores the terminal if this process dies without doing so.
    pub guard: Option<Arc<dyn terminal::TerminalGuard>>,
}

/// The part of the configuration that concerns the console; applied again when the configuration changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Preferences {
    /// The colours; [`Theme::mono`] where `NO_COLOR` is set.
    pub theme: Theme,
    /// The keys.
    pub keymap: keymap::Keymap,
    /// Which calls are confirmed first.
    pub confirm: ConfirmPolicy,
}

/// A change of the workspace.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsoleUpdate {
    /// The user changed theme, keys or confirmations.
    Preferences(Box<Preferences>),
    /// The welcome added servers: the command line that reaches the same servers, and the configuration's name.
    Servers(Invocation, String),
    /// The environments of the configuration, and the one in use.
    Environments(Environments),
    /// The current workflow files.
    Workflows(WorkflowLibrary),
    /// Runs of earlier sessions, newest first.
    Past(Vec<RunHeader>),
    /// The current ways to get servers, to be shown.
    Welcome(overlay::welcome::WelcomeState),
    /// The project's file changed and needs approval; `None` when it does not.
    Approval(Option<ApprovalPrompt>),
    /// The inputs that servers of the configuration use now.
    Inputs(Vec<ConfigInput>),
    /// A login waits for the user.
    Login(LoginStarted),
    /// The login at a server ended.
    LoginEnded(ServerId, LoginEnd),
    /// The session of the engine.
    Session(SessionStart),
    /// A page of the history, and its filter.
    History(String, HistoryPage),
    /// The sessions of the history, newest first.
    Sessions(Vec<SessionSummary>),
    /// A page of the history for the traffic view: its filter, the call that it is before, and its rows or why they cannot be read.
    PastPage(String, CallId, Result<HistoryPage, String>),
    /// A call of the history for the open row; `None` if it was deleted.
    PastRow(CallId, Option<Box<CallRecord>>),
    /// A call of the history.
    PastCall(Box<CallRecord>),
    /// Statistics of the history.
    Statistics(Box<HistoryStats>),
    /// What servers changed.
    Drift(Vec<Change>),
}

/// What the console starts with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Startup {
    /// The servers of the configuration.
    #[default]
    Normal,
    /// A project's file needs approval before its servers start.
    Approval(ApprovalPrompt),
    /// There are no servers: the tree explains how to add some.
    Empty,
    /// There are no servers: the welcome lists these ways to add some.
    Welcome(overlay::welcome::WelcomeState),
}

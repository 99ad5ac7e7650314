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
pub mod result_view;
pub mod rows;
mod run;
pub mod search_text;
pub mod state_mirror;
mod system;
pub mod tabs;
pub mod terminal;
pub mod theme;
pub mod tree;
pub mod widget;

#[cfg(test)]
mod pictures;
#[cfg(test)]
pub mod test_support;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::mpsc;

pub use run::{Left, run};
pub use terminal::give_back as give_terminal_back;

use copying::Invocation;
use theme::Theme;

use crate::domain::{
    argument_history::{Recall, Recalled},
    catalog::ConfirmPolicy,
    journal::RunHeader,
    workflow::library::WorkflowLibrary,
};

/// How the console looks and starts.
pub struct ConsoleOptions {
    /// Theme, keys and confirmations.
    pub preferences: Preferences,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// The configuration's name, shown at the lower right.
    pub title: String,
    /// What the console starts with.
    pub startup: Startup,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The workflow files.
    pub workflows: WorkflowLibrary,
    /// How this console was started.
    pub invocation: Invocation,
    /// The folder of files that are opened in other programs.
    pub exports: PathBuf,
    /// Called on its own thread when the console becomes idle, half a second after the last activity.
    pub rest: fn(),
    /// Called when a signal was received.
    pub heard: Arc<dyn Fn() + Send + Sync>,
    /// Restores the terminal if this process dies without doing so.
    pub guard: Option<Arc<dyn terminal::TerminalGuard>>,
    /// Requests to the composition root. Bounded; the user gets a message when the channel is
    /// full.
    pub requests: mpsc::Sender<ConsoleRequest>,
    /// Updates while the console runs. The channel may close.
    pub updates: mpsc::Receiver<ConsoleUpdate>,
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

/// An update from the composition root.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsoleUpdate {
    /// The user changed theme, keys or confirmations.
    Preferences(Box<Preferences>),
    /// The welcome added servers: the command line that reaches the same servers, and the configuration's name.
    Servers(Invocation, String),
    /// The current workflow files.
    Workflows(WorkflowLibrary),
    /// Runs of earlier sessions, newest first.
    Past(Vec<RunHeader>),
    /// The current ways to get servers, to be shown.
    Welcome(overlay::welcome::WelcomeState),
    /// The project's file changed and needs approval; `None` when it does not.
    Approval(Option<ApprovalPrompt>),
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

/// A project file to approve.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalPrompt {
    /// The file.
    pub path: String,
    /// What it would start, one line each.
    pub lines: Vec<String>,
    /// SHA-256 of the file as read; the approval applies to this content only.
    pub hash: String,
}

/// A request of the console to the composition root.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsoleRequest {
    /// Use the project's file with this hash.
    Approve(String),
    /// Do not use it.
    Reject,
    /// Search this machine for servers, for the welcome while servers run.
    FindServers,
    /// Start these servers, chosen in the welcome.
    Start(overlay::welcome::Chosen),
    /// Write the file of a new workflow.
    SaveWorkflow {
        /// Its name, which is unique.
        name: String,
        /// Its text.
        text: String,
    },
    /// Read the workflow files again.
    ReadWorkflows,
    /// Remember these arguments for other sessions; they contain no secret.
    Remember(Recalled),
}

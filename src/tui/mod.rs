//! The console: an operator's view of all servers, and the place to fire calls by hand.
//!
//! Speaks to the engine through [`Control`](crate::engine::control::Control) only. The loop here takes input, events and time, gives
//! them to the model (`model`, which never waits), does what it wants done, and draws (`view`) when the
//! `pacer` says so. Called by the composition root.

pub mod action;
pub mod background;
pub mod call_segments;
pub mod copying;
mod files;
pub mod filter;
pub mod filter_index;
pub mod flows;
pub mod input;
pub mod keymap;
pub mod layout;
pub mod model;
pub mod msg;
pub mod overlay;
pub mod pacer;
pub mod pane;
pub mod result_view;
pub mod rows;
mod run;
pub mod search_text;
pub mod state_mirror;
pub mod strip;
mod system;
pub mod terminal;
pub mod theme;
pub mod tree;
pub mod uri;
pub mod view;
pub mod views;
pub mod widget;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod pictures;

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
};

/// How the console looks and what it begins with.
pub struct ConsoleOptions {
    /// Colours, keys, questions.
    pub taste: Preferences,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// The configuration's name, shown at the lower right.
    pub title: String,
    /// What to begin with.
    pub startup: Startup,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The workflow files.
    pub workflows: flows::Shelf,
    /// How this console was started.
    pub invocation: Invocation,
    /// Where files go that are opened in other programs.
    pub exports: PathBuf,
    /// Called on a thread of its own whenever nothing has happened for half a second after something did.
    pub rest: fn(),
    /// Called when a signal was taken.
    pub heard: Arc<dyn Fn() + Send + Sync>,
    /// What restores the terminal if this process ends without doing so.
    pub guard: Option<Arc<dyn terminal::TerminalGuard>>,
    /// Where the console tells the composition root what only it can do. Bounded; a full channel is
    /// told to the user.
    pub requests: mpsc::Sender<ConsoleRequest>,
    /// What changes while the console runs. It may end.
    pub updates: mpsc::Receiver<ConsoleUpdate>,
}

/// What of the console is a matter of the user's configuration, and taken in anew when that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Preferences {
    /// The colours; [`Theme::mono`] where `NO_COLOR` is set.
    pub theme: Theme,
    /// The keys.
    pub keymap: keymap::Keymap,
    /// Which calls are asked about.
    pub confirm: ConfirmPolicy,
}

/// What the composition root tells the console.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsoleUpdate {
    /// The user changed colours, keys or questions.
    Preferences(Box<Preferences>),
    /// The welcome added servers: how the same ones are reached from a command line, and what they are called.
    Servers(Invocation, String),
    /// The workflow files as they are now.
    Workflows(flows::Shelf),
    /// Runs of earlier sessions, newest first.
    Past(Vec<RunHeader>),
    /// The ways to get servers as they are now, to be shown.
    Offer(overlay::welcome::Offer),
    /// The project's file has changed and has to be approved; `None` when nothing waits for that any more.
    Approval(Option<ApprovalPrompt>),
}

/// What the console begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Startup {
    /// The servers of the configuration.
    #[default]
    Normal,
    /// A project's file has to be approved before its servers are started.
    Approval(ApprovalPrompt),
    /// There are no servers: the tree says how to get some.
    Empty,
    /// There are no servers: these are ways to get some.
    Welcome(overlay::welcome::Offer),
}

/// A file that came with a project, to be approved.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalPrompt {
    /// The file.
    pub path: String,
    /// What it would start, a line each.
    pub lines: Vec<String>,
    /// SHA-256 of the file as it was read; the approval holds for this only.
    pub hash: String,
}

/// What the console asks of the composition root.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsoleRequest {
    /// The project's file with this hash may be used.
    Approve(String),
    /// It may not.
    Reject,
    /// Look what there is on this machine, for the welcome beside servers that run.
    Offer,
    /// Start these servers, as the welcome says.
    Start(overlay::welcome::Chosen),
    /// This is to become the file of a new workflow.
    SaveWorkflow {
        /// Its name, which no other has.
        name: String,
        /// Its text.
        text: String,
    },
    /// The workflow files may have changed.
    ReadWorkflows,
    /// These arguments are to be remembered for other sessions; nothing secret is in them.
    Remember(Recalled),
}

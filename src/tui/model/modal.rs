//! The dialogs on top of the panes, and their purposes.

use std::sync::Arc;

use crate::{
    domain::{call::CallSpec, run::RunSpec, workflow::history::PastCall},
    tui::{
        copying::CopyKind,
        msg::Content,
        overlay::{
            approval::Approval, burst::Burst, confirm::Confirm, dry_run::DryRun, help::Help, inbox::Inbox, long_text::LongText, menu::Menu,
            notices::Notices, palette::Palette, text_prompt::TextPrompt, welcome::Welcome,
        },
        pane::health::Subject,
        tree::Node,
    },
};

/// A dialog on top of the panes.
pub enum Modal {
    /// The help.
    Help(Help),
    /// The command palette.
    Palette(Palette),
    /// A confirmation, and what depends on it.
    Confirm(Confirm, Pending),
    /// The inbox: questions of servers.
    Inbox(Box<Inbox>),
    /// The approval of a project's file.
    Approval(Approval),
    /// Past notifications.
    Notices(Notices),
    /// The welcome.
    Welcome(Welcome),
    /// A prompt, and its purpose.
    Entry(Box<TextPrompt>, Purpose),
    /// A menu, and the effects of its rows.
    Menu(Menu, Vec<Choice>),
    /// A burst.
    Burst(Box<Burst>),
    /// The multi-line editor of a field.
    LongText(Box<LongText>),
    /// A dry run.
    Dry(DryRun),
}

/// The purpose of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    /// Search in the result.
    Search,
    /// Filter the result.
    JsonPath,
    /// Save this to a file.
    Save(Content),
    /// Read an answer from a file.
    AnswerFile,
    /// Inject a fault at a server or tool.
    Inject(Subject),
    /// Clear cached results.
    Purge,
    /// Start a burst: how many calls, and how many in parallel.
    Burst(Box<CallSpec>),
    /// Name the workflow of these calls.
    Workflow(Vec<PastCall>),
}

/// The effect of a row of a menu.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Copy this.
    Copy(CopyKind),
    /// Ask where to save this; the name is the default.
    Save(String, Content),
    /// Open this in another program.
    Open(String, Content),
}

/// What a confirmation decides on.
#[derive(Clone, Debug, PartialEq)]
pub enum Pending {
    /// Leaving.
    Quit,
    /// A call of a tool that may modify data.
    Call(Box<CallSpec>, Option<Node>),
    /// A burst of it: how many calls, and how many in parallel.
    Burst(Box<CallSpec>, u64, usize),
    /// A run of a workflow that calls such tools.
    Run(Arc<RunSpec>),
    /// Overwriting a file.
    Overwrite(String, Content),
}

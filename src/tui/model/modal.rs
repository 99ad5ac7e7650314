//! The dialogs over the panes, and what each is for.

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

/// A dialog over the panes.
pub enum Modal {
    /// Keys.
    Help(Help),
    /// Everything by name.
    Palette(Palette),
    /// A question of Switchboard itself, and what depends on it.
    Confirm(Confirm, Pending),
    /// Questions of servers.
    Inbox(Box<Inbox>),
    /// A project's file.
    Approval(Approval),
    /// Notices.
    Notices(Notices),
    /// Ways to get servers.
    Welcome(Welcome),
    /// A line that is asked for, and what it is for.
    Entry(Box<TextPrompt>, Purpose),
    /// A menu, and what its rows do.
    Menu(Menu, Vec<Choice>),
    /// Many calls.
    Burst(Box<Burst>),
    /// A field's text.
    LongText(Box<LongText>),
    /// What a workflow would call.
    Dry(DryRun),
}

/// What a line that is asked for is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    /// To be searched for in the result.
    Search,
    /// To filter the result.
    JsonPath,
    /// Where to save this.
    Save(Content),
    /// The file that holds an answer.
    AnswerFile,
    /// The fault to be made at a server or tool.
    Inject(Subject),
    /// Which kept answers are forgotten.
    Purge,
    /// How often, and how many at once.
    Burst(Box<CallSpec>),
    /// What the workflow of these calls is called.
    Workflow(Vec<PastCall>),
}

/// What a row of a menu does.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Copies.
    Copy(CopyKind),
    /// Asks where to save this; the name is the proposal.
    Save(String, Content),
    /// Opens this in another program.
    Open(String, Content),
}

/// What waits for an answer of the user.
#[derive(Clone, Debug, PartialEq)]
pub enum Pending {
    /// Leaving.
    Quit,
    /// Firing a call of a tool that may destroy something.
    Fire(Box<CallSpec>, Option<Node>),
    /// Firing it many times: how often, and how many at once.
    Burst(Box<CallSpec>, u64, usize),
    /// Running a workflow that calls such tools.
    Run(Arc<RunSpec>),
    /// Writing over a file.
    Overwrite(String, Content),
}

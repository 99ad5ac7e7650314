//! The console's state and what changes it: `update` takes a message and gives commands. Nothing waits here.
//!
//! What comes in: `keys`, `mouse`, `paste` and `choices` route input, `events` takes in what the engine tells. `context` says
//! where the user is, `sense` what does something there.
//!
//! What is done: `act` sends an action on to `dialogs`, `welcome`, `panes`, `servers`, `views`, `workflows` or `policy`;
//! `calls` fires and answers, `consent` asks before what may destroy something, `burst` fires many, `results` asks things of results, `copy` copies, `fields` and `complete`
//! help with typing, `tell` says something in the corner.
//!
//! `setup` makes the first state, `settle` brings it in order after each message, `modal` has the dialogs. Named by the
//! loop and by `view`, which draws it.

mod act;
mod burst;
mod calls;
mod choices;
mod complete;
mod consent;
mod context;
mod copy;
mod dialogs;
mod enabled;
mod events;
mod fields;
mod keys;
mod modal;
mod mouse;
mod panes;
mod paste;
mod policy;
mod reconcile;
mod results;
mod servers;
mod setup;
mod toasts;
mod views;
mod welcome;
mod workflows;

use crokey::KeyCombination;

use crate::domain::{catalog::ConfirmPolicy, event::NoticeLevel, form::Path, read_model::ConsoleState, time::Stamp};

use super::{
    ApprovalPrompt, ConsoleRequest, ConsoleUpdate, Preferences,
    background::{Done, Job, JobHandle, Worked},
    copying::Invocation,
    keymap::Keymap,
    layout::{Divider, Focus, Layout, Room},
    msg::{Cmd, Msg},
    overlay::{toast::Toast, welcome::Offer},
    pane::{DrawContext, call::CallPane, detail::Detail, info::InfoPane, row_detail::RowDetail, traffic::TrafficPane},
    state_mirror::Feed,
    strip::Strip,
    theme::Theme,
    tree::{Node, Tree},
    views::Views,
};

use self::consent::Consent;

pub use self::{
    modal::{Choice, Modal, Pending, Purpose},
    setup::Setup,
};

/// The panes and dialogs, to be drawn.
pub struct Parts<'m> {
    /// The tree.
    pub tree: &'m Tree,
    /// The call.
    pub call: &'m mut CallPane,
    /// Its result.
    pub result: &'m mut Detail,
    /// A call of the traffic list.
    pub detail: Option<&'m mut Detail>,
    /// The server.
    pub info: &'m InfoPane,
    /// The list of calls.
    pub traffic: &'m TrafficPane,
    /// Dialogs.
    pub modals: &'m mut [Modal],
}

/// The whole state.
pub struct Model {
    /// The read model as of the last event.
    pub feed: Feed,
    /// Now, on the engine's clock.
    pub now: Stamp,
    /// Steps of animation.
    pub beat: u64,
    /// The colours.
    pub theme: Theme,
    /// The keys.
    pub keymap: Keymap,
    /// The configuration's name.
    pub title: String,
    /// The places of everything.
    pub layout: Layout,
    /// The pane with the focus.
    pub focus: Focus,
    /// The tree.
    pub tree: Tree,
    /// The call.
    pub call: CallPane,
    /// Its result.
    pub result: Detail,
    /// A call of the traffic list, when one is open.
    pub detail: Option<Detail>,
    /// Work left by pages that were closed.
    left: Vec<Job>,
    /// The server pane's scroll.
    pub info: InfoPane,
    /// The list of calls.
    pub traffic: TrafficPane,
    /// Traffic, timeline and health.
    pub views: Views,
    /// The last minute of every server.
    pub strip: Strip,
    /// Dialogs, the last one on top.
    pub modals: Vec<Modal>,
    /// Messages in the corner.
    pub toasts: Vec<Toast>,
    /// Keys of a sequence that is not finished.
    pub sequence: Vec<KeyCombination>,
    size: (u16, u16),
    zoom: bool,
    strip_shown: bool,
    room: Room,
    /// The border that is being dragged.
    drag: Option<Divider>,
    mouse: bool,
    /// What the user said of tools and servers, in this session.
    consent: Consent,
    /// What the welcome has to offer.
    offer: Option<Offer>,
    /// A project's file that is to be approved as soon as no letter that is typed could be taken for the answer.
    approval: Option<ApprovalPrompt>,
    /// A project that the user rejected: nothing of it is used, and the question is shown again only on request.
    rejected: Option<ApprovalPrompt>,
    /// Calls asked for whose ids are not known yet, by token.
    submitted: Vec<(u64, Option<Node>)>,
    next_token: u64,
    engine_gone: bool,
    confirm: ConfirmPolicy,
    invocation: Invocation,
    /// The field whose text is in `$EDITOR`; `None`: all arguments are.
    in_editor: Option<Path>,
    /// The token of a call whose result is to be shown by itself.
    followed: Option<u64>,
    /// Where the detail was opened from.
    came_from: Focus,
    completing: complete::Completing,
    /// Whether a search has not come to its end.
    searching: bool,
    /// A large text that is made ready for the clipboard.
    copying: Option<JobHandle>,
    /// What was searched for in results, the newest last.
    searches: Vec<String>,
    /// Until then an approval or a confirmation that opened unasked takes no answer.
    answers_from: Stamp,
}

impl Model {
    /// Takes in a message.
    pub fn update(&mut self, msg: Msg) -> Vec<Cmd> {
        let mut commands = match msg {
            Msg::Input(input) => self.input(input),
            Msg::Resize(width, height) => {
                self.size = (width, height);
                vec![]
            }
            Msg::Events(events) => self.events(&events),
            Msg::EngineGone => {
                self.engine_gone = true;
                self.toast(NoticeLevel::Error, "The engine has ended: nothing can be called any more. q leaves.");
                vec![]
            }
            Msg::Beat(now) => {
                self.now = self.now.max(now);
                self.beat = self.beat.wrapping_add(1);
                let mut commands = self.complete();
                commands.extend(self.burst_more());
                commands
            }
            Msg::Submitted { token, call } => self.submitted(token, call),
            Msg::Edited(edited) => self.edited(edited),
            Msg::FileEdited(edited) => self.file_edited(edited),
            Msg::Saved(saved) => {
                self.saved(saved);
                vec![]
            }
            Msg::Exists { path, content } => {
                self.exists(path, content);
                vec![]
            }
            Msg::Worked(worked) => self.worked(*worked),
            Msg::FileRead(read) => {
                self.answer_text(read);
                vec![]
            }
            Msg::Update(update) => {
                self.updated(update);
                vec![]
            }
            Msg::Trouble(text) => {
                self.toast(NoticeLevel::Warn, text);
                vec![]
            }
        };
        self.settle();
        commands.extend(self.take_tasks());
        commands
    }

    /// The work that panes have come to need.
    fn take_tasks(&mut self) -> Vec<Cmd> {
        let mut tasks = std::mem::take(&mut self.left);
        tasks.extend(self.result.take_tasks());
        tasks.extend(self.detail.as_mut().map(Detail::take_tasks).unwrap_or_default());
        tasks.extend(self.views.entry.as_mut().map(RowDetail::take_tasks).unwrap_or_default());
        tasks.into_iter().map(Cmd::Work).collect()
    }

    /// Closes the page of a call.
    fn end_detail(&mut self) {
        self.left.extend(self.detail.take().iter_mut().flat_map(Detail::close));
    }

    /// Gives work that was done to whoever asked for it. What was made is moved there: a copy of a large tree would hold
    /// up a frame.
    fn worked(&mut self, worked: Worked) -> Vec<Cmd> {
        if let Done::Copied(kind, copied) = worked.done {
            let mine = self.copying.take_if(|ticket| *ticket == worked.ticket).is_some();
            return if mine { self.copied(kind, copied) } else { vec![] };
        }
        let read_model = &self.feed.read_model;
        let details = self.detail.iter_mut().chain([&mut self.result]);
        if let Some(detail) = { details }.find(|detail| detail.waits_for(&worked.ticket)) {
            detail.job_done(worked.done, read_model);
        } else if let Some(entry) = self.views.entry.as_mut().filter(|entry| entry.waits_for(&worked.ticket)) {
            entry.job_done(worked, read_model);
        }
        vec![]
    }

    /// Takes in what the user changed in the configuration.
    fn updated(&mut self, update: ConsoleUpdate) {
        match update {
            ConsoleUpdate::Preferences(taste) => {
                let Preferences { theme, keymap, confirm } = *taste;
                (self.theme, self.keymap, self.confirm) = (theme, keymap, confirm);
                // A sequence that was begun may mean something else now.
                self.sequence.clear();
                self.toast(NoticeLevel::Info, "Colours, keys and questions are those of the changed configuration.");
            }
            ConsoleUpdate::Workflows(shelf) => self.flows_changed(&shelf),
            ConsoleUpdate::Past(runs) => self.views.flows.past = runs,
            ConsoleUpdate::Approval(prompt) => {
                // What an open dialog shows is not what would be started now.
                self.modals.retain(|modal| !matches!(modal, Modal::Approval(_)));
                // Who rejected the project is not asked again because it has changed.
                (self.rejected, self.approval) = match self.rejected {
                    Some(_) => (prompt, None),
                    None => (None, prompt),
                };
            }
            ConsoleUpdate::Offer(offer) => self.offered(offer),
            ConsoleUpdate::Servers(invocation, title) => (self.invocation, self.title) = (invocation, title),
        }
    }

    /// Notes the time before a message is handled.
    pub fn at(&mut self, now: Stamp) {
        self.now = self.now.max(now);
    }

    /// The read model.
    pub fn read_model(&self) -> &ConsoleState {
        &self.feed.read_model
    }

    /// What panes need to draw.
    pub fn look(&self) -> DrawContext<'_> {
        DrawContext {
            read_model: &self.feed.read_model,
            theme: &self.theme,
            keys: &self.keymap,
            now: self.now.max(self.feed.last),
            tick: self.beat,
            focused: false,
        }
    }

    /// The same beside the panes themselves: their widgets keep how far they are scrolled while they draw.
    pub fn parts(&mut self, focused: bool) -> (DrawContext<'_>, Parts<'_>) {
        let look = DrawContext {
            read_model: &self.feed.read_model,
            theme: &self.theme,
            keys: &self.keymap,
            now: self.now.max(self.feed.last),
            tick: self.beat,
            focused,
        };
        let parts = Parts {
            tree: &self.tree,
            call: &mut self.call,
            result: &mut self.result,
            detail: self.detail.as_mut(),
            info: &self.info,
            traffic: &self.traffic,
            modals: &mut self.modals,
        };
        (look, parts)
    }

    fn request(request: ConsoleRequest) -> Vec<Cmd> {
        vec![Cmd::Request(request)]
    }
}

#[cfg(test)]
mod builder_tests;
#[cfg(test)]
mod gallery_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod views_tests;
#[cfg(test)]
mod workflows_tests;

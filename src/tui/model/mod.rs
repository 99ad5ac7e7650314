//! The model: the console's state, and `update`, which takes a message and returns commands. Nothing waits here.
//!
//! Input: `keys`, `mouse`, `paste` and `choices` route input, `events` handles the events of the engine. `context` says
//! where the user is, `enabled` which actions apply there.
//!
//! Actions: `act` passes an action on to `dialogs`, `views`, `policy`, `welcome`, `servers` or `workflows`;
//! `calls` sends calls and answers, `consent` confirms what may modify data, `burst` sends a call many times, `watch` at an
//! interval, `compare` compares two calls, `results`
//! searches, filters and saves results, `copy` copies, `describe` opens descriptions, `tour` performs the tour of the demo, `opening` makes its first call, `commands` performs the command line,
//! `favourites` marks what comes first, `saved_calls` saves calls by name, `fields` and `complete` help with typing, `toasts` shows messages in the corner.
//!
//! `session` holds what views and dialogs share. The views themselves are in [`super::view`], the dialogs in
//! [`super::overlay`]. `setup` creates the first state, `reconcile` brings it in order after each message. Used by the loop
//! and by `draw`.

mod act;
mod burst;
mod calls;
mod choices;
mod commands;
mod compare;
mod complete;
mod consent;
mod context;
mod copy;
mod describe;
mod dialogs;
mod enabled;
mod events;
mod favourites;
mod fields;
mod history;
mod keys;
mod mouse;
mod opening;
mod paste;
mod policy;
mod reconcile;
mod results;
mod saved_calls;
mod saved_layout;
mod server_file;
mod servers;
mod session;
mod setup;
mod toasts;
mod tour;
mod views;
mod watch;
mod welcome;
mod workflows;

use crokey::KeyCombination;

use crate::{
    domain::{call::Operation, catalog::ConfirmPolicy, config_input::ConfigInput, event::NoticeLevel, form::Path, time::Stamp},
    state::ConsoleState,
};

use super::{
    ApprovalPrompt, ConsoleUpdate, Preferences, WorkspaceRequest,
    activity::Activity,
    background::{Done, JobHandle, Worked},
    copying::Invocation,
    dialog::Dialogs,
    layout::{Divider, Layout, Room},
    msg::{Cmd, Msg},
    overlay::{approval::Approval, login::LoginDialog, toast::Toast, welcome::WelcomeState},
    pane::{DrawContext, detail::Detail, row_detail::RowDetail},
    tree::Node,
    view::{Views, console::ConsoleView},
};

use self::consent::Consent;

pub use self::{session::Session, setup::Setup};

/// The complete state.
pub struct Model {
    /// What views and dialogs share.
    pub session: Session,
    /// The layout of the panes.
    pub layout: Layout,
    /// The view of servers, calls and results.
    pub console: ConsoleView,
    /// Traffic, timeline and health.
    pub views: Views,
    /// The last minute of every server.
    pub activity: Activity,
    /// The open dialogs.
    pub dialogs: Dialogs,
    /// Messages in the corner.
    pub toasts: Vec<Toast>,
    /// The keys of an unfinished sequence.
    pub sequence: Vec<KeyCombination>,
    size: (u16, u16),
    zoom: bool,
    activity_shown: bool,
    room: Room,
    /// The border that is being dragged.
    drag: Option<Divider>,
    mouse: bool,
    /// The user's answers about tools and servers in this session.
    consent: Consent,
    /// The servers that the welcome offers.
    welcome_state: Option<WelcomeState>,
    /// A project's file whose approval opens as soon as no typed letter could be taken for the answer.
    approval: Option<ApprovalPrompt>,
    /// A project that the user rejected: it is not used, and its approval opens again only on request.
    rejected: Option<ApprovalPrompt>,
    /// The inputs that servers of the configuration use.
    config_inputs: Vec<ConfigInput>,
    /// Whether the dialog for missing inputs opens as soon as no typed letter could be taken for a value.
    ask_inputs: bool,
    /// Submitted calls whose ids are not known yet, by token.
    submitted: Vec<(u64, Option<Node>)>,
    next_token: u64,
    engine_gone: bool,
    confirm: ConfirmPolicy,
    invocation: Invocation,
    /// The field whose text is in `$EDITOR`; `None` for all arguments.
    in_editor: Option<Path>,
    /// The token of a call whose result opens unrequested.
    followed: Option<u64>,
    completing: complete::Completing,
    /// Whether a search is still running.
    searching: bool,
    /// A large text that is being prepared for the clipboard.
    copying: Option<JobHandle>,
    /// The name of the call that was saved last, until its file is read.
    saved_last: Option<String>,
    /// Earlier searches in results, the newest last.
    searches: Vec<String>,
    /// Earlier lines of the command line, the newest last.
    lines: Vec<String>,
    /// The tour of the demo.
    tour: Option<tour::Tour>,
    /// The call that the console opens with, until it is sent.
    opening: Option<Operation>,
}

impl Model {
    /// Handles a message.
    pub fn update(&mut self, msg: Msg) -> Vec<Cmd> {
        let mut commands = match msg {
            Msg::Input(input) if self.ends_tour(&input) => vec![],
            Msg::Input(input) => {
                self.note_opening(&input);
                self.input(input)
            }
            Msg::Resize(width, height) => {
                self.size = (width, height);
                vec![]
            }
            Msg::Events(events) => {
                let mut commands = self.events(&events);
                commands.extend(self.open_with());
                commands
            }
            Msg::EngineGone => {
                self.engine_gone = true;
                self.toast(NoticeLevel::Error, "The engine has stopped: no call can be sent. q quits.");
                vec![]
            }
            Msg::Tick(now) => {
                self.session.now = self.session.now.max(now);
                self.session.tick = self.session.tick.wrapping_add(1);
                let mut commands = self.complete();
                commands.extend(self.burst_more());
                commands.extend(self.watch_more());
                commands.extend(self.tour_more());
                commands
            }
            Msg::Submitted { token, call } => self.submitted(token, call),
            Msg::NotSubmitted { token, why } => self.not_submitted(token, &why),
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
            Msg::Update(ConsoleUpdate::Login(login)) => self.login_began(login),
            Msg::Update(update) => {
                self.updated(update);
                vec![]
            }
            Msg::Notices(notices) => {
                notices.iter().for_each(|notice| self.notice(notice));
                vec![]
            }
            Msg::Trouble(text) => {
                self.toast(NoticeLevel::Warn, text);
                vec![]
            }
        };
        self.reconcile();
        commands.extend(self.read_past());
        commands.extend(self.take_tasks());
        commands
    }

    /// Collects the background jobs that panes created.
    fn take_tasks(&mut self) -> Vec<Cmd> {
        let mut tasks = std::mem::take(&mut self.console.left);
        tasks.extend(self.console.result.take_tasks());
        tasks.extend(self.console.detail.as_mut().map(Detail::take_tasks).unwrap_or_default());
        tasks.extend(self.views.state.entry.as_mut().map(RowDetail::take_tasks).unwrap_or_default());
        tasks.into_iter().map(Cmd::Work).collect()
    }

    /// Requests what the last frame lacks: images for their areas, and the graphics of the terminal once there is an image.
    pub fn after_frame(&mut self) -> Vec<Cmd> {
        let entry = self.views.state.entry.as_mut().map(|entry| &mut entry.detail);
        let mut image = false;
        for detail in self.console.detail.iter_mut().chain([&mut self.console.result]).chain(entry) {
            detail.fit_image();
            image |= detail.has_picture();
        }
        let mut commands = self.take_tasks();
        if image && self.session.graphics.ask() {
            commands.push(Cmd::AskGraphics);
        }
        commands
    }

    /// Passes the result of a background job to its owner. It is moved there: a copy of a large tree would
    /// delay a frame.
    fn worked(&mut self, worked: Worked) -> Vec<Cmd> {
        if let Done::Copied(kind, copied) = worked.done {
            let mine = self.copying.take_if(|ticket| *ticket == worked.ticket).is_some();
            return if mine { self.copied(kind, copied) } else { vec![] };
        }
        let read_model = self.session.read_model();
        let details = self.console.detail.iter_mut().chain([&mut self.console.result]);
        if let Some(detail) = { details }.find(|detail| detail.waits_for(&worked.ticket)) {
            detail.job_done(worked.done, read_model);
            return detail.take_transmission().map(Cmd::SendImage).into_iter().collect();
        }
        let Some(entry) = self.views.state.entry.as_mut().filter(|entry| entry.waits_for(&worked.ticket)) else { return vec![] };
        entry.job_done(worked, read_model);
        entry.detail.take_transmission().map(Cmd::SendImage).into_iter().collect()
    }

    /// Applies a changed configuration.
    fn updated(&mut self, update: ConsoleUpdate) {
        match update {
            ConsoleUpdate::Preferences(preferences) => {
                let Preferences { theme, keymap, confirm } = *preferences;
                (self.session.theme, self.session.keymap, self.confirm) = (theme, keymap, confirm);
                // An unfinished sequence may have another meaning now.
                self.sequence.clear();
                self.toast(NoticeLevel::Info, "Configuration reloaded: theme, keys and confirmations.");
            }
            ConsoleUpdate::Workflows(library) => self.flows_changed(&library),
            ConsoleUpdate::Past(runs) => self.views.flows.past = runs,
            ConsoleUpdate::Approval(prompt) => {
                // The open dialog shows servers that are outdated now.
                self.dialogs.close::<Approval>();
                // After a rejection, a change of the project does not ask again.
                (self.rejected, self.approval) = match self.rejected {
                    Some(_) => (prompt, None),
                    None => (None, prompt),
                };
            }
            ConsoleUpdate::Inputs(inputs) => self.inputs_changed(inputs),
            ConsoleUpdate::Environments(environments) => self.session.environments = environments,
            ConsoleUpdate::Session(session) => self.views.state.rows.set_session(session),
            ConsoleUpdate::History(filter, page) => self.show_history(&filter, &page),
            ConsoleUpdate::Sessions(sessions) => self.show_sessions(sessions),
            ConsoleUpdate::PastPage(filter, before, page) => self.add_past(&filter, before, page),
            ConsoleUpdate::PastRow(call, record) => self.show_past_row(call, record.as_deref()),
            ConsoleUpdate::PastCall(record) => self.show_past_call(&record),
            ConsoleUpdate::Statistics(stats) => self.show_statistics(&stats),
            ConsoleUpdate::Drift(changes) => self.show_drift(&changes),
            ConsoleUpdate::Welcome(offer) => self.show_welcome(offer),
            // Has commands.
            ConsoleUpdate::Login(_) => {}
            ConsoleUpdate::LoginEnded(server, end) => {
                if let Some(dialog) = self.dialogs.find_mut::<LoginDialog>() {
                    dialog.ended(&server, end);
                }
            }
            ConsoleUpdate::Servers(invocation, title) => (self.invocation, self.session.title) = (invocation, title),
        }
    }

    /// Sets the time before a message is handled.
    pub fn at(&mut self, now: Stamp) {
        self.session.now = self.session.now.max(now);
    }

    /// Returns the read model.
    pub fn read_model(&self) -> &ConsoleState {
        self.session.read_model()
    }

    /// Returns what panes need to draw.
    pub fn look(&self) -> DrawContext<'_> {
        self.session.context(false)
    }

    fn request(request: WorkspaceRequest) -> Vec<Cmd> {
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

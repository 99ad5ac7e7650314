//! The console's state and what changes it: `update` takes a message and gives commands. Nothing waits here.
//!
//! `keys` routes input, `act` does what actions say, `calls` fires and answers, `burst` fires many,
//! `results` asks things of results, `copy` copies, `fields` and `complete` help with typing. Named by
//! the loop and by `view`, which draws it.

mod act;
mod burst;
mod calls;
mod choices;
mod complete;
mod copy;
mod fields;
mod keys;
mod mouse;
mod policy;
mod results;
mod views;
mod workflows;

use std::{collections::HashSet, sync::Arc, time::Duration};

use crokey::KeyCombination;

use crate::domain::{
    ask::{Ask, AskPolicy},
    call::CallSpec,
    catalog::ConfirmPolicy,
    event::{Event, Notice, NoticeLevel},
    form::Path,
    id::{AskId, CallId, ServerId, ToolId},
    recall::Recall,
    time::Stamp,
    workflow::history::PastCall,
    world::World,
};

use super::{
    ApprovalPrompt, ConsoleRequest, ConsoleUpdate, Startup, Taste,
    action::Action,
    copying::{CopyKind, Invocation},
    feed::Feed,
    flows::Shelf,
    keymap::{Context, Keymap},
    layout::{Divider, Focus, Layout, Middle, Room},
    msg::{Cmd, Content, Msg},
    overlay::{
        approval::Approval,
        burst::Burst,
        confirm::Confirm,
        dry::DryRun,
        entry::Entry,
        help::Help,
        inbox::Inbox,
        longtext::LongText,
        menu::Menu,
        notices::Notices,
        palette::Palette,
        toast::{MOST, Toast},
        welcome::{Offer, Welcome},
    },
    pane::{
        Look, banner, call::CallPane, detail::Detail, entry as row, health::Subject, info::InfoPane, servers, strip as strip_pane,
        traffic::TrafficPane,
    },
    strip::Strip,
    theme::Theme,
    tree::{Node, Tree},
    views::Views,
    work::{Done, Task, Ticket, Worked},
};

/// How long a message stays in the corner.
const TOAST_TIME: Duration = Duration::from_secs(6);

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
    Entry(Box<Entry>, Purpose),
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
    /// Writing over a file.
    Overwrite(String, Content),
}

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

/// How the console was set up.
pub struct Setup {
    /// The colours.
    pub theme: Theme,
    /// The keys.
    pub keymap: Keymap,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// The configuration's name.
    pub title: String,
    /// What to begin with.
    pub startup: Startup,
    /// Which calls are asked about.
    pub confirm: ConfirmPolicy,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The workflow files.
    pub workflows: Shelf,
    /// How this console was started.
    pub invocation: Invocation,
}

/// The whole state.
pub struct Model {
    /// The world as the events tell it.
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
    left: Vec<Task>,
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
    /// Tools that may be fired without asking, in this session.
    allowed: HashSet<ToolId>,
    /// Servers whose word about their tools is relied upon when the user is asked, in this session.
    believed: HashSet<ServerId>,
    /// What the welcome has to offer.
    offer: Option<Offer>,
    /// A project's file that is to be approved as soon as no letter that is typed could be taken for the answer.
    approval: Option<ApprovalPrompt>,
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
    copying: Option<Ticket>,
}

impl Model {
    /// A console over a snapshot.
    pub fn new(setup: Setup, world: World, size: (u16, u16)) -> Model {
        let mut model = Model {
            views: Views::new(&world),
            feed: Feed::new(world),
            now: Stamp::default(),
            beat: 0,
            theme: setup.theme,
            keymap: setup.keymap,
            title: setup.title,
            layout: Layout::default(),
            focus: Focus::Servers,
            tree: Tree::default(),
            call: CallPane::default(),
            result: Detail::default(),
            detail: None,
            left: vec![],
            info: InfoPane::default(),
            traffic: TrafficPane::default(),
            strip: Strip::default(),
            modals: vec![],
            toasts: vec![],
            sequence: vec![],
            size,
            zoom: false,
            strip_shown: true,
            room: Room::default(),
            drag: None,
            mouse: setup.mouse,
            allowed: HashSet::new(),
            believed: HashSet::new(),
            offer: None,
            approval: None,
            submitted: vec![],
            next_token: 1,
            engine_gone: false,
            confirm: setup.confirm,
            invocation: setup.invocation,
            in_editor: None,
            followed: None,
            came_from: Focus::Traffic,
            completing: Default::default(),
            searching: false,
            copying: None,
        };
        model.call.recall = setup.recall;
        model.flows_changed(&setup.workflows);
        match setup.startup {
            Startup::Approval(prompt) => {
                model.modals.push(Modal::Approval(Approval { prompt, window: Default::default(), seen: Default::default() }))
            }
            Startup::Welcome(offer) => {
                model.offer = Some(offer.clone());
                model.modals.push(Modal::Welcome(Welcome::new(offer)));
            }
            Startup::Normal | Startup::Empty => {}
        }
        model.tree.rebuild(&model.feed.world);
        model.strip = Strip::of(&model.feed.world);
        model.tell_earlier_notices();
        model.settle();
        model
    }

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
        tasks.extend(self.views.entry.as_mut().map(row::Entry::take_tasks).unwrap_or_default());
        tasks.into_iter().map(Cmd::Work).collect()
    }

    /// Gives work that was done to whoever asked for it.
    /// Closes the page of a call.
    fn end_detail(&mut self) {
        self.left.extend(self.detail.take().iter_mut().flat_map(Detail::give_up));
    }

    /// What was made is moved to whoever waits for it: a copy of a large tree would hold up a frame.
    fn worked(&mut self, worked: Worked) -> Vec<Cmd> {
        if let Done::Copied(kind, copied) = worked.done {
            let mine = self.copying.take_if(|ticket| *ticket == worked.ticket).is_some();
            return if mine { self.copied(kind, copied) } else { vec![] };
        }
        let world = &self.feed.world;
        let details = self.detail.iter_mut().chain([&mut self.result]);
        if let Some(detail) = { details }.find(|detail| detail.wants(&worked.ticket)) {
            detail.worked(worked.done, world);
        } else if let Some(entry) = self.views.entry.as_mut().filter(|entry| entry.wants(&worked.ticket)) {
            entry.worked(worked, world);
        }
        vec![]
    }

    /// Takes in what the user changed in the configuration.
    fn updated(&mut self, update: ConsoleUpdate) {
        match update {
            ConsoleUpdate::Taste(taste) => {
                let Taste { theme, keymap, confirm } = *taste;
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
                self.approval = prompt;
            }
            ConsoleUpdate::Offer(offer) => self.offered(offer),
            ConsoleUpdate::Servers(invocation, title) => (self.invocation, self.title) = (invocation, title),
        }
    }

    /// Goes on from a new snapshot after the feed fell behind by `missed` events.
    pub fn resync(&mut self, world: World, missed: u64) {
        self.feed.world = world;
        self.views.resync(&self.feed.world);
        if let Some(entry) = &mut self.views.entry {
            entry.detail.sync(&self.feed.world);
        }
        self.strip = Strip::of(&self.feed.world);
        self.tree.rebuild(&self.feed.world);
        self.call.sync(&self.feed.world);
        let entry = self.views.entry.as_mut().map(|entry| &mut entry.detail);
        for detail in self.detail.iter_mut().chain([&mut self.result]).chain(entry) {
            detail.resync(&self.feed.world);
        }
        self.close_answered();
        self.burst_resync();
        self.toast(NoticeLevel::Warn, format!("The console fell behind by {missed} events; it has caught up."));
        self.settle();
    }

    /// Notes the time before a message is handled.
    pub fn at(&mut self, now: Stamp) {
        self.now = self.now.max(now);
    }

    /// Whether something on the screen moves by itself.
    pub fn moving(&self) -> bool {
        let world = &self.feed.world;
        world.running > 0
            || self.view_moving()
            || !self.toasts.is_empty()
            || self.searching
            || self.result.waits()
            || self.detail.as_ref().is_some_and(Detail::waits)
            || self.views.entry.as_ref().is_some_and(row::Entry::waits)
            || self.completing.waiting()
            || self.modals.iter().any(|modal| matches!(modal, Modal::Burst(burst) if !burst.over()))
            || matches!(self.modals.last(), Some(Modal::Inbox(_)))
            || world.servers.iter().any(|s| s.phase.pending())
    }

    /// How long until something on the screen moves that moves by steps, if nothing happens meanwhile.
    pub fn next_step(&self) -> Option<Duration> {
        self.strip_step().into_iter().chain(self.countdown()).min()
    }

    fn strip_step(&self) -> Option<Duration> {
        let (place, world) = (self.layout.strip?, &self.feed.world);
        self.strip.due(strip_pane::cells(world, place), self.now.max(self.feed.last), |grid| strip_pane::moves(world, grid))
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.feed.world
    }

    /// What panes need to draw.
    pub fn look(&self) -> Look<'_> {
        Look {
            world: &self.feed.world,
            theme: &self.theme,
            keys: &self.keymap,
            now: self.now.max(self.feed.last),
            beat: self.beat,
            focused: false,
        }
    }

    /// The same beside the panes themselves: their widgets keep how far they are scrolled while they draw.
    pub fn parts(&mut self, focused: bool) -> (Look<'_>, Parts<'_>) {
        let look = Look {
            world: &self.feed.world,
            theme: &self.theme,
            keys: &self.keymap,
            now: self.now.max(self.feed.last),
            beat: self.beat,
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

    /// What the middle holds.
    pub fn middle(&self) -> Middle {
        if self.detail.is_some() {
            return Middle::Detail;
        }
        match self.tree.selected() {
            Some(node) if node.callable() => Middle::Call { rows: self.call.rows_wanted() },
            _ => Middle::Info,
        }
    }

    /// Shows a message in the corner for a while.
    pub fn toast(&mut self, level: NoticeLevel, text: impl Into<String>) {
        let until = self.now.max(self.feed.last).plus(TOAST_TIME);
        self.toasts.push(Toast { level, text: text.into(), until });
        let surplus = self.toasts.len().saturating_sub(MOST);
        self.toasts.drain(..surplus);
    }

    /// What went wrong before the console was there (a line of the configuration, say) is told too.
    fn tell_earlier_notices(&mut self) {
        let bad = self.feed.world.notices.iter().filter(|(_, notice)| notice.level > NoticeLevel::Info);
        let bad: Vec<Arc<Notice>> = bad.map(|(_, notice)| notice.clone()).collect();
        self.feed.last = self.feed.world.notices.back().map_or(Stamp::default(), |(at, _)| *at);
        for notice in bad.iter().skip(bad.len().saturating_sub(MOST)) {
            self.notice(notice);
        }
    }

    /// Shows a notice in the corner; its further lines are in the list.
    fn notice(&mut self, notice: &Notice) {
        let mut text = notice.text.clone();
        if let Some(first) = notice.detail.first() {
            let key = self.keymap.key(&[Context::Global], super::action::Action::Notices).unwrap_or_default();
            text.push_str(&format!("\n{first}{}", if notice.detail.len() > 1 { format!(" ({key}: all of it)") } else { String::new() }));
        }
        self.toast(notice.level, text);
    }

    fn events(&mut self, events: &[Arc<Event>]) -> Vec<Cmd> {
        for event in events.iter().filter(|e| e.seq > self.feed.world.seq) {
            self.views.push(event);
        }
        let changes = self.feed.apply(events);
        self.now = self.now.max(self.feed.last);
        changes.calls.iter().filter_map(|id| self.feed.world.call(*id)).for_each(|call| self.strip.note(call));
        if changes.lists {
            self.strip.retain(&self.feed.world);
            self.tree.rebuild(&self.feed.world);
            self.call.sync(&self.feed.world);
            if let Some(Modal::Palette(palette)) = self.modals.last_mut() {
                palette.again(&self.feed.world);
            }
        }
        for detail in self.detail.iter_mut().chain([&mut self.result]) {
            changes.frames.iter().for_each(|frame| detail.frame(frame));
            if detail.call().is_some_and(|call| changes.calls.contains(&call)) {
                detail.sync(&self.feed.world);
            }
        }
        for notice in &changes.notices {
            self.notice(notice);
        }
        if !changes.closed.is_empty() {
            self.close_answered();
        }
        for ask in changes.asked {
            self.asked(&ask);
        }
        self.updated_resources(&changes.updated);
        self.suggestions(&changes.calls);
        self.burst_events(&changes.calls)
    }

    /// A question came: it opens by itself only where it cannot steal letters or cover another dialog.
    ///
    /// One that a policy answers is no news, and neither is one that is answered already.
    fn asked(&mut self, ask: &Ask) {
        // What a policy answers is nobody's business here.
        let waits = self.feed.world.server(&ask.server).is_none_or(|s| *s.spec.policy(&ask.question) == AskPolicy::Ask);
        if !waits || !self.feed.world.asks.iter().any(|open| open.id == ask.id) {
            return;
        }
        // Many calls under way take no letters, and would wait for the answer for ever.
        let free = matches!(self.modals.last(), None | Some(Modal::Burst(_)));
        if free && !self.typing() {
            self.open_inbox(Some(ask.id));
            if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
                inbox.guard(self.now);
            }
        } else {
            let key = self.inbox_key();
            self.toast(NoticeLevel::Warn, format!("{} asks something: {key} opens the inbox.", ask.server));
        }
    }

    /// The key that opens the inbox where the user is now.
    pub fn inbox_key(&self) -> String {
        let here = self.keymap.key(self.contexts(), super::action::Action::Inbox);
        here.or_else(|| self.keymap.key(&[Context::Global], super::action::Action::Inbox)).unwrap_or_default()
    }

    fn open_inbox(&mut self, ask: Option<AskId>) {
        let mut inbox = Box::<Inbox>::default();
        inbox.show(ask, &self.feed.world);
        self.modals.push(Modal::Inbox(inbox));
    }

    /// Goes on to the next question when the one shown is gone; closes the inbox after the last.
    fn close_answered(&mut self) {
        let world = &self.feed.world;
        self.modals.retain_mut(|modal| match modal {
            Modal::Inbox(inbox) => {
                inbox.show(None, world);
                inbox.shown().is_some()
            }
            _ => true,
        });
    }

    /// Brings everything in order after a change: what is selected is what the middle shows, the focus
    /// is on a pane that exists, cursors are visible, old messages are gone.
    fn settle(&mut self) {
        let now = self.now.max(self.feed.last);
        self.toasts.retain(|toast| toast.until > now);
        if self.modals.is_empty()
            && !self.typing()
            && let Some(prompt) = self.approval.take()
        {
            self.sequence.clear();
            self.modals.push(Modal::Approval(Approval { prompt, window: Default::default(), seen: Default::default() }));
        }
        let node = self.tree.selected().cloned();
        self.call.show(node.as_ref(), &self.feed.world);
        self.info.show(node.as_ref());
        self.result.show(self.call.last_call(), &self.feed.world);
        let entry = self.views.entry.as_mut().map(|entry| &mut entry.detail);
        let searched = self.detail.iter_mut().chain([&mut self.result]).chain(entry);
        self.searching = searched.fold(false, |on, detail| detail.search_on() | on);
        self.note_typing();
        let middle = self.middle();
        if !middle.order().contains(&self.focus) {
            self.focus = match self.focus {
                Focus::Servers | Focus::Traffic => self.focus,
                _ => middle.order()[1],
            };
        }
        let lanes = u16::try_from(self.feed.world.servers.len()).unwrap_or(u16::MAX - 2);
        self.room.strip = if self.strip_shown { lanes.saturating_add(2) } else { 0 };
        self.room.banner = banner::wanted(&self.feed.world);
        self.layout = Layout::new(self.size, middle, self.focus, self.zoom, self.room);
        if let Some(place) = self.layout.place(Focus::Servers) {
            self.tree.window.fit(self.tree.rows().len(), servers::rows_height(&self.tree, place));
        }
        if let Some(place) = self.layout.place(Focus::Traffic) {
            self.traffic.fit(&self.feed.world, place);
        }
        let body = self.layout.body();
        self.views.fit(&self.feed.world, now, body, self.zoom);
    }

    /// Whether letters go into a field.
    pub fn typing(&self) -> bool {
        match self.modals.last() {
            Some(Modal::Help(_) | Modal::Palette(_) | Modal::Entry(..) | Modal::LongText(_)) => true,
            Some(Modal::Inbox(inbox)) => inbox.wants_text(),
            Some(Modal::Welcome(welcome)) => welcome.typing(),
            Some(_) => false,
            None if self.in_view() => self.view_typing(),
            None => self.tree.filter().is_some() || (self.focus == Focus::Call && self.call.wants_text()),
        }
    }

    /// The contexts in which keys are looked up, nearest first.
    pub fn contexts(&self) -> &'static [Context] {
        match self.modals.last() {
            Some(Modal::Help(_)) => &[Context::Help],
            Some(Modal::Palette(_)) => &[Context::Palette],
            Some(Modal::Confirm(..)) => &[Context::Confirm],
            Some(Modal::Inbox(inbox)) if inbox.wants_text() => &[Context::InboxText],
            Some(Modal::Inbox(_)) => &[Context::Inbox, Context::Form],
            Some(Modal::Approval(_)) => &[Context::Approval],
            Some(Modal::Notices(_) | Modal::Dry(_)) => &[Context::Notices],
            Some(Modal::Welcome(welcome)) if welcome.typing() => &[Context::WelcomeText],
            Some(Modal::Welcome(_)) => &[Context::Welcome],
            Some(Modal::Entry(..)) => &[Context::Entry],
            Some(Modal::Menu(..)) => &[Context::Menu],
            Some(Modal::Burst(_)) => &[Context::Burst],
            Some(Modal::LongText(_)) => &[Context::LongText],
            None if self.in_view() => self.view_contexts(),
            None if self.tree.filter().is_some() => &[Context::Filter],
            None => match self.focus {
                Focus::Servers => &[Context::Servers, Context::List, Context::Global],
                Focus::Info => &[Context::Info, Context::List, Context::Global],
                Focus::Call if self.call.editing_json() => &[Context::Json],
                Focus::Call if self.call.wants_text() => &[Context::Text],
                Focus::Call => &[Context::Call, Context::Form, Context::Global],
                Focus::Result | Focus::Detail => &[Context::Result, Context::Value, Context::List, Context::Global],
                Focus::Traffic => &[Context::Traffic, Context::List, Context::Global],
            },
        }
    }

    /// The actions beside those that the palette always offers that do something where one is, whatever the keys are.
    fn acting_here(&self) -> Vec<Action> {
        let built_in = Keymap::built_in();
        let bound = |action| self.contexts().iter().any(|context| !built_in.keys_of(*context, action).is_empty());
        let here = |action: &Action| !action.in_palette() && bound(*action) && self.makes_sense(*action);
        Action::ALL.iter().copied().filter(here).collect()
    }

    /// The call that an action means: the one under the cursor of the pane with the focus.
    fn meant_call(&self) -> Option<CallId> {
        if self.in_view() {
            return self.view_call();
        }
        match (self.focus, &self.detail) {
            (Focus::Traffic, _) => self.traffic.selected(&self.feed.world).map(|c| c.id),
            (_, Some(detail)) => detail.call(),
            _ => self.result.call(),
        }
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

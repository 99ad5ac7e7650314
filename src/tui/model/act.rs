//! What actions do.

use crate::{
    domain::{ask::Answer, event::NoticeLevel, id::ServerId, server::Phase},
    engine::control::Command,
    tui::{
        ConsoleRequest,
        action::Action,
        keymap::Context,
        layout::Focus,
        msg::Cmd,
        overlay::{
            confirm::Confirm,
            help::Help,
            notices::Notices,
            palette::{Choice, Palette},
            welcome::{Offer, Welcome},
        },
        pane::detail::Detail,
        tree::Node,
        views::View,
        widget::form::FormView,
        widget::window::Move,
    },
};

use super::{Modal, Model, Pending, Purpose};

impl Model {
    /// Does what an action says.
    pub(super) fn act(&mut self, action: Action) -> Vec<Cmd> {
        if !self.modals.is_empty() {
            return self.modal_act(action);
        }
        if FormView::command_of(action).is_some() {
            return self.form_act(action);
        }
        if action == Action::Inbox {
            self.inbox();
            return vec![];
        }
        if let Some(commands) = self.policy_act(action) {
            return commands;
        }
        if let Some(commands) = self.view_act(action) {
            return commands;
        }
        if self.tree.filter().is_some() {
            return self.filter_act(action);
        }
        self.pane_act(action)
    }

    fn pane_act(&mut self, action: Action) -> Vec<Cmd> {
        match action {
            Action::Quit => return self.quit(),
            Action::Help => self.modals.push(Modal::Help(Help::default())),
            Action::Palette => self.modals.push(Modal::Palette(Palette::new(self.acting_here(), &self.feed.world))),
            Action::Notices => self.modals.push(Modal::Notices(Notices::default())),
            Action::Inbox => self.inbox(),
            Action::Back => self.back(),
            Action::NextPane => self.turn(1),
            Action::PreviousPane => self.turn(usize::MAX),
            Action::Filter => {
                self.focus = Focus::Servers;
                self.end_detail();
                self.tree.set_filter(Some(String::new()), false, &self.feed.world);
            }
            Action::Zoom => self.zoom = !self.zoom,
            Action::Welcome => return self.welcome(),
            Action::Strip => self.strip_shown = !self.strip_shown,
            Action::Copy => self.ask_copy(),
            Action::ToggleMouse => {
                self.mouse = !self.mouse;
                let text = if self.mouse { "The mouse works in Switchboard." } else { "The mouse is the terminal's: select text with it." };
                self.toast(NoticeLevel::Info, text);
                return vec![Cmd::Mouse(self.mouse)];
            }
            Action::Redraw => return vec![Cmd::Redraw],
            Action::Suspend => return vec![Cmd::Suspend],
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.move_in(self.focus, action);
            }
            Action::Open => return self.open(),
            Action::Restart | Action::Disable | Action::Refresh | Action::LogDebug | Action::LogInfo => return self.server_act(action),
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.focus, Focus::Result | Focus::Detail) => {
                self.detail.as_mut().unwrap_or(&mut self.result).act(action, &self.feed.world, 1);
            }
            Action::Fold => self.tree.fold(None, &self.feed.world),
            Action::FoldLevel | Action::UnfoldLevel => {}
            Action::FoldAll | Action::UnfoldAll => self.tree.fold_all(action == Action::UnfoldAll, &self.feed.world),
            Action::Fire => return self.fire(),
            Action::ToggleJson => self.call.toggle_json(),
            Action::Editor => {
                self.in_editor = None;
                return self.call.text().map(Cmd::Edit).into_iter().collect();
            }
            Action::FieldEditor => return self.field_editor(),
            Action::LongText => self.long_text(),
            Action::Complete => self.take_suggestion(),
            Action::Burst => self.ask_burst(),
            Action::Subscribe => return self.subscribe(),
            Action::Search => self.ask_search(),
            Action::NextMatch | Action::PreviousMatch => self.shown_mut().match_step(action == Action::NextMatch),
            Action::JsonPath => self.ask_path(),
            Action::Save => self.ask_save(),
            Action::OpenMedia => return self.open_media(),
            Action::Reset => {
                let cleared = self.call.reset();
                self.say_undo(cleared);
            }
            Action::Undo => self.call.undo(),
            Action::Cancel => return self.cancel(),
            Action::NextTab | Action::PreviousTab => self.turn_tab(action == Action::PreviousTab),
            Action::Refire => return self.refire(),
            Action::EditAgain => self.edit_again(),
            Action::Follow => self.traffic.follow(),
            Action::Breakers
            | Action::Routes
            | Action::BreakerTrip
            | Action::BreakerHoldOpen
            | Action::BreakerHoldClosed
            | Action::BreakerReset
            | Action::Inject
            | Action::EndFaults
            | Action::PurgeCache
            | Action::ViewConsole
            | Action::ViewTraffic
            | Action::ViewTimeline
            | Action::ViewHealth
            | Action::ViewWorkflows
            | Action::RunWorkflow
            | Action::DryRun
            | Action::RunAgain
            | Action::RunFrom
            | Action::CancelStep
            | Action::ResumeRun
            | Action::EditField
            | Action::AddItem
            | Action::RemoveItem
            | Action::MoveItemUp
            | Action::MoveItemDown
            | Action::LeaveOut
            | Action::SetNull
            | Action::SetEmpty
            | Action::EditWorkflow
            | Action::Mark
            | Action::SaveWorkflow
            | Action::Sort
            | Action::ReverseSort
            | Action::CompleteFilter
            | Action::ZoomIn
            | Action::ZoomOut
            | Action::NextCall
            | Action::PreviousCall
            | Action::Choose
            | Action::Answer
            | Action::Decline
            | Action::Withdraw
            | Action::NextQuestion
            | Action::AnswerFile
            | Action::OpenUrl
            | Action::CopyUrl
            | Action::Yes
            | Action::Always
            | Action::Believe
            | Action::No
            | Action::Approve
            | Action::Reject => {}
        }
        vec![]
    }

    fn filter_act(&mut self, action: Action) -> Vec<Cmd> {
        let world = &self.feed.world;
        match action {
            Action::Open => {
                let found = self.tree.selected().is_some();
                self.tree.set_filter(None, found, world);
                if found {
                    self.focus = Focus::Call;
                }
            }
            Action::Back => self.tree.set_filter(None, false, world),
            Action::NextPane | Action::PreviousPane => {
                let found = self.tree.selected().is_some();
                self.tree.set_filter(None, found, world);
                self.turn(1);
            }
            Action::Up => self.tree.go(Move::Back(1)),
            Action::Down => self.tree.go(Move::On(1)),
            Action::PageUp => self.tree.go(Move::Back(10)),
            Action::PageDown => self.tree.go(Move::On(10)),
            other => return self.pane_act(other),
        }
        vec![]
    }

    fn modal_act(&mut self, action: Action) -> Vec<Cmd> {
        let to = match action {
            Action::Up => Some(Move::Back(1)),
            Action::Down => Some(Move::On(1)),
            Action::PageUp => Some(Move::Back(10)),
            Action::PageDown => Some(Move::On(10)),
            Action::Top => Some(Move::First),
            Action::Bottom => Some(Move::Last),
            _ => None,
        };
        if let Some(to) = to {
            self.modal_move(to);
            return vec![];
        }
        match (action, self.modals.last()) {
            (Action::Quit, _) => self.quit(),
            (_, Some(Modal::Approval(approval))) => {
                let hash = approval.prompt.hash.clone();
                match action {
                    Action::Approve => {
                        self.modals.pop();
                        Self::request(ConsoleRequest::Approve(hash))
                    }
                    Action::Reject => {
                        self.modals.pop();
                        Self::request(ConsoleRequest::Reject)
                    }
                    _ => vec![],
                }
            }
            (_, Some(Modal::Confirm(confirm, _))) => {
                let chosen = if action == Action::Choose { confirm.chosen() } else { Some(action) };
                match chosen.unwrap_or(Action::No) {
                    // The key of an answer that this question does not have answers nothing.
                    Action::Yes | Action::Always | Action::Believe if !self.makes_sense(action) => vec![],
                    answer => self.confirmed(answer),
                }
            }
            (_, Some(Modal::Welcome(_))) => self.welcome_act(action),
            (Action::Back, Some(Modal::Burst(_))) => self.end_burst(),
            (Action::Back, Some(Modal::Entry(_, purpose))) => {
                if *purpose == Purpose::Search {
                    self.shown_mut().search("");
                }
                self.modals.pop();
                vec![]
            }
            (Action::Back, _) => {
                self.modals.pop();
                vec![]
            }
            (Action::Choose, Some(Modal::Entry(..))) => self.entered(),
            (Action::Choose, Some(Modal::Menu(..))) => self.menu_chosen(),
            (Action::Choose, Some(Modal::LongText(_))) => {
                self.long_text_done();
                vec![]
            }
            (Action::Choose, Some(Modal::Palette(palette))) => {
                let chosen = palette.chosen();
                self.modals.pop();
                match chosen {
                    Some(Choice::Action(action)) => self.act(action),
                    Some(Choice::Tool(tool)) => {
                        self.go_to(&Node::Tool(tool));
                        vec![]
                    }
                    None => vec![],
                }
            }
            (Action::Undo, Some(Modal::Inbox(_))) => {
                if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
                    inbox.undo();
                }
                vec![]
            }
            (_, Some(Modal::Inbox(_))) if FormView::command_of(action).is_some() => self.form_act(action),
            (_, Some(Modal::Inbox(_))) => self.inbox_act(action),
            _ => vec![],
        }
    }

    pub(super) fn modal_move(&mut self, to: Move) {
        let height = usize::from(self.layout.screen.height.saturating_sub(6)).max(1);
        let look_world = &self.feed.world;
        match self.modals.last_mut() {
            Some(Modal::Help(help)) => {
                let rows = help.len(&self.keymap, &self.theme);
                help.window.scroll(to, rows, help.seen.rows());
            }
            Some(Modal::Palette(palette)) => {
                let rows = palette.entries().len();
                palette.window.go(to, rows);
                palette.window.fit(rows, height.min(21));
            }
            Some(Modal::Confirm(confirm, _)) => confirm.window.go(to, confirm.answers.len()),
            Some(Modal::Approval(approval)) => {
                let rows = approval.len(&self.theme);
                approval.window.scroll(to, rows, approval.seen.rows());
            }
            Some(Modal::Notices(notices)) => {
                let rows = notices.len(look_world, &self.theme);
                notices.window.scroll(to, rows, notices.seen.rows());
            }
            Some(Modal::Dry(dry)) => {
                let width = self.layout.screen.width.min(110).saturating_sub(4);
                let rows = dry.len(&self.theme, width);
                dry.window.scroll(to, rows, height);
            }
            Some(Modal::Welcome(welcome)) => welcome.go(to),
            Some(Modal::Menu(menu, _)) => menu.window.go(to, menu.rows.len()),
            Some(Modal::Entry(..) | Modal::Burst(_) | Modal::LongText(_)) => {}
            Some(Modal::Inbox(_)) | None => self.inbox_scroll(to),
        }
    }

    fn inbox_scroll(&mut self, to: Move) {
        let Some(Modal::Inbox(inbox)) = self.modals.last() else { return };
        let (look, screen) = (self.look(), self.layout.screen);
        let (rows, room) = (inbox.len(look, screen), inbox.room(look, screen));
        if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
            inbox.window.scroll(to, rows, room.max(1));
        }
    }

    /// Says how to bring back what was cleared.
    pub(super) fn say_undo(&mut self, cleared: bool) {
        if let Some(key) = self.keymap.key(self.contexts(), Action::Undo).filter(|_| cleared) {
            self.toast(NoticeLevel::Info, format!("Cleared. {key} brings it back."));
        }
    }

    fn inbox_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(Modal::Inbox(inbox)) = self.modals.last_mut() else { return vec![] };
        if inbox.guarded(self.now) && matches!(action, Action::Answer | Action::Decline | Action::Withdraw) {
            return vec![];
        }
        let shown = inbox.shown().map(|ask| ask.id);
        let url = inbox.url().map(str::to_owned);
        let tell = |answer| shown.map(|ask| Cmd::Command(Command::Answer { ask, answer })).into_iter().collect();
        match action {
            Action::Answer => self.answer(),
            Action::Decline => tell(Answer::Decline),
            Action::Withdraw => tell(Answer::Cancel),
            Action::AnswerFile => {
                self.ask_answer_file();
                vec![]
            }
            Action::NextQuestion => {
                inbox.next(&self.feed.world);
                vec![]
            }
            Action::OpenUrl => url.map(Cmd::OpenUrl).into_iter().collect(),
            Action::CopyUrl => url.map(Cmd::Copy).into_iter().collect(),
            _ => vec![],
        }
    }

    /// Opens the welcome again; beside servers, when it is known what there is now and what of it runs.
    fn welcome(&mut self) -> Vec<Cmd> {
        match &self.offer {
            Some(offer) if self.feed.world.servers.is_empty() => {
                self.modals.push(Modal::Welcome(Welcome::new(offer.clone())));
                vec![]
            }
            _ => Self::request(ConsoleRequest::Offer),
        }
    }

    /// Shows what there is on this machine, unless something else was begun meanwhile.
    pub(super) fn offered(&mut self, offer: Offer) {
        // A list that is open is not what was found now, and its places mean something else.
        self.modals.retain(|modal| !matches!(modal, Modal::Welcome(_)));
        if self.modals.is_empty() && !self.typing() {
            self.modals.push(Modal::Welcome(Welcome::new(offer.clone())));
        }
        self.offer = Some(offer);
    }

    fn welcome_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(Modal::Welcome(welcome)) = self.modals.last_mut() else { return vec![] };
        let chosen = match action {
            Action::Choose => welcome.choose(),
            Action::Yes => welcome.yes(),
            Action::Back if welcome.back() => None,
            Action::Back => {
                self.modals.pop();
                return vec![];
            }
            _ => None,
        };
        let Some(chosen) = chosen else { return vec![] };
        self.modals.pop();
        let key = self.keymap.key(&[Context::Global], Action::Filter).unwrap_or_default();
        self.toast(NoticeLevel::Info, format!("Starting … then {key} finds a tool, and Enter goes to it."));
        Self::request(ConsoleRequest::Start(chosen))
    }

    fn quit(&mut self) -> Vec<Cmd> {
        let (calls, runs) = (self.feed.world.running, self.feed.world.runs.running);
        if (calls == 0 && runs == 0) || self.engine_gone {
            return vec![Cmd::Quit];
        }
        let count = |n: usize, what: &str| if n == 1 { format!("1 {what} is") } else { format!("{n} {what}s are") };
        let them = |n: usize| if n == 1 { "it" } else { "them" };
        let text = match runs {
            0 => format!("{} still running. Leaving cancels {}.", count(calls, "call"), them(calls)),
            n => format!(
                "{} of workflows under way. Leaving interrupts {}; {key} in the workflows goes on with what was interrupted.",
                count(n, "run"),
                them(n),
                key = self.keymap.key(&[Context::Workflows], Action::ResumeRun).unwrap_or_default(),
            ),
        };
        let confirm = Confirm::new("Leave Switchboard?", text, &[(Action::No, "stay"), (Action::Yes, "leave")]);
        self.modals.push(Modal::Confirm(confirm, Pending::Quit));
        vec![]
    }

    fn confirmed(&mut self, answer: Action) -> Vec<Cmd> {
        let Some(Modal::Confirm(_, pending)) = self.modals.pop() else { return vec![] };
        match (answer, pending) {
            (Action::Yes, Pending::Quit) => vec![Cmd::Quit],
            (Action::Yes | Action::Always | Action::Believe, Pending::Fire(spec, target)) => {
                self.allow(answer, &spec.operation);
                self.submit(*spec, target)
            }
            (Action::Yes | Action::Always | Action::Believe, Pending::Burst(spec, total, at_once)) => {
                self.allow(answer, &spec.operation);
                self.start_burst(*spec, total, at_once)
            }
            (Action::Yes | Action::Always, Pending::Overwrite(path, content)) => vec![Cmd::Save { path, content, overwrite: true }],
            _ => vec![],
        }
    }

    fn inbox(&mut self) {
        if self.feed.world.asks.is_empty() {
            self.toast(NoticeLevel::Info, "No server asks anything.");
        } else {
            self.open_inbox(None);
        }
    }

    /// One step out: of a frame, of the detail, of a pane, of the zoom.
    fn back(&mut self) {
        let inner = match self.focus {
            Focus::Result => self.result.back(),
            Focus::Detail => self.detail.as_mut().is_some_and(Detail::back),
            _ => false,
        };
        if inner {
            return;
        }
        match self.focus {
            Focus::Detail => {
                self.end_detail();
                self.focus = self.came_from;
            }
            _ if self.zoom => self.zoom = false,
            Focus::Result if self.layout.narrow => self.focus = Focus::Call,
            Focus::Call | Focus::Result | Focus::Info | Focus::Traffic => self.focus = Focus::Servers,
            Focus::Servers => {}
        }
    }

    fn turn(&mut self, by: usize) {
        let order = self.middle().order();
        let at = order.iter().position(|f| *f == self.focus).unwrap_or(0);
        let next = if by == usize::MAX { at + order.len() - 1 } else { at + by };
        self.focus = order[next % order.len()];
    }

    pub(super) fn turn_tab(&mut self, back: bool) {
        let world = &self.feed.world;
        match &mut self.detail {
            Some(detail) => detail.turn(back, world),
            None => self.result.turn(back, world),
        }
    }

    fn open(&mut self) -> Vec<Cmd> {
        if matches!(self.focus, Focus::Result | Focus::Detail)
            && let Some(uri) = self.shown().link_here()
        {
            return self.follow_link(uri);
        }
        match self.focus {
            Focus::Servers => match self.tree.selected() {
                Some(Node::Group(_) | Node::Section(..)) => self.tree.fold(None, &self.feed.world),
                Some(node) if node.callable() => {
                    self.focus = Focus::Call;
                    // Who opens a tool wants to type, whatever was left in the form before.
                    self.call.begin();
                }
                Some(_) => self.focus = Focus::Info,
                None => {}
            },
            Focus::Traffic => {
                let Some(call) = self.traffic.selected(&self.feed.world).map(|c| c.id) else { return vec![] };
                self.came_from = Focus::Traffic;
                let mut detail = Detail::default();
                detail.show(Some(call), &self.feed.world);
                self.end_detail();
                self.detail = Some(detail);
                self.focus = Focus::Detail;
            }
            Focus::Result => {
                self.result.open();
            }
            Focus::Detail => {
                if let Some(detail) = &mut self.detail {
                    detail.open();
                }
            }
            Focus::Call | Focus::Info => {}
        }
        vec![]
    }

    /// Puts the cursor on a node and goes to its form.
    pub(super) fn go_to(&mut self, node: &Node) {
        self.end_detail();
        self.views.show(View::Console);
        if self.tree.filter().is_some() {
            self.tree.set_filter(None, false, &self.feed.world);
        }
        self.tree.reveal(node, &self.feed.world);
        self.focus = Focus::Call;
    }

    fn server_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(server) = self.meant_server() else {
            self.toast(NoticeLevel::Info, "Select a server first.");
            return vec![];
        };
        let off = self.feed.world.server(&server).is_some_and(|s| matches!(*s.phase, Phase::Disabled));
        let level = |level: &str| Command::LogLevel { server: server.clone(), level: level.into() };
        let command = match action {
            Action::Restart => Command::Restart { server },
            Action::Disable if off => Command::Restart { server },
            Action::Disable => Command::Disable { server },
            Action::LogDebug => level("debug"),
            Action::LogInfo => level("info"),
            _ => Command::Refresh { server },
        };
        vec![Cmd::Command(command)]
    }

    fn meant_server(&self) -> Option<ServerId> {
        if self.in_view() {
            return self.views.health.meant().filter(|_| self.views.current == View::Health).map(|s| s.server);
        }
        self.tree.selected()?.server().cloned()
    }
}

impl Model {
    /// Whether an action would do something now, for the footer.
    pub fn makes_sense(&self, action: Action) -> bool {
        if let Some(sense) = self.policy_makes_sense(action) {
            return sense;
        }
        if let Some(sense) = self.view_makes_sense(action) {
            return sense;
        }
        let world = &self.feed.world;
        match action {
            Action::Cancel => self.meant_call().and_then(|id| world.call(id)).is_some_and(|c| c.settled.is_none()),
            Action::Refire | Action::EditAgain => self.focus != Focus::Call && self.meant_call().is_some(),
            Action::Restart | Action::Disable | Action::Refresh => {
                matches!(self.tree.selected(), Some(Node::Server(_) | Node::Member(..) | Node::Section(..)))
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.focus, Focus::Result | Focus::Detail) => {
                self.shown().can_fold()
            }
            Action::FoldLevel | Action::UnfoldLevel | Action::NextCall | Action::PreviousCall | Action::CompleteFilter => false,
            Action::Fold => self.focus == Focus::Servers && self.tree.row().is_some_and(|row| row.open.is_some()),
            Action::ToggleJson | Action::Editor | Action::Reset => self.call.text().is_some(),
            Action::Undo => match self.modals.last() {
                Some(Modal::Inbox(inbox)) => inbox.can_undo(),
                _ => self.focus == Focus::Call && self.call.can_undo(),
            },
            Action::LongText | Action::FieldEditor => self.call.field_text().is_some(),
            Action::Complete => self.call.suggestions().is_some(),
            Action::Burst => self.burst_spec().is_some(),
            Action::Subscribe => self.meant_resource().is_some(),
            Action::Search | Action::JsonPath | Action::Save => self.shown().result().is_some(),
            Action::NextMatch | Action::PreviousMatch => !self.shown().needle().is_empty(),
            Action::OpenMedia => self.shown().has_media(),
            Action::Yes | Action::Always | Action::Believe | Action::No => match self.modals.last() {
                Some(Modal::Confirm(confirm, _)) => confirm.offers(action),
                _ => true,
            },
            Action::AnswerFile => matches!(self.modals.last(), Some(Modal::Inbox(inbox)) if inbox.is_sampling()),
            Action::Follow => !self.traffic.following(),
            Action::Inbox => !world.asks.is_empty(),
            Action::NextTab | Action::PreviousTab => self.meant_call().is_some(),
            Action::NextQuestion => world.asks.len() > 1,
            Action::OpenUrl | Action::CopyUrl => match self.modals.last() {
                Some(Modal::Inbox(inbox)) => inbox.url().is_some(),
                _ => false,
            },
            Action::Open => match self.focus {
                Focus::Result | Focus::Detail => self.detail.as_ref().unwrap_or(&self.result).can_open(),
                Focus::Traffic => !world.calls.is_empty(),
                _ => true,
            },
            Action::Back => self.focus != Focus::Servers || !self.modals.is_empty() || self.tree.filter().is_some(),
            Action::Redraw | Action::Suspend => false,
            _ => true,
        }
    }
}

//! The current view: passes input to it, performs what follows, and goes from one view to another.

use crate::{
    domain::id::{CallId, ClientId},
    tui::{
        action::Action,
        hits::HitArea,
        layout::Focus,
        msg::Cmd,
        overlay::describe::Describe,
        pane::{DrawContext, detail::Detail, filtered_rows::OnQuery, timeline::Zoom},
        tree::{FilterEnd, Node},
        view::{Part, View, ViewId, ViewInput, ViewOutcome, ViewState},
    },
};

use super::{Model, mouse::NOTCH};

/// Cells left of the tabs: the program name.
const BEFORE_TABS: u16 = 15;

impl Model {
    /// Returns whether a view other than the console is shown.
    pub fn in_view(&self) -> bool {
        self.views.current != ViewId::Console
    }

    /// Returns the current view and the state that views share.
    pub(super) fn view(&self) -> (&dyn View, &ViewState) {
        self.views.current().unwrap_or((&self.console, &self.views.state))
    }

    /// Returns the current view, the state that views share, and what they need to draw.
    pub(in crate::tui) fn view_mut(&mut self) -> (&mut dyn View, &mut ViewState, DrawContext<'_>) {
        let ctx = self.session.context(self.dialogs.is_empty());
        if self.views.current == ViewId::Console {
            return (&mut self.console, &mut self.views.state, ctx);
        }
        // `current` is not the console, so a view is there.
        match self.views.current_mut() {
            Some((view, state)) => (view, state, ctx),
            None => unreachable!("every view but the console is one of `Views`"),
        }
    }

    /// Passes an input to the current view; `None` if it does not concern the view.
    pub(super) fn pass_to_view(&mut self, input: ViewInput) -> Option<Vec<Cmd>> {
        let (view, state, ctx) = self.view_mut();
        let outcome = view.handle(input, state, ctx);
        self.perform(outcome)
    }

    fn perform(&mut self, outcome: ViewOutcome) -> Option<Vec<Cmd>> {
        match outcome {
            ViewOutcome::Ignored => None,
            ViewOutcome::Done => Some(vec![]),
            ViewOutcome::Run(effect) => Some(effect(self)),
        }
    }

    /// Passes an action that the current view does not handle to the console, whose panes are not visible then.
    pub(super) fn console_act(&mut self, action: Action) -> Option<Vec<Cmd>> {
        if !self.in_view() {
            return None;
        }
        let ctx = self.session.context(false);
        let outcome = self.console.handle(ViewInput::Action(action), &mut self.views.state, ctx);
        self.perform(outcome)
    }

    /// Performs an action that goes to another view, or concerns calls in any view; `None` for any other action.
    pub(super) fn views_act(&mut self, action: Action) -> Option<Vec<Cmd>> {
        if let Some(view) = ViewId::of(action) {
            self.views.show(view);
            return Some(vec![]);
        }
        match action {
            Action::Mark => self.mark(),
            Action::SaveWorkflow => self.ask_workflow(),
            Action::RunWorkflow
            | Action::DryRun
            | Action::RunAgain
            | Action::RunFrom
            | Action::ResumeRun
            | Action::CancelStep
            | Action::EditWorkflow => self.views.show(ViewId::Workflows),
            Action::Sort | Action::ReverseSort => {
                self.views.show(ViewId::Traffic);
                let (by, _) = self.views.traffic.order();
                if action == Action::Sort { self.views.traffic.sort_next() } else { self.views.traffic.sort(by) }
            }
            Action::ZoomIn | Action::ZoomOut => {
                self.views.show(ViewId::Timeline);
                self.views.timeline.zoom(if action == Action::ZoomIn { Zoom::In } else { Zoom::Out }, self.session.now);
            }
            Action::Lanes => {
                self.views.show(ViewId::Timeline);
                self.views.timeline.toggle_lanes();
            }
            Action::SendAgain | Action::EditAgain | Action::Cancel
                if self.in_view() && self.meant_call().and_then(|id| self.session.read_model().call(id)).is_none() =>
            {
                let text = if self.meant_call().is_some() { "This call was dropped from memory." } else { "Select a call first." };
                self.toast(crate::domain::event::NoticeLevel::Info, text);
            }
            _ => return None,
        }
        Some(vec![])
    }

    /// Returns whether a filter or a sort is unfinished; the loop then calls [`Model::work`] between inputs.
    pub fn working(&self) -> bool {
        let (view, state) = self.view();
        view.working(state, self.look())
    }

    /// Works on it for a few milliseconds.
    pub fn work(&mut self) {
        let (view, state, ctx) = self.view_mut();
        view.work(state, ctx);
        self.reconcile();
    }

    /// Returns the tabs: key and name.
    pub fn tabs(&self) -> Vec<(String, &'static str)> {
        use crate::tui::keymap::Context;
        let key = |view: &ViewId| self.session.keymap.key(&[Context::Global], view.action()).unwrap_or_default();
        ViewId::ALL.iter().map(|view| (key(view), view.word())).collect()
    }

    /// Returns the number of the current view, from 0.
    pub fn tab(&self) -> usize {
        ViewId::ALL.iter().position(|v| *v == self.views.current).unwrap_or(0)
    }

    /// Returns where the tabs begin, and their width.
    pub fn tab_bar(&self) -> (u16, u16) {
        let header = self.layout.header;
        if !self.layout.narrow {
            return (BEFORE_TABS, header.width.saturating_sub(BEFORE_TABS));
        }
        // The counters at the right reserve some width.
        (1, header.width.saturating_sub(24))
    }

    /// Scrolls a component of the view by one notch of the wheel.
    pub(super) fn wheel_view(&mut self, found: &HitArea, action: Action) {
        for _ in 0..NOTCH {
            self.pass_to_view(ViewInput::Wheel(found.owner, action));
        }
    }

    /// Shows the traffic with a filter.
    pub(super) fn show_traffic(&mut self, filter: &str) {
        self.views.show(ViewId::Traffic);
        self.views.state.part = Part::Main;
        self.views.traffic.on_query(OnQuery::Set(filter), &self.views.state.rows);
    }

    /// Shows the traffic of a client.
    pub(in crate::tui) fn show_calls_of(&mut self, client: ClientId) {
        let clients = &self.session.read_model().clients;
        let Some(filter) = clients.get(client).map(|view| view.filter(clients)) else { return };
        self.show_traffic(&filter);
    }

    /// Goes from the form to its result, or from the result back to the form.
    pub(super) fn form_result(&mut self) {
        self.views.show(ViewId::Console);
        self.console.end_detail();
        self.console.focus = if self.console.focus == Focus::Result { Focus::Call } else { Focus::Result };
    }

    /// Leaves the zoom.
    pub(in crate::tui) fn restore(&mut self) {
        self.zoom = false;
    }

    /// Opens the JSON document in the string under the cursor of a result. Returns whether there is one.
    pub(in crate::tui) fn open_nested(&mut self) -> bool {
        let Some((path, json)) = self.shown().nested() else { return false };
        self.dialogs.push(Describe::value(path, json));
        true
    }

    /// Selects a node and goes to its form.
    pub(in crate::tui) fn go_to(&mut self, node: &Node) {
        self.console.end_detail();
        self.views.show(ViewId::Console);
        if self.console.tree.filter().is_some() {
            self.console.tree.end_filter(FilterEnd::Cancel, self.session.read_model());
        }
        self.console.tree.reveal(node, self.session.read_model());
        self.console.focus = Focus::Call;
    }

    /// Opens a call in the console, at its attempts.
    pub(in crate::tui) fn open_call(&mut self, call: CallId) {
        let mut detail = Detail::default();
        detail.show(Some(call), self.session.read_model());
        detail.set_tab(crate::tui::pane::detail::Tab::Attempts, self.session.read_model());
        self.views.show(ViewId::Console);
        self.console.open_call(detail, Focus::Traffic);
    }
}

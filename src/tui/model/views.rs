//! Keys, mouse and events of the views other than the console.

use crossterm::event::KeyEvent;
use ratatui::layout::Position;

use crate::{
    domain::{event::NoticeLevel, id::CallId},
    tui::{
        action::Action,
        background::Material,
        copying::{CopyKind, prepared},
        hits::{Hit, HitArea},
        keymap::Context,
        msg::Cmd,
        pane::{
            filter_line::FilterLine,
            health::{Page, Subject},
            row_detail::RowDetail,
            timeline::Zoom,
        },
        tabs::{OnQuery, Part, View},
        widget::window::{Direction, Move},
    },
};

use super::{Model, mouse::NOTCH};

/// Cells left of the tabs: the program name.
const BEFORE_TABS: u16 = 15;

impl Model {
    /// Returns whether a view other than the console is shown.
    pub fn in_view(&self) -> bool {
        self.views.current != View::Console
    }

    /// Returns whether a filter or a sort is unfinished; the loop then calls [`Model::work`] between inputs.
    pub fn working(&self) -> bool {
        self.views.working(self.session.now)
    }

    /// Works on it for a few milliseconds.
    pub fn work(&mut self) {
        self.views.work(self.session.now);
        self.reconcile();
    }

    /// Returns whether something in the view is animated.
    pub(super) fn view_moving(&self) -> bool {
        match self.views.current {
            View::Timeline => self.views.timeline.moving(&self.views.rows, self.session.now),
            // The rates change as the minute passes.
            View::Health => self.session.read_model().stats.per_minute(self.session.now) > 0,
            View::Workflows => self.session.read_model().runs.running > 0,
            _ => false,
        }
    }

    /// Returns the tabs: key and name.
    pub fn tabs(&self) -> Vec<(String, &'static str)> {
        let actions = [Action::ViewConsole, Action::ViewTraffic, Action::ViewTimeline, Action::ViewHealth, Action::ViewWorkflows];
        let key = |action| self.session.keymap.key(&[Context::Global], action).unwrap_or_default();
        View::ALL.iter().zip(actions).map(|(view, action)| (key(action), view.word())).collect()
    }

    /// Returns the number of the current view, from 0.
    pub fn tab(&self) -> usize {
        View::ALL.iter().position(|v| *v == self.views.current).unwrap_or(0)
    }

    /// Returns the keymap contexts of the view.
    pub(super) fn view_contexts(&self) -> &'static [Context] {
        let views = &self.views;
        if views.current == View::Workflows {
            return self.flow_contexts();
        }
        if self.view_typing() {
            return &[Context::Query];
        }
        match (views.part, views.current) {
            (Part::Entry, _) if self.table_focused() => &[Context::Grid, Context::Result, Context::List, Context::Global],
            (Part::Entry, _) => &[Context::Result, Context::Value, Context::List, Context::Global],
            (Part::Lines, _) => &[Context::Lines, Context::List, Context::Global],
            (Part::Facts, _) => &[Context::Health, Context::List, Context::Global],
            (Part::Main, View::Traffic) => &[Context::Table, Context::List, Context::Global],
            (Part::Main, View::Timeline) => &[Context::Timeline, Context::List, Context::Global],
            (_, _) => &[Context::Health, Context::List, Context::Global],
        }
    }

    /// Returns whether letters go into a filter line of the view.
    pub(super) fn view_typing(&self) -> bool {
        match self.views.current {
            View::Health => self.views.health.lines.editing(),
            View::Workflows => self.flow_typing(),
            _ => self.views.query().is_some_and(FilterLine::editing),
        }
    }

    /// Returns the call under the cursor of the view.
    pub(super) fn view_call(&self) -> Option<CallId> {
        self.views.selected().and_then(|id| self.views.rows.get(id)).and_then(|row| row.call())
    }

    /// Performs an action of the view; `None` if it is not one.
    pub(super) fn view_act(&mut self, action: Action) -> Option<Vec<Cmd>> {
        if let Some(commands) = self.flow_act(action) {
            return Some(commands);
        }
        match action {
            Action::ViewConsole => self.views.show(View::Console),
            Action::ViewTraffic => self.views.show(View::Traffic),
            Action::ViewTimeline => self.views.show(View::Timeline),
            Action::ViewHealth => self.views.show(View::Health),
            Action::Sort | Action::ReverseSort if self.table_focused() => {
                let (shown, read_model) = self.shown_parts();
                shown.act(action, read_model, 1);
            }
            Action::Sort | Action::ReverseSort => {
                self.views.show(View::Traffic);
                let (by, _) = self.views.traffic.order();
                if action == Action::Sort { self.views.traffic.sort_next() } else { self.views.traffic.sort(by) }
            }
            Action::ZoomIn | Action::ZoomOut => {
                self.views.show(View::Timeline);
                self.views.timeline.zoom(if action == Action::ZoomIn { Zoom::In } else { Zoom::Out }, self.session.now);
            }
            _ if !self.in_view() => return None,
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.view_move(self.views.part, action);
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => match (&mut self.views.entry, self.views.current) {
                (Some(entry), _) if self.views.part == Part::Entry => entry.act(action, self.session.read_model(), 1),
                (_, View::Health) if action == Action::Fold => self.views.health.fold(None),
                _ => {}
            },
            Action::NextPane => self.view_go_to_part(Direction::Forward),
            Action::PreviousPane => self.view_go_to_part(Direction::Backward),
            Action::Open => return Some(self.view_open()),
            Action::Back => self.view_back(),
            Action::Filter => return self.view_filter(),
            Action::CompleteFilter => self.views.on_query(OnQuery::Complete),
            Action::NextCall | Action::PreviousCall => {
                let direction = Direction::backward_if(action == Action::PreviousCall);
                self.views.timeline.step(direction, &self.views.rows, self.session.now);
            }
            Action::Follow => self.view_follow(),
            Action::NextTab | Action::PreviousTab => match (self.views.current, &mut self.views.entry) {
                (View::Health, _) => self.views.health.lines.switch_source(),
                (_, Some(entry)) => {
                    entry.detail.turn_tab(Direction::backward_if(action == Action::PreviousTab), self.session.read_model());
                }
                _ => {}
            },
            Action::Copy => return Some(self.view_copy()),
            Action::SendAgain | Action::EditAgain | Action::Cancel
                if self.view_call().and_then(|id| self.session.read_model().call(id)).is_none() =>
            {
                let text = if self.view_call().is_some() { "This call was dropped from memory." } else { "Select a call first." };
                self.toast(NoticeLevel::Info, text);
            }
            _ => return None,
        }
        Some(vec![])
    }

    fn view_filter(&mut self) -> Option<Vec<Cmd>> {
        match (self.views.current, self.views.part) {
            (View::Traffic | View::Timeline, Part::Entry) => self.ask_search(),
            (View::Traffic | View::Timeline, _) => self.views.on_query(OnQuery::Edit),
            (View::Health, _) => {
                self.views.part = Part::Lines;
                self.views.health.lines.edit();
            }
            _ => {
                self.views.show(View::Console);
                return None;
            }
        }
        Some(vec![])
    }

    fn view_follow(&mut self) {
        match (self.views.current, self.views.part) {
            (View::Traffic, _) => self.views.traffic.follow(),
            (View::Timeline, _) => self.views.timeline.follow(),
            (View::Health, _) => self.views.health.lines.follow(),
            _ => {}
        }
    }

    fn view_go_to_part(&mut self, direction: Direction) {
        let order = self.views.order();
        let at = order.iter().position(|p| *p == self.views.part).unwrap_or(0);
        self.views.part = order.get(direction.cycle(at, order.len())).copied().unwrap_or_default();
    }

    fn view_open(&mut self) -> Vec<Cmd> {
        if self.views.part == Part::Entry
            && let Some(uri) = self.shown().link_at_cursor()
        {
            return self.follow_link(uri);
        }
        if self.views.part == Part::Entry && self.open_nested() {
            return vec![];
        }
        match (self.views.current, self.views.part) {
            (View::Traffic | View::Timeline, _) if self.view_typing() => self.views.on_query(OnQuery::End { keep: true }),
            (View::Health, _) if self.views.health.lines.editing() => self.views.health.lines.finish_edit(),
            (View::Health, Part::Main) => self.page_open(),
            (View::Traffic | View::Timeline, Part::Main) => {
                let Some(id) = self.views.selected() else { return vec![] };
                // The open call stays open: following stops.
                match self.views.current {
                    View::Traffic => self.views.traffic.freeze(&self.views.rows),
                    _ => self.views.timeline.freeze(self.session.now),
                }
                let mut entry = self.views.entry.take().unwrap_or_default();
                entry.show(id, &self.views.rows, self.session.read_model());
                self.views.entry = Some(entry);
                self.views.part = Part::Entry;
            }
            (_, Part::Entry) => {
                if let Some(entry) = &mut self.views.entry {
                    entry.act(Action::Open, self.session.read_model(), 1);
                }
            }
            _ => {}
        }
        vec![]
    }

    /// Goes back one step: out of the filter line, the open row, the filter, the view.
    fn view_back(&mut self) {
        let views = &mut self.views;
        match (views.current, views.part) {
            (_, _) if views.query().is_some_and(FilterLine::editing) => views.on_query(OnQuery::End { keep: false }),
            (View::Health, _) if views.health.lines.editing() => views.health.lines.cancel_edit(),
            (_, Part::Entry) if views.entry.as_mut().is_some_and(|e| e.detail.back()) => {}
            (View::Health, Part::Lines) if views.health.lines.clear() => {}
            (View::Health, Part::Facts | Part::Lines) => views.part = Part::Main,
            (View::Health, _) if views.health.page != Page::Table => views.health.page = Page::Table,
            (_, _) if views.entry.is_some() => (views.entry, views.part) = (None, Part::Main),
            _ if views.query().is_some_and(|query| !query.text().is_empty()) => views.on_query(OnQuery::Clear),
            _ if self.zoom => self.zoom = false,
            _ => {}
        }
    }

    /// Copies rows that are not calls: a name, a message. Calls have a menu, as everywhere.
    fn view_copy(&mut self) -> Vec<Cmd> {
        let material = match (self.views.current, &self.views.entry) {
            (View::Health, _) => self.views.health.selected().map(|Subject { server, tool }| {
                let name = tool.as_ref().map_or(server.to_string(), |t| t.to_string());
                Material { pieces: vec![name.into()], decode: false }
            }),
            _ if self.view_call().is_some() => {
                self.ask_copy();
                return vec![];
            }
            (_, Some(entry)) => entry.copy(),
            _ => self.views.selected().and_then(|id| {
                let mut entry = RowDetail::default();
                entry.show(id, &self.views.rows, self.session.read_model());
                entry.copy()
            }),
        };
        self.copied(CopyKind::Value, prepared(CopyKind::Value, &material.unwrap_or_default()))
    }

    /// Handles a key that is not in the keymap.
    pub(super) fn view_key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        let views = &mut self.views;
        match (views.current, views.part) {
            (View::Workflows, _) => return self.flow_key(key),
            _ if views.query().is_some_and(FilterLine::editing) => views.on_query(OnQuery::Key(key)),
            (View::Health, _) if views.health.lines.editing() => views.health.lines.key(key),
            _ => {}
        }
        vec![]
    }

    /// Pastes text into a filter line.
    pub(super) fn view_paste(&mut self, text: &str) {
        let views = &mut self.views;
        match views.current {
            View::Workflows if views.part == Part::Input => views.flows.input.paste(text),
            _ if views.query().is_some_and(FilterLine::editing) => views.on_query(OnQuery::Paste(text)),
            View::Health if views.health.lines.editing() => views.health.lines.paste(text),
            _ => {}
        }
    }

    /// Moves the cursor of a part, whether it has the focus or not.
    pub(super) fn view_move(&mut self, part: Part, action: Action) {
        let place = self.views.place(part).unwrap_or_default();
        let page = usize::from(place.height.saturating_sub(4)).max(1);
        let to = Move::of(action, page);
        let now = self.session.now;
        match (part, self.views.current, to) {
            (Part::Main, View::Timeline, _) => self.views.timeline.go(action, &self.views.rows, now),
            (Part::Main, View::Traffic, Some(to)) => self.views.traffic.go(to, &self.views.rows),
            (Part::Main, View::Health, Some(to)) => self.views.health.go(to),
            (Part::Main, View::Health, None) => match self.views.health.page {
                Page::Table => self.views.health.fold(Some(action == Action::Right)),
                Page::Breakers => self.views.health.breakers.sideways(Direction::backward_if(action == Action::Left)),
                Page::Routes => {}
            },
            (Part::Entry, ..) => {
                if let Some(entry) = &mut self.views.entry {
                    entry.act(action, self.session.read_model(), page);
                }
            }
            (Part::Facts, _, Some(to)) => {
                let subject = self.views.health.selected().cloned();
                let mut facts = std::mem::take(&mut self.views.health.facts);
                let look = self.look();
                facts.go(to, subject.as_ref(), look, place);
                self.views.health.facts = facts;
            }
            (Part::Lines, _, Some(to)) => {
                self.views.health.lines.go(to);
            }
            _ => {}
        }
    }

    /// Handles the wheel over a part of the view.
    pub(super) fn view_wheel(&mut self, part: Part, action: Action) {
        for _ in 0..NOTCH {
            if self.views.current == View::Workflows {
                self.flow_wheel(part, action);
                continue;
            }
            self.view_move(part, action);
        }
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

    /// Handles a click on a part of the view. A second click on a row opens it.
    pub(super) fn view_click(&mut self, part: Part, found: &HitArea, cell: Position) -> Vec<Cmd> {
        let was = std::mem::replace(&mut self.views.part, part);
        let (read_model, views) = (self.session.read_model(), &mut self.views);
        let again = match (&found.hit, part, views.current) {
            (Hit::Key(action), ..) => return self.press_key(*action),
            (Hit::FormKey(action), ..) => return self.form_act(*action),
            (Hit::Tab(tab), Part::Lines, _) => {
                views.health.lines.set_tab(*tab);
                false
            }
            (Hit::Query, _, View::Health) => {
                views.health.lines.edit();
                false
            }
            (Hit::Query, ..) => {
                views.on_query(OnQuery::Edit);
                false
            }
            (_, _, View::Workflows) => self.flow_click(part, &found.hit),
            (hit, Part::Entry, _) => views.entry.as_mut().is_some_and(|entry| entry.click(hit, read_model)),
            (Hit::Column(by), ..) => {
                views.traffic.sort(*by);
                false
            }
            (Hit::Entry(id), _, View::Traffic) => views.traffic.click(*id, &views.rows),
            (Hit::Lanes, _, View::Timeline) => views.timeline.click(found.area, cell, self.session.now),
            (Hit::Row(row), Part::Main, View::Health) => views.health.click(*row),
            _ => false,
        };
        let again = again && (was == part || matches!(found.hit, Hit::FoldSign(_)));
        if again { self.act(Action::Open) } else { vec![] }
    }

    /// Returns whether an action of the view would have an effect now; `None` if the view does not decide.
    pub(super) fn view_enabled(&self, action: Action) -> Option<bool> {
        if let Some(sense) = self.flow_enabled(action) {
            return Some(sense);
        }
        if !self.in_view() {
            return None;
        }
        let call = || self.view_call().and_then(|id| self.session.read_model().call(id));
        Some(match action {
            Action::Cancel => call().is_some_and(|c| c.settled.is_none()),
            Action::SendAgain | Action::EditAgain => call().is_some(),
            Action::Follow => match self.views.current {
                View::Traffic => !self.views.traffic.following(),
                View::Timeline => !self.views.timeline.following(),
                _ => !self.views.health.lines.following(),
            },
            Action::Open => match (self.views.current, self.views.part) {
                (_, Part::Entry) => self.views.entry.as_ref().is_some_and(|e| e.detail.can_open()),
                (View::Health, part) => part == Part::Main || self.view_typing(),
                _ => self.views.selected().is_some() || self.view_typing(),
            },
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => match (&self.views.entry, self.views.current) {
                (Some(entry), _) if self.views.part == Part::Entry => entry.can_fold(),
                (_, View::Health) => action == Action::Fold && self.views.health.page == Page::Table && self.views.part == Part::Main,
                _ => false,
            },
            Action::NextCall | Action::PreviousCall => self.views.current == View::Timeline && self.views.part == Part::Main,
            Action::CompleteFilter => self.views.query().is_some_and(FilterLine::editing),
            Action::NextTab | Action::PreviousTab => self.views.current == View::Health || self.views.entry.is_some(),
            Action::Restart | Action::Disable | Action::Refresh => self.views.health.subject().is_some(),
            Action::NextPane => self.views.order().len() > 1,
            Action::Back => true,
            _ => return None,
        })
    }
}

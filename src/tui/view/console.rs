//! The console view: servers, the call, its result, the list of calls. It owns the panes, their keys and their mouse.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{directory::Directory, id::CallId},
    state::ConsoleState,
    tui::{
        action::Action,
        background::Job,
        hits::{Hit, HitArea, Owner},
        keymap::Context,
        layout::{Focus, Layout, Middle},
        overlay::edit_line,
        pane::{
            DrawContext,
            call::{CallPane, recall_key},
            detail::Detail,
            info::{self, InfoPane},
            servers,
            traffic::TrafficPane,
        },
        tree::{FilterEnd, Folding, Node, Tree},
        widget::{
            arguments::KeyOutcome,
            form::FormView,
            window::{Direction, Move},
        },
    },
};

use super::{View, ViewInput, ViewOutcome, ViewState};

/// The panes of the console view.
pub struct ConsoleView {
    /// The pane with the focus.
    pub focus: Focus,
    /// The tree.
    pub tree: Tree,
    /// The call.
    pub call: CallPane,
    /// Its result.
    pub result: Detail,
    /// The open call of the traffic list.
    pub detail: Option<Detail>,
    /// The server pane's scroll.
    pub info: InfoPane,
    /// The list of calls.
    pub traffic: TrafficPane,
    /// The pane from which the detail was opened.
    pub came_from: Focus,
    /// Background jobs left by pages that were closed.
    pub left: Vec<Job>,
    places: Vec<(Focus, Rect)>,
    /// Whether the screen shows one pane at a time.
    narrow: bool,
    /// Whether the user maximised the pane.
    zoomed: bool,
}

impl Default for ConsoleView {
    fn default() -> Self {
        ConsoleView {
            focus: Focus::Servers,
            tree: Tree::default(),
            call: CallPane::default(),
            result: Detail::default(),
            detail: None,
            info: InfoPane::default(),
            traffic: TrafficPane::default(),
            came_from: Focus::Traffic,
            left: vec![],
            places: vec![],
            narrow: false,
            zoomed: false,
        }
    }
}

impl ConsoleView {
    /// Returns the content of the middle pane.
    pub fn middle(&self) -> Middle {
        if self.detail.is_some() {
            return Middle::Detail;
        }
        match self.tree.selected() {
            Some(node) if node.callable() => Middle::Call { rows: self.call.rows_wanted() },
            _ => Middle::Info,
        }
    }

    /// Returns the detail that is shown: a call of the traffic list, or the result of the form.
    pub fn shown(&self) -> &Detail {
        self.detail.as_ref().unwrap_or(&self.result)
    }

    /// Returns the detail that is shown, for changes.
    pub fn shown_mut(&mut self) -> &mut Detail {
        self.detail.as_mut().unwrap_or(&mut self.result)
    }

    /// Returns whether the focus is in a result.
    pub fn in_result(&self) -> bool {
        matches!(self.focus, Focus::Result | Focus::Detail)
    }

    /// Opens a call in full; `from` is the pane that closing it goes back to.
    pub fn open_call(&mut self, detail: Detail, from: Focus) {
        self.end_detail();
        (self.detail, self.focus, self.came_from) = (Some(detail), Focus::Detail, from);
    }

    /// Closes the page of a call.
    pub fn end_detail(&mut self) {
        if let Some(mut detail) = self.detail.take() {
            self.result.adopt_tabs(&detail);
            self.left.extend(detail.close());
        }
    }

    /// Takes over what is selected: the panes show it, and the focus is on a pane that is visible.
    pub fn show_selected(&mut self, read_model: &ConsoleState) {
        let node = self.tree.selected().cloned();
        self.call.show(node.as_ref(), read_model);
        self.info.show(node.as_ref());
        self.result.show(self.call.last_call(), read_model);
        let order = self.middle().order();
        if !order.contains(&self.focus) && !matches!(self.focus, Focus::Servers | Focus::Traffic) {
            self.focus = order[1];
        }
    }

    /// Takes over the layout.
    pub fn lay_out(&mut self, layout: &Layout, zoomed: bool) {
        (self.places, self.narrow, self.zoomed) = (layout.panes.clone(), layout.narrow, zoomed);
    }

    fn place(&self, pane: Focus) -> Option<Rect> {
        self.places.iter().find(|(p, _)| *p == pane).map(|(_, place)| *place)
    }
}

impl View for ConsoleView {
    fn contexts(&self, _state: &ViewState) -> &'static [Context] {
        match self.focus {
            _ if self.tree.filter().is_some() => &[Context::Filter],
            Focus::Servers => &[Context::Servers, Context::List, Context::Global],
            Focus::Info => &[Context::Info, Context::List, Context::Global],
            Focus::Call if self.call.arguments().editing_json() => &[Context::Json],
            Focus::Call if self.call.arguments().wants_text() => &[Context::Text],
            Focus::Call => &[Context::Call, Context::Form, Context::Global],
            Focus::Result | Focus::Detail if self.shown().shows_table() => {
                &[Context::Grid, Context::Result, Context::List, Context::Global]
            }
            Focus::Result | Focus::Detail => &[Context::Result, Context::Value, Context::List, Context::Global],
            Focus::Traffic => &[Context::Traffic, Context::List, Context::Global],
        }
    }

    fn typing(&self, _state: &ViewState) -> bool {
        self.tree.filter().is_some() || (self.focus == Focus::Call && self.call.arguments().wants_text())
    }

    fn takes_key(&self, key: KeyEvent, enabled: bool, _state: &ViewState) -> bool {
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        if !plain || self.tree.filter().is_some() || self.focus != Focus::Call || self.call.arguments().editing_json() {
            return false;
        }
        match key.code {
            KeyCode::Tab | KeyCode::BackTab => true,
            KeyCode::Enter | KeyCode::Esc => self.call.arguments().wants_text(),
            KeyCode::Char(_) => !enabled,
            _ => false,
        }
    }

    fn takes_lines(&self, _state: &ViewState) -> bool {
        self.tree.filter().is_none() && self.focus == Focus::Call
    }

    fn enabled(&self, action: Action, _state: &ViewState, ctx: DrawContext) -> Option<bool> {
        Some(match action {
            Action::Favourite => self.tree.selected().is_some_and(|node| recall_key(node).is_some()),
            Action::Restart | Action::Disable | Action::Refresh => {
                matches!(self.tree.selected(), Some(Node::Server(_) | Node::Member(..) | Node::Section(..)))
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if self.in_result() => self.shown().can_fold(),
            Action::FoldLevel | Action::UnfoldLevel | Action::NextCall | Action::PreviousCall | Action::CompleteFilter => false,
            Action::Fold => self.focus == Focus::Servers && self.tree.row().is_some_and(|row| row.open.is_some()),
            Action::ToggleJson | Action::Editor | Action::Reset => self.call.arguments().text().is_some(),
            Action::Undo => self.focus == Focus::Call && self.call.arguments().can_undo(),
            Action::InsertValue => self.call.arguments().field().is_some() && !ctx.read_model.calls.is_empty(),
            Action::LongText | Action::FieldEditor => self.call.arguments().field_text().is_some(),
            Action::Complete => self.call.suggestions().is_some(),
            Action::SendUnchecked => self.focus == Focus::Call && self.call.arguments().refused(),
            Action::Follow => !self.traffic.following(),
            Action::Open => match self.focus {
                Focus::Result | Focus::Detail => self.shown().can_open(),
                Focus::Traffic => !ctx.read_model.calls.is_empty(),
                Focus::Servers => self.tree.selected().is_some(),
                _ => true,
            },
            Action::Back => self.focus != Focus::Servers || self.tree.filter().is_some(),
            _ => return None,
        })
    }

    fn label(&self, action: Action, _state: &ViewState, _ctx: DrawContext) -> Option<&'static str> {
        match action {
            Action::Fold if self.focus == Focus::Servers && self.tree.row().and_then(|row| row.open) == Some(false) => Some("unfold"),
            Action::ToggleJson if self.call.arguments().editing_json() => Some("as form"),
            _ => None,
        }
    }

    fn handle(&mut self, input: ViewInput, _state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match input {
            ViewInput::Action(action) if self.tree.filter().is_some() => self.filter_act(action, ctx),
            ViewInput::Action(action) => self.act(action, ctx),
            ViewInput::Key(key) => self.key(key, ctx),
            ViewInput::Paste(text) => {
                match self.tree.filter() {
                    Some(filter) => {
                        let filter = format!("{filter}{text}");
                        self.tree.set_filter(filter, ctx.read_model);
                    }
                    None if self.focus == Focus::Call => self.call.arguments_mut().paste(text),
                    None => {}
                }
                ViewOutcome::Done
            }
            ViewInput::Wheel(Owner::Pane(pane), action) => {
                self.move_in(pane, action, ctx);
                ViewOutcome::Done
            }
            ViewInput::Wheel(..) => ViewOutcome::Ignored,
            ViewInput::Click(found, _) => self.click(found, ctx),
        }
    }

    fn fit(&mut self, _state: &mut ViewState, ctx: DrawContext, _body: Rect, _zoom: bool) {
        if let Some(place) = self.place(Focus::Servers) {
            self.tree.window.fit(self.tree.rows().len(), servers::rows_height(&self.tree, place));
        }
        if let Some(place) = self.place(Focus::Traffic) {
            self.traffic.fit(ctx.read_model, place);
        }
    }

    fn draw(&mut self, _state: &mut ViewState, ctx: DrawContext, buf: &mut Buffer) {
        for (pane, place) in self.places.clone() {
            let ctx = DrawContext { focused: ctx.focused && pane == self.focus, ..ctx };
            ctx.hits.enter(Owner::Pane(pane), place);
            match pane {
                Focus::Servers => servers::draw(&self.tree, ctx, place, buf),
                Focus::Call => self.call.draw(ctx, place, buf),
                Focus::Result => self.result.draw("Result", ctx, place, buf),
                Focus::Info => self.info.draw(self.tree.selected(), ctx, place, buf),
                Focus::Detail => {
                    if let Some(detail) = &mut self.detail {
                        let name =
                            detail.call().and_then(|id| ctx.read_model.call(id)).map(|c| ctx.read_model.call_name(&c.spec.operation));
                        detail.draw(&name.unwrap_or_else(|| "Call".into()), ctx, place, buf);
                    }
                }
                Focus::Traffic => self.traffic.draw(ctx, place, buf),
            }
        }
    }

    fn call(&self, _state: &ViewState, ctx: DrawContext) -> Option<CallId> {
        match (self.focus, &self.detail) {
            (Focus::Traffic, _) => self.traffic.selected(ctx.read_model).map(|c| c.id),
            (_, Some(detail)) => detail.call(),
            _ => self.result.call(),
        }
    }

    fn form_mut(&mut self, _state: &ViewState) -> Option<&mut FormView> {
        if self.focus == Focus::Call { self.call.arguments_mut().form_mut() } else { None }
    }
}

/// Actions, keys and clicks.
impl ConsoleView {
    fn act(&mut self, action: Action, ctx: DrawContext) -> ViewOutcome {
        match action {
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.move_in(self.focus, action, ctx);
            }
            Action::Sort | Action::ReverseSort if self.in_result() && self.shown().shows_table() => {
                self.shown_mut().act(action, ctx.read_model, 1);
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if self.in_result() => self.shown_mut().act(action, ctx.read_model, 1),
            Action::Fold => self.tree.fold(Folding::Toggle, ctx.read_model),
            Action::FoldAll => self.tree.fold_all(ctx.read_model),
            Action::UnfoldAll => self.tree.unfold_all(ctx.read_model),
            Action::Back => return self.back(),
            Action::NextPane => self.turn(Direction::Forward),
            Action::PreviousPane => self.turn(Direction::Backward),
            Action::Open => return self.open(ctx),
            Action::Filter => {
                self.focus = Focus::Servers;
                self.end_detail();
                self.tree.set_filter(String::new(), ctx.read_model);
            }
            Action::ToggleJson => self.call.arguments_mut().toggle_json(),
            Action::Undo => self.call.arguments_mut().undo(),
            Action::Reset => {
                let cleared = self.call.reset();
                return ViewOutcome::change(move |model| model.say_undo(cleared));
            }
            Action::NextTab | Action::PreviousTab => {
                self.shown_mut().turn_tab(Direction::backward_if(action == Action::PreviousTab), ctx.read_model);
            }
            Action::Follow => self.traffic.follow(),
            _ => return ViewOutcome::Ignored,
        }
        ViewOutcome::Done
    }

    fn filter_act(&mut self, action: Action, ctx: DrawContext) -> ViewOutcome {
        match action {
            Action::Open => {
                if self.end_filter(ctx.read_model) {
                    self.focus = Focus::Call;
                    if matches!(self.tree.selected(), Some(Node::Resource(..))) {
                        return ViewOutcome::run(|model| model.read_found());
                    }
                }
            }
            Action::Back => self.tree.end_filter(FilterEnd::Cancel, ctx.read_model),
            Action::NextPane | Action::PreviousPane => {
                self.end_filter(ctx.read_model);
                self.turn(Direction::Forward);
            }
            Action::Up => self.tree.go(Move::Back(1)),
            Action::Down => self.tree.go(Move::On(1)),
            Action::PageUp => self.tree.go(Move::Back(10)),
            Action::PageDown => self.tree.go(Move::On(10)),
            other => return self.act(other, ctx),
        }
        ViewOutcome::Done
    }

    /// Accepts what the filter found. Returns whether it found something.
    fn end_filter(&mut self, read_model: &ConsoleState) -> bool {
        let found = self.tree.selected().is_some();
        self.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, read_model);
        found
    }

    /// Moves the focus to the next or previous pane.
    fn turn(&mut self, direction: Direction) {
        let order = self.middle().order();
        let at = order.iter().position(|f| *f == self.focus).unwrap_or(0);
        self.focus = order[direction.cycle(at, order.len())];
    }

    fn open(&mut self, ctx: DrawContext) -> ViewOutcome {
        if self.in_result() {
            if let Some(uri) = self.shown().link_at_cursor() {
                return ViewOutcome::run(move |model| model.follow_link(uri));
            }
            if self.shown().nested().is_some() {
                return ViewOutcome::change(|model| {
                    model.open_nested();
                });
            }
        }
        match self.focus {
            Focus::Servers => match self.tree.selected() {
                Some(Node::Server(_)) if self.tree.row().is_some_and(|row| row.open == Some(false)) => {
                    self.tree.fold(Folding::Unfold, ctx.read_model);
                }
                Some(Node::Group(_) | Node::Section(..)) => self.tree.fold(Folding::Toggle, ctx.read_model),
                Some(node) if node.callable() => {
                    self.focus = Focus::Call;
                    // Opening a tool puts the cursor into its first field, whatever the form contained before.
                    self.call.arguments_mut().begin();
                }
                Some(_) => self.focus = Focus::Info,
                None => {}
            },
            Focus::Traffic => {
                if let Some(call) = self.traffic.selected(ctx.read_model).map(|c| c.id) {
                    let mut detail = Detail::like(&self.result);
                    detail.show(Some(call), ctx.read_model);
                    self.open_call(detail, Focus::Traffic);
                }
            }
            Focus::Result | Focus::Detail => self.shown_mut().open(),
            Focus::Call | Focus::Info => {}
        }
        ViewOutcome::Done
    }

    /// Goes back one step: out of a frame, the detail, the zoom, a pane.
    fn back(&mut self) -> ViewOutcome {
        if self.in_result() && self.shown_mut().back() {
            return ViewOutcome::Done;
        }
        match self.focus {
            Focus::Detail => {
                self.end_detail();
                self.focus = self.came_from;
            }
            _ if self.zoomed => return ViewOutcome::restore(),
            Focus::Result if self.narrow => self.focus = Focus::Call,
            Focus::Call | Focus::Result | Focus::Info | Focus::Traffic => self.focus = Focus::Servers,
            Focus::Servers => {}
        }
        ViewOutcome::Done
    }

    fn key(&mut self, key: KeyEvent, ctx: DrawContext) -> ViewOutcome {
        if let Some(filter) = self.tree.filter() {
            let mut filter = filter.to_owned();
            if edit_line(&mut filter, key) {
                self.tree.set_filter(filter, ctx.read_model);
            } else if key.code == KeyCode::Backspace {
                self.tree.end_filter(FilterEnd::Cancel, ctx.read_model);
            }
            return ViewOutcome::Done;
        }
        if self.focus != Focus::Call {
            return ViewOutcome::Ignored;
        }
        match self.call.arguments_mut().key(key) {
            KeyOutcome::Stay => ViewOutcome::Done,
            KeyOutcome::Send => ViewOutcome::act(Action::Send),
            KeyOutcome::Leave => ViewOutcome::act(Action::Back),
            KeyOutcome::Next => ViewOutcome::act(Action::NextPane),
            KeyOutcome::Previous => ViewOutcome::act(Action::PreviousPane),
        }
    }

    /// Moves the cursor of a pane, whether it has the focus or not.
    fn move_in(&mut self, pane: Focus, action: Action, ctx: DrawContext) {
        let place = self.place(pane);
        let page = place.map_or(1, |place| usize::from(place.height.saturating_sub(3)).max(1));
        let (read_model, to) = (ctx.read_model, Move::of(action, page));
        match (pane, to) {
            (Focus::Servers, Some(to)) => {
                self.end_detail();
                self.tree.go(to);
            }
            (Focus::Servers, None) => {
                self.tree.fold(if action == Action::Right { Folding::Unfold } else { Folding::Fold }, read_model);
            }
            (Focus::Traffic, Some(to)) => self.traffic.go(to, read_model),
            (Focus::Result, _) => self.result.act(action, read_model, page),
            (Focus::Detail, _) => {
                if let Some(detail) = &mut self.detail {
                    detail.act(action, read_model, page);
                }
            }
            (Focus::Info, Some(to)) => {
                let width = place.map_or(60, |p| p.width.saturating_sub(4));
                let rows = info::text_view(self.tree.selected(), ctx, width).len();
                self.info.window.scroll(to, rows, page + 1);
            }
            (Focus::Call, Some(_)) => {
                let code = if matches!(action, Action::Up) { KeyCode::Up } else { KeyCode::Down };
                self.call.arguments_mut().key(KeyEvent::new(code, KeyModifiers::NONE));
            }
            (Focus::Traffic | Focus::Info | Focus::Call, None) => {}
        }
    }

    /// Handles a click on a pane. A second click on a row opens it; it folds what can be folded, like a click on the fold
    /// sign.
    fn click(&mut self, found: &HitArea, ctx: DrawContext) -> ViewOutcome {
        let Owner::Pane(pane) = found.owner else { return ViewOutcome::Ignored };
        // Outside of the tree, a click accepts what the filter found.
        if pane != Focus::Servers && self.tree.filter().is_some() {
            self.end_filter(ctx.read_model);
        }
        let again = std::mem::replace(&mut self.focus, pane) == pane;
        let action = match (pane, &found.hit) {
            (_, Hit::Key(_) | Hit::FormKey(_)) => None,
            (Focus::Servers, Hit::Row(row) | Hit::FoldSign(row)) => {
                let again = again && *row == self.tree.window.cursor;
                self.tree.move_to(*row);
                self.end_detail();
                match (&found.hit, self.tree.row().is_some_and(|row| row.open.is_some())) {
                    (Hit::FoldSign(_), true) => Some(Action::Fold),
                    (_, true) if again => Some(Action::Fold),
                    (_, false) if again => Some(Action::Open),
                    _ => None,
                }
            }
            (Focus::Traffic, Hit::Call(call)) => {
                let again = again && self.traffic.selected(ctx.read_model).is_some_and(|selected| selected.id == *call);
                self.traffic.select(*call, ctx.read_model, self.place(pane).unwrap_or_default());
                again.then_some(Action::Open)
            }
            (Focus::Call, hit) => {
                self.call.arguments_mut().click(hit);
                None
            }
            (Focus::Result | Focus::Detail, hit) => {
                let opens = self.shown_mut().click(hit, ctx.read_model);
                (opens && (again || matches!(hit, Hit::FoldSign(_)))).then_some(Action::Open)
            }
            _ => None,
        };
        action.map_or(ViewOutcome::Done, ViewOutcome::act)
    }
}

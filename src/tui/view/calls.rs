//! The views of all calls: traffic and timeline. Each is a list of rows with a filter line, and opens a row next to it.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    domain::{id::CallId, time::Stamp},
    state::ConsoleState,
    tui::{
        action::Action,
        hits::{Hit, HitArea, Owner},
        keymap::Context,
        pane::{
            DrawContext, filter_line::FilterLine, filtered_rows::OnQuery, row_detail::RowDetail, table::TrafficView, timeline::Timeline,
        },
        rows::{RowId, Rows},
        widget::window::{Direction, Move},
    },
};

use super::{Part, View, ViewInput, ViewOutcome, ViewState};

/// A list of calls with a cursor and a filter line.
pub trait CallList {
    /// Returns the contexts of its keys.
    fn list_contexts(&self) -> &'static [Context];
    /// Returns the filter line.
    fn query(&self) -> &FilterLine;
    /// Applies an operation to the filter line.
    fn on_query(&mut self, what: OnQuery, rows: &Rows);
    /// Returns the row under the cursor.
    fn selected(&self, rows: &Rows) -> Option<RowId>;
    /// Returns whether the list follows the newest call.
    fn following(&self) -> bool;
    /// Follows the newest call.
    fn follow(&mut self);
    /// Stops following.
    fn freeze(&mut self, rows: &Rows, now: Stamp);
    /// Moves the cursor.
    fn move_cursor(&mut self, action: Action, page: usize, rows: &Rows, now: Stamp);
    /// Moves to the next or previous call of a lane. Returns whether the list has lanes.
    fn step_in_lane(&mut self, _direction: Direction, _rows: &Rows, _now: Stamp) -> bool {
        false
    }
    /// Returns whether it has lanes.
    fn has_lanes(&self) -> bool {
        false
    }
    /// Handles a click. Returns whether the row under the pointer was selected already.
    fn click_list(&mut self, found: &HitArea, cell: Position, rows: &Rows, now: Stamp) -> bool;
    /// Updates cursor and scroll offset.
    fn fit_list(&mut self, rows: &Rows, read_model: &ConsoleState, now: Stamp, area: Rect);
    /// Draws the list.
    fn draw_list(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer);
    /// Returns the width from which on an open row is to the right of the list instead of below it.
    fn side_by_side_from(&self) -> Option<u16> {
        None
    }
    /// Returns whether the picture moves with time.
    fn animated(&self, _rows: &Rows, _now: Stamp) -> bool {
        false
    }
    /// Returns whether a filter or a sort is unfinished.
    fn unfinished(&self, rows: &Rows, now: Stamp) -> bool;
    /// Works on it for a few milliseconds.
    fn continue_work(&mut self, rows: &Rows, now: Stamp);
}

/// Returns the row under the cursor: the open row if it has the focus, otherwise that of the list.
pub fn selected(list: &impl CallList, state: &ViewState) -> Option<RowId> {
    match &state.entry {
        Some(entry) if state.part == Part::Entry => entry.row(),
        _ => list.selected(&state.rows),
    }
}

impl<L: CallList> View for L {
    fn contexts(&self, state: &ViewState) -> &'static [Context] {
        match (state.part, &state.entry) {
            _ if self.query().editing() => &[Context::Query],
            (Part::Entry, Some(entry)) if entry.detail.shows_table() => &[Context::Grid, Context::Result, Context::List, Context::Global],
            (Part::Entry, _) => &[Context::Result, Context::Value, Context::List, Context::Global],
            _ => self.list_contexts(),
        }
    }

    fn typing(&self, _state: &ViewState) -> bool {
        self.query().editing()
    }

    fn enabled(&self, action: Action, state: &ViewState, ctx: DrawContext) -> Option<bool> {
        let entry = state.entry.as_ref().filter(|_| state.part == Part::Entry);
        let call = || self.call(state, ctx).and_then(|id| ctx.read_model.call(id));
        Some(match action {
            Action::Cancel => call().is_some_and(|c| c.settled.is_none()),
            Action::SendAgain | Action::EditAgain => call().is_some(),
            Action::Follow => !self.following(),
            Action::Open => match entry {
                Some(entry) => entry.detail.can_open(),
                None => selected(self, state).is_some() || self.query().editing(),
            },
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => entry.is_some_and(RowDetail::can_fold),
            Action::NextCall | Action::PreviousCall => self.has_lanes() && state.part == Part::Main,
            Action::CompleteFilter => self.query().editing(),
            Action::NextTab | Action::PreviousTab => state.entry.is_some(),
            Action::Restart | Action::Disable | Action::Refresh => false,
            Action::NextPane => self.order(state).len() > 1,
            Action::Back => true,
            _ => return None,
        })
    }

    fn handle(&mut self, input: ViewInput, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match input {
            ViewInput::Action(action) => act(self, action, state, ctx),
            ViewInput::Key(key) if self.query().editing() => {
                self.on_query(OnQuery::Key(key), &state.rows);
                ViewOutcome::Done
            }
            ViewInput::Paste(text) if self.query().editing() => {
                self.on_query(OnQuery::Paste(text), &state.rows);
                ViewOutcome::Done
            }
            ViewInput::Key(_) | ViewInput::Paste(_) => ViewOutcome::Ignored,
            ViewInput::Wheel(Owner::Part(part), action) => {
                move_in(self, part, action, state, ctx);
                ViewOutcome::Done
            }
            ViewInput::Wheel(..) => ViewOutcome::Ignored,
            ViewInput::Click(found, cell) => {
                let Some(focused) = state.press(found) else { return ViewOutcome::Done };
                let again = match (&found.hit, state.part) {
                    (Hit::Query, _) => {
                        self.on_query(OnQuery::Edit, &state.rows);
                        false
                    }
                    (hit, Part::Entry) => state.entry.as_mut().is_some_and(|entry| entry.click(hit, ctx.read_model)),
                    _ => self.click_list(found, cell, &state.rows, ctx.now),
                };
                if again && focused { ViewOutcome::act(Action::Open) } else { ViewOutcome::Done }
            }
        }
    }

    fn order(&self, state: &ViewState) -> &'static [Part] {
        if state.entry.is_some() { &[Part::Main, Part::Entry] } else { &[Part::Main] }
    }

    fn fit(&mut self, state: &mut ViewState, ctx: DrawContext, body: Rect, zoom: bool) {
        if !self.order(state).contains(&state.part) {
            state.part = Part::Main;
        }
        state.places = places(self.side_by_side_from(), state, body, zoom);
        self.fit_list(&state.rows, ctx.read_model, ctx.now, state.place(Part::Main).unwrap_or(body));
        // The open row is the one under the cursor, unless the focus is in it.
        if state.part == Part::Main
            && let Some(id) = selected(self, state)
            && let Some(entry) = &mut state.entry
        {
            entry.show(id, &state.rows, ctx.read_model);
        }
    }

    fn draw(&mut self, state: &mut ViewState, ctx: DrawContext, buf: &mut Buffer) {
        state.draw_parts(ctx, |state, part, ctx, place| match (part, &mut state.entry) {
            (Part::Entry, Some(entry)) => entry.draw(&state.rows, ctx, place, buf),
            _ => self.draw_list(&state.rows, ctx, place, buf),
        });
    }

    fn call(&self, state: &ViewState, _ctx: DrawContext) -> Option<CallId> {
        // Calls of the history are not in the read model.
        selected(self, state).and_then(|id| state.rows.get(id)).filter(|row| !row.past()).and_then(|row| row.call())
    }

    fn moving(&self, state: &ViewState, ctx: DrawContext) -> bool {
        self.animated(&state.rows, ctx.now)
    }

    fn working(&self, state: &ViewState, ctx: DrawContext) -> bool {
        self.unfinished(&state.rows, ctx.now)
    }

    fn work(&mut self, state: &ViewState, ctx: DrawContext) {
        self.continue_work(&state.rows, ctx.now);
    }
}

fn places(side_by_side_from: Option<u16>, state: &ViewState, body: Rect, zoom: bool) -> Vec<(Part, Rect)> {
    if zoom {
        return vec![(state.part, body)];
    }
    if state.entry.is_none() {
        return vec![(Part::Main, body)];
    }
    if side_by_side_from.is_some_and(|width| body.width >= width) {
        let width = body.width * 11 / 20;
        let entry = Rect { x: body.x + width, width: body.width - width, ..body };
        return vec![(Part::Main, Rect { width, ..body }), (Part::Entry, entry)];
    }
    if body.height < 24 {
        return vec![(state.part, body)];
    }
    let height = body.height * 9 / 20;
    let entry = Rect { y: body.y + height, height: body.height - height, ..body };
    vec![(Part::Main, Rect { height, ..body }), (Part::Entry, entry)]
}

fn act(list: &mut impl CallList, action: Action, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
    let in_entry = state.part == Part::Entry;
    match (action, &mut state.entry) {
        (Action::Sort | Action::ReverseSort, Some(entry)) if in_entry && entry.detail.shows_table() => {
            entry.detail.act(action, ctx.read_model, 1);
        }
        (
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom,
            _,
        ) => move_in(list, state.part, action, state, ctx),
        (Action::Fold | Action::FoldLevel | Action::UnfoldLevel, entry) => {
            if let Some(entry) = entry.as_mut().filter(|_| in_entry) {
                entry.act(action, ctx.read_model, 1);
            }
        }
        (Action::NextPane | Action::PreviousPane, _) => {
            let order = list.order(state);
            state.turn(order, Direction::backward_if(action == Action::PreviousPane));
        }
        (Action::Open, _) => return open(list, state, ctx),
        (Action::Back, _) => return back(list, state),
        (Action::Filter, Some(_)) if in_entry => return ViewOutcome::change(|model| model.ask_search()),
        (Action::Filter, _) => list.on_query(OnQuery::Edit, &state.rows),
        (Action::CompleteFilter, _) => list.on_query(OnQuery::Complete, &state.rows),
        (Action::NextCall | Action::PreviousCall, _) => {
            list.step_in_lane(Direction::backward_if(action == Action::PreviousCall), &state.rows, ctx.now);
        }
        (Action::Follow, _) => list.follow(),
        (Action::NextTab | Action::PreviousTab, Some(entry)) => {
            entry.detail.turn_tab(Direction::backward_if(action == Action::PreviousTab), ctx.read_model);
        }
        (Action::NextTab | Action::PreviousTab, None) => {}
        (Action::Copy, _) => return copy(list, state, ctx),
        _ => return ViewOutcome::Ignored,
    }
    ViewOutcome::Done
}

fn move_in(list: &mut impl CallList, part: Part, action: Action, state: &mut ViewState, ctx: DrawContext) {
    let page = state.page(part, 4);
    match (part, &mut state.entry) {
        (Part::Entry, Some(entry)) => entry.act(action, ctx.read_model, page),
        (Part::Entry, None) => {}
        _ => list.move_cursor(action, page, &state.rows, ctx.now),
    }
}

fn open(list: &mut impl CallList, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
    if list.query().editing() {
        list.on_query(OnQuery::End { keep: true }, &state.rows);
        return ViewOutcome::Done;
    }
    if state.part == Part::Entry {
        let Some(entry) = &mut state.entry else { return ViewOutcome::Done };
        if let Some(uri) = entry.detail.link_at_cursor() {
            return ViewOutcome::run(move |model| model.follow_link(uri));
        }
        if entry.detail.nested().is_some() {
            return ViewOutcome::change(|model| {
                model.open_nested();
            });
        }
        entry.act(Action::Open, ctx.read_model, 1);
        return ViewOutcome::Done;
    }
    let Some(id) = selected(list, state) else { return ViewOutcome::Done };
    // The open call stays open: following stops.
    list.freeze(&state.rows, ctx.now);
    state.entry.get_or_insert_default().show(id, &state.rows, ctx.read_model);
    state.part = Part::Entry;
    ViewOutcome::Done
}

/// Goes back one step: out of the filter line, the open row, the filter, the zoom.
fn back(list: &mut impl CallList, state: &mut ViewState) -> ViewOutcome {
    if list.query().editing() {
        list.on_query(OnQuery::End { keep: false }, &state.rows);
    } else if state.part == Part::Entry && state.entry.as_mut().is_some_and(|entry| entry.detail.back()) {
        // A frame of the call was open.
    } else if state.entry.is_some() {
        (state.entry, state.part) = (None, Part::Main);
    } else if !list.query().text().is_empty() {
        list.on_query(OnQuery::Set(""), &state.rows);
    } else {
        return ViewOutcome::restore();
    }
    ViewOutcome::Done
}

/// Copies rows that are not calls: a name, a message. Calls have a menu, as everywhere.
fn copy(list: &impl CallList, state: &ViewState, ctx: DrawContext) -> ViewOutcome {
    if list.call(state, ctx).is_some() {
        return ViewOutcome::change(|model| model.ask_copy());
    }
    let material = match &state.entry {
        Some(entry) => entry.copy(),
        None => selected(list, state).and_then(|id| {
            let mut entry = RowDetail::default();
            entry.show(id, &state.rows, ctx.read_model);
            entry.copy()
        }),
    };
    ViewOutcome::copy(material)
}

impl CallList for TrafficView {
    fn list_contexts(&self) -> &'static [Context] {
        &[Context::Table, Context::List, Context::Global]
    }

    fn query(&self) -> &FilterLine {
        TrafficView::query(self)
    }

    fn on_query(&mut self, what: OnQuery, rows: &Rows) {
        TrafficView::on_query(self, what, rows);
    }

    fn selected(&self, rows: &Rows) -> Option<RowId> {
        TrafficView::selected(self, rows)
    }

    fn following(&self) -> bool {
        TrafficView::following(self)
    }

    fn follow(&mut self) {
        TrafficView::follow(self);
    }

    fn freeze(&mut self, rows: &Rows, _now: Stamp) {
        TrafficView::freeze(self, rows);
    }

    fn move_cursor(&mut self, action: Action, page: usize, rows: &Rows, _now: Stamp) {
        if let Some(to) = Move::of(action, page) {
            self.go(to, rows);
        }
    }

    fn click_list(&mut self, found: &HitArea, _cell: Position, rows: &Rows, _now: Stamp) -> bool {
        match found.hit {
            Hit::Column(by) => {
                self.sort(by);
                false
            }
            Hit::Entry(id) => self.click(id, rows),
            _ => false,
        }
    }

    fn fit_list(&mut self, rows: &Rows, _read_model: &ConsoleState, _now: Stamp, area: Rect) {
        self.fit(rows, area);
    }

    fn draw_list(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        TrafficView::draw(self, rows, ctx, area, buf);
    }

    fn side_by_side_from(&self) -> Option<u16> {
        Some(170)
    }

    fn unfinished(&self, rows: &Rows, now: Stamp) -> bool {
        TrafficView::working(self, rows, now)
    }

    fn continue_work(&mut self, rows: &Rows, now: Stamp) {
        TrafficView::work(self, rows, now);
    }
}

impl CallList for Timeline {
    fn list_contexts(&self) -> &'static [Context] {
        &[Context::Timeline, Context::List, Context::Global]
    }

    fn query(&self) -> &FilterLine {
        Timeline::query(self)
    }

    fn on_query(&mut self, what: OnQuery, rows: &Rows) {
        Timeline::on_query(self, what, rows);
    }

    fn selected(&self, rows: &Rows) -> Option<RowId> {
        Timeline::selected(self, rows)
    }

    fn following(&self) -> bool {
        Timeline::following(self)
    }

    fn follow(&mut self) {
        Timeline::follow(self);
    }

    fn freeze(&mut self, _rows: &Rows, now: Stamp) {
        Timeline::freeze(self, now);
    }

    fn move_cursor(&mut self, action: Action, _page: usize, rows: &Rows, now: Stamp) {
        self.go(action, rows, now);
    }

    fn step_in_lane(&mut self, direction: Direction, rows: &Rows, now: Stamp) -> bool {
        self.step(direction, rows, now);
        true
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn click_list(&mut self, found: &HitArea, cell: Position, _rows: &Rows, now: Stamp) -> bool {
        matches!(found.hit, Hit::Lanes) && self.click(found.area, cell, now)
    }

    fn fit_list(&mut self, rows: &Rows, read_model: &ConsoleState, now: Stamp, area: Rect) {
        Timeline::fit(self, rows, read_model, now, area);
    }

    fn draw_list(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        Timeline::draw(self, rows, ctx, area, buf);
    }

    fn animated(&self, rows: &Rows, now: Stamp) -> bool {
        Timeline::moving(self, rows, now)
    }

    fn unfinished(&self, rows: &Rows, _now: Stamp) -> bool {
        Timeline::working(self, rows)
    }

    fn continue_work(&mut self, rows: &Rows, _now: Stamp) {
        Timeline::work(self, rows);
    }
}

//! The health view: keys, mouse and layout of its pages.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    action::Action,
    background::Material,
    hits::{Hit, Owner},
    keymap::Context,
    pane::{
        DrawContext,
        health::{Health, Page, Subject, routes::RouteTarget},
    },
    widget::window::{Direction, Move},
};

use super::{Part, View, ViewInput, ViewOutcome, ViewState};

impl View for Health {
    fn contexts(&self, state: &ViewState) -> &'static [Context] {
        match state.part {
            _ if self.lines.editing() => &[Context::Query],
            Part::Lines => &[Context::Lines, Context::List, Context::Global],
            _ => &[Context::Health, Context::List, Context::Global],
        }
    }

    fn typing(&self, _state: &ViewState) -> bool {
        self.lines.editing()
    }

    fn enabled(&self, action: Action, state: &ViewState, _ctx: DrawContext) -> Option<bool> {
        Some(match action {
            Action::Cancel | Action::SendAgain | Action::EditAgain => false,
            Action::Follow => !self.lines.following(),
            Action::Open => state.part == Part::Main || self.lines.editing(),
            Action::Fold => self.page == Page::Table && state.part == Part::Main,
            Action::FoldLevel | Action::UnfoldLevel | Action::NextCall | Action::PreviousCall | Action::CompleteFilter => false,
            Action::NextTab | Action::PreviousTab => true,
            Action::Restart | Action::Disable | Action::Refresh => self.subject().is_some(),
            Action::NextPane => self.order(state).len() > 1,
            Action::Back => true,
            _ => return None,
        })
    }

    fn handle(&mut self, input: ViewInput, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match input {
            ViewInput::Action(action) => return self.act(action, state, ctx),
            ViewInput::Key(key) if self.lines.editing() => self.lines.key(key),
            ViewInput::Paste(text) if self.lines.editing() => self.lines.paste(text),
            ViewInput::Key(_) | ViewInput::Paste(_) => return ViewOutcome::Ignored,
            ViewInput::Wheel(Owner::Part(part), action) => self.move_in(part, action, state, ctx),
            ViewInput::Wheel(..) => return ViewOutcome::Ignored,
            ViewInput::Click(found, _) => match (state.press(found), &found.hit, state.part) {
                (Some(_), Hit::Tab(tab), Part::Lines) => self.lines.set_tab(*tab),
                (Some(_), Hit::Query, _) => self.lines.edit(),
                (Some(focused), Hit::Row(row), Part::Main) if self.click(*row) && focused => return ViewOutcome::act(Action::Open),
                _ => {}
            },
        }
        ViewOutcome::Done
    }

    fn order(&self, _state: &ViewState) -> &'static [Part] {
        if self.page == Page::Table { &[Part::Main, Part::Facts, Part::Lines] } else { &[Part::Main] }
    }

    fn fit(&mut self, state: &mut ViewState, ctx: DrawContext, body: Rect, zoom: bool) {
        if !self.order(state).contains(&state.part) {
            state.part = Part::Main;
        }
        // The height of the list depends on its rows.
        Health::fit(self, ctx.read_model, state.place(Part::Main));
        state.places = self.places(state.part, body, zoom);
        Health::fit(self, ctx.read_model, state.place(Part::Main));
    }

    fn draw(&mut self, state: &mut ViewState, ctx: DrawContext, buf: &mut Buffer) {
        state.draw_parts(ctx, |_, part, ctx, place| match part {
            Part::Facts => self.facts.draw(self.selected(), ctx, place, buf),
            Part::Lines => {
                let server = self.selected().map(|s| s.server.clone());
                self.lines.draw(server.as_ref(), ctx, place, buf);
            }
            _ => Health::draw(self, ctx, place, buf),
        });
    }

    fn moving(&self, _state: &ViewState, ctx: DrawContext) -> bool {
        // The rates change as the minute passes.
        ctx.read_model.stats.per_minute(ctx.now) > 0
    }
}

impl Health {
    fn act(&mut self, action: Action, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match action {
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.move_in(state.part, action, state, ctx);
            }
            Action::Fold => self.fold(None),
            Action::FoldLevel | Action::UnfoldLevel | Action::CompleteFilter | Action::NextCall | Action::PreviousCall => {}
            Action::NextPane | Action::PreviousPane => {
                let order = self.order(state);
                state.turn(order, Direction::backward_if(action == Action::PreviousPane));
            }
            Action::Open if self.lines.editing() => self.lines.finish_edit(),
            Action::Open if state.part == Part::Main => return self.open_row(),
            Action::Open => {}
            Action::Back => return self.back(state),
            Action::Filter => {
                state.part = Part::Lines;
                self.lines.edit();
            }
            Action::Follow => self.lines.follow(),
            Action::NextTab | Action::PreviousTab => self.lines.switch_source(),
            Action::Copy => {
                return ViewOutcome::copy(self.selected().map(|Subject { server, tool }| {
                    let name = tool.as_ref().map_or(server.to_string(), |t| t.to_string());
                    Material { pieces: vec![name.into()], decode: false }
                }));
            }
            _ => return ViewOutcome::Ignored,
        }
        ViewOutcome::Done
    }

    fn move_in(&mut self, part: Part, action: Action, state: &ViewState, ctx: DrawContext) {
        let to = Move::of(action, state.page(part, 4));
        match (part, to) {
            (Part::Main, Some(to)) => self.go(to),
            (Part::Main, None) => match self.page {
                Page::Table => self.fold(Some(action == Action::Right)),
                Page::Breakers => self.breakers.sideways(Direction::backward_if(action == Action::Left)),
                Page::Routes | Page::Clients => {}
            },
            (Part::Facts, Some(to)) => {
                let subject = self.selected().cloned();
                self.facts.go(to, subject.as_ref(), ctx, state.place(part).unwrap_or_default());
            }
            (Part::Lines, Some(to)) => self.lines.go(to),
            _ => {}
        }
    }

    /// Opens the row under the cursor of a page.
    fn open_row(&mut self) -> ViewOutcome {
        match self.page {
            Page::Table => self.fold(None),
            Page::Breakers => {
                let meant = self.subject();
                self.show_page(Page::Table, meant.as_ref());
            }
            Page::Routes => match self.routes.target() {
                RouteTarget::Server(server) => self.show_page(Page::Table, Some(&Subject { server, tool: None })),
                RouteTarget::Call(call) => return ViewOutcome::change(move |model| model.open_call(call)),
                RouteTarget::Nothing => {}
            },
            Page::Clients => {
                if let Some(client) = self.clients.selected() {
                    return ViewOutcome::change(move |model| model.show_calls_of(client));
                }
            }
        }
        ViewOutcome::Done
    }

    /// Goes back one step: out of the search line, the search, the pane, the page, the zoom.
    fn back(&mut self, state: &mut ViewState) -> ViewOutcome {
        match state.part {
            _ if self.lines.editing() => self.lines.cancel_edit(),
            Part::Lines if self.lines.clear() => {}
            Part::Facts | Part::Lines => state.part = Part::Main,
            _ if self.page != Page::Table => self.page = Page::Table,
            _ => return ViewOutcome::restore(),
        }
        ViewOutcome::Done
    }

    fn places(&self, part: Part, body: Rect, zoom: bool) -> Vec<(Part, Rect)> {
        if zoom || body.height < 18 || self.page != Page::Table {
            return vec![(part, body)];
        }
        let height = self.preferred_height().clamp(5, body.height * 2 / 5);
        let top = Rect { height, ..body };
        let rest = Rect { y: body.y + height, height: body.height - height, ..body };
        if body.width < 96 {
            let below = if part == Part::Lines { Part::Lines } else { Part::Facts };
            return vec![(Part::Main, top), (below, rest)];
        }
        let width = (rest.width * 11 / 20).min(84);
        let lines = Rect { x: rest.x + width, width: rest.width - width, ..rest };
        vec![(Part::Main, top), (Part::Facts, Rect { width, ..rest }), (Part::Lines, lines)]
    }
}

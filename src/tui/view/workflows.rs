//! The workflows view: keys, mouse and layout of the list, the graph, the input and the steps.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::body::Body,
    tui::{
        action::Action,
        background::Material,
        hits::{Hit, Owner},
        keymap::Context,
        pane::{DrawContext, workflows::WorkflowsPane},
        widget::{
            arguments::KeyOutcome,
            form::FormView,
            window::{Direction, Move},
        },
    },
};

use super::{Part, View, ViewId, ViewInput, ViewOutcome, ViewState};

impl View for WorkflowsPane {
    fn contexts(&self, state: &ViewState) -> &'static [Context] {
        match state.part {
            Part::Input if self.input.arguments().wants_text() => &[Context::InputText],
            Part::Input => &[Context::Input, Context::Form, Context::Global],
            Part::Main => &[Context::Workflows, Context::List, Context::Global],
            Part::Step => &[Context::Graph, Context::Value, Context::List, Context::Global],
            _ => &[Context::Graph, Context::List, Context::Global],
        }
    }

    fn typing(&self, state: &ViewState) -> bool {
        state.part == Part::Input && self.input.arguments().wants_text()
    }

    fn takes_key(&self, key: KeyEvent, _enabled: bool, state: &ViewState) -> bool {
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        let typing = self.typing(state);
        if !plain || state.part != Part::Input {
            return false;
        }
        match key.code {
            KeyCode::Tab | KeyCode::BackTab => true,
            KeyCode::Enter => typing,
            // Escape leaves the JSON editor, and only ends the typing elsewhere.
            KeyCode::Esc => typing && !self.input.arguments().editing_json(),
            _ => false,
        }
    }

    fn enabled(&self, action: Action, state: &ViewState, ctx: DrawContext) -> Option<bool> {
        let run = self.run(ctx.read_model);
        let running = run.is_some_and(|run| run.report.is_none());
        let plan = self.flow(ctx.read_model).is_some_and(|flow| flow.plan.is_ok());
        Some(match action {
            Action::RunWorkflow | Action::DryRun => plan,
            Action::RunAgain | Action::EditAgain => plan && run.is_some(),
            Action::RunFrom => plan && !running && run.is_some() && self.selected().is_some(),
            Action::ResumeRun => !running && self.interrupted(ctx.read_model).is_some(),
            Action::Cancel => running,
            Action::CancelStep => running && self.selected().is_some(),
            Action::EditWorkflow => self.flow(ctx.read_model).is_some(),
            Action::Open => state.part != Part::Steps || run.is_some(),
            Action::NextTab | Action::PreviousTab => state.part == Part::Step,
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => state.part == Part::Step && self.detail.can_fold(),
            Action::ToggleJson | Action::Reset => plan,
            Action::Undo => state.part == Part::Input && self.input.arguments().can_undo(),
            Action::InsertValue => state.part == Part::Input && self.input.arguments().field().is_some(),
            Action::NextPane | Action::Back => true,
            Action::SendAgain
            | Action::Filter
            | Action::Send
            | Action::SendUnchecked
            | Action::Follow
            | Action::Search
            | Action::Save
            | Action::Restart
            | Action::Disable
            | Action::Refresh
            | Action::NextCall
            | Action::PreviousCall
            | Action::CompleteFilter => false,
            _ => return None,
        })
    }

    fn takes_lines(&self, state: &ViewState) -> bool {
        state.part == Part::Input
    }

    fn label(&self, action: Action, _state: &ViewState, _ctx: DrawContext) -> Option<&'static str> {
        (action == Action::ToggleJson && self.input.arguments().editing_json()).then_some("as form")
    }

    fn handle(&mut self, input: ViewInput, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match input {
            ViewInput::Action(action) => self.act(action, state, ctx),
            ViewInput::Key(key) if state.part == Part::Input => match self.input.arguments_mut().key(key) {
                KeyOutcome::Stay => ViewOutcome::Done,
                KeyOutcome::Send => ViewOutcome::run(|model| model.run_workflow()),
                KeyOutcome::Leave => self.back(state),
                KeyOutcome::Next => ViewOutcome::act(Action::NextPane),
                KeyOutcome::Previous => ViewOutcome::act(Action::PreviousPane),
            },
            ViewInput::Paste(text) if state.part == Part::Input => {
                self.input.arguments_mut().paste(text);
                ViewOutcome::Done
            }
            ViewInput::Key(_) | ViewInput::Paste(_) => ViewOutcome::Ignored,
            ViewInput::Wheel(Owner::Part(part), action) => {
                // The wheel scrolls the graph, and selects nothing in it.
                if part == Part::Graph && !self.broken(ctx.read_model) {
                    self.chart.wheel(action, state.place(part).unwrap_or_default());
                } else {
                    self.move_in(part, action, state, ctx);
                }
                ViewOutcome::Done
            }
            ViewInput::Wheel(..) => ViewOutcome::Ignored,
            ViewInput::Click(found, _) => match state.press(found) {
                Some(focused) if self.click_part(state.part, &found.hit) && focused => ViewOutcome::act(Action::Open),
                _ => ViewOutcome::Done,
            },
        }
    }

    fn order(&self, state: &ViewState) -> &'static [Part] {
        self.parts(state.part)
    }

    fn fit(&mut self, state: &mut ViewState, ctx: DrawContext, body: Rect, zoom: bool) {
        WorkflowsPane::fit(self, ctx.read_model, state.place(Part::Main), state.place(Part::Graph));
        if !self.order(state).contains(&state.part) {
            state.part = Part::Main;
        }
        state.places = if zoom { vec![(state.part, body)] } else { self.places(state.part, body) };
        WorkflowsPane::fit(self, ctx.read_model, state.place(Part::Main), state.place(Part::Graph));
    }

    fn draw(&mut self, state: &mut ViewState, ctx: DrawContext, buf: &mut Buffer) {
        state.draw_parts(ctx, |_, part, ctx, place| match part {
            Part::Graph => self.draw_chart(ctx, place, buf),
            Part::Input => self.input.draw(ctx, place, buf),
            Part::Steps => self.draw_steps(ctx, place, buf),
            Part::Step => self.draw_step(ctx, place, buf),
            _ => self.draw_list(ctx, place, buf),
        });
    }

    fn form_mut(&mut self, state: &ViewState) -> Option<&mut FormView> {
        if state.part == Part::Input { self.input.arguments_mut().form_mut() } else { None }
    }

    fn moving(&self, _state: &ViewState, ctx: DrawContext) -> bool {
        ctx.read_model.runs.running > 0
    }
}

impl WorkflowsPane {
    fn act(&mut self, action: Action, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        match action {
            Action::RunWorkflow => return ViewOutcome::run(|model| model.run_workflow()),
            Action::DryRun => return ViewOutcome::change(|model| model.dry_run()),
            Action::RunAgain | Action::SendAgain => return ViewOutcome::run(|model| model.run_again(None)),
            Action::RunFrom => return ViewOutcome::run(|model| model.run_from()),
            Action::ResumeRun => return ViewOutcome::run(|model| model.resume_run()),
            Action::Cancel => return ViewOutcome::run(|model| model.cancel_run()),
            Action::CancelStep => return ViewOutcome::run(|model| model.cancel_step()),
            Action::Filter => {
                return ViewOutcome::run(|model| {
                    model.views.show(ViewId::Console);
                    model.act(Action::Filter)
                });
            }
            Action::EditWorkflow => return ViewOutcome::run(|model| model.edit_workflow()),
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.move_in(state.part, action, state, ctx);
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => {
                if state.part == Part::Step {
                    self.detail.act(action);
                }
            }
            Action::NextPane | Action::PreviousPane => {
                let order = self.order(state);
                state.turn(order, Direction::backward_if(action == Action::PreviousPane));
            }
            Action::Open => return self.open(state, ctx),
            Action::Back => return self.back(state),
            Action::NextTab | Action::PreviousTab => self.detail.switch_side(),
            Action::ToggleJson => self.input.arguments_mut().toggle_json(),
            Action::Reset => {
                let cleared = self.input.arguments_mut().reset();
                return ViewOutcome::change(move |model| model.say_undo(cleared));
            }
            Action::Undo => self.input.arguments_mut().undo(),
            Action::Copy => return self.copy(state, ctx),
            Action::EditAgain => {
                if let Some(run) = self.run(ctx.read_model) {
                    self.input.arguments_mut().set_values(&run.input);
                    self.open_input(state);
                }
            }
            // Actions of the console or the traffic would change panes that are not visible here.
            Action::Send
            | Action::SendUnchecked
            | Action::Burst
            | Action::Watch
            | Action::Subscribe
            | Action::Follow
            | Action::Search
            | Action::JsonPath
            | Action::CompleteFilter
            | Action::NextCall
            | Action::PreviousCall
            | Action::Save => {}
            _ => return ViewOutcome::Ignored,
        }
        ViewOutcome::Done
    }

    /// Goes to the form.
    pub fn open_input(&mut self, state: &mut ViewState) {
        state.part = Part::Input;
        self.input.arguments_mut().begin();
    }

    fn open(&mut self, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome {
        let ran = self.run(ctx.read_model).is_some();
        match state.part {
            Part::Main if self.on_earlier() => state.part = Part::Graph,
            Part::Main | Part::Graph if self.broken(ctx.read_model) => return ViewOutcome::run(|model| model.edit_workflow()),
            Part::Main => self.open_input(state),
            Part::Graph | Part::Steps if ran => state.part = Part::Step,
            Part::Graph => self.open_input(state),
            Part::Input => return ViewOutcome::run(|model| model.run_workflow()),
            _ => self.detail.act(Action::Open),
        }
        ViewOutcome::Done
    }

    fn back(&mut self, state: &mut ViewState) -> ViewOutcome {
        match state.part {
            Part::Step => state.part = if state.places.len() == 1 { Part::Steps } else { Part::Graph },
            Part::Main => return ViewOutcome::restore(),
            _ => state.part = Part::Main,
        }
        ViewOutcome::Done
    }

    /// Moves the cursor of a part, whether it has the focus or not.
    fn move_in(&mut self, part: Part, action: Action, state: &ViewState, ctx: DrawContext) {
        let place = state.place(part).unwrap_or_default();
        let to = Move::of(action, state.page(part, 3));
        match (part, to) {
            (Part::Main, Some(to)) => self.go(to),
            (Part::Graph, Some(to)) if self.broken(ctx.read_model) => {
                let mut chart = std::mem::take(&mut self.chart);
                if let Some(Err(problems)) = self.flow(ctx.read_model).map(|flow| &flow.plan) {
                    chart.scroll_problems(to, problems, ctx, place);
                }
                self.chart = chart;
            }
            (Part::Graph, _) => match self.chart.step(self.selected(), action) {
                Some(step) => self.select(Some(step)),
                None => {
                    self.select(None);
                    self.chart.scroll(action, place);
                }
            },
            (Part::Steps, Some(to)) => {
                let step = self.steps.step(to);
                self.select(step);
            }
            (Part::Step, _) => self.detail.act(action),
            _ => {}
        }
    }

    fn copy(&mut self, state: &ViewState, ctx: DrawContext) -> ViewOutcome {
        let body = match state.part {
            Part::Step => self.detail.copy(),
            Part::Input => Some(self.input.arguments().entered()),
            _ => self.name(ctx.read_model).map(|name| Body::from(&*name)),
        };
        ViewOutcome::copy(Some(Material { pieces: body.into_iter().collect(), decode: false }))
    }

    /// Handles a click on a part; returns whether the clicked row was selected already.
    fn click_part(&mut self, part: Part, hit: &Hit) -> bool {
        match (part, hit) {
            (Part::Main, Hit::Row(row)) => self.click(*row),
            (Part::Graph, Hit::Row(step)) => {
                let Some(step) = self.chart.id(*step) else { return false };
                let same = self.selected() == Some(&step);
                self.select(Some(step));
                same
            }
            (Part::Steps, Hit::Row(line)) => {
                let Some(step) = self.steps.path(*line) else { return false };
                let same = self.selected() == step.as_ref();
                self.select(step);
                same
            }
            (Part::Step, Hit::Tab(tab)) => {
                self.detail.set_tab(*tab);
                false
            }
            (Part::Input, hit) => {
                self.input.arguments_mut().click(hit);
                false
            }
            _ => false,
        }
    }
}

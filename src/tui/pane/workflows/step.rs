//! The step pane: the arguments and the result of the selected step, side by side where there is room. For the whole run:
//! input, output, failures and compensation.

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        body::Body,
        run::{RunId, StepError, StepState, StepView},
        time::short,
    },
    state::runs::RunView,
    tui::{
        action::Action,
        hits::Hit,
        pane::{DrawContext, text_view::TextView},
        widget::{
            json::JsonView,
            paint::{Pen, padded, pane},
            window::Window,
        },
    },
};

use super::{WorkflowsPane, state};

/// The pane width from which on both sides are shown.
const BOTH_SIDES: u16 = 64;

/// A side of the pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Side {
    /// The arguments of a step or the input of a run.
    #[default]
    Input,
    /// The result of a step or the output of a run.
    Output,
}

/// The values of the selected step or run.
#[derive(Default)]
pub struct StepPane {
    run: Option<RunId>,
    path: Option<Arc<str>>,
    input: (Body, Option<JsonView>),
    output: (Body, Option<JsonView>),
    side: Side,
}

impl StepPane {
    /// Shows a step of a run or the whole run. Unchanged values keep their cursor and folds.
    pub(super) fn show(&mut self, run: Option<&Arc<RunView>>, path: Option<&Arc<str>>) {
        let id = run.map(|run| run.id);
        let fresh = self.run != id || self.path.as_ref() != path;
        if fresh {
            *self = StepPane { run: id, path: path.cloned(), ..StepPane::default() };
        }
        let had = self.output.1.is_some();
        let (input, output) = match (run, path) {
            (Some(run), Some(path)) => match run.step(path) {
                Some(view) => (view.arguments.clone(), view.result.clone()),
                None => (None, None),
            },
            (Some(run), None) => (Some(run.input.clone()), run.report.as_ref().and_then(|report| report.output.clone())),
            (None, _) => (None, None),
        };
        for (slot, body) in [(&mut self.input, input), (&mut self.output, output)] {
            let body = body.unwrap_or_default();
            if slot.0 != body {
                let view = (!body.is_empty()).then(|| JsonView::json(body.clone()));
                *slot = (body, view);
            }
        }
        // Where only one side fits, a new output is shown.
        if self.output.1.is_some() && (fresh || !had) {
            self.side = Side::Output;
        }
    }

    /// Switches to the other side.
    pub fn switch_side(&mut self) {
        self.side = if self.side == Side::Input { Side::Output } else { Side::Input };
    }

    /// Shows a side by the index of its tab.
    pub fn set_tab(&mut self, tab: usize) {
        self.side = if tab == 0 { Side::Input } else { Side::Output };
    }

    fn view(&mut self) -> Option<&mut JsonView> {
        match self.side {
            Side::Input => self.input.1.as_mut(),
            Side::Output => self.output.1.as_mut(),
        }
    }

    /// Passes an action to the value.
    pub fn act(&mut self, action: Action) {
        if let Some(view) = self.view() {
            view.act(action);
        }
    }

    /// Returns whether a foldable value is shown.
    pub fn can_fold(&self) -> bool {
        let view = if self.side == Side::Input { &self.input.1 } else { &self.output.1 };
        view.as_ref().is_some_and(JsonView::is_tree)
    }

    /// Returns the value under the cursor for copying.
    pub fn copy(&mut self) -> Option<Body> {
        self.view().map(|view| view.copy_value())
    }
}

impl WorkflowsPane {
    /// Draws the selected step.
    pub fn draw_step(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let run = self.run(ctx.read_model).cloned();
        let title = if ctx.focused { theme.focus } else { theme.text };
        let Some(run) = run else {
            let inner = pane(buf, area, &[("Step", title)], &[], ctx.focused, theme);
            Pen::new(buf, inner, 0).skip(1).put("No run yet", theme.muted);
            return;
        };
        let view = self.step.as_ref().map(|path| run.step(path).cloned().unwrap_or_default());
        let (name, (glyph, style), words) = match (&self.step, &view) {
            (Some(path), Some(view)) => (path.to_string(), state::of_step(view, ctx), step_words(view, ctx)),
            _ => {
                let (glyph, words, style) = state::of_run(&run, ctx);
                (format!("run {}", run.id.short()), (glyph, style), words.to_owned())
            }
        };
        let inner = pane(buf, area, &[(&name, title)], &[(glyph, style), (" ", style), (&words, style)], ctx.focused, theme);
        let inner = padded(inner);
        let text = match &view {
            Some(view) => step_text(view, &run, self.step.as_deref(), ctx, inner.width),
            None => run_text(&run, ctx, inner.width),
        };
        let high = (text.len() as u16).min(inner.height * 3 / 5);
        text.draw(buf, Rect { height: high, ..inner }, Window::default());
        let rest = Rect { y: inner.y + high, height: inner.height - high, ..inner };
        let names = if view.is_some() { ["arguments", "result"] } else { ["input", "output"] };
        self.detail.draw_sides(names, ctx, rest, buf);
    }
}

impl StepPane {
    fn draw_sides(&mut self, names: [&str; 2], ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let half = area.width / 2;
        let both = area.width >= BOTH_SIDES;
        let sides = [(Side::Input, names[0]), (Side::Output, names[1])];
        for (index, (side, name)) in sides.into_iter().enumerate() {
            if !both && side != self.side {
                continue;
            }
            let place = match (both, index) {
                (false, _) => area,
                (true, 0) => Rect { width: half.saturating_sub(1), ..area },
                (true, _) => Rect { x: area.x + half, width: area.width - half, ..area },
            };
            let active = side == self.side;
            let heads: Vec<(&str, bool)> = if both { vec![(name, active)] } else { sides.map(|(s, name)| (name, s == self.side)).to_vec() };
            let mut pen = Pen::new(buf, place, 0);
            for (place, (name, active)) in heads.iter().enumerate() {
                let style = match (active, ctx.focused) {
                    (true, true) => ctx.theme.focus.add_modifier(Modifier::UNDERLINED),
                    (true, false) => ctx.theme.text.add_modifier(Modifier::BOLD),
                    _ => ctx.theme.muted,
                };
                pen.put(if place > 0 { "  " } else { "" }, ctx.theme.muted);
                let start = pen.x();
                pen.put(name, style);
                ctx.hits.add(pen.since(start), Hit::Tab(if both { index } else { place }));
            }
            let body = Rect { y: place.y + 1.min(place.height), height: place.height.saturating_sub(1), ..place };
            let view = if side == Side::Input { &mut self.input.1 } else { &mut self.output.1 };
            match view {
                Some(view) => view.draw(body, buf, ctx.theme, ctx.focused && active, ctx.hits),
                None => drop(Pen::new(buf, body, 0).put("none", ctx.theme.muted)),
            }
        }
    }
}

fn step_words(view: &StepView, ctx: DrawContext) -> String {
    let mut words = state::words(view);
    if let Some(took) = view.took(ctx.now).filter(|_| !matches!(view.state, StepState::Pending)) {
        words.push_str(&format!(" · {}", short(took)));
    }
    if let Some(items) = view.items {
        words.push_str(&format!(" · {} of {}", items.done, items.total));
        if items.failed > 0 {
            words.push_str(&format!(", {} failed", items.failed));
        }
    } else if view.attempts > 1 {
        words.push_str(&format!(" · {} attempts", view.attempts));
    }
    words
}

/// Lays out a step's call, reason or error.
fn step_text<'t>(view: &StepView, run: &RunView, path: Option<&str>, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let theme = ctx.theme;
    let mut out = TextView::new(theme, width);
    if let Some(step) = run.plan.steps.iter().find(|step| Some(&*step.id) == path) {
        out.field("call", &step.what, theme.accent);
    }
    match &view.state {
        StepState::Failed { error } | StepState::CompensationFailed { error } => error_rows(error, theme.fail, &mut out),
        state => {
            if let Some(why) = state.why() {
                out.field("why", why, theme.text);
            }
        }
    }
    if let Some(what) = &view.fallback {
        out.field("answered by", what, theme.warn);
    }
    if view.cut {
        out.field("", "cut: the value is too long to show", theme.muted);
    }
    out
}

fn error_rows(error: &StepError, style: Style, out: &mut TextView) {
    out.field("error", &error.message, style);
    for line in &error.detail {
        out.field("", &line.to_string(), style);
    }
    if error.may_have_run {
        out.field("", "It may still have taken effect.", style);
    }
}

/// Cells of the label column of a run. The longest label is `not compensated`.
const RUN_LABEL: u16 = 16;

/// Lays out a run's start and outcome.
fn run_text<'t>(run: &RunView, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let theme = ctx.theme;
    let mut out = TextView::new(theme, width).with_label_width(RUN_LABEL);
    out.field("started", &ctx.read_model.epoch.time_of_day(run.started), theme.text);
    let Some(report) = &run.report else { return out };
    let (_, style) = state::of_outcome(report.outcome, theme);
    out.field("ended", &format!("{} after {}", report.outcome.words(), short(report.took())), style);
    if let Some(why) = &report.why {
        out.field("why", why, theme.fail);
    }
    for line in &report.detail {
        out.field("", line, theme.text);
    }
    if !report.compensated.is_empty() {
        out.field("compensated", &report.compensated.join(", "), theme.warn);
    }
    for (step, why) in &report.not_compensated {
        out.field("not compensated", &format!("{step}: {why}"), theme.fail);
    }
    out
}

//! What the selected step was given and what it gave, side by side where there is room; of a run as a whole its
//! input, its output, what failed and what was undone.

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        body::Body,
        read_model_runs::RunView,
        run::{RunId, StepError, StepState, StepView},
        time::short,
    },
    tui::{
        action::Action,
        pane::{DrawContext, text_view::Sheet},
        widget::{
            json::JsonView,
            paint::{Pen, pane},
            window::Window,
        },
    },
};

use super::{Flows, state};

/// From this width on both sides stand beside each other.
const BESIDE: u16 = 64;

/// A side of the pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Side {
    /// What was given.
    #[default]
    Given,
    /// What came of it.
    Came,
}

/// What is shown of which step.
#[derive(Default)]
pub struct StepPane {
    run: Option<RunId>,
    path: Option<Arc<str>>,
    given: (Body, Option<JsonView>),
    came: (Body, Option<JsonView>),
    side: Side,
}

impl StepPane {
    /// Turns to a step of a run, or to the run as a whole; what is read in stays where it is while it is the same.
    pub(super) fn show(&mut self, run: Option<&Arc<RunView>>, path: Option<&Arc<str>>) {
        let id = run.map(|run| run.id);
        let fresh = self.run != id || self.path.as_ref() != path;
        if fresh {
            *self = StepPane { run: id, path: path.cloned(), ..StepPane::default() };
        }
        let had = self.came.1.is_some();
        let (given, came) = match (run, path) {
            (Some(run), Some(path)) => match run.step(path) {
                Some(view) => (view.arguments.clone(), view.result.clone()),
                None => (None, None),
            },
            (Some(run), None) => (Some(run.input.clone()), run.report.as_ref().and_then(|report| report.output.clone())),
            (None, _) => (None, None),
        };
        for (slot, body) in [(&mut self.given, given), (&mut self.came, came)] {
            let body = body.unwrap_or_default();
            if slot.0 != body {
                let view = (!body.is_empty()).then(|| JsonView::json(body.clone()));
                *slot = (body, view);
            }
        }
        // Where only one side has room, what came of it is the one to see.
        if self.came.1.is_some() && (fresh || !had) {
            self.side = Side::Came;
        }
    }

    /// The other side.
    pub fn turn(&mut self) {
        self.side = if self.side == Side::Given { Side::Came } else { Side::Given };
    }

    fn view(&mut self) -> Option<&mut JsonView> {
        match self.side {
            Side::Given => self.given.1.as_mut(),
            Side::Came => self.came.1.as_mut(),
        }
    }

    /// Does what an action means in a value.
    pub fn act(&mut self, action: Action) {
        if let Some(view) = self.view() {
            view.act(action);
        }
    }

    /// Whether there is a value to be folded.
    pub fn can_fold(&self) -> bool {
        let view = if self.side == Side::Given { &self.given.1 } else { &self.came.1 };
        view.as_ref().is_some_and(JsonView::is_tree)
    }

    /// What can be copied: the value under the cursor.
    pub fn copy(&mut self) -> Option<Body> {
        self.view().map(|view| view.copy_value())
    }
}

impl Flows {
    /// Draws the selected step.
    pub fn draw_step(&mut self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let run = self.run(look.read_model).cloned();
        let title = if look.focused { theme.focus } else { theme.text };
        let Some(run) = run else {
            let inner = pane(buf, area, &[("Step", title)], &[], look.focused, theme);
            Pen::new(buf, inner, 0).skip(1).put("Nothing has run yet.", theme.muted);
            return;
        };
        let view = self.step.as_ref().map(|path| run.step(path).cloned().unwrap_or_default());
        let (name, (glyph, style), words) = match (&self.step, &view) {
            (Some(path), Some(view)) => (path.to_string(), state::of_step(view, look), step_words(view, look)),
            _ => {
                let (glyph, words, style) = state::of_run(&run, look);
                (format!("run {}", run.id.short()), (glyph, style), words.to_owned())
            }
        };
        let inner = pane(buf, area, &[(&name, title)], &[(glyph, style), (" ", style), (&words, style)], look.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        let told = match &view {
            Some(view) => step_sheet(view, &run, self.step.as_deref(), look, inner.width),
            None => run_sheet(&run, look, inner.width),
        };
        let high = (told.len() as u16).min(inner.height * 3 / 5);
        told.draw(buf, Rect { height: high, ..inner }, Window::default());
        let rest = Rect { y: inner.y + high, height: inner.height - high, ..inner };
        let names = if view.is_some() { ["arguments", "result"] } else { ["input", "output"] };
        self.detail.draw_sides(names, look, rest, buf);
    }
}

impl StepPane {
    fn draw_sides(&mut self, names: [&str; 2], look: DrawContext, area: Rect, buf: &mut Buffer) {
        let half = area.width / 2;
        let beside = area.width >= BESIDE;
        let sides = [(Side::Given, names[0]), (Side::Came, names[1])];
        for (index, (side, name)) in sides.into_iter().enumerate() {
            if !beside && side != self.side {
                continue;
            }
            let place = match (beside, index) {
                (false, _) => area,
                (true, 0) => Rect { width: half.saturating_sub(1), ..area },
                (true, _) => Rect { x: area.x + half, width: area.width - half, ..area },
            };
            let here = side == self.side;
            let heads: Vec<(&str, bool)> = if beside { vec![(name, here)] } else { sides.map(|(s, name)| (name, s == self.side)).to_vec() };
            let mut pen = Pen::new(buf, place, 0);
            for (index, (name, here)) in heads.iter().enumerate() {
                let style = match (here, look.focused) {
                    (true, true) => look.theme.focus.add_modifier(Modifier::UNDERLINED),
                    (true, false) => look.theme.text.add_modifier(Modifier::BOLD),
                    _ => look.theme.muted,
                };
                pen.put(if index > 0 { "  " } else { "" }, look.theme.muted).put(name, style);
            }
            let body = Rect { y: place.y + 1.min(place.height), height: place.height.saturating_sub(1), ..place };
            let view = if side == Side::Given { &mut self.given.1 } else { &mut self.came.1 };
            match view {
                Some(view) => view.draw(body, buf, look.theme, look.focused && here),
                None => drop(Pen::new(buf, body, 0).put("nothing", look.theme.muted)),
            }
        }
    }
}

fn step_words(view: &StepView, look: DrawContext) -> String {
    let mut words = state::words(view);
    if let Some(took) = view.took(look.now).filter(|_| !matches!(view.state, StepState::Pending)) {
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

/// Why a step stands as it does.
fn step_sheet<'t>(view: &StepView, run: &RunView, path: Option<&str>, look: DrawContext<'t>, width: u16) -> Sheet<'t> {
    let theme = look.theme;
    let mut sheet = Sheet::new(theme, width);
    if let Some(step) = run.plan.steps.iter().find(|step| Some(&*step.id) == path) {
        sheet.field("does", &step.what, theme.accent);
    }
    match &view.state {
        StepState::Failed { error } | StepState::CompensationFailed { error } => error_rows(error, theme.fail, &mut sheet),
        state => {
            if let Some(why) = state.why() {
                sheet.field("why", why, theme.text);
            }
        }
    }
    if let Some(what) = &view.fallback {
        sheet.field("answered by", what, theme.warn);
    }
    if view.cut {
        sheet.field("", "what is shown here is cut: it is very long", theme.muted);
    }
    sheet
}

fn error_rows(error: &StepError, style: Style, sheet: &mut Sheet) {
    sheet.field("error", &error.message, style);
    for line in &error.detail {
        sheet.field("", &line.to_string(), style);
    }
    if error.may_have_run {
        sheet.field("", "It may have had an effect all the same.", style);
    }
}

/// How a run ended.
fn run_sheet<'t>(run: &RunView, look: DrawContext<'t>, width: u16) -> Sheet<'t> {
    let theme = look.theme;
    let mut sheet = Sheet::new(theme, width);
    sheet.field("began", &look.read_model.epoch.time_of_day(run.started), theme.text);
    let Some(report) = &run.report else { return sheet };
    let (_, style) = state::of_outcome(report.outcome, theme);
    sheet.field("ended", &format!("{} after {}", report.outcome.words(), short(report.took())), style);
    if let Some(why) = &report.why {
        sheet.field("why", why, theme.fail);
    }
    for line in &report.detail {
        sheet.field("", line, theme.text);
    }
    if !report.compensated.is_empty() {
        sheet.field("undone", &report.compensated.join(", "), theme.warn);
    }
    for (step, why) in &report.not_compensated {
        sheet.field("not undone", &format!("{step}: {why}"), theme.fail);
    }
    sheet
}

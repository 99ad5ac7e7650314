//! The waterfall of a run: a line for the run, one per step, and lines for the selected step's calls, fallbacks and
//! compensation calls.

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        directory::Directory,
        run::{Purpose, StepState, StepView},
        time::{Stamp, short},
    },
    state::CallView,
    state::runs::RunView,
    tui::{
        call_segments::segments,
        hits::Hit,
        pane::{DrawContext, attempts::segment_style, outcome_glyph},
        widget::{
            paint::{Pen, pane, scroll_bar, width},
            window::{Move, Window},
        },
    },
};

use super::{WorkflowsPane, state};

/// The most call lines of a step.
const CALLS: usize = 8;

/// The lines and the selection.
#[derive(Default)]
pub struct Steps {
    /// The path of each line; `None` is the whole run.
    lines: Vec<Option<Arc<str>>>,
    window: Window,
}

/// A row of the waterfall.
enum WaterfallRow<'r> {
    Run,
    Step(usize, &'r Arc<str>, &'r StepView),
    Call(usize, usize, &'r CallView),
}

impl Steps {
    /// Shows the steps of a run.
    pub(super) fn show(&mut self, run: Option<&Arc<RunView>>, selected: Option<&Arc<str>>) {
        self.lines.clear();
        let Some(run) = run else { return };
        self.lines.push(None);
        for step in &run.plan.steps {
            self.lines.push(Some(step.id.clone()));
            if run.inner.is_empty() {
                continue;
            }
            let within = |path: &str| path.strip_prefix(&*step.id).is_some_and(|rest| rest.starts_with(['/', '[']));
            self.lines.extend(run.inner.iter().filter(|(path, _)| within(path)).map(|(path, _)| Some(path.clone())));
        }
        self.window.cursor = self.lines.iter().position(|line| line.as_ref() == selected).unwrap_or(0);
    }

    /// Returns the path that a move leads to.
    pub fn step(&self, to: Move) -> Option<Arc<str>> {
        let mut window = self.window;
        window.go(to, self.lines.len());
        self.lines.get(window.cursor).cloned().flatten()
    }

    /// Returns the path of a line; the whole run has none.
    pub fn path(&self, line: usize) -> Option<Option<Arc<str>>> {
        self.lines.get(line).cloned()
    }
}

/// Returns how many steps ended while a run is in progress, and how many did not succeed: as many of the counts as fit, those that
/// matter most first.
fn progress(run: &RunView, cells: u16) -> String {
    let count = |of: fn(&StepState) -> bool| run.steps.iter().filter(|step| of(&step.state)).count();
    let ended = count(|state| !matches!(state, StepState::Pending) && !state.active());
    let mut parts: Vec<String> = [
        ("failed", count(|state| matches!(state, StepState::Failed { .. } | StepState::CompensationFailed { .. }))),
        ("cancelled", count(|state| matches!(state, StepState::Cancelled { .. }))),
        ("skipped", count(|state| matches!(state, StepState::Skipped { .. }))),
        ("compensated", count(|state| matches!(state, StepState::Compensated))),
    ]
    .into_iter()
    .filter(|(_, steps)| *steps > 0)
    .map(|(word, steps)| format!("{steps} {word}"))
    .collect();
    if run.report.is_none() || parts.is_empty() {
        parts.insert(0, format!("{ended} of {} done", run.steps.len()));
    }
    while parts.len() > 1 && width(&parts.join(" · ")) > cells {
        parts.pop();
    }
    parts.join(" · ")
}

impl WorkflowsPane {
    /// Draws the waterfall.
    pub fn draw_steps(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let run = self.run(ctx.read_model).cloned();
        let Some(run) = run else {
            let inner = pane(buf, area, &[("Steps", title)], &[], ctx.focused, theme);
            Pen::new(buf, inner, 0).skip(1).put("The steps of a run will appear here", theme.muted);
            return;
        };
        let end = run.report.as_ref().map_or(ctx.now, |report| report.ended);
        // Next to the title and its frame.
        let right = progress(&run, area.width.saturating_sub(13));
        let inner = pane(buf, area, &[("Steps", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let mut rows: Vec<WaterfallRow> = vec![];
        let mut selected = 0;
        let empty = StepView::default();
        for (line, path) in self.steps.lines.iter().enumerate() {
            let current = line == self.steps.window.cursor;
            if current {
                selected = rows.len();
            }
            let Some(path) = path else {
                rows.push(WaterfallRow::Run);
                continue;
            };
            let view = run.step(path).map_or(&empty, |view| &**view);
            rows.push(WaterfallRow::Step(line, path, view));
            let calls = view.calls.iter().filter_map(|id| ctx.read_model.call(*id));
            let own =
                |call: &CallView| current && view.calls.len() > 1 || call.spec.run.as_ref().is_some_and(|run| run.purpose != Purpose::Step);
            let shown: Vec<(usize, &CallView)> = calls.enumerate().filter(|(_, call)| own(call)).collect();
            let last = shown.len().saturating_sub(CALLS);
            rows.extend(shown.iter().skip(last).map(|(at, call)| WaterfallRow::Call(line, at + 1, call)));
        }
        let mut window = Window { cursor: selected, top: self.steps.window.top };
        window.fit(rows.len(), usize::from(inner.height));
        self.steps.window.top = window.top;
        let scale = WaterfallScale::new(run.started, end, inner.width);
        scroll_bar(buf, inner, (window.top, usize::from(inner.height), rows.len()), ctx.theme.muted);
        for (y, index) in window.rows(rows.len(), usize::from(inner.height)).enumerate() {
            let place = Rect { y: inner.y + y as u16, height: 1, ..inner };
            match &rows[index] {
                WaterfallRow::Run => scale.run(&run, ctx, place, buf),
                WaterfallRow::Step(_, path, view) => scale.step(path, view, ctx, place, buf),
                WaterfallRow::Call(_, number, call) => scale.call(call, *number, ctx, place, buf),
            }
            let line = match &rows[index] {
                WaterfallRow::Run => 0,
                WaterfallRow::Step(line, ..) | WaterfallRow::Call(line, ..) => *line,
            };
            ctx.hits.add(place, Hit::Row(line));
            if index == selected {
                buf.set_style(Rect { width: scale.name.min(place.width), ..place }.intersection(buf.area), ctx.selection());
            }
        }
    }
}

/// The columns and the time scale.
struct WaterfallScale {
    start: Stamp,
    /// Nanoseconds of the run.
    span: u64,
    /// Cells of the name, its glyph included.
    name: u16,
    /// Cells of the bars.
    cells: u16,
}

/// Cells of the time.
const TIME_WIDTH: u16 = 10;

impl WaterfallScale {
    fn new(start: Stamp, end: Stamp, width: u16) -> WaterfallScale {
        let name = (width * 9 / 20).clamp(8, 34).min(width);
        let cells = width.saturating_sub(name + TIME_WIDTH + 2);
        WaterfallScale { start, span: (end.since(start).as_nanos() as u64).max(1_000), name, cells }
    }

    fn column(&self, at: Stamp) -> u16 {
        let share = at.since(self.start).as_nanos() as f64 / self.span as f64;
        ((share * f64::from(self.cells)) as u16).min(self.cells.saturating_sub(1))
    }

    /// Writes glyph, name and time. Returns the area of the bar.
    fn head(
        &self,
        (glyph, style): (&str, Style),
        (indent, name, name_style): (u16, &str, Style),
        time: &str,
        area: Rect,
        buf: &mut Buffer,
    ) -> Rect {
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1 + indent).put(glyph, style).skip(1);
        let room = (area.x + self.name).saturating_sub(pen.x() + 1);
        pen.put_middle(name, room, name_style).to(area.x + self.name);
        pen.put(&format!("{time:>width$} ", width = usize::from(TIME_WIDTH - 1)), name_style);
        Rect { x: area.x + (self.name + TIME_WIDTH + 1).min(area.width), width: self.cells.min(area.width), ..area }
    }

    fn fill(&self, from: Stamp, to: Stamp, glyph: char, style: Style, place: Rect, buf: &mut Buffer) {
        if place.width == 0 {
            return;
        }
        let (from, to) = (self.column(from), self.column(to));
        let text: String = std::iter::repeat_n(glyph, usize::from(to.saturating_sub(from)) + 1).collect();
        Pen::new(buf, Rect { x: place.x + from, width: place.width.saturating_sub(from), ..place }, 0).put(&text, style);
    }

    fn run(&self, run: &RunView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (glyph, _, style) = state::of_run(run, ctx);
        let end = run.report.as_ref().map_or(ctx.now, |report| report.ended);
        let bold = ctx.theme.text.add_modifier(Modifier::BOLD);
        let place = self.head((glyph, style), (0, &run.plan.name, bold), &short(end.since(run.started)), area, buf);
        self.fill(run.started, end, '━', style, place, buf);
    }

    fn step(&self, path: &str, view: &StepView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let depth = path.matches('/').count() as u16;
        let shown = path.rsplit('/').next().unwrap_or(path);
        let time = match (&view.state, view.took(ctx.now)) {
            (StepState::Pending, _) | (_, None) => String::new(),
            (_, Some(took)) => short(took),
        };
        let name_style = if matches!(view.state, StepState::Pending | StepState::Skipped { .. }) { theme.muted } else { theme.text };
        let place = self.head(state::of_step(view, ctx), (1 + depth, shown, name_style), &time, area, buf);
        let Some(started) = view.started else {
            let words = if matches!(view.state, StepState::Pending) { String::new() } else { state::words(view) };
            Pen::new(buf, place, 0).put(&words, theme.muted);
            return;
        };
        let ended = view.ended.unwrap_or(ctx.now).max(started);
        let calls: Vec<&CallView> = view.calls.iter().filter_map(|id| ctx.read_model.call(*id)).collect();
        let ground = if calls.is_empty() { '━' } else { '·' };
        self.fill(started, ended, ground, state::of_step(view, ctx).1, place, buf);
        for call in calls.iter().filter(|call| call.spec.run.as_ref().is_none_or(|run| run.purpose == Purpose::Step)) {
            self.bar(call, ctx, place, buf);
        }
        if view.ended.is_none() && view.state.active() {
            self.fill(ended, ended, '▸', theme.running, place, buf);
        }
    }

    /// Draws a call: its attempt, item or purpose.
    fn call(&self, call: &CallView, number: usize, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let step = call.spec.run.as_ref();
        let name = ctx.read_model.call_name(&call.spec.operation);
        let name = match step.map(|step| (step.purpose, step.item)) {
            Some((purpose @ (Purpose::Compensation | Purpose::Fallback), _)) => format!("{} {name}", purpose.word()),
            Some((_, Some(item))) => format!("#{}", item + 1),
            _ => format!("attempt {number}"),
        };
        let (glyph, style) = match &call.settled {
            Some(settled) => outcome_glyph(&settled.outcome, theme),
            None => (ctx.spinner(), theme.running),
        };
        let took = call.settled.as_ref().map_or_else(|| ctx.now.since(call.queued), |settled| settled.timings.total());
        let place = self.head((glyph, style), (3, &name, theme.muted), &short(took), area, buf);
        self.bar(call, ctx, place, buf);
    }

    fn bar(&self, call: &CallView, ctx: DrawContext, place: Rect, buf: &mut Buffer) {
        for segment in segments(call, ctx.now) {
            self.fill(segment.from, segment.to, segment.kind.glyph(), segment_style(&segment, call, ctx.theme), place, buf);
            if segment.kind.failed() {
                self.fill(segment.to, segment.to, '✕', ctx.theme.fail, place, buf);
            }
        }
    }
}

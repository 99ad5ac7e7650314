//! The graph pane: the plan with the state of each step, or the problems of a file with errors.

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        plural::counted,
        run::{PlanSummary, RunOutcome, StepState, StepView},
        text::middle,
        time::short,
        workflow::{
            graph::{Graph, Layout, layout},
            plan::Plan,
            problem::{Problem, ProblemLine},
        },
    },
    state::runs::RunView,
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::{DrawContext, text_view::TextView},
        theme::Theme,
        widget::{
            graph::{self, BoxDecoration, Scroll},
            paint::{Pen, pane},
            window::{Move, Window},
        },
    },
};

use super::{WorkflowsPane, list::ago, state};

/// Cells of the text in boxes, for graphs that are too wide with full texts.
const SHORTER: [usize; 2] = [21, 15];

/// The source of a layout.
#[derive(Clone)]
enum GraphSource {
    Plan(Arc<Plan>),
    Run(Arc<PlanSummary>),
}

/// The graph, its layout and how far it is scrolled.
#[derive(Default)]
pub struct Chart {
    source: Option<GraphSource>,
    layout: Layout,
    /// The step ids of the boxes.
    ids: Vec<Arc<str>>,
    scroll: Scroll,
    /// The step that was scrolled into view last. The user may scroll away from it.
    revealed: Option<Arc<str>>,
    size: (u16, u16),
    /// The width of the layout.
    room: u16,
    /// The scroll of the problems.
    window: Window,
}

impl Chart {
    /// Lays out the graph if its source or width changed.
    pub(super) fn show(&mut self, plan: Option<&Arc<Plan>>, run: Option<&Arc<RunView>>, room: u16) {
        let source = match (plan, run) {
            (Some(plan), _) => Some(GraphSource::Plan(plan.clone())),
            (None, Some(run)) => Some(GraphSource::Run(run.plan.clone())),
            (None, None) => None,
        };
        let same = match (&self.source, &source) {
            (Some(GraphSource::Plan(a)), Some(GraphSource::Plan(b))) => Arc::ptr_eq(a, b),
            (Some(GraphSource::Run(a)), Some(GraphSource::Run(b))) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if same && self.room == room {
            return;
        }
        self.room = room;
        let mut graph = match &source {
            Some(GraphSource::Plan(plan)) => Graph::of(plan),
            Some(GraphSource::Run(summary)) => Graph::new(
                summary.steps.iter().map(|step| (step.id.to_string(), step.what.clone())).collect(),
                summary.edges.iter().map(|(a, b)| (*a as usize, *b as usize)),
            ),
            None => Graph::default(),
        };
        self.ids = graph.steps.iter().map(|(id, _)| id.as_str().into()).collect();
        self.layout = layout(&graph);
        // A graph that is too wide may fit with shorter texts.
        for cells in SHORTER {
            if self.layout.width <= usize::from(room) {
                break;
            }
            for (id, what) in &mut graph.steps {
                (*id, *what) = (middle(id, cells.max(14)).into_owned(), middle(what, cells).into_owned());
            }
            self.layout = layout(&graph);
        }
        self.revealed = None;
        if !same {
            (self.source, self.scroll, self.window) = (source, Scroll::default(), Window::default());
        }
    }

    /// Returns the box of a step by its path. An inner step is in the box of its outer one.
    fn index(&self, path: &str) -> Option<usize> {
        let outer = path.split(['/', '[']).next()?;
        self.ids.iter().position(|id| &**id == outer)
    }

    /// Returns the step that a move from `path` leads to.
    pub fn step(&self, path: Option<&Arc<str>>, action: Action) -> Option<Arc<str>> {
        let from = path.and_then(|path| self.index(path));
        self.ids.get(graph::step(&self.layout, from, action)?).cloned()
    }

    /// Returns the step of a box.
    pub fn id(&self, step: usize) -> Option<Arc<str>> {
        self.ids.get(step).cloned()
    }

    /// Scrolls so that the selected step is visible.
    pub(super) fn fit(&mut self, path: Option<&Arc<str>>, area: Rect) {
        let fresh = self.revealed.as_ref() != path || self.size != (area.width, area.height);
        (self.revealed, self.size) = (path.cloned(), (area.width, area.height));
        let target = path.filter(|_| fresh).and_then(|path| self.index(path)).and_then(|step| self.layout.boxes.get(step));
        self.scroll.fit(&self.layout, target, inside(area));
    }

    /// Scrolls by half a pane.
    pub fn scroll(&mut self, action: Action, area: Rect) {
        let (wide, high) = (usize::from(area.width / 2), usize::from(area.height / 2));
        match action {
            Action::PageUp => self.scroll.y = self.scroll.y.saturating_sub(high),
            Action::PageDown => self.scroll.y += high,
            Action::Left => self.scroll.x = self.scroll.x.saturating_sub(wide),
            Action::Right => self.scroll.x += wide,
            _ => {}
        }
        self.scroll.fit(&self.layout, None, inside(area));
    }

    /// Scrolls by a row of the mouse wheel.
    pub fn wheel(&mut self, action: Action, area: Rect) {
        match action {
            Action::Up => self.scroll.y = self.scroll.y.saturating_sub(1),
            _ => self.scroll.y += 1,
        }
        self.scroll.fit(&self.layout, None, inside(area));
    }

    /// Scrolls the problems of a file with errors.
    pub fn scroll_problems(&mut self, to: Move, problems: &[Problem], ctx: DrawContext, area: Rect) {
        let inner = inside(area);
        let rows = problem_text(problems, ctx, inner.width).len();
        self.window.scroll(to, rows, usize::from(inner.height));
    }
}

/// Returns the area inside the pane's border.
fn inside(area: Rect) -> Rect {
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(2) }
}

impl WorkflowsPane {
    /// Returns what is known of the last run of a workflow, made in an earlier session.
    fn last_before(&self, name: &str, ctx: DrawContext) -> (String, Style) {
        let Some(past) = self.past(name, ctx.read_model) else { return ("never run".to_owned(), ctx.theme.muted) };
        let age = ago(ctx.read_model.epoch.unix_ms(ctx.now).saturating_sub(past.started_ms));
        match past.outcome.as_deref() {
            Some(outcome) => {
                let known = RunOutcome::from_key(outcome);
                let words = known.map_or(outcome, |outcome| outcome.words());
                (format!("last run: {words}, {age}"), ctx.theme.muted)
            }
            None => {
                let key = ctx.keys.key(&[Context::Workflows], Action::ResumeRun).unwrap_or_default();
                (format!("interrupted {age} · {key} resume"), ctx.theme.warn)
            }
        }
    }

    /// Draws the graph or the problems.
    pub fn draw_chart(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let run = self.run(ctx.read_model).cloned();
        let flow = self.flow(ctx.read_model);
        let name = self.name(ctx.read_model).unwrap_or_else(|| "Graph".into());
        let title = if ctx.focused { theme.focus } else { theme.accent };
        if let Some(Err(problems)) = flow.map(|flow| &flow.plan).filter(|_| self.broken(ctx.read_model)) {
            let key = ctx.keys.key(&[Context::Graph], Action::EditWorkflow).unwrap_or_default();
            let right = format!("{} · {key} edit", counted(problems.len(), "problem"));
            let inner = pane(buf, area, &[(&name, title)], &[(&right, theme.fail)], ctx.focused, theme);
            problem_text(problems, ctx, inner.width).draw(buf, inner, self.chart.window);
            return;
        }
        let (right, style) = match &run {
            Some(run) => {
                let (glyph, words, style) = state::of_run(run, ctx);
                let took = run.report.as_ref().map_or_else(|| ctx.now.since(run.started), |report| report.took());
                (format!("run {} · {glyph} {words} · {}", run.id.short(), short(took)), style)
            }
            None => self.last_before(&name, ctx),
        };
        let described = flow.and_then(|flow| flow.title()).map(|title| format!(" · {title}")).unwrap_or_default();
        let inner = pane(buf, area, &[(&name, title), (&described, theme.muted)], &[(&right, style)], ctx.focused, theme);
        if self.chart.layout.boxes.is_empty() {
            Pen::new(buf, inner, 0).skip(1).put("No selection", theme.muted);
            return;
        }
        self.chart.fit(self.step.as_ref(), area);
        let chart = &self.chart;
        let view = |step: usize| -> Arc<StepView> {
            let found = run.as_ref().and_then(|run| run.step(chart.ids.get(step)?));
            found.cloned().unwrap_or_default()
        };
        let mut decorate = |step: usize| {
            let view = view(step);
            let (_, style) = state::of_step(&view, ctx);
            let style = if run.is_none() { theme.border } else { style };
            // Running and failed steps are bold, so that monochrome shows them too.
            let heavy = view.state.active() || matches!(view.state, StepState::Failed { .. });
            let style = if heavy { style.add_modifier(Modifier::BOLD) } else { style };
            BoxDecoration { style, above: state::above(&view, ctx), below: state::below(&view) }
        };
        let edge = |from: usize| match view(from).state {
            StepState::Ok => theme.ok,
            _ => theme.border,
        };
        let selected = self.step.as_ref().and_then(|path| chart.index(path));
        graph::draw(&chart.layout, (chart.scroll, selected), &mut decorate, &edge, theme, inner, buf);
        chart.scroll.boxes(&chart.layout, inner).for_each(|(step, place)| ctx.hits.add(place, Hit::Row(step)));
        draw_more_arrows(chart, inner, ctx, area, buf);
    }
}

/// Draws arrows in the border where the graph continues.
fn draw_more_arrows(chart: &Chart, inner: Rect, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let signs = [
        (chart.scroll.x > 0, "◂"),
        (chart.scroll.y > 0, "▴"),
        (chart.layout.height > chart.scroll.y + height, "▾"),
        (chart.layout.width > chart.scroll.x + width, "▸"),
    ];
    let text: Vec<&str> = signs.iter().filter(|(on, _)| *on).map(|(_, sign)| *sign).collect();
    if !text.is_empty() {
        let style = if ctx.focused { ctx.theme.focus } else { ctx.theme.border };
        crate::tui::widget::paint::lower(buf, area, &[(&format!("more {}", text.join(" ")), ctx.theme.muted)], style);
    }
}

/// Lays out the problems with their source lines.
fn problem_text<'t>(problems: &[Problem], ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let mut out = TextView::new(ctx.theme, width.saturating_sub(1));
    for problem in problems {
        problem_rows(problem, ctx.theme, &mut out);
    }
    out
}

/// Adds a problem: message, position, source line with a caret, hint.
pub fn problem_rows(problem: &Problem, theme: &Theme, out: &mut TextView) {
    out.gap();
    for (kind, line) in problem.lines("error") {
        let style = match kind {
            ProblemLine::Message => theme.fail.add_modifier(Modifier::BOLD),
            ProblemLine::Hint => theme.accent,
            ProblemLine::Source => theme.text,
            ProblemLine::Caret => theme.fail,
        };
        match kind {
            ProblemLine::Message | ProblemLine::Hint => out.text(&line, style),
            // Not wrapped, so that the caret stays below its place.
            ProblemLine::Source | ProblemLine::Caret => out.row(vec![(line, style)]),
        };
    }
}

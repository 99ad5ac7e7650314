//! The graph pane: the plan drawn, each step as it stands; what is wrong with a file that is none.

use std::sync::Arc;

use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use crate::{
    domain::{
        read_model_runs::RunView,
        run::{PlanSummary, StepState, StepView},
        text::middle,
        time::short,
        workflow::{
            graph::{Graph, Layout, layout},
            plan::Plan,
            problem::Problem,
        },
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, text_view::Sheet},
        theme::Theme,
        widget::{
            graph::{self, BoxLook, Scroll},
            paint::{Pen, pane},
            window::{Move, Window},
        },
    },
};

use super::{Flows, state};

/// Cells of the words in boxes, when the widest ones do not fit.
const SHORTER: [usize; 2] = [21, 15];

/// What a layout was made of.
#[derive(Clone)]
enum Of {
    Plan(Arc<Plan>),
    Run(Arc<PlanSummary>),
}

/// The graph, its layout and how far it is scrolled.
#[derive(Default)]
pub struct Chart {
    of: Option<Of>,
    layout: Layout,
    /// The ids of the boxes.
    ids: Vec<Arc<str>>,
    scroll: Scroll,
    /// The step that was brought into view last: whoever scrolls away from it may.
    revealed: Option<Arc<str>>,
    size: (u16, u16),
    /// The columns that it was laid out for.
    room: u16,
    /// The problems of a broken file, scrolled.
    window: Window,
}

impl Chart {
    /// Lays out what is shown now, if that is another.
    pub(super) fn show(&mut self, plan: Option<&Arc<Plan>>, run: Option<&Arc<RunView>>, room: u16) {
        let of = match (plan, run) {
            (Some(plan), _) => Some(Of::Plan(plan.clone())),
            (None, Some(run)) => Some(Of::Run(run.plan.clone())),
            (None, None) => None,
        };
        let same = match (&self.of, &of) {
            (Some(Of::Plan(a)), Some(Of::Plan(b))) => Arc::ptr_eq(a, b),
            (Some(Of::Run(a)), Some(Of::Run(b))) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if same && self.room == room {
            return;
        }
        self.room = room;
        let mut graph = match &of {
            Some(Of::Plan(plan)) => Graph::of(plan),
            Some(Of::Run(summary)) => Graph::new(
                summary.steps.iter().map(|step| (step.id.to_string(), step.what.clone())).collect(),
                summary.edges.iter().map(|(a, b)| (*a as usize, *b as usize)),
            ),
            None => Graph::default(),
        };
        self.ids = graph.steps.iter().map(|(id, _)| id.as_str().into()).collect();
        self.layout = layout(&graph);
        // Where the graph is wider than its room, boxes of shorter words may make it fit.
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
            (self.of, self.scroll, self.window) = (of, Scroll::default(), Window::default());
        }
    }

    /// The place of a step in the graph, by its path: of a step within another, the one around it.
    fn index(&self, path: &str) -> Option<usize> {
        let outer = path.split(['/', '[']).next()?;
        self.ids.iter().position(|id| &**id == outer)
    }

    /// The step that a move leads to from the one at `path`.
    pub fn step(&self, path: Option<&Arc<str>>, action: Action) -> Option<Arc<str>> {
        let from = path.and_then(|path| self.index(path));
        self.ids.get(graph::step(&self.layout, from, action)?).cloned()
    }

    /// The step at a cell of the screen.
    pub fn at(&self, area: Rect, x: u16, y: u16) -> Option<Arc<str>> {
        self.ids.get(self.scroll.at(&self.layout, inside(area), x, y)?).cloned()
    }

    /// Scrolls so that the selected step is seen.
    pub(super) fn fit(&mut self, path: Option<&Arc<str>>, area: Rect) {
        let fresh = self.revealed.as_ref() != path || self.size != (area.width, area.height);
        (self.revealed, self.size) = (path.cloned(), (area.width, area.height));
        let shown = path.filter(|_| fresh).and_then(|path| self.index(path)).and_then(|step| self.layout.boxes.get(step));
        self.scroll.fit(&self.layout, shown, inside(area));
    }

    /// Scrolls by hand.
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

    /// Scrolls a row by the wheel.
    pub fn roll(&mut self, action: Action, area: Rect) {
        match action {
            Action::Up => self.scroll.y = self.scroll.y.saturating_sub(1),
            _ => self.scroll.y += 1,
        }
        self.scroll.fit(&self.layout, None, inside(area));
    }

    /// Scrolls the problems of a broken file.
    pub fn scroll_problems(&mut self, to: Move, problems: &[Problem], look: DrawContext, area: Rect) {
        let inner = inside(area);
        let rows = problem_sheet(problems, look, inner.width).len();
        self.window.scroll(to, rows, usize::from(inner.height));
    }
}

/// The room inside of the pane's border.
fn inside(area: Rect) -> Rect {
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(2) }
}

impl Flows {
    /// Draws the graph, or what is wrong.
    pub fn draw_chart(&mut self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let run = self.run(look.read_model).cloned();
        let flow = self.flow(look.read_model);
        let name = self.name(look.read_model).unwrap_or_else(|| "Graph".into());
        let title = if look.focused { theme.focus } else { theme.accent };
        if let Some(Err(problems)) = flow.map(|flow| &flow.plan).filter(|_| self.broken(look.read_model)) {
            let key = look.keys.key(&[Context::Graph], Action::EditWorkflow).unwrap_or_default();
            let right =
                format!("{} · {key} edits", if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) });
            let inner = pane(buf, area, &[(&name, title)], &[(&right, theme.fail)], look.focused, theme);
            problem_sheet(problems, look, inner.width).draw(buf, inner, self.chart.window);
            return;
        }
        let (right, style) = match &run {
            Some(run) => {
                let (glyph, words, style) = state::of_run(run, look);
                let took = run.report.as_ref().map_or_else(|| look.now.since(run.started), |report| report.took());
                (format!("run {} · {glyph} {words} · {}", run.id.short(), short(took)), style)
            }
            None => ("never run".to_owned(), theme.muted),
        };
        let described = flow.and_then(|flow| flow.title()).map(|title| format!(" · {title}")).unwrap_or_default();
        let inner = pane(buf, area, &[(&name, title), (&described, theme.muted)], &[(&right, style)], look.focused, theme);
        if self.chart.layout.boxes.is_empty() {
            Pen::new(buf, inner, 0).skip(1).put("Nothing is selected.", theme.muted);
            return;
        }
        self.chart.fit(self.step.as_ref(), area);
        let chart = &self.chart;
        let view = |step: usize| -> Arc<StepView> {
            let found = run.as_ref().and_then(|run| run.step(chart.ids.get(step)?));
            found.cloned().unwrap_or_default()
        };
        let mut shown = |step: usize| {
            let view = view(step);
            let (_, style) = state::of_step(&view, look);
            let style = if run.is_none() { theme.border } else { style };
            // In monochrome what runs or failed stands out by weight.
            let heavy = view.state.active() || matches!(view.state, StepState::Failed { .. });
            let style = if heavy { style.add_modifier(Modifier::BOLD) } else { style };
            BoxLook { style, above: state::above(&view, look), below: state::below(&view) }
        };
        let edge = |from: usize| match view(from).state {
            StepState::Ok => theme.ok,
            _ => theme.border,
        };
        let selected = self.step.as_ref().and_then(|path| chart.index(path));
        graph::draw(&chart.layout, (chart.scroll, selected), &mut shown, &edge, theme, inner, buf);
        more(chart, inner, look, area, buf);
    }
}

/// Arrows in the border where the graph goes on.
fn more(chart: &Chart, inner: Rect, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let signs = [
        (chart.scroll.x > 0, "◂"),
        (chart.scroll.y > 0, "▴"),
        (chart.layout.height > chart.scroll.y + height, "▾"),
        (chart.layout.width > chart.scroll.x + width, "▸"),
    ];
    let text: Vec<&str> = signs.iter().filter(|(on, _)| *on).map(|(_, sign)| *sign).collect();
    if !text.is_empty() {
        let style = if look.focused { look.theme.focus } else { look.theme.border };
        crate::tui::widget::paint::lower(buf, area, &[(&format!("more {}", text.join(" ")), look.theme.muted)], style);
    }
}

/// Every problem with the line that it stands in.
fn problem_sheet<'t>(problems: &[Problem], look: DrawContext<'t>, width: u16) -> Sheet<'t> {
    let mut sheet = Sheet::new(look.theme, width.saturating_sub(1));
    for problem in problems {
        problem_rows(problem, look.theme, &mut sheet);
    }
    sheet
}

/// One problem: what, where, the line with what is meant marked, the way out.
pub fn problem_rows(problem: &Problem, theme: &Theme, sheet: &mut Sheet) {
    sheet.gap();
    for (index, line) in problem.render().lines().enumerate() {
        let caret = line.trim_start_matches([' ', '|']).starts_with('^');
        if index == 0 {
            sheet.text(line, theme.fail.add_modifier(Modifier::BOLD));
        } else if line.trim_start().starts_with("= try") {
            sheet.text(line, theme.accent);
        } else {
            // The mark stands under what it means only while nothing is wrapped.
            sheet.row(vec![(line.to_owned(), if caret { theme.fail } else { theme.text })]);
        }
    }
}

//! The lanes of workflow runs, below those of the servers: a bracket from start to end of each run, with its outcome. The
//! cursor on a run highlights its calls in all lanes.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{call::OriginKind, run::RunId, time::short},
    tui::{
        pane::{DrawContext, workflows::state::of_run},
        rows::Rows,
        widget::paint::{Pen, width},
    },
};

use super::{
    Timeline,
    layout::{Bar, Lane, TimelineLayout},
};

/// The most run lanes: the newest runs of the window, fewer on a low screen.
const MOST: usize = 6;

/// Returns the run of a bar's call.
pub(super) fn run_of(bar: &Bar, rows: &Rows) -> Option<RunId> {
    let row = rows.get(bar.id).filter(|row| row.origin() == Some(OriginKind::Workflow))?;
    rows.step_of(row).map(|step| step.run)
}

impl TimelineLayout {
    /// Adds lanes for the runs whose calls are shown, below all others, so that the others do not move.
    pub fn add_runs(&mut self, rows: &Rows, height: usize) {
        let mut runs: Vec<RunId> = vec![];
        for bar in &self.bars {
            if let Some(run) = run_of(bar, rows)
                && !runs.contains(&run)
            {
                runs.push(run);
            }
        }
        let most = height.saturating_sub(self.lanes.len()).clamp(2, MOST);
        let skip = runs.len().saturating_sub(most);
        for run in runs.into_iter().skip(skip) {
            let name = rows.workflow(run).cloned().unwrap_or_else(|| "a run".into());
            self.lanes.push(Lane { run: Some(run), ..Lane::new(name) });
        }
    }
}

impl Timeline {
    /// Returns the run whose lane the cursor is on.
    pub(super) fn run_here(&self) -> Option<RunId> {
        self.layout.lanes.get(self.lane)?.run
    }

    /// Draws the brackets.
    pub(super) fn brackets(&self, rows: &Rows, ctx: DrawContext, chart: Rect, buf: &mut Buffer) {
        for lane in &self.layout.lanes {
            let (Some(run), Some(y)) = (lane.run, lane.first.checked_sub(self.top)) else { continue };
            if y < usize::from(chart.height) {
                self.bracket(lane, run, rows, ctx, Rect { y: chart.y + y as u16, height: 1, ..chart }, buf);
            }
        }
    }

    fn bracket(&self, lane: &Lane, run: RunId, rows: &Rows, ctx: DrawContext, line: Rect, buf: &mut Buffer) {
        let view = ctx.read_model.runs.get(run);
        let bars = || self.layout.bars.iter().filter(|bar| run_of(bar, rows) == Some(run));
        let (from, to, running) = match view {
            Some(view) => {
                let end = view.report.as_ref().map_or(ctx.now, |report| report.ended);
                (self.scale.column(view.started), self.scale.column(end), view.report.is_none())
            }
            // The extent of a dropped run is that of its calls.
            None => (bars().map(|bar| bar.from).min().unwrap_or(0), bars().map(|bar| bar.to).max().unwrap_or(0), false),
        };
        let (glyph, words, style) = view.map_or(("", "dropped", ctx.theme.muted), |view| of_run(view, ctx));
        let style = if self.run_here() == Some(run) { style.add_modifier(Modifier::BOLD) } else { style };
        let last = i64::from(line.width) - 1;
        for x in from.max(0)..=to.min(last) {
            let sign = match x {
                _ if x == to && running => "▸",
                _ if from == to => "╍",
                _ if x == from => "┣",
                _ if x == to => "┫",
                _ => "━",
            };
            set(buf, line, x, sign, style);
        }
        let took = view.map(|view| short(view.report.as_ref().map_or(ctx.now, |report| report.ended).since(view.started)));
        let texts = match &took {
            Some(took) => {
                [format!("{} {glyph} {words} · {took}", lane.name), format!("{glyph} {words} · {took}"), format!("{glyph} {took}")]
            }
            None => [format!("{} {words}", lane.name), words.to_owned(), String::new()],
        };
        write_label(&texts, (from, to), style, line, buf);
    }
}

/// Writes the first of the texts that fits after, before or within the bracket.
fn write_label(texts: &[String], (from, to): (i64, i64), style: Style, line: Rect, buf: &mut Buffer) {
    let cells = i64::from(line.width);
    for text in texts {
        let long = i64::from(width(text));
        let start = if to.max(0) + 2 + long <= cells {
            to.max(0) + 2
        } else if from.min(cells) - 2 - long >= 0 {
            from.min(cells) - 2 - long
        } else if to.min(cells) - from.max(0) >= long + 4 {
            from.max(0) + 2
        } else {
            continue;
        };
        let place = Rect { x: line.x + start as u16, width: (long as u16).min(line.width), ..line };
        Pen::new(buf, place, 0).put(text, style);
        return;
    }
}

fn set(buf: &mut Buffer, line: Rect, x: i64, sign: &str, style: Style) {
    if let Some(cell) = buf.cell_mut((line.x.saturating_add(x as u16), line.y)) {
        cell.set_symbol(sign).set_style(style);
    }
}

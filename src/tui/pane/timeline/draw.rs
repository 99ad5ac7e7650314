//! Draws the timeline: axis, lanes, bars, cursor, and the calls at the cursor.

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::time::{Epoch, Stamp, short},
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::{
            DrawContext, status_dot,
            table::{outcome, place_words, step_words},
        },
        rows::{CallState, Row, Rows},
        widget::paint::{Pen, pane, width},
    },
};

use super::{
    Timeline,
    layout::{Bar, LanesBy, areas, round_time},
    runs::run_of,
    segmented_bar::{LEGENDS, SegmentedBar},
};

/// The hint in the empty filter line.
const EXAMPLE: &str = "filter   server:… tool:create* outcome:failed client:… >500ms !not text";

impl Timeline {
    /// Draws the view.
    pub fn draw(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let key = ctx.keys.key(&[Context::Timeline], Action::Follow).unwrap_or_default();
        let follow = if self.following() { "following".to_owned() } else { format!("paused, {key} to follow") };
        let mut stride = if self.layout.stride > 1 { format!("1 of {} calls drawn · ", self.layout.stride) } else { String::new() };
        if self.filtered.index.working(rows) {
            stride = format!("{:.0} % scanned · {stride}", self.filtered.index.progress(rows) * 100.0);
        }
        let by = if self.lanes_by == LanesBy::Client { "by client · " } else { "" };
        let right = format!("{by}{stride}{}/column · {follow}", short(Duration::from_nanos(self.scale.cell())));
        let inner = pane(buf, area, &[("Timeline", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let head = self.head(area);
        if head > 0 {
            self.filtered.query.draw(EXAMPLE, ctx, Rect { height: inner.height.min(head), ..inner }, buf);
        }
        let (labels, chart) = areas(area, head, &self.layout);
        ctx.hits.add(Rect { x: labels.x, width: labels.width + chart.width, ..chart }, Hit::Lanes);
        self.axis(ctx, Rect { y: chart.y.saturating_sub(1), height: chart.height.min(1), ..chart }, buf);
        self.names(ctx, labels, buf);
        let lanes = self.layout.lines().saturating_sub(self.top).min(usize::from(chart.height)) as u16;
        let under = Rect { y: chart.y + lanes, height: chart.height - lanes, x: labels.x, width: labels.width + chart.width };
        let chart = Rect { height: lanes, ..chart };
        self.rules(ctx, chart, buf);
        for bar in &self.layout.bars {
            let Some(row) = rows.get(bar.id) else { continue };
            let lane = &self.layout.lanes[bar.lane];
            let Some(y) = (lane.first + bar.line).checked_sub(self.top).filter(|y| *y < usize::from(chart.height)) else { continue };
            self.bar(bar, row, rows, ctx, Rect { y: chart.y + y as u16, height: 1, ..chart }, buf);
        }
        self.brackets(rows, ctx, chart, buf);
        self.same_run(rows, chart, buf);
        self.cursor_line(rows, ctx, chart, buf);
        self.list(rows, ctx, under, buf);
        if area.height >= 6 {
            let foot = Rect { x: area.x + 2, y: area.bottom() - 2, width: area.width.saturating_sub(4), height: 1 };
            self.foot(rows, ctx, foot, buf);
        }
        self.filtered.query.draw_completions(ctx, inner, buf);
    }

    /// Draws the times above the lanes.
    fn axis(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let step = tick(self.scale.cell());
        let mut free = area.x;
        for (x, at) in ticks(self.scale.start, self.scale.cell(), ctx.read_model.epoch, step, area.width) {
            let place = area.x + x;
            let text = tick_words(ctx.read_model.epoch, at, step);
            if place >= free && place + width(&text) + 2 <= area.right() {
                Pen::new(buf, Rect { x: place, width: area.right() - place, ..area }, 0)
                    .put("╷", ctx.theme.border)
                    .put(&text, ctx.theme.muted);
                free = place + width(&text) + 3;
            }
        }
    }

    fn names(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        for (index, lane) in self.layout.lanes.iter().enumerate() {
            let Some(y) = lane.first.checked_sub(self.top).filter(|y| *y < usize::from(area.height)) else { continue };
            let mut pen = Pen::new(buf, area, y as u16);
            let current = index == self.lane;
            pen.put(if current { "▸" } else { " " }, theme.key);
            let server = ctx.read_model.servers.get(index).filter(|_| lane.client.is_none() && lane.run.is_none());
            match server {
                Some(server) => {
                    let (glyph, style) = status_dot(&server.phase, theme);
                    pen.put(glyph, style).skip(1);
                }
                None if lane.run.is_some() => drop(pen.put("⇶ ", theme.muted)),
                None if lane.client.is_some() => drop(pen.put("⇥ ", theme.muted)),
                None => drop(pen.put("⊞ ", theme.accent)),
            }
            let room = pen.left().saturating_sub(1);
            pen.put_middle(&lane.name, room, if current { theme.accent.add_modifier(Modifier::BOLD) } else { theme.accent });
            if lane.hidden > 0 && lane.lines > 1 && y + 1 < usize::from(area.height) {
                Pen::new(buf, area, y as u16 + 1).skip(3).put(&format!("{} overlap", lane.hidden), theme.muted);
            }
        }
    }

    /// Draws faint grid lines below the ticks.
    fn rules(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let step = tick(self.scale.cell());
        let epoch = (ctx.read_model.epoch.unix_ms % 86_400_000) * 1_000_000;
        for x in 0..area.width {
            let wall = self.scale.start.0 + u64::from(x) * self.scale.cell() + epoch;
            if wall / step != wall.saturating_sub(self.scale.cell()) / step {
                for y in 0..area.height {
                    Pen::new(buf, Rect { x: area.x + x, width: 1, ..area }, y).put("┊", ctx.theme.border);
                }
            }
        }
    }

    fn bar(&self, bar: &Bar, row: &Row, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let call = row.call().and_then(|id| ctx.read_model.call(id));
        if let Some(call) = call.filter(|call| call.has_trace()) {
            let name = rows.name(row.key).map(|n| n.tool.clone()).unwrap_or_default();
            return self.draw_segmented(&SegmentedBar { bar, row, call, label: &name }, ctx, area, buf);
        }
        let style = match row.state {
            CallState::Failed(_) => theme.fail,
            CallState::ToolError => theme.warn,
            CallState::Cancelled | CallState::None => theme.muted,
            state if state.pending() => theme.running,
            _ => theme.ok,
        };
        let sent = match row.state {
            CallState::Queued => bar.to + 1,
            _ => call.and_then(|c| c.sent).map_or(bar.from, |at| self.scale.column(at)),
        };
        let visible = bar.from.max(0)..=bar.to.min(i64::from(area.width) - 1);
        let mut waiting = 0;
        // Cell by cell without a pen: a frame may draw 20 000 bars, nearly all of them short.
        for x in visible.clone() {
            let (glyph, style) = match row.state {
                CallState::Failed(_) if x == bar.to => ("✕", style),
                CallState::ToolError if x == bar.to => ("!", style),
                CallState::Cancelled if x == bar.to => ("–", style),
                state if state.pending() && x == bar.to => ("▸", style),
                _ if x < sent => {
                    waiting += 1;
                    ("░", theme.muted)
                }
                _ if bar.from == bar.to => ("▪", style),
                _ => ("▓", style),
            };
            if let Some(cell) = buf.cell_mut((area.x.saturating_add(x as u16), area.y)) {
                cell.set_symbol(glyph).set_style(style);
            }
        }
        let long = visible.clone().count() as u16;
        if long < 6 {
            return;
        }
        let place =
            Rect { x: area.x.saturating_add(*visible.start() as u16), width: area.width.saturating_sub(*visible.start() as u16), ..area };
        // A long bar is labelled with its tool.
        let name = rows.name(row.key).map(|n| n.tool.clone()).unwrap_or_default();
        if long >= width(&name) + 6 {
            let inside = Rect { x: place.x + 1 + waiting.min(2), width: width(&name) + 2, ..place };
            Pen::new(buf, inside, 0).put(" ", style).put(&name, style.add_modifier(Modifier::BOLD)).put(" ", style);
        }
    }

    /// Highlights the other calls of the selected call's run.
    fn same_run(&self, rows: &Rows, chart: Rect, buf: &mut Buffer) {
        let selected = self.selected(rows).filter(|_| !self.following());
        let bar = selected.and_then(|id| self.layout.bars.iter().find(|bar| bar.id == id));
        let Some(run) = self.run_here().or_else(|| run_of(bar?, rows)) else { return };
        for bar in self.layout.bars.iter().filter(|bar| run_of(bar, rows) == Some(run)) {
            let Some(y) = self.layout.lanes.get(bar.lane).and_then(|lane| (lane.first + bar.line).checked_sub(self.top)) else { continue };
            if y < usize::from(chart.height) {
                let from = bar.from.clamp(0, i64::from(chart.width)) as u16;
                let to = (bar.to + 1).clamp(0, i64::from(chart.width)) as u16;
                let place = Rect { x: chart.x + from, y: chart.y + y as u16, width: to.saturating_sub(from), height: 1 };
                buf.set_style(place.intersection(buf.area), Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
            }
        }
    }

    fn cursor_line(&self, rows: &Rows, ctx: DrawContext, chart: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let x = self.cursor.map_or_else(|| self.scale.column(ctx.now), |at| self.scale.column(at));
        let Some(x) = u16::try_from(x).ok().filter(|x| *x < chart.width) else { return };
        for y in 0..chart.height {
            let place = (chart.x + x, chart.y + y);
            if let Some(cell) = buf.cell_mut(place) {
                if matches!(cell.symbol(), " " | "┊") {
                    cell.set_symbol(if self.following() { "╎" } else { "│" }).set_style(if self.following() {
                        theme.border
                    } else {
                        theme.focus
                    });
                } else if !self.following() {
                    cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
                }
            }
        }
        // Enter opens the selected bar.
        let Some(id) = self.selected(rows).filter(|_| !self.following()) else { return };
        if let Some(bar) = self.layout.bars.iter().find(|b| b.id == id) {
            let lane = &self.layout.lanes[bar.lane];
            if let Some(y) = (lane.first + bar.line).checked_sub(self.top).filter(|y| *y < usize::from(chart.height)) {
                let from = bar.from.clamp(0, i64::from(chart.width)) as u16;
                let to = (bar.to + 1).clamp(0, i64::from(chart.width)) as u16;
                let place = Rect { x: chart.x + from, y: chart.y + y as u16, width: to.saturating_sub(from), height: 1 };
                buf.set_style(place.intersection(buf.area), ctx.selection());
            }
        }
    }

    /// Draws the list below the lanes: the calls at the cursor, or the latest ones while the window follows.
    fn list(&self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        if area.height < 4 {
            return;
        }
        let x = self.cursor.map_or_else(|| self.scale.column(ctx.now), |at| self.scale.column(at));
        let run_lane = self.layout.lanes.get(self.lane).and_then(|lane| Some((&lane.name, lane.run?)));
        let listed = |bar: &&Bar| match run_lane {
            Some((_, run)) => run_of(bar, rows) == Some(run),
            None => self.following() || (bar.from..=bar.to).contains(&x),
        };
        let mut bars: Vec<&Bar> = self.layout.bars.iter().filter(listed).collect();
        // The calls of a run are listed oldest first.
        bars.sort_by_key(|bar| if run_lane.is_some() { bar.id } else { u64::MAX - bar.id });
        let at = ctx.read_model.epoch.time_of_day(self.cursor.unwrap_or(ctx.now));
        let head = match (self.following(), bars.len()) {
            (_, n) if let Some((name, run)) = run_lane => {
                format!(" {n} {} of {name}, run {} ", if n == 1 { "call" } else { "calls" }, run.short())
            }
            (true, _) => " Latest calls ".to_owned(),
            (false, 0) => format!(" Idle at {at} "),
            (false, n) => format!(" {n} running at {at} "),
        };
        let mut pen = Pen::new(buf, area, 1);
        pen.put("──", theme.border).put(&head, theme.muted);
        pen.put(&"─".repeat(usize::from(pen.left())), theme.border);
        for (y, bar) in bars.iter().take(usize::from(area.height - 2)).enumerate() {
            let Some(row) = rows.get(bar.id) else { continue };
            let name = rows.name(row.key);
            let call = row.call().and_then(|id| ctx.read_model.call(id));
            let (glyph, words, style) = outcome(row, call, ctx);
            let mut pen = Pen::new(buf, area, y as u16 + 2);
            let start = pen.x();
            pen.skip(1).put(&ctx.read_model.epoch.time_of_day(row.at), theme.muted).skip(1);
            pen.put_middle(name.map_or("…", |n| &n.server), 14, theme.accent).to(start + 29);
            pen.put_middle(name.map_or("…", |n| &n.tool), 30, theme.text).to(start + 60);
            pen.put(&format!("{:>9}  ", short(row.end(ctx.now).since(row.at))), theme.text);
            pen.put(&format!("{glyph} {words}"), style);
            if let Some(step) = rows.step_of(row) {
                // The heading of a run names the workflow.
                let place = if run_lane.is_some() { step_words(step) } else { place_words(step, rows) };
                pen.skip(3).put(&place, theme.muted);
            }
        }
    }

    /// Draws the time under the cursor and the calls that ran then.
    fn foot(&self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let at = self.cursor.unwrap_or(ctx.now);
        let mut pen = Pen::new(buf, area, 0);
        pen.put(&ctx.read_model.epoch.time_of_day(at), theme.focus).put("  ", theme.text);
        if let Some(id) = self.selected(rows)
            && let Some(row) = rows.get(id).filter(|_| !self.following())
        {
            let call = row.call().and_then(|id| ctx.read_model.call(id));
            let (glyph, words, style) = outcome(row, call, ctx);
            let name = rows.name(row.key).map_or_else(String::new, |n| format!("{} {}", n.server, n.tool));
            pen.put(&name, theme.accent).put(&format!("  {glyph} {words}"), style);
            if let Some(step) = rows.step_of(row) {
                pen.put(&format!("  {}", place_words(step, rows)), theme.muted);
            }
            pen.put(&format!("  {}   ", short(row.end(ctx.now).since(row.at))), theme.text);
        }
        let x = self.cursor.map_or_else(|| self.scale.column(ctx.now), |at| self.scale.column(at));
        let running = self.layout.bars.iter().filter(|bar| (bar.from..=bar.to).contains(&x)).count();
        let words = match running {
            0 => "idle".to_owned(),
            n => format!("{n} running"),
        };
        pen.put(&words, theme.muted);
        if let Some(legend) = LEGENDS.iter().find(|legend| width(legend) <= pen.left()) {
            pen.right(&[(legend, theme.muted)]);
        }
    }
}

/// Returns the time between two labels of the axis: a round time that takes at least 14 columns.
fn tick(cell: u64) -> u64 {
    // Up to ten seconds a round time; from there on one that divides minutes and hours.
    const SECONDS: [u64; 10] = [15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200];
    let steps = (0..19).map(round_time).chain(SECONDS.map(|seconds| seconds * 1_000_000_000));
    steps.clone().find(|step| *step >= cell * 14).or(steps.last()).unwrap_or(cell)
}

/// Returns the columns that contain a whole step of the wall clock, and its time. Skips a step from before the start of
/// the engine's clock, which the first column of the axis may contain.
fn ticks(start: Stamp, cell: u64, epoch: Epoch, step: u64, cells: u16) -> impl Iterator<Item = (u16, Stamp)> {
    let day = epoch.unix_ms % 86_400_000 * 1_000_000;
    (0..cells).filter_map(move |x| {
        let wall = start.0 + u64::from(x) * cell + day;
        let step_start = wall / step * step;
        let at = step_start.checked_sub(day)?;
        (step_start > wall.saturating_sub(cell)).then_some((x, Stamp(at)))
    })
}

/// Formats a label of the axis, as precise as the step requires.
fn tick_words(epoch: Epoch, at: Stamp, step: u64) -> String {
    let time = epoch.time_of_day(at);
    match step {
        s if s >= 1_000_000_000 => time[..8].to_owned(),
        s if s >= 100_000_000 => time[..10].to_owned(),
        s if s >= 1_000_000 => time,
        _ => format!("{time}{:03}", at.0 / 1000 % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_ms: u64, start: u64, cell: u64, step: u64) -> Vec<(u16, u64)> {
        ticks(Stamp(start), cell, Epoch { unix_ms, utc_offset_s: 0 }, step, 100).map(|(x, at)| (x, at.0)).collect()
    }

    #[test]
    fn an_axis_begins_with_the_first_whole_step_after_the_start() {
        // Started 300 ms after a whole second: that second is in the first column, but before the clock's start.
        assert_eq!(at(1_000_300, 0, 50_000_000, 1_000_000_000)[0], (14, 700_000_000));
        assert_eq!(at(1_000_020, 0, 50_000_000, 1_000_000_000)[0], (20, 980_000_000));
        assert_eq!(at(1_000_000, 0, 50_000_000, 1_000_000_000)[0], (0, 0));
        // Every step once.
        assert_eq!(at(1_000_300, 0, 50_000_000, 1_000_000_000).len(), 5);
        assert_eq!(at(1_000_300, 2_400_000_000, 50_000_000, 1_000_000_000)[0], (6, 2_700_000_000));
    }
}

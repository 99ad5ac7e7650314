//! The activity strip: the last minute of every server in a lane, with calls as marks as long as their duration, failures,
//! and changes of connections and breakers.

use std::ops::Range;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{policy::breaker::State, server::Phase},
    state::{ConsoleState, ServerView},
    tui::{
        activity::{Activity, Grid, Mark},
        hits::Hit,
        theme::Theme,
        widget::paint::{self, Pen, pane},
    },
};

use super::{DrawContext, breaker, status_dot};

/// Returns the width of a lane's label: status dot, name and gaps.
fn label_width(read_model: &ConsoleState) -> u16 {
    4 + read_model.servers.iter().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 16)
}

/// Returns the cells of a lane in this area.
pub fn cells(read_model: &ConsoleState, area: Rect) -> u16 {
    area.width.saturating_sub(3 + label_width(read_model))
}

/// Returns whether the strip shows a change of a connection or breaker that moves left with time.
pub fn moves(read_model: &ConsoleState, grid: Grid) -> bool {
    let cells = grid.cells as u16;
    read_model.servers.iter().any(|server| {
        let changed = server.breaker.transitions.iter().any(|change| grid.cell(change.at).is_some());
        changed || absences(server, grid, cells).any(|absence| absence.began || absence.cells.end < cells)
    })
}

/// Returns the servers with a lane in this many rows: all, or the active ones first.
fn lanes(activity: &Activity, read_model: &ConsoleState, grid: Grid, rows: usize) -> Vec<usize> {
    let mut indexes: Vec<usize> = (0..read_model.servers.len()).collect();
    if indexes.len() > rows {
        let idle = |at: &usize| {
            let server = &read_model.servers[*at];
            let moved = grid.cell(server.phase_since).is_some();
            !(server.stats.in_flight > 0 || moved || activity.shows(server.id(), grid))
        };
        indexes.sort_by_cached_key(idle);
        indexes.truncate(rows);
        indexes.sort_unstable();
    }
    indexes
}

/// Draws the activity pane.
pub fn draw(activity: &Activity, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    let grid = Grid::new(cells(read_model, area), ctx.now);
    let rows = usize::from(area.height.saturating_sub(2));
    let visible = lanes(activity, read_model, grid, rows);
    let hidden = read_model.servers.len() - visible.len();
    let more = format!("  {hidden} more idle");
    let legend: [(&str, Style); 9] = [
        ("▪", theme.ok),
        (" call  ", theme.muted),
        ("!", theme.warn),
        (" tool error  ", theme.muted),
        ("✕", theme.fail),
        (" failed  ", theme.muted),
        ("▸", theme.running),
        (" running", theme.muted),
        (if hidden > 0 { &more } else { "" }, theme.muted),
    ];
    let legend: &[(&str, Style)] = if area.width >= 90 { &legend } else { &[] };
    let inner = pane(buf, area, &[("Last 60 s", theme.text)], legend, false, theme);
    for (y, at) in visible.into_iter().enumerate() {
        let Some(server) = read_model.servers.get(at) else { continue };
        let place = Rect { y: inner.y + y as u16, height: 1, ..inner };
        ctx.hits.add(place, Hit::Server(server.id().clone()));
        lane(activity, server, grid, ctx, place, buf);
    }
}

fn lane(activity: &Activity, server: &ServerView, grid: Grid, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let mut pen = Pen::new(buf, area, 0);
    let (glyph, style) = status_dot(&server.phase, theme);
    let column = label_width(ctx.read_model) - 4;
    pen.skip(1).put(glyph, style).skip(1).put_middle(server.id().as_str(), column, theme.text);
    let start = area.x + column + 4;
    let row = Rect { x: start, width: (grid.cells as u16).min(area.right().saturating_sub(start)), ..area };
    draw_absences(server, grid, theme, row, buf);
    draw_open_breaker(server, grid, theme, row, buf);
    let marks = activity.marks(server.id(), grid).unwrap_or_default();
    for (x, mark) in marks.iter().enumerate() {
        if let (Some((symbol, style)), true) = (glyph_of(*mark, theme), (x as u16) < row.width) {
            // All marks are one cell wide, so their width is not measured.
            if let Some(cell) = buf.cell_mut((row.x + x as u16, row.y)) {
                cell.set_symbol(symbol).set_style(style);
            }
        }
    }
    draw_breaker_changes(server, grid, &marks, theme, row, buf);
}

fn glyph_of(mark: Mark, theme: &Theme) -> Option<(&'static str, Style)> {
    Some(match mark {
        Mark::Quiet => return None,
        Mark::Answered { many: false } => ("▪", theme.ok),
        Mark::Answered { many: true } => ("■", theme.ok),
        Mark::Long => ("▬", theme.ok),
        Mark::LongBad => ("▬", theme.fail),
        Mark::ToolError => ("!", theme.warn),
        Mark::Failed => ("✕", theme.fail),
        Mark::Cancelled => ("–", theme.muted),
        Mark::Running => ("▬", theme.running),
        Mark::Front => ("▸", theme.running),
    })
}

/// Draws the times at which the server's breaker rejected calls, as dots.
fn draw_open_breaker(server: &ServerView, grid: Grid, theme: &Theme, row: Rect, buf: &mut Buffer) {
    let mut end = row.width;
    for change in server.breaker.transitions.iter().rev() {
        let began = grid.cell(change.at);
        let from = began.unwrap_or(0).min(row.width);
        let style = match change.to {
            State::Closed => theme.ok,
            State::Open => theme.fail,
            State::HalfOpen => theme.warn,
        };
        if change.to != State::Closed && end > from {
            let dots = "·".repeat(usize::from(end - from));
            Pen::new(buf, Rect { x: row.x + from, width: end - from, ..row }, 0).put(&dots, style);
        }
        end = end.min(from);
        if began.is_none() {
            break;
        }
    }
}

/// Draws the changes of the server's breaker over the other marks.
fn draw_breaker_changes(server: &ServerView, grid: Grid, marks: &[Mark], theme: &Theme, row: Rect, buf: &mut Buffer) {
    for (index, change) in server.breaker.transitions.iter().enumerate() {
        if let Some(x) = grid.cell(change.at).filter(|x| *x < row.width) {
            let (glyph, style) = breaker::glyph(change.to, theme);
            let place = Rect { x: row.x + x, width: row.width - x, ..row };
            let word = if change.to == State::Open { "open" } else { "" };
            // The word only where it covers no other mark before the next change.
            let end = server.breaker.transitions.get(index + 1).and_then(|next| grid.cell(next.at)).unwrap_or(row.width).min(row.width);
            let quiet = |cell: u16| cell < end && marks.get(usize::from(cell)).is_none_or(|mark| matches!(mark, Mark::Quiet));
            let free = (x + 1..=x + word.len() as u16).all(quiet);
            Pen::new(buf, place, 0).put(glyph, style).put(if free { word } else { "" }, style);
        }
    }
}

/// A visible period in which a server was unavailable.
struct Absence<'a> {
    phase: &'a Phase,
    cells: Range<u16>,
    /// Whether its start is visible.
    began: bool,
}

/// Returns the periods in which the server was unavailable that fill at least a cell, newest first.
fn absences(server: &ServerView, grid: Grid, width: u16) -> impl Iterator<Item = Absence<'_>> {
    let current = server.history.is_empty().then_some((server.phase_since, &server.phase));
    let past = server.history.iter().rev().map(|(at, phase)| (*at, phase));
    let mut end = width;
    let mut all_seen = false;
    let seen = current.into_iter().chain(past).map_while(move |(since, phase)| {
        if all_seen {
            return None;
        }
        let began = grid.cell(since);
        all_seen = began.is_none();
        let from = began.unwrap_or(0).min(width);
        let cells = from..end;
        end = end.min(from);
        Some(Absence { phase, cells, began: began.is_some() })
    });
    seen.filter(|absence| !absence.phase.usable() && !absence.cells.is_empty())
}

/// Draws the periods in which the server was unavailable: a bar at the start, the state where there is room, then dots.
fn draw_absences(server: &ServerView, grid: Grid, theme: &Theme, row: Rect, buf: &mut Buffer) {
    for Absence { phase, cells, began } in absences(server, grid, row.width) {
        let style = match phase {
            Phase::Failed { .. } => theme.fail,
            Phase::Reconnecting { .. } | Phase::NeedsLogin { .. } => theme.warn,
            _ => theme.muted,
        };
        let mut pen = Pen::new(buf, Rect { x: row.x + cells.start, width: cells.end - cells.start, ..row }, 0);
        if began {
            pen.put("│", style);
        }
        let word = phase.word();
        if began && pen.left() > word.len() as u16 + 1 {
            pen.put(word, style).skip(1);
        }
        let dots = "·".repeat(usize::from(pen.left()));
        pen.put(&dots, theme.muted);
    }
}

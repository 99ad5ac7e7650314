//! The last minute at a glance, the lamps of the switchboard: a lane a server, each call a mark as long as
//! it took, failures and states of the connection in their places.

use std::ops::Range;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        id::ServerId,
        policy::breaker::State,
        read_model::{ConsoleState, ServerView},
        server::Phase,
    },
    tui::{
        activity::{Activity, Grid, Mark},
        theme::Theme,
        widget::paint::{self, Pen, pane},
    },
};

use super::{DrawContext, breaker, lamp};

/// What stands before a lane: lamp, name, gaps.
fn label(read_model: &ConsoleState) -> u16 {
    4 + read_model.servers.iter().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 16)
}

/// The cells of a lane in an activity pane of this width.
pub fn cells(read_model: &ConsoleState, area: Rect) -> u16 {
    area.width.saturating_sub(3 + label(read_model))
}

/// Whether anything of connections and breakers is in the picture that moves left with time.
pub fn moves(read_model: &ConsoleState, grid: Grid) -> bool {
    let cells = grid.cells as u16;
    read_model.servers.iter().any(|server| {
        let changed = server.breaker.transitions.iter().any(|change| grid.cell(change.at).is_some());
        changed || absences(server, grid, cells).any(|absence| absence.began || absence.cells.end < cells)
    })
}

/// The servers that have a lane in so many rows: all, or those with something to tell first.
fn lanes(activity: &Activity, read_model: &ConsoleState, grid: Grid, rows: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..read_model.servers.len()).collect();
    if places.len() > rows {
        let telling = |at: &usize| {
            let server = &read_model.servers[*at];
            let moved = grid.cell(server.phase_since).is_some();
            !(server.stats.in_flight > 0 || moved || activity.shows(server.id(), grid))
        };
        places.sort_by_cached_key(telling);
        places.truncate(rows);
        places.sort_unstable();
    }
    places
}

/// The server whose lane is at a row of the activity pane.
pub fn lane_at(activity: &Activity, look: DrawContext, area: Rect, y: u16) -> Option<ServerId> {
    let row = usize::from(y.checked_sub(area.y + 1)?);
    let rows = usize::from(area.height.saturating_sub(2));
    let grid = Grid::new(cells(look.read_model, area), look.now);
    let at = *lanes(activity, look.read_model, grid, rows).get(row)?;
    look.read_model.servers.get(at).map(|s| s.id().clone())
}

/// Draws the activity pane.
pub fn draw(activity: &Activity, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let (theme, read_model) = (look.theme, look.read_model);
    let grid = Grid::new(cells(read_model, area), look.now);
    let rows = usize::from(area.height.saturating_sub(2));
    let shown = lanes(activity, read_model, grid, rows);
    let hidden = read_model.servers.len() - shown.len();
    let more = format!("  {hidden} more, quiet");
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
    for (y, at) in shown.into_iter().enumerate() {
        let Some(server) = read_model.servers.get(at) else { continue };
        lane(activity, server, grid, look, Rect { y: inner.y + y as u16, height: 1, ..inner }, buf);
    }
}

fn lane(activity: &Activity, server: &ServerView, grid: Grid, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let mut pen = Pen::new(buf, area, 0);
    let (glyph, style) = lamp(&server.phase, theme);
    let column = label(look.read_model) - 4;
    pen.skip(1).put(glyph, style).skip(1).put_middle(server.id().as_str(), column, theme.text);
    let start = area.x + column + 4;
    let row = Rect { x: start, width: (grid.cells as u16).min(area.right().saturating_sub(start)), ..area };
    away(server, grid, theme, row, buf);
    left_alone(server, grid, theme, row, buf);
    for (x, mark) in activity.marks(server.id(), grid).unwrap_or_default().into_iter().enumerate() {
        if let (Some((symbol, style)), true) = (glyph_of(mark, theme), (x as u16) < row.width) {
            // Signs of our own, each a cell wide: nothing has to be measured.
            if let Some(cell) = buf.cell_mut((row.x + x as u16, row.y)) {
                cell.set_symbol(symbol).set_style(style);
            }
        }
    }
    changes(server, grid, theme, row, buf);
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

/// The times at which its breaker did not let calls through: `↯open ····`, `◑probe`.
fn left_alone(server: &ServerView, grid: Grid, theme: &Theme, row: Rect, buf: &mut Buffer) {
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

/// The moments at which its breaker changed, over whatever else happened then.
fn changes(server: &ServerView, grid: Grid, theme: &Theme, row: Rect, buf: &mut Buffer) {
    for change in &server.breaker.transitions {
        if let Some(x) = grid.cell(change.at).filter(|x| *x < row.width) {
            let (glyph, style) = breaker::glyph(change.to, theme);
            let place = Rect { x: row.x + x, width: row.width - x, ..row };
            let word = if change.to == State::Open { "open" } else { "" };
            // The word where nothing else happened.
            let free = (1..=word.len() as u16).all(|at| buf.cell((place.x + at, place.y)).is_some_and(|cell| cell.symbol() == "·"));
            Pen::new(buf, place, 0).put(glyph, style).put(if free { word } else { "" }, style);
        }
    }
}

/// A time at which a server could not be called, as far as a lane shows it.
struct Absence<'a> {
    phase: &'a Phase,
    cells: Range<u16>,
    /// Whether its beginning is shown.
    began: bool,
}

/// The times at which the server could not be called that fill a cell or more, newest first.
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

/// The times at which the server could not be called: a bar where they begin, the state's word where
/// there is room, dots.
fn away(server: &ServerView, grid: Grid, theme: &Theme, row: Rect, buf: &mut Buffer) {
    for Absence { phase, cells, began } in absences(server, grid, row.width) {
        let style = match phase {
            Phase::Failed { .. } => theme.fail,
            Phase::Reconnecting { .. } => theme.warn,
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

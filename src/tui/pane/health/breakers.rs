//! The breakers page: a panel per circuit breaker, side by side where there is room.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    state::ConsoleState,
    tui::{
        hits::Hit,
        pane::{DrawContext, breaker, text_view::TextView},
        widget::{
            paint::{Pen, lower, padded, pane},
            window::{Direction, Move, Window},
        },
    },
};

use super::Subject;

/// The minimum width of a panel.
const PANEL: u16 = 56;
/// State changes on a panel.
const CHANGES: usize = 3;

/// Cursor and scroll of the page.
#[derive(Default)]
pub struct Breakers {
    subjects: Vec<Subject>,
    cursor: Option<Subject>,
    window: Window,
    /// The first visible row of panels.
    top: usize,
    /// How many panels are side by side.
    across: usize,
}

impl Breakers {
    /// Returns the server or tool under the cursor.
    pub fn selected(&self) -> Option<&Subject> {
        self.subjects.get(self.window.cursor)
    }

    /// Moves the cursor up or down by rows of panels.
    pub fn go(&mut self, to: Move) {
        let to = match to {
            Move::Back(n) => Move::Back(n.min(3) * self.across.max(1)),
            Move::On(n) => Move::On(n.min(3) * self.across.max(1)),
            ends => ends,
        };
        self.move_cursor(to);
    }

    /// Moves the cursor to the previous or the next panel.
    pub fn sideways(&mut self, direction: Direction) {
        self.move_cursor(if direction == Direction::Backward { Move::Back(1) } else { Move::On(1) });
    }

    fn move_cursor(&mut self, to: Move) {
        self.window.go(to, self.subjects.len());
        self.cursor = self.selected().cloned();
    }

    /// Puts the cursor on a breaker.
    pub fn select(&mut self, subject: &Subject) {
        self.cursor = Some(subject.clone());
    }

    /// Puts the cursor on a panel. Returns whether it was there already.
    pub fn click(&mut self, index: usize) -> bool {
        let same = index == self.window.cursor;
        self.window.cursor = index.min(self.subjects.len().saturating_sub(1));
        self.cursor = self.selected().cloned();
        same
    }

    /// Updates the panels from the servers of the read model.
    pub fn fit(&mut self, read_model: &ConsoleState) {
        self.subjects.clear();
        for server in &read_model.servers {
            self.subjects.push(Subject { server: server.id().clone(), tool: None });
            let tools = server.tool_breakers.keys();
            self.subjects.extend(tools.map(|tool| Subject { server: server.id().clone(), tool: Some(tool.clone()) }));
        }
        if let Some(at) = self.cursor.as_ref().and_then(|cursor| self.subjects.iter().position(|s| s == cursor)) {
            self.window.cursor = at;
        }
        self.window.cursor = self.window.cursor.min(self.subjects.len().saturating_sub(1));
        self.cursor = self.selected().cloned();
    }

    /// Draws the page.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let right = counts(ctx);
        let right: Vec<(&str, Style)> = right.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        let inner = pane(buf, area, &[("Breakers", title)], &right, ctx.focused, theme);
        let legend = breaker::legend(theme);
        let legend: Vec<(&str, Style)> = legend.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        lower(buf, area, &legend, if ctx.focused { theme.focus } else { theme.border });
        if self.subjects.is_empty() {
            Pen::new(buf, inner, 0).skip(1).put("No servers yet", theme.muted);
            return;
        }
        self.across = usize::from((inner.width / PANEL).clamp(1, 3));
        let width = inner.width / self.across as u16;
        let panels: Vec<TextView> = self.subjects.iter().map(|subject| panel(subject, ctx, width.saturating_sub(4))).collect();
        let heights: Vec<u16> = panels.chunks(self.across).map(|row| row.iter().map(TextView::len).max().unwrap_or(0) as u16 + 2).collect();
        self.scroll(&heights, inner.height);
        let mut y = inner.y;
        for (row, height) in heights.iter().enumerate().skip(self.top) {
            if y >= inner.bottom() {
                break;
            }
            for column in 0..self.across {
                let index = row * self.across + column;
                let Some((subject, content)) = self.subjects.get(index).zip(panels.get(index)) else { break };
                let place = Rect { x: inner.x + width * column as u16, y, width, height: (*height).min(inner.bottom() - y) };
                ctx.hits.add(place, Hit::Row(index));
                draw_panel(subject, content, index == self.window.cursor, ctx, place, buf);
            }
            y += height;
        }
    }

    /// Scrolls so that the cursor's row of panels is fully visible.
    fn scroll(&mut self, heights: &[u16], room: u16) {
        let row = self.window.cursor / self.across.max(1);
        self.top = self.top.min(row).min(heights.len().saturating_sub(1));
        while self.top < row && heights[self.top..=row].iter().map(|h| u32::from(*h)).sum::<u32>() > u32::from(room) {
            self.top += 1;
        }
    }
}

fn panel<'t>(subject: &Subject, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let mut out = TextView::new(ctx.theme, width);
    if let Some(server) = ctx.read_model.server(&subject.server)
        && let Some(view) = breaker::view_of(subject, server)
    {
        let policy = breaker::policy_of(subject, server, ctx.read_model);
        breaker::panel(&mut out, view, &policy, CHANGES, ctx, width);
    }
    out
}

fn draw_panel(subject: &Subject, content: &TextView, selected: bool, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let name = match &subject.tool {
        Some(tool) => format!("{} › {tool}", subject.server),
        None => subject.server.to_string(),
    };
    let style = if selected && ctx.focused { theme.focus } else { theme.accent };
    let faults = ctx.read_model.server(&subject.server).and_then(|s| s.faults.get(&subject.tool));
    let fault = faults.map(|fault| format!(" ‼ FAULT {} ", fault.words()));
    let right: Vec<(&str, Style)> =
        fault.iter().map(|words| (words.as_str(), theme.fail.add_modifier(ratatui::style::Modifier::REVERSED))).collect();
    let inner = pane(buf, area, &[(&name, style)], &right, selected && ctx.focused, theme);
    let inner = padded(inner);
    content.draw(buf, inner, Window::default());
}

/// Counts the breakers by state: `3 closed  1 open`, with their glyphs.
fn counts(ctx: DrawContext) -> Vec<(String, Style)> {
    use crate::domain::policy::breaker::State;
    let states = ctx.read_model.servers.iter().flat_map(|s| std::iter::once(&s.breaker).chain(s.tool_breakers.values())).map(|b| b.state);
    let states: Vec<State> = states.collect();
    let mut pieces = vec![];
    for state in [State::Closed, State::HalfOpen, State::Open] {
        let count = states.iter().filter(|s| **s == state).count();
        if count > 0 {
            let (glyph, style) = breaker::glyph(state, ctx.theme);
            let gap = if pieces.is_empty() { "" } else { "  " };
            pieces.push((format!("{gap}{glyph} {count} {}", state.word()), style));
        }
    }
    pieces
}

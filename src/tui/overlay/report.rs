//! A report: lines of text that scroll, such as a past call or statistics.

use ratatui::{buffer::Buffer, layout::Rect};

use super::LastSize;
use crate::domain::text::visible;
use crate::tui::{
    dialog::Dialog,
    keymap::Context,
    pane::{DrawContext, text_view::TextView},
    theme::Theme,
    widget::{
        paint::{dialog, padded},
        window::{Move, Window},
    },
};

/// The tone of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    Plain,
    /// Less important.
    Muted,
    /// Something failed, or breaks.
    Bad,
}

/// A line: a label, which may be empty, and a text.
pub type Line = (String, String, Tone);

/// The width of the dialog, where there is room.
const WIDE: u16 = 110;

/// A report.
pub struct Report {
    title: String,
    lines: Vec<Line>,
    window: Window,
    last_size: LastSize,
}

impl Report {
    /// Creates a report. Texts are sanitised when they are drawn.
    pub fn new(title: impl Into<String>, lines: Vec<Line>) -> Report {
        Report { title: title.into(), lines, window: Window::default(), last_size: LastSize::default() }
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        for (label, text, tone) in &self.lines {
            let style = match tone {
                Tone::Plain => theme.text,
                Tone::Muted => theme.muted,
                Tone::Bad => theme.fail,
            };
            for (index, line) in text.lines().enumerate() {
                if label.is_empty() && self.lines.len() == 1 {
                    out.text(&visible(line), style);
                    continue;
                }
                out.field(if index == 0 { label } else { "" }, &visible(line), style);
            }
        }
        out
    }
}

impl Dialog for Report {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Notices]
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text_view(ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let rows = self.text_view(theme, WIDE.min(area.width).saturating_sub(4)).len();
        let height = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2).clamp(4, area.height.saturating_sub(4).max(4));
        let inner = dialog(buf, area, (WIDE, height), &[(&self.title, theme.focus)], &[], theme);
        let room = padded(inner);
        self.last_size.note(room);
        self.text_view(theme, room.width).draw(buf, room, self.window);
    }
}

//! The list of past notices, newest first, with all their details.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::LastSize;

use crate::{
    domain::event::NoticeLevel,
    state::ConsoleState,
    tui::{
        dialog::Dialog,
        keymap::Context,
        pane::{DrawContext, text_view::TextView},
        theme::Theme,
        widget::{
            paint::{dialog, padded},
            window::{Move, Window},
        },
    },
};

/// The list of notices.
#[derive(Default)]
pub struct Notices {
    window: Window,
    last_size: LastSize,
}

/// Returns the glyph and the style of a level.
pub fn level_glyph(level: NoticeLevel, theme: &Theme) -> (&'static str, Style) {
    match level {
        NoticeLevel::Info => ("·", theme.accent),
        NoticeLevel::Warn => ("!", theme.warn),
        NoticeLevel::Error => ("✕", theme.fail),
    }
}

impl Notices {
    fn text_view<'t>(read_model: &ConsoleState, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        for (at, notice) in read_model.notices.iter().rev() {
            let (glyph, style) = level_glyph(notice.level, theme);
            out.field(&read_model.epoch.time_of_day(*at)[..8], &format!("{glyph} {}", notice.text), style);
            for line in &notice.detail {
                out.field("", line, theme.text);
            }
        }
        if out.is_empty() {
            out.text("No notices", theme.muted);
        }
        out
    }
}

impl Dialog for Notices {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Notices]
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = Self::text_view(ctx.read_model, ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (read_model, theme) = (ctx.read_model, ctx.theme);
        let inner = dialog(buf, area, (100, area.height.saturating_sub(4)), &[("Notices", theme.focus)], &[], theme);
        let room = padded(inner);
        self.last_size.note(room);
        Self::text_view(read_model, theme, room.width).draw(buf, room, self.window);
    }
}

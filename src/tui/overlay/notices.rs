//! What Switchboard had to say, newest first, with every line of it.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::LastSize;

use crate::{
    domain::{event::NoticeLevel, read_model::ConsoleState},
    tui::{
        pane::text_view::Sheet,
        theme::Theme,
        widget::{paint::dialog, window::Window},
    },
};

/// The list of notices.
#[derive(Default)]
pub struct Notices {
    /// Scroll.
    pub window: Window,
    /// Where its text was drawn last.
    pub seen: LastSize,
}

/// The glyph and the style of a level.
pub fn level_glyph(level: NoticeLevel, theme: &Theme) -> (&'static str, Style) {
    match level {
        NoticeLevel::Info => ("·", theme.accent),
        NoticeLevel::Warn => ("!", theme.warn),
        NoticeLevel::Error => ("✕", theme.fail),
    }
}

impl Notices {
    /// How many rows there are.
    pub fn len(&self, read_model: &ConsoleState, theme: &Theme) -> usize {
        Self::sheet(read_model, theme, self.seen.width()).len()
    }

    fn sheet<'t>(read_model: &ConsoleState, theme: &'t Theme, width: u16) -> Sheet<'t> {
        let mut sheet = Sheet::new(theme, width);
        for (at, notice) in read_model.notices.iter().rev() {
            let (glyph, style) = level_glyph(notice.level, theme);
            sheet.field(&read_model.epoch.time_of_day(*at)[..8], &format!("{glyph} {}", notice.text), style);
            for line in &notice.detail {
                sheet.field("", line, theme.text);
            }
        }
        if sheet.is_empty() {
            sheet.text("Nothing so far.", theme.muted);
        }
        sheet
    }

    /// Draws the list.
    pub fn draw(&self, read_model: &ConsoleState, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let inner = dialog(buf, area, (100, area.height.saturating_sub(4)), &[("Notices", theme.focus)], &[], theme);
        let room = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        self.seen.note(room);
        Self::sheet(read_model, theme, room.width).draw(buf, room, self.window);
    }
}

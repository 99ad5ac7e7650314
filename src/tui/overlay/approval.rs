//! The approval dialog of a project's configuration file: shows what the file would start before anything starts.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    ApprovalPrompt,
    keymap::Context,
    pane::{DrawContext, text_view::TextView},
    theme::Theme,
    widget::{paint::dialog, window::Window},
};

use super::{LastSize, key_row};

/// The approval dialog.
pub struct Approval {
    /// The file and the commands that it would start.
    pub prompt: ApprovalPrompt,
    /// Scroll.
    pub window: Window,
    /// The size of the text area as drawn last.
    pub last_size: LastSize,
}

impl Approval {
    /// Returns how many rows the text takes.
    pub fn len(&self, theme: &Theme) -> usize {
        self.text_view(theme, self.last_size.width()).len()
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        out.text(
            "This file came with the project and would start programs on this machine. Nothing has been started yet. Read it, then decide. \
             Files that these programs read later are covered by the approval only if their content is listed here.",
            theme.text,
        );
        out.gap().field("file", &self.prompt.path, theme.accent).field("sha-256", &self.prompt.hash, theme.muted).gap();
        for line in &self.prompt.lines {
            out.text(line, theme.warn);
        }
        out
    }

    /// Draws the dialog. `keys_active` hides the keys during the guard time after it opened.
    pub fn draw(&self, ctx: DrawContext, keys_active: bool, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wish = (100, area.height.saturating_sub(2));
        let inner = dialog(buf, area, wish, &[("Start this project's servers?", theme.warn)], &[], theme);
        let room =
            Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), height: inner.height.saturating_sub(1), ..inner };
        self.last_size.note(room);
        self.text_view(theme, room.width).draw(buf, room, self.window);
        key_row(ctx, Context::Approval, |_| keys_active, inner, buf);
    }
}

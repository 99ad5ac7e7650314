//! The approval of a file that came with a project: what it would start, before it does.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    ApprovalPrompt,
    keymap::{Context, Keymap},
    pane::text_view::Sheet,
    theme::Theme,
    widget::{paint::dialog, window::Window},
};

use super::{LastSize, key_row};

/// The approval dialog.
pub struct Approval {
    /// What is to be approved.
    pub prompt: ApprovalPrompt,
    /// Scroll.
    pub window: Window,
    /// Where its text was drawn last.
    pub seen: LastSize,
}

impl Approval {
    /// How many rows there are.
    pub fn len(&self, theme: &Theme) -> usize {
        self.sheet(theme, self.seen.width()).len()
    }

    fn sheet<'t>(&self, theme: &'t Theme, width: u16) -> Sheet<'t> {
        let mut sheet = Sheet::new(theme, width);
        sheet.text(
            "This came with the project and would start programs on this machine. Nothing of it has been started or run. Read it, then decide. \
             Files that its programs read later are part of the approval only where their content is listed.",
            theme.text,
        );
        sheet.gap().field("file", &self.prompt.path, theme.accent).field("sha-256", &self.prompt.hash, theme.muted).gap();
        for line in &self.prompt.lines {
            sheet.text(line, theme.warn);
        }
        sheet
    }

    /// Draws the dialog; its keys only once they are `answered`.
    pub fn draw(&self, keys: &Keymap, answered: bool, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let wish = (100, area.height.saturating_sub(2));
        let inner = dialog(buf, area, wish, &[("Start what this project asks for?", theme.warn)], &[], theme);
        let room =
            Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), height: inner.height.saturating_sub(1), ..inner };
        self.seen.note(room);
        self.sheet(theme, room.width).draw(buf, room, self.window);
        key_row(keys, Context::Approval, |_| answered, theme, inner, buf);
    }
}

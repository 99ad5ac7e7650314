//! The text dialog: read-only text that scrolls, such as a past call. Opened by the model.

use ratatui::{buffer::Buffer, layout::Rect};

use super::LastSize;
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

/// The width of the dialog, where there is room.
const WIDE: u16 = 110;

/// The text of a dialog.
pub trait DialogText: 'static {
    /// Rows of the screen above and below the dialog together, at least.
    const MARGIN: u16;
    /// Rows of the lowest dialog, with its frame.
    const LOWEST: u16;

    /// Returns the title.
    fn title(&self) -> String;

    /// Returns the text at the right end of the title's row.
    fn note(&self) -> Option<&'static str> {
        None
    }

    /// Lays the text out for rows of `width` cells.
    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t>;
}

/// A dialog that shows a text.
pub struct TextDialog<T> {
    text: T,
    window: Window,
    last_size: LastSize,
}

impl<T: DialogText> TextDialog<T> {
    /// Creates a dialog at the start of its text.
    pub fn new(text: T) -> TextDialog<T> {
        TextDialog { text, window: Window::default(), last_size: LastSize::default() }
    }
}

impl<T: DialogText> Dialog for TextDialog<T> {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Notices]
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text.text_view(ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let width = WIDE.min(area.width);
        let rows = u16::try_from(self.text.text_view(theme, width.saturating_sub(4)).len()).unwrap_or(u16::MAX);
        let height = rows.saturating_add(2).max(T::LOWEST).min(area.height.saturating_sub(T::MARGIN).max(T::LOWEST));
        let note = self.text.note().map(|note| (note, theme.muted));
        let inner = dialog(buf, area, (width, height), &[(&self.text.title(), theme.focus)], note.as_slice(), theme);
        let room = padded(inner);
        self.last_size.note(room);
        self.text.text_view(theme, room.width).draw(buf, room, self.window);
    }
}

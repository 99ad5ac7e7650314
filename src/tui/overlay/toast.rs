//! Toasts: short messages in the corner that expire.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{event::NoticeLevel, time::Stamp},
    tui::{
        theme::Theme,
        widget::paint::{Pen, clear, width, wrap},
    },
};

use super::notices::level_glyph;

/// The most toasts on the screen.
pub const MOST: usize = 4;

/// A message with its expiry time.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    /// The severity.
    pub level: NoticeLevel,
    /// The message.
    pub text: String,
    /// The expiry time.
    pub until: Stamp,
}

/// Draws the toasts in the lower right corner of `area`, the newest at the bottom.
pub fn draw(toasts: &[Toast], theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut bottom = area.bottom();
    let room = area.width.min(64).saturating_sub(4);
    if room < 8 {
        return;
    }
    let shown: Vec<(&Toast, Vec<String>)> =
        toasts.iter().rev().take(MOST).map(|toast| (toast, wrap(&toast.text, room).into_iter().take(3).collect())).collect();
    // One width for all of them.
    let wide = shown.iter().flat_map(|(_, rows)| rows).map(|row| width(row.trim_end())).max().unwrap_or(0) + 4;
    for (toast, rows) in shown {
        let height = rows.len() as u16;
        if bottom < area.y + height {
            return;
        }
        bottom -= height;
        let wide = wide.min(area.width);
        let place = Rect { x: area.right() - wide, y: bottom, width: wide, height }.intersection(buf.area);
        clear(buf, place);
        let (glyph, style) = level_glyph(toast.level, theme);
        for (y, row) in rows.iter().enumerate() {
            let mut pen = Pen::new(buf, place, y as u16);
            pen.put("▌", style).put(if y == 0 { glyph } else { " " }, style).skip(1).put(row.trim_end(), theme.text);
        }
    }
}

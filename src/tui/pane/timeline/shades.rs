//! The bar of a call that was more than sent and answered: each stretch in its own glyph and style.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::read_model::CallView,
    tui::{
        call_segments::{Segment, SegmentKind, segments},
        pane::{DrawContext, attempts::segment_style},
        rows::{CallState, Row},
        theme::Theme,
        widget::paint::{Pen, width},
    },
};

use super::{Timeline, plan::Bar};

/// What the glyphs mean, the longest that fits is shown.
pub(super) const LEGENDS: [&str; 3] = [
    "  ░ waits  ▓ wire  ▒ hedge  ▞ fallback  · back-off  ◇ probe  ◆ cached  ✕ failed  ▸ running",
    "  ░ waits  ▓ wire  ▒ hedge  ▞ fallback  · pause  ◇ probe  ◆ cached",
    "  ░ waits  ▓ wire  ✕ failed  ▸ running",
];

/// How telling a stretch is: of several in one cell, the most telling is shown.
fn rank(kind: &SegmentKind) -> u8 {
    match kind {
        SegmentKind::Queued => 0,
        SegmentKind::BackOff => 1,
        SegmentKind::Waiting(..) | SegmentKind::Shared => 2,
        SegmentKind::Probe(_) => 3,
        SegmentKind::Attempt { .. } => 4,
        SegmentKind::Hit { .. } => 5,
    }
}

impl Timeline {
    /// Draws a call stretch by stretch; `label` goes into the longest where there is room.
    pub(super) fn shaded(&self, bar: &Bar, row: &Row, call: &CallView, label: &str, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let mut cut = segments(call, look.now);
        cut.sort_by_key(|segment| rank(&segment.kind));
        let last = i64::from(area.width) - 1;
        let mut put = |x: i64, text: &str, style: Style| {
            if (0..=last).contains(&x) {
                let place = Rect { x: area.x + x as u16, width: area.width - x as u16, ..area };
                Pen::new(buf, place, 0).put(text, style);
            }
        };
        // Between attempts of which nothing is told, the call is still here.
        for x in bar.from.max(0)..=bar.to.min(last) {
            put(x, "░", theme.muted);
        }
        for segment in &cut {
            let style = segment_style(segment, call, theme);
            let (from, to) = self.cells(segment);
            for x in from.max(0)..=to.min(last) {
                put(x, &segment.kind.glyph().to_string(), style);
            }
        }
        if let Some(segment) = cut.iter().max_by_key(|segment| segment.to.since(segment.from)) {
            let (from, to) = self.cells(segment);
            let (from, to) = (from.max(0), to.min(last));
            if to - from >= i64::from(width(label)) + 6 && matches!(segment.kind, SegmentKind::Attempt { .. }) {
                put(from + 2, &format!(" {label} "), segment_style(segment, call, theme).add_modifier(Modifier::BOLD));
            }
        }
        for segment in cut.iter().filter(|segment| segment.kind.failed()) {
            put(self.cells(segment).1, "✕", theme.fail);
        }
        if let Some((glyph, style)) = end(row, theme) {
            put(bar.to, glyph, style);
        }
    }

    /// The cells of a stretch. The last one is shared with what follows, unless it has the cell to itself.
    fn cells(&self, segment: &Segment) -> (i64, i64) {
        let (from, to) = (self.scale.column(segment.from), self.scale.column(segment.to));
        (from, to.max(from))
    }
}

/// How a call ended, at its end.
fn end(row: &Row, theme: &Theme) -> Option<(&'static str, Style)> {
    match row.state {
        CallState::Failed(_) => Some(("✕", theme.fail)),
        CallState::ToolError => Some(("!", theme.warn)),
        CallState::Cancelled => Some(("–", theme.muted)),
        state if state.pending() => Some(("▸", theme.running)),
        _ => None,
    }
}

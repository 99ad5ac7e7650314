//! The bar of a call with several segments (waits, attempts, backoff, cache): each in its own glyph and style.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    state::CallView,
    tui::{
        call_segments::{Segment, SegmentKind, segments},
        pane::{DrawContext, attempts::segment_style},
        rows::{CallState, Row},
        theme::Theme,
        widget::paint::{Pen, width},
    },
};

use super::{Timeline, layout::Bar};

/// Legends of the glyphs. The longest one that fits is shown.
pub(super) const LEGENDS: [&str; 3] = [
    "  ░ queued  ▓ wire  ▒ hedge  ▞ fallback  · backoff  ◇ probe  ◆ cached  ✕ failed  ▸ running",
    "  ░ queued  ▓ wire  ▒ hedge  ▞ fallback  · backoff  ◇ probe  ◆ cached",
    "  ░ queued  ▓ wire  ✕ failed  ▸ running",
];

/// Returns the drawing priority of a segment: of several in one cell, the highest is shown.
fn priority(kind: &SegmentKind) -> u8 {
    match kind {
        SegmentKind::Queued => 0,
        SegmentKind::BackOff => 1,
        SegmentKind::Waiting(..) | SegmentKind::Shared => 2,
        SegmentKind::Probe(_) => 3,
        SegmentKind::Attempt { .. } => 4,
        SegmentKind::Hit { .. } => 5,
    }
}

/// A call with several segments, and where it is drawn.
pub(super) struct SegmentedBar<'a> {
    /// The place of the bar on the timeline.
    pub bar: &'a Bar,
    /// The call's row.
    pub row: &'a Row,
    /// The call.
    pub call: &'a CallView,
    /// The name that is written into the longest attempt where there is room.
    pub label: &'a str,
}

impl Timeline {
    /// Draws a call segment by segment.
    pub(super) fn draw_segmented(&self, segmented: &SegmentedBar, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let SegmentedBar { bar, row, call, label } = *segmented;
        let mut cut = segments(call, ctx.now);
        cut.sort_by_key(|segment| priority(&segment.kind));
        let last = i64::from(area.width) - 1;
        let mut put = |x: i64, text: &str, style: Style| {
            if (0..=last).contains(&x) {
                let place = Rect { x: area.x + x as u16, width: area.width - x as u16, ..area };
                Pen::new(buf, place, 0).put(text, style);
            }
        };
        // Gaps between the known segments count as waiting.
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
        if let Some((glyph, style)) = outcome_sign(row, theme) {
            put(bar.to, glyph, style);
        }
    }

    /// Returns the first and the last cell of a segment. Consecutive segments may share a cell.
    fn cells(&self, segment: &Segment) -> (i64, i64) {
        let (from, to) = (self.scale.column(segment.from), self.scale.column(segment.to));
        (from, to.max(from))
    }
}

/// Returns the glyph of the outcome, for the end of the bar.
fn outcome_sign(row: &Row, theme: &Theme) -> Option<(&'static str, Style)> {
    match row.state {
        CallState::Failed(_) => Some(("✕", theme.fail)),
        CallState::ToolError => Some(("!", theme.warn)),
        CallState::Cancelled => Some(("–", theme.muted)),
        state if state.pending() => Some(("▸", theme.running)),
        _ => None,
    }
}

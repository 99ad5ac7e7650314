//! The sparkline of a server's latest calls: durations as bars, failures as crosses.

use std::collections::VecDeque;

use ratatui::style::Style;

use crate::tui::theme::Theme;

const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws the last `width` calls (microseconds, failed), oldest first, as pieces of one cell each.
///
/// The scale is logarithmic and the same for all servers, 0.1 ms to 10 s, so that rows can be compared.
pub fn spark(recent: &VecDeque<(u64, bool)>, width: usize, theme: &Theme) -> Vec<(&'static str, Style)> {
    let skip = recent.len().saturating_sub(width);
    recent.iter().skip(skip).map(|(us, failed)| if *failed { ("✕", theme.fail) } else { (BARS[level(*us)], tone(*us, theme)) }).collect()
}

fn level(us: u64) -> usize {
    let decades = (us.max(1) as f64 / 100.0).log10();
    // Five decades over eight bars.
    ((decades * 8.0 / 5.0).max(0.0) as usize).min(7)
}

fn tone(us: u64, theme: &Theme) -> Style {
    if us >= 1_000_000 { theme.warn } else { theme.ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_is_higher_and_failures_are_crosses() {
        let recent: VecDeque<_> = [(50, false), (3_000, false), (900_000, false), (20_000_000, false), (5, true)].into();
        let bars: String = spark(&recent, 10, &Theme::ansi()).iter().map(|(s, _)| *s).collect();
        assert_eq!(bars, "▁▃▇█✕");
        assert_eq!(spark(&recent, 2, &Theme::ansi()).len(), 2);
    }
}

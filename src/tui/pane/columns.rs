//! The columns of a server's row: statistics that line up over all rows, and their headers. Used by the tree and by the
//! list of a group.

use ratatui::style::Style;

use crate::{
    domain::{
        server::Era,
        stats::Stats,
        time::{Stamp, short},
    },
    state::ServerView,
    tui::{
        theme::Theme,
        widget::{paint::Pen, spark::spark},
    },
};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// `stdio` or `http`.
    Transport,
    /// The negotiated protocol revision: the year in a narrow column, the full date in a wide one.
    Era(ProtocolFormat),
    /// Calls in flight.
    Running,
    /// Calls that ended in the last minute.
    Rate,
    /// The share of failed calls.
    Failed,
    /// The 95th percentile of the latency.
    P95,
    /// The last durations.
    Bars(u16),
}

/// How much of a protocol revision is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProtocolFormat {
    /// `2025`
    Year,
    /// `2025-11-25`
    Date,
}

impl Column {
    fn width(self) -> u16 {
        match self {
            Column::Transport => 6,
            Column::Era(ProtocolFormat::Year) => 5,
            Column::Era(ProtocolFormat::Date) => 11,
            Column::Running => 4,
            Column::Rate => 6,
            Column::Failed => 6,
            Column::P95 => 8,
            Column::Bars(bars) => bars + 1,
        }
    }

    fn head(self) -> &'static str {
        match self {
            Column::Transport => "type",
            Column::Era(ProtocolFormat::Year) => "mcp",
            Column::Era(ProtocolFormat::Date) => "protocol",
            Column::Running => "run",
            Column::Rate => "/min",
            Column::Failed => "fail",
            Column::P95 => "p95",
            Column::Bars(..12) => "last",
            Column::Bars(_) => "last calls",
        }
    }

    /// Returns whether the text is left-aligned.
    fn is_left_aligned(self) -> bool {
        matches!(self, Column::Transport | Column::Era(_) | Column::Bars(_))
    }
}

/// The columns that fit, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerColumns {
    columns: Vec<Column>,
}

impl ServerColumns {
    /// Returns the columns for `room` cells. The columns that say most about a server's health are added first.
    pub fn for_room(room: u16) -> ServerColumns {
        // Each step adds a column, or widens one of the same kind.
        let steps = [
            Column::P95,
            Column::Failed,
            Column::Era(ProtocolFormat::Year),
            Column::Bars(4),
            Column::Running,
            Column::Bars(8),
            Column::Transport,
            Column::Era(ProtocolFormat::Date),
            Column::Bars(12),
            Column::Rate,
            Column::Bars(24),
        ];
        let mut columns: Vec<Column> = vec![];
        for step in steps {
            let mut more = columns.clone();
            more.retain(|column| std::mem::discriminant(column) != std::mem::discriminant(&step));
            more.push(step);
            if more.iter().map(|column| column.width()).sum::<u16>() > room {
                break;
            }
            columns = more;
        }
        let place = |column: &Column| match column {
            Column::Transport => 0,
            Column::Era(_) => 1,
            Column::Running => 2,
            Column::Rate => 3,
            Column::Failed => 4,
            Column::P95 => 5,
            Column::Bars(_) => 6,
        };
        columns.sort_by_key(place);
        ServerColumns { columns }
    }

    /// Returns the cells that all columns take.
    pub fn width(&self) -> u16 {
        self.columns.iter().map(|column| column.width()).sum()
    }

    /// Returns the headers, a piece for each column.
    pub fn head_pieces(&self, theme: &Theme) -> Vec<(String, Style)> {
        self.columns.iter().map(|column| (aligned(*column, column.head()), theme.muted)).collect()
    }

    /// Returns a server's values, as wide as the columns.
    pub fn pieces(&self, server: &ServerView, now: Stamp, theme: &Theme) -> Vec<(String, Style)> {
        let mut cells: Vec<(String, Style)> = vec![];
        for column in &self.columns {
            if let Column::Bars(bars) = *column {
                let drawn = spark(&server.stats.recent, usize::from(bars), theme);
                cells.push((" ".repeat(usize::from(bars + 1) - drawn.len()), theme.muted));
                cells.extend(drawn.into_iter().map(|(bar, style)| (bar.to_owned(), style)));
                continue;
            }
            let (text, style) = value_of(*column, server, now, theme);
            cells.push((aligned(*column, &text), style));
        }
        cells
    }

    /// Writes the headers at the right end of the row.
    pub fn heads(&self, theme: &Theme, pen: &mut Pen) {
        right(&self.head_pieces(theme), pen);
    }

    /// Writes a server's values at the right end of the row. Drops columns from the left until `needed` cells stay free.
    pub fn row(&self, server: &ServerView, now: Stamp, needed: u16, theme: &Theme, pen: &mut Pen) {
        let mut fitting = self.clone();
        while !fitting.columns.is_empty() && fitting.width() + needed > pen.left() {
            fitting.columns.remove(0);
        }
        right(&fitting.pieces(server, now, theme), pen);
    }
}

fn right(cells: &[(String, Style)], pen: &mut Pen) {
    let pieces: Vec<(&str, Style)> = cells.iter().map(|(text, style)| (text.as_str(), *style)).collect();
    pen.right(&pieces);
}

fn aligned(column: Column, text: &str) -> String {
    let width = usize::from(column.width());
    if column.is_left_aligned() { format!(" {text:<0$}", width - 1) } else { format!("{text:>width$}") }
}

fn value_of(column: Column, server: &ServerView, now: Stamp, theme: &Theme) -> (String, Style) {
    let (stats, blank) = (&server.stats, (String::new(), theme.muted));
    match column {
        Column::Transport => (server.spec.launch.transport().to_owned(), theme.muted),
        Column::Era(format) => match server.info.as_deref() {
            // The modern era is brighter, because most servers still speak the legacy one.
            Some(info) => {
                let style = if info.era == Era::Modern { theme.text } else { theme.muted };
                (info.protocol.chars().take(if format == ProtocolFormat::Date { 10 } else { 4 }).collect(), style)
            }
            None => blank,
        },
        Column::Running if stats.in_flight > 0 => (format!("▸{}", stats.in_flight.min(99)), theme.running),
        Column::Rate => match stats.per_minute(now) {
            0 => blank,
            n => (n.min(99_999).to_string(), theme.text),
        },
        Column::Running => blank,
        Column::Failed => failed(stats, theme),
        Column::P95 => match stats.percentile(95.0) {
            Some(p95) => (short(p95), theme.text),
            None => ("·".to_owned(), theme.muted),
        },
        Column::Bars(_) => blank,
    }
}

/// Formats the share of failed calls. Rounds neither to 0 % when a call failed nor to 100 % when one did not.
pub fn failed(stats: &Stats, theme: &Theme) -> (String, Style) {
    let ended = stats.settled.saturating_sub(stats.cancelled);
    let percent = stats.failure_rate() * 100.0;
    match (ended, stats.failed) {
        (0, _) => ("·".to_owned(), theme.muted),
        (_, 0) => ("0 %".to_owned(), theme.muted),
        _ if percent < 1.0 => ("<1 %".to_owned(), theme.warn),
        (ended, failed) if failed < ended => (format!("{:.0} %", percent.min(99.0)), theme.fail),
        _ => ("100 %".to_owned(), theme.fail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_never_take_more_than_their_room_and_grow_with_it() {
        let mut before = 0;
        for room in 0..120 {
            let columns = ServerColumns::for_room(room);
            assert!(columns.width() <= room);
            assert!(columns.width() >= before, "{room}");
            before = columns.width();
        }
        assert_eq!(ServerColumns::for_room(20).columns, [Column::Era(ProtocolFormat::Year), Column::Failed, Column::P95]);
        assert_eq!(ServerColumns::for_room(120).columns.len(), 7);
    }

    #[test]
    fn a_share_says_whether_there_is_any_and_whether_it_is_all() {
        let theme = Theme::ansi();
        let words = |settled, cancelled, bad| {
            let mut stats = Stats::default();
            (stats.settled, stats.cancelled, stats.failed) = (settled, cancelled, bad);
            failed(&stats, &theme).0
        };
        assert_eq!(words(0, 0, 0), "·");
        assert_eq!(words(3, 3, 0), "·");
        assert_eq!(words(9, 0, 0), "0 %");
        assert_eq!(words(1000, 0, 1), "<1 %");
        assert_eq!(words(1000, 0, 999), "99 %");
        assert_eq!(words(8, 4, 4), "100 %");
    }
}

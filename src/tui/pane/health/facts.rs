//! What is known of one server or tool: its latencies drawn, what went wrong, how its connection fared.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        call::FailureKind,
        read_model::ServerView,
        server::Phase,
        stats::{BUCKETS, PER_DECADE, Stats, bucket_start},
        time::{Stamp, short},
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, breaker, lamp, state_words, text_view::Sheet},
        widget::{
            paint::pane,
            window::{Move, Window},
        },
    },
};

use super::{BARS, Subject, latency_style, stats_of};

/// Rows of the histogram.
const HEIGHT: usize = 5;
/// Changes of the breaker that are listed.
const CHANGES: usize = 6;
/// Connection states and faults that are listed.
const LISTED: usize = 40;

/// The scroll of the pane.
#[derive(Default)]
pub struct Facts {
    window: Window,
}

impl Facts {
    /// Scrolls.
    pub fn go(&mut self, to: Move, subject: Option<&Subject>, look: DrawContext, area: Rect) {
        let rows = sheet(subject, look, area.width.saturating_sub(4)).len();
        self.window.scroll(to, rows, usize::from(area.height.saturating_sub(2)));
    }

    /// Draws the pane.
    pub fn draw(&self, subject: Option<&Subject>, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = match subject {
            Some(Subject { server, tool: Some(tool) }) => format!("{server} › {tool}"),
            Some(Subject { server, .. }) => server.to_string(),
            None => "Server".into(),
        };
        let style = if look.focused { theme.focus } else { theme.text };
        let server = subject.and_then(|s| look.read_model.server(&s.server));
        let right = match server {
            Some(server) => {
                let (glyph, style) = lamp(&server.phase, theme);
                vec![(glyph, style), (" ", style), (server.phase.word(), style)]
            }
            None => vec![],
        };
        let inner = pane(buf, area, &[(&title, style)], &right, look.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        sheet(subject, look, inner.width).draw(buf, inner, self.window);
    }
}

fn sheet<'t>(subject: Option<&Subject>, look: DrawContext<'t>, width: u16) -> Sheet<'t> {
    let theme = look.theme;
    let mut sheet = Sheet::new(theme, width);
    let Some((subject, server)) = subject.and_then(|s| Some((s, look.read_model.server(&s.server)?))) else {
        sheet.text("Nothing is selected.", theme.muted);
        return sheet;
    };
    let empty = Stats::default();
    let stats = stats_of(subject, server).unwrap_or(&empty);
    made_faults(&mut sheet, subject, server, look);
    breaker_rows(&mut sheet, subject, server, look, width);
    histogram(&mut sheet, stats, look, width);
    failures(&mut sheet, stats, look);
    if subject.tool.is_none() {
        connection(&mut sheet, server, look);
        faults(&mut sheet, server, look);
    }
    sheet
}

/// Faults that are made by hand here.
fn made_faults(sheet: &mut Sheet, subject: &Subject, server: &ServerView, look: DrawContext) {
    let theme = look.theme;
    let key = look.keys.key(&[Context::Health], Action::StopFaults).unwrap_or_default();
    for (tool, fault) in server.faults.iter().filter(|(tool, _)| subject.tool.is_none() || **tool == subject.tool) {
        let of = tool.as_ref().map_or(String::new(), |tool| format!("{tool}: "));
        sheet.row(vec![
            (" ‼ FAULT INJECTED ".to_owned(), theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD)),
            (format!("  {of}{}  ", fault.words()), theme.fail),
            (key.clone(), theme.key),
            (" ends it".into(), theme.muted),
        ]);
    }
    sheet.gap();
}

/// The breaker of the subject, and those of its tools in a line each.
fn breaker_rows(sheet: &mut Sheet, subject: &Subject, server: &ServerView, look: DrawContext, width: u16) {
    let theme = look.theme;
    if let Some(view) = breaker::view_of(subject, server) {
        let policy = breaker::policy_of(subject, server, look.read_model);
        breaker::panel(sheet, view, &policy, CHANGES, look, width);
    }
    if subject.tool.is_none() && !server.tool_breakers.is_empty() {
        for (tool, view) in &server.tool_breakers {
            let policy = breaker::policy_of(&Subject { tool: Some(tool.clone()), ..subject.clone() }, server, look.read_model);
            let (words, style) = breaker::words(view, &policy, look.now, theme);
            let name = crate::domain::text::middle(tool, 24).into_owned();
            sheet.row(vec![("tool       ".into(), theme.muted), (format!("{name:<24} "), theme.text), (words, style)]);
        }
    }
    sheet.gap();
}

/// The latencies: bars over a logarithmic axis, cut to where there are some, percentiles under it.
fn histogram(sheet: &mut Sheet, stats: &Stats, look: DrawContext, width: u16) {
    let theme = look.theme;
    let Some(shape) = stats.shape() else {
        sheet.text("No call was answered yet: latencies are drawn here.", theme.muted);
        return;
    };
    let first = shape.iter().position(|n| *n > 0).unwrap_or(0) / PER_DECADE * PER_DECADE;
    let last = shape.iter().rposition(|n| *n > 0).map_or(BUCKETS, |at| (at / PER_DECADE + 1) * PER_DECADE);
    let shown = &shape[first..last.max(first + 1)];
    let each = (usize::from(width.saturating_sub(9)) / shown.len()).clamp(1, 4);
    let most = u64::from(shown.iter().copied().max().unwrap_or(1).max(1));
    for row in (0..HEIGHT).rev() {
        let label = if row == HEIGHT - 1 { format!("{most:>6} ┤") } else { "       │".to_owned() };
        let mut pieces = vec![(label, theme.muted)];
        for (index, count) in shown.iter().enumerate() {
            // At least the lowest bar, so that a single slow call is seen.
            let eighths = (u64::from(*count) * (HEIGHT as u64 * 8) / most).max(u64::from(*count > 0)) as usize;
            let cell = match eighths.saturating_sub(row * 8) {
                0 => " ",
                n => BARS[n.min(8) - 1],
            };
            let us = bucket_start(first + index).as_micros() as u64;
            let gap = if each > 2 { " " } else { "" };
            pieces.push((format!("{}{gap}", cell.repeat(each - gap.len())), latency_style(us, theme)));
        }
        sheet.row(pieces);
    }
    axis(sheet, stats, (first, shown.len(), each), look);
}

/// The decades under the bars, and a line with the percentiles at their places.
fn axis(sheet: &mut Sheet, stats: &Stats, (first, count, each): (usize, usize, usize), look: DrawContext) {
    let theme = look.theme;
    let mut line = "       └".to_owned();
    let mut labels = " ".repeat(8);
    for decade in 0..count / PER_DECADE {
        line.push_str(&format!("┴{}", "─".repeat(PER_DECADE * each - 1)));
        let time = bucket_start(first + decade * PER_DECADE);
        let text = match time.as_micros() {
            us if us < 1000 => format!("{us} µs"),
            us if us < 1_000_000 => format!("{} ms", us / 1000),
            us => format!("{} s", us / 1_000_000),
        };
        labels.push_str(&format!("{text:<width$}", width = PER_DECADE * each));
    }
    sheet.row(vec![(line, theme.muted)]);
    sheet.row(vec![(labels, theme.muted)]);
    let mut pieces = Vec::new();
    for (percent, word) in [(99.0, "p99"), (95.0, "p95"), (50.0, "p50")] {
        let Some(time) = stats.percentile(percent) else { continue };
        pieces.push((format!("{word} {}   ", short(time)), latency_style(time.as_micros() as u64, theme)));
    }
    pieces.push(("        ".into(), theme.muted));
    pieces.reverse();
    sheet.row(pieces);
}

/// Outcomes, failures by kind as bars, the last failure with its message.
fn failures(sheet: &mut Sheet, stats: &Stats, look: DrawContext) {
    let theme = look.theme;
    sheet.gap();
    sheet.field("answered", &format!("{} · {} of them tool errors", stats.answered, stats.tool_errors), theme.text);
    if stats.cancelled > 0 {
        sheet.field("cancelled", &stats.cancelled.to_string(), theme.text);
    }
    let style = if stats.failed > 0 { theme.fail } else { theme.muted };
    sheet.field("failed", &format!("{} · {:.1} %", stats.failed, stats.failure_rate() * 100.0), style);
    let most = stats.failures.values().copied().max().unwrap_or(0).max(1);
    let mut kinds: Vec<(&FailureKind, &u64)> = stats.failures.iter().collect();
    kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), **kind));
    for (kind, count) in kinds {
        let bar = "▇".repeat((*count * 20 / most).max(1) as usize);
        sheet.row(vec![(format!("  {:<18}", kind.words()), theme.text), (bar, theme.fail), (format!(" {count}"), theme.text)]);
    }
    if let Some((at, failure)) = &stats.last_failure {
        sheet.field("last", &format!("✕ at {}", &look.read_model.epoch.time_of_day(*at)[..8]), theme.fail);
        sheet.field("", &failure.message, theme.text);
        if let Some(hint) = &failure.hint {
            sheet.field("try", hint, theme.accent);
        }
    }
}

/// The states of the connection, newest first, with how long each lasted.
fn connection(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let theme = look.theme;
    sheet.gap().text("Connection", theme.accent);
    let mut end = None;
    for (at, phase) in server.history.iter().rev().take(LISTED) {
        let (glyph, style) = lamp(phase, theme);
        let words = match (&**phase, end) {
            (_, None) => state_words(server, look.now),
            (Phase::Starting { step }, _) => format!("starting · {}", step.doing()),
            (Phase::Reconnecting { why, .. } | Phase::Failed { why }, _) => format!("{} · {}", phase.word(), why.summary),
            (Phase::Degraded { reason }, _) => format!("degraded · {reason}"),
            _ => phase.word().to_owned(),
        };
        let lasted = match end {
            Some(end) => short(Stamp::since(end, *at)),
            None if phase.pending() => format!("for {}", short(look.now.since(*at))),
            None => "until now".to_owned(),
        };
        sheet.row(vec![
            (format!("{}  ", &look.read_model.epoch.time_of_day(*at)[..8]), theme.muted),
            (format!("{glyph} "), style),
            (format!("{words}  "), style),
            (lasted, theme.muted),
        ]);
        end = Some(*at);
    }
    if server.history.is_empty() {
        sheet.text("It was never started.", theme.muted);
    }
}

fn faults(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let theme = look.theme;
    if server.anomaly_counts.is_empty() {
        return;
    }
    sheet.gap().text("Against the protocol", theme.accent);
    for (kind, count) in &server.anomaly_counts {
        sheet.row(vec![(format!("{count:>6} × "), theme.warn), (kind.words().to_owned(), Style::new().patch(theme.text))]);
    }
    for (at, anomaly) in server.anomalies.iter().rev().take(LISTED) {
        sheet.field(&look.read_model.epoch.time_of_day(*at)[..8], &format!("{}: {}", anomaly.kind.words(), anomaly.detail), theme.text);
    }
}

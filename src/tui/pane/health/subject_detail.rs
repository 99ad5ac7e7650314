//! The detail of a server or tool: injected faults, breaker, latency histogram, failures, connection history and anomalies.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        call::FailureKind,
        plural::counted,
        server::Phase,
        stats::{BUCKETS, PER_DECADE, Stats, bucket_start},
        text::visible,
        time::{Stamp, short},
    },
    state::{ClientView, ServerView},
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, breaker, state_words, status_dot, text_view::TextView},
        widget::{
            paint::{head, padded, pane, width},
            window::{Move, Window},
        },
    },
};

use super::{BARS, Subject, latency_style, stats_of};

/// Rows of the histogram.
const HEIGHT: usize = 5;
/// The most state changes of the breaker.
const CHANGES: usize = 6;
/// The most connection states and anomalies.
const LISTED: usize = 40;

/// The cells of a connection state without its words and its duration.
const CONNECTION_CELLS: u16 = 14;

/// The scroll of the pane.
#[derive(Default)]
pub struct SubjectDetail {
    window: Window,
}

impl SubjectDetail {
    /// Scrolls.
    pub fn go(&mut self, to: Move, subject: Option<&Subject>, ctx: DrawContext, area: Rect) {
        let rows = text_view(subject, ctx, area.width.saturating_sub(4)).len();
        self.window.scroll(to, rows, usize::from(area.height.saturating_sub(2)));
    }

    /// Draws the pane.
    pub fn draw(&self, subject: Option<&Subject>, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = match subject {
            Some(Subject { server, tool: Some(tool) }) => format!("{server} › {tool}"),
            Some(Subject { server, .. }) => server.to_string(),
            None => "Server".into(),
        };
        let style = if ctx.focused { theme.focus } else { theme.text };
        let server = subject.and_then(|s| ctx.read_model.server(&s.server));
        let right = match server {
            Some(server) => {
                let (glyph, style) = status_dot(&server.phase, theme);
                vec![(glyph, style), (" ", style), (server.phase.word(), style)]
            }
            None => vec![],
        };
        let inner = pane(buf, area, &[(&title, style)], &right, ctx.focused, theme);
        let inner = padded(inner);
        let text = text_view(subject, ctx, inner.width);
        text.draw(buf, inner, self.window);
        text.record(ctx.hits, inner, self.window);
    }
}

fn text_view<'t>(subject: Option<&Subject>, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let theme = ctx.theme;
    let mut out = TextView::new(theme, width);
    let Some((subject, server)) = subject.and_then(|s| Some((s, ctx.read_model.server(&s.server)?))) else {
        out.text("No selection", theme.muted);
        return out;
    };
    let empty = Stats::default();
    let stats = stats_of(subject, server).unwrap_or(&empty);
    injected_faults(&mut out, subject, server, ctx);
    breaker_rows(&mut out, subject, server, ctx, width);
    histogram(&mut out, stats, ctx, width);
    failures(&mut out, stats, ctx);
    if subject.tool.is_none() {
        connection(&mut out, server, ctx);
        client_sessions(&mut out, server, ctx);
        anomalies(&mut out, server, ctx);
    }
    out
}

/// Adds the injected faults.
fn injected_faults(out: &mut TextView, subject: &Subject, server: &ServerView, ctx: DrawContext) {
    let theme = ctx.theme;
    let key = ctx.keys.key(&[Context::Health], Action::StopFaults).unwrap_or_default();
    for (tool, fault) in server.faults.iter().filter(|(tool, _)| subject.tool.is_none() || **tool == subject.tool) {
        let prefix = tool.as_ref().map_or(String::new(), |tool| format!("{tool}: "));
        out.row(vec![
            (" ‼ FAULT INJECTED ".to_owned(), theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD)),
            (format!("  {prefix}{}  ", fault.words()), theme.fail),
            (key.clone(), theme.key),
            (" stop".into(), theme.muted),
        ])
        .does(Action::StopFaults);
    }
    out.gap();
}

/// Adds the breaker of the subject, and a line for each of its tools' breakers.
fn breaker_rows(out: &mut TextView, subject: &Subject, server: &ServerView, ctx: DrawContext, width: u16) {
    let theme = ctx.theme;
    if let Some(view) = breaker::view_of(subject, server) {
        let policy = breaker::policy_of(subject, server, ctx.read_model);
        breaker::panel(out, view, &policy, CHANGES, ctx, width);
    }
    if subject.tool.is_none() && !server.tool_breakers.is_empty() {
        for (tool, view) in &server.tool_breakers {
            let policy = breaker::policy_of(&Subject { tool: Some(tool.clone()), ..subject.clone() }, server, ctx.read_model);
            let (words, style) = breaker::words(view, &policy, ctx.now, theme);
            let name = crate::domain::text::middle(tool, 24).into_owned();
            out.row(vec![("tool       ".into(), theme.muted), (format!("{name:<24} "), theme.text), (words, style)]);
        }
    }
    out.gap();
}

/// Adds the latency histogram: bars over a logarithmic axis, limited to the decades in use, with percentiles below.
fn histogram(out: &mut TextView, stats: &Stats, ctx: DrawContext, width: u16) {
    let theme = ctx.theme;
    let Some(buckets) = stats.shape() else {
        out.text("No latencies yet", theme.muted);
        return;
    };
    let first = buckets.iter().position(|n| *n > 0).unwrap_or(0) / PER_DECADE * PER_DECADE;
    let last = buckets.iter().rposition(|n| *n > 0).map_or(BUCKETS, |at| (at / PER_DECADE + 1) * PER_DECADE);
    let shown = &buckets[first..last.max(first + 1)];
    let each = (usize::from(width.saturating_sub(9)) / shown.len()).clamp(1, 4);
    let most = u64::from(shown.iter().copied().max().unwrap_or(1).max(1));
    for row in (0..HEIGHT).rev() {
        let label = if row == HEIGHT - 1 { format!("{most:>6} ┤") } else { "       │".to_owned() };
        let mut pieces = vec![(label, theme.muted)];
        for (index, count) in shown.iter().enumerate() {
            // At least the lowest bar, so that a single slow call is visible.
            let eighths = (u64::from(*count) * (HEIGHT as u64 * 8) / most).max(u64::from(*count > 0)) as usize;
            let cell = match eighths.saturating_sub(row * 8) {
                0 => " ",
                n => BARS[n.min(8) - 1],
            };
            let us = bucket_start(first + index).as_micros() as u64;
            let gap = if each > 2 { " " } else { "" };
            pieces.push((format!("{}{gap}", cell.repeat(each - gap.len())), latency_style(us, theme)));
        }
        out.row(pieces);
    }
    axis(out, stats, (first, shown.len(), each), ctx);
}

/// Adds the decades below the bars, and a line of percentiles.
fn axis(out: &mut TextView, stats: &Stats, (first, count, each): (usize, usize, usize), ctx: DrawContext) {
    let theme = ctx.theme;
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
    out.row(vec![(line, theme.muted)]);
    out.row(vec![(labels, theme.muted)]);
    let mut pieces = Vec::new();
    for (percent, word) in [(99.0, "p99"), (95.0, "p95"), (50.0, "p50")] {
        let Some(time) = stats.percentile(percent) else { continue };
        pieces.push((format!("{word} {}   ", short(time)), latency_style(time.as_micros() as u64, theme)));
    }
    pieces.push(("        ".into(), theme.muted));
    pieces.reverse();
    out.row(pieces);
}

/// Adds outcomes, failures by kind as bars, and the last failure with its message.
fn failures(out: &mut TextView, stats: &Stats, ctx: DrawContext) {
    let theme = ctx.theme;
    out.gap();
    out.field("answered", &format!("{} · {}", stats.answered, counted(stats.tool_errors, "tool error")), theme.text);
    if stats.cancelled > 0 {
        out.field("cancelled", &stats.cancelled.to_string(), theme.text);
    }
    let style = if stats.failed > 0 { theme.fail } else { theme.muted };
    out.field("failed", &format!("{} · {:.1} %", stats.failed, stats.failure_rate() * 100.0), style);
    let most = stats.failures.values().copied().max().unwrap_or(0).max(1);
    let mut kinds: Vec<(&FailureKind, &u64)> = stats.failures.iter().collect();
    kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), **kind));
    for (kind, count) in kinds {
        let bar = "▇".repeat((*count * 20 / most).max(1) as usize);
        out.row(vec![(format!("  {:<18}", kind.words()), theme.text), (bar, theme.fail), (format!(" {count}"), theme.text)]);
    }
    if let Some((at, failure)) = &stats.last_failure {
        out.field("last", &format!("✕ at {}", &ctx.read_model.epoch.time_of_day(*at)[..8]), theme.fail);
        out.field("", &failure.message, theme.text);
        if let Some(hint) = &failure.hint {
            out.field("try", hint, theme.accent);
        }
    }
}

/// Adds the connection states, newest first, with their durations.
fn connection(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let theme = ctx.theme;
    out.gap().text("Connection", theme.accent);
    let mut end = None;
    for (at, phase) in server.history.iter().rev().take(LISTED) {
        let (glyph, style) = status_dot(phase, theme);
        let words = match (&**phase, end) {
            (_, None) => state_words(server, ctx.now),
            (Phase::Starting { step }, _) => format!("starting · {}", step.doing()),
            (Phase::Reconnecting { why, .. } | Phase::Failed { why } | Phase::NeedsLogin { why }, _) => {
                format!("{} · {}", phase.word(), why.summary)
            }
            (Phase::Degraded { reason }, _) => format!("degraded · {reason}"),
            _ => phase.word().to_owned(),
        };
        let lasted = match end {
            Some(end) => short(Stamp::since(end, *at)),
            None if phase.pending() => format!("for {}", short(ctx.now.since(*at))),
            None => "current".to_owned(),
        };
        // The words are cut, and not the duration.
        let room = usize::from(out.width().saturating_sub(CONNECTION_CELLS + width(&lasted)));
        let words = visible(&words);
        let shown =
            if usize::from(width(&words)) > room { format!("{}…", head(&words, room.saturating_sub(1))) } else { words.into_owned() };
        out.row(vec![
            (format!("{}  ", &ctx.read_model.epoch.time_of_day(*at)[..8]), theme.muted),
            (format!("{glyph} "), style),
            (format!("{shown}  "), style),
            (lasted, theme.muted),
        ]);
        end = Some(*at);
    }
    if server.history.is_empty() {
        out.text("Never started", theme.muted);
    }
}

/// Adds the own sessions of clients.
fn client_sessions(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let theme = ctx.theme;
    if server.client_sessions.is_empty() {
        return;
    }
    out.gap()
        .text(&format!("{} of clients, in addition to the shared one", counted(server.client_sessions.len(), "session")), theme.accent);
    for session in server.client_sessions.iter() {
        let owner = ctx.read_model.clients.get(session.client).map_or_else(|| "client".into(), ClientView::label);
        out.row(vec![
            (format!("{}  ", &ctx.read_model.epoch.time_of_day(session.since)[..8]), theme.muted),
            (format!("{owner}  "), theme.text),
            (format!("client {}", session.client), theme.muted),
        ]);
    }
}

/// Adds the anomalies of the server.
fn anomalies(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let theme = ctx.theme;
    if server.anomaly_counts.is_empty() {
        return;
    }
    out.gap().text("Protocol violations", theme.accent);
    for (kind, count) in &server.anomaly_counts {
        out.row(vec![(format!("{count:>6} × "), theme.warn), (kind.words().to_owned(), Style::new().patch(theme.text))]);
    }
    for (at, anomaly) in server.anomalies.iter().rev().take(LISTED) {
        out.field(&ctx.read_model.epoch.time_of_day(*at)[..8], &format!("{}: {}", anomaly.kind.words(), anomaly.detail), theme.text);
    }
}

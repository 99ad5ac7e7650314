//! Draws a circuit breaker: panel, state text and badge. Used by the health view, the tree and the info pane.
//!
//! The state is a glyph and a word. Outcomes in the window are glyphs: `□` answered, `◪` slow, `■` failed, `▣` slow and failed.

use std::{sync::Arc, time::Duration};

use ratatui::style::{Modifier, Style};

use crate::{
    domain::{
        id::ToolId,
        plural::counted,
        policy::breaker::{BreakerOverride, BreakerPolicy, BreakerView, Cell, State, Window},
        time::{Stamp, short},
    },
    state::{ConsoleState, ServerView},
    tui::{theme::Theme, widget::paint},
};

use super::{DrawContext, health::Subject, text_view::TextView};

/// Cells of a bar.
const BAR: usize = 16;
/// The most cells of the window that are drawn. A breaker view holds no more.
const CELLS: u32 = 64;

/// Returns the glyph and the style of a state.
pub fn glyph(state: State, theme: &Theme) -> (&'static str, Style) {
    match state {
        State::Closed => ("○", theme.ok),
        State::Open => ("↯", theme.fail),
        State::HalfOpen => ("◑", theme.warn),
    }
}

/// Returns a server's status dot: that of its connection, or of its breaker when the breaker rejects calls.
pub fn status_dot_of(server: &ServerView, theme: &Theme) -> (&'static str, Style) {
    if server.phase.usable() && server.breaker.state != State::Closed {
        return glyph(server.breaker.state, theme);
    }
    super::status_dot(&server.phase, theme)
}

/// Formats a breaker that is overridden or not closed, for a row of a list: `↯ open 12 s`, `◑ half-open`, `⚑ held closed`.
pub fn badge(view: &BreakerView, now: Stamp, theme: &Theme) -> Option<(String, Style)> {
    let (glyph, style) = glyph(view.state, theme);
    match (view.held, view.state) {
        (Some(BreakerOverride::HoldOpen | BreakerOverride::Trip), _) => Some((format!("⚑ held {}", view.state.word()), style)),
        (Some(_), _) => Some((format!("⚑ held {}", view.state.word()), theme.warn)),
        (None, State::Closed) => None,
        (None, State::HalfOpen) => Some((format!("{glyph} half-open"), style)),
        (None, State::Open) => {
            let left = view.next_probe.map(|at| at.since(now)).filter(|left| !left.is_zero());
            Some((format!("{glyph} open{}", left.map_or(String::new(), |left| format!(" {}", seconds(left)))), style))
        }
    }
}

/// Formats the state of any breaker, with its glyph.
pub fn words(view: &BreakerView, policy: &BreakerPolicy, now: Stamp, theme: &Theme) -> (String, Style) {
    match badge(view, now, theme) {
        Some(badge) => badge,
        None if !policy.enabled => ("· off".into(), theme.muted),
        None => ("○ closed".into(), theme.muted),
    }
}

/// Formats a countdown in whole seconds, so that it changes once a second.
fn seconds(left: Duration) -> String {
    let left = left.as_millis().div_ceil(1000);
    if left < 120 { format!("{left} s") } else { format!("{} min", left.div_ceil(60)) }
}

/// Returns how long until the countdown changes, or `None` when no countdown is running.
pub fn due(view: &BreakerView, now: Stamp) -> Option<Duration> {
    let left = view.next_probe.filter(|_| view.state == State::Open && view.held.is_none())?.since(now);
    (!left.is_zero()).then(|| match left.subsec_nanos() {
        0 => Duration::from_secs(1),
        nanos => Duration::from_nanos(u64::from(nanos)),
    })
}

/// Returns the breaker of a server or of one of its tools; `None` for a tool without its own breaker.
pub fn view_of<'w>(subject: &Subject, server: &'w ServerView) -> Option<&'w Arc<BreakerView>> {
    match &subject.tool {
        None => Some(&server.breaker),
        Some(tool) => server.tool_breakers.get(tool),
    }
}

/// Returns the policy of a subject's breaker.
pub fn policy_of(subject: &Subject, server: &ServerView, read_model: &ConsoleState) -> BreakerPolicy {
    let Some(tool) = &subject.tool else { return server.spec.policy.breaker.clone() };
    let exposed = read_model.names.exposed(&ToolId::new(subject.server.clone(), tool.clone()));
    match exposed {
        Some(exposed) => read_model.rules.treatment(exposed, &subject.server, &server.spec.policy).policy.breaker,
        None => server.spec.policy.breaker.clone(),
    }
}

/// Returns whether a subject has its own breaker, so that it can be overridden.
pub fn owns(subject: &Subject, server: &ServerView, read_model: &ConsoleState) -> bool {
    let Some(tool) = &subject.tool else { return true };
    let exposed = read_model.names.exposed(&ToolId::new(subject.server.clone(), tool.clone()));
    server.tool_breakers.contains_key(tool)
        || exposed.is_some_and(|exposed| read_model.rules.treatment(exposed, &subject.server, &server.spec.policy).own_breaker)
}

/// Writes the panel: state, countdown, window, rates against their thresholds, consecutive failures, and the last `changes`
/// state changes with their reasons.
pub fn panel(out: &mut TextView, view: &BreakerView, policy: &BreakerPolicy, changes: usize, ctx: DrawContext, width: u16) {
    let theme = ctx.theme;
    state_row(out, view, policy, ctx, width);
    if !policy.enabled && view.held.is_none() {
        out.field("", "no breaker configured: every call is sent", theme.muted);
        return;
    }
    probe_row(out, view, policy, ctx);
    if view.cells.is_empty() && view.transitions.is_empty() {
        let limits = limits(policy);
        out.field("counted", if view.calls == 0 { "no calls yet" } else { "" }, theme.muted).field("opens at", &limits, theme.muted);
        return;
    }
    window_rows(out, view, policy, ctx, width);
    let few = view.calls < policy.minimum_calls;
    // Rates are shown before there are enough calls to open the breaker, as an early warning.
    let observed = |rate: Option<f64>, which: fn(&Cell) -> bool| {
        let count = view.cells.iter().filter(|cell| which(cell)).count();
        rate.or_else(|| (!view.cells.is_empty()).then(|| count as f64 / view.cells.len() as f64))
    };
    let failed = observed(view.failure_rate, |cell| matches!(cell, Cell::Failure | Cell::SlowFailure));
    rate_row(out, "failed", (failed, policy.failure_rate), few, "", ctx);
    let words = format!("; slow: over {}", short(policy.slow_call));
    let slow = observed(view.slow_rate, |cell| matches!(cell, Cell::Slow | Cell::SlowFailure));
    rate_row(out, "slow", (slow, policy.slow_rate), few, &words, ctx);
    consecutive_row(out, view, policy, ctx);
    let wide = width.saturating_sub(11);
    for change in view.transitions.iter().rev().take(changes) {
        let time = &ctx.read_model.epoch.time_of_day(change.at)[..8];
        let (glyph, style) = glyph(change.to, theme);
        let mut rows = paint::wrap(&change.reason, wide.saturating_sub(12).max(10)).into_iter();
        out.row(vec![
            (format!("{time:<11}"), theme.muted),
            (format!("{glyph} {:<9} ", change.to.word()), style),
            (rows.next().unwrap_or_default(), theme.text),
        ]);
        for row in rows {
            out.row(vec![(" ".repeat(23), theme.text), (row, theme.text)]);
        }
    }
}

/// Describes what opens a breaker.
fn limits(policy: &BreakerPolicy) -> String {
    let mut limits = vec![];
    if policy.consecutive > 0 {
        limits.push(format!("{} consecutive failures", policy.consecutive));
    }
    let of = match policy.window {
        Window::Calls(n) => {
            if n == 1 {
                "the last call".to_owned()
            } else {
                format!("the last {n} calls")
            }
        }
        Window::Time(time) => format!("the calls in {}", short(time)),
    };
    if policy.failure_rate > 0.0 {
        limits.push(format!("{:.0} % of {of} failed (needs {})", policy.failure_rate * 100.0, policy.minimum_calls));
    }
    if policy.slow_rate > 0.0 {
        limits.push(format!("{:.0} % slower than {}", policy.slow_rate * 100.0, short(policy.slow_call)));
    }
    if limits.is_empty() { "nothing".into() } else { limits.join(", or ") }
}

fn state_row(out: &mut TextView, view: &BreakerView, policy: &BreakerPolicy, ctx: DrawContext, width: u16) {
    let theme = ctx.theme;
    let (glyph, style) = glyph(view.state, theme);
    let mut row = vec![("breaker    ".to_owned(), theme.muted)];
    row.push((format!("{glyph} {}", view.state.word().to_uppercase()), style.add_modifier(Modifier::BOLD)));
    if let Some(held) = view.held {
        let how = if held == BreakerOverride::HoldClosed { "held closed manually" } else { "held open manually" };
        row.push(("  ".into(), theme.text));
        row.push((format!(" ⚑ {how} "), theme.warn.add_modifier(Modifier::REVERSED)));
    }
    let mut more = vec![];
    if view.since > Stamp::default() || !view.transitions.is_empty() {
        more.push((format!("since {}", &ctx.read_model.epoch.time_of_day(view.since)[..8]), theme.muted));
    }
    if view.openings > 0 {
        more.push((format!(" · opened {}", times(view.openings.into())), theme.text));
    }
    if view.refused > 0 {
        more.push((format!(" · {} rejected", view.refused), theme.warn));
    }
    let wide = |pieces: &[(String, Style)]| pieces.iter().map(|(text, _)| paint::width(text)).sum::<u16>();
    if wide(&row) + 2 + wide(&more) <= width {
        row.push(("  ".into(), theme.text));
        row.append(&mut more);
    }
    out.row(row);
    if !more.is_empty() {
        more.insert(0, (" ".repeat(11), theme.text));
        out.row(more);
    }
    if !view.reason.is_empty() && view.state != State::Closed {
        out.field("why", &view.reason, theme.text);
    }
    if view.state == State::HalfOpen {
        let most = policy.half_open_calls.max(1);
        let free = most.saturating_sub(view.probing);
        let marks = "◆".repeat(view.probing.min(16) as usize) + &"◇".repeat(free.min(16) as usize);
        out.row(vec![
            ("probing    ".into(), theme.muted),
            (marks, theme.running),
            (format!("  {} of {most} in flight · closes after {}", view.probing, successes(most)), theme.text),
        ]);
    }
}

fn successes(n: u32) -> String {
    if n == 1 { "1 success".into() } else { format!("{n} consecutive successes") }
}

fn times(n: u64) -> String {
    match n {
        1 => "once".into(),
        2 => "twice".into(),
        n => format!("{n} times"),
    }
}

fn probe_row(out: &mut TextView, view: &BreakerView, policy: &BreakerPolicy, ctx: DrawContext) {
    let theme = ctx.theme;
    if view.state != State::Open || view.held.is_some() {
        return;
    }
    let Some(probe) = view.next_probe else { return };
    let left = probe.since(ctx.now);
    if left.is_zero() {
        out.row(vec![("next probe ".into(), theme.muted), ("due".into(), theme.running)]);
        return;
    }
    let total = probe.since(view.since).max(policy.open_for.min(Duration::from_secs(1)));
    let share = 1.0 - left.as_secs_f64() / total.as_secs_f64().max(0.001);
    let full = ((share * BAR as f64) as usize).min(BAR);
    out.row(vec![
        ("next probe ".into(), theme.muted),
        ("▕".into(), theme.muted),
        ("█".repeat(full), theme.running),
        ("░".repeat(BAR - full), theme.muted),
        ("▏ ".into(), theme.muted),
        (format!("in {}", seconds(left)), theme.text.add_modifier(Modifier::BOLD)),
        (format!("  of {}", short(total)), theme.muted),
    ]);
}

/// Returns the glyph and the style of an outcome in the window.
fn cell(cell: Cell, theme: &Theme) -> (char, Style) {
    match cell {
        Cell::Success => ('□', theme.ok),
        Cell::Slow => ('◪', theme.warn),
        Cell::Failure => ('■', theme.fail),
        Cell::SlowFailure => ('▣', theme.fail),
    }
}

/// Returns the legend of the window's glyphs.
pub fn legend(theme: &Theme) -> Vec<(String, Style)> {
    let mut pieces = vec![];
    for (one, word) in
        [(Cell::Success, "answered"), (Cell::Slow, "slow"), (Cell::Failure, "failed"), (Cell::SlowFailure, "slow and failed")]
    {
        let (glyph, style) = cell(one, theme);
        pieces.push((glyph.to_string(), style));
        pieces.push((format!(" {word}  "), theme.muted));
    }
    pieces.push(("· free".into(), theme.muted));
    pieces
}

fn window_rows(out: &mut TextView, view: &BreakerView, policy: &BreakerPolicy, ctx: DrawContext, width: u16) {
    let theme = ctx.theme;
    let (places, words) = match policy.window {
        Window::Calls(n) if view.calls < policy.minimum_calls => {
            (n.min(CELLS), format!("{} of {n}, needs {}", view.calls, counted(policy.minimum_calls, "call")))
        }
        Window::Calls(n) => (n.min(CELLS), format!("{} of {}", view.calls, counted(n, "call"))),
        Window::Time(time) => (view.cells.len() as u32, format!("{} in {}", counted(view.calls, "call"), short(time))),
    };
    let mut cells: Vec<(char, Style)> = view.cells.iter().map(|c| cell(*c, theme)).collect();
    cells.extend((cells.len()..places as usize).map(|_| ('·', theme.muted)));
    let room = usize::from(width.saturating_sub(12)).clamp(8, 64);
    let mut label = "window";
    for line in cells.chunks(room) {
        let mut row = vec![(format!("{label:<11}"), theme.muted)];
        label = "";
        for run in line.chunk_by(|a, b| a == b) {
            row.push((run.iter().map(|(c, _)| *c).collect(), run[0].1));
        }
        out.row(row);
    }
    let fits = cells.len() % room + words.len() + 2 <= room && !cells.is_empty();
    if fits {
        out.extend_last((format!("  {words}"), theme.muted));
    } else {
        out.field(label, &words, theme.muted);
    }
}

fn rate_row(out: &mut TextView, label: &str, (rate, threshold): (Option<f64>, f64), few: bool, more: &str, ctx: DrawContext) {
    let theme = ctx.theme;
    let mut row = vec![(format!("{label:<11}"), theme.muted)];
    let counts = threshold > 0.0;
    let over = counts && !few && rate.is_some_and(|rate| rate >= threshold);
    let style = match (over, counts && !few) {
        (true, _) => theme.fail,
        (_, true) => theme.text,
        _ => theme.muted,
    };
    row.extend(bar(rate.unwrap_or(0.0), counts.then_some(threshold), style, theme));
    row.push((rate.map_or("    · ".into(), |rate| format!("{:>4.0} %", rate * 100.0)), style));
    let words = match (counts, few) {
        (false, _) => "off".to_owned(),
        // The minimum number of calls is shown two rows above.
        (true, true) => format!("opens at {:.0} %", threshold * 100.0),
        (true, false) => format!("opens at {:.0} %{more}", threshold * 100.0),
    };
    row.push((format!("  {words}"), theme.muted));
    out.row(row);
}

/// Draws a share as a bar with its threshold marked.
fn bar(share: f64, threshold: Option<f64>, style: Style, theme: &Theme) -> Vec<(String, Style)> {
    let place = |share: f64| ((share.clamp(0.0, 1.0) * BAR as f64).round() as usize).min(BAR);
    let full = if share.is_finite() { place(share).max(usize::from(share > 0.0)) } else { 0 };
    let mark = threshold.map(|threshold| place(threshold).clamp(1, BAR) - 1);
    let mut pieces = vec![("▕".to_owned(), theme.muted)];
    for at in 0..BAR {
        pieces.push(match (Some(at) == mark, at < full) {
            (true, _) => ("┃".into(), theme.warn),
            (_, true) => ("█".into(), style),
            _ => ("░".into(), theme.muted),
        });
    }
    pieces.push(("▏".into(), theme.muted));
    pieces
}

/// Writes the consecutive failures against their limit.
fn consecutive_row(out: &mut TextView, view: &BreakerView, policy: &BreakerPolicy, ctx: DrawContext) {
    let theme = ctx.theme;
    let (have, limit) = (view.consecutive as usize, policy.consecutive as usize);
    let style = if limit > 0 && have >= limit {
        theme.fail
    } else if have > 0 {
        theme.warn
    } else {
        theme.muted
    };
    let mut row = vec![("in a row   ".to_owned(), theme.muted)];
    if limit == 0 {
        row.push((counted(have, "failure"), style));
        row.push(("  off".into(), theme.muted));
    } else {
        let shown = limit.min(BAR);
        let full = (have * shown / limit).min(shown).max(usize::from(have > 0));
        row.push((" ".into(), theme.muted));
        row.push(("■".repeat(full), style));
        row.push(("·".repeat(shown - full), theme.muted));
        row.push((" ".repeat(BAR + 1 - shown), theme.muted));
        row.push((format!("{have:>6}"), style));
        row.push((format!("  opens at {limit}"), theme.muted));
    }
    out.row(row);
}

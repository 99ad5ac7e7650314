//! The attempts view of a call: one line per trace event, with a waterfall of where the time went.

use ratatui::style::{Modifier, Style};

use crate::{
    domain::{
        call::Outcome,
        policy::{
            call_event::{CallEvent, Cause, Wait},
            route::Decision,
            verdict::Verdict,
        },
        time::{Stamp, short},
    },
    state::CallView,
    tui::{
        call_segments::{Segment, SegmentKind, cause_word, segments},
        theme::Theme,
        widget::paint::{width, wrap},
    },
};

use super::{DrawContext, outcome_glyph, text_view::TextView};

/// Cells of the time column.
const TIME: usize = 10;

/// Lays out a call's trace at a width.
pub fn text_view<'t>(call: &CallView, ctx: DrawContext<'t>, wide: u16) -> TextView<'t> {
    let theme = ctx.theme;
    let mut out = TextView::new(theme, wide);
    let cut = segments(call, ctx.now);
    let end = call.settled.as_ref().map_or(ctx.now.max(call.queued), |settled| settled.timings.settled);
    let bar = match wide {
        0..=71 => 0,
        72..=99 => wide / 4,
        _ => wide * 2 / 5,
    };
    let mut table = TraceTable { out: &mut out, ctx, call, end, text: wide.saturating_sub(bar + TIME as u16 + 1), bar: usize::from(bar) };
    let (before_end, after_end): (Vec<TraceLine>, Vec<TraceLine>) = lines(call, &cut, ctx).into_iter().partition(|line| line.at <= end);
    before_end.into_iter().for_each(|line| table.line(line));
    table.outcome_line();
    // Late responses follow the outcome.
    after_end.into_iter().for_each(|line| table.line(line));
    out
}

/// One line of the trace.
struct TraceLine {
    at: Stamp,
    glyph: (String, Style),
    words: String,
    style: Style,
    /// Further lines below.
    more: Vec<(String, Style)>,
    segment: Option<Segment>,
}

fn lines(call: &CallView, cut: &[Segment], ctx: DrawContext) -> Vec<TraceLine> {
    let theme = ctx.theme;
    let mut lines: Vec<TraceLine> = cut.iter().map(|segment| segment_line(segment, call, theme)).collect();
    for (at, stage) in call.stages() {
        if let Some(line) = event_line(*at, stage, theme) {
            lines.push(line);
        }
    }
    // An event comes before a segment that begins at the same time. The stable sort preserves the order of each kind.
    lines.sort_by_key(|line| (line.at, line.segment.is_some()));
    for (at, stage) in call.stages() {
        if let CallEvent::BackOff { pause, why } = &**stage
            && let Some(line) =
                lines.iter_mut().find(|l| l.at == *at && matches!(l.segment, Some(Segment { kind: SegmentKind::BackOff, .. })))
        {
            line.words = format!("backoff {}: {why}", short(*pause));
        }
    }
    lines
}

fn segment_line(segment: &Segment, call: &CallView, theme: &Theme) -> TraceLine {
    let glyph = segment.kind.glyph().to_string();
    let took = short(segment.to.since(segment.from));
    let mut more = vec![];
    let style = segment_style(segment, call, theme);
    let words = match &segment.kind {
        SegmentKind::Queued => format!("queued {took}"),
        SegmentKind::Waiting(on, server) => format!("waiting for {} · {took}", waited_for(*on, server.as_str())),
        SegmentKind::Probe(server) => format!("probing {server} (breaker half-open) · {took}"),
        SegmentKind::BackOff => format!("backoff {took}"),
        SegmentKind::Shared => format!("waiting for the response of an identical call · {took}"),
        SegmentKind::Hit { stale: false } => "served from the cache".to_owned(),
        SegmentKind::Hit { stale: true } => "served stale from the cache".to_owned(),
        SegmentKind::Attempt { number, server, subject, cause, ended } => {
            let to = if server == call.spec.operation.server() && **subject == *call.spec.operation.subject() {
                server.to_string()
            } else {
                format!("{server} › {subject}")
            };
            match ended {
                Some((end, verdict)) => {
                    let glyph = if segment.kind.failed() { "✕" } else { "✓" };
                    let counts = match verdict {
                        Verdict::Success => "counts as a success for the breaker",
                        Verdict::Failure => "counts as a failure for the breaker",
                        Verdict::Neutral => "not counted by the breaker",
                    };
                    let style = if segment.kind.failed() { theme.fail } else { theme.ok };
                    more.push((format!("{glyph} {end} · {took}"), style));
                    if call.has_trace() {
                        more.push((counts.to_owned(), theme.muted));
                    }
                }
                None if segment.open => more.push((format!("running for {took}"), theme.running)),
                None => more.push((format!("cancelled after {took}: another attempt responded first, or the call had ended"), theme.muted)),
            }
            format!("attempt {number} · {} · {to}", cause_word(*cause))
        }
    };
    TraceLine { at: segment.from, glyph: (glyph, style), words, style: theme.text, more, segment: Some(segment.clone()) }
}

fn waited_for(on: Wait, server: &str) -> String {
    match on {
        Wait::Ready => format!("{server} to be ready"),
        Wait::Permit => format!("a permit of {server}"),
        Wait::Rate => format!("{server}'s rate limit"),
    }
}

/// Returns the line of an event that has no duration.
fn event_line(at: Stamp, stage: &CallEvent, theme: &Theme) -> Option<TraceLine> {
    let line = |glyph: &str, style: Style, words: String, more: Vec<(String, Style)>| TraceLine {
        at,
        glyph: (glyph.to_owned(), style),
        words,
        style: theme.text,
        more,
        segment: None,
    };
    Some(match stage {
        CallEvent::Routed { decision } => routing_line(at, decision, theme),
        CallEvent::Resent { attempt, cause } => {
            let words = format!("attempt {attempt} · session lost, resent in a new session");
            line("↻", theme.warn, words, vec![(cause.words().to_owned(), theme.muted)])
        }
        CallEvent::NotRepeated { why } => line("⊘", theme.warn, format!("not retried: {why}"), vec![]),
        CallEvent::CacheMiss { key } => line("◇", theme.muted, "cache miss".into(), vec![(key.clone(), theme.muted)]),
        CallEvent::CacheHit { age, key, store, stale } => {
            let words =
                format!("cached {} ago in {store}{}", short(*age), if *stale { ", stale: served because the call failed" } else { "" });
            line("◆", if *stale { theme.warn } else { theme.ok }, words, vec![(key.clone(), theme.muted)])
        }
        CallEvent::Shared { with } => line("⇄", theme.running, format!("shares the identical call {with}"), vec![]),
        CallEvent::Fallback { to, after } => {
            line("↳", theme.warn, format!("fallback to {to}"), vec![(format!("after {after}"), theme.muted)])
        }
        CallEvent::Injected { what } => {
            let mut line = line("‼", theme.fail.add_modifier(Modifier::BOLD), format!("FAULT INJECTED: {what}"), vec![]);
            line.style = theme.fail;
            line
        }
        CallEvent::Late { attempt, after } => {
            line("…", theme.muted, format!("attempt {attempt}: late response {} after it was sent", short(*after)), vec![])
        }
        _ => return None,
    })
}

fn routing_line(at: Stamp, decision: &Decision, theme: &Theme) -> TraceLine {
    let to = decision.order.first().map_or("nowhere".to_owned(), ToString::to_string);
    let mut words = format!("routed to {to}: {}", decision.why);
    if let (Some(group), Some(strategy)) = (&decision.group, &decision.strategy) {
        words = format!("{words} · group {group}, {strategy}");
    }
    let mut more = vec![];
    if let Some(rule) = decision.rule.as_ref().filter(|_| decision.group.is_some()) {
        more.push((format!("route {rule}"), theme.muted));
    }
    if decision.order.len() > 1 {
        let rest: Vec<String> = decision.order.iter().skip(1).map(ToString::to_string).collect();
        more.push((format!("then {}", rest.join(", ")), theme.muted));
    }
    more.extend(decision.passed_over.iter().map(|(server, why)| (format!("skipped {server}: {why}"), theme.warn)));
    TraceLine { at, glyph: ("→".into(), theme.accent), words, style: theme.text, more, segment: None }
}

/// Returns the style of a segment's bar.
pub fn segment_style(segment: &Segment, call: &CallView, theme: &Theme) -> Style {
    match &segment.kind {
        SegmentKind::Attempt { .. } if segment.kind.failed() => theme.fail,
        SegmentKind::Attempt { ended: None, .. } if segment.open => theme.running,
        SegmentKind::Attempt { ended: None, .. } => theme.muted,
        SegmentKind::Attempt { .. } => match &call.settled {
            Some(settled) if settled.attempts <= 1 => outcome_glyph(&settled.outcome, theme).1,
            _ => theme.ok,
        },
        SegmentKind::Hit { stale } => {
            if *stale {
                theme.warn
            } else {
                theme.ok
            }
        }
        SegmentKind::Probe(_) => theme.warn,
        _ => theme.muted,
    }
}

/// Writes lines with their bars.
struct TraceTable<'a, 't> {
    out: &'a mut TextView<'t>,
    ctx: DrawContext<'t>,
    call: &'a CallView,
    end: Stamp,
    /// Cells of the text.
    text: u16,
    /// Cells of the waterfall; 0 for none.
    bar: usize,
}

impl TraceTable<'_, '_> {
    fn line(&mut self, line: TraceLine) {
        let theme = self.ctx.theme;
        let time = format!("+{}", short(line.at.since(self.call.queued)));
        let room = self.text.saturating_sub(3).max(8);
        let bar = line.segment.as_ref().map(|segment| self.bar_of(segment)).unwrap_or_default();
        let mut rows = wrap(&line.words, room).into_iter();
        let first = rows.next().unwrap_or_default();
        let mut row = vec![
            (format!("{time:>width$} ", width = TIME - 1), theme.muted),
            (format!("{} ", line.glyph.0), line.glyph.1),
            (first.clone(), line.style),
        ];
        if !bar.is_empty() {
            row.push((" ".repeat(usize::from(room.saturating_sub(width(&first)) + 1)), theme.text));
            row.extend(bar);
        }
        self.out.row(row);
        for rest in rows {
            self.out.row(vec![(" ".repeat(TIME + 2), theme.text), (rest, line.style)]);
        }
        for (words, style) in line.more {
            for rest in wrap(&words, room) {
                self.out.row(vec![(" ".repeat(TIME + 2), theme.text), (rest, style)]);
            }
        }
    }

    fn bar_of(&self, segment: &Segment) -> Vec<(String, Style)> {
        if self.bar < 4 {
            return vec![];
        }
        let theme = self.ctx.theme;
        let cells = (self.bar - 2) as u64;
        let total = self.end.since(self.call.queued).as_nanos().max(1);
        let place = |at: Stamp| ((at.since(self.call.queued).as_nanos() * u128::from(cells) / total) as u64).min(cells);
        let from = place(segment.from).min(cells - 1);
        let to = place(segment.to).max(from + 1);
        let mut filled: String = segment.kind.glyph().to_string().repeat((to - from) as usize);
        let mark = match (&segment.kind, segment.open) {
            (_, true) => Some('▸'),
            (kind, _) if kind.failed() => Some('✕'),
            _ => None,
        };
        if let Some(mark) = mark {
            filled.pop();
            filled.push(mark);
        }
        let style = segment_style(segment, self.call, theme);
        vec![
            ("▕".into(), theme.border),
            (" ".repeat(from as usize), theme.text),
            (filled, style),
            (" ".repeat((cells - to) as usize), theme.text),
            ("▏".into(), theme.border),
        ]
    }

    /// Adds the outcome of the call.
    fn outcome_line(&mut self) {
        let theme = self.ctx.theme;
        let Some(settled) = &self.call.settled else {
            let spinner = self.ctx.spinner();
            self.out.row(vec![(format!("{:>width$} ", "", width = TIME - 1), theme.muted), (format!("{spinner} running"), theme.running)]);
            return;
        };
        let (glyph, style) = outcome_glyph(&settled.outcome, theme);
        let time = format!("+{}", short(settled.timings.total()));
        let mut words = settled.outcome.words().to_owned();
        words.push_str(&summary(self.call).iter().map(|(text, _)| format!(" · {text}")).collect::<String>());
        self.out.row(vec![
            (format!("{time:>width$} ", width = TIME - 1), theme.muted),
            (format!("{glyph} "), style),
            (words, style.add_modifier(Modifier::BOLD)),
        ]);
        if self.call.stages().is_empty() {
            self.out.gap().text("One attempt, no other events", theme.muted);
        }
    }
}

/// Returns where the answer of a call came from, if not from the target of the call: the cache, a fallback, another member of
/// a group, a hedged attempt. `true` marks a warning.
pub fn source(call: &CallView) -> Option<(String, bool)> {
    let settled = call.settled.as_ref()?;
    let stages = || call.stages().iter().map(|(_, stage)| &**stage);
    if let Some(age) = settled.cached {
        let stale = stages().any(|stage| matches!(stage, CallEvent::CacheHit { stale: true, .. }));
        return Some(match (stale, age.is_zero()) {
            (true, _) => (format!("stale from the cache, {} old", short(age)), true),
            (false, true) => ("shared".to_owned(), false),
            (false, false) => (format!("from the cache, {} old", short(age)), false),
        });
    }
    let fell_back = stages().any(|stage| matches!(stage, CallEvent::Fallback { .. }));
    let by = settled.by.as_ref().filter(|by| *by != call.spec.operation.server());
    match by {
        Some(by) if fell_back => Some((format!("by {by} (fallback)"), true)),
        None if fell_back && matches!(settled.outcome, Outcome::Ok { .. }) => Some(("by a fallback".to_owned(), true)),
        Some(by) => Some((format!("by {by}"), false)),
        None => stages().any(|stage| matches!(stage, CallEvent::Attempt { cause: Cause::Hedge, .. })).then(|| ("hedged".to_owned(), false)),
    }
}

/// Summarises what is unusual about how a call was answered: its source, then retries. `true` marks a warning.
pub fn summary(call: &CallView) -> Vec<(String, bool)> {
    let Some(settled) = &call.settled else { return vec![] };
    let attempts = (settled.attempts > 1).then(|| (format!("{} attempts", settled.attempts), true));
    source(call).into_iter().chain(attempts).collect()
}

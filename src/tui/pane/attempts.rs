//! What happened to a call on its way, a line a stage, with a waterfall of where the time went.

use ratatui::style::{Modifier, Style};

use crate::{
    domain::{
        policy::{
            call_event::{CallEvent, Wait},
            route::Decision,
            verdict::Verdict,
        },
        read_model::CallView,
        time::{Stamp, short},
    },
    tui::{
        call_segments::{Segment, SegmentKind, cause_word, segments},
        theme::Theme,
        widget::paint::{width, wrap},
    },
};

use super::{DrawContext, outcome_glyph, text_view::Sheet};

/// Cells of the time at the left.
const TIME: usize = 10;

/// Rows of the call at a width.
pub fn sheet<'t>(call: &CallView, look: DrawContext<'t>, wide: u16) -> Sheet<'t> {
    let theme = look.theme;
    let mut sheet = Sheet::new(theme, wide);
    let cut = segments(call, look.now);
    let end = call.settled.as_ref().map_or(look.now.max(call.queued), |settled| settled.timings.settled);
    let bar = match wide {
        0..=71 => 0,
        72..=99 => wide / 4,
        _ => wide * 2 / 5,
    };
    let mut table = Table { sheet: &mut sheet, look, call, end, text: wide.saturating_sub(bar + TIME as u16 + 1), bar: usize::from(bar) };
    let (of_it, after): (Vec<Line>, Vec<Line>) = lines(call, &cut, look).into_iter().partition(|line| line.at <= end);
    of_it.into_iter().for_each(|line| table.line(line));
    table.last();
    // An answer that came too late.
    after.into_iter().for_each(|line| table.line(line));
    sheet
}

/// One line of the story.
struct Line {
    at: Stamp,
    glyph: (String, Style),
    words: String,
    style: Style,
    /// Further words under it.
    more: Vec<(String, Style)>,
    segment: Option<Segment>,
}

fn lines(call: &CallView, cut: &[Segment], look: DrawContext) -> Vec<Line> {
    let theme = look.theme;
    let mut lines: Vec<Line> = cut.iter().map(|segment| of_segment(segment, call, theme)).collect();
    for (at, stage) in call.stages() {
        if let Some(line) = told(*at, stage, theme) {
            lines.push(line);
        }
    }
    // What is only told comes before what begins at the same time; the sort keeps the order of each.
    lines.sort_by_key(|line| (line.at, line.segment.is_some()));
    for (at, stage) in call.stages() {
        if let CallEvent::BackOff { pause, why } = &**stage
            && let Some(line) =
                lines.iter_mut().find(|l| l.at == *at && matches!(l.segment, Some(Segment { kind: SegmentKind::BackOff, .. })))
        {
            line.words = format!("pause of {}: {why}", short(*pause));
        }
    }
    lines
}

fn of_segment(segment: &Segment, call: &CallView, theme: &Theme) -> Line {
    let glyph = segment.kind.glyph().to_string();
    let took = short(segment.to.since(segment.from));
    let mut more = vec![];
    let style = segment_style(segment, call, theme);
    let words = match &segment.kind {
        SegmentKind::Queued => format!("queued {took}"),
        SegmentKind::Waiting(on, server) => format!("waits for {} {took}", waited_for(*on, server.as_str())),
        SegmentKind::Probe(server) => format!("asks {server} for a sign of life: its breaker is half-open · {took}"),
        SegmentKind::BackOff => format!("pause {took}"),
        SegmentKind::Shared => format!("waits for the answer of an equal call {took}"),
        SegmentKind::Hit { stale: false } => "answered from the cache".to_owned(),
        SegmentKind::Hit { stale: true } => "answered from the cache, past its time".to_owned(),
        SegmentKind::Attempt { number, server, subject, cause, ended } => {
            let to = if server == call.spec.operation.server() && **subject == *call.spec.operation.subject() {
                server.to_string()
            } else {
                format!("{server} › {subject}")
            };
            match ended {
                Some((how, verdict)) => {
                    let glyph = if segment.kind.failed() { "✕" } else { "✓" };
                    let counts = match verdict {
                        Verdict::Success => "a sign of life for the breaker",
                        Verdict::Failure => "counts as a failure for the breaker",
                        Verdict::Neutral => "says nothing to the breaker",
                    };
                    let style = if segment.kind.failed() { theme.fail } else { theme.ok };
                    more.push((format!("{glyph} {how} · {took}"), style));
                    if call.storied() {
                        more.push((counts.to_owned(), theme.muted));
                    }
                }
                None if segment.open => more.push((format!("under way for {took}"), theme.running)),
                None => more.push((format!("given up after {took}: another answer was there first, or the call was over"), theme.muted)),
            }
            format!("attempt {number} · {} · {to}", cause_word(*cause))
        }
    };
    Line { at: segment.from, glyph: (glyph, style), words, style: theme.text, more, segment: Some(segment.clone()) }
}

fn waited_for(on: Wait, server: &str) -> String {
    match on {
        Wait::Ready => format!("{server} to be ready"),
        Wait::Place => format!("a place at {server}"),
        Wait::Rate => format!("the rate of {server}"),
    }
}

/// What is told of a stage that takes no time by itself.
fn told(at: Stamp, stage: &CallEvent, theme: &Theme) -> Option<Line> {
    let line = |glyph: &str, style: Style, words: String, more: Vec<(String, Style)>| Line {
        at,
        glyph: (glyph.to_owned(), style),
        words,
        style: theme.text,
        more,
        segment: None,
    };
    Some(match stage {
        CallEvent::Routed { decision } => routed(at, decision, theme),
        CallEvent::Resent { attempt, cause } => {
            let words = format!("attempt {attempt} · session lost, sent again in a new session");
            line("↻", theme.warn, words, vec![(cause.words().to_owned(), theme.muted)])
        }
        CallEvent::NotRepeated { why } => line("⊘", theme.warn, format!("not repeated: {why}"), vec![]),
        CallEvent::CacheMiss { key } => line("◇", theme.muted, "not in the cache".into(), vec![(key.clone(), theme.muted)]),
        CallEvent::CacheHit { age, key, store, stale } => {
            let words = format!("kept {} ago in {store}{}", short(*age), if *stale { ", past its time: it stands in" } else { "" });
            line("◆", if *stale { theme.warn } else { theme.ok }, words, vec![(key.clone(), theme.muted)])
        }
        CallEvent::Shared { with } => line("⇄", theme.running, format!("an equal call is under way: {with}"), vec![]),
        CallEvent::Fallback { to, after } => {
            line("↳", theme.warn, format!("falls back to {to}"), vec![(format!("after {after}"), theme.muted)])
        }
        CallEvent::Injected { what } => {
            let mut line = line("‼", theme.fail.add_modifier(Modifier::BOLD), format!("FAULT INJECTED: {what}"), vec![]);
            line.style = theme.fail;
            line
        }
        CallEvent::Late { attempt, after } => {
            line("…", theme.muted, format!("attempt {attempt} was answered {} after it was sent: too late", short(*after)), vec![])
        }
        _ => return None,
    })
}

fn routed(at: Stamp, decision: &Decision, theme: &Theme) -> Line {
    let to = decision.order.first().map_or("nowhere".to_owned(), ToString::to_string);
    let mut words = format!("routed to {to}: {}", decision.why);
    if let (Some(group), Some(strategy)) = (&decision.group, &decision.strategy) {
        words = format!("{words} · group {group}, {strategy}");
    }
    let mut more = vec![];
    if let Some(rule) = decision.rule.as_ref().filter(|_| decision.group.is_some()) {
        more.push((format!("by the route {rule}"), theme.muted));
    }
    if decision.order.len() > 1 {
        let rest: Vec<String> = decision.order.iter().skip(1).map(ToString::to_string).collect();
        more.push((format!("then {}", rest.join(", ")), theme.muted));
    }
    more.extend(decision.passed_over.iter().map(|(server, why)| (format!("passed over {server}: {why}"), theme.warn)));
    Line { at, glyph: ("→".into(), theme.accent), words, style: theme.text, more, segment: None }
}

/// The style of a stretch's bar.
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

/// Lines with their bars.
struct Table<'a, 't> {
    sheet: &'a mut Sheet<'t>,
    look: DrawContext<'t>,
    call: &'a CallView,
    end: Stamp,
    /// Cells of the words.
    text: u16,
    /// Cells of the waterfall; 0 without.
    bar: usize,
}

impl Table<'_, '_> {
    fn line(&mut self, line: Line) {
        let theme = self.look.theme;
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
        self.sheet.row(row);
        for rest in rows {
            self.sheet.row(vec![(" ".repeat(TIME + 2), theme.text), (rest, line.style)]);
        }
        for (words, style) in line.more {
            for rest in wrap(&words, room) {
                self.sheet.row(vec![(" ".repeat(TIME + 2), theme.text), (rest, style)]);
            }
        }
    }

    fn bar_of(&self, segment: &Segment) -> Vec<(String, Style)> {
        if self.bar < 4 {
            return vec![];
        }
        let theme = self.look.theme;
        let cells = (self.bar - 2) as u64;
        let whole = self.end.since(self.call.queued).as_nanos().max(1);
        let place = |at: Stamp| ((at.since(self.call.queued).as_nanos() * u128::from(cells) / whole) as u64).min(cells);
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

    /// How it ended, all in all.
    fn last(&mut self) {
        let theme = self.look.theme;
        let Some(settled) = &self.call.settled else {
            let key = self.look.spinner();
            self.sheet
                .row(vec![(format!("{:>width$} ", "", width = TIME - 1), theme.muted), (format!("{key} not over yet"), theme.running)]);
            return;
        };
        let (glyph, style) = outcome_glyph(&settled.outcome, theme);
        let time = format!("+{}", short(settled.timings.total()));
        let mut words = settled.outcome.words().to_owned();
        words.push_str(&summary(self.call).iter().map(|(text, _)| format!(" · {text}")).collect::<String>());
        self.sheet.row(vec![
            (format!("{time:>width$} ", width = TIME - 1), theme.muted),
            (format!("{glyph} "), style),
            (words, style.add_modifier(Modifier::BOLD)),
        ]);
        if self.call.stages().is_empty() {
            self.sheet.gap().text("One attempt, and nothing else happened on the way.", theme.muted);
        }
    }
}

/// What is out of the ordinary about how a call was answered, in words: attempts, cache, another server. `true` marks
/// what is worth a warning.
pub fn summary(call: &CallView) -> Vec<(String, bool)> {
    let Some(settled) = &call.settled else { return vec![] };
    let mut words = vec![];
    if let Some(age) = settled.cached {
        let stale = call.stages().iter().any(|(_, stage)| matches!(&**stage, CallEvent::CacheHit { stale: true, .. }));
        words.push((if age.is_zero() { "shared".to_owned() } else { format!("cached {}", short(age)) }, stale));
    }
    if settled.attempts > 1 {
        words.push((format!("{} attempts", settled.attempts), true));
    }
    if let Some(by) = settled.by.as_ref().filter(|by| *by != call.spec.operation.server()) {
        words.push((format!("by {by}"), false));
    }
    words
}

//! A burst: many calls of one target, with progress, latencies and outcomes.

use std::collections::{BTreeMap, HashSet};

use hdrhistogram::Histogram;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        call::{CallSpec, Outcome},
        event::Settled,
        id::CallId,
        time::{Stamp, short},
    },
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        keymap::Context,
        model::Model,
        pane::{DrawContext, text_view::TextView},
        widget::{
            paint::{dialog, padded},
            window::Window,
        },
    },
};

use super::key_row;

/// The most calls of one burst.
pub const MAX_CALLS: u64 = 100_000;
/// The most concurrent calls.
pub const MAX_CONCURRENCY: usize = 256;
/// Rows of the histogram.
const ROWS: usize = 12;

/// A burst. Its memory is bounded: a call that has ended only counts in the histogram and the outcome totals.
pub struct Burst {
    /// The call that is sent.
    pub spec: CallSpec,
    /// The display name of the call's target.
    pub name: String,
    total: u64,
    concurrency: usize,
    asked: u64,
    tokens: HashSet<u64>,
    open: HashSet<CallId>,
    ends: BTreeMap<(u8, String), u64>,
    done: u64,
    /// Latencies of answered calls in microseconds.
    latencies: Option<Histogram<u64>>,
    sum: u128,
    began: Stamp,
    ended: Option<Stamp>,
    stopped: bool,
}

impl Burst {
    /// Creates a burst of `total` calls, `concurrency` of them in flight. Both are clamped to their limits.
    pub fn new(spec: CallSpec, name: String, total: u64, concurrency: usize, now: Stamp) -> Burst {
        let total = total.clamp(1, MAX_CALLS);
        Burst {
            spec,
            name,
            total,
            concurrency: concurrency.clamp(1, MAX_CONCURRENCY).min(usize::try_from(total).unwrap_or(MAX_CONCURRENCY)),
            asked: 0,
            tokens: HashSet::new(),
            open: HashSet::new(),
            ends: BTreeMap::new(),
            done: 0,
            latencies: Histogram::new_with_bounds(1, 3_600_000_000, 2).ok(),
            sum: 0,
            began: now,
            ended: None,
            stopped: false,
        }
    }

    /// Returns how many more calls to submit now.
    pub fn wants(&self) -> usize {
        if self.stopped || self.ended.is_some() {
            return 0;
        }
        let left = usize::try_from(self.total - self.asked).unwrap_or(usize::MAX);
        self.concurrency.saturating_sub(self.tokens.len() + self.open.len()).min(left)
    }

    /// Records a call that was submitted with this token.
    pub fn asked(&mut self, token: u64) {
        self.asked += 1;
        self.tokens.insert(token);
    }

    /// Removes the record of a submitted call.
    pub fn unask(&mut self, token: u64) -> bool {
        let ours = self.tokens.remove(&token);
        self.asked -= u64::from(ours);
        ours
    }

    /// Records the id of a submitted call. Returns whether the token belongs to this burst.
    pub fn submitted(&mut self, token: u64, call: CallId) -> bool {
        let ours = self.tokens.remove(&token);
        if ours {
            self.open.insert(call);
        }
        ours
    }

    /// Returns the calls in flight.
    pub fn open(&self) -> impl Iterator<Item = CallId> + '_ {
        self.open.iter().copied()
    }

    /// Records the end of a call if the call belongs to this burst.
    pub fn settled(&mut self, call: CallId, settled: &Settled, now: Stamp) {
        if !self.open.remove(&call) {
            return;
        }
        let rank = match &settled.outcome {
            Outcome::Ok { .. } | Outcome::Interim { .. } => 0,
            Outcome::ToolError { .. } => 1,
            Outcome::Failed { .. } => 2,
            Outcome::Cancelled { .. } => 3,
        };
        if rank < 2 {
            let micros = u64::try_from(settled.timings.total().as_micros()).unwrap_or(u64::MAX).max(1);
            self.sum += u128::from(micros);
            if let Some(latencies) = &mut self.latencies {
                latencies.saturating_record(micros);
            }
        }
        self.end(rank, settled.outcome.words(), now);
    }

    /// Records a call whose end event was missed: the console fell behind, and the read model has dropped the call.
    pub fn lost(&mut self, call: CallId, now: Stamp) {
        if self.open.remove(&call) {
            self.end(4, "unknown", now);
        }
    }

    fn end(&mut self, rank: u8, word: &str, now: Stamp) {
        *self.ends.entry((rank, word.to_owned())).or_default() += 1;
        self.done += 1;
        self.close(now);
    }

    fn close(&mut self, now: Stamp) {
        let over = self.done >= self.total || self.stopped;
        if over && self.open.is_empty() && self.tokens.is_empty() {
            self.ended.get_or_insert(now);
        }
    }

    /// Submits no more calls. The caller cancels those in flight.
    pub fn stop(&mut self, now: Stamp) {
        self.stopped = true;
        self.close(now);
    }

    /// Returns whether the burst has ended.
    pub fn over(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns how many calls have ended.
    pub fn done(&self) -> u64 {
        self.done
    }

    fn progress(&self, out: &mut TextView, ctx: DrawContext, width: u16) {
        let theme = ctx.theme;
        let cells = usize::from(width.saturating_sub(24).min(44)).max(1);
        let share = self.done as f64 / self.total as f64;
        let full = ((share * cells as f64) as usize).min(cells);
        out.row(vec![
            ("▕".into(), theme.muted),
            ("█".repeat(full), theme.running),
            ("░".repeat(cells - full), theme.muted),
            ("▏".into(), theme.muted),
            (format!(" {} of {}", self.done, self.total), theme.text),
            (if self.open.is_empty() { String::new() } else { format!("  {} in flight", self.open.len()) }, theme.muted),
        ]);
    }

    fn statistics(&self, out: &mut TextView, ctx: DrawContext) {
        let theme = ctx.theme;
        let took = self.ended.unwrap_or(ctx.now).since(self.began);
        let rate = if took.is_zero() { 0.0 } else { self.done as f64 / took.as_secs_f64() };
        let mut pieces: Vec<(String, Style)> = vec![(format!("{} · {rate:.0} calls/s", short(took)), theme.text)];
        if let Some(latencies) = self.latencies.as_ref().filter(|l| !l.is_empty()) {
            let at = |percent: f64| short(std::time::Duration::from_micros(latencies.value_at_percentile(percent)));
            let mean = std::time::Duration::from_micros((self.sum / u128::from(latencies.len())) as u64);
            let gap = if out.width() < 80 { " " } else { "   " };
            for (label, value) in [("mean", short(mean)), ("p50", at(50.0)), ("p95", at(95.0)), ("p99", at(99.0)), ("max", at(100.0))] {
                pieces.push((format!("{gap}{label} "), theme.muted));
                pieces.push((value, theme.text));
            }
        }
        out.row(pieces);
    }

    /// Adds one bar for each step of 1, 2, 5, 10, … between the fastest and the slowest call.
    fn histogram(&self, out: &mut TextView, ctx: DrawContext, width: u16, most: usize) {
        let theme = ctx.theme;
        let Some(latencies) = self.latencies.as_ref().filter(|l| !l.is_empty()) else {
            out.text("No latencies yet", theme.muted);
            return;
        };
        let mut edges: Vec<u64> = vec![];
        let mut step = 1u64;
        'grow: loop {
            for factor in [1, 2, 5] {
                let edge = step.saturating_mul(factor);
                if edge >= latencies.min() {
                    edges.push(edge);
                }
                if edge >= latencies.max() {
                    break 'grow;
                }
            }
            step = step.saturating_mul(10);
        }
        let mut counts = vec![];
        let mut low = 0;
        for edge in edges {
            counts.push((edge, latencies.count_between(low, edge)));
            low = edge + 1;
        }
        let excess = counts.len().saturating_sub(most.max(1));
        // The slow calls matter most: bars that do not fit are merged at the fast end.
        if excess > 0 {
            let fastest: u64 = counts[..=excess].iter().map(|(_, n)| n).sum();
            counts.drain(..excess);
            counts[0].1 = fastest;
        }
        let largest = counts.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
        let cells = u64::from(width.saturating_sub(22).min(50)).max(1);
        for (edge, count) in counts {
            let full = if count == 0 { 0 } else { (count * cells / largest).max(1) };
            out.row(vec![
                (format!("≤ {:>7} ", short(std::time::Duration::from_micros(edge))), theme.muted),
                ("█".repeat(full as usize), theme.accent),
                (format!(" {count}"), theme.text),
            ]);
        }
    }
}

impl Dialog for Burst {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Burst]
    }

    fn shows_keys(&self) -> bool {
        true
    }

    /// It takes no letters, and would wait for the answer forever.
    fn gives_way(&self) -> bool {
        true
    }

    fn moving(&self) -> bool {
        !self.over()
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        if action == Action::Back { DialogOutcome::run(Model::end_burst) } else { DialogOutcome::Open }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let height = (ROWS + 9 + self.ends.len()) as u16;
        let state = match (self.ended, self.stopped) {
            (None, false) => (format!("{} running", ctx.spinner()), theme.running),
            (None, true) => ("stopping".to_owned(), theme.warn),
            (Some(_), true) => ("stopped".to_owned(), theme.warn),
            (Some(_), false) => ("✓ done".to_owned(), theme.ok),
        };
        let title = format!("{} × {}, {} concurrent", self.name, self.total, self.concurrency);
        let inner = dialog(buf, area, (78, height.min(area.height)), &[(&title, theme.focus)], &[(&state.0, state.1)], theme);
        let room = Rect { height: inner.height.saturating_sub(1), ..padded(inner) };
        let mut out = TextView::new(theme, room.width);
        self.progress(&mut out, ctx, room.width);
        self.statistics(&mut out, ctx);
        let rows = usize::from(room.height).saturating_sub(out.len() + self.ends.len() + 2).min(ROWS);
        out.gap();
        self.histogram(&mut out, ctx, room.width, rows);
        out.gap();
        for ((rank, word), count) in &self.ends {
            let (glyph, style) = match rank {
                0 => ("✓", theme.ok),
                1 => ("!", theme.warn),
                2 => ("✕", theme.fail),
                _ => ("–", theme.muted),
            };
            out.row(vec![(format!("{glyph} "), style), (format!("{count:>7}"), theme.text), (format!("  {word}"), style)]);
        }
        out.draw(buf, room, Window::default());
        key_row(ctx, Context::Burst, |_| true, inner, buf);
    }
}

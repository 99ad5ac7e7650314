//! Many calls of one kind: how far they are, how long they take, how they end.

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
        keymap::Context,
        pane::{DrawContext, text_view::Sheet},
        widget::{paint::dialog, window::Window},
    },
};

use super::key_row;

/// The most calls of one run.
pub const MOST_CALLS: u64 = 100_000;
/// The most calls at once.
pub const MOST_PARALLEL: usize = 256;
/// Rows of the histogram.
const ROWS: usize = 12;

/// A run of many calls. Bounded: what is kept of a call that ended is its place in the histogram.
pub struct Burst {
    /// What is fired.
    pub spec: CallSpec,
    /// Its name for people.
    pub name: String,
    total: u64,
    at_once: usize,
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
    /// A run of `total` calls, `at_once` of them side by side; both are cut to what is allowed.
    pub fn new(spec: CallSpec, name: String, total: u64, at_once: usize, now: Stamp) -> Burst {
        let total = total.clamp(1, MOST_CALLS);
        Burst {
            spec,
            name,
            total,
            at_once: at_once.clamp(1, MOST_PARALLEL).min(usize::try_from(total).unwrap_or(MOST_PARALLEL)),
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

    /// How many more calls are to be asked for now.
    pub fn wants(&self) -> usize {
        if self.stopped || self.ended.is_some() {
            return 0;
        }
        let left = usize::try_from(self.total - self.asked).unwrap_or(usize::MAX);
        self.at_once.saturating_sub(self.tokens.len() + self.open.len()).min(left)
    }

    /// Notes that a call was asked for with this token.
    pub fn asked(&mut self, token: u64) {
        self.asked += 1;
        self.tokens.insert(token);
    }

    /// Takes back that a call was asked for.
    pub fn unask(&mut self, token: u64) {
        if self.tokens.remove(&token) {
            self.asked -= 1;
        }
    }

    /// Notes the id of a call that was asked for; whether the token is one of these calls.
    pub fn submitted(&mut self, token: u64, call: CallId) -> bool {
        let ours = self.tokens.remove(&token);
        if ours {
            self.open.insert(call);
        }
        ours
    }

    /// The calls under way.
    pub fn open(&self) -> impl Iterator<Item = CallId> + '_ {
        self.open.iter().copied()
    }

    /// Notes the end of a call, if it is one of these.
    pub fn settled(&mut self, call: CallId, settled: &Settled, now: Stamp) {
        if !self.open.remove(&call) {
            return;
        }
        let rank = match &settled.outcome {
            Outcome::Ok { .. } => 0,
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

    /// Notes calls whose end nobody saw: the console fell behind and they are no longer kept.
    pub fn lost(&mut self, call: CallId, now: Stamp) {
        if self.open.remove(&call) {
            self.end(4, "end not seen", now);
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

    /// Asks for no more calls; those under way are given up by the caller.
    pub fn stop(&mut self, now: Stamp) {
        self.stopped = true;
        self.close(now);
    }

    /// Whether nothing is under way any more.
    pub fn over(&self) -> bool {
        self.ended.is_some()
    }

    /// How many calls have ended.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Draws how it stands.
    pub fn draw(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let height = (ROWS + 9 + self.ends.len()) as u16;
        let state = match (self.ended, self.stopped) {
            (None, false) => (format!("{} running", look.spinner()), theme.running),
            (None, true) => ("stopping".to_owned(), theme.warn),
            (Some(_), true) => ("stopped".to_owned(), theme.warn),
            (Some(_), false) => ("✓ done".to_owned(), theme.ok),
        };
        let title = format!("{} × {}, {} at once", self.name, self.total, self.at_once);
        let inner = dialog(buf, area, (78, height.min(area.height)), &[(&title, theme.focus)], &[(&state.0, state.1)], theme);
        let room =
            Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), height: inner.height.saturating_sub(1), ..inner };
        let mut sheet = Sheet::new(theme, room.width);
        self.progress(&mut sheet, look, room.width);
        self.figures(&mut sheet, look);
        let rows = usize::from(room.height).saturating_sub(sheet.len() + self.ends.len() + 2).min(ROWS);
        sheet.gap();
        self.histogram(&mut sheet, look, room.width, rows);
        sheet.gap();
        for ((rank, word), count) in &self.ends {
            let (glyph, style) = match rank {
                0 => ("✓", theme.ok),
                1 => ("!", theme.warn),
                2 => ("✕", theme.fail),
                _ => ("–", theme.muted),
            };
            sheet.row(vec![(format!("{glyph} "), style), (format!("{count:>7}"), theme.text), (format!("  {word}"), style)]);
        }
        sheet.draw(buf, room, Window::default());
        key_row(look.keys, Context::Burst, |_| true, theme, inner, buf);
    }

    fn progress(&self, sheet: &mut Sheet, look: DrawContext, width: u16) {
        let theme = look.theme;
        let cells = usize::from(width.saturating_sub(24).min(44)).max(1);
        let share = self.done as f64 / self.total as f64;
        let full = ((share * cells as f64) as usize).min(cells);
        sheet.row(vec![
            ("▕".into(), theme.muted),
            ("█".repeat(full), theme.running),
            ("░".repeat(cells - full), theme.muted),
            ("▏".into(), theme.muted),
            (format!(" {} of {}", self.done, self.total), theme.text),
            (if self.open.is_empty() { String::new() } else { format!("  {} under way", self.open.len()) }, theme.muted),
        ]);
    }

    fn figures(&self, sheet: &mut Sheet, look: DrawContext) {
        let theme = look.theme;
        let took = self.ended.unwrap_or(look.now).since(self.began);
        let rate = if took.is_zero() { 0.0 } else { self.done as f64 / took.as_secs_f64() };
        let mut pieces: Vec<(String, Style)> = vec![(format!("{} · {rate:.0} calls/s", short(took)), theme.text)];
        if let Some(latencies) = self.latencies.as_ref().filter(|l| !l.is_empty()) {
            let at = |percent: f64| short(std::time::Duration::from_micros(latencies.value_at_percentile(percent)));
            let mean = std::time::Duration::from_micros((self.sum / u128::from(latencies.len())) as u64);
            for (label, value) in [("mean", short(mean)), ("p50", at(50.0)), ("p95", at(95.0)), ("p99", at(99.0)), ("max", at(100.0))] {
                pieces.push((format!("   {label} "), theme.muted));
                pieces.push((value, theme.text));
            }
        }
        sheet.row(pieces);
    }

    /// One bar for each step of 1, 2, 5, 10, … between the quickest and the slowest.
    fn histogram(&self, sheet: &mut Sheet, look: DrawContext, width: u16, most: usize) {
        let theme = look.theme;
        let Some(latencies) = self.latencies.as_ref().filter(|l| !l.is_empty()) else {
            sheet.text("Latencies stand here as soon as a call is answered.", theme.muted);
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
        let surplus = counts.len().saturating_sub(most.max(1));
        // The slow ones are the ones to see: what does not fit is put together at the quick end.
        if surplus > 0 {
            let quick: u64 = counts[..=surplus].iter().map(|(_, n)| n).sum();
            counts.drain(..surplus);
            counts[0].1 = quick;
        }
        let largest = counts.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
        let cells = u64::from(width.saturating_sub(22).min(50)).max(1);
        for (edge, count) in counts {
            let full = if count == 0 { 0 } else { (count * cells / largest).max(1) };
            sheet.row(vec![
                (format!("≤ {:>7} ", short(std::time::Duration::from_micros(edge))), theme.muted),
                ("█".repeat(full as usize), theme.accent),
                (format!(" {count}"), theme.text),
            ]);
        }
    }
}

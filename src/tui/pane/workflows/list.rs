//! The list of workflows: name, outcome, time and duration of the latest run.

use std::{sync::Arc, time::Duration};

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{plural::counted, run::RunOutcome, time::short, workflow::library::WorkflowEntry},
    state::runs::RunView,
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        widget::paint::{Pen, lower, padded, pane, scroll_bar, width, wrap},
    },
};

use super::{
    ListRow, WorkflowsPane,
    state::{of_outcome, of_run},
};

impl WorkflowsPane {
    /// Draws the list.
    pub fn draw_list(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let count = self.list.len();
        let running = ctx.read_model.runs.running;
        let right = if running > 0 { format!("{running} running") } else { String::new() };
        let pieces = [(right.as_str(), theme.running)];
        let inner = pane(buf, area, &[("Workflows", title)], if running > 0 { &pieces } else { &[] }, ctx.focused, theme);
        if self.rows.is_empty() {
            self.draw_empty(ctx, inner, buf);
            return;
        }
        let broken = self.list.iter().filter(|flow| flow.plan.is_err()).count();
        let mut summary = counted(count, "file");
        if broken > 0 {
            summary.push_str(&format!(" · {broken} broken"));
        }
        if !self.troubles.is_empty() {
            summary.push_str(&format!(" · {} unreadable", self.troubles.len()));
        }
        let style = if broken > 0 || !self.troubles.is_empty() { theme.fail } else { theme.muted };
        lower(buf, area, &[(&summary, style)], theme.border);
        scroll_bar(buf, inner, (self.window.top, usize::from(inner.height), self.rows.len()), ctx.theme.muted);
        for (y, index) in self.window.rows(self.rows.len(), usize::from(inner.height)).enumerate() {
            let place = Rect { y: inner.y + y as u16, height: 1, ..inner };
            let selected = index == self.window.cursor;
            ctx.hits.add(place, Hit::Row(index));
            match &self.rows[index] {
                ListRow::Flow(name) => self.draw_flow(name, selected, ctx, place, buf),
                ListRow::Run(run) => {
                    if let Some(run) = ctx.read_model.runs.get(*run) {
                        draw_run(run, ctx, place, buf);
                    }
                }
            }
            if selected {
                buf.set_style(place.intersection(buf.area), ctx.selection());
            }
        }
    }

    fn draw_flow(&self, name: &Arc<str>, selected: bool, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let flow = self.list.iter().find(|flow| flow.name == *name);
        let run = ctx.read_model.runs.last_of(name);
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        let (glyph, style) = match (flow.map(|flow| &flow.plan), run) {
            (Some(Err(_)), _) => ("✕", theme.fail),
            (_, Some(run)) => {
                let (glyph, _, style) = of_run(run, ctx);
                (glyph, style)
            }
            (_, None) => match self.past(name, ctx.read_model).map(|run| run.outcome.as_deref()) {
                Some(Some(outcome)) => RunOutcome::from_key(outcome).map_or(("·", theme.muted), |outcome| of_outcome(outcome, theme)),
                Some(None) => ("?", theme.warn),
                None => ("·", theme.muted),
            },
        };
        pen.put(glyph, style).skip(1);
        let (words, style) = match (flow, run) {
            (Some(WorkflowEntry { plan: Err(problems), .. }), _) => (counted(problems.len(), "problem"), theme.fail),
            (_, Some(run)) => {
                let took = run.report.as_ref().map_or_else(|| ctx.now.since(run.started), |report| report.took());
                let (_, _, style) = of_run(run, ctx);
                let when = &ctx.read_model.epoch.time_of_day(run.started)[..5];
                let when = if area.width >= 36 { format!("  {when}") } else { String::new() };
                (format!("{}{when}", short(took)), if run.report.is_none() { style } else { theme.muted })
            }
            (Some(WorkflowEntry { plan: Ok(_), .. }), None) if self.past(name, ctx.read_model).is_some() => {
                let past = self.past(name, ctx.read_model);
                match past.and_then(|run| run.took_ms) {
                    Some(took) => {
                        let now = ctx.read_model.epoch.unix_ms(ctx.now);
                        let ago = past.map(|run| now.saturating_sub(run.started_ms)).map(ago).unwrap_or_default();
                        let ago = if area.width >= 36 { format!("  {ago}") } else { String::new() };
                        (format!("{}{ago}", short(Duration::from_millis(took))), theme.muted)
                    }
                    None => {
                        let key = ctx.keys.key(&[Context::Workflows], Action::ResumeRun).unwrap_or_default();
                        let words = format!("interrupted · {key} resume");
                        // The name first: the key is in the title of the graph as well.
                        let fits = width(name) + width(&words) + 6 <= area.width;
                        (if fits { words } else { "interrupted".to_owned() }, theme.warn)
                    }
                }
            }
            (Some(WorkflowEntry { plan: Ok(plan), .. }), None) => (counted(plan.steps.len(), "step"), theme.muted),
            (None, None) => (String::new(), theme.muted),
        };
        pen.right(&[(" ", theme.text), (&words, style), (" ", theme.text)]);
        let room = pen.left();
        pen.put_middle(name, room, if selected { theme.accent } else { theme.text });
    }

    fn draw_empty(&self, ctx: DrawContext, inner: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let place = self.folder.as_ref().map_or_else(|| "the workflows folder next to your configuration".to_owned(), String::clone);
        let text = format!(
            "No workflows yet. Put one file per workflow into {place}, run `switchboard workflow new NAME`, or press w on a call to save it as a workflow."
        );
        let room = padded(inner);
        for (y, row) in wrap(&text, room.width).iter().enumerate() {
            Pen::new(buf, room, y as u16).put(row, theme.muted);
        }
    }
}

fn draw_run(run: &RunView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let (glyph, words, style) = of_run(run, ctx);
    let took = run.report.as_ref().map_or_else(|| ctx.now.since(run.started), |report| report.took());
    let when = &ctx.read_model.epoch.time_of_day(run.started)[..8];
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(3).put(glyph, style).skip(1);
    pen.right(&[(" ", theme.text), (&short(took), theme.muted), (" ", theme.text)]);
    pen.put(when, theme.muted).skip(1).put(words, style);
}

/// Formats an age in the largest unit that fits.
pub(super) fn ago(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => "just now".into(),
        1..=59 => format!("{minutes} min ago"),
        60..=2879 => format!("{} h ago", minutes / 60),
        _ => format!("{} ago", counted(minutes / 1440, "day")),
    }
}

//! Draws the detail of a call.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        body::Body,
        call::Outcome,
        frame::{Frame, FrameKind},
        time::{short, size},
    },
    state::CallView,
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::{DrawContext, attempts, outcome_glyph, text_view::TextView, traffic::pending_words},
        widget::{
            paint::{Pen, lower, padded, pane, scroll_bar, width},
            window::Window,
        },
    },
};

use super::{Detail, ResultNotes, Tab};

/// What separates the tabs.
const TAB_GAP: &str = " │ ";

impl Detail {
    /// Draws the call in `area`. `name` is the pane's title.
    pub fn draw(&mut self, name: &str, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let call = self.call.and_then(|id| ctx.read_model.call(id));
        let title_style = if ctx.focused { theme.focus } else { theme.text };
        let mut title: Vec<(String, Style)> = vec![(name.to_owned(), title_style)];
        if let Some(call) = call {
            title.extend(self.query_line(ctx));
            title.extend(outcome_line(call, ctx));
        }
        let tabs = self.tabs(ctx);
        let tabs: Vec<(&str, Style)> = tabs.iter().map(|(t, s)| (*t, *s)).collect();
        let title: Vec<(&str, Style)> = title.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        let inner = pane(buf, area, &title, &[], ctx.focused, theme);
        if call.is_some() {
            // The tabs are in the lower border, because the title above may grow.
            if let Some(place) = lower(buf, area, &tabs, if ctx.focused { theme.focus } else { theme.border }) {
                self.record_tabs(ctx, place);
                if let Some(key) = self.media_key(ctx).filter(|key| area.x + 4 + width(key) < place.x) {
                    let row = Rect { x: area.x + 2, width: width(&key) + 2, ..place };
                    Pen::new(buf, row, 0).put(" ", theme.muted).put(&key, theme.muted).put(" ", theme.muted);
                }
            }
        }
        let inner = padded(inner);
        match call {
            None if self.call.is_some() => note(ctx, inner, buf, "This call was dropped to save memory."),
            None => {
                let key = ctx.keys.key(&[Context::Call], Action::Send).unwrap_or_default();
                note(ctx, inner, buf, &format!("No call yet – {key} in the form sends one."));
            }
            Some(call) => self.draw_call(call, ctx, inner, buf),
        }
    }

    /// Returns the key that opens an image or audio clip of the result: its data is not shown.
    fn media_key(&self, ctx: DrawContext) -> Option<String> {
        let key = ctx.keys.key(&[Context::Result], Action::OpenMedia)?;
        self.has_media().then(|| format!("{key} open"))
    }

    fn tabs(&self, ctx: DrawContext) -> Vec<(&'static str, Style)> {
        let mut pieces = Vec::new();
        for (index, tab) in self.shown_tabs().into_iter().enumerate() {
            if index > 0 {
                pieces.push((TAB_GAP, ctx.theme.border));
            }
            let style = if tab == self.tab { ctx.theme.focus } else { ctx.theme.muted };
            if tab == self.tab && ctx.theme.mono {
                pieces.extend([("[", style), (tab.word(), style), ("]", style)]);
            } else {
                pieces.push((tab.word(), style));
            }
        }
        pieces
    }

    /// Records the areas of the tabs, which are drawn in `place`.
    fn record_tabs(&self, ctx: DrawContext, place: Rect) {
        let mut x = place.x;
        for (index, tab) in self.shown_tabs().into_iter().enumerate() {
            let brackets = if tab == self.tab && ctx.theme.mono { 2 } else { 0 };
            let cells = width(tab.word()) + brackets;
            ctx.hits.add(Rect { x, width: cells, ..place }, Hit::Tab(index));
            x += cells + width(TAB_GAP);
        }
    }

    fn draw_call(&mut self, call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        match (self.tab, &mut self.view) {
            (Tab::Frames, _) => return self.draw_frames(call, ctx, area, buf),
            (Tab::Attempts, _) => {
                let out = attempts::text_view(call, ctx, area.width);
                // Bounds scrolling.
                self.trace_rows = out.len();
                return out.draw(buf, area, self.scroll);
            }
            (Tab::Arguments, Some(view)) => return view.draw(area, buf, ctx.theme, ctx.focused, ctx.hits),
            _ => {}
        }
        match &call.settled {
            None => draw_running(call, ctx, area, buf),
            Some(settled) => match (&settled.outcome, &mut self.view) {
                (Outcome::Ok { .. } | Outcome::ToolError { .. }, None)
                    if self.pending.presented.is_some() || self.pending.view.is_some() =>
                {
                    let bytes = self.result.as_ref().map_or(0, Body::len) as u64;
                    note(ctx, area, buf, &format!("{} parsing {} …", ctx.spinner(), size(bytes)));
                }
                (_, Some(view)) => {
                    let notes = draw_notes(&self.notes, ctx, area, buf);
                    let mut rest = Rect { y: area.y + notes, height: area.height - notes, ..area };
                    if self.tab == Tab::Text {
                        let rows = self.preview.rows(view.position().2, rest);
                        rest.height -= rows;
                        let place = Rect { y: rest.bottom(), height: rows, ..rest };
                        if rows > 0 {
                            self.preview.draw(&self.parts, ctx, place, buf);
                        }
                    }
                    view.draw(rest, buf, ctx.theme, ctx.focused, ctx.hits);
                    let rows_area = Rect { width: rest.width + 1, ..rest };
                    scroll_bar(buf, rows_area, view.position(), ctx.theme.muted);
                }
                (Outcome::Failed { failure }, _) => {
                    let mut out = TextView::new(ctx.theme, area.width);
                    out.report(&failure.report());
                    // While the form has the focus, its key sends the call.
                    let (context, action) = if ctx.focused { (Context::Global, Action::SendAgain) } else { (Context::Call, Action::Send) };
                    let key = ctx.keys.key(&[context], action).unwrap_or_default();
                    out.gap().field("next", &format!("{key} send again"), ctx.theme.key).does(Action::SendAgain);
                    out.draw(buf, area, self.scroll);
                    out.record(ctx.hits, area, self.scroll);
                }
                (Outcome::Cancelled { reason }, _) => note(ctx, area, buf, &format!("Cancelled: {reason}")),
                _ => note(ctx, area, buf, "The result was dropped to save memory. Send the call again to see it."),
            },
        }
    }

    fn draw_frames(&mut self, call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        if self.frames.is_empty() {
            return note(ctx, area, buf, "No frames: nothing was sent yet, or the frames were dropped to save memory.");
        }
        let list_height = (self.frames.len() as u16).min((area.height / 3).max(1)).min(area.height);
        let mut window = self.frame;
        window.fit(self.frames.len(), usize::from(list_height));
        for (y, index) in window.rows(self.frames.len(), usize::from(list_height)).enumerate() {
            let frame = &self.frames[index];
            let row = Rect { y: area.y + y as u16, height: 1, ..area };
            ctx.hits.add(row, Hit::Frame(index));
            frame_row(frame, call, ctx, row, buf);
            if index == self.frame.cursor {
                buf.set_style(row.intersection(buf.area), if self.inside { theme.selection_idle } else { ctx.selection() });
            }
        }
        let rows_area = Rect { width: area.width + 1, height: list_height, ..area };
        scroll_bar(buf, rows_area, (window.top, usize::from(list_height), self.frames.len()), theme.muted);
        let Some(frame) = self.frames.get(self.frame.cursor) else { return };
        let mut y = area.y + list_height;
        let mut line = |text: &str, style: Style, buf: &mut Buffer| {
            if y < area.bottom() {
                Pen::new(buf, Rect { y, height: 1, ..area }, 0).put(text, style);
                y += 1;
            }
        };
        line(&"─".repeat(usize::from(area.width)), theme.border, buf);
        if let Some(http) = &frame.http {
            line(&http.line, theme.accent, buf);
            for (name, value) in http.headers.iter().take(usize::from(area.height / 3)) {
                line(&format!("{name}: {value}"), theme.muted, buf);
            }
        }
        let rest = Rect { y, height: area.bottom().saturating_sub(y), ..area };
        if let Some(view) = &mut self.view {
            view.draw(rest, buf, theme, ctx.focused && self.inside, ctx.hits);
        }
    }
}

/// Draws the notes above the result. Returns how many rows they take.
fn draw_notes(notes: &ResultNotes, ctx: DrawContext, area: Rect, buf: &mut Buffer) -> u16 {
    let (theme, most) = (ctx.theme, usize::from(area.height / 3).min(4));
    let mut rows: Vec<(String, Style)> = notes.trouble.iter().map(|why| (format!("✕ {why}"), theme.fail)).collect();
    match &notes.schema_check {
        _ if notes.checking => rows.push((format!("{} checking the output schema …", ctx.spinner()), theme.running)),
        Ok(violations) if !violations.is_empty() => {
            rows.push(("✕ violates the tool's output schema:".into(), theme.fail));
            rows.extend(violations.iter().map(|v| (format!("  {v}"), theme.fail)));
        }
        Ok(_) => {}
        Err(why) => rows.push((format!("⚠ output schema: {why}"), theme.warn)),
    }
    if most == 0 {
        return 0;
    }
    if rows.len() > most {
        let hidden = rows.len() - most + 1;
        rows.truncate(most - 1);
        rows.push((format!("  … and {hidden} more"), theme.fail));
    }
    for (y, (row, style)) in rows.iter().enumerate() {
        Pen::new(buf, area, y as u16).put(row, *style);
    }
    rows.len() as u16
}

fn note(ctx: DrawContext, area: Rect, buf: &mut Buffer, text: &str) {
    let mut out = TextView::new(ctx.theme, area.width);
    out.text(text, ctx.theme.muted);
    out.draw(buf, area, Window::default());
}

/// ` ── ok · 3.1 ms · queued 0.0 · wire 2.9 · 212 B`.
fn outcome_line(call: &CallView, ctx: DrawContext) -> Vec<(String, Style)> {
    let theme = ctx.theme;
    let mut pieces = vec![(" ── ".to_owned(), theme.border)];
    match &call.settled {
        Some(settled) => {
            let (glyph, style) = outcome_glyph(&settled.outcome, theme);
            let timings = &settled.timings;
            pieces.push((format!("{glyph} {}", settled.outcome.words()), style));
            // Before the times: a fallback must not look like an ordinary success.
            for (at, (text, notable)) in attempts::summary(call).into_iter().enumerate() {
                let lead = if at == 0 && attempts::source(call).is_some() { " " } else { " · " };
                pieces.push((format!("{lead}{text}"), if notable { theme.warn } else { theme.muted }));
            }
            let mut more = |text: String| pieces.push((format!(" · {text}"), theme.muted));
            more(short(timings.total()));
            more(format!("queued {}", short(timings.wait())));
            if let Some(wire) = timings.wire() {
                more(format!("wire {}", short(wire)));
            }
            if settled.received_bytes > 0 {
                more(size(settled.received_bytes));
            }
            if settled.rounds > 1 {
                more(format!("{} rounds", settled.rounds));
            }
        }
        None => {
            pieces.push((format!("{} {}", ctx.spinner(), pending_words(call)), theme.running));
            pieces.push((format!(" · {}", short(ctx.now.since(call.queued))), theme.muted));
        }
    }
    pieces
}

fn draw_running(call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let mut out = TextView::new(theme, area.width);
    let elapsed = short(ctx.now.since(call.queued));
    out.row(vec![
        (format!("{} ", ctx.spinner()), theme.running),
        (format!("{} for {elapsed}", if call.sent.is_some() { "running" } else { "queued" }), theme.text),
    ]);
    if ctx.read_model.asks.iter().any(|ask| ask.call == Some(call.id)) {
        let key = ctx.keys.key(&[Context::Text, Context::Global], Action::Inbox).unwrap_or_default();
        out.row(vec![(key, theme.key), (" the server waits for your answer".into(), theme.warn)]).does(Action::Inbox);
    }
    if let Some(progress) = &call.progress {
        if let Some(total) = progress.total.filter(|t| *t > 0.0) {
            out.row(progress_bar(progress.progress / total, area.width.min(50), ctx));
        } else {
            out.row(vec![(format!("progress {}", progress.progress), theme.muted)]);
        }
        if let Some(message) = &progress.message {
            out.text(message, theme.text);
        }
    }
    let logs = ctx.read_model.server(call.spec.operation.server()).map(|s| &s.logs);
    let call_logs: Vec<_> = logs.into_iter().flatten().filter(|(_, log)| log.call == Some(call.id)).collect();
    if !call_logs.is_empty() {
        out.gap();
        for (at, log) in call_logs.iter().rev().take(20).rev() {
            out.field(&ctx.read_model.epoch.time_of_day(*at)[..8], &format!("{} {}", log.level, log.text), theme.muted);
        }
    }
    // The key that also works in a text field.
    let key = ctx.keys.key(&[Context::Text, Context::Global], Action::Cancel).unwrap_or_default();
    out.gap().row(vec![(key, theme.key), (" cancel · runs in the background".into(), theme.muted)]).does(Action::Cancel);
    out.draw(buf, area, Window::default());
    out.record(ctx.hits, area, Window::default());
}

fn progress_bar(share: f64, width: u16, ctx: DrawContext) -> Vec<(String, Style)> {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let cells = usize::from(width.saturating_sub(8)).max(1);
    let full = (share * cells as f64).round() as usize;
    vec![
        ("▕".into(), ctx.theme.muted),
        ("█".repeat(full), ctx.theme.running),
        ("░".repeat(cells - full), ctx.theme.muted),
        ("▏".into(), ctx.theme.muted),
        (format!("{:>3.0} %", share * 100.0), ctx.theme.text),
    ]
}

fn frame_row(frame: &Frame, call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let kind = match frame.kind {
        FrameKind::Request => "request",
        FrameKind::Response => "response",
        FrameKind::Notification => "notification",
        FrameKind::Http => "http",
        FrameKind::Noise => "noise",
    };
    let at = format!("+{}", short(frame.at.since(call.queued)));
    let bytes = match frame.cut {
        Some(_) => format!("first {} of {}", size(frame.body.len() as u64), size(frame.size)),
        None => size(frame.size),
    };
    let mut pen = Pen::new(buf, area, 0);
    pen.right(&[(&bytes, theme.muted)]);
    pen.put(&format!("{at:>9} "), theme.muted);
    pen.put(&format!("{} ", frame.direction.arrow()), if frame.kind == FrameKind::Noise { theme.warn } else { theme.accent });
    pen.put(&format!("{kind:<13}"), theme.text);
    pen.put(frame.method.as_deref().unwrap_or(""), theme.text);
    if let Some(id) = &frame.rpc_id {
        pen.put(&format!("  id {id}"), theme.muted);
    }
    if let Some(http) = &frame.http
        && width(&http.line) + 2 <= pen.left()
    {
        pen.put("  ", theme.muted).put(&http.line, theme.muted);
    }
}

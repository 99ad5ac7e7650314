//! The detail of one call: outcome, result as tree, text or raw bytes, arguments, frames and attempts.
//!
//! The result pane shows the last call of the selected tool. The detail pane shows any call of the traffic list.

mod query;

use std::{ops::Range, sync::Arc};

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        event::Settled,
        frame::{Frame, FrameKind},
        id::CallId,
        time::{short, size},
    },
    state::{CallView, ConsoleState},
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind, Material, discard},
        hits::Hit,
        keymap::Context,
        result_view::{Part, Presented},
        widget::{
            json::JsonView,
            paint::{Pen, lower, pane, width},
            window::{Direction, Move, Window},
        },
    },
};

use super::{DrawContext, attempts, outcome_glyph, text_view::TextView, traffic::pending_words};

/// The most frames of the shown call that stay after the read model has dropped them.
const DROPPED_FRAMES_KEPT: usize = 64;

/// What separates the tabs.
const TAB_GAP: &str = " │ ";

/// The tabs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The result as a foldable JSON tree.
    Tree,
    /// The result's text.
    Text,
    /// The result's bytes.
    Raw,
    /// The arguments that were sent.
    Arguments,
    /// The frames of the call.
    Frames,
    /// The trace of the call.
    Attempts,
}

impl Tab {
    const ALL: [Tab; 6] = [Tab::Tree, Tab::Text, Tab::Raw, Tab::Arguments, Tab::Frames, Tab::Attempts];

    fn word(self) -> &'static str {
        match self {
            Tab::Tree => "tree",
            Tab::Text => "text",
            Tab::Raw => "raw",
            Tab::Arguments => "sent",
            Tab::Frames => "frames",
            Tab::Attempts => "attempts",
        }
    }
}

/// The call that is shown, its tab and its views.
pub struct Detail {
    call: Option<CallId>,
    tab: Tab,
    /// Whether the user chose the tab for this call. Otherwise the result determines the tab.
    chosen: bool,
    settled: Option<Arc<Settled>>,
    result: Option<Body>,
    presented: Option<Presented>,
    view: Option<JsonView>,
    frames: Vec<Arc<Frame>>,
    frame: Window,
    /// Whether keys go to the frame's content instead of the list of frames.
    inside: bool,
    scroll: Window,
    /// The rows of the trace as drawn last.
    trace_rows: usize,
    /// The search text.
    needle: String,
    /// The JSONPath filter of the tree.
    filter: Option<query::Filter>,
    notes: ResultNotes,
    /// Images, audio and links of the result.
    parts: Vec<(usize, Range<usize>, Part)>,
    /// New background jobs, until the model fetches them.
    tasks: Vec<Job>,
    pending: PendingJobs,
}

/// The notes above the result.
struct ResultNotes {
    /// Violations of the output schema, or why the structured content could not be checked.
    schema_check: Result<Vec<String>, String>,
    /// Whether the check is running.
    checking: bool,
    /// Why a filter that ran in the background failed.
    trouble: Option<String>,
}

/// The background jobs whose results are pending.
#[derive(Default)]
struct PendingJobs {
    presented: Option<JobHandle>,
    view: Option<JobHandle>,
    found: Option<(JobHandle, String)>,
    schema_check: Option<JobHandle>,
}

impl Default for Detail {
    fn default() -> Self {
        Detail {
            call: None,
            tab: Tab::Tree,
            chosen: false,
            settled: None,
            result: None,
            presented: None,
            view: None,
            frames: vec![],
            frame: Window::default(),
            inside: false,
            scroll: Window::default(),
            trace_rows: 0,
            needle: String::new(),
            filter: None,
            notes: ResultNotes { schema_check: Ok(vec![]), checking: false, trouble: None },
            parts: vec![],
            tasks: vec![],
            pending: PendingJobs::default(),
        }
    }
}

impl Detail {
    /// Returns the call that is shown.
    pub fn call(&self) -> Option<CallId> {
        self.call
    }

    /// Shows another call or none.
    pub fn show(&mut self, call: Option<CallId>, read_model: &ConsoleState) {
        if self.call == call {
            return;
        }
        let keep_tab = matches!(self.tab, Tab::Frames | Tab::Attempts);
        let tab = if keep_tab { self.tab } else { Tab::Tree };
        let mut tasks = self.close();
        tasks.retain(|task| matches!(task.job, JobKind::Discard(_)));
        *self = Detail { call, tab, chosen: keep_tab, tasks, ..Detail::default() };
        if let Some(id) = call {
            self.frames = read_model.frames_of(id).cloned().collect();
        }
        self.sync(read_model);
        if self.view.is_none() {
            self.start_view(read_model);
        }
    }

    /// Reloads everything from a new snapshot.
    pub fn resync(&mut self, read_model: &ConsoleState) {
        if let Some(id) = self.call {
            self.frames = read_model.frames_of(id).cloned().collect();
        }
        self.sync(read_model);
    }

    /// Adds a new frame if it belongs to the call.
    pub fn frame(&mut self, frame: &Arc<Frame>) {
        if frame.call.is_some() && frame.call == self.call && self.frames.last().is_none_or(|last| last.seq < frame.seq) {
            self.frames.push(frame.clone());
            if self.tab == Tab::Frames && self.frames.len() == 1 {
                self.view_frame();
            }
        }
    }

    /// Drops frames that the read model has dropped, except for the last `DROPPED_FRAMES_KEPT`, which is more than most calls
    /// have. Bounds the memory of a call with a flood of messages.
    pub fn drop_old_frames(&mut self, read_model: &ConsoleState) {
        let first = read_model.frames.front().map_or(0, |frame| frame.seq);
        let gone = self.frames.partition_point(|frame| frame.seq < first).saturating_sub(DROPPED_FRAMES_KEPT);
        if gone > 0 {
            self.frames.drain(..gone);
            self.frame.cursor = self.frame.cursor.saturating_sub(gone);
        }
    }

    /// Updates the view from the call's state.
    pub fn sync(&mut self, read_model: &ConsoleState) {
        let call = self.call.and_then(|id| read_model.call(id));
        let settled = call.and_then(|c| c.settled.clone());
        let same = match (&self.settled, &settled) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let dropped = call.is_some_and(|c| c.result_dropped);
        // A result that the pane holds stays readable after the read model has dropped it.
        if !(dropped && self.result.is_some()) {
            self.result = settled.as_ref().and_then(|s| s.outcome.result().cloned()).filter(|_| !dropped);
        }
        self.settled = settled;
        (self.presented, self.parts, self.pending) = (None, vec![], PendingJobs::default());
        self.check_schema(read_model);
        match self.result.clone().map(|result| JobKind::Present(result).ask(&mut self.tasks)) {
            Some(Err(handle)) => self.pending.presented = Some(handle),
            Some(Ok(Done::Presented(presented, parts))) => self.take_presented(presented, parts),
            _ => {}
        }
        self.start_view(read_model);
    }

    fn take_presented(&mut self, presented: Presented, parts: Vec<(usize, Range<usize>, Part)>) {
        if !self.chosen {
            self.tab = if presented.text_first { Tab::Text } else { Tab::Tree };
        }
        (self.presented, self.parts) = (Some(presented), parts);
    }

    /// Returns the background jobs that were added since the last call.
    pub fn take_tasks(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.tasks)
    }

    /// Closes the detail. Returns the remaining jobs, which free its memory.
    pub fn close(&mut self) -> Vec<Job> {
        discard(self.view.take(), &mut self.tasks);
        self.take_tasks()
    }

    /// Returns whether a background job is pending.
    pub fn waits(&self) -> bool {
        let pending = &self.pending;
        pending.presented.is_some() || pending.view.is_some() || pending.found.is_some() || pending.schema_check.is_some()
    }

    /// Returns whether this job is pending.
    pub fn waits_for(&self, handle: &JobHandle) -> bool {
        let pending = &self.pending;
        let found = pending.found.as_ref().map(|(handle, _)| handle);
        [pending.presented.as_ref(), pending.view.as_ref(), pending.schema_check.as_ref(), found].contains(&Some(handle))
    }

    /// Takes the result of a job that [is pending](Detail::waits_for).
    pub fn job_done(&mut self, done: Done, read_model: &ConsoleState) {
        match done {
            Done::Presented(presented, parts) => {
                self.pending.presented = None;
                self.take_presented(presented, parts);
                self.start_view(read_model);
            }
            Done::View(view) => self.take_view(view),
            Done::Judged(schema_check) => {
                self.pending.schema_check = None;
                (self.notes.schema_check, self.notes.checking) = (schema_check, false);
            }
            Done::Found(found) => {
                let path = self.pending.found.take().map(|(_, path)| path).unwrap_or_default();
                self.notes.trouble = self.take_found(path, found).err();
            }
            Done::Copied(..) | Done::Gone => {}
        }
    }

    fn take_view(&mut self, view: Box<JsonView>) {
        self.pending.view = None;
        discard(self.view.replace(*view), &mut self.tasks);
        self.restart_search();
    }

    /// Goes to the next or the previous tab.
    pub fn turn_tab(&mut self, direction: Direction, read_model: &ConsoleState) {
        let at = Tab::ALL.iter().position(|t| *t == self.tab).unwrap_or(0);
        self.set_tab(Tab::ALL[direction.cycle(at, Tab::ALL.len())], read_model);
    }

    /// Shows a tab.
    pub fn set_tab(&mut self, tab: Tab, read_model: &ConsoleState) {
        (self.tab, self.chosen, self.inside) = (tab, true, false);
        self.start_view(read_model);
    }

    fn start_view(&mut self, read_model: &ConsoleState) {
        self.scroll = Window::default();
        let job = match self.tab {
            Tab::Frames => return self.view_frame(),
            Tab::Arguments => self.call.and_then(|id| read_model.call(id)).map(|call| JobKind::Json(sent_body(&call.spec.operation))),
            Tab::Tree => self.tree().map(JobKind::Json),
            Tab::Text => self.result.clone().map(JobKind::Text),
            Tab::Raw => self.result.clone().map(JobKind::Raw),
            Tab::Attempts => None,
        };
        self.start_view_job(job);
    }

    fn view_frame(&mut self) {
        let job = self.frames.get(self.frame.cursor).map(|frame| JobKind::Frame(frame.body.clone()));
        self.start_view_job(job);
    }

    /// Starts a job and shows its view when the job is done.
    fn start_view_job(&mut self, job: Option<JobKind>) {
        self.pending.view = None;
        discard(self.view.take(), &mut self.tasks);
        match job.map(|job| job.ask(&mut self.tasks)) {
            Some(Ok(Done::View(view))) => self.take_view(view),
            Some(Err(handle)) => self.pending.view = Some(handle),
            _ => {}
        }
    }

    /// Leaves a frame's content, a filter or a search. Returns whether there was one to leave.
    pub fn back(&mut self) -> bool {
        std::mem::take(&mut self.inside) || self.end_query()
    }

    /// Returns whether the frame under the cursor can be opened.
    pub fn can_open(&self) -> bool {
        self.tab == Tab::Frames && !self.inside && self.view.is_some()
    }

    /// Opens the frame under the cursor, or folds the value under the cursor of the view.
    pub fn open(&mut self) {
        if self.can_open() {
            self.inside = true;
        } else {
            self.turn_view(Action::Open);
        }
    }

    /// Moves the cursor or scrolls.
    pub fn act(&mut self, action: Action, read_model: &ConsoleState, page: usize) {
        if matches!(action, Action::Left | Action::Right | Action::Fold | Action::FoldLevel | Action::UnfoldLevel) {
            return self.turn_view(action);
        }
        let Some(to) = Move::of(action, page.max(1)) else { return };
        if self.tab == Tab::Frames && !self.inside {
            self.frame.go(to, self.frames.len());
            return self.view_frame();
        }
        if self.view.is_none() {
            let rows = if self.tab == Tab::Attempts { self.trace_rows } else { self.failure_rows(read_model, 60).unwrap_or(0) };
            return self.scroll.scroll(to, rows, page.max(1));
        }
        self.turn_view(action);
    }

    fn turn_view(&mut self, action: Action) {
        if let Some(view) = &mut self.view {
            view.act(action);
        }
    }

    /// Returns whether a foldable tree is shown.
    pub fn can_fold(&self) -> bool {
        self.view.as_ref().is_some_and(JsonView::is_tree)
    }

    fn failure_rows(&self, read_model: &ConsoleState, width: u16) -> Option<usize> {
        let Outcome::Failed { failure } = &read_model.call(self.call?)?.settled.as_ref()?.outcome else { return None };
        Some(failure.report().iter().map(|(_, text)| crate::tui::widget::paint::wrap(text, width).len().max(1)).sum())
    }

    /// Returns what is copied: the frame, the arguments, the result or the failure's report.
    pub fn copy(&self, read_model: &ConsoleState) -> Option<Material> {
        let call = read_model.call(self.call?)?;
        let material = |body: Body| Some(Material { pieces: vec![body], decode: false });
        match (self.tab, &self.view) {
            (Tab::Frames, _) if !self.inside => self.frames.get(self.frame.cursor).and_then(|f| material(f.body.clone())),
            (_, Some(view)) => Some(Material { pieces: vec![view.copy_value()], decode: view.is_tree() }),
            _ => None,
        }
        .or_else(|| match &call.settled.as_ref()?.outcome {
            Outcome::Failed { failure } => {
                material(failure.report().iter().map(|(l, t)| format!("{}: {t}\n", l.word())).collect::<String>().into())
            }
            _ => material(self.result.clone()?),
        })
    }

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
            }
        }
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        match call {
            None if self.call.is_some() => note(ctx, inner, buf, "This call was dropped to save memory."),
            None => {
                let key = ctx.keys.key(&[Context::Call], Action::Send).unwrap_or_default();
                note(ctx, inner, buf, &format!("No call yet – {key} in the form sends one."));
            }
            Some(call) => self.draw_call(call, ctx, inner, buf),
        }
    }

    fn tabs(&self, ctx: DrawContext) -> Vec<(&'static str, Style)> {
        let mut pieces = Vec::new();
        for (index, tab) in Tab::ALL.into_iter().enumerate() {
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
        for (index, tab) in Tab::ALL.into_iter().enumerate() {
            let brackets = if tab == self.tab && ctx.theme.mono { 2 } else { 0 };
            let cells = width(tab.word()) + brackets;
            ctx.hits.add(Rect { x, width: cells, ..place }, Hit::Tab(index));
            x += cells + width(TAB_GAP);
        }
    }

    /// Handles a click. Returns whether the clicked row was under the cursor already, or its fold sign was clicked: then the
    /// row opens.
    pub fn click(&mut self, hit: &Hit, read_model: &ConsoleState) -> bool {
        match hit {
            Hit::Tab(tab) => {
                if let Some(tab) = Tab::ALL.get(*tab).filter(|tab| **tab != self.tab) {
                    self.set_tab(*tab, read_model);
                }
                false
            }
            Hit::Frame(index) => {
                let same = !std::mem::take(&mut self.inside) && self.frame.cursor == *index;
                if !same {
                    self.frame.cursor = (*index).min(self.frames.len().saturating_sub(1));
                    self.view_frame();
                }
                same
            }
            Hit::Row(row) | Hit::FoldSign(row) => {
                let entered = self.tab == Tab::Frames && !std::mem::replace(&mut self.inside, self.tab == Tab::Frames);
                let same = self.view.as_mut().is_some_and(|view| view.click(*row));
                same && !entered || matches!(hit, Hit::FoldSign(_))
            }
            _ => false,
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
                    let rest = Rect { y: area.y + notes, height: area.height - notes, ..area };
                    view.draw(rest, buf, ctx.theme, ctx.focused, ctx.hits);
                }
                (Outcome::Failed { failure }, _) => {
                    let mut out = TextView::new(ctx.theme, area.width);
                    out.report(&failure.report());
                    let key = ctx.keys.key(&[Context::Global], Action::SendAgain).unwrap_or_default();
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

fn sent_body(operation: &Operation) -> Body {
    match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => arguments.clone(),
        Operation::Resource { uri, .. } => Body::json(&serde_json::json!({ "uri": uri })),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => params.clone(),
    }
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
            for (text, notable) in attempts::summary(call) {
                pieces.push((format!(" · {text}"), if notable { theme.warn } else { theme.muted }));
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

//! One call in full: outcome, result as tree, text or raw bytes, and the frames that crossed the wire.
//!
//! The result pane shows the last call of the selected tool, the detail any call of the traffic list.

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
        read_model::{CallView, ConsoleState},
        time::{short, size},
    },
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind, Material, discard},
        keymap::Context,
        result_view::{Part, Presented},
        widget::{
            json::JsonView,
            paint::{Pen, lower, pane, width},
            window::{Move, Window},
        },
    },
};

use super::{DrawContext, attempts, outcome_glyph, text_view::Sheet, traffic::pending_words};

/// Frames of the call in sight that stay although the state has let go of them.
const FORGOTTEN: usize = 64;

/// The views of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The result as JSON that can be folded.
    Tree,
    /// The result's text.
    Text,
    /// The result's bytes.
    Raw,
    /// What was sent as arguments.
    Arguments,
    /// The frames of the call.
    Frames,
    /// What happened on its way.
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

/// Which call is shown, and how.
pub struct Detail {
    call: Option<CallId>,
    tab: Tab,
    /// Whether the user chose the tab for this call; else the result does.
    chosen: bool,
    seen: Option<Arc<Settled>>,
    result: Option<Body>,
    presented: Option<Presented>,
    view: Option<JsonView>,
    frames: Vec<Arc<Frame>>,
    frame: Window,
    /// Whether keys go into the frame's bytes instead of the list of frames.
    inside: bool,
    scroll: Window,
    /// Rows of what happened on the way, as last drawn.
    story: usize,
    /// What is searched for in the view.
    needle: String,
    /// What the tree is filtered by.
    filter: Option<query::Filter>,
    told: Told,
    /// Images, sounds and links of the result.
    parts: Vec<(usize, Range<usize>, Part)>,
    /// Work to be done elsewhere, until it is fetched.
    tasks: Vec<Job>,
    waits: Waits,
}

/// What is said above the result.
struct Told {
    /// What is wrong with the structured content, or why that is not known.
    verdict: Result<Vec<String>, String>,
    /// Whether it is being looked at.
    checking: bool,
    /// Why a filter that took its time found nothing.
    trouble: Option<String>,
}

/// The work that is waited for.
#[derive(Default)]
struct Waits {
    presented: Option<JobHandle>,
    view: Option<JobHandle>,
    found: Option<(JobHandle, String)>,
    judged: Option<JobHandle>,
}

impl Default for Detail {
    fn default() -> Self {
        Detail {
            call: None,
            tab: Tab::Tree,
            chosen: false,
            seen: None,
            result: None,
            presented: None,
            view: None,
            frames: vec![],
            frame: Window::default(),
            inside: false,
            scroll: Window::default(),
            story: 0,
            needle: String::new(),
            filter: None,
            told: Told { verdict: Ok(vec![]), checking: false, trouble: None },
            parts: vec![],
            tasks: vec![],
            waits: Waits::default(),
        }
    }
}

impl Detail {
    /// The call that is shown.
    pub fn call(&self) -> Option<CallId> {
        self.call
    }

    /// Shows another call, or none.
    pub fn show(&mut self, call: Option<CallId>, read_model: &ConsoleState) {
        if self.call == call {
            return;
        }
        let stays = matches!(self.tab, Tab::Frames | Tab::Attempts);
        let tab = if stays { self.tab } else { Tab::Tree };
        let mut tasks = self.give_up();
        tasks.retain(|task| matches!(task.job, JobKind::Discard(_)));
        *self = Detail { call, tab, chosen: stays, tasks, ..Detail::default() };
        if let Some(id) = call {
            self.frames = read_model.frames_of(id).cloned().collect();
        }
        self.sync(read_model);
        if self.view.is_none() {
            self.make_view(read_model);
        }
    }

    /// Takes everything from a new snapshot.
    pub fn resync(&mut self, read_model: &ConsoleState) {
        if let Some(id) = self.call {
            self.frames = read_model.frames_of(id).cloned().collect();
        }
        self.sync(read_model);
    }

    /// Takes in a frame that just crossed the wire.
    pub fn frame(&mut self, frame: &Arc<Frame>) {
        if frame.call.is_some() && frame.call == self.call && self.frames.last().is_none_or(|last| last.seq < frame.seq) {
            self.frames.push(frame.clone());
            if self.tab == Tab::Frames && self.frames.len() == 1 {
                self.view_frame();
            }
        }
    }

    /// Lets go of frames that the state has let go of, so that a flood of messages in one call is bounded here, too. The last
    /// `FORGOTTEN` of them stay: most calls have fewer messages.
    pub fn forget(&mut self, read_model: &ConsoleState) {
        let first = read_model.frames.front().map_or(0, |frame| frame.seq);
        let gone = self.frames.partition_point(|frame| frame.seq < first).saturating_sub(FORGOTTEN);
        if gone > 0 {
            self.frames.drain(..gone);
            self.frame.cursor = self.frame.cursor.saturating_sub(gone);
        }
    }

    /// Brings the view up to date with the call.
    pub fn sync(&mut self, read_model: &ConsoleState) {
        let call = self.call.and_then(|id| read_model.call(id));
        let settled = call.and_then(|c| c.settled.clone());
        let same = match (&self.seen, &settled) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let dropped = call.is_some_and(|c| c.result_dropped);
        // A result that the pane already holds stays readable when the read model drops it.
        if !(dropped && self.result.is_some()) {
            self.result = settled.as_ref().and_then(|s| s.outcome.result().cloned()).filter(|_| !dropped);
        }
        self.seen = settled;
        (self.presented, self.parts, self.waits) = (None, vec![], Waits::default());
        self.judge(read_model);
        match self.result.clone().map(|result| JobKind::Present(result).ask(&mut self.tasks)) {
            Some(Err(ticket)) => self.waits.presented = Some(ticket),
            Some(Ok(Done::Presented(presented, parts))) => self.take_presented(presented, parts),
            _ => {}
        }
        self.make_view(read_model);
    }

    fn take_presented(&mut self, presented: Presented, parts: Vec<(usize, Range<usize>, Part)>) {
        if !self.chosen {
            self.tab = if presented.text_first { Tab::Text } else { Tab::Tree };
        }
        (self.presented, self.parts) = (Some(presented), parts);
    }

    /// The work that has come up since the last time.
    pub fn take_tasks(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.tasks)
    }

    /// Ends what is shown; the work that is left is to let go of it.
    pub fn give_up(&mut self) -> Vec<Job> {
        discard(self.view.take(), &mut self.tasks);
        self.take_tasks()
    }

    /// Whether it waits for work to be done.
    pub fn waits(&self) -> bool {
        let waits = &self.waits;
        waits.presented.is_some() || waits.view.is_some() || waits.found.is_some() || waits.judged.is_some()
    }

    /// Whether it waits for this work.
    pub fn wants(&self, ticket: &JobHandle) -> bool {
        let waits = &self.waits;
        let found = waits.found.as_ref().map(|(ticket, _)| ticket);
        [waits.presented.as_ref(), waits.view.as_ref(), waits.judged.as_ref(), found].contains(&Some(ticket))
    }

    /// Takes in work that it [waits for](Detail::wants).
    pub fn worked(&mut self, done: Done, read_model: &ConsoleState) {
        match done {
            Done::Presented(presented, parts) => {
                self.waits.presented = None;
                self.take_presented(presented, parts);
                self.make_view(read_model);
            }
            Done::View(view) => self.take_view(view),
            Done::Judged(verdict) => {
                self.waits.judged = None;
                (self.told.verdict, self.told.checking) = (verdict, false);
            }
            Done::Found(found) => {
                let path = self.waits.found.take().map(|(_, path)| path).unwrap_or_default();
                self.told.trouble = self.take_found(path, found).err();
            }
            Done::Copied(..) | Done::Gone => {}
        }
    }

    fn take_view(&mut self, view: Box<JsonView>) {
        self.waits.view = None;
        discard(self.view.replace(*view), &mut self.tasks);
        self.search_again();
    }

    /// Goes to the next view (or the one before).
    pub fn turn(&mut self, back: bool, read_model: &ConsoleState) {
        let at = Tab::ALL.iter().position(|t| *t == self.tab).unwrap_or(0);
        let next = if back { at + Tab::ALL.len() - 1 } else { at + 1 } % Tab::ALL.len();
        self.set_tab(Tab::ALL[next % Tab::ALL.len()], read_model);
    }

    /// Shows a view.
    pub fn set_tab(&mut self, tab: Tab, read_model: &ConsoleState) {
        (self.tab, self.chosen, self.inside) = (tab, true, false);
        self.make_view(read_model);
    }

    fn make_view(&mut self, read_model: &ConsoleState) {
        self.scroll = Window::default();
        let job = match self.tab {
            Tab::Frames => return self.view_frame(),
            Tab::Arguments => self.call.and_then(|id| read_model.call(id)).map(|call| JobKind::Json(sent_body(&call.spec.operation))),
            Tab::Tree => self.tree().map(JobKind::Json),
            Tab::Text => self.result.clone().map(JobKind::Text),
            Tab::Raw => self.result.clone().map(JobKind::Raw),
            Tab::Attempts => None,
        };
        self.show_made(job);
    }

    fn view_frame(&mut self) {
        let job = self.frames.get(self.frame.cursor).map(|frame| JobKind::Frame(frame.body.clone()));
        self.show_made(job);
    }

    /// Shows what a job makes, as soon as it is made.
    fn show_made(&mut self, job: Option<JobKind>) {
        self.waits.view = None;
        discard(self.view.take(), &mut self.tasks);
        match job.map(|job| job.ask(&mut self.tasks)) {
            Some(Ok(Done::View(view))) => self.take_view(view),
            Some(Err(ticket)) => self.waits.view = Some(ticket),
            _ => {}
        }
    }

    /// Steps out of a frame's bytes, a filter or a search; whether there was something to step out of.
    pub fn back(&mut self) -> bool {
        std::mem::take(&mut self.inside) || self.end_query()
    }

    /// Whether there is a frame under the cursor that can be opened.
    pub fn can_open(&self) -> bool {
        self.tab == Tab::Frames && !self.inside && self.view.is_some()
    }

    /// Opens the frame under the cursor for reading, or folds what is under the cursor of the view.
    pub fn open(&mut self) {
        if self.can_open() {
            self.inside = true;
        } else {
            self.turn_view(Action::Open);
        }
    }

    /// Moves in what is shown.
    pub fn act(&mut self, action: Action, read_model: &ConsoleState, page: usize) {
        let to = match action {
            Action::Up => Move::Back(1),
            Action::Down => Move::On(1),
            Action::PageUp => Move::Back(page.max(1)),
            Action::PageDown => Move::On(page.max(1)),
            Action::Top => Move::First,
            Action::Bottom => Move::Last,
            Action::Left | Action::Right | Action::Fold | Action::FoldLevel | Action::UnfoldLevel => return self.turn_view(action),
            _ => return,
        };
        if self.tab == Tab::Frames && !self.inside {
            self.frame.go(to, self.frames.len());
            return self.view_frame();
        }
        if self.view.is_none() {
            let rows = if self.tab == Tab::Attempts { self.story } else { self.failure_rows(read_model, 60).unwrap_or(0) };
            return self.scroll.scroll(to, rows, page.max(1));
        }
        self.turn_view(action);
    }

    fn turn_view(&mut self, action: Action) {
        if let Some(view) = &mut self.view {
            view.act(action);
        }
    }

    /// Whether a tree is shown, which can be folded.
    pub fn can_fold(&self) -> bool {
        self.view.as_ref().is_some_and(JsonView::is_tree)
    }

    fn failure_rows(&self, read_model: &ConsoleState, width: u16) -> Option<usize> {
        let Outcome::Failed { failure } = &read_model.call(self.call?)?.settled.as_ref()?.outcome else { return None };
        Some(failure.report().iter().map(|(_, text)| crate::tui::widget::paint::wrap(text, width).len().max(1)).sum())
    }

    /// What copying takes: the frame, the arguments, the result, or the failure's report.
    pub fn copy(&self, read_model: &ConsoleState) -> Option<Material> {
        let call = read_model.call(self.call?)?;
        let whole = |body: Body| Some(Material { pieces: vec![body], decode: false });
        match (self.tab, &self.view) {
            (Tab::Frames, _) if !self.inside => self.frames.get(self.frame.cursor).and_then(|f| whole(f.body.clone())),
            (_, Some(view)) => Some(Material { pieces: vec![view.copy_value()], decode: view.is_tree() }),
            _ => None,
        }
        .or_else(|| match &call.settled.as_ref()?.outcome {
            Outcome::Failed { failure } => whole(failure.report().iter().map(|(l, t)| format!("{l}: {t}\n")).collect::<String>().into()),
            _ => whole(self.result.clone()?),
        })
    }

    /// Draws the call in `area`; `name` is the word of the pane.
    pub fn draw(&mut self, name: &str, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let call = self.call.and_then(|id| look.read_model.call(id));
        let title_style = if look.focused { theme.focus } else { theme.text };
        let mut title: Vec<(String, Style)> = vec![(name.to_owned(), title_style)];
        if let Some(call) = call {
            title.extend(self.query_line(look));
            title.extend(outcome_line(call, look));
        }
        let tabs = self.tabs(look);
        let tabs: Vec<(&str, Style)> = tabs.iter().map(|(t, s)| (*t, *s)).collect();
        let title: Vec<(&str, Style)> = title.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        let inner = pane(buf, area, &title, &[], look.focused, theme);
        if call.is_some() {
            // In the lower border, where they stay when the title grows.
            lower(buf, area, &tabs, if look.focused { theme.focus } else { theme.border });
        }
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        match call {
            None if self.call.is_some() => note(look, inner, buf, "This call is too long ago: its row was dropped to save memory."),
            None => {
                let key = look.keys.key(&[Context::Call], Action::Send).unwrap_or_default();
                note(look, inner, buf, &format!("No call yet. {key} in the form above fires one; its result stands here."));
            }
            Some(call) => self.draw_call(call, look, inner, buf),
        }
    }

    fn tabs(&self, look: DrawContext) -> Vec<(&'static str, Style)> {
        let mut pieces = Vec::new();
        for (index, tab) in Tab::ALL.into_iter().enumerate() {
            if index > 0 {
                pieces.push((" │ ", look.theme.border));
            }
            let style = if tab == self.tab { look.theme.focus } else { look.theme.muted };
            if tab == self.tab && look.theme.mono {
                pieces.extend([("[", style), (tab.word(), style), ("]", style)]);
            } else {
                pieces.push((tab.word(), style));
            }
        }
        pieces
    }

    fn draw_call(&mut self, call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
        match (self.tab, &mut self.view) {
            (Tab::Frames, _) => return self.draw_frames(call, look, area, buf),
            (Tab::Attempts, _) => {
                let sheet = attempts::sheet(call, look, area.width);
                // Kept, so that scrolling knows how far it can go.
                self.story = sheet.len();
                return sheet.draw(buf, area, self.scroll);
            }
            (Tab::Arguments, Some(view)) => return view.draw(area, buf, look.theme, look.focused),
            _ => {}
        }
        match &call.settled {
            None => draw_running(call, look, area, buf),
            Some(settled) => match (&settled.outcome, &mut self.view) {
                (Outcome::Ok { .. } | Outcome::ToolError { .. }, None) if self.waits.presented.is_some() || self.waits.view.is_some() => {
                    let bytes = self.result.as_ref().map_or(0, Body::len) as u64;
                    note(look, area, buf, &format!("{} Taking {} apart …", look.spinner(), size(bytes)));
                }
                (_, Some(view)) => {
                    let told = draw_told(&self.told, look, area, buf);
                    let rest = Rect { y: area.y + told, height: area.height - told, ..area };
                    view.draw(rest, buf, look.theme, look.focused);
                }
                (Outcome::Failed { failure }, _) => {
                    let mut sheet = Sheet::new(look.theme, area.width);
                    sheet.report(&failure.report());
                    let key = look.keys.key(&[Context::Global], Action::SendAgain).unwrap_or_default();
                    sheet.gap().field("next", &format!("{key} fires it again"), look.theme.key);
                    sheet.draw(buf, area, self.scroll);
                }
                (Outcome::Cancelled { reason }, _) => note(look, area, buf, &format!("Cancelled: {reason}")),
                _ => note(look, area, buf, "The result was let go to save memory; the call can be fired again."),
            },
        }
    }

    fn draw_frames(&mut self, call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        if self.frames.is_empty() {
            return note(
                look,
                area,
                buf,
                "No frames of this call are kept: none crossed the wire yet, or they were dropped to save memory.",
            );
        }
        let list_height = (self.frames.len() as u16).min((area.height / 3).max(1)).min(area.height);
        let mut window = self.frame;
        window.fit(self.frames.len(), usize::from(list_height));
        for (y, index) in window.rows(self.frames.len(), usize::from(list_height)).enumerate() {
            let frame = &self.frames[index];
            let row = Rect { y: area.y + y as u16, height: 1, ..area };
            frame_row(frame, call, look, row, buf);
            if index == self.frame.cursor {
                buf.set_style(row.intersection(buf.area), if self.inside { theme.selection_idle } else { look.selection() });
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
            view.draw(rest, buf, theme, look.focused && self.inside);
        }
    }
}

/// What is wrong with the payload, and what is being done with it, above it; gives how many rows that took.
fn draw_told(told: &Told, look: DrawContext, area: Rect, buf: &mut Buffer) -> u16 {
    let (theme, most) = (look.theme, usize::from(area.height / 3).min(4));
    let mut rows: Vec<(String, Style)> = told.trouble.iter().map(|why| (format!("✕ {why}"), theme.fail)).collect();
    match &told.verdict {
        _ if told.checking => rows.push((format!("{} checking against the tool's output schema …", look.spinner()), theme.running)),
        Ok(violations) if !violations.is_empty() => {
            rows.push(("✕ does not fit the tool's output schema:".into(), theme.fail));
            rows.extend(violations.iter().map(|v| (format!("  {v}"), theme.fail)));
        }
        Ok(_) => {}
        Err(why) => rows.push((format!("⚠ against the tool's output schema {why}"), theme.warn)),
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

fn note(look: DrawContext, area: Rect, buf: &mut Buffer, text: &str) {
    let mut sheet = Sheet::new(look.theme, area.width);
    sheet.text(text, look.theme.muted);
    sheet.draw(buf, area, Window::default());
}

/// ` ── ok · 3.1 ms · queued 0.0 · wire 2.9 · 212 B`.
fn outcome_line(call: &CallView, look: DrawContext) -> Vec<(String, Style)> {
    let theme = look.theme;
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
            pieces.push((format!("{} {}", look.spinner(), pending_words(call)), theme.running));
            pieces.push((format!(" · {}", short(look.now.since(call.queued))), theme.muted));
        }
    }
    pieces
}

fn draw_running(call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let mut sheet = Sheet::new(theme, area.width);
    let elapsed = short(look.now.since(call.queued));
    sheet.row(vec![
        (format!("{} ", look.spinner()), theme.running),
        (format!("{} for {elapsed}", if call.sent.is_some() { "running" } else { "queued" }), theme.text),
    ]);
    if let Some(progress) = &call.progress {
        if let Some(total) = progress.total.filter(|t| *t > 0.0) {
            sheet.row(progress_bar(progress.progress / total, area.width.min(50), look));
        } else {
            sheet.row(vec![(format!("{} done so far", progress.progress), theme.muted)]);
        }
        if let Some(message) = &progress.message {
            sheet.text(message, theme.text);
        }
    }
    let logs = look.read_model.server(call.spec.operation.server()).map(|s| &s.logs);
    let mine: Vec<_> = logs.into_iter().flatten().filter(|(_, log)| log.call == Some(call.id)).collect();
    if !mine.is_empty() {
        sheet.gap();
        for (at, log) in mine.iter().rev().take(20).rev() {
            sheet.field(&look.read_model.epoch.time_of_day(*at)[..8], &format!("{} {}", log.level, log.text), theme.muted);
        }
    }
    // The key that means it even where letters are typed.
    let key = look.keys.key(&[Context::Text, Context::Global], Action::Cancel).unwrap_or_default();
    sheet.gap().row(vec![(key, theme.key), (" cancels it; you can go on with anything else meanwhile".into(), theme.muted)]);
    sheet.draw(buf, area, Window::default());
}

fn progress_bar(share: f64, width: u16, look: DrawContext) -> Vec<(String, Style)> {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let cells = usize::from(width.saturating_sub(8)).max(1);
    let full = (share * cells as f64).round() as usize;
    vec![
        ("▕".into(), look.theme.muted),
        ("█".repeat(full), look.theme.running),
        ("░".repeat(cells - full), look.theme.muted),
        ("▏".into(), look.theme.muted),
        (format!("{:>3.0} %", share * 100.0), look.theme.text),
    ]
}

fn frame_row(frame: &Frame, call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
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

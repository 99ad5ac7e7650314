//! The detail of one call: outcome, result as tree, text or raw bytes, arguments, frames and attempts.
//!
//! The result pane shows the last call of the selected tool. The detail pane shows any call of the traffic list.

mod draw;
mod preview;
mod query;

use std::{collections::HashMap, ops::Range, sync::Arc};

use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        directory::Directory,
        event::Settled,
        frame::Frame,
        id::CallId,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind, Material, discard},
        hits::Hit,
        result_view::{Part, Presented},
        widget::{
            content::Content,
            grid::Grid,
            json::JsonView,
            window::{Direction, Move, Window},
        },
    },
};

use self::preview::Preview;

/// The most frames of the shown call that stay after the read model has dropped them.
const DROPPED_FRAMES_KEPT: usize = 64;

/// The tabs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The result as a foldable JSON tree.
    Tree,
    /// The result's text, Markdown rendered.
    Text,
    /// An array of objects as a table.
    Table,
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
    const ALL: [Tab; 7] = [Tab::Tree, Tab::Text, Tab::Table, Tab::Raw, Tab::Arguments, Tab::Frames, Tab::Attempts];

    fn word(self) -> &'static str {
        match self {
            Tab::Tree => "tree",
            Tab::Text => "text",
            Tab::Table => "table",
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
    view: Option<Content>,
    /// Whether Markdown is shown as written.
    source: bool,
    /// The tab that the user chose last for each target, by the name of its calls.
    chosen_tabs: HashMap<String, Tab>,
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
    /// The preview of an image of the result.
    preview: Preview,
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
            source: false,
            chosen_tabs: HashMap::new(),
            frames: vec![],
            frame: Window::default(),
            inside: false,
            scroll: Window::default(),
            trace_rows: 0,
            needle: String::new(),
            filter: None,
            notes: ResultNotes { schema_check: Ok(vec![]), checking: false, trouble: None },
            parts: vec![],
            preview: Preview::default(),
            tasks: vec![],
            pending: PendingJobs::default(),
        }
    }
}

impl Detail {
    /// Creates an empty detail that knows the tabs that were chosen in another one.
    pub fn like(other: &Detail) -> Detail {
        Detail { chosen_tabs: other.chosen_tabs.clone(), ..Detail::default() }
    }

    /// Takes over the tabs that were chosen in another detail.
    pub fn adopt_tabs(&mut self, other: &Detail) {
        self.chosen_tabs.extend(other.chosen_tabs.iter().map(|(name, tab)| (name.clone(), *tab)));
    }

    /// Returns the call that is shown.
    pub fn call(&self) -> Option<CallId> {
        self.call
    }

    /// Shows another call or none.
    pub fn show(&mut self, call: Option<CallId>, read_model: &ConsoleState) {
        if self.call == call {
            return;
        }
        let chosen_tabs = std::mem::take(&mut self.chosen_tabs);
        let name = call.and_then(|id| read_model.call(id)).map(|call| read_model.call_name(&call.spec.operation));
        let keep_tab = matches!(self.tab, Tab::Frames | Tab::Attempts).then_some(self.tab);
        let chosen = keep_tab.or_else(|| chosen_tabs.get(name.as_deref()?).copied());
        let tab = chosen.unwrap_or(Tab::Tree);
        let mut tasks = self.close();
        tasks.retain(|task| matches!(task.job, JobKind::Discard(_)));
        *self = Detail { call, tab, chosen: chosen.is_some(), chosen_tabs, tasks, ..Detail::default() };
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
        self.preview = Preview::default();
        self.check_schema(read_model);
        match self.result.clone().map(|result| JobKind::Present(result).ask(&mut self.tasks)) {
            Some(Err(handle)) => self.pending.presented = Some(handle),
            Some(Ok(Done::Presented(presented, parts))) => self.take_presented(presented, parts),
            _ => {}
        }
        self.start_view(read_model);
    }

    fn take_presented(&mut self, presented: Presented, parts: Vec<(usize, Range<usize>, Part)>) {
        if !self.chosen || self.tab == Tab::Table && !presented.tabular {
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
        self.drop_view();
        self.take_tasks()
    }

    /// Returns whether a background job is pending.
    pub fn waits(&self) -> bool {
        let pending = &self.pending;
        pending.presented.is_some()
            || pending.view.is_some()
            || pending.found.is_some()
            || pending.schema_check.is_some()
            || self.preview.waits()
    }

    /// Returns whether this job is pending.
    pub fn waits_for(&self, handle: &JobHandle) -> bool {
        let pending = &self.pending;
        let found = pending.found.as_ref().map(|(handle, _)| handle);
        [pending.presented.as_ref(), pending.view.as_ref(), pending.schema_check.as_ref(), found].contains(&Some(handle))
            || self.preview.waits_for(handle)
    }

    /// Takes the result of a job that [is pending](Detail::waits_for).
    pub fn job_done(&mut self, done: Done, read_model: &ConsoleState) {
        match done {
            Done::Presented(presented, parts) => {
                self.pending.presented = None;
                self.take_presented(presented, parts);
                self.start_view(read_model);
            }
            Done::View(view) => self.take_view(Content::Json(view)),
            Done::Rich(source, text) => self.take_view(Content::Rich { source, text: *text }),
            Done::Grid(grid) => self.take_grid(grid),
            Done::Judged(schema_check) => {
                self.pending.schema_check = None;
                (self.notes.schema_check, self.notes.checking) = (schema_check, false);
            }
            Done::Found(found) => {
                let path = self.pending.found.take().map(|(_, path)| path).unwrap_or_default();
                self.notes.trouble = self.take_found(path, found).err();
            }
            Done::Picture(picture) => self.preview.take_picture(picture),
            Done::Encoded(encoded) => self.preview.take_encoded(encoded),
            Done::Copied(..) | Done::Gone => {}
        }
    }

    /// Adds the job that encodes an image for the area of the last frame, if that changed. Called after a frame.
    pub fn fit_image(&mut self) {
        self.preview.fit(&mut self.tasks);
    }

    /// Returns what the terminal has to get before an image is drawn, once.
    pub fn take_transmission(&mut self) -> Option<Arc<str>> {
        self.preview.take_transmission()
    }

    /// Returns whether an image was decoded, which the terminal may be able to draw.
    pub fn has_picture(&self) -> bool {
        self.preview.has_picture()
    }

    /// Shows the image at the cursor, or the first one, below the text.
    fn choose_image(&mut self) {
        if self.tab == Tab::Text {
            let line = self.view.as_ref().and_then(|view| view.json()).map(JsonView::line);
            self.preview.choose(&self.parts, line, &mut self.tasks);
        }
    }

    fn take_view(&mut self, view: Content) {
        self.pending.view = None;
        self.drop_view();
        self.view = Some(view);
        self.choose_image();
        self.restart_search();
    }

    /// Shows a grid, or the tree of a document that has no rows.
    fn take_grid(&mut self, grid: Option<Box<Grid>>) {
        match grid {
            Some(grid) => self.take_view(Content::Grid(grid)),
            None => {
                self.tab = Tab::Tree;
                let tree = self.tree().map(JobKind::Json);
                self.start_view_job(tree);
            }
        }
    }

    fn drop_view(&mut self) {
        if let Some(Content::Json(view)) = self.view.take() {
            discard(Some(*view), &mut self.tasks);
        }
    }

    /// Goes to the next or the previous tab.
    pub fn turn_tab(&mut self, direction: Direction, read_model: &ConsoleState) {
        let tabs = self.shown_tabs();
        let at = tabs.iter().position(|t| *t == self.tab).unwrap_or(0);
        self.set_tab(tabs[direction.cycle(at, tabs.len())], read_model);
    }

    /// Returns the tabs of this call: the table only where there is one.
    fn shown_tabs(&self) -> Vec<Tab> {
        let tabular = self.presented.as_ref().is_some_and(|presented| presented.tabular);
        Tab::ALL.into_iter().filter(|tab| *tab != Tab::Table || tabular).collect()
    }

    /// Returns whether the text is Markdown, rendered or as written.
    pub fn is_markdown(&self) -> bool {
        self.tab == Tab::Text && self.presented.as_ref().is_some_and(|presented| presented.markdown)
    }

    /// Returns whether Markdown is shown as written.
    pub fn shows_source(&self) -> bool {
        self.source
    }

    /// Renders Markdown, or shows it as written.
    pub fn toggle_source(&mut self, read_model: &ConsoleState) {
        self.source = !self.source;
        self.start_view(read_model);
    }

    /// Returns whether a table is shown.
    pub fn shows_table(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.grid().is_some())
    }

    /// Shows a tab.
    pub fn set_tab(&mut self, tab: Tab, read_model: &ConsoleState) {
        (self.tab, self.chosen, self.inside) = (tab, true, false);
        if let Some(call) = self.call.and_then(|id| read_model.call(id)) {
            self.chosen_tabs.insert(read_model.call_name(&call.spec.operation), tab);
        }
        self.start_view(read_model);
    }

    fn start_view(&mut self, read_model: &ConsoleState) {
        self.scroll = Window::default();
        let job = match self.tab {
            Tab::Frames => return self.view_frame(),
            Tab::Arguments => self.call.and_then(|id| read_model.call(id)).map(|call| JobKind::Json(sent_body(&call.spec.operation))),
            Tab::Tree => self.tree().map(JobKind::Json),
            Tab::Text if self.is_markdown() && !self.source => self.result.clone().map(JobKind::Markdown),
            Tab::Text => self.result.clone().map(JobKind::Text),
            Tab::Table => self.tree().map(JobKind::Grid),
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
        self.drop_view();
        match job.map(|job| job.ask(&mut self.tasks)) {
            Some(Ok(Done::View(view))) => self.take_view(Content::Json(view)),
            Some(Ok(Done::Rich(source, text))) => self.take_view(Content::Rich { source, text: *text }),
            Some(Ok(Done::Grid(grid))) => self.take_grid(grid),
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

    /// Returns the JSON document in the string under the cursor, with the path of the string.
    pub fn nested(&self) -> Option<(String, Body)> {
        let view = self.view.as_ref()?.json().filter(|_| self.tab != Tab::Frames || self.inside)?;
        Some((view.cursor_path(), view.nested()?))
    }

    /// Returns the rows of the table as CSV.
    pub fn csv(&self) -> Option<String> {
        self.view.as_ref()?.grid().map(Grid::csv)
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
        if matches!(
            action,
            Action::Left | Action::Right | Action::Fold | Action::FoldLevel | Action::UnfoldLevel | Action::Sort | Action::ReverseSort
        ) {
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
        self.choose_image();
    }

    /// Returns whether a foldable tree is shown.
    pub fn can_fold(&self) -> bool {
        self.view.as_ref().is_some_and(Content::is_tree)
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

    /// Handles a click. Returns whether the clicked row was under the cursor already, or its fold sign was clicked: then the
    /// row opens.
    pub fn click(&mut self, hit: &Hit, read_model: &ConsoleState) -> bool {
        match hit {
            Hit::Tab(tab) => {
                if let Some(tab) = self.shown_tabs().get(*tab).filter(|tab| **tab != self.tab) {
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
            Hit::Row(_) | Hit::FoldSign(_) | Hit::GridColumn(_) => {
                let entered = self.tab == Tab::Frames && !std::mem::replace(&mut self.inside, self.tab == Tab::Frames);
                let same = self.view.as_mut().is_some_and(|view| view.click(hit));
                self.choose_image();
                same && !entered || matches!(hit, Hit::FoldSign(_))
            }
            _ => false,
        }
    }
}

fn sent_body(operation: &Operation) -> Body {
    match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => arguments.clone(),
        Operation::Resource { uri, .. } => Body::json(&serde_json::json!({ "uri": uri })),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => params.clone(),
    }
}

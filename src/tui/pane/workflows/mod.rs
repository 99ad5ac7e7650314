//! The workflows view: the list of workflows with their latest runs, the graph, the input and the steps of a run.
//!
//! `list` is the left column, `chart` the graph, `input` the form, `steps` the waterfall, `step` the arguments and the
//! result of a step. All panes show the workflow or run under the list's cursor and share the selected step.

pub mod chart;
pub mod input;
mod list;
pub mod state;
pub mod step;
pub mod steps;

use std::{path::PathBuf, sync::Arc};

use ratatui::layout::Rect;

use crate::{
    domain::{
        journal::RunHeader,
        run::{RunId, StepState},
        workflow::library::{WorkflowEntry, WorkflowLibrary},
    },
    state::ConsoleState,
    state::runs::RunView,
    tui::{
        view::Part,
        widget::window::{Move, Window},
    },
};

use self::{chart::Chart, input::InputPane, step::StepPane, steps::Steps};

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListRow {
    /// A workflow by name. The other panes show its latest run.
    Flow(Arc<str>),
    /// An earlier run of the workflow in the row above.
    Run(RunId),
}

/// The most earlier runs below the selected workflow.
const EARLIER: usize = 8;

/// Which panes the selected workflow needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PaneSet {
    /// Graph and input form: it has not run.
    #[default]
    Form,
    /// Graph, waterfall and step: it has a run.
    Run,
    /// The problems of its file.
    Problems,
}

/// The state of the view.
#[derive(Default)]
pub struct WorkflowsPane {
    /// The workflow files.
    pub list: Vec<WorkflowEntry>,
    /// The folder of new workflow files.
    pub folder: Option<String>,
    /// The folder of new workflow files of the user, in a project too.
    pub user_folder: Option<String>,
    /// Files that could not be read.
    pub troubles: Vec<String>,
    /// Runs of earlier sessions, newest first.
    pub past: Vec<RunHeader>,
    rows: Vec<ListRow>,
    cursor: Option<ListRow>,
    window: Window,
    pane_set: PaneSet,
    /// The path of the selected step; `None` selects the whole run.
    step: Option<Arc<str>>,
    /// The run that was started last. The selection follows its active step until the user selects another.
    follows: Option<RunId>,
    /// The graph.
    pub chart: Chart,
    /// The form.
    pub input: InputPane,
    /// The waterfall.
    pub steps: Steps,
    /// The selected step.
    pub detail: StepPane,
}

impl WorkflowsPane {
    /// Sets the workflow files.
    pub fn set(&mut self, library: &WorkflowLibrary) {
        self.list = library.entries();
        let shown = |folder: &Option<PathBuf>| folder.as_ref().map(|folder| folder.display().to_string());
        (self.folder, self.user_folder) = (shown(&library.folder), shown(&library.user_folder));
        self.troubles.clone_from(&library.problems);
    }

    /// Returns the name of the workflow under the cursor.
    pub fn name(&self, read_model: &ConsoleState) -> Option<Arc<str>> {
        match self.cursor.as_ref()? {
            ListRow::Flow(name) => Some(name.clone()),
            ListRow::Run(run) => read_model.runs.get(*run).map(|run| run.plan.name.clone()),
        }
    }

    /// Puts the cursor on a workflow.
    pub fn go_to(&mut self, name: &str) {
        self.cursor = self.list.iter().find(|flow| *flow.name == *name).map(|flow| ListRow::Flow(flow.name.clone()));
    }

    /// Returns the workflow under the cursor, if it has a file.
    pub fn flow(&self, read_model: &ConsoleState) -> Option<&WorkflowEntry> {
        let name = self.name(read_model)?;
        self.list.iter().find(|flow| flow.name == name)
    }

    /// Returns the run that is shown: the one under the cursor, or the workflow's latest.
    pub fn run<'w>(&self, read_model: &'w ConsoleState) -> Option<&'w Arc<RunView>> {
        match self.cursor.as_ref()? {
            ListRow::Flow(name) => read_model.runs.last_of(name),
            ListRow::Run(run) => read_model.runs.get(*run),
        }
    }

    /// Returns a workflow's latest run of an earlier session, if it has not run in this one.
    pub fn past(&self, name: &str, read_model: &ConsoleState) -> Option<&RunHeader> {
        self.past.iter().find(|run| run.workflow == name).filter(|_| read_model.runs.last_of(name).is_none())
    }

    /// Returns the interrupted run of the workflow under the cursor, which can be resumed.
    pub fn interrupted(&self, read_model: &ConsoleState) -> Option<RunId> {
        self.past(&self.name(read_model)?, read_model).filter(|run| run.outcome.is_none()).map(|run| run.run)
    }

    /// Returns whether the cursor is on an earlier run.
    pub fn on_earlier(&self) -> bool {
        matches!(self.cursor, Some(ListRow::Run(_)))
    }

    /// Returns whether the file of the workflow under the cursor has errors, unless an earlier run is selected.
    pub fn broken(&self, read_model: &ConsoleState) -> bool {
        !self.on_earlier() && self.flow(read_model).is_some_and(|flow| flow.plan.is_err())
    }

    /// Returns the parts of the view in Tab order.
    pub fn parts(&self, part: Part) -> &'static [Part] {
        match (self.pane_set, part) {
            (PaneSet::Problems, _) => &[Part::Main, Part::Graph],
            (PaneSet::Form, _) | (PaneSet::Run, Part::Input) => &[Part::Main, Part::Graph, Part::Input],
            (PaneSet::Run, _) => &[Part::Main, Part::Graph, Part::Steps, Part::Step],
        }
    }

    /// Returns the areas of the parts.
    pub fn places(&self, part: Part, body: Rect) -> Vec<(Part, Rect)> {
        if body.width < 90 || body.height < 18 {
            return vec![(part, body)];
        }
        let left = (body.width * 28 / 100).clamp(28, 46);
        let list = Rect { width: left, ..body };
        let right = Rect { x: body.x + left, width: body.width - left, ..body };
        if self.pane_set == PaneSet::Problems {
            return vec![(Part::Main, list), (Part::Graph, right)];
        }
        let form = self.pane_set == PaneSet::Form || part == Part::Input;
        let below = if form { self.input.rows_wanted().clamp(7, right.height / 2) } else { (right.height * 9 / 20).clamp(9, 24) };
        let graph = Rect { height: right.height - below, ..right };
        let low = Rect { y: graph.bottom(), height: below, ..right };
        let mut places = vec![(Part::Main, list), (Part::Graph, graph)];
        if form {
            places.push((Part::Input, low));
        } else if low.width < 76 {
            places.push((if part == Part::Step { Part::Step } else { Part::Steps }, low));
        } else {
            let half = low.width * 9 / 20;
            places.push((Part::Steps, Rect { width: half, ..low }));
            places.push((Part::Step, Rect { x: low.x + half, width: low.width - half, ..low }));
        }
        places
    }

    /// Returns the path of the selected step.
    pub fn selected(&self) -> Option<&Arc<str>> {
        self.step.as_ref()
    }

    /// Selects a step or the whole run, and stops following the active step.
    pub fn select(&mut self, step: Option<Arc<str>>) {
        self.step = step;
        self.follows = None;
    }

    /// Shows a new run and follows it.
    pub fn begin(&mut self, run: RunId, name: &str) {
        self.cursor = Some(ListRow::Flow(name.into()));
        (self.step, self.follows) = (None, Some(run));
    }

    /// Goes to a workflow.
    pub fn reveal(&mut self, name: &str) {
        self.move_to(ListRow::Flow(name.into()));
    }

    fn move_to(&mut self, row: ListRow) {
        if self.cursor.as_ref() != Some(&row) {
            self.cursor = Some(row);
            (self.step, self.follows) = (None, None);
        }
    }

    /// Moves the cursor of the list.
    pub fn go(&mut self, to: Move) {
        self.window.go(to, self.rows.len());
        if let Some(row) = self.rows.get(self.window.cursor) {
            self.move_to(row.clone());
        }
    }

    /// Puts the cursor on a row of the list. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        let Some(row) = self.rows.get(row).cloned() else { return false };
        let same = self.cursor.as_ref() == Some(&row);
        self.move_to(row);
        same
    }

    /// Updates the list, the selection and the panes.
    pub fn fit(&mut self, read_model: &ConsoleState, list: Option<Rect>, graph: Option<Rect>) {
        self.rebuild_rows(read_model);
        self.follow(read_model);
        let height = list.map_or(0, |place| usize::from(place.height.saturating_sub(2)));
        let at = self.rows.iter().position(|row| Some(row) == self.cursor.as_ref());
        self.window.cursor = at.unwrap_or(self.window.cursor.min(self.rows.len().saturating_sub(1)));
        if at.is_none() {
            self.cursor = self.rows.get(self.window.cursor).cloned();
            self.step = None;
        }
        self.window.fit(self.rows.len(), height);
        let plan = self.flow(read_model).and_then(|flow| flow.plan.as_ref().ok()).cloned();
        let run = self.run(read_model).cloned();
        self.pane_set = match (self.broken(read_model), &run) {
            (true, _) => PaneSet::Problems,
            (false, Some(_)) => PaneSet::Run,
            (false, None) => PaneSet::Form,
        };
        let room = graph.map_or(80, |place| place.width.saturating_sub(2));
        self.chart.show(plan.as_ref().filter(|_| !self.on_earlier()), run.as_ref(), room);
        let name = self.name(read_model);
        self.input.show(name.as_ref().filter(|_| plan.is_some()), plan.as_ref());
        self.steps.show(run.as_ref(), self.step.as_ref());
        self.detail.show(run.as_ref(), self.step.as_ref());
    }

    /// Rebuilds the rows: every workflow, and below the selected one its earlier runs.
    fn rebuild_rows(&mut self, read_model: &ConsoleState) {
        let selected = self.name(read_model);
        let mut names: Vec<Arc<str>> = self.list.iter().map(|flow| flow.name.clone()).collect();
        for run in read_model.runs.iter() {
            if !names.contains(&run.plan.name) {
                names.push(run.plan.name.clone());
            }
        }
        self.rows.clear();
        for name in names {
            self.rows.push(ListRow::Flow(name.clone()));
            if selected.as_ref() == Some(&name) {
                let earlier = read_model.runs.iter().rev().filter(|run| run.plan.name == name).skip(1).take(EARLIER);
                self.rows.extend(earlier.map(|run| ListRow::Run(run.id)));
            }
        }
    }

    /// Selects the active step of the followed run; after its end the failed step, or else the whole run.
    fn follow(&mut self, read_model: &ConsoleState) {
        let Some(run) = self.follows.and_then(|id| read_model.runs.get(id)) else { return };
        let mut steps = run.plan.steps.iter().zip(&run.steps);
        if run.report.is_some() {
            let failed = steps.find(|(_, view)| matches!(view.state, StepState::Failed { .. } | StepState::CompensationFailed { .. }));
            self.step = failed.map(|(step, _)| step.id.clone());
            self.follows = None;
        } else if let Some((step, _)) = steps.filter(|(_, view)| view.state.active()).max_by_key(|(_, view)| view.started) {
            self.step = Some(step.id.clone());
        }
    }
}

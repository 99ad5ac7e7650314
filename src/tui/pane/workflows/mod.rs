//! The workflows view: which there are and how they went, the graph, the input, the steps of a run.
//!
//! `list` is the left column, `chart` the graph, `input` the form, `steps` the waterfall, `step` what one step was
//! given and gave. All show the workflow, or the run, under the list's cursor, and share which step is selected.

pub mod chart;
pub mod input;
mod list;
pub mod state;
pub mod step;
pub mod steps;

use std::sync::Arc;

use ratatui::layout::Rect;

use crate::{
    domain::{
        journal::RunHeader,
        read_model::ConsoleState,
        read_model_runs::RunView,
        run::{RunId, StepState},
    },
    tui::{
        flows::{Flow, WorkflowLibrary, flows},
        tabs::Part,
        widget::window::{Move, Window},
    },
};

use self::{chart::Chart, input::InputPane, step::StepPane, steps::Steps};

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A workflow, by its name; of its runs the last is shown.
    Flow(Arc<str>),
    /// An earlier run of the workflow above.
    Run(RunId),
}

/// Earlier runs that are listed under the workflow of the cursor.
const EARLIER: usize = 8;

/// What there is to be shown of the workflow under the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    /// A graph, and a form.
    #[default]
    New,
    /// A run.
    Ran,
    /// What is wrong with its file.
    Broken,
}

/// Everything that the view keeps.
#[derive(Default)]
pub struct Flows {
    /// The workflow files.
    pub list: Vec<Flow>,
    /// Where new ones are put.
    pub folder: Option<String>,
    /// Files that could not be read.
    pub troubles: Vec<String>,
    /// Runs of earlier sessions, newest first.
    pub past: Vec<RunHeader>,
    rows: Vec<Row>,
    cursor: Option<Row>,
    window: Window,
    shape: Shape,
    /// The path of the selected step; `None` selects the run as a whole.
    step: Option<Arc<str>>,
    /// The run that was started here last: its workings are followed until the user looks elsewhere.
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

impl Flows {
    /// Takes over the files as they are now.
    pub fn set(&mut self, library: &WorkflowLibrary) {
        self.list = flows(library);
        self.folder.clone_from(&library.folder);
        self.troubles.clone_from(&library.problems);
    }

    /// The name of the workflow under the cursor.
    pub fn name(&self, read_model: &ConsoleState) -> Option<Arc<str>> {
        match self.cursor.as_ref()? {
            Row::Flow(name) => Some(name.clone()),
            Row::Run(run) => read_model.runs.get(*run).map(|run| run.plan.name.clone()),
        }
    }

    /// The workflow under the cursor, if there is a file of it.
    pub fn flow(&self, read_model: &ConsoleState) -> Option<&Flow> {
        let name = self.name(read_model)?;
        self.list.iter().find(|flow| flow.name == name)
    }

    /// The run that is shown: the one under the cursor, or the workflow's last.
    pub fn run<'w>(&self, read_model: &'w ConsoleState) -> Option<&'w Arc<RunView>> {
        match self.cursor.as_ref()? {
            Row::Flow(name) => read_model.runs.last_of(name),
            Row::Run(run) => read_model.runs.get(*run),
        }
    }

    /// The last run of a workflow in an earlier session, when there is none of it in this one.
    pub fn past(&self, name: &str, read_model: &ConsoleState) -> Option<&RunHeader> {
        self.past.iter().find(|run| run.workflow == name).filter(|_| read_model.runs.last_of(name).is_none())
    }

    /// The run of the workflow under the cursor that was interrupted and can go on.
    pub fn interrupted(&self, read_model: &ConsoleState) -> Option<RunId> {
        self.past(&self.name(read_model)?, read_model).filter(|run| run.outcome.is_none()).map(|run| run.run)
    }

    /// Whether the cursor is on an earlier run.
    pub fn on_earlier(&self) -> bool {
        matches!(self.cursor, Some(Row::Run(_)))
    }

    /// Whether the workflow under the cursor is broken and there is no run of it to be shown.
    pub fn broken(&self, read_model: &ConsoleState) -> bool {
        !self.on_earlier() && self.flow(read_model).is_some_and(|flow| flow.plan.is_err())
    }

    /// The parts of the view, in the order of Tab.
    pub fn order(&self, part: Part) -> &'static [Part] {
        match (self.shape, part) {
            (Shape::Broken, _) => &[Part::Main, Part::Graph],
            (Shape::New, _) | (Shape::Ran, Part::Input) => &[Part::Main, Part::Graph, Part::Input],
            (Shape::Ran, _) => &[Part::Main, Part::Graph, Part::Steps, Part::Step],
        }
    }

    /// Where the parts stand.
    pub fn places(&self, part: Part, body: Rect) -> Vec<(Part, Rect)> {
        if body.width < 90 || body.height < 18 {
            return vec![(part, body)];
        }
        let left = (body.width * 28 / 100).clamp(28, 46);
        let list = Rect { width: left, ..body };
        let right = Rect { x: body.x + left, width: body.width - left, ..body };
        if self.shape == Shape::Broken {
            return vec![(Part::Main, list), (Part::Graph, right)];
        }
        let form = self.shape == Shape::New || part == Part::Input;
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

    /// The path of the selected step.
    pub fn selected(&self) -> Option<&Arc<str>> {
        self.step.as_ref()
    }

    /// Selects a step, or the run as a whole; from now on it stays selected.
    pub fn select(&mut self, step: Option<Arc<str>>) {
        self.step = step;
        self.follows = None;
    }

    /// Shows a run that begins, and follows it.
    pub fn begin(&mut self, run: RunId, name: &str) {
        self.cursor = Some(Row::Flow(name.into()));
        (self.step, self.follows) = (None, Some(run));
    }

    /// Goes to a workflow.
    pub fn reveal(&mut self, name: &str) {
        self.put(Row::Flow(name.into()));
    }

    fn put(&mut self, row: Row) {
        if self.cursor.as_ref() != Some(&row) {
            self.cursor = Some(row);
            (self.step, self.follows) = (None, None);
        }
    }

    /// Moves the cursor of the list.
    pub fn go(&mut self, to: Move) {
        self.window.go(to, self.rows.len());
        if let Some(row) = self.rows.get(self.window.cursor) {
            self.put(row.clone());
        }
    }

    /// Puts the cursor on the row at this line of the screen; whether it was there already.
    pub fn click(&mut self, area: Rect, y: u16) -> Option<bool> {
        let inside = usize::from(y.checked_sub(area.y + 1)?);
        let row = self.rows.get(self.window.top + inside)?.clone();
        let again = self.cursor.as_ref() == Some(&row);
        self.put(row);
        Some(again)
    }

    /// Brings the list, the selection and the panes in order.
    pub fn fit(&mut self, read_model: &ConsoleState, list: Option<Rect>, graph: Option<Rect>) {
        self.fill(read_model);
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
        self.shape = match (self.broken(read_model), &run) {
            (true, _) => Shape::Broken,
            (false, Some(_)) => Shape::Ran,
            (false, None) => Shape::New,
        };
        let room = graph.map_or(80, |place| place.width.saturating_sub(2));
        self.chart.show(plan.as_ref().filter(|_| !self.on_earlier()), run.as_ref(), room);
        let name = self.name(read_model);
        self.input.show(name.as_ref().filter(|_| plan.is_some()), plan.as_ref());
        self.steps.show(run.as_ref(), self.step.as_ref());
        self.detail.show(run.as_ref(), self.step.as_ref());
    }

    /// The rows: every workflow, and under the one of the cursor its earlier runs.
    fn fill(&mut self, read_model: &ConsoleState) {
        let here = self.name(read_model);
        let mut names: Vec<Arc<str>> = self.list.iter().map(|flow| flow.name.clone()).collect();
        for run in read_model.runs.iter() {
            if !names.contains(&run.plan.name) {
                names.push(run.plan.name.clone());
            }
        }
        self.rows.clear();
        for name in names {
            self.rows.push(Row::Flow(name.clone()));
            if here.as_ref() == Some(&name) {
                let earlier = read_model.runs.iter().rev().filter(|run| run.plan.name == name).skip(1).take(EARLIER);
                self.rows.extend(earlier.map(|run| Row::Run(run.id)));
            }
        }
    }

    /// While a run is followed, what it does last is selected; in the end what failed, or all of it.
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

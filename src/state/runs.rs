//! The workflow runs of the read model. Bounded.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::domain::{
    body::Body,
    call::Origin,
    event::EventKind,
    run::{PlanSummary, RunId, RunReport, StepView},
    time::Stamp,
};

/// Number of retained runs.
const KEPT: usize = 50;

/// Number of retained nested steps per run.
const KEPT_INNER: usize = 2_000;

/// The last runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    /// Oldest first. Shared, so that a snapshot copies no run.
    kept: VecDeque<Arc<RunView>>,
    /// Number of active runs.
    pub running: usize,
}

/// The current state of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// The structure of its plan.
    pub plan: Arc<PlanSummary>,
    /// Its input, a JSON object.
    pub input: Body,
    /// The origin of the request.
    pub origin: Origin,
    /// Start time.
    pub started: Stamp,
    /// Its steps, in plan order.
    pub steps: Vec<Arc<StepView>>,
    /// Nested steps by path, in order of their start.
    pub inner: Vec<(Arc<str>, Arc<StepView>)>,
    /// The report, once it has ended.
    pub report: Option<Arc<RunReport>>,
    /// The places of `steps` by id. Not serialised: [`Runs::restore`].
    #[serde(skip)]
    positions: Arc<HashMap<Arc<str>, usize>>,
}

impl Runs {
    /// Returns all retained runs, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<RunView>> + ExactSizeIterator {
        self.kept.iter()
    }

    /// Returns the run with this id, if it is still retained.
    pub fn get(&self, id: RunId) -> Option<&Arc<RunView>> {
        self.kept.iter().rev().find(|run| run.id == id)
    }

    /// Returns the last run of a workflow.
    pub fn last_of(&self, workflow: &str) -> Option<&Arc<RunView>> {
        self.kept.iter().rev().find(|run| &*run.plan.name == workflow)
    }

    /// Applies an event of a run.
    pub fn apply(&mut self, at: Stamp, event: &EventKind) {
        match event {
            EventKind::RunStarted { run, plan, input, origin } => {
                self.kept.retain(|old| old.id != *run);
                self.kept.push_back(Arc::new(RunView::new(*run, plan, input, *origin, at)));
                self.drop_oldest();
            }
            EventKind::RunStep { run, step, view } => {
                if let Some(found) = self.get_mut(*run) {
                    found.take(step, view);
                }
            }
            EventKind::RunSettled { run, report } => {
                if let Some(found) = self.get_mut(*run) {
                    for (step, view) in &report.steps {
                        found.take(step, view);
                    }
                    found.report = Some(report.clone());
                }
            }
            _ => return,
        }
        self.running = self.kept.iter().filter(|run| run.report.is_none()).count();
    }

    /// Computes what is not serialised.
    pub(super) fn restore(&mut self) {
        for run in &mut self.kept {
            let run = Arc::make_mut(run);
            run.positions = positions(&run.plan);
        }
    }

    /// Returns the retained runs, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut RunView> {
        self.kept.iter_mut().map(Arc::make_mut)
    }

    fn get_mut(&mut self, id: RunId) -> Option<&mut RunView> {
        self.kept.iter_mut().rev().find(|run| run.id == id).map(Arc::make_mut)
    }

    /// Drops the oldest ended runs; active ones only if there are very many.
    fn drop_oldest(&mut self) {
        while self.kept.len() > KEPT {
            let ended = self.kept.iter().position(|run| run.report.is_some()).unwrap_or(0);
            self.kept.remove(ended);
        }
    }
}

fn positions(plan: &PlanSummary) -> Arc<HashMap<Arc<str>, usize>> {
    Arc::new(plan.steps.iter().enumerate().map(|(at, step)| (step.id.clone(), at)).collect())
}

impl RunView {
    fn new(id: RunId, plan: &Arc<PlanSummary>, input: &Body, origin: Origin, started: Stamp) -> RunView {
        RunView {
            id,
            steps: vec![Arc::default(); plan.steps.len()],
            plan: plan.clone(),
            input: input.clone(),
            origin,
            started,
            inner: vec![],
            report: None,
            positions: positions(plan),
        }
    }

    /// Returns the step at this path.
    pub fn step(&self, path: &str) -> Option<&Arc<StepView>> {
        match self.positions.get(path) {
            Some(at) => self.steps.get(*at),
            None => self.inner.iter().find(|(inner, _)| &**inner == path).map(|(_, view)| view),
        }
    }

    fn take(&mut self, path: &Arc<str>, view: &Arc<StepView>) {
        if let Some(slot) = self.positions.get(path).and_then(|at| self.steps.get_mut(*at)) {
            *slot = view.clone();
        } else if let Some((_, slot)) = self.inner.iter_mut().rev().find(|(inner, _)| inner == path) {
            *slot = view.clone();
        } else if self.inner.len() < KEPT_INNER {
            self.inner.push((path.clone(), view.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{RunOutcome, StepState, StepSummary};

    fn started(n: u64) -> EventKind {
        let step = |id: &str| StepSummary { id: id.into(), what: "t".into(), for_each: false, compensates: false };
        let plan = PlanSummary { name: "w".into(), steps: vec![step("a"), step("b")], edges: vec![(0, 1)] };
        EventKind::RunStarted { run: RunId::new(n, 0), plan: Arc::new(plan), input: Body::from("{}"), origin: Origin::Cli }
    }

    fn view(state: StepState) -> Arc<StepView> {
        Arc::new(StepView { state, ..StepView::default() })
    }

    fn report() -> Arc<RunReport> {
        Arc::new(RunReport {
            outcome: RunOutcome::Ok,
            why: None,
            detail: vec![],
            steps: vec![("a".into(), view(StepState::Ok)), ("b".into(), view(StepState::Ok))],
            output: None,
            compensated: vec![],
            not_compensated: vec![],
            questions: vec![],
            started: Stamp(0),
            ended: Stamp(1),
        })
    }

    #[test]
    fn a_run_is_followed_and_snapshots_do_not_change() {
        let mut runs = Runs::default();
        let run = RunId::new(1, 0);
        runs.apply(Stamp(0), &started(1));
        let before = runs.clone();
        runs.apply(Stamp(1), &EventKind::RunStep { run, step: "b".into(), view: view(StepState::Running) });
        runs.apply(Stamp(2), &EventKind::RunStep { run, step: "b/inner".into(), view: view(StepState::Ok) });
        assert_eq!(runs.get(run).unwrap().step("b").unwrap().state, StepState::Running);
        assert_eq!(runs.get(run).unwrap().step("b/inner").unwrap().state, StepState::Ok);
        assert_eq!(before.get(run).unwrap().step("b").unwrap().state, StepState::Pending);
        assert_eq!(runs.running, 1);
        runs.apply(Stamp(3), &EventKind::RunSettled { run, report: report() });
        assert_eq!((runs.running, runs.last_of("w").unwrap().step("b").unwrap().state.word()), (0, "ok"));
    }

    #[test]
    fn the_oldest_ended_run_goes_first() {
        let mut runs = Runs::default();
        for n in 0..KEPT as u64 {
            runs.apply(Stamp(n), &started(n));
        }
        runs.apply(Stamp(99), &EventKind::RunSettled { run: RunId::new(7, 0), report: report() });
        runs.apply(Stamp(100), &started(1000));
        assert_eq!(runs.iter().len(), KEPT);
        assert!(runs.get(RunId::new(7, 0)).is_none() && runs.get(RunId::new(0, 0)).is_some());
    }
}

//! The schedule of a run: a pure state machine that decides which step is next.
//!
//! The runner calls [`Schedule::next_task`], carries out the task and reports its end. The schedule decides which
//! steps become ready, which are skipped, when the run is finished and what is compensated. It does not know about
//! calls, expressions or time, so that thousands of generated plans can be tested.
//!
//! The rules:
//! - a step is decided once, when everything that it needs has ended;
//! - a step that needs a skipped step is skipped, unless it says otherwise or is its `else`;
//! - a step that failed with `continue` counts as ended: the steps that need it are decided;
//! - after a failure with `fail` or `compensate`, nothing new starts, and running steps may end;
//! - completed steps with a compensating call are compensated one at a time, in reverse order of completion.

use std::collections::{BTreeSet, VecDeque};

use super::plan::{IfSkipped, OnError, Phase, Plan};

/// A step as the schedule sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Whether it belongs to this schedule; the schedule ignores other steps.
    pub present: bool,
    /// Indices of the steps that it needs; no cycles.
    pub needs: Vec<usize>,
    /// Effect of its failure on the run.
    pub on_error: OnError,
    /// A step that it needs and whose skipping does not skip it.
    pub else_of: Option<usize>,
    /// Whether it is skipped when a step that it needs was skipped.
    pub if_skipped: IfSkipped,
    /// Whether something of it can be compensated.
    pub undoable: bool,
    /// Whether it has items: those of a `for_each`, or the rounds of a `repeat`.
    pub each: bool,
    /// Maximum number of concurrent items.
    pub max_parallel: usize,
    /// Whether the other items continue, and the step succeeds, when one fails.
    pub items_go_on: bool,
}

/// The next task of the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Decide on a step: respond with [`Schedule::begin`] or [`Schedule::skip`].
    Decide(usize),
    /// The step was skipped because `because` was. Informational.
    Skipped {
        /// The step.
        step: usize,
        /// The skipped step that it needs.
        because: usize,
    },
    /// Start a step or item: respond with [`Schedule::settle`].
    Start(usize, Option<u32>),
    /// Compensate a step or item: respond with [`Schedule::compensation_ended`].
    Undo(usize, Option<u32>),
}

/// The end of a step or item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Succeeded.
    Ok,
    /// Failed, after all attempts.
    Failed,
    /// Cancelled.
    Cancelled,
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Waiting for the steps that it needs.
    Pending,
    /// Being decided.
    Deciding,
    /// Started.
    Begun,
    /// Ended.
    Ended(End),
    /// Skipped.
    Skipped,
}

/// Why nothing new starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// A step failed.
    Failed,
    /// The run was cancelled.
    Cancelled,
}

#[derive(Clone, Debug, Default)]
struct Items {
    /// `None` for a step without items.
    total: Option<u32>,
    next: u32,
    running: usize,
    done: u32,
    failed: u32,
    cancelled: u32,
    /// No further items start.
    stopped: bool,
    /// Items that ended before the run was resumed.
    before: BTreeSet<u32>,
}

impl Items {
    fn all(&self) -> u32 {
        self.total.unwrap_or(1)
    }
}

/// The schedule of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    nodes: Vec<Node>,
    needed_by: Vec<Vec<usize>>,
    max_parallel: usize,
    undo_when_cancelled: bool,
    at: Vec<At>,
    open: Vec<usize>,
    items: Vec<Items>,
    ready: BTreeSet<usize>,
    started: VecDeque<usize>,
    skipped: VecDeque<Task>,
    running: usize,
    ended: usize,
    done: Vec<(usize, Option<u32>)>,
    halt: Option<Halt>,
    undo: bool,
    undoing: Option<(usize, Option<u32>)>,
}

impl Schedule {
    /// Creates the schedule of one phase of a plan. Cancelling it compensates if the plan's `on_error` is `compensate`. `within_compensation`: a
    /// failure of the plan makes the enclosing run compensate, so `fail` means `compensate` here too. In a later phase every
    /// step runs, whether others failed or not, and nothing is compensated.
    pub fn of(plan: &Plan, phase: Phase, within_compensation: bool, max_parallel: usize) -> Schedule {
        let main = phase == Phase::Main;
        let in_phase = |step: &usize| plan.steps.get(*step).is_some_and(|step| step.phase == phase);
        let nodes = plan.steps.iter().map(|step| Node {
            present: step.phase == phase,
            needs: step.needs.iter().copied().filter(in_phase).collect(),
            on_error: if main { step.on_error.inherited(within_compensation) } else { OnError::Continue },
            else_of: step.else_of,
            if_skipped: step.if_skipped,
            undoable: main && step.is_undoable(),
            each: step.has_items(),
            // Set when the step begins.
            max_parallel: 1,
            items_go_on: step.for_each.as_ref().is_some_and(|each| each.on_error == OnError::Continue),
        });
        Schedule::new(nodes.collect(), max_parallel, main && plan.on_error.inherited(within_compensation) == OnError::Compensate)
    }

    /// Creates a schedule of `nodes` with at most `max_parallel` of them (items included) running concurrently.
    pub fn new(nodes: Vec<Node>, max_parallel: usize, undo_when_cancelled: bool) -> Schedule {
        let count = nodes.len();
        let mut needed_by = vec![vec![]; count];
        let mut open = vec![0; count];
        for (step, node) in nodes.iter().enumerate().filter(|(_, node)| node.present) {
            let needs: BTreeSet<usize> = node.needs.iter().copied().filter(|need| *need < count).collect();
            open[step] = needs.len();
            needs.into_iter().for_each(|need| needed_by[need].push(step));
        }
        Schedule {
            ready: (0..count).filter(|step| nodes[*step].present && open[*step] == 0).collect(),
            needed_by,
            open,
            max_parallel: max_parallel.max(1),
            undo_when_cancelled,
            at: vec![At::Pending; count],
            items: vec![Items::default(); count],
            started: VecDeque::new(),
            skipped: VecDeque::new(),
            running: 0,
            ended: nodes.iter().filter(|node| !node.present).count(),
            done: vec![],
            halt: None,
            undo: false,
            undoing: None,
            nodes,
        }
    }

    /// Returns the next task; `None` until something ends, or when the run is finished.
    pub fn next_task(&mut self) -> Option<Task> {
        if let Some(task) = self.skipped.pop_front() {
            return Some(task);
        }
        if self.halt.is_some() {
            return self.next_undo();
        }
        if self.running >= self.max_parallel {
            return None;
        }
        // Started steps continue before new ones start, so that fewer steps are half done.
        for _ in 0..self.started.len() {
            let Some(step) = self.started.pop_front() else { break };
            let node = &self.nodes[step];
            let items = &mut self.items[step];
            if items.next >= items.all() || items.stopped {
                continue;
            }
            if items.running >= node.max_parallel.max(1) && items.total.is_some() {
                self.started.push_back(step);
                continue;
            }
            let item = items.total.map(|_| items.next);
            items.next += 1;
            while items.before.contains(&items.next) {
                items.next += 1;
            }
            items.running += 1;
            self.running += 1;
            self.started.push_back(step);
            return Some(Task::Start(step, item));
        }
        let step = self.ready.pop_first()?;
        self.at[step] = At::Deciding;
        Some(Task::Decide(step))
    }

    fn next_undo(&mut self) -> Option<Task> {
        if self.running > 0 || !self.undo || self.undoing.is_some() {
            return None;
        }
        let (step, item) = self.done.pop()?;
        self.undoing = Some((step, item));
        Some(Task::Undo(step, item))
    }

    /// Starts the step that was being decided: once, or for this number of items.
    pub fn begin(&mut self, step: usize, items: Option<u32>) {
        if self.at[step] != At::Deciding {
            return;
        }
        if self.halt.is_some() {
            self.at[step] = At::Pending;
            return;
        }
        self.at[step] = At::Begun;
        let own = &mut self.items[step];
        own.total = items;
        own.before.retain(|item| *item < own.total.unwrap_or(0));
        while own.before.contains(&own.next) {
            own.next += 1;
        }
        self.started.push_back(step);
        self.end_if_complete(step);
    }

    /// Adds a step or item that did not succeed and may have taken effect to what is compensated. Call before its end is
    /// recorded.
    pub fn compensate_in_doubt(&mut self, step: usize, item: Option<u32>) {
        if self.nodes[step].undoable && self.nodes[step].present {
            self.done.push((step, item));
        }
    }

    /// Sets how many items of a step run concurrently.
    pub fn set_parallel(&mut self, step: usize, max_parallel: usize) {
        self.nodes[step].max_parallel = max_parallel;
    }

    /// Adds an item to a started step: the next round of a loop. Call before [`Schedule::settle`] of the last item.
    pub fn add_item(&mut self, step: usize) {
        if self.at[step] != At::Begun {
            return;
        }
        let items = &mut self.items[step];
        items.total = items.total.map(|total| total.saturating_add(1));
        if !self.started.contains(&step) {
            self.started.push_back(step);
        }
    }

    /// Fails a started step although its items succeeded. Call before [`Schedule::settle`] of the last item.
    pub fn fail_items(&mut self, step: usize) {
        let items = &mut self.items[step];
        items.failed += 1;
        items.stopped = true;
    }

    /// Skips the step that was being decided, and the steps that need it.
    pub fn skip(&mut self, step: usize) {
        if self.at[step] != At::Deciding {
            return;
        }
        self.at[step] = At::Skipped;
        self.ended += 1;
        self.release_from(step);
    }

    /// Fails the step that was being decided, because it could not start.
    pub fn refuse(&mut self, step: usize) {
        if self.at[step] == At::Deciding {
            self.end(step, End::Failed);
        }
    }

    /// Records the end of a step or item.
    pub fn settle(&mut self, step: usize, item: Option<u32>, end: End) {
        if self.at[step] != At::Begun || self.items[step].running == 0 {
            return;
        }
        self.running -= 1;
        self.items[step].running -= 1;
        self.count(step, item, end);
        self.end_if_complete(step);
    }

    fn count(&mut self, step: usize, item: Option<u32>, end: End) {
        let items = &mut self.items[step];
        items.done += 1;
        match end {
            End::Ok => {}
            End::Failed => items.failed += 1,
            End::Cancelled => items.cancelled += 1,
        }
        if end == End::Ok && self.nodes[step].undoable {
            self.done.push((step, item));
        }
        if end == End::Cancelled || (end == End::Failed && !self.nodes[step].items_go_on) {
            items.stopped = true;
        }
    }

    fn end_if_complete(&mut self, step: usize) {
        let items = &self.items[step];
        let stopped = items.stopped || self.halt.is_some();
        if items.running > 0 || !(stopped || items.done >= items.all()) {
            return;
        }
        let go_on = items.total.is_some() && self.nodes[step].items_go_on;
        let end = match (items.failed, items.cancelled) {
            (0, 0) if items.done >= items.all() => End::Ok,
            (_, 0) if go_on && items.done >= items.all() => End::Ok,
            (0, _) => End::Cancelled,
            (_, _) if go_on => End::Cancelled,
            _ => End::Failed,
        };
        self.end(step, end);
    }

    fn end(&mut self, step: usize, end: End) {
        self.at[step] = At::Ended(end);
        self.ended += 1;
        let on_error = self.nodes[step].on_error;
        if end != End::Ok && on_error != OnError::Continue {
            // A step that ends only because nothing further of it starts has not failed.
            if self.halt.is_none() || (self.halt == Some(Halt::Failed) && end == End::Failed) {
                self.halt = Some(Halt::Failed);
                self.undo |= on_error == OnError::Compensate;
            }
        }
        self.release_from(step);
    }

    /// Makes steps ready that waited only for `step`, and transitively skips those that cannot run without it.
    fn release_from(&mut self, step: usize) {
        let mut ended = VecDeque::from([step]);
        while let Some(step) = ended.pop_front() {
            for next in self.needed_by[step].clone() {
                self.open[next] = self.open[next].saturating_sub(1);
                if self.at[next] != At::Pending {
                    continue;
                }
                let node = &self.nodes[next];
                if self.at[step] == At::Skipped && node.if_skipped == IfSkipped::Skip && node.else_of != Some(step) {
                    self.at[next] = At::Skipped;
                    self.ended += 1;
                    self.ready.remove(&next);
                    self.skipped.push_back(Task::Skipped { step: next, because: step });
                    ended.push_back(next);
                } else if self.open[next] == 0 {
                    self.ready.insert(next);
                }
            }
        }
    }

    /// Cancels the run: nothing new starts; the caller cancels running steps. During compensation, cancels the
    /// compensation.
    pub fn cancel(&mut self) {
        if self.halt.is_some() && self.undo {
            self.undo = self.running > 0;
            return;
        }
        self.halt = Some(Halt::Cancelled);
        self.undo = self.undo_when_cancelled;
        self.end_begun();
    }

    /// Fails the run like a failed step: nothing new starts; completed steps are compensated if `undo`.
    pub fn fail(&mut self, undo: bool) {
        if self.halt.is_none() {
            self.halt = Some(Halt::Failed);
            self.undo = undo;
            self.end_begun();
        }
    }

    /// Ends started steps without running items.
    fn end_begun(&mut self) {
        for step in 0..self.nodes.len() {
            if self.at[step] == At::Begun {
                self.end_if_complete(step);
            }
        }
    }

    /// Cancels one step. The caller cancels its running items; a step that has not started ends here.
    pub fn cancel_step(&mut self, step: usize) {
        match self.at.get(step) {
            _ if !self.nodes.get(step).is_some_and(|node| node.present) => {}
            Some(At::Pending | At::Deciding) => {
                self.ready.remove(&step);
                self.end(step, End::Cancelled);
            }
            Some(At::Begun) => {
                let items = &mut self.items[step];
                items.stopped = true;
                items.cancelled += u32::from(items.running == 0);
                self.end_if_complete(step);
            }
            _ => {}
        }
    }

    /// Records the end of a compensation, successful or not. The others continue in either case.
    pub fn compensation_ended(&mut self, step: usize, item: Option<u32>) {
        if self.undoing == Some((step, item)) {
            self.undoing = None;
        }
    }

    /// Restores the end of a step from before the run was resumed. Call in the original order, before the first
    /// [`Schedule::next_task`].
    pub fn restore(&mut self, step: usize, ended: At) {
        if !matches!(self.at[step], At::Pending) || !self.nodes[step].present {
            return;
        }
        self.ready.remove(&step);
        match ended {
            At::Ended(end) => {
                // The items of a step with items are restored separately.
                if end == End::Ok && self.nodes[step].undoable && !self.nodes[step].each {
                    self.done.push((step, None));
                }
                self.end(step, end);
            }
            At::Skipped => {
                self.at[step] = At::Deciding;
                self.skip(step);
            }
            At::Pending | At::Deciding | At::Begun => {
                self.ready.insert(step);
            }
        }
    }

    /// Restores the end of an item.
    pub fn restore_item(&mut self, step: usize, item: u32, end: End) {
        if self.at[step] == At::Pending && self.nodes[step].present && self.items[step].before.insert(item) {
            self.count(step, Some(item), end);
        }
    }

    /// Restores that a step or item was compensated, or could not be.
    pub fn restore_compensated(&mut self, step: usize, item: Option<u32>) {
        self.done.retain(|done| *done != (step, item));
    }

    /// Returns whether nothing runs and nothing is left to do.
    pub fn is_finished(&self) -> bool {
        let forward = self.halt.is_some() || self.ended == self.nodes.len();
        let back = !self.undo || self.halt.is_none() || self.done.is_empty();
        self.skipped.is_empty() && forward && self.running == 0 && back && self.undoing.is_none()
    }

    /// Returns the state of a step.
    pub fn at(&self, step: usize) -> At {
        self.at[step]
    }

    /// Returns why nothing new starts, if so.
    pub fn halted(&self) -> Option<Halt> {
        self.halt
    }

    /// Returns whether completed steps are or were being compensated.
    pub fn is_compensating(&self) -> bool {
        self.undo && self.halt.is_some()
    }

    /// Returns what completed, can be compensated and was not, in order of completion.
    pub fn pending_compensations(&self) -> &[(usize, Option<u32>)] {
        &self.done
    }

    /// Returns the number of running steps and items.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns how many items of a step ended, and how many of them failed or were cancelled.
    pub fn items(&self, step: usize) -> (u32, u32) {
        (self.items[step].done, self.items[step].failed + self.items[step].cancelled)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;

//! Which step is next: the order of a run as a pure state machine.
//!
//! The runner asks [`Schedule::next_task`] what to do, does it, and says how it ended; the schedule decides
//! what becomes ready, what is skipped, when the run is over and what has to be undone. It knows
//! nothing of calls, expressions or time, so that thousands of generated plans can be tried on it.
//!
//! The rules:
//! - a step is decided on when everything that it needs has ended, and never more than once;
//! - a step that needs a skipped one is skipped itself, unless it says otherwise;
//! - a step that failed with `continue` counts as ended: those that need it are decided on;
//! - after a failure with `fail` or `compensate` nothing new begins and what runs may end;
//! - what was done and can be undone is undone one by one, in the reverse order of its completion.

use std::collections::{BTreeSet, VecDeque};

use super::plan::{IfSkipped, OnError, Plan};

/// A step as the schedule sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Positions of the steps that it needs; no cycles.
    pub needs: Vec<usize>,
    /// What its failure means.
    pub on_error: OnError,
    /// What becomes of it when a step that it needs was skipped.
    pub if_skipped: IfSkipped,
    /// Whether it can be undone.
    pub undoable: bool,
    /// Whether it runs once for each item.
    pub each: bool,
    /// Most items at once.
    pub max_parallel: usize,
    /// Whether its other items go on, and it ends well, when one fails.
    pub items_go_on: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Decide on a step: answer with [`Schedule::begin`] or [`Schedule::skip`].
    Decide(usize),
    /// The step is skipped because `because` was. For information.
    Skipped {
        /// The step.
        step: usize,
        /// The skipped step that it needs.
        because: usize,
    },
    /// Start a step, or an item of it: answer with [`Schedule::settle`].
    Start(usize, Option<u32>),
    /// Undo a step, or an item of it: answer with [`Schedule::undone`].
    Undo(usize, Option<u32>),
}

/// How a step, or an item of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Done.
    Ok,
    /// Failed for good.
    Failed,
    /// Given up on request.
    Cancelled,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It waits for what it needs.
    Pending,
    /// It is being decided on.
    Deciding,
    /// It has begun.
    Begun,
    /// It ended.
    Ended(End),
    /// It is not done.
    Skipped,
}

/// Why nothing new begins.
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
    /// No further items begin.
    stopped: bool,
    /// Ended in an earlier life of the run.
    before: BTreeSet<u32>,
}

impl Items {
    fn all(&self) -> u32 {
        self.total.unwrap_or(1)
    }
}

/// The order of a run.
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
    startable: VecDeque<usize>,
    told: VecDeque<Task>,
    running: usize,
    ended: usize,
    done: Vec<(usize, Option<u32>)>,
    halt: Option<Halt>,
    undo: bool,
    undoing: Option<(usize, Option<u32>)>,
}

impl Schedule {
    /// The order of a plan. When it is cancelled it undoes what it did if failures of the plan mean that.
    pub fn of(plan: &Plan) -> Schedule {
        let nodes = plan.steps.iter().map(|step| Node {
            needs: step.needs.clone(),
            on_error: step.on_error,
            if_skipped: step.if_skipped,
            undoable: step.compensate.is_some(),
            each: step.for_each.is_some(),
            max_parallel: step.for_each.as_ref().map_or(1, |each| each.max_parallel),
            items_go_on: step.for_each.as_ref().is_some_and(|each| each.on_error == OnError::Continue),
        });
        Schedule::new(nodes.collect(), plan.max_parallel, plan.on_error == OnError::Compensate)
    }

    /// The order of `nodes`, at most `max_parallel` of them (items counted) at once.
    pub fn new(nodes: Vec<Node>, max_parallel: usize, undo_when_cancelled: bool) -> Schedule {
        let count = nodes.len();
        let mut needed_by = vec![vec![]; count];
        let mut open = vec![0; count];
        for (step, node) in nodes.iter().enumerate() {
            let needs: BTreeSet<usize> = node.needs.iter().copied().filter(|need| *need < count).collect();
            open[step] = needs.len();
            needs.into_iter().for_each(|need| needed_by[need].push(step));
        }
        Schedule {
            ready: (0..count).filter(|step| open[*step] == 0).collect(),
            needed_by,
            open,
            max_parallel: max_parallel.max(1),
            undo_when_cancelled,
            at: vec![At::Pending; count],
            items: vec![Items::default(); count],
            startable: VecDeque::new(),
            told: VecDeque::new(),
            running: 0,
            ended: 0,
            done: vec![],
            halt: None,
            undo: false,
            undoing: None,
            nodes,
        }
    }

    /// What to do next; `None` when there is nothing before something ends, or when all is over.
    pub fn next_task(&mut self) -> Option<Task> {
        if let Some(task) = self.told.pop_front() {
            return Some(task);
        }
        if self.halt.is_some() {
            return self.next_undo();
        }
        if self.running >= self.max_parallel {
            return None;
        }
        // What has begun goes on before something new begins, so that fewer steps are half done.
        for _ in 0..self.startable.len() {
            let Some(step) = self.startable.pop_front() else { break };
            let node = &self.nodes[step];
            let items = &mut self.items[step];
            if items.next >= items.all() || items.stopped {
                continue;
            }
            if items.running >= node.max_parallel.max(1) && items.total.is_some() {
                self.startable.push_back(step);
                continue;
            }
            let item = items.total.map(|_| items.next);
            items.next += 1;
            while items.before.contains(&items.next) {
                items.next += 1;
            }
            items.running += 1;
            self.running += 1;
            self.startable.push_back(step);
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

    /// The step that was decided on begins: once, or for so many items.
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
        self.startable.push_back(step);
        self.end_if_complete(step);
    }

    /// The step that was decided on is not done; those that need it are not either.
    pub fn skip(&mut self, step: usize) {
        if self.at[step] != At::Deciding {
            return;
        }
        self.at[step] = At::Skipped;
        self.ended += 1;
        self.release_from(step);
    }

    /// The step that was decided on could not begin.
    pub fn refuse(&mut self, step: usize) {
        if self.at[step] == At::Deciding {
            self.end(step, End::Failed);
        }
    }

    /// A step, or an item of it, ended.
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
            // What ends because nothing further of it begins has not failed by itself.
            if self.halt.is_none() || (self.halt == Some(Halt::Failed) && end == End::Failed) {
                self.halt = Some(Halt::Failed);
                self.undo |= on_error == OnError::Compensate;
            }
        }
        self.release_from(step);
    }

    /// Makes ready what waited for `step` only; skips what cannot be done without it, and so on.
    fn release_from(&mut self, step: usize) {
        let mut ended = VecDeque::from([step]);
        while let Some(step) = ended.pop_front() {
            for next in self.needed_by[step].clone() {
                self.open[next] = self.open[next].saturating_sub(1);
                if self.at[next] != At::Pending {
                    continue;
                }
                if self.at[step] == At::Skipped && self.nodes[next].if_skipped == IfSkipped::Skip {
                    self.at[next] = At::Skipped;
                    self.ended += 1;
                    self.ready.remove(&next);
                    self.told.push_back(Task::Skipped { step: next, because: step });
                    ended.push_back(next);
                } else if self.open[next] == 0 {
                    self.ready.insert(next);
                }
            }
        }
    }

    /// Gives the run up: nothing new begins; whoever runs steps cancels them. While it undoes, that is
    /// given up.
    pub fn cancel(&mut self) {
        if self.halt.is_some() && self.undo {
            self.undo = self.running > 0;
            return;
        }
        self.halt = Some(Halt::Cancelled);
        self.undo = self.undo_when_cancelled;
        self.end_begun();
    }

    /// Fails the run as if a step had: nothing new begins, and what was done is undone if `undo`.
    pub fn fail(&mut self, undo: bool) {
        if self.halt.is_none() {
            self.halt = Some(Halt::Failed);
            self.undo = undo;
            self.end_begun();
        }
    }

    /// Ends the steps that have begun and of which nothing runs.
    fn end_begun(&mut self) {
        for step in 0..self.nodes.len() {
            if self.at[step] == At::Begun {
                self.end_if_complete(step);
            }
        }
    }

    /// Gives one step up. Whoever runs it cancels what runs of it; a step that has not begun ends here.
    pub fn cancel_step(&mut self, step: usize) {
        match self.at.get(step) {
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

    /// Undoing ended, well or not. The others go on either way.
    pub fn undone(&mut self, step: usize, item: Option<u32>) {
        if self.undoing == Some((step, item)) {
            self.undoing = None;
        }
    }

    /// Takes over that a step ended in an earlier life of the run. In the order in which it happened,
    /// before the first [`Schedule::next_task`].
    pub fn restore(&mut self, step: usize, ended: At) {
        if !matches!(self.at[step], At::Pending) {
            return;
        }
        self.ready.remove(&step);
        match ended {
            At::Ended(end) => {
                // The items of a step with items are already there.
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

    /// The same of an item.
    pub fn restore_item(&mut self, step: usize, item: u32, end: End) {
        if self.at[step] == At::Pending && self.items[step].before.insert(item) {
            self.count(step, Some(item), end);
        }
    }

    /// Takes over that something was undone, or could not be.
    pub fn restore_undone(&mut self, step: usize, item: Option<u32>) {
        self.done.retain(|done| *done != (step, item));
    }

    /// Whether nothing runs and nothing is left to do.
    pub fn over(&self) -> bool {
        let forward = self.halt.is_some() || self.ended == self.nodes.len();
        let back = !self.undo || self.halt.is_none() || self.done.is_empty();
        self.told.is_empty() && forward && self.running == 0 && back && self.undoing.is_none()
    }

    /// Where a step stands.
    pub fn at(&self, step: usize) -> At {
        self.at[step]
    }

    /// Why nothing new begins, if so.
    pub fn halted(&self) -> Option<Halt> {
        self.halt
    }

    /// Whether what was done is being undone, or was.
    pub fn undoes(&self) -> bool {
        self.undo && self.halt.is_some()
    }

    /// What was done, can be undone, and was not, in the order of completion.
    pub fn left(&self) -> &[(usize, Option<u32>)] {
        &self.done
    }

    /// Steps and items under way.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many items of a step ended, and how many of them badly.
    pub fn items(&self, step: usize) -> (u32, u32) {
        (self.items[step].done, self.items[step].failed + self.items[step].cancelled)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;

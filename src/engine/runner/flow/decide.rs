//! Decides whether a step runs, and for how many items.

use super::Flow;
use crate::domain::{
    run::{StepError, StepErrorKind, StepState},
    workflow::{
        catalog_lookup::find_tool,
        check::reads_only,
        expression::{Scope, Unevaluated},
        plan::{MAX_PARALLEL_ITEMS, PlanStep},
        schedule::Schedule,
    },
};

/// Maximum number of items of one step.
const MAX_ITEMS: usize = 100_000;

impl Flow<'_> {
    /// Decides whether a step runs, and for how many items.
    pub(super) fn decide(&self, step: usize, schedule: &mut Schedule) {
        let planned = &self.plan.steps[step];
        self.entries.lock()[step].begin(self.run.bus().now());
        let items = match self.is_skipped(step) {
            Ok(false) if planned.repeat.is_some() => return self.decide_rounds(step, schedule),
            Ok(false) => planned.for_each.as_ref().map(|each| each.items.eval(&self.scope)).transpose(),
            Ok(true) => {
                schedule.skip(step);
                return self.finish(step, schedule);
            }
            Err(error) => Err(error),
        };
        let items = items.map_err(|error| self.unevaluated(&error)).and_then(|items| match items {
            None => Ok(None),
            Some(items) => match items.len() {
                None => Err(StepError::new(StepErrorKind::Expression, format!("for_each is {}, not a list", items.kind()))),
                Some(count) if count > MAX_ITEMS => {
                    Err(StepError::new(StepErrorKind::Limit, format!("for_each has {count} items; at most {MAX_ITEMS} are possible")))
                }
                Some(count) => Ok(Some((items, u32::try_from(count).unwrap_or(u32::MAX)))),
            },
        });
        match items {
            Err(error) => {
                self.entries.lock()[step].error = Some(error);
                schedule.refuse(step);
            }
            Ok(items) => {
                if let Some(each) = &planned.for_each {
                    match each.max_parallel.as_ref().map(|count| count.eval(&self.scope)) {
                        Some(Ok(count)) => schedule.set_parallel(step, count),
                        None => schedule.set_parallel(step, self.default_parallel(planned)),
                        Some(Err(why)) => {
                            self.entries.lock()[step].error = Some(StepError::new(StepErrorKind::Expression, why));
                            schedule.refuse(step);
                            return self.finish(step, schedule);
                        }
                    }
                }
                let count = items.as_ref().map(|(_, count)| *count);
                self.entries.lock()[step].fan_out(items);
                schedule.begin(step, count);
                self.update_view(step, None, |view| view.state = StepState::Running);
            }
        }
        self.finish(step, schedule);
    }

    /// Returns how many items of a step run concurrently by default. Many servers lose writes that overlap, so only what reads
    /// runs concurrently.
    fn default_parallel(&self, step: &PlanStep) -> usize {
        let known = self.run.runs.registry.read();
        if reads_only(step, &|tool| find_tool(&*known, tool).is_some_and(|target| target.reads_only)) { MAX_PARALLEL_ITEMS } else { 1 }
    }

    /// Returns whether a step is skipped because of its `when` or `else`, and records the reason.
    fn is_skipped(&self, step: usize) -> Result<bool, Unevaluated> {
        let planned = &self.plan.steps[step];
        let mut entries = self.entries.lock();
        if let Some(of) = planned.else_of.filter(|of| !entries[*of].condition_false) {
            entries[step].skipped = Some(format!("else: `{}` was not skipped by its `when`", self.plan.steps[of].id));
            return Ok(true);
        }
        match &planned.when {
            Some(when) if !when.test(&self.scope)? => {
                entries[step].condition_false = true;
                entries[step].skipped = Some(format!("when: {}", when.source()));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Returns the scope of an item or round.
    pub(super) fn with_item(&self, step: usize, item: u32) -> Scope {
        if self.plan.steps[step].repeat.is_some() {
            return self.with_round(step, item);
        }
        let place = usize::try_from(item).unwrap_or(usize::MAX);
        let known = self.entries.lock()[step].items.clone();
        // The items of a step that ended before the interruption are not restored.
        let items = known.or_else(|| self.plan.steps[step].for_each.as_ref()?.items.eval(&self.scope).ok());
        let value = items.and_then(|items| items.item(place)).unwrap_or_default();
        self.scope.with_item(value, place)
    }
}

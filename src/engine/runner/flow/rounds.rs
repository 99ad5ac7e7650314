//! Rounds: the loop of a step with `repeat`. Each round is an item of the step, in the journal too, and whether another one
//! follows is decided from the results of the rounds before. A resumed run comes to the same decisions.

use super::{Flow, StepError, StepErrorKind};
use crate::domain::{
    plural::counted,
    workflow::{
        expression::{Data, Scope},
        schedule::Schedule,
    },
};

impl Flow<'_> {
    /// Starts a loop: with its first round, or after the rounds of the interrupted run.
    pub(super) fn decide_rounds(&self, step: usize, schedule: &mut Schedule) {
        let (done, failed) = schedule.items(step);
        let next = if failed > 0 { Ok(false) } else { self.next_round(step, done) };
        match next {
            Err(error) => {
                self.entries.lock()[step].error = Some(error);
                schedule.refuse(step);
            }
            Ok(more) => {
                let total = done + u32::from(more);
                self.entries.lock()[step].set_total(total);
                schedule.begin(step, Some(total));
                self.update_view(step, None, |view| view.state = super::StepState::Running);
            }
        }
        self.finish(step, schedule);
    }

    /// Adds the next round to a loop after a round succeeded, unless the loop has ended.
    pub(super) fn continue_rounds(&self, step: usize, round: Option<u32>, schedule: &mut Schedule) {
        let Some(round) = round.filter(|_| self.plan.steps[step].repeat.is_some()) else { return };
        // A run that has failed or was cancelled does not start the added round, so the step does not count as completed.
        match self.next_round(step, round + 1) {
            Ok(false) => {}
            Ok(true) => {
                self.entries.lock()[step].set_total(round + 2);
                schedule.add_item(step);
            }
            Err(error) => {
                self.entries.lock()[step].error = Some(error);
                schedule.fail_items(step);
            }
        }
    }

    /// Returns whether a round follows the first `done` ones.
    fn next_round(&self, step: usize, done: u32) -> Result<bool, StepError> {
        let Some(repeat) = &self.plan.steps[step].repeat else { return Ok(false) };
        let unevaluated = |error| self.unevaluated(&error);
        if let (Some(until), Some(last)) = (&repeat.until, done.checked_sub(1)) {
            let response = self.entries.lock()[step].response(Some(last));
            let (result, text) = response.as_ref().map(|response| (response.result.clone(), response.text())).unwrap_or_default();
            if until.test(&self.with_round(step, last).with_result(result, text)).map_err(unevaluated)? {
                return Ok(false);
            }
        }
        if let Some(condition) = &repeat.r#while
            && !condition.test(&self.with_round(step, done)).map_err(unevaluated)?
        {
            return Ok(false);
        }
        if done >= repeat.limit {
            let why = format!("not done after {}, the limit of its `repeat`", counted(repeat.limit, "round"));
            return Err(StepError::new(StepErrorKind::Limit, why));
        }
        Ok(true)
    }

    /// Returns the scope of a round.
    pub(super) fn with_round(&self, step: usize, round: u32) -> Scope {
        let previous = round.checked_sub(1).and_then(|before| self.entries.lock()[step].response(Some(before)));
        let previous = previous.map_or_else(Data::null, |response| response.result);
        self.scope.with_round(previous, usize::try_from(round).unwrap_or(usize::MAX))
    }
}

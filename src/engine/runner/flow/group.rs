//! Concurrency groups: at most one run of a group is active, in this process and in others with the same journal.

use std::time::Duration;

use tokio::{sync::OwnedMutexGuard, time::sleep};

use super::{Flow, StepError, StepErrorKind};
use crate::{
    domain::{event::NoticeLevel, time::short, workflow::plan::IfBusy},
    engine::{
        ports::RunLease,
        runner::{Run, step::cancelled},
    },
};

/// Pause between two attempts to lock a group that a run of another process holds.
const POLL: Duration = Duration::from_millis(250);

/// The membership of a flow in its group; left on drop.
pub(super) struct Member<'a> {
    run: &'a Run,
    group: String,
    _lease: Box<dyn RunLease>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.run.groups.lock().retain(|group| *group != self.group);
    }
}

impl Flow<'_> {
    /// Enters the group of the plan, and waits for its turn if the plan says so. A nested workflow of the same group as its
    /// run is already in it.
    pub(super) async fn enter_group(&self) -> Result<Option<Member<'_>>, StepError> {
        let Some(concurrency) = &self.plan.concurrency else { return Ok(None) };
        let group = concurrency.group.eval_text(&self.scope).map_err(|error| self.unevaluated(&error))?;
        if self.run.groups.lock().contains(&group) {
            return Ok(None);
        }
        let journal = |error: String| StepError::new(StepErrorKind::Journal, format!("the group `{group}` cannot be locked: {error}"));
        let busy = || StepError::new(StepErrorKind::Limit, format!("another run of the group `{group}` is active"));
        let turn = self.run.runs.group(&group);
        let mut announced = false;
        let mut announce = || {
            if !std::mem::replace(&mut announced, true) {
                let run = self.run.id.short();
                self.run.bus().notice(NoticeLevel::Warn, format!("run {run} waits: another run of the group `{group}` is active"));
            }
        };
        let turn: OwnedMutexGuard<()> = match turn.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) if concurrency.if_busy == IfBusy::Fail => return Err(busy()),
            Err(_) => {
                announce();
                self.until_ended(turn.lock_owned()).await?
            }
        };
        let lease = loop {
            let lease = self.run.runs.journal.lease_group(&group).await.map_err(|error| journal(error.to_string()))?;
            match lease {
                Some(lease) => break lease,
                None if concurrency.if_busy == IfBusy::Fail => return Err(busy()),
                None => {
                    announce();
                    self.until_ended(sleep(POLL)).await?;
                }
            }
        };
        self.run.groups.lock().push(group.clone());
        Ok(Some(Member { run: self.run, group, _lease: lease, _turn: turn }))
    }

    /// Waits for some work until the flow is cancelled or its deadline passes.
    async fn until_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, StepError> {
        tokio::select! {
            biased;
            () = self.forward.raised() => Err(cancelled(self.forward.why(), false)),
            () = self.deadline_passed() => {
                let limit = self.limit.map(|limit| format!(" ({})", short(limit))).unwrap_or_default();
                Err(StepError::new(StepErrorKind::Timeout, format!("its time was up{limit} while it waited for its group")))
            }
            done = work => Ok(done),
        }
    }
}

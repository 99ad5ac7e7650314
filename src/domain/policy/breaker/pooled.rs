//! Pooled evidence: what several instances of the program saw of one server, each counting its own calls only. It opens and closes
//! a breaker in addition to the calls of this instance.
//!
//! An opening by pooled evidence is not evidence itself: otherwise two instances would hold each other's breakers open.

use serde::{Deserialize, Serialize};

use super::{Breaker, State, Transition, machine::share};
use crate::domain::time::Stamp;

/// The calls of a server in a window, of one instance or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Instances that called the server.
    pub callers: u32,
    /// Instances whose calls failed.
    pub failing: u32,
    /// Their calls.
    pub calls: u32,
    /// The failed ones of these.
    pub failures: u32,
}

impl Evidence {
    /// Adds the evidence of other instances.
    pub fn plus(self, other: Evidence) -> Evidence {
        Evidence {
            callers: self.callers.saturating_add(other.callers),
            failing: self.failing.saturating_add(other.failing),
            calls: self.calls.saturating_add(other.calls),
            failures: self.failures.saturating_add(other.failures),
        }
    }

    /// Returns whether more than one instance saw failures, or the only one that calls the server did: a single instance may
    /// have lost its own network.
    fn is_shared(self) -> bool {
        self.failing >= 2 || (self.callers == 1 && self.failing == 1)
    }
}

/// The calls because of which a breaker opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenedBy {
    /// Those of this instance, or a user.
    #[default]
    Own,
    /// Those of several instances.
    Pooled,
}

impl Breaker {
    /// Returns the evidence of this instance: its own calls in the window.
    pub fn evidence(&self, now: Stamp) -> Evidence {
        let (calls, failures, _) = self.counts(now);
        Evidence { callers: u32::from(calls > 0), failing: u32::from(failures > 0), calls, failures }
    }

    /// Opens a closed breaker if the evidence of all instances, this one included, reaches the failure rate of the policy.
    pub fn pooled(&mut self, evidence: &Evidence, now: Stamp) -> Option<Transition> {
        let policy = &self.policy;
        let closed = policy.enabled && self.state == State::Closed && self.held.is_none();
        let enough = evidence.calls >= policy.minimum_calls.max(1) && evidence.is_shared();
        let failing = policy.failure_rate > 0.0 && share(evidence.failures, evidence.calls) >= policy.failure_rate;
        if !(closed && enough && failing) {
            return None;
        }
        let Evidence { calls, failures, failing, .. } = evidence;
        let opened = self.open(format!("{failures} of {calls} calls of {failing} instances failed"), now);
        self.opened_by = OpenedBy::Pooled;
        Some(opened)
    }

    /// Closes a breaker that pooled evidence opened: the probe of another instance succeeded. A breaker that opened because of its
    /// own calls closes by its own probe only, since this instance may reach the server less well than others.
    pub fn pooled_recovery(&mut self, now: Stamp) -> Option<Transition> {
        let pooled = self.state != State::Closed && self.opened_by == OpenedBy::Pooled && self.held.is_none();
        pooled.then(|| self.close("the probe of another instance succeeded".into(), now))
    }

    /// Returns whose calls opened the breaker; `None` while it is closed.
    pub fn opened_by(&self) -> Option<OpenedBy> {
        (self.state != State::Closed).then_some(self.opened_by)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::policy::{
        breaker::{BreakerOverride, BreakerPolicy},
        verdict::Verdict,
    };

    const NOW: Stamp = Stamp(1_000);

    fn fail(breaker: &mut Breaker, times: u32) {
        for _ in 0..times {
            let admission = breaker.admit(NOW).unwrap();
            breaker.record(admission, Verdict::Failure, Duration::ZERO, "no answer", NOW);
        }
    }

    fn sum(instances: &[&Breaker]) -> Evidence {
        instances.iter().fold(Evidence::default(), |sum, breaker| sum.plus(breaker.evidence(NOW)))
    }

    #[test]
    fn failures_of_several_instances_open_the_breakers_of_all_and_announce_nothing() {
        let policy = BreakerPolicy { consecutive: 5, minimum_calls: 6, ..BreakerPolicy::default() };
        let mut all = [(); 3].map(|()| Breaker::new(policy.clone()));
        fail(&mut all[0], 3);
        let one = sum(&all.each_ref());
        assert_eq!(one, Evidence { callers: 1, failing: 1, calls: 3, failures: 3 });
        assert_eq!(all[1].pooled(&one, NOW), None, "too few calls");
        fail(&mut all[1], 3);
        let evidence = sum(&all.each_ref());
        for breaker in &mut all {
            let opened = breaker.pooled(&evidence, NOW).unwrap();
            assert_eq!(opened.reason, "6 of 6 calls of 2 instances failed");
            assert_eq!(breaker.opened_by(), Some(OpenedBy::Pooled));
            assert_eq!(breaker.pooled(&evidence, NOW), None, "once");
        }
        assert_eq!(all[2].evidence(NOW), Evidence::default(), "an adopted opening is not evidence");
        assert!(all.iter_mut().all(|breaker| breaker.pooled_recovery(NOW).is_some() && breaker.opened_by().is_none()));
    }

    #[test]
    fn one_instance_that_lost_its_network_opens_no_other_breaker() {
        let cut_off = Evidence { callers: 4, failing: 1, calls: 40, failures: 30 };
        assert_eq!(Breaker::new(BreakerPolicy::default()).pooled(&cut_off, NOW), None);
        let two = Evidence { failing: 2, ..cut_off };
        assert!(Breaker::new(BreakerPolicy::default()).pooled(&two, NOW).is_some());
        let only = Evidence { callers: 1, ..cut_off };
        assert!(Breaker::new(BreakerPolicy::default()).pooled(&only, NOW).is_some(), "nobody else calls the server");
    }

    #[test]
    fn own_failures_and_users_are_stronger_than_other_instances() {
        let dead = Evidence { callers: 4, failing: 4, calls: 40, failures: 40 };
        let mut own = Breaker::new(BreakerPolicy::default());
        fail(&mut own, 5);
        assert_eq!((own.opened_by(), own.pooled_recovery(NOW)), (Some(OpenedBy::Own), None));
        let mut held = Breaker::new(BreakerPolicy::default());
        held.apply_override(BreakerOverride::HoldClosed, NOW);
        assert_eq!(held.pooled(&dead, NOW), None);
        let mut off = Breaker::new(BreakerPolicy { enabled: false, ..BreakerPolicy::default() });
        assert_eq!(off.pooled(&dead, NOW), None);
        // A probe of this instance that fails makes the opening its own.
        let mut probed = Breaker::new(BreakerPolicy::default());
        probed.pooled(&dead, NOW).unwrap();
        let later = NOW.plus(Duration::from_secs(31));
        let admission = probed.admit(later).unwrap();
        probed.record(admission, Verdict::Failure, Duration::ZERO, "no answer", later);
        assert_eq!((probed.opened_by(), probed.pooled_recovery(later)), (Some(OpenedBy::Own), None));
    }
}

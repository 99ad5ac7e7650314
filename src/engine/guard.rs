//! What all calls of one server share: its breakers, its places, its budget of extra attempts, its faults made by hand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{bus::Bus, limiter::Limiter};
use crate::domain::{
    call::{Failure, FailureKind},
    event::EventKind,
    id::ServerId,
    policy::{
        Policy,
        breaker::{Admission, Breaker, BreakerOverride, BreakerPolicy, Refusal, State as Breaking},
        budget::Budget,
        fault::Fault,
        route::PeakEwma,
        verdict::Verdict,
    },
    server::ConnectFailure,
    time::{Stamp, short},
};

/// The shared state of one server's calls.
pub struct TargetGuard {
    server: ServerId,
    bus: Arc<Bus>,
    /// Places for all calls of the server.
    pub limiter: Arc<Limiter>,
    state: Mutex<State>,
}

struct State {
    policy: Arc<Policy>,
    breaker: Breaker,
    tools: HashMap<Arc<str>, Breaker>,
    limiters: HashMap<Arc<str>, Arc<Limiter>>,
    budget: Budget,
    latency: PeakEwma,
    faults: BTreeMap<Option<Arc<str>>, Fault>,
}

impl TargetGuard {
    /// The lane of a server that nothing is known of.
    pub fn new(server: ServerId, policy: &Policy, bus: Arc<Bus>) -> Arc<TargetGuard> {
        let state = State {
            policy: Arc::new(policy.clone()),
            breaker: Breaker::new(policy.breaker.clone()),
            tools: HashMap::new(),
            limiters: HashMap::new(),
            budget: Budget::new(&policy.retry),
            latency: PeakEwma::default(),
            faults: BTreeMap::new(),
        };
        Arc::new(TargetGuard {
            server,
            bus,
            limiter: Limiter::new(policy.concurrency.clone(), policy.rate_limit.clone()),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings; what was counted stays.
    pub fn set_policy(&self, policy: &Policy) {
        let mut state = self.lock();
        if *state.policy == *policy {
            return;
        }
        if let Some(changed) = state.breaker.set_policy(policy.breaker.clone(), self.bus.now()) {
            let view = state.breaker.view(changed.at);
            self.publish(None, view);
        }
        state.budget.set(&policy.retry);
        state.policy = Arc::new(policy.clone());
        drop(state);
        self.limiter.set(&policy.concurrency, &policy.rate_limit);
    }

    /// The settings of the server.
    pub fn policy(&self) -> Arc<Policy> {
        self.lock().policy.clone()
    }

    /// The places of one tool, made with `policy` the first time.
    pub fn tool_limiter(&self, tool: &Arc<str>, policy: &Policy) -> Arc<Limiter> {
        let limiter = self
            .lock()
            .limiters
            .entry(tool.clone())
            .or_insert_with(|| Limiter::new(policy.concurrency.clone(), policy.rate_limit.clone()))
            .clone();
        limiter.set(&policy.concurrency, &policy.rate_limit);
        limiter
    }

    /// Gives a tool a breaker of its own with this policy, or that policy to the one that it has.
    pub fn own_breaker(&self, tool: &Arc<str>, policy: &BreakerPolicy) {
        let now = self.bus.now();
        let mut state = self.lock();
        let breaker = state.tools.entry(tool.clone()).or_insert_with(|| Breaker::new(policy.clone()));
        if breaker.policy() != policy && breaker.set_policy(policy.clone(), now).is_some() {
            let view = breaker.view(now);
            self.publish(Some(tool.clone()), view);
        }
    }

    /// Says whether a call would be let through now, without taking a place.
    pub fn refuses(&self, tool: Option<&Arc<str>>) -> Option<Failure> {
        let now = self.bus.now();
        let state = self.lock();
        let closed = |breaker: &Breaker| breaker.peek(now).err();
        if let Some(refusal) = closed(&state.breaker) {
            return Some(refused(&self.server, None, &refusal, now));
        }
        let tool = tool?;
        let refusal = state.tools.get(tool).and_then(closed)?;
        Some(refused(&self.server, Some(tool), &refusal, now))
    }

    /// Asks the breaker of the server, and that of the tool when it has one: by its rule ([`TargetGuard::own_breaker`]), or because
    /// somebody did something to it by hand.
    pub fn admit(self: &Arc<Self>, tool: Option<&Arc<str>>) -> Result<BreakerPermit, Failure> {
        let now = self.bus.now();
        let mut state = self.lock();
        let before = state.breaker.state();
        let admitted = state.breaker.admit(now);
        if state.breaker.state() != before || admitted.is_err() {
            let view = state.breaker.view(now);
            self.publish(None, view);
        }
        let server = admitted.map_err(|refusal| refused(&self.server, None, &refusal, now))?;
        let mut pass = BreakerPermit { guard: self.clone(), probe: server.probe.is_some(), server: Some(server), tool: None };
        if let Some((name, breaker)) = tool.and_then(|name| Some((name, state.tools.get_mut(name)?))) {
            let before = breaker.state();
            let admitted = breaker.admit(now);
            if breaker.state() != before || admitted.is_err() {
                let view = breaker.view(now);
                self.publish(Some(name.clone()), view);
            }
            match admitted {
                Ok(admission) => {
                    pass.probe |= admission.probe.is_some();
                    pass.tool = Some((name.clone(), admission));
                }
                Err(refusal) => {
                    // The pass gives the server's place back, which takes the lock.
                    drop(state);
                    return Err(refused(&self.server, Some(name), &refusal, now));
                }
            }
        }
        drop(state);
        Ok(pass)
    }

    fn publish(&self, tool: Option<Arc<str>>, view: crate::domain::policy::breaker::BreakerView) {
        self.bus.publish(EventKind::Breaker { server: self.server.clone(), tool, view: Arc::new(view) });
    }

    /// Does to a breaker what a person wants.
    pub fn order(&self, tool: Option<Arc<str>>, order: BreakerOverride) {
        let now = self.bus.now();
        let mut state = self.lock();
        let policy = state.policy.breaker.clone();
        let breaker = match &tool {
            None => &mut state.breaker,
            Some(name) => state.tools.entry(name.clone()).or_insert_with(|| Breaker::new(policy)),
        };
        breaker.order(order, now);
        let view = breaker.view(now);
        self.publish(tool, view);
    }

    /// A connection could not be made: counts for the breaker of the server, if such failures do.
    pub fn unreachable(&self, why: &ConnectFailure) {
        let now = self.bus.now();
        let mut state = self.lock();
        if state.policy.breaker.enabled && state.policy.record.connection(why.status) == Verdict::Failure {
            let words = format!("{}: {}", FailureKind::Transport.words(), why.summary);
            state.breaker.unreachable(&words, now);
            let view = state.breaker.view(now);
            self.publish(None, view);
        }
    }

    /// A connection was made.
    pub fn reachable(&self) {
        let now = self.bus.now();
        let mut state = self.lock();
        let before = state.breaker.view(now);
        state.breaker.reachable(now);
        let view = state.breaker.view(now);
        if view != before {
            self.publish(None, view);
        }
    }

    /// A call earns its share of extra attempts.
    pub fn earn(&self) {
        self.lock().budget.earn();
    }

    /// Takes an extra attempt from the budget, if there is one.
    pub fn spend(&self) -> bool {
        self.lock().budget.spend()
    }

    /// Takes in how long an answer took.
    pub fn observe(&self, took: Duration) {
        let now = self.bus.now();
        self.lock().latency.observe(took.as_secs_f64(), now);
    }

    /// The moving average of latency in seconds; `None` before the first answer.
    pub fn latency(&self) -> Option<f64> {
        self.lock().latency.value(self.bus.now())
    }

    /// Makes a fault on purpose from now on, or no longer.
    pub fn inject(&self, tool: Option<Arc<str>>, fault: Option<Fault>) {
        let mut state = self.lock();
        match &fault {
            Some(fault) => state.faults.insert(tool.clone(), fault.clone()),
            None => state.faults.remove(&tool),
        };
        drop(state);
        self.bus.publish(EventKind::FaultSet { server: self.server.clone(), tool, fault });
    }

    /// The fault that meets the calls of a tool: its own before that of the whole server.
    pub fn fault(&self, tool: Option<&Arc<str>>) -> Option<Fault> {
        let state = self.lock();
        if state.faults.is_empty() {
            return None;
        }
        state.faults.get(&tool.cloned()).or_else(|| state.faults.get(&None)).cloned()
    }
}

/// What breakers gave to one attempt; given back on drop, which counts nothing.
pub struct BreakerPermit {
    guard: Arc<TargetGuard>,
    server: Option<Admission>,
    tool: Option<(Arc<str>, Admission)>,
    /// Whether this attempt decides about a breaker in half-open.
    pub probe: bool,
}

impl BreakerPermit {
    /// Counts how the attempt ended.
    pub fn record(mut self, verdict: Verdict, took: Duration, why: &str) {
        let guard = self.guard.clone();
        let now = guard.bus.now();
        let mut state = guard.lock();
        if let Some(admission) = self.server.take() {
            state.breaker.record(admission, verdict, took, why, now);
            if state.breaker.policy().enabled {
                let view = state.breaker.view(now);
                guard.publish(None, view);
            }
        }
        if let Some((name, admission)) = self.tool.take()
            && let Some(breaker) = state.tools.get_mut(&name)
        {
            breaker.record(admission, verdict, took, why, now);
            let view = breaker.view(now);
            guard.publish(Some(name), view);
        }
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        if self.server.is_none() && self.tool.is_none() {
            return;
        }
        let now = self.guard.bus.now();
        let mut state = self.guard.lock();
        if let Some(admission) = self.server.take() {
            state.breaker.release(admission, now);
            if self.probe {
                let view = state.breaker.view(now);
                self.guard.publish(None, view);
            }
        }
        if let Some((name, admission)) = self.tool.take()
            && let Some(breaker) = state.tools.get_mut(&name)
        {
            breaker.release(admission, now);
        }
    }
}

fn refused(server: &ServerId, tool: Option<&Arc<str>>, refusal: &Refusal, now: Stamp) -> Failure {
    let whose = match tool {
        Some(tool) => format!("{tool} of {server}"),
        None => server.to_string(),
    };
    let since = short(now.since(refusal.since));
    let message = match (refusal.state, refusal.next_probe) {
        (Breaking::HalfOpen, _) => {
            format!("the breaker of {whose} has been half-open for {since} ({}), and its probes are under way", refusal.reason)
        }
        (_, Some(at)) => {
            let next = if at > now { format!("may go in {}", short(at.since(now))) } else { "may go now".to_owned() };
            format!("the breaker of {whose} has been open for {since} ({}); the next probe {next}", refusal.reason)
        }
        (_, None) => format!("the breaker of {whose} has been open for {since} ({}), and stays so until it is reset", refusal.reason),
    };
    Failure::new(FailureKind::BreakerOpen, message).hint("nothing was sent; wait for the probe, or reset the breaker by hand")
}

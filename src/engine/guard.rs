//! The guard of a target (a server or one of its tools), shared by all its calls: circuit breakers, limiter, retry budget,
//! latency estimate and injected faults. Owned by the [`ServerHandle`](super::supervisor::ServerHandle).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::{bus::Bus, limiter::Limiter};
use crate::domain::{
    call::{Failure, FailureKind},
    event::EventKind,
    id::ServerId,
    policy::{
        Policy,
        breaker::{Admission, Breaker, BreakerOverride, BreakerPolicy, Refusal, State as BreakerState},
        budget::Budget,
        fault::Fault,
        route::PeakEwma,
        target_state::{MAX_TOOLS, TargetState},
        verdict::Verdict,
    },
    server::ConnectFailure,
    stats::Latencies,
    time::{Stamp, short},
};

/// The state that all calls of one server share.
pub struct TargetGuard {
    server: ServerId,
    bus: Arc<Bus>,
    /// Permits and rate limit for all calls of the server.
    pub limiter: Arc<Limiter>,
    /// Notified when the server's breaker opens.
    pub opened: Notify,
    state: Mutex<State>,
}

struct State {
    policy: Arc<Policy>,
    breaker: Breaker,
    tools: HashMap<Arc<str>, Breaker>,
    limiters: HashMap<Arc<str>, Arc<Limiter>>,
    budget: Budget,
    latency: PeakEwma,
    /// Response times of its tools.
    tool_latencies: HashMap<Arc<str>, Latencies>,
    faults: BTreeMap<Option<Arc<str>>, Fault>,
}

impl TargetGuard {
    /// Creates the guard of a server without any history.
    pub fn new(server: ServerId, policy: &Policy, bus: Arc<Bus>) -> Arc<TargetGuard> {
        let state = State {
            policy: Arc::new(policy.clone()),
            breaker: Breaker::new(policy.breaker.clone()),
            tools: HashMap::new(),
            limiters: HashMap::new(),
            budget: Budget::new(&policy.retry),
            latency: PeakEwma::default(),
            tool_latencies: HashMap::new(),
            faults: BTreeMap::new(),
        };
        Arc::new(TargetGuard {
            server,
            bus,
            limiter: Limiter::new(policy.concurrency.clone(), policy.rate_limit.clone()),
            opened: Notify::new(),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the settings; recorded outcomes are retained.
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
        self.limiter.set_limits(&policy.concurrency, &policy.rate_limit);
    }

    /// Returns the settings of the server.
    pub fn policy(&self) -> Arc<Policy> {
        self.lock().policy.clone()
    }

    /// Returns the limiter of one tool, created with `policy` on first use.
    pub fn tool_limiter(&self, tool: &Arc<str>, policy: &Policy) -> Arc<Limiter> {
        let limiter = self
            .lock()
            .limiters
            .entry(tool.clone())
            .or_insert_with(|| Limiter::new(policy.concurrency.clone(), policy.rate_limit.clone()))
            .clone();
        limiter.set_limits(&policy.concurrency, &policy.rate_limit);
        limiter
    }

    /// Returns how many calls wait for the limits of concurrency of the server and of its tools.
    pub fn queued(&self) -> usize {
        let tools: Vec<Arc<Limiter>> = self.lock().limiters.values().cloned().collect();
        self.limiter.waiting() + tools.iter().map(|limiter| limiter.waiting()).sum::<usize>()
    }

    /// Gives a tool its own breaker with this policy, or applies the policy to the tool's existing breaker.
    pub fn own_breaker(&self, tool: &Arc<str>, policy: &BreakerPolicy) {
        let now = self.bus.now();
        let mut state = self.lock();
        let breaker = state.tools.entry(tool.clone()).or_insert_with(|| Breaker::new(policy.clone()));
        if breaker.policy() != policy && breaker.set_policy(policy.clone(), now).is_some() {
            let view = breaker.view(now);
            self.publish(Some(tool.clone()), view);
        }
    }

    /// Returns whether a user holds the server's breaker, or the tool's, open.
    pub fn held_open(&self, tool: Option<&Arc<str>>) -> bool {
        let now = self.bus.now();
        let state = self.lock();
        let held = |breaker: &Breaker| breaker.view(now).held == Some(BreakerOverride::HoldOpen);
        held(&state.breaker) || tool.and_then(|tool| state.tools.get(tool)).is_some_and(held)
    }

    /// Returns the refusal that a call would get now, without taking a breaker permit.
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

    /// Takes a breaker permit from the server's breaker, and from the tool's if it has one: by its rule
    /// ([`TargetGuard::own_breaker`]) or because of a manual override.
    pub fn admit(self: &Arc<Self>, tool: Option<&Arc<str>>, rule: BreakerRule) -> Result<BreakerPermit, Failure> {
        let now = self.bus.now();
        let admit = |breaker: &mut Breaker| match rule {
            BreakerRule::Enforce => breaker.admit(now),
            BreakerRule::Bypass => breaker.admit_bypassing(now).map_or_else(|| breaker.admit(now), Ok),
        };
        let mut state = self.lock();
        let before = state.breaker.state();
        let admitted = admit(&mut state.breaker);
        if state.breaker.state() != before || admitted.is_err() {
            let view = state.breaker.view(now);
            self.publish(None, view);
        }
        let server = admitted.map_err(|refusal| refused(&self.server, None, &refusal, now))?;
        let mut permit = BreakerPermit { guard: self.clone(), probe: server.probe.is_some(), server: Some(server), tool: None };
        if let Some((name, breaker)) = tool.and_then(|name| Some((name, state.tools.get_mut(name)?))) {
            let before = breaker.state();
            let admitted = admit(breaker);
            if breaker.state() != before || admitted.is_err() {
                let view = breaker.view(now);
                self.publish(Some(name.clone()), view);
            }
            match admitted {
                Ok(admission) => {
                    permit.probe |= admission.probe.is_some();
                    permit.tool = Some((name.clone(), admission));
                }
                Err(refusal) => {
                    // Dropping the server's breaker permit takes the lock.
                    drop(state);
                    return Err(refused(&self.server, Some(name), &refusal, now));
                }
            }
        }
        drop(state);
        Ok(permit)
    }

    /// Returns whether the server's breaker is open.
    pub fn is_open(&self) -> bool {
        self.lock().breaker.state() == BreakerState::Open
    }

    fn publish(&self, tool: Option<Arc<str>>, view: crate::domain::policy::breaker::BreakerView) {
        if tool.is_none() && view.state == BreakerState::Open {
            self.opened.notify_one();
        }
        self.bus.publish(EventKind::Breaker { server: self.server.clone(), tool, view: Arc::new(view) });
    }

    /// Applies a manual override to a breaker.
    pub fn set_override(&self, tool: Option<Arc<str>>, command: BreakerOverride) {
        let now = self.bus.now();
        let mut state = self.lock();
        let policy = state.policy.breaker.clone();
        let breaker = match &tool {
            None => &mut state.breaker,
            Some(name) => state.tools.entry(name.clone()).or_insert_with(|| Breaker::new(policy)),
        };
        breaker.apply_override(command, now);
        let view = breaker.view(now);
        self.publish(tool, view);
    }

    /// Records a failed connection in the server's breaker, if such failures count.
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

    /// Records a successful connection in the server's breaker.
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

    /// Returns the state that a later process restores.
    pub fn snapshot(&self) -> TargetState {
        let now = self.bus.now();
        let state = self.lock();
        let ahead = |limiter: &Arc<Limiter>| Some(limiter.rate_ahead()).filter(|ahead| !ahead.is_zero());
        let breakers = state.tools.iter().filter_map(|(tool, breaker)| Some((tool.to_string(), breaker.snapshot(now)?)));
        let rates = state.limiters.iter().filter_map(|(tool, limiter)| Some((tool.to_string(), ahead(limiter)?)));
        TargetState {
            breaker: state.breaker.snapshot(now),
            tools: breakers.take(MAX_TOOLS).collect(),
            latency: state.latency.value(now),
            rate_ahead: self.limiter.rate_ahead(),
            tool_rates: rates.take(MAX_TOOLS).collect(),
        }
    }

    /// Restores the state that an earlier process left `age` ago. `same_server`: that process used the same instance of the
    /// server.
    pub fn restore(&self, stored: &TargetState, age: Duration, same_server: bool) {
        let now = self.bus.now();
        let mut state = self.lock();
        let policy = state.policy.clone();
        if let Some(breaker) = &stored.breaker {
            state.breaker.restore(breaker, age, same_server, now);
            let view = state.breaker.view(now);
            self.publish(None, view);
        }
        for (tool, stored) in stored.tools.iter().take(MAX_TOOLS) {
            let tool: Arc<str> = tool.as_str().into();
            let breaker = state.tools.entry(tool.clone()).or_insert_with(|| Breaker::new(policy.breaker.clone()));
            breaker.restore(stored, age, same_server, now);
            let view = breaker.view(now);
            self.publish(Some(tool), view);
        }
        if let (None, Some(seconds)) = (state.latency.value(now), stored.latency) {
            state.latency = PeakEwma::restored(seconds, age, now);
        }
        self.limiter.set_rate_ahead(stored.rate_ahead.saturating_sub(age));
        for (tool, ahead) in stored.tool_rates.iter().take(MAX_TOOLS) {
            // The limits of the tool are set when it is called.
            let limiter = state.limiters.entry(tool.as_str().into());
            limiter
                .or_insert_with(|| Limiter::new(policy.concurrency.clone(), policy.rate_limit.clone()))
                .set_rate_ahead(ahead.saturating_sub(age));
        }
    }

    /// Adds the share of a call to the retry budget.
    pub fn earn(&self) {
        self.lock().budget.earn();
    }

    /// Takes an extra attempt from the retry budget. Returns false if the budget is used up.
    pub fn spend(&self) -> bool {
        self.lock().budget.spend(0)
    }

    /// Takes the attempt of a call that failed on another member of its group. All `in_progress` calls can fail at the same
    /// moment, so the budget may be overdrawn by their number; later calls pay it back.
    pub fn spend_failover(&self, in_progress: u32) -> bool {
        self.lock().budget.spend(in_progress)
    }

    /// Records the latency of a response.
    pub fn observe(&self, took: Duration) {
        let now = self.bus.now();
        self.lock().latency.observe(took.as_secs_f64(), now);
    }

    /// Records how long a tool took to respond.
    pub fn observe_tool(&self, tool: &Arc<str>, took: Duration) {
        let mut state = self.lock();
        if let Some(latencies) = state.tool_latencies.get_mut(tool) {
            return latencies.record(took);
        }
        let mut latencies = Latencies::default();
        latencies.record(took);
        state.tool_latencies.insert(tool.clone(), latencies);
    }

    /// Returns the time within which `percent` of the responses of a tool arrived; `None` before there are `samples` of them.
    pub fn percentile(&self, tool: &str, percent: f64, samples: u64) -> Option<Duration> {
        let state = self.lock();
        let latencies = state.tool_latencies.get(tool)?;
        latencies.percentile(percent).filter(|_| latencies.count() >= samples)
    }

    /// Returns the moving average of latency in seconds; `None` before the first response.
    pub fn latency(&self) -> Option<f64> {
        self.lock().latency.value(self.bus.now())
    }

    /// Starts fault injection with `fault`, or stops it (`None`).
    pub fn inject(&self, tool: Option<Arc<str>>, fault: Option<Fault>) {
        let mut state = self.lock();
        match &fault {
            Some(fault) => state.faults.insert(tool.clone(), fault.clone()),
            None => state.faults.remove(&tool),
        };
        drop(state);
        self.bus.publish(EventKind::FaultSet { server: self.server.clone(), tool, fault });
    }

    /// Returns the injected fault for the calls of a tool: the tool's own before the server's.
    pub fn fault(&self, tool: Option<&Arc<str>>) -> Option<Fault> {
        let state = self.lock();
        if state.faults.is_empty() {
            return None;
        }
        state.faults.get(&tool.cloned()).or_else(|| state.faults.get(&None)).cloned()
    }
}

/// Whether an open breaker refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerRule {
    /// It does.
    Enforce,
    /// It does only if a user holds it open: no member of the group would be left.
    Bypass,
}

/// Permission of the breakers for one attempt. Dropping it without [`BreakerPermit::record`] returns it and counts nothing.
pub struct BreakerPermit {
    guard: Arc<TargetGuard>,
    server: Option<Admission>,
    tool: Option<(Arc<str>, Admission)>,
    /// Whether this attempt is a probe of a half-open breaker.
    pub probe: bool,
}

impl BreakerPermit {
    /// Records how the attempt ended.
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
        (BreakerState::HalfOpen, _) => {
            format!("the breaker of {whose} has been half-open for {since} ({}), and its probes are in flight", refusal.reason)
        }
        (_, Some(at)) => {
            let next = if at > now { format!("may go in {}", short(at.since(now))) } else { "may go now".to_owned() };
            format!("the breaker of {whose} has been open for {since} ({}); the next probe {next}", refusal.reason)
        }
        (_, None) => format!("the breaker of {whose} has been open for {since} ({}) and stays open until it is reset", refusal.reason),
    };
    Failure::new(FailureKind::BreakerOpen, message).hint("nothing was sent: wait for the probe or reset the breaker")
}

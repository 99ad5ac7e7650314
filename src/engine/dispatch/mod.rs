//! Dispatch: runs one call from queueing to its result.
//!
//! queued → routed → response cache or single flight → attempts { breaker permit → limiter permit and rate → connection →
//! argument check → rounds { sent → answered } → outcome recorded → backoff } → fallbacks → settled, all under one deadline and
//! one cancellation. Every call publishes exactly one `CallSettled`.

mod attempt;
mod attempts;
mod cache;
mod context;
mod fallback;
mod invalidation;
mod pins;
mod route;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::cache::{CacheFront, scope_of};
pub use self::context::NoopObserver;
use self::{
    context::{CallContext, CallTimestamps, activity_at},
    route::{RoutedCall, Routes},
};
use super::{passage::PreparedPassage, ports::SettledCall, shared::Shared};
use crate::domain::{
    call::{CallSpec, Failure, FailureKind, Operation, Outcome, Timings},
    directory::Directory,
    event::{EventKind, Settled},
    id::CallId,
    policy::{
        Hedge,
        call_event::{CallEvent, Cause},
    },
    time::{Stamp, short},
};

/// Work that has not ended this long after the call's deadline is dropped.
const GRACE: Duration = Duration::from_millis(100);

/// A call in progress.
pub struct Dispatch {
    /// The call's id.
    pub id: CallId,
    /// The requested operation.
    pub spec: Arc<CallSpec>,
    /// When the call was submitted.
    pub queued: Stamp,
    /// Cancels the call.
    pub cancel: Arc<Cancel>,
    /// What the call brings, if a client made it.
    pub passage: Option<Arc<PreparedPassage>>,
    /// State that all calls share.
    pub shared: Arc<Shared>,
    /// State of this call only.
    pub state: CallState,
}

/// State of one call that holds for all its attempts and fallbacks.
#[derive(Default)]
pub struct CallState {
    /// The idempotency key: one per call or step, so that a server recognises a second attempt.
    key: OnceLock<String>,
    /// Whether fault injection damaged the response.
    damaged: AtomicBool,
}

/// Cancels a call.
#[derive(Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Mutex<String>,
}

impl Cancel {
    /// Cancels the call. The first reason counts.
    pub fn cancel(&self, reason: &str) {
        let mut first = self.reason.lock();
        if first.is_empty() {
            *first = reason.to_owned();
        }
        drop(first);
        self.token.cancel();
    }

    fn reason(&self) -> String {
        self.reason.lock().clone()
    }
}

impl Dispatch {
    /// Runs the call and publishes its result.
    pub async fn run(self) -> Arc<Settled> {
        let _in_progress = self.shared.begin_call();
        let timestamps = Arc::new(Mutex::new(CallTimestamps::default()));
        // A panic ends this call only.
        let settled = AssertUnwindSafe(self.settle(&timestamps)).catch_unwind().await;
        let mut timestamps = timestamps.lock();
        let panicked = |_| failed(Failure { may_have_run: timestamps.sent.is_some(), ..internal_failure() });
        let outcome = self.reported(settled.unwrap_or_else(panicked));
        let bus = &self.shared.bus;
        let timings = Timings {
            queued: self.queued,
            sent: timestamps.sent,
            first_byte: timestamps.first_byte,
            last_byte: timestamps.last_byte,
            settled: bus.now(),
        };
        let settled = Arc::new(Settled {
            outcome,
            timings,
            rounds: timestamps.rounds.max(1),
            sent_bytes: timestamps.sent_bytes,
            received_bytes: timestamps.received_bytes,
            attempts: timestamps.attempts,
            by: timestamps.by.take(),
            cached: timestamps.cached,
        });
        // Published under the lock, so that no event of this call can follow.
        timestamps.settled = true;
        bus.publish_at(timings.settled, EventKind::CallSettled { call: self.id, settled: settled.clone() });
        drop(timestamps);
        self.shared.recording.history.record(SettledCall {
            instance: self.shared.recording.instance,
            call: self.id,
            unix_ms: bus.epoch().unix_ms(self.queued),
            name: self.shared.registry.read().call_name(&self.spec.operation),
            spec: self.spec.clone(),
            settled: settled.clone(),
            secrets: bus.secrets().clone(),
        });
        self.shared.inbox.withdraw(self.id);
        settled
    }

    /// Routes an operation of this call. A step with a `retry` of its own gets one attempt from each call.
    fn resolve(&self, operation: &Operation, routes: Routes) -> Result<RoutedCall, Failure> {
        let mut route = RoutedCall::resolve(&self.shared, operation, routes)?;
        if self.spec.run.as_ref().is_some_and(|step| step.retries) {
            route.treatment.policy.retry.attempts = 1;
        }
        if self.continues() {
            // The state in it belongs to this server, and an answer is given once.
            route.treatment.policy.retry.attempts = 1;
            route.treatment.policy.hedge = Hedge::default();
            route.treatment.fallback.clear();
            route.servers.truncate(1);
        }
        Ok(route)
    }

    /// Returns whether the call continues another one of its client.
    fn continues(&self) -> bool {
        self.passage.as_ref().is_some_and(|passage| passage.continues())
    }

    /// Returns the idempotency key of this call: that of its step if a run makes it, else a random one.
    fn key(&self) -> &str {
        self.state.key.get_or_init(|| match &self.spec.run {
            Some(step) => step.idempotency_key(),
            None => self.shared.random_key(),
        })
    }

    /// Returns an outcome as observers get it: secrets that a failure quotes are masked, and an operation without effects
    /// cannot have run. Results stay unchanged.
    fn reported(&self, outcome: Outcome) -> Outcome {
        let Outcome::Failed { failure } = outcome else { return outcome };
        let may_have_run = failure.may_have_run && self.spec.operation.has_effects();
        let redactor = self.shared.bus.secrets().redactor();
        if redactor.is_empty() && may_have_run == failure.may_have_run {
            return Outcome::Failed { failure };
        }
        failed(Failure { may_have_run, ..Arc::unwrap_or_clone(failure) }.redacted(&redactor))
    }

    async fn settle(&self, timestamps: &Arc<Mutex<CallTimestamps>>) -> Outcome {
        let routes = if self.continues() { Routes::Ignore } else { Routes::Apply };
        let route = match self.resolve(&self.spec.operation, routes) {
            Ok(route) => route,
            Err(failure) => return failed(failure),
        };
        let timeouts = route.timeouts();
        let limit = self.spec.timeout.or(route.treatment.timeout).unwrap_or(timeouts.call);
        let started = Instant::now();
        let hard_deadline = started + timeouts.call_max.max(limit);
        let context = Arc::new(CallContext {
            id: self.id,
            bus: self.shared.bus.clone(),
            timestamps: timestamps.clone(),
            limit,
            hard_deadline,
            last_activity: activity_at(started),
            inbox: self.shared.inbox.clone(),
            passage: self.passage.clone(),
            reason: Mutex::default(),
        });
        let backstop = async {
            context.expired().await;
            tokio::time::sleep(GRACE).await;
        };
        // Pinned outside the `select!`, so that dropping it (which cancels on the wire) happens after the reason is set.
        let mut work = Box::pin(self.answer(route, &context, started));
        tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = self.cancel.token.cancelled() => {
                context.set_cancel_reason(&self.cancel.reason());
                Outcome::Cancelled { reason: self.cancel.reason() }
            }
            () = backstop => {
                context.set_cancel_reason(&format!("no answer within {}", short(started.elapsed())));
                // Unsent requests are never sent after this.
                drop(work);
                failed(context.timed_out(started))
            }
        }
    }

    /// Answers the call from the cache, from its servers or from a fallback.
    async fn answer(&self, route: RoutedCall, context: &Arc<CallContext>, started: Instant) -> Outcome {
        if let Some(decision) = &route.decision {
            context.publish_event(CallEvent::Routed { decision: decision.clone() });
        }
        let leader = match self.cached_response(&route, context).await {
            Ok(outcome) => return outcome,
            Err(leader) => leader,
        };
        let fallbacks_left = fallback::count_calls(&route, &route.treatment.fallback);
        match self.run_attempts(&route, Cause::First, context, started, fallbacks_left).await {
            Outcome::Failed { failure } => self.fall_back(&route, leader, failure, context, started).await,
            outcome => {
                // A damaged response, and one that depends on a user's answer, must not be cached or shared.
                let asked = context.with_timestamps(|s| s.rounds) > 1 || self.shared.inbox.asked(self.id);
                let cacheable = !self.state.damaged.load(Ordering::Relaxed) && !asked;
                self.cache_response(&route, leader.filter(|_| cacheable), &outcome).await;
                outcome
            }
        }
    }
}

impl CallContext {
    /// Returns the failure of a call whose deadline has passed.
    fn timed_out(&self, started: Instant) -> Failure {
        let took = short(started.elapsed());
        let sent = self.with_timestamps(|s| s.sent).is_some();
        let message = if sent { format!("no answer within {took}") } else { format!("could not be sent within {took}") };
        Failure { may_have_run: sent, ..Failure::new(FailureKind::Timeout, message) }.hint(attempts::TIMEOUT_HINT)
    }
}

fn internal_failure() -> Failure {
    Failure::new(FailureKind::Transport, "the call failed because of a bug in Switchboard")
        .hint("report this bug with the output on stderr")
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure: Arc::new(failure) }
}

//! The life of one call, top to bottom.
//!
//! queued → routed → an answer kept earlier, or an equal call under way → attempts { breaker → place and rate → the server
//! is ready → arguments fit → rounds { sent → answered } → counted → perhaps a pause } → fallbacks → settled, all under
//! one deadline and one cancel. Whatever happens, exactly one `CallSettled` is published.

mod attempt;
mod attempts;
mod cache;
mod context;
mod fallback;
mod invalidation;
mod route;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::cache::CacheFront;
pub use self::context::NoopObserver;
use self::{
    context::{CallContext, CallTimestamps, alive_since},
    route::{RoutedCall, Routes},
};
use super::shared::Shared;
use crate::domain::{
    call::{CallSpec, Failure, FailureKind, Outcome, Timings},
    event::{EventKind, Settled},
    id::CallId,
    policy::call_event::{CallEvent, Cause},
    time::{Stamp, short},
};

/// What is left undone this long after a call's deadline is given up without asking it.
const GRACE: Duration = Duration::from_millis(100);

/// A call under way.
pub struct Dispatch {
    /// Its id.
    pub id: CallId,
    /// What was asked.
    pub spec: Arc<CallSpec>,
    /// When it was asked.
    pub queued: Stamp,
    /// Cancelled with a reason by the one who asked.
    pub cancel: Arc<Cancel>,
    /// What all calls share.
    pub shared: Arc<Shared>,
    /// What only this call knows.
    pub own: Own,
}

/// What holds for every attempt of one call, wherever it goes.
#[derive(Default)]
pub struct Own {
    /// The idempotency key: made once, so that whoever sees two attempts sees one call.
    key: OnceLock<String>,
    /// The answer was damaged on purpose.
    damaged: AtomicBool,
}

/// The way to give a call up.
#[derive(Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Mutex<String>,
}

impl Cancel {
    /// Gives the call up; the first reason counts.
    pub fn cancel(&self, reason: &str) {
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            *kept = reason.to_owned();
        }
        drop(kept);
        self.token.cancel();
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Dispatch {
    /// Runs the call to its end and publishes it.
    pub async fn run(self) -> Arc<Settled> {
        let timestamps = Arc::new(Mutex::new(CallTimestamps::default()));
        // A fault of ours ends this call and nothing else.
        let settled = AssertUnwindSafe(self.settle(&timestamps)).catch_unwind().await;
        let mut timestamps = timestamps.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = |_| failed(Failure { may_have_run: timestamps.sent.is_some(), ..broken() });
        let outcome = self.redacted(settled.unwrap_or_else(broken));
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
        // Published under the lock, so that nothing of this call can follow.
        timestamps.over = true;
        bus.publish_at(timings.settled, EventKind::CallSettled { call: self.id, settled: settled.clone() });
        drop(timestamps);
        self.shared.inbox.withdraw(self.id);
        settled
    }

    /// The idempotency key of this call.
    fn key(&self) -> &str {
        self.own.key.get_or_init(|| self.shared.key())
    }

    /// The outcome with what a failure quotes of our secrets masked. Results stay as they came.
    fn redacted(&self, outcome: Outcome) -> Outcome {
        let Outcome::Failed { failure } = outcome else { return outcome };
        let redactor = self.shared.bus.secrets().redactor();
        if redactor.is_empty() { Outcome::Failed { failure } } else { failed(Arc::unwrap_or_clone(failure).redacted(&redactor)) }
    }

    async fn settle(&self, timestamps: &Arc<Mutex<CallTimestamps>>) -> Outcome {
        let aim = match RoutedCall::take(&self.shared, &self.spec.operation, Routes::Apply) {
            Ok(aim) => aim,
            Err(failure) => return failed(failure),
        };
        let timeouts = aim.timeouts();
        let limit = self.spec.timeout.or(aim.treatment.timeout).unwrap_or(timeouts.call);
        let begun = Instant::now();
        let last = begun + timeouts.call_max.max(limit);
        let flow = Arc::new(CallContext {
            id: self.id,
            bus: self.shared.bus.clone(),
            timestamps: timestamps.clone(),
            limit,
            last,
            alive: alive_since(begun),
            inbox: self.shared.inbox.clone(),
            reason: Mutex::default(),
        });
        let backstop = async {
            flow.expired().await;
            tokio::time::sleep(GRACE).await;
        };
        // Out here, so that it is dropped, and with it cancelled on the wire, after the reason is known.
        let mut work = Box::pin(self.answer(aim, &flow, begun));
        tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = self.cancel.token.cancelled() => {
                flow.give_up(&self.cancel.reason());
                Outcome::Cancelled { reason: self.cancel.reason() }
            }
            () = backstop => {
                flow.give_up(&format!("no answer within {}", short(begun.elapsed())));
                // What was not sent by now never is.
                drop(work);
                failed(flow.too_late(begun))
            }
        }
    }

    /// An answer kept earlier, or that of the servers, or what stands in for it.
    async fn answer(&self, aim: RoutedCall, flow: &Arc<CallContext>, begun: Instant) -> Outcome {
        if let Some(decision) = &aim.decision {
            flow.stage(CallEvent::Routed { decision: decision.clone() });
        }
        let turn = match self.kept(&aim, flow).await {
            Ok(outcome) => return outcome,
            Err(turn) => turn,
        };
        let later = fallback::calls(&aim, &aim.treatment.fallback);
        match self.run_attempts(&aim, Cause::First, flow, begun, later).await {
            Outcome::Failed { failure } => self.fall_back(&aim, turn, failure, flow, begun).await,
            outcome => {
                // What was damaged on purpose, and what a person had a part in, is nobody else's answer.
                let plain = !self.own.damaged.load(Ordering::Relaxed) && flow.with(|s| s.rounds) <= 1;
                self.keep(&aim, turn.filter(|_| plain), &outcome).await;
                outcome
            }
        }
    }
}

impl CallContext {
    /// The failure of a call whose time is up.
    fn too_late(&self, begun: Instant) -> Failure {
        let took = short(begun.elapsed());
        let sent = self.with(|s| s.sent).is_some();
        let message = if sent { format!("no answer within {took}") } else { format!("could not be sent within {took}") };
        Failure { may_have_run: sent, ..Failure::new(FailureKind::Timeout, message) }.hint(attempts::TOO_SHORT)
    }
}

fn broken() -> Failure {
    Failure::new(FailureKind::Transport, "this call broke down within Switchboard")
        .hint("please report this with what was written to stderr")
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure: Arc::new(failure) }
}

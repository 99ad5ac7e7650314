//! Attempts until there is an answer: which server next, when, and when not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    Dispatch,
    attempt::ready,
    context::{AttemptContext, CallContext},
    failed,
    fallback::joined,
    route::{RoutedCall, with_key, with_server},
};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind, Operation, Outcome, RpcError},
        policy::{
            breaker::Probe,
            budget,
            call_event::{CallEvent, Cause, Wait},
            fault::{self, InjectedFault},
            verdict::{self, Verdict},
        },
        time::short,
    },
    engine::{
        guard::BreakerPermit,
        limiter::{Permit, Rejected},
        ports::Session,
        supervisor::{Readiness, ServerHandle},
    },
};

/// Longest text of how an attempt ended, in bytes. The whole failure is with the call.
const HOW: usize = 256;
/// Within this time a lost connection is seen as such, and no longer used.
const NOTICED: Duration = Duration::from_millis(100);
/// How long the sign of life may take that a half-open breaker asks for.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// A call that has a fallback waits this part of its time for a connection: 1/N.
const FALLBACK_SHARE: u32 = 3;

/// What to do about a deadline that passed.
pub(super) const TOO_SHORT: &str = "raise timeouts.call (or timeouts.attempt) of this server, or give the call a timeout of its own";

/// What came of trying one server.
enum Tried {
    /// The server answered.
    Answered(Outcome),
    /// It did not; nothing was begun when `attempt` is false.
    Failed { failure: Failure, attempt: bool },
}

impl Tried {
    /// The same, with what a simultaneous attempt may have done.
    fn also(mut self, other: &Tried) -> Tried {
        if let (Tried::Failed { failure, .. }, Tried::Failed { failure: other, .. }) = (&mut self, other) {
            failure.may_have_run |= other.may_have_run;
        }
        self
    }
}

/// What all attempts at one aim share.
struct AttemptLoop<'a> {
    aim: &'a RoutedCall,
    operation: Operation,
    flow: &'a Arc<CallContext>,
    begun: Instant,
    /// How many other calls could follow the attempt that is made now.
    others: usize,
}

impl Dispatch {
    /// Tries the servers of `aim` until one answers, as often as the settings allow. `later`: how many calls may
    /// stand in for it when it fails.
    pub(super) async fn run_attempts(
        &self,
        aim: &RoutedCall,
        cause: Cause,
        flow: &Arc<CallContext>,
        begun: Instant,
        later: usize,
    ) -> Outcome {
        let retry = &aim.treatment.policy.retry;
        let operation = match &aim.treatment.idempotency_key {
            Some(name) => with_key(&aim.operation, name, self.key()),
            None => aim.operation.clone(),
        };
        let mut chase = AttemptLoop { aim, operation, flow, begun, others: 0 };
        // Refusals of one replica lead to the next, but lead nowhere twice.
        let mut untried: Vec<&ServerHandle> = aim.servers.iter().collect();
        let mut cause = cause;
        // The connection over which the last attempt could not be sent.
        let mut gone: Option<Arc<dyn Session>> = None;
        let first = &aim.servers[0];
        match cause {
            Cause::Fallback => {
                // What stands in earns nothing; where the call was before, it is one more of its attempts.
                if flow.with(|s| s.worked.contains(&first.spec.id)) && !first.guard.spend() {
                    let why = format!("not sent: the retry budget of {} is used up", first.spec.id);
                    return failed(Failure::new(FailureKind::Overloaded, why));
                }
            }
            _ => first.guard.earn(),
        }
        let mut made = 0;
        // Whether an attempt may have run: a later one that was not sent does not undo it.
        let mut ran = false;
        // What failed elsewhere before and may have run: it is told, whatever comes after.
        let mut before: Vec<(String, Failure)> = vec![];
        loop {
            let server = if untried.is_empty() { &aim.servers[0] } else { untried.remove(0) };
            let spare = untried.first().copied();
            let elsewhere = verdict::passable(&hung(), aim.safe, retry).map_or(0, |()| retry.attempts.saturating_sub(made + 1) as usize);
            chase.others = later + untried.len().min(elsewhere);
            let tried = self.hedged(&chase, server, spare, cause, &mut gone).await;
            let (failure, attempt) = match tried {
                Tried::Answered(outcome) => {
                    if server.spec.id != *self.spec.operation.server() {
                        flow.with(|s| s.by.get_or_insert_with(|| server.spec.id.clone()).clone());
                    }
                    return outcome;
                }
                Tried::Failed { failure, attempt } => (failure, attempt),
            };
            made += u32::from(attempt);
            ran |= failure.may_have_run;
            let told = |failure: Failure| {
                let failure = match before.is_empty() || failure.may_have_run {
                    true => failure,
                    false => joined(before.iter().cloned().chain([(server.spec.id.to_string(), failure)]).collect()),
                };
                failed(Failure { may_have_run: failure.may_have_run || ran, ..failure })
            };
            if Instant::now() >= flow.until() {
                return told(failure);
            }
            if !attempt {
                // Nothing was begun here; another replica may have it.
                if untried.is_empty() || verdict::passable(&failure, aim.safe, retry).is_err() {
                    return told(failure);
                }
                cause = Cause::Failover;
                continue;
            }
            // What this server cannot do, another replica may.
            let again = if untried.is_empty() { verdict::repeatable } else { verdict::passable };
            if let Err(why) = again(&failure, aim.safe, retry) {
                if retry.attempts > 1 {
                    flow.stage(CallEvent::NotRepeated { why: why.to_owned() });
                }
                return told(failure);
            }
            if made >= retry.attempts.max(1) {
                return told(failure);
            }
            if failure.kind == FailureKind::Timeout && aim.treatment.policy.attempt.is_none() && later > 0 && untried.is_empty() {
                flow.stage(CallEvent::NotRepeated { why: "what is left of the time is for what stands in".into() });
                return told(failure);
            }
            // What the server cannot have seen costs it nothing; a refusal (429) is work for it all the same.
            if seen(&failure) && !server.guard.spend() {
                flow.stage(CallEvent::NotRepeated { why: format!("the retry budget of {} is used up", server.spec.id) });
                return told(failure);
            }
            if !untried.is_empty() {
                cause = Cause::Failover;
                if failure.may_have_run {
                    before.push((server.spec.id.to_string(), failure));
                }
                continue;
            }
            cause = Cause::Retry;
            let (pause, why) = match failure.retry_after.filter(|_| retry.retry_after) {
                Some(asked) => (asked, format!("{} asked for it (Retry-After)", server.spec.id)),
                None => (budget::pause(retry, made, self.shared.random()), format!("back-off after attempt {made}")),
            };
            if Instant::now() + pause >= flow.until() {
                flow.stage(CallEvent::NotRepeated { why: format!("no time is left for a pause of {} ({why})", short(pause)) });
                return told(failure);
            }
            if let Some(gone) = gone.take()
                && replaced(server, &gone).await
            {
                // The way to the server was lost, and there is or will be another: that is pause enough.
                continue;
            }
            flow.stage(CallEvent::BackOff { pause, why });
            sleep(pause).await;
        }
    }

    /// Tries a server, and beside it a second time when the first is slow and the settings say so.
    async fn hedged(
        &self,
        chase: &AttemptLoop<'_>,
        server: &ServerHandle,
        spare: Option<&ServerHandle>,
        cause: Cause,
        gone: &mut Option<Arc<dyn Session>>,
    ) -> Tried {
        let Some(after) = self.hedge_after(chase.aim, server) else { return self.try_one(chase, server, cause, gone, None).await };
        let sent = Arc::new(Notify::new());
        let mut first = Box::pin(self.try_one(chase, server, cause, gone, Some(sent.clone())));
        // From when it was sent: a second one shortens no wait for a place, or for the connection.
        let slow = async {
            sent.notified().await;
            sleep(after).await;
        };
        tokio::select! {
            biased;
            tried = &mut first => return tried,
            () = slow => {}
        }
        let beside = spare.unwrap_or(server);
        if !server.guard.spend() {
            return first.await;
        }
        let mut none = None;
        let mut second = Box::pin(self.try_one(chase, beside, Cause::Hedge, &mut none, None));
        // The first answer wins, the other request is cancelled by being dropped.
        let (tried, first_ended) = tokio::select! {
            biased;
            tried = &mut first => (tried, true),
            tried = &mut second => (tried, false),
        };
        match (&tried, first_ended) {
            (Tried::Answered(_), true) => tried,
            (Tried::Answered(_), false) => {
                if beside.spec.id != *self.spec.operation.server() {
                    chase.flow.with(|s| s.by = Some(beside.spec.id.clone()));
                }
                tried
            }
            (Tried::Failed { .. }, true) => match second.await {
                other @ Tried::Failed { .. } => tried.also(&other),
                answered => {
                    if beside.spec.id != *self.spec.operation.server() {
                        chase.flow.with(|s| s.by = Some(beside.spec.id.clone()));
                    }
                    answered
                }
            },
            (Tried::Failed { .. }, false) => first.await.also(&tried),
        }
    }

    /// After which time a second attempt goes out beside the first; `None` is never.
    fn hedge_after(&self, aim: &RoutedCall, server: &ServerHandle) -> Option<Duration> {
        let hedge = &aim.treatment.policy.hedge;
        if !verdict::hedgeable(aim.safe, &aim.treatment.policy) {
            return None;
        }
        if hedge.after.is_some() {
            return hedge.after;
        }
        let tool = aim.tool()?;
        self.shared.bus.look(|read_model| {
            let stats = read_model.server(&server.spec.id)?.tools.get(tool)?;
            stats.percentile(95.0).filter(|_| stats.answered >= hedge.samples)
        })
    }

    /// Tries one server once: breaker, place and rate, connection, arguments, request.
    /// `sent` is told when the request was sent.
    async fn try_one(
        &self,
        chase: &AttemptLoop<'_>,
        server: &ServerHandle,
        cause: Cause,
        gone: &mut Option<Arc<dyn Session>>,
        sent: Option<Arc<Notify>>,
    ) -> Tried {
        let (aim, flow) = (chase.aim, chase.flow);
        let refused = |failure| Tried::Failed { failure, attempt: false };
        let operation = with_server(&chase.operation, &server.spec.id);
        let id = &server.spec.id;
        // Asked first, so that an open breaker refuses at once.
        let tool = aim.tool();
        if let Some(tool) = tool.filter(|_| aim.treatment.own_breaker) {
            server.guard.own_breaker(tool, &aim.treatment.policy.breaker);
        }
        if let Some(failure) = server.guard.refuses(tool) {
            // Counts the refusal.
            let failure = server.guard.admit(tool).err().unwrap_or(failure);
            let down = matches!(&*server.readiness.borrow(), Readiness::Down(Some(_)));
            return refused(match ready(server).now_or_never() {
                // No probe will go there by itself: that it was given up, and why, is worth more.
                Some(Err(given_up)) if down => {
                    let causes = given_up.causes.iter().cloned().chain([failure.message]).collect();
                    Failure { causes, ..given_up }
                }
                _ => failure,
            });
        }
        let (session, _places, pass) = {
            let entered = async {
                let mut session = self.connected(aim, server, flow).await?;
                self.check_arguments(&operation).await?;
                let places = self.places(aim, server, flow).await?;
                // The connection may have gone while the call waited for its place. All that waited for the next one would go
                // out at once: the rate holds for them too.
                while !connected_now(server, &session) {
                    session = self.connected(aim, server, flow).await?;
                    let waits = |on| flow.stage(CallEvent::Waiting { on, server: id.clone() });
                    if let Some(narrow) = &places.0 {
                        narrow.again(waits).await.map_err(|full| overloaded(&aim.exposed, full))?;
                    }
                    places.1.again(waits).await.map_err(|full| overloaded(id.as_str(), full))?;
                }
                let pass = server.guard.admit(tool)?;
                Ok((session, places, pass))
            };
            tokio::select! {
                biased;
                entered = entered => match entered {
                    Ok(entered) => entered,
                    Err(failure) => return refused(failure),
                },
                () = flow.expired() => return refused(flow.too_late(chase.begun)),
            }
        };
        let pass = match self.probe(pass, aim, server, &session, flow).await {
            Ok(pass) => pass,
            Err(failure) => return refused(failure),
        };
        let number = flow.with(|s| {
            s.attempts += 1;
            s.attempts
        });
        flow.stage(CallEvent::Attempt { attempt: number, server: id.clone(), subject: operation.subject().into(), cause });
        let begun = Instant::now();
        let left = flow.until().saturating_duration_since(begun);
        let limit = aim.treatment.policy.attempt.or_else(|| budget::share(left, chase.others));
        let one = AttemptContext::new(flow.clone(), number, limit, sent);
        let repeatable = verdict::resendable(aim.safe, &aim.treatment.policy.retry);
        let mut request = Box::pin(self.inject_fault(&operation, repeatable, server, &session, &one));
        let ended = tokio::select! {
            biased;
            outcome = &mut request => Ok(outcome),
            () = flow.expired() => Err(true),
            () = one.expired() => Err(false),
        };
        let since = short(if ended == Err(true) { chase.begun.elapsed() } else { begun.elapsed() });
        if let Err(whole) = ended {
            let reason = format!("no answer within {since}");
            if whole { flow.give_up(&reason) } else { one.give_up(&reason) }
        }
        // Cancels it on the wire if it is under way; what was not sent by now never is.
        drop(request);
        let outcome = ended.unwrap_or_else(|_| {
            let sent = one.sent_at().is_some();
            let message = if sent { format!("no answer within {since}") } else { format!("could not be sent within {since}") };
            failed(Failure { may_have_run: sent, ..Failure::new(FailureKind::Timeout, message) }.hint(TOO_SHORT))
        });
        let took = begun.elapsed();
        let verdict = aim.treatment.policy.record.verdict(&outcome);
        // What a server quotes of our secrets is told nowhere.
        let outcome = match outcome {
            Outcome::Failed { failure } => failed(Arc::unwrap_or_clone(failure).redacted(&self.shared.bus.secrets().redactor()).bounded()),
            answered => answered,
        };
        let how = bounds::cut(&how(&outcome), HOW).into_owned();
        let class = match &outcome {
            Outcome::Failed { failure } => Some(failure.kind),
            _ => None,
        };
        flow.stage(CallEvent::Ended { attempt: number, how: how.clone(), verdict, took, failure: class });
        if verdict == Verdict::Success {
            server.guard.observe(took);
        }
        pass.record(verdict, took, &how);
        match outcome {
            Outcome::Failed { failure } => {
                if seen(&failure) {
                    flow.with(|s| s.worked.push(id.clone()));
                }
                *gone = lost(&failure).then_some(session);
                Tried::Failed { failure: Arc::unwrap_or_clone(failure), attempt: true }
            }
            answered => Tried::Answered(answered),
        }
    }

    /// Waits until the server is connected; only for a part of the call's time when something else can answer in its place.
    async fn connected(&self, aim: &RoutedCall, server: &ServerHandle, flow: &CallContext) -> Result<Arc<dyn Session>, Failure> {
        let waits = matches!(&*server.readiness.borrow(), Readiness::Pending);
        if waits {
            flow.stage(CallEvent::Waiting { on: Wait::Ready, server: server.spec.id.clone() });
        }
        if aim.treatment.fallback.is_empty() {
            return ready(server).await;
        }
        let patience = flow.limit / FALLBACK_SHARE;
        timeout(patience, ready(server)).await.unwrap_or_else(|_| {
            let message = format!("{} was not connected within {}", server.spec.id, short(patience));
            Err(Failure::new(FailureKind::NotReady, message).hint("`switchboard doctor` says what keeps it"))
        })
    }

    /// A place at the server, and one at the tool when a rule limits it by itself.
    async fn places(&self, aim: &RoutedCall, server: &ServerHandle, flow: &CallContext) -> Result<(Option<Permit>, Permit), Failure> {
        let id = &server.spec.id;
        let waits = |on| flow.stage(CallEvent::Waiting { on, server: id.clone() });
        let own = &aim.treatment.policy;
        let wide = server.guard.policy();
        let narrow = match aim.tool().filter(|_| (&own.concurrency, &own.rate_limit) != (&wide.concurrency, &wide.rate_limit)) {
            Some(tool) => Some(
                server.guard.tool_limiter(tool, &aim.treatment.policy).enter(waits).await.map_err(|full| overloaded(&aim.exposed, full))?,
            ),
            None => None,
        };
        let wide = server.guard.limiter.enter(waits).await.map_err(|full| overloaded(id.as_str(), full))?;
        Ok((narrow, wide))
    }

    /// Asks for a sign of life before a call that decides about a half-open breaker.
    async fn probe(
        &self,
        pass: BreakerPermit,
        aim: &RoutedCall,
        server: &ServerHandle,
        session: &Arc<dyn Session>,
        flow: &CallContext,
    ) -> Result<BreakerPermit, Failure> {
        if !pass.probe || aim.treatment.policy.breaker.probe != Probe::Ping {
            return Ok(pass);
        }
        flow.stage(CallEvent::Probing { server: server.spec.id.clone() });
        let begun = Instant::now();
        let checked = tokio::select! {
            checked = timeout(PROBE_PATIENCE, session.check()) => checked,
            () = flow.expired() => return Err(Failure::new(FailureKind::Timeout, "the time was up before the probe was answered")),
        };
        let why = match checked {
            Ok(Ok(())) => return Ok(pass),
            // A server that answers 401 or 429 lives: what it says to the call itself is worth more than a guess.
            Ok(Err(failure)) if aim.treatment.policy.record.verdict(&failed(failure.clone())) != Verdict::Failure => return Ok(pass),
            Ok(Err(failure)) => failure.redacted(&self.shared.bus.secrets().redactor()).message,
            Err(_) => format!("no answer within {}", short(PROBE_PATIENCE)),
        };
        pass.record(Verdict::Failure, begun.elapsed(), &why);
        let again = server.guard.refuses(None).map(|failure| failure.message).unwrap_or_default();
        let message = format!("the probe of {} failed: {why}", server.spec.id);
        Err(Failure { causes: vec![again], ..Failure::new(FailureKind::BreakerOpen, message) }
            .hint("nothing was sent; the server is still not well"))
    }

    /// The exchange, with the fault that somebody wants to see.
    async fn inject_fault(
        &self,
        operation: &Operation,
        repeatable: bool,
        server: &ServerHandle,
        session: &Arc<dyn Session>,
        flow: &Arc<AttemptContext>,
    ) -> Outcome {
        let tool = match operation {
            Operation::Tool { tool, .. } => Some(&tool.name),
            _ => None,
        };
        let Some(made) = server.guard.fault(tool) else { return self.exchange(operation, repeatable, server, session, flow).await };
        let strike = fault::strike(&made, &mut || self.shared.random());
        if let Some(what) = strike.words() {
            flow.call.stage(CallEvent::Injected { what });
        }
        if !strike.latency.is_zero() {
            sleep(strike.latency).await;
        }
        match strike.blow {
            InjectedFault::None => self.exchange(operation, repeatable, server, session, flow).await,
            InjectedFault::Fail => {
                let rpc = RpcError { code: -32603, message: "made by hand in Switchboard".into(), data: None };
                failed(
                    Failure { rpc: Some(rpc), ..Failure::new(FailureKind::Protocol, "failed on purpose: a fault is injected") }
                        .hint("end the fault in the console, or leave out --inject"),
                )
            }
            InjectedFault::Drop => {
                let _thrown_away = self.exchange(operation, repeatable, server, session, flow).await;
                std::future::pending().await
            }
            InjectedFault::Cut => {
                // Sent first, so that the server has it when the line goes dead.
                let cut = async {
                    flow.until_sent().await;
                    // A connection that is closed in order would still bring the answer.
                    let session = session.clone();
                    tokio::spawn(async move { session.close().await });
                };
                tokio::select! {
                    outcome = self.exchange(operation, repeatable, server, session, flow) => outcome,
                    () = cut => failed(Failure::after_send(FailureKind::Transport, "the connection was cut on purpose")),
                }
            }
            InjectedFault::Corrupt => match self.exchange(operation, repeatable, server, session, flow).await {
                Outcome::Ok { result } | Outcome::ToolError { result } => {
                    self.own.damaged.store(true, Ordering::Relaxed);
                    let damaged = fault::corrupt(result.bytes(), &mut || self.shared.random());
                    match serde_json::from_slice::<serde::de::IgnoredAny>(&damaged) {
                        Ok(_) => Outcome::Ok { result: Body::new(damaged) },
                        Err(error) => {
                            let what = format!("the answer, damaged on purpose, is no JSON: {error}");
                            failed(Failure::after_send(FailureKind::Protocol, what))
                        }
                    }
                }
                outcome => outcome,
            },
        }
    }
}

/// How a call fails that was sent and not answered.
pub(super) fn hung() -> Failure {
    Failure::after_send(FailureKind::Timeout, "")
}

/// Waits a moment for a lost connection to be seen as such.
async fn replaced(server: &ServerHandle, gone: &Arc<dyn Session>) -> bool {
    let mut readiness = server.readiness.clone();
    let other = readiness.wait_for(|now| !matches!(now, Readiness::Ready(session) if Arc::ptr_eq(session, gone)));
    timeout(NOTICED, other).await.is_ok()
}

fn connected_now(server: &ServerHandle, session: &Arc<dyn Session>) -> bool {
    matches!(&*server.readiness.borrow(), Readiness::Ready(now) if Arc::ptr_eq(now, session))
}

/// Whether a request failed for want of a connection, so that the server cannot have seen any of it.
fn lost(failure: &Failure) -> bool {
    let lost = matches!(failure.kind, FailureKind::Transport | FailureKind::Exited);
    lost && !failure.may_have_run && failure.status.is_none() && failure.rpc.is_none()
}

/// Whether the server may have seen the request, so that it was work for it.
fn seen(failure: &Failure) -> bool {
    failure.may_have_run || failure.status.is_some() || failure.rpc.is_some()
}

fn overloaded(whose: &str, full: Rejected) -> Failure {
    let message = match full {
        Rejected::Queue { waiting, in_flight } => format!("{whose} has {in_flight} calls in flight, and {waiting} wait: no more may"),
        Rejected::Wait { on: Wait::Rate } => format!("{whose} is given no more calls a second, and the wait would be too long"),
        Rejected::Wait { .. } => format!("no call in flight at {whose} ended in time"),
    };
    Failure::new(FailureKind::Overloaded, message)
        .hint("nothing was sent; raise concurrency.in_flight, concurrency.queue, concurrency.wait or rate_limit.per_second")
}

/// An outcome in a few words.
fn how(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { failure } => format!("{}: {}", failure.kind.words(), failure.message),
        Outcome::Cancelled { reason } => format!("cancelled: {reason}"),
        other => other.words().to_owned(),
    }
}

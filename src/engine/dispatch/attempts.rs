//! Retry, failover and hedge: makes attempts until a server answers, and decides which server is next, after which backoff, and when
//! to stop. Spends the retry budget, probes half-open breakers and applies fault injection.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Dispatch,
    attempt::{Patience, ready},
    context::{AttemptContext, CallContext, SentMark},
    failed,
    route::{RoutedCall, with_key, with_server},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation, Outcome, RpcError},
        id::ServerId,
        policy::{
            breaker::Probe,
            budget,
            call_event::{AttemptEnd, CallEvent, Cause, Wait},
            fault::{self, InjectedFault},
            verdict::{self, Verdict},
        },
        server::Era,
        time::short,
    },
    engine::{
        guard::{BreakerPermit, BreakerRule},
        limiter::{Permit, Rejected},
        ports::Session,
        session_pool::SessionLease,
        supervisor::{Readiness, ServerHandle},
    },
};

/// How long the supervisor may take to notice a lost connection.
const LOSS_NOTICE: Duration = Duration::from_millis(100);
/// Timeout of the health check that probes a half-open breaker.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A call with fallbacks waits at most 1/N of its time for a connection.
const FALLBACK_SHARE: u32 = 3;

/// The hint for a deadline that passed.
pub(super) const TIMEOUT_HINT: &str = "raise timeouts.call (or timeouts.attempt) of this server, or give the call a timeout of its own";

/// The result of trying one server.
#[expect(clippy::large_enum_variant, reason = "it exists once a call, on the stack")]
enum TryResult {
    /// The server answered.
    Answered(Outcome),
    /// The server did not answer. No attempt was started if `attempt` is false.
    Failed { failure: Failure, attempt: bool },
}

impl TryResult {
    /// Adds whether a concurrent attempt may have run.
    fn combine(mut self, other: &TryResult) -> TryResult {
        if let (TryResult::Failed { failure, .. }, TryResult::Failed { failure: other, .. }) = (&mut self, other) {
            failure.may_have_run |= other.may_have_run;
        }
        self
    }
}

/// What all attempts on one route share.
struct AttemptLoop<'a> {
    route: &'a RoutedCall,
    operation: Operation,
    context: &'a Arc<CallContext>,
    started: Instant,
    /// Attempts and fallbacks that could follow the current attempt.
    followers: usize,
}

/// What follows a failed attempt.
enum NextAttempt {
    /// Another server, immediately.
    Failover,
    /// The same server after a backoff, with the reason for its length.
    Retry { pause: Duration, why: String },
    /// None: the call fails.
    Stop,
}

/// Everything that an attempt needs from a server.
struct Admitted {
    session: Arc<dyn Session>,
    breaker: BreakerPermit,
    /// The own session of the client, if the call needs one. Held until the attempt ends.
    _lease: Option<SessionLease>,
    /// Permits of the tool, if a rule limits it, and of the server. Held until the attempt ends.
    _permits: (Option<Permit>, Permit),
}

impl Dispatch {
    /// Tries the servers of `route` until one answers, within the limits of the retry policy. `fallbacks`: number of
    /// fallback calls that may follow a failure.
    pub(super) async fn run_attempts(
        &self,
        route: &RoutedCall,
        cause: Cause,
        context: &Arc<CallContext>,
        started: Instant,
        fallbacks: usize,
    ) -> Outcome {
        let retry = &route.treatment.policy.retry;
        let operation = match &route.treatment.idempotency_key {
            Some(name) => with_key(&route.operation, name, self.key()),
            None => route.operation.clone(),
        };
        let mut attempts = AttemptLoop { route, operation, context, started, followers: 0 };
        // Each replica is tried once before any is retried.
        let mut untried: Vec<&ServerHandle> = route.servers.iter().collect();
        let mut cause = cause;
        // The lost connection over which the last attempt could not be sent.
        let mut lost_session: Option<Arc<dyn Session>> = None;
        let first = &route.servers[0];
        match cause {
            Cause::Fallback => {
                // A fallback adds nothing to the retry budget. On a server where the call already failed, it is an extra attempt.
                if context.with_timestamps(|s| s.failed_servers.contains(&first.spec.id)) && !first.guard.spend() {
                    let why = format!("not sent: the retry budget of {} is used up", first.spec.id);
                    return failed(Failure::new(FailureKind::Overloaded, why));
                }
            }
            _ => first.guard.earn(),
        }
        let mut made = 0;
        // Whether any attempt may have run. A later unsent attempt does not change that.
        let mut may_have_run = false;
        // The last failure of each server, in the order of the attempts. They are part of the final failure.
        let mut failures: Vec<(ServerId, Failure)> = vec![];
        loop {
            let server = if untried.is_empty() { &route.servers[0] } else { untried.remove(0) };
            let spare = untried.first().copied();
            let retries =
                verdict::may_fail_over(&unanswered(), route.safe, retry).map_or(0, |()| retry.attempts.saturating_sub(made + 1) as usize);
            attempts.followers = fallbacks + untried.len().min(retries);
            let (failure, attempt) = match self.hedged(&attempts, server, spare, cause, &mut lost_session).await {
                TryResult::Answered(outcome) => {
                    if server.spec.id != *self.spec.operation.server() {
                        context.with_timestamps(|s| s.by.get_or_insert_with(|| server.spec.id.clone()).clone());
                    }
                    return outcome;
                }
                TryResult::Failed { failure, attempt } => (failure, attempt),
            };
            made += u32::from(attempt);
            may_have_run |= failure.may_have_run;
            let next = match attempt {
                true => self.next_attempt(&attempts, server, &failure, made, &untried, fallbacks),
                // Nothing was sent to this server; another replica may take the call.
                false if untried.is_empty() || verdict::may_fail_over(&failure, route.safe, retry).is_err() => NextAttempt::Stop,
                false if Instant::now() >= context.deadline() => NextAttempt::Stop,
                false => NextAttempt::Failover,
            };
            match next {
                NextAttempt::Stop => {
                    failures.push((server.spec.id.clone(), failure));
                    let failure = of_group(route, failures);
                    return failed(Failure { may_have_run: failure.may_have_run || may_have_run, ..failure });
                }
                NextAttempt::Failover => {
                    cause = Cause::Failover;
                    failures.push((server.spec.id.clone(), failure));
                }
                NextAttempt::Retry { pause, why } => {
                    cause = Cause::Retry;
                    if let Some(lost) = lost_session.take()
                        && replaced(server, &lost).await
                    {
                        // Reconnecting takes the place of the backoff.
                        continue;
                    }
                    context.publish_event(CallEvent::BackOff { pause, why });
                    sleep(pause).await;
                }
            }
        }
    }

    /// Decides what follows a failed attempt, and takes the next one from the retry budget of the server that it goes to.
    /// `made`: attempts so far; `untried`: servers not yet tried.
    fn next_attempt(
        &self,
        attempts: &AttemptLoop<'_>,
        server: &ServerHandle,
        failure: &Failure,
        made: u32,
        untried: &[&ServerHandle],
        fallbacks: usize,
    ) -> NextAttempt {
        let AttemptLoop { route, context, .. } = attempts;
        let retry = &route.treatment.policy.retry;
        let not_repeated = |why: String| {
            context.publish_event(CallEvent::NotRepeated { why });
            NextAttempt::Stop
        };
        if Instant::now() >= context.deadline() {
            return NextAttempt::Stop;
        }
        // A failure that rules out a retry on this server may still allow another replica.
        let allowed = if untried.is_empty() { verdict::may_retry } else { verdict::may_fail_over };
        if let Err(why) = allowed(failure, route.safe, retry) {
            return if retry.attempts > 1 { not_repeated(why.to_owned()) } else { NextAttempt::Stop };
        }
        if made >= retry.attempts.max(1) {
            return NextAttempt::Stop;
        }
        if failure.kind == FailureKind::Timeout && route.treatment.policy.attempt.is_none() && fallbacks > 0 && untried.is_empty() {
            return not_repeated("the remaining time is reserved for the fallback".into());
        }
        // A request that the server cannot have seen costs it nothing. A refusal (429) does.
        if let Some(target) = untried.first() {
            return match !reached_server(failure) || target.guard.spend_failover(self.shared.calls_in_progress()) {
                true => NextAttempt::Failover,
                false => not_repeated(format!("the retry budget of {} is used up", target.spec.id)),
            };
        }
        if reached_server(failure) && !server.guard.spend() {
            return not_repeated(format!("the retry budget of {} is used up", server.spec.id));
        }
        let (pause, why) = match failure.retry_after.filter(|_| retry.retry_after) {
            Some(asked) => (asked, format!("{} asked for it (Retry-After)", server.spec.id)),
            None => (budget::backoff(retry, made, self.shared.random()), format!("backoff after attempt {made}")),
        };
        if Instant::now() + pause >= context.deadline() {
            return not_repeated(format!("no time is left for a pause of {} ({why})", short(pause)));
        }
        NextAttempt::Retry { pause, why }
    }

    /// Tries a server, and hedges with a second concurrent attempt if the first is slow and the policy allows it.
    async fn hedged(
        &self,
        attempts: &AttemptLoop<'_>,
        server: &ServerHandle,
        spare: Option<&ServerHandle>,
        cause: Cause,
        lost_session: &mut Option<Arc<dyn Session>>,
    ) -> TryResult {
        let Some(after) = self.hedge_after(attempts.route, server) else {
            return self.try_server(attempts, server, cause, lost_session, None).await;
        };
        let sent = Arc::new(SentMark::default());
        let mut first = Box::pin(self.try_server(attempts, server, cause, lost_session, Some(sent.clone())));
        let slow = sent.passed(after);
        tokio::select! {
            biased;
            result = &mut first => return result,
            () = slow => {}
        }
        let hedge_server = spare.unwrap_or(server);
        if !server.guard.spend() {
            return first.await;
        }
        let hedge_answered = || {
            if hedge_server.spec.id != *self.spec.operation.server() {
                attempts.context.with_timestamps(|s| s.by = Some(hedge_server.spec.id.clone()));
            }
        };
        let mut ignored = None;
        let mut second = Box::pin(self.try_server(attempts, hedge_server, Cause::Hedge, &mut ignored, None));
        // The first answer wins. Dropping the other future cancels its request.
        let (result, first_ended) = tokio::select! {
            biased;
            result = &mut first => (result, true),
            result = &mut second => (result, false),
        };
        match (&result, first_ended) {
            (TryResult::Answered(_), true) => result,
            (TryResult::Answered(_), false) => {
                hedge_answered();
                result
            }
            (TryResult::Failed { .. }, true) => match second.await {
                other @ TryResult::Failed { .. } => result.combine(&other),
                answered => {
                    hedge_answered();
                    answered
                }
            },
            (TryResult::Failed { .. }, false) => first.await.combine(&result),
        }
    }

    /// Returns the delay after which a hedge is sent; `None` if the call is not hedged.
    fn hedge_after(&self, route: &RoutedCall, server: &ServerHandle) -> Option<Duration> {
        let hedge = &route.treatment.policy.hedge;
        if !verdict::may_hedge(route.safe, &route.treatment.policy) {
            return None;
        }
        if hedge.after.is_some() {
            return hedge.after;
        }
        let tool = route.tool()?;
        server.guard.percentile(tool, 95.0, hedge.samples)
    }

    /// Returns the failure of a call that an open breaker refuses.
    fn refused_by_breaker(&self, route: &RoutedCall, server: &ServerHandle) -> Option<Failure> {
        let tool = route.tool();
        if let Some(tool) = tool.filter(|_| route.treatment.own_breaker) {
            server.guard.own_breaker(tool, &route.treatment.policy.breaker);
        }
        let failure = server.guard.refuses(tool)?;
        // Counts the refusal.
        let failure = match route.breakers {
            BreakerRule::Enforce => server.guard.admit(tool, route.breakers).err().unwrap_or(failure),
            BreakerRule::Bypass => return None,
        };
        let down = matches!(&*server.readiness.borrow(), Readiness::Down(Some(_)));
        Some(match ready(server, Patience::Reconnects).now_or_never() {
            // The supervisor has stopped reconnecting, so no probe will follow: its failure says more.
            Some(Err(not_connected)) if down => {
                let causes = not_connected.causes.iter().cloned().chain([failure.message]).collect();
                Failure { causes, ..not_connected }
            }
            _ => failure,
        })
    }

    /// Waits for the connection, the argument check and the permits that an attempt needs.
    async fn admit(&self, attempts: &AttemptLoop<'_>, operation: &Operation, server: &ServerHandle) -> Result<Admitted, Failure> {
        let AttemptLoop { route, context, .. } = attempts;
        let id = &server.spec.id;
        let mut session = self.connected(route, server, context).await?;
        self.check_arguments(operation).await?;
        let permits = self.acquire_permits(route, server, context).await?;
        // The connection may have been lost while the call waited for a permit. All waiting calls would be sent at the moment of
        // the reconnect, so the rate limit applies to them again.
        while !connected_now(server, &session) {
            session = self.connected(route, server, context).await?;
            let on_wait = |on| context.publish_event(CallEvent::Waiting { on, server: id.clone() });
            if let Some(tool_permit) = &permits.0 {
                tool_permit.wait_for_rate(on_wait).await.map_err(|rejected| overloaded(&route.exposed, rejected))?;
            }
            permits.1.wait_for_rate(on_wait).await.map_err(|rejected| overloaded(id.as_str(), rejected))?;
        }
        let lease = self.own_session(server, &session).await?;
        let session = lease.as_ref().map_or(session, |lease| lease.session().clone());
        let breaker = server.guard.admit(route.tool(), route.breakers)?;
        Ok(Admitted { session, breaker, _lease: lease, _permits: permits })
    }

    /// Returns the own session of the client that makes the call, if it needs one: a legacy server has seen the capabilities of
    /// the shared session, and must be able to ask for those of the client.
    async fn own_session(&self, server: &ServerHandle, shared: &Arc<dyn Session>) -> Result<Option<SessionLease>, Failure> {
        match &self.passage {
            Some(passage) if passage.can_be_asked() && shared.info().era == Era::Legacy && server.spec.sessions.max > 0 => {
                server.pool.acquire(self.id, passage).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Makes one attempt on a server: breaker, connection, arguments, permits and rate, request. Sets `sent` when the
    /// request was sent.
    async fn try_server(
        &self,
        attempts: &AttemptLoop<'_>,
        server: &ServerHandle,
        cause: Cause,
        lost_session: &mut Option<Arc<dyn Session>>,
        sent: Option<Arc<SentMark>>,
    ) -> TryResult {
        let (route, context) = (attempts.route, attempts.context);
        let refused = |failure| TryResult::Failed { failure, attempt: false };
        let operation = with_server(&attempts.operation, &server.spec.id);
        let id = &server.spec.id;
        // Checked first, so that an open breaker refuses without a wait.
        if let Some(failure) = self.refused_by_breaker(route, server) {
            return refused(failure);
        }
        let admitted = tokio::select! {
            biased;
            admitted = self.admit(attempts, &operation, server) => admitted,
            () = context.expired() => Err(context.timed_out(attempts.started)),
        };
        let Admitted { session, breaker, _lease, _permits } = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return refused(failure),
        };
        let breaker = match self.probe(breaker, route, server, &session, context).await {
            Ok(breaker) => breaker,
            Err(failure) => return refused(failure),
        };
        let number = context.with_timestamps(|s| {
            s.attempts += 1;
            s.attempts
        });
        context.publish_event(CallEvent::Attempt { attempt: number, server: id.clone(), subject: operation.subject().into(), cause });
        let started = Instant::now();
        let left = context.deadline().saturating_duration_since(started);
        let limit = route.treatment.policy.attempt.or_else(|| budget::attempt_share(left, attempts.followers));
        let attempt = AttemptContext::new(context.clone(), number, limit, sent);
        let repeatable = verdict::may_resend(route.safe, &route.treatment.policy.retry);
        let mut request = Box::pin(self.inject_fault(&operation, repeatable, server, &session, &attempt));
        let ended = tokio::select! {
            biased;
            outcome = &mut request => Ok(outcome),
            () = context.expired() => Err(Limit::Call),
            () = attempt.expired() => Err(Limit::Attempt),
        };
        let since = short(if ended == Err(Limit::Call) { attempts.started.elapsed() } else { started.elapsed() });
        if let Err(limit) = &ended {
            let reason = format!("no answer within {since}");
            match limit {
                Limit::Call => context.set_cancel_reason(&reason),
                Limit::Attempt => attempt.set_cancel_reason(&reason),
            }
        }
        // Cancels a request in flight on the wire. An unsent request is never sent after this.
        drop(request);
        let outcome = ended.unwrap_or_else(|_| {
            let sent = attempt.sent_at().is_some();
            let message = if sent { format!("no answer within {since}") } else { format!("could not be sent within {since}") };
            failed(Failure { may_have_run: sent, ..Failure::new(FailureKind::Timeout, message) }.hint(TIMEOUT_HINT))
        });
        let took = started.elapsed();
        let verdict = route.treatment.policy.record.verdict(&outcome);
        // The server may quote our secrets.
        let outcome = match outcome {
            Outcome::Failed { failure } => failed(Arc::unwrap_or_clone(failure).redacted(&self.shared.bus.secrets().redactor()).bounded()),
            answered => answered,
        };
        let end = AttemptEnd::of(&outcome);
        let how = end.to_string();
        // An interim result says nothing about how long the tool takes.
        let responded = matches!(end, AttemptEnd::Ok | AttemptEnd::ToolError);
        let interim = matches!(end, AttemptEnd::Interim { .. });
        context.publish_event(CallEvent::Ended { attempt: number, end, verdict, took });
        if verdict == Verdict::Success && !interim {
            server.guard.observe(took);
        }
        if let Some(tool) = route.tool().filter(|_| responded) {
            server.guard.observe_tool(tool, took);
        }
        breaker.record(verdict, took, &how);
        match outcome {
            Outcome::Failed { failure } => {
                if reached_server(&failure) {
                    context.with_timestamps(|s| s.failed_servers.push(id.clone()));
                }
                *lost_session = lost(&failure).then_some(session);
                TryResult::Failed { failure: Arc::unwrap_or_clone(failure), attempt: true }
            }
            answered => TryResult::Answered(answered),
        }
    }

    /// Waits until the server is connected. A call that can be answered otherwise waits only for a share of its time, and not for
    /// a server that failed to connect.
    async fn connected(&self, route: &RoutedCall, server: &ServerHandle, context: &CallContext) -> Result<Arc<dyn Session>, Failure> {
        let waits = matches!(&*server.readiness.borrow(), Readiness::Idle | Readiness::Pending(_));
        if waits {
            context.publish_event(CallEvent::Waiting { on: Wait::Ready, server: server.spec.id.clone() });
        }
        if !route.treatment.has_alternative() {
            return ready(server, Patience::Reconnects).await;
        }
        let max_wait = context.limit / FALLBACK_SHARE;
        timeout(max_wait, ready(server, Patience::FirstFailure)).await.unwrap_or_else(|_| {
            let message = format!("{} was not connected within {}", server.spec.id, short(max_wait));
            Err(Failure::new(FailureKind::NotReady, message).hint("run `switchboard doctor` to see the cause"))
        })
    }

    /// Acquires a permit of the server, and one of the tool if a rule limits the tool.
    async fn acquire_permits(
        &self,
        route: &RoutedCall,
        server: &ServerHandle,
        context: &CallContext,
    ) -> Result<(Option<Permit>, Permit), Failure> {
        let id = &server.spec.id;
        let on_wait = |on| context.publish_event(CallEvent::Waiting { on, server: id.clone() });
        let own = &route.treatment.policy;
        let general = server.guard.policy();
        let differs = (&own.concurrency, &own.rate_limit) != (&general.concurrency, &general.rate_limit);
        let tool_permit = match route.tool().filter(|_| differs) {
            Some(tool) => Some(
                server
                    .guard
                    .tool_limiter(tool, &route.treatment.policy)
                    .acquire(on_wait)
                    .await
                    .map_err(|rejected| overloaded(&route.exposed, rejected))?,
            ),
            None => None,
        };
        let server_permit = server.guard.limiter.acquire(on_wait).await.map_err(|rejected| overloaded(id.as_str(), rejected))?;
        Ok((tool_permit, server_permit))
    }

    /// Runs a health check before a call that is the probe of a half-open breaker.
    async fn probe(
        &self,
        permit: BreakerPermit,
        route: &RoutedCall,
        server: &ServerHandle,
        session: &Arc<dyn Session>,
        context: &CallContext,
    ) -> Result<BreakerPermit, Failure> {
        if !permit.probe || route.treatment.policy.breaker.probe != Probe::Ping {
            return Ok(permit);
        }
        context.publish_event(CallEvent::Probing { server: server.spec.id.clone() });
        let started = Instant::now();
        let checked = tokio::select! {
            checked = timeout(PROBE_TIMEOUT, session.check()) => checked,
            () = context.expired() => return Err(Failure::new(FailureKind::Timeout, "the deadline passed before the probe was answered")),
        };
        let why = match checked {
            Ok(Ok(())) => return Ok(permit),
            // A server that answers 401 or 429 is up. Its response to the call itself says more.
            Ok(Err(failure)) if route.treatment.policy.record.verdict(&failed(failure.clone())) != Verdict::Failure => return Ok(permit),
            Ok(Err(failure)) => failure.redacted(&self.shared.bus.secrets().redactor()).message,
            Err(_) => format!("no answer within {}", short(PROBE_TIMEOUT)),
        };
        permit.record(Verdict::Failure, started.elapsed(), &why);
        let refusal = server.guard.refuses(None).map(|failure| failure.message).unwrap_or_default();
        let message = format!("the probe of {} failed: {why}", server.spec.id);
        Err(Failure { causes: vec![refusal], ..Failure::new(FailureKind::BreakerOpen, message) }
            .hint("nothing was sent: the server is still unhealthy"))
    }

    /// Fault injection: runs the exchange with the injected fault of the server or tool, if there is one.
    async fn inject_fault(
        &self,
        operation: &Operation,
        repeatable: bool,
        server: &ServerHandle,
        session: &Arc<dyn Session>,
        attempt: &Arc<AttemptContext>,
    ) -> Outcome {
        let tool = match operation {
            Operation::Tool { tool, .. } => Some(&tool.name),
            _ => None,
        };
        let Some(fault) = server.guard.fault(tool) else { return self.exchange(operation, repeatable, server, session, attempt).await };
        let faults = fault::draw_faults(&fault, &mut || self.shared.random());
        if let Some(what) = faults.words() {
            attempt.call.publish_event(CallEvent::Injected { what });
        }
        if !faults.latency.is_zero() {
            sleep(faults.latency).await;
        }
        match faults.kind {
            InjectedFault::None => self.exchange(operation, repeatable, server, session, attempt).await,
            InjectedFault::Fail => {
                let rpc = RpcError { code: -32603, message: "injected by Switchboard".into(), data: None };
                failed(
                    Failure { rpc: Some(rpc), ..Failure::new(FailureKind::Protocol, "failed on purpose: a fault is injected") }
                        .hint("stop the fault injection in the console or omit --inject"),
                )
            }
            InjectedFault::Drop => {
                let _dropped = self.exchange(operation, repeatable, server, session, attempt).await;
                std::future::pending().await
            }
            InjectedFault::Cut => {
                // The request is sent before the connection is cut.
                let cut = async {
                    attempt.until_sent().await;
                    // In the background: an orderly close could still deliver the response.
                    let session = session.clone();
                    tokio::spawn(async move { session.close().await });
                };
                tokio::select! {
                    outcome = self.exchange(operation, repeatable, server, session, attempt) => outcome,
                    () = cut => failed(Failure::after_send(FailureKind::Transport, "the connection was cut on purpose")),
                }
            }
            InjectedFault::Corrupt => match self.exchange(operation, repeatable, server, session, attempt).await {
                Outcome::Ok { result } | Outcome::ToolError { result } => {
                    self.state.damaged.store(true, Ordering::Relaxed);
                    let damaged = fault::corrupt(result.bytes(), &mut || self.shared.random());
                    match serde_json::from_slice::<serde::de::IgnoredAny>(&damaged) {
                        Ok(_) => Outcome::Ok { result: Body::new(damaged) },
                        Err(error) => {
                            let message = format!("the response, damaged on purpose, is not valid JSON: {error}");
                            failed(Failure::after_send(FailureKind::Protocol, message))
                        }
                    }
                }
                outcome => outcome,
            },
        }
    }
}

/// Which time limit ended an attempt.
#[derive(PartialEq)]
enum Limit {
    Call,
    Attempt,
}

/// Returns the final failure of a call that was tried on these servers: of a group, it names the group and what each member
/// said. Kind and details are those of the first failure that may have run, else of the last.
fn of_group(route: &RoutedCall, mut failures: Vec<(ServerId, Failure)>) -> Failure {
    let Some((server, last)) = failures.pop() else { return Failure::new(FailureKind::NotReady, "no server was tried") };
    let passed_over = route.decision.iter().flat_map(|decision| &decision.passed_over);
    let mut members: Vec<(String, String)> = passed_over.map(|(server, why)| (server.to_string(), why.clone())).collect();
    let Some(group) = route.decision.as_ref().and_then(|decision| decision.group.clone()) else { return last };
    // The arguments or the tool are at fault, whichever member gets the call.
    let by_call = matches!(last.kind, FailureKind::InvalidArguments | FailureKind::UnknownTool);
    if by_call || (failures.is_empty() && members.is_empty()) {
        return last;
    }
    failures.push((server, last));
    let mut causes = vec![];
    for (server, failure) in &failures {
        members.retain(|(name, _)| *name != server.as_str());
        members.push((server.to_string(), format!("{}: {}", failure.kind.words(), failure.message)));
        causes.extend(failure.causes.iter().map(|cause| format!("{server}: {cause}")));
    }
    let may_have_run = failures.iter().any(|(_, failure)| failure.may_have_run);
    let at = failures.iter().position(|(_, failure)| failure.may_have_run).unwrap_or(failures.len() - 1);
    let (_, details) = failures.swap_remove(at);
    let members: Vec<String> = members.iter().map(|(server, why)| format!("{server}: {why}")).collect();
    let message = format!("no member of the group {group} answered: {}", members.join("; "));
    Failure { message, causes, may_have_run, ..details }
}

/// Returns the failure of a call that was sent and not answered.
pub(super) fn unanswered() -> Failure {
    Failure::after_send(FailureKind::Timeout, "")
}

/// Waits until the supervisor notices a lost connection. Returns whether it did within [`LOSS_NOTICE`].
async fn replaced(server: &ServerHandle, lost: &Arc<dyn Session>) -> bool {
    let mut readiness = server.readiness.clone();
    let other = readiness.wait_for(|now| !matches!(now, Readiness::Ready(session) if Arc::ptr_eq(session, lost)));
    timeout(LOSS_NOTICE, other).await.is_ok()
}

fn connected_now(server: &ServerHandle, session: &Arc<dyn Session>) -> bool {
    matches!(&*server.readiness.borrow(), Readiness::Ready(now) if Arc::ptr_eq(now, session))
}

/// Returns whether a request failed because the connection was lost before any of it reached the server.
fn lost(failure: &Failure) -> bool {
    let lost = matches!(failure.kind, FailureKind::Transport | FailureKind::Exited);
    lost && !failure.may_have_run && failure.status.is_none() && failure.rpc.is_none()
}

/// Returns whether the request may have reached the server and caused work.
fn reached_server(failure: &Failure) -> bool {
    failure.may_have_run || failure.status.is_some() || failure.rpc.is_some()
}

fn overloaded(target: &str, rejected: Rejected) -> Failure {
    let message = match rejected {
        Rejected::Queue { waiting, in_flight } => {
            format!("{target} has {in_flight} calls in flight and {waiting} in its queue, which is full")
        }
        Rejected::Wait { on: Wait::Rate } => format!("the rate limit of {target} is reached and the wait would be too long"),
        Rejected::Wait { .. } => format!("no call in flight at {target} ended in time"),
    };
    Failure::new(FailureKind::Overloaded, message)
        .hint("nothing was sent: raise concurrency.in_flight, concurrency.queue, concurrency.wait or rate_limit.per_second")
}

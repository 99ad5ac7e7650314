//! The life of one call, top to bottom.
//!
//! queued → the server is ready → arguments fit → rounds { sent → answered } → settled, all under one
//! deadline and one cancel. Whatever happens, exactly one `CallSettled` is published.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    bus::Bus,
    checkers::Checkers,
    inbox::Inbox,
    ports::{Flow, Reply, Request, Session},
    shape::Shape,
    supervisor::{Readiness, Supervised},
    task,
};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    call::{CallSpec, Failure, FailureKind, Operation, Outcome, Progress, Timings},
    event::{EventKind, Settled},
    id::CallId,
    secret::Redactor,
    time::{Stamp, short},
};

/// Rounds of `input_required` that one call may take (MCP 2026-07-28 leaves the number open).
const ROUNDS: u32 = 10;

/// A call under way.
pub struct Dispatch {
    /// Its id.
    pub id: CallId,
    /// What was asked.
    pub spec: Arc<CallSpec>,
    /// When it was asked.
    pub queued: Stamp,
    /// The server, if there is one of that name.
    pub server: Option<Supervised>,
    /// Cancelled with a reason by the one who asked.
    pub cancel: Arc<Cancel>,
    /// Where events go.
    pub bus: Arc<Bus>,
    /// Where questions go.
    pub inbox: Arc<Inbox>,
    /// The compiled schemas.
    pub checkers: Arc<Checkers>,
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
    /// Runs the call to its end, publishes it and gives it.
    pub async fn run(self) -> Arc<Settled> {
        let stations = Arc::new(Mutex::new(Stations::default()));
        // A fault of ours ends this call and nothing else.
        let settled = AssertUnwindSafe(self.settle(&stations)).catch_unwind().await;
        let mut stations = stations.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = |_| failed(Failure { may_have_run: stations.sent.is_some(), ..broken() });
        let outcome = self.redacted(settled.unwrap_or_else(broken));
        let timings = Timings {
            queued: self.queued,
            sent: stations.sent,
            first_byte: stations.first_byte,
            last_byte: stations.last_byte,
            settled: self.bus.now(),
        };
        let settled = Settled {
            outcome,
            timings,
            rounds: stations.rounds.max(1),
            sent_bytes: stations.sent_bytes,
            received_bytes: stations.received_bytes,
            attempts: u32::from(stations.sent.is_some()),
            by: None,
            cached: None,
        };
        // Published under the lock, so that nothing of this call can follow.
        stations.over = true;
        let settled = Arc::new(settled);
        self.bus.publish_at(timings.settled, EventKind::CallSettled { call: self.id, settled: settled.clone() });
        drop(stations);
        self.inbox.withdraw(self.id);
        settled
    }

    /// The outcome with what a failure quotes of our secrets masked. Results stay as they came.
    fn redacted(&self, outcome: Outcome) -> Outcome {
        match (outcome, &self.server) {
            (Outcome::Failed { failure }, Some(server)) => {
                failed(Arc::unwrap_or_clone(failure).redacted(&Redactor::new(server.spec.secrets())))
            }
            (outcome, _) => outcome,
        }
    }

    async fn settle(&self, stations: &Arc<Mutex<Stations>>) -> Outcome {
        let Some(server) = &self.server else {
            return failed(
                Failure::new(FailureKind::UnknownServer, format!("there is no server {:?}", self.spec.operation.server().as_str()))
                    .hint("see the configured servers with `switchboard servers`"),
            );
        };
        let timeouts = server.spec.timeouts;
        let limit = self.spec.timeout.unwrap_or(timeouts.call);
        let begun = Instant::now();
        let last = begun + timeouts.call_max.max(limit);
        let (moved, deadline) = watch::channel(begun + limit);
        let flow = Arc::new(CallFlow {
            id: self.id,
            bus: self.bus.clone(),
            stations: stations.clone(),
            limit,
            last,
            deadline: moved,
            reason: Mutex::new(String::new()),
        });
        // Out here, so that it is dropped, and with it cancelled on the wire, after the reason is known.
        let mut attempt = Box::pin(self.attempt(server, &flow));
        tokio::select! {
            biased;
            outcome = &mut attempt => outcome,
            () = self.cancel.token.cancelled() => {
                flow.give_up(&self.cancel.reason());
                Outcome::Cancelled { reason: self.cancel.reason() }
            }
            () = passed(deadline) => {
                let took = short(begun.elapsed());
                flow.give_up(&format!("no answer within {took}"));
                // What was not sent by now never is.
                drop(attempt);
                let sent = stations.lock().unwrap_or_else(PoisonError::into_inner).sent.is_some();
                let message = if sent { format!("no answer within {took}") } else { format!("could not be sent within {took}") };
                failed(Failure { may_have_run: sent, ..Failure::new(FailureKind::Timeout, message) }.hint("raise timeouts.call of this server, or give the call a timeout of its own"))
            }
        }
    }

    /// Waits for the server, checks the arguments, sends, answers questions, until there is an answer.
    async fn attempt(&self, server: &Supervised, flow: &Arc<CallFlow>) -> Outcome {
        let mut session = match ready(server, None).await {
            Ok(session) => session,
            Err(failure) => return failed(failure),
        };
        if let Err(failure) = self.check_arguments() {
            return failed(failure);
        }
        let mut extra = if self.wants_task() { task::AUGMENTATION.to_owned() } else { String::new() };
        for round in 1..=ROUNDS {
            flow.round(round);
            let request = Request {
                method: self.spec.operation.method().to_owned(),
                params: params(&self.spec.operation, &extra),
                call: Some(self.id),
            };
            let mut answer = session.request(request.clone(), flow.clone()).await;
            if answer.as_ref().is_err_and(never_left) {
                // The connection was lost before a byte of this call was sent: the next one may have it.
                session = match ready(server, Some(&session)).await {
                    Ok(session) => session,
                    Err(failure) => return failed(failure),
                };
                answer = session.request(request, flow.clone()).await;
            }
            let reply = match answer {
                Ok(reply) => reply,
                Err(failure) if round == 1 => match self.open_pages(server, &failure).await {
                    true => continue,
                    false => return failed(failure),
                },
                Err(failure) => return failed(failure),
            };
            flow.answered(&reply);
            match Shape::of(&reply.result) {
                Shape::Answer { .. } => return outcome_of(reply.result),
                Shape::NeedsInput { requests, state } => match self.answer_all(server, requests, state).await {
                    Ok(more) => extra = more,
                    Err(failure) => return failed(failure),
                },
                Shape::Task { id, poll } => match task::result(&session, self.id, &id, poll, flow).await {
                    Ok(reply) => {
                        flow.answered(&reply);
                        return outcome_of(reply.result);
                    }
                    Err(failure) => return failed(failure),
                },
            }
        }
        failed(Failure::after_send(FailureKind::Protocol, format!("the server asked for input more than {ROUNDS} times in a row")))
    }

    /// Whether the tool can only be called as a task (MCP 2025-11-25, `execution.taskSupport`).
    fn wants_task(&self) -> bool {
        let Operation::Tool { tool, .. } = &self.spec.operation else { return false };
        let listed = self.bus.look(|world| world.tool(tool).cloned());
        listed.and_then(|tool| tool.raw.value()).is_some_and(|raw| raw["execution"]["taskSupport"] == "required")
    }

    /// Has the user open the pages that the server wants opened before it does anything
    /// (MCP 2025-11-25, error -32042). Says whether the call may be sent again.
    async fn open_pages(&self, server: &Supervised, failure: &Failure) -> bool {
        let Some(rpc) = failure.rpc.as_ref().filter(|rpc| rpc.code == -32042) else { return false };
        let data = rpc.data.as_ref().and_then(Body::value).unwrap_or_default();
        let pages = data["elicitations"].as_array().cloned().unwrap_or_default();
        for page in &pages {
            let Some(question) = Question::from_request("elicitation/create", &Body::json(page)) else { return false };
            if !matches!(self.inbox.ask(&server.spec, question, Some(self.id)).await, Answer::Accept { .. }) {
                return false;
            }
        }
        !pages.is_empty()
    }

    /// Answers the questions of an `input_required` result; gives the members that the next round adds.
    async fn answer_all(
        &self,
        server: &Supervised,
        requests: Vec<(String, String, Body)>,
        state: Option<String>,
    ) -> Result<String, Failure> {
        let asked = requests.into_iter().map(|(key, method, params)| async move {
            let Some(question) = Question::from_request(&method, &params) else {
                return Err(Failure::after_send(
                    FailureKind::Protocol,
                    format!("the server asks for {method}, which is no question that we know"),
                ));
            };
            let answer = self.inbox.ask(&server.spec, question.clone(), Some(self.id)).await;
            match answer.to_result(&question) {
                Ok(result) => Ok((key, result)),
                Err((_, message)) if matches!(answer, Answer::Decline | Answer::Cancel) => {
                    Err(Failure::after_send(FailureKind::Refused, message))
                }
                Err((_, message)) => Err(Failure::after_send(FailureKind::Protocol, message)),
            }
        });
        let answers: serde_json::Map<String, Value> = futures_util::future::try_join_all(asked).await?.into_iter().collect();
        let mut extra = format!(",\"inputResponses\":{}", Value::Object(answers));
        if let Some(state) = state {
            extra.push_str(&format!(",\"requestState\":{}", Value::from(state)));
        }
        Ok(extra)
    }

    /// Refuses arguments that the tool's schema does not allow: the answer would be an error anyway,
    /// and a worse one.
    fn check_arguments(&self) -> Result<(), Failure> {
        let Operation::Tool { tool, arguments } = &self.spec.operation else { return Ok(()) };
        let (known, listed) = self.bus.look(|world| {
            let listed = world.server(&tool.server).is_some_and(|s| s.catalog.revision > 0);
            (world.tool(tool).cloned(), listed)
        });
        let Some(known) = known else {
            // A server whose lists could not be read may still have the tool.
            let what = format!("{} offers no tool {:?}", tool.server, tool.name);
            return if listed {
                Err(Failure::new(FailureKind::UnknownTool, what).hint("see its tools with `switchboard tools`"))
            } else {
                Ok(())
            };
        };
        let value: Value = if arguments.is_empty() {
            Value::Object(Default::default())
        } else {
            arguments.parse().map_err(|e| Failure::new(FailureKind::InvalidArguments, format!("the arguments are no JSON: {e}")))?
        };
        if !value.is_object() {
            return Err(Failure::new(FailureKind::InvalidArguments, "the arguments are no JSON object"));
        }
        let wrong = self.checkers.of(tool, &known).check(&value);
        if wrong.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let mut failure = Failure::new(FailureKind::InvalidArguments, list[0].clone());
        failure.causes = list[1..].to_vec();
        Err(failure.hint("nothing was sent; correct the arguments"))
    }
}

fn outcome_of(result: Body) -> Outcome {
    match Shape::of(&result) {
        Shape::Answer { error: true } => Outcome::ToolError { result },
        _ => Outcome::Ok { result },
    }
}

fn broken() -> Failure {
    Failure::new(FailureKind::Transport, "this call broke down within Switchboard")
        .hint("please report this with what was written to stderr")
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure: Arc::new(failure) }
}

/// Whether a request failed for want of a connection, so that the server cannot have seen any of it.
fn never_left(failure: &Failure) -> bool {
    let lost = matches!(failure.kind, FailureKind::Transport | FailureKind::Exited);
    lost && !failure.may_have_run && failure.status.is_none() && failure.rpc.is_none()
}

/// Waits until the server can be used over a session other than `stale`, or until it is clear that it
/// cannot.
async fn ready(server: &Supervised, stale: Option<&Arc<dyn Session>>) -> Result<Arc<dyn Session>, Failure> {
    let mut readiness = server.readiness.clone();
    loop {
        match &*readiness.borrow_and_update() {
            Readiness::Ready(session) if stale.is_none_or(|stale| !Arc::ptr_eq(stale, session)) => return Ok(session.clone()),
            Readiness::Down(why) => {
                let id = &server.spec.id;
                let mut failure = match why {
                    Some(why) => Failure::new(FailureKind::NotReady, format!("{id} is not connected: {}", why.summary)),
                    None => Failure::new(FailureKind::NotReady, format!("{id} is disabled")),
                };
                if let Some(why) = why {
                    failure.causes = why.causes.clone();
                    failure.exit = why.exit;
                    failure.stderr = why.stderr.clone();
                }
                return Err(failure.hint(format!("`switchboard doctor` says more; restart {id} when the cause is mended")));
            }
            Readiness::Pending | Readiness::Ready(_) => {}
        }
        if readiness.changed().await.is_err() {
            return Err(Failure::new(FailureKind::NotReady, "the server was removed"));
        }
    }
}

/// Resolves when the deadline has passed, wherever it was moved meanwhile.
async fn passed(mut deadline: watch::Receiver<Instant>) {
    loop {
        let until = *deadline.borrow_and_update();
        match timeout_at(until, deadline.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                sleep_until(until).await;
                return;
            }
            Err(_) => return,
        }
    }
}

/// `params` of an operation; `extra` holds further members, each with its comma before it.
fn params(operation: &Operation, extra: &str) -> Body {
    let text = |value: &str| Value::from(value).to_string();
    let object = |arguments: &Body| if arguments.is_empty() { "{}".to_owned() } else { arguments.text().into_owned() };
    Body::from(match operation {
        Operation::Tool { tool, arguments } => format!("{{\"name\":{},\"arguments\":{}{extra}}}", text(&tool.name), object(arguments)),
        Operation::Resource { uri, .. } => format!("{{\"uri\":{}{extra}}}", text(uri)),
        Operation::Prompt { name, arguments, .. } => format!("{{\"name\":{},\"arguments\":{}{extra}}}", text(name), object(arguments)),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => return params.clone(),
    })
}

#[derive(Clone, Debug, Default)]
struct Stations {
    sent: Option<Stamp>,
    first_byte: Option<Stamp>,
    last_byte: Option<Stamp>,
    rounds: u32,
    sent_bytes: u64,
    received_bytes: u64,
    /// The call is settled; what still comes of it is not told any more.
    over: bool,
}

/// What the session tells of the call, made into events, stations and a moved deadline.
struct CallFlow {
    id: CallId,
    bus: Arc<Bus>,
    stations: Arc<Mutex<Stations>>,
    limit: Duration,
    last: Instant,
    deadline: watch::Sender<Instant>,
    reason: Mutex<String>,
}

impl CallFlow {
    fn with<T>(&self, change: impl FnOnce(&mut Stations) -> T) -> T {
        change(&mut self.stations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn round(&self, round: u32) {
        self.with(|s| s.rounds = round);
    }

    fn answered(&self, reply: &Reply) {
        self.with(|s| {
            s.first_byte = Some(reply.first_byte);
            s.last_byte = Some(reply.last_byte);
            s.received_bytes = reply.received_bytes;
        });
    }

    fn give_up(&self, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_owned();
    }
}

impl Flow for CallFlow {
    fn sent(&self, at: Stamp, bytes: u64) {
        self.with(|s| {
            if !s.over {
                s.sent.get_or_insert(at);
                s.sent_bytes = bytes;
                self.bus.publish_at(at, EventKind::CallSent { call: self.id, round: s.rounds });
            }
        });
    }

    fn progress(&self, progress: Progress) {
        self.deadline.send_replace((Instant::now() + self.limit).min(self.last));
        self.with(|s| {
            if !s.over {
                self.bus.publish(EventKind::CallProgress { call: self.id, progress });
            }
        });
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The flow of a request that nobody watches.
pub struct Unwatched;

impl Flow for Unwatched {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: Progress) {}
    fn reason(&self) -> String {
        "no longer needed".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ServerId, ToolId};

    #[test]
    fn arguments_are_sent_as_written() {
        let operation = Operation::Tool { tool: ToolId::new(ServerId::new("s"), "a\"b"), arguments: Body::from(r#"{"n": 1.50}"#) };
        assert_eq!(params(&operation, ",\"requestState\":\"x\"").text(), r#"{"name":"a\"b","arguments":{"n": 1.50},"requestState":"x"}"#);
    }
}

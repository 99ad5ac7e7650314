//! One attempt: sends the request and runs rounds of server questions until the final result.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Dispatch, context::AttemptContext, failed};
use crate::{
    domain::{
        ask::{Answer, NotAQuestion, Question},
        body::Body,
        bounds,
        call::{Failure, FailureKind, InterimKind, Operation, Outcome, RpcError},
        capabilities::{self, ClientCapabilities, TASKS, Undeclared},
        directory::Directory,
        event::{EventKind, NoticeLevel},
        frame::{Anomaly, AnomalyKind},
        id::Attribution,
        raw_object::RawObject,
        server::{Era, ServerSpec, SessionInfo},
        trace,
    },
    engine::{
        checkers::Unchecked,
        passage::PreparedPassage,
        ports::{ProgressRequest, Request, Session},
        result_kind::{Oddity, ResultKind},
        shared::Recording,
        supervisor::{Readiness, ServerHandle, not_connected},
        task,
    },
};

/// Maximum `input_required` rounds of one call (MCP 2026-07-28 sets no limit).
const ROUNDS: u32 = 10;
/// The pause before the second of the rounds in which a server asks nothing; doubled for each further one.
const STATE_PAUSE: Duration = Duration::from_millis(100);

/// Returns whether an operation may be answered with a task in the modern era (SEP-2663, "Supported Methods").
fn may_be_task(operation: &Operation, declared: &ClientCapabilities) -> bool {
    matches!(operation, Operation::Tool { .. }) && declared.declares_member("extensions", TASKS)
}

/// What a result is to a call that its client continues itself.
fn interim(passage: &PreparedPassage, kind: &ResultKind) -> Option<InterimKind> {
    match kind {
        ResultKind::NeedsInput { requests, state: None } if requests.is_empty() => None,
        ResultKind::NeedsInput { .. } => passage.relays().then_some(InterimKind::InputRequired),
        ResultKind::Task { .. } => passage.relays_tasks().then_some(InterimKind::Task),
        ResultKind::Final { .. } | ResultKind::Unknown { .. } => None,
    }
}

impl Dispatch {
    /// Sends the request and answers the server's questions until the final result. Has no deadline: dropping the future
    /// cancels the request. `repeatable`: the policy allows sending the request again after it may have run.
    pub(super) async fn exchange(
        &self,
        operation: &Operation,
        repeatable: bool,
        server: &ServerHandle,
        session: &Arc<dyn Session>,
        context: &Arc<AttemptContext>,
    ) -> Outcome {
        if let Err(held) = self.check_pin(operation, server).await {
            return failed(held);
        }
        let info = session.info();
        let passage = self.passage.as_deref();
        let mut extra = passage.map_or_else(RawObject::default, |passage| passage.extra().clone());
        if info.takes_tasks() && self.wants_task(operation) && !passage.is_some_and(PreparedPassage::requests_task) {
            extra.set(task::AUGMENTATION.0, Body::from(task::AUGMENTATION.1));
        }
        // Rounds in which the server asked nothing.
        let mut unasked = 0;
        for round in 1..=ROUNDS {
            context.begin_round(round);
            let request = self.traced(self.request(operation, &extra, repeatable), context.number);
            let reply = match session.request(request, context.clone()).await {
                Ok(reply) => reply,
                // A client opens pages itself.
                Err(failure) if round == 1 && info.has_tasks() && passage.is_none() => {
                    match self.open_pages(&server.spec, &failure).await {
                        true => continue,
                        false => return failed(failure),
                    }
                }
                // An earlier round reached the server, so the call may have run.
                Err(failure) => return failed(Failure { may_have_run: failure.may_have_run || round > 1, ..failure }),
            };
            context.call.record_response(&reply);
            let (kind, oddities) = ResultKind::examine(operation, &reply.result, &info);
            if let Some(kind) = passage.and_then(|passage| interim(passage, &kind)) {
                return Outcome::Interim { result: reply.result, kind };
            }
            // The result of a raw request is passed on as it is: it may have any form, also one that asks for input.
            if matches!(operation, Operation::Raw { .. }) {
                return match kind {
                    ResultKind::Final { error: true } => Outcome::ToolError { result: reply.result },
                    _ => Outcome::Ok { result: reply.result },
                };
            }
            match kind {
                ResultKind::Final { error } => return self.accept_result(server, &info, reply.result, (error, oddities)),
                ResultKind::NeedsInput { requests, state: None } if requests.is_empty() => {
                    let detail = "the server asked for input without a question and without a state";
                    self.bad_result(server, detail.to_owned());
                    return failed(
                        Failure::after_send(FailureKind::Protocol, detail)
                            .hint("report it to the maintainer of the server; the console, and --verbose --jsonl, show its bytes"),
                    );
                }
                ResultKind::NeedsInput { requests, state } => {
                    if requests.is_empty() {
                        // A server that sheds load this way wants a pause (MCP 2026-07-28, basic/patterns/mrtr).
                        tokio::time::sleep(STATE_PAUSE * 2u32.pow(unasked)).await;
                        unasked += 1;
                    }
                    let answers = match self.answer_all(server, &self.declared_to(session), requests).await {
                        Ok(answers) => answers,
                        Err(failure) => return failed(failure),
                    };
                    extra = passage.map_or_else(RawObject::default, PreparedPassage::extra_of_round);
                    if let Some(answers) = answers {
                        extra.set("inputResponses", answers);
                    }
                    if let Some(state) = state {
                        extra.set("requestState", Body::json(&state));
                    }
                }
                ResultKind::Unknown { kind } => return self.refuse_result(server, &kind, &reply.result),
                ResultKind::Task { .. } if info.era == Era::Modern && !may_be_task(operation, &self.declared_to(session)) => {
                    return self.refuse_result(server, "\"task\", which was not declared for this request", &reply.result);
                }
                ResultKind::Task { id, poll } => {
                    let finished = match info.era {
                        Era::Legacy => task::result(session, self.id, &id, poll, context).await,
                        Era::Modern => {
                            let declared = self.declared_to(session);
                            let answer = |requests| self.answer_all(server, &declared, requests);
                            task::poll(session, self.id, &id, poll, context, answer).await
                        }
                    };
                    return match finished {
                        Ok(reply) => {
                            context.call.record_response(&reply);
                            let (kind, oddities) = ResultKind::examine(operation, &reply.result, &info);
                            let error = kind == ResultKind::Final { error: true };
                            self.accept_result(server, &info, reply.result, (error, oddities))
                        }
                        // The task has started, even if the request for its result failed.
                        Err(failure) => failed(Failure { may_have_run: true, ..failure }),
                    };
                }
            }
        }
        failed(Failure::after_send(FailureKind::Protocol, format!("the server asked for input more than {ROUNDS} times in a row")))
    }

    /// Returns the capabilities that the server of a session sees in this call.
    fn declared_to(&self, session: &Arc<dyn Session>) -> Arc<ClientCapabilities> {
        match &self.passage {
            Some(passage) if session.info().era == Era::Modern => passage.capabilities().clone(),
            _ => session.capabilities(),
        }
    }

    /// Returns the request of an operation; `extra` holds further members of `params`.
    fn request(&self, operation: &Operation, extra: &RawObject, repeatable: bool) -> Request {
        let request = Request {
            method: operation.method().to_owned(),
            params: params(operation, extra),
            meta: self.spec.meta.clone(),
            call: Some(self.id),
            repeatable,
            ..Request::default()
        };
        let Some(passage) = &self.passage else { return request };
        Request {
            meta: if passage.meta().is_empty() { request.meta } else { passage.meta().clone() },
            face: Some(passage.face().clone()),
            principal: passage.principal().clone(),
            progress: if passage.wants_progress() { ProgressRequest::Asked } else { ProgressRequest::Omitted },
            ..request
        }
    }

    /// Adds the trace context to `_meta`, with the caller's `tracestate`. What the caller sent stays unchanged without an export.
    fn traced(&self, request: Request, attempt: u32) -> Request {
        let Recording { instance, propagation, .. } = &self.shared.recording;
        let given = trace::parent_in(&request.meta);
        if given.is_some() && propagation.sampler.is_none() {
            return request;
        }
        let Some(context) = propagation.context(*instance, self.id, &self.spec, attempt) else { return request };
        let mut meta = RawObject::parse(&request.meta).unwrap_or_default();
        if given.is_none() {
            // `tracestate` of a context that cannot be read belongs to no trace (W3C Trace Context, section 4.3).
            meta = meta.without(trace::TRACESTATE);
            if let Some(state) = &self.spec.trace_state {
                meta.set(trace::TRACESTATE, Body::json(state));
            }
        }
        let meta = meta.with(trace::TRACEPARENT, Body::json(&context.to_string())).to_body();
        Request { meta, ..request }
    }

    /// Accepts a final result, with `isError` and its deviations from the protocol, which are reported. A result that says nothing about the outcome is a
    /// failure.
    fn accept_result(&self, server: &ServerHandle, info: &SessionInfo, result: Body, (error, oddities): (bool, Vec<Oddity>)) -> Outcome {
        for oddity in &oddities {
            self.bad_result(server, oddity.words(&info.protocol));
        }
        if let Some(unusable) = Oddity::unusable(&oddities) {
            let failure = Failure::after_send(FailureKind::Protocol, unusable.words(&info.protocol));
            return failed(failure.hint("report it to the maintainer of the server; the console, and --verbose --jsonl, show its bytes"));
        }
        if error { Outcome::ToolError { result } } else { Outcome::Ok { result } }
    }

    /// Fails a call whose result has a type that is unknown here. The beginning of the result is a cause, to be looked at.
    fn refuse_result(&self, server: &ServerHandle, kind: &str, result: &Body) -> Outcome {
        let detail = format!("the result has the type {kind}");
        self.bad_result(server, detail.clone());
        let mut failure = Failure::after_send(FailureKind::Protocol, format!("{detail}: it is unknown here and not used"));
        failure.causes.push(format!("result: {}", result.front(bounds::LINE).text()));
        failed(
            failure
                .hint("report this to the maintainer of the server: it may use only the types of the protocol and of declared extensions"),
        )
    }

    /// Publishes an anomaly of the server that belongs to this call.
    fn bad_result(&self, server: &ServerHandle, detail: String) {
        let anomaly = Anomaly { kind: AnomalyKind::BadResult, detail, call: Some(self.id), frame: None };
        self.shared.bus.publish(EventKind::ServerAnomaly { server: server.spec.id.clone(), anomaly: Arc::new(anomaly) });
    }

    /// Returns whether the tool can only be called as a task (MCP 2025-11-25, `execution.taskSupport`).
    fn wants_task(&self, operation: &Operation) -> bool {
        let Operation::Tool { tool, .. } = operation else { return false };
        self.shared.registry.read().tool(tool).is_some_and(|tool| tool.task_only)
    }

    /// Asks the user to open the pages that the server requires before the call (MCP 2025-11-25, error -32042). Returns whether
    /// the call may be sent again.
    async fn open_pages(&self, server: &ServerSpec, failure: &Failure) -> bool {
        let Some(rpc) = failure.rpc.as_ref().filter(|rpc| rpc.code == -32042) else { return false };
        let data = rpc.data.as_ref().and_then(Body::value).unwrap_or_default();
        let pages = data["elicitations"].as_array().cloned().unwrap_or_default();
        for page in &pages {
            let Ok(question) = Question::from_request("elicitation/create", &Body::json(page)) else { return false };
            if !matches!(self.shared.inbox.ask(server, question, Attribution::Stream(self.id)).await, Answer::Accept { .. }) {
                return false;
            }
        }
        !pages.is_empty()
    }

    /// Answers the questions of a server that waits for input. Returns `inputResponses`, a JSON object, or `None` without a
    /// question.
    async fn answer_all(
        &self,
        server: &ServerHandle,
        declared: &Arc<ClientCapabilities>,
        requests: Vec<(String, String, Body)>,
    ) -> Result<Option<Body>, Failure> {
        if requests.is_empty() {
            return Ok(None);
        }
        let pending = requests.into_iter().map(|(key, method, params)| async move {
            let unsupported = |what: String| Failure::after_send(FailureKind::Protocol, format!("the server asks for input by {what}"));
            let question = Question::from_request(&method, &params).map_err(|why| match why {
                NotAQuestion::Method => unsupported(format!("{method}, which is not supported")),
                NotAQuestion::Mode(mode) => unsupported(format!("{method} of the mode {mode}, which is not supported")),
            })?;
            match declared.permit(&question) {
                Ok(()) => {}
                Err(Undeclared::Member(member)) => {
                    return Err(unsupported(format!("{method} with {member}, which was not declared")));
                }
                Err(Undeclared::Method) => {
                    let name = method.split('/').next().unwrap_or_default().to_owned();
                    let required = RawObject::default().with(name, Body::from("{}"));
                    let failure =
                        Failure::after_send(FailureKind::Refused, format!("the server asks for input by {method}, which was not declared"));
                    return Err(failure.hint(capabilities::hint(&required)));
                }
            }
            if let Some(passage) = &self.passage {
                let (client, desk) = (passage.client(), passage.desk());
                let asked = self.shared.inbox.ask_client(&server.spec.id, &method, params, Some(self.id), client, desk);
                let refused =
                    |rpc: RpcError| Failure::after_send(FailureKind::Refused, format!("the client refused {method}: {}", rpc.message));
                return asked.await.map(|result| (key, result)).map_err(refused);
            }
            let answer = self.shared.inbox.ask(&server.spec, question.clone(), Attribution::Stream(self.id)).await;
            match answer.to_result(&question) {
                Ok(result) => Ok((key, result)),
                Err(rpc) if matches!(answer, Answer::Decline | Answer::Cancel) => {
                    Err(Failure::after_send(FailureKind::Refused, rpc.message))
                }
                Err(rpc) => Err(Failure::after_send(FailureKind::Protocol, rpc.message)),
            }
        });
        let answers = futures_util::future::try_join_all(pending).await?;
        let object = answers.into_iter().fold(RawObject::default(), |object, (key, result)| object.with(key, result));
        Ok(Some(object.to_body()))
    }

    /// Refuses arguments that violate the tool's schema: the server would report an error anyway, and a less precise one.
    pub(super) async fn check_arguments(&self, operation: &Operation) -> Result<(), Failure> {
        let Operation::Tool { tool, arguments } = operation else { return Ok(()) };
        let registry = self.shared.registry.read();
        let Some(known) = registry.tool(tool) else {
            let listed = registry.entry(&tool.server).is_some_and(|server| server.catalog.revision > 0);
            // A server whose lists could not be read may still have the tool.
            let refused =
                registry.entry(&tool.server).and_then(|server| server.catalog.refused.iter().find(|refused| refused.name == *tool.name));
            if let Some(refused) = refused {
                let message = format!("the tool {:?} of {} is refused: {}", tool.name, tool.server, refused.why);
                return Err(Failure::new(FailureKind::UnknownTool, message).hint("report this to the maintainer of the server"));
            }
            let message = format!("{} offers no tool {:?}", tool.server, tool.name);
            return if listed {
                Err(Failure::new(FailureKind::UnknownTool, message).hint("see its tools with `switchboard tools`"))
            } else {
                Ok(())
            };
        };
        // The last known definition may be out of date.
        if registry.entry(&tool.server).is_some_and(|server| server.catalog.stored_ms.is_some()) {
            return Ok(());
        }
        let value: Value = if arguments.is_empty() {
            Value::Object(Default::default())
        } else {
            arguments.parse().map_err(|e| Failure::new(FailureKind::InvalidArguments, format!("the arguments are not valid JSON: {e}")))?
        };
        if !value.is_object() {
            return Err(Failure::new(FailureKind::InvalidArguments, "the arguments are not a JSON object"));
        }
        if !self.spec.check.is_enforced() {
            return Ok(());
        }
        let violations = match self.shared.checkers.check(tool, known, value).await {
            Ok(violations) => violations,
            Err(Unchecked { first }) => {
                if first {
                    let text = format!("the arguments of {}/{} are sent unchecked: the check takes too long", tool.server, tool.name);
                    self.shared.bus.notice(NoticeLevel::Warn, text);
                }
                return Ok(());
            }
        };
        if violations.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        let mut failure = Failure::new(FailureKind::InvalidArguments, list[0].clone());
        failure.causes = list[1..].to_vec();
        Err(failure.hint("nothing was sent: correct the arguments"))
    }
}

/// How long a call waits for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until the server is not reconnected any more.
    Reconnects,
    /// Until an attempt to connect fails: something else can answer the call.
    FirstFailure,
}

/// Waits until the server is connected, or until it is clear that it cannot connect. Starts a server that was not needed yet.
pub(super) async fn ready(server: &ServerHandle, patience: Patience) -> Result<Arc<dyn Session>, Failure> {
    if let Readiness::Ready(session) = &*server.readiness.borrow() {
        return Ok(session.clone());
    }
    let mut readiness = server.readiness.clone();
    server.start();
    loop {
        match &*readiness.borrow_and_update() {
            Readiness::Ready(session) => return Ok(session.clone()),
            Readiness::Down(why) => return Err(not_connected(&server.spec.id, why.as_deref())),
            Readiness::Pending(Some(why)) if patience == Patience::FirstFailure => return Err(not_connected(&server.spec.id, Some(why))),
            Readiness::Idle | Readiness::Pending(_) => {}
        }
        if readiness.changed().await.is_err() {
            return Err(Failure::new(FailureKind::NotReady, "the server was removed"));
        }
    }
}

/// Returns the `params` of an operation; `extra` holds further members, which never replace those of the operation.
fn params(operation: &Operation, extra: &RawObject) -> Body {
    let object = |arguments: &Body| if arguments.is_empty() { Body::from("{}") } else { arguments.clone() };
    let named = |name: &str, arguments: &Body| RawObject::default().with("name", Body::json(name)).with("arguments", object(arguments));
    let own = match operation {
        Operation::Tool { tool, arguments } => named(&tool.name, arguments),
        Operation::Resource { uri, .. } => RawObject::default().with("uri", Body::json(uri)),
        Operation::Prompt { name, arguments, .. } => named(name, arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => return params.clone(),
    };
    own.or(extra.clone()).to_body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ServerId, ToolId};

    #[test]
    fn arguments_are_sent_as_written() {
        let operation = Operation::Tool { tool: ToolId::new(ServerId::new("s"), "a\"b"), arguments: Body::from(r#"{"n": 1.50}"#) };
        let extra = RawObject::parse(&Body::from(r#"{"requestState":"x","name":"other","vendor":1.0}"#)).unwrap();
        assert_eq!(params(&operation, &extra).text(), r#"{"name":"a\"b","arguments":{"n": 1.50},"requestState":"x","vendor":1.0}"#);
    }
}

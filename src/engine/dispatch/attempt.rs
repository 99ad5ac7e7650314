//! One attempt: sends the request and runs rounds of server questions until the final result.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Dispatch, context::AttemptContext, failed};
use crate::{
    domain::{
        ask::{Answer, NotAQuestion, Question},
        body::Body,
        bounds,
        call::{Failure, FailureKind, Operation, Outcome},
        capabilities::{self, TASKS, Undeclared},
        directory::Directory,
        event::{EventKind, NoticeLevel},
        frame::{Anomaly, AnomalyKind},
        id::ServerId,
        raw_object::RawObject,
        server::{ConnectFailure, Era, ServerSpec, SessionInfo, Step},
    },
    engine::{
        checkers::Unchecked,
        ports::{Request, Session},
        result_kind::{Oddity, ResultKind},
        supervisor::{Readiness, ServerHandle},
        task,
    },
};

/// Maximum `input_required` rounds of one call (MCP 2026-07-28 sets no limit).
const ROUNDS: u32 = 10;
/// The pause before the second of the rounds in which a server asks nothing; doubled for each further one.
const STATE_PAUSE: Duration = Duration::from_millis(100);

/// Returns whether an operation may be answered with a task in the modern era (SEP-2663, "Supported Methods").
fn may_be_task(operation: &Operation, session: &Arc<dyn Session>) -> bool {
    matches!(operation, Operation::Tool { .. }) && session.capabilities().declares_member("extensions", TASKS)
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
        let info = session.info();
        let mut extra = if info.takes_tasks() && self.wants_task(operation) { task::AUGMENTATION.to_owned() } else { String::new() };
        // Rounds in which the server asked nothing.
        let mut unasked = 0;
        for round in 1..=ROUNDS {
            context.begin_round(round);
            let params = params(operation, &extra);
            let meta = self.spec.meta.clone();
            let request = Request { method: operation.method().to_owned(), params, meta, call: Some(self.id), repeatable };
            let reply = match session.request(request, context.clone()).await {
                Ok(reply) => reply,
                Err(failure) if round == 1 && info.has_tasks() => match self.open_pages(&server.spec, &failure).await {
                    true => continue,
                    false => return failed(failure),
                },
                // An earlier round reached the server, so the call may have run.
                Err(failure) => return failed(Failure { may_have_run: failure.may_have_run || round > 1, ..failure }),
            };
            context.call.record_response(&reply);
            // The result of a raw request is passed on as it is: it may have any form, also one that asks for input.
            if matches!(operation, Operation::Raw { .. }) {
                return match ResultKind::classify(&reply.result, &info) {
                    ResultKind::Final { error: true } => Outcome::ToolError { result: reply.result },
                    _ => Outcome::Ok { result: reply.result },
                };
            }
            match ResultKind::classify(&reply.result, &info) {
                ResultKind::Final { .. } => return self.accept_result(operation, server, &info, reply.result),
                ResultKind::NeedsInput { requests, state: None } if requests.is_empty() => {
                    let detail = "the server asked for input without a question and without a state";
                    self.bad_result(server, detail.to_owned());
                    return failed(Failure::after_send(FailureKind::Protocol, detail).hint("inspect the frames of this call"));
                }
                ResultKind::NeedsInput { requests, state } => {
                    if requests.is_empty() {
                        // A server that sheds load this way wants a pause (MCP 2026-07-28, basic/patterns/mrtr).
                        tokio::time::sleep(STATE_PAUSE * 2u32.pow(unasked)).await;
                        unasked += 1;
                    }
                    extra = match self.answer_all(server, session, requests).await {
                        Ok(answers) => answers.map(|answers| format!(",\"inputResponses\":{}", answers.text())).unwrap_or_default(),
                        Err(failure) => return failed(failure),
                    };
                    if let Some(state) = state {
                        extra.push_str(&format!(",\"requestState\":{}", Value::from(state)));
                    }
                }
                ResultKind::Unknown { kind } => return self.refuse_result(server, &kind, &reply.result),
                ResultKind::Task { .. } if info.era == Era::Modern && !may_be_task(operation, session) => {
                    return self.refuse_result(server, "\"task\", which was not declared for this request", &reply.result);
                }
                ResultKind::Task { id, poll } => {
                    let finished = match info.era {
                        Era::Legacy => task::result(session, self.id, &id, poll, context).await,
                        Era::Modern => {
                            let answer = |requests| self.answer_all(server, session, requests);
                            task::poll(session, self.id, &id, poll, context, answer).await
                        }
                    };
                    return match finished {
                        Ok(reply) => {
                            context.call.record_response(&reply);
                            self.accept_result(operation, server, &info, reply.result)
                        }
                        // The task has started, even if the request for its result failed.
                        Err(failure) => failed(Failure { may_have_run: true, ..failure }),
                    };
                }
            }
        }
        failed(Failure::after_send(FailureKind::Protocol, format!("the server asked for input more than {ROUNDS} times in a row")))
    }

    /// Accepts a final result and reports its deviations from the protocol. A result that says nothing about the outcome is a
    /// failure.
    fn accept_result(&self, operation: &Operation, server: &ServerHandle, info: &SessionInfo, result: Body) -> Outcome {
        let oddities = Oddity::find(operation, &result, info);
        for oddity in &oddities {
            self.bad_result(server, oddity.words(&info.protocol));
        }
        if let Some(unusable) = Oddity::unusable(&oddities) {
            let failure = Failure::after_send(FailureKind::Protocol, unusable.words(&info.protocol));
            return failed(failure.hint("inspect the frames of this call for the exact bytes"));
        }
        match ResultKind::classify(&result, info) {
            ResultKind::Final { error: true } => Outcome::ToolError { result },
            _ => Outcome::Ok { result },
        }
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
            if !matches!(self.shared.inbox.ask(server, question, Some(self.id)).await, Answer::Accept { .. }) {
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
        session: &Arc<dyn Session>,
        requests: Vec<(String, String, Body)>,
    ) -> Result<Option<Body>, Failure> {
        if requests.is_empty() {
            return Ok(None);
        }
        let declared = session.capabilities();
        let pending = requests.into_iter().map(|(key, method, params)| {
            let declared = &declared;
            async move {
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
                        let failure = Failure::after_send(
                            FailureKind::Refused,
                            format!("the server asks for input by {method}, which was not declared"),
                        );
                        return Err(failure.hint(capabilities::hint(&required)));
                    }
                }
                let answer = self.shared.inbox.ask(&server.spec, question.clone(), Some(self.id)).await;
                match answer.to_result(&question) {
                    Ok(result) => Ok((key, result)),
                    Err(rpc) if matches!(answer, Answer::Decline | Answer::Cancel) => {
                        Err(Failure::after_send(FailureKind::Refused, rpc.message))
                    }
                    Err(rpc) => Err(Failure::after_send(FailureKind::Protocol, rpc.message)),
                }
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

/// Returns the failure of a call to a server whose configuration has errors: what is wrong, where, and what to do.
fn unusable(id: &ServerId, why: &ConnectFailure) -> Failure {
    let mut failure = Failure::new(FailureKind::NotReady, format!("{id} cannot be used: {}", why.summary));
    failure.causes = why.place.iter().map(|place| format!("it is configured in {place}")).chain(why.causes.iter().cloned()).collect();
    match why.hints.first() {
        Some(hint) => failure.hint(hint.clone()),
        None => failure.hint(format!("correct the configuration of {id}")),
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

/// Returns the failure of a call to a server that is not connected because of `why`; without a reason it is disabled.
fn not_connected(id: &ServerId, why: Option<&ConnectFailure>) -> Failure {
    let mut failure = match why {
        Some(why) if why.step == Step::Configure => return unusable(id, why),
        Some(why) => Failure::new(FailureKind::NotReady, format!("{id} is not connected: {}", why.summary)),
        None => Failure::new(FailureKind::NotReady, format!("{id} is disabled")),
    };
    if let Some(why) = why {
        failure.causes = why.causes.clone();
        failure.exit = why.exit;
        failure.status = why.status;
        failure.headers = why.headers.clone();
        failure.stderr = why.stderr.clone();
    }
    failure.hint(format!("run `switchboard doctor`; restart {id} once the cause is fixed"))
}

/// Returns the `params` of an operation; `extra` holds further members, each with a leading comma.
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

//! One attempt: sends the request and runs rounds of server questions until the final result.

use std::sync::Arc;

use serde_json::Value;

use super::{Dispatch, context::AttemptContext, failed};
use crate::{
    domain::{
        ask::{Answer, Question},
        body::Body,
        call::{Failure, FailureKind, Operation, Outcome},
        directory::Directory,
        event::{EventKind, NoticeLevel},
        frame::{Anomaly, AnomalyKind},
        server::{ServerSpec, SessionInfo},
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
        let mut extra = if info.has_tasks() && self.wants_task(operation) { task::AUGMENTATION.to_owned() } else { String::new() };
        for round in 1..=ROUNDS {
            context.begin_round(round);
            let params = params(operation, &extra);
            let request = Request { method: operation.method().to_owned(), params, call: Some(self.id), repeatable, ..Request::default() };
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
            match ResultKind::classify(&reply.result, &info) {
                ResultKind::Final { .. } => return self.accept_result(operation, server, &info, reply.result),
                ResultKind::NeedsInput { requests, state: None } if requests.is_empty() => {
                    let detail = "the server asked for input without a question and without a state";
                    self.bad_result(server, detail.to_owned());
                    return failed(Failure::after_send(FailureKind::Protocol, detail).hint("inspect the frames of this call"));
                }
                ResultKind::NeedsInput { requests, state } => match self.answer_all(&server.spec, requests, state).await {
                    Ok(more) => extra = more,
                    Err(failure) => return failed(failure),
                },
                ResultKind::Task { id, poll } => match task::result(session, self.id, &id, poll, context).await {
                    Ok(reply) => {
                        context.call.record_response(&reply);
                        return self.accept_result(operation, server, &info, reply.result);
                    }
                    // The task has started, even if the request for its result failed.
                    Err(failure) => return failed(Failure { may_have_run: true, ..failure }),
                },
            }
        }
        failed(Failure::after_send(FailureKind::Protocol, format!("the server asked for input more than {ROUNDS} times in a row")))
    }

    /// Accepts a final result and reports its deviations from the protocol. A result that is not an object is a failure.
    fn accept_result(&self, operation: &Operation, server: &ServerHandle, info: &SessionInfo, result: Body) -> Outcome {
        let oddities = Oddity::find(operation, &result, info);
        for oddity in &oddities {
            self.bad_result(server, oddity.words(&info.protocol));
        }
        if let Some(not_object) = oddities.iter().find(|oddity| matches!(oddity, Oddity::NotObject(_))) {
            let failure = Failure::after_send(FailureKind::Protocol, not_object.words(&info.protocol));
            return failed(failure.hint("inspect the frames of this call for the exact bytes"));
        }
        match ResultKind::classify(&result, info) {
            ResultKind::Final { error: true } => Outcome::ToolError { result },
            _ => Outcome::Ok { result },
        }
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
            let Some(question) = Question::from_request("elicitation/create", &Body::json(page)) else { return false };
            if !matches!(self.shared.inbox.ask(server, question, Some(self.id)).await, Answer::Accept { .. }) {
                return false;
            }
        }
        !pages.is_empty()
    }

    /// Answers the questions of an `input_required` result. Returns the members to add to the next round's request.
    async fn answer_all(
        &self,
        server: &ServerSpec,
        requests: Vec<(String, String, Body)>,
        state: Option<String>,
    ) -> Result<String, Failure> {
        let pending = requests.into_iter().map(|(key, method, params)| async move {
            let Some(question) = Question::from_request(&method, &params) else {
                return Err(Failure::after_send(
                    FailureKind::Protocol,
                    format!("the server asks for input by {method}, which is not supported"),
                ));
            };
            let answer = self.shared.inbox.ask(server, question.clone(), Some(self.id)).await;
            match answer.to_result(&question) {
                Ok(result) => Ok((key, result)),
                Err((_, message)) if matches!(answer, Answer::Decline | Answer::Cancel) => {
                    Err(Failure::after_send(FailureKind::Refused, message))
                }
                Err((_, message)) => Err(Failure::after_send(FailureKind::Protocol, message)),
            }
        });
        let answers: serde_json::Map<String, Value> = futures_util::future::try_join_all(pending).await?.into_iter().collect();
        let mut extra = format!(",\"inputResponses\":{}", Value::Object(answers));
        if let Some(state) = state {
            extra.push_str(&format!(",\"requestState\":{}", Value::from(state)));
        }
        Ok(extra)
    }

    /// Refuses arguments that violate the tool's schema: the server would report an error anyway, and a less precise one.
    pub(super) async fn check_arguments(&self, operation: &Operation) -> Result<(), Failure> {
        let Operation::Tool { tool, arguments } = operation else { return Ok(()) };
        let registry = self.shared.registry.read();
        let Some(known) = registry.tool(tool) else {
            let listed = registry.entry(&tool.server).is_some_and(|server| server.catalog.revision > 0);
            // A server whose lists could not be read may still have the tool.
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

/// Waits until the server is connected, or until it is clear that it cannot connect.
pub(super) async fn ready(server: &ServerHandle) -> Result<Arc<dyn Session>, Failure> {
    let mut readiness = server.readiness.clone();
    loop {
        match &*readiness.borrow_and_update() {
            Readiness::Ready(session) => return Ok(session.clone()),
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
                return Err(failure.hint(format!("run `switchboard doctor`; restart {id} once the cause is fixed")));
            }
            Readiness::Pending => {}
        }
        if readiness.changed().await.is_err() {
            return Err(Failure::new(FailureKind::NotReady, "the server was removed"));
        }
    }
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

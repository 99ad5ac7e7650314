//! What stands in for a call that failed.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Dispatch,
    attempts::hung,
    cache::FlightLeader,
    context::CallContext,
    failed,
    route::{RoutedCall, Routes, with_key, with_server},
};
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind, Operation, Outcome},
    id::ToolId,
    policy::{
        Fallback,
        call_event::{CallEvent, Cause},
        mapping, verdict,
    },
};

/// How often is looked for a tool whose server is still on its way.
const LISTED_PAUSE: Duration = Duration::from_millis(20);

impl Dispatch {
    /// Tries what is configured to stand in for a failed call, in order. When all of it fails, the failure carries each one.
    pub(super) async fn fall_back(
        &self,
        aim: &RoutedCall,
        turn: Option<FlightLeader>,
        failure: Arc<Failure>,
        flow: &Arc<CallContext>,
        begun: Instant,
    ) -> Outcome {
        // A call that was wrong, and one that was given up, fail for good.
        let wrong = failure.rpc.as_ref().is_some_and(|rpc| matches!(rpc.code, -32601 | -32602));
        if wrong || matches!(failure.kind, FailureKind::InvalidArguments | FailureKind::UnknownTool | FailureKind::UnknownServer) {
            return Outcome::Failed { failure };
        }
        if let Some(turn) = &turn
            && let Some(outcome) = self.stale(aim, Some(turn.key()), false, flow).await
        {
            return outcome;
        }
        if aim.treatment.fallback.is_empty() {
            return Outcome::Failed { failure };
        }
        let mut failures = vec![("primary".to_owned(), Failure::clone(&failure))];
        for (at, fallback) in aim.treatment.fallback.iter().enumerate() {
            let later = calls(aim, &aim.treatment.fallback[at + 1..]);
            let words = fallback.words();
            let after = failures.last().map(|(_, f)| format!("{}: {}", f.kind.words(), f.message)).unwrap_or_default();
            flow.stage(CallEvent::Fallback { to: words.clone(), after });
            let outcome = match fallback {
                Fallback::Stale => match self.stale(aim, None, true, flow).await {
                    Some(outcome) => outcome,
                    None => failed(Failure::new(FailureKind::NotReady, "no answer was kept")),
                },
                Fallback::Value { value } => fixed(value),
                Fallback::Server { server } => match not_elsewhere(aim, &failures) {
                    None => {
                        // The same call: with the same key, and not by way of a route back to where it failed.
                        let operation = with_server(&aim.operation, server);
                        let operation = match &aim.treatment.idempotency_key {
                            Some(name) => with_key(&operation, name, self.key()),
                            None => operation,
                        };
                        self.other(operation, Routes::Not, flow, begun, later).await
                    }
                    Some(why) => failed(Failure::new(FailureKind::Refused, format!("not tried: {why}"))),
                },
                Fallback::Tool { tool, arguments } => match self.mapped(&aim.operation, tool, arguments.as_ref(), flow).await {
                    Ok(operation) => self.other(operation, Routes::Apply, flow, begun, later).await,
                    Err(failure) => failed(failure),
                },
            };
            match outcome {
                Outcome::Failed { failure } => failures.push((format!("fallback {words}"), Arc::unwrap_or_clone(failure))),
                outcome => return outcome,
            }
        }
        failed(joined(failures))
    }

    /// Calls something else, by its own settings but without fallbacks of its own.
    async fn other(&self, operation: Operation, routes: Routes, flow: &Arc<CallContext>, begun: Instant, later: usize) -> Outcome {
        if Instant::now() >= flow.until() {
            return failed(Failure::new(FailureKind::Timeout, "no time was left"));
        }
        match RoutedCall::take(&self.shared, &operation, routes) {
            Ok(aim) => self.run_attempts(&aim, Cause::Fallback, flow, begun, later).await,
            Err(failure) => failed(failure),
        }
    }

    /// The tool of this exposed name. While servers are still on their way, it may be one of theirs.
    async fn listed(&self, exposed: &str, flow: &CallContext) -> Option<ToolId> {
        loop {
            let (found, pending) = self.shared.bus.look(|read_model| {
                (read_model.names.tool(exposed).cloned(), read_model.servers.iter().any(|server| server.phase.pending()))
            });
            if found.is_some() || !pending || Instant::now() >= flow.until() {
                return found;
            }
            sleep(LISTED_PAUSE).await;
        }
    }

    /// The call of another tool, with the arguments of this one put into `template`.
    async fn mapped(&self, operation: &Operation, tool: &str, template: Option<&Body>, flow: &CallContext) -> Result<Operation, Failure> {
        let Operation::Tool { arguments, .. } = operation else {
            return Err(Failure::new(FailureKind::Refused, "only a tool can stand in for a tool"));
        };
        let Some(id) = self.listed(tool, flow).await else {
            return Err(Failure::new(FailureKind::UnknownTool, format!("there is no tool {tool:?}")));
        };
        let arguments = match template {
            None => arguments.clone(),
            Some(template) => {
                let given = arguments.value().unwrap_or_else(|| Value::Object(Default::default()));
                mapping::fill(template, &given)
                    .map_err(|why| Failure::new(FailureKind::InvalidArguments, format!("the arguments of the fallback: {why}")))?
            }
        };
        Ok(Operation::Tool { tool: id, arguments })
    }
}

/// How many of these would make a call when the one before was sent and not answered: what is kept or fixed takes no time.
pub(super) fn calls(aim: &RoutedCall, fallbacks: &[Fallback]) -> usize {
    let elsewhere = verdict::may_fail_over(&hung(), aim.safe, &aim.treatment.policy.retry).is_ok();
    let makes = |fallback: &&Fallback| match fallback {
        Fallback::Server { .. } => elsewhere,
        Fallback::Tool { .. } => true,
        Fallback::Stale | Fallback::Value { .. } => false,
    };
    fallbacks.iter().filter(makes).count()
}

/// Why the same call must not go to another server after these failures: it may have run, and is not known to be safe.
fn not_elsewhere(aim: &RoutedCall, failures: &[(String, Failure)]) -> Option<&'static str> {
    let retry = &aim.treatment.policy.retry;
    failures
        .iter()
        .filter(|(_, failure)| failure.may_have_run)
        .find_map(|(_, failure)| verdict::may_fail_over(failure, aim.safe, retry).err())
}

/// A fixed value as the result of a tool.
fn fixed(value: &Body) -> Outcome {
    let parsed = value.value().unwrap_or(Value::Null);
    let text = match &parsed {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut result = json!({ "content": [{ "type": "text", "text": text }] });
    if parsed.is_object() {
        result["structuredContent"] = parsed;
    }
    Outcome::Ok { result: Body::json(&result) }
}

/// One failure that carries each, in order. Kind and details are those of the first.
pub(super) fn joined(failures: Vec<(String, Failure)>) -> Failure {
    let line = |(who, failure): &(String, Failure)| format!("{who}: {}: {}", failure.kind.words(), failure.message);
    let message: Vec<String> = failures.iter().map(line).collect();
    let ran = failures.iter().any(|(_, failure)| failure.may_have_run);
    let hint = failures.iter().find_map(|(_, failure)| failure.hint.clone());
    let mut causes = vec![];
    for (who, failure) in &failures {
        causes.extend(failure.causes.iter().map(|cause| format!("{who}: {cause}")));
    }
    let first = failures.into_iter().next().map(|(_, failure)| failure);
    let first = first.unwrap_or_else(|| Failure::new(FailureKind::NotReady, ""));
    Failure { message: message.join("; "), causes, may_have_run: ran, hint, ..first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_failure_names_each_in_order() {
        let failures = vec![
            ("primary".to_owned(), Failure::after_send(FailureKind::Timeout, "no answer within 2 s")),
            ("fallback mail_send".to_owned(), Failure::new(FailureKind::NotReady, "mail is not connected")),
        ];
        let failure = joined(failures);
        assert_eq!(failure.message, "primary: timeout: no answer within 2 s; fallback mail_send: not ready: mail is not connected");
        assert!(failure.may_have_run && failure.kind == FailureKind::Timeout);
    }

    #[test]
    fn a_fixed_value_is_structured_when_it_is_an_object() {
        let Outcome::Ok { result } = fixed(&Body::from(r#"{"items":[]}"#)) else { panic!() };
        assert_eq!(result.value().unwrap()["structuredContent"], json!({"items": []}));
        let Outcome::Ok { result } = fixed(&Body::from("\"none\"")) else { panic!() };
        assert_eq!(result.text(), r#"{"content":[{"type":"text","text":"none"}]}"#);
    }
}

//! Fallbacks: what answers a call whose own servers failed (a stale cached response, a fixed value, another server or tool).

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    Dispatch,
    attempts::unanswered,
    cache::{FlightLeader, StaleLimit},
    context::CallContext,
    failed,
    route::{RoutedCall, Routes, with_key, with_server},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation, Outcome},
        directory::Directory,
        id::ToolId,
        policy::{
            Fallback,
            call_event::{CallEvent, Cause},
            mapping, verdict,
        },
        workflow::catalog_lookup::may_offer,
    },
    engine::registry::may_follow,
};

impl Dispatch {
    /// Tries the configured fallbacks of a failed call in order. If all fail, the failure lists each of them.
    pub(super) async fn fall_back(
        &self,
        route: &RoutedCall,
        leader: Option<FlightLeader>,
        failure: Arc<Failure>,
        context: &Arc<CallContext>,
        started: Instant,
    ) -> Outcome {
        // An invalid call fails without fallbacks.
        let invalid = failure.rpc.as_ref().is_some_and(|rpc| matches!(rpc.code, -32601 | -32602));
        if invalid || matches!(failure.kind, FailureKind::InvalidArguments | FailureKind::UnknownTool | FailureKind::UnknownServer) {
            return Outcome::Failed { failure };
        }
        if let Some(leader) = &leader
            && let Some(outcome) = self.stale_response(route, Some(leader.key()), StaleLimit::Policy, context).await
        {
            return outcome;
        }
        if route.treatment.fallback.is_empty() {
            return Outcome::Failed { failure };
        }
        let mut failures = vec![("primary".to_owned(), Failure::clone(&failure))];
        for (at, fallback) in route.treatment.fallback.iter().enumerate() {
            let fallbacks_left = count_calls(route, &route.treatment.fallback[at + 1..]);
            let words = fallback.words();
            let after = failures.last().map(|(_, f)| format!("{}: {}", f.kind.words(), f.message)).unwrap_or_default();
            context.publish_event(CallEvent::Fallback { to: words.clone(), after });
            let outcome = match fallback {
                Fallback::Stale => match self.stale_response(route, None, StaleLimit::Any, context).await {
                    Some(outcome) => outcome,
                    None => failed(Failure::new(FailureKind::NotReady, "no response is cached")),
                },
                Fallback::Value { value } => fixed_result(value),
                Fallback::Server { server } => match unsafe_elsewhere(route, &failures) {
                    None => {
                        // The same call: it keeps its idempotency key and ignores routes, which could lead back to the failed
                        // server.
                        let operation = with_server(&route.operation, server);
                        let operation = match &route.treatment.idempotency_key {
                            Some(name) => with_key(&operation, name, self.key()),
                            None => operation,
                        };
                        self.call_other(operation, Routes::Ignore, context, started, fallbacks_left).await
                    }
                    Some(why) => failed(Failure::new(FailureKind::Refused, format!("not tried: {why}"))),
                },
                Fallback::Tool { tool, arguments } => match self.map_call(&route.operation, tool, arguments.as_ref(), context).await {
                    Ok(operation) => self.call_other(operation, Routes::Apply, context, started, fallbacks_left).await,
                    Err(failure) => failed(failure),
                },
            };
            match outcome {
                Outcome::Failed { failure } => failures.push((format!("fallback {words}"), Arc::unwrap_or_clone(failure))),
                outcome => return outcome,
            }
        }
        failed(join_failures(failures))
    }

    /// Makes another call with its own settings, but without its fallbacks.
    async fn call_other(
        &self,
        operation: Operation,
        routes: Routes,
        context: &Arc<CallContext>,
        started: Instant,
        fallbacks_left: usize,
    ) -> Outcome {
        if Instant::now() >= context.deadline() {
            return failed(Failure::new(FailureKind::Timeout, "no time is left"));
        }
        match self.resolve(&operation, routes) {
            Ok(route) => self.run_attempts(&route, Cause::Fallback, context, started, fallbacks_left).await,
            Err(failure) => failed(failure),
        }
    }

    /// Returns the tool with this exposed name. Waits while servers that may list it are still connecting.
    async fn find_tool(&self, exposed: &str, context: &CallContext) -> Option<ToolId> {
        let mut changes = self.shared.registry.changes();
        loop {
            let registry = self.shared.registry.read();
            let found = registry.names().tool(exposed).cloned();
            if found.is_some() || !may_follow(&registry, |server| may_offer(&*registry, server.spec, exposed)) {
                return found;
            }
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = sleep_until(context.deadline()) => return None,
                else => return None,
            }
        }
    }

    /// Returns a call of another tool, with this call's arguments inserted into `template`.
    async fn map_call(
        &self,
        operation: &Operation,
        tool: &str,
        template: Option<&Body>,
        context: &CallContext,
    ) -> Result<Operation, Failure> {
        let Operation::Tool { arguments, .. } = operation else {
            return Err(Failure::new(FailureKind::Refused, "only a tool can be the fallback of a tool"));
        };
        let Some(id) = self.find_tool(tool, context).await else {
            return Err(Failure::new(FailureKind::UnknownTool, format!("no server offers {tool:?}")));
        };
        let arguments = match template {
            None => arguments.clone(),
            Some(template) => {
                let original = arguments.value().unwrap_or_else(|| Value::Object(Default::default()));
                mapping::fill(template, &original)
                    .map_err(|why| Failure::new(FailureKind::InvalidArguments, format!("arguments of the fallback: {why}")))?
            }
        };
        Ok(Operation::Tool { tool: id, arguments })
    }
}

/// Counts the fallbacks that would make a call after an unanswered attempt. Cached and fixed values take no time.
pub(super) fn count_calls(route: &RoutedCall, fallbacks: &[Fallback]) -> usize {
    let elsewhere = verdict::may_fail_over(&unanswered(), route.safe, &route.treatment.policy.retry).is_ok();
    let makes = |fallback: &&Fallback| match fallback {
        Fallback::Server { .. } => elsewhere,
        Fallback::Tool { .. } => true,
        Fallback::Stale | Fallback::Value { .. } => false,
    };
    fallbacks.iter().filter(makes).count()
}

/// Returns why the same call must not go to another server after these failures: it may have run and is not known to be safe.
fn unsafe_elsewhere(route: &RoutedCall, failures: &[(String, Failure)]) -> Option<&'static str> {
    let retry = &route.treatment.policy.retry;
    failures
        .iter()
        .filter(|(_, failure)| failure.may_have_run)
        .find_map(|(_, failure)| verdict::may_fail_over(failure, route.safe, retry).err())
}

/// Returns a fixed value as a tool result.
fn fixed_result(value: &Body) -> Outcome {
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

/// Returns one failure that lists each, in order. Kind and details are those of the first.
fn join_failures(failures: Vec<(String, Failure)>) -> Failure {
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
    fn a_joined_failure_lists_each_in_order() {
        let failures = vec![
            ("primary".to_owned(), Failure::after_send(FailureKind::Timeout, "no answer within 2 s")),
            ("fallback mail_send".to_owned(), Failure::new(FailureKind::NotReady, "mail is not connected")),
        ];
        let failure = join_failures(failures);
        assert_eq!(failure.message, "primary: timeout: no answer within 2 s; fallback mail_send: not ready: mail is not connected");
        assert!(failure.may_have_run && failure.kind == FailureKind::Timeout);
    }

    #[test]
    fn a_fixed_value_is_structured_when_it_is_an_object() {
        let Outcome::Ok { result } = fixed_result(&Body::from(r#"{"items":[]}"#)) else { panic!() };
        assert_eq!(result.value().unwrap()["structuredContent"], json!({"items": []}));
        let Outcome::Ok { result } = fixed_result(&Body::from("\"none\"")) else { panic!() };
        assert_eq!(result.text(), r#"{"content":[{"type":"text","text":"none"}]}"#);
    }
}

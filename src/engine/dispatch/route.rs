//! Routing: resolves the target of a call (route rules, groups, strategies) and its effective policy.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation},
        directory::Directory,
        id::{ServerId, ToolId},
        policy::{
            EffectivePolicy,
            call_rules::{CallRules, Declared},
            route::{self, Candidate, Decision},
        },
        server::{Phase, Timeouts},
    },
    engine::{guard::BreakerRule, registry::Known, shared::Shared, supervisor::ServerHandle},
};

/// A routed call: the servers to try, best first, and the effective policy.
pub struct RoutedCall {
    /// The operation, addressed to the target: a server or a group.
    pub operation: Operation,
    /// The tool's exposed name, or the name of what is read.
    pub exposed: String,
    /// The servers to try, best first; never empty.
    pub servers: Vec<ServerHandle>,
    /// The effective policy and settings of the call.
    pub treatment: EffectivePolicy,
    /// Whether the call may be sent again after bytes of it were sent.
    pub safe: bool,
    /// Whether trusted servers declare the tool read-only.
    pub reads_only: bool,
    /// Whether open breakers refuse the call.
    pub breakers: BreakerRule,
    /// The routing decision, if there was a choice.
    pub decision: Option<Arc<Decision>>,
}

/// Whether the user's routes apply.
#[derive(Clone, Copy, PartialEq)]
pub enum Routes {
    /// Routes can change the target.
    Apply,
    /// The operation's server is the target.
    Ignore,
}

impl RoutedCall {
    /// Routes an operation.
    pub fn resolve(shared: &Shared, operation: &Operation, routes: Routes) -> Result<RoutedCall, Failure> {
        let registry = shared.registry.read();
        let rules = registry.rules();
        let exposed = registry.call_name(operation);
        let (target, rule) = match operation {
            Operation::Tool { tool, .. } if routes == Routes::Apply => route::decide(&rules.routing, &exposed, tool),
            other => (other.server().clone(), None),
        };
        // Rules match the tool as displayed, whatever route it takes.
        let original_server = operation.server().clone();
        let operation = with_server(operation, &target);
        let servers_of_target = registry.target_servers(&target);
        let group = rules.routing.groups.iter().find(|group| group.id == target);
        if servers_of_target.is_empty() {
            let message = match group {
                Some(_) => format!("no member of the group {target} is configured"),
                None => format!("unknown server {:?}", target.as_str()),
            };
            return Err(Failure::new(FailureKind::UnknownServer, message).hint("see the configured servers with `switchboard servers`"));
        }
        let (order, decision, breakers) = match group {
            None => {
                let decision = rule.map(|rule| Decision::for_server(target.clone(), Some(rule)));
                (vec![0], decision, BreakerRule::Enforce)
            }
            Some(group) => {
                let candidates = |breakers| -> Vec<Candidate> {
                    let weight = |server: &ServerHandle| group.weight(&server.spec.id);
                    servers_of_target.iter().map(|server| candidate(&registry, server, weight(server), &operation, breakers)).collect()
                };
                let turn = shared.next_choice(&group.id);
                let choose = |rule, breakers| group.choose(rule, &operation, &candidates(breakers), (turn, &mut || shared.random()));
                let mut breakers = BreakerRule::Enforce;
                let (mut order, mut decision) = choose(rule.clone(), breakers);
                if order.is_empty() {
                    // A refusal would lose the call for certain; a connected member may have recovered.
                    let (bypassing, why) = choose(rule, BreakerRule::Bypass);
                    if !bypassing.is_empty() {
                        breakers = BreakerRule::Bypass;
                        order = bypassing;
                        decision = Decision { why: format!("every breaker is open; {}", why.why), ..why };
                    }
                }
                if order.is_empty() {
                    // Wait for a member that may still connect; otherwise the first one reports why it cannot.
                    let index = servers_of_target.iter().position(|server| pending(&registry, server)).unwrap_or(0);
                    order = vec![index];
                    decision.order = vec![servers_of_target[index].spec.id.clone()];
                    decision.why = format!("{}; waiting for {}", decision.why, servers_of_target[index].spec.id);
                }
                (order, Some(decision), breakers)
            }
        };
        let mut servers: Vec<ServerHandle> = order.into_iter().filter_map(|i| servers_of_target.get(i).cloned()).collect();
        let called = called_tool(&operation);
        if let (Some(tool), Some(first)) = (&called, servers.first().cloned()) {
            servers.retain(|server| server.spec.tools.allows(tool));
            if servers.is_empty() {
                return Err(filtered(&first, tool));
            }
        }
        let Some(first) = servers.first() else {
            return Err(Failure::new(FailureKind::NotReady, format!("no member of the group {target} can take the call")));
        };
        let policy = first.guard.policy();
        // The call may go to any of them.
        let declared: Vec<Declared> = servers.iter().map(|server| declared(&registry, &operation, server)).collect();
        let call = (&operation, exposed.as_str(), &original_server);
        let CallRules { treatment, safe, reads_only, .. } = CallRules::new(rules, call, &policy, &declared);
        Ok(RoutedCall { operation, exposed, safe, reads_only, servers, treatment, breakers, decision: decision.map(Arc::new) })
    }

    /// Returns the time limits: those of the first server.
    pub fn timeouts(&self) -> Timeouts {
        self.servers.first().map(|server| server.spec.timeouts).unwrap_or_default()
    }

    /// Returns the tool's own name.
    pub fn tool(&self) -> Option<&Arc<str>> {
        match &self.operation {
            Operation::Tool { tool, .. } => Some(&tool.name),
            _ => None,
        }
    }
}

/// Returns the tool that an operation calls, also for a raw request.
pub(super) fn called_tool(operation: &Operation) -> Option<Arc<str>> {
    match operation {
        Operation::Tool { tool, .. } => Some(tool.name.clone()),
        Operation::Raw { method, params, .. } if method == "tools/call" => {
            Some(params.value()?.get("name").and_then(Value::as_str).unwrap_or_default().into())
        }
        _ => None,
    }
}

/// Returns the failure of a call to a filtered tool.
fn filtered(server: &ServerHandle, tool: &str) -> Failure {
    let origin = &server.spec.origin;
    let hint = match (&origin.file, origin.line) {
        (Some(file), Some(line)) => format!("change the tool filter of {} at {}:{line}", server.spec.id, file.display()),
        _ => format!("change the tool filter of {} in its configuration", server.spec.id),
    };
    Failure::new(FailureKind::Refused, format!("the configuration of {} filters the tool {tool:?}", server.spec.id)).hint(hint)
}

/// Returns what a server declares of a tool.
fn declared(registry: &Known, operation: &Operation, server: &ServerHandle) -> Declared {
    let hints = match operation {
        Operation::Tool { tool, .. } => {
            let id = ToolId::new(server.spec.id.clone(), tool.name.clone());
            registry.tool(&id).map(|tool| tool.hints)
        }
        _ => None,
    };
    Declared { hints: hints.unwrap_or_default(), trusted: server.spec.trusted }
}

fn pending(registry: &Known, server: &ServerHandle) -> bool {
    registry.entry(&server.spec.id).is_some_and(|server| server.phase.pending() || *server.phase == Phase::Idle)
}

fn candidate(registry: &Known, server: &ServerHandle, weight: u32, operation: &Operation, breakers: BreakerRule) -> Candidate {
    let id = &server.spec.id;
    let tool = match operation {
        Operation::Tool { tool, .. } => Some(&tool.name),
        _ => None,
    };
    let unfit = match registry.entry(id) {
        Some(entry) => entry.unfit(tool.map(|tool| &**tool)),
        None => Some("is not configured".to_owned()),
    };
    let refuses = || match breakers {
        BreakerRule::Enforce => server.guard.refuses(tool).is_some(),
        BreakerRule::Bypass => server.guard.held_open(tool),
    };
    let unfit = unfit.or_else(|| refuses().then(|| "its breaker is open".to_owned()));
    Candidate { server: id.clone(), weight, unfit, in_flight: server.guard.limiter.in_flight(), latency: server.guard.latency() }
}

/// Returns the operation addressed to another server.
pub fn with_server(operation: &Operation, to: &ServerId) -> Operation {
    let mut operation = operation.clone();
    match &mut operation {
        Operation::Tool { tool, .. } => tool.server = to.clone(),
        Operation::Resource { server, .. }
        | Operation::Prompt { server, .. }
        | Operation::Complete { server, .. }
        | Operation::Raw { server, .. } => *server = to.clone(),
    }
    operation
}

/// Returns the call with `key` as the argument `name`, unless that argument is present. The rest of the text is unchanged.
pub fn with_key(operation: &Operation, name: &str, key: &str) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Tool { arguments, .. } = &mut operation {
        let text = arguments.text().into_owned();
        let present = arguments.value().is_some_and(|value| value.get(name).is_some());
        if let Some(rest) = text.trim_start().strip_prefix('{').filter(|_| !present) {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            *arguments = Body::from(format!("{{{}:{}{comma}{rest}", Value::from(name), Value::from(key)));
        } else if text.trim().is_empty() {
            *arguments = Body::from(format!("{{{}:{}}}", Value::from(name), Value::from(key)));
        }
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_inserted_and_the_rest_is_unchanged() {
        let operation = |text: &str| Operation::Tool { tool: ToolId::new("s".into(), "t"), arguments: Body::from(text.to_owned()) };
        let with = |text: &str| match with_key(&operation(text), "key", "k1") {
            Operation::Tool { arguments, .. } => arguments.text().into_owned(),
            _ => String::new(),
        };
        assert_eq!(with(r#"{"n": 1.50}"#), r#"{"key":"k1","n": 1.50}"#);
        assert_eq!(with(" { } "), r#"{"key":"k1" } "#);
        assert_eq!(with(""), r#"{"key":"k1"}"#);
        assert_eq!(with(r#"{"key":"mine"}"#), r#"{"key":"mine"}"#);
    }
}

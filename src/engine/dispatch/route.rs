//! Where a call goes, and how it is treated there.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation},
        catalog::Hints,
        id::{ServerId, ToolId},
        policy::{
            EffectivePolicy, Policy,
            route::{self, Candidate, Decision, Strategy},
            verdict,
        },
        server::Timeouts,
    },
    engine::{shared::Shared, supervisor::ServerHandle},
};

/// Where a call goes: the servers to try, best first, and how it is treated.
pub struct RoutedCall {
    /// The operation as asked, its server being the target: a server, or a group.
    pub operation: Operation,
    /// The tool's exposed name, or what is read.
    pub exposed: String,
    /// The servers to try, best first; never empty.
    pub servers: Vec<ServerHandle>,
    /// How the call is treated.
    pub treatment: EffectivePolicy,
    /// Whether it may be sent again after bytes of it were sent.
    pub safe: bool,
    /// Whether a trusted server says that it only reads.
    pub reads_only: bool,
    /// What was decided, when there was something to decide.
    pub decision: Option<Arc<Decision>>,
}

/// Whether the user's routes apply.
#[derive(Clone, Copy, PartialEq)]
pub enum Routes {
    /// They do.
    Apply,
    /// The operation names the server that is meant.
    Not,
}

impl RoutedCall {
    /// Decides where an operation goes.
    pub fn take(shared: &Shared, operation: &Operation, routes: Routes) -> Result<RoutedCall, Failure> {
        let rules = shared.rules();
        let exposed = shared.bus.look(|read_model| read_model.call_name(operation));
        let (target, rule) = match operation {
            Operation::Tool { tool, .. } if routes == Routes::Apply => route::decide(&rules.routing, &exposed, tool),
            other => (other.server().clone(), None),
        };
        // Rules are about the tool as it is shown, whatever route it takes.
        let asked = operation.server().clone();
        let operation = with_server(operation, &target);
        let involved = shared.involved(&target);
        let group = rules.routing.groups.iter().find(|group| group.id == target);
        if involved.is_empty() {
            let what = match group {
                Some(_) => format!("no member of the group {target} is configured"),
                None => format!("there is no server {:?}", target.as_str()),
            };
            return Err(Failure::new(FailureKind::UnknownServer, what).hint("see the configured servers with `switchboard servers`"));
        }
        let (order, decision) = match group {
            None => {
                let decision = rule.map(|rule| Decision::for_server(target.clone(), Some(rule)));
                (vec![0], decision)
            }
            Some(group) => {
                let candidates: Vec<Candidate> = involved
                    .iter()
                    .map(|server| {
                        let weight = group.members.iter().find(|m| m.server == server.spec.id).map_or(1, |m| m.weight);
                        candidate(shared, server, weight, &operation)
                    })
                    .collect();
                let argument = match &group.strategy {
                    Strategy::Sticky { argument } => operation.argument(argument),
                    _ => None,
                };
                let turn = shared.turn(&group.id);
                let mut order = route::rank(&group.strategy, &candidates, turn, &mut || shared.random(), argument.as_deref());
                let mut decision = Decision::for_group(group, rule, &candidates, &order, argument.as_deref());
                if order.is_empty() {
                    // The one that may still come back is waited for; else the first says why it cannot.
                    let waited = involved.iter().position(|server| pending(shared, server)).unwrap_or(0);
                    order = vec![waited];
                    decision.order = vec![involved[waited].spec.id.clone()];
                    decision.why = format!("{}; {} is waited for", decision.why, involved[waited].spec.id);
                }
                (order, Some(decision))
            }
        };
        let servers: Vec<ServerHandle> = order.into_iter().filter_map(|i| involved.get(i).cloned()).collect();
        let Some(first) = servers.first() else {
            return Err(Failure::new(FailureKind::NotReady, format!("no member of {target} can take the call")));
        };
        let policy = first.guard.policy();
        let treatment = match &operation {
            Operation::Tool { .. } => rules.treatment(&exposed, &asked, &policy),
            _ => EffectivePolicy { policy: Policy::clone(&policy), ..EffectivePolicy::default() },
        };
        // It may come to any of them, so each has to be one that vouches for it.
        let (safe, reads_only) = servers
            .iter()
            .map(|server| safety(shared, &operation, server, &treatment))
            .fold((true, true), |(safe, reads_only), (its_safe, its_reads_only)| (safe && its_safe, reads_only && its_reads_only));
        Ok(RoutedCall { operation, exposed, safe, reads_only, servers, treatment, decision: decision.map(Arc::new) })
    }

    /// The time limits: those of the first server.
    pub fn timeouts(&self) -> Timeouts {
        self.servers.first().map(|server| server.spec.timeouts).unwrap_or_default()
    }

    /// The tool's own name.
    pub fn tool(&self) -> Option<&Arc<str>> {
        match &self.operation {
            Operation::Tool { tool, .. } => Some(&tool.name),
            _ => None,
        }
    }
}

/// Whether a call may be repeated, and whether it only reads.
fn safety(shared: &Shared, operation: &Operation, server: &ServerHandle, treatment: &EffectivePolicy) -> (bool, bool) {
    match operation {
        Operation::Tool { tool, .. } => {
            let id = ToolId::new(server.spec.id.clone(), tool.name.clone());
            let hints = shared.bus.look(|read_model| read_model.tool(&id).map(|tool| tool.hints)).unwrap_or_default();
            let keyed = treatment.idempotency_key.is_some();
            let trusted = server.spec.trusted;
            (verdict::is_safe_to_retry(hints, trusted, treatment.safe, keyed), reads_only(hints, trusted))
        }
        // Reads by the specification.
        Operation::Resource { .. } | Operation::Prompt { .. } | Operation::Complete { .. } => (true, true),
        Operation::Raw { .. } => (false, false),
    }
}

fn reads_only(hints: Hints, trusted: bool) -> bool {
    trusted && hints.read_only == Some(true)
}

fn pending(shared: &Shared, server: &ServerHandle) -> bool {
    shared.bus.look(|read_model| read_model.server(&server.spec.id).is_some_and(|view| view.phase.pending()))
}

fn candidate(shared: &Shared, server: &ServerHandle, weight: u32, operation: &Operation) -> Candidate {
    let id = &server.spec.id;
    let tool = match operation {
        Operation::Tool { tool, .. } => Some(&tool.name),
        _ => None,
    };
    let unfit = shared.bus.look(|read_model| match read_model.server(id) {
        Some(view) => view.unfit(tool.map(|tool| &**tool)),
        None => Some("is not configured".to_owned()),
    });
    let unfit = unfit.or_else(|| server.guard.refuses(tool).map(|_| "its breaker is open".to_owned()));
    Candidate { server: id.clone(), weight, unfit, in_flight: server.guard.limiter.in_flight(), latency: server.guard.latency() }
}

/// The same operation, asked of another server.
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

/// The same call with `key` as the argument `name`, unless it is given. What was written stays as it is.
pub fn with_key(operation: &Operation, name: &str, key: &str) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Tool { arguments, .. } = &mut operation {
        let text = arguments.text().into_owned();
        let given = arguments.value().is_some_and(|value| value.get(name).is_some());
        if let Some(rest) = text.trim_start().strip_prefix('{').filter(|_| !given) {
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
    fn a_key_is_put_in_and_nothing_else_is_touched() {
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

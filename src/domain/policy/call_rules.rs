//! Call rules: the effective policy of a routed call, whether the call is safe to retry, and whether its response may be
//! cached.
//!
//! Dispatch uses them for each call; `switchboard route` explains them.

use super::{EffectivePolicy, Policy, Rules, cache, verdict};
use crate::domain::{call::Operation, catalog::Hints, id::ServerId};

/// What a server declares of the tool, and whether its declarations count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The tool's annotations.
    pub hints: Hints,
    /// Whether the user trusts the server.
    pub trusted: bool,
}

/// The rules of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRules {
    /// The effective policy and settings.
    pub treatment: EffectivePolicy,
    /// Whether the call may be sent again after bytes of it were sent.
    pub safe: bool,
    /// What decides `safe`.
    pub safety: Safety,
    /// Whether trusted servers declare the operation read-only.
    pub reads_only: bool,
    /// Whether the policy allows to cache the responses of a tool.
    pub cached: bool,
}

/// What decides whether a call is safe to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// A rule of the user.
    Rule,
    /// An idempotency key.
    IdempotencyKey,
    /// The annotations of trusted servers, or the specification.
    Declared,
    /// Missing annotations of trusted servers.
    NotDeclared,
    /// A server is not trusted.
    Untrusted,
}

impl Safety {
    /// Returns the reason for users.
    pub fn words(self) -> &'static str {
        match self {
            Safety::Rule => "a rule says so",
            Safety::IdempotencyKey => "it has an idempotency key",
            Safety::Declared => "its trusted server declares it",
            Safety::NotDeclared => "its server does not declare it",
            Safety::Untrusted => "its server is not trusted, and no rule says so",
        }
    }
}

impl CallRules {
    /// Returns the rules of a call. `exposed` and `original` are the exposed name and the server (or group) of the operation
    /// before routing, which rules match. `policy` holds the settings of the server that is tried first. `servers` are the
    /// servers that the call may go to; all of them must allow what the rules allow.
    pub fn new(
        rules: &Rules,
        (operation, exposed, original): (&Operation, &str, &ServerId),
        policy: &Policy,
        servers: &[Declared],
    ) -> CallRules {
        if !matches!(operation, Operation::Tool { .. }) {
            // Read-only by the specification, except for requests of which nothing is known.
            let reads_only = !matches!(operation, Operation::Raw { .. });
            return CallRules {
                treatment: EffectivePolicy { policy: policy.clone(), ..EffectivePolicy::default() },
                safe: reads_only,
                safety: if reads_only { Safety::Declared } else { Safety::NotDeclared },
                reads_only,
                cached: false,
            };
        }
        let treatment = rules.treatment(exposed, original, policy);
        // Without a server nothing is declared.
        let servers = if servers.is_empty() { &[Declared::default()] } else { servers };
        let keyed = treatment.idempotency_key.is_some();
        let safe = servers.iter().all(|server| verdict::is_safe_to_retry(server.hints, server.trusted, treatment.safe, keyed));
        let safety = match (treatment.safe, keyed, safe) {
            (Some(_), ..) => Safety::Rule,
            (None, true, _) => Safety::IdempotencyKey,
            (None, false, true) => Safety::Declared,
            (None, false, false) if servers.iter().all(|server| server.trusted) => Safety::NotDeclared,
            (None, false, false) => Safety::Untrusted,
        };
        let reads_only = servers.iter().all(|server| server.trusted && server.hints.read_only == Some(true));
        let cached = servers.iter().all(|server| cache::allowed(&treatment.policy.cache, server.hints, server.trusted));
        CallRules { treatment, safe, safety, reads_only, cached }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        body::Body,
        id::ToolId,
        policy::{CacheMode, CachePolicy, ToolRule, pattern::Pattern},
    };

    const READS: Declared =
        Declared { hints: Hints { read_only: Some(true), destructive: None, idempotent: None, open_world: None }, trusted: true };
    const UNTRUSTED: Declared = Declared { trusted: false, ..READS };

    fn of(rules: &Rules, servers: &[Declared]) -> CallRules {
        let operation = Operation::Tool { tool: ToolId::new("db".into(), "query"), arguments: Body::from("{}") };
        let policy = Policy { cache: CachePolicy { mode: CacheMode::ReadOnly, ..CachePolicy::default() }, ..Policy::default() };
        CallRules::new(rules, (&operation, "db_query", &"db".into()), &policy, servers)
    }

    #[test]
    fn every_server_that_may_get_the_call_must_allow_it() {
        let none = Rules::default();
        let found = of(&none, &[READS, READS]);
        assert_eq!((found.safe, found.safety, found.reads_only, found.cached), (true, Safety::Declared, true, true));
        let found = of(&none, &[READS, UNTRUSTED]);
        assert_eq!((found.safe, found.safety, found.reads_only, found.cached), (false, Safety::Untrusted, false, false));
        let found = of(&none, &[Declared { trusted: true, ..Declared::default() }]);
        assert_eq!((found.safe, found.safety), (false, Safety::NotDeclared));
        let rule = ToolRule { matches: Pattern::parse("db_*").unwrap(), safe: Some(true), ..ToolRule::default() };
        let found = of(&Rules { tools: vec![rule], ..Rules::default() }, &[UNTRUSTED]);
        assert_eq!((found.safe, found.safety, found.reads_only, found.cached), (true, Safety::Rule, false, false));
    }

    #[test]
    fn other_requests_are_safe_unless_nothing_is_known_of_them() {
        let of = |operation: Operation| CallRules::new(&Rules::default(), (&operation, "", &"db".into()), &Policy::default(), &[UNTRUSTED]);
        assert!(of(Operation::Resource { server: "db".into(), uri: "x:y".into() }).safe);
        let raw = of(Operation::Raw { server: "db".into(), method: "x".into(), params: Body::from("{}") });
        assert!(!raw.safe && !raw.reads_only);
    }
}

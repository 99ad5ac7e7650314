//! `route`: explains the route of a call without making it.

use serde::Serialize;

use super::{
    args::RouteArgs,
    exit,
    input::read_argument,
    lookup,
    print::{Format, ms},
    readiness::Needs,
    servers,
    session::{Session, Stop},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation},
        directory::Directory,
        id::{ServerId, ToolId},
        plural::counted,
        policy::{
            EffectivePolicy,
            breaker::State,
            call_rules::{CallRules, Declared},
            route::{self, Candidate, Decision, Group},
            verdict,
        },
        time::short,
    },
    state::{ConsoleState, ServerView},
};

/// Explains the route of a call.
pub async fn run(session: &mut Session<'_>, args: &RouteArgs) -> Result<u8, Stop> {
    let arguments = args.args.as_deref().map(|text| read_argument("--args", text)).transpose()?.unwrap_or_else(|| "{}".into());
    if super::json::fields(&arguments).is_err() {
        return Err(Failure::new(FailureKind::InvalidArguments, "--args is not a JSON object").into());
    }
    servers::check_selected(session)?;
    session.settle_needs(&Needs::tool(&args.tool)).await?;
    if lookup::named(&session.read_model, &args.tool).is_none() {
        // A tool's own name, or a mistyped one: only the lists of all servers have the candidates.
        servers::wait_for_all(session).await?;
    }
    let read_model = session.read_model.clone();
    let tool = lookup::named(&read_model, &args.tool).ok_or_else(|| Stop::from(lookup::unknown_tool(&read_model, &args.tool)))?;
    let route = RouteExplanation::find(&read_model, tool, Body::from(arguments));
    match session.printer.format() {
        Format::Human => {
            session.printer.line(&route.name)?;
            session.printer.report_out(&route.lines())?;
        }
        _ => session.printer.document(&route.json())?,
    }
    Ok(if route.decision.order.is_empty() { exit::NOT_READY } else { exit::OK })
}

/// Routing decision and policy of a call.
struct RouteExplanation<'w> {
    name: String,
    tool: ToolId,
    target: ServerId,
    group: Option<&'w Group>,
    decision: Decision,
    candidates: Vec<Candidate>,
    rules: CallRules,
    deadline: std::time::Duration,
}

impl<'w> RouteExplanation<'w> {
    fn find(read_model: &'w ConsoleState, tool: ToolId, arguments: Body) -> RouteExplanation<'w> {
        let operation = Operation::Tool { tool: tool.clone(), arguments };
        let name = read_model.call_name(&operation);
        let (target, rule) = route::decide(&read_model.rules.routing, &name, &tool);
        let group = read_model.group(&target);
        let weight = |id: &ServerId| group.map_or(1, |group| group.weight(id));
        let servers: Vec<&ServerView> = match group {
            Some(_) => read_model.members(&target).collect(),
            None => read_model.server(&target).into_iter().collect(),
        };
        let candidates: Vec<Candidate> = servers.iter().map(|server| candidate(server, &tool.name, weight(server.id()))).collect();
        let decision = match group {
            // Round-robin and random strategies decide at the call: this is one of the possible routes.
            Some(group) => group.choose(rule, &operation, &candidates, (0, &mut || 0.0)).1,
            None => {
                let unfit = candidates.first().and_then(|c| c.unfit.clone());
                let mut decision = Decision::for_server(target.clone(), rule);
                if let Some(unfit) = unfit {
                    decision.order.clear();
                    decision.passed_over.push((target.clone(), unfit));
                }
                decision
            }
        };
        let mut targets: Vec<&ServerView> = decision.order.iter().filter_map(|id| read_model.server(id)).collect();
        if targets.is_empty() {
            targets.extend(servers.first());
        }
        let first = targets.first();
        let policy = first.map(|server| server.spec.policy.clone()).unwrap_or_default();
        let declared = targets.iter().map(|server| Declared {
            hints: server.catalog.tool(&tool.name).map(|tool| tool.hints).unwrap_or_default(),
            trusted: server.spec.trusted,
        });
        let declared: Vec<Declared> = declared.collect();
        let rules = CallRules::new(&read_model.rules, (&operation, &name, &tool.server), &policy, &declared);
        let deadline = rules.treatment.timeout.unwrap_or_else(|| first.map(|server| server.spec.timeouts.call).unwrap_or_default());
        RouteExplanation { name, tool, target, group, decision, candidates, rules, deadline }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let decision = &self.decision;
        let mut lines = vec![("tool", format!("{} of {}", self.tool.name, self.tool.server))];
        lines.extend(decision.rule.iter().map(|rule| ("route", format!("{rule} → {}", self.target))));
        lines.extend(self.group.iter().map(|group| ("group", format!("{} ({})", group.id, group.strategy.word()))));
        match decision.order.split_first() {
            Some((first, rest)) => {
                lines.push(("target", format!("{first}: {}", decision.why)));
                lines.extend(rest.iter().map(|id| ("then", id.to_string())));
            }
            None => lines.push(("target", "no available server".into())),
        }
        lines.extend(decision.passed_over.iter().map(|(id, why)| ("skipped", format!("{id}: {why}"))));
        let EffectivePolicy { policy, idempotency_key, own_breaker, fallback, .. } = &self.rules.treatment;
        let attempt = policy.attempt.map(|attempt| format!(", {} per attempt", short(attempt))).unwrap_or_default();
        lines.push(("deadline", format!("{}{attempt}", short(self.deadline))));
        let retries = if self.rules.safe { "safe" } else { "only if not sent" };
        lines.push(("retries", format!("{retries}: {}; at most {}", self.rules.safety.words(), counted(policy.retry.attempts, "attempt"))));
        lines.extend(idempotency_key.iter().map(|key| ("idempotency key", format!("in the argument {key}"))));
        if verdict::may_hedge(self.rules.safe, policy) {
            let after = policy.hedge.after.map_or_else(|| "the p95".into(), short);
            lines.push(("hedging", format!("after {after}")));
        }
        lines.push((
            "breaker",
            if !policy.breaker.enabled {
                "off"
            } else if *own_breaker {
                "server and tool"
            } else {
                "server"
            }
            .into(),
        ));
        if self.rules.cached {
            lines.push(("cache", format!("responses, for {}", short(policy.cache.ttl))));
        }
        lines.extend(fallback.iter().map(|fallback| ("fallback", fallback.words())));
        lines
    }

    fn json(&self) -> RouteJson<'_> {
        let EffectivePolicy { policy, idempotency_key, own_breaker, fallback, .. } = &self.rules.treatment;
        RouteJson {
            kind: "route",
            name: &self.name,
            server: self.tool.server.as_str(),
            tool: &self.tool.name,
            rule: self.decision.rule.as_deref(),
            target: self.target.as_str(),
            group: self.decision.group.as_ref().map(ServerId::as_str),
            strategy: self.decision.strategy.as_deref(),
            order: self.decision.order.iter().map(ServerId::as_str).collect(),
            reason: &self.decision.why,
            candidates: self.candidates.iter().map(CandidateJson::new).collect(),
            safe: self.rules.safe,
            safe_reason: self.rules.safety.words(),
            attempts: policy.retry.attempts,
            deadline_ms: ms(self.deadline),
            attempt_ms: policy.attempt.map(ms),
            idempotency_key: idempotency_key.as_deref(),
            hedged: verdict::may_hedge(self.rules.safe, policy),
            own_breaker: *own_breaker,
            cached: self.rules.cached,
            fallback: fallback.iter().map(|fallback| fallback.words()).collect(),
        }
    }
}

/// Returns a server as a candidate of a call.
fn candidate(server: &ServerView, tool: &str, weight: u32) -> Candidate {
    let open = |view: &crate::domain::policy::breaker::BreakerView| {
        (view.state == State::Open).then(|| format!("its breaker is open: {}", view.reason))
    };
    let breaker = || open(&server.breaker).or_else(|| server.tool_breakers.get(tool).and_then(|view| open(view)));
    Candidate {
        server: server.id().clone(),
        weight,
        unfit: server.entry().unfit(Some(tool)).or_else(breaker),
        in_flight: server.stats.in_flight,
        latency: server.stats.percentile(50.0).map(|latency| latency.as_secs_f64()),
    }
}

#[derive(Serialize)]
struct RouteJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    server: &'a str,
    tool: &'a str,
    rule: Option<&'a str>,
    target: &'a str,
    group: Option<&'a str>,
    strategy: Option<&'a str>,
    order: Vec<&'a str>,
    reason: &'a str,
    candidates: Vec<CandidateJson<'a>>,
    safe: bool,
    safe_reason: &'a str,
    attempts: u32,
    deadline_ms: f64,
    attempt_ms: Option<f64>,
    idempotency_key: Option<&'a str>,
    hedged: bool,
    own_breaker: bool,
    cached: bool,
    fallback: Vec<String>,
}

#[derive(Serialize)]
struct CandidateJson<'a> {
    server: &'a str,
    weight: u32,
    unavailable: Option<&'a str>,
    in_flight: u32,
    latency_ms: Option<f64>,
}

impl<'a> CandidateJson<'a> {
    fn new(candidate: &'a Candidate) -> CandidateJson<'a> {
        CandidateJson {
            server: candidate.server.as_str(),
            weight: candidate.weight,
            unavailable: candidate.unfit.as_deref(),
            in_flight: candidate.in_flight,
            latency_ms: candidate.latency.map(|seconds| seconds * 1000.0),
        }
    }
}

//! `route`: where a call would go, and why, without making it.

use serde::Serialize;

use super::{
    args::RouteArgs,
    call::{self, read_argument},
    exit,
    print::{Format, ms},
    servers,
    session::{Session, Stop},
};
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind, Operation},
    id::{ServerId, ToolId},
    policy::{
        Treatment,
        breaker::State,
        cache,
        route::{self, Candidate, Decision, Group, Strategy},
        verdict,
    },
    read_model::{ConsoleState, ServerView},
    time::short,
};

/// Explains where a call would go.
pub async fn run(session: &mut Session<'_>, args: &RouteArgs) -> Result<u8, Stop> {
    let arguments = args.args.as_deref().map(read_argument).transpose()?.unwrap_or_else(|| "{}".into());
    if super::json::fields(&arguments).is_err() {
        return Err(Failure::new(FailureKind::InvalidArguments, "--args is no JSON object").into());
    }
    servers::settle_all(session).await?;
    let read_model = session.read_model.clone();
    let tool = call::named(&read_model, &args.tool).ok_or_else(|| Stop::from(call::unknown_tool(&read_model, &args.tool)))?;
    let way = Way::find(&read_model, tool, Body::from(arguments));
    match session.printer.format() {
        Format::Human => {
            session.printer.line(&way.name)?;
            session.printer.report_out(&way.lines())?;
        }
        _ => session.printer.document(&way.json())?,
    }
    Ok(if way.decision.order.is_empty() { exit::NOT_READY } else { exit::OK })
}

/// Everything that is decided about a call.
struct Way<'w> {
    name: String,
    tool: ToolId,
    target: ServerId,
    group: Option<&'w Group>,
    decision: Decision,
    candidates: Vec<Candidate>,
    treatment: Treatment,
    safe: bool,
    why_safe: &'static str,
    cached: bool,
    deadline: std::time::Duration,
}

impl<'w> Way<'w> {
    fn find(read_model: &'w ConsoleState, tool: ToolId, arguments: Body) -> Way<'w> {
        let operation = Operation::Tool { tool: tool.clone(), arguments };
        let name = read_model.call_name(&operation);
        let (target, rule) = route::decide(&read_model.rules.routing, &name, &tool);
        let group = read_model.group(&target);
        let weight = |id: &ServerId| group.and_then(|g| g.members.iter().find(|m| m.server == *id)).map_or(1, |m| m.weight);
        let servers: Vec<&ServerView> = match group {
            Some(_) => read_model.members(&target).collect(),
            None => read_model.server(&target).into_iter().collect(),
        };
        let candidates: Vec<Candidate> = servers.iter().map(|server| candidate(server, &tool.name, weight(server.id()))).collect();
        let decision = match group {
            Some(group) => {
                let argument = match &group.strategy {
                    Strategy::Sticky { argument } => operation.argument(argument),
                    _ => None,
                };
                // Whose turn it is, and what chance says, only the call itself would tell: this is one of its ways.
                let order = route::order(&group.strategy, &candidates, 0, &mut || 0.0, argument.as_deref());
                Decision::of_group(group, rule, &candidates, &order, argument.as_deref())
            }
            None => {
                let unfit = candidates.first().and_then(|c| c.unfit.clone());
                let mut decision = Decision::of_server(target.clone(), rule);
                if let Some(unfit) = unfit {
                    decision.order.clear();
                    decision.passed_over.push((target.clone(), unfit));
                }
                decision
            }
        };
        let first = decision.order.first().and_then(|id| read_model.server(id)).or_else(|| servers.first().copied());
        let policy = first.map(|server| server.spec.policy.clone()).unwrap_or_default();
        let treatment = read_model.rules.treatment(&name, &tool.server, &policy);
        let trusted = first.is_some_and(|server| server.spec.trusted);
        let hints = first.and_then(|server| server.catalog.tool(&tool.name)).map(|tool| tool.hints).unwrap_or_default();
        let keyed = treatment.idempotency_key.is_some();
        let safe = verdict::safe(hints, trusted, treatment.safe, keyed);
        let why_safe = match (treatment.safe, keyed, safe) {
            (Some(_), ..) => "by a rule",
            (None, true, _) => "by its idempotency key",
            (None, false, true) => "by the word of a trusted server",
            (None, false, false) if trusted => "its server does not say that it is",
            (None, false, false) => "its server is not trusted, and no rule says that it is",
        };
        let cached = cache::allowed(&treatment.policy.cache, hints, trusted);
        let deadline = treatment.timeout.unwrap_or_else(|| first.map(|server| server.spec.timeouts.call).unwrap_or_default());
        Way { name, tool, target, group, decision, candidates, treatment, safe, why_safe, cached, deadline }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let decision = &self.decision;
        let mut lines = vec![("tool", format!("{} of {}", self.tool.name, self.tool.server))];
        lines.extend(decision.rule.iter().map(|rule| ("route", format!("{rule} leads to {}", self.target))));
        lines.extend(self.group.iter().map(|group| ("group", format!("{} ({})", group.id, group.strategy.word()))));
        match decision.order.split_first() {
            Some((first, rest)) => {
                lines.push(("goes to", format!("{first}: {}", decision.why)));
                lines.extend(rest.iter().map(|id| ("then", id.to_string())));
            }
            None => lines.push(("goes to", "nobody who can take it now".into())),
        }
        lines.extend(decision.passed_over.iter().map(|(id, why)| ("passed over", format!("{id}: {why}"))));
        let Treatment { policy, idempotency_key, own_breaker, fallback, .. } = &self.treatment;
        let attempt = policy.attempt.map(|attempt| format!(", {} an attempt", short(attempt))).unwrap_or_default();
        lines.push(("deadline", format!("{}{attempt}", short(self.deadline))));
        let repeated = if self.safe { "yes" } else { "only what cannot have run" };
        lines.push(("sent again", format!("{repeated}: {}; at most {} attempts", self.why_safe, policy.retry.attempts)));
        lines.extend(idempotency_key.iter().map(|key| ("key", format!("put into the argument {key}"))));
        if verdict::hedgeable(self.safe, policy) {
            let after = policy.hedge.after.map_or_else(|| "its p95".into(), short);
            lines.push(("hedged", format!("after {after}")));
        }
        lines.push((
            "breaker",
            if !policy.breaker.enabled {
                "off"
            } else if *own_breaker {
                "the server's and the tool's own"
            } else {
                "the server's"
            }
            .into(),
        ));
        if self.cached {
            lines.push(("kept", format!("its answers, for {}", short(policy.cache.ttl))));
        }
        lines.extend(fallback.iter().map(|fallback| ("fallback", fallback.words())));
        lines
    }

    fn json(&self) -> WayJson<'_> {
        let Treatment { policy, idempotency_key, own_breaker, fallback, .. } = &self.treatment;
        WayJson {
            kind: "route",
            name: &self.name,
            server: self.tool.server.as_str(),
            tool: &self.tool.name,
            rule: self.decision.rule.as_deref(),
            target: self.target.as_str(),
            group: self.decision.group.as_ref().map(ServerId::as_str),
            strategy: self.decision.strategy.as_deref(),
            order: self.decision.order.iter().map(ServerId::as_str).collect(),
            why: &self.decision.why,
            candidates: self.candidates.iter().map(CandidateJson::new).collect(),
            safe: self.safe,
            why_safe: self.why_safe,
            attempts: policy.retry.attempts,
            deadline_ms: ms(self.deadline),
            attempt_ms: policy.attempt.map(ms),
            idempotency_key: idempotency_key.as_deref(),
            hedged: verdict::hedgeable(self.safe, policy),
            own_breaker: *own_breaker,
            cached: self.cached,
            fallback: fallback.iter().map(|fallback| fallback.words()).collect(),
        }
    }
}

/// A server as a call would find it.
fn candidate(server: &ServerView, tool: &str, weight: u32) -> Candidate {
    let open = |view: &crate::domain::policy::breaker::BreakerView| {
        (view.state == State::Open).then(|| format!("its breaker is open: {}", view.reason))
    };
    let breaker = || open(&server.breaker).or_else(|| server.tool_breakers.get(tool).and_then(|view| open(view)));
    Candidate {
        server: server.id().clone(),
        weight,
        unfit: server.unfit(Some(tool)).or_else(breaker),
        in_flight: server.stats.in_flight,
        latency: server.stats.percentile(50.0).map(|latency| latency.as_secs_f64()),
    }
}

#[derive(Serialize)]
struct WayJson<'a> {
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
    why: &'a str,
    candidates: Vec<CandidateJson<'a>>,
    safe: bool,
    why_safe: &'a str,
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
    unfit: Option<&'a str>,
    in_flight: u32,
    latency_ms: Option<f64>,
}

impl<'a> CandidateJson<'a> {
    fn new(candidate: &'a Candidate) -> CandidateJson<'a> {
        CandidateJson {
            server: candidate.server.as_str(),
            weight: candidate.weight,
            unfit: candidate.unfit.as_deref(),
            in_flight: candidate.in_flight,
            latency_ms: candidate.latency.map(|seconds| seconds * 1000.0),
        }
    }
}

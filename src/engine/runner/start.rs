//! From what is asked for to a flow, and from its end to the report.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Resumption, Run, RunLock, Stop,
    flow::{self, FlowEnd, Frame},
    human_input::Asker,
    replay::{Decision, Replay},
    target,
};
use crate::{
    domain::{
        body::Body,
        event::EventKind,
        in_doubt::{self, Words},
        journal::{Place, RunEntry, RunRecord},
        run::{PlanSummary, Purpose, RunId, RunOutcome, RunReport, RunSpec, RunStep, StepAnswer, StepSummary},
        time::Stamp,
        workflow::{
            catalog_lookup::CatalogView,
            check::check_against,
            expression::{Data, RunFacts},
            input_values,
            name::{self, shell},
            parse::{Source, parse},
            plan::{Action, Plan, PlanStep},
            problem::Problem,
        },
    },
    engine::Engine,
};

/// A run that cannot begin, or not go on.
struct Refusal {
    outcome: RunOutcome,
    why: String,
    detail: Vec<String>,
}

impl Refusal {
    fn invalid(why: impl Into<String>, detail: Vec<String>) -> Refusal {
        Refusal { outcome: RunOutcome::Invalid, why: why.into(), detail }
    }

    fn of(problems: &[Problem]) -> Refusal {
        let detail = problems.iter().flat_map(|problem| problem.render().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        Refusal::invalid(first, detail)
    }
}

/// A run of its own.
pub async fn fresh(engine: Arc<Engine>, run: RunId, spec: Arc<RunSpec>, stop: Arc<Stop>) {
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let problems = engine.bus.read_state(|read_model| check_against(&plan, &CatalogView(read_model)));
        if !problems.is_empty() {
            return Err(Refusal::of(&problems));
        }
        let (memory, taken) = match &spec.from {
            Some(from) => earlier(&engine, &plan, from.run, &from.step).await?,
            None => (Replay::default(), vec![]),
        };
        let started_ms = engine.bus.read_state(|read_model| read_model.epoch.unix_ms(engine.bus_now()));
        let facts = RunFacts { id: run.to_string(), started_ms, attempt: 1 };
        let (answers, ask) = (spec.answers.clone(), spec.ask);
        let _held = hold(&engine, run).await?;
        let noted = Default::default();
        let shared =
            Run { id: run, engine: engine.clone(), spec: spec.clone(), answers, ask, facts, memory, stop: stop.clone(), noted, _held };
        shared.note(RunEntry::Began { spec: spec.clone(), unix_ms: started_ms });
        taken.into_iter().for_each(|entry| shared.note(entry));
        shared.flush().await.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        announce(&shared, &plan);
        Ok((shared, plan, input))
    };
    let begun = guarded(work).await;
    carry_out(&engine, run, &spec, begun).await;
}

/// A run that goes on.
pub async fn again(engine: Arc<Engine>, run: RunId, how: Resumption, stop: Arc<Stop>) {
    let Resumption { answers, ask, timeout } = how;
    let nothing = |why: String| Refusal::invalid(why, vec![]);
    // First of all: what another process still writes must not be taken for its end.
    let held = match hold(&engine, run).await {
        Ok(held) => held,
        Err(refusal) => return refuse(&engine, run, "", refusal),
    };
    let record = match engine.runs.journal.load(run).await {
        Ok(Some(record)) => record,
        Ok(None) => return refuse(&engine, run, "", nothing(format!("nothing is known of the run {run}"))),
        Err(error) => return refuse(&engine, run, "", nothing(format!("the journal cannot be read: {error}"))),
    };
    let Some(spec) = record.spec().cloned() else {
        return refuse(&engine, run, "", nothing(format!("the journal of the run {run} has no beginning")));
    };
    let spec = match timeout {
        Some(_) => Arc::new(RunSpec { timeout, ..RunSpec::clone(&spec) }),
        None => spec,
    };
    // Before anything is announced: what stands of the run stays as it is.
    let said = plan_of(&spec).ok().map_or(Ok(()), |plan| about_doubts(&record, &plan, &answers));
    if let Err(refusal) = said {
        return refuse(&engine, run, &spec.workflow, refusal);
    }
    if let Some(report) = record.report().cloned() {
        let plan = plan_of(&spec)
            .map(|plan| summary(&plan, &spec.workflow))
            .unwrap_or_else(|_| PlanSummary { name: spec.workflow.clone(), ..Default::default() });
        let (input, origin) = (spec.input.clone(), spec.origin);
        engine.bus.publish(EventKind::RunStarted { run, plan: Arc::new(plan), input, origin });
        let report = RunReport { detail: vec!["it had ended before; nothing was done now".into()], ..(*report).clone() };
        engine.bus.publish(EventKind::RunSettled { run, report: Arc::new(report) });
        return engine.runs.leave(run);
    }
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let lives = record.entries.iter().filter(|entry| matches!(entry, RunEntry::Resumed { .. })).count();
        let started_ms = record.entries.iter().find_map(|entry| match entry {
            RunEntry::Began { unix_ms, .. } => Some(*unix_ms),
            _ => None,
        });
        let attempt = u32::try_from(lives).unwrap_or(u32::MAX).saturating_add(2);
        let facts = RunFacts { id: run.to_string(), started_ms: started_ms.unwrap_or_default(), attempt };
        let answers = answers.into_iter().chain(spec.answers.iter().cloned()).collect();
        let memory = Replay::of(&record);
        let (engine, spec, noted) = (engine.clone(), spec.clone(), Default::default());
        let mut shared = Run { id: run, engine, spec, answers, ask, facts, memory, stop: stop.clone(), noted, _held: held };
        announce(&shared, &plan);
        tokio::select! {
            biased;
            () = stop.whole.raised() => {
                return Err(Refusal { outcome: RunOutcome::Cancelled, why: stop.whole.why(), detail: vec!["it can be resumed".into()] });
            }
            decided = decide(&mut shared, &plan, &record) => decided?,
        }
        let unix_ms = shared.bus().read_state(|read_model| read_model.epoch.unix_ms(shared.engine.bus_now()));
        let written = shared.write(RunEntry::Resumed { unix_ms }).await;
        written.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        Ok((shared, plan, input))
    };
    let begun = guarded(work).await;
    carry_out(&engine, run, &spec, begun).await;
}

/// Takes the run for this process alone.
async fn hold(engine: &Engine, run: RunId) -> Result<RunLock, Refusal> {
    match engine.runs.journal.lock(run).await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(Refusal::invalid(
            format!("the run {run} is under way in another process"),
            vec!["it can be resumed when that one has ended".into()],
        )),
        Err(error) => Err(Refusal { outcome: RunOutcome::Failed, why: format!("the run cannot be locked: {error}"), detail: vec![] }),
    }
}

/// A fault of ours ends this run and nothing else.
async fn guarded<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(broken()))
}

fn broken() -> Refusal {
    let why = "the run broke down within Switchboard; please report this with what was written to stderr";
    Refusal { outcome: RunOutcome::Failed, why: why.into(), detail: vec![] }
}

async fn carry_out(engine: &Arc<Engine>, run: RunId, spec: &RunSpec, begun: Result<(Run, Plan, Data), Refusal>) {
    let (shared, plan, input) = match begun {
        Ok(begun) => begun,
        Err(refusal) => return refuse(engine, run, &spec.workflow, refusal),
    };
    let started = engine.bus_now();
    let deadline = spec.timeout.or(plan.timeout).map(|limit| Instant::now() + limit);
    let frame = Frame { prefix: String::new(), depth: 0, input, signal: shared.stop.whole.child(), deadline };
    let work = async { Ok(flow::run(&shared, &plan, frame).await) };
    let report = match guarded(work).await {
        Ok(end) => report(end, started, engine.bus_now(), shared.stop.is_interrupted()),
        Err(refusal) => refused(&refusal, started),
    };
    let report = Arc::new(report);
    let written = if shared.stop.is_interrupted() {
        // What ended before is not in doubt.
        shared.flush().await
    } else {
        shared.write(RunEntry::Ended { report: report.clone() }).await
    };
    if let Err(error) = written {
        engine.bus.notice(
            crate::domain::event::NoticeLevel::Warn,
            format!("the end of run {} could not be written: {}", run.short(), error.message),
        );
    }
    engine.bus.publish(EventKind::RunSettled { run, report });
    engine.runs.leave(run);
}

fn report(end: FlowEnd, started: Stamp, ended: Stamp, interrupted: bool) -> RunReport {
    let mut report = RunReport {
        outcome: end.outcome,
        why: end.why,
        detail: vec![],
        steps: end.steps,
        output: end.output.map(|data| data.body()),
        compensated: end.compensated,
        not_compensated: end.not_compensated,
        started,
        ended,
    };
    if interrupted {
        report.outcome = RunOutcome::Cancelled;
        report.detail = vec!["it was interrupted and can be resumed".into()];
    }
    report
}

fn refused(refusal: &Refusal, now: Stamp) -> RunReport {
    RunReport {
        outcome: refusal.outcome,
        why: Some(refusal.why.clone()),
        detail: refusal.detail.clone(),
        steps: vec![],
        output: None,
        compensated: vec![],
        not_compensated: vec![],
        started: now,
        ended: now,
    }
}

/// Tells that a run could not begin or not go on.
fn refuse(engine: &Engine, run: RunId, workflow: &str, refusal: Refusal) {
    let now = engine.bus_now();
    if engine.bus.read_state(|read_model| read_model.runs.get(run).is_none_or(|view| view.report.is_some())) {
        let plan = PlanSummary { name: workflow.into(), ..PlanSummary::default() };
        let origin = crate::domain::call::Origin::Workflow;
        engine.bus.publish(EventKind::RunStarted { run, plan: Arc::new(plan), input: Body::from("{}"), origin });
    }
    engine.bus.publish(EventKind::RunSettled { run, report: Arc::new(refused(&refusal, now)) });
    engine.runs.leave(run);
}

fn announce(run: &Run, plan: &Plan) {
    let kind = EventKind::RunStarted {
        run: run.id,
        plan: Arc::new(summary(plan, &run.spec.workflow)),
        input: run.spec.input.clone(),
        origin: run.spec.origin,
    };
    run.bus().publish(kind);
}

/// The shape of a plan, under the name that the run has for it.
fn summary(plan: &Plan, name: &Arc<str>) -> PlanSummary {
    let step = |step: &PlanStep| StepSummary {
        id: step.id.clone(),
        what: match &step.action {
            Action::Tool(call) => call.tool.to_string(),
            other => format!("{} {}", other.word(), other.subject()),
        },
        for_each: step.for_each.is_some(),
        compensates: step.compensate.is_some(),
    };
    let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    let edges = plan.steps.iter().enumerate().flat_map(|(at, step)| step.needs.iter().map(move |need| (number(*need), number(at))));
    PlanSummary { name: name.clone(), steps: plan.steps.iter().map(step).collect(), edges: edges.collect() }
}

fn plan_of(spec: &RunSpec) -> Result<Plan, Refusal> {
    let Some(main) = spec.sources.first() else { return Err(Refusal::invalid("there is no text of the workflow", vec![])) };
    let source = |text: &crate::domain::run::WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| spec.sources.iter().skip(1).find(|text| text.name == name).map(source);
    parse(&source(main), &library).map_err(|problems| Refusal::of(&problems))
}

fn input_of(plan: &Plan, given: &Body) -> Result<Data, Refusal> {
    let text = if given.is_empty() { "{}".into() } else { given.text() };
    let data = Data::parse(&text).map_err(|error| Refusal::invalid(format!("the input is no JSON: {error}"), vec![]))?;
    input_values::prepare(&plan.input, &data).map_err(|wrong| {
        let why = wrong.first().map(|first| format!("the input does not fit: {first}")).unwrap_or_default();
        Refusal::invalid(why, wrong.into_iter().skip(1).collect())
    })
}

/// What an earlier run did before a step.
async fn earlier(engine: &Engine, plan: &Plan, run: RunId, step: &str) -> Result<(Replay, Vec<RunEntry>), Refusal> {
    let Some(from) = plan.index(step) else { return Err(Refusal::invalid(format!("there is no step `{step}`"), vec![])) };
    let record = engine.runs.journal.load(run).await;
    match record.map_err(|error| Refusal::invalid(format!("the journal cannot be read: {error}"), vec![]))? {
        Some(record) => Ok(Replay::before(&record, plan, from)),
        None => Err(Refusal::invalid(format!("nothing is known of the run {run}"), vec![])),
    }
}

/// Refuses words about steps that are not in doubt: they would change nothing.
fn about_doubts(record: &RunRecord, plan: &Plan, words: &Words) -> Result<(), Refusal> {
    in_doubt::check(record, plan, words).map_err(|(_, wrong)| Refusal::invalid(wrong.message, vec![wrong.hint]))
}

/// Decides what becomes of requests that were sent and of whose end nothing is known: what may be
/// repeated is, what somebody said something about is done so, all else is asked about or stops the run.
async fn decide(run: &mut Run, plan: &Plan, record: &RunRecord) -> Result<(), Refusal> {
    let mut open: Vec<String> = vec![];
    for (place, what, arguments) in record.in_doubt() {
        let said = match in_doubt::word(&run.answers, &place) {
            Some(said) => Some(said.clone()),
            None if vouched(plan, &place) || target::tool(run, &what).await.is_ok_and(|target| target.repeatable) => {
                Some(StepAnswer::RetryMode)
            }
            None if run.ask => {
                let step = RunStep { run: run.id, step: place.step.clone(), item: place.item, purpose: place.purpose };
                Asker { run, step }.doubt(&what, &arguments).await
            }
            None => None,
        };
        let decision = match said {
            Some(StepAnswer::RetryMode) => Decision::RetryMode,
            Some(StepAnswer::Skip { result }) => Decision::Done(result),
            _ => {
                let item = place.item.map(|item| format!("[{item}]")).unwrap_or_default();
                open.push(format!(
                    "step `{}{item}` ({}): {what} with {} was sent and may have run",
                    place.step,
                    place.purpose.word(),
                    arguments.text()
                ));
                let name = shell(&place.step, place.item);
                open.push(format!("  --repeat {name} does it again, --skip {name}=JSON takes JSON for its result"));
                continue;
            }
        };
        run.memory.decisions.insert(place, decision);
    }
    if open.is_empty() {
        return Ok(());
    }
    let why = "the run was interrupted while requests were under way that cannot safely be repeated";
    Err(Refusal { outcome: RunOutcome::InDoubt, why: why.into(), detail: open })
}

/// Whether the author of the workflow vouches that the step may run twice.
fn vouched(plan: &Plan, place: &Place) -> bool {
    place.purpose == Purpose::Step && name::find(plan, &place.step).is_some_and(|step| step.idempotent)
}

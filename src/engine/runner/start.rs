//! Starts and resumes runs: checks the plan and input, takes the run lock, loads the replay, resolves in-doubt steps, runs the
//! flow and publishes the report.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Resumption, Run, RunLock, RunSignals, Runs,
    flow::{self, FlowEnd, Frame},
    human_input::Asker,
    nested::Nested,
    replay::{InDoubtResolution, Replay},
    target,
};
use crate::domain::{
    body::Body,
    event::EventKind,
    in_doubt::{self, Resolutions},
    journal::{Place, RunEntry, RunRecord},
    run::{PlanSummary, Purpose, RunId, RunOutcome, RunReport, RunSpec, RunStep, StepAnswer, StepSummary},
    time::Stamp,
    workflow::{
        catalog_lookup::CatalogView,
        check::check_against,
        expression::{Data, RunFacts},
        input_values,
        name::{self, shell_quoted},
        parse::{Source, parse},
        plan::{Action, Plan, PlanStep},
        problem::Problem,
    },
};
use crate::engine::ports::CallExecutor;

/// The reason why a run cannot start or resume.
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

/// Runs a new run.
pub async fn start(runs: Arc<Runs>, executor: Arc<dyn CallExecutor>, run: RunId, spec: Arc<RunSpec>, signals: Arc<RunSignals>) {
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let problems = check_against(&plan, &CatalogView(&*runs.registry.read()));
        if !problems.is_empty() {
            return Err(Refusal::of(&problems));
        }
        let (replay, entries) = match &spec.from {
            Some(from) => replay_of(&runs, &plan, from.run, &from.step).await?,
            None => (Replay::default(), vec![]),
        };
        let started_ms = runs.bus.epoch().unix_ms(runs.bus.now());
        let facts = RunFacts { id: run.to_string(), started_ms, attempt: 1 };
        let (answers, ask) = (spec.answers.clone(), spec.ask);
        let _lock = take_lock(&runs, run).await?;
        let pending = Default::default();
        let shared = Run {
            id: run,
            runs: runs.clone(),
            executor,
            spec: spec.clone(),
            answers,
            ask,
            facts,
            replay,
            signals: signals.clone(),
            pending,
            nested: Nested::of(&plan),
            groups: Default::default(),
            compensated: Default::default(),
            _lock,
        };
        shared.queue(RunEntry::Began { spec: spec.clone(), unix_ms: started_ms });
        entries.into_iter().for_each(|entry| shared.queue(entry));
        shared.write_pending().await.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        announce(&shared, &plan);
        Ok((shared, plan, input))
    };
    let prepared = contain_panics(work).await;
    execute(&runs, run, &spec, prepared).await;
}

/// Resumes an interrupted run.
pub async fn resume(runs: Arc<Runs>, executor: Arc<dyn CallExecutor>, run: RunId, how: Resumption, signals: Arc<RunSignals>) {
    let Resumption { answers, ask, timeout } = how;
    let invalid = |why: String| Refusal::invalid(why, vec![]);
    // Locked before the journal is read: another process may still be writing it.
    let lock = match take_lock(&runs, run).await {
        Ok(lock) => lock,
        Err(refusal) => return refuse(&runs, run, "", refusal),
    };
    let record = match runs.journal.load(run).await {
        Ok(Some(record)) => record,
        Ok(None) => return refuse(&runs, run, "", invalid(format!("the journal has no run {run}"))),
        Err(error) => return refuse(&runs, run, "", invalid(format!("the journal cannot be read: {error}"))),
    };
    let Some(spec) = record.spec().cloned() else {
        return refuse(&runs, run, "", invalid(format!("the journal of the run {run} lacks its first entry")));
    };
    let spec = match timeout {
        Some(_) => Arc::new(RunSpec { timeout, ..RunSpec::clone(&spec) }),
        None => spec,
    };
    // Checked before anything is published: the view of the run stays as it is.
    let resolution = plan_of(&spec).ok().map_or(Ok(()), |plan| check_resolutions(&record, &plan, &answers));
    if let Err(refusal) = resolution {
        return refuse(&runs, run, &spec.workflow, refusal);
    }
    if let Some(report) = record.report().cloned() {
        let plan = plan_of(&spec)
            .map(|plan| summary(&plan, &spec.workflow))
            .unwrap_or_else(|_| PlanSummary { name: spec.workflow.clone(), ..Default::default() });
        let (input, origin) = (spec.input.clone(), spec.origin);
        runs.bus.publish(EventKind::RunStarted { run, plan: Arc::new(plan), input, origin });
        let report = RunReport { detail: vec!["the run has already ended; nothing was done".into()], ..(*report).clone() };
        runs.bus.publish(EventKind::RunSettled { run, report: Arc::new(report) });
        return runs.deactivate(run);
    }
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let resumptions = record.entries.iter().filter(|entry| matches!(entry, RunEntry::Resumed { .. })).count();
        let started_ms = record.entries.iter().find_map(|entry| match entry {
            RunEntry::Began { unix_ms, .. } => Some(*unix_ms),
            _ => None,
        });
        let attempt = u32::try_from(resumptions).unwrap_or(u32::MAX).saturating_add(2);
        let facts = RunFacts { id: run.to_string(), started_ms: started_ms.unwrap_or_default(), attempt };
        let answers = answers.into_iter().chain(spec.answers.iter().cloned()).collect();
        let replay = Replay::of(&record);
        let (runs, spec, pending) = (runs.clone(), spec.clone(), Default::default());
        let (nested, compensated) = (Nested::of(&plan), Default::default());
        let mut shared = Run {
            id: run,
            runs,
            executor,
            spec,
            answers,
            ask,
            facts,
            replay,
            signals: signals.clone(),
            pending,
            nested,
            groups: Default::default(),
            compensated,
            _lock: lock,
        };
        announce(&shared, &plan);
        tokio::select! {
            biased;
            () = signals.forward.raised() => {
                return Err(Refusal { outcome: RunOutcome::Cancelled, why: signals.forward.why(), detail: vec!["the run can be resumed".into()] });
            }
            resolved = resolve_in_doubt(&mut shared, &plan, &record) => resolved?,
        }
        let unix_ms = shared.bus().epoch().unix_ms(shared.bus().now());
        let written = shared.write(RunEntry::Resumed { unix_ms }).await;
        written.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        Ok((shared, plan, input))
    };
    let prepared = contain_panics(work).await;
    execute(&runs, run, &spec, prepared).await;
}

/// Takes the run lock for this process.
async fn take_lock(runs: &Runs, run: RunId) -> Result<RunLock, Refusal> {
    match runs.journal.lock(run).await {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Refusal::invalid(
            format!("the run {run} is active in another process"),
            vec!["wait until that process has ended, then resume the run".into()],
        )),
        Err(error) => Err(Refusal { outcome: RunOutcome::Failed, why: format!("the run cannot be locked: {error}"), detail: vec![] }),
    }
}

/// Contains a panic: it ends this run only.
async fn contain_panics<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(internal_failure()))
}

fn internal_failure() -> Refusal {
    let why = "the run failed because of a bug in Switchboard; report this bug with the output on stderr";
    Refusal { outcome: RunOutcome::Failed, why: why.into(), detail: vec![] }
}

async fn execute(runs: &Arc<Runs>, run: RunId, spec: &RunSpec, prepared: Result<(Run, Plan, Data), Refusal>) {
    let (shared, plan, input) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return refuse(runs, run, &spec.workflow, refusal),
    };
    let started = runs.bus.now();
    let deadline = spec.timeout.map(|limit| Instant::now() + limit);
    let signal = shared.signals.forward.child();
    let frame = Frame { prefix: String::new(), depth: 0, input, signal, deadline, compensates: false };
    let work = async { Ok(flow::run(&shared, &plan, frame).await) };
    let report = match contain_panics(work).await {
        Ok(end) => report(end, shared.take_compensated(), (started, runs.bus.now()), shared.signals.is_interrupted()),
        Err(refusal) => refused(&refusal, started),
    };
    let report = Arc::new(report);
    let written = if shared.signals.is_interrupted() {
        // Steps that ended must not become in-doubt.
        shared.write_pending().await
    } else {
        shared.write(RunEntry::Ended { report: report.clone() }).await
    };
    if let Err(error) = written {
        runs.bus.notice(
            crate::domain::event::NoticeLevel::Warn,
            format!("the end of run {} could not be recorded: {}", run.short(), error.message),
        );
    }
    runs.bus.publish(EventKind::RunSettled { run, report });
    runs.deactivate(run);
}

fn report(end: FlowEnd, compensated: Vec<String>, (started, ended): (Stamp, Stamp), interrupted: bool) -> RunReport {
    let mut report = RunReport {
        outcome: end.outcome,
        why: end.why,
        detail: vec![],
        steps: end.steps,
        output: end.output.map(|data| data.body()),
        compensated,
        not_compensated: end.not_compensated,
        started,
        ended,
    };
    if interrupted {
        report.outcome = RunOutcome::Cancelled;
        report.detail = vec!["the run was interrupted and can be resumed".into()];
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

/// Publishes the report of a run that cannot start or resume.
fn refuse(runs: &Runs, run: RunId, workflow: &str, refusal: Refusal) {
    let now = runs.bus.now();
    if !runs.is_announced(run) {
        let plan = PlanSummary { name: workflow.into(), ..PlanSummary::default() };
        let origin = crate::domain::call::Origin::Workflow;
        runs.bus.publish(EventKind::RunStarted { run, plan: Arc::new(plan), input: Body::from("{}"), origin });
    }
    runs.bus.publish(EventKind::RunSettled { run, report: Arc::new(refused(&refusal, now)) });
    runs.deactivate(run);
}

fn announce(run: &Run, plan: &Plan) {
    let kind = EventKind::RunStarted {
        run: run.id,
        plan: Arc::new(summary(plan, &run.spec.workflow)),
        input: run.spec.input.clone(),
        origin: run.spec.origin,
    };
    run.signals.announced.store(true, Ordering::Relaxed);
    run.bus().publish(kind);
}

/// Returns the shape of a plan under the run's name for it.
fn summary(plan: &Plan, name: &Arc<str>) -> PlanSummary {
    let step = |step: &PlanStep| StepSummary {
        id: step.id.clone(),
        what: match &step.action {
            Action::Tool(call) => call.tool.to_string(),
            Action::Let { .. } => "let".to_owned(),
            other => format!("{} {}", other.kind().word(), other.subject()),
        },
        for_each: step.for_each.is_some(),
        compensates: step.compensate.is_some(),
    };
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let drawn = plan.drawn_needs().into_iter().enumerate();
    let edges = drawn.flat_map(|(at, needs)| needs.into_iter().map(move |need| (number(need), number(at))));
    PlanSummary { name: name.clone(), steps: plan.steps.iter().map(step).collect(), edges: edges.collect() }
}

fn plan_of(spec: &RunSpec) -> Result<Plan, Refusal> {
    let Some(main) = spec.sources.first() else { return Err(Refusal::invalid("the workflow has no source text", vec![])) };
    let source = |text: &crate::domain::run::WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| spec.sources.iter().skip(1).find(|text| text.name == name).map(source);
    parse(&source(main), &library).map_err(|problems| Refusal::of(&problems))
}

fn input_of(plan: &Plan, input: &Body) -> Result<Data, Refusal> {
    let text = if input.is_empty() { "{}".into() } else { input.text() };
    let data = Data::parse(&text).map_err(|error| Refusal::invalid(format!("the input is not valid JSON: {error}"), vec![]))?;
    input_values::prepare(&plan.input, &data).map_err(|problems| {
        let why = problems.first().map(|first| format!("the input does not fit: {first}")).unwrap_or_default();
        Refusal::invalid(why, problems.into_iter().skip(1).collect())
    })
}

/// Returns what an earlier run did before a step.
async fn replay_of(runs: &Runs, plan: &Plan, run: RunId, step: &str) -> Result<(Replay, Vec<RunEntry>), Refusal> {
    let Some(from) = plan.index(step) else { return Err(Refusal::invalid(format!("unknown step `{step}`"), vec![])) };
    let record = runs.journal.load(run).await;
    match record.map_err(|error| Refusal::invalid(format!("the journal cannot be read: {error}"), vec![]))? {
        Some(record) => Ok(Replay::before(&record, plan, from)),
        None => Err(Refusal::invalid(format!("the journal has no run {run}"), vec![])),
    }
}

/// Refuses resolutions of steps that are not in doubt: they would have no effect.
fn check_resolutions(record: &RunRecord, plan: &Plan, words: &Resolutions) -> Result<(), Refusal> {
    in_doubt::check(record, plan, words).map_err(|(_, problem)| Refusal::invalid(problem.message, vec![problem.hint]))
}

/// Resolves in-doubt requests. Repeatable ones are repeated, resolutions given in advance are applied, and the user is asked
/// about the rest or the run stops.
async fn resolve_in_doubt(run: &mut Run, plan: &Plan, record: &RunRecord) -> Result<(), Refusal> {
    let mut open: Vec<String> = vec![];
    for (place, what, arguments) in record.in_doubt() {
        let answer = match in_doubt::resolution(&run.answers, &place) {
            Some(answer) => Some(answer.clone()),
            None if is_idempotent(plan, &place) || target::tool(run, &what).await.is_ok_and(|target| target.repeatable) => {
                Some(StepAnswer::Repeat)
            }
            None if run.ask => {
                let step = RunStep { run: run.id, step: place.step.clone(), item: place.item, purpose: place.purpose, retries: false };
                Asker { run, step }.resolve_in_doubt(&what, &arguments).await
            }
            None => None,
        };
        let resolution = match answer {
            Some(StepAnswer::Repeat) => InDoubtResolution::Repeat,
            Some(StepAnswer::Skip { result }) => InDoubtResolution::Done(result),
            _ => {
                let item = place.item.map(|item| format!("[{item}]")).unwrap_or_default();
                open.push(format!(
                    "step `{}{item}` ({}): {what} with {} was sent and may have run",
                    place.step,
                    place.purpose.word(),
                    arguments.text()
                ));
                let name = shell_quoted(&place.step, place.item);
                open.push(format!("  use --repeat {name} to repeat it, or --skip {name}=JSON to use JSON as its result"));
                continue;
            }
        };
        run.replay.resolutions.insert(place, resolution);
    }
    if open.is_empty() {
        return Ok(());
    }
    let why = "the run was interrupted while requests were in flight that cannot safely be repeated";
    Err(Refusal { outcome: RunOutcome::InDoubt, why: why.into(), detail: open })
}

/// Returns whether the author of the workflow declares the step or its compensation idempotent.
fn is_idempotent(plan: &Plan, place: &Place) -> bool {
    let Some(step) = name::find_step(plan, &place.step) else { return false };
    match place.purpose {
        Purpose::Step => step.idempotent,
        // A fallback may have answered, whose own compensation was made.
        Purpose::Compensation => step.fallback.is_empty() && step.compensate.as_ref().is_some_and(|undo| undo.idempotent),
        Purpose::Fallback => false,
    }
}

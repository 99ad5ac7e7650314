//! Starts and resumes runs: checks the plan and input, takes the lease, loads the replay, resolves in-doubt steps, runs the
//! flow and publishes the report.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Resumption, Run, RunSignals, Runs, TAKEN_OVER,
    flow::{self, FlowEnd, Frame},
    human_input::Asker,
    nested::Nested,
    replay::{InDoubtResolution, Replay},
    step_state::label,
    target,
};
use crate::domain::{
    body::Body,
    event::EventKind,
    in_doubt::{self, Resolutions},
    journal::{Place, RunEntry, RunRecord, Seq},
    run::{PlanSummary, Purpose, RunId, RunOutcome, RunQuestion, RunReport, RunSpec, RunStep, StepAnswer, StepState, StepSummary},
    time::{Stamp, short},
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
use crate::engine::ports::{CallExecutor, RunLease};

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

    /// Refuses to resume a run whose deadline passed this long ago: its steps would fail, and what it did would be undone.
    fn too_late(run: RunId, passed: Duration) -> Refusal {
        let detail = vec![
            format!("give it more time with: switchboard runs resume {run} --timeout 10m"),
            format!("or undo what it did with: switchboard runs undo {run}"),
        ];
        Refusal::invalid(format!("the deadline of the run passed {} ago", short(passed)), detail)
    }

    fn of(problems: &[Problem]) -> Refusal {
        let detail = problems.iter().flat_map(|problem| problem.render().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        Refusal::invalid(first, detail)
    }
}

/// Returns the time `limit` after `unix_ms`, in milliseconds since the Unix epoch.
fn after_ms(unix_ms: u64, limit: Duration) -> u64 {
    unix_ms.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

/// How a run begins in this process.
struct Beginning {
    /// Answers given in advance, those of a resumption first.
    answers: Vec<(String, StepAnswer)>,
    ask: bool,
    wait: bool,
    facts: RunFacts,
    replay: Replay,
    lease: Box<dyn RunLease>,
    /// When the run must have ended, in milliseconds since the Unix epoch.
    deadline_ms: Option<u64>,
    /// The number of the last entry in the journal.
    written: Seq,
}

impl Run {
    fn new(
        (id, spec): (RunId, Arc<RunSpec>),
        plan: &Plan,
        (runs, executor, signals): (&Arc<Runs>, Arc<dyn CallExecutor>, &Arc<RunSignals>),
        beginning: Beginning,
    ) -> Run {
        let Beginning { answers, ask, wait, facts, replay, lease, deadline_ms, written } = beginning;
        Run {
            id,
            runs: runs.clone(),
            executor,
            spec,
            answers,
            ask,
            wait,
            questions: Default::default(),
            facts,
            replay,
            signals: signals.clone(),
            pending: Default::default(),
            nested: Nested::of(plan),
            groups: Default::default(),
            compensated: Default::default(),
            lease,
            deadline_ms,
            written: written.into(),
        }
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
        let (answers, ask, wait) = (spec.answers.clone(), spec.ask, spec.wait);
        let (lease, written) = (take_lease(&runs, run).await?, Seq::default());
        let beginning = Beginning { answers, ask, wait, facts, replay, lease, deadline_ms: None, written };
        let shared = Run::new((run, spec.clone()), &plan, (&runs, executor, &signals), beginning);
        let deadline_ms = flow::time_limit(&shared, &plan, &input).map(|limit| after_ms(started_ms, limit));
        shared.queue(RunEntry::Began { spec: spec.clone(), unix_ms: started_ms, deadline_ms });
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
    let Resumption { answers, ask, wait, timeout } = how;
    let (spec, record, lease) = match recorded(&runs, run).await {
        Ok(found) => found,
        Err(refusal) => return refuse(&runs, run, "", refusal),
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
        let mut detail = vec!["the run has already ended; nothing was done".to_owned()];
        if !report.not_compensated.is_empty() {
            detail.push(format!("undo the rest with: switchboard runs undo {run}"));
        }
        let report = RunReport { detail, ..(*report).clone() };
        return runs.settle(run, Arc::new(report));
    }
    let now_ms = runs.bus.unix_ms();
    let replaced = timeout.map(|limit| after_ms(now_ms, limit));
    let deadline_ms = replaced.or_else(|| record.deadline_ms());
    if let Some(passed) = deadline_ms.filter(|deadline| *deadline <= now_ms) {
        return refuse(&runs, run, &spec.workflow, Refusal::too_late(run, Duration::from_millis(now_ms - passed)));
    }
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let facts = RunFacts { id: run.to_string(), started_ms: record.started_ms(), attempt: attempt_of(&record) };
        let answers = answers.into_iter().chain(spec.answers.iter().cloned()).collect();
        let (replay, written) = (Replay::of(&record), record.last());
        let beginning = Beginning { answers, ask, wait, facts, replay, lease, deadline_ms, written };
        let mut shared = Run::new((run, spec.clone()), &plan, (&runs, executor, &signals), beginning);
        announce(&shared, &plan);
        tokio::select! {
            biased;
            () = signals.forward.raised() => {
                return Err(Refusal { outcome: RunOutcome::Cancelled, why: signals.forward.why(), detail: vec!["the run can be resumed".into()] });
            }
            resolved = resolve_in_doubt(&mut shared, &plan, record.in_doubt()) => resolved?,
        }
        let unix_ms = shared.bus().epoch().unix_ms(shared.bus().now());
        let written = shared.write(RunEntry::Resumed { unix_ms, deadline_ms: replaced }).await;
        written.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        Ok((shared, plan, input))
    };
    let prepared = contain_panics(work).await;
    execute(&runs, run, &spec, prepared).await;
}

/// Undoes what a run did and has not undone yet, whether it ended or was interrupted. Compensations that failed are tried again.
/// What cannot be undone is in the report.
pub async fn undo(runs: Arc<Runs>, executor: Arc<dyn CallExecutor>, run: RunId, how: Resumption, signals: Arc<RunSignals>) {
    let Resumption { answers, ask, wait, .. } = how;
    let (spec, record, lease) = match recorded(&runs, run).await {
        Ok(found) => found,
        Err(refusal) => return refuse(&runs, run, "", refusal),
    };
    let started = runs.bus.now();
    let (in_doubt, sent): (Vec<_>, Vec<_>) = record.in_doubt().into_iter().partition(|(place, ..)| place.purpose == Purpose::Compensation);
    let work = async {
        let plan = plan_of(&spec)?;
        let input = input_of(&plan, &spec.input)?;
        let attempt = attempt_of(&record);
        let facts = RunFacts { id: run.to_string(), started_ms: record.started_ms(), attempt };
        let (replay, written) = (Replay::to_undo(&record), record.last());
        let beginning = Beginning { answers, ask, wait, facts, replay, lease, deadline_ms: None, written };
        let mut shared = Run::new((run, spec.clone()), &plan, (&runs, executor, &signals), beginning);
        announce(&shared, &plan);
        resolve_in_doubt(&mut shared, &plan, in_doubt).await?;
        let unix_ms = shared.bus().unix_ms();
        let written = shared.write(RunEntry::Resumed { unix_ms, deadline_ms: None }).await;
        written.map_err(|error| Refusal { outcome: RunOutcome::Failed, why: error.message, detail: vec![] })?;
        Ok((shared, plan, input))
    };
    let (shared, plan, input) = match contain_panics(work).await {
        Ok(prepared) => prepared,
        Err(refusal) => return refuse(&runs, run, &spec.workflow, refusal),
    };
    // No step starts any more: the first cancellation concerns the compensation.
    let signal = shared.signals.forward.child();
    shared.signals.forward.raise("the run is being undone");
    let frame = Frame { prefix: String::new(), depth: 0, input, signal, deadline: None, compensates: true, parent: None };
    let work = async { Ok(flow::undo(&shared, &plan, frame).await) };
    let report = match contain_panics(work).await {
        Ok(end) => undone(report(end, &shared, (started, runs.bus.now())), sent),
        Err(refusal) => refused(&refusal, started),
    };
    if report.compensated.is_empty() && report.not_compensated.is_empty() {
        // The run stays as it ended.
        let outcome = record.report().map_or(RunOutcome::Failed, |report| report.outcome);
        let report = RunReport { outcome, why: Some("the run has nothing to undo".into()), ..report };
        return runs.settle(run, Arc::new(report));
    }
    conclude(&runs, shared, Arc::new(report)).await;
}

/// Completes the report of an undone run with the requests that were `sent` and whose end is not known.
fn undone(mut report: RunReport, sent: Vec<(Place, String, Body)>) -> RunReport {
    let unknown = |(place, what, _): (Place, String, Body)| {
        (label(&place.step, place.item), format!("{what} was sent when the run was interrupted and may have taken effect"))
    };
    report.not_compensated.extend(sent.into_iter().map(unknown));
    report.why = None;
    if matches!(report.outcome, RunOutcome::Failed | RunOutcome::Compensated | RunOutcome::Refused) {
        report.outcome = match (report.not_compensated.is_empty(), report.compensated.is_empty()) {
            (false, _) => RunOutcome::CompensationFailed,
            (true, false) => RunOutcome::Compensated,
            (true, true) => RunOutcome::Failed,
        };
    }
    report
}

/// Takes the lease of a run, and reads its request and its journal.
async fn recorded(runs: &Runs, run: RunId) -> Result<(Arc<RunSpec>, RunRecord, Box<dyn RunLease>), Refusal> {
    let invalid = |why: String| Refusal::invalid(why, vec![]);
    // Taken before the journal is read: another process may still be writing it.
    let lease = take_lease(runs, run).await?;
    let record = runs.journal.load(run).await.map_err(|error| invalid(format!("the journal cannot be read: {error}")))?;
    let record = record.ok_or_else(|| invalid(format!("the journal has no run {run}")))?;
    let spec = record.spec().cloned().ok_or_else(|| invalid(format!("the journal of the run {run} lacks its first entry")))?;
    Ok((spec, record, lease))
}

/// Returns the number of the process that executes the run, from 1.
fn attempt_of(record: &RunRecord) -> u32 {
    let resumptions = record.entries.iter().filter(|entry| matches!(entry, RunEntry::Resumed { .. })).count();
    u32::try_from(resumptions).unwrap_or(u32::MAX).saturating_add(2)
}

/// Takes the lease of a run for this process.
async fn take_lease(runs: &Runs, run: RunId) -> Result<Box<dyn RunLease>, Refusal> {
    match runs.journal.lease(run).await {
        Ok(Some(lease)) => Ok(lease),
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
    let left = |deadline_ms: u64| Duration::from_millis(deadline_ms.saturating_sub(runs.bus.unix_ms()));
    let deadline = shared.deadline_ms.map(left).or(spec.timeout).map(|limit| Instant::now() + limit);
    let signal = shared.signals.forward.child();
    let frame = Frame { prefix: String::new(), depth: 0, input, signal, deadline, compensates: false, parent: None };
    let work = async { Ok(flow::run(&shared, &plan, frame).await) };
    let report = match contain_panics(work).await {
        Ok(end) => report(end, &shared, (started, runs.bus.now())),
        Err(refusal) => refused(&refusal, started),
    };
    conclude(runs, shared, Arc::new(report)).await;
}

/// Journals the end of a run and publishes its report. An interrupted run has no end.
async fn conclude(runs: &Arc<Runs>, shared: Run, report: Arc<RunReport>) {
    let run = shared.id;
    let written = if shared.signals.is_lost() {
        // The journal belongs to the process that has the run now.
        Ok(())
    } else if shared.signals.is_interrupted() {
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
    // The lease is released before anybody learns of the end and resumes the run.
    drop(shared);
    runs.settle(run, report);
}

fn report(end: FlowEnd, shared: &Run, (started, ended): (Stamp, Stamp)) -> RunReport {
    let compensated = shared.take_compensated();
    let mut report = RunReport {
        outcome: end.outcome,
        why: end.why,
        detail: vec![],
        steps: end.steps,
        output: end.output.map(|data| data.body()),
        compensated,
        not_compensated: end.not_compensated,
        questions: vec![],
        started,
        ended,
    };
    if shared.signals.is_lost() {
        report.outcome = RunOutcome::Cancelled;
        report.why = Some(TAKEN_OVER.into());
        report.detail = vec!["this process has stopped and sends nothing more for the run".into()];
    } else if shared.signals.is_suspended() {
        suspend(&mut report, std::mem::take(&mut *shared.questions.lock()));
    } else if shared.signals.is_interrupted() {
        report.outcome = RunOutcome::Cancelled;
        report.detail = vec!["the run was interrupted and can be resumed".into()];
    }
    report
}

/// Turns the report of a suspended run into that of one that waits for the answers to these questions.
fn suspend(report: &mut RunReport, questions: Vec<RunQuestion>) {
    report.outcome = RunOutcome::Waiting;
    report.why = None;
    for (id, view) in &mut report.steps {
        // A question of a nested workflow belongs to the step that runs it.
        let asks = |question: &&RunQuestion| question.step.split(['/', '[']).next() == Some(id);
        let state = match (questions.iter().find(asks), &view.state) {
            (Some(question), _) => StepState::Waiting { what: question.message.clone() },
            (None, StepState::Skipped { .. }) if view.ended.is_none() => StepState::Pending,
            _ => continue,
        };
        Arc::make_mut(view).state = state;
    }
    report.questions = questions;
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
        questions: vec![],
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
    runs.settle(run, Arc::new(refused(&refusal, now)));
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
async fn resolve_in_doubt(run: &mut Run, plan: &Plan, in_doubt: Vec<(Place, String, Body)>) -> Result<(), Refusal> {
    let mut open: Vec<String> = vec![];
    for (place, what, arguments) in in_doubt {
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

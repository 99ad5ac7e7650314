//! Scripted workflow runs for tests: one in progress, one that failed and was compensated, items, attempts.

use std::sync::Arc;

use super::{Script, at, text_result, tool_call};
use crate::domain::{
    body::Body,
    call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
    event::{Event, EventKind, Settled},
    id::CallId,
    run::{Items, PlanSummary, Purpose, RunId, RunOutcome, RunReport, RunStep, StepError, StepState, StepSummary, StepView, WorkflowText},
    workflow::{
        DEMO,
        library::{WorkflowEntry, WorkflowLibrary},
        plan::Plan,
    },
};

/// Returns the demo's workflows, and one with a broken file.
pub fn library() -> WorkflowLibrary {
    let text =
        |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("workflows/{name}.toml"), text: (*text).into() };
    let broken = "name = \"refund\"\n\n[[step]]\nid = \"book\"\ntool = \"database_insert_record\"\narguments = { of = \"{{ steps.charge.result.id }}\" }\nretries = 3\n";
    let mut files: Vec<WorkflowText> = DEMO.iter().map(text).collect();
    files.push(WorkflowText { name: "refund".into(), file: "workflows/refund.toml".into(), text: broken.into() });
    WorkflowLibrary { files, folder: Some("workflows".into()), ..WorkflowLibrary::default() }
}

/// Returns the plan of one of the demo's workflows.
pub fn plan(name: &str) -> Arc<Plan> {
    let found = library().entries().into_iter().find(|flow: &WorkflowEntry| &*flow.name == name);
    found.and_then(|flow| flow.plan.ok()).expect("a valid workflow of the demo")
}

/// Returns the id of the `n`th run.
pub fn run(n: u64) -> RunId {
    RunId::new(1_700_000_000_000 + n, u128::from(n) * 0x9e37_79b9 + 0x2f)
}

/// A scripted run.
pub struct Story {
    /// The events so far.
    pub script: Script,
    id: RunId,
    views: Vec<(Arc<str>, Arc<StepView>)>,
    started: u64,
    call: u64,
}

impl Story {
    /// Starts a run of a workflow at `ms`.
    pub fn begin(after: u64, n: u64, ms: u64, name: &str, input: &str) -> Story {
        let plan = plan(name);
        let steps = plan.steps.iter().map(|step| StepSummary {
            id: step.id.clone(),
            what: step.action.subject(),
            for_each: step.for_each.is_some(),
            compensates: step.compensate.is_some(),
        });
        let edges = plan.steps.iter().enumerate().flat_map(|(at, step)| step.needs.iter().map(move |need| (*need as u32, at as u32)));
        let summary = PlanSummary { name: name.into(), steps: steps.collect(), edges: edges.collect() };
        let mut script = Script::after(after);
        let (id, started) = (run(n), ms);
        script.push(
            ms,
            EventKind::RunStarted { run: id, plan: Arc::new(summary.clone()), input: Body::from(input), origin: Origin::Console },
        );
        let views = summary.steps.iter().map(|step| (step.id.clone(), Arc::default())).collect();
        Story { script, id, views, started, call: 5_000 + n * 100 }
    }

    /// Changes the state of a step.
    pub fn step(&mut self, ms: u64, id: &str, change: impl FnOnce(&mut StepView)) -> &mut Self {
        let Some((path, slot)) = self.views.iter_mut().find(|(path, _)| &**path == id) else { panic!("no step {id}") };
        let mut view = StepView::clone(slot);
        change(&mut view);
        *slot = Arc::new(view);
        let kind = EventKind::RunStep { run: self.id, step: path.clone(), view: slot.clone() };
        self.script.push(ms, kind);
        self
    }

    /// Adds a call of a step; `took` is `None` while it runs.
    pub fn call(
        &mut self,
        (ms, took): (u64, Option<u64>),
        id: &str,
        tool: (&str, &str),
        arguments: &str,
        (purpose, item): (Purpose, Option<u32>),
        outcome: Outcome,
    ) -> CallId {
        let call = CallId(self.call);
        self.call += 1;
        let step = RunStep { run: self.id, step: id.into(), item, purpose, retries: false };
        let operation = tool_call(tool.0, tool.1, arguments);
        let spec = Arc::new(CallSpec { run: Some(step), ..CallSpec::new(operation, Origin::Workflow) });
        self.script.push(ms, EventKind::CallQueued { call, spec });
        self.script.push(ms, EventKind::CallSent { call, round: 1 });
        if let Some(took) = took {
            let end = at(ms + took);
            let timings = Timings { queued: at(ms), sent: Some(at(ms)), first_byte: Some(end), last_byte: Some(end), settled: end };
            let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 120, received_bytes: 80, attempts: 1, by: None, cached: None };
            self.script.push(ms + took, EventKind::CallSettled { call, settled: Arc::new(settled) });
        }
        call
    }

    /// Adds a step with one call from start to end.
    pub fn done(&mut self, ms: u64, took: u64, id: &str, tool: (&str, &str), arguments: &str, result: &str) -> &mut Self {
        let call = self.call((ms, Some(took)), id, tool, arguments, (Purpose::Step, None), text_result(result));
        self.step(ms, id, |view| {
            (view.state, view.started, view.attempts) = (StepState::Running, Some(at(ms)), 1);
            view.arguments = Some(Body::from(arguments));
            view.calls = vec![call];
        });
        self.step(ms + took, id, |view| {
            (view.state, view.ended) = (StepState::Ok, Some(at(ms + took)));
            view.result = Some(Body::from(result));
        })
    }

    /// Ends the run.
    pub fn end(&mut self, ms: u64, outcome: RunOutcome, why: Option<&str>, compensated: &[&str], output: Option<&str>) -> &mut Self {
        let report = RunReport {
            outcome,
            why: why.map(str::to_owned),
            detail: vec![],
            steps: self.views.clone(),
            output: output.map(Body::from),
            compensated: compensated.iter().map(|step| (*step).to_owned()).collect(),
            not_compensated: vec![],
            questions: vec![],
            started: at(self.started),
            ended: at(ms),
        };
        self.script.push(ms, EventKind::RunSettled { run: self.id, report: Arc::new(report) });
        self
    }
}

const USER: &str = r#"{"userId":"u_1042","email":"ann@example.org","name":"Ann","role":"developer"}"#;
const INPUT: &str = r#"{"email":"ann@example.org","name":"Ann","role":"developer"}"#;
const MAIL: &str = r#"{"to":"ann@example.org","subject":"Welcome, Ann","priority":"high"}"#;

/// Returns a successful run of `enrich_user_data` that started at `ms`.
pub fn enriched(after: u64, n: u64, ms: u64) -> Vec<Arc<Event>> {
    let mut story = Story::begin(after, n, ms, "enrich_user_data", r#"{"userId":"u_1001","days":7}"#);
    story.done(ms, 4, "profile", ("database", "get_user_profile"), r#"{"userId":"u_1001"}"#, r#"{"name":"Ben","role":"viewer"}"#);
    story.done(ms, 812, "activity", ("analytics", "get_user_activity"), r#"{"userId":"u_1001","days":7}"#, r#"{"total":12}"#);
    story.done(ms, 3, "preferences", ("preferences", "get_preferences"), r#"{"userId":"u_1001"}"#, r#"{"theme":"dark"}"#);
    story.end(ms + 815, RunOutcome::Ok, None, &[], Some(r#"{"name":"Ben","role":"viewer","events":12,"theme":"dark"}"#));
    story.script.events
}

/// Returns a run of `notify_all` in the middle of its items, one of which failed; it started at `ms`.
pub fn notifying(after: u64, n: u64, ms: u64) -> Vec<Arc<Event>> {
    let mut story = Story::begin(after, n, ms, "notify_all", r#"{"subject":"Maintenance on Sunday","role":"developer"}"#);
    story.done(ms, 5, "users", ("database", "query_users"), r#"{"role":"developer","limit":20}"#, r#"{"users":[],"total":20}"#);
    let mut calls = vec![];
    for item in 0..7u64 {
        let arguments = format!(r#"{{"to":"user{item}@example.org","subject":"Maintenance on Sunday"}}"#);
        let failure = Failure::after_send(FailureKind::Protocol, "-32000: mailbox is full");
        let outcome = if item == 2 { Outcome::Failed { failure: Arc::new(failure) } } else { text_result("{}") };
        let took = (item < 5).then_some(90 + item * 7);
        calls.push(story.call(
            (ms + 6 + item / 3 * 100, took),
            "send",
            ("email", "send_email"),
            &arguments,
            (Purpose::Step, Some(item as u32)),
            outcome,
        ));
    }
    story.step(ms + 220, "send", |view| {
        (view.state, view.started, view.attempts) = (StepState::Running, Some(at(ms + 6)), 7);
        view.items = Some(Items { total: 20, done: 5, failed: 1 });
        view.arguments = Some(Body::from(r#"{"to":"user6@example.org","subject":"Maintenance on Sunday"}"#));
        view.calls = calls;
    });
    story.script.events
}

/// Returns a run of `onboard_new_user` whose e-mail fails three times, so that the user is removed again.
/// It started at `ms`.
pub fn compensated(after: u64, n: u64, ms: u64) -> Vec<Arc<Event>> {
    let mut story = Story::begin(after, n, ms, "onboard_new_user", INPUT);
    story.done(ms, 40, "create_user", ("database", "create_user"), INPUT, USER);
    let failure = || Failure::after_send(FailureKind::Exited, "the server exited with code 3 before it answered");
    let mut calls = vec![];
    for (attempt, start) in [60u64, 360, 760].into_iter().enumerate() {
        let outcome = Outcome::Failed { failure: Arc::new(failure()) };
        calls.push(story.call(
            (ms + start, Some(150 + attempt as u64 * 20)),
            "welcome",
            ("email", "send_email"),
            MAIL,
            (Purpose::Step, None),
            outcome,
        ));
    }
    let mut error = StepError::of_failure(&failure());
    error.detail.push("stderr: smtp: connection refused".into());
    error.may_have_run = true;
    story.step(ms + 60, "welcome", |view| {
        (view.state, view.started, view.attempts) = (StepState::Running, Some(at(ms + 60)), 3);
        view.arguments = Some(Body::from(MAIL));
        view.calls = calls;
    });
    story.step(ms + 950, "welcome", |view| (view.state, view.ended) = (StepState::Failed { error: Arc::new(error) }, Some(at(ms + 950))));
    story.step(ms + 951, "track", |view| view.state = StepState::Skipped { why: "the run has failed".into() });
    let undo = story.call(
        (ms + 955, Some(120)),
        "create_user",
        ("database", "delete_user"),
        r#"{"userId":"u_1042"}"#,
        (Purpose::Compensation, None),
        text_result(r#"{"deleted":true}"#),
    );
    story.step(ms + 955, "create_user", |view| {
        view.state = StepState::Compensating;
        view.calls.push(undo);
    });
    story.step(ms + 1_075, "create_user", |view| view.state = StepState::Compensated);
    let why = "step welcome failed: the server exited: it exited with code 3 before it answered";
    story.end(ms + 1_080, RunOutcome::Compensated, Some(why), &["create_user"], None);
    story.script.events
}

/// Returns three runs: one succeeded, one was compensated, one is in progress.
pub fn several(after: u64) -> Vec<Arc<Event>> {
    let mut events = enriched(after, 1, 9_000);
    let last = |events: &[Arc<Event>]| events.last().map_or(after, |event| event.seq);
    events.extend(compensated(last(&events), 2, 12_000));
    events.extend(notifying(last(&events), 3, 14_000));
    events
}

//! Workflows as tools: the entries of exposed workflows, and the run behind a call of one.
//!
//! The engine suspends a run whose steps wait for a person. The gateway asks the client, over its connection in the legacy era and
//! with `input_required` in the modern one, and resumes the run with the answers. A suspended run is in the journal only, so that an
//! answer can come after a restart of the gateway.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{
    Gateway,
    calls::{QUESTIONS, STATE},
    desk::RequestDesk,
    edits::ELICIT,
    failure::{self, INTERNAL, invalid},
    park::Running,
    random,
    request::Request,
    sealed::Seal,
    upstream::{RunInProgress, Upstream},
};
use crate::{
    domain::{
        body::{self, Body},
        call::{Operation, Origin, Outcome, RpcError, Timings},
        event::Settled,
        raw_object::RawObject,
        run::{RunId, RunOutcome, RunQuestion, RunReport, RunSpec, StepAnswer, StepState, StepView},
        server::Era,
        workflow::{
            expression::Data,
            input_values,
            library::WorkflowEntry,
            plan::Plan,
            tool::{RESULT, RUN},
        },
    },
    engine::passage::{Desk, Passage},
};

/// The server that workflows belong to, for the filters of profiles.
pub const SERVER: &str = "workflows";
/// The namespace of their exposed names.
pub const NAMESPACE: &str = "workflow";
/// How long the client of a suspended run may take to answer.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The property of the form that asks for an approval.
const APPROVE: &str = "approve";
/// Steps whose end waits to be reported as progress; further ones are not reported.
pub const STEPS: usize = 64;

/// A workflow that is offered as a tool.
#[derive(Clone, Debug)]
pub struct ExposedWorkflow {
    /// Its name, with `project/` for the project's.
    pub name: Arc<str>,
    /// Its plan.
    pub plan: Arc<Plan>,
}

/// Returns the workflows of a library that are exposed.
pub fn exposed(workflows: &[WorkflowEntry]) -> impl Iterator<Item = ExposedWorkflow> {
    workflows.iter().filter_map(|entry| {
        let plan = entry.plan.as_ref().ok().filter(|plan| plan.expose)?;
        Some(ExposedWorkflow { name: entry.name.clone(), plan: plan.clone() })
    })
}

/// The state of a suspended run, which its client returns with the answers.
#[derive(Serialize, Deserialize)]
struct Suspended {
    #[serde(rename = "switchboard:run")]
    run: RunId,
    /// For each key of `inputRequests` the step, and whether it asks for an approval.
    asked: Vec<(String, String, bool)>,
}

/// What a request begins.
enum Beginning {
    Start(RunSpec),
    Resume(Vec<(String, StepAnswer)>),
}

impl Gateway {
    /// Starts or resumes the run of a call of a workflow. The result, if nothing is run, is that of the call.
    pub(super) fn run_workflow(
        &self,
        request: &Request,
        workflow: &ExposedWorkflow,
        operation: Operation,
        extra: &Body,
    ) -> Result<Result<Running, Body>, RpcError> {
        let [state, responses] = extra.fields([STATE, "inputResponses"]).unwrap_or_default();
        let can_ask = takes_forms(&request.face.capabilities);
        let (run, beginning) = match state.filter(|state| state.get() != "null") {
            Some(state) => {
                let sealed = serde_json::from_str::<String>(state.get()).unwrap_or_default();
                let opened = self.seal.open(&request.client.principal, &operation, &sealed, self.upstream.unix_ms());
                let suspended = opened.and_then(|state| serde_json::from_str::<Suspended>(&state).ok());
                let suspended = suspended.ok_or_else(|| invalid("requestState is not valid for this request; start the call again"))?;
                let responses = responses.map(|responses| responses.get().as_bytes()).unwrap_or_default();
                let answer = |(key, step, approval): &(String, String, bool)| {
                    let [response] = body::fields(responses, [key.as_str()])?;
                    Some((step.clone(), answer_of(&Body::from(response?.get()), *approval)))
                };
                (suspended.run, Beginning::Resume(suspended.asked.iter().filter_map(answer).collect()))
            }
            None => {
                let Operation::Tool { arguments, .. } = &operation else { return Err(invalid("not a tool")) };
                let input = match input_of(&workflow.plan, arguments) {
                    Ok(input) => input,
                    // The model can correct its arguments (MCP 2025-11-25, server/tools, "Error Handling").
                    Err(wrong) => {
                        return Ok(Err(tool_error(&format!("the input of {} is invalid: {}", workflow.name, wrong.join("; ")), None)));
                    }
                };
                let run = random::bytes::<16>().map_err(|_| failure::error(INTERNAL, "no random numbers"))?;
                let run = RunId::new(self.upstream.unix_ms(), u128::from_le_bytes(run));
                let spec = RunSpec::of_plan(&workflow.name, &workflow.plan, input, Origin::Client(request.client.id));
                // A client that cannot ask its user: the questions are refused, and the steps decide what follows.
                (run, Beginning::Start(RunSpec { wait: can_ask, ..spec }))
            }
        };
        let (asked, questions) = mpsc::channel(QUESTIONS);
        let desk = self.desk(request, asked);
        let passage = Passage { wants_progress: false, ..self.passage(request, Body::default(), &desk) };
        let begun = match beginning {
            Beginning::Start(spec) => self.upstream.start_run(run, spec, passage.clone()),
            Beginning::Resume(answers) => self.upstream.resume_run(run, answers, passage.clone()),
        };
        let begun = begun.map_err(invalid)?;
        let as_task = Arc::new(AtomicBool::new(false));
        let driver = Driver {
            upstream: self.upstream.clone(),
            seal: self.seal.clone(),
            desk: desk.clone(),
            passage,
            modern: request.era == Era::Modern,
            as_task: as_task.clone(),
            operation: operation.clone(),
            run,
            plan: workflow.plan.clone(),
            done: HashSet::new(),
        };
        let upstream = self.upstream.clone();
        let settled = Box::pin(async move {
            let result = driver.drive(begun).await;
            let outcome = Outcome::Ok { result };
            let timings = Timings::default();
            Some(Arc::new(Settled { outcome, timings, rounds: 1, sent_bytes: 0, received_bytes: 0, attempts: 1, by: None, cached: None }))
        });
        let cancel = move || upstream.cancel_run(run, "the client cancelled the request");
        Ok(Ok(Running::new(Box::new(cancel), settled, operation, desk, questions).with_task_switch(as_task)))
    }
}

/// Follows a run to its end, or until it waits for a modern client.
struct Driver {
    upstream: Arc<dyn Upstream>,
    seal: Arc<Seal>,
    desk: Arc<RequestDesk>,
    passage: Passage,
    modern: bool,
    /// Whether the client polls a task instead of waiting for the response.
    as_task: Arc<AtomicBool>,
    operation: Operation,
    run: RunId,
    plan: Arc<Plan>,
    /// The steps whose end was reported.
    done: HashSet<Arc<str>>,
}

impl Driver {
    async fn drive(mut self, mut in_progress: RunInProgress) -> Body {
        loop {
            let Some(report) = self.follow(in_progress).await else {
                return tool_error("the gateway is stopping", Some(json!({"run": self.run, "resume": resume(self.run)})));
            };
            if report.outcome != RunOutcome::Waiting {
                return result_of(&self.plan, self.run, &report);
            }
            if self.modern && !self.as_task.load(Ordering::Relaxed) {
                return self.input_required(&report.questions);
            }
            let mut answers = vec![];
            for question in &report.questions {
                let answer = self.desk.ask(ELICIT, Body::json(&form(question))).await;
                // A client that fails to ask has not approved.
                let answer = answer.map_or(StepAnswer::Decline, |answer| answer_of(&answer, question.schema.is_none()));
                answers.push((label(question), answer));
            }
            in_progress = match self.upstream.resume_run(self.run, answers, self.passage.clone()) {
                Ok(in_progress) => in_progress,
                Err(why) => return tool_error(&why, Some(json!({"run": self.run, "resume": resume(self.run)}))),
            };
        }
    }

    /// Reports the ends of steps until the run has ended.
    async fn follow(&mut self, RunInProgress { mut steps, mut end }: RunInProgress) -> Option<Arc<RunReport>> {
        loop {
            tokio::select! {
                biased;
                Some((step, view)) = steps.recv() => self.report(&step, &view),
                report = &mut end => {
                    // The report also has what did not come in time.
                    for (step, view) in report.iter().flat_map(|report| &report.steps) {
                        self.report(step, view);
                    }
                    return report;
                }
            }
        }
    }

    /// Reports the end of a step as progress.
    fn report(&mut self, id: &Arc<str>, view: &StepView) {
        let Some(step) = self.plan.step(id).filter(|_| view.ended.is_some() && !view.state.active()) else { return };
        if self.done.insert(id.clone()) {
            let message = format!("{}: {}", step.title.as_deref().unwrap_or(id), view.state.word());
            let params = json!({"progress": self.done.len(), "total": self.plan.steps.len(), "message": message});
            self.desk.progress(&Body::json(&params));
        }
    }

    /// Returns the result that asks a modern client. Its state names the run.
    fn input_required(&self, questions: &[RunQuestion]) -> Body {
        let (mut requests, mut asked) = (RawObject::default(), vec![]);
        for (number, question) in (1..).zip(questions) {
            let key = format!("q{number}");
            requests.set(key.clone(), Body::json(&json!({"method": ELICIT, "params": form(question)})));
            asked.push((key, label(question), question.schema.is_none()));
        }
        let state = serde_json::to_string(&Suspended { run: self.run, asked }).unwrap_or_default();
        let now_ms = self.upstream.unix_ms();
        let Some(sealed) = self.seal.close(&self.passage.principal, &self.operation, &state, now_ms, PATIENCE) else {
            return tool_error("no random numbers", None);
        };
        RawObject::default()
            .with("resultType", Body::from("\"input_required\""))
            .with("inputRequests", requests.to_body())
            .with(STATE, Body::json(&sealed))
            .to_body()
    }
}

/// Returns whether a client shows forms to its user (MCP 2025-11-25, client/elicitation: an empty object means forms).
fn takes_forms(capabilities: &Body) -> bool {
    let Some([Some(elicitation)]) = capabilities.fields(["elicitation"]) else { return false };
    match body::fields(elicitation.get().as_bytes(), ["form", "url"]) {
        Some([None, url]) => url.is_none(),
        Some([Some(_), _]) => true,
        None => false,
    }
}

/// Returns the params of the request that asks a question of a run.
fn form(question: &RunQuestion) -> Value {
    let approval = || {
        json!({
            "type": "object",
            "properties": {APPROVE: {"type": "boolean", "title": "Approve", "default": false}},
            "required": [APPROVE],
        })
    };
    let schema = question.schema.as_ref().and_then(Body::value).unwrap_or_else(approval);
    json!({"message": question.message, "requestedSchema": schema})
}

/// Returns the answer in a response to [`form`].
fn answer_of(response: &Body, approval: bool) -> StepAnswer {
    let response = response.value().unwrap_or_default();
    match response["action"].as_str() {
        Some("accept") if approval && response["content"][APPROVE] == true => StepAnswer::Approve,
        Some("accept") if !approval => {
            let content = response.get("content").cloned().unwrap_or_else(|| json!({}));
            StepAnswer::Content { content: Body::json(&content) }
        }
        _ => StepAnswer::Decline,
    }
}

/// Returns the name of the step or item that asks.
fn label(question: &RunQuestion) -> String {
    question.item.map_or_else(|| question.step.to_string(), |item| format!("{}[{item}]", question.step))
}

/// Returns the input of a run from the arguments of a call, or what is wrong with them.
fn input_of(plan: &Plan, arguments: &Body) -> Result<Body, Vec<String>> {
    let text = if arguments.is_empty() { "{}".into() } else { arguments.text() };
    let data = Data::parse(&text).map_err(|error| vec![error.to_string()])?;
    Ok(input_values::prepare(&plan.input, &data)?.body())
}

fn resume(run: RunId) -> String {
    format!("switchboard runs resume {run}")
}

/// Returns the result of the call of a run that ended.
fn result_of(plan: &Plan, run: RunId, report: &RunReport) -> Body {
    if !matches!(report.outcome, RunOutcome::Ok | RunOutcome::Partial) {
        return failed(run, report);
    }
    let output = report.output.clone().unwrap_or_else(|| Body::from("{}"));
    let mut content = match RawObject::parse(&output) {
        Some(outputs) if !plan.output.is_empty() => outputs,
        _ => RawObject::default().with(RESULT, output),
    };
    content.set(RUN, Body::json(&run));
    let failures = failures(report);
    if !failures.is_empty() {
        content.set("_failed", Body::json(&failures));
    }
    let content = content.to_body();
    let text = json!([{"type": "text", "text": content.text()}]);
    RawObject::default().with("content", Body::json(&text)).with("structuredContent", content).to_body()
}

/// Returns the failed steps.
fn failures(report: &RunReport) -> Vec<Value> {
    let failed = report.steps.iter().filter_map(|(id, view)| match &view.state {
        StepState::Failed { error } => Some(json!({
            "step": id,
            "class": error.kind.key(),
            "message": error.message,
            "may_have_run": error.may_have_run,
        })),
        _ => None,
    });
    failed.collect()
}

fn failed(run: RunId, report: &RunReport) -> Body {
    let why = report.why.clone().unwrap_or_else(|| report.outcome.words().to_owned());
    let done = report.steps.iter().filter(|(_, view)| view.state == StepState::Ok).map(|(id, _)| json!(id)).collect::<Vec<_>>();
    let mut content = Map::from_iter([
        ("run".to_owned(), json!(run)),
        ("outcome".to_owned(), json!(report.outcome.key())),
        ("message".to_owned(), json!(why)),
        ("failed".to_owned(), json!(failures(report))),
        ("done".to_owned(), json!(done)),
        ("undone".to_owned(), json!(report.compensated)),
    ]);
    if !report.detail.is_empty() {
        content.insert("detail".into(), json!(report.detail));
    }
    if !report.not_compensated.is_empty() {
        let left = report.not_compensated.iter().map(|(step, why)| json!({"step": step, "why": why})).collect::<Vec<_>>();
        content.insert("not_undone".into(), json!(left));
        content.insert("undo".into(), json!(format!("switchboard runs undo {run}")));
    }
    if report.outcome == RunOutcome::InDoubt {
        content.insert("resume".into(), json!(resume(run)));
    }
    tool_error(&format!("{why} ({}, run {run})", report.outcome.words()), Some(Value::Object(content)))
}

/// Returns the result of a failed call, which the model can explain to its user.
fn tool_error(text: &str, structured: Option<Value>) -> Body {
    let mut result = json!({"content": [{"type": "text", "text": text}], "isError": true});
    if let Some(structured) = structured {
        result["structuredContent"] = structured;
    }
    Body::json(&result)
}

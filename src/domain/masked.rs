//! Masks known secrets in events, calls and journal entries.
//!
//! The event log masks events before publishing them, the runner masks entries before they are journaled, and the
//! history masks calls before storing them. Values that are matched by name stay unchanged: servers, tools,
//! resources, steps and the schemas of tools. Printers mask these when displaying them.

use std::sync::Arc;

use super::{
    ask::{Ask, Question},
    body::Body,
    call::{CallSpec, Failure, Operation, Origin, Outcome},
    catalog::{Prompt, Resource, ServerCatalog, Tool},
    client::ClientInfo,
    event::{EventKind, LogLevel, LogMessage, Notice, Settled},
    frame::{Frame, HttpNote},
    journal::{CallRecord, RunEntry, StepRecord, Substitute},
    policy::call_event::{AttemptEnd, CallEvent},
    run::{RunReport, RunSpec, StepAnswer, StepDetail, StepError, StepState, StepView},
    secret::{MASK, Redactor},
    server::{ConnectFailure, Phase, SessionInfo},
};

fn text(redactor: &Redactor, text: &mut String) {
    redactor.redact_in(text);
}

fn texts<'t>(redactor: &Redactor, all: impl IntoIterator<Item = &'t mut String>) {
    all.into_iter().for_each(|one| redactor.redact_in(one));
}

fn name(redactor: &Redactor, name: &mut Arc<str>) {
    if redactor.finds(name.as_bytes()) {
        *name = redactor.redact(name).into();
    }
}

fn body(redactor: &Redactor, body: &mut Body) {
    *body = body.redacted(redactor);
}

/// Changes a shared value; in a copy if others hold it.
fn shared<T: Clone>(redactor: &Redactor, value: &mut Arc<T>, change: impl FnOnce(&Redactor, &mut T)) {
    change(redactor, Arc::make_mut(value));
}

/// Masks the secrets in an event before it is published.
pub fn event(redactor: &Redactor, kind: &mut EventKind) {
    if redactor.is_empty() {
        return;
    }
    match kind {
        EventKind::ServerPhase { phase, .. } => shared(redactor, phase, phase_text),
        EventKind::ServerInfo { info, .. } => shared(redactor, info, session_info),
        EventKind::ServerListed { catalog, .. } => server_catalog(redactor, catalog),
        EventKind::ServerStderr { line, .. } => {
            if redactor.finds(line.as_bytes()) {
                *line = redactor.redact(line).into();
            }
        }
        EventKind::ServerLog { log, .. } => shared(redactor, log, |redactor, log: &mut LogMessage| {
            texts(redactor, log.logger.iter_mut().chain([&mut log.text]));
            if let LogLevel::Unknown(word) = &mut log.level {
                text(redactor, word);
            }
        }),
        EventKind::ServerAnomaly { anomaly, .. } => shared(redactor, anomaly, |redactor, anomaly| text(redactor, &mut anomaly.detail)),
        // The user may see and resend what they typed; a step may send a secret from the environment.
        EventKind::CallQueued { spec, .. } if spec.origin == Origin::Workflow => shared(redactor, spec, call_arguments),
        EventKind::CallStage { stage, .. } => shared(redactor, stage, stage_text),
        EventKind::CallProgress { progress, .. } => texts(redactor, &mut progress.message),
        EventKind::CallSettled { settled: end, .. } => settled(redactor, end),
        EventKind::AskOpened { ask } => shared(redactor, ask, |redactor, ask: &mut Ask| match &mut ask.question {
            Question::Form { message, .. } => text(redactor, message),
            Question::Url { message, .. } => text(redactor, message),
            Question::Sampling { params } => body(redactor, params),
            Question::Roots => {}
        }),
        EventKind::RunStarted { input, .. } => body(redactor, input),
        EventKind::RunStep { view, .. } => shared(redactor, view, step_view),
        EventKind::RunSettled { report, .. } => shared(redactor, report, run_report),
        EventKind::ClientConnected { info, .. } => shared(redactor, info, |redactor, info: &mut ClientInfo| {
            info.name.iter_mut().chain(&mut info.version).for_each(|text| name(redactor, text));
        }),
        EventKind::Cache { view } => shared(redactor, view, |redactor, view| texts(redactor, &mut view.trouble)),
        EventKind::Notice { notice } => shared(redactor, notice, |redactor, notice: &mut Notice| {
            texts(redactor, notice.detail.iter_mut().chain([&mut notice.text]));
        }),
        // Frames are masked by the observer that records them, outside the lock of the log.
        EventKind::Frame { .. }
        | EventKind::ServerAdded { .. }
        | EventKind::ServerRemoved { .. }
        | EventKind::CallQueued { .. }
        | EventKind::CallSent { .. }
        | EventKind::AskClosed { .. }
        | EventKind::ResourceSubscribed { .. }
        | EventKind::ResourceUpdated { .. }
        | EventKind::Breaker { .. }
        | EventKind::Rules { .. }
        | EventKind::FaultSet { .. }
        | EventKind::ClientDisconnected { .. }
        | EventKind::ClientSessions { .. } => {}
    }
}

/// Masks the secrets in an event that leaves the process: as [`event`] does, and also in what the user typed and in frames.
pub fn crossing(redactor: &Redactor, kind: &mut EventKind) {
    match kind {
        EventKind::CallQueued { spec, .. } => shared(redactor, spec, |redactor, spec: &mut CallSpec| {
            call_arguments(redactor, spec);
            if let Operation::Resource { uri, .. } = &mut spec.operation {
                text(redactor, uri);
            }
        }),
        EventKind::Frame { frame: crossing } => frame(redactor, crossing),
        kind => event(redactor, kind),
    }
}

/// Masks the secrets in a frame that leaves the process.
pub fn frame(redactor: &Redactor, frame: &mut Arc<Frame>) {
    shared(redactor, frame, |redactor, frame: &mut Frame| {
        body(redactor, &mut frame.body);
        if let Some(http) = &mut frame.http {
            shared(redactor, http, |redactor, http: &mut HttpNote| {
                text(redactor, &mut http.line);
                shared(redactor, &mut http.headers, |redactor, headers: &mut Vec<(String, String)>| {
                    texts(redactor, headers.iter_mut().map(|(_, value)| value));
                });
            });
        }
    });
}

/// Masks the secrets in an entry before it is journaled.
pub fn entry(redactor: &Redactor, entry: &mut RunEntry) {
    match entry {
        RunEntry::Began { spec, .. } => shared(redactor, spec, run_spec),
        RunEntry::Resumed { .. } => {}
        RunEntry::Asked { message, .. } => text(redactor, message),
        RunEntry::Answered { answer, .. } => step_answer(redactor, answer),
        RunEntry::Sending { what, arguments, .. } => {
            text(redactor, what);
            body(redactor, arguments);
        }
        RunEntry::Attempted { exhausted, error, .. } => {
            exhausted.iter_mut().chain(error).for_each(|error| step_error(redactor, error));
        }
        RunEntry::ItemEnded { end, .. } | RunEntry::StepEnded { end, .. } => step_record(redactor, end),
        RunEntry::GivenUp { why, .. } => text(redactor, why),
        RunEntry::Undone { error, .. } => error.iter_mut().for_each(|error| step_error(redactor, error)),
        RunEntry::Ended { report } => shared(redactor, report, run_report),
    }
}

/// Returns whether a value that a resumed run uses contains a mask: its input, a response, a result.
pub fn in_entry(entry: &RunEntry) -> bool {
    let held = |body: &Body| memchr::memmem::find(body.bytes(), MASK.as_bytes()).is_some();
    let held_in_answer = |answer: &StepAnswer| match answer {
        StepAnswer::Content { content } => held(content),
        StepAnswer::Skip { result } => held(result),
        StepAnswer::Approve | StepAnswer::Decline | StepAnswer::Repeat => false,
    };
    match entry {
        RunEntry::Began { spec, .. } => held(&spec.input) || spec.answers.iter().any(|(_, answer)| held_in_answer(answer)),
        RunEntry::Answered { answer, .. } => held_in_answer(answer),
        RunEntry::ItemEnded { end, .. } | RunEntry::StepEnded { end, .. } => in_record(end),
        _ => false,
    }
}

/// Returns whether the result or text of a step or item contains a mask.
pub fn in_record(end: &StepRecord) -> bool {
    let in_result = end.result.as_ref().is_some_and(|body| memchr::memmem::find(body.bytes(), MASK.as_bytes()).is_some());
    in_result || end.text.as_ref().is_some_and(|text| text.contains(MASK))
}

/// Returns whether an operation to be sent contains a mask.
pub fn in_operation(operation: &Operation) -> bool {
    let held = |body: &Body| memchr::memmem::find(body.bytes(), MASK.as_bytes()).is_some();
    match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => held(arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => held(params),
        Operation::Resource { uri, .. } => uri.contains(MASK),
    }
}

/// Masks the secrets in a call before it is stored in the history.
pub fn record(redactor: &Redactor, record: &mut CallRecord) {
    record.summary.redact(redactor);
    if let Some(result) = &mut record.result {
        body(redactor, result);
    }
    shared(redactor, &mut record.spec, |redactor, spec: &mut CallSpec| {
        call_arguments(redactor, spec);
        match &mut spec.operation {
            Operation::Tool { tool, .. } if redactor.finds(tool.name.as_bytes()) => tool.name = redactor.redact(&tool.name).into(),
            Operation::Resource { uri, .. } => text(redactor, uri),
            Operation::Prompt { name, .. } => text(redactor, name),
            _ => {}
        }
    });
}

fn call_arguments(redactor: &Redactor, spec: &mut CallSpec) {
    body(redactor, &mut spec.meta);
    spec.client_name.iter_mut().for_each(|text| name(redactor, text));
    match &mut spec.operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => body(redactor, arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => body(redactor, params),
        Operation::Resource { .. } => {}
    }
}

fn phase_text(redactor: &Redactor, phase: &mut Phase) {
    match phase {
        Phase::Degraded { reason } => texts(redactor, reason.text_mut()),
        Phase::Reconnecting { why, .. } | Phase::Failed { why } | Phase::NeedsLogin { why } => shared(redactor, why, connect_failure),
        Phase::Idle | Phase::Starting { .. } | Phase::Ready | Phase::Disabled => {}
    }
}

fn connect_failure(redactor: &Redactor, failure: &mut ConnectFailure) {
    let ConnectFailure { summary, causes, target, found, stderr, hints, headers, login, .. } = failure;
    let headers = headers.iter_mut().map(|(_, value)| value).chain(login.as_mut().map(|login| &mut login.why));
    texts(redactor, causes.iter_mut().chain(stderr).chain(hints).chain(found).chain(headers).chain([summary, target]));
}

fn session_info(redactor: &Redactor, info: &mut SessionInfo) {
    let SessionInfo { name, title, version, instructions, capabilities, .. } = info;
    texts(redactor, name.iter_mut().chain(title).chain(version).chain(instructions));
    body(redactor, capabilities);
}

/// Masks texts and complete entries of a list. Names and schemas stay: calls use them.
fn server_catalog(redactor: &Redactor, catalog: &mut Arc<ServerCatalog>) {
    let found = |raw: &Body| redactor.finds(raw.bytes());
    let ServerCatalog { tools, resources, templates, prompts, warnings, broken, .. } = &**catalog;
    let listed = tools.iter().any(|tool| found(&tool.raw))
        || resources.iter().chain(templates).any(|resource| found(&resource.raw))
        || prompts.iter().any(|prompt| found(&prompt.raw))
        || warnings.iter().chain(broken.iter().map(|broken| &broken.reason)).any(|text| redactor.finds(text.as_bytes()));
    if !listed {
        return;
    }
    let ServerCatalog { tools, resources, templates, prompts, warnings, broken, changes, .. } = Arc::make_mut(catalog);
    for tool in tools.iter_mut().filter(|tool| found(&tool.raw)) {
        let Tool { title, description, raw, .. } = Arc::make_mut(tool);
        texts(redactor, title.iter_mut().chain(description));
        body(redactor, raw);
    }
    for resource in resources.iter_mut().chain(templates).filter(|resource| found(&resource.raw)) {
        let Resource { title, description, raw, .. } = Arc::make_mut(resource);
        texts(redactor, title.iter_mut().chain(description));
        body(redactor, raw);
    }
    for prompt in prompts.iter_mut().filter(|prompt| found(&prompt.raw)) {
        let Prompt { title, description, arguments, raw, .. } = Arc::make_mut(prompt);
        let inner = arguments.iter_mut().filter_map(|argument| argument.description.as_mut());
        texts(redactor, title.iter_mut().chain(description).chain(inner));
        body(redactor, raw);
    }
    let reasons = broken.iter_mut().map(|broken| &mut broken.reason);
    texts(redactor, warnings.iter_mut().chain(reasons).chain([changes]));
}

fn stage_text(redactor: &Redactor, stage: &mut CallEvent) {
    match stage {
        CallEvent::Ended { end, .. } => match end {
            AttemptEnd::Cancelled { reason } => text(redactor, reason),
            AttemptEnd::Failed { failure } => shared(redactor, failure, |redactor, failure: &mut Failure| {
                *failure = failure.clone().redacted(redactor);
            }),
            AttemptEnd::Ok | AttemptEnd::ToolError | AttemptEnd::Interim { .. } => {}
        },
        CallEvent::BackOff { why, .. } | CallEvent::NotRepeated { why } => text(redactor, why),
        CallEvent::Fallback { to, after } => texts(redactor, [to, after]),
        CallEvent::Injected { what } => text(redactor, what),
        CallEvent::Routed { .. }
        | CallEvent::Waiting { .. }
        | CallEvent::Probing { .. }
        | CallEvent::Attempt { .. }
        | CallEvent::CacheHit { .. }
        | CallEvent::CacheMiss { .. }
        | CallEvent::Shared { .. }
        | CallEvent::Resent { .. }
        | CallEvent::Late { .. } => {}
    }
}

fn settled(redactor: &Redactor, end: &mut Arc<Settled>) {
    if end.outcome.result().is_some_and(|result| !redactor.finds(result.bytes())) {
        return;
    }
    shared(redactor, end, |redactor, end: &mut Settled| match &mut end.outcome {
        Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => body(redactor, result),
        Outcome::Failed { failure } => shared(redactor, failure, |redactor, failure: &mut Failure| {
            *failure = failure.clone().redacted(redactor);
        }),
        Outcome::Cancelled { reason } => text(redactor, reason),
    });
}

fn step_view(redactor: &Redactor, view: &mut StepView) {
    let StepView { state, arguments, result, fallback, failed_items, .. } = view;
    failed_items.iter_mut().for_each(|failed| shared(redactor, &mut failed.error, step_error));
    match state {
        StepState::Waiting { what } => text(redactor, what),
        StepState::Skipped { why } | StepState::Cancelled { why } => text(redactor, why),
        StepState::Failed { error } | StepState::CompensationFailed { error } => shared(redactor, error, step_error),
        StepState::Pending | StepState::Running | StepState::Ok | StepState::Compensating | StepState::Compensated => {}
    }
    arguments.iter_mut().chain(result).for_each(|one| body(redactor, one));
    texts(redactor, fallback);
}

fn step_error(redactor: &Redactor, error: &mut StepError) {
    texts(redactor, error.detail.iter_mut().map(StepDetail::text_mut).chain([&mut error.message]));
}

fn step_record(redactor: &Redactor, end: &mut StepRecord) {
    let StepRecord { result, text: words, error, fallback, .. } = end;
    result.iter_mut().for_each(|result| body(redactor, result));
    texts(redactor, words.iter_mut().chain(fallback.as_mut().and_then(Substitute::text_mut)));
    error.iter_mut().for_each(|error| step_error(redactor, error));
}

fn run_report(redactor: &Redactor, report: &mut RunReport) {
    let RunReport { why, detail, steps, output, not_compensated, questions, .. } = report;
    texts(redactor, questions.iter_mut().map(|question| &mut question.message));
    texts(redactor, why.iter_mut().chain(detail).chain(not_compensated.iter_mut().map(|(_, why)| why)));
    steps.iter_mut().for_each(|(_, view)| shared(redactor, view, step_view));
    output.iter_mut().for_each(|output| body(redactor, output));
}

/// Masks the input and settings of a run. The texts of its workflows stay as in their files.
fn run_spec(redactor: &Redactor, spec: &mut RunSpec) {
    body(redactor, &mut spec.input);
    spec.answers.iter_mut().for_each(|(_, answer)| step_answer(redactor, answer));
}

fn step_answer(redactor: &Redactor, answer: &mut StepAnswer) {
    match answer {
        StepAnswer::Content { content } => body(redactor, content),
        StepAnswer::Skip { result } => body(redactor, result),
        StepAnswer::Approve | StepAnswer::Decline | StepAnswer::Repeat => {}
    }
}

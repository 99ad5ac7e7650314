//! `run`: runs a workflow and prints its outputs.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    args::RunArgs,
    arguments, dry_run, exit, input, junit, lookup,
    print::{Format, ms},
    questions::Questions,
    readiness::Needs,
    replies_of_workspace::{failed, unexpected},
    run_files,
    session::{Session, Signal, Stop, Wake, raw, raw_or_text},
    workflow::valid_plan,
};
use crate::{
    control::{Command, CommandError, Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        body::Body,
        call::{ArgumentCheck, Failure, FailureKind, Origin},
        directory::Directory,
        event::{Event, EventKind},
        in_doubt,
        journal::RunRecord,
        plural::counted,
        run::{RunFrom, RunId, RunOutcome, RunQuestion, RunReport, RunSpec, StepAnswer, StepDetail, StepError, StepState, StepView},
        time::{Stamp, short},
        workflow::{
            catalog_lookup::{servers_of, tools_of},
            expression::Data,
            input_values::prepare,
            name::{self, StepFilter, shell_quoted},
            plan::{Action, Plan},
        },
    },
    workflow_lookup::{self, plan_of},
};

/// Runs a workflow or resumes a run.
pub async fn run(session: &mut Session<'_>, args: &RunArgs) -> Result<u8, Stop> {
    let library = session.options.library.clone();
    let answers = answers(args);
    // Before anything runs: the outputs of a run are not to be lost.
    [&args.output, &args.junit].into_iter().flatten().try_for_each(|path| run_files::check_target(path))?;
    if let Some((run, spec)) = session.options.recorded.clone() {
        let name = spec.workflow.clone();
        let plan = plan_of(&spec)?;
        check_names(args, &plan)?;
        wait_for_servers(session, &plan).await?;
        let (ask, wait) = asks(session);
        let timeout = session.left()?;
        if let Some((_, step)) = &args.from {
            let from = Some(RunFrom { run, step: step.clone() });
            let spec = RunSpec { from, answers, ask, wait, timeout, origin: Origin::Cli, ..RunSpec::clone(&spec) };
            confirm(session, &name, &plan).await?;
            let run = RunId::new(now_ms(), fastrand::u128(..));
            return follow(session, args, run, &name, Command::StartRun { run, spec: Arc::new(spec) }).await;
        }
        let command = match args.undo {
            Some(_) => Command::UndoRun { run, answers, ask: false },
            None => Command::ResumeRun { run, answers, ask, wait, timeout },
        };
        return follow(session, args, run, &name, command).await;
    }
    let wanted = args.workflow.as_deref().unwrap_or_default();
    workflow_lookup::may_run(&library, wanted)?;
    let plan = valid_plan(&mut session.printer, &library, wanted)?;
    let input = input(args, &plan)?;
    check_names(args, &plan)?;
    wait_for_servers(session, &plan).await?;
    if args.dry_run {
        return dry_run::print(session, &plan, &input);
    }
    let name = workflow_lookup::run_name(&library, wanted, &plan);
    confirm(session, &name, &plan).await?;
    let (ask, wait) = asks(session);
    let spec = RunSpec {
        timeout: session.left()?,
        set: args.set.clone(),
        answers,
        ask,
        wait,
        ..RunSpec::of_plan(&name, &plan, input, Origin::Cli)
    };
    let run = RunId::new(now_ms(), fastrand::u128(..));
    follow(session, args, run, &name, Command::StartRun { run, spec: Arc::new(spec) }).await
}

/// Returns whether questions of steps are put to the user at the terminal, and whether those that are not suspend the run.
fn asks(session: &Session<'_>) -> (bool, bool) {
    let terminal = session.printer.can_ask();
    (terminal, !terminal && session.options.journaled)
}

#[expect(clippy::disallowed_methods, reason = "the time in the id of a new run")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Builds the input from the file and the assignments.
fn input(args: &RunArgs, plan: &Plan) -> Result<Body, Stop> {
    let wrong =
        |message: String, causes: Vec<String>| Stop::from(Failure { causes, ..Failure::new(FailureKind::InvalidArguments, message) });
    let base = args.input_file.as_deref().map(run_files::read).transpose()?;
    let assignments = run_files::expand(args.assignments.iter().chain(&args.input).cloned())?;
    let unfit = |causes| wrong(format!("the input of {} is invalid; nothing was run", plan.name), causes);
    let built = arguments::build(base.as_deref(), &assignments, &plan.input, ArgumentCheck::Enforced).map_err(unfit)?;
    let data = Data::parse(&built.text()).map_err(|error| unfit(vec![error.to_string()]))?;
    Ok(prepare(&plan.input, &data).map_err(unfit)?.body())
}

fn answers(args: &RunArgs) -> Vec<(String, StepAnswer)> {
    let mut answers: Vec<(String, StepAnswer)> = vec![];
    answers.extend(args.approve.iter().map(|step| (step.clone(), StepAnswer::Approve)));
    answers.extend(args.decline.iter().map(|step| (step.clone(), StepAnswer::Decline)));
    answers.extend(args.answer.iter().map(|(step, json)| (step.clone(), StepAnswer::Content { content: Body::from(json.as_str()) })));
    answers.extend(args.repeat.iter().map(|step| (step.clone(), StepAnswer::Repeat)));
    answers.extend(args.skip.iter().map(|(step, json)| (step.clone(), StepAnswer::Skip { result: Body::from(json.as_str()) })));
    answers
}

/// Fails for a flag that names an unknown step, which would otherwise be ignored.
fn check_names(args: &RunArgs, plan: &Plan) -> Result<(), Stop> {
    let set = args.set.iter().map(|setting| ("--set", &setting.step, StepFilter::Any));
    let approve = args.approve.iter().map(|step| ("--approve", step, StepFilter::Approve));
    let decline = args.decline.iter().map(|step| ("--decline", step, StepFilter::Any));
    let answer = args.answer.iter().map(|(step, _)| ("--answer", step, StepFilter::Ask));
    let repeat = args.repeat.iter().map(|step| ("--repeat", step, StepFilter::Call));
    let skip = args.skip.iter().map(|(step, _)| ("--skip", step, StepFilter::Call));
    for (flag, step, which) in set.chain(approve).chain(decline).chain(answer).chain(repeat).chain(skip) {
        name::check(plan, step, which)
            .map_err(|wrong| Failure::new(FailureKind::InvalidArguments, format!("{flag}: {}", wrong.message)).hint(wrong.hint))?;
    }
    check_answers(args, plan)
}

/// Fails for an answer that does not fit the form of the step that it names.
fn check_answers(args: &RunArgs, plan: &Plan) -> Result<(), Stop> {
    for (step, json) in &args.answer {
        // An answer for several steps is checked when each of them asks.
        let Some(Action::Elicit { schema, .. }) = name::find_step(plan, step).map(|step| &step.action) else { continue };
        let unfit = |causes: Vec<String>| {
            let failure = Failure::new(FailureKind::InvalidArguments, format!("--answer {step}: the answer does not fit the form"));
            Failure { causes, ..failure }
        };
        let data = Data::parse(json).map_err(|error| unfit(vec![error.to_string()]))?;
        prepare(schema, &data).map_err(unfit)?;
    }
    Ok(())
}

/// Returns the recorded run that a command continues, undoes or reuses, and its request. Called before a server is started.
pub async fn recorded(workspace: &dyn Workspace, part: &str, args: &RunArgs) -> Result<(RunId, Arc<RunSpec>), Failure> {
    let WorkspaceReply::Run { record, .. } = workspace.request(WorkspaceRequest::Run(part.to_owned())).await.map_err(failed)? else {
        return Err(unexpected());
    };
    let none = || Failure::new(FailureKind::InvalidArguments, format!("the journal of the run {} has no beginning", record.run));
    let spec = record.spec().cloned().ok_or_else(none)?;
    if args.undo.is_none() {
        check_resumed(args, &record)?;
    }
    if let Some((_, step)) = &args.from {
        let plan = plan_of(&spec)?;
        name::check(&plan, step, StepFilter::Any)
            .map_err(|wrong| Failure::new(FailureKind::InvalidArguments, wrong.message).hint(wrong.hint))?;
    }
    Ok((record.run, spec))
}

/// Fails unless `--repeat` and `--skip` name in-doubt steps of the run to resume, according to its journal.
fn check_resumed(args: &RunArgs, record: &RunRecord) -> Result<(), Failure> {
    let Some(spec) = record.spec() else { return Ok(()) };
    let words = answers(args);
    in_doubt::check(record, &plan_of(spec)?, &words).map_err(|(name, wrong)| {
        let flag = if args.repeat.iter().any(|step| step == name) { "--repeat" } else { "--skip" };
        Failure::new(FailureKind::InvalidArguments, format!("{flag}: {}", wrong.message)).hint(wrong.hint)
    })
}

/// Waits for the servers that the plan may call.
async fn wait_for_servers(session: &mut Session<'_>, plan: &Plan) -> Result<(), Stop> {
    let (tools, later) = tools_of(plan).into_iter().partition(|tool| is_step(plan, tool));
    session.settle_needs(&Needs { tools, later, servers: servers_of(plan) }).await
}

/// Returns whether a step calls the tool, and not only a compensation or a fallback.
fn is_step(plan: &Plan, tool: &str) -> bool {
    let children = plan.children();
    let mut steps = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps);
    steps.any(|step| matches!(&step.action, Action::Tool(call) if *call.tool == *tool))
}

/// Asks for a confirmation of a run with destructive tools. As for calls, annotations are used even if the server is not
/// trusted, and missing ones have the defaults of the specification. One question lists all tools.
async fn confirm(session: &mut Session<'_>, name: &str, plan: &Plan) -> Result<(), Stop> {
    if session.options.yes {
        return Ok(());
    }
    let mut tools: Vec<String> = tools_of(plan);
    tools.sort();
    tools.dedup();
    let lines: Vec<String> = tools.iter().filter_map(|tool| destructive(session, tool)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let refused = |how: &str, listed: bool| {
        let causes = if listed { lines.clone() } else { vec![] };
        let failure = Failure::new(FailureKind::Refused, format!("the run of {name} {how}")).hint("confirm with --yes");
        Stop::from(Failure { causes, ..failure })
    };
    let notes = |session: &mut Session<'_>| {
        session.printer.note(&format!("{name} may call these destructive tools:"));
        lines.iter().for_each(|line| session.printer.note(&format!("  {line}")));
    };
    match input::ask_yes(session, "Run it? [y/N]", notes).await? {
        Some(true) => Ok(()),
        Some(false) => Err(refused("was not confirmed", false)),
        None => Err(refused("may be destructive, and no terminal is attached to confirm it", true)),
    }
}

/// Returns a line for a tool that may be destructive; `None` when its server declares that it is not.
fn destructive(session: &Session<'_>, tool: &str) -> Option<String> {
    let read_model = &session.read_model;
    let Some(id) = lookup::named(read_model, tool).or_else(|| read_model.assumed_tool(tool)) else {
        return Some(format!("{tool} (not listed yet)"));
    };
    let hints = lookup::definition(read_model, &id).map(|tool| tool.hints).unwrap_or_default();
    hints.may_destroy(true).then(|| format!("{tool} of {} ({})", id.server, hints.words()))
}

/// Follows a run to its end and prints it. The first Ctrl-C cancels the run, the second stops its compensation, the third
/// quits; SIGTERM interrupts the run.
async fn follow(session: &mut Session<'_>, args: &RunArgs, run: RunId, name: &str, command: Command) -> Result<u8, Stop> {
    session.printer.note(&format!("run {run} of {name}"));
    session.command(command);
    let mut progress = Progress { run, steps: HashMap::new(), active: vec![] };
    let mut questions = Questions::new(run);
    let mut interrupts = 0;
    let report = loop {
        questions.ask_next(session);
        let woke = tokio::select! {
            biased;
            woke = session.step(None) => woke?,
            line = questions.line() => {
                questions.answer(session, &line);
                continue;
            }
        };
        match woke {
            Wake::Event(event) => {
                questions.handle(&event);
                if let Some(report) = progress.handle(session, &event)? {
                    break report;
                }
            }
            Wake::Resynced => {
                let settled = session.read_model.runs.get(run).and_then(|view| view.report.clone());
                if let Some(report) = settled {
                    break report;
                }
            }
            Wake::Signal(Signal::Interrupt) if interrupts < 2 => {
                interrupts += 1;
                session.command(Command::CancelRun { run, reason: "cancelled by the user".into() });
                let words = if interrupts == 1 {
                    "cancelling the run; press Ctrl-C again to stop the compensation"
                } else {
                    "stopping the compensation; press Ctrl-C again to quit"
                };
                session.printer.note(words);
            }
            Wake::Signal(signal) => {
                session.printer.note(&format!("resume the run with: switchboard run --resume {run}"));
                return Err(Stop::Quit(if signal == Signal::Terminate { exit::TERMINATED } else { exit::INTERRUPTED }));
            }
            // Nothing will be published about the run.
            Wake::NotStarted(error) => {
                let kind = match error {
                    CommandError::RunActive { .. } => FailureKind::InvalidArguments,
                    _ => FailureKind::Transport,
                };
                return Err(Failure::new(kind, error.to_string()).into());
            }
            Wake::Late | Wake::Replied => {}
        }
    };
    session.printer.end_progress();
    let unwritten = write_files(session, args, name, &report).err();
    let code = if unwritten.is_some() { exit::FAILED } else { exit::of_run(report.outcome) };
    print_report(session, (run, name), &report, code)?;
    if let Some(failure) = unwritten {
        session.printer.note(&format!("error: {}", failure.message));
    }
    Ok(code)
}

/// Writes the files that the command names.
fn write_files(session: &mut Session<'_>, args: &RunArgs, name: &str, report: &RunReport) -> Result<(), Failure> {
    if let Some(path) = &args.junit {
        run_files::write(path, &junit::of_run(name, report))?;
    }
    if let Some(path) = &args.output
        && !run_files::write_output(path, report, &session.printer)?
    {
        session.printer.note(&format!("the run has no outputs, so {} was not written", path.display()));
    }
    Ok(())
}

/// Progress output of a run.
struct Progress {
    run: RunId,
    /// The last printed state of each step.
    steps: HashMap<Arc<str>, &'static str>,
    active: Vec<(Arc<str>, String)>,
}

impl Progress {
    /// Handles an event; returns the report when the run has ended.
    fn handle(&mut self, session: &mut Session<'_>, event: &Event) -> Result<Option<Arc<RunReport>>, Stop> {
        match &event.kind {
            EventKind::RunStep { run, step, view } if *run == self.run => self.step(session, step, view, event.at)?,
            EventKind::RunSettled { run, report } if *run == self.run => return Ok(Some(report.clone())),
            _ => {}
        }
        Ok(None)
    }

    fn step(&mut self, session: &mut Session<'_>, step: &Arc<str>, view: &Arc<StepView>, at: Stamp) -> Result<(), Stop> {
        let word = view.state.word();
        let changed = self.steps.insert(step.clone(), word) != Some(word);
        self.active.retain(|(active, _)| active != step);
        if view.state.active() {
            let items = view.items.map(|items| format!(" {}/{}", items.done, items.total)).unwrap_or_default();
            self.active.push((step.clone(), format!("{step}{items}")));
        }
        if changed && session.printer.format() == Format::Jsonl {
            session.printer.document(
                &json!({"type": "step", "at": session.read_model.epoch.unix_ms(at), "run": self.run.to_string(), "step": &**step, "state": word,
                "reason": view.state.why(), "attempts": view.attempts}),
            )?;
        }
        // A running step gets a line only where no status line shows it.
        let print_line =
            changed && word != "pending" && (word != "running" || !session.printer.stderr_is_terminal() || session.options.verbose);
        if print_line {
            let took = if view.state.active() { String::new() } else { view.took(at).map(short).unwrap_or_default() };
            let attempts = if view.attempts > 1 && view.items.is_none() { format!("  {} attempts", view.attempts) } else { String::new() };
            let why = view.state.why().map(|why| format!("  {why}")).unwrap_or_default();
            let fallback =
                view.fallback.as_ref().filter(|_| !view.state.active()).map(|what| format!("  answered by {what}")).unwrap_or_default();
            let items = view
                .items
                .filter(|_| !view.state.active())
                .map(|i| format!("  {}, {} failed", counted(i.total, "item"), i.failed))
                .unwrap_or_default();
            session.printer.note(format!("{word:<12} {step:<24} {took:>8}{attempts}{items}{fallback}{why}").trim_end());
        }
        if print_line {
            for failed in &view.failed_items {
                session.printer.note(&format!("  {step}[{}]: {}", failed.item, failed.error.message));
            }
        }
        let running: Vec<&str> = self.active.iter().map(|(_, words)| words.as_str()).collect();
        if !running.is_empty() {
            session.printer.status(&format!("running {}", running.join(", ")));
        }
        Ok(())
    }
}

fn print_report(session: &mut Session<'_>, (run, name): (RunId, &str), report: &RunReport, code: u8) -> Result<(), Stop> {
    if session.printer.format() != Format::Human {
        let document = Document { exit_code: code, ..Document::of(session, run, name, report) };
        let document = serde_json::to_value(&document).unwrap_or_default();
        session.printer.document(&document)?;
        return Ok(());
    }
    if let Some(output) = &report.output {
        session.printer.json_text(&output.text())?;
    }
    let mut lines = vec![("run", format!("{} in {}", report.outcome.words(), short(report.took())))];
    lines.extend(report.why.iter().map(|why| ("why", why.clone())));
    lines.extend(report.detail.iter().map(|line| ("", line.clone())));
    if !report.compensated.is_empty() {
        lines.push(("compensated", report.compensated.join(", ")));
    }
    lines.extend(details(report).map(|line| ("detail", line)));
    lines.extend(report.not_compensated.iter().map(|(step, why)| ("not compensated", format!("{step}: {why}"))));
    lines.extend(report.questions.iter().map(|question| ("asks", format!("{}: {}", question_name(question), question.message))));
    if report.outcome == RunOutcome::Waiting {
        let flags: String = report.questions.iter().map(answer_flag).collect();
        lines.push(("try", format!("answer with: switchboard runs resume {run}{flags}")));
    }
    if report.outcome == RunOutcome::CompensationFailed {
        lines.push(("try", format!("undo the rest with: switchboard runs undo {run}")));
    }
    if report.outcome == RunOutcome::InDoubt {
        lines.push(("try", format!("resolve each with --repeat or --skip: switchboard run --resume {run}")));
    }
    session.printer.report("", &lines);
    Ok(())
}

/// Returns further lines about the steps that failed: the errors of their fallbacks, and what a server reported.
fn details(report: &RunReport) -> impl Iterator<Item = String> {
    report.steps.iter().flat_map(|(step, view)| {
        let error = match &view.state {
            StepState::Failed { error } | StepState::CompensationFailed { error } => Some(error),
            _ => None,
        };
        let lines = error.into_iter().flat_map(|error| &error.detail).filter(|line| !matches!(line, StepDetail::NotUndone { .. }));
        lines.map(move |line| format!("{step}: {line}"))
    })
}

/// Returns the name of the step or item that asks.
pub(super) fn question_name(question: &RunQuestion) -> String {
    question.item.map_or_else(|| question.step.to_string(), |item| format!("{}[{item}]", question.step))
}

/// Returns the flag that answers a question, with a leading space.
fn answer_flag(question: &RunQuestion) -> String {
    let name = shell_quoted(&question.step, question.item);
    match question.schema {
        None => format!(" --approve {name}"),
        Some(_) => format!(" --answer {name}=JSON"),
    }
}

/// JSON document of a run: the output of `--json`, the last line of `--jsonl`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run: String,
    workflow: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    detail: &'a [String],
    output: Option<Box<RawValue>>,
    steps: Vec<StepDocument<'a>>,
    compensated: &'a [String],
    not_compensated: Vec<Value>,
    /// The questions of a waiting run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<QuestionDocument<'a>>,
    started_unix_ms: u64,
    duration_ms: f64,
    exit_code: u8,
}

/// A question that has no answer yet.
#[derive(Serialize)]
pub(super) struct QuestionDocument<'a> {
    pub step: String,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Box<RawValue>>,
}

/// The error of a step or item.
#[derive(Serialize)]
pub(super) struct StepErrorDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The kind in expressions, as for `retry.on`.
    pub kind: &'static str,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    pub may_have_run: bool,
}

impl<'a> StepErrorDocument<'a> {
    pub fn new(item: Option<u32>, error: &'a StepError) -> StepErrorDocument<'a> {
        let detail = error.detail.iter().map(ToString::to_string).collect();
        StepErrorDocument { item, kind: error.kind.key(), message: &error.message, detail, may_have_run: error.may_have_run }
    }
}

#[derive(Serialize)]
struct StepDocument<'a> {
    step: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    attempts: u32,
    /// The tool's server, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Who is responsible for the server of a failed step.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StepErrorDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<crate::domain::run::Items>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_items: Vec<StepErrorDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'a str>,
    arguments: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    /// Whether arguments or result exceed the limit of a report and are truncated texts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    started_unix_ms: Option<u64>,
    duration_ms: Option<f64>,
}

impl<'a> Document<'a> {
    fn of(session: &Session<'_>, run: RunId, name: &'a str, report: &'a RunReport) -> Document<'a> {
        let read_model = &session.read_model;
        let epoch = read_model.epoch;
        let plan = read_model.runs.get(run).map(|view| view.plan.clone()).unwrap_or_default();
        let step = |(step, view): &'a (Arc<str>, Arc<StepView>)| {
            let error = match &view.state {
                StepState::Failed { error } | StepState::CompensationFailed { error } => Some(&**error),
                _ => None,
            };
            let tool = plan.steps.iter().find(|known| known.id == *step).and_then(|known| lookup::named(read_model, &known.what));
            let owner = tool.as_ref().filter(|_| error.is_some()).and_then(|tool| session.owner(&tool.server));
            StepDocument {
                step,
                state: view.state.word(),
                reason: view.state.why(),
                attempts: view.attempts,
                server: tool.map(|tool| tool.server.to_string()),
                owner,
                error: error.map(|error| StepErrorDocument::new(None, error)),
                items: view.items,
                failed_items: view.failed_items.iter().map(|failed| StepErrorDocument::new(Some(failed.item), &failed.error)).collect(),
                started_unix_ms: view.started.map(|started| epoch.unix_ms(started)),
                fallback: view.fallback.as_deref(),
                arguments: view.arguments.as_ref().and_then(raw_or_text),
                result: view.result.as_ref().and_then(raw_or_text),
                truncated: view.cut,
                duration_ms: view.took(view.ended.unwrap_or_default()).map(ms),
            }
        };
        Document {
            kind: "run",
            run: run.to_string(),
            workflow: name,
            outcome: report.outcome.key(),
            reason: report.why.as_deref(),
            detail: &report.detail,
            output: report.output.as_ref().and_then(raw),
            steps: report.steps.iter().map(step).collect(),
            compensated: &report.compensated,
            not_compensated: report.not_compensated.iter().map(|(step, why)| json!({"step": step, "reason": why})).collect(),
            questions: report
                .questions
                .iter()
                .map(|question| QuestionDocument {
                    step: question_name(question),
                    message: &question.message,
                    schema: question.schema.as_ref().and_then(raw),
                })
                .collect(),
            started_unix_ms: epoch.unix_ms(report.started),
            duration_ms: ms(report.took()),
            exit_code: exit::of_run(report.outcome),
        }
    }
}

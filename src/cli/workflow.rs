//! `workflow`: commands about workflow files that need no server, and `check --live`, which does.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::{
    Options,
    args::{CheckArgs, GraphFormat, WorkflowCheckArgs, WorkflowCmd},
    exit,
    findings::{self, Finding, Severity},
    junit,
    print::{Format, Io, Printer},
    readiness::Targets,
    replies_of_workspace::{failed, unexpected},
    session::{Session, Stop},
    style::Tone,
};
use crate::{
    control::{Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        call::{Failure, FailureKind},
        config_error::ConfigError,
        journal::CallRecord,
        plural::counted,
        secret::MASK,
        server::Phase,
        text::{visible, visible_lines},
        workflow::{
            catalog_lookup::{CatalogView, may_offer, servers_of, tools_of},
            check::{Lookup, Offered, check_against, warnings},
            export, graph,
            history::{PastCall, from_history},
            keys,
            library::WorkflowLibrary,
            parse::{Source, parse},
            plan::Plan,
            problem::Problem,
        },
        workspace::{CaseEnd, TestMade, WorkflowPlace, WorkspaceState},
    },
    files,
    state::ServerView,
    workflow_lookup,
};

/// Runs a subcommand that needs no servers; returns the exit code.
pub async fn run(workspace: &dyn Workspace, command: &WorkflowCmd, options: &Options, io: Io) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    for warning in library_warnings(&workspace.state().borrow()) {
        printer.note_text(&format!("warning: {}\n", visible_lines(&warning)));
    }
    let outcome = carry_out(&mut printer, workspace, command).await;
    super::conclude(&mut printer, outcome)
}

async fn carry_out(printer: &mut Printer, workspace: &dyn Workspace, command: &WorkflowCmd) -> Result<u8, Stop> {
    let library = workspace.state().borrow().library.clone();
    match command {
        WorkflowCmd::Check(args) => check(printer, &library, args),
        WorkflowCmd::List => list(printer, &library),
        WorkflowCmd::Graph { workflow, format } => draw(printer, &library, workflow, *format),
        WorkflowCmd::New { name, from_call, print } => {
            let text = match from_call {
                Some(call) => from_history(name, &past(workspace, 1, std::slice::from_ref(call)).await?),
                None => template(name),
            };
            save(printer, workspace, name, &text, *print).await
        }
        WorkflowCmd::FromHistory { name, last, ids, write } => {
            let text = from_history(name, &past(workspace, *last, ids).await?);
            save(printer, workspace, name, &text, !write).await
        }
        WorkflowCmd::Schema => {
            printer.document(&keys::schema())?;
            Ok(exit::OK)
        }
        WorkflowCmd::Test { files, check, junit } => {
            let reply = workspace.request(WorkspaceRequest::Test { files: files.clone() }).await.map_err(failed)?;
            match reply {
                WorkspaceReply::Tested(cases) => tested(printer, &cases, check, junit.as_deref()),
                _ => Err(unexpected().into()),
            }
        }
        WorkflowCmd::TestFromRun { run, case, write } => {
            let request = WorkspaceRequest::TestFromRun { run: run.clone(), case: case.clone(), write: *write };
            match workspace.request(request).await.map_err(failed)? {
                WorkspaceReply::TestMade(made) => test_made(printer, &made),
                _ => Err(unexpected().into()),
            }
        }
    }
}

/// Returns the warnings of a headless command: the problems of the library, and workflows that need an approval. The console
/// asks for the approval instead.
pub fn library_warnings(state: &WorkspaceState) -> Vec<String> {
    let mut warnings = state.library.problems.clone();
    if let (Some(pending), Some(approval)) = (&state.library.pending, &state.approval)
        && !pending.names.is_empty()
    {
        let (needs, used) = if pending.names.len() == 1 { ("needs", "is") } else { ("need", "are") };
        let text = format!("{} of this project {needs} your approval and {used} not used", counted(pending.names.len(), "workflow"));
        warnings.push(ConfigError::new(text).in_file(&approval.path).hint("review them with `switchboard approve`").to_string());
    }
    warnings
}

/// Returns the recorded tool calls that a command requests, oldest first.
async fn past(workspace: &dyn Workspace, last: usize, ids: &[String]) -> Result<Vec<PastCall>, Stop> {
    let number = |id: &String| {
        u64::from_str_radix(id, 16).map_err(|_| {
            Failure::new(FailureKind::InvalidArguments, format!("{id:?} is not the id of a call; use the id that `--json` prints"))
        })
    };
    let numbers: Vec<u64> = ids.iter().map(number).collect::<Result<_, _>>()?;
    let named = !numbers.is_empty();
    // Not all calls are tool calls: read more than requested.
    let request = WorkspaceRequest::Calls { last: last.saturating_mul(10).max(100), ids: numbers };
    let WorkspaceReply::Calls(records) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
    let mut calls: Vec<PastCall> = records.iter().filter_map(CallRecord::past).collect();
    if !named && calls.len() > last {
        calls.drain(..calls.len() - last);
    }
    if calls.is_empty() { Err(no_past_calls()) } else { Ok(calls) }
}

/// Prints a test case created from a run, or the path it was written to.
fn test_made(printer: &mut Printer, made: &TestMade) -> Result<u8, Stop> {
    made.notes.iter().for_each(|note| printer.note(note));
    match &made.written {
        Some(path) => printer.note(&format!("written to {}", path.display())),
        None => printer.file(&made.text)?,
    }
    Ok(exit::OK)
}

fn no_past_calls() -> Stop {
    Failure::new(FailureKind::InvalidArguments, "the history has no such tool calls")
        .hint("the history stores calls of `switchboard call` and the console, up to [history] calls")
        .into()
}

/// Prints the results of test files.
fn tested(printer: &mut Printer, cases: &[CaseEnd], args: &CheckArgs, junit_file: Option<&Path>) -> Result<u8, Stop> {
    if let Some(path) = junit_file {
        let text = junit::of_cases(cases);
        files::report(path, text.as_bytes())
            .map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", path.display())))?;
    }
    let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
    let found: Vec<Finding> = cases.iter().flat_map(case_findings).collect();
    let row = |case: &CaseEnd| {
        let (mark, state) = if case.failures.is_empty() { ("✓", "passed") } else { ("✗", "failed") };
        [mark.to_owned(), format!("{}: {}", case.workflow, case.name), state.to_owned()]
    };
    let rows: Vec<[String; 3]> = cases.iter().map(row).collect();
    findings::append_summary(printer, args.step_summary.as_deref(), "Workflow tests", &rows, &found)?;
    if printer.format() != Format::Human {
        printer.document(&json!({"type": "workflow_test", "cases": cases, "failed": failed}))?;
    } else if !findings::print(printer, args.format, &found)? {
        for case in cases {
            let passed = case.failures.is_empty();
            let (mark, tone) = if passed { ("ok    ", Tone::Good) } else { ("FAILED", Tone::Bad) };
            printer.marked(mark, tone, &format!("{}: {}", case.workflow, case.name))?;
            for wrong in &case.failures {
                printer.text(&wrong.lines().map(|line| format!("        {line}\n")).collect::<String>())?;
            }
        }
        printer.line(&format!("{}, {failed} failed", counted(cases.len(), "case")))?;
    }
    Ok(if failed == 0 { exit::OK } else { exit::TOOL_ERROR })
}

/// Returns the failed expectations of a case.
fn case_findings(case: &CaseEnd) -> Vec<Finding> {
    let finding = |failure: &String| Finding {
        severity: Severity::Error,
        rule: "test",
        file: Some(case.file.as_str().into()),
        line: None,
        column: None,
        message: format!("{}: {}: {}", case.workflow, case.name, failure.lines().collect::<Vec<_>>().join(" · ")),
        hint: None,
    };
    case.failures.iter().map(finding).collect()
}

fn named(library: &WorkflowLibrary, args: &WorkflowCheckArgs) -> Vec<String> {
    if args.workflows.is_empty() { library.names() } else { args.workflows.clone() }
}

fn check(printer: &mut Printer, library: &WorkflowLibrary, args: &WorkflowCheckArgs) -> Result<u8, Stop> {
    let mut checked = vec![];
    for name in named(library, args) {
        let problems = workflow_lookup::plan(library, &name)?.err().unwrap_or_default();
        checked.push(Checked { name, problems, unchecked: vec![] });
    }
    print_checked(printer, &checked, &args.check)
}

/// `workflow check --live`: also checks the calls against the servers' current tools.
pub async fn check_live(session: &mut Session<'_>, args: &WorkflowCheckArgs) -> Result<u8, Stop> {
    let library = session.options.library.clone();
    let mut plans = vec![];
    for name in named(&library, args) {
        let plan = workflow_lookup::plan(&library, &name)?;
        plans.push((name, plan));
    }
    let readable = || plans.iter().filter_map(|(_, plan)| plan.as_ref().ok());
    let (tools, servers): (Vec<String>, Vec<String>) = (readable().flat_map(tools_of).collect(), readable().flat_map(servers_of).collect());
    let needed = |read_model: &_, server: &ServerView| {
        tools.iter().any(|tool| may_offer(read_model, &server.spec, tool)) || servers.iter().any(|name| name == server.id().as_str())
    };
    session.settle(needed).await?;
    let read_model = &session.read_model;
    let readable = plans.iter().filter_map(|(_, plan)| plan.as_ref().ok());
    let surprises: Vec<Problem> = readable.flat_map(|plan| warnings(plan, &CatalogView(read_model))).collect();
    let checked = plans.into_iter().map(|(name, plan)| match plan {
        Err(problems) => Checked { name, problems, unchecked: vec![] },
        Ok(plan) => {
            let problems = check_against(&plan, &CatalogView(read_model));
            Checked { name, problems, unchecked: unchecked(session, &plan) }
        }
    });
    let checked: Vec<Checked> = checked.collect();
    for warning in surprises {
        session.printer.note_text(&format!("{}\n ", warning.render_warning()));
    }
    print_checked(&mut session.printer, &checked, &args.check)
}

/// A workflow after a check.
struct Checked {
    name: String,
    problems: Vec<Problem>,
    unchecked: Vec<Unchecked>,
}

impl Checked {
    /// Returns the problems as errors, and what was not checked as warnings.
    fn findings(&self) -> Vec<Finding> {
        let problem = |problem: &Problem| Finding {
            severity: Severity::Error,
            rule: "workflow",
            file: Some(problem.file.as_str().into()),
            line: Some(problem.place.line),
            column: Some(problem.place.column),
            message: match problem.key.as_str() {
                "" => problem.message.clone(),
                key => format!("`{key}` {}", problem.message),
            },
            hint: problem.hint.clone(),
        };
        let unchecked = |one: &Unchecked| Finding {
            severity: Severity::Warning,
            rule: "workflow",
            file: None,
            line: None,
            column: None,
            message: format!("{}: {}", self.name, one.line()),
            hint: None,
        };
        self.problems.iter().map(problem).chain(self.unchecked.iter().map(unchecked)).collect()
    }
}

/// Something that a workflow uses and that could not be checked, because its server is unavailable.
#[derive(Serialize)]
struct Unchecked {
    /// The tool; `None` for the prompts and resources of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    server: String,
    reason: String,
    /// When the list was read that it was checked against instead, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    list_unix_ms: Option<u64>,
}

impl Unchecked {
    fn line(&self) -> String {
        let what = self.tool.clone().unwrap_or_else(|| format!("prompts and resources of {}", self.server));
        match self.list_unix_ms {
            None => format!("{what} not checked: {}", self.reason),
            Some(_) => format!("{what} checked against the last known list only: {}", self.reason),
        }
    }
}

/// Returns what of a plan could not be checked against the current lists.
fn unchecked(session: &Session<'_>, plan: &Plan) -> Vec<Unchecked> {
    let read_model = &session.read_model;
    let reason = |server: &ServerView| {
        let problem = session.unusable(server.id());
        problem.map_or_else(
            || format!("the lists of {} could not be read", server.id()),
            |problem| match &problem.connect {
                Some(connect) => format!("{}: {}", problem.failure.message, connect.summary),
                None => problem.failure.message,
            },
        )
    };
    let current = |server: &&ServerView| server.phase.usable() && server.catalog.revision > 0;
    let mut tools = tools_of(plan);
    tools.sort();
    tools.dedup();
    let mut found: Vec<Unchecked> = vec![];
    for tool in tools {
        let servers = Targets::of(read_model, &tool).servers;
        let known = matches!(CatalogView(read_model).tool(&tool), Lookup::Found(_));
        let open = |server: &&&ServerView| !current(server) && *server.phase != Phase::Disabled;
        let blamed = match known && servers.iter().any(current) {
            true => None,
            false => servers.iter().find(open),
        };
        found.extend(blamed.map(|server| Unchecked {
            tool: Some(tool),
            server: server.id().to_string(),
            reason: reason(server),
            list_unix_ms: server.catalog.stored_ms.filter(|_| known),
        }));
    }
    let mut servers = servers_of(plan);
    servers.sort();
    servers.dedup();
    let read = servers.iter().filter_map(|name| read_model.server(&name.as_str().into())).filter(|server| !current(server));
    found.extend(read.map(|server| Unchecked { tool: None, server: server.id().to_string(), reason: reason(server), list_unix_ms: None }));
    found
}

fn print_checked(printer: &mut Printer, checked: &[Checked], args: &CheckArgs) -> Result<u8, Stop> {
    let found: Vec<Finding> = checked.iter().flat_map(Checked::findings).collect();
    let row = |one: &Checked| {
        let (mark, state) = match (one.problems.is_empty(), one.unchecked.is_empty()) {
            (true, true) => ("✓", "ok"),
            (true, false) => ("–", "incompletely checked"),
            (false, _) => ("✗", "broken"),
        };
        [mark, &one.name, state].map(str::to_owned)
    };
    let rows: Vec<[String; 3]> = checked.iter().map(row).collect();
    findings::append_summary(printer, args.step_summary.as_deref(), "Workflows", &rows, &found)?;
    let wrong = checked.iter().any(|one| !one.problems.is_empty());
    let incomplete = checked.iter().any(|one| !one.unchecked.is_empty());
    if printer.format() == Format::Human && findings::print(printer, args.format, &found)? {
        // Printed.
    } else if printer.format() == Format::Human {
        for Checked { name, problems, unchecked } in checked {
            match (problems.is_empty(), unchecked.is_empty()) {
                (true, true) => printer.line(&format!("{name}: ok"))?,
                (true, false) => printer.line(&format!("{name}: incompletely checked"))?,
                (false, _) => {}
            }
            for problem in problems {
                printer.note_text(&format!("{}\n ", problem.render()));
            }
            unchecked.iter().for_each(|one| printer.note(&format!("{name}: {}", one.line())));
        }
    } else {
        let document = |one: &Checked| match one.unchecked.is_empty() {
            true => json!({"workflow": one.name, "problems": one.problems}),
            false => json!({"workflow": one.name, "problems": one.problems, "unchecked": one.unchecked}),
        };
        printer.document(&json!({"type": "workflow_check", "workflows": checked.iter().map(document).collect::<Vec<_>>()}))?;
    }
    Ok(match (wrong, incomplete) {
        (true, _) => exit::USAGE,
        (false, true) => exit::PARTIAL,
        (false, false) => exit::OK,
    })
}

/// Prints the problems of one workflow.
fn print_problems(printer: &mut Printer, name: &str, problems: Vec<Problem>) -> Result<u8, Stop> {
    print_checked(printer, &[Checked { name: name.to_owned(), problems, unchecked: vec![] }], &CheckArgs::default())
}

fn list(printer: &mut Printer, library: &WorkflowLibrary) -> Result<u8, Stop> {
    let files = library.files.iter().chain(&library.project).map(|file| file.file.as_str());
    let plans: Vec<_> =
        library.names().into_iter().zip(files).map(|(name, file)| (workflow_lookup::plan(library, &name), name, file)).collect();
    if printer.format() != Format::Human {
        let documents: Vec<_> = plans
            .iter()
            .map(|(plan, name, file)| match plan {
                Ok(Ok(plan)) => json!({"name": name, "title": plan.title, "description": plan.description, "version": plan.version,
                    "file": file, "steps": plan.steps.len(), "valid": true}),
                _ => json!({"name": name, "file": file, "valid": false}),
            })
            .collect();
        printer.document(&json!({"type": "workflows", "workflows": documents}))?;
        return Ok(exit::OK);
    }
    if plans.is_empty() {
        printer.note("no workflows found: create one with `switchboard workflow new NAME`, or use those of --demo");
    }
    let rows = plans.iter().map(|(plan, name, _)| match plan {
        Ok(Ok(plan)) => {
            let about = plan.title.clone().or_else(|| plan.description.clone()).unwrap_or_default();
            vec![name.clone(), counted(plan.steps.len(), "step"), about]
        }
        _ => vec![name.clone(), "broken".into(), format!("run `switchboard workflow check {}` for the errors", visible(name))],
    });
    printer.table("", &rows.collect::<Vec<_>>())?;
    Ok(exit::OK)
}

/// Returns the plan; prints its problems and fails if it has any.
pub fn valid_plan(printer: &mut Printer, library: &WorkflowLibrary, wanted: &str) -> Result<Plan, Stop> {
    match workflow_lookup::plan(library, wanted)? {
        Ok(plan) => Ok(plan),
        Err(problems) => {
            print_problems(printer, wanted, problems)?;
            Err(Stop::Quit(exit::USAGE))
        }
    }
}

fn draw(printer: &mut Printer, library: &WorkflowLibrary, wanted: &str, format: GraphFormat) -> Result<u8, Stop> {
    let plan = valid_plan(printer, library, wanted)?;
    let text = match format {
        GraphFormat::Text => export::text(&graph::layout(&graph::Graph::of(&plan))),
        GraphFormat::Mermaid => export::mermaid(&plan),
        GraphFormat::Dot => export::dot(&plan),
    };
    printer.file(&text)?;
    Ok(exit::OK)
}

async fn save(printer: &mut Printer, workspace: &dyn Workspace, name: &str, text: &str, print: bool) -> Result<u8, Stop> {
    let source = Source { file: format!("{name}.toml"), text: text.to_owned() };
    if let Err(problems) = parse(&source, &|_| None) {
        print_problems(printer, name, problems)?;
        return Ok(exit::USAGE);
    }
    if text.contains(MASK) {
        printer.note(&format!(
            "secret values are masked as {MASK}: replace them, for example with {{{{ env.NAME }}}}, before you run the workflow"
        ));
    }
    if print {
        printer.file(text)?;
        return Ok(exit::OK);
    }
    let request = WorkspaceRequest::SaveWorkflow { name: name.to_owned(), text: text.to_owned(), place: WorkflowPlace::Project };
    let WorkspaceReply::Written(path) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
    printer.note(&format!("written to {}", path.display()));
    Ok(exit::OK)
}

/// Returns the template of a new workflow.
fn template(name: &str) -> String {
    format!(
        "# Keys and completion in editors: `switchboard workflow schema`.\n\
         name = {}\n\
         title = \"A new workflow\"\n\n\
         [input]\n\
         text = {{ type = \"string\", default = \"hello\" }}\n\n\
         # An exposed name of `switchboard tools`.\n\
         [[step]]\n\
         id = \"first\"\n\
         tool = \"server_tool\"\n\
         arguments = {{ text = \"{{{{ input.text }}}}\" }}\n\n\
         [output]\n\
         answer = \"{{{{ steps.first.result }}}}\"\n",
        json!(name)
    )
}

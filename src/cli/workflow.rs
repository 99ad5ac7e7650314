//! `workflow`: commands about workflow files that need no server, and `check --live`, which does.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::{
    Options,
    args::{GraphFormat, WorkflowCheckArgs, WorkflowCmd},
    exit, junit,
    print::{Format, Io, Printer},
    session::{Session, Stop},
    workflow_lookup,
};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        run::{RunSpec, WorkflowText},
        secret::MASK,
        text::visible,
        workflow::{
            catalog_lookup::{CatalogView, may_offer, servers_of, tools_of},
            check::check_against,
            export, graph,
            history::{PastCall, from_history},
            keys,
            library::WorkflowLibrary,
            parse::{Source, parse},
            plan::Plan,
            problem::Problem,
        },
    },
    files,
    state::ServerView,
};

/// Result of a test case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseEnd {
    /// The test file.
    pub file: String,
    /// The workflow.
    pub workflow: String,
    /// The case's name.
    pub name: String,
    /// Failed expectations; empty if the case passed.
    pub failures: Vec<String>,
    /// Duration in milliseconds.
    pub duration_ms: f64,
}

/// Dependencies of `workflow` from the composition root: files and the history.
pub struct Deps<'a> {
    /// Writes a workflow file with this name; returns its path.
    pub save: &'a mut dyn FnMut(&str, &str) -> Result<PathBuf, String>,
    /// The requested calls that the history has.
    pub calls: Vec<PastCall>,
}

/// Runs a subcommand that needs no servers; returns the exit code.
pub fn run(command: &WorkflowCmd, library: &WorkflowLibrary, deps: Deps<'_>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| match command {
        WorkflowCmd::Check(args) => check(printer, library, args),
        WorkflowCmd::List => list(printer, library),
        WorkflowCmd::Graph { workflow, format } => draw(printer, library, workflow, *format),
        WorkflowCmd::New { name, from_call, print } => {
            let text = match from_call {
                Some(_) if deps.calls.is_empty() => return Err(no_past_calls()),
                Some(_) => from_history(name, &deps.calls),
                None => template(name),
            };
            save(printer, name, &text, *print, deps.save)
        }
        WorkflowCmd::FromHistory { name, write, .. } => {
            if deps.calls.is_empty() {
                return Err(no_past_calls());
            }
            save(printer, name, &from_history(name, &deps.calls), !write, deps.save)
        }
        WorkflowCmd::Schema => {
            printer.document(&keys::schema())?;
            Ok(exit::OK)
        }
        // The composition root runs these and passes the results to `tested` or `test_made`.
        WorkflowCmd::Test { .. } | WorkflowCmd::TestFromRun { .. } => Ok(exit::OK),
    })
}

/// Returns the plan of a run from the workflow in its journal.
pub fn plan_of(spec: &RunSpec) -> Result<Plan, Failure> {
    let wrong = |text: String| Failure::new(FailureKind::InvalidArguments, text);
    let Some((main, files)) = spec.sources.split_first() else {
        return Err(wrong("the journal of the run has no workflow".into()));
    };
    let source = |text: &WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| files.iter().find(|file| file.name == name).map(source);
    parse(&source(main), &library).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        wrong(format!("the workflow of the run is invalid: {first}"))
    })
}

/// A test case created from a run.
#[derive(Clone, Debug, Default)]
pub struct TestMade {
    /// The text of a test file with the case.
    pub text: String,
    /// The file that the case was written to.
    pub written: Option<PathBuf>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Prints a test case created from a run, or the path it was written to; returns the exit code.
pub fn test_made(made: &TestMade, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        made.notes.iter().for_each(|note| printer.note(note));
        match &made.written {
            Some(path) => printer.note(&format!("written to {}", path.display())),
            None => printer.file(&made.text)?,
        }
        Ok(exit::OK)
    })
}

fn no_past_calls() -> Stop {
    Failure::new(FailureKind::InvalidArguments, "the history has no such tool calls")
        .hint("the history stores calls of `switchboard call` and the console, up to [history] calls")
        .into()
}

/// Prints the results of test files; returns the exit code.
pub fn tested(cases: &[CaseEnd], junit_file: Option<&Path>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if let Some(path) = junit_file {
            let text = junit::of_cases(cases);
            files::report(path, text.as_bytes())
                .map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", path.display())))?;
        }
        let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
        if printer.format() != Format::Human {
            printer.document(&json!({"type": "workflow_test", "cases": cases, "failed": failed}))?;
        } else {
            for case in cases {
                let mark = if case.failures.is_empty() { "ok    " } else { "FAILED" };
                printer.line(&format!("{mark}  {}: {}", case.workflow, case.name))?;
                for wrong in &case.failures {
                    printer.text(&wrong.lines().map(|line| format!("        {line}\n")).collect::<String>())?;
                }
            }
            printer.line(&format!("{} cases, {failed} failed", cases.len()))?;
        }
        Ok(if failed == 0 { exit::OK } else { exit::TOOL_ERROR })
    })
}

fn named(library: &WorkflowLibrary, args: &WorkflowCheckArgs) -> Vec<String> {
    if args.workflows.is_empty() { library.names() } else { args.workflows.clone() }
}

fn check(printer: &mut Printer, library: &WorkflowLibrary, args: &WorkflowCheckArgs) -> Result<u8, Stop> {
    let mut checked = vec![];
    for name in named(library, args) {
        let problems = workflow_lookup::plan(library, &name)?.err().unwrap_or_default();
        checked.push((name, problems));
    }
    tell_checked(printer, &checked)
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
    let checked = plans.into_iter().map(|(name, plan)| {
        let problems = plan.map_or_else(|problems| problems, |plan| check_against(&plan, &CatalogView(read_model)));
        (name, problems)
    });
    let checked: Vec<_> = checked.collect();
    tell_checked(&mut session.printer, &checked)
}

fn tell_checked(printer: &mut Printer, checked: &[(String, Vec<Problem>)]) -> Result<u8, Stop> {
    let wrong = checked.iter().any(|(_, problems)| !problems.is_empty());
    if printer.format() == Format::Human {
        for (name, problems) in checked {
            if problems.is_empty() {
                printer.line(&format!("{name}: ok"))?;
            }
            for problem in problems {
                printer.note_text(&format!("{}\n ", problem.render()));
            }
        }
    } else {
        let documents: Vec<_> = checked.iter().map(|(name, problems)| json!({"workflow": name, "problems": problems})).collect();
        printer.document(&json!({"type": "workflow_check", "workflows": documents}))?;
    }
    Ok(if wrong { exit::USAGE } else { exit::OK })
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
            vec![name.clone(), format!("{} steps", plan.steps.len()), about]
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
            tell_checked(printer, &[(wanted.to_owned(), problems)])?;
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

fn save(
    printer: &mut Printer,
    name: &str,
    text: &str,
    print: bool,
    save: &mut dyn FnMut(&str, &str) -> Result<PathBuf, String>,
) -> Result<u8, Stop> {
    let source = Source { file: format!("{name}.toml"), text: text.to_owned() };
    if let Err(problems) = parse(&source, &|_| None) {
        tell_checked(printer, &[(name.to_owned(), problems)])?;
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
    let path = save(name, text).map_err(|why| Failure::new(FailureKind::InvalidArguments, format!("nothing was written: {why}")))?;
    printer.note(&format!("written to {}", path.display()));
    Ok(exit::OK)
}

/// Returns the template of a new workflow.
fn template(name: &str) -> String {
    format!(
        "# Keys: docs/workflows.md. Completion in editors: `switchboard workflow schema`.\n\
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

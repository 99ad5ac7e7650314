//! `workflow`: everything about workflow files that needs no server, and the check that does.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::{
    Options,
    args::{GraphFormat, WorkflowCheckArgs, WorkflowCmd},
    exit, junit,
    print::{Format, Io, Printer},
    session::{Session, Stop},
    shelf::Shelf,
};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        read_model::ServerView,
        run::{RunSpec, WorkflowText},
        secret::MASK,
        text::visible,
        workflow::{
            catalog_lookup::{CatalogView, may_offer, servers_of, tools_of},
            check::check_against,
            export, graph,
            history::{PastCall, from_history},
            keys,
            parse::{Source, parse},
            plan::Plan,
            problem::Problem,
        },
    },
    files,
};

/// The texts of a plan and of the workflows that it runs, its own first.
pub fn texts(plan: &Plan) -> Vec<WorkflowText> {
    let text = |plan: &Plan| WorkflowText { name: plan.name.clone(), file: plan.file.clone(), text: plan.text.to_string() };
    let children = plan.children();
    std::iter::once(text(plan)).chain(children.iter().map(|child| text(child))).collect()
}

/// What a case of a test file came to, for printing.
#[derive(Clone, Debug, Serialize)]
pub struct CaseEnd {
    /// The test file.
    pub file: String,
    /// The workflow.
    pub workflow: String,
    /// The case's name.
    pub name: String,
    /// What was not as expected; empty when all was well.
    pub wrong: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// What the composition root does for `workflow`: files and the history.
pub struct Means<'a> {
    /// Writes a workflow file of this name; gives where.
    pub save: &'a mut dyn FnMut(&str, &str) -> Result<PathBuf, String>,
    /// The calls that were asked for, as far as they are there.
    pub calls: Vec<PastCall>,
}

/// Runs a command of `workflow` that needs no servers; gives the exit code.
pub fn run(command: &WorkflowCmd, shelf: &Shelf, means: Means<'_>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| match command {
        WorkflowCmd::Check(args) => check(printer, shelf, args),
        WorkflowCmd::List => list(printer, shelf),
        WorkflowCmd::Graph { workflow, format } => draw(printer, shelf, workflow, *format),
        WorkflowCmd::New { name, from_call, print } => {
            let text = match from_call {
                Some(_) if means.calls.is_empty() => return Err(nothing_past()),
                Some(_) => from_history(name, &means.calls),
                None => template(name),
            };
            save(printer, name, &text, *print, means.save)
        }
        WorkflowCmd::FromHistory { name, write, .. } => {
            if means.calls.is_empty() {
                return Err(nothing_past());
            }
            save(printer, name, &from_history(name, &means.calls), !write, means.save)
        }
        WorkflowCmd::Schema => {
            printer.document(&keys::schema())?;
            Ok(exit::OK)
        }
        // The composition root tries them and hands the ends to `tested`, or what it made to `test_made`.
        WorkflowCmd::Test { .. } | WorkflowCmd::TestFromRun { .. } => Ok(exit::OK),
    })
}

/// The plan of a run by what its journal has of the workflow.
pub fn plan_of(spec: &RunSpec) -> Result<Plan, Failure> {
    let wrong = |text: String| Failure::new(FailureKind::InvalidArguments, text);
    let Some((main, files)) = spec.sources.split_first() else {
        return Err(wrong("the journal of the run has no workflow".into()));
    };
    let source = |text: &WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| files.iter().find(|file| file.name == name).map(source);
    parse(&source(main), &library).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        wrong(format!("the workflow of the run cannot be read any more: {first}"))
    })
}

/// What became of a case that was made from a run.
#[derive(Clone, Debug, Default)]
pub struct TestMade {
    /// The text of a test file with it.
    pub text: String,
    /// The file that it was written to.
    pub written: Option<PathBuf>,
    /// What is to be known of it.
    pub notes: Vec<String>,
}

/// Prints a case that was made from a run, or where it was written; gives the exit code.
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

fn nothing_past() -> Stop {
    Failure::new(FailureKind::InvalidArguments, "there are no such calls of tools in the history")
        .hint("calls are remembered from `switchboard call` and the console; [history] calls = N says how many")
        .into()
}

/// Prints what test files came to; gives the exit code.
pub fn tested(cases: &[CaseEnd], junit_file: Option<&Path>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if let Some(path) = junit_file {
            let text = junit::of_cases(cases);
            files::report(path, text.as_bytes())
                .map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", path.display())))?;
        }
        let failed = cases.iter().filter(|case| !case.wrong.is_empty()).count();
        if printer.format() != Format::Human {
            printer.document(&json!({"type": "workflow_test", "cases": cases, "failed": failed}))?;
        } else {
            for case in cases {
                let mark = if case.wrong.is_empty() { "ok    " } else { "FAILED" };
                printer.line(&format!("{mark}  {}: {}", case.workflow, case.name))?;
                for wrong in &case.wrong {
                    printer.text(&wrong.lines().map(|line| format!("        {line}\n")).collect::<String>())?;
                }
            }
            printer.line(&format!("{} cases, {failed} failed", cases.len()))?;
        }
        Ok(if failed == 0 { exit::OK } else { exit::TOOL_ERROR })
    })
}

fn named(shelf: &Shelf, args: &WorkflowCheckArgs) -> Vec<String> {
    if args.workflows.is_empty() { shelf.names() } else { args.workflows.clone() }
}

fn check(printer: &mut Printer, shelf: &Shelf, args: &WorkflowCheckArgs) -> Result<u8, Stop> {
    let mut checked = vec![];
    for name in named(shelf, args) {
        let problems = shelf.plan(&name)?.err().unwrap_or_default();
        checked.push((name, problems));
    }
    tell_checked(printer, &checked)
}

/// `workflow check --live`: the calls too, against the tools that the servers offer now.
pub async fn check_live(session: &mut Session<'_>, args: &WorkflowCheckArgs) -> Result<u8, Stop> {
    let shelf = session.options.shelf.clone();
    let mut plans = vec![];
    for name in named(&shelf, args) {
        let plan = shelf.plan(&name)?;
        plans.push((name, plan));
    }
    let readable = || plans.iter().filter_map(|(_, plan)| plan.as_ref().ok());
    let (tools, servers): (Vec<String>, Vec<String>) = (readable().flat_map(tools_of).collect(), readable().flat_map(servers_of).collect());
    let needed = |read_model: &_, server: &ServerView| {
        tools.iter().any(|tool| may_offer(read_model, server, tool)) || servers.iter().any(|name| name == server.id().as_str())
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

fn list(printer: &mut Printer, shelf: &Shelf) -> Result<u8, Stop> {
    let files = shelf.files.iter().chain(&shelf.project).map(|file| file.file.as_str());
    let plans: Vec<_> = shelf.names().into_iter().zip(files).map(|(name, file)| (shelf.plan(&name), name, file)).collect();
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
        printer.note("there are no workflows; `switchboard workflow new NAME` begins one, --demo has four");
    }
    let rows = plans.iter().map(|(plan, name, _)| match plan {
        Ok(Ok(plan)) => {
            let about = plan.title.clone().or_else(|| plan.description.clone()).unwrap_or_default();
            vec![name.clone(), format!("{} steps", plan.steps.len()), about]
        }
        _ => vec![name.clone(), "broken".into(), format!("`switchboard workflow check {}` says why", visible(name))],
    });
    printer.table("", &rows.collect::<Vec<_>>())?;
    Ok(exit::OK)
}

/// The plan, or everything that is wrong with it told and the code for that.
pub fn sound(printer: &mut Printer, shelf: &Shelf, wanted: &str) -> Result<Plan, Stop> {
    match shelf.plan(wanted)? {
        Ok(plan) => Ok(plan),
        Err(problems) => {
            tell_checked(printer, &[(wanted.to_owned(), problems)])?;
            Err(Stop::Quit(exit::USAGE))
        }
    }
}

fn draw(printer: &mut Printer, shelf: &Shelf, wanted: &str, format: GraphFormat) -> Result<u8, Stop> {
    let plan = sound(printer, shelf, wanted)?;
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
            "secret values are written as {MASK}: replace them, for example by {{{{ env.NAME }}}}, before the workflow runs"
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

/// A workflow to begin with.
fn template(name: &str) -> String {
    format!(
        "# What each key means: docs/workflows.md; `switchboard workflow schema` lets editors complete them.\n\
         name = {}\n\
         title = \"A new workflow\"\n\n\
         [input]\n\
         text = {{ type = \"string\", default = \"hello\" }}\n\n\
         # The tool's name is that of `switchboard tools`.\n\
         [[step]]\n\
         id = \"first\"\n\
         tool = \"server_tool\"\n\
         arguments = {{ text = \"{{{{ input.text }}}}\" }}\n\n\
         [output]\n\
         answer = \"{{{{ steps.first.result }}}}\"\n",
        json!(name)
    )
}

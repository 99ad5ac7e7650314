//! Subcommands of `workflow` that need no servers: files, history and tests.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    headless::report_set_aside,
    setup::{self, Setup},
    workflow_library::{headless_library, warnings},
};
use crate::{
    cli::{
        self, Options,
        args::WorkflowCmd,
        print::Io,
        workflow::{CaseEnd, Deps, TestMade, plan_of},
        workflow_lookup,
    },
    config::{self, LoadOptions, Loaded, WorkflowFile},
    domain::{
        call::{Failure, FailureKind},
        journal::{CallRecord, RunRecord},
        masked,
        recorded::recorded,
        run::RunId,
        secret::{Secret, SecretRegistry, rule},
        time::short,
        workflow::{
            DEMO_TESTS,
            case::{self, TestFile},
            history::PastCall,
            library::{PROJECT, WorkflowLibrary},
            parse::Source,
            plan::Plan,
            problem::Problem,
        },
    },
    engine::{EngineOptions, rehearsal::rehearse},
    store::Store,
};

/// Runs `workflow` except for `check --live`; returns the exit code.
pub async fn run(setup: Setup, command: WorkflowCmd, options: Options) -> u8 {
    let refuse = |text: String| cli::fail(Failure::new(FailureKind::InvalidArguments, text), &options, Io::real());
    if let Some(problem) = &setup.problem {
        return refuse(problem.clone());
    }
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(setup::all(&errors)),
    };
    options.secrets.learn(setup::secrets(&loaded));
    let library = headless_library(&setup, &loaded);
    let mut io = Io::real();
    for warning in warnings(&library, &loaded) {
        // A closed stderr does not stop the command.
        let _ = writeln!(io.stderr, "warning: {}", crate::domain::text::visible_lines(&warning));
    }
    if let WorkflowCmd::Test { files, junit } = &command {
        return match test(&setup, &library, files, &loaded).await {
            Ok(cases) => cli::workflow::tested(&cases, junit.as_deref(), &options, io),
            Err(failure) => cli::fail(failure, &options, io),
        };
    }
    if let WorkflowCmd::TestFromRun { run, case, write } = &command {
        return match test_from_run(&setup, &loaded, &library, &options.secrets, (run, case.as_deref(), *write)).await {
            Ok(made) => cli::workflow::test_made(&made, &options, io),
            Err(failure) => cli::fail(failure, &options, io),
        };
    }
    // The history stores calls without secrets. Calls of older versions, and values that became secret later, are masked
    // here.
    let calls = match past(&setup, &loaded, &command, &options.secrets).await {
        Ok(calls) => calls,
        Err(failure) => return cli::fail(failure, &options, io),
    };
    let folder = library.folder.clone();
    let mut save = |name: &str, text: &str| {
        let folder = folder.as_ref().ok_or("there is no folder for workflows; print it with --print")?;
        write_workflow(&setup.load, &loaded, folder, name, text)
    };
    cli::workflow::run(&command, &library, Deps { save: &mut save, calls }, &options, io)
}

/// Writes a new workflow for the user. In an approved project, the approval is renewed for this file.
pub fn write_workflow(load: &LoadOptions, loaded: &Loaded, folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.join(format!("{name}.toml")).display());
    let project = loaded.project.as_ref().filter(|project| folder.starts_with(&project.root));
    project.map_or(Ok(()), |project| config::stays_inside(&project.root, folder)).map_err(failed)?;
    let path = config::save_workflow(folder, name, text).map_err(failed)?;
    renew(load, loaded, &path, text);
    Ok(path)
}

/// Renews the approval of a project in which `text` was written to `path` for the user. If that is not possible, the project
/// needs a new approval, which is not an error.
fn renew(load: &LoadOptions, before: &Loaded, path: &Path, text: &str) {
    if let (Some(state_dir), Ok(after)) = (&load.state_dir, config::load(load)) {
        config::approve_written(before, &after, path, text, state_dir);
    }
}

/// Reads a run from the journal by its id or a part of the id.
pub async fn recorded_run(store: &Store, part: &str) -> Result<RunRecord, Failure> {
    let unreadable = |error: crate::store::StoreError| invalid(format!("the journal cannot be read: {error}"));
    let run = match part.parse::<RunId>() {
        Ok(run) => Some(run),
        Err(_) => store.find_run(part).await.map_err(unreadable)?,
    };
    let record = match run {
        Some(run) => store.run(run).await.map_err(unreadable)?,
        None => None,
    };
    record.ok_or_else(|| invalid(format!("there is no run {part:?}, or several match")))
}

fn invalid(text: String) -> Failure {
    Failure::new(FailureKind::InvalidArguments, text)
}

/// Creates a test case from a run, runs it, and writes it if requested.
async fn test_from_run(
    setup: &Setup,
    loaded: &Loaded,
    library: &WorkflowLibrary,
    secrets: &SecretRegistry,
    (part, name, write): (&str, Option<&str>, bool),
) -> Result<TestMade, Failure> {
    let store = setup::store(setup, loaded).map_err(|why| invalid(format!("the journal cannot be read: {why}")))?;
    report_set_aside(Some(&store), &mut Io::real());
    let record = recorded_run(&store, part).await?;
    let spec = record.spec().cloned().ok_or_else(|| invalid(format!("the journal of the run {} has no beginning", record.run)))?;
    let plan = plan_of(&spec)?;
    let mut made =
        recorded(&plan, &record, name).map_err(|why| invalid(format!("no test can be created from the run {}: {why}", record.run)))?;
    secrets.learn(secrets_of(&plan));
    made.mask(&secrets.redactor());
    let source = Source { file: format!("{}.test.toml", plan.name), text: made.head() + &made.case() };
    let broken = |problems: Vec<Problem>| {
        let causes = problems.iter().map(Problem::render).collect();
        Failure { causes, ..invalid("the created test file is invalid; please report this".into()) }
    };
    let parsed = case::parse(&source).map_err(broken)?;
    let mut notes = vec![];
    let slow = made.takes().filter(|takes| *takes > LONGEST_TRIAL);
    if let Some(takes) = slow {
        notes.push(format!("not run: it waits for a timeout of {}", short(takes)));
    } else if let Some(case) = parsed.cases.first() {
        let failed = rehearse(&plan, &spec.sources, case, setup::engine_options(loaded, setup.demo)).await;
        let (varied, rest) = made.forget(failed);
        if !varied.is_empty() {
            notes.push(format!("not checked, because they differ in each run: {}", varied.join(", ")));
        }
        notes.extend(rest.iter().map(|words| format!("without servers the result differs; adjust the case: {words}")));
    }
    let of_project = spec.workflow.starts_with(PROJECT);
    let current = if of_project { &library.project } else { &library.files }.iter().find(|file| file.name == plan.name);
    if current.is_some_and(|file| *file.text != *plan.text) {
        notes.push(format!("the workflow {} has been changed since that run", plan.name));
    }
    let mut end = TestMade { text: made.head() + &made.case(), written: None, notes };
    if write {
        let beside = current.filter(|_| !setup.demo).and_then(|file| Some(PathBuf::from(&file.file).parent()?.to_owned()));
        let folder = beside.or_else(|| library.folder.clone());
        let folder = folder.ok_or_else(|| invalid("there is no folder for the test file; omit --write to print it".into()))?;
        let unwritten = |error: std::io::Error| invalid(format!("nothing was written to {}: {error}", folder.display()));
        let project = loaded.project.as_ref().filter(|project| folder.starts_with(&project.root));
        project.map_or(Ok(()), |project| config::stays_inside(&project.root, &folder)).map_err(unwritten)?;
        let path = config::add_case(&folder, made.workflow(), &made.head(), &made.case()).map_err(unwritten)?;
        if project.is_some()
            && let Ok(file) = config::workflow_at(&path)
        {
            renew(&setup.load, loaded, &path, &file.text);
        }
        end.written = Some(path);
    }
    Ok(end)
}

/// Longest timeout that a case may wait for to be run immediately.
const LONGEST_TRIAL: Duration = Duration::from_secs(30);

/// Returns the current secrets of the environment that a workflow reads.
fn secrets_of(plan: &Plan) -> Vec<Secret> {
    let children = plan.children();
    let names = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.env);
    names.filter_map(|name| Some(rule::of_value(name, &std::env::var(name).ok()?))).flatten().collect()
}

/// Returns the calls of the history that a command requests.
async fn past(setup: &Setup, loaded: &Loaded, command: &WorkflowCmd, secrets: &SecretRegistry) -> Result<Vec<PastCall>, Failure> {
    let (last, ids) = match command {
        WorkflowCmd::New { from_call: Some(id), .. } => (1, vec![id.clone()]),
        WorkflowCmd::FromHistory { last, ids, .. } => (*last, ids.clone()),
        _ => return Ok(vec![]),
    };
    let number = |id: &String| {
        u64::from_str_radix(id, 16).map_err(|_| invalid(format!("{id:?} is not the id of a call; use the id that `--json` prints")))
    };
    let numbers: Vec<u64> = ids.iter().map(number).collect::<Result<_, _>>()?;
    let store = setup::store(setup, loaded).map_err(|why| invalid(format!("the history cannot be read: {why}")))?;
    report_set_aside(Some(&store), &mut Io::real());
    // Not all calls are tool calls: read more than requested.
    let records = store.calls(last.saturating_mul(10).max(100), numbers.clone()).await;
    let mut records: Vec<CallRecord> = records.map_err(|error| invalid(format!("the history cannot be read: {error}")))?;
    let redactor = secrets.redactor();
    records.iter_mut().for_each(|record| masked::record(&redactor, record));
    let mut calls: Vec<PastCall> = records.iter().filter_map(CallRecord::past).collect();
    if numbers.is_empty() && calls.len() > last {
        calls.drain(..calls.len() - last);
    }
    Ok(calls)
}

/// A test file and the name of its workflow.
struct TestSource {
    source: Source,
    /// Returns the path or name for the workflow of this name.
    workflow: Box<dyn Fn(&str) -> String + Send>,
}

/// Returns the test files of the user and of the project, or those that the command names.
fn test_sources(setup: &Setup, library: &WorkflowLibrary, files: &[PathBuf], loaded: &Loaded) -> Result<Vec<TestSource>, Failure> {
    let plain = |source| TestSource { source, workflow: Box::new(str::to_owned) };
    // The workflow of a test file is in the same folder, or in the library.
    let near = |source: Source| {
        let folder = PathBuf::from(&source.file).parent().map(Path::to_owned).unwrap_or_default();
        let workflow = move |name: &str| {
            let path = folder.join(format!("{name}.toml"));
            if path.is_file() { path.display().to_string() } else { name.to_owned() }
        };
        TestSource { source, workflow: Box::new(workflow) }
    };
    if setup.demo && files.is_empty() {
        let source = |(name, text): &(&str, &str)| Source { file: format!("{name}.test.toml"), text: (*text).into() };
        return Ok(DEMO_TESTS.iter().map(|test| plain(source(test))).collect());
    }
    if !files.is_empty() {
        let read = |path: &PathBuf| Ok(near(Source { file: path.display().to_string(), text: workflow_lookup::read(library, path)? }));
        return files.iter().map(read).collect();
    }
    let mut folders: Vec<PathBuf> = library.files.iter().filter_map(|file| Some(PathBuf::from(&file.file).parent()?.to_owned())).collect();
    folders.extend(config::workflow_files(&setup.load, loaded).folders);
    folders.sort();
    folders.dedup();
    let (own, problems) = config::tests_in(&folders);
    if let Some(problem) = problems.first() {
        return Err(invalid(problem.to_string()));
    }
    let source = |file: WorkflowFile| Source { file: file.path.display().to_string(), text: file.text };
    let mut found: Vec<TestSource> = own.into_iter().map(|file| near(source(file))).collect();
    let tests = loaded.project.as_ref().map(|project| project.tests.clone()).unwrap_or_default();
    found.extend(tests.into_iter().map(|file| TestSource { source: source(file), workflow: Box::new(|name| format!("{PROJECT}{name}")) }));
    Ok(found)
}

/// Runs the cases of test files.
async fn test(setup: &Setup, library: &WorkflowLibrary, files: &[PathBuf], loaded: &Loaded) -> Result<Vec<CaseEnd>, Failure> {
    let sources = test_sources(setup, library, files, loaded)?;
    if sources.is_empty() {
        let place = library.folder.as_ref().map_or_else(String::new, |folder| format!(" in {}", folder.display()));
        return Err(invalid(format!("there are no test files (NAME.test.toml){place}")));
    }
    let mut ends = vec![];
    for TestSource { source, workflow } in sources {
        match case::parse(&source) {
            Ok(parsed) => {
                let wanted = workflow(&parsed.workflow);
                try_cases(library, &wanted, (&source, &parsed), || setup::engine_options(loaded, setup.demo), &mut ends).await?;
            }
            Err(problems) => {
                let failures = problems.iter().map(|problem| problem.render()).collect();
                let (file, workflow) = (source.file.clone(), source.file);
                ends.push(CaseEnd { file, workflow, name: "the test file".into(), failures, duration_ms: 0.0 });
            }
        }
    }
    Ok(ends)
}

async fn try_cases(
    library: &WorkflowLibrary,
    wanted: &str,
    (source, file): (&Source, &TestFile),
    engine: impl Fn() -> EngineOptions,
    ends: &mut Vec<CaseEnd>,
) -> Result<(), Failure> {
    let end = |name: &str, failures: Vec<String>, duration_ms: f64| CaseEnd {
        file: source.file.clone(),
        workflow: file.workflow.clone(),
        name: name.to_owned(),
        failures,
        duration_ms,
    };
    let plan = match workflow_lookup::plan(library, wanted)? {
        Ok(plan) => plan,
        Err(problems) => {
            ends.push(end("the workflow", problems.iter().map(|problem| problem.render()).collect(), 0.0));
            return Ok(());
        }
    };
    let problems = case::check(file, source, &plan);
    if !problems.is_empty() {
        ends.push(end("the test file", problems.iter().map(|problem| problem.render()).collect(), 0.0));
        return Ok(());
    }
    let texts = plan.texts();
    for case in &file.cases {
        let began = Instant::now();
        let failures = rehearse(&plan, &texts, case, engine()).await.into_iter().map(|mismatch| mismatch.words).collect();
        ends.push(end(&case.name, failures, began.elapsed().as_secs_f64() * 1000.0));
    }
    Ok(())
}

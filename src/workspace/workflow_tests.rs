//! Tests of workflows: runs the cases of test files without servers, and creates cases from recorded runs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{home::Home, library::renew, selection::engine_options};
use crate::{
    config::{self, Loaded, WorkflowFile},
    domain::{
        call::{Failure, FailureKind},
        recorded::recorded,
        secret::{Secret, rule},
        time::short,
        workflow::{
            DEMO_TESTS,
            case::{self, TestFile},
            library::{PROJECT, WorkflowLibrary},
            parse::Source,
            plan::Plan,
            problem::Problem,
        },
        workspace::{CaseEnd, TestMade, WorkspaceError},
    },
    engine::EngineOptions,
    rehearsal::rehearse,
    workflow_lookup::{self, plan_of},
};

fn invalid(text: String) -> Failure {
    Failure::new(FailureKind::InvalidArguments, text)
}

/// Creates a test case from a run, runs it, and adds it to the test file if `write`.
pub async fn test_from_run(home: &Home, part: &str, name: Option<&str>, write: bool) -> Result<TestMade, WorkspaceError> {
    let record = home.run(part).await?;
    let (loaded, library) = (home.loaded(), home.library());
    let demo = home.selection.demo;
    let spec = record.spec().cloned().ok_or_else(|| invalid(format!("the journal of the run {} has no beginning", record.run)))?;
    let plan = plan_of(&spec)?;
    let mut made =
        recorded(&plan, &record, name).map_err(|why| invalid(format!("no test can be created from the run {}: {why}", record.run)))?;
    home.secrets.learn(secrets_of(&plan));
    made.mask(&home.secrets.redactor());
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
        let failed = rehearse(&plan, &spec.sources, case, engine_options(&loaded, demo)).await;
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
        let beside = current.filter(|_| !demo).and_then(|file| Some(PathBuf::from(&file.file).parent()?.to_owned()));
        let folder = beside.or_else(|| library.folder.clone());
        let folder = folder.ok_or_else(|| invalid("the folder for the test file is unknown; omit --write to print it".into()))?;
        let unwritten = |error: std::io::Error| invalid(format!("nothing was written to {}: {error}", folder.display()));
        let project = loaded.project.as_ref().filter(|project| folder.starts_with(&project.root));
        project.map_or(Ok(()), |project| config::stays_inside(&project.root, &folder)).map_err(unwritten)?;
        let path = config::add_case(&folder, made.workflow(), &made.head(), &made.case()).map_err(unwritten)?;
        if project.is_some()
            && let Ok(file) = config::workflow_at(&path)
        {
            renew(&home.selection.load, &loaded, &path, &file.text);
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

/// A test file and the name of its workflow.
struct TestSource {
    source: Source,
    /// Returns the path or name for the workflow of this name.
    workflow: Box<dyn Fn(&str) -> String + Send>,
}

/// Returns the test files of the user and of the project, or those that the command names.
fn test_sources(home: &Home, library: &WorkflowLibrary, files: &[PathBuf], loaded: &Loaded) -> Result<Vec<TestSource>, Failure> {
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
    if home.selection.demo && files.is_empty() {
        let source = |(name, text): &(&str, &str)| Source { file: format!("{name}.test.toml"), text: (*text).into() };
        return Ok(DEMO_TESTS.iter().map(|test| plain(source(test))).collect());
    }
    if !files.is_empty() {
        let read = |path: &PathBuf| Ok(near(Source { file: path.display().to_string(), text: workflow_lookup::read(library, path)? }));
        return files.iter().map(read).collect();
    }
    let mut folders: Vec<PathBuf> = library.files.iter().filter_map(|file| Some(PathBuf::from(&file.file).parent()?.to_owned())).collect();
    folders.extend(config::workflow_files(&home.selection.load, loaded).folders);
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
pub async fn test(home: &Home, files: &[PathBuf]) -> Result<Vec<CaseEnd>, WorkspaceError> {
    let (loaded, library) = (home.loaded(), home.library());
    let demo = home.selection.demo;
    let sources = test_sources(home, &library, files, &loaded)?;
    if sources.is_empty() {
        let place = library.folder.as_ref().map_or_else(String::new, |folder| format!(" in {}", folder.display()));
        return Err(invalid(format!("found no test files (NAME.test.toml){place}")).into());
    }
    let mut ends = vec![];
    for TestSource { source, workflow } in sources {
        match case::parse(&source) {
            Ok(parsed) => {
                let wanted = workflow(&parsed.workflow);
                try_cases(&library, &wanted, (&source, &parsed), || engine_options(&loaded, demo), &mut ends).await?;
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

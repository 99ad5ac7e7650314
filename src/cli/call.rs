//! `call`, `read` and `prompt`: one request, its result, its exit code.

use std::{sync::Arc, time::Duration};

use super::{
    args::{CallArgs, PromptArgs, ReadArgs},
    arguments,
    content::{self, Block},
    document::{Document, notable_trace},
    exit,
    input::{ask_yes, read_json, read_meta},
    lookup::{Subject, choose_settled, definition, find, own_name, unlisted},
    names::similar,
    print::Format,
    readiness::Needs,
    session::{Problem, Session, Stop},
};
use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome},
        catalog::{Tool, template_fits},
        directory::Directory,
        event::Settled,
        id::{CallId, ToolId},
        json::indent,
        policy::call_event::CallEvent,
        schema::{
            Checker, TooDear,
            output::{self, NotChecked},
        },
        time,
        workflow::catalog_lookup::may_offer,
    },
    state::ServerView,
};

/// Longest wait for lists that are only needed to name the candidates for a tool.
const CANDIDATES: Duration = Duration::from_secs(10);
/// Longest validation of arguments; after it they are sent unvalidated.
const CHECK: Duration = Duration::from_secs(2);

/// Calls a tool.
pub async fn call(session: &mut Session<'_>, args: &CallArgs) -> Result<u8, Stop> {
    // Errors that need no schema are reported before waiting for a server.
    let base = match args.args.as_deref() {
        Some(text) => Some(read_json(session, "--args", text).await?),
        None => None,
    };
    read_meta(session, args.meta.as_deref()).await?;
    let name = args.tool.as_str();
    session.settle_needs(&Needs::tool(name)).await?;
    if !session.read_model.servers.iter().any(|server| may_offer(&session.read_model, &server.spec, name)) {
        // A tool's own name, or a mistyped one: only the lists of all servers have the candidates.
        session.settle_within(CANDIDATES, |_, _| true).await?;
    }
    let tool = find(session, name)?;
    let listed = match definition(&session.read_model, &tool) {
        Some(listed) => listed,
        // A server whose lists could not be read may still have the tool.
        None => {
            session.printer.note(&format!("warning: the tools of {} could not be listed, so {name} is unknown", tool.server));
            Arc::new(unlisted(&tool))
        }
    };
    if session.read_model.is_filtered(&tool) {
        // The engine refuses it with the place of the filter; arguments and consent do not matter.
        return run(session, Operation::Tool { tool, arguments: Body::from("{}") }, name, Checks::default()).await;
    }
    let wrong = |causes| Problem::new(Failure { causes, ..invalid(name) }).about(Some(&tool.server), name);
    let check = session.options.check;
    let arguments = arguments::build(base.as_deref(), &args.assignments, &listed.input_schema, check).map_err(wrong)?;
    let (mut violations, mut unchecked) = checked(session, &listed.input_schema, &arguments).await?;
    if session.read_model.entry(&tool.server).is_some_and(|server| server.catalog.stored_ms.is_some()) {
        // The last known definition may be out of date.
        unchecked.extend(std::mem::take(&mut violations).into_iter().map(|violation| format!("by its last known definition: {violation}")));
    }
    if !violations.is_empty() && check.is_enforced() {
        return Err(wrong(violations).into());
    }
    warn_of(session, name, &violations);
    if session.options.strict && check.is_enforced() && !unchecked.is_empty() {
        let message = format!("the arguments of {name} cannot be fully validated; nothing was sent");
        let failure = Failure::new(FailureKind::InvalidArguments, message).hint("send them without --strict");
        return Err(Problem::new(Failure { causes: unchecked, ..failure }).about(Some(&tool.server), name).into());
    }
    for problem in &unchecked {
        session.printer.note(&format!("warning: the arguments of {name} are not fully validated: {problem}"));
    }
    confirm(session, name, &tool, &listed, &arguments).await?;
    let checks = Checks { violations, unchecked, output: listed.output_schema.clone() };
    run(session, Operation::Tool { tool, arguments }, name, checks).await
}

/// Prints the violations of arguments that are sent anyway.
fn warn_of(session: &mut Session<'_>, name: &str, violations: &[String]) {
    if !violations.is_empty() {
        session.printer.note(&format!("warning: the arguments of {name} are invalid and are sent anyway (--no-check):"));
        violations.iter().for_each(|violation| session.printer.note(&format!("  {violation}")));
    }
}

/// What is known about the validity of a call.
#[derive(Default)]
pub(super) struct Checks {
    /// Violations of arguments that are sent anyway.
    violations: Vec<String>,
    /// What of the arguments could not be validated.
    unchecked: Vec<String>,
    /// The output schema of the tool.
    output: Option<Body>,
}

/// Validates the arguments on a thread that signals and `--timeout` do not wait for. Returns the violations, and what could
/// not be validated.
async fn checked(session: &mut Session<'_>, schema: &Body, arguments: &Body) -> Result<(Vec<String>, Vec<String>), Stop> {
    let (schema, arguments) = (schema.clone(), arguments.clone());
    let work = tokio::task::spawn_blocking(move || arguments::check(&schema, &arguments));
    let late = || (vec![], vec![TooDear.to_string()]);
    let found = session.or_signal(tokio::time::timeout(CHECK, work)).await?;
    Ok(found.ok().and_then(Result::ok).unwrap_or_else(late))
}

/// Validates the structured content of a result against the output schema of its tool. Returns the violations.
async fn check_output(session: &mut Session<'_>, subject: &str, schema: Option<Body>, settled: &Settled) -> Result<Vec<String>, Stop> {
    // A response of another tool has another schema.
    let (Some(schema), Outcome::Ok { result }, None) = (schema, &settled.outcome, &settled.by) else { return Ok(vec![]) };
    let result = result.clone();
    let work = tokio::task::spawn_blocking(move || {
        let checker = Checker::new(&schema);
        (output::violations(&result, &checker, Checker::judge), checker.warnings())
    });
    let late = || (Err(NotChecked::TooDear(TooDear)), vec![]);
    let found = session.or_signal(tokio::time::timeout(CHECK, work)).await?;
    let (found, warnings) = found.ok().and_then(Result::ok).unwrap_or_else(late);
    match found {
        Ok(violations) => {
            if !violations.is_empty() {
                session.printer.note(&format!("warning: the result of {subject} violates the tool's output schema:"));
                violations.iter().for_each(|violation| session.printer.note(&format!("  {violation}")));
            }
            let unchecked = warnings.iter().map(|warning| format!("warning: the output schema of {subject}: {warning}"));
            unchecked.for_each(|warning| session.printer.note(&warning));
            Ok(violations)
        }
        Err(why) => {
            session.printer.note(&format!("warning: the result of {subject} against its output schema: {why}"));
            Ok(vec![])
        }
    }
}

/// Reads a resource.
pub async fn read(session: &mut Session<'_>, args: &ReadArgs) -> Result<u8, Stop> {
    let uri = args.uri.as_str();
    read_meta(session, args.meta.as_deref()).await?;
    let lists = |server: &ServerView| server.catalog.resources.iter().any(|r| r.uri == uri);
    let may = |server: &ServerView| server.catalog.templates.iter().any(|t| template_fits(&t.uri, uri));
    let server = choose_settled(session, uri, Subject::Resource, &[&lists, &may]).await?;
    run(session, Operation::Resource { server, uri: uri.to_owned() }, uri, Checks::default()).await
}

/// Gets a prompt.
pub async fn prompt(session: &mut Session<'_>, args: &PromptArgs) -> Result<u8, Stop> {
    let name = args.name.as_str();
    let given = arguments::strings(&args.assignments).map_err(|causes| Problem::new(Failure { causes, ..invalid(name) }))?;
    read_meta(session, args.meta.as_deref()).await?;
    let qualified =
        |server: &ServerView| server.catalog.prompts.iter().any(|p| name.strip_prefix(&format!("{}/", server.id())) == Some(&*p.name));
    let bare = |server: &ServerView| server.catalog.prompts.iter().any(|p| &*p.name == name);
    let server = choose_settled(session, name, Subject::Prompt, &[&qualified, &bare]).await?;
    let own = own_name(&server, name);
    let prompts = session.read_model.server(&server).map(|s| s.catalog.prompts.clone()).unwrap_or_default();
    let Some(listed) = prompts.iter().find(|p| &*p.name == name || *p.name == *own) else {
        let close = similar(name, prompts.iter().map(|p| &*p.name), 3).join(", ");
        let failure = Failure::new(FailureKind::InvalidArguments, format!("{server} has no prompt {name:?}"));
        let failure = if close.is_empty() { failure } else { failure.hint(format!("did you mean {close}?")) };
        return Err(Problem::new(failure).about(Some(&server), name).into());
    };
    let missing = listed.arguments.iter().filter(|a| a.required && !given.iter().any(|(k, _)| *k == a.name));
    let mut causes: Vec<String> = missing.map(|a| format!("{}: is required", a.name)).collect();
    let unknown = given.iter().filter(|(key, _)| !listed.arguments.iter().any(|a| a.name == *key));
    causes.extend(unknown.map(|(key, _)| format!("{key}: unknown argument")));
    if !causes.is_empty() && session.options.check.is_enforced() {
        return Err(Problem::new(Failure { causes, ..invalid(name) }).about(Some(&server), name).into());
    }
    warn_of(session, name, &causes);
    let arguments: serde_json::Map<String, serde_json::Value> = given.into_iter().map(|(k, v)| (k, v.into())).collect();
    let operation = Operation::Prompt { server, name: listed.name.to_string(), arguments: Body::json(&arguments) };
    run(session, operation, name, Checks { violations: causes, ..Checks::default() }).await
}

fn invalid(name: &str) -> Failure {
    Failure::new(FailureKind::InvalidArguments, format!("the arguments of {name} are invalid; nothing was sent"))
        .hint("correct them, or send them as they are with --no-check")
}

/// Asks for a confirmation of a destructive call.
///
/// Annotations are used here even if the server is not trusted: without them every tool of most servers would need --yes.
/// Missing annotations have the defaults of the specification.
pub(super) async fn confirm(session: &mut Session<'_>, name: &str, tool: &ToolId, listed: &Tool, arguments: &Body) -> Result<(), Stop> {
    if session.options.yes || !listed.hints.may_destroy(true) {
        return Ok(());
    }
    let refused = |how: &str| {
        let failure = Failure::new(FailureKind::Refused, format!("{name} {how} ({})", listed.hints.words())).hint("confirm with --yes");
        Stop::from(Problem::new(failure).about(Some(&tool.server), name))
    };
    let notes = |session: &mut Session<'_>| {
        session.printer.note(&format!("{name} of {} ({}) would be called with", tool.server, listed.hints.words()));
        session.printer.note_text(&super::json::escape_hidden(&indent(&arguments.text())));
    };
    match ask_yes(session, "Call it? [y/N]", notes).await? {
        Some(true) => Ok(()),
        Some(false) => Err(refused("was not confirmed")),
        None => Err(refused("may be destructive, and no terminal is attached to confirm it")),
    }
}

/// Sends a request and prints its result.
pub(super) async fn run(session: &mut Session<'_>, operation: Operation, subject: &str, checks: Checks) -> Result<u8, Stop> {
    let timeout = session.left()?;
    let (check, meta) = (session.options.check, session.meta.clone());
    let spec = CallSpec { timeout, check, meta, ..CallSpec::new(operation.clone(), Origin::Cli) };
    let (id, settled) = match session.follow(spec).await {
        Err(Stop::Problem(problem)) => {
            let problem = problem.about(Some(operation.server()), subject);
            return Err(Problem { owner: session.owner(operation.server()), ..problem }.into());
        }
        followed => followed?,
    };
    let failed_at = settled.by.as_ref().unwrap_or(operation.server());
    let owner = matches!(settled.outcome, Outcome::Failed { .. }).then(|| session.owner(failed_at)).flatten();
    let settled = explain_timeout(settled, session.options.timeout);
    session.printer.end_progress();
    let schema_errors = check_output(session, subject, checks.output, &settled).await?;
    let failed = session.options.strict && !schema_errors.is_empty();
    let code = if failed { exit::FAILED } else { exit::of_outcome(&settled.outcome) };
    if session.printer.format() == Format::Human {
        print_trace(session, id, &settled);
        print_human(session, &operation, subject, &settled)?;
        if let Some(owner) = owner {
            session.printer.report("", &[("owner", format!("{owner} (of {})", operation.server()))]);
        }
    } else {
        let mut document = Document::new(Some(operation.server()), Some(subject));
        if let Operation::Tool { tool, .. } = &operation {
            document.tool = Some(&tool.name);
        }
        (document.argument_errors, document.unchecked) = (&checks.violations, &checks.unchecked);
        document.schema_errors = &schema_errors;
        document.fill(id, &settled, session.track(id).as_ref());
        document.exit_code = code;
        document.owner = owner;
        session.printer.document(&document)?;
    }
    Ok(code)
}

/// Replaces the hint of a timeout if `--timeout` caused it.
fn explain_timeout(mut settled: Arc<Settled>, timeout: Option<Duration>) -> Arc<Settled> {
    if let (Outcome::Failed { failure }, Some(limit)) = (&mut Arc::make_mut(&mut settled).outcome, timeout)
        && failure.kind == FailureKind::Timeout
    {
        Arc::make_mut(failure).hint =
            Some(format!("--timeout {} limits the whole command, including the start of the server", time::short(limit)));
    }
    settled
}

/// Prints the trace of a call on stderr if it is notable.
fn print_trace(session: &mut Session<'_>, id: CallId, settled: &Settled) {
    let track = session.track(id);
    let Some(track) = notable_trace(settled, track.as_ref()) else { return };
    for (at, stage) in &track.stages {
        // Waits and misses only with --verbose.
        if session.options.verbose || !matches!(**stage, CallEvent::Waiting { .. } | CallEvent::CacheMiss { .. }) {
            session.printer.note(&format!("+{} {}", time::short(at.since(settled.timings.queued)), stage.words()));
        }
    }
}

fn print_human(session: &mut Session<'_>, operation: &Operation, subject: &str, settled: &Settled) -> Result<(), Stop> {
    let printer = &mut session.printer;
    match (&settled.outcome, operation) {
        (Outcome::Ok { result } | Outcome::ToolError { result }, Operation::Raw { .. }) | (Outcome::Interim { result, .. }, _) => {
            printer.result(&result.text())?;
        }
        (Outcome::Ok { result }, Operation::Complete { .. }) if !printer.raw() => print_completion(session, result)?,
        (outcome, _) => print_outcome(session, operation, subject, outcome)?,
    }
    if session.options.verbose || session.printer.stderr_is_terminal() {
        let wire = settled.timings.wire().map(|wire| format!(", {} on the wire", time::short(wire))).unwrap_or_default();
        let total = time::short(settled.timings.total());
        session.printer.note(&format!("{subject}: {} in {total}{wire}", settled.outcome.words()));
    }
    Ok(())
}

/// Prints the values of a completion, one on each line.
fn print_completion(session: &mut Session<'_>, result: &Body) -> Result<(), Stop> {
    let Some(completion) = content::completion(result) else { return Ok(session.printer.json_text(&result.text())?) };
    for value in &completion.values {
        session.printer.line(value)?;
    }
    let shown = completion.values.len();
    match completion.total {
        Some(total) if total > shown as u64 => session.printer.note(&format!("{shown} of {total} values")),
        _ if completion.has_more => session.printer.note("the server has more values: type more of the value"),
        _ => {}
    }
    Ok(())
}

fn print_outcome(session: &mut Session<'_>, operation: &Operation, subject: &str, outcome: &Outcome) -> Result<(), Stop> {
    let printer = &mut session.printer;
    match outcome {
        Outcome::Ok { result } => {
            if printer.raw() && printer.format() == Format::Human {
                return print_raw(session, operation, result);
            }
            for block in blocks(operation, result) {
                match block {
                    Block::Text(text) => printer.text(&text)?,
                    Block::Json(text) => printer.json_text(&text)?,
                    Block::Binary { label, .. } => printer.line(&label)?,
                }
            }
        }
        Outcome::ToolError { result } => {
            printer.note(&format!("{subject} returned an error:"));
            for block in blocks(operation, result) {
                match block {
                    Block::Text(text) => printer.note_text(&text),
                    Block::Json(text) => printer.note_text(&super::json::escape_hidden(&indent(&text))),
                    Block::Binary { label, .. } => printer.note(&label),
                }
            }
        }
        Outcome::Interim { result, .. } => printer.result(&result.text())?,
        Outcome::Failed { failure } => printer.failure_report(&failure.report()),
        Outcome::Cancelled { reason } => printer.note(&format!("cancelled: {reason}")),
    }
    Ok(())
}

/// Prints the content only, byte for byte, with a line break between two blocks.
fn print_raw(session: &mut Session<'_>, operation: &Operation, result: &Body) -> Result<(), Stop> {
    for (index, block) in blocks(operation, result).into_iter().enumerate() {
        if index > 0 {
            session.printer.exact(b"\n")?;
        }
        match block {
            Block::Text(text) | Block::Json(text) => session.printer.exact(text.as_bytes())?,
            Block::Binary { bytes: Some(bytes), .. } => session.printer.exact(&bytes)?,
            Block::Binary { label, bytes: None } => session.printer.note(&label),
        }
    }
    Ok(())
}

fn blocks(operation: &Operation, result: &Body) -> Vec<Block> {
    match operation {
        Operation::Resource { .. } => content::of_resource(result),
        Operation::Prompt { .. } => content::of_prompt(result),
        Operation::Complete { .. } => vec![Block::Json(result.text().into_owned())],
        _ => content::of_tool(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_by_their_literal_parts() {
        for (template, uri, expected) in [
            ("file:///{path}", "file:///a/b", true),
            ("notes://{id}/body", "notes://7/body", true),
            ("notes://{id}/body", "notes://7/head", false),
            ("notes://{id}/body", "notes://7/body/x", false),
            ("plain", "plain", true),
            ("x{", "xy", true),
        ] {
            assert_eq!(template_fits(template, uri), expected, "{template} {uri}");
        }
    }
}

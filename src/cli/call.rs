//! `call`, `read` and `prompt`: one request, its result, its exit code.

use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::{CallArgs, PromptArgs, ReadArgs},
    arguments,
    content::{self, Block},
    exit,
    names::similar,
    print::{Format, ms},
    servers,
    session::{Problem, Session, Stop, raw, unknown_server},
};
use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome},
        catalog::{Change, Hints, Tool, template_fits},
        directory::Directory,
        event::Settled,
        id::{CallId, ServerId, ToolId},
        json::indent,
        policy::call_event::{CallEvent, CallTrace},
        request_meta,
        schema::{
            Checker, TooDear,
            output::{self, NotChecked},
        },
        server::ConnectFailure,
        time,
        tls::TlsProblem,
        workflow::catalog_lookup::may_offer,
    },
    state::{ConsoleState, ServerView},
};

/// Longest JSON object read from a file or stdin, in bytes.
const LONGEST_ARGUMENTS: u64 = 64 << 20;
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
    session.settle(|read_model, server| may_offer(read_model, &server.spec, name)).await?;
    if !session.read_model.servers.iter().any(|server| may_offer(&session.read_model, &server.spec, name)) {
        // A tool's own name, or a mistyped one: only the lists of all servers have the candidates.
        session.settle_within(CANDIDATES, |_, _| true).await?;
    }
    let tool = find(session, name)?;
    let listed = match session.read_model.tool(&tool).cloned() {
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
    let (violations, unchecked) = checked(session, &listed.input_schema, &arguments).await?;
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
    session.settle_selected().await?;
    let lists = |server: &ServerView| server.catalog.resources.iter().any(|r| r.uri == uri);
    let may = |server: &ServerView| server.catalog.templates.iter().any(|t| template_fits(&t.uri, uri));
    let server = choose(session, uri, Subject::Resource, &[&lists, &may])?;
    run(session, Operation::Resource { server, uri: uri.to_owned() }, uri, Checks::default()).await
}

/// Gets a prompt.
pub async fn prompt(session: &mut Session<'_>, args: &PromptArgs) -> Result<u8, Stop> {
    let name = args.name.as_str();
    let given = arguments::strings(&args.assignments).map_err(|causes| Problem::new(Failure { causes, ..invalid(name) }))?;
    read_meta(session, args.meta.as_deref()).await?;
    session.settle_selected().await?;
    let qualified =
        |server: &ServerView| server.catalog.prompts.iter().any(|p| name.strip_prefix(&format!("{}/", server.id())) == Some(&*p.name));
    let bare = |server: &ServerView| server.catalog.prompts.iter().any(|p| &*p.name == name);
    let server = choose(session, name, Subject::Prompt, &[&qualified, &bare])?;
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

pub(super) fn own_name(server: &ServerId, name: &str) -> String {
    name.strip_prefix(&format!("{server}/")).unwrap_or(name).to_owned()
}

/// Finds the tool `name`: an exposed name, `server/tool`, or the tool's own name if there is only one server. Fails if its
/// server is unavailable.
fn find(session: &Session<'_>, name: &str) -> Result<ToolId, Stop> {
    let read_model = &session.read_model;
    let qualified = || {
        read_model.servers.iter().find_map(|server| {
            let own = name.strip_prefix(server.id().as_str())?.strip_prefix('/')?;
            offered(server, own)
        })
    };
    let lone = || match read_model.servers.as_slice() {
        [server] => offered(server, name),
        _ => None,
    };
    if let Some(tool) = named(read_model, name).or_else(qualified).or_else(lone) {
        return match session.unusable(&tool.server) {
            Some(problem) => Err(problem.into()),
            None => Ok(tool),
        };
    }
    // It may be a tool of an unavailable server; then report the server.
    let unavailable = read_model
        .servers
        .iter()
        .filter(|server| may_offer(read_model, &server.spec, name))
        .find_map(|server| session.unusable(server.id()));
    match unavailable {
        Some(problem) => Err(problem.into()),
        None => Err(unknown_tool(read_model, name).into()),
    }
}

/// Finds a tool by its exposed name, by `group/tool`, or by `server/tool` in the lists.
pub(super) fn named(read_model: &ConsoleState, name: &str) -> Option<ToolId> {
    let groups = read_model.rules.routing.groups.iter().map(|group| &group.id);
    let places = read_model.servers.iter().map(ServerView::id).chain(groups);
    let qualified = || {
        places
            .filter_map(|id| Some(ToolId::new(id.clone(), name.strip_prefix(id.as_str())?.strip_prefix('/')?)))
            .find(|id| read_model.tool(id).is_some())
    };
    read_model.names.tool(name).cloned().or_else(qualified)
}

/// Returns the server's tool of this name; any name if its lists could not be read.
fn offered(server: &ServerView, own: &str) -> Option<ToolId> {
    let unread = server.phase.usable() && server.catalog.revision == 0;
    (unread || server.catalog.tool(own).is_some()).then(|| ToolId::new(server.id().clone(), own))
}

/// Returns a tool without schema and annotations, for one that is in no list.
fn unlisted(tool: &ToolId) -> Tool {
    Tool {
        name: tool.name.clone(),
        title: None,
        description: None,
        input_schema: Body::from("{}"),
        output_schema: None,
        hints: Hints::default(),
        task_only: false,
        raw: Body::from("{}"),
        change: Change::Same,
    }
}

/// Returns the problem for an unknown tool, or for the own name of several tools.
pub(super) fn unknown_tool(read_model: &ConsoleState, name: &str) -> Problem {
    let tools = || read_model.names.iter();
    let candidates: Vec<String> = tools().filter(|(_, id)| *id.name == *name).map(|(_, id)| format!("{}/{}", id.server, id.name)).collect();
    if candidates.len() > 1 {
        let failure = Failure::new(FailureKind::UnknownTool, format!("several servers offer {name}: {}", candidates.join(", ")));
        return Problem::new(failure.hint(format!("choose one, as in {}", candidates[0]))).about(None, name);
    }
    let groups = read_model.rules.routing.groups.iter().map(|group| &group.id);
    let owned = read_model.servers.iter().map(ServerView::id).chain(groups);
    let owner = owned.filter_map(|id| Some((id, name.strip_prefix(id.as_str())?.strip_prefix('/')?))).next();
    let (message, word) = match owner {
        Some((server, own)) => (format!("{server} has no tool {own:?}"), own),
        None => (format!("there is no tool {name:?}"), name),
    };
    // A tool of another server cannot replace one of the named server.
    let may = |id: &ToolId| owner.is_none_or(|(server, _)| id.server == *server);
    // Users often omit the server's name: compare both names, and suggest the exposed one.
    let mut close: Vec<&str> = Vec::new();
    for found in similar(word, tools().filter(|(_, id)| may(id)).flat_map(|(exposed, id)| [&**exposed, &*id.name]), 6) {
        let named = tools().find(|(exposed, id)| may(id) && (&***exposed == found || *id.name == *found));
        close.extend(named.map(|(exposed, _)| &**exposed).filter(|exposed| !close.contains(exposed)));
    }
    close.truncate(3);
    let failure = Failure::new(FailureKind::UnknownTool, message);
    let failure = match (close.as_slice(), owner) {
        ([], Some((server, _))) => failure.hint(format!("list its tools with `switchboard tools '{server}/*'`")),
        ([], None) => failure.hint("list all tools with `switchboard tools`"),
        (close, _) => failure.hint(format!("did you mean {}?", close.join(", "))),
    };
    Problem::new(failure).about(owner.map(|(server, _)| server), name)
}

/// The kind of operation that a server is chosen for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Resource,
    Prompt,
    /// A prompt or a resource template.
    Completion,
}

impl Subject {
    fn word(self) -> &'static str {
        match self {
            Subject::Resource => "resource",
            Subject::Prompt => "prompt",
            Subject::Completion => "prompt or template",
        }
    }
}

/// Returns the server that offers `subject`: the first rule that matches a single server decides.
pub(super) fn choose(
    session: &Session<'_>,
    subject: &str,
    what: Subject,
    rules: &[&dyn Fn(&ServerView) -> bool],
) -> Result<ServerId, Stop> {
    let read_model = &session.read_model;
    let wanted = &session.options.servers;
    if let [name] = wanted.as_slice() {
        let id = ServerId::from(name.as_str());
        return match session.unusable(&id) {
            Some(problem) => Err(problem.into()),
            None => Ok(id),
        };
    }
    let asked = |server: &&ServerView| wanted.is_empty() || wanted.iter().any(|w| w == server.id().as_str());
    let servers: Vec<&ServerView> = read_model.servers.iter().filter(asked).collect();
    if let ([server], true) = (servers.as_slice(), what == Subject::Resource) {
        // A server may have more resources than it lists.
        return session.unusable(server.id()).map_or_else(|| Ok(server.id().clone()), |problem| Err(problem.into()));
    }
    for rule in rules {
        let fitting: Vec<&ServerId> = servers.iter().filter(|s| rule(s)).map(|s| s.id()).collect();
        match fitting.as_slice() {
            [] => {}
            [one] => return session.unusable(one).map_or_else(|| Ok((*one).clone()), |problem| Err(problem.into())),
            several => {
                let names: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
                let failure = Failure::new(FailureKind::InvalidArguments, format!("several servers offer {subject}: {}", names.join(", ")))
                    .hint(format!("choose one with --server {}", several[0]));
                return Err(Problem::new(failure).about(None, subject).into());
            }
        }
    }
    if servers.is_empty() {
        return Err(unknown_server(read_model, wanted.first().map_or("", String::as_str)).into());
    }
    let unavailable: Vec<String> =
        servers.iter().filter(|s| !s.phase.usable()).map(|s| format!("{} is {}", s.id(), s.phase.word())).collect();
    let kind = if unavailable.is_empty() { FailureKind::InvalidArguments } else { FailureKind::NotReady };
    let mut failure =
        Failure::new(kind, format!("no server offers the {} {subject:?}", what.word())).hint("use --server NAME to ask a server anyway");
    failure.causes = unavailable;
    Err(Problem::new(failure).about(None, subject).into())
}

/// Asks for a confirmation of a destructive call.
///
/// Annotations are used here even if the server is not trusted: without them every tool of most servers would need --yes.
/// Missing annotations have the defaults of the specification.
async fn confirm(session: &mut Session<'_>, name: &str, tool: &ToolId, listed: &Tool, arguments: &Body) -> Result<(), Stop> {
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
        None => Err(refused("may be destructive, and there is no terminal for a confirmation")),
    }
}

/// Asks the user at the terminal after printing `notes`. `None` without a terminal.
pub(super) async fn ask_yes(session: &mut Session<'_>, question: &str, notes: impl FnOnce(&mut Session<'_>)) -> Result<Option<bool>, Stop> {
    let stdin = if session.printer.can_ask() { session.printer.take_stdin() } else { None };
    let Some(stdin) = stdin else { return Ok(None) };
    notes(session);
    session.printer.question(question);
    let answer = read_in_thread(stdin, |stdin| {
        let mut line = String::new();
        BufReader::new(stdin.take(1000)).read_line(&mut line).map(|_| line)
    });
    let answer = session.or_signal(answer).await?.unwrap_or_default();
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// Reads on a separate thread, which is abandoned when a signal arrives first: a read from a terminal cannot be cancelled,
/// and the runtime would wait for its own threads.
async fn read_in_thread<T: Send + 'static>(
    stdin: Box<dyn Read + Send>,
    read: impl FnOnce(Box<dyn Read + Send>) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = send.send(read(stdin));
    })?;
    receive.await.unwrap_or_else(|_| Err(std::io::Error::other("the reading thread ended")))
}

/// Returns the JSON of `flag`: itself, the text of the file that `@FILE` names, or that of stdin for `-`.
pub(super) async fn read_json(session: &mut Session<'_>, flag: &str, text: &str) -> Result<String, Stop> {
    if text != "-" {
        return read_argument(flag, text);
    }
    let unreadable = |why: String| Stop::from(Failure::new(FailureKind::InvalidArguments, format!("{flag} -: {why}")));
    let Some(stdin) = session.printer.take_stdin() else { return Err(unreadable("stdin is not available".into())) };
    let text = read_in_thread(stdin, read_limited);
    session.or_signal(text).await?.map_err(|error| unreadable(format!("stdin cannot be read: {error}")))
}

/// Returns the text of `flag`, or of the file that `@FILE` names.
pub(super) fn read_argument(flag: &str, text: &str) -> Result<String, Stop> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let read = std::fs::File::open(path).and_then(|file| read_limited(Box::new(file)));
    read.map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("{flag}: {path} cannot be read: {error}")).into())
}

/// Reads the members of `--meta` for the requests of the session.
pub(super) async fn read_meta(session: &mut Session<'_>, text: Option<&str>) -> Result<(), Stop> {
    let Some(text) = text else { return Ok(()) };
    let text = read_json(session, "--meta", text).await?;
    session.meta = request_meta::parse(&text).map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("--meta {error}")))?;
    Ok(())
}

fn read_limited(source: Box<dyn Read + Send>) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LONGEST_ARGUMENTS + 1).read_to_string(&mut text)?;
    // Editors on Windows write a byte order mark (RFC 8259, section 8.1: a parser may ignore it).
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.len() as u64 > LONGEST_ARGUMENTS {
        return Err(std::io::Error::other(format!("the text is longer than {}", time::size(LONGEST_ARGUMENTS))));
    }
    Ok(text)
}

/// Sends a request and prints its result.
pub(super) async fn run(session: &mut Session<'_>, operation: Operation, subject: &str, checks: Checks) -> Result<u8, Stop> {
    let timeout = session.left()?;
    let (check, meta) = (session.options.check, session.meta.clone());
    let spec = CallSpec { timeout, check, meta, ..CallSpec::new(operation.clone(), Origin::Cli) };
    let (id, settled) = session.follow(spec).await.map_err(|stop| match stop {
        Stop::Problem(problem) => Stop::from(problem.about(Some(operation.server()), subject)),
        other => other,
    })?;
    let settled = explain_timeout(settled, session.options.timeout);
    session.printer.clear_status();
    let schema_errors = check_output(session, subject, checks.output, &settled).await?;
    let failed = session.options.strict && !schema_errors.is_empty();
    let code = if failed { exit::FAILED } else { exit::of_outcome(&settled.outcome) };
    if session.printer.format() == Format::Human {
        print_trace(session, id, &settled);
        print_human(session, &operation, subject, &settled)?;
    } else {
        let mut document = Document::new(Some(operation.server()), Some(subject));
        if let Operation::Tool { tool, .. } = &operation {
            document.tool = Some(&tool.name);
        }
        (document.argument_errors, document.unchecked) = (&checks.violations, &checks.unchecked);
        document.schema_errors = &schema_errors;
        let failed = !matches!(settled.outcome, Outcome::Ok { .. });
        document.owner = servers::owner(&session.read_model, operation.server()).filter(|_| failed);
        document.fill(id, &settled, session.track(id).as_ref());
        document.exit_code = code;
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

/// Returns the trace of a call that was not settled by a single attempt of its own server.
fn notable_trace<'t>(settled: &Settled, track: Option<&'t CallTrace>) -> Option<&'t CallTrace> {
    track.filter(|track| !track.plain() || settled.by.is_some() || settled.cached.is_some())
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
        (Outcome::Ok { result } | Outcome::ToolError { result }, Operation::Raw { .. }) => printer.result(&result.text())?,
        (Outcome::Ok { result }, Operation::Complete { .. }) if !printer.raw() => print_completion(session, result)?,
        (outcome, _) => print_outcome(session, operation, subject, outcome)?,
    }
    if matches!(settled.outcome, Outcome::Failed { .. } | Outcome::ToolError { .. })
        && let Some(owner) = servers::owner(&session.read_model, operation.server())
    {
        session.printer.report("", &[("owner", format!("{owner} (of {})", operation.server()))]);
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

/// JSON document of a call: the output of `--json`, the last line of `--jsonl`. `subject` is the requested name, `tool` the
/// tool's own name.
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    outcome: &'static str,
    server: Option<&'a ServerId>,
    /// The owner of the server of a call that did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    call: Option<String>,
    /// Violations of the arguments, which were sent because of `--no-check`.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    argument_errors: &'a [String],
    /// What of the arguments was not validated.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unchecked: &'a [String],
    /// Violations of the result against the output schema.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    schema_errors: &'a [String],
    result: Option<Box<RawValue>>,
    failure: Option<FailureJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<&'a ConnectFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    timings: Option<TimingsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceJson<'a>>,
    exit_code: u8,
}

/// Trace of a call, if it is notable.
#[derive(Serialize)]
struct TraceJson<'a> {
    attempts: u32,
    /// The server that responded, if it is another one.
    answered_by: Option<&'a ServerId>,
    /// Age of a cached response.
    cache_age_ms: Option<f64>,
    events: Vec<EventJson>,
}

#[derive(Serialize)]
struct EventJson {
    after_ms: f64,
    event: &'static str,
    text: String,
}

#[derive(Serialize)]
struct TimingsJson {
    total_ms: f64,
    wait_ms: f64,
    wire_ms: Option<f64>,
    rounds: u32,
    sent_bytes: u64,
    received_bytes: u64,
}

/// A failure, with the data of its RPC error as JSON.
#[derive(Serialize)]
struct FailureJson<'a> {
    kind: FailureKind,
    message: &'a str,
    rpc: Option<RpcJson<'a>>,
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsProblem>,
    headers: &'a [(String, String)],
    exit: Option<String>,
    stderr: &'a [String],
    causes: &'a [String],
    may_have_run: bool,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct RpcJson<'a> {
    code: i64,
    message: &'a str,
    data: Option<Box<RawValue>>,
}

impl<'a> Document<'a> {
    fn new(server: Option<&'a ServerId>, subject: Option<&'a str>) -> Document<'a> {
        Document {
            kind: "outcome",
            outcome: "failed",
            server,
            owner: None,
            subject,
            tool: None,
            call: None,
            argument_errors: &[],
            unchecked: &[],
            schema_errors: &[],
            result: None,
            failure: None,
            connect: None,
            reason: None,
            timings: None,
            trace: None,
            exit_code: exit::FAILED,
        }
    }

    /// Returns the document of a call that was never sent.
    pub fn of_problem(problem: &'a Problem) -> Document<'a> {
        let mut document = Document::new(problem.server.as_ref(), problem.subject.as_deref());
        document.failure = Some(failure_json(&problem.failure));
        document.connect = problem.connect.as_deref();
        document.exit_code = exit::of_failure(problem.failure.kind);
        document
    }

    fn fill(&mut self, id: CallId, settled: &'a Settled, track: Option<&CallTrace>) {
        let timings = &settled.timings;
        self.trace = notable_trace(settled, track).map(|track| TraceJson {
            attempts: settled.attempts,
            answered_by: settled.by.as_ref(),
            cache_age_ms: settled.cached.map(ms),
            events: track
                .stages
                .iter()
                .map(|(at, stage)| EventJson { after_ms: ms(at.since(timings.queued)), event: stage.tag(), text: stage.words() })
                .collect(),
        });
        self.call = Some(id.to_string());
        self.exit_code = exit::of_outcome(&settled.outcome);
        self.timings = Some(TimingsJson {
            total_ms: ms(timings.total()),
            wait_ms: ms(timings.wait()),
            wire_ms: timings.wire().map(ms),
            rounds: settled.rounds,
            sent_bytes: settled.sent_bytes,
            received_bytes: settled.received_bytes,
        });
        self.result = settled.outcome.result().and_then(raw);
        (self.outcome, self.reason) = match &settled.outcome {
            Outcome::Ok { .. } => ("ok", None),
            Outcome::ToolError { .. } => ("tool_error", None),
            Outcome::Failed { failure } => {
                self.failure = Some(failure_json(failure));
                ("failed", None)
            }
            Outcome::Cancelled { reason } => ("cancelled", Some(reason.as_str())),
        };
    }
}

fn failure_json(failure: &Failure) -> FailureJson<'_> {
    FailureJson {
        kind: failure.kind,
        message: &failure.message,
        rpc: failure.rpc.as_ref().map(|rpc| RpcJson { code: rpc.code, message: &rpc.message, data: rpc.data.as_ref().and_then(raw) }),
        status: failure.status,
        tls: failure.tls,
        headers: &failure.headers,
        exit: failure.exit.map(|exit| exit.to_string()),
        stderr: &failure.stderr,
        causes: &failure.causes,
        may_have_run: failure.may_have_run,
        hint: failure.hint.as_deref(),
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

//! Lookup of what a command names: tools, and the servers that offer a resource or prompt.

use std::sync::Arc;

use super::{
    names::similar,
    readiness::{Targets, stand_ins},
    session::{Problem, Session, Stop, unknown_server},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        catalog::{Change, Hints, Tool},
        directory::Directory,
        id::{ServerId, ToolId},
        workflow::catalog_lookup::may_offer,
    },
    state::{ConsoleState, ServerView},
};

/// Returns a prompt's name without its server.
pub(super) fn own_name(server: &ServerId, name: &str) -> String {
    name.strip_prefix(&format!("{server}/")).unwrap_or(name).to_owned()
}

/// Finds the tool `name`: an exposed name, `server/tool`, or the tool's own name if there is only one server. Fails if its
/// server is unavailable and nothing else can answer the call.
pub(super) fn find(session: &Session<'_>, name: &str) -> Result<ToolId, Stop> {
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
    let assumed = || read_model.assumed_tool(name);
    if let Some(tool) = named(read_model, name).or_else(assumed).or_else(qualified).or_else(lone) {
        let unusable = session.unusable(&tool.server).filter(|_| !Targets::of_tool(read_model, &tool).answerable());
        return unusable.map_or(Ok(tool), |problem| Err(problem.into()));
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

/// Returns the definition of a tool: its server's, else that of a server that answers its calls as a fallback.
pub(super) fn definition(read_model: &ConsoleState, tool: &ToolId) -> Option<Arc<Tool>> {
    let listed = read_model.tool(tool).cloned();
    listed.or_else(|| stand_ins(read_model, tool).find_map(|server| server.catalog.tool(&tool.name).cloned()))
}

/// Returns a tool without schema and annotations, for one that is in no list.
pub(super) fn unlisted(tool: &ToolId) -> Tool {
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
    if let Some((_, tools)) = read_model.names.collisions.iter().find(|(exposed, _)| exposed == name) {
        let named: Vec<String> = tools.iter().map(|id| format!("{}/{}", id.server, id.name)).collect();
        let instead = |(id, own): (&ToolId, &String)| match read_model.names.exposed(id) {
            Some(exposed) => format!("{own} ({exposed})"),
            None => own.clone(),
        };
        let listed: Vec<String> = tools.iter().zip(&named).map(instead).collect();
        let message = format!("several tools claim the name {name}, and each has a suffix instead: {}", listed.join(", "));
        let failure = Failure::new(FailureKind::UnknownTool, message).hint(format!("choose one, as in {}", named[0]));
        return Problem::new(failure).about(None, name);
    }
    let groups = read_model.rules.routing.groups.iter().map(|group| &group.id);
    let owned = read_model.servers.iter().map(ServerView::id).chain(groups);
    let owner = owned.filter_map(|id| Some((id, name.strip_prefix(id.as_str())?.strip_prefix('/')?))).next();
    let (message, word) = match owner {
        Some((server, own)) => (format!("{server} has no tool {own:?}"), own),
        None => (format!("no server offers {name:?}"), name),
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

/// Returns whether a server offers a subject.
type Rule<'r> = dyn Fn(&ServerView) -> bool + Sync + 'r;

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

/// Waits for the servers that may offer `subject`, and returns the one that does. Only one is waited for if the last known lists
/// of all say that it is the one.
pub(super) async fn choose_settled(session: &mut Session<'_>, subject: &str, what: Subject, rules: &[&Rule<'_>]) -> Result<ServerId, Stop> {
    if let Some(server) = only_one(session, rules) {
        session.settle(|_, view| *view.id() == server).await?;
        if let Ok(server) = choose(session, subject, what, rules) {
            return Ok(server);
        }
    }
    session.settle_selected().await?;
    choose(session, subject, what, rules)
}

/// Returns the server that offers a subject by the last known lists, if all lists are known and exactly one does.
fn only_one(session: &Session<'_>, rules: &[&Rule<'_>]) -> Option<ServerId> {
    let servers = &session.read_model.servers;
    if !session.options.servers.is_empty() || servers.iter().any(|server| server.catalog.is_unknown()) {
        return None;
    }
    let fitting = |rule: &&Rule<'_>| servers.iter().filter(|server| rule(server)).map(ServerView::id).collect::<Vec<_>>();
    match rules.iter().map(fitting).find(|fitting| !fitting.is_empty())?.as_slice() {
        [one] => Some((*one).clone()),
        _ => None,
    }
}

/// Returns the server that offers `subject`: the first rule that matches a single server decides.
pub(super) fn choose(session: &Session<'_>, subject: &str, what: Subject, rules: &[&Rule<'_>]) -> Result<ServerId, Stop> {
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

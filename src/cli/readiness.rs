//! Readiness: which servers a command needs, and when it can go on without the others.

use super::{lookup, servers::last_failure};
use crate::{
    domain::{
        body::Body,
        call::Operation,
        directory::Directory,
        id::{ServerId, ToolId},
        policy::{EffectivePolicy, Fallback, route},
        server::Phase,
        workflow::catalog_lookup::may_offer,
    },
    state::{ConsoleState, ServerView},
};

/// The servers that a command waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The command cannot go on without these.
    pub required: Vec<ServerId>,
    /// Further members of a group, one of which is usable: they get a moment to connect.
    pub optional: Vec<ServerId>,
}

impl Waits {
    /// Adds the waits of another need.
    pub fn merge(mut self, other: Waits) -> Waits {
        self.required.extend(other.required);
        self.optional.extend(other.optional);
        self
    }
}

/// What a command needs before it continues.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The tools that it calls, by the names that users write.
    pub tools: Vec<String>,
    /// The tools that it may call later. It does not wait for a server that fails to connect.
    pub later: Vec<String>,
    /// The servers whose prompts and resources it reads.
    pub servers: Vec<String>,
}

impl Needs {
    /// Returns the needs of a call of one tool.
    pub fn tool(name: &str) -> Needs {
        Needs { tools: vec![name.to_owned()], ..Needs::default() }
    }

    /// Returns the servers that are still waited for.
    pub fn waits(&self, read_model: &ConsoleState) -> Waits {
        let first = self.tools.iter().map(|name| Targets::of(read_model, name).waits());
        let later = self.later.iter().map(|name| Targets { alternative: true, ..Targets::of(read_model, name) }.waits());
        let named = |server: &&ServerView| self.servers.iter().any(|name| name == server.id().as_str());
        let read = read_model.servers.iter().filter(named).filter(|server| waiting(server));
        let read = Waits { required: read.map(|server| server.id().clone()).collect(), optional: vec![] };
        first.chain(later).fold(read, Waits::merge)
    }
}

/// Returns whether waiting for the server may help: it is connecting, or not started.
pub fn waiting(server: &ServerView) -> bool {
    server.phase.pending() || *server.phase == Phase::Idle
}

/// The servers that a call of a tool may go to.
pub struct Targets<'m> {
    /// The server of the tool, the members of its group, or all servers that may offer it.
    pub servers: Vec<&'m ServerView>,
    /// Servers whose definition of the tool is used while its own is unknown.
    stand_ins: Vec<&'m ServerView>,
    /// Whether the tool is known.
    known: bool,
    /// Whether something else than these servers may answer the call.
    pub alternative: bool,
}

impl<'m> Targets<'m> {
    /// Returns the targets of a call of a tool, by the name that users write.
    pub fn of(read_model: &'m ConsoleState, name: &str) -> Targets<'m> {
        match lookup::named(read_model, name).or_else(|| read_model.assumed_tool(name)) {
            Some(tool) => Targets::of_tool(read_model, &tool),
            None => {
                let servers = read_model.servers.iter().filter(|server| may_offer(read_model, &server.spec, name)).collect();
                Targets { servers, stand_ins: vec![], known: false, alternative: false }
            }
        }
    }

    /// Returns the targets of a call of a known tool.
    pub fn of_tool(read_model: &'m ConsoleState, tool: &ToolId) -> Targets<'m> {
        let exposed = exposed(read_model, tool);
        let (target, _) = route::decide(&read_model.rules.routing, &exposed, tool);
        let servers: Vec<&ServerView> = match read_model.server(&target) {
            Some(server) => vec![server],
            None => read_model.members(&target).collect(),
        };
        let alternative = treatment(read_model, tool).has_alternative();
        let stand_ins = if read_model.tool(tool).is_some() { vec![] } else { stand_ins(read_model, tool).collect() };
        Targets { servers, stand_ins, known: true, alternative }
    }

    /// Returns whether a call can be made now: a server is usable, or something else may answer.
    pub fn answerable(&self) -> bool {
        self.alternative || self.servers.iter().any(|server| server.phase.usable())
    }

    /// Returns the servers that are still waited for.
    fn waits(&self) -> Waits {
        let ids = |servers: &mut dyn Iterator<Item = &&'m ServerView>| servers.map(|server| server.id().clone()).collect();
        let unfailed = |server: &&&ServerView| waiting(server) && last_failure(server).is_none();
        let usable = self.servers.iter().any(|server| server.phase.usable());
        match (self.known && usable, self.alternative) {
            (true, _) => Waits { required: vec![], optional: ids(&mut self.servers.iter().filter(unfailed)) },
            (false, true) => Waits { required: ids(&mut self.servers.iter().chain(&self.stand_ins).filter(unfailed)), optional: vec![] },
            (false, false) => Waits { required: ids(&mut self.servers.iter().filter(|server| waiting(server))), optional: vec![] },
        }
    }
}

/// Returns the exposed name of a tool.
fn exposed(read_model: &ConsoleState, tool: &ToolId) -> String {
    read_model.call_name(&Operation::Tool { tool: tool.clone(), arguments: Body::default() })
}

/// Returns the effective policy of a tool, over that of its server.
fn treatment(read_model: &ConsoleState, tool: &ToolId) -> EffectivePolicy {
    let policy = read_model.server(&tool.server).map(|server| server.spec.policy.clone()).unwrap_or_default();
    read_model.rules.treatment(&exposed(read_model, tool), &tool.server, &policy)
}

/// Returns the servers that answer calls of a tool as its fallback.
pub fn stand_ins<'m>(read_model: &'m ConsoleState, tool: &ToolId) -> impl Iterator<Item = &'m ServerView> {
    let fallbacks = treatment(read_model, tool).fallback.into_iter();
    fallbacks.filter_map(|fallback| match fallback {
        Fallback::Server { server } => read_model.server(&server),
        _ => None,
    })
}

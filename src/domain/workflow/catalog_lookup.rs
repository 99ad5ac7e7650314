//! Catalog lookup: finds the tools, prompts and resources that steps use in the servers' current catalogs.

use super::{
    check::{Listed, Lookup, Offered, ToolFacts},
    plan::{Action, Fallback, Plan},
};
use crate::domain::{
    catalog::Prompt,
    directory::{Directory, ServerEntry},
    id::{ServerId, ToolId},
    name_table::may_name,
    policy::route::Group,
    server::ServerSpec,
};

/// A tool that was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// The tool.
    pub tool: ToolId,
    /// Whether a trusted server declares the tool safe to call again.
    pub repeatable: bool,
    /// Whether a trusted server declares that the tool changes nothing.
    pub reads_only: bool,
}

/// Finds a tool by its exposed name or as `server/tool`: a listed one, else one that a rule with a fallback names.
pub fn find_tool(directory: &impl Directory, name: &str) -> Option<Target> {
    let assumed = || Some(Target { tool: directory.assumed_tool(name)?, repeatable: false, reads_only: false });
    find_listed(directory, name).or_else(assumed)
}

/// Finds a tool in the lists by its exposed name or as `server/tool`.
fn find_listed(directory: &impl Directory, name: &str) -> Option<Target> {
    let qualified = || {
        directory.entries().find_map(|server| {
            let tool_name = name.strip_prefix(server.id().as_str())?.strip_prefix('/')?;
            server.catalog.tool(tool_name).map(|tool| ToolId::new(server.id().clone(), tool.name.clone()))
        })
    };
    let tool = directory.names().tool(name).cloned().or_else(qualified)?;
    let hints = directory.tool(&tool).map(|tool| tool.hints).unwrap_or_default();
    let trusted = directory.entry(&tool.server).is_some_and(|server| server.spec.trusted);
    let reads_only = trusted && hints.read_only == Some(true);
    Some(Target { tool, repeatable: reads_only || (trusted && hints.idempotent == Some(true)), reads_only })
}

/// Returns the server that a tool would be called on, by the name that [`find_tool`] takes.
pub fn server_of(directory: &impl Directory, name: &str) -> Option<String> {
    find_tool(directory, name).map(|target| target.tool.server.to_string())
}

/// Returns whether `server` could offer the tool `name`, as far as known before it is connected. Names are never
/// split: each server's own prefix is compared.
pub fn may_offer(directory: &impl Directory, server: &ServerSpec, name: &str) -> bool {
    let matches_prefix = |id: &ServerId, namespace: &str| {
        may_name(namespace, name) || name.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let in_matching_group =
        |group: &Group| group.members.iter().any(|m| m.server == server.id) && matches_prefix(&group.id, group.namespace());
    let routing = &directory.rules().routing;
    directory.entries().count() == 1
        || matches_prefix(&server.id, server.namespace())
        || routing.groups.iter().any(in_matching_group)
        // A route may lead the call to the server.
        || routing.routes.iter().any(|route| {
            route.matches.matches(name) && (route.to == server.id || directory.member_entries(&route.to).any(|member| *member.id() == server.id))
        })
}

/// The catalogs in a directory, for the checks of a plan.
pub struct CatalogView<'d, D>(pub &'d D);

impl<D: Directory> Offered for CatalogView<'_, D> {
    fn tool(&self, name: &str) -> Lookup {
        lookup(self.0, name)
    }

    fn lists(&self, name: &str) -> Listed {
        let Some(server) = self.0.entry(&name.into()) else {
            return Listed::NoServer { names: self.0.entries().map(|server| server.id().to_string()).collect() };
        };
        // Whatever an incomplete list lacks may still exist.
        if server.phase.pending() || server.catalog.revision == 0 || !server.catalog.warnings.is_empty() {
            return Listed::Unread;
        }
        let catalog = server.catalog;
        let arguments = |prompt: &Prompt| prompt.arguments.iter().map(|argument| (argument.name.clone(), argument.required)).collect();
        Listed::Lists {
            prompts: catalog.prompts.iter().map(|prompt| (prompt.name.to_string(), arguments(prompt))).collect(),
            resources: catalog.resources.iter().map(|resource| resource.uri.clone()).collect(),
            templates: catalog.templates.iter().map(|template| template.uri.clone()).collect(),
        }
    }
}

/// Looks up a tool for the checks of a plan. The result is [`Lookup::Unread`] while a server that may offer it has
/// not listed its tools.
fn lookup(directory: &impl Directory, name: &str) -> Lookup {
    let unread = || {
        let open = |server: &ServerEntry<'_>| server.phase.pending() || server.catalog.revision == 0;
        directory.entries().filter(open).any(|server| may_offer(directory, server.spec, name))
    };
    match find_listed(directory, name) {
        Some(found) if directory.is_filtered(&found.tool) => Lookup::Filtered { server: found.tool.server.to_string() },
        Some(found) => {
            let tool = directory.tool(&found.tool);
            let schema = tool.map(|tool| tool.input_schema.clone()).unwrap_or_default();
            Lookup::Found(ToolFacts {
                schema,
                output: tool.and_then(|tool| tool.output_schema.clone()),
                repeatable: found.repeatable,
                reads_only: found.reads_only,
            })
        }
        None if unread() => Lookup::Unread,
        None => Lookup::Unknown { names: directory.names().iter().map(|(exposed, _)| exposed.to_string()).collect() },
    }
}

/// Returns the tools that a plan may call, including those of nested workflows.
pub fn tools_of(plan: &Plan) -> Vec<String> {
    let mut tools = vec![];
    let children = plan.children();
    for plan in std::iter::once(plan).chain(children.iter().map(|child| &**child)) {
        for step in &plan.steps {
            if let Action::Tool(call) = &step.action {
                tools.push(call.tool.to_string());
            }
            tools.extend(step.compensate.iter().map(|call| call.tool.to_string()));
            tools.extend(step.fallback.iter().flat_map(Fallback::calls).map(|call| call.tool.to_string()));
        }
    }
    tools
}

/// Returns the servers whose prompts and resources a plan reads, including those of nested workflows.
pub fn servers_of(plan: &Plan) -> Vec<String> {
    let children = plan.children();
    let plans = std::iter::once(plan).chain(children.iter().map(|child| &**child));
    let read = plans.flat_map(|plan| &plan.steps).filter_map(|step| match &step.action {
        Action::Prompt { server, .. } | Action::Resource { server, .. } => Some(server.clone()),
        _ => None,
    });
    read.collect()
}

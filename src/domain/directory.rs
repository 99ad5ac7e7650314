//! The directory: lookups of servers, groups and tools by name, over whatever knows the servers' catalogs. The engine's
//! registry and the read model both are one.

use std::sync::Arc;

use super::{
    call::Operation,
    catalog::{ServerCatalog, Tool},
    id::{ServerId, ToolId},
    name_table::NameTable,
    pins::PinMode,
    policy::{Policy, Rules, route::Group},
    server::{Phase, ServerSpec, SessionInfo},
};

/// A server at one time.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// The state of its connection.
    pub phase: Arc<Phase>,
    /// Its self-description from the last handshake.
    pub info: Option<Arc<SessionInfo>>,
    /// Its lists as last read.
    pub catalog: Arc<ServerCatalog>,
}

/// A directory at one time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DirectorySnapshot {
    /// The servers in configuration order.
    pub servers: Arc<[ServerSnapshot]>,
    /// The exposed names of all tools.
    pub names: Arc<NameTable>,
    /// The rules for tools, groups and routes.
    pub rules: Arc<Rules>,
}

impl DirectorySnapshot {
    /// Returns the server with this id.
    pub fn server(&self, id: &ServerId) -> Option<&ServerSnapshot> {
        self.servers.iter().find(|server| server.spec.id == *id)
    }
}

impl Directory for DirectorySnapshot {
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>> {
        self.servers.iter().map(|server| ServerEntry { spec: &server.spec, phase: &server.phase, catalog: &server.catalog })
    }

    fn names(&self) -> &NameTable {
        &self.names
    }

    fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// What lookups need to know of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerEntry<'a> {
    /// Its configuration.
    pub spec: &'a ServerSpec,
    /// The state of its connection.
    pub phase: &'a Phase,
    /// Its lists as last read.
    pub catalog: &'a ServerCatalog,
}

impl<'a> ServerEntry<'a> {
    /// Returns the server's id.
    pub fn id(&self) -> &'a ServerId {
        &self.spec.id
    }

    /// Returns whether a tool is held: its definition differs from the accepted one, and the configuration says that it cannot be called
    /// then.
    pub fn holds(&self, tool: &str) -> bool {
        self.spec.pins == PinMode::Hold && self.catalog.pin_changes.contains(tool)
    }

    /// Returns why the server cannot take a call of `tool` now, for users, judging by its connection and lists.
    pub fn unfit(&self, tool: Option<&str>) -> Option<String> {
        let lacks = |tool: &str| self.catalog.revision > 0 && self.catalog.tool(tool).is_none();
        match self.phase {
            Phase::Failed { why } => Some(format!("has failed: {}", why.summary)),
            Phase::NeedsLogin { .. } => Some("needs login".to_owned()),
            phase if !phase.usable() => Some(format!("is {}", phase.word())),
            _ if tool.is_some_and(lacks) => Some("does not list the tool".to_owned()),
            _ if tool.is_some_and(|tool| !self.spec.tools.allows(tool)) => Some("has the tool filtered by its configuration".to_owned()),
            _ if tool.is_some_and(|tool| self.holds(tool)) => Some("has the tool held: its definition changed".to_owned()),
            _ => None,
        }
    }
}

/// The tool of a group: with the members that list it, and whether their schemas differ.
pub type GroupTool = (Arc<Tool>, Vec<ServerId>, bool);

/// The servers with their catalogs, the exposed names and the rules.
pub trait Directory {
    /// Returns the servers in configuration order.
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>>;

    /// Returns the exposed names of all tools.
    fn names(&self) -> &NameTable;

    /// Returns the rules for tools, groups and routes.
    fn rules(&self) -> &Rules;

    /// Returns the server with this id.
    fn entry(&self, id: &ServerId) -> Option<ServerEntry<'_>> {
        self.entries().find(|server| server.id() == id)
    }

    /// Returns the group with this id.
    fn group(&self, id: &ServerId) -> Option<&Group> {
        self.rules().routing.groups.iter().find(|group| group.id == *id)
    }

    /// Returns the existing members of a group.
    fn member_entries(&self, group: &ServerId) -> impl Iterator<Item = ServerEntry<'_>> {
        self.group(group).into_iter().flat_map(|group| group.members.iter()).filter_map(|member| self.entry(&member.server))
    }

    /// Returns the tool with this id, as listed by its server.
    ///
    /// The server may be a group: then returns the tool of its first member that lists it.
    fn tool(&self, id: &ToolId) -> Option<&Arc<Tool>> {
        match self.entry(&id.server) {
            Some(server) => server.catalog.tool(&id.name),
            None => self.member_entries(&id.server).find_map(|member| member.catalog.tool(&id.name)),
        }
    }

    /// Returns whether the configuration filters the tool, so that it cannot be called. A tool of a group is filtered if every
    /// member that lists it filters it.
    fn is_filtered(&self, id: &ToolId) -> bool {
        match self.entry(&id.server) {
            Some(server) => !server.spec.tools.allows(&id.name),
            None => {
                let mut listing = self.member_entries(&id.server).filter(|member| member.catalog.tool(&id.name).is_some()).peekable();
                listing.peek().is_some() && listing.all(|member| !member.spec.tools.allows(&id.name))
            }
        }
    }

    /// Returns whether a tool is held ([`ServerEntry::holds`]). A tool of a group is held if every member that lists it holds it.
    fn is_held(&self, id: &ToolId) -> bool {
        match self.entry(&id.server) {
            Some(server) => server.holds(&id.name),
            None => {
                let mut listing = self.member_entries(&id.server).filter(|member| member.catalog.tool(&id.name).is_some()).peekable();
                listing.peek().is_some() && listing.all(|member| member.holds(&id.name))
            }
        }
    }

    /// Returns the tool behind an exposed name.
    fn find_tool(&self, exposed: &str) -> Option<(&ToolId, &Arc<Tool>)> {
        let id = self.names().tool(exposed)?;
        Some((id, self.tool(id)?))
    }

    /// Returns the tool that a name would have, if its server's lists are unknown and a rule has a fallback for it: the rule
    /// says that the tool exists. `None` if several servers could have the tool.
    fn assumed_tool(&self, name: &str) -> Option<ToolId> {
        let own = |id: &ServerId, namespace: &str| {
            let qualified = || name.strip_prefix(id.as_str())?.strip_prefix('/').filter(|tool| !tool.is_empty());
            let tool = ToolId::new(id.clone(), self.names().unclaimed_tool(namespace, name).or_else(qualified)?);
            self.assumed_name(&tool).is_some().then_some(tool)
        };
        let servers = self.entries().filter_map(|server| own(server.id(), server.spec.namespace()));
        let groups = self.rules().routing.groups.iter().filter_map(|group| own(&group.id, group.namespace()));
        let mut found = servers.chain(groups);
        found.next().filter(|_| found.next().is_none())
    }

    /// Returns the exposed name of a tool whose server's lists are unknown, if a rule has a fallback for it.
    fn assumed_name(&self, tool: &ToolId) -> Option<String> {
        let namespace = match (self.entry(&tool.server), self.group(&tool.server)) {
            (Some(server), _) if server.catalog.is_unknown() => server.spec.namespace(),
            (None, Some(group)) if self.member_entries(&group.id).all(|member| member.catalog.is_unknown()) => group.namespace(),
            _ => return None,
        };
        let name = self.names().unclaimed_name(namespace, &tool.name);
        let fallback = self.rules().treatment(&name, &tool.server, &Policy::default()).fallback;
        (!fallback.is_empty()).then_some(name)
    }

    /// Returns the tools of a group, in the order of its members' lists.
    fn group_tools(&self, group: &ServerId) -> Vec<GroupTool> {
        let mut tools: Vec<GroupTool> = vec![];
        for member in self.member_entries(group) {
            for tool in &member.catalog.tools {
                match tools.iter_mut().find(|(known, ..)| known.name == tool.name) {
                    Some((known, members, differ)) => {
                        *differ |= known.input_schema != tool.input_schema || known.output_schema != tool.output_schema;
                        members.push(member.id().clone());
                    }
                    None => tools.push((tool.clone(), vec![member.id().clone()], false)),
                }
            }
        }
        tools
    }

    /// Returns the display name of a call: the tool's exposed name, or what is read or requested.
    fn call_name(&self, operation: &Operation) -> String {
        match operation {
            Operation::Tool { tool, .. } => {
                let listed = self.names().exposed(tool).map(|name| name.to_string());
                listed.or_else(|| self.assumed_name(tool)).unwrap_or_else(|| format!("{}/{}", tool.server, tool.name))
            }
            other => other.subject().to_owned(),
        }
    }

    /// Builds the exposed names of all tools from the catalogs. `separator` joins namespace and tool.
    fn build_names(&self, separator: &str) -> NameTable {
        let groups = &self.rules().routing.groups;
        let united: Vec<Vec<Arc<Tool>>> =
            groups.iter().map(|group| self.group_tools(&group.id).into_iter().map(|(tool, ..)| tool).collect()).collect();
        let hidden = |id: &ServerId| groups.iter().any(|group| !group.members_listed && group.members.iter().any(|m| m.server == *id));
        let servers = self.entries().filter(|server| !hidden(server.id()));
        let servers = servers.map(|server| (server.id(), server.spec.namespace(), server.catalog.tools.as_slice()));
        let groups = groups.iter().zip(&united).map(|(group, tools)| (&group.id, group.namespace(), tools.as_slice()));
        NameTable::build(servers.chain(groups), separator)
    }
}

impl<D: Directory> Directory for Arc<D> {
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>> {
        D::entries(self)
    }

    fn names(&self) -> &NameTable {
        D::names(self)
    }

    fn rules(&self) -> &Rules {
        D::rules(self)
    }
}

//! The table of everything that the gateway offers: the lists of all servers merged under exposed names, with the owner of each
//! entry, the capabilities that follow from them, and the instructions. Pure; built again after every change.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    era::Kind,
    uris::Uris,
    workflows::{self, ExposedWorkflow},
};
use crate::{
    domain::{
        body::Body,
        bounds,
        capabilities::TASKS,
        catalog::{Hints, Tool},
        directory::{Directory, DirectorySnapshot, ServerSnapshot},
        id::{ServerId, ToolId},
        name_table::NameTable,
        profile::{Profile, ToolEdit},
        raw_object::RawObject,
        server::Phase,
        workflow::{library::WorkflowEntry, tool},
    },
    protocol::splice,
};

/// Maximum size of the merged instructions, in bytes.
const INSTRUCTIONS: usize = 8 << 10;
/// The capabilities that the gateway implements, in the order of declaration.
const CAPABILITIES: [(&str, &str); 5] = [
    ("completions", "{}"),
    ("logging", "{}"),
    ("prompts", r#"{"listChanged":true}"#),
    ("resources", r#"{"listChanged":true}"#),
    ("tools", r#"{"listChanged":true}"#),
];
/// The capability for resources if updates of one can be subscribed to.
const SUBSCRIBABLE: &str = r#"{"listChanged":true,"subscribe":true}"#;
/// Capabilities of a server that are not passed on: the engine runs tasks itself.
const NOT_PASSED: [&str; 1] = ["tasks"];

/// An entry of a merged list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The exposed name, URI or URI template.
    pub key: Arc<str>,
    /// The entry as listed by its server, with the exposed key.
    pub body: Body,
    /// The server, or the group, that it belongs to.
    pub server: ServerId,
    /// The key by which the server knows it.
    pub own: Arc<str>,
    /// What the profile changes of a tool.
    pub edit: Option<Arc<ToolEdit>>,
    /// The workflow that the tool runs.
    pub workflow: Option<Arc<ExposedWorkflow>>,
}

/// A merged list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The entries in the order of the configuration, then of the server.
    pub entries: Arc<[Entry]>,
    /// Digest of all keys and entries: equal lists have equal digests.
    pub digest: u64,
}

impl List {
    fn new(entries: Vec<Entry>) -> List {
        let mut hasher = DefaultHasher::new();
        for entry in &entries {
            (&entry.key, entry.body.bytes()).hash(&mut hasher);
        }
        List { digest: hasher.finish(), entries: entries.into() }
    }
}

/// How names are exposed.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The separator between namespace and name.
    pub separator: String,
    /// Whether a single server is offered under its own names and description.
    pub transparent: bool,
}

impl Naming {
    /// Returns whether entries have their own names, and the separator of exposed ones.
    fn own_names(&self, transparent: bool) -> (bool, &str) {
        (transparent, &self.separator)
    }
}

/// Everything that the gateway offers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The servers that it was built from.
    pub directory: DirectorySnapshot,
    /// The servers that are offered.
    offered: HashSet<ServerId>,
    lists: [List; 4],
    keys: [HashMap<Arc<str>, usize>; 4],
    /// The owners of resources.
    pub uris: Uris,
    /// The only server, if it is offered as it is.
    pub transparent: Option<ServerId>,
    /// The capabilities to declare.
    pub capabilities: Body,
    /// The instructions; empty for none.
    pub instructions: String,
}

impl Table {
    /// Builds the table of a profile. Servers in `hidden` were unreachable for so long that their entries are not listed.
    pub fn build(
        directory: DirectorySnapshot,
        naming: &Naming,
        hidden: &HashSet<ServerId>,
        profile: &Profile,
        workflows: &[WorkflowEntry],
    ) -> Table {
        let workflows: Vec<ExposedWorkflow> = match profile.servers.allows(workflows::SERVER) {
            true => workflows::exposed(workflows).collect(),
            false => vec![],
        };
        let offered: Vec<&ServerSnapshot> = directory.servers.iter().filter(|server| is_offered(server, profile)).collect();
        let transparent = match &offered[..] {
            [only]
                if naming.transparent
                    && workflows.is_empty()
                    && profile.offers_all_tools()
                    && directory.rules.routing.groups.is_empty() =>
            {
                Some(only.spec.id.clone())
            }
            _ => None,
        };
        let listed: Vec<&ServerSnapshot> = offered.iter().copied().filter(|server| !hidden.contains(&server.spec.id)).collect();
        let uris = Uris::build(&listed);
        let lists = [
            tools(&directory, &listed, profile, &uris, naming.own_names(transparent.is_some()), workflows),
            uris.entries(&listed, Kind::Resources),
            uris.entries(&listed, Kind::Templates),
            prompts(&listed, naming, transparent.is_some()),
        ]
        .map(List::new);
        let keys = [0, 1, 2, 3].map(|at| lists[at].entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect());
        let only = transparent.as_ref().and_then(|_| offered.first().copied());
        let capabilities = capabilities(&offered, &lists, only);
        let instructions = instructions(&offered, only);
        let offered = offered.iter().map(|server| server.spec.id.clone()).collect();
        Table { offered, lists, keys, uris, transparent, capabilities, instructions, directory }
    }

    /// Returns a list.
    pub fn list(&self, kind: Kind) -> &List {
        &self.lists[kind as usize]
    }

    /// Returns the entry with this key.
    pub fn entry(&self, kind: Kind, key: &str) -> Option<&Entry> {
        self.place(kind, key).map(|place| &self.lists[kind as usize].entries[place])
    }

    /// Returns the position of the entry with this key.
    pub fn place(&self, kind: Kind, key: &str) -> Option<usize> {
        self.keys[kind as usize].get(key).copied()
    }

    /// Returns whether a capability is declared.
    pub fn declares(&self, capability: &str) -> bool {
        matches!(self.capabilities.fields([capability]), Some([Some(_)]))
    }

    /// Returns the servers that are offered.
    pub fn offered(&self) -> impl Iterator<Item = &ServerSnapshot> {
        self.directory.servers.iter().filter(|server| self.offered.contains(&server.spec.id))
    }
}

/// Returns whether a server is offered: it is neither disabled nor broken in its configuration, and the profile has it.
fn is_offered(server: &ServerSnapshot, profile: &Profile) -> bool {
    let usable = !matches!(*server.phase, Phase::Disabled) && server.spec.config_faults.is_empty();
    usable && profile.servers.allows(server.spec.id.as_str())
}

/// Returns whether nothing is known of a server yet.
fn is_unknown(server: &ServerSnapshot) -> bool {
    server.info.is_none() && server.phase.pending()
}

/// Returns the tools of all servers that are not hidden behind a group, then those of groups.
fn tools(
    directory: &DirectorySnapshot,
    listed: &[&ServerSnapshot],
    profile: &Profile,
    uris: &Uris,
    (own_names, separator): (bool, &str),
    workflows: Vec<ExposedWorkflow>,
) -> Vec<Entry> {
    let mut entries = vec![];
    let mut offer = |id: ToolId, exposed: Option<Arc<str>>, raw: &Body, hints: &Hints, workflow: Option<ExposedWorkflow>| {
        if let Some(key) = exposed.filter(|exposed| profile.offers(exposed, hints)) {
            let edit = profile.edit(&key).cloned();
            // A name that another tool has is not taken from it.
            let free = |name: &&Arc<str>| directory.names.tool(name).is_none() && !entries.iter().any(|entry: &Entry| entry.key == **name);
            let key = edit.as_ref().and_then(|edit| edit.rename.as_ref()).filter(free).cloned().unwrap_or(key);
            let body = match &edit {
                Some(edit) => edit.tool(raw, &key),
                None => Some(renamed(raw, Kind::Tools, &key, &id.name)),
            };
            let Some(body) = body else {
                tracing::warn!(target: "switchboard::gateway", tool = &*key, "the profile conceals arguments that the schema does not list: not offered");
                return;
            };
            let body = uris.exposed_ui(&id.server, &body);
            entries.push(Entry { body, key, server: id.server, own: id.name, edit, workflow: workflow.map(Arc::new) });
        }
    };
    let mut push = |id: ToolId, tool: &Tool| {
        if directory.is_filtered(&id) || directory.is_held(&id) {
            return;
        }
        let exposed = match own_names {
            true => Some(id.name.clone()),
            // Members that are hidden behind their group have no exposed names.
            false => directory.names.exposed(&id).cloned(),
        };
        offer(id, exposed, &tool.raw, &tool.hints, None);
    };
    for server in listed {
        for tool in &server.catalog.tools {
            push(ToolId::new(server.spec.id.clone(), tool.name.clone()), tool);
        }
    }
    for group in directory.rules.routing.groups.iter().filter(|group| profile.servers.allows(group.id.as_str())) {
        for (tool, ..) in directory.group_tools(&group.id) {
            push(ToolId::new(group.id.clone(), tool.name.clone()), &tool);
        }
    }
    let server = ServerId::from(workflows::SERVER);
    let own_name = |workflow: &ExposedWorkflow| Arc::from(workflow.name.replace('/', separator));
    let names = NameTable::of_names([(&server, workflows::NAMESPACE, workflows.iter().map(own_name).collect())], separator);
    for workflow in workflows {
        let id = ToolId::new(server.clone(), own_name(&workflow));
        let (raw, hints) = tool::definition(&workflow.plan, &id.name, directory);
        // A tool of a server has the name first.
        let exposed = names.exposed(&id).cloned().map(|name| match directory.names.tool(&name) {
            Some(_) => Arc::from(format!("{name}{separator}{}", workflows::NAMESPACE)),
            None => name,
        });
        offer(id, exposed, &raw, &hints, Some(workflow));
    }
    entries
}

fn prompts(listed: &[&ServerSnapshot], naming: &Naming, own_names: bool) -> Vec<Entry> {
    let names = |server: &&ServerSnapshot| server.catalog.prompts.iter().map(|prompt| prompt.name.clone()).collect();
    let table =
        NameTable::of_names(listed.iter().map(|server| (&server.spec.id, server.spec.namespace(), names(server))), &naming.separator);
    let mut entries = vec![];
    for server in listed {
        for prompt in &server.catalog.prompts {
            let id = ToolId::new(server.spec.id.clone(), prompt.name.clone());
            let exposed = if own_names { Some(id.name.clone()) } else { table.exposed(&id).cloned() };
            if let Some(key) = exposed {
                let body = renamed(&prompt.raw, Kind::Prompts, &key, &id.name);
                entries.push(Entry { key, body, server: id.server, own: id.name, edit: None, workflow: None });
            }
        }
    }
    entries
}

/// Returns an entry with its exposed key.
pub(super) fn renamed(raw: &Body, kind: Kind, key: &str, own: &str) -> Body {
    if key == own { raw.clone() } else { splice::set(raw, kind.key(), Body::json(key).bytes()) }
}

/// Returns the capabilities: those of a transparent server as it declares them, else those that the gateway implements and at
/// least one server has. A server that is still starting may have any list.
fn capabilities(offered: &[&ServerSnapshot], lists: &[List; 4], transparent: Option<&ServerSnapshot>) -> Body {
    if let Some(info) = transparent.and_then(|server| server.info.as_ref()) {
        return splice::remove(&info.capabilities, &NOT_PASSED);
    }
    let listed =
        |capability: &str| Kind::ALL.iter().any(|kind| kind.capability() == capability && !lists[*kind as usize].entries.is_empty());
    let declared = |capability: &str| offered.iter().any(|server| server.info.as_ref().is_some_and(|info| info.declares(&[capability])));
    let unknown = offered.iter().any(|server| is_unknown(server));
    let starting = |capability: &str| unknown && ["tools", "resources", "prompts"].contains(&capability);
    let subscribes = |server: &&ServerSnapshot| server.info.as_ref().is_some_and(|info| info.declares(&["resources", "subscribe"]));
    let mut all = RawObject::default();
    for (capability, value) in CAPABILITIES {
        if listed(capability) || declared(capability) || starting(capability) {
            let subscribable = capability == "resources" && (unknown || offered.iter().any(subscribes));
            all.set(capability, Body::from(if subscribable { SUBSCRIBABLE } else { value }));
        }
    }
    if lists[Kind::Tools as usize].entries.iter().any(|entry| entry.workflow.is_some()) {
        // Runs that last become tasks.
        all.set("extensions", Body::from(format!("{{\"{TASKS}\":{{}}}}")));
    }
    all.to_body()
}

/// Returns the instructions of all servers under a heading for each, in the order of the configuration; those of a transparent
/// server as they are.
fn instructions(offered: &[&ServerSnapshot], transparent: Option<&ServerSnapshot>) -> String {
    let of =
        |server: &ServerSnapshot| server.info.as_ref().and_then(|info| info.instructions.clone()).filter(|text| !text.trim().is_empty());
    if let Some(only) = transparent {
        return of(only).unwrap_or_default();
    }
    let parts = offered.iter().filter_map(|server| Some(format!("# {}\n\n{}", server.spec.id, of(server)?.trim())));
    let mut text = parts.collect::<Vec<_>>().join("\n\n");
    bounds::shorten(&mut text, INSTRUCTIONS);
    text
}

//! The rows of the server tree: groups, servers, their tools, resources and prompts, folded and filtered. Pure.
//!
//! Rows are rebuilt only when lists, folds or the filter change; drawing looks up the figures of
//! visible rows. The cursor stays on its node when that moves. Used by the model and the pane.

mod saved;
mod search;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    domain::{
        directory::Directory,
        id::{ServerId, ToolId},
        policy::route::Group,
        workflow::saved_call::SavedCall,
    },
    state::{ConsoleState, ServerView},
};

use super::widget::window::{Move, Window};

pub use self::search::Preferred;
use self::{saved::Saved, search::filtered};

/// A server with more tools than this starts folded.
const OPEN_LIMIT: usize = 12;

/// The server index of a row that belongs to a group of replicas.
const NO_SERVER: usize = usize::MAX;

/// The node of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A folder of servers.
    Group(Arc<str>),
    /// A group of replicas, whose tools represent those of its members.
    Replicas(ServerId),
    /// A member of such a group: the group, the server.
    Member(ServerId, ServerId),
    /// A server.
    Server(ServerId),
    /// A tool.
    Tool(ToolId),
    /// A saved call of a tool, by the name of its workflow.
    Saved(ToolId, Arc<str>),
    /// A folder of a server.
    Section(ServerId, Section),
    /// A resource, by its URI.
    Resource(ServerId, Arc<str>),
    /// A resource template, by its template.
    Template(ServerId, Arc<str>),
    /// A prompt, by its name.
    Prompt(ServerId, Arc<str>),
}

/// How the editing of the filter ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterEnd {
    /// The cursor stays on the node that was found.
    Accept,
    /// The cursor goes back to where it was before.
    Cancel,
}

/// An operation on the fold of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// Fold.
    Fold,
    /// Unfold.
    Unfold,
    /// Fold if unfolded, otherwise unfold.
    Toggle,
}

/// Folders of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Resources.
    Resources,
    /// Resource templates.
    Templates,
    /// Prompts.
    Prompts,
}

impl Section {
    /// Returns its display name.
    pub fn word(self) -> &'static str {
        match self {
            Section::Resources => "resources",
            Section::Templates => "templates",
            Section::Prompts => "prompts",
        }
    }
}

impl Node {
    /// Returns the server that it belongs to; folders have none. For a group of replicas, returns the group's id.
    pub fn server(&self) -> Option<&ServerId> {
        match self {
            Node::Group(_) => None,
            Node::Replicas(id) | Node::Member(_, id) => Some(id),
            Node::Server(id) | Node::Section(id, _) | Node::Resource(id, _) | Node::Template(id, _) | Node::Prompt(id, _) => Some(id),
            Node::Tool(tool) | Node::Saved(tool, _) => Some(&tool.server),
        }
    }

    /// Returns whether it can be called, read or fetched.
    pub fn callable(&self) -> bool {
        matches!(self, Node::Tool(_) | Node::Saved(..) | Node::Resource(..) | Node::Template(..) | Node::Prompt(..))
    }
}

/// One row of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its node.
    pub node: Node,
    /// Its depth.
    pub depth: u16,
    /// Whether it is unfolded; `None` if it cannot be folded.
    pub open: Option<bool>,
    /// Index of its server in the read model.
    pub server: usize,
    /// Its index in its server's list.
    pub item: usize,
    /// Characters of the exposed name that the filter matched.
    pub marks: Vec<u32>,
}

/// Rows, cursor, folds and filter.
#[derive(Default)]
pub struct Tree {
    rows: Vec<Row>,
    folds: HashMap<Node, bool>,
    /// Cursor and scroll.
    pub window: Window,
    selected: Option<Node>,
    before_filter: Option<Node>,
    filter: Option<String>,
    preferred: Preferred,
    /// The servers that are marked for a comparison, in the order in which they were marked.
    marked: Vec<ServerId>,
    saved: Saved,
}

impl Tree {
    /// Returns the rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the node under the cursor.
    pub fn selected(&self) -> Option<&Node> {
        self.rows.get(self.window.cursor).map(|row| &row.node)
    }

    /// Returns the row under the cursor.
    pub fn row(&self) -> Option<&Row> {
        self.rows.get(self.window.cursor)
    }

    /// Sets the favourites and recent nodes.
    pub fn prefer(&mut self, preferred: Preferred) {
        self.preferred = preferred;
    }

    /// Returns the servers that are marked for a comparison, in the order in which they were marked.
    pub fn marked(&self) -> &[ServerId] {
        &self.marked
    }

    /// Marks a server, or unmarks it. The first of three is unmarked: two are compared.
    pub fn mark(&mut self, server: ServerId) {
        match self.marked.iter().position(|marked| *marked == server) {
            Some(place) => drop(self.marked.remove(place)),
            None => {
                if self.marked.len() == 2 {
                    self.marked.remove(0);
                }
                self.marked.push(server);
            }
        }
    }

    /// Sets the saved calls, and rebuilds the rows.
    pub fn set_saved(&mut self, calls: Arc<[SavedCall]>, read_model: &ConsoleState) {
        self.saved.calls = calls;
        self.rebuild(read_model);
    }

    /// Returns the saved calls whose tool is listed, each with its tool.
    pub fn saved_calls(&self) -> impl Iterator<Item = (&SavedCall, &ToolId)> {
        self.saved.found().map(|(_, call, tool)| (call, tool))
    }

    /// Returns the saved call of a row.
    pub fn saved_call(&self, name: &str) -> Option<&SavedCall> {
        self.saved.calls.iter().find(|call| *call.name == *name)
    }

    /// Returns whether a node is a favourite.
    pub fn is_favourite(&self, node: &Node) -> bool {
        self.preferred.favourites.contains(node)
    }

    /// Returns whether a node is one of those that were called recently.
    pub fn is_recent(&self, node: &Node) -> bool {
        self.preferred.recent.contains(node)
    }

    /// Returns the filter, if one is being typed.
    pub fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// Sets the filter, and moves the cursor to the first row that matches.
    pub fn set_filter(&mut self, filter: String, read_model: &ConsoleState) {
        if self.filter.replace(filter).is_none() {
            self.before_filter = self.selected.clone();
        }
        self.window = Window::default();
        self.selected = None;
        self.rebuild(read_model);
    }

    /// Ends the filter.
    pub fn end_filter(&mut self, end: FilterEnd, read_model: &ConsoleState) {
        let had_filter = self.filter.take().is_some();
        let before = self.before_filter.take();
        match self.selected.clone().filter(|_| end == FilterEnd::Accept || !had_filter) {
            Some(found) => self.reveal(&found, read_model),
            None => {
                self.selected = before;
                self.rebuild(read_model);
            }
        }
    }

    /// Rebuilds the rows from the read model.
    pub fn rebuild(&mut self, read_model: &ConsoleState) {
        self.saved.resolve(read_model);
        self.rows = match &self.filter {
            Some(filter) => filtered(read_model, filter, &self.preferred, &self.saved),
            None => self.unfolded(read_model),
        };
        if let Some(at) = self.selected.as_ref().and_then(|node| self.rows.iter().position(|row| row.node == *node)) {
            self.window.cursor = at;
        }
        self.window.cursor = self.window.cursor.min(self.rows.len().saturating_sub(1));
        self.selected = self.selected().cloned();
    }

    /// Moves the cursor.
    pub fn go(&mut self, to: Move) {
        self.window.go(to, self.rows.len());
        self.selected = self.selected().cloned();
    }

    /// Moves the cursor to a row.
    pub fn move_to(&mut self, row: usize) {
        self.window.cursor = row.min(self.rows.len().saturating_sub(1));
        self.selected = self.selected().cloned();
    }

    /// Unfolds the parents of `node` and moves the cursor to it.
    pub fn reveal(&mut self, node: &Node, read_model: &ConsoleState) {
        if let Some(server) = node.server() {
            if read_model.group(server).is_some() {
                self.folds.insert(Node::Replicas(server.clone()), true);
            } else if let Node::Member(group, _) = node {
                self.folds.insert(Node::Replicas(group.clone()), true);
            } else if !matches!(node, Node::Server(_)) {
                self.folds.insert(Node::Server(server.clone()), true);
            }
            if let Some(group) = read_model.server(server).and_then(|s| s.spec.group.as_deref()) {
                self.folds.insert(Node::Group(group.into()), true);
            }
            let section = match node {
                Node::Resource(..) => Some(Section::Resources),
                Node::Template(..) => Some(Section::Templates),
                Node::Prompt(..) => Some(Section::Prompts),
                _ => None,
            };
            if let Some(section) = section {
                self.folds.insert(Node::Section(server.clone(), section), true);
            }
        }
        self.selected = Some(node.clone());
        self.rebuild(read_model);
    }

    /// Folds, unfolds or toggles the node under the cursor. Folding a node
    /// that cannot be folded goes to its parent.
    pub fn fold(&mut self, folding: Folding, read_model: &ConsoleState) {
        let Some(row) = self.row().cloned() else { return };
        match (row.open, folding) {
            (Some(open), Folding::Toggle) => {
                self.folds.insert(row.node, !open);
            }
            (Some(true), Folding::Fold) | (Some(false), Folding::Unfold) => {
                self.folds.insert(row.node, folding == Folding::Unfold);
            }
            (_, Folding::Fold) => {
                let above = self.rows[..self.window.cursor].iter().rposition(|r| r.depth < row.depth);
                if let Some(above) = above {
                    self.move_to(above);
                }
                return;
            }
            (Some(true), Folding::Unfold) => {
                self.go(Move::On(1));
                return;
            }
            _ => return,
        }
        self.rebuild(read_model);
    }

    /// Returns which servers and folders the user folded or unfolded.
    pub fn chosen_folds(&self) -> (BTreeMap<ServerId, bool>, BTreeMap<String, bool>) {
        let (mut servers, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for (node, open) in &self.folds {
            match node {
                Node::Server(server) => drop(servers.insert(server.clone(), *open)),
                Node::Group(name) => drop(folders.insert(name.to_string(), *open)),
                _ => {}
            }
        }
        (servers, folders)
    }

    /// Folds and unfolds servers and folders as in the last session.
    pub fn restore_folds(&mut self, servers: &BTreeMap<ServerId, bool>, folders: &BTreeMap<String, bool>) {
        self.folds.extend(servers.iter().map(|(server, open)| (Node::Server(server.clone()), *open)));
        self.folds.extend(folders.iter().map(|(name, open)| (Node::Group(name.as_str().into()), *open)));
    }

    /// Folds every server.
    pub fn fold_all(&mut self, read_model: &ConsoleState) {
        self.set_all_folds(false, read_model);
    }

    /// Unfolds every server.
    pub fn unfold_all(&mut self, read_model: &ConsoleState) {
        self.set_all_folds(true, read_model);
    }

    fn set_all_folds(&mut self, open: bool, read_model: &ConsoleState) {
        for server in &read_model.servers {
            self.folds.insert(Node::Server(server.id().clone()), open);
        }
        for group in &read_model.rules.routing.groups {
            self.folds.insert(Node::Replicas(group.id.clone()), open);
        }
        self.rebuild(read_model);
    }

    fn is_open(&self, node: &Node, otherwise: bool) -> bool {
        self.folds.get(node).copied().unwrap_or(otherwise)
    }

    fn unfolded(&self, read_model: &ConsoleState) -> Vec<Row> {
        let mut rows = Vec::new();
        for group in &read_model.rules.routing.groups {
            self.replica_rows(&mut rows, group, read_model);
        }
        let alone = read_model.servers.len() == 1;
        let mut groups_done: Vec<&str> = Vec::new();
        for (index, server) in read_model.servers.iter().enumerate() {
            let Some(group) = server.spec.group.as_deref() else {
                self.server_rows(&mut rows, server, (index, alone), 0);
                continue;
            };
            if groups_done.contains(&group) {
                continue;
            }
            groups_done.push(group);
            let node = Node::Group(group.into());
            let open = self.is_open(&node, true);
            rows.push(Row { node, depth: 0, open: Some(open), server: index, item: 0, marks: vec![] });
            if open {
                for (index, server) in read_model.servers.iter().enumerate().filter(|(_, s)| s.spec.group.as_deref() == Some(group)) {
                    self.server_rows(&mut rows, server, (index, alone), 1);
                }
            }
        }
        rows
    }

    /// Adds the rows of a group of replicas: its members first, then their common tools.
    fn replica_rows(&self, rows: &mut Vec<Row>, group: &Group, read_model: &ConsoleState) {
        let node = Node::Replicas(group.id.clone());
        let tools = read_model.group_tools(&group.id);
        let open = self.is_open(&node, tools.len() <= OPEN_LIMIT);
        let row = |node, depth, open, item| Row { node, depth, open, server: NO_SERVER, item, marks: vec![] };
        rows.push(row(node, 0, Some(open), 0));
        if !open {
            return;
        }
        let members = group.members.iter().enumerate();
        rows.extend(members.map(|(item, m)| row(Node::Member(group.id.clone(), m.server.clone()), 1, None, item)));
        for (item, (tool, ..)) in tools.into_iter().enumerate() {
            let id = ToolId::new(group.id.clone(), tool.name.clone());
            rows.push(row(Node::Tool(id.clone()), 1, None, item));
            rows.extend(self.saved.nodes(&id).map(|(item, node)| row(node, 2, None, item)));
        }
    }

    /// Adds the rows of a server. A server that is the only one starts unfolded.
    fn server_rows(&self, rows: &mut Vec<Row>, view: &ServerView, (server, alone): (usize, bool), depth: u16) {
        let (id, catalog) = (view.id(), &view.catalog);
        let node = Node::Server(id.clone());
        let empty = catalog.tools.is_empty() && catalog.resources.is_empty() && catalog.templates.is_empty() && catalog.prompts.is_empty();
        let open = self.is_open(&node, alone || catalog.tools.len() <= OPEN_LIMIT);
        rows.push(Row { node, depth, open: (!empty).then_some(open), server, item: 0, marks: vec![] });
        if empty || !open {
            return;
        }
        let row = |node, depth, open, item| Row { node, depth, open, server, item, marks: vec![] };
        for (item, tool) in catalog.tools.iter().enumerate() {
            let tool = ToolId::new(id.clone(), tool.name.clone());
            rows.push(row(Node::Tool(tool.clone()), depth + 1, None, item));
            rows.extend(self.saved.nodes(&tool).map(|(item, node)| row(node, depth + 2, None, item)));
        }
        let sections: [(Section, Vec<Node>); 3] = [
            (Section::Resources, catalog.resources.iter().map(|r| Node::Resource(id.clone(), r.uri.as_str().into())).collect()),
            (Section::Templates, catalog.templates.iter().map(|r| Node::Template(id.clone(), r.uri.as_str().into())).collect()),
            (Section::Prompts, catalog.prompts.iter().map(|p| Node::Prompt(id.clone(), p.name.clone())).collect()),
        ];
        for (section, nodes) in sections {
            if nodes.is_empty() {
                continue;
            }
            let node = Node::Section(id.clone(), section);
            let open = self.is_open(&node, false);
            rows.push(row(node, depth + 1, Some(open), nodes.len()));
            if open {
                rows.extend(nodes.into_iter().enumerate().map(|(item, node)| row(node, depth + 2, None, item)));
            }
        }
    }
}

/// Returns the qualified name of a resource, template or prompt.
pub fn other_name(server: &str, name: &str) -> String {
    format!("{server} {name}")
}

#[cfg(test)]
mod tests;

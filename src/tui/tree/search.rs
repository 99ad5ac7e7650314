//! The search of the tree: the rows that match a filter, ranked.

use super::{NO_SERVER, Node, Row, other_name, saved::Saved};
use crate::{
    domain::{
        catalog::{Resource, Tool},
        directory::Directory,
        id::ToolId,
    },
    state::ConsoleState,
    tui::name_search::NameSearch,
};

/// The nodes that come first in a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferred {
    /// The favourites, the latest first.
    pub favourites: Vec<Node>,
    /// Nodes that were called, the latest first.
    pub recent: Vec<Node>,
}

impl Preferred {
    /// Returns the place of a node among all: favourites, recent nodes, the rest.
    fn place(&self, node: &Node) -> usize {
        let at = |list: &[Node]| list.iter().position(|other| other == node);
        let recent = || at(&self.recent).map(|at| self.favourites.len() + at);
        at(&self.favourites).or_else(recent).unwrap_or(usize::MAX)
    }
}

/// How well a row matches, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A tool by its exposed name, or a saved call by its own, if a word of it begins with the filter, with the inverted score.
    Tool(u32),
    /// Another node, if a word of its own name begins with the filter: `arch` means `architecture.md` and not `research`.
    OtherWord(u32),
    /// A tool or a saved call by any other match of its name.
    ToolWithin(u32),
    /// Another node by its name. Tools are the most frequent target, and a resource's name must not push a tool down.
    Other(u32),
    /// A tool by its own name, title or description.
    ToolText,
    /// Another node by its title or description.
    OtherText,
    /// A server by its name or description. Enter goes to it; what it offers is more often meant.
    Server,
}

/// Returns the tools, resources, templates, prompts and servers that match, best first. Among equals, favourites and recent
/// nodes come first; with an empty filter they are above all others.
pub(super) fn filtered(read_model: &ConsoleState, filter: &str, preferred: &Preferred, saved: &Saved) -> Vec<Row> {
    let mut search = NameSearch::new(filter);
    let mut found: Vec<(Rank, Row)> = Vec::new();
    let row = |node, server, item, marks| Row { node, depth: 0, open: None, server, item, marks };
    let mut tool_row = |id: ToolId, tool: &Tool, server: usize, item: usize| {
        let exposed = read_model.names.exposed(&id)?;
        let texts = || [Some(id.server.as_str()), Some(&*tool.name), tool.title.as_deref(), tool.description.as_deref()];
        match search.in_name(exposed) {
            Some(in_name) => Some((tool_rank(filter, exposed, u32::MAX - in_name.score), row(Node::Tool(id), server, item, in_name.marks))),
            None if search.in_texts(texts()) => Some((Rank::ToolText, row(Node::Tool(id), server, item, vec![]))),
            None => None,
        }
    };
    for (server, view) in read_model.servers.iter().enumerate() {
        for (item, tool) in view.catalog.tools.iter().enumerate() {
            found.extend(tool_row(ToolId::new(view.id().clone(), tool.name.clone()), tool, server, item));
        }
    }
    for group in &read_model.rules.routing.groups {
        for (item, (tool, ..)) in read_model.group_tools(&group.id).into_iter().enumerate() {
            found.extend(tool_row(ToolId::new(group.id.clone(), tool.name.clone()), &tool, NO_SERVER, item));
        }
    }
    for (item, call, tool) in saved.found() {
        let server = read_model.servers.iter().position(|view| *view.id() == tool.server).unwrap_or(NO_SERVER);
        let node = Node::Saved(tool.clone(), call.name.clone());
        match search.in_name(&call.label) {
            Some(in_name) => {
                let rank = tool_rank(filter, &call.label, u32::MAX - in_name.score);
                found.push((rank, row(node, server, item, in_name.marks)));
            }
            None if search.in_texts([Some(&*call.name), Some(&*call.tool)]) => {
                found.push((Rank::ToolText, row(node, server, item, vec![])))
            }
            None => {}
        }
    }
    for (server, view) in read_model.servers.iter().enumerate() {
        let id = view.id();
        let catalog = &view.catalog;
        let resources = catalog.resources.iter().enumerate();
        let resources = resources.map(|(at, r)| (Node::Resource(id.clone(), r.uri.as_str().into()), at, &*r.name, texts_of(r)));
        let templates = catalog.templates.iter().enumerate();
        let templates = templates.map(|(at, r)| (Node::Template(id.clone(), r.uri.as_str().into()), at, &*r.name, texts_of(r)));
        let prompts = catalog.prompts.iter().enumerate();
        let prompts =
            prompts.map(|(at, p)| (Node::Prompt(id.clone(), p.name.clone()), at, &*p.name, [p.title.as_deref(), p.description.as_deref()]));
        for (node, item, name, texts) in resources.chain(templates).chain(prompts) {
            match search.in_name(&other_name(id.as_str(), name)) {
                Some(in_name) => {
                    let score = u32::MAX - in_name.score;
                    let rank = if begins_word(filter, name) { Rank::OtherWord(score) } else { Rank::Other(score) };
                    found.push((rank, row(node, server, item, in_name.marks)));
                }
                None if search.in_texts(texts) => {
                    found.push((Rank::OtherText, row(node, server, item, vec![])));
                }
                None => {}
            }
        }
    }
    for (server, view) in read_model.servers.iter().enumerate() {
        let id = view.id();
        match search.in_name(id.as_str()) {
            Some(in_name) if !filter.is_empty() => found.push((Rank::Server, row(Node::Server(id.clone()), server, 0, in_name.marks))),
            _ if search.in_texts([view.spec.description.as_deref()]) => {
                found.push((Rank::Server, row(Node::Server(id.clone()), server, 0, vec![])));
            }
            _ => {}
        }
    }
    match filter.trim().is_empty() {
        true => found.sort_by_key(|(rank, row)| (preferred.place(&row.node), *rank)),
        false => found.sort_by_key(|(rank, row)| (*rank, preferred.place(&row.node))),
    }
    found.into_iter().map(|(_, row)| row).collect()
}

/// Returns the rank of a match in the name of a tool or a saved call.
fn tool_rank(filter: &str, name: &str, score: u32) -> Rank {
    if begins_word(filter, name) { Rank::Tool(score) } else { Rank::ToolWithin(score) }
}

/// Returns whether a word of a name begins with the filter, without case.
pub(super) fn begins_word(filter: &str, name: &str) -> bool {
    let (filter, name) = (filter.trim().to_lowercase(), name.to_lowercase());
    let begins = |at: usize| name[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
    name.match_indices(&filter).any(|(at, _)| begins(at))
}

/// Returns title and description of a resource or template.
fn texts_of(resource: &Resource) -> [Option<&str>; 2] {
    [resource.title.as_deref(), resource.description.as_deref()]
}

//! Recognition: finds the kinds of servers in a file, by its place and its content.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    Around, ClientKind, Form, KindId, Placed, Root, described, inputs,
    keys::{COMMON, Means},
    table::KINDS,
};
use crate::{
    config::{dialect::Input, source::Language},
    domain::document::{Field, Kind, Node},
};

/// Servers of one kind in a file.
pub(in crate::config) struct Section<'t> {
    pub kind: &'static ClientKind,
    /// The whole file.
    pub tree: &'t Node,
    /// The servers: name and value.
    pub entries: Vec<Cow<'t, Field>>,
    /// The values that the file asks for.
    pub inputs: Vec<Input>,
}

/// Everything in a file.
pub(in crate::config) struct Sections<'t> {
    pub sections: Vec<Section<'t>>,
    /// Why the file is refused although it is known.
    pub refused: Option<(&'static str, &'static str)>,
}

/// Finds the servers in a file. Every table of servers belongs to one kind.
pub(in crate::config) fn recognise<'t>(tree: &'t Node, language: Language, placed: &Placed, around: &Around) -> Sections<'t> {
    let mut sections: Vec<Section<'t>> = vec![];
    // The file's place counts more than its content.
    let candidates = placed.kind.into_iter().chain(KINDS.iter().filter(|kind| (kind.content)(tree) || is_libre_chat(kind, language)));
    let (mut taken, mut tried) = (HashSet::new(), HashSet::new());
    for kind in candidates.filter(|kind| tried.insert(kind.id)) {
        for root in kind.roots.iter().filter(|root| root.language.map_or(language != Language::Toml, |only| only == language)) {
            if matches!(root.form, Form::File | Form::Described) && !sections.is_empty() {
                continue;
            }
            let Some(node) = find(tree, root.path) else { continue };
            let address = (std::ptr::from_ref(node), root.form == Form::Projects);
            if taken.contains(&address) {
                continue;
            }
            let Some(entries) = entries(node, root, around, kind) else { continue };
            taken.insert(address);
            sections.push(Section { kind, tree, entries, inputs: inputs_of(kind, tree, root) });
        }
    }
    let refused = if sections.is_empty() { described::refused(tree) } else { None };
    Sections { sections, refused }
}

/// YAML with `mcpServers` is LibreChat's.
fn is_libre_chat(kind: &ClientKind, language: Language) -> bool {
    kind.id == KindId::LibreChat && language == Language::Yaml
}

fn find<'t>(tree: &'t Node, path: &[&str]) -> Option<&'t Node> {
    path.iter().try_fold(tree, |node, key| node.get(key))
}

/// Returns the servers at a root; `None` if it has another form.
fn entries<'t>(node: &'t Node, root: &Root, around: &Around, kind: &ClientKind) -> Option<Vec<Cow<'t, Field>>> {
    match root.form {
        Form::Table => {
            let fields = node.fields()?;
            // `mcp` of opencode and Crush, `extensions` of others: tables that hold other things, too.
            let strict = matches!(kind.id, KindId::OpenCode | KindId::Crush | KindId::Goose);
            let fields = fields.iter().filter(|field| !is_comment(field) && (!strict || field.value.fields().is_some()));
            Some(last_of_equal(fields))
        }
        Form::List => Some(node.items()?.iter().enumerate().map(|(index, item)| listed(item, index)).collect()),
        Form::Projects => {
            let mut here: Vec<&Field> = node.fields()?.iter().filter(|p| !p.key.is_empty() && around.cwd.starts_with(&p.key)).collect();
            here.sort_by_key(|p| std::path::Path::new(&p.key).components().count());
            Some(here.into_iter().filter_map(|p| p.value.get("mcpServers")?.fields()).flatten().map(Cow::Borrowed).collect())
        }
        Form::File => {
            let fields = node.fields()?.iter().filter(|field| !is_comment(field) && field.value.fields().is_some());
            Some(fields.map(Cow::Borrowed).collect())
        }
        Form::Described => described::entry(node, kind.id).map(|entry| vec![Cow::Owned(entry)]),
    }
}

/// Returns the fields without those that a later one of the same name replaces.
fn last_of_equal<'t>(fields: impl Iterator<Item = &'t Field>) -> Vec<Cow<'t, Field>> {
    let (mut last, mut places): (Vec<&Field>, HashMap<&str, usize>) = Default::default();
    for field in fields {
        match places.get(field.key.as_str()) {
            Some(place) => last[*place] = field,
            None => {
                places.insert(&field.key, last.len());
                last.push(field);
            }
        }
    }
    last.into_iter().map(Cow::Borrowed).collect()
}

/// Tables of a server in a list that have the rest of its keys.
const INNER: [&str; 3] = ["transport", "config", "source"];

/// Returns a server of a list: its `name` is the key, an inner table has the rest.
fn listed(item: &Node, index: usize) -> Cow<'_, Field> {
    let text = |key: &str| item.get(key).and_then(Node::text).map(str::to_owned);
    let inner = INNER.iter().find_map(|key| Some((*key, item.get(key)?.fields()?)));
    let mut value = item.clone();
    if let (Some((key, inner)), Kind::Table(fields)) = (inner, &mut value.kind) {
        fields.retain(|field| field.key != key);
        fields.extend(inner.iter().cloned());
    }
    let key = text("name").or_else(|| text("id")).unwrap_or_else(|| match value.get("command").and_then(Node::text) {
        Some(command) => command.rsplit('/').next().unwrap_or(command).to_owned(),
        None => format!("server-{}", index + 1),
    });
    Cow::Owned(Field { key, at: item.at, end: item.end, value })
}

/// Returns whether a key is a comment, as JSON has none.
fn is_comment(field: &Field) -> bool {
    field.key.starts_with(['_', '$']) || field.key.starts_with("//") || field.key == "comment"
}

fn inputs_of(kind: &ClientKind, tree: &Node, root: &Root) -> Vec<Input> {
    match kind.id {
        KindId::Bundle => inputs(tree.get("user_config")),
        _ => {
            let parents = (0..root.path.len()).rev().map(|length| &root.path[..length]);
            let nearest = parents.filter_map(|path| find(tree, path)).find_map(|node| node.get("inputs"));
            inputs(nearest)
        }
    }
}

/// Returns whether the whole file is a table of servers: every table in it has a command or an address.
pub(super) fn is_flat(tree: &Node) -> bool {
    let fields = tree.fields().unwrap_or_default();
    let launches = |node: &Node| {
        let keys = COMMON.iter().filter(|(_, means)| matches!(means, Means::Command | Means::Url));
        keys.into_iter().any(|(key, _)| node.get(key).is_some_and(|value| value.text().is_some() || value.items().is_some()))
    };
    let mut tables = fields.iter().filter(|field| !is_comment(field)).peekable();
    tables.peek().is_some() && tables.all(|field| field.value.fields().is_some() && launches(&field.value))
}

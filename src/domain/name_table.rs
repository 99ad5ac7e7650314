//! Exposed names: the names under which the tools of all servers are called, and the reverse mapping.
//!
//! An exposed name is `<namespace>_<tool>`, at most [`NAME_LIMIT`] characters of `[A-Za-z0-9_.-]`. Names are looked up, never
//! split. A long or odd namespace is shortened and made valid, so that the tool's own name stays whole; only names that
//! several tools would have get a suffix.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    catalog::Tool,
    fold::without_diacritics,
    id::{ServerId, ToolId},
};

/// Maximum length of an exposed name. The conformance suite and the model APIs allow no more.
pub const NAME_LIMIT: usize = 64;

/// Maximum length of a namespace that was made valid, as for the key `namespace`.
const NAMESPACE_LIMIT: usize = 32;
/// A valid namespace up to this length is used as it is.
const WHOLE_LIMIT: usize = 48;

/// The name in place of a text without any valid character.
const NAMELESS: &str = "server";
const NAMELESS_TOOL: &str = "tool";

/// The exposed names of the tools of all servers, and the reverse mapping.
///
/// A name that several tools claim gets a suffix from a hash of the server and the tool: the same in every run, regardless of
/// the order of listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameTable {
    exposed: HashMap<ToolId, Arc<str>>,
    tools: BTreeMap<Arc<str>, ToolId>,
    separator: Arc<str>,
    /// Exposed names that several tools claimed, with the tools.
    pub collisions: Vec<(String, Vec<ToolId>)>,
}

/// A tool that claims a name.
struct Claim {
    id: ToolId,
    namespace: Arc<str>,
}

impl NameTable {
    /// Creates a table without names.
    pub fn without_names(separator: &str) -> NameTable {
        NameTable { separator: separator.into(), ..NameTable::default() }
    }

    /// Builds the table for all `(server, namespace, tools)`.
    pub fn build<'a>(servers: impl IntoIterator<Item = (&'a ServerId, &'a str, &'a [Arc<Tool>])>, separator: &str) -> NameTable {
        let names = |tools: &[Arc<Tool>]| tools.iter().map(|tool| tool.name.clone()).collect();
        NameTable::of_names(servers.into_iter().map(|(id, namespace, tools)| (id, namespace, names(tools))), separator)
    }

    /// Builds the table for all `(server, namespace, names)` of another kind than tools, such as prompts.
    pub fn of_names<'a>(servers: impl IntoIterator<Item = (&'a ServerId, &'a str, Vec<Arc<str>>)>, separator: &str) -> NameTable {
        let servers: Vec<_> = servers.into_iter().map(|(id, namespace, names)| (id, Arc::<str>::from(prefix(namespace)), names)).collect();
        let prefixes: HashSet<&str> = servers.iter().map(|(_, namespace, _)| &**namespace).collect();
        let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
        let mut imitating: HashSet<String> = HashSet::new();
        for (server, namespace, names) in &servers {
            for own in names {
                let name = Parts::new(namespace, separator, own).join(NAME_LIMIT);
                // A namespace that was cut for a long tool may look like that of another server.
                if name.cut && prefixes.contains(name.namespace) {
                    imitating.insert(name.text.clone());
                }
                let id = ToolId::new((*server).clone(), own.clone());
                claims.entry(name.text).or_default().push(Claim { id, namespace: namespace.clone() });
            }
        }
        let taken: HashSet<String> = claims.keys().cloned().collect();
        let mut table = NameTable::without_names(separator);
        for (name, tools) in claims {
            if let [claim] = tools.as_slice()
                && !imitating.contains(&name)
            {
                table.insert(name.into(), claim.id.clone());
                continue;
            }
            if tools.len() > 1 {
                table.collisions.push((name.clone(), tools.iter().map(|claim| claim.id.clone()).collect()));
            }
            for claim in tools {
                let unique = unique(&claim, separator, |name| taken.contains(name) || table.tools.contains_key(name));
                table.insert(unique.into(), claim.id);
            }
        }
        table
    }

    fn insert(&mut self, name: Arc<str>, id: ToolId) {
        self.exposed.insert(id.clone(), name.clone());
        self.tools.insert(name, id);
    }

    /// Returns the exposed name of a tool.
    pub fn exposed(&self, tool: &ToolId) -> Option<&Arc<str>> {
        self.exposed.get(tool)
    }

    /// Returns the tool behind an exposed name.
    pub fn tool(&self, exposed: &str) -> Option<&ToolId> {
        self.tools.get(exposed)
    }

    /// Returns the exposed name that a tool would have that no other claims.
    pub fn unclaimed_name(&self, namespace: &str, tool: &str) -> String {
        Parts::new(&prefix(namespace), &self.separator, tool).join(NAME_LIMIT).text
    }

    /// Returns the tool's own name if `name` would be its exposed name under `namespace` and no other claims it.
    pub fn unclaimed_tool<'n>(&self, namespace: &str, name: &'n str) -> Option<&'n str> {
        let prefix = prefix(namespace);
        let tool = if prefix.is_empty() { name } else { name.strip_prefix(&prefix)?.strip_prefix(&*self.separator)? };
        (!tool.is_empty() && self.unclaimed_name(namespace, tool) == name).then_some(tool)
    }

    /// Returns all exposed names in order, with their tools.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &ToolId)> {
        self.tools.iter()
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }
}

/// Returns a namespace as it begins exposed names: as it is if it is valid and at most 48 characters long, else made valid and at
/// most 32 characters long. Of a path, such as `github.com/owner/thing`, the end is used, because it tells servers apart.
pub fn prefix(namespace: &str) -> String {
    if namespace.is_empty() || (namespace.len() <= WHOLE_LIMIT && namespace.chars().all(allowed)) {
        return namespace.to_owned();
    }
    let mut prefix = String::new();
    for segment in namespace.rsplit('/').map(valid).filter(|segment| !segment.is_empty()) {
        let longer = if prefix.is_empty() { segment } else { format!("{segment}_{prefix}") };
        if longer.len() > NAMESPACE_LIMIT {
            if prefix.is_empty() {
                prefix = start(&longer, NAMESPACE_LIMIT).to_owned();
            }
            break;
        }
        prefix = longer;
    }
    if prefix.is_empty() { NAMELESS.to_owned() } else { prefix }
}

/// Returns whether `name` could be the exposed name of a tool under `namespace`.
pub fn may_name(namespace: &str, name: &str) -> bool {
    // The namespace is cut for a name that would exceed the limit, with or without a suffix.
    name.starts_with(&prefix(namespace)) || name.len() >= NAME_LIMIT - LONGEST_SUFFIX
}

/// Length of the longest suffix.
const LONGEST_SUFFIX: usize = 17;

/// The parts of an exposed name.
struct Parts<'p> {
    namespace: &'p str,
    separator: &'p str,
    tool: String,
}

/// A joined name.
struct Joined<'p> {
    text: String,
    namespace: &'p str,
    /// Whether the namespace was cut.
    cut: bool,
}

impl<'p> Parts<'p> {
    fn new(namespace: &'p str, separator: &'p str, tool: &str) -> Parts<'p> {
        let tool = if tool.chars().all(allowed) { tool.to_owned() } else { valid(tool) };
        Parts { namespace, separator, tool: if tool.is_empty() { NAMELESS_TOOL.to_owned() } else { tool } }
    }

    /// Joins the parts to at most `limit` characters. The tool is cut only if it is longer than that on its own.
    fn join(&self, limit: usize) -> Joined<'p> {
        let room = limit.saturating_sub(self.separator.len() + self.tool.len());
        let namespace = if self.namespace.len() <= room { self.namespace } else { start(self.namespace, room) };
        let tool = &self.tool[..self.tool.len().min(limit)];
        let text = if namespace.is_empty() { tool.to_owned() } else { format!("{namespace}{}{tool}", self.separator) };
        Joined { text, namespace, cut: namespace.len() < self.namespace.len() }
    }
}

/// Returns the name of a claim with the shortest suffix that makes it unique.
fn unique(claim: &Claim, separator: &str, taken: impl Fn(&str) -> bool) -> String {
    let digest = Sha256::digest(format!("{}\u{0}{}", claim.id.server, claim.id.name).as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = Parts::new(&claim.namespace, separator, &claim.id.name);
    let with = |length: usize| format!("{}_{}", parts.join(NAME_LIMIT - length - 1).text, &digits[..length]);
    (6..LONGEST_SUFFIX).step_by(2).map(with).find(|name| !taken(name)).unwrap_or_else(|| with(LONGEST_SUFFIX - 1))
}

/// Returns a text in valid characters: letters without their diacritics, and one `_` for other characters in a row, except at
/// the ends.
fn valid(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in without_diacritics(text).chars() {
        if !allowed(c) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) && !out.is_empty() {
            out.push('_');
        }
        out.push(c);
    }
    out
}

/// Returns the first characters of a valid text, without punctuation at the end.
fn start(text: &str, length: usize) -> &str {
    text[..length.min(text.len())].trim_end_matches(['_', '.', '-'])
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        body::Body,
        catalog::{RawLists, ServerCatalog},
    };

    fn tools(names: &[&str]) -> Vec<Arc<Tool>> {
        let raw = RawLists {
            tools: names.iter().map(|n| Body::json(&serde_json::json!({"name": n, "inputSchema": {"type": "object"}}))).collect(),
            ..Default::default()
        };
        ServerCatalog::read(raw, None).tools
    }

    /// Returns the exposed names of servers that are named like their namespaces, in the order of servers and tools.
    fn names(servers: &[(&str, &[&str])]) -> Vec<String> {
        let lists: Vec<(ServerId, Vec<Arc<Tool>>)> = servers.iter().map(|(id, names)| (ServerId::new(*id), tools(names))).collect();
        let table = NameTable::build(lists.iter().map(|(id, tools)| (id, id.as_str(), tools.as_slice())), "_");
        let ids = lists.iter().flat_map(|(id, tools)| tools.iter().map(|tool| ToolId::new(id.clone(), tool.name.clone())));
        ids.map(|id| table.exposed(&id).unwrap().to_string()).collect()
    }

    #[test]
    fn names_are_prefixed_and_resolve_back() {
        let (a, t) = (ServerId::new("db"), tools(&["query", "insert"]));
        let table = NameTable::build([(&a, "db", t.as_slice())], "_");
        assert_eq!(*table.tool("db_query").unwrap().name, *"query");
        assert_eq!(&**table.exposed(&ToolId::new(a, "insert")).unwrap(), "db_insert");
    }

    #[test]
    fn odd_and_long_namespaces_are_shortened_and_the_tool_stays_whole() {
        for (namespace, tool, wanted) in [
            ("Better Name", "whoami", "Better_Name_whoami"),
            ("@scope/pkg", "c", "scope_pkg_c"),
            ("github.com/owner/thing", "c", "github.com_owner_thing_c"),
            (
                "github.com/modelcontextprotocol/servers/tree/main/src/memory",
                "create_entities",
                "servers_tree_main_src_memory_create_entities",
            ),
            ("github.com/modelcontextprotocol/servers/tree/main/src/memory", "read_graph", "servers_tree_main_src_memory_read_graph"),
            ("寸止", "c", "server_c"),
            ("Zürich – Café", "c", "Zurich_Cafe_c"),
            ("", "c", "c"),
            ("__x", "c", "__x_c"),
            ("s", "has space", "s_has_space"),
            ("s", "naïve", "s_naive"),
            ("s", "搜索", "s_tool"),
        ] {
            assert_eq!(names(&[(namespace, &[tool])]), [wanted], "{namespace} {tool}");
        }
        let long = "x".repeat(50);
        assert_eq!(names(&[("a-rather-long-name", &[&long])]), [format!("a-rather-long_{long}")]);
        assert_eq!(names(&[("s", &[&"x".repeat(120)])]), ["x".repeat(64)]);
    }

    #[test]
    fn colliding_names_all_get_a_stable_suffix_after_the_whole_tool_name() {
        let (a, b) = (ServerId::new("a"), ServerId::new("a_b"));
        let (ta, tb) = (tools(&["b_x"]), tools(&["x"]));
        let one = NameTable::build([(&a, "a", ta.as_slice()), (&b, "a_b", tb.as_slice())], "_");
        let two = NameTable::build([(&b, "a_b", tb.as_slice()), (&a, "a", ta.as_slice())], "_");
        assert_eq!((one.len(), one.collisions.len()), (2, 1));
        for (name, id) in one.iter() {
            assert!(name.starts_with("a_b_x_"), "{name}");
            assert_eq!(two.tool(name), Some(id));
        }
        let long = "t".repeat(50);
        for name in names(&[("my server of tests", &[&long]), ("my_server of tests", &[&long])]) {
            assert!(name.contains(&format!("_{long}_")) && name.len() <= NAME_LIMIT, "{name}");
        }
        let both = names(&[("寸止", &["c"]), ("数据", &["c"])]);
        assert!(both[0] != both[1] && both.iter().all(|name| name.starts_with("server_c_")), "{both:?}");
    }

    #[test]
    fn a_namespace_that_is_cut_never_imitates_another_server() {
        // Both would be `git_xxx…` otherwise, and calls of the absent server would reach the other one.
        let long = "x".repeat(60);
        let [name] = &names(&[("git", &[]), ("github", &[&long])])[..] else { panic!() };
        assert!(name.len() <= NAME_LIMIT && !name.eq(&format!("git_{long}")), "{name}");
        assert_eq!(names(&[("github", &[&long])]), [format!("git_{long}")]);
    }

    proptest! {
        #[test]
        fn every_tool_has_a_valid_unique_name(
            servers in prop::collection::btree_map("[a-c é/寸.]{1,40}", prop::collection::btree_set("[a-c é寸_]{1,70}", 0..4), 1..5)
        ) {
            let lists: Vec<(ServerId, Vec<Arc<Tool>>)> = servers
                .iter()
                .map(|(id, names)| (ServerId::new(id.as_str()), tools(&names.iter().map(String::as_str).collect::<Vec<_>>())))
                .collect();
            let table = NameTable::build(lists.iter().map(|(id, tools)| (id, id.as_str(), tools.as_slice())), "_");
            let all: usize = lists.iter().map(|(_, tools)| tools.len()).sum();
            prop_assert_eq!(table.len(), all);
            for (name, id) in table.iter() {
                prop_assert!(!name.is_empty() && name.len() <= NAME_LIMIT && name.chars().all(allowed), "{}", name);
                prop_assert_eq!(table.exposed(id), Some(name));
                prop_assert!(may_name(id.server.as_str(), name), "{} {}", id.server, name);
            }
        }
    }
}

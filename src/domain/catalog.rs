//! Catalogs: what servers list.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    body::{self, Body},
    bounds,
    plural::counted,
    time::size,
};

/// The catalog of one server: its lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerCatalog {
    /// `tools/list`, in the server's order.
    pub tools: Vec<Arc<Tool>>,
    /// `resources/list`.
    pub resources: Vec<Arc<Resource>>,
    /// `resources/templates/list`.
    pub templates: Vec<Arc<Resource>>,
    /// `prompts/list`.
    pub prompts: Vec<Arc<Prompt>>,
    /// Tools that the server lists but that must not be offered, with the reason.
    #[serde(default)]
    pub refused: Vec<RefusedTool>,
    /// Problems of the lists: cut short, unusable entries, duplicate names. At most [`WARNINGS`].
    pub warnings: Vec<String>,
    /// Whether reading a list exceeded `timeouts.list`.
    #[serde(default)]
    pub timed_out: bool,
    /// The lists that were cut by a limit, by key (`tools`, `resources`, `resourceTemplates`, `prompts`).
    #[serde(default)]
    pub cut: Vec<String>,
    /// The lists that were not read completely because of an error.
    #[serde(default)]
    pub broken: Vec<BrokenList>,
    /// Changes of the last refresh, for users: `+2 tools, −1 prompt`. Empty for the first.
    pub changes: String,
    /// Number of times the lists were read since the server was added, from 1; 0 if they were not.
    pub revision: u64,
    /// The tools whose definitions differ from those that the user accepted ([`super::pins`]).
    #[serde(default)]
    pub pin_changes: BTreeSet<Arc<str>>,
    /// When the lists were read, in milliseconds since the Unix epoch, if that was in an earlier run of the program: they are the
    /// last known lists of a server that has not answered yet.
    #[serde(default)]
    pub stored_ms: Option<u64>,
}

/// A listed tool that must not be offered, because its definition breaks a rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTool {
    /// Its own name; empty if it has none.
    pub name: String,
    /// The rule that it breaks, for users.
    pub why: String,
}

/// The change of an entry since the previous list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// None, or this is the first list.
    #[default]
    Same,
    /// Added.
    Added,
    /// Its definition changed.
    Changed,
}

/// A listed tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its own name.
    pub name: Arc<str>,
    /// `title`, else `annotations.title`.
    pub title: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `inputSchema` as received.
    pub input_schema: Body,
    /// `outputSchema` as received.
    pub output_schema: Option<Body>,
    /// Its behaviour annotations.
    pub hints: Hints,
    /// Whether it must be called as a task (`execution.taskSupport` is `required`; MCP 2025-11-25).
    pub task_only: bool,
    /// The complete entry as received, including unknown fields.
    pub raw: Body,
    /// The change since the previous list.
    pub change: Change,
}

/// The identity of a tool's definition: SHA-256 of its name, title, description, schemas and annotations. A user's
/// decision about a tool applies to one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Definition([u8; 32]);

impl Tool {
    /// Returns the digest of the definition.
    pub fn definition(&self) -> Definition {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            hash.update([u8::from(bytes.is_some())]);
            hash.update((bytes.map_or(0, <[u8]>::len) as u64).to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(Some(self.name.as_bytes()));
        part(self.title.as_deref().map(str::as_bytes));
        part(self.description.as_deref().map(str::as_bytes));
        part(Some(self.input_schema.bytes()));
        part(self.output_schema.as_ref().map(|schema| schema.bytes().as_ref()));
        let Hints { read_only, destructive, idempotent, open_world } = self.hints;
        for hint in [read_only, destructive, idempotent, open_world] {
            part(hint.map(|hint| if hint { b"1".as_slice() } else { b"0" }));
        }
        Definition(hash.finalize().into())
    }
}

/// Behaviour annotations of a tool (`annotations`). `None` where the server did not set one.
///
/// They are claims of the server and used only if the server is trusted. The specification's defaults for missing
/// annotations are: not read-only, destructive, not idempotent, open world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// `readOnlyHint`.
    pub read_only: Option<bool>,
    /// `destructiveHint`.
    pub destructive: Option<bool>,
    /// `idempotentHint`.
    pub idempotent: Option<bool>,
    /// `openWorldHint`.
    pub open_world: Option<bool>,
}

/// The tools that require a confirmation before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmPolicy {
    /// Tools that may be destructive; annotations of untrusted servers are ignored.
    #[default]
    Untrusted,
    /// Tools whose annotations declare, or do not deny, that they may be destructive.
    Destructive,
    /// None.
    Never,
}

impl ConfirmPolicy {
    /// Returns whether a tool with these annotations, of a server that is `trusted` or not, requires a confirmation.
    pub fn asks(self, hints: Hints, trusted: bool) -> bool {
        match self {
            ConfirmPolicy::Untrusted => hints.may_destroy(trusted),
            ConfirmPolicy::Destructive => hints.may_destroy(true),
            ConfirmPolicy::Never => false,
        }
    }
}

impl Hints {
    /// Returns whether the tool may be destructive, judging by its annotations (used if `trusted`) and the
    /// specification's defaults.
    pub fn may_destroy(&self, trusted: bool) -> bool {
        if !trusted {
            return true;
        }
        !self.read_only.unwrap_or(false) && self.destructive.unwrap_or(true)
    }

    /// Returns a summary for users, as in `writes · not idempotent`.
    pub fn words(&self) -> String {
        let effect = match (self.read_only, self.destructive) {
            (Some(true), _) => "read-only",
            (_, Some(false)) => "writes, non-destructive",
            (_, Some(true)) => "may be destructive",
            (Some(false), None) => "writes",
            (None, None) => "no annotations",
        };
        match (self.read_only, self.idempotent) {
            (Some(true), _) => effect.to_owned(),
            (_, Some(true)) => format!("{effect} · idempotent"),
            (_, Some(false)) => format!("{effect} · not idempotent"),
            _ => effect.to_owned(),
        }
    }
}

/// A listed resource or resource template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `uri` or `uriTemplate`.
    pub uri: String,
    /// `name`.
    pub name: String,
    /// `title`.
    pub title: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `mimeType`.
    pub mime_type: Option<String>,
    /// `size` in bytes.
    pub size: Option<u64>,
    /// The complete entry as received.
    pub raw: Body,
    /// The change since the previous list.
    pub change: Change,
}

/// A listed prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its name.
    pub name: Arc<str>,
    /// `title`.
    pub title: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// Its arguments in order.
    pub arguments: Vec<PromptArgument>,
    /// The complete entry as received.
    pub raw: Body,
    /// The change since the previous list.
    pub change: Change,
}

/// An argument of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `required`.
    pub required: bool,
}

/// The raw items of a server's lists, as received page by page.
#[derive(Clone, Debug, Default)]
pub struct RawLists {
    /// Items of `tools/list`.
    pub tools: Vec<Body>,
    /// Tools that were taken out of `tools`.
    pub refused: Vec<RefusedTool>,
    /// Items of `resources/list`.
    pub resources: Vec<Body>,
    /// Items of `resources/templates/list`.
    pub templates: Vec<Body>,
    /// Items of `prompts/list`.
    pub prompts: Vec<Body>,
    /// Problems while reading the lists.
    pub warnings: Vec<String>,
    /// Whether reading a list exceeded `timeouts.list`.
    pub timed_out: bool,
    /// The lists that were not read completely because of an error: their missing entries may still exist.
    pub broken: Vec<BrokenList>,
    /// The lists that were cut by a limit, by key.
    pub cut: Vec<&'static str>,
    /// Total size of all entries, in bytes.
    pub bytes: usize,
    /// TTL of the lists, if the server sets one and does not notify of changes (`ttlMs`, MCP 2026-07-28); never zero.
    pub ttl: Option<Duration>,
}

/// A list that was not read completely because of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenList {
    /// Its key: `tools`, `resources`, `resourceTemplates` or `prompts`.
    pub list: String,
    /// What happened, for users.
    pub reason: String,
}

impl BrokenList {
    /// Creates the record of a list by its key.
    pub fn new(list: &str, reason: impl Into<String>) -> BrokenList {
        BrokenList { list: list.to_owned(), reason: reason.into() }
    }
}

impl ServerCatalog {
    /// Parses the raw items leniently: an unusable entry is left out with a warning and does not affect others. Marks
    /// changes since `before`. For an incomplete list, entries of `before` that were not read this time are retained.
    pub fn read(raw: RawLists, before: Option<&ServerCatalog>) -> ServerCatalog {
        let mut catalog = ServerCatalog { revision: before.map_or(1, |b| b.revision + 1), ..Default::default() };
        catalog.timed_out = raw.timed_out;
        catalog.cut = raw.cut.iter().map(|key| (*key).to_owned()).collect();
        catalog.broken = raw.broken;
        let unread = catalog.broken.clone();
        catalog.refused = raw.refused;
        let mut warnings = Warnings { first: raw.warnings, more: 0 };
        catalog.tools = read_list(raw.tools, "tool", &mut warnings, read_tool, |t| &t.name);
        catalog.resources = read_list(raw.resources, "resource", &mut warnings, |b| read_resource(b, "uri"), |r| &r.uri);
        catalog.templates = read_list(raw.templates, "resource template", &mut warnings, |b| read_resource(b, "uriTemplate"), |r| &r.uri);
        catalog.prompts = read_list(raw.prompts, "prompt", &mut warnings, read_prompt, |p| &p.name);
        catalog.warnings = warnings.finish();
        if let Some(before) = before {
            let broken = |key: &str| unread.iter().any(|broken| broken.list == key);
            let retained = retain_missing(&mut catalog.tools, &before.tools, broken("tools"), |t| &t.name)
                + retain_missing(&mut catalog.resources, &before.resources, broken("resources"), |t| &t.uri)
                + retain_missing(&mut catalog.templates, &before.templates, broken("resourceTemplates"), |t| &t.uri)
                + retain_missing(&mut catalog.prompts, &before.prompts, broken("prompts"), |t| &t.name);
            if retained > 0 {
                let noun = if retained == 1 { "entry" } else { "entries" };
                catalog.warnings.push(format!("{retained} {noun} from an earlier read retained until the lists can be read again"));
            }
            let mut words = Vec::new();
            mark(&mut catalog.tools, &before.tools, "tool", &mut words, |t| &t.name, |t| &t.raw, |t| &mut t.change);
            mark(&mut catalog.resources, &before.resources, "resource", &mut words, |t| &t.uri, |t| &t.raw, |t| &mut t.change);
            mark(&mut catalog.templates, &before.templates, "template", &mut words, |t| &t.uri, |t| &t.raw, |t| &mut t.change);
            mark(&mut catalog.prompts, &before.prompts, "prompt", &mut words, |t| &t.name, |t| &t.raw, |t| &mut t.change);
            catalog.changes = words.join(", ");
        }
        catalog
    }

    /// Parses lists that were stored by an earlier run of the program, at `read_ms` (milliseconds since the Unix epoch). They count
    /// as not read.
    pub fn stored(raw: RawLists, read_ms: u64) -> ServerCatalog {
        ServerCatalog { revision: 0, stored_ms: Some(read_ms), ..ServerCatalog::read(raw, None) }
    }

    /// Returns whether nothing is known of the server's lists, neither from it nor from an earlier run of the program.
    pub fn is_unknown(&self) -> bool {
        self.revision == 0 && self.stored_ms.is_none()
    }

    /// Returns the approximate size of the lists, in bytes.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tools = self.tools.iter().map(|tool| size_of::<Tool>() + tool.raw.len() + text(&tool.title) + text(&tool.description));
        let resources = self.resources.iter().chain(&self.templates);
        let resources = resources.map(|r| size_of::<Resource>() + r.raw.len() + r.uri.len() + text(&r.title) + text(&r.description));
        let prompts = self.prompts.iter().map(|p| size_of::<Prompt>() + p.raw.len() + text(&p.title) + text(&p.description));
        let refused = self.refused.iter().map(|tool| size_of::<RefusedTool>() + tool.name.len() + tool.why.len());
        size_of::<ServerCatalog>() + tools.chain(resources).chain(prompts).chain(refused).sum::<usize>()
    }

    /// Returns the tool of this name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.iter().find(|tool| &*tool.name == name)
    }
}

/// Retains the entries that an incomplete list held before. Returns their number.
fn retain_missing<T, K: Eq + std::hash::Hash + ?Sized>(
    list: &mut Vec<Arc<T>>,
    before: &[Arc<T>],
    broken: bool,
    key: impl Fn(&T) -> &K,
) -> usize {
    if !broken {
        return 0;
    }
    let read: std::collections::HashSet<&K> = list.iter().map(|item| key(item)).collect();
    let retained: Vec<Arc<T>> = before.iter().filter(|item| !read.contains(key(item))).cloned().collect();
    let count = retained.len();
    list.extend(retained);
    count
}

/// Maximum number of warnings about the lists of one server; the rest are counted.
pub const WARNINGS: usize = 50;

/// Warnings in order of occurrence.
struct Warnings {
    first: Vec<String>,
    more: usize,
}

impl Warnings {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.first.len() < WARNINGS { self.first.push(text()) } else { self.more += 1 }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.first.push(format!("{} more entries cannot be used as listed", self.more));
        }
        self.first.iter_mut().for_each(|warning| bounds::shorten(warning, bounds::LINE));
        self.first
    }
}

/// Parses the entries of one list. Each is decoded only as far as it is stored.
fn read_list<T>(
    items: Vec<Body>,
    what: &str,
    warnings: &mut Warnings,
    read: impl Fn(&Body) -> Result<T, String>,
    key: impl Fn(&T) -> &str,
) -> Vec<Arc<T>> {
    let mut seen = std::collections::HashSet::new();
    let mut list = Vec::with_capacity(items.len());
    for (index, body) in items.iter().enumerate() {
        match read(body) {
            Ok(item) if seen.insert(key(&item).to_owned()) => list.push(Arc::new(item)),
            Ok(item) => warnings.add(|| format!("{what} {:?} is listed twice; the first one is used", bounds::cut(key(&item), 200))),
            Err(why) => warnings.add(|| format!("{what} number {} {why}; it is left out", index + 1)),
        }
    }
    list
}

fn text(field: Option<&RawValue>, limit: usize) -> Option<String> {
    bounds::json_text(field?.get(), limit)
}

/// Returns the name or URI of an entry. One above the limit cannot be displayed, sent or typed.
fn key_text(field: Option<&RawValue>, key: &str) -> Result<String, String> {
    let name = text(field, bounds::NAME).ok_or_else(|| format!("has no {key}"))?;
    let length = field.map_or(0, |raw| raw.get().len());
    if length > bounds::NAME + 2 { Err(format!("has a {key} of {}", size(length as u64))) } else { Ok(name) }
}

fn is_true(field: Option<&RawValue>) -> Option<bool> {
    match field?.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn inner<'a, const N: usize>(field: Option<&'a RawValue>, names: [&str; N]) -> [Option<&'a RawValue>; N] {
    field.and_then(|field| body::fields(field.get().as_bytes(), names)).unwrap_or([None; N])
}

fn read_tool(body: &Body) -> Result<Tool, String> {
    let [name, title, description, input, output, annotations, execution] =
        body.fields(["name", "title", "description", "inputSchema", "outputSchema", "annotations", "execution"]).unwrap_or_default();
    let name = key_text(name, "name")?;
    let [other_title, read_only, destructive, idempotent, open_world] =
        inner(annotations, ["title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]);
    let [task] = inner(execution, ["taskSupport"]);
    let schema = |field: Option<&RawValue>| field.filter(|f| f.get() != "null").map(|f| body.slice_of(f.get().as_bytes()));
    Ok(Tool {
        title: text(title, bounds::LINE).or_else(|| text(other_title, bounds::LINE)),
        description: text(description, bounds::DESCRIPTION),
        input_schema: schema(input).unwrap_or_else(|| Body::from(r#"{"type":"object"}"#)),
        output_schema: schema(output),
        hints: Hints {
            read_only: is_true(read_only),
            destructive: is_true(destructive),
            idempotent: is_true(idempotent),
            open_world: is_true(open_world),
        },
        task_only: text(task, 100).is_some_and(|task| task == "required"),
        raw: body.clone(),
        change: Change::Same,
        name: name.into(),
    })
}

fn read_resource(body: &Body, uri_key: &str) -> Result<Resource, String> {
    let [uri, name, title, description, mime_type, size] =
        body.fields([uri_key, "name", "title", "description", "mimeType", "size"]).unwrap_or_default();
    let uri = key_text(uri, uri_key)?;
    Ok(Resource {
        name: text(name, bounds::LINE).unwrap_or_else(|| uri.clone()),
        uri,
        title: text(title, bounds::LINE),
        description: text(description, bounds::DESCRIPTION),
        mime_type: text(mime_type, bounds::LINE),
        size: size.and_then(|size| size.get().parse().ok()),
        raw: body.clone(),
        change: Change::Same,
    })
}

fn read_prompt(body: &Body) -> Result<Prompt, String> {
    let [name, title, description, arguments] = body.fields(["name", "title", "description", "arguments"]).unwrap_or_default();
    let arguments = arguments.and_then(|list| body::members(list.get().as_bytes(), ARGUMENTS).ok()).unwrap_or_default().0;
    Ok(Prompt {
        name: key_text(name, "name")?.into(),
        title: text(title, bounds::LINE),
        description: text(description, bounds::DESCRIPTION),
        arguments: arguments.into_iter().filter_map(read_argument).collect(),
        raw: body.clone(),
        change: Change::Same,
    })
}

/// Maximum number of arguments read per prompt.
const ARGUMENTS: usize = 256;

fn read_argument(argument: &RawValue) -> Option<PromptArgument> {
    let [name, description, required] = inner(Some(argument), ["name", "description", "required"]);
    Some(PromptArgument {
        name: key_text(name, "name").ok()?,
        description: text(description, bounds::ERROR_TEXT),
        required: is_true(required).unwrap_or(false),
    })
}

fn mark<T: Clone>(
    now: &mut [Arc<T>],
    before: &[Arc<T>],
    what: &str,
    words: &mut Vec<String>,
    key: impl for<'a> Fn(&'a T) -> &'a str,
    raw: impl for<'a> Fn(&'a T) -> &'a Body,
    change: impl for<'a> Fn(&'a mut T) -> &'a mut Change,
) {
    let old: HashMap<String, Body> = before.iter().map(|item| (key(item).to_owned(), raw(item).clone())).collect();
    let (mut added, mut changed) = (0, 0);
    for item in now.iter_mut() {
        let state = match old.get(key(item)) {
            None => Change::Added,
            Some(body) if body != raw(item) => Change::Changed,
            Some(_) => Change::Same,
        };
        added += usize::from(state == Change::Added);
        changed += usize::from(state == Change::Changed);
        *change(Arc::make_mut(item)) = state;
    }
    let removed = (old.len() + added).saturating_sub(now.len());
    for (sign, count) in [("+", added), ("−", removed), ("~", changed)] {
        if count > 0 {
            words.push(format!("{sign}{}", counted(count, what)));
        }
    }
}

/// Returns whether a URI template (RFC 6570) may produce `uri`: its literal parts appear in order.
pub fn template_fits(template: &str, uri: &str) -> bool {
    let mut rest = uri;
    let mut parts = template.split('{');
    let Some(mut left) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        let literal = part.split_once('}').map_or("", |(_, literal)| literal);
        open = literal.is_empty();
        match left.find(literal) {
            Some(at) => {
                rest = &left[at + literal.len()..];
                left = rest;
            }
            None => return false,
        }
    }
    open || left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_missing_from_an_incomplete_list_are_retained_and_from_a_complete_one_dropped() {
        let raw = |names: &[&str], broken: &[&str]| RawLists {
            tools: names.iter().map(|n| Body::json(&serde_json::json!({"name": n, "inputSchema": {"type": "object"}}))).collect(),
            broken: broken.iter().map(|list| BrokenList::new(list, "reset")).collect(),
            ..Default::default()
        };
        let names = |catalog: &ServerCatalog| catalog.tools.iter().map(|t| t.name.to_string()).collect::<Vec<_>>();
        let first = ServerCatalog::read(raw(&["a", "b", "c"], &[]), None);
        let cut = ServerCatalog::read(raw(&["b", "d"], &["tools"]), Some(&first));
        assert_eq!((names(&cut), cut.changes.as_str()), (vec!["b".into(), "d".into(), "a".into(), "c".into()], "+1 tool"));
        assert!(cut.warnings[0].starts_with("2 entries from an earlier read"), "{:?}", cut.warnings);
        let other = ServerCatalog::read(raw(&["b"], &["prompts"]), Some(&cut));
        assert_eq!((names(&other), other.warnings.len()), (vec!["b".into()], 0));
    }

    #[test]
    fn a_bad_entry_does_not_affect_others_and_changes_are_marked() {
        let items = |list: &[&str]| RawLists { tools: list.iter().map(|t| Body::from(*t)).collect(), ..Default::default() };
        let first = ServerCatalog::read(
            items(&[
                r#"{"name":"a","x-vendor":1,"inputSchema":{"type":"object","a":1.0}}"#,
                r#"{"title":"nameless"}"#,
                r#"{"name":"a"}"#,
                r#"{"name":"b"}"#,
            ]),
            None,
        );
        assert_eq!(first.tools.len(), 2);
        assert_eq!(first.warnings.len(), 2, "{:?}", first.warnings);
        assert_eq!(first.tools[0].input_schema.text(), r#"{"type":"object","a":1.0}"#);
        let second = ServerCatalog::read(items(&[r#"{"name":"a"}"#, r#"{"name":"c"}"#]), Some(&first));
        assert_eq!((second.tools[0].change, second.tools[1].change), (Change::Changed, Change::Added));
        assert_eq!(second.changes, "+1 tool, −1 tool, ~1 tool");
    }
}

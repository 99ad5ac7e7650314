//! Drift: versions of what servers define (tools, prompts, resource templates, instructions, the server itself), what changed
//! between two versions, and whether callers of the old version break. Pure.

mod servers;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    body::Body,
    bounds,
    id::ServerId,
    json::Json,
    stored_catalog::{StoredCatalog, StoredServer},
};

pub use self::servers::{between, listed};

/// What a definition defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// An item of `tools/list`.
    Tool,
    /// An item of `prompts/list`.
    Prompt,
    /// An item of `resources/templates/list`.
    Template,
    /// The `instructions` of the server.
    Instructions,
    /// Name, version, protocol and capabilities of the server.
    Server,
}

impl DefinitionKind {
    /// Every kind.
    pub const ALL: [DefinitionKind; 5] =
        [DefinitionKind::Tool, DefinitionKind::Prompt, DefinitionKind::Template, DefinitionKind::Instructions, DefinitionKind::Server];

    /// Returns the stored word, which is also shown.
    pub fn word(self) -> &'static str {
        match self {
            DefinitionKind::Tool => "tool",
            DefinitionKind::Prompt => "prompt",
            DefinitionKind::Template => "template",
            DefinitionKind::Instructions => "instructions",
            DefinitionKind::Server => "server",
        }
    }

    /// Returns the kind with this word.
    pub fn from_word(word: &str) -> Option<DefinitionKind> {
        DefinitionKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A definition as a server listed it, with known secrets masked.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What it defines.
    pub kind: DefinitionKind,
    /// The name: of the tool or prompt, or the URI template. Empty for the server and its instructions.
    pub name: String,
    /// JSON in canonical form ([`canonical`]).
    pub text: String,
}

impl Definition {
    /// Reads an item of a list of this kind; `key` is the member with its name. `None` if it has no name, or is not JSON.
    ///
    /// A tree takes many times the memory of its text, so the text of an item over [`bounds::DEFINITION`] is its name, size and hash: a
    /// change is noticed, but not described.
    pub fn of_item(kind: DefinitionKind, item: &Body, key: &str) -> Option<Definition> {
        let [name] = item.fields([key])?;
        let name: String = serde_json::from_str(name?.get()).ok()?;
        let text = match item.len() <= bounds::DEFINITION {
            true => canonical(&Json::parse(&item.text()).ok()?),
            false => {
                let hash: String = Sha256::digest(item.bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
                let size = Json::Number(item.len().to_string());
                let members = [(key, Json::String(name.clone())), ("sha256", Json::String(hash)), ("size", size)];
                Json::Object(members.map(|(key, value)| (key.to_owned(), value)).into())
            }
        };
        Some(Definition { kind, name, text: text.text() })
    }

    /// Returns the hash of the definition over all its members.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update("switchboard definition 1\n");
        hash.update(self.kind.word());
        hash.update("\n");
        hash.update(&self.text);
        hash.finalize().into()
    }
}

/// Returns the definitions of a catalog.
pub fn definitions(catalog: &StoredCatalog) -> Vec<Definition> {
    let mut found = items(&catalog.tools, &catalog.prompts, &catalog.templates);
    found.extend(about(&catalog.server));
    found
}

fn items<'b>(
    tools: impl IntoIterator<Item = &'b Body>,
    prompts: impl IntoIterator<Item = &'b Body>,
    templates: impl IntoIterator<Item = &'b Body>,
) -> Vec<Definition> {
    let tools = tools.into_iter().filter_map(|item| Definition::of_item(DefinitionKind::Tool, item, "name"));
    let prompts = prompts.into_iter().filter_map(|item| Definition::of_item(DefinitionKind::Prompt, item, "name"));
    let templates = templates.into_iter().filter_map(|item| Definition::of_item(DefinitionKind::Template, item, "uriTemplate"));
    tools.chain(prompts).chain(templates).collect()
}

/// Returns the definitions of a server itself: its instructions, and its name, version and capabilities.
fn about(server: &StoredServer) -> Vec<Definition> {
    let mut found = vec![];
    if let Some(instructions) = &server.instructions {
        let text = Json::String(instructions.clone()).text();
        found.push(Definition { kind: DefinitionKind::Instructions, name: String::new(), text });
    }
    let text = |text: &Option<String>| text.clone().map_or(Json::Null, Json::String);
    let about = Json::Object(vec![
        ("capabilities".into(), Json::parse(&server.capabilities.text()).map_or(Json::Null, |json| canonical(&json))),
        ("name".into(), text(&server.name)),
        ("protocol".into(), Json::String(server.protocol.clone())),
        ("title".into(), text(&server.title)),
        ("version".into(), text(&server.version)),
    ]);
    found.push(Definition { kind: DefinitionKind::Server, name: String::new(), text: about.text() });
    found
}

/// Returns a value with the members of all objects in the order of their keys. Numbers stay as written.
pub fn canonical(json: &Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.iter().map(canonical).collect()),
        Json::Object(members) => {
            let mut members: Vec<(String, Json)> = members.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            members.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            Json::Object(members)
        }
        other => other.clone(),
    }
}

/// A version of a definition that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinitionVersion {
    /// The server.
    pub server: ServerId,
    /// What it defines.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// The definition, canonical JSON.
    pub definition: Body,
    /// When it was listed first, in milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// When it was listed last.
    pub last_ms: u64,
    /// When the server listed anything last: a definition that was not listed then is gone.
    pub listed_ms: u64,
    /// Whether the user accepted it, or it was listed at the first contact with the server.
    pub accepted: bool,
}

/// What a change means for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impact {
    /// A caller of the old version works.
    Compatible,
    /// A caller of the old version may fail, or a promise was taken back.
    Breaking,
}

impl Impact {
    /// Returns the word for users.
    pub fn word(self) -> &'static str {
        match self {
            Impact::Compatible => "compatible",
            Impact::Breaking => "breaking",
        }
    }
}

/// The kind of a [`Difference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The definition is new.
    Added,
    /// The definition is gone.
    Removed,
    /// An argument was removed.
    ArgumentRemoved,
    /// An optional argument was added.
    ArgumentAdded,
    /// An argument became required.
    RequiredAdded,
    /// An argument became optional.
    RequiredRemoved,
    /// Fewer values are valid.
    Narrowed,
    /// More values are valid.
    Widened,
    /// A member of the result was removed, or may be missing.
    ResultRemoved,
    /// The result has another type, or more values.
    ResultChanged,
    /// A member was added to the result.
    ResultAdded,
    /// An annotation promises less.
    AnnotationWeakened,
    /// An annotation promises more.
    AnnotationStrengthened,
    /// Anything else: a description, a title, metadata.
    Changed,
}

impl DifferenceKind {
    /// Returns the words for users.
    pub fn words(self) -> &'static str {
        match self {
            DifferenceKind::Added => "added",
            DifferenceKind::Removed => "removed",
            DifferenceKind::ArgumentRemoved => "argument removed",
            DifferenceKind::ArgumentAdded => "argument added",
            DifferenceKind::RequiredAdded => "required",
            DifferenceKind::RequiredRemoved => "optional",
            DifferenceKind::Narrowed => "narrowed",
            DifferenceKind::Widened => "widened",
            DifferenceKind::ResultRemoved => "removed from the result",
            DifferenceKind::ResultChanged => "result changed",
            DifferenceKind::ResultAdded => "added to the result",
            DifferenceKind::AnnotationWeakened => "annotation weakened",
            DifferenceKind::AnnotationStrengthened => "annotation strengthened",
            DifferenceKind::Changed => "changed",
        }
    }

    /// Returns what it means for callers.
    pub fn impact(self) -> Impact {
        match self {
            DifferenceKind::Removed
            | DifferenceKind::ArgumentRemoved
            | DifferenceKind::RequiredAdded
            | DifferenceKind::Narrowed
            | DifferenceKind::ResultRemoved
            | DifferenceKind::ResultChanged
            | DifferenceKind::AnnotationWeakened => Impact::Breaking,
            DifferenceKind::Added
            | DifferenceKind::ArgumentAdded
            | DifferenceKind::RequiredRemoved
            | DifferenceKind::Widened
            | DifferenceKind::ResultAdded
            | DifferenceKind::AnnotationStrengthened
            | DifferenceKind::Changed => Impact::Compatible,
        }
    }
}

/// One difference between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The kind.
    pub kind: DifferenceKind,
    /// The member: `inputSchema.limit.maximum`. Empty for the definition as a whole.
    pub path: String,
    /// The old value, JSON.
    pub before: Option<String>,
    /// The new value, JSON.
    pub after: Option<String>,
}

/// What changed of one definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The server.
    pub server: ServerId,
    /// What is defined.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// When the new version was listed first, in milliseconds since the Unix epoch; when it was listed last for one that is gone.
    pub at_ms: u64,
    /// Whether the user accepted the new version.
    pub accepted: bool,
    /// The differences; never empty.
    pub differences: Vec<Difference>,
}

impl Change {
    /// Returns the worst impact.
    pub fn impact(&self) -> Impact {
        self.differences.iter().map(|difference| difference.kind.impact()).max().unwrap_or(Impact::Compatible)
    }
}

/// Which changes are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Current versions against the last accepted ones.
    Accepted,
    /// Each version against the one before it.
    Previous,
}

/// Returns what changed, oldest first. `versions` are in the order in which they were seen.
pub fn changes(versions: &[DefinitionVersion], baseline: Baseline) -> Vec<Change> {
    let mut seen: Vec<(&ServerId, DefinitionKind, &str)> = vec![];
    let mut found = vec![];
    for version in versions {
        let key = (&version.server, version.kind, &*version.name);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let all: Vec<&DefinitionVersion> = versions.iter().filter(|other| (&other.server, other.kind, &*other.name) == key).collect();
        found.extend(changes_of(&all, baseline));
    }
    found.sort_by_key(|change| change.at_ms);
    found
}

/// Returns the changes of one definition.
fn changes_of(versions: &[&DefinitionVersion], baseline: Baseline) -> Vec<Change> {
    let Some(last) = versions.last() else { return vec![] };
    let change = |version: &DefinitionVersion, at_ms, differences| Change {
        server: version.server.clone(),
        kind: version.kind,
        name: version.name.clone(),
        at_ms,
        accepted: version.accepted,
        differences,
    };
    let whole = |kind| vec![Difference { kind, path: String::new(), before: None, after: None }];
    let mut found = vec![];
    match baseline {
        Baseline::Previous => {
            // What was not accepted came after the first contact.
            if let Some(first) = versions.first().filter(|first| !first.accepted) {
                found.push(change(first, first.first_ms, whole(DifferenceKind::Added)));
            }
            for pair in versions.windows(2) {
                found.push(change(pair[1], pair[1].first_ms, compare(pair[1].kind, &pair[0].definition, &pair[1].definition)));
            }
        }
        Baseline::Accepted => match versions.iter().rev().find(|version| version.accepted) {
            None => found.push(change(last, last.first_ms, whole(DifferenceKind::Added))),
            Some(accepted) if accepted.definition != last.definition => {
                found.push(change(last, last.first_ms, compare(last.kind, &accepted.definition, &last.definition)));
            }
            Some(_) => {}
        },
    }
    if last.last_ms < last.listed_ms {
        // One that came and went needs no attention.
        found.retain(|_| baseline == Baseline::Previous);
        if baseline == Baseline::Previous || versions.iter().any(|version| version.accepted) {
            found.push(change(last, last.last_ms, whole(DifferenceKind::Removed)));
        }
    }
    found.retain(|change| !change.differences.is_empty());
    found
}

/// Returns the differences between two versions of a definition.
pub fn compare(kind: DefinitionKind, before: &Body, after: &Body) -> Vec<Difference> {
    let read = |body: &Body| Json::parse(&body.text()).unwrap_or(Json::Null);
    let (before, after) = (read(before), read(after));
    let mut found = Found::default();
    match kind {
        DefinitionKind::Tool => {
            found.input("inputSchema", before.get("inputSchema"), after.get("inputSchema"));
            found.output("outputSchema", before.get("outputSchema"), after.get("outputSchema"));
            found.annotations(before.get("annotations"), after.get("annotations"));
            found.rest(&before, &after, &["inputSchema", "outputSchema", "annotations"]);
        }
        DefinitionKind::Prompt => {
            found.prompt_arguments(before.get("arguments"), after.get("arguments"));
            found.rest(&before, &after, &["arguments"]);
        }
        DefinitionKind::Template | DefinitionKind::Server => found.rest(&before, &after, &[]),
        DefinitionKind::Instructions => found.push(DifferenceKind::Changed, "", Some(&before), Some(&after)),
    }
    found.0
}

/// The differences found so far.
#[derive(Default)]
struct Found(Vec<Difference>);

/// Limits of which a larger one admits more values.
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Limits of which a smaller one admits more values.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
/// Members of a schema that are for people.
const TEXTS: [&str; 5] = ["title", "description", "examples", "default", "$comment"];
/// Deepest level of a schema that is compared member by member.
const DEPTH: usize = 16;

impl Found {
    fn push(&mut self, kind: DifferenceKind, path: &str, before: Option<&Json>, after: Option<&Json>) {
        if before != after {
            let text = |json: Option<&Json>| json.map(Json::text);
            self.0.push(Difference { kind, path: path.to_owned(), before: text(before), after: text(after) });
        }
    }

    /// Compares the members that nothing else compares.
    fn rest(&mut self, before: &Json, after: &Json, compared: &[&str]) {
        let keys: BTreeSet<&str> = before.members().iter().chain(after.members()).map(|(key, _)| &**key).collect();
        for key in keys.into_iter().filter(|key| !compared.contains(key)) {
            self.push(DifferenceKind::Changed, key, before.get(key), after.get(key));
        }
    }

    fn input(&mut self, path: &str, before: Option<&Json>, after: Option<&Json>) {
        self.schema(path, before, after, Direction::Input, 0);
    }

    fn output(&mut self, path: &str, before: Option<&Json>, after: Option<&Json>) {
        match (before, after) {
            (Some(_), Some(_)) => self.schema(path, before, after, Direction::Output, 0),
            (Some(_), None) => self.push(DifferenceKind::ResultRemoved, path, before, after),
            (None, _) => self.push(DifferenceKind::ResultAdded, path, before, after),
        }
    }

    fn schema(&mut self, path: &str, before: Option<&Json>, after: Option<&Json>, direction: Direction, depth: usize) {
        let (narrowed, widened) = direction.kinds();
        let (Some(before), Some(after)) = (before, after) else {
            // A missing schema admits everything.
            let kind = if after.is_some() { narrowed } else { widened };
            return self.push(kind, path, before, after);
        };
        if depth > DEPTH {
            return self.push(narrowed, path, Some(before), Some(after));
        }
        let at = |key: &str| format!("{path}.{key}");
        self.types(path, before, after, direction);
        self.values(&at("enum"), values(before), values(after), direction);
        for (limits, larger_admits_more) in [(UPPER, true), (LOWER, false)] {
            for key in limits {
                self.limit(&at(key), (before.get(key), after.get(key)), larger_admits_more, direction);
            }
        }
        let closed = |schema: &Json| matches!(schema.get("additionalProperties"), Some(Json::Bool(false)));
        let (was, is) = (before.get("additionalProperties"), after.get("additionalProperties"));
        self.push(if closed(after) { narrowed } else { widened }, &at("additionalProperties"), was, is);
        self.required(path, before, after, direction);
        self.properties(path, before, after, direction, depth);
        if before.get("items").is_some() || after.get("items").is_some() {
            self.schema(&at("items"), before.get("items"), after.get("items"), direction, depth + 1);
        }
        let compared = ["type", "enum", "const", "additionalProperties", "required", "properties", "items"];
        let keys: BTreeSet<&str> = before.members().iter().chain(after.members()).map(|(key, _)| &**key).collect();
        for key in keys.into_iter().filter(|key| ![&compared[..], &UPPER, &LOWER].concat().contains(key)) {
            let (was, is) = (before.get(key), after.get(key));
            let kind = match (TEXTS.contains(&key) || key.starts_with("x-"), is) {
                (true, _) => DifferenceKind::Changed,
                // A keyword that is not evaluated here: without it more values are valid.
                (false, None) => widened,
                (false, Some(_)) => narrowed,
            };
            self.push(kind, &at(key), was, is);
        }
    }

    fn types(&mut self, path: &str, before: &Json, after: &Json, direction: Direction) {
        let (narrowed, widened) = direction.kinds();
        let (was, is) = (types(before), types(after));
        let covers = |outer: &Option<BTreeSet<String>>, inner: &Option<BTreeSet<String>>| match (outer, inner) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(outer), Some(inner)) => inner.iter().all(|one| outer.contains(one) || (one == "integer" && outer.contains("number"))),
        };
        let kind = if covers(&is, &was) { widened } else { narrowed };
        self.push(kind, &format!("{path}.type"), before.get("type"), after.get("type"));
    }

    fn values(&mut self, path: &str, before: Option<Vec<&Json>>, after: Option<Vec<&Json>>, direction: Direction) {
        let (narrowed, widened) = direction.kinds();
        let list = |values: &Option<Vec<&Json>>| values.as_ref().map(|all| Json::Array(all.iter().map(|one| (*one).clone()).collect()));
        let (was, is) = (list(&before), list(&after));
        let kind = match (before, after) {
            (_, None) => widened,
            (None, Some(_)) => narrowed,
            (Some(before), Some(after)) => {
                if before.iter().all(|one| after.contains(one)) {
                    widened
                } else {
                    narrowed
                }
            }
        };
        self.push(kind, path, was.as_ref(), is.as_ref());
    }

    fn limit(&mut self, path: &str, (before, after): (Option<&Json>, Option<&Json>), larger_admits_more: bool, direction: Direction) {
        let (narrowed, widened) = direction.kinds();
        let number = |json: Option<&Json>| match json {
            Some(Json::Number(text)) => text.parse::<f64>().ok(),
            _ => None,
        };
        let kind = match (number(before), number(after)) {
            (_, None) => widened,
            (Some(before), Some(after)) if (after >= before) == larger_admits_more => widened,
            _ => narrowed,
        };
        self.push(kind, path, before, after);
    }

    fn required(&mut self, path: &str, before: &Json, after: &Json, direction: Direction) {
        let names = |schema: &Json| -> BTreeSet<String> {
            schema.get("required").map_or(&[][..], Json::items).iter().filter_map(Json::str).map(str::to_owned).collect()
        };
        let (was, is) = (names(before), names(after));
        let (added, removed) = match direction {
            Direction::Input => (DifferenceKind::RequiredAdded, DifferenceKind::RequiredRemoved),
            Direction::Output => (DifferenceKind::ResultAdded, DifferenceKind::ResultRemoved),
        };
        let (yes, no) = (Json::Bool(true), Json::Bool(false));
        for name in is.difference(&was) {
            self.push(added, &format!("{path}.{name}"), Some(&no), Some(&yes));
        }
        for name in was.difference(&is) {
            // A member that is gone is reported as such.
            let gone = after.get("properties").is_none_or(|properties| properties.get(name).is_none());
            if !gone {
                self.push(removed, &format!("{path}.{name}"), Some(&yes), Some(&no));
            }
        }
    }

    fn properties(&mut self, path: &str, before: &Json, after: &Json, direction: Direction, depth: usize) {
        let none = Json::Object(vec![]);
        let (was, is) = (before.get("properties").unwrap_or(&none), after.get("properties").unwrap_or(&none));
        let (added, removed) = match direction {
            Direction::Input => (DifferenceKind::ArgumentAdded, DifferenceKind::ArgumentRemoved),
            Direction::Output => (DifferenceKind::ResultAdded, DifferenceKind::ResultRemoved),
        };
        let keys: BTreeSet<&str> = was.members().iter().chain(is.members()).map(|(key, _)| &**key).collect();
        for key in keys {
            let place = format!("{path}.{key}");
            match (was.get(key), is.get(key)) {
                (Some(old), Some(new)) => self.schema(&place, Some(old), Some(new), direction, depth + 1),
                (old, new) => self.push(if new.is_some() { added } else { removed }, &place, old, new),
            }
        }
    }

    fn prompt_arguments(&mut self, before: Option<&Json>, after: Option<&Json>) {
        let arguments = |list: Option<&'_ Json>| -> Vec<(String, Json)> {
            let items = list.map_or(&[][..], Json::items);
            items.iter().filter_map(|item| Some((item.get("name")?.str()?.to_owned(), item.clone()))).collect()
        };
        let (was, is) = (arguments(before), arguments(after));
        let find = |all: &[(String, Json)], name: &str| all.iter().find(|(other, _)| other == name).map(|(_, item)| item.clone());
        let required = |item: &Json| matches!(item.get("required"), Some(Json::Bool(true)));
        let names: BTreeSet<&String> = was.iter().chain(&is).map(|(name, _)| name).collect();
        for name in names {
            let path = format!("arguments.{name}");
            let kind = match (find(&was, name), find(&is, name)) {
                (Some(_), None) => DifferenceKind::ArgumentRemoved,
                (None, Some(new)) if !required(&new) => DifferenceKind::ArgumentAdded,
                (None, _) => DifferenceKind::RequiredAdded,
                (Some(old), Some(new)) => match (required(&old), required(&new)) {
                    (false, true) => DifferenceKind::RequiredAdded,
                    (true, false) => DifferenceKind::RequiredRemoved,
                    _ => DifferenceKind::Changed,
                },
            };
            self.push(kind, &path, find(&was, name).as_ref(), find(&is, name).as_ref());
        }
    }

    /// Compares the annotations of a tool by their effective values (MCP, `ToolAnnotations`).
    fn annotations(&mut self, before: Option<&Json>, after: Option<&Json>) {
        let value = |annotations: Option<&Json>, key: &str| annotations.and_then(|all| all.get(key)).cloned();
        // The name, the default, and the value that promises more.
        let hints = [
            ("readOnlyHint", false, true),
            ("destructiveHint", true, false),
            ("idempotentHint", false, true),
            ("openWorldHint", true, false),
        ];
        for (key, default, promise) in hints {
            let (was, is) = (value(before, key), value(after, key));
            let effective = |json: &Option<Json>| if let Some(Json::Bool(set)) = json { *set } else { default };
            let kind = match (effective(&was) == promise, effective(&is) == promise) {
                (true, false) => DifferenceKind::AnnotationWeakened,
                (false, true) => DifferenceKind::AnnotationStrengthened,
                _ => DifferenceKind::Changed,
            };
            self.push(kind, &format!("annotations.{key}"), was.as_ref(), is.as_ref());
        }
        let none = Json::Object(vec![]);
        let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
        let known = hints.map(|(key, ..)| key);
        let keys: BTreeSet<&str> = before.members().iter().chain(after.members()).map(|(key, _)| &**key).collect();
        for key in keys.into_iter().filter(|key| !known.contains(key)) {
            self.push(DifferenceKind::Changed, &format!("annotations.{key}"), before.get(key), after.get(key));
        }
    }
}

/// Whether a schema describes what is sent to the server or what it answers.
#[derive(Clone, Copy)]
enum Direction {
    Input,
    Output,
}

impl Direction {
    /// Returns what fewer and what more valid values are.
    fn kinds(self) -> (DifferenceKind, DifferenceKind) {
        match self {
            Direction::Input => (DifferenceKind::Narrowed, DifferenceKind::Widened),
            // A reader of results can read fewer of them.
            Direction::Output => (DifferenceKind::ResultAdded, DifferenceKind::ResultChanged),
        }
    }
}

/// Returns the types that a schema admits; `None` for all.
fn types(schema: &Json) -> Option<BTreeSet<String>> {
    let of = |json: &Json| json.str().map(str::to_owned);
    match schema.get("type")? {
        Json::Array(all) => Some(all.iter().filter_map(of).collect()),
        one => of(one).map(|one| BTreeSet::from([one])),
    }
}

/// Returns the values of `enum` or `const`.
fn values(schema: &Json) -> Option<Vec<&Json>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(all)) => Some(all.items().iter().collect()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;

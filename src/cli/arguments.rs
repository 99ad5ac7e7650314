//! Arguments of the command line: converts `key=value`, `key:=json` and `--args` into the JSON object of the request.
//!
//! The tool's schema decides the type of `key=value`. The text of numbers is preserved.

use std::collections::BTreeSet;

use serde_json::{Value, value::RawValue};

use super::json::{self, Node};
use crate::domain::{
    body::Body,
    call::ArgumentCheck,
    json::Json as DomainJson,
    schema::{self, Checker},
};

/// Depth to which references and combined schemas are followed.
const DEEPEST: usize = 16;
/// Most subschemas visited for one argument: combined schemas multiply.
const MOST_SUBSCHEMAS: usize = 10_000;

/// Builds the arguments object: `base` (a JSON object) overlaid by `assignments`. Fails with all errors. Without `check`, a
/// `key=value` that the schema cannot decide is a string.
pub fn build(base: Option<&str>, assignments: &[String], schema: &Body, check: ArgumentCheck) -> Result<Body, Vec<String>> {
    let root = schema::readable(schema);
    let base = match base {
        Some(text) => match RawValue::from_string(text.trim().to_owned()).and_then(|raw| json::fields(raw.get()).map(|_| raw)) {
            Ok(raw) => Some(raw),
            Err(error) => {
                let error = DomainJson::parse(text).map_or_else(|syntax| syntax.to_string(), |_| error.to_string());
                return Err(vec![format!("--args is not a JSON object: {error}")]);
            }
        },
        None => None,
    };
    let mut problems = Vec::new();
    let mut given: Vec<Assigned> = Vec::new();
    for group in grouped(&root, assignments, &mut problems) {
        match group.read(&root, check) {
            Ok(assigned) => given.push(assigned),
            Err(problem) => problems.push(problem),
        }
    }
    let mut made = compose(base.as_deref(), &given, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    // Where only other arguments decide the type (`if`, `anyOf`), the schema is asked.
    if given.iter().any(|assigned| assigned.other.is_some()) {
        let checker = Checker::quick(schema);
        let wrong = |body: &Body| body.value().and_then(|value| checker.glance(&value).ok()).map_or(0, |found| found.len());
        let mut least = wrong(&made);
        for at in 0..given.len().min(MOST_TRIED) {
            if least == 0 {
                break;
            }
            let Some(other) = given[at].other.clone() else { continue };
            let before = std::mem::replace(&mut given[at].value, other);
            let tried = compose(base.as_deref(), &given, &mut vec![]);
            let found = wrong(&tried);
            if found < least {
                (least, made) = (found, tried);
            } else {
                given[at].value = before;
            }
        }
    }
    Ok(made)
}

/// Most arguments whose type is found by validation.
const MOST_TRIED: usize = 16;

/// A value at a path.
struct Assigned {
    path: Vec<String>,
    value: Box<RawValue>,
    /// Another reading of the text that the schema allows too.
    other: Option<Box<RawValue>>,
}

/// The assignments to one path, in order.
struct Group {
    key: String,
    path: Vec<String>,
    /// Each text, and whether it is JSON (`:=`).
    texts: Vec<(String, bool)>,
}

/// Groups assignments by path. Several `key=value` of one path are the items of a list.
fn grouped(root: &Value, assignments: &[String], problems: &mut Vec<String>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for assignment in assignments {
        let (key, path, text, raw) = match split(root, assignment) {
            Ok(parts) => parts,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let before = groups.iter_mut().find(|group| group.path.starts_with(&path) || path.starts_with(&group.path));
        match before {
            Some(group) if group.path == path => group.texts.push((text, raw)),
            Some(group) => problems.push(format!("{}: contradicts {}", path.join("."), group.path.join("."))),
            None => groups.push(Group { key, path, texts: vec![(text, raw)] }),
        }
    }
    groups
}

/// Overlays `base` by the assignments.
fn compose(base: Option<&RawValue>, given: &[Assigned], problems: &mut Vec<String>) -> Body {
    let mut node = base.map_or_else(|| Node::Object(vec![]), |raw| Node::Raw(raw.to_owned()));
    for assigned in given {
        if node.set(&assigned.path, assigned.value.clone()).is_err() {
            problems.push(format!("{}: a part of this path is not an object in --args", assigned.path.join(".")));
        }
    }
    Body::from(node.text())
}

/// Validates `arguments` against `schema`. Returns all violations, and what could not be validated. May take a second: call it
/// on a blocking thread.
pub fn check(schema: &Body, arguments: &Body) -> (Vec<String>, Vec<String>) {
    let value: Value = match arguments.parse() {
        Ok(value) => value,
        Err(error) => return (vec![format!("the arguments cannot be read: {error}")], vec![]),
    };
    let checker = Checker::new(schema);
    match checker.judge(&value) {
        Ok(wrong) => (wrong.iter().map(ToString::to_string).collect(), checker.warnings()),
        Err(dear) => (vec![], vec![dear.to_string()]),
    }
}

/// Splits `key=value` pairs for prompts, whose arguments are strings.
pub fn strings(assignments: &[String]) -> Result<Vec<(String, String)>, Vec<String>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut problems = Vec::new();
    for assignment in assignments {
        match assignment.split_once('=') {
            Some((key, _)) if pairs.iter().any(|(k, _)| k == key) => problems.push(format!("{key}: is set twice")),
            Some((key, value)) if !key.is_empty() => pairs.push((key.to_owned(), value.to_owned())),
            _ => problems.push(format!("{assignment:?}: expected key=value")),
        }
    }
    if problems.is_empty() { Ok(pairs) } else { Err(problems) }
}

/// Splits an assignment into key, path, text, and whether the text is JSON.
fn split(root: &Value, assignment: &str) -> Result<(String, Vec<String>, String, bool), String> {
    let wrong = || format!("{assignment:?}: expected key=value or key:=json");
    let (key, text) = assignment.split_once('=').ok_or_else(wrong)?;
    let (key, raw) = key.strip_suffix(':').map_or((key, false), |key| (key, true));
    if key.is_empty() {
        return Err(wrong());
    }
    let path = split_path(root, key).ok_or_else(|| format!("{assignment:?}: the path has an empty part; write a dot in a name as \\."))?;
    Ok((key.to_owned(), path, text.to_owned(), raw))
}

impl Group {
    fn read(self, root: &Value, check: ArgumentCheck) -> Result<Assigned, String> {
        let Group { key, path, texts } = self;
        let parse = |text: &str| {
            RawValue::from_string(text.to_owned()).map_err(|error| {
                let error = DomainJson::parse(text).map_or_else(|syntax| syntax.to_string(), |_| error.to_string());
                format!("{key}: {text:?} is not JSON: {error}; write text as {key}={}", shell(text))
            })
        };
        let allowed = path.iter().try_fold(vec![root], |schemas, part| {
            let mut found = vec![];
            schemas.iter().for_each(|schema| properties(root, schema, part, 0, &mut { MOST_SUBSCHEMAS }, &mut found));
            (!found.is_empty()).then_some(found)
        });
        let target = Target::new(root, allowed.unwrap_or_default());
        let (value, other) = match texts.as_slice() {
            [(text, true)] => (parse(text)?, None),
            [(text, false)] => match target.convert(text, &key) {
                Err(_) if !check.is_enforced() => (quoted(text)?, None),
                converted => converted.map_err(|why| format!("{key}: {why}"))?,
            },
            // Repeated: a list.
            several if target.list() || (!check.is_enforced() && !target.known()) => {
                let mut items = vec![];
                for (at, (text, raw)) in several.iter().enumerate() {
                    let item = match raw {
                        true => parse(text)?,
                        false => match target.item(at).convert(text, &key) {
                            Err(_) if !check.is_enforced() => quoted(text)?,
                            converted => converted.map_err(|why| format!("{key}: {why}"))?.0,
                        },
                    };
                    items.push(item.get().to_owned());
                }
                (raw_of(format!("[{}]", items.join(",")))?, None)
            }
            _ => return Err(format!("{}: is set twice, and the schema expects no list", path.join("."))),
        };
        Ok(Assigned { path, value, other })
    }
}

/// Splits a path into its parts. A property with exactly this name, dots included, takes precedence.
fn split_path(root: &Value, key: &str) -> Option<Vec<String>> {
    if named(root, key) {
        return Some(vec![key.to_owned()]);
    }
    let mut parts = vec![String::new()];
    let mut chars = key.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.as_str().starts_with('.') => {
                chars.next();
                parts.last_mut()?.push('.');
            }
            '.' => parts.push(String::new()),
            c => parts.last_mut()?.push(c),
        }
    }
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

fn named(root: &Value, key: &str) -> bool {
    resolve(root, root, 0).get("properties").and_then(|p| p.get(key)).is_some()
}

/// Collects the schemas of a member: of `properties` and `patternProperties`, else `additionalProperties`, in the schema and
/// those that it combines, conditions included.
fn properties<'a>(root: &'a Value, schema: &'a Value, key: &str, depth: usize, left: &mut usize, out: &mut Vec<&'a Value>) {
    let Some(fewer) = left.checked_sub(1).filter(|_| depth <= DEEPEST) else { return };
    *left = fewer;
    let schema = resolve(root, schema, 0);
    let before = out.len();
    out.extend(schema.get("properties").and_then(|members| members.get(key)));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    out.extend(patterns.into_iter().flatten().filter(|(pattern, _)| schema::matches(pattern, key)).map(|(_, schema)| schema));
    let own = out.len() > before;
    let lists = ["allOf", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    let conditions = ["then", "else"].iter().filter_map(|keyword| schema.get(keyword));
    let dependent = schema.get("dependentSchemas").and_then(Value::as_object).into_iter().flatten().map(|(_, schema)| schema);
    for part in lists.chain(conditions).chain(dependent) {
        properties(root, part, key, depth + 1, left, out);
    }
    if !own && out.len() == before {
        let others = ["additionalProperties", "unevaluatedProperties"].iter().find_map(|keyword| schema.get(keyword));
        out.extend(others.filter(|others| others.is_object()));
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value, depth: usize) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')).and_then(|pointer| root.pointer(pointer)) {
        Some(found) if depth < DEEPEST => resolve(root, found, depth + 1),
        _ => schema,
    }
}

/// Collects the JSON types that a schema allows; empty when it does not declare any.
fn types(root: &Value, schema: &Value, depth: usize, out: &mut BTreeSet<String>, left: &mut usize) {
    let Some(fewer) = left.checked_sub(1) else { return };
    *left = fewer;
    let schema = resolve(root, schema, 0);
    match schema.get("type") {
        Some(Value::String(one)) => {
            out.insert(one.clone());
        }
        Some(Value::Array(several)) => out.extend(several.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {
            let values = schema.get("const").into_iter().chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
            out.extend(values.map(|value| type_of(value).to_owned()));
            if depth < DEEPEST {
                for part in ["anyOf", "oneOf", "allOf"].iter().filter_map(|k| schema.get(k)?.as_array()).flatten() {
                    types(root, part, depth + 1, out, left);
                }
            }
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What the schema allows at one path.
struct Target<'a> {
    root: &'a Value,
    schemas: Vec<&'a Value>,
    /// The JSON types; empty when the schema declares none.
    types: BTreeSet<String>,
}

impl<'a> Target<'a> {
    fn new(root: &'a Value, schemas: Vec<&'a Value>) -> Target<'a> {
        let mut allowed = BTreeSet::new();
        schemas.iter().for_each(|schema| types(root, schema, 0, &mut allowed, &mut { MOST_SUBSCHEMAS }));
        Target { root, schemas, types: allowed }
    }

    fn allows(&self, kind: &str) -> bool {
        self.types.contains(kind)
    }

    /// Returns whether the schema declares types.
    fn known(&self) -> bool {
        !self.types.is_empty()
    }

    fn list(&self) -> bool {
        self.allows("array")
    }

    /// Returns what is allowed for an item of the list.
    fn item(&self, at: usize) -> Target<'a> {
        let mut found = vec![];
        for schema in &self.schemas {
            items(self.root, schema, at, 0, &mut { MOST_SUBSCHEMAS }, &mut found);
        }
        Target::new(self.root, found)
    }

    /// Converts the text of `key=text`. Returns another reading too, if the schema allows one.
    fn convert(&self, text: &str, key: &str) -> Result<(Box<RawValue>, Option<Box<RawValue>>), String> {
        let raw = RawValue::from_string(text.to_owned()).ok().filter(|raw| {
            let number = self.allows("integer") || self.allows("number");
            match raw.get().as_bytes().first() {
                Some(b'-' | b'0'..=b'9') => number,
                Some(b't' | b'f') => self.allows("boolean"),
                Some(b'n') => self.allows("null"),
                Some(b'[') => self.allows("array"),
                Some(b'{') => self.allows("object"),
                _ => false,
            }
        });
        if self.types.is_empty() || self.allows("string") {
            return Ok((quoted(text)?, raw.filter(|_| !text.is_empty() && text != "null")));
        }
        if let Some(raw) = raw {
            return Ok((raw, None));
        }
        match self.list().then(|| self.one_text_list(text, key)) {
            Some(Ok(list)) => Ok((list, None)),
            Some(Err(Some(why))) => Err(why),
            _ => Err(self.refusal(text, key)),
        }
    }

    /// Reads a text as a list where only one reading is possible: one item, or items that hold no comma. Fails with a reason
    /// where there are two readings.
    fn one_text_list(&self, text: &str, key: &str) -> Result<Box<RawValue>, Option<String>> {
        if text.is_empty() || text.starts_with(['[', '{']) {
            return Err(None);
        }
        let parts: Vec<&str> = text.split(',').collect();
        let convert = |parts: &[&str]| {
            let items: Option<Vec<String>> =
                parts.iter().enumerate().map(|(at, part)| Some(self.item(at).convert(part.trim(), key).ok()?.0.get().to_owned())).collect();
            items.and_then(|items| raw_of(format!("[{}]", items.join(","))).ok())
        };
        if parts.len() == 1 {
            return convert(&[text]).ok_or(None);
        }
        let first = self.item(0);
        let text_items = first.types.is_empty() || first.allows("string");
        let chosen = |part: &str| first.values().is_some_and(|values| values.iter().any(|value| value == part.trim()));
        if !text_items || parts.iter().all(|part| chosen(part)) {
            return convert(&parts).ok_or(None);
        }
        let repeated: Vec<String> = parts.iter().take(3).map(|part| format!("{key}={}", shell(part.trim()))).collect();
        Err(Some(format!(
            "{text:?} may be one item or {}: write {} or {key}:={}",
            parts.len(),
            repeated.join(" "),
            shell(&Value::from(vec![text]).to_string())
        )))
    }

    /// Returns the strings that are allowed, if the schema lists them.
    fn values(&self) -> Option<Vec<String>> {
        let lists = self.schemas.iter().map(|schema| resolve(self.root, schema, 0).get("enum").and_then(Value::as_array));
        let all: Option<Vec<&Vec<Value>>> = lists.collect();
        let all = all.filter(|all| !all.is_empty())?;
        Some(all.into_iter().flatten().filter_map(|value| Some(value.as_str()?.to_owned())).collect())
    }

    /// Explains what is expected, with a form that works.
    fn refusal(&self, text: &str, key: &str) -> String {
        let wanted: Vec<&str> = self.types.iter().map(|t| words(t)).collect();
        format!("expected {}, got {text:?}; write {}", wanted.join(" or "), self.example(text, key))
    }

    fn example(&self, text: &str, key: &str) -> String {
        let kind = ["array", "object", "boolean", "integer", "number", "null"].into_iter().find(|kind| self.allows(kind));
        match kind {
            Some("array") => {
                let one = self.item(0).sample();
                let json = if one.starts_with('{') { one.clone() } else { json_sample(&one, &self.item(0)) };
                if text.is_empty() {
                    format!("{key}:=[] for an empty list")
                } else if one.starts_with('{') {
                    format!("{key}:={}", shell(&format!("[{json}]")))
                } else {
                    format!("{key}={one} for each item, or {key}:={}", shell(&format!("[{json}]")))
                }
            }
            Some("object") => match self.member() {
                Some((name, value)) => format!("{key}.{name}={value}, or {key}:={}", shell("{…}")),
                None => format!("{key}:={}", shell("{\"name\":\"value\"}")),
            },
            Some("boolean") => {
                let yes = matches!(text.to_lowercase().as_str(), "true" | "yes" | "y" | "on" | "1");
                let no = matches!(text.to_lowercase().as_str(), "false" | "no" | "n" | "off" | "0");
                match (yes, no) {
                    (true, _) => format!("{key}=true"),
                    (_, true) => format!("{key}=false"),
                    _ => format!("{key}=true or {key}=false"),
                }
            }
            Some("integer" | "number") => format!("{key}={}", self.sample()),
            _ => format!("{key}:=null"),
        }
    }

    /// Returns the name and a value of the first member of an object.
    fn member(&self) -> Option<(String, String)> {
        let schema = self.schemas.iter().map(|schema| resolve(self.root, schema, 0)).find(|schema| schema.get("properties").is_some())?;
        let (name, member) = schema.get("properties")?.as_object()?.iter().next()?;
        Some((name.replace('.', "\\."), Target::new(self.root, vec![member]).sample()))
    }

    /// Returns a text that the schema may allow.
    fn sample(&self) -> String {
        if let Some(value) = self.values().and_then(|values| values.into_iter().next()) {
            return shell(&value);
        }
        let bound = |key: &str| self.schemas.iter().find_map(|schema| resolve(self.root, schema, 0).get(key)?.as_i64());
        match () {
            () if self.types.is_empty() || self.allows("string") => "text".into(),
            () if self.allows("integer") || self.allows("number") => bound("minimum").or(bound("maximum")).unwrap_or(1).to_string(),
            () if self.allows("boolean") => "true".into(),
            () if self.allows("object") => "{…}".into(),
            () => "null".into(),
        }
    }
}

fn json_sample(text: &str, item: &Target<'_>) -> String {
    if item.types.is_empty() || item.allows("string") { Value::from(text.trim_matches('\'')).to_string() } else { text.to_owned() }
}

/// Collects the schemas of the item at a position.
fn items<'a>(root: &'a Value, schema: &'a Value, at: usize, depth: usize, left: &mut usize, out: &mut Vec<&'a Value>) {
    let Some(fewer) = left.checked_sub(1).filter(|_| depth <= DEEPEST) else { return };
    *left = fewer;
    let schema = resolve(root, schema, 0);
    let first = schema.get("prefixItems").and_then(Value::as_array).and_then(|list| list.get(at));
    out.extend(first.or_else(|| schema.get("items").filter(|items| items.is_object())));
    for part in ["allOf", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten() {
        items(root, part, at, depth + 1, left, out);
    }
}

/// Quotes a text for a POSIX shell where needed.
fn shell(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./:@%+,=".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn raw_of(text: String) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text).map_err(|error| error.to_string())
}

fn quoted(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(json::string(text)).map_err(|error| error.to_string())
}

fn words(kind: &str) -> &str {
    match kind {
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests;

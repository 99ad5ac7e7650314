//! The form's view of a schema: references resolved, `allOf` merged, alternatives listed.
//!
//! Used by [`super::build`] only. It may be approximate, because the [`super::super::schema::Checker`] validates the
//! arguments against the schema itself. Anything else becomes [`Shape::Any`].

use std::collections::{HashMap, HashSet};

use crate::domain::{
    json::Json,
    schema::{matches, meaning, unpercent},
};

/// Maximum number of subschemas merged for one position: references can multiply.
const PARTS: usize = 400;
/// Maximum number of JSON values copied for one position.
const COPIED: usize = 100_000;
/// Maximum number of conditional schemas for members of one name.
const SAME: usize = 100;
/// Maximum number of comparisons between two lists.
const COMPARED: usize = 1_000_000;
/// Maximum number of references that are followed to find an enumeration.
const HOPS: usize = 8;

/// The remaining budget of one position.
struct Budget {
    parts: usize,
    values: usize,
}

impl Budget {
    const WHOLE: Budget = Budget { parts: PARTS, values: COPIED };

    /// Spends the cost of one more subschema.
    fn part(&mut self) -> Option<()> {
        self.parts = self.parts.checked_sub(1)?;
        Some(())
    }

    /// Spends the cost of reading or copying `value`. If it exceeds the rest, nothing remains.
    fn read(&mut self, value: &Json) -> Option<()> {
        let left = self.values.checked_sub(value.size(self.values + 1));
        self.values = left.unwrap_or(0);
        left.map(drop)
    }

    fn spent(&self) -> bool {
        self.parts == 0 || self.values == 0
    }
}

/// The shape of one position, with its annotations.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kind of value allowed.
    pub shape: Shape,
    /// Whether `null` is allowed too.
    pub nullable: bool,
    /// All keywords, merged.
    pub schema: Json,
    /// Cost of deriving the shape, in JSON values.
    pub cost: usize,
}

impl Place {
    /// Returns an unconstrained position.
    pub fn any() -> Place {
        Place { shape: Shape::Any, nullable: false, schema: Json::Bool(true), cost: 0 }
    }
}

/// The schemas of undeclared members of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Others {
    /// Regular expressions for names, each with the schema of such members.
    patterns: Vec<(String, Json)>,
    /// The schema of all other members; `false` if there may be none.
    rest: Json,
}

impl Others {
    /// Returns whether any undeclared members are allowed.
    pub fn any(&self) -> bool {
        self.rest != Json::Bool(false) || self.patterns.iter().any(|(_, schema)| *schema != Json::Bool(false))
    }

    /// Returns the schema of the member `key`; `None` if the name is not allowed.
    pub fn of(&self, key: &str) -> Option<Json> {
        let mut schemas: Vec<&Json> = self.patterns.iter().filter(|(pattern, _)| matches(pattern, key)).map(|(_, schema)| schema).collect();
        let schema = match schemas.len() {
            0 => self.rest.clone(),
            1 => schemas.remove(0).clone(),
            _ => Json::Object(vec![("allOf".into(), Json::Array(schemas.into_iter().cloned().collect()))]),
        };
        (schema != Json::Bool(false)).then_some(schema)
    }
}

/// The kind of value at a position.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A string.
    Text,
    /// A number, or an integer.
    Number {
        /// Whether only integers are allowed.
        integer: bool,
    },
    /// A boolean.
    Bool,
    /// One of these values, each with its label.
    Choice(Vec<(String, Json)>),
    /// This value only.
    Const(Json),
    /// An object.
    Object {
        /// Declared members, in schema order.
        properties: Vec<(String, Json)>,
        /// Names of the required members.
        required: Vec<String>,
        /// Schemas of undeclared members, by name pattern.
        others: Others,
    },
    /// An array.
    Array {
        /// Schemas of the first items.
        prefix: Vec<Json>,
        /// Schema of the other items; `None` if there may be none.
        items: Option<Json>,
    },
    /// One of these alternatives, each with its label.
    Union(Vec<(String, Json)>),
    /// Any value: a field for JSON text.
    Any,
}

type Keywords = Vec<(String, Json)>;

/// Derives the shape of `schema`; references resolve in `root`.
pub fn place(schema: &Json, root: &Json) -> Place {
    let mut budget = Budget::WHOLE;
    let Some(mut keywords) = flat(schema, root, &mut budget) else {
        // A schema that is too large to read is not copied either.
        let schema = if budget.spent() { Json::Bool(true) } else { schema.clone() };
        return Place { shape: Shape::Any, nullable: false, schema, cost: COPIED - budget.values };
    };
    let mut nullable = find(&keywords, "nullable") == Some(&Json::Bool(true));
    let mut hops = 0;
    while let Some((keyword, alternatives)) = alternatives(&keywords) {
        // An unknown alternative can still be entered as JSON.
        let known = |a: &Json, budget: &mut Budget| (a.clone(), flat(a, root, budget).unwrap_or_default());
        let resolved: Vec<(Json, Keywords)> =
            alternatives.iter().filter(|a| **a != Json::Bool(false)).map(|a| known(a, &mut budget)).collect();
        let some: Vec<&(Json, Keywords)> = resolved.iter().filter(|(_, k)| !is_null(k)).collect();
        nullable |= some.len() < resolved.len();
        if let Some(options) = constants(&some) {
            let nullable = nullable && !options.iter().any(|(_, v)| *v == Json::Null);
            return Place { shape: Shape::Choice(options), nullable, schema: Json::Object(keywords), cost: COPIED - budget.values };
        }
        keywords.retain(|(key, _)| *key != keyword);
        if let [(_, only)] = some.as_slice() {
            keywords = merge(keywords, only.clone());
            nullable |= find(&keywords, "nullable") == Some(&Json::Bool(true));
            hops += 1;
            if hops < 20 {
                continue;
            }
        }
        // Each alternative is a copy of the common keywords.
        let copied = keywords.iter().try_for_each(|(_, value)| (0..some.len()).step_by(16).try_for_each(|_| budget.read(value)));
        if some.len() > 1 && !budget.spent() && copied.is_some() {
            let labels = labels(&some);
            let variants = some.iter().zip(labels).map(|((_, k), label)| (label, Json::Object(merge_variant(keywords.clone(), k.clone()))));
            let shape = Shape::Union(variants.collect());
            return Place { shape, nullable, schema: Json::Object(keywords), cost: COPIED - budget.values };
        }
        break;
    }
    let shape = if budget.spent() { Shape::Any } else { typed(&keywords, &mut nullable) };
    Place { shape, nullable, schema: Json::Object(keywords), cost: COPIED - budget.values }
}

fn find<'a>(keywords: &'a Keywords, key: &str) -> Option<&'a Json> {
    keywords.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn alternatives(keywords: &Keywords) -> Option<(String, Vec<Json>)> {
    ["anyOf", "oneOf"].iter().find_map(|key| match find(keywords, key) {
        Some(Json::Array(list)) if !list.is_empty() => Some(((*key).to_owned(), list.clone())),
        _ => None,
    })
}

fn is_null(keywords: &Keywords) -> bool {
    find(keywords, "type").and_then(Json::str) == Some("null") || find(keywords, "const") == Some(&Json::Null)
}

/// Returns the values if every alternative is a constant: an enumeration with titles.
fn constants(variants: &[&(Json, Keywords)]) -> Option<Vec<(String, Json)>> {
    if variants.is_empty() {
        return None;
    }
    let option = |(_, keywords): &&(Json, Keywords)| {
        let value = find(keywords, "const")?;
        Some((find(keywords, "title").and_then(Json::str).map_or_else(|| label_of(value), str::to_owned), value.clone()))
    };
    variants.iter().map(option).collect()
}

/// Returns whether `schema` lists its values, itself or after references, without copying a part of it.
pub fn enumerates(schema: &Json, root: &Json) -> bool {
    let lists = |schema: &Json| {
        schema.get("enum").is_some()
            || ["anyOf", "oneOf"].iter().any(|key| {
                let all = schema.get(key).map(Json::items).unwrap_or_default();
                !all.is_empty() && all.iter().all(|one| one.get("const").is_some())
            })
    };
    let mut at = schema;
    for _ in 0..HOPS {
        if lists(at) {
            return true;
        }
        match at.get("$ref").and_then(Json::str).and_then(|to| resolve(to, root)) {
            Some(target) => at = target,
            None => return false,
        }
    }
    false
}

/// Returns the label of a value in a list of choices.
pub fn label_of(value: &Json) -> String {
    match value.str() {
        Some("") => "\"\"".into(),
        Some(text) => text.to_owned(),
        None => value.text(),
    }
}

/// Returns the keywords of `schema` with `$ref` followed and `allOf` merged; `None` if unknown.
///
/// Conditions stay separate under `allOf`, since two of them cannot be merged.
fn flat(schema: &Json, root: &Json, budget: &mut Budget) -> Option<Keywords> {
    budget.part()?;
    let Json::Object(own) = schema else {
        return (*schema == Json::Bool(true)).then(Vec::new);
    };
    // References in an embedded document are relative to it; they are not followed.
    if own.iter().any(|(key, id)| key == "$id" && Some(id) != root.get("$id") && id.str().is_some_and(|id| !id.starts_with('#'))) {
        return None;
    }
    // Definitions are read when they are referenced.
    let copied = |(key, _): &&(String, Json)| !matches!(key.as_str(), "$ref" | "$dynamicRef" | "allOf" | "$defs" | "definitions");
    own.iter().filter(copied).try_for_each(|(_, value)| budget.read(value))?;
    let (condition, mut keywords): (Keywords, Keywords) =
        own.iter().filter(copied).cloned().partition(|(key, _)| matches!(key.as_str(), "if" | "then" | "else"));
    if condition.iter().any(|(key, _)| key == "if") {
        keywords.push(("allOf".into(), Json::Array(vec![Json::Object(condition.clone())])));
    }
    if condition.len() == own.len() {
        return Some(keywords);
    }
    if let Some(Json::Array(parts)) = schema.get("allOf") {
        for part in parts {
            keywords = merge(flat(part, root, budget).unwrap_or_default(), keywords);
        }
    }
    let named = |key: &str| schema.get(key).and_then(Json::str).is_some_and(|to| !to.contains("#/"));
    if named("$ref") || named("$dynamicRef") {
        // A name is searched for in the whole document.
        budget.read(root)?;
    }
    for target in [schema.get("$ref").map(|to| resolve(to.str()?, root)), schema.get("$dynamicRef").map(|to| dynamic(to.str()?, root))] {
        let Some(target) = target else { continue };
        keywords = merge(flat(target?, root, budget)?, keywords);
    }
    Some(keywords)
}

/// Resolves a dynamic reference if it is unambiguous.
fn dynamic<'a>(reference: &str, root: &'a Json) -> Option<&'a Json> {
    let name = reference.strip_prefix('#')?;
    let mut open = vec![root];
    let mut found = None;
    while let Some(at) = open.pop() {
        if at.get("$dynamicAnchor").and_then(Json::str) == Some(name) && found.replace(at).is_some() {
            return None;
        }
        open.extend(at.members().iter().map(|(_, value)| value).chain(at.items()));
    }
    found
}

/// Returns the part of `root` that a local reference points to.
fn resolve<'a>(reference: &str, root: &'a Json) -> Option<&'a Json> {
    let own = root.get("$id").and_then(Json::str).unwrap_or_default().trim_end_matches('#');
    let fragment = reference.strip_prefix(own).and_then(|rest| rest.strip_prefix('#'));
    let fragment = fragment.or_else(|| reference.strip_prefix('#'))?;
    if fragment.is_empty() {
        return Some(root);
    }
    let Some(pointer) = fragment.strip_prefix('/') else { return anchor(fragment, root, 0) };
    pointer.split('/').try_fold(root, |at, token| {
        let token = unpercent(token).replace("~1", "/").replace("~0", "~");
        match at {
            Json::Array(items) => items.get(token.parse::<usize>().ok()?),
            other => other.get(&token),
        }
    })
}

fn anchor<'a>(name: &str, at: &'a Json, depth: usize) -> Option<&'a Json> {
    if depth > 40 {
        return None;
    }
    if ["$anchor", "$dynamicAnchor"].iter().any(|key| at.get(key).and_then(Json::str) == Some(name)) {
        return Some(at);
    }
    at.members().iter().map(|(_, v)| v).chain(at.items()).find_map(|part| anchor(name, part, depth + 1))
}

/// Merges two sets of keywords; where only one value is possible, `over` wins.
fn merge(mut base: Keywords, over: Keywords) -> Keywords {
    for (key, value) in over {
        let Some(slot) = base.iter_mut().find(|(name, _)| *name == key).map(|(_, value)| value) else {
            base.push((key, value));
            continue;
        };
        let merged = match (key.as_str(), &*slot, &value) {
            ("properties", Json::Object(a), Json::Object(b)) => Json::Object(both(a.clone(), b)),
            ("required", Json::Array(a), Json::Array(b)) => {
                let mut all = a.clone();
                let few = a.len().saturating_mul(b.len()) <= COMPARED;
                all.extend(b.iter().filter(|name| !few || !a.contains(name)).cloned());
                Json::Array(all)
            }
            ("type", a, b) => common_types(a, b),
            ("enum", Json::Array(a), Json::Array(b)) if a.len().saturating_mul(b.len()) <= COMPARED => {
                Json::Array(a.iter().filter(|v| b.iter().any(|w| w.same(v))).cloned().collect())
            }
            ("items", a @ Json::Object(_), b @ Json::Object(_)) => all_of(a, b),
            ("anyOf" | "oneOf", _, _) => slot.clone(),
            ("allOf", Json::Array(a), Json::Array(b)) if a.len().saturating_mul(b.len()) <= COMPARED => {
                Json::Array(a.iter().chain(b.iter().filter(|condition| !a.contains(condition))).cloned().collect())
            }
            _ => value,
        };
        *slot = merged;
    }
    base
}

/// Merges a variant over its base. A variant that is less specific than the base (`properties` without a type)
/// refines it.
fn merge_variant(base: Keywords, variant: Keywords) -> Keywords {
    let inner = ["anyOf", "oneOf"].into_iter().any(|key| find(&variant, key).is_some());
    let base = if inner { base.into_iter().filter(|(key, _)| key != "anyOf" && key != "oneOf").collect() } else { base };
    merge(base, variant)
}

fn both(mut a: Keywords, b: &Keywords) -> Keywords {
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, (name, _)) in a.iter().enumerate() {
        places.entry(name.clone()).or_insert(at);
    }
    for (key, value) in b {
        match places.get(key).map(|at| &mut a[*at].1) {
            Some(slot) if slot == value => {}
            Some(slot) => *slot = all_of(slot, value),
            None => {
                places.insert(key.clone(), a.len());
                a.push((key.clone(), value.clone()));
            }
        }
    }
    a
}

fn all_of(a: &Json, b: &Json) -> Json {
    Json::Object(vec![("allOf".into(), Json::Array(vec![a.clone(), b.clone()]))])
}

fn types(value: &Json) -> Vec<String> {
    // There are seven types. Names of other languages are read as what they mean.
    let names = value.str().into_iter().chain(value.items().iter().filter_map(Json::str)).take(20);
    let meant = |name: &str| meaning(name).map_or_else(|| vec![name.to_owned()], |types| types.into_iter().map(str::to_owned).collect());
    names.flat_map(meant).collect()
}

fn common_types(a: &Json, b: &Json) -> Json {
    let (a, b) = (types(a), types(b));
    // Integers are numbers.
    let takes = |types: &[String], name: &String| types.contains(name) || name == "integer" && types.iter().any(|t| t == "number");
    let all = a.iter().chain(b.iter().filter(|name| !a.contains(name)));
    let mut common: Vec<Json> = all.filter(|name| takes(&a, name) && takes(&b, name)).map(|name| Json::String(name.clone())).collect();
    if common.len() == 1 { common.remove(0) } else { Json::Array(common) }
}

/// Returns the shape of a position without alternatives.
fn typed(keywords: &Keywords, nullable: &mut bool) -> Shape {
    if let Some(value) = find(keywords, "const") {
        return Shape::Const(value.clone());
    }
    if let Some(Json::Array(values)) = find(keywords, "enum") {
        return choice(values, find(keywords, "enumNames").map(Json::items).unwrap_or_default(), nullable);
    }
    let mut names = find(keywords, "type").map(types).unwrap_or_default();
    if names.len() > 1 {
        *nullable |= names.iter().any(|t| t == "null");
        names.retain(|t| t != "null");
        if names.iter().any(|t| t == "number") {
            names.retain(|t| t != "integer");
        }
    }
    match names.as_slice() {
        [] => guess(keywords),
        [one] => of_type(one, keywords),
        many => Shape::Union(
            many.iter()
                .map(|name| {
                    let mut variant: Keywords = keywords
                        .iter()
                        .filter(|(key, _)| !matches!(key.as_str(), "type" | "default" | "description" | "title"))
                        .cloned()
                        .collect();
                    variant.push(("type".into(), Json::String(name.clone())));
                    (name.clone(), Json::Object(variant))
                })
                .collect(),
        ),
    }
}

fn choice(values: &[Json], names: &[Json], nullable: &mut bool) -> Shape {
    let mut options: Vec<(String, Json)> = vec![];
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        if *value == Json::Null && values.len() > 1 {
            *nullable = true;
        } else if seen.insert(value.text()) {
            options.push((names.get(index).and_then(Json::str).map_or_else(|| label_of(value), str::to_owned), value.clone()));
        }
    }
    match options.len() {
        0 => Shape::Any,
        1 => Shape::Const(options.remove(0).1),
        _ => Shape::Choice(options),
    }
}

fn guess(keywords: &Keywords) -> Shape {
    let has = |names: &[&str]| keywords.iter().any(|(key, _)| names.contains(&key.as_str()));
    if has(&["properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties"]) {
        of_type("object", keywords)
    } else if has(&["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"]) {
        of_type("array", keywords)
    } else if has(&["pattern", "minLength", "maxLength", "format"]) {
        Shape::Text
    } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
        Shape::Number { integer: false }
    } else {
        Shape::Any
    }
}

fn of_type(name: &str, keywords: &Keywords) -> Shape {
    match name {
        "string" => Shape::Text,
        "number" => Shape::Number { integer: false },
        "integer" => Shape::Number { integer: true },
        "boolean" => Shape::Bool,
        "null" => Shape::Const(Json::Null),
        "object" => object(keywords),
        "array" => {
            // Draft-07 wrote tuple items as an array under `items`.
            let old = find(keywords, "items").map(Json::items).unwrap_or_default().to_vec();
            let prefix = find(keywords, "prefixItems").map_or(old.clone(), |p| p.items().to_vec());
            let rest = if old.is_empty() { find(keywords, "items") } else { find(keywords, "additionalItems") };
            Shape::Array { prefix, items: open(rest) }
        }
        _ => Shape::Any,
    }
}

/// Returns the schema for undeclared values: anything if absent, nothing if `false`.
fn open(schema: Option<&Json>) -> Option<Json> {
    match schema {
        None => Some(Json::Bool(true)),
        Some(Json::Bool(false)) => None,
        Some(other) => Some(other.clone()),
    }
}

fn object(keywords: &Keywords) -> Shape {
    let mut properties = find(keywords, "properties").map(|p| p.members().to_vec()).unwrap_or_default();
    let mut seen = HashSet::new();
    properties.retain(|(key, _)| seen.insert(key.clone()));
    let required: Vec<String> =
        find(keywords, "required").map(|r| r.items().iter().filter_map(Json::str).map(str::to_owned).collect()).unwrap_or_default();
    let rest = match find(keywords, "additionalProperties") {
        None => Json::Bool(true),
        Some(given) => given.clone(),
    };
    if rest != Json::Bool(false) {
        for (name, schema) in conditional(keywords) {
            if seen.insert(name.clone()) {
                properties.push((name, schema));
            }
        }
    }
    for name in &required {
        if seen.insert(name.clone()) {
            properties.push((name.clone(), Json::Bool(true)));
        }
    }
    let patterns = find(keywords, "patternProperties").map(|p| p.members().to_vec()).unwrap_or_default();
    Shape::Object { properties, required, others: Others { patterns, rest } }
}

/// Returns members that are declared only under a condition or with another member. They are always shown, since the
/// arguments decide; the checker reports when they are required or forbidden.
fn conditional(keywords: &Keywords) -> Keywords {
    let conditions = find(keywords, "allOf").map(Json::items).unwrap_or_default();
    let branches = conditions.iter().flat_map(|condition| ["then", "else"].into_iter().filter_map(|key| condition.get(key)));
    let dependent = ["dependentSchemas", "dependencies"].into_iter().filter_map(|key| find(keywords, key));
    let mut found: Vec<(String, Vec<Json>)> = vec![];
    let mut places: HashMap<String, usize> = HashMap::new();
    for branch in branches.chain(dependent.flat_map(Json::members).map(|(_, schema)| schema)) {
        for (name, schema) in branch.get("properties").map(Json::members).unwrap_or_default() {
            match places.get(name).map(|at| &mut found[*at].1) {
                Some(schemas) if schemas.len() > SAME || schemas.contains(schema) => {}
                Some(schemas) => schemas.push(schema.clone()),
                None => {
                    places.insert(name.clone(), found.len());
                    found.push((name.clone(), vec![schema.clone()]));
                }
            }
        }
    }
    let one = |mut schemas: Vec<Json>| match schemas.len() {
        1 => schemas.remove(0),
        _ => Json::Object(vec![("anyOf".into(), Json::Array(schemas))]),
    };
    found.into_iter().map(|(name, schemas)| (name, one(schemas))).collect()
}

/// Returns the labels of alternatives: the title, else a distinguishing property, else the type, else the number.
fn labels(variants: &[&(Json, Keywords)]) -> Vec<String> {
    let mut labels: Vec<String> = variants.iter().enumerate().map(|(index, (source, keywords))| label(source, keywords, index)).collect();
    let mut times: HashMap<String, usize> = HashMap::new();
    for label in &labels {
        *times.entry(label.clone()).or_default() += 1;
    }
    for (index, label) in labels.iter_mut().enumerate() {
        if times.get(label).is_some_and(|times| *times > 1) {
            *label = format!("{label} {}", index + 1);
        }
    }
    labels
}

fn label(source: &Json, keywords: &Keywords, index: usize) -> String {
    if let Some(title) = find(keywords, "title").and_then(Json::str).filter(|t| !t.is_empty()) {
        return title.to_owned();
    }
    let properties = find(keywords, "properties").map(Json::members).unwrap_or_default();
    if let Some(constant) = properties
        .iter()
        .find_map(|(_, schema)| schema.get("const").or_else(|| schema.get("enum").map(Json::items).filter(|v| v.len() == 1).map(|v| &v[0])))
    {
        return label_of(constant);
    }
    if let Some(name) = source.get("$ref").and_then(Json::str).and_then(|r| r.rsplit('/').next()).filter(|n| !n.is_empty()) {
        return name.to_owned();
    }
    let required: Vec<&str> = find(keywords, "required").map(|r| r.items().iter().filter_map(Json::str).collect()).unwrap_or_default();
    if !required.is_empty() {
        return required.join(", ");
    }
    match find(keywords, "type").map(types).unwrap_or_default().join(" or ") {
        name if name == "array" => match find(keywords, "items").and_then(|i| i.get("type")).and_then(Json::str) {
            Some(item) => format!("array of {item}"),
            None => name,
        },
        name if !name.is_empty() => name,
        _ => find(keywords, "const").map_or_else(|| format!("option {}", index + 1), label_of),
    }
}

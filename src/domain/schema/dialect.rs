//! Dialects: rewrites a schema of any draft, or one with mistakes, as JSON Schema 2020-12.
//!
//! Used by [`super::Checker`] before it compiles a schema, and by the command line to read `key=value`. Servers list schemas of
//! drafts 04 to 2019-09 without `$schema`, schemas of OpenAPI, and handwritten ones. A keyword that cannot be used is left out
//! and reported as a [`Defect`]; the rest of the schema stays. Annotations are dropped: they take memory and check nothing.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::{
    defect::{Cause, Defect, DefectKind},
    pattern,
    reference::{Index, parts},
    shorten, type_names,
};

/// Maximum number of reported defects.
const DEFECTS: usize = 20;

/// A schema ready to be compiled.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The schema, in 2020-12.
    pub schema: Value,
    /// What is not checked as written.
    pub defects: Vec<Defect>,
    /// The original of each translated regular expression.
    pub patterns: HashMap<String, String>,
    /// Whether `format` is asserted: drafts 04 to 07 do so, if `$schema` declares one.
    pub formats: bool,
}

/// Rewrites `schema`. Its depth must be limited. `compiles` returns whether a regular expression can be used.
pub fn prepare(schema: Value, compiles: &dyn Fn(&str) -> bool) -> Prepared {
    let mut walk = Walk { defects: vec![], more: 0, patterns: HashMap::new(), draft: Draft::Latest, references: refers(&schema), compiles };
    let root = Place { parent: None, key: "" };
    if let Some(declared) = schema.get("$schema") {
        match declared.as_str().map(Draft::declared) {
            Some(Some(draft)) => walk.draft = draft,
            _ => walk.ignored(&root.child("$schema"), Cause::Dialect(short(declared))),
        }
    }
    let mut schema = walk.schema(schema, &root).unwrap_or(Value::Bool(true));
    if walk.references {
        walk.check_references(&mut schema);
    }
    if walk.more > 0 {
        walk.defects.push(Defect { place: String::new(), kind: DefectKind::More(walk.more) });
    }
    Prepared { schema, defects: walk.defects, patterns: walk.patterns, formats: walk.draft == Draft::Early }
}

/// The drafts that differ in more than the names of keywords.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Draft {
    /// Declared as 04, 06 or 07: members next to `$ref` are ignored, and `format` is asserted.
    Early,
    /// 2019-09 and later, and every schema without `$schema`.
    Latest,
}

impl Draft {
    fn declared(uri: &str) -> Option<Draft> {
        let has = |name: &str| uri.contains(name);
        match uri {
            _ if has("draft-03") || has("draft-04") || has("draft-05") || has("draft-06") || has("draft-07") => Some(Draft::Early),
            _ if has("2019-09") || has("2020-12") || has("draft/next") => Some(Draft::Latest),
            // "The latest version", in the words of its authors.
            _ if uri.trim_end_matches('#').ends_with("json-schema.org/schema") => Some(Draft::Latest),
            _ => None,
        }
    }
}

/// The place of a keyword, as a list to the root.
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    key: &'p str,
}

impl<'p> Place<'p> {
    fn child(&'p self, key: &'p str) -> Place<'p> {
        Place { parent: Some(self), key }
    }

    fn pointer(&self) -> String {
        match self.parent {
            Some(parent) => format!("{}/{}", parent.pointer(), shorten(&escaped(self.key))),
            None => String::new(),
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns whether a schema has references, whose targets may be anywhere in the document.
fn refers(value: &Value) -> bool {
    let own = value.as_object().is_some_and(|fields| ["$ref", "$dynamicRef", "$recursiveRef"].iter().any(|key| fields.contains_key(*key)));
    own || parts(value).any(refers)
}

fn short(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        other => shorten(&other.to_string()),
    }
}

struct Walk<'c> {
    defects: Vec<Defect>,
    /// Number of defects that are not listed.
    more: usize,
    patterns: HashMap<String, String>,
    draft: Draft,
    references: bool,
    compiles: &'c dyn Fn(&str) -> bool,
}

impl Walk<'_> {
    fn defect(&mut self, place: &Place, kind: DefectKind) {
        if self.defects.len() < DEFECTS {
            self.defects.push(Defect { place: place.pointer(), kind });
        } else {
            self.more += 1;
        }
    }

    fn ignored(&mut self, place: &Place, cause: Cause) {
        self.defect(place, DefectKind::Ignored(cause));
    }

    fn not_a(&mut self, place: &Place, value: &Value, wanted: &'static str) {
        self.ignored(place, Cause::NotA(short(value), wanted));
    }

    fn read_as(&mut self, place: &Place, written: &Value, meaning: impl Into<String>) {
        self.defect(place, DefectKind::ReadAs { written: short(written), meaning: meaning.into() });
    }

    /// Rewrites a subschema; `None` if the value is not one.
    fn schema(&mut self, value: Value, place: &Place) -> Option<Value> {
        match value {
            Value::Bool(_) => Some(value),
            Value::Object(fields) => Some(self.object(fields, place)),
            Value::String(ref name) => match type_names::meaning(name) {
                Some(types) => {
                    self.read_as(place, &value, type_words(&types));
                    Some(Value::Object([("type".to_owned(), type_value(&types)?)].into_iter().collect()))
                }
                None => self.no_schema(&value, place),
            },
            other => self.no_schema(&other, place),
        }
    }

    fn no_schema(&mut self, value: &Value, place: &Place) -> Option<Value> {
        self.not_a(place, value, "a schema");
        None
    }

    fn object(&mut self, fields: Map<String, Value>, place: &Place) -> Value {
        let rename_definitions = !fields.contains_key("$defs");
        let only_reference = self.draft == Draft::Early && fields.contains_key("$ref");
        let tuple = fields.get("items").is_some_and(Value::is_array) && !fields.contains_key("prefixItems");
        let nullable = ["nullable", "x-nullable"].iter().any(|key| fields.get(*key) == Some(&Value::Bool(true)));
        let (mut out, mut exclusive) = (Map::new(), [false; 2]);
        let (mut required_here, mut incomplete) = (vec![], false);
        for (key, value) in fields {
            if only_reference && !matches!(key.as_str(), "$ref" | "definitions" | "$defs") {
                continue;
            }
            let here = place.child(&key);
            let made = match key.as_str() {
                "type" => self.types(value, &here),
                "enum" => self.list(value, &here),
                "const" => Some(value),
                "minimum" | "maximum" => self.number(value, &here),
                "multipleOf" | "divisibleBy" => match self.number(value, &here) {
                    Some(step) if step.as_f64().is_none_or(|step| step <= 0.0) => {
                        self.not_a(&here, &step, "more than 0");
                        None
                    }
                    step => step,
                },
                "exclusiveMinimum" | "exclusiveMaximum" => match value {
                    Value::Bool(on) => {
                        exclusive[usize::from(key == "exclusiveMaximum")] = on;
                        None
                    }
                    other => self.number(other, &here),
                },
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minContains" | "maxContains" => {
                    self.count(value, &here)
                }
                "uniqueItems" => self.boolean(value, &here),
                "pattern" => match value {
                    Value::String(pattern) => self.pattern(&pattern, &here).map(Value::from),
                    other => {
                        self.not_a(&here, &other, "a regular expression");
                        None
                    }
                },
                "format" => Some(value).filter(|value| self.draft == Draft::Early && value.is_string()),
                "required" => self.names(value, &here),
                "properties" => self.properties(value, &here, &mut required_here),
                "patternProperties" => {
                    let (made, complete) = self.pattern_properties(value, &here);
                    incomplete |= !complete;
                    made
                }
                "$defs" | "definitions" | "dependentSchemas" => self.schemas(value, &here),
                "dependencies" => {
                    self.dependencies(value, &here, &mut out);
                    None
                }
                "dependentRequired" => self.dependent_names(value, &here),
                "prefixItems" | "allOf" | "anyOf" | "oneOf" => self.schema_list(value, &here),
                "items" if value.is_array() => {
                    let made = self.schema_list(value, &here).filter(|_| tuple);
                    out.extend(made.map(|made| ("prefixItems".to_owned(), made)));
                    None
                }
                "additionalItems" => {
                    // Without a tuple it has no effect (draft-07, validation, section 6.4.2).
                    let made = if tuple { self.schema(value, &here) } else { None };
                    out.extend(made.map(|made| ("items".to_owned(), made)));
                    None
                }
                "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" => match self.boolean_text(value, &here) {
                    Value::Null => self.no_schema(&Value::Null, &here),
                    value => self.schema(value, &here),
                },
                "items" | "contains" | "propertyNames" | "not" | "if" | "then" | "else" => self.schema(value, &here),
                "$ref" | "$dynamicRef" if !value.is_string() => {
                    self.not_a(&here, &value, "a reference");
                    None
                }
                "$ref" | "$dynamicRef" => Some(value),
                "$recursiveRef" => {
                    out.entry("$ref").or_insert_with(|| "#".into());
                    None
                }
                "$anchor" | "$dynamicAnchor" => Some(value).filter(|value| value.as_str().is_some_and(is_anchor)),
                "$id" | "id" => {
                    self.identity(value, &here, &mut out);
                    None
                }
                // Shown for alternatives.
                "title" => Some(value).filter(Value::is_string),
                "$schema" | "$vocabulary" | "$recursiveAnchor" | "nullable" | "x-nullable" | "description" | "default" | "examples"
                | "example" | "$comment" | "deprecated" | "readOnly" | "writeOnly" | "contentEncoding" | "contentMediaType"
                | "contentSchema" | "discriminator" | "xml" | "externalDocs" | "enumNames" => None,
                // A reference may lead into an unknown keyword (`#/components/schemas/X`).
                _ if self.references => Some(self.container(value, &here)),
                _ => None,
            };
            if let Some(made) = made {
                // The validator looks for names (`$anchor`) in `$defs` only.
                let key = match key.as_str() {
                    "divisibleBy" => "multipleOf".into(),
                    "definitions" if rename_definitions => "$defs".into(),
                    _ => key,
                };
                out.insert(key, made);
            }
        }
        // A name that only the unusable pattern allows must not be refused.
        for key in ["additionalProperties", "unevaluatedProperties"] {
            if incomplete && out.remove(key).is_some() {
                self.ignored(&place.child(key), Cause::Names);
            }
        }
        for (on, bound, open) in [(exclusive[0], "minimum", "exclusiveMinimum"), (exclusive[1], "maximum", "exclusiveMaximum")] {
            if on && let Some(limit) = out.remove(bound) {
                out.insert(open.into(), limit);
            }
        }
        if !required_here.is_empty() {
            let names = out.entry("required").or_insert_with(|| Value::Array(vec![]));
            if let Value::Array(names) = names {
                let new: Vec<Value> = required_here.into_iter().map(Value::from).filter(|name| !names.contains(name)).collect();
                names.extend(new);
            }
        }
        if nullable { with_null(out) } else { Value::Object(out) }
    }

    /// Rewrites an unknown keyword, whose parts are subschemas only if something refers to them.
    fn container(&mut self, value: Value, place: &Place) -> Value {
        let (defects, more) = (self.defects.len(), self.more);
        let made = match value {
            Value::Object(fields) => self.object(fields, place),
            other => other,
        };
        self.defects.truncate(defects);
        self.more = more;
        made
    }

    fn types(&mut self, value: Value, place: &Place) -> Option<Value> {
        let names: Vec<&Value> = match &value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        let mut types: Vec<&'static str> = vec![];
        let (mut any, mut foreign) = (names.is_empty(), false);
        for name in names {
            let meant = match name {
                Value::Null => Some(vec!["null"]),
                Value::String(name) => type_names::meaning(name),
                _ => None,
            };
            let Some(meant) = meant else {
                let cause = if name.is_string() { Cause::Type(short(name)) } else { Cause::NotA(short(name), "a type") };
                self.ignored(place, cause);
                return None;
            };
            foreign |= !name.as_str().is_some_and(|name| type_names::JSON_TYPES.contains(&name));
            any |= meant.is_empty();
            types.extend(meant.into_iter().filter(|one| !types.contains(one)).collect::<Vec<_>>());
        }
        if any {
            types.clear();
        }
        if foreign {
            self.read_as(place, &value, type_words(&types));
        }
        type_value(&types)
    }

    /// Returns the values of `enum`. An empty one would refuse every value.
    fn list(&mut self, value: Value, place: &Place) -> Option<Value> {
        match &value {
            Value::Array(values) if !values.is_empty() => Some(value),
            other => {
                self.not_a(place, other, "a list of values");
                None
            }
        }
    }

    fn number(&mut self, value: Value, place: &Place) -> Option<Value> {
        match &value {
            Value::Number(_) => Some(value),
            Value::String(text) if text.trim().parse::<Number>().is_ok() => {
                self.read_as(place, &value, "a number");
                text.trim().parse().ok().map(Value::Number)
            }
            other => {
                self.not_a(place, other, "a number");
                None
            }
        }
    }

    fn count(&mut self, value: Value, place: &Place) -> Option<Value> {
        let number = match self.number(value, place)? {
            Value::Number(number) => number,
            _ => return None,
        };
        let whole = number.as_u64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
        if whole.is_none() {
            self.not_a(place, &Value::Number(number), "a count");
        }
        whole.map(Value::from)
    }

    fn boolean_text(&mut self, value: Value, place: &Place) -> Value {
        let meant = match value.as_str() {
            Some("true" | "True") => true,
            Some("false" | "False") => false,
            _ => return value,
        };
        self.read_as(place, &value, meant.to_string());
        Value::Bool(meant)
    }

    fn boolean(&mut self, value: Value, place: &Place) -> Option<Value> {
        match self.boolean_text(value, place) {
            Value::Bool(value) => Some(value.into()),
            other => {
                self.not_a(place, &other, "true or false");
                None
            }
        }
    }

    /// Translates a regular expression; `None` if it cannot be used.
    fn pattern(&mut self, written: &str, place: &Place) -> Option<String> {
        let own = pattern::translated(written);
        // These compile as written, with another meaning.
        let slashes = written.starts_with('/') && !own.starts_with('/');
        let foreign = own != written && (slashes || ["\\A", "\\Z", "\\z", "[:", "(?P="].iter().any(|part| written.contains(part)));
        if !foreign && (self.compiles)(written) {
            return Some(written.to_owned());
        }
        if own != written && (self.compiles)(&own) {
            self.patterns.insert(own.clone(), written.to_owned());
            return Some(own);
        }
        self.ignored(place, Cause::Pattern(shorten(&Value::from(written).to_string())));
        None
    }

    fn names(&mut self, value: Value, place: &Place) -> Option<Value> {
        let mut names: Vec<Value> = match value {
            Value::Array(names) => names,
            Value::String(_) => {
                self.read_as(place, &value, "a list of one name");
                vec![value]
            }
            other => {
                self.not_a(place, &other, "a list of names");
                return None;
            }
        };
        if let Some(other) = names.iter().find(|name| !name.is_string()) {
            self.not_a(place, other, "a name");
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| name.as_str().is_some_and(|name| seen.insert(name.to_owned())));
        Some(Value::Array(names))
    }

    fn members(&mut self, value: Value, place: &Place) -> Option<Map<String, Value>> {
        match value {
            Value::Object(members) => Some(members),
            other => {
                self.not_a(place, &other, "an object of schemas");
                None
            }
        }
    }

    fn schemas(&mut self, value: Value, place: &Place) -> Option<Value> {
        let members = self.members(value, place)?;
        // What is not a schema allows any value, so that the name is still known.
        let made = members.into_iter().map(|(name, value)| {
            let made = self.schema(value, &place.child(&name)).unwrap_or(Value::Bool(true));
            (name, made)
        });
        Some(Value::Object(made.collect()))
    }

    /// Rewrites `properties`. `required: true` in a property makes it required, as in draft-03.
    fn properties(&mut self, value: Value, place: &Place, required: &mut Vec<String>) -> Option<Value> {
        let mut members = self.members(value, place)?;
        for (name, value) in &mut members {
            let own = value.as_object_mut().filter(|fields| fields.get("required").is_some_and(Value::is_boolean));
            if let Some(Value::Bool(true)) = own.and_then(|fields| fields.remove("required")) {
                self.read_as(&place.child(name).child("required"), &Value::Bool(true), "a required member");
                required.push(name.clone());
            }
        }
        self.schemas(Value::Object(members), place)
    }

    /// Rewrites `patternProperties`, and returns whether every pattern can be used.
    fn pattern_properties(&mut self, value: Value, place: &Place) -> (Option<Value>, bool) {
        let Some(members) = self.members(value, place) else { return (None, false) };
        let (mut out, mut complete) = (Map::new(), true);
        for (name, value) in members {
            let here = place.child(&name);
            match self.pattern(&name, &here) {
                Some(own) => out.extend(self.schema(value, &here).map(|made| (own, made))),
                None => complete = false,
            }
        }
        (Some(Value::Object(out)), complete)
    }

    /// Splits `dependencies` (drafts 03 to 07) into the two keywords that replaced it.
    fn dependencies(&mut self, value: Value, place: &Place, out: &mut Map<String, Value>) {
        for (name, value) in self.members(value, place).into_iter().flatten() {
            let here = place.child(&name);
            let (keyword, made) = match value {
                Value::Array(_) => ("dependentRequired", self.names(value, &here)),
                Value::String(_) => ("dependentRequired", Some(Value::Array(vec![value]))),
                other => ("dependentSchemas", self.schema(other, &here)),
            };
            if let (Some(made), Value::Object(members)) = (made, out.entry(keyword).or_insert_with(|| Value::Object(Map::new()))) {
                members.entry(name).or_insert(made);
            }
        }
    }

    fn dependent_names(&mut self, value: Value, place: &Place) -> Option<Value> {
        let members = self.members(value, place)?;
        let made = members.into_iter().filter_map(|(name, value)| {
            let made = self.names(value, &place.child(&name))?;
            Some((name, made))
        });
        Some(Value::Object(made.collect()))
    }

    /// Rewrites a list of subschemas. An empty `anyOf` would refuse every value.
    fn schema_list(&mut self, value: Value, place: &Place) -> Option<Value> {
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            one @ Value::Object(_) => vec![one],
            other => {
                self.not_a(place, &other, "a list of schemas");
                return None;
            }
        };
        // A place holder preserves the positions that references use.
        let made =
            list.into_iter().enumerate().map(|(at, value)| self.schema(value, &place.child(&at.to_string())).unwrap_or(Value::Bool(true)));
        Some(Value::Array(made.collect()))
    }

    /// Rewrites the name of a document. Drafts before 2019-09 write anchors as `"$id": "#name"`, draft-04 writes `id`.
    fn identity(&mut self, value: Value, place: &Place, out: &mut Map<String, Value>) {
        let Value::String(id) = value else { return };
        // `id` is not a keyword of later drafts, and most servers that write one mean nothing by it.
        let relevant = self.references && (place.key == "$id" || id.starts_with('#') || id.contains("://"));
        match id.strip_prefix('#') {
            Some(anchor) if relevant && is_anchor(anchor) => drop(out.insert("$anchor".into(), anchor.into())),
            None if relevant => {
                let id = id.trim_end_matches('#');
                let plain = !id.is_empty() && !id.contains('#') && id.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b));
                if plain {
                    out.insert("$id".into(), id.into());
                } else if place.key == "$id" {
                    self.not_a(place, &Value::from(id), "a URI");
                }
            }
            _ => {}
        }
    }

    /// Removes references whose targets the schema does not define.
    fn check_references(&mut self, schema: &mut Value) {
        let mut found: Vec<(String, Outcome)> = vec![];
        {
            let mut index = Index::of(schema);
            let mut open: Vec<(&Value, String)> = vec![(schema, String::new())];
            while let Some((at, pointer)) = open.pop() {
                if let Value::Object(fields) = at {
                    for key in ["$ref", "$dynamicRef"] {
                        let Some(reference) = fields.get(key).and_then(Value::as_str) else { continue };
                        // The graph reports a schema with too many references.
                        let Ok(targets) = index.targets(reference, at) else { return };
                        let known = reference.contains("://json-schema.org/");
                        if !known && !targets.iter().any(|target| target.is_object() || target.is_boolean()) {
                            let moved =
                                moved(reference).into_iter().find(|moved| index.targets(moved, at).is_ok_and(|found| !found.is_empty()));
                            let outcome = moved.map_or_else(|| Outcome::Bad(reference.to_owned()), Outcome::Moved);
                            found.push((format!("{pointer}/{key}"), outcome));
                        }
                    }
                    open.extend(fields.iter().map(|(key, part)| (part, format!("{pointer}/{}", escaped(key)))));
                } else if let Value::Array(items) = at {
                    open.extend(items.iter().enumerate().map(|(key, part)| (part, format!("{pointer}/{key}"))));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        for (pointer, outcome) in found {
            let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
            let Some(Value::Object(fields)) = schema.pointer_mut(parent) else { continue };
            match outcome {
                Outcome::Moved(to) => drop(fields.insert(key.to_owned(), to.into())),
                Outcome::Bad(reference) => {
                    fields.shift_remove(key);
                    let text = shorten(&Value::from(reference.as_str()).to_string());
                    let cause = if reference.starts_with('#') { Cause::Undefined(text) } else { Cause::Elsewhere(text) };
                    if self.defects.len() < DEFECTS {
                        self.defects.push(Defect { place: pointer, kind: DefectKind::Ignored(cause) });
                    } else {
                        self.more += 1;
                    }
                }
            }
        }
    }
}

/// The outcome of a reference without a target.
enum Outcome {
    Moved(String),
    Bad(String),
}

/// Returns what a reference into renamed keywords may be now, the most likely first.
fn moved(reference: &str) -> Vec<String> {
    let renamed = [
        ("/definitions/", "/$defs/"),
        ("/items/", "/prefixItems/"),
        ("/dependencies/", "/dependentSchemas/"),
        ("/additionalItems", "/items"),
    ];
    let mut found: Vec<String> = vec![];
    for (old, new) in renamed {
        let last = found.last().map_or(reference, String::as_str);
        if last.contains(old) {
            found.push(last.replace(old, new));
        }
    }
    found
}

fn is_anchor(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn type_value(types: &[&'static str]) -> Option<Value> {
    match types {
        [] => None,
        [one] => Some((*one).into()),
        several => Some(several.iter().map(|one| Value::from(*one)).collect()),
    }
}

fn type_words(types: &[&'static str]) -> String {
    if types.is_empty() { "any type".into() } else { types.join(" or ") }
}

/// Allows `null` too (OpenAPI 3.0, `nullable`).
fn with_null(mut fields: Map<String, Value>) -> Value {
    let null = || Value::from("null");
    let combined = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "const"].iter().any(|key| fields.contains_key(*key));
    if combined {
        return Value::Object(
            [("anyOf".to_owned(), Value::Array(vec![Value::Object(fields), [("type".to_owned(), null())].into_iter().collect()]))]
                .into_iter()
                .collect(),
        );
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    if let Some(types) = fields.get_mut("type") {
        *types = match types.take() {
            Value::Array(mut types) => {
                if !types.contains(&null()) {
                    types.push(null());
                }
                Value::Array(types)
            }
            one => Value::Array(vec![one, null()]),
        };
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests;

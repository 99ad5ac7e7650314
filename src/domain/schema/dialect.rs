//! Dialects: rewrites a schema of any draft, or one with mistakes, as JSON Schema 2020-12.
//!
//! Used by [`super::Checker`] before it compiles a schema, and by the command line to read `key=value`. Servers list schemas of
//! drafts 04 to 2019-09 without `$schema`, schemas of OpenAPI, and handwritten ones. A keyword that cannot be used is left out
//! and reported as a [`Defect`]; the rest of the schema stays. Annotations are dropped: they take memory and check nothing.
//! `values`, `subschemas` and `references` have the keywords by kind.

mod references;
mod subschemas;
mod values;

use std::collections::HashMap;

use serde_json::{Map, Value};

use self::{
    references::is_anchor,
    values::{type_value, type_words},
};
use super::{
    defect::{Cause, Defect, DefectKind},
    reference::parts,
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
        Value::Array(items) if items.is_empty() => "an empty list".into(),
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

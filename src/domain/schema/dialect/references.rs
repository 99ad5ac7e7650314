//! Names of schemas, and the references to them.

use serde_json::{Map, Value};

use super::{DEFECTS, Place, Walk, escaped};
use crate::domain::schema::{
    defect::{Cause, Defect, DefectKind},
    reference::Index,
    shorten,
};

impl Walk<'_> {
    /// Rewrites the name of a document. Drafts before 2019-09 write anchors as `"$id": "#name"`, draft-04 writes `id`.
    pub(super) fn identity(&mut self, value: Value, place: &Place, out: &mut Map<String, Value>) {
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
    pub(super) fn check_references(&mut self, schema: &mut Value) {
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

pub(super) fn is_anchor(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

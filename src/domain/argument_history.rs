//! Argument history: the last arguments of tools, prompts and resource templates, offered again in later sessions.
//!
//! Pure; `config` stores it on disk. Likely secrets are never recorded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{body::Body, id::ServerId, json::Json, server::looks_secret};

/// Maximum number of entries.
const MOST: usize = 500;
/// Maximum size of recorded arguments, in bytes.
const LONGEST: usize = 64 << 10;
/// Maximum depth of schemas that are followed.
const DEEPEST: usize = 24;

/// The kind of a history entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecallKind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource template.
    Template,
    /// A resource.
    Resource,
}

/// A history entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// The server.
    pub server: ServerId,
    /// The kind.
    pub kind: RecallKind,
    /// The server's own name for it.
    pub name: String,
    /// The arguments: the text of a JSON object. Empty if none were recorded.
    pub arguments: Body,
    /// Whether it is a favourite; `None` leaves that as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub favourite: Option<bool>,
}

/// The argument history, latest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    entries: VecDeque<Recalled>,
}

impl Recall {
    /// Parses the text of [`Recall::to_json`]; any other text gives an empty history.
    pub fn from_json(text: &str) -> Recall {
        let mut recall: Recall = serde_json::from_str(text).unwrap_or_default();
        recall.entries.retain(|e| e.arguments.len() <= LONGEST);
        let surplus = recall.entries.len().saturating_sub(MOST);
        recall.entries.drain(..surplus);
        recall
    }

    /// Returns the text to store on disk.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Records arguments, replacing older ones. They must have passed through [`public`].
    pub fn note(&mut self, mut entry: Recalled) {
        let before = self.position(&entry.server, entry.kind, &entry.name).and_then(|at| self.entries.remove(at));
        entry.favourite = entry.favourite.or(before.and_then(|before| before.favourite));
        if entry.arguments.len() > LONGEST {
            return;
        }
        if self.entries.len() >= MOST {
            // Favourites go last.
            let oldest = self.entries.iter().position(|e| e.favourite != Some(true)).unwrap_or(0);
            self.entries.remove(oldest);
        }
        self.entries.push_back(entry);
    }

    fn position(&self, server: &ServerId, kind: RecallKind, name: &str) -> Option<usize> {
        self.entries.iter().position(|e| e.server == *server && e.kind == kind && e.name == name)
    }

    /// Returns the last arguments of an entry.
    pub fn find(&self, server: &ServerId, kind: RecallKind, name: &str) -> Option<&Body> {
        let entry = &self.entries[self.position(server, kind, name)?];
        Some(&entry.arguments).filter(|arguments| !arguments.is_empty())
    }

    /// Makes an entry a favourite, or an ordinary one. Returns the entry.
    pub fn set_favourite(&mut self, server: &ServerId, kind: RecallKind, name: &str, favourite: bool) -> Recalled {
        let arguments = self.find(server, kind, name).cloned().unwrap_or_default();
        let entry = Recalled { server: server.clone(), kind, name: name.to_owned(), arguments, favourite: Some(favourite) };
        self.note(entry.clone());
        entry
    }

    /// Returns the entries, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Recalled> {
        self.entries.iter().rev()
    }
}

/// Removes members that look like secrets, by their name or because the schema marks them (`format: password`,
/// `writeOnly`). Also returns whether there were any.
pub fn public(arguments: &Body, schema: &Body) -> (Body, bool) {
    let root = Json::parse(&schema.text()).unwrap_or(Json::Bool(true));
    let Ok(mut value) = Json::parse(&arguments.text()) else { return (Body::from("{}"), true) };
    let mut left_out = false;
    strip(&mut value, &[&root], &root, &mut left_out, 0);
    if left_out { (Body::from(value.text()), true) } else { (arguments.clone(), false) }
}

fn strip(value: &mut Json, schemas: &[&Json], root: &Json, left_out: &mut bool, depth: usize) {
    let all = alternatives(schemas, root);
    match value {
        Json::Object(members) => {
            members.retain(|(key, _)| {
                let inner = alternatives(&below(&all, key), root);
                let secret = looks_secret(key) || inner.iter().any(|s| says_secret(s));
                *left_out |= secret;
                !secret
            });
            for (key, member) in members.iter_mut() {
                if depth >= DEEPEST {
                    // Too deep to check: not recorded.
                    *member = Json::Null;
                    *left_out = true;
                } else {
                    strip(member, &below(&all, key), root, left_out, depth + 1);
                }
            }
        }
        Json::Array(items) if depth < DEEPEST => {
            let inner: Vec<&Json> = all
                .iter()
                .flat_map(|s| {
                    let prefix = s.get("prefixItems").map(Json::items).unwrap_or_default().iter();
                    prefix.chain(s.get("items")).collect::<Vec<_>>()
                })
                .collect();
            items.iter_mut().for_each(|item| strip(item, &inner, root, left_out, depth + 1));
        }
        Json::Array(items) if !items.is_empty() => {
            items.clear();
            *left_out = true;
        }
        _ => {}
    }
}

fn says_secret(schema: &Json) -> bool {
    schema.get("format").and_then(Json::str) == Some("password") || schema.get("writeOnly") == Some(&Json::Bool(true))
}

/// Returns the schemas of a member.
fn below<'a>(schemas: &[&'a Json], key: &str) -> Vec<&'a Json> {
    schemas.iter().filter_map(|s| s.get("properties").and_then(|p| p.get(key)).or_else(|| s.get("additionalProperties"))).collect()
}

/// Returns these schemas and all that they refer to or consist of, each once.
fn alternatives<'a>(schemas: &[&'a Json], root: &'a Json) -> Vec<&'a Json> {
    let mut found: Vec<&Json> = vec![];
    let mut open: Vec<&Json> = schemas.to_vec();
    while let Some(schema) = open.pop() {
        if found.len() > 200 || found.iter().any(|f| std::ptr::eq(*f, schema)) {
            continue;
        }
        found.push(schema);
        open.extend(schema.get("$ref").and_then(Json::str).and_then(|r| r.strip_prefix('#')).and_then(|path| pointer(root, path)));
        for key in ["allOf", "anyOf", "oneOf"] {
            open.extend(schema.get(key).map(Json::items).unwrap_or_default());
        }
        open.extend(["then", "else"].iter().filter_map(|key| schema.get(key)));
    }
    found
}

fn pointer<'a>(root: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('/').filter(|part| !part.is_empty()).try_fold(root, |at, part| at.get(&part.replace("~1", "/").replace("~0", "~")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public_part(schema: &str, arguments: &str) -> (String, bool) {
        let (body, left_out) = public(&Body::from(arguments), &Body::from(schema));
        (body.text().into_owned(), left_out)
    }

    #[test]
    fn secrets_are_removed_at_every_position() {
        let schema = r##"{"type":"object","properties":{
            "user":{"type":"string"},"pin":{"type":"string","format":"password"},
            "login":{"$ref":"#/$defs/login"},"list":{"type":"array","items":{"anyOf":[{"$ref":"#/$defs/login"},{"type":"null"}]}}},
            "$defs":{"login":{"type":"object","properties":{"name":{"type":"string"},"code":{"type":"string","writeOnly":true}}}}}"##;
        assert_eq!(
            public_part(
                schema,
                r#"{"user":"a","pin":"1","api_key":"x","login":{"name":"n","code":"c"},"list":[{"code":"d","name":"m"},7.50]}"#
            ),
            (r#"{"user":"a","login":{"name":"n"},"list":[{"name":"m"},7.50]}"#.into(), true)
        );
        assert_eq!(public_part(schema, r#"{"user": "a"}"#), (r#"{"user": "a"}"#.into(), false), "as it was");
        assert_eq!(public_part("{", r#"{"password":"a","b":1}"#).0, r#"{"b":1}"#);
        let looped = r##"{"$ref":"#","properties":{"x":{"$ref":"#"}}}"##;
        assert_eq!(public_part(looped, r#"{"x":{"x":{"token":1}}}"#).0, r#"{"x":{"x":{}}}"#);
    }

    #[test]
    fn favourites_stay_until_they_are_unset() {
        let (db, mut recall) = (ServerId::from("db"), Recall::default());
        assert_eq!(recall.set_favourite(&db, RecallKind::Tool, "a", true).favourite, Some(true));
        assert_eq!(recall.find(&db, RecallKind::Tool, "a"), None, "no arguments were recorded");
        let entry =
            |name: String| Recalled { server: db.clone(), kind: RecallKind::Tool, name, arguments: Body::from("{}"), favourite: None };
        recall.note(entry("a".into()));
        (0..600).for_each(|n| recall.note(entry(n.to_string())));
        let mut recall = Recall::from_json(&recall.to_json());
        let favourites = |recall: &Recall| recall.latest().filter(|e| e.favourite == Some(true)).count();
        assert_eq!(favourites(&recall), 1, "arguments and many other entries do not change it");
        recall.set_favourite(&db, RecallKind::Tool, "a", false);
        assert_eq!(favourites(&recall), 0);
        assert!(recall.find(&db, RecallKind::Tool, "a").is_some());
    }

    #[test]
    fn the_latest_arguments_are_returned() {
        let mut recall = Recall::default();
        let entry = |name: &str, arguments: &str| Recalled {
            server: "db".into(),
            kind: RecallKind::Tool,
            name: name.into(),
            arguments: Body::from(arguments),
            favourite: None,
        };
        recall.note(entry("a", r#"{"n":1.0}"#));
        recall.note(entry("a", r#"{"n":2.0}"#));
        let back = Recall::from_json(&recall.to_json());
        assert_eq!(back, recall);
        assert_eq!(back.find(&"db".into(), RecallKind::Tool, "a").unwrap().text(), r#"{"n":2.0}"#);
        assert_eq!(back.find(&"db".into(), RecallKind::Prompt, "a"), None);
        for n in 0..600 {
            recall.note(entry(&n.to_string(), "{}"));
        }
        assert_eq!(recall.entries.len(), MOST);
        recall.note(entry("long", &"x".repeat(LONGEST + 1)));
        assert_eq!(recall.find(&"db".into(), RecallKind::Tool, "long"), None);
        assert_eq!(Recall::from_json("garbage"), Recall::default());
    }
}

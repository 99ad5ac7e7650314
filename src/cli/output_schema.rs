//! The schema of the JSON output: a table of all documents, from which the reference page and the JSON Schema are generated, and
//! against which tests validate real output.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The table. Its first lines describe the format.
const TABLE: &str = include_str!("../../assets/output.txt");

/// The documents, and which command prints which.
pub struct Output {
    /// The documents in the order of the table.
    documents: Vec<Document>,
    /// The commands: name, document of `--json`, documents of `--jsonl`.
    commands: Vec<(String, String, Vec<String>)>,
}

struct Document {
    name: String,
    text: String,
    members: Vec<Member>,
}

struct Member {
    name: String,
    optional: bool,
    kind: String,
    text: String,
}

impl Output {
    /// Reads the table. Fails with the first line that is not understood.
    pub fn read() -> Result<Output, String> {
        let mut output = Output { documents: vec![], commands: vec![] };
        for line in TABLE.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parts: Vec<&str> = line.splitn(2, ' ').collect();
            match parts.as_slice() {
                ["=", rest] => {
                    let (name, text) = rest.split_once("  ").ok_or(line)?;
                    output.documents.push(Document { name: name.into(), text: text.into(), members: vec![] });
                }
                ["-", rest] => {
                    let mut parts = rest.split("  ");
                    let (name, json, lines) = (parts.next().ok_or(line)?, parts.next().ok_or(line)?, parts.next().ok_or(line)?);
                    output.commands.push((name.into(), json.into(), lines.split(' ').map(String::from).collect()));
                }
                [name, rest] => {
                    let document = output.documents.last_mut().ok_or(line)?;
                    let (kind, text) = rest.split_once("  ").unwrap_or((rest, ""));
                    let (name, optional) = name.strip_suffix('?').map_or((*name, false), |name| (name, true));
                    document.members.push(Member { name: name.into(), optional, kind: kind.into(), text: text.into() });
                }
                _ => return Err(line.to_owned()),
            }
        }
        Ok(output)
    }

    /// Returns the JSON Schema of everything that a command prints, with a definition for each document.
    pub fn schema(&self) -> Value {
        let mut definitions = Map::new();
        for document in &self.documents {
            definitions.insert(document.name.clone(), document.schema());
        }
        let mut printed: Vec<&str> =
            self.commands.iter().flat_map(|(_, json, lines)| lines.iter().chain([json])).map(String::as_str).collect();
        printed.sort_unstable();
        printed.dedup();
        for name in &printed {
            // Every printed document says which engine the command used, if it could be another than its own.
            if let Some(properties) = definitions.get_mut(*name).and_then(|schema| schema["properties"].as_object_mut()) {
                let text = "With `--via`: the running engine that the command used; `null` for its own";
                properties.insert("via".into(), json!({"type": ["string", "null"], "description": text}));
            }
        }
        let any: Vec<Value> = printed.iter().map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Output of switchboard --json and --jsonl",
            "anyOf": any,
            "$defs": definitions,
        })
    }

    /// Returns the JSON Schema of what a command prints: the document of `--json`, or any line of `--jsonl`. A failure can take the
    /// place of either.
    pub fn of_command(&self, name: &str, lines: bool) -> Option<Value> {
        let (_, json, jsonl) = self.commands.iter().find(|(known, ..)| known == name)?;
        let mut names: Vec<&str> = if lines { jsonl.iter().map(String::as_str).collect() } else { vec![json] };
        names.push("outcome");
        let mut schema = self.schema();
        schema["anyOf"] = names.iter().map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect();
        Some(schema)
    }

    /// Returns the reference page.
    pub fn page(&self) -> String {
        let mut page = String::from("| command | `--json` | lines of `--jsonl` |\n|---|---|---|\n");
        let link = |name: &str| format!("[{name}](#{name})");
        for (command, json, lines) in &self.commands {
            let lines: Vec<String> = lines.iter().map(|name| link(name)).collect();
            page.push_str(&format!("| `{command}` | {} | {} |\n", link(json), lines.join(", ")));
        }
        page.push_str(
            "\nWith `--via` each of these has the member `via` in addition: the name of the running engine that the command used, or `null` \
             for its own.\n",
        );
        for document in &self.documents {
            page.push_str(&format!("\n### {}\n\n{}\n\n| member | type | |\n|---|---|---|\n", document.name, document.text));
            for member in &document.members {
                let optional = if member.optional { "optional" } else { "" };
                let text = [optional, &member.text].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
                page.push_str(&format!("| `{}` | {} | {text} |\n", member.name, words(&member.kind, &link)));
            }
        }
        page
    }

    /// Returns the names that are used and not defined, and those that no document or command uses.
    pub fn inconsistencies(&self) -> Vec<String> {
        let mut used: BTreeMap<&str, bool> = self.documents.iter().map(|document| (document.name.as_str(), false)).collect();
        let mut unknown = vec![];
        let in_members = self.documents.iter().flat_map(|document| &document.members).flat_map(|member| references(&member.kind));
        let in_commands = self.commands.iter().flat_map(|(_, json, lines)| lines.iter().chain([json])).map(String::as_str);
        for name in in_members.chain(in_commands) {
            match used.get_mut(name) {
                Some(used) => *used = true,
                None => unknown.push(format!("{name} is not defined")),
            }
        }
        unknown.extend(used.into_iter().filter(|(_, used)| !used).map(|(name, _)| format!("{name} is not used")));
        unknown
    }
}

impl Document {
    /// Returns the JSON Schema of the document. It is closed, so that no member is undocumented.
    fn schema(&self) -> Value {
        let required: Vec<&str> = self.members.iter().filter(|member| !member.optional).map(|member| member.name.as_str()).collect();
        let mut properties = Map::new();
        for member in &self.members {
            let mut schema = schema_of(&member.kind);
            if let (false, Some(schema)) = (member.text.is_empty(), schema.as_object_mut()) {
                schema.insert("description".into(), member.text.as_str().into());
            }
            properties.insert(member.name.clone(), schema);
        }
        json!({
            "description": self.text,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

/// Returns the names of documents in a type.
fn references(kind: &str) -> impl Iterator<Item = &str> {
    kind.split(['[', ']', '{', '}', '|', '?']).filter_map(|part| part.strip_prefix('@'))
}

/// Returns the JSON Schema of a type of the table.
fn schema_of(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({"anyOf": [schema_of(kind), {"type": "null"}]});
    }
    if let Some(item) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return json!({"type": "array", "items": schema_of(item)});
    }
    if let Some(value) = kind.strip_prefix('{').and_then(|kind| kind.strip_suffix('}')) {
        return json!({"type": "object", "additionalProperties": schema_of(value)});
    }
    if let Some(name) = kind.strip_prefix('@') {
        return json!({"$ref": format!("#/$defs/{name}")});
    }
    if kind.starts_with('"') {
        let values: Vec<&str> = kind.split('|').map(|value| value.trim_matches('"')).collect();
        return json!({"enum": values});
    }
    if kind == "any" { json!({}) } else { json!({"type": kind}) }
}

/// Returns a type in words, as Markdown.
fn words(kind: &str, link: &impl Fn(&str) -> String) -> String {
    if let Some(kind) = kind.strip_suffix('?') {
        return format!("{} or `null`", words(kind, link));
    }
    if let Some(item) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return format!("list of {}", words(item, link));
    }
    if let Some(value) = kind.strip_prefix('{').and_then(|kind| kind.strip_suffix('}')) {
        return format!("object of {}", words(value, link));
    }
    match kind.strip_prefix('@') {
        Some(name) => link(name),
        None if kind == "any" => "any JSON".into(),
        None => kind
            .split('|')
            .map(|part| if part.starts_with('"') { format!("`{part}`") } else { part.to_owned() })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let output = Output::read().unwrap();
        assert_eq!(output.inconsistencies(), Vec::<String>::new());
        assert!(output.of_command("call", true).is_some() && output.of_command("cal", true).is_none());
        assert_eq!(schema_of("[@tool]?"), json!({"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/tool"}}, {"type": "null"}]}));
    }
}

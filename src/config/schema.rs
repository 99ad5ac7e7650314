//! The JSON Schema of configuration files, for editors: names, types, defaults and texts come from `config.example.toml`, which
//! lists every key. A test compares the keys with those that the reader knows.

use serde_json::{Map, Value, json};
use toml_edit::DocumentMut;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The policy tables, which defaults, servers and rules share.
const POLICY: [&str; 6] = ["retry", "breaker", "concurrency", "rate_limit", "hedge", "cache"];
/// The other tables that defaults and servers share.
const SHARED: [&str; 7] = ["elicitation", "sampling", "roots", "pins", "timeouts", "limits", "sessions"];

/// Types that a single value does not show: the path of a key, and its schema.
fn special(path: &str) -> Option<Value> {
    let words = |words: &[&str]| json!({ "enum": words });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    Some(match path {
        "console.theme" => {
            json!({ "anyOf": [{ "enum": ["ansi", "mono", "dark", "light", "contrast"] }, { "type": "string", "pattern": "\\.toml$" }] })
        }
        "auth.store" => words(&["file", "keyring"]),
        "console.confirm" => words(&["untrusted", "destructive", "never"]),
        "defaults.elicitation" | "defaults.sampling" => {
            json!({ "anyOf": [words(&["ask", "decline"]), { "type": "string" }, { "type": "object" }] })
        }
        "defaults.roots" => json!({ "anyOf": [words(&["ask", "decline"]), { "type": "array", "items": { "anyOf": [
            { "type": "string" },
            { "type": "object", "required": ["uri"], "additionalProperties": false,
              "properties": { "uri": { "type": "string" }, "name": { "type": "string" } } },
        ] } }] }),
        "defaults.pins" => words(&["off", "warn", "hold"]),
        "defaults.retry.mode" => words(&["safe", "never"]),
        "defaults.breaker.probe" => words(&["ping", "live"]),
        "defaults.breaker.window" => json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "$ref": "#/$defs/duration" }] }),
        "defaults.breaker.record.codes" => json!({ "type": "array", "items": { "type": "integer" } }),
        "defaults.cache.mode" => words(&["never", "read-only", "always"]),
        "redis.url" => json!({ "anyOf": [{ "type": "string" }, texts] }),
        "servers.*.era" => words(&["auto", "legacy", "modern"]),
        "servers.*.args" => json!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } }),
        "servers.*.env" | "servers.*.headers" => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }
        "groups.*.strategy" => words(&["round-robin", "random", "least-in-flight", "least-latency", "primary", "weighted", "sticky"]),
        "groups.*.members" => json!({ "type": "array", "minItems": 1, "items": { "anyOf": [
            { "type": "string" },
            { "type": "object", "required": ["server"], "additionalProperties": false,
              "properties": { "server": { "type": "string" }, "weight": { "type": "integer", "minimum": 0 } } },
        ] } }),
        "environments.*.variables" => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        "gateway.profiles.*.destructive" => words(&["allow", "deny"]),
        "gateway.profiles.*.logs" => words(&["own", "all"]),
        "gateway.profiles.*.tools.*.fixed" => json!({ "type": "object" }),
        "tool.fallback" => json!({ "type": "array", "items": { "type": "object", "additionalProperties": false, "properties": {
            "server": { "type": "string" }, "tool": { "type": "string" }, "arguments": { "type": "object" },
            "stale": { "type": "boolean" }, "value": {},
        } } }),
        _ => return None,
    })
}

/// Returns the JSON Schema (draft 2020-12).
pub fn schema() -> Value {
    let mut tables: Map<String, Value> = Map::new();
    for entry in entries() {
        let table = tables.entry(entry.table.clone()).or_insert_with(|| json!({}));
        let path = if entry.table.is_empty() { entry.key.clone() } else { format!("{}.{}", entry.table, entry.key) };
        // Another example of a key, or a shared table that `defaults` describes.
        let shared = POLICY.iter().chain(&SHARED).any(|key| *key == entry.key) && !entry.table.starts_with("defaults");
        if shared || table.get(&entry.key).is_some() && !entry.example {
            continue;
        }
        let known = table.get(&entry.key).cloned();
        let mut schema = special(&path).unwrap_or_else(|| type_of(&entry.value));
        let about = if entry.about.is_empty() {
            known.as_ref().and_then(|known| known["description"].as_str()).unwrap_or_default()
        } else {
            &entry.about
        };
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        match known.and_then(|known| known.get("default").cloned()) {
            Some(default) => schema["default"] = default,
            None if !entry.example => schema["default"] = entry.value.clone(),
            None => {}
        }
        table[&entry.key] = schema;
    }
    assemble(&tables)
}

/// Puts the tables into each other.
fn assemble(tables: &Map<String, Value>) -> Value {
    let of = |path: &str| tables.get(path).cloned().unwrap_or_else(|| json!({}));
    let closed = |properties: Value| json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let map = |values: Value| json!({ "type": "object", "additionalProperties": values });
    let with = |mut properties: Value, more: &[(&str, Value)]| {
        for (key, value) in more {
            properties[*key] = value.clone();
        }
        properties
    };
    let mut defs = json!({
        "duration": { "type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$" },
    });
    let mut defaults = of("defaults");
    for key in POLICY.iter().chain(&["timeouts", "limits", "sessions"]) {
        let mut inner = of(&format!("defaults.{key}"));
        if *key == "breaker" {
            inner["record"] = closed(of("defaults.breaker.record"));
        }
        defs[*key] = closed(inner);
        defaults[*key] = json!({ "$ref": format!("#/$defs/{key}") });
    }
    let rules = POLICY.map(|key| (key, json!({ "$ref": format!("#/$defs/{key}") })));
    let mut own_breaker = defs["breaker"].clone();
    own_breaker["properties"]["own"] =
        json!({ "type": "boolean", "description": "Each of the tools has a breaker of its own in addition to the server's." });
    defs["tool_breaker"] = own_breaker;
    let mut tool = with(of("tool"), &rules);
    tool["breaker"] = json!({ "$ref": "#/$defs/tool_breaker" });
    let mut server = of("servers.*");
    for (key, value) in defaults.as_object().into_iter().flatten() {
        server[key] = value.clone();
    }
    let mut server = closed(server);
    server["oneOf"] = json!([{ "required": ["command"] }, { "required": ["url"] }]);
    defs["server"] = server;
    defs["defaults"] = closed(defaults);
    let edits = map(closed(of("gateway.profiles.*.tools.*")));
    let profiles = map(closed(with(of("gateway.profiles.*"), &[("tools", edits)])));
    let required = |mut schema: Value, keys: &[&str]| {
        schema["required"] = json!(keys);
        schema
    };
    let mut root = of("");
    for table in ["retention", "store", "history", "journal", "console", "client", "auth", "redis", "cache"] {
        root[table] = closed(of(table));
    }
    root["gateway"] = closed(with(of("gateway"), &[("profiles", profiles)]));
    root["environments"] = map(closed(of("environments.*")));
    root["keys"] = map(map(json!({ "type": "string" })));
    root["defaults"] = json!({ "$ref": "#/$defs/defaults" });
    root["servers"] = map(json!({ "$ref": "#/$defs/server" }));
    root["groups"] = map(required(closed(of("groups.*")), &["members"]));
    root["tool"] = json!({ "type": "array", "items": required(closed(tool), &["match"]) });
    root["route"] = json!({ "type": "array", "items": required(closed(of("route")), &["match", "to"]) });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Switchboard",
        "type": "object",
        "additionalProperties": false,
        "properties": root,
        "$defs": defs,
    })
}

/// A key of the example.
struct Entry {
    /// The table, with `*` in place of names.
    table: String,
    key: String,
    value: Value,
    about: String,
    /// Whether it is an example in place of the default.
    example: bool,
}

/// Reads the example: defaults, and examples behind `#`.
fn entries() -> Vec<Entry> {
    let (mut found, mut table, mut about) = (vec![], String::new(), vec![]);
    let mut after_key = false;
    let mut lines = EXAMPLE.lines();
    while let Some(line) = lines.next() {
        let example = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        let code = example.unwrap_or(line);
        if let Some(text) = line.strip_prefix("# ") {
            if std::mem::take(&mut after_key) {
                about.clear();
            }
            about.push(text);
        } else if code.starts_with('[') {
            table = table_of(code);
            about.clear();
        } else if code.is_empty() {
            about.clear();
        } else if let Some((key, _)) = code.split_once(" = ") {
            let mut text = code.to_owned();
            if code.ends_with('[') {
                for part in lines.by_ref().map(|line| line.trim_start_matches('#')) {
                    text.push_str(part);
                    if part == "]" {
                        break;
                    }
                }
            }
            after_key = true;
            let Some(value) = value_of(&text) else { continue };
            let entry = Entry { table: table.clone(), key: key.to_owned(), value, about: about.join(" "), example: example.is_some() };
            found.push(entry);
        }
    }
    found
}

/// Returns the path of a table: names of servers, groups, profiles, tools and contexts are `*`.
fn table_of(code: &str) -> String {
    let path = code.trim_matches(['[', ']']);
    let mut named = false;
    let parts = path.split('.').map(|part| {
        match std::mem::replace(&mut named, ["servers", "groups", "profiles", "tools", "keys", "environments"].contains(&part)) {
            true => "*",
            false => part,
        }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Returns the value of a line of TOML.
fn value_of(line: &str) -> Option<Value> {
    let document: DocumentMut = line.parse().ok()?;
    let (_, item) = document.iter().next()?;
    Some(json_of(item.as_value()?))
}

fn json_of(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => text.value().as_str().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(value) => (*value.value()).into(),
        Toml::Array(items) => items.iter().map(json_of).collect(),
        Toml::InlineTable(table) => Value::Object(table.iter().map(|(key, value)| (key.to_owned(), json_of(value))).collect()),
        Toml::Datetime(_) => Value::Null,
    }
}

/// Returns the type of a value, by the value.
fn type_of(value: &Value) -> Value {
    match value {
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number", "minimum": 0 }),
        Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
        Value::String(text) if crate::domain::time::parse_duration(text).is_some() => json!({ "$ref": "#/$defs/duration" }),
        Value::Array(_) => json!({ "type": "array", "items": { "type": "string" } }),
        Value::Object(_) => json!({ "type": "object" }),
        _ => json!({ "type": "string" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{ConfigError, LoadOptions, load},
        domain::{body::Body, schema::Checker},
    };

    fn checker() -> Checker {
        Checker::new(&Body::json(&schema()))
    }

    fn document(text: &str) -> Value {
        let document: DocumentMut = text.parse().unwrap();
        let item = document.as_item().clone().into_value().unwrap();
        json_of(&item)
    }

    /// What a file with this text has wrong.
    fn problems(text: &str) -> Vec<ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        let options = LoadOptions { user_dir: Some(dir.path().to_owned()), cwd: dir.path().to_owned(), ..LoadOptions::default() };
        match load(&options) {
            Ok(loaded) => loaded.problems,
            Err(errors) => errors,
        }
    }

    #[test]
    fn the_example_is_valid_and_mistakes_are_not() {
        let checker = checker();
        assert!(checker.problem.is_none(), "{:?}", checker.problem);
        assert_eq!(checker.check(&document(EXAMPLE)), []);
        for text in [
            "[servers.a]\ncommand = \"x\"\nargs = [\"a\", 1]\nenv = { A = \"b\" }\ntimeouts = { connect = \"1m30s\" }\nroots = \"ask\"",
            "[servers.a]\nurl = \"https://x\"\nheaders = { A = \"b\" }\nsampling = { model = \"m\" }\nera = \"modern\"",
            "[[tool]]\nmatch = \"a*\"\nbreaker = { own = true, window = \"60s\" }\nfallback = [{ stale = true }]",
            "[groups.a]\nmembers = [\"x\", { server = \"y\", weight = 2 }]\nstrategy = \"weighted\"",
            "[gateway.profiles.p.tools.t]\nrename = \"x\"\nfixed = { a = 1 }",
            "[keys.global]\nq = \"none\"",
            "[redis]\nurl = \"redis://x\"",
        ] {
            assert_eq!(checker.check(&document(text)), [], "{text}");
        }
        for text in [
            "sepparator = \"_\"",
            "[servers.a]\nargs = []",
            "[servers.a]\ncommand = \"x\"\nurl = \"y\"",
            "[defaults.timeouts]\ncall = \"soon\"",
            "[defaults.cache]\nmode = \"sometimes\"",
            "[history]\ncalls = \"many\"",
            "[[route]]\nmatch = \"a\"",
        ] {
            assert!(!checker.check(&document(text)).is_empty(), "{text}");
        }
    }

    /// The reader names the keys that it knows when a key is unlike all of them.
    #[test]
    fn each_table_has_the_keys_that_the_reader_knows() {
        let schema = schema();
        let unlike = "zzzzzzzzzzzzzzzz";
        let resolved = |node: &Value, path: &[&str]| {
            let follow = |node: &Value| node["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")).map(str::to_owned);
            let mut current = node.clone();
            for part in path {
                if let Some(name) = follow(&current) {
                    current = schema["$defs"][name].clone();
                }
                current = match *part {
                    "*" => current["additionalProperties"].clone(),
                    "[]" => current["items"].clone(),
                    part => current["properties"][part].clone(),
                };
            }
            let node = follow(&current).map_or_else(|| current.clone(), |name| schema["$defs"][name].clone());
            let mut keys: Vec<String> = node["properties"].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        let server = "command = \"x\"\n";
        let tables: [(&str, &[&str], &str); 30] = [
            ("", &[], ""),
            ("[retention]", &["retention"], ""),
            ("[store]", &["store"], ""),
            ("[history]", &["history"], ""),
            ("[journal]", &["journal"], ""),
            ("[console]", &["console"], ""),
            ("[auth]", &["auth"], ""),
            ("[redis]", &["redis"], ""),
            ("[cache]", &["cache"], ""),
            ("[gateway]", &["gateway"], ""),
            ("[environments.e]", &["environments", "*"], ""),
            ("[gateway.profiles.p]", &["gateway", "profiles", "*"], ""),
            ("[gateway.profiles.p.tools.t]", &["gateway", "profiles", "*", "tools", "*"], ""),
            ("[defaults]", &["defaults"], ""),
            ("[defaults.timeouts]", &["defaults", "timeouts"], ""),
            ("[defaults.limits]", &["defaults", "limits"], ""),
            ("[defaults.sessions]", &["defaults", "sessions"], ""),
            ("[defaults.retry]", &["defaults", "retry"], ""),
            ("[defaults.breaker]", &["defaults", "breaker"], ""),
            ("[defaults.breaker.record]", &["defaults", "breaker", "record"], ""),
            ("[defaults.concurrency]", &["defaults", "concurrency"], ""),
            ("[defaults.rate_limit]", &["defaults", "rate_limit"], ""),
            ("[defaults.hedge]", &["defaults", "hedge"], ""),
            ("[defaults.cache]", &["defaults", "cache"], ""),
            ("[servers.a]", &["servers", "*"], server),
            ("[servers.a]\ncommand = \"x\"\n[servers.a.retry]", &["servers", "*", "retry"], ""),
            ("[[tool]]", &["tool", "[]"], "match = \"a\"\n"),
            ("[[tool]]\nmatch = \"a\"\n[tool.breaker]", &["tool", "[]", "breaker"], "own = true\n"),
            ("[groups.g]", &["groups", "*"], "members = [\"a\"]\n"),
            ("[[route]]", &["route", "[]"], "match = \"a\"\nto = \"b\"\n"),
        ];
        for (head, path, body) in tables {
            let text = format!("{head}\n{body}{unlike} = 1\n");
            let found = problems(&text);
            let error = found.iter().find(|error| error.key.as_deref().is_some_and(|key| key.ends_with(unlike)));
            let hint = error.unwrap_or_else(|| panic!("{text}: {found:?}")).hint.clone().unwrap();
            let mut known: Vec<String> = hint.strip_prefix("known keys: ").unwrap().split(", ").map(str::to_owned).collect();
            known.sort();
            assert_eq!(resolved(&schema, path), known, "{head}");
        }
    }
}

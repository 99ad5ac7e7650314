//! Arguments of the command line: converts `key=value`, `key:=json` and `--args` into the JSON object of the request.
//!
//! The tool's schema decides the type of `key=value`. The text of numbers is preserved.

use std::collections::BTreeSet;

use serde_json::{Value, value::RawValue};

use super::json::{self, Node};
use crate::domain::{body::Body, call::ArgumentCheck, schema::Checker};

/// Depth to which references and combined schemas are followed.
const DEEPEST: usize = 16;
/// Most subschemas visited for one argument: combined schemas multiply.
const MOST_SUBSCHEMAS: usize = 10_000;

/// Builds the arguments object: `base` (a JSON object) overlaid by `assignments`. Fails with all errors. Without `check`, a
/// `key=value` that the schema cannot decide is a string.
pub fn build(base: Option<&str>, assignments: &[String], schema: &Body, check: ArgumentCheck) -> Result<Body, Vec<String>> {
    let root = schema.value().unwrap_or_default();
    let mut node = match base {
        Some(text) => match RawValue::from_string(text.trim().to_owned()).and_then(|raw| json::fields(raw.get()).map(|_| raw)) {
            Ok(raw) => Node::Raw(raw),
            Err(error) => return Err(vec![format!("--args is not a JSON object: {error}")]),
        },
        None => Node::Object(vec![]),
    };
    let mut problems = Vec::new();
    let mut given: Vec<Vec<String>> = Vec::new();
    for assignment in assignments {
        let outcome = assign(&root, assignment, check).and_then(|(path, value)| {
            if let Some(before) = given.iter().find(|p| p.starts_with(&path) || path.starts_with(p)) {
                let both = if *before == path { "is set twice".into() } else { format!("contradicts {}", before.join(".")) };
                return Err(format!("{}: {both}", path.join(".")));
            }
            node.set(&path, value).map_err(|_| format!("{}: a part of this path is not an object in --args", path.join(".")))?;
            given.push(path);
            Ok(())
        });
        problems.extend(outcome.err());
    }
    if problems.is_empty() { Ok(Body::from(node.text())) } else { Err(problems) }
}

/// Validates `arguments` against `schema`. Returns all violations, and why the arguments could not be validated. May take
/// a second: call it on a blocking thread.
pub fn check(schema: &Body, arguments: &Body) -> (Vec<String>, Option<String>) {
    let value: Value = match arguments.parse() {
        Ok(value) => value,
        Err(error) => return (vec![format!("the arguments cannot be read: {error}")], None),
    };
    let checker = Checker::new(schema);
    match checker.judge(&value) {
        Ok(wrong) => (wrong.iter().map(ToString::to_string).collect(), checker.problem),
        Err(dear) => (vec![], Some(dear.to_string())),
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

fn assign(root: &Value, assignment: &str, check: ArgumentCheck) -> Result<(Vec<String>, Box<RawValue>), String> {
    let wrong = || format!("{assignment:?}: expected key=value or key:=json");
    let (key, text) = assignment.split_once('=').ok_or_else(wrong)?;
    let (key, raw) = key.strip_suffix(':').map_or((key, false), |key| (key, true));
    if key.is_empty() {
        return Err(wrong());
    }
    let path = split_path(root, key).ok_or_else(|| format!("{assignment:?}: the path has an empty part; write a dot in a name as \\."))?;
    let value = if raw {
        RawValue::from_string(text.to_owned()).map_err(|error| format!("{key}: {text:?} is not JSON: {error}"))?
    } else {
        let schema = path.iter().try_fold(root, |schema, part| property(root, schema, part, 0, &mut { MOST_SUBSCHEMAS }));
        match convert(text, root, schema) {
            Err(_) if !check.is_enforced() => quoted(text)?,
            converted => converted.map_err(|why| format!("{key}: {why}"))?,
        }
    };
    Ok((path, value))
}

/// Splits a path into its parts. A property with exactly this name, dots included, takes precedence.
fn split_path(root: &Value, key: &str) -> Option<Vec<String>> {
    if property(root, root, key, 0, &mut { MOST_SUBSCHEMAS }).is_some_and(|_| named(root, key)) {
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

/// Returns the schema of a property, following references and combined schemas.
fn property<'a>(root: &'a Value, schema: &'a Value, key: &str, depth: usize, left: &mut usize) -> Option<&'a Value> {
    *left = left.checked_sub(1).filter(|_| depth <= DEEPEST)?;
    let schema = resolve(root, schema, 0);
    if let Some(found) = schema.get("properties").and_then(|p| p.get(key)) {
        return Some(found);
    }
    let inner = ["allOf", "anyOf", "oneOf"].iter().filter_map(|k| schema.get(k)?.as_array()).flatten();
    inner
        .filter_map(|part| property(root, part, key, depth + 1, left))
        .next()
        .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()))
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

fn convert(text: &str, root: &Value, schema: Option<&Value>) -> Result<Box<RawValue>, String> {
    let mut allowed = BTreeSet::new();
    if let Some(schema) = schema {
        types(root, schema, 0, &mut allowed, &mut { MOST_SUBSCHEMAS });
    }
    if allowed.is_empty() || allowed.contains("string") {
        return quoted(text);
    }
    let raw = RawValue::from_string(text.to_owned()).ok().filter(|raw| {
        let number = allowed.contains("integer") || allowed.contains("number");
        match raw.get().as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => number,
            Some(b't' | b'f') => allowed.contains("boolean"),
            Some(b'n') => allowed.contains("null"),
            Some(b'[') => allowed.contains("array"),
            Some(b'{') => allowed.contains("object"),
            _ => false,
        }
    });
    raw.ok_or_else(|| {
        let wanted: Vec<&str> = allowed.iter().map(|t| words(t)).collect();
        format!("the schema expects {}, got {text:?}", wanted.join(" or "))
    })
}

fn quoted(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(json::string(text)).map_err(|error| error.to_string())
}

fn words(kind: &str) -> &str {
    match kind {
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a JSON array",
        "object" => "a JSON object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Body {
        Body::json(&json!({
            "type": "object",
            "properties": {
                "sql": {"type": "string"}, "limit": {"type": "integer"}, "ratio": {"type": "number"},
                "dry": {"type": "boolean"}, "tags": {"type": "array"}, "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "either": {"type": ["string", "integer"]}, "nothing": {"type": "null"}, "size": {"enum": [1, 2]},
                "filter": {"$ref": "#/$defs/Filter"}, "a.b": {"type": "integer"}, "free": {}
            },
            "$defs": {"Filter": {"type": "object", "properties": {"min": {"type": "number"}, "next": {"$ref": "#/$defs/Filter"}}}}
        }))
    }

    fn made(base: Option<&str>, given: &[&str]) -> Result<String, Vec<String>> {
        let given: Vec<String> = given.iter().map(|s| s.to_string()).collect();
        build(base, &given, &schema(), ArgumentCheck::Enforced).map(|body| body.text().into_owned())
    }

    #[test]
    fn the_schema_decides_the_type_of_a_value() {
        for (given, expected) in [
            ("sql=42", r#"{"sql":"42"}"#),
            ("sql=", r#"{"sql":""}"#),
            ("sql=a=b:=c", r#"{"sql":"a=b:=c"}"#),
            ("limit=12345678901234567890123", r#"{"limit":12345678901234567890123}"#),
            ("ratio=1.00", r#"{"ratio":1.00}"#),
            ("ratio=-1e3", r#"{"ratio":-1e3}"#),
            ("dry=true", r#"{"dry":true}"#),
            ("tags=[1, \"a b\"]", r#"{"tags":[1,"a b"]}"#),
            ("maybe=null", r#"{"maybe":null}"#),
            ("maybe=3", r#"{"maybe":3}"#),
            ("either=3", r#"{"either":"3"}"#),
            ("nothing=null", r#"{"nothing":null}"#),
            ("size=2", r#"{"size":2}"#),
            ("filter.min=3", r#"{"filter":{"min":3}}"#),
            ("filter.next.next.min=3", r#"{"filter":{"next":{"next":{"min":3}}}}"#),
            ("a.b=1", r#"{"a.b":1}"#),
            (r"c\.d.e=1", r#"{"c.d":{"e":"1"}}"#),
            ("free=1", r#"{"free":"1"}"#),
            ("free:=1.0", r#"{"free":1.0}"#),
            ("sql:={\"x\": [1 ,2]}", r#"{"sql":{"x":[1,2]}}"#),
        ] {
            assert_eq!(made(None, &[given]).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn assignments_lie_over_the_base_which_keeps_its_numbers() {
        let base = "{\n \"limit\": 1.0,\n \"filter\": {\"min\": 5, \"max\": 1e400},\n \"x\": \"a\\nb\"}";
        assert_eq!(
            made(Some(base), &["filter.min=7", "sql=s"]).unwrap(),
            r#"{"limit":1.0,"filter":{"min":7,"max":1e400},"x":"a\nb","sql":"s"}"#
        );
    }

    #[test]
    fn reports_all_errors_together() {
        let wrong = made(None, &["limit=abc", "dry=yes", "plain", "=x", "tags=a,b", "sql:=oops", "a..b=1", "sql=1", "sql=2"]).unwrap_err();
        assert_eq!(
            wrong,
            [
                "limit: the schema expects an integer, got \"abc\"",
                "dry: the schema expects true or false, got \"yes\"",
                "\"plain\": expected key=value or key:=json",
                "\"=x\": expected key=value or key:=json",
                "tags: the schema expects a JSON array, got \"a,b\"",
                "sql: \"oops\" is not JSON: expected value at line 1 column 1",
                "\"a..b=1\": the path has an empty part; write a dot in a name as \\.",
                "sql: is set twice",
            ]
        );
        assert!(made(Some("[1]"), &[]).unwrap_err()[0].contains("not a JSON object"));
        assert!(made(Some("{\"sql\":1}"), &["sql.x=1"]).unwrap_err()[0].contains("is not an object"));
        assert!(made(None, &["filter={}", "filter.min=1"]).unwrap_err()[0].contains("contradicts filter"));
    }

    #[test]
    fn reports_violations_and_unreadable_numbers() {
        let (wrong, problem) = check(&schema(), &Body::from(r#"{"limit":"x","dry":1}"#));
        assert_eq!((wrong.len(), problem), (2, None));
        assert!(check(&schema(), &Body::from(r#"{"ratio":1e999}"#)).0[0].contains("cannot be read"));
        assert!(check(&Body::from(r#"{"type":7}"#), &Body::from("{}")).1.is_some());
    }

    #[test]
    fn without_the_check_a_value_of_another_type_is_a_string() {
        let given = ["limit=abc", "dry=yes", "tags=a,b", "ratio=2", "maybe:=[]"].map(String::from);
        let made = build(None, &given, &schema(), ArgumentCheck::Skipped).unwrap();
        assert_eq!(made.text(), r#"{"limit":"abc","dry":"yes","tags":"a,b","ratio":2,"maybe":[]}"#);
        let wrong = ["plain", "sql:=oops"].map(String::from);
        assert_eq!(build(None, &wrong, &schema(), ArgumentCheck::Skipped).unwrap_err().len(), 2, "neither can be sent");
    }

    #[test]
    fn circular_references_end() {
        let schema = Body::from(r##"{"$ref":"#","properties":{"a":{"$ref":"#/properties/a"}},"allOf":[{"$ref":"#"}]}"##);
        assert_eq!(
            build(None, &["a.b=1".into(), "z=2".into()], &schema, ArgumentCheck::Enforced).unwrap().text(),
            r#"{"a":{"b":"1"},"z":"2"}"#
        );
    }
}

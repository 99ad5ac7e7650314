//! Checks arguments against a tool's JSON Schema before anything is sent.

use std::collections::HashMap;

use serde_json::Value;

use super::body::Body;

/// One place where arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// A compiled schema.
///
/// Dialect by `$schema`, 2020-12 without one (MCP 2025-11-25, SEP-1613). References to other
/// documents are never fetched. A schema that does not compile checks nothing and says why.
pub struct Checker {
    validator: Option<jsonschema::Validator>,
    /// Why the schema cannot be used, if it cannot.
    pub problem: Option<String>,
}

impl Checker {
    /// Compiles `schema`.
    pub fn new(schema: &Body) -> Checker {
        let compiled = match schema.parse::<Value>() {
            Err(error) => Err(format!("the schema is no JSON: {error}")),
            Ok(value) if depth(&value, 0) > 200 => Err("the schema is nested more than 200 deep".into()),
            Ok(value) if endless(&value) => Err("the schema refers to itself without end".into()),
            Ok(value) => jsonschema::options().build(&value).map_err(|error| format!("the schema cannot be used: {error}")),
        };
        match compiled {
            Ok(validator) => Checker { validator: Some(validator), problem: None },
            Err(problem) => Checker { validator: None, problem: Some(problem) },
        }
    }

    /// Every violation of `instance`, at most 50.
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        let Some(validator) = &self.validator else { return vec![] };
        validator
            .iter_errors(instance)
            .take(50)
            .map(|e| Violation { path: e.instance_path().to_string(), message: e.to_string() })
            .collect()
    }
}

fn depth(value: &Value, level: usize) -> usize {
    if level > 200 {
        return level;
    }
    match value {
        Value::Array(items) => items.iter().map(|v| depth(v, level + 1)).max().unwrap_or(level),
        Value::Object(fields) => fields.values().map(|v| depth(v, level + 1)).max().unwrap_or(level),
        _ => level,
    }
}

/// Whether checking one value could lead back to the same subschema for the same value: through
/// references and the keywords that apply in place. A validator would follow that until its stack
/// ends, and the program with it.
fn endless(root: &Value) -> bool {
    let mut state = HashMap::new();
    let mut open = vec![root];
    while let Some(schema) = open.pop() {
        if circles(schema, root, &mut state, 0) {
            return true;
        }
        open.extend(parts(schema));
    }
    false
}

/// Follows what applies to the same value. `state` has, by address, `false` for subschemas being
/// followed and `true` for those that came to an end.
fn circles(schema: &Value, root: &Value, state: &mut HashMap<*const Value, bool>, level: usize) -> bool {
    let Value::Object(fields) = schema else { return false };
    match state.get(&(schema as *const Value)) {
        Some(ended) => return !ended,
        None if level > 500 => return true,
        None => state.insert(schema, false),
    };
    let mut in_place: Vec<&Value> = vec![];
    for (key, value) in fields {
        match key.as_str() {
            "$ref" | "$dynamicRef" | "$recursiveRef" => in_place.extend(value.as_str().and_then(|reference| target(reference, root))),
            "allOf" | "anyOf" | "oneOf" | "dependentSchemas" | "dependencies" => in_place.extend(parts(value)),
            "not" | "if" | "then" | "else" => in_place.push(value),
            _ => {}
        }
    }
    let found = in_place.into_iter().any(|inner| circles(inner, root, state, level + 1));
    state.insert(schema, true);
    found
}

/// The values directly in an array or object.
fn parts(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => vec![],
    }
}

/// What a reference within the document means: a document by the end of its `$id`, then a pointer or an anchor in it.
fn target<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let named = |at: &Value, keys: &[&str], fits: &dyn Fn(&str) -> bool| {
        keys.iter().any(|key| at.get(key).and_then(Value::as_str).is_some_and(fits))
    };
    let base = if document.is_empty() {
        root
    } else {
        find(root, &|at| named(at, &["$id", "id"], &|id| id.trim_end_matches('#').ends_with(document)))?
    };
    if fragment.is_empty() {
        return Some(base);
    }
    if fragment.starts_with('/') {
        return base.pointer(&unpercent(fragment)).or_else(|| base.pointer(fragment));
    }
    find(base, &|at| named(at, &["$anchor", "$dynamicAnchor"], &|name| name == fragment))
        .or_else(|| find(base, &|at| named(at, &["$id", "id"], &|id| id.strip_prefix('#') == Some(fragment))))
}

fn find<'a>(root: &'a Value, wanted: &dyn Fn(&Value) -> bool) -> Option<&'a Value> {
    let mut open = vec![root];
    while let Some(at) = open.pop() {
        if wanted(at) {
            return Some(at);
        }
        open.extend(parts(at));
    }
    None
}

fn unpercent(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), vec![], 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_name_the_place() {
        let checker = Checker::new(&Body::json(
            &json!({"type": "object", "properties": {"level": {"enum": ["a", "b"]}, "n": {"type": "integer"}}, "required": ["level"]}),
        ));
        assert!(checker.check(&json!({"level": "a", "n": 3})).is_empty());
        let found = checker.check(&json!({"level": "zzz", "n": "x"}));
        assert_eq!(found.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), ["/level", "/n"]);
        assert_eq!(checker.check(&json!({})).len(), 1);
    }

    #[test]
    fn a_schema_that_leads_back_to_itself_is_refused_and_a_tree_is_not() {
        for schema in [
            r##"{"$defs":{"e":{"anyOf":[{"$ref":"#/$defs/e"},{"type":"string"}]}},"properties":{"x":{"$ref":"#/$defs/e"}}}"##,
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##,
            r##"{"$defs":{"n":{"$anchor":"n","not":{"$ref":"#n"}}},"properties":{"x":{"$ref":"#n"}}}"##,
            r##"{"$ref":"#"}"##,
        ] {
            let checker = Checker::new(&Body::from(schema));
            assert!(checker.problem.is_some(), "{schema}");
            assert!(checker.check(&json!({"x": 1})).is_empty());
        }
        let tree = r##"{"type":"object","properties":{"v":{"type":"string"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}"##;
        let checker = Checker::new(&Body::from(tree));
        assert_eq!(checker.problem, None);
        assert_eq!(checker.check(&json!({"next": {"next": {"v": 1}}})).len(), 1);
    }

    #[test]
    fn unusable_schemas_are_told_and_fetch_nothing() {
        for schema in ["{", r#"{"type": 7}"#, r#"{"$ref": "http://127.0.0.1:1/x.json"}"#] {
            let checker = Checker::new(&Body::from(schema));
            assert!(checker.problem.is_some(), "{schema}");
            assert!(checker.check(&json!({})).is_empty());
        }
    }
}
